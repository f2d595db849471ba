//! Observation on the CPU device: every kind of finding has a kernel that shows it and a silent twin.

#[path = "kernel/generate.rs"]
mod generate;

use lockgate_cpu::kernel::Engine;
use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::*;
use lockgate_sync::{CommandRef, CommitId};

struct Scene {
    device: Device,
    queue: CommandQueue,
    allocator: CommandAllocator,
    library: Library,
}

fn device(engine: Engine) -> Device {
    let cpu = CpuDescriptor { order: Order::Recording, engine, ..Default::default() };
    let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
    Device::open(Box::new(CpuBackend::new(&cpu).unwrap()), descriptor).unwrap()
}

impl Scene {
    fn new(source: &str) -> Scene {
        Scene::on(Engine::Auto, source)
    }

    fn on(engine: Engine, source: &str) -> Scene {
        let device = device(engine);
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let allocator = device.new_command_allocator("test");
        let library = match device.new_library(source) {
            Ok(library) => library,
            Err(error) => panic!("{error} in {source}"),
        };
        Scene { device, queue, allocator, library }
    }

    fn buffer(&self, size: u64) -> Buffer {
        self.device.new_buffer(&BufferDescriptor { size, ..Default::default() }).unwrap()
    }

    fn table(&self, bindings: &[(u32, &Buffer)]) -> ArgumentTable {
        let table = self.device.new_argument_table();
        bindings.iter().for_each(|(binding, buffer)| table.set_buffer(*binding, buffer));
        table
    }

    fn run(&self, record: impl FnOnce(&mut CommandBuffer)) -> Observation {
        let mut commands = self.device.new_command_buffer("test");
        commands.begin(&self.allocator);
        record(&mut commands);
        commands.end().unwrap();
        self.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        self.device.take_observation()
    }

    /// Runs kernels one after the other, each with workgroups of its own number and one table.
    fn dispatch(&self, kernels: &[(&str, u32)], table: &ArgumentTable) -> Observation {
        self.run(|commands| {
            let mut encoder = commands.compute_command_encoder("pass");
            encoder.set_argument_table(table);
            for (kernel, groups) in kernels {
                encoder
                    .set_compute_pipeline(&self.device.new_compute_pipeline(&self.library, kernel).unwrap());
                encoder.dispatch_threadgroups([*groups, 1, 1]);
            }
        })
    }
}

/// Runs `main` of a source on a buffer `data` at binding 0, in two workgroups.
///
/// Machine code and the interpreter tell the same, but for the order of invocations.
fn observe(source: &str, size: u64) -> Observation {
    let [one, two] = [Engine::Auto, Engine::Interpreter].map(|engine| {
        let scene = Scene::on(engine, source);
        let data = scene.buffer(size);
        scene.dispatch(&[("main", 2)], &scene.table(&[(0, &data)]))
    });
    assert_eq!(gist(&one), gist(&two), "{source}");
    two
}

/// What does not depend on the order in which invocations run.
fn gist(of: &Observation) -> impl PartialEq + std::fmt::Debug + use<> {
    let accesses = of.commands.iter().flat_map(|command| &command.accesses);
    let mut touched: Vec<_> = accesses
        .map(|access| (access.place, access.kind, access.resource, access.part, access.bytes.clone()))
        .collect();
    touched.sort_by_key(|access| (access.0, access.1, access.2));
    let mut beyond: Vec<_> = of
        .out_of_bounds
        .iter()
        .map(|entry| (entry.place, entry.kind, entry.variable.clone(), entry.length, entry.count))
        .collect();
    beyond.sort();
    let mut nothing: Vec<_> =
        of.uninitialized.iter().map(|read| (read.place, read.variable.clone(), read.count)).collect();
    nothing.sort();
    (touched, beyond, nothing, of.races.is_empty(), of.truncated)
}

