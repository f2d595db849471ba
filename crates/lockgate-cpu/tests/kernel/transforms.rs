//! More algorithms as samples write them: transforms, convolutions, and sums by subgroups.

use crate::harness::{Accuracy, Case, Numbers, f32s, to_f32s, to_u32s, u32s};

#[test]
fn fast_fourier_transform() {
    let source = "
        const N = 64u;
        @group(0) @binding(0) var<storage, read> signal: array<vec2<f32>>;
        @group(0) @binding(1) var<storage, read_write> spectrum: array<vec2<f32>>;
        var<workgroup> points: array<vec2<f32>, N>;
        @compute @workgroup_size(32) fn main(@builtin(local_invocation_index) l: u32, @builtin(workgroup_id) group: vec3<u32>) {
            for (var k = l; k < N; k += 32u) { points[reverseBits(k) >> 26u] = signal[group.x * N + k]; }
            workgroupBarrier();
            for (var half = 1u; half < N; half *= 2u) {
                let k = l % half;
                let at = (l / half) * half * 2u + k;
                let angle = -3.14159265 * f32(k) / f32(half);
                let turn = vec2(cos(angle), sin(angle));
                let far = points[at + half];
                let turned = vec2(far.x * turn.x - far.y * turn.y, far.x * turn.y + far.y * turn.x);
                let near = points[at];
                points[at] = near + turned;
                points[at + half] = near - turned;
                workgroupBarrier();
            }
            for (var k = l; k < N; k += 32u) { spectrum[group.x * N + k] = points[k]; }
        }";
    let mut numbers = Numbers(5);
    let signal: Vec<f32> = (0..4 * 64).map(|_| numbers.unit() - 0.5).collect();
    let buffers = vec![f32s(signal.iter().copied()), vec![0; 8 * 128]];
    // Sines may be off by 2^-11 in each of six steps, on sums of up to 64.
    let accuracy = Accuracy::Relative(0.25);
    let got = Case { accuracy, ..Case::new(source, [2, 1, 1], buffers) }.run();
    let got = to_f32s(&got[1]);
    for group in 0..2usize {
        for bin in 0..64 {
            let mut sum = [0f64; 2];
            for k in 0..64 {
                let angle = -2.0 * std::f64::consts::PI * (bin * k % 64) as f64 / 64.0;
                let [re, im] = [0, 1].map(|part| f64::from(signal[2 * (group * 64 + k) + part]));
                sum[0] += re * angle.cos() - im * angle.sin();
                sum[1] += re * angle.sin() + im * angle.cos();
            }
            for part in 0..2 {
                let got = f64::from(got[2 * (group * 64 + bin) + part]);
                assert!((got - sum[part]).abs() < 1e-4, "{group} {bin}: {got}, not {}", sum[part]);
            }
        }
    }
}

#[test]
fn convolution_by_tiles_with_a_rim() {
    let source = "
        override RADIUS = 1i;
        struct Params { size: vec2<u32>, kernel: mat3x3<f32> }
        @group(0) @binding(0) var<storage, read> image: array<f32>;
        @group(0) @binding(1) var<storage, read_write> result: array<f32>;
        @group(0) @binding(2) var<uniform> params: Params;
        var<workgroup> tile: array<array<f32, 10>, 10>;
        fn pixel(at: vec2<i32>) -> f32 {
            let inside = clamp(at, vec2(0), vec2<i32>(params.size) - 1);
            return image[u32(inside.y) * params.size.x + u32(inside.x)];
        }
        @compute @workgroup_size(8, 8) fn main(@builtin(workgroup_id) group: vec3<u32>,
            @builtin(local_invocation_id) l: vec3<u32>, @builtin(local_invocation_index) index: u32) {
            let corner = vec2<i32>(group.xy * 8u) - RADIUS;
            for (var k = index; k < 100u; k += 64u) {
                tile[k / 10u][k % 10u] = pixel(corner + vec2(i32(k % 10u), i32(k / 10u)));
            }
            workgroupBarrier();
            var sum = 0.0;
            for (var y = 0u; y < 3u; y++) {
                for (var x = 0u; x < 3u; x++) { sum += params.kernel[x][y] * tile[l.y + y][l.x + x]; }
            }
            let at = group.xy * 8u + l.xy;
            if (all(at < params.size)) { result[at.y * params.size.x + at.x] = sum; }
        }";
    let (width, height) = (19usize, 13usize);
    let mut numbers = Numbers(8);
    let image: Vec<f32> = (0..width * height).map(|_| numbers.unit()).collect();
    let kernel = [[0.1f32, 0.2, 0.05], [0.3, -0.4, 0.25], [0.15, 0.35, -0.1]];
    let mut params = u32s([width as u32, height as u32, 0, 0]);
    params.extend(kernel.iter().flat_map(|column| f32s([column[0], column[1], column[2], 0.0])));
    let buffers = vec![f32s(image.iter().copied()), vec![0; 4 * width * height], params];
    let case = Case { accuracy: Accuracy::Relative(1e-5), ..Case::new(source, [3, 2, 1], buffers) };
    let got = to_f32s(&case.run()[1]);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let at = |dx: usize, dy: usize| {
            let (x, y) = ((x + dx).clamp(1, width) - 1, (y + dy).clamp(1, height) - 1);
            image[y * width + x]
        };
        let sum: f32 = (0..9).map(|k| kernel[k % 3][k / 3] * at(k % 3, k / 3)).sum();
        assert!((got[y * width + x] - sum).abs() < 1e-5);
    }
}

