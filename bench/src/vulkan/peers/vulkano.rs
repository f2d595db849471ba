//! vulkano: a command buffer that orders everything itself. Descriptor sets are made beforehand; what no kernel declares is
//! no cost to it, so the reachable buffers of (e) just exist.

use crate::vulkan::workload::{Dispatch, Kernel, Peer, STRIDE, Span, Workload, find_adapter, spirv};
use std::rc::Rc;
use std::sync::Arc;
use vulkano::VulkanLibrary;
use vulkano::buffer::{Buffer, BufferCreateInfo, BufferUsage, Subbuffer};
use vulkano::command_buffer::allocator::StandardCommandBufferAllocator;
use vulkano::command_buffer::{
    AutoCommandBufferBuilder, CommandBufferUsage, CopyBufferInfo, PrimaryAutoCommandBuffer,
};
use vulkano::descriptor_set::allocator::StandardDescriptorSetAllocator;
use vulkano::descriptor_set::{DescriptorSet, WriteDescriptorSet};
use vulkano::device::{Device, DeviceCreateInfo, DeviceFeatures, Queue, QueueCreateInfo, QueueFlags};
use vulkano::instance::{Instance, InstanceCreateInfo};
use vulkano::memory::allocator::{AllocationCreateInfo, MemoryTypeFilter, StandardMemoryAllocator};
use vulkano::pipeline::compute::ComputePipelineCreateInfo;
use vulkano::pipeline::layout::PipelineDescriptorSetLayoutCreateInfo;
use vulkano::pipeline::{
    ComputePipeline, Pipeline, PipelineBindPoint, PipelineLayout, PipelineShaderStageCreateInfo,
};
use vulkano::query::{QueryPool, QueryPoolCreateInfo, QueryResultFlags, QueryType};
use vulkano::shader::{ShaderModule, ShaderModuleCreateInfo};
use vulkano::sync::{GpuFuture, PipelineStage};

type Builder = AutoCommandBufferBuilder<PrimaryAutoCommandBuffer>;

pub struct Vulkano {
    device: Arc<Device>,
    queue: Arc<Queue>,
    memory: Arc<StandardMemoryAllocator>,
    commands: Arc<StandardCommandBufferAllocator>,
    pipelines: Vec<Arc<ComputePipeline>>,
    sets: Vec<Arc<DescriptorSet>>,
    buffers: Vec<Subbuffer<[u32]>>,
    _reachable: Vec<Subbuffer<[u32]>>,
    queries: Arc<QueryPool>,
    dispatches: Vec<Dispatch>,
    workload: Rc<Workload>,
    running: Option<Box<dyn FnOnce()>>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Vulkano {
    pub fn new(adapter: &str, workload: &Rc<Workload>) -> Result<Vulkano, String> {
        let (device, queue) = open(adapter)?;
        let memory = Arc::new(StandardMemoryAllocator::new_default(device.clone()));
        let allocator = Arc::new(StandardDescriptorSetAllocator::new(device.clone(), Default::default()));
        let buffer = |words: usize| buffer(&memory, words, false);
        let buffers: Vec<_> = workload.buffers.iter().map(|words| buffer(*words)).collect();
        let pipelines =
            workload.kernels.iter().map(|kernel| pipeline(&device, workload, *kernel)).collect::<Vec<_>>();
        let set = |at: usize| {
            let layout = &pipelines[workload.tables[at].kernel].layout().set_layouts()[0];
            let spans = &workload.tables[at].spans[..workload.kernel(at).bindings];
            let write = |(at, span): (usize, &Span)| {
                WriteDescriptorSet::buffer(at as u32, part(&buffers[span.buffer], span))
            };
            DescriptorSet::new(allocator.clone(), layout.clone(), spans.iter().enumerate().map(write), [])
                .unwrap()
        };
        let info =
            QueryPoolCreateInfo { query_count: 2, ..QueryPoolCreateInfo::query_type(QueryType::Timestamp) };
        let made = Vulkano {
            commands: Arc::new(StandardCommandBufferAllocator::new(device.clone(), Default::default())),
            sets: (0..workload.tables.len()).map(set).collect(),
            pipelines,
            _reachable: (0..workload.reachable).map(|_| buffer(STRIDE as usize / 4)).collect(),
            queries: QueryPool::new(device.clone(), info).map_err(text)?,
            dispatches: workload.queue(0, 1),
            workload: workload.clone(),
            running: None,
            buffers,
            memory,
            device,
            queue,
        };
        for (at, words) in &workload.contents {
            let staging = self::buffer(&made.memory, words.len(), true);
            staging.write().unwrap().copy_from_slice(words);
            made.copy(staging, made.buffers[*at].clone());
        }
        Ok(made)
    }

    fn builder(&self) -> Builder {
        let (family, usage) = (self.queue.queue_family_index(), CommandBufferUsage::OneTimeSubmit);
        AutoCommandBufferBuilder::primary(self.commands.clone(), family, usage).unwrap()
    }

    /// Submits; what is returned waits until it is done.
    fn execute(&self, builder: Builder) -> Box<dyn FnOnce()> {
        let commands = builder.build().unwrap();
        let now = vulkano::sync::now(self.device.clone());
        let future = now.then_execute(self.queue.clone(), commands).unwrap();
        let future = future.then_signal_fence_and_flush().unwrap();
        Box::new(move || future.wait(None).unwrap())
    }

    fn copy(&self, from: Subbuffer<[u32]>, to: Subbuffer<[u32]>) {
        let mut builder = self.builder();
        builder.copy_buffer(CopyBufferInfo::buffers(from, to)).unwrap();
        self.execute(builder)();
    }
}

fn open(adapter: &str) -> Result<(Arc<Device>, Arc<Queue>), String> {
    let library = VulkanLibrary::new().map_err(text)?;
    let instance = Instance::new(library, InstanceCreateInfo::default()).map_err(text)?;
    let all = instance.enumerate_physical_devices().map_err(text)?;
    let found = find_adapter(all, adapter, |own| own.properties().device_name.clone())?;
    let with =
        |flags| found.queue_family_properties().iter().position(|family| family.queue_flags.contains(flags));
    let both = with(QueueFlags::COMPUTE | QueueFlags::GRAPHICS);
    let family = both.or_else(|| with(QueueFlags::COMPUTE)).ok_or("no queue computes")?;
    let queue = QueueCreateInfo { queue_family_index: family as u32, ..Default::default() };
    let enabled_features =
        DeviceFeatures { host_query_reset: true, synchronization2: true, ..Default::default() };
    let info = DeviceCreateInfo { queue_create_infos: vec![queue], enabled_features, ..Default::default() };
    let (device, mut queues) = Device::new(found, info).map_err(text)?;
    Ok((device, queues.next().ok_or("no queue")?))
}

fn buffer(memory: &Arc<StandardMemoryAllocator>, words: usize, host: bool) -> Subbuffer<[u32]> {
    let usage = BufferUsage::STORAGE_BUFFER | BufferUsage::TRANSFER_SRC | BufferUsage::TRANSFER_DST;
    let memory_type_filter = match host {
        true => MemoryTypeFilter::PREFER_HOST | MemoryTypeFilter::HOST_RANDOM_ACCESS,
        false => MemoryTypeFilter::PREFER_DEVICE,
    };
    let place = AllocationCreateInfo { memory_type_filter, ..Default::default() };
    let info = BufferCreateInfo { usage, ..Default::default() };
    Buffer::new_slice(memory.clone(), info, place, words as u64).unwrap()
}

fn part(buffer: &Subbuffer<[u32]>, span: &Span) -> Subbuffer<[u32]> {
    let first = span.offset / 4;
    buffer.clone().slice(first..first + span.size / 4)
}

fn pipeline(device: &Arc<Device>, workload: &Workload, kernel: Kernel) -> Arc<ComputePipeline> {
    let words = spirv(workload, kernel);
    // SAFETY: the words come from naga, which validates what it reads.
    let module = unsafe { ShaderModule::new(device.clone(), ShaderModuleCreateInfo::new(&words)) }.unwrap();
    let stage = PipelineShaderStageCreateInfo::new(module.entry_point(kernel.name).unwrap());
    let sets = PipelineDescriptorSetLayoutCreateInfo::from_stages([&stage]);
    let layout = sets.into_pipeline_layout_create_info(device.clone()).unwrap();
    let layout = PipelineLayout::new(device.clone(), layout).unwrap();
    let info = ComputePipelineCreateInfo::stage_layout(stage, layout);
    ComputePipeline::new(device.clone(), None, info).unwrap()
}

impl Peer for Vulkano {
    fn name(&self) -> String {
        "vulkano".into()
    }

