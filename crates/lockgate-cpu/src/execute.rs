//! One command: its bindings as pointers, its grid as ranges of workgroups.

use crate::copy;
use crate::graph::ReadyWork;
use crate::kernel::port::Port;
use crate::kernel::watch::Recorder;
use crate::kernel::{
    Binding, BufferBinding, Elements, Kernel, Launch, Outcome, SamplerBinding, Slot, SlotKind, Workspace,
};
use crate::memory::Span;
use crate::observe::{self, Log};
use crate::resource::{Buffer, Texture, native};
use lockgate_runtime::backend::{self, BufferSpan, Command, Grid, SubmittedBuffer};
use lockgate_runtime::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// A compiled kernel with its name.
pub(crate) struct Pipeline {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) label: String,
    /// The WGSL, on a device that observes.
    pub(crate) source: Option<String>,
}

/// A dispatch with everything looked up, which several threads may run at once.
pub(crate) struct Dispatch {
    pub(crate) work: ReadyWork,
    pub(crate) pipeline: Arc<Pipeline>,
    bindings: Vec<Binding>,
    grid: [u32; 3],
    threads: Option<[u32; 3]>,
    immediates: Range<usize>,
    total: u64,
    chunk: u64,
    next: AtomicU64,
    /// When the first thread began, nanoseconds since the device was opened.
    began: OnceLock<Duration>,
    /// Workgroups that have not ended.
    pub(crate) left: AtomicU64,
    failure: Mutex<Option<Error>>,
    failed: AtomicBool,
    /// What it does, on a device that observes; one thread alone runs it then.
    recorder: Option<Mutex<Recorder>>,
}

/// What a thread uses again from work to work.
#[derive(Default)]
pub(crate) struct Bench {
    bindings: Vec<Binding>,
    /// A grid with a workgroup's size, and its workgroups: the next dispatch often has the same.
    grid: Option<((Grid, [u32; 3]), Workgroups)>,
    pub(crate) workspace: Workspace,
}

/// What a ready work turns out to be.
pub(crate) enum Job {
    /// It was done here.
    Done(Result<()>),
    /// A dispatch to run in chunks.
    Dispatch(Box<Dispatch>),
}

/// Fewer invocations than this stay on one thread: handing them out costs more than running them.
const SHARE_INVOCATIONS_MIN: u64 = 4096;

/// What looking a work up costs, in statements of invocations.
const WORK_COST: u64 = 200;

/// The same for each of its bindings.
const BINDING_COST: u64 = 20;

/// About as many invocations are one part of an observed dispatch, so that the time limit is not for the whole.
const OBSERVE_INVOCATIONS: u64 = 4096;

/// Looks a work up; copies are run at once.
pub(crate) fn prepare(work: ReadyWork, threads: u64, max_threadgroups: u32, log: Option<&Log>) -> Job {
    let of = &work.buffers[work.command.buffer as usize];
    match of.contents.commands().get(work.command.command as usize) {
        Some(Command::Dispatch { .. }) => {
            let read = |_: u32, span: Span, bytes: &mut [u8]| span.read_into(bytes);
            match Dispatch::new(work, threads, max_threadgroups, log.is_some(), &read) {
                Ok(dispatch) if dispatch.total == 0 => {
                    log.into_iter().for_each(|log| dispatch.tell(log));
                    Job::Done(Ok(()))
                }
                Ok(dispatch) => Job::Dispatch(Box::new(dispatch)),
                Err(error) => Job::Done(Err(error)),
            }
        }
        Some(command) => {
            let result = copy::run(command, of);
            log.into_iter().for_each(|log| log.copied(work.command, command, of));
            Job::Done(result)
        }
        None => Job::Done(Ok(())),
    }
}

