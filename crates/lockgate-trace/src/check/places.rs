//! Where operations and commands of the model stand in the text of a program file.
//!
//! Deliberately absent: names, which are `Names`, and editing the text (`edit.rs`). Tested through `edit.rs`.

use crate::program::file::{CommandBuffer, Item, Pass, PassItem, ProgramFile, Step};
use lockgate_sync::{Op, Place, Program, Recording};
use std::ops::Range;

/// What stands at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A node of its own: its name stands here.
    Node(Range<usize>),
    /// The beginning of the pass whose node has its name here.
    Begin(Range<usize>),
    /// The end of that pass.
    End(Range<usize>),
    /// Loads or stores of its attachments.
    Attachments(Range<usize>),
}

impl Spot {
    /// The node: where its name stands.
    pub(crate) fn node(&self) -> &Range<usize> {
        match self {
            Spot::Node(at) | Spot::Begin(at) | Spot::End(at) | Spot::Attachments(at) => at,
        }
    }
}

/// All places of a program in its file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    steps: Vec<StepPlaces>,
}

#[derive(Clone, Debug)]
struct StepPlaces {
    span: Range<usize>,
    /// The node of each command buffer, its operations, and the passes that they are in.
    buffers: Vec<(Range<usize>, Vec<Spot>)>,
}

impl Places {
    pub(crate) fn of(file: &ProgramFile, program: &Program) -> Places {
        let steps = file.steps.iter().filter(|step| !matches!(step.value, Step::Allocation(_)));
        let steps = steps.zip(&program.steps).map(|(step, model)| {
            let buffers = match (&step.value, model) {
                (Step::Commit { buffers, .. }, lockgate_sync::Step::Commit { buffers: recorded, .. }) => {
                    let pairs = buffers.iter().zip(recorded);
                    pairs
                        .map(|(buffer, recorded)| (buffer.span.clone(), operations(buffer, recorded)))
                        .collect()
                }
                _ => Vec::new(),
            };
            StepPlaces { span: step.span.clone(), buffers }
        });
        Places { steps: steps.collect() }
    }

    /// Where the node of a step stands.
    pub(crate) fn step(&self, step: u32) -> Option<&Range<usize>> {
        self.steps.get(step as usize).map(|step| &step.span)
    }

    /// How many steps the program has.
    pub(crate) fn step_count(&self) -> u32 {
        self.steps.len() as u32
    }

    /// The node of a command buffer.
    pub(crate) fn buffer(&self, step: u32, buffer: u32) -> Option<&Range<usize>> {
        Some(&self.steps.get(step as usize)?.buffers.get(buffer as usize)?.0)
    }

    /// What stands at a place inside a command buffer.
    pub(crate) fn operation(&self, step: u32, buffer: u32, op: u32) -> Option<&Spot> {
        self.steps.get(step as usize)?.buffers.get(buffer as usize)?.1.get(op as usize)
    }

    /// The text that a place is about.
    pub(crate) fn span(&self, place: Place) -> Option<&Range<usize>> {
        match place {
            Place::Step(step) => self.step(step),
            Place::Op { step, buffer, op } => self.operation(step, buffer, op).map(Spot::node),
        }
    }
}

/// What each operation of a recording is in the file. Loads of attachments are the first command of a pass, stores
/// the last; everything else stands in the order of the file.
fn operations(buffer: &CommandBuffer, recording: &Recording) -> Vec<Spot> {
    let mut items = buffer.items.iter().filter(|item| !matches!(item.value, Item::Allocation(_)));
    let mut spots = Vec::with_capacity(recording.ops().len());
    let mut rest = recording.ops();
    while let Some((op, after)) = rest.split_first() {
        rest = after;
        let Some(item) = items.next() else { break };
        match (&item.value, op) {
            (Item::Pass(pass), Op::BeginPass(_)) => {
                let length = rest.iter().position(|op| matches!(op, Op::EndPass)).unwrap_or(rest.len());
                spots.push(Spot::Begin(pass.span.clone()));
                spots.extend(in_pass(pass, &rest[..length]));
                spots.push(Spot::End(pass.span.clone()));
                rest = rest.get(length + 1..).unwrap_or(&[]);
            }
            _ => spots.push(Spot::Node(item.span.clone())),
        }
    }
    spots
}

fn in_pass(pass: &Pass, ops: &[Op]) -> Vec<Spot> {
    let command = |op: &Op| matches!(op, Op::Command { .. });
    let load = ops.iter().position(command).filter(|_| !pass.loads.is_empty());
    let store = ops.iter().rposition(command).filter(|_| !pass.stores.is_empty());
    let mut items = pass.items.iter().filter(|item| !matches!(item.value, PassItem::Allocation(_)));
    let spot = |at: usize| match Some(at) == load || Some(at) == store {
        true => Spot::Attachments(pass.span.clone()),
        false => items.next().map_or(Spot::End(pass.span.clone()), |item| Spot::Node(item.span.clone())),
    };
    (0..ops.len()).map(spot).collect()
}
