//! How values are computed: on one register lane for what is the same in each lane, on four for the rest.
//!
//! What has no instruction for four lanes is done lane by lane.

use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, Value,
    condcodes::{FloatCC, IntCC},
    types,
};
use naga::MathFunction;

use super::{
    super::number::{Num, limits},
    code::{Emitter, Val, context, scalar_type, vector_type},
    helpers,
    ir::{Binary, Builtin, Id, Op, Unary},
    narrow::{is_wide, register_num},
    rows::Tuple,
    shape::Shape,
};

fn bits_flags() -> MemFlagsData {
    MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little)
}

impl Emitter<'_, '_> {
    /// Reads the bits of a register as another type.
    pub(super) fn cast(&mut self, ty: cranelift_codegen::ir::Type, value: Value) -> Value {
        if self.b.func.dfg.value_type(value) == ty {
            value
        } else {
            self.b.ins().bitcast(ty, bits_flags(), value)
        }
    }

    /// One lane, as a scalar.
    pub(super) fn lane(&mut self, vector: Value, num: Num, lane: u8) -> Value {
        if register_num(num) == Num::F32 {
            return self.b.ins().extractlane(vector, lane);
        }
        // Two lanes at a time, which are taken apart where there are more execution units.
        let halves = self.cast(types::I64X2, vector);
        let half = self.b.ins().extractlane(halves, lane / 2);
        let half = if lane.is_multiple_of(2) { half } else { self.b.ins().ushr_imm_s(half, 32) };
        if num != Num::Bool {
            return self.b.ins().ireduce(types::I32, half);
        }
        let value = self.b.ins().ireduce(types::I8, half);
        self.b.ins().band_imm_s(value, 1)
    }

    /// A scalar in each lane.
    pub(super) fn spread(&mut self, num: Num, value: Value) -> Value {
        let value = if num == Num::Bool { self.b.ins().bmask(types::I32, value) } else { value };
        self.b.ins().splat(vector_type(num), value)
    }

    /// A value with a register lane for each invocation.
    pub(super) fn vector(&mut self, id: Id) -> Value {
        let num = self.program.num(id);
        match self.get(id) {
            Val::Vector(value) => value,
            Val::Scalar(value) => self.spread(num, value),
            Val::Linear(value) => self.rising(value),
            // Values of 64 bits are asked for lane by lane.
            Val::Each(values) => values[0],
        }
    }

    /// An integer that rises by one from lane to lane.
    pub(super) fn rising(&mut self, start: Value) -> Value {
        let lanes = [0u32, 1, 2, 3].map(u32::to_le_bytes).concat();
        let lanes = self.b.func.dfg.constants.insert(lanes.as_slice().into());
        let lanes = self.b.ins().vconst(types::I32X4, lanes);
        let start = self.b.ins().splat(types::I32X4, start);
        self.b.ins().iadd(start, lanes)
    }

    /// Puts scalars into the lanes of a register.
    pub(super) fn gather_lanes(&mut self, num: Num, lanes: [Value; 4]) -> Value {
        let lanes =
            lanes.map(|lane| if num == Num::Bool { self.b.ins().bmask(types::I32, lane) } else { lane });
        let mut vector = self.b.ins().splat(vector_type(num), lanes[0]);
        for (i, lane) in lanes.iter().enumerate().skip(1) {
            vector = self.b.ins().insertlane(vector, *lane, i as u8);
        }
        vector
    }

    /// `yes` in the lanes of a mask, `no` in the others.
    pub(super) fn choose(&mut self, mask: Value, yes: Value, no: Value) -> Value {
        let ty = self.b.func.dfg.value_type(yes);
        let mask = self.cast(ty, mask);
        self.b.ins().bitselect(mask, yes, no)
    }

