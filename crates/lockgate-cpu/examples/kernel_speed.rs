//! Times kernels against the same loops in Rust: `cargo run --release -p lockgate-cpu --example kernel_speed`.

use std::{
    io::Write,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use lockgate_cpu::kernel::{
    Binding, BufferBinding, Engine, Kernel, KernelDescriptor, Lanes, Launch, LevelLayout, TextureBinding,
    TextureDimension, texel::TexelFormat,
};
use naga::valid::{Capabilities, ValidationFlags, Validator};

const SIDE: usize = 1024;

const VECTORS: &str = "
    const WEIGHTS = array<f32, 9>(0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162);
    struct Params { width: u32, height: u32 }
    @group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
    @group(0) @binding(1) var<storage, read_write> result: array<vec4<f32>>;
    @group(0) @binding(2) var<uniform> params: Params;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= params.width) { return; }
        var sum = vec4<f32>();
        for (var d = 0; d < 9; d++) {
            let x = clamp(i32(id.x) + d - 4, 0, i32(params.width) - 1);
            sum += source[id.y * params.width + u32(x)] * WEIGHTS[d];
        }
        result[id.y * params.width + id.x] = sum;
    }";

const BYTES: &str = "
    const WEIGHTS = array<f32, 9>(0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162);
    struct Params { width: u32, height: u32 }
    @group(0) @binding(0) var<storage, read> source: array<u32>;
    @group(0) @binding(1) var<storage, read_write> result: array<u32>;
    @group(0) @binding(2) var<uniform> params: Params;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= params.width) { return; }
        var sum = vec4<f32>();
        for (var d = 0; d < 9; d++) {
            let x = clamp(i32(id.x) + d - 4, 0, i32(params.width) - 1);
            sum += unpack4x8unorm(source[id.y * params.width + u32(x)]) * WEIGHTS[d];
        }
        result[id.y * params.width + id.x] = pack4x8unorm(sum);
    }";

const SAXPY: &str = "
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= arrayLength(&y)) { return; }
        y[id.x] = 2.5 * x[id.x] + y[id.x];
    }";

const TEXELS: &str = "
    const WEIGHTS = array<f32, 9>(0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162);
    @group(0) @binding(0) var source: texture_2d<f32>;
    @group(0) @binding(1) var result: texture_storage_2d<FORMAT, write>;
    @compute @workgroup_size(16, 4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let size = vec2<i32>(textureDimensions(source));
        let at = vec2<i32>(id.xy);
        if (any(at >= size)) { return; }
        var sum = vec4<f32>();
        for (var d = 0; d < 9; d++) {
            let x = clamp(at.x + d - 4, 0, size.x - 1);
            sum += textureLoad(source, vec2(x, at.y), 0) * WEIGHTS[d];
        }
        textureStore(result, at, sum);
    }";

const SUMS: &str = "
    @group(0) @binding(0) var<storage, read> data: array<f32>;
    @group(0) @binding(1) var<storage, read_write> sums: array<f32>;
    var<workgroup> partial: array<f32, 256>;
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>,
        @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3<u32>) {
        partial[i] = data[id.x];
        workgroupBarrier();
        for (var half = 128u; half > 0u; half >>= 1u) {
            if (i < half) { partial[i] += partial[i + half]; }
            workgroupBarrier();
        }
        if (i == 0u) { sums[group.x] = partial[0]; }
    }";

const SUBGROUPS: &str = "
    @group(0) @binding(0) var<storage, read> data: array<f32>;
    @group(0) @binding(1) var<storage, read_write> sums: array<f32>;
    var<workgroup> partial: array<f32, 64>;
    @compute @workgroup_size(256) fn main(@builtin(global_invocation_id) id: vec3<u32>,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
        @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3<u32>) {
        let sum = subgroupAdd(data[id.x]);
        if (lane == 0u) { partial[subgroup] = sum; }
        workgroupBarrier();
        if (i < 4u) {
            var all = 0.0;
            for (var k = 0u; k < 64u; k += 4u) { all += partial[k + i]; }
            all = subgroupAdd(all);
            if (i == 0u) { sums[group.x] = all; }
        }
    }";

