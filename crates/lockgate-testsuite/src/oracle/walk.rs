//! In which order the work of all queues arrives, and what each event, commit and drawable holds back.
//!
//! The order is greedy: the earliest recorded item whose queue has come to it and whose event has its value.
//! When nothing that was recorded so far is ready, a later command buffer may pass one that waits; at the end
//! of the program the earliest wait times out. The order decides the direction of tracked orders, which
//! signals a wait can have seen, and what the host can wait for; nothing else.

use super::bits::Bits;
use super::conflict;
use super::item::{Entry, Item, Placed, Recorder, Sync, What};
use super::relation::{Edge, Publication, Relation};
use super::{Arrival, Node, rules, satisfied};
use lockgate_sync::{
    Access, AccessKind, Actor, BarrierReach, EventId, EventScope, HostStep, Program, QueueId, QueueKind,
    ResourceId, Stage, Step,
};
use std::collections::BTreeMap;

/// Whom a gate holds back: what is recorded behind it on the queue, or in the command buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Queue(QueueId),
    Buffer(u32),
}

/// Works that everything in the scope recorded behind the gate waits for.
#[derive(Clone, Debug)]
struct Gate {
    scope: Scope,
    at: u32,
    sources: Bits,
}

pub(super) struct Walk<'a> {
    program: &'a Program,
    recorder: Recorder,
    items: Vec<Item>,
    gates: Vec<Gate>,
    syncs: Vec<Placed>,
    /// Every signal of an event so far: its value and all works that it waited for.
    signals: BTreeMap<EventId, Vec<(u64, Bits)>>,
    /// What the last signal of a drawable waited for.
    drawables: BTreeMap<ResourceId, Bits>,
    /// The accesses of the host so far and all that it has waited for.
    host: Bits,
    host_steps: u64,
    presents: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) relation: Relation,
    pub(super) arrivals: Vec<Arrival>,
}

impl<'a> Walk<'a> {
    /// Walks the whole program.
    pub(super) fn run(program: &'a Program) -> Walk<'a> {
        let mut walk = Walk {
            program,
            recorder: Recorder::new(program.queues.len()),
            items: Vec::new(),
            gates: Vec::new(),
            syncs: Vec::new(),
            signals: BTreeMap::new(),
            drawables: BTreeMap::new(),
            host: Bits::default(),
            host_steps: 0,
            presents: 0,
            nodes: Vec::new(),
            relation: Relation::new(program.resources.len()),
            arrivals: Vec::new(),
        };
        for step in &program.steps {
            walk.step(step);
            walk.drain();
        }
        while let Some(blocked) = walk.items.iter().position(|item| !item.taken) {
            walk.items[blocked].taken = true;
            walk.arrivals.push(Arrival { item: blocked, timed_out: true });
            walk.drain();
        }
        walk
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit { queue, buffers } => {
                if let Some(kind) = self.kind(*queue) {
                    self.host_gate(*queue);
                    for (index, recording) in (0..).zip(buffers) {
                        if kind == QueueKind::IoSerial {
                            self.push_queue_item(*queue, What::QueueBarrier);
                        }
                        let items = self.recorder.buffer(self.program, *queue, index, recording);
                        self.items.extend(items);
                    }
                }
                self.recorder.commits += 1;
            }
            Step::SignalEvent { queue, event, value } => {
                self.push_queue_item(*queue, What::Signal { event: *event, value: *value });
            }
            Step::WaitForEvent { queue, event, value } => {
                self.push_queue_item(*queue, What::Wait { event: *event, value: *value });
            }
            Step::EnqueueBarrier { queue } => {
                if self.kind(*queue).is_some_and(|kind| kind != QueueKind::Gpu) {
                    self.push_queue_item(*queue, What::QueueBarrier);
                }
            }
            Step::WaitForDrawable { queue, drawable } => {
                self.push_queue_item(*queue, What::WaitForDrawable(*drawable));
            }
            Step::SignalDrawable { queue, drawable } => {
                self.push_queue_item(*queue, What::SignalDrawable(*drawable));
            }
            Step::Present { drawable } => self.present(*drawable),
            Step::Host(step) => self.host_step(step),
        }
    }

    fn kind(&self, queue: QueueId) -> Option<QueueKind> {
        self.program.queues.get(queue.index()).map(|queue| queue.kind)
    }

