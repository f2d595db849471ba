//! Workgroups that share memory: loops around barriers whose passes are known, comparisons that split a workgroup, several
//! invocations in one step. Generated kernels; all engines agree.

use crate::harness::{Case, Numbers, to_u32s, u32s};

/// Writes kernels in which invocations read what any of them wrote before a barrier, and write what is theirs.
struct Writer {
    numbers: Numbers,
    invocations: u32,
}

impl Writer {
    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[(self.numbers.next() >> 8) as usize % list.len()]
    }

    /// A number around the size of the workgroup, or a small one; often no multiple of four.
    fn bound(&mut self) -> u32 {
        let n = self.invocations;
        self.pick(&[0, 1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 21, n / 2, n - 1, n, n + 1, n + 9])
    }

    fn head(&mut self) -> String {
        let n = self.invocations;
        let half = n / 2;
        match self.pick(&[0, 1, 2, 3, 4, 5, 6, 7, 8]) {
            0 => format!("for (var s = {half}u; s > 0u; s >>= 1u)"),
            1 => format!("for (var s = 1u; s < {n}u; s <<= 1u)"),
            2 => format!("for (var s = {n}u; s != 1u; s = (s + 1u) / 2u)"),
            3 => format!("for (var s = 0u; s < {}u; s += {}u)", self.bound().min(9), self.pick(&[1, 2, 5])),
            4 => format!("for (var s = {half}u; s >= 3u; s -= 3u)"),
            5 => "for (var s = 1u; s <= 20u; s *= 3u)".into(),
            6 => "for (var s = 2u; s < 2u; s++)".into(),
            // Not known while it is compiled.
            7 => "for (var s = data[0] & 15u; s > 0u; s >>= 1u)".into(),
            _ => "for (var s = 1u; s < 8u; s += data[1] % 3u + 1u)".into(),
        }
    }

    fn condition(&mut self) -> String {
        let number = self.pick(&["i", "i", "i", "l.x", "l.y", "id.x", "a"]);
        let op = self.pick(&["<", "<", ">=", ">=", "==", "<=", ">"]);
        match self.pick(&[0, 0, 0, 1, 2]) {
            0 => format!("{number} {op} s"),
            1 => format!("{number} {op} {}u", self.bound()),
            _ => format!("{number} {op} count"),
        }
    }

    fn value(&mut self) -> String {
        let bound = self.bound();
        let index = match self.pick(&[0, 1, 2, 3, 4, 5, 6]) {
            0 => "i".into(),
            1 => "i + s".into(),
            2 => "i - s".into(),
            3 => format!("i + {bound}u"),
            4 => format!("i - {bound}u"),
            5 => "l.y * 4u + s".into(),
            _ => "a ^ 5u".into(),
        };
        match self.pick(&[0, 1, 2, 2, 2, 3, 4, 5]) {
            0 => "a".into(),
            1 => "b * 3u".into(),
            2 => format!("x[{index}]"),
            3 => format!("data[id.x + {bound}u]"),
            4 => format!("select(b, x[{index}], {})", self.condition()),
            _ => format!("(s << 3u) + {bound}u"),
        }
    }

    fn statement(&mut self, depth: u32) -> String {
        let value = self.value();
        let deeper = [0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9];
        match self.pick(if depth > 0 { &deeper } else { &deeper[..4] }) {
            0 => format!("a += {value};"),
            1 => format!("b ^= {value};"),
            2 => format!("y[i] = {value} + y[i];"),
            3 => format!("c = {value}; b += c;"),
            4 => format!("if ({}) {{ {} }}", self.condition(), self.statement(depth - 1)),
            5 => {
                let [yes, no] = [(); 2].map(|()| self.statement(depth - 1));
                format!("if ({}) {{ {yes} }} else {{ {no} }}", self.condition())
            }
            6 => {
                let passes = self.pick(&[3, 4, 9]);
                format!(
                    "for (var k = 0u; k < {passes}u; k++) {{ a += x[k + l.y] * y[i]; {} }}",
                    self.statement(0)
                )
            }
            7 => {
                "for (var k = 0u; k < 70u; k++) { atomicAdd(&bins[(b ^ k) & 3u], data[i + k * 2u]); }".into()
            }
            8 => {
                let step = self.pick(&[1, 7, 16]);
                format!("for (var k = 0u; k < 6u; k++) {{ y[i] = y[i] * 3u + data[id.x + k * {step}u]; }}")
            }
            _ => {
                let (leave, stay) = (self.condition(), self.statement(0));
                format!("for (var k = 0u; k < 4u; k++) {{ if ({leave}) {{ break; }} {stay} }}")
            }
        }
    }

    fn statements(&mut self) -> String {
        (0..1 + self.numbers.next() % 3).map(|_| self.statement(2) + "\n").collect()
    }

    fn kernel(&mut self, [width, height]: [u32; 2]) -> String {
        let n = width * height;
        let (start, first, second) = (self.statements(), self.statements(), self.statements());
        let (head, inner) = (self.head(), self.head().replace('s', "t").replace("telect", "select"));
        let nested =
            self.pick(&["", "", &format!("{inner} {{ x[i] += t; workgroupBarrier(); }}")]).to_owned();
        let fill = self.pick(&[
            "x[i] = select(7u, data[id.x], id.x < count);",
            "if (id.x < count) { x[i] = data[id.x]; } else { x[i] = i; }",
            "if (id.x >= count) { x[i] = 1u; }",
            "x[i] = data[id.x * 2u];",
        ]);
        let end = self.pick(&[
            "",
            "if (id.x >= count) { return; }",
            "if (i == 3u) { return; }",
            "if (i > 9u) { b = 1u; }",
        ]);
        format!(
            "@group(0) @binding(0) var<storage, read> data: array<u32>;
            @group(0) @binding(1) var<storage, read_write> result: array<vec2<u32>>;
            var<workgroup> x: array<u32, {n}>;
            var<workgroup> y: array<u32, {n}>;
            var<workgroup> hits: atomic<u32>;
            var<workgroup> bins: array<atomic<u32>, 4>;
            @compute @workgroup_size({width}, {height}) fn main(@builtin(global_invocation_id) id: vec3<u32>,
                @builtin(local_invocation_id) l: vec3<u32>, @builtin(local_invocation_index) i: u32,
                @builtin(workgroup_id) group: vec3<u32>) {{
                let count = data[2];
                var s = 5u;
                var a = i * 7u;
                var b = id.x;
                var c = 0u;
                {fill}
                workgroupBarrier();
                {start}
                workgroupBarrier();
                {head} {{
                    {first}
                    workgroupBarrier();
                    x[i] += y[i] + b;
                    atomicAdd(&hits, a);
                    workgroupBarrier();
                    {nested}
                    {second}
                    workgroupBarrier();
                }}
                workgroupBarrier();
                {end}
                result[group.x * {n}u + i] = vec2(a + x[i], b ^ y[i] ^ atomicLoad(&hits) ^ atomicLoad(&bins[i & 3u]));
            }}"
        )
    }
}

