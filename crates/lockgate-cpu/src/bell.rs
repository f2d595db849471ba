//! How idle threads learn that there is something to do, without a lock on the way there.
//!
//! A thread reads [`Bell::count`], looks for work, and if there was none sleeps until the count is another. Whoever
//! brings work rings. No ring is lost: either the sleeper sees the new count, or the ringer sees the sleeper. The
//! file is compiled a second time, over modelled primitives, by `tests/bell.rs`, which tries all interleavings.

use crate::primitives::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering, fence};

/// Counts rings, and wakes who sleeps.
pub(crate) struct Bell {
    rings: AtomicU64,
    sleeping: AtomicUsize,
    bedroom: Mutex<()>,
    wake: Condvar,
}

impl Bell {
    pub(crate) fn new() -> Bell {
        Bell {
            rings: AtomicU64::new(0),
            sleeping: AtomicUsize::new(0),
            bedroom: Mutex::new(()),
            wake: Condvar::new(),
        }
    }

    /// How often it has rung. What was brought before a ring is visible to who reads the count of that ring.
    pub(crate) fn count(&self) -> u64 {
        self.rings.load(Ordering::Acquire)
    }

    /// Something may have changed: whoever spins looks again. Nobody is woken.
    pub(crate) fn touch(&self) {
        self.rings.fetch_add(1, Ordering::Release);
    }

    /// There is something to do for so many threads.
    pub(crate) fn ring(&self, threads: usize) {
        self.rings.fetch_add(1, Ordering::Release);
        // Against the fence in `sleep`: one of the two sees what the other has written.
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) == 0 {
            return;
        }
        // Taking the lock makes sure that no thread is between looking and sleeping. Nothing can panic in there.
        drop(self.bedroom.lock());
        if threads == 1 { self.wake.notify_one() } else { self.wake.notify_all() }
    }

    /// Sleeps unless it has rung since the count was `seen`.
    pub(crate) fn sleep(&self, seen: u64) {
        let Ok(mut room) = self.bedroom.lock() else { return };
        self.sleeping.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        while self.rings.load(Ordering::Acquire) == seen {
            match self.wake.wait(room) {
                Ok(again) => room = again,
                Err(_) => break,
            }
        }
        self.sleeping.fetch_sub(1, Ordering::Relaxed);
    }
}
