//! Where resources live, and who orders their accesses.

use crate::MemoryId;

/// Whether conflicting accesses of a resource are ordered automatically.
///
/// The default is tracked for a resource of the device, untracked for a resource of a heap, and untracked for
/// a heap; the runtime resolves it before the model sees it (`semantics` 3.3).
///
/// ```
/// use lockgate_sync::HazardTrackingMode;
/// assert_eq!(HazardTrackingMode::default(), HazardTrackingMode::Default);
/// ```
#[doc(alias = "MTLHazardTrackingMode")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HazardTrackingMode {
    /// What the place of the resource implies.
    #[default]
    Default,
    /// The program orders all accesses itself.
    Untracked,
    /// Lockgate orders conflicting accesses.
    Tracked,
}

/// What a resource is made of: bytes or texels.
///
/// ```
/// use lockgate_sync::ResourceKind;
/// assert_ne!(ResourceKind::Buffer, ResourceKind::Texture { levels: 1, slices: 1 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A buffer; regions are byte ranges.
    Buffer,
    /// A texture; regions are subresources and boxes of texels. Its layout in memory is opaque, so another
    /// resource that overlaps its memory overlaps all of it.
    Texture {
        /// Mip levels, at least 1.
        levels: u16,
        /// Array slices (or cube faces), at least 1.
        slices: u16,
    },
}

/// One resource as the model sees it.
///
/// ```
/// use lockgate_sync::*;
/// let r = ResourceDescriptor {
///     kind: ResourceKind::Buffer,
///     memory: MemoryId(0),
///     offset: 256,
///     size: 1024,
///     tracked: false,
///     unit: false,
/// };
/// assert_eq!(r.offset + r.size, 1280);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceDescriptor {
    /// Buffer or texture.
    pub kind: ResourceKind,
    /// The memory it lies in. Resources whose ranges overlap in one memory alias.
    pub memory: MemoryId,
    /// First byte in that memory.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub size: u64,
    /// Whether conflicting accesses are ordered automatically on queues that track.
    pub tracked: bool,
    /// Whether it is a tracked member of a tracked heap: then its memory is one unit, and a write to it
    /// conflicts with every access of every other such member (`semantics` 3.5). Implies `tracked`.
    pub unit: bool,
}
