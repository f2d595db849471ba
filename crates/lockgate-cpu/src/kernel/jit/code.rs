//! The frame of a compiled kernel: its context, its loops over invocations, and what runs once for the workgroup.

use cranelift_codegen::{
    ir::{Block, BlockArg, InstBuilder, MemFlagsData, Type, Value, condcodes::IntCC, types},
    isa::TargetFrontendConfig,
};
use cranelift_frontend::{FunctionBuilder, Variable};

use super::{
    super::number::Num,
    counted::Counted,
    ir::{Id, Label, Program, Stmt, Var},
    near::Near,
    plan::{Plan, Region, Step},
    rows::Rows,
    shape::{Shape, Shapes},
};

/// No arguments for a block.
pub(super) const NONE: &[BlockArg] = &[];

/// What a kernel is called with; machine code reads it by offset.
#[repr(C)]
pub(super) struct Context {
    pub(super) slots: *const Slot,
    pub(super) objects: *const super::super::binding::Binding,
    pub(super) shared: *mut u8,
    pub(super) scratch: *mut u8,
    pub(super) immediates: *const u8,
    pub(super) constants: *const u8,
    pub(super) stop: *const u8,
    /// A [`Watcher`](super::told::Watcher), for code that tells what it does.
    pub(super) watcher: *mut u8,
    /// Its [`Open`](super::told::Open), one for each place.
    pub(super) open: *mut u8,
    pub(super) group: [u32; 3],
    pub(super) grid: [u32; 3],
    pub(super) threads: [u32; 3],
    /// Linear number of the first invocation of the workgroup, from 1, for code that tells what it does.
    pub(super) first_invocation: [u32; 3],
}

/// What machine code knows of a bound buffer.
#[repr(C)]
pub(super) struct Slot {
    pub(super) pointer: *mut u8,
    /// Elements of its runtime-sized array; at least one.
    pub(super) count: u32,
    /// How many of them have three more behind: from there, four lanes find all of theirs.
    pub(super) whole_quads: u32,
    /// Of a texture; its texels start at `pointer`.
    pub(super) plane: Plane,
}

/// What machine code knows of the largest level of a 2D texture.
#[repr(C)]
#[derive(Default)]
pub(super) struct Plane {
    pub(super) row_pitch: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    /// One of [`plane`]; zero if machine code does not know it.
    pub(super) format: u32,
}

/// Formats of a [`Plane`].
pub(super) mod plane {
    pub(in super::super) const RGBA8_UNORM: u32 = 1;
    pub(in super::super) const RGBA32_FLOAT: u32 = 2;
    pub(in super::super) const R32_FLOAT: u32 = 3;
}

/// The registers with a [`Plane`].
#[derive(Clone, Copy)]
pub(super) struct PlaneValues {
    pub(super) row_pitch: Value,
    pub(super) width: Value,
    pub(super) height: Value,
    pub(super) format: Value,
}

/// The registers with a [`Slot`].
#[derive(Clone, Copy)]
pub(super) struct SlotValues {
    pub(super) pointer: Value,
    pub(super) count: Value,
    pub(super) whole_quads: Value,
    /// If it is a texture.
    pub(super) plane: Option<PlaneValues>,
}

/// Offset of a field of [`Context`].
macro_rules! context {
    ($field:ident) => {
        std::mem::offset_of!($crate::kernel::jit::code::Context, $field) as i32
    };
}
pub(super) use context;

/// A value in registers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Val {
    /// The same in each lane.
    Scalar(Value),
    /// This in the first lane, one more in each next one.
    Linear(Value),
    /// One register for all lanes; `bool` is all ones or all zeros.
    Vector(Value),
}

/// An open list of statements that can be left.
pub(super) struct Scope {
    pub(super) label: Option<Label>,
    /// Where those that leave to the label go.
    pub(super) exit: Block,
    /// Which lanes are in here, if they are not the same as outside.
    pub(super) mask: Option<Variable>,
    /// At this point of the code, the mask is known to have all lanes.
    pub(super) full: bool,
}

