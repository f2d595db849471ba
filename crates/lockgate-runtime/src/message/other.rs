//! The sentences of findings that are no hazards: what is spare, what means nothing, what is not portable.

use super::words::stages;
use super::{Describe, Spot};
use lockgate_sync::{Code, Finding, Subject};

pub(super) fn sentence(finding: &Finding, names: &dyn Describe) -> String {
    let spots: Vec<Spot> = finding.subject.places().into_iter().map(|place| names.operation(place)).collect();
    let first = spots.first().map_or("the operation", |spot| spot.name.as_str());
    let resource = match &finding.subject {
        Subject::Resource(id) | Subject::Access { resource: id, .. } => names.resource(*id),
        _ => String::new(),
    };
    match finding.code {
        Code::BarrierSpare | Code::FenceSpare => {
            format!("{first} can go: without it the program does the same")
        }
        Code::EventSpare => format!("{first} can go: without it the program does the same"),
        Code::BarrierTooWide => format!("{first} names stages that can go{}", surplus(finding)),
        Code::VisibilitySpare => format!("{first} follows no write that matters: order alone is enough"),
        Code::WaitTooEarly => match spots.get(1) {
            Some(to) => format!("{first} could stand before {to} and hold back less"),
            None => format!("{first} could stand later and hold back less"),
        },
        Code::TrackingSpare => format!("the program orders `{resource}` itself: tracking adds nothing"),
        Code::ConsumerWithinPass => {
            format!("{first} does not order commands of its own pass; did you mean an intrapass barrier?")
        }
        Code::IntrapassStages => {
            format!("{first} names stages that an intrapass barrier of this pass cannot")
        }
        Code::FenceNeverUpdated => format!("{first} waits for nothing: no earlier pass updates the fence"),
        Code::FenceWaitAfterUpdate => {
            format!("{first} stands behind an update of the fence in the same pass")
        }
        Code::FenceAcrossQueues => format!("{first} waits for another queue, which a fence cannot order"),
        Code::EventNeverSignaled => format!("{first} waits for a value that nothing brings"),
        Code::EventCycle => "each of these waits holds back the signal that another waits for".into(),
        Code::SignalBelowValue => format!("{first} does nothing: the event has passed that value"),
        Code::UnorderedSignals => {
            "nothing orders these signals of one event, so a wait may be released by either".into()
        }
        Code::TileOnlyMask => {
            format!("{first} names the tile stage alone, which hardware was seen to ignore")
        }
        Code::StagesForeign => {
            format!("{first} names stages that its pass cannot encode{}", surplus(finding))
        }
        Code::AliasReadBeforeWrite => {
            format!("{first} reads `{resource}`, whose memory another resource has used since it was written")
        }
        Code::ReliesOnTracking => format!("{first} needs tracking, which this model does not have"),
        Code::ReliesOnWideConsumer => {
            format!("{first} has to hold back passes behind its own, which this model does not promise")
        }
        Code::NeedsWholeResourceTracking => {
            format!("parts of `{resource}` are used at once; this model tracks it as a whole")
        }
        code => code.name().replace('-', " "),
    }
}

/// The stages that could go, in words.
fn surplus(finding: &Finding) -> String {
    let Subject::Surplus { after, before, visibility, .. } = &finding.subject else { return String::new() };
    let side = |what: &str, mask| {
        (!lockgate_sync::Stages::is_empty(&mask)).then(|| format!("{what} {}", stages(mask)))
    };
    let mut parts: Vec<String> =
        [side("after", *after), side("before", *before)].into_iter().flatten().collect();
    if !visibility.is_empty() {
        parts.push("visibility".into());
    }
    if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
}
