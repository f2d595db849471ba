//! What checking finds while a program runs, and how it reaches the user.
//!
//! The engine that orders tracked resources says which conflicts of untracked ones nothing orders. What was committed
//! lately is kept as a window; when a conflict is new, the checker of the model looks at the window for the order
//! that comes nearest and the smallest change. Deliberately absent: looking for conflicts, which the engine does, and
//! the wording, which is `message`. Tested in `tests/checking.rs` of `lockgate-cpu`.

mod describe;
mod grade;
mod misuse;
mod window;

pub(crate) use window::Window;

use crate::message::Message;
use lockgate_sync::{
    Actor, Basis, CheckOptions, Code, Finding, Gap, Grade, Misuse, Report as Checked, Severity, Subject,
    check_knowing,
};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use window::View;

/// Names the environment variable that overrides [`DeviceDescriptor::checking`](crate::DeviceDescriptor::checking):
/// `off`, `collect` or `deny`.
pub const CHECKING_VARIABLE: &str = "LOCKGATE_CHECKING";
/// So many different findings are told apart; what comes after them is only counted.
pub const FINDINGS_MAX: usize = 1024;
/// So many gaps and so many misuses are listed one by one in a [`Report`].
pub const LISTED_MAX: usize = 65_536;
/// What looking for one fix may cost, in operations that the engine takes.
const BUDGET: u64 = 400_000;

/// Whether conflicts of untracked resources are looked for.
///
/// The default is [`Checking::Collect`] in debug builds and [`Checking::Off`] in release builds. The environment
/// variable `LOCKGATE_CHECKING` (`off`, `collect`, `deny`) overrides what a device is opened with.
///
/// ```
/// use lockgate_runtime::Checking;
/// assert_eq!(Checking::default() == Checking::Collect, cfg!(debug_assertions));
/// assert_eq!(Checking::from_name("deny"), Some(Checking::Deny));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checking {
    /// No: untracked resources cost nothing.
    Off,
    /// Yes: findings go to the log, to the handler and to [`Device::take_report`](crate::Device::take_report).
    /// Nothing else changes.
    Collect,
    /// Yes, and a commit that has a hazard of error severity is refused before anything of it runs. What waits for an event can be
    /// found wrong only when it is signaled; then it is collected.
    Deny,
}

impl Default for Checking {
    fn default() -> Checking {
        if cfg!(debug_assertions) { Checking::Collect } else { Checking::Off }
    }
}

impl Checking {
    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Checking> {
        match name {
            "off" => Some(Checking::Off),
            "collect" => Some(Checking::Collect),
            "deny" => Some(Checking::Deny),
            _ => None,
        }
    }

    /// The mode, unless the environment says another.
    pub(crate) fn or_environment(self) -> Checking {
        let Ok(name) = std::env::var(CHECKING_VARIABLE) else { return self };
        Checking::from_name(&name).unwrap_or_else(|| {
            log::warn!("{CHECKING_VARIABLE}={name} is none of off, collect, deny");
            self
        })
    }
}

/// Something that is wrong with a program that runs, or could be better.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::new(
///     Box::new(null::NullBackend::default()),
///     DeviceDescriptor { checking: Checking::Collect, ..Default::default() },
/// );
/// let untracked = HazardTrackingMode::Untracked;
/// let scratch = device.new_buffer(&BufferDescriptor {
///     size: 64, hazard_tracking_mode: untracked, label: "scratch".into(), ..Default::default()
/// })?;
/// let (queue, allocator) = (device.new_command_queue(&Default::default())?, device.new_command_allocator(""));
/// let mut commands = device.new_command_buffer("");
/// commands.begin(&allocator);
/// let mut encoder = commands.compute_command_encoder("clear twice");
/// encoder.fill_buffer(&scratch, 0..64, 0);
/// encoder.fill_buffer(&scratch, 0..64, 1);
/// encoder.end_encoding();
/// commands.end()?;
/// queue.commit(&[&commands])?;
/// let report = device.take_report();
/// assert_eq!(report.findings[0].code.name(), "write-after-write");
/// assert!(report.findings[0].to_string().contains("encoder.intrapass_barrier("));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RuntimeFinding {
    /// What kind.
    pub code: Code,
    /// How grave.
    pub severity: Severity,
    /// What there is to say, with the calls that recorded both accesses and the fix as Rust code.
    pub message: Message,
    /// For a hazard, the two accesses.
    pub gap: Option<Gap>,
    /// Where the earlier and the later access, or the operation, were recorded.
    pub origins: Vec<&'static Location<'static>>,
    /// How often it was found until it was asked for.
    pub count: u64,
}

