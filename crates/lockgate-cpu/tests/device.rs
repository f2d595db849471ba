//! The CPU device through the runtime: what runs, in which order, and what happens when things go wrong.

mod scene;

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::*;
use scene::Scene;
use std::time::{Duration, Instant};

fn open(order: Order) -> Device {
    open_with(CpuDescriptor { order, ..Default::default() }, DeviceDescriptor::default())
}

fn open_with(cpu: CpuDescriptor, descriptor: DeviceDescriptor) -> Device {
    Device::new(Box::new(CpuBackend::new(&cpu).unwrap()), descriptor)
}

#[test]
fn untracked_work_runs_backwards_where_nothing_orders_it() {
    let scene = Scene::new(&open(Order::Reverse));
    let (a, b) = (
        scene.buffer(&[7; 64], HazardTrackingMode::Untracked),
        scene.buffer(&[1; 64], HazardTrackingMode::Untracked),
    );
    let double = scene.pipeline("double");
    let mut results = Vec::new();
    for barrier in [false, true] {
        b.write(0, &[1u32; 64]).unwrap();
        let table = scene.table(&b);
        scene
            .run(|commands| {
                let mut encoder = commands.compute_command_encoder("copy, double");
                encoder.copy_buffer(&a, 0, &b, 0, 256);
                if barrier {
                    encoder.intrapass_barrier(Barrier {
                        after: Stages::BLIT,
                        before: Stages::DISPATCH,
                        ..Default::default()
                    });
                }
                encoder.set_compute_pipeline(&double);
                encoder.set_argument_table(&table);
                encoder.dispatch_threads([64, 1, 1]);
            })
            .unwrap();
        results.push(b.read::<u32>(0, 1).unwrap()[0]);
    }
    assert_eq!(results, [7, 14], "without the barrier the copy comes last");
}

#[test]
fn a_given_order_is_replayed() {
    let run = |order: Vec<u64>| {
        let scene = Scene::new(&open(Order::Given(order)));
        let data = scene.buffer(&[1; 4], HazardTrackingMode::Untracked);
        let (pipeline, table) = (scene.pipeline("mul_add"), scene.table(&data));
        scene
            .run(|commands| {
                let mut encoder = commands.compute_command_encoder("three");
                encoder.set_compute_pipeline(&pipeline);
                encoder.set_argument_table(&table);
                for factor in [1u32, 10, 100] {
                    encoder.set_immediates(&[factor]);
                    encoder.dispatch_threads([4, 1, 1]);
                }
            })
            .unwrap();
        data.read::<u32>(0, 1).unwrap()[0]
    };
    let apply = |order: [u32; 3]| order.iter().fold(1, |value, factor| value * 3 + factor);
    assert_eq!(run(vec![0, 1, 2]), apply([1, 10, 100]));
    assert_eq!(run(vec![2, 0, 1]), apply([100, 1, 10]));
    assert_eq!(run(vec![1, 2, 0]), apply([10, 100, 1]));
    assert_eq!(run(vec![]), apply([1, 10, 100]), "what is not listed runs as recorded");
}

#[test]
fn an_endless_kernel_is_stopped_and_the_device_goes_on() {
    let cpu = CpuDescriptor { time_limit: Duration::from_millis(50), ..Default::default() };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
    let other = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
    let (forever, double) = (scene.pipeline("forever"), scene.pipeline("double"));
    let run = |pipeline: &ComputePipeline, on: &Buffer| {
        scene.run(|commands| {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(pipeline);
            encoder.set_argument_table(&scene.table(on));
            encoder.dispatch_threads([1, 1, 1]);
        })
    };
    let error = run(&forever, &data).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("`forever`"), "{error}");
    run(&double, &other).unwrap();
    assert_eq!(other.read::<u32>(0, 1).unwrap(), [2]);
}

