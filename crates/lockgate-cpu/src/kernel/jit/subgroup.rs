//! How invocations of a subgroup work together: four that run at once are one.
//!
//! Operations of WGSL become four primitives (`lower_subgroup`), and these become shuffles of registers. Lanes that are
//! not active are left out by the mask. The interpreter does the same steps in the same order. Tested by
//! `tests/kernel/subgroups.rs`.

use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use naga::{
    BinaryOperator, CollectiveOperation, Direction, Expression, GatherMode, Handle, SubgroupOperation,
};

use super::{
    super::{
        number::Num,
        subgroup::{identity, operator},
    },
    code::{Emitter, Val, vector_type},
    ir::{Binary, Builtin, Id, Op, Stmt, SubgroupOp, Unary},
    lower::{Lowering, Refusal},
    narrow::is_wide,
};

impl Lowering<'_> {
    fn together(&mut self, op: SubgroupOp, num: Num, value: Id) -> Id {
        self.program.subgroups = true;
        let result = self.new_id(num);
        self.emit(Stmt::Subgroup { op, value, result });
        result
    }

    fn ballot(&mut self, value: Id) -> Id {
        self.together(SubgroupOp::Ballot, Num::U32, value)
    }

    pub(super) fn subgroup_ballot(
        &mut self,
        predicate: Option<Handle<Expression>>,
    ) -> Result<Vec<Id>, Refusal> {
        let value = match predicate {
            Some(predicate) => self.scalar(predicate)?,
            None => self.constant(Num::Bool, 1),
        };
        let (bits, zero) = (self.ballot(value), self.constant(Num::U32, 0));
        Ok(vec![bits, zero, zero, zero])
    }

    pub(super) fn subgroup_collective(
        &mut self,
        op: SubgroupOperation,
        collective: CollectiveOperation,
        argument: Handle<Expression>,
    ) -> Result<Vec<Id>, Refusal> {
        let num = self.num(argument)?;
        let values = self.data(argument)?;
        let zero = self.constant(Num::U32, 0);
        Ok(match op {
            SubgroupOperation::All => {
                let missing = self.op(Num::Bool, Op::Unary(Unary::Not, values[0]));
                let bits = self.ballot(missing);
                vec![self.pair(Num::Bool, Binary::Equal, bits, zero)]
            }
            SubgroupOperation::Any => {
                let bits = self.ballot(values[0]);
                vec![self.pair(Num::Bool, Binary::NotEqual, bits, zero)]
            }
            _ => {
                let op = match operator(op) {
                    None if op == SubgroupOperation::Min => Binary::Min,
                    None => Binary::Max,
                    Some(BinaryOperator::Add) => Binary::Add,
                    Some(BinaryOperator::Multiply) => Binary::Multiply,
                    Some(BinaryOperator::And) => Binary::And,
                    Some(BinaryOperator::InclusiveOr) => Binary::Or,
                    Some(_) => Binary::Xor,
                };
                let op = match collective {
                    CollectiveOperation::Reduce => SubgroupOp::Reduce(op),
                    CollectiveOperation::InclusiveScan => SubgroupOp::Scan { op, inclusive: true },
                    CollectiveOperation::ExclusiveScan => SubgroupOp::Scan { op, inclusive: false },
                };
                values.into_iter().map(|value| self.together(op, num, value)).collect()
            }
        })
    }

    pub(super) fn subgroup_gather(
        &mut self,
        mode: GatherMode,
        argument: Handle<Expression>,
    ) -> Result<Vec<Id>, Refusal> {
        let num = self.num(argument)?;
        let values = self.data(argument)?;
        let lane = |this: &mut Self| this.op(Num::U32, Op::Builtin(Builtin::SubgroupLane));
        let moved = |this: &mut Self, op: Binary, by: Id| {
            let own = lane(this);
            this.pair(Num::U32, op, own, by)
        };
        let from = match mode {
            GatherMode::BroadcastFirst => {
                let yes = self.constant(Num::Bool, 1);
                let active = self.ballot(yes);
                self.op(Num::U32, Op::Unary(Unary::TrailingZeros, active))
            }
            // A quad is a subgroup.
            GatherMode::Broadcast(index) | GatherMode::Shuffle(index) | GatherMode::QuadBroadcast(index) => {
                let index = self.scalar(index)?;
                self.as_word(index)
            }
            GatherMode::ShuffleDown(by) => {
                let by = self.scalar(by)?;
                moved(self, Binary::Add, by)
            }
            GatherMode::ShuffleUp(by) => {
                let by = self.scalar(by)?;
                moved(self, Binary::Subtract, by)
            }
            GatherMode::ShuffleXor(by) => {
                let by = self.scalar(by)?;
                moved(self, Binary::Xor, by)
            }
            GatherMode::QuadSwap(direction) => {
                let by = match direction {
                    Direction::X => 1,
                    Direction::Y => 2,
                    Direction::Diagonal => 3,
                };
                let by = self.constant(Num::U32, by);
                moved(self, Binary::Xor, by)
            }
        };
        Ok(values.into_iter().map(|value| self.together(SubgroupOp::Shuffle(from), num, value)).collect())
    }
}

