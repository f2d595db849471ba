//! Our own threads: every interleaving of the bell and of the slots, over modelled primitives.

#[path = "../src/bell.rs"]
#[allow(dead_code, reason = "each model uses a part")]
mod bell;
#[path = "../src/slot.rs"]
#[allow(dead_code, reason = "each model uses a part")]
mod slot;

/// What the two files take from the device, modelled.
mod primitives {
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::sync::{Condvar, Mutex};
}

use bell::Bell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use slot::Slot;
use std::time::Duration;

/// Takes one piece of work, sleeping until there is one: a worker.
fn take_one(bell: &Bell, work: &AtomicUsize) {
    loop {
        let seen = bell.count();
        let left = work.load(Ordering::Relaxed);
        let take = |left: usize| work.compare_exchange(left, left - 1, Ordering::Relaxed, Ordering::Relaxed);
        if left > 0 && take(left).is_ok() {
            return;
        }
        if left == 0 {
            bell.sleep(seen);
        }
    }
}

fn workers_get_what_is_brought(workers: usize, bring: impl Fn(&Bell, &AtomicUsize) + Sync + Send + 'static) {
    // One worker in every interleaving; with two, in all that take the processor away at most twice.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (workers > 1).then_some(2);
    model.check(move || {
        let shared = Arc::new((Bell::new(), AtomicUsize::new(0)));
        let spawn = |_| {
            let shared = shared.clone();
            thread::spawn(move || take_one(&shared.0, &shared.1))
        };
        let threads: Vec<_> = (0..workers).map(spawn).collect();
        bring(&shared.0, &shared.1);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(shared.1.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn no_ring_is_lost() {
    workers_get_what_is_brought(1, |bell, work| {
        work.fetch_add(1, Ordering::Relaxed);
        bell.ring(1);
    });
}

#[test]
fn one_ring_for_two_wakes_two() {
    workers_get_what_is_brought(2, |bell, work| {
        work.fetch_add(2, Ordering::Relaxed);
        bell.ring(2);
    });
}

#[test]
fn each_ring_for_one_finds_a_sleeper() {
    workers_get_what_is_brought(2, |bell, work| {
        for _ in 0..2 {
            work.fetch_add(1, Ordering::Relaxed);
            bell.ring(1);
        }
    });
}

#[test]
fn a_stop_never_reaches_the_next_kernel() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        slot.begin(Duration::from_nanos(10));
        let watched = slot.clone();
        // Late for the first kernel, in time for the second.
        let watchdog = thread::spawn(move || watched.check(100, 50));
        slot.end();
        slot.begin(Duration::from_nanos(90));
        assert!(!slot.stop.load(Ordering::Acquire), "the second kernel was stopped");
        slot.end();
        watchdog.join().unwrap();
    });
}

#[test]
fn a_late_kernel_is_stopped() {
    loom::model(|| {
        let slot = Arc::new(Slot::new());
        slot.begin(Duration::from_nanos(10));
        let watched = slot.clone();
        let watchdog = thread::spawn(move || watched.check(100, 50));
        while !slot.stop.load(Ordering::Acquire) {
            loom::thread::yield_now();
        }
        slot.end();
        assert!(!slot.stop.load(Ordering::Acquire));
        assert!(watchdog.join().unwrap());
    });
}

#[test]
fn a_watchdog_sleeps_only_while_nothing_runs() {
    loom::model(|| {
        let shared = Arc::new((Bell::new(), Slot::new()));
        let watched = shared.clone();
        let watchdog = thread::spawn(move || {
            loop {
                let rings = watched.0.count();
                if watched.1.check(100, 50) {
                    return;
                }
                watched.0.sleep(rings);
            }
        });
        shared.1.begin(Duration::from_nanos(10));
        shared.0.ring(1);
        watchdog.join().unwrap();
        shared.1.end();
    });
}
