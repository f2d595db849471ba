//! What WGSL's operators and componentwise functions do to one scalar, held as little-endian bits in a `u64`.
//!
//! Integers are computed wide and cut to their width; floats of 16 and 32 bits are computed in `f64` and rounded,
//! which for `+ - * /` and the square root gives the correctly rounded result. Where WGSL leaves a choice
//! (division by zero, conversion of a value that does not fit, NaN in `min`), this module makes it, and the
//! machine code follows.

use half::f16;
use naga::{BinaryOperator as Op, MathFunction as Mf, Scalar, ScalarKind};

/// The scalar types of WGSL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Num {
    Bool,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    F32,
    F64,
}

impl Num {
    /// The type that naga calls `scalar`; `None` for abstract ones, which no validated function contains.
    pub(super) fn of(scalar: Scalar) -> Option<Self> {
        Some(match (scalar.kind, scalar.width) {
            (ScalarKind::Bool, _) => Self::Bool,
            (ScalarKind::Sint, 2) => Self::I16,
            (ScalarKind::Uint, 2) => Self::U16,
            (ScalarKind::Sint, 4) => Self::I32,
            (ScalarKind::Uint, 4) => Self::U32,
            (ScalarKind::Sint, 8) => Self::I64,
            (ScalarKind::Uint, 8) => Self::U64,
            (ScalarKind::Float, 2) => Self::F16,
            (ScalarKind::Float, 4) => Self::F32,
            (ScalarKind::Float, 8) => Self::F64,
            _ => return None,
        })
    }

