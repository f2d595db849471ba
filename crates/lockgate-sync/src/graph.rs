//! The work of a program as vertices, each with the vertices it must wait for: what a device executes.
//!
//! Every order of the program and of tracking is in here, and nothing more: two works may overlap or swap
//! exactly if neither reaches the other, and one sees what the other has stored exactly if one edge of a path between
//! them publishes it.

use crate::{BarrierScope, CommandRef, CommitId, EventId, FenceId, ResourceId, Stage};
use std::ops::Range;

/// A vertex, counted from 0 over the life of an engine. Edges go from smaller to larger ids.
///
/// ```
/// assert!(lockgate_sync::VertexId(1) < lockgate_sync::VertexId(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub u64);

/// What kind of operation orders.
///
/// ```
/// assert_ne!(lockgate_sync::SyncKind::Producer, lockgate_sync::SyncKind::Consumer);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SyncKind {
    /// An intrapass barrier.
    Intrapass,
    /// A producer barrier.
    Producer,
    /// A consumer barrier.
    Consumer,
    /// A Metal 3 memory barrier.
    MemoryBarrier,
    /// A serial encoder, between two of its commands.
    Serial,
    /// A wait for a fence.
    Fence(FenceId),
    /// A wait for an event.
    Event(EventId, u64),
    /// A barrier of an IO queue, or its serial order.
    QueueBarrier,
    /// A commit: the host's earlier accesses come first.
    Commit,
    /// The completion of a commit, seen by the host.
    Completion,
    /// A drawable handed to the display or back.
    Drawable,
    /// The stages of one command.
    Pipeline,
    /// Automatic: the resource is tracked.
    Tracking(ResourceId),
}

/// An operation that orders, and where it stands.
///
/// ```
/// use lockgate_sync::{SyncKind, SyncOp};
/// assert_eq!(SyncOp { kind: SyncKind::Serial, at: None }.at, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SyncOp {
    /// What kind.
    pub kind: SyncKind,
    /// Commit, command buffer in it, and position in [`Recording::ops`](crate::Recording::ops); nothing for
    /// operations of queues and of the host.
    pub at: Option<(CommitId, u32, u32)>,
}

/// What a vertex is.
///
/// ```
/// use lockgate_sync::{EventId, VertexKind};
/// assert_ne!(VertexKind::Join, VertexKind::Signal { event: EventId(0), value: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VertexKind {
    /// A stage of a command.
    Work {
        /// The command.
        command: CommandRef,
        /// Position of the work in the command.
        part: u32,
        /// The stage.
        stage: Stage,
    },
    /// A meeting point with no work.
    Join,
    /// The event takes the value.
    Signal {
        /// The event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// All work of the commit is done.
    Complete(CommitId),
    /// The host touches memory at its n-th step.
    Host {
        /// Counted from 0 over all host steps.
        step: u64,
    },
    /// The display reads a drawable.
    Display {
        /// Counted from 0 over all presentations.
        present: u64,
    },
}

/// What an edge makes visible to everything behind it: stores of its source, and of all that ran before its source.
///
/// Aliases are not told apart: who needs [`RESOURCE_ALIAS`](crate::VisibilityOptions::RESOURCE_ALIAS) is a question
/// for the checker.
///
/// ```
/// use lockgate_sync::{BarrierScope, Publishes};
/// assert!(Publishes::Device.contains(Publishes::Kinds(BarrierScope::BUFFERS)));
/// assert!(!Publishes::Nothing.contains(Publishes::Device));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publishes {
    /// Nothing: order only.
    #[default]
    Nothing,
    /// Stores to resources of these kinds.
    Kinds(BarrierScope),
    /// Stores to the resources that the operation in [`Edge::by`] lists: an
    /// [`Op::MemoryBarrierWithResources`](crate::Op::MemoryBarrierWithResources) of the commit that waits.
    Listed,
    /// All stores.
    Device,
}

impl Publishes {
    /// Whether everything that `other` publishes is published, if both are of one operation.
    pub fn contains(self, other: Publishes) -> bool {
        match (self, other) {
            (Publishes::Device, _) | (_, Publishes::Nothing) => true,
            (Publishes::Kinds(own), Publishes::Kinds(kinds)) => own.contains(kinds),
            (own, other) => own == other,
        }
    }

    /// Nothing that publishes more has a lower one.
    pub(crate) fn rank(self) -> u32 {
        match self {
            Publishes::Nothing => 0,
            Publishes::Listed => 1,
            Publishes::Kinds(kinds) => 1 + kinds.bits().count_ones(),
            Publishes::Device => u32::MAX,
        }
    }
}

/// One reason to wait.
///
/// ```
/// use lockgate_sync::{Edge, Publishes, SyncKind, SyncOp, VertexId};
/// let by = SyncOp { kind: SyncKind::Pipeline, at: None };
/// let edge = Edge { from: VertexId(0), by, publishes: Publishes::Nothing };
/// assert_eq!(edge.from.0, 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The vertex to wait for.
    pub from: VertexId,
    /// Why.
    pub by: SyncOp,
    /// What of that becomes visible.
    pub publishes: Publishes,
}

