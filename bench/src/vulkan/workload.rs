//! What all peers do, as data: the same dispatches with the same orders, so that their bytes can be compared.

use std::fmt::Write;

/// What kernels call their bindings, in order: what they write, and up to two that they read.
pub const NAMES: [&str; 3] = ["words", "source", "second"];
/// Bytes from one independent range to the next: all drivers align to it. A dispatch of one workgroup touches all of it.
pub const STRIDE: u64 = 256;

const STREAM: &str = "
@compute @workgroup_size(64) fn step(@builtin(global_invocation_id) id: vec3u) { words[id.x] = words[id.x] * 3u + 1u; }
@compute @workgroup_size(64) fn pass_on(@builtin(global_invocation_id) id: vec3u) { words[id.x] = source[id.x] * 3u + 1u; }
";

/// An entry point, and how many of [`NAMES`] it binds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kernel {
    pub name: &'static str,
    pub bindings: usize,
}

/// A part of a buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    pub buffer: usize,
    pub offset: u64,
    pub size: u64,
}

/// A kernel with what it has bound.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub kernel: usize,
    pub spans: [Span; 3],
}

#[derive(Clone, Copy, Debug)]
pub struct Dispatch {
    pub table: usize,
    pub groups: [u32; 3],
    /// Whether all before it in its lane must be done.
    pub barrier: bool,
    /// Whether it begins a pass.
    pub pass: bool,
}

/// Dispatches, and what they need.
pub struct Workload {
    /// What tables call it.
    pub name: String,
    pub source: String,
    pub kernels: Vec<Kernel>,
    /// Words of each buffer, on the device.
    pub buffers: Vec<usize>,
    /// What a buffer holds at the start; the others, anything.
    pub contents: Vec<(usize, Vec<u32>)>,
    pub tables: Vec<Table>,
    /// Whether each table is used once, so that who binds by offsets does so.
    pub ranges: bool,
    /// Buffers that are there and could be reached beside.
    pub reachable: u32,
    /// For each queue that there should be, what it does.
    pub lanes: Vec<Vec<Dispatch>>,
    /// What is compared in the end.
    pub output: Vec<Span>,
    /// What it holds after so many runs.
    pub expected: Box<dyn Fn(u32) -> Vec<u32>>,
}

impl Workload {
    pub fn dispatches(&self) -> usize {
        self.lanes.iter().map(Vec::len).sum()
    }

    pub fn kernel(&self, table: usize) -> Kernel {
        self.kernels[self.tables[table].kernel]
    }

    /// What one of so many queues does: its lanes step by step, so that they share passes and barriers.
    pub fn queue(&self, at: usize, of: usize) -> Vec<Dispatch> {
        let lanes: Vec<&Vec<Dispatch>> = self.lanes.iter().skip(at).step_by(of).collect();
        let longest = lanes.iter().map(|lane| lane.len()).max().unwrap_or(0);
        let mut all = Vec::new();
        for step in 0..longest {
            let together: Vec<Dispatch> = lanes.iter().filter_map(|lane| lane.get(step)).copied().collect();
            let barrier = together.iter().any(|dispatch| dispatch.barrier);
            let pass = together.iter().any(|dispatch| dispatch.pass);
            let first =
                |(at, dispatch)| Dispatch { barrier: barrier && at == 0, pass: pass && at == 0, ..dispatch };
            all.extend(together.into_iter().enumerate().map(first));
        }
        all
    }
}

/// The dispatches of each pass.
pub fn passes(dispatches: &[Dispatch]) -> impl Iterator<Item = &[Dispatch]> {
    dispatches.chunk_by(|_, next| !next.pass)
}

/// SPIR-V of a kernel, as `ash` by hand and vulkano take it.
pub fn spirv(workload: &Workload, kernel: Kernel) -> Vec<u32> {
    use naga::back::spv;
    let module = naga::front::wgsl::parse_str(&workload.source).expect("the source is valid");
    let flags = naga::valid::ValidationFlags::all();
    let mut validator = naga::valid::Validator::new(flags, naga::valid::Capabilities::all());
    let info = validator.validate(&module).expect("the source is valid");
    let binding = |binding| {
        let to = spv::BindingInfo { descriptor_set: 0, binding, binding_array_size: None };
        (naga::ResourceBinding { group: 0, binding }, to)
    };
    let options = spv::Options {
        lang_version: (1, 4),
        flags: spv::WriterFlags::empty(),
        // By hand nobody would count rounds that surely end.
        force_loop_bounding: false,
        binding_map: (0..NAMES.len() as u32).map(binding).collect(),
        ..Default::default()
    };
    let entry_point = kernel.name.into();
    let pipeline = spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).expect("SPIR-V has all of it")
}

