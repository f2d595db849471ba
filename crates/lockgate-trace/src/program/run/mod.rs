//! Running a program file on a device, and asking whether what it expects came true.
//!
//! The host goes through the steps in file order: it makes resources, encodes, commits, waits where the file
//! says so. At the end it waits for everything. What a device cannot run is refused before anything runs.

mod contents;
mod encode;
mod heaps;
mod refuse;
mod stand_in;
mod verdict;

pub use verdict::Verdict;

use super::file::{Allocation, HostAction, ProgramFile, Step};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::timeline::Timeline;
use lockgate_runtime::{
    Buffer, CommandAllocator, CommandQueue, CommandQueueDescriptor, Commit, ComputePipeline, Device, Error,
    Event, Fence, Heap, HeapDescriptor, Observation, ResourceKey, Sampler, SharedEvent, Texture, Trace,
    Verdict as Met,
};
use lockgate_sync::{CommandRef, CommitId, HazardTrackingMode, HostStep, ResourceId, SyncKind};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long the host waits for a shared event before it gives up.
const EVENT_PATIENCE: Duration = Duration::from_secs(10);
/// How often progress is told while the host waits.
const TICK: Duration = Duration::from_millis(50);

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Commits that are done.
    pub done: usize,
    /// Commits of the program.
    pub total: usize,
}

/// A picture that a run has made.
#[derive(Clone, Debug)]
pub struct OutputPicture {
    /// The name of the output.
    pub name: String,
    /// Where the program file wants it.
    pub path: String,
    /// PNG.
    pub bytes: Vec<u8>,
}

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// One for each expectation, in file order.
    pub verdicts: Vec<Verdict>,
    /// Hazards that the file does not expect, a sentence each.
    pub findings: Vec<String>,
    /// Pictures.
    pub outputs: Vec<OutputPicture>,
    /// What ran when; empty unless the device traces.
    pub timeline: Timeline,
    /// From the first step to the end of the last command.
    pub elapsed: Duration,
    /// What the device has seen, if it observes.
    pub watched: Watched,
}

impl RunReport {
    /// Whether nothing was found and all expectations hold.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty() && self.verdicts.iter().all(|verdict| verdict.holds)
    }
}

impl ProgramFile {
    /// Runs the program. `progress` is called now and then from this thread.
    ///
    /// # Errors
    /// Something that devices cannot run, a kernel that the device rejects, a command that fails.
    pub fn run(&self, device: &Device, progress: &dyn Fn(Progress)) -> Result<RunReport, Diagnostics> {
        let refused = refuse::refuse(self);
        if !refused.is_empty() {
            return Err(Diagnostics(refused));
        }
        let mut machine = Machine::new(self, device)?;
        machine.prepare()?;
        let start = Instant::now();
        machine.take_steps(progress)?;
        let elapsed = start.elapsed();
        let watched = machine.watched();
        let timeline = machine.timeline(&device.take_trace());
        let (verdicts, findings) = verdict::verdicts(&mut machine)?;
        let outputs = machine.outputs()?;
        Ok(RunReport { verdicts, findings, outputs, timeline, elapsed, watched })
    }
}

/// What a device has seen of a program that it ran, in the numbers of the device.
///
/// ```
/// use lockgate_trace::{NoFiles, ProgramFile};
/// let file = ProgramFile::parse("empty.kdl", "buffer A size=4", &NoFiles)?;
/// let watched = file.watch(&lockgate_runtime::Device::null(), &|_| {})?;
/// assert!(watched.observation().commands.is_empty());
/// # Ok::<(), lockgate_trace::Diagnostics>(())
/// ```
#[derive(Debug)]
pub struct Watched {
    observation: Observation,
    /// For each commit and each resource of the file, which it is on the device.
    commits: Vec<CommitId>,
    keys: Vec<Option<ResourceKey>>,
}

impl Watched {
    /// What was seen.
    pub fn observation(&self) -> &Observation {
        &self.observation
    }

    /// A command of the device as a command of the file.
    pub(crate) fn command(&self, seen: CommandRef) -> Option<CommandRef> {
        let commit = self.commits.iter().position(|own| *own == seen.commit)?;
        Some(CommandRef { commit: CommitId(commit as u64), ..seen })
    }