    pub(super) fn op(&mut self, id: Id, op: &Op) -> Val {
        let num = self.program.num(id);
        match (self.shapes.ids[id.at()], *op) {
            (_, Op::Get(var)) => self.read_home(self.vars[var.at()], self.shapes.vars[var.at()]),
            (Shape::Varying, Op::Builtin(builtin)) => {
                let lanes = [0, 1, 2, 3].map(|lane| match builtin {
                    Builtin::GlobalId(axis) => self.global_id_of(axis, lane),
                    Builtin::LocalId(axis) => self.local_id_of(axis, lane),
                    builtin => self.builtin(builtin),
                });
                Val::Vector(self.gather_lanes(num, lanes))
            }
            (shape, Op::Builtin(builtin)) => {
                let value = self.builtin(builtin);
                if shape == Shape::Linear { Val::Linear(value) } else { Val::Scalar(value) }
            }
            (Shape::Varying, Op::LengthAt(slot, index)) => {
                let lanes = [0, 1, 2, 3].map(|lane| {
                    let index = self.lane_of(index, lane);
                    self.element(slot, index).count
                });
                Val::Vector(self.gather_lanes(num, lanes))
            }
            (_, Op::Length(slot)) => Val::Scalar(self.slots[slot as usize].count),
            (_, Op::LengthAt(slot, index)) => {
                let index = self.scalar(index);
                Val::Scalar(self.element(slot, index).count)
            }
            (shape @ (Shape::Group | Shape::Quad | Shape::Linear), _) => {
                let operands: Vec<Value> = op.operands().map(|id| self.scalar(id)).collect();
                let value = self.scalar_op(num, op, &operands);
                if shape == Shape::Linear { Val::Linear(value) } else { Val::Scalar(value) }
            }
            (Shape::Varying, _) => match self.rows.of(id) {
                Some((lane, Some(ops))) => Val::Vector(self.row_op(num, &ops, lane)),
                _ if is_wide(num) || op.operands().any(|id| is_wide(self.program.num(id))) => {
                    self.each_lane(num, op)
                }
                _ => self.vector_op(num, op),
            },
        }
    }

    /// Computes the components of one lane.
    fn row_op(&mut self, num: Num, ops: &[Op; 4], lane: u8) -> Value {
        let operands = ops.map(|op| op.operands().collect::<Vec<_>>());
        let values: Vec<Value> = (0..operands[0].len())
            .map(|i| self.row([0, 1, 2, 3].map(|component| operands[component][i]), lane))
            .collect();
        self.componentwise(num, &ops[0], &values)
    }

    /// The components of a vector in one lane, in a form that [`rows`](super::rows) allows.
    pub(super) fn row(&mut self, tuple: Tuple, lane: u8) -> Value {
        if self.rows.contains(tuple[0]) {
            return self.vector(tuple[usize::from(lane)]);
        }
        if tuple.iter().all(|id| *id == tuple[0]) {
            let value = self.vector(tuple[0]);
            return match self.get(tuple[0]) {
                Val::Scalar(_) => value,
                _ => self.spread_lane(value, lane),
            };
        }
        let components = tuple.map(|id| self.scalar(id));
        self.gather_lanes(self.program.num(tuple[0]), components)
    }

    /// One lane's word in all lanes.
    pub(super) fn spread_lane(&mut self, value: Value, lane: u8) -> Value {
        let ty = self.b.func.dfg.value_type(value);
        let bytes = self.cast(types::I8X16, value);
        let words = self.words(bytes, bytes, [lane; 4]);
        self.cast(ty, words)
    }

    fn builtin(&mut self, builtin: Builtin) -> Value {
        match builtin {
            Builtin::GlobalId(axis) => self.global_id(axis),
            Builtin::LocalId(axis) => self.local_id(axis),
            Builtin::LocalIndex => self.local_index(),
            Builtin::SubgroupId => {
                let index = self.local_index();
                self.b.ins().ushr_imm_s(index, 2)
            }
            // Rises from lane to lane.
            Builtin::SubgroupLane => self.int(0),
            Builtin::GroupId(axis) => self.field(context!(group) + 4 * axis as i32),
            Builtin::GridSize(axis) => self.field(context!(grid) + 4 * axis as i32),
        }
    }

    fn operand_num(&self, op: &Op) -> Num {
        op.operands().next().map_or(Num::U32, |id| self.program.num(id))
    }

