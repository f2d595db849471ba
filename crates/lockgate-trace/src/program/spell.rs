//! How operations of synchronization are written in a program file.
//!
//! Shared by whoever writes: the writer of whole programs, messages, and fixes. Reading is `record.rs`.

use super::words::{MTL_ALL, SCOPES, VISIBILITY, stage_words};
use lockgate_sync::{
    Barrier, BarrierReach, BarrierScope, EventId, FenceId, HostStep, Op, PassKind, Recording, ResourceId,
    Stages, Step, VisibilityOptions,
};

/// What things are called.
pub(crate) trait Spelling {
    fn fence(&self, fence: FenceId) -> String;
    fn event(&self, event: EventId) -> String;
    fn resource(&self, resource: ResourceId) -> String;
}

/// A step of synchronization inside its queue or inside `host`; nothing for other steps.
pub(crate) fn step(names: &dyn Spelling, step: &Step) -> String {
    match step {
        Step::SignalEvent { event, value, .. } | Step::Host(HostStep::SignalEvent { event, value }) => {
            format!("signal {} value={value}", names.event(*event))
        }
        Step::WaitForEvent { event, value, .. } | Step::Host(HostStep::WaitForEvent { event, value }) => {
            format!("wait {} value={value}", names.event(*event))
        }
        Step::Host(HostStep::WaitForCommit { commit }) => format!("wait-for-commit {commit}"),
        Step::EnqueueBarrier { .. } => "enqueue-barrier".into(),
        Step::WaitForDrawable { drawable, .. } => format!("wait-for-drawable {}", names.resource(*drawable)),
        Step::SignalDrawable { drawable, .. } => format!("signal-drawable {}", names.resource(*drawable)),
        Step::Commit { .. } | Step::Present { .. } | Step::Host(_) => String::new(),
    }
}

/// An operation of a command buffer in a pass of a kind; nothing for passes and commands.
pub(crate) fn operation(names: &dyn Spelling, recording: &Recording, kind: PassKind, op: &Op) -> String {
    match op {
        Op::Barrier(reach, Barrier { after, before, visibility }) => {
            let word = match reach {
                BarrierReach::Intrapass => "intrapass-barrier",
                BarrierReach::Producer => "producer-barrier",
                BarrierReach::Consumer => "consumer-barrier",
            };
            let foreign = |mask: Stages, legal: Stages| {
                mask != Stages::ALL && mask != MTL_ALL && !(mask - legal).is_empty()
            };
            let wrong = *reach == BarrierReach::Intrapass
                && (foreign(*after, kind.intrapass_sources()) || foreign(*before, kind.stages()));
            let misuse = if wrong { " misuse=#true" } else { "" };
            let visibility = match *visibility == VisibilityOptions::DEVICE {
                true => String::new(),
                false => {
                    format!(" visibility={}", mask(visibility.bits(), VISIBILITY, |v| v.bits()))
                }
            };
            format!("{word} {}{visibility}{misuse}", sides(*after, *before))
        }
        Op::MemoryBarrierWithScope { after, before, scope } => {
            let scope = mask(scope.bits(), SCOPES, |scope: BarrierScope| scope.bits());
            format!("memory-barrier {} scope={scope}", sides(*after, *before))
        }
        Op::MemoryBarrierWithResources { after, before, resources } => {
            let list = recording.resources(resources).iter().map(|resource| names.resource(*resource));
            let list: Vec<String> = list.collect();
            let list = if list.is_empty() { "none".into() } else { list.join("|") };
            format!("memory-barrier {} resources={list:?}", sides(*after, *before))
        }
        Op::UpdateFence { fence, after } => {
            format!("update-fence {} after={}", names.fence(*fence), stages(*after))
        }
        Op::WaitForFence { fence, before } => {
            format!("wait-for-fence {} before={}", names.fence(*fence), stages(*before))
        }
        Op::SignalEvent { event, value } => format!("signal-event {} value={value}", names.event(*event)),
        Op::WaitForEvent { event, value } => format!("wait-for-event {} value={value}", names.event(*event)),
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
    if stages == MTL_ALL {
        return "mtl-all".into();
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
