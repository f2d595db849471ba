//! Memory of the device, and the only ways in which the device itself touches it.
//!
//! A program may race: two commands that nothing orders, or a host pointer used too early. That must stay a
//! mistake of the program and not become undefined behaviour of ours. So no reference to this memory is ever
//! made: bytes move by a string instruction that the compiler cannot see through, or by relaxed atomics.

use crate::adversary::History;
use crate::written::Tenants;
use lockgate_runtime::{Error, ErrorKind, Result};
use memmap2::{MmapOptions, MmapRaw};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
#[cfg(not(target_arch = "x86_64"))]
use std::sync::atomic::{AtomicU8, Ordering};

/// Alignment of every memory: a cache line, and more than any vector needs.
const ALIGN: usize = 64;

/// From this size on memory comes in whole pages, and in large ones where the system has them, which is also their size:
/// kernels that go through megabytes otherwise wait for the addresses of pages as long as for what is in them.
const LARGE: usize = 2 << 20;

/// A stretch of zeroed memory, freed when the last resource in it is gone.
#[derive(Debug)]
pub(crate) struct Memory {
    start: NonNull<u8>,
    layout: Layout,
    /// The pages that it is, unless it came from the allocator.
    pages: Option<MmapRaw>,
    /// Who lives here, on a device that observes.
    tenants: Option<Tenants>,
    /// What it held, on a device with an adversary.
    history: Option<History>,
}

// SAFETY: the memory is reached through raw pointers only, by operations that tolerate races (module header).
unsafe impl Send for Memory {}
// SAFETY: as for `Send`.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn new(size: u64) -> Result<Memory> {
        let refused = || Error::new(ErrorKind::OutOfMemory, format!("no memory for {size} bytes"));
        let whole = usize::try_from(size).ok().and_then(|size| size.max(1).checked_next_multiple_of(ALIGN));
        let whole = whole.ok_or_else(refused)?;
        let layout = Layout::from_size_align(whole, ALIGN).map_err(|_| refused())?;
        let pages = if whole >= LARGE { Some(large(whole).ok_or_else(refused)?) } else { None };
        let start = match &pages {
            Some(pages) => pages.as_mut_ptr(),
            // SAFETY: the layout is not empty.
            None => unsafe { alloc_zeroed(layout) },
        };
        let start = NonNull::new(start).ok_or_else(refused)?;
        Ok(Memory { start, layout, pages, tenants: None, history: None })
    }

    /// The same, knowing what of it was written.
    pub(crate) fn observed(size: u64, tenants: Tenants) -> Result<Memory> {
        let mut memory = Memory::new(size)?;
        memory.tenants = Some(tenants);
        Ok(memory)
    }

    /// The same, remembering what it held.
    pub(crate) fn remembering(size: u64) -> Result<Memory> {
        let mut memory = Memory::new(size)?;
        memory.history = Some(History::default());
        Ok(memory)
    }

    pub(crate) fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// The host has written a part of it: nobody sees what was there before.
    pub(crate) fn forget(&self, part: &Span) {
        let start = (part.start as u64).saturating_sub(self.address());
        self.history.iter().for_each(|history| history.forget(start, start + part.size as u64));
    }

    pub(crate) fn tenants(&self) -> Option<&Tenants> {
        self.tenants.as_ref()
    }

    /// The address of its first byte.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr() as u64
    }

    /// `size` bytes at `offset`; nothing if they are not inside.
    pub(crate) fn span(&self, offset: u64, size: u64) -> Option<Span> {
        let end = offset.checked_add(size)?;
        if end > self.layout.size() as u64 {
            return None;
        }
        // SAFETY: the offset is inside the allocation, or at its end.
        let start = unsafe { self.start.as_ptr().add(offset as usize) };
        Some(Span { start, size: size as usize })
    }
}

/// Pages of zeros.
fn large(size: usize) -> Option<MmapRaw> {
    let pages = MmapRaw::from(MmapOptions::new().len(size).map_anon().ok()?);
    #[cfg(target_os = "linux")]
    if let Err(error) = pages.advise(memmap2::Advice::HugePage) {
        log::debug!("no large pages: {error}");
    }
    Some(pages)
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.pages.is_some() {
            return;
        }
        // SAFETY: it was allocated with this layout, and nothing that could reach it is left.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Bytes of a [`Memory`] that its holder keeps alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) start: *mut u8,
    pub(crate) size: usize,
}

