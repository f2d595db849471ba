//! Blit passes of Metal 3: the copies and fills of a compute pass, in encode order.

use crate::buffer::Buffer;
use crate::compute_encoder::{BufferLayout, ComputeCommandEncoder, TextureOrigin};
use crate::{Fence, Texture};
use lockgate_sync::Stages;
use std::ops::Range;

/// Records one blit pass of Metal 3: copies and fills, ordered as encoded.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let buffer = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() })?;
/// let allocator = device.new_command_allocator("");
/// let mut commands = device.new_command_buffer("");
/// commands.begin(&allocator);
/// let mut encoder = commands.blit_command_encoder("clear, then copy");
/// encoder.fill_buffer(&buffer, 0..32, 7);
/// encoder.copy_buffer(&buffer, 0, &buffer, 32, 32);
/// encoder.end_encoding();
/// commands.end()?;
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "MTLBlitCommandEncoder")]
#[derive(Debug)]
pub struct BlitCommandEncoder<'a>(pub(crate) ComputeCommandEncoder<'a>);

impl BlitCommandEncoder<'_> {
    /// Ends the pass.
    #[doc(alias = "endEncoding")]
    pub fn end_encoding(self) {}

    /// See [`ComputeCommandEncoder::copy_buffer`].
    #[track_caller]
    pub fn copy_buffer(&mut self, from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, size: u64) {
        self.0.copy_buffer(from, from_offset, to, to_offset, size);
    }

    /// See [`ComputeCommandEncoder::fill_buffer`].
    #[track_caller]
    pub fn fill_buffer(&mut self, buffer: &Buffer, range: Range<u64>, value: u8) {
        self.0.fill_buffer(buffer, range, value);
    }

    /// See [`ComputeCommandEncoder::copy_buffer_to_texture`].
    #[track_caller]
    pub fn copy_buffer_to_texture(
        &mut self,
        from: &Buffer,
        layout: BufferLayout,
        to: &Texture,
        at: TextureOrigin,
        size: [u32; 3],
    ) {
        self.0.copy_buffer_to_texture(from, layout, to, at, size);
    }

    /// See [`ComputeCommandEncoder::copy_texture_to_buffer`].
    #[track_caller]
    pub fn copy_texture_to_buffer(
        &mut self,
        from: &Texture,
        at: TextureOrigin,
        size: [u32; 3],
        to: &Buffer,
        layout: BufferLayout,
    ) {
        self.0.copy_texture_to_buffer(from, at, size, to, layout);
    }

    /// See [`ComputeCommandEncoder::copy_texture`].
    #[track_caller]
    pub fn copy_texture(
        &mut self,
        from: &Texture,
        from_at: TextureOrigin,
        to: &Texture,
        to_at: TextureOrigin,
        size: [u32; 3],
    ) {
        self.0.copy_texture(from, from_at, to, to_at, size);
    }

    /// See [`ComputeCommandEncoder::generate_mipmaps`].
    #[track_caller]
    pub fn generate_mipmaps(&mut self, texture: &Texture) {
        self.0.generate_mipmaps(texture);
    }

    /// See [`ComputeCommandEncoder::update_fence`]: the whole pass so far.
    #[doc(alias = "updateFence")]
    #[track_caller]
    pub fn update_fence(&mut self, fence: &Fence) {
        self.0.update_fence(fence, Stages::ALL);
    }

    /// See [`ComputeCommandEncoder::wait_for_fence`]: the whole rest of the pass.
    #[doc(alias = "waitForFence")]
    #[track_caller]
    pub fn wait_for_fence(&mut self, fence: &Fence) {
        self.0.wait_for_fence(fence, Stages::ALL);
    }
}
