//! `ash` by hand with the fewest barriers: descriptors pushed where the driver can, else one set for each table.
//!
//! Everything here is `unsafe` in the sense of Vulkan: one object of each kind, made once, used by one thread, waited for
//! before it is used again.

use super::workload::{KERNELS, Peer, STRIDE, WORDS, Workload};
use ash::{Entry, khr, vk};

/// An adapter's device with one queue.
pub struct Raw {
    _entry: Entry,
    instance: ash::Instance,
    device: ash::Device,
    push: Option<khr::push_descriptor::Device>,
    queue: vk::Queue,
    pool: vk::CommandPool,
    commands: vk::CommandBuffer,
    fence: vk::Fence,
    queries: vk::QueryPool,
    period: f64,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
    buffers: Vec<(vk::Buffer, *mut u32)>,
    /// For each table of bindings its set, where descriptors are not pushed.
    sets: Vec<vk::DescriptorSet>,
    workload: Workload,
    barriers: usize,
}

fn spirv(entry_point: &str) -> Vec<u32> {
    use naga::back::spv;
    let module = naga::front::wgsl::parse_str(KERNELS).unwrap();
    let flags = naga::valid::ValidationFlags::all();
    let info =
        naga::valid::Validator::new(flags, naga::valid::Capabilities::all()).validate(&module).unwrap();
    let binding = |binding| {
        let to = spv::BindingInfo { descriptor_set: 0, binding, binding_array_size: None };
        (naga::ResourceBinding { group: 0, binding }, to)
    };
    let options = spv::Options {
        lang_version: (1, 4),
        flags: spv::WriterFlags::empty(),
        binding_map: [binding(0), binding(1)].into_iter().collect(),
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: entry_point.into() };
    spv::write_vec(&module, &info, &options, Some(&pipeline)).unwrap()
}

impl Raw {
    /// `adapter`: the whole name, as the driver gives it, has this part, words joined by dashes.
    pub fn new(adapter: &str, workload: Workload) -> Raw {
        // SAFETY: as the head of this file says.
        unsafe { Raw::make(adapter, workload) }
    }

