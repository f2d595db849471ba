//! How a program reads: a listing in the manner of program files, for the report of a broken law.
//!
//! Not a file format: names are kinds and numbers, and nothing reads it back.

use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, BarrierScope, HostStep, Op, PassDescriptor, PassKind, Program,
    QueueKind, Recording, Region, ResourceId, ResourceKind, Stage, Stages, Step, VisibilityOptions,
};
use std::fmt::Write;

/// The listing of a program. Commits, host steps and presentations carry the numbers that gaps name.
pub fn to_text(program: &Program) -> String {
    let mut text = Text::default();
    text.line(&format!("model {:?}", program.model));
    for (index, resource) in program.resources.iter().enumerate() {
        let kind = match resource.kind {
            ResourceKind::Buffer => "buffer",
            ResourceKind::Texture { .. } => "texture",
        };
        let mode = match (resource.unit, resource.tracked) {
            (true, _) => "unit",
            (false, true) => "tracked",
            (false, false) => "untracked",
        };
        let (memory, offset, size) = (resource.memory.0, resource.offset, resource.size);
        text.line(&format!("{kind} r{index} memory={memory} offset={offset} size={size} {mode}"));
    }
    for (index, queue) in program.queues.iter().enumerate() {
        let kind = match queue.kind {
            QueueKind::Gpu => "gpu",
            QueueKind::IoConcurrent => "io-concurrent",
            QueueKind::IoSerial => "io-serial",
        };
        text.line(&format!("queue q{index} {kind} hazard-tracking={}", queue.hazard_tracking));
    }
    let (mut commits, mut hosts, mut presents) = (0, 0, 0);
    for step in &program.steps {
        match step {
            Step::Commit { queue, buffers } => {
                text.open(&format!("commit {commits} queue=q{}", queue.0));
                commits += 1;
                buffers.iter().for_each(|buffer| text.buffer(buffer));
                text.close();
            }
            Step::SignalEvent { queue, event, value } => {
                text.line(&format!("signal queue=q{} event=e{} value={value}", queue.0, event.0));
            }
            Step::WaitForEvent { queue, event, value } => {
                text.line(&format!("wait queue=q{} event=e{} value={value}", queue.0, event.0));
            }
            Step::EnqueueBarrier { queue } => text.line(&format!("enqueue-barrier queue=q{}", queue.0)),
            Step::WaitForDrawable { queue, drawable } => {
                text.line(&format!("wait-for-drawable queue=q{} r{}", queue.0, drawable.0));
            }
            Step::SignalDrawable { queue, drawable } => {
                text.line(&format!("signal-drawable queue=q{} r{}", queue.0, drawable.0));
            }
            Step::Present { drawable } => {
                text.line(&format!("present {presents} r{}", drawable.0));
                presents += 1;
            }
            Step::Host(step) => {
                text.line(&format!("host {hosts} {}", host_step(step)));
                hosts += 1;
            }
        }
    }
    text.out
}

fn host_step(step: &HostStep) -> String {
    match step {
        HostStep::Access(access) => access_text(access),
        HostStep::AccessWhenIdle(access) => format!("when idle {}", access_text(access)),
        HostStep::SignalEvent { event, value } => format!("signal event=e{} value={value}", event.0),
        HostStep::WaitForEvent { event, value } => format!("wait event=e{} value={value}", event.0),
        HostStep::WaitForCommit { commit } => format!("wait commit={commit}"),
    }
}

#[derive(Default)]
struct Text {
    out: String,
    depth: usize,
}

impl Text {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{:width$}{line}", "", width = self.depth * 4);
    }

    fn open(&mut self, line: &str) {
        self.line(&format!("{line} {{"));
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.line("}");
    }

    fn buffer(&mut self, recording: &Recording) {
        self.open("command-buffer");
        for op in recording.ops() {
            match op {
                Op::BeginPass(pass) => self.open(&pass_text(pass)),
                Op::EndPass => self.close(),
                Op::Command { command, works } => {
                    let works: Vec<String> = recording
                        .works(works)
                        .map(|work| format!("{} {}", work.stage.name(), accesses_text(work.accesses)))
                        .collect();
                    self.line(&format!("command {command}  {}", works.join(" | ")));
                }
                op => self.line(&sync_text(recording, op)),
            }
        }
        self.close();
    }
}

