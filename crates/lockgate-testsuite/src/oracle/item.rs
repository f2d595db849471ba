//! What a queue has to do, in recording order: works and operations with the place where they stand.

use super::Node;
use lockgate_sync::{
    Actor, Barrier, BarrierReach, BarrierScope, CommandRef, CommitId, EventId, FenceId, Op, PassDescriptor,
    PassKind, Program, QueueId, Recording, ResourceId, ResourceKind, Stages,
};

/// An operation inside a pass that orders.
#[derive(Clone, Debug)]
pub(super) enum Sync {
    Barrier(BarrierReach, Barrier),
    Memory { after: Stages, before: Stages, published: Vec<ResourceId> },
    UpdateFence { fence: FenceId, after: Stages },
    WaitForFence { fence: FenceId, before: Stages },
}

/// Where an operation stands. `at` counts everything that the program records.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) sync: Sync,
    pub(super) queue: QueueId,
    pub(super) pass: u32,
    pub(super) kind: PassKind,
    pub(super) at: u32,
}

/// One line of a command buffer.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Work(Node),
    Sync(Placed),
}

/// What the walk takes in one piece.
#[derive(Clone, Debug)]
pub(super) enum What {
    /// Passes of a command buffer between two of its event operations.
    Segment(Vec<Entry>),
    Signal {
        event: EventId,
        value: u64,
    },
    Wait {
        event: EventId,
        value: u64,
    },
    /// Everything later on the queue after everything earlier.
    QueueBarrier,
    SignalDrawable(ResourceId),
    WaitForDrawable(ResourceId),
}

/// A piece of a queue. The ones of a command buffer carry its number among all command buffers.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) queue: QueueId,
    pub(super) buffer: Option<u32>,
    pub(super) commit: Option<u64>,
    pub(super) at: u32,
    pub(super) what: What,
    pub(super) taken: bool,
}

impl Item {
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.what {
            What::Segment(entries) => entries,
            _ => &[],
        }
    }
}

/// Numbers what is recorded: positions, passes of each queue, command buffers, commits.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorder {
    position: u32,
    /// Passes begun on each queue.
    passes: Vec<u32>,
    buffers: u32,
    pub(super) commits: u64,
}

impl Recorder {
    pub(super) fn new(queues: usize) -> Recorder {
        Recorder { passes: vec![0; queues], ..Recorder::default() }
    }

    pub(super) fn next_position(&mut self) -> u32 {
        self.position += 1;
        self.position
    }

    /// The items of one command buffer.
    pub(super) fn buffer(
        &mut self,
        program: &Program,
        queue: QueueId,
        index: u32,
        recording: &Recording,
    ) -> Vec<Item> {
        self.buffers += 1;
        let (buffer, commit) = (Some(self.buffers), Some(self.commits));
        let mut items = Vec::new();
        let mut segment: Vec<Entry> = Vec::new();
        let mut pass: Option<PassDescriptor> = None;
        for op in recording.ops() {
            let at = self.next_position();
            let item = |what| Item { queue, buffer, commit, at, what, taken: false };
            match op {
                Op::BeginPass(descriptor) => {
                    self.begin_pass(queue, *descriptor);
                    pass = Some(*descriptor);
                }
                Op::EndPass => pass = None,
                Op::SignalEvent { event, value } => {
                    items.push(item(What::Segment(std::mem::take(&mut segment))));
                    items.push(item(What::Signal { event: *event, value: *value }));
                }
                Op::WaitForEvent { event, value } => {
                    items.push(item(What::Segment(std::mem::take(&mut segment))));
                    items.push(item(What::Wait { event: *event, value: *value }));
                }
                Op::Command { command, works } => {
                    let Some(pass) = pass else { continue };
                    let commit = CommitId(self.commits);
                    let actor = Actor::Command(CommandRef { commit, buffer: index, command: *command });
                    for (part, work) in (0..).zip(recording.works(works)) {
                        segment.push(Entry::Work(Node {
                            actor,
                            stage: work.stage,
                            part,
                            accesses: work.accesses.to_vec(),
                            queue: Some(queue),
                            pass: self.passes[queue.index()],
                            recorded: self.next_position(),
                            buffer,
                            kind: Some(pass.kind),
                            serial: pass.serial,
                        }));
                    }
                }
                op => {
                    let Some(descriptor) = pass else { continue };
                    let Some(sync) = sync_of(program, recording, op) else { continue };
                    let pass = self.passes[queue.index()];
                    segment.push(Entry::Sync(Placed { sync, queue, pass, kind: descriptor.kind, at }));
                }
            }
        }
        let at = self.next_position();
        items.push(Item { queue, buffer, commit, at, what: What::Segment(segment), taken: false });
        items
    }

    /// A resumed pass is the pass before it.
    fn begin_pass(&mut self, queue: QueueId, pass: PassDescriptor) {
        let number = &mut self.passes[queue.index()];
        if !(pass.resuming && *number > 0) {
            *number += 1;
        }
    }
}

fn sync_of(program: &Program, recording: &Recording, op: &Op) -> Option<Sync> {
    match op {
        Op::Barrier(reach, barrier) => Some(Sync::Barrier(*reach, *barrier)),
        Op::MemoryBarrierWithScope { after, before, scope } => {
            let published = resources_in(program, *scope);
            Some(Sync::Memory { after: *after, before: *before, published })
        }
        Op::MemoryBarrierWithResources { after, before, resources } => {
            let published = recording.resources(resources).to_vec();
            Some(Sync::Memory { after: *after, before: *before, published })
        }
        Op::UpdateFence { fence, after } => Some(Sync::UpdateFence { fence: *fence, after: *after }),
        Op::WaitForFence { fence, before } => Some(Sync::WaitForFence { fence: *fence, before: *before }),
        _ => None,
    }
}

/// The resources that a scope names; render targets add nothing.
fn resources_in(program: &Program, scope: BarrierScope) -> Vec<ResourceId> {
    let bit = |kind| match kind {
        ResourceKind::Buffer => BarrierScope::BUFFERS,
        ResourceKind::Texture { .. } => BarrierScope::TEXTURES,
    };
    let named = program.resources.iter().map(|resource| scope.contains(bit(resource.kind)));
    named.enumerate().filter(|(_, named)| *named).map(|(index, _)| ResourceId(index as u32)).collect()
}
