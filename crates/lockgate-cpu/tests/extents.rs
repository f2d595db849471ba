//! Proven extents against what kernels really touch: nothing outside of `may`, everything of `must`.

#[path = "kernel/generate.rs"]
mod generate;

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::*;
use std::fmt::Write;

/// A kernel, its dispatch, and what is bound.
struct Case<'a> {
    source: &'a str,
    entry: &'a str,
    grid: ExtentGrid,
    sizes: &'a [u64],
    immediates: &'a [u32],
    constants: &'a [(String, f64)],
}

fn case<'a>(source: &'a str, grid: ExtentGrid, sizes: &'a [u64]) -> Case<'a> {
    Case { source, entry: "main", grid, sizes, immediates: &[], constants: &[] }
}

/// What was proven of a binding, and what it came to.
struct Outcome {
    extents: Vec<Extent>,
    /// Reads and writes by binding.
    seen: Vec<[ByteSet; 2]>,
}

impl Case<'_> {
    fn bytes(&self) -> Vec<u8> {
        self.immediates.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn prove(&self) -> Vec<Extent> {
        let library = Library::new(self.source).unwrap_or_else(|error| panic!("{error} in {}", self.source));
        let bytes = self.bytes();
        let query = ExtentQuery { immediates: &bytes, ..ExtentQuery::new(self.grid, self.sizes) };
        library.extents(self.entry, self.constants, &query).unwrap()
    }

    /// Runs it under observation and compares.
    fn check(&self) -> Outcome {
        let cpu = CpuDescriptor { order: Order::Recording, ..Default::default() };
        let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
        let device = Device::open(Box::new(CpuBackend::new(&cpu).unwrap()), descriptor).unwrap();
        let library =
            device.new_library(self.source).unwrap_or_else(|error| panic!("{error} in {}", self.source));
        let pipeline =
            device.new_compute_pipeline_with_constants(&library, self.entry, self.constants).unwrap();
        let table = device.new_argument_table();
        let buffers: Vec<Buffer> = self
            .sizes
            .iter()
            .map(|size| {
                let words: Vec<u32> =
                    (0..size / 4).map(|at| (at as u32).wrapping_mul(2654435761) >> 8).collect();
                device.new_buffer_with_data(&words).unwrap()
            })
            .collect();
        for (declared, buffer) in pipeline.reflection().bindings.iter().zip(&buffers) {
            table.set_buffer((declared.group, declared.binding), buffer);
        }
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let mut commands = device.new_command_buffer("case");
        commands.begin(&device.new_command_allocator("case"));
        let mut encoder = commands.compute_command_encoder("case");
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(&table);
        encoder.set_immediates(self.immediates);
        match self.grid {
            ExtentGrid::Threads(threads) => encoder.dispatch_threads(threads),
            ExtentGrid::Threadgroups(groups) => encoder.dispatch_threadgroups(groups),
            ExtentGrid::Unknown => encoder.dispatch_threadgroups([3, 1, 1]),
        }
        encoder.end_encoding();
        commands.end().unwrap();
        queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        let observation = device.take_observation();
        assert!(observation.commands[0].complete);
        let bytes = self.bytes();
        let query = ExtentQuery { immediates: &bytes, ..ExtentQuery::new(self.grid, self.sizes) };
        let extents = pipeline.extents(&query);
        assert_eq!(extents, self.prove());
        self.compare(extents, &buffers, &observation)
    }

    fn compare(&self, extents: Vec<Extent>, buffers: &[Buffer], observation: &Observation) -> Outcome {
        let mut seen = vec![[ByteSet::new(), ByteSet::new()]; buffers.len()];
        let source = self.source;
        for access in &observation.commands[0].accesses {
            let at = buffers.iter().position(|buffer| buffer.key() == access.resource).unwrap();
            let extent = extents.iter().find(|extent| extent.index as usize == at).unwrap();
            let (reads, writes) = (&extent.reads.may, &extent.writes.may);
            let (proven, into): (ByteSet, &[usize]) = match access.kind {
                ObservedKind::Read | ObservedKind::AtomicLoad => (reads.clone(), &[0]),
                ObservedKind::Write => (writes.clone(), &[1]),
                ObservedKind::Atomic => {
                    (reads.ranges().iter().chain(writes.ranges()).cloned().collect(), &[0, 1])
                }
            };
            assert!(proven.contains_all(&access.bytes), "{access:?} not in {proven:?}\n{source}");
            into.iter().for_each(|kind| seen[at][*kind].union(&access.bytes));
        }
        for extent in &extents {
            for (touched, seen) in
                [&extent.reads, &extent.writes].into_iter().zip(&seen[extent.index as usize])
            {
                assert!(touched.may.contains_all(&touched.must));
                assert!(seen.contains_all(&touched.must), "{:?} not in {seen:?}\n{source}", touched.must);
            }
        }
        Outcome { extents, seen }
    }

    /// Checks it, and that nothing is left open: both bounds are what was touched.
    fn exact(&self) {
        let Outcome { extents, seen } = self.check();
        for extent in &extents {
            let [reads, writes] = &seen[extent.index as usize];
            for (touched, seen) in [(&extent.reads, reads), (&extent.writes, writes)] {
                assert_eq!((&touched.may, &touched.must), (seen, seen), "{}", self.source);
            }
        }
    }
}

