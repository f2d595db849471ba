//! Arrays of bindings and subgroups through the runtime: what is set in a table, what orders it, and what is observed.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::*;

const SOURCE: &str = "
enable wgpu_binding_array;
enable subgroups;
struct Words { data: array<u32> }
@group(0) @binding(0) var<storage, read> inputs: binding_array<Words>;
@group(0) @binding(1) var<storage, read_write> outputs: binding_array<Words, 3>;
@group(0) @binding(2) var pictures: binding_array<texture_2d<u32>>;
@group(0) @binding(3) var<storage, read_write> one: array<u32>;
@compute @workgroup_size(16) fn main(@builtin(global_invocation_id) id: vec3u) {
    let picture = textureLoad(pictures[id.x % 3u], vec2u(1u, 1u), 0).x;
    outputs[id.x % 4u].data[id.x] = inputs[id.x % 3u].data[id.x] + picture;
    one[id.x] = subgroupAdd(1u) + arrayLength(&inputs[id.x % 2u].data) * 16u;
}
@compute @workgroup_size(16) fn later(@builtin(global_invocation_id) id: vec3u) { one[id.x] = inputs[1].data[id.x]; }
";

struct Scene {
    device: Device,
    queue: CommandQueue,
    library: Library,
}

impl Scene {
    fn new(order: Order, descriptor: DeviceDescriptor) -> Scene {
        let backend = CpuBackend::new(&CpuDescriptor { order, ..Default::default() }).unwrap();
        let device = Device::open(Box::new(backend), descriptor).unwrap();
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let library = device.new_library(SOURCE).unwrap();
        Scene { device, queue, library }
    }

    fn buffer(&self, words: &[u32]) -> Buffer {
        let size = words.len() as u64 * 4;
        let mode = HazardTrackingMode::Tracked;
        let descriptor = BufferDescriptor { size, hazard_tracking_mode: mode, ..Default::default() };
        let buffer = self.device.new_buffer(&descriptor).unwrap();
        buffer.write(0, words).unwrap();
        buffer
    }

    fn picture(&self, texel: u32) -> Texture {
        let descriptor =
            TextureDescriptor { width: 2, height: 2, format: PixelFormat::R32Uint, ..Default::default() };
        let texture = self.device.new_texture(&descriptor).unwrap();
        let from = self.buffer(&[texel; 4]);
        self.run(|commands| {
            let mut encoder = commands.compute_command_encoder("");
            encoder.copy_buffer_to_texture(
                &from,
                Default::default(),
                &texture,
                Default::default(),
                [2, 2, 1],
            );
        })
        .unwrap();
        texture
    }

    fn run(&self, record: impl FnOnce(&mut CommandBuffer)) -> Result<CommitFeedback> {
        let allocator = self.device.new_command_allocator("");
        let mut commands = self.device.new_command_buffer("");
        commands.begin(&allocator);
        record(&mut commands);
        commands.end()?;
        self.queue.commit(&[&commands])?.wait_until_completed()
    }

    fn dispatch(&self, kernels: &[&str], table: &ArgumentTable) -> Result<CommitFeedback> {
        self.run(|commands| {
            let mut encoder = commands.compute_command_encoder("pass");
            encoder.set_argument_table(table);
            for kernel in kernels {
                let pipeline = self.device.new_compute_pipeline(&self.library, kernel).unwrap();
                encoder.set_compute_pipeline(&pipeline);
                encoder.dispatch_threads([16, 1, 1]);
            }
        })
    }
}

/// A table with everything, and the buffers that are written.
fn table(scene: &Scene) -> (ArgumentTable, [Buffer; 2], Buffer) {
    let table = scene.device.new_argument_table();
    let ascending: Vec<u32> = (0..32).collect();
    let [a, b] = [scene.buffer(&ascending), scene.buffer(&ascending[..16])];
    table.set_buffer_range_element("inputs", 0, &a, 64..128);
    table.set_buffer_element("inputs", 1, &b);
    table.set_texture_element("pictures", 2, &scene.picture(1000));
    let outputs = [scene.buffer(&[7; 16]), scene.buffer(&[7; 16])];
    table.set_buffer_element((0, 1), 0, &outputs[0]);
    table.set_buffer_element((0, 1), 2, &outputs[1]);
    let one = scene.buffer(&[0; 16]);
    table.set_buffer("one", &one);
    (table, outputs, one)
}

