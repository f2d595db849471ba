//! Every code of the checker: a program that has the finding, and a twin that has none of any kind.

use lockgate_sync::{
    Access, AccessKind, Actor, Barrier, BarrierReach, Change, CheckOptions, Code, CommandRef, CommitId,
    ConsumerTargets, EventId, FenceId, Finding, HazardTrackingMode, HostStep, Op, OrderFound, PassDescriptor,
    Place, Program, QueueDescriptor, QueueId, Recording, ResourceId, Severity, Stage, Stages, Step, Subject,
    SyncKind, Target, VisibilityOptions, Work, check, explain, portability,
};

const X: ResourceId = ResourceId(0);
const Y: ResourceId = ResourceId(1);
const MAIN: QueueId = QueueId(0);
const SIDE: QueueId = QueueId(1);
const E: EventId = EventId(0);
const F: FenceId = FenceId(0);
const DEVICE: VisibilityOptions = VisibilityOptions::DEVICE;
const NONE: VisibilityOptions = VisibilityOptions::empty();
const ALL: Stages = Stages::ALL;
const DISPATCH: Stages = Stages::DISPATCH;
const BLIT: Stages = Stages::BLIT;
const VERTEX: Stages = Stages::VERTEX;
const FRAGMENT: Stages = Stages::FRAGMENT;
const TILE: Stages = Stages::TILE;

/// Two queues that do not track, two untracked buffers, two fences, two events.
fn scene() -> Program {
    let mut program = Program { events: 2, fences: 2, ..Program::new() };
    for _ in 0..2 {
        program.add_queue(QueueDescriptor { hazard_tracking: false, ..QueueDescriptor::default() });
        program.add_buffer(256, HazardTrackingMode::Untracked);
    }
    program
}

fn read(resource: ResourceId) -> Access {
    Access::whole(resource, AccessKind::READ)
}

fn write(resource: ResourceId) -> Access {
    Access::whole(resource, AccessKind::WRITE)
}

/// A command buffer, written down.
#[derive(Default)]
struct Lines(Recording);

impl Lines {
    fn compute(mut self) -> Lines {
        self.0.begin_pass(PassDescriptor::compute());
        self
    }
    fn render(mut self) -> Lines {
        self.0.begin_pass(PassDescriptor::render());
        self
    }
    fn work(mut self, stage: Stage, accesses: &[Access]) -> Lines {
        self.0.command(&[Work::new(stage, accesses)]);
        self
    }
    fn dispatch(self, accesses: &[Access]) -> Lines {
        self.work(Stage::Dispatch, accesses)
    }
    fn blit(self, accesses: &[Access]) -> Lines {
        self.work(Stage::Blit, accesses)
    }
    fn draw(mut self, vertex: &[Access], fragment: &[Access]) -> Lines {
        self.0.command(&[Work::new(Stage::Vertex, vertex), Work::new(Stage::Fragment, fragment)]);
        self
    }
    fn barrier(mut self, reach: BarrierReach, after: Stages, before: Stages, v: VisibilityOptions) -> Lines {
        self.0.barrier(reach, Barrier { after, before, visibility: v });
        self
    }
    fn intrapass(self, after: Stages, before: Stages) -> Lines {
        self.barrier(BarrierReach::Intrapass, after, before, DEVICE)
    }
    fn consumer(self, after: Stages, before: Stages) -> Lines {
        self.barrier(BarrierReach::Consumer, after, before, DEVICE)
    }
    fn producer(self, after: Stages, before: Stages) -> Lines {
        self.barrier(BarrierReach::Producer, after, before, DEVICE)
    }
    fn update(mut self, after: Stages) -> Lines {
        self.0.update_fence(F, after);
        self
    }
    fn wait(mut self, before: Stages) -> Lines {
        self.0.wait_for_fence(F, before);
        self
    }
    fn on(mut self, program: &mut Program, queue: QueueId) {
        self.0.end_pass();
        program.commit(queue, vec![self.0]);
    }
    fn alone(self) -> Program {
        let mut program = scene();
        self.on(&mut program, MAIN);
        program
    }
}

fn lines() -> Lines {
    Lines::default()
}

