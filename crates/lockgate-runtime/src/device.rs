//! The device: makes everything, orders everything at commit, and knows what is still in use.

use crate::backend::{Backend, CommitReport, DeviceInfo, Native, Observer, Submission, SubmittedBuffer};
use crate::checking::{Checking, Findings, Report, RuntimeFinding, Window, tell};
use crate::completion::{Callback, CommitState, Completions, Events};
use crate::{CommandBufferContents, Error, ErrorKind, Observation, Observe, Result};
use lockgate_sync::{
    Access, Code, CommitId, Engine, EngineDescriptor, EventId, FenceId, Graph, HostStep, MemoryId, Model,
    QueueId, ResourceDescriptor, ResourceId, Step, Taken,
};
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How a device is opened.
///
/// ```
/// use lockgate_runtime::{Checking, DeviceDescriptor};
/// let descriptor = DeviceDescriptor { checking: Checking::Collect, ..DeviceDescriptor::default() };
/// assert_eq!(descriptor.event_timeout.as_secs(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct DeviceDescriptor {
    /// The switches of the model.
    pub model: Model,
    /// Whether conflicts of untracked resources are looked for. Default: [`Checking::Collect`] in debug builds, off in
    /// release builds. The environment variable `LOCKGATE_CHECKING` overrides it.
    pub checking: Checking,
    /// Whether everything that is committed is kept for [`Device::take_trace`]. Default: no.
    pub tracing: bool,
    /// What the device records of what it runs, for [`Device::take_observation`]. Default: nothing. A device that
    /// cannot observe is refused by [`Device::open`].
    pub observe: Observe,
    /// How long a host may stand before a wait for an event that nothing brings until the wait is given up
    /// (A19). Default: 4 s.
    pub event_timeout: Duration,
}

impl Default for DeviceDescriptor {
    fn default() -> DeviceDescriptor {
        let event_timeout = Duration::from_secs(4);
        DeviceDescriptor {
            model: Model::default(),
            checking: Checking::default(),
            tracing: false,
            observe: Observe::Nothing,
            event_timeout,
        }
    }
}

/// What was committed to a device that traces, with all orders: what a timeline is drawn from.
///
/// ```
/// use lockgate_runtime::{Device, DeviceDescriptor, null::NullBackend};
/// let descriptor = DeviceDescriptor { tracing: true, ..Default::default() };
/// let device = Device::new(Box::new(NullBackend::default()), descriptor);
/// device.new_command_queue(&Default::default())?.commit(&[])?.wait_until_completed()?;
/// let trace = device.take_trace();
/// assert_eq!(trace.commits.len(), 1);
/// assert_eq!(trace.graph.vertices.len(), 1);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Trace {
    /// Labels of the queues, by [`QueueId`].
    pub queues: Vec<String>,
    /// The commits in the order of the calls.
    pub commits: Vec<TracedCommit>,
    /// All work with all orders and their reasons.
    pub graph: Graph,
}

/// A commit of a [`Trace`].
#[derive(Clone, Debug)]
pub struct TracedCommit {
    /// Its number.
    pub id: CommitId,
    /// Its queue.
    pub queue: QueueId,
    /// Its command buffers.
    pub buffers: Vec<Arc<CommandBufferContents>>,
    state: Arc<CommitState>,
}

impl TracedCommit {
    /// How it ended, and when its commands ran; nothing while it is on its way.
    pub fn report(&self) -> Option<&CommitReport> {
        self.state.report()
    }
}

/// A resource in the table of a device: an id that is used again, and a generation that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Position in the table.
    pub id: ResourceId,
    /// How many resources were made before it.
    pub generation: u64,
}

