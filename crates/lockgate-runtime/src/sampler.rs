//! Samplers.

use crate::Result;
use crate::backend::Native;
use crate::device::Device;
use std::sync::Arc;

/// How texels are mixed.
///
/// ```
/// assert_eq!(lockgate_runtime::FilterMode::default(), lockgate_runtime::FilterMode::Nearest);
/// ```
#[doc(alias = "MTLSamplerMinMagFilter")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FilterMode {
    /// The nearest one.
    #[default]
    Nearest,
    /// Those around, by distance.
    Linear,
}

/// What lies beyond the edge.
///
/// ```
/// assert_eq!(lockgate_runtime::AddressMode::default(), lockgate_runtime::AddressMode::ClampToEdge);
/// ```
#[doc(alias = "MTLSamplerAddressMode")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AddressMode {
    /// The texel at the edge.
    #[default]
    ClampToEdge,
    /// The texture again.
    Repeat,
    /// The texture again, mirrored each time.
    MirrorRepeat,
}

/// A comparison of depth.
///
/// ```
/// assert_ne!(lockgate_runtime::CompareFunction::Less, lockgate_runtime::CompareFunction::Greater);
/// ```
#[doc(alias = "MTLCompareFunction")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say everything")]
pub enum CompareFunction {
    Never,
    Less,
    Equal,
    LessEqual,
    Greater,
    NotEqual,
    GreaterEqual,
    Always,
}

/// How a sampler is made.
///
/// ```
/// use lockgate_runtime::{FilterMode, SamplerDescriptor};
/// let linear = SamplerDescriptor { mag_filter: FilterMode::Linear, ..Default::default() };
/// assert_eq!(linear.lod_clamp, (0.0, 32.0));
/// ```
#[doc(alias = "MTLSamplerDescriptor")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SamplerDescriptor {
    /// Where a texel covers more than a sample. Default: nearest.
    pub mag_filter: FilterMode,
    /// Where a sample covers more than a texel. Default: nearest.
    pub min_filter: FilterMode,
    /// Between mip levels. Default: nearest.
    pub mip_filter: FilterMode,
    /// Beyond the edges in x, y, z. Default: clamp to edge.
    pub address_modes: [AddressMode; 3],
    /// Smallest and largest mip level. Default: 0 to 32.
    pub lod_clamp: (f32, f32),
    /// The comparison of a comparison sampler. Default: none.
    pub compare: Option<CompareFunction>,
}

impl Default for SamplerDescriptor {
    fn default() -> SamplerDescriptor {
        SamplerDescriptor {
            mag_filter: FilterMode::Nearest,
            min_filter: FilterMode::Nearest,
            mip_filter: FilterMode::Nearest,
            address_modes: [AddressMode::ClampToEdge; 3],
            lod_clamp: (0.0, 32.0),
            compare: None,
        }
    }
}

/// How a kernel samples textures. Cheap to clone.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let sampler = device.new_sampler(&Default::default())?;
/// assert!(sampler.descriptor().compare.is_none());
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLSamplerState")]
#[derive(Clone)]
pub struct Sampler {
    pub(crate) native: Native,
    descriptor: Arc<SamplerDescriptor>,
}

impl std::fmt::Debug for Sampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Sampler").field(&self.descriptor).finish()
    }
}

impl Sampler {
    /// How it was made.
    pub fn descriptor(&self) -> &SamplerDescriptor {
        &self.descriptor
    }
}

impl Device {
    /// A sampler.
    ///
    /// # Errors
    /// What the device cannot sample.
    #[doc(alias = "newSamplerStateWithDescriptor")]
    pub fn new_sampler(&self, descriptor: &SamplerDescriptor) -> Result<Sampler> {
        let native = self.0.backend.create_sampler(descriptor)?;
        Ok(Sampler { native, descriptor: Arc::new(*descriptor) })
    }
}
