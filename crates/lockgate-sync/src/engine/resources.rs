//! Memories and resources: made, looked up, removed.

use super::Engine;
use super::memory::{Memories, Memory};
use crate::{Access, MemoryId, Region, ResourceDescriptor, ResourceId, ResourceKind};

impl Memories {
    /// A resource and its serial number.
    pub(crate) fn get(&self, id: ResourceId) -> Option<(&ResourceDescriptor, u64)> {
        self.resources.get(id.index())?.as_ref().map(|(resource, serial)| (resource, *serial))
    }

    /// Whether two accesses touch common memory that tracking orders.
    pub(crate) fn tracked_overlap(&self, a: &Access, b: &Access) -> bool {
        let (Some((x, _)), Some((y, _))) = (self.get(a.resource), self.get(b.resource)) else { return false };
        let tracked = (x.tracked || x.unit) && (y.tracked || y.unit);
        if !tracked || x.memory != y.memory {
            return false;
        }
        if a.resource == b.resource && matches!(x.kind, ResourceKind::Texture { .. }) && !x.unit {
            return a.region.texels().overlaps(&b.region.texels());
        }
        let physical = |region: &Region, of| region.physical(of);
        let ((s, e), (t, f)) = (physical(&a.region, x), physical(&b.region, y));
        (x.unit && y.unit) || s.max(t) < e.min(f)
    }
}

impl Engine {
    /// Adds a memory: a heap, or the own memory of a resource.
    pub fn add_memory(&mut self) -> MemoryId {
        let memories = &mut self.memories;
        if let Some(id) = memories.free_memories.pop() {
            return id;
        }
        memories.memories.push(Memory::default());
        MemoryId(memories.memories.len() as u32 - 1)
    }

    /// Forgets a memory whose resources are gone and whose works are done. Its id may come back.
    pub fn remove_memory(&mut self, id: MemoryId) {
        let is_in = |engine: &Engine, of| engine.resource(of).is_some_and(|resource| resource.memory == id);
        self.recalling(|recall, engine| recall.remove(engine, is_in));
        if let Some(memory) = self.memories.memories.get_mut(id.index()) {
            *memory = Memory::default();
            self.memories.free_memories.push(id);
        }
    }

    /// Adds a resource. If its memory does not exist, it gets one of its own.
    pub fn add_resource(&mut self, mut resource: ResourceDescriptor) -> ResourceId {
        if !self.memories.free_resources.is_empty() {
            self.recalling(|recall, engine| recall.forget_all(engine));
        }
        if resource.memory.index() >= self.memories.memories.len() {
            resource.memory = self.add_memory();
        }
        let memories = &mut self.memories;
        let serial = memories.resources_made;
        memories.resources_made += 1;
        let entry = Some((resource, serial));
        match memories.free_resources.pop() {
            Some(id) => {
                memories.resources[id as usize] = entry;
                ResourceId(id)
            }
            None => {
                memories.resources.push(entry);
                ResourceId(memories.resources.len() as u32 - 1)
            }
        }
    }

    /// Removes a resource. What it did to its memory stays known, so that an alias is still compared with it;
    /// its id comes back only when nothing names it any more.
    pub fn remove_resource(&mut self, id: ResourceId) {
        self.recalling(|recall, engine| recall.remove(engine, |_, resource| resource == id));
        if let Some(entry) = self.memories.resources.get_mut(id.index())
            && entry.take().is_some()
        {
            self.memories.retired_resources.push(id.0);
            if self.memories.retired_resources.len() > super::compact::RETIRED_MAX {
                self.compact();
            }
        }
    }

    /// Forgets an event that nobody can name any more.
    pub fn remove_event(&mut self, event: crate::EventId) {
        self.recalling(|recall, engine| recall.remove_event(engine, event));
        self.events.remove(&event);
    }

    /// Forgets a fence that nobody can name any more.
    pub fn remove_fence(&mut self, fence: crate::FenceId) {
        self.recalling(|recall, engine| recall.forget_all(engine));
        self.fences.remove(&fence);
    }

    /// The resource with this id.
    pub fn resource(&self, id: ResourceId) -> Option<&ResourceDescriptor> {
        self.memories.get(id).map(|(resource, _)| resource)
    }
}
