//! What ran when, on which worker, and why not earlier.
//!
//! A [`Timeline`] is plain data: queues are lanes, lanes hold passes, passes hold commands with their measured
//! times. Orders lead from command to command, each with its reason; where the program meets in a point
//! without work (a barrier, a fence, an event), the orders lead through it. The forms only draw.

mod ascii;
mod html;
mod implied;
mod perfetto;

pub use ascii::ascii;
pub use html::html;
pub use perfetto::perfetto;

use lockgate_runtime::Trace;
use lockgate_sync::{CommandRef, Edge, PassKind, SyncKind, VertexId, VertexKind};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// How many commands a point without work passes on: those that ended last, since they are what is waited for.
const SOURCES_MAX: usize = 16;

/// Among more commands than this, orders that others imply are not looked for.
const REDUCED_COMMANDS_MAX: usize = 10_000;

/// What ran when and why.
///
/// ```
/// use lockgate_trace::{Timeline, timeline::ascii};
/// let timeline = Timeline::from_trace(&Default::default());
/// assert!(timeline.commands.is_empty());
/// assert_eq!(ascii(&timeline, 80), "nothing ran\n");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The queues.
    pub lanes: Vec<String>,
    /// The passes, by commit and then as encoded.
    pub passes: Vec<Pass>,
    /// The commands in the order of the passes.
    pub commands: Vec<Command>,
    /// Who waits for whom, by who waits.
    pub orders: Vec<Order>,
    /// Orders that are not in the list, because a point passes on only the commands that ended last.
    pub orders_left_out: usize,
    /// From the start of the first command to the end of the last.
    pub length: Duration,
}

/// A pass of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Its queue, as index of [`Timeline::lanes`].
    pub lane: usize,
    /// Its label.
    pub name: String,
    /// What kind it is.
    pub kind: &'static str,
    /// The label of its command buffer.
    pub buffer: String,
    /// Its commands.
    pub commands: Range<usize>,
}

/// A command of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its pass, as index of [`Timeline::passes`].
    pub pass: usize,
    /// Its label.
    pub name: String,
    /// When it began, since the first command began.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// Which worker ran it, or ran most of it.
    pub worker: u32,
    /// Whether it ran at all.
    pub ran: bool,
}

/// A reason to wait.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The command that is waited for.
    pub from: usize,
    /// The command that waits.
    pub to: usize,
    /// By what: `fence scratch`, `producer barrier`, `tracked A`.
    pub reason: String,
    /// Whether other orders together say so already; not looked for among more than 10,000 commands.
    pub implied: bool,
}

impl Timeline {
    /// The timeline of what was committed. Fences, events and resources are called by their numbers.
    pub fn from_trace(trace: &Trace) -> Timeline {
        Timeline::with_names(trace, &|_| None)
    }

    /// The same with names: what a fence, event or tracked resource is called.
    pub fn with_names(trace: &Trace, name: &dyn Fn(SyncKind) -> Option<String>) -> Timeline {
        let mut timeline = Timeline { lanes: trace.queues.clone(), ..Timeline::default() };
        let places = timeline.add_commits(trace);
        timeline.shift_to_zero();
        timeline.add_orders(trace, &places, name);
        let used = |lane: usize| timeline.passes.iter().any(|pass| pass.lane == lane);
        while timeline.lanes.len() > 1 && !used(timeline.lanes.len() - 1) {
            timeline.lanes.pop();
        }
        timeline
    }

    /// The label of a command with its pass.
    pub fn full_name(&self, command: usize) -> String {
        let Some(own) = self.commands.get(command) else { return String::new() };
        let pass = self.passes.get(own.pass).map_or("", |pass| &pass.name);
        if pass.is_empty() { own.name.clone() } else { format!("{pass}.{}", own.name) }
    }

    fn add_commits(&mut self, trace: &Trace) -> BTreeMap<CommandRef, usize> {
        let mut places = BTreeMap::new();
        for commit in &trace.commits {
            let timings: BTreeMap<CommandRef, _> = commit
                .report()
                .iter()
                .flat_map(|report| &report.commands)
                .filter_map(|timing| Some((timing.command?, *timing)))
                .collect();
            for (at, buffer) in commit.buffers.iter().enumerate() {
                for pass in buffer.passes() {
                    let first = self.commands.len();
                    for command in pass.commands.clone() {
                        let key = CommandRef { commit: commit.id, buffer: at as u32, command };
                        let timing = timings.get(&key).copied();
                        let (start, end) = timing.map_or_else(Default::default, |t| (t.start, t.end));
                        places.insert(key, self.commands.len());
                        self.commands.push(Command {
                            pass: self.passes.len(),
                            name: buffer.command_label(command).to_owned(),
                            start,
                            end: end.max(start),
                            worker: timing.map_or(0, |timing| timing.worker),
                            ran: timing.is_some(),
                        });
                    }
                    self.passes.push(Pass {
                        lane: commit.queue.index(),
                        name: buffer.pass_label(pass).to_owned(),
                        kind: pass_kind(pass.kind),
                        buffer: buffer.label().to_owned(),
                        commands: first..self.commands.len(),
                    });
                }
            }
        }
        places
    }

