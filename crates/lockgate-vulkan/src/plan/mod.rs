//! From a graph to what each hardware queue does: pure, and it prints.
//!
//! A queue executes *batches* in order; a batch is one submission, and its commands are grouped into *epochs*. Commands
//! of one epoch have no barrier between them; a barrier stands before an epoch if a command in it waits for one of an
//! earlier epoch. A command goes into the earliest epoch that its orders allow, whatever the order of recording: so a
//! queue has no more barriers than the longest chain of waits has links. Orders between queues are waits for batches: each
//! batch counts its queue's timeline up by one.
//!
//! Deliberately absent: Vulkan. Whoever executes a plan turns stages into masks (`record.rs`). Tested in
//! `tests/plan.rs`: snapshots, and plans of generated graphs that are lifted back to orders.

mod planner;

pub use planner::Planner;

use lockgate_sync::{CommandRef, CommitId, EventId};
use smallvec::SmallVec;
use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Where on a hardware queue a command does its work.
///
/// ```
/// use lockgate_vulkan::plan::HardwareStages;
/// let both = HardwareStages::COMPUTE | HardwareStages::TRANSFER;
/// assert_eq!(both.to_string(), "compute|transfer");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HardwareStages(u8);

impl HardwareStages {
    /// Shaders.
    pub const COMPUTE: HardwareStages = HardwareStages(1);
    /// Copies, fills and blits.
    pub const TRANSFER: HardwareStages = HardwareStages(2);
    /// The arguments of an indirect dispatch.
    pub const INDIRECT: HardwareStages = HardwareStages(4);
    /// All of them.
    pub const ALL: HardwareStages = HardwareStages(7);

    /// Whether some of `other` is in it.
    pub fn intersects(self, other: HardwareStages) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: HardwareStages) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for HardwareStages {
    type Output = HardwareStages;
    fn bitor(self, other: HardwareStages) -> HardwareStages {
        HardwareStages(self.0 | other.0)
    }
}

impl BitOrAssign for HardwareStages {
    fn bitor_assign(&mut self, other: HardwareStages) {
        self.0 |= other.0;
    }
}

impl fmt::Display for HardwareStages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [(Self::COMPUTE, "compute"), (Self::TRANSFER, "transfer"), (Self::INDIRECT, "indirect")];
        let mut first = true;
        for (_, name) in names.iter().filter(|(stage, _)| self.intersects(*stage)) {
            f.write_str(if first { "" } else { "|" })?;
            f.write_str(name)?;
            first = false;
        }
        if first { f.write_str("nothing") } else { Ok(()) }
    }
}

/// What the planner must know of a work.
///
/// ```
/// use lockgate_vulkan::plan::{HardwareStages, Job};
/// let job = Job { queue: 0, stages: HardwareStages::COMPUTE, fresh: Default::default() };
/// assert!(job.fresh.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// Its hardware queue.
    pub queue: u32,
    /// Where it does its work.
    pub stages: HardwareStages,
    /// Images that it uses and that may not have been used before: they are made ready first.
    pub fresh: Vec<ImageId>,
}

/// A number for an image, unique over the life of a device.
///
/// ```
/// assert!(lockgate_vulkan::plan::ImageId(1) < lockgate_vulkan::plan::ImageId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageId(pub u64);

/// A point of a queue's timeline: all batches up to this one are done.
///
/// ```
/// use lockgate_vulkan::plan::Point;
/// assert_eq!(Point { queue: 1, batch: 3 }.to_string(), "q1:3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// The hardware queue.
    pub queue: u32,
    /// The batch, counted from 1.
    pub batch: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "q{}:{}", self.queue, self.batch)
    }
}

/// One thing that a batch does.
///
/// ```
/// use lockgate_vulkan::plan::{HardwareStages, Step};
/// let (after, before) = (HardwareStages::TRANSFER, HardwareStages::COMPUTE);
/// let step = Step::Barrier { after, before, fresh: Vec::new() };
/// assert_eq!(step.to_string(), "barrier transfer -> compute");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Everything of `before` that comes later waits for everything of `after` that came earlier on this queue.
    Barrier {
        /// The earlier side.
        after: HardwareStages,
        /// The later side.
        before: HardwareStages,
        /// Images that are made ready here.
        fresh: Vec<ImageId>,
    },
    /// A command.
    Command(CommandRef),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Barrier { after, before, fresh } => {
                write!(f, "barrier {after} -> {before}")?;
                fresh.iter().try_for_each(|image| write!(f, ", image {}", image.0))
            }
            Step::Command(CommandRef { commit, buffer, command }) => {
                write!(f, "command {}.{buffer}.{command}", commit.0)
            }
        }
    }
}

/// One submission to a hardware queue.
///
/// ```
/// let batch = lockgate_vulkan::plan::Batch::default();
/// assert!(batch.waits.is_empty() && batch.steps.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// The hardware queue.
    pub queue: u32,
    /// Its number on the queue, which the timeline says when it is done.
    pub number: u64,
    /// What it waits for, on other queues.
    pub waits: SmallVec<[Point; 2]>,
    /// What it does, in this order.
    pub steps: Vec<Step>,
    /// How many of `steps` are barriers.
    pub barriers: usize,
    /// Stages of its commands.
    pub stages: HardwareStages,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {}", Point { queue: self.queue, batch: self.number })?;
        self.waits.iter().enumerate().try_for_each(|(at, wait)| {
            let word = if at == 0 { " waits for" } else { "," };
            write!(f, "{word} {wait}")
        })?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

/// What the host is told, once all points are reached.
///
/// ```
/// use lockgate_sync::CommitId;
/// use lockgate_vulkan::plan::{Notice, NoticeKind};
/// let notice = Notice { kind: NoticeKind::Complete(CommitId(0)), points: Default::default() };
/// assert_eq!(notice.to_string(), "commit 0 is done: at once");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What has happened.
    pub kind: NoticeKind,
    /// When; at most one for each queue.
    pub points: SmallVec<[Point; 2]>,
}

/// What has happened.
///
/// ```
/// use lockgate_sync::CommitId;
/// use lockgate_vulkan::plan::NoticeKind;
/// assert_eq!(NoticeKind::Complete(CommitId(3)), NoticeKind::Complete(CommitId(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// The event takes the value.
    Signal {
        /// The event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// All work of the commit is done.
    Complete(CommitId),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NoticeKind::Signal { event, value } => write!(f, "event {} takes {value}:", event.0)?,
            NoticeKind::Complete(commit) => write!(f, "commit {} is done:", commit.0)?,
        }
        if self.points.is_empty() {
            return f.write_str(" at once");
        }
        self.points.iter().try_for_each(|point| write!(f, " {point}"))
    }
}

/// What is to be done for a graph, in the order in which it is handed to the driver.
///
/// ```
/// assert_eq!(lockgate_vulkan::plan::Plan::default().to_string(), "");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Submissions. One waits only for others before it.
    pub batches: Vec<Batch>,
    /// What the host is told.
    pub notices: Vec<Notice>,
    /// Commands that are not run, since they cannot or since something that they wait for is not run.
    pub skipped: Vec<CommandRef>,
}

impl Plan {
    /// How many barriers it has.
    pub fn barriers(&self) -> usize {
        self.batches.iter().map(|batch| batch.barriers).sum()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.batches.iter().try_for_each(|batch| writeln!(f, "{batch}"))?;
        self.notices.iter().try_for_each(|notice| writeln!(f, "{notice}"))?;
        self.skipped.iter().try_for_each(|command| writeln!(f, "not run: {}", Step::Command(*command)))
    }
}