/// The device that Lockgate calls so: its name up to a bracket, words joined by dashes, and a number for the second of a name.
pub fn find_adapter<T>(
    all: impl IntoIterator<Item = T>,
    adapter: &str,
    name: impl Fn(&T) -> String,
) -> Result<T, String> {
    let (wanted, number) = adapter.split_once('#').unwrap_or((adapter, "1"));
    let short = |device: &T| {
        let name = name(device).to_lowercase();
        let words = name.split('(').next().unwrap_or_default().split(|c: char| !c.is_alphanumeric());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    };
    let before = number.parse::<usize>().map_or(0, |number| number - 1);
    all.into_iter().filter(|device| short(device) == wanted).nth(before).ok_or("no such device".into())
}

/// The declarations of all bindings.
pub fn declarations() -> String {
    let mut text = String::new();
    for (at, name) in NAMES.iter().enumerate() {
        let access = if at == 0 { "read_write" } else { "read" };
        let _ = writeln!(text, "@group(0) @binding({at}) var<storage, {access}> {name}: array<u32>;");
    }
    text
}

/// A stream of tiny dispatches.
#[derive(Clone, Copy)]
struct Stream {
    count: usize,
    /// Whether each reads what the one before wrote, from one buffer to another and back; else each has a range of its
    /// own.
    dependent: bool,
    /// Whether each is a pass of its own.
    passes: bool,
    reachable: u32,
}

/// Streams (a) to (e); fewer dispatches on a quick run.
pub fn streams(quick: bool) -> Vec<Workload> {
    let many = if quick { 500 } else { 10_000 };
    let plain = Stream { count: many, dependent: false, passes: false, reachable: 0 };
    let beside = Stream { count: 1_000, reachable: 6_000, ..plain };
    let passes = Stream { count: 64, passes: true, ..plain };
    vec![
        stream(format!("(a) {many} independent dispatches in one pass"), plain),
        stream(format!("(b) {many} dependent dispatches in one pass"), Stream { dependent: true, ..plain }),
        stream("(c) 64 independent passes".into(), passes),
        stream("(d) 64 dependent passes".into(), Stream { dependent: true, ..passes }),
        stream("(e) 1000 dispatches beside 6000 untracked buffers".into(), beside),
    ]
}

fn stream(name: String, stream: Stream) -> Workload {
    let Stream { count, dependent, passes, reachable } = stream;
    let span = |buffer, at: usize| Span { buffer, offset: at as u64 * STRIDE, size: STRIDE };
    let words = STRIDE as usize / 4;
    let (buffers, tables) = if dependent {
        let table = |to| Table { kernel: 0, spans: [span(to, 0), span(1 - to, 0), Span::default()] };
        (vec![words; 2], vec![table(1), table(0)])
    } else {
        let table = |at| Table { kernel: 0, spans: [span(0, at), Span::default(), Span::default()] };
        (vec![words * count], (0..count).map(table).collect())
    };
    let dispatch = |at| Dispatch {
        table: at % tables.len(),
        groups: [1, 1, 1],
        barrier: dependent && at > 0,
        pass: passes || at == 0,
    };
    let kernel = if dependent {
        Kernel { name: "pass_on", bindings: 2 }
    } else {
        Kernel { name: "step", bindings: 1 }
    };
    let last = tables[(count - 1) % tables.len()].spans[0];
    Workload {
        name,
        source: declarations() + STREAM,
        kernels: vec![kernel],
        contents: buffers.iter().enumerate().map(|(at, words)| (at, vec![1; *words])).collect(),
        buffers,
        lanes: vec![(0..count).map(dispatch).collect()],
        tables,
        ranges: !dependent,
        reachable,
        output: vec![last],
        expected: Box::new(move |runs| {
            let steps = if dependent { runs * count as u32 } else { runs };
            vec![(0..steps).fold(1u32, |word, _| word.wrapping_mul(3).wrapping_add(1)); words]
        }),
    }
}

/// One way to run a workload.
pub trait Peer {
    /// What tables call it.
    fn name(&self) -> String;
    /// Records and submits; what the host does until the work is the driver's.
    fn submit(&mut self);
    /// Waits until it is done.
    fn wait(&mut self);
    /// Nanoseconds that the device took for the last run, if it says.
    fn device(&mut self) -> Option<f64>;
    /// What the output holds.
    fn words(&mut self) -> Vec<u32>;
    /// Barriers that the driver was given in the last run, if the peer knows.
    fn barriers(&self) -> Option<usize> {
        None
    }
}
