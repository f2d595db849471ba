//! Textures and their views.

use crate::backend::{MemoryUse, Native, SizeAndAlign, StorageMode, TextureSpan, TextureViewSpan};
use crate::buffer::{Place, check_size};
use crate::device::{Device, ResourceKey};
use crate::shared::Shared;
use crate::{Error, PixelFormat, Result};
use lockgate_sync::{
    Access, AccessKind, HazardTrackingMode, MemoryId, Region, ResourceDescriptor, ResourceKind, Texels,
};
use std::sync::Arc;

/// The shape of a texture.
///
/// ```
/// assert_eq!(lockgate_runtime::TextureType::default(), lockgate_runtime::TextureType::D2);
/// ```
#[doc(alias = "MTLTextureType")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TextureType {
    /// One dimension.
    D1,
    /// Two dimensions.
    #[default]
    D2,
    /// Several pictures of one size.
    D2Array,
    /// Six sides of a cube: +x, -x, +y, -y, +z, -z.
    Cube,
    /// Several cubes of one size, the sides of each behind those of the one before.
    #[doc(alias = "MTLTextureTypeCubeArray")]
    CubeArray,
    /// Three dimensions.
    D3,
}

impl TextureType {
    /// What messages and program files call it.
    ///
    /// ```
    /// assert_eq!(lockgate_runtime::TextureType::CubeArray.name(), "cube-array");
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            TextureType::D1 => "1d",
            TextureType::D2 => "2d",
            TextureType::D2Array => "2d-array",
            TextureType::Cube => "cube",
            TextureType::CubeArray => "cube-array",
            TextureType::D3 => "3d",
        }
    }

    /// Whether its slices are sides of cubes.
    ///
    /// ```
    /// use lockgate_runtime::TextureType;
    /// assert!(TextureType::Cube.is_cube() && !TextureType::D3.is_cube());
    /// ```
    pub fn is_cube(self) -> bool {
        matches!(self, TextureType::Cube | TextureType::CubeArray)
    }

    /// Whether it may be longer than one.
    ///
    /// ```
    /// use lockgate_runtime::TextureType;
    /// assert!(TextureType::CubeArray.is_array() && !TextureType::Cube.is_array());
    /// ```
    pub fn is_array(self) -> bool {
        matches!(self, TextureType::D2Array | TextureType::CubeArray)
    }

    /// Whether a kernel that declares `declared` can be given so many slices of a texture of this type. It sees pictures
    /// behind one another as it declares them, one, several or as sides of cubes; only what was made of cubes has sides.
    ///
    /// ```
    /// use lockgate_runtime::TextureType::{Cube, CubeArray, D2, D2Array};
    /// assert!(CubeArray.can_be_seen_as(Cube, 6) && CubeArray.can_be_seen_as(D2, 1) && Cube.can_be_seen_as(D2Array, 4));
    /// assert!(!CubeArray.can_be_seen_as(CubeArray, 9) && !D2Array.can_be_seen_as(Cube, 6));
    /// ```
    pub fn can_be_seen_as(self, declared: TextureType, slices: u32) -> bool {
        let is_flat = !matches!(self, TextureType::D1 | TextureType::D3);
        match declared {
            TextureType::D1 | TextureType::D3 => self == declared,
            TextureType::D2 => is_flat && slices == 1,
            TextureType::D2Array => is_flat,
            TextureType::Cube => self.is_cube() && slices == 6,
            TextureType::CubeArray => self.is_cube() && slices > 0 && slices.is_multiple_of(6),
        }
    }
}

/// How a texture is made.
///
/// ```
/// use lockgate_runtime::{PixelFormat, TextureDescriptor};
/// let texture = TextureDescriptor { width: 640, height: 480, ..Default::default() };
/// assert_eq!(texture.format, PixelFormat::Rgba8Unorm);
/// assert_eq!(texture.full_mip_level_count(), 10);
/// ```
#[doc(alias = "MTLTextureDescriptor")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextureDescriptor {
    /// Its shape. Default: 2D.
    pub texture_type: TextureType,
    /// How texels are stored. Default: `Rgba8Unorm`.
    pub format: PixelFormat,
    /// Texels in x, at least 1.
    pub width: u32,
    /// Texels in y, at least 1. Default: 1.
    pub height: u32,
    /// Texels in z, at least 1; more than 1 for 3D only. Default: 1.
    pub depth: u32,
    /// Pictures of an array, or its cubes, at least 1. Default: 1. Each cube has six slices, and there are at most
    /// `DeviceInfo::max_texture_size` slices (`MTLTextureDescriptor.arrayLength`).
    pub array_length: u32,
    /// Mip levels, at least 1. Default: 1.
    pub mip_level_count: u32,
    /// Whether the host can reach it. Default: shared.
    pub storage: StorageMode,
    /// Who orders its accesses. Default: tracked for a texture of the device, untracked on a heap.
    pub hazard_tracking_mode: HazardTrackingMode,
    /// What messages and timelines call it.
    pub label: String,
}

