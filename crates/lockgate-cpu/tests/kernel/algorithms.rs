//! Whole algorithms, with results that plain Rust computes.

use crate::harness::{Accuracy, Case, Numbers, f32s, to_f32s, to_u32s, u32s};

#[test]
fn scaled_addition() {
    let source = "
        @group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x >= arrayLength(&y)) { return; }
            y[id.x] = 2.5 * x[id.x] + y[id.x];
        }";
    let x: Vec<f32> = (0..150).map(|i| i as f32 * 0.25).collect();
    let y: Vec<f32> = (0..150).map(|i| 100.0 - i as f32).collect();
    let got = Case::new(source, [3, 1, 1], vec![f32s(x.clone()), f32s(y.clone())]).run();
    let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 2.5 * x + y).collect();
    assert_eq!(to_f32s(&got[1]), expected);
}

#[test]
fn bodies_attract_each_other() {
    let source = "
        struct Body { position: vec3<f32>, mass: f32, velocity: vec3<f32> }
        @group(0) @binding(0) var<storage, read> bodies: array<Body>;
        @group(0) @binding(1) var<storage, read_write> next: array<Body>;
        fn pull(from_position: vec3<f32>, other: Body) -> vec3<f32> {
            let d = other.position - from_position;
            let r2 = dot(d, d) + 0.01;
            return d * (other.mass / (r2 * sqrt(r2)));
        }
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var acceleration = vec3<f32>();
            for (var i = 0u; i < arrayLength(&bodies); i++) {
                if (i == id.x) { continue; }
                acceleration += pull(bodies[id.x].position, bodies[i]);
            }
            var body = bodies[id.x];
            body.velocity += acceleration * 0.1;
            body.position += body.velocity * 0.1;
            next[id.x] = body;
        }";
    let mut numbers = Numbers(7);
    let bodies: Vec<[f32; 8]> = (0..16).map(|_| std::array::from_fn(|_| numbers.unit())).collect();
    let bytes = f32s(bodies.iter().flatten().copied());
    let buffers = vec![bytes.clone(), vec![0; bytes.len()]];
    let case = Case { accuracy: Accuracy::Relative(1e-4), ..Case::new(source, [2, 1, 1], buffers) };
    let got = to_f32s(&case.run()[1]);
    for (i, body) in bodies.iter().enumerate() {
        let mut acceleration = [0f32; 3];
        for (_, other) in bodies.iter().enumerate().filter(|(j, _)| *j != i) {
            let d: [f32; 3] = std::array::from_fn(|k| other[k] - body[k]);
            let r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + 0.01;
            let scale = other[3] / (r2 * r2.sqrt());
            (0..3).for_each(|k| acceleration[k] += d[k] * scale);
        }
        for k in 0..3 {
            let velocity = body[4 + k] + acceleration[k] * 0.1;
            let position = body[k] + velocity * 0.1;
            assert!((got[8 * i + 4 + k] - velocity).abs() <= 1e-4 * velocity.abs().max(1.0));
            assert!((got[8 * i + k] - position).abs() <= 1e-4 * position.abs().max(1.0));
        }
    }
}

#[test]
fn matrices_multiply_by_tiles() {
    let source = "
        const N = 32u;
        @group(0) @binding(0) var<storage, read> a: array<f32>;
        @group(0) @binding(1) var<storage, read> b: array<f32>;
        @group(0) @binding(2) var<storage, read_write> c: array<f32>;
        var<workgroup> tile_a: array<array<f32, 8>, 8>;
        var<workgroup> tile_b: array<array<f32, 8>, 8>;
        @compute @workgroup_size(8, 8) fn main(
            @builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
        ) {
            var sum = 0.0;
            for (var t = 0u; t < N / 8u; t++) {
                tile_a[local.y][local.x] = a[id.y * N + t * 8u + local.x];
                tile_b[local.y][local.x] = b[(t * 8u + local.y) * N + id.x];
                workgroupBarrier();
                for (var k = 0u; k < 8u; k++) {
                    sum += tile_a[local.y][k] * tile_b[k][local.x];
                }
                workgroupBarrier();
            }
            c[id.y * N + id.x] = sum;
        }";
    let mut numbers = Numbers(3);
    let mut matrix = || (0..1024).map(|_| (numbers.next() % 16) as f32).collect::<Vec<f32>>();
    let (a, b) = (matrix(), matrix());
    let case = Case::new(source, [4, 4, 1], vec![f32s(a.clone()), f32s(b.clone()), vec![0; 4096]]);
    let cell = |i: usize| (0..32).map(|k| a[i / 32 * 32 + k] * b[k * 32 + i % 32]).sum::<f32>();
    assert_eq!(to_f32s(&case.run()[2]), (0..1024).map(cell).collect::<Vec<_>>());
}

