//! Corners where the engine was once wrong, one smallest program each: it and the oracle agree.

use lockgate_sync::{
    Access, AccessKind, Actor, Barrier, BarrierReach, EventId, FenceId, Hazard, HazardTrackingMode, HostStep,
    PassDescriptor, PassKind, Program, QueueDescriptor, QueueId, QueueKind, Recording, ResourceId, Run,
    Stage, Stages, Step, VertexId, VertexKind, VisibilityOptions, Work,
};
use lockgate_testsuite::oracle::{Oracle, OracleGap};
use lockgate_testsuite::print::to_text;
use std::collections::BTreeSet;

const MAIN: QueueId = QueueId(0);
const SIDE: QueueId = QueueId(1);
const EVENT: EventId = EventId(0);
const A: ResourceId = ResourceId(0);
const B: ResourceId = ResourceId(1);

fn scene(modes: [HazardTrackingMode; 2]) -> Program {
    let mut program = Program { events: 1, fences: 1, ..Program::new() };
    program.add_queue(QueueDescriptor::default());
    program.add_queue(QueueDescriptor::default());
    for mode in modes {
        program.add_buffer(256, mode);
    }
    program
}

fn untracked() -> Program {
    scene([HazardTrackingMode::Untracked; 2])
}

fn tracked() -> Program {
    scene([HazardTrackingMode::Tracked; 2])
}

fn read(resource: ResourceId) -> Access {
    Access::whole(resource, AccessKind::READ)
}

fn write(resource: ResourceId) -> Access {
    Access::whole(resource, AccessKind::WRITE)
}

/// Records one command in a pass of its own.
fn pass(recording: &mut Recording, accesses: &[Access]) {
    recording.begin_pass(PassDescriptor::compute());
    recording.command(&[Work::new(Stage::Dispatch, accesses)]);
    recording.end_pass();
}

fn buffer(record: impl FnOnce(&mut Recording)) -> Recording {
    let mut recording = Recording::new();
    record(&mut recording);
    recording
}

/// The vertices of works and of the host, in the order of the nodes of the oracle.
fn vertices(run: &Run, oracle: &Oracle<'_>) -> Vec<VertexId> {
    let vertex = |actor: Actor, part: u32| {
        let is = |kind: VertexKind| match kind {
            VertexKind::Work { command, part: p, .. } => actor == Actor::Command(command) && part == p,
            VertexKind::Host { step } => actor == Actor::Host { step },
            VertexKind::Display { present } => actor == Actor::Display { present },
            _ => false,
        };
        run.graph.vertices.iter().find(|vertex| is(vertex.kind)).map(|vertex| vertex.id)
    };
    oracle.nodes().iter().filter_map(|node| vertex(node.actor, node.part)).collect()
}

/// Checks that the two agree on gaps and on orders.
#[track_caller]
fn agree(program: &Program) {
    let (run, oracle) = (program.run(), Oracle::new(program));
    let said: BTreeSet<OracleGap> = run.gaps.iter().map(OracleGap::from).collect();
    let expected: BTreeSet<OracleGap> = oracle.gaps().into_iter().collect();
    let ids = vertices(&run, &oracle);
    assert_eq!(said, expected, "{}", to_text(program));
    for b in 0..ids.len() {
        for a in (0..ids.len()).filter(|a| *a != b) {
            let orders = run.graph.orders(ids[a], ids[b]);
            assert_eq!(orders, oracle.ordered(a, b), "{a} before {b}\n{}", to_text(program));
        }
    }
}

/// A conflict that tracking does not see is closed by the order that it gives the same two works for another.
#[test]
fn a_tracked_order_closes_the_gaps_of_its_works() {
    let mut program = scene([HazardTrackingMode::Untracked, HazardTrackingMode::Tracked]);
    program.commit(
        MAIN,
        vec![buffer(|r| {
            pass(r, &[read(A), read(B)]);
            pass(r, &[write(A), write(B)]);
        })],
    );
    assert!(Oracle::new(&program).gaps().is_empty());
    agree(&program);
}

