//! What the checker says: findings, and the report that holds them with the fixes.

use super::change::Fix;
use super::code::{Basis, Code, Severity};
use super::place::Place;
use crate::{EventId, Gap, ResourceId, Stages, VisibilityOptions};

/// One thing that is wrong, or could be better.
///
/// ```
/// use lockgate_sync::*;
/// let subject = Subject::Resource(ResourceId(0));
/// let finding = Finding::new(Code::TrackingSpare, subject);
/// assert_eq!((finding.severity, finding.basis), (Severity::Note, Basis::Declared));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// How grave.
    pub severity: Severity,
    /// What it rests on.
    pub basis: Basis,
    /// What it is about.
    pub subject: Subject,
    /// For a hazard, the order that was found and why it is not enough.
    pub order: OrderFound,
    /// What closes it or takes it away, as a position in [`Report::fixes`].
    pub fix: Option<u32>,
}

impl Finding {
    /// A finding with the default severity of its code, that rests on what the program declares.
    pub fn new(code: Code, subject: Subject) -> Finding {
        let (severity, basis, order) = (code.severity(), Basis::Declared, OrderFound::Nothing);
        Finding { code, severity, basis, subject, order, fix: None }
    }

    /// The gap of a hazard.
    pub fn gap(&self) -> Option<&Gap> {
        match &self.subject {
            Subject::Hazard { gap, .. } => Some(gap),
            _ => None,
        }
    }
}

/// What a finding is about.
///
/// ```
/// use lockgate_sync::{Place, Subject};
/// assert_eq!(Subject::Operation(Place::Step(4)).places(), [Place::Step(4)]);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Subject {
    /// Two accesses.
    Hazard {
        /// The accesses.
        gap: Gap,
        /// The bytes of memory both may touch, from the start of the memory, end exclusive; all of a texture.
        overlap: (u64, u64),
    },
    /// One operation of synchronization.
    Operation(Place),
    /// Stages and visibility of an operation that could go, or that mean nothing where they stand.
    Surplus {
        /// The operation.
        at: Place,
        /// Of its earlier side.
        after: Stages,
        /// Of its later side.
        before: Stages,
        /// Of its visibility.
        visibility: VisibilityOptions,
    },
    /// A wait, and where it could stand instead.
    Move {
        /// The wait.
        at: Place,
        /// Before this.
        to: Place,
    },
    /// A wait for an event, or a signal of it.
    Event {
        /// The operation.
        at: Place,
        /// The event.
        event: EventId,
        /// The value.
        value: u64,
    },
    /// Operations that belong together: unordered signals, or a cycle in the order in which each holds back the
    /// next.
    Operations(Vec<Place>),
    /// A resource as a whole.
    Resource(ResourceId),
    /// A command that touches a resource.
    Access {
        /// The command.
        at: Place,
        /// The resource.
        resource: ResourceId,
    },
    /// Nothing that the model knows; whoever raises the finding says what.
    Outside,
}

impl Subject {
    /// The operations it names; none for a hazard, whose commands the gap names.
    pub fn places(&self) -> Vec<Place> {
        match self {
            Subject::Operation(at)
            | Subject::Surplus { at, .. }
            | Subject::Move { at, .. }
            | Subject::Event { at, .. }
            | Subject::Access { at, .. } => vec![*at],
            Subject::Operations(places) => places.clone(),
            Subject::Hazard { .. } | Subject::Resource(_) | Subject::Outside => Vec::new(),
        }
    }
}

/// The stages on both sides of an operation, as it has them or as it would need them.
///
/// ```
/// use lockgate_sync::{Sides, Stages};
/// let have = Sides { after: Stages::BLIT, before: Stages::DISPATCH };
/// assert_ne!(have, Sides { after: Stages::DISPATCH, before: Stages::BLIT });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sides {
    /// The stages that must be done.
    pub after: Stages,
    /// The stages that wait.
    pub before: Stages,
}

