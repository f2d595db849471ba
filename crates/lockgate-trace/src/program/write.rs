//! A program of the model as a program file: without kernels, and read back to an equal program.
//!
//! Names are kinds and numbers. Works of the dispatch stage become stand-ins, so that devices can run them.

use super::words::stage_words;
use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, BarrierScope, ChainThroughEmptyPass, ConsumerTargets,
    EventScope, HostStep, MemoryId, Model, Op, PassDescriptor, PassKind, Program, QueueKind, Recording,
    Region, ResourceDescriptor, ResourceKind, Stage, Stages, Step, VisibilityOptions, Work,
};
use std::fmt::Write;
use std::ops::Range;

/// The program as a program file.
///
/// ```
/// use lockgate_sync::{HazardTrackingMode, Program};
/// use lockgate_trace::{NoFiles, ProgramFile, write};
/// let mut program = Program::new();
/// program.add_buffer(256, HazardTrackingMode::Untracked);
/// let file = ProgramFile::parse("again.kdl", &write(&program), &NoFiles)?;
/// assert_eq!(file.model().0, program);
/// # Ok::<(), lockgate_trace::Diagnostics>(())
/// ```
pub fn write(program: &Program) -> String {
    let mut text = Text::default();
    text.model(&program.model);
    text.resources(program);
    if program.fences > 0 {
        text.line(&format!("fence{}", numbered('f', program.fences)));
    }
    if program.events > 0 {
        // Only the host makes a difference between events and shared events, and a file may use either.
        text.line(&format!("shared-event{}", numbered('e', program.events)));
    }
    for (index, queue) in program.queues.iter().enumerate() {
        let kind = match queue.kind {
            QueueKind::Gpu => "queue",
            QueueKind::IoConcurrent | QueueKind::IoSerial => "io-queue",
        };
        let serial = if queue.kind == QueueKind::IoSerial { " type=serial" } else { "" };
        let tracking = if queue.hazard_tracking { "" } else { " hazard-tracking=#false" };
        text.line(&format!("{kind} q{index}{serial}{tracking}"));
    }
    program.steps.iter().for_each(|step| text.step(program, step));
    text.out
}

fn numbered(letter: char, count: u32) -> String {
    (0..count).map(|number| format!(" {letter}{number}")).collect()
}

