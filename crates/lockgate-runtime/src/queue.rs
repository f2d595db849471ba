//! Command queues, commits and their feedback.

use crate::backend::{CommandTiming, CommitReport};
use crate::command_buffer::{CommandBuffer, RESIDENCY_SETS_MAX};
use crate::completion::{CommitState, Events};
use crate::device::Device;
use crate::shared::Shared;
use crate::{CommandBufferContents, Error, ErrorKind, Event, ResidencySet, Result};
use lockgate_sync::{Code, CommitId, QueueId, QueueKind, Step};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How a queue is made.
///
/// ```
/// use lockgate_runtime::CommandQueueDescriptor;
/// assert!(CommandQueueDescriptor::default().hazard_tracking);
/// ```
#[doc(alias = "MTL4CommandQueueDescriptor")]
#[derive(Clone, Debug)]
pub struct CommandQueueDescriptor<'a> {
    /// Whether tracked resources are ordered automatically. Default: yes. `false` is what Metal 4 does: all
    /// resources count as untracked.
    pub hazard_tracking: bool,
    /// What messages and timelines call it.
    pub label: &'a str,
}

impl Default for CommandQueueDescriptor<'_> {
    fn default() -> Self {
        CommandQueueDescriptor { hazard_tracking: true, label: "" }
    }
}

/// Takes command buffers. All that is committed may run at once and in any order, unless something orders it.
/// Cheap to clone; all clones are one queue.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let queue = device.new_command_queue(&Default::default())?;
/// let done = device.new_shared_event("done");
/// queue.signal_event(&done, 1);
/// assert!(done.wait_until_signaled_value(1, std::time::Duration::from_secs(1)));
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTL4CommandQueue")]
#[derive(Clone)]
pub struct CommandQueue(Arc<QueueInner>);

struct QueueInner {
    shared: Arc<Shared>,
    id: QueueId,
    label: String,
    residency: Mutex<Vec<ResidencySet>>,
}

impl std::fmt::Debug for CommandQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandQueue").field("label", &self.0.label).finish_non_exhaustive()
    }
}

/// How a commit ended.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let queue = device.new_command_queue(&Default::default())?;
/// let feedback = queue.commit(&[])?.wait_until_completed()?;
/// assert!(feedback.error().is_none() && feedback.commands().is_empty());
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTL4CommitFeedback")]
#[derive(Clone, Debug)]
pub struct CommitFeedback {
    report: CommitReport,
}

impl CommitFeedback {
    /// The first failure, if anything failed. Work behind it was not run.
    pub fn error(&self) -> Option<&Error> {
        self.report.error.as_ref()
    }

    /// When the first command began, since the device was opened; zero if none ran.
    #[doc(alias = "GPUStartTime")]
    pub fn gpu_start_time(&self) -> Duration {
        self.report.commands.iter().map(|timing| timing.start).min().unwrap_or_default()
    }

    /// When the last command ended, since the device was opened; zero if none ran.
    #[doc(alias = "GPUEndTime")]
    pub fn gpu_end_time(&self) -> Duration {
        self.report.commands.iter().map(|timing| timing.end).max().unwrap_or_default()
    }

    /// When each command ran, in the order in which they ended; without tracing, a device may time many as one.
    pub fn commands(&self) -> &[CommandTiming] {
        &self.report.commands
    }
}

/// A commit on its way. Dropping it changes nothing: the work goes on.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let commit = device.new_command_queue(&Default::default())?.commit(&[])?;
/// commit.wait_until_completed()?;
/// assert!(commit.is_completed());
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Commit {
    ticket: Arc<Ticket>,
}

/// As long as somebody holds it, the completion can be waited for.
struct Ticket {
    shared: Arc<Shared>,
    id: CommitId,
    state: Arc<CommitState>,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Commit").field(&self.id.0).finish()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.release(self.id);
    }
}

impl Device {
    /// A queue. A device has as many as are asked for.
    ///
    /// # Errors
    /// None at present; devices with few queues may refuse in the future.
    #[doc(alias = "newMTL4CommandQueue")]
    pub fn new_command_queue(&self, descriptor: &CommandQueueDescriptor<'_>) -> Result<CommandQueue> {
        let hazard_tracking = descriptor.hazard_tracking;
        let model = lockgate_sync::QueueDescriptor { kind: QueueKind::Gpu, hazard_tracking };
        let id = self.0.new_queue(model, descriptor.label);
        let label = descriptor.label.to_owned();
        Ok(CommandQueue(Arc::new(QueueInner {
            shared: self.0.clone(),
            id,
            label,
            residency: Mutex::default(),
        })))
    }
}

impl CommandQueue {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Its id in the model, as reports name it.
    pub fn id(&self) -> QueueId {
        self.0.id
    }

    /// Commits command buffers, in this order. What the host wrote before is visible to them.
    ///
    /// # Errors
    /// A command buffer that is being recorded, was not ended, or was committed already; one of another
    /// device; one that uses a resource that was dropped. Then nothing is committed, and the others of the
    /// array have to be recorded again.
    #[track_caller]
    pub fn commit(&self, buffers: &[&CommandBuffer]) -> Result<Commit> {
        let shared = &self.0.shared;
        if shared.checking() {
            self.check_buffers(buffers, Location::caller());
        }
        let state = Arc::new(CommitState::default());
        let foreign = buffers.iter().find(|buffer| !Arc::ptr_eq(&buffer.device.0, shared));
        if let Some(buffer) = foreign {
            let message = format!("command buffer `{}` belongs to another device", buffer.label());
            return Err(Error::invalid(message));
        }
        let contents = buffers.iter().map(|buffer| buffer.take_ended(&state)).collect::<Result<Vec<_>>>();
        if let (true, Ok(contents)) = (shared.checking(), &contents) {
            self.check_residency(contents, Location::caller());
        }
        let committed = contents.and_then(|contents| shared.commit(self.0.id, &contents, state.clone()));
        // What was taken out of the array before the mistake can be recorded over.
        let id = committed.inspect_err(|_| state.refuse())?;
        Ok(Commit { ticket: Arc::new(Ticket { shared: shared.clone(), id, state }) })
    }

