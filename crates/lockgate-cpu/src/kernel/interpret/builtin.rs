//! WGSL's operators and functions on whole values: vectors, matrices, and what they return.
//!
//! Sums are added from the first component to the last, without fused steps; machine code does the same.

use naga::{BinaryOperator as Op, MathFunction as Mf, TypeInner};

use super::{
    super::{
        number::{self, Num},
        texel::TexelFormat,
    },
    eval::num_of,
    value::{Data, Fault},
};

type Operand<'a> = (&'a TypeInner, &'a Data);

/// `left op right`, for scalars, vectors and matrices.
pub(super) fn binary(op: Op, left: Operand<'_>, right: Operand<'_>) -> Result<Data, Fault> {
    let num = num_of(left.0)?;
    let (a, b) = (left.1, right.1);
    if op == Op::Multiply
        && let Some(product) = product(num, left, right)
    {
        return Ok(product);
    }
    let at = |data: &Data, i: usize| data[if data.len() == 1 { 0 } else { i }];
    Ok((0..a.len().max(b.len())).map(|i| number::binary(op, num, at(a, i), at(b, i))).collect())
}

/// Products that are not componentwise.
fn product(num: Num, left: Operand<'_>, right: Operand<'_>) -> Option<Data> {
    let shape = |inner: &TypeInner| match *inner {
        TypeInner::Matrix { columns, rows, .. } => Some((columns as usize, rows as usize)),
        _ => None,
    };
    let vector = |inner: &TypeInner| matches!(inner, TypeInner::Vector { .. });
    let (a, b) = (left.1, right.1);
    match (shape(left.0), shape(right.0)) {
        (Some((inner, rows)), Some((columns, _))) => {
            let cell = |column: usize, row: usize| {
                sum(num, (0..inner).map(|k| (a[k * rows + row], b[column * inner + k])))
            };
            Some((0..columns * rows).map(|i| cell(i / rows, i % rows)).collect())
        }
        (Some((columns, rows)), None) if vector(right.0) => {
            Some((0..rows).map(|row| sum(num, (0..columns).map(|k| (a[k * rows + row], b[k])))).collect())
        }
        (None, Some((columns, rows))) if vector(left.0) => Some(
            (0..columns).map(|column| sum(num, (0..rows).map(|k| (a[k], b[column * rows + k])))).collect(),
        ),
        _ => None,
    }
}

/// The sum of the products.
fn sum(num: Num, pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
    let products = pairs.map(|(a, b)| number::binary(Op::Multiply, num, a, b));
    products.reduce(|a, b| number::binary(Op::Add, num, a, b)).unwrap_or(0)
}

fn dot(num: Num, a: &Data, b: &Data) -> u64 {
    sum(num, a.iter().copied().zip(b.iter().copied()))
}

/// A built-in function.
pub(super) fn math(fun: Mf, arguments: &[(&TypeInner, Data)]) -> Result<Data, Fault> {
    let missing = || Fault::failed(format!("the function {fun:?} of these arguments"));
    let (inner, a) = arguments.first().ok_or_else(missing)?;
    let num = num_of(inner)?;
    let data = |i: usize| arguments.get(i).map(|(_, data)| data).ok_or_else(missing);
    if let Some(packed) = pack(fun, num, a) {
        return Ok(packed);
    }
    Ok(match fun {
        Mf::Dot => Data::from_slice(&[dot(num, a, data(1)?)]),
        Mf::Dot4I8Packed => Data::from_slice(&[dot_packed(Num::I32, a[0], data(1)?[0])]),
        Mf::Dot4U8Packed => Data::from_slice(&[dot_packed(Num::U32, a[0], data(1)?[0])]),
        Mf::Modf => modf(num, a),
        Mf::Frexp => frexp(num, a),
        Mf::Ldexp => a.iter().zip(data(1)?).map(|(a, e)| ldexp(num, *a, *e as i32)).collect(),
        Mf::Outer => {
            let b = data(1)?;
            b.iter().flat_map(|b| a.iter().map(move |a| number::binary(Op::Multiply, num, *a, *b))).collect()
        }
        Mf::Transpose => transpose(inner, a).ok_or_else(missing)?,
        Mf::Determinant => Data::from_slice(&[determinant(num, inner, a).ok_or_else(missing)?]),
        Mf::Cross
        | Mf::Length
        | Mf::Distance
        | Mf::Normalize
        | Mf::FaceForward
        | Mf::Reflect
        | Mf::Refract => return geometry(fun, num, arguments),
        _ => {
            let count = arguments.iter().map(|(_, data)| data.len()).max().unwrap_or(0);
            let component = |i: usize| {
                let of = |data: &Data| data[if data.len() == 1 { 0 } else { i }];
                let scalars: Data = arguments.iter().map(|(_, data)| of(data)).collect();
                number::math(fun, num, &scalars).ok_or_else(missing)
            };
            (0..count).map(component).collect::<Result<Data, _>>()?
        }
    })
}

