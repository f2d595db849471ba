//! Heaps: memory that several resources share, also at the same time.

use crate::backend::{MemoryUse, Native, StorageMode};
use crate::buffer::{Buffer, BufferDescriptor, BufferInner, Place, check_size};
use crate::device::Device;
use crate::shared::Shared;
use crate::texture::{Texture, TextureDescriptor};
use crate::{Error, ErrorKind, Result};
use lockgate_sync::{HazardTrackingMode, MemoryId, ResourceDescriptor, ResourceKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Who places resources on a heap.
///
/// ```
/// assert_eq!(lockgate_runtime::HeapType::default(), lockgate_runtime::HeapType::Automatic);
/// ```
#[doc(alias = "MTLHeapType")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeapType {
    /// The heap; memory is used again after [`Buffer::make_aliasable`] or a drop.
    #[default]
    Automatic,
    /// The program, by offsets. Ranges that overlap alias.
    Placement,
}

/// How a heap is made.
///
/// ```
/// use lockgate_runtime::{HeapDescriptor, StorageMode};
/// assert_eq!(HeapDescriptor::default().storage, StorageMode::Private);
/// ```
#[doc(alias = "MTLHeapDescriptor")]
#[derive(Clone, Debug)]
pub struct HeapDescriptor<'a> {
    /// Bytes, at least 1.
    pub size: u64,
    /// Who places. Default: the heap.
    pub heap_type: HeapType,
    /// Whether the host can reach its resources. Default: private.
    pub storage: StorageMode,
    /// Who orders accesses. Default: untracked. A tracked heap is one unit: a write to one of its resources
    /// is ordered against every access of every other, unless a resource opts out (A22).
    pub hazard_tracking_mode: HazardTrackingMode,
    /// What messages call it.
    pub label: &'a str,
}

impl Default for HeapDescriptor<'_> {
    fn default() -> Self {
        HeapDescriptor {
            size: 0,
            heap_type: HeapType::Automatic,
            storage: StorageMode::Private,
            hazard_tracking_mode: HazardTrackingMode::Default,
            label: "",
        }
    }
}

/// Memory for resources. Cheap to clone.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let heap = device.new_heap(&HeapDescriptor { size: 4096, ..Default::default() })?;
/// let one = heap.new_buffer(&BufferDescriptor { size: 4096, ..Default::default() })?;
/// assert!(heap.new_buffer(&BufferDescriptor { size: 1, ..Default::default() }).is_err(), "full");
/// one.make_aliasable()?;
/// let two = heap.new_buffer(&BufferDescriptor { size: 4096, ..Default::default() })?;
/// # let _ = two; Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLHeap")]
#[derive(Clone, Debug)]
pub struct Heap(Arc<HeapInner>);

pub(crate) struct HeapInner {
    shared: Arc<Shared>,
    native: Native,
    memory: MemoryId,
    size: u64,
    heap_type: HeapType,
    storage: StorageMode,
    tracked: bool,
    label: String,
    /// Free stretches of an automatic heap by rising offset, none touching the next.
    free: Mutex<Vec<(u64, u64)>>,
    used: Mutex<u64>,
}

impl std::fmt::Debug for HeapInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heap").field("label", &self.label).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for HeapInner {
    fn drop(&mut self) {
        self.shared.drop_memory(self.memory);
    }
}

/// Whether a resource has given its memory back before its end.
#[derive(Debug, Default)]
pub(crate) struct Aliasable(AtomicBool);

impl Device {
    /// A heap.
    ///
    /// # Errors
    /// A size of 0 or above [`max_buffer_size`](crate::DeviceInfo::max_buffer_size); no memory left.
    #[doc(alias = "newHeapWithDescriptor")]
    pub fn new_heap(&self, descriptor: &HeapDescriptor<'_>) -> Result<Heap> {
        check_size(&self.0, descriptor.size, &format!("heap `{}`", descriptor.label))?;
        let native = self.0.backend.allocate(descriptor.size, descriptor.storage, MemoryUse::Heap);
        let native = native.map_err(|why| why.context(format!("heap `{}`", descriptor.label)))?;
        Ok(Heap(Arc::new(HeapInner {
            shared: self.0.clone(),
            native,
            memory: self.0.new_memory(),
            size: descriptor.size,
            heap_type: descriptor.heap_type,
            storage: descriptor.storage,
            tracked: descriptor.hazard_tracking_mode == HazardTrackingMode::Tracked,
            label: descriptor.label.to_owned(),
            free: Mutex::new(vec![(0, descriptor.size)]),
            used: Mutex::new(0),
        })))
    }
}

