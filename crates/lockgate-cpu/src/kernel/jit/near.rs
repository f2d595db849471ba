//! Which varying integers are linear away from the edges?
//!
//! An index that is clamped to an image's width varies from lane to lane, yet in all but a few quads it rises by one from
//! each lane to the next. Beside the register with all lanes the compiler keeps what the first lane would be, and under
//! which conditions the others follow it; loads and stores test those and use whole registers. What nobody asks
//! for is never computed.

use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC};

use super::{
    super::number::Num,
    code::{Emitter, Val},
    ir::{Binary, Id, Op, Program, Stmt},
    shape::{Shape, Shapes},
};

/// A value that rises by one from lane to lane if all conditions hold.
#[derive(Clone, Debug)]
pub(super) struct Near {
    pub(super) start: Value,
    pub(super) conditions: Vec<Value>,
    /// Whether one of them is that three can be added to the start.
    capped: bool,
    /// Whether a look at all lanes is one of them, which may well fail.
    is_looked_for: bool,
    /// How many conditions there are before those that say that it is not negative, if those are the last.
    from_zero: Option<usize>,
}

/// Tests worth making before a load.
const CONDITIONS_MAX: usize = 6;

/// The varying integers that are computed from numbers of invocations alone. Where masks and shifts take such a number
/// apart and put it together again, neighbours mostly stay neighbours, which is worth a test when the index is used.
pub(super) fn derived(program: &Program, shapes: &Shapes) -> Vec<bool> {
    let integer = |num: Num| matches!(num, Num::I32 | Num::U32);
    let mut ids: Vec<bool> = vec![false; program.ids.len()];
    let mut vars: Vec<bool> = program.vars.iter().map(|num| integer(*num)).collect();
    loop {
        let before = (ids.clone(), vars.clone());
        ids.fill(false);
        let known = |ids: &[bool], id: Id| ids[id.at()] || shapes.ids[id.at()] < Shape::Varying;
        let mut visit = |stmt: &Stmt| {
            match stmt {
                Stmt::Let(id, op) if shapes.ids[id.at()] == Shape::Varying => {
                    ids[id.at()] = integer(program.num(*id))
                        && match op {
                            Op::Get(var) => vars[var.at()],
                            Op::Binary(..) | Op::Bits(_) | Op::Convert(_) => {
                                op.operands().all(|id| known(&ids, id))
                            }
                            _ => false,
                        };
                }
                Stmt::Set(var, id) => vars[var.at()] &= known(&ids, *id),
                _ => {}
            }
            false
        };
        program.body.iter().for_each(|stmt| {
            stmt.any(&mut visit);
        });
        if before == (ids.clone(), vars.clone()) {
            return ids;
        }
    }
}

impl Near {
    fn new(start: Value, conditions: Vec<Value>) -> Near {
        Near { start, conditions, capped: false, is_looked_for: false, from_zero: None }
    }
}

impl Emitter<'_, '_> {
    /// What is known of a value as a linear one.
    pub(super) fn near(&mut self, id: Id) -> Option<Near> {
        if let Val::Linear(start) = self.get(id) {
            return Some(Near::new(start, Vec::new()));
        }
        if let Some(near) = &self.nearly_linear[id.at()] {
            return Some(near.clone());
        }
        self.derived[id.at()].then(|| self.rises(id))
    }

    /// Whether [`Self::near`] has to look at the lanes of a value.
    pub(super) fn is_looked_for(&mut self, id: Id) -> bool {
        match &self.nearly_linear[id.at()] {
            Some(near) => near.is_looked_for,
            None => !matches!(self.get(id), Val::Linear(_)),
        }
    }

    /// Looks at all lanes.
    fn rises(&mut self, id: Id) -> Near {
        let lanes = self.vector(id);
        let start = self.lane(lanes, Num::U32, 0);
        let rising = self.rising(start);
        let same = self.b.ins().icmp(IntCC::Equal, lanes, rising);
        let bits = self.bits(same);
        let all = self.b.ins().icmp_imm_s(IntCC::Equal, bits, 0b1111);
        Near { is_looked_for: true, ..Near::new(start, vec![all]) }
    }

