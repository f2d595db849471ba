//! Everything that is left to chance on an adversary's device, out of one seed.
//!
//! A seed also has a temper: how often commands take turns and how often old values are served. Rare mistakes need
//! long stretches without a turn as well as turns at each access, so no one temper would find them all.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// In how many of 64 cases something happens, by temper: always, never, and in between.
const CHANCES: [u64; 5] = [64, 1, 8, 32, 0];

/// A generator. Only who runs the device uses it, one thread at a time.
pub(crate) struct Dice {
    state: AtomicU64,
    /// Chances in 64: that others run before an access, that a load gives an old value, that a store comes late.
    turns: u64,
    stale: u64,
    late: u64,
    /// The device closes: whatever runs runs to its end.
    closing: AtomicBool,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        let dice = Dice {
            state: AtomicU64::new(mix(seed)),
            turns: 0,
            stale: 0,
            late: 0,
            closing: AtomicBool::new(false),
        };
        let [turns, stale, late] = [0; 3].map(|_: u64| CHANCES[dice.below(CHANCES.len() as u64) as usize]);
        Dice { turns, stale, late, ..dice }
    }

    /// A number below a bound, which is not 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let next = self.state.load(Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.store(next, Ordering::Relaxed);
        mix(next) % bound
    }

    fn happens(&self, chance: u64) -> bool {
        self.below(64) < chance
    }

    /// Whether others run now.
    pub(crate) fn takes_turns(&self) -> bool {
        !self.closing.load(Ordering::Relaxed) && self.happens(self.turns)
    }

    /// One of the places `first..=last`: the last, or an old one.
    pub(crate) fn old_place(&self, first: usize, last: usize) -> usize {
        self.place(first, last, self.stale)
    }

    /// The same for a store.
    pub(crate) fn late_place(&self, first: usize, last: usize) -> usize {
        self.place(first, last, self.late)
    }

    fn place(&self, first: usize, last: usize, chance: u64) -> usize {
        if first == last || !self.happens(chance) {
            return last;
        }
        // The oldest shows most.
        if self.happens(32) { first } else { first + self.below((last - first + 1) as u64) as usize }
    }

    /// From here on nobody else runs before what runs has ended.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }
}

/// A well-mixed number from a counter.
pub(crate) fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
