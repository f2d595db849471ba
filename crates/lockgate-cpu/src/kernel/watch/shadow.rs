//! Who touched a piece of memory last, and does the next one race with it?
//!
//! Exact for workgroups that run one after the other, whatever the order of invocations in them: two accesses are
//! ordered only by a barrier of one workgroup between them. A cell remembers the last plain write (an earlier one that
//! the next access races with has raced with the last one already), and of reads and of atomic operations two different
//! invocations since the last barrier and one of an earlier workgroup, which is all that can matter later.

use std::collections::HashMap;

/// Cells of a page.
const PAGE: u64 = 1024;

/// Who touches: an invocation at a place, and how many barriers of its workgroup it has passed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toucher {
    /// Linear number of the invocation in the grid, from 1.
    pub(super) invocation: u32,
    /// The first number of its workgroup, and how many it has.
    pub(super) group: (u32, u32),
    pub(super) epoch: u32,
    pub(super) site: u16,
}

impl Toucher {
    /// Whether another invocation is of its workgroup.
    fn is_mate(&self, invocation: u32) -> bool {
        invocation.wrapping_sub(self.group.0) < self.group.1
    }
}

/// The other side of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rival {
    pub(super) invocation: u32,
    pub(super) site: u16,
    /// For a write: whether it changed what was there.
    pub(super) changed: bool,
}

/// The last plain write; nobody if `by` is 0.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    by: u32,
    epoch: u32,
    site: u16,
    changed: bool,
}

/// Invocations that did the same kind of thing; nobody if `one` is 0.
#[derive(Clone, Copy, Debug, Default)]
struct Crowd {
    /// Of the latest workgroup, since its latest barrier.
    one: u32,
    /// Another of them.
    two: u32,
    /// Of an earlier workgroup.
    other: u32,
    epoch: u32,
    sites: [u16; 3],
}

impl Mark {
    fn rival(&self, me: &Toucher) -> Option<Rival> {
        let Mark { by, epoch, site, changed } = *self;
        let apart = by != 0 && by != me.invocation && (!me.is_mate(by) || epoch == me.epoch);
        apart.then_some(Rival { invocation: by, site, changed })
    }
}

impl Crowd {
    fn rival(&self, me: &Toucher) -> Option<Rival> {
        let rival = |invocation, site| Some(Rival { invocation, site, changed: true });
        let [one, two, other] = self.sites;
        if self.one == 0 {
            None
        } else if !me.is_mate(self.one) {
            rival(self.one, one)
        } else if self.other != 0 {
            rival(self.other, other)
        } else if self.epoch != me.epoch {
            None
        } else if self.one != me.invocation {
            rival(self.one, one)
        } else if self.two != 0 {
            rival(self.two, two)
        } else {
            None
        }
    }

