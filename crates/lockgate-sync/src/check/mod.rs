//! The checker: what of a program is wrong, what closes it, and what is spare.
//!
//! Everything asks [`Program::run`]: a finding is what the engine's answer says, a fix is a change after which the
//! engine is silent, an operation is spare if the engine's answer stays the same without it. Deliberately absent:
//! messages, files, and what only a runtime or a device can see. Tested against the brute-force oracle in
//! `lockgate-testsuite/tests/check.rs`.

mod advice;
mod alias;
mod candidate;
mod change;
mod code;
mod explain;
mod finding;
mod hazard;
mod layout;
mod minimize;
mod misuse;
mod narrow;
mod near;
mod place;
mod portability;
mod renumber;
mod spare;
mod tracking;
mod trial;
mod waits;

pub use change::{Change, Fix};
pub use code::{Basis, Code, Grade, Severity};
pub use explain::{Explanation, Hop, explain};
pub use finding::{Finding, Omission, OrderFound, Report, Sides, Subject};
pub use place::Place;
pub use portability::{Target, portability};

use crate::{Gap, Program};
use trial::{Grading, Trials};

/// What to look for, and how long.
///
/// ```
/// use lockgate_sync::CheckOptions;
/// let options = CheckOptions { spare: false, ..CheckOptions::default() };
/// assert!(options.advice);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Whether to look for fixes of hazards.
    pub advice: bool,
    /// Whether to look for what is spare.
    pub spare: bool,
    /// How much work to spend on fixes and on spare operations: operations that the engine takes, over all its
    /// runs, and eight for each gap that one tells. The hazards themselves and misuse are always looked for.
    pub budget: u64,
}

impl Default for CheckOptions {
    /// Everything, with a budget of 5 million operations.
    fn default() -> CheckOptions {
        CheckOptions { advice: true, spare: true, budget: 5_000_000 }
    }
}

/// Checks a program.
///
/// ```
/// use lockgate_sync::*;
/// let mut program = Program::new();
/// let queue = program.add_queue(QueueDescriptor::default());
/// let x = program.add_buffer(256, HazardTrackingMode::Untracked);
/// let mut recording = Recording::new();
/// for kind in [AccessKind::WRITE, AccessKind::READ] {
///     recording.begin_pass(PassDescriptor::compute());
///     recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, kind)])]);
///     recording.end_pass();
/// }
/// program.commit(queue, vec![recording]);
/// let report = check(&program, &CheckOptions::default());
/// assert_eq!(report.findings[0].code, Code::ReadAfterWrite);
/// ```
pub fn check(program: &Program, options: &CheckOptions) -> Report {
    with(Trials::new(program, options.budget), options)
}

/// The same where more is known than what the program declares: `grade` says of two conflicting accesses whether they
/// really meet. Its gaps name commands and host steps of this program, whatever changes are being tried.
///
/// ```
/// use lockgate_sync::*;
/// let report = check_knowing(&Program::new(), &CheckOptions::default(), &|_| Grade::Dismissed);
/// assert!(report.findings.is_empty());
/// ```
pub fn check_knowing(program: &Program, options: &CheckOptions, grade: &dyn Fn(&Gap) -> Grade) -> Report {
    let mut trials = Trials::new(program, options.budget);
    trials.grade = Grading::new(grade);
    with(trials, options)
}

fn with(mut trials: Trials<'_>, options: &CheckOptions) -> Report {
    let program = trials.layout.program;
    let mut report = Report::default();
    let now = hazard::find(&mut trials, &mut report);
    let mut changes = Vec::new();
    if options.advice && !now.gaps.is_empty() {
        changes = advice::advise(&mut trials, &now, &mut report);
    }
    misuse::find(&trials.layout, &now, &mut report);
    waits::find(program, &now, &mut report);
    alias::find(program, &now, &mut report);
    if options.spare {
        spare::find(&mut trials, changes, &mut report);
    }
    report
}
