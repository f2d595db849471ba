//! The order that was found between two accesses, and why it is not enough.

use super::hazard::stage_of;
use super::words::stages;
use super::{Describe, Message, located};
use lockgate_sync::{Finding, Gap, OrderFound};

pub(super) fn lines(finding: &Finding, gap: &Gap, names: &dyn Describe, message: &mut Message) {
    let (earlier, later) = (stage_of(&gap.earlier), stage_of(&gap.later));
    let found = match finding.order.by() {
        Some(place) => located(&names.operation(place)),
        None if matches!(finding.order, OrderFound::ExecutionOnly { .. }) => {
            "one that makes nothing visible".into()
        }
        None => "none".into(),
    };
    message.line("order found", found);
    let why = match finding.order {
        OrderFound::Nothing => return,
        OrderFound::ExecutionOnly { .. } => {
            "it orders execution only; what was written also has to become visible".to_owned()
        }
        OrderFound::WrongStages { have, need, .. } => {
            let side = |what: &str, have, need: lockgate_sync::Stages| {
                let missing = need - have;
                (!missing.is_empty())
                    .then(|| format!("its {what} stages are {}, not {}", stages(have), stages(need)))
            };
            let sides = [side("earlier", have.after, need.after), side("later", have.before, need.before)];
            let sides: Vec<String> = sides.into_iter().flatten().collect();
            if sides.is_empty() { "its stages do not reach".into() } else { sides.join("; ") }
        }
        OrderFound::NeverInThisPass { .. } => {
            "a barrier between passes does not order two commands of its own pass; an intrapass barrier does"
                .into()
        }
        OrderFound::TooLate { .. } => format!("it stands behind the {later} access"),
        OrderFound::TooEarly { .. } => format!("it stands before the {earlier} access"),
        OrderFound::NeverWaitedFor { .. } => "nothing waits for it before the later access".into(),
        OrderFound::NeverBrought { .. } => "nothing behind the earlier access brings it".into(),
        OrderFound::OtherQueue { .. } => "it ends at its own queue; only events order two queues".into(),
        _ => return,
    };
    message.line("not enough", why);
}
