//! What could close one gap: changes of every mechanism, the smallest reach first.
//!
//! Deliberately absent: whether a candidate works, which a run of the engine decides (`advice.rs`).

use super::change::Change;
use super::finding::OrderFound;
use super::layout::{Layout, Spot};
use super::near::nearest;
use super::place::Place;
use super::trial::Open;
use crate::{
    Actor, Barrier, BarrierReach, EventId, FenceId, HostStep, Op, PassKind, Program, QueueId, Reach, Stages,
    Step, VisibilityOptions,
};
use std::collections::BTreeSet;

/// Which changes belong together when they are extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A barrier of this reach before a place.
    Barrier(u8, Place),
    /// A fence that is updated in this pass.
    Fence(QueueId, u32),
    /// An event that is signaled behind this step.
    Event(QueueId, u32),
    /// An operation of the program with other stages.
    Existing(Place),
}

/// How far a mechanism reaches; smaller is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Existing,
    Intrapass,
    Fence,
    Queue,
    Split,
    Event,
    Host,
    /// The later one before the earlier one: only where it arrives first whatever is done.
    Backwards,
}

/// Changes that may close a gap.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) class: Class,
    pub(crate) key: Option<Key>,
    pub(crate) changes: Vec<Change>,
}

/// Makes candidates, with numbers for fences and events that nobody has yet.
#[derive(Debug)]
pub(crate) struct Proposer<'a> {
    pub(crate) layout: &'a Layout<'a>,
    /// Passes that may not be split.
    pub(crate) unsplit: BTreeSet<(QueueId, u32)>,
    pub(crate) next_fence: u32,
    pub(crate) next_event: u32,
    list: Vec<Candidate>,
}

