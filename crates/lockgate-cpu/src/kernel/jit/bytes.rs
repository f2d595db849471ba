//! Bytes of words and products with powers of two, in the instructions that leave the busiest units alone.
//!
//! Kernels that take packed pixels apart are held back by shifts, conversions and products, which share units; a byte shuffle
//! has one of its own.

use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, types};

use super::{
    super::number::Num,
    code::Emitter,
    ir::{Binary, Id},
};

/// Whether this processor shuffles bytes and can put zeros between them.
fn shuffles() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("ssse3");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Emitter<'_, '_> {
    /// The byte of each lane that `a & b` or `a >> b` asks for, if that is all that it does.
    pub(super) fn byte_of(&mut self, op: Binary, a: Id, b: Id) -> Option<Value> {
        let words = self.program.num(a) == Num::U32 && shuffles();
        let (word, start) = match (op, self.program.constant(b).filter(|_| words)?) {
            (Binary::ShiftRight, 24) => (self.vector(a), 3),
            (Binary::And, 0xFF) => {
                let shifted = self.vector(a);
                self.shifted(shifted)?
            }
            _ => return None,
        };
        let bytes = (0..16).map(|i| if i % 4 == 0 { i + start } else { 0x80 }).collect::<Vec<u8>>();
        let bytes = self.b.func.dfg.constants.insert(bytes.into());
        let bytes = self.b.ins().vconst(types::I8X16, bytes);
        let word = self.cast(types::I8X16, word);
        let byte = self.b.ins().x86_pshufb(word, bytes);
        Some(self.cast(types::I32X4, byte))
    }

    /// What a register was shifted down from, and by how many bytes.
    fn shifted(&self, value: Value) -> Option<(Value, u8)> {
        let dfg = &self.b.func.dfg;
        let made = |value: Value| dfg.value_def(value).inst().map(|inst| dfg.insts[inst]);
        let Some(InstructionData::Binary { opcode: Opcode::Ushr, args: [word, amount] }) = made(value) else {
            return None;
        };
        let Some(InstructionData::UnaryImm { imm, .. }) = made(amount) else { return None };
        [8, 16].contains(&imm.bits()).then_some((word, imm.bits() as u8 / 8))
    }

    /// A product with a power of two.
    pub(super) fn doubled(&mut self, num: Num, a: Id, b: Id) -> Option<Value> {
        let factor = self.program.constant(b).filter(|_| matches!(num, Num::I32 | Num::U32))?;
        let factor = u32::try_from(factor).ok().filter(|factor| factor.is_power_of_two())?;
        let a = self.vector(a);
        Some(self.b.ins().ishl_imm_s(a, i64::from(factor.trailing_zeros())))
    }
}
