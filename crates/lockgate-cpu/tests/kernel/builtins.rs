//! Every operator and built-in function over edge values, on every engine.

use crate::harness::{Accuracy, Case, u32s};

const FLOATS: [f32; 24] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    0.1,
    3.7,
    -3.7,
    255.0,
    1e-3,
    1e10,
    -1e10,
    1e-40,
    3.4e38,
    2147483648.0,
    -2147483648.0,
    4294967296.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

const WORDS: [u32; 16] = [
    0,
    1,
    2,
    3,
    5,
    31,
    32,
    33,
    255,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1234_5678,
    0xF0F0_F0F0,
    0x80FF_017F,
    0xFFFF_FFFE,
];

/// Evaluates expressions of `a`, `b` and `c` of type `ty` for all pairs of inputs, and gives the words of each.
fn evaluate(ty: &str, inputs: &[u32], expressions: &[&str]) -> Vec<Vec<u32>> {
    let mut pairs: Vec<(u32, u32)> =
        inputs.iter().flat_map(|a| inputs.iter().map(move |b| (*a, *b))).collect();
    pairs.resize(pairs.len().next_multiple_of(8), (0, 0));
    let count = pairs.len();
    let mut statements = String::new();
    for (i, expression) in expressions.iter().enumerate() {
        statements.push_str(&format!("    result[{}u + id.x] = bitcast<u32>({expression});\n", i * count));
    }
    let source = format!(
        "@group(0) @binding(0) var<storage, read> inputs: array<vec2<u32>>;
        @group(0) @binding(1) var<storage, read_write> result: array<u32>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let a = bitcast<{ty}>(inputs[id.x].x);
            let b = bitcast<{ty}>(inputs[id.x].y);
            let c = bitcast<{ty}>(inputs[(id.x * 7u + 3u) % {count}u].x);
        {statements}}}"
    );
    let input = u32s(pairs.iter().flat_map(|(a, b)| [*a, *b]));
    let output = vec![0; 4 * count * expressions.len()];
    let accuracy = Accuracy::Expressions { ty, expressions };
    let got = Case { accuracy, ..Case::new(&source, [count as u32 / 8, 1, 1], vec![input, output]) }.run();
    crate::harness::to_u32s(&got[1]).chunks(count).map(<[u32]>::to_vec).collect()
}

