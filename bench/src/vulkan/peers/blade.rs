//! blade: a barrier before each pass, or where it is told to set one; none inside of a pass, so each order makes a pass of
//! its own. What a dispatch binds is a new descriptor set.

use crate::vulkan::workload::{Dispatch, NAMES, Peer, STRIDE, Span, Workload, find_adapter};
use blade::{BufferPiece, ShaderBindable};
use blade_graphics as blade;
use std::rc::Rc;
use std::time::Duration;

/// As many as workload (e) has.
const REACHABLE: usize = 6_000;

struct Bound<const N: usize>([BufferPiece; N]);

impl<const N: usize> blade::ShaderData for Bound<N> {
    fn layout() -> blade::ShaderDataLayout {
        let binding = |name: &&'static str| (*name, blade::ShaderBinding::Buffer);
        blade::ShaderDataLayout { bindings: NAMES[..N].iter().map(binding).collect() }
    }

    fn fill(&self, mut context: blade::PipelineContext<'_>) {
        self.0.iter().enumerate().for_each(|(at, piece)| piece.bind_to(&mut context, at as u32));
    }
}

struct Reachable(blade::BufferArray<{ REACHABLE as u32 }>);

impl blade::ShaderData for Reachable {
    fn layout() -> blade::ShaderDataLayout {
        let binding = blade::ShaderBinding::BufferArray { count: REACHABLE as u32 };
        blade::ShaderDataLayout { bindings: vec![("reachable", binding)] }
    }

    fn fill(&self, mut context: blade::PipelineContext<'_>) {
        (&self.0).bind_to(&mut context, 0);
    }
}

/// A context with what a workload needs. Blade times each pass or none, which the host has to pay for.
struct Side {
    pipelines: Vec<blade::ComputePipeline>,
    buffers: Vec<blade::Buffer>,
    reachable: Option<Reachable>,
    encoder: blade::CommandEncoder,
    submitted: Option<blade::SyncPoint>,
    context: blade::Context,
}

/// One context measures the host, and another one after it the device.
pub struct Blade {
    plain: Side,
    timed: Side,
    by_hand: bool,
    dispatches: Vec<Dispatch>,
    workload: Rc<Workload>,
}

impl Blade {
    pub fn new(adapter: &str, workload: &Rc<Workload>, by_hand: bool) -> Result<Blade, String> {
        Ok(Blade {
            plain: Side::new(adapter, workload, by_hand, false)?,
            timed: Side::new(adapter, workload, by_hand, true)?,
            by_hand,
            dispatches: workload.queue(0, 1),
            workload: workload.clone(),
        })
    }
}

impl Side {
    fn new(adapter: &str, workload: &Workload, manual_barriers: bool, timing: bool) -> Result<Side, String> {
        let context = open(adapter, timing)?;
        let buffer = |size, memory| context.create_buffer(blade::BufferDesc { name: "", size, memory });
        let device = |words: &usize| buffer(*words as u64 * 4, blade::Memory::Device);
        let buffers: Vec<blade::Buffer> = workload.buffers.iter().map(device).collect();
        let reachable = (workload.reachable > 0).then(|| {
            let mut array = blade::BufferArray::new();
            for _ in 0..REACHABLE {
                array.alloc(buffer(STRIDE, blade::Memory::Device).at(0));
            }
            Reachable(array)
        });
        // Blade numbers bindings itself.
        let plain: String = workload.source.lines().map(|line| strip(line) + "\n").collect();
        let shader = context.try_create_shader(blade::ShaderDesc { source: &plain, naga_module: None })?;
        let pipeline = |kernel: &crate::vulkan::workload::Kernel| {
            use blade::ShaderData;
            let own = [Bound::<1>::layout(), Bound::<2>::layout(), Bound::<3>::layout()];
            let beside = Reachable::layout();
            let mut layouts = vec![&own[kernel.bindings - 1]];
            layouts.extend(reachable.is_some().then_some(&beside));
            context.create_compute_pipeline(blade::ComputePipelineDesc {
                name: kernel.name,
                data_layouts: &layouts,
                compute: shader.at(kernel.name),
            })
        };
        let description = blade::CommandEncoderDesc { name: "", buffer_count: 1, manual_barriers };
        let mut side = Side {
            pipelines: workload.kernels.iter().map(pipeline).collect(),
            encoder: context.create_command_encoder(description),
            buffers,
            reachable,
            submitted: None,
            context,
        };
        for (at, words) in &workload.contents {
            side.upload(*at, words);
        }
        Ok(side)
    }

