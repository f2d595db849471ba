//! Whether what a file expects came true: hazards and orders on the model, contents on the device.

use super::Machine;
use crate::diagnostic::Diagnostic;
use crate::program::file::{Expectation, Expected, ProgramFile};
use crate::program::lower::Names;
use crate::program::words::hazard_word;
use lockgate_runtime::Result;
use lockgate_sync::{Actor, Gap, Run, Site, VertexId};
use std::ops::Range;

/// What became of one expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it holds.
    pub holds: bool,
    /// What was expected.
    pub expected: String,
    /// What is the case instead; empty if it holds.
    pub found: String,
    /// Where it stands in the file.
    pub span: Range<usize>,
}

/// The model's answer to a program: what every expectation about hazards and orders is held against.
struct Answer {
    names: Names,
    run: Run,
}

/// A verdict for each expectation, and a sentence for each hazard that none of them expects.
pub(super) fn verdicts(
    machine: &mut Machine<'_>,
) -> std::result::Result<(Vec<Verdict>, Vec<String>), Diagnostic> {
    let file = machine.file;
    let (program, names) = file.model();
    let answer = Answer { names, run: program.run() };
    let expectations = file.expectations.as_deref().unwrap_or_default();
    let mut verdicts = Vec::new();
    for expectation in expectations {
        let (expected, problem) = match answer.judge(file, &expectation.kind) {
            Some(judged) => judged,
            None => {
                let judged = contents(machine, &expectation.kind);
                judged.map_err(|error| machine.failure(&expectation.span, &error))?
            }
        };
        let (holds, found) = (problem.is_none(), problem.unwrap_or_default());
        verdicts.push(Verdict { holds, expected, found, span: expectation.span.clone() });
    }
    Ok((verdicts, answer.unexpected(expectations)))
}

impl ProgramFile {
    /// Holds the expectations about hazards and orders against the model, without a device. Returns a verdict
    /// for each of them, and a sentence for each hazard or misuse that none of them expects.
    pub fn judge(&self) -> (Vec<Verdict>, Vec<String>) {
        let (program, names) = self.model();
        let answer = Answer { names, run: program.run() };
        let expectations = self.expectations.as_deref().unwrap_or_default();
        let verdicts = expectations.iter().filter_map(|expectation| {
            let (expected, problem) = answer.judge(self, &expectation.kind)?;
            let (holds, found) = (problem.is_none(), problem.unwrap_or_default());
            Some(Verdict { holds, expected, found, span: expectation.span.clone() })
        });
        (verdicts.collect(), answer.unexpected(expectations))
    }
}

impl Answer {
    /// A sentence for each hazard that no expectation names, and for each misuse.
    fn unexpected(&self, expectations: &[Expectation]) -> Vec<String> {
        let expects_all = expectations.iter().any(|e| matches!(e.kind, Expected::NoHazards));
        let spare = |gap: &&Gap| !expects_all && !expectations.iter().any(|e| self.matches(&e.kind, gap));
        let findings = self.run.gaps.iter().filter(spare).map(|gap| self.sentence(gap));
        findings.chain(self.run.misuse.iter().map(|misuse| self.misuse(misuse))).collect()
    }

    /// An expectation about the model, and what is wrong with it; nothing if it is about contents.
    fn judge(&self, file: &ProgramFile, expected: &Expected) -> Option<(String, Option<String>)> {
        Some(match expected {
            Expected::NoHazards => {
                let first = self.run.gaps.first().map(|gap| self.sentence(gap));
                let more = self.run.gaps.len().saturating_sub(1);
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                ("no-hazards".into(), first.map(|first| first + &more))
            }
            Expected::Hazard { hazard, earlier, later, resource } => {
                let part = |name: &str, value: Option<&str>| {
                    value.map(|value| format!(" {name}={value}")).unwrap_or_default()
                };
                let text = format!(
                    "hazard {}{}{}{}",
                    hazard_word(*hazard),
                    part("earlier", earlier.as_deref()),
                    part("later", later.as_deref()),
                    part("resource", resource.map(|id| file.resource(id).name.as_str()))
                );
                let found = self.run.gaps.iter().any(|gap| self.matches(expected, gap));
                let problem = || match self.run.gaps.as_slice() {
                    [] => "the model finds no hazard".to_owned(),
                    gaps => format!(
                        "the model finds: {}",
                        gaps.iter().map(|gap| self.sentence(gap)).collect::<Vec<_>>().join("; ")
                    ),
                };
                (text, (!found).then(problem))
            }
            Expected::Ordered(first, second) => {
                let problem = match self.order(first, second) {
                    (true, _) => None,
                    (_, true) => Some(format!("`{second}` runs before `{first}`")),
                    _ => Some("either may run first".into()),
                };
                (format!("ordered {first} {second}"), problem)
            }
            Expected::Free(first, second) => {
                let problem = match self.order(first, second) {
                    (true, _) => Some(format!("`{second}` must wait for `{first}`")),
                    (_, true) => Some(format!("`{first}` must wait for `{second}`")),
                    _ => None,
                };
                (format!("free {first} {second}"), problem)
            }
            Expected::Buffer { .. } | Expected::SameAs { .. } | Expected::Picture { .. } => return None,
        })
    }

