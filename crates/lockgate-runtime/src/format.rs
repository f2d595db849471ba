//! The pixel formats of textures, with Metal's names.

macro_rules! formats {
    ($($name:ident)*) => {
        /// How a texel is stored.
        ///
        /// ```
        /// use lockgate_runtime::PixelFormat;
        /// assert_eq!(PixelFormat::Rgba8Unorm.bytes_per_texel(), 4);
        /// assert_eq!(PixelFormat::from_name("rgba8unorm"), Some(PixelFormat::Rgba8Unorm));
        /// ```
        #[doc(alias = "MTLPixelFormat")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the names say everything: channels, bits, type")]
        pub enum PixelFormat {
            $($name,)*
        }

        impl PixelFormat {
            /// Every format.
            pub const ALL: &[PixelFormat] = &[$(PixelFormat::$name),*];
        }
    };
}

formats! {
    R8Unorm R8Snorm R8Uint R8Sint Rg8Unorm Rg8Snorm Rg8Uint Rg8Sint Rgba8Unorm Rgba8UnormSrgb Rgba8Snorm
    Rgba8Uint Rgba8Sint Bgra8Unorm Bgra8UnormSrgb R16Unorm R16Float R16Uint R16Sint Rg16Unorm Rg16Float
    Rg16Uint Rg16Sint Rgba16Unorm Rgba16Float Rgba16Uint Rgba16Sint R32Float R32Uint R32Sint Rg32Float
    Rg32Uint Rg32Sint Rgba32Float Rgba32Uint Rgba32Sint Rgb10a2Unorm Rg11b10Float Depth16Unorm
    Depth32Float
}

use PixelFormat::*;

impl PixelFormat {
    /// Bytes of one texel.
    pub fn bytes_per_texel(self) -> u32 {
        match self {
            R8Unorm | R8Snorm | R8Uint | R8Sint => 1,
            Rg8Unorm | Rg8Snorm | Rg8Uint | Rg8Sint => 2,
            R16Unorm | R16Float | R16Uint | R16Sint | Depth16Unorm => 2,
            Rgba16Unorm | Rgba16Float | Rgba16Uint | Rgba16Sint => 8,
            Rg32Float | Rg32Uint | Rg32Sint => 8,
            Rgba32Float | Rgba32Uint | Rgba32Sint => 16,
            _ => 4,
        }
    }

    /// The name in small letters, as WGSL and program files spell it.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// The format with this name, in small letters; `-srgb` may have its hyphen.
    pub fn from_name(name: &str) -> Option<PixelFormat> {
        let name = name.replace('-', "");
        PixelFormat::ALL.iter().copied().find(|format| format.name() == name)
    }

    /// Whether it holds depth.
    pub fn is_depth(self) -> bool {
        matches!(self, Depth16Unorm | Depth32Float)
    }

    /// Whether its texels are averages of others without loss of meaning: mipmaps can be generated.
    pub fn is_filterable(self) -> bool {
        let name = self.name();
        !(name.contains("int") || self.is_depth())
    }
}
