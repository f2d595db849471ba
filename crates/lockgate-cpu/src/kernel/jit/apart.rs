//! How lanes store one by one where that seldom happens.
//!
//! Four copies of a store, each behind tests of its own, take as long to compile where they hardly ever run as anywhere. There a
//! loop over the lanes takes what they store from memory. Of lanes that write one place only the last one stores.

use cranelift_codegen::ir::{
    InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, condcodes::IntCC, types,
};

use super::{
    super::number::Num,
    access::Leaves,
    code::{Emitter, NONE, Val, flags, scalar_type, vector_type},
    ir::{Id, Index, Memory, Place},
    rows,
};

/// Where a lane that is chosen as the code runs finds a value.
enum Source {
    Laid(StackSlot),
    Linear(Value),
    Same(Value),
}

/// What each lane stores at which offset.
enum Stored {
    /// A whole register for each lane.
    Row(i32, Num, StackSlot),
    Words(Vec<(i32, Num, Source)>),
}

impl Emitter<'_, '_> {
    /// Whether what lanes store can be taken from memory.
    pub(super) fn fits_loop(&self, place: &Place, from: Leaves<'_>) -> bool {
        let word = |num: Num| num.bytes() == 4 && num != Num::Bool;
        let words = from.iter().all(|(_, id)| word(self.program.num(*id)));
        self.lanes == 4 && words && !matches!(place.memory, Memory::Array(_))
    }

    /// Each lane that is active and in range stores, one after the other.
    pub(super) fn scatter_in_loop(
        &mut self,
        place: &Place,
        address: Value,
        rest: &[Index],
        from: Leaves<'_>,
    ) {
        let stored = self.lay_stored(place, from);
        let indices: Vec<(&Index, Source)> =
            rest.iter().map(|index| (index, self.source(index.id))).collect();
        let bits = self.mask_value().map(|mask| self.bits(mask));
        let [header, next, end] = [(); 3].map(|()| self.b.create_block());
        let lane = self.b.append_block_param(header, types::I32);
        let first = self.int(0);
        self.jump_with(header, &[first]);
        // Without this they would lie amid what often runs.
        [header, next, end].into_iter().for_each(|block| self.b.set_cold_block(block));
        self.b.switch_to_block(header);
        let mut active = bits.map(|bits| {
            let bit = self.b.ins().ushr(bits, lane);
            self.b.ins().band_imm_s(bit, 1)
        });
        let mut address = address;
        for (index, source) in &indices {
            let value = self.lane_from(source, Num::U32, lane);
            if !self.is_inside(index) {
                let count = self.count(place.memory, index.bound);
                let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, value, count);
                let inside = self.b.ins().uextend(types::I32, inside);
                active = self.both(active, Some(inside));
            }
            let value = self.b.ins().uextend(types::I64, value);
            let bytes = self.b.ins().imul_imm_s(value, i64::from(index.stride));
            address = self.b.ins().iadd(address, bytes);
        }
        if let Some(active) = active {
            let go = self.b.create_block();
            self.b.ins().brif(active, go, NONE, next, NONE);
            self.b.set_cold_block(go);
            self.start(go);
        }
        self.store_stored(&stored, address, lane);
        self.b.ins().jump(next, NONE);
        self.start(next);
        let after = self.b.ins().iadd_imm_s(lane, 1);
        let more = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThan, after, 4);
        self.b.ins().brif(more, header, &[after.into()], end, NONE);
        self.b.seal_block(header);
        self.start(end);
        self.take_up();
    }

    /// The last active lane stores, if there is one.
    pub(super) fn store_last(&mut self, place: &Place, address: Value, from: Leaves<'_>, mask: Value) {
        let stored = self.lay_stored(place, from);
        let bits = self.bits(mask);
        let [go, end] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(bits, go, NONE, end, NONE);
        self.start(go);
        let above = self.b.ins().clz(bits);
        let lane = self.b.ins().bxor_imm_s(above, 31);
        self.store_stored(&stored, address, lane);
        self.b.ins().jump(end, NONE);
        self.start(end);
        self.take_up();
    }

    fn lay_stored(&mut self, place: &Place, from: Leaves<'_>) -> Stored {
        let at = |offset: u32| (place.offset + offset) as i32;
        if let (Some(tuple), Some((offset, _))) = (rows::tuple(from), from.first())
            && self.rows.contains(tuple[0])
        {
            let slot = self.row_slot();
            for lane in 0..4 {
                let row = self.row(tuple, lane);
                let address = self.b.ins().stack_addr(types::I64, slot, 16 * i32::from(lane));
                self.b.ins().store(flags(), row, address, 0);
            }
            return Stored::Row(at(*offset), self.program.num(tuple[0]), slot);
        }
        let words = from.iter().map(|(offset, id)| (at(*offset), self.program.num(*id), self.source(*id)));
        Stored::Words(words.collect())
    }

    /// Memory for a row of each lane.
    fn row_slot(&mut self) -> StackSlot {
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 64, 4);
        *self.laid.rows.get_or_insert_with(|| self.b.create_sized_stack_slot(data))
    }

    /// Puts a value into memory if its lanes lie in a register.
    fn source(&mut self, id: Id) -> Source {
        self.lay([id].into_iter());
        if let Some(slot) = self.laid_slot(id) {
            return Source::Laid(slot);
        }
        match self.get(id) {
            Val::Linear(start) => Source::Linear(start),
            _ => Source::Same(self.scalar(id)),
        }
    }

    fn lane_from(&mut self, source: &Source, num: Num, lane: Value) -> Value {
        match *source {
            Source::Laid(slot) => {
                let address = self.laid_address(slot, lane, 4);
                self.b.ins().load(scalar_type(num), flags(), address, 0)
            }
            Source::Linear(start) => self.b.ins().iadd(start, lane),
            Source::Same(value) => value,
        }
    }

    fn laid_address(&mut self, slot: StackSlot, lane: Value, bytes: i64) -> Value {
        let start = self.b.ins().stack_addr(types::I64, slot, 0);
        let lane = self.b.ins().uextend(types::I64, lane);
        let offset = self.b.ins().imul_imm_s(lane, bytes);
        self.b.ins().iadd(start, offset)
    }

    fn store_stored(&mut self, stored: &Stored, address: Value, lane: Value) {
        match stored {
            Stored::Row(at, num, slot) => {
                let from = self.laid_address(*slot, lane, 16);
                let row = self.b.ins().load(vector_type(*num), flags(), from, 0);
                self.b.ins().store(flags(), row, address, *at);
            }
            Stored::Words(words) => {
                for (at, num, source) in words {
                    let value = self.lane_from(source, *num, lane);
                    self.b.ins().store(flags(), value, address, *at);
                }
            }
        }
    }
}