impl<'a> Proposer<'a> {
    pub(crate) fn new(layout: &'a Layout<'a>) -> Proposer<'a> {
        let Program { fences, events, .. } = *layout.program;
        Proposer {
            layout,
            next_fence: fences,
            next_event: events,
            unsplit: BTreeSet::new(),
            list: Vec::new(),
        }
    }

    /// All candidates for a gap, by class.
    pub(crate) fn candidates(&mut self, open: &Open) -> Vec<Candidate> {
        self.list.clear();
        self.existing(open);
        match (open.a.queue, open.b.queue) {
            (Some(a), Some(b)) if a == b && open.a.pass == open.b.pass => self.within_pass(open),
            (Some(a), Some(b)) if a == b => self.within_queue(open, a),
            (Some(a), Some(b)) => {
                self.event(open, a, b);
                self.event_backwards(open, a, b);
            }
            (Some(a), None) => self.before_outside(open, a),
            (None, Some(b)) => self.behind_outside(open, b),
            (None, None) => self.behind_display(open),
        }
        let mut list = std::mem::take(&mut self.list);
        list.sort_by_key(|candidate| candidate.class);
        list
    }

    fn offer(&mut self, class: Class, key: Option<Key>, changes: Vec<Change>) {
        self.list.push(Candidate { class, key, changes });
    }

    fn fence(&mut self) -> FenceId {
        self.next_fence = self.next_fence.saturating_add(1);
        FenceId(self.next_fence - 1)
    }

    fn new_event(&mut self) -> EventId {
        self.next_event = self.next_event.saturating_add(1);
        EventId(self.next_event - 1)
    }

    fn visibility(&self, open: &Open) -> VisibilityOptions {
        let (a, b) = (&open.gap.earlier.access, &open.gap.later.access);
        let strict = self.layout.program.model.strict_alias_visibility && a.resource != b.resource;
        match a.kind.writes() {
            true if strict => VisibilityOptions::DEVICE | VisibilityOptions::RESOURCE_ALIAS,
            true => VisibilityOptions::DEVICE,
            false => VisibilityOptions::empty(),
        }
    }

    /// A barrier that is new. Where it stands in for an order that tracking would have given, it must make visible
    /// through aliases what that would have; what is too much goes in the end.
    fn barrier(&self, open: &Open) -> Barrier {
        let mut visibility = self.visibility(open);
        if self.layout.program.model.strict_alias_visibility && !visibility.is_empty() {
            visibility |= VisibilityOptions::RESOURCE_ALIAS;
        }
        Barrier { after: open.a.stage.mask(), before: open.b.stage.mask(), visibility }
    }

    /// The operation that comes nearest, extended; or the missing half of a fence or event.
    fn existing(&mut self, open: &Open) {
        let found = nearest(self.layout, &open.a, &open.b);
        let found = match (open.gap.reach, found) {
            (Reach::ExecutionOnly, OrderFound::ExecutionOnly { .. }) | (Reach::Nothing, _) => found,
            _ => return,
        };
        let Some(by) = found.by() else { return };
        let wider = |mut barrier: Barrier| {
            barrier.after |= open.a.stage.mask();
            barrier.before |= open.b.stage.mask();
            barrier.visibility |= self.visibility(open);
            barrier
        };
        let op = match (found, self.layout.program.op_at(by)) {
            (OrderFound::ExecutionOnly { .. } | OrderFound::WrongStages { .. }, Some(op)) => op,
            (OrderFound::NeverWaitedFor { .. }, _) => return self.missing_wait(open, by),
            _ => return,
        };
        let op = match op {
            Op::Barrier(reach, barrier) => Op::Barrier(*reach, wider(*barrier)),
            Op::UpdateFence { fence, after } => {
                Op::UpdateFence { fence: *fence, after: *after | open.a.stage.mask() }
            }
            Op::WaitForFence { fence, before } => {
                Op::WaitForFence { fence: *fence, before: *before | open.b.stage.mask() }
            }
            _ => return,
        };
        self.offer(Class::Existing, Some(Key::Existing(by)), vec![Change::Replace { at: by, op }]);
    }

    fn missing_wait(&mut self, open: &Open, by: Place) {
        match (by, self.layout.program.op_at(by)) {
            (_, Some(Op::UpdateFence { fence, .. })) => {
                let op = Op::WaitForFence { fence: *fence, before: open.b.stage.mask() };
                self.offer(Class::Existing, None, vec![Change::Insert { at: open.b.place, op }]);
            }
            (Place::Step(step), _) => {
                let signal = self.layout.program.steps.get(step as usize);
                let (Some(Step::SignalEvent { event, value, .. }), Some(queue)) = (signal, open.b.queue)
                else {
                    return;
                };
                if self.layout.is_gpu(queue) {
                    let step = Step::WaitForEvent { queue, event: *event, value: *value };
                    let at = open.b.place.step();
                    self.offer(Class::Existing, None, vec![Change::InsertStep { at, step }]);
                }
            }
            _ => {}
        }
    }

    fn within_pass(&mut self, open: &Open) {
        let Some(kind) = open.b.queue.and_then(|queue| self.layout.kind(queue, open.b.pass)) else { return };
        let barrier = self.barrier(open);
        let at = open.b.place;
        let legal =
            kind.intrapass_sources().contains(barrier.after) && kind.stages().contains(barrier.before);
        if kind == PassKind::Io {
            let visibility = barrier.visibility | VisibilityOptions::DEVICE;
            let op = Op::Barrier(BarrierReach::Intrapass, Barrier { visibility, ..Barrier::default() });
            self.offer(Class::Intrapass, Some(Key::Barrier(0, at)), vec![Change::Insert { at, op }]);
        } else if legal {
            let op = Op::Barrier(BarrierReach::Intrapass, barrier);
            self.offer(Class::Intrapass, Some(Key::Barrier(0, at)), vec![Change::Insert { at, op }]);
        } else if open.b.queue.is_some_and(|queue| !self.unsplit.contains(&(queue, open.b.pass))) {
            self.split(open);
        }
        // Another fix may have split the pass between the two.
        if let Some(queue) = open.b.queue.filter(|queue| self.layout.is_gpu(*queue)) {
            self.fences(open, queue);
            self.queue_barriers(open);
        }
    }

    /// No barrier orders fragment or tile work with what follows in its pass.
    fn split(&mut self, open: &Open) {
        let at = open.b.place;
        let narrow = self.barrier(open);
        // Attachments go to memory and back: the load of the second pass follows the store of the first.
        let after = narrow.after | Stages::FRAGMENT;
        let before = narrow.before | Stages::FRAGMENT;
        let visibility = narrow.visibility | VisibilityOptions::DEVICE;
        let wide = Barrier { visibility, ..Barrier::default() };
        for barrier in [narrow, Barrier { after, before, visibility }, wide] {
            let op = Op::Barrier(BarrierReach::Consumer, barrier);
            let changes = vec![Change::SplitPass { at }, Change::Insert { at, op }];
            self.offer(Class::Split, None, changes);
        }
        // Where a barrier over passes would hold back a command buffer that must pass another.
        let event = self.new_event();
        let ops = [Op::SignalEvent { event, value: 1 }, Op::WaitForEvent { event, value: 1 }];
        let between = ops.map(|op| Change::Insert { at, op });
        let changes = [Change::SplitPass { at }].into_iter().chain(between).collect();
        self.offer(Class::Split, None, changes);
    }

    fn within_queue(&mut self, open: &Open, queue: QueueId) {
        if self.layout.is_gpu(queue) {
            self.fences(open, queue);
            self.queue_barriers(open);
        } else if open.a.place.step() != open.b.place.step() {
            let at = open.b.place.step();
            let step = Step::EnqueueBarrier { queue };
            self.offer(Class::Queue, None, vec![Change::InsertStep { at, step }]);
        }
        self.event(open, queue, queue);
        self.event_backwards(open, queue, queue);
    }

    fn fences(&mut self, open: &Open, queue: QueueId) {
        let kinds = [open.a.pass, open.b.pass].map(|pass| self.layout.kind(queue, pass));
        if kinds.contains(&Some(PassKind::ResourceState)) {
            return;
        }
        let fence = self.fence();
        let update = Op::UpdateFence { fence, after: open.a.stage.mask() };
        let wait = Op::WaitForFence { fence, before: open.b.stage.mask() };
        let changes = vec![
            Change::Insert { at: behind(open.a.place), op: update },
            Change::Insert { at: open.b.place, op: wait },
        ];
        self.offer(Class::Fence, Some(Key::Fence(queue, open.a.pass)), changes);
    }

    fn queue_barriers(&mut self, open: &Open) {
        let barrier = self.barrier(open);
        let at = open.b.place;
        let op = Op::Barrier(BarrierReach::Consumer, barrier);
        self.offer(Class::Queue, Some(Key::Barrier(1, at)), vec![Change::Insert { at, op }]);
        let at = behind(open.a.place);
        let op = Op::Barrier(BarrierReach::Producer, barrier);
        self.offer(Class::Queue, Some(Key::Barrier(2, at)), vec![Change::Insert { at, op }]);
    }

    /// Signal behind the earlier, wait before the later.
    fn event(&mut self, open: &Open, from: QueueId, to: QueueId) {
        self.event_between(Class::Event, &open.a, &open.b, (from, to));
    }

    /// The later one arrives first where a command buffer passes one that waits.
    fn event_backwards(&mut self, open: &Open, a: QueueId, b: QueueId) {
        self.event_between(Class::Backwards, &open.b, &open.a, (b, a));
    }

    fn event_between(&mut self, class: Class, first: &Spot, second: &Spot, (from, to): (QueueId, QueueId)) {
        let event = self.new_event();
        let steps = first.place.step() != second.place.step();
        let (Some(signal_inside), Some(wait_inside)) =
            (self.layout.segment(first.place), self.layout.segment(second.place))
        else {
            return;
        };
        let signal_inside = Change::Insert { at: signal_inside.1, op: Op::SignalEvent { event, value: 1 } };
        let wait_inside = Change::Insert { at: wait_inside.0, op: Op::WaitForEvent { event, value: 1 } };
        let signal = Change::InsertStep {
            at: first.place.step() + 1,
            step: Step::SignalEvent { queue: from, event, value: 1 },
        };
        let wait = Change::InsertStep {
            at: second.place.step(),
            step: Step::WaitForEvent { queue: to, event, value: 1 },
        };
        let outer = steps && self.layout.is_gpu(from) && self.layout.is_gpu(to);
        if outer {
            let key = Some(Key::Event(from, first.place.step()));
            self.offer(class, key, vec![signal.clone(), wait.clone()]);
        }
        self.offer(class, None, vec![signal_inside.clone(), wait_inside.clone()]);
        if steps && self.layout.is_gpu(from) && !outer {
            self.offer(class, None, vec![signal, wait_inside]);
        } else if steps && self.layout.is_gpu(to) && !outer {
            self.offer(class, None, vec![signal_inside, wait]);
        }
    }

    /// A command, and behind it the host or the display.
    fn before_outside(&mut self, open: &Open, queue: QueueId) {
        let Actor::Command(command) = open.gap.earlier.actor else { return };
        let at = open.b.place.step();
        if let Actor::Display { .. } = open.gap.later.actor
            && self.layout.is_gpu(queue)
        {
            let drawable = open.gap.later.access.resource;
            let step = Step::SignalDrawable { queue, drawable };
            self.offer(Class::Queue, None, vec![Change::InsertStep { at, step }]);
            // A queue that is held back may come behind the display.
            let step = Step::WaitForDrawable { queue, drawable };
            let at = open.a.place.step();
            self.offer(Class::Backwards, None, vec![Change::InsertStep { at, step }]);
        }
        let step = Step::Host(HostStep::WaitForCommit { commit: command.commit.0 });
        self.offer(Class::Host, None, vec![Change::InsertStep { at, step }]);
        // The rest of the command buffer may wait for something later.
        if let Some((_, end)) = self.layout.segment(open.a.place) {
            let event = self.new_event();
            let signal = Change::Insert { at: end, op: Op::SignalEvent { event, value: 1 } };
            let step = Step::Host(HostStep::WaitForEvent { event, value: 1 });
            self.offer(Class::Host, None, vec![signal, Change::InsertStep { at, step }]);
        }
        // Where the command waits for the host, the host comes first.
        let event = self.new_event();
        let signal =
            Change::InsertStep { at: at + 1, step: Step::Host(HostStep::SignalEvent { event, value: 1 }) };
        self.wait_before(open.a.place, queue, event, signal);
    }

    /// The wait of a work for an event, with what signals it.
    fn wait_before(&mut self, of: Place, queue: QueueId, event: EventId, signal: Change) {
        if let Some((begin, _)) = self.layout.segment(of) {
            let op = Op::WaitForEvent { event, value: 1 };
            self.offer(Class::Backwards, None, vec![signal.clone(), Change::Insert { at: begin, op }]);
        }
        if self.layout.is_gpu(queue) {
            let step = Step::WaitForEvent { queue, event, value: 1 };
            self.offer(Class::Backwards, None, vec![signal, Change::InsertStep { at: of.step(), step }]);
        }
    }

    /// The host or the display, and behind it a command.
    fn behind_outside(&mut self, open: &Open, queue: QueueId) {
        let at = open.b.place.step();
        if let Actor::Display { .. } = open.gap.earlier.actor {
            let drawable = open.gap.earlier.access.resource;
            for other in self.gpu_queues() {
                let wait = Change::InsertStep { at, step: Step::WaitForDrawable { queue: other, drawable } };
                if other == queue {
                    self.offer(Class::Queue, None, vec![wait]);
                    continue;
                }
                let event = self.new_event();
                let signal =
                    Change::InsertStep { at, step: Step::SignalEvent { queue: other, event, value: 1 } };
                if let Some((begin, _)) = self.layout.segment(open.b.place) {
                    let inside = Change::Insert { at: begin, op: Op::WaitForEvent { event, value: 1 } };
                    self.offer(Class::Event, None, vec![wait, signal, inside]);
                }
            }
        }
    }

    /// The display, and behind it the host.
    fn behind_display(&mut self, open: &Open) {
        let (Actor::Display { .. }, at) = (open.gap.earlier.actor, open.b.place.step()) else { return };
        let drawable = open.gap.earlier.access.resource;
        for queue in self.gpu_queues() {
            let event = self.new_event();
            let steps = [
                Step::WaitForDrawable { queue, drawable },
                Step::SignalEvent { queue, event, value: 1 },
                Step::Host(HostStep::WaitForEvent { event, value: 1 }),
            ];
            let changes = steps.map(|step| Change::InsertStep { at, step }).to_vec();
            self.offer(Class::Host, None, changes);
        }
    }

    fn gpu_queues(&self) -> Vec<QueueId> {
        let queues = (0..self.layout.program.queues.len() as u32).map(QueueId);
        queues.filter(|queue| self.layout.is_gpu(*queue)).collect()
    }
}

