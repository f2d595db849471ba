//! What a device must be able to do: the one boundary between the runtime and the devices.
//!
//! A backend never sees an encoder, a fence, a barrier or a tracked resource. It gets commands with resolved
//! resources, and a graph that says which of them must wait for which. Everything was validated before; a
//! backend that meets an invalid submission has met a bug of the runtime. Errors are those that nobody above
//! could foresee.
//!
//! [`null`](crate::null) is the smallest backend and the template for the next.

use crate::{
    CommandBufferContents, Error, ErrorKind, Observation, Observe, PixelFormat, Result, SamplerDescriptor,
    ShaderModule, TextureDescriptor,
};
use lockgate_sync::{CommandRef, CommitId, EventId, Graph, QueueId};
use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

/// An object of a backend, opaque to the runtime: memory, a buffer, a texture, a sampler or a pipeline.
pub type Native = Arc<dyn Any + Send + Sync>;

/// What a device is and can do.
///
/// ```
/// let info = lockgate_runtime::Device::null().info().clone();
/// assert_eq!(info.name, "null");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its name, as `--device` and messages spell it.
    pub name: String,
    /// What it runs on, for people.
    pub description: String,
    /// Largest buffer or heap, bytes.
    pub max_buffer_size: u64,
    /// Largest side of a texture, texels.
    pub max_texture_size: u32,
    /// Most bytes of a buffer that a kernel sees through one binding.
    pub max_buffer_binding_size: u64,
    /// What the first byte of a range bound as `var<storage>` is a multiple of, a power of two from 4 on.
    pub storage_offset_alignment: u64,
    /// The same for `var<uniform>`.
    pub uniform_offset_alignment: u64,
    /// Most workgroups of a dispatch along one axis.
    pub max_threadgroups: u32,
    /// Most bytes of immediates of a dispatch.
    pub max_immediates: u32,
}

/// Whether the host can reach a resource.
///
/// ```
/// assert_eq!(lockgate_runtime::StorageMode::default(), lockgate_runtime::StorageMode::Shared);
/// ```
#[doc(alias = "MTLStorageMode")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StorageMode {
    /// Host and device share it.
    #[default]
    Shared,
    /// The device alone.
    Private,
}

/// Bytes and alignment that a resource needs in a heap.
///
/// ```
/// let need = lockgate_runtime::SizeAndAlign { size: 100, align: 16 };
/// assert_eq!(need.align_up(33), 48);
/// ```
#[doc(alias = "MTLSizeAndAlign")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeAndAlign {
    /// Bytes.
    pub size: u64,
    /// Alignment of its first byte, a power of two.
    pub align: u64,
}

impl SizeAndAlign {
    /// The next offset from `offset` on that is aligned.
    pub fn align_up(&self, offset: u64) -> u64 {
        offset.saturating_add(self.align - 1) & !(self.align - 1)
    }
}

/// What memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse<'a> {
    /// One buffer.
    Buffer,
    /// One texture.
    Texture(&'a TextureDescriptor),
    /// Buffers and textures of a heap.
    Heap,
}

/// A pipeline to make.
pub struct ComputePipelineSource<'a> {
    /// The module, validated.
    pub module: &'a ShaderModule,
    /// Name of its entry point, which exists and is a compute one.
    pub entry_point: &'a str,
    /// Values of override constants, by name or number.
    pub constants: &'a [(String, f64)],
    /// What messages call it.
    pub label: &'a str,
}

