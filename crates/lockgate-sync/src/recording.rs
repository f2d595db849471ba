//! What a command buffer says: passes, commands with their works, and synchronization, in encode order.
//!
//! A recording is flat vectors, so that clearing and filling it again allocates nothing. Attachment loads and
//! stores are commands like others: the load stands before the first draw, the store after the last
//! ([`Recording::end_pass`]), which is where barriers and fences meet them (`semantics` 2.2, A13).

use crate::{Access, Barrier, BarrierReach, BarrierScope, EventId, FenceId, ResourceId, Stage, Stages};
use std::ops::Range;

/// What kind of encoder recorded a pass.
///
/// ```
/// use lockgate_sync::{PassKind, Stages};
/// assert!(PassKind::Compute.stages().contains(Stages::BLIT));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PassKind {
    /// Draws, mesh draws, tile dispatches.
    #[doc(alias = "MTL4RenderCommandEncoder")]
    Render,
    /// Dispatches, copies, fills and acceleration structures in one pass. A Metal 3 compute encoder is one too.
    #[doc(alias = "MTL4ComputeCommandEncoder")]
    Compute,
    /// Networks.
    #[doc(alias = "MTL4MachineLearningCommandEncoder")]
    MachineLearning,
    /// Metal 3's blit encoder: its commands are ordered as encoded.
    #[doc(alias = "MTLBlitCommandEncoder")]
    Blit,
    /// Mapping operations of sparse resources: a queue item that counts as a pass.
    ResourceState,
    /// Loads of an IO command buffer.
    #[doc(alias = "MTLIOCommandBuffer")]
    Io,
}

/// How a pass begins.
///
/// ```
/// use lockgate_sync::{PassDescriptor, PassKind};
/// let pass = PassDescriptor { serial: true, ..PassDescriptor::compute() };
/// assert_eq!(pass.kind, PassKind::Compute);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PassDescriptor {
    /// Which encoder.
    pub kind: PassKind,
    /// Whether each command behaves as if it ended before the next starts: Metal 3's serial dispatch type and
    /// its blit encoder.
    #[doc(alias = "MTLDispatchTypeSerial")]
    pub serial: bool,
    /// Whether it continues the last pass of the queue, which was suspended: both are one pass (A25).
    pub resuming: bool,
}

impl PassDescriptor {
    /// A concurrent pass of this kind; a blit pass is serial.
    pub fn new(kind: PassKind) -> PassDescriptor {
        PassDescriptor { kind, serial: kind == PassKind::Blit, resuming: false }
    }

    /// A concurrent compute pass.
    pub fn compute() -> PassDescriptor {
        PassDescriptor::new(PassKind::Compute)
    }

    /// A render pass.
    pub fn render() -> PassDescriptor {
        PassDescriptor::new(PassKind::Render)
    }
}

/// One stage of one command, with what it touches.
///
/// ```
/// use lockgate_sync::{Stage, Work};
/// assert!(Work::new(Stage::Dispatch, &[]).accesses.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work<'a> {
    /// The stage.
    pub stage: Stage,
    /// Its accesses.
    pub accesses: &'a [Access],
}

