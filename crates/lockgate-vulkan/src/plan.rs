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

use lockgate_sync::{CommandRef, CommitId, EventId, Graph, Vertex, VertexId, VertexKind};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
    pub fresh: SmallVec<[ImageId; 2]>,
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

/// What a vertex stands for on one queue: works in these stages, none of a later epoch or batch.
#[derive(Clone, Copy, Debug)]
struct Reach {
    queue: u32,
    stages: HardwareStages,
    epoch: u64,
    batch: u64,
}

type Reaches = SmallVec<[Reach; 1]>;

/// A batch that is being filled.
#[derive(Debug, Default)]
struct Open {
    waits: SmallVec<[Point; 2]>,
    /// Commands with their epochs, in recording order.
    commands: Vec<(u64, CommandRef)>,
    /// What stands before an epoch, counted from the first epoch of the batch.
    barriers: Vec<Pending>,
    stages: HardwareStages,
}

/// A barrier that is being put together; none if it has no later side.
#[derive(Clone, Debug, Default)]
struct Pending {
    after: HardwareStages,
    before: HardwareStages,
    fresh: Vec<ImageId>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Batches that were closed.
    closed: u64,
    /// The last that is known to be done.
    done: u64,
    /// The first epoch of the open batch: the last one of the batch before.
    floor: u64,
    /// The last epoch with a command.
    last: u64,
    open: Open,
}

/// Makes plans of the graphs of one engine, one after the other.
///
/// ```
/// use lockgate_sync::Graph;
/// use lockgate_vulkan::plan::{Job, Planner};
/// let mut planner = Planner::new(1);
/// let plan = planner.plan(&Graph::default(), &mut |_| Some(Job::default()));
/// assert!(plan.batches.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Planner {
    queues: Vec<Queue>,
    /// What vertices stand for, from the vertex `first` on.
    first: u64,
    vertices: VecDeque<Reaches>,
    /// Vertices that are not run; nearly always none.
    skipped: BTreeSet<VertexId>,
    /// Images that were made ready, where.
    images: BTreeMap<ImageId, Reach>,
    plan: Plan,
    /// Commands of a batch by epoch; kept for its memory.
    sorted: Vec<(u64, CommandRef)>,
}

impl Planner {
    /// A planner for so many hardware queues.
    pub fn new(queues: usize) -> Planner {
        Planner { queues: (0..queues).map(|_| Queue::default()).collect(), ..Planner::default() }
    }

    /// All batches of a queue up to this one are done.
    pub fn done(&mut self, point: Point) {
        let Some(queue) = self.queues.get_mut(point.queue as usize) else { return };
        queue.done = queue.done.max(point.batch);
        let queues = &self.queues;
        let over = |reach: &Reach| queues[reach.queue as usize].done >= reach.batch;
        while self.vertices.front().is_some_and(|reaches| reaches.iter().all(over)) {
            self.vertices.pop_front();
            self.first += 1;
        }
        if !self.skipped.is_empty() {
            self.skipped = self.skipped.split_off(&VertexId(self.first));
        }
    }

    /// Whether an image is ready for good; then it need not be named in [`Job::fresh`] any more.
    pub fn is_ready(&mut self, image: ImageId) -> bool {
        let over = |reach: &Reach| self.queues[reach.queue as usize].done >= reach.batch;
        if self.images.get(&image).is_some_and(over) {
            self.images.remove(&image);
            return true;
        }
        false
    }

    /// The number of the last batch that was planned for a queue.
    pub fn last_batch(&self, queue: u32) -> u64 {
        self.queues.get(queue as usize).map_or(0, |queue| queue.closed)
    }

