//! What checking costs: beside not checking, and over a long stream, where it must not grow with the length.
//!
//! Vulkan's validation layer is not in the comparison: there is no Vulkan device yet that could run the same stream.

use crate::measure::{MIX, medians, per};
use crate::report::Section;
use lockgate::null::NullBackend;
use lockgate::*;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Dispatches of a pass. Each writes a buffer of its own and reads three that the pass before has written.
const PASS: usize = 10;
/// Frames that the host is behind in the long stream.
const IN_FLIGHT: usize = 3;

/// A device with what a clean stream of dispatches on untracked buffers needs.
struct Stream {
    device: Device,
    queue: CommandQueue,
    allocators: Vec<CommandAllocator>,
    commands: CommandBuffer,
    pipeline: ComputePipeline,
    /// One for each dispatch of two passes.
    tables: Vec<ArgumentTable>,
    frames: usize,
    in_flight: VecDeque<Commit>,
}

impl Stream {
    fn new(checking: Checking) -> Stream {
        let descriptor = DeviceDescriptor { checking, ..Default::default() };
        let device = Device::new(Box::new(NullBackend::default()), descriptor);
        let library = device.new_library(MIX).expect("the kernel is valid");
        let pipeline =
            device.new_compute_pipeline(&library, "mix").expect("the null device takes everything");
        let hazard_tracking_mode = HazardTrackingMode::Untracked;
        let untracked = BufferDescriptor { size: 4096, hazard_tracking_mode, ..Default::default() };
        let buffers: Vec<Buffer> =
            (0..2 * PASS).map(|_| device.new_buffer(&untracked).expect("it is small")).collect();
        let (even, odd) = buffers.split_at(PASS);
        let passes = [(even, odd), (odd, even)];
        let table = |written: &[Buffer], read: &[Buffer], n: usize| {
            let table = device.new_argument_table();
            table.set_buffer("a", &written[n]);
            for (name, step) in [("b", 0), ("c", 1), ("d", 5)] {
                table.set_buffer(name, &read[(n + step) % PASS]);
            }
            table
        };
        let tables =
            passes.iter().flat_map(|(to, from)| (0..PASS).map(move |n| table(to, from, n))).collect();
        Stream {
            queue: device.new_command_queue(&Default::default()).expect("a queue"),
            allocators: (0..IN_FLIGHT).map(|_| device.new_command_allocator("frame")).collect(),
            commands: device.new_command_buffer("frame"),
            pipeline,
            tables,
            frames: 0,
            in_flight: VecDeque::new(),
            device,
        }
    }

    fn record(&mut self, dispatches: usize) {
        self.commands.begin(&self.allocators[self.frames % IN_FLIGHT]);
        for pass in 0..dispatches / PASS {
            let mut encoder = self.commands.compute_command_encoder("");
            let stages = Stages::DISPATCH;
            encoder.consumer_barrier(Barrier { after: stages, before: stages, ..Default::default() });
            encoder.set_compute_pipeline(&self.pipeline);
            for table in &self.tables[pass % 2 * PASS..][..PASS] {
                encoder.set_argument_table(table);
                encoder.dispatch_threads([1024, 1, 1]);
            }
        }
        self.commands.end().expect("the recording is valid");
    }

    /// Records without a commit.
    fn record_only(&mut self, dispatches: usize) {
        self.record(dispatches);
        let allocator = &self.allocators[self.frames % IN_FLIGHT];
        // What was ended is forgotten when the next recording begins.
        self.commands.begin(allocator);
        self.commands.end().expect("an empty recording is valid");
        self.commands = self.device.new_command_buffer("frame");
        allocator.reset().expect("nothing was committed");
    }