pub(super) struct Emitter<'a, 'f> {
    pub(super) b: FunctionBuilder<'f>,
    pub(super) program: &'a Program,
    pub(super) shapes: &'a Shapes,
    pub(super) rows: &'a Rows,
    pub(super) counted: &'a Counted,
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a Scratch,
    pub(super) lanes: u32,
    /// Fields of the context by offset, and those of each slot; loaded once at the start.
    fields: Vec<(i32, Value)>,
    pub(super) slots: Vec<SlotValues>,
    pub(super) values: Vec<Option<Val>>,
    /// What is known of those that vary as linear ones.
    pub(super) nearly_linear: Vec<Option<Near>>,
    /// Values that are used outside the list that computes them.
    pub(super) escaping: Vec<Option<Variable>>,
    pub(super) vars: Vec<Variable>,
    pub(super) scopes: Vec<Scope>,
    /// The linear index of the first invocation that runs now.
    pub(super) first: Option<Value>,
    pub(super) stopped: Block,
    /// Which site the texture operation that is emitted now is.
    pub(super) texel_site: Option<u32>,
    /// Statements that may still be emitted twice.
    pub(super) budget: usize,
    partial: bool,
}

/// Where the memory of invocations lies in the scratch area.
pub(super) struct Scratch {
    pub(super) arrays: Vec<u32>,
    pub(super) slots: u32,
    pub(super) bytes: u32,
}

impl Scratch {
    /// `count`: invocations whose memory has to exist at once.
    pub(super) fn new(program: &Program, plan: &Plan, lanes: u32) -> Option<Self> {
        let invocations = program.workgroup_size.iter().product::<u32>();
        let count = if plan.barriers { invocations } else { lanes };
        let mut next = 0u32;
        let mut arrays = Vec::new();
        for bytes in &program.arrays {
            arrays.push(next);
            next = next.checked_add(bytes.checked_mul(count)?)?;
        }
        let slots = next;
        let bytes = slots.checked_add(plan.slots.checked_mul(8)?.checked_mul(invocations)?)?;
        (bytes <= 1 << 28).then_some(Self { arrays, slots, bytes })
    }
}

/// What one compilation is for.
pub(super) struct Variant<'a> {
    pub(super) program: &'a Program,
    pub(super) shapes: &'a Shapes,
    pub(super) rows: &'a Rows,
    pub(super) counted: &'a Counted,
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a Scratch,
    pub(super) lanes: u32,
    /// Slots of the kernel.
    pub(super) slots: usize,
    /// Leave out invocations beyond `Context::threads`.
    pub(super) partial: bool,
}

pub(super) fn scalar_type(num: Num) -> Type {
    match num {
        Num::Bool => types::I8,
        Num::F32 => types::F32,
        Num::F64 => types::F64,
        Num::I64 | Num::U64 => types::I64,
        _ => types::I32,
    }
}

pub(super) fn vector_type(num: Num) -> Type {
    if num == Num::F32 { types::F32X4 } else { types::I32X4 }
}

/// Flags of a load or store inside the memory that it belongs to.
pub(super) fn flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// Flags of a load of what does not change during a call.
pub(super) fn constant_flags() -> MemFlagsData {
    flags().with_readonly().with_can_move()
}

