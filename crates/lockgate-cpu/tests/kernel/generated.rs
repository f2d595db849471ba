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

#[test]
fn engines_agree_on_generated_kernels() {
    for seed in 1..=200u64 {
        let mut numbers = Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let bytes: Vec<u8> = (0..40 + 2 * seed).map(|_| (numbers.next() >> 16) as u8).collect();
        check(&bytes);
    }
}
