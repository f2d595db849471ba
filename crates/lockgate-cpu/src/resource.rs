//! Buffers, textures and samplers as the device keeps them.

use crate::kernel::texel::TexelFormat;
use crate::kernel::{
    AddressMode, CompareFunction, Filter, LevelLayout, SamplerBinding, TextureBinding, TextureDimension,
};
use crate::memory::{Memory, Span};
use crate::written::Written;
use lockgate_runtime::backend::{Native, TextureSpan, TextureViewSpan};
use lockgate_runtime::{
    ByteSet, Error, ErrorKind, PixelFormat, Result, SamplerDescriptor, TextureDescriptor, TextureType,
};
use std::ops::Range;
use std::sync::Arc;

/// A range of a memory.
pub(crate) struct Buffer {
    memory: Arc<Memory>,
    offset: u64,
    size: u64,
    written: Option<Arc<Written>>,
}

/// A texture: slices one after the other, each with all its levels, rows packed.
pub(crate) struct Texture {
    memory: Arc<Memory>,
    offset: u64,
    pub(crate) descriptor: TextureDescriptor,
    levels: Vec<Level>,
    slice_size: u64,
    written: Option<Arc<Written>>,
}

/// Where a resource lies, on a device that observes.
pub(crate) struct Home<'a> {
    pub(crate) memory: &'a Memory,
    pub(crate) number: u64,
    pub(crate) written: &'a Written,
}

impl<'a> Home<'a> {
    fn of(memory: &'a Memory, written: &'a Option<Arc<Written>>) -> Option<Home<'a>> {
        Some(Home { memory, number: memory.tenants()?.number, written: written.as_ref()? })
    }

    /// The whole resource, in bytes of the memory.
    pub(crate) fn range(&self) -> Range<u64> {
        self.written.range.clone()
    }

    /// Bytes of the memory were written.
    pub(crate) fn write(&self, bytes: &ByteSet) {
        self.memory.tenants().into_iter().for_each(|tenants| tenants.write(bytes));
    }
}

/// Where a level lies in a slice.
#[derive(Clone, Copy, Debug)]
struct Level {
    offset: u64,
    row: u64,
    plane: u64,
    size: [u32; 3],
}

/// The runtime hands objects back that this device made; anything else is a bug above.
pub(crate) fn native<T: 'static>(object: &Native) -> Result<&T> {
    object.downcast_ref::<T>().ok_or_else(|| Error::new(ErrorKind::Invalid, "an object of another device"))
}

pub(crate) fn memory_of(object: &Native) -> Result<Arc<Memory>> {
    let foreign = || Error::new(ErrorKind::Invalid, "a memory of another device");
    object.clone().downcast::<Memory>().map_err(|_| foreign())
}

impl Buffer {
    pub(crate) fn new(memory: Arc<Memory>, offset: u64, size: u64) -> Buffer {
        let written = memory.tenants().map(|tenants| tenants.move_in(offset..offset.saturating_add(size)));
        Buffer { memory, offset, size, written }
    }

    pub(crate) fn home(&self) -> Option<Home<'_>> {
        Home::of(&self.memory, &self.written)
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// All its bytes.
    pub(crate) fn whole(&self) -> Span {
        self.span(0, self.size)
    }

    /// Bytes of it; empty if they are not inside.
    pub(crate) fn span(&self, offset: u64, size: u64) -> Span {
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.size);
        let size = if inside { size } else { 0 };
        let start = self.offset + if inside { offset } else { 0 };
        self.memory.span(start, size).unwrap_or(Span { start: std::ptr::dangling_mut(), size: 0 })
    }
}

/// Levels of one slice, and its size.
fn layout(texture: &TextureDescriptor) -> (Vec<Level>, u64) {
    let texel = u64::from(texture.format.bytes_per_texel());
    let mut offset = 0;
    let level = |level| {
        let size = texture.level_size(level);
        let row = texel * u64::from(size[0]);
        let plane = row * u64::from(size[1]);
        let at = offset;
        // Each level begins aligned for vectors.
        offset += (plane * u64::from(size[2])).next_multiple_of(16);
        Level { offset: at, row, plane, size }
    };
    let levels = (0..texture.mip_level_count).map(level).collect();
    (levels, offset)
}

pub(crate) fn texture_size(texture: &TextureDescriptor) -> u64 {
    layout(texture).1 * u64::from(texture.slice_count())
}

impl Texture {
    pub(crate) fn new(descriptor: &TextureDescriptor, memory: Arc<Memory>, offset: u64) -> Texture {
        let (levels, slice_size) = layout(descriptor);
        let end = offset + slice_size * u64::from(descriptor.slice_count());
        let written = memory.tenants().map(|tenants| tenants.move_in(offset..end));
        Texture { memory, offset, descriptor: descriptor.clone(), levels, slice_size, written }
    }

