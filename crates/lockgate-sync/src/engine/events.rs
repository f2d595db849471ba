//! Orders that leave a pass: events, completions, the host, drawables, and barriers of IO queues.

use super::Engine;
use super::command::Actors;
use super::frontier::{Gate, Sources};
use super::queue::STAGES;
use super::reach::Behind;
use crate::{
    Access, AccessKind, Actor, CommitId, Edge, EventId, HostStep, Publishes, ResourceId, Stage, SyncKind,
    SyncOp, VertexId, VertexKind,
};
use std::sync::Arc;

/// Signals beyond this many are forgotten, oldest first; a wait for a value below them is then ordered after
/// the oldest that is left, which is more than it asks for.
const SIGNALS_MAX: usize = 256;

/// Who signals: signals of one producer are ordered among themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Producer {
    Host,
    Queue(usize),
    Buffer(usize, u64),
}

#[derive(Clone, Debug)]
struct Signal {
    value: u64,
    producer: Producer,
    behind: Arc<Behind>,
    vertex: VertexId,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct EventState {
    pub(crate) value: u64,
    /// The host has the signals up to this value behind it.
    seen: u64,
    signals: Vec<Signal>,
}

impl EventState {
    fn push(&mut self, signal: Signal) {
        // A6: the value never falls. A signal releases nobody if its producer has signaled as much before; what
        // others have signaled may come later than this one.
        let spent = |last: &Signal| last.producer == signal.producer && last.value >= signal.value;
        self.value = self.value.max(signal.value);
        if signal.value <= self.seen || self.signals.last().is_some_and(spent) {
            return;
        }
        self.signals.push(signal);
        if self.signals.len() > SIGNALS_MAX {
            self.signals.remove(0);
        }
    }

    /// The host has all signals behind it up to a value, and the others are taken once more.
    pub(crate) fn forget(&mut self, seen: u64) {
        self.seen = seen;
        self.signals.clear();
    }

    pub(crate) fn behinds_mut(&mut self) -> impl Iterator<Item = &mut Arc<Behind>> {
        self.signals.iter_mut().map(|signal| &mut signal.behind)
    }
}

/// A commit whose completion somebody may still wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitState {
    pub(crate) left: u32,
    pub(crate) sources: Sources,
    pub(crate) vertex: Option<VertexId>,
    pub(crate) retired: bool,
}

impl CommitState {
    pub(crate) fn new(left: u32) -> CommitState {
        CommitState { left, ..CommitState::default() }
    }

    pub(crate) fn is_taken(&self) -> bool {
        self.vertex.is_some()
    }
}

/// The host: one sequence of steps. Everything it did or waited for is behind its next step.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostState {
    pub(crate) gate: Gate,
    /// The gate as the last commit saw it, until it changes.
    pub(crate) shared: Option<Arc<Gate>>,
    pub(crate) steps: u64,
    pub(crate) accesses: u64,
    pub(crate) presents: u64,
    pub(crate) displayed: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct DrawableState {
    pub(crate) ready: Sources,
    pub(crate) shown: Sources,
}

impl Engine {
    /// The host has seen a commit end; what it waits for then is known.
    pub(crate) fn wait_for_commit(&mut self, commit: CommitId) {
        let Some(state) = self.commits.get_mut(&commit) else { return };
        let behind = state.sources.behind().clone();
        self.host_waits(&behind, None);
    }

    /// The host has seen an event take a value.
    pub(crate) fn wait_for_value(&mut self, event: EventId, value: u64) {
        if let Some((behind, _)) = self.event_credit(event, value) {
            self.host_waits(&behind, None);
        }
    }

    /// What the last signal of an event is behind.
    pub(crate) fn last_signal(&self, event: EventId) -> Option<&Behind> {
        Some(&self.events.get(&event)?.signals.last()?.behind)
    }

