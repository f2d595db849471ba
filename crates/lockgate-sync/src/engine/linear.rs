//! In which order items of several queues are taken: earliest recorded first, as soon as it is ready.
//!
//! An item behind a wait for an event whose value nobody has signaled yet stays; so an event wait may be
//! recorded before its signal. Tracked orders therefore never run against an event.

use super::Engine;
use super::frontier::{Gate, Sources};
use super::queue::BufferState;
use crate::{
    Access, AccessKind, BarrierReach, CommitId, EventId, EventScope, Op, QueueKind, Recorded, ResourceId,
    SyncKind, SyncOp,
};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a queue holds until it is taken.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Place of its step in the program.
    pub(crate) step: u64,
    /// What of the host comes first.
    pub(crate) host: Arc<Gate>,
    pub(crate) kind: ItemKind,
}

#[derive(Clone, Debug)]
pub(crate) enum ItemKind {
    Buffer(PendingBuffer),
    Signal { event: EventId, value: u64 },
    Wait { event: EventId, value: u64 },
    Barrier,
    SignalDrawable(ResourceId),
    WaitForDrawable(ResourceId),
}

#[derive(Clone, Debug)]
pub(crate) struct PendingBuffer {
    pub(crate) commit: CommitId,
    pub(crate) buffer: u32,
    pub(crate) recording: Arc<dyn Recorded>,
    /// The next operation.
    pub(crate) at: usize,
    /// Gates and works so far, kept while it waits inside; nothing before it has begun.
    pub(crate) state: Option<Box<BufferState>>,
}

impl PendingBuffer {
    /// The wait it stands before, if it does.
    fn wait(&self) -> Option<(EventId, u64)> {
        match self.recording.recording().ops().get(self.at) {
            Some(&Op::WaitForEvent { event, value }) => Some((event, value)),
            _ => None,
        }
    }

    fn rest(&self) -> &[Op] {
        self.recording.recording().ops().get(self.at..).unwrap_or(&[])
    }

    fn rest_accesses(&self) -> impl Iterator<Item = &Access> {
        let recording = self.recording.recording();
        let works = self.rest().iter().filter_map(|op| match op {
            Op::Command { works, .. } => Some(recording.works(works)),
            _ => None,
        });
        works.flatten().flat_map(|work| work.accesses)
    }
}

impl Engine {
    /// Takes everything that is ready.
    pub(crate) fn advance(&mut self) {
        while let Some(queue) = self.earliest_ready() {
            self.take_head(queue, false);
            if self.wants_compaction {
                self.compact();
            }
        }
    }

    fn earliest_ready(&mut self) -> Option<usize> {
        let ready =
            |queue: &usize| self.queues[*queue].pending.front().is_some_and(|item| self.is_ready(item));
        let step = |queue: &usize| self.queues[*queue].pending.front().map(|item| item.step);
        let heads = (0..self.queues.len()).filter(ready).min_by_key(step);
        heads.or_else(|| self.hoist())
    }

    fn is_ready(&self, item: &Item) -> bool {
        let wait = match &item.kind {
            ItemKind::Wait { event, value } => Some((*event, *value)),
            ItemKind::Buffer(buffer) => buffer.wait(),
            _ => None,
        };
        wait.is_none_or(|(event, value)| self.event_value(event) >= value)
    }

    /// Takes the head of a queue as far as it goes. `without_order`: its wait has timed out (A19).
    pub(crate) fn take_head(&mut self, queue: usize, without_order: bool) {
        let Some(item) = self.queues[queue].pending.pop_front() else { return };
        let step = item.step;
        match item.kind {
            ItemKind::Buffer(buffer) => {
                if let Some(rest) = self.take_buffer(queue, &item.host, step, buffer, without_order) {
                    self.put_back(queue, Item { step, host: item.host, kind: ItemKind::Buffer(rest) });
                }
            }
            ItemKind::Signal { event, value } => self.take_signal(queue, event, value, &item.host),
            ItemKind::Wait { event, value } => {
                if !without_order && let Some((behind, edge)) = self.event_credit(event, value) {
                    let publish = self.publish_all();
                    let state = &mut self.queues[queue];
                    state.all.open_after(&behind, &publish, edge, &mut self.out);
                    state.gates_changed();
                }
            }
            ItemKind::Barrier => self.take_queue_barrier(queue),
            ItemKind::SignalDrawable(drawable) => self.take_signal_drawable(queue, drawable, &item.host),
            ItemKind::WaitForDrawable(drawable) => self.take_wait_for_drawable(queue, drawable),
        }
    }