/// The same through a third work: the host reads, then a tracked read, then a tracked write behind it.
#[test]
fn a_tracked_order_closes_the_gaps_of_works_before_it() {
    let mut program = tracked();
    program.steps.push(lockgate_sync::Step::WaitForEvent { queue: MAIN, event: EVENT, value: 1 });
    program.commit(MAIN, vec![buffer(|r| pass(r, &[write(A)]))]);
    program.host(HostStep::Access(read(A)));
    program.commit(SIDE, vec![buffer(|r| pass(r, &[read(A)]))]);
    assert!(Oracle::new(&program).gaps().is_empty());
    agree(&program);
}

/// The same for the order of copies: it publishes what an execution barrier before it has ordered.
#[test]
fn an_order_of_copies_closes_the_gaps_before_it() {
    let mut program = Program::new();
    program.model.overlapping_copies_ordered = true;
    program.add_queue(QueueDescriptor::default());
    program.add_texture(1, 1, HazardTrackingMode::Untracked);
    program.commit(
        MAIN,
        vec![buffer(|r| {
            pass(r, &[write(A)]);
            r.begin_pass(PassDescriptor::compute());
            let visibility = VisibilityOptions::empty();
            r.barrier(BarrierReach::Consumer, Barrier { visibility, ..Barrier::default() });
            r.command(&[Work::new(Stage::Blit, &[read(A)])]);
            r.command(&[Work::new(Stage::Blit, &[write(A)])]);
        })],
    );
    agree(&program);
}

/// Where the order of copies is there, tracking adds none, which would say more of aliases.
#[test]
fn an_order_of_copies_leaves_nothing_to_tracking() {
    let mut program = Program::new();
    program.model.overlapping_copies_ordered = true;
    program.model.strict_alias_visibility = true;
    program.add_queue(QueueDescriptor::default());
    program.add_texture(2, 2, HazardTrackingMode::Tracked);
    program.add_placed(program.resources[0].memory, 0, 4, HazardTrackingMode::Untracked);
    program.commit(
        MAIN,
        vec![buffer(|r| {
            r.begin_pass(PassDescriptor::compute());
            r.command(&[Work::new(Stage::Blit, &[write(A)])]);
            r.command(&[Work::new(Stage::Blit, &[write(B), read(A)])]);
        })],
    );
    assert_eq!(Oracle::new(&program).gaps().len(), 1);
    agree(&program);
}

/// Read and written by one work in two accesses, then written: the strongest hazard is write-after-write.
#[test]
fn the_strongest_hazard_of_a_pair_counts() {
    let mut program = untracked();
    program.commit(
        MAIN,
        vec![buffer(|r| {
            pass(r, &[write(A), read(A)]);
            pass(r, &[write(A)]);
        })],
    );
    assert_eq!(Oracle::new(&program).gaps()[0].hazard, Hazard::WriteAfterWrite);
    agree(&program);
}

/// The second signal raises nothing in recording order, but it may run first.
#[test]
fn a_signal_without_effect_could_have_been_the_first() {
    let mut program = untracked();
    let first = buffer(|r| {
        pass(r, &[write(A)]);
        r.signal_event(EVENT, 1);
    });
    program.commit(MAIN, vec![first, buffer(|r| r.signal_event(EVENT, 1))]);
    program.commit(
        SIDE,
        vec![buffer(|r| {
            r.wait_for_event(EVENT, 1);
            pass(r, &[read(A)]);
        })],
    );
    assert_eq!(Oracle::new(&program).gaps().len(), 1);
    // The graph binds the wait to the first signal all the same: a device has to wait for one.
    assert_eq!(program.run().gaps.len(), 1);
}