fn signal(queue: QueueId, value: u64) -> Step {
    Step::SignalEvent { queue, event: E, value }
}

fn wait(queue: QueueId, value: u64) -> Step {
    Step::WaitForEvent { queue, event: E, value }
}

fn findings(program: &Program) -> Vec<Finding> {
    check(program, &CheckOptions::default()).findings
}

fn codes(program: &Program) -> Vec<Code> {
    findings(program).iter().map(|finding| finding.code).collect()
}

/// The first program has exactly these findings, the second has none.
#[track_caller]
fn twins(broken: &Program, expected: &[Code], silent: &Program) {
    assert_eq!(codes(broken), expected);
    assert_eq!(codes(silent), [], "the twin");
}

fn op(step: u32, op: u32) -> Place {
    Place::Op { step, buffer: 0, op }
}

#[test]
fn hazards_of_two_passes() {
    let program = |first: Access, second: Access, ordered: bool| {
        let lines = lines().compute().dispatch(&[first]).compute();
        let lines = if ordered { lines.consumer(DISPATCH, DISPATCH) } else { lines };
        lines.dispatch(&[second]).alone()
    };
    let both = |first, second| (program(first, second, false), program(first, second, true));
    let (broken, silent) = both(write(X), read(X));
    twins(&broken, &[Code::ReadAfterWrite], &silent);
    let (broken, silent) = both(write(X), write(X));
    twins(&broken, &[Code::WriteAfterWrite], &silent);
    let (broken, ordered) = both(read(X), write(X));
    assert_eq!(codes(&broken), [Code::WriteAfterRead]);
    assert_eq!(codes(&ordered), [Code::VisibilitySpare], "after a read, order is enough");
}

#[test]
fn hazards_of_queues_and_of_the_host() {
    let queues = |ordered: bool| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        if ordered {
            program.steps.extend([signal(MAIN, 1), wait(SIDE, 1)]);
        }
        lines().compute().dispatch(&[read(X)]).on(&mut program, SIDE);
        program
    };
    twins(&queues(false), &[Code::UnorderedQueues], &queues(true));
    let host = |ordered: bool| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        if ordered {
            program.host(HostStep::WaitForCommit { commit: 0 });
        }
        program.host(HostStep::Access(read(X)));
        program
    };
    twins(&host(false), &[Code::HostAccessInFlight], &host(true));
}

/// Two placed buffers that overlap.
fn aliases(strict: bool) -> Program {
    let mut program = Program { events: 1, fences: 1, ..Program::new() };
    program.model.strict_alias_visibility = strict;
    program.add_queue(QueueDescriptor { hazard_tracking: false, ..QueueDescriptor::default() });
    let heap = program.add_memory();
    program.add_placed(heap, 0, 256, HazardTrackingMode::Untracked);
    program.add_placed(heap, 128, 256, HazardTrackingMode::Untracked);
    program
}

#[test]
fn hazards_of_aliases() {
    let program = |strict: bool, visibility: Option<VisibilityOptions>, later: &[Access]| {
        let mut program = aliases(strict);
        let lines = lines().compute().dispatch(&[write(X)]).compute();
        let lines = match visibility {
            Some(visibility) => lines.barrier(BarrierReach::Consumer, DISPATCH, DISPATCH, visibility),
            None => lines,
        };
        lines.dispatch(later).on(&mut program, MAIN);
        program
    };
    let ordered = program(false, Some(DEVICE), &[write(Y)]);
    twins(&program(false, None, &[write(Y)]), &[Code::AliasWithoutOrder], &ordered);
    let visible = program(true, Some(DEVICE | VisibilityOptions::RESOURCE_ALIAS), &[write(Y)]);
    twins(&program(true, Some(DEVICE), &[write(Y)]), &[Code::AliasWithoutVisibility], &visible);
    let foreign = program(false, Some(DEVICE), &[read(Y)]);
    twins(&foreign, &[Code::AliasReadBeforeWrite], &ordered);
}

