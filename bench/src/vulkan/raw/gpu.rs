//! A device with queues and memory.

use crate::vulkan::workload::{Span, find_adapter};
use ash::{Entry, ext, khr, vk};

pub struct Gpu {
    _entry: Entry,
    instance: ash::Instance,
    physical: vk::PhysicalDevice,
    pub device: ash::Device,
    pub push: Option<khr::push_descriptor::Device>,
    /// Descriptors in buffers, if they were asked for and are there; then buffers have addresses.
    pub written: Option<ext::descriptor_buffer::Device>,
    pub family: u32,
    pub queues: Vec<vk::Queue>,
    /// Nanoseconds of a tick.
    pub period: f64,
}

pub struct Buffer {
    pub raw: vk::Buffer,
    memory: vk::DeviceMemory,
    size: u64,
}

impl Gpu {
    pub fn open(adapter: &str, queues: usize, written: bool) -> Result<Gpu, String> {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let entry = Entry::load().map_err(|error| error.to_string())?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let info = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&info, None).map_err(|error| error.to_string())?;
            let name = |device: &vk::PhysicalDevice| {
                let name = instance.get_physical_device_properties(*device).device_name;
                name.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8 as char).collect()
            };
            let physical = find_adapter(instance.enumerate_physical_devices().unwrap(), adapter, name)?;
            let families = instance.get_physical_device_queue_family_properties(physical);
            let with = |flags| families.iter().position(|family| family.queue_flags.contains(flags));
            let both = with(vk::QueueFlags::COMPUTE | vk::QueueFlags::GRAPHICS);
            let family = both.or_else(|| with(vk::QueueFlags::COMPUTE)).ok_or("no queue computes")?;
            let count = queues.min(families[family].queue_count as usize);
            let (device, push, written) = make(&instance, physical, family as u32, count, written);
            let properties = instance.get_physical_device_properties(physical);
            Ok(Gpu {
                queues: (0..count as u32).map(|at| device.get_device_queue(family as u32, at)).collect(),
                family: family as u32,
                period: f64::from(properties.limits.timestamp_period),
                push,
                written,
                device,
                physical,
                instance,
                _entry: entry,
            })
        }
    }

    /// `host`: whether the host reaches it; else it is the device's own.
    pub fn buffer(&self, size: u64, host: bool) -> Buffer {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let copies = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
            let mut usage = vk::BufferUsageFlags::STORAGE_BUFFER | copies;
            let mut flags = vk::MemoryAllocateFlagsInfo::default();
            if self.written.is_some() {
                usage |= vk::BufferUsageFlags::SHADER_DEVICE_ADDRESS;
                usage |= vk::BufferUsageFlags::RESOURCE_DESCRIPTOR_BUFFER_EXT;
                flags = flags.flags(vk::MemoryAllocateFlags::DEVICE_ADDRESS);
            }
            let info = vk::BufferCreateInfo::default().size(size).usage(usage);
            let raw = self.device.create_buffer(&info, None).unwrap();
            let needs = self.device.get_buffer_memory_requirements(raw);
            let types = self.instance.get_physical_device_memory_properties(self.physical);
            let find = |flags| {
                let fits = |(at, kind): &(usize, &vk::MemoryType)| {
                    needs.memory_type_bits & (1 << at) != 0 && kind.property_flags.contains(flags)
                };
                types.memory_types_as_slice().iter().enumerate().find(fits).map(|(at, _)| at as u32)
            };
            let shared = vk::MemoryPropertyFlags::HOST_VISIBLE | vk::MemoryPropertyFlags::HOST_COHERENT;
            let wishes = match host {
                true => [shared | vk::MemoryPropertyFlags::HOST_CACHED, shared],
                false => [vk::MemoryPropertyFlags::DEVICE_LOCAL, vk::MemoryPropertyFlags::empty()],
            };
            let kind = wishes.into_iter().find_map(find).unwrap();
            let info = vk::MemoryAllocateInfo::default()
                .allocation_size(needs.size)
                .memory_type_index(kind)
                .push_next(&mut flags);
            let memory = self.device.allocate_memory(&info, None).unwrap();
            self.device.bind_buffer_memory(raw, memory, 0).unwrap();
            Buffer { raw, memory, size }
        }
    }

    pub fn upload(&self, to: &Buffer, words: &[u32]) {
        let staging = self.buffer(to.size, true);
        // SAFETY: as the head of `mod.rs` says; the staging buffer has room for the words.
        unsafe {
            let mapped = self.map(&staging);
            mapped.copy_from_nonoverlapping(words.as_ptr(), words.len());
        }
        self.copy(&staging, to, vk::BufferCopy { size: to.size, ..Default::default() });
        self.free(&staging);
    }

    pub fn download(&self, buffers: &[Buffer], span: &Span) -> Vec<u32> {
        let staging = self.buffer(span.size, true);
        let region = vk::BufferCopy { src_offset: span.offset, dst_offset: 0, size: span.size };
        self.copy(&buffers[span.buffer], &staging, region);
        // SAFETY: as the head of `mod.rs` says; the staging buffer is so large.
        let words =
            unsafe { std::slice::from_raw_parts(self.map(&staging), span.size as usize / 4) }.to_vec();
        self.free(&staging);
        words
    }

    /// What descriptors in buffers need: bytes of one of a storage buffer, and what offsets are aligned to.
    pub fn written_size_and_align(&self) -> (usize, u64) {
        let mut own = vk::PhysicalDeviceDescriptorBufferPropertiesEXT::default();
        let mut all = vk::PhysicalDeviceProperties2::default().push_next(&mut own);
        // SAFETY: as the head of `mod.rs` says.
        unsafe { self.instance.get_physical_device_properties2(self.physical, &mut all) };
        (own.robust_storage_buffer_descriptor_size, own.descriptor_buffer_offset_alignment)
    }

    pub fn address(&self, buffer: &Buffer) -> u64 {
        let info = vk::BufferDeviceAddressInfo::default().buffer(buffer.raw);
        // SAFETY: as the head of `mod.rs` says.
        unsafe { self.device.get_buffer_device_address(&info) }
    }

    pub fn map(&self, buffer: &Buffer) -> *mut u32 {
        // SAFETY: as the head of `mod.rs` says.
        let mapped = unsafe { self.device.map_memory(buffer.memory, 0, vk::WHOLE_SIZE, Default::default()) };
        mapped.unwrap().cast()
    }

    /// Waits for all that was submitted.
    pub fn idle(&self) {
        // SAFETY: as the head of `mod.rs` says.
        let _ = unsafe { self.device.device_wait_idle() };
    }

    /// The only large thing that must go before the process does.
    pub fn free(&self, buffer: &Buffer) {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            self.device.destroy_buffer(buffer.raw, None);
            self.device.free_memory(buffer.memory, None);
        }
    }

    /// Copies after all that was submitted, and waits.
    fn copy(&self, from: &Buffer, to: &Buffer, region: vk::BufferCopy) {
        // SAFETY: as the head of `mod.rs` says.
        unsafe {
            let info = vk::CommandPoolCreateInfo::default().queue_family_index(self.family);
            let pool = self.device.create_command_pool(&info, None).unwrap();
            let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
            let commands = self.device.allocate_command_buffers(&info).unwrap();
            self.device.begin_command_buffer(commands[0], &Default::default()).unwrap();
            let all = [vk::MemoryBarrier2::default()
                .src_stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS)
                .src_access_mask(vk::AccessFlags2::MEMORY_WRITE)
                .dst_stage_mask(vk::PipelineStageFlags2::ALL_COMMANDS | vk::PipelineStageFlags2::HOST)
                .dst_access_mask(vk::AccessFlags2::MEMORY_READ | vk::AccessFlags2::MEMORY_WRITE)];
            let all = vk::DependencyInfo::default().memory_barriers(&all);
            self.device.cmd_pipeline_barrier2(commands[0], &all);
            self.device.cmd_copy_buffer(commands[0], from.raw, to.raw, &[region]);
            self.device.cmd_pipeline_barrier2(commands[0], &all);
            self.device.end_command_buffer(commands[0]).unwrap();
            let batch = [vk::SubmitInfo::default().command_buffers(&commands)];
            self.device.queue_submit(self.queues[0], &batch, vk::Fence::null()).unwrap();
            self.device.device_wait_idle().unwrap();
            self.device.destroy_command_pool(pool, None);
        }
    }
}

