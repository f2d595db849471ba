//! The Vulkan device: submissions of the runtime on the hardware queues of a GPU.
//!
//! A submission's graph becomes a [`plan`], which says which hardware queue does what after which barrier, and the plan
//! becomes command buffers. The loader is opened when a device is asked for; a machine without one has no Vulkan device.
//!
//! ```
//! use lockgate_vulkan::{VulkanBackend, VulkanDescriptor, adapters};
//! use lockgate_runtime::{Device, DeviceDescriptor};
//!
//! for adapter in adapters() {
//!     println!("{}: {:?}", adapter.name, adapter.usable);
//! }
//! if let Ok(vulkan) = VulkanBackend::open(&VulkanDescriptor { software: true, ..Default::default() }) {
//!     let device = Device::new(Box::new(vulkan), DeviceDescriptor::default());
//!     assert_eq!(device.info().name, "vulkan");
//! }
//! ```
//!
//! Deliberately absent: knowledge of barriers, fences and tracking, which are edges of a graph by the time they come here.

mod adapter;
mod bind;
mod blit;
mod cache;
mod counters;
mod ends;
mod error;
mod fault;
mod flight;
mod format;
mod gpu;
mod indirect;
mod instance;
mod memory;
mod partial;
mod pipeline;
pub mod plan;
mod record;
mod sampler;
mod script;
mod shader;
mod texture;
mod timing;
mod tools;
mod transfer;
mod widen;
mod witness;
mod words;

pub use adapter::AdapterKind;
pub use counters::Counters;
pub use fault::Fault;
pub use instance::Validation;

use crate::adapter::Found;
use crate::cache::PipelineCache;
use crate::flight::Flight;
use crate::gpu::Gpu;
use crate::instance::Instance;
use crate::memory::{Buffer, Memory, Purpose, native};
use crate::pipeline::{Layout, LayoutKey, Pipeline};
use crate::sampler::Sampler;
use crate::shader::Shader;
use crate::texture::Texture;
use crate::transfer::Transfer;
use lockgate_runtime::backend::{
    Backend, ComputePipelineSource, MemoryUse, Native, Observer, Submission, TextureSpan,
};
use lockgate_runtime::{
    DeviceInfo, Error, ErrorKind, Result, SamplerDescriptor, SizeAndAlign, StorageMode, TextureDescriptor,
};
use lockgate_sync::CommitId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A device that the Vulkan loader knows, or why it cannot be used.
///
/// ```
/// let software = |a: &lockgate_vulkan::AdapterReport| a.kind == lockgate_vulkan::AdapterKind::Software;
/// let count = lockgate_vulkan::adapters().iter().filter(|adapter| software(adapter)).count();
/// assert!(count < 100);
/// ```
#[derive(Clone, Debug)]
pub struct AdapterReport {
    /// Its name, as the driver gives it.
    pub name: String,
    /// What it is, for people.
    pub description: String,
    /// What kind of thing it is.
    pub kind: AdapterKind,
    /// Whether it can be opened, and if not, why.
    pub usable: std::result::Result<(), String>,
}

/// How a Vulkan device is opened.
///
/// ```
/// let descriptor = lockgate_vulkan::VulkanDescriptor::default();
/// assert!(descriptor.adapter.is_none() && !descriptor.software);
/// ```
#[derive(Clone, Debug, Default)]
pub struct VulkanDescriptor {
    /// A part of its name, upper or lower case alike. Default: the best there is.
    pub adapter: Option<String>,
    /// Whether a driver that runs on the CPU will do where no adapter is named. Default: no.
    pub software: bool,
    /// What the validation layer looks at. Default: nothing.
    pub validation: Validation,
    /// Most hardware queues to use; 0 is all. Default: 0.
    pub queues: usize,
    /// Whether descriptors come from sets also where the driver can push them. Default: no. Older validation layers look
    /// into sets only.
    pub descriptor_sets: bool,
    /// The folder in which compiled pipelines are kept between runs. Default: none, and nothing is kept.
    pub pipeline_cache: Option<PathBuf>,
    /// What goes wrong on purpose. Default: nothing.
    pub fault: Option<Fault>,
}

/// The devices that the Vulkan loader knows, best first. A machine without a loader has none, and says so.
pub fn adapters() -> Vec<AdapterReport> {
    let found = Instance::open(Validation::Off).and_then(|instance| adapter::list(&instance));
    match found {
        Ok(found) => found.into_iter().map(report).collect(),
        Err(why) => vec![AdapterReport {
            name: "vulkan".into(),
            description: "Vulkan".into(),
            kind: AdapterKind::Other,
            usable: Err(why.to_string()),
        }],
    }
}

fn report(found: Found) -> AdapterReport {
    let Found { name, description, kind, adapter } = found;
    AdapterReport { name, description, kind, usable: adapter.map(|_| ()) }
}