#[test]
fn engines_agree_on_kernels_with_barriers() {
    let sizes = [
        [16, 1],
        [32, 1],
        [64, 1],
        [4, 1],
        [12, 1],
        [20, 1],
        [36, 1],
        [15, 1],
        [16, 4],
        [8, 4],
        [4, 8],
        [12, 3],
        [6, 4],
    ];
    for seed in 1..=40u64 {
        let size = sizes[seed as usize % sizes.len()];
        let numbers = Numbers::from_seed(seed);
        let mut writer = Writer { numbers, invocations: size[0] * size[1] };
        let source = writer.kernel(size);
        let count = writer.pick(&[0, 1, 3, 40, 61, 64, 1000]);
        let data = u32s([9, 1, count].into_iter().chain((0..97).map(|i| i * i + 3)));
        // Shorter than what the invocations write.
        let length = writer.pick(&[50, 131, 4 * 64]);
        Case::new(&source, [3, 1, 1], vec![data, vec![0; 8 * length]]).run();
    }
}

/// Kernels without barriers that take each element by itself: grids beyond what is bound, elements that are not there or lie
/// elsewhere than those of the neighbours, workgroups of rows.
#[test]
fn engines_agree_on_kernels_for_each_element() {
    let bodies = [
        "if (id.x >= arrayLength(&y)) { return; } y[n] = x[n] * 3u + y[n];",
        "if (id.x < count) { y[n] = x[id.x + 5u] ^ id.x; }",
        "y[n] = x[n] + x[min(id.x + 1u, 40u)];",
        "if (id.x >= count) { return; } let a = x[id.x]; y[n + 1024u] = a; y[n] += a;",
        "y[n * 2u] = x[id.x / 2u];",
        "y[n] = x[u32(clamp(i32(id.x) - 5, 0, i32(count) - 1))];",
        "y[n] = x[u32(min(max(max(i32(id.x) - 9, 0), 6), i32(count) + 2147483600))];",
        "y[n] = x[u32(max(bitcast<i32>(max(id.x + 2147483586u, 5u)), 0) - 2147483580)];",
        "y[n] = x[u32(clamp(i32(id.x << 26u), 0, 2147483645)) + id.x] ^ x[u32(max(min(i32(n) - 70, 41), 3))];",
        "if (id.x > count) { return; } y[n] = pack4x8unorm(unpack4x8unorm(x[n])) ^ pack2x16snorm(unpack2x16snorm(x[n]));",
    ];
    for (body, size) in bodies.into_iter().flat_map(|body| ["64", "16, 4", "8, 8"].map(|size| (body, size))) {
        let source = format!(
            "@group(0) @binding(0) var<storage, read> x: array<u32>;
            @group(0) @binding(1) var<storage, read_write> y: array<u32>;
            var<immediate> count: u32;
            @compute @workgroup_size({size}) fn main(@builtin(global_invocation_id) id: vec3u) {{
                let n = id.x + id.y * 128u;
                {body}
            }}"
        );
        for (lengths, count) in [([999, 2100], 77), ([128, 61], 125), ([33, 520], 2), ([7, 3], 128)] {
            let words = |length: u32| u32s((0..length).map(|i| i.wrapping_mul(0x9E37_79B9)));
            let mut case = Case::new(&source, [2, 1, 1], lengths.map(words).to_vec());
            case.immediates = u32s([count]);
            case.run();
        }
    }
}

