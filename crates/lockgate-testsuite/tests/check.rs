//! The laws of the checker, on generated programs, against the oracle.
//!
//! Every law runs over fixed seeds; `SEED=n` starts them all at `n`, and `PROGRAMS=n` runs each law on `n` programs
//! of every shape, for a long run in release. A broken law names its seed and lists the shrunk program.

use lockgate_sync::{
    Access, AccessKind, Actor, Barrier, BarrierReach, Change, CheckOptions, Code, EventId, FenceId, Finding,
    Fix, Gap, HazardTrackingMode, HostStep, Misuse, Omission, Op, PassDescriptor, Place, Program,
    QueueDescriptor, QueueKind, Recording, Report, Site, Stage, Stages, Step, Subject, VisibilityOptions,
    Work, check as check_program,
};
use lockgate_testsuite::generate::{Shape, counterexample, places, synchronized};
use lockgate_testsuite::oracle::{Node, Oracle, OracleGap};
use lockgate_testsuite::print::to_text;
use std::collections::BTreeSet;

/// Checks a law on `count` programs of a shape.
fn check(count: u64, shape: &Shape, law: impl Fn(&Program, u64) -> Result<(), String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (start, count) = (number("SEED").unwrap_or(0), number("PROGRAMS").unwrap_or(count));
    if let Some(broken) = counterexample(start..start + count, shape, law) {
        panic!("{broken}\nas a program file:\n{}", lockgate_trace::write(&broken.program));
    }
}

fn expect(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

fn expected(program: &Program) -> BTreeSet<OracleGap> {
    Oracle::new(program).gaps().into_iter().collect()
}

fn listed<'a>(gaps: impl IntoIterator<Item = &'a OracleGap>) -> String {
    gaps.into_iter().map(|gap| format!("    {gap}\n")).collect()
}

/// With a budget that lets every gap be looked at by itself.
fn advice(program: &Program) -> Report {
    check_program(program, &CheckOptions { spare: false, budget: 1_000_000_000, ..CheckOptions::default() })
}

fn said(gaps: &[Gap]) -> BTreeSet<OracleGap> {
    gaps.iter().map(OracleGap::from).collect()
}

/// Whether no order can close a gap: a pass uses its own attachments in another way than as attachments, where a
/// split would store and load what the gap is about; a wait times out, and behind it everything is open; or the
/// display takes part and no queue could wait for it, or only behind a command buffer that waits.
fn is_beyond_help(program: &Program, oracle: &Oracle<'_>, gap: &Gap) -> bool {
    let node = |site: &Site| oracle.nodes().iter().find(|n| n.actor == site.actor && n.stage == site.stage);
    let in_one_pass = |gap: &Gap| {
        let (a, b) = (node(&gap.earlier)?, node(&gap.later)?);
        a.same_pass(b).then_some((a.queue, a.pass))
    };
    let pass = in_one_pass(gap);
    // A barrier of the program may order such a use, which a split would leave behind.
    let raster = |node: &Node| node.accesses.iter().any(|a| a.kind.contains(AccessKind::RASTER_ORDERED));
    let own_attachments = || {
        oracle.conflicts().into_iter().any(|(a, b)| {
            let (a, b) = (&oracle.nodes()[a], &oracle.nodes()[b]);
            a.same_pass(b) && (raster(a) || raster(b)) && pass == Some((a.queue, a.pass))
        })
    };
    let timed_out = |misuse: &Misuse| matches!(misuse, Misuse::EventNeverSignaled { .. });
    let presents = matches!(gap.earlier.actor, Actor::Display { .. });
    let shows = presents || matches!(gap.later.actor, Actor::Display { .. });
    let waits_inside = program.steps.iter().any(|step| match step {
        Step::Commit { buffers, .. } => {
            buffers.iter().any(|b| b.ops().iter().any(|op| matches!(op, Op::WaitForEvent { .. })))
        }
        _ => false,
    });
    program.run().misuse.iter().any(timed_out)
        || presents && !program.queues.iter().any(|queue| queue.kind == QueueKind::Gpu)
        || pass.is_some() && own_attachments()
        || shows && waits_inside
}

