//! Medians of interleaved runs.

use std::time::{Duration, Instant};

/// A kernel with four buffers, for what is never run.
pub const MIX: &str = "
@group(0) @binding(0) var<storage, read_write> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> c: array<u32>;
@group(0) @binding(3) var<storage, read> d: array<u32>;
@compute @workgroup_size(64) fn mix(@builtin(global_invocation_id) id: vec3u) {
    a[id.x] = b[id.x] + c[id.x] + d[id.x];
}";

/// Runs all subjects in turn, `rounds` times, after one round to warm up, and returns the median of each.
pub fn medians<const N: usize>(rounds: usize, mut subjects: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times: [Vec<Duration>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..=rounds {
        for (subject, times) in subjects.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            subject();
            if round > 0 {
                times.push(begin.elapsed());
            }
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

pub fn per(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / count as f64
}

pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
