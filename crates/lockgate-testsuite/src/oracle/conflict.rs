//! Which two accesses must not meet unordered, and which of these pairs tracking takes care of.

use super::Node;
use lockgate_sync::{Access, AccessKind, Program, QueueKind, ResourceKind, Stage};

/// Whether two accesses of two works conflict: overlapping memory, one writes, and no exemption.
pub(super) fn conflicts(program: &Program, a: (&Node, &Access), b: (&Node, &Access)) -> bool {
    let ((early, first), (late, second)) = (a, b);
    let raster = first.kind.contains(AccessKind::RASTER_ORDERED)
        && second.kind.contains(AccessKind::RASTER_ORDERED)
        && early.same_pass(late);
    let tracked = tracked(program, a, b);
    let atomic = first.kind.is_atomic() && second.kind.is_atomic() && !tracked;
    let unit = tracked && !unorderable(early, late);
    (first.kind.writes() || second.kind.writes())
        && (overlaps(program, first, second) || (unit && of_one_unit(program, first, second)))
        && !early.same_command(late)
        && !raster
        && !atomic
}

/// Whether tracking sees both accesses.
pub(super) fn tracked(program: &Program, a: (&Node, &Access), b: (&Node, &Access)) -> bool {
    let seen = |(node, access): (&Node, &Access)| {
        let queue = node.queue.and_then(|queue| program.queues.get(queue.index()));
        let resource = program.resources.get(access.resource.index());
        queue.is_some_and(|queue| queue.kind == QueueKind::Gpu && queue.hazard_tracking)
            && resource.is_some_and(|resource| resource.tracked || resource.unit)
            && !access.kind.contains(AccessKind::BINDLESS)
    };
    seen(a) && seen(b)
}

/// Whether two works have a tracked conflict.
pub(super) fn tracked_conflict(program: &Program, early: &Node, late: &Node) -> bool {
    pairs(early, late).any(|(a, b)| tracked(program, a, b) && conflicts(program, a, b))
}

/// Whether two works conflict on one texture.
pub(super) fn on_one_texture(program: &Program, early: &Node, late: &Node) -> bool {
    pairs(early, late).any(|(a, b)| {
        let resource = program.resources.get(a.1.resource.index());
        a.1.resource == b.1.resource
            && resource.is_some_and(|resource| matches!(resource.kind, ResourceKind::Texture { .. }))
            && conflicts(program, a, b)
    })
}

/// Whether no order is possible between them: fragment and tile work ends with its render pass.
pub(super) fn unorderable(early: &Node, late: &Node) -> bool {
    early.same_pass(late) && matches!(early.stage, Stage::Fragment | Stage::Tile)
}

/// Every access of one work beside every access of another.
pub(super) fn pairs<'a>(
    early: &'a Node,
    late: &'a Node,
) -> impl Iterator<Item = ((&'a Node, &'a Access), (&'a Node, &'a Access))> {
    early.accesses.iter().flat_map(move |a| late.accesses.iter().map(move |b| ((early, a), (late, b))))
}

fn overlaps(program: &Program, a: &Access, b: &Access) -> bool {
    let (Some(of_a), Some(of_b)) =
        (program.resources.get(a.resource.index()), program.resources.get(b.resource.index()))
    else {
        return false;
    };
    if a.resource != b.resource {
        return of_a.memory == of_b.memory && meet(a.region.physical(of_a), b.region.physical(of_b));
    }
    match of_a.kind {
        ResourceKind::Buffer => meet(a.region.bytes(of_a.size), b.region.bytes(of_a.size)),
        ResourceKind::Texture { .. } => a.region.texels().overlaps(&b.region.texels()),
    }
}

/// Whether both are of members of one tracked heap: where tracking orders, it is one piece of memory.
/// Everywhere else members that lie apart are apart: nothing is missing between them.
fn of_one_unit(program: &Program, a: &Access, b: &Access) -> bool {
    let unit = |access: &Access| {
        let resource = program.resources.get(access.resource.index());
        resource.filter(|resource| resource.unit).map(|resource| resource.memory)
    };
    unit(a).is_some() && unit(a) == unit(b)
}

fn meet(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0.max(b.0) < a.1.min(b.1)
}
