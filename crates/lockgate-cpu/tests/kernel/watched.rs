//! Machine code that looks at cells itself records what it records if it tells each access: places, races with lines,
//! invocations and counts, reads of nothing, and bytes. The interpreter finds races in the same kernels.

use std::sync::atomic::AtomicBool;

use lockgate_cpu::kernel::{
    Binding, BufferBinding, Engine, Kernel, KernelDescriptor, Lanes, Launch, Outcome, watch::Recorder,
};
use naga::valid::{Capabilities, ValidationFlags, Validator};

use crate::harness::Numbers;

const GROUPS: u32 = 6;
const LANES: u64 = 16;
const WORDS: usize = 512;

/// All bindings are the same memory.
const HEAD: &str = "
    @group(0) @binding(0) var<storage, read_write> data: array<u32>;
    @group(0) @binding(1) var<storage, read_write> counts: array<atomic<u32>>;
    @group(0) @binding(2) var<storage, read_write> wide: array<vec4<u32>>;
    @group(0) @binding(3) var<storage, read> input: array<u32>;
    var<workgroup> tile: array<u32, 16>;
    var<workgroup> hits: array<atomic<u32>, 16>;
    @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u,
        @builtin(local_invocation_index) lane: u32) {
        var sum = 0u;
        if id.x > 1000 { sum += data[0] + atomicLoad(&counts[0]) + wide[0].x + input[0]; }
";

/// An element below 16 for the tile, or anywhere.
fn element(numbers: &mut Numbers, own: bool, tile: bool) -> String {
    let (a, b) = (2 * (numbers.next() % 8) + 1, numbers.next() % 16);
    match (numbers.next() % if own { 2 } else { 7 }, tile) {
        (0, true) => "lane".into(),
        (0, false) => "id.x".into(),
        (1, true) => format!("(lane * {a} + {b}) % 16"),
        (1, false) => format!("id.x / 16 * 16 + (lane * {a} + {b}) % 16"),
        (2, _) => format!("{b}"),
        (3, true) => "lane ^ 1".into(),
        (3, false) => format!("id.x + {b}"),
        (4, true) => "lane / 2".into(),
        (4, false) => format!("(id.x * {a} + {b}) % 97"),
        (5, true) => format!("lane + {}", b / 8),
        (5, false) => format!("id.x * {a}"),
        (_, true) => "sum % 16 * 0".into(),
        (_, false) => format!("(id.x * id.x + {b}) % 61"),
    }
}

fn statement(numbers: &mut Numbers, own: bool) -> String {
    let anywhere = element(numbers, own, false);
    let tile = element(numbers, own, true);
    match numbers.next() % if own { 12 } else { 18 } {
        0 => format!("data[{anywhere}] = id.x;"),
        1 => format!("data[{anywhere}] = 7;"),
        2 => format!("data[{anywhere}] += 1;"),
        3 => format!("sum += data[{anywhere}];"),
        4 | 5 => format!("tile[{tile}] = lane;"),
        6 => format!("tile[{tile}] += 1;"),
        7 => format!("sum += tile[{tile}];"),
        8 => "workgroupBarrier();".into(),
        9 => "storageBarrier();".into(),
        10 => "workgroupBarrier(); storageBarrier();".into(),
        11 => format!("for (var k = 0u; k < 3; k++) {{ data[128 * k + {anywhere}] = sum; }}"),
        12 => format!("atomicAdd(&counts[{anywhere}], 1);"),
        13 => format!("sum += atomicLoad(&counts[{anywhere}]);"),
        14 => format!("wide[{anywhere}] = vec4(sum, 1, id.x, 0);"),
        15 => format!("if id.x % 3 == 1 {{ sum += wide[{anywhere}].y; }}"),
        16 => format!("atomicMax(&hits[{tile}], lane);"),
        _ => format!("sum += input[{anywhere}];"),
    }
}

/// What a record says, and whether there are races.
fn record(source: &str, engine: Engine, by_calls: bool) -> (String, Vec<String>, bool) {
    let module = naga::front::wgsl::parse_str(source).unwrap_or_else(|error| panic!("{error}: {source}"));
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).unwrap();
    let lanes = if engine == Engine::Jit { Lanes::Watched } else { Lanes::One };
    let (entry_point, constants) = ("main", &[]);
    let descriptor = KernelDescriptor { module: &module, info: &info, entry_point, constants, engine, lanes };
    let kernel = Kernel::new(&descriptor).unwrap();
    // Findings tell addresses, so the memory is in the same place each time.
    thread_local!(static MEMORY: std::cell::RefCell<Vec<u32>> = const { std::cell::RefCell::new(Vec::new()) });
    MEMORY.with_borrow_mut(|memory| {
        memory.clear();
        memory.resize(WORDS, 0);
        let start = memory.as_mut_ptr();
        let buffer = BufferBinding { ptr: start.cast(), len: 4 * WORDS as u64 };
        let bindings = [buffer; 4].map(Binding::Buffer);
        let (grid, stop) = ([GROUPS, 1, 1], AtomicBool::new(false));
        let launch = Launch { grid, threads: None, bindings: &bindings, immediates: &[], stop: &stop };
        // Of some bytes is known that nobody has written them.
        let (start, fresh) = (start as u64, if source.len().is_multiple_of(2) { 4 * 70 } else { 0 });
        let fresh = vec![(start..start + fresh).into(); 4];
        let mut recorder = Recorder::new(grid, [LANES as u32, 1, 1], fresh, 4);
        if by_calls {
            recorder = recorder.with_calls_only();
        }
        for groups in [0..2, 2..u64::from(GROUPS)] {
            // SAFETY: the memory outlives the call, and nothing else uses it meanwhile.
            let outcome = unsafe { kernel.watch(&launch, groups, &mut recorder) };
            assert!(matches!(outcome, Outcome::Done), "{outcome:?}: {source}");
        }
        recorder.finish();
        let sites = recorder.sites();
        let bytes = (0..sites.len()).map(|site| {
            format!(
                "{:?} {:?} {:?} {:?}",
                sites[site].span,
                sites[site].kind,
                sites[site].space,
                recorder.bytes(site as u16)
            )
        });
        let mut bytes: Vec<String> = bytes.collect();
        bytes.sort();
        let nothing: Vec<_> = recorder.reads_of_nothing().collect();
        let all = format!(
            "{sites:?}\n{:?}\n{nothing:?}\n{:?}\n{}",
            recorder.races(),
            recorder.out_of_range(),
            recorder.is_complete()
        );
        (all, bytes, !recorder.races().is_empty())
    })
}

