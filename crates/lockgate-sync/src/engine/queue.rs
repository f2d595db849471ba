//! One queue: what gates its later works, what it has done, and the pass it is in.

use super::clock::Lane;
use super::frontier::{Gate, Sources};
use super::linear::Item;
use super::output::Output;
use super::reach::{Behind, Publish};
use crate::{
    Barrier, CommitId, EventScope, FenceId, PassDescriptor, PassKind, QueueDescriptor, QueueKind, Stage,
    Stages, SyncOp,
};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

pub(crate) const STAGES: usize = Stage::COUNT;

/// The stages that a mask names, and no others: tile counts like any (A12), vertex does not stand for object and
/// mesh (A28).
pub(crate) fn stages_in(mask: Stages) -> impl Iterator<Item = usize> {
    Stage::EVERY.iter().filter(move |stage| mask.intersects(stage.mask())).map(|stage| *stage as usize)
}

/// Makes later works of some stages wait for `sources`. One side is enough: no partner is asked for (A3).
fn open_stages(
    gates: &mut [Gate; STAGES],
    before: Stages,
    sources: &mut Sources,
    publish: &Publish,
    by: SyncOp,
    out: &mut Output,
) {
    if sources.is_empty() {
        return;
    }
    let edge = out.edge(&sources.vertices, by, publish.on_edge());
    // Gates that had the same behind them before have the same behind them now.
    let mut opened: SmallVec<[(Arc<Behind>, Arc<Behind>); 2]> = SmallVec::new();
    for stage in stages_in(before) {
        let gate = &mut gates[stage];
        match opened.iter().find(|(from, _)| Arc::ptr_eq(from, &gate.behind)) {
            Some((_, to)) => gate.behind = to.clone(),
            None => {
                let mut to = (*gate.behind).clone();
                to.follow(sources.behind(), publish);
                let from = std::mem::replace(&mut gate.behind, Arc::new(to));
                opened.push((from, gate.behind.clone()));
            }
        }
        gate.wait(edge, &sources.waited, out);
    }
}

/// The open pass, or the last one, which may be resumed.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    /// Unique over the engine; 0 before the first pass.
    pub(crate) id: u64,
    pub(crate) kind: PassKind,
    pub(crate) serial: bool,
    pub(crate) open: bool,
    pub(crate) commit: Option<CommitId>,
    /// Works of the segments that ended, for a pass that may be resumed.
    pub(crate) done: [Sources; STAGES],
    /// Works of the open segment.
    pub(crate) segment: [Sources; STAGES],
    pub(crate) stage: [Gate; STAGES],
    /// Gates every stage: serial passes and passes of IO command buffers.
    pub(crate) all: Gate,
    /// What takes effect when the next pass begins: producer barriers and updates of fences.
    pub(crate) producers: Vec<(Stages, Sources, Publish, SyncOp)>,
    pub(crate) updates: Vec<(FenceId, Sources)>,
}

impl Default for Pass {
    fn default() -> Pass {
        Pass {
            id: 0,
            kind: PassKind::Compute,
            serial: false,
            open: false,
            commit: None,
            done: Default::default(),
            segment: Default::default(),
            stage: Default::default(),
            all: Gate::default(),
            producers: Vec::new(),
            updates: Vec::new(),
        }
    }
}

/// The command buffer in hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct BufferState {
    pub(crate) gate: Gate,
    /// Its works so far, if it signals: nobody else asks.
    pub(crate) done: Option<Sources>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    pub(crate) descriptor: QueueDescriptor,
    pub(crate) pending: VecDeque<Item>,
    /// Gates everything later.
    pub(crate) all: Gate,
    pub(crate) stage: [Gate; STAGES],
    /// Works of all passes before the last one.
    pub(crate) done: [Sources; STAGES],
    pub(crate) pass: Pass,
    pub(crate) buffer: BufferState,
    /// How many works each stage had: the next number of its lane.
    pub(crate) next: [u64; STAGES],
    /// What is behind the next work of a stage, as long as no gate changes.
    current: SmallVec<[(usize, Arc<Behind>); 2]>,
    /// What is behind a gate that nothing has opened.
    nothing: Arc<Behind>,
}