/// A GPU, or something that acts as one. Cheap to clone; all clones are one device.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let buffer = device.new_buffer_with_data(&[1u32, 2, 3]).unwrap();
/// assert_eq!(buffer.read::<u32>(0, 3).unwrap(), [1, 2, 3]);
/// ```
#[doc(alias = "MTLDevice")]
#[derive(Clone)]
pub struct Device(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) backend: Box<dyn Backend>,
    pub(crate) descriptor: DeviceDescriptor,
    pub(crate) completions: Arc<Completions>,
    state: Mutex<State>,
    callbacks: OnceLock<Sender<Callback>>,
    /// Commits whose handles are gone; emptied under the state's lock.
    released: Mutex<Vec<CommitId>>,
    /// A wait of the host has timed out, and nothing was reset since.
    timed_out: AtomicBool,
}

/// What is kept until no commit that was made before needs it.
enum Dropped {
    Resource(ResourceId),
    Memory(MemoryId),
    Fence(FenceId),
    Event(EventId),
}

#[derive(Default)]
struct Slot {
    generation: u64,
    native: Option<Native>,
}

pub(crate) struct State {
    pub(crate) engine: Engine,
    slots: Vec<Slot>,
    made: u64,
    dropped: Vec<(CommitId, Dropped)>,
    /// Commits in flight that touch a memory.
    users: BTreeMap<MemoryId, Vec<CommitId>>,
    /// Commits of each queue that the engine has not taken whole.
    waiting: Vec<(QueueId, CommitId)>,
    taken: Taken,
    findings: Findings,
    window: Window,
    /// What resources are called, by their ids.
    labels: Vec<String>,
    trace: Trace,
    next_commit: u64,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device").field(&self.info().name).finish()
    }
}

impl Device {
    /// Opens a device on a backend.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] where [`DeviceDescriptor::observe`] asks for what the backend cannot observe.
    ///
    /// ```
    /// use lockgate_runtime::{Device, DeviceDescriptor, Observe, null::NullBackend};
    /// let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
    /// let refused = Device::open(Box::new(NullBackend::default()), descriptor).unwrap_err();
    /// assert_eq!(refused.to_string(), "the device `null` cannot observe accesses");
    /// ```
    pub fn open(backend: Box<dyn Backend>, descriptor: DeviceDescriptor) -> Result<Device> {
        backend.set_observe(descriptor.observe)?;
        Ok(Device::assemble(backend, descriptor))
    }

    /// The same where nothing is to be observed, or the backend is known to be able to. One that is not observes
    /// nothing and says so in the log; [`Device::open`] refuses it.
    pub fn new(backend: Box<dyn Backend>, descriptor: DeviceDescriptor) -> Device {
        if let Err(error) = backend.set_observe(descriptor.observe) {
            log::error!("{error}");
        }
        Device::assemble(backend, descriptor)
    }

    fn assemble(backend: Box<dyn Backend>, mut descriptor: DeviceDescriptor) -> Device {
        descriptor.checking = descriptor.checking.or_environment();
        let completions = Arc::new(Completions::default());
        backend.set_observer(completions.clone());
        let engine = Engine::new(EngineDescriptor { model: descriptor.model, ..Default::default() });
        let state = State {
            engine,
            slots: Vec::new(),
            made: 0,
            dropped: Vec::new(),
            users: BTreeMap::new(),
            waiting: Vec::new(),
            taken: Taken::default(),
            findings: Findings::default(),
            window: Window::default(),
            labels: Vec::new(),
            trace: Trace::default(),
            next_commit: 0,
        };
        Device(Arc::new(Shared {
            backend,
            descriptor,
            completions,
            state: Mutex::new(state),
            callbacks: OnceLock::new(),
            released: Mutex::new(Vec::new()),
            timed_out: AtomicBool::new(false),
        }))
    }

    /// A device that completes everything and runs nothing: for tests, and for measuring recording.
    pub fn null() -> Device {
        Device::new(Box::new(crate::null::NullBackend::default()), DeviceDescriptor::default())
    }

    /// What it is and can do.
    pub fn info(&self) -> &DeviceInfo {
        self.0.backend.info()
    }

