//! Tells the validation layer what the host has seen of a queue. Layers that check whole submissions have long followed
//! fences and no timelines; without one of these they would take what the host has waited for for a hazard.
//!
//! Without the layer there is none. Tested in the contract suite, which runs under the layer.

use crate::error::Fallible;
use crate::gpu::Gpu;
use ash::vk;
use lockgate_runtime::Result;
use std::sync::Arc;

/// A fence for one batch at a time.
pub(crate) struct Witness {
    gpu: Arc<Gpu>,
    raw: vk::Fence,
}

impl Witness {
    /// A witness, if somebody listens.
    pub(crate) fn new(gpu: &Arc<Gpu>) -> Result<Option<Witness>> {
        if !gpu.instance.is_validating() {
            return Ok(None);
        }
        // SAFETY: the device is alive.
        let raw = unsafe { gpu.raw.create_fence(&vk::FenceCreateInfo::default(), None) };
        Ok(Some(Witness { gpu: gpu.clone(), raw: raw.or_fail("making a fence")? }))
    }

    /// What is signaled with the batch, if there is a witness.
    pub(crate) fn fence(witness: &Option<Witness>) -> vk::Fence {
        witness.as_ref().map_or(vk::Fence::null(), |witness| witness.raw)
    }

    /// The host has seen the batch end, by the timeline.
    pub(crate) fn see(&self) -> Result<()> {
        let fences = [self.raw];
        // SAFETY: the fence was given to a batch whose timeline says that it is done.
        let seen = unsafe { self.gpu.raw.wait_for_fences(&fences, true, u64::MAX) };
        seen.or_fail("waiting for a fence")?;
        // SAFETY: no batch that is not done has the fence.
        unsafe { self.gpu.raw.reset_fences(&fences) }.or_fail("resetting a fence")
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // SAFETY: its batch is done, or the device is idle; it is destroyed once.
        unsafe { self.gpu.raw.destroy_fence(self.raw, None) };
    }
}