    pub(crate) fn home(&self) -> Option<Home<'_>> {
        Home::of(&self.memory, &self.written)
    }

    pub(crate) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    pub(crate) fn format(&self) -> PixelFormat {
        self.descriptor.format
    }

    /// All bytes of a level of a slice: packed rows.
    pub(crate) fn level(&self, level: u32, slice: u32) -> Span {
        let Some(place) = self.levels.get(level as usize) else {
            return Span { start: std::ptr::dangling_mut(), size: 0 };
        };
        let offset = self.offset + self.slice_size * u64::from(slice) + place.offset;
        let size = place.plane * u64::from(place.size[2]);
        self.memory.span(offset, size).unwrap_or(Span { start: std::ptr::dangling_mut(), size: 0 })
    }

    /// One row of a box of texels: `y` and `z` count from its origin.
    pub(crate) fn row(&self, span: &TextureSpan, y: u32, z: u32) -> Span {
        let Some(place) = self.levels.get(span.level as usize) else {
            return Span { start: std::ptr::dangling_mut(), size: 0 };
        };
        let texel = u64::from(self.format().bytes_per_texel());
        let [x, row, plane] = [span.origin[0], span.origin[1] + y, span.origin[2] + z].map(u64::from);
        let offset = plane * place.plane + row * place.row + x * texel;
        let size = texel * u64::from(span.size[0]);
        self.level(span.level, span.slice).part(offset as usize, size as usize)
    }

    /// What a kernel sees through a view, in the shape that it declares.
    pub(crate) fn binding(&self, view: &TextureViewSpan, dimension: TextureDimension) -> TextureBinding {
        let is_3d = self.descriptor.texture_type == TextureType::D3;
        let levels = (view.levels.0..view.levels.1).filter_map(|level| {
            let place = self.levels.get(level as usize)?;
            let [width, height, depth] = place.size;
            let slices = view.slices.1 - view.slices.0;
            Some(LevelLayout {
                ptr: self.level(level, view.slices.0).start,
                width,
                height,
                depth_or_layers: if is_3d { depth } else { slices },
                row_pitch: place.row,
                slice_pitch: if is_3d { place.plane } else { self.slice_size },
            })
        });
        TextureBinding { format: texel_format(view.format), dimension, levels: levels.collect() }
    }
}

/// The runtime's format in the words of the kernels.
pub(crate) fn texel_format(format: PixelFormat) -> TexelFormat {
    use PixelFormat as P;
    use TexelFormat as T;
    macro_rules! same {
        ($($name:ident)*) => {
            match format {
                $(P::$name => T::$name,)*
                P::Rg11b10Float => T::Rg11b10Ufloat,
                // The runtime knows no other format.
                _ => T::R8Uint,
            }
        };
    }
    same! {
        R8Unorm R8Snorm R8Uint R8Sint Rg8Unorm Rg8Snorm Rg8Uint Rg8Sint Rgba8Unorm Rgba8UnormSrgb Rgba8Snorm
        Rgba8Uint Rgba8Sint Bgra8Unorm Bgra8UnormSrgb R16Unorm R16Float R16Uint R16Sint Rg16Unorm Rg16Float
        Rg16Uint Rg16Sint Rgba16Unorm Rgba16Float Rgba16Uint Rgba16Sint R32Float R32Uint R32Sint Rg32Float
        Rg32Uint Rg32Sint Rgba32Float Rgba32Uint Rgba32Sint Rgb10a2Unorm Depth16Unorm Depth32Float
    }
}

pub(crate) fn sampler(descriptor: &SamplerDescriptor) -> SamplerBinding {
    use lockgate_runtime as r;
    let filter = |mode| match mode {
        r::FilterMode::Nearest => Filter::Nearest,
        r::FilterMode::Linear => Filter::Linear,
    };
    let address = |mode| match mode {
        r::AddressMode::ClampToEdge => AddressMode::ClampToEdge,
        r::AddressMode::Repeat => AddressMode::Repeat,
        r::AddressMode::MirrorRepeat => AddressMode::MirrorRepeat,
    };
    let compare = descriptor.compare.map(|compare| match compare {
        r::CompareFunction::Never => CompareFunction::Never,
        r::CompareFunction::Less => CompareFunction::Less,
        r::CompareFunction::Equal => CompareFunction::Equal,
        r::CompareFunction::LessEqual => CompareFunction::LessEqual,
        r::CompareFunction::Greater => CompareFunction::Greater,
        r::CompareFunction::NotEqual => CompareFunction::NotEqual,
        r::CompareFunction::GreaterEqual => CompareFunction::GreaterEqual,
        r::CompareFunction::Always => CompareFunction::Always,
    });
    SamplerBinding {
        mag_filter: filter(descriptor.mag_filter),
        min_filter: filter(descriptor.min_filter),
        mip_filter: filter(descriptor.mip_filter),
        address: descriptor.address_modes.map(address),
        lod: [descriptor.lod_clamp.0, descriptor.lod_clamp.1],
        compare,
        border: [0.0; 4],
    }
}
