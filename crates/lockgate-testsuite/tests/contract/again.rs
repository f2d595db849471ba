//! The same commands again: a device may keep what it made of them, and must notice every difference.

use crate::scene::Scene;
use crate::subjects::{Subject, on_all_devices, subjects};
use lockgate_runtime::*;
use lockgate_vulkan::{VulkanBackend, VulkanDescriptor};

/// Records `data = data * 3 + factor`, once each for two buffers.
fn step(scene: &Scene, buffers: [&Buffer; 2], pipeline: &ComputePipeline, factor: u32) -> CommandBuffer {
    let record = |commands: &mut CommandBuffer| {
        let mut encoder = commands.compute_command_encoder("");
        encoder.set_compute_pipeline(pipeline);
        encoder.set_immediates(&[factor]);
        for buffer in buffers {
            encoder.set_argument_table(&scene.table(buffer));
            encoder.dispatch_threads([64, 1, 1]);
        }
    };
    scene.record("step", record).unwrap()
}

fn run(scene: &Scene, buffers: [&Buffer; 2], pipeline: &ComputePipeline, factor: u32) {
    let commands = step(scene, buffers, pipeline, factor);
    scene.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
}

#[test]
fn what_comes_again_is_done_again_and_what_differs_is_not_taken_for_the_same() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let [a, b] = [(); 2].map(|()| scene.buffer(&[1; 64], HazardTrackingMode::Tracked));
        let pipeline = scene.pipeline("mul_add");
        let mut expected = 1u32;
        for factor in [5, 5, 5, 6, 5, 6] {
            run(&scene, [&a, &b], &pipeline, factor);
            expected = expected * 3 + factor;
            assert_eq!(a.read::<u32>(0, 64).unwrap(), vec![expected; 64]);
            assert_eq!(b.read::<u32>(0, 64).unwrap(), vec![expected; 64]);
        }
        // The same buffer twice, then another in the place of one that is gone.
        run(&scene, [&a, &a], &pipeline, 5);
        assert_eq!(a.read::<u32>(0, 1).unwrap()[0], (expected * 3 + 5) * 3 + 5);
        assert_eq!(b.read::<u32>(0, 1).unwrap()[0], expected);
        drop(b);
        for round in 0..4 {
            let other = scene.buffer(&[round; 64], HazardTrackingMode::Tracked);
            run(&scene, [&a, &other], &pipeline, 5);
            assert_eq!(other.read::<u32>(0, 64).unwrap(), vec![round * 3 + 5; 64]);
        }
        // Another kernel with the same bindings.
        let double = scene.pipeline("double");
        let words = a.read::<u32>(0, 64).unwrap();
        run(&scene, [&a, &a], &double, 5);
        let quadrupled: Vec<u32> = words.iter().map(|word| word.wrapping_mul(4)).collect();
        assert_eq!(a.read::<u32>(0, 64).unwrap(), quadrupled);
    });
}

#[test]
fn several_of_the_same_are_in_flight_at_once() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let [a, b] = [(); 2].map(|()| scene.buffer(&[1; 64], HazardTrackingMode::Tracked));
        let pipeline = scene.pipeline("mul_add");
        for _ in 0..3 {
            let all: Vec<CommandBuffer> = (0..6).map(|_| step(&scene, [&a, &b], &pipeline, 1)).collect();
            let commits: Vec<Commit> =
                all.iter().map(|commands| scene.queue.commit(&[commands]).unwrap()).collect();
            commits.iter().for_each(|commit| drop(commit.wait_until_completed().unwrap()));
        }
        let expected = (0..18).fold(1u32, |word, _| word.wrapping_mul(3).wrapping_add(1));
        assert_eq!(a.read::<u32>(0, 64).unwrap(), vec![expected; 64]);
        assert_eq!(b.read::<u32>(0, 64).unwrap(), vec![expected; 64]);
    });
}

/// One after another is in flight, and the host stays behind, catches up, or writes in between.
#[test]
fn frames_follow_each_other_however_far_the_host_is_behind() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let [a, b, words] = [(); 3].map(|()| scene.buffer(&[1; 64], HazardTrackingMode::Tracked));
        let pipeline = scene.pipeline("mul_add");
        let (mut expected, mut written) = (1u32, 1u32);
        for behind in [0usize, 1, 2, 3, 1] {
            let mut flying = std::collections::VecDeque::new();
            for frame in 0..8u32 {
                let own = [if frame % 3 == 2 { &words } else { &b }, &a];
                flying.push_back(scene.queue.commit(&[&step(&scene, own, &pipeline, 1)]).unwrap());
                expected = expected.wrapping_mul(3).wrapping_add(1);
                if frame % 3 == 2 {
                    written = written.wrapping_mul(3).wrapping_add(1);
                }
                if frame == 5 {
                    assert_eq!(words.read::<u32>(0, 64).unwrap(), vec![written; 64]);
                    written = frame;
                    words.write(0, &[written; 64]).unwrap();
                }
                if flying.len() > behind {
                    flying.pop_front().unwrap().wait_until_completed().unwrap();
                }
            }
            // The last alone: what it was ordered behind is done too.
            flying.pop_back().into_iter().for_each(|last| drop(last.wait_until_completed().unwrap()));
            assert_eq!(a.read::<u32>(0, 64).unwrap(), vec![expected; 64], "{behind} behind");
        }
    });
}

#[test]
fn vulkan_records_what_comes_again_once() {
    for subject in subjects() {
        let Subject::Vulkan(name, queues) = subject else { continue };
        let descriptor = VulkanDescriptor { adapter: Some(name), queues, ..Default::default() };
        let backend = VulkanBackend::open(&descriptor).unwrap();
        let counters = backend.counters();
        let scene = Scene::new(&Device::new(Box::new(backend), Default::default()));
        let [a, b] = [(); 2].map(|()| scene.buffer(&[1; 64], HazardTrackingMode::Tracked));
        let pipeline = scene.pipeline("mul_add");
        (0..5).for_each(|_| run(&scene, [&a, &b], &pipeline, 7));
        assert_eq!((counters.batches(), counters.repeated()), (5, 4));
        run(&scene, [&b, &a], &pipeline, 7);
        assert_eq!((counters.batches(), counters.repeated()), (6, 4));
    }
}
