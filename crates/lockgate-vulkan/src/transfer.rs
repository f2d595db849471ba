//! Work that the host waits for at once: making images ready, and copies between textures and the host.
//!
//! Nothing on the device touches the resources meanwhile, which the runtime sees to. Deliberately absent: anything that
//! a program records. Tested in the contract suite.

use crate::error::{Fallible, error};
use crate::gpu::Gpu;
use crate::memory::{Buffer, Memory, Purpose};
use crate::texture::Texture;
use ash::vk;
use lockgate_runtime::backend::{Native, TextureSpan};
use lockgate_runtime::{Result, StorageMode};
use std::sync::{Arc, Mutex, PoisonError};

/// One command buffer that is recorded, run and waited for, by one thread at a time.
pub(crate) struct Transfer {
    gpu: Arc<Gpu>,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
    turn: Mutex<()>,
}

/// Everything before, everything after.
pub(crate) const ALL: vk::MemoryBarrier2<'static> = vk::MemoryBarrier2 {
    s_type: vk::StructureType::MEMORY_BARRIER_2,
    p_next: std::ptr::null(),
    src_stage_mask: vk::PipelineStageFlags2::ALL_COMMANDS,
    src_access_mask: vk::AccessFlags2::MEMORY_WRITE,
    dst_stage_mask: vk::PipelineStageFlags2::from_raw(
        vk::PipelineStageFlags2::ALL_COMMANDS.as_raw() | vk::PipelineStageFlags2::HOST.as_raw(),
    ),
    dst_access_mask: vk::AccessFlags2::from_raw(
        vk::AccessFlags2::MEMORY_READ.as_raw() | vk::AccessFlags2::MEMORY_WRITE.as_raw(),
    ),
    _marker: std::marker::PhantomData,
};

impl Transfer {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Transfer> {
        let info = vk::CommandPoolCreateInfo::default()
            .flags(vk::CommandPoolCreateFlags::TRANSIENT)
            .queue_family_index(gpu.queues[0].family);
        // SAFETY: the device is alive and has the family.
        let pool = unsafe { gpu.raw.create_command_pool(&info, None) }.or_fail("making a command pool")?;
        let mut transfer = Transfer {
            gpu: gpu.clone(),
            pool,
            commands: vk::CommandBuffer::null(),
            fence: vk::Fence::null(),
            turn: Mutex::default(),
        };
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        // SAFETY: the pool was made just now.
        let list = unsafe { gpu.raw.allocate_command_buffers(&info) }.or_fail("making a command buffer")?;
        transfer.commands = list.first().copied().unwrap_or_default();
        // SAFETY: the device is alive.
        let fence = unsafe { gpu.raw.create_fence(&vk::FenceCreateInfo::default(), None) };
        transfer.fence = fence.or_fail("making a fence")?;
        Ok(transfer)
    }

