//! How far results of devices may be apart: the accuracy that WGSL asks for, named.
//!
//! Devices may take it that there are no infinities and no NaNs, may flush subnormal numbers to zero, may ignore the sign of
//! zero, and may fuse or reorder; where the inputs, the expected result or what lies between is one of those, nothing is
//! compared.

use crate::case::{Accuracy, Case, to_u32s};
use crate::generated::generate;

/// A unit in the last place of one.
const ULP: f32 = f32::EPSILON;
/// Sines and cosines, within plus and minus pi.
const TRIGONOMETRY: f32 = 1.0 / 2048.0;
/// Logarithms from one half to two.
const LOGARITHM: f32 = 1.0 / 2_097_152.0;
/// Arc sines and cosines.
const ARC: f32 = 6.81e-5;
/// Arc tangents, in units in the last place.
const ARC_TANGENT_ULPS: f32 = 4096.0;
/// Of a half float: the greatest, the least that is not subnormal, and its unit in the last place. Conversions round either way.
const HALF_MAX: f32 = 65504.0;
const HALF_MIN: f32 = 1.0 / 16384.0;
const HALF_ULP: f32 = 1.0 / 1024.0;
/// Half floats of functions of [`TRANSCENDENTAL`], relative to results of one and more; (1 + 2 * 11) units for `exp`.
const HALF_FUNCTIONS: f32 = 1.0 / 32.0;
const HALF_LARGE: f32 = 16384.0;
const TRANSCENDENTAL: &[&str] = &[
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cos", "cosh", "exp", "exp2", "log", "log2",
    "pow", "sin", "sinh", "tan", "tanh",
];
/// Products and sums of a few terms, in units in the last place of the largest term, each of which is rounded.
const TERMS_ULPS: f32 = 16.0;

/// What differs by more than it may.
pub(crate) fn differences(case: &Case<'_>, got: &[Vec<u8>], expected: &[Vec<u8>]) -> Vec<String> {
    let mut differences = Vec::new();
    let all = expected;
    for (buffer, (got, expected)) in got.iter().zip(all).enumerate() {
        let (got, expected) = (to_u32s(got), to_u32s(expected));
        for (index, (got, expected)) in got.into_iter().zip(expected).enumerate() {
            let of = Of::word(case, all, buffer, index);
            if got == expected || is_allowed(case, &of, buffer, got, expected) {
                continue;
            }
            let (g, e) = (f32::from_bits(got), f32::from_bits(expected));
            differences.push(format!(
                "buffer {buffer}, word {index}{of}: {got:#x} ({g:e}), not {expected:#x} ({e:e})"
            ));
        }
    }
    differences
}

/// The expression and the inputs behind a word, if that is known.
struct Of<'a>(Option<(&'a str, &'a str, [u32; 3])>);

impl std::fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(("f32", expression, inputs)) => {
                write!(f, ", {expression} of {:?}", inputs.map(f32::from_bits))
            }
            Some((ty, expression, inputs)) => write!(f, ", {expression} of {ty} {inputs:x?}"),
            None => Ok(()),
        }
    }
}