#[test]
fn sums_and_scans_by_subgroups() {
    let source = "
        @group(0) @binding(0) var<storage, read> values: array<u32>;
        @group(0) @binding(1) var<storage, read_write> scan: array<u32>;
        @group(0) @binding(2) var<storage, read_write> total: atomic<u32>;
        var<workgroup> sums: array<u32, 16>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>,
            @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
            @builtin(subgroup_size) size: u32, @builtin(num_subgroups) count: u32) {
            let before = subgroupExclusiveAdd(values[id.x]);
            if (lane == size - 1u) { sums[subgroup] = before + values[id.x]; }
            workgroupBarrier();
            var start = 0u;
            for (var k = 0u; k < subgroup; k++) { start += sums[k]; }
            scan[id.x] = start + before;
            let all = subgroupAdd(values[id.x]);
            if (subgroupBroadcastFirst(lane) == lane) { atomicAdd(&total, all); }
        }";
    let mut numbers = Numbers(3);
    let values: Vec<u32> = (0..192).map(|_| numbers.next() % 100).collect();
    let buffers = vec![u32s(values.iter().copied()), vec![0; 768], vec![0; 4]];
    let got = Case::new(source, [3, 1, 1], buffers).run();
    let mut running = 0;
    for (i, (got, value)) in to_u32s(&got[1]).into_iter().zip(&values).enumerate() {
        running = if i % 64 == 0 { 0 } else { running };
        assert_eq!(got, running, "{i}");
        running += value;
    }
    assert_eq!(to_u32s(&got[2]), [values.iter().sum::<u32>()]);
}

#[test]
fn half_floats_blend_pictures() {
    let source = "
        enable f16;
        @group(0) @binding(0) var<storage, read> below: array<vec4<f16>>;
        @group(0) @binding(1) var<storage, read> above: array<vec4<f16>>;
        @group(0) @binding(2) var<storage, read_write> result: array<vec4<f16>>;
        @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x >= arrayLength(&result)) { return; }
            let top = above[id.x];
            result[id.x] = top + below[id.x] * (1.0h - top.w);
        }";
    let half = |value: f32| half::f16::from_f32(value);
    let mut numbers = Numbers(4);
    let mut pixels = || (0..4 * 40).map(|_| half(numbers.unit())).collect::<Vec<half::f16>>();
    let (below, above) = (pixels(), pixels());
    let bytes = |pixels: &[half::f16]| pixels.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>();
    let buffers = vec![bytes(&below), bytes(&above), vec![0; 8 * 40]];
    let case = Case::new(source, [3, 1, 1], buffers);
    let got = Case { accuracy: Accuracy::Halves(1.0 / 1024.0), ..case }.run();
    for (i, word) in got[2].as_chunks::<2>().0.iter().enumerate() {
        let rest = half(1.0 - above[i / 4 * 4 + 3].to_f32());
        let product = half(below[i].to_f32() * rest.to_f32());
        assert_eq!(half::f16::from_le_bytes(*word), half(above[i].to_f32() + product.to_f32()), "{i}");
    }
}
