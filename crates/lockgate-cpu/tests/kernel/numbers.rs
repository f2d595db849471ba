//! Numbers of 16 and 64 bits: every operation over edge values, on every engine.

use crate::harness::{Accuracy, Case, to_u32s, u32s};

const HALVES: [u16; 24] = [
    0x0000, 0x8000, 0x3C00, 0xBC00, 0x0001, 0x8001, 0x03FF, 0x0400, 0x0401, 0x1400, 0x2E66, 0x3555, 0x3800,
    0x3E00, 0x4248, 0xC4D2, 0x6400, 0x6BFF, 0x7800, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00,
];

/// Evaluates expressions of `a`, `b` and `c` for all pairs of inputs, and gives the words of each; `into` makes one of a
/// result.
fn evaluate(
    head: &str,
    load: fn(&str) -> String,
    into: fn(&str) -> String,
    (ty, inputs): (&str, &[u32]),
    expressions: &[&str],
) -> Vec<Vec<u32>> {
    let pairs: Vec<(u32, u32)> = inputs.iter().flat_map(|a| inputs.iter().map(move |b| (*a, *b))).collect();
    let count = pairs.len().next_multiple_of(8);
    let mut statements = String::new();
    for (i, expression) in expressions.iter().enumerate() {
        statements.push_str(&format!("result[{}u + id.x] = {};\n", i * count, into(expression)));
    }
    let (a, b) = (load("inputs[id.x].x"), load("inputs[id.x].y"));
    let c = load(&format!("inputs[(id.x * 7u + 3u) % {}u].x", pairs.len()));
    let source = format!(
        "{head}
        @group(0) @binding(0) var<storage, read> inputs: array<vec2<u32>>;
        @group(0) @binding(1) var<storage, read_write> result: array<u32>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let a = {a}; let b = {b}; let c = {c};
            {statements} }}"
    );
    let mut input = u32s(pairs.iter().flat_map(|(a, b)| [*a, *b]));
    input.resize(8 * count, 0);
    let output = vec![0; 4 * count * expressions.len()];
    let accuracy = Accuracy::Expressions { ty, expressions };
    let got = Case { accuracy, ..Case::new(&source, [count as u32 / 8, 1, 1], vec![input, output]) }.run();
    to_u32s(&got[1]).chunks(count).map(<[u32]>::to_vec).collect()
}

fn halves(expressions: &[&str]) -> Vec<Vec<u32>> {
    let inputs = HALVES.map(u32::from);
    evaluate(
        "enable f16;",
        |word| format!("f16(unpack2x16float({word}).x)"),
        |value| format!("bitcast<u32>(f32({value}))"),
        ("f16", &inputs),
        expressions,
    )
}

/// The half float closest to a result of 64 bits, as an `f32`. Rounding to 32 bits before changes nothing, and
/// `f16::from_f64` does not look at the lowest bits.
fn half(value: f64) -> f32 {
    half::f16::from_f32(value as f32).to_f32()
}

#[test]
fn half_floats_round_after_each_operation() {
    let got = halves(&["a + b", "a - b", "a * b", "a / b", "sqrt(abs(a))", "-a", "fma(a, b, c)"]);
    let value = |bits: u16| half::f16::from_bits(bits).to_f64();
    let pairs = HALVES.iter().flat_map(|a| HALVES.iter().map(move |b| (value(*a), value(*b))));
    for (i, (a, b)) in pairs.enumerate() {
        let expected = [half(a + b), half(a - b), half(a * b), half(a / b), half(a.abs().sqrt())];
        for (k, expected) in expected.into_iter().enumerate() {
            let got = f32::from_bits(got[k][i]);
            assert!(
                got == expected || (got.is_nan() && expected.is_nan()),
                "{k}: {a} {b}: {got}, not {expected}"
            );
        }
    }
}

