//! How numbers of 16 bits live in registers, and those of 64 bits when four invocations run at once.
//!
//! A half float is an `f32` that a half float can hold, rounded after each operation: for `+ - * /` and the square root
//! that is the correctly rounded result, since an `f32` has more than twice its bits. A 16-bit integer is the 32-bit
//! one of the same value. A value of 64 bits has no register for four lanes; it has one for each. Tested by
//! `tests/kernel/numbers.rs`.

use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, condcodes::IntCC, types};
use cranelift_frontend::Variable;

use super::{
    super::number::Num,
    code::{Emitter, Val, scalar_type},
    ir::{Binary, Op, Unary},
};

/// Bits of an `f32`: the smallest normal half, two to the power of 16, and infinity.
const SMALLEST_NORMAL: i64 = 0x3880_0000;
const BEYOND: i64 = 0x4780_0000;
const INFINITY: i64 = 0x7F80_0000;
/// 0.5, whose last bit is worth as much as that of a half that is not normal.
const HALF: i64 = 0x3F00_0000;

/// The type that a register has instead of a narrow one.
pub(super) fn register_num(num: Num) -> Num {
    match num {
        Num::F16 => Num::F32,
        Num::I16 => Num::I32,
        Num::U16 => Num::U32,
        num => num,
    }
}

/// Whether four of it fill more than a register.
pub(super) fn is_wide(num: Num) -> bool {
    num.bytes() == 8
}

/// Where a value lives that is needed elsewhere than where it is computed.
#[derive(Clone, Copy)]
pub(super) enum Home {
    One(Variable),
    /// One variable for each lane.
    Each([Variable; 4]),
}

impl Emitter<'_, '_> {
    /// An integer in each lane of a register of this type.
    fn fill(&mut self, like: Value, bits: i64) -> Value {
        let value = self.b.ins().iconst(types::I32, bits & 0xFFFF_FFFF);
        if self.b.func.dfg.value_type(like).is_vector() {
            self.b.ins().splat(types::I32X4, value)
        } else {
            value
        }
    }

    fn same_lanes(&self, like: Value, scalar: Type, vector: Type) -> Type {
        if self.b.func.dfg.value_type(like).is_vector() { vector } else { scalar }
    }

    fn as_floats(&mut self, bits: Value) -> Value {
        let ty = self.same_lanes(bits, types::F32, types::F32X4);
        self.cast(ty, bits)
    }

    pub(super) fn as_words(&mut self, value: Value) -> Value {
        let ty = self.same_lanes(value, types::I32, types::I32X4);
        self.cast(ty, value)
    }

    fn and(&mut self, value: Value, bits: i64) -> Value {
        let bits = self.fill(value, bits);
        self.b.ins().band(value, bits)
    }

    /// `yes` where a signed comparison with a constant holds.
    fn where_int(&mut self, test: (IntCC, Value, i64), yes: Value, no: Value) -> Value {
        let (condition, value, bits) = test;
        let bits = self.fill(value, bits);
        let holds = self.b.ins().icmp(condition, value, bits);
        if self.b.func.dfg.value_type(value).is_vector() {
            self.choose(holds, yes, no)
        } else {
            self.b.ins().select(holds, yes, no)
        }
    }

    /// Bits of half floats, one in each lane's lowest bits, as floats.
    pub(super) fn widen_half(&mut self, bits: Value) -> Value {
        let size = self.and(bits, 0x7FFF);
        let shifted = self.b.ins().ishl_imm_s(size, 13);
        let scale = self.fill(bits, 0x7780_0000);
        let (value, scale) = (self.as_floats(shifted), self.as_floats(scale));
        // The exponent grows by the difference of the biases; what is not normal becomes so.
        let value = self.b.ins().fmul(value, scale);
        let value = self.as_words(value);
        let infinity = self.fill(bits, INFINITY);
        let endless = self.b.ins().bor(value, infinity);
        let value = self.where_int((IntCC::SignedGreaterThan, size, 0x7BFF), endless, value);
        let sign = self.and(bits, 0x8000);
        let sign = self.b.ins().ishl_imm_s(sign, 16);
        let value = self.b.ins().bor(value, sign);
        self.as_floats(value)
    }

    /// Floats that half floats can hold, as the bits of those.
    pub(super) fn narrow_half(&mut self, value: Value) -> Value {
        let bits = self.as_words(value);
        let size = self.and(bits, 0x7FFF_FFFF);
        let high = self.b.ins().ushr_imm_s(size, 13);
        let bias = self.fill(bits, -(112 << 10));
        let normal = self.b.ins().iadd(high, bias);
        let (small, half) = (self.as_floats(size), self.fill(bits, HALF));
        let half_float = self.as_floats(half);
        let small = self.b.ins().fadd(small, half_float);
        let small = self.as_words(small);
        let small = self.b.ins().isub(small, half);
        let mantissa = self.and(high, 0x3FF);
        let exponent = self.fill(bits, 0x7C00);
        let endless = self.b.ins().bor(mantissa, exponent);
        let magnitude = self.where_int((IntCC::SignedLessThan, size, SMALLEST_NORMAL), small, normal);
        let magnitude = self.where_int((IntCC::SignedGreaterThanOrEqual, size, INFINITY), endless, magnitude);
        let sign = self.b.ins().ushr_imm_s(bits, 16);
        let sign = self.and(sign, 0x8000);
        self.b.ins().bor(magnitude, sign)
    }