const DATA: &str = "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
var<workgroup> tile: array<u32, 64>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u,
    @builtin(local_invocation_index) lane: u32) {
";

/// A kernel of this body; its first line is line 5.
fn data_kernel(body: &str) -> String {
    format!("{DATA}{body}\n}}\n")
}

fn command(index: u32) -> CommandRef {
    CommandRef { commit: CommitId(0), buffer: 0, command: index }
}

fn silent(observation: &Observation) {
    assert_eq!(observation.races, []);
    assert_eq!(observation.out_of_bounds, []);
    assert!(observation.uninitialized.iter().all(|read| read.space == ObservedSpace::Workgroup));
    assert!(!observation.truncated);
}

#[test]
fn a_device_that_is_not_asked_observes_nothing() {
    let backend = CpuBackend::new(&CpuDescriptor::default()).unwrap();
    let device = Device::open(Box::new(backend), DeviceDescriptor::default()).unwrap();
    let buffer = device.new_buffer_with_data(&[1u32; 4]).unwrap();
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let mut commands = device.new_command_buffer("fill");
    commands.begin(&device.new_command_allocator("fill"));
    commands.compute_command_encoder("fill").fill_buffer(&buffer, 0..16, 7);
    commands.end().unwrap();
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    assert_eq!(device.take_observation(), Observation::default());
}

#[test]
fn bytes_lines_and_invocations_of_accesses() {
    let observation =
        observe(&data_kernel("if id.x < 5u { data[2u * id.x] = data[id.x + 100u] + 1u; }"), 512);
    silent(&observation);
    let accesses = &observation.command(command(0)).unwrap().accesses;
    let of = |kind| accesses.iter().filter(|access| access.kind == kind).collect::<Vec<_>>();
    let (reads, writes) = (of(ObservedKind::Read), of(ObservedKind::Write));
    assert_eq!((reads.len(), writes.len()), (1, 1));
    assert_eq!(reads[0].bytes, ByteSet::from(400..420));
    let even: ByteSet = (0..5).map(|i| 8 * i..8 * i + 4).collect();
    assert_eq!(writes[0].bytes, even);
    assert_eq!(reads[0].place, Some(SourcePlace { line: 5, column: 34 }));
    assert_eq!(writes[0].place.map(|place| place.line), Some(5));
    assert_eq!(writes[0].invocation, Some([0, 0, 0]));
    assert_eq!(observation.resources.len(), 1);
}

#[test]
fn storage_races_and_their_twins() {
    let racing = observe(&data_kernel("data[id.x / 2u] = id.x;"), 1024);
    let [race] = &racing.races[..] else { panic!("{:?}", racing.races) };
    assert_eq!((race.variable.as_str(), race.bytes.clone(), race.count), ("data", 0..4, 64));
    assert_eq!((race.first.kind, race.second.kind), (ObservedKind::Write, ObservedKind::Write));
    assert_eq!((race.first.invocation, race.second.invocation), ([0, 0, 0], [1, 0, 0]));
    assert_eq!(race.first.place.map(|place| place.line), Some(5));
    assert!(!race.equal_values);

    silent(&observe(&data_kernel("data[id.x] = id.x;"), 1024));
    let equal = observe(&data_kernel("data[lane] = 7u;"), 1024);
    assert_eq!(equal.races.len(), 1, "the same value from two workgroups is a race");
    assert!(equal.races[0].equal_values);
    assert_eq!(equal.races[0].second.invocation, [64, 0, 0]);
}

#[test]
fn reads_of_a_neighbour_race_unless_a_storage_barrier_orders_them() {
    let kernel = |barrier| {
        let neighbour = "let other = 64u * (id.x / 64u) + (lane + 1u) % 64u;";
        data_kernel(&format!("data[id.x] = id.x; {barrier}\n{neighbour}\ndata[id.x + 128u] = data[other];"))
    };
    let race = &observe(&kernel(""), 1024).races[0];
    assert_eq!((race.first.kind, race.second.kind), (ObservedKind::Write, ObservedKind::Read));
    assert_eq!(race.second.place.map(|place| place.line), Some(7));
    silent(&observe(&kernel("storageBarrier();"), 1024));
    // This one orders the workgroup's memory alone.
    assert!(!observe(&kernel("workgroupBarrier();"), 1024).races.is_empty());
    // No barrier orders workgroups.
    let across = data_kernel("data[id.x] = id.x; storageBarrier(); data[id.x + 128u] = data[127u - id.x];");
    assert_eq!(observe(&across, 1024).races[0].count, 64, "the second reads what the first wrote");
}

#[test]
fn writes_after_reads_race_too() {
    let racing = observe(&data_kernel("let v = data[0]; if id.x == 100u { data[0] = v + 1u; }"), 1024);
    let [race] = &racing.races[..] else { panic!("{:?}", racing.races) };
    assert_eq!((race.first.kind, race.second.kind), (ObservedKind::Read, ObservedKind::Write));
    let quiet = observe(&data_kernel("let v = data[0]; if id.x == 100u { data[0] = v; }"), 1024);
    assert!(quiet.races[0].equal_values);
}

#[test]
fn workgroup_memory_needs_its_barrier() {
    let kernel =
        |barrier| data_kernel(&format!("tile[lane] = id.x;\n{barrier}\ndata[id.x] = tile[63u - lane];"));
    let racing = observe(&kernel(""), 1024);
    let race = &racing.races[0];
    assert_eq!((race.space, race.variable.as_str()), (ObservedSpace::Workgroup, "tile"));
    assert_eq!((race.first.place.unwrap().line, race.second.place.unwrap().line), (5, 7));
    assert_eq!((race.first.invocation, race.second.invocation), ([63, 0, 0], [0, 0, 0]));
    silent(&observe(&kernel("workgroupBarrier();"), 1024));
    assert!(!observe(&kernel("storageBarrier();"), 1024).races.is_empty());
}

#[test]
fn atomics_race_with_anything_but_atomics() {
    let kernel = |other| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> counts: array<atomic<u32>, 4>;
            @group(0) @binding(1) var<storage, read_write> plain: array<u32, 4>;
            @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) lane: u32) {{
                atomicAdd(&counts[lane % 4u], 1u);
                let seen = atomicLoad(&counts[0]);
                atomicStore(&counts[2], 1u);
                {other}
            }}"
        )
    };
    let run = |other| {
        let scene = Scene::new(&kernel(other));
        let data = scene.buffer(16);
        scene.dispatch(&[("main", 3)], &scene.table(&[(0, &data), (1, &data)]))
    };
    silent(&run(""));
    assert_eq!(run("").command(command(0)).unwrap().accesses.len(), 3);
    let race = &run("if lane == 9u { plain[1] = 4u; }").races[0];
    assert_eq!((race.first.kind, race.second.kind), (ObservedKind::Atomic, ObservedKind::Write));
    assert!(!run("if lane == 9u && plain[1] == 7u { plain[1] = 4u; }").races.is_empty());
}

