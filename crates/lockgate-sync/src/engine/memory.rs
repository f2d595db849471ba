//! What happened to memory, as far as it can still matter: per range, the last writes and the reads since.
//!
//! An entry is forgotten when a later access covers it, comes after it in every way that a still later access
//! could ask about, and would conflict with at least as much. Readers of one stretch of a lane share an entry.

use super::clock::Lane;
use super::reach::{Behind, Seen};
use crate::{
    Access, AccessKind, Actor, CommandRef, MemoryId, Region, ResourceDescriptor, ResourceKind, Stage,
    VertexId,
};
use smallvec::SmallVec;
use std::sync::Arc;

/// Consecutive works of a lane: numbers `start..end`, their vertices and commands counting up alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) vertex: VertexId,
    pub(crate) actor: Actor,
}

impl Run {
    /// The vertex and actor of one of its works.
    pub(crate) fn member(&self, number: u64) -> (VertexId, Actor) {
        let offset = number - self.start;
        let actor = match self.actor {
            Actor::Command(c) => Actor::Command(CommandRef { command: c.command + offset as u32, ..c }),
            other => other,
        };
        (VertexId(self.vertex.0 + offset), actor)
    }

    /// Takes in `next` if it continues this run in every respect.
    fn extend(&mut self, next: &Run) -> bool {
        let (vertex, actor) = self.member(self.end);
        let follows = next.start == self.end && next.vertex == vertex && next.actor == actor;
        // The host and the display do not count up.
        let command = matches!(self.actor, Actor::Command(_));
        if follows && command {
            self.end = next.end;
        }
        follows && command
    }
}

/// One access, or the same read by many works.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) access: Access,
    pub(crate) kind: ResourceKind,
    /// The resource was the n-th made: ids are used again, this number is not.
    pub(crate) serial: u64,
    pub(crate) stage: Stage,
    pub(crate) lane: Lane,
    pub(crate) runs: SmallVec<[Run; 1]>,
    pub(crate) behind: Arc<Behind>,
    /// Place of the step in the program, for telling earlier from later.
    pub(crate) step: u64,
    pub(crate) pass: u64,
    pub(crate) render: bool,
    pub(crate) tracked: bool,
    pub(crate) unit: bool,
    /// Covered by an access of this pass: of no more interest once the pass is over.
    pub(crate) until_pass: Option<u64>,
}

impl Entry {
    /// Whether every work of it is behind a point, visibly if it writes.
    pub(crate) fn is_behind(&self, point: &Behind, through_alias: bool) -> bool {
        let seen = self.seen(through_alias);
        self.runs.iter().all(|run| {
            let executed = point.executed.first_missing(self.lane, run.start, run.end).is_none();
            executed
                && (!self.access.kind.writes()
                    || point.first_unseen(self.lane, run.start, run.end, &seen).is_none())
        })
    }

    pub(crate) fn seen(&self, through_alias: bool) -> Seen {
        Seen { id: self.access.resource, kind: self.kind, through_alias }
    }

    /// Whether this access, coming later, makes `earlier` uninteresting (`covers` and order given).
    fn supersedes(&self, earlier: &Entry) -> bool {
        let kinds = self.access.kind.writes() || !earlier.access.kind.writes();
        let atomics = !self.access.kind.is_atomic() || earlier.access.kind.is_atomic();
        let tracking = !earlier.tracked || self.tracked;
        let unit = !earlier.unit || self.unit;
        kinds && atomics && tracking && unit
    }

    fn shares_entry_with(&self, other: &Entry) -> bool {
        !self.access.kind.writes()
            && self.access == other.access
            && self.serial == other.serial
            && self.lane == other.lane
            && self.pass == other.pass
            && self.tracked == other.tracked
            && Arc::ptr_eq(&self.behind, &other.behind)
    }

    fn same_works(&self, other: &Entry) -> bool {
        self.lane == other.lane && self.runs == other.runs && self.access == other.access
    }
}

/// Whether a region of a resource is all of it.
fn is_whole(region: &Region, resource: &ResourceDescriptor) -> bool {
    match resource.kind {
        ResourceKind::Buffer => region.bytes(resource.size) == (0, resource.size),
        ResourceKind::Texture { levels, slices } => {
            region.texels().contains(&crate::Texels::range((0, levels), (0, slices)))
        }
    }
}

/// Whether `later` touches every byte or texel that `earlier` touched in a segment that both fill.
fn covers(later: &Entry, resource: &ResourceDescriptor, earlier: &Entry) -> bool {
    match resource.kind {
        ResourceKind::Buffer => true,
        ResourceKind::Texture { .. } if later.serial == earlier.serial => {
            later.access.region.texels().contains(&earlier.access.region.texels())
        }
        ResourceKind::Texture { .. } => is_whole(&later.access.region, resource),
    }
}

/// A list of entries that all fill the same bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries(pub(crate) Vec<Entry>);

