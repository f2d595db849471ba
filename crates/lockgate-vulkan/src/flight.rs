//! What is in flight: commits, batches, and what the host is told when they are done.
//!
//! Work is planned, recorded and handed over on the thread that commits. A host thread that waits looks for itself how far
//! the device is. Once somebody sleeps or is to be called, a thread for each hardware queue waits for its timeline; to wake
//! one for each commit would cost more than the commit does. Deliberately absent: how a batch
//! is recorded (`record.rs`). Tested in the contract suite.

use crate::bind::make_views;
use crate::counters::Counters;
use crate::error::error;
use crate::gpu::Gpu;
use crate::memory::native;
use crate::pipeline::Pipeline;
use crate::plan::{Batch, HardwareStages, ImageId, Job, Notice, NoticeKind, Plan, Planner, Point, Step};
use crate::record::{Context, Recording};
use crate::texture::Texture;
use crate::timing::Clock;
use crate::tools::Tools;
use crate::witness::Witness;
use ash::vk;
use lockgate_runtime::backend::{Binding, Command, Observer, Submission, SubmittedBuffer};
use lockgate_runtime::{CommandTiming, CommitReport, Error, ErrorKind, Result};
use lockgate_sync::{CommitId, EventId, QueueId};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a host thread looks for itself before it sleeps: about what a wake-up costs.
const SPIN: Duration = Duration::from_micros(30);
/// How long a thread waits for a timeline before it looks whether the device is being closed.
const PATIENCE: Duration = Duration::from_millis(200);

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

/// What of a command buffer has to be looked at command by command.
#[derive(Clone, Copy)]
struct Cares {
    /// It uses textures that may not have been used before.
    fresh: bool,
    /// It has kernels that may not be able to run with what they are bound to.
    bindings: bool,
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

impl QueueState {
    /// The batch whose end is waited for next.
    fn awaited(&self) -> Option<u64> {
        self.flying.front().map(|flying| flying.number).filter(|number| *number <= self.attended)
    }
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

/// What the observer is told once the lock is free.
enum Told {
    Signaled(EventId, u64),
    Completed(CommitId, CommitReport),
    Progressed(CommitId),
    Lost(Error),
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

    /// What was handed over so far is reported as it ends. Returns hardware queues that need a thread.
    pub(crate) fn attend(&self) -> Vec<usize> {
        let mut state = self.lock();
        let mut unwatched = Vec::new();
        for (at, queue) in state.queues.iter_mut().enumerate() {
            let Some(last) = queue.flying.back() else { continue };
            queue.attended = last.number;
            if !std::mem::replace(&mut queue.watched, true) {
                unwatched.push(at);
            }
        }
        self.changed.notify_all();
        unwatched
    }

