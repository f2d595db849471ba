//! Loops over long arrays: saxpy, sum, histogram, prefix sums.

use super::{Crew, Part};
use crate::cpu::work::Item;
use bytemuck::{cast_slice, cast_slice_mut};

struct Saxpy<'a>(&'a [f32], &'a mut [f32]);

impl Part for Saxpy<'_> {
    #[inline(always)]
    fn run(self) {
        self.1.iter_mut().zip(self.0).for_each(|(y, x)| *y += 2.5 * x);
    }
}

pub fn saxpy(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(x), Item::Buffer(y)] = items else { return };
    let share = crew.share(x.len(), 1);
    let (x, y): (&[f32], &mut [f32]) = (cast_slice(x), cast_slice_mut(y));
    crew.run(x.chunks(share).zip(y.chunks_mut(share)).map(|(x, y)| Saxpy(x, y)));
}

struct Sum<'a>(&'a [f32], &'a mut f32);

impl Part for Sum<'_> {
    #[inline(always)]
    fn run(self) {
        // Many sums at once: one alone would wait for itself at each step.
        let mut sums = [0f32; 32];
        let (chunks, rest) = self.0.as_chunks::<32>();
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += value);
        }
        *self.1 = sums.iter().chain(rest).sum();
    }
}

pub fn reduction(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(data), _, _, Item::Buffer(result)] = items else { return };
    let mut sums = vec![0f32; crew.threads];
    crew.run(cast_slice(data).chunks(crew.share(data.len(), 32)).zip(&mut sums).map(|(d, s)| Sum(d, s)));
    result[0] = sums.iter().sum::<f32>().to_bits();
}

struct Histogram<'a>(&'a [u32], &'a mut [u32; 256]);

impl Part for Histogram<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.iter().for_each(|value| self.1[*value as usize & 255] += 1);
    }
}

pub fn histogram(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(values), Item::Buffer(bins)] = items else { return };
    let mut own = vec![[0u32; 256]; crew.threads];
    let parts = values.chunks(crew.share(values.len(), 1)).zip(&mut own);
    crew.run(parts.map(|(values, bins)| Histogram(values, bins)));
    for own in own {
        bins.iter_mut().zip(own).for_each(|(bin, own)| *bin += own);
    }
}

struct Total<'a>(&'a [u32], &'a mut u32);

impl Part for Total<'_> {
    #[inline(always)]
    fn run(self) {
        *self.1 = self.0.iter().fold(0, |sum: u32, value| sum.wrapping_add(*value));
    }
}

struct Prefix<'a>(&'a [u32], &'a mut [u32], u32);

impl Part for Prefix<'_> {
    #[inline(always)]
    fn run(self) {
        let mut sum = self.2;
        for (out, value) in self.1.iter_mut().zip(self.0) {
            sum = sum.wrapping_add(*value);
            *out = sum;
        }
    }
}

pub fn prefix(items: &mut [Item], crew: Crew) {
    let [Item::Buffer(source), Item::Buffer(sums), ..] = items else { return };
    let share = crew.share(source.len(), 1);
    let mut totals = vec![0u32; crew.threads];
    if crew.threads > 1 {
        crew.run(source.chunks(share).zip(&mut totals).map(|(source, total)| Total(source, total)));
    }
    let before = totals.iter().scan(0u32, |sum, total| {
        let before = *sum;
        *sum = sum.wrapping_add(*total);
        Some(before)
    });
    let parts = source.chunks(share).zip(sums.chunks_mut(share)).zip(before);
    crew.run(parts.map(|((source, sums), before)| Prefix(source, sums, before)));
}
