//! What was said and what was found out about it, so that it can be said again of others.

use super::Element;
use crate::engine::output::Output;
use crate::{
    CommandRef, CommitId, Edge, EventId, Graph, HostStep, QueueId, Recorded, Recording, ResourceId, SyncKind,
    SyncOp, Vertex, VertexId, VertexKind,
};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;

/// A commit, an access of the host, or a signal or wait of a queue, borrowed.
#[derive(Clone, Copy)]
pub(crate) enum Saying<'a> {
    Commit { queue: QueueId, buffers: &'a [Arc<dyn Recorded>] },
    Host(HostStep),
    Event(EventSaying),
}

/// A signal or a wait, its value aside, which is another each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventSaying {
    Signal {
        queue: QueueId,
        event: EventId,
    },
    Wait {
        queue: QueueId,
        event: EventId,
        /// How far back in the window the signal stands that brings the value.
        signal: usize,
        /// How far back another wait for the same value stands.
        twin: Option<usize>,
    },
}

/// How large a saying is: what is compared before it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    queue: QueueId,
    buffers: usize,
    pub(crate) ops: usize,
    accesses: usize,
}

impl Saying<'_> {
    /// Nothing for what is small.
    pub(crate) fn size(&self) -> Option<Size> {
        let Saying::Commit { queue, buffers } = *self else { return None };
        let recordings = || buffers.iter().map(|buffer| buffer.recording());
        Some(Size {
            queue,
            buffers: buffers.len(),
            ops: recordings().map(|recording| recording.ops().len()).sum(),
            accesses: recordings().map(|recording| recording.accesses().len()).sum(),
        })
    }
}

/// The same, kept.
#[derive(Debug)]
pub(crate) enum Said {
    Commit { queue: QueueId, buffers: Vec<Arc<Recording>>, resources: Vec<ResourceId> },
    Host(HostStep),
    Event(EventSaying),
}

impl Said {
    pub(crate) fn new(saying: &Saying<'_>) -> Said {
        match *saying {
            Saying::Host(step) => Said::Host(step),
            Saying::Event(event) => Said::Event(event),
            Saying::Commit { queue, buffers } => {
                let recordings = || buffers.iter().map(|buffer| buffer.recording());
                let accesses = recordings().flat_map(|recording| recording.accesses());
                let mut resources: Vec<ResourceId> = accesses.map(|access| access.resource).collect();
                resources.sort_unstable();
                resources.dedup();
                let buffers = recordings().map(|recording| Arc::new(recording.clone())).collect();
                Said::Commit { queue, buffers, resources }
            }
        }
    }

    pub(crate) fn is(&self, saying: &Saying<'_>) -> bool {
        match (self, saying) {
            (Said::Host(own), Saying::Host(step)) => own == step,
            (Said::Event(own), Saying::Event(event)) => own == event,
            (Said::Commit { queue, buffers, .. }, Saying::Commit { queue: other, buffers: others }) => {
                let same = |(own, other): (&Arc<Recording>, &Arc<dyn Recorded>)| **own == *other.recording();
                queue == other && buffers.len() == others.len() && buffers.iter().zip(*others).all(same)
            }
            _ => false,
        }
    }

    /// What it names, each once.
    pub(crate) fn resources(&self) -> impl Iterator<Item = ResourceId> + '_ {
        let (many, one) = match self {
            Said::Commit { resources, .. } => (resources.as_slice(), None),
            Said::Host(HostStep::Access(access) | HostStep::AccessWhenIdle(access)) => {
                (&[][..], Some(access.resource))
            }
            Said::Host(_) | Said::Event(_) => (&[][..], None),
        };
        many.iter().copied().chain(one)
    }

    /// How much memory it takes, in operations.
    pub(crate) fn ops(&self) -> usize {
        match self {
            Said::Commit { buffers, .. } => buffers.iter().map(|buffer| buffer.ops().len()).sum(),
            Said::Host(_) | Said::Event(_) => 1,
        }
    }
}

/// What an element of the window is called, and what else of it is another each time: commits and steps of the host are
/// counted by the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Commit(CommitId),
    Step(u64),
    Signal {
        queue: QueueId,
        event: EventId,
        value: u64,
        /// The value before it.
        before: u64,
    },
    Wait {
        queue: QueueId,
        event: EventId,
        value: u64,
    },
}

/// Where something is found out, or said again.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Its first vertex.
    pub(crate) base: u64,
    pub(crate) name: Name,
    /// What the host has behind it, as one vertex.
    pub(crate) host: Option<VertexId>,
    /// What comes before it.
    pub(crate) window: &'a VecDeque<Element>,
}

/// Vertices and commits in a template: whose they are, and which of its own. The template's own are 0, what the host has
/// behind it is 1, and from 2 on stand the elements of the window.
const HOST: u64 = 1;
const WINDOW: u64 = 2;

