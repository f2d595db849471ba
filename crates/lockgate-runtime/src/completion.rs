//! What the device has done, as the host can see it: commits, event values, and who waits for them.

use crate::backend::{CommitReport, Observer};
use lockgate_sync::{CommitId, EventId};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// A commit on its way, shared by its handle and the device.
#[derive(Debug, Default)]
pub(crate) struct CommitState {
    done: AtomicBool,
    report: OnceLock<CommitReport>,
}

impl CommitState {
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }

    /// The commit was refused: nobody will run it.
    pub(crate) fn refuse(&self) {
        self.done.store(true, Ordering::Release);
    }

    pub(crate) fn report(&self) -> Option<&CommitReport> {
        self.report.get()
    }
}

/// What happens when a commit is done or an event reaches a value.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// A callback with the thread that runs it.
struct Waiter {
    value: u64,
    thread: Sender<Callback>,
    callback: Box<dyn FnOnce(u64) + Send>,
}

/// The values of events, as the device has reported them.
pub(crate) type Events = BTreeMap<EventId, u64>;

#[derive(Default)]
struct Inner {
    commits: BTreeMap<CommitId, Arc<CommitState>>,
    handlers: BTreeMap<CommitId, Vec<(Sender<Callback>, Callback)>>,
    timed_out: BTreeSet<CommitId>,
    events: Events,
    waiters: BTreeMap<EventId, Vec<Waiter>>,
    /// The device is gone.
    lost: bool,
    /// Threads that sleep on `changed`: to wake nobody is a system call all the same.
    sleepers: usize,
    /// Threads that sleep or are about to.
    waiting: usize,
    /// How often help was wanted.
    calls: u64,
}

#[derive(Default)]
pub(crate) struct Completions {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Counts changes, so that threads that look again and again do without the lock.
    changes: AtomicU64,
}

/// As long as it lives somebody is about to sleep.
pub(crate) struct Waiting<'a>(&'a Completions);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl Completions {
    /// From here on a thread may sleep.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.lock().waiting += 1;
        Waiting(self)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, commit: CommitId, state: Arc<CommitState>) {
        self.lock().commits.insert(commit, state);
    }

    /// Runs `callback` on a thread once the commit is done, or at once.
    pub(crate) fn when_done(&self, commit: CommitId, thread: Sender<Callback>, callback: Callback) {
        let mut inner = self.lock();
        if inner.commits.contains_key(&commit) {
            inner.handlers.entry(commit).or_default().push((thread, callback));
        } else {
            // The thread has ended only if the device is going away.
            let _ = thread.send(callback);
        }
    }

    /// Runs `callback` on a thread once the event has the value, or at once.
    pub(crate) fn when_signaled(
        &self,
        event: EventId,
        value: u64,
        thread: Sender<Callback>,
        callback: Box<dyn FnOnce(u64) + Send>,
    ) {
        let mut inner = self.lock();
        let reached = inner.events.get(&event).copied().unwrap_or(0);
        let waiter = Waiter { value, thread, callback };
        if reached >= value {
            waiter.fire(reached);
        } else {
            inner.waiters.entry(event).or_default().push(waiter);
        }
    }

    /// The oldest commit that is not done.
    pub(crate) fn oldest(&self) -> Option<CommitId> {
        self.lock().commits.keys().next().copied()
    }

    pub(crate) fn is_done(&self, commit: CommitId) -> bool {
        !self.lock().commits.contains_key(&commit)
    }

    /// Whether the device is gone, so that nothing more will happen.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().lost
    }

    pub(crate) fn event_value(&self, event: EventId) -> u64 {
        self.lock().events.get(&event).copied().unwrap_or(0)
    }

    /// The commit will end with a time-out, unless something worse happens to it.
    pub(crate) fn time_out(&self, commits: impl IntoIterator<Item = CommitId>) {
        self.lock().timed_out.extend(commits);
    }

    pub(crate) fn forget_event(&self, event: EventId) {
        let mut inner = self.lock();
        inner.events.remove(&event);
        inner.waiters.remove(&event);
    }

    /// Wakes everybody who waits, to look again.
    pub(crate) fn wake(&self) {
        // Taking the lock makes sure that nobody is between looking and waiting.
        self.notify(self.lock());
    }

    /// Frees the lock and wakes everybody who sleeps.
    fn notify(&self, inner: MutexGuard<'_, Inner>) {
        self.changes.fetch_add(1, Ordering::Release);
        let sleepers = inner.sleepers;
        drop(inner);
        if sleepers > 0 {
            self.changed.notify_all();
        }
    }

    /// How often help was wanted so far.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Sleeps until something changes, help is wanted or the deadline has passed, unless `done` already or help was
    /// wanted after so many `calls`. All is asked under the lock, so no change falls between asking and sleeping.
    pub(crate) fn sleep_unless(&self, deadline: Option<Instant>, calls: u64, done: &dyn Fn(&Events) -> bool) {
        let mut inner = self.lock();
        if done(&inner.events) || inner.lost || inner.calls != calls {
            return;
        }
        inner.sleepers += 1;
        let mut inner = match deadline {
            None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        inner.sleepers -= 1;
    }

    /// Asks `done` if something may have changed since it was `asked` last.
    pub(crate) fn ask(&self, asked: &Cell<Option<u64>>, done: &dyn Fn(&Events) -> bool) -> bool {
        let changes = self.changes.load(Ordering::Acquire);
        asked.replace(Some(changes)) != Some(changes) && done(&self.lock().events)
    }
}

