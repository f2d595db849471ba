//! What things of a running program are called, and how a change is written in Rust.

use super::window::{Labels, View, place};
use crate::message::{Describe, Spot};
use lockgate_sync::{
    Actor, Barrier, BarrierReach, Change, EventId, FenceId, HostStep, Op, Place, Program, ResourceId, Stages,
    Step, VisibilityOptions,
};

impl Describe for View<'_> {
    fn program(&self) -> &Program {
        View::program(self)
    }

    fn resource(&self, resource: ResourceId) -> String {
        self.label(resource)
    }

    fn actor(&self, actor: Actor) -> Spot {
        self.spot(actor)
    }

    fn operation(&self, at: Place) -> Spot {
        let name = match at {
            Place::Step(step) => {
                self.program().steps.get(step as usize).map_or_else(String::new, |step| self.step(step))
            }
            Place::Op { .. } => self.program().op_at(at).map_or_else(String::new, |op| self.call(op)),
        };
        let at = self.place_origin(at).map_or_else(String::new, place);
        Spot { at, within: String::new(), name: format!("`{name}`") }
    }

    fn change(&self, change: &Change) -> (String, String) {
        let line = change.at().and_then(|at| self.place_origin(at)).map_or_else(String::new, place);
        let code = match change {
            Change::Insert { at, op } => format!("{}{}", self.position(*at), self.call(op)),
            Change::InsertStep { step, .. } => self.step(step),
            Change::Replace { op, .. } => format!("instead: {}", self.call(op)),
            Change::SplitPass { .. } => "encoder.end_encoding(); and begin another pass".into(),
            Change::Remove { at } => format!("remove {}", self.operation(*at).name),
            Change::Track { resource, tracked } => {
                let mode = if *tracked { "Tracked" } else { "Untracked" };
                format!("hazard_tracking_mode: HazardTrackingMode::{mode}, for `{}`", self.label(*resource))
            }
            _ => String::new(),
        };
        (line, code)
    }

    fn not_automatic(&self, resource: ResourceId) -> Option<String> {
        let descriptor = self.program().resources.get(resource.index())?;
        let name = self.label(resource);
        let queue = self.window.queues.iter().find(|(_, queue)| !queue.hazard_tracking);
        match (descriptor.tracked || descriptor.unit, queue) {
            (false, _) => {
                Some(format!("`{name}` is untracked: it says so, or is on a heap that is not tracked"))
            }
            (true, Some((label, _))) => Some(format!("queue {label} does not track")),
            _ => None,
        }
    }
}

impl View<'_> {
    fn position(&self, at: Place) -> &'static str {
        match self.program().op_at(at) {
            Some(Op::EndPass) => "at the end of this pass: ",
            Some(_) => "before this: ",
            None => "at the end: ",
        }
    }

    /// An operation as a call.
    fn call(&self, op: &Op) -> String {
        match op {
            Op::Barrier(reach, barrier) => {
                let call = match reach {
                    BarrierReach::Intrapass => "intrapass_barrier",
                    BarrierReach::Producer => "producer_barrier",
                    BarrierReach::Consumer => "consumer_barrier",
                };
                format!("encoder.{call}({});", fields(barrier))
            }
            Op::MemoryBarrierWithScope { .. } => "encoder.memory_barrier_with_scope(..);".into(),
            Op::MemoryBarrierWithResources { .. } => "encoder.memory_barrier_with_resources(..);".into(),
            Op::UpdateFence { fence, after } => {
                format!("encoder.update_fence(&{}, {});", self.fence(*fence), stages(*after))
            }
            Op::WaitForFence { fence, before } => {
                format!("encoder.wait_for_fence(&{}, {});", self.fence(*fence), stages(*before))
            }
            Op::SignalEvent { event, value } => {
                format!("commands.encode_signal_event(&{}, {value});", self.event(*event))
            }
            Op::WaitForEvent { event, value } => {
                format!("commands.encode_wait_for_event(&{}, {value});", self.event(*event))
            }
            Op::BeginPass(_) => "the pass".into(),
            Op::EndPass => "the end of the pass".into(),
            Op::Command { .. } => "the command".into(),
        }
    }

    fn step(&self, step: &Step) -> String {
        match step {
            Step::SignalEvent { queue, event, value } => {
                format!("{}.signal_event(&{}, {value});", self.queue_name(*queue), self.event(*event))
            }
            Step::WaitForEvent { queue, event, value } => {
                format!("{}.wait_for_event(&{}, {value});", self.queue_name(*queue), self.event(*event))
            }
            Step::Host(HostStep::WaitForCommit { .. }) => "commit.wait_until_completed()?;".into(),
            Step::Host(HostStep::WaitForEvent { event, value }) => {
                format!("{}.wait_until_signaled_value({value}, timeout);", self.event(*event))
            }
            Step::Host(HostStep::SignalEvent { event, value }) => {
                format!("{}.set_signaled_value({value});", self.event(*event))
            }
            _ => "a step".into(),
        }
    }

    fn queue_name(&self, queue: lockgate_sync::QueueId) -> String {
        match self.window.queues.get(queue.index()) {
            Some((label, _)) if is_name(label) => label.clone(),
            _ => "queue".into(),
        }
    }

    fn fence(&self, fence: FenceId) -> String {
        named(&self.window.fences, fence.0, "fence")
    }

    fn event(&self, event: EventId) -> String {
        named(&self.window.events, event.0, "event")
    }
}

/// What a fence or event is called in code: by its label, if that is a name, else by what it is.
fn named(labels: &Labels, number: u32, kind: &str) -> String {
    match labels.get(number) {
        Some(label) if is_name(label) => label.to_owned(),
        Some(_) => kind.to_owned(),
        None if number == labels.count() => format!("new_{kind}"),
        None => format!("new_{kind}_{}", number - labels.count() + 1),
    }
}

fn is_name(label: &str) -> bool {
    let mut letters = label.chars();
    let first = letters.next().is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_');
    first && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn fields(barrier: &Barrier) -> String {
    let mut fields =
        format!("Barrier {{ after: {}, before: {}", stages(barrier.after), stages(barrier.before));
    fields.push_str(match barrier.visibility {
        VisibilityOptions::DEVICE => ", ..Default::default() }",
        visibility if visibility.is_empty() => ", visibility: VisibilityOptions::empty() }",
        VisibilityOptions::RESOURCE_ALIAS => ", visibility: VisibilityOptions::RESOURCE_ALIAS }",
        _ => ", visibility: VisibilityOptions::all() }",
    });
    fields
}

/// Stages as Rust writes them.
fn stages(stages: Stages) -> String {
    if stages.contains(Stages::ALL) {
        return "Stages::ALL".into();
    }
    let names = stages.iter_names().map(|(name, _)| format!("Stages::{name}"));
    let names: Vec<String> = names.collect();
    if names.is_empty() { "Stages::empty()".into() } else { names.join(" | ") }
}
