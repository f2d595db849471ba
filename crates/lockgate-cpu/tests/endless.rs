//! A kernel that does not end is stopped at its limit, on every engine, and no thread stays behind. Alone in its
//! process, so that threads can be counted.

use lockgate_cpu::kernel::{Engine, Lanes};
use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;
use std::time::Duration;

const SOURCE: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
var<workgroup> words: array<u32, 8>;
@compute @workgroup_size(8) fn plain() { loop { data[0] += 1u; if data[0] == 7u && data[1] == 9u { break; } } }
@compute @workgroup_size(8) fn apart(@builtin(local_invocation_index) l: u32) {
    loop { if data[1] == 9u + l { break; } if l == 3u { return; } }
}
@compute @workgroup_size(8) fn barriers() { loop { workgroupBarrier(); if data[1] == 9u { words[0] = 1u; } } }
@compute @workgroup_size(8) fn together(@builtin(local_invocation_index) l: u32) {
    loop { if subgroupAdd(data[1]) == 9u { break; } }
}
";

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

#[test]
fn endless_kernels_end() {
    let before = threads();
    for (engine, lanes) in
        [(Engine::Interpreter, Lanes::One), (Engine::Jit, Lanes::One), (Engine::Jit, Lanes::Four)]
    {
        let time_limit = Duration::from_millis(30);
        let cpu = CpuDescriptor { engine, lanes, time_limit, threads: 3, ..Default::default() };
        let device = Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), DeviceDescriptor::default());
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let library = device.new_library(SOURCE).unwrap();
        let data = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() }).unwrap();
        for kernel in library.function_names() {
            let pipeline = device.new_compute_pipeline(&library, kernel).unwrap();
            let table = device.new_argument_table();
            table.set_buffer("data", &data);
            let allocator = device.new_command_allocator("");
            let mut commands = device.new_command_buffer("");
            commands.begin(&allocator);
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&pipeline);
            encoder.set_argument_table(&table);
            // More than one part, and a part of a workgroup.
            encoder.dispatch_threads([5000, 1, 1]);
            encoder.end_encoding();
            commands.end().unwrap();
            let error = queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{kernel} {engine:?} {lanes:?}: {error}");
        }
        drop((data, library, queue, device));
        assert_eq!(threads(), before, "{engine:?} {lanes:?}");
    }
}
