//! Copies, fills and mipmaps.
//!
//! What Vulkan wants aligned is said in pieces that are. Deliberately absent: copies of the host (`transfer.rs`). Tested
//! in `tests/device.rs`.

use crate::format::aspect;
use crate::memory::{Buffer, native};
use crate::plan::HardwareStages;
use crate::record::{Context, Recording};
use crate::texture::Texture;
use crate::transfer::{extent, offset};
use ash::vk;
use lockgate_runtime::Result;
use lockgate_runtime::backend::{BufferSpan, Command, RowLayout, SubmittedBuffer, TextureSpan};

const GENERAL: vk::ImageLayout = vk::ImageLayout::GENERAL;

impl Recording {
    /// Records a command of the blit stage.
    pub(crate) fn blit(
        &mut self,
        command: &Command,
        of: &SubmittedBuffer,
        context: &Context<'_>,
    ) -> Result<()> {
        let buffer = |span: &BufferSpan| native::<Buffer>(&of.resources[span.resource as usize]);
        let texture = |resource: u32| native::<Texture>(&of.resources[resource as usize]);
        match command {
            Command::CopyBuffer { from, to } if from.size > 0 => {
                let (source, target) = (buffer(from)?, buffer(to)?);
                self.copy((source.raw, from.offset), (target.raw, to.offset), from.size);
            }
            Command::FillBuffer { to, value } => self.fill(buffer(to)?.raw, to, *value, context)?,
            Command::CopyBufferToTexture { from, layout, to } => {
                let (source, target) = (buffer(from)?, texture(to.resource)?);
                let regions = regions(&target, to, from.offset, layout);
                // SAFETY: it is being recorded; the regions are inside both, which the runtime has checked.
                unsafe {
                    self.device()
                        .cmd_copy_buffer_to_image(self.raw, source.raw, target.raw, GENERAL, &regions)
                };
            }
            Command::CopyTextureToBuffer { from, to, layout } => {
                let (source, target) = (texture(from.resource)?, buffer(to)?);
                let regions = regions(&source, from, to.offset, layout);
                // SAFETY: as above.
                unsafe {
                    self.device()
                        .cmd_copy_image_to_buffer(self.raw, source.raw, GENERAL, target.raw, &regions)
                };
            }
            Command::CopyTexture { from, to } => {
                let (source, target) = (texture(from.resource)?, texture(to.resource)?);
                self.copy_texture(&source, from, &target, to, context)?;
            }
            Command::GenerateMipmaps { resource } => self.mipmaps(&*texture(*resource)?),
            Command::CopyBuffer { .. } | Command::Dispatch { .. } | Command::Nothing => {}
        }
        Ok(())
    }

    fn copy(&self, (from, from_offset): (vk::Buffer, u64), (to, to_offset): (vk::Buffer, u64), size: u64) {
        let region = [vk::BufferCopy { src_offset: from_offset, dst_offset: to_offset, size }];
        // SAFETY: it is being recorded; the ranges are inside the buffers and do not overlap.
        unsafe { self.device().cmd_copy_buffer(self.raw, from, to, &region) };
    }

    /// Whole words are filled; what is before and behind them is copied.
    fn fill(&self, to: vk::Buffer, span: &BufferSpan, value: u8, context: &Context<'_>) -> Result<()> {
        let (start, end) = (span.offset, span.offset + span.size);
        let (first, last) = (start.next_multiple_of(4).min(end), (end / 4 * 4).max(start));
        let (bytes, at) = context.tools.bytes(value)?;
        if first < last {
            let word = u32::from_ne_bytes([value; 4]);
            // SAFETY: it is being recorded; the range is inside the buffer and made of whole words.
            unsafe { self.device().cmd_fill_buffer(self.raw, to, first, last - first, word) };
        }
        let pieces =
            if first < last { [(start, first), (last, end)] } else { [(start, first), (first, end)] };
        for (from, until) in pieces.into_iter().filter(|(from, until)| from < until) {
            self.copy((bytes.raw, at), (to, from), until - from);
        }
        Ok(())
    }

