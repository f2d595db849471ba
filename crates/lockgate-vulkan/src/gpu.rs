//! An opened device: its functions, its hardware queues and its memory. Everything else holds it in an `Arc`.
//!
//! Deliberately absent: what is made on it, each in its own module. Tested in the contract suite.

use crate::adapter::{Adapter, Extras, Limits};
use crate::error::{Fallible, error};
use crate::fault::{Fault, Faults};
use crate::instance::{Instance, turn};
use ash::{ext, khr, vk};
use gpu_allocator::vulkan::{Allocator, AllocatorCreateDesc};
use lockgate_runtime::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// More hardware queues than this of one family are left alone: each takes memory of the driver.
const QUEUES_MAX: u32 = 16;

/// A hardware queue.
pub(crate) struct HardwareQueue {
    /// The driver wants one caller at a time.
    pub(crate) raw: Mutex<vk::Queue>,
    pub(crate) family: u32,
    pub(crate) graphics: bool,
    pub(crate) timestamps: bool,
    /// Counts the batches that are done.
    pub(crate) timeline: vk::Semaphore,
}

/// A device and its functions.
pub(crate) struct Gpu {
    pub(crate) raw: ash::Device,
    pub(crate) push_descriptor: Option<khr::push_descriptor::Device>,
    pub(crate) calibrated: Option<ext::calibrated_timestamps::Device>,
    pub(crate) queues: Vec<HardwareQueue>,
    /// The families of `queues`, each once.
    pub(crate) families: Vec<u32>,
    pub(crate) extras: Extras,
    pub(crate) limits: Limits,
    pub(crate) physical: vk::PhysicalDevice,
    /// Gone once the device is being destroyed.
    allocator: Mutex<Option<Allocator>>,
    pub(crate) instance: Arc<Instance>,
    pub(crate) faults: Faults,
    /// Why it is lost, once it is.
    pub(crate) lost: OnceLock<Error>,
}

impl Gpu {
    pub(crate) fn open(adapter: &Adapter, fault: Option<Fault>) -> Result<Arc<Gpu>> {
        let mut extras = adapter.extras;
        extras.cube_array &= fault != Some(Fault::NoCubeArrays);
        let turn = turn();
        let raw = create(adapter, &extras)?;
        drop(turn);
        let instance = &adapter.instance;
        let push_descriptor =
            extras.push_descriptor.then(|| khr::push_descriptor::Device::new(&instance.raw, &raw));
        let calibrated = extras
            .calibrated_timestamps
            .then(|| ext::calibrated_timestamps::Device::new(&instance.raw, &raw));
        let mut gpu = Gpu {
            raw,
            push_descriptor,
            calibrated,
            queues: Vec::new(),
            families: adapter.families.iter().map(|family| family.index).collect(),
            extras,
            limits: adapter.limits,
            physical: adapter.physical,
            allocator: Mutex::new(None),
            instance: instance.clone(),
            faults: Faults::new(fault),
            lost: OnceLock::new(),
        };
        for family in &adapter.families {
            for index in 0..family.queues.min(QUEUES_MAX) {
                // SAFETY: the device was made with so many queues of this family.
                let queue = unsafe { gpu.raw.get_device_queue(family.index, index) };
                gpu.queues.push(HardwareQueue {
                    raw: Mutex::new(queue),
                    family: family.index,
                    graphics: family.graphics,
                    timestamps: family.timestamps,
                    timeline: gpu.new_timeline()?,
                });
            }
        }
        *gpu.allocator() = Some(gpu.new_allocator()?);
        Ok(Arc::new(gpu))
    }

    fn new_timeline(&self) -> Result<vk::Semaphore> {
        let mut kind = vk::SemaphoreTypeCreateInfo::default().semaphore_type(vk::SemaphoreType::TIMELINE);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut kind);
        // SAFETY: the device is alive and has the feature timelineSemaphore.
        unsafe { self.raw.create_semaphore(&info, None) }.or_fail("making a timeline semaphore")
    }

    fn new_allocator(&self) -> Result<Allocator> {
        let descriptor = AllocatorCreateDesc {
            instance: self.instance.raw.clone(),
            device: self.raw.clone(),
            physical_device: self.physical,
            debug_settings: Default::default(),
            buffer_device_address: false,
            allocation_sizes: Default::default(),
        };
        let made = Allocator::new(&descriptor);
        made.map_err(|error| Error::new(ErrorKind::OutOfMemory, format!("an allocator of memory: {error}")))
    }

    /// The allocator of memory; gone while the device is being destroyed.
    pub(crate) fn allocator(&self) -> MutexGuard<'_, Option<Allocator>> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing, unless the device is lost.
    pub(crate) fn alive(&self) -> Result<()> {
        self.lost.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// Waits until nothing runs any more.
    pub(crate) fn wait_idle(&self) {
        // Queues are used by one thread at a time, so all of them are held.
        let _held: Vec<_> = self.queues.iter().map(|queue| queue.raw.lock()).collect();
        // SAFETY: the device is alive, and nobody submits to it meanwhile.
        if let Err(result) = unsafe { self.raw.device_wait_idle() } {
            log::warn!("{}", error("closing the device", result));
        }
    }

    /// Whether resources are used by several families.
    pub(crate) fn sharing(&self) -> (vk::SharingMode, &[u32]) {
        match self.families.len() {
            0 | 1 => (vk::SharingMode::EXCLUSIVE, &[]),
            _ => (vk::SharingMode::CONCURRENT, &self.families),
        }
    }

    /// How far a queue's timeline is.
    pub(crate) fn reached(&self, queue: usize) -> std::result::Result<u64, vk::Result> {
        // SAFETY: the semaphore is a timeline of this device.
        unsafe { self.raw.get_semaphore_counter_value(self.queues[queue].timeline) }
    }

    /// Hands a batch to a hardware queue.
    pub(crate) fn submit(&self, queue: usize, batch: &vk::SubmitInfo2<'_>, done: vk::Fence) -> Result<()> {
        if self.faults.loses_submission() {
            return Err(error("handing work to the device", vk::Result::ERROR_DEVICE_LOST));
        }
        let raw = self.queues[queue].raw.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = std::slice::from_ref(batch);
        // SAFETY: the queue is held; everything in the batch belongs to this device and lives until the timeline says
        // that the batch is done.
        let submitted = unsafe { self.raw.queue_submit2(*raw, batches, done) };
        submitted.map_err(|result| error("handing work to the device", result))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        let _turn = turn();
        self.wait_idle();
        for queue in &self.queues {
            // SAFETY: the device is idle, and the semaphore is destroyed once.
            unsafe { self.raw.destroy_semaphore(queue.timeline, None) };
        }
        // It frees its blocks, which must come before the device goes.
        drop(self.allocator().take());
        // SAFETY: everything made by the device holds it in an `Arc`, so nothing is left.
        unsafe { self.raw.destroy_device(None) };
    }
}

