//! The worst device that the model allows: any order of what nothing orders, in small steps, and old values where
//! nothing shows the new ones.
//!
//! Everything that may run at the same time takes turns on one thread: workgroups of dispatches, and copies in pieces.
//! Each is a fiber that stops before an access when the dice say so (`agent.rs`). What an access sees is drawn from the
//! history of its memory (`history.rs`), as far as the graph leaves it open (`view.rs`). All choices come from one seed
//! and from nothing else, so the same program gives the same bytes on every machine.
//!
//! A program whose hazards are all closed has one outcome here, that of recording order. Deliberately absent: weakness
//! of workgroup memory, and turns within a statement of a workgroup, whose invocations go in step. Tested in
//! `tests/adversary.rs`, and on the chapters of `spec/` in the test suite.

mod agent;
mod dice;
mod history;
mod moves;
mod view;

use crate::execute::Dispatch;
use crate::graph::{InFlight, ReadyWork};
use crate::memory::Span;
use agent::{Agent, GroupPort, Place};
use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use dice::Dice;
pub(crate) use dice::mix;
pub(crate) use history::History;
use lockgate_runtime::backend::{Binding, Command};
use lockgate_runtime::{Error, ErrorKind, Result};
use lockgate_sync::Graph;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use view::Views;

/// So many fibers take turns; what may run besides waits until one has ended.
const FIBERS_MAX: usize = 12;
/// Bytes of a fiber's stack: the interpreter goes as deep as a kernel's expressions, statements and calls.
const STACK_BYTES: usize = 2 << 20;

/// What is in flight on a device with an adversary.
pub(crate) struct Adversary {
    dice: Arc<Dice>,
    views: Views,
    era: u64,
    opened: Instant,
    limit: Duration,
    max_threadgroups: u32,
    /// Works that have not begun.
    ready: Vec<ReadyWork>,
    /// Dispatches with workgroups that have not begun.
    begun: Vec<Groups>,
    fibers: Vec<Fiber>,
    stacks: Vec<DefaultStack>,
}

/// A work that has ended.
pub(crate) struct Ended {
    pub(crate) work: ReadyWork,
    pub(crate) start: Duration,
    pub(crate) result: Result<()>,
}

/// A work that has begun.
struct Task {
    work: ReadyWork,
    start: Duration,
    agent: Agent,
    /// The dispatch, if it is one, and where its bindings are.
    dispatch: Option<(Dispatch, Vec<Option<Place>>)>,
    stop: AtomicBool,
    failure: Mutex<Option<Error>>,
}

/// The workgroups of a dispatch in the order in which they begin.
struct Groups {
    task: Arc<Task>,
    first: u64,
    stride: u64,
    begun: u64,
}

/// A workgroup or a copy on its way.
struct Fiber {
    coroutine: Coroutine<(), (), (), DefaultStack>,
    task: Arc<Task>,
    spent: Duration,
}

// SAFETY: a fiber owns what lies on its stack: an `Arc` of a task, which any thread may have, and values that the
// interpreter made of it. It has nothing of the thread that ran it before: a fiber keeps no thread-local across a turn.
unsafe impl Send for Fiber {}

impl Adversary {
    pub(crate) fn new(seed: u64, opened: Instant, limit: Duration, max_threadgroups: u32) -> Adversary {
        Adversary {
            dice: Arc::new(Dice::new(seed)),
            views: Views::default(),
            era: 1,
            opened,
            limit,
            max_threadgroups,
            ready: Vec::new(),
            begun: Vec::new(),
            fibers: Vec::new(),
            stacks: Vec::new(),
        }
    }

    /// Takes a submission's graph. Its commits are in flight already, its vertices are not.
    pub(crate) fn learn(&mut self, graph: &Graph, in_flight: &InFlight) {
        if in_flight.is_idle() {
            // What has been stored until now is seen by all that comes.
            self.era += 1;
            self.views.clear();
        }
        self.views.learn(graph, |edge| {
            let (commit, buffer, _) = edge.by.at?;
            in_flight.buffer(commit, buffer)
        });
    }

    /// Takes works that may begin.
    pub(crate) fn admit(&mut self, in_flight: &mut InFlight) {
        let mut ready: Vec<_> = in_flight.ready.drain(..).collect();
        ready.sort_unstable();
        self.ready.extend(ready.into_iter().filter_map(|vertex| in_flight.work(vertex)));
    }

    /// Lets everything take turns until a work has ended; nothing if nothing is left.
    pub(crate) fn go(&mut self) -> Option<Ended> {
        loop {
            let fibers = self.fibers.len();
            let room = fibers < FIBERS_MAX;
            let open = if room { self.ready.len() + self.begun.len() } else { 0 };
            if fibers + open == 0 {
                return None;
            }
            let at = self.dice.below((fibers + open) as u64) as usize;
            let ended = match at.checked_sub(fibers) {
                None => self.resume(at),
                Some(at) if at < self.ready.len() => self.begin(at),
                Some(at) => self.begin_group(at - self.ready.len()),
            };
            if ended.is_some() {
                return ended;
            }
        }
    }

