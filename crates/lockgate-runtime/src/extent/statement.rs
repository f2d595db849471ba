//! What a kernel does, statement by statement, for all its invocations at once.

use super::expression::{Part, Place, Root, Value, anything, limits, literal, zero};
use super::memory::{Found, Touch};
use super::value::{Bounds, Cond, Int, LOOPS, Path};
use super::{Extent, ExtentGrid, ExtentQuery};
use crate::{Reflection, ShaderModule};
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AtomicFunction, Block, Expression, Function, GlobalVariable, Handle, Module, Statement, SwitchCase,
    TypeInner,
};
use std::collections::BTreeMap;

/// Expressions that are looked at before the kernel counts as too large to be understood.
const STEPS_MAX: u32 = 1 << 18;
/// Calls inside of each other.
const DEPTH_MAX: usize = 64;

/// The walk over one kernel.
pub(super) struct Walk<'a> {
    pub(super) module: &'a Module,
    info: &'a ModuleInfo,
    pub(super) workgroup: [u32; 3],
    /// Workgroups; `None` if a buffer says.
    pub(super) groups: Option<[u32; 3]>,
    /// Whether some workgroups are cut.
    pub(super) cut: bool,
    pub(super) immediates: &'a [u8],
    constants: &'a [(String, f64)],
    /// Position and size of the buffers.
    pub(super) bound: BTreeMap<Handle<GlobalVariable>, (usize, u64)>,
    /// Reads and writes.
    pub(super) found: BTreeMap<Handle<GlobalVariable>, [Found; 2]>,
    pub(super) path: Path,
    frames: Vec<Frame<'a>>,
    symbols: usize,
    steps: u32,
    gave_up: bool,
    /// Whether some invocation may have left a block before its end.
    pub(super) left: bool,
}

/// A function that is being walked.
pub(super) struct Frame<'a> {
    pub(super) function: &'a Function,
    info: &'a FunctionInfo,
    pub(super) values: Vec<Option<Value>>,
    pub(super) arguments: Vec<Value>,
    locals: Vec<Value>,
    result: Option<Value>,
}

/// Values of all local variables.
pub(super) type Locals = Vec<Vec<Value>>;

/// What a dispatch touches of each buffer binding.
pub(super) fn extents(
    shader: &ShaderModule,
    name: &str,
    constants: &[(String, f64)],
    query: &ExtentQuery<'_>,
    reflection: &Reflection,
) -> Vec<Extent> {
    let module = &shader.module;
    let Some(entry) = module.entry_points.iter().position(|entry| entry.name == name) else {
        return Vec::new();
    };
    let mut walk = Walk {
        module,
        info: &shader.info,
        workgroup: [1; 3],
        groups: None,
        cut: false,
        immediates: query.immediates,
        constants,
        bound: bound(module, reflection, query),
        found: BTreeMap::new(),
        path: Path { bounds: Vec::new(), narrowed: vec![false; LOOPS], certain: true },
        frames: Vec::new(),
        symbols: LOOPS,
        steps: 0,
        gave_up: false,
        left: false,
    };
    if walk.begin(entry, query.grid) {
        walk.entry(entry);
    }
    walk.results(reflection)
}

/// The buffers that a kernel uses.
fn bound(
    module: &Module,
    reflection: &Reflection,
    query: &ExtentQuery<'_>,
) -> BTreeMap<Handle<GlobalVariable>, (usize, u64)> {
    let find = |(handle, variable): (Handle<GlobalVariable>, &GlobalVariable)| {
        let at = variable.binding.as_ref()?;
        let is = |own: &crate::ReflectedBinding| (own.group, own.binding) == (at.group, at.binding);
        let named = |own: &crate::ReflectedBinding| variable.name.as_deref().unwrap_or("") == own.name;
        let index = reflection.bindings.iter().position(|own| is(own) && named(own))?;
        let own = &reflection.bindings[index];
        // Of arrays of bindings nothing is proven.
        let buffer = matches!(own.kind, crate::BindingKind::Buffer { .. }) && own.array.is_none();
        buffer.then_some((handle, (index, query.sizes.get(index).copied().unwrap_or(u64::MAX))))
    };
    module.global_variables.iter().filter_map(find).collect()
}

