//! The vertices in flight: what each still waits for, and who waits for it.
//!
//! Pure bookkeeping under the scheduler's lock. Vertices that no edge holds back and that are no work complete
//! at once; works become ready. Nothing here runs anything.

use lockgate_runtime::backend::SubmittedBuffer;
use lockgate_runtime::{CommandTiming, CommitReport, Error, ErrorKind};
use lockgate_sync::{CommandRef, CommitId, EventId, Graph, VertexId, VertexKind};
use smallvec::SmallVec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A vertex that has not completed.
struct Node {
    kind: VertexKind,
    /// The works before it, over the life of the device.
    number: u64,
    waits_for: u32,
    successors: SmallVec<[VertexId; 2]>,
    /// Something it waits for has failed: it does not run.
    poisoned: bool,
    done: bool,
}

/// What the observer must be told once the lock is free.
pub(crate) enum Notice {
    Signaled(EventId, u64),
    Completed(CommitId, CommitReport),
    Idle(CommitId),
}

struct Commit {
    buffers: Arc<[SubmittedBuffer]>,
    report: CommitReport,
    /// Works that were submitted and have not ended.
    busy: u64,
}

/// A work that may run.
#[derive(Clone)]
pub(crate) struct ReadyWork {
    pub(crate) vertex: VertexId,
    pub(crate) command: CommandRef,
    pub(crate) buffers: Arc<[SubmittedBuffer]>,
}

/// All vertices in flight.
#[derive(Default)]
pub(crate) struct InFlight {
    /// Vertex ids count up, so a queue that begins at `first` holds them.
    first: u64,
    nodes: VecDeque<Node>,
    commits: BTreeMap<CommitId, Commit>,
    works: u64,
    /// Vertices that nothing holds back and that were not looked at yet.
    open: Vec<VertexId>,
    /// Works that may run, in the order in which they became ready.
    pub(crate) ready: VecDeque<VertexId>,
    pub(crate) notices: Vec<Notice>,
}

impl InFlight {
    pub(crate) fn add_commit(&mut self, commit: CommitId, buffers: Vec<SubmittedBuffer>) {
        let commit_state = Commit { buffers: buffers.into(), report: CommitReport::default(), busy: 0 };
        self.commits.insert(commit, commit_state);
    }

    pub(crate) fn add_graph(&mut self, graph: &Graph) {
        for vertex in &graph.vertices {
            if self.nodes.is_empty() {
                self.first = vertex.id.0;
            }
            let mut waits_for = 0;
            let mut poisoned = false;
            for edge in graph.edges_of(vertex) {
                let Some(node) = self.node_mut(edge.from) else { continue };
                if !node.done {
                    node.successors.push(vertex.id);
                    waits_for += 1;
                } else {
                    poisoned |= node.poisoned;
                }
            }
            if let VertexKind::Work { command, .. } = vertex.kind
                && let Some(commit) = self.commits.get_mut(&command.commit)
            {
                commit.busy += 1;
            }
            let (kind, number, successors) = (vertex.kind, self.works, SmallVec::new());
            self.works += u64::from(matches!(kind, VertexKind::Work { .. }));
            self.nodes.push_back(Node { kind, number, waits_for, successors, poisoned, done: false });
            if waits_for == 0 {
                self.open.push(vertex.id);
            }
        }
        // In recording order, which is what a device does that is free to choose.
        self.open.reverse();
        self.settle();
    }

    /// Whether nothing is left to wait for.
    pub(crate) fn is_idle(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A command buffer of a commit in flight.
    pub(crate) fn buffer(&self, commit: CommitId, buffer: u32) -> Option<SubmittedBuffer> {
        self.commits.get(&commit)?.buffers.get(buffer as usize).cloned()
    }

    pub(crate) fn is_busy(&self, commit: CommitId) -> bool {
        self.commits.get(&commit).is_some_and(|commit| commit.busy > 0)
    }

    /// The place of a work among all works of the device, in recording order.
    pub(crate) fn work_number(&self, vertex: VertexId) -> Option<u64> {
        self.nodes.get(vertex.0.checked_sub(self.first)? as usize).map(|node| node.number)
    }

    /// The command of a ready work.
    pub(crate) fn work(&mut self, vertex: VertexId) -> Option<ReadyWork> {
        let VertexKind::Work { command, .. } = self.node_mut(vertex)?.kind else { return None };
        let buffers = self.commits.get(&command.commit)?.buffers.clone();
        Some(ReadyWork { vertex, command, buffers })
    }

    /// A work has ended, or failed.
    pub(crate) fn ended(&mut self, work: &ReadyWork, timing: CommandTiming, error: Option<Error>) {
        if let Some(commit) = self.commits.get_mut(&work.command.commit) {
            commit.report.commands.push(timing);
            if let Some(error) = &error {
                commit.report.error.get_or_insert_with(|| error.clone());
            }
        }
        if let (Some(node), Some(_)) = (self.node_mut(work.vertex), error) {
            node.poisoned = true;
        }
        self.work_is_over(work.command.commit);
        self.complete(work.vertex);
        self.open.reverse();
        self.settle();
    }

    fn work_is_over(&mut self, commit: CommitId) {
        let Some(state) = self.commits.get_mut(&commit) else { return };
        state.busy -= 1;
        if state.busy == 0 {
            self.notices.push(Notice::Idle(commit));
        }
    }

    fn node_mut(&mut self, id: VertexId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0.checked_sub(self.first)? as usize)
    }

    /// Handles all vertices that nothing holds back: works become ready, all others complete.
    fn settle(&mut self) {
        while let Some(id) = self.open.pop() {
            let Some(node) = self.node_mut(id) else { continue };
            let (kind, poisoned) = (node.kind, node.poisoned);
            match kind {
                VertexKind::Work { .. } if !poisoned => {
                    self.ready.push_back(id);
                    continue;
                }
                VertexKind::Work { command, .. } => self.skip(command),
                VertexKind::Signal { event, value } if !poisoned => {
                    self.notices.push(Notice::Signaled(event, value));
                }
                VertexKind::Complete(commit) => {
                    if let Some(state) = self.commits.remove(&commit) {
                        self.notices.push(Notice::Completed(commit, state.report));
                    }
                }
                _ => {}
            }
            self.complete(id);
        }
        while self.nodes.front().is_some_and(|node| node.done) {
            self.nodes.pop_front();
            self.first += 1;
        }
    }

    /// A work is not run, because something that it waits for has failed.
    fn skip(&mut self, command: CommandRef) {
        if let Some(commit) = self.commits.get_mut(&command.commit) {
            commit.report.error.get_or_insert_with(|| {
                let message = "work was not run: something that it waits for has failed";
                Error::new(ErrorKind::DependencyFailed, message)
            });
        }
        self.work_is_over(command.commit);
    }

    /// A vertex is done; those that waited for it alone are open.
    fn complete(&mut self, id: VertexId) {
        let Some(node) = self.node_mut(id) else { return };
        node.done = true;
        let poisoned = node.poisoned;
        for next in std::mem::take(&mut node.successors) {
            let Some(node) = self.node_mut(next) else { continue };
            node.poisoned |= poisoned;
            node.waits_for -= 1;
            if node.waits_for == 0 {
                self.open.push(next);
            }
        }
    }
}
