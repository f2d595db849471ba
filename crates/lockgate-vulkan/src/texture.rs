//! Textures: images in the layout GENERAL for all their life, and the views that kernels take.
//!
//! An image has no contents and no layout until it is made ready, once: one of its own when it is created, one of a heap
//! before its first use, since other resources may be using its memory until then (`plan.rs`). Deliberately absent:
//! copies (`record.rs`). Tested in the contract suite.

use crate::error::{Fallible, failed};
use crate::format::{aspect, format, linear};
use crate::gpu::Gpu;
use crate::memory::{Memory, native};
use crate::plan::ImageId;
use crate::shader::Slot;
use ash::vk;
use lockgate_runtime::backend::{Native, TextureViewSpan};
use lockgate_runtime::{Error, ErrorKind, Result, SizeAndAlign, TextureDescriptor, TextureType};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

static NEXT: AtomicU64 = AtomicU64::new(0);

/// How a kernel sees a texture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViewKey {
    pub(crate) span: TextureViewSpan,
    pub(crate) kind: vk::ImageViewType,
    pub(crate) storage: bool,
}

impl ViewKey {
    pub(crate) fn of(slot: &Slot, span: &TextureViewSpan) -> ViewKey {
        let storage = slot.kind == vk::DescriptorType::STORAGE_IMAGE;
        ViewKey { span: *span, kind: slot.view, storage }
    }
}

/// An image.
pub(crate) struct Texture {
    gpu: Arc<Gpu>,
    pub(crate) raw: vk::Image,
    pub(crate) id: ImageId,
    pub(crate) descriptor: TextureDescriptor,
    /// Whether it has its layout for good.
    ready: AtomicBool,
    views: Mutex<Vec<(ViewKey, vk::ImageView)>>,
    memory: Arc<Memory>,
}

fn usage(gpu: &Gpu, texture: &TextureDescriptor) -> (vk::ImageUsageFlags, vk::ImageCreateFlags) {
    use vk::{FormatFeatureFlags as Has, ImageCreateFlags as Flag, ImageUsageFlags as Usage};
    let features = |format| {
        // SAFETY: the instance is alive and the device is one of it.
        unsafe { gpu.instance.raw.get_physical_device_format_properties(gpu.physical, format) }
            .optimal_tiling_features
    };
    let own = features(format(texture.format));
    let mut usage = Usage::TRANSFER_SRC | Usage::TRANSFER_DST;
    let mut flags = Flag::ALIAS;
    if own.contains(Has::SAMPLED_IMAGE) {
        usage |= Usage::SAMPLED;
    }
    if !texture.format.is_depth() {
        flags |= Flag::MUTABLE_FORMAT;
        if own.contains(Has::STORAGE_IMAGE) {
            usage |= Usage::STORAGE;
        } else if features(format(linear(texture.format))).contains(Has::STORAGE_IMAGE) {
            usage |= Usage::STORAGE;
            flags |= Flag::EXTENDED_USAGE;
        }
    }
    if texture.texture_type.is_cube() {
        flags |= Flag::CUBE_COMPATIBLE;
    }
    (usage, flags)
}

fn image_info<'a>(gpu: &'a Gpu, texture: &TextureDescriptor) -> vk::ImageCreateInfo<'a> {
    let (usage, flags) = usage(gpu, texture);
    let (mode, families) = gpu.sharing();
    let kind = match texture.texture_type {
        TextureType::D1 => vk::ImageType::TYPE_1D,
        TextureType::D3 => vk::ImageType::TYPE_3D,
        _ => vk::ImageType::TYPE_2D,
    };
    vk::ImageCreateInfo::default()
        .flags(flags)
        .image_type(kind)
        .format(format(texture.format))
        .extent(vk::Extent3D { width: texture.width, height: texture.height, depth: texture.depth })
        .mip_levels(texture.mip_level_count)
        .array_layers(texture.slice_count())
        .samples(vk::SampleCountFlags::TYPE_1)
        .tiling(vk::ImageTiling::OPTIMAL)
        .usage(usage)
        .sharing_mode(mode)
        .queue_family_indices(families)
        .initial_layout(vk::ImageLayout::UNDEFINED)
}

