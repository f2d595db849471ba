//! What is refused, how a launch that does not fit fails, and how a kernel is stopped.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lockgate_cpu::kernel::{Binding, Engine, Kernel, Lanes, Launch, Outcome, SamplerBinding};

use crate::harness::{ENGINES, Memory, compile};

fn refusal(source: &str, entry: &str, constants: &[(String, f64)]) -> String {
    let mut messages = Vec::new();
    for (engine, lanes) in ENGINES {
        match compile(source, entry, constants, engine, lanes) {
            Ok(_) => panic!("{engine:?} {lanes:?} takes it"),
            Err(error) => messages.push(error.to_string()),
        }
    }
    assert!(messages.iter().all(|message| *message == messages[0]), "{messages:?}");
    messages.swap_remove(0)
}

/// The runtime refuses most of them; what it lets pass must not hang.
#[test]
fn barriers_that_not_all_reach_fail() {
    let source = "@compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {
        if (l > 3u) { workgroupBarrier(); }
    }";
    let error = compile(source, "main", &[], Engine::Jit, Lanes::Four).err();
    assert!(error.is_some_and(|error| error.to_string().contains("barrier")));
    let kernel =
        compile(source, "main", &[], Engine::Auto, Lanes::Four).unwrap_or_else(|why| panic!("{why}"));
    let failed = Outcome::Failed("a barrier in control flow that is not uniform".into());
    assert_eq!(run(&kernel, &[], 0..1), failed);
}

#[test]
fn entry_points_and_constants_that_do_not_exist() {
    let source = "override N: u32; @compute @workgroup_size(N) fn main() {}";
    assert!(refusal(source, "other", &[("N".into(), 4.0)]).contains("other"));
    assert!(refusal(source, "main", &[]).contains("N"));
    assert!(refusal(source, "main", &[("N".into(), 4.0), ("M".into(), 1.0)]).contains("M"));
}

#[test]
fn what_has_no_machine_code_is_interpreted() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> data: array<u32, 8>;
        var<private> large: array<u32, 300000>;
        @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) { data[l] = large[data[l]]; }";
    let kernel = compile(source, "main", &[], Engine::Auto, Lanes::Four);
    assert!(kernel.is_ok_and(|kernel| kernel.engine() == Engine::Interpreter));
    let error = compile(source, "main", &[], Engine::Jit, Lanes::Four).err();
    let feature = "an array of more than 1 MiB in each invocation";
    assert_eq!(error.and_then(|error| error.feature()), Some(feature));
}

const ADD: &str = "
    @group(0) @binding(0) var<storage, read_write> data: array<u32, 4>;
    @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) l: u32) { data[l] += 1u; }";

fn run(kernel: &Kernel, bindings: &[Binding], groups: std::ops::Range<u64>) -> Outcome {
    let stop = AtomicBool::new(false);
    let launch = Launch { grid: [1, 1, 1], threads: None, bindings, immediates: &[], stop: &stop };
    // SAFETY: the bindings belong to the caller, who uses them for nothing else meanwhile.
    unsafe { kernel.run(&launch, groups) }
}

#[test]
fn launches_that_do_not_fit_fail() {
    for (engine, lanes) in ENGINES {
        let Ok(kernel) = compile(ADD, "main", &[], engine, lanes) else { panic!("{engine:?}") };
        let mut memory = Memory::new(&[0; 16]);
        let mut small = Memory::new(&[0; 12]);
        let failed = |outcome: Outcome| matches!(outcome, Outcome::Failed(_));
        assert!(failed(run(&kernel, &[], 0..1)));
        assert!(failed(run(&kernel, &[small.binding()], 0..1)));
        assert!(failed(run(&kernel, &[Binding::Sampler(SamplerBinding::default())], 0..1)));
        assert!(failed(run(&kernel, &[memory.binding()], 0..2)));
        assert_eq!(run(&kernel, &[memory.binding()], 0..1), Outcome::Done);
        assert_eq!(memory.bytes()[..4], [1, 0, 0, 0]);
    }
}

#[test]
fn endless_loops_stop() {
    let sources = [
        "@compute @workgroup_size(4) fn main() { loop {} }",
        "@group(0) @binding(0) var<storage, read_write> data: array<u32, 4>;
        @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) l: u32) {
            loop { if (data[l] == 1u) { break; } data[l] += 2u; if (l == 9u) { return; } }
        }",
        "@compute @workgroup_size(4) fn main() { loop { workgroupBarrier(); } }",
    ];
    for source in sources {
        for (engine, lanes) in ENGINES {
            let Ok(kernel) = compile(source, "main", &[], engine, lanes) else { panic!("{engine:?}") };
            let stop = Arc::new(AtomicBool::new(false));
            let (started, has_started) = std::sync::mpsc::channel();
            let seen = stop.clone();
            let runner = std::thread::spawn(move || {
                let mut memory = Memory::new(&[0; 16]);
                let bindings: Vec<Binding> = kernel.slots().iter().map(|_| memory.binding()).collect();
                let launch = Launch {
                    grid: [1, 1, 1],
                    threads: None,
                    bindings: &bindings,
                    immediates: &[],
                    stop: &seen,
                };
                let _ = started.send(());
                // SAFETY: the memory outlives the call, and nothing else uses it.
                unsafe { kernel.run(&launch, 0..1) }
            });
            assert!(has_started.recv().is_ok());
            stop.store(true, Ordering::Relaxed);
            assert!(runner.join().is_ok_and(|outcome| outcome == Outcome::Stopped), "{engine:?} {lanes:?}");
        }
    }
}
