//! Which stages exist, which of them an encoder can encode, and what a barrier says about them.

use crate::PassKind;
use bitflags::bitflags;

bitflags! {
    /// A set of GPU stages, with Metal's bit values.
    ///
    /// Unknown bits carry no meaning and are masked away (ambiguity A20: `MTLStages.all` has 63 ones).
    ///
    /// ```
    /// use lockgate_sync::Stages;
    /// assert!(Stages::ALL.contains(Stages::BLIT | Stages::TILE));
    /// assert_eq!(Stages::from_bits_truncate(i64::MAX as u64), Stages::ALL);
    /// ```
    #[doc(alias = "MTLStages")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Stages: u64 {
        /// Vertex shading of draws; also vertex fetch, index buffers and indirect arguments of draws.
        const VERTEX = 1 << 0;
        /// Fragment shading; also attachment loads and stores, blending, depth and stencil.
        const FRAGMENT = 1 << 1;
        /// Tile shaders. A barrier that names only this bit is honoured, though hardware was seen to ignore it (A12).
        const TILE = 1 << 2;
        /// Object shaders of mesh draws.
        const OBJECT = 1 << 3;
        /// Mesh shaders of mesh draws.
        const MESH = 1 << 4;
        /// Mapping operations of sparse resources.
        const RESOURCE_STATE = 1 << 26;
        /// Compute dispatches.
        const DISPATCH = 1 << 27;
        /// Copies, fills, mipmap generation, resolves of counters.
        const BLIT = 1 << 28;
        /// Builds, refits and copies of acceleration structures.
        const ACCELERATION_STRUCTURE = 1 << 29;
        /// Dispatches of machine learning networks.
        const MACHINE_LEARNING = 1 << 30;
        /// Every stage above.
        const ALL = 0b11111 | 0b11111 << 26;
    }

    /// The stages of a render pass as Metal 3 names them.
    ///
    /// ```
    /// use lockgate_sync::{RenderStages, Stages};
    /// assert_eq!(Stages::from(RenderStages::FRAGMENT), Stages::FRAGMENT);
    /// ```
    #[doc(alias = "MTLRenderStages")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RenderStages: u64 {
        /// Vertex shading.
        const VERTEX = 1;
        /// Fragment shading.
        const FRAGMENT = 2;
        /// Tile shaders.
        const TILE = 4;
        /// Object shaders.
        const OBJECT = 8;
        /// Mesh shaders.
        const MESH = 16;
    }

    /// What kinds of resources a Metal 3 memory barrier publishes.
    ///
    /// ```
    /// use lockgate_sync::BarrierScope;
    /// assert!((BarrierScope::BUFFERS | BarrierScope::TEXTURES).contains(BarrierScope::BUFFERS));
    /// ```
    #[doc(alias = "MTLBarrierScope")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct BarrierScope: u32 {
        /// All buffers.
        const BUFFERS = 1;
        /// All textures.
        const TEXTURES = 2;
        /// All attachments of the render pass.
        const RENDER_TARGETS = 4;
    }

    /// What a barrier makes visible besides ordering execution.
    ///
    /// Empty gives order only: enough after a read, not after a write. [`VisibilityOptions::DEVICE`] is the
    /// default of a [`Barrier`]. `RESOURCE_ALIAS` alone is taken to include `DEVICE` (A9).
    ///
    /// ```
    /// use lockgate_sync::{Barrier, VisibilityOptions};
    /// assert_eq!(Barrier::default().visibility, VisibilityOptions::DEVICE);
    /// ```
    #[doc(alias = "MTL4VisibilityOptions")]
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct VisibilityOptions: u32 {
        /// Stores of the source become visible to the whole device.
        const DEVICE = 1;
        /// Stores become visible through other addresses of the same memory too.
        const RESOURCE_ALIAS = 2;
    }
}

impl From<RenderStages> for Stages {
    fn from(stages: RenderStages) -> Stages {
        Stages::from_bits_truncate(stages.bits())
    }
}

/// One stage: what a [`Work`](crate::Work) runs in.
///
/// The first ten are Metal's. The last three are Lockgate's own and are in no mask: loading commands of IO
/// queues, the host, and the display that reads a presented drawable.
///
/// ```
/// use lockgate_sync::{Stage, Stages};
/// assert_eq!(Stage::Blit.mask(), Stages::BLIT);
/// assert_eq!(Stage::Host.mask(), Stages::empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// [`Stages::VERTEX`]
    Vertex,
    /// [`Stages::FRAGMENT`]
    Fragment,
    /// [`Stages::TILE`]
    Tile,
    /// [`Stages::OBJECT`]
    Object,
    /// [`Stages::MESH`]
    Mesh,
    /// [`Stages::RESOURCE_STATE`]
    ResourceState,
    /// [`Stages::DISPATCH`]
    Dispatch,
    /// [`Stages::BLIT`]
    Blit,
    /// [`Stages::ACCELERATION_STRUCTURE`]
    AccelerationStructure,
    /// [`Stages::MACHINE_LEARNING`]
    MachineLearning,
    /// A loading command of an IO queue.
    Io,
    /// The host.
    Host,
    /// The display.
    Display,
}