    /// Plans a graph. Its edges may name vertices of graphs that were planned before. A command without a job cannot run;
    /// what waits for it is not run either, and signals behind it are not given (A17).
    pub fn plan(&mut self, graph: &Graph, job: &mut dyn FnMut(CommandRef) -> Option<Job>) -> Plan {
        for vertex in &graph.vertices {
            if self.vertices.is_empty() {
                self.first = vertex.id.0;
            }
            let waits = !self.skipped.is_empty();
            let behind = waits && graph.edges_of(vertex).iter().any(|edge| self.skipped.contains(&edge.from));
            let job = match vertex.kind {
                VertexKind::Work { command, .. } if !behind => job(command),
                _ => None,
            };
            let reaches = match (vertex.kind, job) {
                (VertexKind::Work { command, .. }, Some(job)) => self.work(graph, vertex, command, job),
                (VertexKind::Work { command, .. }, None) => {
                    self.plan.skipped.push(command);
                    self.skipped.insert(vertex.id);
                    Reaches::new()
                }
                (kind, _) => {
                    let reaches = self.join(graph, vertex);
                    // The host has seen the failure: what it does next does not depend on it.
                    if behind && matches!(kind, VertexKind::Join | VertexKind::Signal { .. }) {
                        self.skipped.insert(vertex.id);
                    }
                    if !behind || !matches!(kind, VertexKind::Signal { .. }) {
                        self.notice(kind, &reaches);
                    }
                    reaches
                }
            };
            self.vertices.push_back(reaches);
        }
        (0..self.queues.len()).for_each(|queue| self.close(queue));
        std::mem::take(&mut self.plan)
    }

    fn reaches(&self, id: VertexId) -> &[Reach] {
        let at = id.0.checked_sub(self.first);
        at.and_then(|at| self.vertices.get(at as usize)).map_or(&[], |reaches| reaches)
    }

    fn is_done(&self, reach: &Reach) -> bool {
        self.queues[reach.queue as usize].done >= reach.batch
    }

    /// What a vertex without work stands for: all that it waits for, summed up for each queue.
    fn join(&self, graph: &Graph, vertex: &Vertex) -> Reaches {
        let mut sum = Reaches::new();
        let all = graph.edges_of(vertex).iter().flat_map(|edge| self.reaches(edge.from));
        for reach in all.filter(|reach| !self.is_done(reach)) {
            match sum.iter_mut().find(|own| own.queue == reach.queue) {
                Some(own) => {
                    own.stages |= reach.stages;
                    own.epoch = own.epoch.max(reach.epoch);
                    own.batch = own.batch.max(reach.batch);
                }
                None => sum.push(*reach),
            }
        }
        sum
    }

    fn notice(&mut self, kind: VertexKind, reaches: &Reaches) {
        let kind = match kind {
            VertexKind::Signal { event, value } => NoticeKind::Signal { event, value },
            VertexKind::Complete(commit) => NoticeKind::Complete(commit),
            _ => return,
        };
        let point = |reach: &Reach| Point { queue: reach.queue, batch: reach.batch };
        self.plan.notices.push(Notice { kind, points: reaches.iter().map(point).collect() });
    }

    fn work(&mut self, graph: &Graph, vertex: &Vertex, command: CommandRef, job: Job) -> Reaches {
        let own = job.queue as usize;
        let mut epoch = self.queues[own].floor;
        let mut after = HardwareStages::default();
        let mut waits: SmallVec<[Point; 2]> = SmallVec::new();
        let known = job.fresh.iter().filter_map(|image| self.images.get(image));
        let behind = graph.edges_of(vertex).iter().flat_map(|edge| self.reaches(edge.from)).chain(known);
        for reach in behind.filter(|reach| !self.is_done(reach)) {
            if reach.queue != job.queue {
                waits.push(Point { queue: reach.queue, batch: reach.batch });
                continue;
            }
            // An image that was made ready has no stages: its barrier held back everything that comes later.
            let next = reach.epoch + u64::from(reach.stages != HardwareStages::default());
            epoch = epoch.max(next);
            after |= reach.stages;
        }
        if !waits.is_empty() {
            self.wait(own, &waits);
        }
        // A wait may have begun a new batch.
        epoch = epoch.max(self.queues[own].floor);
        let fresh: Vec<ImageId> =
            job.fresh.iter().copied().filter(|image| !self.images.contains_key(image)).collect();
        let batch = self.queues[own].closed + 1;
        for image in &fresh {
            let stages = HardwareStages::default();
            self.images.insert(*image, Reach { queue: job.queue, stages, epoch, batch });
        }
        self.queues[own].add(epoch, command, &job, after, fresh);
        smallvec![Reach { queue: job.queue, stages: job.stages, epoch, batch }]
    }

