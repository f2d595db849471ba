//! The devices that a machine has: what each can do, or why it cannot be used.
//!
//! Deliberately absent: opening one (`gpu.rs`). Tested in the contract suite.

use crate::error::Fallible;
use crate::instance::Instance;
use ash::{ext, khr, vk};
use lockgate_runtime::Result;
use std::ffi::CStr;
use std::sync::Arc;

/// What kind of thing a device is.
///
/// ```
/// use lockgate_vulkan::AdapterKind;
/// assert!(AdapterKind::Discrete < AdapterKind::Software);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdapterKind {
    /// A graphics card.
    Discrete,
    /// Part of the processor.
    Integrated,
    /// A part of a graphics card that a virtual machine has.
    Virtual,
    /// Something else.
    Other,
    /// A driver that runs on the CPU.
    Software,
}

/// Features that not all drivers have and that are used where they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras {
    pub(crate) push_descriptor: bool,
    pub(crate) robustness2: bool,
    pub(crate) null_descriptor: bool,
    pub(crate) calibrated_timestamps: bool,
    pub(crate) portability_subset: bool,
    pub(crate) float16: bool,
    pub(crate) int16: bool,
    pub(crate) int64: bool,
    pub(crate) float64: bool,
    pub(crate) storage16: bool,
    pub(crate) atomic_int64: bool,
    pub(crate) image_atomic_int64: bool,
    pub(crate) atomic_float: bool,
    pub(crate) extended_formats: bool,
    pub(crate) write_without_format: bool,
    pub(crate) cube_array: bool,
    pub(crate) anisotropy: bool,
    pub(crate) zero_initialize: bool,
    pub(crate) non_uniform_indexing: bool,
    pub(crate) dot_product: bool,
    pub(crate) subgroups: vk::SubgroupFeatureFlags,
}

/// Numbers that bound what a device takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) max_buffer_size: u64,
    pub(crate) max_binding_size: u64,
    pub(crate) max_texture_size: u32,
    pub(crate) max_threadgroups: u32,
    pub(crate) max_group: [u32; 3],
    pub(crate) max_group_invocations: u32,
    pub(crate) max_workgroup_memory: u32,
    pub(crate) max_push_constants: u32,
    pub(crate) max_push_descriptors: u32,
    pub(crate) storage_offset_alignment: u64,
    pub(crate) uniform_offset_alignment: u64,
    pub(crate) granularity: u64,
    /// Nanoseconds of a tick of a timestamp.
    pub(crate) timestamp_period: f32,
}

/// Hardware queues of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) index: u32,
    pub(crate) queues: u32,
    /// Whether it can blit images, which takes a graphics queue.
    pub(crate) graphics: bool,
    pub(crate) timestamps: bool,
}

/// A device that can be opened.
pub(crate) struct Adapter {
    pub(crate) instance: Arc<Instance>,
    pub(crate) physical: vk::PhysicalDevice,
    pub(crate) description: String,
    pub(crate) extras: Extras,
    pub(crate) limits: Limits,
    pub(crate) families: Vec<Family>,
}

/// A device of the machine, or why it cannot be used.
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) kind: AdapterKind,
    pub(crate) adapter: std::result::Result<Adapter, String>,
}

/// All devices that the loader knows, best first.
pub(crate) fn list(instance: &Arc<Instance>) -> Result<Vec<Found>> {
    // SAFETY: the instance is alive.
    let physical = unsafe { instance.raw.enumerate_physical_devices() };
    let physical = physical.or_fail("listing the Vulkan devices")?;
    let mut found: Vec<Found> = physical.into_iter().map(|physical| look_at(instance, physical)).collect();
    found.sort_by_key(|found| (found.adapter.is_err(), found.kind));
    number_twins(&mut found);
    Ok(found)
}

/// Devices of one name are told apart by a number.
fn number_twins(found: &mut [Found]) {
    for at in 1..found.len() {
        let name = found[at].name.clone();
        let before = found[..at].iter().filter(|other| other.name == name).count();
        if before > 0 {
            found[at].name = format!("{name}#{}", before + 1);
        }
    }
}

/// A name in small letters without what stands in brackets, words joined by dashes.
fn short(name: &str) -> String {
    let name = name.split('(').next().unwrap_or(name).to_lowercase();
    let words: Vec<&str> =
        name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words.join("-")
}

