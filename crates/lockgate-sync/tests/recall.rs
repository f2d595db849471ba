//! An engine that recalls says what one says that does not, also where resources and fences come and go between commits.

use lockgate_sync::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Two engines that are told the same.
struct Pair {
    engines: [Engine; 2],
    graphs: [Graph; 2],
    gaps: [Vec<Gap>; 2],
    seed: u64,
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let descriptor = |recall| EngineDescriptor { recall, ..EngineDescriptor::default() };
        let engines = [false, true].map(|recall| Engine::new(descriptor(recall)));
        Pair { engines, graphs: Default::default(), gaps: Default::default(), seed }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 33) % below
    }

    /// Both give the same id.
    fn both<T: PartialEq + std::fmt::Debug>(&mut self, mut act: impl FnMut(&mut Engine) -> T) -> T {
        let [plain, recalling] = &mut self.engines;
        let (first, second) = (act(plain), act(recalling));
        assert_eq!(first, second);
        for ((engine, graph), gaps) in self.engines.iter_mut().zip(&mut self.graphs).zip(&mut self.gaps) {
            let taken = engine.take();
            graph.append(&taken.graph);
            gaps.extend(taken.gaps);
        }
        first
    }

    fn buffer(&mut self, tracked: bool) -> (MemoryId, ResourceId) {
        let memory = self.both(Engine::add_memory);
        self.resource(memory, tracked)
    }

    /// One that is an alias of what was there before.
    fn resource(&mut self, memory: MemoryId, tracked: bool) -> (MemoryId, ResourceId) {
        let kind = ResourceKind::Buffer;
        let resource = ResourceDescriptor { kind, memory, offset: 0, size: 64, tracked, unit: false };
        (memory, self.both(|engine| engine.add_resource(resource.clone())))
    }

    /// All orders between works.
    fn orders(&self) -> [Vec<bool>; 2] {
        [0, 1].map(|at| {
            let graph = &self.graphs[at];
            let name = |vertex: &Vertex| match vertex.kind {
                VertexKind::Work { command, .. } => Some((command, vertex.id)),
                _ => None,
            };
            let works: BTreeMap<CommandRef, VertexId> = graph.vertices.iter().filter_map(name).collect();
            let works: Vec<VertexId> = works.into_values().collect();
            let pairs = works.iter().flat_map(|a| works.iter().map(move |b| (*a, *b)));
            pairs.map(|(a, b)| a < b && graph.orders(a, b)).collect()
        })
    }
}

/// A step over some buffers, behind a fence and before it, if there is one.
fn recording(resources: &[ResourceId], fence: Option<FenceId>) -> Arc<Recording> {
    let mut recording = Recording::new();
    for resource in resources {
        recording.begin_pass(PassDescriptor::compute());
        fence.iter().for_each(|fence| recording.wait_for_fence(*fence, Stages::DISPATCH));
        recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(*resource, AccessKind::WRITE)])]);
        fence.iter().for_each(|fence| recording.update_fence(*fence, Stages::DISPATCH));
    }
    recording.end_pass();
    Arc::new(recording)
}

#[test]
fn resources_and_fences_come_and_go() {
    let (mut recalled, mut gaps) = (0, 0);
    for seed in 0..600 {
        let mut pair = Pair::new(seed);
        let queue = pair.both(|engine| engine.add_queue(QueueDescriptor::default()));
        let mut buffers: Vec<_> = (0..3).map(|at| pair.buffer(at != 0)).collect();
        let mut commits = Vec::new();
        let behind = 1 + pair.draw(2) as usize;
        for round in 0..24 {
            match pair.draw(14) {
                0 => {
                    let at = pair.draw(3) as usize;
                    let (memory, resource) = buffers[at];
                    // Its commits are done, though the host may not have waited for all of them.
                    pair.both(|engine| engine.remove_resource(resource));
                    buffers[at] = if pair.draw(2) == 0 {
                        pair.both(|engine| engine.remove_memory(memory));
                        pair.buffer(at != 0)
                    } else {
                        pair.resource(memory, at != 0)
                    };
                }
                1 => pair.both(|engine| engine.remove_fence(FenceId(0))),
                _ => {}
            }
            let list: Vec<ResourceId> = buffers.iter().map(|(_, resource)| *resource).collect();
            // By themselves, two by two: what was removed meanwhile has an alias in flight.
            let recording = match seed % 2 {
                0 => recording(&list[..1 + round % 2], Some(FenceId(0))),
                _ => recording(&list[round / 2 % 3..][..1], None),
            };
            commits.push(pair.both(|engine| engine.commit(queue, [recording.clone()])));
            if let Some(at) = commits.len().checked_sub(behind) {
                let commit = commits[at].0;
                pair.both(|engine| engine.host(HostStep::WaitForCommit { commit }));
            }
        }
        let [plain, recalling] = pair.orders();
        assert_eq!(plain, recalling, "seed {seed}");
        assert_eq!(pair.gaps[0], pair.gaps[1], "seed {seed}");
        gaps += pair.gaps[0].len();
        recalled += pair.engines[1].recalled();
    }
    assert!(recalled > 300 && gaps > 10, "{recalled} {gaps}");
}

