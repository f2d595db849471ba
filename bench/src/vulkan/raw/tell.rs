//! How a dispatch is told what is bound: what recording costs the host, 10,000 dispatches with one storage buffer each, a
//! part of its own for each. Nothing is submitted.
//!
//! "address" is a lower bound for buffer device addresses: what pushing 8 bytes costs. The kernel does not use them, since
//! naga writes no such SPIR-V.

use super::gpu::{Buffer, Gpu};
use super::{Lane, lane, reset};
use crate::vulkan::workload::{Kernel, STRIDE, Workload, spirv, streams};
use ash::vk;
use std::time::{Duration, Instant};

const POINT: vk::PipelineBindPoint = vk::PipelineBindPoint::COMPUTE;

#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Pushed,
    Sets,
    Offsets,
    /// Descriptors in a buffer, written beforehand.
    Buffer,
    /// The same, each written when it is used.
    BufferWritten,
    Address,
}

pub const WAYS: [(Way, &str); 6] = [
    (Way::Pushed, "pushed descriptors"),
    (Way::Sets, "a set for each, written beforehand"),
    (Way::Offsets, "one set with dynamic offsets"),
    (Way::Buffer, "descriptor buffer, written beforehand"),
    (Way::BufferWritten, "descriptor buffer, written for each"),
    (Way::Address, "address, pushed (lower bound)"),
];

struct Layouts {
    set: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
}

/// One way on one device.
pub struct Tell {
    way: Way,
    gpu: Gpu,
    lane: Lane,
    layouts: Layouts,
    data: Buffer,
    sets: Vec<vk::DescriptorSet>,
    /// Where descriptors are written: the buffer, its memory, and bytes from one to the next.
    written: Option<(Buffer, *mut u8, u64)>,
}

impl Tell {
    /// The error says what the driver does not have.
    pub fn new(adapter: &str, way: Way, quick: bool) -> Result<Tell, String> {
        let in_buffer = matches!(way, Way::Buffer | Way::BufferWritten);
        let gpu = Gpu::open(adapter, 1, in_buffer)?;
        let missing = way == Way::Pushed && gpu.push.is_none() || in_buffer && gpu.written.is_none();
        if missing {
            return Err("the driver has no such thing".into());
        }
        let workload = streams(quick).swap_remove(0);
        let count = workload.dispatches();
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let lane = lane(&gpu, 0, &workload);
            let data = gpu.buffer(count as u64 * STRIDE, false);
            let layouts = layouts(&gpu, way, &workload);
            let mut made = Tell { way, lane, layouts, data, sets: Vec::new(), written: None, gpu };
            match way {
                Way::Sets => made.make_sets(count, vk::DescriptorType::STORAGE_BUFFER),
                Way::Offsets | Way::Address => made.make_sets(1, vk::DescriptorType::STORAGE_BUFFER_DYNAMIC),
                Way::Buffer | Way::BufferWritten => made.make_buffer(count),
                Way::Pushed => {}
            }
            Ok(made)
        }
    }

    unsafe fn make_sets(&mut self, count: usize, ty: vk::DescriptorType) {
        let device = &self.gpu.device;
        let sizes = [vk::DescriptorPoolSize { ty, descriptor_count: count as u32 }];
        let info = vk::DescriptorPoolCreateInfo::default().max_sets(count as u32).pool_sizes(&sizes);
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let pool = device.create_descriptor_pool(&info, None).unwrap();
            let layouts = vec![self.layouts.set; count];
            let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
            self.sets = device.allocate_descriptor_sets(&info).unwrap();
            for (at, set) in self.sets.iter().enumerate() {
                let info = [self.info(at)];
                let write = vk::WriteDescriptorSet::default();
                let write = write.dst_set(*set).descriptor_type(ty).buffer_info(&info);
                device.update_descriptor_sets(&[write], &[]);
            }
        }
    }

    unsafe fn make_buffer(&mut self, count: usize) {
        let (_, align) = self.gpu.written_size_and_align();
        let written = self.gpu.written.as_ref().expect("it was looked for");
        // SAFETY: as the head of `mod.rs` says.
        let size = unsafe { written.get_descriptor_set_layout_size(self.layouts.set) };
        let step = size.next_multiple_of(align);
        let buffer = self.gpu.buffer(step * count as u64, true);
        let memory = self.gpu.map(&buffer).cast();
        self.written = Some((buffer, memory, step));
        (0..count).for_each(|at| self.write(at));
    }

    /// Writes a descriptor into the buffer of them.
    fn write(&self, at: usize) {
        let (Some(device), Some((_, memory, step))) = (&self.gpu.written, &self.written) else { return };
        let (size, _) = self.gpu.written_size_and_align();
        let address = vk::DescriptorAddressInfoEXT::default()
            .address(self.gpu.address(&self.data) + at as u64 * STRIDE)
            .range(STRIDE);
        let data = vk::DescriptorDataEXT { p_storage_buffer: &address };
        let info = vk::DescriptorGetInfoEXT::default().ty(vk::DescriptorType::STORAGE_BUFFER).data(data);
        // SAFETY: as the head of `mod.rs` says; the buffer has room for as many.
        unsafe {
            let to = std::slice::from_raw_parts_mut(memory.add(at * *step as usize), size);
            device.get_descriptor(&info, to);
        }
    }

    fn info(&self, at: usize) -> vk::DescriptorBufferInfo {
        vk::DescriptorBufferInfo { buffer: self.data.raw, offset: at as u64 * STRIDE, range: STRIDE }
    }

    /// Records once. What it takes.
    pub fn record(&self) -> Duration {
        let device = &self.gpu.device;
        let Lane { commands, ref dispatches, .. } = self.lane;
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            reset(&self.gpu, &self.lane);
            let begin = Instant::now();
            device.begin_command_buffer(commands, &Default::default()).unwrap();
            device.cmd_bind_pipeline(commands, POINT, self.layouts.pipeline);
            self.begin(commands);
            for at in 0..dispatches.len() {
                self.tell(commands, at);
                device.cmd_dispatch(commands, 1, 1, 1);
            }
            device.end_command_buffer(commands).unwrap();
            begin.elapsed()
        }
    }

    unsafe fn begin(&self, commands: vk::CommandBuffer) {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            if let (Some(device), Some((buffer, ..))) = (&self.gpu.written, &self.written) {
                let info = vk::DescriptorBufferBindingInfoEXT::default()
                    .address(self.gpu.address(buffer))
                    .usage(vk::BufferUsageFlags::RESOURCE_DESCRIPTOR_BUFFER_EXT);
                device.cmd_bind_descriptor_buffers(commands, &[info]);
            }
            if self.way == Way::Address {
                let (layout, sets) = (self.layouts.layout, &self.sets[..1]);
                self.gpu.device.cmd_bind_descriptor_sets(commands, POINT, layout, 0, sets, &[0]);
            }
        }
    }

    unsafe fn tell(&self, commands: vk::CommandBuffer, at: usize) {
        let (device, layout, offset) = (&self.gpu.device, self.layouts.layout, at as u64 * STRIDE);
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            match self.way {
                Way::Pushed => {
                    let info = [self.info(at)];
                    let kind = vk::DescriptorType::STORAGE_BUFFER;
                    let write = vk::WriteDescriptorSet::default().descriptor_type(kind).buffer_info(&info);
                    let push = self.gpu.push.as_ref().expect("it was looked for");
                    push.cmd_push_descriptor_set(commands, POINT, layout, 0, &[write]);
                }
                Way::Sets => {
                    device.cmd_bind_descriptor_sets(commands, POINT, layout, 0, &[self.sets[at]], &[]);
                }
                Way::Offsets => {
                    let offsets = [offset as u32];
                    device.cmd_bind_descriptor_sets(commands, POINT, layout, 0, &self.sets[..1], &offsets);
                }
                Way::Buffer | Way::BufferWritten => {
                    if self.way == Way::BufferWritten {
                        self.write(at);
                    }
                    let (Some(device), Some((.., step))) = (&self.gpu.written, &self.written) else { return };
                    let offsets = [at as u64 * step];
                    device.cmd_set_descriptor_buffer_offsets(commands, POINT, layout, 0, &[0], &offsets);
                }
                Way::Address => {
                    let stage = vk::ShaderStageFlags::COMPUTE;
                    device.cmd_push_constants(commands, layout, stage, 0, &offset.to_ne_bytes());
                }
            }
        }
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        self.gpu.idle();
        self.gpu.free(&self.data);
        self.written.iter().for_each(|(buffer, ..)| self.gpu.free(buffer));
    }
}

