//! What findings there are: stable codes, how grave each is, and what a finding rests on.
//!
//! Deliberately absent: the wording of messages and the manual page of each code, which belong to whoever talks
//! to the user. Tested in `lockgate-testsuite/tests/findings.rs`.

use crate::{Actor, Gap, Hazard, Reach};

/// How grave a finding is.
///
/// ```
/// use lockgate_sync::Severity;
/// assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Note);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Could be better; nothing goes wrong.
    Note,
    /// May go wrong, or says something other than what it does.
    Warning,
    /// Goes wrong.
    Error,
}

impl Severity {
    /// The word in messages: `error`, `warning` or `note`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What a finding rests on.
///
/// ```
/// assert_eq!(lockgate_sync::Basis::Proven.name(), "proven");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The ranges that the program binds or states. A kernel may touch less.
    #[default]
    Declared,
    /// Ranges that were derived from the kernel.
    Proven,
    /// The bytes that were touched in a run.
    Observed,
}

impl Basis {
    /// The word in messages: `declared`, `proven` or `observed`.
    pub fn name(self) -> &'static str {
        match self {
            Basis::Declared => "declared",
            Basis::Proven => "proven",
            Basis::Observed => "observed",
        }
    }
}

/// What is known of two accesses that conflict by what the program declares.
///
/// ```
/// assert_eq!(lockgate_sync::Grade::default(), lockgate_sync::Grade::Declared);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Grade {
    /// No more than that: the conflict is taken as it is declared.
    #[default]
    Declared,
    /// A kernel may touch less than is declared: the conflict is only possible, and a warning.
    Possible,
    /// Both always touch common memory.
    Proven,
    /// Both touched common memory in a run.
    Observed,
    /// They touch no common memory, or none that one of them writes: there is no conflict.
    Dismissed,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident $name:literal $severity:ident,)+) => {
        /// The kind of a finding, with a stable name in kebab-case.
        ///
        /// ```
        /// use lockgate_sync::{Code, Severity};
        /// assert_eq!(Code::from_name("event-cycle"), Some(Code::EventCycle));
        /// assert_eq!(Code::BarrierSpare.severity(), Severity::Warning);
        /// assert!(Code::ALL.iter().all(|code| Code::from_name(code.name()) == Some(*code)));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, hazards first.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// The stable name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Code::$variant => $name),+
                }
            }

            /// How grave a finding of this kind is unless it says otherwise.
            pub fn severity(self) -> Severity {
                match self {
                    $(Code::$variant => Severity::$severity),+
                }
            }
        }
    };
}

