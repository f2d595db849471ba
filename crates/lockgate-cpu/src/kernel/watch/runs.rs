//! Accesses that neighbouring invocations make alike, as one run for all of them.
//!
//! Most places of a kernel touch one element for each invocation, element after element. Such an access costs machine
//! code a comparison; what it touched is a run, and whether runs race is asked for all of them at once. Only where that
//! is not obvious are runs taken apart into the cells of `shadow`, which is exact; from then on the whole launch is.
//!
//! Deliberately absent: who makes the runs, which is machine code (`jit/told.rs`). Tested by `tests/observe.rs`.

use super::shadow::{Toucher, mark};
use super::{Recorder, Space};
use lockgate_runtime::ObservedKind;

/// A launch with more runs than this is taken apart: it has no order in what it touches.
const RUNS_MAX: usize = 1 << 18;
/// So many are kept until a launch that is taken apart has come to the end of a part.
const WAITING_MAX: usize = 1 << 16;
/// A launch with more runs than this, and fewer than so many invocations for each, is better recorded without them: a run
/// costs about as much as sixteen cells.
const RUNS_FEW: usize = 32;
const RUN_SHORT: usize = 16;
/// Where there are fewer invocations for each run, they are mostly no neighbours.
const RUN_OF_FEW: usize = 2;
/// Before so many invocations nobody asks whether runs are plain.
pub(super) const DUE_FIRST: u64 = 512;

/// When an invocation comes by a place, among those that it comes by between two barriers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Turn {
    /// Places in the order of the program; those of one loop have the same.
    pub(in super::super) number: u32,
    /// It is in a loop without barriers: what comes when is known only as long as each access is a run of its own.
    pub(in super::super) again: bool,
}

/// One access of each of `count` invocations, the first at `start`, each of the others `stride` bytes behind.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Run {
    pub(in super::super) site: u16,
    /// When an invocation does it.
    pub(in super::super) turn: Turn,
    /// As [`Recorder::touch`] takes it.
    pub(in super::super) changed: bool,
    /// Barriers of the workgroup before, that concern this memory, and all.
    pub(in super::super) epoch: u32,
    pub(in super::super) stretch: u32,
    /// Linear number of the first invocation in the grid, from 1.
    pub(in super::super) first: u32,
    pub(in super::super) count: u32,
    pub(in super::super) start: u64,
    pub(in super::super) stride: u32,
    /// Bytes of each access.
    pub(in super::super) bytes: u32,
}

impl Run {
    fn end(&self) -> u64 {
        self.start + u64::from(self.stride) * u64::from(self.count - 1) + u64::from(self.bytes)
    }

    /// Where invocation 0 would be: the same for all that touch the same element in each invocation.
    fn origin(&self) -> i64 {
        self.start as i64 - i64::from(self.stride) * i64::from(self.first)
    }

    /// Takes in a run that goes on with this one; false if it does not.
    fn extend(&mut self, next: &Run) -> bool {
        let alike = (self.site, self.turn, self.changed, self.epoch, self.stretch, self.stride, self.bytes)
            == (next.site, next.turn, next.changed, next.epoch, next.stretch, next.stride, next.bytes)
            && !self.turn.again;
        let follows = self.first + self.count == next.first && self.origin() == next.origin();
        if alike && follows {
            self.count += next.count;
        }
        alike && follows
    }
}

/// The runs that were not taken apart.
#[derive(Debug, Default)]
pub(super) struct Runs {
    all: Vec<Run>,
    /// For each place, its latest run.
    latest: Vec<Option<usize>>,
    /// Runs are taken apart.
    exact: bool,
    /// They were of more than a few invocations each.
    long: bool,
}

impl Runs {
    fn push(&mut self, run: Run) {
        let site = usize::from(run.site);
        if self.latest.len() <= site {
            self.latest.resize(site + 1, None);
        }
        if let Some(latest) = self.latest[site]
            && self.all[latest].extend(&run)
        {
            return;
        }
        self.latest[site] = Some(self.all.len());
        self.all.push(run);
    }
}