#[test]
fn order_without_visibility() {
    let program = |visibility| {
        let barrier = |lines: Lines| lines.barrier(BarrierReach::Consumer, DISPATCH, DISPATCH, visibility);
        barrier(lines().compute().dispatch(&[write(X)]).compute()).dispatch(&[read(X)]).alone()
    };
    twins(&program(NONE), &[Code::OrderWithoutVisibility], &program(DEVICE));
    let found = findings(&program(NONE))[0].order;
    assert_eq!(found, OrderFound::ExecutionOnly { by: Some(op(0, 4)) });
}

#[test]
fn spare_barriers() {
    let program = |second: Access| {
        let barrier = lines().compute().dispatch(&[write(X)]).compute().consumer(DISPATCH, DISPATCH);
        barrier.dispatch(&[second]).alone()
    };
    twins(&program(write(Y)), &[Code::BarrierSpare], &program(write(X)));
    let wide = |before: Stages| {
        let first = lines().compute().dispatch(&[write(X)]).compute().consumer(DISPATCH, before);
        first.dispatch(&[read(X)]).blit(&[write(Y)]).alone()
    };
    twins(&wide(DISPATCH | BLIT), &[Code::BarrierTooWide], &wide(DISPATCH));
    let Subject::Surplus { after, before, .. } = findings(&wide(ALL))[0].subject else { panic!("a surplus") };
    assert_eq!((after, before), (Stages::empty(), BLIT), "stages that select no work cost nothing");
    let silent = |visibility| {
        let first = lines().compute().dispatch(&[read(X)]).compute();
        first.barrier(BarrierReach::Consumer, DISPATCH, DISPATCH, visibility).dispatch(&[write(X)]).alone()
    };
    twins(&silent(DEVICE), &[Code::VisibilitySpare], &silent(NONE));
}

#[test]
fn spare_fences_and_events() {
    let fence = |second: Access| {
        let first = lines().compute().dispatch(&[write(X)]).update(DISPATCH);
        first.compute().wait(DISPATCH).dispatch(&[second]).alone()
    };
    twins(&fence(write(Y)), &[Code::FenceSpare, Code::FenceSpare], &fence(read(X)));
    let event = |second: Access| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        program.steps.extend([signal(MAIN, 1), wait(SIDE, 1)]);
        lines().compute().dispatch(&[second]).on(&mut program, SIDE);
        program
    };
    twins(&event(write(Y)), &[Code::EventSpare], &event(read(X)));
}

#[test]
fn what_the_outside_could_rely_on_is_not_spare() {
    let mut program = scene();
    lines().compute().dispatch(&[write(X)]).update(ALL).producer(ALL, ALL).on(&mut program, MAIN);
    program.steps.push(signal(MAIN, 1));
    program.host(HostStep::WaitForEvent { event: E, value: 1 });
    program.host(HostStep::WaitForCommit { commit: 0 });
    program.host(HostStep::SignalEvent { event: EventId(1), value: 1 });
    program.steps.push(Step::WaitForEvent { queue: SIDE, event: EventId(1), value: 1 });
    assert_eq!(codes(&program), []);
}

#[test]
fn waits_that_stand_too_early() {
    let fence = |early: bool| {
        let first = lines().compute().dispatch(&[write(X)]).update(DISPATCH).compute();
        let own = |lines: Lines| lines.dispatch(&[write(Y)]);
        let second = if early { own(first.wait(DISPATCH)) } else { own(first).wait(DISPATCH) };
        second.dispatch(&[read(X)]).alone()
    };
    twins(&fence(true), &[Code::WaitTooEarly], &fence(false));
    assert_eq!(findings(&fence(true))[0].subject, Subject::Move { at: op(0, 5), to: op(0, 7) });
    let event = |early: bool| {
        let mut program = scene();
        let own = |program: &mut Program| lines().compute().dispatch(&[write(Y)]).on(program, SIDE);
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        program.steps.push(signal(MAIN, 1));
        if early {
            program.steps.push(wait(SIDE, 1));
            own(&mut program);
        } else {
            own(&mut program);
            program.steps.push(wait(SIDE, 1));
        }
        lines().compute().dispatch(&[read(X)]).on(&mut program, SIDE);
        program
    };
    twins(&event(true), &[Code::WaitTooEarly], &event(false));
}

