//! Blurs and the resize.

use super::{Crew, Part};
use crate::cpu::work::Item;
use bytemuck::{cast_slice, cast_slice_mut};

const WEIGHTS: [f32; 9] =
    [0.0162162, 0.054054, 0.1216216, 0.1945946, 0.227027, 0.1945946, 0.1216216, 0.054054, 0.0162162];

trait Pixel: Copy + Send + Sync {
    fn load(self) -> [f32; 4];
    fn store(value: [f32; 4]) -> Self;
}

impl Pixel for [f32; 4] {
    #[inline(always)]
    fn load(self) -> [f32; 4] {
        self
    }

    #[inline(always)]
    fn store(value: [f32; 4]) -> [f32; 4] {
        value
    }
}

impl Pixel for [u8; 4] {
    #[inline(always)]
    fn load(self) -> [f32; 4] {
        self.map(|byte| f32::from(byte) * (1.0 / 255.0))
    }

    #[inline(always)]
    fn store(value: [f32; 4]) -> [u8; 4] {
        value.map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8)
    }
}

#[inline(always)]
fn weigh<'a, P: Pixel + 'a>(taps: impl Iterator<Item = &'a P>) -> P {
    let mut sum = [0f32; 4];
    for (tap, weight) in taps.zip(WEIGHTS) {
        sum.iter_mut().zip(tap.load()).for_each(|(sum, value)| *sum += value * weight);
    }
    P::store(sum)
}

/// Rows of a square picture from `first` on.
struct Rows<'a, P> {
    source: &'a [P],
    target: &'a mut [P],
    side: usize,
    first: usize,
    vertical: bool,
}

impl<P: Pixel> Part for Rows<'_, P> {
    #[inline(always)]
    fn run(self) {
        let Rows { source, target, side, first, vertical } = self;
        for (y, out) in target.chunks_exact_mut(side).enumerate() {
            let row = |y: usize| &source[y * side..][..side];
            let y = first + y;
            if vertical {
                let rows: [&[P]; 9] = std::array::from_fn(|d| row((y + d).saturating_sub(4).min(side - 1)));
                for (x, out) in out.iter_mut().enumerate() {
                    *out = weigh(rows.iter().map(|row| &row[x]));
                }
                continue;
            }
            let row = row(y);
            let edge = |x: usize| weigh((x..x + 9).map(|at| &row[at.saturating_sub(4).min(side - 1)]));
            for x in (0..4).chain(side - 4..side) {
                out[x] = edge(x);
            }
            // In the middle nothing is clamped.
            for (out, taps) in out[4..].iter_mut().zip(row.windows(9)) {
                *out = weigh(taps.iter());
            }
        }
    }
}

fn both<P: Pixel>(source: &[P], between: &mut [P], target: &mut [P], crew: Crew) {
    let side = source.len().isqrt();
    let rows = crew.share(side, 1);
    pass(source, between, rows, false, crew);
    pass(between, target, rows, true, crew);
}

fn pass<P: Pixel>(source: &[P], target: &mut [P], rows: usize, vertical: bool, crew: Crew) {
    let side = source.len().isqrt();
    let parts = target.chunks_mut(rows * side).enumerate();
    crew.run(parts.map(|(at, target)| Rows { source, target, side, first: at * rows, vertical }));
}

pub fn blur(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(source), Item::Buffer(between), Item::Buffer(target)] = items else { return };
    both::<[f32; 4]>(cast_slice(source), cast_slice_mut(between), cast_slice_mut(target), crew);
}

pub fn blur_bytes(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(source), Item::Buffer(between), Item::Buffer(target)] = items else { return };
    both::<[u8; 4]>(cast_slice(source), cast_slice_mut(between), cast_slice_mut(target), crew);
}

struct Resize<'a> {
    source: &'a [[u8; 4]],
    from: [u32; 2],
    target: &'a mut [[u8; 4]],
    to: [u32; 2],
    first: usize,
}

impl Part for Resize<'_> {
    #[inline(always)]
    fn run(self) {
        let Resize { source, from, target, to, first } = self;
        // The texel before a place and its neighbour, and how far the place is from the first.
        let place = |at: usize, axis: usize| {
            let place = (at as f32 + 0.5) / to[axis] as f32 * from[axis] as f32 - 0.5;
            let low = place.floor();
            let limit = from[axis] as i32 - 1;
            let texel = |at: i32| at.clamp(0, limit) as usize;
            (texel(low as i32), texel(low as i32 + 1), place - low)
        };
        for (y, out) in target.chunks_exact_mut(to[0] as usize).enumerate() {
            let (above, below, down) = place(first + y, 1);
            let [above, below] = [above, below].map(|y| &source[y * from[0] as usize..][..from[0] as usize]);
            for (x, out) in out.iter_mut().enumerate() {
                let (left, right, across) = place(x, 0);
                let corners = [above[left], above[right], below[left], below[right]].map(Pixel::load);
                *out = Pixel::store(std::array::from_fn(|c| {
                    let [a, b, d, e] = corners.map(|corner| corner[c]);
                    let (top, bottom) = (a + (b - a) * across, d + (e - d) * across);
                    top + (bottom - top) * down
                }));
            }
        }
    }
}

pub fn resize(items: &mut [Item], crew: Crew) {
    let [Item::Texture { size: from, texels: source }, _, Item::Texture { size: to, texels: target }] = items
    else {
        return;
    };
    let (from, to) = (*from, *to);
    let rows = crew.share(to[1] as usize, 1);
    let source = cast_slice(source);
    let parts = cast_slice_mut(target).chunks_mut(rows * to[0] as usize).enumerate();
    crew.run(parts.map(|(at, target)| Resize { source, from, target, to, first: at * rows }));
}
