//! What generated kernels have beside exact numbers of 32 bits and is the same on all devices: functions of floats within their
//! accuracy, half floats, and subgroups whatever their size is.
//!
//! An inexact function is given arguments that are exactly known, which are stored beside its result, and nothing hangs on what it
//! gives. What subgroups find goes on to others only where it does not tell how large they are; the rest is held against the same done
//! by hand.

use super::Generator;

/// What a kernel has beside 32-bit numbers that are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "for those who compare devices")]
pub(crate) enum Beside {
    Nothing,
    Floats,
    Halves,
    Subgroups,
}

/// A kernel that does the same on all devices.
#[allow(dead_code, reason = "for those who compare devices")]
pub(crate) struct Portable {
    pub(crate) source: String,
    /// Of a kernel with floats: for each result of an invocation, of which there are [`CALLS`], what it is of `a`, `b` and `c`.
    pub(crate) calls: Vec<&'static str>,
}

/// Calls of an inexact function in one kernel.
pub(crate) const CALLS: usize = 8;

/// Bindings 6 and 7 of kernels with floats: what functions are given, and what they give.
const CALLED: &str = "
@group(0) @binding(6) var<storage, read_write> arguments: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> results: array<f32>;
";

/// Binding 6 of kernels with subgroups: what workgroups found, and how often it was not the same done by hand.
const GROUPED: &str = "
@group(0) @binding(6) var<storage, read_write> found_in_groups: array<u32>;
var<workgroup> total: atomic<u32>;
var<workgroup> places: array<vec2<u32>, 16>;
";

/// Functions with the numbers that `a`, `b` and `c` are: `f` is what the kernel computes with, `x` any number, `p` is positive, `n` near
/// one, `s` small, `u` from minus one to one, `t` from minus three to three.
const FUNCTIONS: &[(&str, &str)] = &[
    ("a / b", "xxx"),
    ("a / b", "fpf"),
    ("sqrt(a)", "pff"),
    ("sqrt(abs(a))", "xff"),
    ("inverseSqrt(a)", "pff"),
    ("inverseSqrt(abs(a))", "xff"),
    ("exp(a)", "sff"),
    ("exp2(a)", "sff"),
    ("log(a)", "pff"),
    ("log(a)", "nff"),
    ("log2(a)", "pff"),
    ("log2(a)", "nff"),
    ("sin(a)", "tff"),
    ("cos(a)", "tff"),
    ("tan(a)", "uff"),
    ("asin(a)", "uff"),
    ("acos(a)", "uff"),
    ("atan(a)", "xff"),
    ("atan2(a, b)", "xxf"),
    ("sinh(a)", "sff"),
    ("cosh(a)", "sff"),
    ("tanh(a)", "sff"),
    ("asinh(a)", "sff"),
    ("acosh(a)", "pff"),
    ("atanh(a)", "uff"),
    ("pow(a, b)", "nsf"),
    ("pow(a, b)", "puf"),
    ("fma(a, b, c)", "xxx"),
    ("mix(a, b, c)", "ffu"),
    ("mix(a, b, c)", "xxu"),
    ("smoothstep(a, b + 1.0, c)", "upf"),
    ("normalize(vec3(a, b, c)).x", "xxx"),
    ("normalize(vec2(a, b)).y", "xff"),
    ("length(vec3(a, b, c))", "xxx"),
    ("length(vec4(a, b, c, a))", "fff"),
    ("distance(vec2(a, b), vec2(c, a))", "xfx"),
    ("dot(vec3(a, b, c), vec3(b, c, a))", "xxx"),
    ("cross(vec3(a, b, c), vec3(c, b, a)).y", "xsx"),
    ("reflect(vec2(a, b), vec2(b, c)).y", "uuu"),
    ("determinant(mat3x3(a, b, c, b, c, a, c, b, a))", "sss"),
    ("degrees(a)", "xff"),
    ("radians(a)", "xff"),
    ("fract(a)", "xff"),
];