impl<'a> Of<'a> {
    fn word(case: &Case<'a>, all: &[Vec<u8>], buffer: usize, index: usize) -> Of<'a> {
        if buffer + 1 != case.buffers.len() {
            return Of(None);
        }
        let word = |bytes: &[u8], at: usize| to_u32s(&bytes[4 * at..4 * at + 4])[0];
        Of(match case.accuracy {
            Accuracy::Expressions { ty, expressions } => {
                let inputs = |at: usize| word(&case.buffers[0], at);
                let count = case.buffers[0].len() / 8;
                let (part, row) = (index / count, index % count);
                let abc = [inputs(2 * row), inputs(2 * row + 1), inputs(2 * ((row * 7 + 3) % count))];
                Some((ty, expressions[part], abc))
            }
            Accuracy::Calls { ty, functions, .. } => {
                let given = [0, 1, 2].map(|at| word(&all[buffer - 1], 4 * index + at));
                let half = |bits| u32::from(half::f16::from_f32(f32::from_bits(bits)).to_bits());
                let given = if ty == "f16" { given.map(half) } else { given };
                functions.get(index % generate::CALLS).map(|function| (ty, *function, given))
            }
            _ => None,
        })
    }
}

fn is_allowed(case: &Case<'_>, of: &Of<'_>, buffer: usize, got: u32, expected: u32) -> bool {
    let (value, exact) = (f32::from_bits(got), f32::from_bits(expected));
    let is_zero = value == 0.0 && exact == 0.0;
    match case.accuracy {
        Accuracy::Exact => false,
        Accuracy::Zeros(floats) => buffer == floats && is_zero,
        Accuracy::Relative(part) => (value - exact).abs() <= part * exact.abs().max(1.0),
        Accuracy::Halves(part) => halves(got)
            .into_iter()
            .zip(halves(expected))
            .all(|(value, exact)| (value - exact).abs() <= part * exact.abs().max(1.0)),
        Accuracy::Calls { zeros, .. } if buffer + 1 < case.buffers.len() => {
            is_zero && (buffer == zeros || buffer + 2 == case.buffers.len())
        }
        Accuracy::Calls { .. } | Accuracy::Expressions { .. } => of.is_close(got, expected),
    }
}

impl Of<'_> {
    /// Whether a value of the expression is as close to another as WGSL asks for.
    fn is_close(&self, got: u32, expected: u32) -> bool {
        let (value, exact) = (f32::from_bits(got), f32::from_bits(expected));
        match self.0 {
            Some(("f32", expression, inputs)) => {
                is_close(expression, inputs.map(f32::from_bits), got, expected)
            }
            Some(("f16", expression, inputs)) => half_is_close(expression, inputs, value, exact),
            Some(("f64", _, _)) if (value - exact).abs() <= ULP * exact.abs() => true,
            Some(("f64", "a % b", [_, b, _])) => {
                (value - exact).abs() <= (b as i32 as f32 * 0.37).abs() * (1.0 + ULP)
            }
            Some((_, expression, _)) if expression.starts_with("unpack") => {
                exact.is_nan() || (value - exact).abs() <= 4.0 * ULP
            }
            _ => false,
        }
    }
}

/// The half floats of a word.
fn halves(word: u32) -> [f32; 2] {
    [word as u16, (word >> 16) as u16].map(|bits| half::f16::from_bits(bits).to_f32())
}

/// Whether a float that no device may take for something else.
fn is_plain(value: f32) -> bool {
    value == 0.0 || value.is_normal()
}

fn is_close(expression: &str, [a, b, c]: [f32; 3], got: u32, expected: u32) -> bool {
    let name = expression.split(['(', ' ']).next().unwrap_or_default();
    if ![a, b, c].into_iter().all(is_plain) {
        return true;
    }
    if name == "pack2x16float" && [a, b].into_iter().any(|half| half.abs() > HALF_MAX) {
        return true;
    }
    if name.starts_with("pack") {
        return packed_is_close(name, got, expected);
    }
    let (value, exact) = (f32::from_bits(got), f32::from_bits(expected));
    if name == "quantizeToF16" {
        return a.abs() > HALF_MAX || (value - exact).abs() <= HALF_ULP * exact.abs().max(HALF_MIN);
    }
    if ["u32", "i32"].contains(&name) || expression.ends_with(".exp") {
        return false;
    }
    if !exact.is_finite() {
        return true;
    }
    match allowed(expression, name, [a, b, c], exact) {
        Some(error) => (value - exact).abs() <= error.max(f32::MIN_POSITIVE),
        None => true,
    }
}

/// The same for half floats: what WGSL bounds by operations is taken at its worst, for results up to [`HALF_LARGE`].
fn half_is_close(expression: &str, inputs: [u32; 3], value: f32, exact: f32) -> bool {
    let [a, b, c] = inputs.map(|bits| half::f16::from_bits(bits as u16).to_f32());
    let is_plain = |half: f32| half == 0.0 || (half.is_finite() && half.abs() >= HALF_MIN);
    if ![a, b, c].into_iter().all(is_plain) || exact.is_nan() || exact.abs() > HALF_LARGE {
        return true;
    }
    let name = expression.split(['(', ' ']).next().unwrap_or_default();
    let is_open = match name {
        "sin" | "cos" | "tan" => a.abs() > std::f32::consts::PI,
        "asinh" | "acosh" => a.abs() > 16.0,
        "atan2" => a == 0.0 || b == 0.0,
        "pow" => a <= 0.0 || (b * a.log2()).abs() > 4.0,
        // The quotient is no integer of half precision any more.
        "a" if expression.starts_with("a % b") => (a / b).abs() >= 2048.0,
        _ => false,
    };
    if is_open {
        return true;
    }
    let error = match name {
        "a" if expression.starts_with("a / b") => 2.5 * HALF_ULP * exact.abs(),
        "a" if expression.starts_with("a % b") => 2.5 * HALF_ULP * a.abs() + b.abs(),
        // What becomes 32 bits again is not rounded to 16 bits by all drivers.
        "f16" if expression.contains("(f32(") || expression.contains("(f64(") => HALF_ULP * exact.abs(),
        _ if TRANSCENDENTAL.contains(&name) => HALF_FUNCTIONS * exact.abs().max(1.0),
        "fma" | "mix" | "dot" | "smoothstep" | "length" | "distance" | "normalize" | "sqrt"
        | "inverseSqrt" | "cross" | "radians" | "degrees" | "reflect" | "refract" | "faceForward"
        | "determinant" | "" => {
            let largest = [a, b, c].into_iter().fold(1.0, |most: f32, half| most.max(half.abs()));
            let term =
                largest.powi(if ["reflect", "refract", "determinant"].contains(&name) { 4 } else { 2 });
            if term > HALF_LARGE {
                return true;
            }
            TERMS_ULPS * HALF_ULP * term.max(exact.abs())
        }
        _ => 0.0,
    };
    (value - exact).abs() <= error.max(HALF_MIN)
}

