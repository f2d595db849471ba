//! How a WGSL entry point becomes something that runs workgroups.
//!
//! A kernel is a validated naga module's compute entry point with its override constants fixed. Two engines run it:
//! the interpreter (`interpret`) follows naga's statements for all invocations of a workgroup in step, and
//! is the definition; the compiler (`jit`) makes machine code, one invocation or four at a time, and gives up
//! where it has no rule, so that the interpreter takes over.
//!
//! A kernel reaches no byte outside its bindings: reads beyond the end give the last element, writes beyond the end do
//! nothing, texels outside read as zero. Four invocations are a subgroup, whoever runs them. Other commands may write the same memory at the same time; that never is
//! undefined behaviour, only an unspecified value.
//!
//! Deliberately absent: queues, threads and the choice of who runs which workgroup. Tested in `tests/kernel*.rs`.

mod binding;
mod cube;
mod error;
mod interpret;
mod jit;
mod layout;
mod memory;
mod number;
pub(crate) mod port;
mod reflect;
mod sample;
mod subgroup;
pub mod texel;
pub mod watch;

use std::{borrow::Cow, ops::Range};

use naga::{Module, Span, valid::ModuleInfo};

pub use binding::{
    AddressMode, Binding, BufferBinding, CompareFunction, Filter, Launch, LevelLayout, Outcome,
    SamplerBinding, TextureBinding, TextureDimension,
};
pub use error::KernelError;
pub(crate) use jit::Workspace;
pub use reflect::{Elements, Slot, SlotKind};

/// What to compile.
pub struct KernelDescriptor<'a> {
    /// A module that naga has validated.
    pub module: &'a Module,
    /// What validation gave for `module`.
    pub info: &'a ModuleInfo,
    /// The name of a compute entry point.
    pub entry_point: &'a str,
    /// Values of override constants, by `@id` or name.
    pub constants: &'a [(String, f64)],
    /// Who runs it.
    pub engine: Engine,
    /// How many invocations machine code runs at once, at most.
    pub lanes: Lanes,
}

/// Who runs a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Machine code; the interpreter for what cannot be compiled, which is logged.
    Auto,
    /// The interpreter.
    Interpreter,
    /// Machine code or an error.
    Jit,
}

/// Invocations that machine code runs at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// One after the other; kernels with subgroups run as with [`Lanes::Four`] all the same.
    One,
    /// Four neighbours in x, one in each quarter of a vector register. Kernels for which that does not work run one
    /// after the other.
    Four,
    /// One after the other, or four where that costs less, telling a recorder: for [`Kernel::watch`] alone.
    Watched,
}

/// A compiled kernel. Immutable; share it in an `Arc`.
pub struct Kernel {
    runner: Runner,
}

enum Runner {
    Interpreter(Box<interpret::Program>),
    Jit(Box<jit::Code>),
}

impl Kernel {
    /// Compiles an entry point.
    ///
    /// # Errors
    /// No compute entry point of that name, a constant that does not exist or does not fit, or a feature that is not
    /// supported.
    pub fn new(descriptor: &KernelDescriptor<'_>) -> Result<Self, KernelError> {
        let (module, info) = specialize(descriptor)?;
        let entry = find_entry(&module, descriptor.entry_point)?;
        let globals = reflect::globals(&module, &info, entry)?;
        interpret::check(&module, entry)?;
        let runner = match descriptor.engine {
            Engine::Interpreter => interpreter(module, info, entry, globals),
            Engine::Auto | Engine::Jit => {
                match jit::compile(&module, &info, entry, &globals, descriptor.lanes) {
                    Ok(code) => Runner::Jit(Box::new(code)),
                    Err(feature) if descriptor.engine == Engine::Jit => {
                        return Err(KernelError::unsupported(Span::UNDEFINED, feature));
                    }
                    Err(feature) => {
                        log::info!(
                            "kernel `{}` is interpreted: no machine code for {feature}",
                            descriptor.entry_point
                        );
                        interpreter(module, info, entry, globals)
                    }
                }
            }
        };
        Ok(Self { runner })
    }

    /// Who runs this kernel; never [`Engine::Auto`].
    pub fn engine(&self) -> Engine {
        match self.runner {
            Runner::Interpreter(_) => Engine::Interpreter,
            Runner::Jit(_) => Engine::Jit,
        }
    }