impl Default for TextureDescriptor {
    fn default() -> TextureDescriptor {
        TextureDescriptor {
            texture_type: TextureType::D2,
            format: PixelFormat::Rgba8Unorm,
            width: 1,
            height: 1,
            depth: 1,
            array_length: 1,
            mip_level_count: 1,
            storage: StorageMode::Shared,
            hazard_tracking_mode: HazardTrackingMode::Default,
            label: String::new(),
        }
    }
}

impl TextureDescriptor {
    /// A 2D texture of `Rgba8Unorm` with one mip level.
    #[doc(alias = "texture2DDescriptorWithPixelFormat")]
    pub fn d2(width: u32, height: u32) -> TextureDescriptor {
        TextureDescriptor { width, height, ..TextureDescriptor::default() }
    }

    /// Texels of a mip level: width, height, depth.
    pub fn level_size(&self, level: u32) -> [u32; 3] {
        [self.width, self.height, self.depth].map(|side| (side.checked_shr(level).unwrap_or(0)).max(1))
    }

    /// How many pictures of each level lie behind one another.
    pub fn slice_count(&self) -> u32 {
        match self.texture_type {
            TextureType::D2Array => self.array_length,
            TextureType::Cube => 6,
            TextureType::CubeArray => self.array_length.saturating_mul(6),
            _ => 1,
        }
    }

    /// How many levels there are down to one texel.
    pub fn full_mip_level_count(&self) -> u32 {
        32 - self.width.max(self.height).max(self.depth).max(1).leading_zeros()
    }

    fn check(&self, limit: u32) -> Result<()> {
        let fail = |what: String| Err(Error::invalid(format!("texture `{}`: {what}", self.label)));
        let sides = [self.width, self.height, self.depth, self.array_length];
        if sides.iter().any(|side| *side == 0 || *side > limit) {
            return fail(format!("a side of {sides:?} is not in 1..={limit} (max_texture_size)"));
        }
        if self.slice_count() > limit {
            let slices = self.slice_count();
            return fail(format!(
                "{slices} slices of {} cubes exceed {limit} (max_texture_size)",
                self.array_length
            ));
        }
        if self.mip_level_count == 0 || self.mip_level_count > self.full_mip_level_count() {
            let (has, most) = (self.mip_level_count, self.full_mip_level_count());
            return fail(format!("{has} mip levels are not in 1..={most}"));
        }
        if self.depth > 1 && self.texture_type != TextureType::D3 {
            return fail("only a 3D texture has depth".into());
        }
        if self.height > 1 && self.texture_type == TextureType::D1 {
            return fail("a 1D texture has no height".into());
        }
        if self.array_length > 1 && !self.texture_type.is_array() {
            return fail("only an array has several pictures".into());
        }
        if self.texture_type.is_cube() && self.width != self.height {
            return fail("the sides of a cube are squares".into());
        }
        Ok(())
    }
}

/// Texels in one, two or three dimensions with mip levels and slices. Cheap to clone; a view is one too and
/// keeps its texture alive.
///
/// ```
/// use lockgate_runtime::{Device, TextureDescriptor};
/// let device = Device::null();
/// let texture = device.new_texture(&TextureDescriptor { width: 2, height: 1, ..Default::default() })?;
/// texture.replace_region(0, 0, &[255, 0, 0, 255, 0, 0, 255, 255])?;
/// assert_eq!(texture.get_bytes(0, 0)?.len(), 8);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLTexture")]
#[derive(Clone, Debug)]
pub struct Texture {
    pub(crate) inner: Arc<TextureInner>,
    pub(crate) view: TextureViewSpan,
}

pub(crate) struct TextureInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: ResourceKey,
    pub(crate) native: Native,
    pub(crate) memory: MemoryId,
    pub(crate) descriptor: TextureDescriptor,
    pub(crate) tracked: bool,
    pub(crate) place: Place,
}

