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

/// Small works of one commit that one thread takes at once.
#[derive(Default)]
pub(crate) struct Batch {
    /// The commit, and its command buffers.
    pub(crate) of: Option<(CommitId, Arc<[SubmittedBuffer]>)>,
    pub(crate) works: Vec<SmallWork>,
}

/// A work of a [`Batch`].
pub(crate) struct SmallWork {
    pub(crate) vertex: VertexId,
    pub(crate) command: CommandRef,
    /// Whether it waits for the one before it, and for nothing else.
    pub(crate) follows: bool,
}

/// Works of one commit that have ended.
#[derive(Default)]
pub(crate) struct Over {
    pub(crate) commit: Option<CommitId>,
    /// Each with whether it has failed.
    pub(crate) works: Vec<(VertexId, bool)>,
    pub(crate) timing: CommandTiming,
    /// The first failure.
    pub(crate) error: Option<Error>,
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
        self.nodes.reserve(graph.vertices.len());
        // Works of one commit stand together, so that it is looked up once.
        let (mut commit, mut busy) = (CommitId(0), 0);
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
            let (kind, number, successors) = (vertex.kind, self.works, SmallVec::new());
            self.nodes.push_back(Node { kind, number, waits_for, successors, poisoned, done: false });
            let mut runs = false;
            if let VertexKind::Work { command, .. } = kind {
                if command.commit != commit {
                    self.works_are_added(commit, std::mem::take(&mut busy));
                    commit = command.commit;
                }
                busy += 1;
                self.works += 1;
                runs = waits_for == 0 && !poisoned && self.open.is_empty();
            }
            if runs {
                // What `settle` would do with it next.
                self.ready.push_back(vertex.id);
            } else if waits_for == 0 {
                self.open.push(vertex.id);
            }
        }
        self.works_are_added(commit, busy);
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

    /// Takes ready works of one commit, at most `count`, and works that wait for one of these alone. `weigh` says what a
    /// command costs, if it is small; all of them together cost no more than `budget`.
    pub(crate) fn take_batch(
        &mut self,
        batch: &mut Batch,
        count: usize,
        mut budget: u64,
        mut weigh: impl FnMut(&SubmittedBuffer, u32) -> Option<u64>,
    ) {
        let Some(first) = self.ready.front().and_then(|first| self.command(*first)) else { return };
        let Some(buffers) = self.commits.get(&first.commit).map(|commit| commit.buffers.clone()) else {
            return;
        };
        let mut fits = |command: CommandRef| {
            let cost = buffers.get(command.buffer as usize).and_then(|of| weigh(of, command.command));
            let left =
                cost.and_then(|cost| budget.checked_sub(cost)).filter(|_| command.commit == first.commit);
            budget = left.unwrap_or(budget);
            left.is_some()
        };
        for _ in 0..count {
            let Some(&vertex) = self.ready.front() else { break };
            let Some(command) = self.command(vertex).filter(|command| fits(*command)) else { break };
            self.ready.pop_front();
            batch.works.push(SmallWork { vertex, command, follows: false });
            let mut last = vertex;
            while let Some((vertex, command)) = self.follower(last).filter(|(_, command)| fits(*command)) {
                batch.works.push(SmallWork { vertex, command, follows: true });
                last = vertex;
            }
        }
        batch.of = Some((first.commit, buffers)).filter(|_| !batch.works.is_empty());
    }

    /// The only work that waits for a vertex, if it waits for nothing else.
    fn follower(&self, vertex: VertexId) -> Option<(VertexId, CommandRef)> {
        let works =
            self.node(vertex)?.successors.iter().filter_map(|next| Some((*next, self.command(*next)?)));
        let mut works = works.fuse();
        let (next, command) = works.next()?;
        let node = self.node(next)?;
        (works.next().is_none() && node.waits_for == 1 && !node.poisoned).then_some((next, command))
    }

    fn command(&self, vertex: VertexId) -> Option<CommandRef> {
        match self.node(vertex)?.kind {
            VertexKind::Work { command, .. } => Some(command),
            _ => None,
        }
    }

    /// Works have ended, or failed.
    pub(crate) fn ended(&mut self, over: &mut Over) {
        let Some(commit) = over.commit.take() else { return };
        if let Some(state) = self.commits.get_mut(&commit) {
            state.report.commands.push(over.timing);
            if let Some(error) = over.error.take() {
                state.report.error.get_or_insert(error);
            }
        }
        self.works_are_over(commit, over.works.len() as u64);
        for (vertex, failed) in over.works.drain(..) {
            self.complete(vertex, failed);
        }
        self.open.reverse();
        self.settle();
    }

    fn works_are_added(&mut self, commit: CommitId, count: u64) {
        if count > 0
            && let Some(state) = self.commits.get_mut(&commit)
        {
            state.busy += count;
        }
    }

    fn works_are_over(&mut self, commit: CommitId, count: u64) {
        let Some(state) = self.commits.get_mut(&commit) else { return };
        state.busy -= count;
        if state.busy == 0 {
            self.notices.push(Notice::Idle(commit));
        }
    }

    fn node(&self, id: VertexId) -> Option<&Node> {
        self.nodes.get(id.0.checked_sub(self.first)? as usize)
    }

    fn node_mut(&mut self, id: VertexId) -> Option<&mut Node> {
        self.nodes.get_mut(id.0.checked_sub(self.first)? as usize)
    }

    /// Handles all vertices that nothing holds back: works become ready, all others complete.
    fn settle(&mut self) {
        while let Some(id) = self.open.pop() {
            let Some(node) = self.node_mut(id) else { continue };
            let (kind, poisoned, done) = (node.kind, node.poisoned, node.done);
            match kind {
                // It ran in one batch with what it waited for.
                _ if done => continue,
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
            self.complete(id, false);
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
        self.works_are_over(command.commit, 1);
    }

    /// A vertex is done, or has failed; those that waited for it alone are open.
    fn complete(&mut self, id: VertexId, failed: bool) {
        let Some(node) = self.node_mut(id) else { return };
        node.done = true;
        node.poisoned |= failed;
        let poisoned = node.poisoned;
        let successors = std::mem::take(&mut node.successors);
        for next in &successors {
            let Some(node) = self.node_mut(*next) else { continue };
            node.poisoned |= poisoned;
            node.waits_for -= 1;
            if node.waits_for == 0 {
                self.open.push(*next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_sync::{Edge, Publishes, Stage, SyncKind, SyncOp, Vertex};

    const COMMIT: CommitId = CommitId(0);

    /// Works of one commit, each with those it waits for; a work costs its command's number.
    fn in_flight(works: &[&[u64]]) -> InFlight {
        let mut graph = Graph::default();
        let mut add = |kind, from: &mut dyn Iterator<Item = u64>| {
            let start = graph.edges.len() as u32;
            let by = SyncOp { kind: SyncKind::Intrapass, at: None };
            let edge = |from| Edge { from: VertexId(from), by, publishes: Publishes::Device };
            graph.edges.extend(from.map(edge));
            let id = VertexId(graph.vertices.len() as u64);
            graph.vertices.push(Vertex { id, kind, edges: start..graph.edges.len() as u32 });
        };
        for (at, behind) in works.iter().enumerate() {
            let command = CommandRef { commit: COMMIT, buffer: 0, command: at as u32 };
            let kind = VertexKind::Work { command, part: 0, stage: Stage::Dispatch };
            add(kind, &mut behind.iter().copied());
        }
        add(VertexKind::Complete(COMMIT), &mut (0..works.len() as u64));
        let buffer = SubmittedBuffer {
            contents: Arc::default(),
            resources: Vec::new(),
            samplers: Vec::new(),
            pipelines: Vec::new(),
        };
        let mut in_flight = InFlight::default();
        in_flight.add_commit(COMMIT, vec![buffer]);
        in_flight.add_graph(&graph);
        in_flight
    }

    fn take(in_flight: &mut InFlight, count: usize, budget: u64) -> Vec<(u64, bool)> {
        let mut batch = Batch::default();
        in_flight.take_batch(&mut batch, count, budget, |_, command| Some(command.into()));
        batch.works.iter().map(|work| (work.vertex.0, work.follows)).collect()
    }

    fn end(in_flight: &mut InFlight, works: &[(u64, bool)]) {
        let works: Vec<_> = works.iter().map(|(at, failed)| (VertexId(*at), *failed)).collect();
        let failed = works.iter().any(|(_, failed)| *failed);
        let error = failed.then(|| Error::new(ErrorKind::Execution, "failed"));
        in_flight.ended(&mut Over { commit: Some(COMMIT), works, timing: CommandTiming::default(), error });
    }

    fn report(in_flight: &InFlight) -> Option<&CommitReport> {
        in_flight.notices.iter().find_map(|notice| match notice {
            Notice::Completed(_, report) => Some(report),
            _ => None,
        })
    }

    #[test]
    fn a_batch_takes_a_share_of_what_is_ready() {
        let mut works = in_flight(&[&[], &[], &[]]);
        assert_eq!(take(&mut works, 2, 100), [(0, false), (1, false)]);
        assert_eq!(take(&mut works, 2, 100), [(2, false)]);
        assert!(take(&mut works, 2, 100).is_empty());
    }

    #[test]
    fn a_batch_costs_no_more_than_its_budget() {
        assert_eq!(take(&mut in_flight(&[&[], &[], &[], &[]]), 4, 3), [(0, false), (1, false), (2, false)]);
        assert_eq!(take(&mut in_flight(&[&[], &[0], &[1]]), 4, 2), [(0, false), (1, true)]);
    }

    #[test]
    fn a_chain_goes_along() {
        let mut works = in_flight(&[&[], &[0], &[1], &[]]);
        assert_eq!(take(&mut works, 1, 100), [(0, false), (1, true), (2, true)]);
        end(&mut works, &[(0, false), (1, false), (2, false)]);
        assert_eq!(take(&mut works, 1, 100), [(3, false)]);
        end(&mut works, &[(3, false)]);
        assert!(works.is_idle() && report(&works).is_some_and(|report| report.error.is_none()));
    }

    #[test]
    fn what_others_could_run_does_not_go_along() {
        // Two wait for one; one waits for two.
        assert_eq!(take(&mut in_flight(&[&[], &[0], &[0]]), 9, 100), [(0, false)]);
        assert_eq!(take(&mut in_flight(&[&[], &[], &[0, 1]]), 1, 100), [(0, false)]);
    }

    #[test]
    fn what_follows_a_failure_is_skipped() {
        let mut works = in_flight(&[&[], &[0], &[1], &[]]);
        assert_eq!(take(&mut works, 1, 100).len(), 3);
        end(&mut works, &[(0, true)]);
        assert!(works.is_busy(COMMIT));
        end(&mut works, &[(3, false)]);
        let report = report(&works).unwrap();
        assert_eq!(report.error.as_ref().unwrap().kind(), ErrorKind::Execution);
        assert_eq!(report.commands.len(), 2, "one for each batch");
        assert!(works.is_idle());
    }

    #[test]
    fn a_failed_follower_completes_once() {
        let mut works = in_flight(&[&[], &[0], &[1]]);
        assert_eq!(take(&mut works, 1, 1), [(0, false), (1, true)]);
        end(&mut works, &[(0, false), (1, true)]);
        assert!(works.is_idle() && report(&works).is_some_and(|report| report.error.is_some()));
    }

    #[test]
    fn nobody_takes_along_what_is_poisoned() {
        let mut works = in_flight(&[&[], &[], &[0, 1], &[]]);
        let first = works.ready.pop_front().unwrap();
        end(&mut works, &[(first.0, true)]);
        assert_eq!(take(&mut works, 1, 100), [(1, false)], "2 waits for 1 alone, and will not run");
    }
}
