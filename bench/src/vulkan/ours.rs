//! Lockgate: untracked with the program's barriers, or everything tracked.

use super::workload::{Dispatch, NAMES, Peer, Span, Workload, passes};
use lockgate::vulkan::{Counters, VulkanBackend, VulkanDescriptor};
use lockgate::*;
use std::rc::Rc;
use std::time::Duration;

/// A queue with what is recorded for it.
struct Lane {
    queue: CommandQueue,
    allocator: CommandAllocator,
    commands: CommandBuffer,
    commit: Option<Commit>,
    /// When the device began and ended the last run.
    ran: (Duration, Duration),
}

pub struct Ours {
    device: Device,
    lanes: Vec<Lane>,
    kernels: Vec<ComputePipeline>,
    /// One for each table; where each is used once, one for all.
    tables: Vec<ArgumentTable>,
    buffers: Vec<Buffer>,
    _reachable: Vec<Buffer>,
    tracked: bool,
    workload: Rc<Workload>,
    counters: Counters,
    /// Barriers of the last run, and of all before it.
    barriers: (u64, u64),
}

impl Ours {
    pub fn new(adapter: &str, workload: &Rc<Workload>, tracked: bool) -> Result<Ours> {
        let vulkan = VulkanDescriptor { adapter: Some(adapter.to_owned()), ..Default::default() };
        let descriptor = DeviceDescriptor { checking: Checking::Off, ..Default::default() };
        let backend = VulkanBackend::open(&vulkan)?;
        let counters = backend.counters();
        let device = Device::open(Box::new(backend), descriptor)?;
        let library = device.new_library(&workload.source)?;
        let kernel = |kernel: &super::workload::Kernel| device.new_compute_pipeline(&library, kernel.name);
        let mode = if tracked { HazardTrackingMode::Tracked } else { HazardTrackingMode::Untracked };
        let buffer = |size, storage, hazard_tracking_mode| {
            device.new_buffer(&BufferDescriptor { size, storage, hazard_tracking_mode, ..Default::default() })
        };
        let buffers =
            workload.buffers.iter().map(|words| buffer(*words as u64 * 4, StorageMode::Private, mode));
        let untracked = |_| buffer(256, StorageMode::Shared, HazardTrackingMode::Untracked);
        let reachable: Vec<Buffer> = (0..workload.reachable).map(untracked).collect::<Result<_>>()?;
        let set = device.new_residency_set("reachable");
        reachable.iter().for_each(|buffer| set.add_buffer(buffer));
        set.commit();
        let lane = |_| {
            let queue = device.new_command_queue(&Default::default())?;
            queue.add_residency_set(&set)?;
            let (allocator, commands) = (device.new_command_allocator(""), device.new_command_buffer(""));
            Ok(Lane { queue, allocator, commands, commit: None, ran: Default::default() })
        };
        let tables = if workload.ranges { 1 } else { workload.tables.len() };
        let ours = Ours {
            lanes: workload.lanes.iter().map(lane).collect::<Result<_>>()?,
            kernels: workload.kernels.iter().map(kernel).collect::<Result<_>>()?,
            tables: (0..tables).map(|_| device.new_argument_table()).collect(),
            buffers: buffers.collect::<Result<_>>()?,
            _reachable: reachable,
            tracked,
            workload: workload.clone(),
            counters,
            barriers: (0, 0),
            device,
        };
        for (at, words) in &workload.contents {
            let staging = ours.device.new_buffer_with_data(words)?;
            ours.copy(&staging, &ours.buffers[*at], 0, words.len() as u64 * 4)?;
        }
        if !workload.ranges {
            (0..tables).for_each(|at| ours.bind(at, at));
        }
        Ok(ours)
    }

