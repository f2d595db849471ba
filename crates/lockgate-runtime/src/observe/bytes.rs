//! Which bytes? A set of them as sorted ranges.
//!
//! Ranges that touch are one. A strided pattern keeps a range for each piece; nothing is rounded. Batches go through
//! [`Extend`], which sorts once. Deliberately absent: where the bytes are. Tested below against a set of single bytes.

use std::ops::Range;

/// A set of bytes: sorted half-open ranges with gaps between them.
///
/// ```
/// use lockgate_runtime::ByteSet;
/// let mut bytes: ByteSet = [8..12, 0..4, 4..8].into_iter().collect();
/// bytes.insert(20..24);
/// assert_eq!(bytes.ranges(), [0..12, 20..24]);
/// assert!(bytes.contains(11) && !bytes.contains(12));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByteSet {
    ranges: Vec<Range<u64>>,
}

impl ByteSet {
    /// No bytes.
    pub fn new() -> ByteSet {
        ByteSet::default()
    }

    /// The sorted ranges; no two of them touch and none is empty.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// From its first byte to the end of its last; `0..0` if it is empty.
    pub fn hull(&self) -> Range<u64> {
        match (self.ranges.first(), self.ranges.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }

    /// Whether a byte is in it.
    pub fn contains(&self, byte: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.end <= byte);
        self.ranges.get(at).is_some_and(|range| range.start <= byte)
    }

    /// Whether all bytes of `other` are in it.
    pub fn contains_all(&self, other: &ByteSet) -> bool {
        other.ranges.iter().all(|wanted| {
            let at = self.ranges.partition_point(|range| range.end <= wanted.start);
            self.ranges.get(at).is_some_and(|own| own.start <= wanted.start && wanted.end <= own.end)
        })
    }

    /// Adds the bytes of a range. Many ranges are added faster together, by [`Extend`].
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|own| own.end < range.start);
        let end = first + self.ranges[first..].partition_point(|own| own.start <= range.end);
        let joined = match self.ranges.get(first..end) {
            Some([low, .., high]) => low.start.min(range.start)..high.end.max(range.end),
            Some([only]) => only.start.min(range.start)..only.end.max(range.end),
            _ => range,
        };
        self.ranges.splice(first..end, [joined]);
    }

    /// Removes the bytes of another set.
    pub fn subtract(&mut self, other: &ByteSet) {
        let mut left = Vec::with_capacity(self.ranges.len());
        let mut at = 0;
        for range in &self.ranges {
            let mut start = range.start;
            while other.ranges.get(at).is_some_and(|hole| hole.end <= start) {
                at += 1;
            }
            let holes = other.ranges[at..].iter().take_while(|hole| hole.start < range.end);
            for hole in holes {
                if start < hole.start {
                    left.push(start..hole.start);
                }
                start = start.max(hole.end);
            }
            if start < range.end {
                left.push(start..range.end);
            }
        }
        self.ranges = left;
    }

    /// Adds the bytes of another set.
    pub fn union(&mut self, other: &ByteSet) {
        if !other.is_empty() {
            self.extend(other.ranges.iter().cloned());
        }
    }

    /// The bytes that are in both.
    pub fn intersection(&self, other: &ByteSet) -> ByteSet {
        let mut ranges = Vec::new();
        let (mut left, mut right) = (self.ranges.iter().peekable(), other.ranges.iter().peekable());
        while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
            let (start, end) = (a.start.max(b.start), a.end.min(b.end));
            if start < end {
                ranges.push(start..end);
            }
            if a.end <= b.end {
                left.next()
            } else {
                right.next()
            };
        }
        ByteSet { ranges }
    }

    /// The same bytes, all `by` further on.
    pub fn shifted(&self, by: u64) -> ByteSet {
        let shift = |range: &Range<u64>| range.start.saturating_add(by)..range.end.saturating_add(by);
        ByteSet { ranges: self.ranges.iter().map(shift).filter(|range| !range.is_empty()).collect() }
    }
}

impl Extend<Range<u64>> for ByteSet {
    /// Adds many ranges in any order: `n log n` for `n` ranges in it and added.
    fn extend<I: IntoIterator<Item = Range<u64>>>(&mut self, ranges: I) {
        self.ranges.extend(ranges.into_iter().filter(|range| !range.is_empty()));
        // A run that is sorted already costs one pass.
        self.ranges.sort_by_key(|range| range.start);
        self.ranges.dedup_by(|next, kept| {
            let touches = next.start <= kept.end;
            if touches {
                kept.end = kept.end.max(next.end);
            }
            touches
        });
    }
}

impl FromIterator<Range<u64>> for ByteSet {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> ByteSet {
        let mut set = ByteSet::new();
        set.extend(ranges);
        set
    }
}

impl From<Range<u64>> for ByteSet {
    fn from(range: Range<u64>) -> ByteSet {
        ByteSet::from_iter([range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn random(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        *seed >> 33
    }

    fn random_ranges(seed: &mut u64) -> Vec<Range<u64>> {
        let range = |seed: &mut u64| {
            let start = random(seed) % 60;
            start..start + random(seed) % 6
        };
        (0..random(seed) % 12).map(|_| range(seed)).collect()
    }

    fn bytes(set: &ByteSet) -> BTreeSet<u64> {
        set.ranges().iter().cloned().flatten().collect()
    }

    #[test]
    fn sets_agree_with_sets_of_single_bytes() {
        let mut seed = 1;
        for _ in 0..2000 {
            let (a, b) = (random_ranges(&mut seed), random_ranges(&mut seed));
            let [mut one, two] = [&a, &b].map(|ranges| ranges.iter().cloned().collect::<ByteSet>());
            let single = |ranges: &[Range<u64>]| ranges.iter().cloned().flatten().collect::<BTreeSet<u64>>();
            let (first, second) = (single(&a), single(&b));
            let mut inserted = ByteSet::new();
            a.iter().for_each(|range| inserted.insert(range.clone()));
            assert_eq!(inserted, one);
            assert_eq!(bytes(&one), first);
            assert_eq!(one.len(), first.len() as u64);
            assert_eq!(bytes(&one.intersection(&two)), &first & &second);
            assert_eq!(one.contains_all(&two), second.is_subset(&first));
            (0..70).for_each(|byte| assert_eq!(one.contains(byte), first.contains(&byte)));
            let mut rest = one.clone();
            rest.subtract(&two);
            assert_eq!(bytes(&rest), &first - &second);
            assert_eq!(bytes(&one.shifted(5)), first.iter().map(|byte| byte + 5).collect());
            one.union(&two);
            assert_eq!(bytes(&one), &first | &second);
            assert!(one.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
