//! What was found out before is taken over when the same commits come again.
//!
//! What an engine finds out about a commit depends on the commits whose end the host has not seen, and on nothing
//! before them: that is behind the host, and so behind everything that is still to come. These commits are the *window*.
//! If the same stood behind the same window before, its vertices are written out again under new names, and the engine
//! itself learns of the commit when something comes up that it has to know it for, or never.
//!
//! Deliberately absent: drawables, and events where it is not plain which signal a wait waits for (`events.rs`); with them
//! the engine does all by itself, until the host has seen everything end. Tested in `tests/recall.rs`, and as a law in `tests/laws.rs` of the
//! test suite.

mod events;
mod template;

use super::Engine;
use super::linear::ItemKind;
use crate::{CommitId, HostStep, Publishes, QueueId, Recorded, ResourceId, SyncKind, SyncOp, VertexId};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::sync::Arc;
pub(crate) use template::Again;
use template::{Name, Said, Saying, Setting, Size, Template, Told};

/// Elements beyond which nothing is looked up, and beyond which the window is given up.
const LOOKED_UP_MAX: usize = 16;
const WINDOW_MAX: usize = 64;
/// What is kept: sayings, what was found out about them, and operations in all of them.
const SAID_MAX: usize = 32;
const TEMPLATES_MAX: usize = 64;
const OPS_MAX: usize = 1 << 17;

/// A commit, a signal, a wait or an access of the host, of whose end the host does not know yet.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    /// What it is; nothing if it was not kept. Then the engine knows of it.
    told: Option<Arc<Told>>,
    /// Whether whoever waits for it has waited for the whole window, as far as is known.
    covers: bool,
    name: Name,
    /// Its vertices.
    base: u64,
    end: u64,
    /// What the host had behind it, as one vertex.
    host: Option<VertexId>,
    retired: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Recall {
    /// Whether the window is all that matters. Otherwise the engine does everything.
    on: bool,
    window: VecDeque<Element>,
    /// How many of the window, from its front, the engine knows of.
    known: usize,
    /// What else the engine knows of is over, and nothing of the window.
    stale: bool,
    /// What the host has behind it now.
    host: SmallVec<[VertexId; 2]>,
    said: VecDeque<Arc<Said>>,
    templates: VecDeque<Arc<Template>>,
    /// Sizes of what was not kept: what comes once only shall cost nothing.
    sizes: VecDeque<Size>,
    /// The host has waited since it was last asked whether it has seen everything.
    waited: bool,
    /// How often something was found.
    pub(crate) recalled: u64,
}

/// Keeps a list short, the latest first.
fn push<T>(list: &mut VecDeque<T>, max: usize, item: T) {
    list.truncate(max - 1);
    list.push_front(item);
}

/// Forgets the oldest that are too much together.
fn keep<T>(list: &mut VecDeque<T>, ops: impl Fn(&T) -> usize) {
    let mut sum = 0;
    list.retain(|item| {
        sum += ops(item);
        sum <= OPS_MAX
    });
}

