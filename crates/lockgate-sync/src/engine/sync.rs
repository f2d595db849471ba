//! The operations inside a command buffer: passes, barriers, fences, events (`semantics` 0.8).

use super::Engine;
use super::events::Producer;
use super::frontier::Sources;
use super::queue::stages_in;
use super::reach::{Publish, Scope};
use crate::{
    Barrier, BarrierReach, ChainThroughEmptyPass, CommitId, ConsumerTargets, FenceId, Misuse, Op, PassKind,
    Recording, Stages, SyncKind, SyncOp, model,
};

pub(crate) type Place = (CommitId, u32, u32);

impl Engine {
    pub(crate) fn take_op(&mut self, queue: usize, recording: &Recording, op: &Op, at: Place, step: u64) {
        let by = |kind| SyncOp { kind, at: Some(at) };
        match op {
            Op::BeginPass(pass) => self.begin_pass(queue, pass, at.0),
            Op::EndPass => self.end_pass(queue, at.0, by(SyncKind::Pipeline)),
            Op::Command { command, works } => {
                self.take_command(queue, recording.works(works), *command, at, step);
            }
            Op::Barrier(reach, barrier) => self.take_barrier(queue, *reach, *barrier, at),
            Op::MemoryBarrierWithScope { after, before, scope } => {
                let publish = Publish::Scoped(Scope::Kinds(*scope));
                self.take_memory_barrier(queue, *after, *before, publish, at);
            }
            Op::MemoryBarrierWithResources { after, before, resources } => {
                let publish = Publish::Scoped(Scope::Resources(recording.resources(resources).into()));
                self.take_memory_barrier(queue, *after, *before, publish, at);
            }
            Op::UpdateFence { fence, after } => self.take_update(queue, *fence, *after),
            Op::WaitForFence { fence, before } => self.take_fence_wait(queue, *fence, *before, at),
            Op::SignalEvent { event, value } => {
                let sources = self.queues[queue].buffer_sources(self.model.signal_scope);
                let producer = Producer::Buffer(queue, at.0.0 << 16 | u64::from(at.1));
                self.signal(*event, *value, producer, sources);
            }
            Op::WaitForEvent { .. } => {}
        }
    }

    fn begin_pass(&mut self, queue: usize, pass: &crate::PassDescriptor, commit: CommitId) {
        self.next_pass += 1;
        let id = self.next_pass;
        self.queues[queue].begin_pass(pass, commit, id, &mut self.out);
        let state = &mut self.queues[queue];
        if state.pass.id == id {
            for (fence, sources) in std::mem::take(&mut state.pass.updates) {
                self.update_fence(queue, fence, &sources);
            }
        }
    }

    /// The works of the segment count for the command buffer and the commit from here on.
    pub(crate) fn end_pass(&mut self, queue: usize, commit: CommitId, by: SyncOp) {
        if !self.queues[queue].pass.open {
            return;
        }
        let mut done = self.queues[queue].buffer.done.take();
        let mut commit = self.commits.get_mut(&commit);
        let mut each = |tell: &mut dyn FnMut(&mut Sources)| {
            done.iter_mut().chain(commit.iter_mut().map(|commit| &mut commit.sources)).for_each(tell);
        };
        let state = &mut self.queues[queue];
        state.end_pass(by, &mut self.out, |works| each(&mut |sources| sources.union(works)));
        each(&mut |sources| sources.collapse(by, &mut self.out));
        self.queues[queue].buffer.done = done;
    }

    fn take_barrier(&mut self, queue: usize, reach: BarrierReach, barrier: Barrier, at: Place) {
        let publish = Publish::of(barrier.visibility);
        let barrier = Barrier {
            after: model::known_stages(barrier.after),
            before: model::known_stages(barrier.before),
            ..barrier
        };
        match reach {
            BarrierReach::Intrapass => self.take_intrapass(queue, barrier, publish, at),
            BarrierReach::Producer => {
                let by = SyncOp { kind: SyncKind::Producer, at: Some(at) };
                let state = &mut self.queues[queue];
                let mut sources = state.pass_sources(barrier.after, by, &mut self.out);
                state.add_prior_sources(barrier.after, &mut sources, by, &mut self.out);
                self.chain_through(queue, barrier.after, &mut sources);
                sources.collapse(by, &mut self.out);
                self.queues[queue].pass.producers.push((barrier.before, sources, publish, by));
            }
            BarrierReach::Consumer => {
                let by = SyncOp { kind: SyncKind::Consumer, at: Some(at) };
                let mut sources = self.queues[queue].prior_sources(barrier.after, by, &mut self.out);
                let (state, out) = (&mut self.queues[queue], &mut self.out);
                match self.model.consumer_targets {
                    ConsumerTargets::LaterPassesToo => {
                        state.gate_queue(barrier.before, &mut sources, &publish, by, out);
                    }
                    ConsumerTargets::CurrentPassOnly => {
                        state.gate_pass(barrier.before, &mut sources, &publish, by, out);
                    }
                }
            }
        }
    }