#[derive(Default)]
struct Text {
    out: String,
    depth: usize,
    commands: u32,
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
        self.depth -= 1;
        self.line("}");
    }

    fn model(&mut self, model: &Model) {
        let mut line = String::from("model");
        if model.consumer_targets == ConsumerTargets::CurrentPassOnly {
            line.push_str(" consumer-targets=current-pass-only");
        }
        for (name, scope) in [("wait-scope", model.wait_scope), ("signal-scope", model.signal_scope)] {
            if scope == EventScope::Queue {
                let _ = write!(line, " {name}=queue");
            }
        }
        for (name, on) in [
            ("fences-across-queues", model.fences_across_queues),
            ("overlapping-copies-ordered", model.overlapping_copies_ordered),
            ("strict-alias-visibility", model.strict_alias_visibility),
        ] {
            if on {
                let _ = write!(line, " {name}=#true");
            }
        }
        if model.chain_through_empty_pass == ChainThroughEmptyPass::Kept {
            line.push_str(" chain-through-empty-pass=kept");
        }
        if line != "model" {
            self.line(&line);
        }
    }

    /// Resources with memories of their own where the numbers allow it, else on placement heaps.
    fn resources(&mut self, program: &Program) {
        let own = |(index, resource): (usize, &ResourceDescriptor)| {
            resource.memory == MemoryId(index as u32) && resource.offset == 0 && !resource.unit
        };
        let plain = program.memories as usize == program.resources.len()
            && program.resources.iter().enumerate().all(own);
        for memory in (0..program.memories).filter(|_| !plain) {
            let members = program.resources.iter().filter(|resource| resource.memory.0 == memory);
            let size = members.clone().map(|r| r.offset.saturating_add(r.size)).max().unwrap_or(1).max(1);
            let tracked = if members.clone().any(|r| r.unit) { " tracking=tracked" } else { "" };
            self.line(&format!("heap m{memory} size={size} type=placement{tracked}"));
        }
        for (index, resource) in program.resources.iter().enumerate() {
            let mut line = match resource.kind {
                ResourceKind::Buffer => format!("buffer r{index} size={}", resource.size),
                ResourceKind::Texture { levels, slices } => {
                    format!("texture r{index} levels={levels} slices={slices} bytes={}", resource.size)
                }
            };
            if !plain {
                let _ = write!(line, " heap=m{} offset={}", resource.memory.0, resource.offset);
            }
            line.push_str(match (resource.tracked, resource.unit) {
                (_, true) => " tracking=tracked",
                (true, false) if plain => "",
                (true, false) => " tracking=alone",
                (false, false) => " tracking=untracked",
            });
            self.line(&line);
        }
    }

    fn step(&mut self, program: &Program, step: &Step) {
        let queue = |queue: &lockgate_sync::QueueId| {
            let kind = program.queues.get(queue.index()).map_or(QueueKind::Gpu, |queue| queue.kind);
            let kind = if kind == QueueKind::Gpu { "queue" } else { "io-queue" };
            format!("{kind} q{}", queue.0)
        };
        let (of, line) = match step {
            Step::Commit { queue: of, buffers } => {
                self.open(&queue(of));
                self.open("commit");
                buffers.iter().for_each(|buffer| self.buffer(buffer));
                self.close();
                return self.close();
            }
            Step::Present { drawable } => return self.line(&format!("present r{}", drawable.0)),
            Step::Host(step) => return self.line(&format!("host {{ {} }}", host(step))),
            Step::SignalEvent { queue, event, value } => {
                (queue, format!("signal e{} value={value}", event.0))
            }
            Step::WaitForEvent { queue, event, value } => (queue, format!("wait e{} value={value}", event.0)),
            Step::EnqueueBarrier { queue } => (queue, "enqueue-barrier".into()),
            Step::WaitForDrawable { queue, drawable } => {
                (queue, format!("wait-for-drawable r{}", drawable.0))
            }
            Step::SignalDrawable { queue, drawable } => (queue, format!("signal-drawable r{}", drawable.0)),
        };
        self.line(&format!("{} {{ {line} }}", queue(of)));
    }

    fn buffer(&mut self, recording: &Recording) {
        self.open("command-buffer");
        let mut kind = PassKind::Compute;
        for op in recording.ops() {
            match op {
                Op::BeginPass(pass) => {
                    kind = pass.kind;
                    self.open(&pass_line(pass));
                }
                Op::EndPass => self.close(),
                Op::Command { works, .. } => self.command(recording, kind, works),
                op => self.line(&sync_line(recording, kind, op)),
            }
        }
        self.close();
    }

    fn command(&mut self, recording: &Recording, pass: PassKind, works: &Range<u32>) {
        let number = self.commands;
        self.commands += 1;
        let works: Vec<Work<'_>> = recording.works(works).collect();
        let dispatch = |work: &Work<'_>| work.stage == Stage::Dispatch && !work.accesses.is_empty();
        if let ([work], PassKind::Compute) = (works.as_slice(), pass)
            && dispatch(work)
        {
            return self.line(&format!("dispatch c{number} {{ {} }}", accesses(work.accesses)));
        }
        let works: Vec<String> = works
            .iter()
            .map(|work| format!("{} {{ {} }}", work.stage.name(), accesses(work.accesses)))
            .collect();
        self.line(&format!("command c{number} {{ {} }}", works.join("; ")));
    }
}

fn host(step: &HostStep) -> String {
    let touch = |access: &Access, idle: &str| {
        let word = match access.kind - (AccessKind::RASTER_ORDERED | AccessKind::BINDLESS) {
            AccessKind::READ => "read",
            AccessKind::WRITE => "write",
            AccessKind::ATOMIC => "update",
            _ => "read-write",
        };
        format!("{word} {}{idle}", target(access))
    };
    match step {
        HostStep::Access(access) => touch(access, ""),
        HostStep::AccessWhenIdle(access) => touch(access, " when-idle=#true"),
        HostStep::SignalEvent { event, value } => format!("signal e{} value={value}", event.0),
        HostStep::WaitForEvent { event, value } => format!("wait e{} value={value}", event.0),
        HostStep::WaitForCommit { commit } => format!("wait-for-commit {commit}"),
    }
}

fn pass_line(pass: &PassDescriptor) -> String {
    let word = super::record::PASSES.iter().find(|(_, kind)| *kind == pass.kind).map_or("", |(word, _)| word);
    let serial = match pass.serial == PassDescriptor::new(pass.kind).serial {
        true => String::new(),
        false => format!(" serial=#{}", pass.serial),
    };
    let resuming = if pass.resuming { " resuming=#true" } else { "" };
    format!("{word}{serial}{resuming}")
}

