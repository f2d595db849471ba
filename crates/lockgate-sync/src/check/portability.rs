//! What a program would miss on another generation of queues.
//!
//! A gap that opens in the model of the target and is none in the program's own model is what the program relies on.
//! Deliberately absent: which operations an API has; only what they order.

use super::code::Code;
use super::finding::{Finding, Subject};
use super::hazard::history;
use super::layout::{Layout, Steps};
use super::trial::GapKey;
use crate::{ConsumerTargets, Program, Region, ResourceId, Step};
use std::collections::{BTreeMap, BTreeSet};

/// A generation of queues.
///
/// ```
/// use lockgate_sync::Target;
/// assert_eq!(Target::from_name("metal4"), Some(Target::Metal4));
/// assert_eq!(Target::Metal3.name(), "metal3");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// Metal 4: nothing is tracked, and a consumer barrier may hold back its own pass only (A1).
    Metal4,
    /// Metal 3: tracking connects passes, as whole resources, and nothing inside a concurrent pass (`semantics` 3.4,
    /// 3.7).
    Metal3,
    /// Lockgate's own queues: the model of the program as it is.
    Lockgate,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 3] = [Target::Metal4, Target::Metal3, Target::Lockgate];

    /// `metal4`, `metal3` or `lockgate`.
    pub fn name(self) -> &'static str {
        match self {
            Target::Metal4 => "metal4",
            Target::Metal3 => "metal3",
            Target::Lockgate => "lockgate",
        }
    }

    /// The target with this name.
    pub fn from_name(name: &str) -> Option<Target> {
        Target::ALL.into_iter().find(|target| target.name() == name)
    }
}

/// What a program would miss on another generation of queues: what it relies on there and not here. Hazards that it
/// has anyway are not repeated.
///
/// ```
/// use lockgate_sync::*;
/// let mut program = Program::new();
/// let queue = program.add_queue(QueueDescriptor::default());
/// let x = program.add_buffer(256, HazardTrackingMode::Tracked);
/// let mut recording = Recording::new();
/// for kind in [AccessKind::WRITE, AccessKind::READ] {
///     recording.begin_pass(PassDescriptor::compute());
///     recording.command(&[Work::new(Stage::Dispatch, &[Access::whole(x, kind)])]);
///     recording.end_pass();
/// }
/// program.commit(queue, vec![recording]);
/// assert_eq!(portability(&program, Target::Metal4)[0].code, Code::ReliesOnTracking);
/// assert!(portability(&program, Target::Metal3).is_empty());
/// ```
pub fn portability(program: &Program, target: Target) -> Vec<Finding> {
    if target == Target::Lockgate {
        return Vec::new();
    }
    let layout = Layout::new(program);
    let mut known = gaps(&layout, program);
    let mut findings = Vec::new();

    let mut untracked = program.clone();
    untracked.queues.iter_mut().for_each(|queue| queue.hazard_tracking = false);
    let more = gaps(&layout, &untracked);
    for (key, finding) in &more {
        // Metal 3 tracks between passes, so only what is open inside of one is missed.
        let (a, b, ..) = key;
        let missed = target == Target::Metal4 || a.queue.is_some() && (a.queue, a.pass) == (b.queue, b.pass);
        if missed && !known.contains_key(key) {
            findings.push(relies(finding, Code::ReliesOnTracking));
        }
    }
    if target == Target::Metal4 {
        known.extend(more);
    } else {
        untracked = program.clone();
    }
    if program.model.consumer_targets == ConsumerTargets::LaterPassesToo {
        untracked.model.consumer_targets = ConsumerTargets::CurrentPassOnly;
        let narrow = gaps(&layout, &untracked);
        let new = narrow.iter().filter(|(key, _)| !known.contains_key(key));
        findings.extend(new.map(|(_, finding)| relies(finding, Code::ReliesOnWideConsumer)));
    }
    if target == Target::Metal3 {
        let parts = used_in_parts(&layout);
        let finding =
            |id: &ResourceId| Finding::new(Code::NeedsWholeResourceTracking, Subject::Resource(*id));
        findings.extend(parts.iter().map(finding));
    }
    findings
}

fn relies(finding: &Finding, code: Code) -> Finding {
    Finding { order: finding.order, ..Finding::new(code, finding.subject.clone()) }
}

/// The gaps of a program with the passes of `layout`.
fn gaps(layout: &Layout<'_>, program: &Program) -> BTreeMap<GapKey, Finding> {
    let edited = super::change::edit(program, []);
    let steps = Steps::of(program);
    let run = program.run_with(history(program));
    let told = run.gaps.iter().filter_map(|gap| {
        let (a, b) = layout.spots(&steps, &edited, gap)?;
        let key = (a, b, gap.earlier.access.resource, gap.later.access.resource);
        let mut finding = Finding::of_gap(gap, &program.resources, a.queue != b.queue);
        finding.order = super::near::nearest(layout, &a, &b);
        Some((key, finding))
    });
    told.collect()
}

/// Tracked resources of which two passes use parts that are apart, one of them writing.
fn used_in_parts(layout: &Layout<'_>) -> BTreeSet<ResourceId> {
    let program = layout.program;
    let mut used: BTreeMap<ResourceId, Vec<(u32, Region, bool)>> = BTreeMap::new();
    let mut parts = BTreeSet::new();
    let mut pass = 0;
    for step in &program.steps {
        let Step::Commit { queue, buffers } = step else { continue };
        let tracks = program.queues.get(queue.index()).is_some_and(|queue| queue.hazard_tracking);
        for recording in buffers.iter().filter(|_| tracks) {
            for op in recording.ops() {
                pass += u32::from(matches!(op, crate::Op::BeginPass(_)));
                let crate::Op::Command { works, .. } = op else { continue };
                for access in recording.works(works).flat_map(|work| work.accesses) {
                    let resource = program.resources.get(access.resource.index());
                    let Some(resource) = resource.filter(|resource| resource.tracked) else { continue };
                    let list = used.entry(access.resource).or_default();
                    let writes = access.kind.writes();
                    let apart = |other: &(u32, Region, bool)| {
                        other.0 != pass && (writes || other.2) && !meet(resource, &other.1, &access.region)
                    };
                    if list.iter().any(apart) {
                        parts.insert(access.resource);
                    } else if list.len() < 64 && !list.contains(&(pass, access.region, writes)) {
                        list.push((pass, access.region, writes));
                    }
                }
            }
        }
    }
    parts
}

fn meet(resource: &crate::ResourceDescriptor, a: &Region, b: &Region) -> bool {
    match resource.kind {
        crate::ResourceKind::Buffer => {
            let (a, b) = (a.bytes(resource.size), b.bytes(resource.size));
            a.0 < b.1 && b.0 < a.1
        }
        crate::ResourceKind::Texture { .. } => a.texels().overlaps(&b.texels()),
    }
}
