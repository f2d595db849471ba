//! Which values does each region compute again instead of fetching them from a slot?
//!
//! An invocation's number and what is computed from it in a few steps is cheaper to compute than to keep, and stays
//! linear in name and in fact: what is known of it is known in each region.

use super::ir::{Binary, Id, Op, Program, Stmt};

/// Steps that are cheaper than a slot.
const STEPS_MAX: usize = 8;

/// How values are computed, for those that can be computed anywhere.
pub(super) struct Again {
    ops: Vec<Option<Op>>,
    /// Values that are there for the whole workgroup.
    hoisted: Vec<bool>,
}

impl Again {
    pub(super) fn new(program: &Program, hoisted: &[bool]) -> Again {
        let mut ops = vec![None; program.ids.len()];
        let mut visit = |stmt: &Stmt| {
            if let Stmt::Let(id, op) = stmt
                && is_cheap(op)
                && !program.num(*id).is_float()
                && op.operands().all(|id| !program.num(id).is_float())
            {
                ops[id.at()] = Some(*op);
            }
            false
        };
        program.body.iter().for_each(|stmt| {
            stmt.any(&mut visit);
        });
        Again { ops, hoisted: hoisted.to_vec() }
    }

    /// The steps to a value, the last one its own; nothing if there are too many.
    pub(super) fn steps(&self, id: Id) -> Option<Vec<(Id, Op)>> {
        let mut steps = Vec::new();
        self.add(id, &mut steps).then_some(steps)
    }

    fn add(&self, id: Id, steps: &mut Vec<(Id, Op)>) -> bool {
        if self.hoisted[id.at()] || steps.iter().any(|(step, _)| *step == id) {
            return true;
        }
        let Some(op) = self.ops[id.at()] else { return false };
        if !op.operands().all(|operand| self.add(operand, steps)) || steps.len() >= STEPS_MAX {
            return false;
        }
        steps.push((id, op));
        true
    }
}

fn is_cheap(op: &Op) -> bool {
    match op {
        Op::Binary(op, ..) => !matches!(op, Binary::Divide | Binary::Remainder),
        Op::Builtin(_) | Op::Bits(_) | Op::Convert(_) | Op::Select(..) => true,
        _ => false,
    }
}
