//! Memory, and the buffers in it.
//!
//! A resource of its own and a heap are one allocation each. What the host shares is mapped for as long as it lives, and
//! coherent. Deliberately absent: textures (`texture.rs`). Tested in the contract suite.

use crate::error::{Fallible, error};
use crate::gpu::Gpu;
use ash::vk;
use gpu_allocator::vulkan::{Allocation, AllocationCreateDesc, AllocationScheme};
use gpu_allocator::{AllocationError, MemoryLocation};
use lockgate_runtime::backend::Native;
use lockgate_runtime::{Error, ErrorKind, Result, StorageMode};
use std::sync::Arc;

/// Buffers and heaps begin at a multiple of this.
const ALIGN: u64 = 256;

/// Memory of the device.
pub(crate) struct Memory {
    gpu: Arc<Gpu>,
    /// Gone once it is being given back.
    allocation: Option<Allocation>,
    memory: vk::DeviceMemory,
    /// Where the allocation begins in `memory`.
    start: u64,
    /// The type of memory, as a bit.
    pub(crate) type_bit: u32,
    /// Whether it holds one resource, which begins with zeros.
    pub(crate) alone: bool,
}

/// What is to be put into memory.
pub(crate) enum Purpose {
    /// One buffer.
    Buffer,
    /// One image with these demands.
    Image(vk::MemoryRequirements),
    /// Several of both.
    Heap,
}

impl Memory {
    pub(crate) fn new(gpu: &Arc<Gpu>, size: u64, storage: StorageMode, purpose: Purpose) -> Result<Memory> {
        // A texture of its own is reached by copies, so it lives where the device is fastest.
        let host = storage == StorageMode::Shared && !matches!(purpose, Purpose::Image(_));
        let bits = match &purpose {
            Purpose::Buffer => buffer_needs(gpu, size).memory_type_bits,
            Purpose::Image(needs) => needs.memory_type_bits,
            Purpose::Heap => {
                let buffers = buffer_needs(gpu, ALIGN).memory_type_bits;
                let both = buffers & crate::texture::common_type_bits(gpu);
                // Where no memory takes both, a heap holds buffers, and a texture on it is refused.
                if choose(gpu, both, host).is_some() { both } else { buffers }
            }
        };
        let Some((index, flags)) = choose(gpu, bits, host) else {
            let message = "the device has no memory of this kind that the host can reach";
            return Err(Error::new(ErrorKind::Unsupported, message));
        };
        let granularity = if matches!(purpose, Purpose::Buffer) { 1 } else { gpu.limits.granularity };
        let alignment = match purpose {
            Purpose::Image(needs) => needs.alignment,
            _ => ALIGN,
        };
        let requirements = vk::MemoryRequirements {
            // Buffers of a heap may end a little beyond it, by their own rounding.
            size: size.next_multiple_of(ALIGN.max(granularity)),
            alignment: alignment.max(granularity),
            memory_type_bits: 1 << index,
        };
        let alone = !matches!(purpose, Purpose::Heap);
        let location = match (host, flags.contains(vk::MemoryPropertyFlags::HOST_CACHED)) {
            (false, _) => MemoryLocation::GpuOnly,
            (true, true) => MemoryLocation::GpuToCpu,
            (true, false) => MemoryLocation::CpuToGpu,
        };
        let descriptor = AllocationCreateDesc {
            name: "lockgate",
            requirements,
            location,
            linear: matches!(purpose, Purpose::Buffer),
            allocation_scheme: AllocationScheme::GpuAllocatorManaged,
        };
        let mut allocator = gpu.allocator();
        let Some(allocator) = allocator.as_mut() else {
            return Err(Error::new(ErrorKind::DeviceLost, "the device is closed"));
        };
        if gpu.faults.lacks_memory() {
            return Err(exhausted(size, &AllocationError::OutOfMemory));
        }
        let allocation = allocator.allocate(&descriptor).map_err(|why| exhausted(size, &why))?;
        // SAFETY: the memory is used for binding and mapped access alone, and not after the allocation is given back.
        let memory = unsafe { allocation.memory() };
        let start = allocation.offset();
        let memory = Memory {
            gpu: gpu.clone(),
            allocation: Some(allocation),
            memory,
            start,
            type_bit: 1 << index,
            alone,
        };
        memory.clear();
        Ok(memory)
    }

    /// Its first byte, if the host can reach it.
    pub(crate) fn mapped(&self) -> Option<*mut u8> {
        Some(self.allocation.as_ref()?.mapped_ptr()?.as_ptr().cast())
    }

    fn clear(&self) {
        let Some(size) = self.allocation.as_ref().map(Allocation::size) else { return };
        if let Some(start) = self.mapped() {
            // SAFETY: the allocation is mapped with this size, and nobody else knows of it yet.
            unsafe { start.write_bytes(0, size as usize) };
        }
    }

    /// Memory and offset to bind at.
    pub(crate) fn place(&self, offset: u64) -> (vk::DeviceMemory, u64) {
        (self.memory, self.start + offset)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let (Some(allocation), Some(allocator)) = (self.allocation.take(), self.gpu.allocator().as_mut())
            && let Err(why) = allocator.free(allocation)
        {
            log::error!("memory could not be given back: {why}");
        }
    }
}