#[test]
fn functions_of_half_floats() {
    halves(&[
        "a % b",
        "select(a, b, a < c)",
        "f16(a <= b)",
        "f16(a == b)",
        "f16(a != b)",
        "f16(a >= b)",
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
        "inverseSqrt(a)",
        "sign(a)",
        "radians(a)",
        "degrees(a)",
        "step(a, b)",
        "mix(a, b, c)",
        "smoothstep(a, b, c)",
        "modf(a).fract",
        "modf(a).whole",
        "ldexp(a, i32(clamp(b, -20.0h, 20.0h)))",
        "f16(i32(a))",
        "f16(u32(b))",
        "f16(bool(a))",
        "f16(i64(a))",
        "f16(i32(a) * 33)",
    ]);
    halves(&["f16(f64(a) * 1.0001lf)", "f16(f32(a) * 1.3)"]);
    halves(&["frexp(a).fract", "f16(frexp(a).exp)"]);
    halves(&[
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
    ]);
    halves(&[
        "dot(vec3(a, b, c), vec3(c, a, b))",
        "cross(vec3(a, b, c), vec3(c, b, a)).y",
        "length(vec2(a, b))",
        "distance(vec3(a, b, c), vec3(b, c, a))",
        "normalize(vec3(a, b, c)).x",
        "faceForward(vec2(a, b), vec2(b, c), vec2(c, a)).x",
        "reflect(vec2(a, b), vec2(b, c)).y",
        "refract(vec2(a, b), vec2(b, c), c).x",
        "(mat2x3(a, b, c, c, b, a) * vec2(a, b)).z",
        "(mat3x2(a, b, c, a, b, c) * mat2x3(c, b, a, a, b, c))[1].x",
        "determinant(mat3x3(a, b, c, b, c, a, c, b, a))",
        "transpose(mat2x3(a, b, c, c, a, b))[1].y",
        "f16(all(vec2(a, b) < vec2(b, c)))",
        "vec4(a, b, c, a).wzyx.y",
        "vec4<f16>(vec4(f32(a), f32(b), 1.0, 2.0)).y",
    ]);
}

#[test]
fn half_floats_in_memory() {
    let source = "
        enable f16;
        struct Item { a: f16, b: vec3<f16>, c: mat2x2<f16>, d: f32, e: array<f16, 3> }
        @group(0) @binding(0) var<storage, read_write> items: array<Item>;
        @group(0) @binding(1) var<storage, read> xs: array<f16>;
        @group(0) @binding(2) var<storage, read_write> ys: array<f16>;
        @group(0) @binding(3) var<storage, read_write> vs: array<vec4<f16>>;
        var<workgroup> shared_halves: array<f16, 8>;
        var<private> own: array<f16, 5>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>,
            @builtin(local_invocation_index) l: u32) {
            let i = id.x;
            var item = items[i];
            item.b = item.b * item.a + vec3<f16>(xs[i]);
            item.c = item.c * 2.0h;
            item.d += f32(item.e[i % 3u]);
            items[i] = item;
            items[i].e[2] = f16(i);
            shared_halves[l] = xs[i * 3u];
            own[i % 5u] = xs[i + 1u];
            workgroupBarrier();
            ys[i] = shared_halves[7u - l] + own[l % 5u];
            if (i % 3u == 1u) { ys[i] = -xs[i]; own[1] += 1.0h; ys[40u - i] = own[1]; }
            vs[i] = vec4<f16>(xs[i], xs[i * 2u], own[0], 1.5h) * vs[i];
        }";
    let word = |i: u32| i.wrapping_mul(2_654_435_761) & 0x3FFF_3FFF;
    let words = |count: u32| u32s((0..count).map(word));
    let buffers = vec![words(10 * 16), words(24), words(21), words(32)];
    Case::new(source, [2, 1, 1], buffers).run();
}

const LONGS: [u32; 14] = [
    0,
    1,
    2,
    3,
    31,
    63,
    64,
    255,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    0x1234_5678,
    0xF0F0_F0F0,
    0xFFFF_FFFE,
];