    /// Adds a wait to what the host has behind it.
    fn host_waits(&mut self, behind: &Behind, edge: Option<Edge>) {
        let publish = self.publish_all();
        self.host.gate.open_after(behind, &publish, edge, &mut self.out);
        self.host.shared = None;
    }

    /// What the host has behind it now, as one edge.
    pub(crate) fn host_gate(&mut self) -> Arc<Gate> {
        if let Some(shared) = &self.host.shared {
            return shared.clone();
        }
        let by = SyncOp { kind: SyncKind::Commit, at: None };
        let waits: Vec<VertexId> = self.host.gate.waits.iter().map(|edge| edge.from).collect();
        self.host.gate.waits = self.out.edge(&waits, by, Publishes::Device).into_iter().collect();
        let shared = Arc::new(self.host.gate.clone());
        self.host.shared = Some(shared.clone());
        shared
    }

    pub(crate) fn take_host(&mut self, step: HostStep) -> bool {
        self.next_step += 1;
        let number = self.host.steps;
        self.host.steps += 1;
        match step {
            HostStep::Access(access) => self.host_access(access, number, false),
            HostStep::AccessWhenIdle(access) => self.host_access(access, number, true),
            HostStep::SignalEvent { event, value } => self.host_signal(event, value),
            HostStep::WaitForEvent { event, value } => {
                if self.event_value(event) < value {
                    return false;
                }
                if let Some((behind, edge)) = self.event_credit(event, value) {
                    self.host_waits(&behind, edge);
                }
            }
            HostStep::WaitForCommit { commit } => {
                let commit = crate::CommitId(commit);
                if !self.is_taken(commit) {
                    return false;
                }
                let Some(state) = self.commits.get_mut(&commit) else { return true };
                let by = SyncOp { kind: SyncKind::Completion, at: None };
                let edge = state.vertex.map(|from| Edge { from, by, publishes: Publishes::Device });
                let behind = state.sources.behind().clone();
                self.host_waits(&behind, edge);
            }
        }
        true
    }

    fn host_access(&mut self, access: Access, step: u64, when_idle: bool) {
        let number = self.host.accesses;
        self.host.accesses += 1;
        let gate = self.host_gate();
        let actor = Actor::Host { step };
        let actors =
            Actors { actor, stage: Stage::Host, lane: Engine::HOST, number, step: self.next_step - 1 };
        self.scratch.waits_for_conflicts = when_idle;
        let (vertex, behind) = self.take_access_outside(VertexKind::Host { step }, actors, &access, &gate);
        self.scratch.waits_for_conflicts = false;
        let publish = self.publish_all();
        let own = Arc::make_mut(&mut self.host.gate.behind);
        if when_idle {
            own.union(&behind);
        }
        own.follow_work(Engine::HOST, number, &publish);
        let by = SyncOp { kind: SyncKind::Commit, at: None };
        self.host.gate.waits.clear();
        self.host.gate.waits.push(Edge { from: vertex, by, publishes: Publishes::Device });
        self.host.shared = None;
    }

    fn host_signal(&mut self, event: EventId, value: u64) {
        let mut sources = Sources::default();
        let gate = self.host_gate();
        sources.union_gate(&gate);
        self.signal(event, value, Producer::Host, sources);
    }

    /// The display reads the drawable after its last signal.
    pub fn present(&mut self, drawable: ResourceId) {
        self.recalling(|recall, engine| recall.leave(engine));
        self.next_step += 1;
        let present = self.host.presents;
        self.host.presents += 1;
        let mut gate = (*self.host_gate()).clone();
        let publish = self.publish_all();
        let by = SyncOp { kind: SyncKind::Drawable, at: None };
        if let Some(state) = self.drawables.get_mut(&drawable) {
            let edge = self.out.edge(&state.ready.vertices, by, Publishes::Device);
            gate.open_after(state.ready.behind(), &publish, edge, &mut self.out);
        }
        let number = self.host.displayed;
        self.host.displayed += 1;
        let actor = Actor::Display { present };
        let step = self.next_step - 1;
        let actors = Actors { actor, stage: Stage::Display, lane: Engine::DISPLAY, number, step };
        let access = Access::whole(drawable, AccessKind::READ);
        let (vertex, _) = self.take_access_outside(VertexKind::Display { present }, actors, &access, &gate);
        let shown = &mut self.drawables.entry(drawable).or_default().shown;
        shown.add(Engine::DISPLAY, number, &gate.behind, vertex, &[]);
        shown.collapse(by, &mut self.out);
        self.advance();
    }