unsafe fn layouts(gpu: &Gpu, way: Way, workload: &Workload) -> Layouts {
    let (kind, flags, pipeline_flags) = match way {
        Way::Pushed => (
            vk::DescriptorType::STORAGE_BUFFER,
            vk::DescriptorSetLayoutCreateFlags::PUSH_DESCRIPTOR_KHR,
            vk::PipelineCreateFlags::empty(),
        ),
        Way::Buffer | Way::BufferWritten => (
            vk::DescriptorType::STORAGE_BUFFER,
            vk::DescriptorSetLayoutCreateFlags::DESCRIPTOR_BUFFER_EXT,
            vk::PipelineCreateFlags::DESCRIPTOR_BUFFER_EXT,
        ),
        Way::Offsets | Way::Address => {
            (vk::DescriptorType::STORAGE_BUFFER_DYNAMIC, Default::default(), Default::default())
        }
        Way::Sets => (vk::DescriptorType::STORAGE_BUFFER, Default::default(), Default::default()),
    };
    let stages = vk::ShaderStageFlags::COMPUTE;
    let binding = vk::DescriptorSetLayoutBinding::default();
    let bindings = [binding.descriptor_type(kind).descriptor_count(1).stage_flags(stages)];
    let kernel: Kernel = workload.kernels[0];
    let words = spirv(workload, kernel);
    let name = std::ffi::CString::new(kernel.name).expect("it has no zeros");
    // SAFETY: as the head of `mod.rs` says.
    unsafe {
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings).flags(flags);
        let set = gpu.device.create_descriptor_set_layout(&info, None).unwrap();
        let (sets, ranges) = ([set], [vk::PushConstantRange { stage_flags: stages, offset: 0, size: 8 }]);
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        let info = if way == Way::Address { info.push_constant_ranges(&ranges) } else { info };
        let layout = gpu.device.create_pipeline_layout(&info, None).unwrap();
        let info = vk::ShaderModuleCreateInfo::default().code(&words);
        let module = gpu.device.create_shader_module(&info, None).unwrap();
        let stage = vk::PipelineShaderStageCreateInfo::default();
        let stage = stage.stage(stages).module(module).name(&name);
        let info =
            [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout).flags(pipeline_flags)];
        let made = gpu.device.create_compute_pipelines(vk::PipelineCache::null(), &info, None);
        Layouts { set, layout, pipeline: made.unwrap()[0] }
    }
}
