//! How does a kernel become machine code?
//!
//! `lower` turns naga's functions into one tree of statements over scalars (`ir`); `shape` finds which values differ between
//! invocations and `rows` which vectors stay as they lie in memory; `passes` takes loops around barriers apart, `plan` puts the loops
//! over invocations around stretches without barriers, `ranges` finds what is known in parts of them, and `wave` how many run
//! in one step; `code`, `flow`, `ops`, `access` and `image` emit Cranelift's language. The result is one function that runs one workgroup.
//!
//! Two variants exist. The main one runs four invocations at once where the workgroup's width allows it. The
//! edge variant runs one at a time and leaves out those beyond `Launch::threads`; it is compiled when a launch first needs
//! it, as are those of observed kernels that tell otherwise than the first workgroup did ([`Telling`]). Memory for code is written before it becomes executable, and never both.

mod abreast;
mod access;
mod again;
mod apart;
mod atomic;
mod bytes;
mod cells;
mod class;
mod code;
mod counted;
mod crowd;
mod dynamic;
mod element;
mod expression;
mod fixed;
mod flow;
mod four;
mod helpers;
mod image;
mod ir;
mod kept;
mod laid;
mod lower;
mod math;
mod narrow;
mod near;
mod ops;
mod passes;
mod plan;
mod range;
mod ranges;
mod rows;
mod sampled;
mod shape;
mod site;
mod subgroup;
mod tell;
mod texels;
mod texture;
mod tidy;
mod told;
mod values;
mod wave;
mod workspace;

use std::{
    ops::Range,
    sync::{Mutex, OnceLock, PoisonError, atomic::Ordering},
};

