//! What goes wrong on purpose: losing a device and running out of memory cannot be tried out on a healthy machine.
//!
//! Tested in the contract suite.

use std::sync::atomic::{AtomicU32, Ordering};

/// A failure of the driver that is pretended, for tests of programs that must survive it.
///
/// ```
/// use lockgate_vulkan::{Fault, VulkanDescriptor};
/// let descriptor = VulkanDescriptor { fault: Some(Fault::DeviceLost { submissions: 3 }), ..Default::default() };
/// assert_ne!(descriptor.fault, Some(Fault::OutOfMemory { allocations: 3 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// After so many submissions to hardware queues the device is lost.
    DeviceLost {
        /// Submissions that go well.
        submissions: u32,
    },
    /// After so many allocations there is no memory left.
    OutOfMemory {
        /// Allocations that go well.
        allocations: u32,
    },
    /// After so many views of textures the driver refuses to make another.
    RefusedView {
        /// Views that are made.
        views: u32,
    },
    /// The driver lacks the feature imageCubeArray.
    NoCubeArrays,
}

/// The fault of a device, and how far it is from it.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    fault: Option<Fault>,
    count: AtomicU32,
}

impl Faults {
    pub(crate) fn new(fault: Option<Fault>) -> Faults {
        Faults { fault, count: AtomicU32::new(0) }
    }

    /// Whether this submission finds the device lost.
    pub(crate) fn loses_submission(&self) -> bool {
        matches!(self.fault, Some(Fault::DeviceLost { submissions }) if self.counts_beyond(submissions))
    }

    /// Whether this allocation finds no memory.
    pub(crate) fn lacks_memory(&self) -> bool {
        matches!(self.fault, Some(Fault::OutOfMemory { allocations }) if self.counts_beyond(allocations))
    }

    /// Whether this view is refused.
    pub(crate) fn refuses_view(&self) -> bool {
        matches!(self.fault, Some(Fault::RefusedView { views }) if self.counts_beyond(views))
    }

    fn counts_beyond(&self, good: u32) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed) >= good
    }
}