    fn add(&mut self, me: &Toucher) {
        if self.one != 0 && !me.is_mate(self.one) {
            (self.other, self.sites[2]) = (self.one, self.sites[0]);
            self.one = 0;
        }
        if self.one == 0 || self.epoch != me.epoch {
            (self.one, self.two, self.epoch, self.sites[0]) = (me.invocation, 0, me.epoch, me.site);
        } else if self.one != me.invocation && self.two == 0 {
            (self.two, self.sites[1]) = (me.invocation, me.site);
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    write: Mark,
    reads: Crowd,
}

/// Values by address, made in pages when they are first asked for.
#[derive(Debug)]
pub(super) struct Pages<T> {
    shift: u32,
    places: HashMap<u64, usize>,
    pages: Vec<(u64, Box<[T]>)>,
    /// Where pages were found lately.
    near: [(u64, usize); 8],
}

impl<T: Copy + Default> Pages<T> {
    pub(super) fn new(shift: u32) -> Pages<T> {
        Pages { shift, places: HashMap::new(), pages: Vec::new(), near: [(u64::MAX, 0); 8] }
    }

    fn split(&self, address: u64) -> (u64, usize) {
        let piece = address >> self.shift;
        (piece / PAGE, (piece % PAGE) as usize)
    }

    pub(super) fn get_mut(&mut self, address: u64) -> &mut T {
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
        let (page, at) = self.split(address);
        let (known, place) = self.near[(page % 8) as usize];
        let place = if known == page { place } else { *self.places.get(&page)? };
        self.pages.get(place).map(|(_, cells)| &cells[at])
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// All values that were made, by address.
    pub(super) fn sorted(&self) -> Vec<(u64, &[T])> {
        let address = |page: &u64| (page * PAGE) << self.shift;
        let mut pages: Vec<_> = self.pages.iter().map(|(page, cells)| (address(page), &**cells)).collect();
        pages.sort_by_key(|(address, _)| *address);
        pages
    }

    fn forget(&mut self) {
        self.pages.iter_mut().for_each(|(_, cells)| cells.fill(T::default()));
    }
}

/// What is remembered of one address space.
#[derive(Debug)]
pub(super) struct Shadow {
    cells: Pages<Cell>,
    /// Most kernels have no atomic operations.
    atomics: Pages<Crowd>,
}

impl Shadow {
    /// Pieces of `1 << shift` bytes are told apart.
    pub(super) fn new(shift: u32) -> Shadow {
        Shadow { cells: Pages::new(shift), atomics: Pages::new(shift) }
    }

    /// All is as new: the next workgroup has its own memory.
    pub(super) fn forget(&mut self) {
        self.cells.forget();
        self.atomics.forget();
    }

    /// Whether this dispatch has written here.
    pub(super) fn is_written(&self, address: u64) -> bool {
        self.cells.get(address).is_some_and(|cell| cell.write.by != 0)
            || self.atomics.get(address).is_some_and(|crowd| crowd.one != 0 || crowd.other != 0)
    }

    pub(super) fn read(&mut self, address: u64, me: &Toucher) -> Option<Rival> {
        let cell = self.cells.get_mut(address);
        let rival = cell.write.rival(me);
        cell.reads.add(me);
        rival.or_else(|| self.atomic_rival(address, me))
    }

    pub(super) fn write(&mut self, address: u64, me: &Toucher, changed: bool) -> Option<Rival> {
        let cell = self.cells.get_mut(address);
        let rival = cell.write.rival(me).or_else(|| cell.reads.rival(me));
        cell.write = Mark { by: me.invocation, epoch: me.epoch, site: me.site, changed };
        rival.or_else(|| self.atomic_rival(address, me))
    }

    /// An atomic operation; one that only loads does not conflict with reads.
    pub(super) fn atomic(&mut self, address: u64, me: &Toucher, loads_only: bool) -> Option<Rival> {
        self.atomics.get_mut(address).add(me);
        let cell = self.cells.get(address)?;
        let reads = || if loads_only { None } else { cell.reads.rival(me) };
        cell.write.rival(me).or_else(reads)
    }

    fn atomic_rival(&self, address: u64, me: &Toucher) -> Option<Rival> {
        if self.atomics.is_empty() {
            return None;
        }
        self.atomics.get(address).and_then(|crowd| crowd.rival(me))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Kind {
        Read,
        Write,
        Atomic,
    }

    /// Every pair is compared: two accesses race if they are of different invocations, conflict, and no barrier of
    /// their workgroup is between them. Whether any pair of a run races is what must agree.
    fn by_brute_force(run: &[(u32, u32, Kind)], group_size: u32) -> bool {
        let races = |a: &(u32, u32, Kind), b: &(u32, u32, Kind)| {
            let conflict = a.2 != b.2 || a.2 == Kind::Write;
            let groups = ((a.0 - 1) / group_size, (b.0 - 1) / group_size);
            conflict && a.0 != b.0 && (groups.0 != groups.1 || a.1 == b.1)
        };
        (0..run.len()).any(|i| run[..i].iter().any(|earlier| races(earlier, &run[i])))
    }

    #[test]
    fn cells_agree_with_all_pairs() {
        let mut seed = 7u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) % below) as u32
        };
        let group_size = 3;
        let (mut racing, mut silent) = (0, 0);
        for _ in 0..20_000 {
            let kinds = [Kind::Read, Kind::Write, Kind::Atomic];
            let (mostly, mut run) = (random(3) as usize, Vec::new());
            for group in 0..1 + random(3) {
                for epoch in 0..1 + random(3) {
                    for _ in 0..random(3) {
                        let kind = kinds[if random(4) == 0 { random(3) as usize } else { mostly }];
                        run.push((1 + group * group_size + random(3), epoch, kind));
                    }
                }
            }
            let mut shadow = Shadow::new(2);
            let mut found = false;
            for (invocation, epoch, kind) in &run {
                let group = ((invocation - 1) / group_size * group_size + 1, group_size);
                let me = Toucher { invocation: *invocation, group, epoch: *epoch, site: 0 };
                found |= match kind {
                    Kind::Read => shadow.read(64, &me),
                    Kind::Write => shadow.write(64, &me, true),
                    Kind::Atomic => shadow.atomic(64, &me, false),
                }
                .is_some();
            }
            assert_eq!(found, by_brute_force(&run, group_size), "{:?}", run.len());
            if found { racing += 1 } else { silent += 1 }
        }
        assert!(racing > 1000 && silent > 1000, "{racing} {silent}");
    }
}