    /// Floats rounded to what half floats can hold.
    fn round_half(&mut self, value: Value) -> Value {
        let bits = self.as_words(value);
        let size = self.and(bits, 0x7FFF_FFFF);
        let sign = self.b.ins().bxor(bits, size);
        let odd = self.b.ins().ushr_imm_s(size, 13);
        let odd = self.and(odd, 1);
        let below_half = self.fill(bits, 0xFFF);
        let normal = self.b.ins().iadd(size, below_half);
        let normal = self.b.ins().iadd(normal, odd);
        let normal = self.and(normal, !0x1FFF);
        let (small, half) = (self.as_floats(size), self.fill(bits, HALF));
        let half = self.as_floats(half);
        let small = self.b.ins().fadd(small, half);
        let small = self.b.ins().fsub(small, half);
        let small = self.as_words(small);
        let rounded = self.where_int((IntCC::SignedLessThan, size, SMALLEST_NORMAL), small, normal);
        let infinity = self.fill(bits, INFINITY);
        let rounded = self.where_int((IntCC::SignedGreaterThanOrEqual, rounded, BEYOND), infinity, rounded);
        let nan = self.fill(bits, 0x7FC0_0000);
        let rounded = self.where_int((IntCC::SignedGreaterThan, size, INFINITY), nan, rounded);
        let rounded = self.b.ins().bor(rounded, sign);
        self.as_floats(rounded)
    }

    /// The result of an operation, cut or rounded to the 16 bits that its type has.
    pub(super) fn finish(&mut self, num: Num, op: &Op, value: Value) -> Value {
        match (num, op) {
            (Num::F16, Op::Binary(Binary::Min | Binary::Max, ..)) => value,
            (Num::F16, Op::Binary(..) | Op::Unary(Unary::Sqrt, _))
            | (Num::F16, Op::Fma(..) | Op::Convert(_) | Op::Call(..)) => self.round_half(value),
            (Num::I16 | Num::U16, Op::Binary(..) | Op::Unary(..) | Op::Convert(_)) => self.cut(num, value),
            _ => value,
        }
    }

    /// Integers cut to 16 bits.
    pub(super) fn cut(&mut self, num: Num, value: Value) -> Value {
        if num == Num::U16 {
            return self.and(value, 0xFFFF);
        }
        let high = self.b.ins().ishl_imm_s(value, 16);
        self.b.ins().sshr_imm_s(high, 16)
    }

    /// Reads a scalar.
    pub(super) fn read_scalar(&mut self, num: Num, flags: MemFlagsData, address: Value, at: i32) -> Value {
        match num {
            Num::I16 => self.b.ins().sload16(types::I32, flags, address, at),
            Num::U16 => self.b.ins().uload16(types::I32, flags, address, at),
            Num::F16 => {
                let bits = self.b.ins().uload16(types::I32, flags, address, at);
                self.widen_half(bits)
            }
            _ => self.b.ins().load(scalar_type(num), flags, address, at),
        }
    }

    /// Writes a scalar.
    pub(super) fn write_scalar(&mut self, num: Num, value: Value, (address, at): (Value, i32)) {
        let flags = super::code::flags();
        match num {
            Num::I16 | Num::U16 => self.b.ins().istore16(flags, value, address, at),
            Num::F16 => {
                let bits = self.narrow_half(value);
                self.b.ins().istore16(flags, bits, address, at)
            }
            _ => self.b.ins().store(flags, value, address, at),
        };
    }

    /// Four neighbouring numbers of 16 bits.
    pub(super) fn read_four(&mut self, num: Num, flags: MemFlagsData, address: Value, at: i32) -> Value {
        let bits = self.b.ins().load(types::I64, flags, address, at);
        let bits = self.b.ins().scalar_to_vector(types::I64X2, bits);
        let halves = self.cast(types::I16X8, bits);
        match num {
            Num::I16 => self.b.ins().swiden_low(halves),
            Num::U16 => self.b.ins().uwiden_low(halves),
            _ => {
                let bits = self.b.ins().uwiden_low(halves);
                self.widen_half(bits)
            }
        }
    }

    /// Puts scalars into lanes, whatever holds those of their type.
    pub(super) fn gather_any(&mut self, num: Num, lanes: [Value; 4]) -> Val {
        if is_wide(num) { Val::Each(lanes) } else { Val::Vector(self.gather_lanes(num, lanes)) }
    }

    pub(super) fn new_home(&mut self, num: Num, vector: Option<Type>) -> Home {
        match vector {
            Some(_) if is_wide(num) => Home::Each([(); 4].map(|()| self.b.declare_var(scalar_type(num)))),
            Some(ty) => Home::One(self.b.declare_var(ty)),
            None => Home::One(self.b.declare_var(scalar_type(num))),
        }
    }

    pub(super) fn set_home(&mut self, home: Home, val: Val) {
        match (home, val) {
            (Home::One(variable), Val::Scalar(value) | Val::Linear(value) | Val::Vector(value)) => {
                self.b.def_var(variable, value);
            }
            (Home::Each(variables), Val::Each(values)) => {
                variables.iter().zip(values).for_each(|(variable, value)| self.b.def_var(*variable, value));
            }
            (Home::Each(variables), Val::Scalar(value) | Val::Linear(value) | Val::Vector(value)) => {
                variables.iter().for_each(|variable| self.b.def_var(*variable, value));
            }
            (Home::One(variable), Val::Each(values)) => self.b.def_var(variable, values[0]),
        }
    }
}
