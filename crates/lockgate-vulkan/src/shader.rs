//! WGSL to SPIR-V: what a kernel takes, and what the device must be able to do for it.
//!
//! All bindings lie in one descriptor set, numbered as the runtime's reflection lists them. Deliberately absent: grids
//! that cut workgroups (`partial.rs`) and pipelines (`pipeline.rs`). Tested in the contract suite.

use crate::ends::all_end;
use crate::gpu::Gpu;
use crate::widen::widen;
use crate::words::{declared, mend};
use ash::vk;
use lockgate_runtime::backend::ComputePipelineSource;
use lockgate_runtime::{Error, ErrorKind, Result, SourceSpan};
use naga::back::spv;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ImageClass, ImageDimension, Module, ShaderStage, TypeInner};
use std::borrow::Cow;

/// One binding of a kernel, in the order of the runtime's reflection.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) group: u32,
    pub(crate) binding: u32,
    pub(crate) kind: vk::DescriptorType,
    /// How a texture is seen.
    pub(crate) view: vk::ImageViewType,
    /// Elements of an array of bindings; 1 for a single one.
    pub(crate) count: u32,
}

impl Slot {
    pub(crate) fn is_texture(&self) -> bool {
        matches!(self.kind, vk::DescriptorType::SAMPLED_IMAGE | vk::DescriptorType::STORAGE_IMAGE)
    }
}

/// A kernel with its override constants fixed.
#[derive(Clone)]
pub(crate) struct Shader {
    pub(crate) module: Module,
    pub(crate) info: ModuleInfo,
    pub(crate) entry: usize,
    pub(crate) slots: Vec<Slot>,
    pub(crate) workgroup_size: [u32; 3],
    /// Whether it has immediates of its own.
    pub(crate) has_immediates: bool,
}

impl Shader {
    pub(crate) fn new(gpu: &Gpu, source: &ComputePipelineSource<'_>) -> Result<Shader> {
        let slots =
            slots(&source.module.module, &source.module.info, source.entry_point).map_err(|feature| {
                refuse(source, ErrorKind::Unsupported, &format!("{feature} is not supported"))
            })?;
        let (module, info) = specialize(source)?;
        let (mut module, mut info) = (module.into_owned(), info.into_owned());
        if widen(&mut module, &info) {
            info = validate(&module).map_err(|why| refuse(source, ErrorKind::Kernel, &why))?;
        }
        let Some(entry) = find(&module, source.entry_point) else {
            return Err(refuse(source, ErrorKind::Kernel, "it is no compute kernel"));
        };
        let workgroup_size = module.entry_points[entry].workgroup_size;
        let uses = info.get_entry_point(entry);
        let used = |space| {
            module
                .global_variables
                .iter()
                .filter(move |(handle, global)| global.space == space && !uses[*handle].is_empty())
        };
        let has_immediates = used(AddressSpace::Immediate).next().is_some();
        let shared: u64 = used(AddressSpace::WorkGroup)
            .map(|(_, global)| u64::from(module.types[global.ty].inner.size(module.to_ctx())))
            .sum();
        check_limits(gpu, source, workgroup_size, shared)?;
        Ok(Shader { module, info, entry, slots, workgroup_size, has_immediates })
    }

    /// SPIR-V of a module that has the kernel's entry point and bindings.
    pub(crate) fn compile(
        &self,
        gpu: &Gpu,
        module: &Module,
        info: &ModuleInfo,
    ) -> std::result::Result<Vec<u32>, String> {
        let robust = gpu.extras.robustness2;
        let clamp = BoundsCheckPolicy::Restrict;
        // With the feature robustBufferAccess2 the device itself reads zero and writes nothing beyond a binding. Without,
        // the last element stands for those beyond it: naga has no other way for atomics.
        let buffer = if robust { BoundsCheckPolicy::Unchecked } else { clamp };
        let native = spv::ZeroInitializeWorkgroupMemoryMode::Native;
        let polyfill = spv::ZeroInitializeWorkgroupMemoryMode::Polyfill;
        let binding = |(at, slot): (usize, &Slot)| {
            let from = naga::ResourceBinding { group: slot.group, binding: slot.binding };
            // Arrays have their sizes in their types. Said here, the writer takes it for that of arrays in their elements too.
            let to = spv::BindingInfo { descriptor_set: 0, binding: at as u32, binding_array_size: None };
            (from, to)
        };
        let options = spv::Options {
            lang_version: (1, 4),
            flags: spv::WriterFlags::empty(),
            fake_missing_bindings: false,
            binding_map: self.slots.iter().enumerate().map(binding).collect(),
            capabilities: Some(capabilities(gpu).into_iter().collect()),
            bounds_check_policies: BoundsCheckPolicies {
                index: clamp,
                buffer,
                image_load: BoundsCheckPolicy::ReadZeroSkipWrite,
                binding_array: clamp,
            },
            zero_initialize_workgroup_memory: if gpu.extras.zero_initialize { native } else { polyfill },
            force_loop_bounding: !all_end(module),
            // There are stages of inputs and outputs in other shaders only, and devices for them are fewer.
            use_storage_input_output_16: false,
            ..spv::Options::default()
        };
        if let Some(what) = unwritable(module, info) {
            return Err(format!("{what} is not supported"));
        }
        let entry_point = self.module.entry_points[self.entry].name.clone();
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point };
        let words =
            spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|error| error.to_string())?;
        let words = mend(&words);
        // The writer does not ask for all that it declares, and there are drivers that end the process.
        let allowed = options.capabilities.iter().flatten();
        let lacks =
            declared(&words).find(|declared| !allowed.clone().any(|allowed| *allowed as u32 == *declared));
        match lacks.and_then(spv::Capability::from_u32) {
            Some(lacks) => Err(format!("the device lacks {lacks:?}")),
            None => Ok(words),
        }
    }
}

