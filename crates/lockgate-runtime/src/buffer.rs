//! Buffers, and the host's way into them, which never races the device.

use crate::backend::{MemoryUse, Native, StorageMode};
use crate::device::{Device, ResourceKey};
use crate::heap::{Aliasable, HeapInner};
use crate::shared::Shared;
use crate::{Error, ErrorKind, Result};
use bytemuck::Pod;
use lockgate_sync::{Access, AccessKind, HazardTrackingMode, MemoryId, ResourceDescriptor, ResourceKind};
use std::ops::Range;
use std::sync::Arc;

/// How a buffer is made.
///
/// ```
/// use lockgate_runtime::{BufferDescriptor, StorageMode};
/// let buffer = BufferDescriptor { size: 256, storage: StorageMode::Private, ..Default::default() };
/// assert_eq!(buffer.label, "");
/// ```
#[derive(Clone, Debug, Default)]
pub struct BufferDescriptor<'a> {
    /// Bytes, at least 1.
    pub size: u64,
    /// Whether the host can reach it. Default: shared.
    pub storage: StorageMode,
    /// Who orders its accesses. Default: tracked for a buffer of the device, untracked on a heap.
    pub hazard_tracking_mode: HazardTrackingMode,
    /// What messages and timelines call it.
    pub label: &'a str,
}

/// Linear memory. Cheap to clone; all clones are one buffer. It lives until the last clone is dropped and the
/// device is done with it.
///
/// ```
/// use lockgate_runtime::{BufferDescriptor, Device};
/// let device = Device::null();
/// let buffer = device.new_buffer(&BufferDescriptor { size: 16, ..Default::default() })?;
/// buffer.write(4, &[7u32])?;
/// assert_eq!(buffer.read::<u32>(0, 4)?, [0, 7, 0, 0]);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLBuffer")]
#[derive(Clone, Debug)]
pub struct Buffer(pub(crate) Arc<BufferInner>);

pub(crate) struct BufferInner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) key: ResourceKey,
    pub(crate) native: Native,
    pub(crate) memory: MemoryId,
    pub(crate) size: u64,
    pub(crate) storage: StorageMode,
    pub(crate) tracked: bool,
    pub(crate) label: String,
    pub(crate) place: Place,
}

/// Where a resource lives, and what becomes of the place when it is dropped.
#[derive(Debug)]
pub(crate) enum Place {
    Own(MemoryId),
    Heap { heap: Arc<HeapInner>, offset: u64, size: u64, aliasable: Aliasable },
}

impl std::fmt::Debug for BufferInner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer").field("label", &self.label).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Drop for BufferInner {
    fn drop(&mut self) {
        self.shared.drop_resource(self.key);
        self.place.release(&self.shared);
    }
}

/// Checks what any memory must fulfil.
pub(crate) fn check_size(shared: &Shared, size: u64, what: &str) -> Result<()> {
    let max = shared.backend.info().max_buffer_size;
    if size == 0 || size > max {
        return Err(Error::invalid(format!(
            "{what}: size {size} is not in 1..={max} bytes (max_buffer_size)"
        )));
    }
    Ok(())
}

impl Device {
    /// A buffer with memory of its own, filled with zeros.
    ///
    /// # Errors
    /// A size of 0 or above [`max_buffer_size`](crate::DeviceInfo::max_buffer_size); no memory left.
    #[doc(alias = "newBufferWithLength")]
    pub fn new_buffer(&self, descriptor: &BufferDescriptor<'_>) -> Result<Buffer> {
        let shared = &self.0;
        check_size(shared, descriptor.size, &format!("buffer `{}`", descriptor.label))?;
        let native_memory = shared
            .backend
            .allocate(descriptor.size, descriptor.storage, MemoryUse::Buffer)
            .map_err(|why| why.context(format!("buffer `{}`", descriptor.label)))?;
        let native = shared.backend.create_buffer(&native_memory, 0, descriptor.size)?;
        let memory = shared.new_memory();
        let tracked = descriptor.hazard_tracking_mode != HazardTrackingMode::Untracked;
        let resource = ResourceDescriptor {
            kind: ResourceKind::Buffer,
            memory,
            offset: 0,
            size: descriptor.size,
            tracked,
            unit: false,
        };
        let key = shared.new_resource(resource, native.clone(), descriptor.label);
        Ok(Buffer(Arc::new(BufferInner {
            shared: shared.clone(),
            key,
            native,
            memory,
            size: descriptor.size,
            storage: descriptor.storage,
            tracked,
            label: descriptor.label.to_owned(),
            place: Place::Own(memory),
        })))
    }

