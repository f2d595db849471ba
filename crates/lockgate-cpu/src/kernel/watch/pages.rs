//! Values by address, without asking beforehand for how many.
//!
//! Memory that is known to be touched is one flat piece, which machine code can look into; the rest is made in pages
//! when it is first asked for. Deliberately absent: what the values mean.

use std::collections::HashMap;
use std::ops::Range;

use super::spare::{self, Piece};

/// Cells of a page.
const PAGE: u64 = 1024;
/// Clearing so many values costs less than that the system gives out a page for one.
const DENSE: u64 = 16;

/// The values of neighbouring addresses.
#[derive(Debug)]
struct Flat<T: Piece> {
    /// The number of the first piece.
    first: u64,
    count: usize,
    /// Much of it will be touched: memory that was used before is cleared, which costs more where only few pages are.
    dense: bool,
    /// Made when it is first asked for.
    cells: Vec<T>,
}

/// A value for each piece of `1 << shift` bytes.
#[derive(Debug)]
pub(super) struct Pages<T: Piece> {
    shift: u32,
    flat: Vec<Flat<T>>,
    places: HashMap<u64, usize>,
    pages: Vec<(u64, Box<[T]>)>,
    /// Where pages were found lately.
    near: [(u64, usize); 8],
}

impl<T: Piece> Flat<T> {
    fn cells(&mut self) -> &mut [T] {
        if self.cells.is_empty() {
            let spare = if self.dense { spare::take(self.count) } else { None };
            // Otherwise zeros that the system gives out page by page.
            self.cells = spare.unwrap_or_else(|| vec![T::default(); self.count]);
        }
        &mut self.cells
    }
}

impl<T: Piece> Drop for Flat<T> {
    fn drop(&mut self) {
        spare::give(std::mem::take(&mut self.cells));
    }
}

impl<T: Piece> Pages<T> {
    pub(super) fn new(shift: u32) -> Pages<T> {
        let (places, near) = (HashMap::new(), [(u64::MAX, 0); 8]);
        Pages { shift, flat: Vec::new(), places, pages: Vec::new(), near }
    }

    /// Values of these addresses lie in one piece from here on. Nothing of them may be there yet, or it is not found.
    /// `touches`: about how many of them will be asked for.
    pub(super) fn flatten(&mut self, addresses: Range<u64>, touches: u64) {
        let first = addresses.start >> self.shift;
        let count = (addresses.end.div_ceil(1 << self.shift) - first) as usize;
        let dense = count as u64 <= touches.saturating_mul(DENSE);
        self.flat.push(Flat { first, count, dense, cells: Vec::new() });
    }

    /// Where the value of address 0 would lie if the flat piece with this address went on to there.
    pub(super) fn origin(&mut self, address: u64) -> Option<u64> {
        let (at, _) = self.place(address)?;
        let flat = &mut self.flat[at];
        let start = flat.cells().as_mut_ptr() as u64;
        Some(start.wrapping_sub(flat.first.wrapping_mul(size_of::<T>() as u64)))
    }

    /// Which flat piece an address is in, and where there.
    fn place(&self, address: u64) -> Option<(usize, usize)> {
        let piece = address >> self.shift;
        self.flat.iter().enumerate().find_map(|(number, flat)| {
            let at = piece.wrapping_sub(flat.first);
            (at < flat.count as u64).then_some((number, at as usize))
        })
    }

    fn split(&self, address: u64) -> (u64, usize) {
        let piece = address >> self.shift;
        (piece / PAGE, (piece % PAGE) as usize)
    }

    pub(super) fn get_mut(&mut self, address: u64) -> &mut T {
        if let Some((flat, at)) = self.place(address) {
            return &mut self.flat[flat].cells()[at];
        }
        let (page, at) = self.split(address);
        let near = (page % 8) as usize;
        if self.near[near].0 != page {
            let next = self.pages.len();
            let place = *self.places.entry(page).or_insert(next);
            if place == next {
                self.pages.push((page, vec![T::default(); PAGE as usize].into_boxed_slice()));
            }
            self.near[near] = (page, place);
        }
        &mut self.pages[self.near[near].1].1[at]
    }

    pub(super) fn get(&self, address: u64) -> Option<&T> {
        if let Some((flat, at)) = self.place(address) {
            return self.flat[flat].cells.get(at);
        }
        let (page, at) = self.split(address);
        let (known, place) = self.near[(page % 8) as usize];
        let place = if known == page { place } else { *self.places.get(&page)? };
        self.pages.get(place).map(|(_, cells)| &cells[at])
    }

    /// Whether no value was ever asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.flat.iter().all(|flat| flat.cells.is_empty())
    }

    /// All values that were made, by address.
    pub(super) fn sorted(&self) -> Vec<(u64, &[T])> {
        let pages = self.pages.iter().map(|(page, cells)| (page * PAGE, &**cells));
        let flat = self.flat.iter().map(|flat| (flat.first, &*flat.cells));
        let mut all: Vec<_> = pages.chain(flat).map(|(piece, cells)| (piece << self.shift, cells)).collect();
        all.sort_by_key(|(address, _)| *address);
        all
    }

    pub(super) fn forget(&mut self) {
        self.pages.iter_mut().for_each(|(_, cells)| cells.fill(T::default()));
        self.flat.iter_mut().for_each(|flat| flat.cells.fill(T::default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a record leaves behind is not seen by the next one, whatever their sizes.
    #[test]
    fn memory_that_was_used_is_as_new() {
        let words = 1 << 16;
        for (count, touches) in [(words, words), (words / 2, words), (words, 1), (words, words), (7, words)] {
            let mut pages: Pages<[u64; 2]> = Pages::new(2);
            pages.flatten(0..4 * count, touches);
            assert!(pages.is_empty());
            for address in [0, 4 * (count / 3), 4 * (count - 1)] {
                assert_eq!(*pages.get_mut(address), [0; 2]);
                *pages.get_mut(address) = [1, 2];
            }
            let [(0, cells)] = pages.sorted()[..] else { panic!("one piece") };
            assert_eq!(cells.len() as u64, count);
            assert_eq!(cells.iter().filter(|cell| **cell != [0; 2]).count(), 3);
        }
    }
}
