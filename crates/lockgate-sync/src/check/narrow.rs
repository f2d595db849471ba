//! An operation with one stage or one visibility less.

use super::finding::Sides;
use crate::{Barrier, Op, Stages, VisibilityOptions};

/// The stages that an operation of synchronization names, if it names any.
pub(crate) fn sides(op: &Op) -> Option<Sides> {
    let none = Stages::empty();
    Some(match op {
        Op::Barrier(_, Barrier { after, before, .. })
        | Op::MemoryBarrierWithScope { after, before, .. }
        | Op::MemoryBarrierWithResources { after, before, .. } => Sides { after: *after, before: *before },
        Op::UpdateFence { after, .. } => Sides { after: *after, before: none },
        Op::WaitForFence { before, .. } => Sides { after: none, before: *before },
        _ => return None,
    })
}

/// The operation with other stages.
pub(crate) fn with_sides(op: &Op, sides: Sides) -> Op {
    let mut op = op.clone();
    match &mut op {
        Op::Barrier(_, Barrier { after, before, .. })
        | Op::MemoryBarrierWithScope { after, before, .. }
        | Op::MemoryBarrierWithResources { after, before, .. } => {
            (*after, *before) = (sides.after, sides.before);
        }
        Op::UpdateFence { after, .. } => *after = sides.after,
        Op::WaitForFence { before, .. } => *before = sides.before,
        _ => {}
    }
    op
}

/// Every stage that an operation names, each as a pair of sides of which one is empty.
pub(crate) fn bits(op: &Op) -> Vec<Sides> {
    let Some(Sides { after, before }) = sides(op) else { return Vec::new() };
    let known = |mask: Stages| (mask & Stages::ALL).iter().collect::<Vec<Stages>>();
    let none = Stages::empty();
    let earlier = known(after).into_iter().map(|after| Sides { after, before: none });
    let later = known(before).into_iter().map(|before| Sides { after: none, before });
    earlier.chain(later).collect()
}

/// The operation without some stages. Bits that mean nothing go too.
pub(crate) fn without(op: &Op, less: Sides) -> Op {
    let Some(Sides { after, before }) = sides(op) else { return op.clone() };
    let after = (after & Stages::ALL) - less.after;
    let before = (before & Stages::ALL) - less.before;
    with_sides(op, Sides { after, before })
}

/// A barrier with the next smaller visibility, if it has any. Alone, `RESOURCE_ALIAS` would still include
/// `DEVICE` (A9), so it goes first.
pub(crate) fn less_visible(op: &Op) -> Option<Op> {
    let Op::Barrier(reach, barrier) = op else { return None };
    let visibility = match barrier.visibility {
        of if of.contains(VisibilityOptions::RESOURCE_ALIAS | VisibilityOptions::DEVICE) => {
            VisibilityOptions::DEVICE
        }
        of if of == VisibilityOptions::DEVICE => VisibilityOptions::empty(),
        _ => return None,
    };
    Some(Op::Barrier(*reach, Barrier { visibility, ..*barrier }))
}
