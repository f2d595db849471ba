//! What is known of a conflict beyond what the file declares: what was proven of kernels, and what a run has shown.
//!
//! Bindings are ranges, and a kernel may touch less. Buffers are judged by the extents that the runtime derives from
//! the kernel; textures are taken as they are bound. Deliberately absent: deriving and observing. Tested in
//! `tests/check.rs`.

use crate::program::Watched;
use crate::program::file::{Action, Command, Dispatch, Grid, Item, PassItem, ProgramFile, Step, Target};
use lockgate_runtime::{Extent, ExtentGrid, ExtentQuery, ReflectedBinding, Touched, Verdict};
use lockgate_sync::{Actor, CommandRef, Gap, Grade, Program, ResourceId, ResourceKind, Site};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Judges the conflicts of a file.
pub(super) struct Grader<'a> {
    file: &'a ProgramFile,
    program: &'a Program,
    watched: Option<&'a Watched>,
    commands: BTreeMap<CommandRef, &'a Command>,
    extents: RefCell<BTreeMap<CommandRef, Rc<Vec<Extent>>>>,
}

impl<'a> Grader<'a> {
    pub(super) fn new(
        file: &'a ProgramFile,
        program: &'a Program,
        by_place: &BTreeMap<CommandRef, usize>,
        watched: Option<&'a Watched>,
    ) -> Grader<'a> {
        let written = commands(file);
        let commands =
            by_place.iter().filter_map(|(command, at)| Some((*command, *written.get(at)?))).collect();
        Grader { file, program, watched, commands, extents: RefCell::default() }
    }

    pub(super) fn grade(&self, gap: &Gap) -> Grade {
        match self.seen(gap) {
            Some(Verdict::Confirmed { .. }) => return Grade::Observed,
            Some(Verdict::Dismissed) => return Grade::Dismissed,
            Some(Verdict::Unknown) | None => {}
        }
        let Some((a, b)) = self.touched(&gap.earlier).zip(self.touched(&gap.later)) else {
            return Grade::Declared;
        };
        a.grade(&b)
    }

    /// What a run has shown of the two commands.
    fn seen(&self, gap: &Gap) -> Option<Verdict> {
        let (Actor::Command(a), Actor::Command(b)) = (gap.earlier.actor, gap.later.actor) else {
            return None;
        };
        Some(self.watched?.conflict((a, gap.earlier.access.resource), (b, gap.later.access.resource)))
    }

    /// The bytes of memory of a side; nothing where only the binding is known.
    fn touched(&self, site: &Site) -> Option<Touched> {
        let id = site.access.resource;
        let resource = self.program.resources.get(id.index())?;
        if resource.kind != ResourceKind::Buffer {
            return None;
        }
        let kernel = match site.actor {
            Actor::Command(command) => self.kernel(command).map(|dispatch| (command, dispatch)),
            Actor::Host { .. } | Actor::Display { .. } => None,
        };
        let Some((command, dispatch)) = kernel else {
            let (start, end) = site.access.region.physical(resource);
            return Some(Touched::exactly(start..end, site.access.kind));
        };
        let mut touched = Touched::by_kernel();
        if let Some(arguments) = arguments(dispatch, id) {
            let start = resource.offset + arguments;
            touched.add_read(start..start + 12);
        }
        for extent in self.extents(command, dispatch).iter() {
            if let Some(start) = bound(dispatch, extent, id) {
                touched.add(extent, resource.offset + start);
            }
        }
        for element in dispatch.bindings.iter().filter(|bound| bound.element.is_some()) {
            let is = |own: &&ReflectedBinding| (own.group, own.binding) == (element.group, element.binding);
            if let (Target::Buffer(buffer, range), Some(own)) =
                (&element.to, dispatch.reflection.bindings.iter().find(is))
                && *buffer == id
            {
                let bytes = resource.offset + range.start..resource.offset + range.end;
                touched.add_perhaps(bytes, own.reads, own.writes);
            }
        }
        Some(touched)
    }

    fn kernel(&self, command: CommandRef) -> Option<&'a Dispatch> {
        match &self.commands.get(&command)?.action {
            Action::Kernel(dispatch) => Some(dispatch),
            _ => None,
        }
    }

    fn extents(&self, command: CommandRef, dispatch: &Dispatch) -> Rc<Vec<Extent>> {
        let found = self.extents.borrow().get(&command).cloned();
        found.unwrap_or_else(|| {
            let derived = Rc::new(self.derive(dispatch));
            self.extents.borrow_mut().insert(command, derived.clone());
            derived
        })
    }

    fn derive(&self, dispatch: &Dispatch) -> Vec<Extent> {
        let grid = match dispatch.grid {
            Grid::Threads(size) => ExtentGrid::Threads(size),
            Grid::Threadgroups(size) => ExtentGrid::Threadgroups(size),
            Grid::Indirect { .. } => ExtentGrid::Unknown,
        };
        let size = |group: u32, binding: u32| {
            dispatch.bindings.iter().find(|bound| (bound.group, bound.binding) == (group, binding)).and_then(
                |bound| match &bound.to {
                    Target::Buffer(_, range) => Some(range.end - range.start),
                    _ => None,
                },
            )
        };
        let sizes = dispatch.reflection.bindings.iter().map(|own| size(own.group, own.binding).unwrap_or(0));
        let sizes: Vec<u64> = sizes.collect();
        let immediates: Vec<u8> = dispatch.immediates.iter().flat_map(|word| word.to_le_bytes()).collect();
        let query = ExtentQuery { grid, sizes: &sizes, immediates: &immediates };
        let Some(kernels) = self.file.kernels.get(dispatch.file) else { return Vec::new() };
        // A kernel that the library does not have was refused when the file was read.
        kernels.library.extents(&dispatch.entry, &dispatch.constants, &query).unwrap_or_default()
    }
}

/// Where the range of a binding begins, if it is bound to a resource.
fn bound(dispatch: &Dispatch, extent: &Extent, id: ResourceId) -> Option<u64> {
    let own =
        dispatch.bindings.iter().find(|own| (own.group, own.binding) == (extent.group, extent.binding))?;
    match &own.to {
        Target::Buffer(buffer, range) if *buffer == id => Some(range.start),
        _ => None,
    }
}

/// Where the indirect arguments stand, if they are in a resource.
fn arguments(dispatch: &Dispatch, id: ResourceId) -> Option<u64> {
    match dispatch.grid {
        Grid::Indirect { buffer, offset } if buffer == id => Some(offset),
        _ => None,
    }
}

/// All commands of a file, by where their nodes stand.
fn commands(file: &ProgramFile) -> BTreeMap<usize, &Command> {
    let buffers = file.steps.iter().filter_map(|step| match &step.value {
        Step::Commit { buffers, .. } => Some(buffers),
        _ => None,
    });
    let passes = buffers.flatten().flat_map(|buffer| &buffer.items).filter_map(|item| match &item.value {
        Item::Pass(pass) => Some(pass),
        _ => None,
    });
    let commands = passes.flat_map(|pass| &pass.items).filter_map(|item| match &item.value {
        PassItem::Command(command) => Some((item.span.start, command)),
        _ => None,
    });
    commands.collect()
}
