//! How a kernel's accesses to bindings go through somebody else: who may let others run first, and may give an older
//! value where memory is weak.
//!
//! Only the interpreter has it. Deliberately absent: workgroup and private memory, which nobody else sees.

/// Bytes of a binding that an invocation touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The binding.
    pub(crate) slot: u32,
    /// The invocation in its workgroup.
    pub(crate) lane: u32,
    /// The first byte, inside the binding.
    pub(crate) address: *mut u8,
    /// How many: 1, 2, 4 or 8.
    pub(crate) bytes: u32,
}

/// Who stands between a workgroup and the memory of its bindings.
pub(crate) trait Port {
    /// The bytes, as little-endian bits.
    fn load(&self, from: Reach, atomic: bool) -> u64;
    /// Replaces the bytes.
    fn store(&self, to: Reach, bits: u64, atomic: bool);
    /// Replaces the bytes by `change` of them in one step; gives those from before.
    fn update(&self, at: Reach, change: &dyn Fn(u64) -> u64) -> u64;
    /// All invocations have met at a barrier.
    fn barrier(&self, flags: naga::Barrier);
    /// A good moment for others to run: a loop goes round.
    fn pause(&self);
}