    /// Invocations of a workgroup in x, y, z.
    pub fn workgroup_size(&self) -> [u32; 3] {
        match &self.runner {
            Runner::Interpreter(program) => program.workgroup_size(),
            Runner::Jit(code) => code.workgroup_size(),
        }
    }

    /// What [`Launch::bindings`] has to hold, in this order: by group, then by binding.
    pub fn slots(&self) -> &[Slot] {
        match &self.runner {
            Runner::Interpreter(program) => &program.globals.slots,
            Runner::Jit(code) => &code.globals().slots,
        }
    }

    /// Runs workgroups as [`Self::run`] does and records all that they touch. Machine code has to be made for it, with
    /// [`Lanes::Watched`], or fails.
    ///
    /// # Safety
    /// As for [`Self::run`].
    pub unsafe fn watch(
        &self,
        launch: &Launch<'_>,
        groups: Range<u64>,
        recorder: &mut watch::Recorder,
    ) -> Outcome {
        if let Err(message) = reflect::check(self.slots(), launch) {
            return Outcome::Failed(message);
        }
        match &self.runner {
            // SAFETY: the caller's promise.
            Runner::Interpreter(program) => unsafe { program.run(launch, groups, Some(recorder)) },
            // SAFETY: the caller's promise.
            Runner::Jit(code) => unsafe {
                code.run(launch, groups, Some(recorder), &mut Workspace::default())
            },
        }
    }

    /// Runs one workgroup of a kernel that is interpreted; what it does to bindings goes through a port.
    ///
    /// # Safety
    /// As for [`Self::run`].
    pub(crate) unsafe fn run_through(
        &self,
        launch: &Launch<'_>,
        group: u64,
        port: &dyn port::Port,
    ) -> Outcome {
        if let Err(message) = reflect::check(self.slots(), launch) {
            return Outcome::Failed(message);
        }
        match &self.runner {
            // SAFETY: the caller's promise.
            Runner::Interpreter(program) => unsafe { program.run_through(launch, group, port) },
            Runner::Jit(_) => Outcome::Failed("machine code has no port".into()),
        }
    }

    /// Bytes of the smallest scalar that its module names, at most 4: what a record has to tell apart.
    pub fn smallest_scalar(&self) -> u32 {
        match &self.runner {
            Runner::Interpreter(program) => program.smallest_scalar(),
            Runner::Jit(code) => code.smallest_scalar(),
        }
    }

    /// Runs the workgroups whose linear index (x fastest) is in `groups`. Threads may run disjoint ranges of one launch
    /// at the same time.
    ///
    /// # Safety
    /// For the whole call, the memory that the bindings describe must be valid for reads, and for writes where
    /// [`Self::slots`] says that the kernel may write. Nobody may hold a reference to that memory or access it other than
    /// atomically or by machine code.
    pub unsafe fn run(&self, launch: &Launch<'_>, groups: Range<u64>) -> Outcome {
        // SAFETY: the caller's promise.
        unsafe { self.run_in(launch, groups, &mut Workspace::default()) }
    }

    /// The same in memory that was used before.
    ///
    /// # Safety
    /// As for [`Self::run`].
    pub(crate) unsafe fn run_in(
        &self,
        launch: &Launch<'_>,
        groups: Range<u64>,
        workspace: &mut Workspace,
    ) -> Outcome {
        if let Err(message) = reflect::check(self.slots(), launch) {
            return Outcome::Failed(message);
        }
        let total = launch.grid.iter().try_fold(1u64, |total, count| total.checked_mul((*count).into()));
        if total.is_some_and(|total| groups.end > total) {
            return Outcome::Failed(format!("workgroups {groups:?} of a grid of {:?}", launch.grid));
        }
        match &self.runner {
            // SAFETY: the caller's promise.
            Runner::Interpreter(program) => unsafe { program.run(launch, groups, None) },
            // SAFETY: the caller's promise.
            Runner::Jit(code) => unsafe { code.run(launch, groups, None, workspace) },
        }
    }

    /// About how many statements a workgroup executes, if it surely ends soon and all code that it needs is there.
    /// `cut`: the grid cuts workgroups.
    pub(crate) fn weight(&self, cut: bool) -> Option<u64> {
        match &self.runner {
            Runner::Interpreter(_) => None,
            Runner::Jit(code) => code.weight(cut),
        }
    }
}

