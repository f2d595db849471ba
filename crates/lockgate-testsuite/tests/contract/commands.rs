//! What every device must do with commands, queues, events and mistakes.

use crate::scene::Scene;
use crate::subjects::{Subject, on_all_devices, subjects};
use lockgate_cpu::Order;
use lockgate_runtime::*;
use std::sync::mpsc::channel;
use std::time::Duration;

#[test]
fn tracked_work_gives_the_result_of_the_recording_in_every_order() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 1000], HazardTrackingMode::Tracked);
        let table = scene.table(&data);
        let pipeline = scene.pipeline("mul_add");
        for _ in 0..3 {
            scene
                .run(|commands| {
                    for pass in 0..3 {
                        let mut encoder = commands.compute_command_encoder(&format!("pass {pass}"));
                        encoder.set_compute_pipeline(&pipeline);
                        encoder.set_argument_table(&table);
                        for factor in 0..4u32 {
                            encoder.set_immediates(&[factor]);
                            encoder.dispatch_threads([1000, 1, 1]);
                        }
                    }
                })
                .unwrap();
        }
        let mut expected = 1u32;
        for _ in 0..9 {
            (0..4).for_each(|factor| expected = expected.wrapping_mul(3).wrapping_add(factor));
        }
        assert_eq!(data.read::<u32>(0, 1000).unwrap(), vec![expected; 1000]);
    });
}

#[test]
fn queues_wait_for_values_that_are_signaled_later() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let second = scene.device.new_command_queue(&Default::default()).unwrap();
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Untracked);
        let (pipeline, table) = (scene.pipeline("mul_add"), scene.table(&data));
        let record = |factor: u32| {
            scene
                .record("step", |commands| {
                    let mut encoder = commands.compute_command_encoder("");
                    encoder.set_compute_pipeline(&pipeline);
                    encoder.set_argument_table(&table);
                    encoder.set_immediates(&[factor]);
                    encoder.dispatch_threads([64, 1, 1]);
                })
                .unwrap()
        };
        let event = scene.device.new_event("handover");
        second.wait_for_event(&event, 5);
        let later = second.commit(&[&record(1)]).unwrap();
        scene.queue.commit(&[&record(2)]).unwrap();
        scene.queue.signal_event(&event, 5);
        later.wait_until_completed().unwrap();
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [(3 + 2) * 3 + 1]);
    });
}

#[test]
fn the_host_takes_part_through_shared_events() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 64], HazardTrackingMode::Untracked);
        let (double, table) = (scene.pipeline("double"), scene.table(&data));
        let event = scene.device.new_shared_event("steps");
        let record = || {
            scene
                .record("part", |commands| {
                    let mut encoder = commands.compute_command_encoder("");
                    encoder.set_compute_pipeline(&double);
                    encoder.set_argument_table(&table);
                    encoder.dispatch_threads([64, 1, 1]);
                })
                .unwrap()
        };
        scene.queue.commit(&[&record()]).unwrap();
        scene.queue.signal_event(&event, 2);
        scene.queue.wait_for_event(&event, 3);
        let last = scene.queue.commit(&[&record()]).unwrap();
        let (sender, receiver) = channel();
        let listener = SharedEventListener::new();
        let in_between = data.clone();
        event.notify(&listener, 2, move |event, value| {
            let words = in_between.read::<u32>(0, 64).unwrap();
            in_between.write(0, &words.iter().map(|word| word + 10).collect::<Vec<_>>()).unwrap();
            event.set_signaled_value(3);
            sender.send(value).unwrap();
        });
        last.wait_until_completed().unwrap();
        assert_eq!(receiver.recv().unwrap(), 2);
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [(2 + 10) * 2]);
    });
}

#[test]
fn a_wait_that_nobody_satisfies_is_given_up_and_said_so() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 4], HazardTrackingMode::Tracked);
        let (double, table) = (scene.pipeline("double"), scene.table(&data));
        scene.queue.wait_for_event(&scene.device.new_event("never"), 1);
        let commands = scene
            .record("late", |commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&double);
                encoder.set_argument_table(&table);
                encoder.dispatch_threads([4, 1, 1]);
            })
            .unwrap();
        let error = scene.queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(data.read::<u32>(0, 1).unwrap(), [2], "later work ran all the same (A19)");
    });
}

