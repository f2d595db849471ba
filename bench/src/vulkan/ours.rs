//! Lockgate: untracked with the program's barriers, or everything tracked.

use super::workload::{KERNELS, Peer, STRIDE, WORDS, Workload};
use lockgate::vulkan::{Counters, VulkanBackend, VulkanDescriptor};
use lockgate::*;

pub struct Ours {
    device: Device,
    queue: CommandQueue,
    allocator: CommandAllocator,
    commands: CommandBuffer,
    step: ComputePipeline,
    pass_on: ComputePipeline,
    tables: Vec<ArgumentTable>,
    buffers: Vec<Buffer>,
    _reachable: Vec<Buffer>,
    tracked: bool,
    workload: Workload,
    commit: Option<Commit>,
    counters: Counters,
    /// Barriers of the last run, and of all before it.
    barriers: (u64, u64),
}

impl Ours {
    pub fn new(adapter: &str, workload: Workload, tracked: bool) -> Result<Ours> {
        let vulkan = VulkanDescriptor { adapter: Some(adapter.to_owned()), ..Default::default() };
        let descriptor = DeviceDescriptor { checking: Checking::Off, ..Default::default() };
        let backend = VulkanBackend::open(&vulkan)?;
        let counters = backend.counters();
        let device = Device::open(Box::new(backend), descriptor)?;
        let library = device.new_library(KERNELS)?;
        let mode = if tracked { HazardTrackingMode::Tracked } else { HazardTrackingMode::Untracked };
        let buffer = |size: u64| {
            let made = device.new_buffer(&BufferDescriptor {
                size,
                hazard_tracking_mode: mode,
                ..Default::default()
            })?;
            made.write(0, &vec![1u32; size as usize / 4])?;
            Ok(made)
        };
        let sizes =
            if workload.dependent { vec![STRIDE; 2] } else { vec![STRIDE * u64::from(workload.count)] };
        let buffers = sizes.into_iter().map(buffer).collect::<Result<Vec<_>>>()?;
        let untracked = BufferDescriptor {
            size: 256,
            hazard_tracking_mode: HazardTrackingMode::Untracked,
            ..Default::default()
        };
        let reachable: Vec<Buffer> =
            (0..workload.reachable).map(|_| device.new_buffer(&untracked)).collect::<Result<_>>()?;
        let queue = device.new_command_queue(&Default::default())?;
        let set = device.new_residency_set("reachable");
        reachable.iter().for_each(|buffer| set.add_buffer(buffer));
        set.commit();
        queue.add_residency_set(&set)?;
        let tables = (0..2).map(|turn| {
            let table = device.new_argument_table();
            if workload.dependent {
                table.set_buffer("words", &buffers[1 - turn]);
                table.set_buffer("source", &buffers[turn]);
            }
            table
        });
        Ok(Ours {
            queue,
            allocator: device.new_command_allocator(""),
            commands: device.new_command_buffer(""),
            step: device.new_compute_pipeline(&library, "step")?,
            pass_on: device.new_compute_pipeline(&library, "pass_on")?,
            tables: tables.collect(),
            buffers,
            _reachable: reachable,
            tracked,
            workload,
            commit: None,
            counters,
            barriers: (0, 0),
            device,
        })
    }

    fn dispatch(&self, encoder: &mut ComputeCommandEncoder<'_>, at: u32) {
        let Workload { dependent, passes, .. } = self.workload;
        let table = &self.tables[if dependent { at as usize % 2 } else { 0 }];
        let barrier = Barrier { after: Stages::DISPATCH, before: Stages::DISPATCH, ..Default::default() };
        if dependent {
            if !self.tracked && at > 0 {
                if passes { encoder.consumer_barrier(barrier) } else { encoder.intrapass_barrier(barrier) }
            }
        } else {
            let start = u64::from(at) * STRIDE;
            table.set_buffer_range("words", &self.buffers[0], start..start + WORDS as u64 * 4);
        }
        encoder.set_compute_pipeline(if dependent { &self.pass_on } else { &self.step });
        encoder.set_argument_table(table);
        encoder.dispatch_threadgroups([1, 1, 1]);
    }
}

impl Peer for Ours {
    fn name(&self) -> String {
        format!("lockgate, {}", if self.tracked { "tracked" } else { "untracked" })
    }

    fn submit(&mut self) {
        let mut commands = std::mem::replace(&mut self.commands, self.device.new_command_buffer(""));
        commands.begin(&self.allocator);
        if self.workload.passes {
            for at in 0..self.workload.count {
                self.dispatch(&mut commands.compute_command_encoder(""), at);
            }
        } else {
            let mut encoder = commands.compute_command_encoder("");
            (0..self.workload.count).for_each(|at| self.dispatch(&mut encoder, at));
        }
        commands.end().unwrap();
        self.commit = Some(self.queue.commit(&[&commands]).unwrap());
        self.commands = commands;
    }

    fn wait(&mut self) -> Option<f64> {
        let feedback = self.commit.take()?.wait_until_completed().unwrap();
        self.allocator.reset().unwrap();
        let all = self.counters.barriers();
        self.barriers = (all - self.barriers.1, all);
        Some((feedback.gpu_end_time() - feedback.gpu_start_time()).as_nanos() as f64)
    }

    fn barriers(&self) -> Option<usize> {
        Some(self.barriers.0 as usize)
    }

    fn words(&mut self) -> Vec<u32> {
        match self.workload.dependent {
            true => self.buffers[self.workload.count as usize % 2].read(0, WORDS).unwrap(),
            false => self.buffers[0].read(u64::from(self.workload.count - 1) * STRIDE, WORDS).unwrap(),
        }
    }
}
