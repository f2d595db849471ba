//! Waits for events that nothing can end, cycles among them, and signals that contradict each other.
//!
//! A wait can end if a signal of its value can come; a signal can come if every wait before it, on its queue, in
//! its command buffer or of the host, can end. What is left is blocked: because nothing signals, or in a cycle.
//! Deliberately absent: values that come too late for a host that does not wait longer, which the run tells.

use super::code::Code;
use super::finding::{Finding, Report, Subject};
use super::place::Place;
use super::trial::Trial;
use crate::{EventId, EventScope, HostStep, Misuse, Op, Program, QueueId, Step, VertexId, VertexKind};
use std::collections::{BTreeMap, BTreeSet};

/// Signals of one event beyond which the rest is not compared.
const SIGNALS_MAX: usize = 64;

/// Who signals or waits: what one of them does comes one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    Host,
    Queue(QueueId),
    Buffer(QueueId, u32, u32),
}

#[derive(Clone, Copy, Debug)]
struct Wait {
    at: Place,
    party: Party,
    event: EventId,
    value: u64,
}

#[derive(Clone, Debug)]
struct Signal {
    at: Place,
    party: Party,
    event: EventId,
    value: u64,
    /// The waits that hold it back, as positions in the list.
    behind: Vec<usize>,
}

/// All signals and waits of a program.
#[derive(Debug, Default)]
struct Waits {
    waits: Vec<Wait>,
    signals: Vec<Signal>,
    /// The waits so far of each party.
    open: BTreeMap<Party, Vec<usize>>,
}

/// Puts what is wrong with events into a report.
pub(crate) fn find(program: &Program, now: &Trial, report: &mut Report) {
    let waits = Waits::of(program);
    let blocked = waits.blocked();
    waits.report_blocked(&blocked, report);
    waits.report_timeouts(program, now, &blocked, report);
    waits.report_low_values(report);
    waits.report_unordered(now, report);
}

