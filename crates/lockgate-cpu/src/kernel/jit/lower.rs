//! How naga's functions become one tree of statements over scalars: calls, control flow, variables.
//!
//! Expressions are in `expression`, built-in functions in `math`. Everything that has no rule here is refused by
//! name, and the interpreter takes the kernel.

use std::collections::HashMap;

use naga::{
    AddressSpace, Block, Expression, Function, Handle, LocalVariable, Module, Statement, SwitchCase,
    SwitchValue, Type, valid::FunctionInfo,
};

use super::{
    super::{layout, number::Num, reflect::Globals, subgroup},
    dynamic::Dynamic,
    ir::{Array, Builtin, Id, Info, Label, Memory, Op, Place, Program, Resource, Stmt, Var},
};

/// What the compiler has no rule for.
pub(super) type Refusal = &'static str;

/// More statements than this are left to the interpreter.
const STATEMENTS_MAX: usize = 50_000;
/// Values and variables of more scalars than this live in memory.
pub(super) const SCALARS_MAX: usize = 64;

/// What an expression was lowered to.
#[derive(Clone, Debug)]
pub(super) enum Lowered {
    Data(Vec<Id>),
    /// Scalars of a variable, from the given one on.
    Vars(Var),
    Place(Place),
    Resource(Resource),
    /// An array of bindings: its slot, and whether it is one of buffers that are only read.
    Bindings {
        slot: u32,
        buffers: Option<bool>,
    },
}

/// One function instance.
pub(super) struct Scope<'m> {
    pub(super) function: &'m Function,
    pub(super) info: &'m FunctionInfo,
    pub(super) values: Vec<Option<Lowered>>,
    pub(super) arguments: Vec<Lowered>,
    pub(super) locals: Vec<Lowered>,
    result: Vec<Var>,
    end: Label,
    break_to: Option<Label>,
    continue_to: Option<Label>,
}

pub(super) struct Lowering<'m> {
    pub(super) module: &'m Module,
    info: &'m naga::valid::ModuleInfo,
    pub(super) globals: &'m Globals,
    dynamic: Dynamic,
    pub(super) program: Program,
    /// The lists that are open, innermost last.
    lists: Vec<Vec<Stmt>>,
    pub(super) scopes: Vec<Scope<'m>>,
    constants: HashMap<(u64, u8), Id>,
    privates: HashMap<usize, Lowered>,
    statements: usize,
    /// Names of the variables that are arrays of each invocation, in a kernel that tells a recorder.
    pub(super) array_names: HashMap<u32, String>,
    /// The statement or expression that is lowered.
    pub(super) at: naga::Span,
}

/// Lowers entry point number `entry`.
pub(super) fn lower(
    module: &Module,
    info: &naga::valid::ModuleInfo,
    entry: usize,
    globals: &Globals,
    observed: bool,
) -> Result<Program, Refusal> {
    let point = &module.entry_points[entry];
    let mut lowering = Lowering {
        module,
        info,
        globals,
        dynamic: Dynamic::new(module),
        program: Program {
            workgroup_size: point.workgroup_size,
            shared_bytes: globals.shared_bytes,
            immediate_bytes: immediate_bytes(module),
            observed,
            ..Program::default()
        },
        lists: vec![Vec::new()],
        scopes: Vec::new(),
        constants: HashMap::new(),
        privates: HashMap::new(),
        statements: 0,
        array_names: HashMap::new(),
        at: naga::Span::UNDEFINED,
    };
    lowering.privates()?;
    let mut arguments = Vec::new();
    for argument in &point.function.arguments {
        arguments.push(lowering.entry_argument(argument)?);
    }
    lowering.call(&point.function, info.get_entry_point(entry), arguments)?;
    lowering.program.body = lowering.lists.pop().unwrap_or_default();
    super::tidy::drop_dead_inits(&mut lowering.program);
    super::site::find_turns(&mut lowering.program);
    super::passes::unroll(&mut lowering.program);
    super::tidy::unify(&mut lowering.program);
    Ok(lowering.program)
}

fn immediate_bytes(module: &Module) -> u32 {
    let immediates = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::Immediate);
    immediates.filter_map(|(_, v)| layout::size(module, v.ty)).max().unwrap_or(0)
}

impl<'m> Lowering<'m> {
    pub(super) fn emit(&mut self, stmt: Stmt) {
        self.statements += 1;
        if let Some(list) = self.lists.last_mut() {
            list.push(stmt);
        }
    }

