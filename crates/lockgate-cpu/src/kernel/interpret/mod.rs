//! What does a kernel do? Follows naga's statements for all invocations of a workgroup in step.
//!
//! Each statement is executed for every invocation that is active before the next statement starts, so a barrier has
//! nothing to wait for: it only checks that all invocations reach it. Values are looked up by naga's own handles.
//! Clarity goes before speed; this is the definition that machine code is compared with.

mod builtin;
mod check;
mod control;
mod eval;
mod image;
mod observe;
mod place;
mod port;
mod subgroup;
mod value;

use std::{cell::RefCell, ops::Range, sync::OnceLock};

use naga::{BuiltIn, Function, Module, Span, valid::FunctionInfo, valid::ModuleInfo};

use super::{
    binding::{Launch, Outcome},
    group_at,
    layout::{self, Leaf},
    port::Port,
    reflect::Globals,
    watch::Recorder,
};
pub(super) use builtin::{ldexp, split_float};
pub(super) use check::check;
pub(super) use eval::literal;
pub(super) use image::clamp_to_texels;
pub(super) use place::changed;
use value::{Data, Fault, Value};

/// An entry point that the interpreter can run.
pub(super) struct Program {
    module: Module,
    info: ModuleInfo,
    entry: usize,
    pub(super) globals: Globals,
    /// For each type, its scalars, once they were asked for.
    leaves: Vec<OnceLock<Option<Vec<Leaf>>>>,
}

impl Program {
    pub(super) fn new(module: Module, info: ModuleInfo, entry: usize, globals: Globals) -> Self {
        let leaves = (0..module.types.len()).map(|_| OnceLock::new()).collect();
        Self { module, info, entry, globals, leaves }
    }

    pub(super) fn workgroup_size(&self) -> [u32; 3] {
        self.module.entry_points[self.entry].workgroup_size
    }

    /// Bytes, at most 4.
    pub(super) fn smallest_scalar(&self) -> u32 {
        let scalars = self.module.types.iter().filter_map(|(_, ty)| ty.inner.scalar());
        let widths = scalars.filter(|scalar| scalar.kind != naga::ScalarKind::Bool);
        widths.map(|scalar| u32::from(scalar.width)).min().unwrap_or(4).min(4)
    }

    /// Whether an array of bindings is in a slot.
    fn is_array(&self, slot: u32) -> bool {
        self.globals.slots.get(slot as usize).is_some_and(|slot| slot.elements.is_some())
    }

    fn leaves(&self, ty: naga::Handle<naga::Type>) -> Option<&[Leaf]> {
        let cell = self.leaves.get(ty.index())?;
        cell.get_or_init(|| layout::leaves(&self.module, &self.module.types[ty].inner)).as_deref()
    }

    /// Runs workgroups one after the other.
    ///
    /// # Safety
    /// As [`super::Kernel::run`] asks; the launch fits the slots and the grid contains the groups.
    pub(super) unsafe fn run(
        &self,
        launch: &Launch<'_>,
        groups: Range<u64>,
        mut recorder: Option<&mut Recorder>,
    ) -> Outcome {
        for group in groups {
            if launch.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Outcome::Stopped;
            }
            if let Some(recorder) = &mut recorder {
                recorder.begin_group(group);
            }
            let recorder = recorder.as_deref_mut();
            match Machine::new(self, launch, group_at(launch.grid, group), recorder).run() {
                Ok(()) => {}
                Err(Fault::Stopped) => return Outcome::Stopped,
                Err(Fault::Failed(message)) => return Outcome::Failed(message),
            }
        }
        Outcome::Done
    }

    /// Runs one workgroup; what it does to bindings goes through a port.
    ///
    /// # Safety
    /// As for [`Program::run`].
    pub(super) unsafe fn run_through(&self, launch: &Launch<'_>, group: u64, port: &dyn Port) -> Outcome {
        let mut machine = Machine::new(self, launch, group_at(launch.grid, group), None);
        machine.port = Some(port);
        match machine.run() {
            Ok(()) => Outcome::Done,
            Err(Fault::Stopped) => Outcome::Stopped,
            Err(Fault::Failed(message)) => Outcome::Failed(message),
        }
    }
}

/// Which invocations take part in something.
type Mask = Vec<bool>;

/// One workgroup while it runs.
struct Machine<'a> {
    program: &'a Program,
    launch: &'a Launch<'a>,
    group: [u32; 3],
    /// Invocations that exist at all: all but those beyond `Launch::threads`.
    present: Mask,
    shared: Vec<u8>,
    /// For each invocation.
    private: Vec<Vec<u8>>,
    frames: Vec<Frame<'a>>,
    /// Who is told of every access, if anybody is.
    recorder: Option<RefCell<&'a mut Recorder>>,
    /// Who serves the memory of bindings, if not memory itself.
    port: Option<&'a dyn Port>,
    /// The statement that is executed.
    statement: Span,
}