fn applying_the_fixes_leaves_nothing(program: &Program, _: u64) -> Result<(), String> {
    let report = advice(program);
    let fixed = program.apply(&report.fixes);
    let (left, oracle) = (expected(&fixed), Oracle::new(program));
    let open: Vec<&Gap> =
        report.findings.iter().filter(|finding| finding.fix.is_none()).filter_map(Finding::gap).collect();
    let helpless = open.iter().find(|gap| !is_beyond_help(program, &oracle, gap));
    expect(helpless.is_none(), || {
        format!(
            "no fix for {helpless:?} of {} {:?} {:?}",
            report.findings.len(),
            report.omitted,
            report.fixes
        )
    })?;
    expect(left == said(&fixed.run().gaps) && left.len() <= open.len(), || {
        let fixes: String = report.fixes.iter().map(|fix| format!("    {fix:?}\n")).collect();
        format!("{fixes}omitted {:?}\nleaves\n{}fixed\n{}", report.omitted, listed(&left), to_text(&fixed))
    })
}

/// Whether every wait of a program ends, so that its order of arrival says something.
fn ends(program: &Program) -> bool {
    let run = program.run();
    let timed_out = |misuse: &Misuse| matches!(misuse, Misuse::EventNeverSignaled { .. });
    run.host.iter().all(|done| *done) && !run.misuse.iter().any(timed_out)
}

/// A program without gaps: synchronized nearly everywhere, and fixed where that is not enough.
fn clean(program: &Program, seed: u64) -> Option<Program> {
    let program = if seed.is_multiple_of(3) { synchronized(program, seed) } else { program.clone() };
    let fixed = program.apply(&advice(&program).fixes);
    (fixed.run().gaps.is_empty() && ends(&fixed)).then_some(fixed)
}

/// Dropping any fix opens a gap, and no fix adds a misuse.
fn no_fix_is_too_much(program: &Program, _: u64) -> Result<(), String> {
    let report = advice(program);
    let fixed = program.apply(&report.fixes);
    let left = fixed.run().gaps.len();
    for without in 0..report.fixes.len() {
        let others = report.fixes.iter().enumerate().filter(|(at, _)| *at != without).map(|(_, fix)| fix);
        let less = program.apply(others);
        expect(expected(&less).len() > left, || {
            format!("{:?}\ncould stay away from\n{}", report.fixes[without], to_text(&fixed))
        })?;
        let closes = &report.fixes[without].closes;
        expect(!closes.is_empty(), || format!("{:?} closes nothing", report.fixes[without]))?;
    }
    let misuse = |program: &Program| program.run().misuse.len();
    expect(misuse(&fixed) <= misuse(program), || format!("misuse added:\n{}", to_text(&fixed)))
}

#[test]
fn fixes_are_minimal() {
    check(800, &Shape::default(), no_fix_is_too_much);
    check(800, &Shape::barriers(), no_fix_is_too_much);
    check(400, &Shape::events(), no_fix_is_too_much);
}

/// What one change of one operation does: nothing that the oracle could tell, something, or the order of arrival
/// changes, of which the checker says nothing.
#[derive(PartialEq)]
enum Effect {
    Nothing,
    Gap,
    Arrivals,
}

fn effect(before: &Program, after: &Program) -> Effect {
    if !expected(after).is_empty() || !ends(after) {
        Effect::Gap
    } else if Oracle::new(before).arrivals() == Oracle::new(after).arrivals() {
        Effect::Nothing
    } else {
        Effect::Arrivals
    }
}

