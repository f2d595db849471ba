//! Why two works are ordered, or why they are not.
//!
//! The path is one of the engine's graph; where there is none, the operation that comes nearest is named.

use super::change::edit;
use super::finding::OrderFound;
use super::layout::{Layout, Steps};
use super::near::nearest;
use crate::{Access, AccessKind, Actor, Graph, Program, ResourceId, Site, Stage, SyncOp, Vertex, VertexKind};

/// One edge of a path: what is done first, and the operation that makes the next wait for it.
///
/// ```
/// use lockgate_sync::{Hop, SyncKind, SyncOp, VertexKind};
/// let hop = Hop { from: VertexKind::Join, by: SyncOp { kind: SyncKind::Serial, at: None } };
/// assert_eq!(hop.by.kind, SyncKind::Serial);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What must be done.
    pub from: VertexKind,
    /// Why.
    pub by: SyncOp,
}

/// What orders one stage of one actor and one stage of another.
///
/// ```
/// use lockgate_sync::{explain, Actor, Program};
/// let (a, b) = (Actor::Host { step: 0 }, Actor::Host { step: 1 });
/// assert!(explain(&Program::new(), a, b).is_empty(), "there are no such actors");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who comes first; without an order, who was recorded first.
    pub earlier: (Actor, Stage),
    /// Who comes second.
    pub later: (Actor, Stage),
    /// The operations on a shortest path from the one to the other, the earlier one first; nothing if no path
    /// orders them.
    pub path: Option<Vec<Hop>>,
    /// Without a path, the operation that comes nearest to ordering them.
    pub order: OrderFound,
}

/// Explains the order of two actors, for each stage of the one and each stage of the other. Empty if one of them is
/// not in the program.
///
/// ```
/// use lockgate_sync::*;
/// let mut program = Program::new();
/// let queue = program.add_queue(QueueDescriptor::default());
/// let mut recording = Recording::new();
/// recording.begin_pass(PassDescriptor { serial: true, ..PassDescriptor::compute() });
/// for _ in 0..2 {
///     recording.command(&[Work::new(Stage::Dispatch, &[])]);
/// }
/// recording.end_pass();
/// program.commit(queue, vec![recording]);
/// let command = |command| Actor::Command(CommandRef { commit: CommitId(0), buffer: 0, command });
/// let told = explain(&program, command(1), command(0));
/// assert_eq!(told[0].earlier.0, command(0));
/// assert_eq!(told[0].path.as_ref().unwrap()[0].by.kind, SyncKind::Serial);
/// ```
pub fn explain(program: &Program, a: Actor, b: Actor) -> Vec<Explanation> {
    let (layout, edited, steps) = (Layout::new(program), edit(program, []), Steps::of(program));
    let graph = program.run().graph;
    let spot = |(actor, stage): (Actor, Stage)| {
        let access = Access::whole(ResourceId(0), AccessKind::READ);
        layout.spot(&steps, &edited, &Site { actor, stage, access })
    };
    let mut told = Vec::new();
    for first in of(&graph, a) {
        for second in of(&graph, b) {
            let (low, high) = if first.id <= second.id { (first, second) } else { (second, first) };
            let Some((x, y)) = name(low).zip(name(high)) else { continue };
            if first.id == second.id {
                continue;
            }
            let edges = graph.path(low.id, high.id);
            let hop = |edge: &crate::Edge| {
                graph.vertex(edge.from).map(|vertex| Hop { from: vertex.kind, by: edge.by })
            };
            let path: Option<Vec<Hop>> = edges.map(|edges| edges.iter().filter_map(hop).collect());
            let spots = spot(x).zip(spot(y));
            // Without an order, the one that was recorded first is the earlier one.
            let swap = path.is_none() && spots.is_some_and(|(x, y)| x.place > y.place);
            let (earlier, later) = if swap { (y, x) } else { (x, y) };
            let order = match (&path, spots) {
                (None, Some((x, y))) if swap => nearest(&layout, &y, &x),
                (None, Some((x, y))) => nearest(&layout, &x, &y),
                _ => OrderFound::Nothing,
            };
            told.push(Explanation { earlier, later, path, order });
        }
    }
    told
}

fn of(graph: &Graph, actor: Actor) -> Vec<&Vertex> {
    graph.vertices.iter().filter(|vertex| name(vertex).is_some_and(|(own, _)| own == actor)).collect()
}

fn name(vertex: &Vertex) -> Option<(Actor, Stage)> {
    match vertex.kind {
        VertexKind::Work { command, stage, .. } => Some((Actor::Command(command), stage)),
        VertexKind::Host { step } => Some((Actor::Host { step }, Stage::Host)),
        VertexKind::Display { present } => Some((Actor::Display { present }, Stage::Display)),
        _ => None,
    }
}