    fn take_intrapass(&mut self, queue: usize, barrier: Barrier, publish: Publish, at: Place) {
        let by = SyncOp { kind: SyncKind::Intrapass, at: Some(at) };
        if self.queues[queue].pass.kind == PassKind::Io {
            return self.take_io_barrier(queue, publish, by);
        }
        let (after, before) = self.queues[queue].intrapass_masks(&barrier);
        // `ALL` on both sides is the common way to say "everything here", so only narrower masks are misuse.
        let foreign = |mask: Stages, legal: Stages| mask != Stages::ALL && !(mask - legal).is_empty();
        if foreign(barrier.after, after) || foreign(barrier.before, before) {
            self.out.misuse.push(Misuse::IntrapassStages {
                at,
                after: barrier.after,
                before: barrier.before,
            });
        }
        let mut sources = self.queues[queue].pass_sources(after, by, &mut self.out);
        self.chain_through(queue, after, &mut sources);
        self.queues[queue].gate_pass(before, &mut sources, &publish, by, &mut self.out);
    }

    fn take_io_barrier(&mut self, queue: usize, publish: Publish, by: SyncOp) {
        let state = &mut self.queues[queue];
        let mut sources = Sources::default();
        for (done, segment) in state.pass.done.iter().zip(&state.pass.segment) {
            sources.union(done);
            sources.union(segment);
        }
        let edge = self.out.edge(&sources.vertices, by, publish.on_edge());
        state.pass.all.open_after(sources.behind(), &publish, edge, &mut self.out);
        state.gates_changed();
    }

    fn take_memory_barrier(
        &mut self,
        queue: usize,
        after: Stages,
        before: Stages,
        publish: Publish,
        at: Place,
    ) {
        let by = SyncOp { kind: SyncKind::MemoryBarrier, at: Some(at) };
        let kind = self.queues[queue].pass.kind;
        let (after, before) =
            if kind == PassKind::Render { along_the_pipeline(after, before) } else { (after, before) };
        let mut sources =
            self.queues[queue].pass_sources(after & kind.intrapass_sources(), by, &mut self.out);
        self.queues[queue].gate_pass(before & kind.stages(), &mut sources, &publish, by, &mut self.out);
    }

    fn take_update(&mut self, queue: usize, fence: FenceId, after: Stages) {
        let by = SyncOp { kind: SyncKind::Fence(fence), at: None };
        let after = model::known_stages(after);
        let mut sources = self.queues[queue].pass_sources(after, by, &mut self.out);
        self.chain_through(queue, after, &mut sources);
        sources.collapse(by, &mut self.out);
        self.queues[queue].pass.updates.push((fence, sources));
    }

    /// Updates of a queue add up, over passes and command buffers (A15, A31), and stand where they were recorded
    /// although hardware may move them (A16).
    fn update_fence(&mut self, queue: usize, fence: FenceId, sources: &Sources) {
        let by = SyncOp { kind: SyncKind::Fence(fence), at: None };
        let updates = self.fences.entry(fence).or_default();
        let at = match updates.iter().position(|(of, _)| *of == queue) {
            Some(at) => at,
            None => {
                updates.push((queue, Sources::default()));
                updates.len() - 1
            }
        };
        updates[at].1.union(sources);
        updates[at].1.collapse(by, &mut self.out);
    }

    /// A wait binds to the updates of earlier passes of its queue, all of them (A2, A14, A15).
    fn take_fence_wait(&mut self, queue: usize, fence: FenceId, before: Stages, at: Place) {
        let by = SyncOp { kind: SyncKind::Fence(fence), at: Some(at) };
        if self.queues[queue].pass.updates.iter().any(|(updated, _)| *updated == fence) {
            self.out.misuse.push(Misuse::FenceWaitAfterUpdate { fence, at });
        }
        let mut sources = Sources::default();
        for (of, updates) in self.fences.get(&fence).into_iter().flatten() {
            if *of == queue || self.model.fences_across_queues {
                sources.union(updates);
            } else {
                self.out.misuse.push(Misuse::FenceAcrossQueues { fence, at });
            }
        }
        let mut known = self.fences.contains_key(&fence);
        if self.model.fences_across_queues {
            // Updates of the last pass of another queue have not taken effect there yet.
            let others = self.queues.iter().enumerate().filter(|(other, _)| *other != queue);
            for (_, updates) in others.flat_map(|(_, other)| &other.pass.updates).filter(|(f, _)| *f == fence)
            {
                sources.union(updates);
                known = true;
            }
        }
        if !known {
            self.out.misuse.push(Misuse::FenceNeverUpdated { fence, at });
        }
        let before = model::known_stages(before);
        self.queues[queue].gate_pass(before, &mut sources, &Publish::Device, by, &mut self.out);
    }

    /// A11: with the switch, an operation also stands for what its stages waited for without a command between.
    fn chain_through(&mut self, queue: usize, after: Stages, sources: &mut Sources) {
        if self.model.chain_through_empty_pass == ChainThroughEmptyPass::Kept {
            for stage in stages_in(after) {
                for gate in self.queues[queue].gates(stage) {
                    sources.union_published_gate(gate, &mut self.out);
                }
            }
        }
    }
}

/// Metal 3's render barrier: `after` also means the stages before it, `before` also the stages after it. Object,
/// mesh and vertex are one group before fragment and tile.
fn along_the_pipeline(after: Stages, before: Stages) -> (Stages, Stages) {
    let early = Stages::VERTEX | Stages::OBJECT | Stages::MESH;
    let late = Stages::FRAGMENT | Stages::TILE;
    let after = if after.intersects(late) {
        after | early | late
    } else if after.intersects(early) {
        early
    } else {
        after
    };
    let before = if before.intersects(early) {
        early | late
    } else if before.intersects(late) {
        late
    } else {
        before
    };
    (after, before)
}
