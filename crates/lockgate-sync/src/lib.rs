//! The synchronization model of Lockgate, pure: what must be ordered, what is ordered, what is missing.
//!
//! A program is plain data: resources, queues and steps ([`Program`]); a command buffer is a [`Recording`].
//! The [`Engine`] walks it, subtracts the orders that the program provides from those it requires, and
//! returns the work as vertices with the edges that a device must honour, and the [`Gap`]s that are left.
//!
//! ```
//! use lockgate_sync::*;
//!
//! let mut program = Program::new();
//! let queue = program.add_queue(QueueDescriptor::default());
//! let x = program.add_buffer(256, HazardTrackingMode::Untracked);
//! let mut recording = Recording::new();
//! for kind in [AccessKind::WRITE, AccessKind::READ] {
//!     recording.begin_pass(PassDescriptor::compute());
//!     recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, kind)])]);
//!     recording.end_pass();
//! }
//! program.commit(queue, vec![recording]);
//! let run = program.run();
//! assert_eq!(run.gaps.len(), 1);
//! assert_eq!(run.gaps[0].hazard, Hazard::ReadAfterWrite);
//! ```
//!
//! Deliberately absent: devices, threads, clocks, input and output, randomness. The rules are stated and
//! tested in the chapters under `spec/`, and proven against the brute-force oracle of `lockgate-testsuite`.

mod access;
mod check;
mod engine;
mod gap;
mod graph;
mod ids;
mod model;
mod program;
mod recording;
mod resource;
mod stages;

pub use access::{Access, AccessKind, Hazard, Region, Texels};
pub use check::{
    Basis, Change, CheckOptions, Code, Explanation, Finding, Fix, Grade, Hop, Omission, OrderFound, Place,
    Report, Severity, Sides, Subject, Target, check, check_knowing, explain, portability,
};
pub use engine::{Engine, EngineDescriptor, History, Taken};
pub use gap::{Actor, CommandRef, Gap, Misuse, Reach, Site};
pub use graph::{Edge, Graph, Publishes, SyncKind, SyncOp, Vertex, VertexId, VertexKind};
pub use ids::{CommitId, EventId, FenceId, MemoryId, QueueId, ResourceId};
pub use model::{ChainThroughEmptyPass, ConsumerTargets, EventScope, Model};
pub use program::{HostStep, Program, QueueDescriptor, QueueKind, Run, Step};
pub use recording::{Op, PassDescriptor, PassKind, Recorded, Recording, Work};
pub use resource::{HazardTrackingMode, ResourceDescriptor, ResourceKind};
pub use stages::{Barrier, BarrierReach, BarrierScope, RenderStages, Stage, Stages, VisibilityOptions};
