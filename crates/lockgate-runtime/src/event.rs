//! Fences, events and shared events.

use crate::completion::{Callback, Events};
use crate::device::Device;
use crate::shared::{Shared, callback_thread};
use lockgate_sync::{EventId, FenceId, HostStep, Step};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Orders passes of one queue: updated in one pass, waited for in a later one. It has no value and no state
/// that could be asked for. Cheap to clone.
///
/// ```
/// let fence = lockgate_runtime::Device::null().new_fence("scratch is free");
/// assert_eq!(fence.label(), "scratch is free");
/// ```
#[doc(alias = "MTLFence")]
#[derive(Clone)]
pub struct Fence(pub(crate) Arc<FenceInner>);

pub(crate) struct FenceInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: FenceId,
    label: String,
}

impl Drop for FenceInner {
    fn drop(&mut self) {
        self.shared.drop_fence(self.id);
    }
}

impl std::fmt::Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fence").field("label", &self.0.label).finish_non_exhaustive()
    }
}

impl Fence {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Its id in the model, as reports name it.
    pub fn id(&self) -> FenceId {
        self.0.id
    }
}

/// A counter that orders queues of one device. Starts at 0 and only grows. Cheap to clone.
///
/// ```
/// let event = lockgate_runtime::Device::null().new_event("frame");
/// assert_eq!(event.label(), "frame");
/// ```
#[doc(alias = "MTLEvent")]
#[derive(Clone)]
pub struct Event(pub(crate) Arc<EventInner>);

pub(crate) struct EventInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) id: EventId,
    label: String,
}

impl Drop for EventInner {
    fn drop(&mut self) {
        self.shared.drop_event(self.id);
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event").field("label", &self.0.label).finish_non_exhaustive()
    }
}

impl Event {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Its id in the model, as reports name it.
    pub fn id(&self) -> EventId {
        self.0.id
    }
}

/// An event that the host can read, set and wait for too. Wherever an event is taken, it can be lent as one.
///
/// ```
/// use std::time::Duration;
/// let event = lockgate_runtime::Device::null().new_shared_event("step");
/// assert!(!event.wait_until_signaled_value(1, Duration::ZERO));
/// event.set_signaled_value(2);
/// assert!(event.wait_until_signaled_value(1, Duration::ZERO));
/// event.set_signaled_value(1);
/// assert_eq!(event.signaled_value(), 2, "it only grows");
/// ```
#[doc(alias = "MTLSharedEvent")]
#[derive(Clone, Debug)]
pub struct SharedEvent(Event);

impl std::ops::Deref for SharedEvent {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.0
    }
}

/// Runs callbacks of shared events, one after the other, on a thread of its own.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let listener = lockgate_runtime::SharedEventListener::new();
/// let event = device.new_shared_event("ready");
/// event.notify(&listener, 3, move |_, value| sender.send(value).unwrap());
/// event.set_signaled_value(5);
/// assert_eq!(receiver.recv(), Ok(5));
/// ```
#[doc(alias = "MTLSharedEventListener")]
#[derive(Clone, Debug)]
pub struct SharedEventListener(Sender<Callback>);

impl Default for SharedEventListener {
    fn default() -> SharedEventListener {
        SharedEventListener::new()
    }
}

impl SharedEventListener {
    /// A listener. Its thread ends when it and all that it waits for are gone.
    pub fn new() -> SharedEventListener {
        SharedEventListener(callback_thread())
    }
}

impl Device {
    /// A fence that no pass has updated.
    #[doc(alias = "newFence")]
    pub fn new_fence(&self, label: &str) -> Fence {
        let id = self.0.new_fence(label);
        Fence(Arc::new(FenceInner { shared: self.0.clone(), id, label: label.to_owned() }))
    }

    /// An event with the value 0.
    #[doc(alias = "newEvent")]
    pub fn new_event(&self, label: &str) -> Event {
        let id = self.0.new_event(label);
        Event(Arc::new(EventInner { shared: self.0.clone(), id, label: label.to_owned() }))
    }

    /// A shared event with the value 0.
    #[doc(alias = "newSharedEvent")]
    pub fn new_shared_event(&self, label: &str) -> SharedEvent {
        SharedEvent(self.new_event(label))
    }
}

impl SharedEvent {
    /// The value it has reached.
    #[doc(alias = "signaledValue")]
    pub fn signaled_value(&self) -> u64 {
        let EventInner { shared, id, .. } = &*self.0.0;
        shared.backend.look();
        shared.completions.event_value(*id)
    }

    /// Raises the value; one that is not above the present value does nothing (A6). Everything that the host
    /// did before is visible to work that waits for it.
    #[doc(alias = "setSignaledValue")]
    pub fn set_signaled_value(&self, value: u64) {
        let inner = &self.0.0;
        inner.shared.step(Step::Host(HostStep::SignalEvent { event: inner.id, value }));
        use crate::backend::Observer;
        inner.shared.completions.signaled(inner.id, value);
    }

    /// Waits until the event has the value. Returns whether it has; `false` after the time-out, with no other
    /// effect. What is ordered before the signal is then visible to the host.
    #[doc(alias = "waitUntilSignaledValue")]
    pub fn wait_until_signaled_value(&self, value: u64, timeout: Duration) -> bool {
        let inner = &self.0.0;
        let id = inner.id;
        let reached = move |events: &Events| events.get(&id).copied().unwrap_or(0) >= value;
        let done = value == 0 || inner.shared.wait(Some(timeout), &reached);
        match done {
            true => inner.shared.step(Step::Host(HostStep::WaitForEvent { event: id, value })),
            false => inner.shared.note_timed_out(),
        }
        done
    }

    /// Runs `callback` once, with the event and its value, when the value is reached, or soon if it is already.
    #[doc(alias = "notifyListener")]
    pub fn notify(
        &self,
        listener: &SharedEventListener,
        value: u64,
        callback: impl FnOnce(&SharedEvent, u64) + Send + 'static,
    ) {
        let event = self.clone();
        let id = self.0.0.id;
        let run = move |reached: u64| {
            let shared = event.0.0.shared.clone();
            shared.step(Step::Host(HostStep::WaitForEvent { event: id, value }));
            callback(&event, reached);
        };
        let shared = &self.0.0.shared;
        shared.completions.when_signaled(id, value, listener.0.clone(), Box::new(run));
        shared.backend.attend();
    }
}