impl Emitter<'_, '_> {
    pub(super) fn subgroup(&mut self, op: SubgroupOp, value: Id, result: Id) {
        let num = self.program.num(value);
        let val = match op {
            SubgroupOp::Ballot => {
                let mut value = self.vector(value);
                if let Some(mask) = self.mask_value() {
                    value = self.b.ins().band(value, mask);
                }
                Val::Scalar(self.bits(value))
            }
            SubgroupOp::Shuffle(index) => self.shuffle(num, value, index),
            SubgroupOp::Reduce(op) if is_wide(num) => {
                let [a, b, c, d] = self.others_replaced(num, op, value);
                let (low, high) = (self.scalar_binary(num, op, a, b), self.scalar_binary(num, op, c, d));
                Val::Scalar(self.scalar_binary(num, op, low, high))
            }
            SubgroupOp::Reduce(op) => {
                let values = self.others_filled(num, op, value);
                let swapped = self.moved(values, values, [1, 0, 3, 2]);
                let pairs = self.join_lanes(num, op, values, swapped);
                let swapped = self.moved(pairs, pairs, [2, 3, 0, 1]);
                let all = self.join_lanes(num, op, pairs, swapped);
                Val::Scalar(self.lane(all, num, 0))
            }
            SubgroupOp::Scan { op, inclusive } if is_wide(num) => self.scan_each(num, op, inclusive, value),
            SubgroupOp::Scan { op, inclusive } => {
                let values = self.others_filled(num, op, value);
                let none = self.constant(num, identity(num, binary_operator(op)));
                let none = self.b.ins().splat(vector_type(num), none);
                let before = self.moved(values, none, [4, 0, 1, 2]);
                let pairs = self.join_lanes(num, op, before, values);
                let before = self.moved(pairs, none, [4, 4, 0, 1]);
                let all = self.join_lanes(num, op, before, pairs);
                Val::Vector(if inclusive { all } else { self.moved(all, none, [4, 0, 1, 2]) })
            }
        };
        self.define(result, val);
    }

    fn join_lanes(&mut self, num: Num, op: Binary, a: Value, b: Value) -> Value {
        let value = self.vector_binary(num, op, a, b);
        // The operands do not matter for how the result is cut.
        self.finish(num, &Op::Binary(op, Id(0), Id(0)), value)
    }