#[test]
fn buffers_end_amid_steps() {
    let source = "
        struct Pair { a: u32, b: f32 }
        @group(0) @binding(0) var<storage, read> from_rows: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> rows: array<vec4<f32>>;
        @group(0) @binding(2) var<storage, read_write> columns: array<vec4<u32>>;
        @group(0) @binding(3) var<storage, read_write> pairs: array<Pair>;
        @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if (i >= arrayLength(&rows)) { return; }
            rows[i] = from_rows[i] * 2.0;
            columns[i] = vec4(i, i * i, i + 7u, ~i);
            pairs[i] = Pair(i, from_rows[i + 1u].y);
        }";
    let values = |n: u32| u32s((0..n).map(|i| ((i * 37 % 11) as f32).to_bits()));
    for (given, rows, columns, pairs) in
        [(64, 64, 64, 64), (61, 35, 64, 33), (3, 50, 49, 64), (40, 64, 18, 5)]
    {
        let buffers = vec![values(4 * given), vec![0; 16 * rows], vec![0; 16 * columns], vec![0; 8 * pairs]];
        let got = Case::new(source, [2, 1, 1], buffers).run();
        let filled = to_u32s(&got[2]).chunks(4).rposition(|row| row[3] != 0);
        assert_eq!(filled, Some(rows.min(columns) - 1));
    }
}

#[test]
fn of_those_who_write_one_place_the_last_stays() {
    let source = "
        struct Pair { a: u32, b: f32 }
        @group(0) @binding(0) var<storage, read> from_rows: array<vec4<f32>>;
        @group(0) @binding(1) var<storage, read_write> row: array<vec4<f32>, 2>;
        @group(0) @binding(2) var<storage, read_write> last: array<u32>;
        @group(0) @binding(3) var<storage, read_write> pairs: array<Pair>;
        @compute @workgroup_size(32) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            let i = id.x;
            if (from_rows[i].x > 3.0) {
                last[0] = i;
                pairs[1] = Pair(i * 3u, from_rows[i].z);
                row[1] = from_rows[i];
            }
        }";
    let rows = |i: u32| ((i * 37 % 11) as f32).to_bits();
    let buffers = vec![u32s((0..4 * 32).map(rows)), vec![0; 32], vec![0; 4], vec![0; 16]];
    let got = Case { races: true, ..Case::new(source, [1, 1, 1], buffers) }.run();
    let last = (0..32).rfind(|i| f32::from_bits(rows(4 * i)) > 3.0).unwrap();
    assert_eq!(to_u32s(&got[2]), [last]);
    assert_eq!(to_u32s(&got[3])[2..], [last * 3, rows(4 * last + 2)]);
    assert_eq!(to_u32s(&got[1])[4..], [0, 1, 2, 3].map(|i| rows(4 * last + i)));
}