    /// Computes on one lane.
    fn scalar_op(&mut self, num: Num, op: &Op, v: &[Value]) -> Value {
        let from = self.operand_num(op);
        let value = match *op {
            Op::Unary(op, _) => self.scalar_unary(num, op, v[0]),
            Op::Binary(op, ..) => self.scalar_binary(from, op, v[0], v[1]),
            Op::Select(..) => self.b.ins().select(v[0], v[1], v[2]),
            Op::Fma(..) => self.b.ins().fma(v[0], v[1], v[2]),
            Op::Convert(_) => self.convert(from, num, v[0]),
            Op::Bits(_) => self.bits_as(from, num, v[0]),
            Op::Call(fun, ..) => self.call(fun, from, num, (v[0], v[1])),
            Op::Builtin(_) | Op::Get(_) | Op::Length(_) | Op::LengthAt(..) => v[0],
        };
        self.finish(num, op, value)
    }

    /// The bits of a value as those of another type of the same size.
    fn bits_as(&mut self, from: Num, to: Num, a: Value) -> Value {
        match (from, to) {
            (Num::F16, Num::F16) => a,
            (Num::F16, _) => {
                let bits = self.narrow_half(a);
                self.cut(to, bits)
            }
            (_, Num::F16) => self.widen_half(a),
            (Num::I16 | Num::U16, _) => self.cut(to, a),
            _ => {
                let vector = self.b.func.dfg.value_type(a).is_vector();
                self.cast(if vector { vector_type(to) } else { scalar_type(to) }, a)
            }
        }
    }

    fn scalar_unary(&mut self, num: Num, op: Unary, a: Value) -> Value {
        let float = num.is_float();
        if matches!(num, Num::I16 | Num::U16) {
            return self.short_unary(num, op, a);
        }
        match op {
            Unary::Negate if float => self.b.ins().fneg(a),
            Unary::Negate => self.b.ins().ineg(a),
            Unary::Not if num == Num::Bool => self.b.ins().bxor_imm_s(a, 1),
            Unary::Not => self.b.ins().bnot(a),
            Unary::Abs if float => self.b.ins().fabs(a),
            Unary::Abs => self.b.ins().iabs(a),
            Unary::Sqrt => self.b.ins().sqrt(a),
            Unary::Ceil => self.b.ins().ceil(a),
            Unary::Floor => self.b.ins().floor(a),
            Unary::Round => self.b.ins().nearest(a),
            Unary::Trunc => self.b.ins().trunc(a),
            Unary::LeadingZeros => self.b.ins().clz(a),
            Unary::TrailingZeros => self.b.ins().ctz(a),
            Unary::Ones => self.b.ins().popcnt(a),
            Unary::Reverse => self.b.ins().bitrev(a),
        }
    }

    /// The same on 16 bits of 32; the result is cut later.
    fn short_unary(&mut self, num: Num, op: Unary, a: Value) -> Value {
        let bits = match op {
            Unary::LeadingZeros | Unary::Ones => self.cut(Num::U16, a),
            Unary::TrailingZeros => self.b.ins().bor_imm_s(a, 1 << 16),
            _ => a,
        };
        let value = self.scalar_unary(Num::I32, op, bits);
        match op {
            Unary::LeadingZeros => self.b.ins().iadd_imm_s(value, -16),
            Unary::Reverse => {
                let high = self.b.ins().ushr_imm_s(value, 16);
                self.cut(num, high)
            }
            _ => value,
        }
    }

    pub(super) fn scalar_binary(&mut self, num: Num, op: Binary, a: Value, b: Value) -> Value {
        if num.is_float() {
            return match float_compare(op) {
                Some(condition) => self.b.ins().fcmp(condition, a, b),
                None => self.float_binary(op, a, b),
            };
        }
        if let Some(condition) = int_compare(op, num.is_signed()) {
            return self.b.ins().icmp(condition, a, b);
        }
        let shift = matches!(op, Binary::ShiftLeft | Binary::ShiftRight);
        let b = if shift && num.bytes() == 2 { self.b.ins().band_imm_s(b, 15) } else { b };
        match op {
            Binary::Divide | Binary::Remainder => self.divide(num, op, a, b),
            Binary::ShiftLeft => self.b.ins().ishl(a, b),
            Binary::ShiftRight if num.is_signed() => self.b.ins().sshr(a, b),
            Binary::ShiftRight => self.b.ins().ushr(a, b),
            _ => self.int_binary(num, op, a, b),
        }
    }