fn longs(ty: &str, expressions: &[&str]) {
    let load = match ty {
        "i64" => |word: &str| format!("((i64(i32({word})) << 33u) ^ (i64(i32({word})) * 5li))"),
        "u64" => |word: &str| format!("((u64({word}) << 33u) ^ (u64({word}) * 5lu))"),
        _ => |word: &str| format!("(f64(i32({word})) * 0.37lf)"),
    };
    let into = match ty {
        "i64" | "u64" => |value: &str| format!("u32({value}) ^ (u32(({value}) >> 32u) * 3u)"),
        _ => |value: &str| format!("bitcast<u32>(f32({value}))"),
    };
    evaluate("", load, into, (ty, &LONGS), expressions);
}

#[test]
fn integers_of_64_bits() {
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
        "a << (u32(b) & 63u)",
        "a >> (u32(b) & 63u)",
        "min(a, b)",
        "max(a, b)",
        "clamp(a, b, c)",
        "abs(a)",
        "select(a, b, a < b)",
        "select(a, b, a >= c)",
        "select(a, b, a == c)",
        "dot(vec2(a, b), vec2(b, c))",
    ];
    longs("u64", &common);
    longs("i64", &common);
    longs("u64", &["countOneBits(a)", "countLeadingZeros(b)", "firstTrailingBit(a)", "reverseBits(a)"]);
    longs("i64", &["firstLeadingBit(a)", "countTrailingZeros(b)"]);
    let fields =
        ["extractBits(a, u32(b) & 127u, u32(c) & 127u)", "insertBits(a, b, u32(b) & 127u, u32(c) & 127u)"];
    longs("u64", &fields);
    longs("i64", &fields);
    longs("i64", &["-a", "sign(a)", "i64(f32(a))", "i64(f64(a) / 3.0lf)", "i64(bool(a))"]);
    longs("i64", &["i64(u32(a))"]);
    longs("u64", &["u64(f32(a))", "u64(f64(a) * 2.0lf)", "u64(i64(a))"]);
    longs("u64", &["u64(i32(a))"]);
    longs("i64", &["vec3<i64>(vec3(u32(a), u32(b), u32(c))).y"]);
    longs("u64", &["vec2<u64>(vec2(i32(a), i32(b))).y"]);
}

/// Conversions extend by the sign of what they are given, wherever they stand.
#[test]
fn integers_that_grow_and_change_sign() {
    let source = "
        @group(0) @binding(0) var<storage, read> words: array<u32>;
        @group(0) @binding(1) var<storage, read_write> out: array<vec2<u32>>;
        fn high(word: u32) -> i64 { return i64(word) >> 4u; }
        fn sum(word: u32) -> i64 { return high(word) + high(~word); }
        fn pair(wide: u64) -> vec2<u32> { return vec2(u32(wide), u32(wide >> 32u)); }
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let word = words[id.x];
            var wide = u64(i32(word)) * 3lu;
            if i64(word) > 0x7FFFFFFFli { wide ^= u64(sum(word)); } else { wide += u64(high(word)); }
            for (var k = word; i64(k) < 0x80000003li; k += 0x30000000u) { wide += u64(bitcast<i32>(k)); }
            switch u32(i64(word) >> 31u) { case 1u: { wide *= u64(vec2<i64>(vec2(word, 5u)).x); } default: {} }
            var k = 0u;
            loop { k += 1u; continuing { break if i64(word | k) >= i64(k) || k > 4u; } }
            out[id.x] = pair(wide + u64(k));
        }";
    let buffers = vec![u32s((0..24).map(|i: u32| i.wrapping_mul(0x2345_6789))), vec![0; 8 * 24]];
    let got = Case { threads: Some([21, 1, 1]), ..Case::new(source, [3, 1, 1], buffers) }.run();
    let expected = |word: u32| {
        let high = |word: u32| i64::from(word) >> 4;
        let mut wide = (word as i32 as u64).wrapping_mul(3);
        if word > 0x7FFF_FFFF {
            wide ^= (high(word) + high(!word)) as u64;
        } else {
            wide = wide.wrapping_add(high(word) as u64);
        }
        let mut k = word;
        while k < 0x8000_0003 {
            wide = wide.wrapping_add(k as i32 as u64);
            k = k.wrapping_add(0x3000_0000);
        }
        if word >> 31 == 1 {
            wide = wide.wrapping_mul(u64::from(word));
        }
        wide.wrapping_add(1)
    };
    let words = to_u32s(&got[1]);
    for (i, got) in words.chunks(2).take(21).enumerate() {
        let got = u64::from(got[0]) | u64::from(got[1]) << 32;
        assert_eq!(got, expected((i as u32).wrapping_mul(0x2345_6789)), "{i}");
    }
}

