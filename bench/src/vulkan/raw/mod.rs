//! `ash` by hand with the fewest barriers: descriptors pushed where the driver can, else one set for each table.
//!
//! Everything here is `unsafe` in the sense of Vulkan: one object of each kind, made once, used by one thread, waited for
//! before it is used again.

mod gpu;
mod kernels;
pub mod split;
pub mod tell;

use super::workload::{Dispatch, Peer, Workload};
use ash::vk;
use gpu::{Buffer, Gpu};
use kernels::Kernels;
use std::rc::Rc;

/// What a hardware queue is given.
struct Lane {
    queue: vk::Queue,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
    queries: vk::QueryPool,
    dispatches: Vec<Dispatch>,
}

/// An adapter's device, with as many of its queues of one family as the workload has use for.
pub struct Raw {
    kernels: Kernels,
    lanes: Vec<Lane>,
    buffers: Vec<Buffer>,
    workload: Rc<Workload>,
    barriers: usize,
    gpu: Gpu,
}

impl Raw {
    /// `adapter`: as Lockgate names it.
    pub fn new(adapter: &str, workload: &Rc<Workload>) -> Result<Raw, String> {
        let gpu = Gpu::open(adapter, workload.lanes.len(), false)?;
        // SAFETY: as the head of this file says.
        let lanes = unsafe { (0..gpu.queues.len()).map(|at| lane(&gpu, at, workload)).collect() };
        let buffers: Vec<Buffer> =
            workload.buffers.iter().map(|words| gpu.buffer(*words as u64 * 4, false)).collect();
        for (at, words) in &workload.contents {
            gpu.upload(&buffers[*at], words);
        }
        let kernels = Kernels::new(&gpu, workload, &buffers);
        Ok(Raw { kernels, lanes, buffers, workload: workload.clone(), barriers: 0, gpu })
    }

    unsafe fn record(&mut self, lane: usize) {
        let Lane { commands, queries, ref dispatches, .. } = self.lanes[lane];
        let (device, stamp) = (&self.gpu.device, vk::PipelineStageFlags2::TOP_OF_PIPE);
        let written = |to, reads| {
            [vk::MemoryBarrier2::default()
                .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
                .src_access_mask(vk::AccessFlags2::SHADER_STORAGE_WRITE)
                .dst_stage_mask(to)
                .dst_access_mask(reads)]
        };
        let storage = vk::AccessFlags2::SHADER_STORAGE_READ | vk::AccessFlags2::SHADER_STORAGE_WRITE;
        let memory = written(vk::PipelineStageFlags2::COMPUTE_SHADER, storage);
        let barrier = vk::DependencyInfo::default().memory_barriers(&memory);
        // SAFETY: as the head of this file says.
        unsafe {
            let once =
                vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
            device.begin_command_buffer(commands, &once).unwrap();
            device.cmd_write_timestamp2(commands, stamp, queries, 0);
            let mut pipeline = vk::Pipeline::null();
            for dispatch in dispatches {
                if dispatch.barrier {
                    device.cmd_pipeline_barrier2(commands, &barrier);
                    self.barriers += 1;
                }
                self.kernels.bind(device, commands, dispatch.table, &mut pipeline);
                let [x, y, z] = dispatch.groups;
                device.cmd_dispatch(commands, x, y, z);
            }
            device.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 1);
            // The next run reads what this one wrote; the host is between them.
            let host = written(vk::PipelineStageFlags2::HOST, vk::AccessFlags2::HOST_READ);
            device.cmd_pipeline_barrier2(commands, &vk::DependencyInfo::default().memory_barriers(&host));
            device.end_command_buffer(commands).unwrap();
        }
    }
}

unsafe fn lane(gpu: &Gpu, at: usize, workload: &Workload) -> Lane {
    // SAFETY: as the head of this file says.
    unsafe {
        let info = vk::CommandPoolCreateInfo::default()
            .queue_family_index(gpu.family)
            .flags(vk::CommandPoolCreateFlags::TRANSIENT);
        let pool = gpu.device.create_command_pool(&info, None).unwrap();
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        let queries = vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2);
        let made = Lane {
            queue: gpu.queues[at],
            pool,
            commands: gpu.device.allocate_command_buffers(&info).unwrap()[0],
            fence: gpu.device.create_fence(&Default::default(), None).unwrap(),
            queries: gpu.device.create_query_pool(&queries, None).unwrap(),
            dispatches: workload.queue(at, gpu.queues.len()),
        };
        reset(gpu, &made);
        made
    }
}

/// Gives back what the last run recorded; not part of what is timed, as with those that do it when a run is done.
unsafe fn reset(gpu: &Gpu, lane: &Lane) {
    // SAFETY: as the head of this file says.
    unsafe {
        gpu.device.reset_command_pool(lane.pool, Default::default()).unwrap();
        gpu.device.reset_query_pool(lane.queries, 0, 2);
    }
}

impl Peer for Raw {
    fn name(&self) -> String {
        "ash by hand".into()
    }

    fn submit(&mut self) {
        self.barriers = 0;
        for at in 0..self.lanes.len() {
            // SAFETY: as the head of this file says.
            unsafe {
                self.record(at);
                let lane = &self.lanes[at];
                let list = [vk::CommandBufferSubmitInfo::default().command_buffer(lane.commands)];
                let batch = [vk::SubmitInfo2::default().command_buffer_infos(&list)];
                self.gpu.device.queue_submit2(lane.queue, &batch, lane.fence).unwrap();
            }
        }
    }

    fn wait(&mut self) {
        let fences: Vec<vk::Fence> = self.lanes.iter().map(|lane| lane.fence).collect();
        // SAFETY: as the head of this file says.
        unsafe {
            self.gpu.device.wait_for_fences(&fences, true, u64::MAX).unwrap();
            self.gpu.device.reset_fences(&fences).unwrap();
        }
    }

    fn device(&mut self) -> Option<f64> {
        let stamps = |lane: &Lane| {
            let mut ticks = [0u64; 2];
            let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
            // SAFETY: as the head of this file says.
            unsafe { self.gpu.device.get_query_pool_results(lane.queries, 0, &mut ticks, flags) }.unwrap();
            ticks
        };
        let all: Vec<[u64; 2]> = self.lanes.iter().map(stamps).collect();
        // SAFETY: as the head of this file says.
        self.lanes.iter().for_each(|lane| unsafe { reset(&self.gpu, lane) });
        let (first, last) = (all.iter().map(|own| own[0]).min()?, all.iter().map(|own| own[1]).max()?);
        Some(last.saturating_sub(first) as f64 * self.gpu.period)
    }

    fn words(&mut self) -> Vec<u32> {
        let read = |span: &_| self.gpu.download(&self.buffers, span);
        self.workload.output.iter().flat_map(read).collect()
    }

    fn barriers(&self) -> Option<usize> {
        Some(self.barriers)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.gpu.idle();
        self.buffers.iter().for_each(|buffer| self.gpu.free(buffer));
    }
}
