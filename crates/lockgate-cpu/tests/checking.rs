//! Findings of programs that run: what they say, whom they reach, and what `Checking::Deny` refuses.

use lockgate_cpu::{CpuBackend, CpuDescriptor};
use lockgate_runtime::*;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn device(checking: Checking) -> Device {
    let backend = CpuBackend::new(&CpuDescriptor::default()).expect("the CPU device opens");
    Device::new(Box::new(backend), DeviceDescriptor { checking, ..Default::default() })
}

fn untracked(device: &Device, label: &str) -> Buffer {
    let hazard_tracking_mode = HazardTrackingMode::Untracked;
    device
        .new_buffer(&BufferDescriptor { size: 64, hazard_tracking_mode, label, ..Default::default() })
        .unwrap()
}

/// A command buffer with one pass.
fn pass(device: &Device, label: &str, record: impl FnOnce(&mut ComputeCommandEncoder<'_>)) -> CommandBuffer {
    let allocator = device.new_command_allocator("");
    let mut commands = device.new_command_buffer("");
    commands.begin(&allocator);
    record(&mut commands.compute_command_encoder(label));
    commands.end().unwrap();
    commands
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.code.name()).collect()
}

#[test]
fn a_hazard_names_both_calls_and_the_missing_one() {
    let device = device(Checking::Collect);
    let (a, b) = (untracked(&device, "a"), untracked(&device, "b"));
    let queue =
        device.new_command_queue(&CommandQueueDescriptor { label: "main", ..Default::default() }).unwrap();
    let line = line!();
    let commands = pass(&device, "two", |encoder| {
        encoder.fill_buffer(&a, 0..64, 1);
        encoder.copy_buffer(&a, 0, &b, 0, 64);
    });
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    let report = device.take_report();
    assert_eq!(codes(&report), ["read-after-write"]);
    let finding = &report.findings[0];
    assert_eq!(finding.origins.iter().map(|at| at.line()).collect::<Vec<_>>(), [line + 2, line + 3]);
    let text = finding.to_string();
    for part in [
        "`copy` may read `a` before `fill` has written it",
        &format!("tests/checking.rs:{}", line + 2),
        "queue main, pass two",
        "writes a[0..64]",
        "encoder.intrapass_barrier(Barrier { after: Stages::BLIT, before: Stages::BLIT, ..Default::default() });",
        "`a` is untracked",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_mended_twin_is_silent() {
    let device = device(Checking::Collect);
    let (a, b) = (untracked(&device, "a"), untracked(&device, "b"));
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let commands = pass(&device, "two", |encoder| {
        encoder.fill_buffer(&a, 0..64, 1);
        encoder.intrapass_barrier(Barrier {
            after: Stages::BLIT,
            before: Stages::BLIT,
            ..Default::default()
        });
        encoder.copy_buffer(&a, 0, &b, 0, 64);
    });
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    assert!(device.take_report().findings.is_empty());
    assert_eq!(b.read::<u32>(0, 1).unwrap(), [0x0101_0101]);
}

#[test]
fn what_is_found_again_is_counted() {
    let device = device(Checking::Collect);
    let a = untracked(&device, "a");
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let told = Arc::new(Mutex::new(0));
    let count = told.clone();
    device.set_finding_handler(move |_| *count.lock().unwrap() += 1);
    for _ in 0..200 {
        let commands = pass(&device, "", |encoder| {
            for value in 0..2 {
                encoder.fill_buffer(&a, 0..64, value);
            }
        });
        queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    }
    let report = device.take_report();
    assert_eq!(codes(&report), ["write-after-write"], "the host waits between two commits");
    assert_eq!(report.findings[0].count, 200);
    assert_eq!(*told.lock().unwrap(), 1);
}

#[test]
fn a_handler_may_use_the_device() {
    let device = device(Checking::Collect);
    let a = untracked(&device, "a");
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let (clone, told) = (device.clone(), Arc::new(Mutex::new(Vec::new())));
    let list = told.clone();
    device.set_finding_handler(move |finding| {
        let fresh = clone.new_buffer(&BufferDescriptor { size: 4, ..Default::default() });
        list.lock().unwrap().push((finding.code.name(), fresh.is_ok()));
    });
    let commands = pass(&device, "", |encoder| {
        encoder.fill_buffer(&a, 0..64, 0);
        encoder.fill_buffer(&a, 0..64, 1);
    });
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    assert_eq!(*told.lock().unwrap(), [("write-after-write", true)]);
}

#[test]
fn deny_refuses_a_commit_before_anything_runs() {
    let device = device(Checking::Deny);
    let (a, b) = (untracked(&device, "a"), untracked(&device, "b"));
    a.write(0, &[7u32; 16]).unwrap();
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let wrong = pass(&device, "", |encoder| {
        encoder.fill_buffer(&a, 0..64, 1);
        encoder.copy_buffer(&a, 0, &b, 0, 64);
    });
    let error = queue.commit(&[&wrong]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().contains("error[read-after-write]"), "{error}");
    assert_eq!(a.read::<u32>(0, 1).unwrap(), [7], "nothing ran");
    // What was refused never was: the next commit is held against nothing of it.
    let right = pass(&device, "", |encoder| encoder.copy_buffer(&a, 0, &b, 0, 64));
    queue.commit(&[&right]).unwrap().wait_until_completed().unwrap();
    assert_eq!(b.read::<u32>(0, 1).unwrap(), [7]);
    assert_eq!(codes(&device.take_report()), ["read-after-write"]);
}

#[test]
fn hazards_between_commits_and_queues_are_told_apart() {
    let device = device(Checking::Collect);
    let a = untracked(&device, "a");
    let queues = ["left", "right"].map(|label| {
        device.new_command_queue(&CommandQueueDescriptor { label, ..Default::default() }).unwrap()
    });
    let fill = |value| pass(&device, "fill", |encoder| encoder.fill_buffer(&a, 0..64, value));
    let commits = [(0, fill(0)), (0, fill(1)), (1, fill(2))]
        .map(|(queue, commands)| queues[queue].commit(&[&commands]).unwrap());
    commits.iter().for_each(|commit| {
        commit.wait_until_completed().unwrap();
    });
    let report = device.take_report();
    assert_eq!(codes(&report), ["write-after-write", "unordered-queues"]);
    let text = report.to_string();
    assert!(text.contains("left.signal_event(&new_event"), "{text}");
    assert!(text.contains("right.wait_for_event(&new_event"), "{text}");
}

#[test]
fn misuse_of_the_runtime_has_codes() {
    let device = device(Checking::Collect);
    let a = untracked(&device, "a");
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let allocator = device.new_command_allocator("frame");
    let mut commands = device.new_command_buffer("clear");
    commands.begin(&allocator);
    commands.compute_command_encoder("").fill_buffer(&a, 0..64, 0);
    commands.end().unwrap();
    assert!(allocator.reset().is_err(), "it was not committed");
    let done = device.new_shared_event("done");
    assert!(!done.wait_until_signaled_value(1, Duration::ZERO));
    assert!(allocator.reset().is_err(), "the wait was in vain");
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    assert!(queue.commit(&[&commands]).is_err());
    assert_eq!(codes(&device.take_report()), ["allocator-in-use", "ignored-timeout", "committed-twice"]);
}

#[test]
fn a_resource_outside_of_all_residency_sets_is_told() {
    let device = device(Checking::Collect);
    let (held, left_out) = (untracked(&device, "held"), untracked(&device, "left out"));
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let both = || pass(&device, "", |encoder| encoder.copy_buffer(&held, 0, &left_out, 0, 64));
    queue.commit(&[&both()]).unwrap().wait_until_completed().unwrap();
    assert!(codes(&device.take_report()).is_empty(), "without sets everything is resident");
    let set = device.new_residency_set("frame");
    set.add_buffer(&held);
    set.commit();
    queue.add_residency_set(&set).unwrap();
    queue.commit(&[&both()]).unwrap().wait_until_completed().unwrap();
    let report = device.take_report();
    assert_eq!(codes(&report), ["resource-not-resident"]);
    assert!(report.findings[0].to_string().contains("`left out`"));
}

#[test]
fn kernels_that_share_a_binding_and_no_byte_are_silent() {
    let device = device(Checking::Deny);
    let a = untracked(&device, "a");
    let library = device
        .new_library(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
             @compute @workgroup_size(1) fn even(@builtin(global_invocation_id) id: vec3u) { data[2u * id.x] = 1u; }
             @compute @workgroup_size(1) fn odd(@builtin(global_invocation_id) id: vec3u) { data[2u * id.x + 1u] = 2u; }
             @compute @workgroup_size(1) fn some(@builtin(global_invocation_id) id: vec3u) { data[data[0] % 16u] = 3u; }",
        )
        .unwrap();
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let run = |names: [&str; 2]| {
        let table = device.new_argument_table();
        table.set_buffer("data", &a);
        let kernels = names.map(|name| device.new_compute_pipeline(&library, name).unwrap());
        let commands = pass(&device, "", |encoder| {
            encoder.set_argument_table(&table);
            for kernel in &kernels {
                encoder.set_compute_pipeline(kernel);
                encoder.dispatch_threads([8, 1, 1]);
            }
        });
        let done = queue.commit(&[&commands]).map(|commit| commit.wait_until_completed().unwrap());
        (done.is_ok(), codes(&device.take_report()).len())
    };
    assert_eq!(run(["even", "odd"]), (true, 0), "they never meet");
    assert_eq!(run(["even", "even"]), (false, 1), "they always meet");
    assert_eq!(run(["some", "odd"]), (true, 1), "they may meet: a warning refuses nothing");
}

#[test]
fn a_certain_hazard_is_told_although_a_possible_one_was() {
    let device = device(Checking::Collect);
    let a = untracked(&device, "a");
    let library = device
        .new_library(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
             @compute @workgroup_size(1) fn some(@builtin(global_invocation_id) id: vec3u) { data[data[0] % 16u] = 3u; }
             @compute @workgroup_size(1) fn all(@builtin(global_invocation_id) id: vec3u) { data[id.x] = 1u; }",
        )
        .unwrap();
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let table = device.new_argument_table();
    table.set_buffer("data", &a);
    for name in ["some", "all"] {
        let kernel = device.new_compute_pipeline(&library, name).unwrap();
        let commands = pass(&device, "", |encoder| {
            encoder.set_argument_table(&table);
            encoder.set_compute_pipeline(&kernel);
            for _ in 0..2 {
                encoder.dispatch_threads([16, 1, 1]);
            }
        });
        queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    }
    let report = device.take_report();
    let severities: Vec<&str> = report.findings.iter().map(|finding| finding.severity.name()).collect();
    assert!(severities.contains(&"error"), "{report}");
    assert_eq!(severities.len(), 2, "{report}");
}

/// The environment of a process is read when a device is opened, so another process shows it.
#[test]
fn the_environment_overrides_what_a_device_is_opened_with() {
    let passes = |mode: &str| {
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "checking_that_is_off_finds_nothing"]).env(CHECKING_VARIABLE, mode);
        again.output().unwrap().status.success()
    };
    assert!(passes("off"));
    assert!(passes("a word that is none"), "then it is as the program says");
    assert!(!passes("collect") && !passes("deny"), "the device checks although it was opened with Off");
}

#[test]
fn checking_that_is_off_finds_nothing() {
    let device = device(Checking::Off);
    let a = untracked(&device, "a");
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let commands = pass(&device, "", |encoder| {
        encoder.fill_buffer(&a, 0..64, 0);
        encoder.fill_buffer(&a, 0..64, 1);
    });
    queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
    let report = device.take_report();
    assert!(report.findings.is_empty() && report.gaps.is_empty());
}
