//! What to change in a program, and the program that has it.
//!
//! Changes name places of the program that was checked, so that several can be applied at once and a writer of
//! files or code can find the lines. Deliberately absent: which change is wanted (`advice.rs`, `spare.rs`).
//! Tested in `lockgate-testsuite/tests/check.rs`.

use super::place::Place;
use crate::{
    Access, AccessKind, BarrierReach, EventId, FenceId, HostStep, Op, PassDescriptor, Program, Recording,
    ResourceId, Stage, Step, Work,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One editing operation on a program.
///
/// A change that means nothing where it stands (a place that is not there, a command, a step that is no
/// synchronization) does nothing.
///
/// ```
/// use lockgate_sync::*;
/// let barrier = Op::Barrier(BarrierReach::Consumer, Barrier::default());
/// let change = Change::Insert { at: Place::Op { step: 0, buffer: 0, op: 1 }, op: barrier };
/// assert_eq!(change.at(), Some(Place::Op { step: 0, buffer: 0, op: 1 }));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// Inserts an operation into a command buffer, before a place. A fence or event with a number that the
    /// program does not have is new.
    Insert {
        /// Before this.
        at: Place,
        /// A barrier, an update or wait of a fence, a signal or wait of an event.
        op: Op,
    },
    /// Inserts a step of synchronization before a step, or at the end.
    InsertStep {
        /// Before this, a position in [`Program::steps`].
        at: u32,
        /// Anything but a commit, a presentation or an access of the host.
        step: Step,
    },
    /// Gives an operation other stages or another visibility.
    Replace {
        /// The operation.
        at: Place,
        /// The same operation with other stages.
        op: Op,
    },
    /// Ends the pass before an operation and begins another of its kind. What attachments the pass has are
    /// stored and loaded again. At one place, updates and producer barriers that are inserted belong to the
    /// first pass, signals and waits of events stand between the two, and everything else is in the second.
    SplitPass {
        /// Before this.
        at: Place,
    },
    /// Takes an operation or a step of synchronization away.
    Remove {
        /// Which.
        at: Place,
    },
    /// Makes a resource tracked or untracked.
    Track {
        /// Which.
        resource: ResourceId,
        /// Whether it is tracked from now on.
        tracked: bool,
    },
}

impl Change {
    /// Where it is, unless it is about a resource.
    pub fn at(&self) -> Option<Place> {
        match self {
            Change::Insert { at, .. }
            | Change::Replace { at, .. }
            | Change::SplitPass { at }
            | Change::Remove { at } => Some(*at),
            Change::InsertStep { at, .. } => Some(Place::Step(*at)),
            Change::Track { .. } => None,
        }
    }
}

/// Changes that work only together, such as the update of a fence and its wait.
///
/// ```
/// use lockgate_sync::{Change, Fix, Place};
/// let fix = Fix { changes: vec![Change::Remove { at: Place::Step(2) }], closes: vec![0] };
/// assert_eq!(fix.closes.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fix {
    /// What to change.
    pub changes: Vec<Change>,
    /// The findings that are gone with it, as positions in [`Report::findings`](crate::Report::findings). Where
    /// several fixes close a finding together, each names it.
    pub closes: Vec<u32>,
}

impl Program {
    /// The program with fixes applied, all at once. Total: what means nothing is left out.
    ///
    /// ```
    /// use lockgate_sync::*;
    /// let program = Program::new();
    /// assert_eq!(program.apply(&[Fix::default()]), program);
    /// ```
    pub fn apply<'a>(&self, fixes: impl IntoIterator<Item = &'a Fix>) -> Program {
        edit(self, fixes.into_iter().flat_map(|fix| &fix.changes)).program
    }
}

/// Where a command of a changed program comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// An operation of the program before.
    Op(u32),
    /// Attachments stored where a pass is split.
    Store(u32),
    /// Attachments loaded where a pass is split.
    Load(u32),
}

/// A changed program, and how its numbers relate to those before.
#[derive(Debug)]
pub(crate) struct Edited {
    pub(crate) program: Program,
    /// For command buffers whose commands have other numbers: step and buffer before, to where each command
    /// comes from.
    pub(crate) commands: BTreeMap<(u32, u32), Vec<Origin>>,
    /// The step before, of each step.
    pub(crate) steps: Vec<Option<u32>>,
}