#[test]
fn prefix_sums_through_workgroup_memory() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> data: array<u32>;
        var<workgroup> scratch: array<u32, 64>;
        @compute @workgroup_size(64) fn main(
            @builtin(local_invocation_index) i: u32, @builtin(workgroup_id) group: vec3<u32>,
        ) {
            let at = group.x * 64u + i;
            scratch[i] = data[at];
            for (var step = 1u; step < 64u; step = step << 1u) {
                workgroupBarrier();
                var value = scratch[i];
                if (i >= step) { value += scratch[i - step]; }
                workgroupBarrier();
                scratch[i] = value;
            }
            data[at] = scratch[i];
        }";
    let mut numbers = Numbers(11);
    let data: Vec<u32> = (0..128).map(|_| numbers.next()).collect();
    let got = Case::new(source, [2, 1, 1], vec![u32s(data.clone())]).run();
    let scan = |half: &[u32]| {
        half.iter()
            .scan(0u32, |sum, v| Some((*sum, *sum = sum.wrapping_add(*v)).0.wrapping_add(*v)))
            .collect::<Vec<_>>()
    };
    assert_eq!(to_u32s(&got[0]), [scan(&data[..64]), scan(&data[64..])].concat());
}

#[test]
fn histograms_count_with_atomics() {
    let source = "
        @group(0) @binding(0) var<storage, read> data: array<u32>;
        @group(0) @binding(1) var<storage, read_write> bins: array<atomic<u32>, 16>;
        var<workgroup> local_bins: array<atomic<u32>, 16>;
        @compute @workgroup_size(32) fn main(
            @builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) i: u32,
        ) {
            if (id.x < arrayLength(&data)) { atomicAdd(&local_bins[data[id.x] % 16u], 1u); }
            workgroupBarrier();
            if (i < 16u) { atomicAdd(&bins[i], atomicLoad(&local_bins[i])); }
        }";
    let mut numbers = Numbers(5);
    let data: Vec<u32> = (0..333).map(|_| numbers.next()).collect();
    let got = Case::new(source, [11, 1, 1], vec![u32s(data.clone()), vec![0; 64]]).run();
    let expected: Vec<u32> =
        (0..16).map(|bin| data.iter().filter(|v| **v % 16 == bin).count() as u32).collect();
    assert_eq!(to_u32s(&got[1]), expected);
}

#[test]
fn bitonic_sort_in_one_workgroup() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> data: array<i32, 64>;
        var<workgroup> keys: array<i32, 64>;
        @compute @workgroup_size(32) fn main(@builtin(local_invocation_index) i: u32) {
            keys[i] = data[i];
            keys[i + 32u] = data[i + 32u];
            for (var size = 2u; size <= 64u; size *= 2u) {
                for (var stride = size / 2u; stride > 0u; stride /= 2u) {
                    workgroupBarrier();
                    let low = 2u * i - (i & (stride - 1u));
                    let ascending = (low & size) == 0u;
                    let a = keys[low];
                    let b = keys[low + stride];
                    if ((a > b) == ascending) { keys[low] = b; keys[low + stride] = a; }
                }
            }
            workgroupBarrier();
            data[i] = keys[i];
            data[i + 32u] = keys[i + 32u];
        }";
    let mut numbers = Numbers(17);
    let data: Vec<u32> = (0..64).map(|_| numbers.next()).collect();
    let got = Case::new(source, [1, 1, 1], vec![u32s(data.clone())]).run();
    let mut expected: Vec<i32> = data.iter().map(|v| *v as i32).collect();
    expected.sort_unstable();
    assert_eq!(to_u32s(&got[0]).iter().map(|v| *v as i32).collect::<Vec<_>>(), expected);
}

