//! The driver's cache of pipelines on disk: written whole or not at all, and never trusted.
//!
//! Tested in the contract suite.

use crate::error::Fallible;
use crate::gpu::Gpu;
use ash::vk;
use lockgate_runtime::Result;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The driver's cache of pipelines, kept on disk between runs.
pub(crate) struct PipelineCache {
    gpu: Arc<Gpu>,
    pub(crate) raw: vk::PipelineCache,
    file: Option<PathBuf>,
    read: usize,
}

/// What the file begins with: its kind and version.
const MAGIC: &[u8; 8] = b"LGVKPC01";

impl PipelineCache {
    /// Reads the cache of this device from a folder. What is broken or another driver's is ignored with a log line.
    pub(crate) fn open(gpu: &Arc<Gpu>, folder: Option<&Path>) -> Result<PipelineCache> {
        // SAFETY: the instance is alive and the device is one of it.
        let properties = unsafe { gpu.instance.raw.get_physical_device_properties(gpu.physical) };
        let uuid: String = properties.pipeline_cache_uuid.iter().map(|byte| format!("{byte:02x}")).collect();
        let file = folder.map(|folder| folder.join(format!("{uuid}.pipelines")));
        let data =
            file.as_deref().and_then(|file| load(file, &properties.pipeline_cache_uuid)).unwrap_or_default();
        let info = vk::PipelineCacheCreateInfo::default().initial_data(&data);
        // SAFETY: the data is nothing, or what this driver once handed out, which a checksum says.
        let raw = unsafe { gpu.raw.create_pipeline_cache(&info, None) }.or_fail("making a pipeline cache")?;
        Ok(PipelineCache { gpu: gpu.clone(), raw, file, read: data.len() })
    }

    fn save(&self) {
        let Some(file) = &self.file else { return };
        // SAFETY: the cache is alive.
        let Ok(data) = (unsafe { self.gpu.raw.get_pipeline_cache_data(self.raw) }) else { return };
        if data.len() <= self.read {
            return;
        }
        if let Err(why) = write_whole(file, &data) {
            log::warn!("the pipeline cache {} cannot be written: {why}", file.display());
        }
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        self.save();
        // SAFETY: pipelines are made under the backend, which is going.
        unsafe { self.gpu.raw.destroy_pipeline_cache(self.raw, None) };
    }
}

fn load(file: &Path, uuid: &[u8]) -> Option<Vec<u8>> {
    let bytes = std::fs::read(file).ok()?;
    let rest = bytes.strip_prefix(MAGIC.as_slice()).and_then(|rest| rest.split_at_checked(8));
    let data = rest.and_then(|(sum, data)| (sum == checksum(data).to_le_bytes()).then_some(data));
    // The driver's own header has its name in bytes 16 to 32.
    let data = data.filter(|data| data.get(16..32) == Some(uuid));
    if data.is_none() {
        log::warn!("the pipeline cache {} is broken or another driver's: it is ignored", file.display());
    }
    data.map(<[u8]>::to_vec)
}

/// Writes a file of its own beside the old one, then puts it in its place.
fn write_whole(file: &Path, data: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&checksum(data).to_le_bytes());
    bytes.extend_from_slice(data);
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        // It may not even be there.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// FNV-1a: enough to know a file that was cut or mixed up.
fn checksum(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}