/// Whether something outside of the program could rely on an operation: on its queue nothing comes behind it that
/// it could hold back, or only the oracle's eyes could tell (alias visibility, IO, events).
fn reaches_outside(program: &Program, place: Place) -> bool {
    let Place::Op { step, buffer, op } = place else { return true };
    let Step::Commit { queue, .. } = &program.steps[step as usize] else { return true };
    let later = program.steps[step as usize..].iter().enumerate().flat_map(|(number, later)| match later {
        Step::Commit { queue: q, buffers } if q == queue => {
            let first = if number == 0 { buffer as usize } else { 0 };
            buffers[first..].iter().enumerate().map(move |(at, b)| (number == 0 && at == 0, b)).collect()
        }
        _ => Vec::new(),
    });
    let ops =
        later.flat_map(|(own, recording)| recording.ops().iter().skip(if own { op as usize + 1 } else { 0 }));
    let rest: Vec<&Op> = ops.collect();
    let passes = rest.iter().any(|op| matches!(op, Op::BeginPass(pass) if !pass.resuming));
    let own_pass = rest.iter().take_while(|op| ***op != Op::EndPass);
    let commands = own_pass.clone().any(|op| matches!(op, Op::Command { .. }));
    let alias = |barrier: &Barrier| barrier.visibility.contains(VisibilityOptions::RESOURCE_ALIAS);
    match program.op_at(place) {
        Some(Op::Barrier(_, barrier)) if alias(barrier) => true,
        Some(Op::Barrier(BarrierReach::Intrapass, _)) => false,
        Some(Op::Barrier(BarrierReach::Consumer, _)) => !passes && !commands,
        Some(Op::Barrier(BarrierReach::Producer, _)) => !passes,
        Some(Op::UpdateFence { fence, .. }) => {
            let begins = |op: &&&Op| !matches!(op, Op::BeginPass(pass) if !pass.resuming);
            let mut later = rest.iter().skip_while(begins);
            let waits = later.any(|op| matches!(op, Op::WaitForFence { fence: f, .. } if f == fence));
            program.model.fences_across_queues || !waits
        }
        Some(Op::SignalEvent { .. } | Op::WaitForEvent { .. }) | None => true,
        Some(_) => false,
    }
}

/// Deleting one operation from a clean program opens a gap, or the operation was called spare.
fn what_stays_is_needed(program: &Program, seed: u64) -> Result<(), String> {
    let Some(program) = clean(program, seed) else { return Ok(()) };
    let report = check_program(&program, &CheckOptions::default());
    let told: BTreeSet<Place> = report.findings.iter().flat_map(|finding| finding.subject.places()).collect();
    let gpu = |place: &Place| match &program.steps[place.step() as usize] {
        Step::Commit { queue, .. } => program.queues[queue.index()].kind == QueueKind::Gpu,
        _ => false,
    };
    for place in removals(&program).into_iter().filter(gpu) {
        let less = without(&program, vec![Change::Remove { at: place }]);
        let spare = effect(&program, &less) == Effect::Nothing && !reaches_outside(&program, place);
        expect(!spare || told.contains(&place), || {
            format!("{place:?} {:?} is not called spare in\n{}", program.op_at(place), to_text(&program))
        })?;
    }
    Ok(())
}

#[test]
fn operations_that_are_not_spare_are_needed() {
    check(600, &Shape::default(), what_stays_is_needed);
    check(600, &Shape::barriers(), what_stays_is_needed);
    check(200, &Shape::events(), what_stays_is_needed);
}