impl Queue {
    pub(crate) fn new(descriptor: QueueDescriptor) -> Queue {
        let mut queue = Queue { descriptor, ..Queue::default() };
        for gate in queue.stage.iter_mut().chain(&mut queue.pass.stage) {
            gate.behind = queue.nothing.clone();
        }
        queue
    }

    /// Forgets what it has done. It has nothing that waits.
    pub(crate) fn forget(&mut self) {
        let idle = self.pass.id == 0 && self.next == [0; STAGES];
        if idle && self.all.waits.is_empty() && self.all.behind.is_empty() {
            return;
        }
        // That a fence was updated stays true.
        let updates = self.pass.updates.drain(..).map(|(fence, _)| (fence, Sources::default())).collect();
        *self = Queue::new(self.descriptor);
        self.pass.updates = updates;
    }

    /// Whether tracked resources are ordered automatically on it.
    pub(crate) fn tracks(&self) -> bool {
        self.descriptor.hazard_tracking && self.descriptor.kind == QueueKind::Gpu
    }

    pub(crate) fn lane(queue: usize, stage: Stage) -> Lane {
        Lane((queue * STAGES + stage as usize) as u32)
    }

    /// Everything that gates the next work of a stage.
    pub(crate) fn gates(&self, stage: usize) -> [&Gate; 5] {
        [&self.all, &self.stage[stage], &self.buffer.gate, &self.pass.all, &self.pass.stage[stage]]
    }

    /// What is behind the next work of a stage.
    pub(crate) fn behind(&mut self, stage: usize) -> Arc<Behind> {
        if let Some((_, behind)) = self.current.iter().find(|(of, _)| *of == stage) {
            return behind.clone();
        }
        let mut behind: Option<Arc<Behind>> = None;
        for gate in self.gates(stage) {
            match &mut behind {
                None => behind = Some(gate.behind.clone()),
                Some(own) if Arc::ptr_eq(own, &gate.behind) => {}
                Some(own) if own.surely_contains(&gate.behind) => {}
                Some(own) if gate.behind.surely_contains(own) => *own = gate.behind.clone(),
                Some(own) => Arc::make_mut(own).union(&gate.behind),
            }
        }
        let behind = behind.unwrap_or_default();
        self.current.push((stage, behind.clone()));
        behind
    }

    pub(crate) fn gates_changed(&mut self) {
        self.current.clear();
    }