    fn copy_texture(
        &mut self,
        source: &Texture,
        from: &TextureSpan,
        target: &Texture,
        to: &TextureSpan,
        context: &Context<'_>,
    ) -> Result<()> {
        let (source_layer, target_layer) =
            (source.layer(from.level, from.slice), target.layer(to.level, to.slice));
        if aspect(source.descriptor.format) == aspect(target.descriptor.format) {
            let region = [vk::ImageCopy {
                src_subresource: source_layer,
                src_offset: offset(from.origin),
                dst_subresource: target_layer,
                dst_offset: offset(to.origin),
                extent: extent(from.size),
            }];
            // SAFETY: it is being recorded; the region is inside both, and their texels have the same size.
            unsafe {
                self.device().cmd_copy_image(self.raw, source.raw, GENERAL, target.raw, GENERAL, &region)
            };
            return Ok(());
        }
        // Depth and colour meet in a buffer only.
        let texels: u64 = from.size.iter().map(|side| u64::from(*side)).product();
        let size = texels * u64::from(source.descriptor.format.bytes_per_texel());
        let between = context.tools.private_buffer(size)?;
        let region = |layer, origin| {
            let region = vk::BufferImageCopy::default().image_subresource(layer);
            [region.image_offset(offset(origin)).image_extent(extent(from.size))]
        };
        let (out, into) = (region(source_layer, from.origin), region(target_layer, to.origin));
        // SAFETY: as above; the buffer has room for the texels.
        unsafe { self.device().cmd_copy_image_to_buffer(self.raw, source.raw, GENERAL, between.raw, &out) };
        self.inner_barrier(HardwareStages::TRANSFER, HardwareStages::TRANSFER);
        // SAFETY: as above.
        unsafe { self.device().cmd_copy_buffer_to_image(self.raw, between.raw, target.raw, GENERAL, &into) };
        self.scratch.push(between);
        Ok(())
    }

    /// Each level is the mean of two by two (by two) texels of the one before; where a side is odd, the last texels of the
    /// larger level are left out.
    fn mipmaps(&self, texture: &Texture) {
        let descriptor = &texture.descriptor;
        for level in 1..descriptor.mip_level_count {
            if level > 1 {
                self.inner_barrier(HardwareStages::TRANSFER, HardwareStages::TRANSFER);
            }
            let (larger, smaller) = (descriptor.level_size(level - 1), descriptor.level_size(level));
            let taken = std::array::from_fn(|axis| larger[axis].min(2 * smaller[axis]));
            let all = vk::ImageSubresourceLayers {
                layer_count: descriptor.slice_count(),
                ..texture.layer(level, 0)
            };
            let region = [vk::ImageBlit {
                src_subresource: vk::ImageSubresourceLayers { mip_level: level - 1, ..all },
                src_offsets: [offset([0; 3]), offset(taken)],
                dst_subresource: all,
                dst_offsets: [offset([0; 3]), offset(smaller)],
            }];
            let (image, filter) = (texture.raw, vk::Filter::LINEAR);
            // SAFETY: it is being recorded, on a queue with graphics; the regions are inside the levels.
            unsafe {
                self.device().cmd_blit_image(self.raw, image, GENERAL, image, GENERAL, &region, filter)
            };
        }
    }
}

/// The regions of a copy between a buffer and texels: one, unless rows or pictures lie between texels.
fn regions(
    texture: &Texture,
    span: &TextureSpan,
    start: u64,
    layout: &RowLayout,
) -> Vec<vk::BufferImageCopy> {
    let texel = u64::from(texture.descriptor.format.bytes_per_texel());
    let [width, height, depth] = span.size;
    let by_rows = !layout.bytes_per_row.is_multiple_of(texel);
    let by_pictures = by_rows || !layout.bytes_per_image.is_multiple_of(layout.bytes_per_row.max(1));
    let rows = if by_rows { height } else { 1 };
    let pictures = if by_pictures { depth } else { 1 };
    let whole = vk::BufferImageCopy::default().image_subresource(texture.layer(span.level, span.slice));
    let mut regions = Vec::with_capacity((rows * pictures) as usize);
    for z in 0..pictures {
        for y in 0..rows {
            let [ox, oy, oz] = span.origin;
            let size = [width, if by_rows { 1 } else { height }, if by_pictures { 1 } else { depth }];
            let region = whole
                .buffer_offset(
                    start + u64::from(z) * layout.bytes_per_image + u64::from(y) * layout.bytes_per_row,
                )
                .image_offset(offset([ox, oy + y, oz + z]))
                .image_extent(extent(size));
            regions.push(if by_rows {
                region
            } else {
                let rows_of_picture = layout.bytes_per_image / layout.bytes_per_row.max(1);
                let pitch = if by_pictures { 0 } else { rows_of_picture as u32 };
                // A picture that is alone may say less than its height.
                let pitch = if depth == 1 { 0 } else { pitch };
                region.buffer_row_length((layout.bytes_per_row / texel) as u32).buffer_image_height(pitch)
            });
        }
    }
    regions
}
