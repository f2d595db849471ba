//! A whole program as data: resources, queues, and the steps of the host in order.

use crate::{
    Access, Engine, EngineDescriptor, EventId, FenceId, Gap, Graph, HazardTrackingMode, History, MemoryId,
    Misuse, Model, QueueId, Recording, ResourceDescriptor, ResourceId, ResourceKind,
};
use std::sync::Arc;

/// What a queue runs.
///
/// ```
/// assert_eq!(lockgate_sync::QueueKind::default(), lockgate_sync::QueueKind::Gpu);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// Command buffers for the GPU.
    #[default]
    Gpu,
    /// IO command buffers, unordered among themselves.
    IoConcurrent,
    /// IO command buffers, each after the one before.
    IoSerial,
}

/// A queue of the model.
///
/// ```
/// assert!(lockgate_sync::QueueDescriptor::default().hazard_tracking);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QueueDescriptor {
    /// What it runs.
    pub kind: QueueKind,
    /// Whether tracked resources are ordered automatically on it. `false` is Metal 4's behaviour. IO queues
    /// never track (`semantics` 6.11).
    pub hazard_tracking: bool,
}

impl Default for QueueDescriptor {
    fn default() -> QueueDescriptor {
        QueueDescriptor { kind: QueueKind::Gpu, hazard_tracking: true }
    }
}

/// What the host does itself. All host steps of a program are one sequence.
///
/// ```
/// use lockgate_sync::{EventId, HostStep};
/// let step = HostStep::WaitForEvent { event: EventId(0), value: 3 };
/// assert_ne!(step, HostStep::SignalEvent { event: EventId(0), value: 3 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostStep {
    /// Reads or writes memory.
    Access(Access),
    /// Waits until no work taken so far touches the memory in conflict, then reads or writes it: what a runtime
    /// does that never lets the host race the device.
    AccessWhenIdle(Access),
    /// Sets a shared event; a value not above the current one does nothing.
    SignalEvent {
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// Waits until the event has the value. If nothing that was recorded before can bring it, the wait times
    /// out and orders nothing.
    WaitForEvent {
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// Waits for a commit to be done (its feedback), by its number among the commits of the program.
    WaitForCommit {
        /// The commit, counted from 0 over all queues.
        commit: u64,
    },
}

/// One step of a program.
///
/// ```
/// use lockgate_sync::{EventId, QueueId, Step};
/// let step = Step::SignalEvent { queue: QueueId(0), event: EventId(0), value: 1 };
/// assert!(matches!(step, Step::SignalEvent { value: 1, .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Commits command buffers to a queue, in order.
    Commit {
        /// The queue.
        queue: QueueId,
        /// The command buffers.
        buffers: Vec<Arc<Recording>>,
    },
    /// The event takes the value when everything earlier on the queue is done.
    SignalEvent {
        /// The queue.
        queue: QueueId,
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// Everything later on the queue waits for the value.
    WaitForEvent {
        /// The queue.
        queue: QueueId,
        /// Which event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// An IO queue: everything committed before is done before anything committed after starts.
    EnqueueBarrier {
        /// The queue.
        queue: QueueId,
    },
    /// Later work of the queue waits until the display is done with the drawable, a resource.
    WaitForDrawable {
        /// The queue.
        queue: QueueId,
        /// The texture of the drawable.
        drawable: ResourceId,
    },
    /// The drawable is ready for the display when everything earlier on the queue is done.
    SignalDrawable {
        /// The queue.
        queue: QueueId,
        /// The texture of the drawable.
        drawable: ResourceId,
    },
    /// The display reads the drawable after its last signal.
    Present {
        /// The texture of the drawable.
        drawable: ResourceId,
    },
    /// A step of the host.
    Host(HostStep),
}

/// What a program comes to.
///
/// ```
/// let run = lockgate_sync::Program::new().run();
/// assert!(run.graph.vertices.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Run {
    /// All work with all orders.
    pub graph: Graph,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// Calls that mean nothing or cannot work.
    pub misuse: Vec<Misuse>,
    /// For each host step whether its wait was satisfied; `true` for steps that do not wait.
    pub host: Vec<bool>,
}

/// A program of the model: plain data, built by hand, by a file reader or by a generator.
///
/// ```
/// use lockgate_sync::*;
/// let mut program = Program::new();
/// let heap = program.add_memory();
/// let a = program.add_placed(heap, 0, 256, HazardTrackingMode::Untracked);
/// let b = program.add_placed(heap, 128, 256, HazardTrackingMode::Untracked);
/// assert_eq!(program.resources[a.index()].memory, program.resources[b.index()].memory);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The switches of the model.
    pub model: Model,
    /// How many memories there are.
    pub memories: u32,
    /// All resources.
    pub resources: Vec<ResourceDescriptor>,
    /// How many fences there are.
    pub fences: u32,
    /// How many events there are.
    pub events: u32,
    /// All queues.
    pub queues: Vec<QueueDescriptor>,
    /// What happens, in the order of the calls.
    pub steps: Vec<Step>,
}