    /// Works on registers of one lane and of four.
    fn int_binary(&mut self, num: Num, op: Binary, a: Value, b: Value) -> Value {
        match op {
            Binary::Add => self.b.ins().iadd(a, b),
            Binary::Subtract => self.b.ins().isub(a, b),
            Binary::Multiply => self.b.ins().imul(a, b),
            Binary::And => self.b.ins().band(a, b),
            Binary::Or => self.b.ins().bor(a, b),
            Binary::Min if num.is_signed() => self.b.ins().smin(a, b),
            Binary::Min => self.b.ins().umin(a, b),
            Binary::Max if num.is_signed() => self.b.ins().smax(a, b),
            Binary::Max => self.b.ins().umax(a, b),
            _ => self.b.ins().bxor(a, b),
        }
    }

    /// Works on registers of one lane and of four, apart from `min` and `max`.
    fn float_binary(&mut self, op: Binary, a: Value, b: Value) -> Value {
        match op {
            Binary::Add => self.b.ins().fadd(a, b),
            Binary::Subtract => self.b.ins().fsub(a, b),
            Binary::Multiply => self.b.ins().fmul(a, b),
            Binary::Divide => self.b.ins().fdiv(a, b),
            Binary::Min => {
                let less = self.b.ins().fcmp(FloatCC::LessThan, b, a);
                self.b.ins().select(less, b, a)
            }
            _ => {
                let less = self.b.ins().fcmp(FloatCC::LessThan, a, b);
                self.b.ins().select(less, b, a)
            }
        }
    }

    /// Never traps: where WGSL's result is the dividend or zero, the divisor is one.
    fn divide(&mut self, num: Num, op: Binary, a: Value, b: Value) -> Value {
        let zero = self.b.ins().icmp_imm_s(IntCC::Equal, b, 0);
        let one = self.b.ins().iconst(scalar_type(num), 1);
        let mut unsafe_divisor = zero;
        if num.is_signed() {
            let lowest = if num == Num::I64 { i64::MIN } else { i64::from(i32::MIN) };
            let is_lowest = self.b.ins().icmp_imm_s(IntCC::Equal, a, lowest);
            let is_minus_one = self.b.ins().icmp_imm_s(IntCC::Equal, b, -1);
            let overflow = self.b.ins().band(is_lowest, is_minus_one);
            unsafe_divisor = self.b.ins().bor(zero, overflow);
        }
        let divisor = self.b.ins().select(unsafe_divisor, one, b);
        match (op, num.is_signed()) {
            (Binary::Divide, true) => self.b.ins().sdiv(a, divisor),
            (Binary::Divide, false) => self.b.ins().udiv(a, divisor),
            (_, true) => self.b.ins().srem(a, divisor),
            (_, false) => self.b.ins().urem(a, divisor),
        }
    }

    fn convert(&mut self, from: Num, to: Num, a: Value) -> Value {
        let ty = scalar_type(to);
        if from.is_float() && to.bytes() == 2 && !to.is_float() {
            return self.saturate_short(from, to, a);
        }
        if from.is_float() && !to.is_float() && to != Num::Bool {
            return self.saturate(from, to, a);
        }
        let (from, to) = (register_num(from), register_num(to));
        let b = self.b.ins();
        match (from, to) {
            _ if from == to => a,
            (Num::Bool, Num::F32 | Num::F64) => {
                let wide = b.uextend(types::I32, a);
                self.b.ins().fcvt_from_sint(ty, wide)
            }
            (Num::F32, Num::Bool) => {
                let zero = b.f32const(0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, a, zero)
            }
            (Num::F64, Num::Bool) => {
                let zero = b.f64const(0.0);
                self.b.ins().fcmp(FloatCC::NotEqual, a, zero)
            }
            (_, Num::Bool) => b.icmp_imm_s(IntCC::NotEqual, a, 0),
            (Num::F32, Num::F64) => b.fpromote(ty, a),
            (Num::F64, Num::F32) => b.fdemote(ty, a),
            (_, Num::F32 | Num::F64) if from.is_signed() => b.fcvt_from_sint(ty, a),
            (_, Num::F32 | Num::F64) => b.fcvt_from_uint(ty, a),
            _ if from.bytes() < to.bytes() && from.is_signed() => b.sextend(ty, a),
            _ if from.bytes() < to.bytes() => b.uextend(ty, a),
            _ if from.bytes() > to.bytes() => b.ireduce(ty, a),
            _ => a,
        }
    }

