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

/// Parts beyond which they are summed up.
const PARTS_MAX: usize = 8;

/// Works that are done when a point is reached, with all that is behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// What is behind them, but for `parts`: many are never asked for it.
    sum: Option<Box<Behind>>,
    parts: SmallVec<[Part; 2]>,
    pub(crate) vertices: SmallVec<[VertexId; 4]>,
    /// Vertices that something among `vertices` waits for; the last few only.
    pub(crate) waited: SmallVec<[VertexId; 2]>,
}

/// Consecutive works of a lane that have the same behind them.
#[derive(Clone, Debug)]
struct Part {
    behind: Arc<Behind>,
    lane: Lane,
    start: u64,
    end: u64,
}

impl Sources {
    pub(crate) fn is_empty(&self) -> bool {
        self.vertices.is_empty()
    }

    /// What is behind them.
    pub(crate) fn behind(&mut self) -> &Behind {
        let sum = self.sum.get_or_insert_default();
        let mut last: Option<Arc<Behind>> = None;
        for part in self.parts.drain(..) {
            if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last, &part.behind)) {
                sum.union(&part.behind);
            }
            sum.executed.insert_run(part.lane, part.start, part.end);
            last = Some(part.behind);
        }
        sum
    }

    pub(crate) fn into_behind(mut self) -> Behind {
        self.behind();
        self.sum.map_or_else(Behind::default, |sum| *sum)
    }

    /// How many intervals are remembered.
    pub(crate) fn fragments(&self) -> usize {
        self.sum.as_ref().map_or(0, |sum| sum.fragments()) + self.parts.len()
    }

    /// The sets that it keeps, its own one first.
    pub(crate) fn sets_mut(&mut self) -> (Option<&mut Behind>, impl Iterator<Item = &mut Arc<Behind>>) {
        (self.sum.as_deref_mut(), self.parts.iter_mut().map(|part| &mut part.behind))
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
        match self.parts.last_mut() {
            Some(last) if last.lane == lane && last.end == number && Arc::ptr_eq(&last.behind, behind) => {
                last.end += 1;
            }
            _ => {
                self.push(Part { behind: behind.clone(), lane, start: number, end: number + 1 });
                self.waited.clear();
                self.waited.extend(edges.iter().rev().take(LOOSE_VERTICES_MAX).map(|edge| edge.from));
                let waited = std::mem::take(&mut self.waited);
                self.drop_waited_for(&waited);
                self.waited = waited;
            }
        }
        self.vertices.push(vertex);
    }

    fn push(&mut self, part: Part) {
        if self.parts.len() == PARTS_MAX {
            self.behind();
        }
        self.parts.push(part);
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
        if let Some(sum) = &other.sum {
            self.sum.get_or_insert_default().union(sum);
        }
        other.parts.iter().for_each(|part| self.push(part.clone()));
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
        self.sum.get_or_insert_default().union(&gate.behind);
        self.vertices.extend(gate.waits.iter().map(|edge| edge.from));
    }

    /// The same with what the gate publishes.
    pub(crate) fn union_published_gate(&mut self, gate: &Gate, out: &mut Output) {
        self.sum.get_or_insert_default().union(&gate.behind);
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

    /// Sums up what an operation names, since the next may name it again.
    pub(crate) fn settle(&mut self, by: SyncOp, out: &mut Output) {
        self.behind();
        self.collapse_beyond(1, by, out);
    }

    /// Puts more vertices than `max` behind one join.
    fn collapse_beyond(&mut self, max: usize, by: SyncOp, out: &mut Output) {
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
