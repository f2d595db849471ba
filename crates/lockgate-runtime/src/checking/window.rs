//! What was committed lately, as a program that the checker can look at.
//!
//! A window of bounded length: the checker's memory does not grow with the program. Its commits and host steps are
//! counted from 0; [`View`] knows what that is in the numbers of the device.

use crate::contents::CommandBufferContents;
use crate::message::Spot;
use lockgate_sync::{
    Actor, CommandRef, CommitId, Engine, Gap, HostStep, MemoryId, Model, Op, Place, Program, QueueDescriptor,
    QueueId, ResourceDescriptor, ResourceId, ResourceKind, Step,
};
use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;
use std::sync::Arc;

/// So many commits are kept.
const COMMITS_MAX: usize = 64;
/// So many are kept however long they are: what the host lets run ahead, and one more.
const COMMITS_MIN: usize = 4;
/// So many operations are kept in more commits than that. Advice looks no further, and what is kept cannot be
/// recorded over: a device that checks would record into memory that no cache knows.
const OPERATIONS_MAX: usize = 8192;
/// So many steps are kept between them.
const STEPS_MAX: usize = 1024;

/// The last steps of a device that checks.
#[derive(Default)]
pub(crate) struct Window {
    steps: VecDeque<Entry>,
    commits: usize,
    /// Operations of all command buffers.
    operations: usize,
    /// Commits and host steps that have left the window.
    commits_before: u64,
    hosts_before: u64,
    pub(crate) queues: Vec<(String, QueueDescriptor)>,
    pub(crate) fences: Labels,
    pub(crate) events: Labels,
}

/// What fences or events are called, by numbers that are never given twice, as long as they are there.
#[derive(Default)]
pub(crate) struct Labels {
    next: u32,
    named: BTreeMap<u32, String>,
}

impl Labels {
    pub(crate) fn add(&mut self, label: &str) -> u32 {
        if !label.is_empty() {
            self.named.insert(self.next, label.to_owned());
        }
        self.next += 1;
        self.next - 1
    }

    pub(crate) fn remove(&mut self, number: u32) {
        self.named.remove(&number);
    }

    /// How many there have been.
    pub(super) fn count(&self) -> u32 {
        self.next
    }

    /// What one is called, empty if nobody said; nothing for a number that was not given yet.
    pub(super) fn get(&self, number: u32) -> Option<&str> {
        (number < self.next).then(|| self.named.get(&number).map_or("", String::as_str))
    }
}

enum Entry {
    Commit { queue: QueueId, buffers: Vec<Arc<CommandBufferContents>> },
    Other(Step),
}

impl Entry {
    fn operations(&self) -> usize {
        match self {
            Entry::Commit { buffers, .. } => buffers.iter().map(|buffer| buffer.recording.ops().len()).sum(),
            Entry::Other(_) => 0,
        }
    }
}

impl Window {
    pub(crate) fn commit(&mut self, queue: QueueId, buffers: &[Arc<CommandBufferContents>]) {
        let entry = Entry::Commit { queue, buffers: buffers.to_vec() };
        self.operations += entry.operations();
        self.steps.push_back(entry);
        self.commits += 1;
        self.shorten();
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.steps.push_back(Entry::Other(step));
        self.shorten();
    }

    /// The last commit was refused.
    pub(crate) fn take_back(&mut self) {
        if let Some(entry @ Entry::Commit { .. }) = self.steps.pop_back() {
            self.operations -= entry.operations();
            self.commits -= 1;
        }
    }

    fn is_too_long(&self) -> bool {
        let commits = if self.operations > OPERATIONS_MAX { COMMITS_MIN } else { COMMITS_MAX };
        self.commits > commits || self.steps.len() > STEPS_MAX
    }

    fn shorten(&mut self) {
        while self.is_too_long()
            && let Some(entry) = self.steps.pop_front()
        {
            self.operations -= entry.operations();
            match entry {
                Entry::Commit { .. } => {
                    self.commits -= 1;
                    self.commits_before += 1;
                }
                Entry::Other(Step::Host(_)) => self.hosts_before += 1,
                Entry::Other(_) => {}
            }
        }
    }

