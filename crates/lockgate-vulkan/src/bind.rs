//! What kernels find bound: pipelines, descriptors and immediates, said once for as long as nothing changes.
//!
//! Descriptors are pushed into the command buffer where the driver can; else a set is written for each table of bindings,
//! never for each dispatch. Deliberately absent: dispatches (`record.rs`). Tested in the contract suite.

use crate::error::Fallible;
use crate::gpu::Gpu;
use crate::memory::{Buffer, native};
use crate::pipeline::{Layout, Pipeline};
use crate::sampler::Sampler;
use crate::texture::{Texture, ViewKey};
use ash::vk;
use lockgate_runtime::backend::{Binding, SubmittedBuffer};
use lockgate_runtime::{Error, ErrorKind, Result};
use smallvec::SmallVec;
use std::sync::Arc;

/// Sets that one pool of descriptors holds at least.
const SETS: u32 = 64;
/// The most bytes of a uniform buffer that all drivers take.
const UNIFORM_MAX: u64 = 16384;

/// What is bound in a recording.
pub(crate) struct Binder {
    gpu: Arc<Gpu>,
    /// The entry point.
    entry: vk::Pipeline,
    /// Layout, command buffer and table of what is bound.
    bound: Option<(vk::PipelineLayout, usize, u32)>,
    /// Command buffer and place of the immediates; nothing if they are the backend's own.
    immediates: Option<(usize, (u32, u32))>,
    /// Pools of descriptors; all but the last are full.
    pools: Vec<(vk::DescriptorPool, Arc<Layout>)>,
    buffers: Vec<vk::DescriptorBufferInfo>,
    images: Vec<vk::DescriptorImageInfo>,
}

impl Binder {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Binder {
        Binder {
            gpu: gpu.clone(),
            entry: vk::Pipeline::null(),
            bound: None,
            immediates: None,
            pools: Vec::new(),
            buffers: Vec::new(),
            images: Vec::new(),
        }
    }

