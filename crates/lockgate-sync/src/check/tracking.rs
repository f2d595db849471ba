//! Which resources are worth a note that the program orders them itself.
//!
//! Deliberately absent: whether anything changes without tracking, which a run decides (`spare.rs`).

use super::layout::Layout;
use super::place::Place;
use crate::{Access, AccessKind, Hazard, ResourceId, ResourceKind, Step};

/// An access that tracking sees.
struct Tracked {
    access: Access,
    place: Place,
}

/// Whether two commands conflict over a resource that tracking sees in both, and none do so by atomic operations
/// alone: those conflict only because they are tracked, so without it nothing tells that their order is lost. `spend`
/// says whether so many comparisons can be afforded; nothing if they cannot.
pub(crate) fn is_contested(
    layout: &Layout<'_>,
    resource: ResourceId,
    mut spend: impl FnMut(u64) -> bool,
) -> Option<bool> {
    let list = accesses(layout, resource);
    let mut found = false;
    for (number, later) in list.iter().enumerate().filter(|(_, later)| later.access.kind.writes()) {
        if !spend(list.len() as u64) {
            return None;
        }
        for (_, other) in list.iter().enumerate().filter(|(other, _)| *other != number) {
            if !conflict(layout, other, later) {
                continue;
            }
            if other.access.kind.is_atomic() && later.access.kind.is_atomic() {
                return Some(false);
            }
            found = true;
        }
    }
    Some(found)
}

fn accesses(layout: &Layout<'_>, resource: ResourceId) -> Vec<Tracked> {
    let program = layout.program;
    let mut list = Vec::new();
    for (step, commit) in (0u32..).zip(&program.steps) {
        let Step::Commit { queue, buffers } = commit else { continue };
        if !layout.is_gpu(*queue) || !program.queues[queue.index()].hazard_tracking {
            continue;
        }
        for (buffer, recording) in (0u32..).zip(buffers) {
            for (op, line) in (0u32..).zip(recording.ops()) {
                let crate::Op::Command { works, .. } = line else { continue };
                let place = Place::Op { step, buffer, op };
                let all = recording.works(works).flat_map(|work| work.accesses);
                let seen = all.filter(|access| {
                    access.resource == resource && !access.kind.contains(AccessKind::BINDLESS)
                });
                list.extend(seen.map(|access| Tracked { access: *access, place }));
            }
        }
    }
    list
}

fn conflict(layout: &Layout<'_>, a: &Tracked, b: &Tracked) -> bool {
    let (kinds, regions) = ((a.access.kind, b.access.kind), (a.access.region, b.access.region));
    let Some(resource) = layout.program.resources.get(a.access.resource.index()) else { return false };
    let overlap = match resource.kind {
        ResourceKind::Buffer => {
            let (a, b) = (regions.0.physical(resource), regions.1.physical(resource));
            a.0 < b.1 && b.0 < a.1
        }
        ResourceKind::Texture { .. } => regions.0.texels().overlaps(&regions.1.texels()),
    };
    let raster = (kinds.0 & kinds.1).contains(AccessKind::RASTER_ORDERED)
        && layout.pass_of(a.place) == layout.pass_of(b.place);
    a.place != b.place && overlap && !raster && Hazard::between(kinds.0, kinds.1).is_some()
}
