//! Weak memory on purpose: litmus tests on a device with an adversary, each with exactly the outcomes that the model
//! allows.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::*;
use lockgate_sync::{BarrierScope, HazardTrackingMode, Stages, VisibilityOptions};
use std::collections::BTreeSet;
use std::time::Duration;

/// Enough for all outcomes of the programs below.
const SEEDS: u64 = 250;

struct Scene {
    device: Device,
    queue: CommandQueue,
    allocator: CommandAllocator,
    library: Library,
    x: Buffer,
    y: Buffer,
    out: Buffer,
}

/// What lies between two commands of one pass.
#[derive(Clone, Copy)]
enum Between {
    Nothing,
    Order,
    Visibility,
    /// A barrier that names `x` alone.
    OnlyX,
}

const BINDINGS: &str = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
    @group(0) @binding(1) var<storage, read_write> y: array<u32>;
    @group(0) @binding(2) var<storage, read_write> out: array<u32>;";

fn device(seed: u64, time_limit: Duration) -> Device {
    let cpu = CpuDescriptor { order: Order::Adversary(seed), time_limit, ..Default::default() };
    Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), DeviceDescriptor::default())
}

impl Scene {
    fn new(seed: u64, kernels: &str) -> Scene {
        let device = device(seed, Duration::from_secs(10));
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let allocator = device.new_command_allocator("test");
        let library = device.new_library(&format!("{BINDINGS}\n{kernels}")).unwrap();
        let [x, y, out] = [256, 256, 64].map(|size| {
            let hazard_tracking_mode = HazardTrackingMode::Untracked;
            device.new_buffer(&BufferDescriptor { size, hazard_tracking_mode, ..Default::default() }).unwrap()
        });
        Scene { device, queue, allocator, library, x, y, out }
    }