/// Each stage that is called too much can go alone, and all that is proposed can go together.
fn surplus_stages_can_go(program: &Program, seed: u64) -> Result<(), String> {
    let Some(program) = clean(program, seed) else { return Ok(()) };
    let report = check_program(&program, &CheckOptions::default());
    for finding in report.of(Code::BarrierTooWide) {
        let Subject::Surplus { at, after, before, .. } = finding.subject else { continue };
        let Some(Op::Barrier(reach, barrier)) = program.op_at(at) else { continue };
        let named = |side: Stages| side.iter().collect::<Vec<Stages>>();
        let narrower = |less: Stages, earlier: bool| {
            let mut barrier = *barrier;
            let side = if earlier { &mut barrier.after } else { &mut barrier.before };
            *side = (*side & Stages::ALL) - less;
            let op = Op::Barrier(*reach, barrier);
            without(&program, vec![Change::Replace { at, op }])
        };
        for (stage, earlier) in
            named(after).into_iter().map(|s| (s, true)).chain(named(before).into_iter().map(|s| (s, false)))
        {
            keeps_conflicts(&program, &narrower(stage, earlier))
                .map_err(|complaint| format!("{at:?} {complaint}"))?;
        }
    }
    let less = program.apply(report.removing());
    keeps_conflicts(&program, &less).map_err(|complaint| format!("together: {complaint}"))
}

#[test]
fn stages_that_are_called_too_much_can_go() {
    check(600, &Shape::default(), surplus_stages_can_go);
    check(600, &Shape::barriers(), surplus_stages_can_go);
}

/// Every change that takes one operation inside a command buffer away.
fn removals(program: &Program) -> Vec<Place> {
    let mut places = Vec::new();
    for (step, commit) in (0u32..).zip(&program.steps) {
        let Step::Commit { buffers, .. } = commit else { continue };
        for (buffer, recording) in (0u32..).zip(buffers) {
            let ops = (0u32..).zip(recording.ops());
            let sync =
                ops.filter(|(_, op)| !matches!(op, Op::BeginPass(_) | Op::EndPass | Op::Command { .. }));
            places.extend(sync.map(|(op, _)| Place::Op { step, buffer, op }));
        }
    }
    places
}

fn without(program: &Program, changes: Vec<Change>) -> Program {
    program.apply(&[Fix { changes, closes: Vec::new() }])
}

/// Every conflicting pair of works that one program orders is ordered in the other, the same way round, and what is
/// visible stays so: the gaps are the same.
fn keeps_conflicts(before: &Program, after: &Program) -> Result<(), String> {
    let (old, new) = (Oracle::new(before), Oracle::new(after));
    let find = |node: &Node| new.nodes().iter().position(|n| (n.actor, n.part) == (node.actor, node.part));
    for (early, late) in old.conflicts() {
        let (Some(a), Some(b)) = (find(&old.nodes()[early]), find(&old.nodes()[late])) else {
            return Err("a work is gone".to_owned());
        };
        let pair = || format!("{:?}\n{:?}", old.nodes()[early], old.nodes()[late]);
        expect(!old.ordered(early, late) || new.ordered(a, b), || format!("no order\n{}", pair()))?;
    }
    expect(expected(before) == expected(after), || listed(expected(after).difference(&expected(before))))
}

fn what_is_spare_can_go(program: &Program, _: u64) -> Result<(), String> {
    let report = check_program(program, &CheckOptions { advice: false, ..CheckOptions::default() });
    for finding in report.findings.iter().filter(|finding| finding.code.is_spare()) {
        let changes = match (&finding.subject, finding.code) {
            (Subject::Operation(at), _) => vec![Change::Remove { at: *at }],
            (Subject::Resource(resource), _) => vec![Change::Track { resource: *resource, tracked: false }],
            _ => continue,
        };
        let less = without(program, changes);
        keeps_conflicts(program, &less).map_err(|complaint| {
            format!("{finding:?}\n{}without\n{}{complaint}", to_text(program), to_text(&less))
        })?;
    }
    let less = program.apply(report.removing());
    keeps_conflicts(program, &less)
        .map_err(|complaint| format!("all of\n{:?}\n{}{complaint}", report.fixes, to_text(&less)))
}

#[test]
fn spare_operations_can_go() {
    check(800, &Shape::default(), what_is_spare_can_go);
    check(800, &Shape::barriers(), what_is_spare_can_go);
    check(400, &Shape::events(), what_is_spare_can_go);
}