/// Whether all that is recorded is the same, and there are races.
fn check(body: &str) -> bool {
    let source = format!("{HEAD}{body}\ndata[id.x + 256] = sum; }}");
    let inline = record(&source, Engine::Jit, false);
    let calls = record(&source, Engine::Jit, true);
    assert_eq!(inline, calls, "{source}");
    let interpreted = record(&source, Engine::Interpreter, false);
    assert_eq!((&inline.1, inline.2), (&interpreted.1, interpreted.2), "{source}");
    inline.2
}

#[test]
fn cells_in_machine_code_record_what_calls_do() {
    let mut counts = [0; 2];
    for seed in 1..=240u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Own elements alone, with or without a few others.
        let strange = [0, 12, 4, 2][seed as usize % 4];
        let count = 3 + numbers.next() % 10;
        let mut body = String::new();
        for _ in 0..count {
            let own = strange == 0 || !numbers.next().is_multiple_of(strange);
            body += &statement(&mut numbers, own);
            body += "\n";
        }
        counts[usize::from(check(&body))] += 1;
    }
    assert!(counts.iter().all(|count| *count > 30), "{counts:?}");
}

#[test]
fn a_second_reader_is_known_to_the_first() {
    // The barrier lets all read before the first one writes, and orders nothing in this memory.
    let bound = |read: &str, write: &str| {
        let scattered = "data[128 + (id.x * 37) % 128] = 1;";
        format!(
            "{scattered} if {read} {{ sum += data[lane / 16 + 3]; }} workgroupBarrier(); if {write} {{ data[3] = 9; }}"
        )
    };
    let own = |read: &str, write: &str| {
        format!(
            "tile[lane] = 1; workgroupBarrier(); if {read} {{ sum += tile[3]; }} storageBarrier(); if {write} {{ tile[3] = 9; }}"
        )
    };
    assert!(check(&own("lane > 4", "lane == 5")));
    assert!(check(&own("lane > 4 && lane < 7", "lane == 5")));
    assert!(check(&own("lane > 4 && lane < 7", "lane == 6")));
    assert!(check(&own("lane == 5 || lane == 6 + id.x / 16", "id.x == 69")));
    assert!(!check(&own("lane == 5", "lane == 5")));
    assert!(check(&bound("id.x > 36", "id.x == 37")));
    assert!(check(&bound("id.x > 36 && id.x < 39", "id.x == 37")));
    assert!(check(&bound("id.x == 1 || id.x == 37", "id.x == 37")));
    assert!(!check(&bound("id.x == 37", "id.x == 37")));
}