impl fmt::Display for RuntimeFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if self.count > 1 { writeln!(f, "   ({} times)", self.count) } else { Ok(()) }
    }
}

/// What checking has found since it was last asked.
///
/// ```
/// let report = lockgate_runtime::Device::null().take_report();
/// assert!(report.findings.is_empty() && report.gaps.is_empty());
/// ```
#[derive(Debug, Default)]
pub struct Report {
    /// Each finding once, with its number.
    pub findings: Vec<RuntimeFinding>,
    /// Findings beyond [`FINDINGS_MAX`] different ones.
    pub more: u64,
    /// Conflicting accesses that nothing orders, each time they were met, by what is bound: kernels may touch
    /// less. At most [`LISTED_MAX`].
    pub gaps: Vec<Gap>,
    /// Calls that mean nothing or cannot work, also while checking is off. At most [`LISTED_MAX`].
    pub misuse: Vec<Misuse>,
}

impl Report {
    /// Whether there is a finding of error severity.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))
    }
}

/// Who is told of findings as they are made.
pub(crate) type Handler = Arc<dyn Fn(&RuntimeFinding) + Send + Sync>;

/// What makes two findings the same: the kind, the places in the source, the names.
type Key = (Code, Vec<(&'static str, u32, u32)>, String);

/// Findings on their way to the user.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) report: Report,
    pub(crate) handler: Option<Handler>,
    /// Findings that are new and not told yet: they are told without the device's lock.
    pub(crate) untold: Vec<RuntimeFinding>,
    /// Findings of this and earlier reports, with their place in this one.
    known: BTreeMap<Key, Option<usize>>,
}

impl Findings {
    pub(crate) fn take(&mut self) -> Report {
        self.known.values_mut().for_each(|place| *place = None);
        std::mem::take(&mut self.report)
    }

    /// Lists what the engine has found, as long as there is room.
    pub(crate) fn keep(&mut self, gaps: &[Gap], misuse: &[Misuse], checking: bool) {
        let Report { gaps: listed, misuse: told, .. } = &mut self.report;
        let room = if checking { LISTED_MAX.saturating_sub(listed.len()) } else { 0 };
        listed.extend(gaps.iter().take(room));
        told.extend(misuse.iter().take(LISTED_MAX.saturating_sub(told.len())));
    }

    /// Turns what the engine has found into findings. Returns whether there is a hazard of error severity.
    pub(crate) fn add(&mut self, gaps: &[Gap], misuse: &[Misuse], view: &View<'_>) -> bool {
        let mut grave = false;
        let mut advice = None;
        for gap in gaps {
            let origins = view.origins(gap);
            let code = view.code(gap);
            let grade = view.grade(&view.local_gap(gap));
            let severity = match grade {
                Grade::Dismissed => continue,
                Grade::Possible => Severity::Warning,
                Grade::Declared | Grade::Proven | Grade::Observed => code.severity(),
            };
            grave |= severity == Severity::Error;
            // What is only possible once may be certain the next time: these are two findings.
            let name = format!("{} {}", severity.name(), view.label(gap.later.access.resource));
            let key = key(code, &origins, &name);
            if self.count(&key, 1) {
                continue;
            }
            let checked = advice.get_or_insert_with(|| view.check());
            let message = view.message(gap, grade, checked);
            let finding = RuntimeFinding { code, severity, message, gap: Some(*gap), origins, count: 1 };
            self.push(key, finding);
        }
        for misuse in misuse {
            let finding = misuse::finding(misuse, view);
            let key = key(finding.code, &finding.origins, &finding.message.head);
            if !self.count(&key, 1) {
                self.push(key, finding);
            }
        }
        grave
    }

    /// A finding of the runtime itself, told once for each place.
    pub(crate) fn raise(&mut self, code: Code, sentence: &str, origin: Option<&'static Location<'static>>) {
        let origins: Vec<_> = origin.into_iter().collect();
        let key = key(code, &origins, sentence);
        if !self.count(&key, 1) {
            self.push(key, of_runtime(code, sentence, origins));
        }
    }

    /// Counts a finding that is known; `false` if it is new.
    fn count(&mut self, key: &Key, times: u64) -> bool {
        match self.known.get(key) {
            Some(Some(at)) => self.report.findings[*at].count += times,
            None if self.known.len() >= FINDINGS_MAX => self.report.more += times,
            _ => return false,
        }
        true
    }

    fn push(&mut self, key: Key, finding: RuntimeFinding) {
        // What an earlier report has told is not told again.
        if self.known.insert(key, Some(self.report.findings.len())).is_none() {
            self.untold.push(finding.clone());
        }
        self.report.findings.push(finding);
    }
}

fn key(code: Code, origins: &[&'static Location<'static>], name: &str) -> Key {
    let places = origins.iter().map(|at| (at.file(), at.line(), at.column())).collect();
    (code, places, name.to_owned())
}

pub(crate) fn of_runtime(
    code: Code,
    sentence: &str,
    origins: Vec<&'static Location<'static>>,
) -> RuntimeFinding {
    let head = format!("{}[{}]: {sentence}", code.severity().name(), code.name());
    let line = |at: &&Location<'_>| ("1".to_owned(), at.to_string());
    let message = Message { head, lines: origins.iter().map(line).collect() };
    RuntimeFinding { code, severity: code.severity(), message, gap: None, origins, count: 1 }
}

/// Tells the log and the handler. Called without the device's lock.
pub(crate) fn tell(findings: &[RuntimeFinding], handler: Option<&Handler>) {
    for finding in findings {
        match finding.severity {
            Severity::Error => log::error!("{}", finding.to_string().trim_end()),
            Severity::Warning => log::warn!("{}", finding.to_string().trim_end()),
            Severity::Note => log::info!("{}", finding.to_string().trim_end()),
        }
        if let Some(handler) = handler {
            handler(finding);
        }
    }
}

impl View<'_> {
    /// What the checker says of the window.
    fn check(&self) -> Checked {
        let options = CheckOptions { advice: true, spare: false, budget: BUDGET };
        check_knowing(self.program(), &options, &|gap| self.grade(gap))
    }

    fn code(&self, gap: &Gap) -> Code {
        let queue = |actor: Actor| self.queue_of(actor);
        Code::of_gap(gap, queue(gap.earlier.actor) != queue(gap.later.actor))
    }

    /// The message of a gap: the checker's, if the window still shows both sides, else without advice.
    fn message(&self, gap: &Gap, grade: Grade, checked: &Checked) -> Message {
        let same = |finding: &&Finding| {
            finding.gap().is_some_and(|own| {
                self.absolute(own.earlier.actor) == gap.earlier.actor
                    && self.absolute(own.later.actor) == gap.later.actor
                    && own.later.access.resource == gap.later.access.resource
            })
        };
        if let Some(finding) = checked.findings.iter().find(same) {
            return Message::of(finding, checked, self);
        }
        let subject = Subject::Hazard { gap: self.local_gap(gap), overlap: (0, 0) };
        let mut finding = Finding::new(self.code(gap), subject);
        match grade {
            Grade::Possible => finding.severity = Severity::Warning,
            Grade::Proven => finding.basis = Basis::Proven,
            _ => {}
        }
        Message::of(&finding, &Checked::default(), self)
    }

    /// A gap in the numbers of the window.
    fn local_gap(&self, gap: &Gap) -> Gap {
        let mut local = *gap;
        local.earlier.actor = self.local(gap.earlier.actor);
        local.later.actor = self.local(gap.later.actor);
        local
    }
}
