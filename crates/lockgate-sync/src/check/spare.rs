//! What could go: operations, stages, visibility, the place of a wait, and tracking, without which the engine says
//! the same.
//!
//! "The same" means ([`Outcome`](super::trial::Outcome)): the same gaps, the same waits that time out, and works
//! that arrive in the same order, so that tracking orders each conflicting pair the same way round. Then no
//! conflicting pair of works has lost its order or its visibility, and the program has the outcomes it had. It is
//! never a promise of speed.
//!
//! What somebody outside of the program could rely on is never called spare: signals, waits of the host, waits for
//! events that the host signals or nobody does, the last update of a fence, a barrier over passes behind which no
//! pass comes, alias visibility, IO queues and drawables. Neither is an operation that a hazard or a misuse names.

use super::change::Change;
use super::code::Code;
use super::finding::{Finding, Omission, Report, Sides, Subject};
use super::layout::{Layout, SyncAt};
use super::narrow::{bits, sides, without};
use super::place::Place;
use super::tracking::is_contested;
use super::trial::{Outcome, Trials};
use crate::{
    BarrierReach, EventId, History, HostStep, Op, Program, QueueKind, ResourceId, Stage, Stages, Step,
    VisibilityOptions,
};
use std::collections::BTreeSet;

/// So many comparisons of two accesses cost as much as one operation that the engine takes.
const COMPARISONS: u64 = 32;

/// The search for what could go.
struct Search<'a, 't> {
    trials: &'t mut Trials<'a>,
    before: Outcome,
    /// Changes that close the hazards: what is taken away together must be spare with them too.
    fixes: Vec<Change>,
    fixed: Outcome,
    /// What is taken away together so far.
    gone: Vec<Change>,
    named: BTreeSet<Place>,
}

/// Looks for what could go and puts it into the report. `fixes` are the changes that close the hazards.
pub(crate) fn find(trials: &mut Trials<'_>, fixes: Vec<Change>, report: &mut Report) {
    let hazards = report.findings.iter().any(|finding| finding.code.is_hazard());
    if hazards && trials.history == History::Recent || !(trials.afford() && trials.afford()) {
        report.omitted.push(Omission::Spare);
        return;
    }
    let (before, fixed) = (trials.run([]).outcome(), trials.run(&fixes).outcome());
    let named = report
        .findings
        .iter()
        .flat_map(|finding| finding.order.by().into_iter().chain(finding.subject.places()));
    let named = named.collect();
    let mut search = Search { trials, before, fixes, fixed, gone: Vec::new(), named };
    if search.operations(report).is_none() || search.resources(report).is_none() {
        report.omitted.push(Omission::Spare);
    }
}

impl Search<'_, '_> {
    /// Whether nothing changes with a change; nothing when the budget is spent.
    fn same_with(&mut self, changes: &[Change]) -> Option<bool> {
        self.trials.afford().then(|| self.trials.run(changes).outcome() == self.before)
    }

    /// Takes a change to those that go together, if nothing changes with all of them.
    fn take(&mut self, change: Change) -> Option<bool> {
        if !self.trials.afford() {
            return None;
        }
        self.gone.push(change);
        let all = self.fixes.iter().chain(&self.gone);
        let same = self.trials.run(all).outcome() == self.fixed;
        if !same {
            self.gone.pop();
        }
        Some(same)
    }

    /// Adds a finding, and its fix if that can go together with the others.
    fn report(&mut self, report: &mut Report, mut finding: Finding, change: Change) -> Option<()> {
        if self.take(change.clone())? {
            finding.fix = Some(report.fixes.len() as u32);
            let closes = vec![report.findings.len() as u32];
            report.fixes.push(super::change::Fix { changes: vec![change], closes });
        }
        report.findings.push(finding);
        Some(())
    }

    fn operations(&mut self, report: &mut Report) -> Option<()> {
        let layout = Layout::new(self.trials.layout.program);
        for sync in layout.syncs.iter().flatten() {
            if self.named.contains(&sync.place) || !is_closed(&layout, sync) {
                continue;
            }
            let change = Change::Remove { at: sync.place };
            if self.same_with(std::slice::from_ref(&change))? {
                let finding = Finding::new(removal_code(sync.op), Subject::Operation(sync.place));
                self.report(report, finding, change)?;
            } else {
                self.narrower(&layout, sync, report)?;
                self.less_visible(sync, report)?;
                self.later(&layout, sync, report)?;
            }
        }
        for (number, step) in (0u32..).zip(&layout.program.steps) {
            self.step(layout.program, number, step, report)?;
        }
        Some(())
    }

