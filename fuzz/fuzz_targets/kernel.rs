//! Any WGSL is compiled or refused by the interpreter and by machine code, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_cpu::{CpuBackend, CpuDescriptor, kernel::Engine};
use lockgate_runtime::{Device, DeviceDescriptor};
use std::sync::OnceLock;

static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();

fn devices() -> &'static [Device] {
    DEVICES.get_or_init(|| {
        let open = |engine| {
            let backend = CpuBackend::new(&CpuDescriptor { engine, ..Default::default() }).expect("threads");
            Device::new(Box::new(backend), DeviceDescriptor::default())
        };
        [Engine::Interpreter, Engine::Auto].map(open).into()
    })
}

fuzz_target!(|source: &str| {
    for device in devices() {
        let Ok(library) = device.new_library(source) else { return };
        for name in library.function_names() {
            // Compiled or refused; both are fine.
            let _ = device.new_compute_pipeline(&library, name);
        }
    }
});
