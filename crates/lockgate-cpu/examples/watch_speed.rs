//! What observation costs, against machine code: `cargo run --release -p lockgate-cpu --example watch_speed`. Names of
//! kernels behind it choose some; then nothing is interpreted.

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use lockgate_cpu::kernel::watch::Recorder;
use lockgate_cpu::kernel::{Binding, BufferBinding, Engine, Kernel, KernelDescriptor, Lanes, Launch};
use naga::valid::{Capabilities, ValidationFlags, Validator};

const GROUPS: u32 = 1024;
/// Workgroups whose cells do not fit into a cache.
const MANY: u32 = 8 * GROUPS;

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

/// Places that go on in no order.
const SCATTER: &str = "
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let at = (id.x * 40503u) % arrayLength(&y);
        y[at] = x[at] + 1u;
    }";

/// Workgroup memory with barriers.
const HALVES: &str = "
    var<workgroup> tile: array<u32, 64>;
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        tile[lane] = x[id.x];
        workgroupBarrier();
        for (var s = 32u; s > 0u; s /= 2u) { if lane < s { tile[lane] += tile[lane + s]; } workgroupBarrier(); }
        if lane == 0u { y[id.x / 64u] = tile[0]; }
    }";

/// The same, behind a test that an invocation is in the grid: workgroups may differ.
const GUARDED: &str = "
    var<workgroup> tile: array<u32, 64>;
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        if id.x < arrayLength(&x) { tile[lane] = x[id.x]; } else { tile[lane] = 0u; }
        workgroupBarrier();
        for (var s = 32u; s > 0u; s /= 2u) { if lane < s { tile[lane] += tile[lane + s]; } workgroupBarrier(); }
        if lane == 0u { y[id.x / 64u] = tile[0]; }
    }";

/// Workgroup memory that many invocations read.
const TILES: &str = "
    var<workgroup> a: array<f32, 64>;
    var<workgroup> b: array<f32, 64>;
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        a[lane] = x[id.x];
        b[lane] = x[id.x ^ 7u];
        workgroupBarrier();
        var sum = 0.0;
        for (var k = 0u; k < 8u; k++) { sum += a[lane / 8u * 8u + k] * b[k * 8u + lane % 8u]; }
        y[id.x] = sum;
    }";

/// Places that go on to the end of a row.
const ROWS: &str = "
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(16, 4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let at = id.x / 256u * 1024u + id.y * 256u + id.x % 256u;
        y[at] = x[at] * 2.0 + y[at];
    }";

/// Elements of workgroup memory that hang on data.
const TABLE: &str = "
    var<workgroup> table: array<u32, 64>;
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        table[lane] = lane * lane;
        workgroupBarrier();
        var at = x[id.x];
        for (var k = 0u; k < 4u; k++) { at = table[(at + id.x) % 64u]; }
        y[id.x] = at;
    }";

/// Counts in workgroup memory, by atomic operations.
const BINS: &str = "
    var<workgroup> bins: array<atomic<u32>, 64>;
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
        atomicStore(&bins[lane], 0u);
        workgroupBarrier();
        for (var k = 0u; k < 4u; k++) { atomicAdd(&bins[((x[id.x] + id.x) * 2654435761u >> (4u * k)) % 64u], 1u); }
        workgroupBarrier();
        y[id.x] = atomicLoad(&bins[lane]);
    }";

/// Counts in bound memory.
const COUNTS: &str = "
    @group(0) @binding(0) var<storage, read> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<atomic<u32>>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        for (var k = 0u; k < 4u; k++) { atomicAdd(&y[((x[id.x] + id.x) * 2654435761u >> (4u * k)) % 256u], 1u); }
    }";

/// Rows of an image that may be written, read by three invocations each.
const THRICE: &str = "
    @group(0) @binding(0) var<storage, read_write> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(16, 4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let at = id.x / 256u * 1024u + id.y * 256u + id.x % 256u;
        y[at] = x[at] + x[max(at, 256u) - 256u] + x[min(at + 256u, arrayLength(&x) - 1u)];
    }";

fn compile(source: &str, engine: Engine, lanes: Lanes) -> Option<Kernel> {
    let module = naga::front::wgsl::parse_str(source).ok()?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).ok()?;
    let (entry_point, constants) = ("main", &[]);
    Kernel::new(&KernelDescriptor { module: &module, info: &info, entry_point, constants, engine, lanes })
        .ok()
}

/// Rounds of all machine code, one after the other, so that what else the machine does meets all alike.
const ROUNDS: usize = 60;

fn time(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64()
}

/// The best of so many rounds, each of all.
fn best<const N: usize>(rounds: usize, mut runs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (least, run) in least.iter_mut().zip(&mut runs) {
            *least = least.min(time(run));
        }
    }
    least
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let kernels = [
        ("saxpy", SAXPY, 1, GROUPS),
        ("blur", BLUR, 4, GROUPS),
        ("scatter", SCATTER, 1, GROUPS),
        ("far", SCATTER, 1, MANY),
        ("halves", HALVES, 1, GROUPS),
        ("tiles", TILES, 1, GROUPS),
        ("guarded", GUARDED, 1, GROUPS),
        ("rows", ROWS, 1, GROUPS),
        ("thrice", THRICE, 1, GROUPS),
        ("table", TABLE, 1, GROUPS),
        ("bins", BINS, 1, GROUPS),
        ("counts", COUNTS, 1, GROUPS),
    ];
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for (name, source, scalars, groups) in kernels {
        if !chosen.is_empty() && !chosen.iter().any(|chosen| chosen == name) {
            continue;
        }
        let mut buffers = [(); 2].map(|()| vec![0u32; (groups * 64 * scalars) as usize]);
        let bindings: Vec<Binding> = buffers
            .iter_mut()
            .map(|words| BufferBinding { ptr: words.as_mut_ptr().cast(), len: 4 * words.len() as u64 })
            .map(Binding::Buffer)
            .collect();
        let launch = &Launch {
            grid: [groups, 1, 1],
            threads: None,
            bindings: &bindings,
            immediates: &[],
            stop: &AtomicBool::new(false),
        };
        let plain = |engine, lanes| {
            let kernel = compile(source, engine, lanes);
            move || {
                // SAFETY: the buffers outlive the call, and nothing else uses them meanwhile.
                kernel.iter().for_each(|kernel| drop(unsafe { kernel.run(launch, 0..u64::from(groups)) }));
            }
        };
        let watch = |engine, lanes| {
            let kernel = compile(source, engine, lanes);
            move || {
                let Some(kernel) = &kernel else { return };
                let recorder = Recorder::new(launch.grid, kernel.workgroup_size(), Vec::new(), 4);
                let mut recorder = recorder.with_quiet(vec![!source.contains("read_write> x"), false]);
                // SAFETY: as above.
                drop(unsafe { kernel.watch(launch, 0..u64::from(groups), &mut recorder) });
                recorder.finish();
            }
        };
        let mut code = (
            plain(Engine::Jit, Lanes::Four),
            plain(Engine::Jit, Lanes::One),
            watch(Engine::Jit, Lanes::Watched),
        );
        let [fast, scalar, watched] = best(ROUNDS, [&mut code.0, &mut code.1, &mut code.2]);
        let mut slow = (plain(Engine::Interpreter, Lanes::One), watch(Engine::Interpreter, Lanes::One));
        let rounds = usize::from(chosen.is_empty());
        let [interpreter, slow] = best(rounds, [&mut slow.0, &mut slow.1]);
        let each = 1e9 / f64::from(groups * 64);
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
