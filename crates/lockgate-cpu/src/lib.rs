//! The embedded CPU device: WGSL compiled in process, several queues, no driver.
//!
//! It honours exactly the orders of a submission and nothing more: commands that nothing orders run at the same
//! time and out of recording order, on a pool of workers and on every thread that waits. With an [`Order`] it
//! runs one command at a time in a reproducible order instead.
//!
//! ```
//! use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
//! use lockgate_runtime::{Device, DeviceDescriptor};
//!
//! let cpu = CpuBackend::new(&CpuDescriptor { order: Order::Reverse, ..Default::default() })?;
//! let device = Device::new(Box::new(cpu), DeviceDescriptor::default());
//! assert_eq!(device.info().name, "cpu");
//! # Ok::<(), lockgate_runtime::Error>(())
//! ```
//!
//! `unsafe` is confined to [`kernel`] and to the module that holds memory. Deliberately absent: knowledge of
//! barriers, fences and tracking, which are edges of a graph by the time they come here.

mod adversary;
mod bell;
mod copy;
mod execute;
mod graph;
pub mod kernel;
mod made;
mod memory;
mod observe;
mod primitives;
mod resource;
mod scheduler;
mod slot;
mod watchdog;
mod written;

use crate::execute::Pipeline;
use crate::kernel::{Engine, Kernel, KernelDescriptor, Lanes};
use crate::made::Kernels;
use crate::memory::Memory;
use crate::observe::Log;
use crate::resource::{Buffer, Texture, memory_of, native};
use crate::scheduler::Scheduler;
use crate::written::Tenants;
use lockgate_runtime::backend::{
    Backend, ComputePipelineSource, MemoryUse, Native, Observer, Submission, TextureSpan,
};
use lockgate_runtime::{
    DeviceInfo, Error, ErrorKind, Observation, Observe, Result, SamplerDescriptor, SizeAndAlign, SourceSpan,
    StorageMode, TextureDescriptor,
};
use lockgate_sync::CommitId;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

/// In which order the device runs what nothing orders.
///
/// ```
/// use lockgate_cpu::Order;
/// let order = Order::Given(vec![2, 0, 1]);
/// assert_ne!(order, Order::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// At the same time and in any order, on all threads.
    #[default]
    Free,
    /// One at a time, as recorded.
    Recording,
    /// One at a time, the last recorded first.
    Reverse,
    /// One at a time, chosen by a generator that this number seeds.
    Random(u64),
    /// All at once on one thread and in small steps, as badly for the program as the model allows: workgroups and
    /// pieces of copies that nothing orders take turns at any access, and where an order publishes nothing, or there is
    /// none, loads may give old values and stores take effect late. The number seeds all choices: it gives the same
    /// bytes each time. Kernels are interpreted. A program without hazards gives what [`Order::Recording`] gives.
    Adversary(u64),
    /// One at a time, by their numbers: works are counted from 0 as they are recorded, over the life of the
    /// device. Where the named work cannot run yet, or the list is over, the first recorded one that can runs.
    Given(Vec<u64>),
}

/// How a CPU device is made.
///
/// ```
/// let descriptor = lockgate_cpu::CpuDescriptor::default();
/// assert_eq!(descriptor.time_limit.as_secs(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct CpuDescriptor {
    /// In which order unordered commands run. Default: free.
    pub order: Order,
    /// Threads that run commands, the waiting one included. Default: 0, as many as the machine has.
    pub threads: usize,
    /// How long one thread may run one part of a dispatch. Default: 10 s.
    pub time_limit: Duration,
    /// Who runs kernels. Default: machine code, and the interpreter for what that does not take.
    pub engine: Engine,
    /// How many invocations machine code runs at once. Default: four.
    pub lanes: Lanes,
}

impl Default for CpuDescriptor {
    fn default() -> CpuDescriptor {
        CpuDescriptor {
            order: Order::Free,
            threads: 0,
            time_limit: Duration::from_secs(10),
            engine: Engine::Auto,
            lanes: Lanes::Four,
        }
    }
}