/// What no gap survives: everything before everything, visible everywhere. A narrower barrier may stand in for an
/// order that tracking would have given, which makes more visible.
const FULL: Barrier = Barrier {
    after: Stages::ALL,
    before: Stages::ALL,
    visibility: VisibilityOptions::DEVICE.union(VisibilityOptions::RESOURCE_ALIAS),
};

/// Numbers drawn from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

/// An operation, or two that belong together, where they are legal: the second nowhere before the first.
fn more_order(program: &Program, draw: &mut Draw) -> Option<Vec<Change>> {
    let fence = FenceId(program.fences);
    let event = EventId(program.events);
    let gpu = |step: u32| match &program.steps[step as usize] {
        Step::Commit { queue, .. } => {
            Some(*queue).filter(|queue| program.queues[queue.index()].kind == QueueKind::Gpu)
        }
        _ => None,
    };
    let inside: Vec<Place> = places(program)
        .into_iter()
        .map(|at| Place::Op { step: at.step as u32, buffer: at.buffer as u32, op: at.op as u32 })
        .filter(|at| gpu(at.step()).is_some())
        .collect();
    let (first, second) = (draw.below(inside.len()), draw.below(inside.len()));
    let (first, second) = (*inside.get(first.min(second))?, *inside.get(first.max(second))?);
    let insert = |at, op| Change::Insert { at, op };
    let reach = [BarrierReach::Intrapass, BarrierReach::Producer, BarrierReach::Consumer];
    Some(match draw.below(6) {
        kind @ 0..3 => vec![insert(first, Op::Barrier(reach[kind], FULL))],
        3 => vec![
            insert(first, Op::UpdateFence { fence, after: Stages::ALL }),
            insert(second, Op::WaitForFence { fence, before: Stages::ALL }),
        ],
        4 => {
            let (signal, wait) = (first.step() + 1, draw.below(program.steps.len() + 1) as u32);
            let (from, to) = (gpu(first.step())?, gpu(second.step())?);
            vec![
                Change::InsertStep { at: signal, step: Step::SignalEvent { queue: from, event, value: 1 } },
                Change::InsertStep {
                    at: wait.max(signal),
                    step: Step::WaitForEvent { queue: to, event, value: 1 },
                },
            ]
        }
        _ => {
            let commits =
                (0..first.step()).filter(|at| matches!(program.steps[*at as usize], Step::Commit { .. }));
            let step = Step::Host(HostStep::WaitForCommit { commit: commits.count() as u64 });
            vec![Change::InsertStep { at: second.step() + 1, step }]
        }
    })
}

/// The host steps of a program by the numbers they had before one was inserted.
fn as_before(gap: &OracleGap, changes: &[Change], program: &Program) -> OracleGap {
    let host = |step: &Step| matches!(step, Step::Host(_));
    let new = changes.iter().find_map(|change| match change {
        Change::InsertStep { at, step } if host(step) => Some(*at as usize),
        _ => None,
    });
    let new = new.map(|at| program.steps[..at].iter().filter(|step| host(step)).count() as u64);
    let rename = |(actor, stage)| match (actor, new) {
        (Actor::Host { step }, Some(new)) if step > new => (Actor::Host { step: step - 1 }, stage),
        _ => (actor, stage),
    };
    OracleGap { earlier: rename(gap.earlier), later: rename(gap.later), ..gap.clone() }
}

/// In which order everything arrives, in the numbers that it had before queue steps were inserted.
fn arrivals(program: &Program, inserted: &[usize]) -> Vec<(usize, bool)> {
    let oracle = Oracle::new(program);
    let old = oracle.arrivals().iter().filter(|arrival| !inserted.contains(&arrival.item));
    let before = |item: usize| inserted.iter().filter(|new| **new < item).count();
    old.map(|arrival| (arrival.item - before(arrival.item), arrival.timed_out)).collect()
}