fn geometry(fun: Mf, num: Num, arguments: &[(&TypeInner, Data)]) -> Result<Data, Fault> {
    let op = |op: Op, a: u64, b: u64| number::binary(op, num, a, b);
    let sqrt = |v: u64| number::math(Mf::Sqrt, num, &[v]).unwrap_or(v);
    let a = &arguments[0].1;
    let b = arguments.get(1).map_or(a, |(_, data)| data);
    let c = arguments.get(2).map_or(a, |(_, data)| data);
    let length = |v: &Data| match v.len() {
        1 => number::math(Mf::Abs, num, v).unwrap_or(v[0]),
        _ => sqrt(dot(num, v, v)),
    };
    let each = |f: &dyn Fn(usize) -> u64| (0..a.len()).map(f).collect::<Data>();
    let two = num.pack_float(2.0);
    Ok(match fun {
        Mf::Length => Data::from_slice(&[length(a)]),
        Mf::Distance => Data::from_slice(&[length(&each(&|i| op(Op::Subtract, a[i], b[i])))]),
        Mf::Normalize => {
            let length = length(a);
            each(&|i| op(Op::Divide, a[i], length))
        }
        Mf::Cross => each(&|i| {
            let (j, k) = ((i + 1) % 3, (i + 2) % 3);
            op(Op::Subtract, op(Op::Multiply, a[j], b[k]), op(Op::Multiply, a[k], b[j]))
        }),
        Mf::FaceForward => {
            let facing = num.float(dot(num, b, c)) < 0.0;
            each(&|i| if facing { a[i] } else { number::negate(num, a[i]) })
        }
        Mf::Reflect => {
            let scale = op(Op::Multiply, two, dot(num, b, a));
            each(&|i| op(Op::Subtract, a[i], op(Op::Multiply, scale, b[i])))
        }
        _ => {
            // Refract: `c` is the ratio of indices.
            let (one, eta, cosine) = (num.pack_float(1.0), c[0], dot(num, b, a));
            let sine = op(Op::Subtract, one, op(Op::Multiply, cosine, cosine));
            let k = op(Op::Subtract, one, op(Op::Multiply, op(Op::Multiply, eta, eta), sine));
            if num.float(k) < 0.0 {
                return Ok(each(&|_| 0));
            }
            let scale = op(Op::Add, op(Op::Multiply, eta, cosine), sqrt(k));
            each(&|i| op(Op::Subtract, op(Op::Multiply, eta, a[i]), op(Op::Multiply, scale, b[i])))
        }
    })
}

fn transpose(inner: &TypeInner, a: &Data) -> Option<Data> {
    let TypeInner::Matrix { columns, rows, .. } = *inner else { return None };
    let (columns, rows) = (columns as usize, rows as usize);
    Some((0..columns * rows).map(|i| a[(i % columns) * rows + i / columns]).collect())
}

