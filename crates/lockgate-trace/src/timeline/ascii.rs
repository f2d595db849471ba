//! A timeline as text: a row for each command or pass, bars by measured time.
//!
//! Few commands have a row each; more have a row for each pass; very many passes are folded, so that the text
//! stays on a few screens whatever ran.

use super::{Timeline, time};
use std::fmt::Write;
use std::time::Duration;

/// Up to so many commands have a row each.
const COMMANDS_MAX: usize = 40;
/// Up to so many passes have a row each.
const PASSES_MAX: usize = 60;

/// One line of the drawing.
struct Row {
    label: String,
    /// The text inside the first bar.
    name: String,
    bars: Vec<(Duration, Duration)>,
    note: String,
}

/// The timeline as text of at most `width` columns (at least 40).
pub fn ascii(timeline: &Timeline, width: usize) -> String {
    if timeline.commands.is_empty() {
        return "nothing ran\n".into();
    }
    let width = width.max(40);
    let mut text = String::new();
    for (lane, name) in timeline.lanes.iter().enumerate() {
        let rows = rows(timeline, lane);
        if rows.is_empty() {
            continue;
        }
        let _ = writeln!(text, "queue {}", if name.is_empty() { "(no name)" } else { name });
        let longest = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let label = longest.min(width / 3);
        for row in rows {
            let _ = writeln!(text, "{}", draw(&row, label, width, timeline.length));
        }
    }
    let workers = timeline.commands.iter().filter(|command| command.ran).map(|command| command.worker);
    let mut workers: Vec<u32> = workers.collect();
    workers.sort_unstable();
    workers.dedup();
    let ran = timeline.commands.iter().filter(|command| command.ran).count();
    let skipped = timeline.commands.len() - ran;
    let skipped = if skipped > 0 { format!(", {skipped} did not run") } else { String::new() };
    let plural = if workers.len() == 1 { "" } else { "s" };
    let _ = writeln!(
        text,
        "{ran} commands{skipped} in {} on {} worker{plural}; |==| is measured time",
        time(timeline.length),
        workers.len()
    );
    text
}

fn rows(timeline: &Timeline, lane: usize) -> Vec<Row> {
    let passes: Vec<usize> =
        (0..timeline.passes.len()).filter(|p| timeline.passes[*p].lane == lane).collect();
    if timeline.commands.len() <= COMMANDS_MAX {
        return passes.iter().flat_map(|pass| command_rows(timeline, *pass)).collect();
    }
    if passes.len() <= PASSES_MAX {
        return passes.iter().map(|pass| pass_row(timeline, &[*pass])).collect();
    }
    // As many passes in a row as needed, and the first and last of them in its label.
    let fold = passes.len().div_ceil(PASSES_MAX);
    passes.chunks(fold).map(|chunk| pass_row(timeline, chunk)).collect()
}

fn command_rows(timeline: &Timeline, pass: usize) -> Vec<Row> {
    let commands = timeline.passes[pass].commands.clone();
    let row = |at: usize| {
        let command = &timeline.commands[at];
        let first = at == timeline.passes[pass].commands.start;
        Row {
            label: if first { pass_label(timeline, pass) } else { String::new() },
            name: command.name.clone(),
            bars: if command.ran { vec![(command.start, command.end)] } else { Vec::new() },
            note: if command.ran { time(command.end - command.start) } else { "did not run".into() },
        }
    };
    commands.map(row).collect()
}

fn pass_row(timeline: &Timeline, passes: &[usize]) -> Row {
    let commands = passes.iter().flat_map(|pass| timeline.passes[*pass].commands.clone());
    let ran: Vec<_> =
        commands.clone().map(|at| &timeline.commands[at]).filter(|command| command.ran).collect();
    let mut bars: Vec<_> = ran.iter().map(|command| (command.start, command.end)).collect();
    bars.sort_unstable();
    let count = commands.count();
    let busy: Duration = bars.iter().map(|(start, end)| *end - *start).sum();
    let (first, last) = (passes[0], passes[passes.len() - 1]);
    let label = match passes.len() {
        1 => pass_label(timeline, first),
        n => format!("{} .. {} ({n})", pass_label(timeline, first), pass_label(timeline, last)),
    };
    Row { label, name: format!("{count}"), bars, note: time(busy) }
}

fn pass_label(timeline: &Timeline, pass: usize) -> String {
    let pass = &timeline.passes[pass];
    if pass.name.is_empty() { pass.kind.to_owned() } else { pass.name.clone() }
}

fn draw(row: &Row, label: usize, width: usize, length: Duration) -> String {
    const NOTE: usize = 12;
    let columns = width.saturating_sub(label + NOTE + 6).max(10);
    let scale = |at: Duration| {
        let part = at.as_nanos() as f64 / (length.as_nanos() as f64).max(1.0);
        ((part * columns as f64) as usize).min(columns - 1)
    };
    let mut line = vec![' '; columns];
    for (start, end) in &row.bars {
        let (from, to) = (scale(*start), scale(*end).max(scale(*start)));
        line[from..=to].fill('=');
        (line[from], line[to]) = ('|', '|');
    }
    // The name stands in its bar if it fits, else beside it.
    if let Some((start, _)) = row.bars.first() {
        let from = scale(*start);
        let room = line[from..].iter().skip(1).take_while(|c| **c == '=').count();
        let name: Vec<char> = row.name.chars().collect();
        let inside = name.len() <= room;
        let at = if inside { from + 1 + (room - name.len()) / 2 } else { from + room + 2 };
        let free = line.iter().skip(at).take(name.len()).all(|c| inside || *c == ' ');
        if at + name.len() <= columns && free {
            line[at..at + name.len()].copy_from_slice(&name);
        } else if let Some(before) = from.checked_sub(name.len() + 1).filter(|_| !inside) {
            line[before..before + name.len()].copy_from_slice(&name);
        }
    }
    let line: String = line.into_iter().collect();
    format!("  {:label$}  {line}  {:>NOTE$}", clip(&row.label, label), row.note).trim_end().to_owned()
}

/// The label with its middle left out if it is too long.
fn clip(label: &str, most: usize) -> String {
    let letters: Vec<char> = label.chars().collect();
    if letters.len() <= most || most < 3 {
        return letters.into_iter().take(most).collect();
    }
    let (head, tail) = (most.div_ceil(2) - 1, most / 2 - 1);
    let part = |letters: &[char]| letters.iter().collect::<String>();
    format!("{}..{}", part(&letters[..head]), part(&letters[letters.len() - tail..]))
}
