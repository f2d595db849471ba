//! Recording allocates nothing in the steady state.

use lockgate_runtime::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KERNEL: &str = "@group(0) @binding(0) var<storage, read_write> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@compute @workgroup_size(64) fn add(@builtin(global_invocation_id) id: vec3u) { a[id.x] += b[id.x]; }";

#[test]
fn recording_the_same_again_allocates_nothing() {
    // Checking keeps what was committed for a while, so recording needs fresh memory then.
    let descriptor = DeviceDescriptor { checking: Checking::Off, ..Default::default() };
    let device = Device::new(Box::new(null::NullBackend::default()), descriptor);
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let library = device.new_library(KERNEL).unwrap();
    let add = device.new_compute_pipeline(&library, "add").unwrap();
    let buffer = || device.new_buffer(&BufferDescriptor { size: 4096, ..Default::default() }).unwrap();
    let (a, b) = (buffer(), buffer());
    let table = device.new_argument_table();
    let fence = device.new_fence("f");
    let allocator = device.new_command_allocator("frame");
    let mut commands = device.new_command_buffer("frame");
    let mut counts = Vec::new();
    for frame in 0..6 {
        let before = COUNT.with(Cell::get);
        commands.begin(&allocator);
        for pass in 0..20u32 {
            let mut encoder = commands.compute_command_encoder("a pass with a label");
            encoder.push_debug_group("group");
            encoder.wait_for_fence(&fence, Stages::ALL);
            encoder.copy_buffer(&a, 0, &b, 0, 64);
            encoder.intrapass_barrier(Barrier::default());
            encoder.set_compute_pipeline(&add);
            table.set_buffer(0, if pass % 2 == 0 { &a } else { &b });
            table.set_buffer("b", if pass % 2 == 0 { &b } else { &a });
            encoder.set_argument_table(&table);
            encoder.set_immediates(&[pass]);
            encoder.dispatch_threads([1024, 1, 1]);
            encoder.dispatch_threadgroups([4, 4, 1]);
            encoder.producer_barrier(Barrier::default());
            encoder.update_fence(&fence, Stages::DISPATCH);
            encoder.pop_debug_group();
            encoder.end_encoding();
        }
        commands.end().unwrap();
        counts.push(COUNT.with(Cell::get) - before);
        queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        allocator.reset().unwrap();
        assert!(frame > 0 || counts[0] > 0, "the allocator counts");
    }
    assert_eq!(counts[3..], [0, 0, 0], "{counts:?}");
}