    /// What checking has found since the last call. Misuse is found even if checking is off.
    pub fn take_report(&self) -> Report {
        self.0.state().findings.take()
    }

    /// Calls `handler` for each finding that is new, from the thread that commits; one handler at a time. Findings of
    /// one place in the source are told once.
    pub fn set_finding_handler(&self, handler: impl Fn(&RuntimeFinding) + Send + Sync + 'static) {
        self.0.state().findings.handler = Some(Arc::new(handler));
    }

    /// What the commands that have ended touched since the last call, if [`DeviceDescriptor::observe`] is on.
    pub fn take_observation(&self) -> Observation {
        self.0.backend.take_observation()
    }

    /// How many accesses, intervals of sets and commits are remembered for orders to come: a figure for tests and
    /// measurements, which does not grow with the length of a stream that the host follows.
    pub fn remembered(&self) -> usize {
        self.0.state().engine.remembered()
    }

    /// What was committed since the last call, if [`DeviceDescriptor::tracing`] is on.
    pub fn take_trace(&self) -> Trace {
        let mut state = self.0.state();
        let queues = state.trace.queues.clone();
        std::mem::replace(&mut state.trace, Trace { queues, ..Trace::default() })
    }
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the tables as they were between two operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn checking(&self) -> bool {
        self.descriptor.checking != Checking::Off
    }

    /// The thread that runs feedback handlers, one after the other.
    pub(crate) fn callbacks(&self) -> Sender<Callback> {
        self.callbacks.get_or_init(callback_thread).clone()
    }

    /// The host will not ask for this commit any more.
    pub(crate) fn release(&self, commit: CommitId) {
        self.released.lock().unwrap_or_else(PoisonError::into_inner).push(commit);
    }

    /// Takes a step that is no commit, and hands the device what comes of it.
    pub(crate) fn step(&self, step: Step) {
        let mut state = self.state();
        state.take(step, self.checking());
        // Without a commit there is nothing that a device could refuse.
        let _ = self.flush(&mut state, Submission::default());
        self.unlock(state);
        self.completions.wake();
    }

    /// Frees the state and tells what was found meanwhile.
    fn unlock(&self, mut state: MutexGuard<'_, State>) {
        let untold = std::mem::take(&mut state.findings.untold);
        let handler = state.findings.handler.clone();
        drop(state);
        tell(&untold, handler.as_ref());
    }

    /// A wait of the host has timed out.
    pub(crate) fn note_timed_out(&self) {
        self.timed_out.store(true, Ordering::Relaxed);
    }

    /// Whether a wait of the host has timed out since this was last asked.
    pub(crate) fn take_timed_out(&self) -> bool {
        self.timed_out.swap(false, Ordering::Relaxed)
    }

    /// The memory and label of a resource that still is.
    pub(crate) fn memory_of(&self, key: ResourceKey) -> Option<(MemoryId, String)> {
        let state = self.state();
        let label = state.labels.get(key.id.index())?.clone();
        Some((state.engine.resource(key.id)?.memory, label))
    }

    /// A finding of the runtime itself.
    pub(crate) fn raise(&self, code: Code, sentence: &str, origin: &'static Location<'static>) {
        if self.checking() {
            let mut state = self.state();
            state.findings.raise(code, sentence, Some(origin));
            self.unlock(state);
        }
    }

    pub(crate) fn new_queue(&self, queue: lockgate_sync::QueueDescriptor, label: &str) -> QueueId {
        let mut state = self.state();
        state.trace.queues.push(label.to_owned());
        state.window.queues.push((label.to_owned(), queue));
        state.engine.add_queue(queue)
    }