    /// A wait of a queue for an event.
    fn step(&mut self, program: &Program, number: u32, step: &Step, report: &mut Report) -> Option<()> {
        let at = Place::Step(number);
        let Step::WaitForEvent { queue, event, .. } = step else { return Some(()) };
        if self.named.contains(&at) || !is_closed_event(program, *event) {
            return Some(());
        }
        let change = Change::Remove { at };
        if self.same_with(std::slice::from_ref(&change))? {
            return self.report(report, Finding::new(Code::EventSpare, Subject::Operation(at)), change);
        }
        // Behind the next commits of the queue.
        let mut to = None;
        for (later, other) in (number + 1..).zip(&program.steps[number as usize + 1..]) {
            let own = match other {
                Step::Commit { queue: q, .. } => q == queue,
                Step::SignalEvent { queue: q, .. } | Step::WaitForEvent { queue: q, .. } if q == queue => {
                    break;
                }
                _ => false,
            };
            if own {
                let moved = [Change::Remove { at }, Change::InsertStep { at: later + 1, step: step.clone() }];
                if !self.same_with(&moved)? {
                    break;
                }
                to = Some(Place::Step(later + 1));
            }
        }
        if let Some(to) = to {
            report.findings.push(Finding::new(Code::WaitTooEarly, Subject::Move { at, to }));
        }
        Some(())
    }

    /// Stages that can go, of those that select any work of the queue.
    fn narrower(&mut self, layout: &Layout<'_>, sync: &SyncAt<'_>, report: &mut Report) -> Option<()> {
        let none = Stages::empty();
        let mut surplus = Sides { after: none, before: none };
        let telling = surplus_candidates(layout, sync);
        for bit in &telling {
            let change = Change::Replace { at: sync.place, op: without(sync.op, *bit) };
            if self.same_with(&[change])? {
                surplus.after |= bit.after;
                surplus.before |= bit.before;
            }
        }
        if surplus.after.is_empty() && surplus.before.is_empty() {
            return Some(());
        }
        let visibility = VisibilityOptions::empty();
        let subject =
            Subject::Surplus { at: sync.place, after: surplus.after, before: surplus.before, visibility };
        let mut finding = Finding::new(Code::BarrierTooWide, subject);
        // Bits may stand in for each other, so they go one by one.
        let mut op = sync.op.clone();
        for bit in bits(sync.op) {
            if !(surplus.after.contains(bit.after) && surplus.before.contains(bit.before)) {
                continue;
            }
            let narrower = without(&op, bit);
            if self.take(Change::Replace { at: sync.place, op: narrower.clone() })? {
                op = narrower;
            }
        }
        // Where some go, those that select no work go too: what is left is what is needed.
        let silent = bits(sync.op).into_iter().filter(|bit| !telling.contains(bit));
        let narrowest = silent.fold(op.clone(), |op, bit| without(&op, bit));
        if op != *sync.op && self.take(Change::Replace { at: sync.place, op: narrowest.clone() })? {
            op = narrowest;
        }
        if op != *sync.op {
            finding.fix = Some(report.fixes.len() as u32);
            let changes = vec![Change::Replace { at: sync.place, op }];
            report.fixes.push(super::change::Fix { changes, closes: vec![report.findings.len() as u32] });
        }
        report.findings.push(finding);
        Some(())
    }

    fn less_visible(&mut self, sync: &SyncAt<'_>, report: &mut Report) -> Option<()> {
        let Op::Barrier(reach, barrier) = sync.op else { return Some(()) };
        if barrier.visibility != VisibilityOptions::DEVICE {
            return Some(());
        }
        let mut silent = *barrier;
        silent.visibility = VisibilityOptions::empty();
        let change = Change::Replace { at: sync.place, op: Op::Barrier(*reach, silent) };
        if self.same_with(std::slice::from_ref(&change))? {
            let none = Stages::empty();
            let visibility = VisibilityOptions::DEVICE;
            let subject = Subject::Surplus { at: sync.place, after: none, before: none, visibility };
            report.findings.push(Finding::new(Code::VisibilitySpare, subject));
        }
        Some(())
    }

    /// A wait that could stand behind the next command that it holds back.
    fn later(&mut self, layout: &Layout<'_>, sync: &SyncAt<'_>, report: &mut Report) -> Option<()> {
        let waits = match sync.op {
            Op::WaitForFence { before, .. } => *before,
            Op::Barrier(BarrierReach::Consumer, barrier) => barrier.before,
            _ => return Some(()),
        };
        let Place::Op { step, buffer, op: own } = sync.place else { return Some(()) };
        let Some(recording) = layout.program.recording(step, buffer) else { return Some(()) };
        let mut found = None;
        for (number, op) in (0u32..).zip(recording.ops()).skip(own as usize + 1) {
            let works = match op {
                Op::EndPass => break,
                Op::Command { works, .. } => works,
                _ => continue,
            };
            if !recording.works(works).any(|work| waits.contains(work.stage.mask())) {
                continue;
            }
            let to = Place::Op { step, buffer, op: number + 1 };
            let moved = [Change::Remove { at: sync.place }, Change::Insert { at: to, op: sync.op.clone() }];
            if !self.same_with(&moved)? {
                break;
            }
            found = Some(to);
        }
        if let Some(to) = found {
            let subject = Subject::Move { at: sync.place, to };
            report.findings.push(Finding::new(Code::WaitTooEarly, subject));
        }
        Some(())
    }

