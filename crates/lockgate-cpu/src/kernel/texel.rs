//! How a texel is stored, and what values it stands for: pure functions on bytes.
//!
//! A texel's value is four components: floats for normalized and float formats, integers for integer formats, with
//! 0, 0, 0, 1 for components that the format lacks. Copies of bytes need none of this; kernels, mipmap generation
//! and pictures do.

use half::f16;

/// What the components of a format are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TexelKind {
    /// `f32`.
    Float,
    /// `i32`.
    Sint,
    /// `u32`.
    Uint,
}

/// A decoded texel, as the bits of its four components; [`TexelFormat::kind`] says what the bits are.
pub type Texel = [u32; 4];

/// How one component is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Unorm(u32),
    Snorm(u32),
    Uint(u32),
    Sint(u32),
    /// An IEEE float of 16 or 32 bits.
    Float(u32),
    /// An unsigned float with 5 bits of exponent and this many bits in all.
    Ufloat(u32),
    /// 8 bits of sRGB.
    Srgb,
}

impl Part {
    fn bits(self) -> u32 {
        match self {
            Self::Srgb => 8,
            Self::Unorm(bits)
            | Self::Snorm(bits)
            | Self::Uint(bits)
            | Self::Sint(bits)
            | Self::Float(bits)
            | Self::Ufloat(bits) => bits,
        }
    }
}

