//! What a finite program orders and what it leaves open, found in the most obvious way.
//!
//! Every work is a node, every rule a predicate over two nodes and one operation, and reachability is a bit
//! matrix. Nothing is forgotten, merged or dominated; that is what an engine is tested against. The oracle shares
//! the plain data types of `lockgate-sync` and no code that computes an order.
//!
//! Deliberately absent: speed, reasons for an order, streaming, and the switch that keeps a chain through an
//! empty pass. Tested in `tests/scenarios.rs` by hand and in `tests/laws.rs` on generated programs.

mod bits;
mod conflict;
mod item;
mod relation;
mod rules;
mod walk;

use lockgate_sync::{Access, Actor, Gap, Hazard, PassKind, Program, QueueId, ResourceId, Stage};
use relation::Relation;
use std::collections::BTreeMap;
use std::fmt;

/// One stage of one command, one access of the host, or one presentation.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Who runs it.
    pub actor: Actor,
    /// In which stage.
    pub stage: Stage,
    /// Position of the work in its command.
    pub part: u32,
    /// What it touches.
    pub accesses: Vec<Access>,
    /// The queue, for a command.
    pub queue: Option<QueueId>,
    /// Number of the pass on the queue, from 1; segments of a resumed pass share it.
    pub pass: u32,
    /// Position among all that the program records: the reference order.
    pub recorded: u32,
    /// Number of the command buffer among all of the program.
    buffer: Option<u32>,
    kind: Option<PassKind>,
    serial: bool,
}

impl Node {
    /// Whether both are works of one pass of one queue.
    pub fn same_pass(&self, other: &Node) -> bool {
        self.queue.is_some() && self.queue == other.queue && self.pass == other.pass
    }

    /// Whether both are works of one command.
    pub fn same_command(&self, other: &Node) -> bool {
        self.queue.is_some() && self.actor == other.actor
    }

    /// The kind of pass that encoded it, for a command.
    pub fn pass_kind(&self) -> Option<PassKind> {
        self.kind
    }
}

/// A queue operation, or the part of a command buffer between two of its event operations, that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its number in recording order.
    pub item: usize,
    /// Whether it is a wait that nothing satisfied.
    pub timed_out: bool,
}

/// Two conflicting works that are not ordered as they need, and over which two resources.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OracleGap {
    /// The work recorded first.
    pub earlier: (Actor, Stage),
    /// The work recorded second.
    pub later: (Actor, Stage),
    /// What the earlier one touches.
    pub resource_earlier: ResourceId,
    /// What the later one touches: another resource if they alias.
    pub resource_later: ResourceId,
    /// What can go wrong.
    pub hazard: Hazard,
}

impl From<&Gap> for OracleGap {
    fn from(gap: &Gap) -> OracleGap {
        OracleGap {
            earlier: (gap.earlier.actor, gap.earlier.stage),
            later: (gap.later.actor, gap.later.stage),
            resource_earlier: gap.earlier.access.resource,
            resource_later: gap.later.access.resource,
            hazard: gap.hazard,
        }
    }
}

impl fmt::Display for OracleGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |(actor, stage): (Actor, Stage), resource: ResourceId| {
            let who = match actor {
                Actor::Command(c) => {
                    format!("commit {} buffer {} command {}", c.commit.0, c.buffer, c.command)
                }
                Actor::Host { step } => format!("host {step}"),
                Actor::Display { present } => format!("present {present}"),
            };
            format!("{who} {} r{}", stage.name(), resource.0)
        };
        let earlier = side(self.earlier, self.resource_earlier);
        let later = side(self.later, self.resource_later);
        write!(f, "{}: {earlier} -> {later}", self.hazard.code())
    }
}

/// All works of a program and all orders between them.
///
/// ```
/// use lockgate_sync::*;
/// use lockgate_testsuite::oracle::Oracle;
///
/// let mut program = Program::new();
/// let queue = program.add_queue(QueueDescriptor::default());
/// let x = program.add_buffer(256, HazardTrackingMode::Untracked);
/// let mut recording = Recording::new();
/// for kind in [AccessKind::WRITE, AccessKind::READ] {
///     recording.begin_pass(PassDescriptor::compute());
///     recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, kind)])]);
/// }
/// recording.end_pass();
/// program.commit(queue, vec![recording]);
/// let oracle = Oracle::new(&program);
/// assert!(!oracle.ordered(0, 1));
/// assert_eq!(oracle.gaps()[0].hazard, Hazard::ReadAfterWrite);
/// ```
#[derive(Debug)]
pub struct Oracle<'a> {
    program: &'a Program,
    nodes: Vec<Node>,
    relation: Relation,
    arrivals: Vec<Arrival>,
}

