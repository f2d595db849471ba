//! The oracle by hand: the worked examples of Metal's documentation and the matrix of small cases.
//!
//! Works are named by their number in recording order. Every check names all orders of its program or all of
//! its gaps, so an order too many fails as one too few does.

use lockgate_sync::Hazard::{ReadAfterWrite, WriteAfterRead, WriteAfterWrite};
use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, BarrierScope, ConsumerTargets, EventId, EventScope, FenceId,
    Hazard, HazardTrackingMode, HostStep, Model, PassDescriptor, PassKind, Program, QueueDescriptor, QueueId,
    QueueKind, Recording, ResourceDescriptor, ResourceId, ResourceKind, Stage, Stages, Step,
    VisibilityOptions, Work,
};
use lockgate_testsuite::oracle::{Node, Oracle};

const A: u32 = 0;
const B: u32 = 1;
const C: u32 = 2;
const D: u32 = 3;
const E: u32 = 4;
const ALL: Stages = Stages::ALL;
const BLIT: Stages = Stages::BLIT;
const DISPATCH: Stages = Stages::DISPATCH;
const VERTEX: Stages = Stages::VERTEX;
const FRAGMENT: Stages = Stages::FRAGMENT;
const MAIN: QueueId = QueueId(0);
const SIDE: QueueId = QueueId(1);

/// One line of a pass or command buffer.
#[derive(Clone)]
enum Line {
    Compute,
    Serial,
    Render,
    Resume,
    Run(Vec<(Stage, Vec<Access>)>),
    Barrier(BarrierReach, Stages, Stages, VisibilityOptions),
    Memory(Stages, Stages, BarrierScope),
    Update(u32, Stages),
    Await(u32, Stages),
    Signal(u32, u64),
    Wait(u32, u64),
}
use Line::{Await, Compute, Memory, Render, Resume, Serial, Signal, Update, Wait};

fn read(resource: u32) -> Access {
    Access::whole(ResourceId(resource), AccessKind::READ)
}

fn write(resource: u32) -> Access {
    Access::whole(ResourceId(resource), AccessKind::WRITE)
}

fn one(stage: Stage, accesses: &[Access]) -> Line {
    Line::Run(vec![(stage, accesses.to_vec())])
}

fn copy(from: u32, to: u32) -> Line {
    one(Stage::Blit, &[read(from), write(to)])
}

fn dispatch(accesses: &[Access]) -> Line {
    one(Stage::Dispatch, accesses)
}

/// A dispatch that reads and writes one buffer.
fn modify(resource: u32) -> Line {
    dispatch(&[read(resource), write(resource)])
}

fn draw(vertex: &[Access], fragment: &[Access]) -> Line {
    Line::Run(vec![(Stage::Vertex, vertex.to_vec()), (Stage::Fragment, fragment.to_vec())])
}

fn intrapass(after: Stages, before: Stages) -> Line {
    Line::Barrier(BarrierReach::Intrapass, after, before, VisibilityOptions::DEVICE)
}

fn producer(after: Stages, before: Stages) -> Line {
    Line::Barrier(BarrierReach::Producer, after, before, VisibilityOptions::DEVICE)
}

fn consumer(after: Stages, before: Stages) -> Line {
    Line::Barrier(BarrierReach::Consumer, after, before, VisibilityOptions::DEVICE)
}

fn execution(line: Line) -> Line {
    match line {
        Line::Barrier(reach, after, before, _) => {
            Line::Barrier(reach, after, before, VisibilityOptions::empty())
        }
        line => line,
    }
}

fn buffer(lines: &[Line]) -> Recording {
    let mut r = Recording::new();
    for line in lines {
        match line {
            Compute => r.begin_pass(PassDescriptor::compute()),
            Serial => r.begin_pass(PassDescriptor { serial: true, ..PassDescriptor::compute() }),
            Render => r.begin_pass(PassDescriptor::render()),
            Resume => r.begin_pass(PassDescriptor { resuming: true, ..PassDescriptor::render() }),
            Line::Run(works) => {
                let works: Vec<Work<'_>> = works.iter().map(|(stage, a)| Work::new(*stage, a)).collect();
                r.command(&works);
            }
            Line::Barrier(reach, after, before, visibility) => {
                r.barrier(*reach, Barrier { after: *after, before: *before, visibility: *visibility });
            }
            Memory(after, before, scope) => r.memory_barrier_with_scope(*after, *before, *scope),
            Update(fence, after) => r.update_fence(FenceId(*fence), *after),
            Await(fence, before) => r.wait_for_fence(FenceId(*fence), *before),
            Signal(event, value) => r.signal_event(EventId(*event), *value),
            Wait(event, value) => r.wait_for_event(EventId(*event), *value),
        }
    }
    r.end_pass();
    r
}

