//! A timeline as one page that needs nothing else.
//!
//! Where everything stands from top to bottom is decided here; the script only scales time and draws. Labels
//! reach the page as JSON and are set as text, so that none of them can become markup.

use super::{Timeline, time};
use serde_json::{Value, json};
use std::time::Duration;

const PAGE: &str = include_str!("page.html");
/// Colours of commands, by name.
const COLOURS: usize = 8;

/// The timeline as a page.
///
/// ```
/// use lockgate_trace::{Timeline, timeline::html};
/// assert!(html(&Timeline::default()).starts_with("<!DOCTYPE html>"));
/// ```
pub fn html(timeline: &Timeline) -> String {
    let layout = Layout::of(timeline);
    let data = data(timeline, &layout).to_string();
    // Inside a script element only these could end it or begin a comment.
    let data = data.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    PAGE.replace("{{DATA}}", &data)
}

/// Rows: passes that overlap in time stand below each other, and so do commands of one pass.
struct Layout {
    /// First row and number of rows of each lane.
    lanes: Vec<(usize, usize)>,
    passes: Vec<(usize, usize)>,
    commands: Vec<usize>,
    rows: usize,
}

impl Layout {
    fn of(timeline: &Timeline) -> Layout {
        let mut layout = Layout {
            lanes: Vec::new(),
            passes: vec![(0, 1); timeline.passes.len()],
            commands: vec![0; timeline.commands.len()],
            rows: 0,
        };
        for (pass, own) in timeline.passes.iter().enumerate() {
            let spans: Vec<_> = own
                .commands
                .clone()
                .map(|at| (timeline.commands[at].start, timeline.commands[at].end))
                .collect();
            let rows = pack(&spans);
            layout.passes[pass].1 = rows.iter().max().map_or(1, |last| last + 1);
            own.commands.clone().zip(rows).for_each(|(at, row)| layout.commands[at] = row);
        }
        for lane in 0..timeline.lanes.len() {
            let first = layout.rows;
            let passes: Vec<usize> =
                (0..timeline.passes.len()).filter(|pass| timeline.passes[*pass].lane == lane).collect();
            let tracks = pack(&passes.iter().map(|pass| span(timeline, *pass)).collect::<Vec<_>>());
            let height = |track: usize| {
                let on = passes.iter().zip(&tracks).filter(move |(_, own)| **own == track);
                on.map(|(pass, _)| layout.passes[*pass].1).max().unwrap_or(1)
            };
            let heights: Vec<usize> =
                (0..tracks.iter().max().map_or(0, |last| last + 1)).map(height).collect();
            for (pass, track) in passes.iter().zip(&tracks) {
                layout.passes[*pass].0 = first + heights[..*track].iter().sum::<usize>();
            }
            layout.rows = first + heights.iter().sum::<usize>().max(1);
            layout.lanes.push((first, layout.rows - first));
        }
        for (at, command) in timeline.commands.iter().enumerate() {
            layout.commands[at] += layout.passes[command.pass].0;
        }
        layout
    }
}

/// The first row for each span in which it meets no other.
fn pack(spans: &[(Duration, Duration)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|at| spans[*at]);
    let mut ends: Vec<Duration> = Vec::new();
    let mut rows = vec![0; spans.len()];
    for at in order {
        let (start, end) = spans[at];
        let row = ends.iter().position(|last| *last <= start).unwrap_or(ends.len());
        if row == ends.len() {
            ends.push(end);
        } else {
            ends[row] = end;
        }
        rows[at] = row;
    }
    rows
}

/// From the first command of a pass to its last.
fn span(timeline: &Timeline, pass: usize) -> (Duration, Duration) {
    let commands = timeline.passes[pass].commands.clone().map(|at| &timeline.commands[at]);
    let ran = || commands.clone().filter(|command| command.ran);
    let start = ran().map(|command| command.start).min().unwrap_or_default();
    (start, ran().map(|command| command.end).max().unwrap_or_default())
}

fn data(timeline: &Timeline, layout: &Layout) -> Value {
    let nanos = |time: Duration| time.as_nanos() as u64;
    let lanes = timeline.lanes.iter().zip(&layout.lanes).map(|(name, (row, rows))| json!([name, row, rows]));
    let passes = timeline.passes.iter().zip(&layout.passes).enumerate().map(|(at, (pass, (row, rows)))| {
        let (start, end) = span(timeline, at);
        json!([pass.name, pass.kind, pass.buffer, row, rows, nanos(start), nanos(end)])
    });
    let mut names: Vec<&str> = timeline.commands.iter().map(|command| command.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let commands = timeline.commands.iter().zip(&layout.commands).map(|(command, row)| {
        let colour = names.binary_search(&command.name.as_str()).unwrap_or(0) % COLOURS;
        let length = if command.ran { time(command.end - command.start) } else { "did not run".into() };
        let (start, end) = (nanos(command.start), nanos(command.end));
        json!([command.name, command.pass, row, start, end, command.worker, colour, length])
    });
    let mut reasons: Vec<&str> = timeline.orders.iter().map(|order| order.reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let orders = timeline.orders.iter().map(|order| {
        let reason = reasons.binary_search(&order.reason.as_str()).unwrap_or(0);
        json!([order.from, order.to, reason, u8::from(order.implied)])
    });
    json!({
        "length": nanos(timeline.length),
        "rows": layout.rows,
        "lanes": lanes.collect::<Vec<_>>(),
        "passes": passes.collect::<Vec<_>>(),
        "commands": commands.collect::<Vec<_>>(),
        "orders": orders.collect::<Vec<_>>(),
        "reasons": reasons,
        "leftOut": timeline.orders_left_out,
    })
}
