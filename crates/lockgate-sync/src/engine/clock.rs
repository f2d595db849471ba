//! Sets of works, as intervals on lanes: what has happened before something.
//!
//! A lane is one stage of one queue; its works are numbered from 0. Barriers and fences name sets that are not
//! prefixes of a lane, so a single number per lane would be wrong. A set is a prefix and the intervals beyond
//! it; intervals whose gap holds no work that anybody can still ask about are merged ([`Clock::fill`]), which
//! keeps sets small in streams of any length.

use smallvec::SmallVec;

/// One stage of one queue, the host, or the display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Lane(pub(crate) u32);

/// Numbers of one lane: all below `prefix`, and the intervals of `more`, sorted and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set {
    prefix: u64,
    more: Intervals,
}

/// Nearly always none or one.
type Intervals = SmallVec<[(u64, u64); 1]>;

/// The first number of `start..end` that is neither below `prefix` nor in the intervals `more`.
fn first_missing(prefix: u64, more: &[(u64, u64)], start: u64, end: u64) -> Option<u64> {
    let start = start.max(prefix);
    if start >= end {
        return None;
    }
    let at = more.partition_point(|&(_, stop)| stop <= start);
    match more.get(at) {
        Some(&(from, stop)) if from <= start => (stop < end).then_some(stop),
        _ => Some(start),
    }
}

impl Set {
    fn insert(&mut self, start: u64, end: u64) {
        if end <= self.prefix {
            return;
        }
        // Nearly always it continues the last interval or stands behind it.
        match self.more.last_mut() {
            None if start <= self.prefix => self.prefix = end,
            Some(last) if last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            Some(last) if start > last.1 => self.more.push((start, end)),
            None => self.more.push((start, end)),
            Some(_) => self.merge(&[(start, end)]),
        }
    }

    fn union(&mut self, other: &[(u64, u64)]) {
        if self.more.as_slice() == other {
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(other);
            self.absorb();
        } else {
            self.merge(other);
        }
    }

    /// Moves intervals that touch the prefix into it.
    fn absorb(&mut self) {
        let mut touching = 0;
        while let Some(&(start, end)) = self.more.get(touching)
            && start <= self.prefix
        {
            self.prefix = self.prefix.max(end);
            touching += 1;
        }
        self.more.drain(..touching);
    }

    /// Takes in intervals that are sorted and apart.
    fn merge(&mut self, other: &[(u64, u64)]) {
        let own = std::mem::take(&mut self.more);
        self.more.reserve(own.len() + other.len());
        let (mut a, mut b) = (own.iter().peekable(), other.iter().peekable());
        loop {
            let next = match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 <= y.0 => a.next(),
                (Some(_), None) => a.next(),
                (_, Some(_)) => b.next(),
                (None, None) => break,
            };
            let Some(&(start, end)) = next else { break };
            if start <= self.prefix {
                self.prefix = self.prefix.max(end);
                continue;
            }
            match self.more.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => self.more.push((start, end)),
            }
        }
    }

    fn intersect(&mut self, prefix: u64, more: &[(u64, u64)]) {
        let spans = |prefix: u64, more: &[(u64, u64)]| -> Vec<(u64, u64)> {
            std::iter::once((0, prefix)).chain(more.iter().copied()).collect()
        };
        let (own, theirs) = (spans(self.prefix, &self.more), spans(prefix, more));
        *self = Set::default();
        for a in &own {
            for b in &theirs {
                let (start, end) = (a.0.max(b.0), a.1.min(b.1));
                if start < end {
                    self.insert(start, end);
                }
            }
        }
    }

    /// Adds the numbers between intervals where none of `live` (sorted) lies.
    fn fill(&mut self, live: &[u64]) {
        let dead = |from: u64, to: u64| {
            let at = live.partition_point(|&number| number < from);
            live.get(at).is_none_or(|&number| number >= to)
        };
        let mut filled = Set { prefix: self.prefix, more: Intervals::new() };
        for &(start, end) in &self.more {
            let stop = filled.more.last().map_or(filled.prefix, |last| last.1);
            if !dead(stop, start) {
                filled.more.push((start, end));
            } else if let Some(last) = filled.more.last_mut() {
                last.1 = end;
            } else {
                filled.prefix = end;
            }
        }
        *self = filled;
    }
}

/// A set of works of any lanes. Sets are copied all the time and are nearly always prefixes, so these lie apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    /// For each lane the number below which all are in the set. Few lanes are in use at once, and a scan of few beats a
    /// search.
    prefixes: SmallVec<[(Lane, u64); 3]>,
    /// The intervals beyond, for lanes that have any.
    beyond: SmallVec<[(Lane, Intervals); 1]>,
}

impl Clone for Clock {
    fn clone(&self) -> Clock {
        let beyond = if self.beyond.is_empty() { SmallVec::new() } else { self.beyond.clone() };
        Clock { prefixes: SmallVec::from_slice(&self.prefixes), beyond }
    }
}

impl Clock {
    fn set(&self, lane: Lane) -> Option<(u64, &[(u64, u64)])> {
        let prefix = self.prefixes.iter().find(|(own, _)| *own == lane)?.1;
        let more = self.beyond.iter().find(|(own, _)| *own == lane);
        Some((prefix, more.map_or(&[], |(_, more)| more.as_slice())))
    }

    fn prefix_mut(&mut self, lane: Lane) -> &mut u64 {
        let at = self.prefixes.iter().position(|(own, _)| *own == lane).unwrap_or_else(|| {
            self.prefixes.push((lane, 0));
            self.prefixes.len() - 1
        });
        &mut self.prefixes[at].1
    }

