//! The matrix product, the bodies and the sort.

use super::{Crew, Part};
use crate::cpu::work::Item;
use bytemuck::{cast_slice, cast_slice_mut};

const TILE: usize = 16;

struct Rows<'a> {
    a: &'a [f32],
    b: &'a [f32],
    product: &'a mut [f32],
    side: usize,
}

impl Part for Rows<'_> {
    #[inline(always)]
    fn run(self) {
        let Rows { a, b, product, side } = self;
        for (a, product) in a.chunks_exact(TILE * side).zip(product.chunks_exact_mut(TILE * side)) {
            for x in (0..side).step_by(TILE) {
                let mut sums = [[0f32; TILE]; TILE];
                for tile in (0..side).step_by(TILE) {
                    let [tile_a, tile_b] = [(a, 0, tile), (b, tile, x)].map(|(from, y, x)| {
                        let row = |j: usize| from[(y + j) * side + x..].first_chunk::<TILE>();
                        std::array::from_fn::<_, TILE, _>(|j| *row(j).unwrap_or(&[0.0; TILE]))
                    });
                    for (sums, a) in sums.iter_mut().zip(&tile_a) {
                        for (a, b) in a.iter().zip(&tile_b) {
                            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * b);
                        }
                    }
                }
                for (j, sums) in sums.iter().enumerate() {
                    product[j * side + x..][..TILE].copy_from_slice(sums);
                }
            }
        }
    }
}

pub fn matrix(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(a), Item::Buffer(b), Item::Buffer(product)] = items else { return };
    let side = a.len().isqrt();
    let rows = crew.share(side, TILE);
    let (a, b): (&[f32], &[f32]) = (cast_slice(a), cast_slice(b));
    let parts = a.chunks(rows * side).zip(cast_slice_mut(product).chunks_mut(rows * side));
    crew.run(parts.map(|(a, product)| Rows { a, b, product, side }));
}

struct Bodies<'a> {
    all: &'a [[f32; 4]],
    first: usize,
    speeds: &'a [[f32; 4]],
    moved: &'a mut [[f32; 4]],
}

impl Part for Bodies<'_> {
    #[inline(always)]
    fn run(self) {
        for (i, (moved, speed)) in self.moved.iter_mut().zip(self.speeds).enumerate() {
            let own = self.all[self.first + i];
            let mut pull = [0f32; 3];
            for other in self.all {
                let way: [f32; 3] = std::array::from_fn(|c| other[c] - own[c]);
                let near = 1.0 / (way[0] * way[0] + way[1] * way[1] + way[2] * way[2] + 0.01).sqrt();
                let strength = other[3] * near * near * near;
                pull.iter_mut().zip(way).for_each(|(pull, way)| *pull += way * strength);
            }
            for c in 0..3 {
                moved[c] = own[c] + (speed[c] + pull[c] * 0.001) * 0.001;
            }
            moved[3] = own[3];
        }
    }
}

pub fn bodies(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(all), Item::Buffer(speeds), Item::Buffer(moved)] = items else { return };
    let share = crew.share(all.len() / 4, 1);
    let (all, speeds): (&[[f32; 4]], &[[f32; 4]]) = (cast_slice(all), cast_slice(speeds));
    let parts = speeds.chunks(share).zip(cast_slice_mut(moved).chunks_mut(share)).enumerate();
    crew.run(parts.map(|(at, (speeds, moved))| Bodies { all, first: at * share, speeds, moved }));
}

/// Exchanges over the length of two slices.
struct Exchange<'a>(&'a mut [u32], &'a mut [u32], bool);

impl Part for Exchange<'_> {
    #[inline(always)]
    fn run(self) {
        exchange(self.0, self.1, self.2);
    }
}

#[inline(always)]
fn exchange(low: &mut [u32], high: &mut [u32], up: bool) {
    for (low, high) in low.iter_mut().zip(high) {
        let (small, large) = (*low.min(high), *low.max(high));
        (*low, *high) = if up { (small, large) } else { (large, small) };
    }
}

/// Runs of up to `runs.1` words within blocks of 512, from runs of `runs.0`. `first` is the place of the first word.
struct Blocks<'a> {
    words: &'a mut [u32],
    first: usize,
    runs: (usize, usize),
}

impl Part for Blocks<'_> {
    #[inline(always)]
    fn run(self) {
        for (at, block) in self.words.chunks_exact_mut(512).enumerate() {
            let mut run = self.runs.0;
            while run <= self.runs.1 {
                let mut reach = (run / 2).min(256);
                while reach > 0 {
                    for (pair, both) in block.chunks_exact_mut(2 * reach).enumerate() {
                        let place = self.first + at * 512 + pair * 2 * reach;
                        let (low, high) = both.split_at_mut(reach);
                        exchange(low, high, place & run == 0);
                    }
                    reach /= 2;
                }
                run *= 2;
            }
        }
    }
}

pub fn bitonic(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(words)] = items else { return };
    let share = crew.share(words.len(), 512);
    let blocks = |words: &mut [u32], runs: (usize, usize)| {
        let parts = words.chunks_mut(share).enumerate();
        crew.run(parts.map(|(at, words)| Blocks { words, first: at * share, runs }));
    };
    blocks(words, (2, 512));
    let mut run = 1024;
    while run <= words.len() {
        let mut reach = run / 2;
        while reach >= 512 {
            let pieces = (reach / crew.threads).next_power_of_two().max(512);
            let pairs = words.chunks_mut(2 * reach).enumerate();
            crew.run(pairs.flat_map(|(at, both)| {
                let up = (at * 2 * reach) & run == 0;
                let (low, high) = both.split_at_mut(reach);
                let pairs = low.chunks_mut(pieces).zip(high.chunks_mut(pieces));
                pairs.map(move |(low, high)| Exchange(low, high, up))
            }));
            reach /= 2;
        }
        blocks(words, (run, run));
        run *= 2;
    }
}