    fn record(&mut self, workload: &Workload, dispatches: &[Dispatch], by_hand: bool) {
        self.encoder.start();
        for pass in dispatches.chunk_by(|_, next| !next.pass && !next.barrier) {
            if by_hand && pass[0].barrier {
                self.encoder.barrier();
            }
            let mut compute = self.encoder.compute("");
            let kernel = |dispatch: &Dispatch| workload.tables[dispatch.table].kernel;
            for run in pass.chunk_by(|one, next| kernel(one) == kernel(next)) {
                let mut encoder = compute.with(&self.pipelines[kernel(&run[0])]);
                if let Some(reachable) = &self.reachable {
                    encoder.bind(1, reachable);
                }
                for dispatch in run {
                    let spans = &workload.tables[dispatch.table].spans;
                    let piece = |at: usize| self.buffers[spans[at].buffer].at(spans[at].offset);
                    match workload.kernel(dispatch.table).bindings {
                        1 => encoder.bind(0, &Bound([piece(0)])),
                        2 => encoder.bind(0, &Bound([piece(0), piece(1)])),
                        _ => encoder.bind(0, &Bound([piece(0), piece(1), piece(2)])),
                    }
                    encoder.dispatch(dispatch.groups);
                }
            }
        }
        self.submitted = Some(self.context.submit(&mut self.encoder));
    }

    fn wait(&mut self) {
        if let Some(point) = self.submitted.take() {
            self.context.wait_for(&point, !0).expect("the device is not lost");
        }
    }

    /// A buffer that the host reaches; the caller frees it.
    fn staging(&self, size: u64, memory: blade::Memory) -> blade::Buffer {
        self.context.create_buffer(blade::BufferDesc { name: "", size, memory })
    }

    fn copy(&mut self, from: BufferPiece, to: BufferPiece, size: u64) {
        self.encoder.start();
        self.encoder.transfer("").copy_buffer_to_buffer(from, to, size);
        self.submitted = Some(self.context.submit(&mut self.encoder));
        self.wait();
    }

    fn upload(&mut self, to: usize, words: &[u32]) {
        let size = words.len() as u64 * 4;
        let staging = self.staging(size, blade::Memory::Upload);
        // SAFETY: the buffer has room for the words, and the device does not use it yet.
        unsafe { staging.data().cast::<u32>().copy_from_nonoverlapping(words.as_ptr(), words.len()) };
        self.context.sync_buffer(staging.at(0), size, blade::BufferTarget::Data);
        self.copy(staging.at(0), self.buffers[to].at(0), size);
        self.context.destroy_buffer(staging);
    }

    fn download(&mut self, span: &Span) -> Vec<u32> {
        let staging = self.staging(span.size, blade::Memory::Download);
        self.copy(self.buffers[span.buffer].at(span.offset), staging.at(0), span.size);
        let words = staging.data().cast::<u32>();
        // SAFETY: the buffer is so large, and the device is done with it.
        let words = unsafe { std::slice::from_raw_parts(words, span.size as usize / 4) }.to_vec();
        self.context.destroy_buffer(staging);
        words
    }
}

fn open(adapter: &str, timing: bool) -> Result<blade::Context, String> {
    let devices = blade::Context::enumerate().map_err(|error| error.to_string())?;
    let found = find_adapter(&devices, adapter, |device| device.information.device_name.clone())?;
    let description = blade::ContextDesc { timing, device_id: Some(found.device_id), ..Default::default() };
    // SAFETY: nothing else in this process uses the objects of this context.
    let context = unsafe { blade::Context::init(description) }.map_err(|error| error.to_string())?;
    match context.device_information().driver_info == found.information.driver_info {
        true => Ok(context),
        false => Err("another device has the same number".into()),
    }
}

/// A line of WGSL without the number of its binding.
fn strip(line: &str) -> String {
    match line.strip_prefix("@group(0) @binding(") {
        Some(rest) => rest.split_once(") ").map_or(line, |(_, rest)| rest).to_owned(),
        None => line.to_owned(),
    }
}

impl Peer for Blade {
    fn name(&self) -> String {
        if self.by_hand { "blade, barriers by hand" } else { "blade" }.into()
    }

    fn submit(&mut self) {
        self.plain.record(&self.workload, &self.dispatches, self.by_hand);
    }

    fn wait(&mut self) {
        self.plain.wait();
    }

    fn device(&mut self) -> Option<f64> {
        self.timed.record(&self.workload, &self.dispatches, self.by_hand);
        self.timed.wait();
        // Beginning again is what reads the times.
        self.timed.encoder.start();
        let all: Duration = self.timed.encoder.timings().iter().map(|(_, time)| *time).sum();
        self.timed.submitted = Some(self.timed.context.submit(&mut self.timed.encoder));
        self.timed.wait();
        Some(all.as_nanos() as f64)
    }

    fn words(&mut self) -> Vec<u32> {
        let workload = self.workload.clone();
        workload.output.iter().flat_map(|span| self.plain.download(span)).collect()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        for pipeline in &mut self.pipelines {
            self.context.destroy_compute_pipeline(pipeline);
        }
        self.buffers.iter().for_each(|buffer| self.context.destroy_buffer(*buffer));
        self.context.destroy_command_encoder(&mut self.encoder);
    }
}