    /// Puts what is left of a command buffer where it was recorded: it may have overtaken others.
    fn put_back(&mut self, queue: usize, item: Item) {
        let place = |item: &Item| match &item.kind {
            ItemKind::Buffer(buffer) => (item.step, buffer.buffer),
            _ => (item.step, 0),
        };
        let pending = &mut self.queues[queue].pending;
        let at = pending.iter().position(|other| place(other) > place(&item)).unwrap_or(pending.len());
        pending.insert(at, item);
    }

    /// Runs a command buffer up to a wait that is not satisfied or behind a signal, which may let others go
    /// first; returns what is left.
    fn take_buffer(
        &mut self,
        queue: usize,
        host: &Arc<Gate>,
        step: u64,
        mut buffer: PendingBuffer,
        mut without_order: bool,
    ) -> Option<PendingBuffer> {
        self.queues[queue].buffer = match buffer.state.take() {
            Some(state) => *state,
            None => self.enter_buffer(queue, host, &buffer),
        };
        self.queues[queue].gates_changed();
        let recorded = buffer.recording.clone();
        let recording = recorded.recording();
        self.out.reserve(buffer.rest().len());
        while let Some(op) = recording.ops().get(buffer.at) {
            if let Op::WaitForEvent { event, value } = *op {
                if !without_order && self.event_value(event) < value {
                    return Some(self.leave_buffer(queue, buffer));
                }
                self.take_buffer_wait(queue, event, value, without_order);
                without_order = false;
            } else {
                let at = (buffer.commit, buffer.buffer, buffer.at as u32);
                self.take_op(queue, recording, op, at, step);
            }
            buffer.at += 1;
            if matches!(op, Op::SignalEvent { .. }) && !buffer.rest().is_empty() {
                return Some(self.leave_buffer(queue, buffer));
            }
        }
        let by = SyncOp { kind: SyncKind::Pipeline, at: None };
        self.end_pass(queue, buffer.commit, by);
        self.queues[queue].buffer = Default::default();
        self.queues[queue].gates_changed();
        self.finish_buffer(queue, buffer.commit, host);
        None
    }

    fn leave_buffer(&mut self, queue: usize, mut buffer: PendingBuffer) -> PendingBuffer {
        buffer.state = Some(Box::new(std::mem::take(&mut self.queues[queue].buffer)));
        self.queues[queue].gates_changed();
        buffer
    }

    fn enter_buffer(&mut self, queue: usize, host: &Arc<Gate>, buffer: &PendingBuffer) -> BufferState {
        if self.queues[queue].descriptor.kind == QueueKind::IoSerial {
            self.take_queue_barrier(queue);
        }
        let signals = buffer.recording.recording().signals();
        BufferState { gate: (**host).clone(), done: signals.then(Sources::default) }
    }

    fn take_buffer_wait(&mut self, queue: usize, event: EventId, value: u64, without_order: bool) {
        if without_order {
            return;
        }
        let Some((behind, edge)) = self.event_credit(event, value) else { return };
        let publish = self.publish_all();
        let state = &mut self.queues[queue];
        let gate = match self.model.wait_scope {
            EventScope::CommandBuffer => &mut state.buffer.gate,
            EventScope::Queue => &mut state.all,
        };
        gate.open_after(&behind, &publish, edge, &mut self.out);
        state.gates_changed();
    }

    /// A wait inside a command buffer blocks that buffer only (A5). When nothing else can go on, a later
    /// buffer of the queue may, if nothing in it or in what it overtakes could tell.
    fn hoist(&mut self) -> Option<usize> {
        if self.model.wait_scope == EventScope::Queue {
            return None;
        }
        let candidates = (0..self.queues.len()).filter_map(|queue| {
            let at = self.hoistable(queue)?;
            Some((self.queues[queue].pending[at].step, queue, at))
        });
        let (_, queue, at) = candidates.min()?;
        let item = self.queues[queue].pending.remove(at)?;
        self.queues[queue].pending.push_front(item);
        Some(queue)
    }