#[test]
fn what_waits_for_a_failure_is_not_run() {
    let cpu = CpuDescriptor {
        time_limit: Duration::from_millis(50),
        order: Order::Recording,
        ..Default::default()
    };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
    let free = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
    let (forever, double) = (scene.pipeline("forever"), scene.pipeline("double"));
    let record = |pipeline: &ComputePipeline, on: &Buffer| {
        scene
            .record("", |commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(pipeline);
                encoder.set_argument_table(&scene.table(on));
                encoder.dispatch_threads([1, 1, 1]);
            })
            .unwrap()
    };
    let fails = scene.queue.commit(&[&record(&forever, &data)]).unwrap();
    let behind = scene.queue.commit(&[&record(&double, &data)]).unwrap();
    let beside = scene.queue.commit(&[&record(&double, &free)]).unwrap();
    assert_eq!(fails.wait_until_completed().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(behind.wait_until_completed().unwrap_err().kind(), ErrorKind::DependencyFailed);
    beside.wait_until_completed().unwrap();
    assert_eq!(free.read::<u32>(0, 1).unwrap(), [2]);
}

#[test]
fn without_its_fence_an_alias_is_overwritten_too_early() {
    let result = |seed: u64, fenced: bool| {
        let scene = Scene::new(&open(Order::Random(seed)));
        let descriptor = HeapDescriptor { size: 256, storage: StorageMode::Shared, ..Default::default() };
        let heap = scene.device.new_heap(&descriptor).unwrap();
        let out = scene.buffer(&[0; 8], HazardTrackingMode::Untracked);
        let fence = scene.device.new_fence("scratch");
        let commands = scene.record("two passes", |commands| {
            for (at, value) in [(0, 1u8), (16, 2)] {
                let scratch = heap.new_buffer(&BufferDescriptor { size: 16, ..Default::default() }).unwrap();
                let mut encoder = commands.compute_command_encoder("");
                if fenced {
                    encoder.wait_for_fence(&fence, Stages::ALL);
                }
                encoder.fill_buffer(&scratch, 0..16, value);
                encoder.intrapass_barrier(Barrier::default());
                encoder.copy_buffer(&scratch, 0, &out, at, 16);
                encoder.update_fence(&fence, Stages::ALL);
                drop(encoder);
                scratch.make_aliasable().unwrap();
            }
        });
        scene.queue.commit(&[&commands.unwrap()]).unwrap().wait_until_completed().unwrap();
        assert_eq!(heap.used_size(), 0);
        out.read::<u8>(0, 32).unwrap()
    };
    let expected = [[1u8; 16], [2; 16]].concat();
    let wrong = (0..40).filter(|seed| result(*seed, false) != expected).count();
    assert!((1..40).contains(&wrong), "some orders are wrong, some happen to be right: {wrong}");
    assert!((0..40).all(|seed| result(seed, true) == expected));
}

/// M40: what fails before a signal leaves the value as it was.
#[test]
fn a_failure_before_a_signal_leaves_the_value() {
    let time_limit = Duration::from_millis(50);
    let cpu = CpuDescriptor { time_limit, order: Order::Recording, ..Default::default() };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
    let (forever, table) = (scene.pipeline("forever"), scene.table(&data));
    let commands = scene.record("fails", |commands| {
        let mut encoder = commands.compute_command_encoder("");
        encoder.set_compute_pipeline(&forever);
        encoder.set_argument_table(&table);
        encoder.dispatch_threads([1, 1, 1]);
    });
    let commit = scene.queue.commit(&[&commands.unwrap()]).unwrap();
    let done = scene.device.new_shared_event("done");
    scene.queue.signal_event(&done, 1);
    assert!(!done.wait_until_signaled_value(1, Duration::from_millis(1)));
    assert_eq!(commit.wait_until_completed().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(done.signaled_value(), 0);
}

const WAITING: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var<storage, read_write> gate: array<atomic<u32>>;
@compute @workgroup_size(1) fn await_gate() { while atomicLoad(&gate[0]) == 0u {} }
@compute @workgroup_size(1) fn open_gate() { if data[0] == 2u { atomicStore(&gate[0], 1u); } }
";

/// A long dispatch between small ones: what the first of them makes ready has to run beside it, or it never ends.
#[test]
fn small_works_do_not_wait_for_a_long_one() {
    let cpu = CpuDescriptor { threads: 2, time_limit: Duration::from_secs(5), ..Default::default() };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let library = scene.device.new_library(WAITING).unwrap();
    let [wait, open] =
        ["await_gate", "open_gate"].map(|name| scene.device.new_compute_pipeline(&library, name).unwrap());
    let double = scene.pipeline("double");
    for _ in 0..20 {
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        let gate = scene.buffer(&[0], HazardTrackingMode::Untracked);
        let table = scene.table(&data);
        table.set_buffer("gate", &gate);
        let run = scene.run(|commands| {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_argument_table(&table);
            for pipeline in [&double, &wait, &open] {
                encoder.set_compute_pipeline(pipeline);
                let count = if pipeline.label() == double.label() { 64 } else { 1 };
                encoder.dispatch_threads([count, 1, 1]);
            }
        });
        run.unwrap();
    }
}

/// The thread that waits for the first commit may run what the second waits for, and then goes away.
#[test]
fn what_a_waiting_thread_makes_ready_is_run_without_it() {
    let scene = Scene::new(&open(Order::Free));
    let double = scene.pipeline("double");
    for _ in 0..200 {
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        let commit = || {
            let commands = scene.record("", |commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&double);
                encoder.set_argument_table(&scene.table(&data));
                encoder.dispatch_threads([64, 1, 1]);
            });
            scene.queue.commit(&[&commands.unwrap()]).unwrap()
        };
        let [first, second] = [commit(), commit()];
        first.wait_until_completed().unwrap();
        let begin = Instant::now();
        while !second.is_completed() {
            assert!(begin.elapsed() < Duration::from_secs(10), "nobody runs it");
            std::thread::yield_now();
        }
    }
}