impl Stage {
    /// How many stages there are.
    pub const COUNT: usize = 13;

    /// All stages, in the order of their numbers.
    pub const EVERY: [Stage; Stage::COUNT] = [
        Stage::Vertex,
        Stage::Fragment,
        Stage::Tile,
        Stage::Object,
        Stage::Mesh,
        Stage::ResourceState,
        Stage::Dispatch,
        Stage::Blit,
        Stage::AccelerationStructure,
        Stage::MachineLearning,
        Stage::Io,
        Stage::Host,
        Stage::Display,
    ];

    /// The set with this stage alone; empty for the stages that no mask can name.
    pub fn mask(self) -> Stages {
        match self {
            Stage::Vertex => Stages::VERTEX,
            Stage::Fragment => Stages::FRAGMENT,
            Stage::Tile => Stages::TILE,
            Stage::Object => Stages::OBJECT,
            Stage::Mesh => Stages::MESH,
            Stage::ResourceState => Stages::RESOURCE_STATE,
            Stage::Dispatch => Stages::DISPATCH,
            Stage::Blit => Stages::BLIT,
            Stage::AccelerationStructure => Stages::ACCELERATION_STRUCTURE,
            Stage::MachineLearning => Stages::MACHINE_LEARNING,
            Stage::Io | Stage::Host | Stage::Display => Stages::empty(),
        }
    }

    /// Metal's word for the stage, as messages and program files spell it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Vertex => "vertex",
            Stage::Fragment => "fragment",
            Stage::Tile => "tile",
            Stage::Object => "object",
            Stage::Mesh => "mesh",
            Stage::ResourceState => "resource-state",
            Stage::Dispatch => "dispatch",
            Stage::Blit => "blit",
            Stage::AccelerationStructure => "acceleration-structure",
            Stage::MachineLearning => "machine-learning",
            Stage::Io => "io",
            Stage::Host => "host",
            Stage::Display => "display",
        }
    }
}

/// Which of the three barriers of a Metal 4 encoder (`semantics` 2.3 to 2.5).
///
/// ```
/// assert_ne!(lockgate_sync::BarrierReach::Producer, lockgate_sync::BarrierReach::Consumer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BarrierReach {
    /// Earlier commands of this pass before later commands of this pass.
    #[doc(alias = "barrierAfterEncoderStages")]
    Intrapass,
    /// This pass so far and all earlier passes of the queue before all later passes.
    #[doc(alias = "barrierAfterStages")]
    Producer,
    /// All earlier passes of the queue before the rest of this pass and all later passes (A1).
    #[doc(alias = "barrierAfterQueueStages")]
    Consumer,
}

/// The stages on both sides of a barrier.
///
/// The default is `ALL` before `ALL` with [`VisibilityOptions::DEVICE`].
///
/// ```
/// use lockgate_sync::{Barrier, Stages, VisibilityOptions};
/// let barrier = Barrier { after: Stages::BLIT, before: Stages::DISPATCH, ..Barrier::default() };
/// assert_eq!(barrier.visibility, VisibilityOptions::DEVICE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Barrier {
    /// The stages that must be done: the earlier side (A27: the published parameter texts are swapped).
    pub after: Stages,
    /// The stages that wait: the later side.
    pub before: Stages,
    /// What becomes visible to the stages that wait.
    pub visibility: VisibilityOptions,
}

impl Default for Barrier {
    fn default() -> Barrier {
        Barrier { after: Stages::ALL, before: Stages::ALL, visibility: VisibilityOptions::DEVICE }
    }
}

impl PassKind {
    /// The stages that an encoder of this kind can encode.
    pub fn stages(self) -> Stages {
        match self {
            PassKind::Render => {
                Stages::VERTEX | Stages::FRAGMENT | Stages::TILE | Stages::OBJECT | Stages::MESH
            }
            PassKind::Compute => Stages::DISPATCH | Stages::BLIT | Stages::ACCELERATION_STRUCTURE,
            PassKind::MachineLearning => Stages::MACHINE_LEARNING,
            PassKind::Blit => Stages::BLIT,
            PassKind::ResourceState => Stages::RESOURCE_STATE,
            PassKind::Io => Stages::empty(),
        }
    }

    /// The stages that may stand on the earlier side of an intrapass barrier of this encoder.
    ///
    /// Fragment and tile work of a render pass ends with the pass, so it can be no source (`semantics` 2.5.3).
    pub fn intrapass_sources(self) -> Stages {
        self.stages() - (Stages::FRAGMENT | Stages::TILE)
    }
}