    pub(crate) fn new_resource(
        &self,
        resource: ResourceDescriptor,
        native: Native,
        label: &str,
    ) -> ResourceKey {
        let mut state = self.state();
        let id = state.engine.add_resource(resource);
        let generation = state.made;
        state.made += 1;
        if state.slots.len() <= id.index() {
            state.slots.resize_with(id.index() + 1, Slot::default);
            state.labels.resize_with(id.index() + 1, String::new);
        }
        label.clone_into(&mut state.labels[id.index()]);
        state.slots[id.index()] = Slot { generation, native: Some(native) };
        ResourceKey { id, generation }
    }

    pub(crate) fn new_memory(&self) -> MemoryId {
        self.state().engine.add_memory()
    }

    pub(crate) fn new_fence(&self, label: &str) -> FenceId {
        let mut state = self.state();
        FenceId(state.window.fences.add(label))
    }

    pub(crate) fn new_event(&self, label: &str) -> EventId {
        let mut state = self.state();
        EventId(state.window.events.add(label))
    }

    pub(crate) fn drop_resource(&self, key: ResourceKey) {
        let mut state = self.state();
        let slot = &mut state.slots[key.id.index()];
        if slot.generation == key.generation {
            slot.native = None;
            let after = CommitId(state.next_commit);
            state.dropped.push((after, Dropped::Resource(key.id)));
        }
    }

    pub(crate) fn drop_memory(&self, memory: MemoryId) {
        let mut state = self.state();
        let after = CommitId(state.next_commit);
        state.dropped.push((after, Dropped::Memory(memory)));
    }

    pub(crate) fn drop_fence(&self, fence: FenceId) {
        let mut state = self.state();
        let after = CommitId(state.next_commit);
        state.dropped.push((after, Dropped::Fence(fence)));
    }

    pub(crate) fn drop_event(&self, event: EventId) {
        let mut state = self.state();
        let after = CommitId(state.next_commit);
        state.dropped.push((after, Dropped::Event(event)));
    }