const DATA: &str = "@group(0) @binding(0) var<storage, read_write> data: array<u32>;\n";
const IDS: &str = "@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_id) lid: vec3u,
    @builtin(workgroup_id) wid: vec3u, @builtin(local_invocation_index) lane: u32";

fn kernel(size: &str, body: &str) -> String {
    format!(
        "{DATA}var<immediate> given: u32;\n@compute @workgroup_size({size}) fn main({IDS}) {{\n{body}\n}}\n"
    )
}

#[test]
fn what_is_affine_is_exact() {
    let threads = ExtentGrid::Threads([100, 1, 1]);
    let groups = ExtentGrid::Threadgroups([3, 1, 1]);
    for (grid, body) in [
        (threads, "data[id.x] = 1u;"),
        (threads, "data[2u * id.x + 7u] = data[id.x + 500u];"),
        (threads, "if id.x >= 40u { return; } data[id.x] = 1u;"),
        (
            threads,
            "let i = id.x; if i < 10u && given == 5u { data[500u] = i; } if i > 3u && i < 9u { data[i] = 1u; }",
        ),
        (threads, "if id.x < arrayLength(&data) { data[id.x * 3u] += 1u; }"),
        (threads, "for (var k = 0u; k < 4u; k++) { data[4u * id.x + k] = k; }"),
        (threads, "for (var k = 1u; k <= 7u; k += 3u) { data[8u * id.x + k] = k; }"),
        (threads, "var i = id.x; i += 3u; i *= 2u; data[i] = 0u; if id.x == 99u { i = 900u; data[i] = 1u; }"),
        (threads, "let i = i32(id.x) - 20; if i >= 0 { data[i] = 1u; }"),
        (threads, "data[min(id.x, 200u)] = max(given, 3u);"),
        (threads, "data[id.x + given] = 1u;"),
        (groups, "data[64u * wid.x + lane] = 1u;"),
        (groups, "if lane == 0u { data[wid.x] = 1u; }"),
        (groups, "for (var k = lane; k < 256u; k += 64u) { data[k] = 1u; }"),
    ] {
        let source = kernel("64", body);
        Case { immediates: &[5], ..case(&source, grid, &[4096]) }.exact();
    }
    let two = kernel("8, 4", "if id.x < 20u && id.y < 10u { data[id.y * 32u + id.x] = 1u; }");
    case(&two, ExtentGrid::Threads([24, 12, 1]), &[4096]).exact();
    case(&two, ExtentGrid::Threadgroups([3, 3, 1]), &[4096]).exact();
}

#[test]
fn structures_functions_and_constants_are_followed() {
    let source = "struct Particle { position: vec3f, mass: f32, velocity: vec3f, age: u32 }
    struct World { count: u32, particles: array<Particle> }
    @group(0) @binding(1) var<storage, read_write> world: World;
    @group(0) @binding(3) var<uniform> colors: array<vec4f, 4>;
    override rows: u32 = 2u;
    override width: u32;
    fn place(row: u32, column: u32) -> u32 { if row > 100u { return 0u; } return row * width + column; }
    fn bump(into: ptr<function, u32>) { *into += 1u; }
    @compute @workgroup_size(width, rows) fn main(@builtin(global_invocation_id) id: vec3u) {
        let at = id.y * width + id.x;
        world.particles[at].velocity = world.particles[at].position * colors[2].x;
        world.particles[at].age = 1u;
    }
    @compute @workgroup_size(4) fn second(@builtin(global_invocation_id) id: vec3u) {
        var n = id.x; bump(&n);
        world.particles[place(0u, id.x)].mass = 1.0;
        if n < 2u { world.count = 4u; }
    }";
    let constants = [("width".to_owned(), 4.0)];
    let grid = ExtentGrid::Threadgroups([1, 2, 1]);
    let sizes = [16 + 32 * 20, 64];
    let first = Case { constants: &constants, ..case(source, grid, &sizes) };
    first.exact();
    assert_eq!(first.prove()[1].reads.may, ByteSet::from(32..36));
    let second = Case { entry: "second", ..first };
    let outcome = second.check();
    assert_eq!(outcome.extents[0].writes.may.ranges().len(), 9 - 4);
}