/// How subgroups reduce, how a workgroup does, and what to begin with.
const REDUCTIONS: &[(&str, &str, &str)] = &[
    ("subgroupAdd(x)", "atomicAdd", "0u"),
    ("subgroupMin(x)", "atomicMin", "0xFFFFFFFFu"),
    ("subgroupMax(x)", "atomicMax", "0u"),
    ("subgroupAnd(x)", "atomicAnd", "0xFFFFFFFFu"),
    ("subgroupOr(x)", "atomicOr", "0u"),
    ("subgroupXor(x)", "atomicXor", "0u"),
    ("u32(subgroupAdd(bitcast<i32>(x)))", "atomicAdd", "0u"),
    ("bitcast<u32>(subgroupMin(bitcast<i32>(x))) ^ 0x80000000u", "atomicMin", "0xFFFFFFFFu"),
    ("bitcast<u32>(subgroupMax(bitcast<i32>(x))) ^ 0x80000000u", "atomicMax", "0u"),
    ("bitcast<u32>(i32(subgroupAdd(f32(x & 1023u) - 400.0)))", "atomicAdd", "0u"),
    ("dot(subgroupAdd(vec4(x, lane, q.x, x >> 3u)), vec4(1u, 3u, 5u, 7u))", "atomicAdd", "0u"),
    ("dot(countOneBits(subgroupBallot((x & 4u) != 0u)), vec4(1u))", "atomicAdd", "0u"),
    ("u32(subgroupAll((x & 3u) != 0u))", "atomicAnd", "1u"),
    ("u32(subgroupAny((x & 15u) == 0u))", "atomicOr", "0u"),
    ("1u", "atomicAdd", "0u - subgroups"),
    ("u32(rank >= size)", "atomicAdd", "0u"),
];

/// What an invocation gets from another, by words and by their places; PART is 1, 2 or 3.
const MOVES: &[&str] = &[
    "subgroupBroadcastFirst(WORD)",
    "subgroupBroadcast(WORD, PARTu)",
    "subgroupShuffleXor(WORD, PARTu)",
    "subgroupShuffle(WORD, (rank & 0xFCu) | ((rank + PARTu) & 3u))",
    "quadSwapX(WORD)",
    "quadSwapY(WORD)",
    "quadSwapDiagonal(WORD)",
    "quadBroadcast(WORD, PARTu)",
];

/// Where those moves come from, by ranks.
const ORIGINS: &[&str] = &[
    "0u",
    "PARTu",
    "(rank ^ PARTu)",
    "((rank & 0xFCu) | ((rank + PARTu) & 3u))",
    "(rank ^ 1u)",
    "(rank ^ 2u)",
    "(rank ^ 3u)",
    "((rank & 0xFCu) | PARTu)",
];

/// Scans with the same done by hand: what to begin with, the operation, and who takes part.
const SCANS: &[(&str, &str, &str, &str)] = &[
    ("subgroupExclusiveAdd", "0u", "+", "place.y < rank"),
    ("subgroupInclusiveAdd", "0u", "+", "place.y <= rank"),
    ("subgroupExclusiveMul", "1u", "*", "place.y < rank"),
    ("subgroupInclusiveMul", "1u", "*", "place.y <= rank"),
    ("subgroupMul", "1u", "*", "true"),
];

impl Beside {
    /// Directives, and then the declarations that a kernel has.
    pub(super) fn head(self, head: &str) -> String {
        let lane = "@builtin(local_invocation_index) lane: u32";
        match self {
            Beside::Nothing => head.to_owned(),
            Beside::Floats => format!("{CALLED}{head}"),
            Beside::Halves => {
                format!("enable f16;{CALLED}{head}    var h = f16(i & 31u); var hs = array<f16, 3>();\n")
            }
            Beside::Subgroups => {
                let more = "@builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) rank: u32,
    @builtin(subgroup_size) size: u32, @builtin(num_subgroups) subgroups: u32";
                format!(
                    "{GROUPED}{}    var z = 0u; var apart = 0u;\n",
                    head.replace(lane, &format!("{lane},\n    {more}"))
                )
            }
        }
    }

    fn calls(self) -> bool {
        matches!(self, Beside::Floats | Beside::Halves)
    }
}

