//! GPUs by Vulkan. `disabled.rs` beside this file is the same without the feature.

use crate::DeviceReport;
use lockgate_runtime::{Device, DeviceDescriptor, Result};
use lockgate_vulkan::{AdapterKind, AdapterReport, VulkanBackend, VulkanDescriptor, adapters};
use std::path::PathBuf;

/// What there is: devices of hardware, and what is worse than the CPU device.
pub(crate) fn reports() -> (Vec<DeviceReport>, Vec<DeviceReport>) {
    let report = |adapter: AdapterReport| DeviceReport {
        name: format!("vulkan:{}", adapter.name),
        description: adapter.description,
        usable: adapter.usable,
    };
    let good = |adapter: &AdapterReport| adapter.usable.is_ok() && adapter.kind != AdapterKind::Software;
    let (hardware, rest): (Vec<_>, Vec<_>) = adapters().into_iter().partition(good);
    (hardware.into_iter().map(report).collect(), rest.into_iter().map(report).collect())
}

/// The best GPU, if there is one.
pub(crate) fn open_default(descriptor: &DeviceDescriptor) -> Option<Device> {
    let vulkan = VulkanDescriptor { pipeline_cache: cache_folder(), ..Default::default() };
    match VulkanBackend::open(&vulkan) {
        Ok(backend) => Device::open(Box::new(backend), descriptor.clone()).ok(),
        Err(why) => {
            log::info!("no GPU is used: {why}");
            None
        }
    }
}

/// A device that was asked for, also one that only acts as a GPU.
pub(crate) fn open(part: Option<&str>, descriptor: DeviceDescriptor) -> Result<Device> {
    let adapter = part.map(str::to_owned);
    let vulkan =
        VulkanDescriptor { adapter, software: true, pipeline_cache: cache_folder(), ..Default::default() };
    Device::open(Box::new(VulkanBackend::open(&vulkan)?), descriptor)
}

/// Where the user's caches are.
fn cache_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = if cfg!(windows) {
        folder("LOCALAPPDATA")
    } else {
        folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))
    };
    Some(caches?.join("lockgate"))
}