/// Applies changes, in the order given where they meet at a place.
pub(crate) fn edit<'a>(program: &Program, changes: impl IntoIterator<Item = &'a Change>) -> Edited {
    let mut inside: BTreeMap<(u32, u32), BTreeMap<u32, Vec<&Change>>> = BTreeMap::new();
    let mut between: BTreeMap<u32, Vec<&Change>> = BTreeMap::new();
    let mut new = Program { steps: Vec::new(), ..program.clone() };
    for change in changes {
        match change.at() {
            Some(Place::Op { step, buffer, op }) => {
                inside.entry((step, buffer)).or_default().entry(op).or_default().push(change);
            }
            Some(Place::Step(step)) => between.entry(step).or_default().push(change),
            None => {}
        }
        match change {
            Change::Track { resource, tracked } => {
                if let Some(resource) = new.resources.get_mut(resource.index()) {
                    resource.tracked = *tracked;
                }
            }
            Change::Insert { op, .. } => add_ids(&mut new, op_ids(op)),
            Change::InsertStep { step, .. } => add_ids(&mut new, step_ids(step)),
            _ => {}
        }
    }
    let mut edited = Edited { program: new, commands: BTreeMap::new(), steps: Vec::new() };
    for number in 0..=program.steps.len() as u32 {
        let here = between.get(&number).map_or(&[][..], Vec::as_slice);
        for change in here {
            if let Change::InsertStep { step, .. } = change
                && is_sync_step(step)
            {
                edited.program.steps.push(step.clone());
                edited.steps.push(None);
            }
        }
        let Some(step) = program.steps.get(number as usize) else { break };
        let removed = here.iter().any(|change| matches!(change, Change::Remove { .. }));
        if !(removed && is_sync_step(step)) {
            let step = edit_step(step, number, &inside, &mut edited.commands);
            edited.program.steps.push(step);
            edited.steps.push(Some(number));
        }
    }
    edited
}

fn edit_step(
    step: &Step,
    number: u32,
    inside: &BTreeMap<(u32, u32), BTreeMap<u32, Vec<&Change>>>,
    commands: &mut BTreeMap<(u32, u32), Vec<Origin>>,
) -> Step {
    let mut step = step.clone();
    if let Step::Commit { buffers, .. } = &mut step {
        for (&(_, buffer), changes) in inside.range((number, 0)..=(number, u32::MAX)) {
            let Some(recording) = buffers.get_mut(buffer as usize) else { continue };
            let (new, origins) = edit_recording(recording, changes);
            if new.command_count() != recording.command_count() {
                commands.insert((number, buffer), origins);
            }
            *recording = Arc::new(new);
        }
    }
    step
}

/// Whether a step is synchronization, which can be added or removed.
pub(crate) fn is_sync_step(step: &Step) -> bool {
    !matches!(
        step,
        Step::Commit { .. }
            | Step::Present { .. }
            | Step::Host(HostStep::Access(_) | HostStep::AccessWhenIdle(_))
    )
}

/// Whether an operation is synchronization, which can be added or removed.
pub(crate) fn is_sync_op(op: &Op) -> bool {
    !matches!(op, Op::BeginPass(_) | Op::EndPass | Op::Command { .. })
}

fn op_ids(op: &Op) -> (Option<FenceId>, Option<EventId>) {
    match op {
        Op::UpdateFence { fence, .. } | Op::WaitForFence { fence, .. } => (Some(*fence), None),
        Op::SignalEvent { event, .. } | Op::WaitForEvent { event, .. } => (None, Some(*event)),
        _ => (None, None),
    }
}

fn step_ids(step: &Step) -> (Option<FenceId>, Option<EventId>) {
    match step {
        Step::SignalEvent { event, .. }
        | Step::WaitForEvent { event, .. }
        | Step::Host(HostStep::SignalEvent { event, .. } | HostStep::WaitForEvent { event, .. }) => {
            (None, Some(*event))
        }
        _ => (None, None),
    }
}

fn add_ids(program: &mut Program, (fence, event): (Option<FenceId>, Option<EventId>)) {
    if let Some(fence) = fence {
        program.fences = program.fences.max(fence.0.saturating_add(1));
    }
    if let Some(event) = event {
        program.events = program.events.max(event.0.saturating_add(1));
    }
}