/// By expansion along the first column.
fn determinant(num: Num, inner: &TypeInner, a: &Data) -> Option<u64> {
    let TypeInner::Matrix { columns, .. } = *inner else { return None };
    Some(expand(num, columns as usize, a))
}

fn expand(num: Num, size: usize, a: &[u64]) -> u64 {
    if size == 1 {
        return a[0];
    }
    let mut total = 0;
    for row in 0..size {
        let minor: Vec<u64> = (size..size * size).filter(|i| i % size != row).map(|i| a[i]).collect();
        let term = number::binary(Op::Multiply, num, a[row], expand(num, size - 1, &minor));
        total = match row {
            0 => term,
            _ if row % 2 == 1 => number::binary(Op::Subtract, num, total, term),
            _ => number::binary(Op::Add, num, total, term),
        };
    }
    total
}

/// All fractional parts, then all whole parts.
fn modf(num: Num, a: &Data) -> Data {
    let whole: Data = a.iter().map(|v| num.pack_float(num.float(*v).trunc())).collect();
    let mut result: Data =
        a.iter().zip(&whole).map(|(v, w)| number::binary(Op::Subtract, num, *v, *w)).collect();
    result.extend_from_slice(&whole);
    result
}

/// All fractions in 0.5 to 1, then all exponents.
fn frexp(num: Num, a: &Data) -> Data {
    let parts: Vec<(f64, i32)> = a.iter().map(|v| split_float(num.float(*v))).collect();
    let fractions = parts.iter().map(|(fraction, _)| num.pack_float(*fraction));
    let whole = num.exponent();
    fractions.chain(parts.iter().map(|(_, exponent)| whole.pack_int((*exponent).into()))).collect()
}

/// `value` as `fraction * 2^exponent`; zero, infinity and NaN keep exponent 0.
pub(in super::super) fn split_float(value: f64) -> (f64, i32) {
    if value == 0.0 || !value.is_finite() {
        return (value, 0);
    }
    let exponent = |v: f64| ((v.to_bits() >> 52) & 0x7FF) as i32 - 1022;
    let (scaled, shift) = if exponent(value) == -1022 { (value * 2f64.powi(64), 64) } else { (value, 0) };
    let bits = (scaled.to_bits() & !(0x7FF << 52)) | (1022 << 52);
    (f64::from_bits(bits), exponent(scaled) - shift)
}

/// `a * 2^exponent`, rounded once.
pub(in super::super) fn ldexp(num: Num, a: u64, exponent: i32) -> u64 {
    let exponent = exponent.clamp(-2200, 2200);
    // Each of three steps is a normal power of two; only the last can round for 16 and 32 bits.
    let step = exponent / 3;
    let value = num.float(a) * 2f64.powi(step) * 2f64.powi(step) * 2f64.powi(exponent - 2 * step);
    num.pack_float(value)
}

fn dot_packed(num: Num, a: u64, b: u64) -> u64 {
    let byte = |v: u64, i: u32| {
        let byte = (v >> (8 * i)) as u8;
        if num.is_signed() { i128::from(byte as i8) } else { i128::from(byte) }
    };
    num.pack_int((0..4).map(|i| byte(a, i) * byte(b, i)).sum())
}