/// Which operation comes nearest to ordering two accesses, and why it is not enough.
///
/// ```
/// assert_eq!(lockgate_sync::OrderFound::default().by(), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderFound {
    /// No operation comes near.
    #[default]
    Nothing,
    /// The later one runs behind the earlier one but need not see what it wrote.
    ExecutionOnly {
        /// The operation that does not publish; nothing if none stands out.
        by: Option<Place>,
    },
    /// The operation stands right but names other stages. For a fence, `by` is the wait or the update that falls
    /// short, and the other side of `have` is that of its partner.
    WrongStages {
        /// The operation.
        by: Place,
        /// What it names.
        have: Sides,
        /// The stages of the two accesses.
        need: Sides,
    },
    /// A queue barrier does not order two commands of its own pass.
    NeverInThisPass {
        /// The barrier.
        by: Place,
    },
    /// The operation stands behind the later access.
    TooLate {
        /// The operation.
        by: Place,
    },
    /// The operation stands before the earlier access.
    TooEarly {
        /// The operation.
        by: Place,
    },
    /// A fence or event is updated or signaled behind the earlier access and not waited for before the later one.
    NeverWaitedFor {
        /// The update or signal.
        by: Place,
    },
    /// A fence or event is waited for before the later access and not updated or signaled behind the earlier one.
    NeverBrought {
        /// The wait.
        by: Place,
    },
    /// Barriers and fences end at their queue.
    OtherQueue {
        /// The operation.
        by: Place,
    },
}

impl OrderFound {
    /// The operation it names.
    pub fn by(self) -> Option<Place> {
        match self {
            OrderFound::Nothing => None,
            OrderFound::ExecutionOnly { by } => by,
            OrderFound::WrongStages { by, .. }
            | OrderFound::NeverInThisPass { by }
            | OrderFound::TooLate { by }
            | OrderFound::TooEarly { by }
            | OrderFound::NeverWaitedFor { by }
            | OrderFound::NeverBrought { by }
            | OrderFound::OtherQueue { by } => Some(by),
        }
    }
}

/// What a report did not look at, or not to the end.
///
/// ```
/// assert_ne!(lockgate_sync::Omission::Spare, lockgate_sync::Omission::Advice);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Omission {
    /// Pairs of accesses whose conflict follows from another that is reported were not listed.
    Pairs,
    /// Some hazards have no fix proposed.
    Advice,
    /// The fixes close all hazards but may hold operations or stages that are not needed.
    Minimizing,
    /// Some operations were not looked at for being spare.
    Spare,
}

/// All findings of a program, with what closes them.
///
/// ```
/// use lockgate_sync::{check, CheckOptions, Program};
/// let report = check(&Program::new(), &CheckOptions::default());
/// assert!(report.findings.is_empty() && report.fixes.is_empty());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// The findings: hazards by the place of the later access, then misuse, then what is spare.
    pub findings: Vec<Finding>,
    /// What to change. The fixes of hazards close all of them together and any one less leaves one open; the
    /// fixes of spare operations may be applied together, and with the others.
    pub fixes: Vec<Fix>,
    /// What was not looked at.
    pub omitted: Vec<Omission>,
}

impl Report {
    /// Whether there is a finding of error severity.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The findings of a kind.
    pub fn of(&self, code: Code) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.code == code)
    }

    /// The fixes that close hazards.
    pub fn closing(&self) -> impl Iterator<Item = &Fix> {
        let hazard = |at: &u32| self.findings.get(*at as usize).is_some_and(|f| f.code.is_hazard());
        self.fixes.iter().filter(move |fix| fix.closes.iter().any(hazard))
    }

    /// The fixes that take away what is spare.
    pub fn removing(&self) -> impl Iterator<Item = &Fix> {
        let spare = |at: &u32| self.findings.get(*at as usize).is_some_and(|f| f.code.is_spare());
        self.fixes.iter().filter(move |fix| fix.closes.iter().any(spare))
    }
}
