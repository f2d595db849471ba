//! Checking a program file: findings with the file's own lines, and fixes written back into it.
//!
//! The model finds, `lockgate_runtime::message` words; here stands what connects both with a text: places,
//! names, and edits. Deliberately absent: colours, terminals and writing files, which are the command line's.

mod describe;
mod edit;
mod json;
mod listing;
mod places;
mod text;

pub use edit::Repair;

use crate::{Names, ProgramFile, Source};
use lockgate_runtime::message::Message;
use lockgate_sync::{CheckOptions, Finding, Place, Program, Report, Severity, check};
use places::Places;

/// A program file with what the checker says of it.
///
/// ```
/// use lockgate_trace::{CheckOptions, NoFiles, ProgramFile};
/// let text = "buffer A size=64 tracking=untracked\nqueue main { command-buffer {
///     compute-pass one { dispatch w { writes A } }
///     compute-pass two { dispatch r { reads A } }
/// } }";
/// let file = ProgramFile::parse("two.kdl", text, &NoFiles)?;
/// let checked = file.check(&CheckOptions::default());
/// assert!(checked.text().starts_with("error[read-after-write]: `two.r` may read `A` before `one.w` has written it"));
/// # Ok::<(), lockgate_trace::Diagnostics>(())
/// ```
#[derive(Debug)]
pub struct Checked {
    source: Source,
    program: Program,
    names: Names,
    places: Places,
    resources: Vec<usize>,
    report: Report,
}

impl ProgramFile {
    /// Checks the program.
    pub fn check(&self, options: &CheckOptions) -> Checked {
        let (program, names) = self.model();
        let report = check(&program, options);
        self.checked(program, names, report)
    }

    fn checked(&self, program: Program, names: Names, report: Report) -> Checked {
        let places = Places::of(self, &program);
        let resources = self.resources.iter().map(|resource| resource.span.start).collect();
        Checked { source: self.source().clone(), program, names, places, resources, report }
    }
}

impl Checked {
    /// The findings and fixes.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the program is to the model.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// What is said of a finding.
    pub fn message(&self, finding: &Finding) -> Message {
        Message::of(finding, &self.report, self)
    }

    /// All findings as text. Hazards between the same two commands of the file that a loop of passes repeats are
    /// told once, with their number.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut told: Vec<(Message, usize)> = Vec::new();
        let mut known = std::collections::BTreeMap::new();
        for finding in &self.report.findings {
            let message = self.message(finding);
            let at = *known.entry(message.to_string()).or_insert(told.len());
            match told.get_mut(at) {
                Some((_, count)) => *count += 1,
                None => told.push((message, 1)),
            }
        }
        for (message, count) in told {
            text.push_str(&message.to_string());
            if count > 1 {
                text.push_str(&format!("   ({count} times)\n"));
            }
            text.push('\n');
        }
        text.push_str(&self.summary());
        text
    }

    /// How much was found, in a line, and what was not looked at.
    pub fn summary(&self) -> String {
        let count = |severity| self.report.findings.iter().filter(|f| f.severity == severity).count();
        let part = |number: usize, what: &str| (number > 0).then(|| plural(number, what));
        let parts = [
            part(count(Severity::Error), "error"),
            part(count(Severity::Warning), "warning"),
            part(count(Severity::Note), "note"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let hazards = self.report.findings.iter().filter(|finding| finding.code.is_hazard()).count();
        let closing = self.report.closing().count();
        let mut line = match parts.is_empty() {
            true => "nothing found".to_owned(),
            false => parts.join(", "),
        };
        if hazards > 0 && closing > 0 {
            let verb = if closing == 1 { "closes" } else { "close" };
            line.push_str(&format!("; {} {verb} {}", plural(closing, "fix"), plural(hazards, "hazard")));
        }
        for omitted in &self.report.omitted {
            line.push_str(&format!("\nnot looked at to the end: {}", omission(*omitted)));
        }
        line.push('\n');
        line
    }

    /// The line of a place, counted from 1.
    fn line(&self, place: Place) -> Option<usize> {
        Some(self.line_at(self.places.span(place)?.start))
    }

    fn line_at(&self, at: usize) -> usize {
        1 + self.source.text().get(..at).map_or(0, |before| before.matches('\n').count())
    }
}

fn plural(number: usize, what: &str) -> String {
    let ending = match what {
        _ if number == 1 => "",
        "fix" => "es",
        _ => "s",
    };
    format!("{number} {what}{ending}")
}

fn omission(omitted: lockgate_sync::Omission) -> &'static str {
    use lockgate_sync::Omission as O;
    match omitted {
        O::Pairs => "pairs of accesses whose conflict follows from another that is reported",
        O::Advice => "fixes: some hazards have none proposed",
        O::Minimizing => "the set of fixes, which may hold more than is needed",
        O::Spare => "spare operations",
        _ => "something",
    }
}
