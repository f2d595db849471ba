//! Devices, queues, command buffers, encoders and resources with Metal's synchronization model.
//!
//! This crate records, checks arguments, keeps what is in use alive, asks the model
//! ([`lockgate_sync`]) at commit what must wait for what, and hands a [`Backend`] a graph of commands. It knows
//! no device. Applications use it through the crate `lockgate`, which adds the devices.

mod argument_table;
pub mod backend;
mod blit_encoder;
mod bound;
mod buffer;
mod checking;
mod command_buffer;
mod completion;
mod compute_encoder;
mod contents;
mod device;
mod dispatch;
mod error;
mod event;
mod extent;
mod format;
mod heap;
mod library;
pub mod message;
pub mod null;
mod observe;
mod queue;
mod residency;
mod sampler;
mod shared;
mod texture;
mod uniform;
mod wgsl;

pub use argument_table::{ARGUMENTS_MAX, ARRAY_ELEMENTS_MAX, ArgumentTable, BindingKey};
pub use backend::{Backend, CommandTiming, CommitReport, DeviceInfo, SizeAndAlign, StorageMode};
pub use blit_encoder::BlitCommandEncoder;
pub use buffer::{Buffer, BufferDescriptor};
pub use checking::{CHECKING_VARIABLE, Checking, FINDINGS_MAX, LISTED_MAX, Report, RuntimeFinding};
pub use command_buffer::{CommandAllocator, CommandBuffer, RESIDENCY_SETS_MAX};
pub use compute_encoder::{
    BufferLayout, ComputeCommandEncoder, ComputePassDescriptor, DispatchType, TextureOrigin,
};
pub use contents::{CommandBufferContents, PassInfo, UsedResource};
pub use device::{Device, DeviceDescriptor, ResourceKey, Trace, TracedCommit};
pub use error::{Error, ErrorKind, Result, SourceSpan};
pub use event::{Event, Fence, SharedEvent, SharedEventListener};
pub use extent::{Extent, ExtentGrid, ExtentQuery, Touched, TouchedBytes};
pub use format::PixelFormat;
pub use heap::{Heap, HeapDescriptor, HeapType};
pub use library::{
    BindingArray, BindingKind, ComputePipeline, Library, ReflectedBinding, Reflection, ShaderModule,
};
pub use lockgate_sync::{
    Barrier, BarrierScope, HazardTrackingMode, Model, RenderStages, Stages, VisibilityOptions,
};
pub use observe::{
    ByteSet, ConflictSide, DispatchRace, OBSERVED_MAX, Observation, Observe, ObservedAccess, ObservedCommand,
    ObservedKind, ObservedPart, ObservedResource, ObservedSpace, OutOfBounds, RaceSide, SourcePlace,
    UninitializedRead, Verdict,
};
pub use queue::{CommandQueue, CommandQueueDescriptor, Commit, CommitFeedback};
pub use residency::ResidencySet;
pub use sampler::{AddressMode, CompareFunction, FilterMode, Sampler, SamplerDescriptor};
pub use texture::{Texture, TextureDescriptor, TextureType};