#[test]
fn uninitialized_private_buffers() {
    let scene = Scene::new(&data_kernel("data[id.x] += 1u;"));
    let size = 512;
    let private = BufferDescriptor { size, storage: StorageMode::Private, ..Default::default() };
    let data = scene.device.new_buffer(&private).unwrap();
    let table = scene.table(&[(0, &data)]);
    let observation = scene.dispatch(&[("main", 2)], &table);
    let [read] = &observation.uninitialized[..] else { panic!("{:?}", observation.uninitialized) };
    assert_eq!((read.bytes.clone(), read.count, read.variable.as_str()), (0..4, 128, "data"));
    assert_eq!(read.place.unwrap().line, 5);
    silent(&scene.dispatch(&[("main", 2)], &table));

    let filled = scene.device.new_buffer(&private).unwrap();
    let staging = scene.buffer(size);
    silent(&scene.run(|commands| {
        let mut encoder = commands.compute_command_encoder("fill");
        encoder.fill_buffer(&filled, 0..256, 7);
        encoder.copy_buffer(&staging, 0, &filled, 256, 256);
    }));
    silent(&scene.dispatch(&[("main", 2)], &scene.table(&[(0, &filled)])));
    let half = scene.device.new_buffer(&private).unwrap();
    scene.run(|commands| commands.compute_command_encoder("fill").fill_buffer(&half, 0..256, 7));
    let observation = scene.dispatch(&[("main", 2)], &scene.table(&[(0, &half)]));
    assert_eq!(
        (observation.uninitialized[0].bytes.clone(), observation.uninitialized[0].count),
        (256..260, 64)
    );
    let copied = scene.device.new_buffer(&private).unwrap();
    let observation = scene
        .run(|commands| commands.compute_command_encoder("copy").copy_buffer(&copied, 8, &staging, 0, 16));
    assert_eq!(
        (observation.uninitialized[0].bytes.clone(), observation.uninitialized[0].place),
        (8..24, None)
    );
}

