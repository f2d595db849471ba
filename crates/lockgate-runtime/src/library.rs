//! Kernels: WGSL in, pipelines with reflection out.

use crate::backend::{ComputePipelineSource, Native};
use crate::device::Device;
use crate::error::SourceSpan;
use crate::uniform::lone_barrier;
use crate::{Error, ErrorKind, Result, TextureType};
use naga::valid::{Capabilities, GlobalUse, ModuleInfo, ValidationFlags, Validator};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A module of kernels: parsed, validated, with its source.
pub struct ShaderModule {
    /// What naga made of it.
    pub module: naga::Module,
    /// What naga knows about it.
    pub info: ModuleInfo,
    /// The WGSL.
    pub source: String,
}

/// Kernels of one WGSL source. Cheap to clone.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let library = device.new_library("@compute @workgroup_size(64) fn double() {}")?;
/// assert_eq!(library.function_names(), ["double"]);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLLibrary")]
#[derive(Clone)]
pub struct Library(Arc<ShaderModule>);

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Library").field(&self.function_names()).finish()
    }
}

/// What a binding holds.
///
/// ```
/// assert_ne!(lockgate_runtime::BindingKind::Buffer { min_size: 4 }, lockgate_runtime::BindingKind::Sampler);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingKind {
    /// A buffer of at least so many bytes.
    Buffer {
        /// The least that the kernel needs: one element of a runtime-sized array.
        min_size: u64,
    },
    /// A texture.
    Texture {
        /// What the kernel sees it as.
        texture_type: TextureType,
    },
    /// A sampler.
    Sampler,
}

/// How many elements an array of bindings has.
///
/// ```
/// use lockgate_runtime::BindingArray;
/// let device = lockgate_runtime::Device::null();
/// let source = "enable wgpu_binding_array;
///     @group(0) @binding(0) var pictures: binding_array<texture_2d<f32>, 4>;
///     @compute @workgroup_size(1) fn main() { _ = textureLoad(pictures[2], vec2(0), 0); }";
/// let pipeline = device.new_compute_pipeline(&device.new_library(source)?, "main")?;
/// assert_eq!(pipeline.reflection().bindings[0].array, Some(BindingArray::Sized(4)));
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingArray {
    /// So many. An index beyond them takes the last.
    Sized(u32),
    /// Up to the highest that is set in the argument table. Beyond it nothing is bound.
    Unsized,
}

/// A resource of a kernel, as WGSL declares and uses it.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let source = "@group(1) @binding(2) var<storage, read_write> sums: array<u32>;
///     @compute @workgroup_size(1) fn main() { sums[0] = 1u; }";
/// let pipeline = device.new_compute_pipeline(&device.new_library(source)?, "main")?;
/// let sums = &pipeline.reflection().bindings[0];
/// assert_eq!((sums.group, sums.binding, sums.name.as_str()), (1, 2, "sums"));
/// assert!(sums.writes && !sums.reads);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReflectedBinding {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Name of the variable.
    pub name: String,
    /// What it holds, or each of its elements.
    pub kind: BindingKind,
    /// Whether it is a `var<uniform>`, for which a device may want another alignment.
    pub uniform: bool,
    /// Whether it is an array of bindings.
    pub array: Option<BindingArray>,
    /// Whether the kernel may load from it.
    pub reads: bool,
    /// Whether the kernel may store to it.
    pub writes: bool,
    /// Whether the kernel touches it by atomic operations alone.
    pub atomic: bool,
}

/// What a kernel takes.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let library = device.new_library("@compute @workgroup_size(8, 4) fn main() {}")?;
/// let reflection = device.new_compute_pipeline(&library, "main")?.reflection().clone();
/// assert_eq!(reflection.workgroup_size, [8, 4, 1]);
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLComputePipelineReflection")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reflection {
    /// `@workgroup_size`; an axis given by an override constant says 0.
    pub workgroup_size: [u32; 3],
    /// The bindings that it uses, by group and binding.
    pub bindings: Vec<ReflectedBinding>,
    /// Bytes of immediates that it takes.
    pub immediates: u32,
}

/// A kernel ready to run. Cheap to clone.
///
/// ```
/// let device = lockgate_runtime::Device::null();
/// let library = device.new_library("@compute @workgroup_size(64) fn double() {}")?;
/// let pipeline = device.new_compute_pipeline(&library, "double")?;
/// assert_eq!(pipeline.label(), "double");
/// assert!(device.new_compute_pipeline(&library, "triple").is_err());
/// # Ok::<(), lockgate_runtime::Error>(())
/// ```
#[doc(alias = "MTLComputePipelineState")]
#[derive(Clone)]
pub struct ComputePipeline(pub(crate) Arc<PipelineInner>);

