//! What passes of one command buffer share and do not share.

use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;

const ADD: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(1) fn one(@builtin(global_invocation_id) id: vec3u) { data[id.x] += 1u; }
@compute @workgroup_size(1) fn ten(@builtin(global_invocation_id) id: vec3u) { data[id.x] += 10u; }";

struct Bench {
    device: Device,
    one: ComputePipeline,
    ten: ComputePipeline,
    a: Buffer,
    b: Buffer,
}

impl Bench {
    fn new() -> Bench {
        let backend = CpuBackend::new(&CpuDescriptor::default()).expect("the CPU device opens");
        let device = Device::new(Box::new(backend), DeviceDescriptor::default());
        let library = device.new_library(ADD).expect("valid");
        let [one, ten] = ["one", "ten"].map(|name| device.new_compute_pipeline(&library, name).unwrap());
        let buffer = || device.new_buffer(&BufferDescriptor { size: 16, ..Default::default() }).unwrap();
        let (a, b) = (buffer(), buffer());
        Bench { device, one, ten, a, b }
    }

    fn table(&self, buffer: &Buffer) -> ArgumentTable {
        let table = self.device.new_argument_table();
        table.set_buffer("data", buffer);
        table
    }

    fn record(&self, record: impl FnOnce(&mut CommandBuffer)) -> Result<[u32; 2]> {
        let allocator = self.device.new_command_allocator("");
        let mut commands = self.device.new_command_buffer("");
        commands.begin(&allocator);
        record(&mut commands);
        commands.end()?;
        let queue = self.device.new_command_queue(&Default::default())?;
        queue.commit(&[&commands])?.wait_until_completed()?;
        let first = |buffer: &Buffer| -> Result<u32> { Ok(buffer.read::<u32>(0, 1)?[0]) };
        Ok([first(&self.a)?, first(&self.b)?])
    }
}

#[test]
fn a_table_is_captured_as_it_stands_in_each_pass() {
    let bench = Bench::new();
    let table = bench.table(&bench.a);
    let sums = bench.record(|commands| {
        for pass in 0..4 {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&bench.one);
            encoder.set_argument_table(&table);
            if pass == 2 {
                table.set_buffer("data", &bench.b);
            }
            encoder.dispatch_threads([1, 1, 1]);
        }
    });
    assert_eq!(sums.unwrap(), [2, 2]);
}

#[test]
fn pipelines_and_tables_change_within_and_between_passes() {
    let bench = Bench::new();
    let [a, b] = [&bench.a, &bench.b].map(|buffer| bench.table(buffer));
    let sums = bench.record(|commands| {
        for (pipeline, table) in [(&bench.one, &a), (&bench.ten, &a), (&bench.ten, &b), (&bench.one, &b)] {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(pipeline);
            encoder.set_argument_table(table);
            encoder.dispatch_threads([1, 1, 1]);
            encoder.set_compute_pipeline(&bench.ten);
            encoder.dispatch_threads([1, 1, 1]);
        }
    });
    assert_eq!(sums.unwrap(), [31, 31]);
}

#[test]
fn a_pass_inherits_neither_pipeline_nor_table() {
    let bench = Bench::new();
    let table = bench.table(&bench.a);
    let inherit = |sets_pipeline: bool, sets_table: bool| {
        bench.record(|commands| {
            let mut first = commands.compute_command_encoder("");
            first.set_compute_pipeline(&bench.one);
            first.set_argument_table(&table);
            first.dispatch_threads([1, 1, 1]);
            first.end_encoding();
            let mut second = commands.compute_command_encoder("");
            if sets_pipeline {
                second.set_compute_pipeline(&bench.one);
            }
            if sets_table {
                second.set_argument_table(&table);
            }
            second.dispatch_threads([1, 1, 1]);
        })
    };
    let message = |result: Result<[u32; 2]>| result.unwrap_err().to_string();
    assert!(message(inherit(false, true)).contains("set_compute_pipeline"));
    assert!(message(inherit(true, false)).contains("nothing is bound to `data`"));
    assert_eq!(inherit(true, true).unwrap(), [2, 0]);
}
