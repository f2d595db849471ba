//! Copies, fills and mipmaps: the commands of the blit stage.

use crate::kernel::texel::TexelFormat;
use crate::memory::Span;
use crate::resource::{Buffer, Texture, native, texel_format};
use lockgate_runtime::backend::{BufferSpan, Command, RowLayout, SubmittedBuffer, TextureSpan};
use lockgate_runtime::{PixelFormat, Result, TextureType};

/// Runs a command of the blit stage on the calling thread.
pub(crate) fn run(command: &Command, of: &SubmittedBuffer) -> Result<()> {
    if let Command::GenerateMipmaps { resource } = command {
        mipmaps(native(&of.resources[*resource as usize])?);
    }
    moves(command, of, |from, (_, to)| match from {
        Source::Span(_, from) => from.copy_to(to),
        Source::Byte(value) => to.fill(value),
    })
}

/// What a command of the blit stage moves where: spans of resources, equally long, or a byte into a span. Nothing for
/// mipmaps, which compute.
pub(crate) fn moves(
    command: &Command,
    of: &SubmittedBuffer,
    mut act: impl FnMut(Source, (u32, Span)),
) -> Result<()> {
    let bytes = |span: &BufferSpan| -> Result<Span> {
        let buffer: &Buffer = native(&of.resources[span.resource as usize])?;
        Ok(buffer.span(span.offset, span.size))
    };
    let texture = |resource: u32| native::<Texture>(&of.resources[resource as usize]);
    match command {
        Command::CopyBuffer { from, to } => {
            act(Source::Span(from.resource, bytes(from)?), (to.resource, bytes(to)?));
        }
        Command::FillBuffer { to, value } => act(Source::Byte(*value), (to.resource, bytes(to)?)),
        Command::CopyBufferToTexture { from, layout, to } => {
            let source = bytes(from)?;
            each_row(texture(to.resource)?, to, layout, &source, |row, texels| {
                act(Source::Span(from.resource, row), (to.resource, texels));
            });
        }
        Command::CopyTextureToBuffer { from, to, layout } => {
            let target = bytes(to)?;
            each_row(texture(from.resource)?, from, layout, &target, |row, texels| {
                act(Source::Span(from.resource, texels), (to.resource, row));
            });
        }
        Command::CopyTexture { from, to } => {
            let (source, target) = (texture(from.resource)?, texture(to.resource)?);
            for z in 0..from.size[2] {
                for y in 0..from.size[1] {
                    let row = Source::Span(from.resource, source.row(from, y, z));
                    act(row, (to.resource, target.row(to, y, z)));
                }
            }
        }
        Command::GenerateMipmaps { .. } | Command::Dispatch { .. } | Command::Nothing => {}
    }
    Ok(())
}

/// What is moved: bytes of a resource, or one byte again and again.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Span(u32, Span),
    Byte(u8),
}

/// Each row of a box of texels with the bytes of a buffer that belong to it.
fn each_row(
    texture: &Texture,
    span: &TextureSpan,
    layout: &RowLayout,
    buffer: &Span,
    mut act: impl FnMut(Span, Span),
) {
    let size = span.size[0] as usize * texture.format().bytes_per_texel() as usize;
    for z in 0..span.size[2] {
        for y in 0..span.size[1] {
            let offset = u64::from(z) * layout.bytes_per_image + u64::from(y) * layout.bytes_per_row;
            act(buffer.part(offset as usize, size), texture.row(span, y, z));
        }
    }
}

/// Each level is the mean of two by two (by two) texels of the one before; where a side is odd, the last texels
/// of the larger level are left out, as `floor` sizes demand.
pub(crate) fn mipmaps(texture: &Texture) {
    let descriptor = &texture.descriptor;
    for slice in 0..descriptor.slice_count() {
        for level in 1..descriptor.mip_level_count {
            let (from, to) = (texture.level(level - 1, slice), texture.level(level, slice));
            let sizes = (descriptor.level_size(level - 1), descriptor.level_size(level));
            let flat = descriptor.texture_type != TextureType::D3;
            let four_bytes = matches!(texture.format(), PixelFormat::Rgba8Unorm | PixelFormat::Bgra8Unorm);
            if flat && four_bytes {
                halve_bytes(&from, &to, sizes);
            } else {
                halve(&from, &to, sizes, texel_format(texture.format()));
            }
        }
    }
}

/// The larger texels that make up one smaller one along one axis.
fn pair(at: u32, larger: u32) -> [usize; 2] {
    [2 * at, 2 * at + 1].map(|at| at.min(larger - 1) as usize)
}

fn halve_bytes(from: &Span, to: &Span, sizes: ([u32; 3], [u32; 3])) {
    let ([width, height, _], [new_width, new_height, _]) = sizes;
    let row = width as usize * 4;
    let mut above = vec![0u8; row];
    let mut below = vec![0u8; row];
    let mut halved = vec![0u8; new_width as usize * 4];
    for y in 0..new_height {
        let [first, second] = pair(y, height);
        from.part(first * row, row).read_into(&mut above);
        from.part(second * row, row).read_into(&mut below);
        for (x, texel) in halved.chunks_exact_mut(4).enumerate() {
            let [left, right] = pair(x as u32, width).map(|x| x * 4);
            for (channel, byte) in texel.iter_mut().enumerate() {
                let four = [
                    above[left + channel],
                    above[right + channel],
                    below[left + channel],
                    below[right + channel],
                ];
                let sum: u32 = four.into_iter().map(u32::from).sum();
                *byte = ((sum + 2) / 4) as u8;
            }
        }
        to.part(y as usize * halved.len(), halved.len()).write_from(&halved);
    }
}

fn halve(from: &Span, to: &Span, sizes: ([u32; 3], [u32; 3]), format: TexelFormat) {
    let ([width, height, depth], [new_width, new_height, new_depth]) = sizes;
    let texel = format.bytes() as usize;
    let fetch = |x: usize, y: usize, z: usize| {
        let at = (z * height as usize + y) * width as usize + x;
        let mut bytes = [0u8; 16];
        from.part(at * texel, texel).read_into(&mut bytes[..texel]);
        format.decode(&bytes[..texel]).map(f32::from_bits)
    };
    for z in 0..new_depth {
        for y in 0..new_height {
            for x in 0..new_width {
                let mut sum = [0.0f32; 4];
                for z in pair(z, depth) {
                    for y in pair(y, height) {
                        for x in pair(x, width) {
                            let value = fetch(x, y, z);
                            (0..4).for_each(|i| sum[i] += value[i] / 8.0);
                        }
                    }
                }
                let at = ((z * new_height + y) * new_width + x) as usize;
                let bytes = format.encode(sum.map(f32::to_bits));
                to.part(at * texel, texel).write_from(&bytes[..texel]);
            }
        }
    }
}
