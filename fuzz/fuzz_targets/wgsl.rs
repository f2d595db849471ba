//! No text makes the parser or the compiler of kernels panic: it becomes pipelines, or an error.

#![no_main]

use std::sync::LazyLock;

use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::{Device, DeviceDescriptor};

static DEVICE: LazyLock<Option<Device>> = LazyLock::new(|| {
    let backend = CpuBackend::new(&CpuDescriptor::default()).ok()?;
    Some(Device::new(Box::new(backend), DeviceDescriptor::default()))
});

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some(device) = &*DEVICE else { return };
    let Ok(library) = device.new_library(text) else { return };
    for name in library.function_names() {
        let _ = device.new_compute_pipeline(&library, name);
    }
});
