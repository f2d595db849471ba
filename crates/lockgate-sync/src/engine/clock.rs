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
    more: Vec<(u64, u64)>,
}

impl Set {
    fn contains(&self, number: u64) -> bool {
        self.first_missing(number, number + 1).is_none()
    }

    /// The first number of `start..end` that is not in the set.
    fn first_missing(&self, start: u64, end: u64) -> Option<u64> {
        let start = start.max(self.prefix);
        if start >= end {
            return None;
        }
        let at = self.more.partition_point(|&(_, stop)| stop <= start);
        match self.more.get(at) {
            Some(&(from, stop)) if from <= start => (stop < end).then_some(stop),
            _ => Some(start),
        }
    }

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

    fn union(&mut self, other: &Set) {
        if other.prefix > self.prefix {
            self.prefix = other.prefix;
            self.absorb();
        }
        if other.more.is_empty() || self.more == other.more {
            return;
        }
        if self.more.is_empty() {
            self.more.extend_from_slice(&other.more);
            self.absorb();
        } else {
            self.merge(&other.more);
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

    fn intersect(&mut self, other: &Set) {
        let spans = |set: &Set| -> Vec<(u64, u64)> {
            std::iter::once((0, set.prefix)).chain(set.more.iter().copied()).collect()
        };
        let (own, theirs) = (spans(self), spans(other));
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
        let mut filled = Set { prefix: self.prefix, more: Vec::new() };
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

/// A set of works of any lanes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    lanes: SmallVec<[(Lane, Set); 3]>,
}

impl Clock {
    fn set(&self, lane: Lane) -> Option<&Set> {
        // Few lanes are in use at once, and a scan of few beats a search.
        self.lanes.iter().find(|(l, _)| *l == lane).map(|(_, set)| set)
    }

    fn set_mut(&mut self, lane: Lane) -> &mut Set {
        let at = match self.lanes.iter().position(|(l, _)| *l == lane) {
            Some(at) => at,
            None => {
                self.lanes.push((lane, Set::default()));
                self.lanes.len() - 1
            }
        };
        &mut self.lanes[at].1
    }

    pub(crate) fn contains(&self, lane: Lane, number: u64) -> bool {
        self.set(lane).is_some_and(|set| set.contains(number))
    }

    /// The first of the works `start..end` of a lane that is not in the set.
    pub(crate) fn first_missing(&self, lane: Lane, start: u64, end: u64) -> Option<u64> {
        match self.set(lane) {
            Some(set) => set.first_missing(start, end),
            None => (start < end).then_some(start),
        }
    }

    pub(crate) fn insert(&mut self, lane: Lane, number: u64) {
        self.set_mut(lane).insert(number, number + 1);
    }

    pub(crate) fn union(&mut self, other: &Clock) {
        if self.lanes.is_empty() {
            self.clone_from(other);
            return;
        }
        for (lane, set) in &other.lanes {
            self.set_mut(*lane).union(set);
        }
    }

    pub(crate) fn intersect(&mut self, other: &Clock) {
        for (lane, set) in &mut self.lanes {
            match other.set(*lane) {
                Some(theirs) => set.intersect(theirs),
                None => *set = Set::default(),
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// How many intervals stand beyond the prefixes.
    pub(crate) fn fragments(&self) -> usize {
        self.lanes.iter().map(|(_, set)| set.more.len()).sum()
    }

    /// Merges intervals between which no live work lies. `live` gives the sorted numbers of a lane.
    pub(crate) fn fill<'a>(&mut self, live: impl Fn(Lane) -> &'a [u64]) {
        for (lane, set) in &mut self.lanes {
            if !set.more.is_empty() {
                set.fill(live(*lane));
            }
        }
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