macro_rules! formats {
    ($($(#[$doc:meta])* $name:ident = [$($part:expr),+];)+) => {
        /// How a texel is stored. Components are in the order of their names, from the lowest bits up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum TexelFormat {
            $($(#[$doc])* $name,)+
        }

        impl TexelFormat {
            /// Every format.
            pub const ALL: &[TexelFormat] = &[$(TexelFormat::$name),+];

            fn parts(self) -> &'static [Part] {
                use Part::{Float, Sint, Snorm, Srgb, Ufloat, Uint, Unorm};
                match self {
                    $(Self::$name => &[$($part),+],)+
                }
            }
        }
    };
}

formats! {
    /// One normalized byte.
    R8Unorm = [Unorm(8)];
    /// One signed normalized byte.
    R8Snorm = [Snorm(8)];
    /// One byte.
    R8Uint = [Uint(8)];
    /// One signed byte.
    R8Sint = [Sint(8)];
    /// Two normalized bytes.
    Rg8Unorm = [Unorm(8), Unorm(8)];
    /// Two signed normalized bytes.
    Rg8Snorm = [Snorm(8), Snorm(8)];
    /// Two bytes.
    Rg8Uint = [Uint(8), Uint(8)];
    /// Two signed bytes.
    Rg8Sint = [Sint(8), Sint(8)];
    /// Four normalized bytes.
    Rgba8Unorm = [Unorm(8), Unorm(8), Unorm(8), Unorm(8)];
    /// Four normalized bytes, red, green and blue in sRGB.
    Rgba8UnormSrgb = [Srgb, Srgb, Srgb, Unorm(8)];
    /// Four signed normalized bytes.
    Rgba8Snorm = [Snorm(8), Snorm(8), Snorm(8), Snorm(8)];
    /// Four bytes.
    Rgba8Uint = [Uint(8), Uint(8), Uint(8), Uint(8)];
    /// Four signed bytes.
    Rgba8Sint = [Sint(8), Sint(8), Sint(8), Sint(8)];
    /// Four normalized bytes, blue first.
    Bgra8Unorm = [Unorm(8), Unorm(8), Unorm(8), Unorm(8)];
    /// Four normalized bytes, blue first, with sRGB.
    Bgra8UnormSrgb = [Srgb, Srgb, Srgb, Unorm(8)];
    /// One normalized half word.
    R16Unorm = [Unorm(16)];
    /// One signed normalized half word.
    R16Snorm = [Snorm(16)];
    /// One half word.
    R16Uint = [Uint(16)];
    /// One signed half word.
    R16Sint = [Sint(16)];
    /// One half float.
    R16Float = [Float(16)];
    /// Two normalized half words.
    Rg16Unorm = [Unorm(16), Unorm(16)];
    /// Two signed normalized half words.
    Rg16Snorm = [Snorm(16), Snorm(16)];
    /// Two half words.
    Rg16Uint = [Uint(16), Uint(16)];
    /// Two signed half words.
    Rg16Sint = [Sint(16), Sint(16)];
    /// Two half floats.
    Rg16Float = [Float(16), Float(16)];
    /// Four normalized half words.
    Rgba16Unorm = [Unorm(16), Unorm(16), Unorm(16), Unorm(16)];
    /// Four signed normalized half words.
    Rgba16Snorm = [Snorm(16), Snorm(16), Snorm(16), Snorm(16)];
    /// Four half words.
    Rgba16Uint = [Uint(16), Uint(16), Uint(16), Uint(16)];
    /// Four signed half words.
    Rgba16Sint = [Sint(16), Sint(16), Sint(16), Sint(16)];
    /// Four half floats.
    Rgba16Float = [Float(16), Float(16), Float(16), Float(16)];
    /// One word.
    R32Uint = [Uint(32)];
    /// One signed word.
    R32Sint = [Sint(32)];
    /// One float.
    R32Float = [Float(32)];
    /// Two words.
    Rg32Uint = [Uint(32), Uint(32)];
    /// Two signed words.
    Rg32Sint = [Sint(32), Sint(32)];
    /// Two floats.
    Rg32Float = [Float(32), Float(32)];
    /// Four words.
    Rgba32Uint = [Uint(32), Uint(32), Uint(32), Uint(32)];
    /// Four signed words.
    Rgba32Sint = [Sint(32), Sint(32), Sint(32), Sint(32)];
    /// Four floats.
    Rgba32Float = [Float(32), Float(32), Float(32), Float(32)];
    /// Three times 10 bits and 2 of alpha, integer.
    Rgb10a2Uint = [Uint(10), Uint(10), Uint(10), Uint(2)];
    /// Three times 10 bits and 2 of alpha, normalized.
    Rgb10a2Unorm = [Unorm(10), Unorm(10), Unorm(10), Unorm(2)];
    /// Unsigned floats of 11, 11 and 10 bits.
    Rg11b10Ufloat = [Ufloat(11), Ufloat(11), Ufloat(10)];
    /// Depth as a float.
    Depth32Float = [Float(32)];
    /// Depth as a normalized half word.
    Depth16Unorm = [Unorm(16)];
}

impl TexelFormat {
    /// Bytes of one texel.
    pub fn bytes(self) -> u32 {
        self.parts().iter().map(|part| part.bits()).sum::<u32>() / 8
    }

    /// Components that are stored, 1 to 4.
    pub fn components(self) -> usize {
        self.parts().len()
    }

    /// What the components are.
    pub fn kind(self) -> TexelKind {
        match self.parts()[0] {
            Part::Uint(_) => TexelKind::Uint,
            Part::Sint(_) => TexelKind::Sint,
            _ => TexelKind::Float,
        }
    }

    /// Whether blue comes first.
    fn is_bgra(self) -> bool {
        matches!(self, Self::Bgra8Unorm | Self::Bgra8UnormSrgb)
    }

    /// The value of a texel; bytes beyond its size are not looked at, missing ones are zero.
    pub fn decode(self, bytes: &[u8]) -> Texel {
        let mut raw = [0; 16];
        let count = bytes.len().min(16);
        raw[..count].copy_from_slice(&bytes[..count]);
        let raw = u128::from_le_bytes(raw);
        let one = if self.kind() == TexelKind::Float { 1f32.to_bits() } else { 1 };
        let mut texel = [0, 0, 0, one];
        let mut shift = 0;
        for (value, part) in texel.iter_mut().zip(self.parts()) {
            let mask = (1u128 << part.bits()) - 1;
            *value = decode_part(*part, ((raw >> shift) & mask) as u32);
            shift += part.bits();
        }
        if self.is_bgra() {
            texel.swap(0, 2);
        }
        texel
    }

    /// The bytes of a texel; those beyond [`Self::bytes`] are zero. Values that do not fit are clamped.
    pub fn encode(self, mut texel: Texel) -> [u8; 16] {
        if self.is_bgra() {
            texel.swap(0, 2);
        }
        let mut raw = 0u128;
        let mut shift = 0;
        for (value, part) in texel.iter().zip(self.parts()) {
            raw |= u128::from(encode_part(*part, *value)) << shift;
            shift += part.bits();
        }
        raw.to_le_bytes()
    }
}

fn largest(bits: u32) -> u32 {
    u32::MAX >> (32 - bits)
}

fn decode_part(part: Part, raw: u32) -> u32 {
    let signed = |bits: u32| ((raw << (32 - bits)) as i32) >> (32 - bits);
    match part {
        Part::Uint(_) => raw,
        Part::Sint(bits) => signed(bits) as u32,
        Part::Unorm(bits) => (raw as f32 / largest(bits) as f32).to_bits(),
        Part::Snorm(bits) => (signed(bits) as f32 / largest(bits - 1) as f32).max(-1.0).to_bits(),
        Part::Float(16) => f16::from_bits(raw as u16).to_f32().to_bits(),
        Part::Float(_) => raw,
        // The same exponent as a half float, without its sign and with fewer bits behind.
        Part::Ufloat(bits) => f16::from_bits((raw << (15 - bits)) as u16).to_f32().to_bits(),
        Part::Srgb => srgb_to_linear(raw as f32 / 255.0).to_bits(),
    }
}

fn encode_part(part: Part, value: u32) -> u32 {
    let float = f32::from_bits(value);
    match part {
        Part::Uint(bits) => value.min(largest(bits)),
        Part::Sint(bits) => {
            let high = largest(bits - 1) as i32;
            (value as i32).clamp(-high - 1, high) as u32 & largest(bits)
        }
        Part::Unorm(bits) => unorm(float, bits),
        Part::Snorm(bits) => {
            let high = largest(bits - 1) as f32;
            let scaled = (if float.is_nan() { 0.0 } else { float.clamp(-1.0, 1.0) } * high).round_ties_even();
            scaled as i32 as u32 & largest(bits)
        }
        Part::Float(16) => u32::from(f16::from_f32(float).to_bits()),
        Part::Float(_) => value,
        Part::Ufloat(bits) => ufloat(float, bits),
        Part::Srgb => unorm(linear_to_srgb(float), 8),
    }
}

fn unorm(value: f32, bits: u32) -> u32 {
    // NaN passes the clamp, and the cast makes it zero.
    (value.clamp(0.0, 1.0) * largest(bits) as f32).round_ties_even() as u32
}

/// Rounds toward zero, as graphics interfaces ask; what is too large becomes the largest, NaN stays NaN.
fn ufloat(value: f32, bits: u32) -> u32 {
    let mantissa = bits - 5;
    let infinity = 0b11111 << mantissa;
    if value.is_nan() {
        return infinity | 1;
    }
    if value == f32::INFINITY {
        return infinity;
    }
    // 2^-14 is the smallest normal value; below it, steps are of 2^(-14 - mantissa).
    let exponent = ((value.max(0.0).to_bits() >> 23) as i32 - 127).max(-15);
    if exponent < -14 {
        return (value.max(0.0) * f32::from_bits((127 + 14 + mantissa) << 23)) as u32;
    }
    if exponent > 15 {
        return infinity - 1;
    }
    (((exponent + 15) as u32) << mantissa) | ((value.to_bits() & 0x7F_FFFF) >> (23 - mantissa))
}

/// The light that an sRGB value stands for.
pub fn srgb_to_linear(value: f32) -> f32 {
    if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
}

/// The sRGB value of light.
pub fn linear_to_srgb(value: f32) -> f32 {
    if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every stored value of up to 16 bits, in each component, survives decoding and encoding.
    #[test]
    fn each_stored_value_comes_back() {
        for format in TexelFormat::ALL.iter().copied() {
            let bits: Vec<u32> = format.parts().iter().map(|part| part.bits()).collect();
            if bits[0] > 16 {
                continue;
            }
            for raw in 0..=largest(bits[0]) {
                let mut shift = 0;
                let mut stored = 0u128;
                for bits in &bits {
                    stored |= u128::from(raw & largest(*bits)) << shift;
                    shift += bits;
                }
                let stored = stored.to_le_bytes();
                let texel = format.decode(&stored);
                let again = format.decode(&format.encode(texel));
                let nan =
                    format.kind() == TexelKind::Float && texel.iter().any(|v| f32::from_bits(*v).is_nan());
                if !nan {
                    assert_eq!(again, texel, "{format:?} {raw:#x}");
                }
                let snorm_twin = matches!(format.parts()[0], Part::Snorm(_));
                if !nan && !snorm_twin {
                    assert_eq!(format.encode(texel), stored, "{format:?} {raw:#x}");
                }
            }
        }
    }

    #[test]
    fn known_values() {
        let floats = |format: TexelFormat, bytes: &[u8]| format.decode(bytes).map(f32::from_bits);
        assert_eq!(floats(TexelFormat::Rgba8Unorm, &[255, 0, 51, 255]), [1.0, 0.0, 0.2, 1.0]);
        assert_eq!(floats(TexelFormat::Bgra8Unorm, &[255, 0, 0, 0]), [0.0, 0.0, 1.0, 0.0]);
        assert_eq!(floats(TexelFormat::R8Snorm, &[0x80]), [-1.0, 0.0, 0.0, 1.0]);
        assert_eq!(floats(TexelFormat::R16Float, &[0x00, 0x3C]), [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(TexelFormat::R8Sint.decode(&[0xFF]), [u32::MAX, 0, 0, 1]);
        let one = 1f32.to_bits();
        assert_eq!(TexelFormat::Rg11b10Ufloat.encode([one; 4])[..4], 0x781E_03C0u32.to_le_bytes());
        assert_eq!(TexelFormat::R8Unorm.encode([f32::NAN.to_bits(); 4])[0], 0);
        assert_eq!(TexelFormat::Rgba8UnormSrgb.encode([0.5f32.to_bits(); 4])[0], 188);
    }

    #[test]
    fn half_floats_round_to_even() {
        for raw in (0..=u32::MAX).step_by(65_537) {
            let stored = TexelFormat::R16Float.encode([raw, 0, 0, 0]);
            let expected = f16::from_f32(f32::from_bits(raw));
            assert_eq!(u16::from_le_bytes([stored[0], stored[1]]), expected.to_bits());
        }
        // Halfway between 1 and the next half float: to even; a little above: up.
        let encode = |value: f32| TexelFormat::R16Float.encode([value.to_bits(), 0, 0, 0])[0];
        assert_eq!(encode(1.0 + 1.0 / 2048.0), 0);
        assert_eq!(encode(1.0 + 1.0 / 2048.0 + 1e-6), 1);
    }

    #[test]
    fn sizes() {
        assert_eq!(TexelFormat::R8Unorm.bytes(), 1);
        assert_eq!(TexelFormat::Rgb10a2Unorm.bytes(), 4);
        assert_eq!(TexelFormat::Rg11b10Ufloat.bytes(), 4);
        assert_eq!(TexelFormat::Rgba32Float.bytes(), 16);
    }
}