    unsafe fn make(adapter: &str, workload: Workload) -> Raw {
        // SAFETY: as the head of this file says.
        unsafe {
            let entry = Entry::load().unwrap();
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None).unwrap();
            let is = |device: &vk::PhysicalDevice| {
                let name = instance.get_physical_device_properties(*device).device_name;
                let name: String = name.iter().map(|byte| *byte as u8 as char).collect();
                let name = name.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "-");
                name.contains(adapter.split('#').next().unwrap_or(adapter))
            };
            let physical = instance.enumerate_physical_devices().unwrap().into_iter().find(is).unwrap();
            let families = instance.get_physical_device_queue_family_properties(physical);
            let both = vk::QueueFlags::COMPUTE | vk::QueueFlags::GRAPHICS;
            let family = families.iter().position(|family| family.queue_flags.contains(both)).unwrap() as u32;
            let extensions = instance.enumerate_device_extension_properties(physical).unwrap();
            let has = |extension: &vk::ExtensionProperties| {
                extension.extension_name_as_c_str() == Ok(khr::push_descriptor::NAME)
            };
            let pushes = extensions.iter().any(has);
            let queue =
                [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&[1.0])];
            let names: Vec<_> = pushes.then(|| khr::push_descriptor::NAME.as_ptr()).into_iter().collect();
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default().host_query_reset(true);
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default().synchronization2(true);
            let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&names)
                .enabled_features(&core)
                .push_next(&mut v12)
                .push_next(&mut v13);
            let device = instance.create_device(physical, &info, None).unwrap();
            let push = pushes.then(|| khr::push_descriptor::Device::new(&instance, &device));
            let binding = |binding| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(binding)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            };
            let bindings = if workload.dependent { vec![binding(0), binding(1)] } else { vec![binding(0)] };
            let flags = if pushes {
                vk::DescriptorSetLayoutCreateFlags::PUSH_DESCRIPTOR_KHR
            } else {
                Default::default()
            };
            let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings).flags(flags);
            let set_layout = [device.create_descriptor_set_layout(&info, None).unwrap()];
            let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&set_layout);
            let layout = device.create_pipeline_layout(&info, None).unwrap();
            let words = spirv(if workload.dependent { "pass_on" } else { "step" });
            let module = device
                .create_shader_module(&vk::ShaderModuleCreateInfo::default().code(&words), None)
                .unwrap();
            let name = if workload.dependent { c"pass_on" } else { c"step" };
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(name);
            let info = [vk::ComputePipelineCreateInfo::default().stage(stage).layout(layout)];
            let pipeline =
                device.create_compute_pipelines(vk::PipelineCache::null(), &info, None).unwrap()[0];
            let info = vk::CommandPoolCreateInfo::default()
                .queue_family_index(family)
                .flags(vk::CommandPoolCreateFlags::TRANSIENT);
            let pool = device.create_command_pool(&info, None).unwrap();
            let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
            let commands = device.allocate_command_buffers(&info).unwrap()[0];
            let info = vk::QueryPoolCreateInfo::default().query_type(vk::QueryType::TIMESTAMP).query_count(2);
            let mut raw = Raw {
                push,
                queue: device.get_device_queue(family, 0),
                pool,
                commands,
                fence: device.create_fence(&Default::default(), None).unwrap(),
                queries: device.create_query_pool(&info, None).unwrap(),
                period: f64::from(instance.get_physical_device_properties(physical).limits.timestamp_period),
                layout,
                pipeline,
                buffers: Vec::new(),
                sets: Vec::new(),
                workload,
                barriers: 0,
                _entry: entry,
                instance,
                device,
            };
            let sizes =
                if workload.dependent { vec![STRIDE; 2] } else { vec![STRIDE * u64::from(workload.count)] };
            raw.buffers = sizes.into_iter().map(|size| raw.buffer(physical, size)).collect();
            if raw.push.is_none() {
                raw.make_sets(set_layout[0]);
            }
            raw
        }
    }

    unsafe fn buffer(&self, physical: vk::PhysicalDevice, size: u64) -> (vk::Buffer, *mut u32) {
        // SAFETY: as the head of this file says.
        unsafe {
            let info = vk::BufferCreateInfo::default().size(size).usage(vk::BufferUsageFlags::STORAGE_BUFFER);
            let buffer = self.device.create_buffer(&info, None).unwrap();
            let needs = self.device.get_buffer_memory_requirements(buffer);
            let types = self.instance.get_physical_device_memory_properties(physical);
            let shared = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let cached = shared | vk::MemoryPropertyFlags::HOST_CACHED;
            let find = |flags| {
                let fits = |(at, kind): &(usize, &vk::MemoryType)| {
                    needs.memory_type_bits & (1 << at) != 0 && kind.property_flags.contains(flags)
                };
                types.memory_types_as_slice().iter().enumerate().find(fits).map(|(at, _)| at as u32)
            };
            let kind = find(cached).or_else(|| find(shared)).unwrap();
            let info = vk::MemoryAllocateInfo::default().allocation_size(needs.size).memory_type_index(kind);
            let memory = self.device.allocate_memory(&info, None).unwrap();
            self.device.bind_buffer_memory(buffer, memory, 0).unwrap();
            let mapped =
                self.device.map_memory(memory, 0, vk::WHOLE_SIZE, Default::default()).unwrap().cast::<u32>();
            std::slice::from_raw_parts_mut(mapped, size as usize / 4).fill(1);
            (buffer, mapped)
        }
    }

    /// What a dispatch has bound: its own range, or the two buffers in turn.
    fn infos(&self, at: u32) -> [vk::DescriptorBufferInfo; 2] {
        let (buffer, offset) = match self.workload.dependent {
            true => (self.buffers[1 - at as usize % 2].0, 0),
            false => (self.buffers[0].0, u64::from(at) * STRIDE),
        };
        let own = vk::DescriptorBufferInfo { buffer, offset, range: WORDS as u64 * 4 };
        let other = vk::DescriptorBufferInfo {
            buffer: self.buffers[at as usize % self.buffers.len()].0,
            offset: 0,
            ..own
        };
        [own, other]
    }

    unsafe fn make_sets(&mut self, layout: vk::DescriptorSetLayout) {
        // SAFETY: as the head of this file says.
        unsafe {
            let tables = if self.workload.dependent { 2 } else { self.workload.count };
            let sizes = [vk::DescriptorPoolSize {
                ty: vk::DescriptorType::STORAGE_BUFFER,
                descriptor_count: 2 * tables,
            }];
            let info = vk::DescriptorPoolCreateInfo::default().max_sets(tables).pool_sizes(&sizes);
            let pool = self.device.create_descriptor_pool(&info, None).unwrap();
            let layouts = vec![layout; tables as usize];
            let info = vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layouts);
            self.sets = self.device.allocate_descriptor_sets(&info).unwrap();
            for (at, set) in self.sets.iter().enumerate() {
                let infos = self.infos(at as u32);
                self.device.update_descriptor_sets(&self.writes(*set, &infos), &[]);
            }
        }
    }

    fn writes<'a>(
        &self,
        set: vk::DescriptorSet,
        infos: &'a [vk::DescriptorBufferInfo; 2],
    ) -> Vec<vk::WriteDescriptorSet<'a>> {
        let write = |(binding, info): (usize, &'a vk::DescriptorBufferInfo)| {
            vk::WriteDescriptorSet::default()
                .dst_set(set)
                .dst_binding(binding as u32)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(std::slice::from_ref(info))
        };
        infos.iter().take(1 + usize::from(self.workload.dependent)).enumerate().map(write).collect()
    }

    unsafe fn record(&mut self) {
        // SAFETY: as the head of this file says.
        unsafe {
            let (device, commands) = (&self.device, self.commands);
            device.reset_command_pool(self.pool, Default::default()).unwrap();
            device.reset_query_pool(self.queries, 0, 2);
            let once =
                vk::CommandBufferBeginInfo::default().flags(vk::CommandBufferUsageFlags::ONE_TIME_SUBMIT);
            device.begin_command_buffer(commands, &once).unwrap();
            device.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::TOP_OF_PIPE, self.queries, 0);
            let point = vk::PipelineBindPoint::COMPUTE;
            device.cmd_bind_pipeline(commands, point, self.pipeline);
            let memory = [vk::MemoryBarrier2::default()
                .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
                .src_access_mask(vk::AccessFlags2::SHADER_STORAGE_WRITE)
                .dst_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
                .dst_access_mask(
                    vk::AccessFlags2::SHADER_STORAGE_READ | vk::AccessFlags2::SHADER_STORAGE_WRITE,
                )];
            let barrier = vk::DependencyInfo::default().memory_barriers(&memory);
            self.barriers = 0;
            for at in 0..self.workload.count {
                if self.workload.dependent && at > 0 {
                    device.cmd_pipeline_barrier2(commands, &barrier);
                    self.barriers += 1;
                }
                match &self.push {
                    Some(push) => {
                        let infos = self.infos(at);
                        let write = |binding: usize| {
                            vk::WriteDescriptorSet::default()
                                .dst_binding(binding as u32)
                                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                                .buffer_info(std::slice::from_ref(&infos[binding]))
                        };
                        let writes = [write(0), write(1)];
                        let writes = &writes[..1 + usize::from(self.workload.dependent)];
                        push.cmd_push_descriptor_set(commands, point, self.layout, 0, writes);
                    }
                    None => {
                        let set = [self.sets[at as usize % self.sets.len()]];
                        device.cmd_bind_descriptor_sets(commands, point, self.layout, 0, &set, &[]);
                    }
                }
                device.cmd_dispatch(commands, 1, 1, 1);
            }
            device.cmd_write_timestamp2(commands, vk::PipelineStageFlags2::ALL_COMMANDS, self.queries, 1);
            let host = [vk::MemoryBarrier2::default()
                .src_stage_mask(vk::PipelineStageFlags2::COMPUTE_SHADER)
                .src_access_mask(vk::AccessFlags2::SHADER_STORAGE_WRITE)
                .dst_stage_mask(vk::PipelineStageFlags2::HOST)
                .dst_access_mask(vk::AccessFlags2::HOST_READ)];
            device.cmd_pipeline_barrier2(commands, &vk::DependencyInfo::default().memory_barriers(&host));
            device.end_command_buffer(commands).unwrap();
        }
    }
}