fn look_at(instance: &Arc<Instance>, physical: vk::PhysicalDevice) -> Found {
    // SAFETY: the instance is alive and the device is one of it.
    let properties = unsafe { instance.raw.get_physical_device_properties(physical) };
    let kind = match properties.device_type {
        vk::PhysicalDeviceType::DISCRETE_GPU => AdapterKind::Discrete,
        vk::PhysicalDeviceType::INTEGRATED_GPU => AdapterKind::Integrated,
        vk::PhysicalDeviceType::VIRTUAL_GPU => AdapterKind::Virtual,
        vk::PhysicalDeviceType::CPU => AdapterKind::Software,
        _ => AdapterKind::Other,
    };
    let name = properties.device_name_as_c_str().map_or("?".into(), CStr::to_string_lossy).into_owned();
    let (whole_name, name) = (name.clone(), short(&name));
    let version = properties.api_version;
    let (major, minor) = (vk::api_version_major(version), vk::api_version_minor(version));
    let mut description = format!("{whole_name}, Vulkan {major}.{minor}");
    if version < vk::API_VERSION_1_3 {
        let why = format!("its driver has Vulkan {major}.{minor}; 1.3 is needed");
        return Found { name, description, kind, adapter: Err(why) };
    }
    let mut driver = vk::PhysicalDeviceDriverProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
    // SAFETY: as above; the chain lives until the call returns.
    unsafe { instance.raw.get_physical_device_properties2(physical, &mut properties) };
    let text =
        |text: std::result::Result<&CStr, _>| text.map_or("".into(), CStr::to_string_lossy).into_owned();
    let (driver_name, info) = (text(driver.driver_name_as_c_str()), text(driver.driver_info_as_c_str()));
    description.push_str(&format!(", driver {driver_name} {info}"));
    let adapter = adapter(instance, physical, &description);
    Found { name, description, kind, adapter }
}

fn adapter(
    instance: &Arc<Instance>,
    physical: vk::PhysicalDevice,
    description: &str,
) -> std::result::Result<Adapter, String> {
    // SAFETY: the instance is alive and the device is one of it.
    let extensions = unsafe { instance.raw.enumerate_device_extension_properties(physical) };
    let extensions = extensions.map_err(crate::error::failed)?;
    let has = |name: &CStr| extensions.iter().any(|own| own.extension_name_as_c_str() == Ok(name));
    let extras = features(instance, physical, &has)?;
    let families = families(instance, physical);
    if families.is_empty() {
        return Err("it has no queue that computes".into());
    }
    Ok(Adapter {
        instance: instance.clone(),
        physical,
        description: description.to_owned(),
        extras,
        limits: limits(instance, physical, extras.push_descriptor),
        families,
    })
}

/// The features that a device has; the name of one that it must have and has not.
fn features(
    instance: &Instance,
    physical: vk::PhysicalDevice,
    has: &dyn Fn(&CStr) -> bool,
) -> std::result::Result<Extras, String> {
    let mut v11 = vk::PhysicalDeviceVulkan11Features::default();
    let mut v12 = vk::PhysicalDeviceVulkan12Features::default();
    let mut v13 = vk::PhysicalDeviceVulkan13Features::default();
    let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
    let mut atomic_float = vk::PhysicalDeviceShaderAtomicFloatFeaturesEXT::default();
    let mut image_atomics = vk::PhysicalDeviceShaderImageAtomicInt64FeaturesEXT::default();
    let mut features =
        vk::PhysicalDeviceFeatures2::default().push_next(&mut v11).push_next(&mut v12).push_next(&mut v13);
    if has(ext::robustness2::NAME) {
        features = features.push_next(&mut robust);
    }
    if has(ext::shader_atomic_float::NAME) {
        features = features.push_next(&mut atomic_float);
    }
    if has(ext::shader_image_atomic_int64::NAME) {
        features = features.push_next(&mut image_atomics);
    }
    // SAFETY: the instance is alive, the device is one of it, and the chain lives until the call returns.
    unsafe { instance.raw.get_physical_device_features2(physical, &mut features) };
    let core = features.features;
    let needed = [
        (core.robust_buffer_access, "robustBufferAccess"),
        (v12.timeline_semaphore, "timelineSemaphore"),
        (v12.host_query_reset, "hostQueryReset"),
        (v13.synchronization2, "synchronization2"),
        (v13.maintenance4, "maintenance4"),
    ];
    if let Some((_, name)) = needed.iter().find(|(has, _)| *has == vk::FALSE) {
        return Err(format!("its driver lacks the feature {name}"));
    }
    let mut subgroups = vk::PhysicalDeviceSubgroupProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut subgroups);
    // SAFETY: as above.
    unsafe { instance.raw.get_physical_device_properties2(physical, &mut properties) };
    let compute = subgroups.supported_stages.contains(vk::ShaderStageFlags::COMPUTE);
    let yes = |flag: vk::Bool32| flag == vk::TRUE;
    Ok(Extras {
        push_descriptor: has(khr::push_descriptor::NAME),
        robustness2: yes(robust.robust_buffer_access2),
        null_descriptor: yes(robust.robust_buffer_access2) && yes(robust.null_descriptor),
        calibrated_timestamps: has(ext::calibrated_timestamps::NAME),
        portability_subset: has(khr::portability_subset::NAME),
        float16: yes(v12.shader_float16),
        int16: yes(core.shader_int16),
        int64: yes(core.shader_int64),
        float64: yes(core.shader_float64),
        storage16: yes(v11.storage_buffer16_bit_access) && yes(v11.uniform_and_storage_buffer16_bit_access),
        atomic_int64: yes(v12.shader_buffer_int64_atomics) && yes(v12.shader_shared_int64_atomics),
        image_atomic_int64: yes(image_atomics.shader_image_int64_atomics),
        atomic_float: yes(atomic_float.shader_buffer_float32_atomics)
            && yes(atomic_float.shader_buffer_float32_atomic_add),
        extended_formats: yes(core.shader_storage_image_extended_formats),
        write_without_format: yes(core.shader_storage_image_write_without_format),
        cube_array: yes(core.image_cube_array),
        anisotropy: yes(core.sampler_anisotropy),
        zero_initialize: yes(v13.shader_zero_initialize_workgroup_memory),
        non_uniform_indexing: yes(v12.shader_storage_buffer_array_non_uniform_indexing)
            && yes(v12.shader_sampled_image_array_non_uniform_indexing)
            && yes(core.shader_storage_buffer_array_dynamic_indexing)
            && yes(core.shader_sampled_image_array_dynamic_indexing),
        dot_product: yes(v13.shader_integer_dot_product),
        subgroups: if compute { subgroups.supported_operations } else { vk::SubgroupFeatureFlags::empty() },
    })
}