impl Program {
    /// A program with nothing in it.
    pub fn new() -> Program {
        Program::default()
    }

    /// Adds a queue.
    pub fn add_queue(&mut self, queue: QueueDescriptor) -> QueueId {
        self.queues.push(queue);
        QueueId(self.queues.len() as u32 - 1)
    }

    /// Adds a memory, for resources that are placed in it.
    pub fn add_memory(&mut self) -> MemoryId {
        self.memories += 1;
        MemoryId(self.memories - 1)
    }

    /// Adds a fence.
    pub fn add_fence(&mut self) -> FenceId {
        self.fences += 1;
        FenceId(self.fences - 1)
    }

    /// Adds an event with the value 0.
    pub fn add_event(&mut self) -> EventId {
        self.events += 1;
        EventId(self.events - 1)
    }

    /// Adds a resource.
    pub fn add_resource(&mut self, resource: ResourceDescriptor) -> ResourceId {
        self.resources.push(resource);
        ResourceId(self.resources.len() as u32 - 1)
    }

    /// Adds a buffer of `size` bytes with a memory of its own. `Default` is tracked.
    pub fn add_buffer(&mut self, size: u64, mode: HazardTrackingMode) -> ResourceId {
        let memory = self.add_memory();
        let tracked = mode != HazardTrackingMode::Untracked;
        let kind = ResourceKind::Buffer;
        self.add_resource(ResourceDescriptor { kind, memory, offset: 0, size, tracked, unit: false })
    }

    /// Adds a texture with a memory of its own. `Default` is tracked.
    pub fn add_texture(&mut self, levels: u16, slices: u16, mode: HazardTrackingMode) -> ResourceId {
        let memory = self.add_memory();
        let tracked = mode != HazardTrackingMode::Untracked;
        let kind = ResourceKind::Texture { levels, slices };
        let size = u64::from(levels) * u64::from(slices);
        self.add_resource(ResourceDescriptor { kind, memory, offset: 0, size, tracked, unit: false })
    }

    /// Adds a buffer at `offset` of a memory. `Default` is untracked, as on a heap.
    pub fn add_placed(
        &mut self,
        memory: MemoryId,
        offset: u64,
        size: u64,
        mode: HazardTrackingMode,
    ) -> ResourceId {
        let tracked = mode == HazardTrackingMode::Tracked;
        let kind = ResourceKind::Buffer;
        self.add_resource(ResourceDescriptor { kind, memory, offset, size, tracked, unit: false })
    }

    /// Appends a commit.
    pub fn commit(&mut self, queue: QueueId, buffers: Vec<Recording>) {
        let buffers = buffers.into_iter().map(Arc::new).collect();
        self.steps.push(Step::Commit { queue, buffers });
    }

    /// Appends a step of the host.
    pub fn host(&mut self, step: HostStep) {
        self.steps.push(Step::Host(step));
    }

    /// Runs the program with its complete history: every conflicting unordered pair of works is a gap.
    pub fn run(&self) -> Run {
        self.run_with(History::Complete)
    }

    /// Runs the program. Waits that nothing satisfies time out at the end.
    pub fn run_with(&self, history: History) -> Run {
        self.run_in(&mut Engine::new(EngineDescriptor { model: self.model, history, ..Default::default() }))
    }

    /// The same with at least the first `max` gaps, if there are so many.
    pub(crate) fn run_limited(&self, history: History, max: usize) -> Run {
        let mut engine = Engine::new(EngineDescriptor { model: self.model, history, ..Default::default() });
        engine.limit_gaps(max);
        self.run_in(&mut engine)
    }

    /// Runs the program in an engine of its model that has taken nothing yet.
    pub fn run_in(&self, engine: &mut Engine) -> Run {
        for queue in &self.queues {
            engine.add_queue(*queue);
        }
        for _ in 0..self.memories {
            engine.add_memory();
        }
        for resource in &self.resources {
            engine.add_resource(resource.clone());
        }
        let mut host = Vec::new();
        for step in &self.steps {
            self.take_step(engine, step, &mut host);
        }
        while engine.break_wait() {}
        let taken = engine.take();
        Run { graph: taken.graph, gaps: taken.gaps, misuse: taken.misuse, host }
    }

    fn take_step(&self, engine: &mut Engine, step: &Step, host: &mut Vec<bool>) {
        match step {
            Step::Commit { queue, buffers } => {
                engine.commit(*queue, buffers.iter().cloned());
            }
            Step::SignalEvent { queue, event, value } => engine.signal_event(*queue, *event, *value),
            Step::WaitForEvent { queue, event, value } => engine.wait_for_event(*queue, *event, *value),
            Step::EnqueueBarrier { queue } => engine.enqueue_barrier(*queue),
            Step::WaitForDrawable { queue, drawable } => engine.wait_for_drawable(*queue, *drawable),
            Step::SignalDrawable { queue, drawable } => engine.signal_drawable(*queue, *drawable),
            Step::Present { drawable } => engine.present(*drawable),
            Step::Host(step) => host.push(engine.host(*step)),
        }
    }
}
