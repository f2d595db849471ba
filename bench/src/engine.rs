//! What the engine costs over a long stream: it must not grow with the length.

use crate::measure::per;
use crate::report::Section;
use lockgate::sync::*;
use std::sync::Arc;
use std::time::Instant;

/// Commands of a commit; each touches two buffers.
const COMMIT: u64 = 1000;

fn stream(
    section: &mut Section,
    name: &str,
    commits: u64,
    tracked: bool,
    host_waits: bool,
    record: impl Fn(&mut Recording, &[ResourceId], u64),
) {
    let mut engine = Engine::new(EngineDescriptor::default());
    let queue = engine.add_queue(QueueDescriptor::default());
    let buffers: Vec<ResourceId> = (0..16)
        .map(|_| {
            let memory = engine.add_memory();
            let kind = ResourceKind::Buffer;
            engine.add_resource(ResourceDescriptor {
                kind,
                memory,
                offset: 0,
                size: 4096,
                tracked,
                unit: false,
            })
        })
        .collect();
    let mut taken = Taken::default();
    let mut figures = Vec::new();
    let third = commits / 3;
    let (mut gaps, mut accesses) = (0, 0);
    for phase in 0..3 {
        let mut spent = std::time::Duration::ZERO;
        let mut count = 0;
        for n in phase * third..(phase + 1) * third {
            let mut recording = Recording::new();
            record(&mut recording, &buffers, n);
            count += recording.accesses().len() as u64;
            let recording = Arc::new(recording);
            let begin = Instant::now();
            let commit = engine.commit(queue, [recording]);
            engine.take_into(&mut taken);
            if host_waits {
                engine.host(HostStep::WaitForCommit { commit: commit.0 });
            }
            engine.retire(commit);
            spent += begin.elapsed();
            gaps += taken.gaps.len();
        }
        figures.push(per(spent, count));
        accesses += count;
    }
    let memory = engine.remembered();
    section.add(name, "", ("commands", ""), (third * 3 * COMMIT) as f64);
    section.add(name, "", ("accesses", ""), accesses as f64);
    for (metric, figure) in ["start", "middle", "end"].into_iter().zip(figures) {
        section.add(name, "", (metric, "ns an access"), figure);
    }
    section.add(name, "", ("remembered at the end", ""), memory as f64);
    section.add(name, "", ("gaps", ""), gaps as f64);
}

fn command(recording: &mut Recording, from: ResourceId, to: ResourceId) {
    let accesses = [Access::whole(from, AccessKind::READ), Access::whole(to, AccessKind::WRITE)];
    recording.command(&[Work::new(Stage::Dispatch, &accesses)]);
}

pub fn run(quick: bool) -> Section {
    let commits = if quick { 30 } else { 1002 };
    let mut section = Section::new("engine", "", 1);
    let pick =
        |buffers: &[ResourceId], n: u64| (buffers[(n % 16) as usize], buffers[((n * 7 + 3) % 16) as usize]);
    stream(
        &mut section,
        "tracked chain, one pass a commit",
        commits,
        true,
        false,
        |recording, buffers, _| {
            recording.begin_pass(PassDescriptor::compute());
            for n in 0..COMMIT {
                command(recording, buffers[(n % 2) as usize], buffers[((n + 1) % 2) as usize]);
            }
            recording.end_pass();
        },
    );
    stream(
        &mut section,
        "tracked, 16 buffers, ten passes a commit",
        commits,
        true,
        true,
        |recording, buffers, _| {
            for pass in 0..10 {
                recording.begin_pass(PassDescriptor::compute());
                for n in 0..COMMIT / 10 {
                    let (from, to) = pick(buffers, n + pass);
                    if from != to {
                        command(recording, from, to);
                    }
                }
                recording.end_pass();
            }
        },
    );
    stream(
        &mut section,
        "untracked, a consumer barrier for each of ten passes",
        commits,
        false,
        false,
        |recording, buffers, _| {
            for pass in 0..10u64 {
                recording.begin_pass(PassDescriptor::compute());
                recording.barrier(BarrierReach::Consumer, Barrier::default());
                for _ in 0..COMMIT / 10 {
                    let accesses = [
                        Access::whole(buffers[(pass % 2) as usize], AccessKind::READ),
                        Access::whole(buffers[2], AccessKind::READ),
                    ];
                    recording.command(&[Work::new(Stage::Dispatch, &accesses)]);
                }
                recording.end_pass();
            }
        },
    );
    stream(
        &mut section,
        "untracked, a barrier between any two commands",
        commits,
        false,
        false,
        |recording, buffers, _| {
            recording.begin_pass(PassDescriptor::compute());
            recording.barrier(BarrierReach::Consumer, Barrier::default());
            for n in 0..COMMIT {
                command(recording, buffers[(n % 2) as usize], buffers[((n + 1) % 2) as usize]);
                recording.barrier(BarrierReach::Intrapass, Barrier::default());
            }
            recording.end_pass();
        },
    );
    stream(
        &mut section,
        "untracked, half of each pass behind a fence, never a barrier, the host waits",
        commits,
        false,
        true,
        |recording, buffers, _| {
            for pass in 0..10u64 {
                recording.begin_pass(PassDescriptor::compute());
                recording.wait_for_fence(FenceId(0), Stages::ALL);
                for n in 0..COMMIT / 10 {
                    let accesses = [
                        Access::whole(buffers[(pass % 16) as usize], AccessKind::READ),
                        Access::bytes(buffers[2], n * 8, n * 8 + 8, AccessKind::READ),
                    ];
                    recording.command(&[Work::new(Stage::Dispatch, &accesses)]);
                    if n == COMMIT / 20 {
                        recording.update_fence(FenceId(0), Stages::ALL);
                    }
                }
                recording.end_pass();
            }
        },
    );
    section
}
