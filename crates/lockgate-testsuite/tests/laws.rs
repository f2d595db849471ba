//! The laws of the engine, on generated programs, against the oracle.
//!
//! Every law runs over fixed seeds, so that a run is reproducible; `SEED=n` starts them all at `n` instead. A
//! broken law names its seed and lists the shrunk program.

use lockgate_sync::{
    Actor, Barrier, BarrierReach, BarrierScope, Edge, Engine, EngineDescriptor, Gap, History, HostStep, Op,
    Program, Publishes, ResourceId, ResourceKind, Run, Stage, Stages, Step, SyncKind, VertexId, VertexKind,
    VisibilityOptions,
};
use lockgate_testsuite::generate::{
    Place, Shape, counterexample, places, repeated, synchronized, with_barrier,
};
use lockgate_testsuite::oracle::{Node, Oracle, OracleGap};
use lockgate_testsuite::print::to_text;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

/// What no gap survives: everything before everything, visible everywhere.
const FULL: Barrier = Barrier {
    after: Stages::ALL,
    before: Stages::ALL,
    visibility: VisibilityOptions::DEVICE.union(VisibilityOptions::RESOURCE_ALIAS),
};

/// Checks a law on `count` programs of a shape.
fn check(count: u64, shape: &Shape, law: impl Fn(&Program, u64) -> Result<(), String>) {
    let start = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    if let Some(broken) = counterexample(start..start + count, shape, law) {
        panic!("{broken}\nas a program file:\n{}", lockgate_trace::write(&broken.program));
    }
}

fn expect(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

fn listed<'a>(gaps: impl IntoIterator<Item = &'a OracleGap>) -> String {
    gaps.into_iter().map(|gap| format!("    {gap}\n")).collect()
}

/// The gaps of the engine in the words of the oracle.
fn said(gaps: &[Gap]) -> BTreeSet<OracleGap> {
    gaps.iter().map(OracleGap::from).collect()
}

fn expected(program: &Program) -> BTreeSet<OracleGap> {
    Oracle::new(program).gaps().into_iter().collect()
}

/// The vertex of each work, by actor and part.
fn vertices(run: &Run) -> BTreeMap<(Actor, u32), VertexId> {
    let name = |kind| match kind {
        VertexKind::Work { command, part, .. } => Some((Actor::Command(command), part)),
        VertexKind::Host { step } => Some((Actor::Host { step }, 0)),
        VertexKind::Display { present } => Some((Actor::Display { present }, 0)),
        _ => None,
    };
    run.graph.vertices.iter().filter_map(|vertex| Some((name(vertex.kind)?, vertex.id))).collect()
}

fn equal(said: &BTreeSet<OracleGap>, expected: &BTreeSet<OracleGap>) -> Result<(), String> {
    expect(said == expected, || {
        let (missed, invented) = (expected.difference(said), said.difference(expected));
        format!("missed\n{}invented\n{}", listed(missed), listed(invented))
    })
}

fn reports_what_the_oracle_reports(program: &Program, _: u64) -> Result<(), String> {
    equal(&said(&program.run().gaps), &expected(program))
}

/// The bounded history may know fewer accesses of a work, so its hazard may be another.
fn recent_history_reports_a_part(program: &Program, _: u64) -> Result<(), String> {
    reports_a_part(&program.run_with(History::Recent), &expected(program))
}

fn reports_a_part(run: &Run, expected: &BTreeSet<OracleGap>) -> Result<(), String> {
    let said = said(&run.gaps);
    let pairs = |gaps: &BTreeSet<OracleGap>| -> BTreeSet<_> {
        gaps.iter().map(|gap| (gap.earlier, gap.later)).collect()
    };
    let known = pairs(&said).is_subset(&pairs(expected));
    expect(known && said.is_empty() == expected.is_empty(), || {
        format!("said\n{}of\n{}", listed(&said), listed(expected))
    })
}

/// Whether an edge waits for an event that several signals may bring first. The graph binds such a wait to one of
/// them, since a device must wait for one; the model credits what they have in common.
fn is_contested(program: &Program, edge: &Edge) -> bool {
    let SyncKind::Event(event, _) = edge.by.kind else { return false };
    let inside = |op: &&Op| matches!(op, Op::SignalEvent { event: e, .. } if *e == event);
    let signals = program.steps.iter().map(|step| match step {
        Step::Commit { buffers, .. } => buffers.iter().flat_map(|buffer| buffer.ops()).filter(inside).count(),
        Step::SignalEvent { event: e, .. } => usize::from(*e == event),
        Step::Host(HostStep::SignalEvent { event: e, .. }) => usize::from(*e == event),
        _ => 0,
    });
    signals.sum::<usize>() > 1
}

fn orders_what_the_oracle_orders(program: &Program, _: u64) -> Result<(), String> {
    orders(program, &Oracle::new(program), &program.run())
}

