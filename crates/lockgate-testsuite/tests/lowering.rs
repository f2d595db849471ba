//! Plans of the Vulkan device, written back as programs without tracking: the checker finds nothing missing in them, and
//! misses what is taken away. On one queue that is each barrier; between queues one wait may bring what another brings, so
//! there it is all waits at once.

use lockgate_sync::*;
use lockgate_vulkan::plan::{HardwareStages, Job, Plan, Planner, Point, Step};
use proptest::prelude::*;
use std::sync::Arc;

const BUFFERS: usize = 4;
const SIZE: u64 = 64;

/// A command: its hardware queue, whether it copies, and what it touches: buffer, quarter of it (or all), writes.
type Drawn = (u32, bool, Vec<(usize, Option<u64>, bool)>);

/// Commands of a program in which everything is tracked, each a pass of its own, with a commit behind some.
fn sketches() -> impl Strategy<Value = (u32, Vec<(Drawn, bool)>)> {
    let access = (0..BUFFERS, prop::option::of(0..4u64), any::<bool>());
    let command = (0..3u32, any::<bool>(), prop::collection::vec(access, 1..3));
    (1..4u32, prop::collection::vec((command, prop::bool::weighted(0.3)), 1..16))
}

/// An engine with queues and buffers.
fn engine(queues: u32, tracked: bool) -> (Engine, Vec<QueueId>, Vec<ResourceId>) {
    let mut engine = Engine::new(EngineDescriptor::default());
    let queues = (0..queues).map(|_| engine.add_queue(QueueDescriptor::default())).collect();
    let buffer = |_| {
        let memory = engine.add_memory();
        let kind = ResourceKind::Buffer;
        engine.add_resource(ResourceDescriptor { kind, memory, offset: 0, size: SIZE, tracked, unit: false })
    };
    let buffers = (0..BUFFERS).map(buffer).collect();
    (engine, queues, buffers)
}

fn record(into: &mut Recording, (_, copies, touches): &Drawn, buffers: &[ResourceId]) {
    let access = |(buffer, quarter, writes): &(usize, Option<u64>, bool)| {
        let (start, end) = quarter.map_or((0, SIZE), |quarter| (quarter * 16, quarter * 16 + 16));
        let kind = if *writes { AccessKind::WRITE } else { AccessKind::READ };
        Access::bytes(buffers[*buffer], start, end, kind)
    };
    let accesses: Vec<Access> = touches.iter().map(access).collect();
    let stage = if *copies { Stage::Blit } else { Stage::Dispatch };
    into.command(&[Work::new(stage, &accesses)]);
}

/// The plan of a sketch, and for each of its commands what was drawn.
fn plan(queues: u32, sketch: &[(Drawn, bool)]) -> (Plan, Vec<Vec<Drawn>>) {
    let (mut engine, ids, buffers) = engine(queues, true);
    let mut commits = Vec::new();
    for commands in sketch.split_inclusive(|(_, ends)| *ends) {
        // All commands of a commit are on one queue.
        let queue = commands[0].0.0 % queues;
        let mut recording = Recording::new();
        for (command, _) in commands {
            recording.begin_pass(PassDescriptor::compute());
            record(&mut recording, command, &buffers);
            recording.end_pass();
        }
        engine.commit(ids[queue as usize], [Arc::new(recording)]);
        commits.push(
            commands.iter().map(|((_, copies, touches), _)| (queue, *copies, touches.clone())).collect(),
        );
    }
    let graph = engine.take().graph;
    let drawn =
        |at: CommandRef, commits: &[Vec<Drawn>]| commits[at.commit.0 as usize][at.command as usize].clone();
    let plan = Planner::new(queues as usize).plan(&graph, &mut |at| {
        let (queue, copies, _) = drawn(at, &commits);
        let stages = if copies { HardwareStages::TRANSFER } else { HardwareStages::COMPUTE };
        Some(Job { queue, stages, fresh: Default::default() })
    });
    (plan, commits)
}

fn stages(of: HardwareStages) -> Stages {
    let mut stages = Stages::empty();
    stages.set(Stages::DISPATCH, of.intersects(HardwareStages::COMPUTE));
    stages.set(Stages::BLIT, of.intersects(HardwareStages::TRANSFER));
    stages
}

/// What is taken away from a plan.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Without {
    Nothing,
    /// The n-th barrier.
    Barrier(usize),
    Waits,
}

/// How many gaps the checker finds in a plan.
fn gaps(queues: u32, plan: &Plan, commits: &[Vec<Drawn>], without: Without) -> usize {
    let (mut engine, ids, buffers) = engine(queues, false);
    let mut barriers = 0..;
    for batch in &plan.batches {
        let queue = ids[batch.queue as usize];
        let mut recording = Recording::new();
        // A submission waits for itself alone, as a wait inside a command buffer does; its signal stands for all before.
        for Point { queue: of, batch } in &batch.waits {
            if without != Without::Waits {
                recording.wait_for_event(EventId(*of), *batch);
            }
        }
        recording.begin_pass(PassDescriptor::compute());
        for step in &batch.steps {
            match step {
                Step::Command(at) => {
                    record(&mut recording, &commits[at.commit.0 as usize][at.command as usize], &buffers);
                }
                // A barrier of Vulkan reaches back over all that was handed to the queue, and forward over all that will be.
                Step::Barrier { after, before, .. }
                    if barriers.next().map(Without::Barrier) != Some(without) =>
                {
                    let barrier =
                        Barrier { after: stages(*after), before: stages(*before), ..Default::default() };
                    recording.barrier(BarrierReach::Consumer, barrier);
                    recording.barrier(BarrierReach::Intrapass, barrier);
                    recording.barrier(BarrierReach::Producer, barrier);
                }
                Step::Barrier { .. } => {}
            }
        }
        recording.end_pass();
        engine.commit(queue, [Arc::new(recording)]);
        engine.signal_event(queue, EventId(batch.queue), batch.number);
    }
    engine.take().gaps.len()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_checker_finds_nothing_missing_in_a_plan_and_misses_whatever_is_taken_away((queues, sketch) in sketches()) {
        let (plan, commits) = plan(queues, &sketch);
        prop_assert_eq!(gaps(queues, &plan, &commits, Without::Nothing), 0, "{}", plan);
        if queues == 1 {
            for at in 0..plan.barriers() {
                let missed = gaps(queues, &plan, &commits, Without::Barrier(at)) > 0;
                prop_assert!(missed, "barrier {} is spare in\n{}", at, plan);
            }
        } else if plan.batches.iter().any(|batch| !batch.waits.is_empty()) {
            prop_assert!(gaps(queues, &plan, &commits, Without::Waits) > 0, "the waits are spare in\n{}", plan);
        }
    }
}
