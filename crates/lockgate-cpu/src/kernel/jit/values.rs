//! Where values are found: ids of invocations, registers, and the slots that outlive a region.

use cranelift_codegen::ir::{InstBuilder, Value, types};

use super::{
    super::number::Num,
    code::{Emitter, Val, context, flags, scalar_type, vector_type},
    ir::{Id, Program, Stmt, Var},
    narrow::{Home, is_wide},
    plan::Region,
    shape::Shape,
};

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
    /// Variables of Cranelift for the program's, and for values that are used elsewhere.
    pub(super) fn declare_homes(&mut self) {
        let program = self.program;
        for var in 0..program.vars.len() as u32 {
            let home = self.var_home(Var(var));
            self.vars.push(home);
        }
        for (id, escapes) in escaping(program).into_iter().enumerate() {
            let home = escapes.then(|| self.id_home(Id(id as u32)));
            self.escaping.push(home);
        }
    }

    /// A new home for a variable.
    pub(super) fn var_home(&mut self, var: Var) -> Home {
        let (num, shape) = (self.program.vars[var.at()], self.shapes.vars[var.at()]);
        self.new_home(num, (!shape.is_scalar()).then(|| vector_type(num)))
    }

    /// A new home for a value.
    pub(super) fn id_home(&mut self, id: Id) -> Home {
        let (num, shape) = (self.program.num(id), self.shapes.ids[id.at()]);
        self.new_home(num, (shape == Shape::Varying).then(|| vector_type(num)))
    }

    /// Coordinates of the first invocation that runs now, in its workgroup.
    pub(super) fn local_id(&mut self, axis: usize) -> Value {
        match self.wave.start {
            // A step does not end amid a row, so that all of its invocations are in one.
            Some((start, size)) if self.program.workgroup_size[0].is_multiple_of(size) => {
                let place = self.axis_of(start, axis);
                let ahead = if axis == 0 { self.wave.ahead } else { 0 };
                self.b.ins().iadd_imm_s(place, i64::from(ahead))
            }
            _ => {
                let index = self.local_index();
                self.axis_of(index, axis)
            }
        }
    }

    pub(super) fn global_id(&mut self, axis: usize) -> Value {
        let local = self.local_id(axis);
        self.in_grid(local, axis)
    }

    /// The same of the invocation in one lane, where lanes may be of different rows.
    pub(super) fn local_id_of(&mut self, axis: usize, lane: u8) -> Value {
        let index = self.local_index();
        let index = self.b.ins().iadd_imm_s(index, i64::from(lane));
        self.axis_of(index, axis)
    }

    pub(super) fn global_id_of(&mut self, axis: usize, lane: u8) -> Value {
        let local = self.local_id_of(axis, lane);
        self.in_grid(local, axis)
    }

    pub(super) fn local_index(&mut self) -> Value {
        match self.first {
            Some(first) => first,
            None => self.int(0),
        }
    }

    fn axis_of(&mut self, mut index: Value, axis: usize) -> Value {
        let size = self.program.workgroup_size;
        for size in &size[..axis] {
            index = self.b.ins().udiv_imm_s(index, i64::from(*size));
        }
        if size[axis + 1..].iter().all(|size| *size == 1) {
            return index;
        }
        self.b.ins().urem_imm_s(index, i64::from(size[axis]))
    }

    fn in_grid(&mut self, local: Value, axis: usize) -> Value {
        let group = self.field(context!(group) + 4 * axis as i32);
        let start = self.b.ins().imul_imm_s(group, i64::from(self.program.workgroup_size[axis]));
        self.b.ins().iadd(start, local)
    }

    /// Where the slot of the invocations that run now is.
    fn slot(&mut self, slot: u32) -> (Value, i32) {
        let invocations = self.program.invocations().next_multiple_of(self.lanes);
        let scratch = self.field(context!(scratch));
        let offset = self.layout.slots + slot * 8 * invocations;
        let Some(first) = self.first else { return (scratch, offset as i32) };
        if let Some(start) = self.wave.slots {
            return (start, (offset + 8 * self.wave.ahead) as i32);
        }
        let first = self.b.ins().uextend(types::I64, first);
        let first = self.b.ins().imul_imm_s(first, 8);
        (self.b.ins().iadd(scratch, first), offset as i32)
    }

    fn put_slot(&mut self, slot: u32, val: Val) {
        let (address, offset) = self.slot(slot);
        let values = match val {
            Val::Scalar(value) | Val::Linear(value) | Val::Vector(value) => vec![value],
            Val::Each(values) => values.to_vec(),
        };
        for (value, lane) in values.into_iter().zip(0..) {
            self.b.ins().store(flags(), value, address, offset + 8 * lane);
        }
    }

    /// What was put into a slot by a value or variable of this shape.
    fn fetch_slot(&mut self, slot: u32, num: Num, shape: Shape) -> Val {
        let (address, offset) = self.slot(slot);
        let scalar = scalar_type(num);
        match shape {
            Shape::Varying if is_wide(num) => Val::Each(
                [0, 1, 2, 3].map(|lane| self.b.ins().load(scalar, flags(), address, offset + 8 * lane)),
            ),
            Shape::Varying => Val::Vector(self.b.ins().load(vector_type(num), flags(), address, offset)),
            Shape::Linear => Val::Linear(self.b.ins().load(scalar, flags(), address, offset)),
            Shape::Group | Shape::Quad => Val::Scalar(self.b.ins().load(scalar, flags(), address, offset)),
        }
    }

    pub(super) fn fetch(&mut self, region: &Region) {
        for var in &region.fetch {
            let Some(slot) = self.plan.var_slots[var.at()] else { continue };
            let (num, shape) = (self.program.vars[var.at()], self.shapes.vars[var.at()]);
            let val = self.fetch_slot(slot, num, shape);
            self.set_home(self.vars[var.at()], val);
        }
    }

    pub(super) fn put(&mut self, region: &Region) {
        for var in &region.put {
            let Some(slot) = self.plan.var_slots[var.at()] else { continue };
            let val = self.read_home(self.vars[var.at()], self.shapes.vars[var.at()]);
            self.put_slot(slot, val);
        }
    }

    pub(super) fn read_home(&mut self, home: Home, shape: Shape) -> Val {
        match home {
            Home::One(variable) => {
                let value = self.b.use_var(variable);
                match shape {
                    Shape::Group | Shape::Quad => Val::Scalar(value),
                    Shape::Linear => Val::Linear(value),
                    Shape::Varying => Val::Vector(value),
                }
            }
            Home::Each(variables) => Val::Each(variables.map(|variable| self.b.use_var(variable))),
        }
    }

    /// Makes a value known, and keeps it for other regions and lists if they need it.
    pub(super) fn define(&mut self, id: Id, val: Val) {
        self.values[id.at()] = Some(val);
        if let Some(home) = self.escaping[id.at()] {
            self.set_home(home, val);
        }
        if let (Some(slot), Some(_)) = (self.plan.id_slots[id.at()], self.first) {
            self.put_slot(slot, val);
        }
    }

    pub(super) fn get(&mut self, id: Id) -> Val {
        if let Some(bits) = self.program.constant(id) {
            return Val::Scalar(self.constant(self.program.num(id), bits));
        }
        let shape = self.shapes.ids[id.at()];
        if let (Some(home), None) = (self.escaping[id.at()], self.plan.id_slots[id.at()]) {
            return self.read_home(home, shape);
        }
        if let Some(val) = self.values[id.at()] {
            return val;
        }
        if let (Some(place), Some(first)) = (self.place_of(id), self.first) {
            return Val::Linear(match place.added {
                0 => first,
                added => self.b.ins().iadd_imm_s(first, added),
            });
        }
        let slot = self.plan.id_slots[id.at()].unwrap_or(0);
        self.fetch_slot(slot, self.program.num(id), shape)
    }

    pub(super) fn constant(&mut self, num: Num, bits: u64) -> Value {
        match num {
            Num::F16 => self.b.ins().f32const(Num::F16.float(bits) as f32),
            Num::F32 => self.b.ins().f32const(f32::from_bits(bits as u32)),
            Num::F64 => self.b.ins().f64const(f64::from_bits(bits)),
            Num::I16 => self.int(bits as u16 as i16 as i32 as u32),
            Num::U16 | Num::I32 | Num::U32 => self.int(bits as u32),
            _ => self.b.ins().iconst(scalar_type(num), bits as i64),
        }
    }

    /// A value that is the same in each lane.
    pub(super) fn scalar(&mut self, id: Id) -> Value {
        match self.get(id) {
            Val::Scalar(value) | Val::Linear(value) => value,
            Val::Vector(value) => self.lane(value, self.program.num(id), 0),
            Val::Each(values) => values[0],
        }
    }
}