fn interpreter(
    module: Cow<'_, Module>,
    info: Cow<'_, ModuleInfo>,
    entry: usize,
    globals: reflect::Globals,
) -> Runner {
    let program = interpret::Program::new(module.into_owned(), info.into_owned(), entry, globals);
    Runner::Interpreter(Box::new(program))
}

/// The workgroup with a linear index; the grid is not empty.
fn group_at(grid: [u32; 3], index: u64) -> [u32; 3] {
    if index == 0 {
        return [0; 3];
    }
    let [x, y] = [u64::from(grid[0]), u64::from(grid[1])];
    [(index % x) as u32, (index / x % y) as u32, (index / x / y) as u32]
}

/// The module with its override constants fixed.
fn specialize<'a>(
    descriptor: &KernelDescriptor<'a>,
) -> Result<(Cow<'a, Module>, Cow<'a, ModuleInfo>), KernelError> {
    if descriptor.module.overrides.is_empty() && descriptor.constants.is_empty() {
        return Ok((Cow::Borrowed(descriptor.module), Cow::Borrowed(descriptor.info)));
    }
    let constants = descriptor.constants.iter().cloned().collect();
    let entry = Some((naga::ShaderStage::Compute, descriptor.entry_point));
    find_entry(descriptor.module, descriptor.entry_point)?;
    naga::back::pipeline_constants::process_overrides(descriptor.module, descriptor.info, entry, &constants)
        .map_err(|error| KernelError::invalid(Span::UNDEFINED, error.to_string()))
}

fn find_entry(module: &Module, name: &str) -> Result<usize, KernelError> {
    module
        .entry_points
        .iter()
        .position(|entry| entry.name == name && entry.stage == naga::ShaderStage::Compute)
        .ok_or_else(|| KernelError::invalid(Span::UNDEFINED, format!("no compute entry point `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(body: &str, engine: Engine) -> Kernel {
        let wgsl = format!(
            "@group(0) @binding(0) var<storage, read_write> words: array<u32>;
            @compute @workgroup_size(4) fn main(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        );
        let module = naga::front::wgsl::parse_str(&wgsl).unwrap();
        let flags = naga::valid::ValidationFlags::all();
        let info =
            naga::valid::Validator::new(flags, naga::valid::Capabilities::all()).validate(&module).unwrap();
        let (module, info) = (&module, &info);
        let (entry_point, constants, lanes) = ("main", [].as_slice(), Lanes::Four);
        Kernel::new(&KernelDescriptor { module, info, entry_point, constants, engine, lanes }).unwrap()
    }

    #[test]
    fn what_surely_ends_has_a_weight() {
        let weight = |body| kernel(body, Engine::Jit).weight(false);
        let once = weight("words[i] += 3u;").unwrap();
        let often = weight("for (var n = 0; n < 100; n++) { words[i] += 3u; }").unwrap();
        assert!((50..300).contains(&(often / once)), "{once} {often}");
        assert!(weight("words[i] = u32(sin(f32(i)));").unwrap() > once);
        assert_eq!(weight("for (var n = 0u; n < words[0]; n++) { words[i] += 3u; }"), None);
        assert_eq!(weight("while words[0] == 0u {}"), None);
    }

    #[test]
    fn what_is_not_made_yet_or_interpreted_has_none() {
        let body = "words[i] += 3u;";
        assert_eq!(kernel(body, Engine::Interpreter).weight(false), None);
        let kernel = kernel(body, Engine::Jit);
        assert_eq!(kernel.weight(true), None, "code for parts of workgroups is made when it is needed");
        let mut words = [0u32; 4];
        let binding = BufferBinding { ptr: words.as_mut_ptr().cast(), len: 16 };
        let launch = Launch {
            grid: [1; 3],
            threads: Some([3, 1, 1]),
            bindings: &[Binding::Buffer(binding)],
            immediates: &[],
            stop: &std::sync::atomic::AtomicBool::new(false),
        };
        // SAFETY: the memory outlives the call, and nobody else touches it.
        assert_eq!(unsafe { kernel.run(&launch, 0..1) }, Outcome::Done);
        assert_eq!((words, kernel.weight(true).is_some()), ([3, 3, 3, 0], true));
    }
}