#[test]
fn fresh_aliases_on_a_heap() {
    let scene = Scene::new(&data_kernel("data[id.x] += 1u;"));
    let heap = HeapDescriptor {
        size: 4096,
        heap_type: HeapType::Placement,
        storage: StorageMode::Shared,
        ..Default::default()
    };
    let heap = scene.device.new_heap(&heap).unwrap();
    let descriptor = BufferDescriptor { size: 512, ..Default::default() };
    let first = heap.new_buffer_at(&descriptor, 0).unwrap();
    first.write(0, &[1u32; 128]).unwrap();
    silent(&scene.dispatch(&[("main", 2)], &scene.table(&[(0, &first)])));
    let alias = heap.new_buffer_at(&descriptor, 256).unwrap();
    let observation = scene.dispatch(&[("main", 2)], &scene.table(&[(0, &alias)]));
    let [read] = &observation.uninitialized[..] else { panic!("{:?}", observation.uninitialized) };
    assert_eq!(read.bytes, 0..4);
    silent(&scene.dispatch(&[("main", 2)], &scene.table(&[(0, &alias)])));
    let beside = heap.new_buffer_at(&descriptor, 1024).unwrap();
    silent(&scene.dispatch(&[("main", 2)], &scene.table(&[(0, &beside)])));
    let written = heap.new_buffer_at(&descriptor, 0).unwrap();
    written.write(0, &[1u32; 128]).unwrap();
    silent(&scene.dispatch(&[("main", 2)], &scene.table(&[(0, &written)])));
}

#[test]
fn workgroup_memory_that_nobody_wrote_is_remarked() {
    let observation = observe(&data_kernel("data[id.x] = tile[lane];"), 1024);
    let [read] = &observation.uninitialized[..] else { panic!("{:?}", observation.uninitialized) };
    assert_eq!((read.space, read.variable.as_str(), read.count), (ObservedSpace::Workgroup, "tile", 128));
    let written = data_kernel("tile[lane] = 1u; workgroupBarrier(); data[id.x] = tile[lane ^ 1u];");
    assert_eq!(observe(&written, 1024).uninitialized, []);
}