impl CpuDescriptor {
    fn threads(&self) -> usize {
        match (&self.order, self.threads) {
            (Order::Free, 0) => std::thread::available_parallelism().map_or(1, usize::from),
            (Order::Free, threads) => threads,
            _ => 1,
        }
    }
}

/// The CPU as a backend.
pub struct CpuBackend {
    info: DeviceInfo,
    scheduler: Arc<Scheduler>,
    workers: Vec<JoinHandle<()>>,
    engine: Engine,
    lanes: Lanes,
    kernels: Kernels,
}

impl CpuBackend {
    /// A device with its own workers.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn new(descriptor: &CpuDescriptor) -> Result<CpuBackend> {
        let threads = descriptor.threads();
        let info = DeviceInfo {
            name: "cpu".into(),
            description: format!("embedded CPU device, {threads} threads, {}", std::env::consts::ARCH),
            max_buffer_size: 1 << 34,
            max_texture_size: 16384,
            max_buffer_binding_size: 1 << 34,
            storage_offset_alignment: 4,
            uniform_offset_alignment: 4,
            max_threadgroups: 65535 * 256,
            max_immediates: 4096,
        };
        let scheduler = Arc::new(Scheduler::new(descriptor, info.max_threadgroups));
        let (engine, lanes) = (descriptor.engine, descriptor.lanes);
        let kernels = Kernels::default();
        let mut backend = CpuBackend { info, scheduler, workers: Vec::new(), engine, lanes, kernels };
        // A thread that waits is one of them; so that work goes on without one, there is always a worker.
        let workers = if descriptor.order == Order::Free { threads.saturating_sub(1).max(1) } else { 0 };
        for worker in 1..=workers {
            let scheduler = backend.scheduler.clone();
            let thread = std::thread::Builder::new().name(format!("lockgate worker {worker}"));
            let thread = thread.spawn(move || scheduler.serve(worker as u32)).map_err(|error| {
                Error::new(ErrorKind::OutOfMemory, format!("the device cannot start a worker: {error}"))
            })?;
            backend.workers.push(thread);
        }
        Ok(backend)
    }
}

impl Drop for CpuBackend {
    /// Work that runs is finished; work that has not begun is dropped.
    fn drop(&mut self) {
        self.scheduler.close();
        for worker in self.workers.drain(..) {
            if worker.thread().id() == std::thread::current().id() {
                // The last handle was dropped by a callback on this very worker, which ends by itself.
                continue;
            }
            // A panic of a worker has been reported by its thread.
            let _ = worker.join();
        }
    }
}

impl Backend for CpuBackend {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn set_observer(&self, observer: Arc<dyn Observer>) {
        // Called once; a second observer would be a mistake of the runtime and is ignored.
        let _ = self.scheduler.observer.set(observer);
    }