fn pass_text(pass: &PassDescriptor) -> String {
    let kind = match pass.kind {
        PassKind::Render => "render-pass",
        PassKind::Compute => "compute-pass",
        PassKind::MachineLearning => "machine-learning-pass",
        PassKind::Blit => "blit-pass",
        PassKind::ResourceState => "resource-state-pass",
        PassKind::Io => "io-pass",
    };
    let serial = if pass.serial { " serial" } else { "" };
    let resuming = if pass.resuming { " resuming" } else { "" };
    format!("{kind}{serial}{resuming}")
}

fn sync_text(recording: &Recording, op: &Op) -> String {
    match op {
        Op::Barrier(reach, Barrier { after, before, visibility }) => {
            let reach = match reach {
                BarrierReach::Intrapass => "intrapass-barrier",
                BarrierReach::Producer => "producer-barrier",
                BarrierReach::Consumer => "consumer-barrier",
            };
            format!("{reach} {} visibility={}", masks(*after, *before), visibility_text(*visibility))
        }
        Op::MemoryBarrierWithScope { after, before, scope } => {
            format!("memory-barrier {} scope={}", masks(*after, *before), scope_text(*scope))
        }
        Op::MemoryBarrierWithResources { after, before, resources } => {
            let list = recording.resources(resources);
            format!("memory-barrier {} resources={}", masks(*after, *before), resources_text(list))
        }
        Op::UpdateFence { fence, after } => format!("update f{} after={}", fence.0, stages_text(*after)),
        Op::WaitForFence { fence, before } => format!("wait f{} before={}", fence.0, stages_text(*before)),
        Op::SignalEvent { event, value } => format!("signal event=e{} value={value}", event.0),
        Op::WaitForEvent { event, value } => format!("wait event=e{} value={value}", event.0),
        Op::BeginPass(_) | Op::EndPass | Op::Command { .. } => String::new(),
    }
}

fn masks(after: Stages, before: Stages) -> String {
    format!("after={} before={}", stages_text(after), stages_text(before))
}

fn stages_text(stages: Stages) -> String {
    if stages.contains(Stages::ALL) {
        return "all".into();
    }
    let named = Stage::EVERY.iter().filter(|stage| stages.intersects(stage.mask()));
    joined(named.map(|stage| stage.name().to_string()))
}

fn visibility_text(visibility: VisibilityOptions) -> String {
    let names =
        [(VisibilityOptions::DEVICE, "device"), (VisibilityOptions::RESOURCE_ALIAS, "resource-alias")];
    joined(names.iter().filter(|(bit, _)| visibility.contains(*bit)).map(|(_, name)| name.to_string()))
}

fn scope_text(scope: BarrierScope) -> String {
    let names = [
        (BarrierScope::BUFFERS, "buffers"),
        (BarrierScope::TEXTURES, "textures"),
        (BarrierScope::RENDER_TARGETS, "render-targets"),
    ];
    joined(names.iter().filter(|(bit, _)| scope.contains(*bit)).map(|(_, name)| name.to_string()))
}

fn resources_text(list: &[ResourceId]) -> String {
    joined(list.iter().map(|resource| format!("r{}", resource.0)))
}

fn joined(words: impl Iterator<Item = String>) -> String {
    let words: Vec<String> = words.collect();
    if words.is_empty() { "none".into() } else { words.join("|") }
}

fn accesses_text(accesses: &[Access]) -> String {
    accesses.iter().map(access_text).collect::<Vec<_>>().join(", ")
}

fn access_text(access: &Access) -> String {
    let has = |kind| access.kind.contains(kind);
    let verb = match (has(AccessKind::ATOMIC), has(AccessKind::READ), has(AccessKind::WRITE)) {
        (true, _, _) => "updates",
        (false, true, true) => "reads+writes",
        (false, false, true) => "writes",
        (false, _, false) => "reads",
    };
    let raster = if has(AccessKind::RASTER_ORDERED) { " raster-ordered" } else { "" };
    let bindless = if has(AccessKind::BINDLESS) { " bindless" } else { "" };
    let part = match access.region {
        Region::Whole => String::new(),
        Region::Bytes { start, end } => format!("[{start}..{end}]"),
        Region::Texels(t) => {
            let range = |(from, to): (u16, u16)| format!("{from}..{to}");
            let whole = t.min == [0; 3] && t.max == [u32::MAX; 3];
            let area = if whole { String::new() } else { format!(" box {:?}..{:?}", t.min, t.max) };
            format!("[levels {} slices {}{area}]", range(t.levels), range(t.slices))
        }
    };
    format!("{verb} r{}{part}{raster}{bindless}", access.resource.0)
}
