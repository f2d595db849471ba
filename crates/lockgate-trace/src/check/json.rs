//! Findings for programs: JSON with a version, and annotations of GitHub.
//!
//! The schema is described in `docs/FINDINGS.md` and changes only with [`VERSION`].

use super::Checked;
use lockgate_runtime::message::{Describe, extent};
use lockgate_sync::{Actor, Change, Finding, OrderFound, Place, Region, Severity, Site, Subject};
use serde_json::{Value, json};
use std::fmt::Write;

/// Of the schema of findings.
const VERSION: u32 = 1;

impl Checked {
    /// All findings as a JSON array, complete: each pair of commands that conflicts without order is in it once.
    pub fn json(&self) -> String {
        let findings: Vec<Value> =
            (0..self.report().findings.len()).map(|number| self.json_of(number)).collect();
        // A value of our own making has no key that is no string.
        serde_json::to_string_pretty(&findings).unwrap_or_default()
    }

    fn json_of(&self, number: usize) -> Value {
        let Some(finding) = self.report().findings.get(number) else { return Value::Null };
        let message = self.message(number);
        let mut value = json!({
            "version": VERSION,
            "code": finding.code.name(),
            "severity": finding.severity.name(),
            "basis": finding.basis.name(),
            "message": message.head.split_once(": ").map_or(message.head.as_str(), |(_, sentence)| sentence),
            "text": message.to_string(),
            "places": finding.subject.places().into_iter().map(|place| self.json_place(place)).collect::<Vec<_>>(),
        });
        if let Some(gap) = finding.gap() {
            value["hazard"] = json!(gap.hazard.code());
            value["resource"] = json!(Describe::resource(self, gap.later.access.resource));
            value["earlier"] = self.json_site(&gap.earlier);
            value["later"] = self.json_site(&gap.later);
            value["order"] = json!({
                "found": order_word(&finding.order),
                "by": finding.order.by().map(|place| self.json_place(place)),
            });
        }
        if let Some(fix) = finding.fix.and_then(|fix| self.report().fixes.get(fix as usize)) {
            let changes: Vec<Value> = fix.changes.iter().map(|change| self.json_change(change)).collect();
            value["fix"] = json!({ "number": finding.fix, "changes": changes, "closes": fix.closes });
        }
        value
    }

    fn json_site(&self, site: &Site) -> Value {
        let spot = self.actor(site.actor);
        let name = Describe::resource(self, site.access.resource);
        let place = self.place_of(site.actor);
        let mut value = json!({
            "at": self.json_at(place),
            "stage": site.stage.name(),
            "reads": site.access.kind.contains(lockgate_sync::AccessKind::READ),
            "writes": site.access.kind.writes(),
            "resource": name,
            "extent": extent(&site.access, self.program(), &name),
        });
        if let Some(resource) = self.program().resources.get(site.access.resource.index()) {
            value["range"] = match (resource.kind, site.access.region) {
                (lockgate_sync::ResourceKind::Buffer, region) => {
                    let (start, end) = region.bytes(resource.size);
                    json!({ "start": start, "end": end })
                }
                (_, Region::Texels(t)) => {
                    json!({ "levels": t.levels, "slices": t.slices, "min": t.min, "max": t.max })
                }
                _ => Value::Null,
            };
        }
        match site.actor {
            Actor::Command(command) => {
                let names = self.names.place(command);
                value["actor"] = json!("command");
                value["command"] = json!(spot.name);
                value["queue"] = json!(names.map(|name| &name.queue));
                value["commandBuffer"] = json!(names.map(|name| &name.buffer));
                value["pass"] = json!(names.map(|name| &name.pass));
                value["index"] = json!(place.map(|place| self.index_in_pass(place)));
            }
            Actor::Host { step } => {
                value["actor"] = json!("host");
                value["index"] = json!(step);
            }
            Actor::Display { present } => {
                value["actor"] = json!("display");
                value["index"] = json!(present);
            }
        }
        value
    }