fn float_bits() -> Vec<u32> {
    FLOATS.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn float_operators() {
    let got = evaluate(
        "f32",
        &float_bits(),
        &[
            "a + b",
            "a - b",
            "a * b",
            "a / b",
            "a % b",
            "-a",
            "u32(a < b)",
            "u32(a <= b)",
            "u32(a == b)",
            "u32(a != b)",
            "u32(a > b)",
            "u32(a >= b)",
            "select(a, b, a < c)",
            "i32(a)",
            "u32(a)",
            "u32(bool(a))",
        ],
    );
    for (i, (a, b)) in FLOATS.iter().flat_map(|a| FLOATS.iter().map(move |b| (*a, *b))).enumerate() {
        let same = |got: u32, expected: f32| {
            let got = f32::from_bits(got);
            assert!(got == expected || (got.is_nan() && expected.is_nan()), "{a} {b}: {got}, not {expected}");
        };
        same(got[0][i], a + b);
        same(got[3][i], a / b);
        assert_eq!(got[6][i], u32::from(a < b));
        // WGSL takes the highest integer that is a float, too.
        assert_eq!(got[13][i], (a as i32).min(0x7FFF_FF80) as u32);
        assert_eq!(got[14][i], (a as u32).min(0xFFFF_FF00));
    }
}

#[test]
fn float_functions() {
    evaluate(
        "f32",
        &float_bits(),
        &[
            "abs(a)",
            "min(a, b)",
            "max(a, b)",
            "clamp(a, b, c)",
            "saturate(a)",
            "ceil(a)",
            "floor(a)",
            "round(a)",
            "trunc(a)",
            "fract(a)",
            "sqrt(a)",
            "inverseSqrt(a)",
            "sign(a)",
            "radians(a)",
            "degrees(a)",
            "step(a, b)",
            "mix(a, b, c)",
            "smoothstep(a, b, c)",
            "fma(a, b, c)",
            "quantizeToF16(a)",
            "length(vec2(a, b))",
            "distance(vec3(a, b, c), vec3(b, c, a))",
            "modf(a).fract",
            "modf(a).whole",
            "frexp(a).fract",
            "frexp(a).exp",
            "ldexp(a, i32(clamp(b, -200.0, 200.0)))",
        ],
    );
    evaluate(
        "f32",
        &float_bits(),
        &[
            "cos(a)",
            "cosh(a)",
            "sin(a)",
            "sinh(a)",
            "tan(a)",
            "tanh(a)",
            "acos(a)",
            "asin(a)",
            "atan(a)",
            "atan2(a, b)",
            "asinh(a)",
            "acosh(a)",
            "atanh(a)",
            "exp(a)",
            "exp2(a)",
            "log(a)",
            "log2(a)",
            "pow(a, b)",
        ],
    );
}

#[test]
fn vector_functions() {
    evaluate(
        "f32",
        &float_bits(),
        &[
            "dot(vec3(a, b, c), vec3(c, a, b))",
            "cross(vec3(a, b, c), vec3(c, b, a)).y",
            "normalize(vec3(a, b, c)).x",
            "faceForward(vec2(a, b), vec2(b, c), vec2(c, a)).x",
            "reflect(vec2(a, b), vec2(b, c)).y",
            "refract(vec2(a, b), vec2(b, c), c).x",
            "(mat2x3(a, b, c, c, b, a) * vec2(a, b)).z",
            "(vec3(a, b, c) * mat2x3(a, b, c, c, b, a)).y",
            "(mat3x2(a, b, c, a, b, c) * mat2x3(c, b, a, a, b, c))[1].x",
            "determinant(mat3x3(a, b, c, b, c, a, c, b, a))",
            "determinant(mat4x4(a, b, c, a, b, c, a, c, c, b, a, b, a, a, b, c))",
            "transpose(mat2x3(a, b, c, c, a, b))[1].y",
            "f32(all(vec2(a, b) < vec2(b, c)))",
            "f32(any(vec2(a, b) < vec2(b, c)))",
            "select(vec2(a, b), vec2(b, c), vec2(a < b, b < c)).y",
            "(mat2x2(a, b, c, a) + mat2x2(b, c, a, b))[1].x",
            "(mat2x2(a, b, c, a) * b)[0].y",
            "vec4(a, b, c, a).wzyx.y",
        ],
    );
}

#[test]
fn integer_operators_and_functions() {
    let common = [
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "a % b",
        "a & b",
        "a | b",
        "a ^ b",
        "~a",
        "a << (u32(b) & 31u)",
        "a >> (u32(b) & 31u)",
        "u32(a < b)",
        "u32(a >= b)",
        "u32(a == b)",
        "min(a, b)",
        "max(a, b)",
        "clamp(a, b, c)",
        "countOneBits(a)",
        "countLeadingZeros(a)",
        "countTrailingZeros(a)",
        "reverseBits(a)",
        "firstLeadingBit(a)",
        "firstTrailingBit(a)",
        "extractBits(a, u32(b) & 63u, u32(c) & 63u)",
        "insertBits(a, b, u32(b) & 63u, u32(c) & 63u)",
        "f32(a)",
        "u32(bool(a))",
        "abs(a)",
        "a / 8",
        "a % 8",
        "a / 7",
        "dot(vec2(a, b), vec2(b, c))",
    ];
    let unsigned = evaluate("u32", &WORDS, &common);
    let signed = evaluate("i32", &WORDS, &common);
    evaluate("i32", &WORDS, &["-a", "sign(a)"]);
    for (i, (a, b)) in WORDS.iter().flat_map(|a| WORDS.iter().map(move |b| (*a, *b))).enumerate() {
        assert_eq!(unsigned[3][i], a.checked_div(b).unwrap_or(a));
        assert_eq!(unsigned[4][i], a.checked_rem(b).unwrap_or(0));
        let (a, b) = (a as i32, b as i32);
        assert_eq!(signed[3][i], a.checked_div(b).unwrap_or(a) as u32, "{a} / {b}");
        assert_eq!(signed[4][i], a.checked_rem(b).unwrap_or(0) as u32, "{a} % {b}");
        assert_eq!(signed[10][i], (a >> (b & 31)) as u32);
    }
}

#[test]
fn packing_functions() {
    evaluate(
        "f32",
        &float_bits(),
        &[
            "pack4x8snorm(vec4(a, b, c, a))",
            "pack4x8unorm(vec4(a, b, c, a))",
            "pack2x16snorm(vec2(a, b))",
            "pack2x16unorm(vec2(a, b))",
            "pack2x16float(vec2(a, b))",
        ],
    );
    evaluate(
        "u32",
        &WORDS,
        &[
            "unpack4x8snorm(a).y",
            "unpack4x8unorm(a).z",
            "unpack2x16snorm(a).y",
            "unpack2x16unorm(a).x",
            "unpack2x16float(a).y",
            "unpack4xI8(a).w",
            "unpack4xU8(a).x",
            "pack4xI8(vec4<i32>(vec4(a, b, c, a)))",
            "pack4xU8(vec4(a, b, c, a))",
            "pack4xI8Clamp(vec4<i32>(vec4(a, b, c, a)))",
            "pack4xU8Clamp(vec4(a, b, c, a))",
            "dot4I8Packed(a, b)",
            "dot4U8Packed(a, b)",
        ],
    );
}
