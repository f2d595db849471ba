//! Programs that say the same again and again, as those of users do.

use lockgate_sync::{EventId, HostStep, Program, Step};
use std::collections::BTreeMap;

/// The steps of a program several times over, with waits of the host for commits and events between them.
///
/// Events take another value each time. In most programs each signal raises the value, most waits are for what was
/// signaled before, and the host stays so many commits behind.
///
/// ```
/// use lockgate_testsuite::generate::repeated;
/// let mut program = lockgate_sync::Program::default();
/// program.commit(lockgate_sync::QueueId(0), Vec::new());
/// assert!(repeated(&program, 1).steps.len() >= 6);
/// ```
pub fn repeated(program: &Program, seed: u64) -> Program {
    let mut draws = Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (regular, rising, behind) = (draws.below(4) > 0, draws.below(4) > 0, 1 + draws.below(3));
    let mut repeated = Program { steps: Vec::new(), ..program.clone() };
    let mut values = Values::default();
    let mut commits = 0u64;
    for round in 0..6 {
        for step in &program.steps {
            let step = match rising {
                true => values.rising(step, &mut draws),
                false => shifted(step, 8 * round),
            };
            let signal = match step {
                Step::SignalEvent { event, value, .. } => Some((event, values.told(event, value))),
                _ => None,
            };
            let commit = matches!(step, Step::Commit { .. });
            repeated.steps.push(step);
            if let Some((event, (own, before))) = signal.filter(|_| draws.below(2) == 0) {
                let value = if behind == 1 { own } else { before };
                repeated.host(HostStep::WaitForEvent { event, value });
            }
            if commit {
                commits += 1;
                let any = draws.below(2 * commits);
                let wait = if regular { commits.checked_sub(behind) } else { any.checked_sub(commits) };
                if let Some(commit) = wait.filter(|_| signals_seldom(program) || draws.below(3) == 0) {
                    repeated.host(HostStep::WaitForCommit { commit });
                }
            }
        }
    }
    repeated
}

/// Whether hardly anything but a wait for a commit tells the host how far the device is.
fn signals_seldom(program: &Program) -> bool {
    !program.steps.iter().any(|step| matches!(step, Step::SignalEvent { .. }))
}

struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// The last value of each event, and the last that was told of.
#[derive(Default)]
struct Values {
    last: BTreeMap<EventId, u64>,
    told: BTreeMap<EventId, u64>,
}

impl Values {
    /// A step whose signal raises the value, or whose wait is nearly always for what was signaled before.
    fn rising(&mut self, step: &Step, draws: &mut Draws) -> Step {
        let mut step = step.clone();
        match &mut step {
            Step::SignalEvent { event, value, .. } | Step::Host(HostStep::SignalEvent { event, value }) => {
                let last = self.last.entry(*event).or_default();
                *last += 1 + draws.below(2);
                *value = *last;
            }
            Step::WaitForEvent { event, value, .. } | Step::Host(HostStep::WaitForEvent { event, value }) => {
                let last = self.last.get(event).copied().unwrap_or(0);
                let early = draws.below(12) == 0;
                *value = if early { last + 1 } else { last.saturating_sub(draws.below(3)) };
            }
            _ => {}
        }
        step
    }

    /// The value of a signal, and of the one before it.
    fn told(&mut self, event: EventId, value: u64) -> (u64, u64) {
        (value, self.told.insert(event, value).unwrap_or(value))
    }
}

fn shifted(step: &Step, by: u64) -> Step {
    let mut step = step.clone();
    match &mut step {
        Step::SignalEvent { value, .. }
        | Step::WaitForEvent { value, .. }
        | Step::Host(HostStep::SignalEvent { value, .. } | HostStep::WaitForEvent { value, .. }) => {
            *value += by;
        }
        _ => {}
    }
    step
}