#[test]
fn spare_tracking() {
    let program = |tracked: bool| {
        let first = lines().compute().dispatch(&[write(X)]).compute().consumer(DISPATCH, DISPATCH);
        let mut program = first.dispatch(&[read(X)]).alone();
        program.queues[0].hazard_tracking = true;
        program.resources[0].tracked = tracked;
        program
    };
    let codes = codes(&program(true));
    assert_eq!(codes, [Code::BarrierSpare, Code::TrackingSpare], "either may go");
    assert_eq!(findings(&program(false)), []);
    // Nobody contests it: no order that tracking could cost.
    let alone = |kind: AccessKind, passes: usize| {
        let pass = |lines: Lines, _| lines.compute().dispatch(&[Access::whole(X, kind)]);
        let mut program = (0..passes).fold(lines(), pass).alone();
        program.queues[0].hazard_tracking = true;
        program.resources[0].tracked = true;
        program
    };
    assert_eq!(findings(&alone(AccessKind::WRITE, 1)), []);
    assert_eq!(findings(&alone(AccessKind::READ, 2)), []);
    assert_eq!(findings(&alone(AccessKind::ATOMIC, 2)), [], "tracking alone fixes their order");
}

#[test]
fn new_fences_and_events_have_the_next_numbers() {
    let mut program = scene();
    for queue in [MAIN, MAIN, MAIN, SIDE, MAIN] {
        lines().compute().dispatch(&[write(X)]).on(&mut program, queue);
    }
    let report = check(&program, &CheckOptions::default());
    let (mut fences, mut events) = (Vec::new(), Vec::new());
    for change in report.fixes.iter().flat_map(|fix| &fix.changes) {
        match change {
            Change::Insert { op: Op::UpdateFence { fence, .. }, .. } => fences.push(fence.0),
            Change::InsertStep { step: Step::SignalEvent { event, .. }, .. } => events.push(event.0),
            _ => {}
        }
    }
    assert_eq!((fences, events), (vec![2, 3], vec![2, 3]), "the program has two of each");
}

#[test]
fn a_barrier_that_stands_in_for_tracking_makes_visible_what_that_would_have() {
    let mut program = aliases(true);
    program.queues[0].hazard_tracking = true;
    (program.resources[1].tracked, program.resources[1].unit) = (true, true);
    let first = lines().compute().dispatch(&[read(Y), write(X)]);
    first.dispatch(&[read(X)]).dispatch(&[write(Y)]).on(&mut program, MAIN);
    let report = check(&program, &CheckOptions::default());
    assert_eq!(report.closing().count(), 2);
    assert_eq!(program.apply(report.closing()).run().gaps, []);
}

#[test]
fn a_consumer_barrier_within_a_pass() {
    let program = |reach| {
        let first = lines().compute().dispatch(&[write(X)]).barrier(reach, DISPATCH, DISPATCH, DEVICE);
        first.dispatch(&[read(X)]).alone()
    };
    let broken = program(BarrierReach::Consumer);
    let silent = program(BarrierReach::Intrapass);
    twins(&broken, &[Code::ReadAfterWrite, Code::ConsumerWithinPass], &silent);
    let findings = findings(&broken);
    assert_eq!(findings[0].order, OrderFound::NeverInThisPass { by: op(0, 2) });
    let report = check(&broken, &CheckOptions::default());
    let barrier = Barrier { after: DISPATCH, before: DISPATCH, visibility: DEVICE };
    let advised = Change::Insert { at: op(0, 3), op: Op::Barrier(BarrierReach::Intrapass, barrier) };
    assert_eq!(report.fixes[0].changes, [advised]);
    assert_eq!(codes(&broken.apply(&report.fixes)), [Code::BarrierSpare], "the consumer barrier is left");
}