use cranelift_codegen::{ir::AbiParam, ir::types, isa::OwnedTargetIsa, settings, settings::Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{Linkage, Module as _, default_libcall_names};

use super::{
    Lanes,
    binding::{Launch, Outcome},
    group_at,
    number::Num,
    reflect::Globals,
    watch::Recorder,
};
use code::{Context, Scratch, Variant};
use fixed::Fixed;
use ir::Program;
use told::Watcher;
pub(crate) use workspace::Workspace;

/// A kernel as machine code.
pub(super) struct Code {
    program: Program,
    globals: Globals,
    main: Compiled,
    edge: OnceLock<Result<Compiled, &'static str>>,
    /// What the first workgroup of a launch tells, if its code tells a recorder.
    telling: Telling,
    /// When workgroups do the same to their own memory, if it is known.
    fixed: Option<Fixed>,
    /// What writes the class of a workgroup.
    class: OnceLock<Result<Compiled, &'static str>>,
    /// Both again, for workgroups that tell otherwise than the first.
    others: [OnceLock<Result<Compiled, &'static str>>; 16],
}

/// What code of an observed kernel tells, beside what it always does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Telling {
    /// Each access of bound memory looks at its cell, instead of going on with a run.
    cells: bool,
    /// Such accesses are mostly of neighbours.
    rows: bool,
    /// Accesses of the workgroup's own memory are told.
    own: bool,
}

type Entry = unsafe extern "C" fn(*const Context) -> u32;

/// One variant.
struct Compiled {
    entry: Entry,
    scratch_bytes: u32,
    /// About how many statements a workgroup executes, where the ends of all its loops are known.
    weight: Option<u64>,
    /// Taken when the code is dropped; nothing else looks at it.
    module: Mutex<Option<JITModule>>,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(module) = module {
            // SAFETY: `entry` is only called through `&self`, so it does not run and is not called again.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles an entry point, or says for what there is no rule.
pub(super) fn compile(
    module: &naga::Module,
    info: &naga::valid::ModuleInfo,
    entry: usize,
    globals: &Globals,
    lanes: Lanes,
) -> Result<Code, &'static str> {
    let observed = lanes == Lanes::Watched;
    let program = lower::lower(module, info, entry, globals, observed)?;
    let telling = Telling { own: site::tells_own(&program), ..Telling::default() };
    let fixed = if telling.own { fixed::find(&program) } else { None };
    let main = match lanes {
        Lanes::Watched => compile_told(&program, globals, telling)?,
        Lanes::Four if fits_four_lanes(&program) => compile_variant(&program, globals, 4, (false, telling))?,
        _ => compile_variant(&program, globals, lanes_at_least(&program), (false, telling))?,
    };
    let (globals, edge, others) = (globals.clone(), OnceLock::new(), Default::default());
    let class = OnceLock::new();
    Ok(Code { program, globals, main, edge, telling, fixed, class, others })
}

/// Statements of an observed kernel that four invocations run at once: those that are told become much code.
const ABREAST_MAX: usize = 2000;

/// Code for whole workgroups of an observed kernel.
fn compile_told(program: &Program, globals: &Globals, telling: Telling) -> Result<Compiled, &'static str> {
    // What each tells by itself costs more where four run at once.
    let weight: usize = program.body.iter().map(ir::Stmt::weight).sum();
    let abreast = !telling.own && telling.cells == telling.rows && !site::tells_texels(program);
    if abreast
        && fits_four_lanes(program)
        && weight <= ABREAST_MAX
        && let Ok(code) = compile_variant(program, globals, 4, (false, telling))
    {
        return Ok(code);
    }
    compile_variant(program, globals, lanes_at_least(program), (false, telling))
}

/// Invocations that have to run at once.
fn lanes_at_least(program: &Program) -> u32 {
    if program.subgroups { 4 } else { 1 }
}

/// Whether neighbours in x fill whole quads.
fn fits_four_lanes(program: &Program) -> bool {
    program.workgroup_size[0].is_multiple_of(4)
}

fn compile_variant(
    program: &Program,
    globals: &Globals,
    lanes: u32,
    (partial, telling): (bool, Telling),
) -> Result<Compiled, &'static str> {
    let untold = (program.observed && !telling.own).then(|| fixed::untold(program));
    let program = untold.as_ref().unwrap_or(program);
    let shapes = shape::find(program, lanes);
    // The runtime has refused those that are wrong; it knows of more values that they are the same for all.
    if shapes.lone_barrier {
        return Err("a barrier that hangs on more than its rules know of");
    }
    let rows = if lanes == 4 { rows::find(program, &shapes) } else { rows::Rows::default() };
    let counted = counted::find(program, &shapes);
    let plan = plan::plan(program, &shapes)?;
    let layout = Scratch::new(program, &plan, lanes).ok_or("this much memory for invocations")?;
    let scratch_bytes = layout.bytes;
    let variant = Variant {
        program,
        shapes: &shapes,
        rows: &rows,
        counted: &counted,
        plan: &plan,
        layout: &layout,
        lanes,
        globals,
        partial,
        cells: telling.cells,
    };
    let weight = counted::weight(program, &shapes);
    let weight = weight.and_then(|weight| weight.checked_mul(program.invocations().into()));
    let weight = weight.and_then(|weight| weight.checked_add((program.shared_bytes / 16).into()));
    let (module, entry) = assemble(&variant)?;
    Ok(Compiled { entry, scratch_bytes, weight, module: Mutex::new(Some(module)) })
}

/// The machine that everything is compiled for.
fn isa() -> Result<OwnedTargetIsa, &'static str> {
    let mut flags = settings::builder();
    let options = [
        ("opt_level", "speed"),
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ];
    for (name, value) in options {
        flags.set(name, value).map_err(|_| "this version of Cranelift")?;
    }
    let isa = cranelift_native::builder().map_err(|_| "this processor")?;
    isa.finish(settings::Flags::new(flags)).map_err(|_| "this processor")
}