    fn plan(&self, state: &mut State, graph: &lockgate_sync::Graph) -> Plan {
        let State { planner, commits, images, .. } = state;
        let graphics = self.gpu.queues.iter().position(|queue| queue.graphics).unwrap_or(0) as u32;
        let mut failed: Vec<(CommitId, Error)> = Vec::new();
        let mut at: Option<(CommitId, &Commit)> = None;
        let plan = planner.plan(graph, &mut |command| {
            let commit = match at {
                Some((id, commit)) if id == command.commit => commit,
                _ => at.insert((command.commit, commits.get(&command.commit)?)).1,
            };
            let (queue, buffer) = (commit.queue, &commit.buffers[command.buffer as usize]);
            let own = buffer.contents.commands().get(command.command as usize)?;
            let cares = commit.cares[command.buffer as usize];
            if cares.bindings
                && let Err(why) = can_run(own, buffer)
            {
                failed.push((command.commit, why));
                return None;
            }
            let stages = match own {
                Command::Dispatch { .. } => HardwareStages::COMPUTE,
                Command::Nothing => HardwareStages::ALL,
                _ => HardwareStages::TRANSFER,
            };
            // Blits of images need a queue with graphics.
            let blits = matches!(own, Command::GenerateMipmaps { .. });
            let queue = if blits && !self.gpu.queues[queue as usize].graphics { graphics } else { queue };
            let mut job = Job { queue, stages, fresh: Vec::new() };
            if cares.fresh {
                for texture in textures(own, buffer).into_iter().filter(|texture| !texture.is_ready()) {
                    job.fresh.push(texture.id);
                    images.entry(texture.id).or_insert(texture);
                }
            }
            Some(job)
        });
        let behind = || {
            Error::new(
                ErrorKind::DependencyFailed,
                "work was not run: something that it waits for has failed",
            )
        };
        let skipped = plan.skipped.iter().map(|command| (command.commit, behind()));
        for (commit, why) in failed.into_iter().chain(skipped) {
            if let Some(commit) = commits.get_mut(&commit) {
                commit.report.error.get_or_insert(why);
            }
        }
        plan
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

    /// Looks how far the device is, and tells the observer. Returns whether anything was done.
    pub(crate) fn advance(&self) -> bool {
        let mut state = self.lock();
        let told = match self.look(&mut state) {
            Ok(false) => return false,
            Ok(true) => state.settle(),
            Err(result) => self.lose(&mut state, error("asking how far the device is", result)),
        };
        self.tell(state, told);
        true
    }

    fn look(&self, state: &mut State) -> std::result::Result<bool, vk::Result> {
        let mut any = false;
        for at in 0..state.queues.len() {
            if state.queues[at].flying.is_empty() || state.lost.is_some() {
                continue;
            }
            let reached = self.gpu.reached(at)?;
            if reached == state.queues[at].reached {
                continue;
            }
            any = true;
            state.queues[at].reached = reached;
            state.planner.done(Point { queue: at as u32, batch: reached });
            while state.queues[at].flying.front().is_some_and(|flying| flying.number <= reached) {
                let Some(flying) = state.queues[at].flying.pop_front() else { break };
                self.land(state, at, flying);
            }
        }
        Ok(any)
    }

    /// A batch is done.
    fn land(&self, state: &mut State, at: usize, mut flying: Flying) {
        let now = self.clock.now();
        let ticks = flying.recording.stamps.read();
        let last = ticks.last().copied().unwrap_or(0);
        let time = |at: usize| ticks.get(at).map_or(now, |tick| self.clock.time(*tick, last, now));
        let worker = at as u32;
        let timed = &flying.recording.stamps.timed;
        for (command, start) in timed {
            if let Some(commit) = state.commits.get_mut(&command.commit) {
                let (start, end) = (time(*start as usize), time(*start as usize + 1));
                commit.report.commands.push(CommandTiming { command: Some(*command), start, end, worker });
            }
        }
        if timed.is_empty() {
            let (start, end) = (time(0), time(ticks.len().saturating_sub(1)));
            for commit in &flying.commits {
                let Some(commit) = state.commits.get_mut(commit) else { continue };
                commit.report.commands.push(CommandTiming { command: None, start, end, worker });
            }
        }
        let limit = self.gpu.limits.max_threadgroups;
        for (command, error) in flying.recording.indirect.refused(&flying.recording.scratch, limit) {
            if let Some(commit) = state.commits.get_mut(&command.commit) {
                commit.report.error.get_or_insert(error);
            }
        }
        for image in flying.fresh {
            if state.planner.is_ready(image)
                && let Some(texture) = state.images.remove(&image)
            {
                texture.set_ready();
            }
        }
        match flying.recording.rest() {
            Ok(()) => state.queues[at].free.push_back(flying.recording),
            Err(why) => log::warn!("{why}"),
        }
    }

    fn lose(&self, state: &mut State, why: Error) -> Vec<Told> {
        let told = state.lose(why);
        if let Some(why) = &state.lost {
            self.gpu.lost.get_or_init(|| why.clone());
        }
        told
    }

    /// Frees the lock and tells the observer.
    fn tell(&self, state: MutexGuard<'_, State>, told: Vec<Told>) {
        drop(state);
        let Some(observer) = self.observer.get() else { return };
        for told in told {
            match told {
                Told::Signaled(event, value) => observer.signaled(event, value),
                Told::Completed(commit, report) => observer.completed(commit, report),
                Told::Progressed(commit) => observer.progressed(commit),
                Told::Lost(error) => observer.lost(error),
            }
        }
    }

    /// A host thread waits: for a while it looks for itself.
    pub(crate) fn help(&self, done: &dyn Fn() -> bool) {
        let since = Instant::now();
        while !done() && since.elapsed() < SPIN {
            if !self.advance() {
                std::hint::spin_loop();
            }
        }
    }

    /// The life of the thread that waits for a queue's timeline.
    pub(crate) fn watch(&self, queue: usize) {
        loop {
            let mut state = self.lock();
            let number = loop {
                match state.queues[queue].awaited() {
                    Some(number) if state.lost.is_none() => break number,
                    _ if self.closing.load(Ordering::Acquire) => return,
                    _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(state);
            self.wait_for(queue, number);
            self.advance();
        }
    }

    fn wait_for(&self, queue: usize, number: u64) {
        let (semaphores, values) = ([self.gpu.queues[queue].timeline], [number]);
        let info = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        // SAFETY: the semaphore is a timeline of this device, which this thread keeps alive.
        let waited = unsafe { self.gpu.raw.wait_semaphores(&info, PATIENCE.as_nanos() as u64) };
        if let Err(result) = waited
            && result != vk::Result::TIMEOUT
        {
            let mut state = self.lock();
            let told = self.lose(&mut state, error("waiting for the device", result));
            self.tell(state, told);
        }
    }

    /// The queue has no thread that could wait for its timeline.
    pub(crate) fn cannot_watch(&self, queue: usize, why: &std::io::Error) {
        let message = format!("no thread can wait for hardware queue {queue}: {why}");
        let mut state = self.lock();
        let told = self.lose(&mut state, Error::new(ErrorKind::OutOfMemory, message));
        self.tell(state, told);
    }

    fn last_flying(&self, queue: usize) -> Option<u64> {
        let state = self.lock();
        state.queues[queue].flying.back().filter(|_| state.lost.is_none()).map(|flying| flying.number)
    }

    /// No more work comes: waits until all is done, then the watching threads end.
    pub(crate) fn close(&self) {
        for queue in 0..self.gpu.queues.len() {
            while let Some(last) = self.last_flying(queue) {
                self.wait_for(queue, last);
                self.advance();
            }
        }
        self.closing.store(true, Ordering::Release);
        drop(self.lock());
        self.changed.notify_all();
    }
}

impl State {
    /// What can be told by now.
    fn settle(&mut self) -> Vec<Told> {
        let State { commits, queues, notices, .. } = self;
        let over = |point: &Point| queues[point.queue as usize].reached >= point.batch;
        let mut told = Vec::new();
        for (id, commit) in commits.iter_mut() {
            if !commit.busy.is_empty() && commit.busy.iter().all(over) {
                commit.busy.clear();
                told.push(Told::Progressed(*id));
            }
        }
        notices.retain(|notice| {
            if !notice.points.iter().all(over) {
                return true;
            }
            match notice.kind {
                NoticeKind::Signal { event, value } => told.push(Told::Signaled(event, value)),
                NoticeKind::Complete(id) => {
                    if let Some(commit) = commits.remove(&id) {
                        told.push(Told::Completed(id, commit.report));
                    }
                }
            }
            false
        });
        told
    }

    /// The device is lost: everything ends with the error.
    fn lose(&mut self, why: Error) -> Vec<Told> {
        if self.lost.is_some() {
            return Vec::new();
        }
        let why = match why.kind() {
            ErrorKind::DeviceLost => why,
            // Whatever failed half-way, nothing that was planned after it can be relied on.
            _ => Error::new(ErrorKind::DeviceLost, format!("the device is given up: {why}")),
        };
        log::error!("{why}");
        self.lost = Some(why.clone());
        self.notices.clear();
        let mut told = vec![Told::Lost(why.clone())];
        for (id, mut commit) in std::mem::take(&mut self.commits) {
            commit.report.error.get_or_insert_with(|| why.clone());
            told.push(Told::Completed(id, commit.report));
        }
        told
    }
}

/// Whether a command can run at all; makes what it needs for that. Grids that cut workgroups were looked at when they were
/// recorded.
fn can_run(command: &Command, of: &SubmittedBuffer) -> Result<()> {
    let &Command::Dispatch { pipeline, bindings, binding_count, .. } = command else { return Ok(()) };
    let Some(pipeline) = of.pipelines[pipeline as usize].downcast_ref::<Pipeline>() else { return Ok(()) };
    let list = &of.contents.bindings()[bindings as usize..(bindings + binding_count) as usize];
    if pipeline.has_arrays {
        pipeline.can_bind(list)?;
    }
    if pipeline.has_textures {
        make_views(pipeline, of, list)?;
    }
    Ok(())
}

impl Cares {
    fn of(buffer: &SubmittedBuffer) -> Cares {
        let fresh = |texture: &Texture| !texture.is_ready();
        let looks = |pipeline: &Pipeline| pipeline.has_arrays || pipeline.has_textures;
        Cares {
            fresh: buffer
                .resources
                .iter()
                .any(|resource| resource.downcast_ref::<Texture>().is_some_and(fresh)),
            bindings: buffer.pipelines.iter().any(|own| own.downcast_ref::<Pipeline>().is_some_and(looks)),
        }
    }
}

/// The textures that a command uses.
fn textures(command: &Command, of: &SubmittedBuffer) -> SmallVec<[Arc<Texture>; 2]> {
    let mut places: SmallVec<[u32; 4]> = SmallVec::new();
    match command {
        Command::Dispatch { bindings, binding_count, .. } => {
            let list = &of.contents.bindings()[*bindings as usize..(bindings + binding_count) as usize];
            places.extend(list.iter().filter_map(|binding| match binding {
                Binding::Texture { resource, .. } => Some(*resource),
                _ => None,
            }));
        }
        Command::CopyBufferToTexture { to, .. } => places.push(to.resource),
        Command::CopyTextureToBuffer { from, .. } => places.push(from.resource),
        Command::CopyTexture { from, to } => places.extend([from.resource, to.resource]),
        Command::GenerateMipmaps { resource } => places.push(*resource),
        _ => {}
    }
    let mut textures: SmallVec<[Arc<Texture>; 2]> = SmallVec::new();
    for place in places {
        if let Ok(texture) = native::<Texture>(&of.resources[place as usize])
            && textures.iter().all(|own| own.id != texture.id)
        {
            textures.push(texture);
        }
    }
    textures
}
