//! What did the device really touch? Byte sets of commands, races inside a dispatch, and reads of nothing.
//!
//! A device that was opened with [`Observe::Accesses`] fills an [`Observation`]; this module holds it and answers
//! whether two commands met ([`Observation::conflict`]). Deliberately absent: how a device observes (the CPU device:
//! `lockgate-cpu`, tested in its `tests/observe.rs`), orders between commands, and words for findings.

mod bytes;
mod conflict;

pub use bytes::ByteSet;
pub use conflict::{ConflictSide, Verdict};

use crate::ResourceKey;
use lockgate_sync::CommandRef;
use std::fmt;
use std::ops::Range;

/// Most entries of each list of an [`Observation`]; what is beyond is dropped and
/// [`Observation::truncated`] says so.
pub const OBSERVED_MAX: usize = 4096;

/// What a device records of what it runs.
///
/// ```
/// assert_eq!(lockgate_runtime::Observe::default(), lockgate_runtime::Observe::Nothing);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Observe {
    /// Nothing, at no cost.
    #[default]
    Nothing,
    /// Every byte that a command reads or writes, for [`Device::take_observation`](crate::Device::take_observation).
    Accesses,
}

/// How memory was touched.
///
/// ```
/// assert_eq!(lockgate_runtime::ObservedKind::Atomic.to_string(), "atomic");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObservedKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic load.
    AtomicLoad,
    /// Any other atomic operation.
    Atomic,
}

impl ObservedKind {
    /// Whether accesses of the two kinds to one byte need an order.
    pub fn conflicts(self, other: ObservedKind) -> bool {
        use ObservedKind as K;
        let both = |one: [K; 2]| one.contains(&self) && one.contains(&other);
        !both([K::Read, K::AtomicLoad]) && !both([K::AtomicLoad, K::Atomic])
    }
}

impl fmt::Display for ObservedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObservedKind::Read => "read",
            ObservedKind::Write => "write",
            ObservedKind::AtomicLoad => "atomic load",
            ObservedKind::Atomic => "atomic",
        })
    }
}

/// A place in WGSL.
///
/// ```
/// let place = lockgate_runtime::SourcePlace { line: 3, column: 7 };
/// assert_eq!(place.to_string(), "3:7");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourcePlace {
    /// From 1.
    pub line: u32,
    /// From 1, in bytes.
    pub column: u32,
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// The part of a resource that [`ObservedAccess::bytes`] counts from.
///
/// ```
/// use lockgate_runtime::ObservedPart;
/// assert_ne!(ObservedPart::Buffer, ObservedPart::Subresource { level: 0, slice: 0 });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObservedPart {
    /// A buffer, from its first byte.
    Buffer,
    /// A level of a slice of a texture: packed rows, images of a 3D texture one after the other.
    Subresource {
        /// Mip level.
        level: u32,
        /// Array slice.
        slice: u32,
    },
}

/// Bytes that one place of a command touched in one way.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let buffer = device.new_buffer(&BufferDescriptor { size: 16, ..Default::default() })?;
/// let access = ObservedAccess {
///     resource: buffer.key(),
///     part: ObservedPart::Buffer,
///     kind: ObservedKind::Write,
///     bytes: ByteSet::from(0..16),
///     base: 0,
///     place: Some(SourcePlace { line: 4, column: 5 }),
///     invocation: Some([0, 0, 0]),
/// };
/// assert_eq!(access.bytes.len(), 16);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedAccess {
    /// The resource.
    pub resource: ResourceKey,
    /// What the bytes count from.
    pub part: ObservedPart,
    /// How.
    pub kind: ObservedKind,
    /// Which bytes of the part.
    pub bytes: ByteSet,
    /// Where the part begins in the memory of [`ObservedResource::memory`], bytes.
    pub base: u64,
    /// Where in the WGSL; nothing for copies, fills and mipmaps.
    pub place: Option<SourcePlace>,
    /// The `global_invocation_id` of one of the invocations; nothing for copies, fills and mipmaps.
    pub invocation: Option<[u32; 3]>,
}

/// A resource that a command touched, and where it lies.
///
/// ```
/// use lockgate_runtime::*;
/// let key = Device::null().new_buffer(&BufferDescriptor { size: 4, ..Default::default() })?.key();
/// let resource = ObservedResource { key, memory: 0, bytes: 0..4, texture: false };
/// assert_eq!(resource.bytes.end, 4);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedResource {
    /// The resource.
    pub key: ResourceKey,
    /// The memory: a number that the device gives to no other memory.
    pub memory: u64,
    /// Its bytes in that memory.
    pub bytes: Range<u64>,
    /// Whether it is a texture, whose layout in memory is the device's own.
    pub texture: bool,
}

/// What one command touched.
///
/// ```
/// use lockgate_runtime::ObservedCommand;
/// use lockgate_sync::{CommandRef, CommitId};
/// let command = CommandRef { commit: CommitId(0), buffer: 0, command: 0 };
/// assert!(ObservedCommand { command, accesses: Vec::new(), complete: true }.accesses.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedCommand {
    /// Which command.
    pub command: CommandRef,
    /// One entry for each place, resource part and kind.
    pub accesses: Vec<ObservedAccess>,
    /// Whether these are all: false for a command that failed midway or touched more places than are kept.
    pub complete: bool,
}