    fn push_queue_item(&mut self, queue: QueueId, what: What) {
        if self.kind(queue).is_some() {
            self.host_gate(queue);
            let at = self.recorder.next_position();
            self.items.push(Item { queue, buffer: None, commit: None, at, what, taken: false });
        }
    }

    /// What the host calls comes after what the host did: the queue goes on behind its accesses so far.
    fn host_gate(&mut self, queue: QueueId) {
        let at = self.recorder.next_position();
        let sources = self.host.clone();
        self.gates.push(Gate { scope: Scope::Queue(queue), at, sources });
    }

    /// The display reads behind the last signal of the drawable and behind what the host did before the call.
    fn present(&mut self, drawable: ResourceId) {
        let actor = Actor::Display { present: self.presents };
        self.presents += 1;
        let mut sources = self.drawables.get(&drawable).cloned().unwrap_or_default();
        sources.union_with(&self.host);
        let access = Access::whole(drawable, AccessKind::READ);
        self.outside_node(actor, Stage::Display, access, &sources);
    }

    fn host_step(&mut self, step: &HostStep) {
        let actor = Actor::Host { step: self.host_steps };
        self.host_steps += 1;
        match step {
            HostStep::Access(access) => self.host_access(actor, *access),
            HostStep::AccessWhenIdle(access) => {
                let busy = self.conflicting(access);
                self.host.union_with(&busy);
                self.host_access(actor, *access);
            }
            HostStep::SignalEvent { event, value } => {
                let sources = self.host.clone();
                self.signal(*event, *value, &sources);
            }
            HostStep::WaitForEvent { event, value } => {
                if self.reached(*event, *value) {
                    self.host.union_with(&self.credit(*event, *value));
                }
            }
            HostStep::WaitForCommit { commit } => {
                let is = |of: &Item| of.commit == Some(*commit);
                if self.items.iter().filter(|item| is(item)).all(|item| item.taken) {
                    let buffers: Vec<_> =
                        self.items.iter().filter(|item| is(item)).map(|i| i.buffer).collect();
                    let works = self.nodes.iter().enumerate();
                    let of_commit = works.filter(|(_, n)| n.buffer.is_some() && buffers.contains(&n.buffer));
                    self.host.union_with(&of_commit.map(|(index, _)| index).collect());
                }
            }
        }
    }

    fn host_access(&mut self, actor: Actor, access: Access) {
        let sources = self.host.clone();
        self.host.insert(self.nodes.len());
        self.outside_node(actor, Stage::Host, access, &sources);
    }

