//! What a device has seen inside of commands, as findings: races between invocations, reads of what nothing has
//! written, and indices beyond the end.

use super::Checked;
use crate::program::Watched;
use lockgate_runtime::message::{Describe, Message};
use lockgate_runtime::{ObservedKind, ObservedSpace, RaceSide, SourcePlace};
use lockgate_sync::{Actor, Basis, Code, CommandRef, Finding, Severity, Subject};

impl Checked {
    /// Adds the findings of a device behind those of the model.
    pub(super) fn add_observed(&mut self, watched: &Watched) {
        let observation = watched.observation();
        for race in &observation.races {
            let sides = [&race.first, &race.second].map(side);
            let grave = if race.equal_values { Severity::Warning } else { Severity::Error };
            let equal = if race.equal_values { "; the values are equal" } else { "" };
            let sentence = format!("invocations race for `{}`{equal}", race.variable);
            self.observe(watched, race.command, (Code::RaceInDispatch, grave), &sentence, &sides, race.count);
        }
        for read in &observation.uninitialized {
            let what = match read.variable.as_str() {
                "" => "bytes".to_owned(),
                variable => format!("`{variable}`"),
            };
            let (grave, why) = match read.space {
                ObservedSpace::Workgroup => {
                    (Severity::Note, "that no invocation has written: WGSL makes them zero")
                }
                _ => (Severity::Warning, "that nothing has written"),
            };
            let bytes = &read.bytes;
            let sentence = format!("reads {what} {why}, first at bytes {}..{}", bytes.start, bytes.end);
            let at = [line(read.place, read.invocation)];
            self.observe(watched, read.command, (Code::UninitializedRead, grave), &sentence, &at, read.count);
        }
        for access in &observation.out_of_bounds {
            let sentence = format!(
                "{} `{}` at index {}, which has {} elements",
                verb(access.kind),
                access.variable,
                access.index,
                access.length
            );
            let at = [line(access.place, Some(access.invocation))];
            let code = (Code::OutOfBoundsAccess, Code::OutOfBoundsAccess.severity());
            self.observe(watched, access.command, code, &sentence, &at, access.count);
        }
    }

    fn observe(
        &mut self,
        watched: &Watched,
        seen: CommandRef,
        (code, severity): (Code, Severity),
        sentence: &str,
        at: &[String],
        count: u64,
    ) {
        // Commands of the runner itself are none of the file.
        let Some(command) = watched.command(seen) else { return };
        let Some(place) = self.commands.get(&command).copied() else { return };
        let spot = self.actor(Actor::Command(command));
        let mut finding = Finding::new(code, Subject::Operation(place));
        finding.severity = severity;
        finding.basis = Basis::Observed;
        let head = format!("{}[{}]: `{}`: {sentence}", severity.name(), code.name(), spot.name);
        let mut lines = vec![("1".to_owned(), format!("{}  {}, `{}`", spot.at, spot.within, spot.name))];
        let caption = |number: usize| if number == 0 { "in the kernel" } else { "" };
        lines.extend(at.iter().enumerate().map(|(number, line)| (caption(number).to_owned(), line.clone())));
        let times = if count == 1 { "once".to_owned() } else { format!("{count} times") };
        lines.push(("rests on".to_owned(), format!("a run in which it happened {times}")));
        self.report.findings.push(finding);
        self.observed.push(Message { head, lines });
    }
}

fn side(side: &RaceSide) -> String {
    format!("{}  {}", line(side.place, Some(side.invocation)), verb(side.kind))
}

/// Where in the kernel, and which invocation.
fn line(place: Option<SourcePlace>, invocation: Option<[u32; 3]>) -> String {
    let place = place.map_or_else(|| "somewhere".to_owned(), |place| format!("line {place}"));
    match invocation {
        Some([x, y, z]) => format!("{place}, invocation ({x}, {y}, {z})"),
        None => place,
    }
}

fn verb(kind: ObservedKind) -> &'static str {
    match kind {
        ObservedKind::Read => "reads",
        ObservedKind::Write => "writes",
        ObservedKind::AtomicLoad => "loads atomically",
        ObservedKind::Atomic => "updates atomically",
    }
}