    /// A shared, tracked buffer with these contents.
    ///
    /// # Errors
    /// As [`Device::new_buffer`]; no data.
    #[doc(alias = "newBufferWithBytes")]
    pub fn new_buffer_with_data<T: Pod>(&self, data: &[T]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.new_buffer(&BufferDescriptor { size: bytes.len() as u64, ..Default::default() })?;
        buffer.write(0, data)?;
        Ok(buffer)
    }
}

impl Buffer {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// What messages call it.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// Whether the host can reach it.
    pub fn storage_mode(&self) -> StorageMode {
        self.0.storage
    }

    /// Whether conflicting accesses are ordered automatically; never `Default`.
    #[doc(alias = "hazardTrackingMode")]
    pub fn hazard_tracking_mode(&self) -> HazardTrackingMode {
        if self.0.tracked { HazardTrackingMode::Tracked } else { HazardTrackingMode::Untracked }
    }

    /// Its key in the tables of the device, as reports name it.
    pub fn key(&self) -> ResourceKey {
        self.0.key
    }

    /// Reads `count` values from byte `offset` on, once the device touches its memory no more.
    ///
    /// # Errors
    /// A private buffer; a range beyond its end.
    pub fn read<T: Pod>(&self, offset: u64, count: usize) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); count];
        self.read_into(offset, bytemuck::cast_slice_mut(&mut values), true)?;
        Ok(values)
    }

    /// Reads without waiting.
    ///
    /// # Errors
    /// As [`Buffer::read`]; [`ErrorKind::InUse`] if the device is using its memory.
    pub fn try_read<T: Pod>(&self, offset: u64, count: usize) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); count];
        self.read_into(offset, bytemuck::cast_slice_mut(&mut values), false)?;
        Ok(values)
    }

    /// Writes values from byte `offset` on, once the device touches its memory no more.
    ///
    /// # Errors
    /// A private buffer; a range beyond its end.
    pub fn write<T: Pod>(&self, offset: u64, values: &[T]) -> Result<()> {
        self.write_from(offset, bytemuck::cast_slice(values), true)
    }

    /// Writes without waiting.
    ///
    /// # Errors
    /// As [`Buffer::write`]; [`ErrorKind::InUse`] if the device is using its memory.
    pub fn try_write<T: Pod>(&self, offset: u64, values: &[T]) -> Result<()> {
        self.write_from(offset, bytemuck::cast_slice(values), false)
    }

    /// The address of its first byte on a device that shares its address space with the host, for a shared
    /// buffer. Nothing orders what is done through it: the caller sees to it that the device and other threads
    /// do not touch the same bytes meanwhile, and that the buffer lives.
    pub fn contents(&self) -> Option<*mut u8> {
        let shared = self.0.storage == StorageMode::Shared;
        shared.then(|| self.0.shared.backend.contents(&self.0.native)).flatten()
    }

    fn read_into(&self, offset: u64, into: &mut [u8], wait: bool) -> Result<()> {
        let range = self.host_range(offset, into.len())?;
        let access = Access::bytes(self.0.key.id, range.start, range.end, AccessKind::READ);
        let shared = &self.0.shared;
        shared.with_idle_memory(self.0.memory, wait, access, || {
            shared.backend.read_buffer(&self.0.native, offset, into)
        })
    }

    fn write_from(&self, offset: u64, bytes: &[u8], wait: bool) -> Result<()> {
        let range = self.host_range(offset, bytes.len())?;
        let access = Access::bytes(self.0.key.id, range.start, range.end, AccessKind::WRITE);
        let shared = &self.0.shared;
        shared.with_idle_memory(self.0.memory, wait, access, || {
            shared.backend.write_buffer(&self.0.native, offset, bytes)
        })
    }

    fn host_range(&self, offset: u64, size: usize) -> Result<Range<u64>> {
        let (label, length) = (&self.0.label, self.0.size);
        if self.0.storage == StorageMode::Private {
            let message = format!("buffer `{label}` is private: copy it to a shared buffer to reach it");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        match offset.checked_add(size as u64) {
            Some(end) if end <= length => Ok(offset..end),
            _ => Err(Error::invalid(format!(
                "bytes {offset}..{} are beyond the end of buffer `{label}` of {length} bytes",
                offset.saturating_add(size as u64)
            ))),
        }
    }
}
