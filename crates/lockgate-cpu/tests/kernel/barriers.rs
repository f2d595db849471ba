//! What the runtime knows of barriers, against the interpreter: in a kernel that is taken, all invocations reach every barrier
//! together.

use crate::harness::{Memory, Numbers, compile, u32s};
use lockgate_cpu::kernel::{Engine, Lanes, Launch, Outcome};
use lockgate_runtime::{Device, Library};
use std::sync::atomic::AtomicBool;

/// Writes statements that may or may not be uniform. Loops count, so that every kernel ends.
struct Writer {
    numbers: Numbers,
    text: String,
    counters: u32,
}

impl Writer {
    fn pick(&mut self, count: u32) -> u32 {
        self.numbers.next() % count
    }

    fn value(&mut self) -> &'static str {
        const VALUES: [&str; 9] = ["a", "b", "p.x", "p.y", "same[1]", "l", "same[l]", "w.x", "twice(a, b)"];
        VALUES[self.pick(VALUES.len() as u32) as usize]
    }

    fn condition(&mut self) -> String {
        // Mostly of variables: those start the same for all.
        let value =
            if self.pick(4) == 0 { self.value() } else { ["a", "b", "p.x", "w.y"][self.pick(4) as usize] };
        format!("{value} % 3u == {}u", self.pick(2))
    }

    fn block(&mut self, depth: u32, is_loop: bool) {
        for _ in 0..1 + self.pick(4) {
            self.statement(depth, is_loop);
        }
    }

    fn statement(&mut self, depth: u32, is_loop: bool) {
        let (condition, value) = (self.condition(), self.value());
        let simple = match self.pick(if depth > 0 { 14 } else { 9 }) {
            0 => format!("a = {value};"),
            1 => format!("b += {value};"),
            2 => format!("p.x = {value};"),
            3 => format!("p.y = {value} + 1u; w = p.yx;"),
            4 => format!("put(&a, {value});"),
            5 if is_loop => {
                format!("if {condition} {{ {} }}", ["break;", "continue;"][self.pick(2) as usize])
            }
            6 if self.pick(3) == 0 => format!("if {condition} {{ return; }}"),
            5..9 => "workgroupBarrier();".into(),
            9 | 10 => return self.nested(&format!("if {condition} {{"), depth, is_loop, "}"),
            11 => {
                self.nested(&format!("if {condition} {{"), depth, is_loop, "} else {");
                return self.nested("", depth, is_loop, "}");
            }
            12 => {
                return self.nested(
                    &format!("switch {value} % 3u {{ case 1u: {{"),
                    depth,
                    is_loop,
                    "} default: {} }",
                );
            }
            _ => {
                self.counters += 1;
                let k = format!("k{}", self.counters);
                let head = format!("for (var {k} = 0u; {k} < {value} % 4u && {k} < 3u; {k}++) {{");
                return self.nested(&head, depth, true, "}");
            }
        };
        self.text.push_str(&simple);
        self.text.push('\n');
    }

    fn nested(&mut self, head: &str, depth: u32, is_loop: bool, tail: &str) {
        self.text.push_str(head);
        self.block(depth - 1, is_loop);
        self.text.push_str(tail);
        self.text.push('\n');
    }
}

fn kernel(seed: u64) -> String {
    let mut writer = Writer { numbers: Numbers::from_seed(seed), text: String::new(), counters: 0 };
    writer.block(3, false);
    format!(
        "@group(0) @binding(0) var<storage, read> same: array<u32, 8>;
        @group(0) @binding(1) var<storage, read_write> out: array<u32, 8>;
        var<private> w: vec2<u32>;
        fn twice(a: u32, b: u32) -> u32 {{ if a > b {{ return 2u * a; }} return b; }}
        fn put(to: ptr<function, u32>, value: u32) {{ if value != 1u {{ *to = value; }} }}
        @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {{
            var a = same[0]; var b = 1u; var p = vec2(a, 2u);
            {}
            out[l] = a + b + p.x + p.y + w.x;
        }}",
        writer.text
    )
}

fn run(source: &str, words: [u32; 8]) -> Outcome {
    let kernel = compile(source, "main", &[], Engine::Interpreter, Lanes::One);
    let kernel = kernel.unwrap_or_else(|why| panic!("{why}: {source}"));
    let (mut same, mut out) = (Memory::new(&u32s(words)), Memory::new(&[0; 32]));
    let bindings = [same.binding(), out.binding()];
    let stop = AtomicBool::new(false);
    let launch = Launch { grid: [1, 1, 1], threads: None, bindings: &bindings, immediates: &[], stop: &stop };
    // SAFETY: the memory outlives the call, and nothing else uses it.
    unsafe { kernel.run(&launch, 0..1) }
}

#[test]
fn a_kernel_that_is_taken_keeps_its_invocations_together() {
    let device = Device::null();
    let (mut taken, mut refused) = (0, 0);
    for seed in 1..1500 {
        let source = kernel(seed);
        let library = Library::new(&source).unwrap_or_else(|why| panic!("{why}: {source}"));
        if device.new_compute_pipeline(&library, "main").is_err() {
            refused += 1;
            continue;
        }
        taken += u32::from(source.contains("workgroupBarrier"));
        for words in [[0, 1, 2, 3, 4, 5, 6, 7], [3, 2, 3, 0, 1, 1, 5, 4], [1; 8]] {
            assert_eq!(run(&source, words), Outcome::Done, "{source}");
        }
    }
    assert!(taken > 200 && refused > 200, "{taken} are taken, {refused} are not");
}