/// The nine-tap blur, with a weight for each distance.
pub(crate) const BLUR: &str = "
    const WEIGHTS = array<f32, 5>(0.227027, 0.1945946, 0.1216216, 0.054054, 0.016216);
    struct Params { width: u32, height: u32 }
    @group(0) @binding(0) var<storage, read> source: array<vec4<f32>>;
    @group(0) @binding(1) var<storage, read_write> target_image: array<vec4<f32>>;
    @group(0) @binding(2) var<uniform> params: Params;
    @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        if (id.x >= params.width) { return; }
        var sum = vec4<f32>();
        for (var d = -4; d <= 4; d++) {
            let x = clamp(i32(id.x) + d, 0, i32(params.width) - 1);
            sum += source[id.y * params.width + u32(x)] * WEIGHTS[abs(d)];
        }
        target_image[id.y * params.width + id.x] = sum;
    }";

#[test]
fn blur_of_vectors() {
    let (width, height) = (100usize, 3usize);
    let mut numbers = Numbers(23);
    let pixels: Vec<f32> = (0..width * height * 4).map(|_| numbers.unit()).collect();
    let buffers = vec![f32s(pixels.clone()), vec![0; pixels.len() * 4], u32s([width as u32, height as u32])];
    let case = Case::new(BLUR, [2, height as u32, 1], buffers);
    let got = to_f32s(&Case { accuracy: Accuracy::Relative(1e-6), ..case }.run()[1]);
    let weights = [0.227027f32, 0.1945946, 0.1216216, 0.054054, 0.016216];
    for (i, got) in got.iter().enumerate() {
        let (channel, x, y) = (i % 4, (i / 4 % width) as i32, i / 4 / width);
        let expected = (-4i32..=4).fold(0f32, |sum, d| {
            let x = (x + d).clamp(0, width as i32 - 1) as usize;
            sum + pixels[(y * width + x) * 4 + channel] * weights[d.unsigned_abs() as usize]
        });
        assert_eq!(got.to_bits(), expected.to_bits(), "{i}");
    }
}

#[test]
fn blur_of_packed_bytes() {
    let source = "
        @group(0) @binding(0) var<storage, read> source: array<u32>;
        @group(0) @binding(1) var<storage, read_write> result: array<u32>;
        @compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var sum = vec4<f32>();
            for (var d = -1; d <= 1; d++) {
                sum += unpack4x8unorm(source[clamp(i32(id.x) + d, 0, 63)]);
            }
            result[id.x] = pack4x8unorm(sum / 3.0);
        }";
    let mut numbers = Numbers(29);
    let pixels: Vec<u32> = (0..64).map(|_| numbers.next()).collect();
    let got = to_u32s(&Case::new(source, [4, 1, 1], vec![u32s(pixels.clone()), vec![0; 256]]).run()[1]);
    for (i, got) in got.iter().enumerate() {
        for (channel, got) in got.to_le_bytes().into_iter().enumerate() {
            let sum: u32 = (-1..=1)
                .map(|d| u32::from(pixels[(i as i32 + d).clamp(0, 63) as usize].to_le_bytes()[channel]))
                .sum();
            assert!((f64::from(sum) / 3.0 - f64::from(got)).abs() <= 0.51, "{i} {channel}");
        }
    }
}

