//! Command buffers, and the allocators that hold what they record.

use crate::blit_encoder::BlitCommandEncoder;
use crate::bound::{Bound, DispatchLimits};
use crate::completion::CommitState;
use crate::compute_encoder::{ComputeCommandEncoder, ComputePassDescriptor};
use crate::contents::CommandBufferContents;
use crate::device::Device;
use crate::{Error, ErrorKind, Event, ResidencySet, Result};
use lockgate_sync::{Code, EventId, PassDescriptor, PassKind};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Most residency sets of a command buffer or queue.
pub const RESIDENCY_SETS_MAX: usize = 32;

/// Memory that command buffers record into. Cheap to clone; all clones are one allocator.
///
/// One command buffer records from it at a time. [`CommandAllocator::reset`] makes its memory usable again once
/// everything that was recorded is done; without a reset it grows.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let allocator = device.new_command_allocator("frame");
/// let mut commands = device.new_command_buffer("draw");
/// commands.begin(&allocator);
/// assert!(allocator.reset().is_err(), "`draw` is being recorded");
/// commands.end()?;
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTL4CommandAllocator")]
#[derive(Clone, Debug)]
pub struct CommandAllocator(Arc<AllocatorInner>);

#[derive(Debug)]
struct AllocatorInner {
    device: Device,
    label: String,
    pool: Mutex<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Arc<CommandBufferContents>>,
    used: Vec<Arc<CommandBufferContents>>,
    /// The command buffer that records from it now.
    recording: Option<Arc<str>>,
}

/// Passes and events in order, recorded once and committed once; then it may be begun again.
///
/// Recording returns nothing: the first mistake is kept and comes back from [`CommandBuffer::end`].
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let queue = device.new_command_queue(&Default::default())?;
/// let allocator = device.new_command_allocator("");
/// let buffer = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() })?;
/// let mut commands = device.new_command_buffer("clear");
/// commands.begin(&allocator);
/// let mut encoder = commands.compute_command_encoder("zero");
/// encoder.fill_buffer(&buffer, 0..64, 0);
/// encoder.end_encoding();
/// commands.end()?;
/// queue.commit(&[&commands])?.wait_until_completed()?;
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "MTL4CommandBuffer")]
#[derive(Debug)]
pub struct CommandBuffer {
    pub(crate) device: Device,
    label: Arc<str>,
    allocator: Option<CommandAllocator>,
    /// Where the contents lie while nobody records: the shell that the allocator and the device share.
    shell: Option<Arc<CommandBufferContents>>,
    pub(crate) contents: CommandBufferContents,
    ended: Mutex<Option<Arc<CommandBufferContents>>>,
    /// Whether what was ended last was committed.
    committed: AtomicBool,
    recording: bool,
    pub(crate) checking: bool,
    /// Of the device.
    pub(crate) limits: DispatchLimits,
    pub(crate) bound: Bound,
}

impl Device {
    /// An allocator.
    #[doc(alias = "newCommandAllocator")]
    pub fn new_command_allocator(&self, label: &str) -> CommandAllocator {
        let pool = Mutex::new(Pool::default());
        CommandAllocator(Arc::new(AllocatorInner { device: self.clone(), label: label.to_owned(), pool }))
    }

    /// A command buffer. It belongs to the device; any of its queues takes it.
    #[doc(alias = "newCommandBuffer")]
    pub fn new_command_buffer(&self, label: &str) -> CommandBuffer {
        CommandBuffer {
            device: self.clone(),
            label: label.into(),
            allocator: None,
            shell: None,
            contents: CommandBufferContents::default(),
            ended: Mutex::new(None),
            committed: AtomicBool::new(false),
            recording: false,
            checking: self.0.checking(),
            limits: DispatchLimits::of(self.info()),
            bound: Bound::default(),
        }
    }
}

