//! Small WGSL kernels out of arbitrary bytes. All of them are valid and free of races, so that all engines must agree.
//!
//! Each invocation writes elements of its own; shared arrays are read between barriers only. Literals stand only beside
//! variables, so that nothing is computed (and refused) before the kernel runs. No bits of a float are looked at: a NaN
//! has many.

#[path = "portable.rs"]
mod portable;

#[allow(unused_imports, reason = "for those who compare devices")]
pub(crate) use portable::{Beside, CALLS, Portable};
use std::fmt::Write;

/// Invocations of a workgroup.
pub(crate) const GROUP: u32 = 16;

/// Bytes that decide; zeros when they are used up, which always end a kernel.
pub(crate) struct Choices<'a> {
    pub(crate) bytes: &'a [u8],
}

impl Choices<'_> {
    fn pick(&mut self, count: u32) -> u32 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        u32::from(*first) % count
    }

    fn one_of(&mut self, list: &[&'static str]) -> &'static str {
        list[self.pick(list.len() as u32) as usize]
    }
}

/// The kernel that some bytes stand for. Bindings of group 0: `data` (u32), `vectors` (vec4<f32>), `words` (vec4<u32>),
/// `numbers` (i32), `bins` (atomic u32).
pub(crate) fn kernel(bytes: &[u8]) -> String {
    generate(bytes, false, Beside::Nothing).source
}

/// The same with what devices may do in one way only: every index is in range where `data` and `pixels` have 64 elements and
/// the others those that are written, numbers have 32 bits, and floats are as exact as they come; and what there is beside.
#[allow(dead_code, reason = "for those who compare devices")]
pub(crate) fn portable_kernel(bytes: &[u8], beside: Beside) -> Portable {
    generate(bytes, true, beside)
}

fn generate(bytes: &[u8], portable: bool, beside: Beside) -> Portable {
    let mut generator = Generator {
        choices: Choices { bytes },
        text: String::new(),
        loops: 0,
        depth: 0,
        whole: false,
        extra: 0,
        portable,
        beside,
        calls: Vec::new(),
    };
    generator.kernel();
    let Generator { text, extra, calls, .. } = generator;
    let source = if extra == HALVES { format!("enable f16;{text}") } else { text };
    Portable { source, calls }
}

const HEAD: &str = "
@group(0) @binding(0) var<storage, read> data: array<u32>;
@group(0) @binding(1) var<storage, read> pixels: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> words: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> numbers: array<i32>;
@group(0) @binding(5) var<storage, read_write> bins: array<atomic<u32>, 8>;
var<workgroup> shared_words: array<u32, 16>;
var<workgroup> shared_vectors: array<vec4<f32>, 16>;
fn mixed(x: u32, y: f32) -> f32 {
    if (x % 3u == 1u) { return y * 0.5; }
    return y + f32(x & 15u);
}
@compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) lane: u32) {
    let i = id.x;
    var u = i; var w = data[i]; var s = i32(i) - 7; var t = i32(data[i + 1u]); var f = f32(i); var g = 0.25;
    var v = pixels[i]; var p = vec4<f32>(); var q = vec4<u32>(i); var list = array<u32, 5>();
";

/// What a kernel has beside 32-bit numbers: nothing for 0.
const HALVES: u32 = 1;
const LONGS: u32 = 2;
/// 3 are subgroups alone.
const SUBGROUPS_AND_LONGS: u32 = 4;

struct Generator<'a> {
    choices: Choices<'a>,
    text: String,
    loops: u32,
    depth: u32,
    /// Vectors of floats are never taken apart: machine code keeps those another way.
    whole: bool,
    extra: u32,
    portable: bool,
    beside: Beside,
    /// What functions are called with results that are stored.
    calls: Vec<&'static str>,
}

