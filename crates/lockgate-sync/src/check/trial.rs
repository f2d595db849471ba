//! What becomes of a program with some changes: one run of the engine, told in places of the program before.

use super::change::{Change, Edited, edit};
use super::layout::{Commands, Layout, Spot, Steps};
use crate::{
    Access, CommandRef, Gap, Grade, Hazard, History, HostStep, MemoryId, Misuse, Program, Reach, ResourceId,
    Run, Step, VertexKind,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// What a gap costs, beside the operations of its program.
pub(crate) const GAP_COST: u64 = 8;

/// Gaps beyond which the first run tells no more.
const GAPS_MAX: usize = 100_000;

/// How much may still be spent, in operations that an engine takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) left: u64,
}

impl Budget {
    /// Spends, if there is enough.
    pub(crate) fn spend(&mut self, cost: u64) -> bool {
        let enough = self.left >= cost;
        self.left -= if enough { cost } else { 0 };
        enough
    }
}

/// A gap in places of the program before.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) a: Spot,
    pub(crate) b: Spot,
    pub(crate) gap: Gap,
}

/// What makes two gaps the same gap.
pub(crate) type GapKey = (Spot, Spot, ResourceId, ResourceId);

impl Open {
    pub(crate) fn key(&self) -> GapKey {
        (self.a, self.b, self.gap.earlier.access.resource, self.gap.later.access.resource)
    }
}

/// One run of a changed program.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) program: Program,
    pub(crate) run: Run,
    pub(crate) gaps: Vec<Open>,
    /// For each host step of the program before, whether its wait was satisfied.
    host: Vec<(u32, bool)>,
}

/// Everything about a program that makes a difference to its outcomes: gaps, timed-out waits, and the order in
/// which works arrive at each memory, which decides which of two conflicting works is the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    gaps: BTreeSet<(GapKey, Hazard, bool)>,
    host: Vec<(u32, bool)>,
    timeouts: usize,
    arrivals: BTreeMap<MemoryId, Vec<Arrival>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    Work(CommandRef, u32),
    Host,
    Display,
}

/// What is known of gaps, asked once for each.
#[derive(Default)]
pub(crate) struct Grading<'a> {
    grade: Option<&'a dyn Fn(&Gap) -> Grade>,
    known: RefCell<BTreeMap<GapKey, Grade>>,
}

impl std::fmt::Debug for Grading<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Grading")
    }
}

impl<'a> Grading<'a> {
    pub(crate) fn new(grade: &'a dyn Fn(&Gap) -> Grade) -> Grading<'a> {
        Grading { grade: Some(grade), known: RefCell::default() }
    }

    /// What is known of a gap, in the numbers of the program before.
    pub(crate) fn of(&self, open: &Open, program: &Program) -> Grade {
        let Some(ask) = self.grade else { return Grade::Declared };
        let key = open.key();
        if let Some(grade) = self.known.borrow().get(&key) {
            return *grade;
        }
        let mut gap = open.gap;
        let actors = program.actor_at(open.a.place).zip(program.actor_at(open.b.place));
        let Some((earlier, later)) = actors else { return Grade::Declared };
        (gap.earlier.actor, gap.later.actor) = (earlier, later);
        let grade = ask(&gap);
        self.known.borrow_mut().insert(key, grade);
        grade
    }
}

/// Runs programs that are made from one by changes.
#[derive(Debug)]
pub(crate) struct Trials<'a> {
    pub(crate) layout: Layout<'a>,
    /// What is asked of the engine; the complete history only where there are gaps, and not too many.
    pub(crate) history: History,
    /// Gaps beyond which a run tells no more.
    pub(crate) gaps_max: usize,
    /// Of one run.
    pub(crate) cost: u64,
    pub(crate) budget: Budget,
    pub(crate) grade: Grading<'a>,
}

impl<'a> Trials<'a> {
    pub(crate) fn new(program: &'a Program, budget: u64) -> Trials<'a> {
        let ops = |step: &Step| match step {
            Step::Commit { buffers, .. } => buffers.iter().map(|buffer| buffer.ops().len() as u64).sum(),
            _ => 1u64,
        };
        let cost = program.steps.iter().map(ops).sum::<u64>() + 1;
        let layout = Layout::new(program);
        let (history, budget, grade) = (History::Recent, Budget { left: budget }, Grading::default());
        Trials { layout, history, gaps_max: GAPS_MAX, cost, budget, grade }
    }

    /// Whether one more run can be afforded; it counts as spent.
    pub(crate) fn afford(&mut self) -> bool {
        self.budget.spend(self.cost)
    }

    /// Runs the program with changes. What gaps it has counts as spent too.
    pub(crate) fn run<'c>(&mut self, changes: impl IntoIterator<Item = &'c Change>) -> Trial {
        let edited = edit(self.layout.program, changes);
        let run = edited.program.run_limited(self.history, self.gaps_max);
        self.budget.left = self.budget.left.saturating_sub(GAP_COST * run.gaps.len() as u64);
        self.told(edited, run)
    }

