//! Who touched a piece of memory last, and does the next one race with it?
//!
//! Exact for workgroups that run one after the other, whatever the order of invocations in them: two accesses are
//! ordered only by a barrier of one workgroup between them. A cell remembers the last plain write (an earlier one that
//! the next access races with has raced with the last one already), and of reads and of atomic operations two different
//! invocations since the last barrier and one of an earlier workgroup, which is all that can matter later.
//!
//! Who that was is a [`mark`], one number for an invocation, a phase and a place, so that machine code can look at cells
//! itself and call only where more is to be done (`jit/cells.rs`).

use super::pages::Pages;
use std::ops::Range;

/// A mark: the phase, the invocation in its workgroup, flags, and the place. 0 is nobody.
///
/// A phase is what a workgroup does between two barriers. Phases are numbered through the launch, so that the phase says
/// which workgroup it was.
pub(in super::super) mod mark {
    pub(in super::super::super) const PHASE_SHIFT: u32 = 36;
    pub(in super::super::super) const LANE_SHIFT: u32 = 16;
    /// Of the first reader: atomic operations were here.
    pub(in super::super::super) const ATOMIC: u64 = 1 << 15;
    /// Of the first of a crowd: one of an earlier workgroup is known.
    pub(in super::super::super) const OTHER: u64 = 1 << 14;
    /// Of the first of a crowd: a second one is known.
    pub(in super::super::super) const TWO: u64 = 1 << 13;
    /// Of a write: it changed what was there.
    pub(in super::super::super) const CHANGED: u64 = 1 << 12;
    /// Phases below are told apart.
    pub(in super::super) const PHASE_END: u32 = 1 << (64 - PHASE_SHIFT);
    /// A lane that nobody has.
    pub(in super::super::super) const NO_LANE: u32 = (1 << (PHASE_SHIFT - LANE_SHIFT)) - 1;
    const SITE: u64 = CHANGED - 1;

    pub(in super::super) fn new(phase: u32, lane: u32, site: u16) -> u64 {
        (u64::from(phase) << PHASE_SHIFT) | (u64::from(lane) << LANE_SHIFT) | u64::from(site)
    }

    pub(in super::super) fn phase(mark: u64) -> u32 {
        (mark >> PHASE_SHIFT) as u32
    }

    pub(in super::super) fn lane(mark: u64) -> u32 {
        (mark >> LANE_SHIFT) as u32 & NO_LANE
    }

    pub(in super::super) fn site(mark: u64) -> u16 {
        (mark & SITE) as u16
    }

    pub(super) fn is_nobody(mark: u64) -> bool {
        mark == 0 || lane(mark) == NO_LANE
    }

    /// Whether two are of one invocation in one phase.
    pub(super) fn same(one: u64, two: u64) -> bool {
        one >> LANE_SHIFT == two >> LANE_SHIFT
    }
}

/// Who touches: an invocation at a place, and since which phase its workgroup runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toucher {
    pub(super) mark: u64,
    pub(super) ground: u32,
}

impl Toucher {
    fn phase(&self) -> u32 {
        mark::phase(self.mark)
    }

    /// Whether a mark is of its workgroup.
    fn is_mate(&self, other: u64) -> bool {
        mark::phase(other) >= self.ground
    }

    fn is_self(&self, other: u64) -> bool {
        self.is_mate(other) && mark::lane(other) == mark::lane(self.mark)
    }

    /// The last plain write, if it races with this.
    fn rival_write(&self, write: u64) -> Option<u64> {
        let apart = write != 0
            && !self.is_self(write)
            && (!self.is_mate(write) || mark::phase(write) == self.phase());
        apart.then_some(write)
    }
}

/// Invocations that did the same kind of thing.
#[derive(Clone, Copy, Debug, Default)]
struct Crowd {
    /// Of the latest workgroup, since its latest barrier; its flags say which of the others mean anything.
    one: u64,
    /// Another of them.
    two: u64,
    /// Of an earlier workgroup.
    other: u64,
}

impl Crowd {
    fn rival(&self, me: &Toucher) -> Option<u64> {
        let one = (!mark::is_nobody(self.one)).then_some(self.one)?;
        if !me.is_mate(one) {
            Some(one)
        } else if one & mark::OTHER != 0 {
            Some(self.other)
        } else if mark::phase(one) != me.phase() {
            None
        } else if !mark::same(one, me.mark) {
            Some(one)
        } else {
            (one & mark::TWO != 0).then_some(self.two)
        }
    }