unsafe fn make(
    instance: &ash::Instance,
    physical: vk::PhysicalDevice,
    family: u32,
    count: usize,
    written: bool,
) -> (ash::Device, Option<khr::push_descriptor::Device>, Option<ext::descriptor_buffer::Device>) {
    // SAFETY: as the head of `mod.rs` says.
    unsafe {
        let extensions = instance.enumerate_device_extension_properties(physical).unwrap();
        let has = |name| extensions.iter().any(|own| own.extension_name_as_c_str() == Ok(name));
        let pushes = has(khr::push_descriptor::NAME);
        let written = written && has(ext::descriptor_buffer::NAME);
        let mut names = Vec::new();
        names.extend(pushes.then(|| khr::push_descriptor::NAME.as_ptr()));
        names.extend(written.then(|| ext::descriptor_buffer::NAME.as_ptr()));
        let priorities = vec![1.0; count];
        let queues =
            [vk::DeviceQueueCreateInfo::default().queue_family_index(family).queue_priorities(&priorities)];
        let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
            .host_query_reset(true)
            .buffer_device_address(written);
        let mut in_buffers =
            vk::PhysicalDeviceDescriptorBufferFeaturesEXT::default().descriptor_buffer(written);
        let mut v13 = vk::PhysicalDeviceVulkan13Features::default().synchronization2(true);
        let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true);
        let info = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names)
            .enabled_features(&core)
            .push_next(&mut v12)
            .push_next(&mut v13);
        let info = if written { info.push_next(&mut in_buffers) } else { info };
        let device = instance.create_device(physical, &info, None).unwrap();
        let push = pushes.then(|| khr::push_descriptor::Device::new(instance, &device));
        let written = written.then(|| ext::descriptor_buffer::Device::new(instance, &device));
        (device, push, written)
    }
}
