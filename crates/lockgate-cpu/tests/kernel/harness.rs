//! Runs WGSL on every engine, in buffers with guard bytes around, and compares what they leave behind.

use std::sync::atomic::AtomicBool;

pub(crate) use crate::case::*;
use lockgate_cpu::kernel::watch::{Recorder, Space};
use lockgate_cpu::kernel::{
    Binding, BufferBinding, Engine, Kernel, KernelDescriptor, KernelError, Lanes, Launch, Outcome, SlotKind,
};
use lockgate_runtime::{ByteSet, ExtentGrid, ExtentQuery, Library, ObservedKind};
use naga::valid::{Capabilities, ValidationFlags, Validator};

const GUARD: usize = 64;
const GUARD_BYTE: u8 = 0xA5;

/// Every way to run a kernel.
pub(crate) const ENGINES: [(Engine, Lanes); 3] =
    [(Engine::Interpreter, Lanes::One), (Engine::Jit, Lanes::One), (Engine::Jit, Lanes::Four)];

/// The same, and both ways to record.
pub(crate) const ENGINES_AND_RECORDERS: [(Engine, Lanes); 5] = [
    (Engine::Interpreter, Lanes::One),
    (Engine::Jit, Lanes::One),
    (Engine::Jit, Lanes::Four),
    (Engine::Interpreter, Lanes::Watched),
    (Engine::Jit, Lanes::Watched),
];

/// Whether invocations race, other than by writing what is there.
pub(crate) fn races(recorder: &Recorder) -> bool {
    recorder.races().iter().any(|race| !race.equal_values)
}

fn textures(launch: &Launch<'_>) -> bool {
    launch.bindings.iter().any(|binding| matches!(binding, Binding::Texture(_)))
}

/// Runs a whole launch, with a record of it if the kernel was made for that.
///
/// # Safety
/// As for [`Kernel::run`].
pub(crate) unsafe fn run(kernel: &Kernel, lanes: Lanes, launch: &Launch<'_>) -> (Outcome, Option<Recorder>) {
    let groups = 0..launch.grid.iter().map(|n| u64::from(*n)).product();
    if lanes != Lanes::Watched {
        // SAFETY: the caller's promise.
        return (unsafe { kernel.run(launch, groups) }, None);
    }
    let granule = kernel.smallest_scalar().min(if textures(launch) { 1 } else { 4 });
    // Nothing is bound twice here.
    let quiet = kernel.slots().iter().zip(launch.bindings).flat_map(|(slot, binding)| {
        let count = if let Binding::Array(list) = binding { list.len() } else { 1 };
        vec![!textures(launch) && matches!(slot.kind, SlotKind::Buffer { writable: false, .. }); count]
    });
    let recorder = Recorder::new(launch.grid, kernel.workgroup_size(), Vec::new(), granule);
    let mut recorder = recorder.with_quiet(quiet.collect());
    // SAFETY: the caller's promise.
    let outcome = unsafe { kernel.watch(launch, groups, &mut recorder) };
    recorder.finish();
    (outcome, Some(recorder))
}

/// Draws kernels from seeds and says of each whether there were races. Enough have to have some, and enough none, so that a check
/// that sees nothing fails.
pub(crate) fn draw(seeds: u64, least: u32, mut check: impl FnMut(u64, &mut Numbers) -> bool) {
    let mut counts = [0; 2];
    for seed in 1..=seeds {
        counts[usize::from(check(seed, &mut Numbers::from_seed(seed)))] += 1;
    }
    assert!(counts.iter().all(|count| *count > least), "{counts:?}");
}

/// Memory with guard bytes before and behind.
pub(crate) struct Memory {
    storage: Vec<u128>,
    len: usize,
}