#[test]
fn stages_that_an_encoder_cannot_have() {
    let render = |after, before| {
        let first = lines().render().draw(&[write(X)], &[]).intrapass(after, before);
        first.draw(&[read(X)], &[]).alone()
    };
    twins(&render(VERTEX | FRAGMENT, VERTEX), &[Code::IntrapassStages], &render(VERTEX, VERTEX));
    let fence = |after| {
        let first = lines().compute().dispatch(&[write(X)]).update(after);
        first.compute().wait(DISPATCH).dispatch(&[read(X)]).alone()
    };
    twins(&fence(DISPATCH | FRAGMENT), &[Code::StagesForeign], &fence(DISPATCH));
    let tile = |before| {
        let first = lines().compute().dispatch(&[write(X)]).render().consumer(DISPATCH, before);
        first.work(Stage::Tile, &[read(X)]).alone()
    };
    twins(&tile(TILE), &[Code::TileOnlyMask], &tile(TILE | FRAGMENT));
}

#[test]
fn fences_that_bring_nothing() {
    let never = |updated: bool| {
        let first = lines().compute().dispatch(&[write(X)]);
        let first = if updated { first.update(DISPATCH) } else { first };
        first.compute().wait(DISPATCH).dispatch(&[read(X)]).alone()
    };
    twins(&never(false), &[Code::ReadAfterWrite, Code::FenceNeverUpdated], &never(true));
    assert_eq!(findings(&never(false))[0].order, OrderFound::NeverBrought { by: op(0, 4) });
    let within = lines().compute().dispatch(&[write(X)]).update(DISPATCH).wait(DISPATCH).dispatch(&[read(X)]);
    assert_eq!(codes(&within.alone()), [Code::ReadAfterWrite, Code::FenceWaitAfterUpdate]);
    let across = |queue| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).update(DISPATCH).on(&mut program, MAIN);
        lines().compute().wait(DISPATCH).dispatch(&[read(X)]).on(&mut program, queue);
        program
    };
    twins(&across(SIDE), &[Code::UnorderedQueues, Code::FenceAcrossQueues], &across(MAIN));
}

#[test]
fn events_that_nothing_brings() {
    let program = |signaled: bool| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        if signaled {
            program.steps.push(signal(MAIN, 1));
        }
        program.steps.push(wait(SIDE, 1));
        lines().compute().dispatch(&[read(X)]).on(&mut program, SIDE);
        program
    };
    twins(&program(false), &[Code::UnorderedQueues, Code::EventNeverSignaled], &program(true));
    let mut late = scene();
    late.host(HostStep::WaitForCommit { commit: 0 });
    assert_eq!(codes(&late), [Code::IgnoredTimeout]);
}

#[test]
fn a_cycle_of_waits_is_told_in_order() {
    let other = EventId(1);
    let program = |crossed: bool| {
        let mut program = scene();
        let first = [wait(MAIN, 1), Step::SignalEvent { queue: MAIN, event: other, value: 1 }];
        let second = [Step::WaitForEvent { queue: SIDE, event: other, value: 1 }, signal(SIDE, 1)];
        program.steps.extend(first);
        if crossed {
            program.steps.extend(second);
        } else {
            program.steps.extend(second.into_iter().rev());
        }
        program
    };
    let broken = findings(&program(true));
    assert_eq!(broken.iter().map(|finding| finding.code).collect::<Vec<_>>(), [Code::EventCycle]);
    let cycle = [0, 3, 2, 1].map(Place::Step).to_vec();
    assert_eq!(broken[0].subject, Subject::Operations(cycle), "wait, its signal, what holds that back, ...");
    assert!(!codes(&program(false)).contains(&Code::EventCycle));
    let mut alone = scene();
    alone.steps.extend([wait(MAIN, 1), signal(MAIN, 1)]);
    assert_eq!(codes(&alone), [Code::EventCycle], "a queue that waits for itself");
}

#[test]
fn signals_that_contradict_each_other() {
    let low = |last: u64| {
        let mut program = scene();
        program.steps.extend([signal(MAIN, 2), signal(MAIN, last)]);
        program
    };
    twins(&low(1), &[Code::SignalBelowValue], &low(3));
    let producers = |ordered: bool| {
        let mut program = scene();
        lines().compute().dispatch(&[write(X)]).on(&mut program, MAIN);
        program.steps.push(signal(MAIN, 1));
        if ordered {
            program.steps.push(wait(SIDE, 1));
        }
        lines().compute().dispatch(&[write(Y)]).on(&mut program, SIDE);
        program.steps.push(signal(SIDE, 2));
        program.host(HostStep::WaitForEvent { event: E, value: 1 });
        program
    };
    assert_eq!(codes(&producers(false)), [Code::UnorderedSignals]);
    assert!(!codes(&producers(true)).contains(&Code::UnorderedSignals));
}

