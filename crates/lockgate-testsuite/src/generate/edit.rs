//! One more barrier in a finished program: where it can stand, and the program that has it.
//!
//! The command buffer is recorded again line by line, so attachment loads and stores stay where they were.

use lockgate_sync::{Barrier, BarrierReach, CommandRef, Op, Program, Recording, Step, VisibilityOptions};
use std::sync::Arc;

/// A place inside a pass: before this operation of this command buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The step, a commit.
    pub step: usize,
    /// The command buffer in it.
    pub buffer: usize,
    /// The operation before which it is.
    pub op: usize,
}

impl Place {
    /// Right before a command of a program.
    pub fn before(program: &Program, command: CommandRef) -> Option<Place> {
        let is_commit = |step: &Step| matches!(step, Step::Commit { .. });
        let mut commits = program.steps.iter().enumerate().filter(|(_, step)| is_commit(step));
        let (step, commit) = commits.nth(command.commit.0 as usize)?;
        let Step::Commit { buffers, .. } = commit else { return None };
        let buffer = command.buffer as usize;
        let is_command = |op: &Op| matches!(op, Op::Command { command: n, .. } if *n == command.command);
        let op = buffers.get(buffer)?.ops().iter().position(is_command)?;
        Some(Place { step, buffer, op })
    }
}

/// All places inside passes of a program.
pub fn places(program: &Program) -> Vec<Place> {
    let mut places = Vec::new();
    for (step, commit) in program.steps.iter().enumerate() {
        let Step::Commit { buffers, .. } = commit else { continue };
        for (buffer, recording) in buffers.iter().enumerate() {
            let mut inside = false;
            for (op, line) in recording.ops().iter().enumerate() {
                if inside {
                    places.push(Place { step, buffer, op });
                }
                inside = match line {
                    Op::BeginPass(_) => true,
                    Op::EndPass => false,
                    _ => inside,
                };
            }
        }
    }
    places
}

/// The program with one more barrier at a place.
pub fn with_barrier(program: &Program, place: Place, reach: BarrierReach, barrier: Barrier) -> Program {
    let mut program = program.clone();
    if let Some(Step::Commit { buffers, .. }) = program.steps.get_mut(place.step)
        && let Some(buffer) = buffers.get_mut(place.buffer)
    {
        *buffer = Arc::new(recorded_with(buffer, place.op, reach, barrier));
    }
    program
}

/// The program with a consumer and an intrapass barrier, everything before everything, in front of most
/// commands: what is left open is little and hard to see. The seed decides which commands go without.
pub fn synchronized(program: &Program, seed: u64) -> Program {
    let mut program = program.clone();
    let full = Barrier {
        visibility: VisibilityOptions::DEVICE | VisibilityOptions::RESOURCE_ALIAS,
        ..Barrier::default()
    };
    // Back to front, so that the places still to come stay where they are.
    for (number, place) in (0u64..).zip(places(&program).into_iter().rev()) {
        let mixed = (seed ^ number << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60;
        if is_command(&program, place) && mixed > 0 {
            program = with_barrier(&program, place, BarrierReach::Intrapass, full);
            program = with_barrier(&program, place, BarrierReach::Consumer, full);
        }
    }
    program
}

fn is_command(program: &Program, place: Place) -> bool {
    let Some(Step::Commit { buffers, .. }) = program.steps.get(place.step) else { return false };
    let op = buffers.get(place.buffer).and_then(|buffer| buffer.ops().get(place.op));
    matches!(op, Some(Op::Command { .. }))
}

fn recorded_with(old: &Recording, at: usize, reach: BarrierReach, barrier: Barrier) -> Recording {
    let mut new = Recording::new();
    for (index, op) in old.ops().iter().enumerate() {
        if index == at {
            new.barrier(reach, barrier);
        }
        match op {
            Op::BeginPass(pass) => new.begin_pass(*pass),
            Op::EndPass => new.end_pass(),
            Op::Command { works, .. } => {
                let works: Vec<_> = old.works(works).collect();
                new.command(&works);
            }
            Op::Barrier(reach, barrier) => new.barrier(*reach, *barrier),
            Op::MemoryBarrierWithScope { after, before, scope } => {
                new.memory_barrier_with_scope(*after, *before, *scope);
            }
            Op::MemoryBarrierWithResources { after, before, resources } => {
                new.memory_barrier_with_resources(*after, *before, old.resources(resources));
            }
            Op::UpdateFence { fence, after } => new.update_fence(*fence, *after),
            Op::WaitForFence { fence, before } => new.wait_for_fence(*fence, *before),
            Op::SignalEvent { event, value } => new.signal_event(*event, *value),
            Op::WaitForEvent { event, value } => new.wait_for_event(*event, *value),
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Shape, program_from_seed};

    #[test]
    fn a_recording_comes_back_line_by_line_with_one_barrier_more() {
        for seed in 0..200 {
            let program = program_from_seed(seed, &Shape::default());
            for place in places(&program) {
                let with = with_barrier(&program, place, BarrierReach::Consumer, Barrier::default());
                let (Step::Commit { buffers: old, .. }, Step::Commit { buffers: new, .. }) =
                    (&program.steps[place.step], &with.steps[place.step])
                else {
                    panic!("a place is in a commit");
                };
                let mut lines = new[place.buffer].ops().to_vec();
                let added = lines.remove(place.op);
                assert_eq!(added, Op::Barrier(BarrierReach::Consumer, Barrier::default()));
                assert_eq!(lines, old[place.buffer].ops());
                assert_eq!(new[place.buffer].accesses(), old[place.buffer].accesses());
            }
        }
    }
}
