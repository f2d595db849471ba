//! What happens once batches are done: times and errors are read, recordings rest, and the observer is told.
//!
//! Deliberately absent: who looks (`watch.rs`). Tested in the contract suite.

use super::{Flight, Flying, State};
use crate::error::error;
use crate::plan::{NoticeKind, Point};
use ash::vk;
use lockgate_runtime::{CommandTiming, CommitReport, Error, ErrorKind};
use lockgate_sync::{CommitId, EventId};
use std::sync::MutexGuard;

/// What the observer is told once the lock is free.
pub(super) enum Told {
    Signaled(EventId, u64),
    Completed(CommitId, CommitReport),
    Progressed(CommitId),
    Lost(Error),
}

impl Flight {
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

    pub(super) fn look(&self, state: &mut State) -> std::result::Result<bool, vk::Result> {
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

    pub(super) fn lose(&self, state: &mut State, why: Error) -> Vec<Told> {
        let told = state.lose(why);
        if let Some(why) = &state.lost {
            self.gpu.lost.get_or_init(|| why.clone());
        }
        told
    }

    /// Frees the lock and tells the observer.
    pub(super) fn tell(&self, state: MutexGuard<'_, State>, told: Vec<Told>) {
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
}

impl State {
    /// What can be told by now.
    pub(super) fn settle(&mut self) -> Vec<Told> {
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
