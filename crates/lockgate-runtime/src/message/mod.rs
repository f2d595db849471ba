//! What is said of a finding: one sentence, both accesses, the order that was found, and the smallest change.
//!
//! The words are the same for a Rust program and for a program file; [`Describe`] says what things are called,
//! where they stand, and how a change is written. Deliberately absent: looking for findings, which the model does,
//! and where messages go. Tested in `tests/message.rs` and by the manual pages of `lockgate-trace`.

mod hazard;
mod order;
mod other;
mod words;

pub use words::{extent, stages};

use lockgate_sync::{Actor, Change, Finding, Place, Program, Report, ResourceId, Subject};
use std::fmt::Write;

/// What something is called and where it stands.
///
/// ```
/// use lockgate_runtime::message::Spot;
/// let spot = Spot { at: "blur.kdl:12".into(), within: "queue main, pass blur".into(), name: "horizontal".into() };
/// assert_eq!(spot.to_string(), "horizontal");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    /// File and line, `histogram.rs:41`; empty if nobody knows.
    pub at: String,
    /// What it is in, from the outside in: `queue main, pass count`.
    pub within: String,
    /// What it is called: a command's label, or an operation in words.
    pub name: String,
}

impl std::fmt::Display for Spot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Names and places of a program, in the language that it is written in.
pub trait Describe {
    /// The program.
    fn program(&self) -> &Program;
    /// What a resource is called.
    fn resource(&self, resource: ResourceId) -> String;
    /// Who touches memory.
    fn actor(&self, actor: Actor) -> Spot;
    /// An operation of synchronization.
    fn operation(&self, place: Place) -> Spot;
    /// A change as the user would write it, with the line where it belongs.
    fn change(&self, change: &Change) -> (String, String);
    /// Why tracking does not order accesses of a resource; nothing if it would.
    fn not_automatic(&self, resource: ResourceId) -> Option<String>;
}

/// The message of a finding: its head, and the lines below it, each a caption and a text.
///
/// ```
/// use lockgate_runtime::message::Message;
/// let lines = vec![("smallest fix".to_owned(), ":55   wait-for-fence bins".to_owned())];
/// let message = Message { head: "error[read-after-write]: ..".into(), lines };
/// assert_eq!(message.to_string(), "error[read-after-write]: ..\n   smallest fix   :55   wait-for-fence bins\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Severity, code and one sentence.
    pub head: String,
    /// What else there is to say.
    pub lines: Vec<(String, String)>,
}

impl Message {
    /// What is said of a finding of a report.
    pub fn of(finding: &Finding, report: &Report, names: &dyn Describe) -> Message {
        let (code, severity) = (finding.code.name(), finding.severity.name());
        let mut message = Message::default();
        let sentence = match &finding.subject {
            Subject::Hazard { gap, .. } => {
                hazard::lines(finding, gap, names, &mut message);
                hazard::sentence(finding.code, gap, names)
            }
            _ => {
                for (at, place) in finding.subject.places().into_iter().enumerate() {
                    let spot = names.operation(place);
                    message.line(&format!("{}", at + 1), located(&spot));
                }
                other::sentence(finding, names)
            }
        };
        message.head = format!("{severity}[{code}]: {sentence}");
        message.fix(finding, report, names);
        if let Some(gap) = finding.gap()
            && let Some(reason) = names.not_automatic(gap.later.access.resource)
        {
            message.line("not automatic", reason);
        }
        message
    }

    fn line(&mut self, caption: &str, text: impl Into<String>) {
        self.lines.push((caption.to_owned(), text.into()));
    }

    fn fix(&mut self, finding: &Finding, report: &Report, names: &dyn Describe) {
        let Some(fix) = finding.fix.and_then(|fix| report.fixes.get(fix as usize)) else { return };
        for (at, change) in fix.changes.iter().enumerate() {
            let (line, code) = names.change(change);
            let caption = if at == 0 { "smallest fix" } else { "" };
            self.line(caption, if line.is_empty() { code } else { format!("{line}   {code}") });
        }
        let others =
            fix.closes.iter().filter(|at| report.findings.get(**at as usize) != Some(finding)).count();
        if others > 0 {
            self.line(
                "",
                format!("(and {others} more finding{} with it)", if others == 1 { "" } else { "s" }),
            );
        }
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.head)?;
        self.lines.iter().try_for_each(|(caption, text)| match caption.len() {
            1 => writeln!(f, "   {caption}  {text}"),
            _ => writeln!(f, "   {caption:<13}  {text}"),
        })
    }
}

/// An operation with its place: `blur.kdl:12  queue main, pass blur, producer barrier ..`.
fn located(spot: &Spot) -> String {
    let mut text = String::new();
    // A string takes everything.
    let _ = write!(text, "{}", spot.at);
    for part in [&spot.within, &spot.name].into_iter().filter(|part| !part.is_empty()) {
        let separator = match text.as_str() {
            "" => "",
            _ if text == spot.at => "  ",
            _ => ", ",
        };
        let _ = write!(text, "{separator}{part}");
    }
    text
}