    /// What the model does not know: command buffers that are committed again.
    fn check_buffers(&self, buffers: &[&CommandBuffer], origin: &'static Location<'static>) {
        for buffer in buffers.iter().filter(|buffer| buffer.was_committed()) {
            let sentence = format!("command buffer `{}` was committed already", buffer.label());
            self.0.shared.raise(Code::CommittedTwice, &sentence, origin);
        }
    }

    /// Resources that no residency set holds, if there are sets at all.
    fn check_residency(&self, contents: &[Arc<CommandBufferContents>], origin: &'static Location<'static>) {
        let own = self.0.residency.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for contents in contents {
            let sets: Vec<&ResidencySet> = own.iter().chain(&contents.residency).collect();
            if sets.is_empty() {
                continue;
            }
            for used in contents.resources() {
                let Some((memory, label)) = self.0.shared.memory_of(used.key) else { continue };
                if !sets.iter().any(|set| set.holds(memory)) {
                    let sentence = format!("`{label}` is in no residency set of queue `{}`", self.label());
                    self.0.shared.raise(Code::ResourceNotResident, &sentence, origin);
                }
            }
        }
    }

    /// The event takes the value when everything that was committed to this queue before is done.
    #[doc(alias = "signalEvent")]
    pub fn signal_event(&self, event: &Event, value: u64) {
        let id = self.0.id;
        self.on_own(event, Step::SignalEvent { queue: id, event: event.0.id, value });
    }

    /// Everything that is committed to this queue later waits for the value; who signals it may come later too
    /// (`semantics` 4.8). A wait that nothing satisfies is given up after
    /// [`event_timeout`](crate::DeviceDescriptor::event_timeout), once somebody stands before it.
    #[doc(alias = "waitForEvent")]
    pub fn wait_for_event(&self, event: &Event, value: u64) {
        let id = self.0.id;
        self.on_own(event, Step::WaitForEvent { queue: id, event: event.0.id, value });
    }

    /// Makes the resources of a set resident for all later commits.
    ///
    /// # Errors
    /// More than 32 sets.
    #[doc(alias = "addResidencySet")]
    pub fn add_residency_set(&self, set: &ResidencySet) -> Result<()> {
        let mut sets = self.0.residency.lock().unwrap_or_else(PoisonError::into_inner);
        if sets.len() >= RESIDENCY_SETS_MAX {
            let message = format!(
                "queue `{}` has {RESIDENCY_SETS_MAX} residency sets (RESIDENCY_SETS_MAX)",
                self.label()
            );
            return Err(Error::invalid(message));
        }
        sets.push(set.clone());
        Ok(())
    }

    fn on_own(&self, event: &Event, step: Step) {
        if Arc::ptr_eq(&event.0.shared, &self.0.shared) {
            self.0.shared.step(step);
        } else {
            log::error!("event `{}` belongs to another device than queue `{}`", event.label(), self.label());
        }
    }
}

impl Commit {
    /// Its number among the commits of the device, as reports name it.
    pub fn id(&self) -> CommitId {
        self.ticket.id
    }

    /// Whether it is done.
    pub fn is_completed(&self) -> bool {
        self.ticket.shared.backend.look();
        self.ticket.state.is_done()
    }

    /// Waits until everything in it is done. What it wrote is then visible to the host.
    ///
    /// # Errors
    /// What failed in it, if anything did.
    #[doc(alias = "waitUntilCompleted")]
    pub fn wait_until_completed(&self) -> Result<CommitFeedback> {
        self.wait(None)
    }

    /// The same for at most so long.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`] if it is not done by then; what failed in it, if anything did.
    pub fn wait_for(&self, timeout: Duration) -> Result<CommitFeedback> {
        self.wait(Some(timeout))
    }

    /// Runs `handler` once everything in it is done, on the device's callback thread, one handler after the
    /// other. What it wrote is then visible to the handler.
    #[doc(alias = "addFeedbackHandler")]
    pub fn add_feedback_handler(&self, handler: impl FnOnce(&CommitFeedback) + Send + 'static) {
        let ticket = self.ticket.clone();
        let thread = ticket.shared.callbacks();
        let run = move || {
            ticket.shared.observe_commit(ticket.id);
            if let Some(report) = ticket.state.report() {
                handler(&CommitFeedback { report: report.clone() });
            }
        };
        let Ticket { shared, id, .. } = &*self.ticket;
        shared.completions.when_done(*id, thread, Box::new(run));
        shared.backend.attend();
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<CommitFeedback> {
        let Ticket { shared, id, state } = &*self.ticket;
        let done = |_: &Events| state.is_done();
        if !shared.wait(timeout, &done) {
            shared.note_timed_out();
            let message = format!("commit {} is not done after {:?}", id.0, timeout.unwrap_or_default());
            return Err(Error::new(ErrorKind::Timeout, message));
        }
        shared.observe_commit(*id);
        let report = state.report().cloned().unwrap_or_default();
        match &report.error {
            Some(error) => Err(error.clone()),
            None => Ok(CommitFeedback { report }),
        }
    }
}
