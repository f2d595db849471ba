//! Stops kernels that run too long.
//!
//! Each thread that runs kernels has a slot that says since when. The watchdog looks at all slots a few times
//! per time limit, and tells the slots that are late to stop (`slot.rs`); the kernel polls that in its loops.

use crate::bell::Bell;
use crate::slot::Slot;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A watchdog that sees nothing run for so many looks sleeps until something does.
const IDLE_TICKS_MAX: u32 = 8;

/// The thread that looks, and what it looks at.
pub(crate) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    slots: Mutex<Vec<Arc<Slot>>>,
    closing: Mutex<bool>,
    closed: Condvar,
    /// Rings when a slot begins.
    bell: Bell,
    opened: Instant,
    limit: Duration,
}

impl Watchdog {
    pub(crate) fn new(opened: Instant, limit: Duration) -> Watchdog {
        let shared = Arc::new(Shared {
            slots: Mutex::default(),
            closing: Mutex::default(),
            closed: Condvar::new(),
            bell: Bell::new(),
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
        let slot = Arc::new(Slot::new());
        slots.push(slot.clone());
        slot
    }

    /// A slot has begun.
    pub(crate) fn wake(&self) {
        self.shared.bell.ring(1);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.shared.closing.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.closed.notify_one();
        self.shared.bell.ring(1);
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
            // Read before the slots: what begins after that rings.
            let rings = self.bell.count();
            let now = self.opened.elapsed().as_nanos() as u64;
            let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let limit = self.limit.as_nanos() as u64;
            let busy = slots.iter().filter(|slot| slot.check(now, limit)).count();
            idle_ticks = if busy > 0 { 0 } else { idle_ticks + 1 };
            if idle_ticks > IDLE_TICKS_MAX {
                self.bell.sleep(rings);
                idle_ticks = 0;
            }
            let closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = self.closed.wait_timeout_while(closing, tick, |closing| !*closing);
            if *waited.unwrap_or_else(PoisonError::into_inner).0 {
                return;
            }
        }
    }
}
