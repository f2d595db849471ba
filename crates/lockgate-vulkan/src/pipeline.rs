//! Pipelines: a kernel with its layout, and an entry point for each way in which grids are cut.
//!
//! All kernels whose bindings are of the same kinds share one layout, so that what is bound stays bound from one to the
//! next. Deliberately absent: what is bound (`record.rs`). Tested in `tests/kernels.rs`.

use crate::error::failed;
use crate::gpu::Gpu;
use crate::partial::{Part, Shape, asks_for_groups, has_barriers, parts, wrap};
use crate::shader::{Shader, Slot, refuse};
use ash::vk;
use lockgate_runtime::backend::{Binding, ComputePipelineSource};
use lockgate_runtime::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

/// The kinds and numbers of bindings.
pub(crate) type LayoutKey = Vec<(i32, u32)>;

/// How bindings reach kernels.
pub(crate) struct Layout {
    gpu: Arc<Gpu>,
    pub(crate) set: vk::DescriptorSetLayout,
    pub(crate) raw: vk::PipelineLayout,
    /// Whether bindings are pushed into command buffers; else they come from sets.
    pub(crate) pushed: bool,
    /// Kinds of descriptors with how many of them a set takes.
    pub(crate) sizes: Vec<vk::DescriptorPoolSize>,
}

impl Layout {
    pub(crate) fn key(slots: &[Slot]) -> LayoutKey {
        slots.iter().map(|slot| (slot.kind.as_raw(), slot.count)).collect()
    }

    pub(crate) fn new(gpu: &Arc<Gpu>, key: &LayoutKey) -> Result<Layout> {
        let fail =
            |result| Error::new(ErrorKind::OutOfMemory, format!("a layout of bindings: {}", failed(result)));
        let binding = |(at, (kind, count)): (usize, &(i32, u32))| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(at as u32)
                .descriptor_type(vk::DescriptorType::from_raw(*kind))
                .descriptor_count(*count)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = key.iter().enumerate().map(binding).collect();
        let count: u32 = key.iter().map(|(_, count)| *count).sum();
        let pushed = gpu.push_descriptor.is_some() && count <= gpu.limits.max_push_descriptors;
        let flags = if pushed {
            vk::DescriptorSetLayoutCreateFlags::PUSH_DESCRIPTOR_KHR
        } else {
            vk::DescriptorSetLayoutCreateFlags::empty()
        };
        let info = vk::DescriptorSetLayoutCreateInfo::default().flags(flags).bindings(&bindings);
        // SAFETY: the device is alive, and pushes descriptors if the flags say so.
        let set = unsafe { gpu.raw.create_descriptor_set_layout(&info, None) }.map_err(fail)?;
        let sizes = bindings.iter().map(|binding| {
            let (ty, descriptor_count) = (binding.descriptor_type, binding.descriptor_count);
            vk::DescriptorPoolSize { ty, descriptor_count }
        });
        let raw = vk::PipelineLayout::null();
        let mut layout = Layout { gpu: gpu.clone(), set, raw, pushed, sizes: sizes.collect() };
        let sets = [set];
        let immediates = [vk::PushConstantRange {
            stage_flags: vk::ShaderStageFlags::COMPUTE,
            offset: 0,
            size: gpu.limits.max_push_constants,
        }];
        let info =
            vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(&immediates);
        // SAFETY: the set's layout was made just now, and the range is within the limit.
        layout.raw = unsafe { gpu.raw.create_pipeline_layout(&info, None) }.map_err(fail)?;
        Ok(layout)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: pipelines hold their layouts, so nothing uses it any more.
        unsafe { self.gpu.raw.destroy_pipeline_layout(self.raw, None) };
        // SAFETY: as above.
        unsafe { self.gpu.raw.destroy_descriptor_set_layout(self.set, None) };
    }
}

/// A kernel ready to run.
pub(crate) struct Pipeline {
    gpu: Arc<Gpu>,
    pub(crate) label: String,
    pub(crate) layout: Arc<Layout>,
    pub(crate) whole: vk::Pipeline,
    pub(crate) shader: Shader,
    /// Whether it has arrays of bindings, of which elements may be missing.
    pub(crate) has_arrays: bool,
    /// Whether it has textures, of which views must be made.
    pub(crate) has_textures: bool,
    barriers: bool,
    asks_for_groups: bool,
    cache: vk::PipelineCache,
    /// Entry points for grids that cut workgroups, made when the first of their kind is recorded.
    shapes: Mutex<BTreeMap<Shape, vk::Pipeline>>,
}

/// How a grid of threads is dispatched.
pub(crate) enum Cut {
    /// So many whole workgroups.
    Whole([u32; 3]),
    /// So many workgroups of an entry point that is told the number of threads.
    Guarded(vk::Pipeline, [u32; 3]),
    /// In parts; each entry point is told the number of workgroups, if it asks.
    Parts(Vec<(vk::Pipeline, Part)>, Option<[u32; 3]>),
}