    /// The window as the checker sees it.
    pub(crate) fn view<'a>(&'a self, engine: &'a Engine, model: Model, labels: &'a [String]) -> View<'a> {
        View { window: self, engine, model, labels, program: OnceCell::new() }
    }
}

/// A resource that is gone: it meets nobody.
fn gone() -> ResourceDescriptor {
    let (kind, memory) = (ResourceKind::Buffer, MemoryId(u32::MAX));
    ResourceDescriptor { kind, memory, offset: 0, size: 1, tracked: false, unit: false }
}

/// A wait for a commit counts from the first commit of the window.
fn renumbered(step: &Step, commits_before: u64) -> Step {
    match *step {
        Step::Host(HostStep::WaitForCommit { commit }) => {
            let commit = commit.checked_sub(commits_before).unwrap_or(u64::MAX);
            Step::Host(HostStep::WaitForCommit { commit })
        }
        ref other => other.clone(),
    }
}

/// The window with names and places, and as a program once somebody asks for one.
pub(crate) struct View<'a> {
    pub(super) window: &'a Window,
    pub(super) engine: &'a Engine,
    model: Model,
    labels: &'a [String],
    program: OnceCell<Program>,
}

impl<'a> View<'a> {
    pub(super) fn program(&self) -> &Program {
        self.program.get_or_init(|| self.build())
    }

    fn build(&self) -> Program {
        let mut program = Program { model: self.model, ..Program::new() };
        let resources = (0..self.labels.len() as u32).map(|id| self.engine.resource(ResourceId(id)).cloned());
        program.resources = resources.map(|resource| resource.unwrap_or_else(gone)).collect();
        let memories = program.resources.iter().map(|resource| resource.memory.0.saturating_add(1));
        program.memories = memories.filter(|count| *count < u32::MAX).max().unwrap_or(0);
        program.queues = self.window.queues.iter().map(|(_, queue)| *queue).collect();
        program.fences = self.window.fences.count();
        program.events = self.window.events.count();
        let steps = self.window.steps.iter().map(|entry| match entry {
            Entry::Other(step) => renumbered(step, self.window.commits_before),
            Entry::Commit { queue, buffers } => {
                let buffers = buffers.iter().map(|contents| Arc::new(contents.recording.clone())).collect();
                Step::Commit { queue: *queue, buffers }
            }
        });
        program.steps = steps.collect();
        program
    }

    pub(super) fn label(&self, resource: ResourceId) -> String {
        match self.labels.get(resource.index()).map(String::as_str) {
            None | Some("") => format!("resource {}", resource.0),
            Some(label) => label.to_owned(),
        }
    }

    /// An actor of the device in the numbers of the window; one that has left it gets a number that nobody has.
    pub(super) fn local(&self, actor: Actor) -> Actor {
        match actor {
            Actor::Command(command) => {
                let commit = command.commit.0.checked_sub(self.window.commits_before);
                Actor::Command(CommandRef { commit: CommitId(commit.unwrap_or(u64::MAX)), ..command })
            }
            Actor::Host { step } => {
                Actor::Host { step: step.checked_sub(self.window.hosts_before).unwrap_or(u64::MAX) }
            }
            other => other,
        }
    }

    /// The other way round.
    pub(super) fn absolute(&self, actor: Actor) -> Actor {
        match actor {
            Actor::Command(command) => {
                let commit = CommitId(command.commit.0.saturating_add(self.window.commits_before));
                Actor::Command(CommandRef { commit, ..command })
            }
            Actor::Host { step } => Actor::Host { step: step.saturating_add(self.window.hosts_before) },
            other => other,
        }
    }

    fn buffers(&self, commit: CommitId) -> Option<(QueueId, &'a [Arc<CommandBufferContents>])> {
        let commits = self.window.steps.iter().filter_map(|entry| match entry {
            Entry::Commit { queue, buffers } => Some((*queue, buffers.as_slice())),
            Entry::Other(_) => None,
        });
        commits.into_iter().nth(usize::try_from(commit.0).ok()?)
    }