impl<'a> Walk<'a> {
    /// Sets the ids up. Returns whether anything runs.
    fn begin(&mut self, entry: usize, grid: ExtentGrid) -> bool {
        let point = &self.module.entry_points[entry];
        self.workgroup = point.workgroup_size;
        for axis in 0..3 {
            let over = point.workgroup_size_overrides.and_then(|overrides| overrides[axis]);
            if let Some(over) = over {
                let Value::Int(int) = self.constant(over) else { return self.give_up_here() };
                let side = int.known(&[]).and_then(|side| u32::try_from(side).ok());
                let Some(side) = side else { return self.give_up_here() };
                self.workgroup[axis] = side;
            }
        }
        let size = self.workgroup.map(|side| side.max(1));
        let everything = (0, i128::from(u32::MAX));
        let span = |count: u64| -> Bounds { (0, i128::from(count) - 1) };
        let mut ids: [[Bounds; 3]; 3] = [[everything; 3]; 3];
        ids[1] = size.map(|side| span(side.into()));
        let groups = match grid {
            ExtentGrid::Threads(threads) => {
                self.cut = (0..3).any(|axis| !threads[axis].is_multiple_of(size[axis]));
                ids[0] = threads.map(|count| span(count.into()));
                Some([0, 1, 2].map(|axis| threads[axis].div_ceil(size[axis])))
            }
            ExtentGrid::Threadgroups(groups) => {
                let count = |axis: usize| u64::from(groups[axis]) * u64::from(size[axis]);
                ids[0] = [0, 1, 2].map(|axis| span(count(axis)));
                Some(groups)
            }
            ExtentGrid::Unknown => None,
        };
        if let Some(groups) = groups {
            ids[2] = groups.map(|count| span(count.into()));
        }
        if ids[0].iter().any(|own| own.1 > everything.1) {
            // Ids wrap around.
            ids[0] = [everything; 3];
            self.path.certain = false;
        }
        self.path.certain &= groups.is_some();
        self.groups = groups;
        self.path.bounds = ids.concat();
        groups.is_none_or(|groups| !groups.contains(&0))
    }

    fn give_up_here(&mut self) -> bool {
        self.give_up();
        false
    }

    fn entry(&mut self, entry: usize) {
        let function = &self.module.entry_points[entry].function;
        let argument = |argument: &naga::FunctionArgument| match &self.module.types[argument.ty].inner {
            TypeInner::Struct { members, .. } if argument.binding.is_none() => {
                Value::Vector(members.iter().map(|member| self.builtin(member.binding.as_ref())).collect())
            }
            _ => self.builtin(argument.binding.as_ref()),
        };
        let arguments = function.arguments.iter().map(argument).collect();
        self.enter(function, self.info.get_entry_point(entry), arguments);
    }

    fn results(mut self, reflection: &Reflection) -> Vec<Extent> {
        let mut extents: Vec<Extent> = Vec::new();
        let bound = std::mem::take(&mut self.bound);
        for (variable, (index, size)) in bound {
            let mut found = self.found.remove(&variable).unwrap_or_default();
            let own = &reflection.bindings[index];
            if self.gave_up {
                for (found, may) in found.iter_mut().zip([own.reads, own.writes]) {
                    *found = Found { whole: may, ..Found::default() };
                }
            }
            let [reads, writes] = found.map(|found| found.bytes(size));
            let (group, binding, index) = (own.group, own.binding, index as u32);
            extents.push(Extent { group, binding, index, reads, writes });
        }
        extents.sort_by_key(|extent| extent.index);
        extents
    }

    pub(super) fn give_up(&mut self) {
        self.gave_up = true;
    }

