//! One work: what is behind it, what of the past conflicts with it, and its place in the graph.

use super::clock::Lane;
use super::frontier::Gate;
use super::memory::{Entries, Entry, Run};
use super::queue::Queue;
use super::reach::{Behind, Publish, Seen};
use super::sync::Place;
use super::{Engine, History};
use crate::{
    Access, AccessKind, Actor, CommandRef, Edge, Gap, Hazard, PassKind, Publishes, Reach, ResourceDescriptor,
    ResourceKind, Site, Stage, SyncKind, SyncOp, VertexId, VertexKind, Work,
};
use smallvec::smallvec;
use std::sync::Arc;

/// Who does a work, and its place in its lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actors {
    pub(crate) actor: Actor,
    pub(crate) stage: Stage,
    pub(crate) lane: Lane,
    pub(crate) number: u64,
    pub(crate) step: u64,
}

/// The pass a work is in; nothing for the host and the display.
#[derive(Clone, Copy, Debug)]
struct InPass {
    id: u64,
    render: bool,
    tracking: bool,
}

/// An earlier work that conflicts with the one in hand, is not behind it as it must be, and is not ordered automatically.
#[derive(Clone, Debug)]
struct Conflict {
    earlier: Site,
    earlier_step: u64,
    later: Access,
    hazard: Hazard,
    executed: bool,
}

/// An earlier work that the one in hand is made to wait for.
#[derive(Clone, Debug)]
struct Order {
    vertex: VertexId,
    kind: SyncKind,
    writes: bool,
    lane: Lane,
    number: u64,
    behind: Arc<Behind>,
    seen: Seen,
}

impl Order {
    /// Whether the earlier work has come behind a point meanwhile.
    fn is_behind(&self, point: &Behind) -> bool {
        let (start, end) = (self.number, self.number + 1);
        let visible = || point.first_unseen(self.lane, start, end, &self.seen).is_none();
        point.executed.contains(self.lane, self.number) && (!self.writes || visible())
    }
}

/// Lists that keep their memory from work to work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    conflicts: Vec<Conflict>,
    orders: Vec<Order>,
    /// The host waits for whatever conflicts with its access.
    pub(crate) waits_for_conflicts: bool,
    edges: Vec<Edge>,
}

impl Engine {
    /// The lane of the host.
    pub(crate) const HOST: Lane = Lane(u32::MAX);
    /// The lane of the display.
    pub(crate) const DISPLAY: Lane = Lane(u32::MAX - 1);