/// Emits the whole function.
pub(super) fn emit(mut b: FunctionBuilder<'_>, config: TargetFrontendConfig, variant: &Variant<'_>) {
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let context = b.block_params(entry)[0];
    let stopped = b.create_block();
    let shapes = variant.shapes;
    let lanes = variant.lanes;
    let ty = |num: Num, shape: Shape| if shape.is_scalar() { scalar_type(num) } else { vector_type(num) };
    let vars =
        variant.program.vars.iter().zip(&shapes.vars).map(|(num, shape)| b.declare_var(ty(*num, *shape)));
    let vars = vars.collect();
    let escaping = escaping(variant.program);
    let escaping = escaping
        .iter()
        .enumerate()
        .map(|(i, escapes)| {
            let (num, shape) = (variant.program.ids[i].num, shapes.ids[i]);
            let linear = shape == Shape::Linear;
            escapes.then(|| b.declare_var(if linear { types::I32 } else { ty(num, shape) }))
        })
        .collect();
    let fields = load_fields(&mut b, context);
    let slots = load_slots(&mut b, &fields, variant);
    let mut emitter = Emitter {
        b,
        program: variant.program,
        shapes,
        rows: variant.rows,
        counted: variant.counted,
        plan: variant.plan,
        layout: variant.layout,
        lanes,
        fields,
        slots,
        values: vec![None; variant.program.ids.len()],
        nearly_linear: vec![None; variant.program.ids.len()],
        escaping,
        vars,
        scopes: Vec::new(),
        first: None,
        stopped,
        texel_site: None,
        budget: 300,
        partial: variant.partial,
    };
    if emitter.steps(&variant.plan.steps) {
        emitter.finish(0);
    }
    emitter.b.switch_to_block(stopped);
    emitter.finish(1);
    emitter.b.seal_all_blocks();
    emitter.b.finalize(config);
}

/// Loads what the kernel is called with. Without leave to move them, the loads stay ahead of all loops.
fn load_fields(b: &mut FunctionBuilder<'_>, context: Value) -> Vec<(i32, Value)> {
    let pointers = [
        context!(slots),
        context!(objects),
        context!(shared),
        context!(scratch),
        context!(immediates),
        context!(constants),
        context!(stop),
        context!(watcher),
        context!(open),
    ];
    let triples = [context!(group), context!(grid), context!(threads), context!(first_invocation)];
    let words = triples.iter().flat_map(|first| (0..3).map(move |axis| first + 4 * axis));
    let mut fields = Vec::new();
    for (ty, offset) in
        pointers.map(|at| (types::I64, at)).into_iter().chain(words.map(|at| (types::I32, at)))
    {
        fields.push((offset, b.ins().load(ty, flags(), context, offset)));
    }
    fields
}

fn load_slots(
    b: &mut FunctionBuilder<'_>,
    fields: &[(i32, Value)],
    variant: &Variant<'_>,
) -> Vec<SlotValues> {
    use std::mem::offset_of;
    let mut textures = vec![false; variant.slots];
    let mut find = |stmt: &Stmt| {
        if let Stmt::Image { slot, .. } = stmt {
            textures[*slot as usize] = true;
        }
        false
    };
    variant.program.body.iter().for_each(|stmt| {
        stmt.any(&mut find);
    });
    let table = fields[0].1;
    let mut load = |ty, slot: usize, offset: usize| {
        b.ins().load(ty, flags(), table, (slot * size_of::<Slot>() + offset) as i32)
    };
    let mut plane = |slot: usize, field: usize, ty| load(ty, slot, offset_of!(Slot, plane) + field);
    let planes: Vec<Option<PlaneValues>> = (0..variant.slots)
        .map(|slot| {
            textures[slot].then(|| PlaneValues {
                row_pitch: plane(slot, offset_of!(Plane, row_pitch), types::I64),
                width: plane(slot, offset_of!(Plane, width), types::I32),
                height: plane(slot, offset_of!(Plane, height), types::I32),
                format: plane(slot, offset_of!(Plane, format), types::I32),
            })
        })
        .collect();
    let slots = planes.into_iter().enumerate();
    slots
        .map(|(slot, plane)| SlotValues {
            pointer: load(types::I64, slot, offset_of!(Slot, pointer)),
            count: load(types::I32, slot, offset_of!(Slot, count)),
            whole_quads: load(types::I32, slot, offset_of!(Slot, whole_quads)),
            plane,
        })
        .collect()
}