#[test]
fn what_cannot_be_proven_is_left_open() {
    let grid = ExtentGrid::Threads([100, 1, 1]);
    let whole = ByteSet::from(0..4096);
    for body in [
        "data[data[id.x] % 2048u] = 1u;",
        "data[id.x * id.x * 1000u] = 1u;",
        "if data[5] == 7u { data[id.x - 1u] = 1u; } else { data[id.x - 1u] = 2u; }",
    ] {
        let source = kernel("64", body);
        let outcome = case(&source, grid, &[4096]).check();
        assert_eq!(
            (&outcome.extents[0].writes.may, outcome.extents[0].writes.must.is_empty()),
            (&whole, true)
        );
    }
    for (body, end) in [
        ("if data[id.x] == 7u { data[id.x] = 1u; }", 400),
        ("if data[id.x] == 7u { return; } data[id.x] = 1u;", 400),
        ("loop { if data[3] != 0u { break; } } data[id.x % 10u] = 1u;", 40),
        ("for (var k = 0u; k < min(data[id.x], 4u); k++) { data[k] = 1u; }", 16),
        ("for (var k = 0u; k < 4u; k++) { if k == 2u { break; } data[k] = 1u; }", 16),
        ("data[clamp(data[id.x], 3u, 8u) - 3u] = 1u;", 24),
        ("data[data[id.x] & 7u] = 1u;", 32),
    ] {
        let source = kernel("64", body);
        let outcome = case(&source, grid, &[4096]).check();
        let writes = &outcome.extents[0].writes;
        assert_eq!((&writes.may, writes.must.is_empty()), (&ByteSet::from(0..end), true), "{body}");
    }
    let source = kernel("64", "data[id.x] = 1u; data[lane] += 1u;");
    let unknown = case(&source, ExtentGrid::Unknown, &[4096]).check();
    assert_eq!((&unknown.extents[0].writes.may, unknown.extents[0].writes.must.is_empty()), (&whole, true));
    assert_eq!(unknown.extents[0].reads.may, ByteSet::from(0..256));
    // Of ids that depend on each other not all pairs exist.
    let source = kernel("64", "data[id.x - 64u * wid.x] = 1u; if id.x < 3u { data[200u + lane] = 1u; }");
    case(&source, ExtentGrid::Threads([100, 1, 1]), &[4096]).check();
}

#[test]
fn atomics_and_their_failures() {
    let source = "@group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>>;
    @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3u) {
        atomicAdd(&counts[id.x], 1u);
        atomicStore(&counts[id.x + 16u], 2u);
        let seen = atomicCompareExchangeWeak(&counts[id.x + 32u], 77u, 2u).old_value;
    }";
    let outcome = case(source, ExtentGrid::Threads([8, 1, 1]), &[256]).check();
    let [reads, writes] = [&outcome.extents[0].reads, &outcome.extents[0].writes];
    let set = |ranges: &[std::ops::Range<u64>]| ranges.iter().cloned().collect::<ByteSet>();
    assert_eq!((&reads.must, &reads.may), (&set(&[0..32, 128..160]), &set(&[0..32, 128..160])));
    assert_eq!((&writes.must, &writes.may), (&set(&[0..32, 64..96]), &set(&[0..32, 64..96, 128..160])));
}

/// Kernels of guards, loops and sums, out of numbers.
struct Writer {
    seed: u64,
    text: String,
    names: Vec<String>,
    loops: u32,
}