#[test]
fn each_command_is_timed_where_that_was_asked_for() {
    for tracing in [true, false] {
        let descriptor = DeviceDescriptor { tracing, ..Default::default() };
        let scene = Scene::new(&open_with(CpuDescriptor::default(), descriptor));
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        let (double, table) = (scene.pipeline("double"), scene.table(&data));
        let run = scene.run(|commands| {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&double);
            encoder.set_argument_table(&table);
            (0..8).for_each(|_| encoder.dispatch_threads([64, 1, 1]));
        });
        let feedback = run.unwrap();
        let named: Vec<_> =
            feedback.commands().iter().filter_map(|timing| Some(timing.command?.command)).collect();
        let expected: &[u32] = if tracing { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[] };
        assert_eq!(named, expected, "a chain is one piece of work");
        assert!(feedback.gpu_end_time() > Duration::ZERO);
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [256]);
    }
}

/// Small works before, behind and beside one that is stopped.
#[test]
fn a_time_out_among_small_works_fails_what_waits_for_it_alone() {
    let cpu = CpuDescriptor { time_limit: Duration::from_millis(50), ..Default::default() };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let [data, beside] = [0, 1].map(|_| scene.buffer(&[1; 64], HazardTrackingMode::Tracked));
    let (forever, double) = (scene.pipeline("forever"), scene.pipeline("double"));
    let run = scene.run(|commands| {
        let mut encoder = commands.compute_command_encoder("");
        let (table, other) = (scene.table(&data), scene.table(&beside));
        for _ in 0..5 {
            encoder.set_compute_pipeline(&double);
            encoder.set_argument_table(&other);
            encoder.dispatch_threads([64, 1, 1]);
        }
        for pipeline in [&double, &forever, &double] {
            encoder.set_compute_pipeline(pipeline);
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([if pipeline.label() == "forever" { 1 } else { 64 }, 1, 1]);
        }
    });
    assert_eq!(run.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(beside.read::<u32>(0, 1).unwrap(), [32]);
    assert_eq!(data.read::<u32>(252, 1).unwrap(), [2], "the last was not run");
}

/// Telling another thread would take longer.
#[test]
fn who_commits_runs_what_is_small_and_alone() {
    let cpu = CpuDescriptor { time_limit: Duration::from_millis(50), ..Default::default() };
    let scene = Scene::new(&open_with(cpu, DeviceDescriptor::default()));
    let data = scene.buffer(&[1; 64], HazardTrackingMode::Untracked);
    let commit = |name: &str, count: u32| {
        let (pipeline, table) = (scene.pipeline(name), scene.table(&data));
        let commands = scene.record("", |commands| {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&pipeline);
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([count, 1, 1]);
        });
        scene.queue.commit(&[&commands.unwrap()]).unwrap()
    };
    assert!(commit("double", 64).is_completed());
    assert_eq!(data.read::<u32>(0, 1).unwrap(), [2]);
    let long = commit("forever", 1);
    assert!(!long.is_completed(), "nobody knows when it ends");
    assert_eq!(long.wait_until_completed().unwrap_err().kind(), ErrorKind::Timeout);
}
