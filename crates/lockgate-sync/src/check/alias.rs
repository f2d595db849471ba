//! Resources that are read although another resource has used their memory since they were written.
//!
//! Works are taken in an order in which they could run. A write of any part of a resource makes all of the resource
//! its own again, so that what is told is certain for whole resources and silent for the rest. Deliberately absent:
//! memory that nothing has written at all, which only a device can see.

use super::code::Code;
use super::finding::{Finding, Report, Subject};
use super::layout::{Commands, Steps};
use super::trial::Trial;
use crate::{Access, AccessKind, HostStep, MemoryId, Program, ResourceId, Step, VertexKind};
use std::collections::{BTreeMap, BTreeSet};

/// Who wrote which bytes last.
type Owners = Vec<(u64, u64, ResourceId)>;

/// Puts reads of foreign contents into a report, one for each pair of resources.
pub(crate) fn find(program: &Program, now: &Trial, report: &mut Report) {
    let shared = shared(program);
    if shared.is_empty() {
        return;
    }
    let (steps, commands) = (Steps::of(program), Commands::of(program));
    let mut owners: BTreeMap<MemoryId, Owners> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for vertex in &now.run.graph.vertices {
        let (place, accesses): (_, Vec<Access>) = match vertex.kind {
            VertexKind::Work { command, part, .. } => {
                (program.place_of(command), commands.accesses(command, part).to_vec())
            }
            VertexKind::Host { step } => {
                let at = steps.hosts.get(step as usize).copied();
                let access = match at.and_then(|at| program.steps.get(at as usize)) {
                    Some(Step::Host(HostStep::Access(access) | HostStep::AccessWhenIdle(access))) => {
                        vec![*access]
                    }
                    _ => continue,
                };
                (at.map(super::place::Place::Step), access)
            }
            _ => continue,
        };
        let Some(place) = place else { continue };
        let in_shared = |access: &&Access| {
            let resource = program.resources.get(access.resource.index());
            resource.is_some_and(|resource| shared.contains(&resource.memory))
        };
        // What a work reads, it reads before it writes.
        for access in accesses.iter().filter(in_shared) {
            if let Some(other) = foreign(program, &owners, access)
                && access.kind.contains(AccessKind::READ)
                && told.insert((access.resource, other))
            {
                let subject = Subject::Access { at: place, resource: access.resource };
                report.findings.push(Finding::new(Code::AliasReadBeforeWrite, subject));
            }
        }
        for access in accesses.iter().filter(in_shared).filter(|access| access.kind.writes()) {
            own(program, &mut owners, access);
        }
    }
}

/// The memories in which resources overlap.
fn shared(program: &Program) -> BTreeSet<MemoryId> {
    let mut ranges: Vec<(MemoryId, u64, u64)> =
        program.resources.iter().map(|r| (r.memory, r.offset, r.offset.saturating_add(r.size))).collect();
    ranges.sort_unstable();
    let mut shared = BTreeSet::new();
    let mut end: Option<(MemoryId, u64)> = None;
    for (memory, start, stop) in ranges {
        if end.is_some_and(|(of, end)| of == memory && start < end) {
            shared.insert(memory);
        }
        end = Some((memory, end.filter(|(of, _)| *of == memory).map_or(stop, |(_, end)| end.max(stop))));
    }
    shared
}

/// The other resource that wrote last what an access touches.
fn foreign(program: &Program, owners: &BTreeMap<MemoryId, Owners>, access: &Access) -> Option<ResourceId> {
    let resource = program.resources.get(access.resource.index())?;
    let (start, end) = access.region.physical(resource);
    let list = owners.get(&resource.memory)?;
    let meets =
        |(from, to, of): &&(u64, u64, ResourceId)| *from < end && start < *to && *of != access.resource;
    list.iter().find(meets).map(|(_, _, of)| *of)
}

fn own(program: &Program, owners: &mut BTreeMap<MemoryId, Owners>, access: &Access) {
    let Some(resource) = program.resources.get(access.resource.index()) else { return };
    let (start, end) = (resource.offset, resource.offset.saturating_add(resource.size));
    let list = owners.entry(resource.memory).or_default();
    let mut kept = Owners::new();
    for &(from, to, of) in list.iter() {
        if from < start.min(to) {
            kept.push((from, start.min(to), of));
        }
        if to > end.max(from) {
            kept.push((end.max(from), to, of));
        }
    }
    kept.push((start, end, access.resource));
    *list = kept;
}