impl Generator<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str("    ");
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// An index of an array of so many elements.
    fn index(&mut self, depth: u32, count: u32) -> String {
        let index = self.unsigned(depth);
        if self.portable { format!("({index}) % {count}u") } else { index }
    }

    /// A float, or four, that every device computes with exactly, as long as it is.
    fn bounded(&self, is_vector: bool, value: String) -> String {
        match (self.portable, is_vector) {
            (false, _) => value,
            (true, false) => format!("floor(clamp({value}, -64.0, 64.0))"),
            (true, true) => format!("floor(clamp({value}, vec4(-64.0), vec4(64.0)))"),
        }
    }

    fn kernel(&mut self) {
        self.text.push_str(&self.beside.head(HEAD));
        self.whole = self.choices.pick(2) == 0;
        self.extra = self.choices.pick(if self.portable { 1 } else { 8 });
        if self.extra == HALVES {
            self.line("var h = f16(f); var hs = array<f16, 3>(h, 0.5h, -2.0h);");
        }
        for _ in 0..=self.choices.pick(3) {
            self.list(6);
            if self.choices.pick(2) == 1 {
                self.exchange();
            }
            self.together();
        }
        self.beside_end();
        if self.choices.pick(2) == 1 {
            let condition = self.boolean(1);
            self.line(&format!("if ({condition}) {{ return; }}"));
            self.list(3);
        }
        self.line("atomicAdd(&bins[lane & 7u], 1u); vectors[i] = v; words[i] = q; numbers[i] = s;");
        self.line("if (i >= 1000u) { return; }");
        self.line(
            "vectors[i + 48u] = p; numbers[i + 48u] = t; words[i + 48u] = vec4<u32>(u, w, list[1], list[4]);",
        );
        self.line(&format!(
            "vectors[i + 96u] = {};",
            if self.portable {
                "v - p"
            } else if self.whole {
                "v + p * g"
            } else {
                "vec4(f, g, v.w, p.x)"
            }
        ));
        self.text.push_str("}\n");
    }

    /// Passes values on through the workgroup's memory.
    fn exchange(&mut self) {
        let (word, vector) = (self.unsigned(2), self.vector(2));
        let vector = self.bounded(true, vector);
        self.line(&format!("shared_words[lane] = {word}; shared_vectors[lane] = {vector};"));
        self.line("workgroupBarrier();");
        let (a, b) = (self.index(2, 16), self.unsigned(1));
        self.line(&format!("w = shared_words[{a}]; p = shared_vectors[({b}) % 16u];"));
        self.line("workgroupBarrier();");
    }

    fn list(&mut self, most: u32) {
        self.depth += 1;
        for _ in 0..self.choices.pick(most + 1) {
            self.statement();
        }
        self.depth -= 1;
    }

    fn statement(&mut self) {
        if self.beside() {
            return;
        }
        let simple = self.depth > 3;
        match self.choices.pick(if simple { 9 } else { 13 }) {
            0 => self.assign("u", Self::unsigned),
            1 => self.assign("w", Self::unsigned),
            2 => self.assign("s", Self::signed),
            3 => self.assign("f", Self::float),
            4 => self.assign("v", Self::vector),
            5 => self.assign("p", Self::vector),
            6 => self.assign("q", Self::words),
            7 => {
                let (index, value) = (self.index(1, 5), self.unsigned(2));
                if self.extra == HALVES && self.choices.pick(2) == 0 {
                    return self.line(&format!("h = h * 0.5h + f16({value} & 63u); hs[{index}] = -h;"));
                }
                let line = match self.choices.pick(3) {
                    0 => format!("list[{index}] = {value};"),
                    1 => format!("atomicAdd(&bins[{index}], {value} & 255u);"),
                    _ => format!("g = mixed({value}, f);"),
                };
                self.line(&line);
            }
            8 if self.whole => self.assign("g", Self::float),
            8 => {
                let (part, value) = (self.choices.one_of(&["x", "y", "w"]), self.float(2));
                let value = self.bounded(false, value);
                self.line(&format!(
                    "{}.{part} = {value};",
                    if value.len().is_multiple_of(2) { "v" } else { "p" }
                ));
            }
            9 | 10 => {
                let condition = self.boolean(2);
                self.line(&format!("if ({condition}) {{"));
                self.list(3);
                self.line("} else {");
                self.list(2);
                self.line("}");
            }
            11 => self.repeat(),
            _ => self.switch(),
        }
    }

    fn assign(&mut self, name: &str, value: fn(&mut Self, u32) -> String) {
        let mut value = value(self, 3);
        if matches!(name, "f" | "g" | "v" | "p") {
            value = self.bounded(matches!(name, "v" | "p"), value);
        }
        self.line(&format!("{name} = {value};"));
    }

    fn repeat(&mut self) {
        let counter = format!("k{}", self.loops);
        self.loops += 1;
        let end = match self.choices.pick(2) {
            0 => format!("{}u", 1 + self.choices.pick(5)),
            _ => format!("({} & 7u)", self.unsigned(1)),
        };
        self.line(&format!("for (var {counter} = 0u; {counter} < {end}; {counter}++) {{"));
        self.line(&format!("u += {counter}; v = v * 0.5 + pixels[clamp(i + {counter}, 2u, 30u)];"));
        if self.choices.pick(2) == 1 {
            let (condition, leave) = (self.boolean(1), self.choices.one_of(&["break", "continue"]));
            self.line(&format!("if ({condition}) {{ {leave}; }}"));
        }
        self.list(3);
        self.line("}");
    }

    fn switch(&mut self) {
        let selector = self.signed(2);
        self.line(&format!("switch ({selector} & 3) {{ case 0: {{"));
        self.list(2);
        self.line("} case 1, 3: {");
        self.list(2);
        self.line("} default: {");
        self.list(2);
        self.line("} }");
    }

    fn boolean(&mut self, depth: u32) -> String {
        let compare = self.choices.one_of(&["<", "<=", ">", ">=", "==", "!="]);
        match self.choices.pick(5) {
            0 => format!("{} {compare} {}", self.unsigned(depth), self.unsigned(depth)),
            1 => format!("{} {compare} {}", self.signed(depth), self.signed(depth)),
            2 => format!("{} {compare} {}", self.float(depth), self.float(depth)),
            3 => format!("lane {compare} {}u", self.choices.pick(GROUP)),
            _ => format!("({}) || !({})", "u % 2u == 0u", "f > 3.0"),
        }
    }

    /// An expression with numbers of other sizes, or of other invocations.
    fn special(&mut self, depth: u32) -> String {
        let (a, b) = (self.unsigned(depth), self.unsigned(depth));
        let long = matches!(self.extra, LONGS | SUBGROUPS_AND_LONGS);
        match self.choices.pick(6) {
            0 | 1 if self.extra == HALVES => {
                format!("u32(clamp(hs[{a}] * h + f16({b} & 255u), 0.0h, 999.0h))")
            }
            _ if self.extra == HALVES => format!("u32(i32(min(h + f16({a} & 7u) / 3.0h, 99.0h)))"),
            0 | 1 if long => format!("u32((u64({a}) * u64({b})) >> ({b} & 63u))"),
            2 if long => format!("u32(f64({a}) * 0.5lf)"),
            3 if self.extra == SUBGROUPS_AND_LONGS => format!("u32(subgroupAdd(u64({a})) >> 3u)"),
            4 if self.extra == SUBGROUPS_AND_LONGS => format!("u32(subgroupShuffle(i64({a}), {b} & 7u))"),
            _ if self.extra == LONGS => format!("u32(select(i64({a}), -i64({b}), f < 2.0))"),
            0 => format!("subgroupShuffle({a}, {b} & 7u)"),
            1 => format!("subgroupExclusiveAdd({a})"),
            2 => format!("subgroupBallot(({a}) > ({b})).x"),
            3 => format!("(subgroupMin({a}) ^ subgroupMax({b}))"),
            4 => format!("subgroupBroadcastFirst({a})"),
            _ => format!("subgroupAdd({a})"),
        }
    }

    fn unsigned(&mut self, depth: u32) -> String {
        let mut text = String::new();
        let leaf = self.choices.one_of(&["i", "u", "w", "lane", "q.x", "q.z"]);
        let Some(depth) = depth.checked_sub(1) else { return leaf.into() };
        if (HALVES..=SUBGROUPS_AND_LONGS).contains(&self.extra) && self.choices.pick(5) == 0 {
            return self.special(depth);
        }
        if self.beside == Beside::Halves && !self.choices.bytes.is_empty() && self.choices.pick(6) == 0 {
            return self.half_word();
        }
        let written = match self.choices.pick(10) {
            0 => write!(text, "{leaf}"),
            1 => write!(text, "({leaf} + {}u)", self.choices.pick(256)),
            2 => {
                let op = self.choices.one_of(&["+", "-", "*", "/", "%", "&", "|", "^"]);
                write!(text, "({} {op} {})", self.unsigned(depth), self.unsigned(depth))
            }
            3 => {
                let op = self.choices.one_of(&["<<", ">>"]);
                write!(text, "({} {op} ({} & 31u))", self.unsigned(depth), self.unsigned(depth))
            }
            4 => write!(text, "data[{}]", self.index(depth, 64)),
            5 => write!(text, "data[u32(clamp(i32({leaf}) + {}, 0, 20))]", self.choices.pick(16)),
            6 => write!(text, "u32({})", self.signed(depth)),
            7 => write!(text, "list[{}]", self.index(depth, 5)),
            8 => {
                let fun = self.choices.one_of(&["countOneBits", "firstLeadingBit", "reverseBits"]);
                write!(text, "{fun}({})", self.unsigned(depth))
            }
            _ => {
                let condition = self.boolean(0);
                write!(text, "select({}, {}, {condition})", self.unsigned(depth), self.unsigned(depth))
            }
        };
        if written.is_ok() { text } else { leaf.into() }
    }

    fn signed(&mut self, depth: u32) -> String {
        let leaf = self.choices.one_of(&["s", "t"]);
        let Some(depth) = depth.checked_sub(1) else { return leaf.into() };
        match self.choices.pick(7) {
            0 => leaf.into(),
            1 => format!("({leaf} - {})", self.choices.pick(256)),
            2 => {
                let op = self.choices.one_of(&["+", "-", "*", "/", "%", "&", "|", "^"]);
                format!("({} {op} {})", self.signed(depth), self.signed(depth))
            }
            3 => {
                let fun = self.choices.one_of(&["min", "max"]);
                format!("{fun}({}, {})", self.signed(depth), self.signed(depth))
            }
            4 => format!("i32({})", self.float(depth)),
            5 => format!("(-abs({}) >> ({} & 31u))", self.signed(depth), self.unsigned(depth)),
            _ => format!("bitcast<i32>({})", self.unsigned(depth)),
        }
    }

    fn float_operator(&mut self) -> &'static str {
        self.choices.one_of(if self.portable { &["+", "-", "*"] } else { &["+", "-", "*", "/"] })
    }

    /// How deep the operands of an operation with floats may be; sums of products could be fused.
    fn float_depth(&self, depth: u32) -> Option<u32> {
        let depth = depth.checked_sub(1)?;
        Some(if self.portable { 0 } else { depth })
    }

    fn float(&mut self, depth: u32) -> String {
        let leaf = self.choices.one_of(if self.whole { &["f", "g"] } else { &["f", "g", "v.x", "p.z"] });
        let Some(depth) = self.float_depth(depth) else { return leaf.into() };
        match self.choices.pick(if self.whole { 6 } else { 7 }) {
            0 => leaf.into(),
            1 => format!("({leaf} * {}.75)", self.choices.pick(64)),
            2 => {
                let op = self.float_operator();
                format!("({} {op} {})", self.float(depth), self.float(depth))
            }
            3 => {
                let square_root = if self.portable { "abs" } else { "sqrt" };
                let fun =
                    self.choices.one_of(&["floor", "abs", "fract", square_root, "ceil", "trunc", "saturate"]);
                format!("{fun}({})", self.float(depth))
            }
            4 => format!("f32({})", self.unsigned(depth)),
            5 => format!("f32({})", self.signed(depth)),
            _ => format!("dot({}, pixels[{}])", self.vector(depth), self.index(depth, 64)),
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        let leaf = self.choices.one_of(&["v", "p"]);
        let Some(depth) = self.float_depth(depth) else { return leaf.into() };
        match self.choices.pick(if self.whole { 7 } else { 9 }) {
            0 => leaf.into(),
            1 => format!("pixels[{}]", self.index(depth, 64)),
            2 => {
                let op = self.float_operator();
                format!("({} {op} {})", self.vector(depth), self.vector(depth))
            }
            3 => format!("({} * {})", self.vector(depth), self.float(depth)),
            4 if !self.portable => {
                format!("mix({}, {}, vec4<f32>(0.5, 0.25, 2.0, 1.0))", self.vector(depth), self.vector(depth))
            }
            4 | 5 => {
                let fun = self.choices.one_of(&["min", "max"]);
                format!("{fun}({}, {})", self.vector(depth), self.vector(depth))
            }
            6 => {
                let condition = self.boolean(0);
                format!("select({}, {}, {condition})", self.vector(depth), self.vector(depth))
            }
            7 => format!("{}.wzyx", self.vector(depth)),
            _ => format!("vec4<f32>({})", self.words(depth)),
        }
    }

    fn words(&mut self, depth: u32) -> String {
        let Some(depth) = depth.checked_sub(1) else { return "q".into() };
        match self.choices.pick(5) {
            0 => "q".into(),
            1 => {
                let op = self.choices.one_of(&["+", "-", "*", "/", "%", "&", "|", "^"]);
                format!("({} {op} {})", self.words(depth), self.words(depth))
            }
            2 => format!("vec4<u32>({}, u, w, 7u)", self.unsigned(depth)),
            3 if !self.whole => format!("vec4<u32>({})", self.vector(depth)),
            _ => format!("({} + vec4<u32>({}))", self.words(depth), self.unsigned(depth)),
        }
    }
}
