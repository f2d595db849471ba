//! The subtraction `missing = required - provided`, one work at a time.
//!
//! The engine takes the steps of a program as they come, walks works in an order in which they could run, and
//! keeps for every point what is behind it. For each access it asks the history of the memory which earlier
//! accesses conflict and are not behind it as they must be: those are the gaps. A gap of tracked memory
//! becomes an edge; any other is reported.
//!
//! State is bounded by what can still matter, not by how long the program runs: `tests/bounded.rs` holds it to
//! that. Deliberately absent: advice, messages, and what a device does with the graph.

mod clock;
mod command;
mod compact;
mod events;
mod frontier;
mod linear;
mod memory;
mod output;
mod queue;
mod reach;
mod recall;
mod resources;
mod sync;

use crate::{
    CommitId, EventId, FenceId, Gap, Graph, HostStep, Misuse, Model, Publishes, QueueDescriptor, QueueId,
    Recorded, ResourceId, SyncKind, SyncOp, VertexKind,
};
use command::Scratch;
use events::{CommitState, EventState, HostState};
use frontier::{Gate, Sources};
use linear::{Item, ItemKind, PendingBuffer};
use memory::Memories;
use output::Output;
use queue::Queue;
use reach::Publish;
use recall::Recall;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of the past is remembered.
///
/// ```
/// assert_eq!(lockgate_sync::History::default(), lockgate_sync::History::Recent);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum History {
    /// What can still matter: memory stays bounded in streams of any length. Of several accesses that all
    /// conflict with a later one, those are reported that nothing in between has superseded, so a program has
    /// a gap exactly if one is reported.
    #[default]
    Recent,
    /// Everything: each conflicting unordered pair of works is reported. Cost grows with the square of the
    /// accesses of a resource.
    Complete,
}

/// How an engine is made.
///
/// ```
/// use lockgate_sync::{Engine, EngineDescriptor, History};
/// let engine = Engine::new(EngineDescriptor { history: History::Complete, ..Default::default() });
/// assert_eq!(engine.blocked_queues().count(), 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EngineDescriptor {
    /// The switches of the model.
    pub model: Model,
    /// How much of the past is remembered.
    pub history: History,
    /// Whether what was found out about a commit is taken over when the same comes again behind the same commits in
    /// flight, whose end the host waits for. Orders and findings are as without it; the graph may have other joins.
    /// Default: no. It needs [`History::Recent`], and is off with the other.
    pub recall: bool,
}

/// Tracking and checking of one device.
///
/// Calls come in the order in which the program makes them. Each may bring forth vertices, gaps and misuse,
/// which [`Engine::take`] hands out.
///
/// ```
/// use lockgate_sync::*;
/// use std::sync::Arc;
///
/// let mut engine = Engine::new(EngineDescriptor::default());
/// let queue = engine.add_queue(QueueDescriptor::default());
/// let memory = engine.add_memory();
/// let x = engine.add_resource(ResourceDescriptor {
///     kind: ResourceKind::Buffer, memory, offset: 0, size: 64, tracked: true, unit: false,
/// });
/// let mut recording = Recording::new();
/// recording.begin_pass(PassDescriptor::compute());
/// for _ in 0..2 {
///     recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, AccessKind::WRITE)])]);
/// }
/// engine.commit(queue, [Arc::new(recording)]);
/// let taken = engine.take();
/// assert!(taken.gaps.is_empty(), "tracking has closed the gap");
/// let second = &taken.graph.vertices[1];
/// assert!(matches!(taken.graph.edges_of(second)[0].by.kind, SyncKind::Tracking(_)));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Engine {
    model: Model,
    history: History,
    memories: Memories,
    queues: Vec<Queue>,
    fences: BTreeMap<FenceId, Vec<(usize, Sources)>>,
    events: BTreeMap<EventId, EventState>,
    drawables: BTreeMap<ResourceId, events::DrawableState>,
    commits: BTreeMap<CommitId, CommitState>,
    host: HostState,
    next_commit: u64,
    next_step: u64,
    next_pass: u64,
    out: Output,
    scratch: Scratch,
    wants_compaction: bool,
    compact_at: usize,
    /// Accesses recorded since the last compaction, and how many of them are the next occasion.
    recorded: usize,
    record_at: usize,
    /// Gaps that wait to be taken, beyond which none is looked for.
    gaps_max: Option<usize>,
    recall: Option<Box<Recall>>,
}