fn sync_line(recording: &Recording, kind: PassKind, op: &Op) -> String {
    match op {
        Op::Barrier(reach, Barrier { after, before, visibility }) => {
            let word = match reach {
                BarrierReach::Intrapass => "intrapass-barrier",
                BarrierReach::Producer => "producer-barrier",
                BarrierReach::Consumer => "consumer-barrier",
            };
            let foreign = |mask: Stages, legal: Stages| mask != Stages::ALL && !(mask - legal).is_empty();
            let wrong = *reach == BarrierReach::Intrapass
                && (foreign(*after, kind.intrapass_sources()) || foreign(*before, kind.stages()));
            let misuse = if wrong { " misuse=#true" } else { "" };
            let visibility = match *visibility == VisibilityOptions::DEVICE {
                true => String::new(),
                false => {
                    format!(" visibility={}", mask(visibility.bits(), super::words::VISIBILITY, |v| v.bits()))
                }
            };
            format!("{word} {}{visibility}{misuse}", sides(*after, *before))
        }
        Op::MemoryBarrierWithScope { after, before, scope } => {
            let scope = mask(scope.bits(), super::words::SCOPES, |scope: BarrierScope| scope.bits());
            format!("memory-barrier {} scope={scope}", sides(*after, *before))
        }
        Op::MemoryBarrierWithResources { after, before, resources } => {
            let list = recording.resources(resources).iter().map(|resource| format!("r{}", resource.0));
            let list: Vec<String> = list.collect();
            let list = if list.is_empty() { "none".into() } else { list.join("|") };
            format!("memory-barrier {} resources={list:?}", sides(*after, *before))
        }
        Op::UpdateFence { fence, after } => format!("update-fence f{} after={}", fence.0, stages(*after)),
        Op::WaitForFence { fence, before } => {
            format!("wait-for-fence f{} before={}", fence.0, stages(*before))
        }
        Op::SignalEvent { event, value } => format!("signal-event e{} value={value}", event.0),
        Op::WaitForEvent { event, value } => format!("wait-for-event e{} value={value}", event.0),
        Op::BeginPass(_) | Op::EndPass | Op::Command { .. } => String::new(),
    }
}

fn sides(after: Stages, before: Stages) -> String {
    format!("after={} before={}", stages(after), stages(before))
}

fn stages(stages: Stages) -> String {
    if stages == Stages::ALL {
        return "all".into();
    }
    mask(stages.bits(), &stage_words(), |stages| stages.bits())
}

/// The words of the bits of a mask, quoted if there are several.
fn mask<T: Copy, B: Into<u64>>(bits: B, words: &[(&str, T)], of: impl Fn(T) -> B) -> String {
    let bits = bits.into();
    let single = |word: &&(&str, T)| {
        let own: u64 = of(word.1).into();
        own.count_ones() == 1 && bits & own != 0
    };
    let names: Vec<&str> = words.iter().filter(single).map(|(name, _)| *name).collect();
    match names.as_slice() {
        [] => "none".into(),
        [one] => (*one).to_owned(),
        many => format!("\"{}\"", many.join("|")),
    }
}

fn accesses(list: &[Access]) -> String {
    let one = |access: &Access| {
        let word = match access.kind - (AccessKind::RASTER_ORDERED | AccessKind::BINDLESS) {
            AccessKind::READ => "reads",
            AccessKind::WRITE => "writes",
            AccessKind::ATOMIC => "atomics",
            kind if kind.is_empty() => "touches",
            _ => "reads-writes",
        };
        format!("{word} {}", target(access))
    };
    list.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn target(access: &Access) -> String {
    let mut text = format!("r{}", access.resource.0);
    match access.region {
        Region::Whole => {}
        Region::Bytes { start, end } => {
            let _ = write!(text, " \"{start}..{end}\"");
        }
        Region::Texels(texels) => {
            let mut range = |name: &str, start: u32, end: u32, open: u32| {
                let _ = match end == open {
                    true => write!(text, " {name}=\"{start}..\""),
                    false => write!(text, " {name}=\"{start}..{end}\""),
                };
            };
            range("levels", texels.levels.0.into(), texels.levels.1.into(), u16::MAX.into());
            range("slices", texels.slices.0.into(), texels.slices.1.into(), u16::MAX.into());
            for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
                if (texels.min[axis], texels.max[axis]) != (0, u32::MAX) {
                    range(name, texels.min[axis], texels.max[axis], u32::MAX);
                }
            }
        }
    }
    let flags = [(AccessKind::RASTER_ORDERED, "raster-ordered"), (AccessKind::BINDLESS, "bindless")];
    for (flag, name) in flags {
        if access.kind.contains(flag) {
            let _ = write!(text, " {name}=#true");
        }
    }
    text
}
