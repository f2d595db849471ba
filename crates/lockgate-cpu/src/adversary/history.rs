//! What bytes were before: so that who does not see the latest store can be given an older one.
//!
//! Each word of memory has the list of its stores since the device was last idle, in the order in which they take
//! effect (which is not that of execution: a store may take effect behind one that came later, if nothing shows the
//! other to it). A load looks at the word as it was after some prefix of the list, at least as long as all that it
//! must see: stores that are visible to it, its own, and what it or a work visible to it has seen before. Memory itself
//! always holds the end of the list.
//!
//! Deliberately absent: who runs when, and which works see which (`view.rs`).

use super::dice::Dice;
use super::view::{Of, View};
use crate::memory::Memory;
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a word.
const WORD: u64 = 4;
/// Words of a page.
const PAGE: u64 = 256;
/// Older stores to a word are no longer told apart.
const STORES_MAX: usize = 24;

/// Who touches: an invocation of a work, and how many barriers of its workgroup came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Toucher {
    pub(crate) work: u32,
    pub(crate) group: u64,
    pub(crate) lane: u32,
    pub(crate) epoch: u32,
}

/// A toucher with what it sees.
pub(crate) struct Eye<'a> {
    pub(crate) toucher: Toucher,
    pub(crate) view: &'a View,
    pub(crate) dice: &'a Dice,
    pub(crate) of: Of,
}

impl Eye<'_> {
    fn sees(&self, other: &Toucher, of: Of) -> bool {
        let own = &self.toucher;
        if other.work != own.work {
            return self.view.shows(other.work, of);
        }
        other.group == own.group && (other.lane == own.lane || other.epoch < own.epoch)
    }
}

#[derive(Clone, Copy)]
struct Store {
    by: Toucher,
    of: Of,
    bytes: [u8; WORD as usize],
    /// Which of the bytes.
    mask: u8,
    /// Nothing may come between this store and the one before: it was one step with a load.
    sealed: bool,
    id: u32,
}

/// Somebody has seen a store that nothing shows to him.
#[derive(Clone, Copy)]
struct Sight {
    by: Toucher,
    of: Of,
    store: u32,
}

#[derive(Clone, Default)]
struct Word {
    base: [u8; WORD as usize],
    stores: SmallVec<[Store; 1]>,
    sights: Vec<Sight>,
    next: u32,
}

impl Word {
    /// How many stores somebody must see.
    fn known(&self, eye: &Eye<'_>) -> usize {
        let place = |id| self.stores.iter().position(|store| store.id == id).map_or(0, |at| at + 1);
        let stores =
            self.stores.iter().rposition(|store| eye.sees(&store.by, store.of)).map_or(0, |at| at + 1);
        let sights = self.sights.iter().filter(|sight| eye.sees(&sight.by, sight.of));
        sights.map(|sight| place(sight.store)).fold(stores, usize::max)
    }

    /// The word after so many stores; the bytes that none of them has written are those of `base`.
    fn after(&self, stores: usize) -> [u8; WORD as usize] {
        let mut bytes = self.base;
        for store in &self.stores[..stores] {
            (0..bytes.len())
                .filter(|at| store.mask >> at & 1 == 1)
                .for_each(|at| bytes[at] = store.bytes[at]);
        }
        bytes
    }

    fn note(&mut self, eye: &Eye<'_>, stores: usize) {
        let Some(store) = stores.checked_sub(1).map(|at| self.stores[at].id) else { return };
        let by = eye.toucher;
        self.sights
            .retain(|sight| (sight.by.work, sight.by.group, sight.by.lane) != (by.work, by.group, by.lane));
        self.sights.push(Sight { by, of: eye.of, store });
    }

    /// Adds a store at a place. Returns the bytes that no later store covers.
    fn insert(&mut self, at: usize, store: Store) -> u8 {
        self.next += 1;
        self.stores.insert(at, Store { id: self.next, ..store });
        let covered = self.stores[at + 1..].iter().fold(0, |mask, later| mask | later.mask);
        if self.stores.len() > STORES_MAX {
            self.base = self.after(1);
            self.stores.remove(0);
        }
        store.mask & !covered
    }
}

/// The past of a memory.
#[derive(Default)]
pub(crate) struct History(Mutex<Past>);

#[derive(Default)]
struct Past {
    /// The time between two moments at which the device was idle.
    era: u64,
    pages: BTreeMap<u64, Vec<Word>>,
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("History").finish_non_exhaustive()
    }
}