    /// How many commands of the pass stand before.
    fn index_in_pass(&self, place: Place) -> usize {
        let Place::Op { step, buffer, op } = place else { return 0 };
        let ops = self.program().recording(step, buffer).map_or(&[][..], |recording| recording.ops());
        let before = ops.iter().take(op as usize).rev();
        let own = before.take_while(|op| !matches!(op, lockgate_sync::Op::BeginPass(_)));
        own.filter(|op| matches!(op, lockgate_sync::Op::Command { .. })).count()
    }

    fn json_place(&self, place: Place) -> Value {
        let mut value = self.json_at(Some(place));
        value["operation"] = json!(self.operation(place).name.trim_matches('`'));
        value
    }

    fn json_at(&self, place: Option<Place>) -> Value {
        let span = place.and_then(|place| self.places.span(place));
        json!({ "file": self.source.name(), "line": span.map(|span| self.line_at(span.start)) })
    }

    fn json_change(&self, change: &Change) -> Value {
        let kind = match change {
            Change::Insert { .. } | Change::InsertStep { .. } => "insert",
            Change::Replace { .. } => "replace",
            Change::SplitPass { .. } => "split-pass",
            Change::Remove { .. } => "remove",
            Change::Track { .. } => "track",
            _ => "other",
        };
        let (_, text) = self.change(change);
        let mut value = self.json_at(change.at());
        value["change"] = json!(kind);
        value["text"] = json!(text);
        value
    }

    /// All findings as annotations of GitHub, one in a line.
    pub fn github(&self) -> String {
        let mut text = String::new();
        for (number, finding) in self.report().findings.iter().enumerate() {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "notice",
            };
            let place = match finding.gap() {
                Some(gap) => self.place_of(gap.later.actor),
                None => finding.subject.places().first().copied(),
            };
            let line = place
                .and_then(|place| self.line(place))
                .or_else(|| self.line_of_resource(finding))
                .unwrap_or(1);
            let message = self.message(number);
            let (title, body) =
                (escaped(finding.code.name(), true), escaped(message.to_string().trim_end(), false));
            let file = escaped(self.source.name(), true);
            // A string takes everything.
            let _ = writeln!(text, "::{word} file={file},line={line},title={title}::{body}");
        }
        text
    }

    /// Where the resource is declared that a finding is about.
    pub(super) fn line_of_resource(&self, finding: &Finding) -> Option<usize> {
        let Subject::Resource(resource) = &finding.subject else { return None };
        Some(self.line_at(*self.resources.get(resource.index())?))
    }

    /// The places of a listing: line and finding.
    pub(super) fn lines_of(&self, finding: &Finding) -> Vec<usize> {
        let mut places: Vec<Option<Place>> = finding.subject.places().into_iter().map(Some).collect();
        if let Some(gap) = finding.gap() {
            places.extend([gap.earlier.actor, gap.later.actor].map(|actor| self.place_of(actor)));
        }
        let lines = places.into_iter().flatten().filter_map(|place| self.line(place));
        lines.chain(self.line_of_resource(finding)).collect()
    }
}

/// Text of a workflow command.
fn escaped(text: &str, property: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if property { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}

fn order_word(order: &OrderFound) -> &'static str {
    match order {
        OrderFound::Nothing => "nothing",
        OrderFound::ExecutionOnly { .. } => "execution-only",
        OrderFound::WrongStages { .. } => "wrong-stages",
        OrderFound::NeverInThisPass { .. } => "never-in-this-pass",
        OrderFound::TooLate { .. } => "too-late",
        OrderFound::TooEarly { .. } => "too-early",
        OrderFound::NeverWaitedFor { .. } => "never-waited-for",
        OrderFound::NeverBrought { .. } => "never-brought",
        OrderFound::OtherQueue { .. } => "other-queue",
        _ => "other",
    }
}
