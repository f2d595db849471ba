//! The frame of a compiled kernel: its context, its loops over invocations, and what runs once for the workgroup.

use cranelift_codegen::{
    ir::{Block, BlockArg, InstBuilder, MemFlagsData, StackSlot, Type, Value, condcodes::IntCC, types},
    isa::TargetFrontendConfig,
};
use cranelift_frontend::{FunctionBuilder, Variable};

use super::{
    super::{number::Num, reflect::Globals},
    counted::Counted,
    ir::{Id, Label, Program, Stmt},
    laid::Laid,
    narrow::{Home, register_num},
    near::{self, Near},
    plan::{Plan, Step},
    ranges::Range,
    rows::Rows,
    shape::Shapes,
    wave::Wave,
};

/// No arguments for a block.
pub(super) const NONE: &[BlockArg] = &[];

/// What a kernel is called with; machine code reads it by offset.
#[repr(C)]
pub(super) struct Context {
    pub(super) slots: *const Slot,
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

/// What machine code knows of a bound buffer. Of an array of bindings: the table of its elements, and their number.
#[repr(C)]
pub(super) struct Slot {
    pub(super) pointer: *mut u8,
    /// Elements of its runtime-sized array; at least one.
    pub(super) count: u32,
    /// How many of them have three more behind: from there, four lanes find all of theirs.
    pub(super) whole_quads: u32,
    /// The binding, for Rust.
    pub(super) object: *const super::super::binding::Binding,
    /// Zero if it is an element of an array where nothing is bound.
    pub(super) bound: u32,
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