impl Waiter {
    fn fire(self, value: u64) {
        let callback = self.callback;
        // The listener is gone: nobody wants to know.
        let _ = self.thread.send(Box::new(move || callback(value)));
    }
}

impl Observer for Completions {
    fn is_awaited(&self) -> bool {
        let inner = self.lock();
        inner.waiting > 0 || !inner.handlers.is_empty() || !inner.waiters.is_empty()
    }

    fn help_wanted(&self) {
        let mut inner = self.lock();
        inner.calls += 1;
        if inner.sleepers > 0 {
            self.changed.notify_all();
        }
    }

    fn signaled(&self, event: EventId, value: u64) {
        let mut inner = self.lock();
        let reached = inner.events.entry(event).or_insert(0);
        *reached = (*reached).max(value);
        let reached = *reached;
        if let Some(waiters) = inner.waiters.get_mut(&event) {
            let mut due: Vec<Waiter> = waiters.extract_if(.., |waiter| waiter.value <= reached).collect();
            due.sort_by_key(|waiter| waiter.value);
            if waiters.is_empty() {
                inner.waiters.remove(&event);
            }
            due.into_iter().for_each(|waiter| waiter.fire(reached));
        }
        self.notify(inner);
    }

    fn completed(&self, commit: CommitId, mut report: CommitReport) {
        let mut inner = self.lock();
        if inner.timed_out.remove(&commit) && report.error.is_none() {
            let message = "a wait for an event took too long and was given up; later work ran without it";
            report.error = Some(crate::Error::new(crate::ErrorKind::Timeout, message));
        }
        if let Some(state) = inner.commits.remove(&commit) {
            // A commit ends once.
            let _ = state.report.set(report);
            state.done.store(true, Ordering::Release);
        }
        for (thread, handler) in inner.handlers.remove(&commit).unwrap_or_default() {
            // The thread has ended only if the device is going away.
            let _ = thread.send(handler);
        }
        self.notify(inner);
    }

    fn progressed(&self, _commit: CommitId) {
        self.wake();
    }

    fn lost(&self, error: crate::Error) {
        log::error!("the device is lost: {error}");
        let mut inner = self.lock();
        inner.lost = true;
        self.notify(inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that sleeps, or is about to, comes back when there is something to help with.
    #[test]
    fn who_sleeps_comes_when_help_is_wanted() {
        let completions = Completions::default();
        let calls = completions.calls();
        completions.help_wanted();
        completions.sleep_unless(None, calls, &|_| false);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| completions.sleep_unless(None, completions.calls(), &|_| false));
            while !sleeper.is_finished() {
                completions.help_wanted();
                std::thread::yield_now();
            }
        });
        assert_eq!(completions.lock().sleepers, 0);
    }
}
