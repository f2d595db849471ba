//! Did two commands meet? Intersects what both really touched.
//!
//! Buffers are compared byte by byte in their memory, aliases on heaps included; one texture texel by texel. A texture
//! against another resource of the same heap is as good as its layout on the observing device, which is another on
//! each device: what meets there is confirmed, what does not is unknown.

use super::{Observation, ObservedAccess, ObservedKind, ObservedPart, ObservedResource, SourcePlace};
use crate::ResourceKey;
use lockgate_sync::CommandRef;
use std::ops::Range;

/// One side of a conflict that was seen.
///
/// ```
/// use lockgate_runtime::*;
/// let key = Device::null().new_buffer(&BufferDescriptor { size: 4, ..Default::default() })?.key();
/// let side = ConflictSide {
///     resource: key,
///     part: ObservedPart::Buffer,
///     kind: ObservedKind::Write,
///     bytes: 0..4,
///     place: None,
///     invocation: None,
/// };
/// assert_eq!(side.bytes.end, 4);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictSide {
    /// The resource.
    pub resource: ResourceKey,
    /// What the bytes count from.
    pub part: ObservedPart,
    /// How.
    pub kind: ObservedKind,
    /// The first bytes that both touched, in this part.
    pub bytes: Range<u64>,
    /// Where in the WGSL.
    pub place: Option<SourcePlace>,
    /// The `global_invocation_id` of one invocation that was at this place.
    pub invocation: Option<[u32; 3]>,
}

/// What observation says about two commands that nothing orders.
///
/// ```
/// use lockgate_runtime::{Observation, Verdict};
/// use lockgate_sync::{CommandRef, CommitId};
/// let command = |command| CommandRef { commit: CommitId(0), buffer: 0, command };
/// let nothing_ran = Observation::default();
/// assert_eq!(nothing_ran.conflict(command(0), command(1)), Verdict::Unknown);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Both touched the same bytes, and at least one wrote.
    Confirmed {
        /// What the earlier command did there.
        earlier: ConflictSide,
        /// What the later command did there.
        later: ConflictSide,
        /// How many bytes they share in conflict, over all places; a byte counts once for each pair of places.
        shared: u64,
    },
    /// They touched no byte in conflict in this run.
    Dismissed,
    /// One of them did not run or was not recorded whole, or a texture shares memory with another resource.
    Unknown,
}

impl Observation {
    /// Whether two commands touched memory in conflict.
    pub fn conflict(&self, earlier: CommandRef, later: CommandRef) -> Verdict {
        self.conflict_where(earlier, later, |_, _| true)
    }

    /// The same for those accesses alone whose resources (of the earlier and of the later command) `concerns` picks:
    /// the two of one finding.
    pub fn conflict_where(
        &self,
        earlier: CommandRef,
        later: CommandRef,
        concerns: impl Fn(ResourceKey, ResourceKey) -> bool,
    ) -> Verdict {
        let (Some(before), Some(after)) = (self.command(earlier), self.command(later)) else {
            return Verdict::Unknown;
        };
        let mut unknown = !before.complete || !after.complete;
        let mut found: Option<(ConflictSide, ConflictSide)> = None;
        let mut shared = 0;
        for a in &before.accesses {
            for b in &after.accesses {
                if !a.kind.conflicts(b.kind) || !concerns(a.resource, b.resource) {
                    continue;
                }
                match self.meet(a, b) {
                    Meeting::Apart => {}
                    Meeting::Unknown => unknown = true,
                    Meeting::Bytes { first, count } => {
                        shared += count;
                        found.get_or_insert_with(|| (side(a, &first), side(b, &first)));
                    }
                }
            }
        }
        match found {
            Some((earlier, later)) => Verdict::Confirmed { earlier, later, shared },
            None if unknown => Verdict::Unknown,
            None => Verdict::Dismissed,
        }
    }

    fn meet(&self, a: &ObservedAccess, b: &ObservedAccess) -> Meeting {
        if a.resource == b.resource && a.part != b.part {
            return Meeting::Apart;
        }
        let (Some(of_a), Some(of_b)) = (self.resource(a.resource), self.resource(b.resource)) else {
            return Meeting::Unknown;
        };
        if !overlap(of_a, of_b) {
            return Meeting::Apart;
        }
        let both = a.bytes.shifted(a.base).intersection(&b.bytes.shifted(b.base));
        match both.ranges().first() {
            Some(first) => Meeting::Bytes { first: first.clone(), count: both.len() },
            None if a.resource != b.resource && (of_a.texture || of_b.texture) => Meeting::Unknown,
            None => Meeting::Apart,
        }
    }
}

enum Meeting {
    Apart,
    Unknown,
    /// The first range that both touched, in their memory, and how many bytes in all.
    Bytes {
        first: Range<u64>,
        count: u64,
    },
}

fn overlap(a: &ObservedResource, b: &ObservedResource) -> bool {
    a.memory == b.memory && a.bytes.start.max(b.bytes.start) < a.bytes.end.min(b.bytes.end)
}

fn side(access: &ObservedAccess, physical: &Range<u64>) -> ConflictSide {
    let bytes = physical.start.saturating_sub(access.base)..physical.end.saturating_sub(access.base);
    let ObservedAccess { resource, part, kind, place, invocation, .. } = *access;
    ConflictSide { resource, part, kind, bytes, place, invocation }
}