impl Edge {
    /// Whether `other` adds nothing beside this edge.
    pub(crate) fn stands_for(&self, other: &Edge) -> bool {
        self.from == other.from && self.covers(other)
    }

    /// Whether it publishes all that `other` publishes.
    pub(crate) fn covers(&self, other: &Edge) -> bool {
        let lists = other.publishes == Publishes::Listed && self.publishes == Publishes::Listed;
        self.publishes.contains(other.publishes) && (!lists || self.by.at == other.by.at)
    }
}

/// A vertex and where its edges stand.
///
/// ```
/// use lockgate_sync::{Vertex, VertexId, VertexKind};
/// let vertex = Vertex { id: VertexId(0), kind: VertexKind::Join, edges: 0..0 };
/// assert!(vertex.edges.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Its id.
    pub id: VertexId,
    /// What it is.
    pub kind: VertexKind,
    /// Its edges in [`Graph::edges`].
    pub edges: Range<u32>,
}

/// Vertices in an order in which they could run, with all their edges.
///
/// Edges may name vertices of earlier graphs of the same engine: what has been handed out stays true.
///
/// ```
/// use lockgate_sync::Graph;
/// assert!(Graph::default().vertices.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    /// The vertices, by rising id.
    pub vertices: Vec<Vertex>,
    /// The edges of all vertices. Two of them may lead from one vertex to another if they publish different things.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// The edges of a vertex of this graph.
    pub fn edges_of(&self, vertex: &Vertex) -> &[Edge] {
        self.edges.get(vertex.edges.start as usize..vertex.edges.end as usize).unwrap_or(&[])
    }

    /// The vertex with this id, if it is in this graph.
    pub fn vertex(&self, id: VertexId) -> Option<&Vertex> {
        self.vertices.binary_search_by_key(&id, |vertex| vertex.id).ok().map(|at| &self.vertices[at])
    }

    /// Appends a later graph of the same engine.
    pub fn append(&mut self, later: &Graph) {
        let shift = self.edges.len() as u32;
        self.edges.extend_from_slice(&later.edges);
        self.vertices.extend(later.vertices.iter().map(|vertex| Vertex {
            edges: vertex.edges.start + shift..vertex.edges.end + shift,
            ..vertex.clone()
        }));
    }

    /// The works of a command, in their order.
    pub fn works(&self, command: CommandRef) -> impl Iterator<Item = &Vertex> {
        let is = move |kind| matches!(kind, VertexKind::Work { command: c, .. } if c == command);
        self.vertices.iter().filter(move |vertex| is(vertex.kind))
    }

    /// Whether `later` must wait for `earlier`, directly or through others.
    pub fn orders(&self, earlier: VertexId, later: VertexId) -> bool {
        self.path(earlier, later).is_some()
    }

    /// Whether `later` sees what `earlier` has stored: one edge on a chain between them publishes it.
    ///
    /// ```
    /// use lockgate_sync::{Graph, Publishes, VertexId};
    /// let sees = Graph::default().shows(VertexId(0), VertexId(1), |edge| edge.publishes == Publishes::Device);
    /// assert!(!sees);
    /// ```
    pub fn shows(&self, earlier: VertexId, later: VertexId, publishes: impl Fn(&Edge) -> bool) -> bool {
        let mut visited = std::collections::BTreeSet::from([(later, false)]);
        let mut open = vec![(later, false)];
        while let Some((to, published)) = open.pop() {
            let Some(vertex) = self.vertex(to) else { continue };
            for edge in self.edges_of(vertex) {
                let at = (edge.from, published || publishes(edge));
                if at == (earlier, true) {
                    return true;
                }
                if edge.from > earlier && visited.insert(at) {
                    open.push(at);
                }
            }
        }
        false
    }

    /// A shortest chain of edges that makes `later` wait for `earlier`, first edge first.
    pub fn path(&self, earlier: VertexId, later: VertexId) -> Option<Vec<Edge>> {
        let mut seen: Vec<(VertexId, Edge)> = Vec::new();
        let mut visited = std::collections::BTreeSet::from([later]);
        let mut frontier = vec![later];
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for to in frontier {
                let Some(vertex) = self.vertex(to) else { continue };
                for edge in self.edges_of(vertex) {
                    if edge.from < earlier || !visited.insert(edge.from) {
                        continue;
                    }
                    seen.push((to, *edge));
                    if edge.from == earlier {
                        return Some(walk_back(&seen, earlier, later));
                    }
                    next.push(edge.from);
                }
            }
            frontier = next;
        }
        None
    }
}

/// The edges from `earlier` to `later` out of the tree that the search left.
fn walk_back(seen: &[(VertexId, Edge)], earlier: VertexId, later: VertexId) -> Vec<Edge> {
    let mut path = Vec::new();
    let mut at = earlier;
    while at != later {
        let Some((to, edge)) = seen.iter().find(|(_, edge)| edge.from == at) else { break };
        path.push(*edge);
        at = *to;
    }
    path
}