/// The place behind an operation.
fn behind(place: Place) -> Place {
    match place {
        Place::Step(step) => Place::Step(step + 1),
        Place::Op { step, buffer, op } => Place::Op { step, buffer, op: op + 1 },
    }
}

/// Both changes in one, if one can stand for the other.
pub(crate) fn merged(own: &[Change], more: &[Change]) -> Vec<Change> {
    let mut all = own.to_vec();
    for change in more {
        let partner = all.iter_mut().find_map(|old| merge(old, change).map(|new| (old, new)));
        match partner {
            Some((old, new)) => *old = new,
            None => all.push(change.clone()),
        }
    }
    // What is extended keeps its own fence or event.
    let first = own.iter().find_map(synchronizer);
    for change in &mut all {
        if let Some(first) = first {
            rename(change, first);
        }
    }
    all
}

fn merge(old: &Change, new: &Change) -> Option<Change> {
    match (old, new) {
        (Change::Insert { at, op: a }, Change::Insert { at: other, op: b }) => {
            let first = *at.min(other);
            let last = *at.max(other);
            Some(match (a, b) {
                (Op::Barrier(reach, a), Op::Barrier(r, b)) if reach == r && at == other => {
                    Change::Insert { at: first, op: Op::Barrier(*reach, joined(a, b)) }
                }
                (Op::UpdateFence { fence, after }, Op::UpdateFence { after: more, .. }) => {
                    Change::Insert { at: last, op: Op::UpdateFence { fence: *fence, after: *after | *more } }
                }
                (Op::WaitForFence { fence, before }, Op::WaitForFence { before: more, .. })
                    if at == other =>
                {
                    let before = *before | *more;
                    Change::Insert { at: first, op: Op::WaitForFence { fence: *fence, before } }
                }
                _ => return None,
            })
        }
        (Change::Replace { at, op: a }, Change::Replace { at: other, op: b }) if at == other => {
            let op = match (a, b) {
                (Op::Barrier(reach, a), Op::Barrier(_, b)) => Op::Barrier(*reach, joined(a, b)),
                (Op::UpdateFence { fence, after }, Op::UpdateFence { after: more, .. }) => {
                    Op::UpdateFence { fence: *fence, after: *after | *more }
                }
                (Op::WaitForFence { fence, before }, Op::WaitForFence { before: more, .. }) => {
                    Op::WaitForFence { fence: *fence, before: *before | *more }
                }
                _ => return None,
            };
            Some(Change::Replace { at: *at, op })
        }
        (Change::InsertStep { at, step: a }, Change::InsertStep { at: other, step: b }) => match (a, b) {
            (Step::SignalEvent { queue: q, .. }, Step::SignalEvent { queue: r, .. })
                if q == r && at == other =>
            {
                Some(old.clone())
            }
            _ => None,
        },
        _ => None,
    }
}