/// Values with a use outside the list of statements that computes them.
fn escaping(program: &Program) -> Vec<bool> {
    struct Find {
        list_of: Vec<Option<u32>>,
        escapes: Vec<bool>,
        next: u32,
    }
    fn walk(find: &mut Find, list: &[Stmt], open: &mut Vec<u32>) {
        for stmt in list {
            for id in stmt.uses() {
                if find.list_of[id.at()].is_some_and(|home| !open.contains(&home)) {
                    find.escapes[id.at()] = true;
                }
            }
            for id in stmt.defines() {
                find.list_of[id.at()] = open.last().copied();
            }
            for inner in stmt.lists() {
                find.next += 1;
                open.push(find.next);
                walk(find, inner, open);
                open.pop();
            }
        }
    }
    let count = program.ids.len();
    let mut find = Find { list_of: vec![None; count], escapes: vec![false; count], next: 0 };
    walk(&mut find, &program.body, &mut vec![0]);
    find.escapes
}

impl Emitter<'_, '_> {
    fn finish(&mut self, result: i64) {
        let result = self.b.ins().iconst(types::I32, result);
        self.b.ins().return_(&[result]);
    }

    /// A field of the context.
    pub(super) fn field(&self, offset: i32) -> Value {
        self.fields.iter().find(|(at, _)| *at == offset).map_or(self.fields[0].1, |(_, value)| *value)
    }

    pub(super) fn int(&mut self, value: u32) -> Value {
        self.b.ins().iconst(types::I32, i64::from(value))
    }

