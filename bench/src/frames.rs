//! What the engine costs for frames that say the same again, paced by commits or by an event: with and without recalling.

use crate::measure::{medians, per};
use crate::report::Section;
use lockgate::sync::*;
use std::sync::Arc;

/// Passes of a frame, each with one dispatch.
const PASSES: u64 = 64;
/// How many frames the host stays behind.
const BEHIND: u64 = 2;

/// An engine with a queue, and frames that are committed to it.
struct Frames {
    engine: Engine,
    queue: QueueId,
    recording: Arc<Recording>,
    by_event: bool,
    commits: Vec<CommitId>,
    taken: Taken,
}

impl Frames {
    fn new(recall: bool, by_event: bool) -> Frames {
        let mut engine = Engine::new(EngineDescriptor { recall, ..EngineDescriptor::default() });
        let queue = engine.add_queue(QueueDescriptor::default());
        let mut buffer = || {
            let (memory, kind) = (engine.add_memory(), ResourceKind::Buffer);
            let resource =
                ResourceDescriptor { kind, memory, offset: 0, size: 4096, tracked: true, unit: false };
            engine.add_resource(resource)
        };
        let buffers = [buffer(), buffer()];
        let mut recording = Recording::new();
        for pass in 0..PASSES as usize {
            recording.begin_pass(PassDescriptor::compute());
            let accesses = [
                Access::whole(buffers[pass % 2], AccessKind::READ),
                Access::whole(buffers[(pass + 1) % 2], AccessKind::WRITE),
            ];
            recording.command(&[Work::new(Stage::Dispatch, &accesses)]);
            recording.end_pass();
        }
        let (commits, taken) = (Vec::new(), Taken::default());
        Frames { engine, queue, recording: Arc::new(recording), by_event, commits, taken }
    }

    fn run(&mut self, frames: u64) {
        let Frames { engine, queue, recording, .. } = self;
        for _ in 0..frames {
            let frame = self.commits.len() as u64;
            self.commits.push(engine.commit(*queue, [recording.clone()]));
            let step = if self.by_event {
                engine.signal_event(*queue, EventId(0), frame + 1);
                HostStep::WaitForEvent { event: EventId(0), value: (frame + 1).saturating_sub(BEHIND) }
            } else {
                HostStep::WaitForCommit { commit: frame.saturating_sub(BEHIND) }
            };
            if frame >= BEHIND {
                engine.host(step);
                engine.retire(self.commits[(frame - BEHIND) as usize]);
            }
            engine.take_into(&mut self.taken);
        }
    }
}

pub fn run(quick: bool) -> Section {
    let (frames, rounds) = if quick { (20, 3) } else { (500, 15) };
    let mut section =
        Section::new("engine, frames of 64 dependent passes", "looked through each time", rounds);
    for (name, by_event) in [("paced by commits", false), ("paced by an event", true)] {
        let [mut plain, mut recalling] = [false, true].map(|recall| Frames::new(recall, by_event));
        let [plain, recalling] = medians(rounds, [&mut || plain.run(frames), &mut || recalling.run(frames)]);
        let metric = ("engine", "ns a pass");
        let [plain, recalling] = [plain, recalling].map(|time| per(time, frames * PASSES));
        section.add_beside(name, "looked through each time", metric, plain, plain);
        section.add_beside(name, "recalled", metric, recalling, plain);
    }
    section
}
