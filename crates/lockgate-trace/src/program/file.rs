//! What a program file says, with all names resolved: tables and steps.
//!
//! Numbers of resources, fences, events and queues are those of the model, so that lowering copies them.

use super::node::Spanned;
use crate::diagnostic::Source;
use lockgate_runtime::{
    BufferLayout, HeapType, Library, Reflection, SamplerDescriptor, StorageMode, TextureDescriptor,
    TextureOrigin,
};
use lockgate_sync::{
    Access, Barrier, BarrierReach, BarrierScope, EventId, FenceId, HostStep, MemoryId, Model, PassDescriptor,
    QueueDescriptor, QueueId, ResourceId, Stage, Stages,
};
use std::ops::Range;

/// A program file that has been read without a mistake.
///
/// ```
/// use lockgate_trace::{NoFiles, ProgramFile};
/// let text = "buffer A size=64 fill=ascending\nbuffer B size=64\nqueue main { command-buffer {
///     compute-pass one { copy A to=B }
/// } }";
/// let file = ProgramFile::parse("copy.kdl", text, &NoFiles)?;
/// let (program, names) = file.model();
/// assert_eq!(program.resources.len(), 2);
/// assert_eq!(names.command(names.commands().next().unwrap()), "one.copy");
/// # Ok::<(), lockgate_trace::Diagnostics>(())
/// ```
#[derive(Debug)]
pub struct ProgramFile {
    pub(crate) source: Source,
    pub(crate) model: Model,
    pub(crate) memories: u32,
    pub(crate) resources: Vec<Resource>,
    pub(crate) heaps: Vec<Heap>,
    pub(crate) fences: Vec<String>,
    pub(crate) events: Vec<Event>,
    pub(crate) samplers: Vec<(String, SamplerDescriptor)>,
    pub(crate) kernels: Vec<KernelFile>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) steps: Vec<Spanned<Step>>,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) expectations: Option<Vec<Expectation>>,
}

#[derive(Debug)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
    pub(crate) fill: Fill,
    pub(crate) memory: MemoryId,
    pub(crate) offset: u64,
    pub(crate) heap: Option<usize>,
    pub(crate) tracked: bool,
    pub(crate) unit: bool,
    pub(crate) storage: StorageMode,
    /// Made by a step and not at the start.
    pub(crate) allocated: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Buffer {
        size: u64,
    },
    Texture {
        descriptor: TextureDescriptor,
    },
    /// A texture of which only the model knows: no sides.
    Shapeless {
        levels: u16,
        slices: u16,
        bytes: u64,
    },
}

/// What a resource holds at the start.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fill {
    Nothing,
    /// Every word of 4 bytes.
    Word(u32),
    /// Words that count from 0.
    Ascending,
    /// Words of a generator.
    Random(u64),
    /// Texels of level 0.
    Picture(Vec<u8>),
}

#[derive(Debug)]
pub(crate) struct Heap {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) size: u64,
    pub(crate) kind: HeapType,
    pub(crate) storage: StorageMode,
    pub(crate) tracked: bool,
    pub(crate) memory: MemoryId,
    pub(crate) free: super::place::Free,
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) shared: bool,
}

#[derive(Debug)]
pub(crate) struct KernelFile {
    pub(crate) source: Source,
    pub(crate) library: Library,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    pub(crate) descriptor: QueueDescriptor,
}

#[derive(Debug)]
pub(crate) enum Step {
    Commit { queue: QueueId, buffers: Vec<CommandBuffer> },
    SignalEvent { queue: QueueId, event: EventId, value: u64 },
    WaitForEvent { queue: QueueId, event: EventId, value: u64 },
    EnqueueBarrier { queue: QueueId },
    WaitForDrawable { queue: QueueId, drawable: ResourceId },
    SignalDrawable { queue: QueueId, drawable: ResourceId },
    Present { drawable: ResourceId },
    Host(HostAction),
    Allocation(Allocation),
}

/// Resources come and go while the host encodes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allocation {
    Allocate(ResourceId),
    MakeAliasable(ResourceId),
}

#[derive(Debug)]
pub(crate) struct HostAction {
    pub(crate) step: HostStep,
    pub(crate) span: Range<usize>,
    /// What a write stores.
    pub(crate) fill: Fill,
}

#[derive(Debug)]
pub(crate) struct CommandBuffer {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) items: Vec<Spanned<Item>>,
}

#[derive(Debug)]
pub(crate) enum Item {
    Pass(Pass),
    SignalEvent { event: EventId, value: u64 },
    WaitForEvent { event: EventId, value: u64 },
    Allocation(Allocation),
}

#[derive(Debug)]
pub(crate) struct Pass {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) descriptor: PassDescriptor,
    pub(crate) loads: Vec<Access>,
    pub(crate) stores: Vec<Access>,
    pub(crate) items: Vec<Spanned<PassItem>>,
}