impl Dispatch {
    /// Looks it up. `read` reads bytes of a resource: the counts of an indirect dispatch.
    pub(crate) fn new(
        work: ReadyWork,
        threads: u64,
        max_threadgroups: u32,
        observed: bool,
        read: &dyn Fn(u32, Span, &mut [u8]),
    ) -> Result<Dispatch> {
        let of = &work.buffers[work.command.buffer as usize];
        let command = of.contents.commands()[work.command.command as usize];
        let Command::Dispatch { pipeline, bindings, binding_count, grid, immediates } = command else {
            return Err(Error::new(ErrorKind::Invalid, "not a dispatch"));
        };
        let pipeline = of.pipelines[pipeline as usize]
            .clone()
            .downcast::<Pipeline>()
            .map_err(|_| Error::new(ErrorKind::Invalid, "a pipeline of another device"))?;
        let list = &of.contents.bindings()[bindings as usize..][..binding_count as usize];
        let mut bindings = Vec::new();
        gather(&pipeline.kernel, list, of, &mut bindings)?;
        let size = pipeline.kernel.workgroup_size();
        let (grid, limit) = match workgroups(grid, size) {
            Ok(known) => known,
            Err(span) => {
                let counts = counts(&span, of, read)?;
                (indirect(counts, max_threadgroups, &pipeline.label)?, None)
            }
        };
        let total = grid.iter().map(|count| u64::from(*count)).product::<u64>();
        let invocations = total.saturating_mul(size.iter().map(|side| u64::from(*side)).product());
        let shared = invocations >= SHARE_INVOCATIONS_MIN && threads > 1;
        let chunk = if shared { total.div_ceil(threads * 8).max(1) } else { total.max(1) };
        let group = size.iter().map(|side| u64::from(*side)).product::<u64>().max(1);
        let chunk = if observed { (OBSERVE_INVOCATIONS / group).max(1) } else { chunk };
        let recorder = observed.then(|| observe::recorder(&pipeline.kernel, grid, list, &bindings, of));
        let recorder = recorder.transpose()?.map(Mutex::new);
        let immediates = immediates.0 as usize..(immediates.0 + immediates.1) as usize;
        Ok(Dispatch {
            work,
            pipeline,
            bindings,
            grid,
            threads: limit,
            immediates,
            total,
            chunk,
            next: AtomicU64::new(0),
            began: OnceLock::new(),
            left: AtomicU64::new(total),
            failure: Mutex::default(),
            failed: AtomicBool::new(false),
            recorder,
        })
    }

    /// Tells the log what it did, once it has ended.
    pub(crate) fn tell(&self, log: &Log) {
        let Some(recorder) = &self.recorder else { return };
        let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.finish();
        log.dispatched(&self.work, &self.pipeline, &recorder, !self.failed.load(Ordering::Relaxed));
    }

    /// A thread begins at `now`; returns when the first one did.
    pub(crate) fn began(&self, now: Duration) -> Duration {
        *self.began.get_or_init(|| now)
    }

    /// Whether other threads can help.
    pub(crate) fn is_shared(&self) -> bool {
        self.chunk < self.total && self.recorder.is_none()
    }

    pub(crate) fn label(&self) -> &str {
        &self.pipeline.label
    }

    /// Takes the next workgroups, if any are left.
    pub(crate) fn take(&self) -> Option<Range<u64>> {
        let start = self.next.fetch_add(self.chunk, Ordering::Relaxed);
        (start < self.total).then(|| start..(start + self.chunk).min(self.total))
    }

    /// Runs workgroups. Returns whether they were the last to end.
    pub(crate) fn run(&self, groups: Range<u64>, stop: &AtomicBool, workspace: &mut Workspace) -> bool {
        let count = groups.end - groups.start;
        if !self.failed.load(Ordering::Relaxed) {
            let launch = self.launch(stop);
            let outcome = match &self.recorder {
                // SAFETY: the command buffer keeps every bound resource, and so its memory, alive until the commit
                // completes; nobody makes references to that memory (`memory`).
                None => unsafe { self.pipeline.kernel.run_in(&launch, groups, workspace) },
                Some(recorder) => {
                    let mut recorder = recorder.lock().unwrap_or_else(PoisonError::into_inner);
                    // SAFETY: as above.
                    unsafe { self.pipeline.kernel.watch(&launch, groups, &mut recorder) }
                }
            };
            self.note(outcome);
        }
        self.left.fetch_sub(count, Ordering::AcqRel) == count
    }

    /// Runs one workgroup by way of a port.
    pub(crate) fn run_through(&self, group: u64, port: &dyn Port, stop: &AtomicBool) {
        if !self.failed.load(Ordering::Relaxed) {
            // SAFETY: as in `run`.
            let outcome = unsafe { self.pipeline.kernel.run_through(&self.launch(stop), group, port) };
            self.note(outcome);
        }
    }

    /// Its bindings as they were recorded.
    pub(crate) fn bound(&self) -> &[backend::Binding] {
        let contents = &self.work.buffers[self.work.command.buffer as usize].contents;
        match contents.commands().get(self.work.command.command as usize) {
            Some(&Command::Dispatch { bindings, binding_count, .. }) => {
                &contents.bindings()[bindings as usize..][..binding_count as usize]
            }
            _ => &[],
        }
    }