/// An id that comes back stands for another resource: what was ordered by tracking is a gap now.
#[test]
fn ids_that_come_back_are_not_taken_for_what_they_were() {
    let mut engine = Engine::new(EngineDescriptor { recall: true, ..EngineDescriptor::default() });
    let queue = engine.add_queue(QueueDescriptor::default());
    let buffer = |engine: &mut Engine, tracked| {
        let (memory, kind) = (engine.add_memory(), ResourceKind::Buffer);
        engine.add_resource(ResourceDescriptor { kind, memory, offset: 0, size: 64, tracked, unit: false })
    };
    let first = buffer(&mut engine, true);
    let mut recording = Recording::new();
    for _ in 0..2 {
        recording.begin_pass(PassDescriptor::compute());
        recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(first, AccessKind::WRITE)])]);
    }
    recording.end_pass();
    let recording = Arc::new(recording);
    let run = |engine: &mut Engine| {
        for _ in 0..6 {
            let commit = engine.commit(queue, [recording.clone()]).0;
            engine.host(HostStep::WaitForCommit { commit });
        }
        engine.take().gaps.len()
    };
    assert_eq!(run(&mut engine), 0);
    assert!(engine.recalled() > 2);
    engine.remove_resource(first);
    // Something that was never said makes the engine forget what is over.
    let commit = engine.commit(queue, [Arc::new(Recording::new())]).0;
    engine.host(HostStep::WaitForCommit { commit });
    // Enough are removed that ids are given out again.
    let others: Vec<ResourceId> = (0..1500).map(|_| buffer(&mut engine, false)).collect();
    others.iter().for_each(|other| engine.remove_resource(*other));
    assert!((0..1500).any(|_| buffer(&mut engine, false) == first));
    assert_eq!(run(&mut engine), 6);
}

/// Frames of two queues that meet at events, the host some frames behind. Now and then something is another than usual.
#[test]
fn frames_are_paced_by_events() {
    let (mut recalled, mut orders) = (0, 0);
    for seed in 0..500 {
        let mut pair = Pair::new(seed);
        let queues = [0, 1].map(|_| pair.both(|engine| engine.add_queue(QueueDescriptor::default())));
        // What the queues touch is not the same: events alone order them.
        let frames = [0, 1].map(|_| recording(&[pair.buffer(true).1], None));
        let events = [EventId(0), EventId(1)];
        let (lag, behind) = (pair.draw(3), pair.draw(4));
        let (waits_back, host_asks) = (pair.draw(2) == 0, events[pair.draw(2) as usize]);
        let odd = pair.draw(3) == 0;
        for frame in 1..=24u64 {
            let strange = if odd { pair.draw(30) } else { 30 };
            for (at, (queue, commands)) in queues.iter().zip(&frames).enumerate() {
                // Values between two signals too: the later one brings them.
                let value = 2 * frame.saturating_sub(lag + u64::from(at == 0));
                let value = value.saturating_sub(if odd { pair.draw(9).saturating_sub(6) } else { 0 });
                if at == 1 || waits_back {
                    pair.both(|engine| engine.wait_for_event(*queue, events[1 - at], value));
                }
                pair.both(|engine| engine.commit(*queue, [commands.clone()]));
                let signals = if strange == at as u64 { queues[1 - at] } else { *queue };
                let value = if strange == 2 { (2 * frame).saturating_sub(3) } else { 2 * frame };
                pair.both(|engine| engine.signal_event(signals, events[at], value));
            }
            let value = (2 * frame).saturating_sub(2 * behind + u64::from(strange == 3));
            pair.both(|engine| engine.host(HostStep::WaitForEvent { event: host_asks, value }));
            let seen = HostStep::WaitForEvent { event: EventId(1), value };
            if strange != 4 && waits_back {
                pair.both(|engine| engine.host(seen));
            }
        }
        let [plain, recalling] = pair.orders();
        assert_eq!(plain, recalling, "seed {seed}");
        assert_eq!(pair.gaps[0], pair.gaps[1], "seed {seed}");
        orders += plain.iter().filter(|ordered| **ordered).count();
        recalled += pair.engines[1].recalled();
    }
    assert!(recalled > 3000 && orders > 10_000, "{recalled} {orders}");
}

