//! How an element of an array of bindings is found: its entry in a table, chosen by an index that is clamped to it.
//!
//! The slot of an array holds the address of the table and its length; an entry is a [`Slot`] as that of a single
//! binding. Where nothing is bound, the entry points to zeros that are never written. Lanes that choose different
//! elements go one by one.

use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

use super::{
    code::{Emitter, Slot, Val, constant_flags, context},
    ir::{Bound, Memory, Place, Resource},
};

/// What is known of one element.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub(super) pointer: Value,
    pub(super) count: Value,
    pub(super) whole_quads: Value,
    /// Not zero if something is bound.
    pub(super) bound: Value,
}

impl Emitter<'_, '_> {
    fn entry(&mut self, slot: u32, index: Value) -> Value {
        let array = self.slots[slot as usize];
        let last = self.b.ins().iadd_imm_s(array.count, -1);
        let index = self.b.ins().umin(index, last);
        let index = self.b.ins().uextend(types::I64, index);
        let offset = self.b.ins().imul_imm_s(index, size_of::<Slot>() as i64);
        self.b.ins().iadd(array.pointer, offset)
    }

    /// The element of an array of buffers.
    pub(super) fn element(&mut self, slot: u32, index: Value) -> Element {
        use std::mem::offset_of;
        let entry = self.entry(slot, index);
        let mut field =
            |ty: Type, offset: usize| self.b.ins().load(ty, constant_flags(), entry, offset as i32);
        Element {
            pointer: field(types::I64, offset_of!(Slot, pointer)),
            count: field(types::I32, offset_of!(Slot, count)),
            whole_quads: field(types::I32, offset_of!(Slot, whole_quads)),
            bound: field(types::I32, offset_of!(Slot, bound)),
        }
    }

    /// What a lane's texture or sampler is, for Rust.
    pub(super) fn object(&mut self, resource: Resource, lane: u8) -> Value {
        let at = std::mem::offset_of!(Slot, object);
        match resource.element {
            None => {
                let table = self.field(context!(slots));
                let offset = resource.slot as usize * size_of::<Slot>() + at;
                self.b.ins().load(types::I64, constant_flags(), table, offset as i32)
            }
            Some(index) => {
                let index = self.lane_of(index, lane);
                let entry = self.entry(resource.slot, index);
                self.b.ins().load(types::I64, constant_flags(), entry, at as i32)
            }
        }
    }

    /// Whether lanes find their memory in different bindings.
    pub(super) fn is_scattered(&mut self, memory: Memory) -> bool {
        memory.element().is_some_and(|index| !matches!(self.get(index), Val::Scalar(_)))
    }

    /// The element that all lanes choose.
    pub(super) fn common_element(&mut self, memory: Memory) -> Option<Element> {
        let Memory::Element { slot, index, .. } = memory else { return None };
        let index = self.scalar(index);
        Some(self.element(slot, index))
    }

    /// Each lane's address, and whether it is bound and its indices are in range.
    pub(super) fn scattered(&mut self, place: &Place) -> [(Value, Option<Value>); 4] {
        let Memory::Element { slot, index, .. } = place.memory else {
            let base = self.base(place.memory);
            return [(base, None); 4];
        };
        [0u8, 1, 2, 3].map(|lane| {
            let index = self.lane_of(index, lane);
            let element = self.element(slot, index);
            let (mut address, mut inside) = (element.pointer, element.bound);
            for index in &place.indices {
                let count = match index.bound {
                    Bound::Known(count) => self.int(count),
                    Bound::Runtime => element.count,
                };
                let value = self.lane_of(index.id, lane);
                let (next, in_range) = self.step(address, i64::from(index.stride), value, count);
                let in_range = self.b.ins().uextend(types::I32, in_range);
                (address, inside) = (next, self.b.ins().band(inside, in_range));
            }
            (address, Some(inside))
        })
    }
}
