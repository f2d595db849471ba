//! Generated kernels on every driver: with exact numbers alone, and with what devices may do in different ways beside. Results of
//! functions are compared within the accuracy that WGSL asks for, everything else to the bit.

#[allow(dead_code, reason = "the CPU device's tests use the rest")]
#[path = "../../../lockgate-cpu/tests/kernel/generate.rs"]
pub(crate) mod generate;

use crate::harness::{Accuracy, Case, Numbers, f32s, u32s};
use generate::{Beside, CALLS};
use std::ops::Range;

const INVOCATIONS: usize = 48;

/// A zero among the floats may have any sign. `SEED` in the environment begins elsewhere.
fn check(beside: Beside, seeds: Range<u64>) {
    let start = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in seeds.map(|seed| seed + start) {
        let mut numbers = Numbers::from_seed(seed);
        let least = if beside == Beside::Nothing { 40 } else { 100 };
        let bytes: Vec<u8> = (0..least + 2 * (seed % 100)).map(|_| (numbers.next() >> 16) as u8).collect();
        let kernel = generate::portable_kernel(&bytes, beside);
        let data = u32s((0..64).map(|i| if i % 3 == 0 { numbers.next() } else { i }));
        let pixels = f32s((0..4 * 64).map(|_| (numbers.next() % 32) as f32 * 0.25 - 4.0));
        let mut buffers =
            vec![data, pixels, vec![0; 16 * 144], vec![0; 16 * 96], vec![0; 4 * 96], vec![0; 32]];
        let functions = &kernel.calls[..];
        let calls = |ty| (vec![16 * CALLS, 4 * CALLS], Accuracy::Calls { ty, functions, zeros: 2 });
        let (more, accuracy) = match beside {
            Beside::Nothing => (vec![], Accuracy::Zeros(2)),
            Beside::Floats => calls("f32"),
            Beside::Halves => calls("f16"),
            Beside::Subgroups => (vec![8], Accuracy::Zeros(2)),
        };
        buffers.extend(more.iter().map(|each| vec![0; each * INVOCATIONS]));
        let got = Case { accuracy, ..Case::new(&kernel.source, [3, 1, 1], buffers) }.run();
        if beside == Beside::Subgroups {
            assert!(got[6][4 * INVOCATIONS..].iter().all(|byte| *byte == 0), "by hand: {}", kernel.source);
        }
    }
}

// In parts, so that drivers compile while others do.
#[test]
fn generated_kernels_leave_the_same_bytes() {
    check(Beside::Nothing, 1..101);
}

#[test]
fn more_generated_kernels() {
    check(Beside::Nothing, 101..201);
}

#[test]
fn still_more_generated_kernels() {
    check(Beside::Nothing, 201..301);
}

#[test]
fn generated_kernels_with_functions_of_floats() {
    check(Beside::Floats, 1..21);
}

#[test]
fn generated_kernels_with_half_floats() {
    check(Beside::Halves, 1..13);
}

#[test]
fn generated_kernels_with_subgroups() {
    check(Beside::Subgroups, 1..17);
}