codes! {
    /// A read may miss what an earlier command of the queue writes.
    ReadAfterWrite "read-after-write" Error,
    /// A write may come before an earlier command of the queue has read.
    WriteAfterRead "write-after-read" Error,
    /// Which of two writes stays is undecided.
    WriteAfterWrite "write-after-write" Error,
    /// Two queues touch the same memory and nothing orders them.
    UnorderedQueues "unordered-queues" Error,
    /// The host touches memory that work in flight touches.
    HostAccessInFlight "host-access-in-flight" Error,
    /// Two resources share memory and nothing orders their uses.
    AliasWithoutOrder "alias-without-order" Error,
    /// The order is there, but nothing makes what was written visible.
    OrderWithoutVisibility "order-without-visibility" Error,
    /// Two resources share memory; the order is there, but nothing makes what was written visible.
    AliasWithoutVisibility "alias-without-visibility" Error,
    /// Without the barrier the program does the same.
    BarrierSpare "barrier-spare" Warning,
    /// Without some of its stages the barrier does the same.
    BarrierTooWide "barrier-too-wide" Note,
    /// Without this update or wait of the fence the program does the same.
    FenceSpare "fence-spare" Warning,
    /// Without this wait for the event the program does the same.
    EventSpare "event-spare" Warning,
    /// The barrier follows no write, so its order alone is enough.
    VisibilitySpare "visibility-spare" Note,
    /// The wait could stand later in its pass, or on its queue, and hold back less.
    WaitTooEarly "wait-too-early" Note,
    /// The program orders all that tracking of the resource would.
    TrackingSpare "tracking-spare" Note,
    /// A queue barrier between two commands of one pass, which it does not order: an intrapass barrier would.
    ConsumerWithinPass "consumer-within-pass" Warning,
    /// An intrapass barrier names stages that its encoder cannot encode, or fragment or tile as its source.
    IntrapassStages "intrapass-stages" Error,
    /// A wait for a fence that no earlier pass has updated does nothing.
    FenceNeverUpdated "fence-never-updated" Warning,
    /// A wait for a fence behind an update of it in the same pass.
    FenceWaitAfterUpdate "fence-wait-after-update" Error,
    /// A fence that is updated on one queue and waited for on another.
    FenceAcrossQueues "fence-across-queues" Error,
    /// Nothing brings the value that is waited for; the wait times out and orders nothing.
    EventNeverSignaled "event-never-signaled" Error,
    /// Waits for events that only what they hold back would signal.
    EventCycle "event-cycle" Error,
    /// A signal of a value that the event has already passed does nothing.
    SignalBelowValue "signal-below-value" Warning,
    /// Two producers that nothing orders signal one event, so a wait may be released by either.
    UnorderedSignals "unordered-signals" Warning,
    /// A queue barrier that names only the tile stage, which hardware was seen to ignore.
    TileOnlyMask "tile-only-mask" Warning,
    /// A fence or memory barrier names stages that its encoder cannot encode.
    StagesForeign "stages-foreign" Warning,
    /// A resource is read that nothing has written since another resource used its memory.
    AliasReadBeforeWrite "alias-read-before-write" Warning,
    /// A command allocator is reset while commands from it are in flight.
    AllocatorInUse "allocator-in-use" Error,
    /// A wait of the host timed out, and what it guards went on.
    IgnoredTimeout "ignored-timeout" Warning,
    /// A command reaches a resource that no residency set holds.
    ResourceNotResident "resource-not-resident" Error,
    /// A command buffer is committed again without having been recorded again.
    CommittedTwice "committed-twice" Error,
    /// The model asked for does not track, and the program needs it.
    ReliesOnTracking "relies-on-tracking" Warning,
    /// The program needs a consumer barrier to hold back passes behind its own.
    ReliesOnWideConsumer "relies-on-wide-consumer" Warning,
    /// The program uses parts of a tracked resource that the model asked for tracks as a whole.
    NeedsWholeResourceTracking "needs-whole-resource-tracking" Note,
    /// Invocations of one dispatch touch the same memory, one of them writing.
    RaceInDispatch "race-in-dispatch" Error,
    /// A kernel reads memory that nothing has written.
    UninitializedRead "uninitialized-read" Warning,
    /// A kernel touches memory outside of what is bound.
    OutOfBoundsAccess "out-of-bounds-access" Error,
}

impl Code {
    /// The code with this name.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// The code of a gap. `queues_differ`: the two commands are on different queues.
    ///
    /// What stands first counts: the host or the display takes part; the order is there without visibility; the
    /// resources differ; the queues differ; the kind of the hazard.
    pub fn of_gap(gap: &Gap, queues_differ: bool) -> Code {
        let outside = |actor: Actor| !matches!(actor, Actor::Command(_));
        let alias = gap.earlier.access.resource != gap.later.access.resource;
        match gap.hazard {
            _ if outside(gap.earlier.actor) || outside(gap.later.actor) => Code::HostAccessInFlight,
            _ if gap.reach == Reach::ExecutionOnly && alias => Code::AliasWithoutVisibility,
            _ if gap.reach == Reach::ExecutionOnly => Code::OrderWithoutVisibility,
            _ if alias => Code::AliasWithoutOrder,
            _ if queues_differ => Code::UnorderedQueues,
            Hazard::ReadAfterWrite => Code::ReadAfterWrite,
            Hazard::WriteAfterRead => Code::WriteAfterRead,
            Hazard::WriteAfterWrite => Code::WriteAfterWrite,
        }
    }

    /// Whether it stands for a gap: an order or a visibility that is missing.
    pub fn is_hazard(self) -> bool {
        self <= Code::AliasWithoutVisibility
    }

    /// Whether it says that something could go.
    pub fn is_spare(self) -> bool {
        (Code::BarrierSpare..=Code::TrackingSpare).contains(&self)
    }
}