/// One function call, for all invocations at once.
struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    /// Invocation by expression.
    values: Vec<Vec<Option<Value>>>,
    /// Invocation by argument.
    arguments: Vec<Vec<Value>>,
    /// Invocation by local variable.
    locals: Vec<Vec<Vec<u8>>>,
    results: Vec<Option<Value>>,
}

impl<'a> Machine<'a> {
    fn new(
        program: &'a Program,
        launch: &'a Launch<'a>,
        group: [u32; 3],
        recorder: Option<&'a mut Recorder>,
    ) -> Self {
        let size = program.workgroup_size();
        let count = size.iter().product::<u32>() as usize;
        let mut machine = Machine {
            program,
            launch,
            group,
            present: vec![true; count],
            shared: vec![0; program.globals.shared_bytes as usize],
            private: vec![vec![0; program.globals.private_bytes as usize]; count],
            frames: Vec::new(),
            recorder: recorder.map(RefCell::new),
            port: None,
            statement: Span::UNDEFINED,
        };
        if let Some(threads) = launch.threads {
            machine.present =
                (0..count).map(|lane| (0..3).all(|i| machine.global_id(lane)[i] < threads[i])).collect();
        }
        machine
    }

    fn run(mut self) -> Result<(), Fault> {
        self.initialize_privates()?;
        let entry = &self.program.module.entry_points[self.program.entry];
        let info = self.program.info.get_entry_point(self.program.entry);
        let mut arguments = Vec::new();
        for lane in 0..self.present.len() {
            let of_lane: Result<Vec<_>, _> =
                entry.function.arguments.iter().map(|argument| self.entry_argument(argument, lane)).collect();
            arguments.push(of_lane?);
        }
        let mask = self.present.clone();
        self.call(&entry.function, info, arguments, &mask).map(|_| ())
    }

    fn local_id(&self, lane: usize) -> [u32; 3] {
        group_at(self.program.workgroup_size(), lane as u64)
    }

    fn global_id(&self, lane: usize) -> [u32; 3] {
        let (size, local) = (self.program.workgroup_size(), self.local_id(lane));
        std::array::from_fn(|i| self.group[i].wrapping_mul(size[i]).wrapping_add(local[i]))
    }

    /// An argument of the entry point: a built-in value or a structure of them.
    fn entry_argument(&self, argument: &naga::FunctionArgument, lane: usize) -> Result<Value, Fault> {
        if let Some(binding) = &argument.binding {
            return Ok(Value::Data(self.builtin(binding, lane)?));
        }
        let naga::TypeInner::Struct { members, .. } = &self.program.module.types[argument.ty].inner else {
            return Err(Fault::failed("an argument without a built-in"));
        };
        let mut data = Data::new();
        for member in members {
            let Some(binding) = &member.binding else {
                return Err(Fault::failed("a member without a built-in"));
            };
            data.extend(self.builtin(binding, lane)?);
        }
        Ok(Value::Data(data))
    }

    fn builtin(&self, binding: &naga::Binding, lane: usize) -> Result<Data, Fault> {
        let vector = |v: [u32; 3]| v.iter().map(|n| u64::from(*n)).collect();
        match *binding {
            naga::Binding::BuiltIn(BuiltIn::GlobalInvocationId) => Ok(vector(self.global_id(lane))),
            naga::Binding::BuiltIn(BuiltIn::LocalInvocationId) => Ok(vector(self.local_id(lane))),
            naga::Binding::BuiltIn(BuiltIn::LocalInvocationIndex) => Ok(Data::from_slice(&[lane as u64])),
            naga::Binding::BuiltIn(BuiltIn::WorkGroupId) => Ok(vector(self.group)),
            naga::Binding::BuiltIn(BuiltIn::WorkGroupSize) => Ok(vector(self.program.workgroup_size())),
            naga::Binding::BuiltIn(BuiltIn::NumWorkGroups) => Ok(vector(self.launch.grid)),
            naga::Binding::BuiltIn(builtin) => {
                subgroup::builtin(builtin, lane, self.present.len()).map(|v| Data::from_slice(&[v]))
            }
            _ => Err(Fault::failed("this built-in value")),
        }
    }

    fn initialize_privates(&mut self) -> Result<(), Fault> {
        let program = self.program;
        for (handle, variable) in program.module.global_variables.iter() {
            let (Some(init), Some(offset)) = (variable.init, program.globals.place(handle)) else { continue };
            if variable.space != naga::AddressSpace::Private {
                continue;
            }
            let value = eval::constant(program, init)?;
            for lane in 0..self.private.len() {
                value::write_bytes(&mut self.private[lane], offset, program.leaves(variable.ty), &value)?;
            }
        }
        Ok(())
    }
}
