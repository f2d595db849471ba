//! Pipelines, and what is bound to them.

use super::gpu::{Buffer, Gpu};
use crate::vulkan::workload::{Workload, spirv};
use ash::{khr, vk};
use std::ffi::CString;

struct Kernel {
    set_layout: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
}

/// What a table has bound.
struct Bound {
    kernel: usize,
    infos: Vec<vk::DescriptorBufferInfo>,
    /// Where descriptors are not pushed.
    set: vk::DescriptorSet,
}

pub struct Kernels {
    push: Option<khr::push_descriptor::Device>,
    kernels: Vec<Kernel>,
    tables: Vec<Bound>,
}

const POINT: vk::PipelineBindPoint = vk::PipelineBindPoint::COMPUTE;

impl Kernels {
    pub fn new(gpu: &Gpu, workload: &Workload, buffers: &[Buffer]) -> Kernels {
        // SAFETY: as the head of `mod.rs` says.
        let kernel = |at| unsafe { kernel(gpu, workload, at) };
        let bound = |at: usize| {
            let count = workload.kernel(at).bindings;
            let info = |span: &crate::vulkan::workload::Span| vk::DescriptorBufferInfo {
                buffer: buffers[span.buffer].raw,
                offset: span.offset,
                range: span.size,
            };
            let table = workload.tables[at];
            let infos = table.spans[..count].iter().map(info).collect();
            Bound { kernel: table.kernel, infos, set: vk::DescriptorSet::null() }
        };
        let mut made = Kernels {
            push: gpu.push.clone(),
            kernels: (0..workload.kernels.len()).map(kernel).collect(),
            tables: (0..workload.tables.len()).map(bound).collect(),
        };
        if made.push.is_none() {
            // SAFETY: as the head of `mod.rs` says.
            unsafe { made.make_sets(gpu) };
        }
        made
    }

    unsafe fn make_sets(&mut self, gpu: &Gpu) {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let count = self.tables.len() as u32;
            let size = vk::DescriptorPoolSize {
                ty: vk::DescriptorType::STORAGE_BUFFER,
                descriptor_count: 3 * count,
            };
            let sizes = [size];
            let info = vk::DescriptorPoolCreateInfo::default().max_sets(count).pool_sizes(&sizes);
            let pool = gpu.device.create_descriptor_pool(&info, None).unwrap();
            for table in &mut self.tables {
                let layouts = [self.kernels[table.kernel].set_layout];
                let info =
                    vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
                table.set = gpu.device.allocate_descriptor_sets(&info).unwrap()[0];
                gpu.device.update_descriptor_sets(&writes(table)[..table.infos.len()], &[]);
            }
        }
    }

    /// `last` is the pipeline that is bound.
    pub unsafe fn bind(
        &self,
        device: &ash::Device,
        commands: vk::CommandBuffer,
        table: usize,
        last: &mut vk::Pipeline,
    ) {
        let table = &self.tables[table];
        let kernel = &self.kernels[table.kernel];
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            if *last != kernel.pipeline {
                device.cmd_bind_pipeline(commands, POINT, kernel.pipeline);
                *last = kernel.pipeline;
            }
            match &self.push {
                Some(push) => {
                    let writes = &writes(table)[..table.infos.len()];
                    push.cmd_push_descriptor_set(commands, POINT, kernel.layout, 0, writes);
                }
                None => {
                    device.cmd_bind_descriptor_sets(commands, POINT, kernel.layout, 0, &[table.set], &[]);
                }
            }
        }
    }
}

/// Of which as many count as the table has.
fn writes(table: &Bound) -> [vk::WriteDescriptorSet<'_>; 3] {
    std::array::from_fn(|binding| {
        let infos = &table.infos[binding.min(table.infos.len() - 1)];
        vk::WriteDescriptorSet::default()
            .dst_set(table.set)
            .dst_binding(binding as u32)
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .buffer_info(std::slice::from_ref(infos))
    })
}

unsafe fn kernel(gpu: &Gpu, workload: &Workload, at: usize) -> Kernel {
    let kernel = workload.kernels[at];
    let binding = |binding| {
        vk::DescriptorSetLayoutBinding::default()
            .binding(binding)
            .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(1)
            .stage_flags(vk::ShaderStageFlags::COMPUTE)
    };
    let bindings: Vec<_> = (0..kernel.bindings as u32).map(binding).collect();
    let flags = match gpu.push {
        Some(_) => vk::DescriptorSetLayoutCreateFlags::PUSH_DESCRIPTOR_KHR,
        None => Default::default(),
    };
    // SAFETY: as the head of `mod.rs` says.
    unsafe {
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings).flags(flags);
        let set_layout = gpu.device.create_descriptor_set_layout(&info, None).unwrap();
        let layouts = [set_layout];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&layouts);
        let layout = gpu.device.create_pipeline_layout(&info, None).unwrap();
        let words = spirv(workload, kernel);
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        let module = gpu.device.create_shader_module(&info, None).unwrap();
        let name = CString::new(kernel.name).unwrap();
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&name);
        let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout)];
        let made = gpu.device.create_compute_pipelines(vk::PipelineCache::null(), &info, None);
        Kernel { set_layout, layout, pipeline: made.unwrap()[0] }
    }
}
