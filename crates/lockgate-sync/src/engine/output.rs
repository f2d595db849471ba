//! What the engine hands out: vertices with their edges, gaps, and misuse.

use super::recall::Again;
use crate::{Edge, Gap, Graph, Misuse, Publishes, SyncOp, Vertex, VertexId, VertexKind};

#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) graph: Graph,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) misuse: Vec<Misuse>,
    /// The next vertex.
    pub(crate) next: u64,
    /// What is taken now was handed out before.
    pub(crate) again: Option<Again>,
}

impl Output {
    /// Makes room for so many vertices that are to come.
    pub(crate) fn reserve(&mut self, vertices: usize) {
        self.graph.vertices.reserve(vertices);
        self.graph.edges.reserve(vertices);
    }

    /// Adds a vertex with the edges that `add_edges` pushes.
    pub(crate) fn vertex(&mut self, kind: VertexKind, add_edges: impl FnOnce(&mut Vec<Edge>)) -> VertexId {
        let again = self.again.as_mut().filter(|_| kind != VertexKind::Join);
        if let Some(known) = again.and_then(Again::next) {
            return known;
        }
        let id = VertexId(self.next);
        self.next += 1;
        let start = self.graph.edges.len();
        add_edges(&mut self.graph.edges);
        unique(&mut self.graph.edges, start);
        let edges = start as u32..self.graph.edges.len() as u32;
        self.graph.vertices.push(Vertex { id, kind, edges });
        id
    }

    /// A vertex that waits for all of `vertices`, and by itself publishes nothing.
    pub(crate) fn join(&mut self, vertices: &[VertexId], by: SyncOp) -> VertexId {
        let edge = |&from: &VertexId| Edge { from, by, publishes: Publishes::Nothing };
        self.vertex(VertexKind::Join, |edges| edges.extend(vertices.iter().map(edge)))
    }

    /// One edge that waits for all of `vertices` and publishes as much; nothing if there are none.
    pub(crate) fn edge(&mut self, vertices: &[VertexId], by: SyncOp, publishes: Publishes) -> Option<Edge> {
        let from = match *vertices {
            [] => return None,
            [one] => one,
            _ => self.join(vertices, by),
        };
        Some(Edge { from, by, publishes })
    }
}

/// Removes edges behind `start` for which another stands. Lists are short, or a join of distinct vertices.
fn unique(edges: &mut Vec<Edge>, start: usize) {
    if edges[start..].is_sorted_by(|a, b| a.from < b.from) {
        return;
    }
    if edges.len() - start > 32 {
        let widest_first = |edge: &Edge| std::cmp::Reverse(edge.publishes.rank());
        edges[start..].sort_by_key(|edge| (edge.from, widest_first(edge)));
        let mut tail = edges.split_off(start);
        tail.dedup_by(|edge, before| before.stands_for(edge));
        edges.extend(tail);
        return;
    }
    let mut kept = start;
    'edges: for at in start..edges.len() {
        let edge = edges[at];
        for other in edges[start..kept].iter_mut().filter(|other| other.from == edge.from) {
            if other.stands_for(&edge) {
                continue 'edges;
            }
            if edge.stands_for(other) {
                *other = edge;
                continue 'edges;
            }
        }
        edges[kept] = edge;
        kept += 1;
    }
    edges.truncate(kept);
}