#[test]
fn indirect_counts_are_read_when_the_dispatch_runs() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let counts = scene.buffer(&[0, 0, 0, 4, 2, 1], HazardTrackingMode::Tracked);
        let wanted = scene.buffer(&[3, 2, 1], HazardTrackingMode::Tracked);
        let data = scene.buffer(&[0; 16], HazardTrackingMode::Tracked);
        let (once, table) = (scene.pipeline("once"), scene.table(&data));
        scene
            .run(|commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.copy_buffer(&wanted, 0, &counts, 12, 12);
                encoder.set_compute_pipeline(&once);
                encoder.set_argument_table(&table);
                encoder.dispatch_threadgroups_indirect(&counts, 12);
            })
            .unwrap();
        assert_eq!(data.read::<u32>(0, 8).unwrap(), [1, 1, 1, 0, 1, 1, 1, 0]);
    });
}

#[test]
fn textures_copy_and_halve() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let descriptor = TextureDescriptor { width: 5, height: 3, mip_level_count: 3, ..Default::default() };
        let texture = scene.device.new_texture(&descriptor).unwrap();
        let pixels: Vec<u8> = (0..60).map(|i| (i * 4) as u8).collect();
        let staging = scene.device.new_buffer_with_data(&pixels).unwrap();
        let copy = scene
            .device
            .new_texture(&TextureDescriptor { width: 4, height: 2, ..Default::default() })
            .unwrap();
        let back = scene.device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() }).unwrap();
        scene
            .run(|commands| {
                let mut encoder = commands.blit_command_encoder("");
                let size = [5, 3, 1];
                encoder.copy_buffer_to_texture(
                    &staging,
                    Default::default(),
                    &texture,
                    Default::default(),
                    size,
                );
                encoder.generate_mipmaps(&texture);
                let from = TextureOrigin { origin: [1, 1, 0], ..Default::default() };
                encoder.copy_texture(&texture, from, &copy, Default::default(), [4, 2, 1]);
                let layout = BufferLayout { offset: 8, bytes_per_row: 24, ..Default::default() };
                let from = TextureOrigin { origin: [0, 1, 0], ..Default::default() };
                encoder.copy_texture_to_buffer(&texture, from, [3, 2, 1], &back, layout);
            })
            .unwrap();
        assert_eq!(texture.get_bytes(0, 0).unwrap(), pixels);
        assert_eq!(copy.get_bytes(0, 0).unwrap()[..16], pixels[24..40]);
        let rows = back.read::<u8>(8, 36).unwrap();
        assert_eq!((&rows[..12], &rows[24..36]), (&pixels[20..32], &pixels[40..52]));
        let half = texture.get_bytes(1, 0).unwrap();
        let mean = |at: usize| [0usize, 4, 20, 24].iter().map(|d| u32::from(pixels[at + d])).sum::<u32>();
        assert_eq!(half[0], ((mean(0) + 2) / 4) as u8);
        assert_eq!(half[4], ((mean(8) + 2) / 4) as u8);
        assert_eq!(texture.get_bytes(2, 0).unwrap().len(), 4);
    });
}

#[test]
fn large_dispatches_are_shared_and_every_invocation_runs_once() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let count = 1 << 20;
        let data = scene.buffer(&vec![1; count], HazardTrackingMode::Tracked);
        let (pipeline, table) = (scene.pipeline("mul_add"), scene.table(&data));
        scene
            .run(|commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&pipeline);
                encoder.set_argument_table(&table);
                for _ in 0..5 {
                    encoder.set_immediates(&[1u32]);
                    encoder.dispatch_threads([count as u32, 1, 1]);
                }
            })
            .unwrap();
        let expected = (0..5).fold(1u32, |value, _| value * 3 + 1);
        assert!(data.read::<u32>(0, count).unwrap().iter().all(|word| *word == expected));
    });
}

