//! Who runs what and when: the pool of workers, the threads that wait, and the orders of a single thread.
//!
//! A free device runs whatever is ready on any thread: its workers and every host thread that waits. A device
//! with an order runs one work at a time, on the thread that waits, choosing among what is ready: the same
//! order gives the same bytes each time. Nothing is decided before somebody waits, so an order ranges over all
//! that was committed until then.
//!
//! On a free device a thread takes small works together, and reports them together: those that surely end soon, so
//! that they hold nothing else up and nobody has to watch them. What it has run it reports when it looks for more.

use crate::adversary::{Adversary, Ended, mix};
use crate::bell::Bell;
use crate::execute::{self, Bench, Dispatch, Job, prepare};
use crate::graph::{Batch, InFlight, Notice, Over, ReadyWork};
use crate::observe::Log;
use crate::slot::Slot;
use crate::watchdog::Watchdog;
use crate::{CpuDescriptor, Order};
use lockgate_runtime::backend::{Observer, Submission};
use lockgate_runtime::{CommandTiming, Result};
use lockgate_sync::{CommitId, VertexId};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread looks for work before it sleeps: about twice what a wake-up costs.
const SPIN: Duration = Duration::from_micros(20);

/// What small works that a thread takes at once cost at most, in statements of invocations: some tens of microseconds.
const BATCH_COST: u64 = 100_000;

/// What is ready alone and costs no more is run by who submits it: to tell another thread would take longer.
const LONE_COST: u64 = 2_000;

pub(crate) struct Scheduler {
    state: Mutex<State>,
    /// Rings when something is ready.
    bell: Bell,
    closing: AtomicBool,
    pub(crate) observer: OnceLock<Arc<dyn Observer>>,
    /// What commands touch, if that is recorded.
    pub(crate) log: OnceLock<Log>,
    order: Order,
    /// Who runs everything, with [`Order::Adversary`]. Taken before the state.
    pub(crate) adversary: Option<Mutex<Adversary>>,
    threads: u64,
    /// Whether each command is timed, and so ends by itself.
    pub(crate) timing: AtomicBool,
    pub(crate) max_threadgroups: u32,
    opened: Instant,
    watchdog: Watchdog,
}

#[derive(Default)]
struct State {
    in_flight: InFlight,
    /// Large dispatches that have workgroups left.
    shared: Vec<Arc<Dispatch>>,
    /// Works that were chosen so far, and where a random order stands.
    chosen: u64,
    random: u64,
}

/// What a thread has in hand while it runs works.
struct Hand {
    worker: u32,
    /// What the watchdog looks at, once there is something to look at.
    slot: Option<Arc<Slot>>,
    bench: Bench,
    /// Small works to run.
    batch: Batch,
    /// Works that were run and not yet reported.
    over: Over,
}

/// What a thread does next.
enum Next {
    Batch,
    Work(ReadyWork),
    Help(Arc<Dispatch>),
}

