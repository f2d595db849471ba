//! Numbers of the fences and events that fixes add: they follow those of the program, without holes, as they appear.
//!
//! Deliberately absent: which are needed (`candidate.rs`, `minimize.rs`).

use super::change::Change;
use crate::{EventId, FenceId, HostStep, Op, Program, Step};
use std::collections::BTreeMap;

/// New numbers by old ones.
struct Numbers {
    first: u32,
    known: BTreeMap<u32, u32>,
}

impl Numbers {
    fn new(first: u32) -> Numbers {
        Numbers { first, known: BTreeMap::new() }
    }

    fn of(&mut self, old: u32) -> u32 {
        if old < self.first {
            return old;
        }
        let next = self.first + self.known.len() as u32;
        *self.known.entry(old).or_insert(next)
    }
}

/// Numbers what is new in changes.
pub(crate) fn renumber<'c>(program: &Program, changes: impl IntoIterator<Item = &'c mut Change>) {
    let (mut fences, mut events) = (Numbers::new(program.fences), Numbers::new(program.events));
    let mut fence = |id: &mut FenceId| id.0 = fences.of(id.0);
    let mut event = |id: &mut EventId| id.0 = events.of(id.0);
    for change in changes {
        match change {
            Change::Insert { op, .. } | Change::Replace { op, .. } => match op {
                Op::UpdateFence { fence: id, .. } | Op::WaitForFence { fence: id, .. } => fence(id),
                Op::SignalEvent { event: id, .. } | Op::WaitForEvent { event: id, .. } => event(id),
                _ => {}
            },
            Change::InsertStep {
                step:
                    Step::SignalEvent { event: id, .. }
                    | Step::WaitForEvent { event: id, .. }
                    | Step::Host(HostStep::SignalEvent { event: id, .. } | HostStep::WaitForEvent { event: id, .. }),
                ..
            } => event(id),
            _ => {}
        }
    }
}