    pub(crate) fn take_signal_drawable(&mut self, queue: usize, drawable: ResourceId, host: &Arc<Gate>) {
        let mut sources = self.queues[queue].sources();
        sources.union_gate(host);
        self.drawables.entry(drawable).or_default().ready = sources;
    }

    pub(crate) fn take_wait_for_drawable(&mut self, queue: usize, drawable: ResourceId) {
        let publish = self.publish_all();
        let Some(state) = self.drawables.get_mut(&drawable) else { return };
        let by = SyncOp { kind: SyncKind::Drawable, at: None };
        let edge = self.out.edge(&state.shown.vertices, by, Publishes::Device);
        let state_queue = &mut self.queues[queue];
        state_queue.all.open_after(state.shown.behind(), &publish, edge, &mut self.out);
        state_queue.gates_changed();
    }

    /// Everything later on the queue waits for everything earlier: barriers of IO queues.
    pub(crate) fn take_queue_barrier(&mut self, queue: usize) {
        let publish = self.publish_all();
        let by = SyncOp { kind: SyncKind::QueueBarrier, at: None };
        let state = &mut self.queues[queue];
        let mut sources = Sources::default();
        for stage in 0..STAGES {
            sources.union(&state.done[stage]);
            sources.union(&state.pass.done[stage]);
        }
        let edge = self.out.edge(&sources.vertices, by, Publishes::Device);
        state.all.open_after(sources.behind(), &publish, edge, &mut self.out);
        state.gates_changed();
    }

    /// A signal waits for everything earlier on its queue, on IO queues too (A18).
    pub(crate) fn take_signal(&mut self, queue: usize, event: EventId, value: u64, host: &Arc<Gate>) {
        let mut sources = self.queues[queue].sources();
        sources.union_gate(host);
        self.signal(event, value, Producer::Queue(queue), sources);
    }

    pub(crate) fn signal(&mut self, event: EventId, value: u64, producer: Producer, mut sources: Sources) {
        let by = SyncOp { kind: SyncKind::Event(event, value), at: None };
        // Who waits for it sees everything; the signal itself sees nothing.
        let edge = |&from: &VertexId| Edge { from, by, publishes: Publishes::Nothing };
        let edges = sources.vertices.iter().map(edge);
        let vertex = self.out.vertex(VertexKind::Signal { event, value }, |list| list.extend(edges));
        sources.vertices.clear();
        let behind = Arc::new(sources.into_behind());
        self.events.entry(event).or_default().push(Signal { value, producer, behind, vertex });
    }

    /// What a wait for a value is ordered after: what all signals that could have brought it first have in
    /// common. The edge is the signal that brings it in the order taken.
    pub(crate) fn event_credit(&self, event: EventId, value: u64) -> Option<(Behind, Option<Edge>)> {
        let state = self.events.get(&event).filter(|state| value > state.seen)?;
        let mut able = state.signals.iter().filter(|signal| signal.value >= value);
        let first = able.next()?;
        let by = SyncOp { kind: SyncKind::Event(event, value), at: None };
        let mut behind = (*first.behind).clone();
        for other in able.filter(|other| other.producer != first.producer) {
            behind.intersect(&other.behind);
        }
        Some((behind, Some(Edge { from: first.vertex, by, publishes: Publishes::Device })))
    }
}
