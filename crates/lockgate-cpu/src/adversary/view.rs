//! Whose stores does a work see? The closure of the graph, row by row.
//!
//! A row knows all vertices before its own, and those of them whose stores an edge between has published. Vertices
//! come in an order in which they could run, so a row is final when it is made. Rows share what they have in common.

use lockgate_runtime::backend::SubmittedBuffer;
use lockgate_sync::{BarrierScope, Edge, Graph, Op, Publishes, ResourceId, VertexId};
use std::sync::Arc;

/// Words of a piece of a set.
const PIECE: usize = 32;

/// A set of small numbers, whose copies share pieces until they differ.
#[derive(Clone, Default)]
struct Bits(Vec<Arc<[u64; PIECE]>>);

impl Bits {
    fn insert(&mut self, number: u64) {
        let (word, bit) = ((number / 64) as usize, number % 64);
        while self.0.len() <= word / PIECE {
            self.0.push(Arc::default());
        }
        Arc::make_mut(&mut self.0[word / PIECE])[word % PIECE] |= 1 << bit;
    }

    fn contains(&self, number: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, number % 64);
        self.0.get(word / PIECE).is_some_and(|piece| piece[word % PIECE] >> bit & 1 == 1)
    }

    fn union(&mut self, other: &Bits) {
        for (at, theirs) in other.0.iter().enumerate() {
            match self.0.get_mut(at) {
                None => self.0.push(theirs.clone()),
                Some(own) if Arc::ptr_eq(own, theirs) => {}
                Some(own) if own.iter().zip(&**theirs).all(|(own, theirs)| own & !theirs == 0) => {
                    *own = theirs.clone();
                }
                Some(own) => {
                    Arc::make_mut(own).iter_mut().zip(&**theirs).for_each(|(own, theirs)| *own |= theirs);
                }
            }
        }
    }
}

/// A resource as stores to it are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) resource: ResourceId,
    pub(crate) texture: bool,
}

/// What an edge publishes that does not publish everything.
#[derive(Clone, PartialEq, Eq)]
enum Scope {
    Kinds(BarrierScope),
    Resources(Arc<[ResourceId]>),
}

impl Scope {
    fn covers(&self, of: Of) -> bool {
        match self {
            Scope::Kinds(kinds) => {
                kinds.contains(if of.texture { BarrierScope::TEXTURES } else { BarrierScope::BUFFERS })
            }
            Scope::Resources(list) => list.contains(&of.resource),
        }
    }
}

/// What is before a vertex, and what of that it sees.
#[derive(Clone, Default)]
pub(crate) struct View {
    before: Bits,
    sees: Bits,
    scoped: Vec<(Scope, Bits)>,
}

impl View {
    /// Whether stores of a work to a resource are visible here.
    pub(crate) fn shows(&self, work: u32, of: Of) -> bool {
        let number = u64::from(work);
        self.sees.contains(number)
            || self.scoped.iter().any(|(scope, works)| scope.covers(of) && works.contains(number))
    }

    fn scope_mut(&mut self, scope: &Scope) -> &mut Bits {
        let at = match self.scoped.iter().position(|(own, _)| own == scope) {
            Some(at) => at,
            None => {
                self.scoped.push((scope.clone(), Bits::default()));
                self.scoped.len() - 1
            }
        };
        &mut self.scoped[at].1
    }

    fn follow(&mut self, number: u64, from: &View, publishes: Option<&Scope>, all: bool) {
        let mut before = from.before.clone();
        before.insert(number);
        self.sees.union(if all { &before } else { &from.sees });
        for (scope, works) in &from.scoped {
            self.scope_mut(scope).union(works);
        }
        if let Some(scope) = publishes {
            self.scope_mut(scope).union(&before);
        }
        self.before.union(&before);
    }
}

/// The rows of all vertices since the device was last idle.
#[derive(Default)]
pub(crate) struct Views {
    first: u64,
    rows: Vec<Arc<View>>,
}