/// What a texture demands of memory.
pub(crate) fn needs(gpu: &Gpu, texture: &TextureDescriptor) -> vk::MemoryRequirements {
    let info = image_info(gpu, texture);
    let question = vk::DeviceImageMemoryRequirements::default().create_info(&info);
    let mut answer = vk::MemoryRequirements2::default();
    // SAFETY: the device is alive and lives until the call returns, as does the question.
    unsafe { gpu.raw.get_device_image_memory_requirements(&question, &mut answer) };
    answer.memory_requirements
}

/// Types of memory that common textures take.
pub(crate) fn common_type_bits(gpu: &Gpu) -> u32 {
    needs(gpu, &TextureDescriptor::d2(64, 64)).memory_type_bits
}

/// Bytes and alignment in a heap; buffers can be its neighbours.
pub(crate) fn size_and_align(gpu: &Gpu, texture: &TextureDescriptor) -> SizeAndAlign {
    if supported(gpu, texture).is_err() {
        // Refused by name when it is created; nothing is asked of the driver that it could not answer.
        let texels: u64 = texture.level_size(0).iter().map(|side| u64::from(*side)).product();
        return SizeAndAlign { size: texels * u64::from(texture.format.bytes_per_texel()), align: 256 };
    }
    let needs = needs(gpu, texture);
    let align = needs.alignment.max(gpu.limits.granularity);
    SizeAndAlign { size: needs.size.next_multiple_of(align), align }
}

/// Whether the driver can make it.
pub(crate) fn supported(gpu: &Gpu, texture: &TextureDescriptor) -> Result<()> {
    let refused = |why: String| {
        let (label, name) = (&texture.label, texture.format.name());
        Error::new(ErrorKind::Unsupported, format!("texture `{label}` of {name}: {why}"))
    };
    if texture.texture_type == TextureType::CubeArray && !gpu.extras.cube_array {
        return Err(refused("its driver lacks the feature imageCubeArray".into()));
    }
    let info = image_info(gpu, texture);
    // SAFETY: the instance is alive and the device is one of it.
    let limits = unsafe {
        gpu.instance.raw.get_physical_device_image_format_properties(
            gpu.physical,
            info.format,
            info.image_type,
            info.tiling,
            info.usage,
            info.flags,
        )
    };
    let limits = limits.map_err(|result| refused(failed(result)))?;
    let (has, most) = (info.extent, limits.max_extent);
    if has.width > most.width || has.height > most.height || has.depth > most.depth {
        return Err(refused(format!("it is larger than {most:?}, which the driver allows")));
    }
    if info.array_layers > limits.max_array_layers {
        let most = limits.max_array_layers;
        return Err(refused(format!("it has {} slices; the driver allows {most}", info.array_layers)));
    }
    Ok(())
}

