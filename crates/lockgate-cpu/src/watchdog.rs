//! Stops kernels that run too long.
//!
//! Each thread that runs kernels has a slot that says since when. The watchdog looks at all slots a few times
//! per time limit, and sets the stop flag of a slot that is late; the kernel polls it in its loops. The start
//! time is compared and marked in one step, so that a stop never reaches the next kernel of the thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Set in [`Slot::since`] once the slot has been told to stop.
const STOPPED: u64 = 1 << 63;

/// What one thread runs.
#[derive(Default)]
pub(crate) struct Slot {
    /// Nanoseconds since the device was opened, plus 1; 0 when it runs nothing.
    since: AtomicU64,
    pub(crate) stop: AtomicBool,
}

impl Slot {
    pub(crate) fn begin(&self, now: Duration) {
        self.since.store(now.as_nanos() as u64 + 1, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        if self.since.swap(0, Ordering::AcqRel) & STOPPED != 0 {
            // The watchdog has marked the slot and is about to set the flag, if it has not yet.
            while !self.stop.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            self.stop.store(false, Ordering::Release);
        }
    }

    fn check(&self, now: u64, limit: u64) -> bool {
        let since = self.since.load(Ordering::Acquire);
        if since == 0 || since & STOPPED != 0 {
            return since != 0;
        }
        let late = now.saturating_sub(since) > limit;
        let marked = since | STOPPED;
        if late && self.since.compare_exchange(since, marked, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.stop.store(true, Ordering::Release);
        }
        true
    }
}

/// The thread that looks, and what it looks at.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    slots: Mutex<Vec<Arc<Slot>>>,
    state: Mutex<State>,
    changed: Condvar,
    asleep: AtomicBool,
    opened: Instant,
    limit: Duration,
}

#[derive(Default)]
struct State {
    closing: bool,
}

impl Watchdog {
    pub(crate) fn new(opened: Instant, limit: Duration) -> Watchdog {
        let shared = Arc::new(Shared {
            slots: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
            asleep: AtomicBool::new(false),
            opened,
            limit,
        });
        let watched = shared.clone();
        let thread =
            std::thread::Builder::new().name("lockgate watchdog".into()).spawn(move || watched.watch());
        let thread = thread.inspect_err(|error| log::error!("kernels cannot be stopped: {error}")).ok();
        Watchdog { shared, thread }
    }

    /// A slot for a thread that is going to run kernels.
    pub(crate) fn slot(&self) -> Arc<Slot> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that nobody else holds belonged to a thread that is gone.
        if let Some(free) = slots.iter().find(|slot| Arc::strong_count(slot) == 1) {
            return free.clone();
        }
        let slot = Arc::new(Slot::default());
        slots.push(slot.clone());
        slot
    }

    /// There is something to look at.
    pub(crate) fn wake(&self) {
        if self.shared.asleep.swap(false, Ordering::AcqRel) {
            drop(self.shared.state.lock().unwrap_or_else(PoisonError::into_inner));
            self.shared.changed.notify_one();
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the watchdog has been reported by its thread.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self) {
        let tick = (self.limit / 8).clamp(Duration::from_millis(1), Duration::from_millis(250));
        let mut idle_ticks = 0;
        loop {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.closing {
                return;
            }
            if idle_ticks > 8 {
                self.asleep.store(true, Ordering::Release);
                let sleeping = |state: &mut State| !state.closing && self.asleep.load(Ordering::Acquire);
                drop(self.changed.wait_while(state, sleeping).unwrap_or_else(PoisonError::into_inner));
                idle_ticks = 0;
            } else {
                drop(self.changed.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner));
            }
            let now = self.opened.elapsed().as_nanos() as u64;
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let limit = self.limit.as_nanos() as u64;
            let busy = slots.iter().filter(|slot| slot.check(now, limit)).count();
            idle_ticks = if busy > 0 { 0 } else { idle_ticks + 1 };
        }
    }
}