    /// The first item behind the head of a queue that may overtake those before it.
    fn hoistable(&self, queue: usize) -> Option<usize> {
        if self.queues[queue].descriptor.kind == QueueKind::IoSerial {
            return None;
        }
        let pending = &self.queues[queue].pending;
        let mut skipped: Vec<&PendingBuffer> = Vec::new();
        for (at, item) in pending.iter().enumerate() {
            let ItemKind::Buffer(buffer) = &item.kind else { return None };
            let free = at > 0 && self.is_ready(item) && !is_resumed(pending, at);
            if free && self.may_overtake(queue, buffer, &skipped) {
                return Some(at);
            }
            skipped.push(buffer);
        }
        None
    }

    fn may_overtake(&self, queue: usize, buffer: &PendingBuffer, skipped: &[&PendingBuffer]) -> bool {
        let tracking = self.queues[queue].tracks();
        let wide = |op: &Op| matches!(op, Op::Barrier(reach, _) if *reach != BarrierReach::Intrapass);
        let waits = |op: &Op| matches!(op, Op::WaitForFence { .. });
        let updates = |op: &Op| matches!(op, Op::UpdateFence { .. });
        let own = |tells: &dyn Fn(&Op) -> bool| buffer.rest().iter().any(tells);
        let theirs =
            |tells: &dyn Fn(&Op) -> bool| skipped.iter().any(|skipped| skipped.rest().iter().any(tells));
        let resumes = first_pass_resumes(buffer.rest()) == Some(true);
        let barriers = own(&wide) || theirs(&wide);
        let fences = own(&waits) || theirs(&updates) || own(&updates) && theirs(&waits);
        let tracked = tracking && skipped.iter().any(|skipped| self.tracked_conflict(skipped, buffer));
        !(resumes || barriers || fences || tracked)
    }

    fn tracked_conflict(&self, a: &PendingBuffer, b: &PendingBuffer) -> bool {
        a.rest_accesses().any(|a| {
            b.rest_accesses().any(|b| {
                let bindless = (a.kind | b.kind).contains(AccessKind::BINDLESS);
                (a.kind.writes() || b.kind.writes()) && !bindless && self.memories.tracked_overlap(a, b)
            })
        })
    }

    /// Lets the earliest recorded wait that blocks a queue time out. Returns whether there was one.
    pub fn break_wait(&mut self) -> bool {
        let step = |queue: &usize| self.queues[*queue].pending.front().map(|item| item.step);
        let blocked = (0..self.queues.len()).filter(|queue| !self.queues[*queue].pending.is_empty());
        let Some(queue) = blocked.min_by_key(step) else { return false };
        if let Some((event, value)) = self.blocking_wait(queue) {
            self.out.misuse.push(crate::Misuse::EventNeverSignaled { event, value });
        }
        self.take_head(queue, true);
        self.advance();
        true
    }

    /// What the head of a queue waits for.
    fn blocking_wait(&self, queue: usize) -> Option<(EventId, u64)> {
        match &self.queues[queue].pending.front()?.kind {
            ItemKind::Wait { event, value } => Some((*event, *value)),
            ItemKind::Buffer(buffer) => buffer.wait(),
            _ => None,
        }
    }
}

/// Whether a later command buffer goes on with the last pass of the one at `at`: both are one pass (A25).
fn is_resumed(pending: &VecDeque<Item>, at: usize) -> bool {
    let passes = |item: &Item| match &item.kind {
        ItemKind::Buffer(buffer) => first_pass_resumes(buffer.recording.recording().ops()),
        _ => None,
    };
    pending.iter().skip(at + 1).find_map(passes).unwrap_or(false)
}

/// Whether the first pass goes on with the one before; nothing if there is no pass.
fn first_pass_resumes(ops: &[Op]) -> Option<bool> {
    ops.iter().find_map(|op| match op {
        Op::BeginPass(pass) => Some(pass.resuming),
        _ => None,
    })
}
