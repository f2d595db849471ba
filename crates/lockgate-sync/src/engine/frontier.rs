//! Sets of works to wait for, on both sides of an edge.
//!
//! [`Sources`] collects works that were stepped, so that a barrier, fence or signal can name them as a set.
//! [`Gate`] is what later works wait for. A gate opens from sources through one edge; works connect edges, so
//! the order is transitive through works and through nothing else (A10, A11).

use super::clock::Lane;
use super::output::Output;
use super::reach::{Behind, Publish};
use crate::{Edge, Publishes, SyncOp, VertexId, VertexKind};
use smallvec::SmallVec;
use std::sync::Arc;

/// More vertices than this are put behind one join, so that naming a set again costs nothing.
const LOOSE_VERTICES_MAX: usize = 8;

/// Works that are done when a point is reached, with all that is behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) behind: Behind,
    pub(crate) vertices: SmallVec<[VertexId; 4]>,
    /// What was behind the last work added: works of one stretch share it.
    last: Option<Arc<Behind>>,
    /// Vertices that something among `vertices` waits for; the last few only.
    pub(crate) waited: SmallVec<[VertexId; 2]>,
}

impl Sources {
    pub(crate) fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// Adds a work. `edges`: what it waits for itself; who waits for it waits for that too.
    pub(crate) fn add(
        &mut self,
        lane: Lane,
        number: u64,
        behind: &Arc<Behind>,
        vertex: VertexId,
        edges: &[Edge],
    ) {
        if !self.last.as_ref().is_some_and(|last| Arc::ptr_eq(last, behind)) {
            self.behind.union(behind);
            self.last = Some(behind.clone());
            self.waited.clear();
            self.waited.extend(edges.iter().rev().take(LOOSE_VERTICES_MAX).map(|edge| edge.from));
            let waited = std::mem::take(&mut self.waited);
            self.drop_waited_for(&waited);
            self.waited = waited;
        }
        self.behind.executed.insert(lane, number);
        self.vertices.push(vertex);
    }

    /// Vertices that were added last go if something among the sources waits for them: a chain of works is named by its
    /// end.
    fn drop_waited_for(&mut self, waited: &[VertexId]) {
        let recent = self.vertices.len().saturating_sub(LOOSE_VERTICES_MAX);
        for at in (recent..self.vertices.len()).rev() {
            if waited.contains(&self.vertices[at]) {
                self.vertices.remove(at);
            }
        }
    }

    pub(crate) fn union(&mut self, other: &Sources) {
        if other.is_empty() {
            return;
        }
        self.behind.union(&other.behind);
        self.drop_waited_for(&other.waited);
        for &vertex in &other.vertices {
            if self.vertices.last() != Some(&vertex) {
                self.vertices.push(vertex);
            }
        }
        self.waited.clone_from(&other.waited);
    }

    /// Adds what a gate holds back, as if a work stood behind it. Only for orders that publish everything: what the
    /// gate publishes is not in the graph then.
    pub(crate) fn union_gate(&mut self, gate: &Gate) {
        self.behind.union(&gate.behind);
        self.vertices.extend(gate.waits.iter().map(|edge| edge.from));
    }

    /// The same with what the gate publishes.
    pub(crate) fn union_published_gate(&mut self, gate: &Gate, out: &mut Output) {
        self.behind.union(&gate.behind);
        if gate.waits.iter().all(|edge| edge.publishes == Publishes::Nothing) {
            self.vertices.extend(gate.waits.iter().map(|edge| edge.from));
        } else {
            let join = out.vertex(VertexKind::Join, |list| list.extend_from_slice(&gate.waits));
            self.vertices.push(join);
        }
    }

    /// Puts many vertices behind one join.
    pub(crate) fn collapse(&mut self, by: SyncOp, out: &mut Output) {
        self.collapse_beyond(LOOSE_VERTICES_MAX, by, out);
    }

    /// Puts more vertices than `max` behind one join.
    pub(crate) fn collapse_beyond(&mut self, max: usize, by: SyncOp, out: &mut Output) {
        if self.vertices.len() > max {
            let join = out.join(&self.vertices, by);
            self.vertices.clear();
            self.vertices.push(join);
        }
    }
}

/// What later works wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate {
    /// Shared between the gates that one operation opens alike.
    pub(crate) behind: Arc<Behind>,
    pub(crate) waits: Vec<Edge>,
}

impl Gate {
    /// Makes later works wait for `sources`, of which `vertex` is the last to be done.
    pub(crate) fn open_after(
        &mut self,
        sources: &Behind,
        publish: &Publish,
        edge: Option<Edge>,
        out: &mut Output,
    ) {
        Arc::make_mut(&mut self.behind).follow(sources, publish);
        self.wait(edge, &[], out);
    }

    /// Adds an edge to what later works wait for, from something that waits for `waited` itself.
    pub(crate) fn wait(&mut self, edge: Option<Edge>, waited: &[VertexId], out: &mut Output) {
        let Some(edge) = edge else { return };
        self.waits.retain(|wait| !(waited.contains(&wait.from) && edge.covers(wait)));
        for wait in self.waits.iter_mut().filter(|wait| wait.from == edge.from) {
            if wait.stands_for(&edge) {
                return;
            }
            if edge.stands_for(wait) {
                *wait = edge;
                return;
            }
        }
        self.waits.push(edge);
        if self.waits.len() > LOOSE_VERTICES_MAX {
            let join = out.vertex(VertexKind::Join, |list| list.extend_from_slice(&self.waits));
            self.waits.clear();
            self.waits.push(Edge { from: join, by: edge.by, publishes: Publishes::Nothing });
        }
    }
}
