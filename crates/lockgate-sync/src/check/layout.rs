//! Which pass and queue everything of a program belongs to.
//!
//! Deliberately absent: orders, which only the engine knows.

use super::change::{Edited, Origin, is_sync_op};
use super::place::Place;
use crate::{
    Access, Actor, CommandRef, Gap, Op, PassKind, Program, QueueId, QueueKind, Recording, Site, Stage, Step,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where a work stands: its command or step, and the pass it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) place: Place,
    /// Nothing for the host and the display.
    pub(crate) queue: Option<QueueId>,
    /// Number of the pass on its queue, from 1; segments of a resumed pass share it.
    pub(crate) pass: u32,
    pub(crate) stage: Stage,
    /// For attachments that a fix stores and loads where it splits a pass.
    pub(crate) inserted: Option<Origin>,
}

/// An operation of synchronization inside a command buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncAt<'a> {
    pub(crate) place: Place,
    pub(crate) queue: QueueId,
    /// 0 between passes.
    pub(crate) pass: u32,
    pub(crate) op: &'a Op,
}

#[derive(Debug, Default)]
struct BufferAt {
    queue: Option<QueueId>,
    /// The pass of each operation.
    passes: Vec<u32>,
    /// The operation of each command.
    commands: Vec<u32>,
}

/// A program with its passes numbered.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    pub(crate) program: &'a Program,
    buffers: BTreeMap<(u32, u32), BufferAt>,
    /// The kind of each pass of each queue; pass `n` at `n - 1`.
    kinds: Vec<Vec<PassKind>>,
    /// The operations of synchronization of each queue, in queue order.
    pub(crate) syncs: Vec<Vec<SyncAt<'a>>>,
    /// The stages of the works of each queue.
    pub(crate) stages: Vec<Vec<Stage>>,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(program: &'a Program) -> Layout<'a> {
        let queues = program.queues.len();
        let mut layout = Layout {
            program,
            buffers: BTreeMap::new(),
            kinds: vec![Vec::new(); queues],
            syncs: vec![Vec::new(); queues],
            stages: vec![Vec::new(); queues],
        };
        for (number, step) in (0u32..).zip(&program.steps) {
            if let Step::Commit { queue, buffers } = step {
                let mut first = true;
                for (buffer, recording) in (0u32..).zip(buffers) {
                    layout.add(*queue, (number, buffer), recording, &mut first);
                }
            }
        }
        layout
    }

    fn add(
        &mut self,
        queue: QueueId,
        (step, buffer): (u32, u32),
        recording: &'a Recording,
        first: &mut bool,
    ) {
        let Some(kinds) = self.kinds.get_mut(queue.index()) else { return };
        let mut at = BufferAt { queue: Some(queue), ..BufferAt::default() };
        let mut open = false;
        for (number, op) in (0u32..).zip(recording.ops()) {
            if let Op::BeginPass(pass) = op {
                let resumes = pass.resuming && !*first && kinds.last() == Some(&pass.kind);
                if !resumes {
                    kinds.push(pass.kind);
                }
                *first = false;
                open = true;
            }
            let pass = if open { kinds.len() as u32 } else { 0 };
            at.passes.push(pass);
            open &= *op != Op::EndPass;
            if let Op::Command { works, .. } = op {
                at.commands.push(number);
                for work in recording.works(works) {
                    if !self.stages[queue.index()].contains(&work.stage) {
                        self.stages[queue.index()].push(work.stage);
                    }
                }
            } else if is_sync_op(op) {
                let place = Place::Op { step, buffer, op: number };
                self.syncs[queue.index()].push(SyncAt { place, queue, pass, op });
            }
        }
        self.buffers.insert((step, buffer), at);
    }

    pub(crate) fn kind(&self, queue: QueueId, pass: u32) -> Option<PassKind> {
        self.kinds.get(queue.index())?.get((pass as usize).checked_sub(1)?).copied()
    }

    /// The queue and pass of an operation.
    pub(crate) fn pass_of(&self, place: Place) -> Option<(QueueId, u32)> {
        let Place::Op { step, buffer, op } = place else { return None };
        let at = self.buffers.get(&(step, buffer))?;
        Some((at.queue?, *at.passes.get(op as usize)?))
    }

    /// How many passes a queue has.
    pub(crate) fn passes(&self, queue: QueueId) -> u32 {
        self.kinds.get(queue.index()).map_or(0, |kinds| kinds.len() as u32)
    }

    pub(crate) fn is_gpu(&self, queue: QueueId) -> bool {
        self.program.queues.get(queue.index()).is_some_and(|queue| queue.kind == QueueKind::Gpu)
    }

    /// Where a side of a gap of the changed program stood before.
    pub(crate) fn spot(&self, steps: &Steps, edited: &Edited, site: &Site) -> Option<Spot> {
        let outside = |step: Option<&u32>| {
            let step = edited.steps.get(*step? as usize).copied()??;
            Some(Spot { place: Place::Step(step), queue: None, pass: 0, stage: site.stage, inserted: None })
        };
        match site.actor {
            Actor::Command(CommandRef { commit, buffer, command }) => {
                let step = edited.steps.get(*steps.commits.get(commit.index())? as usize).copied()??;
                let at = self.buffers.get(&(step, buffer))?;
                let origin = match edited.commands.get(&(step, buffer)) {
                    Some(origins) => *origins.get(command as usize)?,
                    None => Origin::Op(*at.commands.get(command as usize)?),
                };
                let (op, inserted) = match origin {
                    Origin::Op(op) => (op, None),
                    Origin::Store(op) | Origin::Load(op) => (op, Some(origin)),
                };
                let pass = at.passes.get(op as usize).copied()?;
                let place = Place::Op { step, buffer, op };
                Some(Spot { place, queue: at.queue, pass, stage: site.stage, inserted })
            }
            Actor::Host { step } => outside(steps.hosts.get(step as usize)),
            Actor::Display { present } => outside(steps.presents.get(present as usize)),
        }
    }

    /// Both sides of a gap of the changed program.
    pub(crate) fn spots(&self, steps: &Steps, edited: &Edited, gap: &Gap) -> Option<(Spot, Spot)> {
        Some((self.spot(steps, edited, &gap.earlier)?, self.spot(steps, edited, &gap.later)?))
    }

    /// The begin of the part of a pass that holds an operation, and the end behind it.
    pub(crate) fn segment(&self, place: Place) -> Option<(Place, Place)> {
        let Place::Op { step, buffer, op } = place else { return None };
        let ops = self.program.recording(step, buffer)?.ops();
        let at = op as usize;
        let begin = ops.get(..=at)?.iter().rposition(|op| matches!(op, Op::BeginPass(_)))?;
        let end = ops[at..].iter().position(|op| *op == Op::EndPass).map_or(ops.len(), |end| at + end + 1);
        let place = |op: usize| Place::Op { step, buffer, op: op as u32 };
        Some((place(begin), place(end)))
    }
}

