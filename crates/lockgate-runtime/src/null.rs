//! The smallest backend: it keeps memory for the host, completes everything in order, and runs nothing.
//!
//! It is the template for the next device, the double in tests, and the way to measure what recording costs.

use crate::backend::*;
use crate::{Error, ErrorKind, Result, SamplerDescriptor, TextureDescriptor};
use lockgate_sync::{CommitId, Graph, VertexKind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A device that runs nothing. Commands complete in the order in which they could run.
pub struct NullBackend {
    info: DeviceInfo,
    observer: OnceLock<Arc<dyn Observer>>,
    /// Vertices of submissions that have not been reported.
    submitted: Mutex<Vec<(Vec<SubmittedCommit>, Graph)>>,
}

impl Default for NullBackend {
    fn default() -> NullBackend {
        let info = DeviceInfo {
            name: "null".into(),
            description: "completes everything and runs nothing".into(),
            max_buffer_size: 1 << 32,
            max_texture_size: 16384,
            max_buffer_binding_size: 1 << 32,
            storage_offset_alignment: 4,
            uniform_offset_alignment: 4,
            max_threadgroups: 65535,
            max_immediates: 256,
        };
        NullBackend { info, observer: OnceLock::new(), submitted: Mutex::default() }
    }
}

/// Bytes that the host can reach. Memory is as long as its buffers have made it.
struct NullMemory(Mutex<Vec<u8>>);

struct NullResource {
    memory: Native,
    offset: u64,
    /// Bytes of a texel and of a row and a picture of each level; empty for a buffer.
    levels: Vec<(u64, u64, u64, u64)>,
}

impl NullResource {
    fn with_bytes<T>(&self, start: u64, size: usize, act: impl FnOnce(&mut [u8]) -> T) -> Result<T> {
        let memory = self.memory.downcast_ref::<NullMemory>().ok_or_else(foreign)?;
        let mut bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (self.offset + start) as usize;
        let end = start + size;
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        Ok(act(&mut bytes[start..end]))
    }

    /// Where a whole level of a slice lies.
    fn place(&self, span: &TextureSpan) -> (u64, usize) {
        let before: u64 = self.levels.iter().take(span.level as usize).map(|level| level.2).sum();
        let picture: u64 = self.levels.iter().map(|level| level.2).sum();
        let size = self.levels.get(span.level as usize).map_or(0, |level| level.2);
        (picture * u64::from(span.slice) + before, size as usize)
    }
}

fn foreign() -> Error {
    Error::new(ErrorKind::Invalid, "an object of another device")
}

fn levels(texture: &TextureDescriptor) -> Vec<(u64, u64, u64, u64)> {
    let texel = u64::from(texture.format.bytes_per_texel());
    let level = |level| {
        let [width, height, depth] = texture.level_size(level).map(u64::from);
        (texel, texel * width, texel * width * height * depth, depth)
    };
    (0..texture.mip_level_count).map(level).collect()
}

impl Backend for NullBackend {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn set_observer(&self, observer: Arc<dyn Observer>) {
        // Called once; a second observer would be a mistake of the runtime and is ignored.
        let _ = self.observer.set(observer);
    }

    fn allocate(&self, _size: u64, _storage: StorageMode, _usage: MemoryUse<'_>) -> Result<Native> {
        Ok(Arc::new(NullMemory(Mutex::default())))
    }

    fn texture_size_and_align(&self, texture: &TextureDescriptor) -> SizeAndAlign {
        let picture: u64 = levels(texture).iter().map(|level| level.2).sum();
        SizeAndAlign { size: picture * u64::from(texture.slice_count()), align: 256 }
    }

    fn create_buffer(&self, memory: &Native, offset: u64, _size: u64) -> Result<Native> {
        Ok(Arc::new(NullResource { memory: memory.clone(), offset, levels: Vec::new() }))
    }

    fn create_texture(&self, texture: &TextureDescriptor, memory: &Native, offset: u64) -> Result<Native> {
        Ok(Arc::new(NullResource { memory: memory.clone(), offset, levels: levels(texture) }))
    }

    fn create_sampler(&self, _sampler: &SamplerDescriptor) -> Result<Native> {
        Ok(Arc::new(()))
    }

    fn create_compute_pipeline(&self, _source: &ComputePipelineSource<'_>) -> Result<Native> {
        Ok(Arc::new(()))
    }

    fn contents(&self, _buffer: &Native) -> Option<*mut u8> {
        None
    }

    fn read_buffer(&self, buffer: &Native, offset: u64, into: &mut [u8]) -> Result<()> {
        let buffer = buffer.downcast_ref::<NullResource>().ok_or_else(foreign)?;
        buffer.with_bytes(offset, into.len(), |bytes| into.copy_from_slice(bytes))
    }

    fn write_buffer(&self, buffer: &Native, offset: u64, bytes: &[u8]) -> Result<()> {
        let buffer = buffer.downcast_ref::<NullResource>().ok_or_else(foreign)?;
        buffer.with_bytes(offset, bytes.len(), |own| own.copy_from_slice(bytes))
    }

    fn read_texture(&self, texture: &Native, from: &TextureSpan, into: &mut [u8]) -> Result<()> {
        let texture = texture.downcast_ref::<NullResource>().ok_or_else(foreign)?;
        let (start, size) = texture.place(from);
        texture.with_bytes(start, size.min(into.len()), |bytes| into[..bytes.len()].copy_from_slice(bytes))
    }

    fn write_texture(&self, texture: &Native, to: &TextureSpan, bytes: &[u8]) -> Result<()> {
        let texture = texture.downcast_ref::<NullResource>().ok_or_else(foreign)?;
        let (start, size) = texture.place(to);
        texture.with_bytes(start, size.min(bytes.len()), |own| own.copy_from_slice(&bytes[..own.len()]))
    }

    fn submit(&self, submission: Submission<'_>) -> Result<()> {
        let Submission { commits, graph } = submission;
        self.submitted.lock().unwrap_or_else(PoisonError::into_inner).push((commits, graph.clone()));
        Ok(())
    }

    fn is_busy(&self, _commit: CommitId) -> bool {
        false
    }

    fn help(&self, _done: &dyn Fn() -> bool) {
        let submitted = std::mem::take(&mut *self.submitted.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(observer) = self.observer.get() else { return };
        for vertex in submitted.iter().flat_map(|(_, graph)| &graph.vertices) {
            match vertex.kind {
                VertexKind::Signal { event, value } => observer.signaled(event, value),
                VertexKind::Complete(commit) => observer.completed(commit, CommitReport::default()),
                _ => {}
            }
        }
    }
}