pub(crate) struct PipelineInner {
    pub(crate) native: Native,
    pub(crate) reflection: Reflection,
    pub(crate) shader: Arc<ShaderModule>,
    /// Values of override constants.
    pub(crate) constants: Vec<(String, f64)>,
    label: String,
}

impl fmt::Debug for ComputePipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ComputePipeline").field(&self.0.label).finish()
    }
}

impl Library {
    /// Kernels of a WGSL source, for no device in particular.
    ///
    /// # Errors
    /// [`ErrorKind::Kernel`] with the place in the source, if it does not parse or is not valid.
    pub fn new(source: &str) -> Result<Library> {
        // Byte offsets stay as they are.
        let text = crate::wgsl::without_subgroups(source);
        let module = naga::front::wgsl::parse_str(&text).map_err(|error| {
            let span =
                error.labels().next().and_then(|(span, label)| Some((span.to_range()?, label.to_owned())));
            rejected(error.message().to_owned(), span)
        })?;
        let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
        let info = validator.validate(&module).map_err(|error| {
            let span = error.spans().find_map(|(span, label)| Some((span.to_range()?, label.clone())));
            let span = span.or_else(|| derivative(&module));
            rejected(chain(error.as_inner()), span)
        })?;
        Ok(Library(Arc::new(ShaderModule { module, info, source: source.to_owned() })))
    }

    /// Names of the compute kernels, in the order of the source.
    #[doc(alias = "functionNames")]
    pub fn function_names(&self) -> Vec<&str> {
        let compute = |entry: &&naga::EntryPoint| entry.stage == naga::ShaderStage::Compute;
        self.0.module.entry_points.iter().filter(compute).map(|entry| entry.name.as_str()).collect()
    }

    /// What a kernel takes.
    ///
    /// # Errors
    /// A name that is no compute kernel of the library.
    pub fn reflect(&self, name: &str) -> Result<Reflection> {
        Ok(reflect(&self.0, self.find(name)?))
    }

    /// The module, for a backend that makes kernels of its own.
    pub fn module(&self) -> &ShaderModule {
        &self.0
    }

    fn find(&self, name: &str) -> Result<usize> {
        let compute =
            |entry: &naga::EntryPoint| entry.stage == naga::ShaderStage::Compute && entry.name == name;
        self.0.module.entry_points.iter().position(compute).ok_or_else(|| {
            let names = self.function_names().join("`, `");
            Error::invalid(format!("there is no kernel `{name}`; the library has `{names}`"))
        })
    }
}

impl Device {
    /// Kernels of a WGSL source.
    ///
    /// # Errors
    /// [`ErrorKind::Kernel`] with the place in the source, if it does not parse or is not valid.
    #[doc(alias = "newLibraryWithSource")]
    pub fn new_library(&self, source: &str) -> Result<Library> {
        Library::new(source)
    }

    /// Makes a kernel ready to run.
    ///
    /// # Errors
    /// A name that is no compute kernel; a barrier that not all invocations of a workgroup reach together, or what the device
    /// cannot compile, with the place in the source.
    #[doc(alias = "newComputePipelineStateWithFunction")]
    pub fn new_compute_pipeline(&self, library: &Library, name: &str) -> Result<ComputePipeline> {
        self.new_compute_pipeline_with_constants(library, name, &[])
    }