    /// Bytes in memory.
    pub(super) fn bytes(self) -> u32 {
        match self {
            Self::Bool => 1,
            Self::I16 | Self::U16 | Self::F16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    pub(super) fn is_signed(self) -> bool {
        matches!(self, Self::I16 | Self::I32 | Self::I64)
    }

    fn bits_wide(self) -> u32 {
        8 * self.bytes()
    }

    /// `bits` without what lies above the width.
    pub(super) fn cut(self, bits: u64) -> u64 {
        match self {
            Self::Bool => u64::from(bits & 1 != 0),
            _ => bits & (u64::MAX >> (64 - self.bits_wide())),
        }
    }

    /// The integer that `bits` stand for.
    pub(super) fn int(self, bits: u64) -> i128 {
        let unused = 128 - self.bits_wide();
        if self.is_signed() { (i128::from(bits) << unused) >> unused } else { i128::from(self.cut(bits)) }
    }

    /// The float that `bits` stand for.
    pub(super) fn float(self, bits: u64) -> f64 {
        match self {
            Self::F16 => f16::from_bits(bits as u16).to_f64(),
            Self::F32 => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }

    /// The type that naga has for exponents of floats of this type.
    pub(super) fn exponent(self) -> Self {
        match self {
            Self::F16 => Self::I16,
            Self::F64 => Self::I64,
            _ => Self::I32,
        }
    }

    /// The lowest and the highest integer.
    pub(super) fn bounds(self) -> (i128, i128) {
        let bits = self.bits_wide();
        if self.is_signed() {
            (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
        } else {
            (0, (1i128 << bits) - 1)
        }
    }

    /// The bits of an integer, cut to the width.
    pub(super) fn pack_int(self, value: i128) -> u64 {
        self.cut(value as u64)
    }

    /// The bits of a float, rounded to the width.
    pub(super) fn pack_float(self, value: f64) -> u64 {
        match self {
            Self::F16 => u64::from(f16::from_f32(value as f32).to_bits()),
            Self::F32 => u64::from((value as f32).to_bits()),
            _ => value.to_bits(),
        }
    }
}

/// `a op b`; a comparison gives 0 or 1.
pub(super) fn binary(op: Op, num: Num, a: u64, b: u64) -> u64 {
    match num {
        Num::Bool => bool_binary(op, a & 1, b & 1),
        _ if num.is_float() => float_binary(op, num, num.float(a), num.float(b)),
        _ => int_binary(op, num, num.int(a), num.int(b)),
    }
}

fn bool_binary(op: Op, a: u64, b: u64) -> u64 {
    match op {
        Op::And | Op::LogicalAnd => a & b,
        Op::InclusiveOr | Op::LogicalOr => a | b,
        Op::Equal => u64::from(a == b),
        _ => a ^ b,
    }
}

fn float_binary(op: Op, num: Num, a: f64, b: f64) -> u64 {
    let value = match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a * b,
        Op::Divide => a / b,
        Op::Modulo => return float_remainder(num, a, b),
        Op::Equal => return u64::from(a == b),
        Op::NotEqual => return u64::from(a != b),
        Op::Less => return u64::from(a < b),
        Op::LessEqual => return u64::from(a <= b),
        Op::Greater => return u64::from(a > b),
        _ => return u64::from(a >= b),
    };
    num.pack_float(value)
}

/// WGSL's definition, `a - b * trunc(a / b)`, each step rounded to the type.
fn float_remainder(num: Num, a: f64, b: f64) -> u64 {
    let round = |value| num.float(num.pack_float(value));
    num.pack_float(a - round(b * round(a / b).trunc()))
}

fn int_binary(op: Op, num: Num, a: i128, b: i128) -> u64 {
    let shift = (b as u32) & (num.bits_wide() - 1);
    let value = match op {
        Op::Add => a + b,
        Op::Subtract => a - b,
        Op::Multiply => a.wrapping_mul(b),
        Op::Divide if b == 0 => a,
        Op::Divide => a / b,
        Op::Modulo if b == 0 => 0,
        Op::Modulo => a % b,
        Op::And => a & b,
        Op::InclusiveOr => a | b,
        Op::ExclusiveOr => a ^ b,
        Op::ShiftLeft => a << shift,
        Op::ShiftRight => a >> shift,
        Op::Equal => i128::from(a == b),
        Op::NotEqual => i128::from(a != b),
        Op::Less => i128::from(a < b),
        Op::LessEqual => i128::from(a <= b),
        Op::Greater => i128::from(a > b),
        Op::GreaterEqual => i128::from(a >= b),
        Op::LogicalAnd | Op::LogicalOr => 0,
    };
    num.pack_int(value)
}

/// `-a`.
pub(super) fn negate(num: Num, a: u64) -> u64 {
    match num {
        _ if num.is_float() => a ^ (1 << (num.bits_wide() - 1)),
        _ => num.pack_int(-num.int(a)),
    }
}

/// The value of `from` as a value of `to`. Floats saturate at what both types have, NaN becomes zero, integers are cut.
pub(super) fn convert(from: Num, to: Num, a: u64) -> u64 {
    match (from, to) {
        (Num::Bool, _) if to.is_float() => to.pack_float((a & 1) as f64),
        (_, Num::Bool) if from.is_float() => u64::from(from.float(a) != 0.0),
        (_, Num::Bool) => u64::from(from.cut(a) != 0),
        (Num::F16 | Num::F32, Num::F64) | (_, Num::F16 | Num::F32) if from.is_float() => {
            to.pack_float(from.float(a))
        }
        (Num::F64, Num::F64) => a,
        _ if from.is_float() => {
            let (low, high) = limits(from, to);
            to.pack_int((from.float(a) as i128).clamp(low, high))
        }
        (_, Num::F16 | Num::F32) => int_to_float(to, from.int(a)),
        (_, Num::F64) => (from.int(a) as f64).to_bits(),
        _ => to.pack_int(from.int(a)),
    }
}

/// Directly, since a way over `f64` would round 64-bit integers twice.
fn int_to_float(to: Num, value: i128) -> u64 {
    match to {
        Num::F32 => u64::from((value as f32).to_bits()),
        _ => to.pack_float(value as f64),
    }
}

/// What a float of type `from` becomes at least and at most in `to`: WGSL takes the closest integer that both have.
pub(super) fn limits(from: Num, to: Num) -> (i128, i128) {
    let (low, high) = to.bounds();
    let digits = match from {
        Num::F16 => 11,
        Num::F32 => 24,
        _ => 53,
    };
    let spare = (i128::BITS - high.leading_zeros()).saturating_sub(digits);
    let most = if from == Num::F16 { 65504 } else { i128::MAX };
    (low.max(-most), (high >> spare << spare).min(most))
}

/// A function of WGSL that works on each component alone. `None` if `fun` is not one.
pub(super) fn math(fun: Mf, num: Num, args: &[u64]) -> Option<u64> {
    let at = |i: usize| args.get(i).copied().unwrap_or(0);
    if num.is_float() {
        float_math(fun, num, [at(0), at(1), at(2)])
    } else {
        int_math(fun, num, [at(0), at(1), at(2), at(3)])
    }
}

fn float_math(fun: Mf, num: Num, bits: [u64; 3]) -> Option<u64> {
    let [a, b, c] = bits.map(|bits| num.float(bits));
    let round = |value: f64| num.float(num.pack_float(value));
    let value = match fun {
        Mf::Abs => return Some(bits[0] & !(1 << (num.bits_wide() - 1))),
        Mf::Min => min(a, b),
        Mf::Max => max(a, b),
        Mf::Clamp => min(max(a, b), c),
        Mf::Saturate => min(max(a, 0.0), 1.0),
        Mf::Ceil => a.ceil(),
        Mf::Floor => a.floor(),
        Mf::Round => a.round_ties_even(),
        Mf::Trunc => a.trunc(),
        Mf::Fract => a - a.floor(),
        Mf::Sqrt => a.sqrt(),
        Mf::InverseSqrt => 1.0 / round(a.sqrt()),
        Mf::Sign if a > 0.0 => 1.0,
        Mf::Sign if a < 0.0 => -1.0,
        Mf::Sign => 0.0,
        Mf::Radians => a * round(std::f64::consts::PI / 180.0),
        Mf::Degrees => a * round(180.0 / std::f64::consts::PI),
        Mf::Step => f64::from(a <= b),
        Mf::Mix => round(a * round(1.0 - c)) + round(b * c),
        Mf::SmoothStep => {
            let t = min(max(round(round(c - a) / round(b - a)), 0.0), 1.0);
            round(t * t) * round(3.0 - round(2.0 * t))
        }
        Mf::Fma => return Some(fma(num, bits)),
        Mf::QuantizeToF16 => Num::F16.float(Num::F16.pack_float(a)),
        _ if num == Num::F64 => transcendental_f64(fun, a, b)?,
        _ => f64::from(transcendental_f32(fun, a as f32, b as f32)?),
    };
    Some(num.pack_float(value))
}

/// The second operand only if it is less: what SSE's `minps` gives for NaN and signed zeros.
fn min(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

fn max(a: f64, b: f64) -> f64 {
    if a < b { b } else { a }
}

fn fma(num: Num, bits: [u64; 3]) -> u64 {
    let [a, b, c] = bits.map(|bits| num.float(bits));
    match num {
        Num::F32 => u64::from((a as f32).mul_add(b as f32, c as f32).to_bits()),
        // In one step of 32 bits, as machine code does it.
        Num::F16 => num.pack_float((a as f32).mul_add(b as f32, c as f32).into()),
        _ => num.pack_float(a.mul_add(b, c)),
    }
}

/// Functions without an exact definition, in 32 bits; the machine code calls this too.
pub(super) fn transcendental_f32(fun: Mf, a: f32, b: f32) -> Option<f32> {
    Some(match fun {
        Mf::Cos => a.cos(),
        Mf::Cosh => a.cosh(),
        Mf::Sin => a.sin(),
        Mf::Sinh => a.sinh(),
        Mf::Tan => a.tan(),
        Mf::Tanh => a.tanh(),
        Mf::Acos => a.acos(),
        Mf::Asin => a.asin(),
        Mf::Atan => a.atan(),
        Mf::Atan2 => a.atan2(b),
        Mf::Asinh => a.asinh(),
        Mf::Acosh => a.acosh(),
        Mf::Atanh => a.atanh(),
        Mf::Exp => a.exp(),
        Mf::Exp2 => a.exp2(),
        Mf::Log => a.ln(),
        Mf::Log2 => a.log2(),
        Mf::Pow => a.powf(b),
        _ => return None,
    })
}

fn transcendental_f64(fun: Mf, a: f64, b: f64) -> Option<f64> {
    Some(match fun {
        Mf::Cos => a.cos(),
        Mf::Cosh => a.cosh(),
        Mf::Sin => a.sin(),
        Mf::Sinh => a.sinh(),
        Mf::Tan => a.tan(),
        Mf::Tanh => a.tanh(),
        Mf::Acos => a.acos(),
        Mf::Asin => a.asin(),
        Mf::Atan => a.atan(),
        Mf::Atan2 => a.atan2(b),
        Mf::Asinh => a.asinh(),
        Mf::Acosh => a.acosh(),
        Mf::Atanh => a.atanh(),
        Mf::Exp => a.exp(),
        Mf::Exp2 => a.exp2(),
        Mf::Log => a.ln(),
        Mf::Log2 => a.log2(),
        Mf::Pow => a.powf(b),
        _ => return None,
    })
}

fn int_math(fun: Mf, num: Num, bits: [u64; 4]) -> Option<u64> {
    let [a, b, c, _] = bits.map(|bits| num.int(bits));
    let raw = num.cut(bits[0]);
    let wide = num.bits_wide();
    let value = match fun {
        Mf::Abs => a.abs(),
        Mf::Min => a.min(b),
        Mf::Max => a.max(b),
        // The definition, which also has an answer when the bounds are swapped.
        Mf::Clamp => a.max(b).min(c),
        Mf::Sign => a.signum(),
        Mf::CountOneBits => i128::from(raw.count_ones()),
        Mf::CountLeadingZeros => i128::from(raw.leading_zeros() + wide) - 64,
        Mf::CountTrailingZeros => i128::from(raw.trailing_zeros().min(wide)),
        Mf::ReverseBits => i128::from(raw.reverse_bits() >> (64 - wide)),
        Mf::FirstTrailingBit if raw == 0 => -1,
        Mf::FirstTrailingBit => i128::from(raw.trailing_zeros()),
        Mf::FirstLeadingBit => first_leading_bit(num, raw),
        Mf::ExtractBits => extract_bits(num, bits[0], bits[1], bits[2]),
        Mf::InsertBits => return Some(insert_bits(num, bits)),
        _ => return None,
    };
    Some(num.pack_int(value))
}

/// The highest bit that differs from the sign (from zero, for unsigned); -1 if there is none.
fn first_leading_bit(num: Num, raw: u64) -> i128 {
    let differing = if num.is_signed() && num.int(raw) < 0 { num.cut(!raw) } else { raw };
    63 - i128::from(differing.leading_zeros())
}

/// Offset and count cut to what the type has.
fn field(num: Num, offset: u64, count: u64) -> (u32, u32) {
    let wide = num.bits_wide();
    let offset = (offset as u32).min(wide);
    (offset, (count as u32).min(wide - offset))
}

fn extract_bits(num: Num, value: u64, offset: u64, count: u64) -> i128 {
    let (offset, count) = field(num, offset, count);
    if count == 0 {
        return 0;
    }
    let unused = 128 - count;
    let bits = (i128::from(num.cut(value)) >> offset) << unused;
    if num.is_signed() { bits >> unused } else { ((bits as u128) >> unused) as i128 }
}

fn insert_bits(num: Num, [value, new, offset, count]: [u64; 4]) -> u64 {
    let (offset, count) = field(num, offset, count);
    let mask = (((1u128 << count) - 1) << offset) as u64;
    num.cut((value & !mask) | (((u128::from(new) << offset) as u64) & mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integer_edges() {
        let i32_min = u64::from(i32::MIN as u32);
        let minus_one = u64::from(u32::MAX);
        assert_eq!(binary(Op::Divide, Num::I32, i32_min, minus_one), i32_min);
        assert_eq!(binary(Op::Modulo, Num::I32, i32_min, minus_one), 0);
        assert_eq!(binary(Op::Divide, Num::U32, 7, 0), 7);
        assert_eq!(binary(Op::ShiftLeft, Num::U32, 1, 33), 2);
        assert_eq!(binary(Op::ShiftRight, Num::I32, i32_min, 31), minus_one);
        assert_eq!(binary(Op::Multiply, Num::U64, u64::MAX, u64::MAX), 1);
    }

    #[test]
    fn bit_fields() {
        assert_eq!(math(Mf::ExtractBits, Num::I32, &[0xF0, 4, 4]), Some(0xFFFF_FFFF));
        assert_eq!(math(Mf::ExtractBits, Num::U32, &[0xF0, 4, 4]), Some(0xF));
        assert_eq!(math(Mf::ExtractBits, Num::U32, &[0xF0, 40, 4]), Some(0));
        assert_eq!(math(Mf::InsertBits, Num::U32, &[0, 0xFFFF_FFFF, 28, 9]), Some(0xF000_0000));
        assert_eq!(math(Mf::FirstLeadingBit, Num::I32, &[0xFFFF_FFFF]), Some(0xFFFF_FFFF));
        assert_eq!(math(Mf::CountLeadingZeros, Num::U32, &[1]), Some(31));
    }

    #[test]
    fn arithmetic_in_f64_rounds_like_f32() {
        let values = [0.1f32, 1.0 / 3.0, 1e-40, 3.4e38, 16_777_217.0, -7.25];
        for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
            let bits = |v: f32| u64::from(v.to_bits());
            assert_eq!(binary(Op::Multiply, Num::F32, bits(a), bits(b)), bits(a * b));
            assert_eq!(binary(Op::Divide, Num::F32, bits(a), bits(b)), bits(a / b));
            assert_eq!(binary(Op::Add, Num::F32, bits(a), bits(b)), bits(a + b));
        }
    }

    #[test]
    fn conversions_saturate() {
        let bits = |v: f32| u64::from(v.to_bits());
        assert_eq!(convert(Num::F32, Num::I32, bits(3e9)), 0x7FFF_FF80);
        assert_eq!(convert(Num::F32, Num::U32, bits(1e20)), 0xFFFF_FF00);
        assert_eq!(convert(Num::F64, Num::I32, 3e9f64.to_bits()), 0x7FFF_FFFF);
        assert_eq!(limits(Num::F16, Num::I16), (-32768, 32752));
        assert_eq!(limits(Num::F32, Num::U16), (0, 65535));
        assert_eq!(convert(Num::F32, Num::U32, bits(-1.0)), 0);
        assert_eq!(convert(Num::F32, Num::U32, bits(f32::NAN)), 0);
        assert_eq!(convert(Num::I32, Num::F32, 0xFFFF_FFFF), bits(-1.0));
    }
}