/// The largest value, twice, and what waits for it.
#[test]
fn a_value_can_be_the_largest() {
    let mut pair = Pair::new(0);
    let queue = pair.both(|engine| engine.add_queue(QueueDescriptor::default()));
    let commands = recording(&[pair.buffer(true).1], None);
    let event = EventId(0);
    for value in [1, u64::MAX, u64::MAX, u64::MAX] {
        pair.both(|engine| engine.commit(queue, [commands.clone()]));
        pair.both(|engine| engine.signal_event(queue, event, value));
        pair.both(|engine| engine.wait_for_event(queue, event, value));
        pair.both(|engine| engine.host(HostStep::WaitForEvent { event, value: 1 }));
    }
    let [plain, recalling] = pair.orders();
    assert_eq!(plain, recalling);
}

/// An order is called by the value that was waited for, also where another wait was for the same.
#[test]
fn orders_are_called_by_what_was_waited_for() {
    let mut engine = Engine::new(EngineDescriptor { recall: true, ..EngineDescriptor::default() });
    let queues = [0, 1, 2].map(|_| engine.add_queue(QueueDescriptor::default()));
    let mut commands = || {
        let (memory, kind) = (engine.add_memory(), ResourceKind::Buffer);
        let resource = ResourceDescriptor { kind, memory, offset: 0, size: 64, tracked: true, unit: false };
        recording(&[engine.add_resource(resource)], None)
    };
    let [first, second] = [commands(), commands()];
    let event = EventId(0);
    for frame in 1..=20u64 {
        engine.commit(queues[0], [first.clone()]);
        engine.signal_event(queues[0], event, 2 * frame + 1);
        let asked = [2 * frame + 1, 2 * frame + 1 - frame / 10 % 2];
        for (queue, value) in queues[1..].iter().zip(asked) {
            engine.wait_for_event(*queue, event, value);
        }
        engine.take();
        let commit = engine.commit(queues[2], [second.clone()]);
        engine.host(HostStep::WaitForCommit { commit: commit.0 });
        let graph = engine.take().graph;
        let labels = graph.edges.iter().filter_map(|edge| match edge.by.kind {
            SyncKind::Event(_, value) => Some(value),
            _ => None,
        });
        assert!(labels.eq([asked[1]]), "frame {frame}");
    }
    assert!(engine.recalled() > 20);
}

/// A value that two queues could have brought is behind what both of their signals are behind, and that is nothing.
#[test]
fn who_has_brought_a_value_may_be_unknown() {
    let mut pair = Pair::new(0);
    let queues = [0, 1].map(|_| pair.both(|engine| engine.add_queue(QueueDescriptor::default())));
    let [first, second] = [0, 1].map(|_| recording(&[pair.buffer(false).1], None));
    let commands = [first.clone(), second, first];
    for value in [1, 11, 21, 31] {
        let mut commits = Vec::new();
        for (at, queue) in (0..).zip(queues) {
            let commands = &commands[at as usize];
            commits.push(pair.both(|engine| engine.commit(queue, [commands.clone()])));
            pair.both(|engine| engine.signal_event(queue, EventId(0), value + at));
        }
        pair.both(|engine| engine.host(HostStep::WaitForEvent { event: EventId(0), value }));
        commits.push(pair.both(|engine| engine.commit(queues[1], [commands[2].clone()])));
        for CommitId(commit) in commits {
            pair.both(|engine| engine.host(HostStep::WaitForCommit { commit }));
        }
    }
    assert_eq!(pair.gaps[0].len(), 4);
    assert_eq!(pair.gaps[0], pair.gaps[1]);
}
