//! What all peers do: the same dispatches with the same orders, so that their bytes can be compared.

/// Words that a dispatch of one workgroup touches.
pub const WORDS: usize = 64;
/// Bytes from one independent range to the next: all drivers align to it.
pub const STRIDE: u64 = 256;

/// The kernels.
pub const KERNELS: &str = "
@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<storage, read> source: array<u32>;
@compute @workgroup_size(64) fn step(@builtin(global_invocation_id) id: vec3u) { words[id.x] = words[id.x] * 3u + 1u; }
@compute @workgroup_size(64) fn pass_on(@builtin(global_invocation_id) id: vec3u) { words[id.x] = source[id.x] * 3u + 1u; }";

/// A stream of dispatches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// What tables call it.
    pub name: &'static str,
    /// How many dispatches.
    pub count: u32,
    /// Whether each reads what the one before wrote, from one buffer to another and back; else each has a range of its
    /// own.
    pub dependent: bool,
    /// Whether each is a pass of its own.
    pub passes: bool,
    /// Buffers that are there and could be reached beside.
    pub reachable: u32,
}

const PLAIN: Workload = Workload { name: "", count: 10_000, dependent: false, passes: false, reachable: 0 };

/// All of them; fewer dispatches on a quick run.
pub fn workloads(quick: bool) -> Vec<Workload> {
    let count = if quick { 500 } else { 10_000 };
    vec![
        Workload { name: "(a) independent dispatches in one pass", count, ..PLAIN },
        Workload { name: "(b) dependent dispatches in one pass", count, dependent: true, ..PLAIN },
        Workload { name: "(c) 64 independent passes", count: 64, passes: true, ..PLAIN },
        Workload { name: "(d) 64 dependent passes", count: 64, passes: true, dependent: true, ..PLAIN },
        Workload {
            name: "(e) dispatches beside 6,000 untracked buffers",
            count: 1_000,
            reachable: 6_000,
            ..PLAIN
        },
    ]
}

impl Workload {
    /// What the words hold after so many runs: those of the last range, or of the buffer written last.
    pub fn expected(&self, runs: u32) -> u32 {
        let steps = if self.dependent { runs * self.count } else { runs };
        (0..steps).fold(1u32, |word, _| word.wrapping_mul(3).wrapping_add(1))
    }
}

/// One way to run a workload.
pub trait Peer {
    /// What tables call it.
    fn name(&self) -> String;
    /// Records and submits; what the host does until the work is the driver's.
    fn submit(&mut self);
    /// Waits until it is done. Nanoseconds that the device took, if it says.
    fn wait(&mut self) -> Option<f64>;
    /// The words that were written last.
    fn words(&mut self) -> Vec<u32>;
    /// Barriers that the driver was given in the last run, if the peer knows.
    fn barriers(&self) -> Option<usize> {
        None
    }
}