    /// A float, or four, as an integer: at most the highest that both types have.
    fn saturate(&mut self, from: Num, to: Num, a: Value) -> Value {
        let quad = self.b.func.dfg.value_type(a) == types::F32X4;
        let ty = if quad { types::I32X4 } else { scalar_type(to) };
        let mut value = match to.is_signed() {
            true => self.b.ins().fcvt_to_sint_sat(ty, a),
            false => self.b.ins().fcvt_to_uint_sat(ty, a),
        };
        let ((low, high), (lowest, highest)) = (limits(from, to), to.bounds());
        let limit = |this: &mut Self, bound: i128| {
            let bound = this.b.ins().iconst(scalar_type(to), bound as i64);
            if quad { this.b.ins().splat(ty, bound) } else { bound }
        };
        if high < highest {
            let high = limit(self, high);
            value = match to.is_signed() {
                true => self.b.ins().smin(value, high),
                false => self.b.ins().umin(value, high),
            };
        }
        if low > lowest {
            let low = limit(self, low);
            value = self.b.ins().smax(value, low);
        }
        value
    }

    /// A float as an integer of 16 bits.
    fn saturate_short(&mut self, from: Num, to: Num, a: Value) -> Value {
        let (low, high) = limits(from, to);
        let value = self.convert(from, Num::I32, a);
        let (low, high) = (self.int(low as u32), self.int(high as u32));
        let value = self.b.ins().smax(value, low);
        self.b.ins().smin(value, high)
    }

    /// Calls a helper on the bits of one lane.
    fn call(&mut self, fun: MathFunction, from: Num, num: Num, (a, b): (Value, Value)) -> Value {
        if from == Num::F64 {
            return self.call_wide(fun, num, a, b);
        }
        let Some(function) = helpers::any_scalar(fun, register_num(num)) else { return a };
        let (a, b) = (self.cast(types::I32, a), self.cast(types::I32, b));
        let parameters = [types::I32; 2];
        let result = self.call_helper(function as *const () as usize, &parameters, true, &[a, b]);
        match result {
            Some(result) => self.cast(scalar_type(num), result),
            None => a,
        }
    }

