//! What a launch hands to a kernel: grid, memory, textures, samplers, and what comes back.
//!
//! Everything here is plain data. Nothing is checked against a kernel before [`Kernel::run`](super::Kernel::run).

use std::sync::atomic::AtomicBool;

use super::texel::TexelFormat;

/// One launch of a kernel; the same value serves all threads that run parts of it.
pub struct Launch<'a> {
    /// Workgroups in x, y, z.
    pub grid: [u32; 3],
    /// Invocations in x, y, z: those at or beyond take no part. `None` means whole workgroups.
    pub threads: Option<[u32; 3]>,
    /// One for each of [`Kernel::slots`](super::Kernel::slots), in that order.
    pub bindings: &'a [Binding],
    /// The bytes of `var<immediate>`; missing bytes read as zero.
    pub immediates: &'a [u8],
    /// When it becomes true, the kernel leaves its loops soon.
    pub stop: &'a AtomicBool,
}

/// One bound resource.
#[derive(Clone, Debug)]
pub enum Binding {
    /// A range of a buffer.
    Buffer(BufferBinding),
    /// A view of a texture.
    Texture(TextureBinding),
    /// A sampler.
    Sampler(SamplerBinding),
    /// The elements of an array of bindings: as many as it has, at least one if it has no size.
    Array(Vec<Binding>),
    /// An element of an array where nothing is bound: reads give zero, writes do nothing.
    Nothing,
}

impl Binding {
    /// The elements of an array; of anything else, itself.
    pub(crate) fn elements(&self) -> &[Binding] {
        match self {
            Binding::Array(elements) => elements,
            other => std::slice::from_ref(other),
        }
    }
}

/// A range of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct BufferBinding {
    /// First byte; a multiple of 4.
    pub ptr: *mut u8,
    /// Bytes from there.
    pub len: u64,
}

// SAFETY: the pointer is only used by `Kernel::run`, whose contract covers every thread that calls it.
unsafe impl Send for BufferBinding {}
// SAFETY: as for `Send`; the binding itself is never written through.
unsafe impl Sync for BufferBinding {}

/// The shape of a texture view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextureDimension {
    /// One row.
    D1,
    /// One plane.
    D2,
    /// Planes with an index each.
    D2Array,
    /// A block.
    D3,
    /// Six planes: +x, -x, +y, -y, +z, -z.
    Cube,
    /// Six planes for each index.
    CubeArray,
}

/// A view of a texture: where each of its mip levels lies.
#[derive(Clone, Debug)]
pub struct TextureBinding {
    /// How a texel is stored.
    pub format: TexelFormat,
    /// The shape that the kernel sees.
    pub dimension: TextureDimension,
    /// Largest level first; at least one.
    pub levels: Vec<LevelLayout>,
}

/// Where one mip level lies in memory.
#[derive(Clone, Copy, Debug)]
pub struct LevelLayout {
    /// The texel at the origin.
    pub ptr: *mut u8,
    /// Texels in x.
    pub width: u32,
    /// Texels in y.
    pub height: u32,
    /// Texels in z, or layers (six for each cube).
    pub depth_or_layers: u32,
    /// Bytes from a row to the next.
    pub row_pitch: u64,
    /// Bytes from a plane or layer to the next.
    pub slice_pitch: u64,
}

// SAFETY: the pointer is only used by `Kernel::run`, whose contract covers every thread that calls it.
unsafe impl Send for LevelLayout {}
// SAFETY: as for `Send`; the layout itself is never written through.
unsafe impl Sync for LevelLayout {}

/// How a sampler chooses between texels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The closest one.
    #[default]
    Nearest,
    /// A weighted mean of the neighbours.
    Linear,
}

/// What a sampler does outside a texture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressMode {
    /// The texel at the edge.
    #[default]
    ClampToEdge,
    /// The texture again.
    Repeat,
    /// The texture again, every second time mirrored.
    MirrorRepeat,
    /// Mirrored once, then the texel at the edge.
    MirrorClampToEdge,
    /// [`SamplerBinding::border`].
    ClampToBorder,
}

/// A comparison of a reference (left) with a texel (right).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareFunction {
    /// Never true.
    Never,
    /// Reference below texel.
    Less,
    /// Equal.
    Equal,
    /// Reference below or equal.
    LessEqual,
    /// Reference above texel.
    Greater,
    /// Different.
    NotEqual,
    /// Reference above or equal.
    GreaterEqual,
    /// Always true.
    Always,
}

/// A sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerBinding {
    /// Used where a texture is enlarged.
    pub mag_filter: Filter,
    /// Used where a texture is reduced.
    pub min_filter: Filter,
    /// Between mip levels.
    pub mip_filter: Filter,
    /// For u, v, w.
    pub address: [AddressMode; 3],
    /// Lowest and highest level of detail.
    pub lod: [f32; 2],
    /// For comparing samples.
    pub compare: Option<CompareFunction>,
    /// The color of [`AddressMode::ClampToBorder`].
    pub border: [f32; 4],
}

impl Default for SamplerBinding {
    fn default() -> Self {
        Self {
            mag_filter: Filter::Nearest,
            min_filter: Filter::Nearest,
            mip_filter: Filter::Nearest,
            address: [AddressMode::ClampToEdge; 3],
            lod: [0.0, f32::MAX],
            compare: None,
            border: [0.0; 4],
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All workgroups ran to their end.
    Done,
    /// [`Launch::stop`] was seen.
    Stopped,
    /// The launch does not fit the kernel, or the kernel did what WGSL forbids. Says what.
    Failed(String),
}