    /// Finds out about a value that varies.
    pub(super) fn find_near(&mut self, id: Id, op: &Op) {
        let num = self.program.num(id);
        let integer = |num| matches!(num, Num::I32 | Num::U32);
        // Kept in registers only as long as the list that computes it.
        self.nearly_linear[id.at()] =
            if integer(num) && self.escaping[id.at()].is_none() { self.near_of(num, op) } else { None };
    }

    fn near_of(&mut self, num: Num, op: &Op) -> Option<Near> {
        match *op {
            Op::Bits(a) | Op::Convert(a) if matches!(self.program.num(a), Num::I32 | Num::U32) => {
                // Other values follow its largest one.
                let near = self.nearly_linear[a.at()].clone();
                near.map(|near| Near { capped: false, from_zero: None, ..near })
            }
            Op::Binary(op @ (Binary::Add | Binary::Subtract | Binary::Min | Binary::Max), a, b) => {
                let swap = matches!(self.get(a), Val::Scalar(_)) && op != Binary::Subtract;
                let (a, b) = if swap { (b, a) } else { (a, b) };
                let Val::Scalar(other) = self.get(b) else { return None };
                // A test of its own is made where the index is used, not before; what is added to it moves all lanes.
                let tested = self.derived[a.at()] && self.nearly_linear[a.at()].is_none();
                if tested && !matches!(op, Binary::Add | Binary::Subtract) {
                    return None;
                }
                let mut near = self.near(a)?;
                near.capped &= !matches!(op, Binary::Add | Binary::Subtract);
                let from_zero = near.from_zero.take();
                let before = near.conditions.len();
                match op {
                    Binary::Add => near.start = self.b.ins().iadd(near.start, other),
                    Binary::Subtract => near.start = self.b.ins().isub(near.start, other),
                    Binary::Min if num.is_signed() && from_zero.is_some() => {
                        near.conditions.truncate(from_zero.unwrap_or(0));
                        self.between(&mut near, other);
                    }
                    _ => self.bounded(&mut near, op, num.is_signed(), other),
                }
                if op == Binary::Max && num.is_signed() && self.program.constant(b) == Some(0) {
                    near.from_zero = Some(before);
                }
                (near.conditions.len() <= CONDITIONS_MAX).then_some(near)
            }
            _ => None,
        }
    }

    /// The condition under which `min` with `other` changes no lane, and no lane is negative: one comparison instead of three.
    fn between(&mut self, near: &mut Near, other: Value) {
        let two = self.int(2);
        let end = self.b.ins().smax(other, two);
        let end = self.b.ins().isub(end, two);
        near.conditions.push(self.b.ins().icmp(IntCC::UnsignedLessThan, near.start, end));
    }

    /// The conditions under which `min` or `max` with `other` changes no lane.
    fn bounded(&mut self, near: &mut Near, op: Binary, signed: bool, other: Value) {
        let (greater_or_equal, less_or_equal, last) = match signed {
            true => (IntCC::SignedGreaterThanOrEqual, IntCC::SignedLessThanOrEqual, i32::MAX as u32 - 3),
            false => (IntCC::UnsignedGreaterThanOrEqual, IntCC::UnsignedLessThanOrEqual, u32::MAX - 3),
        };
        // Without this the lanes could jump from the largest value to the smallest.
        if !near.capped {
            let last = self.int(last);
            near.conditions.push(self.b.ins().icmp(less_or_equal, near.start, last));
            near.capped = true;
        }
        near.conditions.push(if op == Binary::Max {
            self.b.ins().icmp(greater_or_equal, near.start, other)
        } else {
            let end = self.b.ins().iadd_imm_s(near.start, 3);
            self.b.ins().icmp(less_or_equal, end, other)
        });
    }
}
