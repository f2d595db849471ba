//! A program of the model as a program file: without kernels, and read back to an equal program.
//!
//! Names are kinds and numbers. Works of the dispatch stage become stand-ins, so that devices can run them.

use super::spell::{self, Spelling};
use lockgate_sync::{
    Access, AccessKind, ChainThroughEmptyPass, ConsumerTargets, EventId, EventScope, FenceId, HostStep,
    MemoryId, Model, Op, PassDescriptor, PassKind, Program, QueueKind, Recording, Region, ResourceDescriptor,
    ResourceId, ResourceKind, Stage, Step, Work,
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
        match step {
            Step::Commit { queue: of, buffers } => {
                self.open(&queue(of));
                self.open("commit");
                buffers.iter().for_each(|buffer| self.buffer(buffer));
                self.close();
                self.close();
            }
            Step::Present { drawable } => self.line(&format!("present r{}", drawable.0)),
            Step::Host(HostStep::Access(access)) => self.line(&format!("host {{ {} }}", touch(access, ""))),
            Step::Host(HostStep::AccessWhenIdle(access)) => {
                self.line(&format!("host {{ {} }}", touch(access, " when-idle=#true")));
            }
            Step::Host(_) => self.line(&format!("host {{ {} }}", spell::step(&Numbers, step))),
            Step::SignalEvent { queue: of, .. }
            | Step::WaitForEvent { queue: of, .. }
            | Step::EnqueueBarrier { queue: of }
            | Step::WaitForDrawable { queue: of, .. }
            | Step::SignalDrawable { queue: of, .. } => {
                self.line(&format!("{} {{ {} }}", queue(of), spell::step(&Numbers, step)));
            }
        }
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
                op => self.line(&spell::operation(&Numbers, recording, kind, op)),
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

/// Resources, fences and events by letter and number.
struct Numbers;

impl Spelling for Numbers {
    fn fence(&self, fence: FenceId) -> String {
        format!("f{}", fence.0)
    }

    fn event(&self, event: EventId) -> String {
        format!("e{}", event.0)
    }

    fn resource(&self, resource: ResourceId) -> String {
        format!("r{}", resource.0)
    }
}

/// An access of the host.
fn touch(access: &Access, idle: &str) -> String {
    let word = match access.kind - (AccessKind::RASTER_ORDERED | AccessKind::BINDLESS) {
        AccessKind::READ => "read",
        AccessKind::WRITE => "write",
        AccessKind::ATOMIC => "update",
        _ => "read-write",
    };
    format!("{word} {}{idle}", target(access))
}

pub(crate) fn pass_line(pass: &PassDescriptor) -> String {
    let word = super::record::PASSES.iter().find(|(_, kind)| *kind == pass.kind).map_or("", |(word, _)| word);
    let serial = match pass.serial == PassDescriptor::new(pass.kind).serial {
        true => String::new(),
        false => format!(" serial=#{}", pass.serial),
    };
    let resuming = if pass.resuming { " resuming=#true" } else { "" };
    format!("{word}{serial}{resuming}")
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