fn limits(instance: &Instance, physical: vk::PhysicalDevice, push: bool) -> Limits {
    let mut v13 = vk::PhysicalDeviceVulkan13Properties::default();
    let mut v11 = vk::PhysicalDeviceVulkan11Properties::default();
    let mut pushed = vk::PhysicalDevicePushDescriptorPropertiesKHR::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut v11).push_next(&mut v13);
    if push {
        properties = properties.push_next(&mut pushed);
    }
    // SAFETY: the instance is alive, the device is one of it, and the chain lives until the call returns.
    unsafe { instance.raw.get_physical_device_properties2(physical, &mut properties) };
    let core = properties.properties.limits;
    let texture = [core.max_image_dimension1_d, core.max_image_dimension2_d, core.max_image_dimension3_d];
    Limits {
        max_buffer_size: v13.max_buffer_size.min(v11.max_memory_allocation_size),
        max_binding_size: u64::from(core.max_storage_buffer_range),
        max_texture_size: texture[0].min(texture[1]),
        max_threadgroups: core.max_compute_work_group_count.into_iter().min().unwrap_or(0),
        max_group: core.max_compute_work_group_size,
        max_group_invocations: core.max_compute_work_group_invocations,
        max_workgroup_memory: core.max_compute_shared_memory_size,
        max_push_constants: core.max_push_constants_size,
        max_push_descriptors: pushed.max_push_descriptors,
        storage_offset_alignment: core.min_storage_buffer_offset_alignment.max(4),
        uniform_offset_alignment: core.min_uniform_buffer_offset_alignment.max(4),
        granularity: core.buffer_image_granularity.max(1),
        timestamp_period: core.timestamp_period,
    }
}

/// The families that compute: those with graphics first, which can do everything.
fn families(instance: &Instance, physical: vk::PhysicalDevice) -> Vec<Family> {
    // SAFETY: the instance is alive and the device is one of it.
    let list = unsafe { instance.raw.get_physical_device_queue_family_properties(physical) };
    let family = |(index, family): (usize, &vk::QueueFamilyProperties)| Family {
        index: index as u32,
        queues: family.queue_count,
        graphics: family.queue_flags.contains(vk::QueueFlags::GRAPHICS),
        timestamps: family.timestamp_valid_bits > 0,
    };
    let computes = |(_, family): &(usize, &vk::QueueFamilyProperties)| {
        family.queue_flags.contains(vk::QueueFlags::COMPUTE) && family.queue_count > 0
    };
    let mut families: Vec<Family> = list.iter().enumerate().filter(computes).map(family).collect();
    families.sort_by_key(|family| !family.graphics);
    families
}