impl<'a> Oracle<'a> {
    /// Finds every order of a program.
    pub fn new(program: &'a Program) -> Oracle<'a> {
        let walk = walk::Walk::run(program);
        Oracle { program, nodes: walk.nodes, relation: walk.relation, arrivals: walk.arrivals }
    }

    /// All works, in the linear order in which they arrive. An edge always goes from an earlier to a later one.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// In which order queue operations and the parts of command buffers arrive. Synchronization inside passes
    /// changes it only by keeping a command buffer from passing one that waits.
    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Whether node `b` runs after node `a`.
    pub fn ordered(&self, a: usize, b: usize) -> bool {
        self.relation.ordered(a, b)
    }

    /// Whether node `b` sees what node `a` stored in `resource`.
    pub fn published(&self, a: usize, b: usize, resource: ResourceId) -> bool {
        self.relation.published(a, b, resource)
    }

    /// Whether node `b` sees what node `a` stored, through another address of the same memory.
    pub fn alias_published(&self, a: usize, b: usize) -> bool {
        self.relation.alias_published(a, b)
    }

    /// Every pair of nodes with conflicting accesses, in linear order.
    pub fn conflicts(&self) -> Vec<(usize, usize)> {
        let all = (0..self.nodes.len()).flat_map(|late| (0..late).map(move |early| (early, late)));
        all.filter(|&(early, late)| {
            conflict::pairs(&self.nodes[early], &self.nodes[late])
                .any(|(a, b)| conflict::conflicts(self.program, a, b))
        })
        .collect()
    }

    /// Whether tracking may not order a pair of nodes: fragment or tile work and what follows in its pass.
    pub fn unorderable(&self, early: usize, late: usize) -> bool {
        conflict::unorderable(&self.nodes[early], &self.nodes[late])
    }

    /// Everything that is missing, each once for two works and two resources, sorted.
    pub fn gaps(&self) -> Vec<OracleGap> {
        let mut strongest: BTreeMap<OracleGap, Hazard> = BTreeMap::new();
        for (early, late) in self.conflicts() {
            for (a, b) in conflict::pairs(&self.nodes[early], &self.nodes[late]) {
                let open = conflict::conflicts(self.program, a, b)
                    && !satisfied(self.program, &self.relation, (early, a.1), (late, b.1));
                let Some(gap) = open.then(|| gap(a, b)).flatten() else { continue };
                let hazard = gap.hazard;
                let key = OracleGap { hazard: Hazard::ReadAfterWrite, ..gap };
                let entry = strongest.entry(key).or_insert(hazard);
                if strength(hazard) > strength(*entry) {
                    *entry = hazard;
                }
            }
        }
        strongest.into_iter().map(|(key, hazard)| OracleGap { hazard, ..key }).collect()
    }
}

/// Names a gap by recording order, whichever of the two arrived first.
fn gap(a: (&Node, &Access), b: (&Node, &Access)) -> Option<OracleGap> {
    let (early, late) = if a.0.recorded < b.0.recorded { (a, b) } else { (b, a) };
    Some(OracleGap {
        earlier: (early.0.actor, early.0.stage),
        later: (late.0.actor, late.0.stage),
        resource_earlier: early.1.resource,
        resource_later: late.1.resource,
        hazard: Hazard::between(early.1.kind, late.1.kind)?,
    })
}

/// The flow of data counts first.
fn strength(hazard: Hazard) -> u8 {
    match hazard {
        Hazard::ReadAfterWrite => 2,
        Hazard::WriteAfterWrite => 1,
        Hazard::WriteAfterRead => 0,
    }
}

/// Whether the order between two conflicting accesses, in linear order, is enough: after a read, order; after
/// a write, also publication; and between two resources under switch A8, publication to aliases.
fn satisfied(program: &Program, relation: &Relation, a: (usize, &Access), b: (usize, &Access)) -> bool {
    let ((early, first), (late, second)) = (a, b);
    let alias = program.model.strict_alias_visibility && first.resource != second.resource;
    let visible =
        relation.published(early, late, first.resource) && (!alias || relation.alias_published(early, late));
    relation.ordered(early, late) && (!first.kind.writes() || visible)
}
