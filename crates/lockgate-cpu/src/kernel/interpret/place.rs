//! How memory is read and written through pointers.

use lockgate_runtime::ObservedKind;
use naga::{AtomicFunction, BinaryOperator, Expression, Handle, MathFunction, Span, TypeInner};

use super::{
    super::{
        binding::Binding,
        layout::{self, Leaf},
        number::{self, Num},
    },
    Machine,
    value::{Bound, Data, Fault, Pointer, Root, Value, read_scalar, write_scalar},
};

impl Machine<'_> {
    /// The scalars of what a pointer expression points to.
    fn pointee(&self, pointer: Handle<Expression>) -> Result<Vec<Leaf>, Fault> {
        let module = &self.program.module;
        let found = match *self.frame()?.info[pointer].ty.inner_with(&module.types) {
            TypeInner::Pointer { base, .. } => self.program.leaves(base).map(<[Leaf]>::to_vec),
            TypeInner::ValuePointer { size: None, scalar, .. } => {
                layout::leaves(module, &TypeInner::Scalar(scalar))
            }
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
                layout::leaves(module, &TypeInner::Vector { size, scalar })
            }
            _ => None,
        };
        found.ok_or_else(|| Fault::failed("a load or store of this type"))
    }

    pub(super) fn load(&self, pointer: Handle<Expression>, span: Span, lane: usize) -> Result<Value, Fault> {
        let place = self.value(pointer, lane)?.pointer()?;
        if self.recorder.is_some() {
            let kind = if self.is_atomic(pointer)? { ObservedKind::AtomicLoad } else { ObservedKind::Read };
            let leaves = self.pointee(pointer)?;
            leaves.iter().enumerate().for_each(|(number, leaf)| {
                self.observe(span, kind, place, *leaf, lane, (number == 0, false));
            });
        }
        let atomic = self.port.is_some() && self.is_atomic(pointer)?;
        let read = |leaf: &Leaf| self.read(place, *leaf, lane, atomic);
        Ok(Value::Data(self.pointee(pointer)?.iter().map(read).collect::<Result<Data, _>>()?))
    }

    pub(super) fn store(
        &mut self,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        lane: usize,
    ) -> Result<(), Fault> {
        let place = self.value(pointer, lane)?.pointer()?;
        let value = self.value(value, lane)?;
        let atomic = (self.recorder.is_some() || self.port.is_some()) && self.is_atomic(pointer)?;
        for (number, (leaf, bits)) in self.pointee(pointer)?.iter().zip(value.data()?).enumerate() {
            if self.recorder.is_some() {
                let kind = if atomic { ObservedKind::Atomic } else { ObservedKind::Write };
                let changed = !atomic && place.inside && self.read(place, *leaf, lane, false)? != *bits;
                self.observe(self.statement, kind, place, *leaf, lane, (number == 0, changed));
            }
            self.write(place, *leaf, lane, *bits, atomic)?;
        }
        Ok(())
    }

    /// Where a scalar of a buffer is; nowhere if nothing is bound.
    pub(super) fn address(&self, bound: Bound, offset: u64, bytes: u32) -> Result<Option<*mut u8>, Fault> {
        match self.binding(bound) {
            Some(Binding::Buffer(buffer)) if offset + u64::from(bytes) <= buffer.len => {
                Ok(Some(buffer.ptr.wrapping_add(offset as usize)))
            }
            Some(Binding::Nothing) => Ok(None),
            _ => Err(Fault::failed("an address outside its buffer")),
        }
    }

    fn read(&self, place: Pointer, leaf: Leaf, lane: usize, atomic: bool) -> Result<u64, Fault> {
        match place.root {
            Root::Slot(bound) => {
                let bytes = leaf.num.bytes();
                let address = self.address(bound, place.offset + u64::from(leaf.offset), bytes)?;
                let Some(address) = address else { return Ok(0) };
                Ok(self.load_bound(self.reach(bound, lane, address, bytes), atomic))
            }
            Root::Shared => read_scalar(&self.shared, place.offset, leaf),
            Root::Private => read_scalar(&self.private[lane], place.offset, leaf),
            Root::Immediates => {
                let start = place.offset as usize + leaf.offset as usize;
                let byte = |i: usize| u64::from(self.launch.immediates.get(start + i).copied().unwrap_or(0));
                Ok((0..leaf.num.bytes() as usize).map(|i| byte(i) << (8 * i)).sum())
            }
            Root::Local { depth, variable } => {
                read_scalar(&self.frames[depth].locals[lane][variable], place.offset, leaf)
            }
        }
    }

    fn write(
        &mut self,
        place: Pointer,
        leaf: Leaf,
        lane: usize,
        bits: u64,
        atomic: bool,
    ) -> Result<(), Fault> {
        if !place.inside {
            return Ok(());
        }
        match place.root {
            Root::Slot(bound) => {
                let bytes = leaf.num.bytes();
                let address = self.address(bound, place.offset + u64::from(leaf.offset), bytes)?;
                let Some(address) = address else { return Ok(()) };
                self.store_bound(self.reach(bound, lane, address, bytes), bits, atomic);
                Ok(())
            }
            Root::Shared => write_scalar(&mut self.shared, place.offset, leaf, bits),
            Root::Private => write_scalar(&mut self.private[lane], place.offset, leaf, bits),
            Root::Immediates => Err(Fault::failed("a write to immediates")),
            Root::Local { depth, variable } => {
                write_scalar(&mut self.frames[depth].locals[lane][variable], place.offset, leaf, bits)
            }
        }
    }

    pub(super) fn atomic(
        &mut self,
        pointer: Handle<Expression>,
        fun: AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
        lane: usize,
    ) -> Result<(), Fault> {
        let place = self.value(pointer, lane)?.pointer()?;
        let leaf = self.pointee(pointer)?[0];
        let operand = self.value(value, lane)?.first()?;
        let compare = match fun {
            AtomicFunction::Exchange { compare: Some(compare) } => Some(self.value(compare, lane)?.first()?),
            _ => None,
        };
        self.observe(self.statement, ObservedKind::Atomic, place, leaf, lane, (true, true));
        let change = |old| changed(fun, leaf.num, old, operand, compare);
        let old = match place.root {
            _ if !place.inside => 0,
            Root::Slot(bound) => {
                let bytes = leaf.num.bytes();
                let address = self.address(bound, place.offset + u64::from(leaf.offset), bytes)?;
                match address {
                    Some(address) => self.update_bound(self.reach(bound, lane, address, bytes), &change),
                    None => 0,
                }
            }
            _ => {
                let old = self.read(place, leaf, lane, true)?;
                self.write(place, leaf, lane, change(old), true)?;
                old
            }
        };
        let Some(result) = result else { return Ok(()) };
        let value = match compare {
            Some(compare) => Data::from_slice(&[old, u64::from(old == compare)]),
            None => Data::from_slice(&[old]),
        };
        self.set(result, lane, Value::Data(value))
    }
}

/// What an atomic operation leaves in memory.
pub(in super::super) fn changed(
    fun: AtomicFunction,
    num: Num,
    old: u64,
    operand: u64,
    compare: Option<u64>,
) -> u64 {
    let math = |fun| number::math(fun, num, &[old, operand]).unwrap_or(old);
    match fun {
        AtomicFunction::Add => number::binary(BinaryOperator::Add, num, old, operand),
        AtomicFunction::Subtract => number::binary(BinaryOperator::Subtract, num, old, operand),
        AtomicFunction::And => old & operand,
        AtomicFunction::ExclusiveOr => old ^ operand,
        AtomicFunction::InclusiveOr => old | operand,
        AtomicFunction::Min => math(MathFunction::Min),
        AtomicFunction::Max => math(MathFunction::Max),
        AtomicFunction::Exchange { .. } if compare.is_some_and(|wanted| wanted != old) => old,
        AtomicFunction::Exchange { .. } => operand,
    }
}
