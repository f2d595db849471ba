//! What is in flight: commits and batches, from the commit until they are handed over.
//!
//! Work is planned, recorded and handed over on the thread that commits. Deliberately absent: what the planner is told of
//! commands (`job.rs`), what happens once they are done (`land.rs`), who waits for that (`watch.rs`), and how a batch is
//! recorded (`record.rs`). Tested in the contract suite.

mod job;
mod land;
mod watch;

use crate::counters::Counters;
use crate::error::error;
use crate::gpu::Gpu;
use crate::plan::{Batch, ImageId, Notice, Plan, Planner, Point, Step};
use crate::record::{Context, Recording};
use crate::texture::Texture;
use crate::timing::Clock;
use crate::tools::Tools;
use crate::witness::Witness;
use ash::vk;
use job::Cares;
use lockgate_runtime::backend::{Observer, Submission, SubmittedBuffer};
use lockgate_runtime::{CommitReport, Error, Result};
use lockgate_sync::{CommitId, QueueId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

/// Recordings that a queue keeps for when the same comes again.
const KEPT_MAX: usize = 8;

/// A commit that is not done.
struct Commit {
    queue: u32,
    buffers: Arc<[SubmittedBuffer]>,
    /// For each command buffer, what has to be looked at.
    cares: SmallVec<[Cares; 2]>,
    report: CommitReport,
    /// When the works that were handed over will have ended.
    busy: SmallVec<[Point; 2]>,
}

/// A batch that was handed over.
struct Flying {
    number: u64,
    recording: Recording,
    commits: SmallVec<[CommitId; 2]>,
    fresh: Vec<ImageId>,
}

#[derive(Default)]
struct QueueState {
    reached: u64,
    flying: VecDeque<Flying>,
    /// Recordings of batches that are done, the oldest first.
    free: VecDeque<Recording>,
    /// Whether it has a thread that waits for its timeline.
    watched: bool,
    /// The last batch whose end that thread waits for.
    attended: u64,
}

struct State {
    planner: Planner,
    commits: BTreeMap<CommitId, Commit>,
    queues: Vec<QueueState>,
    notices: Vec<Notice>,
    /// Images that are being made ready.
    images: BTreeMap<ImageId, Arc<Texture>>,
    lost: Option<Error>,
}

/// Everything in flight on a device.
pub(crate) struct Flight {
    gpu: Arc<Gpu>,
    pub(crate) tools: Tools,
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    pub(crate) timing: AtomicBool,
    pub(crate) counters: Counters,
    closing: AtomicBool,
    clock: Clock,
    state: Mutex<State>,
    /// Something was handed over, or the device is being closed.
    changed: Condvar,
}

impl Flight {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Flight {
        let count = gpu.queues.len();
        let state = State {
            planner: Planner::new(count),
            commits: BTreeMap::new(),
            queues: (0..count).map(|_| QueueState::default()).collect(),
            notices: Vec::new(),
            images: BTreeMap::new(),
            lost: None,
        };
        Flight {
            gpu: gpu.clone(),
            tools: Tools::new(gpu),
            observer: OnceLock::new(),
            timing: AtomicBool::new(false),
            counters: Counters::default(),
            closing: AtomicBool::new(false),
            clock: Clock::new(gpu),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hardware queue of a command queue.
    fn hardware_queue(&self, queue: QueueId) -> u32 {
        queue.0 % self.gpu.queues.len() as u32
    }

    /// Plans, records and hands over. Returns hardware queues that need a thread.
    pub(crate) fn submit(&self, submission: Submission<'_>) -> Result<Vec<usize>> {
        let mut state = self.lock();
        // A host that never waits gives back what is done here.
        let looked = self.look(&mut state).map_err(|result| error("asking how far the device is", result));
        if let Err(why) = looked {
            let told = self.lose(&mut state, why);
            self.tell(state, told);
            state = self.lock();
        }
        if let Some(lost) = &state.lost {
            return Err(lost.clone());
        }
        for commit in submission.commits {
            let cares = commit.buffers.iter().map(Cares::of).collect();
            let queue = self.hardware_queue(commit.queue);
            let (buffers, report, busy) = (commit.buffers.into(), CommitReport::default(), SmallVec::new());
            state.commits.insert(commit.id, Commit { queue, buffers, cares, report, busy });
        }
        let plan = self.plan(&mut state, submission.graph);
        let done = self.hand_over(&mut state, plan);
        if let Err(why) = done {
            let told = self.lose(&mut state, why.clone());
            self.tell(state, told);
            return Err(why);
        }
        let told = state.settle();
        self.tell(state, told);
        // Without the lock: the observer asks from under its own whether commits are busy. Whoever comes to wait after it was
        // asked here attends by itself.
        let awaited = self.observer.get().is_some_and(|observer| observer.is_awaited());
        Ok(if awaited { self.attend() } else { Vec::new() })
    }

    fn hand_over(&self, state: &mut State, plan: Plan) -> Result<()> {
        self.counters.add(&plan);
        for batch in plan.batches {
            self.hand_over_batch(state, &batch)?;
            state.planner.give_back(batch);
        }
        state.notices.extend(plan.notices);
        Ok(())
    }

    fn hand_over_batch(&self, state: &mut State, batch: &Batch) -> Result<()> {
        let at = batch.queue as usize;
        let State { commits, images, queues, .. } = &mut *state;
        let context = Context {
            commits: &|commit| commits.get(&commit).map(|commit| commit.buffers.clone()),
            images,
            tools: &self.tools,
            timing: self.timing.load(Ordering::Relaxed),
        };
        let recording = self.recording(&mut queues[at].free, batch, &context)?;
        let commands = [vk::CommandBufferSubmitInfo::default().command_buffer(recording.raw)];
        let point = |queue: u32, value: u64| {
            vk::SemaphoreSubmitInfo::default()
                .semaphore(self.gpu.queues[queue as usize].timeline)
                .value(value)
                .stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)
        };
        let waits: SmallVec<[_; 4]> = batch.waits.iter().map(|wait| point(wait.queue, wait.batch)).collect();
        let signals = [point(batch.queue, batch.number)];
        let info = vk::SubmitInfo2::default()
            .wait_semaphore_infos(&waits)
            .command_buffer_infos(&commands)
            .signal_semaphore_infos(&signals);
        self.gpu.submit(at, &info, Witness::fence(&recording.witness))?;
        let mut in_batch: SmallVec<[CommitId; 2]> = SmallVec::new();
        let mut fresh_images = Vec::new();
        for step in &batch.steps {
            match step {
                Step::Command(command) if in_batch.last() == Some(&command.commit) => {}
                Step::Command(command) if !in_batch.contains(&command.commit) => {
                    in_batch.push(command.commit)
                }
                Step::Command(_) => {}
                Step::Barrier { fresh, .. } => fresh_images.extend_from_slice(fresh),
            }
        }
        let own = Point { queue: batch.queue, batch: batch.number };
        for commit in &in_batch {
            let Some(commit) = commits.get_mut(commit) else { continue };
            match commit.busy.iter_mut().find(|point| point.queue == own.queue) {
                Some(point) => point.batch = own.batch,
                None => commit.busy.push(own),
            }
        }
        let flying = Flying { number: batch.number, recording, commits: in_batch, fresh: fresh_images };
        state.queues[at].flying.push_back(flying);
        Ok(())
    }

    /// A recording that says what the batch says: one that is known, or a new one.
    fn recording(
        &self,
        free: &mut VecDeque<Recording>,
        batch: &Batch,
        context: &Context<'_>,
    ) -> Result<Recording> {
        if let Some(at) = free.iter().position(|recording| recording.says(batch, context))
            && let Some(mut recording) = free.remove(at)
        {
            self.counters.add_repeated();
            recording.say_again(batch, context);
            return Ok(recording);
        }
        let blank = free.iter().position(Recording::is_blank);
        let oldest = (free.len() >= KEPT_MAX).then_some(0);
        let mut recording = match blank.or(oldest).and_then(|at| free.remove(at)) {
            Some(recording) => recording,
            None => Recording::new(&self.gpu, self.gpu.queues[batch.queue as usize].family)?,
        };
        if !recording.is_blank() {
            recording.reset()?;
        }
        recording.record(batch, context)?;
        Ok(recording)
    }

    pub(crate) fn is_busy(&self, commit: CommitId) -> bool {
        let state = self.lock();
        state.commits.get(&commit).is_some_and(|commit| !commit.busy.is_empty())
    }
}
