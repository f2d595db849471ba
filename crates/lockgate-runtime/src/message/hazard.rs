//! Two accesses that nothing orders as they need: the sentence and the lines.

use super::words::{extent, verb};
use super::{Describe, Message, Spot, order};
use lockgate_sync::{Actor, Basis, Code, Finding, Gap, Hazard, Severity, Site};

pub(super) fn sentence(code: Code, gap: &Gap, names: &dyn Describe) -> String {
    let (earlier, later) = (who(gap.earlier.actor, names), who(gap.later.actor, names));
    let resource = names.resource(gap.later.access.resource);
    let other = names.resource(gap.earlier.access.resource);
    let it = match gap.earlier.access.resource == gap.later.access.resource {
        true => "it".to_owned(),
        false => format!("`{other}`, which shares its memory"),
    };
    match (code, gap.hazard) {
        (Code::OrderWithoutVisibility | Code::AliasWithoutVisibility, Hazard::ReadAfterWrite) => {
            format!("{later} runs after {earlier} but need not see what that wrote to `{resource}`")
        }
        (Code::OrderWithoutVisibility | Code::AliasWithoutVisibility, _) => {
            format!(
                "{later} runs after {earlier} but the writes of both to `{resource}` may land in either order"
            )
        }
        (_, Hazard::ReadAfterWrite) => {
            format!("{later} may read `{resource}` before {earlier} has written {it}")
        }
        (_, Hazard::WriteAfterRead) => {
            format!("{later} may overwrite `{resource}` before {earlier} has read {it}")
        }
        (_, Hazard::WriteAfterWrite) => {
            format!("{later} may write `{resource}` before {earlier} has written {it}")
        }
    }
}

fn who(actor: Actor, names: &dyn Describe) -> String {
    match actor {
        Actor::Command(_) => format!("`{}`", names.actor(actor).name),
        Actor::Host { .. } => "the host".into(),
        Actor::Display { .. } => "the display".into(),
    }
}

pub(super) fn lines(finding: &Finding, gap: &Gap, names: &dyn Describe, message: &mut Message) {
    let sides = [&gap.earlier, &gap.later].map(|site| {
        let spot = names.actor(site.actor);
        let extent = extent(&site.access, names.program(), &names.resource(site.access.resource));
        (spot, site.stage.name(), format!("{} {extent}", verb(&site.access)))
    });
    let width =
        |text: &dyn Fn(&Spot) -> String| sides.iter().map(|(spot, ..)| text(spot).len()).max().unwrap_or(0);
    let (at, place) = (width(&|spot| spot.at.clone()), width(&|spot| path(spot)));
    let stage = sides.iter().map(|(_, stage, _)| stage.len()).max().unwrap_or(0);
    for (number, (spot, name, touches)) in sides.iter().enumerate() {
        let text = format!("{:<at$}  {:<place$}  {name:<stage$}  {touches}", spot.at, path(spot));
        message.line(&format!("{}", number + 1), text);
    }
    order::lines(finding, gap, names, message);
    let rests = match finding.basis {
        Basis::Declared if finding.severity == Severity::Error => return,
        Basis::Declared => "what is bound: a kernel may touch less of it, so the conflict is only possible",
        Basis::Proven => "what was derived from the kernels: both always touch common bytes",
        Basis::Observed => "the bytes that both touched in a run",
    };
    message.line("rests on", rests);
}

fn path(spot: &Spot) -> String {
    match (spot.within.as_str(), spot.name.as_str()) {
        ("", name) => name.to_owned(),
        (within, "") => within.to_owned(),
        (within, name) => format!("{within}, `{name}`"),
    }
}

/// The stages of the two sides, for messages about masks.
pub(super) fn stage_of(site: &Site) -> &'static str {
    site.stage.name()
}
