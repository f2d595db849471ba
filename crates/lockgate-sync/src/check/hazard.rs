//! Which orders are missing: the gaps of the engine as findings.
//!
//! Deliberately absent: why the order that is there does not reach (`near.rs`), and what closes it (`advice.rs`).

use super::code::{Basis, Code, Grade, Severity};
use super::finding::{Finding, Omission, OrderFound, Report, Subject};
use super::near::nearest;
use super::place::Place;
use super::trial::{Open, Trial, Trials};
use crate::{Actor, Edge, Gap, History, Op, Program, Reach, ResourceDescriptor, Site, Step, VertexKind};

/// Hazards whose order is looked up in the graph, a search each.
const PATHS_MAX: usize = 64;

/// Pairs of accesses of one memory beyond which only those are listed that nothing supersedes.
const PAIRS_MAX: u64 = 250_000;

impl Finding {
    /// The finding of a gap, for whoever runs an engine by himself. `resources` are those of the engine;
    /// `queues_differ`: the two commands are on different queues.
    pub fn of_gap(gap: &Gap, resources: &[ResourceDescriptor], queues_differ: bool) -> Finding {
        let bytes = |of: &crate::Access| {
            let resource = resources.get(of.resource.index());
            resource.map_or((0, 0), |resource| of.region.physical(resource))
        };
        let (a, b) = (bytes(&gap.earlier.access), bytes(&gap.later.access));
        let start = a.0.max(b.0);
        let overlap = (start, a.1.min(b.1).max(start));
        let code = Code::of_gap(gap, queues_differ);
        Finding::new(code, Subject::Hazard { gap: *gap, overlap })
    }
}

/// How much history a program can afford: all of it unless its pairs are too many.
pub(crate) fn history(program: &Program) -> History {
    let mut accesses = vec![0u64; program.memories as usize];
    let mut count = |access: &crate::Access| {
        let resource = program.resources.get(access.resource.index());
        if let Some(memory) = resource.and_then(|r| accesses.get_mut(r.memory.index())) {
            *memory += 1;
        }
    };
    for step in &program.steps {
        if let Step::Commit { buffers, .. } = step {
            buffers.iter().flat_map(|buffer| buffer.accesses()).for_each(&mut count);
        }
    }
    let pairs = accesses.iter().fold(0u64, |sum, n| sum.saturating_add(n.saturating_mul(*n) / 2));
    if pairs > PAIRS_MAX { History::Recent } else { History::Complete }
}

/// Runs the program and lists its gaps, by the place of the later access.
pub(crate) fn find(trials: &mut Trials<'_>, report: &mut Report) -> Trial {
    let program = trials.layout.program;
    // Whether there is any gap, the bounded history knows too.
    let mut now = trials.run([]);
    if !now.gaps.is_empty() && history(program) == History::Complete {
        trials.history = History::Complete;
        now = trials.run([]);
    } else if !now.gaps.is_empty() {
        report.omitted.push(Omission::Pairs);
    }
    let trials = &*trials;
    now.gaps.sort_by_key(|open| (open.b, open.a, open.gap.earlier.access.resource));
    for (number, open) in now.gaps.iter().enumerate() {
        let differ = open.a.queue != open.b.queue;
        let mut finding = Finding::of_gap(&open.gap, &program.resources, differ);
        finding.order = order(trials, &now, open, number < PATHS_MAX);
        match trials.grade.of(open, program) {
            Grade::Possible => finding.severity = Severity::Warning,
            Grade::Proven => finding.basis = Basis::Proven,
            Grade::Observed => finding.basis = Basis::Observed,
            Grade::Declared | Grade::Dismissed => {}
        }
        report.findings.push(finding);
    }
    now
}

/// What order there is between the two, and why it is not enough.
fn order(trials: &Trials<'_>, now: &Trial, open: &Open, look_for_paths: bool) -> OrderFound {
    let found = nearest(&trials.layout, &open.a, &open.b);
    if open.gap.reach != Reach::ExecutionOnly || matches!(found, OrderFound::ExecutionOnly { .. }) {
        return found;
    }
    let silent = |edge: &Edge| {
        let (commit, buffer, op) = edge.by.at?;
        let place = Place::Op { step: trials.layout.program.step_of_commit(commit)?, buffer, op };
        let publishes = match trials.layout.program.op_at(place)? {
            Op::Barrier(_, barrier) => !barrier.visibility.is_empty(),
            Op::MemoryBarrierWithScope { .. } | Op::MemoryBarrierWithResources { .. } => false,
            _ => true,
        };
        (!publishes).then_some(place)
    };
    let path = || {
        let vertex = |site: &Site| now.run.graph.vertices.iter().find(|vertex| is_of(vertex.kind, site));
        now.run.graph.path(vertex(&open.gap.earlier)?.id, vertex(&open.gap.later)?.id)
    };
    let path = if look_for_paths { path() } else { None };
    OrderFound::ExecutionOnly { by: path.and_then(|path| path.iter().rev().find_map(silent)) }
}

/// Whether a vertex is the work of a site.
pub(crate) fn is_of(kind: VertexKind, site: &Site) -> bool {
    match (kind, site.actor) {
        (VertexKind::Work { command, stage, .. }, Actor::Command(of)) => (command, stage) == (of, site.stage),
        (VertexKind::Host { step }, Actor::Host { step: of }) => step == of,
        (VertexKind::Display { present }, Actor::Display { present: of }) => present == of,
        _ => false,
    }
}