const HALVES: &str = "
    enable f16;
    @group(0) @binding(0) var<storage, read> x: array<f16>;
    @group(0) @binding(1) var<storage, read_write> y: array<f16>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= arrayLength(&y)) { return; }
        y[id.x] = 2.5h * x[id.x] + y[id.x];
    }";

const LONGS: &str = "
    @group(0) @binding(0) var<storage, read> x: array<f32>;
    @group(0) @binding(1) var<storage, read_write> y: array<f32>;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= arrayLength(&y)) { return; }
        var state = u64(id.x) * 6364136223846793005lu + 1442695040888963407lu;
        var sum = x[id.x];
        for (var k = 0u; k < 4u; k++) {
            state = state * 6364136223846793005lu + 1442695040888963407lu;
            sum += sqrt(f32(u32(state >> 33u)) * 0.25) * x[id.x];
        }
        y[id.x] = sum;
    }";

const WEIGHTS: [f32; 9] =
    [0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162];

fn compile(source: &str, engine: Engine, lanes: Lanes) -> Option<(Kernel, Duration)> {
    let module = naga::front::wgsl::parse_str(source).ok()?;
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).ok()?;
    let start = Instant::now();
    let descriptor =
        KernelDescriptor { module: &module, info: &info, entry_point: "main", constants: &[], engine, lanes };
    Some((Kernel::new(&descriptor).ok()?, start.elapsed()))
}

fn best(mut run: impl FnMut()) -> Duration {
    (0..20)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .min()
        .unwrap_or_default()
}

fn measure(
    out: &mut impl Write,
    name: &str,
    source: &str,
    grid: [u32; 3],
    buffers: &mut [Vec<u32>],
) -> std::io::Result<()> {
    let buffer = |b: &mut Vec<u32>| BufferBinding { ptr: b.as_mut_ptr().cast(), len: 4 * b.len() as u64 };
    let bindings: Vec<Binding> = buffers.iter_mut().map(|b| Binding::Buffer(buffer(b))).collect();
    measure_bound(out, name, source, grid, &bindings)
}

/// A blur of one texture into another.
fn measure_textures(
    out: &mut impl Write,
    name: &str,
    format: TexelFormat,
    textures: &mut [Vec<u32>; 2],
) -> std::io::Result<()> {
    let side = SIDE as u32;
    let row_pitch = u64::from(format.bytes() * side);
    let bindings = textures.each_mut().map(|texels| {
        let level = LevelLayout {
            ptr: texels.as_mut_ptr().cast(),
            width: side,
            height: side,
            depth_or_layers: 1,
            row_pitch,
            slice_pitch: row_pitch * u64::from(side),
        };
        Binding::Texture(TextureBinding { format, dimension: TextureDimension::D2, levels: vec![level] })
    });
    let source = TEXELS.replace("FORMAT", name);
    measure_bound(out, name, &source, [side / 16, side / 4, 1], &bindings)
}

fn measure_bound(
    out: &mut impl Write,
    name: &str,
    source: &str,
    grid: [u32; 3],
    bindings: &[Binding],
) -> std::io::Result<()> {
    if std::env::args().nth(1).is_some_and(|only| only != name) {
        return Ok(());
    }
    for lanes in [Lanes::One, Lanes::Four] {
        let Some((kernel, compiled)) = compile(source, Engine::Jit, lanes) else { continue };
        let stop = AtomicBool::new(false);
        let launch = Launch { grid, threads: None, bindings, immediates: &[], stop: &stop };
        let groups: u64 = grid.iter().map(|n| u64::from(*n)).product();
        let time = best(|| {
            // SAFETY: the buffers outlive the call, and nothing else uses them.
            let _ = unsafe { kernel.run(&launch, 0..groups) };
        });
        let one = best(|| {
            for _ in 0..1000 {
                // SAFETY: as above.
                let _ = unsafe { kernel.run(&launch, 0..1) };
            }
        });
        writeln!(
            out,
            "{name:12} {lanes:?}: {time:?}, compiled in {compiled:?}, one workgroup {:?}",
            one / 1000
        )?;
    }
    Ok(())
}