    pub(crate) fn take_command<'a>(
        &mut self,
        queue: usize,
        works: impl Iterator<Item = Work<'a>>,
        command: u32,
        at: Place,
        step: u64,
    ) {
        let command = CommandRef { commit: at.0, buffer: at.1, command };
        let mut previous: Option<(VertexId, Actors, Arc<Behind>)> = None;
        for (part, work) in works.enumerate() {
            let state = &mut self.queues[queue];
            let stage = work.stage as usize;
            let number = state.next[stage];
            state.next[stage] += 1;
            let lane = Queue::lane(queue, work.stage);
            let actors = Actors { actor: Actor::Command(command), stage: work.stage, lane, number, step };
            let mut behind = state.behind(stage);
            self.scratch.edges.clear();
            for gate in state.gates(stage) {
                self.scratch.edges.extend_from_slice(&gate.waits);
            }
            if let Some((vertex, before, earlier)) = &previous {
                let own = Arc::make_mut(&mut behind);
                own.union(earlier);
                own.executed.insert(before.lane, before.number);
                let by = SyncOp { kind: SyncKind::Pipeline, at: Some(at) };
                self.scratch.edges.push(Edge { from: *vertex, by, publishes: Publishes::Nothing });
            }
            let in_pass = self.in_pass(queue);
            self.subtract(&actors, work.accesses, &mut behind, Some(in_pass));
            let kind = VertexKind::Work { command, part: part as u32, stage: work.stage };
            let edges = &self.scratch.edges;
            let vertex = self.out.vertex(kind, |list| list.extend_from_slice(edges));
            for access in work.accesses {
                self.remember(&actors, access, &behind, Some(in_pass), vertex);
            }
            self.wants_compaction |= behind.fragments() > self.compact_at;
            let edges = &self.scratch.edges;
            self.queues[queue].pass.segment[stage].add(lane, number, &behind, vertex, edges);
            previous = Some((vertex, actors, behind));
        }
        if self.queues[queue].pass.serial
            && let Some((vertex, actors, behind)) = previous
        {
            self.gate_serially(queue, vertex, &actors, &behind, at);
        }
    }

    /// In a serial encoder later commands wait for this one, and so for all before it.
    fn gate_serially(
        &mut self,
        queue: usize,
        vertex: VertexId,
        of: &Actors,
        behind: &Arc<Behind>,
        at: Place,
    ) {
        let by = SyncOp { kind: SyncKind::Serial, at: Some(at) };
        let mut done = (**behind).clone();
        done.executed.insert(of.lane, of.number);
        let state = &mut self.queues[queue];
        state.pass.all.waits.clear();
        let edge = Edge { from: vertex, by, publishes: Publishes::Device };
        state.pass.all.open_after(&done, &Publish::Device, Some(edge), &mut self.out);
        state.gates_changed();
    }

    /// An access of the host or the display, behind `gate`.
    pub(crate) fn take_access_outside(
        &mut self,
        kind: VertexKind,
        actors: Actors,
        access: &Access,
        gate: &Gate,
    ) -> (VertexId, Arc<Behind>) {
        let mut behind = gate.behind.clone();
        self.scratch.edges.clear();
        self.scratch.edges.extend_from_slice(&gate.waits);
        self.subtract(&actors, std::slice::from_ref(access), &mut behind, None);
        let edges = &self.scratch.edges;
        let vertex = self.out.vertex(kind, |list| list.extend_from_slice(edges));
        self.remember(&actors, access, &behind, None, vertex);
        (vertex, behind)
    }

    fn in_pass(&self, queue: usize) -> InPass {
        let state = &self.queues[queue];
        InPass { id: state.pass.id, render: state.pass.kind == PassKind::Render, tracking: state.tracks() }
    }

    fn is_pass_open(&self, pass: u64) -> bool {
        self.queues.iter().any(|queue| queue.pass.id == pass)
    }

    /// Collects the works that conflict with an access and are not behind it as they must be.
    fn find_conflicts(&mut self, of: &Actors, access: &Access, behind: &Arc<Behind>, pass: Option<InPass>) {
        let Some(candidate) = self.candidate(of, access, behind, pass, VertexId(0)) else { return };
        let (entry, resource) = candidate;
        if !entry.tracked && self.has_told_enough() {
            return;
        }
        let (start, end) = access.region.physical(&resource);
        let memory = resource.memory.index();
        let range = self.memories.memories[memory].segments_of(start, end);
        for at in range {
            let mut entries = std::mem::take(&mut self.memories.memories[memory].segments[at].entries);
            entries.0.retain(|earlier| earlier.until_pass.is_none_or(|pass| self.is_pass_open(pass)));
            for earlier in &entries.0 {
                self.compare(earlier, &entry, behind, false);
            }
            self.memories.memories[memory].segments[at].entries = entries;
        }
        if entry.unit && entry.tracked {
            let unit = std::mem::take(&mut self.memories.memories[memory].unit);
            for earlier in &unit.0 {
                self.compare(earlier, &entry, behind, true);
            }
            self.memories.memories[memory].unit = unit;
        }
    }

    /// Whether there are so many gaps that a conflict which nothing would order need not be looked for.
    fn has_told_enough(&self) -> bool {
        let full = self.gaps_max.is_some_and(|max| self.out.gaps.len() >= max);
        full && !self.scratch.waits_for_conflicts && !self.model.overlapping_copies_ordered
    }

    /// Compares one remembered access with a later one. `unit`: both stand for their whole tracked heap.
    fn compare(&mut self, earlier: &Entry, later: &Entry, behind: &Behind, unit: bool) {
        let (a, b) = (&earlier.access, &later.access);
        let Some(hazard) = Hazard::between(a.kind, b.kind) else { return };
        if !unit && earlier.serial == later.serial && !overlap(earlier, later) {
            return;
        }
        let same_pass = later.pass != 0 && earlier.pass == later.pass;
        if same_pass && (a.kind & b.kind).contains(AccessKind::RASTER_ORDERED) {
            return;
        }
        let impossible = same_pass && later.render && matches!(earlier.stage, Stage::Fragment | Stage::Tile);
        let tracked = earlier.tracked && later.tracked && !impossible;
        // Members of a tracked heap that tracking orders are compared once, as the unit.
        if unit != (tracked && earlier.unit && later.unit) {
            return;
        }
        if a.kind.is_atomic() && b.kind.is_atomic() && !(earlier.tracked && later.tracked) {
            return;
        }
        let copies = self.orders_copies(earlier, later);
        let closes = match () {
            // What is ordered anyhow leaves nothing to tracking.
            () if copies => Some(SyncKind::Serial),
            () if tracked => Some(SyncKind::Tracking(a.resource)),
            () => self.scratch.waits_for_conflicts.then_some(SyncKind::Completion),
        };
        let own = later.runs[0];
        let through_alias = self.model.strict_alias_visibility && a.resource != b.resource;
        for run in &earlier.runs {
            let mut number = run.start;
            while let Some(missing) = self.first_missing(earlier, behind, number, run.end, through_alias) {
                number = missing + 1;
                let (vertex, actor) = run.member(missing);
                if actor == own.actor {
                    continue;
                }
                if let Some(kind) = closes {
                    self.scratch.orders.push(Order {
                        vertex,
                        kind,
                        writes: a.kind.writes(),
                        lane: earlier.lane,
                        number: missing,
                        behind: earlier.behind.clone(),
                        seen: earlier.seen(through_alias),
                    });
                    continue;
                }
                let executed = behind.executed.contains(earlier.lane, missing);
                let swapped = !executed && (earlier.step, actor) > (later.step, own.actor);
                let turned = if swapped { Hazard::between(b.kind, a.kind) } else { None };
                self.scratch.conflicts.push(Conflict {
                    earlier: Site { actor, stage: earlier.stage, access: *a },
                    earlier_step: earlier.step,
                    later: *b,
                    hazard: turned.unwrap_or(hazard),
                    executed,
                });
                if self.history == History::Recent {
                    return;
                }
            }
        }
    }

    /// A7: two copies of one pass that write one texture are unordered, unless the switch says otherwise.
    fn orders_copies(&self, earlier: &Entry, later: &Entry) -> bool {
        self.model.overlapping_copies_ordered
            && later.pass != 0
            && earlier.pass == later.pass
            && (earlier.stage, later.stage) == (Stage::Blit, Stage::Blit)
            && matches!(later.kind, ResourceKind::Texture { .. })
            && earlier.serial == later.serial
    }

    fn first_missing(&self, of: &Entry, at: &Behind, start: u64, end: u64, alias: bool) -> Option<u64> {
        if of.access.kind.writes() {
            at.first_unseen(of.lane, start, end, &of.seen(alias))
        } else {
            at.executed.first_missing(of.lane, start, end)
        }
    }

    /// `missing = required - provided` for one work: tracked conflicts become edges, all others are reported.
    fn subtract(&mut self, of: &Actors, accesses: &[Access], behind: &mut Arc<Behind>, pass: Option<InPass>) {
        for access in accesses {
            self.find_conflicts(of, access, behind, pass);
        }
        if self.close(behind) && !self.scratch.conflicts.is_empty() {
            // The new edges may have closed some of the others, or left others of the same entry open.
            self.scratch.conflicts.clear();
            for access in accesses {
                self.find_conflicts(of, access, behind, pass);
            }
            self.scratch.orders.clear();
        }
        if !self.scratch.conflicts.is_empty() {
            self.report(of);
        }
    }

    /// Adds the edges that tracking or waiting gives, the latest first: most of the others are behind it then.
    /// Returns whether there are any.
    fn close(&mut self, behind: &mut Arc<Behind>) -> bool {
        let mut orders = std::mem::take(&mut self.scratch.orders);
        orders.sort_unstable_by_key(|order| std::cmp::Reverse(order.vertex));
        for order in &orders {
            if order.is_behind(behind) {
                continue;
            }
            // The order of copies is one of commands, not of memory: it says nothing of aliases.
            let publish = if order.kind == SyncKind::Serial { Publish::Device } else { self.publish_all() };
            let by = SyncOp { kind: order.kind, at: None };
            self.scratch.edges.push(Edge { from: order.vertex, by, publishes: publish.on_edge() });
            let own = Arc::make_mut(behind);
            own.follow(&order.behind, &publish);
            own.follow_work(order.lane, order.number, &publish);
        }
        let any = !orders.is_empty();
        orders.clear();
        self.scratch.orders = orders;
        any
    }

    /// Reports each pair of works once for each pair of resources, by its gravest hazard.
    fn report(&mut self, of: &Actors) {
        let conflicts = &mut self.scratch.conflicts;
        let key =
            |c: &Conflict| (c.earlier.actor, c.earlier.stage, c.earlier.access.resource, c.later.resource);
        conflicts.sort_by_key(|c| (key(c), c.hazard));
        conflicts.dedup_by_key(|c| key(c));
        for conflict in conflicts.iter() {
            let mut earlier = conflict.earlier;
            let mut later = Site { actor: of.actor, stage: of.stage, access: conflict.later };
            if !conflict.executed && (conflict.earlier_step, earlier.actor) > (of.step, later.actor) {
                std::mem::swap(&mut earlier, &mut later);
            }
            let reach = if conflict.executed { Reach::ExecutionOnly } else { Reach::Nothing };
            self.out.gaps.push(Gap { earlier, later, hazard: conflict.hazard, reach });
        }
        conflicts.clear();
    }

    /// Writes an access into the history of its memory.
    fn remember(
        &mut self,
        of: &Actors,
        access: &Access,
        behind: &Arc<Behind>,
        pass: Option<InPass>,
        vertex: VertexId,
    ) {
        let Some((entry, resource)) = self.candidate(of, access, behind, pass, vertex) else { return };
        let recent = self.history == History::Recent;
        self.recorded += 1;
        self.wants_compaction |= self.recorded > self.record_at;
        let (start, end) = access.region.physical(&resource);
        let memory = self.memories.touch(resource.memory);
        let range = memory.segments_of(start, end);
        let unit = (entry.unit && entry.tracked).then(|| entry.clone());
        let write = |entries: &mut Entries, entry: Entry, whole: bool| match recent {
            true => entries.record(entry, &resource, behind, whole),
            false => entries.append(entry),
        };
        if let Some(last) = range.end.checked_sub(1).filter(|last| range.contains(last)) {
            for segment in &mut memory.segments[range.start..last] {
                write(&mut segment.entries, entry.clone(), false);
            }
            write(&mut memory.segments[last].entries, entry, false);
        }
        if let Some(entry) = unit {
            write(&mut memory.unit, entry, true);
        }
        if recent && access.kind.writes() {
            memory.merge(range);
        }
    }

    /// The access as an entry, with its resource; nothing if the resource does not exist. What is reached through
    /// memory alone is not tracked (A21).
    fn candidate(
        &self,
        of: &Actors,
        access: &Access,
        behind: &Arc<Behind>,
        pass: Option<InPass>,
        vertex: VertexId,
    ) -> Option<(Entry, ResourceDescriptor)> {
        let (resource, serial) = self.memories.get(access.resource)?;
        let seen_by_tracking =
            pass.is_some_and(|pass| pass.tracking) && !access.kind.contains(AccessKind::BINDLESS);
        let run = Run { start: of.number, end: of.number + 1, vertex, actor: of.actor };
        let entry = Entry {
            access: *access,
            kind: resource.kind,
            serial,
            stage: of.stage,
            lane: of.lane,
            runs: smallvec![run],
            behind: behind.clone(),
            step: of.step,
            pass: pass.map_or(0, |pass| pass.id),
            render: pass.is_some_and(|pass| pass.render),
            tracked: (resource.tracked || resource.unit) && seen_by_tracking,
            unit: resource.unit,
            until_pass: None,
        };
        Some((entry, resource.clone()))
    }
}

/// Whether two accesses of one resource, in one segment of its memory, touch something in common.
fn overlap(a: &Entry, b: &Entry) -> bool {
    match a.kind {
        ResourceKind::Buffer => true,
        ResourceKind::Texture { .. } => a.access.region.texels().overlaps(&b.access.region.texels()),
    }
}
