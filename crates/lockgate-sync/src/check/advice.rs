//! What to change so that no gap is left: the mechanism of the smallest reach that works.
//!
//! Gaps are closed one after the other, each by the candidate that a run of the engine confirms; a gap that an
//! earlier fix has closed too needs none. Where the program is too large for that, many gaps are closed at once,
//! without asking, and the run afterwards tells what is left. Deliberately absent: what the candidates are
//! (`candidate.rs`), and taking away what is too much in the end (`minimize.rs`).

use super::candidate::{Candidate, Class, Key, Proposer, join_alike, merged};
use super::change::{Change, Fix};
use super::finding::{Omission, Report};
use super::layout::{Layout, Spot};
use super::renumber::renumber;
use super::trial::{GAP_COST, GapKey, Open, Trial, Trials};
use crate::History;
use std::collections::{BTreeMap, BTreeSet};

/// A fix in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) changes: Vec<Change>,
    pub(crate) closes: BTreeSet<GapKey>,
}

/// All fixes in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drafts {
    pub(crate) list: Vec<Draft>,
    keys: BTreeMap<Key, usize>,
}

impl Drafts {
    pub(crate) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.list.iter().flat_map(|draft| &draft.changes)
    }

    fn size(&self) -> usize {
        self.changes().count()
    }

    fn extends(&self, candidate: &Candidate) -> Option<usize> {
        candidate.key.and_then(|key| self.keys.get(&key)).copied()
    }

    /// Adds a candidate as a fix of its own and returns its number.
    fn push(&mut self, candidate: &Candidate) -> usize {
        let at = self.list.len();
        self.keys.extend(candidate.key.map(|key| (key, at)));
        self.list.push(Draft { changes: candidate.changes.clone(), closes: BTreeSet::new() });
        at
    }

    fn extend(&mut self, at: usize, candidate: &Candidate) {
        self.list[at].changes = merged(&self.list[at].changes, &candidate.changes);
    }
}

/// Finds fixes for the gaps of a program.
pub(crate) struct Advisor<'a, 't> {
    pub(crate) trials: &'t mut Trials<'a>,
    pub(crate) drafts: Drafts,
    /// The program with the drafts.
    pub(crate) now: Trial,
    pub(crate) omitted: BTreeSet<Omission>,
    /// Gaps that no candidate closes.
    failed: BTreeSet<GapKey>,
    /// Whether gaps are looked at one by one.
    single: bool,
}

/// A way that was tried to close a gap: how many pairs of works it orders, how many changes there are then.
struct Way {
    cost: (u64, usize),
    drafts: Drafts,
    trial: Trial,
}

/// How many gaps are closed one by one, at most.
const ROUNDS_MAX: usize = 4096;
/// Gaps that one round in bulk looks at.
const BULK_GAPS_MAX: usize = 20_000;
/// Candidates of one gap that are tried in bulk.
const BULK_ROUNDS: usize = 12;

/// Puts fixes into a report whose findings are those of the gaps before, in the same order. Returns the changes.
pub(crate) fn advise(trials: &mut Trials<'_>, before: &Trial, report: &mut Report) -> Vec<Change> {
    let keys: Vec<GapKey> = before.gaps.iter().map(Open::key).collect();
    let limits = (trials.history, trials.gaps_max);
    let gaps = keys.len() as u64;
    let cost = gaps.saturating_mul(trials.cost + GAP_COST * gaps).saturating_mul(3);
    let single = cost <= trials.budget.left / 2;
    if !single {
        // Whether anything is left, the bounded history knows too.
        (trials.history, trials.gaps_max) = (History::Recent, BULK_GAPS_MAX);
    }
    let now = trials.run([]);
    let layout = Layout::new(trials.layout.program);
    let mut proposer = Proposer::new(&layout);
    let omitted = BTreeSet::new();
    let mut advisor =
        Advisor { trials, drafts: Drafts::default(), now, omitted, failed: BTreeSet::new(), single };
    advisor.close_all(&mut proposer);
    let known: BTreeSet<GapKey> = keys.iter().copied().collect();
    while advisor.forbids_splits(&known, &mut proposer) {
        advisor.close_all(&mut proposer);
    }
    advisor.minimize();
    if !advisor.now.gaps.is_empty() {
        advisor.omitted.insert(Omission::Advice);
        // Which gaps are left, only as much history tells as found them.
        (advisor.trials.history, advisor.trials.gaps_max) = limits;
        advisor.now = advisor.trials.run(advisor.drafts.changes());
    }
    advisor.assign(&keys);
    advisor.write(&keys, report)
}