impl Memory {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let words = (bytes.len() + 2 * GUARD).div_ceil(16);
        let mut memory =
            Self { storage: vec![u128::from_le_bytes([GUARD_BYTE; 16]); words], len: bytes.len() };
        memory.raw()[GUARD..GUARD + bytes.len()].copy_from_slice(bytes);
        memory
    }

    fn raw(&mut self) -> &mut [u8] {
        let len = self.storage.len() * 16;
        // SAFETY: the bytes of a vector of integers.
        unsafe { std::slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast(), len) }
    }

    pub(crate) fn ptr(&mut self) -> *mut u8 {
        self.raw()[GUARD..].as_mut_ptr()
    }

    pub(crate) fn binding(&mut self) -> Binding {
        Binding::Buffer(BufferBinding { ptr: self.ptr(), len: self.len as u64 })
    }

    /// The bytes, once the guards have been looked at.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let len = self.len;
        let raw = self.raw();
        assert!(raw[..GUARD].iter().all(|b| *b == GUARD_BYTE), "bytes before a buffer were written");
        assert!(raw[GUARD + len..].iter().all(|b| *b == GUARD_BYTE), "bytes behind a buffer were written");
        raw[GUARD..GUARD + len].to_vec()
    }
}

/// Compiles one entry point of some WGSL.
pub(crate) fn compile(
    source: &str,
    entry_point: &str,
    constants: &[(String, f64)],
    engine: Engine,
    lanes: Lanes,
) -> Result<Kernel, KernelError> {
    let module = match naga::front::wgsl::parse_str(source) {
        Ok(module) => module,
        Err(error) => panic!("{}", error.emit_to_string(source)),
    };
    let info = match Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module) {
        Ok(info) => info,
        Err(error) => panic!("{}", error.emit_to_string(source)),
    };
    Kernel::new(&KernelDescriptor { module: &module, info: &info, entry_point, constants, engine, lanes })
}

/// What a record says that does not depend on the order in which invocations run, with addresses of buffers counted from
/// their starts.
pub(crate) fn gist(recorder: &Recorder, bindings: &[Binding]) -> Vec<String> {
    let all: Vec<&Binding> = bindings
        .iter()
        .flat_map(|binding| match binding {
            Binding::Array(list) => list.iter().collect(),
            binding => vec![binding],
        })
        .collect();
    let start = |space: Space| match space {
        Space::Slot(slot) => match all[slot as usize] {
            Binding::Buffer(buffer) => buffer.ptr as u64,
            Binding::Texture(texture) => texture.levels[0].ptr as u64,
            _ => 0,
        },
        _ => 0,
    };
    let sites = recorder.sites();
    let name = |site: u16| {
        let site = &sites[usize::from(site)];
        format!("{:?} {:?} {:?} {}", site.span, site.kind, site.space, site.variable)
    };
    let touched = (0..sites.len() as u16).map(|site| {
        let start = start(sites[usize::from(site)].space);
        let bytes = recorder.bytes(site);
        let from_start = |range: &std::ops::Range<u64>| range.start.wrapping_sub(start)..range.end - start;
        format!("{} {:?}", name(site), bytes.ranges().iter().map(from_start).collect::<Vec<_>>())
    });
    let beyond = recorder.out_of_range().iter().map(|at| format!("beyond {} {}", name(at.site), at.count));
    let nothing = recorder.reads_of_nothing().map(|at| format!("nothing {} {}", name(at.site), at.count));
    let mut gist: Vec<String> = touched.chain(beyond).chain(nothing).collect();
    gist.sort();
    gist.push(format!("races {} complete {}", !recorder.races().is_empty(), recorder.is_complete()));
    gist
}

