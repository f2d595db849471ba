//! Devices that are lost, memory that runs out, and caches on disk that are broken.

use crate::scene::Scene;
use crate::subjects::{Subject, subjects};
use lockgate_runtime::*;
use lockgate_vulkan::{Fault, VulkanBackend, VulkanDescriptor};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

/// All Vulkan drivers, with a device for each that is opened as `descriptor` says.
fn on_drivers(descriptor: &VulkanDescriptor, test: impl Fn(&VulkanDescriptor, Device)) {
    for subject in subjects() {
        let Subject::Vulkan(name, 0) = subject else { continue };
        eprintln!("{name}");
        let own = VulkanDescriptor { adapter: Some(name), ..descriptor.clone() };
        test(&own, open(&own));
    }
}

fn open(descriptor: &VulkanDescriptor) -> Device {
    Device::new(Box::new(VulkanBackend::open(descriptor).unwrap()), Default::default())
}

fn mul_add(scene: &Scene, data: &Buffer) -> CommandBuffer {
    let record = |commands: &mut CommandBuffer| {
        let mut encoder = commands.compute_command_encoder("");
        encoder.set_compute_pipeline(&scene.pipeline("mul_add"));
        encoder.set_argument_table(&scene.table(data));
        encoder.set_immediates(&[1u32]);
        encoder.dispatch_threads([64, 1, 1]);
    };
    scene.record("step", record).unwrap()
}

#[test]
fn a_lost_device_says_so_everywhere_and_lets_everybody_go() {
    let descriptor =
        VulkanDescriptor { fault: Some(Fault::DeviceLost { submissions: 2 }), ..Default::default() };
    on_drivers(&descriptor, |descriptor, device| {
        let scene = Scene::new(&device);
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        let gate = device.new_shared_event("never");
        let (sender, receiver) = channel();
        // Who waits for what will never come is released when the device goes.
        let waiting = {
            let gate = gate.clone();
            std::thread::spawn(move || gate.wait_until_signaled_value(1, Duration::from_secs(60)))
        };
        let [first, second, third, fourth] = [(); 4].map(|()| mul_add(&scene, &data));
        scene.queue.commit(&[&first]).unwrap().wait_until_completed().unwrap();
        let on_its_way = scene.queue.commit(&[&second]).unwrap();
        on_its_way.add_feedback_handler(move |feedback| sender.send(feedback.error().is_some()).unwrap());
        let ended = |commands: &CommandBuffer| {
            scene.queue.commit(&[commands]).and_then(|commit| commit.wait_until_completed().map(drop))
        };
        let lost = ended(&third).unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::DeviceLost, "{lost}");
        // The second may have been told before.
        if let Err(why) = on_its_way.wait_until_completed() {
            assert_eq!(why.kind(), ErrorKind::DeviceLost);
        }
        receiver.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(!waiting.join().unwrap());
        let later: [Result<()>; 6] = [
            ended(&fourth),
            device.new_buffer(&BufferDescriptor { size: 16, ..Default::default() }).map(drop),
            device.new_compute_pipeline(&scene.library, "double").map(drop),
            data.read::<u32>(0, 1).map(drop),
            data.write(0, &[1u32]),
            device.new_sampler(&SamplerDescriptor::default()).map(drop),
        ];
        for result in later {
            let why = result.unwrap_err();
            assert_eq!(why.kind(), ErrorKind::DeviceLost, "{why}");
        }
        drop(device);
        // A fresh one works.
        let fresh = VulkanDescriptor { fault: None, ..descriptor.clone() };
        let scene = Scene::new(&open(&fresh));
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        scene.queue.commit(&[&mul_add(&scene, &data)]).unwrap().wait_until_completed().unwrap();
        assert_eq!(data.read::<u32>(0, 64).unwrap(), vec![4; 64]);
    });
}

#[test]
fn exhausted_memory_is_an_error_that_names_the_resource() {
    let descriptor =
        VulkanDescriptor { fault: Some(Fault::OutOfMemory { allocations: 8 }), ..Default::default() };
    on_drivers(&descriptor, |_, device| {
        let one =
            |label: &str| device.new_buffer(&BufferDescriptor { size: 4096, label, ..Default::default() });
        let made: Vec<Result<Buffer>> = (0..12).map(|at| one(&format!("buffer {at}"))).collect();
        let why = made[11].as_ref().unwrap_err();
        assert_eq!(why.kind(), ErrorKind::OutOfMemory, "{why}");
        assert!(why.to_string().contains("buffer 11"), "{why}");
        let heap = HeapDescriptor { size: 1 << 16, label: "scratch", ..Default::default() };
        let why = device.new_heap(&heap).unwrap_err();
        assert!(why.kind() == ErrorKind::OutOfMemory && why.to_string().contains("scratch"), "{why}");
        // What was made before still works.
        let first = made[0].as_ref().unwrap();
        first.write(0, &[7u32]).unwrap();
        assert_eq!(first.read::<u32>(0, 1).unwrap(), [7]);
    });
}