/// Functions that pack and unpack; the normalized ones round as texels do, halves up.
fn pack(fun: Mf, num: Num, a: &Data) -> Option<Data> {
    let word = a.first().copied()? as u32;
    let floats = |scale: f32, low: f32, bits: u32| {
        let mut packed = 0u64;
        for (i, value) in a.iter().enumerate() {
            let value = f32::from_bits(*value as u32).max(low).min(1.0);
            let integer = (0.5 + scale * value).floor() as i32 as u64;
            packed |= (integer & (u64::MAX >> (64 - bits))) << (bits * i as u32);
        }
        Data::from_slice(&[packed])
    };
    let bytes = |clamp: Option<(i128, i128)>| {
        let byte = |v: u64| clamp.map_or(num.int(v), |(low, high)| num.int(v).clamp(low, high)) as u8;
        let bytes = a.iter().enumerate();
        Data::from_slice(&[bytes.map(|(i, v)| u64::from(byte(*v)) << (8 * i)).sum()])
    };
    let unpack = |bits: u32, f: &dyn Fn(u32) -> u32| -> Data {
        (0..32 / bits).map(|i| u64::from(f((word >> (bits * i)) & (u32::MAX >> (32 - bits))))).collect()
    };
    Some(match fun {
        Mf::Pack4x8snorm => floats(127.0, -1.0, 8),
        Mf::Pack4x8unorm => floats(255.0, 0.0, 8),
        Mf::Pack2x16snorm => floats(32767.0, -1.0, 16),
        Mf::Pack2x16unorm => floats(65535.0, 0.0, 16),
        Mf::Pack2x16float => {
            let half = |v: u64| TexelFormat::R16Float.encode([v as u32, 0, 0, 0]);
            let word = |v: u64| u64::from(u16::from_le_bytes([half(v)[0], half(v)[1]]));
            Data::from_slice(&[word(a[0]) | (word(a[1]) << 16)])
        }
        Mf::Pack4xI8 | Mf::Pack4xU8 => bytes(None),
        Mf::Pack4xI8Clamp => bytes(Some((-128, 127))),
        Mf::Pack4xU8Clamp => bytes(Some((0, 255))),
        Mf::Unpack4x8snorm => unpack(8, &|v| (f32::from(v as u8 as i8) * (1.0 / 127.0)).max(-1.0).to_bits()),
        Mf::Unpack4x8unorm => unpack(8, &|v| (v as f32 * (1.0 / 255.0)).to_bits()),
        Mf::Unpack2x16snorm => {
            unpack(16, &|v| (f32::from(v as u16 as i16) * (1.0 / 32767.0)).max(-1.0).to_bits())
        }
        Mf::Unpack2x16unorm => unpack(16, &|v| (v as f32 * (1.0 / 65535.0)).to_bits()),
        Mf::Unpack2x16float => unpack(16, &|v| TexelFormat::R16Float.decode(&v.to_le_bytes())[0]),
        Mf::Unpack4xI8 => unpack(8, &|v| v as u8 as i8 as u32),
        Mf::Unpack4xU8 => unpack(8, &|v| v),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_values_unpack_to_one() {
        let of = |fun, word: u64| pack(fun, Num::U32, &Data::from_slice(&[word])).unwrap_or_default();
        let one = u64::from(1f32.to_bits());
        assert_eq!(of(Mf::Unpack4x8unorm, 0xFF), Data::from_slice(&[one, 0, 0, 0]));
        assert_eq!(of(Mf::Unpack4x8snorm, 0x7F)[0], one);
        assert_eq!(of(Mf::Unpack2x16unorm, 0xFFFF)[0], one);
        assert_eq!(of(Mf::Unpack2x16snorm, 0x7FFF)[0], one);
    }

    #[test]
    fn unpacking_by_multiplication_is_within_one_step() {
        for v in 0..=255u64 {
            let got = pack(Mf::Unpack4x8unorm, Num::U32, &Data::from_slice(&[v])).unwrap_or_default()[0];
            let wanted = u64::from((v as f32 / 255.0).to_bits());
            assert!(got.abs_diff(wanted) <= 1, "{v}");
        }
    }

    #[test]
    fn floats_split_and_join() {
        for value in [1.0f64, -0.375, 1e-310, 3.5e300, 6.0] {
            let (fraction, exponent) = split_float(value);
            assert!((0.5..1.0).contains(&fraction.abs()), "{value}");
            assert_eq!(ldexp(Num::F64, fraction.to_bits(), exponent), value.to_bits());
        }
    }
}
