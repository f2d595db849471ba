//! What the backend keeps for itself: a kernel that checks sizes, and bytes to fill with.

use crate::gpu::Gpu;
use crate::indirect;
use crate::memory::{Buffer, Memory, Purpose};
use crate::pipeline::{Layout, Pipeline};
use crate::shader::Shader;
use ash::vk;
use lockgate_runtime::backend::{ComputePipelineSource, Native};
use lockgate_runtime::{Library, Result, StorageMode};
use std::sync::{Arc, OnceLock};

/// Bytes of each value in [`Tools::bytes`].
const REPEATED: u64 = 4;

/// The backend's own objects, made when they are first needed.
pub(crate) struct Tools {
    gpu: Arc<Gpu>,
    check_size: OnceLock<Result<Pipeline>>,
    bytes: OnceLock<Result<Buffer>>,
}

impl Tools {
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Tools {
        Tools { gpu: gpu.clone(), check_size: OnceLock::new(), bytes: OnceLock::new() }
    }

    /// The kernel of `indirect.rs`.
    pub(crate) fn check_size(&self) -> Result<&Pipeline> {
        let made = self.check_size.get_or_init(|| self.kernel(indirect::KERNEL, "check"));
        made.as_ref().map_err(Clone::clone)
    }

    fn kernel(&self, text: &str, entry_point: &str) -> Result<Pipeline> {
        let library = Library::new(text)?;
        let module = library.module();
        let source = ComputePipelineSource { module, entry_point, constants: &[], label: entry_point };
        let shader = Shader::new(&self.gpu, &source)?;
        let layout = Arc::new(Layout::new(&self.gpu, &Layout::key(&shader.slots))?);
        Pipeline::new(&self.gpu, layout, vk::PipelineCache::null(), shader, &source)
    }

    /// A buffer with each byte value several times, and where a value begins.
    pub(crate) fn bytes(&self, value: u8) -> Result<(&Buffer, u64)> {
        let made = self.bytes.get_or_init(|| {
            let buffer = self.shared_buffer(256 * REPEATED)?;
            let all: Vec<u8> = (0..=255u8).flat_map(|value| [value; REPEATED as usize]).collect();
            buffer.write_from(0, &all).map(|()| buffer)
        });
        let buffer = made.as_ref().map_err(Clone::clone)?;
        Ok((buffer, u64::from(value) * REPEATED))
    }

    /// A buffer that host and device share.
    pub(crate) fn shared_buffer(&self, size: u64) -> Result<Buffer> {
        self.buffer(size, StorageMode::Shared)
    }

    /// A buffer of the device.
    pub(crate) fn private_buffer(&self, size: u64) -> Result<Buffer> {
        self.buffer(size, StorageMode::Private)
    }

    fn buffer(&self, size: u64, storage: StorageMode) -> Result<Buffer> {
        let memory: Native = Arc::new(Memory::new(&self.gpu, size, storage, Purpose::Buffer)?);
        Buffer::new(&self.gpu, &memory, 0, size)
    }
}