    /// Everything the queue has done, and everything that holds it back as a whole.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        for stage in 0..STAGES {
            sources.union(&self.done[stage]);
            sources.union(&self.pass.done[stage]);
            sources.union(&self.pass.segment[stage]);
        }
        sources.union_gate(&self.all);
        sources
    }

    /// What a signal inside the command buffer stands for (A23).
    pub(crate) fn buffer_sources(&self, scope: EventScope) -> Sources {
        if scope == EventScope::Queue {
            let mut sources = self.sources();
            sources.union_gate(&self.buffer.gate);
            return sources;
        }
        let mut sources = self.buffer.done.clone().unwrap_or_default();
        sources.union_gate(&self.all);
        sources.union_gate(&self.buffer.gate);
        sources
    }

    /// Works of the open pass in some stages. They are put behind one join first: the next operation names
    /// them again, and works behind that stand for them.
    pub(crate) fn pass_sources(&mut self, mask: Stages, by: SyncOp, out: &mut Output) -> Sources {
        let mut sources = Sources::default();
        for stage in stages_in(mask) {
            self.pass.segment[stage].settle(by, out);
            sources.union(&self.pass.done[stage]);
            sources.union(&self.pass.segment[stage]);
        }
        sources
    }

    /// Works of all earlier passes in some stages, also of those before a wait for an event (A4).
    pub(crate) fn prior_sources(&mut self, mask: Stages, by: SyncOp, out: &mut Output) -> Sources {
        let mut sources = Sources::default();
        self.add_prior_sources(mask, &mut sources, by, out);
        sources
    }

    pub(crate) fn add_prior_sources(
        &mut self,
        mask: Stages,
        sources: &mut Sources,
        by: SyncOp,
        out: &mut Output,
    ) {
        for stage in stages_in(mask) {
            self.done[stage].settle(by, out);
            sources.union(&self.done[stage]);
        }
    }

    /// Opens stages of the rest of the pass after `sources`.
    pub(crate) fn gate_pass(
        &mut self,
        before: Stages,
        sources: &mut Sources,
        publish: &Publish,
        by: SyncOp,
        out: &mut Output,
    ) {
        open_stages(&mut self.pass.stage, before, sources, publish, by, out);
        self.gates_changed();
    }

    /// Opens stages of everything later on the queue after `sources`.
    pub(crate) fn gate_queue(
        &mut self,
        before: Stages,
        sources: &mut Sources,
        publish: &Publish,
        by: SyncOp,
        out: &mut Output,
    ) {
        open_stages(&mut self.stage, before, sources, publish, by, out);
        self.gates_changed();
    }

    /// Begins a pass, or goes on with the suspended one if that belongs to the same commit (A25).
    pub(crate) fn begin_pass(&mut self, pass: &PassDescriptor, commit: CommitId, id: u64, out: &mut Output) {
        let resumed = pass.resuming && self.pass.commit == Some(commit) && self.pass.kind == pass.kind;
        if !resumed {
            self.flush_pass(out);
            self.pass.id = id;
            self.pass.kind = pass.kind;
            self.pass.serial = pass.serial;
            self.pass.commit = Some(commit);
        }
        self.pass.open = true;
    }

    /// Ends the open segment and tells its works, stage by stage.
    pub(crate) fn end_pass(&mut self, by: SyncOp, out: &mut Output, mut tell: impl FnMut(&Sources)) {
        for stage in 0..STAGES {
            let (segment, done) = (&mut self.pass.segment[stage], &mut self.pass.done[stage]);
            if segment.is_empty() {
                continue;
            }
            segment.collapse(by, out);
            tell(segment);
            let works = std::mem::take(segment);
            if done.is_empty() {
                *done = works;
            } else {
                done.union(&works);
            }
        }
        self.pass.open = false;
    }

    /// The last pass can no longer be resumed: it joins what the queue has done, and its producer barriers and
    /// fence updates take effect. Returns the updates.
    fn flush_pass(&mut self, out: &mut Output) {
        for stage in 0..STAGES {
            if self.pass.done[stage].is_empty() {
                continue;
            }
            let by = SyncOp { kind: crate::SyncKind::Pipeline, at: None };
            let works = std::mem::take(&mut self.pass.done[stage]);
            self.done[stage].union(&works);
            self.done[stage].collapse(by, out);
        }
        for (before, mut sources, publish, by) in std::mem::take(&mut self.pass.producers) {
            self.gate_queue(before, &mut sources, &publish, by, out);
        }
        for gate in self.pass.stage.iter_mut().chain([&mut self.pass.all]) {
            gate.waits.clear();
            if !gate.behind.is_empty() {
                gate.behind = self.nothing.clone();
            }
        }
        self.gates_changed();
    }

    /// The masks of a barrier, `after` the earlier side (A27), limited to what the pass can encode.
    pub(crate) fn intrapass_masks(&self, barrier: &Barrier) -> (Stages, Stages) {
        let kind = self.pass.kind;
        (barrier.after & kind.intrapass_sources(), barrier.before & kind.stages())
    }
}