impl Recall {
    /// Nothing has happened yet.
    pub(crate) fn new() -> Recall {
        Recall { on: true, ..Recall::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.window.len()
    }

    pub(crate) fn commit(
        &mut self,
        engine: &mut Engine,
        queue: QueueId,
        buffers: &[Arc<dyn Recorded>],
    ) -> CommitId {
        let events = buffers.iter().any(|buffer| buffer.recording().has_events());
        if events || self.window.len() >= WINDOW_MAX {
            self.leave(engine);
        } else if !self.on && std::mem::take(&mut self.waited) && engine.is_behind_host() {
            self.enter(engine);
        }
        if !self.on {
            return engine.take_commit(queue, buffers);
        }
        let commit = CommitId(engine.next_commit);
        self.say(engine, &Saying::Commit { queue, buffers }, Name::Commit(commit));
        commit
    }

    /// A step of the host. Returns whether it could be taken.
    pub(crate) fn host(&mut self, engine: &mut Engine, step: HostStep) -> bool {
        match step {
            HostStep::WaitForCommit { commit } if self.on && self.wait(engine, CommitId(commit)) => {
                engine.pass_host_step();
                return true;
            }
            HostStep::Access(_) | HostStep::AccessWhenIdle(_) if self.on => {
                let number = Name::Step(engine.host.steps);
                self.host = SmallVec::from_slice(&[self.say(engine, &Saying::Host(step), number)]);
                self.drop_loose();
                return true;
            }
            HostStep::WaitForEvent { event, value } if self.on => {
                if let Some(done) = self.host_wait(engine, event, value) {
                    engine.pass_host_step();
                    return done;
                }
            }
            _ => {}
        }
        self.leave(engine);
        self.waited = true;
        engine.take_host(step)
    }

    /// Something comes that is not looked up: from here on the engine does everything.
    pub(crate) fn leave(&mut self, engine: &mut Engine) {
        if !self.on {
            return;
        }
        self.catch_up(engine);
        engine.set_host_waits(&self.host);
        self.window.clear();
        self.known = 0;
        self.on = false;
    }

    fn enter(&mut self, engine: &mut Engine) {
        self.host = engine.host.gate.waits.iter().map(|edge| edge.from).collect();
        self.on = true;
        self.stale = true;
    }

    pub(crate) fn retire(&mut self, commit: CommitId) {
        let own = self.window.iter_mut().find(|own| own.name == Name::Commit(commit));
        own.into_iter().for_each(|own| own.retired = true);
    }

    /// Resources are about to go: what the engine does not know of yet may name them.
    pub(crate) fn remove(&mut self, engine: &mut Engine, gone: impl Fn(&Engine, ResourceId) -> bool) {
        let names = |own: &Element| {
            own.told.as_ref().is_some_and(|own| own.said.resources().any(|resource| gone(engine, resource)))
        };
        if self.window.iter().any(names) {
            self.leave(engine);
        }
    }

    /// An id that was used before now means something else.
    pub(crate) fn forget_all(&mut self, engine: &mut Engine) {
        self.leave(engine);
        self.said.clear();
        self.templates.clear();
        self.waited = true;
    }

    /// Finds out what comes of a saying, or remembers it. Returns its last vertex.
    fn say(&mut self, engine: &mut Engine, saying: &Saying<'_>, name: Name) -> VertexId {
        let host = self.one_host(engine);
        let short = self.window.len() <= LOOKED_UP_MAX;
        let is = |own: &Arc<Template>| own.is_behind(host, &self.window) && own.told.said.is(saying);
        let found = if short { self.templates.iter().position(is) } else { None };
        let base = engine.out.next;
        let (told, covers) = match found.and_then(|at| self.templates.remove(at)) {
            Some(template) => {
                template.write(&Setting { base, name, host, window: &self.window }, &mut engine.out);
                engine.pass(name);
                self.recalled += 1;
                let found = (Some(template.told.clone()), template.covers);
                self.templates.push_front(template);
                found
            }
            None => self.find_out(engine, saying, name, host),
        };
        let end = engine.out.next;
        self.window.push_back(Element { told, covers, name, base, end, host, retired: false });
        VertexId(end - 1)
    }

    /// What it is, if that is kept, and whether it covers the window.
    fn find_out(
        &mut self,
        engine: &mut Engine,
        saying: &Saying<'_>,
        name: Name,
        host: Option<VertexId>,
    ) -> (Option<Arc<Told>>, bool) {
        let said = self.learn(saying);
        let all_told = self.window.iter().all(|own| own.told.is_some());
        let keeps = said.is_some() && all_told && self.window.len() <= LOOKED_UP_MAX;
        // What is kept is found out from the window alone, so that it can be relied on when that comes again.
        if keeps {
            self.stale = true;
            self.known = 0;
        }
        let base = engine.out.next;
        let from = (engine.out.graph.vertices.len(), engine.out.graph.edges.len());
        let complaints = (engine.out.gaps.len(), engine.out.misuse.len());
        self.catch_up(engine);
        engine.set_host_waits(host.as_slice());
        match *saying {
            Saying::Commit { queue, buffers } => _ = engine.take_commit(queue, buffers),
            Saying::Host(step) => _ = engine.take_host(step),
            Saying::Event(_) => engine.take_event(name),
        }
        self.known = self.window.len() + 1;
        let Some(said) = said else { return (None, false) };
        let covers = engine.covers(name);
        let setting = Setting { base, name, host, window: &self.window };
        let clean = complaints == (engine.out.gaps.len(), engine.out.misuse.len());
        let graph = Some(&engine.out.graph).filter(|_| keeps && clean);
        let template = graph.and_then(|graph| Template::new(said.clone(), &setting, graph, from.0, covers));
        let Some(template) = template.map(Arc::new) else {
            return (Some(Arc::new(Told::new(said, base, &engine.out.graph.vertices[from.0..]))), covers);
        };
        // It is said as it will be said again, and the engine learns of that when it has to.
        engine.out.graph.vertices.truncate(from.0);
        engine.out.graph.edges.truncate(from.1);
        template.write(&setting, &mut engine.out);
        self.stale = true;
        self.known = 0;
        let told = template.told.clone();
        push(&mut self.templates, TEMPLATES_MAX, template);
        keep(&mut self.templates, |own| own.told.said.ops());
        (Some(told), covers)
    }

    /// Keeps a saying, if as much was said before.
    fn learn(&mut self, saying: &Saying<'_>) -> Option<Arc<Said>> {
        if let Some(at) = self.said.iter().position(|own| own.is(saying)) {
            let said = self.said.remove(at)?;
            self.said.push_front(said.clone());
            return Some(said);
        }
        if let Some(size) = saying.size()
            && (size.ops > OPS_MAX || !self.sizes.contains(&size))
        {
            push(&mut self.sizes, SAID_MAX, size);
            return None;
        }
        let said = Arc::new(Said::new(saying));
        push(&mut self.said, SAID_MAX, said.clone());
        keep(&mut self.said, |own| own.ops());
        self.said.front().cloned()
    }

    /// What the host has behind it, as one vertex.
    fn one_host(&mut self, engine: &mut Engine) -> Option<VertexId> {
        if self.host.len() > 1 {
            let by = SyncOp { kind: SyncKind::Commit, at: None };
            self.host = SmallVec::from_slice(&[engine.out.join(&self.host, by)]);
        }
        self.host.first().copied()
    }

    /// Lets the engine know of the whole window.
    fn catch_up(&mut self, engine: &mut Engine) {
        if std::mem::take(&mut self.stale) {
            engine.forget();
            self.forget_signals(engine);
        }
        for own in self.window.iter().skip(self.known) {
            let Some(told) = &own.told else { continue };
            engine.set_host_waits(own.host.as_slice());
            engine.take_again(told, own);
        }
        self.known = self.window.len();
    }

    /// The host has seen a commit end. Returns `false` if the engine has to find out what that means.
    fn wait(&mut self, engine: &mut Engine, commit: CommitId) -> bool {
        if !engine.is_taken(commit) {
            return false;
        }
        // What is not in the window was waited for before.
        let Some(at) = self.window.iter().position(|own| own.name == Name::Commit(commit)) else {
            return true;
        };
        self.see(engine, at, |engine| engine.wait_for_commit(commit))
    }

    /// The host has seen something of the window end, and with it all that came before. `tell` lets the engine know.
    /// Returns `false` if the engine has to find out what that means.
    fn see(&mut self, engine: &mut Engine, at: usize, tell: impl FnOnce(&mut Engine)) -> bool {
        let own = &self.window[at];
        if at > 0 && !own.covers {
            return false;
        }
        if self.host.as_slice() == own.host.as_slice() {
            self.host.clear();
        }
        self.host.push(VertexId(own.end - 1));
        self.window.drain(..=at);
        match self.known.checked_sub(at + 1) {
            Some(known) if known > 0 => {
                self.known = known;
                tell(engine);
            }
            _ => {
                self.known = 0;
                self.stale = true;
            }
        }
        self.drop_loose();
        true
    }

    /// What the host did itself is behind it, and signals and waits that have nothing before them order nothing.
    fn drop_loose(&mut self) {
        while matches!(self.window.front(), Some(own) if !matches!(own.name, Name::Commit(_))) {
            self.window.pop_front();
            self.known = self.known.saturating_sub(1);
        }
        self.stale |= self.known == 0;
    }
}

impl Engine {
    /// Takes something whose vertices were handed out before.
    fn take_again(&mut self, told: &Arc<Told>, own: &Element) {
        let complaints = (self.out.gaps.len(), self.out.misuse.len());
        let counts = (self.next_commit, self.host.steps);
        self.out.again = Some(Again::new(told.clone(), own.base));
        match (&*told.said, own.name) {
            (Said::Commit { queue, buffers, .. }, Name::Commit(commit)) => {
                self.next_commit = commit.0;
                let buffers: Vec<Arc<dyn Recorded>> =
                    buffers.iter().map(|buffer| buffer.clone() as Arc<dyn Recorded>).collect();
                self.take_commit(*queue, &buffers);
                if own.retired {
                    self.retire_taken(commit);
                }
            }
            (Said::Host(step), Name::Step(number)) => {
                self.host.steps = number;
                self.take_host(*step);
            }
            (Said::Event(_), name) => self.take_event(name),
            _ => {}
        }
        self.out.again = None;
        (self.next_commit, self.host.steps) = counts;
        self.out.gaps.truncate(complaints.0);
        self.out.misuse.truncate(complaints.1);
    }

