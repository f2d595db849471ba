//! Makes plans: which epoch and batch a command goes to, and what stands before it.

use super::{Batch, HardwareStages, ImageId, Job, Notice, NoticeKind, Plan, Point, Step};
use lockgate_sync::{CommandRef, Edge, Graph, Vertex, VertexId, VertexKind};
use smallvec::{SmallVec, smallvec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a vertex stands for on one queue: works in these stages, none of a later epoch or batch.
#[derive(Clone, Copy, Debug)]
struct Reach {
    queue: u32,
    stages: HardwareStages,
    epoch: u64,
    batch: u64,
}

type Reaches = SmallVec<[Reach; 1]>;

/// For each queue the last batch that is known to be done.
type Clock = SmallVec<[u64; 4]>;

fn raise(clock: &mut Clock, by: &Clock) {
    clock.iter_mut().zip(by).for_each(|(own, other)| *own = (*own).max(*other));
}

/// What a work is behind on its own queue.
struct Behind {
    /// The first epoch that it may be in.
    epoch: u64,
    after: HardwareStages,
}

/// A batch that is being filled.
#[derive(Debug, Default)]
struct Open {
    waits: SmallVec<[Point; 2]>,
    /// What is done when it begins, by its waits and the waits of those; empty if it waits for nothing.
    begins: Clock,
    /// Commands with their epochs, in recording order.
    commands: Vec<(u64, CommandRef)>,
    /// What stands before an epoch, counted from the first epoch of the batch.
    barriers: Vec<Pending>,
    stages: HardwareStages,
}

/// A barrier of a batch that was closed: all works of these stages in earlier epochs come before all later works of those.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    epoch: u64,
    after: HardwareStages,
    before: HardwareStages,
}

impl Held {
    fn orders(&self, reach: &Reach, stages: HardwareStages) -> bool {
        reach.epoch < self.epoch && self.after.contains(reach.stages) && self.before.contains(stages)
    }
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
    /// The last barrier of the closed batches.
    held: Held,
    open: Open,
    /// What is done when a batch is, from the batch behind `done` on.
    ends: VecDeque<Clock>,
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
    /// Steps of batches that were given back; kept for their memory.
    spare: Vec<Vec<Step>>,
}

impl Planner {
    /// A planner for so many hardware queues.
    pub fn new(queues: usize) -> Planner {
        Planner { queues: (0..queues).map(|_| Queue::default()).collect(), ..Planner::default() }
    }

