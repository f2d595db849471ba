//! What things of a program file are called in messages, and how a change is written there.

use super::Checked;
use super::places::Spot as Where;
use crate::program::spell::{self, Spelling};
use lockgate_runtime::message::{Describe, Spot};
use lockgate_sync::{
    Actor, Change, EventId, FenceId, Op, PassKind, Place, Program, Recording, ResourceId, Step,
};

impl Spelling for Checked {
    fn fence(&self, fence: FenceId) -> String {
        match self.names.fence(fence) {
            "" => self.new_name("fence", fence.index() + 1 - self.names.fences.len().min(fence.index())),
            name => quoted(name),
        }
    }

    fn event(&self, event: EventId) -> String {
        match self.names.event(event) {
            "" => self.new_name("event", event.index() + 1 - self.names.events.len().min(event.index())),
            name => quoted(name),
        }
    }

    fn resource(&self, resource: ResourceId) -> String {
        quoted(self.names.resource(resource))
    }
}

/// A name as it stands in a file.
pub(super) fn quoted(name: &str) -> String {
    kdl::KdlValue::String(name.to_owned()).to_string()
}

impl Checked {
    /// A name that the file does not use.
    fn new_name(&self, kind: &str, number: usize) -> String {
        let names = [&self.names.resources, &self.names.queues, &self.names.fences, &self.names.events];
        let used = |name: &String| names.iter().any(|list| list.contains(name));
        let mut name = format!("{kind}-{number}");
        while used(&name) {
            name.insert_str(0, "added-");
        }
        name
    }

    /// The kind of the pass that a place is in.
    pub(super) fn pass_kind(&self, place: Place) -> PassKind {
        let Place::Op { step, buffer, op } = place else { return PassKind::Compute };
        let ops = self.program.recording(step, buffer).map_or(&[][..], Recording::ops);
        let before = ops.iter().take(op as usize).rev();
        let kind = before.into_iter().find_map(|op| match op {
            Op::BeginPass(pass) => Some(pass.kind),
            _ => None,
        });
        kind.unwrap_or(PassKind::Compute)
    }

    /// An operation as the file writes it.
    pub(super) fn written(&self, place: Place, op: &Op) -> String {
        let Place::Op { step, buffer, .. } = place else { return String::new() };
        match self.program.recording(step, buffer) {
            Some(recording) => spell::operation(self, recording, self.pass_kind(place), op),
            None => String::new(),
        }
    }

    /// Where somebody touches memory.
    pub(super) fn place_of(&self, actor: Actor) -> Option<Place> {
        match actor {
            Actor::Command(command) => self.commands.get(&command).copied(),
            Actor::Host { step } => self.program.step_of_host(step).map(Place::Step),
            Actor::Display { present } => self.program.step_of_present(present).map(Place::Step),
        }
    }

    fn at(&self, place: Place) -> String {
        self.line(place).map_or_else(String::new, |line| format!("{}:{line}", self.source.name()))
    }

    /// The line of a change: of what it changes, or of what it stands before.
    fn change_line(&self, place: Place) -> String {
        let end = |span: Option<usize>| span.map_or_else(String::new, |at| format!(":{}", self.line_at(at)));
        match place {
            Place::Step(step) if step >= self.places.step_count() => ":end".into(),
            Place::Op { step, buffer, op } if self.places.operation(step, buffer, op).is_none() => {
                end(self.places.buffer(step, buffer).map(|span| span.start))
            }
            _ => self.line(place).map_or_else(String::new, |line| format!(":{line}")),
        }
    }

    /// The command of a place, if one stands there.
    fn command_at(&self, place: Place) -> Option<&str> {
        let Place::Op { step, buffer, .. } = place else { return None };
        let Op::Command { command, .. } = self.program.op_at(place)? else { return None };
        let commits = self.program.steps.iter().take(step as usize);
        let commit = commits.filter(|step| matches!(step, Step::Commit { .. })).count() as u64;
        let commit = lockgate_sync::CommitId(commit);
        Some(self.names.command(lockgate_sync::CommandRef { commit, buffer, command: *command }))
    }

