//! What all clones of a device share: the engine under one lock, what is in flight, and who waits.
//!
//! Every commit and every step of the host goes through here, so that the order of vertices is the order of commits.
//! Deliberately absent: the public face (`device.rs`), recording, and what checking says (`checking/`). Tested on every
//! device.

use crate::backend::{Backend, CommitReport, Native, Observer, Submission, SubmittedBuffer, SubmittedCommit};
use crate::checking::{Checking, Findings, Window, tell};
use crate::completion::{Callback, CommitState, Completions, Events};
use crate::device::{DeviceDescriptor, ResourceKey, Trace, TracedCommit};
use crate::{CommandBufferContents, Error, ErrorKind, Result};
use lockgate_sync::{
    Access, Code, CommitId, Engine, EngineDescriptor, EventId, FenceId, HostStep, MemoryId, QueueId,
    ResourceDescriptor, ResourceId, Step, Taken,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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
    pub(crate) findings: Findings,
    window: Window,
    /// What resources are called, by their ids.
    labels: Vec<String>,
    pub(crate) trace: Trace,
    next_commit: u64,
}

impl Shared {
    pub(crate) fn new(backend: Box<dyn Backend>, descriptor: DeviceDescriptor) -> Shared {
        let completions = Arc::new(Completions::default());
        backend.set_observer(completions.clone());
        backend.set_timing(descriptor.tracing);
        let engine =
            Engine::new(EngineDescriptor { model: descriptor.model, recall: true, ..Default::default() });
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
        Shared {
            backend,
            descriptor,
            completions,
            state: Mutex::new(state),
            callbacks: OnceLock::new(),
            released: Mutex::new(Vec::new()),
            timed_out: AtomicBool::new(false),
        }
    }

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
        let _ = self.flush(&mut state);
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
        let submitted = SubmittedCommit { id: commit, queue, buffers: submitted };
        let result = self.submit(&mut state, vec![submitted]);
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
    fn flush(&self, state: &mut State) -> Result<()> {
        self.find(state, None);
        self.submit(state, Vec::new())
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
    fn submit(&self, state: &mut State, commits: Vec<SubmittedCommit>) -> Result<()> {
        let State { engine, taken, waiting, trace, .. } = state;
        waiting.retain(|(_, commit)| !engine.is_taken(*commit));
        let graph = &taken.graph;
        if graph.vertices.is_empty() && commits.is_empty() {
            return Ok(());
        }
        if self.descriptor.tracing {
            trace.graph.append(graph);
        }
        self.backend.submit(Submission { commits, graph })
    }

    /// Waits until `done`. Lends this thread to the device, and gives up waits for events that nothing brings.
    /// Returns whether it is done.
    pub(crate) fn wait(&self, timeout: Option<Duration>, done: &dyn Fn(&Events) -> bool) -> bool {
        let begin = Instant::now();
        let deadline = timeout.and_then(|timeout| begin.checked_add(timeout));
        let mut give_up = begin + self.descriptor.event_timeout;
        let last = Cell::new(None);
        let mut waiting = None;
        loop {
            let calls = self.completions.calls();
            self.backend.help(&|| self.completions.ask(&last, done));
            last.set(None);
            if self.completions.ask(&last, done) {
                return true;
            }
            if self.completions.is_lost() {
                return false;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return false;
            }
            if now >= give_up {
                self.give_up_a_wait();
                give_up = now + self.descriptor.event_timeout;
            }
            if waiting.is_none() {
                // In this order: what is submitted from here on is reported too.
                waiting = Some(self.completions.waiting());
                self.backend.attend();
                continue;
            }
            let until = deadline.map_or(give_up, |deadline| deadline.min(give_up));
            self.completions.sleep_unless(Some(until), calls, done);
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
        let _ = self.flush(&mut state);
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
            self.backend.look();
            let mut state = self.state();
            let busy = state.busy_commits(memory, &*self.backend, &self.completions);
            let Some(&commit) = busy.first() else {
                state.take(Step::Host(HostStep::AccessWhenIdle(access)), self.checking());
                let result = act();
                // Without a commit there is nothing that a device could refuse.
                let _ = self.flush(&mut state);
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
