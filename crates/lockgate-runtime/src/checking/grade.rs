//! Whether two commands that conflict by their bindings really do: kernels may touch less than is bound.

use super::window::View;
use crate::backend::{Binding, Command, Grid};
use crate::contents::CommandBufferContents;
use crate::{ExtentGrid, ExtentQuery, Touched};
use lockgate_sync::{Actor, Gap, Grade, ResourceId, ResourceKind, Site};

impl View<'_> {
    /// What is known of a gap in the numbers of the window. Textures are taken as they are bound.
    pub(super) fn grade(&self, gap: &Gap) -> Grade {
        match self.touched(&gap.earlier).zip(self.touched(&gap.later)) {
            Some((earlier, later)) => earlier.grade(&later),
            None => Grade::Declared,
        }
    }

    fn touched(&self, site: &Site) -> Option<Touched> {
        let id = site.access.resource;
        let resource = self.engine.resource(id)?;
        if resource.kind != ResourceKind::Buffer {
            return None;
        }
        let exactly = || {
            let (start, end) = site.access.region.physical(resource);
            Touched::exactly(start..end, site.access.kind)
        };
        let Actor::Command(command) = site.actor else { return Some(exactly()) };
        let contents = self.contents_of(command)?;
        match contents.commands().get(command.command as usize)? {
            dispatch @ Command::Dispatch { .. } => by_kernel(contents, dispatch, id, resource.offset),
            _ => Some(exactly()),
        }
    }
}

/// What a dispatch touches of a resource that begins at a byte of its memory.
fn by_kernel(
    contents: &CommandBufferContents,
    command: &Command,
    id: ResourceId,
    base: u64,
) -> Option<Touched> {
    let Command::Dispatch { pipeline, bindings, binding_count, grid, immediates } = *command else {
        return None;
    };
    let kernel = contents.kernel(pipeline)?;
    let bound = contents.bindings().get(bindings as usize..(bindings + binding_count) as usize)?;
    let places = kernel.reflection().places(bound.len());
    let arrays = kernel.reflection().bindings.iter().map(|binding| binding.array.is_some());
    let sizes: Vec<u64> = places.iter().map(|place| bound.get(place.start).map_or(0, size)).collect();
    let values = contents.immediates().get(immediates.0 as usize..(immediates.0 + immediates.1) as usize)?;
    let is_it = |place: u32| contents.resources().get(place as usize).is_some_and(|used| used.key.id == id);
    let mut touched = Touched::by_kernel();
    let grid = match grid {
        Grid::Threads(threads) => ExtentGrid::Threads(threads),
        Grid::Threadgroups(groups) => ExtentGrid::Threadgroups(groups),
        Grid::Indirect(span) => {
            if is_it(span.resource) {
                touched.add_read(base + span.offset..base + span.offset + span.size);
            }
            ExtentGrid::Unknown
        }
    };
    for extent in kernel.extents(&ExtentQuery { grid, sizes: &sizes, immediates: values }) {
        match places.get(extent.index as usize).and_then(|place| bound.get(place.start)) {
            Some(Binding::Buffer(span)) if is_it(span.resource) => touched.add(&extent, base + span.offset),
            _ => {}
        }
    }
    for ((binding, place), _) in
        kernel.reflection().bindings.iter().zip(&places).zip(arrays).filter(|(_, is_array)| *is_array)
    {
        for element in bound.get(place.clone()).unwrap_or_default() {
            match element {
                Binding::Buffer(span) if is_it(span.resource) => {
                    let start = base + span.offset;
                    touched.add_perhaps(start..start + span.size, binding.reads, binding.writes);
                }
                _ => {}
            }
        }
    }
    Some(touched)
}

fn size(binding: &Binding) -> u64 {
    match binding {
        Binding::Buffer(span) => span.size,
        Binding::Texture { .. } | Binding::Sampler(_) | Binding::Nothing => 0,
    }
}