impl Entries {
    /// Forgets what `entry` supersedes and remembers `entry`.
    pub(crate) fn record(
        &mut self,
        entry: Entry,
        resource: &ResourceDescriptor,
        point: &Behind,
        whole: bool,
    ) {
        // Within its pass it may not stand for what it covers: raster-ordered accesses do not conflict there,
        // and what comes behind a fragment cannot be ordered after it but may be after what it covers.
        let raster = entry.access.kind.contains(AccessKind::RASTER_ORDERED);
        let late = entry.render && matches!(entry.stage, Stage::Fragment | Stage::Tile);
        self.0.retain_mut(|earlier| {
            let gone = entry.supersedes(earlier)
                && (whole || covers(&entry, resource, earlier))
                && earlier.is_behind(point, false);
            let keep = raster || late && earlier.tracked;
            if gone && keep {
                earlier.until_pass = Some(entry.pass);
            }
            !gone || keep
        });
        self.append(entry);
    }

    /// Remembers `entry` beside everything else.
    pub(crate) fn append(&mut self, entry: Entry) {
        if let Some(shared) = self.0.iter_mut().rev().find(|e| e.shares_entry_with(&entry)) {
            for run in &entry.runs {
                if !shared.runs.last_mut().is_some_and(|last| last.extend(run)) {
                    shared.runs.push(*run);
                }
            }
            return;
        }
        self.0.push(entry);
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) entries: Entries,
}

/// The history of one memory: segments by rising address, and the accesses of a tracked heap as one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) segments: Vec<Segment>,
    /// Where the last look found one segment: many go through memory from start to end.
    last: usize,
    pub(crate) unit: Entries,
    /// Whether an access was remembered since works were forgotten.
    touched: bool,
}

impl Memory {
    /// The segments that make up `start..end` exactly, split and made as needed.
    pub(crate) fn segments_of(&mut self, start: u64, end: u64) -> std::ops::Range<usize> {
        if start >= end {
            return 0..0;
        }
        let is = |at: &usize| self.segments.get(*at).is_some_and(|own| (own.start, own.end) == (start, end));
        if let Some(at) = [self.last, self.last + 1].into_iter().find(is) {
            self.last = at;
            return at..at + 1;
        }
        let mut at = self.segments.partition_point(|segment| segment.end <= start);
        if self.segments.get(at).is_some_and(|segment| segment.start < start) {
            self.split(at, start);
            at += 1;
        }
        let first = at;
        let mut reached = start;
        while reached < end {
            match self.segments.get(at).map(|segment| segment.start) {
                Some(begin) if begin == reached => {
                    if self.segments[at].end > end {
                        self.split(at, end);
                    }
                    reached = self.segments[at].end;
                }
                next => {
                    let stop = next.map_or(end, |begin| begin.min(end));
                    let entries = Entries::default();
                    self.segments.insert(at, Segment { start: reached, end: stop, entries });
                    reached = stop;
                }
            }
            at += 1;
        }
        self.last = first;
        first..at
    }

    fn split(&mut self, at: usize, address: u64) {
        let mut rest = self.segments[at].clone();
        rest.start = address;
        self.segments[at].end = address;
        self.segments.insert(at + 1, rest);
    }

    /// Merges neighbours in `range` that remember the same.
    pub(crate) fn merge(&mut self, range: std::ops::Range<usize>) {
        let mut at = range.start;
        let mut left = range.len();
        while left > 1 {
            left -= 1;
            let (a, b) = (&self.segments[at], &self.segments[at + 1]);
            let same = a.end == b.start
                && a.entries.0.len() == b.entries.0.len()
                && a.entries.0.iter().zip(&b.entries.0).all(|(a, b)| a.same_works(b));
            if same {
                self.segments[at].end = self.segments[at + 1].end;
                self.segments.remove(at + 1);
            } else {
                at += 1;
            }
        }
    }

    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entries> {
        self.segments.iter_mut().map(|segment| &mut segment.entries).chain(std::iter::once(&mut self.unit))
    }
}

/// All memories and resources of an engine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memories {
    pub(crate) memories: Vec<Memory>,
    pub(crate) free_memories: Vec<MemoryId>,
    pub(crate) resources: Vec<Option<(ResourceDescriptor, u64)>>,
    pub(crate) free_resources: Vec<u32>,
    /// Removed, but perhaps still named by an entry.
    pub(crate) retired_resources: Vec<u32>,
    pub(crate) resources_made: u64,
    /// Memories in which something is remembered.
    touched: Vec<MemoryId>,
}

impl Memories {
    /// A memory in which something is about to be remembered.
    pub(crate) fn touch(&mut self, id: MemoryId) -> &mut Memory {
        let memory = &mut self.memories[id.index()];
        if !std::mem::replace(&mut memory.touched, true) {
            self.touched.push(id);
        }
        memory
    }

    /// Forgets all accesses.
    pub(crate) fn forget_works(&mut self) {
        for id in self.touched.drain(..) {
            let memory = &mut self.memories[id.index()];
            memory.segments.clear();
            memory.unit.0.clear();
            memory.touched = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_split_at_every_boundary_and_leave_no_hole() {
        let mut memory = Memory::default();
        assert_eq!(memory.segments_of(10, 20), 0..1);
        assert_eq!(memory.segments_of(30, 40), 1..2);
        assert_eq!(memory.segments_of(5, 35), 0..4);
        let bounds: Vec<_> = memory.segments.iter().map(|s| (s.start, s.end)).collect();
        assert_eq!(bounds, [(5, 10), (10, 20), (20, 30), (30, 35), (35, 40)]);
        assert_eq!(memory.segments_of(7, 7), 0..0);
        memory.merge(0..5);
        assert_eq!(memory.segments.len(), 1);
    }
}
