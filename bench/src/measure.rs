//! Medians of interleaved runs.

use std::time::{Duration, Instant};

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