    /// The same for 64 bits: the function's number, and where the result goes.
    fn call_wide(&mut self, fun: MathFunction, num: Num, a: Value, b: Value) -> Value {
        use cranelift_codegen::ir::{StackSlotData, StackSlotKind};
        let slot = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3));
        let address = self.b.ins().stack_addr(types::I64, slot, 0);
        let a = self.cast(types::I64, a);
        let second = if self.b.func.dfg.value_type(b) == types::I32 {
            self.b.ins().uextend(types::I64, b)
        } else {
            self.cast(types::I64, b)
        };
        let function = helpers::wide(fun, num);
        let parameters = [types::I64; 3];
        self.call_helper(function as *const () as usize, &parameters, false, &[a, second, address]);
        let address = self.b.ins().stack_addr(types::I64, slot, 0);
        self.b.ins().load(scalar_type(num), super::code::flags(), address, 0)
    }

    /// Calls a function of this process.
    pub(super) fn call_helper(
        &mut self,
        address: usize,
        parameters: &[cranelift_codegen::ir::Type],
        returns: bool,
        arguments: &[Value],
    ) -> Option<Value> {
        use cranelift_codegen::ir::{AbiParam, Signature};
        let mut signature = Signature::new(self.b.func.signature.call_conv);
        signature.params.extend(parameters.iter().map(|ty| AbiParam::new(*ty)));
        if returns {
            signature.returns.push(AbiParam::new(types::I32));
        }
        let signature = self.b.import_signature(signature);
        let address = self.b.ins().iconst(types::I64, address as i64);
        let call = self.b.ins().call_indirect(signature, address, arguments);
        self.b.inst_results(call).first().copied()
    }

    /// Computes on four lanes.
    fn vector_op(&mut self, num: Num, op: &Op) -> Val {
        let from = self.operand_num(op);
        let shorter = match *op {
            Op::Binary(Binary::Multiply, a, b) => self.doubled(from, a, b),
            Op::Binary(op @ (Binary::And | Binary::ShiftRight), a, b) => self.byte_of(op, a, b),
            _ => None,
        };
        if let Some(value) = shorter {
            return Val::Vector(value);
        }
        Val::Vector(match *op {
            Op::Binary(Binary::ShiftLeft | Binary::ShiftRight, _, b)
                if matches!(self.get(b), Val::Vector(_)) =>
            {
                return self.each_lane(num, op);
            }
            Op::Binary(shift @ (Binary::ShiftLeft | Binary::ShiftRight), a, b) => {
                let (a, b) = (self.vector(a), self.scalar(b));
                let value = self.scalar_binary(from, shift, a, b);
                self.finish(num, op, value)
            }
            Op::Binary(Binary::Divide | Binary::Remainder, ..) if !from.is_float() => {
                return self.each_lane(num, op);
            }
            Op::Unary(Unary::LeadingZeros | Unary::TrailingZeros | Unary::Ones | Unary::Reverse, _)
            | Op::Call(..)
            | Op::Builtin(_)
            | Op::Get(_)
            | Op::Length(_)
            | Op::LengthAt(..) => return self.each_lane(num, op),
            Op::Select(c, a, b) if matches!(self.get(c), Val::Scalar(_)) => {
                let (c, a, b) = (self.scalar(c), self.vector(a), self.vector(b));
                self.b.ins().select(c, a, b)
            }
            _ => {
                let operands: Vec<Value> = op.operands().map(|id| self.vector(id)).collect();
                self.componentwise(num, op, &operands)
            }
        })
    }

    /// Computes on whole registers with one instruction for all of a register, whatever its parts are.
    fn componentwise(&mut self, num: Num, op: &Op, v: &[Value]) -> Value {
        let from = self.operand_num(op);
        let value = match *op {
            Op::Binary(op, ..) => self.vector_binary(from, op, v[0], v[1]),
            Op::Unary(Unary::Not, _) => self.b.ins().bnot(v[0]),
            Op::Unary(op, _) => self.scalar_unary(num, op, v[0]),
            Op::Select(..) => self.choose(v[0], v[1], v[2]),
            Op::Fma(..) => self.b.ins().fma(v[0], v[1], v[2]),
            Op::Convert(_) => self.vector_convert(from, num, v[0]),
            Op::Bits(_) => self.bits_as(from, num, v[0]),
            Op::Call(..) | Op::Builtin(_) | Op::Get(_) | Op::Length(_) | Op::LengthAt(..) => v[0],
        };
        self.finish(num, op, value)
    }

    pub(super) fn vector_binary(&mut self, num: Num, op: Binary, a: Value, b: Value) -> Value {
        if register_num(num) == Num::F32 {
            return match (float_compare(op), op) {
                (Some(condition), _) => {
                    let mask = self.b.ins().fcmp(condition, a, b);
                    self.cast(types::I32X4, mask)
                }
                (None, Binary::Min) => {
                    let less = self.b.ins().fcmp(FloatCC::LessThan, b, a);
                    self.choose(less, b, a)
                }
                (None, Binary::Max) => {
                    let less = self.b.ins().fcmp(FloatCC::LessThan, a, b);
                    self.choose(less, b, a)
                }
                _ => self.float_binary(op, a, b),
            };
        }
        match int_compare(op, num.is_signed()) {
            Some(condition) => self.b.ins().icmp(condition, a, b),
            None => self.int_binary(num, op, a, b),
        }
    }

    fn vector_convert(&mut self, from: Num, to: Num, a: Value) -> Value {
        if from.is_float() && matches!(to, Num::I16 | Num::U16) {
            let lanes = [0, 1, 2, 3].map(|lane| {
                let value = self.lane(a, from, lane);
                self.saturate_short(from, to, value)
            });
            return self.gather_lanes(to, lanes);
        }
        if from.is_float() && matches!(to, Num::I32 | Num::U32) {
            return self.saturate(from, to, a);
        }
        let (from, to) = (register_num(from), register_num(to));
        let zero = |this: &mut Self, num: Num| {
            let zero = this.constant(num, 0);
            this.b.ins().splat(vector_type(num), zero)
        };
        match (from, to) {
            (Num::Bool, Num::F32) => {
                let one = self.b.ins().f32const(1.0);
                let one = self.b.ins().splat(types::F32X4, one);
                let one = self.cast(types::I32X4, one);
                let bits = self.b.ins().band(a, one);
                self.cast(types::F32X4, bits)
            }
            (Num::Bool, _) => self.b.ins().ushr_imm_s(a, 31),
            (Num::F32, Num::Bool) => {
                let zero = zero(self, from);
                let mask = self.b.ins().fcmp(FloatCC::NotEqual, a, zero);
                self.cast(types::I32X4, mask)
            }
            (_, Num::Bool) => {
                let zero = zero(self, from);
                self.b.ins().icmp(IntCC::NotEqual, a, zero)
            }
            (Num::I32, Num::F32) => self.b.ins().fcvt_from_sint(types::F32X4, a),
            (Num::U32, Num::F32) => self.b.ins().fcvt_from_uint(types::F32X4, a),
            _ => a,
        }
    }

    /// Computes on one lane after the other.
    fn each_lane(&mut self, num: Num, op: &Op) -> Val {
        let operands: Vec<Id> = op.operands().collect();
        let lanes = [0, 1, 2, 3].map(|lane| {
            let values: Vec<Value> = operands.iter().map(|id| self.lane_of(*id, lane)).collect();
            self.scalar_op(num, op, &values)
        });
        self.gather_any(num, lanes)
    }

    /// What a value is in one lane.
    pub(super) fn lane_of(&mut self, id: Id, lane: u8) -> Value {
        if let Some(value) = self.laid_lane(id, lane) {
            return value;
        }
        match self.get(id) {
            Val::Scalar(value) => value,
            Val::Linear(value) => self.b.ins().iadd_imm_s(value, i64::from(lane)),
            Val::Vector(value) => self.lane(value, self.program.num(id), lane),
            Val::Each(values) => values[usize::from(lane)],
        }
    }
}