    /// The statements that `fill` emits.
    fn list(&mut self, fill: impl FnOnce(&mut Self) -> Result<(), Refusal>) -> Result<Vec<Stmt>, Refusal> {
        self.lists.push(Vec::new());
        let result = fill(self);
        let list = self.lists.pop().unwrap_or_default();
        result.map(|()| list)
    }

    pub(super) fn new_id(&mut self, num: Num) -> Id {
        self.program.ids.push(Info { num, constant: None });
        Id(self.program.ids.len() as u32 - 1)
    }

    pub(super) fn constant(&mut self, num: Num, bits: u64) -> Id {
        let ids = &mut self.program.ids;
        *self.constants.entry((bits, num as u8)).or_insert_with(|| {
            ids.push(Info { num, constant: Some(bits) });
            Id(ids.len() as u32 - 1)
        })
    }

    pub(super) fn op(&mut self, num: Num, op: Op) -> Id {
        let id = self.new_id(num);
        self.emit(Stmt::Let(id, op));
        id
    }

    fn new_label(&mut self) -> Label {
        self.program.labels += 1;
        Label(self.program.labels - 1)
    }

    pub(super) fn new_vars(&mut self, nums: impl IntoIterator<Item = Num>) -> Var {
        let first = Var(self.program.vars.len() as u32);
        self.program.vars.extend(nums);
        first
    }

    pub(super) fn new_array(&mut self, bytes: u32, words: bool) -> Result<u32, Refusal> {
        if bytes > 1 << 20 {
            return Err("an array of more than 1 MiB in each invocation");
        }
        self.program.arrays.push(Array { size: bytes.next_multiple_of(16), words });
        Ok(self.program.arrays.len() as u32 - 1)
    }

