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
    ir::{Binary, Id, Op},
};

/// A value that rises by one from lane to lane if all conditions hold.
#[derive(Clone, Debug)]
pub(super) struct Near {
    pub(super) start: Value,
    pub(super) conditions: Vec<Value>,
}

/// Tests worth making before a load.
const CONDITIONS_MAX: usize = 6;

impl Emitter<'_, '_> {
    /// What is known of a value as a linear one.
    pub(super) fn near(&mut self, id: Id) -> Option<Near> {
        if let Val::Linear(start) = self.get(id) {
            return Some(Near { start, conditions: Vec::new() });
        }
        self.nearly_linear[id.at()].clone()
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
                self.near(a)
            }
            Op::Binary(op @ (Binary::Add | Binary::Subtract | Binary::Min | Binary::Max), a, b) => {
                let swap = matches!(self.get(a), Val::Scalar(_)) && op != Binary::Subtract;
                let (a, b) = if swap { (b, a) } else { (a, b) };
                let Val::Scalar(other) = self.get(b) else { return None };
                let mut near = self.near(a)?;
                match op {
                    Binary::Add => near.start = self.b.ins().iadd(near.start, other),
                    Binary::Subtract => near.start = self.b.ins().isub(near.start, other),
                    _ => self.bounded(&mut near, op, num.is_signed(), other),
                }
                (near.conditions.len() <= CONDITIONS_MAX).then_some(near)
            }
            _ => None,
        }
    }

    /// The conditions under which `min` or `max` with `other` changes no lane.
    fn bounded(&mut self, near: &mut Near, op: Binary, signed: bool, other: Value) {
        let (greater_or_equal, less_or_equal, last) = match signed {
            true => (IntCC::SignedGreaterThanOrEqual, IntCC::SignedLessThanOrEqual, i32::MAX as u32 - 3),
            false => (IntCC::UnsignedGreaterThanOrEqual, IntCC::UnsignedLessThanOrEqual, u32::MAX - 3),
        };
        // Without this the lanes could jump from the largest value to the smallest.
        let last = self.int(last);
        near.conditions.push(self.b.ins().icmp(less_or_equal, near.start, last));
        near.conditions.push(if op == Binary::Max {
            self.b.ins().icmp(greater_or_equal, near.start, other)
        } else {
            let end = self.b.ins().iadd_imm_s(near.start, 3);
            self.b.ins().icmp(less_or_equal, end, other)
        });
    }
}
