//! One work as it touches memory: each access may let others run first, and sees what the work must see or more.

use super::dice::Dice;
use super::history::{Eye, History, Toucher, latest};
use super::view::{Of, View};
use crate::kernel::port::{Port, Reach};
use crate::memory::{Memory, Span};
use crate::resource::{Buffer, Texture, native};
use corosensei::Yielder;
use lockgate_runtime::backend::SubmittedBuffer;
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A resource that a work touches.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) memory: Arc<Memory>,
    pub(super) of: Of,
}

impl Place {
    /// A resource of a command buffer.
    pub(super) fn of(resource: u32, of: &SubmittedBuffer) -> Option<Place> {
        let object = of.resources.get(resource as usize)?;
        let id = of.contents.resources().get(resource as usize)?.key.id;
        let (memory, texture) = match native::<Buffer>(object) {
            Ok(buffer) => (buffer.memory(), false),
            Err(_) => (native::<Texture>(object).ok()?.memory(), true),
        };
        Some(Place { memory: memory.clone(), of: Of { resource: id, texture } })
    }

    /// Where an address lies in its memory.
    fn offset(&self, address: u64) -> u64 {
        address.saturating_sub(self.memory.address())
    }
}

/// Nobody does so many accesses without a turn: a kernel that waits for others must not wait for ever, and one that runs
/// too long has to be found.
const STRETCH_MAX: u64 = 4096;

/// A work that runs.
pub(super) struct Agent {
    work: u32,
    view: Arc<View>,
    era: u64,
    pub(super) dice: Arc<Dice>,
    accesses: AtomicU64,
}

impl Agent {
    pub(super) fn new(work: u32, view: Arc<View>, era: u64, dice: Arc<Dice>) -> Agent {
        Agent { work, view, era, dice, accesses: AtomicU64::new(0) }
    }

    /// Others may run.
    pub(super) fn pause(&self, yielder: &Yielder<(), ()>) {
        let long = self.accesses.fetch_add(1, Ordering::Relaxed) % STRETCH_MAX == STRETCH_MAX - 1;
        if self.dice.takes_turns() || long {
            yielder.suspend(());
        }
    }

    /// Who touches, of a command that is no kernel.
    pub(super) fn toucher(&self) -> Toucher {
        Toucher { work: self.work, group: 0, lane: 0, epoch: 0 }
    }

    fn eye(&self, place: &Place, toucher: Toucher) -> Eye<'_> {
        Eye { toucher, view: &self.view, dice: &self.dice, of: place.of }
    }

    pub(super) fn load(&self, place: &Place, span: Span, into: &mut [u8], toucher: Toucher) {
        let size = span.size.min(into.len());
        match place.memory.history() {
            Some(history) => {
                let start = place.offset(span.start as u64);
                history.load(&place.memory, self.era, start, &mut into[..size], &self.eye(place, toucher));
            }
            None => span.read_into(into),
        }
    }

    pub(super) fn store(&self, place: &Place, span: Span, bytes: &[u8], toucher: Toucher, sealed: bool) {
        let size = span.size.min(bytes.len());
        match place.memory.history() {
            Some(history) => {
                let (start, eye) = (place.offset(span.start as u64), self.eye(place, toucher));
                history.store(&place.memory, self.era, start, &bytes[..size], (&eye, sealed));
            }
            None => span.write_from(bytes),
        }
    }
}

/// A workgroup between its kernel and memory.
pub(super) struct GroupPort<'a> {
    pub(super) agent: &'a Agent,
    /// One for each binding; nothing for samplers.
    pub(super) places: &'a [Option<Place>],
    pub(super) group: u64,
    pub(super) epoch: Cell<u32>,
    pub(super) yielder: &'a Yielder<(), ()>,
}

impl GroupPort<'_> {
    fn toucher(&self, lane: u32) -> Toucher {
        Toucher { work: self.agent.work, group: self.group, lane, epoch: self.epoch.get() }
    }

    /// The place that an access goes to, once it is its turn.
    fn reach(&self, at: &Reach) -> Option<(&Place, &History, Span)> {
        self.agent.pause(self.yielder);
        let place = self.places.get(at.slot as usize)?.as_ref()?;
        Some((place, place.memory.history()?, Span { start: at.address, size: at.bytes as usize }))
    }
}

impl Port for GroupPort<'_> {
    fn load(&self, from: Reach, atomic: bool) -> u64 {
        let Some((place, _, span)) = self.reach(&from) else { return 0 };
        if atomic {
            return latest(&place.memory, place.offset(span.start as u64), from.bytes);
        }
        let mut raw = [0; 8];
        self.agent.load(place, span, &mut raw[..from.bytes as usize], self.toucher(from.lane));
        u64::from_le_bytes(raw)
    }

    fn store(&self, to: Reach, bits: u64, atomic: bool) {
        let Some((place, _, span)) = self.reach(&to) else { return };
        let raw = bits.to_le_bytes();
        self.agent.store(place, span, &raw[..to.bytes as usize], self.toucher(to.lane), atomic);
    }

    fn update(&self, at: Reach, change: &dyn Fn(u64) -> u64) -> u64 {
        let Some((place, history, span)) = self.reach(&at) else { return 0 };
        let eye = self.agent.eye(place, self.toucher(at.lane));
        let start = place.offset(span.start as u64);
        history.update(&place.memory, self.agent.era, (start, at.bytes), change, &eye)
    }

    fn barrier(&self, flags: naga::Barrier) {
        if flags.intersects(naga::Barrier::STORAGE | naga::Barrier::TEXTURE) {
            self.epoch.set(self.epoch.get() + 1);
        }
        self.agent.pause(self.yielder);
    }

    fn pause(&self) {
        self.agent.pause(self.yielder);
    }
}