/// A range of a buffer of [`CommandBufferContents::resources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSpan {
    /// Position in the table of resources.
    pub resource: u32,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Texels of one mip level of a texture of [`CommandBufferContents::resources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextureSpan {
    /// Position in the table of resources.
    pub resource: u32,
    /// Mip level.
    pub level: u32,
    /// First array slice.
    pub slice: u32,
    /// First texel.
    pub origin: [u32; 3],
    /// Texels.
    pub size: [u32; 3],
}

/// How rows of texels lie in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowLayout {
    /// Bytes from row to row.
    pub bytes_per_row: u64,
    /// Bytes from image to image of a 3D texture.
    pub bytes_per_image: u64,
}

/// The part and reading of a texture that a kernel sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextureViewSpan {
    /// How texels are read.
    pub format: PixelFormat,
    /// First and end mip level.
    pub levels: (u32, u32),
    /// First and end slice.
    pub slices: (u32, u32),
}

/// One binding of a dispatch, in the order of the pipeline's [`bindings`](crate::Reflection::bindings). An array of
/// bindings has an entry for each of its elements, one after the other: as many as its type says, and for arrays without a
/// size, all the same number, the last of them not bound. [`Reflection::places`](crate::Reflection::places) tells where each begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// A range of a buffer.
    Buffer(BufferSpan),
    /// A view of a texture.
    Texture {
        /// Position in the table of resources.
        resource: u32,
        /// The part that is seen.
        view: TextureViewSpan,
    },
    /// A sampler: position in the table of samplers.
    Sampler(u32),
    /// An element of an array that is not bound. A kernel that reaches it reads zero; what it writes is dropped.
    Nothing,
}

/// How large a dispatch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grid {
    /// So many invocations; workgroups at the end may be cut.
    Threads([u32; 3]),
    /// So many workgroups.
    Threadgroups([u32; 3]),
    /// As many workgroups as three `u32` in a buffer say.
    Indirect(BufferSpan),
}

/// What a device executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// A kernel.
    Dispatch {
        /// Position in the table of pipelines.
        pipeline: u32,
        /// First of its bindings in [`CommandBufferContents::bindings`].
        bindings: u32,
        /// How many.
        binding_count: u32,
        /// How large.
        grid: Grid,
        /// First byte of its immediates in [`CommandBufferContents::immediates`], and their number.
        immediates: (u32, u32),
    },
    /// Bytes from buffer to buffer; both spans are equally long and do not overlap.
    CopyBuffer {
        /// From here.
        from: BufferSpan,
        /// To here.
        to: BufferSpan,
    },
    /// Rows of a buffer to texels.
    CopyBufferToTexture {
        /// From here.
        from: BufferSpan,
        /// How its rows lie.
        layout: RowLayout,
        /// To here.
        to: TextureSpan,
    },
    /// Texels to rows of a buffer.
    CopyTextureToBuffer {
        /// From here.
        from: TextureSpan,
        /// To here.
        to: BufferSpan,
        /// How its rows lie.
        layout: RowLayout,
    },
    /// Texels to texels of a format of the same size.
    CopyTexture {
        /// From here.
        from: TextureSpan,
        /// To here; `size` is that of `from`.
        to: TextureSpan,
    },
    /// One byte into a range.
    FillBuffer {
        /// The range.
        to: BufferSpan,
        /// The byte.
        value: u8,
    },
    /// All levels but the first from those before them, with a box filter.
    GenerateMipmaps {
        /// Position in the table of resources.
        resource: u32,
    },
    /// Nothing to run: an order in the model only.
    Nothing,
}

/// A command buffer of a commit with everything that it names.
#[derive(Clone)]
pub struct SubmittedBuffer {
    /// What was recorded.
    pub contents: Arc<CommandBufferContents>,
    /// The native objects of [`CommandBufferContents::resources`].
    pub resources: Vec<Native>,
    /// The native objects of [`CommandBufferContents::samplers`].
    pub samplers: Vec<Native>,
    /// The native objects of [`CommandBufferContents::pipelines`].
    pub pipelines: Vec<Native>,
}

/// A commit that is new to a device.
pub struct SubmittedCommit {
    /// Its number.
    pub id: CommitId,
    /// The command queue that it was committed to: a device with several hardware queues may choose by it.
    pub queue: QueueId,
    /// Its command buffers.
    pub buffers: Vec<SubmittedBuffer>,
}

/// New work for a device.
pub struct Submission<'a> {
    /// Commits that are new; their works may come in this graph or in later ones.
    pub commits: Vec<SubmittedCommit>,
    /// New vertices. Edges to vertices that are done or were never in a graph hold nothing back.
    pub graph: &'a Graph,
}

/// When a command ran.
///
/// ```
/// use lockgate_runtime::CommandTiming;
/// use std::time::Duration;
/// let timing = CommandTiming::default();
/// assert_eq!(timing.end - timing.start, Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTiming {
    /// Which command; nothing where many are timed as one, and in a default value.
    pub command: Option<CommandRef>,
    /// Since the device was opened.
    pub start: Duration,
    /// Since the device was opened.
    pub end: Duration,
    /// Which worker ran it, or ran most of it; 0 is the thread that waits.
    pub worker: u32,
}

/// How a commit ended.
#[derive(Clone, Debug, Default)]
pub struct CommitReport {
    /// What failed, if anything did: the first failure. Works behind it were not run.
    pub error: Option<crate::Error>,
    /// When each command ran, in the order they ended. Commands that did not run are not in it.
    pub commands: Vec<CommandTiming>,
}

