//! Memory that others may write at the same time: relaxed atomic loads and stores through raw pointers.
//!
//! A racing program must not become undefined behaviour of ours, so no reference to shared bytes is ever made.
//! Values are little-endian bits in a `u64`. An access that is not aligned goes byte by byte.

use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Loads `bytes` (1, 2, 4 or 8) bytes.
///
/// # Safety
/// The bytes from `ptr` must be valid for reads, and accessed by others only atomically or by machine code.
pub(super) unsafe fn load(ptr: *const u8, bytes: u32) -> u64 {
    let ptr = ptr.cast_mut();
    if !(ptr as usize).is_multiple_of(bytes as usize) {
        return (0..bytes)
            .map(|i| {
                // SAFETY: each byte is inside the range that the caller promises.
                let byte = unsafe { ptr.add(i as usize) };
                // SAFETY: as above.
                let bits = unsafe { load(byte, 1) };
                bits << (8 * i)
            })
            .sum();
    }
    match bytes {
        // SAFETY: valid by the caller's promise; a byte is always aligned.
        1 => u64::from(unsafe { AtomicU8::from_ptr(ptr) }.load(Relaxed)),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        2 => u64::from(unsafe { AtomicU16::from_ptr(ptr.cast()) }.load(Relaxed)),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        4 => u64::from(unsafe { AtomicU32::from_ptr(ptr.cast()) }.load(Relaxed)),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        _ => unsafe { AtomicU64::from_ptr(ptr.cast()) }.load(Relaxed),
    }
}

/// Stores the lowest `bytes` (1, 2, 4 or 8) bytes of `bits`.
///
/// # Safety
/// The bytes from `ptr` must be valid for writes, and accessed by others only atomically or by machine code.
pub(super) unsafe fn store(ptr: *mut u8, bytes: u32, bits: u64) {
    if !(ptr as usize).is_multiple_of(bytes as usize) {
        for i in 0..bytes {
            // SAFETY: each byte is inside the range that the caller promises.
            let byte = unsafe { ptr.add(i as usize) };
            // SAFETY: as above.
            unsafe { store(byte, 1, bits >> (8 * i)) };
        }
        return;
    }
    match bytes {
        // SAFETY: valid by the caller's promise; a byte is always aligned.
        1 => unsafe { AtomicU8::from_ptr(ptr) }.store(bits as u8, Relaxed),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        2 => unsafe { AtomicU16::from_ptr(ptr.cast()) }.store(bits as u16, Relaxed),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        4 => unsafe { AtomicU32::from_ptr(ptr.cast()) }.store(bits as u32, Relaxed),
        // SAFETY: valid by the caller's promise, aligned by the test above.
        _ => unsafe { AtomicU64::from_ptr(ptr.cast()) }.store(bits, Relaxed),
    }
}

/// Replaces 4 or 8 bytes by `change` of them, as one atomic step, and gives the bits from before.
/// A misaligned location, on which no machine has atomics, is replaced byte by byte.
///
/// # Safety
/// As for [`load`] and [`store`].
pub(super) unsafe fn update(ptr: *mut u8, bytes: u32, change: impl Fn(u64) -> u64) -> u64 {
    let aligned = (ptr as usize).is_multiple_of(bytes as usize);
    match bytes {
        4 if aligned => {
            // SAFETY: valid by the caller's promise, aligned by the test above.
            let cell = unsafe { AtomicU32::from_ptr(ptr.cast()) };
            let mut old = cell.load(Relaxed);
            loop {
                match cell.compare_exchange_weak(old, change(u64::from(old)) as u32, Relaxed, Relaxed) {
                    Ok(_) => return u64::from(old),
                    Err(now) => old = now,
                }
            }
        }
        8 if aligned => {
            // SAFETY: valid by the caller's promise, aligned by the test above.
            let cell = unsafe { AtomicU64::from_ptr(ptr.cast()) };
            let mut old = cell.load(Relaxed);
            loop {
                match cell.compare_exchange_weak(old, change(old), Relaxed, Relaxed) {
                    Ok(_) => return old,
                    Err(now) => old = now,
                }
            }
        }
        _ => {
            // SAFETY: valid by the caller's promise.
            let old = unsafe { load(ptr, bytes) };
            // SAFETY: valid by the caller's promise.
            unsafe { store(ptr, bytes, change(old)) };
            old
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_and_alignments_round_trip() {
        let mut words = [0u64; 4];
        let base = words.as_mut_ptr().cast::<u8>();
        for bytes in [1u32, 2, 4, 8] {
            for offset in 0..16usize {
                let bits = 0x8877_6655_4433_2211 & (u64::MAX >> (64 - 8 * bytes));
                // SAFETY: at most 16 + 8 of 32 bytes.
                let ptr = unsafe { base.add(offset) };
                // SAFETY: inside `words`, which nobody else uses.
                unsafe { store(ptr, bytes, bits) };
                // SAFETY: as above.
                assert_eq!(unsafe { load(ptr, bytes) }, bits);
            }
        }
    }
}