#[test]
fn indices_out_of_bounds() {
    let beyond = observe(&data_kernel("var own = array<u32, 4>();\ndata[id.x + 3u] = own[lane / 16u];"), 512);
    let [write] = &beyond.out_of_bounds[..] else { panic!("{:?}", beyond.out_of_bounds) };
    assert_eq!((write.kind, write.index, write.length, write.count), (ObservedKind::Write, 128, 128, 3));
    assert_eq!((write.invocation, write.place.unwrap().line), ([125, 0, 0], 6));
    let written = &beyond.command(command(0)).unwrap().accesses;
    assert_eq!(written[0].bytes, ByteSet::from(12..512), "what is dropped touches nothing");

    let beyond = observe(&data_kernel("data[id.x] = data[id.x + 128u] + tile[lane + 1u];"), 512);
    let names: Vec<_> =
        beyond.out_of_bounds.iter().map(|entry| (entry.variable.as_str(), entry.kind)).collect();
    assert_eq!(names, [("data", ObservedKind::Read), ("tile", ObservedKind::Read)]);
    let own = observe(&data_kernel("var own = array<u32, 4>();\ndata[id.x] = own[lane / 8u];"), 512);
    assert_eq!(
        (own.out_of_bounds[0].space, own.out_of_bounds[0].variable.as_str()),
        (ObservedSpace::Invocation, "own")
    );
    silent(&observe(&data_kernel("data[id.x] = 1u;"), 512));
}

/// Two kernels with a table each, in one pass that orders nothing.
fn verdict(first: &str, second: &str, size: u64, binds: impl Fn(&Scene) -> [ArgumentTable; 2]) -> Verdict {
    let kernel = |name: &str, body: &str| {
        format!(
            "@compute @workgroup_size(64) fn {name}(@builtin(global_invocation_id) id: vec3u) {{ {body} }}\n"
        )
    };
    let data = "@group(0) @binding(0) var<storage, read_write> data: array<u32>;\n";
    let scene = Scene::new(&format!("{data}{}{}", kernel("first", first), kernel("second", second)));
    let tables = binds(&scene);
    let observation = scene.run(|commands| {
        let mut encoder = commands.compute_command_encoder("pass");
        for (name, table) in ["first", "second"].iter().zip(&tables) {
            encoder.set_argument_table(table);
            encoder.set_compute_pipeline(&scene.device.new_compute_pipeline(&scene.library, name).unwrap());
            encoder.dispatch_threads([(size / 8) as u32, 1, 1]);
        }
    });
    assert_eq!(observation.conflict(command(0), command(7)), Verdict::Unknown);
    observation.conflict(command(0), command(1))
}

#[test]
fn gaps_are_confirmed_and_dismissed() {
    let shared = |scene: &Scene| {
        let data = scene.buffer(1024);
        [scene.table(&[(0, &data)]), scene.table(&[(0, &data)])]
    };
    // Even words against odd words of one buffer.
    assert_eq!(
        verdict("data[2u * id.x] = 1u;", "data[2u * id.x + 1u] = 2u;", 1024, shared),
        Verdict::Dismissed
    );
    let confirmed = verdict("data[2u * id.x] = 1u;", "if id.x > 4u { data[id.x] = 2u; }", 1024, shared);
    let Verdict::Confirmed { earlier, later, shared: bytes } = confirmed else { panic!("{confirmed:?}") };
    assert_eq!((earlier.bytes, later.bytes, bytes), (24..28, 24..28, 61 * 4));
    assert_eq!((earlier.place.unwrap().line, later.place.unwrap().line), (2, 3));
    assert_eq!((earlier.kind, later.kind), (ObservedKind::Write, ObservedKind::Write));
    // Both read.
    let read = "if data[id.x] == 77u { data[0] = 1u; }";
    assert_eq!(verdict(read, read, 1024, shared), Verdict::Dismissed);
    assert!(matches!(verdict(read, "data[0] = 1u;", 1024, shared), Verdict::Confirmed { .. }));
}

