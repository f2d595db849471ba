//! Residency sets: which memory must be there while work runs. They order nothing.

use crate::buffer::Buffer;
use crate::device::Device;
use crate::{Heap, Texture};
use lockgate_sync::MemoryId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A set of allocations. Changes are staged until [`ResidencySet::commit`]. Cheap to clone.
///
/// Every device so far keeps all memory resident, so a set costs nothing and promises nothing about order:
/// a resource in it is not tracked because of it.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let buffer = device.new_buffer(&BufferDescriptor { size: 16, ..Default::default() })?;
/// let set = device.new_residency_set("all");
/// set.add_buffer(&buffer);
/// set.add_buffer(&buffer);
/// assert_eq!((set.allocation_count(), set.committed_count()), (1, 0));
/// set.commit();
/// assert_eq!(set.committed_count(), 1);
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "MTLResidencySet")]
#[derive(Clone, Debug)]
pub struct ResidencySet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    label: String,
    sets: Mutex<Sets>,
}

#[derive(Debug, Default)]
struct Sets {
    staged: BTreeSet<MemoryId>,
    committed: BTreeSet<MemoryId>,
}

impl Device {
    /// An empty set.
    #[doc(alias = "newResidencySetWithDescriptor")]
    pub fn new_residency_set(&self, label: &str) -> ResidencySet {
        ResidencySet(Arc::new(Inner { label: label.to_owned(), sets: Mutex::default() }))
    }
}

impl ResidencySet {
    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Stages a buffer; twice is once.
    pub fn add_buffer(&self, buffer: &Buffer) {
        self.sets().staged.insert(buffer.0.memory);
    }

    /// Stages a texture; twice is once.
    pub fn add_texture(&self, texture: &Texture) {
        self.sets().staged.insert(texture.inner.memory);
    }

    /// Stages a heap, which makes all its resources resident.
    pub fn add_heap(&self, heap: &Heap) {
        self.sets().staged.insert(heap.memory());
    }

    /// Stages the removal of a buffer that is on no heap.
    pub fn remove_buffer(&self, buffer: &Buffer) {
        self.sets().staged.remove(&buffer.0.memory);
    }

    /// Stages the removal of a texture that is on no heap.
    pub fn remove_texture(&self, texture: &Texture) {
        self.sets().staged.remove(&texture.inner.memory);
    }

    /// Stages the removal of a heap.
    pub fn remove_heap(&self, heap: &Heap) {
        self.sets().staged.remove(&heap.memory());
    }

    /// Stages the removal of everything.
    pub fn remove_all(&self) {
        self.sets().staged.clear();
    }

    /// Applies what is staged.
    pub fn commit(&self) {
        let mut sets = self.sets();
        sets.committed = sets.staged.clone();
    }

    /// How many allocations are in it, staged ones included.
    #[doc(alias = "allocationCount")]
    pub fn allocation_count(&self) -> usize {
        self.sets().staged.len()
    }

    /// How many allocations the last commit left in it.
    pub fn committed_count(&self) -> usize {
        self.sets().committed.len()
    }

    /// Whether a memory is in it, as of the last commit.
    pub(crate) fn holds(&self, memory: MemoryId) -> bool {
        self.sets().committed.contains(&memory)
    }

    fn sets(&self) -> MutexGuard<'_, Sets> {
        self.0.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
