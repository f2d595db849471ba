//! What one thread runs since when, and whether it shall stop.
//!
//! The start time is compared and marked in one step, so that a stop never reaches the next kernel of the thread.
//! The file is compiled a second time, over modelled primitives, by `tests/bell.rs`.

use crate::primitives::{AtomicBool, AtomicU64, Ordering, spin_loop};
use std::time::Duration;

/// Set in [`Slot::since`] once the slot has been told to stop.
const STOPPED: u64 = 1 << 63;

/// What one thread runs.
pub(crate) struct Slot {
    /// Nanoseconds since the device was opened, plus 1; 0 when it runs nothing.
    since: AtomicU64,
    pub(crate) stop: AtomicBool,
}

impl Slot {
    pub(crate) fn new() -> Slot {
        Slot { since: AtomicU64::new(0), stop: AtomicBool::new(false) }
    }

    pub(crate) fn begin(&self, now: Duration) {
        self.since.store(now.as_nanos() as u64 + 1, Ordering::Release);
    }

    pub(crate) fn end(&self) {
        if self.since.swap(0, Ordering::AcqRel) & STOPPED != 0 {
            // The watchdog has marked the slot and is about to set the flag, if it has not yet.
            while !self.stop.load(Ordering::Acquire) {
                spin_loop();
            }
            self.stop.store(false, Ordering::Release);
        }
    }

    /// Tells it to stop if it has run for longer than the limit, in nanoseconds. Returns whether it runs at all.
    pub(crate) fn check(&self, now: u64, limit: u64) -> bool {
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