/// What memory of a kernel is.
///
/// ```
/// use lockgate_runtime::ObservedSpace;
/// assert_eq!(ObservedSpace::Workgroup.to_string(), "workgroup");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservedSpace {
    /// A bound buffer or texture.
    Resource(ResourceKey),
    /// A variable of the workgroup.
    Workgroup,
    /// A variable of one invocation: `private`, or of a function.
    Invocation,
}

impl fmt::Display for ObservedSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ObservedSpace::Resource(_) => "resource",
            ObservedSpace::Workgroup => "workgroup",
            ObservedSpace::Invocation => "invocation",
        })
    }
}

/// One side of a race inside a dispatch.
///
/// ```
/// use lockgate_runtime::{ObservedKind, RaceSide};
/// let side = RaceSide { kind: ObservedKind::Read, place: None, invocation: [1, 0, 0] };
/// assert_eq!(side.kind, ObservedKind::Read);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RaceSide {
    /// How.
    pub kind: ObservedKind,
    /// Where in the WGSL.
    pub place: Option<SourcePlace>,
    /// `global_invocation_id` of the invocation.
    pub invocation: [u32; 3],
}

/// Two invocations of one dispatch that touch the same bytes in conflict, with no barrier between them.
///
/// Source: WGSL, "Memory consistency": accesses of different invocations to one location, one of them a write and not
/// both atomic, race unless a barrier of the address space orders them. Different workgroups have no barriers.
///
/// ```
/// assert!(lockgate_runtime::Observation::default().races.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DispatchRace {
    /// The dispatch.
    pub command: CommandRef,
    /// What memory.
    pub space: ObservedSpace,
    /// Name of the variable in WGSL.
    pub variable: String,
    /// Bytes of the first occurrence: of the binding's resource part, or of the variable.
    pub bytes: Range<u64>,
    /// The side that happened to run first.
    pub first: RaceSide,
    /// The other side.
    pub second: RaceSide,
    /// Whether in all occurrences the writes left the value that was there: a race still, and harmless in practice.
    pub equal_values: bool,
    /// How often, over bytes and invocations.
    pub count: u64,
}

/// A read of bytes that nothing has written since they came to be.
///
/// ```
/// assert!(lockgate_runtime::Observation::default().uninitialized.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UninitializedRead {
    /// The command.
    pub command: CommandRef,
    /// A private resource or a fresh alias on a heap; workgroup memory, which WGSL fills with zeros, as a remark only.
    pub space: ObservedSpace,
    /// Name of the variable in WGSL; empty for copies.
    pub variable: String,
    /// Bytes of the first occurrence: of the resource part, or of the variable.
    pub bytes: Range<u64>,
    /// Where in the WGSL.
    pub place: Option<SourcePlace>,
    /// `global_invocation_id` of the first occurrence.
    pub invocation: Option<[u32; 3]>,
    /// How often.
    pub count: u64,
}

/// An index that WGSL's rules clamp, or a store that they drop. What it is clamped to differs between devices, so such
/// an access counts as touching nothing.
///
/// ```
/// assert!(lockgate_runtime::Observation::default().out_of_bounds.is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The dispatch.
    pub command: CommandRef,
    /// What memory.
    pub space: ObservedSpace,
    /// Name of the variable in WGSL.
    pub variable: String,
    /// How.
    pub kind: ObservedKind,
    /// Where in the WGSL.
    pub place: Option<SourcePlace>,
    /// The index of the first occurrence; a negative one as the bits of its type.
    pub index: u64,
    /// How many elements (or texels along the axis) there are.
    pub length: u64,
    /// `global_invocation_id` of the first occurrence.
    pub invocation: [u32; 3],
    /// How often.
    pub count: u64,
}

/// What a device has observed since it was last asked.
///
/// ```
/// let observation = lockgate_runtime::Device::null().take_observation();
/// assert!(observation.commands.is_empty() && !observation.truncated);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// The commands that ran, by [`ObservedCommand::command`].
    pub commands: Vec<ObservedCommand>,
    /// The resources that they touched, by [`ResourceKey::generation`].
    pub resources: Vec<ObservedResource>,
    /// Races between invocations of one dispatch.
    pub races: Vec<DispatchRace>,
    /// Reads of bytes that nothing has written.
    pub uninitialized: Vec<UninitializedRead>,
    /// Accesses outside of what they name.
    pub out_of_bounds: Vec<OutOfBounds>,
    /// Whether a list has reached [`OBSERVED_MAX`] and lost entries.
    pub truncated: bool,
}

impl Observation {
    /// What a command touched, if it ran.
    pub fn command(&self, command: CommandRef) -> Option<&ObservedCommand> {
        let at = self.commands.binary_search_by_key(&command, |observed| observed.command).ok()?;
        self.commands.get(at)
    }

    /// Where a resource lies, if a command touched it.
    pub fn resource(&self, key: ResourceKey) -> Option<&ObservedResource> {
        let at = self.resources.binary_search_by_key(&key.generation, |own| own.key.generation).ok()?;
        self.resources.get(at)
    }
}