    /// Whether a workgroup has failed: no other begins then.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Why, once.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How many workgroups it has.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    fn launch<'a>(&'a self, stop: &'a AtomicBool) -> Launch<'a> {
        let of = &self.work.buffers[self.work.command.buffer as usize];
        Launch {
            grid: self.grid,
            threads: self.threads,
            bindings: &self.bindings,
            immediates: of.contents.immediates().get(self.immediates.clone()).unwrap_or(&[]),
            stop,
        }
    }

    fn note(&self, outcome: Outcome) {
        let Some(error) = failure(outcome, self.label()) else { return };
        self.failed.store(true, Ordering::Relaxed);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
    }
}

/// Says about what a command costs, in statements of invocations, if it surely ends soon. It knows the last again.
pub(crate) fn weigher() -> impl FnMut(&SubmittedBuffer, u32) -> Option<u64> {
    let mut last = None;
    move |of, command| match of.contents.commands().get(command as usize)? {
        Command::Dispatch { pipeline, grid, binding_count, .. } => {
            let this = (std::ptr::from_ref(of), *pipeline, *binding_count, *grid);
            match last {
                Some((known, cost)) if known == this => cost,
                _ => {
                    let cost = weigh(of, *pipeline, *binding_count, *grid);
                    last = Some((this, cost));
                    cost
                }
            }
        }
        Command::CopyBuffer { to, .. } | Command::FillBuffer { to, .. } => Some(WORK_COST + to.size / 4),
        _ => None,
    }
}

fn weigh(of: &SubmittedBuffer, pipeline: u32, bindings: u32, grid: Grid) -> Option<u64> {
    let pipeline: &Pipeline = native(of.pipelines.get(pipeline as usize)?).ok()?;
    let (groups, threads) = workgroups(grid, pipeline.kernel.workgroup_size()).ok()?;
    let groups = groups.iter().try_fold(1u64, |product, count| product.checked_mul((*count).into()))?;
    let work = groups.checked_mul(pipeline.kernel.weight(threads.is_some())?)?;
    work.checked_add(WORK_COST + BINDING_COST * u64::from(bindings))
}

/// Runs a work that [`weigher`] knows the cost of, on the calling thread. Nobody watches it.
pub(crate) fn run_small(of: &SubmittedBuffer, command: u32, bench: &mut Bench) -> Result<()> {
    let command = &of.contents.commands()[command as usize];
    let Command::Dispatch { pipeline, bindings, binding_count, grid, immediates } = *command else {
        return copy::run(command, of);
    };
    let pipeline: &Pipeline = native(&of.pipelines[pipeline as usize])?;
    let kernel = &*pipeline.kernel;
    let this = (grid, kernel.workgroup_size());
    let (grid, threads) = match bench.grid {
        Some((known, workgroups)) if known == this => workgroups,
        _ => {
            let Ok(found) = workgroups(grid, this.1) else {
                return Err(Error::new(ErrorKind::Invalid, "the size of a small dispatch is not known"));
            };
            bench.grid = Some((this, found));
            found
        }
    };
    let list = &of.contents.bindings()[bindings as usize..][..binding_count as usize];
    bench.bindings.clear();
    gather(kernel, list, of, &mut bench.bindings)?;
    let launch = Launch {
        grid,
        threads,
        bindings: &bench.bindings,
        immediates: of
            .contents
            .immediates()
            .get(immediates.0 as usize..(immediates.0 + immediates.1) as usize)
            .unwrap_or(&[]),
        stop: &AtomicBool::new(false),
    };
    let total = grid.iter().map(|count| u64::from(*count)).product();
    // SAFETY: as in `Dispatch::run`.
    let outcome = unsafe { kernel.run_in(&launch, 0..total, &mut bench.workspace) };
    failure(outcome, &pipeline.label).map_or(Ok(()), Err)
}

/// What went wrong with a kernel, if anything did.
fn failure(outcome: Outcome, label: &str) -> Option<Error> {
    match outcome {
        Outcome::Done => None,
        Outcome::Stopped => {
            let message = format!("kernel `{label}` ran longer than the device's time limit");
            Some(Error::new(ErrorKind::Timeout, message))
        }
        Outcome::Failed(why) => Some(Error::new(ErrorKind::Execution, format!("kernel `{label}`: {why}"))),
    }
}