    /// The same with values for override constants, by name or by number.
    ///
    /// # Errors
    /// As [`Device::new_compute_pipeline`]; constants that do not exist or have no value.
    #[doc(alias = "MTLFunctionConstantValues")]
    pub fn new_compute_pipeline_with_constants(
        &self,
        library: &Library,
        name: &str,
        constants: &[(String, f64)],
    ) -> Result<ComputePipeline> {
        let entry = library.find(name)?;
        let reflection = reflect(&library.0, entry);
        let (needs, most) = (reflection.immediates, self.info().max_immediates);
        if needs > most {
            let message = format!(
                "kernel `{name}` takes {needs} bytes of immediates, more than {most} (max_immediates)"
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if let Some(span) = lone_barrier(&library.0, entry) {
            let what = "a barrier in control flow that is not uniform";
            let label = "not all invocations of the workgroup come here together".to_owned();
            let place = span.to_range().map(|bytes| (bytes, label));
            return Err(rejected(format!("kernel `{name}`: {what}"), place));
        }
        let source = ComputePipelineSource { module: &library.0, entry_point: name, constants, label: name };
        let native = self.0.backend.create_compute_pipeline(&source)?;
        let (shader, constants, label) = (library.0.clone(), constants.to_vec(), name.to_owned());
        Ok(ComputePipeline(Arc::new(PipelineInner { native, reflection, shader, constants, label })))
    }
}

impl ComputePipeline {
    /// The name of its kernel.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// What it takes.
    pub fn reflection(&self) -> &Reflection {
        &self.0.reflection
    }
}

fn rejected(message: String, span: Option<(std::ops::Range<usize>, String)>) -> Error {
    let error = Error::new(ErrorKind::Kernel, message);
    match span {
        Some((bytes, label)) => error.at(SourceSpan { bytes, label }),
        None => error,
    }
}

/// The first thing in a compute kernel, or in a function, that only fragments have. naga does not say where it is.
fn derivative(module: &naga::Module) -> Option<(std::ops::Range<usize>, String)> {
    use naga::{Expression, SampleLevel};
    let kernels = module.entry_points.iter().filter(|entry| entry.stage == naga::ShaderStage::Compute);
    let functions = kernels.map(|entry| &entry.function).chain(module.functions.iter().map(|(_, own)| own));
    functions.flat_map(|function| function.expressions.iter().map(move |own| (function, own))).find_map(
        |(function, (handle, expression))| {
            let what = match expression {
                Expression::Derivative { .. } => "a derivative",
                Expression::ImageSample {
                    gather: None,
                    level: SampleLevel::Auto | SampleLevel::Bias(_),
                    ..
                } => "a sample whose level a derivative chooses",
                _ => return None,
            };
            Some((function.expressions.get_span(handle).to_range()?, what.to_owned()))
        },
    )
}

/// An error with everything behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn reflect(shader: &ShaderModule, entry: usize) -> Reflection {
    let module = &shader.module;
    let point = &module.entry_points[entry];
    let usage = shader.info.get_entry_point(entry);
    let atomics = AtomicUse::of(module, &point.function);
    let mut reflection = Reflection { workgroup_size: point.workgroup_size, ..Reflection::default() };
    if let Some(overrides) = &point.workgroup_size_overrides {
        for (axis, by) in overrides.iter().enumerate() {
            if by.is_some() {
                reflection.workgroup_size[axis] = 0;
            }
        }
    }
    for (handle, variable) in module.global_variables.iter() {
        let used = usage[handle];
        if used.is_empty() {
            continue;
        }
        let (ty, array) = match module.types[variable.ty].inner {
            naga::TypeInner::BindingArray { base, size } => (base, Some(array_size(module, size))),
            _ => (variable.ty, None),
        };
        let size = || u64::from(module.types[ty].inner.size(module.to_ctx()));
        if variable.space == naga::AddressSpace::Immediate {
            reflection.immediates = size() as u32;
        }
        let Some(binding) = &variable.binding else { continue };
        let kind = match module.types[ty].inner {
            naga::TypeInner::Sampler { .. } => BindingKind::Sampler,
            naga::TypeInner::Image { dim, arrayed, .. } => {
                BindingKind::Texture { texture_type: texture_type(dim, arrayed) }
            }
            _ => BindingKind::Buffer { min_size: size() },
        };
        reflection.bindings.push(ReflectedBinding {
            group: binding.group,
            binding: binding.binding,
            name: variable.name.clone().unwrap_or_default(),
            kind,
            uniform: variable.space == naga::AddressSpace::Uniform,
            array,
            reads: used.intersects(GlobalUse::READ | GlobalUse::ATOMIC),
            writes: used.intersects(GlobalUse::WRITE | GlobalUse::ATOMIC),
            atomic: atomics.only(handle),
        });
    }
    reflection.bindings.sort_by_key(|binding| (binding.group, binding.binding));
    reflection
}

fn texture_type(dim: naga::ImageDimension, arrayed: bool) -> TextureType {
    use naga::ImageDimension as D;
    match (dim, arrayed) {
        (D::D1, _) => TextureType::D1,
        (D::D2, false) => TextureType::D2,
        (D::D2, true) => TextureType::D2Array,
        (D::D3, _) => TextureType::D3,
        (D::Cube, false) => TextureType::Cube,
        (D::Cube, true) => TextureType::CubeArray,
    }
}

fn array_size(module: &naga::Module, size: naga::ArraySize) -> BindingArray {
    match size.resolve(module.to_ctx()) {
        Ok(naga::proc::IndexableLength::Known(count)) => BindingArray::Sized(count),
        _ => BindingArray::Unsized,
    }
}

impl Reflection {
    /// Where each binding's entries are in a dispatch's list of `total`
    /// ([`CommandBufferContents::bindings`](crate::CommandBufferContents::bindings)): one for a single resource, one for
    /// each element of an array. All arrays without a size have the same number.
    ///
    /// ```
    /// let library = lockgate_runtime::Library::new("enable wgpu_binding_array;
    ///     @group(0) @binding(0) var pictures: binding_array<texture_2d<f32>>;
    ///     @group(0) @binding(1) var how: sampler;
    ///     @compute @workgroup_size(1) fn main() { _ = textureSampleLevel(pictures[0], how, vec2(0.5), 0.0); }")?;
    /// assert_eq!(library.reflect("main")?.places(8), [0..7, 7..8]);
    /// # Ok::<(), lockgate_runtime::Error>(())
    /// ```
    pub fn places(&self, total: usize) -> Vec<std::ops::Range<usize>> {
        let known = |binding: &ReflectedBinding| match binding.array {
            None => 1,
            Some(BindingArray::Sized(count)) => count as usize,
            Some(BindingArray::Unsized) => 0,
        };
        let open = self.bindings.iter().filter(|own| own.array == Some(BindingArray::Unsized)).count();
        let rest = total.saturating_sub(self.bindings.iter().map(known).sum());
        let mut next = 0;
        let place = |binding: &ReflectedBinding| {
            let start = next;
            let unsized_array = binding.array == Some(BindingArray::Unsized);
            next += if unsized_array { rest / open.max(1) } else { known(binding) };
            start..next
        };
        self.bindings.iter().map(place).collect()
    }
}

/// Which variables a kernel touches by atomic operations, and which in any other way.
///
/// naga counts an atomic as a read and a write, so the statements are asked instead. A pointer that is passed
/// to a function counts as another way.
#[derive(Default)]
struct AtomicUse {
    atomic: BTreeMap<naga::Handle<naga::GlobalVariable>, bool>,
}

impl AtomicUse {
    fn of(module: &naga::Module, function: &naga::Function) -> AtomicUse {
        let mut uses = AtomicUse::default();
        let mut seen = std::collections::BTreeSet::new();
        uses.function(module, function, &mut seen);
        uses
    }

