//! What dispatches and copies cost beside the work itself.

use super::raw::spin_until;
use crate::measure::{medians, per, ratio};
use lockgate::cpu::{CpuBackend, CpuDescriptor};
use lockgate::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

const KERNELS: &str = "
@group(0) @binding(2) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(64) fn step(@builtin(global_invocation_id) id: vec3u) {
    words[id.x] = words[id.x] * 3u + 1u;
}
@compute @workgroup_size(1) fn count() { words[0] += 1u; }
@compute @workgroup_size(64) fn nothing() {}
";

struct Bench {
    device: Device,
    queue: CommandQueue,
    allocator: CommandAllocator,
    library: Library,
}

impl Bench {
    fn new(threads: usize) -> Bench {
        let backend = CpuBackend::new(&CpuDescriptor { threads, ..Default::default() }).unwrap();
        let device = Device::new(Box::new(backend), DeviceDescriptor::default());
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let allocator = device.new_command_allocator("");
        let library = device.new_library(KERNELS).unwrap();
        Bench { device, queue, allocator, library }
    }

    fn run(&self, record: impl FnOnce(&mut ComputeCommandEncoder<'_>)) {
        let mut commands = self.device.new_command_buffer("");
        commands.begin(&self.allocator);
        record(&mut commands.compute_command_encoder(""));
        commands.end().unwrap();
        self.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        self.allocator.reset().unwrap();
    }

    /// Microseconds from the call of commit until the host knows that an empty dispatch is done: the median.
    fn latency(&self, nothing: &ComputePipeline, rounds: usize) -> f64 {
        let mut commands = self.device.new_command_buffer("");
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..rounds * 100 {
            commands.begin(&self.allocator);
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(nothing);
            encoder.dispatch_threads([64, 1, 1]);
            encoder.end_encoding();
            commands.end().unwrap();
            let begin = Instant::now();
            self.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
            times.push(begin.elapsed());
            self.allocator.reset().unwrap();
        }
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / 1000.0
    }

    /// Microseconds from the call of commit until a word that a kernel writes is seen by the host, which does nothing but
    /// look: the median.
    fn first_instruction(&self, rounds: usize) -> f64 {
        let pipeline = self.device.new_compute_pipeline(&self.library, "count").unwrap();
        let words = self.buffer(256, false);
        let table = self.device.new_argument_table();
        table.set_buffer("words", &words);
        let mut commands = self.device.new_command_buffer("");
        let mut times: Vec<Duration> = Vec::new();
        for round in 1..=rounds as u32 * 100 {
            commands.begin(&self.allocator);
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&pipeline);
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([1, 1, 1]);
            encoder.end_encoding();
            commands.end().unwrap();
            let begin = Instant::now();
            let commit = self.queue.commit(&[&commands]).unwrap();
            spin_until(&words, round);
            times.push(begin.elapsed());
            commit.wait_until_completed().unwrap();
            self.allocator.reset().unwrap();
        }
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / 1000.0
    }

    /// Nanoseconds a dispatch of many that are independent, recorded before: of the whole, and of the call of commit.
    fn independent(&self, rounds: usize) -> [f64; 2] {
        const COUNT: u64 = 10_000;
        let words = self.buffer(256 * COUNT as usize, false);
        let step = self.device.new_compute_pipeline(&self.library, "step").unwrap();
        let table = self.device.new_argument_table();
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let mut commands = self.device.new_command_buffer("");
            commands.begin(&self.allocator);
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&step);
            for at in 0..COUNT {
                table.set_buffer_range("words", &words, 256 * at..256 * (at + 1));
                encoder.set_argument_table(&table);
                encoder.dispatch_threads([64, 1, 1]);
            }
            encoder.end_encoding();
            commands.end().unwrap();
            let begin = Instant::now();
            let commit = self.queue.commit(&[&commands]).unwrap();
            times[1].push(begin.elapsed());
            commit.wait_until_completed().unwrap();
            times[0].push(begin.elapsed());
            self.allocator.reset().unwrap();
        }
        times.map(|mut times| {
            times.sort_unstable();
            per(times[times.len() / 2], COUNT)
        })
    }

    fn buffer(&self, size: usize, tracked: bool) -> Buffer {
        let hazard_tracking_mode =
            if tracked { HazardTrackingMode::Tracked } else { HazardTrackingMode::Untracked };
        let descriptor = BufferDescriptor { size: size as u64, hazard_tracking_mode, ..Default::default() };
        self.device.new_buffer(&descriptor).unwrap()
    }
}

pub fn run(quick: bool) {
    let rounds = if quick { 5 } else { 31 };
    overheads(rounds);
    copies(rounds);
}

fn overheads(rounds: usize) {
    let bench = Bench::new(0);
    let words = bench.buffer(256, true);
    let step = bench.device.new_compute_pipeline(&bench.library, "step").unwrap();
    let table = bench.device.new_argument_table();
    table.set_buffer("words", &words);
    let dispatches = |count: u32| {
        bench.run(|encoder| {
            encoder.set_compute_pipeline(&step);
            encoder.set_argument_table(&table);
            (0..count).for_each(|_| encoder.dispatch_threads([64, 1, 1]));
        });
    };
    let [one, chain] =
        medians(rounds, [&mut || (0..100).for_each(|_| dispatches(1)), &mut || dispatches(10_000)]);
    let nothing = bench.device.new_compute_pipeline(&bench.library, "nothing").unwrap();
    println!("| what | us |");
    println!("|---|---|");
    println!(
        "| an empty dispatch, commit to done, on a warm queue | {:.2} |",
        bench.latency(&nothing, rounds)
    );
    println!("| one dispatch of 64: record, commit, wait, on a warm queue | {:.2} |", per(one, 100) / 1000.0);
    println!(
        "| 10,000 dependent (tracked) dispatches in one command buffer, for each | {:.3} |",
        per(chain, 10_000) / 1000.0
    );
    println!(
        "| commit to the first instruction of a dispatch, on a warm queue | {:.2} |",
        bench.first_instruction(rounds)
    );
    let [whole, commit] = bench.independent(rounds);
    println!(
        "| 10,000 independent untracked dispatches of 64 in one command buffer, for each | {:.3} |",
        whole / 1000.0
    );
    println!("| of that, the call of commit | {:.3} |", commit / 1000.0);
}

fn copies(rounds: usize) {
    let bench = Bench::new(0);
    let size = 64 << 20;
    let (from, to) = (bench.buffer(size, false), bench.buffer(size, false));
    let (source, mut target) = (vec![1u8; size], vec![0u8; size]);
    let [device, memcpy] = medians(
        rounds,
        [&mut || bench.run(|encoder| encoder.copy_buffer(&from, 0, &to, 0, size as u64)), &mut || {
            black_box(&mut target).copy_from_slice(black_box(&source))
        }],
    );
    println!("\n| copy of 64 MiB | ms | times memcpy |");
    println!("|---|---|---|");
    println!("| copy_buffer | {:.2} | {:.2} |", device.as_secs_f64() * 1e3, ratio(device, memcpy));
}