    fn shift_to_zero(&mut self) {
        let ran = || self.commands.iter().filter(|command| command.ran);
        let zero = ran().map(|command| command.start).min().unwrap_or_default();
        self.length = ran().map(|command| command.end).max().unwrap_or_default().saturating_sub(zero);
        for command in self.commands.iter_mut().filter(|command| command.ran) {
            command.start = command.start.saturating_sub(zero);
            command.end = command.end.saturating_sub(zero);
        }
    }

    fn add_orders(
        &mut self,
        trace: &Trace,
        places: &BTreeMap<CommandRef, usize>,
        name: &dyn Fn(SyncKind) -> Option<String>,
    ) {
        let mut sources: BTreeMap<VertexId, Vec<usize>> = BTreeMap::new();
        for vertex in &trace.graph.vertices {
            let edges = trace.graph.edges_of(vertex);
            let behind = |edge: &Edge| sources.get(&edge.from).map_or(&[] as &[usize], Vec::as_slice);
            let own = match vertex.kind {
                VertexKind::Work { command, .. } => places.get(&command).copied(),
                _ => None,
            };
            let Some(to) = own else {
                let mut all: Vec<usize> = edges.iter().flat_map(behind).copied().collect();
                all.sort_unstable();
                all.dedup();
                if all.len() > SOURCES_MAX {
                    all.sort_by_key(|command| std::cmp::Reverse(self.commands[*command].end));
                    self.orders_left_out += all.len() - SOURCES_MAX;
                    all.truncate(SOURCES_MAX);
                }
                sources.insert(vertex.id, all);
                continue;
            };
            for edge in edges {
                let reason = || reason(edge.by.kind, name);
                let orders = behind(edge).iter().filter(|from| **from != to);
                self.orders.extend(orders.map(|from| Order {
                    from: *from,
                    to,
                    reason: reason(),
                    implied: false,
                }));
            }
            sources.insert(vertex.id, vec![to]);
        }
        self.orders.sort_by(|a, b| (a.to, a.from, &a.reason).cmp(&(b.to, b.from, &b.reason)));
        self.orders.dedup();
        if self.commands.len() <= REDUCED_COMMANDS_MAX {
            implied::mark(&mut self.orders, self.commands.len());
        }
    }
}

fn reason(kind: SyncKind, name: &dyn Fn(SyncKind) -> Option<String>) -> String {
    let named = |what: &str, number: u32| match name(kind) {
        Some(name) => format!("{what} {name}"),
        None => format!("{what} {number}"),
    };
    match kind {
        SyncKind::Intrapass => "intrapass barrier".into(),
        SyncKind::Producer => "producer barrier".into(),
        SyncKind::Consumer => "consumer barrier".into(),
        SyncKind::MemoryBarrier => "memory barrier".into(),
        SyncKind::Serial => "serial pass".into(),
        SyncKind::Fence(fence) => named("fence", fence.0),
        SyncKind::Event(event, value) => format!("{} = {value}", named("event", event.0)),
        SyncKind::QueueBarrier => "queue barrier".into(),
        SyncKind::Commit => "commit".into(),
        SyncKind::Completion => "completion".into(),
        SyncKind::Drawable => "drawable".into(),
        SyncKind::Pipeline => "stages of one command".into(),
        SyncKind::Tracking(resource) => named("tracked", resource.0),
    }
}

fn pass_kind(kind: PassKind) -> &'static str {
    match kind {
        PassKind::Render => "render",
        PassKind::Compute => "compute",
        PassKind::MachineLearning => "machine learning",
        PassKind::Blit => "blit",
        PassKind::ResourceState => "resource state",
        PassKind::Io => "io",
    }
}

/// A duration for people: three digits and a unit.
pub(crate) fn time(duration: Duration) -> String {
    let nanos = duration.as_nanos() as f64;
    let (value, unit) = match nanos {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if value >= 100.0 || unit == "ns" {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}
