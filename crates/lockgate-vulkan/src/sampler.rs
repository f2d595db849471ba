//! Samplers.

use crate::error::Fallible;
use crate::gpu::Gpu;
use ash::vk;
use lockgate_runtime::{AddressMode, CompareFunction, FilterMode, Result, SamplerDescriptor};
use std::sync::Arc;

/// A sampler.
pub(crate) struct Sampler {
    gpu: Arc<Gpu>,
    pub(crate) raw: vk::Sampler,
}

impl Sampler {
    pub(crate) fn new(gpu: &Arc<Gpu>, descriptor: &SamplerDescriptor) -> Result<Sampler> {
        let filter = |mode| match mode {
            FilterMode::Nearest => vk::Filter::NEAREST,
            FilterMode::Linear => vk::Filter::LINEAR,
        };
        let [u, v, w] = descriptor.address_modes.map(|mode| match mode {
            AddressMode::ClampToEdge => vk::SamplerAddressMode::CLAMP_TO_EDGE,
            AddressMode::Repeat => vk::SamplerAddressMode::REPEAT,
            AddressMode::MirrorRepeat => vk::SamplerAddressMode::MIRRORED_REPEAT,
        });
        let mip = match descriptor.mip_filter {
            FilterMode::Nearest => vk::SamplerMipmapMode::NEAREST,
            FilterMode::Linear => vk::SamplerMipmapMode::LINEAR,
        };
        let info = vk::SamplerCreateInfo::default()
            .mag_filter(filter(descriptor.mag_filter))
            .min_filter(filter(descriptor.min_filter))
            .mipmap_mode(mip)
            .address_mode_u(u)
            .address_mode_v(v)
            .address_mode_w(w)
            .min_lod(descriptor.lod_clamp.0)
            .max_lod(descriptor.lod_clamp.1)
            .compare_enable(descriptor.compare.is_some())
            .compare_op(descriptor.compare.map_or(vk::CompareOp::NEVER, compare));
        // SAFETY: the device is alive and no feature is asked for that it does not have.
        let raw = unsafe { gpu.raw.create_sampler(&info, None) }.or_fail("making a sampler")?;
        Ok(Sampler { gpu: gpu.clone(), raw })
    }
}

fn compare(function: CompareFunction) -> vk::CompareOp {
    match function {
        CompareFunction::Never => vk::CompareOp::NEVER,
        CompareFunction::Less => vk::CompareOp::LESS,
        CompareFunction::Equal => vk::CompareOp::EQUAL,
        CompareFunction::LessEqual => vk::CompareOp::LESS_OR_EQUAL,
        CompareFunction::Greater => vk::CompareOp::GREATER,
        CompareFunction::NotEqual => vk::CompareOp::NOT_EQUAL,
        CompareFunction::GreaterEqual => vk::CompareOp::GREATER_OR_EQUAL,
        CompareFunction::Always => vk::CompareOp::ALWAYS,
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: batches in flight hold the samplers that they use, so nothing uses it any more.
        unsafe { self.gpu.raw.destroy_sampler(self.raw, None) };
    }
}
