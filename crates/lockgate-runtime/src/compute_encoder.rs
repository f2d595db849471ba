//! Compute passes: dispatches, copies, fills, mipmaps, barriers and fences.
//!
//! Each call checks its arguments, tells the model what it touches, and appends a command for the device. The
//! first mistake is kept in the command buffer; what is wrong is not recorded.

use crate::backend::{BufferSpan, Command, RowLayout, TextureSpan};
use crate::buffer::Buffer;
use crate::command_buffer::CommandBuffer;
use crate::{Error, ErrorKind, Fence, PixelFormat, Texture};
use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, BarrierScope, ResourceId, Stage, Stages, Texels, Work,
};
use std::ops::Range;
use std::panic::Location;
use std::sync::Arc;

/// Whether commands of a compute pass may overlap.
///
/// ```
/// assert_eq!(lockgate_runtime::DispatchType::default(), lockgate_runtime::DispatchType::Concurrent);
/// ```
#[doc(alias = "MTLDispatchType")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DispatchType {
    /// They may: the only kind that Metal 4 has.
    #[default]
    Concurrent,
    /// Each behaves as if it ended before the next starts: Metal 3's default.
    Serial,
}

/// How a compute pass begins.
///
/// ```
/// use lockgate_runtime::{ComputePassDescriptor, DispatchType};
/// let pass = ComputePassDescriptor { dispatch_type: DispatchType::Serial, ..Default::default() };
/// assert_eq!(pass.label, "");
/// ```
#[doc(alias = "MTLComputePassDescriptor")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ComputePassDescriptor<'a> {
    /// Whether commands may overlap. Default: they may.
    pub dispatch_type: DispatchType,
    /// What messages and timelines call the pass.
    pub label: &'a str,
}

/// A texel of a texture: where a copy begins.
///
/// ```
/// let corner = lockgate_runtime::TextureOrigin { level: 1, ..Default::default() };
/// assert_eq!(corner.origin, [0, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextureOrigin {
    /// Mip level.
    pub level: u32,
    /// Array slice.
    pub slice: u32,
    /// Texel: x, y, z.
    pub origin: [u32; 3],
}

/// How texels lie in a buffer.
///
/// ```
/// let rows = lockgate_runtime::BufferLayout { bytes_per_row: 256, ..Default::default() };
/// assert_eq!(rows.offset, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLayout {
    /// First byte.
    pub offset: u64,
    /// Bytes from row to row. 0: rows are packed.
    pub bytes_per_row: u64,
    /// Bytes from image to image of a 3D texture. 0: images are packed.
    pub bytes_per_image: u64,
}

/// Records one compute pass. The pass ends with [`ComputeCommandEncoder::end_encoding`] or when it is dropped.
///
/// Commands of a concurrent pass may run at once and in any order, unless a barrier or tracking orders them.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let library = device.new_library(
///     "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
///      @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3u) { data[id.x] *= 2u; }",
/// )?;
/// let pipeline = device.new_compute_pipeline(&library, "double")?;
/// let buffer = device.new_buffer(&BufferDescriptor { size: 1024, ..Default::default() })?;
/// let table = device.new_argument_table();
/// table.set_buffer("data", &buffer);
/// let allocator = device.new_command_allocator("");
/// let mut commands = device.new_command_buffer("");
/// commands.begin(&allocator);
/// let mut encoder = commands.compute_command_encoder("twice");
/// encoder.set_compute_pipeline(&pipeline);
/// encoder.set_argument_table(&table);
/// encoder.dispatch_threads([256, 1, 1]);
/// encoder.intrapass_barrier(Barrier { after: Stages::DISPATCH, before: Stages::DISPATCH, ..Default::default() });
/// encoder.dispatch_threads([256, 1, 1]);
/// encoder.end_encoding();
/// commands.end()?;
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "MTL4ComputeCommandEncoder")]
#[derive(Debug)]
pub struct ComputeCommandEncoder<'a> {
    pub(crate) buffer: &'a mut CommandBuffer,
    /// Whether this pass has set them: what an earlier pass has bound does not count.
    pub(crate) has_pipeline: bool,
    pub(crate) has_table: bool,
    pub(crate) immediates: (u32, u32),
    pub(crate) stages: Stages,
}