impl Span {
    /// A part of it; empty where it would reach beyond.
    pub(crate) fn part(&self, offset: usize, size: usize) -> Span {
        if offset.checked_add(size).is_none_or(|end| end > self.size) {
            return Span { start: self.start, size: 0 };
        }
        // SAFETY: the offset is inside the span.
        let start = unsafe { self.start.add(offset) };
        Span { start, size }
    }

    pub(crate) fn copy_to(&self, to: Span) {
        // SAFETY: both spans are inside live memories; they are distinct or the copy is of bytes onto themselves.
        unsafe { copy(self.start, to.start, self.size.min(to.size)) }
    }

    pub(crate) fn read_into(&self, into: &mut [u8]) {
        let size = self.size.min(into.len());
        // SAFETY: the span is inside a live memory and the slice is its caller's own.
        unsafe { copy(self.start, into.as_mut_ptr(), size) }
    }

    pub(crate) fn write_from(&self, bytes: &[u8]) {
        let size = self.size.min(bytes.len());
        // SAFETY: the slice is readable and the span is inside a live memory.
        unsafe { copy(bytes.as_ptr(), self.start, size) }
    }

    pub(crate) fn fill(&self, value: u8) {
        // SAFETY: the span is inside a live memory.
        unsafe { fill(self.start, value, self.size) }
    }
}

/// Copies bytes in a way that a race cannot make undefined.
///
/// # Safety
/// Both ranges are valid for as long as the call lasts.
#[cfg(target_arch = "x86_64")]
unsafe fn copy(from: *const u8, to: *mut u8, size: usize) {
    // SAFETY: the instruction reads and writes exactly the two ranges, which the caller vouches for; the
    // direction flag is clear by the calling convention.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") size => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
            options(nostack, preserves_flags),
        );
    }
}

/// Writes a byte over a range in a way that a race cannot make undefined.
///
/// # Safety
/// The range is valid for as long as the call lasts.
#[cfg(target_arch = "x86_64")]
unsafe fn fill(to: *mut u8, value: u8, size: usize) {
    // SAFETY: the instruction writes exactly the range, which the caller vouches for; the direction flag is
    // clear by the calling convention.
    unsafe {
        std::arch::asm!(
            "rep stosb",
            inout("rcx") size => _,
            inout("rdi") to => _,
            in("al") value,
            options(nostack, preserves_flags),
        );
    }
}

/// Copies bytes in a way that a race cannot make undefined.
///
/// # Safety
/// Both ranges are valid for as long as the call lasts.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn copy(from: *const u8, to: *mut u8, size: usize) {
    for at in 0..size {
        // SAFETY: `at` is inside the source.
        let source = unsafe { from.add(at) };
        // SAFETY: `at` is inside the target.
        let target = unsafe { to.add(at) };
        // SAFETY: the byte is valid, and only touched atomically.
        let source = unsafe { AtomicU8::from_ptr(source.cast_mut()) };
        // SAFETY: as above.
        let target = unsafe { AtomicU8::from_ptr(target) };
        target.store(source.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Writes a byte over a range in a way that a race cannot make undefined.
///
/// # Safety
/// The range is valid for as long as the call lasts.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn fill(to: *mut u8, value: u8, size: usize) {
    for at in 0..size {
        // SAFETY: `at` is inside the range.
        let target = unsafe { to.add(at) };
        // SAFETY: the byte is valid, and only touched atomically.
        let target = unsafe { AtomicU8::from_ptr(target) };
        target.store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_move_and_ends_are_kept() {
        let memory = Memory::new(100).unwrap();
        let span = memory.span(0, 100).unwrap();
        span.fill(7);
        span.part(10, 5).write_from(&[1, 2, 3, 4, 5, 6, 7, 8]);
        span.part(10, 5).copy_to(span.part(50, 3));
        let mut bytes = [0; 100];
        span.read_into(&mut bytes);
        assert_eq!(bytes[9..16], [7, 1, 2, 3, 4, 5, 7]);
        assert_eq!(bytes[49..54], [7, 1, 2, 3, 7]);
        assert!(memory.span(100, 100).is_none());
        assert_eq!(span.part(98, 3).size, 0);
    }
}