    /// Commits command buffers. Everything that they name is held until they are done.
    pub(crate) fn commit(
        &self,
        queue: QueueId,
        buffers: &[Arc<CommandBufferContents>],
        commit_state: Arc<CommitState>,
    ) -> Result<CommitId> {
        let mut state = self.state();
        let submitted: Vec<SubmittedBuffer> =
            buffers.iter().map(|contents| state.resolve(contents)).collect::<Result<_>>()?;
        state.reap(&self.completions);
        for commit in self.released.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            state.engine.retire(commit);
        }
        let before = (self.descriptor.checking == Checking::Deny).then(|| state.engine.clone());
        state.engine.commit(queue, buffers.iter().cloned());
        let found = self.find(&mut state, Some((queue, buffers)));
        if let Some(before) = before.filter(|_| found) {
            return Err(self.deny(state, before));
        }
        let commit = CommitId(state.next_commit);
        state.next_commit += 1;
        state.note_users(commit, buffers, &self.completions);
        if self.descriptor.tracing {
            let (buffers, state_of) = (buffers.to_vec(), commit_state.clone());
            state.trace.commits.push(TracedCommit { id: commit, queue, buffers, state: state_of });
        }
        self.completions.begin(commit, commit_state);
        state.waiting.push((queue, commit));
        let submission = Submission { commits: vec![(commit, submitted)], ..Submission::default() };
        let result = self.submit(&mut state, submission);
        self.unlock(state);
        // From here on the submission holds what is behind the handles, and the engine keeps what was dropped
        // until this commit is done.
        buffers.iter().for_each(|contents| contents.release_handles());
        self.completions.wake();
        if let Err(error) = result {
            // The device would not take it, so it is over: what waits for it goes on with the error.
            self.completions.completed(commit, CommitReport { error: Some(error), commands: Vec::new() });
        }
        Ok(commit)
    }

    /// Hands the device what the engine has brought forth, and keeps what it has found.
    fn flush(&self, state: &mut State, submission: Submission) -> Result<()> {
        self.find(state, None);
        self.submit(state, submission)
    }

    /// Takes what the engine has brought forth, and makes findings of what it has found. Returns whether there is a
    /// hazard.
    fn find(&self, state: &mut State, commit: Option<(QueueId, &[Arc<CommandBufferContents>])>) -> bool {
        let State { engine, taken, findings, window, labels, .. } = state;
        engine.take_into(taken);
        findings.keep(&taken.gaps, &taken.misuse, self.checking());
        if !self.checking() {
            return false;
        }
        if let Some((queue, buffers)) = commit {
            window.commit(queue, buffers);
        }
        if taken.gaps.is_empty() && taken.misuse.is_empty() {
            return false;
        }
        let view = window.view(engine, self.descriptor.model, labels);
        findings.add(&taken.gaps, &taken.misuse, &view)
    }

    /// Undoes a commit that has a hazard: it never was.
    fn deny(&self, mut state: MutexGuard<'_, State>, before: Engine) -> Error {
        state.engine = before;
        state.window.take_back();
        let untold: Vec<String> = state.findings.untold.iter().map(ToString::to_string).collect();
        self.unlock(state);
        let message = match untold.as_slice() {
            [] => "the commit was refused: it has hazards that were told before".to_owned(),
            list => format!("the commit was refused:\n{}", list.join("\n")),
        };
        Error::new(ErrorKind::Denied, message)
    }

    /// Hands the device what was taken.
    fn submit(&self, state: &mut State, mut submission: Submission) -> Result<()> {
        let State { engine, taken, waiting, trace, .. } = state;
        waiting.retain(|(_, commit)| !engine.is_taken(*commit));
        if taken.graph.vertices.is_empty() && submission.commits.is_empty() {
            return Ok(());
        }
        submission.graph = std::mem::take(&mut taken.graph);
        if self.descriptor.tracing {
            trace.graph.append(&submission.graph);
        }
        self.backend.submit(submission)
    }

    /// Waits until `done`. Lends this thread to the device, and gives up waits for events that nothing brings.
    /// Returns whether it is done.
    pub(crate) fn wait(&self, timeout: Option<Duration>, done: &dyn Fn(&Events) -> bool) -> bool {
        let begin = Instant::now();
        let deadline = timeout.and_then(|timeout| begin.checked_add(timeout));
        let mut give_up = begin + self.descriptor.event_timeout;
        let asked = || self.completions.ask(done);
        loop {
            self.backend.help(&asked);
            if asked() {
                return true;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            if now >= give_up {
                self.give_up_a_wait();
                give_up = now + self.descriptor.event_timeout;
            }
            let until = deadline.map_or(give_up, |deadline| deadline.min(give_up));
            self.completions.sleep_unless(Some(until), done);
        }
    }

    /// The oldest wait for an event that blocks a queue is given up (A19).
    fn give_up_a_wait(&self) {
        let mut state = self.state();
        let blocked: Vec<QueueId> = state.engine.blocked_queues().collect();
        let late = state.waiting.iter().filter(|(queue, _)| blocked.contains(queue));
        self.completions.time_out(late.map(|(_, commit)| *commit));
        if state.engine.break_wait() {
            log::warn!("a wait for an event was given up after {:?}", self.descriptor.event_timeout);
        }
        // Without a commit there is nothing that a device could refuse.
        let _ = self.flush(&mut state, Submission::default());
        self.unlock(state);
    }

    /// Waits until the device touches a memory no more, then lets the host touch it while it stays so.
    pub(crate) fn with_idle_memory<T>(
        &self,
        memory: MemoryId,
        wait: bool,
        access: Access,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        loop {
            let mut state = self.state();
            let busy = state.busy_commits(memory, &*self.backend, &self.completions);
            let Some(&commit) = busy.first() else {
                state.take(Step::Host(HostStep::AccessWhenIdle(access)), self.checking());
                let result = act();
                // Without a commit there is nothing that a device could refuse.
                let _ = self.flush(&mut state, Submission::default());
                self.unlock(state);
                return result;
            };
            drop(state);
            if !wait {
                let message = format!("the device is using this memory (commit {})", commit.0);
                return Err(Error::new(ErrorKind::InUse, message));
            }
            self.wait(None, &|_| !self.backend.is_busy(commit));
        }
    }

    /// The host has seen the commit end.
    pub(crate) fn observe_commit(&self, commit: CommitId) {
        self.step(Step::Host(HostStep::WaitForCommit { commit: commit.0 }));
    }
}

