//! Where lanes that go one by one take their values from.
//!
//! Cranelift computes a value in the block that uses it, and again in each other one that does not come after that. If lanes
//! may be left out, each has a block of its own, and what they take out of one register would be computed for each of them. So
//! the register is put into memory before, which is also less than taking it apart.

use cranelift_codegen::ir::{InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

use super::{
    super::number::Num,
    code::{Emitter, Val, flags, scalar_type},
    ir::{Id, Index},
};

/// Values whose lanes lie in memory now, and the memory of all that ever did.
#[derive(Default)]
pub(super) struct Laid {
    ids: Vec<Id>,
    slots: Vec<StackSlot>,
    /// Memory for a whole register of each lane.
    pub(super) rows: Option<StackSlot>,
}

impl Emitter<'_, '_> {
    /// Whether a lane may be left out that accesses a place by these indices.
    pub(super) fn may_skip(&mut self, indices: &[Index]) -> bool {
        self.mask().is_some() || indices.iter().any(|index| !self.is_inside(index))
    }

    /// Lays down values until [`Self::take_up`].
    pub(super) fn lay(&mut self, ids: impl Iterator<Item = Id>) {
        for id in ids {
            let Val::Vector(value) = self.get(id) else { continue };
            // A register of these is not what memory has of them.
            if self.laid.ids.contains(&id) || matches!(self.program.num(id), Num::Bool | Num::F16) {
                continue;
            }
            let number = self.laid.ids.len();
            if number == self.laid.slots.len() {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4);
                self.laid.slots.push(self.b.create_sized_stack_slot(data));
            }
            let address = self.b.ins().stack_addr(types::I64, self.laid.slots[number], 0);
            self.b.ins().store(flags(), value, address, 0);
            self.laid.ids.push(id);
        }
    }

    pub(super) fn take_up(&mut self) {
        self.laid.ids.clear();
    }

    /// Where a value lies, if it does.
    pub(super) fn laid_slot(&self, id: Id) -> Option<StackSlot> {
        let at = self.laid.ids.iter().position(|laid| *laid == id)?;
        Some(self.laid.slots[at])
    }

    /// A lane of a value that lies in memory.
    pub(super) fn laid_lane(&mut self, id: Id, lane: u8) -> Option<Value> {
        let slot = self.laid_slot(id)?;
        let address = self.b.ins().stack_addr(types::I64, slot, 0);
        let ty = scalar_type(self.program.num(id));
        Some(self.b.ins().load(ty, flags(), address, 4 * i32::from(lane)))
    }
}