#[test]
fn aliases_meet_in_their_memory() {
    let aliases = |second: u64| {
        move |scene: &Scene| {
            let heap = HeapDescriptor { size: 4096, heap_type: HeapType::Placement, ..Default::default() };
            let heap = scene.device.new_heap(&heap).unwrap();
            let descriptor = BufferDescriptor { size: 512, ..Default::default() };
            [0, second].map(|at| scene.table(&[(0, &heap.new_buffer_at(&descriptor, at).unwrap())]))
        }
    };
    let write = "data[id.x] = 1u;";
    // The first touches bytes 0 to 256 of its memory, the second 256 to 512.
    assert_eq!(verdict(write, write, 512, aliases(256)), Verdict::Dismissed);
    let Verdict::Confirmed { earlier, later, shared } =
        verdict("data[id.x + 64u] = 1u;", write, 512, aliases(256))
    else {
        panic!("they meet")
    };
    assert_eq!((earlier.bytes, later.bytes, shared), (256..512, 0..256, 256));
    assert_ne!(earlier.resource, later.resource);
}

#[test]
fn copies_touch_what_they_say() {
    let scene = Scene::new("");
    let (from, to) = (scene.buffer(4096), scene.buffer(4096));
    let texture = TextureDescriptor { width: 8, height: 4, mip_level_count: 2, ..Default::default() };
    let texture = scene.device.new_texture(&texture).unwrap();
    let observation = scene.run(|commands| {
        let mut encoder = commands.compute_command_encoder("copies");
        encoder.copy_buffer(&from, 16, &to, 128, 64);
        encoder.fill_buffer(&to, 256..260, 1);
        let rows = BufferLayout { offset: 512, bytes_per_row: 64, ..Default::default() };
        let corner = TextureOrigin { origin: [2, 1, 0], ..Default::default() };
        encoder.copy_buffer_to_texture(&from, rows, &texture, corner, [4, 2, 1]);
        encoder.generate_mipmaps(&texture);
    });
    silent(&observation);
    let of = |index: u32| {
        let accesses = &observation.command(command(index)).unwrap().accesses;
        accesses.iter().map(|access| (access.kind, access.part, access.bytes.clone())).collect::<Vec<_>>()
    };
    use ObservedKind::{Read, Write};
    let (buffer, base) = (ObservedPart::Buffer, ObservedPart::Subresource { level: 0, slice: 0 });
    assert_eq!(of(0), [(Read, buffer, (16..80).into()), (Write, buffer, (128..192).into())]);
    assert_eq!(of(1), [(Write, buffer, (256..260).into())]);
    let rows: ByteSet = [512..528, 576..592].into_iter().collect();
    let texels: ByteSet = [40..56, 72..88].into_iter().collect();
    assert_eq!(of(2), [(Read, buffer, rows), (Write, base, texels)]);
    let small = ObservedPart::Subresource { level: 1, slice: 0 };
    assert_eq!(of(3), [(Read, base, (0..128).into()), (Write, small, (0..32).into())]);
    assert_eq!(observation.conflict(command(0), command(1)), Verdict::Dismissed);
    assert!(matches!(observation.conflict(command(2), command(3)), Verdict::Confirmed { .. }));
}

/// The same source on both engines, with two textures of 4 by 4 texels and a sampler.
fn observe_texels(source: &str) -> Observation {
    let [one, two] = [Engine::Auto, Engine::Interpreter].map(|engine| {
        let scene = Scene::on(engine, source);
        let texture = TextureDescriptor { width: 4, height: 4, mip_level_count: 2, ..Default::default() };
        let [into, from] = [(); 2].map(|()| scene.device.new_texture(&texture).unwrap());
        let linear = SamplerDescriptor {
            mag_filter: FilterMode::Linear,
            min_filter: FilterMode::Linear,
            ..Default::default()
        };
        let table = scene.device.new_argument_table();
        table.set_texture(0, &into.new_view(PixelFormat::Rgba8Unorm, (0, 1), (0, 1)).unwrap());
        table.set_texture(1, &from);
        table.set_sampler(2, &scene.device.new_sampler(&linear).unwrap());
        scene.dispatch(&[("main", 2)], &table)
    });
    assert_eq!(gist(&one), gist(&two), "{source}");
    assert_eq!(one.races, []);
    one
}

