//! Forgetting: what no later work can ask about any more.
//!
//! Accesses that the host has behind it are behind everything that is still to come, so they go. Sets of works
//! are merged over works that no access remembers. Both run when sets have grown to twice what was left the
//! last time, so the cost of a work stays constant.

use super::clock::Lane;
use super::frontier::{Gate, Sources};
use super::queue::Queue;
use super::reach::{Behind, Publish};
use super::{Engine, History};
use crate::Stage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Intervals in one set that first make the engine look.
pub(crate) const FIRST: usize = 64;
/// Recorded accesses that first make the engine look.
pub(crate) const RECORDED_MIN: usize = 4096;
/// Removed resources that make the engine look.
pub(crate) const RETIRED_MAX: usize = 1024;

/// The numbers of the works of each lane that an access remembers, sorted.
type Live = BTreeMap<Lane, Vec<u64>>;

impl Engine {
    pub(crate) fn compact(&mut self) {
        self.wants_compaction = false;
        self.recorded = 0;
        if self.history == History::Complete {
            self.record_at = self.record_at.saturating_mul(2);
            self.compact_at = self.compact_at.saturating_mul(2);
            return;
        }
        self.forget_what_the_host_has_seen();
        let live = self.live_works();
        let mut filler = Filler { live: &live, done: BTreeMap::new(), most: 0 };
        self.each_set(&mut filler);
        self.compact_at = FIRST.max(filler.most * 2);
        self.record_at = RECORDED_MIN.max(live.values().map(Vec::len).sum::<usize>() * 2);
        self.free_resources();
    }

    /// How many accesses, intervals of sets and commits are remembered: a figure for tests and measurements, which does
    /// not grow with the length of a stream.
    pub fn remembered(&mut self) -> usize {
        let memories = self.memories.memories.iter_mut();
        let entries = memories.flat_map(|memory| memory.entries_mut()).flat_map(|entries| &entries.0);
        let accesses: usize = entries.map(|entry| entry.runs.len() + entry.behind.fragments()).sum();
        let gates = self.queues.iter().flat_map(|queue| queue.stage.iter().chain([&queue.all]));
        let done = self.queues.iter().flat_map(|queue| &queue.done);
        let fences = self.fences.values().flatten().map(|(_, sources)| sources.fragments());
        accesses
            + gates.map(|gate| gate.behind.fragments() + gate.waits.len()).sum::<usize>()
            + done.map(|done| done.fragments() + done.vertices.len()).sum::<usize>()
            + fences.sum::<usize>()
            + self.commits.len()
            + self.recall.as_ref().map_or(0, |recall| recall.len())
    }

    /// How many commits and accesses of the host were recalled: a figure for tests and measurements.
    pub fn recalled(&self) -> u64 {
        self.recall.as_ref().map_or(0, |recall| recall.recalled)
    }

    /// Whether everything that was ever taken is behind the host.
    pub(crate) fn is_behind_host(&self) -> bool {
        self.drawables.is_empty() && self.has_all_works(&self.host.gate.behind)
    }

    /// Whether who waits for what is behind this has waited for everything.
    pub(crate) fn covers_all(&self, waited: &Behind) -> bool {
        let mut behind = (*self.host.gate.behind).clone();
        // The host sees all that ran before what it waits for.
        behind.follow(waited, &Publish::DeviceAndAlias);
        self.has_all_works(&behind)
    }

    fn has_all_works(&self, behind: &Behind) -> bool {
        let strict = self.model.strict_alias_visibility;
        let seen = if strict { &behind.aliased } else { &behind.published };
        self.queues.iter().enumerate().all(|(at, queue)| {
            let lane =
                |stage: &Stage| seen.first_missing(Queue::lane(at, *stage), 0, queue.next[*stage as usize]);
            queue.pending.is_empty() && Stage::EVERY.iter().all(|stage| lane(stage).is_none())
        })
    }

    /// Forgets all works: they are behind the host, or are taken once more. Queues have nothing that waits.
    pub(crate) fn forget(&mut self) {
        self.memories.forget_works();
        self.queues.iter_mut().for_each(Queue::forget);
        for (_, updates) in self.fences.values_mut().flatten() {
            *updates = Sources::default();
        }
        self.events.values_mut().for_each(|event| event.forget(event.value));
        self.commits.clear();
        self.host.gate = Gate::default();
        self.host.shared = None;
        (self.compact_at, self.record_at, self.recorded) = (FIRST, RECORDED_MIN, 0);
        self.wants_compaction = false;
    }

