//! What observation costs, against machine code: `cargo run --release -p lockgate-cpu --example watch_speed`.

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use lockgate_cpu::kernel::watch::Recorder;
use lockgate_cpu::kernel::{Binding, BufferBinding, Engine, Kernel, KernelDescriptor, Lanes, Launch};
use naga::valid::{Capabilities, ValidationFlags, Validator};

const GROUPS: u32 = 1024;

const SAXPY: &str = "
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= arrayLength(&y)) { return; }
        y[id.x] = 2.5 * x[id.x] + y[id.x];
    }";

const BLUR: &str = "
    const WEIGHTS = array<f32, 9>(0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162);
    @group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
    @group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        var sum = vec4<f32>();
        for (var d = 0; d < 9; d++) {
            let x = clamp(i32(id.x) + d - 4, 0, i32(arrayLength(&source)) - 1);
            sum += source[x] * WEIGHTS[d];
        }
        result[id.x] = sum;
    }";

fn compile(source: &str, engine: Engine, lanes: Lanes) -> Option<Kernel> {
    let module = naga::front::wgsl::parse_str(source).ok()?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).ok()?;
    let (entry_point, constants) = ("main", &[]);
    Kernel::new(&KernelDescriptor { module: &module, info: &info, entry_point, constants, engine, lanes })
        .ok()
}

fn best(rounds: u32, mut run: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..rounds).map(once).fold(f64::MAX, f64::min)
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (name, source, scalars) in [("saxpy", SAXPY, 1), ("blur", BLUR, 4)] {
        let mut buffers = [(); 2].map(|()| vec![0u32; (GROUPS * 64 * scalars) as usize]);
        let bindings: Vec<Binding> = buffers
            .iter_mut()
            .map(|words| BufferBinding { ptr: words.as_mut_ptr().cast(), len: 4 * words.len() as u64 })
            .map(Binding::Buffer)
            .collect();
        let launch = Launch {
            grid: [GROUPS, 1, 1],
            threads: None,
            bindings: &bindings,
            immediates: &[],
            stop: &AtomicBool::new(false),
        };
        let groups = 0..u64::from(GROUPS);
        let time = |engine, lanes, rounds| {
            let kernel = compile(source, engine, lanes)?;
            // SAFETY: the buffers outlive the call, and nothing else uses them meanwhile.
            Some(best(rounds, || drop(unsafe { kernel.run(&launch, groups.clone()) })))
        };
        let fast = time(Engine::Jit, Lanes::Four, 50).unwrap_or(f64::NAN);
        let scalar = time(Engine::Jit, Lanes::One, 50).unwrap_or(f64::NAN);
        let interpreter = time(Engine::Interpreter, Lanes::One, 2).unwrap_or(f64::NAN);
        let watch = |engine, lanes, rounds| {
            let kernel = compile(source, engine, lanes)?;
            Some(best(rounds, || {
                let mut recorder =
                    Recorder::new(launch.grid, [64, 1, 1], Vec::new(), 4).with_quiet(vec![true, false]);
                // SAFETY: as above.
                drop(unsafe { kernel.watch(&launch, groups.clone(), &mut recorder) });
                recorder.finish();
            }))
        };
        let slow = watch(Engine::Interpreter, Lanes::One, 2).unwrap_or(f64::NAN);
        let watched = watch(Engine::Jit, Lanes::Watched, 10).unwrap_or(f64::NAN);
        let each = 1e9 / f64::from(GROUPS * 64);
        writeln!(
            out,
            "{name}: fast {:.2} ns, scalar {:.2} ns, interpreter {:.0} ns, observed by it {:.0} ns, by machine code {:.1} ns an invocation: {:.1} times scalar, {:.1} times fast",
            fast * each,
            scalar * each,
            interpreter * each,
            slow * each,
            watched * each,
            watched / scalar,
            watched / fast,
        )?;
    }
    Ok(())
}
