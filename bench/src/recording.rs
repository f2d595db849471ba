//! What recording a dispatch costs, beside writing the same bytes into a vector.

use crate::measure::{MIX, medians, per};
use crate::report::Section;
use lockgate::*;
use std::hint::black_box;

/// The bytes of a dispatch with four buffers and of a barrier, as a C header would lay them out.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "only written")]
struct Plain {
    pipeline: u64,
    bindings: [(u64, u64, u64); 4],
    threads: [u32; 3],
    barrier: (u64, u64, u32),
}

pub fn run(quick: bool) -> Section {
    let count = if quick { 2_000 } else { 20_000 };
    let rounds = if quick { 5 } else { 31 };
    let device = Device::null();
    let library = device.new_library(MIX).expect("the kernel is valid");
    let pipeline = device.new_compute_pipeline(&library, "mix").expect("the null device takes everything");
    let buffers: Vec<Buffer> = (0..5)
        .map(|_| {
            let hazard_tracking_mode = HazardTrackingMode::Untracked;
            device
                .new_buffer(&BufferDescriptor { size: 4096, hazard_tracking_mode, ..Default::default() })
                .unwrap()
        })
        .collect();
    let table = device.new_argument_table();
    ["a", "b", "c", "d"].iter().zip(&buffers).for_each(|(name, buffer)| table.set_buffer(*name, buffer));
    let queue = device.new_command_queue(&Default::default()).unwrap();
    let allocator = device.new_command_allocator("bench");
    let mut commands = device.new_command_buffer("bench");
    let mut record = |changing: bool| {
        commands.begin(&allocator);
        for n in 0..count {
            let mut encoder = commands.compute_command_encoder("");
            encoder.set_compute_pipeline(&pipeline);
            if changing {
                table.set_buffer("a", &buffers[n % 2 * 4]);
            }
            encoder.set_argument_table(&table);
            encoder.dispatch_threads([1024, 1, 1]);
            encoder.producer_barrier(Barrier {
                after: Stages::DISPATCH,
                before: Stages::DISPATCH,
                ..Default::default()
            });
        }
        commands.end().unwrap();
        queue.commit(&[&commands]).unwrap().wait_until_completed().unwrap();
        allocator.reset().unwrap();
    };
    let mut record_only = {
        let device = device.clone();
        let (allocator, pipeline) = (device.new_command_allocator(""), pipeline.clone());
        let table = table.clone();
        let mut commands = device.new_command_buffer("");
        move |one_pass: bool| {
            commands.begin(&allocator);
            let record = |encoder: &mut ComputeCommandEncoder<'_>| {
                encoder.set_compute_pipeline(&pipeline);
                encoder.set_argument_table(&table);
                encoder.dispatch_threads([1024, 1, 1]);
                encoder.producer_barrier(Barrier {
                    after: Stages::DISPATCH,
                    before: Stages::DISPATCH,
                    ..Default::default()
                });
            };
            if one_pass {
                let mut encoder = commands.compute_command_encoder("");
                (0..count).for_each(|_| record(&mut encoder));
            } else {
                (0..count).for_each(|_| record(&mut commands.compute_command_encoder("")));
            }
            commands.end().unwrap();
            commands.begin(&allocator);
            commands.end().unwrap();
            drop(std::mem::replace(&mut commands, device.new_command_buffer("")));
            allocator.reset().unwrap();
        }
    };
    let record_only = std::cell::RefCell::new(&mut record_only);
    let mut plain: Vec<Plain> = Vec::new();
    let addresses: Vec<u64> = buffers.iter().map(|buffer| buffer.key().generation).collect();
    let mut write = || {
        plain.clear();
        for n in 0..count {
            let binding = |at: usize| (black_box(addresses[at]), 0, 4096);
            plain.push(black_box(Plain {
                pipeline: 7,
                bindings: [binding(n % 5), binding(1), binding(2), binding(3)],
                threads: [1024, 1, 1],
                barrier: (1 << 27, 1 << 27, 1),
            }));
        }
        black_box(&plain);
    };
    let [passes, one_pass, write] = medians(
        rounds,
        [&mut || (record_only.borrow_mut())(false), &mut || (record_only.borrow_mut())(true), &mut write],
    );
    let [whole, changing] = {
        let record = std::cell::RefCell::new(&mut record);
        medians(rounds.min(9), [&mut || (record.borrow_mut())(false), &mut || (record.borrow_mut())(true)])
    };
    let mut section = Section::new("recording", "writing", rounds);
    let workload =
        format!("a dispatch with four buffers and a producer barrier, {} bytes", size_of::<Plain>());
    for (peer, time) in [
        ("writing the same bytes into a Vec", write),
        ("recording, one pass for all", one_pass),
        ("recording, a pass for each", passes),
        ("recording and committing, a pass for each", whole),
        ("the same with a binding that changes each time", changing),
    ] {
        let count = count as u64;
        section.add_beside(&workload, peer, ("time", "ns"), per(time, count), per(write, count));
    }
    section
}