impl Drop for ComputeCommandEncoder<'_> {
    fn drop(&mut self) {
        self.buffer.contents.recording.end_pass();
        self.buffer.bound.end_pass();
    }
}

impl<'a> ComputeCommandEncoder<'a> {
    pub(crate) fn new(buffer: &'a mut CommandBuffer) -> ComputeCommandEncoder<'a> {
        let (has_pipeline, has_table) = (false, false);
        ComputeCommandEncoder { buffer, has_pipeline, has_table, immediates: (0, 0), stages: Stages::empty() }
    }

    /// Ends the pass.
    #[doc(alias = "endEncoding")]
    pub fn end_encoding(self) {}

    /// The stages of the commands encoded so far.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// Labels of the next commands begin with this group's.
    #[doc(alias = "pushDebugGroup")]
    pub fn push_debug_group(&mut self, label: &str) {
        self.buffer.bound.push_group(label);
    }

    /// Ends the last debug group.
    #[doc(alias = "popDebugGroup")]
    pub fn pop_debug_group(&mut self) {
        self.buffer.bound.pop_group();
    }

    /// Copies bytes from buffer to buffer. Within one buffer the ranges must be apart.
    #[doc(alias = "copyFromBuffer")]
    #[track_caller]
    pub fn copy_buffer(&mut self, from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, size: u64) {
        let (Some(source), Some(target)) =
            (self.span(from, from_offset, size), self.span(to, to_offset, size))
        else {
            return;
        };
        let overlap = from_offset.max(to_offset) < from_offset.min(to_offset).saturating_add(size);
        if from.key() == to.key() && overlap {
            return self.fail(format!("a copy within buffer `{}` overlaps itself", from.label()));
        }
        let accesses = [
            Access::bytes(from.key().id, from_offset, from_offset + size, AccessKind::READ),
            Access::bytes(to.key().id, to_offset, to_offset + size, AccessKind::WRITE),
        ];
        let needed = [from.0.tracked, to.0.tracked];
        let command = Command::CopyBuffer { from: source, to: target };
        self.blit(command, &accesses, needed, "copy", Location::caller());
    }

    /// Writes one byte over a range of a buffer.
    #[doc(alias = "fillBuffer")]
    #[track_caller]
    pub fn fill_buffer(&mut self, buffer: &Buffer, range: Range<u64>, value: u8) {
        let size = range.end.saturating_sub(range.start);
        let Some(to) = self.span(buffer, range.start, size) else { return };
        let access = Access::bytes(buffer.key().id, range.start, range.end, AccessKind::WRITE);
        self.blit(
            Command::FillBuffer { to, value },
            &[access],
            [buffer.0.tracked],
            "fill",
            Location::caller(),
        );
    }

    /// Copies rows of a buffer into texels of a texture.
    #[doc(alias = "copyFromBuffer")]
    #[track_caller]
    pub fn copy_buffer_to_texture(
        &mut self,
        from: &Buffer,
        layout: BufferLayout,
        to: &Texture,
        at: TextureOrigin,
        size: [u32; 3],
    ) {
        let Some(target) = self.texels(to, at, size) else { return };
        let Some((source, rows)) = self.rows(from, layout, to.pixel_format(), size) else { return };
        let end = source.offset + source.size;
        let accesses = [
            Access::bytes(from.key().id, source.offset, end, AccessKind::READ),
            to.access(&target, AccessKind::WRITE),
        ];
        let command = Command::CopyBufferToTexture { from: source, layout: rows, to: target };
        self.blit(command, &accesses, [from.0.tracked, to.inner.tracked], "copy", Location::caller());
    }

    /// Copies texels of a texture into rows of a buffer.
    #[doc(alias = "copyFromTexture")]
    #[track_caller]
    pub fn copy_texture_to_buffer(
        &mut self,
        from: &Texture,
        at: TextureOrigin,
        size: [u32; 3],
        to: &Buffer,
        layout: BufferLayout,
    ) {
        let Some(source) = self.texels(from, at, size) else { return };
        let Some((target, rows)) = self.rows(to, layout, from.pixel_format(), size) else { return };
        let end = target.offset + target.size;
        let accesses = [
            from.access(&source, AccessKind::READ),
            Access::bytes(to.key().id, target.offset, end, AccessKind::WRITE),
        ];
        let command = Command::CopyTextureToBuffer { from: source, to: target, layout: rows };
        self.blit(command, &accesses, [from.inner.tracked, to.0.tracked], "copy", Location::caller());
    }

    /// Copies texels to a texture whose format has the same size. Within one subresource the boxes must be
    /// apart.
    #[doc(alias = "copyFromTexture")]
    #[track_caller]
    pub fn copy_texture(
        &mut self,
        from: &Texture,
        from_at: TextureOrigin,
        to: &Texture,
        to_at: TextureOrigin,
        size: [u32; 3],
    ) {
        let Some(source) = self.texels(from, from_at, size) else { return };
        let Some(target) = self.texels(to, to_at, size) else { return };
        if from.pixel_format().bytes_per_texel() != to.pixel_format().bytes_per_texel() {
            let (a, b) = (from.pixel_format().name(), to.pixel_format().name());
            return self.fail(format!(
                "texels of {a} (`{}`) do not fit into {b} (`{}`)",
                from.label(),
                to.label()
            ));
        }
        let accesses = [from.access(&source, AccessKind::READ), to.access(&target, AccessKind::WRITE)];
        let texels = |access: &Access| access.region.texels();
        if from.key() == to.key() && texels(&accesses[0]).overlaps(&texels(&accesses[1])) {
            return self.fail(format!("a copy within texture `{}` overlaps itself", from.label()));
        }
        let command = Command::CopyTexture { from: source, to: target };
        self.blit(command, &accesses, [from.inner.tracked, to.inner.tracked], "copy", Location::caller());
    }

    /// Fills all mip levels but the first, each from the one before.
    #[doc(alias = "generateMipmapsForTexture")]
    #[track_caller]
    pub fn generate_mipmaps(&mut self, texture: &Texture) {
        if !self.own(texture.inner.shared_ptr(), texture.label()) {
            return;
        }
        if !texture.pixel_format().is_filterable() {
            let name = texture.pixel_format().name();
            return self.fail(format!("mipmaps of {name} (`{}`) cannot be generated", texture.label()));
        }
        let levels = texture.descriptor().mip_level_count as u16;
        let slices = (0, texture.descriptor().slice_count() as u16);
        let part = |levels, kind| Access::texels(texture.key().id, Texels::range(levels, slices), kind);
        let both = AccessKind::READ | AccessKind::WRITE;
        let accesses = [part((0, 1), AccessKind::READ), part((1, levels), both)];
        let resource = self.buffer.contents.texture(texture);
        let command = Command::GenerateMipmaps { resource };
        let tracked = texture.inner.tracked;
        self.blit(command, &accesses, [tracked, tracked], "mipmaps", Location::caller());
    }

    /// Later commands of this pass wait for earlier commands of this pass.
    #[doc(alias = "barrierAfterEncoderStages")]
    #[track_caller]
    pub fn intrapass_barrier(&mut self, barrier: Barrier) {
        let legal = Stages::DISPATCH | Stages::BLIT | Stages::ACCELERATION_STRUCTURE;
        let foreign = |mask: Stages| mask != Stages::ALL && !(mask - legal).is_empty();
        if foreign(barrier.after) || foreign(barrier.before) {
            let (after, before) = (barrier.after, barrier.before);
            return self.fail(format!(
                "an intrapass barrier of a compute encoder takes dispatch, blit and acceleration structure; \
                 it says after {after:?} before {before:?}"
            ));
        }
        self.buffer.contents.note_origin(Location::caller());
        self.buffer.contents.recording.barrier(BarrierReach::Intrapass, barrier);
    }

    /// Later passes of the queue wait for this pass so far and for all earlier ones.
    #[doc(alias = "barrierAfterStages")]
    #[track_caller]
    pub fn producer_barrier(&mut self, barrier: Barrier) {
        self.buffer.contents.note_origin(Location::caller());
        self.buffer.contents.recording.barrier(BarrierReach::Producer, barrier);
    }

    /// The rest of this pass and all later passes of the queue wait for all earlier passes.
    #[doc(alias = "barrierAfterQueueStages")]
    #[track_caller]
    pub fn consumer_barrier(&mut self, barrier: Barrier) {
        self.buffer.contents.note_origin(Location::caller());
        self.buffer.contents.recording.barrier(BarrierReach::Consumer, barrier);
    }

    /// Metal 3: later dispatches wait for earlier ones of this pass and see what they wrote to resources in
    /// the scope.
    #[doc(alias = "memoryBarrierWithScope")]
    #[track_caller]
    pub fn memory_barrier_with_scope(&mut self, scope: BarrierScope) {
        let all = Stages::DISPATCH;
        self.buffer.contents.note_origin(Location::caller());
        self.buffer.contents.recording.memory_barrier_with_scope(all, all, scope);
    }

    /// Metal 3: the same for listed buffers and textures.
    #[doc(alias = "memoryBarrierWithResources")]
    #[track_caller]
    pub fn memory_barrier_with_resources(&mut self, buffers: &[&Buffer], textures: &[&Texture]) {
        let all = Stages::DISPATCH;
        let buffers = buffers.iter().map(|buffer| buffer.key().id);
        let list: Vec<ResourceId> = buffers.chain(textures.iter().map(|texture| texture.key().id)).collect();
        self.buffer.contents.note_origin(Location::caller());
        self.buffer.contents.recording.memory_barrier_with_resources(all, all, &list);
    }

    /// The fence stands for these stages of this pass so far. In Metal 3 all stages: [`Stages::ALL`].
    #[doc(alias = "updateFence")]
    #[track_caller]
    pub fn update_fence(&mut self, fence: &Fence, after: Stages) {
        if self.own(Arc::as_ptr(&fence.0.shared).cast(), fence.label()) {
            self.buffer.contents.note_origin(Location::caller());
            self.buffer.contents.recording.update_fence(fence.0.id, after);
        }
    }

    /// These stages of the rest of this pass wait for all earlier updates of the fence on this queue.
    #[doc(alias = "waitForFence")]
    #[track_caller]
    pub fn wait_for_fence(&mut self, fence: &Fence, before: Stages) {
        if self.own(Arc::as_ptr(&fence.0.shared).cast(), fence.label()) {
            self.buffer.contents.note_origin(Location::caller());
            self.buffer.contents.recording.wait_for_fence(fence.0.id, before);
        }
    }

    pub(crate) fn fail(&mut self, message: String) {
        self.buffer.contents.fail(Error::new(ErrorKind::Invalid, message));
    }

    /// Records a command of the blit stage; `needed` says which accesses tracking needs to know.
    fn blit<const N: usize>(
        &mut self,
        command: Command,
        accesses: &[Access; N],
        needed: [bool; N],
        label: &str,
        origin: &'static Location<'static>,
    ) {
        let mut kept = [accesses[0]; N];
        let mut count = 0;
        for (access, needed) in accesses.iter().zip(needed) {
            if needed || self.buffer.checking {
                kept[count] = *access;
                count += 1;
            }
        }
        self.push(Stage::Blit, command, &kept[..count], label, origin);
    }

    fn push(
        &mut self,
        stage: Stage,
        command: Command,
        accesses: &[Access],
        label: &str,
        origin: &'static Location<'static>,
    ) {
        self.buffer.require_recording();
        self.stages |= stage.mask();
        let contents = &mut self.buffer.contents;
        contents.recording.command(&[Work::new(stage, accesses)]);
        let label = contents.command_text(self.buffer.bound.groups(), label);
        contents.push_labeled(command, label, origin);
    }

    fn own(&mut self, shared: *const (), label: &str) -> bool {
        let own = Arc::as_ptr(&self.buffer.device.0).cast::<()>() == shared;
        if !own {
            self.fail(format!("`{label}` belongs to another device"));
        }
        own
    }

    pub(crate) fn span(&mut self, buffer: &Buffer, offset: u64, size: u64) -> Option<BufferSpan> {
        if !self.own(Arc::as_ptr(&buffer.0.shared).cast(), buffer.label()) {
            return None;
        }
        let length = buffer.size();
        if offset.checked_add(size).is_none_or(|end| end > length) {
            let (end, label) = (offset.saturating_add(size), buffer.label());
            self.fail(format!(
                "bytes {offset}..{end} are beyond the end of buffer `{label}` of {length} bytes"
            ));
            return None;
        }
        let resource = self.buffer.contents.buffer(buffer);
        Some(BufferSpan { resource, offset, size })
    }

    /// A box of texels of a view as a box of its texture.
    fn texels(&mut self, texture: &Texture, at: TextureOrigin, size: [u32; 3]) -> Option<TextureSpan> {
        if !self.own(texture.inner.shared_ptr(), texture.label()) {
            return None;
        }
        let slices = texture.view.slices.1 - texture.view.slices.0;
        let has = texture.level_size(at.level);
        let fits = |axis: usize| at.origin[axis].checked_add(size[axis]).is_some_and(|end| end <= has[axis]);
        let inside = at.level < texture.mip_level_count() && at.slice < slices && (0..3).all(fits);
        if !inside || size.contains(&0) {
            let label = texture.label();
            self.fail(format!(
                "{size:?} texels at {:?} of level {}, slice {} are not inside texture `{label}` ({has:?})",
                at.origin, at.level, at.slice
            ));
            return None;
        }
        let resource = self.buffer.contents.texture(texture);
        let (level, slice) = (at.level + texture.view.levels.0, at.slice + texture.view.slices.0);
        Some(TextureSpan { resource, level, slice, origin: at.origin, size })
    }

    /// The bytes that rows of texels take in a buffer, from the first to the last.
    fn rows(
        &mut self,
        buffer: &Buffer,
        layout: BufferLayout,
        format: PixelFormat,
        size: [u32; 3],
    ) -> Option<(BufferSpan, RowLayout)> {
        let [width, height, depth] = size.map(u64::from);
        let packed = width * u64::from(format.bytes_per_texel());
        let bytes_per_row = if layout.bytes_per_row == 0 { packed } else { layout.bytes_per_row };
        let image = bytes_per_row.checked_mul(height);
        let bytes_per_image = if layout.bytes_per_image == 0 { image? } else { layout.bytes_per_image };
        if bytes_per_row < packed || image.is_none_or(|image| depth > 1 && bytes_per_image < image) {
            self.fail(format!(
                "{bytes_per_row} bytes per row and {bytes_per_image} per image do not hold {size:?} texels of {}",
                format.name()
            ));
            return None;
        }
        let images = bytes_per_image.checked_mul(depth - 1);
        let total = images.and_then(|images| images.checked_add(bytes_per_row * (height - 1) + packed));
        let span = self.span(buffer, layout.offset, total.unwrap_or(u64::MAX))?;
        Some((span, RowLayout { bytes_per_row, bytes_per_image }))
    }
}