impl Pipeline {
    pub(crate) fn new(
        gpu: &Arc<Gpu>,
        layout: Arc<Layout>,
        cache: vk::PipelineCache,
        shader: Shader,
        source: &ComputePipelineSource<'_>,
    ) -> Result<Pipeline> {
        let words = shader.compile(gpu, &shader.module, &shader.info);
        let words = words.map_err(|why| refuse(source, ErrorKind::Unsupported, &why))?;
        let (barriers, asks_for_groups) = (has_barriers(&shader), asks_for_groups(&shader));
        let mut pipeline = Pipeline {
            gpu: gpu.clone(),
            label: source.label.to_owned(),
            layout,
            whole: vk::Pipeline::null(),
            has_arrays: shader.slots.iter().any(|slot| slot.count != 1),
            has_textures: shader.slots.iter().any(Slot::is_texture),
            shader,
            barriers,
            asks_for_groups,
            cache,
            shapes: Mutex::default(),
        };
        let made = pipeline.create(&words, vk::PipelineCreateFlags::empty());
        pipeline.whole = made.map_err(|result| refuse(source, ErrorKind::Kernel, &failed(result)))?;
        Ok(pipeline)
    }

    /// What each of its bindings is, elements of arrays one by one.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.shader.slots.iter().flat_map(|slot| std::iter::repeat_n(slot, slot.count as usize))
    }

    fn create(
        &self,
        words: &[u32],
        flags: vk::PipelineCreateFlags,
    ) -> std::result::Result<vk::Pipeline, vk::Result> {
        let device = &self.gpu.raw;
        let info = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: the words are SPIR-V that naga wrote, and ask for nothing that the device has not.
        let module = unsafe { device.create_shader_module(&info, None) }?;
        let name = std::ffi::CString::new(self.shader.module.entry_points[self.shader.entry].name.as_str());
        let name = name.unwrap_or_default();
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&name);
        let info =
            [vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(self.layout.raw)];
        // SAFETY: module, layout and cache belong to this device and are alive.
        let made = unsafe { device.create_compute_pipelines(self.cache, &info, None) };
        // SAFETY: a pipeline does not need its module once it is made.
        unsafe { device.destroy_shader_module(module, None) };
        let list = made.map_err(|(_, result)| result)?;
        Ok(list.first().copied().unwrap_or_default())
    }

    /// Whether elements that are missing can be told to the driver.
    pub(crate) fn can_bind(&self, list: &[Binding]) -> Result<()> {
        let sampler = |slot: &Slot| slot.kind == vk::DescriptorType::SAMPLER;
        let null = self.gpu.extras.null_descriptor;
        let missing =
            |(slot, binding): &(&Slot, &Binding)| **binding == Binding::Nothing && (sampler(slot) || !null);
        let Some((slot, _)) = self.slots().zip(list).find(missing) else { return Ok(()) };
        let (group, binding) = (slot.group, slot.binding);
        let message = format!(
            "kernel `{}`: the array at @group({group}) @binding({binding}) has elements that are not bound, which takes the \
             feature nullDescriptor, and a buffer or texture",
            self.label
        );
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    /// How so many threads are dispatched.
    pub(crate) fn cut(&self, threads: [u32; 3]) -> Result<Cut> {
        let size = self.shader.workgroup_size;
        let groups = std::array::from_fn(|axis| threads[axis].div_ceil(size[axis].max(1)));
        if (0..3).all(|axis| threads[axis].is_multiple_of(size[axis].max(1))) {
            return Ok(Cut::Whole(groups));
        }
        // The limit is an immediate, and a kernel has one block of those.
        if !self.barriers && !self.shader.has_immediates {
            return Ok(Cut::Guarded(self.shape(Shape::Guarded)?, groups));
        }
        if self.asks_for_groups && self.shader.has_immediates {
            let message = format!(
                "kernel `{}`: {threads:?} threads are no multiple of the workgroup's {size:?}, and a kernel that has \
                 immediates and asks for num_workgroups cannot be cut on this device",
                self.label
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let pipeline = |part: Part| Ok((self.shape(Shape::Edge(part.size))?, part));
        let list = parts(threads, size).into_iter().map(pipeline).collect::<Result<Vec<_>>>()?;
        Ok(Cut::Parts(list, self.asks_for_groups.then_some(groups)))
    }

    fn shape(&self, shape: Shape) -> Result<vk::Pipeline> {
        let shapes = || self.shapes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = shapes().get(&shape) {
            return Ok(*made);
        }
        let fail = |why: String| {
            let message = format!("kernel `{}`, for a grid that cuts workgroups: {why}", self.label);
            Error::new(ErrorKind::Kernel, message)
        };
        let (module, info) = wrap(&self.shader, shape).map_err(fail)?;
        let words = self.shader.compile(&self.gpu, &module, &info).map_err(fail)?;
        let flags = match shape {
            Shape::Edge(_) => vk::PipelineCreateFlags::DISPATCH_BASE,
            _ => vk::PipelineCreateFlags::empty(),
        };
        // Without the lock: a commit may be asking for another one.
        let made = self.create(&words, flags).map_err(|result| fail(failed(result)))?;
        match shapes().entry(shape) {
            Entry::Vacant(place) => Ok(*place.insert(made)),
            Entry::Occupied(place) => {
                // SAFETY: it was made just now, and nobody else has seen it.
                unsafe { self.gpu.raw.destroy_pipeline(made, None) };
                Ok(*place.get())
            }
        }
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let shapes = std::mem::take(self.shapes.get_mut().unwrap_or_else(PoisonError::into_inner));
        for pipeline in shapes.into_values().chain([self.whole]) {
            // SAFETY: batches in flight hold the pipelines that they use, so nothing uses it any more.
            unsafe { self.gpu.raw.destroy_pipeline(pipeline, None) };
        }
    }
}