    pub(super) fn step(&mut self) {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            self.gave_up = true;
        }
    }

    pub(super) fn frame(&self) -> &Frame<'a> {
        &self.frames[self.frames.len() - 1]
    }

    pub(super) fn depth(&self) -> usize {
        self.frames.len() - 1
    }

    pub(super) fn local(&self, depth: usize, variable: usize) -> Option<&Value> {
        self.frames.get(depth)?.locals.get(variable)
    }

    pub(super) fn inner(&self, handle: Handle<Expression>) -> &'a TypeInner {
        self.frame().info[handle].ty.inner_with(&self.module.types)
    }

    /// The type of what a pointer is to.
    pub(super) fn pointee(&self, pointer: Handle<Expression>) -> TypeInner {
        match *self.inner(pointer) {
            TypeInner::Pointer { base, .. } => self.module.types[base].inner.clone(),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => TypeInner::Vector { size, scalar },
            TypeInner::ValuePointer { size: None, scalar, .. } => TypeInner::Scalar(scalar),
            ref other => other.clone(),
        }
    }

    /// A new symbol with a range.
    pub(super) fn new_symbol(&mut self, bounds: Bounds) -> usize {
        let symbol = self.symbols;
        self.symbols += 1;
        self.path.bounds.resize(symbol + 1, super::value::ANYTHING);
        self.path.narrowed.resize(symbol + 1, false);
        self.path.bounds[symbol] = bounds;
        symbol
    }

    /// A value of the module's own arena.
    pub(super) fn constant(&self, handle: Handle<Expression>) -> Value {
        match self.module.global_expressions[handle] {
            Expression::Literal(value) => literal(value),
            Expression::Constant(constant) => self.constant(self.module.constants[constant].init),
            Expression::Override(over) => self.override_value(over),
            Expression::ZeroValue(ty) => zero(&self.module.types[ty].inner),
            Expression::Splat { size, value } => Value::Vector(vec![self.constant(value); size as usize]),
            Expression::Compose { ty, ref components } => match self.module.types[ty].inner {
                TypeInner::Vector { size, .. } if components.len() == size as usize => {
                    Value::Vector(components.iter().map(|one| self.constant(*one)).collect())
                }
                _ => Value::Opaque,
            },
            _ => Value::Opaque,
        }
    }

    pub(super) fn override_value(&self, over: Handle<naga::Override>) -> Value {
        let over = &self.module.overrides[over];
        let id = over.id.map(|id| id.to_string());
        let is = |key: &str| Some(key) == over.name.as_deref() || Some(key) == id.as_deref();
        let TypeInner::Scalar(scalar) = self.module.types[over.ty].inner else { return Value::Opaque };
        match self.constants.iter().find(|(key, _)| is(key)) {
            Some((_, value)) => match limits(scalar) {
                Some(limits)
                    if value.fract() == 0.0 && limits.0 <= *value as i128 && *value as i128 <= limits.1 =>
                {
                    Value::Int(Int::constant(*value as i128))
                }
                _ => Value::Opaque,
            },
            None => over.init.map_or(Value::Opaque, |init| self.constant(init)),
        }
    }

    /// Walks a function; what it returns.
    fn enter(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
    ) -> Option<Value> {
        if self.frames.len() >= DEPTH_MAX {
            self.give_up();
            return None;
        }
        let values = vec![None; function.expressions.len()];
        self.frames.push(Frame { function, info, values, arguments, locals: Vec::new(), result: None });
        for (_, variable) in function.local_variables.iter() {
            let inner = &self.module.types[variable.ty].inner;
            let value = match variable.init {
                Some(init) => self.value(init),
                None => zero(inner),
            };
            let depth = self.depth();
            self.frames[depth].locals.push(value);
        }
        let (path, left) = (self.path.clone(), self.left);
        self.block(&function.body);
        (self.path, self.left) = (path, left);
        self.frames.pop().and_then(|frame| frame.result)
    }

    /// Walks a block. Returns whether some invocation may reach its end.
    pub(super) fn block(&mut self, block: &'a Block) -> bool {
        block.iter().all(|statement| !self.gave_up && self.statement(statement))
    }

    fn statement(&mut self, statement: &'a Statement) -> bool {
        self.step();
        match *statement {
            Statement::Emit(ref range) => {
                for handle in range.clone() {
                    let value = self.evaluate(handle);
                    let depth = self.depth();
                    self.frames[depth].values[handle.index()] = Some(value);
                }
            }
            Statement::Block(ref block) => return self.block(block),
            Statement::If { condition, ref accept, ref reject } => {
                return self.branch(condition, accept, reject);
            }
            Statement::Switch { ref cases, .. } => self.switch(cases),
            Statement::Loop { ref body, ref continuing, break_if } => self.repeat(body, continuing, break_if),
            Statement::Break | Statement::Continue | Statement::Kill => {
                self.left = true;
                return false;
            }
            Statement::Return { value } => {
                if let Some(value) = value {
                    let value = self.value(value);
                    self.give_back(value);
                }
                self.left = true;
                return false;
            }
            Statement::Store { pointer, value } => self.store(pointer, value),
            Statement::Atomic { pointer, fun, .. } => {
                let surely_writes = !matches!(fun, AtomicFunction::Exchange { compare: Some(_) });
                self.write(pointer, Touch { reads: true, writes: true, surely_writes });
            }
            Statement::Call { function, ref arguments, result } => self.call(function, arguments, result),
            Statement::ControlBarrier(_)
            | Statement::MemoryBarrier(_)
            | Statement::ImageStore { .. }
            | Statement::ImageAtomic { .. }
            | Statement::WorkGroupUniformLoad { .. }
            | Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. } => {}
            // Statements that may touch memory in ways that are not understood.
            _ => self.give_up(),
        }
        true
    }

    fn call(
        &mut self,
        function: Handle<Function>,
        arguments: &[Handle<Expression>],
        result: Option<Handle<Expression>>,
    ) {
        let values: Vec<Value> = arguments.iter().map(|argument| self.value(*argument)).collect();
        let own = values.clone();
        let returned = self.enter(&self.module.functions[function], &self.info[function], values);
        for value in own {
            if let Value::Pointer(Place { root: Root::Local { depth, variable, .. }, .. }) = value {
                // Some invocations may have returned before others have stored.
                self.forget(depth, variable);
            }
        }
        if let Some(result) = result {
            let value = returned.unwrap_or_else(|| anything(self.inner(result)));
            let depth = self.depth();
            self.frames[depth].values[result.index()] = Some(value);
        }
    }

    /// Joins a value to what the function returns. Rounds of its loops mean nothing outside.
    fn give_back(&mut self, value: Value) {
        let value = self.outside_of_loops(value);
        let depth = self.depth();
        let joined = match self.frames[depth].result.take() {
            None => value,
            Some(other) => self.either(&Cond::Unknown, other, value).unwrap_or(Value::Opaque),
        };
        self.frames[depth].result = Some(joined);
    }

    fn outside_of_loops(&self, value: Value) -> Value {
        match value {
            Value::Int(Int { affine: Some(affine), bounds }) => {
                let inner = affine.terms.iter().any(|(symbol, _)| *symbol >= LOOPS);
                let (low, high) = affine.bounds(&self.path.bounds);
                let bounds = (bounds.0.max(low), bounds.1.min(high));
                Value::Int(Int { affine: Some(affine).filter(|_| !inner), bounds })
            }
            Value::Vector(all) => {
                Value::Vector(all.into_iter().map(|one| self.outside_of_loops(one)).collect())
            }
            Value::Cond(Cond::Known(known)) => Value::Cond(Cond::Known(known)),
            Value::Cond(_) => Value::Cond(Cond::Unknown),
            other => other,
        }
    }

    fn store(&mut self, pointer: Handle<Expression>, value: Handle<Expression>) {
        let Value::Pointer(place) = self.value(pointer) else { return self.give_up() };
        let Root::Local { depth, variable, part } = place.root else {
            return self.write(pointer, Touch { reads: false, writes: true, surely_writes: true });
        };
        let value = self.value(value);
        let Some(own) = self.frames.get_mut(depth).and_then(|frame| frame.locals.get_mut(variable)) else {
            return;
        };
        match (part, own) {
            (Part::Whole, own) => *own = value,
            (Part::Component(at), Value::Vector(all)) => {
                all.get_mut(at as usize).into_iter().for_each(|one| *one = value.clone());
            }
            _ => self.forget(depth, variable),
        }
    }

    fn write(&mut self, pointer: Handle<Expression>, touch: Touch) {
        let Value::Pointer(place) = self.value(pointer) else { return self.give_up() };
        let inner = self.pointee(pointer);
        self.touch(&place, &inner, touch);
    }

    /// A local variable may hold anything.
    pub(super) fn forget(&mut self, depth: usize, variable: usize) {
        let Some(frame) = self.frames.get_mut(depth) else { return };
        let declared = frame.function.local_variables.iter().nth(variable);
        let value = declared.map(|(_, own)| anything(&self.module.types[own.ty].inner));
        if let (Some(own), Some(value)) = (frame.locals.get_mut(variable), value) {
            *own = value;
        }
    }

    pub(super) fn locals(&self) -> Locals {
        self.frames.iter().map(|frame| frame.locals.clone()).collect()
    }

    pub(super) fn set_locals(&mut self, locals: Locals) {
        self.frames.iter_mut().zip(locals).for_each(|(frame, locals)| frame.locals = locals);
    }

    fn branch(&mut self, condition: Handle<Expression>, accept: &'a Block, reject: &'a Block) -> bool {
        let condition = self.cond(condition);
        let (before, locals) = (self.path.clone(), self.locals());
        let left = std::mem::replace(&mut self.left, false);
        let mut ends = Vec::new();
        for (value, block) in [(true, accept), (false, reject)] {
            self.set_locals(locals.clone());
            let Some(path) = before.narrow(&condition, value) else { continue };
            self.path = path;
            if self.block(block) {
                ends.push((self.path.clone(), self.locals()));
            }
        }
        let some_left = std::mem::replace(&mut self.left, left);
        self.left |= some_left;
        match (ends.pop(), ends.pop()) {
            (None, _) => false,
            (Some((path, locals)), None) => {
                self.path = path;
                self.set_locals(locals);
                true
            }
            (Some((_, rejected)), Some((_, accepted))) => {
                self.path = before;
                self.path.certain &= !some_left;
                self.join(&condition, accepted, rejected);
                true
            }
        }
    }

    fn join(&mut self, condition: &Cond, accepted: Locals, rejected: Locals) {
        let one = |(accept, reject): (Value, Value)| {
            self.either(condition, accept, reject).unwrap_or(Value::Opaque)
        };
        let frame =
            |(accept, reject): (Vec<Value>, Vec<Value>)| accept.into_iter().zip(reject).map(one).collect();
        let joined = accepted.into_iter().zip(rejected).map(frame).collect();
        self.set_locals(joined);
    }

    /// Which case runs is not followed.
    fn switch(&mut self, cases: &'a [SwitchCase]) {
        let assigned: Vec<_> = cases.iter().flat_map(|case| self.assigned(&case.body)).collect();
        let (before, left) = (self.path.clone(), std::mem::replace(&mut self.left, false));
        for case in cases {
            assigned.iter().for_each(|(depth, variable)| self.forget(*depth, *variable));
            self.path = Path { certain: false, ..before.clone() };
            self.block(&case.body);
        }
        assigned.iter().for_each(|(depth, variable)| self.forget(*depth, *variable));
        self.path = before;
        self.path.certain &= !self.left;
        self.left |= left;
    }
}
