//! Who waits for the device.
//!
//! A host thread that waits looks for itself how far the device is. Once somebody sleeps or is to be called, a thread for
//! each hardware queue waits for its timeline; to wake one for each commit would cost more than the commit does. Tested in
//! the contract suite.

use super::{Flight, QueueState};
use crate::error::error;
use ash::vk;
use lockgate_runtime::{Error, ErrorKind};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a host thread looks for itself before it sleeps: about what a wake-up costs.
const SPIN: Duration = Duration::from_micros(30);
/// How long a thread waits for a timeline before it looks whether the device is being closed.
const PATIENCE: Duration = Duration::from_millis(200);

impl QueueState {
    /// The batch whose end is waited for next.
    fn awaited(&self) -> Option<u64> {
        self.flying.front().map(|flying| flying.number).filter(|number| *number <= self.attended)
    }
}

impl Flight {
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