impl Heap {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Bytes that resources hold; those made aliasable do not count. On a placement heap, bytes of live resources.
    pub fn used_size(&self) -> u64 {
        *self.0.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The largest resource of an alignment that an automatic heap has room for; 0 for a placement heap.
    #[doc(alias = "maxAvailableSizeWithAlignment")]
    pub fn max_available_size(&self, align: u64) -> u64 {
        if self.0.heap_type == HeapType::Placement {
            return 0;
        }
        let align = align.max(1).next_power_of_two();
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner);
        let room = |(start, end): &(u64, u64)| end.saturating_sub(start.next_multiple_of(align));
        free.iter().map(room).max().unwrap_or(0)
    }

    /// A buffer on the heap. Its storage is the heap's.
    ///
    /// # Errors
    /// A placement heap; a size of 0; [`ErrorKind::OutOfMemory`] if there is no room.
    pub fn new_buffer(&self, descriptor: &BufferDescriptor<'_>) -> Result<Buffer> {
        let align = self.device().buffer_size_and_align(descriptor.size).align;
        let offset = self.0.take(descriptor.size, align, descriptor.label)?;
        self.buffer_at(descriptor, offset)
    }

    /// A buffer at an offset of a placement heap.
    ///
    /// # Errors
    /// An automatic heap; an offset that is not aligned to 256 bytes; an end beyond the heap.
    pub fn new_buffer_at(&self, descriptor: &BufferDescriptor<'_>, offset: u64) -> Result<Buffer> {
        let align = self.device().buffer_size_and_align(descriptor.size).align;
        self.0.place(offset, descriptor.size, align, descriptor.label)?;
        self.buffer_at(descriptor, offset)
    }

    /// A texture on the heap. Its storage is the heap's.
    ///
    /// # Errors
    /// A placement heap; sides out of range; [`ErrorKind::OutOfMemory`] if there is no room.
    pub fn new_texture(&self, descriptor: &TextureDescriptor) -> Result<Texture> {
        let need = self.device().texture_size_and_align(descriptor)?;
        let offset = self.0.take(need.size, need.align, &descriptor.label)?;
        self.texture_at(descriptor, offset, need.size)
    }

    /// A texture at an offset of a placement heap.
    ///
    /// # Errors
    /// An automatic heap; an offset that is not aligned; an end beyond the heap; sides out of range.
    pub fn new_texture_at(&self, descriptor: &TextureDescriptor, offset: u64) -> Result<Texture> {
        let need = self.device().texture_size_and_align(descriptor)?;
        self.0.place(offset, need.size, need.align, &descriptor.label)?;
        self.texture_at(descriptor, offset, need.size)
    }

    pub(crate) fn memory(&self) -> MemoryId {
        self.0.memory
    }

    fn device(&self) -> Device {
        Device(self.0.shared.clone())
    }

    fn buffer_at(&self, descriptor: &BufferDescriptor<'_>, offset: u64) -> Result<Buffer> {
        let heap = &self.0;
        let size = descriptor.size;
        let native = heap.shared.backend.create_buffer(&heap.native, offset, size)?;
        let (tracked, unit) = heap.tracking(descriptor.hazard_tracking_mode);
        let kind = ResourceKind::Buffer;
        let resource = ResourceDescriptor { kind, memory: heap.memory, offset, size, tracked, unit };
        let key = heap.shared.new_resource(resource, native.clone(), descriptor.label);
        Ok(Buffer(Arc::new(BufferInner {
            shared: heap.shared.clone(),
            key,
            native,
            memory: heap.memory,
            size,
            storage: heap.storage,
            tracked,
            label: descriptor.label.to_owned(),
            place: heap.hold(offset, size),
        })))
    }

    fn texture_at(&self, descriptor: &TextureDescriptor, offset: u64, size: u64) -> Result<Texture> {
        let heap = &self.0;
        let descriptor = TextureDescriptor { storage: heap.storage, ..descriptor.clone() };
        let tracking = heap.tracking(descriptor.hazard_tracking_mode);
        let place = heap.hold(offset, size);
        Texture::new(&heap.shared, &descriptor, (&heap.native, heap.memory, offset, size), tracking, place)
    }
}

impl Buffer {
    /// Hands its memory back to its automatic heap: resources made from now on may alias it. Commands that
    /// were encoded before still use it, so the program must order them before the first use of the new one.
    ///
    /// # Errors
    /// A buffer that is on no automatic heap.
    #[doc(alias = "makeAliasable")]
    pub fn make_aliasable(&self) -> Result<()> {
        self.0.place.make_aliasable(&self.0.label)
    }

