//! Fixes written back into the file: each change of the model as an edit of the text.
//!
//! What cannot be written is refused by name, never left out. Tested in `tests/text.rs` of `lockgate-testsuite`: a
//! file that was fixed is read again and checked to be silent.

use super::Checked;
use super::describe::quoted;
use super::places::Spot;
use super::text::Text;
use crate::program::spell::{self, Spelling};
use lockgate_sync::{Change, EventId, FenceId, Fix, HostStep, Op, Place, QueueKind, Step};
use std::collections::{BTreeMap, BTreeSet};

/// A changed text, and what could not be changed.
///
/// ```
/// let repair = lockgate_trace::Repair { text: "buffer A size=4\n".into(), refused: Vec::new() };
/// assert!(repair.refused.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The text with the changes.
    pub text: String,
    /// Changes that have no place in the text, each with the reason.
    pub refused: Vec<String>,
}

impl Checked {
    /// The text of the file with fixes of the report. Everything else of it stays as it is.
    pub fn repaired<'a>(&self, fixes: impl IntoIterator<Item = &'a Fix>) -> Repair {
        let mut refused = Vec::new();
        let Some(mut text) = Text::new(self.source.text()) else {
            return Repair {
                text: self.source.text().to_owned(),
                refused: vec!["the file is not KDL".into()],
            };
        };
        // Changes of one place are written together, in the order in which the model applies them.
        let mut at: BTreeMap<Place, Vec<&Change>> = BTreeMap::new();
        let mut new = BTreeMap::new();
        for change in fixes.into_iter().flat_map(|fix| &fix.changes) {
            self.declares(change, &mut new);
            match (change.at(), change) {
                (Some(place), _) => at.entry(place).or_default().push(change),
                (None, Change::Track { resource, tracked }) => {
                    let value = if *tracked { "tracked" } else { "untracked" };
                    match self.resource_node(&text, resource.index()) {
                        Some(node) => text.set(node, "tracking", value),
                        None => refused.push("the node of a resource was not found".into()),
                    }
                }
                _ => {}
            }
        }
        self.declare(new.into_keys(), &mut text);
        let splits =
            |changes: &[&Change]| changes.iter().any(|change| matches!(change, Change::SplitPass { .. }));
        // The last split of a pass first: the others know then that another half follows.
        let mut halved = BTreeSet::new();
        for (place, changes) in at.iter().rev().filter(|(_, changes)| splits(changes)) {
            refused.extend(self.split(*place, changes, &mut halved, &mut text).err());
        }
        for (place, changes) in at.iter().filter(|(_, changes)| !splits(changes)) {
            refused.extend(self.change_at(*place, changes, &mut text).err());
        }
        Repair { text: text.finish(), refused }
    }

    /// The node whose first argument is the name of a resource.
    fn resource_node(&self, text: &Text<'_>, index: usize) -> Option<usize> {
        let name = *self.resources.get(index)?;
        text.holder(name)
    }

    /// New fences and events that a change needs, as nodes.
    fn declares(&self, change: &Change, new: &mut BTreeMap<String, ()>) {
        let mut fence = |fence: FenceId| {
            if fence.index() >= self.names.fences.len() {
                new.insert(format!("fence {}", self.fence(fence)), ());
            }
        };
        let event = |event: EventId| {
            (event.index() >= self.names.events.len()).then(|| format!("shared-event {}", self.event(event)))
        };
        let named = match change {
            Change::Insert {
                op: Op::UpdateFence { fence: id, .. } | Op::WaitForFence { fence: id, .. },
                ..
            } => {
                fence(*id);
                None
            }
            Change::Insert {
                op: Op::SignalEvent { event: id, .. } | Op::WaitForEvent { event: id, .. },
                ..
            } => event(*id),
            Change::InsertStep {
                step:
                    Step::SignalEvent { event: id, .. }
                    | Step::WaitForEvent { event: id, .. }
                    | Step::Host(HostStep::SignalEvent { event: id, .. } | HostStep::WaitForEvent { event: id, .. }),
                ..
            } => event(*id),
            _ => None,
        };
        new.extend(named.map(|node| (node, ())));
    }

    /// New fences and events stand above the first step.
    fn declare(&self, nodes: impl Iterator<Item = String>, text: &mut Text<'_>) {
        let steps = ["queue", "io-queue", "host", "present", "allocate"];
        let first = text.top().iter().copied().find(|at| steps.contains(&text.name(*at)));
        if let Some(first) = first {
            nodes.for_each(|node| text.insert_before(first, &node));
        }
    }

    fn change_at(&self, place: Place, changes: &[&Change], text: &mut Text<'_>) -> Result<(), String> {
        match place {
            Place::Step(step) => changes.iter().try_for_each(|change| self.change_step(step, change, text)),
            Place::Op { step, buffer, op } => {
                for change in changes {
                    match change {
                        Change::Insert { op: new, .. } => {
                            let node = self.written(place, new);
                            self.insert(step, buffer, op, &node, text)?;
                        }
                        Change::Replace { op: new, .. } => {
                            let node = self.node(place)?;
                            text.replace(node, &self.written(place, new));
                        }
                        Change::Remove { .. } => text.remove(self.node(place)?),
                        _ => {}
                    }
                }
                Ok(())
            }
        }
    }

    /// The node of an operation.
    fn node(&self, place: Place) -> Result<usize, String> {
        match place {
            Place::Op { step, buffer, op } => match self.places.operation(step, buffer, op) {
                Some(Spot::Node(at)) => Ok(at.start),
                _ => Err("an operation has no node of its own".into()),
            },
            Place::Step(step) => {
                self.places.step(step).map(|at| at.start).ok_or_else(|| "a step is not in the file".into())
            }
        }
    }

    /// Writes a node before an operation.
    fn insert(&self, step: u32, buffer: u32, op: u32, node: &str, text: &mut Text<'_>) -> Result<(), String> {
        match self.places.operation(step, buffer, op) {
            Some(Spot::Node(at) | Spot::Begin(at)) => text.insert_before(at.start, node),
            Some(Spot::End(at)) => text.insert_inside(at.start, node),
            // Loads and stores have no node: the next operation that has one stands for them.
            Some(Spot::Attachments(_)) => return self.insert(step, buffer, op + 1, node, text),
            None => match self.places.buffer(step, buffer) {
                Some(at) => text.insert_inside(at.start, node),
                None => return Err(format!("`{node}` has no place in the file")),
            },
        }
        Ok(())
    }

    fn change_step(&self, number: u32, change: &Change, text: &mut Text<'_>) -> Result<(), String> {
        match change {
            Change::Remove { .. } => text.remove(self.node(Place::Step(number))?),
            Change::InsertStep { step, .. } => return self.insert_step(number, step, text),
            _ => {}
        }
        Ok(())
    }

    /// A step goes before the next one of its queue or of the host, or behind the last one if only steps of other
    /// queues stand between. Else it stands where the model has it, in a block of its own.
    fn insert_step(&self, number: u32, step: &Step, text: &mut Text<'_>) -> Result<(), String> {
        let node = spell::step(self, step);
        let own = owner(step);
        let owner_at = |at: u32| self.program.steps.get(at as usize).map(owner);
        if owner_at(number) == Some(own) {
            text.insert_before(self.node(Place::Step(number))?, &node);
            return Ok(());
        }
        let queue = |owner: Option<Owner>| matches!(owner, Some(Owner::Queue(_)));
        let others = |at: &u32| queue(Some(own)) && queue(owner_at(*at));
        let mut before = (0..number).rev();
        let last = before.find(|at| owner_at(*at) == Some(own) || !others(at));
        if let Some(last) = last.filter(|at| owner_at(*at) == Some(own)) {
            text.insert_after(self.node(Place::Step(last))?, &node);
            return Ok(());
        }
        let block = format!("{} {{ {node} }}", self.block_of(own));
        let Ok(next) = self.node(Place::Step(number)) else { return self.append(&block, text) };
        let root = text.root(next);
        let before = number.checked_sub(1).and_then(|at| self.node(Place::Step(at)).ok());
        match before.is_some_and(|before| text.root(before) == root) {
            true => part(text, root, next, &block),
            false => text.insert_before(root, &block),
        }
        Ok(())
    }

    /// What a step stands in at the top level.
    fn block_of(&self, owner: Owner) -> String {
        let Owner::Queue(queue) = owner else { return "host".into() };
        let queue = queue as usize;
        let gpu = self.program.queues.get(queue).is_some_and(|queue| queue.kind == QueueKind::Gpu);
        let name = self.names.queues.get(queue).map_or("", String::as_str);
        format!("{} {}", if gpu { "queue" } else { "io-queue" }, quoted(name))
    }

    fn append(&self, node: &str, text: &mut Text<'_>) -> Result<(), String> {
        let last = text.top().last().copied().ok_or("the file is empty")?;
        text.insert_after(last, node);
        Ok(())
    }

    /// Ends a pass and begins another with the same head: its commands keep their names. `halved` are passes that
    /// are split further down.
    fn split(
        &self,
        place: Place,
        changes: &[&Change],
        halved: &mut BTreeSet<usize>,
        text: &mut Text<'_>,
    ) -> Result<(), String> {
        let at = self.node(place)?;
        let pass = text.parent(at).ok_or("a pass that is split has no node")?;
        if changes.iter().any(|change| matches!(change, Change::Replace { .. } | Change::Remove { .. })) {
            return Err(format!("`{}`: a pass is split there", text.head(at)));
        }
        let last = halved.insert(pass);
        let written = |half: &dyn Fn(&Op) -> bool| -> Vec<String> {
            let inserted = changes.iter().filter_map(|change| match change {
                Change::Insert { op, .. } if half(op) => Some(self.written(place, op)),
                _ => None,
            });
            inserted.collect()
        };
        let between = |op: &Op| matches!(op, Op::SignalEvent { .. } | Op::WaitForEvent { .. });
        let first = |op: &Op| {
            matches!(op, Op::UpdateFence { .. } | Op::Barrier(lockgate_sync::BarrierReach::Producer, _))
        };
        let attachments: Vec<usize> = text.children(pass, "attachment");
        // The second half is a pass of its own, even where the first resumes another.
        let head = text.head(pass).replace(" resuming=#true", "");
        let mut begin = vec![format!("{head} {{")];
        for attachment in &attachments {
            begin.push(reload(text.node(*attachment), last));
        }
        begin.extend(written(&|op| !first(op) && !between(op)));
        let mut nodes = written(&first);
        let (open, close) = (begin.remove(0), "}".to_owned());
        let outer = written(&between);
        // In a pass that stands in one line, everything does.
        let (inner, outside) = (text.indent(at), text.indent(pass));
        let mut all = String::new();
        match (inner, outside) {
            (Some(inner), Some(outside)) => {
                nodes.iter().for_each(|node| all.push_str(&format!("{inner}{node}\n")));
                std::iter::once(&close)
                    .chain(&outer)
                    .for_each(|node| all.push_str(&format!("{outside}{node}\n")));
                all.push_str(&format!("{outside}{open}\n"));
                begin.iter().for_each(|node| all.push_str(&format!("{inner}{node}\n")));
                text.insert_lines(at, &all);
            }
            _ => {
                nodes.push(close);
                let mut line = nodes.join("; ").replace("; }", " }");
                outer.iter().for_each(|node| line.push_str(&format!("; {node}")));
                line.push_str(&format!("; {open} "));
                begin.iter().for_each(|node| line.push_str(&format!("{node}; ")));
                text.insert_text(at, &line);
            }
        }
        for attachment in attachments {
            text.set(attachment, "store", "store");
        }
        Ok(())
    }
}