    pub(super) fn scope(&self) -> Result<&Scope<'m>, Refusal> {
        self.scopes.last().ok_or("a statement outside a function")
    }

    pub(super) fn scope_mut(&mut self) -> Result<&mut Scope<'m>, Refusal> {
        self.scopes.last_mut().ok_or("a statement outside a function")
    }

    /// The scalar types of a type of data.
    pub(super) fn nums(&self, ty: Handle<Type>) -> Result<Vec<Num>, Refusal> {
        let inner = &self.module.types[ty].inner;
        if layout::leaf_count(self.module, inner) > 4096 {
            return Err("a value of more than 4096 scalars");
        }
        let leaves = layout::leaves(self.module, inner).ok_or("a value of this type")?;
        Ok(leaves.iter().map(|leaf| leaf.num).collect())
    }

    fn entry_argument(&mut self, argument: &naga::FunctionArgument) -> Result<Lowered, Refusal> {
        let mut bindings: Vec<_> = argument.binding.iter().collect();
        if let naga::TypeInner::Struct { members, .. } = &self.module.types[argument.ty].inner {
            bindings.extend(members.iter().filter_map(|member| member.binding.as_ref()));
        }
        let mut ids = Vec::new();
        for binding in bindings {
            use naga::BuiltIn as B;
            let naga::Binding::BuiltIn(builtin) = *binding else { return Err("this argument") };
            let make: fn(usize) -> Builtin = match builtin {
                B::GlobalInvocationId => Builtin::GlobalId,
                B::LocalInvocationId => Builtin::LocalId,
                B::WorkGroupId => Builtin::GroupId,
                B::NumWorkGroups => Builtin::GridSize,
                B::LocalInvocationIndex => {
                    ids.push(self.op(Num::U32, Op::Builtin(Builtin::LocalIndex)));
                    continue;
                }
                B::WorkGroupSize => {
                    for size in self.program.workgroup_size {
                        ids.push(self.constant(Num::U32, size.into()));
                    }
                    continue;
                }
                B::SubgroupId | B::SubgroupInvocationId => {
                    self.program.subgroups = true;
                    let lane = builtin == B::SubgroupInvocationId;
                    let builtin = if lane { Builtin::SubgroupLane } else { Builtin::SubgroupId };
                    ids.push(self.op(Num::U32, Op::Builtin(builtin)));
                    continue;
                }
                B::SubgroupSize | B::NumSubgroups => {
                    let count = self.program.invocations().div_ceil(subgroup::SIZE);
                    let value = if builtin == B::SubgroupSize { subgroup::SIZE } else { count };
                    ids.push(self.constant(Num::U32, value.into()));
                    continue;
                }
                _ => return Err("this built-in value"),
            };
            for axis in 0..3 {
                ids.push(self.op(Num::U32, Op::Builtin(make(axis))));
            }
        }
        Ok(Lowered::Data(ids))
    }

    /// A variable of each invocation: scalars of its own, or memory if an index chooses from it.
    fn variable(&mut self, ty: Handle<Type>, indexed: bool) -> Result<Lowered, Refusal> {
        let count = layout::leaf_count(self.module, &self.module.types[ty].inner);
        if !indexed && count <= SCALARS_MAX {
            let nums = self.nums(ty)?;
            return Ok(Lowered::Vars(self.new_vars(nums)));
        }
        let leaves =
            layout::leaves(self.module, &self.module.types[ty].inner).ok_or("a variable of this type")?;
        let words = leaves.iter().all(|leaf| leaf.num.bytes() == 4);
        let bytes = layout::size(self.module, ty).ok_or("a variable of this size")?;
        let memory = Memory::Array(self.new_array(bytes, words)?);
        Ok(Lowered::Place(Place { memory, offset: 0, indices: Vec::new(), site: None }))
    }

    fn zero(&mut self, variable: &Lowered, ty: Handle<Type>) -> Result<(), Refusal> {
        match variable {
            Lowered::Vars(first) => {
                for (i, num) in self.nums(ty)?.into_iter().enumerate() {
                    let zero = self.constant(num, 0);
                    self.emit(Stmt::Set(Var(first.0 + i as u32), zero));
                }
            }
            Lowered::Place(Place { memory: Memory::Array(array), .. }) => self.emit(Stmt::Zero(*array)),
            _ => return Err("a variable of this kind"),
        }
        Ok(())
    }

    fn privates(&mut self) -> Result<(), Refusal> {
        for (handle, variable) in self.module.global_variables.iter() {
            if variable.space != AddressSpace::Private || self.globals.place(handle).is_none() {
                continue;
            }
            let indexed = self.dynamic.global(handle);
            let lowered = self.variable(variable.ty, indexed)?;
            self.name_array(&lowered, variable.name.as_ref());
            match variable.init {
                Some(init) => {
                    let value = self.global_expression(init)?;
                    self.write(&lowered, variable.ty, &value)?;
                }
                None => self.zero(&lowered, variable.ty)?,
            }
            self.privates.insert(handle.index(), lowered);
        }
        Ok(())
    }

    /// Writes all scalars of a variable.
    fn write(&mut self, variable: &Lowered, ty: Handle<Type>, value: &[Id]) -> Result<(), Refusal> {
        match variable {
            Lowered::Vars(first) => {
                for (i, id) in value.iter().enumerate() {
                    self.emit(Stmt::Set(Var(first.0 + i as u32), *id));
                }
            }
            Lowered::Place(place) => {
                let leaves = layout::leaves(self.module, &self.module.types[ty].inner)
                    .ok_or("a variable of this type")?;
                let from = leaves.iter().zip(value).map(|(leaf, id)| (leaf.offset, *id)).collect();
                self.emit(Stmt::Store { place: place.clone(), from });
            }
            _ => return Err("a variable of this kind"),
        }
        Ok(())
    }

    pub(super) fn private(&self, handle: Handle<naga::GlobalVariable>) -> Result<Lowered, Refusal> {
        self.privates.get(&handle.index()).cloned().ok_or("a private variable that is not used")
    }

    /// Inlines a function and gives the variables with its result.
    fn call(
        &mut self,
        function: &'m Function,
        info: &'m FunctionInfo,
        arguments: Vec<Lowered>,
    ) -> Result<Vec<Var>, Refusal> {
        let end = self.new_label();
        let result = match &function.result {
            Some(result) => {
                let nums = self.nums(result.ty)?;
                let first = self.new_vars(nums.iter().copied());
                (0..nums.len() as u32).map(|i| Var(first.0 + i)).collect()
            }
            None => Vec::new(),
        };
        self.scopes.push(Scope {
            function,
            info,
            values: vec![None; function.expressions.len()],
            arguments,
            locals: Vec::new(),
            result: result.clone(),
            end,
            break_to: None,
            continue_to: None,
        });
        let mut body = self.list(|this| {
            for (handle, variable) in function.local_variables.iter() {
                this.local(function, handle, variable)?;
            }
            this.block(&function.body)
        })?;
        self.scopes.pop();
        // The end of the block is where a return at its end goes anyway.
        body.pop_if(|last| matches!(last, Stmt::Exit(label) if *label == end));
        self.emit(Stmt::Block { label: end, body });
        Ok(result)
    }

    fn local(
        &mut self,
        function: &'m Function,
        handle: Handle<LocalVariable>,
        variable: &LocalVariable,
    ) -> Result<(), Refusal> {
        let indexed = self.dynamic.local(function, handle);
        let lowered = self.variable(variable.ty, indexed)?;
        self.name_array(&lowered, variable.name.as_ref());
        match variable.init {
            Some(init) => {
                let value = self.data(init)?;
                self.write(&lowered, variable.ty, &value)?;
            }
            None => self.zero(&lowered, variable.ty)?,
        }
        self.scope_mut()?.locals.push(lowered);
        Ok(())
    }

    /// Lowers statements up to one that leaves.
    fn block(&mut self, block: &'m Block) -> Result<(), Refusal> {
        for (statement, span) in block.span_iter() {
            if self.statements > STATEMENTS_MAX {
                return Err("a kernel of this size");
            }
            self.statement(statement, *span)?;
            if matches!(self.lists.last().and_then(|list| list.last()), Some(Stmt::Exit(_))) {
                break;
            }
        }
        Ok(())
    }

    fn statement(&mut self, statement: &'m Statement, span: naga::Span) -> Result<(), Refusal> {
        self.at = span;
        match *statement {
            Statement::Emit(ref range) => {
                for handle in range.clone() {
                    let lowered = self.expression(handle)?;
                    self.scope_mut()?.values[handle.index()] = Some(lowered);
                }
            }
            Statement::Block(ref block) => self.block(block)?,
            Statement::If { condition, ref accept, ref reject } => {
                let condition = self.scalar(condition)?;
                let accept = self.list(|this| this.block(accept))?;
                let reject = self.list(|this| this.block(reject))?;
                self.emit(Stmt::If { condition, accept, reject });
            }
            Statement::Switch { selector, ref cases } => self.switch(selector, cases)?,
            Statement::Loop { ref body, ref continuing, break_if } => {
                self.repeat(body, continuing, break_if)?
            }
            Statement::Break => self.exit(self.scope()?.break_to)?,
            Statement::Continue => self.exit(self.scope()?.continue_to)?,
            Statement::Return { value } => {
                if let Some(value) = value {
                    let value = self.data(value)?;
                    for (var, id) in self.scope()?.result.clone().into_iter().zip(value) {
                        self.emit(Stmt::Set(var, id));
                    }
                }
                self.exit(Some(self.scope()?.end))?;
            }
            // Invocations of a subgroup run at once.
            Statement::ControlBarrier(naga::Barrier::SUB_GROUP) => {
                self.program.subgroups = true;
                // Who records takes it for one of the workgroup, as the interpreter has it.
                if self.program.observed {
                    self.emit(Stmt::Barrier(naga::Barrier::all()));
                }
            }
            Statement::ControlBarrier(flags) => self.emit(Stmt::Barrier(flags)),
            Statement::MemoryBarrier(_) => {}
            Statement::Call { function, ref arguments, result } => {
                let arguments =
                    arguments.iter().map(|argument| self.value(*argument)).collect::<Result<Vec<_>, _>>()?;
                let callee = &self.module.functions[function];
                let vars = self.call(callee, &self.info[function], arguments)?;
                if let Some(result) = result {
                    let ids =
                        vars.iter().map(|var| self.op(self.program.vars[var.at()], Op::Get(*var))).collect();
                    self.scope_mut()?.values[result.index()] = Some(Lowered::Data(ids));
                }
            }
            _ => self.effect(statement, span)?,
        }
        Ok(())
    }

    fn exit(&mut self, label: Option<Label>) -> Result<(), Refusal> {
        self.emit(Stmt::Exit(label.ok_or("a break outside a loop")?));
        Ok(())
    }

    fn repeat(
        &mut self,
        body: &'m Block,
        continuing: &'m Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<(), Refusal> {
        let (label, next) = (self.new_label(), self.new_label());
        let scope = self.scope_mut()?;
        let outer = (scope.break_to.replace(label), scope.continue_to.replace(next));
        let list = self.list(|this| {
            let body = this.list(|this| this.block(body))?;
            let leaves = |stmt: &Stmt| matches!(stmt, Stmt::Exit(label) if *label == next);
            if body.iter().any(|stmt| stmt.any(&mut |stmt| leaves(stmt))) {
                this.emit(Stmt::Block { label: next, body });
            } else {
                // Without `continue` the form of a plain `for` shows.
                body.into_iter().for_each(|stmt| this.emit(stmt));
            }
            this.block(continuing)?;
            if let Some(condition) = break_if {
                let condition = this.scalar(condition)?;
                this.emit(Stmt::If { condition, accept: vec![Stmt::Exit(label)], reject: Vec::new() });
            }
            Ok(())
        })?;
        let scope = self.scope_mut()?;
        (scope.break_to, scope.continue_to) = outer;
        self.emit(Stmt::Loop { label, body: list });
        Ok(())
    }

    /// A chain of comparisons inside a block that `break` leaves.
    fn switch(&mut self, selector: Handle<Expression>, cases: &'m [SwitchCase]) -> Result<(), Refusal> {
        let selector = self.scalar(selector)?;
        let label = self.new_label();
        let scope = self.scope_mut()?;
        let outer = scope.break_to.replace(label);
        let body = self.list(|this| this.cases(selector, cases, 0))?;
        self.scope_mut()?.break_to = outer;
        self.emit(Stmt::Block { label, body });
        Ok(())
    }

    /// Cases from number `first` on: those that share a body by falling into it, then the others.
    fn cases(&mut self, selector: Id, cases: &'m [SwitchCase], first: usize) -> Result<(), Refusal> {
        let Some(last) =
            (first..cases.len()).find(|i| !(cases[*i].fall_through && cases[*i].body.is_empty()))
        else {
            return self.default_case(cases);
        };
        let group = &cases[first..=last];
        let mut condition = None;
        for case in group {
            let wanted = match case.value {
                SwitchValue::I32(value) => self.constant(Num::I32, (value as u32).into()),
                SwitchValue::U32(value) => self.constant(Num::U32, value.into()),
                SwitchValue::Default => continue,
            };
            let equal = self.op(Num::Bool, Op::Binary(super::ir::Binary::Equal, selector, wanted));
            condition = Some(match condition {
                None => equal,
                Some(other) => self.op(Num::Bool, Op::Binary(super::ir::Binary::Or, other, equal)),
            });
        }
        let Some(condition) = condition else { return self.cases(selector, cases, last + 1) };
        let accept = self.list(|this| this.case_body(cases, last))?;
        let reject = self.list(|this| this.cases(selector, cases, last + 1))?;
        self.emit(Stmt::If { condition, accept, reject });
        Ok(())
    }

    fn case_body(&mut self, cases: &'m [SwitchCase], index: usize) -> Result<(), Refusal> {
        for case in &cases[index..] {
            self.block(&case.body)?;
            if !case.fall_through {
                break;
            }
        }
        Ok(())
    }

    fn default_case(&mut self, cases: &'m [SwitchCase]) -> Result<(), Refusal> {
        match cases.iter().position(|case| case.value == SwitchValue::Default) {
            Some(index) => self.case_body(cases, index),
            None => Ok(()),
        }
    }

    fn effect(&mut self, statement: &'m Statement, span: naga::Span) -> Result<(), Refusal> {
        match *statement {
            Statement::Store { pointer, value } => self.store(pointer, value, span),
            Statement::Atomic { pointer, fun, value, result } => {
                self.atomic(pointer, fun, value, result, span)
            }
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.emit(Stmt::Barrier(naga::Barrier::WORK_GROUP));
                let ids = self.load(pointer, span, true)?;
                self.emit(Stmt::Barrier(naga::Barrier::WORK_GROUP));
                self.scope_mut()?.values[result.index()] = Some(Lowered::Data(ids));
                Ok(())
            }
            Statement::ImageStore { image, coordinate, array_index, value } => {
                self.image_store(image, coordinate, array_index, value)
            }
            Statement::ImageAtomic { image, coordinate, array_index, fun, value } => {
                self.image_atomic(image, coordinate, array_index, (fun, value))
            }
            Statement::SubgroupBallot { result, predicate } => {
                let ids = self.subgroup_ballot(predicate)?;
                self.computed(result, ids)
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let ids = self.subgroup_collective(op, collective_op, argument)?;
                self.computed(result, ids)
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let ids = self.subgroup_gather(mode, argument)?;
                self.computed(result, ids)
            }
            _ => Err("this statement"),
        }
    }

    fn computed(&mut self, result: Handle<Expression>, ids: Vec<Id>) -> Result<(), Refusal> {
        self.scope_mut()?.values[result.index()] = Some(Lowered::Data(ids));
        Ok(())
    }
}