/// Vulkan as a backend.
pub struct VulkanBackend {
    info: DeviceInfo,
    gpu: Arc<Gpu>,
    flight: Arc<Flight>,
    transfer: Transfer,
    cache: PipelineCache,
    layouts: Mutex<BTreeMap<LayoutKey, Arc<Layout>>>,
    watchers: Mutex<Vec<JoinHandle<()>>>,
}

impl VulkanBackend {
    /// Opens a device.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`]: no loader, no device, none of that name, or one that lacks what is needed, by name.
    pub fn open(descriptor: &VulkanDescriptor) -> Result<VulkanBackend> {
        let instance = Instance::open(descriptor.validation)?;
        let mut adapter = choose(adapter::list(&instance)?, descriptor)?;
        adapter.extras.push_descriptor &= !descriptor.descriptor_sets;
        if descriptor.queues > 0 {
            let mut left = descriptor.queues as u32;
            for family in &mut adapter.families {
                family.queues = family.queues.min(left);
                left -= family.queues;
            }
            adapter.families.retain(|family| family.queues > 0);
        }
        let gpu = Gpu::open(&adapter, descriptor.fault)?;
        let limits = gpu.limits;
        let queues = gpu.queues.len();
        let info = DeviceInfo {
            name: "vulkan".into(),
            description: format!("{}, {queues} hardware queues", adapter.description),
            max_buffer_size: limits.max_buffer_size,
            max_buffer_binding_size: limits.max_binding_size,
            storage_offset_alignment: limits.storage_offset_alignment,
            uniform_offset_alignment: limits.uniform_offset_alignment,
            max_texture_size: limits.max_texture_size,
            max_threadgroups: limits.max_threadgroups,
            max_immediates: limits.max_push_constants,
        };
        Ok(VulkanBackend {
            info,
            flight: Arc::new(Flight::new(&gpu)),
            transfer: Transfer::new(&gpu)?,
            cache: PipelineCache::open(&gpu, descriptor.pipeline_cache.as_deref())?,
            layouts: Mutex::default(),
            watchers: Mutex::default(),
            gpu,
        })
    }

    /// Where the validation layer's messages are kept, if it is on: all so far.
    pub fn validation_messages(&self) -> ValidationMessages {
        ValidationMessages(self.gpu.instance.messages.clone())
    }

    /// Counts what the device is given to do, also once it is a backend.
    pub fn counters(&self) -> Counters {
        self.flight.counters.clone()
    }

    /// Starts threads that wait for queues' timelines.
    fn watch(&self, queues: Vec<usize>) {
        for queue in queues {
            let flight = self.flight.clone();
            let thread = std::thread::Builder::new().name(format!("lockgate queue {queue}"));
            match thread.spawn(move || flight.watch(queue)) {
                Ok(thread) => self.watchers.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
                Err(why) => self.flight.cannot_watch(queue, &why),
            }
        }
    }

    fn layout(&self, shader: &Shader) -> Result<Arc<Layout>> {
        let key = Layout::key(&shader.slots);
        let mut layouts = self.layouts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layout) = layouts.get(&key) {
            return Ok(layout.clone());
        }
        let layout = Arc::new(Layout::new(&self.gpu, &key)?);
        layouts.insert(key, layout.clone());
        Ok(layout)
    }
}

/// What the validation layer has said about a device, also after that is gone.
///
/// ```
/// use lockgate_vulkan::{VulkanBackend, VulkanDescriptor};
/// if let Ok(vulkan) = VulkanBackend::open(&VulkanDescriptor { software: true, ..Default::default() }) {
///     assert!(vulkan.validation_messages().take().is_empty());
/// }
/// ```
#[derive(Clone)]
pub struct ValidationMessages(instance::Messages);

impl ValidationMessages {
    /// The messages since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn choose(found: Vec<Found>, descriptor: &VulkanDescriptor) -> Result<adapter::Adapter> {
    let wanted = descriptor.adapter.as_deref().map(str::to_lowercase);
    let mut why = Vec::new();
    for found in found {
        let fits = match &wanted {
            Some(wanted) => found.name.to_lowercase().contains(wanted.as_str()),
            None => descriptor.software || found.kind != AdapterKind::Software,
        };
        match found.adapter {
            Ok(adapter) if fits => return Ok(adapter),
            Ok(_) => why.push(format!("{}: not asked for", found.name)),
            Err(reason) => why.push(format!("{}: {reason}", found.name)),
        }
    }
    let asked = match &descriptor.adapter {
        Some(name) => format!("there is no Vulkan device `{name}`"),
        None => "there is no Vulkan device".into(),
    };
    let message = if why.is_empty() { asked } else { format!("{asked} ({})", why.join("; ")) };
    Err(Error::new(ErrorKind::Unsupported, message))
}