    fn add(&mut self, me: &Toucher) {
        let kept = self.one & (mark::ATOMIC | mark::OTHER);
        if mark::is_nobody(self.one) {
            self.one = me.mark | kept;
        } else if !me.is_mate(self.one) {
            self.other = self.one;
            self.one = me.mark | kept | mark::OTHER;
        } else if mark::phase(self.one) != me.phase() {
            self.one = me.mark | kept;
        } else if !mark::same(self.one, me.mark) && self.one & mark::TWO == 0 {
            self.two = me.mark;
            self.one |= mark::TWO;
        }
    }
}

/// A crowd as it lies in memory. The last is nothing: sizes are powers of two.
pub(in super::super) type Crowded = [u64; 4];

/// Crowds of atomic operations.
pub(in super::super) const CROWDS: usize = 2;

/// Which crowd of atomic operations is which.
const UPDATES: usize = 0;
const LOADS: usize = 1;

/// What is remembered of one address space.
#[derive(Debug)]
pub(super) struct Shadow {
    /// The last write, and the first reader. These are what machine code knows.
    cells: Pages<[u64; 2]>,
    /// The other readers.
    readers: Pages<[u64; 2]>,
    /// Who did atomic operations, and behind it who only loaded so, which reads do not conflict with. Most kernels have none.
    atomics: Pages<[Crowded; CROWDS]>,
    /// Whether each workgroup has its own memory: what earlier ones did is as if it had not been.
    own: bool,
}

impl Shadow {
    /// Pieces of `1 << shift` bytes are told apart. `own`: each workgroup has its own memory.
    pub(super) fn new(shift: u32, own: bool) -> Shadow {
        Shadow { cells: Pages::new(shift), readers: Pages::new(shift), atomics: Pages::new(shift), own }
    }

    /// All is as new.
    pub(super) fn forget(&mut self) {
        self.cells.forget();
        self.readers.forget();
        self.atomics.forget();
    }

    /// Cells and readers of these addresses lie in one piece each from here on.
    pub(super) fn flatten(&mut self, addresses: Range<u64>, touches: u64) {
        self.cells.flatten(addresses.clone(), touches);
        self.readers.flatten(addresses, touches);
    }

    /// So do who did atomic operations.
    pub(super) fn flatten_atomics(&mut self, addresses: Range<u64>, touches: u64) {
        self.atomics.flatten(addresses, touches);
    }

    /// Where those of address 0 would be; 0 where that has to call, as before the first operation.
    pub(super) fn origin_of_atomics(&mut self, address: u64) -> u64 {
        if self.atomics.is_empty() { 0 } else { self.atomics.origin(address).unwrap_or(0) }
    }

    /// Where the cell and the other readers of address 0 would be, for machine code that touches this address; 0 where
    /// that has to call. Most launches have no other readers, so that their memory is left to the first call.
    pub(super) fn origins(&mut self, address: u64) -> (u64, u64) {
        let cells = self.cells.origin(address).unwrap_or(0);
        let readers = if self.readers.is_empty() { None } else { self.readers.origin(address) };
        (cells, readers.unwrap_or(0))
    }

    /// A mark, if the workgroup that runs may know of it.
    fn known(&self, of: u64, ground: u32) -> u64 {
        if self.own && mark::phase(of) < ground { 0 } else { of }
    }

    fn crowds_at(&self, address: u64, ground: u32) -> [Crowd; CROWDS] {
        let both = self.atomics.get(address).copied().unwrap_or_default();
        both.map(|[one, two, other, _]| Crowd { one: self.known(one, ground), two, other })
    }

    /// Whether this dispatch, or the workgroup, has written here.
    pub(super) fn is_written(&self, address: u64, ground: u32) -> bool {
        self.cells.get(address).is_some_and(|[write, reader]| {
            self.known(*write, ground) != 0 || self.known(*reader, ground) & mark::ATOMIC != 0
        })
    }

    /// The last write and the readers.
    fn look(&mut self, address: u64, ground: u32) -> (u64, Crowd) {
        let [write, one] = *self.cells.get_mut(address);
        let (write, one) = (self.known(write, ground), self.known(one, ground));
        if one & (mark::TWO | mark::OTHER) == 0 {
            return (write, Crowd { one, ..Crowd::default() });
        }
        let [two, other] = *self.readers.get_mut(address);
        (write, Crowd { one, two, other })
    }

