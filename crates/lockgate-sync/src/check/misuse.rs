//! Calls that mean nothing, cannot work, or say something other than what they do.
//!
//! Some the engine tells, some stand in the program as it is written. Deliberately absent: event waits and their
//! cycles (`waits.rs`), aliases (`alias.rs`), and what only a runtime sees. Tested in
//! `lockgate-testsuite/tests/findings.rs`.

use super::code::Code;
use super::finding::{Finding, OrderFound, Report, Subject};
use super::layout::{Layout, SyncAt};
use super::place::Place;
use super::trial::Trial;
use crate::{Barrier, BarrierReach, CommitId, FenceId, Misuse, Op, Stages, VisibilityOptions};
use std::collections::BTreeSet;

/// Puts what is misused into a report that has the hazards already.
pub(crate) fn find(layout: &Layout<'_>, now: &Trial, report: &mut Report) {
    told_by_the_engine(layout, now, report);
    within_pass(layout, report);
    for sync in layout.syncs.iter().flatten() {
        report.findings.extend(masks(layout, sync));
    }
}

fn told_by_the_engine(layout: &Layout<'_>, now: &Trial, report: &mut Report) {
    let place = |(commit, buffer, op): (CommitId, u32, u32)| {
        layout.program.step_of_commit(commit).map(|step| Place::Op { step, buffer, op })
    };
    let mut said: BTreeSet<(Place, Code)> = BTreeSet::new();
    for misuse in &now.run.misuse {
        let (at, code) = match *misuse {
            Misuse::IntrapassStages { at, .. } => (at, Code::IntrapassStages),
            Misuse::FenceNeverUpdated { at, fence } if updated_elsewhere(layout, fence, place(at)) => {
                (at, Code::FenceAcrossQueues)
            }
            Misuse::FenceNeverUpdated { at, .. } => (at, Code::FenceNeverUpdated),
            Misuse::FenceWaitAfterUpdate { at, .. } => (at, Code::FenceWaitAfterUpdate),
            Misuse::FenceAcrossQueues { at, .. } => (at, Code::FenceAcrossQueues),
            Misuse::EventNeverSignaled { .. } => continue,
        };
        said.extend(place(at).map(|at| (at, code)));
    }
    for &(at, code) in &said {
        // A wait behind an update of its own pass has nothing else to be told.
        if code == Code::FenceNeverUpdated && said.contains(&(at, Code::FenceWaitAfterUpdate)) {
            continue;
        }
        let subject = match (code, layout.program.op_at(at)) {
            (Code::IntrapassStages, Some(op)) => foreign_to_intrapass(layout, at, op),
            _ => Subject::Operation(at),
        };
        report.findings.push(Finding::new(code, subject));
    }
}

/// Whether another queue has updated the fence before; the engine knows of that once its next pass begins.
fn updated_elsewhere(layout: &Layout<'_>, fence: FenceId, wait: Option<Place>) -> bool {
    let updates = |sync: &&SyncAt<'_>| matches!(sync.op, Op::UpdateFence { fence: f, .. } if *f == fence);
    wait.is_some_and(|wait| {
        layout.syncs.iter().flatten().filter(updates).any(|sync| sync.place.step() < wait.step())
    })
}

/// The stages of an intrapass barrier that its encoder cannot have on that side.
fn foreign_to_intrapass(layout: &Layout<'_>, at: Place, op: &Op) -> Subject {
    let sync = layout.syncs.iter().flatten().find(|sync| sync.place == at);
    let kind = sync.and_then(|sync| layout.kind(sync.queue, sync.pass));
    let (Op::Barrier(_, barrier), Some(kind)) = (op, kind) else { return Subject::Operation(at) };
    let after = (barrier.after & Stages::ALL) - kind.intrapass_sources();
    let before = (barrier.before & Stages::ALL) - kind.stages();
    Subject::Surplus { at, after, before, visibility: VisibilityOptions::empty() }
}

/// Consumer barriers that a hazard of their own pass names.
fn within_pass(layout: &Layout<'_>, report: &mut Report) {
    let mut said = BTreeSet::new();
    for number in 0..report.findings.len() {
        let OrderFound::NeverInThisPass { by } = report.findings[number].order else { continue };
        let consumer = matches!(layout.program.op_at(by), Some(Op::Barrier(BarrierReach::Consumer, _)));
        if consumer && said.insert(by) {
            let fix = report.findings[number].fix;
            let finding = Finding::new(Code::ConsumerWithinPass, Subject::Operation(by));
            report.findings.push(Finding { fix, ..finding });
        }
    }
}

fn masks(layout: &Layout<'_>, sync: &SyncAt<'_>) -> Option<Finding> {
    let at = sync.place;
    let legal = layout.kind(sync.queue, sync.pass)?.stages();
    let none = Stages::empty();
    // `ALL` is the common way to say "everything here", so only narrower masks are told.
    let foreign = |mask: Stages| match mask & Stages::ALL {
        Stages::ALL => none,
        mask => mask - legal,
    };
    let visibility = VisibilityOptions::empty();
    match sync.op {
        Op::Barrier(BarrierReach::Producer | BarrierReach::Consumer, Barrier { after, before, .. }) => {
            let tile = |mask: &Stages| *mask & Stages::ALL == Stages::TILE;
            let only = |mask: &Stages| if tile(mask) { Stages::TILE } else { none };
            let (after, before) = (only(after), only(before));
            let subject = Subject::Surplus { at, after, before, visibility };
            (!(after | before).is_empty()).then(|| Finding::new(Code::TileOnlyMask, subject))
        }
        Op::UpdateFence { .. }
        | Op::WaitForFence { .. }
        | Op::MemoryBarrierWithScope { .. }
        | Op::MemoryBarrierWithResources { .. } => {
            let sides = super::narrow::sides(sync.op)?;
            let (after, before) = (foreign(sides.after), foreign(sides.before));
            let subject = Subject::Surplus { at, after, before, visibility };
            (!(after | before).is_empty()).then(|| Finding::new(Code::StagesForeign, subject))
        }
        _ => None,
    }
}