    pub(in super::super) fn of_storage(format: naga::StorageFormat) -> u32 {
        match format {
            naga::StorageFormat::Rgba8Unorm => RGBA8_UNORM,
            naga::StorageFormat::Rgba32Float => RGBA32_FLOAT,
            naga::StorageFormat::R32Float => R32_FLOAT,
            _ => 0,
        }
    }
    /// Not a format: a sampler that machine code knows.
    pub(in super::super) const LINEAR: u32 = 4;
}

/// The registers with a [`Plane`].
#[derive(Clone, Copy)]
pub(super) struct PlaneValues {
    pub(super) row_pitch: Value,
    pub(super) width: Value,
    pub(super) height: Value,
    pub(super) format: Value,
    /// The format of a storage texture as the kernel declares it, as `format`; zero if machine code does not know it.
    pub(super) declared: Option<u32>,
}

/// The registers with a [`Slot`].
#[derive(Clone, Copy)]
pub(super) struct SlotValues {
    pub(super) pointer: Value,
    pub(super) count: Value,
    pub(super) whole_quads: Value,
    /// If it is a texture or a sampler.
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
    /// A register for each lane, of 64 bits.
    Each([Value; 4]),
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
    pub(super) fields: Vec<(i32, Value)>,
    pub(super) slots: Vec<SlotValues>,
    pub(super) values: Vec<Option<Val>>,
    /// What is known of those that vary as linear ones.
    pub(super) nearly_linear: Vec<Option<Near>>,
    /// Integers that may turn out to be linear.
    pub(super) derived: Vec<bool>,
    /// Values that are used outside the list that computes them.
    pub(super) escaping: Vec<Option<Home>>,
    pub(super) vars: Vec<Home>,
    pub(super) scopes: Vec<Scope>,
    /// The linear index of the first invocation that runs now.
    pub(super) first: Option<Value>,
    pub(super) stopped: Block,
    /// Which site the texture operation that is emitted now is.
    pub(super) texel_site: Option<u32>,
    /// Loops around what is emitted now, inside of the stretch between barriers.
    pub(super) loops: usize,
    /// Whether what is emitted now seldom runs.
    pub(super) seldom: bool,
    /// Whether it runs at the end of the grid or of a buffer alone, so that one way for all lanes is enough.
    pub(super) at_edge: bool,
    /// Where calls for texels are filled.
    pub(super) image_calls: Option<StackSlot>,
    /// Statements that may still be emitted twice.
    pub(super) budget: usize,
    /// Values that lanes take from memory.
    pub(super) laid: Laid,
    /// The bits of half floats that a store writes, for all lanes.
    pub(super) halves: Vec<(Id, Value)>,
    /// Whether each access that is told looks at its cell, instead of going on with a run.
    pub(super) cells: bool,
    pub(super) partial: bool,
    pub(super) wave: Wave,
    /// The part of a region that is emitted now.
    pub(super) within: Option<Range>,
    /// Statements that may still be emitted for several fours at once.
    pub(super) wave_budget: usize,
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
        // The last lanes may stand for nobody and have memory all the same.
        let invocations = program.invocations().next_multiple_of(lanes);
        let count = if plan.barriers { invocations } else { lanes };
        let mut next = 0u32;
        let mut arrays = Vec::new();
        for bytes in &program.arrays {
            arrays.push(next);
            next = next.checked_add(bytes.size.checked_mul(count)?)?;
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
    pub(super) globals: &'a Globals,
    /// Leave out invocations beyond `Context::threads`.
    pub(super) partial: bool,
    /// See [`Emitter`].
    pub(super) cells: bool,
}

pub(super) fn scalar_type(num: Num) -> Type {
    match register_num(num) {
        Num::Bool => types::I8,
        Num::F32 => types::F32,
        Num::F64 => types::F64,
        Num::I64 | Num::U64 => types::I64,
        _ => types::I32,
    }
}

pub(super) fn vector_type(num: Num) -> Type {
    if register_num(num) == Num::F32 { types::F32X4 } else { types::I32X4 }
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
        derived: near::derived(variant.program, shapes),
        escaping: Vec::new(),
        vars: Vec::new(),
        scopes: Vec::new(),
        first: None,
        stopped,
        texel_site: None,
        loops: 0,
        seldom: false,
        at_edge: false,
        image_calls: None,
        budget: 300,
        laid: Laid::default(),
        halves: Vec::new(),
        cells: variant.cells,
        partial: variant.partial,
        wave: Wave::default(),
        within: None,
        wave_budget: 600,
    };
    emitter.declare_homes();
    if emitter.steps(&variant.plan.steps) {
        emitter.leave(0);
    }
    emitter.b.switch_to_block(stopped);
    emitter.leave(1);
    emitter.b.seal_all_blocks();
    emitter.b.finalize(config);
}

/// Loads what the kernel is called with. Without leave to move them, the loads stay ahead of all loops.
fn load_fields(b: &mut FunctionBuilder<'_>, context: Value) -> Vec<(i32, Value)> {
    let pointers = [
        context!(slots),
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
    let formats = &variant.globals.formats;
    let mut textures = vec![false; formats.len()];
    let mut find = |stmt: &Stmt| {
        if let Stmt::Image { texture, sampler, .. } = stmt {
            for resource in [Some(*texture), *sampler].into_iter().flatten() {
                textures[resource.slot as usize] |= resource.element.is_none();
            }
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
    let planes: Vec<Option<PlaneValues>> = (0..formats.len())
        .map(|slot| {
            textures[slot].then(|| PlaneValues {
                row_pitch: plane(slot, offset_of!(Plane, row_pitch), types::I64),
                width: plane(slot, offset_of!(Plane, width), types::I32),
                height: plane(slot, offset_of!(Plane, height), types::I32),
                format: plane(slot, offset_of!(Plane, format), types::I32),
                declared: formats[slot].map(plane::of_storage),
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

impl Emitter<'_, '_> {
    fn leave(&mut self, result: i64) {
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

    /// The body of a region. Those that leave it to labels outside go to its end.
    pub(super) fn invocations(&mut self, body: &[Stmt], end: Block) {
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
        let present = self.present();
        let full = present.is_none();
        let mask = match present {
            Some(present) => Some(self.new_mask_of(present)),
            None => leaves.then(|| self.new_mask(None)),
        };
        self.scopes.push(Scope { label: None, exit: end, mask, full });
        let reached = if full { self.list(body) } else { self.by_mask(body, true) };
        if reached {
            self.b.ins().jump(end, NONE);
        }
        self.scopes.pop();
    }

    /// The lanes that stand for an invocation; `None` if all do.
    fn present(&mut self) -> Option<Value> {
        if self.lanes == 1 {
            return None;
        }
        let first = self.first?;
        let invocations = self.program.invocations();
        let mut present = None;
        if !invocations.is_multiple_of(4) {
            let (lanes, count) = (self.rising(first), self.int(invocations));
            let count = self.b.ins().splat(types::I32X4, count);
            present = Some(self.b.ins().icmp(IntCC::UnsignedLessThan, lanes, count));
        }
        for axis in 0..if self.partial { 3 } else { 0 } {
            let lanes = [0, 1, 2, 3].map(|lane| self.global_id_of(axis, lane));
            let ids = self.gather_lanes(Num::U32, lanes);
            let limit = self.field(context!(threads) + 4 * axis as i32);
            let limit = self.b.ins().splat(types::I32X4, limit);
            let below = self.b.ins().icmp(IntCC::UnsignedLessThan, ids, limit);
            present = Some(match present {
                Some(present) => self.b.ins().band(present, below),
                None => below,
            });
        }
        present
    }

    /// Skips an invocation that the launch does not have.
    pub(super) fn skip_absent(&mut self, next: Block) {
        for axis in 0..3 {
            let id = self.global_id(axis);
            let limit = self.field(context!(threads) + 4 * axis as i32);
            let present = self.b.ins().icmp(IntCC::UnsignedLessThan, id, limit);
            let go_on = self.b.create_block();
            self.b.ins().brif(present, go_on, NONE, next, NONE);
            self.start(go_on);
        }
    }
}