    pub(super) fn read(&mut self, address: u64, me: &Toucher) -> Option<u64> {
        let (write, mut readers) = self.look(address, me.ground);
        readers.add(me);
        self.cells.get_mut(address)[1] = readers.one;
        if readers.one & (mark::TWO | mark::OTHER) != 0 {
            *self.readers.get_mut(address) = [readers.two, readers.other];
        }
        me.rival_write(write).or_else(|| self.atomic_rival(address, me, &[UPDATES]))
    }

    pub(super) fn write(&mut self, address: u64, me: &Toucher, changed: bool) -> Option<u64> {
        let (write, readers) = self.look(address, me.ground);
        self.cells.get_mut(address)[0] = me.mark | if changed { mark::CHANGED } else { 0 };
        let atomics = || self.atomic_rival(address, me, &[UPDATES, LOADS]);
        me.rival_write(write).or_else(|| readers.rival(me)).or_else(atomics)
    }

    /// An atomic operation; one that only loads does not conflict with reads.
    pub(super) fn atomic(&mut self, address: u64, me: &Toucher, loads_only: bool) -> Option<u64> {
        let number = if loads_only { LOADS } else { UPDATES };
        let mut crowd = self.crowds_at(address, me.ground)[number];
        crowd.add(me);
        self.atomics.get_mut(address)[number] = [crowd.one, crowd.two, crowd.other, 0];
        let (write, readers) = self.look(address, me.ground);
        let reader = match readers.one {
            0 => mark::new(me.phase(), mark::NO_LANE, 0),
            one => one,
        };
        self.cells.get_mut(address)[1] = reader | mark::ATOMIC;
        let reads = || if loads_only { None } else { readers.rival(me) };
        me.rival_write(write).or_else(reads)
    }

    fn atomic_rival(&self, address: u64, me: &Toucher, numbers: &[usize]) -> Option<u64> {
        if self.atomics.is_empty() {
            return None;
        }
        let crowds = self.crowds_at(address, me.ground);
        numbers.iter().find_map(|number| crowds[*number].rival(me))
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
        AtomicLoad,
    }

    /// Every pair is compared: two accesses race if they are of different invocations, conflict, and no barrier of
    /// their workgroup is between them. Whether any pair of a run races is what must agree.
    fn by_brute_force(run: &[(u32, u32, Kind)], group_size: u32) -> bool {
        let races = |a: &(u32, u32, Kind), b: &(u32, u32, Kind)| {
            let atomic = |kind: Kind| matches!(kind, Kind::Atomic | Kind::AtomicLoad);
            let reads = |kind: Kind| matches!(kind, Kind::Read | Kind::AtomicLoad);
            let conflict = !(atomic(a.2) && atomic(b.2) || reads(a.2) && reads(b.2));
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
        for _ in 0..30_000 {
            let kinds = [Kind::Read, Kind::Write, Kind::Atomic, Kind::AtomicLoad];
            let (mostly, mut run) = (random(4) as usize, Vec::new());
            for group in 0..1 + random(3) {
                for epoch in 0..1 + random(3) {
                    for _ in 0..random(3) {
                        let kind = kinds[if random(4) == 0 { random(4) as usize } else { mostly }];
                        run.push((1 + group * group_size + random(3), epoch, kind));
                    }
                }
            }
            let mut shadow = Shadow::new(2, false);
            let mut found = false;
            for (invocation, epoch, kind) in &run {
                let (group, lane) = ((invocation - 1) / group_size, (invocation - 1) % group_size);
                let ground = 1 + group * 3;
                let me = Toucher { mark: mark::new(ground + epoch, lane, 0), ground };
                found |= match kind {
                    Kind::Read => shadow.read(64, &me),
                    Kind::Write => shadow.write(64, &me, true),
                    Kind::Atomic => shadow.atomic(64, &me, false),
                    Kind::AtomicLoad => shadow.atomic(64, &me, true),
                }
                .is_some();
            }
            assert_eq!(found, by_brute_force(&run, group_size), "{:?}", run.len());
            if found { racing += 1 } else { silent += 1 }
        }
        assert!(racing > 1000 && silent > 1000, "{racing} {silent}");
    }
}