    fn resources(&mut self, report: &mut Report) -> Option<()> {
        let program = self.trials.layout.program;
        let tracks = program.queues.iter().any(|q| q.hazard_tracking && q.kind == QueueKind::Gpu);
        for (number, resource) in (0u32..).zip(&program.resources) {
            if !tracks || !resource.tracked || resource.unit {
                continue;
            }
            let resource = ResourceId(number);
            let budget = &mut self.trials.budget;
            if !is_contested(&self.trials.layout, resource, |cost| budget.spend(cost / COMPARISONS + 1))? {
                continue;
            }
            let change = Change::Track { resource, tracked: false };
            if self.same_with(&[change])? {
                report.findings.push(Finding::new(Code::TrackingSpare, Subject::Resource(resource)));
            }
        }
        Some(())
    }
}

fn removal_code(op: &Op) -> Code {
    match op {
        Op::UpdateFence { .. } | Op::WaitForFence { .. } => Code::FenceSpare,
        Op::WaitForEvent { .. } => Code::EventSpare,
        _ => Code::BarrierSpare,
    }
}

/// Whether all that an operation could order is in the program.
pub(crate) fn is_closed(layout: &Layout<'_>, sync: &SyncAt<'_>) -> bool {
    let syncs = &layout.syncs[sync.queue.index()];
    let behind = || syncs[syncs.partition_point(|other| other.place <= sync.place)..].iter();
    match sync.op {
        _ if !layout.is_gpu(sync.queue) => false,
        Op::SignalEvent { .. } => false,
        Op::WaitForEvent { event, .. } => is_closed_event(layout.program, *event),
        Op::UpdateFence { fence, .. } => {
            let waits =
                |other: &SyncAt<'_>| matches!(other.op, Op::WaitForFence { fence: f, .. } if f == fence);
            let across = layout.program.model.fences_across_queues;
            behind().any(|other| other.pass != sync.pass && waits(other)) && !across
        }
        Op::Barrier(reach, barrier) if *reach != BarrierReach::Intrapass => {
            let alias = barrier.visibility.contains(VisibilityOptions::RESOURCE_ALIAS);
            let last = layout.passes(sync.queue);
            !alias && (sync.pass < last || *reach == BarrierReach::Consumer && commands_behind(layout, sync))
        }
        Op::Barrier(_, barrier) => !barrier.visibility.contains(VisibilityOptions::RESOURCE_ALIAS),
        _ => true,
    }
}

fn commands_behind(layout: &Layout<'_>, sync: &SyncAt<'_>) -> bool {
    let Place::Op { step, buffer, op } = sync.place else { return false };
    let ops = layout.program.recording(step, buffer).map_or(&[][..], |recording| recording.ops());
    let rest = ops.get(op as usize..).unwrap_or(&[]);
    rest.iter().take_while(|op| **op != Op::EndPass).any(|op| matches!(op, Op::Command { .. }))
}

/// Whether only queues of the program signal an event, and at least one does.
fn is_closed_event(program: &Program, event: EventId) -> bool {
    let mut signaled = false;
    for step in &program.steps {
        match step {
            Step::Host(HostStep::SignalEvent { event: e, .. }) if *e == event => return false,
            Step::SignalEvent { event: e, .. } => signaled |= *e == event,
            Step::Commit { buffers, .. } => {
                let own = |op: &Op| matches!(op, Op::SignalEvent { event: e, .. } if *e == event);
                signaled |= buffers.iter().any(|buffer| buffer.ops().iter().any(own));
            }
            _ => {}
        }
    }
    signaled
}

/// The stages of an operation that select a work of its queue, one by one; the last one of a side stays.
pub(crate) fn surplus_candidates(layout: &Layout<'_>, sync: &SyncAt<'_>) -> Vec<Sides> {
    let stages = layout.stages[sync.queue.index()].iter();
    let used = stages.fold(Stages::empty(), |mask, stage: &Stage| mask | stage.mask());
    let named = sides(sync.op).unwrap_or(Sides { after: Stages::empty(), before: Stages::empty() });
    let several = |mask: Stages| (mask & used).iter().count() > 1;
    bits(sync.op)
        .into_iter()
        .filter(|bit| used.contains(bit.after | bit.before))
        .filter(|bit| if bit.after.is_empty() { several(named.before) } else { several(named.after) })
        .collect()
}