const TEXELS: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@group(0) @binding(1) var image: texture_2d<f32>;
@compute @workgroup_size(1) fn count() { data[0] += u32(textureLoad(image, vec2i(0), 0).x) + 1u; }
";

#[test]
fn a_view_that_the_driver_refuses_fails_its_command_and_what_waits_for_it() {
    let descriptor = VulkanDescriptor { fault: Some(Fault::RefusedView { views: 1 }), ..Default::default() };
    on_drivers(&descriptor, |_, device| {
        let scene = Scene::new(&device);
        let library = device.new_library(TEXELS).unwrap();
        let count = device.new_compute_pipeline(&library, "count").unwrap();
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
        let image =
            || device.new_texture(&TextureDescriptor { width: 4, height: 4, ..Default::default() }).unwrap();
        let [shown, refused] = [image(), image()];
        let run = |image: &Texture| {
            let commands = scene.record("count", |commands| {
                let table = scene.table(&data);
                table.set_texture((0, 1), image);
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&count);
                encoder.set_argument_table(&table);
                encoder.dispatch_threadgroups([1, 1, 1]);
            });
            scene.queue.commit(&[&commands.unwrap()]).unwrap().wait_until_completed()
        };
        run(&shown).unwrap();
        let why = run(&refused).unwrap_err();
        assert_eq!(why.kind(), ErrorKind::Unsupported, "{why}");
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [2]);
        // The device goes on.
        run(&shown).unwrap();
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [3]);
    });
}

#[test]
fn what_waits_for_a_dispatch_that_cannot_run_is_not_run() {
    let descriptor = VulkanDescriptor { fault: Some(Fault::RefusedView { views: 0 }), ..Default::default() };
    on_drivers(&descriptor, |_, device| {
        let scene = Scene::new(&device);
        let count = device.new_compute_pipeline(&device.new_library(TEXELS).unwrap(), "count").unwrap();
        let [data, other] = [1, 1].map(|word| scene.buffer(&[word; 64], HazardTrackingMode::Tracked));
        let image = device.new_texture(&TextureDescriptor { width: 4, height: 4, ..Default::default() });
        let fails = scene.record("fails", |commands| {
            let table = scene.table(&data);
            table.set_texture((0, 1), &image.unwrap());
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&count);
            encoder.set_argument_table(&table);
            encoder.dispatch_threadgroups([1, 1, 1]);
            encoder.fill_buffer(&data, 0..64, 2);
            encoder.fill_buffer(&other, 0..256, 3);
        });
        // All of it is in flight before anything begins.
        let [gate, done] = ["gate", "done"].map(|name| device.new_shared_event(name));
        scene.queue.wait_for_event(&gate, 1);
        let failed = scene.queue.commit(&[&fails.unwrap()]).unwrap();
        scene.queue.signal_event(&done, 1);
        gate.set_signaled_value(1);
        let error = failed.wait_until_completed().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [1], "the fill waits for the dispatch");
        assert_eq!(other.read::<u8>(0, 1).unwrap(), [3], "this one does not");
        assert_eq!(done.signaled_value(), 0, "and the signal is not given (A17)");
    });
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("lockgate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn file(&self) -> Option<PathBuf> {
        let mut files = std::fs::read_dir(&self.0).unwrap();
        files.next().map(|entry| entry.unwrap().path())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Breaks a cache that is whole.
type Break = fn(&[u8]) -> Vec<u8>;

#[test]
fn a_broken_pipeline_cache_is_ignored_and_written_anew() {
    let breaks: [(&str, Break); 4] = [
        ("cut", |whole| whole[..whole.len() / 2].to_vec()),
        ("empty", |_| Vec::new()),
        ("another file", |_| b"this is no cache of pipelines, but a text".to_vec()),
        ("a bit turned over", |whole| {
            let mut bytes = whole.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        }),
    ];
    on_drivers(&VulkanDescriptor::default(), |descriptor, device| {
        drop(device);
        let folder = Folder::new("pipelines");
        let descriptor = VulkanDescriptor { pipeline_cache: Some(folder.0.clone()), ..descriptor.clone() };
        let use_it = || {
            let scene = Scene::new(&open(&descriptor));
            let data = scene.buffer(&[1; 64], HazardTrackingMode::Tracked);
            scene.queue.commit(&[&mul_add(&scene, &data)]).unwrap().wait_until_completed().unwrap();
            assert_eq!(data.read::<u32>(0, 64).unwrap(), vec![4; 64]);
        };
        use_it();
        let Some(file) = folder.file() else {
            eprintln!("the driver keeps no pipelines");
            return;
        };
        let whole = std::fs::read(&file).unwrap();
        for (name, broken) in breaks {
            std::fs::write(&file, broken(&whole)).unwrap();
            use_it();
            assert!(is_whole(&file, whole.len()), "{name}: it was not written anew");
        }
        assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "something was left beside the cache");
    });
}

/// Whether a file has the head of a cache and is about as long as one.
fn is_whole(file: &Path, length: usize) -> bool {
    let bytes = std::fs::read(file).unwrap();
    bytes.starts_with(b"LGVKPC") && bytes.len() * 10 >= length * 9
}