impl std::fmt::Debug for TextureInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Texture").field(&self.descriptor).finish()
    }
}

impl TextureInner {
    pub(crate) fn shared_ptr(&self) -> *const () {
        Arc::as_ptr(&self.shared).cast()
    }
}

impl Drop for TextureInner {
    fn drop(&mut self) {
        self.shared.drop_resource(self.key);
        self.place.release(&self.shared);
    }
}

impl Device {
    /// A texture with memory of its own, filled with zeros.
    ///
    /// # Errors
    /// Sides or levels out of range; no memory left.
    #[doc(alias = "newTextureWithDescriptor")]
    pub fn new_texture(&self, descriptor: &TextureDescriptor) -> Result<Texture> {
        let need = self.texture_size_and_align(descriptor)?;
        let memory = self.0.backend.allocate(need.size, descriptor.storage, MemoryUse::Texture(descriptor));
        let memory = memory.map_err(|why| why.context(format!("texture `{}`", descriptor.label)))?;
        let tracked = descriptor.hazard_tracking_mode != HazardTrackingMode::Untracked;
        let id = self.0.new_memory();
        Texture::new(&self.0, descriptor, (&memory, id, 0, need.size), (tracked, false), Place::Own(id))
    }

    /// What a texture needs in a heap.
    ///
    /// # Errors
    /// Sides or levels out of range; a size that no memory has.
    #[doc(alias = "heapTextureSizeAndAlign")]
    pub fn texture_size_and_align(&self, descriptor: &TextureDescriptor) -> Result<SizeAndAlign> {
        descriptor.check(self.info().max_texture_size)?;
        let need = self.0.backend.texture_size_and_align(descriptor);
        check_size(&self.0, need.size, &format!("texture `{}`", descriptor.label))?;
        Ok(need)
    }

    /// What a buffer needs in a heap.
    #[doc(alias = "heapBufferSizeAndAlign")]
    pub fn buffer_size_and_align(&self, size: u64) -> SizeAndAlign {
        SizeAndAlign { size, align: 256 }
    }
}

