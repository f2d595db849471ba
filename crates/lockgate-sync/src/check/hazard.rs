//! Which orders are missing: the gaps of the engine as findings.
//!
//! Deliberately absent: why the order that is there does not reach (`near.rs`), and what closes it (`advice.rs`).

use super::code::Code;
use super::finding::{Finding, Omission, Report, Subject};
use crate::{Actor, CommandRef, Gap, History, Program, QueueId, ResourceDescriptor, Run, Step};

/// Pairs of accesses of one memory beyond which only those are listed that nothing supersedes.
const PAIRS_MAX: u64 = 50_000_000;

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

/// The queue of each commit.
pub(crate) fn queues_of_commits(program: &Program) -> Vec<QueueId> {
    let queue = |step: &Step| match step {
        Step::Commit { queue, .. } => Some(*queue),
        _ => None,
    };
    program.steps.iter().filter_map(queue).collect()
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
pub(crate) fn find(program: &Program, report: &mut Report) -> Run {
    let history = history(program);
    if history == History::Recent {
        report.omitted.push(Omission::Pairs);
    }
    let mut run = program.run_with(history);
    let queues = queues_of_commits(program);
    let queue = |actor: Actor| match actor {
        Actor::Command(CommandRef { commit, .. }) => queues.get(commit.index()),
        Actor::Host { .. } | Actor::Display { .. } => None,
    };
    run.gaps.sort_by_key(|gap| (gap.later.actor, gap.later.stage, gap.earlier.actor, gap.earlier.stage));
    for gap in &run.gaps {
        let differ = queue(gap.earlier.actor) != queue(gap.later.actor);
        report.findings.push(Finding::of_gap(gap, &program.resources, differ));
    }
    run
}