#[test]
fn what_a_program_relies_on_elsewhere() {
    let mut tracked = lines().compute().dispatch(&[write(X)]).compute().dispatch(&[read(X)]).alone();
    tracked.queues[0].hazard_tracking = true;
    tracked.resources[0].tracked = true;
    let names = |program: &Program, target| -> Vec<Code> {
        portability(program, target).iter().map(|finding| finding.code).collect()
    };
    assert_eq!(names(&tracked, Target::Metal4), [Code::ReliesOnTracking]);
    assert_eq!(names(&tracked, Target::Metal3), []);
    let mut inside = lines().compute().dispatch(&[write(X)]).dispatch(&[read(X)]).alone();
    inside.queues[0].hazard_tracking = true;
    inside.resources[0].tracked = true;
    assert_eq!(
        names(&inside, Target::Metal3),
        [Code::ReliesOnTracking],
        "nothing is tracked inside of a pass"
    );

    let first = lines().compute().dispatch(&[write(X)]).compute().consumer(DISPATCH, DISPATCH);
    let wide = first.dispatch(&[write(Y)]).compute().dispatch(&[read(X)]).alone();
    assert_eq!(names(&wide, Target::Metal4), [Code::ReliesOnWideConsumer]);
    assert_eq!(names(&wide, Target::Lockgate), []);
    let mut narrow = wide.clone();
    narrow.model.consumer_targets = ConsumerTargets::CurrentPassOnly;
    assert_eq!(codes(&narrow)[0], Code::ReadAfterWrite, "then it is a hazard of the program itself");

    let half = |start, kind| Access::bytes(X, start, start + 128, kind);
    let parts = [half(0, AccessKind::WRITE), half(128, AccessKind::READ)];
    let mut parts = lines().compute().dispatch(&parts[..1]).compute().dispatch(&parts[1..]).alone();
    parts.queues[0].hazard_tracking = true;
    parts.resources[0].tracked = true;
    assert_eq!(names(&parts, Target::Metal3), [Code::NeedsWholeResourceTracking]);
    assert_eq!(names(&tracked, Target::Metal3), []);
}

#[test]
fn an_order_is_explained_by_its_path_or_by_what_comes_nearest() {
    let command = |number| Actor::Command(CommandRef { commit: CommitId(0), buffer: 0, command: number });
    let program = |before| {
        let first = lines().compute().dispatch(&[write(X)]).update(DISPATCH);
        first.render().wait(before).draw(&[read(X)], &[]).alone()
    };
    let told = explain(&program(VERTEX), command(1), command(0));
    let path = told[0].path.clone().unwrap();
    assert_eq!(
        (told[0].earlier, told[0].later),
        ((command(0), Stage::Dispatch), (command(1), Stage::Vertex))
    );
    assert_eq!(path.len(), 1);
    assert_eq!(path[0].by.kind, SyncKind::Fence(F));
    let told = explain(&program(FRAGMENT), command(0), command(1));
    assert_eq!(told[0].path, None);
    assert!(matches!(told[0].order, OrderFound::WrongStages { by, .. } if by == op(0, 5)), "{told:?}");
    assert!(told[1].path.is_some(), "the fragments are behind the fence");
}

/// Codes that only a runtime or a device can raise.
const OUTSIDE: [Code; 6] = [
    Code::AllocatorInUse,
    Code::ResourceNotResident,
    Code::CommittedTwice,
    Code::RaceInDispatch,
    Code::UninitializedRead,
    Code::OutOfBoundsAccess,
];

#[test]
fn every_code_has_a_test_here() {
    let text = include_str!("findings.rs");
    let name = |code: &Code| format!("Code::{code:?}");
    let missing: Vec<&Code> = Code::ALL.iter().filter(|code| !text.contains(&name(code))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(OUTSIDE.iter().all(|code| code.severity() >= Severity::Warning));
}