    /// Changes what belongs to a lane.
    fn change(&mut self, lane: Lane, change: impl FnOnce(&mut Set)) {
        let at = self.beyond.iter().position(|(own, _)| *own == lane);
        let more = at.map_or(Intervals::new(), |at| std::mem::take(&mut self.beyond[at].1));
        let prefix = self.prefix_mut(lane);
        let mut set = Set { prefix: *prefix, more };
        change(&mut set);
        *prefix = set.prefix;
        match at {
            Some(at) if set.more.is_empty() => drop(self.beyond.swap_remove(at)),
            Some(at) => self.beyond[at].1 = set.more,
            None if set.more.is_empty() => {}
            None => self.beyond.push((lane, set.more)),
        }
    }

    pub(crate) fn contains(&self, lane: Lane, number: u64) -> bool {
        self.first_missing(lane, number, number + 1).is_none()
    }

    /// The first of the works `start..end` of a lane that is not in the set.
    pub(crate) fn first_missing(&self, lane: Lane, start: u64, end: u64) -> Option<u64> {
        let (prefix, more) = self.set(lane).unwrap_or_default();
        first_missing(prefix, more, start, end)
    }

    /// Whether all of `other` is in the set. May say no although it is.
    pub(crate) fn surely_contains(&self, other: &Clock) -> bool {
        let has = |(lane, end): &(Lane, u64)| self.prefixes.iter().any(|(own, to)| own == lane && to >= end);
        other.beyond.is_empty() && other.prefixes.iter().all(has)
    }

    pub(crate) fn insert(&mut self, lane: Lane, number: u64) {
        self.insert_run(lane, number, number + 1);
    }

    /// Adds the works `start..end` of a lane.
    pub(crate) fn insert_run(&mut self, lane: Lane, start: u64, end: u64) {
        let whole = self.beyond.is_empty();
        let prefix = self.prefix_mut(lane);
        if whole && *prefix >= start {
            *prefix = end.max(*prefix);
        } else if *prefix < end {
            self.change(lane, |set| set.insert(start, end));
        }
    }

    pub(crate) fn union(&mut self, other: &Clock) {
        let (own, theirs) = (self.prefixes.as_mut_slice(), other.prefixes.as_slice());
        // Nearly always both know the same lanes in the same order.
        if theirs.len() <= own.len() && own.iter().zip(theirs).all(|(own, theirs)| own.0 == theirs.0) {
            own.iter_mut().zip(theirs).for_each(|(own, theirs)| own.1 = own.1.max(theirs.1));
        } else {
            for &(lane, prefix) in theirs {
                let own = self.prefix_mut(lane);
                *own = prefix.max(*own);
            }
        }
        for at in (0..self.beyond.len()).rev() {
            self.change(self.beyond[at].0, Set::absorb);
        }
        for (lane, more) in &other.beyond {
            self.change(*lane, |set| set.union(more));
        }
    }

    pub(crate) fn intersect(&mut self, other: &Clock) {
        for at in 0..self.prefixes.len() {
            let lane = self.prefixes[at].0;
            let (prefix, more) = other.set(lane).unwrap_or_default();
            self.change(lane, |set| set.intersect(prefix, more));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// How many intervals stand beyond the prefixes.
    pub(crate) fn fragments(&self) -> usize {
        self.beyond.iter().map(|(_, more)| more.len()).sum()
    }

    /// Merges intervals between which no live work lies. `live` gives the sorted numbers of a lane.
    pub(crate) fn fill<'a>(&mut self, live: impl Fn(Lane) -> &'a [u64]) {
        let lanes: SmallVec<[Lane; 3]> = self.beyond.iter().map(|(lane, _)| *lane).collect();
        lanes.into_iter().for_each(|lane| self.change(lane, |set| set.fill(live(lane))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const LANE: Lane = Lane(3);

    fn clock(numbers: &[u64]) -> Clock {
        let mut clock = Clock::default();
        for &number in numbers {
            clock.insert(LANE, number);
        }
        clock
    }

    fn members(clock: &Clock) -> BTreeSet<u64> {
        (0..64).filter(|&number| clock.contains(LANE, number)).collect()
    }

    #[test]
    fn sets_behave_like_sets() {
        // Every pair of subsets of 0..6, spread so that intervals appear.
        for a in 0..64u64 {
            for b in 0..64u64 {
                let list = |bits: u64| (0..6).filter(|i| bits >> i & 1 == 1).collect::<Vec<u64>>();
                let (left, right) = (clock(&list(a)), clock(&list(b)));
                let mut union = left.clone();
                union.union(&right);
                assert_eq!(members(&union), list(a | b).into_iter().collect());
                let mut intersection = left.clone();
                intersection.intersect(&right);
                assert_eq!(members(&intersection), list(a & b).into_iter().collect());
                let missing = (0..6).find(|i| a >> i & 1 == 0);
                assert_eq!(left.first_missing(LANE, 0, 6), missing);
            }
        }
    }

    #[test]
    fn filling_keeps_live_works_apart() {
        let mut set = clock(&[0, 1, 5, 9]);
        set.fill(|_| &[3]);
        assert_eq!(members(&set), BTreeSet::from([0, 1, 5, 6, 7, 8, 9]));
        assert_eq!(set.fragments(), 1);
        set.fill(|_| &[]);
        assert_eq!(set.fragments(), 0);
    }
}