impl Case<'_> {
    /// What the buffers hold after a run on one engine.
    pub(crate) fn run_on(&self, engine: Engine, lanes: Lanes) -> Vec<Vec<u8>> {
        self.run_and_record(engine, lanes).0
    }

    /// The same, and what a record of the run says.
    fn run_and_record(&self, engine: Engine, lanes: Lanes) -> (Vec<Vec<u8>>, Option<Vec<String>>) {
        let kernel = match compile(self.source, self.entry, &self.constants, engine, lanes) {
            Ok(kernel) => kernel,
            Err(error) => panic!("{engine:?} {lanes:?}: {error}"),
        };
        assert_eq!(kernel.engine(), engine);
        let mut memories: Vec<Memory> = self.buffers.iter().map(|bytes| Memory::new(bytes)).collect();
        let bindings: Vec<Binding> = memories.iter_mut().map(Memory::binding).collect();
        let launch = Launch {
            grid: self.grid,
            threads: self.threads,
            bindings: &bindings,
            immediates: &self.immediates,
            stop: &AtomicBool::new(false),
        };
        // SAFETY: the memories outlive the call, and nothing else uses them meanwhile.
        let (outcome, recorder) = unsafe { run(&kernel, lanes, &launch) };
        if let Some(recorder) = &recorder {
            assert_eq!(races(recorder), self.races, "{}", self.source);
            self.compare_extents(recorder, &bindings);
        }
        assert_eq!(outcome, Outcome::Done, "{engine:?} {lanes:?}");
        let record = recorder.map(|recorder| gist(&recorder, &bindings));
        (memories.iter_mut().map(Memory::bytes).collect(), record)
    }

    /// What is proven of a kernel is what it does.
    fn compare_extents(&self, recorder: &Recorder, bindings: &[Binding]) {
        let Ok(library) = Library::new(self.source) else { return };
        let grid = self.threads.map_or(ExtentGrid::Threadgroups(self.grid), ExtentGrid::Threads);
        let buffer = |binding: &Binding| match binding {
            Binding::Buffer(buffer) => (buffer.ptr as u64, buffer.len),
            _ => (0, 0),
        };
        let places: Vec<(u64, u64)> = bindings.iter().map(buffer).collect();
        let sizes: Vec<u64> = places.iter().map(|(_, len)| *len).collect();
        let query = ExtentQuery { immediates: &self.immediates, ..ExtentQuery::new(grid, &sizes) };
        for extent in library.extents(self.entry, &self.constants, &query).unwrap_or_default() {
            let mut seen = [ByteSet::new(), ByteSet::new()];
            for (number, site) in recorder.sites().iter().enumerate() {
                if site.space != Space::Slot(extent.index) {
                    continue;
                }
                let start = places[extent.index as usize].0;
                let bytes = recorder.bytes(number as u16);
                let bytes: ByteSet =
                    bytes.ranges().iter().map(|range| range.start - start..range.end - start).collect();
                let (reads, writes) = (&extent.reads.may, &extent.writes.may);
                let (allowed, into): (_, &[usize]) = match site.kind {
                    ObservedKind::Read | ObservedKind::AtomicLoad => (reads.contains_all(&bytes), &[0]),
                    ObservedKind::Write => (writes.contains_all(&bytes), &[1]),
                    ObservedKind::Atomic => (writes.contains_all(&bytes), &[0, 1]),
                };
                assert!(allowed, "{site:?} touches {bytes:?}, not in {extent:?}: {}", self.source);
                into.iter().for_each(|kind| seen[*kind].union(&bytes));
            }
            let surely = [&extent.reads.must, &extent.writes.must];
            for (must, seen) in surely.into_iter().zip(&seen) {
                assert!(seen.contains_all(must), "{must:?} not in {seen:?}: {}", self.source);
            }
        }
    }

    /// Runs on all engines, which have to agree bit by bit and record the same, and gives what they agree on.
    pub(crate) fn run(&self) -> Vec<Vec<u8>> {
        let expected = self.run_on(Engine::Interpreter, Lanes::One);
        let mut recorded = None;
        for (engine, lanes) in ENGINES_AND_RECORDERS {
            let (got, record) = self.run_and_record(engine, lanes);
            if let Some(record) = record {
                let known = recorded.get_or_insert_with(|| record.clone());
                assert_eq!(*known, record, "{engine:?} {lanes:?}: {}", self.source);
            }
            for (buffer, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_same(got, expected, &format!("{engine:?} {lanes:?}, buffer {buffer}"));
            }
        }
        expected
    }
}

/// Equal words, any NaN being equal to any other.
fn assert_same(got: &[u8], expected: &[u8], what: &str) {
    let nan = |word: u32| f32::from_bits(word).is_nan();
    let words = to_u32s(got).into_iter().zip(to_u32s(expected));
    for (index, (got, expected)) in words.enumerate() {
        assert!(
            got == expected || (nan(got) && nan(expected)),
            "{what}: word {index} is {got:#x} ({}), expected {expected:#x} ({})",
            f32::from_bits(got),
            f32::from_bits(expected),
        );
    }
    assert_eq!(got.len(), expected.len());
}