    fn queue_of(&self, step: u32) -> String {
        let queue = match self.program.steps.get(step as usize) {
            Some(
                Step::Commit { queue, .. }
                | Step::SignalEvent { queue, .. }
                | Step::WaitForEvent { queue, .. }
                | Step::EnqueueBarrier { queue }
                | Step::WaitForDrawable { queue, .. }
                | Step::SignalDrawable { queue, .. },
            ) => self.names.queue(*queue),
            Some(Step::Host(_)) => return "host".into(),
            _ => return String::new(),
        };
        format!("queue {queue}")
    }
}

impl Describe for Checked {
    fn program(&self) -> &Program {
        &self.program
    }

    fn resource(&self, resource: ResourceId) -> String {
        self.names.resource(resource).to_owned()
    }

    fn actor(&self, actor: Actor) -> Spot {
        let at = self.place_of(actor).map_or_else(String::new, |place| self.at(place));
        match actor {
            Actor::Command(command) => {
                let name = self.names.command(command).to_owned();
                let queue = self.names.place(command).map_or("", |place| &place.queue);
                Spot { at, within: format!("queue {queue}"), name }
            }
            Actor::Host { .. } => Spot { at, within: "host".into(), name: String::new() },
            Actor::Display { .. } => Spot { at, within: "display".into(), name: String::new() },
        }
    }

    fn operation(&self, place: Place) -> Spot {
        let name = match place {
            Place::Step(step) => {
                self.program.steps.get(step as usize).map_or_else(String::new, |step| spell::step(self, step))
            }
            Place::Op { .. } => match self.command_at(place) {
                Some(command) => command.to_owned(),
                None => self.program.op_at(place).map_or_else(String::new, |op| self.written(place, op)),
            },
        };
        Spot { at: self.at(place), within: self.queue_of(place.step()), name: format!("`{name}`") }
    }

    fn change(&self, change: &Change) -> (String, String) {
        let line = change.at().map_or_else(String::new, |place| self.change_line(place));
        let code = match change {
            Change::Insert { at, op } => format!("{}{}", self.position(*at), self.written(*at, op)),
            Change::InsertStep { step, .. } => {
                let place = match step {
                    Step::Host(_) => "before this, on the host: ".to_owned(),
                    Step::SignalEvent { queue, .. } | Step::WaitForEvent { queue, .. } => {
                        format!("before this, on queue {}: ", self.names.queue(*queue))
                    }
                    _ => "before this: ".to_owned(),
                };
                format!("{place}{}", spell::step(self, step))
            }
            Change::Replace { at, op } => format!("instead: {}", self.written(*at, op)),
            Change::SplitPass { .. } => "end the pass before this and begin another".into(),
            Change::Remove { at } => format!("remove {}", self.operation(*at).name),
            Change::Track { resource, tracked } => {
                let mode = if *tracked { "tracked" } else { "untracked" };
                format!("tracking={mode} for `{}`", self.names.resource(*resource))
            }
            _ => return (line, String::new()),
        };
        (line, code)
    }

    fn not_automatic(&self, resource: ResourceId) -> Option<String> {
        let descriptor = self.program.resources.get(resource.index())?;
        let name = self.names.resource(resource);
        let queue = self.program.queues.iter().position(|queue| !queue.hazard_tracking);
        match (descriptor.tracked || descriptor.unit, queue) {
            (false, _) => Some(format!("`{name}` is untracked")),
            (true, Some(queue)) => Some(format!("queue {} does not track", self.names.queues.get(queue)?)),
            _ => None,
        }
    }
}

impl Checked {
    /// Where an insertion goes relative to the line that is named.
    fn position(&self, place: Place) -> &'static str {
        let Place::Op { step, buffer, op } = place else { return "before: " };
        match self.places.operation(step, buffer, op) {
            Some(Where::End(_)) => "at the end of the pass: ",
            Some(_) => "before this: ",
            None => "at the end of the command buffer: ",
        }
    }
}
