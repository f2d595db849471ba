//! Checking a program file: findings with the file's own lines, and fixes written back into it.
//!
//! The model finds, `lockgate_runtime::message` words; here stands what connects both with a text: places,
//! names, and edits. Deliberately absent: colours, terminals and writing files, which are the command line's.

mod describe;
mod edit;
mod explain;
mod grade;
mod json;
mod listing;
mod observed;
mod places;
mod text;

pub use edit::Repair;

use crate::{Names, ProgramFile, Source, Watched};
use grade::Grader;
use lockgate_runtime::message::Message;
use lockgate_sync::{
    CheckOptions, CommandRef, CommitId, Op, Place, Program, Report, Severity, Step, Target, check_knowing,
    portability,
};
use places::Places;
use std::collections::BTreeMap;

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
    /// Where the name of each resource stands.
    resources: Vec<usize>,
    /// Where each command stands in the program.
    commands: BTreeMap<CommandRef, Place>,
    /// Where each line begins.
    lines: Vec<usize>,
    report: Report,
    /// What is said of the last findings, which a device has made.
    observed: Vec<Message>,
}

/// A text tells so many different findings in full, and counts the others.
const TOLD_MAX: usize = 100;
/// Of one fix, so many further findings in a line each.
const ALSO_MAX: usize = 8;

impl ProgramFile {
    /// Checks the program.
    pub fn check(&self, options: &CheckOptions) -> Checked {
        self.check_with(options, None)
    }

    /// The same with what a device has seen of the program: conflicts are confirmed or dismissed by the bytes that
    /// were touched, and races and stray accesses inside of kernels are findings too.
    pub fn check_watched(&self, options: &CheckOptions, watched: &Watched) -> Checked {
        self.check_with(options, Some(watched))
    }

    fn check_with(&self, options: &CheckOptions, watched: Option<&Watched>) -> Checked {
        let (program, names) = self.model();
        let mut checked = self.checked(program, names, Report::default());
        let at = checked
            .commands
            .iter()
            .filter_map(|(command, place)| Some((*command, checked.places.span(*place)?.start)));
        let at = at.collect();
        let report = {
            let grader = Grader::new(self, &checked.program, &at, watched);
            check_knowing(&checked.program, options, &|gap| grader.grade(gap))
        };
        checked.report = report;
        if let Some(watched) = watched {
            checked.add_observed(watched);
        }
        checked
    }

    /// What the program relies on that another generation of queues does not have. Hazards that it has anyway are
    /// not repeated.
    pub fn check_portability(&self, target: Target) -> Checked {
        let (program, names) = self.model();
        let mut report = Report::default();
        report.findings = portability(&program, target);
        self.checked(program, names, report)
    }

    fn checked(&self, program: Program, names: Names, report: Report) -> Checked {
        let places = Places::of(self, &program);
        let resources = self.resources.iter().map(|resource| resource.span.start).collect();
        let commands = command_places(&program);
        let newlines = self.source().text().match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(newlines).collect();
        Checked {
            source: self.source().clone(),
            program,
            names,
            places,
            resources,
            commands,
            lines,
            report,
            observed: Vec::new(),
        }
    }
}

fn command_places(program: &Program) -> BTreeMap<CommandRef, Place> {
    let commits = (0..).zip(&program.steps).filter_map(|(at, step)| match step {
        Step::Commit { buffers, .. } => Some((at, buffers)),
        _ => None,
    });
    let mut places = BTreeMap::new();
    for (commit, (step, buffers)) in (0..).map(CommitId).zip(commits) {
        for (buffer, recording) in (0..).zip(buffers) {
            for (op, operation) in (0..).zip(recording.ops()) {
                if let Op::Command { command, .. } = *operation {
                    places.insert(CommandRef { commit, buffer, command }, Place::Op { step, buffer, op });
                }
            }
        }
    }
    places
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

    /// What is said of a finding of the report, by its place there.
    pub fn message(&self, finding: usize) -> Message {
        let before = self.report.findings.len() - self.observed.len();
        match (finding.checked_sub(before), self.report.findings.get(finding)) {
            (Some(at), _) => self.observed.get(at).cloned().unwrap_or_default(),
            (None, Some(finding)) => Message::of(finding, &self.report, self),
            (None, None) => Message::default(),
        }
    }

    /// All findings as text. Of those that one fix closes, the first is told in full and the others in a line each;
    /// what says the same several times is told once, with its number.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut left = TOLD_MAX;
        for group in self.groups() {
            let Some(((first, count), rest)) = group.split_first() else { continue };
            if left == 0 {
                continue;
            }
            left -= 1;
            text.push_str(&first.to_string());
            text.push_str(&times("   ", *count));
            for (message, count) in rest.iter().take(ALSO_MAX) {
                text.push_str(&format!("   also  {}\n{}", message.head, times("         ", *count)));
            }
            if let Some(more) = rest.len().checked_sub(ALSO_MAX).filter(|more| *more > 0) {
                text.push_str(&format!("   also  {} more; --format json lists all\n", more));
            }
            text.push('\n');
        }
        if left == 0 {
            text.push_str("there is more; --format json lists all\n\n");
        }
        text.push_str(&self.summary());
        text
    }

    /// The findings by fix, each with how often it says the same.
    fn groups(&self) -> Vec<Vec<(Message, usize)>> {
        let mut groups: Vec<Vec<(Message, usize)>> = Vec::new();
        let mut of_fix = BTreeMap::new();
        let mut known = BTreeMap::new();
        for (number, finding) in self.report.findings.iter().enumerate() {
            let message = self.message(number);
            let next = groups.len();
            let group = finding.fix.map_or(next, |fix| *of_fix.entry(fix).or_insert(next));
            let (group, at) = *known.entry(message.to_string()).or_insert_with(|| {
                if group == next {
                    groups.push(Vec::new());
                }
                groups[group].push((message, 0));
                (group, groups[group].len() - 1)
            });
            groups[group][at].1 += 1;
        }
        groups
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
        self.lines.partition_point(|start| *start <= at)
    }
}

/// How often something was found, if more than once.
fn times(indent: &str, count: usize) -> String {
    if count > 1 { format!("{indent}({count} times)\n") } else { String::new() }
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