    /// The open batch of a queue waits for others; commands that it has already do not.
    fn wait(&mut self, queue: usize, points: &[Point]) {
        for point in points {
            if self.queues[point.queue as usize].closed < point.batch {
                self.close(point.queue as usize);
            }
        }
        let open = &self.queues[queue].open;
        let covers = |own: &Point, point: &Point| own.queue == point.queue && own.batch >= point.batch;
        if points.iter().all(|point| open.waits.iter().any(|own| covers(own, point))) {
            return;
        }
        self.close(queue);
        // All of them: a new batch knows nothing of what the one before waited for.
        let waits = &mut self.queues[queue].open.waits;
        for point in points {
            match waits.iter_mut().find(|wait| wait.queue == point.queue) {
                Some(wait) => wait.batch = wait.batch.max(point.batch),
                None => waits.push(*point),
            }
        }
    }

    /// Ends the open batch of a queue, if it has commands.
    fn close(&mut self, at: usize) {
        let queue = &mut self.queues[at];
        if queue.open.commands.is_empty() {
            return;
        }
        queue.closed += 1;
        let mut open = std::mem::take(&mut queue.open);
        let floor = queue.floor;
        queue.floor = queue.last;
        by_epoch(&mut open.commands, &mut self.sorted, floor);
        let mut count = 0;
        let mut steps = Vec::with_capacity(open.commands.len() + open.barriers.len());
        let mut barriers = (floor..).zip(open.barriers).peekable();
        for (epoch, command) in open.commands {
            while let Some((_, barrier)) = barriers.next_if(|(before, _)| *before <= epoch) {
                let Pending { after, before, fresh } = barrier;
                if before != HardwareStages::default() {
                    steps.push(Step::Barrier { after, before, fresh });
                    count += 1;
                }
            }
            steps.push(Step::Command(command));
        }
        let (queue, number) = (at as u32, self.queues[at].closed);
        let (waits, barriers, stages) = (open.waits, count, open.stages);
        self.plan.batches.push(Batch { queue, number, waits, steps, barriers, stages });
    }
}

impl Queue {
    fn add(
        &mut self,
        epoch: u64,
        command: CommandRef,
        job: &Job,
        after: HardwareStages,
        fresh: Vec<ImageId>,
    ) {
        self.last = self.last.max(epoch);
        self.open.stages |= job.stages;
        self.open.commands.push((epoch, command));
        if after == HardwareStages::default() && fresh.is_empty() {
            return;
        }
        let at = (epoch - self.floor) as usize;
        if self.open.barriers.len() <= at {
            self.open.barriers.resize_with(at + 1, Pending::default);
        }
        let barrier = &mut self.open.barriers[at];
        barrier.after |= after;
        // What makes an image ready holds back whoever uses it, and nobody knows yet who that will be.
        barrier.before |= if fresh.is_empty() { job.stages } else { HardwareStages::ALL };
        barrier.fresh.extend(fresh);
    }
}

/// Sorts commands by epoch and keeps the order of recording within each. Most come sorted.
fn by_epoch(commands: &mut Vec<(u64, CommandRef)>, sorted: &mut Vec<(u64, CommandRef)>, floor: u64) {
    if commands.is_sorted_by_key(|(epoch, _)| *epoch) {
        return;
    }
    let last = commands.iter().map(|(epoch, _)| *epoch).max().unwrap_or(floor);
    let mut starts = vec![0usize; (last - floor) as usize + 2];
    for (epoch, _) in commands.iter() {
        starts[(epoch - floor) as usize + 1] += 1;
    }
    (1..starts.len()).for_each(|at| starts[at] += starts[at - 1]);
    sorted.clone_from(commands);
    for entry in sorted.iter() {
        let start = &mut starts[(entry.0 - floor) as usize];
        commands[*start] = *entry;
        *start += 1;
    }
}