    /// Records with `record`, runs it, and waits for it.
    fn run(&self, record: impl FnOnce(&ash::Device, vk::CommandBuffer)) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (device, commands) = (&self.gpu.raw, self.commands);
        // SAFETY: what was recorded in the pool before has been waited for.
        let reset = unsafe { device.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty()) };
        reset.or_fail("recording a transfer")?;
        let once = vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
        // SAFETY: the command buffer was reset with its pool.
        unsafe { device.begin_command_buffer(commands, &once) }.or_fail("recording a transfer")?;
        self.barrier();
        record(device, commands);
        self.barrier();
        // SAFETY: it is being recorded.
        unsafe { device.end_command_buffer(commands) }.or_fail("recording a transfer")?;
        let list = [vk::CommandBufferSubmitInfo::default().command_buffer(commands)];
        let batch = [vk::SubmitInfo2::default().command_buffer_infos(&list)];
        let queue = self.gpu.queues[0].raw.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the queue is held, the command buffer is complete, and this thread waits for the fence below.
        let submitted = unsafe { device.queue_submit2(*queue, &batch, self.fence) };
        drop(queue);
        submitted.map_err(|result| error("running a transfer", result))?;
        let fences = [self.fence];
        // SAFETY: the fence was submitted just now.
        let waited = unsafe { device.wait_for_fences(&fences, true, u64::MAX) };
        waited.or_fail("waiting for a transfer")?;
        // SAFETY: the fence is signaled, so nobody waits for it.
        unsafe { device.reset_fences(&fences) }.or_fail("waiting for a transfer")
    }

    fn barrier(&self) {
        let all = [ALL];
        let barrier = vk::DependencyInfo::default().memory_barriers(&all);
        // SAFETY: the command buffer is being recorded by the caller.
        unsafe { self.gpu.raw.cmd_pipeline_barrier2(self.commands, &barrier) };
    }

    /// Gives a new texture its layout and clears it.
    pub(crate) fn prepare(&self, texture: &Texture) -> Result<()> {
        self.run(|device, commands| {
            let images = [vk::ImageMemoryBarrier2 {
                dst_stage_mask: vk::PipelineStageFlags2::ALL_COMMANDS,
                dst_access_mask: vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE,
                ..texture.prepare()
            }];
            let barrier = vk::DependencyInfo::default().image_memory_barriers(&images);
            // SAFETY: it is being recorded; the texture is alive until it has run.
            unsafe { device.cmd_pipeline_barrier2(commands, &barrier) };
            let (layout, whole) = (vk::ImageLayout::GENERAL, [texture.whole()]);
            if texture.descriptor.format.is_depth() {
                let zero = vk::ClearDepthStencilValue::default();
                // SAFETY: as above; the image has the layout by now. The queue is one with graphics where there is one,
                // and depth has no other way.
                unsafe { device.cmd_clear_depth_stencil_image(commands, texture.raw, layout, &zero, &whole) };
            } else {
                let zero = vk::ClearColorValue::default();
                // SAFETY: as above.
                unsafe { device.cmd_clear_color_image(commands, texture.raw, layout, &zero, &whole) };
            }
        })?;
        texture.set_ready();
        Ok(())
    }

    /// Clears a new buffer that the host cannot reach.
    pub(crate) fn clear(&self, buffer: &Buffer) -> Result<()> {
        self.run(|device, commands| {
            // SAFETY: it is being recorded; the buffer is alive until it has run.
            unsafe { device.cmd_fill_buffer(commands, buffer.raw, 0, vk::WHOLE_SIZE, 0) };
        })
    }

    /// Copies one level of a slice out, rows packed.
    pub(crate) fn read(&self, texture: &Texture, from: &TextureSpan, into: &mut [u8]) -> Result<()> {
        self.make_ready(texture)?;
        let staging = self.staging(into.len())?;
        let regions = [region(texture, from)];
        self.run(|device, commands| {
            let (image, layout) = (texture.raw, vk::ImageLayout::GENERAL);
            // SAFETY: it is being recorded; the span is inside the texture, and the buffer is as large as its texels.
            unsafe { device.cmd_copy_image_to_buffer(commands, image, layout, staging.raw, &regions) };
        })?;
        staging.read_into(0, into)
    }

    /// Copies packed rows into one level of a slice.
    pub(crate) fn write(&self, texture: &Texture, to: &TextureSpan, bytes: &[u8]) -> Result<()> {
        self.make_ready(texture)?;
        let staging = self.staging(bytes.len())?;
        staging.write_from(0, bytes)?;
        let regions = [region(texture, to)];
        self.run(|device, commands| {
            let (image, layout) = (texture.raw, vk::ImageLayout::GENERAL);
            // SAFETY: as above, the other way.
            unsafe { device.cmd_copy_buffer_to_image(commands, staging.raw, image, layout, &regions) };
        })
    }

    /// A texture of a heap that the host is the first to use.
    fn make_ready(&self, texture: &Texture) -> Result<()> {
        if texture.is_ready() { Ok(()) } else { self.prepare(texture) }
    }

    fn staging(&self, size: usize) -> Result<Buffer> {
        let size = (size as u64).max(1);
        let memory: Native = Arc::new(Memory::new(&self.gpu, size, StorageMode::Shared, Purpose::Buffer)?);
        Buffer::new(&self.gpu, &memory, 0, size)
    }
}

fn region(texture: &Texture, span: &TextureSpan) -> vk::BufferImageCopy {
    vk::BufferImageCopy::default()
        .image_subresource(texture.layer(span.level, span.slice))
        .image_offset(offset(span.origin))
        .image_extent(extent(span.size))
}

pub(crate) fn offset(origin: [u32; 3]) -> vk::Offset3D {
    let [x, y, z] = origin.map(|side| side as i32);
    vk::Offset3D { x, y, z }
}

pub(crate) fn extent(size: [u32; 3]) -> vk::Extent3D {
    let [width, height, depth] = size;
    vk::Extent3D { width, height, depth }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        // SAFETY: every run is waited for, so nothing uses the fence.
        unsafe { self.gpu.raw.destroy_fence(self.fence, None) };
        // SAFETY: as above; the command buffer goes with its pool.
        unsafe { self.gpu.raw.destroy_command_pool(self.pool, None) };
    }
}
