//! Where something stands in a program.

use crate::{Actor, CommandRef, CommitId, Op, Program, Recording, Step};

/// A position in a program: a step, or an operation of a command buffer of a commit.
///
/// As the place of something new it means "before this"; one past the last step or operation means the end.
/// Places always count in the program that was checked, not in one that has been changed.
///
/// ```
/// use lockgate_sync::Place;
/// let op = Place::Op { step: 0, buffer: 0, op: 3 };
/// assert!(op < Place::Op { step: 0, buffer: 1, op: 0 } && op.step() == 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A position in [`Program::steps`].
    Step(u32),
    /// A position in [`Recording::ops`] of a command buffer.
    Op {
        /// The commit, as a position in [`Program::steps`].
        step: u32,
        /// Position of the command buffer in the commit.
        buffer: u32,
        /// Position of the operation in the command buffer.
        op: u32,
    },
}

impl Place {
    /// The step it is or is in.
    pub fn step(self) -> u32 {
        match self {
            Place::Step(step) | Place::Op { step, .. } => step,
        }
    }

    fn key(self) -> (u32, Option<(u32, u32)>) {
        match self {
            Place::Step(step) => (step, None),
            Place::Op { step, buffer, op } => (step, Some((buffer, op))),
        }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Place) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Place) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Program {
    /// The step of a commit, as a position in [`Program::steps`].
    pub fn step_of_commit(&self, commit: CommitId) -> Option<u32> {
        let commits = (0u32..).zip(&self.steps).filter(|(_, step)| matches!(step, Step::Commit { .. }));
        commits.map(|(at, _)| at).nth(commit.index())
    }

    /// The step of a host step, by its number among the host steps.
    pub fn step_of_host(&self, number: u64) -> Option<u32> {
        let hosts = (0u32..).zip(&self.steps).filter(|(_, step)| matches!(step, Step::Host(_)));
        hosts.map(|(at, _)| at).nth(usize::try_from(number).ok()?)
    }

    /// The step of a presentation, by its number among the presentations.
    pub fn step_of_present(&self, number: u64) -> Option<u32> {
        let presents = (0u32..).zip(&self.steps).filter(|(_, step)| matches!(step, Step::Present { .. }));
        presents.map(|(at, _)| at).nth(usize::try_from(number).ok()?)
    }

    /// Where a command stands.
    pub fn place_of(&self, command: CommandRef) -> Option<Place> {
        let step = self.step_of_commit(command.commit)?;
        let ops = self.recording(step, command.buffer)?.ops();
        let is_it = |op: &Op| matches!(op, Op::Command { command: number, .. } if *number == command.command);
        let op = ops.iter().position(is_it)? as u32;
        Some(Place::Op { step, buffer: command.buffer, op })
    }

    /// Who touches memory at a place: its command, or the host or display of its step.
    pub fn actor_at(&self, place: Place) -> Option<Actor> {
        let before = self.steps.get(..place.step() as usize)?;
        let count = |is: fn(&Step) -> bool| before.iter().filter(|step| is(step)).count() as u64;
        match place {
            Place::Op { buffer, .. } => {
                let Op::Command { command, .. } = self.op_at(place)? else { return None };
                let commit = CommitId(count(|step| matches!(step, Step::Commit { .. })));
                Some(Actor::Command(CommandRef { commit, buffer, command: *command }))
            }
            Place::Step(step) => match self.steps.get(step as usize)? {
                Step::Host(_) => Some(Actor::Host { step: count(|step| matches!(step, Step::Host(_))) }),
                Step::Present { .. } => {
                    Some(Actor::Display { present: count(|step| matches!(step, Step::Present { .. })) })
                }
                _ => None,
            },
        }
    }

    /// A command buffer of a commit.
    pub fn recording(&self, step: u32, buffer: u32) -> Option<&Recording> {
        match self.steps.get(step as usize)? {
            Step::Commit { buffers, .. } => buffers.get(buffer as usize).map(|recording| &**recording),
            _ => None,
        }
    }

    /// The operation at a place inside a command buffer.
    pub fn op_at(&self, place: Place) -> Option<&Op> {
        match place {
            Place::Step(_) => None,
            Place::Op { step, buffer, op } => self.recording(step, buffer)?.ops().get(op as usize),
        }
    }
}