/// Whom a backend tells what has happened, from any thread, also inside [`Backend::submit`]. It does not call
/// back.
pub trait Observer: Send + Sync {
    /// An event has the value.
    fn signaled(&self, event: EventId, value: u64);
    /// A commit is done.
    fn completed(&self, commit: CommitId, report: CommitReport);
    /// Works of a commit have ended; the host may be waiting for memory.
    fn progressed(&self, commit: CommitId);
    /// Whether somebody sleeps until something ends, or is to be called then: see [`Backend::attend`]. To be asked without
    /// a lock that [`Backend::is_busy`] takes.
    fn is_awaited(&self) -> bool;
    /// There is something to run that a thread could help with: who sleeps until something ends comes again to
    /// [`Backend::help`].
    fn help_wanted(&self);
    /// The device is gone and takes nothing more. Its commits are reported as completed with the error, its events
    /// will not be signaled.
    fn lost(&self, error: crate::Error);
}

/// A device.
pub trait Backend: Send + Sync {
    /// What it is and can do.
    fn info(&self) -> &DeviceInfo;
    /// Where to report. Called once, before anything else.
    fn set_observer(&self, observer: Arc<dyn Observer>);
    /// What to record of what runs. Called once, before anything is made.
    ///
    /// # Errors
    /// It cannot.
    fn set_observe(&self, observe: Observe) -> Result<()> {
        match observe {
            Observe::Nothing => Ok(()),
            Observe::Accesses => {
                let message = format!("the device `{}` cannot observe accesses", self.info().name);
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }
    /// What was recorded since the last call of commands that have ended.
    fn take_observation(&self) -> Observation {
        Observation::default()
    }
    /// Whether each command is timed, for timelines. Without, a device may report times for larger pieces of work.
    fn set_timing(&self, _commands: bool) {}
    /// Memory for a heap or a resource. What a resource of its own begins with is zeros.
    fn allocate(&self, size: u64, storage: StorageMode, usage: MemoryUse<'_>) -> Result<Native>;
    /// What a texture needs in a heap.
    fn texture_size_and_align(&self, texture: &TextureDescriptor) -> SizeAndAlign;
    /// A buffer at an offset of a memory.
    fn create_buffer(&self, memory: &Native, offset: u64, size: u64) -> Result<Native>;
    /// A texture at an offset of a memory.
    fn create_texture(&self, texture: &TextureDescriptor, memory: &Native, offset: u64) -> Result<Native>;
    /// A sampler.
    fn create_sampler(&self, sampler: &SamplerDescriptor) -> Result<Native>;
    /// A compute pipeline.
    fn create_compute_pipeline(&self, source: &ComputePipelineSource<'_>) -> Result<Native>;
    /// Makes what a dispatch of so many invocations needs beside the pipeline, where they cut workgroups. Called by whoever
    /// records it, so that nothing is left to make, or to refuse, at commit.
    ///
    /// # Errors
    /// It cannot run such a dispatch.
    fn prepare_dispatch(&self, _pipeline: &Native, _threads: [u32; 3]) -> Result<()> {
        Ok(())
    }
    /// The address of a shared buffer, if it has one.
    fn contents(&self, buffer: &Native) -> Option<*mut u8>;
    /// Copies bytes of a shared buffer out. Nothing on the device touches them meanwhile.
    fn read_buffer(&self, buffer: &Native, offset: u64, into: &mut [u8]) -> Result<()>;
    /// Copies bytes into a shared buffer. Nothing on the device touches them meanwhile.
    fn write_buffer(&self, buffer: &Native, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Copies texels of one slice out, rows packed. Nothing on the device touches them meanwhile.
    fn read_texture(&self, texture: &Native, from: &TextureSpan, into: &mut [u8]) -> Result<()>;
    /// Copies packed rows into texels of one slice. Nothing on the device touches them meanwhile.
    fn write_texture(&self, texture: &Native, to: &TextureSpan, bytes: &[u8]) -> Result<()>;
    /// Takes work. Returns at once.
    fn submit(&self, submission: Submission<'_>) -> Result<()>;
    /// Whether works of the commit that were submitted have not ended, as far as was noticed. It reports nothing.
    fn is_busy(&self, commit: CommitId) -> bool;
    /// Lends the calling thread to the device until `done` says so or there is nothing to run. A device that
    /// needs no thread returns at once.
    fn help(&self, done: &dyn Fn() -> bool);
    /// Notices what has ended meanwhile, and reports it. A device that reports by itself need not.
    fn look(&self) {}
    /// Somebody is about to sleep until something ends, or is to be called then: what was submitted so far is reported
    /// as it ends, and so is what is submitted while [`Observer::is_awaited`]. A device that always does so need not listen.
    fn attend(&self) {}
}
