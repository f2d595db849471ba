//! What an engine remembers does not grow with the length of a stream.

use lockgate_sync::*;
use std::sync::Arc;

struct Stream {
    engine: Engine,
    queues: Vec<QueueId>,
    buffers: Vec<ResourceId>,
}

impl Stream {
    fn new(queues: usize, tracked: bool) -> Stream {
        let mut engine = Engine::new(EngineDescriptor::default());
        let queues = (0..queues).map(|_| engine.add_queue(QueueDescriptor::default())).collect();
        let kind = ResourceKind::Buffer;
        let mut buffer = |_| {
            let memory = engine.add_memory();
            engine.add_resource(ResourceDescriptor {
                kind,
                memory,
                offset: 0,
                size: 4096,
                tracked,
                unit: false,
            })
        };
        let buffers = (0..8).map(&mut buffer).collect();
        Stream { engine, queues, buffers }
    }

    /// Runs a stream and returns what is remembered after a tenth of it and at its end.
    fn run(
        mut self,
        commits: u64,
        wait: bool,
        record: impl Fn(&mut Recording, &[ResourceId], u64),
    ) -> [usize; 2] {
        let mut remembered = [0; 2];
        for n in 0..commits {
            let mut recording = Recording::new();
            record(&mut recording, &self.buffers, n);
            let queue = self.queues[n as usize % self.queues.len()];
            let commit = self.engine.commit(queue, [Arc::new(recording)]);
            if wait {
                self.engine.host(HostStep::WaitForCommit { commit: commit.0 });
            }
            self.engine.retire(commit);
            assert!(self.engine.take().gaps.is_empty());
            if n == commits / 10 {
                remembered[0] = self.engine.remembered();
            }
        }
        remembered[1] = self.engine.remembered();
        remembered
    }
}

fn work(recording: &mut Recording, from: Access, to: Access) {
    recording.command(&[Work::new(Stage::Dispatch, &[from, to])]);
}

fn check(what: &str, [early, late]: [usize; 2]) {
    assert!(late <= early * 2 + 200, "{what}: {early} remembered early, {late} at the end");
}

#[test]
fn tracked_streams_are_bounded_on_one_queue_and_on_several() {
    let record = |recording: &mut Recording, buffers: &[ResourceId], n: u64| {
        for pass in 0..4 {
            recording.begin_pass(PassDescriptor::compute());
            for at in 0..20 {
                let (from, to) = ((n + at + pass) % 8, (at * 3 + 1) % 8);
                let read = Access::bytes(buffers[from as usize], at * 64, at * 64 + 64, AccessKind::READ);
                let write = Access::bytes(buffers[to as usize], at * 64, at * 64 + 64, AccessKind::WRITE);
                work(recording, read, write);
            }
            recording.end_pass();
        }
    };
    check("one queue", Stream::new(1, true).run(500, false, record));
    check("three queues", Stream::new(3, true).run(500, false, record));
    check("with waits", Stream::new(2, true).run(500, true, record));
}

#[test]
fn streams_that_the_program_orders_are_bounded() {
    let whole = |buffer, kind| Access::whole(buffer, kind);
    let barriers = |recording: &mut Recording, buffers: &[ResourceId], n: u64| {
        for pass in 0..5 {
            recording.begin_pass(PassDescriptor::compute());
            recording.barrier(BarrierReach::Consumer, Barrier::default());
            let (from, to) = (buffers[((n + pass) % 2) as usize], buffers[((n + pass + 1) % 2) as usize]);
            work(recording, whole(from, AccessKind::READ), whole(to, AccessKind::WRITE));
            work(recording, whole(from, AccessKind::READ), whole(buffers[2], AccessKind::READ));
            recording.end_pass();
        }
    };
    check("consumer barriers", Stream::new(1, false).run(1000, false, barriers));
    let fences = |recording: &mut Recording, buffers: &[ResourceId], n: u64| {
        for pass in 0..5 {
            recording.begin_pass(PassDescriptor::compute());
            recording.wait_for_fence(FenceId(0), Stages::ALL);
            let buffer = buffers[((n + pass) % 8) as usize];
            work(recording, whole(buffer, AccessKind::READ), whole(buffers[0], AccessKind::WRITE));
            recording.update_fence(FenceId(0), Stages::DISPATCH);
            // Never behind the fence, and touching nothing: a hole in the set of works of each pass.
            recording.command(&[Work::new(Stage::Dispatch, &[])]);
            recording.end_pass();
        }
    };
    check("fences that name a part of each pass", Stream::new(1, false).run(1000, false, fences));
}

#[test]
fn reads_that_nothing_follows_are_forgotten_once_the_host_has_waited() {
    let record = |recording: &mut Recording, buffers: &[ResourceId], _: u64| {
        recording.begin_pass(PassDescriptor::compute());
        for buffer in buffers {
            let read = Access::whole(*buffer, AccessKind::READ);
            work(recording, read, read);
        }
        recording.end_pass();
    };
    check("reads", Stream::new(1, false).run(3000, true, record));
}

#[test]
fn ids_of_removed_resources_come_back() {
    let mut engine = Engine::new(EngineDescriptor::default());
    let mut most = 0;
    for _ in 0..10_000 {
        let memory = engine.add_memory();
        let kind = ResourceKind::Buffer;
        let id = engine.add_resource(ResourceDescriptor {
            kind,
            memory,
            offset: 0,
            size: 64,
            tracked: true,
            unit: false,
        });
        most = most.max(id.0);
        engine.remove_resource(id);
        engine.remove_memory(memory);
        engine.enqueue_barrier(QueueId(0));
    }
    assert!(most < 5_000, "{most}");
}