/// The extensions that are used, where the driver has them.
fn extensions(extras: &Extras) -> Vec<*const std::ffi::c_char> {
    let names = [
        (extras.push_descriptor, khr::push_descriptor::NAME),
        (extras.robustness2, ext::robustness2::NAME),
        (extras.calibrated_timestamps, ext::calibrated_timestamps::NAME),
        (extras.portability_subset, khr::portability_subset::NAME),
        (extras.atomic_float, ext::shader_atomic_float::NAME),
        (extras.image_atomic_int64, ext::shader_image_atomic_int64::NAME),
    ];
    names.iter().filter(|(has, _)| *has).map(|(_, name)| name.as_ptr()).collect()
}

fn create(adapter: &Adapter, extras: &Extras) -> Result<ash::Device> {
    let priorities = [1.0f32; QUEUES_MAX as usize];
    let family = |family: &crate::adapter::Family| {
        let count = family.queues.min(QUEUES_MAX) as usize;
        vk::DeviceQueueCreateInfo::default()
            .queue_family_index(family.index)
            .queue_priorities(&priorities[..count])
    };
    let families: Vec<_> = adapter.families.iter().map(family).collect();
    let names = extensions(extras);
    let core = vk::PhysicalDeviceFeatures::default()
        .robust_buffer_access(true)
        .shader_int16(extras.int16)
        .shader_int64(extras.int64)
        .shader_float64(extras.float64)
        .shader_storage_image_extended_formats(extras.extended_formats)
        .shader_storage_image_write_without_format(extras.write_without_format)
        .image_cube_array(extras.cube_array)
        .sampler_anisotropy(extras.anisotropy)
        .shader_storage_buffer_array_dynamic_indexing(extras.non_uniform_indexing)
        .shader_sampled_image_array_dynamic_indexing(extras.non_uniform_indexing);
    let mut v11 = vk::PhysicalDeviceVulkan11Features::default()
        .storage_buffer16_bit_access(extras.storage16)
        .uniform_and_storage_buffer16_bit_access(extras.storage16);
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
        .timeline_semaphore(true)
        .host_query_reset(true)
        .shader_float16(extras.float16)
        .shader_buffer_int64_atomics(extras.atomic_int64)
        .shader_shared_int64_atomics(extras.atomic_int64)
        .shader_storage_buffer_array_non_uniform_indexing(extras.non_uniform_indexing)
        .shader_sampled_image_array_non_uniform_indexing(extras.non_uniform_indexing);
    let mut v13 = vk::PhysicalDeviceVulkan13Features::default()
        .synchronization2(true)
        .maintenance4(true)
        .shader_zero_initialize_workgroup_memory(extras.zero_initialize)
        .shader_integer_dot_product(extras.dot_product);
    let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default()
        .robust_buffer_access2(true)
        .null_descriptor(extras.null_descriptor);
    let mut atomic_float = vk::PhysicalDeviceShaderAtomicFloatFeaturesEXT::default()
        .shader_buffer_float32_atomics(true)
        .shader_buffer_float32_atomic_add(true);
    let mut image_atomics =
        vk::PhysicalDeviceShaderImageAtomicInt64FeaturesEXT::default().shader_image_int64_atomics(true);
    let mut features = vk::PhysicalDeviceFeatures2::default()
        .features(core)
        .push_next(&mut v11)
        .push_next(&mut v12)
        .push_next(&mut v13);
    if extras.robustness2 {
        features = features.push_next(&mut robust);
    }
    if extras.atomic_float {
        features = features.push_next(&mut atomic_float);
    }
    if extras.image_atomic_int64 {
        features = features.push_next(&mut image_atomics);
    }
    let info = vk::DeviceCreateInfo::default()
        .queue_create_infos(&families)
        .enabled_extension_names(&names)
        .push_next(&mut features);
    // SAFETY: features and extensions are those that the device has; all that `info` points to lives until the call
    // returns.
    let made = unsafe { adapter.instance.raw.create_device(adapter.physical, &info, None) };
    made.or_fail("opening the device")
}