fn orders(program: &Program, oracle: &Oracle<'_>, run: &Run) -> Result<(), String> {
    let vertices = vertices(run);
    let vertex = |node: &Node| vertices.get(&(node.actor, node.part)).copied();
    for (a, first) in oracle.nodes().iter().enumerate() {
        for (b, second) in oracle.nodes().iter().enumerate().filter(|(b, _)| *b != a) {
            let (Some(from), Some(to)) = (vertex(first), vertex(second)) else {
                return Err(format!("no vertex for {first:?} or {second:?}"));
            };
            let orders = run.graph.orders(from, to);
            let path = || run.graph.path(from, to).unwrap_or_default();
            if orders && !oracle.ordered(a, b) && path().iter().any(|edge| is_contested(program, edge)) {
                continue;
            }
            expect(orders == oracle.ordered(a, b), || {
                format!("graph orders: {orders}, oracle: {}\n{first:?}\n{second:?}", !orders)
            })?;
        }
    }
    Ok(())
}

/// Whether an edge publishes stores to a resource.
fn publishes(program: &Program, edge: &Edge, resource: ResourceId) -> bool {
    match edge.publishes {
        Publishes::Nothing => false,
        Publishes::Device => true,
        Publishes::Kinds(kinds) => kinds.contains(match program.resources[resource.index()].kind {
            ResourceKind::Buffer => BarrierScope::BUFFERS,
            ResourceKind::Texture { .. } => BarrierScope::TEXTURES,
        }),
        Publishes::Listed => {
            let Some((commit, buffer, op)) = edge.by.at else { return false };
            let commits = program.steps.iter().filter_map(|step| match step {
                Step::Commit { buffers, .. } => Some(buffers),
                _ => None,
            });
            let mut of_commit = commits.skip(commit.0 as usize);
            let recording = of_commit.next().map(|buffers| &buffers[buffer as usize]);
            recording.is_some_and(|recording| match &recording.ops()[op as usize] {
                Op::MemoryBarrierWithResources { resources, .. } => {
                    recording.resources(resources).contains(&resource)
                }
                _ => false,
            })
        }
    }
}

fn shows_what_the_oracle_shows(program: &Program, _: u64) -> Result<(), String> {
    shows(program, &Oracle::new(program), &program.run())
}