/// What an engine has found out since it was last asked.
///
/// ```
/// let taken = lockgate_sync::Engine::new(Default::default()).take();
/// assert!(taken.graph.vertices.is_empty() && taken.gaps.is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// New vertices and their edges.
    pub graph: Graph,
    /// New gaps.
    pub gaps: Vec<Gap>,
    /// Calls that mean nothing or cannot work.
    pub misuse: Vec<Misuse>,
}

impl Engine {
    /// An engine without queues or resources.
    pub fn new(descriptor: EngineDescriptor) -> Engine {
        let EngineDescriptor { model, history, recall } = descriptor;
        let (compact_at, record_at) = (compact::FIRST, compact::RECORDED_MIN);
        let recall = (recall && history == History::Recent).then(|| Box::new(Recall::new()));
        Engine { model, history, compact_at, record_at, recall, ..Engine::default() }
    }

    /// Looks for no more gaps while this many wait to be taken; orders stay as they are. By default there is no
    /// limit.
    pub fn limit_gaps(&mut self, max: usize) {
        self.gaps_max = Some(max);
    }

    /// Adds a queue.
    pub fn add_queue(&mut self, descriptor: QueueDescriptor) -> QueueId {
        self.queues.push(Queue::new(descriptor));
        QueueId(self.queues.len() as u32 - 1)
    }

