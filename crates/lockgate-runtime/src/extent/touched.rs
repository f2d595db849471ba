//! What one side of a conflict really touches, and what that makes of the conflict.
//!
//! Shared by whoever knows commands: the runtime and program files. Deliberately absent: deriving extents (`mod.rs`) and
//! what a device has seen. Tested in `lockgate-trace/tests/check.rs` and `lockgate-cpu/tests/checking.rs`.

use super::{Extent, TouchedBytes};
use crate::ByteSet;
use lockgate_sync::{AccessKind, Grade};
use std::ops::Range;

/// The bytes of a memory that a command or the host touches as one resource.
///
/// ```
/// use lockgate_runtime::Touched;
/// use lockgate_sync::{AccessKind, Grade};
/// let copy = Touched::exactly(0..64, AccessKind::WRITE);
/// assert_eq!(copy.grade(&Touched::exactly(0..64, AccessKind::READ)), Grade::Declared);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    reads: TouchedBytes,
    writes: TouchedBytes,
    /// Whether a kernel touches them: then `must` may be less than `may`.
    derived: bool,
}

impl Touched {
    /// Exactly these bytes: a copy, a fill, the host, or what a program states.
    pub fn exactly(bytes: Range<u64>, kind: AccessKind) -> Touched {
        let all = TouchedBytes { may: ByteSet::from(bytes.clone()), must: ByteSet::from(bytes) };
        let only = |touches: bool| if touches { all.clone() } else { TouchedBytes::default() };
        Touched { reads: only(kind.contains(AccessKind::READ)), writes: only(kind.writes()), derived: false }
    }

    /// Nothing yet of a kernel; [`Touched::add`] adds its bindings.
    pub fn by_kernel() -> Touched {
        Touched { derived: true, ..Touched::default() }
    }

    /// Adds what a kernel touches of a binding whose range begins at a byte of the memory.
    pub fn add(&mut self, extent: &Extent, start: u64) {
        for (own, more) in [(&mut self.reads, &extent.reads), (&mut self.writes, &extent.writes)] {
            own.may.union(&more.may.shifted(start));
            own.must.union(&more.must.shifted(start));
        }
    }

    /// Adds bytes that are read whatever the kernel does: the arguments of an indirect dispatch.
    pub fn add_read(&mut self, bytes: Range<u64>) {
        self.reads.may.insert(bytes.clone());
        self.reads.must.insert(bytes);
    }

    /// Adds bytes of which nothing is known but that they may be touched: an element of an array of bindings.
    pub fn add_perhaps(&mut self, bytes: Range<u64>, reads: bool, writes: bool) {
        for (own, touches) in [(&mut self.reads, reads), (&mut self.writes, writes)] {
            if touches {
                own.may.insert(bytes.clone());
            }
        }
    }

    /// What is known of a conflict of the two: nothing new where neither is a kernel.
    pub fn grade(&self, other: &Touched) -> Grade {
        if !self.derived && !other.derived {
            return Grade::Declared;
        }
        let meets = |of: fn(&TouchedBytes) -> &ByteSet| {
            let pairs =
                [(&self.writes, &other.reads), (&self.writes, &other.writes), (&self.reads, &other.writes)];
            pairs.iter().any(|(a, b)| !of(a).intersection(of(b)).is_empty())
        };
        match (meets(|bytes| &bytes.may), meets(|bytes| &bytes.must)) {
            (false, _) => Grade::Dismissed,
            (true, true) => Grade::Proven,
            (true, false) => Grade::Possible,
        }
    }
}
