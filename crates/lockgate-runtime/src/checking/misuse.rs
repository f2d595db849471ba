//! Calls that mean nothing, as findings.

use super::window::View;
use super::{RuntimeFinding, of_runtime};
use lockgate_sync::{Code, CommitId, Misuse, Place};

pub(super) fn finding(misuse: &Misuse, view: &View<'_>) -> RuntimeFinding {
    let fence = |id: lockgate_sync::FenceId| view.window.fences.get(id.0).unwrap_or_default().to_owned();
    let (code, sentence, at) = match misuse {
        Misuse::IntrapassStages { at, .. } => (
            Code::IntrapassStages,
            "a barrier names stages that its pass cannot encode".to_owned(),
            Some(*at),
        ),
        Misuse::FenceNeverUpdated { fence: id, at } => {
            let sentence =
                format!("the wait for fence `{}` waits for nothing: no earlier pass updates it", fence(*id));
            (Code::FenceNeverUpdated, sentence, Some(*at))
        }
        Misuse::FenceWaitAfterUpdate { fence: id, at } => {
            let sentence =
                format!("the wait for fence `{}` stands behind an update of it in the same pass", fence(*id));
            (Code::FenceWaitAfterUpdate, sentence, Some(*at))
        }
        Misuse::FenceAcrossQueues { fence: id, at } => {
            let sentence = format!("fence `{}` cannot order two queues; an event can", fence(*id));
            (Code::FenceAcrossQueues, sentence, Some(*at))
        }
        Misuse::EventNeverSignaled { event, value } => {
            let label = view.window.events.get(event.0).unwrap_or_default();
            let sentence = format!("nothing brings event `{label}` to {value}; the wait was given up");
            (Code::EventNeverSignaled, sentence, None)
        }
        other => (Code::EventNeverSignaled, format!("{other:?}"), None),
    };
    let origin = at.and_then(|(commit, buffer, op)| {
        let local = view.local(lockgate_sync::Actor::Command(lockgate_sync::CommandRef {
            commit,
            buffer,
            command: 0,
        }));
        let lockgate_sync::Actor::Command(local) = local else { return None };
        let step = view.program().step_of_commit(CommitId(local.commit.0))?;
        view.place_origin(Place::Op { step, buffer, op })
    });
    of_runtime(code, &sentence, origin.into_iter().collect())
}