    /// Commits command buffers, in order. A queue that does not exist takes nothing.
    pub fn commit<R: Recorded + 'static>(
        &mut self,
        queue: QueueId,
        buffers: impl IntoIterator<Item = Arc<R>>,
    ) -> CommitId {
        let buffers: SmallVec<[Arc<dyn Recorded>; 2]> =
            buffers.into_iter().map(|buffer| buffer as Arc<dyn Recorded>).collect();
        match self.recalling(|recall, engine| recall.commit(engine, queue, &buffers)) {
            Some(commit) => commit,
            None => self.take_commit(queue, &buffers),
        }
    }

    fn take_commit(&mut self, queue: QueueId, buffers: &[Arc<dyn Recorded>]) -> CommitId {
        let commit = CommitId(self.next_commit);
        self.next_commit += 1;
        let host = self.host_gate();
        let step = self.next_step();
        let mut count = 0;
        if let Some(state) = self.queues.get_mut(queue.index()) {
            for recording in buffers.iter().cloned() {
                let buffer =
                    PendingBuffer { commit, buffer: count, recording, at: 0, state: Default::default() };
                state.pending.push_back(Item { step, host: host.clone(), kind: ItemKind::Buffer(buffer) });
                count += 1;
            }
        }
        self.commits.insert(commit, CommitState::new(count));
        if count == 0 {
            self.complete_commit(commit, &host);
        }
        self.advance();
        commit
    }

    /// The event takes the value when everything earlier on the queue is done.
    pub fn signal_event(&mut self, queue: QueueId, event: EventId, value: u64) {
        if self.recalling(|recall, engine| recall.signal(engine, queue, event, value)).is_none() {
            self.take_item(queue, ItemKind::Signal { event, value });
        }
    }

    /// Everything later on the queue waits for the value, which may be signaled later.
    pub fn wait_for_event(&mut self, queue: QueueId, event: EventId, value: u64) {
        if self.recalling(|recall, engine| recall.wait_for_event(engine, queue, event, value)).is_none() {
            self.take_item(queue, ItemKind::Wait { event, value });
        }
    }

    /// Everything later on the queue waits for everything earlier.
    pub fn enqueue_barrier(&mut self, queue: QueueId) {
        self.enqueue(queue, ItemKind::Barrier);
    }

    /// The drawable is ready for the display when everything earlier on the queue is done.
    pub fn signal_drawable(&mut self, queue: QueueId, drawable: ResourceId) {
        self.enqueue(queue, ItemKind::SignalDrawable(drawable));
    }

    /// Everything later on the queue waits until the display is done with the drawable.
    pub fn wait_for_drawable(&mut self, queue: QueueId, drawable: ResourceId) {
        self.enqueue(queue, ItemKind::WaitForDrawable(drawable));
    }

    /// A step of the host. Returns whether a wait was satisfied; `true` for steps that do not wait.
    pub fn host(&mut self, step: HostStep) -> bool {
        let done = match self.recalling(|recall, engine| recall.host(engine, step)) {
            Some(done) => done,
            None => self.take_host(step),
        };
        self.advance();
        done
    }

    /// The present value of an event.
    pub fn event_value(&self, event: EventId) -> u64 {
        self.events.get(&event).map_or(0, |state| state.value)
    }

    /// The queues whose next item waits for a value that nothing so far brings.
    pub fn blocked_queues(&self) -> impl Iterator<Item = QueueId> + '_ {
        let blocked = self.queues.iter().enumerate().filter(|(_, queue)| !queue.pending.is_empty());
        blocked.map(|(index, _)| QueueId(index as u32))
    }

    /// Whether all works of a commit have been handed out.
    pub fn is_taken(&self, commit: CommitId) -> bool {
        commit.0 < self.next_commit && self.commits.get(&commit).is_none_or(CommitState::is_taken)
    }

    /// Forgets a commit that the host will not wait for any more.
    pub fn retire(&mut self, commit: CommitId) {
        self.recall.iter_mut().for_each(|recall| recall.retire(commit));
        self.retire_taken(commit);
    }

    fn retire_taken(&mut self, commit: CommitId) {
        if let Some(state) = self.commits.get_mut(&commit) {
            state.retired = true;
            if state.is_taken() {
                self.commits.remove(&commit);
            }
        }
    }

    /// Hands out what was found since the last call.
    pub fn take(&mut self) -> Taken {
        Taken {
            graph: std::mem::take(&mut self.out.graph),
            gaps: std::mem::take(&mut self.out.gaps),
            misuse: std::mem::take(&mut self.out.misuse),
        }
    }

    /// The same into lists that keep their memory; what they held is dropped.
    pub fn take_into(&mut self, taken: &mut Taken) {
        taken.graph.vertices.clear();
        taken.graph.edges.clear();
        taken.gaps.clear();
        taken.misuse.clear();
        std::mem::swap(&mut taken.graph, &mut self.out.graph);
        std::mem::swap(&mut taken.gaps, &mut self.out.gaps);
        std::mem::swap(&mut taken.misuse, &mut self.out.misuse);
    }

    fn enqueue(&mut self, queue: QueueId, kind: ItemKind) {
        self.recalling(|recall, engine| recall.leave(engine));
        self.take_item(queue, kind);
    }

    fn take_item(&mut self, queue: QueueId, kind: ItemKind) {
        let host = self.host_gate();
        let step = self.next_step();
        if let Some(state) = self.queues.get_mut(queue.index()) {
            state.pending.push_back(Item { step, host, kind });
        }
        self.advance();
    }

    /// Nothing if it does not recall.
    fn recalling<T>(&mut self, act: impl FnOnce(&mut Recall, &mut Engine) -> T) -> Option<T> {
        let mut recall = self.recall.take()?;
        let done = act(&mut recall, self);
        self.recall = Some(recall);
        Some(done)
    }

    fn next_step(&mut self) -> u64 {
        self.next_step += 1;
        self.next_step - 1
    }

    /// What an order between queues or with the host makes visible.
    fn publish_all(&self) -> Publish {
        if self.model.strict_alias_visibility { Publish::DeviceAndAlias } else { Publish::Device }
    }

    fn finish_buffer(&mut self, queue: usize, commit: CommitId, host: &Arc<Gate>) {
        debug_assert!(queue < self.queues.len());
        let Some(state) = self.commits.get_mut(&commit) else { return };
        state.left -= 1;
        if state.left == 0 {
            self.complete_commit(commit, host);
        }
    }

    /// All works of a commit are handed out: its completion is a vertex behind them.
    fn complete_commit(&mut self, commit: CommitId, host: &Arc<Gate>) {
        let Some(state) = self.commits.get_mut(&commit) else { return };
        state.sources.union_gate(host);
        let by = SyncOp { kind: SyncKind::Completion, at: None };
        let edge = |&from| crate::Edge { from, by, publishes: Publishes::Nothing };
        let edges = state.sources.vertices.iter().map(edge);
        let vertex = self.out.vertex(VertexKind::Complete(commit), |list| list.extend(edges));
        state.vertex = Some(vertex);
        state.sources.vertices.clear();
        if state.retired {
            self.commits.remove(&commit);
        }
    }
}