impl Peer for Raw {
    fn name(&self) -> String {
        "ash by hand".into()
    }

    fn submit(&mut self) {
        // SAFETY: as the head of this file says.
        unsafe {
            self.record();
            let list = [vk::CommandBufferSubmitInfo::default().command_buffer(self.commands)];
            let batch = [vk::SubmitInfo2::default().command_buffer_infos(&list)];
            self.device.queue_submit2(self.queue, &batch, self.fence).unwrap();
        }
    }

    fn wait(&mut self) -> Option<f64> {
        // SAFETY: as the head of this file says.
        unsafe {
            self.device.wait_for_fences(&[self.fence], true, u64::MAX).unwrap();
            self.device.reset_fences(&[self.fence]).unwrap();
            let mut ticks = [0u64; 2];
            let flags = vk::QueryResultFlags::TYPE_64 | vk::QueryResultFlags::WAIT;
            self.device.get_query_pool_results(self.queries, 0, &mut ticks, flags).unwrap();
            Some(ticks[1].saturating_sub(ticks[0]) as f64 * self.period)
        }
    }

    fn words(&mut self) -> Vec<u32> {
        let at = if self.workload.dependent {
            0
        } else {
            (self.workload.count as usize - 1) * STRIDE as usize / 4
        };
        let (_, mapped) =
            self.buffers[if self.workload.dependent { self.workload.count as usize % 2 } else { 0 }];
        // SAFETY: as the head of this file says.
        unsafe { std::slice::from_raw_parts(mapped.add(at), WORDS) }.to_vec()
    }

    fn barriers(&self) -> Option<usize> {
        Some(self.barriers)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The process ends soon: what the device has made goes with it.
        // SAFETY: as the head of this file says.
        unsafe {
            let _ = self.device.device_wait_idle();
        }
    }
}
