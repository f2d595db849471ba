//! How large a heap of a file is on a device.
//!
//! A file counts bytes as the model does: texels packed. A device may need more for the same texture, so its heap grows in
//! the same measure. On the CPU device both are the same. Deliberately absent: placing resources (the runtime does).

use crate::program::file::{Heap, Kind, ProgramFile, texture_size};
use lockgate_runtime::{Device, HeapType, Result};

/// Bytes of a heap that holds on the device what it holds in the model.
pub(super) fn size_on(device: &Device, file: &ProgramFile, index: usize) -> Result<u64> {
    let heap = &file.heaps[index];
    let mut size = heap.size;
    for resource in file.resources.iter().filter(|resource| resource.heap == Some(index)) {
        let Kind::Texture { descriptor } = &resource.kind else { continue };
        let (need, counted) = (device.texture_size_and_align(descriptor)?, texture_size(descriptor));
        size = size.max(match heap.kind {
            HeapType::Automatic => scaled(heap, need.align_up(need.size), counted),
            HeapType::Placement => resource.offset.saturating_add(need.size),
        });
    }
    Ok(size)
}

/// The heap's size in the measure in which a texture of it grows; room for as many of them as the model has.
fn scaled(heap: &Heap, need: u64, counted: u64) -> u64 {
    if need <= counted {
        return heap.size;
    }
    let size = u128::from(heap.size) * u128::from(need) / u128::from(counted.max(1));
    u64::try_from(size).unwrap_or(u64::MAX)
}