impl<'a> Work<'a> {
    /// A work of `stage` with `accesses`.
    pub fn new(stage: Stage, accesses: &'a [Access]) -> Work<'a> {
        Work { stage, accesses }
    }
}

/// One entry of a [`Recording`].
///
/// ```
/// use lockgate_sync::Op;
/// assert_eq!(Op::EndPass, Op::EndPass);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A pass begins.
    BeginPass(PassDescriptor),
    /// The pass ends.
    EndPass,
    /// A command; [`Recording::works`] gives its works, which run in their order.
    Command {
        /// Number of the command in the recording, in encode order.
        command: u32,
        /// Its works in the table of the recording.
        works: Range<u32>,
    },
    /// One of the three barriers of Metal 4.
    Barrier(BarrierReach, Barrier),
    /// Metal 3's memory barrier: orders execution within the pass, publishes only what is in its scope (A32).
    MemoryBarrierWithScope {
        /// The stages that must be done.
        after: Stages,
        /// The stages that wait.
        before: Stages,
        /// What is published.
        scope: BarrierScope,
    },
    /// The same for listed resources; [`Recording::resources`] gives them.
    MemoryBarrierWithResources {
        /// The stages that must be done.
        after: Stages,
        /// The stages that wait.
        before: Stages,
        /// The resources in the table of the recording.
        resources: Range<u32>,
    },
    /// The fence stands for these stages of the pass so far.
    UpdateFence {
        /// Which fence.
        fence: FenceId,
        /// Which stages.
        after: Stages,
    },
    /// These stages of the rest of the pass wait for all earlier updates of the fence (A15).
    WaitForFence {
        /// Which fence.
        fence: FenceId,
        /// Which stages.
        before: Stages,
    },
    /// Metal 3: the event takes the value when the passes of this command buffer so far are done (A23).
    SignalEvent {
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// Metal 3: later passes of this command buffer wait for the value (A5).
    WaitForEvent {
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
}

/// Something that holds a [`Recording`]: a recording itself, or a runtime's command buffer around one.
///
/// ```
/// use lockgate_sync::{Recorded, Recording};
/// assert_eq!(Recording::new().recording().command_count(), 0);
/// ```
pub trait Recorded: std::fmt::Debug + Send + Sync {
    /// The recording.
    fn recording(&self) -> &Recording;
}

impl Recorded for Recording {
    fn recording(&self) -> &Recording {
        self
    }
}

/// A command buffer, recorded.
///
/// ```
/// use lockgate_sync::*;
/// let mut recording = Recording::new();
/// recording.begin_pass(PassDescriptor::compute());
/// recording.command(&[Work::new(Stage::Blit, &[])]);
/// recording.end_pass();
/// assert_eq!(recording.ops().len(), 3);
/// assert_eq!(recording.command_count(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    ops: Vec<Op>,
    works: Vec<(Stage, Range<u32>)>,
    accesses: Vec<Access>,
    resources: Vec<ResourceId>,
    commands: u32,
    /// Where the open pass began, and what its attachments load and store.
    open: Option<OpenPass>,
    loads: Vec<Access>,
    stores: Vec<Access>,
    signals: bool,
    waits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenPass {
    loaded: bool,
    /// Where a store would go: behind the last command or the last operation that waits.
    store_at: usize,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Recording {
        Recording::default()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.ops.clear();
        self.works.clear();
        self.accesses.clear();
        self.resources.clear();
        self.loads.clear();
        self.stores.clear();
        self.commands = 0;
        self.open = None;
        self.signals = false;
        self.waits = false;
    }

    /// Begins a pass.
    pub fn begin_pass(&mut self, pass: PassDescriptor) {
        self.end_pass();
        self.ops.push(Op::BeginPass(pass));
        self.open = Some(OpenPass { loaded: false, store_at: self.ops.len() });
    }

    /// Begins a render pass with what its attachments touch at the start and at the end. An attachment that is
    /// loaded reads, one that is cleared or whose content does not matter writes; a store writes. The accesses
    /// are [`RASTER_ORDERED`](crate::AccessKind::RASTER_ORDERED).
    pub fn begin_render_pass(&mut self, pass: PassDescriptor, loads: &[Access], stores: &[Access]) {
        self.begin_pass(pass);
        self.loads.extend_from_slice(loads);
        self.stores.extend_from_slice(stores);
    }

    /// Appends a command to the open pass and returns its number. Its works run in the given order.
    pub fn command(&mut self, works: &[Work<'_>]) -> u32 {
        self.load_attachments();
        let number = self.push_command(works);
        if let Some(open) = &mut self.open {
            open.store_at = self.ops.len();
        }
        number
    }

    /// Ends the open pass, if there is one: attachments are stored behind the last draw, or, in a pass without
    /// draws, behind the last operation that waits.
    pub fn end_pass(&mut self) {
        let Some(open) = self.open.take() else { return };
        if !self.loads.is_empty() || !self.stores.is_empty() {
            self.touch_attachments(open);
        }
        self.ops.push(Op::EndPass);
    }

    /// The load, if nothing was drawn, and the store, which goes to where the pass has it.
    fn touch_attachments(&mut self, open: OpenPass) {
        let tail = self.ops.len() - open.store_at;
        self.open = Some(open);
        self.load_attachments();
        self.open = None;
        let stores = std::mem::take(&mut self.stores);
        if !stores.is_empty() {
            self.push_command(&[Work::new(Stage::Fragment, &stores)]);
        }
        self.stores = stores;
        self.stores.clear();
        self.ops[open.store_at..].rotate_left(tail);
    }

    /// Appends a barrier to the open pass.
    pub fn barrier(&mut self, reach: BarrierReach, barrier: Barrier) {
        self.push_sync(Op::Barrier(reach, barrier), reach != BarrierReach::Producer);
    }

    /// Appends a Metal 3 memory barrier by scope.
    pub fn memory_barrier_with_scope(&mut self, after: Stages, before: Stages, scope: BarrierScope) {
        self.push_sync(Op::MemoryBarrierWithScope { after, before, scope }, true);
    }

    /// Appends a Metal 3 memory barrier by resources.
    pub fn memory_barrier_with_resources(&mut self, after: Stages, before: Stages, list: &[ResourceId]) {
        let start = self.resources.len() as u32;
        self.resources.extend_from_slice(list);
        let resources = start..self.resources.len() as u32;
        self.push_sync(Op::MemoryBarrierWithResources { after, before, resources }, true);
    }

    /// Appends an update of a fence.
    pub fn update_fence(&mut self, fence: FenceId, after: Stages) {
        self.push_sync(Op::UpdateFence { fence, after }, false);
    }

    /// Appends a wait for a fence.
    pub fn wait_for_fence(&mut self, fence: FenceId, before: Stages) {
        self.push_sync(Op::WaitForFence { fence, before }, true);
    }

    /// Appends a Metal 3 signal between passes.
    pub fn signal_event(&mut self, event: EventId, value: u64) {
        self.end_pass();
        self.ops.push(Op::SignalEvent { event, value });
        self.signals = true;
    }

    /// Whether it signals between passes.
    pub(crate) fn signals(&self) -> bool {
        self.signals
    }

    /// Whether it signals events or waits for them.
    pub(crate) fn has_events(&self) -> bool {
        self.signals || self.waits
    }

    /// Appends a Metal 3 wait between passes.
    pub fn wait_for_event(&mut self, event: EventId, value: u64) {
        self.end_pass();
        self.ops.push(Op::WaitForEvent { event, value });
        self.waits = true;
    }

    /// The operations in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// How many commands it has, attachment loads and stores included.
    pub fn command_count(&self) -> u32 {
        self.commands
    }

    /// The works of an [`Op::Command`]; a range out of bounds has none.
    pub fn works(&self, works: &Range<u32>) -> impl Iterator<Item = Work<'_>> + Clone {
        let works = self.works.get(works.start as usize..works.end as usize).unwrap_or(&[]);
        works.iter().map(|(stage, range)| Work {
            stage: *stage,
            accesses: &self.accesses[range.start as usize..range.end as usize],
        })
    }

    /// The resources of an [`Op::MemoryBarrierWithResources`]; a range out of bounds has none.
    pub fn resources(&self, range: &Range<u32>) -> &[ResourceId] {
        self.resources.get(range.start as usize..range.end as usize).unwrap_or(&[])
    }

    /// Every access of every command.
    pub fn accesses(&self) -> &[Access] {
        &self.accesses
    }

    fn push_sync(&mut self, op: Op, waits: bool) {
        self.ops.push(op);
        if waits
            && let Some(open) = &mut self.open
            && !open.loaded
        {
            open.store_at = self.ops.len();
        }
    }

    /// The same tables and no operations.
    pub(crate) fn without_ops(&self) -> Recording {
        Recording { ops: Vec::with_capacity(self.ops.len()), commands: 0, ..self.clone() }
    }

    /// Appends an operation as it is, whose tables this recording has; a command gets the next number.
    pub(crate) fn push_op(&mut self, mut op: Op) {
        if let Op::Command { command, .. } = &mut op {
            *command = self.commands;
            self.commands += 1;
        }
        self.signals |= matches!(op, Op::SignalEvent { .. });
        self.waits |= matches!(op, Op::WaitForEvent { .. });
        self.ops.push(op);
    }

    pub(crate) fn push_command(&mut self, works: &[Work<'_>]) -> u32 {
        let first = self.works.len() as u32;
        for work in works {
            let start = self.accesses.len() as u32;
            self.accesses.extend_from_slice(work.accesses);
            self.works.push((work.stage, start..self.accesses.len() as u32));
        }
        let command = self.commands;
        self.commands += 1;
        self.ops.push(Op::Command { command, works: first..self.works.len() as u32 });
        command
    }

    fn load_attachments(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.loaded {
            return;
        }
        open.loaded = true;
        let loads = std::mem::take(&mut self.loads);
        if !loads.is_empty() {
            self.push_command(&[Work::new(Stage::Fragment, &loads)]);
        }
        self.loads = loads;
        self.loads.clear();
    }
}