#[test]
fn floats_of_64_bits() {
    longs("f64", &["a + b", "a - b", "a * b", "a / b", "a % b", "min(a, b)", "max(a, b)", "clamp(a, b, c)"]);
    longs(
        "f64",
        &["ceil(a)", "floor(a)", "round(a)", "trunc(a)", "fract(a)", "sqrt(a)", "sign(a)", "mix(a, b, c)"],
    );
    longs(
        "f64",
        &["step(a, b)", "fma(a, b, c)", "f64(f32(a))", "f64(i32(a))", "f64(u32(a))", "f64(bool(a))"],
    );
    longs(
        "f64",
        &["length(vec2(a, b))", "dot(vec2(a, b), vec2(b, c))", "(mat2x2(a, b, c, a) * vec2(a, b)).y"],
    );
    longs("f64", &["sin(a)", "exp(a)", "log(a)", "pow(a, b)", "atan2(a, b)"]);
    longs("f64", &["frexp(a).fract", "f64(frexp(a).exp)"]);
    longs(
        "f64",
        &["ldexp(a, i32(clamp(b, -200.0lf, 200.0lf)))", "modf(a).fract", "modf(a).whole", "saturate(a)"],
    );
}

#[test]
fn integers_of_16_bits() {
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
        "min(a, b)",
        "max(a, b)",
        "clamp(a, b, c)",
        "abs(a)",
        "select(a, b, a < b)",
        "select(a, b, a == c)",
    ];
    for ty in ["i16", "u16"] {
        let load = if ty == "i16" {
            |word: &str| format!("i16({word})")
        } else {
            |word: &str| format!("u16({word})")
        };
        evaluate("enable wgpu_int16;", load, |value| format!("u32(i32({value}))"), (ty, &LONGS), &common);
    }
}

#[test]
fn atomic_operations_of_64_bits_and_floats() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> words: array<atomic<u64>, 8>;
        @group(0) @binding(1) var<storage, read_write> signed: array<atomic<i64>, 3>;
        @group(0) @binding(2) var<storage, read_write> sum: atomic<f32>;
        @group(0) @binding(3) var<storage, read_write> seen: array<u64>;
        var<workgroup> local: atomic<u64>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let w = u64(id.x) * 6000000000lu + 1lu;
            atomicAdd(&words[0], w);
            atomicSub(&words[1], w);
            atomicMin(&words[2], w);
            atomicMax(&words[3], w);
            atomicAnd(&words[4], ~w);
            atomicOr(&words[5], w);
            atomicXor(&words[6], w);
            if (id.x == 5u) {
                seen[0] = atomicExchange(&words[7], w);
                let r = atomicCompareExchangeWeak(&words[7], w, 9lu);
                seen[1] = r.old_value + u64(r.exchanged);
                seen[2] = atomicCompareExchangeWeak(&words[7], 12lu, 11lu).old_value;
            }
            atomicMin(&signed[0], 50li - i64(w));
            atomicMax(&signed[1], 50li - i64(w));
            atomicAdd(&signed[2], -i64(w));
            atomicAdd(&sum, 0.5);
            atomicSub(&sum, 0.25);
            atomicAdd(&local, w);
            workgroupBarrier();
            seen[3u + id.x] = atomicLoad(&local);
        }";
    let buffers = vec![vec![0x77; 64], vec![0x11; 24], vec![0; 4], vec![0; 8 * 19]];
    let got = Case::new(source, [2, 1, 1], buffers).run();
    assert_eq!(to_u32s(&got[2]), [4f32.to_bits()]);
    let word =
        |bytes: &[u8], i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap_or_default());
    let sum: u64 = (0..16).map(|i| i * 6_000_000_000 + 1).sum();
    assert_eq!(word(&got[0], 0), 0x7777_7777_7777_7777u64.wrapping_add(sum));
    assert_eq!(word(&got[0], 7), 9);
    assert_eq!(word(&got[3], 1), 5 * 6_000_000_000 + 2);
    assert_eq!(word(&got[3], 3), (0..8).map(|i| i * 6_000_000_000 + 1).sum::<u64>());
}