    fn only(&self, variable: naga::Handle<naga::GlobalVariable>) -> bool {
        self.atomic.get(&variable).copied().unwrap_or(false)
    }

    fn note(&mut self, function: &naga::Function, pointer: naga::Handle<naga::Expression>, atomic: bool) {
        let mut at = pointer;
        loop {
            match function.expressions[at] {
                naga::Expression::Access { base, .. } | naga::Expression::AccessIndex { base, .. } => {
                    at = base
                }
                naga::Expression::GlobalVariable(variable) => {
                    let only = self.atomic.entry(variable).or_insert(true);
                    *only &= atomic;
                    return;
                }
                _ => return,
            }
        }
    }

    fn function(
        &mut self,
        module: &naga::Module,
        function: &naga::Function,
        seen: &mut std::collections::BTreeSet<naga::Handle<naga::Function>>,
    ) {
        for (_, expression) in function.expressions.iter() {
            if let naga::Expression::Load { pointer } = expression {
                self.note(function, *pointer, false);
            }
        }
        self.block(module, function, &function.body, seen);
    }

    fn block(
        &mut self,
        module: &naga::Module,
        function: &naga::Function,
        block: &naga::Block,
        seen: &mut std::collections::BTreeSet<naga::Handle<naga::Function>>,
    ) {
        use naga::Statement as S;
        for statement in block.iter() {
            match statement {
                S::Block(inner) => self.block(module, function, inner, seen),
                S::If { accept, reject, .. } => {
                    self.block(module, function, accept, seen);
                    self.block(module, function, reject, seen);
                }
                S::Switch { cases, .. } => {
                    cases.iter().for_each(|case| self.block(module, function, &case.body, seen));
                }
                S::Loop { body, continuing, .. } => {
                    self.block(module, function, body, seen);
                    self.block(module, function, continuing, seen);
                }
                S::Store { pointer, .. } => self.note(function, *pointer, false),
                S::Atomic { pointer, .. } => self.note(function, *pointer, true),
                S::Call { function: callee, arguments, .. } => {
                    arguments.iter().for_each(|argument| self.note(function, *argument, false));
                    if seen.insert(*callee) {
                        self.function(module, &module.functions[*callee], seen);
                    }
                }
                _ => {}
            }
        }
    }
}