    /// Whether two commands of the file touched common memory as these resources.
    pub(crate) fn conflict(&self, a: (CommandRef, ResourceId), b: (CommandRef, ResourceId)) -> Met {
        let own = |(command, resource): (CommandRef, ResourceId)| {
            let commit = *self.commits.get(usize::try_from(command.commit.0).ok()?)?;
            Some((CommandRef { commit, ..command }, (*self.keys.get(resource.index())?)?))
        };
        let Some(((a, x), (b, y))) = own(a).zip(own(b)) else { return Met::Unknown };
        self.observation.conflict_where(a, b, |first, second| first == x && second == y)
    }
}

impl ProgramFile {
    /// Runs the program on a device that observes, and tells what the device saw.
    ///
    /// # Errors
    /// As [`ProgramFile::run`].
    pub fn watch(&self, device: &Device, progress: &dyn Fn(Progress)) -> Result<Watched, Diagnostics> {
        let refused = refuse::refuse(self);
        if !refused.is_empty() {
            return Err(Diagnostics(refused));
        }
        let mut machine = Machine::new(self, device)?;
        machine.prepare()?;
        machine.take_steps(progress)?;
        Ok(machine.watched())
    }
}

impl ProgramFile {
    /// Runs the program and gives what each of its buffers and textures holds in the end, by name: the bytes of a
    /// buffer, or of all levels of all slices of a texture.
    ///
    /// ```
    /// use lockgate_trace::{NoFiles, ProgramFile};
    /// let file = ProgramFile::parse("empty.kdl", "buffer A size=4", &NoFiles)?;
    /// let outcome = file.outcome(&lockgate_runtime::Device::null())?;
    /// assert_eq!(outcome, [("A".to_owned(), vec![0; 4])]);
    /// # Ok::<(), lockgate_trace::Diagnostics>(())
    /// ```
    ///
    /// # Errors
    /// As [`ProgramFile::run`].
    pub fn outcome(&self, device: &Device) -> Result<Vec<(String, Vec<u8>)>, Diagnostics> {
        let refused = refuse::refuse(self);
        if !refused.is_empty() {
            return Err(Diagnostics(refused));
        }
        let mut machine = Machine::new(self, device)?;
        machine.prepare()?;
        machine.take_steps(&|_| {})?;
        let all = self.resources.iter().enumerate().map(|(index, resource)| {
            let bytes = machine.read_all(ResourceId(index as u32));
            let bytes = bytes.map_err(|error| failure(self, &resource.span, &error))?;
            Ok((resource.name.clone(), bytes))
        });
        Ok(all.collect::<Result<_, Diagnostic>>()?)
    }
}

/// The objects of a device that a program has made.
struct Machine<'a> {
    file: &'a ProgramFile,
    device: &'a Device,
    heaps: Vec<Heap>,
    buffers: Vec<Option<Buffer>>,
    textures: Vec<Option<Texture>>,
    fences: Vec<Fence>,
    events: Vec<AnyEvent>,
    samplers: Vec<Sampler>,
    queues: Vec<CommandQueue>,
    /// For what the host moves between the program's steps.
    service: Option<CommandQueue>,
    allocator: CommandAllocator,
    pipelines: BTreeMap<String, ComputePipeline>,
    commits: Vec<(Commit, Range<usize>)>,
    total: usize,
}

enum AnyEvent {
    Plain(Event),
    Shared(SharedEvent),
}

impl AnyEvent {
    fn event(&self) -> &Event {
        match self {
            AnyEvent::Plain(event) => event,
            AnyEvent::Shared(event) => event,
        }
    }
}

