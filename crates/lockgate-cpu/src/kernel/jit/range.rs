//! How large can an integer get?
//!
//! Where invocations are in their workgroup is below its size, and what is masked, shifted or added up from such values is
//! bounded too. An index that is below the length of its array needs no clamp and no test.

use std::collections::HashMap;

use super::{
    super::number::Num,
    ir::{Binary, Builtin, Id, Op, Program, Stmt},
};

/// Adds to what is known: values that are below a number, as unsigned integers.
pub(super) fn find(program: &Program, below: &mut HashMap<Id, u32>) {
    list(program, &program.body, below);
}

fn list(program: &Program, stmts: &[Stmt], below: &mut HashMap<Id, u32>) {
    for stmt in stmts {
        if let Stmt::Let(id, op) = stmt
            && matches!(program.num(*id), Num::I32 | Num::U32)
            && !below.contains_key(id)
            && let Some(end) = end(program, program.num(*id), op, below)
            && let Ok(end) = u32::try_from(end)
            && end <= i32::MAX as u32
        {
            below.insert(*id, end);
        }
        stmt.lists().for_each(|inner| list(program, inner, below));
    }
}

/// What the result is below, computed without overflow.
fn end(program: &Program, num: Num, op: &Op, below: &HashMap<Id, u32>) -> Option<u64> {
    let of = |id: Id| match program.constant(id) {
        Some(bits) => Some(u64::from(bits as u32) + 1),
        None => below.get(&id).map(|end| u64::from(*end)),
    };
    let both = |a: Id, b: Id| of(a).zip(of(b));
    let either = |a: Id, b: Id| [of(a), of(b)].into_iter().flatten().min();
    match *op {
        Op::Builtin(builtin) => place(program, builtin),
        Op::Bits(a) | Op::Convert(a) if matches!(program.num(a), Num::I32 | Num::U32) => of(a),
        Op::Select(_, a, b) => both(a, b).map(|(a, b)| a.max(b)),
        Op::Binary(op, a, b) => match op {
            Binary::And => either(a, b),
            Binary::Min if num == Num::U32 => either(a, b),
            Binary::Max => both(a, b).map(|(a, b)| a.max(b)),
            Binary::Remainder if num == Num::U32 => program.constant(b).filter(|by| *by > 0),
            Binary::Add => both(a, b).map(|(a, b)| (a + b).saturating_sub(1)),
            Binary::Multiply => both(a, b).map(|(a, b)| a.saturating_sub(1) * b.saturating_sub(1) + 1),
            Binary::ShiftRight if num == Num::U32 => {
                let by = program.constant(b).filter(|by| *by < 32)?;
                of(a).map(|a| (a.saturating_sub(1) >> by) + 1)
            }
            Binary::ShiftLeft => {
                let by = program.constant(b).filter(|by| *by < 32)?;
                of(a).map(|a| (a.saturating_sub(1) << by) + 1)
            }
            _ => None,
        },
        _ => None,
    }
}

/// Where an invocation is. Lanes that stand for nobody are beyond the end, so nothing is known where there are any.
fn place(program: &Program, builtin: Builtin) -> Option<u64> {
    let count = program.invocations();
    let end = match builtin {
        Builtin::LocalId(axis) => program.workgroup_size[axis],
        Builtin::LocalIndex => count,
        Builtin::SubgroupId => count / 4,
        Builtin::SubgroupLane => 4,
        Builtin::GlobalId(_) | Builtin::GroupId(_) | Builtin::GridSize(_) => return None,
    };
    count.is_multiple_of(4).then_some(end.into())
}