    fn forget_what_the_host_has_seen(&mut self) {
        if self.queues.iter().any(|queue| !queue.pending.is_empty()) {
            return;
        }
        let strict = self.model.strict_alias_visibility;
        let point = &self.host.gate.behind;
        for memory in &mut self.memories.memories {
            for entries in memory.entries_mut() {
                entries.0.retain(|entry| !entry.is_behind(point, strict));
            }
            memory.segments.retain(|segment| !segment.entries.0.is_empty());
        }
    }

    fn live_works(&mut self) -> Live {
        let mut live = Live::new();
        for memory in &mut self.memories.memories {
            for entry in memory.entries_mut().flat_map(|entries| &entries.0) {
                let numbers = live.entry(entry.lane).or_default();
                // A gap between intervals is as wide as a run or wider, so its ends stand for it.
                numbers.extend(entry.runs.iter().flat_map(|run| run.start..run.end));
            }
        }
        for numbers in live.values_mut() {
            numbers.sort_unstable();
            numbers.dedup();
        }
        live
    }

    /// Every set of works that the engine keeps.
    fn each_set(&mut self, filler: &mut Filler<'_>) {
        for memory in &mut self.memories.memories {
            for entry in memory.entries_mut().flat_map(|entries| &mut entries.0) {
                filler.shared(&mut entry.behind);
            }
        }
        for queue in &mut self.queues {
            for item in &mut queue.pending {
                if let super::ItemKind::Buffer(buffer) = &mut item.kind
                    && let Some(state) = &mut buffer.state
                {
                    filler.shared(&mut state.gate.behind);
                    state.done.iter_mut().for_each(|done| filler.sources(done));
                }
            }
            let pass = &mut queue.pass;
            let gates = queue.stage.iter_mut().chain(&mut pass.stage);
            for gate in gates.chain([&mut queue.all, &mut pass.all, &mut queue.buffer.gate]) {
                filler.shared(&mut gate.behind);
            }
            let sources = queue.done.iter_mut().chain(&mut pass.done).chain(&mut pass.segment);
            for sources in sources.chain(&mut queue.buffer.done) {
                filler.sources(sources);
            }
            for (_, sources, ..) in &mut pass.producers {
                filler.sources(sources);
            }
            for (_, sources) in &mut pass.updates {
                filler.sources(sources);
            }
            queue.gates_changed();
        }
        for (_, sources) in self.fences.values_mut().flatten() {
            filler.sources(sources);
        }
        for behind in self.events.values_mut().flat_map(|event| event.behinds_mut()) {
            filler.shared(behind);
        }
        for drawable in self.drawables.values_mut() {
            filler.sources(&mut drawable.ready);
            filler.sources(&mut drawable.shown);
        }
        for commit in self.commits.values_mut() {
            filler.sources(&mut commit.sources);
        }
        filler.shared(&mut self.host.gate.behind);
        self.host.shared = None;
    }

    /// Ids of removed resources that no entry names may be given out again.
    fn free_resources(&mut self) {
        if self.memories.retired_resources.is_empty() {
            return;
        }
        let mut named = BTreeSet::new();
        for memory in &mut self.memories.memories {
            for entry in memory.entries_mut().flat_map(|entries| &entries.0) {
                named.insert(entry.access.resource.0);
            }
        }
        let retired = std::mem::take(&mut self.memories.retired_resources);
        let (kept, free): (Vec<u32>, Vec<u32>) = retired.into_iter().partition(|id| named.contains(id));
        self.memories.retired_resources = kept;
        self.memories.free_resources.extend(free);
    }
}

/// Merges sets over works that nothing remembers; a set that is shared stays shared.
struct Filler<'a> {
    live: &'a Live,
    done: BTreeMap<*const Behind, (Arc<Behind>, Arc<Behind>)>,
    most: usize,
}

impl Filler<'_> {
    fn own(&mut self, behind: &mut Behind) {
        let live = self.live;
        for clock in behind.clocks_mut() {
            clock.fill(|lane| live.get(&lane).map_or(&[], Vec::as_slice));
        }
        behind.scoped.retain(|(_, clock)| *clock != Default::default());
        self.most = self.most.max(behind.fragments());
    }

    fn sources(&mut self, sources: &mut Sources) {
        let (own, parts) = sources.sets_mut();
        own.into_iter().for_each(|own| self.own(own));
        parts.for_each(|behind| self.shared(behind));
    }

    fn shared(&mut self, behind: &mut Arc<Behind>) {
        let key = Arc::as_ptr(behind);
        if let Some((_, filled)) = self.done.get(&key) {
            *behind = filled.clone();
            return;
        }
        let mut filled = (**behind).clone();
        self.own(&mut filled);
        let filled = Arc::new(filled);
        // The old set is kept meanwhile, so that no other can take its address.
        self.done.insert(key, (behind.clone(), filled.clone()));
        *behind = filled;
    }
}
