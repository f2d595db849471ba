//! What subgroups are here: four neighbours of a workgroup, by `local_invocation_index`.
//!
//! WGSL allows 4 to 128. Four are what machine code runs at once, and what a quad is.

use naga::{BinaryOperator, SubgroupOperation as Op};

use super::number::Num;

/// Invocations of a subgroup.
pub(super) const SIZE: u32 = 4;

/// What joins two values; `None` for the smaller or the greater of both.
pub(super) fn operator(op: Op) -> Option<BinaryOperator> {
    match op {
        Op::Min | Op::Max => None,
        Op::Add => Some(BinaryOperator::Add),
        Op::Mul => Some(BinaryOperator::Multiply),
        Op::And | Op::All => Some(BinaryOperator::And),
        Op::Or | Op::Any => Some(BinaryOperator::InclusiveOr),
        Op::Xor => Some(BinaryOperator::ExclusiveOr),
    }
}

/// The bits of a value that changes nothing when it is joined with others.
pub(super) fn identity(num: Num, op: Option<Op>) -> u64 {
    let float = num.is_float();
    match op {
        Some(Op::Add) if float => num.pack_float(-0.0),
        Some(Op::Mul) if float => num.pack_float(1.0),
        Some(Op::Min) if float => num.pack_float(f64::INFINITY),
        Some(Op::Max) if float => num.pack_float(f64::NEG_INFINITY),
        Some(Op::Mul) => 1,
        Some(Op::And) => num.pack_int(-1),
        Some(Op::Min) => num.pack_int(num.bounds().1),
        Some(Op::Max) => num.pack_int(num.bounds().0),
        _ => 0,
    }
}