    /// Records and commits a frame, and waits for the one that used its allocator before.
    fn frame(&mut self, dispatches: usize) {
        if self.in_flight.len() == IN_FLIGHT
            && let Some(commit) = self.in_flight.pop_front()
        {
            commit.wait_until_completed().expect("the null device fails nothing");
            self.allocators[self.frames % IN_FLIGHT].reset().expect("its commit is done");
        }
        self.record(dispatches);
        self.in_flight.push_back(self.queue.commit(&[&self.commands]).expect("the program is clean"));
        self.frames += 1;
    }

    fn frames(&mut self, frames: usize, dispatches: usize) {
        (0..frames).for_each(|_| self.frame(dispatches));
    }

    fn assert_clean(&self) {
        let report = self.device.take_report();
        assert!(report.gaps.is_empty() && report.misuse.is_empty(), "{:?}", report.findings.first());
    }
}

/// Medians of a subject on a device of each mode, in one run.
fn modes(rounds: usize, act: impl Fn(&mut Stream)) -> [Duration; 3] {
    let streams =
        [Checking::Off, Checking::Collect, Checking::Deny].map(|mode| RefCell::new(Stream::new(mode)));
    // So many commits are kept by a device that checks; until then it takes new memory for each.
    (0..8).for_each(|_| streams.iter().for_each(|stream| act(&mut stream.borrow_mut())));
    let times = medians(
        rounds,
        [&mut || act(&mut streams[0].borrow_mut()), &mut || act(&mut streams[1].borrow_mut()), &mut || {
            act(&mut streams[2].borrow_mut())
        }],
    );
    streams.iter().for_each(|stream| stream.borrow().assert_clean());
    times
}

fn beside(quick: bool) -> Section {
    let dispatches = if quick { 1_000 } else { 10_000 };
    let rounds = if quick { 5 } else { 21 };
    let mut section = Section::new("check", "off", rounds);
    let mut add = |name: &str, times: [Duration; 3]| {
        let workload = format!("{dispatches} dispatches with four buffers, a barrier for each ten: {name}");
        let [off, ..] = times.map(|time| per(time, dispatches as u64));
        for (peer, time) in ["off", "collect", "deny"].into_iter().zip(times) {
            let metric = ("time", "ns a dispatch");
            section.add_beside(&workload, peer, metric, per(time, dispatches as u64), off);
        }
    };
    add("recording", modes(rounds, |stream| stream.record_only(dispatches)));
    for (name, frames) in [("one commit", 1), ("10 commits", 10), ("100 commits", 100)] {
        let times = modes(rounds, |stream| stream.frames(frames, dispatches / frames));
        add(&format!("recording and committing, {name}"), times);
    }
    section
}

/// Memory of this process in KiB, where the system tells.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn long(quick: bool) -> Section {
    const FRAME: usize = 1000;
    let frames = if quick { 300 } else { 10_000 };
    let workload = format!("{} dispatches in frames of {FRAME}, the host {IN_FLIGHT} behind", frames * FRAME);
    let mut section = Section::new("check", "", 1);
    for (mode, checking) in [("collect", Checking::Collect), ("deny", Checking::Deny)] {
        let mut stream = Stream::new(checking);
        stream.frames(100, FRAME);
        let tenth = frames / 10;
        for part in 0..10 {
            let begin = Instant::now();
            stream.frames(tenth, FRAME);
            let spent = begin.elapsed();
            let name = match part {
                0 => "start",
                5 => "middle",
                9 => "end",
                _ => continue,
            };
            let peer = format!("{mode}, {name}");
            let time = per(spent, (tenth * FRAME) as u64);
            section.add(&workload, &peer, ("time", "ns a dispatch"), time);
            section.add(&workload, &peer, ("remembered", ""), stream.device.remembered() as f64);
            section.add(&workload, &peer, ("process", "MiB"), resident() as f64 / 1024.0);
        }
        stream.assert_clean();
    }
    section
}

/// Memory is told of the process, so the stream comes first.
pub fn run(quick: bool) -> [Section; 2] {
    [long(quick), beside(quick)]
}
