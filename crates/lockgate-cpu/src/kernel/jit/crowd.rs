//! How machine code looks at the cells of atomic operations: they race with nothing but plain accesses, so that what is left
//! to do is mostly to remember who was here.
//!
//! A cell whose first reader is nobody, and says that atomic operations were there, was read by nobody else. Everything else
//! calls `watch::shadow`, as the first operation on each word does. Tested by `tests/kernel/watched.rs`.

use std::mem::offset_of;

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};

use lockgate_runtime::ObservedKind;

use super::{
    super::watch::{CROWDS, Crowded, View, mark},
    cells::{Crowd, Look, READER},
    code::{Emitter, NONE, flags},
    tell::Access,
    told::CELL,
};

/// Bits of a first reader that is nobody, where atomic operations were.
const NOBODY: u64 = ((mark::NO_LANE as u64) << mark::LANE_SHIFT) | mark::ATOMIC;

/// Bytes of the crowds of a word, by those of its cell.
const CROWDS_SHIFT: i64 =
    size_of::<[Crowded; CROWDS]>().trailing_zeros() as i64 - CELL.trailing_zeros() as i64;

impl Emitter<'_, '_> {
    /// Leaves what an atomic operation has to, if it races with nothing, and goes to `after`.
    pub(super) fn look_to_update(&mut self, access: &Access<'_>, look: &Look, after: Block) {
        // What stores does not look at what is there.
        let loads = self.program.sites[access.site as usize].kind == ObservedKind::AtomicLoad;
        if look.own {
            self.update_own(look, access.stores, after);
        } else {
            self.update_bound(look, usize::from(loads), after);
        }
    }

    /// Types see to it that words of a workgroup's memory have atomic operations only, or none, so that nobody will ask who
    /// was here.
    fn update_own(&mut self, look: &Look, stores: bool, after: Block) {
        let ground = self.view(look.open, offset_of!(View, ground));
        let (write, _) = self.mark_at(look, 0);
        let old = self.b.ins().icmp(IntCC::UnsignedLessThan, write, ground);
        self.only_if(old, look.call);
        let (reader, _) = self.mark_at(look, READER);
        let known = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, reader, ground);
        if stores {
            let [mate, first] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(known, mate, NONE, first, NONE);
            self.start(first);
            let phase = self.view(look.open, offset_of!(View, mark));
            let mark = self.b.ins().bor_imm_s(phase, NOBODY as i64);
            self.leave_mark(look, READER, mark);
            self.b.ins().jump(after, NONE);
            self.start(mate);
        } else {
            // What nobody has written in this workgroup is told.
            self.only_if(known, look.call);
        }
        let nobody = self.is_nobody(reader);
        self.b.ins().brif(nobody, after, NONE, look.call, NONE);
    }

    /// Joins the crowd with this number.
    fn update_bound(&mut self, look: &Look, number: usize, after: Block) {
        let [somebody, ordered] = [(); 2].map(|()| self.b.create_block());
        let (write, difference) = self.mark_at(look, 0);
        self.b.ins().brif(write, somebody, NONE, ordered, NONE);
        self.start(somebody);
        self.leave_if_ordered(look, (write, difference), i64::from(mark::LANE_SHIFT), ordered);
        self.start(ordered);
        let (reader, _) = self.mark_at(look, READER);
        let nobody = self.is_nobody(reader);
        self.only_if(nobody, look.call);
        let atomics = self.view(look.open, offset_of!(View, atomics));
        self.only_if(atomics, look.call);
        let offset = self.b.ins().ishl_imm_u(look.offset, CROWDS_SHIFT);
        let first = self.b.ins().iadd(atomics, offset);
        let first = self.b.ins().iadd_imm_s(first, (number * size_of::<Crowded>()) as i64);
        let one = self.b.ins().load(types::I64, flags(), first, 0);
        // Only the other crowd may be there.
        self.only_if(one, look.call);
        let difference = self.b.ins().bxor(one, look.me);
        self.leave_if_read(difference, after);
        let others = self.b.ins().iadd_imm_s(first, size_of::<u64>() as i64);
        self.join(look, &Crowd { first, others }, (one, difference), after);
    }

    fn is_nobody(&mut self, reader: Value) -> Value {
        let bits = self.b.ins().band_imm_s(reader, NOBODY as i64);
        self.b.ins().icmp_imm_u(IntCC::Equal, bits, NOBODY as i64)
    }
}