impl Waits {
    fn of(program: &Program) -> Waits {
        let mut waits = Waits::default();
        let wide = program.model.wait_scope == EventScope::Queue;
        for (number, step) in (0u32..).zip(&program.steps) {
            let at = Place::Step(number);
            match step {
                Step::Host(HostStep::SignalEvent { event, value }) => {
                    waits.signal(at, Party::Host, &[Party::Host], *event, *value);
                }
                Step::Host(HostStep::WaitForEvent { event, value }) => {
                    waits.wait(at, Party::Host, *event, *value);
                }
                Step::SignalEvent { queue, event, value } => {
                    let party = Party::Queue(*queue);
                    waits.signal(at, party, &[party], *event, *value);
                }
                Step::WaitForEvent { queue, event, value } => {
                    waits.wait(at, Party::Queue(*queue), *event, *value);
                }
                Step::Commit { queue, buffers } => {
                    for (buffer, recording) in (0u32..).zip(buffers) {
                        let own = Party::Buffer(*queue, number, buffer);
                        for (op, line) in (0u32..).zip(recording.ops()) {
                            let at = Place::Op { step: number, buffer, op };
                            match *line {
                                Op::SignalEvent { event, value } => {
                                    waits.signal(at, own, &[own, Party::Queue(*queue)], event, value);
                                }
                                Op::WaitForEvent { event, value } => {
                                    waits.wait(
                                        at,
                                        if wide { Party::Queue(*queue) } else { own },
                                        event,
                                        value,
                                    );
                                }
                                _ => {}
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        waits
    }

    fn wait(&mut self, at: Place, party: Party, event: EventId, value: u64) {
        self.open.entry(party).or_default().push(self.waits.len());
        self.waits.push(Wait { at, party, event, value });
    }

    fn signal(&mut self, at: Place, party: Party, holders: &[Party], event: EventId, value: u64) {
        // A wait that can end lets the ones behind it be looked at, so the last one of a party is not enough.
        let behind = holders.iter().filter_map(|holder| self.open.get(holder)).flatten().copied().collect();
        self.signals.push(Signal { at, party, event, value, behind });
    }

    fn able<'a>(&'a self, wait: &'a Wait) -> impl Iterator<Item = &'a Signal> {
        self.signals.iter().filter(move |signal| signal.event == wait.event && signal.value >= wait.value)
    }

    /// The waits that can never end.
    fn blocked(&self) -> BTreeSet<usize> {
        let mut blocked: BTreeSet<usize> = (0..self.waits.len()).collect();
        loop {
            let comes = |signal: &Signal| !signal.behind.iter().any(|wait| blocked.contains(wait));
            let ends = |wait: &Wait| wait.value == 0 || self.able(wait).any(comes);
            let ended: Vec<usize> = blocked.iter().copied().filter(|at| ends(&self.waits[*at])).collect();
            if ended.is_empty() {
                return blocked;
            }
            blocked.retain(|at| !ended.contains(at));
        }
    }

    fn event_of(&self, wait: usize) -> Subject {
        let Wait { at, event, value, .. } = self.waits[wait];
        Subject::Event { at, event, value }
    }

    fn report_blocked(&self, blocked: &BTreeSet<usize>, report: &mut Report) {
        let mut told: BTreeSet<Vec<usize>> = BTreeSet::new();
        for &wait in blocked {
            if self.able(&self.waits[wait]).next().is_none() {
                let subject = self.event_of(wait);
                report.findings.push(Finding::new(Code::EventNeverSignaled, subject));
            } else if let Some(cycle) = self.cycle(wait, blocked) {
                let mut members = cycle.clone();
                members.sort_unstable();
                if told.insert(members) {
                    let subject = Subject::Operations(self.places(&cycle, blocked));
                    report.findings.push(Finding::new(Code::EventCycle, subject));
                }
            }
        }
    }

    /// The shortest cycle of blocked waits through one: each waits for a signal that the next one holds back.
    fn cycle(&self, start: usize, blocked: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let mut from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut frontier = vec![start];
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for wait in frontier {
                let holders = self.able(&self.waits[wait]).flat_map(|signal| &signal.behind);
                for &holder in holders.filter(|holder| blocked.contains(holder)) {
                    if holder == start {
                        let mut cycle = vec![wait];
                        while let Some(before) = cycle.last().and_then(|wait| from.get(wait)) {
                            cycle.push(*before);
                        }
                        cycle.reverse();
                        return Some(cycle);
                    }
                    from.entry(holder).or_insert_with(|| {
                        next.push(holder);
                        wait
                    });
                }
            }
            frontier = next;
        }
        None
    }

    /// Wait, the signal it waits for, the wait that holds that back, and so on around.
    fn places(&self, cycle: &[usize], blocked: &BTreeSet<usize>) -> Vec<Place> {
        let mut places = Vec::new();
        for (at, &wait) in cycle.iter().enumerate() {
            let next = cycle[(at + 1) % cycle.len()];
            places.push(self.waits[wait].at);
            let signal = self.able(&self.waits[wait]).find(|signal| signal.behind.contains(&next));
            places.extend(signal.filter(|_| blocked.contains(&next)).map(|signal| signal.at));
        }
        places
    }

    /// Waits that time out in the order of the calls, although a signal could come.
    fn report_timeouts(
        &self,
        program: &Program,
        now: &Trial,
        blocked: &BTreeSet<usize>,
        report: &mut Report,
    ) {
        let mut left: Vec<(EventId, u64)> = Vec::new();
        for misuse in &now.run.misuse {
            if let Misuse::EventNeverSignaled { event, value } = *misuse {
                left.push((event, value));
            }
        }
        // A wait that stands in a cycle or lacks its signal is told already, and so is what it holds back.
        if blocked.iter().any(|wait| self.waits[*wait].party != Party::Host) {
            left.clear();
        }
        for (event, value) in left {
            let is_it =
                |wait: &&Wait| (wait.event, wait.value) == (event, value) && wait.party != Party::Host;
            let Some(wait) = self.waits.iter().find(is_it) else { continue };
            let subject = Subject::Event { at: wait.at, event, value };
            report.findings.push(Finding::new(Code::EventNeverSignaled, subject));
        }
        let mut hosts = now.run.host.iter();
        for (number, step) in (0u32..).zip(&program.steps) {
            let Step::Host(host) = step else { continue };
            let done = hosts.next().copied().unwrap_or(true);
            let at = Place::Step(number);
            let told = blocked.iter().any(|wait| self.waits[*wait].at == at);
            match host {
                HostStep::WaitForEvent { event, value } if !done && !told => {
                    let subject = Subject::Event { at, event: *event, value: *value };
                    report.findings.push(Finding::new(Code::EventNeverSignaled, subject));
                }
                HostStep::WaitForCommit { .. } if !done => {
                    report.findings.push(Finding::new(Code::IgnoredTimeout, Subject::Operation(at)));
                }
                _ => {}
            }
        }
    }

    fn report_low_values(&self, report: &mut Report) {
        let mut values: BTreeMap<(Party, EventId), u64> = BTreeMap::new();
        for signal in &self.signals {
            let value = values.entry((signal.party, signal.event)).or_default();
            if signal.value < *value {
                let subject = Subject::Event { at: signal.at, event: signal.event, value: signal.value };
                report.findings.push(Finding::new(Code::SignalBelowValue, subject));
            }
            *value = signal.value.max(*value);
        }
    }

    /// Signals of different producers that nothing orders and that both satisfy one wait.
    fn report_unordered(&self, now: &Trial, report: &mut Report) {
        let mut events: BTreeMap<EventId, Vec<&Signal>> = BTreeMap::new();
        for signal in &self.signals {
            events.entry(signal.event).or_default().push(signal);
        }
        events.retain(|_, signals| signals.iter().any(|signal| signal.party != signals[0].party));
        if events.is_empty() {
            return;
        }
        let mut vertices: BTreeMap<(EventId, u64), Vec<VertexId>> = BTreeMap::new();
        for vertex in &now.run.graph.vertices {
            if let VertexKind::Signal { event, value } = vertex.kind {
                vertices.entry((event, value)).or_default().push(vertex.id);
            }
        }
        let of = |signal: &Signal| vertices.get(&(signal.event, signal.value)).map_or(&[][..], Vec::as_slice);
        let ordered = |a: &Signal, b: &Signal| {
            of(a).iter().any(|a| of(b).iter().any(|b| a != b && now.run.graph.orders(*a.min(b), *a.max(b))))
        };
        for signals in events.values() {
            let signals = &signals[..signals.len().min(SIGNALS_MAX)];
            let pairs =
                signals.iter().enumerate().flat_map(|(at, a)| signals[at + 1..].iter().map(move |b| (a, b)));
            let contested = |a: &Signal, b: &Signal| {
                let both = a.value.min(b.value);
                self.waits.iter().any(|w| w.event == a.event && w.value > 0 && w.value <= both)
            };
            let found =
                pairs.filter(|(a, b)| a.party != b.party && contested(a, b)).find(|(a, b)| !ordered(a, b));
            if let Some((a, b)) = found {
                let subject = Subject::Operations(vec![a.at, b.at]);
                report.findings.push(Finding::new(Code::UnorderedSignals, subject));
            }
        }
    }
}
