//! How much a device was given to do: what a benchmark counts, and what shows a barrier too many.

use crate::plan::Plan;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals over the life of a device. Cheap to clone; all clones count the same.
///
/// ```
/// use lockgate_vulkan::{VulkanBackend, VulkanDescriptor};
/// if let Ok(vulkan) = VulkanBackend::open(&VulkanDescriptor { software: true, ..Default::default() }) {
///     assert_eq!(vulkan.counters().barriers(), 0);
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Counters(Arc<Totals>);

#[derive(Debug, Default)]
struct Totals {
    batches: AtomicU64,
    barriers: AtomicU64,
    repeated: AtomicU64,
}

impl Counters {
    /// Submissions to hardware queues.
    pub fn batches(&self) -> u64 {
        self.0.batches.load(Ordering::Relaxed)
    }

    /// Pipeline barriers between commands. Those inside of a command, such as between two mip levels, and the one at the
    /// end of a batch for the host do not count.
    pub fn barriers(&self) -> u64 {
        self.0.barriers.load(Ordering::Relaxed)
    }

    /// Submissions that did not have to be recorded, since they say what an earlier one said.
    pub fn repeated(&self) -> u64 {
        self.0.repeated.load(Ordering::Relaxed)
    }

    pub(crate) fn add_repeated(&self) {
        self.0.repeated.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, plan: &Plan) {
        self.0.batches.fetch_add(plan.batches.len() as u64, Ordering::Relaxed);
        self.0.barriers.fetch_add(plan.barriers() as u64, Ordering::Relaxed);
    }
}