    fn told(&self, edited: Edited, run: Run) -> Trial {
        let steps = Steps::of(&edited.program);
        let open = |gap: &Gap| {
            let (a, b) = self.layout.spots(&steps, &edited, gap)?;
            let open = Open { a, b, gap: *gap };
            (self.grade.of(&open, self.layout.program) != Grade::Dismissed).then_some(open)
        };
        let gaps = run.gaps.iter().filter_map(open).collect();
        let before = |(at, done): (&u32, &bool)| Some((edited.steps[*at as usize]?, *done));
        let host = steps.hosts.iter().zip(&run.host).filter_map(before).collect();
        Trial { program: edited.program, run, gaps, host }
    }
}

impl Trial {
    pub(crate) fn timeouts(&self) -> usize {
        let timed_out = |misuse: &&Misuse| matches!(misuse, Misuse::EventNeverSignaled { .. });
        self.run.misuse.iter().filter(timed_out).count()
    }

    /// Whether no wait times out that did not before, and nothing else is misused.
    pub(crate) fn keeps_waits_of(&self, before: &Trial) -> bool {
        let kept = |(step, done): &(u32, bool)| !done || self.host.contains(&(*step, true));
        let misuse = self.run.misuse.len() <= before.run.misuse.len();
        misuse && self.timeouts() <= before.timeouts() && before.host.iter().all(kept)
    }

    pub(crate) fn outcome(&self) -> Outcome {
        let reach = |open: &Open| open.gap.reach == Reach::Nothing;
        let gaps = self.gaps.iter().map(|open| (open.key(), open.gap.hazard, reach(open))).collect();
        let arrivals = self.arrivals();
        Outcome { gaps, host: self.host.clone(), timeouts: self.timeouts(), arrivals }
    }

    /// What comes to each memory, in the order in which it arrives.
    fn arrivals(&self) -> BTreeMap<MemoryId, Vec<Arrival>> {
        let mut arrivals: BTreeMap<MemoryId, Vec<Arrival>> = BTreeMap::new();
        let mut arrive = |access: &Access, who: Arrival| {
            let Some(resource) = self.program.resources.get(access.resource.index()) else { return };
            let list = arrivals.entry(resource.memory).or_default();
            if list.last() != Some(&who) {
                list.push(who);
            }
        };
        let steps = Steps::of(&self.program);
        let commands = Commands::of(&self.program);
        for vertex in &self.run.graph.vertices {
            match vertex.kind {
                VertexKind::Work { command, part, .. } => {
                    for access in commands.accesses(command, part) {
                        arrive(access, Arrival::Work(command, part));
                    }
                }
                VertexKind::Host { step } => {
                    let at =
                        steps.hosts.get(step as usize).and_then(|at| self.program.steps.get(*at as usize));
                    if let Some(Step::Host(HostStep::Access(access) | HostStep::AccessWhenIdle(access))) = at
                    {
                        arrive(access, Arrival::Host);
                    }
                }
                VertexKind::Display { present } => {
                    let at = steps.presents.get(present as usize);
                    if let Some(Step::Present { drawable }) =
                        at.and_then(|at| self.program.steps.get(*at as usize))
                    {
                        arrive(&Access::whole(*drawable, crate::AccessKind::READ), Arrival::Display);
                    }
                }
                _ => {}
            }
        }
        arrivals
    }

    /// How many pairs of works are ordered; nothing for a program that is too large to ask.
    pub(crate) fn ordered_pairs(&self) -> u64 {
        const VERTICES_MAX: usize = 2048;
        let vertices = &self.run.graph.vertices;
        if vertices.len() > VERTICES_MAX {
            return 0;
        }
        let words = vertices.len().div_ceil(64);
        let mut behind = vec![vec![0u64; words]; vertices.len()];
        let mut pairs = 0;
        let first = vertices.first().map_or(0, |vertex| vertex.id.0);
        let mut works = vec![0u64; words];
        for (at, vertex) in vertices.iter().enumerate() {
            let mut own = std::mem::take(&mut behind[at]);
            for edge in self.run.graph.edges_of(vertex) {
                let from = (edge.from.0 - first) as usize;
                own[from / 64] |= 1 << (from % 64);
                own.iter_mut().zip(&behind[from]).for_each(|(own, theirs)| *own |= theirs);
            }
            if !matches!(vertex.kind, VertexKind::Join | VertexKind::Signal { .. } | VertexKind::Complete(_))
            {
                pairs += own.iter().zip(&works).map(|(a, b)| u64::from((a & b).count_ones())).sum::<u64>();
                works[at / 64] |= 1 << (at % 64);
            }
            behind[at] = own;
        }
        pairs
    }
}
