//! Which workgroups need not tell what they do to their own memory?
//!
//! Those that do the same as one that has told, and in which nothing went wrong. Who does the same is found out by machine
//! code (`jit/fixed.rs`, `jit/class.rs`), which names a class; this module remembers classes. Tested by
//! `tests/kernel/classes.rs`.

use std::collections::HashSet;

use super::{Recorder, Space};

/// Most classes that are remembered: their words are as many as a workgroup's invocations.
const CLASSES_MAX: usize = 64;

/// Classes in which nothing goes wrong.
#[derive(Debug, Default)]
pub(super) struct Classes {
    all: HashSet<Box<[u128]>>,
    /// That of the latest workgroup that was known.
    latest: Option<Box<[u128]>>,
    /// Something has gone wrong in workgroup memory: no more are taken up.
    closed: bool,
}

impl Recorder {
    /// A workgroup of a class has told all of what it does to its own memory.
    pub(in super::super) fn settle(&mut self, class: &[u128]) {
        if self.classes.closed || self.classes.all.len() >= CLASSES_MAX {
            return;
        }
        let own = |site: u16| self.sites[usize::from(site)].space == Space::Workgroup;
        let remarks = self.reads_of_nothing.iter().chain(&self.out_of_range).map(|remark| remark.site);
        let wrong = remarks.chain(self.races.iter().flat_map(|race| race.sites)).any(own);
        if self.complete && !wrong {
            self.classes.all.insert(class.into());
        } else {
            self.classes.closed = true;
        }
    }

    /// Whether one of this class has told for all.
    pub(in super::super) fn is_settled(&mut self, class: &[u128]) -> bool {
        if self.classes.latest.as_deref() == Some(class) {
            return true;
        }
        self.classes.latest = self.classes.all.get(class).cloned();
        self.classes.latest.is_some()
    }

    /// Whether there are classes, or may be.
    pub(in super::super) fn has_classes(&self) -> bool {
        !self.classes.closed || !self.classes.all.is_empty()
    }
}