    /// Whether [`Buffer::make_aliasable`] was called.
    #[doc(alias = "isAliasable")]
    pub fn is_aliasable(&self) -> bool {
        self.0.place.is_aliasable()
    }
}

impl Texture {
    /// Hands its memory back to its automatic heap; see [`Buffer::make_aliasable`].
    ///
    /// # Errors
    /// A texture that is on no automatic heap.
    #[doc(alias = "makeAliasable")]
    pub fn make_aliasable(&self) -> Result<()> {
        self.inner.place.make_aliasable(self.label())
    }

    /// Whether [`Texture::make_aliasable`] was called.
    #[doc(alias = "isAliasable")]
    pub fn is_aliasable(&self) -> bool {
        self.inner.place.is_aliasable()
    }
}

impl Place {
    pub(crate) fn release(&self, shared: &Shared) {
        match self {
            Place::Own(memory) => shared.drop_memory(*memory),
            Place::Heap { heap, offset, size, aliasable } => {
                if !aliasable.0.swap(true, Ordering::AcqRel) {
                    heap.give_back(*offset, *size);
                }
            }
        }
    }

    fn make_aliasable(&self, label: &str) -> Result<()> {
        match self {
            Place::Heap { heap, offset, size, aliasable } if heap.heap_type == HeapType::Automatic => {
                if !aliasable.0.swap(true, Ordering::AcqRel) {
                    heap.give_back(*offset, *size);
                }
                Ok(())
            }
            _ => Err(Error::invalid(format!(
                "`{label}` is on no automatic heap, so it cannot be made aliasable"
            ))),
        }
    }

    fn is_aliasable(&self) -> bool {
        matches!(self, Place::Heap { aliasable, .. } if aliasable.0.load(Ordering::Acquire))
    }
}

impl HeapInner {
    /// Whether a resource is tracked, and as a member of the heap's unit (`semantics` 3.3, 3.5, A22).
    fn tracking(&self, mode: HazardTrackingMode) -> (bool, bool) {
        let member = self.tracked && mode != HazardTrackingMode::Untracked;
        (member, member)
    }

    fn hold(self: &Arc<HeapInner>, offset: u64, size: u64) -> Place {
        Place::Heap { heap: self.clone(), offset, size, aliasable: Aliasable::default() }
    }

    /// The first stretch of an automatic heap that has room.
    fn take(&self, size: u64, align: u64, what: &str) -> Result<u64> {
        if self.heap_type == HeapType::Placement {
            let message = format!("heap `{}` is a placement heap: `{what}` needs an offset", self.label);
            return Err(Error::invalid(message));
        }
        if size == 0 {
            return Err(Error::invalid(format!("`{what}` has no bytes")));
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |(start, end): &(u64, u64)| {
            start.next_multiple_of(align).checked_add(size).is_some_and(|stop| stop <= *end)
        };
        let Some(at) = free.iter().position(fits) else {
            let message = format!("heap `{}` has no room for the {size} bytes of `{what}`", self.label);
            return Err(Error::new(ErrorKind::OutOfMemory, message));
        };
        let (start, end) = free.remove(at);
        let offset = start.next_multiple_of(align);
        let rest = [(offset + size, end), (start, offset)];
        rest.into_iter().filter(|(start, end)| start < end).for_each(|piece| free.insert(at, piece));
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) += size;
        Ok(offset)
    }

    fn place(&self, offset: u64, size: u64, align: u64, what: &str) -> Result<()> {
        let (label, length) = (&self.label, self.size);
        if self.heap_type == HeapType::Automatic {
            return Err(Error::invalid(format!(
                "heap `{label}` places resources itself: give no offset for `{what}`"
            )));
        }
        if size == 0 || offset.checked_add(size).is_none_or(|end| end > length) {
            let end = offset.saturating_add(size);
            return Err(Error::invalid(format!(
                "`{what}` at {offset}..{end} is not inside heap `{label}` of {length} bytes"
            )));
        }
        if !offset.is_multiple_of(align) {
            return Err(Error::invalid(format!(
                "`{what}` at {offset} of heap `{label}` is not aligned to {align}"
            )));
        }
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) += size;
        Ok(())
    }

    fn give_back(&self, offset: u64, size: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.saturating_sub(size);
        drop(used);
        if self.heap_type == HeapType::Placement {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.partition_point(|(start, _)| *start < offset);
        free.insert(at, (offset, offset + size));
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(free.len());
        for (start, end) in free.drain(..) {
            match merged.last_mut() {
                Some(last) if last.1 >= start => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        *free = merged;
    }
}
