//! The model's view of a program file: a [`Program`], and what its commands are called.

use super::file::{CommandBuffer, HostAction, Item, Kind, Pass, PassItem, ProgramFile, Step};
use lockgate_sync::{
    CommandRef, CommitId, EventId, FenceId, Program, QueueId, Recording, ResourceDescriptor, ResourceId,
    ResourceKind, Work,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a command is called, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandName {
    /// The queue of its commit.
    pub queue: String,
    /// Its command buffer; empty if that has no name.
    pub buffer: String,
    /// Its pass; empty if that has no name.
    pub pass: String,
    /// `pass.command`, with `#2` and so on behind a repeated one.
    pub name: String,
}

/// The names of a program file, by the numbers of its model.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub(crate) resources: Vec<String>,
    pub(crate) queues: Vec<String>,
    pub(crate) fences: Vec<String>,
    pub(crate) events: Vec<String>,
    commands: BTreeMap<CommandRef, CommandName>,
}

impl Names {
    /// The name of a resource.
    pub fn resource(&self, id: ResourceId) -> &str {
        self.resources.get(id.index()).map_or("", String::as_str)
    }

    /// The name of a queue.
    pub fn queue(&self, id: QueueId) -> &str {
        self.queues.get(id.index()).map_or("", String::as_str)
    }

    /// The name of a fence.
    pub fn fence(&self, id: FenceId) -> &str {
        self.fences.get(id.index()).map_or("", String::as_str)
    }

    /// The name of an event.
    pub fn event(&self, id: EventId) -> &str {
        self.events.get(id.index()).map_or("", String::as_str)
    }

    /// The name of a command, `pass.command`.
    pub fn command(&self, command: CommandRef) -> &str {
        self.commands.get(&command).map_or("", |name| &name.name)
    }

    /// Where a command stands and what it is called.
    pub fn place(&self, command: CommandRef) -> Option<&CommandName> {
        self.commands.get(&command)
    }

    /// The command of a name.
    pub fn find(&self, name: &str) -> Option<CommandRef> {
        self.commands.iter().find(|(_, own)| own.name == name).map(|(command, _)| *command)
    }

    /// All commands in recording order.
    pub fn commands(&self) -> impl Iterator<Item = CommandRef> {
        self.commands.keys().copied()
    }
}

impl ProgramFile {
    /// The program as the model sees it. What kernels touch comes from their reflection.
    pub fn model(&self) -> (Program, Names) {
        let mut program = Program { model: self.model, memories: self.memories, ..Program::new() };
        program.fences = self.fences.len() as u32;
        program.events = self.events.len() as u32;
        program.queues = self.queues.iter().map(|queue| queue.descriptor).collect();
        program.resources = self.resources.iter().map(descriptor).collect();
        let mut names = Names {
            resources: self.resources.iter().map(|resource| resource.name.clone()).collect(),
            queues: self.queues.iter().map(|queue| queue.name.clone()).collect(),
            fences: self.fences.clone(),
            events: self.events.iter().map(|event| event.name.clone()).collect(),
            commands: BTreeMap::new(),
        };
        let mut commit = 0;
        for step in &self.steps {
            match &step.value {
                Step::Commit { queue, buffers, .. } => {
                    let list = buffers.iter().enumerate().map(|(at, buffer)| {
                        let start = CommandRef { commit: CommitId(commit), buffer: at as u32, command: 0 };
                        Arc::new(record(buffer, start, &self.queues[queue.index()].name, &mut names))
                    });
                    let buffers = list.collect();
                    program.steps.push(lockgate_sync::Step::Commit { queue: *queue, buffers });
                    commit += 1;
                }
                other => program.steps.extend(plain(other)),
            }
        }
        (program, names)
    }
}

fn descriptor(resource: &super::file::Resource) -> ResourceDescriptor {
    let kind = match &resource.kind {
        Kind::Buffer { .. } => ResourceKind::Buffer,
        Kind::Texture { descriptor } => ResourceKind::Texture {
            levels: descriptor.mip_level_count as u16,
            slices: descriptor.slice_count() as u16,
        },
        Kind::Shapeless { levels, slices, .. } => ResourceKind::Texture { levels: *levels, slices: *slices },
    };
    let (memory, offset, size) = (resource.memory, resource.offset, resource.size());
    ResourceDescriptor { kind, memory, offset, size, tracked: resource.tracked, unit: resource.unit }
}

/// A step that is no commit; nothing for what only places memory.
fn plain(step: &Step) -> Option<lockgate_sync::Step> {
    use lockgate_sync::Step as S;
    Some(match *step {
        Step::SignalEvent { queue, event, value } => S::SignalEvent { queue, event, value },
        Step::WaitForEvent { queue, event, value } => S::WaitForEvent { queue, event, value },
        Step::EnqueueBarrier { queue } => S::EnqueueBarrier { queue },
        Step::WaitForDrawable { queue, drawable } => S::WaitForDrawable { queue, drawable },
        Step::SignalDrawable { queue, drawable } => S::SignalDrawable { queue, drawable },
        Step::Present { drawable } => S::Present { drawable },
        Step::Host(HostAction { step, .. }) => S::Host(step),
        Step::Commit { .. } | Step::Allocation(_) => return None,
    })
}

fn record(buffer: &CommandBuffer, start: CommandRef, queue: &str, names: &mut Names) -> Recording {
    let mut recording = Recording::new();
    for item in &buffer.items {
        match &item.value {
            Item::SignalEvent { event, value } => recording.signal_event(*event, *value),
            Item::WaitForEvent { event, value } => recording.wait_for_event(*event, *value),
            Item::Allocation(_) => {}
            Item::Pass(pass) => {
                let first = recording.command_count();
                let mut named = Vec::new();
                record_pass(pass, &mut recording, &mut named);
                for command in first..recording.command_count() {
                    let given = named.iter().find(|(number, _)| *number == command);
                    let name = given.map_or_else(|| format!("{}.attachments", pass.name), |g| g.1.clone());
                    let place = CommandName {
                        queue: queue.to_owned(),
                        buffer: buffer.name.clone(),
                        pass: pass.name.clone(),
                        name,
                    };
                    names.commands.insert(CommandRef { command, ..start }, place);
                }
            }
        }
    }
    recording
}

fn record_pass(pass: &Pass, recording: &mut Recording, named: &mut Vec<(u32, String)>) {
    if pass.loads.is_empty() && pass.stores.is_empty() {
        recording.begin_pass(pass.descriptor);
    } else {
        recording.begin_render_pass(pass.descriptor, &pass.loads, &pass.stores);
    }
    for item in &pass.items {
        match &item.value {
            PassItem::Command(command) => {
                let works: Vec<Work<'_>> =
                    command.works.iter().map(|(stage, accesses)| Work::new(*stage, accesses)).collect();
                named.push((recording.command(&works), command.name.clone()));
            }
            PassItem::Barrier(reach, barrier) => recording.barrier(*reach, *barrier),
            PassItem::MemoryBarrierWithScope { after, before, scope } => {
                recording.memory_barrier_with_scope(*after, *before, *scope);
            }
            PassItem::MemoryBarrierWithResources { after, before, resources } => {
                recording.memory_barrier_with_resources(*after, *before, resources);
            }
            PassItem::UpdateFence { fence, after } => recording.update_fence(*fence, *after),
            PassItem::WaitForFence { fence, before } => recording.wait_for_fence(*fence, *before),
            PassItem::Allocation(_) => {}
        }
    }
    recording.end_pass();
}
