//! Signals and waits of queues as parts of the window, their values aside.
//!
//! Values are another each time, but all that matters of them is which signal brings what a wait asks for. That is plain as
//! long as one queue alone signals the event: the first that raises it so far. Everything else leaves the window.
//!
//! What has nothing of the window before it orders nothing that the host has not behind it, so it goes as soon as it stands
//! in front. Deliberately absent: signals inside of command buffers and of the host. Tested like the rest.

use super::template::{EventSaying, Name, Saying};
use super::{Recall, WINDOW_MAX};
use crate::engine::Engine;
use crate::engine::linear::ItemKind;
use crate::{EventId, QueueId};

impl Recall {
    pub(crate) fn signal(&mut self, engine: &mut Engine, queue: QueueId, event: EventId, value: u64) {
        let before = engine.event_value(event);
        let by_another = |name: &Name| matches!(*name, Name::Signal { event: of, queue: by, .. } if of == event && by != queue);
        if self.window.iter().any(|own| by_another(&own.name)) || !self.has_room() {
            return self.enqueue(engine, queue, ItemKind::Signal { event, value });
        }
        let name = Name::Signal { queue, event, value, before };
        self.say(engine, &Saying::Event(EventSaying::Signal { queue, event }), name);
        engine.raise(event, value);
        self.drop_loose();
    }

    pub(crate) fn wait_for_event(&mut self, engine: &mut Engine, queue: QueueId, event: EventId, value: u64) {
        if engine.event_value(event) < value || !self.has_room() {
            return self.enqueue(engine, queue, ItemKind::Wait { event, value });
        }
        let name = Name::Wait { queue, event, value };
        // Who comes later has behind it what the host has.
        let Some(signal) = self.signal_of(event, value) else { return engine.pass(name) };
        let same =
            |name: Name| matches!(name, Name::Wait { event: e, value: v, .. } if (e, v) == (event, value));
        let twin = self.window.iter().rev().position(|own| same(own.name));
        let saying = EventSaying::Wait { queue, event, signal: self.window.len() - signal, twin };
        self.say(engine, &Saying::Event(saying), name);
    }

    /// The host has seen an event take a value. Returns whether it has, or nothing if the engine has to find out what
    /// that means.
    pub(crate) fn host_wait(&mut self, engine: &mut Engine, event: EventId, value: u64) -> Option<bool> {
        if engine.event_value(event) < value {
            return Some(false);
        }
        let Some(at) = self.signal_of(event, value) else { return Some(true) };
        self.see(engine, at, |engine| engine.wait_for_value(event, value)).then_some(true)
    }

    /// Where in the window the signal stands that brings a value; nothing if one before the window has brought it.
    fn signal_of(&self, event: EventId, value: u64) -> Option<usize> {
        let brings = |name: Name| match name {
            Name::Signal { event: of, value: to, before, .. } => of == event && before < value && value <= to,
            _ => false,
        };
        self.window.iter().position(|own| brings(own.name))
    }

    fn has_room(&self) -> bool {
        self.on && self.window.len() < WINDOW_MAX
    }

    fn enqueue(&mut self, engine: &mut Engine, queue: QueueId, kind: ItemKind) {
        self.leave(engine);
        engine.take_item(queue, kind);
    }

    pub(crate) fn remove_event(&mut self, engine: &mut Engine, event: EventId) {
        let names = |name: Name| matches!(name, Name::Signal { event: of, .. } | Name::Wait { event: of, .. } if of == event);
        if self.window.iter().any(|own| names(own.name)) {
            self.leave(engine);
        }
    }

    /// The engine takes the signals of the window once more; those before them are behind the host.
    pub(crate) fn forget_signals(&self, engine: &mut Engine) {
        for own in self.window.iter().rev() {
            if let Name::Signal { event, before, .. } = own.name {
                engine.events.entry(event).or_default().forget(before);
            }
        }
    }
}

impl Engine {
    /// The event takes a value by a signal that the engine does not know of yet.
    fn raise(&mut self, event: EventId, value: u64) {
        let state = self.events.entry(event).or_default();
        state.value = state.value.max(value);
    }
}