    /// The nodes so far that conflict with an access of the host.
    fn conflicting(&self, access: &Access) -> Bits {
        let host = outside(Actor::Host { step: self.host_steps }, Stage::Host, *access, 0);
        let conflict =
            |node: &Node| conflict::pairs(node, &host).any(|(a, b)| conflict::conflicts(self.program, a, b));
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| conflict(node)).map(|(index, _)| index).collect()
    }

    /// Takes what is ready, then lets a command buffer pass, until neither is possible.
    fn drain(&mut self) {
        while let Some(next) = self.ready().or_else(|| self.hoistable()) {
            self.take(next);
        }
    }

    /// The earliest recorded item that its queue has come to and that need not wait.
    fn ready(&self) -> Option<usize> {
        let front = |item: &Item| {
            !self.items.iter().any(|other| !other.taken && other.queue == item.queue && other.at < item.at)
        };
        self.items.iter().position(|item| !item.taken && front(item) && self.released(item))
    }

    fn released(&self, item: &Item) -> bool {
        match item.what {
            What::Wait { event, value } => self.reached(event, value),
            _ => true,
        }
    }

    /// The earliest recorded part of a command buffer that may pass the command buffers before it.
    fn hoistable(&self) -> Option<usize> {
        if self.program.model.wait_scope == EventScope::Queue {
            return None;
        }
        let may =
            |item: &Item| !item.taken && item.buffer.is_some() && self.released(item) && self.may_pass(item);
        self.items.iter().position(may)
    }

    /// Whether nothing could tell that `item` ran before the items of its queue that are still to be taken.
    fn may_pass(&self, item: &Item) -> bool {
        let same_queue = |other: &&Item| other.queue == item.queue;
        let skipped: Vec<&Item> =
            self.items.iter().filter(same_queue).filter(|other| !other.taken && other.at < item.at).collect();
        let passing: Vec<&Item> = self.items.iter().filter(|other| other.buffer == item.buffer).collect();
        let only_buffers = |other: &&Item| other.buffer.is_some() && other.buffer != item.buffer;
        let reaches_out = |sync: &Placed| {
            matches!(sync.sync, Sync::Barrier(BarrierReach::Producer | BarrierReach::Consumer, _))
        };
        let updates = |sync: &Placed| matches!(sync.sync, Sync::UpdateFence { .. });
        let waits = |sync: &Placed| matches!(sync.sync, Sync::WaitForFence { .. });
        // A pass that a later command buffer resumes is not torn in two.
        let later = self.items.iter().filter(same_queue).filter(|other| other.at > item.at);
        let later: Vec<&Item> = later.filter(|other| other.buffer != item.buffer).collect();
        let resumed = passes(&later).any(|pass| passes(&passing).any(|own| own == pass));
        let barriers = syncs(&skipped).chain(syncs(&passing)).any(reaches_out);
        let fences = syncs(&skipped).any(updates)
            || syncs(&passing).any(waits)
            || syncs(&passing).any(updates) && syncs(&skipped).any(waits);
        let telling = resumed || barriers || fences;
        skipped.iter().all(only_buffers)
            && !telling
            && works(&skipped).all(|early| {
                works(&passing).all(|late| {
                    !early.same_pass(late) && !conflict::tracked_conflict(self.program, early, late)
                })
            })
    }

    fn take(&mut self, index: usize) {
        self.arrivals.push(Arrival { item: index, timed_out: false });
        let mut item = self.items[index].clone();
        self.items[index].taken = true;
        let (queue, at) = (item.queue, item.at);
        let queue_gate = |sources| Gate { scope: Scope::Queue(queue), at, sources };
        match &mut item.what {
            What::Segment(entries) => {
                for entry in entries.drain(..) {
                    match entry {
                        Entry::Work(node) => self.take_work(node),
                        Entry::Sync(sync) => self.syncs.push(sync),
                    }
                }
            }
            What::Signal { event, value } => {
                let (event, value) = (*event, *value);
                let sources = self.earlier(&item);
                self.signal(event, value, &sources);
            }
            What::Wait { event, value } => {
                let sources = self.credit(*event, *value);
                let narrow = self.program.model.wait_scope == EventScope::CommandBuffer;
                let scope = match item.buffer {
                    Some(buffer) if narrow => Scope::Buffer(buffer),
                    _ => Scope::Queue(queue),
                };
                self.gates.push(Gate { scope, at, sources });
            }
            What::QueueBarrier => {
                let sources = self.earlier(&item);
                self.gates.push(queue_gate(sources));
            }
            What::SignalDrawable(drawable) => {
                let drawable = *drawable;
                let sources = self.earlier(&item);
                self.drawables.insert(drawable, sources);
            }
            What::WaitForDrawable(drawable) => {
                let display = |node: &Node| {
                    node.stage == Stage::Display && node.accesses.iter().any(|a| a.resource == *drawable)
                };
                let nodes = self.nodes.iter().enumerate();
                let sources = nodes.filter(|(_, node)| display(node)).map(|(index, _)| index).collect();
                self.gates.push(queue_gate(sources));
            }
        }
    }

    /// All that a signal or barrier of the queue, or a signal in a command buffer, waits for.
    fn earlier(&self, item: &Item) -> Bits {
        let wide = self.program.model.signal_scope == EventScope::Queue;
        let buffer = item.buffer.filter(|_| !wide);
        let covers = |node: &Node| match buffer {
            Some(_) => node.buffer == buffer,
            None => node.queue == Some(item.queue),
        };
        let nodes = self.nodes.iter().enumerate();
        let mut sources: Bits = nodes
            .filter(|(_, node)| covers(node) && node.recorded < item.at)
            .map(|(index, _)| index)
            .collect();
        for gate in self.gates.iter().filter(|gate| gate.at < item.at) {
            if gate.scope == Scope::Queue(item.queue) || item.buffer.map(Scope::Buffer) == Some(gate.scope) {
                sources.union_with(&gate.sources);
            }
        }
        sources
    }

    fn signal(&mut self, event: EventId, value: u64, sources: &Bits) {
        let sources = self.relation.closed(sources);
        self.signals.entry(event).or_default().push((value, sources));
    }

    fn reached(&self, event: EventId, value: u64) -> bool {
        let signals = self.signals.get(&event);
        value == 0 || signals.is_some_and(|signals| signals.iter().any(|(to, _)| *to >= value))
    }

    /// What all signals that could have been the first to reach the value waited for.
    fn credit(&self, event: EventId, value: u64) -> Bits {
        let signals = self.signals.get(&event).filter(|_| value > 0);
        let reaching = signals.into_iter().flatten().filter(|(to, _)| *to >= value);
        let sources = reaching.map(|(_, sources)| sources.clone()).reduce(|mut all, sources| {
            all.intersect_with(&sources);
            all
        });
        sources.unwrap_or_default()
    }

    fn take_work(&mut self, node: Node) {
        let mut edges = rules::edges_into(self.program, &self.nodes, &self.syncs, &node);
        for gate in self.gates.iter().filter(|gate| gate.at < node.recorded) {
            let scope = gate.scope;
            if node.queue.map(Scope::Queue) == Some(scope) || node.buffer.map(Scope::Buffer) == Some(scope) {
                edges.extend(full_edges(&gate.sources));
            }
        }
        let index = self.push_node(node, &edges);
        let tracked = self.tracked_edges(index);
        self.relation.connect(index, &tracked);
    }

    /// The orders that tracking adds: where a tracked conflict is not ordered as it needs.
    fn tracked_edges(&self, late: usize) -> Vec<Edge> {
        let missing = |early: usize| {
            let (from, to) = (&self.nodes[early], &self.nodes[late]);
            !conflict::unorderable(from, to)
                && conflict::pairs(from, to).any(|(a, b)| {
                    conflict::tracked(self.program, a, b)
                        && conflict::conflicts(self.program, a, b)
                        && !satisfied(self.program, &self.relation, (early, a.1), (late, b.1))
                })
        };
        let edge = |from| Edge { from, publishes: Publication::DeviceAndAliases };
        (0..late).filter(|early| missing(*early)).map(edge).collect()
    }

    fn outside_node(&mut self, actor: Actor, stage: Stage, access: Access, sources: &Bits) {
        let node = outside(actor, stage, access, self.recorder.next_position());
        let edges: Vec<Edge> = full_edges(sources).collect();
        self.push_node(node, &edges);
    }

    fn push_node(&mut self, node: Node, edges: &[Edge]) -> usize {
        self.nodes.push(node);
        self.relation.push();
        self.relation.connect(self.nodes.len() - 1, edges);
        self.nodes.len() - 1
    }
}