    /// Counts something that is taken later, or never.
    fn pass(&mut self, name: Name) {
        match name {
            Name::Commit(_) => {
                self.next_commit += 1;
                self.next_step += 1;
            }
            Name::Step(_) => self.pass_host_step(),
            Name::Signal { .. } | Name::Wait { .. } => self.next_step += 1,
        }
    }

    fn take_event(&mut self, name: Name) {
        match name {
            Name::Signal { queue, event, value, .. } => {
                self.take_item(queue, ItemKind::Signal { event, value })
            }
            Name::Wait { queue, event, value } => self.take_item(queue, ItemKind::Wait { event, value }),
            _ => {}
        }
    }

    /// Whether who waits for it has waited for everything.
    fn covers(&mut self, name: Name) -> bool {
        let waited = match name {
            Name::Commit(commit) => self.commits.get_mut(&commit).map(|state| state.sources.behind().clone()),
            Name::Signal { event, .. } => self.last_signal(event).cloned(),
            _ => None,
        };
        waited.is_some_and(|waited| self.covers_all(&waited))
    }

    fn pass_host_step(&mut self) {
        self.host.steps += 1;
        self.next_step += 1;
    }

    /// The host has exactly these vertices behind it, as far as edges go.
    fn set_host_waits(&mut self, vertices: &[VertexId]) {
        let by = SyncOp { kind: SyncKind::Commit, at: None };
        let edge = |&from| crate::Edge { from, by, publishes: Publishes::Device };
        self.host.gate.waits.clear();
        self.host.gate.waits.extend(vertices.iter().map(edge));
        self.host.shared = None;
    }
}