impl Scheduler {
    pub(crate) fn new(descriptor: &CpuDescriptor, max_threadgroups: u32) -> Scheduler {
        let opened = Instant::now();
        let adversary = match descriptor.order {
            Order::Adversary(seed) => {
                let adversary = Adversary::new(seed, opened, descriptor.time_limit, max_threadgroups);
                Some(Mutex::new(adversary))
            }
            _ => None,
        };
        let random = if let Order::Random(seed) = descriptor.order { seed } else { 0 };
        Scheduler {
            state: Mutex::new(State { random, ..State::default() }),
            bell: Bell::new(),
            closing: AtomicBool::new(false),
            observer: OnceLock::new(),
            log: OnceLock::new(),
            order: descriptor.order.clone(),
            adversary,
            threads: descriptor.threads() as u64,
            timing: AtomicBool::new(false),
            max_threadgroups,
            opened,
            watchdog: Watchdog::new(opened, descriptor.time_limit),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_free(&self) -> bool {
        matches!(self.order, Order::Free)
    }

    pub(crate) fn submit(&self, submission: Submission<'_>) {
        let mut adversary =
            self.adversary.as_ref().map(|adversary| adversary.lock().unwrap_or_else(PoisonError::into_inner));
        let mut state = self.lock();
        for commit in submission.commits {
            state.in_flight.add_commit(commit.id, commit.buffers);
        }
        adversary.as_mut().into_iter().for_each(|it| it.learn(submission.graph, &state.in_flight));
        drop(adversary);
        state.in_flight.add_graph(submission.graph);
        let mut hand = Hand::new(0);
        if state.in_flight.ready.len() == 1 && self.takes_batches() {
            state.in_flight.take_batch(&mut hand.batch, 1, LONE_COST, execute::weigher());
        }
        let ready = state.in_flight.ready.len();
        self.settle(state);
        self.announce(ready);
        if hand.batch.of.is_some() {
            self.run_batch(&mut hand, self.opened.elapsed());
            self.report(&mut hand.over);
        }
    }

    pub(crate) fn is_busy(&self, commit: CommitId) -> bool {
        self.lock().in_flight.is_busy(commit)
    }

    /// Runs work on the calling thread until `done` or until there is none.
    pub(crate) fn help(&self, done: &dyn Fn() -> bool) {
        if let Some(adversary) = &self.adversary {
            return self.help_adversary(adversary, done);
        }
        let mut hand = Hand::new(0);
        let mut idle_since: Option<Instant> = None;
        while !done() {
            let seen = self.bell.count();
            if self.turn(&mut hand) {
                idle_since = None;
                continue;
            }
            if !self.is_free() {
                return;
            }
            let since = *idle_since.get_or_insert_with(Instant::now);
            while self.bell.count() == seen && !done() {
                if since.elapsed() > SPIN {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        self.report(&mut hand.over);
    }

    fn help_adversary(&self, adversary: &Mutex<Adversary>, done: &dyn Fn() -> bool) {
        while !done() {
            let mut running = adversary.lock().unwrap_or_else(PoisonError::into_inner);
            running.admit(&mut self.lock().in_flight);
            let ended = running.go();
            drop(running);
            let Some(Ended { work, start, result }) = ended else { return };
            let mut over = Over::default();
            self.end(&mut over, &work, 0, start, result);
            self.report(&mut over);
        }
    }

    /// The life of a worker.
    pub(crate) fn serve(&self, worker: u32) {
        let mut hand = Hand::new(worker);
        while !self.closing.load(Ordering::Acquire) {
            let seen = self.bell.count();
            if self.turn(&mut hand) {
                continue;
            }
            let since = Instant::now();
            while self.bell.count() == seen && since.elapsed() < SPIN {
                std::hint::spin_loop();
            }
            if self.bell.count() == seen {
                self.bell.sleep(seen);
            }
        }
        self.report(&mut hand.over);
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.bell.ring(usize::MAX);
    }

    /// Tells idle threads that there is something to run, those of the host that sleep among them.
    fn announce(&self, count: usize) {
        if count > 0 {
            self.bell.ring(count);
            self.observer.get().into_iter().for_each(|observer| observer.help_wanted());
        }
    }

    /// Reports what the thread has run, and runs what is next. Returns whether there was anything to do.
    fn turn(&self, hand: &mut Hand) -> bool {
        let mut state = self.lock();
        let mut fresh = 0;
        if hand.over.commit.is_some() {
            let before = state.in_flight.ready.len();
            state.in_flight.ended(&mut hand.over);
            fresh = state.in_flight.ready.len() - before;
            if !state.in_flight.notices.is_empty() {
                // Whoever waits on this thread may have nothing more to wait for, so it takes nothing on yet.
                self.settle(state);
                self.announce(fresh);
                return true;
            }
        }
        let next = self.next(&mut state, &mut hand.batch);
        let left = state.in_flight.ready.len();
        drop(state);
        self.announce(fresh.min(left));
        let Some(next) = next else { return false };
        self.run(next, hand);
        true
    }

    /// Reports what a thread has run that takes nothing on.
    fn report(&self, over: &mut Over) {
        if over.commit.is_none() {
            return;
        }
        let mut state = self.lock();
        let before = state.in_flight.ready.len();
        state.in_flight.ended(over);
        let fresh = state.in_flight.ready.len() - before;
        self.settle(state);
        self.announce(fresh);
    }

    /// The next thing to run, by the order of the device.
    fn next(&self, state: &mut State, batch: &mut Batch) -> Option<Next> {
        if let Some(dispatch) = state.shared.last() {
            return Some(Next::Help(dispatch.clone()));
        }
        if self.takes_batches() {
            // Not more than its share: others are there to help.
            let count = (state.in_flight.ready.len() as u64).div_ceil(self.threads) as usize;
            state.in_flight.take_batch(batch, count, BATCH_COST, execute::weigher());
            if batch.of.is_some() {
                return Some(Next::Batch);
            }
        }
        let vertex = self.choose(state)?;
        state.chosen += 1;
        let work = state.in_flight.work(vertex)?;
        Some(Next::Work(work))
    }

    fn takes_batches(&self) -> bool {
        self.is_free() && self.log.get().is_none() && !self.timing.load(Ordering::Relaxed)
    }

    fn choose(&self, state: &mut State) -> Option<VertexId> {
        let count = state.in_flight.ready.len();
        if count == 0 {
            return None;
        }
        let ready = &state.in_flight.ready;
        let smallest = || (0..count).min_by_key(|at| ready[*at]);
        let at = match &self.order {
            Order::Free => Some(0),
            Order::Recording => smallest(),
            // Who runs on its own.
            Order::Adversary(_) => None,
            Order::Reverse => (0..count).max_by_key(|at| ready[*at]),
            Order::Random(_) => {
                let mut sorted: Vec<usize> = (0..count).collect();
                sorted.sort_by_key(|at| ready[*at]);
                state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
                Some(sorted[(mix(state.random) % count as u64) as usize])
            }
            Order::Given(order) => {
                let wanted = order.get(state.chosen as usize).copied();
                let number = |at: &usize| state.in_flight.work_number(ready[*at]);
                let wanted = wanted.and_then(|wanted| (0..count).find(|at| number(at) == Some(wanted)));
                wanted.or_else(smallest)
            }
        };
        state.in_flight.ready.remove(at?)
    }

    fn run(&self, next: Next, hand: &mut Hand) {
        let start = self.opened.elapsed();
        match next {
            Next::Batch => self.run_batch(hand, start),
            Next::Help(dispatch) => self.run_chunks(&dispatch, hand, start),
            Next::Work(work) => {
                match prepare(work.clone(), self.threads, self.max_threadgroups, self.log.get()) {
                    Job::Done(result) => self.end(&mut hand.over, &work, hand.worker, start, result),
                    Job::Dispatch(dispatch) => {
                        let dispatch: Arc<Dispatch> = Arc::from(dispatch);
                        if dispatch.is_shared() && self.is_free() {
                            self.lock().shared.push(dispatch.clone());
                            self.announce(2);
                        }
                        self.run_chunks(&dispatch, hand, start);
                    }
                }
            }
        }
    }

    /// Runs small works one after the other.
    fn run_batch(&self, hand: &mut Hand, start: Duration) {
        let Hand { worker, bench, batch, over, .. } = hand;
        let Some((commit, buffers)) = batch.of.take() else { return };
        let alone = if let [work] = batch.works.as_slice() { Some(work.command) } else { None };
        let mut failed = false;
        for work in batch.works.drain(..) {
            // What failed poisons what follows it, which then is not run.
            if failed && work.follows {
                continue;
            }
            let of = &buffers[work.command.buffer as usize];
            let result = execute::run_small(of, work.command.command, bench);
            failed = result.is_err();
            over.works.push((work.vertex, failed));
            over.error = over.error.take().or(result.err());
        }
        over.commit = Some(commit);
        over.timing = CommandTiming { command: alone, start, end: self.opened.elapsed(), worker: *worker };
    }

    fn run_chunks(&self, dispatch: &Arc<Dispatch>, hand: &mut Hand, start: Duration) {
        let began = dispatch.began(start);
        let slot = hand.slot.get_or_insert_with(|| self.watchdog.slot());
        let mut last = false;
        while let Some(groups) = dispatch.take() {
            slot.begin(self.opened.elapsed());
            self.watchdog.wake();
            last |= dispatch.run(groups, &slot.stop, &mut hand.bench.workspace);
            slot.end();
        }
        if dispatch.is_shared() {
            // Nothing is left to take: nobody needs to find it any more.
            self.lock().shared.retain(|other| !Arc::ptr_eq(other, dispatch));
        }
        if last {
            self.log.get().into_iter().for_each(|log| dispatch.tell(log));
            let result = dispatch.take_failure().map_or(Ok(()), Err);
            self.end(&mut hand.over, &dispatch.work, hand.worker, began, result);
        }
    }

    /// A work has ended, by itself.
    fn end(&self, over: &mut Over, work: &ReadyWork, worker: u32, start: Duration, result: Result<()>) {
        over.commit = Some(work.command.commit);
        over.works.push((work.vertex, result.is_err()));
        over.timing =
            CommandTiming { command: Some(work.command), start, end: self.opened.elapsed(), worker };
        over.error = result.err();
    }

    /// Frees the lock and tells the observer what has happened.
    fn settle(&self, mut state: MutexGuard<'_, State>) {
        if state.in_flight.notices.is_empty() {
            return;
        }
        let notices = std::mem::take(&mut state.in_flight.notices);
        drop(state);
        let Some(observer) = self.observer.get() else { return };
        for notice in notices {
            match notice {
                Notice::Signaled(event, value) => observer.signaled(event, value),
                Notice::Completed(commit, report) => observer.completed(commit, report),
                Notice::Idle(commit) => observer.progressed(commit),
            }
        }
        // Threads that spin look again.
        self.bell.touch();
    }
}

impl Hand {
    fn new(worker: u32) -> Hand {
        Hand { worker, slot: None, bench: Bench::default(), batch: Batch::default(), over: Over::default() }
    }
}