/// Makes one of barriers at one place that differ in one side only: together they order exactly as much.
pub(crate) fn join_alike(changes: &mut Vec<Change>) {
    let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes.drain(..) {
        let same = kept.iter_mut().find_map(|other| match (other, &change) {
            (
                Change::Insert { at, op: Op::Barrier(reach, own) },
                Change::Insert { at: here, op: Op::Barrier(of, more) },
            ) if at == here && reach == of && alike(own, more) => Some((own, more)),
            _ => None,
        });
        match same {
            Some((own, more)) => *own = joined(own, more),
            None => kept.push(change),
        }
    }
    *changes = kept;
}

fn alike(a: &Barrier, b: &Barrier) -> bool {
    a.visibility == b.visibility && (a.after == b.after || a.before == b.before)
}

fn joined(a: &Barrier, b: &Barrier) -> Barrier {
    Barrier { after: a.after | b.after, before: a.before | b.before, visibility: a.visibility | b.visibility }
}

#[derive(Clone, Copy)]
enum Synchronizer {
    Fence(FenceId),
    Event(EventId),
}

fn synchronizer(change: &Change) -> Option<Synchronizer> {
    match change {
        Change::Insert { op: Op::UpdateFence { fence, .. }, .. } => Some(Synchronizer::Fence(*fence)),
        Change::InsertStep { step: Step::SignalEvent { event, .. }, .. } => Some(Synchronizer::Event(*event)),
        _ => None,
    }
}

fn rename(change: &mut Change, to: Synchronizer) {
    match (change, to) {
        (
            Change::Insert { op: Op::UpdateFence { fence, .. } | Op::WaitForFence { fence, .. }, .. },
            Synchronizer::Fence(to),
        ) => *fence = to,
        (
            Change::InsertStep {
                step: Step::SignalEvent { event, .. } | Step::WaitForEvent { event, .. },
                ..
            },
            Synchronizer::Event(to),
        ) => *event = to,
        _ => {}
    }
}