    fn set_observe(&self, observe: Observe) -> Result<()> {
        if observe == Observe::Accesses {
            if self.scheduler.adversary.is_some() {
                let message = "a device with an adversary cannot observe accesses";
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
            // Called once, before anything is made.
            let _ = self.scheduler.log.set(Log::default());
        }
        Ok(())
    }

    fn take_observation(&self) -> Observation {
        self.scheduler.log.get().map(Log::take).unwrap_or_default()
    }

    fn set_timing(&self, commands: bool) {
        self.scheduler.timing.store(commands, Ordering::Relaxed);
    }

    fn allocate(&self, size: u64, storage: StorageMode, _usage: MemoryUse<'_>) -> Result<Native> {
        Ok(Arc::new(match self.scheduler.log.get() {
            None if self.scheduler.adversary.is_some() => Memory::remembering(size)?,
            None => Memory::new(size)?,
            Some(_) => Memory::observed(size, Tenants::new(storage))?,
        }))
    }

    fn texture_size_and_align(&self, texture: &TextureDescriptor) -> SizeAndAlign {
        SizeAndAlign { size: resource::texture_size(texture), align: 256 }
    }

    fn create_buffer(&self, memory: &Native, offset: u64, size: u64) -> Result<Native> {
        Ok(Arc::new(Buffer::new(memory_of(memory)?, offset, size)))
    }

    fn create_texture(&self, texture: &TextureDescriptor, memory: &Native, offset: u64) -> Result<Native> {
        Ok(Arc::new(Texture::new(texture, memory_of(memory)?, offset)))
    }

    fn create_sampler(&self, sampler: &SamplerDescriptor) -> Result<Native> {
        Ok(Arc::new(resource::sampler(sampler)))
    }

    fn create_compute_pipeline(&self, source: &ComputePipelineSource<'_>) -> Result<Native> {
        let observed = self.scheduler.log.get().is_some();
        let engine = if self.scheduler.adversary.is_some() { Engine::Interpreter } else { self.engine };
        let (engine, lanes) = match (observed, engine, self.lanes) {
            // What machine code cannot tell, the interpreter can.
            (true, Engine::Jit, _) => (Engine::Auto, Lanes::Watched),
            (true, engine, _) => (engine, Lanes::Watched),
            // Nobody is there to be told.
            (false, engine, Lanes::Watched) => (engine, Lanes::One),
            (false, engine, lanes) => (engine, lanes),
        };
        let make = || {
            Kernel::new(&KernelDescriptor {
                module: &source.module.module,
                info: &source.module.info,
                entry_point: source.entry_point,
                constants: source.constants,
                engine,
                lanes,
            })
        };
        let kernel = self.kernels.get(source, make).map_err(|error| {
            let kind = if error.feature().is_some() { ErrorKind::Unsupported } else { ErrorKind::Kernel };
            let rejected = Error::new(kind, format!("kernel `{}`: {error}", source.label));
            match error.span().to_range() {
                Some(bytes) => rejected.at(SourceSpan { bytes, label: error.to_string() }),
                None => rejected,
            }
        })?;
        let text = observed.then(|| source.module.source.clone());
        Ok(Arc::new(Pipeline { kernel, label: source.label.to_owned(), source: text }))
    }

    fn contents(&self, buffer: &Native) -> Option<*mut u8> {
        let buffer = native::<Buffer>(buffer).ok()?;
        // From here on anything may be written at any time.
        buffer.home().into_iter().for_each(|home| home.write(&home.range().into()));
        Some(buffer.whole().start)
    }

    fn read_buffer(&self, buffer: &Native, offset: u64, into: &mut [u8]) -> Result<()> {
        native::<Buffer>(buffer)?.span(offset, into.len() as u64).read_into(into);
        Ok(())
    }

    fn write_buffer(&self, buffer: &Native, offset: u64, bytes: &[u8]) -> Result<()> {
        let buffer = native::<Buffer>(buffer)?;
        let span = buffer.span(offset, bytes.len() as u64);
        span.write_from(bytes);
        buffer.memory().forget(&span);
        if let Some(home) = buffer.home() {
            let start = home.range().start + offset;
            home.write(&(start..start + bytes.len() as u64).into());
        }
        Ok(())
    }

    fn read_texture(&self, texture: &Native, from: &TextureSpan, into: &mut [u8]) -> Result<()> {
        native::<Texture>(texture)?.level(from.level, from.slice).read_into(into);
        Ok(())
    }

    fn write_texture(&self, texture: &Native, to: &TextureSpan, bytes: &[u8]) -> Result<()> {
        let texture = native::<Texture>(texture)?;
        let level = texture.level(to.level, to.slice);
        level.write_from(bytes);
        texture.memory().forget(&level);
        if let Some(home) = texture.home() {
            let start = level.start as u64 - home.memory.address();
            home.write(&(start..start + level.size as u64).into());
        }
        Ok(())
    }

    fn submit(&self, submission: Submission<'_>) -> Result<()> {
        self.scheduler.submit(submission);
        Ok(())
    }

    fn is_busy(&self, commit: CommitId) -> bool {
        self.scheduler.is_busy(commit)
    }

    fn help(&self, done: &dyn Fn() -> bool) {
        self.scheduler.help(done);
    }
}