    /// Copies, and waits.
    fn copy(&self, from: &Buffer, to: &Buffer, offset: u64, size: u64) -> Result<()> {
        let allocator = self.device.new_command_allocator("");
        let mut commands = self.device.new_command_buffer("");
        commands.begin(&allocator);
        commands.blit_command_encoder("").copy_buffer(from, offset, to, 0, size);
        commands.end()?;
        self.lanes[0].queue.commit(&[&commands])?.wait_until_completed()?;
        Ok(())
    }

    /// Puts what a table of the workload binds into one of ours.
    fn bind(&self, table: usize, into: usize) {
        let count = self.workload.kernel(table).bindings;
        let spans = &self.workload.tables[table].spans[..count];
        for (name, Span { buffer, offset, size }) in NAMES.into_iter().zip(spans) {
            self.tables[into].set_buffer_range(name, &self.buffers[*buffer], *offset..offset + size);
        }
    }

    /// `in_pass`: whether the pass has dispatches already.
    fn dispatch(&self, encoder: &mut ComputeCommandEncoder<'_>, dispatch: &Dispatch, in_pass: bool) {
        let barrier = Barrier { after: Stages::DISPATCH, before: Stages::DISPATCH, ..Default::default() };
        if dispatch.barrier && !self.tracked {
            if in_pass { encoder.intrapass_barrier(barrier) } else { encoder.consumer_barrier(barrier) }
        }
        let table = if self.workload.ranges { 0 } else { dispatch.table };
        if self.workload.ranges {
            self.bind(dispatch.table, table);
        }
        encoder.set_compute_pipeline(&self.kernels[self.workload.tables[dispatch.table].kernel]);
        encoder.set_argument_table(&self.tables[table]);
        encoder.dispatch_threadgroups(dispatch.groups);
    }

    fn record(&self, at: usize, commands: &mut CommandBuffer) -> Result<()> {
        commands.begin(&self.lanes[at].allocator);
        for pass in passes(&self.workload.lanes[at]) {
            let mut encoder = commands.compute_command_encoder("");
            for (at, dispatch) in pass.iter().enumerate() {
                self.dispatch(&mut encoder, dispatch, at > 0);
            }
        }
        commands.end()
    }
}

impl Peer for Ours {
    fn name(&self) -> String {
        format!("lockgate, {}", if self.tracked { "tracked" } else { "untracked" })
    }

    fn submit(&mut self) {
        for at in 0..self.lanes.len() {
            let empty = self.device.new_command_buffer("");
            let mut commands = std::mem::replace(&mut self.lanes[at].commands, empty);
            self.record(at, &mut commands).unwrap();
            let lane = &mut self.lanes[at];
            lane.commit = Some(lane.queue.commit(&[&commands]).unwrap());
            lane.commands = commands;
        }
    }

    fn wait(&mut self) {
        for lane in &mut self.lanes {
            let feedback = lane.commit.take().unwrap().wait_until_completed().unwrap();
            lane.ran = (feedback.gpu_start_time(), feedback.gpu_end_time());
        }
    }

    fn device(&mut self) -> Option<f64> {
        self.lanes.iter().for_each(|lane| lane.allocator.reset().unwrap());
        let all = self.counters.barriers();
        self.barriers = (all - self.barriers.1, all);
        let first = self.lanes.iter().map(|lane| lane.ran.0).min()?;
        let last = self.lanes.iter().map(|lane| lane.ran.1).max()?;
        Some((last - first).as_nanos() as f64)
    }

    fn barriers(&self) -> Option<usize> {
        Some(self.barriers.0 as usize)
    }

    fn words(&mut self) -> Vec<u32> {
        let read = |span: &Span| -> Result<Vec<u32>> {
            let staging =
                self.device.new_buffer(&BufferDescriptor { size: span.size, ..Default::default() })?;
            self.copy(&self.buffers[span.buffer], &staging, span.offset, span.size)?;
            staging.read(0, span.size as usize / 4)
        };
        self.workload.output.iter().flat_map(|span| read(span).unwrap()).collect()
    }
}