fn float_compare(op: Binary) -> Option<FloatCC> {
    Some(match op {
        Binary::Equal => FloatCC::Equal,
        Binary::NotEqual => FloatCC::NotEqual,
        Binary::Less => FloatCC::LessThan,
        Binary::LessEqual => FloatCC::LessThanOrEqual,
        Binary::Greater => FloatCC::GreaterThan,
        Binary::GreaterEqual => FloatCC::GreaterThanOrEqual,
        _ => return None,
    })
}

fn int_compare(op: Binary, signed: bool) -> Option<IntCC> {
    Some(match (op, signed) {
        (Binary::Equal, _) => IntCC::Equal,
        (Binary::NotEqual, _) => IntCC::NotEqual,
        (Binary::Less, true) => IntCC::SignedLessThan,
        (Binary::Less, false) => IntCC::UnsignedLessThan,
        (Binary::LessEqual, true) => IntCC::SignedLessThanOrEqual,
        (Binary::LessEqual, false) => IntCC::UnsignedLessThanOrEqual,
        (Binary::Greater, true) => IntCC::SignedGreaterThan,
        (Binary::Greater, false) => IntCC::UnsignedGreaterThan,
        (Binary::GreaterEqual, true) => IntCC::SignedGreaterThanOrEqual,
        (Binary::GreaterEqual, false) => IntCC::UnsignedGreaterThanOrEqual,
        _ => return None,
    })
}