    /// Whether every work of the first comes before every work of the second, and the other way round.
    fn order(&self, first: &str, second: &str) -> (bool, bool) {
        let works = |name: &str| -> Vec<VertexId> {
            let command = self.names.find(name);
            command.map(|c| self.run.graph.works(c).map(|v| v.id).collect()).unwrap_or_default()
        };
        let (first, second) = (works(first), works(second));
        let before = |a: &[VertexId], b: &[VertexId]| {
            let ordered = |x: &VertexId| b.iter().all(|y| self.run.graph.orders(*x, *y));
            !a.is_empty() && !b.is_empty() && a.iter().all(ordered)
        };
        (before(&first, &second), before(&second, &first))
    }

    fn matches(&self, expected: &Expected, gap: &Gap) -> bool {
        let Expected::Hazard { hazard, earlier, later, resource } = expected else { return false };
        let side =
            |name: &Option<String>, site: &Site| name.as_ref().is_none_or(|name| *name == self.actor(site));
        let touches = |id| gap.earlier.access.resource == id || gap.later.access.resource == id;
        *hazard == gap.hazard
            && side(earlier, &gap.earlier)
            && side(later, &gap.later)
            && resource.is_none_or(touches)
    }

    fn actor(&self, site: &Site) -> String {
        match site.actor {
            Actor::Command(command) => self.names.command(command).to_owned(),
            Actor::Host { .. } => "host".into(),
            Actor::Display { .. } => "display".into(),
        }
    }

    fn sentence(&self, gap: &Gap) -> String {
        let resource = self.names.resource(gap.later.access.resource);
        let touch = |site: &Site| if site.access.kind.writes() { "writes" } else { "reads" };
        let reach = match gap.reach {
            lockgate_sync::Reach::ExecutionOnly => "is ordered, but does not see the write",
            _ => "is not ordered",
        };
        let alias = match gap.earlier.access.resource == gap.later.access.resource {
            true => String::new(),
            false => {
                format!(" (which shares memory with `{}`)", self.names.resource(gap.earlier.access.resource))
            }
        };
        format!(
            "{}: `{}` ({}) {} `{resource}`{alias} and {reach} after `{}` ({}), which {} it",
            hazard_word(gap.hazard),
            self.actor(&gap.later),
            gap.later.stage.name(),
            touch(&gap.later),
            self.actor(&gap.earlier),
            gap.earlier.stage.name(),
            touch(&gap.earlier),
        )
    }

    fn misuse(&self, misuse: &lockgate_sync::Misuse) -> String {
        use lockgate_sync::Misuse as M;
        let fence = |fence| self.names.fence(fence);
        match misuse {
            M::IntrapassStages { .. } => {
                "intrapass-stages: a barrier names stages that its pass cannot encode".into()
            }
            M::FenceNeverUpdated { fence: id, .. } => {
                format!("fence-never-updated: nothing updates `{}` before it is waited for", fence(*id))
            }
            M::FenceWaitAfterUpdate { fence: id, .. } => {
                format!(
                    "fence-wait-after-update: `{}` is waited for behind its update in one pass",
                    fence(*id)
                )
            }
            M::FenceAcrossQueues { fence: id, .. } => {
                format!("fence-across-queues: `{}` cannot order two queues; an event can", fence(*id))
            }
            M::EventNeverSignaled { event, value } => {
                format!("event-never-signaled: nothing brings `{}` to {value}", self.names.event(*event))
            }
            other => format!("misuse: {other:?}"),
        }
    }
}

/// An expectation about contents, and what is wrong with it.
fn contents(machine: &mut Machine<'_>, expected: &Expected) -> Result<(String, Option<String>)> {
    let file = machine.file;
    let name = |id| file.resource(id).name.clone();
    Ok(match expected {
        Expected::Buffer { buffer, offset, words, whole } => {
            let bytes = machine.read_buffer(*buffer)?;
            let has: Vec<u32> = bytes
                .chunks_exact(4)
                .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect();
            let first = (*offset / 4) as usize;
            let wrong = words.iter().zip(has.iter().skip(first)).position(|(want, has)| want != has);
            let problem = match wrong {
                Some(at) => Some(format!("word {} is {}, not {}", first + at, has[first + at], words[at])),
                None if *whole && has.len() != words.len() => {
                    Some(format!("it has {} words, not {}", has.len(), words.len()))
                }
                None => None,
            };
            (format!("buffer {} has {} words as given", name(*buffer), words.len()), problem)
        }
        Expected::SameAs { buffer, other } => {
            let (a, b) = (machine.read_buffer(*buffer)?, machine.read_buffer(*other)?);
            let differ = a.iter().zip(&b).position(|(a, b)| a != b);
            let problem = match differ {
                Some(at) => Some(format!("byte {at} is {}, not {}", a[at], b[at])),
                None if a.len() != b.len() => Some(format!("it has {} bytes, not {}", a.len(), b.len())),
                None => None,
            };
            (format!("buffer {} same-as {}", name(*buffer), name(*other)), problem)
        }
        Expected::Picture { texture, level, slice, path, texels, tolerance } => {
            let has = machine.read_level(*texture, *level, *slice)?;
            let far = has.iter().zip(texels).filter(|(a, b)| a.abs_diff(**b) > *tolerance).count();
            let most = has.iter().zip(texels).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            let problem = (far > 0)
                .then(|| format!("{far} channels differ by more than {tolerance}, the most by {most}"));
            (format!("picture {} matches \"{path}\"", name(*texture)), problem)
        }
        // Judged by the model.
        _ => (String::new(), None),
    })
}