#[test]
fn mandelbrot_counts_steps() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> steps: array<u32>;
        @compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let c = vec2<f32>(f32(id.x) / 8.0 - 1.5, f32(id.y) / 8.0 - 1.0);
            var z = vec2<f32>();
            var n = 0u;
            loop {
                if (n >= 50u || dot(z, z) > 4.0) { break; }
                z = vec2<f32>(z.x * z.x - z.y * z.y, 2.0 * z.x * z.y) + c;
                n++;
            }
            steps[id.y * 16u + id.x] = n;
        }";
    let got = Case::new(source, [2, 2, 1], vec![vec![0; 1024]]).run();
    let count = |i: u32| {
        let (cx, cy) = ((i % 16) as f32 / 8.0 - 1.5, (i / 16) as f32 / 8.0 - 1.0);
        let (mut x, mut y, mut n) = (0f32, 0f32, 0);
        while n < 50 && x * x + y * y <= 4.0 {
            (x, y) = (x * x - y * y + cx, 2.0 * x * y + cy);
            n += 1;
        }
        n
    };
    assert_eq!(to_u32s(&got[0]), (0..256).map(count).collect::<Vec<u32>>());
}

#[test]
fn game_of_life() {
    let source = "
        const SIZE = 16;
        @group(0) @binding(0) var<storage, read> cells: array<u32>;
        @group(0) @binding(1) var<storage, read_write> next: array<u32>;
        fn cell(x: i32, y: i32) -> u32 {
            return cells[((y + SIZE) % SIZE) * SIZE + (x + SIZE) % SIZE];
        }
        @compute @workgroup_size(4, 4) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let at = vec2<i32>(id.xy);
            var alive = 0u;
            for (var dy = -1; dy <= 1; dy++) {
                for (var dx = -1; dx <= 1; dx++) {
                    if (dx != 0 || dy != 0) { alive += cell(at.x + dx, at.y + dy); }
                }
            }
            switch alive {
                case 2u: { next[at.y * SIZE + at.x] = cell(at.x, at.y); }
                case 3u: { next[at.y * SIZE + at.x] = 1u; }
                default: { next[at.y * SIZE + at.x] = 0u; }
            }
        }";
    let mut numbers = Numbers(31);
    let cells: Vec<u32> = (0..256).map(|_| numbers.next() % 2).collect();
    let got = Case::new(source, [4, 4, 1], vec![u32s(cells.clone()), vec![9; 1024]]).run();
    let next = |i: i32| {
        let alive: u32 = (0..9)
            .filter(|k| *k != 4)
            .map(|k| cells[((i / 16 + k / 3 + 15) % 16 * 16 + (i + k % 3 + 15) % 16) as usize])
            .sum();
        u32::from(alive == 3 || (alive == 2 && cells[i as usize] == 1))
    };
    assert_eq!(to_u32s(&got[1]), (0..256).map(next).collect::<Vec<_>>());
}

#[test]
fn sums_by_halving() {
    let source = "
        @group(0) @binding(0) var<storage, read> data: array<u32>;
        @group(0) @binding(1) var<storage, read_write> sums: array<u32>;
        var<workgroup> partial: array<u32, 128>;
        @compute @workgroup_size(128) fn main(
            @builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) i: u32,
            @builtin(workgroup_id) group: vec3<u32>,
        ) {
            partial[i] = data[id.x];
            workgroupBarrier();
            for (var half = 64u; half > 0u; half >>= 1u) {
                if (i < half) { partial[i] += partial[i + half]; }
                workgroupBarrier();
            }
            if (i == 0u) { sums[group.x] = partial[0]; }
        }";
    let mut numbers = Numbers(37);
    let data: Vec<u32> = (0..512).map(|_| numbers.next()).collect();
    let got = Case::new(source, [4, 1, 1], vec![u32s(data.clone()), vec![0; 16]]).run();
    let expected: Vec<u32> =
        data.chunks(128).map(|c| c.iter().fold(0u32, |a, b| a.wrapping_add(*b))).collect();
    assert_eq!(to_u32s(&got[1]), expected);
}