/// Makes machine code of a variant.
fn assemble(variant: &Variant<'_>) -> Result<(JITModule, Entry), &'static str> {
    let isa = isa()?;
    if isa.pointer_bits() != 64 {
        return Err("a processor without 64-bit addresses");
    }
    let mut module = JITModule::new(JITBuilder::with_isa(isa, default_libcall_names()));
    let mut context = module.make_context();
    context.func.signature.params.push(AbiParam::new(types::I64));
    context.func.signature.returns.push(AbiParam::new(types::I32));
    let config = module.target_config();
    let mut builder_context = FunctionBuilderContext::new();
    code::emit(FunctionBuilder::new(&mut context.func, &mut builder_context), config, variant);
    let failed = |error: cranelift_module::ModuleError| {
        log::warn!("Cranelift refused a kernel: {error:?}");
        "what Cranelift refused"
    };
    let id = module.declare_function("kernel", Linkage::Local, &context.func.signature).map_err(failed)?;
    module.define_function(id, &mut context).map_err(failed)?;
    module.finalize_definitions().map_err(failed)?;
    let entry = module.get_finalized_function(id);
    // SAFETY: the function was just compiled with this signature for this machine.
    Ok((module, unsafe { std::mem::transmute::<*const u8, Entry>(entry) }))
}

impl Code {
    pub(super) fn workgroup_size(&self) -> [u32; 3] {
        self.program.workgroup_size
    }

    pub(super) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// Bytes, at most 4.
    pub(super) fn smallest_scalar(&self) -> u32 {
        let program = &self.program;
        let nums = program.ids.iter().map(|info| info.num).chain(program.vars.iter().copied());
        let sizes = nums.filter(|num| *num != Num::Bool).map(Num::bytes);
        sizes.min().unwrap_or(4).min(4)
    }

    /// See [`super::Kernel::weight`].
    pub(super) fn weight(&self, cut: bool) -> Option<u64> {
        if cut { self.edge.get()?.as_ref().ok()?.weight } else { self.main.weight }
    }

    fn edge(&self) -> Result<&Compiled, &'static str> {
        let compiled = self.edge.get_or_init(|| {
            compile_variant(&self.program, &self.globals, lanes_at_least(&self.program), (true, self.telling))
        });
        compiled.as_ref().map_err(|feature| *feature)
    }

    /// The code for a workgroup.
    fn variant(&self, whole: bool, telling: Telling) -> Result<&Compiled, &'static str> {
        match (whole, telling == self.telling) {
            (true, true) => return Ok(&self.main),
            (false, true) => return self.edge(),
            _ => {}
        }
        let bits = [whole, telling.cells, telling.own, telling.rows];
        let number = bits.iter().rev().fold(0, |number, bit| 2 * number + usize::from(*bit));
        let compile = || match whole {
            true => compile_told(&self.program, &self.globals, telling),
            false => {
                compile_variant(&self.program, &self.globals, lanes_at_least(&self.program), (true, telling))
            }
        };
        let compiled = self.others[number].get_or_init(compile);
        compiled.as_ref().map_err(|feature| *feature)
    }

    /// What writes the class of a workgroup, if there are several and it can be compiled.
    fn class(&self) -> Option<&Compiled> {
        let program = self.fixed.as_ref()?.class.as_ref()?;
        let compile = || {
            let lanes = if fits_four_lanes(program) { 4 } else { 1 };
            compile_variant(program, &self.globals, lanes, (false, Telling::default()))
        };
        self.class.get_or_init(compile).as_ref().ok()
    }

    /// Finds out of which class a whole workgroup is, if there are several.
    ///
    /// # Safety
    /// As for [`Self::run`].
    unsafe fn classify(&self, context: &mut Context, workspace: &mut Workspace, watcher: &mut Watcher<'_>) {
        let Some(compiled) = self.class() else { return };
        context.shared = watcher.class_words(self.program.invocations());
        context.scratch = workspace.scratch(compiled.scratch_bytes);
        // SAFETY: as in `run`; it writes a word for each invocation.
        unsafe { (compiled.entry)(&raw const *context) };
    }

    /// Runs workgroups one after the other.
    ///
    /// # Safety
    /// As [`super::Kernel::run`] asks; the launch fits the slots and the grid contains the groups.
    pub(super) unsafe fn run(
        &self,
        launch: &Launch<'_>,
        groups: Range<u64>,
        recorder: Option<&mut Recorder>,
        workspace: &mut Workspace,
    ) -> Outcome {
        if groups.is_empty() {
            return Outcome::Done;
        }
        if recorder.is_some() != self.program.observed {
            return Outcome::Failed("code that tells what it does and a recorder belong together".into());
        }
        let mut watcher = recorder.map(|recorder| Watcher::new(recorder, self, launch));
        workspace.begin(&self.program, &self.globals, launch);
        let mut context = self.context(launch, workspace);
        context.group = group_at(launch.grid, groups.start);
        for group in groups {
            if launch.stop.load(Ordering::Relaxed) {
                return Outcome::Stopped;
            }
            let whole = self.is_whole(launch, context.group);
            if let Some(watcher) = watcher.as_mut().filter(|watcher| whole && watcher.asks_for_classes()) {
                // SAFETY: the caller's promise.
                unsafe { self.classify(&mut context, workspace, watcher) };
            }
            let telling = watcher.as_mut().map_or(self.telling, |watcher| watcher.telling(whole));
            let compiled = match self.variant(whole, telling) {
                Ok(compiled) => compiled,
                Err(feature) => {
                    return Outcome::Failed(format!("{feature} is not supported in part of a workgroup"));
                }
            };
            context.shared = workspace.zeroed_shared(self.program.shared_bytes);
            context.scratch = workspace.scratch(compiled.scratch_bytes);
            if let Some(watcher) = &mut watcher {
                watcher.begin_group(group, &mut context);
                context.watcher = (&raw mut *watcher).cast();
            }
            // SAFETY: the code reads and writes what `context` points to within the sizes that it was compiled for: the
            // bindings, which the caller answers for and `reflect::check` has measured, and this thread's workspace.
            if unsafe { (compiled.entry)(&raw const context) } != 0 {
                return Outcome::Stopped;
            }
            if let Some(watcher) = &mut watcher {
                watcher.end_group();
            }
            context.group = next_group(launch.grid, context.group);
        }
        Outcome::Done
    }

    /// What all workgroups of a launch see.
    fn context(&self, launch: &Launch<'_>, workspace: &Workspace) -> Context {
        Context {
            slots: workspace.slots.as_ptr(),
            shared: std::ptr::null_mut(),
            scratch: std::ptr::null_mut(),
            immediates: workspace.immediates.as_ptr(),
            constants: self.program.constants.as_ptr(),
            stop: launch.stop.as_ptr().cast(),
            watcher: std::ptr::null_mut(),
            open: std::ptr::null_mut(),
            first_invocation: [0; 3],
            group: [0; 3],
            grid: launch.grid,
            threads: launch.threads.unwrap_or([u32::MAX; 3]),
        }
    }

    /// Whether a workgroup has all of its invocations.
    fn is_whole(&self, launch: &Launch<'_>, group: [u32; 3]) -> bool {
        let size = self.workgroup_size();
        launch.threads.is_none_or(|threads| {
            (0..3).all(|i| (u64::from(group[i]) + 1) * u64::from(size[i]) <= u64::from(threads[i]))
        })
    }
}

/// The workgroup behind another one, x fastest. Behind the last one is none; it is never run.
fn next_group(grid: [u32; 3], [x, y, z]: [u32; 3]) -> [u32; 3] {
    if x + 1 < grid[0] {
        [x + 1, y, z]
    } else if y + 1 < grid[1] {
        [0, y + 1, z]
    } else {
        [0, 0, z.wrapping_add(1)]
    }
}