/// Two queues that do not track and five untracked buffers.
fn scene() -> Program {
    let mut program = Program { events: 3, fences: 3, ..Program::new() };
    for _ in 0..2 {
        program.add_queue(QueueDescriptor { hazard_tracking: false, ..QueueDescriptor::default() });
    }
    for _ in 0..5 {
        program.add_buffer(1024, HazardTrackingMode::Untracked);
    }
    program
}

/// The same with tracking and tracked buffers.
fn tracked_scene() -> Program {
    let mut program = scene();
    program.queues.iter_mut().for_each(|queue| queue.hazard_tracking = true);
    program.resources.iter_mut().for_each(|resource| resource.tracked = true);
    program
}

fn main_queue(lines: &[Line]) -> Program {
    with(scene(), MAIN, lines)
}

fn with(mut program: Program, queue: QueueId, lines: &[Line]) -> Program {
    program.commit(queue, vec![buffer(lines)]);
    program
}

/// Node numbers in recording order.
fn by_recording(oracle: &Oracle<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..oracle.nodes().len()).collect();
    order.sort_by_key(|node| oracle.nodes()[*node].recorded);
    order
}

/// Checks that exactly these works are ordered.
#[track_caller]
fn orders(program: &Program, expected: &[(usize, usize)]) {
    let oracle = Oracle::new(program);
    let order = by_recording(&oracle);
    let mut found = Vec::new();
    for (a, from) in order.iter().enumerate() {
        let later = order.iter().enumerate().filter(|(_, to)| oracle.ordered(*from, **to));
        found.extend(later.map(|(b, _)| (a, b)));
    }
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Checks that exactly these pairs of works have gaps.
#[track_caller]
fn gaps(program: &Program, expected: &[(usize, usize, Hazard)]) {
    let oracle = Oracle::new(program);
    let nodes: Vec<&Node> = by_recording(&oracle).into_iter().map(|node| &oracle.nodes()[node]).collect();
    let number = |side| nodes.iter().position(|node| (node.actor, node.stage) == side);
    let mut found: Vec<_> = oracle
        .gaps()
        .iter()
        .filter_map(|gap| Some((number(gap.earlier)?, number(gap.later)?, gap.hazard)))
        .collect();
    found.sort_unstable();
    found.dedup();
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn an_intrapass_barrier_orders_stages_of_its_pass() {
    let pass = |line: Option<Line>| {
        let middle = line.into_iter();
        let lines: Vec<Line> = [Compute, copy(A, B)].into_iter().chain(middle).chain([modify(B)]).collect();
        main_queue(&lines)
    };
    let race = [(0, 1, ReadAfterWrite)];
    orders(&pass(Some(intrapass(BLIT, DISPATCH))), &[(0, 1)]);
    gaps(&pass(Some(intrapass(BLIT, DISPATCH))), &[]);
    gaps(&pass(None), &race);
    orders(&pass(Some(execution(intrapass(BLIT, DISPATCH)))), &[(0, 1)]);
    gaps(&pass(Some(execution(intrapass(BLIT, DISPATCH)))), &race);
    for useless in [intrapass(DISPATCH, BLIT), consumer(ALL, ALL), producer(ALL, ALL)] {
        orders(&pass(Some(useless.clone())), &[]);
        gaps(&pass(Some(useless)), &race);
    }
}

#[test]
fn a_fence_orders_named_stages_of_two_passes() {
    let first = |update: Stages| [Compute, copy(A, B), modify(C), Update(0, update)];
    let second = [Compute, Await(0, BLIT), copy(C, D), modify(E)];
    orders(&main_queue(&[&first(DISPATCH)[..], &second].concat()), &[(1, 2)]);
    gaps(&main_queue(&[&first(DISPATCH)[..], &second].concat()), &[]);
    orders(&main_queue(&[&first(BLIT)[..], &second].concat()), &[(0, 2)]);
    let early = [Compute, copy(A, B), Update(0, DISPATCH), modify(C)];
    orders(&main_queue(&[&early[..], &second].concat()), &[]);
    let mut in_order = scene();
    in_order.commit(MAIN, vec![buffer(&first(DISPATCH)), buffer(&second)]);
    orders(&in_order, &[(1, 2)]);
    let mut swapped = scene();
    swapped.commit(MAIN, vec![buffer(&second), buffer(&first(DISPATCH))]);
    orders(&swapped, &[]);
    gaps(&swapped, &[(0, 3, WriteAfterRead)]);
}

#[test]
fn a_fence_chains_reaches_all_updates_and_stays_on_its_queue() {
    let link = [Compute, Await(0, ALL), modify(A), Update(0, ALL)];
    orders(&main_queue(&[&link[..], &link, &link].concat()), &[(0, 1), (0, 2), (1, 2)]);
    let update = [Compute, modify(A), Update(0, ALL)];
    let wait = [Compute, Await(0, ALL), modify(B)];
    orders(&main_queue(&[&update[..], &update, &wait].concat()), &[(0, 2), (1, 2)]);
    orders(&main_queue(&[Compute, modify(A), Update(0, ALL), Await(0, ALL), modify(A)]), &[]);
    let mut across = with(with(scene(), MAIN, &update), SIDE, &wait);
    orders(&across, &[]);
    across.model.fences_across_queues = true;
    orders(&across, &[(0, 1)]);
}

#[test]
fn orders_connect_through_works_and_not_through_passes() {
    let mut lines = vec![Compute, modify(A), Update(0, DISPATCH)];
    lines.extend([Compute, Await(0, DISPATCH), modify(B), copy(C, D), Update(1, BLIT)]);
    let open = [&lines[..], &[Compute, Await(1, BLIT), copy(A, E)]].concat();
    orders(&main_queue(&open), &[(0, 1), (2, 3)]);
    let mut chained = lines.clone();
    chained.swap(6, 7);
    chained.pop();
    chained.extend([intrapass(DISPATCH, BLIT), copy(C, D), Update(1, BLIT)]);
    chained.retain(|line| !matches!(line, Update(1, _)));
    chained.extend([Update(1, BLIT), Compute, Await(1, BLIT), copy(A, E)]);
    orders(&main_queue(&chained), &[(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
}

#[test]
fn a_producer_barrier_orders_its_pass_so_far_and_all_before_with_later_passes() {
    let (one, three) = ([Compute, copy(A, B)], [Compute, modify(D)]);
    let two = [Compute, copy(C, D), producer(BLIT, DISPATCH), modify(C)];
    let article = main_queue(&[&one[..], &two, &three].concat());
    orders(&article, &[(0, 3), (1, 3)]);
    gaps(&article, &[(1, 2, WriteAfterRead)]);
    let early = [Compute, producer(BLIT, DISPATCH), copy(C, D), modify(C)];
    orders(&main_queue(&[&one[..], &early, &three].concat()), &[(0, 3)]);
    let split = with(main_queue(&[&one[..], &two].concat()), MAIN, &three);
    orders(&split, &[(0, 3), (1, 3)]);
    orders(&with(main_queue(&[&one[..], &two].concat()), SIDE, &three), &[]);
}

#[test]
fn a_consumer_barrier_orders_earlier_passes_with_the_rest_of_its_pass_and_later_ones() {
    let mut lines = vec![Compute, copy(A, B)];
    lines.extend([Compute, copy(C, D), consumer(BLIT, DISPATCH), modify(B), Compute, modify(E)]);
    let mut program = main_queue(&lines);
    orders(&program, &[(0, 2), (0, 3)]);
    gaps(&program, &[]);
    program.model.consumer_targets = ConsumerTargets::CurrentPassOnly;
    orders(&program, &[(0, 2)]);
}

#[test]
fn queue_barriers_in_the_small() {
    let store = || dispatch(&[write(A)]);
    let load = || dispatch(&[read(A)]);
    let wait = || consumer(DISPATCH, DISPATCH);
    let hand = || producer(DISPATCH, DISPATCH);
    let unseen = || execution(wait());
    let race = [(0, 1, ReadAfterWrite)];
    let check = |lines: &[Line], expected: &[(usize, usize, Hazard)]| gaps(&main_queue(lines), expected);
    check(&[Compute, store(), Compute, load()], &race);
    check(&[Compute, store(), Compute, wait(), load()], &[]);
    check(&[Compute, store(), hand(), Compute, load()], &[]);
    check(&[Compute, store(), Compute, load(), wait()], &race);
    check(&[Compute, hand(), store(), Compute, load()], &race);
    check(&[Compute, store(), Compute, unseen(), load()], &race);
    check(&[Compute, load(), Compute, unseen(), store()], &[]);
    check(&[Compute, store(), Compute, wait(), Compute, load()], &[]);
    check(&[Compute, store(), Compute, modify(B), hand(), Compute, load()], &[]);
    check(&[Compute, store(), wait(), load()], &race);
    let first = main_queue(&[Compute, store()]);
    gaps(&with(first.clone(), SIDE, &[Compute, wait(), load()]), &race);
    gaps(&with(first, MAIN, &[Compute, wait(), load()]), &[]);
}

#[test]
fn stages_of_a_draw_follow_the_pipeline() {
    let store = one(Stage::Fragment, &[write(A)]);
    let pass = |barrier: Line, vertex: &[Access], fragment: &[Access]| {
        main_queue(&[Render, store.clone(), Render, barrier, draw(vertex, fragment)])
    };
    orders(&pass(consumer(FRAGMENT, FRAGMENT), &[], &[read(A)]), &[(0, 2), (1, 2)]);
    orders(&pass(consumer(FRAGMENT, VERTEX), &[], &[read(A)]), &[(0, 1), (0, 2), (1, 2)]);
    gaps(&pass(consumer(FRAGMENT, VERTEX), &[], &[read(A)]), &[]);
    gaps(&pass(consumer(VERTEX, FRAGMENT), &[], &[read(A)]), &[(0, 2, ReadAfterWrite)]);
    gaps(&pass(consumer(FRAGMENT, FRAGMENT), &[read(A)], &[]), &[(0, 1, ReadAfterWrite)]);
}

#[test]
fn fragments_are_no_source_inside_their_pass() {
    let pass = |barrier: Line, first: Stage, second: Stage| {
        main_queue(&[Render, one(first, &[write(A)]), barrier, one(second, &[read(A)])])
    };
    let race = [(0, 1, ReadAfterWrite)];
    gaps(&pass(intrapass(VERTEX, VERTEX), Stage::Vertex, Stage::Vertex), &[]);
    gaps(&pass(intrapass(VERTEX, FRAGMENT), Stage::Vertex, Stage::Fragment), &[]);
    gaps(&pass(intrapass(ALL, ALL), Stage::Fragment, Stage::Fragment), &race);
    let memory = |after, before| Memory(after, before, BarrierScope::BUFFERS);
    gaps(&pass(memory(FRAGMENT, FRAGMENT), Stage::Vertex, Stage::Fragment), &[]);
    gaps(&pass(memory(VERTEX, FRAGMENT), Stage::Vertex, Stage::Vertex), &race);
    gaps(&pass(memory(FRAGMENT, VERTEX), Stage::Fragment, Stage::Vertex), &race);
}

#[test]
fn a_memory_barrier_orders_all_and_publishes_its_scope() {
    let pass = |scope| {
        let barrier = Memory(DISPATCH, DISPATCH, scope);
        main_queue(&[Compute, dispatch(&[write(A)]), barrier, dispatch(&[read(A)])])
    };
    gaps(&pass(BarrierScope::BUFFERS), &[]);
    orders(&pass(BarrierScope::TEXTURES), &[(0, 1)]);
    gaps(&pass(BarrierScope::TEXTURES), &[(0, 1, ReadAfterWrite)]);
}

#[test]
fn serial_passes_and_resumed_passes() {
    gaps(&main_queue(&[Serial, modify(A), modify(A)]), &[]);
    gaps(&main_queue(&[Compute, modify(A), modify(A)]), &[(0, 1, ReadAfterWrite)]);
    let mut program = scene();
    let first = buffer(&[Render, one(Stage::Vertex, &[write(A)])]);
    let resumed = buffer(&[Resume, one(Stage::Vertex, &[]), Update(0, VERTEX)]);
    let last = buffer(&[Compute, Await(0, DISPATCH), dispatch(&[read(A)])]);
    program.commit(MAIN, vec![first, resumed, last]);
    orders(&program, &[(0, 2), (1, 2)]);
    gaps(&program, &[]);
}

#[test]
fn two_queues_meet_at_events() {
    let one = [Compute, modify(A), Signal(0, 1), Compute, modify(B), Wait(1, 2), Compute, modify(C)];
    let two = [Compute, modify(D), Wait(0, 1), Compute, modify(E), Signal(1, 2), Compute, modify(E)];
    let expected = [(0, 2), (0, 4), (0, 5), (3, 2), (4, 2)];
    orders(&with(with(scene(), MAIN, &one), SIDE, &two), &expected);
    let swapped = [(0, 5), (1, 5), (3, 1), (3, 2), (3, 5)];
    orders(&with(with(scene(), SIDE, &two), MAIN, &one), &swapped);
}

#[test]
fn a_signal_and_a_wait_of_one_command_buffer_are_a_full_barrier() {
    gaps(&main_queue(&[Compute, modify(A), Signal(0, 1), Wait(0, 1), Compute, modify(A)]), &[]);
    let mut program = scene();
    program.commit(MAIN, vec![buffer(&[Wait(0, 1)]), buffer(&[Compute, modify(A)]), buffer(&[Signal(1, 1)])]);
    program.host(HostStep::SignalEvent { event: EventId(0), value: 1 });
    program.host(HostStep::WaitForEvent { event: EventId(1), value: 1 });
    program.host(HostStep::Access(read(A)));
    gaps(&program, &[(0, 1, ReadAfterWrite)]);
    program.model = Model { signal_scope: EventScope::Queue, ..Model::default() };
    gaps(&program, &[]);
}

#[test]
fn the_host_answers_in_the_middle_of_a_command_buffer() {
    let parts = [Compute, modify(A), Signal(0, 1), Compute, modify(A), Signal(0, 2), Wait(0, 3)];
    let tail = [Compute, modify(A)];
    let play = |answer: u64| {
        let mut program = main_queue(&[&parts[..], &tail].concat());
        program.host(HostStep::WaitForEvent { event: EventId(0), value: 2 });
        program.host(HostStep::Access(write(A)));
        program.host(HostStep::SignalEvent { event: EventId(0), value: answer });
        program
    };
    gaps(&play(3), &[(0, 1, ReadAfterWrite)]);
    gaps(&play(10), &[(0, 1, ReadAfterWrite)]);
    let unanswered = [(0, 1, ReadAfterWrite), (0, 2, ReadAfterWrite), (1, 2, ReadAfterWrite)];
    gaps(&play(2), &[&unanswered[..], &[(2, 3, WriteAfterWrite)]].concat());
}

#[test]
fn queue_events_gate_the_whole_queue() {
    let mut program = main_queue(&[Compute, modify(A)]);
    program.steps.push(Step::SignalEvent { queue: MAIN, event: EventId(0), value: 1 });
    let mut late = with(program.clone(), SIDE, &[Compute, modify(B)]);
    late.steps.push(Step::WaitForEvent { queue: SIDE, event: EventId(0), value: 1 });
    let late = with(with(late, SIDE, &[Compute, modify(C)]), SIDE, &[Compute, modify(A)]);
    orders(&late, &[(0, 2), (0, 3)]);
    gaps(&late, &[]);
    let mut relay = program;
    relay.steps.push(Step::WaitForEvent { queue: SIDE, event: EventId(0), value: 1 });
    relay.steps.push(Step::SignalEvent { queue: SIDE, event: EventId(1), value: 1 });
    relay.host(HostStep::WaitForEvent { event: EventId(1), value: 1 });
    relay.host(HostStep::Access(read(A)));
    gaps(&relay, &[]);
}

#[test]
fn a_wait_that_nothing_satisfies_times_out_and_orders_nothing() {
    let mut program = main_queue(&[Compute, modify(A)]);
    program.steps.push(Step::WaitForEvent { queue: MAIN, event: EventId(0), value: 1 });
    program.steps.push(Step::SignalEvent { queue: MAIN, event: EventId(0), value: 1 });
    gaps(&with(program, MAIN, &[Compute, modify(A)]), &[(0, 1, ReadAfterWrite)]);
}

#[test]
fn two_unordered_signals_give_what_they_have_in_common() {
    let mut program = scene();
    let both = buffer(&[Compute, modify(B), Signal(0, 1)]);
    program.commit(MAIN, vec![buffer(&[Compute, modify(A), Signal(0, 1)]), both]);
    orders(&with(program, SIDE, &[Wait(0, 1), Compute, modify(C)]), &[]);
    let mut chained = scene();
    let behind = buffer(&[Compute, consumer(ALL, ALL), modify(B), Signal(0, 1)]);
    chained.commit(MAIN, vec![buffer(&[Compute, modify(A), Signal(0, 1)]), behind]);
    orders(&with(chained, SIDE, &[Wait(0, 1), Compute, modify(C)]), &[(0, 1), (0, 2)]);
}

#[test]
fn tracking_orders_what_it_sees() {
    let (store, load) = (dispatch(&[write(A)]), dispatch(&[read(A)]));
    let passes = [Compute, store.clone(), Compute, load];
    orders(&with(tracked_scene(), MAIN, &passes), &[(0, 1)]);
    let across = with(with(tracked_scene(), MAIN, &passes[..2]), SIDE, &passes[2..]);
    orders(&across, &[(0, 1)]);
    let hidden = Access::whole(ResourceId(A), AccessKind::READ | AccessKind::BINDLESS);
    let race = [(0, 1, ReadAfterWrite)];
    gaps(&with(tracked_scene(), MAIN, &[Compute, store, Compute, dispatch(&[hidden])]), &race);
    let mut metal_4 = with(tracked_scene(), MAIN, &passes);
    metal_4.queues[0].hazard_tracking = false;
    gaps(&metal_4, &race);
    let in_pass = [Render, draw(&[], &[write(A)]), draw(&[read(A)], &[])];
    gaps(&with(tracked_scene(), MAIN, &in_pass), &[(1, 2, ReadAfterWrite)]);
}

/// Two buffers of one heap: apart, or at one place.
fn heap_scene(mut program: Program, offset: u64, unit: bool) -> Program {
    let memory = program.add_memory();
    for (resource, offset) in [(A, 0), (B, offset)] {
        let kind = ResourceKind::Buffer;
        let tracked = unit;
        let placed = ResourceDescriptor { kind, memory, offset, size: 1024, tracked, unit };
        program.resources[resource as usize] = placed;
    }
    program
}

#[test]
fn a_tracked_heap_is_one_unit_where_tracking_orders() {
    let passes = [Compute, dispatch(&[write(A)]), Compute, dispatch(&[read(B)])];
    orders(&with(heap_scene(tracked_scene(), 4096, true), MAIN, &passes), &[(0, 1)]);
    gaps(&with(heap_scene(scene(), 4096, true), MAIN, &passes), &[]);
}

#[test]
fn aliases_conflict_where_their_memory_meets() {
    let passes = |visibility| {
        let barrier = Line::Barrier(BarrierReach::Consumer, ALL, ALL, visibility);
        [Compute, dispatch(&[write(A)]), Compute, barrier, dispatch(&[write(B)])]
    };
    let device = passes(VisibilityOptions::DEVICE);
    let alias = passes(VisibilityOptions::RESOURCE_ALIAS);
    let race = [(0, 1, WriteAfterWrite)];
    gaps(&with(heap_scene(scene(), 512, false), MAIN, &passes(VisibilityOptions::empty())), &race);
    gaps(&with(heap_scene(scene(), 1024, false), MAIN, &passes(VisibilityOptions::empty())), &[]);
    gaps(&with(heap_scene(scene(), 512, false), MAIN, &device), &[]);
    let mut strict = heap_scene(scene(), 512, false);
    strict.model.strict_alias_visibility = true;
    gaps(&with(strict.clone(), MAIN, &device), &race);
    gaps(&with(strict, MAIN, &alias), &[]);
}

#[test]
fn the_host_is_ordered_by_commits_and_completion() {
    let mut program = scene();
    program.host(HostStep::Access(write(A)));
    program.commit(MAIN, vec![buffer(&[Compute, modify(A)])]);
    program.host(HostStep::Access(read(A)));
    gaps(&program, &[(1, 2, ReadAfterWrite)]);
    program.steps.insert(2, Step::Host(HostStep::WaitForCommit { commit: 0 }));
    gaps(&program, &[]);
    orders(&program, &[(0, 1), (0, 2), (1, 2)]);
}

#[test]
fn io_queues_order_by_barriers_and_serial_order() {
    let load = |resource| one(Stage::Io, &[write(resource)]);
    let io = |lines: &[Line]| {
        let mut recording = Recording::new();
        recording.begin_pass(PassDescriptor::new(PassKind::Io));
        for line in lines {
            match line {
                Line::Run(works) => {
                    recording.command(&[Work::new(works[0].0, &works[0].1)]);
                }
                _ => recording.barrier(BarrierReach::Intrapass, Barrier::default()),
            }
        }
        recording.end_pass();
        recording
    };
    let mut program = scene();
    program.queues[0].kind = QueueKind::IoConcurrent;
    program.commit(MAIN, vec![io(&[load(A), load(B), intrapass(ALL, ALL), load(A)])]);
    program.commit(MAIN, vec![io(&[load(C)])]);
    orders(&program, &[(0, 2), (1, 2)]);
    let mut barrier = program.clone();
    barrier.steps.insert(1, Step::EnqueueBarrier { queue: MAIN });
    orders(&barrier, &[(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
    program.queues[0].kind = QueueKind::IoSerial;
    orders(&program, &[(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
}

#[test]
fn a_drawable_goes_to_the_display_and_comes_back() {
    let target = ResourceId(5);
    let paint = one(Stage::Fragment, &[write(target.0)]);
    let frame = |signal: bool, wait: bool| {
        let mut program = scene();
        program.add_texture(1, 1, HazardTrackingMode::Untracked);
        let mut program = with(program, MAIN, &[Render, paint.clone()]);
        if signal {
            program.steps.push(Step::SignalDrawable { queue: MAIN, drawable: target });
        }
        program.steps.push(Step::Present { drawable: target });
        if wait {
            program.steps.push(Step::WaitForDrawable { queue: MAIN, drawable: target });
        }
        with(program, MAIN, &[Render, consumer(FRAGMENT, FRAGMENT), paint.clone()])
    };
    gaps(&frame(true, true), &[]);
    gaps(&frame(false, true), &[(0, 1, ReadAfterWrite)]);
    gaps(&frame(true, false), &[(1, 2, WriteAfterRead)]);
}

#[test]
fn a_command_buffer_passes_one_that_waits_where_nothing_can_tell() {
    let play = |first: &[Line], second: &[Line]| {
        let mut program = scene();
        program.commit(MAIN, vec![buffer(first), buffer(second)]);
        program.host(HostStep::WaitForEvent { event: EventId(1), value: 1 });
        program.host(HostStep::Access(read(B)));
        program.host(HostStep::SignalEvent { event: EventId(0), value: 1 });
        program
    };
    let blocked = [Wait(0, 1), Compute, modify(A)];
    let free = [Compute, modify(B), Signal(1, 1)];
    gaps(&play(&blocked, &free), &[]);
    let reaching = [Compute, consumer(BLIT, BLIT), modify(B), Signal(1, 1)];
    gaps(&play(&blocked, &reaching), &[(1, 2, ReadAfterWrite)]);
    let handing = [Wait(0, 1), Compute, modify(A), producer(BLIT, BLIT)];
    gaps(&play(&handing, &free), &[(1, 2, ReadAfterWrite)]);
}