    fn run(&self, record: impl FnOnce(&mut ComputeCommandEncoder<'_>)) {
        let mut commands = self.device.new_command_buffer("test");
        commands.begin(&self.allocator);
        let mut encoder = commands.compute_command_encoder("pass");
        let table = self.device.new_argument_table();
        [&self.x, &self.y, &self.out].into_iter().zip(0u32..).for_each(|(b, at)| table.set_buffer(at, b));
        encoder.set_argument_table(&table);
        record(&mut encoder);
        encoder.end_encoding();
        commands.end().unwrap();
        self.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    }

    fn dispatch(&self, encoder: &mut ComputeCommandEncoder<'_>, kernel: &str, groups: u32) {
        encoder.set_compute_pipeline(&self.device.new_compute_pipeline(&self.library, kernel).unwrap());
        encoder.dispatch_threadgroups([groups, 1, 1]);
    }

    fn between(&self, encoder: &mut ComputeCommandEncoder<'_>, between: Between) {
        let barrier =
            Barrier { after: Stages::ALL, before: Stages::ALL, visibility: VisibilityOptions::DEVICE };
        match between {
            Between::Nothing => {}
            Between::Order => {
                encoder.intrapass_barrier(Barrier { visibility: VisibilityOptions::empty(), ..barrier });
            }
            Between::Visibility => encoder.intrapass_barrier(barrier),
            Between::OnlyX => encoder.memory_barrier_with_resources(&[&self.x], &[]),
        }
    }

    fn words<const N: usize>(&self, buffer: &Buffer) -> [u32; N] {
        buffer.read::<u32>(0, N).unwrap().try_into().unwrap()
    }
}

/// What `out` holds in the end, over all seeds.
fn outcomes<const N: usize>(
    kernels: &str,
    record: impl Fn(&Scene, &mut ComputeCommandEncoder<'_>),
) -> BTreeSet<[u32; N]> {
    let one = |seed| {
        let scene = Scene::new(seed, kernels);
        scene.run(|encoder| record(&scene, encoder));
        scene.words(&scene.out)
    };
    (0..SEEDS).map(one).collect()
}

/// Two kernels, one after the other as recorded.
fn pair<const N: usize>(kernels: &str, between: Between) -> BTreeSet<[u32; N]> {
    outcomes(kernels, |scene, encoder| {
        scene.dispatch(encoder, "first", 1);
        scene.between(encoder, between);
        scene.dispatch(encoder, "second", 1);
    })
}

const ALL_FOUR: [[u32; 2]; 4] = [[0, 0], [0, 1], [1, 0], [1, 1]];

const MESSAGE: &str = "@compute @workgroup_size(1) fn first() { x[0] = 1; y[0] = 1; }
    @compute @workgroup_size(1) fn second() { out[0] = y[0]; out[1] = x[0]; }";

#[test]
fn a_message_passes_only_with_visibility() {
    assert_eq!(pair(MESSAGE, Between::Nothing), BTreeSet::from(ALL_FOUR));
    assert_eq!(pair(MESSAGE, Between::Order), BTreeSet::from(ALL_FOUR));
    assert_eq!(pair(MESSAGE, Between::Visibility), BTreeSet::from([[1, 1]]));
}

#[test]
fn a_barrier_that_names_a_resource_shows_that_one() {
    // `y` is ordered and not shown.
    assert_eq!(pair(MESSAGE, Between::OnlyX), BTreeSet::from([[0, 1], [1, 1]]));
}

#[test]
fn a_barrier_for_buffers_shows_buffers() {
    for (scope, expected) in [
        (BarrierScope::BUFFERS, BTreeSet::from([[1, 1]])),
        (BarrierScope::TEXTURES, BTreeSet::from(ALL_FOUR)),
    ] {
        let seen = outcomes(MESSAGE, |scene, encoder| {
            scene.dispatch(encoder, "first", 1);
            encoder.memory_barrier_with_scope(scope);
            scene.dispatch(encoder, "second", 1);
        });
        assert_eq!(seen, expected, "{scope:?}");
    }
}

#[test]
fn visibility_passes_on_along_a_chain() {
    let kernels = "@compute @workgroup_size(1) fn write() { x[0] = 1; }
        @compute @workgroup_size(1) fn relay() { y[0] = 1; }
        @compute @workgroup_size(1) fn read() { out[0] = x[0]; out[1] = y[0]; }";
    let chain = |one, two| {
        outcomes(kernels, |scene, encoder| {
            scene.dispatch(encoder, "write", 1);
            scene.between(encoder, one);
            scene.dispatch(encoder, "relay", 1);
            scene.between(encoder, two);
            scene.dispatch(encoder, "read", 1);
        })
    };
    assert_eq!(chain(Between::Visibility, Between::Visibility), BTreeSet::from([[1, 1]]));
    assert_eq!(chain(Between::Visibility, Between::Order), BTreeSet::from([[1, 0], [1, 1]]));
    assert_eq!(chain(Between::Order, Between::Visibility), BTreeSet::from([[1, 1]]));
    assert_eq!(chain(Between::Order, Between::Order), BTreeSet::from(ALL_FOUR));
}

#[test]
fn atomic_operations_always_see_the_latest() {
    let kernels = "@group(0) @binding(1) var<storage, read_write> flag: atomic<u32>;
        @compute @workgroup_size(1) fn first() { x[0] = 1; atomicStore(&flag, 1); }
        @compute @workgroup_size(1) fn second() { out[0] = atomicLoad(&flag); out[1] = x[0]; }";
    // The order of atomic operations is no order of other memory.
    assert_eq!(pair(kernels, Between::Nothing), BTreeSet::from(ALL_FOUR));
    assert_eq!(pair(kernels, Between::Order), BTreeSet::from([[1, 0], [1, 1]]));
}

#[test]
fn stores_wait_in_buffers() {
    let kernels = "@compute @workgroup_size(1) fn first() { x[0] = 1; out[0] = y[0]; }
        @compute @workgroup_size(1) fn second() { y[0] = 1; out[1] = x[0]; }";
    assert_eq!(pair(kernels, Between::Nothing), BTreeSet::from(ALL_FOUR));
    assert_eq!(pair(kernels, Between::Visibility), BTreeSet::from([[0, 1]]));
}

#[test]
fn loads_of_one_place_never_go_backwards() {
    let kernels = "@compute @workgroup_size(1) fn first() { x[0] = 1; x[0] = 2; }
        @compute @workgroup_size(1) fn second() { out[0] = x[0]; out[1] = x[0]; }";
    let forward = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]];
    assert_eq!(pair(kernels, Between::Nothing), BTreeSet::from(forward));
    assert_eq!(pair(kernels, Between::Order), BTreeSet::from(forward));
}

#[test]
fn after_a_read_order_is_enough() {
    let kernels = "@compute @workgroup_size(1) fn first() { out[0] = x[0]; }
        @compute @workgroup_size(1) fn second() { x[0] = 1; }";
    assert_eq!(pair(kernels, Between::Nothing), BTreeSet::from([[0], [1]]));
    assert_eq!(pair(kernels, Between::Order), BTreeSet::from([[0]]));
}

#[test]
fn after_a_write_a_write_needs_visibility() {
    let kernels = "@compute @workgroup_size(1) fn first() { out[0] = 1; }
        @compute @workgroup_size(1) fn second() { out[0] = 2; }";
    assert_eq!(pair(kernels, Between::Nothing), BTreeSet::from([[1], [2]]));
    assert_eq!(pair(kernels, Between::Order), BTreeSet::from([[1], [2]]));
    assert_eq!(pair(kernels, Between::Visibility), BTreeSet::from([[2]]));
}