/// The commits, host steps and presentations of a program by their numbers, as positions in its steps.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    pub(crate) commits: Vec<u32>,
    pub(crate) hosts: Vec<u32>,
    pub(crate) presents: Vec<u32>,
}

impl Steps {
    pub(crate) fn of(program: &Program) -> Steps {
        let mut steps = Steps::default();
        for (number, step) in (0u32..).zip(&program.steps) {
            match step {
                Step::Commit { .. } => steps.commits.push(number),
                Step::Host(_) => steps.hosts.push(number),
                Step::Present { .. } => steps.presents.push(number),
                _ => {}
            }
        }
        steps
    }
}

/// A command buffer, and the works of each of its commands.
type CommandsOf<'a> = (&'a Recording, Vec<&'a Range<u32>>);

/// The commands of a program by their numbers.
#[derive(Debug)]
pub(crate) struct Commands<'a> {
    buffers: BTreeMap<(u64, u32), CommandsOf<'a>>,
}

impl<'a> Commands<'a> {
    pub(crate) fn of(program: &'a Program) -> Commands<'a> {
        let commits = program.steps.iter().filter_map(|step| match step {
            Step::Commit { buffers, .. } => Some(buffers),
            _ => None,
        });
        let works = |op: &'a Op| match op {
            Op::Command { works, .. } => Some(works),
            _ => None,
        };
        let buffers = (0u64..).zip(commits).flat_map(|(commit, buffers)| {
            (0u32..).zip(buffers).map(move |(number, recording)| {
                let recording: &Recording = recording;
                ((commit, number), (recording, recording.ops().iter().filter_map(works).collect()))
            })
        });
        Commands { buffers: buffers.collect() }
    }

    /// What a work of a command touches.
    pub(crate) fn accesses(&self, command: CommandRef, part: u32) -> &'a [Access] {
        let buffer = self.buffers.get(&(command.commit.0, command.buffer));
        let work = buffer.and_then(|(recording, commands)| {
            recording.works(commands.get(command.command as usize)?).nth(part as usize)
        });
        work.map_or(&[], |work| work.accesses)
    }
}