    /// Nothing is bound, and no set is used any more.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.entry = vk::Pipeline::null();
        self.bound = None;
        self.immediates = None;
        for (pool, _) in self.pools.drain(..) {
            // SAFETY: the batch that used its sets is done.
            unsafe { self.gpu.raw.destroy_descriptor_pool(pool, None) };
        }
        Ok(())
    }

    /// Binds an entry point.
    pub(crate) fn entry(&mut self, commands: vk::CommandBuffer, entry: vk::Pipeline) {
        if self.entry != entry {
            self.entry = entry;
            // SAFETY: the command buffer is being recorded; the pipeline is held by the commit.
            unsafe { self.gpu.raw.cmd_bind_pipeline(commands, vk::PipelineBindPoint::COMPUTE, entry) };
        }
    }

    /// Binds a table of bindings.
    pub(crate) fn bind(
        &mut self,
        commands: vk::CommandBuffer,
        pipeline: &Pipeline,
        of: &SubmittedBuffer,
        (first, count): (u32, u32),
    ) -> Result<()> {
        let owner = Arc::as_ptr(&of.contents) as usize;
        let key = (pipeline.layout.raw, owner, first);
        if count == 0 || self.bound == Some(key) {
            return Ok(());
        }
        self.bound = Some(key);
        let list = &of.contents.bindings()[first as usize..(first + count) as usize];
        self.resolve(pipeline, of, list)?;
        self.write(commands, pipeline)
    }

    /// Binds what was looked up.
    fn write(&mut self, commands: vk::CommandBuffer, pipeline: &Pipeline) -> Result<()> {
        let layout = &pipeline.layout;
        let set = if layout.pushed { vk::DescriptorSet::null() } else { self.allocate(layout)? };
        let writes = self.writes(pipeline, set);
        let point = vk::PipelineBindPoint::COMPUTE;
        match &self.gpu.push_descriptor {
            Some(functions) if layout.pushed => {
                // SAFETY: the command buffer is being recorded; what the writes point to lives until the call returns,
                // and the objects are held by the commit.
                unsafe { functions.cmd_push_descriptor_set(commands, point, layout.raw, 0, &writes) };
            }
            _ => {
                // SAFETY: the set is new, so nothing uses it.
                unsafe { self.gpu.raw.update_descriptor_sets(&writes, &[]) };
                // SAFETY: the command buffer is being recorded.
                unsafe { self.gpu.raw.cmd_bind_descriptor_sets(commands, point, layout.raw, 0, &[set], &[]) };
            }
        }
        Ok(())
    }

    /// Looks up the objects of a table.
    fn resolve(&mut self, pipeline: &Pipeline, of: &SubmittedBuffer, list: &[Binding]) -> Result<()> {
        self.buffers.clear();
        self.images.clear();
        for (slot, binding) in pipeline.slots().zip(list) {
            match binding {
                Binding::Buffer(span) => {
                    let buffer =
                        of.resources[span.resource as usize].downcast_ref::<Buffer>().ok_or_else(foreign)?;
                    let uniform = slot.kind == vk::DescriptorType::UNIFORM_BUFFER;
                    let range = if uniform { span.size.min(UNIFORM_MAX) } else { span.size };
                    self.buffers.push(vk::DescriptorBufferInfo {
                        buffer: buffer.raw,
                        offset: span.offset,
                        range,
                    });
                }
                Binding::Texture { resource, view } => {
                    let texture =
                        of.resources[*resource as usize].downcast_ref::<Texture>().ok_or_else(foreign)?;
                    let image_view = texture.view(ViewKey::of(slot, view))?;
                    self.images.push(vk::DescriptorImageInfo {
                        sampler: vk::Sampler::null(),
                        image_view,
                        image_layout: vk::ImageLayout::GENERAL,
                    });
                }
                // With the feature nullDescriptor, what is not there reads as zero.
                Binding::Nothing if is_buffer(slot.kind) => {
                    self.buffers
                        .push(vk::DescriptorBufferInfo { range: vk::WHOLE_SIZE, ..Default::default() });
                }
                Binding::Nothing => self.images.push(vk::DescriptorImageInfo::default()),
                Binding::Sampler(at) => {
                    let sampler = native::<Sampler>(&of.samplers[*at as usize])?;
                    self.images.push(vk::DescriptorImageInfo { sampler: sampler.raw, ..Default::default() });
                }
            }
        }
        Ok(())
    }

    fn writes<'a>(
        &'a self,
        pipeline: &Pipeline,
        set: vk::DescriptorSet,
    ) -> SmallVec<[vk::WriteDescriptorSet<'a>; 8]> {
        let (mut buffers, mut images) = (self.buffers.as_slice(), self.images.as_slice());
        let mut writes = SmallVec::new();
        for (at, slot) in pipeline.shader.slots.iter().enumerate() {
            let count = slot.count as usize;
            let write = vk::WriteDescriptorSet::default()
                .dst_set(set)
                .dst_binding(at as u32)
                .descriptor_type(slot.kind);
            if is_buffer(slot.kind) {
                let (own, rest) = buffers.split_at(count.min(buffers.len()));
                buffers = rest;
                writes.push(write.buffer_info(own));
            } else {
                let (own, rest) = images.split_at(count.min(images.len()));
                images = rest;
                writes.push(write.image_info(own));
            }
        }
        writes
    }

    fn allocate(&mut self, layout: &Arc<Layout>) -> Result<vk::DescriptorSet> {
        if let Some((pool, own)) = self.pools.last()
            && Arc::ptr_eq(own, layout)
            && let Ok(set) = self.allocate_from(*pool, layout)
        {
            return Ok(set);
        }
        let pool = self.new_pool(layout)?;
        self.pools.push((pool, layout.clone()));
        self.allocate_from(pool, layout).or_fail("making a set of descriptors")
    }

    fn allocate_from(
        &self,
        pool: vk::DescriptorPool,
        layout: &Layout,
    ) -> ash::prelude::VkResult<vk::DescriptorSet> {
        let layouts = [layout.set];
        let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
        // SAFETY: pool and layout are alive, and only this recording uses the pool.
        let list = unsafe { self.gpu.raw.allocate_descriptor_sets(&info) }?;
        Ok(list.first().copied().unwrap_or_default())
    }

    fn new_pool(&self, layout: &Layout) -> Result<vk::DescriptorPool> {
        let scaled = |size: &vk::DescriptorPoolSize| vk::DescriptorPoolSize {
            descriptor_count: size.descriptor_count * SETS,
            ..*size
        };
        let sizes: Vec<_> = layout.sizes.iter().map(scaled).collect();
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(SETS).pool_sizes(&sizes);
        // SAFETY: the device is alive.
        unsafe { self.gpu.raw.create_descriptor_pool(&info, None) }.or_fail("making a pool of descriptors")
    }

    /// Says the immediates of a dispatch.
    pub(crate) fn immediates(
        &mut self,
        commands: vk::CommandBuffer,
        pipeline: &Pipeline,
        of: &SubmittedBuffer,
        (first, count): (u32, u32),
    ) {
        let key = (Arc::as_ptr(&of.contents) as usize, (first, count));
        if count == 0 || !pipeline.shader.has_immediates || self.immediates == Some(key) {
            return;
        }
        self.immediates = Some(key);
        let bytes = of.contents.immediates().get(first as usize..(first + count) as usize).unwrap_or(&[]);
        let mut words: SmallVec<[u8; 128]> = SmallVec::from_slice(bytes);
        words.resize(bytes.len().next_multiple_of(4), 0);
        words.truncate(self.gpu.limits.max_push_constants as usize);
        self.push(commands, pipeline, &words);
    }

    /// Says a limit to an entry point that was made to be told it.
    pub(crate) fn limit(&mut self, commands: vk::CommandBuffer, pipeline: &Pipeline, limit: [u32; 3]) {
        self.immediates = None;
        let bytes: SmallVec<[u8; 12]> = limit.iter().flat_map(|side| side.to_ne_bytes()).collect();
        self.push(commands, pipeline, &bytes);
    }

    fn push(&self, commands: vk::CommandBuffer, pipeline: &Pipeline, bytes: &[u8]) {
        let stage = vk::ShaderStageFlags::COMPUTE;
        // SAFETY: the command buffer is being recorded; the layout takes as many bytes as the limit says.
        unsafe { self.gpu.raw.cmd_push_constants(commands, pipeline.layout.raw, stage, 0, bytes) };
    }

    /// Binds a kernel of the backend with its buffers and immediates.
    pub(crate) fn tool(
        &mut self,
        commands: vk::CommandBuffer,
        pipeline: &Pipeline,
        buffers: &[vk::DescriptorBufferInfo],
        immediates: [u32; 3],
    ) -> Result<()> {
        self.bound = None;
        self.buffers.clear();
        self.buffers.extend_from_slice(buffers);
        self.write(commands, pipeline)?;
        self.entry(commands, pipeline.whole);
        self.limit(commands, pipeline, immediates);
        Ok(())
    }
}

impl Drop for Binder {
    fn drop(&mut self) {
        for (pool, _) in self.pools.drain(..) {
            // SAFETY: the recording is done, and its sets with it.
            unsafe { self.gpu.raw.destroy_descriptor_pool(pool, None) };
        }
    }
}

/// Makes the views of a table. A driver may refuse one, which is better known before anything is recorded.
pub(crate) fn make_views(pipeline: &Pipeline, of: &SubmittedBuffer, list: &[Binding]) -> Result<()> {
    for (slot, binding) in pipeline.slots().zip(list) {
        if let Binding::Texture { resource, view } = binding {
            let texture = of.resources[*resource as usize].downcast_ref::<Texture>().ok_or_else(foreign)?;
            texture.view(ViewKey::of(slot, view))?;
        }
    }
    Ok(())
}

fn is_buffer(kind: vk::DescriptorType) -> bool {
    matches!(kind, vk::DescriptorType::UNIFORM_BUFFER | vk::DescriptorType::STORAGE_BUFFER)
}

fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "an object of another device")
}