fn exhausted(size: u64, why: &AllocationError) -> Error {
    Error::new(ErrorKind::OutOfMemory, format!("{size} bytes of memory are not to be had: {why}"))
}

/// The best type of memory among `bits`.
fn choose(gpu: &Gpu, bits: u32, host: bool) -> Option<(u32, vk::MemoryPropertyFlags)> {
    use vk::MemoryPropertyFlags as F;
    // SAFETY: the instance is alive and the device is one of it.
    let properties = unsafe { gpu.instance.raw.get_physical_device_memory_properties(gpu.physical) };
    let types = properties.memory_types_as_slice();
    let shared = F::HOST_VISIBLE | F::HOST_COHERENT;
    let wishes = if host { [shared | F::HOST_CACHED, shared] } else { [F::DEVICE_LOCAL, F::empty()] };
    let unusual = F::LAZILY_ALLOCATED | F::PROTECTED | F::DEVICE_COHERENT_AMD;
    wishes.iter().find_map(|wish| {
        let fits = |(index, kind): &(usize, &vk::MemoryType)| {
            bits & (1 << index) != 0
                && kind.property_flags.contains(*wish)
                && !kind.property_flags.intersects(unusual)
        };
        let (index, kind) = types.iter().enumerate().find(fits)?;
        Some((index as u32, kind.property_flags))
    })
}

/// A range of memory that commands and kernels use.
pub(crate) struct Buffer {
    pub(crate) gpu: Arc<Gpu>,
    pub(crate) raw: vk::Buffer,
    pub(crate) size: u64,
    memory: Arc<Memory>,
    offset: u64,
}

fn buffer_info(gpu: &Gpu, size: u64) -> vk::BufferCreateInfo<'_> {
    use vk::BufferUsageFlags as U;
    let (mode, families) = gpu.sharing();
    vk::BufferCreateInfo::default()
        .size(size)
        .usage(U::TRANSFER_SRC | U::TRANSFER_DST | U::STORAGE_BUFFER | U::UNIFORM_BUFFER | U::INDIRECT_BUFFER)
        .sharing_mode(mode)
        .queue_family_indices(families)
}

fn buffer_needs(gpu: &Gpu, size: u64) -> vk::MemoryRequirements {
    let info = buffer_info(gpu, size);
    let question = vk::DeviceBufferMemoryRequirements::default().create_info(&info);
    let mut answer = vk::MemoryRequirements2::default();
    // SAFETY: the device is alive and the question describes a buffer that it could make.
    unsafe { gpu.raw.get_device_buffer_memory_requirements(&question, &mut answer) };
    answer.memory_requirements
}

impl Buffer {
    pub(crate) fn new(gpu: &Arc<Gpu>, memory: &Native, offset: u64, size: u64) -> Result<Buffer> {
        let memory = native::<Memory>(memory)?;
        let info = buffer_info(gpu, size);
        // SAFETY: the device is alive, and the size is within its limits, which the runtime has checked.
        let raw = unsafe { gpu.raw.create_buffer(&info, None) }.or_fail("making a buffer")?;
        let buffer = Buffer { gpu: gpu.clone(), raw, size, memory, offset };
        let (place, start) = buffer.memory.place(offset);
        // SAFETY: the buffer is new, and the range is inside the allocation, rounded up as the driver rounds.
        let bound = unsafe { gpu.raw.bind_buffer_memory(raw, place, start) };
        bound.or_fail("putting a buffer into memory")?;
        Ok(buffer)
    }

    /// Whether it should begin with zeros and the host could not see to that.
    pub(crate) fn is_uncleared(&self) -> bool {
        self.memory.alone && self.memory.mapped().is_none()
    }

    /// Its first byte, if the host can reach it.
    pub(crate) fn mapped(&self) -> Option<*mut u8> {
        // SAFETY: the buffer is inside its memory.
        self.memory.mapped().map(|start| unsafe { start.add(self.offset as usize) })
    }

    pub(crate) fn read_into(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let from = self.host(offset, into.len())?;
        // SAFETY: the range is inside the mapping, the runtime has made sure that the device leaves it alone, and
        // `into` is memory of the caller.
        unsafe { from.copy_to_nonoverlapping(into.as_mut_ptr(), into.len()) };
        Ok(())
    }

    pub(crate) fn write_from(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let to = self.host(offset, bytes.len())?;
        // SAFETY: as above, the other way.
        unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }

    fn host(&self, offset: u64, size: usize) -> Result<*mut u8> {
        let inside = offset.checked_add(size as u64).is_some_and(|end| end <= self.size);
        match self.mapped() {
            // SAFETY: the offset is inside the buffer, and so inside the mapping.
            Some(start) if inside => Ok(unsafe { start.add(offset as usize) }),
            _ => Err(error("reaching a buffer", vk::Result::ERROR_MEMORY_MAP_FAILED)),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: batches in flight hold the buffers that they use, so nothing uses it any more.
        unsafe { self.gpu.raw.destroy_buffer(self.raw, None) };
    }
}

/// An object of this backend behind the runtime's handle.
pub(crate) fn native<T: Send + Sync + 'static>(object: &Native) -> Result<Arc<T>> {
    let foreign = |_| Error::new(ErrorKind::Invalid, "an object of another device");
    object.clone().downcast::<T>().map_err(foreign)
}
