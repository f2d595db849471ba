//! What the engine hands out: vertices with their edges, gaps, and misuse.

use crate::{Edge, Gap, Graph, Misuse, SyncOp, Vertex, VertexId, VertexKind};

#[derive(Clone, Debug, Default)]
pub(crate) struct Output {
    pub(crate) graph: Graph,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) misuse: Vec<Misuse>,
    next: u64,
}

impl Output {
    /// Adds a vertex with the edges that `add_edges` pushes.
    pub(crate) fn vertex(&mut self, kind: VertexKind, add_edges: impl FnOnce(&mut Vec<Edge>)) -> VertexId {
        let id = VertexId(self.next);
        self.next += 1;
        let start = self.graph.edges.len();
        add_edges(&mut self.graph.edges);
        unique(&mut self.graph.edges, start);
        let edges = start as u32..self.graph.edges.len() as u32;
        self.graph.vertices.push(Vertex { id, kind, edges });
        id
    }

    /// A vertex that waits for all of `vertices`.
    pub(crate) fn join(&mut self, vertices: &[VertexId], by: SyncOp) -> VertexId {
        self.vertex(VertexKind::Join, |edges| edges.extend(vertices.iter().map(|&from| Edge { from, by })))
    }

    /// One edge that waits for all of `vertices`; nothing if there are none.
    pub(crate) fn edge(&mut self, vertices: &[VertexId], by: SyncOp) -> Option<Edge> {
        let from = match *vertices {
            [] => return None,
            [one] => one,
            _ => self.join(vertices, by),
        };
        Some(Edge { from, by })
    }
}

/// Removes edges behind `start` whose vertex is named before. Lists are short, or a join of distinct vertices.
fn unique(edges: &mut Vec<Edge>, start: usize) {
    if edges.len() - start > 32 {
        edges[start..].sort_by_key(|edge| edge.from);
        let mut tail = edges.split_off(start);
        tail.dedup_by_key(|edge| edge.from);
        edges.extend(tail);
        return;
    }
    let mut kept = start;
    for at in start..edges.len() {
        let edge = edges[at];
        if edges[start..kept].iter().all(|other| other.from != edge.from) {
            edges[kept] = edge;
            kept += 1;
        }
    }
    edges.truncate(kept);
}
