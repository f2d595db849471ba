//! What machine code has to know to look at cells, and at the bytes of a place, by itself.
//!
//! Both lie in flat pieces for all buffers that are bound, and for the memory of workgroups. Deliberately absent: the
//! code, which is `jit/cells.rs`. Tested by `tests/kernel/watched.rs`.

use std::ops::Range;

use super::{
    Recorder, Space, mark,
    shadow::{CROWDS, Crowded},
};

/// Bytes of cells and places that one launch may have in flat pieces; the rest is looked at by calls.
pub(super) const FLAT_MAX: u64 = 1 << 30;

/// Of a word: its cell and its other readers.
const CELL_SIZE: usize = 2 * size_of::<[u64; 2]>();
/// Of a word: who did atomic operations.
const ATOMIC_SIZE: usize = size_of::<[Crowded; CROWDS]>();

/// Where machine code finds what belongs to a place. Its pieces are words.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(in super::super) struct View {
    /// Where the byte of address 0 would be that says whether it was touched; 0 if that has to be told.
    pub(in super::super) bytes: u64,
    /// Where the cell of address 0 would be; 0 if each access has to be told.
    pub(in super::super) cells: u64,
    /// Where the other readers of address 0 would be; 0 if they have to be told, as nobody has been one yet.
    pub(in super::super) readers: u64,
    /// Where who did atomic operations on address 0 would be; 0 if that has to be told, as nobody has yet.
    pub(in super::super) atomics: u64,
    /// The mark of the workgroup's first invocation at the place.
    pub(in super::super) mark: u64,
    /// The first mark of the workgroup.
    pub(in super::super) ground: u64,
    /// 0 where reads of what nobody has written must be told.
    pub(in super::super) nothing: u64,
}

impl Recorder {
    /// Machine code begins to run some workgroups. When the launch begins, accesses of bound memory wait as runs, and
    /// what belongs to buffers and to workgroup memory gets flat pieces. `atomics`: there may be atomic operations on buffers.
    pub(in super::super) fn begin_part(
        &mut self,
        buffers: impl Iterator<Item = Range<u64>>,
        shared_bytes: u32,
        atomics: bool,
    ) {
        if self.invocations_begun == 0 {
            self.deferred = true;
            if self.shift == 2 {
                self.lay_out(buffers.collect(), shared_bytes, atomics);
            }
        }
    }

    fn lay_out(&mut self, mut buffers: Vec<Range<u64>>, shared_bytes: u32, atomics: bool) {
        buffers.sort_unstable_by_key(|range| range.start);
        // What overlaps has the same cells.
        for next in buffers {
            match self.flat.last_mut() {
                Some(last) if next.start < last.end.next_multiple_of(4) => last.end = last.end.max(next.end),
                _ => self.flat.push(next),
            }
        }
        let touches = self.invocations();
        for range in self.flat.clone() {
            if self.takes(CELL_SIZE, &range) {
                self.bound.flatten(range.clone(), touches);
            }
            if atomics && self.takes(ATOMIC_SIZE, &range) {
                self.bound.flatten_atomics(range, touches);
            }
        }
        let shared = 0..u64::from(shared_bytes);
        if shared_bytes > 0 && self.takes(CELL_SIZE, &shared) {
            self.shared.flatten(shared, touches);
        }
    }

    /// Of the whole launch.
    fn invocations(&self) -> u64 {
        let groups = self.grid.iter().fold(1, |groups: u64, side| groups.saturating_mul((*side).into()));
        groups.saturating_mul(self.group_size.into())
    }

    /// Whether there is room for so many bytes for each word.
    fn takes(&mut self, each: usize, range: &Range<u64>) -> bool {
        let size = (range.end - range.start).div_ceil(4) * each as u64;
        let fits = size <= self.flat_left;
        if fits {
            self.flat_left -= size;
        }
        fits
    }

    /// What machine code has to know of a place that touches this address.
    pub(in super::super) fn view(&mut self, site: u16, space: Space, address: u64) -> View {
        let mut view = View { mark: site.into(), ..View::default() };
        if !address.is_multiple_of(4) {
            return view;
        }
        let Space::Slot(slot) = space else {
            (view.cells, view.readers) = self.shared.origins(address);
            return view;
        };
        let range = self.flat.iter().find(|range| range.contains(&address)).cloned();
        let known = self.touched[usize::from(site)].pages.origin(address);
        view.bytes = match (known, range) {
            (Some(origin), _) => origin,
            (None, Some(range)) if self.takes(1, &range) => {
                let touches = self.invocations();
                let pages = &mut self.touched[usize::from(site)].pages;
                pages.flatten(range, touches);
                pages.origin(address).unwrap_or(0)
            }
            _ => return view,
        };
        if !self.deferred && !self.is_still(slot) {
            (view.cells, view.readers) = self.bound.origins(address);
            view.atomics = self.bound.origin_of_atomics(address);
            let all = self.fresh.get(slot as usize).is_none_or(|fresh| fresh.is_empty());
            view.nothing = u64::from(all);
        }
        view
    }

    /// For bound memory and for the workgroup's own: the phase that runs, and the workgroup's first one, as marks.
    pub(in super::super) fn phases(&mut self) -> [(u64, u64); 2] {
        [0, 1].map(|memory| {
            let ground = self.grounds[memory];
            let now = self.phase(memory, ground, self.epochs[memory]);
            (mark::new(now, 0, 0), mark::new(ground, 0, 0))
        })
    }
}

impl View {
    /// The phase that runs is another one.
    pub(in super::super) fn enter(&mut self, (now, ground): (u64, u64)) {
        self.mark = now | u64::from(mark::site(self.mark));
        self.ground = ground;
    }
}
