//! The runtime's pixel formats in Vulkan's words.

use ash::vk::{Format, ImageAspectFlags};
use lockgate_runtime::PixelFormat;

pub(crate) fn format(format: PixelFormat) -> Format {
    use PixelFormat as P;
    match format {
        P::R8Unorm => Format::R8_UNORM,
        P::R8Snorm => Format::R8_SNORM,
        P::R8Uint => Format::R8_UINT,
        P::R8Sint => Format::R8_SINT,
        P::Rg8Unorm => Format::R8G8_UNORM,
        P::Rg8Snorm => Format::R8G8_SNORM,
        P::Rg8Uint => Format::R8G8_UINT,
        P::Rg8Sint => Format::R8G8_SINT,
        P::Rgba8Unorm => Format::R8G8B8A8_UNORM,
        P::Rgba8UnormSrgb => Format::R8G8B8A8_SRGB,
        P::Rgba8Snorm => Format::R8G8B8A8_SNORM,
        P::Rgba8Uint => Format::R8G8B8A8_UINT,
        P::Rgba8Sint => Format::R8G8B8A8_SINT,
        P::Bgra8Unorm => Format::B8G8R8A8_UNORM,
        P::Bgra8UnormSrgb => Format::B8G8R8A8_SRGB,
        P::R16Unorm => Format::R16_UNORM,
        P::R16Float => Format::R16_SFLOAT,
        P::R16Uint => Format::R16_UINT,
        P::R16Sint => Format::R16_SINT,
        P::Rg16Unorm => Format::R16G16_UNORM,
        P::Rg16Float => Format::R16G16_SFLOAT,
        P::Rg16Uint => Format::R16G16_UINT,
        P::Rg16Sint => Format::R16G16_SINT,
        P::Rgba16Unorm => Format::R16G16B16A16_UNORM,
        P::Rgba16Float => Format::R16G16B16A16_SFLOAT,
        P::Rgba16Uint => Format::R16G16B16A16_UINT,
        P::Rgba16Sint => Format::R16G16B16A16_SINT,
        P::R32Float => Format::R32_SFLOAT,
        P::R32Uint => Format::R32_UINT,
        P::R32Sint => Format::R32_SINT,
        P::Rg32Float => Format::R32G32_SFLOAT,
        P::Rg32Uint => Format::R32G32_UINT,
        P::Rg32Sint => Format::R32G32_SINT,
        P::Rgba32Float => Format::R32G32B32A32_SFLOAT,
        P::Rgba32Uint => Format::R32G32B32A32_UINT,
        P::Rgba32Sint => Format::R32G32B32A32_SINT,
        P::Rgb10a2Unorm => Format::A2B10G10R10_UNORM_PACK32,
        P::Rg11b10Float => Format::B10G11R11_UFLOAT_PACK32,
        P::Depth16Unorm => Format::D16_UNORM,
        P::Depth32Float => Format::D32_SFLOAT,
        // The runtime has no other.
        _ => Format::UNDEFINED,
    }
}

/// What part of a texel there is.
pub(crate) fn aspect(format: PixelFormat) -> ImageAspectFlags {
    if format.is_depth() { ImageAspectFlags::DEPTH } else { ImageAspectFlags::COLOR }
}

/// The format of the same bits that kernels can store, for one that they cannot.
pub(crate) fn linear(format: PixelFormat) -> PixelFormat {
    match format {
        PixelFormat::Rgba8UnormSrgb => PixelFormat::Rgba8Unorm,
        PixelFormat::Bgra8UnormSrgb => PixelFormat::Bgra8Unorm,
        other => other,
    }
}