    fn submit(&mut self) {
        let mut builder = self.builder();
        let stamp = |builder: &mut Builder, at, stage| {
            // SAFETY: the timestamps were reset, and each is written once.
            unsafe { builder.write_timestamp(self.queries.clone(), at, stage) }.unwrap();
        };
        // SAFETY: nothing that uses them is running.
        unsafe { self.queries.reset(0..2) }.unwrap();
        stamp(&mut builder, 0, PipelineStage::TopOfPipe);
        let mut last = None;
        for dispatch in &self.dispatches {
            let kernel = self.workload.tables[dispatch.table].kernel;
            let pipeline = &self.pipelines[kernel];
            if last.replace(kernel) != Some(kernel) {
                builder.bind_pipeline_compute(pipeline.clone()).unwrap();
            }
            let (layout, set) = (pipeline.layout().clone(), self.sets[dispatch.table].clone());
            builder.bind_descriptor_sets(PipelineBindPoint::Compute, layout, 0, set).unwrap();
            // SAFETY: the kernels stay inside of what is bound.
            unsafe { builder.dispatch(dispatch.groups) }.unwrap();
        }
        stamp(&mut builder, 1, PipelineStage::BottomOfPipe);
        self.running = Some(self.execute(builder));
    }

    fn wait(&mut self) {
        if let Some(wait) = self.running.take() {
            wait();
        }
    }

    fn device(&mut self) -> Option<f64> {
        let mut ticks = [0u64; 2];
        self.queries.get_results(0..2, &mut ticks, QueryResultFlags::WAIT).ok()?;
        let period = self.device.physical_device().properties().timestamp_period;
        Some(ticks[1].saturating_sub(ticks[0]) as f64 * f64::from(period))
    }

    fn words(&mut self) -> Vec<u32> {
        let read = |span: &Span| -> Vec<u32> {
            let staging = buffer(&self.memory, span.size as usize / 4, true);
            self.copy(part(&self.buffers[span.buffer], span), staging.clone());
            staging.read().unwrap().to_vec()
        };
        self.workload.output.iter().flat_map(read).collect()
    }
}