impl<'a> Machine<'a> {
    fn new(file: &'a ProgramFile, device: &'a Device) -> Result<Machine<'a>, Diagnostic> {
        let none = 0..0;
        let fail = |error| failure(file, &none, &error);
        let mode = |tracked| match tracked {
            true => HazardTrackingMode::Tracked,
            false => HazardTrackingMode::Untracked,
        };
        let heaps = file.heaps.iter().enumerate().map(|(index, heap)| {
            let wrong = |error| failure(file, &heap.span, &error);
            let descriptor = HeapDescriptor {
                size: heaps::size_on(device, file, index).map_err(wrong)?,
                heap_type: heap.kind,
                storage: heap.storage,
                hazard_tracking_mode: mode(heap.tracked),
                label: &heap.name,
            };
            device.new_heap(&descriptor).map_err(wrong)
        });
        let queues = file.queues.iter().map(|queue| {
            let hazard_tracking = queue.descriptor.hazard_tracking;
            let descriptor = CommandQueueDescriptor { hazard_tracking, label: &queue.name };
            device.new_command_queue(&descriptor).map_err(fail)
        });
        let events = file.events.iter().map(|event| match event.shared {
            true => AnyEvent::Shared(device.new_shared_event(&event.name)),
            false => AnyEvent::Plain(device.new_event(&event.name)),
        });
        let samplers = file.samplers.iter().map(|(_, sampler)| device.new_sampler(sampler).map_err(fail));
        let mut machine = Machine {
            file,
            device,
            heaps: heaps.collect::<Result<_, _>>()?,
            buffers: file.resources.iter().map(|_| None).collect(),
            textures: file.resources.iter().map(|_| None).collect(),
            fences: file.fences.iter().map(|name| device.new_fence(name)).collect(),
            events: events.collect(),
            samplers: samplers.collect::<Result<_, _>>()?,
            queues: queues.collect::<Result<_, _>>()?,
            service: None,
            allocator: device.new_command_allocator("program"),
            pipelines: BTreeMap::new(),
            commits: Vec::new(),
            total: file.steps.iter().filter(|step| matches!(step.value, Step::Commit { .. })).count(),
        };
        for (index, resource) in file.resources.iter().enumerate() {
            if !resource.allocated {
                machine.make(ResourceId(index as u32))?;
            }
        }
        Ok(machine)
    }

    /// Everything before the first step.
    fn prepare(&mut self) -> Result<(), Diagnostic> {
        self.compile_all()?;
        self.fill_all()?;
        self.device.take_trace();
        self.device.take_observation();
        Ok(())
    }

    /// What the device has seen since everything was prepared.
    fn watched(&self) -> Watched {
        let key = |index: usize| match (&self.buffers[index], &self.textures[index]) {
            (Some(buffer), _) => Some(buffer.key()),
            (_, Some(texture)) => Some(texture.key()),
            _ => None,
        };
        Watched {
            observation: self.device.take_observation(),
            commits: self.commits.iter().map(|(commit, _)| commit.id()).collect(),
            keys: (0..self.file.resources.len()).map(key).collect(),
        }
    }

    /// All steps, until everything is done.
    fn take_steps(&mut self, progress: &dyn Fn(Progress)) -> Result<(), Diagnostic> {
        for step in &self.file.steps {
            self.step(&step.value, progress)?;
        }
        self.finish(progress)
    }

    fn step(&mut self, step: &Step, progress: &dyn Fn(Progress)) -> Result<(), Diagnostic> {
        match step {
            Step::Commit { queue, buffers, .. } => self.commit(*queue, buffers)?,
            Step::SignalEvent { queue, event, value } => {
                let event = self.events[event.index()].event();
                self.queues[queue.index()].signal_event(event, *value);
            }
            Step::WaitForEvent { queue, event, value } => {
                let event = self.events[event.index()].event();
                self.queues[queue.index()].wait_for_event(event, *value);
            }
            Step::Host(action) => self.host(action, progress)?,
            Step::Allocation(allocation) => self.allocate(*allocation)?,
            // Refused before the run.
            Step::EnqueueBarrier { .. }
            | Step::WaitForDrawable { .. }
            | Step::SignalDrawable { .. }
            | Step::Present { .. } => {}
        }
        progress(self.progress());
        Ok(())
    }

    fn allocate(&mut self, allocation: Allocation) -> Result<(), Diagnostic> {
        match allocation {
            Allocation::Allocate(id) => self.make(id),
            Allocation::MakeAliasable(id) => {
                let (buffer, texture) = (&self.buffers[id.index()], &self.textures[id.index()]);
                let done = match (buffer, texture) {
                    (Some(buffer), _) => buffer.make_aliasable(),
                    (_, Some(texture)) => texture.make_aliasable(),
                    _ => Ok(()),
                };
                done.map_err(|error| self.failure(&self.file.resource(id).span, &error))
            }
        }
    }

    fn host(&mut self, action: &HostAction, progress: &dyn Fn(Progress)) -> Result<(), Diagnostic> {
        match action.step {
            HostStep::Access(access) | HostStep::AccessWhenIdle(access) => self.touch(action, &access),
            HostStep::SignalEvent { event, value } => {
                if let AnyEvent::Shared(event) = &self.events[event.index()] {
                    event.set_signaled_value(value);
                }
                Ok(())
            }
            HostStep::WaitForEvent { event, value } => match &self.events[event.index()] {
                AnyEvent::Shared(event) if !event.wait_until_signaled_value(value, EVENT_PATIENCE) => {
                    let message = format!(
                        "shared event `{}` has not reached {value} after {} s",
                        event.label(),
                        EVENT_PATIENCE.as_secs()
                    );
                    let span = action.span.clone();
                    Err(Diagnostic::new("time-out", message, &self.file.source, span, "the host waits here"))
                }
                _ => Ok(()),
            },
            HostStep::WaitForCommit { commit } => match self.commits.get(commit as usize) {
                Some(_) => self.wait(commit as usize, progress),
                None => Ok(()),
            },
        }
    }

    fn finish(&mut self, progress: &dyn Fn(Progress)) -> Result<(), Diagnostic> {
        (0..self.commits.len()).try_for_each(|index| self.wait(index, progress))
    }

    fn wait(&self, index: usize, progress: &dyn Fn(Progress)) -> Result<(), Diagnostic> {
        let (commit, span) = &self.commits[index];
        loop {
            progress(self.progress());
            match commit.wait_for(TICK) {
                Ok(_) => return Ok(()),
                Err(error)
                    if !commit.is_completed() && error.kind() == lockgate_runtime::ErrorKind::Timeout => {}
                Err(error) => return Err(self.failure(span, &error)),
            }
        }
    }

    /// The timeline, with the names of the file.
    fn timeline(&self, trace: &Trace) -> Timeline {
        let mut resources = BTreeMap::new();
        for (index, resource) in self.file.resources.iter().enumerate() {
            let key = match (&self.buffers[index], &self.textures[index]) {
                (Some(buffer), _) => buffer.key(),
                (_, Some(texture)) => texture.key(),
                _ => continue,
            };
            resources.insert(key.id, resource.name.clone());
        }
        let mut timeline = Timeline::with_names(trace, &|kind| match kind {
            SyncKind::Fence(fence) => {
                self.fences.iter().find(|f| f.id() == fence).map(|f| f.label().to_owned())
            }
            SyncKind::Event(event, _) => {
                let own = self.events.iter().find(|own| own.event().id() == event);
                own.map(|own| own.event().label().to_owned())
            }
            SyncKind::Tracking(resource) => resources.get(&resource).cloned(),
            _ => None,
        });
        for command in &mut timeline.commands {
            if let Some(own) = command.name.strip_prefix(stand_in::PREFIX) {
                command.name = own.to_owned();
            }
        }
        timeline
    }

    fn progress(&self) -> Progress {
        let done = self.commits.iter().filter(|(commit, _)| commit.is_completed()).count();
        Progress { done, total: self.total }
    }

    fn failure(&self, span: &Range<usize>, error: &Error) -> Diagnostic {
        failure(self.file, span, error)
    }
}

/// A failure of the device, at the node that asked for it.
fn failure(file: &ProgramFile, span: &Range<usize>, error: &Error) -> Diagnostic {
    let code = match error.kind() {
        lockgate_runtime::ErrorKind::Unsupported => "unsupported",
        lockgate_runtime::ErrorKind::OutOfMemory => "out-of-memory",
        lockgate_runtime::ErrorKind::Kernel => "kernel-rejected",
        lockgate_runtime::ErrorKind::Timeout => "time-out",
        _ => "device",
    };
    if span.is_empty() {
        return Diagnostic::without_place(code, error.to_string());
    }
    Diagnostic::new(code, error.to_string(), &file.source, span.clone(), "")
}