/// One line of the changed command buffer.
enum Line<'a> {
    Old(u32, &'a Op),
    New(&'a Op),
    Begin(PassDescriptor),
    /// A store or load of attachments, and the operation at which the pass is split.
    Attachments(Origin, Vec<Access>),
}

fn edit_recording(old: &Recording, changes: &BTreeMap<u32, Vec<&Change>>) -> (Recording, Vec<Origin>) {
    let mut lines: Vec<Line<'_>> = Vec::with_capacity(old.ops().len() + changes.len());
    let mut pass: Option<(usize, PassDescriptor)> = None;
    for number in 0..=old.ops().len() {
        let here = changes.get(&(number as u32)).map_or(&[][..], Vec::as_slice);
        let op = old.ops().get(number);
        let split = pass.filter(|_| here.iter().any(|change| matches!(change, Change::SplitPass { .. })));
        insert(&mut lines, here, |op| split.is_none() || half(op) == Half::First);
        if let Some((begin, descriptor)) = split {
            let attachments = Attachments::of(old, begin);
            attachments.store(&mut lines, number as u32);
            lines.push(Line::New(&Op::EndPass));
            insert(&mut lines, here, |op| half(op) == Half::Between);
            lines.push(Line::Begin(PassDescriptor { resuming: false, ..descriptor }));
            insert(&mut lines, here, |op| half(op) == Half::Second);
            attachments.load(&mut lines, number as u32);
        }
        let Some(op) = op else { break };
        match op {
            Op::BeginPass(descriptor) => pass = Some((number, *descriptor)),
            Op::EndPass => pass = None,
            _ => {}
        }
        let replaced = here.iter().rev().find_map(|change| match change {
            Change::Replace { op: new, .. } if is_sync_op(op) && is_sync_op(new) => Some(new),
            _ => None,
        });
        let removed = here.iter().any(|change| matches!(change, Change::Remove { .. }));
        if !(removed && is_sync_op(op)) {
            lines.push(Line::Old(number as u32, replaced.unwrap_or(op)));
        }
    }
    assemble(old, &lines)
}

fn insert<'a>(lines: &mut Vec<Line<'a>>, here: &[&'a Change], wanted: impl Fn(&Op) -> bool) {
    for change in here {
        if let Change::Insert { op, .. } = change
            && is_sync_op(op)
            && wanted(op)
        {
            lines.push(Line::New(op));
        }
    }
}

/// Where an operation belongs that is inserted where a pass is split.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    First,
    Between,
    Second,
}

fn half(op: &Op) -> Half {
    match op {
        Op::UpdateFence { .. } | Op::Barrier(BarrierReach::Producer, _) => Half::First,
        Op::SignalEvent { .. } | Op::WaitForEvent { .. } => Half::Between,
        _ => Half::Second,
    }
}

fn assemble(old: &Recording, lines: &[Line<'_>]) -> (Recording, Vec<Origin>) {
    let mut new = old.without_ops();
    let mut origins = Vec::new();
    for line in lines {
        match line {
            Line::Old(number, op) => {
                if matches!(op, Op::Command { .. }) {
                    origins.push(Origin::Op(*number));
                }
                new.push_op((*op).clone());
            }
            Line::New(op) => new.push_op((*op).clone()),
            Line::Begin(pass) => new.push_op(Op::BeginPass(*pass)),
            Line::Attachments(origin, accesses) => {
                origins.push(*origin);
                new.push_command(&[Work::new(Stage::Fragment, accesses)]);
            }
        }
    }
    (new, origins)
}

/// What the attachments of a pass touch, as far as its commands show it.
struct Attachments(Vec<Access>);

impl Attachments {
    /// Of the pass that begins at an operation. Loads are the first command and stores the last, if that is one
    /// fragment work with nothing but accesses in raster order.
    fn of(recording: &Recording, begin: usize) -> Attachments {
        let pass = recording.ops().iter().skip(begin + 1).take_while(|op| !matches!(op, Op::EndPass));
        let commands: Vec<&Op> = pass.filter(|op| matches!(op, Op::Command { .. })).collect();
        let mut found: Vec<Access> = Vec::new();
        for op in [commands.first(), commands.last()].into_iter().flatten() {
            let Op::Command { works, .. } = op else { continue };
            let mut works = recording.works(works);
            let (Some(work), None) = (works.next(), works.next()) else { continue };
            let raster = |access: &Access| access.kind.contains(AccessKind::RASTER_ORDERED);
            if work.stage == Stage::Fragment && work.accesses.iter().all(raster) {
                let known = |access: &Access| {
                    found.iter().any(|a| (a.resource, a.region) == (access.resource, access.region))
                };
                let more: Vec<Access> = work.accesses.iter().filter(|a| !known(a)).copied().collect();
                found.extend(more);
            }
        }
        Attachments(found)
    }

    fn touched(&self, kind: AccessKind) -> Vec<Access> {
        let kind = kind | AccessKind::RASTER_ORDERED;
        self.0.iter().map(|access| Access { kind, ..*access }).collect()
    }

    /// Behind the last command of the first half, where a store stands.
    fn store(&self, lines: &mut Vec<Line<'_>>, at: u32) {
        if self.0.is_empty() {
            return;
        }
        let begins = |line: &Line<'_>| matches!(line, Line::Begin(_) | Line::Old(_, Op::BeginPass(_)));
        let commands =
            |line: &Line<'_>| matches!(line, Line::Attachments(..) | Line::Old(_, Op::Command { .. }));
        let behind = lines.iter().rposition(|line| begins(line) || commands(line)).map_or(0, |at| at + 1);
        lines.insert(behind, Line::Attachments(Origin::Store(at), self.touched(AccessKind::WRITE)));
    }

    fn load(&self, lines: &mut Vec<Line<'_>>, at: u32) {
        if !self.0.is_empty() {
            lines.push(Line::Attachments(Origin::Load(at), self.touched(AccessKind::READ)));
        }
    }
}