fn shows(program: &Program, oracle: &Oracle<'_>, run: &Run) -> Result<(), String> {
    let vertices = vertices(run);
    let contested = run.graph.edges.iter().any(|edge| is_contested(program, edge));
    let resources = || (0..program.resources.len() as u32).map(ResourceId);
    for (a, first) in oracle.nodes().iter().enumerate() {
        for (b, second) in oracle.nodes().iter().enumerate().filter(|(b, _)| oracle.ordered(a, *b)) {
            let (from, to) = (vertices[&(first.actor, first.part)], vertices[&(second.actor, second.part)]);
            for resource in resources() {
                let shows = run.graph.shows(from, to, |edge| publishes(program, edge, resource));
                let published = oracle.published(a, b, resource);
                expect(shows == published || (shows && contested), || {
                    format!(
                        "graph shows r{}: {shows}, oracle: {published}\n{first:?}\n{second:?}",
                        resource.0
                    )
                })?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_graph_shows_exactly_the_stores_that_the_oracle_shows() {
    check(1_500, &Shape::default(), shows_what_the_oracle_shows);
    check(1_000, &Shape::barriers(), shows_what_the_oracle_shows);
    check(1_000, &Shape::events(), shows_what_the_oracle_shows);
    check(500, &Shape::tracked(), shows_what_the_oracle_shows);
}

#[test]
fn complete_history_reports_exactly_the_gaps_of_the_oracle() {
    check(3_500, &Shape::default(), reports_what_the_oracle_reports);
    check(2_500, &Shape::barriers(), reports_what_the_oracle_reports);
    check(2_000, &Shape::events(), reports_what_the_oracle_reports);
    check(1_000, &Shape::tracked(), reports_what_the_oracle_reports);
}

#[test]
fn programs_with_nearly_all_order_have_exactly_the_gaps_of_the_oracle() {
    let law = |program: &Program, seed| {
        let program = synchronized(program, seed);
        let exact = reports_what_the_oracle_reports(&program, seed);
        let verdict = exact.and_then(|()| recent_history_reports_a_part(&program, seed));
        verdict.map_err(|complaint| format!("with barriers\n{}{complaint}", to_text(&program)))
    };
    let calm = Shape { steps: 3, sync: 20, events: 20, host: 10, drawables: 5, ..Shape::default() };
    check(1_500, &calm.clone(), law);
    check(1_500, &Shape { queues: 1, ..calm }, law);
}

#[test]
fn recent_history_reports_something_if_the_oracle_does_and_nothing_else() {
    check(2_000, &Shape::default(), recent_history_reports_a_part);
    check(1_000, &Shape::barriers(), recent_history_reports_a_part);
    check(1_000, &Shape::events(), recent_history_reports_a_part);
}

#[test]
fn the_graph_orders_exactly_the_works_that_the_oracle_orders() {
    check(1_500, &Shape::default(), orders_what_the_oracle_orders);
    check(1_000, &Shape::barriers(), orders_what_the_oracle_orders);
    check(1_000, &Shape::events(), orders_what_the_oracle_orders);
}

#[test]
fn tracked_programs_have_no_gap_and_run_in_linear_order() {
    check(2_000, &Shape::tracked(), |program, _| {
        let oracle = Oracle::new(program);
        let mut open = BTreeSet::new();
        for (early, late) in oracle.conflicts() {
            if oracle.unorderable(early, late) {
                let name = |node: usize| (oracle.nodes()[node].actor, oracle.nodes()[node].stage);
                open.insert((name(early), name(late)));
            } else {
                expect(oracle.ordered(early, late), || format!("{early} and {late} are not ordered"))?;
            }
        }
        let unexpected =
            said(&program.run().gaps).into_iter().find(|gap| !open.contains(&(gap.earlier, gap.later)));
        expect(unexpected.is_none(), || listed(&unexpected))
    });
}

/// Whether everything arrives in one order in both programs. A queue barrier can keep a command buffer from
/// passing one that waits (A5), and then other waits may time out: such a program is another program.
fn same_arrivals(a: &Program, b: &Program) -> bool {
    Oracle::new(a).arrivals() == Oracle::new(b).arrivals()
}

#[test]
fn one_more_barrier_never_adds_a_gap() {
    check(3_000, &Shape { io: 0, ..Shape::default() }, |program, seed| {
        let places = places(program);
        if places.is_empty() {
            return Ok(());
        }
        let reach = [BarrierReach::Intrapass, BarrierReach::Producer, BarrierReach::Consumer];
        let place = places[seed as usize / 3 % places.len()];
        let with = with_barrier(program, place, reach[seed as usize % 3], FULL);
        if !same_arrivals(program, &with) {
            return Ok(());
        }
        let (before, after) = (said(&program.run().gaps), said(&with.run().gaps));
        expect(after.is_subset(&before), || format!("{place:?} adds\n{}", listed(after.difference(&before))))
    });
}

#[test]
fn a_consumer_barrier_before_the_later_pass_closes_a_gap_and_adds_none() {
    check(3_000, &Shape::default(), |program, seed| {
        let oracle = Oracle::new(program);
        let node = |(actor, stage): (Actor, Stage)| {
            oracle.nodes().iter().find(|node| node.actor == actor && node.stage == stage)
        };
        let of_two_passes = |gap: &&OracleGap| {
            let (Some(a), Some(b)) = (node(gap.earlier), node(gap.later)) else { return false };
            a.queue.is_some() && a.queue == b.queue && a.pass != b.pass && a.stage != Stage::Io
        };
        let before = said(&program.run().gaps);
        let candidates: Vec<&OracleGap> = before.iter().filter(of_two_passes).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let gap = candidates[seed as usize % candidates.len()];
        let Actor::Command(later) = gap.later.0 else { return Ok(()) };
        let Some(place) = Place::before(program, later) else { return Err(format!("no place for {gap:?}")) };
        let with = with_barrier(program, place, BarrierReach::Consumer, FULL);
        if !same_arrivals(program, &with) {
            return Ok(());
        }
        let after = said(&with.run().gaps);
        expect(!after.contains(gap) && after.is_subset(&before), || {
            format!("{gap}\nwith a barrier at {place:?} leaves\n{}", listed(&after))
        })
    });
}

/// What is recalled is what would have been found out. Counts what was.
fn recalls(program: &Program, seed: u64, recalled: &Cell<u64>) -> Result<(), String> {
    let program = repeated(program, seed);
    let descriptor = EngineDescriptor { model: program.model, recall: true, ..EngineDescriptor::default() };
    let mut engine = Engine::new(descriptor);
    let run = program.run_in(&mut engine);
    recalled.set(recalled.get() + engine.recalled());
    let oracle = Oracle::new(&program);
    let verdict = orders(&program, &oracle, &run)
        .and_then(|()| shows(&program, &oracle, &run))
        .and_then(|()| reports_a_part(&run, &oracle.gaps().into_iter().collect()));
    verdict.map_err(|complaint| format!("{complaint}\nrepeated\n{}", to_text(&program)))
}

#[test]
fn what_is_recalled_is_what_would_be_found_out() {
    let recalled = Cell::new(0);
    let law = |program: &Program, seed| recalls(program, seed, &recalled);
    let ordered = |program: &Program, seed| recalls(&synchronized(program, seed), seed, &recalled);
    let small = |shape: Shape| Shape { steps: 3, passes: 2, drawables: 0, ..shape };
    check(150, &small(Shape { events: 0, buffer_events: 0, ..Shape::tracked() }), law);
    check(80, &small(Shape { host: 30, events: 5, buffer_events: 2, ..Shape::tracked() }), law);
    check(80, &small(Shape { queues: 1, events: 2, buffer_events: 0, ..Shape::default() }), ordered);
    check(80, &small(Shape::barriers()), ordered);
    let events = Shape { queues: 2, steps: 6, host: 60, buffer_events: 0, ..small(Shape::events()) };
    check(150, &Shape { tracked: 100, ..events.clone() }, law);
    check(100, &events, ordered);
    check(40, &Shape { steps: 3, ..Shape::default() }, law);
    assert!(recalled.get() > 500, "only {} were recalled", recalled.get());
}
