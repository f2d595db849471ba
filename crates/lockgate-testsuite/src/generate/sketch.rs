//! What the generator draws: a program in which nothing can be wrong, because every number is a choice among
//! what there is and what means nothing is left out when it is lowered.
//!
//! Plain enums and vectors, so that a failing program shrinks by itself.

use lockgate_sync::{AccessKind, BarrierReach, BarrierScope, Model, Stages, VisibilityOptions};

/// A whole program. [`Sketch::lower`] turns it into a [`Program`](lockgate_sync::Program).
#[derive(Clone, Debug)]
pub struct Sketch {
    /// The switches.
    pub model: Model,
    /// The resources.
    pub resources: Vec<ResourceSketch>,
    /// The queues.
    pub queues: Vec<QueueSketch>,
    /// The steps.
    pub steps: Vec<StepSketch>,
}

/// Where a resource lives.
#[derive(Clone, Copy, Debug)]
pub enum Home {
    /// In a memory of its own.
    Own,
    /// On the one heap, in the quarter of this number.
    Heap(u8),
    /// On the one heap, as a member of its unit.
    Unit(u8),
}

/// One resource.
#[derive(Clone, Copy, Debug)]
pub struct ResourceSketch {
    /// Whether it is a texture.
    pub texture: bool,
    /// Where it lives.
    pub home: Home,
    /// Whether it is tracked.
    pub tracked: bool,
}

/// One queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueSketch {
    /// For the GPU, with tracking.
    Tracking,
    /// For the GPU, without.
    Untracking,
    /// For loads, in no order.
    IoConcurrent,
    /// For loads, one buffer after the other.
    IoSerial,
}

/// One step of the host. Queues, events and resources are numbers modulo how many there are.
#[derive(Clone, Debug)]
pub enum StepSketch {
    /// Commits command buffers.
    Commit(u8, Vec<Vec<BufferOp>>),
    /// The queue signals its own event.
    Signal(u8, u8),
    /// The queue waits for an event and a value.
    Wait(u8, u8, u8),
    /// A barrier of an IO queue.
    QueueBarrier(u8),
    /// The queue waits for a drawable.
    WaitForDrawable(u8, u8),
    /// The queue hands a drawable to the display.
    SignalDrawable(u8, u8),
    /// The display reads a drawable.
    Present(u8),
    /// The host touches memory.
    HostAccess(AccessSketch),
    /// The host sets its own event.
    HostSignal(u8),
    /// The host waits for an event and a value.
    HostWait(u8, u8),
    /// The host waits for a commit.
    HostWaitForCommit(u8),
}

/// One entry of a command buffer.
#[derive(Clone, Debug)]
pub enum BufferOp {
    /// A pass.
    Pass(PassSketch),
    /// A signal of the event of the queue.
    Signal(u8),
    /// A wait for an event and a value.
    Wait(u8, u8),
}

/// What a pass encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassForm {
    /// Dispatches, copies and acceleration structures.
    Compute,
    /// The same, one after the other.
    SerialCompute,
    /// Draws.
    Render,
    /// Draws that continue the render pass before, where there is one.
    Resume,
    /// Copies, one after the other.
    Blit,
    /// Networks.
    MachineLearning,
    /// Mapping operations.
    ResourceState,
}

/// One pass.
#[derive(Clone, Debug)]
pub struct PassSketch {
    /// What it encodes.
    pub form: PassForm,
    /// Textures that are attached, and whether their content is loaded. Render passes only.
    pub attachments: Vec<(u8, bool)>,
    /// Its operations.
    pub ops: Vec<PassOp>,
}

/// One operation of a pass.
#[derive(Clone, Debug)]
pub enum PassOp {
    /// A command.
    Command(CommandSketch),
    /// One of the three barriers.
    Barrier(BarrierReach, Stages, Stages, VisibilityOptions),
    /// A memory barrier by scope.
    MemoryByScope(Stages, Stages, BarrierScope),
    /// A memory barrier by resources.
    MemoryByResources(Stages, Stages, Vec<u8>),
    /// An update of a fence.
    UpdateFence(u8, Stages),
    /// A wait for a fence.
    WaitForFence(u8, Stages),
}

/// One command: which of the commands of its encoder, and what each of its works touches.
#[derive(Clone, Debug)]
pub struct CommandSketch {
    /// Modulo how many commands the encoder has.
    pub form: u8,
    /// The accesses of its works; a command with fewer works leaves the rest.
    pub works: [Vec<AccessSketch>; 3],
}

/// One access.
#[derive(Clone, Copy, Debug)]
pub struct AccessSketch {
    /// The resource, modulo how many there are.
    pub resource: u8,
    /// The part, modulo how many its kind of resource has; 0 is all.
    pub part: u8,
    /// How.
    pub kind: AccessKind,
}