impl Advisor<'_, '_> {
    /// Where a split has opened what nothing closes, as in a pass that reads its own attachment, the pass stays
    /// whole and everything starts again. Returns whether that is so.
    fn forbids_splits(&mut self, known: &BTreeSet<GapKey>, proposer: &mut Proposer<'_>) -> bool {
        let pass = |spot: &Spot| Some((spot.queue?, spot.pass));
        let layout = &self.trials.layout;
        let splits = self.drafts.changes().filter(|change| matches!(change, Change::SplitPass { .. }));
        let split: BTreeSet<_> = splits.filter_map(|change| layout.pass_of(change.at()?)).collect();
        let new = self.now.gaps.iter().filter(|open| !known.contains(&open.key()));
        let passes = new.flat_map(|open| [pass(&open.a), pass(&open.b)]).flatten();
        let passes: Vec<_> = passes.filter(|pass| split.contains(pass)).collect();
        let before = proposer.unsplit.len();
        proposer.unsplit.extend(passes);
        let more = proposer.unsplit.len() > before && self.trials.afford();
        if more {
            self.drafts = Drafts::default();
            self.failed.clear();
            self.now = self.trials.run([]);
        }
        more
    }

    fn close_all(&mut self, proposer: &mut Proposer<'_>) {
        if self.single {
            self.close_singly(proposer);
        } else {
            self.close_in_bulk(proposer);
        }
    }

    fn close_singly(&mut self, proposer: &mut Proposer<'_>) {
        let mut progress = false;
        // Splitting a pass opens gaps, so progress alone is no bound.
        for _ in 0..ROUNDS_MAX {
            let Some(open) = self.next_gap() else {
                if !progress || self.failed.is_empty() {
                    return;
                }
                // What could not be closed then may be closed now.
                self.failed.clear();
                progress = false;
                continue;
            };
            if self.close(&open, proposer) {
                progress = true;
            } else {
                self.failed.insert(open.key());
            }
        }
    }

    /// The gap to close next: by the place of the later work, the nearest earlier work first.
    fn next_gap(&self) -> Option<Open> {
        let left = self.now.gaps.iter().filter(|open| !self.failed.contains(&open.key()));
        left.min_by_key(|open| (open.b, std::cmp::Reverse(open.a))).cloned()
    }

    /// Closes a gap by the candidate that orders least, among those of the smallest class with one that works.
    fn close(&mut self, open: &Open, proposer: &mut Proposer<'_>) -> bool {
        let mut best: Option<Way> = None;
        let mut class = Class::Existing;
        for candidate in proposer.candidates(open) {
            if best.is_some() && candidate.class > class {
                break;
            }
            // An operation of the program that is extended competes with a new one.
            class = candidate.class.max(Class::Intrapass);
            for drafts in self.ways(&candidate) {
                let Some(trial) = self.try_with(&drafts) else { return false };
                if self.is_better(open, &candidate, &trial) {
                    let cost = (trial.ordered_pairs(), drafts.size());
                    if best.as_ref().is_none_or(|best| cost < best.cost) {
                        best = Some(Way { cost, drafts, trial });
                    }
                }
            }
            if candidate.class == Class::Existing {
                class = Class::Event;
            }
        }
        let closed = best.is_some();
        if let Some(way) = best {
            (self.drafts, self.now) = (way.drafts, way.trial);
        }
        closed
    }

    /// The drafts with a candidate: as an extension of a fix, and as one of its own.
    fn ways(&self, candidate: &Candidate) -> Vec<Drafts> {
        let mut ways = Vec::new();
        if let Some(at) = self.drafts.extends(candidate) {
            let mut drafts = self.drafts.clone();
            drafts.extend(at, candidate);
            ways.push(drafts);
            if matches!(candidate.key, Some(Key::Existing(_))) {
                return ways;
            }
        }
        let mut drafts = self.drafts.clone();
        drafts.push(candidate);
        ways.push(drafts);
        ways
    }

    pub(crate) fn try_with(&mut self, drafts: &Drafts) -> Option<Trial> {
        if !self.trials.afford() {
            self.omitted.insert(Omission::Advice);
            return None;
        }
        Some(self.trials.run(drafts.changes()))
    }

    /// Whether a trial closes the gap and opens none. A split takes gates away, which are closed in turn.
    fn is_better(&self, open: &Open, candidate: &Candidate, trial: &Trial) -> bool {
        let before: BTreeSet<GapKey> = self.now.gaps.iter().map(Open::key).collect();
        let after: BTreeSet<GapKey> = trial.gaps.iter().map(Open::key).collect();
        let opens_none = candidate.class == Class::Split || after.is_subset(&before);
        !after.contains(&open.key()) && opens_none && trial.keeps_waits_of(&self.now)
    }

