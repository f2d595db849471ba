//! The device as a user opens it, and what it hands out: reports, observations and traces.
//!
//! Deliberately absent: what all its clones share (`shared.rs`), and what it makes, each beside its own type.

use crate::backend::{Backend, CommitReport, DeviceInfo};
use crate::checking::{Checking, Report, RuntimeFinding};
use crate::completion::CommitState;
use crate::shared::Shared;
use crate::{CommandBufferContents, Observation, Observe, Result};
use lockgate_sync::{CommitId, Graph, Model, QueueId, ResourceId};
use std::sync::Arc;
use std::time::Duration;

/// How a device is opened.
///
/// ```
/// use lockgate_runtime::{Checking, DeviceDescriptor};
/// let descriptor = DeviceDescriptor { checking: Checking::Collect, ..DeviceDescriptor::default() };
/// assert_eq!(descriptor.event_timeout.as_secs(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct DeviceDescriptor {
    /// The switches of the model.
    pub model: Model,
    /// Whether conflicts of untracked resources are looked for. Default: [`Checking::Collect`] in debug builds, off in
    /// release builds. The environment variable `LOCKGATE_CHECKING` overrides it.
    pub checking: Checking,
    /// Whether everything that is committed is kept for [`Device::take_trace`]. Default: no.
    pub tracing: bool,
    /// What the device records of what it runs, for [`Device::take_observation`]. Default: nothing. A device that
    /// cannot observe is refused by [`Device::open`].
    pub observe: Observe,
    /// How long a host may stand before a wait for an event that nothing brings until the wait is given up
    /// (A19). Default: 4 s.
    pub event_timeout: Duration,
}

impl Default for DeviceDescriptor {
    fn default() -> DeviceDescriptor {
        let event_timeout = Duration::from_secs(4);
        DeviceDescriptor {
            model: Model::default(),
            checking: Checking::default(),
            tracing: false,
            observe: Observe::Nothing,
            event_timeout,
        }
    }
}

/// What was committed to a device that traces, with all orders: what a timeline is drawn from.
///
/// ```
/// use lockgate_runtime::{Device, DeviceDescriptor, null::NullBackend};
/// let descriptor = DeviceDescriptor { tracing: true, ..Default::default() };
/// let device = Device::new(Box::new(NullBackend::default()), descriptor);
/// device.new_command_queue(&Default::default())?.commit(&[])?.wait_until_completed()?;
/// let trace = device.take_trace();
/// assert_eq!(trace.commits.len(), 1);
/// assert_eq!(trace.graph.vertices.len(), 1);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Trace {
    /// Labels of the queues, by [`QueueId`].
    pub queues: Vec<String>,
    /// The commits in the order of the calls.
    pub commits: Vec<TracedCommit>,
    /// All work with all orders and their reasons.
    pub graph: Graph,
}

/// A commit of a [`Trace`].
#[derive(Clone, Debug)]
pub struct TracedCommit {
    /// Its number.
    pub id: CommitId,
    /// Its queue.
    pub queue: QueueId,
    /// Its command buffers.
    pub buffers: Vec<Arc<CommandBufferContents>>,
    pub(crate) state: Arc<CommitState>,
}

impl TracedCommit {
    /// How it ended, and when its commands ran; nothing while it is on its way.
    pub fn report(&self) -> Option<&CommitReport> {
        self.state.report()
    }
}

/// A resource in the table of a device: an id that is used again, and a generation that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceKey {
    /// Position in the table.
    pub id: ResourceId,
    /// How many resources were made before it.
    pub generation: u64,
}

/// A GPU, or something that acts as one. Cheap to clone; all clones are one device.
///
/// ```
/// use lockgate_runtime::Device;
/// let device = Device::null();
/// let buffer = device.new_buffer_with_data(&[1u32, 2, 3]).unwrap();
/// assert_eq!(buffer.read::<u32>(0, 3).unwrap(), [1, 2, 3]);
/// ```
#[doc(alias = "MTLDevice")]
#[derive(Clone)]
pub struct Device(pub(crate) Arc<Shared>);

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Device").field(&self.info().name).finish()
    }
}

impl Device {
    /// Opens a device on a backend.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where [`DeviceDescriptor::observe`] asks for what the backend cannot observe.
    ///
    /// ```
    /// use lockgate_runtime::{Device, DeviceDescriptor, Observe, null::NullBackend};
    /// let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
    /// let refused = Device::open(Box::new(NullBackend::default()), descriptor).unwrap_err();
    /// assert_eq!(refused.to_string(), "the device `null` cannot observe accesses");
    /// ```
    pub fn open(backend: Box<dyn Backend>, descriptor: DeviceDescriptor) -> Result<Device> {
        backend.set_observe(descriptor.observe)?;
        Ok(Device::assemble(backend, descriptor))
    }

    /// The same where nothing is to be observed, or the backend is known to be able to. One that is not observes
    /// nothing and says so in the log; [`Device::open`] refuses it.
    pub fn new(backend: Box<dyn Backend>, descriptor: DeviceDescriptor) -> Device {
        if let Err(error) = backend.set_observe(descriptor.observe) {
            log::error!("{error}");
        }
        Device::assemble(backend, descriptor)
    }

    fn assemble(backend: Box<dyn Backend>, mut descriptor: DeviceDescriptor) -> Device {
        descriptor.checking = descriptor.checking.or_environment();
        Device(Arc::new(Shared::new(backend, descriptor)))
    }

    /// A device that completes everything and runs nothing: for tests, and for measuring recording.
    pub fn null() -> Device {
        Device::new(Box::new(crate::null::NullBackend::default()), DeviceDescriptor::default())
    }

    /// What it is and can do.
    pub fn info(&self) -> &DeviceInfo {
        self.0.backend.info()
    }

    /// What checking has found since the last call. Misuse is found even if checking is off.
    pub fn take_report(&self) -> Report {
        self.0.state().findings.take()
    }

    /// Calls `handler` for each finding that is new, from the thread that commits; one handler at a time. Findings of
    /// one place in the source are told once.
    pub fn set_finding_handler(&self, handler: impl Fn(&RuntimeFinding) + Send + Sync + 'static) {
        self.0.state().findings.handler = Some(Arc::new(handler));
    }

    /// What the commands that have ended touched since the last call, if [`DeviceDescriptor::observe`] is on.
    pub fn take_observation(&self) -> Observation {
        self.0.backend.take_observation()
    }

    /// How many accesses, intervals of sets and commits are remembered for orders to come: a figure for tests and
    /// measurements, which does not grow with the length of a stream that the host follows.
    pub fn remembered(&self) -> usize {
        self.0.state().engine.remembered()
    }

    /// What was committed since the last call, if [`DeviceDescriptor::tracing`] is on.
    pub fn take_trace(&self) -> Trace {
        let mut state = self.0.state();
        let queues = state.trace.queues.clone();
        std::mem::replace(&mut state.trace, Trace { queues, ..Trace::default() })
    }
}
