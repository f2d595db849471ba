//! The table of edges: which earlier work a later work waits for because of one operation, or of none.
//!
//! Each rule is a predicate over two works and an operation, read straight off the semantics. Event, commit
//! and drawable orders are not here: they are sets of works, kept by the walk.

use super::item::{Placed, Sync};
use super::relation::{Edge, Publication};
use super::{Node, conflict};
use lockgate_sync::{
    Barrier, BarrierReach, ConsumerTargets, PassKind, Program, Stage, Stages, VisibilityOptions,
};

/// The vertex, object and mesh stages together come before the rasterizer, the fragment and tile stages behind.
const BEFORE_RASTER: Stages = Stages::VERTEX.union(Stages::OBJECT).union(Stages::MESH);
const BEHIND_RASTER: Stages = Stages::FRAGMENT.union(Stages::TILE);

/// All edges into `late` from the works and operations that were taken before it, events and commits apart.
pub(super) fn edges_into(program: &Program, taken: &[Node], syncs: &[Placed], late: &Node) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (from, early) in taken.iter().enumerate() {
        edges.extend(implied(program, early, late).map(|publishes| Edge { from, publishes }));
        for (position, sync) in syncs.iter().enumerate() {
            let publishes = match &sync.sync {
                Sync::WaitForFence { .. } => {
                    let updates = syncs.iter().enumerate();
                    updates
                        .filter(|(at, update)| fence_binds(program, *at < position, update, sync))
                        .any(|(_, update)| fence_connects(update, sync, early, late))
                        .then_some(Publication::Device)
                }
                Sync::UpdateFence { .. } => None,
                Sync::Barrier(reach, barrier) => {
                    let connects = barrier_connects(program, *reach, *barrier, sync, early, late);
                    connects.then(|| publication(barrier.visibility))
                }
                Sync::Memory { after, before, published } => {
                    let connects = memory_connects(*after, *before, sync, early, late);
                    connects.then(|| Publication::Resources(published.clone()))
                }
            };
            edges.extend(publishes.map(|publishes| Edge { from, publishes }));
        }
    }
    edges
}

/// Orders that need no operation: stages of a command, serial passes, copies under switch A7.
fn implied(program: &Program, early: &Node, late: &Node) -> Option<Publication> {
    if early.same_command(late) {
        return Some(Publication::Nothing);
    }
    let serial = late.serial && early.same_pass(late);
    let copies = program.model.overlapping_copies_ordered
        && early.same_pass(late)
        && early.stage == Stage::Blit
        && late.stage == Stage::Blit
        && conflict::on_one_texture(program, early, late);
    (serial || copies).then_some(Publication::Device)
}

fn publication(visibility: VisibilityOptions) -> Publication {
    if visibility.contains(VisibilityOptions::RESOURCE_ALIAS) {
        Publication::DeviceAndAliases
    } else if visibility.contains(VisibilityOptions::DEVICE) {
        Publication::Device
    } else {
        Publication::Nothing
    }
}

fn in_mask(node: &Node, mask: Stages) -> bool {
    mask.intersects(node.stage.mask())
}

fn in_pass(node: &Node, sync: &Placed) -> bool {
    node.queue == Some(sync.queue) && node.pass == sync.pass
}

fn in_earlier_pass(node: &Node, sync: &Placed) -> bool {
    node.queue == Some(sync.queue) && node.pass < sync.pass
}

fn in_later_pass(node: &Node, sync: &Placed) -> bool {
    node.queue == Some(sync.queue) && node.pass > sync.pass
}

fn in_pass_before(node: &Node, sync: &Placed) -> bool {
    in_pass(node, sync) && node.recorded < sync.at
}

fn in_pass_behind(node: &Node, sync: &Placed) -> bool {
    in_pass(node, sync) && node.recorded > sync.at
}

fn barrier_connects(
    program: &Program,
    reach: BarrierReach,
    barrier: Barrier,
    sync: &Placed,
    early: &Node,
    late: &Node,
) -> bool {
    let masks = in_mask(early, barrier.after) && in_mask(late, barrier.before);
    match reach {
        BarrierReach::Intrapass => {
            let legal = in_mask(early, sync.kind.intrapass_sources()) && in_mask(late, sync.kind.stages());
            let selected = sync.kind == PassKind::Io || (masks && legal);
            selected && in_pass_before(early, sync) && in_pass_behind(late, sync)
        }
        BarrierReach::Producer => {
            let source = in_earlier_pass(early, sync) || in_pass_before(early, sync);
            masks && source && in_later_pass(late, sync)
        }
        BarrierReach::Consumer => {
            let wide = program.model.consumer_targets == ConsumerTargets::LaterPassesToo;
            let target = in_pass_behind(late, sync) || (wide && in_later_pass(late, sync));
            masks && in_earlier_pass(early, sync) && target
        }
    }
}

fn memory_connects(after: Stages, before: Stages, sync: &Placed, early: &Node, late: &Node) -> bool {
    let (sources, targets) = match sync.kind {
        PassKind::Render => render_masks(after, before),
        kind => (after & kind.intrapass_sources(), before & kind.stages()),
    };
    let masks = in_mask(early, sources) && in_mask(late, targets);
    masks && in_pass_before(early, sync) && in_pass_behind(late, sync)
}

/// Stores at the named stages or before them, loads at the named stages or behind them; but work behind the
/// rasterizer ends with the pass and is no source.
fn render_masks(after: Stages, before: Stages) -> (Stages, Stages) {
    let named = |mask: Stages, group| mask.intersects(group);
    let sources = match named(after, BEFORE_RASTER | BEHIND_RASTER) {
        true => BEFORE_RASTER,
        false => Stages::empty(),
    };
    let targets = match (named(before, BEFORE_RASTER), named(before, BEHIND_RASTER)) {
        (true, _) => BEFORE_RASTER | BEHIND_RASTER,
        (false, true) => BEHIND_RASTER,
        (false, false) => Stages::empty(),
    };
    (sources, targets)
}

/// Whether a wait covers an update: same fence, and an earlier pass of the queue, or, under switch A2, of
/// another queue and taken before.
fn fence_binds(program: &Program, taken_before: bool, update: &Placed, wait: &Placed) -> bool {
    let (Sync::UpdateFence { fence: updated, .. }, Sync::WaitForFence { fence: waited, .. }) =
        (&update.sync, &wait.sync)
    else {
        return false;
    };
    let reaches = match update.queue == wait.queue {
        true => update.pass < wait.pass,
        false => program.model.fences_across_queues && taken_before,
    };
    updated == waited && reaches
}

fn fence_connects(update: &Placed, wait: &Placed, early: &Node, late: &Node) -> bool {
    let (Sync::UpdateFence { after, .. }, Sync::WaitForFence { before, .. }) = (&update.sync, &wait.sync)
    else {
        return false;
    };
    let masks = in_mask(early, *after) && in_mask(late, *before);
    masks && in_pass_before(early, update) && in_pass_behind(late, wait)
}