/// The numbers that inserted queue steps get among all that arrives.
fn numbers(program: &Program, changes: &[Change]) -> Vec<usize> {
    let on_queue = changes.iter().filter_map(|change| match change {
        Change::InsertStep { at, step: Step::SignalEvent { .. } | Step::WaitForEvent { .. } } => Some(*at),
        _ => None,
    });
    let arrive_before = |at: u32| {
        let steps = program.steps[..at as usize].to_vec();
        arrivals(&Program { steps, ..program.clone() }, &[]).len()
    };
    on_queue.enumerate().map(|(number, at)| arrive_before(at) + number).collect()
}

/// More synchronization never adds a hazard, as long as everything arrives in the order it did and no wait times out.
fn more_order_adds_no_hazard(program: &Program, seed: u64) -> Result<(), String> {
    let mut draw = Draw(seed);
    let (before, order) = (said(&program.run().gaps), arrivals(program, &[]));
    for _ in 0..4 {
        let Some(changes) = more_order(program, &mut draw) else { return Ok(()) };
        let more = without(program, changes.clone());
        let same = order == arrivals(&more, &numbers(program, &changes));
        if !(ends(program) && ends(&more) && same) {
            continue;
        }
        let gaps = more.run().gaps;
        let after = gaps.iter().map(|gap| as_before(&OracleGap::from(gap), &changes, program)).collect();
        let added: Vec<_> = BTreeSet::difference(&after, &before).collect();
        expect(added.is_empty(), || format!("{changes:?} adds\n{}to\n{}", listed(added), to_text(program)))?;
    }
    Ok(())
}

#[test]
fn more_synchronization_adds_no_hazard() {
    check(4_000, &Shape { io: 0, ..Shape::default() }, more_order_adds_no_hazard);
    check(2_000, &Shape::barriers(), more_order_adds_no_hazard);
    check(2_000, &Shape { io: 0, ..Shape::events() }, more_order_adds_no_hazard);
    check(2_000, &Shape::tracked(), more_order_adds_no_hazard);
}

/// Passes that all write one buffer and that nothing orders.
fn unordered_passes(count: usize) -> Program {
    let mut program = Program::new();
    let queue = program.add_queue(QueueDescriptor { hazard_tracking: false, ..QueueDescriptor::default() });
    let x = program.add_buffer(256, HazardTrackingMode::Untracked);
    for _ in 0..count {
        let mut recording = Recording::new();
        recording.begin_pass(PassDescriptor::compute());
        recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, AccessKind::WRITE)])]);
        recording.end_pass();
        program.commit(queue, vec![recording]);
    }
    program
}

#[test]
fn many_gaps_are_closed_in_bulk() {
    let program = unordered_passes(120);
    let report = check_program(&program, &CheckOptions { spare: false, ..CheckOptions::default() });
    assert_eq!(report.findings.len(), 120 * 119 / 2, "every pair, once");
    assert_eq!(report.fixes.len(), 119, "one for each two neighbours");
    assert!(report.findings.iter().all(|finding| finding.fix.is_some()));
    assert!(expected(&program.apply(&report.fixes)).is_empty());
}

#[test]
fn what_is_too_much_is_told() {
    let report = check_program(
        &unordered_passes(20_000),
        &CheckOptions { budget: 100_000, ..CheckOptions::default() },
    );
    assert!(report.findings.len() < 200_000, "{} of 200 million", report.findings.len());
    assert!(report.omitted.contains(&Omission::Pairs) && report.omitted.contains(&Omission::Spare));
}

#[test]
fn fixes_leave_no_gap() {
    check(1_200, &Shape::default(), applying_the_fixes_leaves_nothing);
    check(1_200, &Shape::barriers(), applying_the_fixes_leaves_nothing);
    check(800, &Shape::events(), applying_the_fixes_leaves_nothing);
    check(400, &Shape::tracked(), applying_the_fixes_leaves_nothing);
}