fn code(whose: u64, which: u64) -> u64 {
    whose << 32 | which
}

impl Setting<'_> {
    fn encode_vertex(&self, id: VertexId) -> Option<VertexId> {
        if id.0 >= self.base {
            return Some(VertexId(code(0, id.0 - self.base)));
        }
        if Some(id) == self.host {
            return Some(VertexId(code(HOST, 0)));
        }
        let at = self.window.iter().position(|own| (own.base..own.end).contains(&id.0))?;
        let own = &self.window[at];
        // Which joins it has depends on what came before it.
        let which = own.told.as_ref()?.works.binary_search(&((id.0 - own.base) as u32)).ok()?;
        Some(VertexId(code(WINDOW + at as u64, which as u64)))
    }

    fn decode_vertex(&self, coded: VertexId) -> Option<VertexId> {
        let (whose, which) = (coded.0 >> 32, coded.0 as u32);
        match whose {
            0 => Some(VertexId(self.base + u64::from(which))),
            HOST => self.host,
            _ => {
                let own = self.window.get((whose - WINDOW) as usize)?;
                let at = own.told.as_ref()?.works.get(which as usize)?;
                Some(VertexId(own.base + u64::from(*at)))
            }
        }
    }

    fn encode_name(&self, is: impl Fn(Name) -> bool) -> Option<u64> {
        if is(self.name) {
            return Some(0);
        }
        let at = self.window.iter().position(|own| is(own.name))?;
        Some(WINDOW + at as u64)
    }

    fn decode_name(&self, coded: u64) -> Option<Name> {
        match coded {
            0 => Some(self.name),
            at => Some(self.window.get((at - WINDOW) as usize)?.name),
        }
    }

    /// An edge with its vertex, its commit and the value of its event coded.
    fn encode(&self, edge: &Edge) -> Option<Edge> {
        let at = match edge.by.at {
            Some((of, buffer, op)) => {
                Some((CommitId(self.encode_name(|name| name == Name::Commit(of))?), buffer, op))
            }
            None => None,
        };
        let kind = match edge.by.kind {
            SyncKind::Event(event, value) => SyncKind::Event(event, self.encode_value(event, value)?),
            kind => kind,
        };
        Some(Edge { from: self.encode_vertex(edge.from)?, by: SyncOp { kind, at }, ..*edge })
    }

    /// Puts in place what an edge has coded.
    fn decode(&self, edge: &mut Edge) -> Option<()> {
        edge.from = self.decode_vertex(edge.from)?;
        if let Some((of, ..)) = &mut edge.by.at {
            let Name::Commit(commit) = self.decode_name(of.0)? else { return None };
            *of = commit;
        }
        if let SyncKind::Event(_, value) = &mut edge.by.kind {
            *value = self.decode_name(*value)?.value()?;
        }
        Some(())
    }

    /// The value of a signal for its own orders, of a wait for those of others.
    fn encode_value(&self, event: EventId, value: u64) -> Option<u64> {
        let own = matches!(self.name, Name::Signal { event: e, value: v, .. } if (e, v) == (event, value));
        let waits = |name| matches!(name, Name::Wait { event: e, value: v, .. } if (e, v) == (event, value));
        if own { Some(0) } else { self.encode_name(waits) }
    }

    fn kind(&self, kind: VertexKind) -> VertexKind {
        match (kind, self.name) {
            (VertexKind::Work { command, part, stage }, Name::Commit(commit)) => {
                VertexKind::Work { command: CommandRef { commit, ..command }, part, stage }
            }
            (VertexKind::Complete(_), Name::Commit(commit)) => VertexKind::Complete(commit),
            (VertexKind::Host { .. }, Name::Step(step)) => VertexKind::Host { step },
            (VertexKind::Signal { .. }, Name::Signal { event, value, .. }) => {
                VertexKind::Signal { event, value }
            }
            (kind, _) => kind,
        }
    }
}

impl Name {
    fn value(self) -> Option<u64> {
        match self {
            Name::Signal { value, .. } | Name::Wait { value, .. } => Some(value),
            _ => None,
        }
    }
}

/// A saying, and where in what came of it its works are: all that it takes to tell the engine of it once more.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) said: Arc<Said>,
    /// Which of its vertices are no joins.
    works: Vec<u32>,
}

impl Told {
    /// `base`: the first of its vertices.
    pub(crate) fn new(said: Arc<Said>, base: u64, vertices: &[Vertex]) -> Told {
        let works = vertices.iter().filter(|vertex| vertex.kind != VertexKind::Join);
        Told { said, works: works.map(|vertex| (vertex.id.0 - base) as u32).collect() }
    }
}