#[derive(Debug)]
pub(crate) enum PassItem {
    Command(Command),
    Barrier(BarrierReach, Barrier),
    MemoryBarrierWithScope { after: Stages, before: Stages, scope: BarrierScope },
    MemoryBarrierWithResources { after: Stages, before: Stages, resources: Vec<ResourceId> },
    UpdateFence { fence: FenceId, after: Stages },
    WaitForFence { fence: FenceId, before: Stages },
    Allocation(Allocation),
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) works: Vec<(Stage, Vec<Access>)>,
    pub(crate) action: Action,
}

/// What a device does for a command.
#[derive(Debug)]
pub(crate) enum Action {
    CopyBuffer {
        from: ResourceId,
        from_offset: u64,
        to: ResourceId,
        to_offset: u64,
        size: u64,
    },
    CopyTexture {
        from: At,
        to: At,
        size: [u32; 3],
    },
    CopyBufferToTexture {
        from: ResourceId,
        layout: BufferLayout,
        to: At,
        size: [u32; 3],
    },
    CopyTextureToBuffer {
        from: At,
        to: ResourceId,
        layout: BufferLayout,
        size: [u32; 3],
    },
    Fill {
        buffer: ResourceId,
        range: Range<u64>,
        value: u8,
    },
    Mipmaps(ResourceId),
    Kernel(Box<Dispatch>),
    /// Whatever reads and writes this: a generated kernel.
    StandIn,
    /// Only the model knows it; the text says what it is.
    ModelOnly(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(crate) texture: ResourceId,
    pub(crate) origin: TextureOrigin,
}

#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) file: usize,
    pub(crate) entry: String,
    pub(crate) reflection: Reflection,
    pub(crate) grid: Grid,
    pub(crate) bindings: Vec<Bound>,
    pub(crate) immediates: Vec<u32>,
    pub(crate) constants: Vec<(String, f64)>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Grid {
    Threads([u32; 3]),
    Threadgroups([u32; 3]),
    Indirect { buffer: ResourceId, offset: u64 },
}

/// What stands at a binding of a kernel.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) group: u32,
    pub(crate) binding: u32,
    /// Of an array of bindings.
    pub(crate) element: Option<u32>,
    pub(crate) to: Target,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Buffer(ResourceId, Range<u64>),
    Texture { texture: ResourceId, levels: (u32, u32), slices: (u32, u32) },
    Sampler(usize),
}

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) span: Range<usize>,
    pub(crate) path: String,
    pub(crate) from: ResourceId,
    pub(crate) level: u32,
    pub(crate) slice: u32,
}

#[derive(Debug)]
pub(crate) struct Expectation {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Expected,
}

#[derive(Debug)]
pub(crate) enum Expected {
    NoHazards,
    Hazard {
        hazard: lockgate_sync::Hazard,
        earlier: Option<String>,
        later: Option<String>,
        resource: Option<ResourceId>,
    },
    Ordered(String, String),
    Free(String, String),
    Buffer {
        buffer: ResourceId,
        offset: u64,
        words: Vec<u32>,
        whole: bool,
    },
    SameAs {
        buffer: ResourceId,
        other: ResourceId,
    },
    Picture {
        texture: ResourceId,
        level: u32,
        slice: u32,
        path: String,
        texels: Vec<u8>,
        tolerance: u8,
    },
}

impl ProgramFile {
    /// The name and text of the file.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The names of the pictures that can be replaced.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(String::as_str)
    }

    /// The outputs: name, and the path that the file gives.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.outputs.iter().map(|output| (output.name.as_str(), output.path.as_str()))
    }

    pub(crate) fn resource(&self, id: ResourceId) -> &Resource {
        &self.resources[id.index()]
    }
}

impl Resource {
    /// Bytes that it takes in memory.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Buffer { size } => *size,
            Kind::Texture { descriptor } => texture_size(descriptor),
            Kind::Shapeless { bytes, .. } => *bytes,
        }
    }

    pub(crate) fn is_buffer(&self) -> bool {
        matches!(self.kind, Kind::Buffer { .. })
    }

    pub(crate) fn texture(&self) -> Option<&TextureDescriptor> {
        match &self.kind {
            Kind::Texture { descriptor } => Some(descriptor),
            _ => None,
        }
    }
}

/// Bytes of a texture in the layout of the CPU device: each level begins aligned to 16.
pub(crate) fn texture_size(texture: &TextureDescriptor) -> u64 {
    let level = |level| {
        let texels = texture.level_size(level).iter().map(|side| u64::from(*side)).product::<u64>();
        (texels * u64::from(texture.format.bytes_per_texel())).next_multiple_of(16)
    };
    (0..texture.mip_level_count).map(level).sum::<u64>() * u64::from(texture.slice_count())
}