/// An attachment of a later part: it loads what the part before has stored, and if it is not the last it stores.
fn reload(attachment: &str, last: bool) -> String {
    let kept = |word: &&str| !word.starts_with("load=") && (last || !word.starts_with("store="));
    let mut node = attachment.split_whitespace().filter(kept).collect::<Vec<_>>().join(" ");
    node.push_str(" load=load");
    node
}

/// Ends a block of the top level before one of its nodes and begins it again, with another block in between.
fn part(text: &mut Text<'_>, root: usize, at: usize, block: &str) {
    let head = text.head(root).to_owned();
    match (text.indent(root), text.indent(at)) {
        (Some(indent), Some(_)) => {
            text.insert_lines(at, &format!("{indent}}}\n{indent}{block}\n{indent}{head} {{\n"));
        }
        _ => text.insert_text(at, &format!("}}; {block}; {head} {{ ")),
    }
}

/// Whose step it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Queue(u32),
    Host,
    Display,
}

fn owner(step: &Step) -> Owner {
    match step {
        Step::Commit { queue, .. }
        | Step::SignalEvent { queue, .. }
        | Step::WaitForEvent { queue, .. }
        | Step::EnqueueBarrier { queue }
        | Step::WaitForDrawable { queue, .. }
        | Step::SignalDrawable { queue, .. } => Owner::Queue(queue.0),
        Step::Present { .. } => Owner::Display,
        Step::Host(_) => Owner::Host,
    }
}