fn groups(kernel: &str, count: u32) -> BTreeSet<[u32; 1]> {
    outcomes(kernel, |scene, encoder| scene.dispatch(encoder, "main", count))
}

#[test]
fn workgroups_of_a_dispatch_take_turns() {
    let last = "@compute @workgroup_size(1) fn main(@builtin(workgroup_id) id: vec3u) { out[0] = id.x + 1; }";
    assert_eq!(groups(last, 3), BTreeSet::from([[1], [2], [3]]));
    let lost = "@compute @workgroup_size(1) fn main() { out[0] = out[0] + 1; }";
    assert_eq!(groups(lost, 3), BTreeSet::from([[1], [2], [3]]));
    let atomic = "@group(0) @binding(2) var<storage, read_write> sum: atomic<u32>;
        @compute @workgroup_size(4) fn main() { atomicAdd(&sum, 1); }";
    assert_eq!(groups(atomic, 3), BTreeSet::from([[12]]));
}

#[test]
fn invocations_of_a_workgroup_see_each_other_behind_a_barrier() {
    let kernel = |barrier: &str| {
        format!(
            "@compute @workgroup_size(2) fn main(@builtin(local_invocation_index) id: u32) {{
                if id == 0 {{ x[0] = 1; }}
                {barrier}
                if id == 1 {{ out[0] = x[0] + 1; }}
            }}"
        )
    };
    assert_eq!(groups(&kernel(""), 1), BTreeSet::from([[1], [2]]));
    assert_eq!(groups(&kernel("workgroupBarrier();"), 1), BTreeSet::from([[1], [2]]));
    assert_eq!(groups(&kernel("storageBarrier();"), 1), BTreeSet::from([[2]]));
}

#[test]
fn copies_and_fills_go_in_pieces() {
    let mixes = (0..SEEDS).filter(|seed| {
        let scene = Scene::new(*seed, "");
        scene.run(|encoder| {
            encoder.fill_buffer(&scene.x, 0..256, 1);
            encoder.copy_buffer(&scene.x, 0, &scene.y, 0, 256);
        });
        let words: [u32; 64] = scene.words(&scene.y);
        assert!(words.iter().all(|word| [0, 0x0101_0101].contains(word)), "{words:?}");
        words.iter().any(|word| *word != words[0])
    });
    assert!(mixes.count() > 20);
    for seed in 0..SEEDS {
        let scene = Scene::new(seed, "");
        scene.run(|encoder| {
            encoder.fill_buffer(&scene.x, 0..256, 1);
            scene.between(encoder, Between::Visibility);
            encoder.copy_buffer(&scene.x, 0, &scene.y, 0, 256);
        });
        assert_eq!(scene.words::<64>(&scene.y), [0x0101_0101; 64], "seed {seed}");
    }
}

#[test]
fn texels_are_old_where_nothing_shows_them() {
    let source = "@group(0) @binding(0) var written: texture_storage_2d<r32uint, write>;
        @group(0) @binding(1) var read: texture_2d<u32>;
        @group(0) @binding(2) var<storage, read_write> out: array<u32>;
        @compute @workgroup_size(1) fn first() { textureStore(written, vec2i(1, 1), vec4u(7)); }
        @compute @workgroup_size(1) fn second() { out[0] = textureLoad(read, vec2i(1, 1), 0).x; }";
    let seen = |between| -> BTreeSet<u32> {
        let one = |seed| {
            let scene = Scene::new(seed, "");
            let library = scene.device.new_library(source).unwrap();
            let texture = TextureDescriptor {
                format: PixelFormat::R32Uint,
                hazard_tracking_mode: HazardTrackingMode::Untracked,
                ..TextureDescriptor::d2(4, 4)
            };
            let texture = scene.device.new_texture(&texture).unwrap();
            scene.run(|encoder| {
                let table = scene.device.new_argument_table();
                table.set_texture(0u32, &texture);
                table.set_texture(1u32, &texture);
                table.set_buffer(2u32, &scene.out);
                encoder.set_argument_table(&table);
                for kernel in ["first", "second"] {
                    encoder
                        .set_compute_pipeline(&scene.device.new_compute_pipeline(&library, kernel).unwrap());
                    encoder.dispatch_threadgroups([1, 1, 1]);
                    scene.between(encoder, between);
                }
            });
            scene.words::<1>(&scene.out)[0]
        };
        (0..SEEDS / 4).map(one).collect()
    };
    assert_eq!(seen(Between::Order), BTreeSet::from([0, 7]));
    assert_eq!(seen(Between::Visibility), BTreeSet::from([7]));
}