/// What was found out about a saying behind a window: vertices with their edges, and no complaint.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) told: Arc<Told>,
    before: SmallVec<[Arc<Said>; 4]>,
    /// Which of the window have the same of the host behind them, and whether there is any.
    hosts: (bool, u64),
    /// With coded vertices and commits.
    graph: Graph,
    /// Whether whoever waits for it has waited for the whole window.
    pub(crate) covers: bool,
}

/// For each element of the window whether what the host has behind it is what it had then.
fn hosts(host: Option<VertexId>, window: &VecDeque<Element>) -> (bool, u64) {
    let bit = |(at, own): (usize, &Element)| u64::from(own.host == host) << at;
    (host.is_some(), window.iter().enumerate().map(bit).fold(0, |all, bit| all | bit))
}

/// The vertices of the graph from `base` on, but for joins that none of them waits for.
fn without_loose_joins(graph: &Graph, from: usize, base: u64) -> Graph {
    let vertices = &graph.vertices[from..];
    let mut kept: Vec<bool> = vertices.iter().map(|vertex| vertex.kind != VertexKind::Join).collect();
    for (at, vertex) in vertices.iter().enumerate().rev().filter(|(_, vertex)| vertex.id.0 >= base) {
        if kept[at] {
            let own = graph.edges_of(vertex).iter().filter_map(|edge| edge.from.0.checked_sub(base));
            own.for_each(|from| kept[from as usize] = true);
        }
    }
    let mut next = base;
    let mut place = |kept: &bool| {
        let place = VertexId(next);
        next += u64::from(*kept);
        place
    };
    let places: Vec<VertexId> = kept.iter().map(&mut place).collect();
    let mut left = Graph::default();
    for (at, vertex) in vertices.iter().enumerate().filter(|(at, _)| kept[*at]) {
        let start = left.edges.len() as u32;
        left.edges.extend(graph.edges_of(vertex).iter().map(|edge| Edge {
            from: edge.from.0.checked_sub(base).map_or(edge.from, |from| places[from as usize]),
            ..*edge
        }));
        left.vertices.push(Vertex {
            id: places[at],
            edges: start..left.edges.len() as u32,
            ..vertex.clone()
        });
    }
    left
}

impl Template {
    /// The template of what stands in the graph from a vertex on; nothing if it cannot come again.
    pub(crate) fn new(
        said: Arc<Said>,
        setting: &Setting<'_>,
        graph: &Graph,
        from: usize,
        covers: bool,
    ) -> Option<Template> {
        let own = |own: &Element| Some(own.told.as_ref()?.said.clone());
        let before = setting.window.iter().map(own).collect::<Option<_>>()?;
        let mut graph = without_loose_joins(graph, from, setting.base);
        for edge in &mut graph.edges {
            *edge = setting.encode(edge)?;
        }
        let told = Arc::new(Told::new(said, setting.base, &graph.vertices));
        let hosts = hosts(setting.host, setting.window);
        Some(Template { told, before, hosts, graph, covers })
    }

    /// Whether it is about what comes behind this window.
    pub(crate) fn is_behind(&self, host: Option<VertexId>, window: &VecDeque<Element>) -> bool {
        let same = |(said, own): (&Arc<Said>, &Element)| {
            own.told.as_ref().is_some_and(|told| Arc::ptr_eq(&told.said, said))
        };
        self.before.len() == window.len()
            && self.before.iter().zip(window).all(same)
            && self.hosts == hosts(host, window)
    }

    /// Says it again.
    pub(crate) fn write(&self, setting: &Setting<'_>, out: &mut Output) {
        let Graph { vertices, edges } = &mut out.graph;
        let shift = edges.len() as u32;
        edges.extend_from_slice(&self.graph.edges);
        for edge in &mut edges[shift as usize..] {
            let decoded = setting.decode(edge);
            debug_assert!(decoded.is_some());
        }
        vertices.extend((setting.base..).zip(&self.graph.vertices).map(|(id, vertex)| Vertex {
            id: VertexId(id),
            kind: setting.kind(vertex.kind),
            edges: vertex.edges.start + shift..vertex.edges.end + shift,
        }));
        out.next = setting.base + self.graph.vertices.len() as u64;
    }
}

/// Vertices that were handed out already, for an engine that learns of them late. Joins it makes anew.
#[derive(Clone, Debug)]
pub(crate) struct Again {
    told: Arc<Told>,
    base: u64,
    taken: usize,
}

impl Again {
    pub(crate) fn new(told: Arc<Told>, base: u64) -> Again {
        Again { told, base, taken: 0 }
    }

    /// The next vertex that is no join.
    pub(crate) fn next(&mut self) -> Option<VertexId> {
        let at = self.told.works.get(self.taken)?;
        self.taken += 1;
        Some(VertexId(self.base + u64::from(*at)))
    }
}
