//! Which bytes does an expression of ids name?

use super::value::{self, Affine, Bounds};
use crate::ByteSet;
use std::ops::Range;

/// Most ranges that one access is spelt out as; beyond, `may` is rounded up and `must` is given up.
const RANGES_MAX: usize = 1 << 14;

/// Bytes at each value of an expression: exactly, or rounded up where that would be too many ranges.
pub(super) struct Pattern {
    pub(super) bytes: ByteSet,
    pub(super) exact: bool,
}

/// `pieces` at each value that the expression takes where its symbols take all of theirs.
pub(super) fn pattern(at: &Affine, bounds: &[Bounds], pieces: &[Range<i128>], clip: Bounds) -> Pattern {
    let mut terms: Vec<(i128, i128)> = at
        .terms
        .iter()
        .map(|(symbol, factor)| {
            let (low, high) = value::at(bounds, *symbol);
            (factor.abs(), high - low + 1)
        })
        .filter(|(_, count)| *count > 1)
        .collect();
    terms.sort_unstable();
    let (low, high) = at.bounds(bounds);
    let mut ranges: Vec<Range<i128>> =
        pieces.iter().map(|piece| low + piece.start..low + piece.end).collect();
    let mut exact = true;
    for (step, count) in terms {
        ranges = join(ranges);
        if let [only] = &mut ranges[..]
            && only.end - only.start >= step
        {
            only.end += step * (count - 1);
            continue;
        }
        if ranges.len() as i128 * count > RANGES_MAX as i128 {
            let end = pieces.iter().map(|piece| piece.end).max().unwrap_or(0);
            ranges.clear();
            ranges.push(low..high + end);
            exact = false;
            break;
        }
        ranges = (0..count)
            .flat_map(|round| ranges.iter().map(move |own| own.start + round * step..own.end + round * step))
            .collect();
    }
    let last = pieces.iter().map(|piece| piece.end).max().unwrap_or(0);
    let clipped = ranges.into_iter().map(|range| range.start.max(clip.0)..range.end.min(clip.1 + last));
    Pattern { bytes: clipped.filter_map(bytes).collect(), exact: exact && clip.0 <= low && high <= clip.1 }
}

/// The range as bytes of a buffer, if it is one.
pub(super) fn bytes(range: Range<i128>) -> Option<Range<u64>> {
    let byte = |at: i128| u64::try_from(at.clamp(0, u64::MAX.into())).ok();
    let (start, end) = (byte(range.start)?, byte(range.end)?);
    (start < end).then_some(start..end)
}

fn join(mut ranges: Vec<Range<i128>>) -> Vec<Range<i128>> {
    ranges.sort_by_key(|range| range.start);
    ranges.dedup_by(|next, kept| {
        let touches = next.start <= kept.end;
        if touches {
            kept.end = kept.end.max(next.end);
        }
        touches
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::super::value::{Cond, Int, Path};
    use super::*;
    use std::collections::BTreeSet;

    fn path(bounds: Vec<Bounds>) -> Path {
        Path { narrowed: vec![false; bounds.len()], bounds, certain: true }
    }

    #[test]
    fn patterns_agree_with_enumeration() {
        let mut seed = 3u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            i128::from((seed >> 33) % below)
        };
        for _ in 0..3000 {
            let bounds: Vec<Bounds> = (0..3).map(|_| (random(4), 0)).map(|(low, _)| (low, low + 3)).collect();
            let mut terms: Vec<_> = (0..3).map(|symbol| (symbol, random(9) - 4)).collect();
            terms.retain(|(_, factor)| *factor != 0);
            let at = Affine { constant: 60 + random(9), terms };
            let piece = 0..1 + random(4);
            let all = (-1000, 1000);
            let found = pattern(&at, &bounds, std::slice::from_ref(&piece), all);
            let mut expected = BTreeSet::new();
            let values = |of: Bounds| of.0..=of.1;
            for x in values(bounds[0]) {
                for y in values(bounds[1]) {
                    for z in values(bounds[2]) {
                        let ids = [x, y, z];
                        let sum: i128 = at.terms.iter().map(|(symbol, factor)| ids[*symbol] * factor).sum();
                        expected.extend(
                            (at.constant + sum..at.constant + sum + piece.end).map(|byte| byte as u64),
                        );
                    }
                }
            }
            let got: BTreeSet<u64> = found.bytes.ranges().iter().cloned().flatten().collect();
            assert_eq!((got, found.exact), (expected, true));
        }
    }

    #[test]
    fn conditions_narrow_to_what_satisfies_them() {
        let mut seed = 9u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            i128::from((seed >> 33) % below)
        };
        for _ in 0..5000 {
            let whole = path(vec![(0, 5), (2, 6)]);
            let compare = |random: &mut dyn FnMut(u64) -> i128| {
                let one = |random: &mut dyn FnMut(u64) -> i128, symbol| {
                    Int::symbol(symbol, &whole.bounds).scaled(random(7) - 3, &whole.bounds)
                };
                let left = one(random, 0).plus(&Int::constant(random(20) - 10), &whole.bounds);
                let right = if random(2) == 0 { one(random, 1) } else { Int::constant(random(9)) };
                Cond::compare(left, right, [random(2) == 0, random(2) == 0, random(2) == 0])
            };
            let (a, b) = (compare(&mut random), compare(&mut random));
            let (either, value) = (random(2) == 0, random(2) == 0);
            let cond = if either { a.clone().or(b.clone()) } else { a.clone().and(b.clone()) };
            let narrowed = whole.narrow(&cond, value);
            let holds = |cond: &Cond, point: [i128; 2]| {
                let at: Vec<Bounds> = point.iter().map(|own| (*own, *own)).collect();
                path(at).narrow(cond, true).is_some()
            };
            for x in 0..=5 {
                for y in 2..=6 {
                    let (p, q) = (holds(&a, [x, y]), holds(&b, [x, y]));
                    let satisfied = if either { p || q } else { p && q } == value;
                    let inside = narrowed.as_ref().is_some_and(|path| {
                        let within =
                            |at: usize, own: i128| (path.bounds[at].0..=path.bounds[at].1).contains(&own);
                        within(0, x) && within(1, y)
                    });
                    assert!(inside || !satisfied, "{cond:?} at {x} {y}");
                    let certain = narrowed.as_ref().is_some_and(|path| path.certain);
                    assert!(satisfied || !inside || !certain, "{cond:?} at {x} {y} {value}");
                }
            }
        }
    }
}
