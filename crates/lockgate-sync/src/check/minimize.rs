//! Taking away from a set of fixes what the engine does not miss: fixes, single changes, stages, visibility.
//!
//! An order more never opens a gap, so a barrier that is needed stays needed when others have gone. The split of a
//! pass is no order: what was needed because of it may go with it, so that everything is tried until nothing goes.

use super::advice::{Advisor, Draft, Drafts};
use super::change::Change;
use super::finding::Omission;
use super::narrow::{bits, less_visible, sides, without};
use super::trial::{GapKey, Open};
use crate::Op;
use std::collections::BTreeSet;

impl Advisor<'_, '_> {
    pub(crate) fn minimize(&mut self) {
        loop {
            let before = self.drafts.changes().count();
            if !(self.drop_fixes() && self.drop_changes()) {
                self.omitted.insert(Omission::Minimizing);
                return;
            }
            if self.drafts.changes().count() == before {
                break;
            }
        }
        if !self.narrow() {
            self.omitted.insert(Omission::Minimizing);
        }
    }

    /// Takes other drafts if nothing opens with them; nothing when the budget is spent.
    fn adopt(&mut self, drafts: Drafts) -> Option<bool> {
        if !self.trials.afford() {
            return None;
        }
        let trial = self.trials.run(drafts.changes());
        let before: BTreeSet<GapKey> = self.now.gaps.iter().map(Open::key).collect();
        let same =
            trial.gaps.iter().all(|open| before.contains(&open.key())) && trial.keeps_waits_of(&self.now);
        if same {
            (self.drafts, self.now) = (drafts, trial);
        }
        Some(same)
    }

    /// Each fix is tried without, the last one first. What is left of an empty fix goes in the end.
    fn drop_fixes(&mut self) -> bool {
        for at in (0..self.drafts.list.len()).rev() {
            let mut drafts = self.drafts.clone();
            drafts.list[at].changes.clear();
            if self.adopt(drafts).is_none() {
                return false;
            }
        }
        self.drafts.list.retain(|draft| !draft.changes.is_empty());
        true
    }

    fn drop_changes(&mut self) -> bool {
        for at in 0..self.drafts.list.len() {
            let mut change = 0;
            while self.drafts.list[at].changes.len() > 1 && change < self.drafts.list[at].changes.len() {
                let mut drafts = self.drafts.clone();
                let gone = drafts.list[at].changes.remove(change);
                if parts_events(&gone, &drafts) {
                    change += 1;
                    continue;
                }
                match self.adopt(drafts) {
                    None => return false,
                    Some(true) => {}
                    Some(false) => change += 1,
                }
            }
        }
        true
    }

    fn narrow(&mut self) -> bool {
        for at in 0..self.drafts.list.len() {
            for change in 0..self.drafts.list[at].changes.len() {
                if !self.narrow_change(at, change) {
                    return false;
                }
            }
        }
        true
    }

    fn narrow_change(&mut self, at: usize, change: usize) -> bool {
        let Some(op) = inserted(&self.drafts.list[at], change) else { return true };
        let several = sides(op).is_some_and(|s| s.after.iter().count() > 1 || s.before.iter().count() > 1);
        for less in if several { bits(op) } else { Vec::new() } {
            let Some(op) = inserted(&self.drafts.list[at], change) else { return true };
            let narrower = without(op, less);
            if self.adopt_op(at, change, narrower).is_none() {
                return false;
            }
        }
        while let Some(op) = inserted(&self.drafts.list[at], change).and_then(less_visible) {
            match self.adopt_op(at, change, op) {
                None => return false,
                Some(true) => {}
                Some(false) => break,
            }
        }
        true
    }

    fn adopt_op(&mut self, at: usize, change: usize, new: Op) -> Option<bool> {
        let mut drafts = self.drafts.clone();
        if let Change::Insert { op, .. } = &mut drafts.list[at].changes[change] {
            *op = new;
        }
        self.adopt(drafts)
    }
}

/// Whether a change is the split that events stand in: no pass may have them inside.
fn parts_events(change: &Change, others: &Drafts) -> bool {
    let event = |op: &Op| matches!(op, Op::SignalEvent { .. } | Op::WaitForEvent { .. });
    let here =
        |other: &Change| matches!(other, Change::Insert { op, .. } if event(op)) && other.at() == change.at();
    matches!(change, Change::SplitPass { .. }) && others.changes().any(here)
}

fn inserted(draft: &Draft, change: usize) -> Option<&Op> {
    match draft.changes.get(change)? {
        Change::Insert { op, .. } => Some(op),
        _ => None,
    }
}