impl Writer {
    fn pick(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) % below
    }

    fn name(&mut self) -> String {
        let at = self.pick(self.names.len() as u64) as usize;
        self.names[at].clone()
    }

    fn index(&mut self, depth: u32) -> String {
        let name = self.name();
        let constant = self.pick(40);
        if depth == 0 {
            return name;
        }
        let (a, b) = (self.index(depth - 1), self.index(depth - 1));
        match self.pick(14) {
            0..3 => name,
            3 => format!("{constant}u"),
            4..7 => format!("({a} + {constant}u)"),
            7 => format!("({a} + {b})"),
            8 => format!("({a} - {constant}u)"),
            9 => format!("{}u * {a}", 1 + constant % 5),
            10 => format!("min({a}, {b})"),
            11 => format!("max({a}, {constant}u)"),
            12 => {
                format!("({a} {} {}u)", ["/", "%", ">>", "&", "<<"][constant as usize % 5], 1 + constant % 7)
            }
            _ => format!("select({a}, {b}, {})", self.condition(0)),
        }
    }

    fn condition(&mut self, depth: u32) -> String {
        let (a, b) = (self.index(depth), self.index(depth.min(1)));
        let constant = self.pick(60);
        let compare = ["<", "<=", ">", ">=", "==", "!="][self.pick(6) as usize];
        match self.pick(6) {
            0 => format!("{a} {compare} {b}"),
            1 if depth > 0 => format!("({}) && ({})", self.condition(0), self.condition(0)),
            2 if depth > 0 => format!("!(({}) || ({}))", self.condition(0), self.condition(0)),
            _ => format!("{a} {compare} {constant}u"),
        }
    }

    fn statements(&mut self, depth: u32) {
        for _ in 0..1 + self.pick(4) {
            let (index, from, condition) = (self.index(2), self.index(2), self.condition(1));
            let mut line = String::new();
            let written = match self.pick(if depth == 0 { 5 } else { 10 }) {
                0 => writeln!(line, "data[{index}] = {from};"),
                1 => writeln!(line, "data[{index}] += other[{from}].b;"),
                2 => writeln!(line, "m = {index};"),
                3 => writeln!(line, "other[{index}].a = vec3u({from});"),
                4 if self.loops > 0 && self.pick(3) == 0 => writeln!(line, "if {condition} {{ break; }}"),
                4 => writeln!(line, "v[{}] = {index}; m = v.y;", self.pick(2)),
                5 => writeln!(line, "if {condition} {{ return; }}"),
                _ => {
                    self.nested(depth - 1, &condition);
                    Ok(())
                }
            };
            assert!(written.is_ok());
            self.text.push_str(&line);
        }
    }

    fn nested(&mut self, depth: u32, condition: &str) {
        if self.pick(2) == 0 {
            self.text.push_str(&format!("if {condition} {{\n"));
            self.statements(depth);
            self.text.push_str("} else {\n");
            self.statements(depth);
            self.text.push_str("}\n");
            return;
        }
        let counter = format!("k{}", self.names.len());
        let (first, step) = (if self.pick(2) == 0 { "0u".into() } else { self.name() }, 1 + self.pick(3));
        let end = if self.pick(3) == 0 {
            format!("min({}, 9u)", self.name())
        } else {
            format!("{}u", self.pick(9))
        };
        self.text.push_str(&format!(
            "for (var {counter} = {first}; {counter} < {end}; {counter} += {step}u) {{\n"
        ));
        self.names.push(counter);
        self.loops += 1;
        self.statements(depth);
        self.loops -= 1;
        self.names.pop();
        self.text.push_str("}\n");
    }
}

#[test]
fn generated_kernels_stay_inside_and_do_what_they_must() {
    let (mut proven, mut sure, mut ran) = (0, 0, 0);
    for seed in 1..=600 {
        let names =
            ["id.x", "id.y", "lid.x", "wid.x", "wid.y", "lane", "m", "v.x"].map(String::from).to_vec();
        let mut writer = Writer { seed: seed * 7919, text: String::new(), names, loops: 0 };
        writer.statements(3);
        let body = std::mem::take(&mut writer.text);
        let source = format!(
            "struct Pair {{ a: vec3u, b: u32, c: vec2u }}
            @group(0) @binding(0) var<storage, read_write> data: array<u32>;
            @group(0) @binding(1) var<storage, read_write> other: array<Pair, 20>;
            @compute @workgroup_size(8, 2) fn main({IDS}) {{ var m = 3u; var v = vec2u(id.xy);\n{body}}}"
        );
        let grid = match writer.pick(4) {
            0 => ExtentGrid::Threads([19, 3, 1]),
            1 => ExtentGrid::Threads([16, 4, 1]),
            2 => ExtentGrid::Unknown,
            _ => ExtentGrid::Threadgroups([3, 2, 1]),
        };
        // Indices that are constant and out of range are refused.
        let Ok(library) = Library::new(&source) else { continue };
        ran += 1;
        let used = library.reflect("main").unwrap().bindings;
        let sizes: Vec<u64> = used.iter().map(|own| if own.binding == 0 { 800 } else { 640 }).collect();
        for extent in case(&source, grid, &sizes).check().extents {
            let size = sizes[extent.index as usize];
            for touched in [extent.reads, extent.writes] {
                proven += u32::from(!touched.may.is_empty() && touched.may.len() < size);
                sure += u32::from(!touched.must.is_empty());
            }
        }
    }
    assert!(proven > 100 && sure > 100 && ran > 300, "{proven} {sure} {ran}");
}

#[test]
fn kernels_of_the_other_generator_stay_inside() {
    let mut seed = 11u64;
    for _ in 0..40 {
        let byte = |_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 40) as u8
        };
        let source = generate::kernel(&(0..150).map(byte).collect::<Vec<u8>>());
        let sizes = [4 * 21, 16 * 37, 16 * 100, 16 * 61, 4 * 61, 32];
        let all = Library::new(&source).unwrap().reflect("main").unwrap().bindings;
        let used: Vec<u64> = all.iter().map(|own| sizes[own.binding as usize]).collect();
        case(&source, ExtentGrid::Threadgroups([3, 1, 1]), &used).check();
    }
}
