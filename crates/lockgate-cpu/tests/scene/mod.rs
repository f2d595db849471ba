//! A device with a queue, kernels and buffers of words: what most tests of the device need, here and in the
//! suite for all devices.

use lockgate_runtime::*;

const KERNELS: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<storage, read> input: array<u32>;
var<immediate> factor: u32;

@compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&data) { data[id.x] *= 2u; }
}
@compute @workgroup_size(64) fn scale(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&data) { data[id.x] = input[id.x] * factor; }
}
@compute @workgroup_size(64) fn mul_add(@builtin(global_invocation_id) id: vec3u) {
    if id.x < arrayLength(&data) { data[id.x] = data[id.x] * 3u + factor; }
}
@compute @workgroup_size(1) fn forever() {
    loop { data[0] += 1u; if data[0] == 0xffffffffu && data[1] == 7u { break; } }
}
@compute @workgroup_size(1) fn once(@builtin(workgroup_id) id: vec3u) { data[id.x + 4u * id.y] += 1u; }
";

/// What most tests need.
pub(crate) struct Scene {
    pub(crate) device: Device,
    pub(crate) queue: CommandQueue,
    pub(crate) allocator: CommandAllocator,
    pub(crate) library: Library,
}

impl Scene {
    pub(crate) fn new(device: &Device) -> Scene {
        let device = device.clone();
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let allocator = device.new_command_allocator("test");
        let library = device.new_library(KERNELS).unwrap();
        Scene { device, queue, allocator, library }
    }

    pub(crate) fn pipeline(&self, name: &str) -> ComputePipeline {
        self.device.new_compute_pipeline(&self.library, name).unwrap()
    }

    pub(crate) fn buffer(&self, words: &[u32], mode: HazardTrackingMode) -> Buffer {
        let descriptor = BufferDescriptor {
            size: words.len() as u64 * 4,
            hazard_tracking_mode: mode,
            ..Default::default()
        };
        let buffer = self.device.new_buffer(&descriptor).unwrap();
        buffer.write(0, words).unwrap();
        buffer
    }

    pub(crate) fn record(
        &self,
        label: &str,
        record: impl FnOnce(&mut CommandBuffer),
    ) -> Result<CommandBuffer> {
        let mut commands = self.device.new_command_buffer(label);
        commands.begin(&self.allocator);
        record(&mut commands);
        commands.end()?;
        Ok(commands)
    }

    pub(crate) fn run(&self, record: impl FnOnce(&mut CommandBuffer)) -> Result<CommitFeedback> {
        let commands = self.record("run", record)?;
        self.queue.commit(&[&commands])?.wait_until_completed()
    }

    pub(crate) fn table(&self, data: &Buffer) -> ArgumentTable {
        let table = self.device.new_argument_table();
        table.set_buffer("data", data);
        table
    }
}