const TEXELS: &str = "@group(0) @binding(0) var into: texture_storage_2d<rgba8unorm, write>;
    @group(0) @binding(1) var source: texture_2d<f32>;
    @group(0) @binding(2) var linear: sampler;
    @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {";

#[test]
fn texels_are_observed() {
    let body = "textureStore(into, id.xy, textureLoad(source, vec2u(0u, id.x), 0)); }";
    let observation = observe_texels(&format!("{TEXELS}{body}"));
    let accesses = &observation.command(command(0)).unwrap().accesses;
    let column: ByteSet = (0..4).map(|row| 16 * row..16 * row + 4).collect();
    assert_eq!((accesses[0].kind, &accesses[0].bytes), (ObservedKind::Read, &column));
    assert_eq!((accesses[1].kind, &accesses[1].bytes), (ObservedKind::Write, &ByteSet::from(0..16)));
    let beyond: Vec<_> = observation.out_of_bounds.iter().map(|entry| (entry.index, entry.length)).collect();
    assert_eq!(beyond, [(4, 4), (4, 4)]);
}

#[test]
fn samples_touch_what_their_filter_looks_at() {
    let body = "let at = vec2f(0.5, 0.25);
        let near = textureSampleLevel(source, linear, at, 0.0) + textureSampleLevel(source, linear, at, 1.0);
        textureStore(into, id.xy, near + textureGather(1, source, linear, at)); }";
    let observation = observe_texels(&format!("{TEXELS}{body}"));
    let accesses = &observation.command(command(0)).unwrap().accesses;
    let of = |place: usize| (accesses[place].part, accesses[place].bytes.clone());
    let part = |level| ObservedPart::Subresource { level, slice: 0 };
    let middle: ByteSet = [4..12, 20..28].into_iter().collect();
    assert_eq!(of(0), (part(0), middle.clone()));
    assert_eq!(of(1).0, part(1));
    assert_eq!(of(2), (part(0), middle));
}

#[test]
fn generated_kernels_touch_what_they_declare_and_do_not_race() {
    let mut seed = 5u64;
    let mut touched = 0;
    for _ in 0..60 {
        let byte = |_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 40) as u8
        };
        let source = generate::kernel(&(0..120).map(byte).collect::<Vec<u8>>());
        let run = |engine| {
            let scene = Scene::on(engine, &source);
            let sizes = [4 * 200, 16 * 200, 16 * 200, 16 * 200, 4 * 200, 32];
            let buffers = sizes.map(|size| scene.buffer(size));
            let bindings: Vec<_> =
                buffers.iter().enumerate().map(|(at, buffer)| (at as u32, buffer)).collect();
            let observation = scene.dispatch(&[("main", 3)], &scene.table(&bindings));
            (scene, buffers, observation)
        };
        let (scene, buffers, observation) = run(Engine::Auto);
        assert_eq!(observation.races, [], "{source}");
        assert_eq!(gist(&observation), gist(&run(Engine::Interpreter).2), "{source}");
        let reflection = scene.library.reflect("main").unwrap();
        for access in &observation.command(command(0)).unwrap().accesses {
            let at = buffers.iter().position(|buffer| buffer.key() == access.resource).unwrap();
            let declared = reflection.bindings.iter().find(|own| own.binding == at as u32).unwrap();
            let allowed = match access.kind {
                ObservedKind::Read => declared.reads,
                ObservedKind::Write => declared.writes,
                ObservedKind::AtomicLoad | ObservedKind::Atomic => declared.atomic,
            };
            assert!(allowed, "{access:?} in {source}");
            touched += access.bytes.len();
        }
    }
    assert!(touched > 100_000, "{touched}");
}