/// The workgroups of a grid, and its invocations where it cuts some.
type Workgroups = ([u32; 3], Option<[u32; 3]>);

/// The workgroups of a grid; what to read where they are not known yet.
fn workgroups(grid: Grid, size: [u32; 3]) -> std::result::Result<Workgroups, BufferSpan> {
    match grid {
        Grid::Threads(threads) => {
            // Most sides are one, and a division is slow.
            let whole = |axis: usize| if size[axis] > 1 { threads[axis] / size[axis] } else { threads[axis] };
            let whole = [whole(0), whole(1), whole(2)];
            let cut = [0, 1, 2].map(|axis| whole[axis] * size[axis].max(1) < threads[axis]);
            let groups = [0, 1, 2].map(|axis| whole[axis] + u32::from(cut[axis]));
            Ok((groups, cut.contains(&true).then_some(threads)))
        }
        Grid::Threadgroups(groups) => Ok((groups, None)),
        Grid::Indirect(span) => Err(span),
    }
}

/// One binding for each slot of a kernel; those of an array together.
fn gather(
    kernel: &Kernel,
    list: &[backend::Binding],
    of: &SubmittedBuffer,
    into: &mut Vec<Binding>,
) -> Result<()> {
    let slots = kernel.slots();
    let mut rest = list.iter();
    let missing = || Error::new(ErrorKind::Invalid, "a binding is missing");
    if slots.iter().all(|slot| slot.elements.is_none()) {
        for slot in slots {
            into.push(match rest.next().ok_or_else(missing)? {
                // By far most are.
                backend::Binding::Buffer(span) => Binding::Buffer(range(span, of)?),
                binding => resolve(binding, slot, of)?,
            });
        }
        return Ok(());
    }
    let count = |elements: Option<Elements>| match elements {
        None => 1,
        Some(Elements::Known(count)) => count as usize,
        Some(Elements::Given) => 0,
    };
    let open = slots.iter().filter(|slot| slot.elements == Some(Elements::Given)).count().max(1);
    let given = list.len().saturating_sub(slots.iter().map(|slot| count(slot.elements)).sum()) / open;
    for slot in slots {
        let resolved = |binding| resolve(binding, slot, of);
        let mut next = |count: usize| {
            Ok(Binding::Array(rest.by_ref().take(count).map(resolved).collect::<Result<_>>()?))
        };
        into.push(match slot.elements {
            None => resolved(rest.next().ok_or_else(missing)?)?,
            Some(Elements::Known(count)) => next(count as usize)?,
            Some(Elements::Given) => next(given)?,
        });
    }
    Ok(())
}

fn range(span: &BufferSpan, of: &SubmittedBuffer) -> Result<BufferBinding> {
    let buffer: &Buffer = native(&of.resources[span.resource as usize])?;
    let bytes = buffer.span(span.offset, span.size);
    Ok(BufferBinding { ptr: bytes.start, len: bytes.size as u64 })
}

fn resolve(binding: &backend::Binding, slot: &Slot, of: &SubmittedBuffer) -> Result<Binding> {
    Ok(match binding {
        backend::Binding::Buffer(span) => Binding::Buffer(range(span, of)?),
        backend::Binding::Texture { resource, view } => {
            let texture: &Texture = native(&of.resources[*resource as usize])?;
            match slot.kind {
                SlotKind::Texture { dimension, .. } => Binding::Texture(texture.binding(view, dimension)),
                _ => Binding::Nothing,
            }
        }
        backend::Binding::Sampler(at) => {
            Binding::Sampler(*native::<SamplerBinding>(&of.samplers[*at as usize])?)
        }
        backend::Binding::Nothing => Binding::Nothing,
    })
}

/// The counts that a buffer holds when the dispatch runs.
fn counts(span: &BufferSpan, of: &SubmittedBuffer, read: &dyn Fn(u32, Span, &mut [u8])) -> Result<[u32; 3]> {
    let buffer: &Buffer = native(&of.resources[span.resource as usize])?;
    let mut bytes = [0; 12];
    read(span.resource, buffer.span(span.offset, span.size), &mut bytes);
    Ok([0, 4, 8].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])))
}

fn indirect(counts: [u32; 3], max: u32, label: &str) -> Result<[u32; 3]> {
    if counts.iter().any(|count| *count > max) {
        let message = format!("`{label}`: indirect arguments {counts:?} exceed {max} (max_threadgroups)");
        return Err(Error::new(ErrorKind::Execution, message));
    }
    Ok(counts)
}
