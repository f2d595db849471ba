//! The text of a program with its findings in place.

use super::Checked;
use std::collections::BTreeMap;
use std::fmt::Write;

impl Checked {
    /// The file, line by line with numbers, and below each line what was found about it: the whole message at the
    /// last line of a finding, its head at the others.
    pub fn listing(&self) -> String {
        let mut notes: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (number, finding) in self.report().findings.iter().enumerate() {
            let lines = self.lines_of(finding);
            let message = self.message(number);
            let last = lines.iter().max().copied().unwrap_or(1);
            for line in lines.into_iter().filter(|line| *line != last) {
                notes.entry(line).or_default().push(format!("{} (see line {last})", message.head));
            }
            notes.entry(last).or_default().push(message.to_string().trim_end().to_owned());
        }
        let count = self.source.text().lines().count();
        let width = count.to_string().len();
        let mut text = String::new();
        for (number, line) in (1..).zip(self.source.text().lines()) {
            // A string takes everything.
            let _ = writeln!(text, "{number:width$} | {line}");
            let mut told: Vec<&String> = Vec::new();
            for note in notes.get(&number).into_iter().flatten() {
                if told.contains(&note) {
                    continue;
                }
                told.push(note);
                for line in note.lines() {
                    let _ = writeln!(text, "{:width$} > {line}", "");
                }
            }
        }
        text
    }
}