impl Drop for VulkanBackend {
    /// Work that was handed over is finished.
    fn drop(&mut self) {
        self.flight.close();
        let watchers = std::mem::take(self.watchers.get_mut().unwrap_or_else(PoisonError::into_inner));
        for watcher in watchers {
            if watcher.thread().id() == std::thread::current().id() {
                // The last handle was dropped by a callback on this very thread, which ends by itself.
                continue;
            }
            // A panic of a watcher has been reported by its thread.
            let _ = watcher.join();
        }
        // Nobody watched what was in flight when the device was lost.
        if self.gpu.lost.get().is_some() {
            self.gpu.wait_idle();
        }
    }
}

impl Backend for VulkanBackend {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn set_observer(&self, observer: Arc<dyn Observer>) {
        // Called once; a second observer would be a mistake of the runtime and is ignored.
        let _ = self.flight.observer.set(observer);
    }

    fn set_timing(&self, commands: bool) {
        self.flight.timing.store(commands, Ordering::Relaxed);
    }

    fn allocate(&self, size: u64, storage: StorageMode, usage: MemoryUse<'_>) -> Result<Native> {
        self.gpu.alive()?;
        let purpose = match usage {
            MemoryUse::Buffer => Purpose::Buffer,
            MemoryUse::Texture(texture) => {
                texture::supported(&self.gpu, texture)?;
                Purpose::Image(texture::needs(&self.gpu, texture))
            }
            MemoryUse::Heap => Purpose::Heap,
        };
        Ok(Arc::new(Memory::new(&self.gpu, size, storage, purpose)?))
    }

    fn texture_size_and_align(&self, texture: &TextureDescriptor) -> SizeAndAlign {
        texture::size_and_align(&self.gpu, texture)
    }

    fn create_buffer(&self, memory: &Native, offset: u64, size: u64) -> Result<Native> {
        self.gpu.alive()?;
        let buffer = Buffer::new(&self.gpu, memory, offset, size)?;
        if buffer.is_uncleared() {
            self.transfer.clear(&buffer)?;
        }
        Ok(Arc::new(buffer))
    }

    fn create_texture(&self, texture: &TextureDescriptor, memory: &Native, offset: u64) -> Result<Native> {
        self.gpu.alive()?;
        let made = Texture::new(&self.gpu, texture, memory, offset)?;
        if made.is_alone() {
            self.transfer.prepare(&made)?;
        }
        Ok(Arc::new(made))
    }

    fn create_sampler(&self, sampler: &SamplerDescriptor) -> Result<Native> {
        self.gpu.alive()?;
        Ok(Arc::new(Sampler::new(&self.gpu, sampler)?))
    }

    fn create_compute_pipeline(&self, source: &ComputePipelineSource<'_>) -> Result<Native> {
        self.gpu.alive()?;
        let shader = Shader::new(&self.gpu, source)?;
        let layout = self.layout(&shader)?;
        Ok(Arc::new(Pipeline::new(&self.gpu, layout, self.cache.raw, shader, source)?))
    }

    fn prepare_dispatch(&self, pipeline: &Native, threads: [u32; 3]) -> Result<()> {
        native::<Pipeline>(pipeline)?.cut(threads).map(drop)
    }

    fn contents(&self, buffer: &Native) -> Option<*mut u8> {
        native::<Buffer>(buffer).ok()?.mapped()
    }

    fn read_buffer(&self, buffer: &Native, offset: u64, into: &mut [u8]) -> Result<()> {
        self.gpu.alive()?;
        native::<Buffer>(buffer)?.read_into(offset, into)
    }

    fn write_buffer(&self, buffer: &Native, offset: u64, bytes: &[u8]) -> Result<()> {
        self.gpu.alive()?;
        native::<Buffer>(buffer)?.write_from(offset, bytes)
    }

    fn read_texture(&self, texture: &Native, from: &TextureSpan, into: &mut [u8]) -> Result<()> {
        self.gpu.alive()?;
        self.transfer.read(&*native::<Texture>(texture)?, from, into)
    }

    fn write_texture(&self, texture: &Native, to: &TextureSpan, bytes: &[u8]) -> Result<()> {
        self.gpu.alive()?;
        self.transfer.write(&*native::<Texture>(texture)?, to, bytes)
    }

    fn submit(&self, submission: Submission<'_>) -> Result<()> {
        let unwatched = self.flight.submit(submission)?;
        self.watch(unwatched);
        Ok(())
    }

    fn is_busy(&self, commit: CommitId) -> bool {
        self.flight.is_busy(commit)
    }

    fn help(&self, done: &dyn Fn() -> bool) {
        self.flight.help(done);
    }

    fn look(&self) {
        self.flight.advance();
    }

    fn attend(&self) {
        let unwatched = self.flight.attend();
        self.watch(unwatched);
    }
}
