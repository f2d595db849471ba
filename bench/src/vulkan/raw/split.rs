//! An order with work beside it: the third of three commands waits for the first and not for the second. A barrier before
//! it waits for both, an event for the first alone, and a barrier before the second costs it nothing if that may come later.

use super::gpu::{Buffer, Gpu};
use super::kernels::Kernels;
use super::{Lane, lane, reset};
use crate::vulkan::workload::{Dispatch, Kernel, Span, Table, Workload, declarations};
use ash::vk;

const SPIN: &str = "
@compute @workgroup_size(64) fn spin(@builtin(global_invocation_id) id: vec3u) {
    var word = words[id.x];
    for (var step = 0u; step < source[0]; step += 1u) { word = word * 1664525u + 1013904223u; }
    words[id.x] = word;
}
";
/// Steps of the short command, of the two long ones, and of those of a chain.
const STEPS: [u32; 4] = [2_000, 20_000, 20_000, 1];
/// Orders of a chain.
const CHAIN: usize = 500;

/// One of the commands, or what stands between them.
#[derive(Clone, Copy)]
enum Step {
    Run(usize),
    Barrier,
    Set(usize),
    Wait(usize),
}

/// What is measured: its name and its steps.
pub fn scripts() -> Vec<(&'static str, usize)> {
    ["barrier before the third", "event", "barrier before the second", "chain of barriers", "chain of events"]
        .into_iter()
        .zip(0..)
        .collect()
}

fn steps(script: usize) -> Vec<Step> {
    use Step::*;
    let chain = |between: &dyn Fn(usize) -> Vec<Step>| {
        (0..CHAIN).flat_map(|at| [vec![Run(3)], between(at)].concat()).collect()
    };
    match script {
        0 => vec![Run(0), Run(1), Barrier, Run(2)],
        1 => vec![Run(0), Set(0), Run(1), Wait(0), Run(2)],
        2 => vec![Run(0), Barrier, Run(1), Run(2)],
        3 => chain(&|_| vec![Barrier]),
        _ => chain(&|at| vec![Set(at), Wait(at)]),
    }
}

fn workload() -> Workload {
    let span = |buffer, size| Span { buffer, offset: 0, size };
    let table = |at| Table { kernel: 0, spans: [span(at, 256), span(4 + at, 256), Span::default()] };
    let dispatch = |table| Dispatch { table, groups: [1, 1, 1], barrier: false, pass: false };
    Workload {
        name: "(s) an order with work beside it".into(),
        source: declarations() + SPIN,
        kernels: vec![Kernel { name: "spin", bindings: 2 }],
        buffers: vec![64; 8],
        contents: STEPS.iter().enumerate().map(|(at, steps)| (4 + at, vec![*steps; 64])).collect(),
        tables: (0..4).map(table).collect(),
        ranges: false,
        reachable: 0,
        lanes: vec![(0..4).map(dispatch).collect()],
        output: Vec::new(),
        expected: Box::new(|_| Vec::new()),
    }
}

/// A device with what the commands need.
pub struct Split {
    gpu: Gpu,
    kernels: Kernels,
    buffers: Vec<Buffer>,
    lane: Lane,
    events: Vec<vk::Event>,
}

impl Split {
    pub fn new(adapter: &str) -> Result<Split, String> {
        let gpu = Gpu::open(adapter, 1, false)?;
        let workload = workload();
        // SAFETY: as the head of `mod.rs` says.
        let lane = unsafe { lane(&gpu, 0, &workload) };
        let buffers: Vec<Buffer> =
            workload.buffers.iter().map(|words| gpu.buffer(*words as u64 * 4, false)).collect();
        workload.contents.iter().for_each(|(at, words)| gpu.upload(&buffers[*at], words));
        let kernels = Kernels::new(&gpu, &workload, &buffers);
        // SAFETY: as the head of `mod.rs` says.
        let event = |_| unsafe { gpu.device.create_event(&Default::default(), None) }.unwrap();
        let events = (0..CHAIN).map(event).collect();
        Ok(Split { kernels, buffers, lane, events, gpu })
    }

    /// Nanoseconds on the device.
    pub fn run(&self, script: usize) -> f64 {
        let device = &self.gpu.device;
        let Lane { commands, queries, queue, fence, .. } = self.lane;
        let storage = vk::AccessFlags2::SHADER_STORAGE_READ | vk::AccessFlags2::SHADER_STORAGE_WRITE;
        let memory = [vk::MemoryBarrier2::default()
            .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
            .src_access_mask(vk::AccessFlags2::SHADER_STORAGE_WRITE)
            .dst_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
            .dst_access_mask(storage)];
        let order = vk::DependencyInfo::default().memory_barriers(&memory);
        let mut ticks = [0u64; 2];
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            reset(&self.gpu, &self.lane);
            self.events.iter().for_each(|event| device.reset_event(*event).unwrap());
            device.begin_command_buffer(commands, &Default::default()).unwrap();
            device.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::TOP_OF_PIPE, queries, 0);
            let mut pipeline = vk::Pipeline::null();
            for step in steps(script) {
                match step {
                    Step::Run(table) => {
                        self.kernels.bind(device, commands, table, &mut pipeline);
                        device.cmd_dispatch(commands, 1, 1, 1);
                    }
                    Step::Barrier => device.cmd_pipeline_barrier2(commands, &order),
                    Step::Set(at) => device.cmd_set_event2(commands, self.events[at], &order),
                    Step::Wait(at) => device.cmd_wait_events2(commands, &[self.events[at]], &[order]),
                }
            }
            device.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, queries, 1);
            device.end_command_buffer(commands).unwrap();
            let list = [vk::CommandBufferSubmitInfo::default().command_buffer(commands)];
            let batch = [vk::SubmitInfo2::default().command_buffer_infos(&list)];
            device.queue_submit2(queue, &batch, fence).unwrap();
            device.wait_for_fences(&[fence], true, u64::MAX).unwrap();
            device.reset_fences(&[fence]).unwrap();
            let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
            device.get_query_pool_results(queries, 0, &mut ticks, flags).unwrap();
        }
        ticks[1].saturating_sub(ticks[0]) as f64 * self.gpu.period
    }
}

impl Drop for Split {
    fn drop(&mut self) {
        self.gpu.idle();
        self.buffers.iter().for_each(|buffer| self.gpu.free(buffer));
    }
}