impl Texture {
    /// `at`: native memory, its id, offset and size. `tracking`: whether tracked, and as a member of a unit.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        descriptor: &TextureDescriptor,
        at: (&Native, MemoryId, u64, u64),
        tracking: (bool, bool),
        place: Place,
    ) -> Result<Texture> {
        let (native_memory, memory, offset, size) = at;
        let native = shared.backend.create_texture(descriptor, native_memory, offset)?;
        let (levels, slices) = (descriptor.mip_level_count, descriptor.slice_count());
        let kind = ResourceKind::Texture { levels: levels as u16, slices: slices as u16 };
        let (tracked, unit) = tracking;
        let resource = ResourceDescriptor { kind, memory, offset, size, tracked, unit };
        let key = shared.new_resource(resource, native.clone(), &descriptor.label);
        let view = TextureViewSpan { format: descriptor.format, levels: (0, levels), slices: (0, slices) };
        let descriptor = descriptor.clone();
        let inner = TextureInner { shared: shared.clone(), key, native, memory, descriptor, tracked, place };
        Ok(Texture { inner: Arc::new(inner), view })
    }

    /// How the texture was made; for a view, the texture behind it.
    pub fn descriptor(&self) -> &TextureDescriptor {
        &self.inner.descriptor
    }

    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.inner.descriptor.label
    }

    /// How texels are read through this view.
    pub fn pixel_format(&self) -> PixelFormat {
        self.view.format
    }

    /// Texels of a mip level of the view: width, height, depth.
    pub fn level_size(&self, level: u32) -> [u32; 3] {
        self.inner.descriptor.level_size(self.view.levels.0.saturating_add(level))
    }

    /// Texels of level 0 in x.
    pub fn width(&self) -> u32 {
        self.level_size(0)[0]
    }

    /// Texels of level 0 in y.
    pub fn height(&self) -> u32 {
        self.level_size(0)[1]
    }

    /// Mip levels of the view.
    pub fn mip_level_count(&self) -> u32 {
        self.view.levels.1 - self.view.levels.0
    }

    /// Whether conflicting accesses are ordered automatically; never `Default`.
    pub fn hazard_tracking_mode(&self) -> HazardTrackingMode {
        if self.inner.tracked { HazardTrackingMode::Tracked } else { HazardTrackingMode::Untracked }
    }

    /// Its key in the tables of the device, as reports name it. Views share it.
    pub fn key(&self) -> ResourceKey {
        self.inner.key
    }

    /// Some levels and slices of it, read in a format of the same size.
    ///
    /// # Errors
    /// Levels or slices that it does not have; a format of another size.
    #[doc(alias = "newTextureViewWithPixelFormat")]
    pub fn new_view(&self, format: PixelFormat, levels: (u32, u32), slices: (u32, u32)) -> Result<Texture> {
        let label = self.label();
        if format.bytes_per_texel() != self.view.format.bytes_per_texel() {
            let from = self.view.format.name();
            return Err(Error::invalid(format!("`{label}` of {from} cannot be viewed as {}", format.name())));
        }
        let inside = |part: (u32, u32), of: (u32, u32)| part.0 < part.1 && part.1 <= of.1 - of.0;
        if !inside(levels, self.view.levels) || !inside(slices, self.view.slices) {
            let message =
                format!("a view of `{label}` names levels {levels:?} and slices {slices:?} beyond it");
            return Err(Error::invalid(message));
        }
        let shift = |part: (u32, u32), of: (u32, u32)| (part.0 + of.0, part.1 + of.0);
        let (levels, slices) = (shift(levels, self.view.levels), shift(slices, self.view.slices));
        Ok(Texture { inner: self.inner.clone(), view: TextureViewSpan { format, levels, slices } })
    }

    /// Writes a whole level of a slice from packed rows, once the device touches its memory no more.
    ///
    /// # Errors
    /// A private texture; a level or slice it does not have; bytes that do not fill it exactly.
    #[doc(alias = "replaceRegion")]
    pub fn replace_region(&self, level: u32, slice: u32, bytes: &[u8]) -> Result<()> {
        let span = self.host_span(level, slice, bytes.len())?;
        let shared = &self.inner.shared;
        let access = self.access(&span, AccessKind::WRITE);
        shared.with_idle_memory(self.inner.memory, true, access, || {
            shared.backend.write_texture(&self.inner.native, &span, bytes)
        })
    }

    /// Reads a whole level of a slice as packed rows, once the device touches its memory no more.
    ///
    /// # Errors
    /// A private texture; a level or slice it does not have.
    #[doc(alias = "getBytes")]
    pub fn get_bytes(&self, level: u32, slice: u32) -> Result<Vec<u8>> {
        let size = self.packed_size(level);
        let span = self.host_span(level, slice, size)?;
        let mut bytes = vec![0; size];
        let shared = &self.inner.shared;
        let access = self.access(&span, AccessKind::READ);
        shared.with_idle_memory(self.inner.memory, true, access, || {
            shared.backend.read_texture(&self.inner.native, &span, &mut bytes)
        })?;
        Ok(bytes)
    }

    /// Bytes of the packed rows of a level.
    pub fn packed_size(&self, level: u32) -> usize {
        let texels: u64 = self.level_size(level).iter().map(|side| u64::from(*side)).product();
        (texels * u64::from(self.view.format.bytes_per_texel())) as usize
    }

    /// What an access of these texels is to the model.
    pub(crate) fn access(&self, span: &TextureSpan, kind: AccessKind) -> Access {
        let subresource = Texels::subresource(span.level as u16, span.slice as u16);
        let end = |i: usize| span.origin[i].saturating_add(span.size[i]);
        let max = [end(0), end(1), end(2)];
        let whole = span.origin == [0; 3] && span.size == self.inner.descriptor.level_size(span.level);
        let texels = if whole { subresource } else { Texels { min: span.origin, max, ..subresource } };
        Access { resource: self.inner.key.id, region: Region::Texels(texels), kind }
    }

    fn host_span(&self, level: u32, slice: u32, size: usize) -> Result<TextureSpan> {
        let label = self.label();
        if self.inner.descriptor.storage == StorageMode::Private {
            let message = format!("texture `{label}` is private: copy it to a shared buffer to reach it");
            return Err(Error::invalid(message));
        }
        if level >= self.mip_level_count() || slice >= self.view.slices.1 - self.view.slices.0 {
            return Err(Error::invalid(format!("texture `{label}` has no level {level} of slice {slice}")));
        }
        let need = self.packed_size(level);
        if size != need {
            let message = format!("level {level} of texture `{label}` takes {need} bytes, not {size}");
            return Err(Error::invalid(message));
        }
        Ok(TextureSpan {
            resource: 0,
            level: level + self.view.levels.0,
            slice: slice + self.view.slices.0,
            origin: [0; 3],
            size: self.level_size(level),
        })
    }
}