    fn begin(&mut self, at: usize) -> Option<Ended> {
        let work = self.ready.swap_remove(at);
        let start = self.opened.elapsed();
        let (number, view) = self.views.of(work.vertex).unwrap_or_default();
        let agent = Agent::new(number, view, self.era, self.dice.clone());
        let of = &work.buffers[work.command.buffer as usize];
        let dispatch = match of.contents.commands().get(work.command.command as usize) {
            Some(Command::Nothing) | None => return Some(Ended { work, start, result: Ok(()) }),
            Some(Command::Dispatch { .. }) => match dispatch(&work, &agent, self.max_threadgroups) {
                Ok((dispatch, _)) if dispatch.total() == 0 => {
                    return Some(Ended { work, start, result: Ok(()) });
                }
                Ok(dispatch) => Some(dispatch),
                Err(error) => return Some(Ended { work, start, result: Err(error) }),
            },
            Some(_) => None,
        };
        let (stop, failure) = (AtomicBool::new(false), Mutex::default());
        let task = Arc::new(Task { work, start, agent, dispatch, stop, failure });
        match &task.dispatch {
            None => self.spawn(&task, 0),
            Some((dispatch, _)) => {
                let total = dispatch.total();
                let (first, stride) = (self.dice.below(total), self.stride(total));
                self.begun.push(Groups { task, first, stride, begun: 0 });
                None
            }
        }
    }

    /// A step with which a walk around `total` places meets each of them once.
    fn stride(&self, total: u64) -> u64 {
        let common = |mut a: u64, mut b: u64| {
            while b != 0 {
                (a, b) = (b, a % b);
            }
            a
        };
        loop {
            let stride = 1 + self.dice.below(total);
            if common(stride, total) == 1 {
                return stride;
            }
        }
    }

    fn begin_group(&mut self, at: usize) -> Option<Ended> {
        let groups = &mut self.begun[at];
        let Some((dispatch, _)) = &groups.task.dispatch else { return None };
        let total = dispatch.total();
        let step = u128::from(groups.begun) * u128::from(groups.stride) + u128::from(groups.first);
        let group = (step % u128::from(total)) as u64;
        groups.begun += 1;
        let task = groups.task.clone();
        // What has failed does not go on.
        if groups.begun == total || dispatch.has_failed() {
            self.begun.swap_remove(at);
        }
        self.spawn(&task, group)
    }

    /// Makes a fiber for a workgroup, or for a whole command that is no dispatch.
    fn spawn(&mut self, task: &Arc<Task>, group: u64) -> Option<Ended> {
        let stack = match self.stacks.pop().map_or_else(|| DefaultStack::new(STACK_BYTES), Ok) {
            Ok(stack) => stack,
            Err(error) => {
                let message = format!("no memory for a fiber: {error}");
                task.fail(Error::new(ErrorKind::OutOfMemory, message));
                return self.ended(task);
            }
        };
        let own = task.clone();
        let coroutine = Coroutine::with_stack(stack, move |yielder, ()| own.run(group, yielder));
        self.fibers.push(Fiber { coroutine, task: task.clone(), spent: Duration::ZERO });
        None
    }

    /// Lets a fiber go on until it takes a turn or ends.
    fn resume(&mut self, at: usize) -> Option<Ended> {
        let start = Instant::now();
        let fiber = &mut self.fibers[at];
        match fiber.coroutine.resume(()) {
            CoroutineResult::Yield(()) => {
                fiber.spent += start.elapsed();
                if fiber.spent > self.limit {
                    fiber.task.stop.store(true, Ordering::Relaxed);
                }
                None
            }
            CoroutineResult::Return(()) => {
                let Fiber { coroutine, task, .. } = self.fibers.swap_remove(at);
                self.stacks.push(coroutine.into_stack());
                self.ended(&task)
            }
        }
    }

    /// A part of a task has ended; tells if that was all of it.
    fn ended(&mut self, task: &Arc<Task>) -> Option<Ended> {
        let is = |other: &Arc<Task>| Arc::ptr_eq(other, task);
        if self.fibers.iter().any(|fiber| is(&fiber.task)) || self.begun.iter().any(|groups| is(&groups.task))
        {
            return None;
        }
        let own = task.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let of_kernel = task.dispatch.as_ref().and_then(|(dispatch, _)| dispatch.take_failure());
        let result = own.or(of_kernel).map_or(Ok(()), Err);
        Some(Ended { work: task.work.clone(), start: task.start, result })
    }
}

impl Drop for Adversary {
    /// What has begun is brought to an end: kernels leave their loops.
    fn drop(&mut self) {
        self.dice.close();
        for mut fiber in self.fibers.drain(..) {
            fiber.task.stop.store(true, Ordering::Relaxed);
            while let CoroutineResult::Yield(()) = fiber.coroutine.resume(()) {}
        }
    }
}

impl Task {
    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn run(&self, group: u64, yielder: &Yielder<(), ()>) {
        let of = &self.work.buffers[self.work.command.buffer as usize];
        if let Some((dispatch, places)) = &self.dispatch {
            let port = GroupPort { agent: &self.agent, places, group, epoch: 0.into(), yielder };
            dispatch.run_through(group, &port, &self.stop);
        } else if let Some(command) = of.contents.commands().get(self.work.command.command as usize)
            && let Err(error) = moves::run(command, of, &self.agent, yielder)
        {
            self.fail(error);
        }
    }
}

/// Looks a dispatch up. The counts of an indirect one are read as its work sees them.
fn dispatch(
    work: &ReadyWork,
    agent: &Agent,
    max_threadgroups: u32,
) -> Result<(Dispatch, Vec<Option<Place>>)> {
    let of = &work.buffers[work.command.buffer as usize];
    let read = |resource: u32, span: Span, bytes: &mut [u8]| match Place::of(resource, of) {
        Some(place) => agent.load(&place, span, bytes, agent.toucher()),
        None => span.read_into(bytes),
    };
    let dispatch = Dispatch::new(work.clone(), 1, max_threadgroups, false, &read)?;
    let places = dispatch.bound().iter().map(|binding| match *binding {
        Binding::Buffer(span) => Place::of(span.resource, of),
        Binding::Texture { resource, .. } => Place::of(resource, of),
        Binding::Sampler(_) | Binding::Nothing => None,
    });
    let places = places.collect();
    Ok((dispatch, places))
}