#[test]
fn the_host_and_what_it_waited_for_are_seen() {
    for seed in 0..SEEDS {
        let scene =
            Scene::new(seed, "@compute @workgroup_size(1) fn main() { out[0] = x[0] + y[0]; y[0] = 10; }");
        scene.x.write(0, &[1u32]).unwrap();
        scene.run(|encoder| scene.dispatch(encoder, "main", 1));
        assert_eq!(scene.words::<1>(&scene.out), [1]);
        scene.x.write(0, &[2u32]).unwrap();
        scene.run(|encoder| scene.dispatch(encoder, "main", 1));
        assert_eq!(scene.words::<1>(&scene.out), [12], "seed {seed}");
    }
}

/// A bit of everything; `out` says what came of it.
fn mixture(seed: u64) -> [u32; 16] {
    let kernels = "@compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) {
            for (var i = 0u; i < 4; i++) { out[(id.x + i) % 16] = out[id.x % 16] * 3 + x[i] + id.x; }
        }";
    let scene = Scene::new(seed, kernels);
    scene.run(|encoder| {
        encoder.fill_buffer(&scene.x, 0..64, 5);
        scene.dispatch(encoder, "main", 4);
        encoder.copy_buffer(&scene.out, 0, &scene.x, 0, 64);
        scene.dispatch(encoder, "main", 2);
    });
    scene.words(&scene.out)
}

#[test]
fn a_seed_gives_the_same_bytes_each_time() {
    let all: BTreeSet<[u32; 16]> = (0..50).map(mixture).collect();
    assert!(all.len() > 40, "{}", all.len());
    for seed in 0..50 {
        assert_eq!(mixture(seed), mixture(seed), "seed {seed}");
    }
}

#[test]
fn a_kernel_that_never_ends_is_stopped() {
    let source = "@group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(1) fn main() { loop { if x[0] == 1 { break; } } }";
    for seed in 0..5 {
        let device = device(seed, Duration::from_millis(20));
        let queue = device.new_command_queue(&Default::default()).unwrap();
        let library = device.new_library(source).unwrap();
        let x = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() }).unwrap();
        let mut commands = device.new_command_buffer("test");
        commands.begin(&device.new_command_allocator("test"));
        let mut encoder = commands.compute_command_encoder("pass");
        let table = device.new_argument_table();
        table.set_buffer(0u32, &x);
        encoder.set_argument_table(&table);
        encoder.set_compute_pipeline(&device.new_compute_pipeline(&library, "main").unwrap());
        encoder.dispatch_threadgroups([3, 1, 1]);
        encoder.end_encoding();
        commands.end().unwrap();
        let error = queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }
}

#[test]
fn work_that_takes_turns_ends_when_the_device_is_dropped() {
    let source = format!(
        "{BINDINGS} @compute @workgroup_size(1) fn long() {{ for (var i = 0u; i < 100000; i++) {{ x[0] += 1; }} }}
        @compute @workgroup_size(1) fn short() {{ y[0] = 1; }}"
    );
    for seed in 0..8 {
        let device = device(seed, Duration::from_secs(10));
        let library = device.new_library(&source).unwrap();
        let [x, y] = [0, 1].map(|_| {
            let hazard_tracking_mode = HazardTrackingMode::Untracked;
            device
                .new_buffer(&BufferDescriptor { size: 64, hazard_tracking_mode, ..Default::default() })
                .unwrap()
        });
        let commits = [("long", 0u32, &x), ("short", 1, &y)].map(|(kernel, binding, buffer)| {
            let queue = device.new_command_queue(&Default::default()).unwrap();
            let mut commands = device.new_command_buffer(kernel);
            commands.begin(&device.new_command_allocator("test"));
            let mut encoder = commands.compute_command_encoder("pass");
            let table = device.new_argument_table();
            table.set_buffer(binding, buffer);
            encoder.set_argument_table(&table);
            encoder.set_compute_pipeline(&device.new_compute_pipeline(&library, kernel).unwrap());
            encoder.dispatch_threadgroups([1, 1, 1]);
            encoder.end_encoding();
            commands.end().unwrap();
            queue.commit(&[&commands]).unwrap()
        });
        commits[1].wait_until_completed().unwrap();
        assert_eq!(y.read::<u32>(0, 1).unwrap(), [1]);
    }
}

#[test]
fn observation_is_refused() {
    let cpu = CpuDescriptor { order: Order::Adversary(1), ..Default::default() };
    let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..Default::default() };
    let error = Device::open(Box::new(CpuBackend::new(&cpu).unwrap()), descriptor).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