    fn moved(&mut self, a: Value, b: Value, words: [u8; 4]) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        let (a, b) = (self.cast(types::I8X16, a), self.cast(types::I8X16, b));
        let moved = self.words(a, b, words);
        self.cast(ty, moved)
    }

    /// The values of active lanes; elsewhere what changes nothing.
    fn others_filled(&mut self, num: Num, op: Binary, value: Id) -> Value {
        let value = self.vector(value);
        let Some(mask) = self.mask_value() else { return value };
        let none = self.constant(num, identity(num, binary_operator(op)));
        let none = self.b.ins().splat(vector_type(num), none);
        self.choose(mask, value, none)
    }

    fn others_replaced(&mut self, num: Num, op: Binary, value: Id) -> [Value; 4] {
        let values = [0, 1, 2, 3].map(|lane| self.lane_of(value, lane));
        let Some(mask) = self.mask_value() else { return values };
        let none = self.constant(num, identity(num, binary_operator(op)));
        let bits = self.bits(mask);
        let mut lane = 0;
        values.map(|value| {
            let active = self.b.ins().band_imm_s(bits, 1 << lane);
            lane += 1;
            self.b.ins().select(active, value, none)
        })
    }

    /// A scan of values of 64 bits, in the same steps.
    fn scan_each(&mut self, num: Num, op: Binary, inclusive: bool, value: Id) -> Val {
        let none = self.constant(num, identity(num, binary_operator(op)));
        let [a, b, c, d] = self.others_replaced(num, op, value);
        let pairs = [(none, a), (a, b), (b, c), (c, d)].map(|(a, b)| self.scalar_binary(num, op, a, b));
        let [a, b, c, d] = pairs;
        let all = [(none, a), (none, b), (a, c), (b, d)].map(|(a, b)| self.scalar_binary(num, op, a, b));
        Val::Each(if inclusive { all } else { [none, all[0], all[1], all[2]] })
    }

    fn shuffle(&mut self, num: Num, value: Id, index: Id) -> Val {
        if is_wide(num) {
            return self.shuffle_each(num, value, index);
        }
        let together = matches!(self.get(index), Val::Scalar(_));
        let mut values = self.vector(value);
        let ty = self.b.func.dfg.value_type(values);
        if let Some(mask) = self.mask_value() {
            let words = self.as_words(values);
            let words = self.b.ins().band(words, mask);
            values = self.cast(ty, words);
        }
        // The bytes of each word, which are all beyond the register if there is no such lane.
        let (index, beyond) = (self.vector(index), self.int(4));
        let beyond = self.b.ins().splat(types::I32X4, beyond);
        let index = self.b.ins().umin(index, beyond);
        let (each, order) = (self.int(0x0404_0404), self.int(0x0302_0100));
        let (each, order) = (self.b.ins().splat(types::I32X4, each), self.b.ins().splat(types::I32X4, order));
        let bytes = self.b.ins().imul(index, each);
        let bytes = self.b.ins().iadd(bytes, order);
        let (values, bytes) = (self.cast(types::I8X16, values), self.cast(types::I8X16, bytes));
        let moved = self.b.ins().swizzle(values, bytes);
        let moved = self.cast(ty, moved);
        if together { Val::Scalar(self.lane(moved, num, 0)) } else { Val::Vector(moved) }
    }

    fn shuffle_each(&mut self, num: Num, value: Id, index: Id) -> Val {
        let values = [0, 1, 2, 3].map(|lane| self.lane_of(value, lane));
        let bits = match self.mask_value() {
            Some(mask) => self.bits(mask),
            None => self.int(0b1111),
        };
        let zero = self.constant(num, 0);
        let chosen = |this: &mut Self, lane: u8| {
            let index = this.lane_of(index, lane);
            let mut found = zero;
            for (from, value) in values.into_iter().enumerate() {
                let same = this.b.ins().icmp_imm_s(IntCC::Equal, index, from as i64);
                let active = this.b.ins().band_imm_s(bits, 1 << from);
                let active = this.b.ins().icmp_imm_s(IntCC::NotEqual, active, 0);
                let same = this.b.ins().band(same, active);
                found = this.b.ins().select(same, value, found);
            }
            found
        };
        match self.get(index) {
            Val::Scalar(_) => Val::Scalar(chosen(self, 0)),
            _ => Val::Each([0, 1, 2, 3].map(|lane| chosen(self, lane))),
        }
    }
}

/// The operator as the interpreter knows it.
fn binary_operator(op: Binary) -> Option<SubgroupOperation> {
    Some(match op {
        Binary::Add => SubgroupOperation::Add,
        Binary::Multiply => SubgroupOperation::Mul,
        Binary::Min => SubgroupOperation::Min,
        Binary::Max => SubgroupOperation::Max,
        Binary::And => SubgroupOperation::And,
        Binary::Or => SubgroupOperation::Or,
        Binary::Xor => SubgroupOperation::Xor,
        _ => return None,
    })
}