/// An error about a kernel, with its place in the source.
pub(crate) fn refuse(source: &ComputePipelineSource<'_>, kind: ErrorKind, why: &str) -> Error {
    let error = Error::new(kind, format!("kernel `{}`: {why}", source.label));
    let text = &source.module.source;
    let name = format!("fn {}", source.entry_point);
    let starts = text.match_indices(&name).map(|(at, _)| at);
    let whole = |at: &usize| !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    match starts.into_iter().find(whole) {
        Some(at) => error.at(SourceSpan { bytes: at + 3..at + name.len(), label: why.to_owned() }),
        None => error,
    }
}

fn find(module: &Module, name: &str) -> Option<usize> {
    module.entry_points.iter().position(|entry| entry.stage == ShaderStage::Compute && entry.name == name)
}

/// What naga knows about a module that was changed.
pub(crate) fn validate(module: &Module) -> std::result::Result<ModuleInfo, String> {
    let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(module);
    info.map_err(|error| error.into_inner().to_string())
}

/// The module with its override constants fixed.
fn specialize<'a>(source: &ComputePipelineSource<'a>) -> Result<(Cow<'a, Module>, Cow<'a, ModuleInfo>)> {
    let (module, info) = (&source.module.module, &source.module.info);
    if module.overrides.is_empty() && source.constants.is_empty() {
        return Ok((Cow::Borrowed(module), Cow::Borrowed(info)));
    }
    let constants = source.constants.iter().cloned().collect();
    let entry = Some((ShaderStage::Compute, source.entry_point));
    naga::back::pipeline_constants::process_overrides(module, info, entry, &constants)
        .map_err(|error| refuse(source, ErrorKind::Kernel, &error.to_string()))
}

fn check_limits(gpu: &Gpu, source: &ComputePipelineSource<'_>, size: [u32; 3], shared: u64) -> Result<()> {
    let limits = &gpu.limits;
    let fail = |why: String| Err(refuse(source, ErrorKind::Unsupported, &why));
    if let Some(axis) = (0..3).find(|axis| size[*axis] > limits.max_group[*axis]) {
        let (has, most) = (size[axis], limits.max_group[axis]);
        return fail(format!(
            "a workgroup of {has} along axis {axis} exceeds {most} (maxComputeWorkGroupSize)"
        ));
    }
    let (has, most) =
        (size.iter().map(|side| u64::from(*side)).product::<u64>(), limits.max_group_invocations);
    if has > u64::from(most) {
        return fail(format!("a workgroup of {has} exceeds {most} (maxComputeWorkGroupInvocations)"));
    }
    let most = limits.max_workgroup_memory;
    if shared > u64::from(most) {
        return fail(format!(
            "{shared} bytes of workgroup memory exceed {most} (maxComputeSharedMemorySize)"
        ));
    }
    Ok(())
}

/// The bindings that a kernel uses, by group and binding; the name of a kind that has no descriptor.
fn slots(module: &Module, info: &ModuleInfo, entry: &str) -> std::result::Result<Vec<Slot>, &'static str> {
    let Some(entry) = find(module, entry) else { return Ok(Vec::new()) };
    let uses = info.get_entry_point(entry);
    let mut slots = Vec::new();
    for (handle, global) in module.global_variables.iter() {
        let Some(at) = global.binding.filter(|_| !uses[handle].is_empty()) else { continue };
        let mut count = 1;
        let mut inner = &module.types[global.ty].inner;
        if let TypeInner::BindingArray { base, size } = inner {
            count = match size {
                naga::ArraySize::Constant(count) => count.get(),
                _ => return Err("an array of bindings without a size"),
            };
            inner = &module.types[*base].inner;
        }
        let (kind, view) = descriptor(global.space, inner)?;
        slots.push(Slot { group: at.group, binding: at.binding, kind, view, count });
    }
    slots.sort_by_key(|slot| (slot.group, slot.binding));
    Ok(slots)
}