impl Past {
    fn word_mut(&mut self, word: u64) -> Option<&mut Word> {
        let page = self.pages.get_mut(&(word / PAGE))?;
        page.get_mut((word % PAGE) as usize).filter(|word| !word.stores.is_empty())
    }

    fn make_word(&mut self, word: u64) -> &mut Word {
        let page = self.pages.entry(word / PAGE).or_insert_with(|| vec![Word::default(); PAGE as usize]);
        &mut page[(word % PAGE) as usize]
    }
}

/// The part of a word that lies in `start..end`, as bytes of the word.
fn part(word: u64, start: u64, end: u64) -> std::ops::Range<usize> {
    let first = word * WORD;
    (start.max(first) - first) as usize..(end.min(first + WORD) - first) as usize
}

impl History {
    fn past(&self, era: u64) -> MutexGuard<'_, Past> {
        let mut past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if past.era != era {
            past.era = era;
            past.pages.clear();
        }
        past
    }

    /// The host has written: everybody sees it.
    pub(crate) fn forget(&self, start: u64, end: u64) {
        let mut past = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for word in start / WORD..end.div_ceil(WORD) {
            if let Some(word) = past.word_mut(word) {
                *word = Word::default();
            }
        }
    }

    /// Gives bytes of the memory from `start` on as somebody sees them.
    pub(crate) fn load(&self, memory: &Memory, era: u64, start: u64, into: &mut [u8], eye: &Eye<'_>) {
        let end = start + into.len() as u64;
        if let Some(span) = memory.span(start, into.len() as u64) {
            span.read_into(into);
        }
        let mut past = self.past(era);
        for number in start / WORD..end.div_ceil(WORD) {
            let Some(word) = past.word_mut(number) else { continue };
            let (known, all) = (word.known(eye), word.stores.len());
            let seen = eye.dice.old_place(known, all);
            if seen > known {
                word.note(eye, seen);
            }
            if seen == all {
                continue;
            }
            let bytes = word.after(seen);
            let part = part(number, start, end);
            let at = (number * WORD + part.start as u64 - start) as usize;
            // Bytes that nothing has stored since are those of memory.
            let later = word.stores[seen..].iter().fold(0u8, |mask, store| mask | store.mask);
            for (to, from) in into[at..].iter_mut().zip(part).filter(|(_, from)| later >> from & 1 == 1) {
                *to = bytes[from];
            }
        }
    }

    /// Stores bytes from `start` on. `sealed`: right behind what is there, in one step with looking at it.
    pub(crate) fn store(
        &self,
        memory: &Memory,
        era: u64,
        start: u64,
        bytes: &[u8],
        (eye, sealed): (&Eye<'_>, bool),
    ) {
        let end = start + bytes.len() as u64;
        let mut past = self.past(era);
        for number in start / WORD..end.div_ceil(WORD) {
            let part = part(number, start, end);
            let at = (number * WORD + part.start as u64 - start) as usize;
            let word = past.make_word(number);
            if word.stores.is_empty()
                && let Some(span) = memory.span(number * WORD, WORD)
            {
                span.read_into(&mut word.base);
            }
            let mut store = Store { by: eye.toucher, of: eye.of, bytes: [0; 4], mask: 0, sealed, id: 0 };
            for (from, to) in part.clone().enumerate() {
                store.bytes[to] = bytes[at + from];
                store.mask |= 1 << to;
            }
            let all = word.stores.len();
            let mut place = if sealed { all } else { eye.dice.late_place(word.known(eye), all) };
            if place < all && word.stores[place].sealed {
                place = all;
            }
            let open = word.insert(place, store);
            for to in part.filter(|to| open >> to & 1 == 1) {
                if let Some(span) = memory.span(number * WORD + to as u64, 1) {
                    span.write_from(&store.bytes[to..=to]);
                }
            }
        }
    }

    /// Replaces bytes by `change` of the latest, in one step.
    pub(crate) fn update(
        &self,
        memory: &Memory,
        era: u64,
        (start, bytes): (u64, u32),
        change: &dyn Fn(u64) -> u64,
        eye: &Eye<'_>,
    ) -> u64 {
        let old = latest(memory, start, bytes);
        let new = change(old).to_le_bytes();
        self.store(memory, era, start, &new[..bytes as usize], (eye, true));
        old
    }
}

/// Bytes of a memory as they are at last.
pub(crate) fn latest(memory: &Memory, start: u64, bytes: u32) -> u64 {
    let mut raw = [0; 8];
    if let Some(span) = memory.span(start, bytes.into()) {
        span.read_into(&mut raw[..bytes as usize]);
    }
    u64::from_le_bytes(raw)
}