/// Normalized numbers may be rounded either way where they lie halfway.
fn packed_is_close(name: &str, got: u32, expected: u32) -> bool {
    let bits = if name.starts_with("pack4x8") { 8 } else { 16 };
    let part = |word: u32, at: u32| i64::from((word >> (at * bits)) & ((1 << bits) - 1));
    (0..32 / bits).all(|at| (part(got, at) - part(expected, at)).abs() <= 1)
}

/// The most that a result may be off; none where WGSL gives no bound.
fn allowed(expression: &str, name: &str, [a, b, c]: [f32; 3], exact: f32) -> Option<f32> {
    let ulps = |count: f32| count * ULP * exact.abs();
    let largest = a.abs().max(b.abs()).max(c.abs());
    let terms = |degree: i32| {
        Some(TERMS_ULPS * ULP * largest.max(1.0).powi(degree))
            .filter(|most| most.is_finite() && largest.max(1.0).powi(degree) < f32::MAX / 16.0)
    };
    let exponential = |x: f32| (3.0 + 2.0 * x.abs()) * ULP;
    let within = |condition: bool, error: f32| condition.then_some(error);
    match name {
        "a" if expression.starts_with("a / b") => within(is_plain(1.0 / b), ulps(2.5)),
        // The quotient may round up to the next integer.
        "a" if expression.starts_with("a % b") => {
            within((a / b).abs() < 16_777_216.0, 2.5 * ULP * a.abs() + b.abs())
        }
        "sqrt" | "inverseSqrt" => Some(ulps(3.0)),
        "sin" | "cos" => within(a.abs() <= std::f32::consts::PI, TRIGONOMETRY),
        "tan" => within(a.abs() <= 1.0, 4.0 * TRIGONOMETRY * (1.0 + exact.abs())),
        "asin" | "acos" => within(a.abs() <= 1.0, ARC.max(ulps(ARC_TANGENT_ULPS))),
        "atan" => Some(ulps(ARC_TANGENT_ULPS)),
        "atan2" => within(a != 0.0 && b != 0.0 && is_plain(a / b), ulps(ARC_TANGENT_ULPS)),
        "exp" | "exp2" => Some(exponential(a) * exact.abs()),
        "log" | "log2" if a > 0.0 => Some(if (0.5..=2.0).contains(&a) { LOGARITHM } else { ulps(3.0) }),
        "log" | "log2" => None,
        "sinh" | "cosh" => within(a.abs() < 80.0, exponential(a) * a.cosh()),
        "tanh" => within(a.abs() < 80.0, 2.0 * exponential(a)),
        "asinh" | "acosh" => within(a.abs() < 16.0, 64.0 * LOGARITHM),
        "atanh" => within(a.abs() < 0.75, 4.0 * LOGARITHM),
        "pow" => {
            let power = b * a.log2();
            within(
                a > 0.0 && is_plain(power) && power.abs() < 126.0,
                (exponential(power) + b.abs() * LOGARITHM.max(3.0 * ULP * a.log2().abs())) * exact.abs(),
            )
        }
        "mix" | "fma" | "dot" | "smoothstep" | "cross" | "length" | "distance" => terms(2),
        "reflect" => terms(3),
        "refract" => terms(4),
        "normalize" => within(largest < 1e15 && largest > 1e-15, TERMS_ULPS * ULP),
        "determinant" => terms(if expression.contains("mat4x4") { 4 } else { 3 }),
        // Its sign is that of a sum of products.
        "faceForward" => terms(2).map(|_| 0.0),
        "radians" | "degrees" => Some(ulps(2.0)),
        "" => terms(2),
        _ => Some(0.0),
    }
}