impl State {
    /// Takes a step of a queue or of the host.
    fn take(&mut self, step: Step, checking: bool) {
        match step {
            Step::SignalEvent { queue, event, value } => self.engine.signal_event(queue, event, value),
            Step::WaitForEvent { queue, event, value } => self.engine.wait_for_event(queue, event, value),
            Step::Host(step) => {
                self.engine.host(step);
            }
            _ => return,
        }
        if checking {
            self.window.step(step);
        }
    }

    /// Looks up everything that a command buffer names.
    fn resolve(&self, contents: &Arc<CommandBufferContents>) -> Result<SubmittedBuffer> {
        let native = |key: &ResourceKey| {
            let slot = self.slots.get(key.id.index()).filter(|slot| slot.generation == key.generation);
            slot.and_then(|slot| slot.native.clone()).ok_or_else(|| {
                let label = contents.label();
                Error::invalid(format!("command buffer `{label}` uses a resource that is gone"))
            })
        };
        Ok(SubmittedBuffer {
            contents: contents.clone(),
            resources: contents.resources().iter().map(|used| native(&used.key)).collect::<Result<_>>()?,
            samplers: contents.samplers().to_vec(),
            pipelines: contents.pipelines().to_vec(),
        })
    }

    fn note_users(&mut self, commit: CommitId, buffers: &[Arc<CommandBufferContents>], done: &Completions) {
        for used in buffers.iter().flat_map(|buffer| buffer.resources()) {
            let Some(resource) = self.engine.resource(used.key.id) else { continue };
            let users = self.users.entry(resource.memory).or_default();
            if users.last() == Some(&commit) {
                continue;
            }
            if users.len() >= 16 {
                users.retain(|commit| !done.is_done(*commit));
            }
            users.push(commit);
        }
    }

    fn busy_commits(&mut self, memory: MemoryId, backend: &dyn Backend, done: &Completions) -> Vec<CommitId> {
        let Some(users) = self.users.get_mut(&memory) else { return Vec::new() };
        users.retain(|commit| !done.is_done(*commit));
        users.iter().copied().filter(|commit| backend.is_busy(*commit)).collect()
    }

    /// Removes what was dropped before the oldest commit that is still in flight.
    fn reap(&mut self, completions: &Completions) {
        let oldest = completions.oldest();
        let State { dropped, engine, users, window, .. } = self;
        dropped.retain(|(after, what)| {
            if oldest.is_some_and(|oldest| oldest < *after) {
                return true;
            }
            match what {
                Dropped::Resource(id) => engine.remove_resource(*id),
                Dropped::Memory(id) => {
                    engine.remove_memory(*id);
                    users.remove(id);
                }
                Dropped::Fence(id) => {
                    engine.remove_fence(*id);
                    window.fences.remove(id.0);
                }
                Dropped::Event(id) => {
                    engine.remove_event(*id);
                    window.events.remove(id.0);
                    completions.forget_event(*id);
                }
            }
            false
        });
    }
}

/// A thread that runs callbacks in the order they come, until nobody can send any more.
pub(crate) fn callback_thread() -> Sender<Callback> {
    let (sender, receiver) = channel::<Callback>();
    let run = move || receiver.into_iter().for_each(|callback| callback());
    let spawned = std::thread::Builder::new().name("lockgate callbacks".into()).spawn(run);
    if let Err(error) = spawned {
        log::error!("callbacks cannot run: {error}");
    }
    sender
}