impl Texture {
    pub(crate) fn new(
        gpu: &Arc<Gpu>,
        texture: &TextureDescriptor,
        memory: &Native,
        offset: u64,
    ) -> Result<Texture> {
        supported(gpu, texture)?;
        let memory = native::<Memory>(memory)?;
        if needs(gpu, texture).memory_type_bits & memory.type_bit == 0 {
            let message = format!(
                "texture `{}`: the device cannot put it into memory that the host shares; use a private heap",
                texture.label
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        // SAFETY: the device is alive, and the driver said just now that it can make such an image.
        let raw = unsafe { gpu.raw.create_image(&image_info(gpu, texture), None) };
        let raw = raw.or_fail("making a texture")?;
        let image = Texture {
            gpu: gpu.clone(),
            raw,
            id: ImageId(NEXT.fetch_add(1, Ordering::Relaxed)),
            descriptor: texture.clone(),
            ready: AtomicBool::new(false),
            views: Mutex::default(),
            memory: memory.clone(),
        };
        let (place, start) = memory.place(offset);
        // SAFETY: the image is new, its memory has a type that it takes and room for what it needs there.
        let bound = unsafe { gpu.raw.bind_image_memory(raw, place, start) };
        bound.or_fail("putting a texture into memory")?;
        Ok(image)
    }

    /// Whether nothing else shares its memory.
    pub(crate) fn is_alone(&self) -> bool {
        self.memory.alone
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// All of it.
    pub(crate) fn whole(&self) -> vk::ImageSubresourceRange {
        vk::ImageSubresourceRange {
            aspect_mask: aspect(self.descriptor.format),
            base_mip_level: 0,
            level_count: self.descriptor.mip_level_count,
            base_array_layer: 0,
            layer_count: self.descriptor.slice_count(),
        }
    }

    /// One level of one slice.
    pub(crate) fn layer(&self, level: u32, slice: u32) -> vk::ImageSubresourceLayers {
        vk::ImageSubresourceLayers {
            aspect_mask: aspect(self.descriptor.format),
            mip_level: level,
            base_array_layer: slice,
            layer_count: 1,
        }
    }

    /// The barrier that gives it its layout.
    pub(crate) fn prepare(&self) -> vk::ImageMemoryBarrier2<'static> {
        vk::ImageMemoryBarrier2::default()
            .old_layout(vk::ImageLayout::UNDEFINED)
            .new_layout(vk::ImageLayout::GENERAL)
            .src_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
            .dst_queue_family_index(vk::QUEUE_FAMILY_IGNORED)
            .image(self.raw)
            .subresource_range(self.whole())
    }

    /// A view, made when it is first asked for.
    pub(crate) fn view(&self, key: ViewKey) -> Result<vk::ImageView> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, view)) = views.iter().find(|(own, _)| *own == key) {
            return Ok(*view);
        }
        let made = self.make_view(key)?;
        views.push((key, made));
        Ok(made)
    }

    fn make_view(&self, key: ViewKey) -> Result<vk::ImageView> {
        let ViewKey { span, kind, storage } = key;
        let as_storage = vk::ImageUsageFlags::STORAGE;
        let usage = if storage { as_storage } else { vk::ImageUsageFlags::SAMPLED };
        let mut usage = vk::ImageViewUsageCreateInfo::default().usage(usage);
        // A storage texture is one level; so is what is seen of a texture with one level.
        let levels = if storage { 1 } else { span.levels.1 - span.levels.0 };
        let layers = match kind {
            vk::ImageViewType::TYPE_1D | vk::ImageViewType::TYPE_2D | vk::ImageViewType::TYPE_3D => 1,
            _ => span.slices.1 - span.slices.0,
        };
        let info = vk::ImageViewCreateInfo::default()
            .image(self.raw)
            .view_type(kind)
            .format(format(span.format))
            .subresource_range(vk::ImageSubresourceRange {
                aspect_mask: aspect(span.format),
                base_mip_level: span.levels.0,
                level_count: levels,
                base_array_layer: span.slices.0,
                layer_count: layers,
            })
            .push_next(&mut usage);
        let made = match self.gpu.faults.refuses_view() {
            true => Err(vk::Result::ERROR_FORMAT_NOT_SUPPORTED),
            // SAFETY: the image is alive; the span is inside it, which the runtime has checked.
            false => unsafe { self.gpu.raw.create_image_view(&info, None) },
        };
        made.or_fail("making a view of a texture").map_err(|error| error.context(&self.descriptor.label))
    }
}

impl Drop for Texture {
    fn drop(&mut self) {
        let views = self.views.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, view) in views.drain(..) {
            // SAFETY: batches in flight hold the textures that they use, so nothing uses the view any more.
            unsafe { self.gpu.raw.destroy_image_view(view, None) };
        }
        // SAFETY: as above.
        unsafe { self.gpu.raw.destroy_image(self.raw, None) };
    }
}