    /// Closes, in each round, one gap of every later work by the next candidate that was not tried for it.
    fn close_in_bulk(&mut self, proposer: &mut Proposer<'_>) {
        let mut tried: BTreeMap<GapKey, usize> = BTreeMap::new();
        for _ in 0..4 * BULK_ROUNDS {
            let mut picks: BTreeMap<Spot, &Open> = BTreeMap::new();
            for open in &self.now.gaps {
                if tried.get(&open.key()).is_none_or(|tries| *tries < BULK_ROUNDS) {
                    let pick = picks.entry(open.b).or_insert(open);
                    *pick = if open.a > pick.a { open } else { *pick };
                }
            }
            if picks.is_empty() {
                return;
            }
            for open in picks.into_values() {
                let tries = tried.entry(open.key()).or_default();
                let candidates = proposer.candidates(open);
                let Some(candidate) = candidates.get(*tries) else {
                    *tries = BULK_ROUNDS;
                    continue;
                };
                *tries += 1;
                let at = match self.drafts.extends(candidate) {
                    Some(at) => {
                        self.drafts.extend(at, candidate);
                        at
                    }
                    None => self.drafts.push(candidate),
                };
                self.drafts.list[at].closes.insert(open.key());
            }
            let drafts = std::mem::take(&mut self.drafts);
            let trial = self.try_with(&drafts);
            self.drafts = drafts;
            let Some(trial) = trial else { return };
            self.now = trial;
        }
    }

    /// Which gaps each fix closes: those that are open without it, and of the rest those that stand behind it.
    fn assign(&mut self, keys: &[GapKey]) {
        let open: BTreeSet<GapKey> = self.now.gaps.iter().map(Open::key).collect();
        let closed: BTreeSet<GapKey> = keys.iter().filter(|key| !open.contains(key)).copied().collect();
        let mut claimed = BTreeSet::new();
        for at in 0..self.drafts.list.len() {
            let mut own: BTreeSet<GapKey> = self.drafts.list[at].closes.clone();
            if self.trials.afford() {
                let others = self.drafts.list.iter().enumerate().filter(|(other, _)| *other != at);
                let changes = others.flat_map(|(_, draft)| &draft.changes);
                own.extend(self.trials.run(changes).gaps.iter().map(Open::key));
            }
            own.retain(|key| closed.contains(key));
            claimed.extend(own.iter().copied());
            self.drafts.list[at].closes = own;
        }
        let place = |draft: &Draft| draft.changes.iter().filter_map(Change::at).max();
        let mut places: Vec<_> =
            self.drafts.list.iter().enumerate().map(|(at, draft)| (place(draft), at)).collect();
        places.sort_unstable();
        for key in closed.difference(&claimed) {
            let before = places.partition_point(|(place, _)| *place <= Some(key.1.place));
            if let Some((_, at)) = places.get(before.saturating_sub(1)) {
                self.drafts.list[*at].closes.insert(*key);
            }
        }
        self.join_to_splits();
    }

    /// What closes nothing but the gaps that the split of a pass has opened belongs to the split.
    fn join_to_splits(&mut self) {
        let (joining, mut kept): (Vec<Draft>, Vec<Draft>) =
            std::mem::take(&mut self.drafts.list).into_iter().partition(|draft| draft.closes.is_empty());
        for draft in joining {
            let at = draft.changes.first().and_then(Change::at);
            let split = |draft: &Draft| {
                let splits = draft.changes.iter().filter(|change| matches!(change, Change::SplitPass { .. }));
                splits.filter_map(Change::at).filter(|split| Some(*split) <= at).max()
            };
            let nearest = kept.iter_mut().max_by_key(|draft| split(draft));
            if let Some(nearest) = nearest {
                nearest.changes.extend(draft.changes);
            }
        }
        self.drafts.list = kept;
    }

    fn write(mut self, keys: &[GapKey], report: &mut Report) -> Vec<Change> {
        let program = self.trials.layout.program;
        self.drafts.list.iter_mut().for_each(|draft| join_alike(&mut draft.changes));
        renumber(program, self.drafts.list.iter_mut().flat_map(|draft| &mut draft.changes));
        let changes = self.drafts.changes().cloned().collect();
        let mut findings: BTreeMap<GapKey, Vec<u32>> = BTreeMap::new();
        for (number, key) in (0u32..).zip(keys) {
            findings.entry(*key).or_default().push(number);
        }
        for draft in self.drafts.list {
            let fix = report.fixes.len() as u32;
            let closes: Vec<u32> = draft
                .closes
                .iter()
                .flat_map(|key| findings.get(key).into_iter().flatten().copied())
                .collect();
            for at in &closes {
                if let Some(finding) = report.findings.get_mut(*at as usize) {
                    finding.fix = finding.fix.or(Some(fix));
                }
            }
            report.fixes.push(Fix { changes: draft.changes, closes });
        }
        report.omitted.extend(self.omitted);
        changes
    }
}