fn blur_vectors(source: &[[f32; 4]], result: &mut [[f32; 4]]) {
    for y in 0..SIDE {
        for x in 0..SIDE {
            let mut sum = [0f32; 4];
            for (d, weight) in WEIGHTS.iter().enumerate() {
                let at = (x as i32 + d as i32 - 4).clamp(0, SIDE as i32 - 1) as usize;
                let pixel = source[y * SIDE + at];
                for (sum, channel) in sum.iter_mut().zip(pixel) {
                    *sum += channel * weight;
                }
            }
            result[y * SIDE + x] = sum;
        }
    }
}

fn blur_bytes(source: &[u32], result: &mut [u32]) {
    for y in 0..SIDE {
        for x in 0..SIDE {
            let mut sum = [0f32; 4];
            for (d, weight) in WEIGHTS.iter().enumerate() {
                let at = (x as i32 + d as i32 - 4).clamp(0, SIDE as i32 - 1) as usize;
                for (sum, channel) in sum.iter_mut().zip(source[y * SIDE + at].to_le_bytes()) {
                    *sum += f32::from(channel) * (1.0 / 255.0) * weight;
                }
            }
            let bytes = sum.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
            result[y * SIDE + x] = u32::from_le_bytes(bytes);
        }
    }
}

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let pixels: Vec<[f32; 4]> = (0..SIDE * SIDE).map(|i| [i as f32 * 1e-6; 4]).collect();
    let words: Vec<u32> = pixels.iter().flatten().map(|v| v.to_bits()).collect();
    let params = vec![SIDE as u32, SIDE as u32];
    let side = SIDE as u32;
    measure_textures(&mut out, "rgba32float", TexelFormat::Rgba32Float, &mut [words.clone(), words.clone()])?;
    measure_textures(&mut out, "rgba8unorm", TexelFormat::Rgba8Unorm, &mut [words.clone(), words.clone()])?;
    let mut buffers = [words.clone(), vec![0; words.len()], params.clone()];
    measure(&mut out, "vectors", VECTORS, [side / 64, side, 1], &mut buffers)?;
    let mut result = vec![[0f32; 4]; SIDE * SIDE];
    writeln!(out, "  in Rust: {:?}", best(|| blur_vectors(std::hint::black_box(&pixels), &mut result)))?;
    let bytes: Vec<u32> = (0..SIDE * SIDE).map(|i| (i as u32).wrapping_mul(2_654_435_761)).collect();
    let mut buffers = [bytes.clone(), vec![0; bytes.len()], params];
    measure(&mut out, "bytes", BYTES, [side / 64, side, 1], &mut buffers)?;
    let mut result = vec![0; SIDE * SIDE];
    writeln!(out, "  in Rust: {:?}", best(|| blur_bytes(std::hint::black_box(&bytes), &mut result)))?;
    let million = vec![1f32.to_bits(); 1 << 20];
    measure(&mut out, "saxpy", SAXPY, [1 << 14, 1, 1], &mut [million.clone(), million.clone()])?;
    let x = vec![1f32; 1 << 20];
    let mut y = x.clone();
    let saxpy = || {
        for (y, x) in y.iter_mut().zip(std::hint::black_box(&x)) {
            *y += 2.5 * x;
        }
    };
    writeln!(out, "  in Rust: {:?}", best(saxpy))?;
    measure(&mut out, "sums", SUMS, [1 << 12, 1, 1], &mut [million.clone(), vec![0; 1 << 12]])?;
    measure(&mut out, "longs", LONGS, [1 << 14, 1, 1], &mut [million.clone(), million.clone()])?;
    measure(&mut out, "subgroups", SUBGROUPS, [1 << 12, 1, 1], &mut [million, vec![0; 1 << 12]])?;
    let halves = vec![0x3C00_3C00; 1 << 19];
    measure(&mut out, "halves", HALVES, [1 << 14, 1, 1], &mut [halves.clone(), halves])?;
    Ok(())
}
