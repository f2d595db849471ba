//! The kernels of the CPU device's own tests, on every driver: the interpreter says what is right, machine code is held against
//! it there.

#[path = "../../../lockgate-cpu/tests/kernel/algorithms.rs"]
mod algorithms;
#[path = "../../../lockgate-cpu/tests/kernel/builtins.rs"]
mod builtins;
#[allow(dead_code, reason = "the CPU device's tests use the rest")]
#[path = "../../../lockgate-cpu/tests/kernel/generate.rs"]
mod generate;
#[path = "../../../lockgate-cpu/tests/kernel/memory.rs"]
mod memory;
#[path = "../../../lockgate-cpu/tests/kernel/numbers.rs"]
mod numbers;
#[path = "../../../lockgate-cpu/tests/kernel/statements.rs"]
mod statements;
#[path = "../../../lockgate-cpu/tests/kernel/subgroups.rs"]
mod subgroups;
#[path = "../../../lockgate-cpu/tests/kernel/transforms.rs"]
mod transforms;

use crate::harness::{Accuracy, Case, Numbers, f32s, u32s};
use std::ops::Range;

/// Generated kernels leave the same bytes; a zero among the floats may have any sign. `SEED` in the environment begins
/// elsewhere.
fn check_generated(seeds: Range<u64>) {
    let start = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in seeds.map(|seed| seed + start) {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let bytes: Vec<u8> = (0..40 + 2 * (seed % 100)).map(|_| (numbers.next() >> 16) as u8).collect();
        let source = generate::portable_kernel(&bytes);
        let data = u32s((0..64).map(|i| if i % 3 == 0 { numbers.next() } else { i }));
        let pixels = f32s((0..4 * 64).map(|_| (numbers.next() % 32) as f32 * 0.25 - 4.0));
        let buffers = vec![data, pixels, vec![0; 16 * 144], vec![0; 16 * 96], vec![0; 4 * 96], vec![0; 32]];
        Case { accuracy: Accuracy::Zeros(2), ..Case::new(&source, [3, 1, 1], buffers) }.run();
    }
}

// In parts, so that drivers compile while others do.
#[test]
fn generated_kernels_leave_the_same_bytes() {
    check_generated(1..101);
}

#[test]
fn more_generated_kernels() {
    check_generated(101..201);
}

#[test]
fn still_more_generated_kernels() {
    check_generated(201..301);
}