impl Views {
    /// Nothing is in flight: what was stored is seen by all that comes.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
    }

    /// Takes new vertices. `buffer` finds a command buffer that is in flight.
    pub(crate) fn learn(&mut self, graph: &Graph, buffer: impl Fn(&Edge) -> Option<SubmittedBuffer>) {
        for vertex in &graph.vertices {
            if self.rows.is_empty() {
                self.first = vertex.id.0;
            }
            let mut view = View::default();
            for edge in graph.edges_of(vertex) {
                let Some(number) = edge.from.0.checked_sub(self.first) else { continue };
                let Some(from) = self.rows.get(number as usize).cloned() else { continue };
                let scope = match edge.publishes {
                    Publishes::Kinds(kinds) => Some(Scope::Kinds(kinds)),
                    Publishes::Listed => buffer(edge).and_then(|buffer| listed(edge, &buffer)),
                    Publishes::Nothing | Publishes::Device => None,
                };
                view.follow(number, &from, scope.as_ref(), edge.publishes == Publishes::Device);
            }
            self.rows.push(Arc::new(view));
        }
    }

    /// The number and the row of a work.
    pub(crate) fn of(&self, vertex: VertexId) -> Option<(u32, Arc<View>)> {
        let number = vertex.0.checked_sub(self.first)?;
        Some((u32::try_from(number).ok()?, self.rows.get(number as usize)?.clone()))
    }
}

/// The resources that the operation of an edge lists.
fn listed(edge: &Edge, buffer: &SubmittedBuffer) -> Option<Scope> {
    let recording = buffer.contents.recording();
    match recording.ops().get(edge.by.at?.2 as usize)? {
        Op::MemoryBarrierWithResources { resources, .. } => {
            Some(Scope::Resources(recording.resources(resources).into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sync::{SyncKind, SyncOp, Vertex, VertexKind};

    fn graph(edges: &[&[(u64, Publishes)]]) -> Graph {
        let by = SyncOp { kind: SyncKind::Consumer, at: None };
        let mut graph = Graph::default();
        for (id, into) in edges.iter().enumerate() {
            let start = graph.edges.len() as u32;
            graph.edges.extend(into.iter().map(|&(from, publishes)| Edge {
                from: VertexId(from),
                by,
                publishes,
            }));
            let edges = start..graph.edges.len() as u32;
            graph.vertices.push(Vertex { id: VertexId(id as u64), kind: VertexKind::Join, edges });
        }
        graph
    }

    #[test]
    fn one_publishing_edge_on_the_path_is_enough() {
        use Publishes::{Device, Kinds, Nothing};
        let mut views = Views::default();
        let buffers = Kinds(BarrierScope::BUFFERS);
        views.learn(
            &graph(&[
                &[],
                &[(0, Nothing)],
                &[(1, Device)],
                &[(2, Nothing)],
                &[(1, Nothing)],
                &[(1, buffers)],
            ]),
            |_| None,
        );
        let sees = |work: u64, texture| {
            let row = views.of(VertexId(work)).unwrap().1;
            (0..work as u32)
                .filter(|other| row.shows(*other, Of { resource: ResourceId(0), texture }))
                .collect()
        };
        let expected: [(u64, &[u32], &[u32]); 5] =
            [(1, &[], &[]), (2, &[0, 1], &[0, 1]), (3, &[0, 1], &[0, 1]), (4, &[], &[]), (5, &[0, 1], &[])];
        for (work, of_buffers, of_textures) in expected {
            let (buffers, textures): (Vec<u32>, Vec<u32>) = (sees(work, false), sees(work, true));
            assert_eq!((&*buffers, &*textures), (of_buffers, of_textures), "{work}");
        }
    }

    #[test]
    fn sets_of_many_pieces_are_sets() {
        let (mut a, mut b) = (Bits::default(), Bits::default());
        (0..5000).step_by(3).for_each(|number| a.insert(number));
        (0..9000).step_by(5).for_each(|number| b.insert(number));
        let mut both = a.clone();
        both.union(&b);
        for number in 0..9100 {
            let expected = (number < 5000 && number % 3 == 0) || (number < 9000 && number % 5 == 0);
            assert_eq!(both.contains(number), expected, "{number}");
        }
    }
}