#[test]
fn arrays_of_flags_and_mixed_structures_in_each_invocation() {
    let source = "
        struct Mixed { flag: bool, wide: u64, word: u32 }
        @group(0) @binding(0) var<storage, read> xs: array<u32>;
        @group(0) @binding(1) var<storage, read_write> rs: array<u32>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let x = xs[id.x];
            var flags = array<bool, 6>();
            for (var k = 0u; k < 6u; k++) { flags[k] = (x >> k) % 2u == 1u; }
            var mixed = array<Mixed, 3>();
            if (x > 20u) { mixed[x % 3u] = Mixed(flags[x % 6u], u64(x) << 20u, x); }
            if (x % 5u == 0u) { mixed = array<Mixed, 3>(); flags[2] = true; }
            let vector = vec3<bool>(flags[1], x > 9u, flags[4]);
            var r = u32(vector[x % 3u]) + 2u * u32(mixed[(x + 1u) % 3u].flag) + mixed[x % 3u].word;
            r += u32(mixed[x % 3u].wide >> 18u) + u32(array<i64, 3>(1li, 2li, -3li)[x % 3u]);
            r += u32(vec2<u64>(u64(x), 5lu)[x % 2u]) + 4u * u32(flags[x % 6u]);
            rs[id.x] = r;
        }";
    let buffers = vec![u32s((0..24).map(|i| (i * 37) % 64)), vec![0; 96]];
    Case::new(source, [3, 1, 1], buffers).run();
}

#[test]
fn integers_of_16_bits_in_memory() {
    let source = "
        enable wgpu_int16;
        struct Item { a: i16, b: u16, c: vec2<i16>, d: u32 }
        @group(0) @binding(0) var<storage, read_write> items: array<Item>;
        @group(0) @binding(1) var<storage, read_write> words: array<u16>;
        var<workgroup> own: array<i16, 8>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>,
            @builtin(local_invocation_index) l: u32) {
            let i = id.x;
            own[l] = items[i].a - i16(i * 5000u);
            workgroupBarrier();
            items[i].c = items[i].c * 3 + vec2(own[7u - l]);
            items[i].d += u32(items[i].b) << 4u;
            if (i % 3u != 1u) { words[i] = words[i] * 7 + u16(i); }
        }";
    let bytes = |count: u32| (0..count).map(|i| (i * 89 % 256) as u8).collect::<Vec<u8>>();
    Case::new(source, [2, 1, 1], vec![bytes(12 * 16), bytes(2 * 16)]).run();
}

#[test]
fn bits_of_ids_are_floats() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> out: array<f32>;
        @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            out[id.x] = bitcast<f32>(id.x + 0x3F800000u) * 2.0;
        }";
    let got = Case::new(source, [1, 1, 1], vec![vec![0; 32]]).run();
    assert_eq!(to_u32s(&got[0])[..2], [0x4000_0000, 0x4000_0001]);
}