#[test]
fn mistakes_are_errors_that_name_what_is_wrong() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 4], HazardTrackingMode::Tracked);
        let double = scene.pipeline("double");
        let fails = |record: &dyn Fn(&mut ComputeCommandEncoder<'_>), says: &str| {
            let error = scene
                .record("bad", |commands| record(&mut commands.compute_command_encoder("")))
                .unwrap_err();
            assert!(error.to_string().contains(says), "`{error}` does not say `{says}`");
        };
        fails(&|e| e.copy_buffer(&data, 8, &data, 0, 16), "beyond the end of buffer");
        fails(&|e| e.copy_buffer(&data, 0, &data, 4, 8), "overlaps itself");
        fails(&|e| e.fill_buffer(&data, 0..u64::MAX, 0), "beyond the end");
        fails(&|e| e.dispatch_threads([1, 1, 1]), "needs a pipeline");
        fails(
            &|e| {
                e.set_compute_pipeline(&double);
                e.dispatch_threads([1, 1, 1]);
            },
            "nothing is bound to `data`",
        );
        fails(
            &|e| {
                e.set_compute_pipeline(&double);
                let table = scene.device.new_argument_table();
                table.set_buffer_range("data", &data, 8..64);
                e.set_argument_table(&table);
                e.dispatch_threads([1, 1, 1]);
            },
            "bound to 8..64",
        );
        let swapped = Barrier { after: Stages::FRAGMENT, ..Default::default() };
        fails(&|e| e.intrapass_barrier(swapped), "intrapass barrier");
        let error = scene.device.new_library("@compute fn broken(").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Kernel);
        assert!(error.source_span().is_some());
        let error = scene.device.new_compute_pipeline(&scene.library, "tripple").unwrap_err();
        assert!(error.to_string().contains("`double`"), "{error}");
    });
}

#[test]
fn allocators_say_who_uses_them() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 4], HazardTrackingMode::Tracked);
        let commands = scene
            .record("frame 1", |commands| commands.compute_command_encoder("").fill_buffer(&data, 0..16, 1))
            .unwrap();
        assert!(
            scene
                .allocator
                .reset()
                .unwrap_err()
                .to_string()
                .contains("`frame 1` was ended but not committed")
        );
        let gate = scene.device.new_shared_event("gate");
        scene.queue.wait_for_event(&gate, 1);
        let commit = scene.queue.commit(&[&commands]).unwrap();
        assert!(scene.allocator.reset().unwrap_err().to_string().contains("`frame 1` is still running"));
        assert!(scene.queue.commit(&[&commands]).unwrap_err().to_string().contains("committed already"));
        gate.set_signaled_value(1);
        commit.wait_until_completed().unwrap();
        scene.allocator.reset().unwrap();
        let mut first = scene.device.new_command_buffer("first");
        let mut second = scene.device.new_command_buffer("second");
        first.begin(&scene.allocator);
        second.begin(&scene.allocator);
        assert!(second.end().unwrap_err().to_string().contains("serves `first`"));
    });
}

#[test]
fn handles_may_be_dropped_while_the_device_works() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&vec![1; 1 << 16], HazardTrackingMode::Tracked);
        let double = scene.pipeline("double");
        let commands = scene
            .record("", |commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&double);
                encoder.set_argument_table(&scene.table(&data));
                (0..50).for_each(|_| encoder.dispatch_threads([1 << 16, 1, 1]));
            })
            .unwrap();
        let commit = scene.queue.commit(&[&commands]).unwrap();
        drop(data);
        drop(commands);
        drop(commit);
        drop(scene);
    });
}

#[test]
fn a_resource_lives_as_long_as_a_recording_or_the_device_needs_it() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let out = scene.buffer(&[0; 4], HazardTrackingMode::Tracked);
        let data = scene.buffer(&[5; 4], HazardTrackingMode::Tracked);
        let commands = scene
            .record("late", |commands| {
                commands.compute_command_encoder("").copy_buffer(&data, 0, &out, 0, 16)
            })
            .unwrap();
        drop(data);
        scene.queue.commit(&[&commands]).unwrap();
        assert_eq!(out.read::<u32>(0, 4).unwrap(), [5; 4]);
    });
}