    /// All batches of a queue up to this one are done.
    pub fn done(&mut self, point: Point) {
        let Some(queue) = self.queues.get_mut(point.queue as usize) else { return };
        let news = point.batch.saturating_sub(queue.done) as usize;
        queue.ends.drain(..news.min(queue.ends.len()));
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

    /// A batch of a plan is not needed any more.
    pub fn give_back(&mut self, batch: Batch) {
        let mut steps = batch.steps;
        steps.clear();
        if self.spare.len() < self.queues.len() {
            self.spare.push(steps);
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
                (VertexKind::Work { command, .. }, Some(job)) => {
                    self.work(graph.edges_of(vertex), command, &job)
                }
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

    /// Tells of everything that a work is behind and that is not known to be done.
    fn each_behind(&self, edges: &[Edge], job: &Job, mut tell: impl FnMut(&Reach)) {
        for edge in edges {
            self.reaches(edge.from).iter().filter(|reach| !self.is_done(reach)).for_each(&mut tell);
        }
        for reach in job.fresh.iter().filter_map(|image| self.images.get(image)) {
            if !self.is_done(reach) {
                tell(reach);
            }
        }
    }

    fn work(&mut self, edges: &[Edge], command: CommandRef, job: &Job) -> Reaches {
        // Most commands wait for nothing that is not done.
        if !job.fresh.is_empty() || edges.iter().any(|edge| edge.from.0 >= self.first) {
            return self.work_behind(edges, command, job);
        }
        let queue = &mut self.queues[job.queue as usize];
        let (epoch, batch) = (queue.floor, queue.closed + 1);
        queue.add(epoch, command, job.stages);
        smallvec![Reach { queue: job.queue, stages: job.stages, epoch, batch }]
    }

    fn work_behind(&mut self, edges: &[Edge], command: CommandRef, job: &Job) -> Reaches {
        let own = job.queue as usize;
        let mut waits: SmallVec<[Point; 2]> = SmallVec::new();
        let mut behind = self.behind(edges, job, &mut waits);
        // A wait may begin a new batch, and may bring what was to be waited for here.
        if !waits.is_empty() {
            self.wait(own, &waits);
            behind = self.behind(edges, job, &mut waits);
        }
        let Behind { epoch, after } = behind;
        let batch = self.queues[own].closed + 1;
        let fresh: Vec<ImageId> =
            job.fresh.iter().copied().filter(|image| !self.images.contains_key(image)).collect();
        for image in &fresh {
            let stages = HardwareStages::default();
            self.images.insert(*image, Reach { queue: job.queue, stages, epoch, batch });
        }
        let queue = &mut self.queues[own];
        queue.add(epoch, command, job.stages);
        if after != HardwareStages::default() || !fresh.is_empty() {
            queue.hold(epoch, job, after, fresh);
        }
        smallvec![Reach { queue: job.queue, stages: job.stages, epoch, batch }]
    }

    /// What a work is behind on its own queue, and what it has to wait for on others.
    fn behind(&self, edges: &[Edge], job: &Job, waits: &mut SmallVec<[Point; 2]>) -> Behind {
        let queue = &self.queues[job.queue as usize];
        let mut behind = Behind { epoch: queue.floor, after: HardwareStages::default() };
        self.each_behind(edges, job, |reach| {
            if reach.queue != job.queue {
                waits.push(Point { queue: reach.queue, batch: reach.batch });
            } else if !queue.open.has_behind(job.queue as usize, reach.batch)
                && !queue.held.orders(reach, job.stages)
            {
                // An image that was made ready has no stages: its barrier held back everything that comes later.
                let next = reach.epoch + u64::from(reach.stages != HardwareStages::default());
                behind.epoch = behind.epoch.max(next);
                behind.after |= reach.stages;
            }
        });
        behind
    }

    /// The open batch of a queue waits for others; commands that it has already do not.
    fn wait(&mut self, queue: usize, points: &[Point]) {
        for point in points {
            if self.queues[point.queue as usize].closed < point.batch {
                self.close(point.queue as usize);
            }
        }
        let open = &self.queues[queue].open;
        if points.iter().all(|point| open.has_behind(point.queue as usize, point.batch)) {
            return;
        }
        self.close(queue);
        // All of them: a new batch knows nothing of what the one before waited for.
        let all = self.queues[queue].open.waits.iter().chain(points);
        let mut ends: SmallVec<[(Point, Clock); 2]> = SmallVec::new();
        for point in all {
            let end = self.end_of(*point);
            let has = |(_, end): &(Point, Clock)| end[point.queue as usize] >= point.batch;
            if !ends.iter().any(has) {
                ends.retain(|(other, _)| end[other.queue as usize] < other.batch);
                ends.push((*point, end));
            }
        }
        let begins = smallvec![0; self.queues.len()];
        let open = &mut self.queues[queue].open;
        open.begins = begins;
        ends.iter().for_each(|(_, end)| raise(&mut open.begins, end));
        open.waits = ends.into_iter().map(|(point, _)| point).collect();
    }

    /// What is done when a batch that was closed is.
    fn end_of(&self, point: Point) -> Clock {
        let queue = &self.queues[point.queue as usize];
        let at = point.batch.checked_sub(queue.done + 1);
        let end = at.and_then(|at| queue.ends.get(at as usize));
        end.cloned().unwrap_or_else(|| smallvec![0; self.queues.len()])
    }

    /// Ends the open batch of a queue, if it has commands.
    fn close(&mut self, at: usize) {
        let count = self.queues.len();
        let queue = &mut self.queues[at];
        if queue.open.commands.is_empty() {
            return;
        }
        queue.closed += 1;
        let mut open = std::mem::take(&mut queue.open);
        queue.end(at, count, &open.begins);
        let floor = queue.floor;
        queue.floor = queue.last;
        by_epoch(&mut open.commands, &mut self.sorted, floor);
        let mut among = 0;
        let mut steps = self.spare.pop().unwrap_or_default();
        steps.reserve(open.commands.len() + open.barriers.len());
        let mut barriers = (floor..).zip(open.barriers).peekable();
        for (epoch, command) in open.commands.drain(..) {
            while let Some((epoch, barrier)) = barriers.next_if(|(before, _)| *before <= epoch) {
                let Pending { after, before, fresh } = barrier;
                if before != HardwareStages::default() {
                    self.queues[at].held = Held { epoch, after, before };
                    steps.push(Step::Barrier { after, before, fresh });
                    among += 1;
                }
            }
            steps.push(Step::Command(command));
        }
        self.queues[at].open.commands = open.commands;
        let (queue, number) = (at as u32, self.queues[at].closed);
        let (waits, barriers, stages) = (open.waits, among, open.stages);
        self.plan.batches.push(Batch { queue, number, waits, steps, barriers, stages });
    }
}

impl Open {
    /// Whether a batch is done before this one begins.
    fn has_behind(&self, queue: usize, batch: u64) -> bool {
        self.begins.get(queue).is_some_and(|done| *done >= batch)
    }
}

impl Queue {
    /// A batch was closed: when it is done, so are all before it and what they waited for.
    fn end(&mut self, own: usize, queues: usize, begins: &Clock) {
        let mut end = self.ends.back().cloned().unwrap_or_else(|| smallvec![0; queues]);
        raise(&mut end, begins);
        end[own] = self.closed;
        self.ends.push_back(end);
    }

    fn add(&mut self, epoch: u64, command: CommandRef, stages: HardwareStages) {
        self.last = self.last.max(epoch);
        self.open.stages |= stages;
        self.open.commands.push((epoch, command));
    }

    /// A barrier before an epoch.
    fn hold(&mut self, epoch: u64, job: &Job, after: HardwareStages, fresh: Vec<ImageId>) {
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