fn descriptor(
    space: AddressSpace,
    inner: &TypeInner,
) -> std::result::Result<(vk::DescriptorType, vk::ImageViewType), &'static str> {
    use vk::DescriptorType as D;
    let none = vk::ImageViewType::TYPE_2D;
    match (space, inner) {
        (AddressSpace::Uniform, _) => Ok((D::UNIFORM_BUFFER, none)),
        (AddressSpace::Storage { .. }, _) => Ok((D::STORAGE_BUFFER, none)),
        (_, TypeInner::Sampler { .. }) => Ok((D::SAMPLER, none)),
        (_, TypeInner::Image { dim, arrayed, class }) => {
            let view = match (dim, arrayed) {
                (ImageDimension::D1, _) => vk::ImageViewType::TYPE_1D,
                (ImageDimension::D2, false) => vk::ImageViewType::TYPE_2D,
                (ImageDimension::D2, true) => vk::ImageViewType::TYPE_2D_ARRAY,
                (ImageDimension::D3, _) => vk::ImageViewType::TYPE_3D,
                (ImageDimension::Cube, false) => vk::ImageViewType::CUBE,
                (ImageDimension::Cube, true) => vk::ImageViewType::CUBE_ARRAY,
            };
            match class {
                ImageClass::Storage { .. } => Ok((D::STORAGE_IMAGE, view)),
                ImageClass::External => Err("an external texture"),
                ImageClass::Sampled { multi: true, .. } | ImageClass::Depth { multi: true } => {
                    Err("a multisampled texture")
                }
                _ => Ok((D::SAMPLED_IMAGE, view)),
            }
        }
        (_, TypeInner::AccelerationStructure { .. }) => Err("an acceleration structure"),
        _ => Err("this kind of resource"),
    }
}

/// A function of other than 32 bits that SPIR-V does not have. The writer panics or writes what is not valid.
fn unwritable(module: &Module, info: &ModuleInfo) -> Option<String> {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(at, entry)| (&entry.function, info.get_entry_point(at)));
    functions.chain(entries).find_map(|(function, info)| {
        function.expressions.iter().find_map(|(_, expression)| {
            let naga::Expression::Math { fun, arg, .. } = expression else { return None };
            let width = info[*arg].ty.inner_with(&module.types).scalar_width()?;
            let is_refused = match fun {
                // Its exponents would be as wide as its fractions.
                naga::MathFunction::Frexp => width != 4,
                _ => width == 8 && is_narrow(*fun),
            };
            is_refused.then(|| format!("{fun:?} of {} bits", 8 * width))
        })
    })
}

/// Whether SPIR-V has it for 32 bits at most.
fn is_narrow(fun: naga::MathFunction) -> bool {
    use naga::MathFunction as F;
    let floats = [
        F::Cos,
        F::Cosh,
        F::Sin,
        F::Sinh,
        F::Tan,
        F::Tanh,
        F::Acos,
        F::Asin,
        F::Atan,
        F::Atan2,
        F::Asinh,
        F::Acosh,
        F::Atanh,
        F::Exp,
        F::Exp2,
        F::Log,
        F::Log2,
        F::Pow,
        F::Radians,
        F::Degrees,
    ];
    let bits = [
        F::CountOneBits,
        F::CountLeadingZeros,
        F::CountTrailingZeros,
        F::FirstLeadingBit,
        F::FirstTrailingBit,
        F::ReverseBits,
        F::ExtractBits,
        F::InsertBits,
    ];
    floats.contains(&fun) || bits.contains(&fun)
}

/// What SPIR-V may ask of the device.
fn capabilities(gpu: &Gpu) -> Vec<spv::Capability> {
    use spv::Capability as C;
    use vk::SubgroupFeatureFlags as S;
    let extras = &gpu.extras;
    let has = |operation| extras.subgroups.contains(operation);
    let optional = [
        (extras.extended_formats, C::StorageImageExtendedFormats),
        (extras.write_without_format, C::StorageImageWriteWithoutFormat),
        (extras.cube_array, C::SampledCubeArray),
        (extras.cube_array, C::ImageCubeArray),
        (extras.float16, C::Float16),
        (extras.float64, C::Float64),
        (extras.int16, C::Int16),
        (extras.int64, C::Int64),
        (extras.storage16, C::StorageBuffer16BitAccess),
        (extras.storage16, C::UniformAndStorageBuffer16BitAccess),
        (extras.atomic_int64, C::Int64Atomics),
        (extras.image_atomic_int64, C::Int64ImageEXT),
        (extras.atomic_float, C::AtomicFloat32AddEXT),
        (extras.non_uniform_indexing, C::ShaderNonUniform),
        (extras.dot_product, C::DotProduct),
        (extras.dot_product, C::DotProductInput4x8BitPacked),
        (has(S::BASIC), C::GroupNonUniform),
        (has(S::VOTE), C::GroupNonUniformVote),
        (has(S::ARITHMETIC), C::GroupNonUniformArithmetic),
        (has(S::BALLOT), C::GroupNonUniformBallot),
        (has(S::SHUFFLE), C::GroupNonUniformShuffle),
        (has(S::SHUFFLE_RELATIVE), C::GroupNonUniformShuffleRelative),
        (has(S::QUAD), C::GroupNonUniformQuad),
    ];
    let always = [C::Shader, C::ImageQuery, C::Sampled1D, C::Image1D];
    let optional = optional.into_iter().filter(|(has, _)| *has).map(|(_, capability)| capability);
    always.into_iter().chain(optional).collect()
}