    /// Starts a block that is complete.
    pub(super) fn start(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    /// Leaves the kernel when the launch is to be stopped.
    pub(super) fn poll(&mut self) {
        let stop = self.field(context!(stop));
        let stop = self.b.ins().load(types::I8, flags(), stop, 0);
        let next = self.b.create_block();
        self.b.ins().brif(stop, self.stopped, NONE, next, NONE);
        self.start(next);
    }

    /// Emits steps; false if the end is not reached.
    fn steps(&mut self, steps: &[Step]) -> bool {
        for step in steps {
            match step {
                Step::Region(region) => self.region(region),
                Step::Once(stmt) => {
                    self.stmt(stmt);
                }
                Step::If { condition, accept, reject } => {
                    let condition = self.scalar(*condition);
                    let [yes, no, end] = [(); 3].map(|()| self.b.create_block());
                    self.b.ins().brif(condition, yes, NONE, no, NONE);
                    for (block, steps) in [(yes, accept), (no, reject)] {
                        self.start(block);
                        if self.steps(steps) {
                            self.b.ins().jump(end, NONE);
                        }
                    }
                    self.start(end);
                }
                Step::Block { label, body } => {
                    let exit = self.b.create_block();
                    self.group_scope(*label, exit, body, exit);
                    self.start(exit);
                }
                Step::Loop { label, body } => {
                    let [header, exit] = [(); 2].map(|()| self.b.create_block());
                    self.b.ins().jump(header, NONE);
                    self.b.switch_to_block(header);
                    if !self.counted.is_short(*label) {
                        self.poll();
                    }
                    self.group_scope(*label, exit, body, header);
                    self.b.seal_block(header);
                    self.start(exit);
                }
                Step::Exit(label) => {
                    let exit = self.scopes.iter().rev().find(|scope| scope.label == Some(*label));
                    if let Some(exit) = exit.map(|scope| scope.exit) {
                        self.b.ins().jump(exit, NONE);
                        return false;
                    }
                }
            }
        }
        true
    }

    fn group_scope(&mut self, label: Label, exit: Block, body: &[Step], next: Block) {
        self.scopes.push(Scope { label: Some(label), exit, mask: None, full: true });
        if self.steps(body) {
            self.b.ins().jump(next, NONE);
        }
        self.scopes.pop();
    }

    /// A loop over all invocations of the workgroup.
    fn region(&mut self, region: &Region) {
        let count = self.program.workgroup_size.iter().product::<u32>();
        let [header, body, next, exit] = [(); 4].map(|()| self.b.create_block());
        let index = self.b.declare_var(types::I32);
        let zero = self.int(0);
        self.b.def_var(index, zero);
        self.b.ins().jump(header, NONE);
        self.b.switch_to_block(header);
        let first = self.b.use_var(index);
        // Cranelift hoists out of a loop only while it has not yet seen where the loop is left; it follows the
        // second target of a branch first.
        let done = self.b.ins().icmp_imm_s(IntCC::UnsignedGreaterThanOrEqual, first, i64::from(count));
        self.b.ins().brif(done, exit, NONE, body, NONE);
        self.start(body);
        self.first = Some(first);
        let outer = std::mem::take(&mut self.scopes);
        if self.partial {
            self.skip_absent(next);
        }
        self.fetch(region);
        let end = self.b.create_block();
        self.invocations(&region.body, end);
        self.start(end);
        self.put(region);
        self.b.ins().jump(next, NONE);
        self.start(next);
        let first = self.b.use_var(index);
        let after = self.b.ins().iadd_imm_s(first, i64::from(self.lanes));
        self.b.def_var(index, after);
        self.b.ins().jump(header, NONE);
        self.b.seal_block(header);
        self.start(exit);
        self.first = None;
        self.scopes = outer;
        for (value, slot) in self.values.iter_mut().zip(&self.plan.id_slots) {
            if slot.is_some() {
                *value = None;
            }
        }
        self.nearly_linear.fill(None);
    }

    /// The body of a region. Those that leave it to labels outside go to its end.
    fn invocations(&mut self, body: &[Stmt], end: Block) {
        let mut inside = Vec::new();
        let mut leaves = false;
        for stmt in body {
            stmt.any(&mut |stmt| {
                match stmt {
                    Stmt::Block { label, .. } | Stmt::Loop { label, .. } => inside.push(*label),
                    Stmt::Exit(label) => {
                        leaves |= !inside.contains(label) && self.shapes.divergent[label.at()]
                    }
                    _ => {}
                }
                false
            });
        }
        let mask = leaves.then(|| self.new_mask(None));
        self.scopes.push(Scope { label: None, exit: end, mask, full: true });
        if self.list(body) {
            self.b.ins().jump(end, NONE);
        }
        self.scopes.pop();
    }

    /// Skips an invocation that the launch does not have.
    fn skip_absent(&mut self, next: Block) {
        for axis in 0..3 {
            let id = self.global_id(axis);
            let limit = self.field(context!(threads) + 4 * axis as i32);
            let present = self.b.ins().icmp(IntCC::UnsignedLessThan, id, limit);
            let go_on = self.b.create_block();
            self.b.ins().brif(present, go_on, NONE, next, NONE);
            self.start(go_on);
        }
    }

    /// Coordinates of the first invocation that runs now, in its workgroup.
    pub(super) fn local_id(&mut self, axis: usize) -> Value {
        let size = self.program.workgroup_size;
        let Some(mut index) = self.first else { return self.int(0) };
        for size in &size[..axis] {
            index = self.b.ins().udiv_imm_s(index, i64::from(*size));
        }
        if size[axis + 1..].iter().all(|size| *size == 1) {
            return index;
        }
        self.b.ins().urem_imm_s(index, i64::from(size[axis]))
    }

    pub(super) fn global_id(&mut self, axis: usize) -> Value {
        let group = self.field(context!(group) + 4 * axis as i32);
        let start = self.b.ins().imul_imm_s(group, i64::from(self.program.workgroup_size[axis]));
        let local = self.local_id(axis);
        self.b.ins().iadd(start, local)
    }

    /// Where the slot of the invocations that run now is.
    fn slot(&mut self, slot: u32) -> (Value, i32) {
        let invocations = self.program.workgroup_size.iter().product::<u32>();
        let scratch = self.field(context!(scratch));
        let offset = self.layout.slots + slot * 8 * invocations;
        let Some(first) = self.first else { return (scratch, offset as i32) };
        let first = self.b.ins().uextend(types::I64, first);
        let first = self.b.ins().imul_imm_s(first, 8);
        (self.b.ins().iadd(scratch, first), offset as i32)
    }

    fn fetch(&mut self, region: &Region) {
        for var in &region.fetch {
            let Some(slot) = self.plan.var_slots[var.at()] else { continue };
            let (address, offset) = self.slot(slot);
            let ty = self.var_type(*var);
            let value = self.b.ins().load(ty, flags(), address, offset);
            self.b.def_var(self.vars[var.at()], value);
        }
    }

    fn put(&mut self, region: &Region) {
        for var in &region.put {
            let Some(slot) = self.plan.var_slots[var.at()] else { continue };
            let (address, offset) = self.slot(slot);
            let value = self.b.use_var(self.vars[var.at()]);
            self.b.ins().store(flags(), value, address, offset);
        }
    }

    pub(super) fn var_type(&self, var: Var) -> Type {
        let num = self.program.vars[var.at()];
        if self.shapes.vars[var.at()].is_scalar() { scalar_type(num) } else { vector_type(num) }
    }

    /// Makes a value known, and keeps it for other regions and lists if they need it.
    pub(super) fn define(&mut self, id: Id, val: Val) {
        self.values[id.at()] = Some(val);
        let (Val::Scalar(value) | Val::Linear(value) | Val::Vector(value)) = val;
        if let Some(variable) = self.escaping[id.at()] {
            self.b.def_var(variable, value);
        }
        if let (Some(slot), Some(_)) = (self.plan.id_slots[id.at()], self.first) {
            let (address, offset) = self.slot(slot);
            self.b.ins().store(flags(), value, address, offset);
        }
    }

    fn wrap(&self, id: Id, value: Value) -> Val {
        match self.shapes.ids[id.at()] {
            Shape::Group | Shape::Quad => Val::Scalar(value),
            Shape::Linear => Val::Linear(value),
            Shape::Varying => Val::Vector(value),
        }
    }

    pub(super) fn get(&mut self, id: Id) -> Val {
        if let Some(bits) = self.program.constant(id) {
            return Val::Scalar(self.constant(self.program.num(id), bits));
        }
        if let (Some(variable), None) = (self.escaping[id.at()], self.plan.id_slots[id.at()]) {
            let value = self.b.use_var(variable);
            return self.wrap(id, value);
        }
        if let Some(val) = self.values[id.at()] {
            return val;
        }
        let num = self.program.num(id);
        let ty = match self.shapes.ids[id.at()] {
            Shape::Varying => vector_type(num),
            _ => scalar_type(num),
        };
        let slot = self.plan.id_slots[id.at()].unwrap_or(0);
        let (address, offset) = self.slot(slot);
        let value = self.b.ins().load(ty, flags(), address, offset);
        self.wrap(id, value)
    }

    pub(super) fn constant(&mut self, num: Num, bits: u64) -> Value {
        match num {
            Num::F32 => self.b.ins().f32const(f32::from_bits(bits as u32)),
            Num::F64 => self.b.ins().f64const(f64::from_bits(bits)),
            Num::I32 | Num::U32 => self.int(bits as u32),
            _ => self.b.ins().iconst(scalar_type(num), bits as i64),
        }
    }

    /// A value that is the same in each lane.
    pub(super) fn scalar(&mut self, id: Id) -> Value {
        match self.get(id) {
            Val::Scalar(value) | Val::Linear(value) => value,
            Val::Vector(value) => self.lane(value, self.program.num(id), 0),
        }
    }
}