    /// The contents of the command buffer of a command.
    pub(super) fn contents_of(&self, command: CommandRef) -> Option<&'a CommandBufferContents> {
        self.buffers(command.commit)?.1.get(command.buffer as usize).map(|contents| &**contents)
    }

    /// The contents of a command buffer of a step.
    pub(super) fn contents(&self, step: u32, buffer: u32) -> Option<&'a CommandBufferContents> {
        match self.window.steps.get(step as usize)? {
            Entry::Commit { buffers, .. } => buffers.get(buffer as usize).map(|contents| &**contents),
            Entry::Other(_) => None,
        }
    }

    /// The queue of an actor in the numbers of the device.
    pub(super) fn queue_of(&self, actor: Actor) -> Option<QueueId> {
        match self.local(actor) {
            Actor::Command(command) => self.buffers(command.commit).map(|(queue, _)| queue),
            _ => None,
        }
    }

    /// Where the two accesses of a gap were recorded.
    pub(super) fn origins(&self, gap: &Gap) -> Vec<&'static Location<'static>> {
        let sides = [gap.earlier.actor, gap.later.actor];
        sides.into_iter().filter_map(|actor| self.origin(self.local(actor))).collect()
    }

    fn origin(&self, actor: Actor) -> Option<&'static Location<'static>> {
        let Actor::Command(command) = actor else { return None };
        self.buffers(command.commit)?.1.get(command.buffer as usize)?.command_origin(command.command)
    }

    /// What a command of the window is called.
    pub(super) fn spot(&self, actor: Actor) -> Spot {
        let Actor::Command(command) = actor else {
            return Spot { within: "host".into(), ..Spot::default() };
        };
        let found = self.buffers(command.commit);
        let Some((queue, contents)) =
            found.and_then(|(queue, list)| Some((queue, list.get(command.buffer as usize)?)))
        else {
            return Spot { name: "an earlier command".into(), ..Spot::default() };
        };
        let at = contents.command_origin(command.command).map_or_else(String::new, place);
        let pass = contents.passes().iter().find(|pass| pass.commands.contains(&command.command));
        let pass = pass.map_or("", |pass| contents.pass_label(pass));
        let mut within = format!("queue {}", self.queue(queue));
        if !pass.is_empty() {
            within.push_str(&format!(", pass {pass}"));
        }
        Spot { at, within, name: contents.command_label(command.command).to_owned() }
    }

    pub(super) fn queue(&self, queue: QueueId) -> String {
        match self.window.queues.get(queue.index()).map(|(label, _)| label.as_str()) {
            None | Some("") => queue.0.to_string(),
            Some(label) => label.to_owned(),
        }
    }

    /// Where the operation of a place was recorded. Commands and operations know theirs; the end of a pass is that of
    /// its begin.
    pub(super) fn place_origin(&self, place: Place) -> Option<&'static Location<'static>> {
        let Place::Op { step, buffer, op } = place else { return None };
        let contents = self.contents(step, buffer)?;
        match contents.recording.ops().get(op as usize) {
            Some(Op::Command { command, .. }) => contents.command_origin(*command),
            _ => contents.operation_origin(op),
        }
    }
}

/// A place as messages write it: file and line.
pub(super) fn place(at: &'static Location<'static>) -> String {
    format!("{}:{}", at.file(), at.line())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sync::PassDescriptor;

    fn committed(window: &mut Window, operations: usize) {
        let mut contents = CommandBufferContents::default();
        for _ in 0..operations / 2 {
            contents.recording.begin_pass(PassDescriptor::compute());
            contents.recording.end_pass();
        }
        window.commit(QueueId(0), &[Arc::new(contents)]);
    }

    #[test]
    fn long_commits_leave_sooner_than_short_ones() {
        let mut window = Window::default();
        (0..COMMITS_MAX + 3).for_each(|_| committed(&mut window, 2));
        assert_eq!((window.commits, window.commits_before), (COMMITS_MAX, 3));
        (0..COMMITS_MIN + 1).for_each(|_| committed(&mut window, OPERATIONS_MAX));
        assert_eq!((window.commits, window.operations), (COMMITS_MIN, COMMITS_MIN * OPERATIONS_MAX));
        window.take_back();
        assert_eq!(
            (window.commits, window.operations),
            (COMMITS_MIN - 1, (COMMITS_MIN - 1) * OPERATIONS_MAX)
        );
        committed(&mut window, 2);
        assert_eq!(window.commits, COMMITS_MIN);
    }
}