impl Recorder {
    /// Adds a run, whose bytes the place is known to touch.
    pub(in super::super) fn add_run(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// Whether there are so many runs that they should not wait for the end of the part of the launch.
    pub(in super::super) fn is_overfull(&self) -> bool {
        self.runs.all.len() >= if self.runs.exact { WAITING_MAX } else { RUNS_MAX }
    }

    /// Whether accesses wait as runs of which so many begin that it would be better to look at each at once.
    pub(in super::super) fn is_irregular(&self) -> bool {
        let runs = self.runs.all.len();
        self.runs.exact || runs > RUNS_FEW && runs * RUN_SHORT > self.invocations_begun as usize
    }

    /// Whether it is time to ask whether runs are plain: each time that twice as many invocations have begun.
    pub(in super::super) fn is_due(&mut self) -> bool {
        let due = self.invocations_begun >= self.due;
        if due {
            self.due = self.invocations_begun * 2;
        }
        due
    }

    /// Whether runs were taken apart that end often, but not at once: four invocations mostly touch neighbours.
    pub(in super::super) fn has_rows(&self) -> bool {
        self.runs.long
    }

    /// No more accesses wait; none of the workgroup that runs does.
    pub(in super::super) fn defer_no_more(&mut self) {
        let runs = self.runs.all.len() * RUN_OF_FEW;
        self.runs.long = self.is_irregular() && runs <= self.invocations_begun as usize;
        self.take_all_apart();
        self.deferred = false;
    }

    /// All runs of some workgroups are there.
    pub(in super::super) fn end_part(&mut self) {
        if self.runs.exact || self.is_overfull() {
            self.take_all_apart();
        }
    }

    /// The launch has ended: what waited is looked at. Before this, races and reads of nothing may be missing.
    pub fn finish(&mut self) {
        if self.deferred && (self.runs.exact || !self.is_plain()) {
            self.take_all_apart();
        }
    }

    fn take_all_apart(&mut self) {
        self.runs.exact = true;
        let runs = std::mem::take(&mut self.runs.all);
        self.runs.latest.clear();
        let mut pieces = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            self.each_group(run, |group, piece| pieces.push((group, number, piece)));
        }
        // Cells are exact for workgroups that come one after the other. The one that runs may go on.
        pieces.sort_unstable_by_key(|(group, number, _)| (*group == self.group, *group, *number));
        for group in pieces.chunk_by(|one, other| one.0 == other.0) {
            let runs: Vec<Run> = group.iter().map(|(_, _, piece)| *piece).collect();
            self.take_group_apart(group[0].0, &runs);
        }
    }

    /// Writes runs of one workgroup into cells, in the order of the program: between two barriers, one invocation after the
    /// other.
    fn take_group_apart(&mut self, group: u32, runs: &[Run]) {
        let ground = self.ground_of(group);
        let mut accesses = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            accesses.extend((0..run.count).map(|at| (run.stretch, run.first + at, run.turn, number, at)));
        }
        accesses.sort_unstable();
        for (_, invocation, _, number, at) in accesses {
            let run = &runs[number];
            let super::Site { kind, space, .. } = self.sites[usize::from(run.site)];
            let phase = self.phase(0, ground, run.epoch);
            let me = Toucher { mark: mark::new(phase, (invocation - 1) % self.group_size, run.site), ground };
            let address = run.start + u64::from(run.stride) * u64::from(at);
            self.touch_cells(&me, (kind, space), address, run.bytes, run.changed);
        }
    }

    /// The parts of a run in each workgroup.
    fn each_group(&self, run: &Run, mut act: impl FnMut(u32, Run)) {
        let (mut first, end) = (run.first, run.first + run.count);
        while first < end {
            let group = (first - 1) / self.group_size;
            let last = ((group + 1) * self.group_size + 1).min(end);
            let start = run.start + u64::from(run.stride) * u64::from(first - run.first);
            act(group, Run { first, count: last - first, start, ..*run });
            first = last;
        }
    }

    /// Whether it is obvious that no runs race, and that none reads what nothing has written.
    pub(in super::super) fn is_plain(&self) -> bool {
        let mut runs: Vec<&Run> = self.runs.all.iter().collect();
        runs.sort_unstable_by_key(|run| run.start);
        let (mut from, mut end) = (0, 0);
        for at in 0..runs.len() {
            if runs[at].start >= end && !self.is_quiet(&runs[std::mem::replace(&mut from, at)..at]) {
                return false;
            }
            end = end.max(runs[at].end());
        }
        self.is_quiet(&runs[from..]) && runs.iter().all(|run| !self.reads_fresh(run))
    }

    /// Whether runs that overlap cannot race: nobody writes, or each invocation keeps to a stretch of its own.
    fn is_quiet(&self, runs: &[&Run]) -> bool {
        let Some(one) = runs.first() else { return true };
        let reads = |run: &&Run| self.sites[usize::from(run.site)].kind == ObservedKind::Read;
        let low = runs.iter().map(|run| run.origin()).min().unwrap_or(0);
        let own = |run: &&Run| {
            run.stride == one.stride && run.origin() + i64::from(run.bytes) <= low + i64::from(one.stride)
        };
        let lone = |run: &&Run| run.count == 1 && run.first == one.first;
        runs.iter().all(reads) || runs.iter().all(own) || runs.iter().all(lone)
    }

    /// Whether a run may read what nothing has written.
    fn reads_fresh(&self, run: &Run) -> bool {
        let super::Site { kind, space: Space::Slot(slot), .. } = self.sites[usize::from(run.site)] else {
            return false;
        };
        let fresh = self.fresh.get(slot as usize).filter(|fresh| !fresh.is_empty());
        let touched = || lockgate_runtime::ByteSet::from(run.start..run.end());
        kind != ObservedKind::Write && fresh.is_some_and(|fresh| !fresh.intersection(&touched()).is_empty())
    }
}