#[test]
fn elements_are_found_in_every_order() {
    for order in [Order::Free, Order::Recording, Order::Reverse] {
        let scene = Scene::new(order, DeviceDescriptor::default());
        let (table, outputs, one) = table(&scene);
        assert_eq!(table.len(), 4);
        scene.dispatch(&["main"], &table).unwrap();
        let got = outputs[0].read::<u32>(0, 16).unwrap();
        // Beyond the end of an array without a size nothing is bound.
        let input = |i: u32| [16 + i, i, 0][i as usize % 3];
        let picture = |i: u32| if i % 3 == 2 { 1000 } else { 0 };
        let expected = |i: u32| if i.is_multiple_of(4) { input(i) + picture(i) } else { 7 };
        assert_eq!(got, (0..16).map(expected).collect::<Vec<_>>());
        let got = outputs[1].read::<u32>(0, 16).unwrap();
        // An index beyond the end of one with a size takes the last element.
        let expected = |i: u32| if i % 4 >= 2 { input(i) + picture(i) } else { 7 };
        assert_eq!(got, (0..16).map(expected).collect::<Vec<_>>());
        assert_eq!(one.read::<u32>(0, 16).unwrap(), [4 + 16 * 16; 16]);
    }
}

#[test]
fn tracking_sees_elements() {
    for order in [Order::Free, Order::Recording, Order::Reverse, Order::Random(3)] {
        let scene = Scene::new(order, DeviceDescriptor::default());
        let (table, outputs, one) = table(&scene);
        // What the first dispatch writes is an input of the second.
        table.set_buffer_element("inputs", 1, &outputs[0]);
        scene.dispatch(&["main", "later"], &table).unwrap();
        assert_eq!(one.read::<u32>(0, 1).unwrap(), outputs[0].read::<u32>(0, 1).unwrap());
        assert_eq!(one.read::<u32>(0, 16).unwrap()[1], 7);
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let scene = Scene::new(Order::Recording, DeviceDescriptor::default());
    let error = |change: &dyn Fn(&ArgumentTable)| {
        let (table, ..) = table(&scene);
        change(&table);
        scene.dispatch(&["main"], &table).unwrap_err().to_string()
    };
    let buffer = scene.buffer(&[0; 16]);
    let told = error(&|table| table.set_buffer("inputs", &buffer));
    assert!(told.contains("`inputs` is an array: its elements have to be set"), "{told}");
    let told = error(&|table| table.set_buffer_element("one", 0, &buffer));
    assert!(told.contains("`one` is no array, but elements of one are bound to it"), "{told}");
    let told = error(&|table| table.set_buffer_element((0, 1), 3, &buffer));
    assert!(told.contains("element 3 of `outputs` is set, which has 3"), "{told}");
    let told = error(&|table| table.set_buffer_element("inputs", ARRAY_ELEMENTS_MAX, &buffer));
    assert!(told.contains("ARRAY_ELEMENTS_MAX"), "{told}");
    let told = error(&|table| table.set_texture_element("inputs", 1, &scene.picture(1)));
    assert!(told.contains("element 1"), "{told}");
    let told = error(&|table| table.set_buffer_range_element("inputs", 1, &buffer, 0..2));
    assert!(told.contains("element 1") && told.contains("4 bytes"), "{told}");
}

#[test]
fn observation_names_the_resource_of_an_element() {
    let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
    let scene = Scene::new(Order::Recording, descriptor);
    let (table, outputs, one) = table(&scene);
    scene.device.take_observation();
    scene.dispatch(&["main"], &table).unwrap();
    let observation = scene.device.take_observation();
    assert!(observation.races.is_empty() && !observation.truncated);
    let command = &observation.commands[0];
    let written = |buffer: &Buffer| {
        let own = command
            .accesses
            .iter()
            .filter(|access| access.kind == ObservedKind::Write && access.resource == buffer.key());
        own.flat_map(|access| access.bytes.ranges().to_vec())
            .map(|range| range.end - range.start)
            .sum::<u64>()
    };
    assert_eq!([written(&outputs[0]), written(&outputs[1]), written(&one)], [16, 32, 64]);
}
