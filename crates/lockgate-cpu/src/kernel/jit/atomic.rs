//! Atomic operations: on memory of the workgroup, which one thread alone uses, and on bound memory.

use cranelift_codegen::ir::{BlockArg, InstBuilder, Value, condcodes::IntCC, types};
use naga::AtomicFunction;

use super::{
    super::number::Num,
    code::{Emitter, Val, flags, scalar_type},
    ir::{Id, Memory, Place},
};

impl Emitter<'_, '_> {
    pub(super) fn atomic(
        &mut self,
        place: &Place,
        fun: AtomicFunction,
        value: Id,
        compare: Option<Id>,
        old: Id,
    ) {
        let addresses = match self.is_scattered(place.memory) {
            true => self.scattered(place),
            false => self.atomic_addresses(place),
        };
        let num = self.program.num(value);
        if self.mask().is_some() || addresses.iter().any(|(_, inside)| inside.is_some()) {
            self.lay([Some(value), compare].into_iter().flatten());
        }
        let results = self.each_active(addresses, num, |this, lane, address| {
            let address = this.b.ins().iadd_imm_s(address, i64::from(place.offset));
            let value = this.lane_of(value, lane);
            let compare = compare.map(|compare| this.lane_of(compare, lane));
            Some(if place.memory == Memory::Shared {
                this.update_alone(fun, num, address, value, compare)
            } else {
                this.update_together(fun, num, address, value, compare)
            })
        });
        self.take_up();
        let val = match results[..] {
            [a, b, c, d] => self.gather_any(num, [a, b, c, d]),
            _ => Val::Scalar(results[0]),
        };
        self.define(old, val);
    }

    fn atomic_addresses(&mut self, place: &Place) -> [(Value, Option<Value>); 4] {
        let (address, inside, rest) = self.common(place);
        let mut addresses = if rest.is_empty() || self.lanes == 1 {
            [(address, None); 4]
        } else {
            if self.may_skip(&rest) {
                self.lay(rest.iter().map(|index| index.id));
            }
            self.separate(place, address, &rest)
        };
        for (_, lane_inside) in &mut addresses {
            *lane_inside = match (inside, *lane_inside) {
                (Some(a), Some(b)) => Some(self.b.ins().band(a, b)),
                (a, b) => a.or(b),
            };
        }
        addresses
    }

    /// Memory that only this thread uses.
    fn update_alone(
        &mut self,
        fun: AtomicFunction,
        num: Num,
        address: Value,
        value: Value,
        compare: Option<Value>,
    ) -> Value {
        let old = self.b.ins().load(scalar_type(num), flags(), address, 0);
        if num.is_float() {
            let new = self.changed_float(fun, old, value, compare);
            self.b.ins().store(flags(), new, address, 0);
            return old;
        }
        let b = self.b.ins();
        let new = match (fun, num.is_signed()) {
            (AtomicFunction::Add, _) => b.iadd(old, value),
            (AtomicFunction::Subtract, _) => b.isub(old, value),
            (AtomicFunction::And, _) => b.band(old, value),
            (AtomicFunction::ExclusiveOr, _) => b.bxor(old, value),
            (AtomicFunction::InclusiveOr, _) => b.bor(old, value),
            (AtomicFunction::Min, true) => b.smin(old, value),
            (AtomicFunction::Min, false) => b.umin(old, value),
            (AtomicFunction::Max, true) => b.smax(old, value),
            (AtomicFunction::Max, false) => b.umax(old, value),
            (AtomicFunction::Exchange { .. }, _) => match compare {
                Some(compare) => {
                    let equal = b.icmp(IntCC::Equal, old, compare);
                    self.b.ins().select(equal, value, old)
                }
                None => value,
            },
        };
        self.b.ins().store(flags(), new, address, 0);
        old
    }

    fn update_together(
        &mut self,
        fun: AtomicFunction,
        num: Num,
        address: Value,
        value: Value,
        compare: Option<Value>,
    ) -> Value {
        use cranelift_codegen::ir::AtomicRmwOp as Rmw;
        if num.is_float() {
            return self.update_float(fun, address, value, compare);
        }
        let op = match (fun, num.is_signed()) {
            (AtomicFunction::Add, _) => Rmw::Add,
            (AtomicFunction::Subtract, _) => Rmw::Sub,
            (AtomicFunction::And, _) => Rmw::And,
            (AtomicFunction::ExclusiveOr, _) => Rmw::Xor,
            (AtomicFunction::InclusiveOr, _) => Rmw::Or,
            (AtomicFunction::Min, true) => Rmw::Smin,
            (AtomicFunction::Min, false) => Rmw::Umin,
            (AtomicFunction::Max, true) => Rmw::Smax,
            (AtomicFunction::Max, false) => Rmw::Umax,
            (AtomicFunction::Exchange { .. }, _) => match compare {
                Some(compare) => return self.b.ins().atomic_cas(flags(), address, compare, value),
                None => Rmw::Xchg,
            },
        };
        self.b.ins().atomic_rmw(scalar_type(num), flags(), op, address, value)
    }

    /// What an atomic operation makes of an `f32`: a sum, a difference or another value.
    fn changed_float(
        &mut self,
        fun: AtomicFunction,
        old: Value,
        value: Value,
        compare: Option<Value>,
    ) -> Value {
        match (fun, compare) {
            (AtomicFunction::Add, _) => self.b.ins().fadd(old, value),
            (AtomicFunction::Subtract, _) => self.b.ins().fsub(old, value),
            (_, Some(compare)) => {
                let (a, b) = (self.as_words(old), self.as_words(compare));
                let equal = self.b.ins().icmp(IntCC::Equal, a, b);
                self.b.ins().select(equal, value, old)
            }
            (_, None) => value,
        }
    }

    /// Tries until nobody has come between.
    fn update_float(
        &mut self,
        fun: AtomicFunction,
        address: Value,
        value: Value,
        compare: Option<Value>,
    ) -> Value {
        let [again, end] = [(); 2].map(|()| self.b.create_block());
        let seen = self.b.append_block_param(again, types::I32);
        let result = self.b.append_block_param(end, types::F32);
        let first = self.b.ins().load(types::I32, flags(), address, 0);
        self.b.ins().jump(again, &[BlockArg::Value(first)]);
        self.b.switch_to_block(again);
        let old = self.cast(types::F32, seen);
        let new = self.changed_float(fun, old, value, compare);
        let new = self.as_words(new);
        let found = self.b.ins().atomic_cas(flags(), address, seen, new);
        let same = self.b.ins().icmp(IntCC::Equal, found, seen);
        self.b.ins().brif(same, end, &[BlockArg::Value(old)], again, &[BlockArg::Value(found)]);
        self.b.seal_block(again);
        self.start(end);
        result
    }
}
