//! What is missing: two conflicting accesses and the order that was found between them.

use crate::{Access, CommitId, EventId, FenceId, Hazard, Stage, Stages};

/// A command of a command buffer of a commit.
///
/// ```
/// use lockgate_sync::{CommandRef, CommitId};
/// let first = CommandRef { commit: CommitId(0), buffer: 0, command: 0 };
/// assert!(first < CommandRef { command: 1, ..first });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandRef {
    /// Which commit.
    pub commit: CommitId,
    /// Position of the command buffer in the commit.
    pub buffer: u32,
    /// Number of the command in the command buffer, in encode order.
    pub command: u32,
}

/// Who touched memory.
///
/// ```
/// use lockgate_sync::Actor;
/// assert_ne!(Actor::Host { step: 0 }, Actor::Display { present: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Actor {
    /// A command on a queue.
    Command(CommandRef),
    /// The host, at its n-th host step.
    Host {
        /// Counted from 0 over all host steps.
        step: u64,
    },
    /// The display, at the n-th presentation.
    Display {
        /// Counted from 0 over all presentations.
        present: u64,
    },
}

/// One side of a gap.
///
/// ```
/// use lockgate_sync::*;
/// let access = Access::whole(ResourceId(0), AccessKind::READ);
/// let site = Site { actor: Actor::Host { step: 2 }, stage: Stage::Host, access };
/// assert_eq!(site.stage.name(), "host");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Who.
    pub actor: Actor,
    /// In which stage.
    pub stage: Stage,
    /// Touching what.
    pub access: Access,
}

/// How far the order between the two sides of a gap reaches.
///
/// ```
/// assert_ne!(lockgate_sync::Reach::Nothing, lockgate_sync::Reach::ExecutionOnly);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reach {
    /// Either may run first, or both at once.
    Nothing,
    /// The later one runs after the earlier one but may not see what it wrote.
    ExecutionOnly,
}

/// Two conflicting accesses that nothing orders as they need.
///
/// `earlier` and `later` are by recording order. A gap of tracked memory is closed by the engine and never
/// reported, except inside a render pass where no order is possible.
///
/// ```
/// use lockgate_sync::{Gap, Program};
/// let gaps: Vec<Gap> = Program::new().run().gaps;
/// assert!(gaps.is_empty());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// The access recorded first.
    pub earlier: Site,
    /// The access recorded second.
    pub later: Site,
    /// What can go wrong.
    pub hazard: Hazard,
    /// What order there is.
    pub reach: Reach,
}

/// A call that means nothing or cannot work. It orders nothing and is no error of the device.
///
/// ```
/// use lockgate_sync::{EventId, Misuse};
/// let misuse = Misuse::EventNeverSignaled { event: EventId(0), value: 1 };
/// assert_ne!(misuse, Misuse::EventNeverSignaled { event: EventId(0), value: 2 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// An intrapass barrier names stages that its encoder cannot encode, or fragment or tile as its source.
    IntrapassStages {
        /// Commit, command buffer, and position in its operations.
        at: (CommitId, u32, u32),
        /// The stages named on the earlier side.
        after: Stages,
        /// The stages named on the later side.
        before: Stages,
    },
    /// A wait for a fence that no earlier pass has updated (A14).
    FenceNeverUpdated {
        /// The fence.
        fence: FenceId,
        /// Commit, command buffer, and position in its operations.
        at: (CommitId, u32, u32),
    },
    /// A wait for a fence behind an update of it in one pass.
    FenceWaitAfterUpdate {
        /// The fence.
        fence: FenceId,
        /// Commit, command buffer, and position in its operations.
        at: (CommitId, u32, u32),
    },
    /// A fence updated on one queue and waited for on another (A2).
    FenceAcrossQueues {
        /// The fence.
        fence: FenceId,
        /// Commit, command buffer, and position in its operations.
        at: (CommitId, u32, u32),
    },
    /// A wait for a value that nothing brings; it timed out and ordered nothing (A19).
    EventNeverSignaled {
        /// The event.
        event: EventId,
        /// The value.
        value: u64,
    },
}
