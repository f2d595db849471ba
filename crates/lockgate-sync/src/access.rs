//! What a work touches, and when two touches conflict.

use crate::{ResourceDescriptor, ResourceId, ResourceKind};
use bitflags::bitflags;

bitflags! {
    /// How memory is touched.
    ///
    /// ```
    /// use lockgate_sync::AccessKind;
    /// assert!(AccessKind::ATOMIC.contains(AccessKind::READ | AccessKind::WRITE));
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct AccessKind: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Only through atomic operations: two such accesses never conflict in untracked memory, since each operation is
        /// indivisible (`semantics` 2.9). Tracked memory orders them like writes.
        const ATOMIC = 4 | 1 | 2;
        /// In primitive order within one render pass: attachments, raster order groups, tile memory. Two such
        /// accesses of one pass never conflict.
        const RASTER_ORDERED = 8;
        /// Reached through memory, not through a binding that the encoder knows: tracking does not see it
        /// (`semantics` 3.2).
        const BINDLESS = 16;
    }
}

impl AccessKind {
    /// Whether it stores.
    pub fn writes(self) -> bool {
        self.contains(AccessKind::WRITE)
    }

    /// Whether it does nothing but atomic operations.
    pub fn is_atomic(self) -> bool {
        self.contains(AccessKind::ATOMIC)
    }
}

/// A box of texels in a range of mip levels and slices; ends are exclusive.
///
/// The box is in texels of the levels it names; `u32::MAX` as an end means the level's own end.
///
/// ```
/// use lockgate_sync::Texels;
/// let top = Texels { max: [u32::MAX, 16, u32::MAX], ..Texels::subresource(0, 0) };
/// let rest = Texels { min: [0, 16, 0], ..Texels::subresource(0, 0) };
/// assert!(!top.overlaps(&rest));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Texels {
    /// First and end mip level.
    pub levels: (u16, u16),
    /// First and end array slice.
    pub slices: (u16, u16),
    /// First texel: x, y, z.
    pub min: [u32; 3],
    /// End texel: x, y, z.
    pub max: [u32; 3],
}

impl Texels {
    /// All of one mip level of one slice.
    pub fn subresource(level: u16, slice: u16) -> Texels {
        Texels::range((level, level.saturating_add(1)), (slice, slice.saturating_add(1)))
    }

    /// All texels of a range of levels and slices.
    pub fn range(levels: (u16, u16), slices: (u16, u16)) -> Texels {
        Texels { levels, slices, min: [0; 3], max: [u32::MAX; 3] }
    }

    /// Whether both name a texel in common.
    pub fn overlaps(&self, other: &Texels) -> bool {
        let meet = |a: (u16, u16), b: (u16, u16)| a.0.max(b.0) < a.1.min(b.1);
        meet(self.levels, other.levels)
            && meet(self.slices, other.slices)
            && (0..3).all(|i| self.min[i].max(other.min[i]) < self.max[i].min(other.max[i]))
    }

    /// Whether every texel of `other` is one of these.
    pub fn contains(&self, other: &Texels) -> bool {
        let within = |a: (u16, u16), b: (u16, u16)| a.0 <= b.0 && b.1 <= a.1;
        within(self.levels, other.levels)
            && within(self.slices, other.slices)
            && (0..3).all(|i| self.min[i] <= other.min[i] && other.max[i] <= self.max[i])
    }
}

/// The part of a resource that an access touches.
///
/// A region of the wrong kind for its resource (bytes of a texture, texels of a buffer) means all of it.
///
/// ```
/// use lockgate_sync::Region;
/// assert_ne!(Region::Whole, Region::Bytes { start: 0, end: 4 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Region {
    /// All of it.
    Whole,
    /// Bytes of a buffer, end exclusive, relative to the buffer.
    Bytes {
        /// First byte.
        start: u64,
        /// End, exclusive.
        end: u64,
    },
    /// Texels of a texture.
    Texels(Texels),
}

impl Region {
    /// The bytes of a buffer of `size` bytes that the region names.
    pub fn bytes(&self, size: u64) -> (u64, u64) {
        match *self {
            Region::Bytes { start, end } => (start.min(size), end.min(size)),
            Region::Whole | Region::Texels(_) => (0, size),
        }
    }

    /// The texels of a texture that the region names.
    pub fn texels(&self) -> Texels {
        match *self {
            Region::Texels(texels) => texels,
            Region::Whole | Region::Bytes { .. } => Texels::range((0, u16::MAX), (0, u16::MAX)),
        }
    }

    /// The bytes of memory that it may touch: exact for buffers, all of a texture.
    pub fn physical(&self, of: &ResourceDescriptor) -> (u64, u64) {
        match of.kind {
            ResourceKind::Buffer => {
                let (start, end) = self.bytes(of.size);
                (of.offset.saturating_add(start), of.offset.saturating_add(end))
            }
            ResourceKind::Texture { .. } => (of.offset, of.offset.saturating_add(of.size)),
        }
    }
}

/// One touch of one resource.
///
/// ```
/// use lockgate_sync::*;
/// let access = Access::whole(ResourceId(0), AccessKind::READ);
/// assert!(!access.kind.writes());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Which resource.
    pub resource: ResourceId,
    /// Which part of it.
    pub region: Region,
    /// How.
    pub kind: AccessKind,
}

impl Access {
    /// An access of all of `resource`.
    pub fn whole(resource: ResourceId, kind: AccessKind) -> Access {
        Access { resource, region: Region::Whole, kind }
    }

    /// An access of the bytes `start..end` of a buffer.
    pub fn bytes(resource: ResourceId, start: u64, end: u64, kind: AccessKind) -> Access {
        Access { resource, region: Region::Bytes { start, end }, kind }
    }

    /// An access of some texels of a texture.
    pub fn texels(resource: ResourceId, texels: Texels, kind: AccessKind) -> Access {
        Access { resource, region: Region::Texels(texels), kind }
    }
}

/// The three ways in which two unordered accesses go wrong, named by the later access and the earlier one.
///
/// Earlier and later are by recording order; which access really comes first is what is undecided. Where an
/// access both reads and writes, the flow of data counts first: read-after-write, then write-after-write, then
/// write-after-read.
///
/// ```
/// use lockgate_sync::{AccessKind, Hazard};
/// let hazard = Hazard::between(AccessKind::READ, AccessKind::WRITE);
/// assert_eq!(hazard, Some(Hazard::WriteAfterRead));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hazard {
    /// The later access may miss what the earlier one wrote.
    ReadAfterWrite,
    /// Which of two writes stays is undecided.
    WriteAfterWrite,
    /// The later access may overwrite what the earlier one has yet to read.
    WriteAfterRead,
}

impl Hazard {
    /// The hazard of an `earlier` and a `later` access of the same memory, if any. Two reads have none.
    pub fn between(earlier: AccessKind, later: AccessKind) -> Option<Hazard> {
        if earlier.writes() && later.contains(AccessKind::READ) {
            Some(Hazard::ReadAfterWrite)
        } else if earlier.writes() && later.writes() {
            Some(Hazard::WriteAfterWrite)
        } else if later.writes() {
            Some(Hazard::WriteAfterRead)
        } else {
            None
        }
    }

    /// The stable code of findings of this kind.
    pub fn code(self) -> &'static str {
        match self {
            Hazard::ReadAfterWrite => "read-after-write",
            Hazard::WriteAfterRead => "write-after-read",
            Hazard::WriteAfterWrite => "write-after-write",
        }
    }
}