impl Generator<'_> {
    /// A statement with what this kernel has beside; false if it has none, or another is wanted.
    pub(super) fn beside(&mut self) -> bool {
        if !self.beside.calls() || self.choices.bytes.is_empty() || self.choices.pick(4) != 0 {
            return false;
        }
        if self.beside == Beside::Halves && self.choices.pick(2) == 0 {
            let value = self.half(2);
            let line = match self.choices.pick(3) {
                0 => format!("hs[{}] = {value};", self.index(1, 3)),
                _ => format!("h = {value};"),
            };
            self.line(&line);
            return true;
        }
        self.call()
    }

    /// What all invocations of a workgroup do together.
    pub(super) fn together(&mut self) {
        match self.beside {
            Beside::Nothing => {}
            _ if self.choices.bytes.is_empty() => {}
            Beside::Floats | Beside::Halves => {
                self.call();
            }
            Beside::Subgroups => self.group(),
        }
    }

    /// What is left at the end.
    pub(super) fn beside_end(&mut self) {
        if self.beside.calls() && self.calls.is_empty() {
            self.call();
        }
        match self.beside {
            Beside::Subgroups => self.line("found_in_groups[i] = z; found_in_groups[i + 48u] = apart;"),
            Beside::Halves => self.line("u += u32(i32(h + hs[0] - hs[2]));"),
            _ => {}
        }
    }

    /// A function of floats, by itself or for each part of a vector.
    fn call(&mut self) -> bool {
        if self.calls.len() == CALLS {
            return false;
        }
        let (expression, numbers) = FUNCTIONS[self.choices.pick(FUNCTIONS.len() as u32) as usize];
        let by_part = !expression.contains("vec") && !expression.contains("mat") && self.choices.pick(2) == 0;
        let part = if by_part { self.choices.one_of(&[".x", ".y", ".z"]) } else { "" };
        let mut line = String::from("{");
        for (name, number) in ["a", "b", "c"].into_iter().zip(numbers.chars()) {
            let value = match by_part {
                false => self.number(number),
                true => {
                    format!("vec3({}, {}, {})", self.number(number), self.number(number), self.number(number))
                }
            };
            line.push_str(&format!(" let {name} = {value};"));
        }
        let at = self.calls.len();
        let wide = |name: &str| match self.beside {
            Beside::Halves => format!("f32({name}{part})"),
            _ => format!("{name}{part}"),
        };
        let given = ["a", "b", "c"].map(wide).join(", ");
        line.push_str(&format!(" arguments[i * {CALLS}u + {at}u] = vec4({given}, 0.0);"));
        let result = wide(&format!("({expression})"));
        line.push_str(&format!(" results[i * {CALLS}u + {at}u] = {result}; }}"));
        self.line(&line);
        self.calls.push(expression);
        true
    }

    /// A number of a kind, which every device has exactly.
    fn number(&mut self, kind: char) -> String {
        let halves = self.beside == Beside::Halves;
        if kind == 'f' {
            return if halves { "h".into() } else { self.choices.one_of(&["f", "g"]).into() };
        }
        // Spread over all words, since most are small.
        let word = format!("(({}) * 0x9E3779B1u)", self.unsigned(1));
        let value = match (kind, halves) {
            ('x', false) => format!("bitcast<f32>(0x3B800000u + ({word} & 0x87FFFFFFu))"),
            ('n', false) => format!("bitcast<f32>(0x3F000000u + ({word} >> 8u))"),
            ('p', false) => format!("(f32({word} >> 16u) * 0.0009765625 + 0.0009765625)"),
            ('s', false) => format!("(f32({word} >> 20u) * 0.00390625 - 8.0)"),
            ('u', false) => format!("(f32({word} >> 20u) * 0.00048828125 - 1.0)"),
            (_, false) => format!("(f32({word} >> 20u) * 0.00146484375 - 3.0)"),
            ('x', true) => format!("(f32({word} >> 21u) * 0.0625 - 64.0)"),
            ('n', true) => format!("(f32({word} >> 22u) * 0.0009765625 + 1.0)"),
            ('p', true) => format!("(f32(({word} >> 23u) + 1u) * 0.125)"),
            ('s', true) => format!("(f32({word} >> 22u) * 0.015625 - 8.0)"),
            ('u', true) => format!("(f32({word} >> 21u) * 0.0009765625 - 1.0)"),
            (_, true) => format!("(f32(({word} >> 16u) & 1535u) * 0.00390625 - 3.0)"),
        };
        if halves { format!("f16{value}") } else { value }
    }

    /// Whole half floats from -32 to 32, whose sums and products are exact.
    fn half(&mut self, depth: u32) -> String {
        let Some(depth) = depth.checked_sub(1) else {
            return match self.choices.pick(4) {
                0 => format!("f16(({}) & 31u)", self.unsigned(0)),
                1 => format!("{}.0h", self.choices.pick(32)),
                2 => format!("hs[{}]", self.index(0, 3)),
                _ => "h".into(),
            };
        };
        let (a, b) = (self.half(depth), self.half(0));
        let value = match self.choices.pick(7) {
            0 => format!("({a} + {b})"),
            1 => format!("({a} - {b})"),
            2 => format!("({a} * {b})"),
            3 => format!("min({a}, -({b}))"),
            4 => format!("max(abs({a}), {b})"),
            5 => format!("select({a}, {b}, {})", self.boolean(0)),
            _ => format!("vec3({a}, h, {b}).zyx.x"),
        };
        format!("clamp({value}, -32.0h, 32.0h)")
    }

    /// A word that a half float decides.
    pub(super) fn half_word(&mut self) -> String {
        let (a, b) = (self.half(1), self.half(0));
        match self.choices.pick(3) {
            0 => format!("u32(i32({a}))"),
            1 => format!("u32({a} < {b})"),
            _ => format!("u32(abs({a} * {b}))"),
        }
    }

    /// An operation of whole subgroups, between barriers.
    fn group(&mut self) {
        let x = self.unsigned(2);
        let part = (1 + self.choices.pick(3)).to_string();
        let elected = self.choices.one_of(&["rank == 0u", "subgroupBroadcastFirst(lane) == lane"]);
        self.line(&format!("shared_words[lane] = {x}; places[lane] = vec2(subgroup, rank);"));
        let form = self.choices.pick(4);
        if form < 2 {
            let count = REDUCTIONS.len() as u32;
            let (reduce, join, start) = REDUCTIONS[self.choices.pick(count) as usize];
            self.line(&format!("if (lane == 0u) {{ atomicStore(&total, {start}); }}"));
            self.line("workgroupBarrier();");
            self.line(&format!("{{ let x = shared_words[lane]; let part = {reduce}; let first = {elected};"));
            self.line(&format!("if (first) {{ {join}(&total, part); }} }}"));
            self.line("workgroupBarrier();");
            self.line("w = atomicLoad(&total); z = z * 31u + w;");
            return self.line("workgroupBarrier();");
        }
        self.line("workgroupBarrier();");
        self.line("{ let x = shared_words[lane];");
        if form == 2 {
            let (scan, start, operation, part) = SCANS[self.choices.pick(SCANS.len() as u32) as usize];
            self.line(&format!("let found = {scan}(x); var by_hand = {start};"));
            self.line("for (var k = 0u; k < 16u; k++) { let place = places[k];");
            self.line(&format!(
                "if (place.x == subgroup && {part}) {{ by_hand = by_hand {operation} shared_words[k]; }} }}"
            ));
        } else {
            let at = self.choices.pick(MOVES.len() as u32) as usize;
            let fill = |text: &str, word: &str| text.replace("WORD", word).replace("PART", &part);
            self.line(&format!("let found = {}; var by_hand = 0u;", fill(MOVES[at], "x")));
            self.line("for (var k = 0u; k < 16u; k++) {");
            let from = fill(ORIGINS[at], "");
            self.line(&format!(
                "if (all(places[k] == vec2(subgroup, {from}))) {{ by_hand = shared_words[k]; }} }}"
            ));
        }
        self.line("apart += u32(found != by_hand); }");
        self.line("workgroupBarrier();");
    }
}