#[test]
fn regular_and_irregular_places_are_told_alike() {
    // Each body, and whether it races.
    let bodies = [
        // One element each: forwards, backwards, apart, in columns, and a part of each.
        ("data[id.x] = data[id.x] + 1;", false),
        ("data[127 - id.x] += 1;", false),
        ("data[id.x * 5] = id.x; data[id.x * 5 + 4] = data[id.x * 5 + 1];", false),
        ("data[(lane % 8) * 16 + lane / 8 + id.x / 64 * 128] = lane;", false),
        ("data[id.x * 2] = data[id.x * 2 + 1];", false),
        ("if id.x % 3 == 0 { data[id.x] = 1; } else { data[id.x] = 2; }", false),
        // Several elements each.
        ("for (var i = 0u; i < 4; i++) { data[id.x * 4 + i] = data[id.x * 4 + 3 - i]; }", false),
        ("for (var i = 0u; i < 3; i++) { data[id.x + i * 128] = i; }", false),
        // The same for all.
        ("if data[500] == 0 { data[id.x] = data[501]; }", false),
        ("data[300 + id.x % 2] = 0;", true),
        ("data[300] = id.x;", true),
        // A neighbour's.
        ("data[id.x] = data[id.x + 1];", true),
        ("data[id.x + 1] = 5; data[id.x] = 6;", true),
        ("data[id.x] = 5; storageBarrier(); data[id.x ^ 1] = 6;", false),
        ("data[id.x] = 5; storageBarrier(); data[(id.x + 64) % 128] = 6;", true),
        ("if id.x != 77 { data[id.x] = 1; } else { data[78] = 1; }", true),
        // In no order.
        ("data[(id.x * 37) % 128] = data[128 + (id.x * 11) % 64];", false),
        ("data[(id.x * id.x) % 128] = id.x;", true),
        // Values that stay in part.
        ("data[id.x] = id.x % 3;", false),
        ("data[300 + id.x % 3] = id.x & 0;", true),
        // Workgroup memory.
        ("tile[lane] = lane; workgroupBarrier(); data[id.x] = tile[63 - lane];", false),
        ("tile[lane] = lane; data[id.x] = tile[63 - lane];", true),
        (
            "tile[lane] = lane; workgroupBarrier();
            for (var s = 32u; s > 0; s /= 2) { if lane < s { tile[lane] += tile[lane + s]; } workgroupBarrier(); }
            data[id.x] = tile[0];",
            false,
        ),
    ];
    for (body, races) in bodies {
        assert_eq!(!observe(&data_kernel(body), 4096).races.is_empty(), races, "{body}");
    }
}

#[test]
fn members_of_structures_are_apart() {
    let kernel = |body: &str| {
        format!(
            "struct Particle {{ place: vec3f, mass: f32, speed: vec2f, kind: u32 }}
            @group(0) @binding(0) var<storage, read_write> all: array<Particle>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {{
                let i = id.x % arrayLength(&all);
                {body}
            }}"
        )
    };
    silent(&observe(
        &kernel("all[i].place += vec3f(1); all[i].mass = all[i].place.x; all[i].kind = 3;"),
        8192,
    ));
    silent(&observe(&kernel("var own = all[i]; own.speed *= 2; all[i] = own;"), 8192));
    let wrong = kernel("all[i].place += vec3f(1); all[i].mass = all[(i + 1) % 128].place.x;");
    assert!(!observe(&wrong, 8192).races.is_empty());
}

#[test]
fn a_launch_in_many_parts_is_one() {
    let [one, two] = [Engine::Auto, Engine::Interpreter].map(|engine| {
        // The last invocation of one part touches what the first of another one does.
        let source = data_kernel("data[id.x] = id.x; if id.x == 8191 { data[0] = 1; }");
        let scene = Scene::on(engine, &source);
        let data = scene.buffer(4 * 8192);
        scene.dispatch(&[("main", 128)], &scene.table(&[(0, &data)]))
    });
    assert_eq!((one.races.len(), two.races.len()), (1, 1));
    assert_eq!(gist(&one), gist(&two));
}
