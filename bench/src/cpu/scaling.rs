//! What more threads gain, as far as the machine has processors, and what they would gain with more.
//!
//! A run of which a part cannot be shared takes `serial + (1 - serial) / threads` of the time that one thread takes. The part
//! is fitted to what was measured; memory that all threads share counts as such a part.

use super::ours::Ours;
use super::work::{Peer, Work};
use super::works::works;
use crate::report::Section;
use lockgate::cpu::{CpuBackend, CpuDescriptor};
use lockgate::{Checking, Device, DeviceDescriptor, Result};
use std::time::{Duration, Instant};

/// How many threads the last column is about.
const FAR: f64 = 64.0;

pub fn run(quick: bool) -> Section {
    let rounds = if quick { 2 } else { 9 };
    let only = std::env::var("KERNEL").unwrap_or_default();
    let most = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut section = Section::new("cpu, scaling", "one thread", rounds);
    section.device = format!("{most} processors");
    for work in works(quick).iter().filter(|work| work.name.contains(&only)) {
        match measure(work, most, rounds) {
            Ok(times) => add(&mut section, &work.name, &times),
            Err(why) => section.left_out.push(format!("{}: {why}", work.name)),
        }
    }
    section
}

/// Medians by number of threads.
fn measure(work: &Work, most: usize, rounds: usize) -> Result<Vec<(usize, Duration)>> {
    let counts = (0..).map(|power| 1 << power).take_while(|threads| *threads <= most);
    let open = |threads| {
        let backend = CpuBackend::new(&CpuDescriptor { threads, ..Default::default() })?;
        let descriptor = DeviceDescriptor { checking: Checking::Off, ..Default::default() };
        let device = Device::open(Box::new(backend), descriptor)?;
        Ok((threads, Ours::new(String::new(), device, work)?, Vec::new()))
    };
    let mut all = counts.map(open).collect::<Result<Vec<(usize, Ours<'_>, Vec<Duration>)>>>()?;
    for round in 0..=rounds {
        for (_, ours, times) in &mut all {
            ours.prepare();
            let begin = Instant::now();
            ours.run();
            times.extend((round > 0).then(|| begin.elapsed()));
        }
    }
    let middle = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2]
    };
    Ok(all.into_iter().map(|(threads, _, times)| (threads, middle(times))).collect())
}

fn add(section: &mut Section, kernel: &str, times: &[(usize, Duration)]) {
    let one = times[0].1.as_secs_f64();
    for (threads, time) in times {
        section.add(kernel, &format!("threads: {threads}"), ("speedup", "times"), one / time.as_secs_f64());
    }
    // Least squares over all that was measured: of `taken - 1 / threads = serial * (1 - 1 / threads)`.
    let (mut above, mut below) = (0.0, 0.0);
    for (threads, time) in &times[1..] {
        let share = 1.0 / *threads as f64;
        above += (time.as_secs_f64() / one - share) * (1.0 - share);
        below += (1.0 - share) * (1.0 - share);
    }
    if below > 0.0 {
        let serial = (above / below).clamp(0.0, 1.0);
        section.add(kernel, "fitted", ("serial part", "%"), 100.0 * serial);
        let far = 1.0 / (serial + (1.0 - serial) / FAR);
        section.add(kernel, "threads: 64, by that", ("speedup", "times"), far);
    }
}