/// A node of the host or the display.
fn outside(actor: Actor, stage: Stage, access: Access, recorded: u32) -> Node {
    let (accesses, queue, buffer, kind) = (vec![access], None, None, None);
    Node { actor, stage, part: 0, accesses, queue, pass: 0, recorded, buffer, kind, serial: false }
}

fn full_edges(sources: &Bits) -> impl Iterator<Item = Edge> + '_ {
    sources.iter().map(|from| Edge { from, publishes: Publication::DeviceAndAliases })
}

fn syncs<'i>(items: &'i [&Item]) -> impl Iterator<Item = &'i Placed> {
    items.iter().flat_map(|item| item.entries()).filter_map(|entry| match entry {
        Entry::Sync(sync) => Some(sync),
        Entry::Work(_) => None,
    })
}

fn works<'i>(items: &'i [&Item]) -> impl Iterator<Item = &'i Node> {
    items.iter().flat_map(|item| item.entries()).filter_map(|entry| match entry {
        Entry::Work(node) => Some(node),
        Entry::Sync(_) => None,
    })
}

/// The passes that items have part in.
fn passes<'a>(items: &'a [&'a Item]) -> impl Iterator<Item = u32> + 'a {
    let entries = items.iter().flat_map(|item| match &item.what {
        What::Segment(entries) => entries.as_slice(),
        _ => &[],
    });
    entries.map(|entry| match entry {
        Entry::Work(node) => node.pass,
        Entry::Sync(sync) => sync.pass,
    })
}