impl CommandAllocator {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Makes all its memory usable again.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`], naming the command buffer that is still recorded, uncommitted, or running.
    #[track_caller]
    pub fn reset(&self) -> Result<()> {
        let timed_out = self.0.device.0.take_timed_out();
        self.reset_pool().inspect_err(|error| {
            let (code, why) = match timed_out {
                true => {
                    (Code::IgnoredTimeout, "a wait of the host timed out, and what it guards was reset: ")
                }
                false => (Code::AllocatorInUse, ""),
            };
            self.0.device.0.raise(code, &format!("{why}{error}"), Location::caller());
        })
    }

    fn reset_pool(&self) -> Result<()> {
        self.0.device.0.backend.look();
        let mut pool = self.pool();
        let label = &self.0.label;
        let in_use = |who: &str, how: &str| {
            let message = format!("allocator `{label}` cannot be reset: command buffer `{who}` {how}");
            Err(Error::new(ErrorKind::InUse, message))
        };
        if let Some(who) = &pool.recording {
            return in_use(who, "is being recorded");
        }
        for used in &pool.used {
            match &*used.commit() {
                Some(state) if !state.is_done() => return in_use(used.label(), "is still running"),
                None if Arc::strong_count(used) > 1 => {
                    return in_use(used.label(), "was ended but not committed");
                }
                _ => {}
            }
        }
        let Pool { free, used, .. } = &mut *pool;
        free.append(used);
        Ok(())
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty shell and the tables that it kept from its last use.
    fn take(&self, who: &Arc<str>) -> Result<(Arc<CommandBufferContents>, CommandBufferContents)> {
        let mut pool = self.pool();
        if let Some(other) = &pool.recording {
            let message = format!("allocator `{}` serves `{other}`, which is being recorded", self.0.label);
            return Err(Error::new(ErrorKind::InUse, message));
        }
        pool.recording = Some(who.clone());
        // The device may hold a shell a moment longer than the commit lasts.
        let at = pool.free.iter_mut().position(|shell| Arc::get_mut(shell).is_some());
        let mut shell = at.map_or_else(Arc::default, |at| pool.free.swap_remove(at));
        let contents = Arc::get_mut(&mut shell).map(std::mem::take).unwrap_or_default();
        Ok((shell, contents))
    }
}

impl CommandBuffer {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Begins recording into an allocator's memory. What it held and did not commit is forgotten.
    #[doc(alias = "beginCommandBufferWithAllocator")]
    pub fn begin(&mut self, allocator: &CommandAllocator) {
        self.abandon();
        match allocator.take(&self.label) {
            Ok((shell, contents)) => {
                self.shell = Some(shell);
                self.contents = contents;
                self.contents.clear();
                self.allocator = Some(allocator.clone());
            }
            Err(error) => {
                self.contents.clear();
                self.contents.fail(error);
            }
        }
        self.contents.set_label(&self.label);
        self.recording = true;
    }

    /// Ends recording and frees the allocator for another command buffer.
    ///
    /// # Errors
    /// The first mistake that was recorded; a command buffer that was not begun.
    #[doc(alias = "endCommandBuffer")]
    pub fn end(&mut self) -> Result<()> {
        if !self.recording {
            return Err(Error::invalid(format!("command buffer `{}` was not begun", self.label)));
        }
        self.recording = false;
        self.bound.clear();
        self.contents.recording.end_pass();
        let error = self.contents.error.take();
        let Some((allocator, mut shell)) = self.allocator.take().zip(self.shell.take()) else {
            return Err(error.unwrap_or_else(|| Error::invalid("the command buffer has no allocator")));
        };
        if let Some(inner) = Arc::get_mut(&mut shell) {
            *inner = std::mem::take(&mut self.contents);
        }
        let mut pool = allocator.pool();
        pool.recording = None;
        if let Some(error) = error {
            pool.free.push(shell);
            return Err(error.context(format!("command buffer `{}`", self.label)));
        }
        pool.used.push(shell.clone());
        drop(pool);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(shell);
        self.committed.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// A concurrent compute pass: dispatches, copies and fills that nothing orders but barriers and tracking.
    #[doc(alias = "computeCommandEncoder")]
    #[track_caller]
    pub fn compute_command_encoder(&mut self, label: &str) -> ComputeCommandEncoder<'_> {
        self.compute_command_encoder_with(&ComputePassDescriptor {
            label,
            ..ComputePassDescriptor::default()
        })
    }

    /// A compute pass as described: also Metal 3's serial one.
    #[doc(alias = "computeCommandEncoderWithDispatchType")]
    #[track_caller]
    pub fn compute_command_encoder_with(
        &mut self,
        descriptor: &ComputePassDescriptor<'_>,
    ) -> ComputeCommandEncoder<'_> {
        let serial = descriptor.dispatch_type == crate::DispatchType::Serial;
        let pass = PassDescriptor { serial, ..PassDescriptor::compute() };
        self.begin_pass(pass, descriptor.label);
        ComputeCommandEncoder::new(self)
    }

    /// Metal 3's blit pass: copies and fills in the order in which they are encoded.
    #[doc(alias = "blitCommandEncoder")]
    #[track_caller]
    pub fn blit_command_encoder(&mut self, label: &str) -> BlitCommandEncoder<'_> {
        self.begin_pass(PassDescriptor::new(PassKind::Blit), label);
        BlitCommandEncoder(ComputeCommandEncoder::new(self))
    }

    /// Metal 3: the event takes the value when the passes of this command buffer so far are done (A23).
    #[doc(alias = "encodeSignalEvent")]
    #[track_caller]
    pub fn encode_signal_event(&mut self, event: &Event, value: u64) {
        if let Some(event) = self.own_event(event) {
            self.contents.note_origin(Location::caller());
            self.contents.recording.signal_event(event, value);
        }
    }

    /// Metal 3: the rest of this command buffer waits for the value (A5).
    #[doc(alias = "encodeWaitForEvent")]
    #[track_caller]
    pub fn encode_wait_for_event(&mut self, event: &Event, value: u64) {
        if let Some(event) = self.own_event(event) {
            self.contents.note_origin(Location::caller());
            self.contents.recording.wait_for_event(event, value);
        }
    }

    /// Makes the resources of a set resident while the command buffer runs; at most 32 sets.
    #[doc(alias = "useResidencySet")]
    pub fn use_residency_set(&mut self, set: &ResidencySet) {
        if self.contents.residency.len() >= RESIDENCY_SETS_MAX {
            let message = format!("more than {RESIDENCY_SETS_MAX} residency sets (RESIDENCY_SETS_MAX)");
            self.contents.fail(Error::invalid(message));
            return;
        }
        self.contents.residency.push(set.clone());
    }

    pub(crate) fn require_recording(&mut self) {
        if !self.recording {
            let message = format!("command buffer `{}` records only between begin and end", self.label);
            self.contents.fail(Error::invalid(message));
        }
    }

    #[track_caller]
    fn begin_pass(&mut self, pass: PassDescriptor, label: &str) {
        self.require_recording();
        self.contents.note_origin(Location::caller());
        self.contents.recording.begin_pass(pass);
        self.contents.begin_pass(pass.kind, label);
    }

    fn own_event(&mut self, event: &Event) -> Option<EventId> {
        self.require_recording();
        if !Arc::ptr_eq(&event.0.shared, &self.device.0) {
            let message = format!("event `{}` belongs to another device", event.label());
            self.contents.fail(Error::invalid(message));
            return None;
        }
        Some(event.0.id)
    }

    /// Whether what it held was committed and nothing was recorded since.
    pub(crate) fn was_committed(&self) -> bool {
        !self.recording && self.committed.load(Ordering::Relaxed)
    }

    /// The recorded contents, once: a second commit of the same recording is an error (A24).
    pub(crate) fn take_ended(&self, state: &Arc<CommitState>) -> Result<Arc<CommandBufferContents>> {
        if self.recording {
            let message = format!("command buffer `{}` is still being recorded", self.label);
            return Err(Error::invalid(message));
        }
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(contents) = ended else {
            let message = format!(
                "command buffer `{}` holds no recording: it was committed already, or never ended",
                self.label
            );
            return Err(Error::invalid(message));
        };
        *contents.commit() = Some(state.clone());
        self.committed.store(true, Ordering::Relaxed);
        Ok(contents)
    }

    /// Gives back what is recorded and not ended.
    fn abandon(&mut self) {
        self.recording = false;
        self.bound.clear();
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some((allocator, mut shell)) = self.allocator.take().zip(self.shell.take()) {
            if let Some(inner) = Arc::get_mut(&mut shell) {
                *inner = std::mem::take(&mut self.contents);
            }
            let mut pool = allocator.pool();
            pool.recording = None;
            pool.free.push(shell);
        }
    }
}

impl Drop for CommandBuffer {
    fn drop(&mut self) {
        self.abandon();
    }
}