#[test]
fn feedback_comes_with_times_and_the_host_sees_what_was_written() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[3; 4], HazardTrackingMode::Tracked);
        let (double, table) = (scene.pipeline("double"), scene.table(&data));
        let commands = scene
            .record("", |commands| {
                let mut encoder = commands.compute_command_encoder("");
                encoder.set_compute_pipeline(&double);
                encoder.set_argument_table(&table);
                (0..3).for_each(|_| encoder.dispatch_threads([4, 1, 1]));
            })
            .unwrap();
        let (sender, receiver) = channel();
        let commit = scene.queue.commit(&[&commands]).unwrap();
        let seen = data.clone();
        commit.add_feedback_handler(move |feedback| {
            let times = feedback.commands().iter().all(|timing| timing.start <= timing.end);
            sender.send((feedback.commands().len(), times, seen.try_read::<u32>(0, 1).unwrap()[0])).unwrap();
        });
        commit.wait_until_completed().unwrap();
        let (pieces, times, seen) = receiver.recv().unwrap();
        assert!((1..=3).contains(&pieces) && times && seen == 24, "{pieces} {times} {seen}");
        assert!(commit.wait_until_completed().unwrap().gpu_end_time() > Duration::ZERO);
    });
}

/// Whoever waits for memory asks the device, while the device asks who waits.
#[test]
fn one_thread_reads_while_another_commits() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[0; 4], HazardTrackingMode::Tracked);
        let (reader, allocator) = (data.clone(), scene.device.new_command_allocator("own"));
        std::thread::scope(|scope| {
            scope.spawn(move || (0..300).for_each(|_| drop(reader.read::<u32>(0, 4).unwrap())));
            for _ in 0..300 {
                let mut commands = scene.device.new_command_buffer("");
                commands.begin(&allocator);
                commands.compute_command_encoder("").fill_buffer(&data, 0..16, 1);
                commands.end().unwrap();
                scene.queue.commit(&[&commands]).unwrap();
            }
        });
        assert_eq!(data.read::<u32>(0, 4).unwrap(), [0x0101_0101; 4]);
    });
}

/// Devices that choose an order run what somebody waits for; the others tell whoever asks, and call whoever is to be called.
#[test]
fn whoever_does_not_wait_is_told_all_the_same() {
    let chooses = |subject: &Subject| matches!(subject, Subject::Cpu(order) if *order != Order::Free);
    for subject in subjects().into_iter().filter(|subject| !chooses(subject)) {
        subject.run(DeviceDescriptor::default(), |device| {
            let scene = Scene::new(device);
            let data = scene.buffer(&[1; 4], HazardTrackingMode::Tracked);
            let done = scene.device.new_shared_event("done");
            let commit = |value: u32| {
                let fill = |commands: &mut CommandBuffer| {
                    commands.compute_command_encoder("").fill_buffer(&data, 0..16, 1)
                };
                let commit = scene.queue.commit(&[&scene.record("", fill).unwrap()]).unwrap();
                scene.queue.signal_event(&done, u64::from(value));
                commit
            };
            let polled = commit(1);
            while !polled.is_completed() {
                std::thread::yield_now();
            }
            scene.allocator.reset().unwrap();
            drop(commit(2));
            while done.signaled_value() < 2 {
                std::thread::yield_now();
            }
            let (sender, receiver) = channel();
            let listener = SharedEventListener::new();
            let called = sender.clone();
            // Before the work is there, and after.
            done.notify(&listener, 3, move |_, _| called.send("event").unwrap());
            let last = commit(3);
            assert_eq!(receiver.recv().unwrap(), "event");
            last.add_feedback_handler(move |_| sender.send("commit").unwrap());
            assert_eq!(receiver.recv().unwrap(), "commit");
        });
    }
}

/// M44: a wait that timed out does not make the allocator free.
#[test]
fn a_time_out_does_not_free_the_allocator() {
    on_all_devices(|device| {
        let scene = Scene::new(device);
        let data = scene.buffer(&[1; 4], HazardTrackingMode::Tracked);
        let gate = scene.device.new_shared_event("gate");
        let done = scene.device.new_shared_event("done");
        scene.queue.wait_for_event(&gate, 1);
        let commands = scene
            .record("frame", |commands| commands.compute_command_encoder("").fill_buffer(&data, 0..16, 1))
            .unwrap();
        let commit = scene.queue.commit(&[&commands]).unwrap();
        scene.queue.signal_event(&done, 1);
        assert!(!done.wait_until_signaled_value(1, Duration::from_millis(1)));
        assert!(scene.allocator.reset().unwrap_err().to_string().contains("`frame` is still running"));
        gate.set_signaled_value(1);
        commit.wait_until_completed().unwrap();
        scene.allocator.reset().unwrap();
    });
}