/// Under switch A2, with update and wait in the first passes of their queues.
#[test]
fn a_signal_that_raises_only_its_producer_could_have_been_the_first() {
    let mut program = untracked();
    let first = buffer(|recording| {
        pass(recording, &[write(A)]);
        recording.signal_event(EVENT, 2);
    });
    let second = buffer(|recording| {
        recording.signal_event(EVENT, 1);
        recording.signal_event(EVENT, 2);
    });
    program.commit(MAIN, vec![first, second]);
    program.steps.push(Step::WaitForEvent { queue: SIDE, event: EVENT, value: 2 });
    program.commit(SIDE, vec![buffer(|recording| pass(recording, &[read(A)]))]);
    assert_eq!(Oracle::new(&program).gaps().len(), 1);
    assert_eq!(program.run().gaps.len(), 1, "the second command buffer may pass the first");
}

#[test]
fn a_fence_reaches_the_first_pass_of_another_queue() {
    let mut program = untracked();
    program.model.fences_across_queues = true;
    let update = buffer(|r| {
        r.begin_pass(PassDescriptor::compute());
        r.command(&[Work::new(Stage::Dispatch, &[write(A)])]);
        r.update_fence(FenceId(0), Stages::ALL);
    });
    let wait = buffer(|r| {
        r.begin_pass(PassDescriptor::compute());
        r.wait_for_fence(FenceId(0), Stages::ALL);
        r.command(&[Work::new(Stage::Dispatch, &[read(A)])]);
    });
    let (mut update, mut wait) = (update, wait);
    update.end_pass();
    wait.end_pass();
    program.commit(MAIN, vec![update]);
    program.commit(SIDE, vec![wait]);
    assert!(Oracle::new(&program).gaps().is_empty());
    agree(&program);
}

/// No command buffer of a serial IO queue may pass one that waits: it would end up in front of it.
#[test]
fn a_serial_io_queue_keeps_its_order_behind_a_wait() {
    let mut program = untracked();
    program.queues[0].kind = QueueKind::IoSerial;
    let load = |r: &mut Recording, access: Access| {
        r.begin_pass(PassDescriptor::new(PassKind::Io));
        r.command(&[Work::new(Stage::Io, &[access])]);
        r.end_pass();
    };
    let waiting = buffer(|r| {
        load(r, read(A));
        r.wait_for_event(EVENT, 1);
        load(r, write(A));
    });
    program.commit(MAIN, vec![waiting, buffer(|r| load(r, read(B)))]);
    assert_eq!(Oracle::new(&program).gaps().len(), 1);
    agree(&program);
}

/// Of a command buffer that waits, only what is still to come can forbid that another passes it.
#[test]
fn what_has_run_does_not_hold_back_a_later_command_buffer() {
    let mut program = tracked();
    let waiting = buffer(|r| {
        pass(r, &[read(A)]);
        r.wait_for_event(EVENT, 1);
    });
    program.commit(MAIN, vec![waiting, buffer(|r| pass(r, &[write(A)]))]);
    program.commit(SIDE, vec![buffer(|r| pass(r, &[read(A)]))]);
    agree(&program);
}

/// An item ends at a signal too: what waits for it and was recorded earlier goes on first.
#[test]
fn a_signal_ends_an_item() {
    let mut program = tracked();
    program.commit(
        SIDE,
        vec![buffer(|r| {
            r.wait_for_event(EVENT, 1);
            pass(r, &[read(A)]);
        })],
    );
    program.commit(
        MAIN,
        vec![buffer(|r| {
            r.signal_event(EVENT, 1);
            pass(r, &[write(A)]);
        })],
    );
    agree(&program);
}

/// Of all blocked waits, the earliest recorded one times out first; here that of the first command buffer.
#[test]
fn the_earliest_wait_times_out_first() {
    let mut program = untracked();
    let waiting = buffer(|r| {
        r.wait_for_event(EVENT, 1);
        pass(r, &[write(A)]);
    });
    let passing = buffer(|r| {
        pass(r, &[read(A)]);
        r.wait_for_event(EVENT, 1);
        r.signal_event(EVENT, 1);
    });
    program.commit(MAIN, vec![waiting]);
    program.commit(MAIN, vec![passing]);
    assert_eq!(Oracle::new(&program).gaps().len(), 1);
    agree(&program);
}
