//! Generated kernels: all engines agree, and no guard byte changes. The fuzz target `kernel` runs the same.

use crate::{
    generate,
    harness::{Case, Numbers, f32s, u32s},
};

/// Runs the kernel that some bytes stand for.
pub(crate) fn check(bytes: &[u8]) {
    let source = generate::kernel(bytes);
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15 ^ bytes.len() as u64);
    let data = u32s((0..21).map(|i| if i % 3 == 0 { numbers.next() } else { i }));
    let pixels = f32s((0..4 * 37).map(|_| numbers.unit() * 8.0 - 4.0));
    // Shorter than what the invocations write.
    let buffers = vec![data, pixels, vec![0; 16 * 100], vec![0; 16 * 61], vec![0; 4 * 61], vec![0; 32]];
    Case::new(&source, [3, 1, 1], buffers).run();
}

/// What devices are compared by. Engines call the same functions, so that they agree to the bit.
#[test]
fn engines_agree_on_what_is_the_same_on_all_devices() {
    use generate::Beside::{Floats, Halves, Nothing, Subgroups};
    for seed in 1..=48u64 {
        let mut numbers = Numbers::from_seed(seed);
        let bytes: Vec<u8> = (0..40 + 2 * seed).map(|_| (numbers.next() >> 16) as u8).collect();
        let beside = [Nothing, Floats, Halves, Subgroups][seed as usize % 4];
        let kernel = generate::portable_kernel(&bytes, beside);
        let data = u32s((0..64).map(|i| if i % 3 == 0 { numbers.next() } else { i }));
        let pixels = f32s((0..4 * 64).map(|_| (numbers.next() % 32) as f32 * 0.25 - 4.0));
        let mut buffers =
            vec![data, pixels, vec![0; 16 * 144], vec![0; 16 * 96], vec![0; 4 * 96], vec![0; 32]];
        match beside {
            Nothing => {}
            Floats | Halves => {
                buffers.extend([vec![0; 16 * 48 * generate::CALLS], vec![0; 4 * 48 * generate::CALLS]]);
            }
            Subgroups => buffers.push(vec![0; 4 * 96]),
        }
        let got = Case::new(&kernel.source, [3, 1, 1], buffers).run();
        if beside == Subgroups {
            assert!(
                got[6][4 * 48..].iter().all(|byte| *byte == 0),
                "by hand it is another: {}",
                kernel.source
            );
        }
    }
}

#[test]
fn engines_agree_on_generated_kernels() {
    for seed in 1..=200u64 {
        let mut numbers = Numbers::from_seed(seed);
        let bytes: Vec<u8> = (0..40 + 2 * seed).map(|_| (numbers.next() >> 16) as u8).collect();
        check(&bytes);
    }
}
