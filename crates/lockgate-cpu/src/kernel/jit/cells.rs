//! How machine code looks at the cells of what an invocation touches, and calls only where they have to be told more.
//!
//! What is done here is what `watch::shadow` would do, for accesses that race with nothing and that no reader has to be
//! remembered for beside the first: everything else calls it. Tested by `tests/observe.rs` against the interpreter's record.

use std::mem::offset_of;

use cranelift_codegen::ir::{InstBuilder, Value, condcodes::IntCC, types};
use lockgate_runtime::ObservedKind;

use super::{
    super::watch::{Phases, Space, View, mark},
    code::{Emitter, NONE, context, flags},
    ir::{Id, Place},
    told::{CELL, Open, PIECE},
};

/// Bytes of a word, as a shift.
const WORD_SHIFT: i64 = PIECE.trailing_zeros() as i64;

/// What an access needs to look at its cell.
struct Look {
    space: usize,
    open: Value,
    cell: Value,
    /// The mark that it leaves.
    me: Value,
    /// The phase that runs, as a mark.
    now: Value,
}

impl Emitter<'_, '_> {
    /// Says that bytes are touched where nothing else matters.
    pub(super) fn mark_bytes(
        &mut self,
        place: &Place,
        (site, lane): (u32, Value),
        address: Value,
        chunks: &[Vec<(u32, Id, u32)>],
    ) {
        let open = self.open(site);
        let bytes = self.view(open, offset_of!(View, bytes));
        let [known, call, next] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(bytes, known, NONE, call, NONE);
        self.b.set_cold_block(call);
        self.start(call);
        for chunk in chunks {
            self.tell_chunk(place, (site, lane), address, chunk, false);
        }
        self.b.ins().jump(next, NONE);
        self.start(known);
        for (offset, _, _) in chunks.iter().flatten() {
            let address = self.b.ins().iadd_imm_s(address, i64::from(place.offset + offset));
            self.mark_word(bytes, address);
        }
        self.b.ins().jump(next, NONE);
        self.start(next);
    }

    fn mark_word(&mut self, bytes: Value, address: Value) {
        let piece = self.b.ins().ushr_imm_u(address, WORD_SHIFT);
        let at = self.b.ins().iadd(bytes, piece);
        let one = self.b.ins().iconst(types::I8, 1);
        self.b.ins().store(flags(), one, at, 0);
    }

    fn view(&mut self, open: Value, field: usize) -> Value {
        self.b.ins().load(types::I64, flags(), open, (offset_of!(Open, view) + field) as i32)
    }

    fn phase(&mut self, field: usize) -> Value {
        let phases = self.field(context!(phases));
        self.b.ins().load(types::I64, flags(), phases, field as i32)
    }

    /// Looks at the cell of a word, and leaves a mark there if that is all.
    pub(super) fn look_at_cell(
        &mut self,
        place: &Place,
        (site, lane): (u32, Value),
        start: Value,
        word: (u32, Id, u32),
        stores: bool,
    ) {
        let [shown, known, call, next] = [(); 4].map(|()| self.b.create_block());
        let open = self.open(site);
        let cells = self.view(open, offset_of!(View, cells));
        self.b.ins().brif(cells, shown, NONE, call, NONE);
        self.start(shown);
        let address = self.b.ins().iadd_imm_s(start, i64::from(place.offset + word.0));
        let own = &self.program.sites[site as usize];
        debug_assert!(matches!(own.kind, ObservedKind::Read | ObservedKind::Write));
        let space = usize::from(own.space == Space::Workgroup);
        if space == 0 {
            let bytes = self.view(open, offset_of!(View, bytes));
            self.mark_word(bytes, address);
        }
        let piece = self.b.ins().ushr_imm_u(address, WORD_SHIFT);
        let cell = self.b.ins().imul_imm_s(piece, CELL as i64);
        let cell = self.b.ins().iadd(cells, cell);
        let now = self.phase(offset_of!(Phases, now) + space * size_of::<u64>());
        let lane_mark = self.b.ins().uextend(types::I64, lane);
        let lane_mark = self.b.ins().ishl_imm_u(lane_mark, i64::from(mark::LANE_SHIFT));
        let site_mark = self.view(open, offset_of!(View, site));
        let me = self.b.ins().bor(now, lane_mark);
        let me = self.b.ins().bor(me, site_mark);
        let look = Look { space, open, cell, me, now };
        let (fine, mark, at) = if stores {
            let changes = self.changes(address, &[word]);
            self.look_to_write(&look, changes)
        } else {
            self.look_to_read(&look)
        };
        self.b.ins().brif(fine, known, NONE, call, NONE);
        self.b.set_cold_block(call);
        self.start(call);
        self.tell_chunk(place, (site, lane), start, &[word], stores);
        self.b.ins().jump(next, NONE);
        self.start(known);
        self.b.ins().store(flags(), mark, cell, at);
        self.b.ins().jump(next, NONE);
        self.start(next);
    }

    /// Whether two marks differ in none of these bits.
    fn agrees(&mut self, difference: Value, bits: u64) -> Value {
        let difference = self.b.ins().band_imm_s(difference, bits as i64);
        self.b.ins().icmp_imm_u(IntCC::Equal, difference, 0)
    }

    /// A number below which a mark is of nothing that matters any more: workgroup memory is ordered by each phase.
    fn past(&mut self, look: &Look) -> Value {
        match look.space {
            0 => self.b.ins().iconst(types::I64, 1),
            _ => look.now,
        }
    }

    /// Whether a store races with nothing, and the mark that it leaves where in the cell.
    fn look_to_write(&mut self, look: &Look, changes: Option<Value>) -> (Value, Value, i32) {
        let [write, reader] = [0, 8].map(|at| self.b.ins().load(types::I64, flags(), look.cell, at));
        let past = self.past(look);
        let who = u64::MAX << mark::LANE_SHIFT;
        let none_wrote = self.b.ins().icmp(IntCC::UnsignedLessThan, write, past);
        let other = self.b.ins().bxor(write, look.me);
        let own = self.agrees(other, who);
        let wrote = self.b.ins().bor(none_wrote, own);
        let none_read = self.b.ins().icmp(IntCC::UnsignedLessThan, reader, past);
        let other = self.b.ins().bxor(reader, look.me);
        // A second reader, or anything else, is only known to who is called.
        let own = self.agrees(other, who | mark::ATOMIC | mark::OTHER | mark::TWO);
        let read = self.b.ins().bor(none_read, own);
        let fine = self.b.ins().band(wrote, read);
        let mut mark = look.me;
        if let Some(changes) = changes {
            // 0 or 1: it is one word.
            let changed = self.b.ins().ishl_imm_u(changes, i64::from(mark::CHANGED.trailing_zeros()));
            mark = self.b.ins().bor(mark, changed);
        }
        (fine, mark, 0)
    }

    /// The same for a load; it leaves the mark of the first reader.
    fn look_to_read(&mut self, look: &Look) -> (Value, Value, i32) {
        let [write, reader] = [0, 8].map(|at| self.b.ins().load(types::I64, flags(), look.cell, at));
        let who = u64::MAX << mark::LANE_SHIFT;
        let ordered = if look.space == 0 {
            let nothing = self.view(look.open, offset_of!(View, nothing));
            self.b.ins().icmp(IntCC::UnsignedLessThan, write, nothing)
        } else {
            // In an earlier phase of this workgroup: what nobody has written yet is told.
            let ground = self.phase(offset_of!(Phases, ground));
            let age = self.b.ins().isub(write, ground);
            let span = self.b.ins().isub(look.now, ground);
            self.b.ins().icmp(IntCC::UnsignedLessThan, age, span)
        };
        let other = self.b.ins().bxor(write, look.me);
        let own = self.agrees(other, who);
        let wrote = self.b.ins().bor(ordered, own);
        let past = self.past(look);
        let first = self.b.ins().icmp(IntCC::UnsignedLessThan, reader, past);
        let other = self.b.ins().bxor(reader, look.me);
        let again = self.agrees(other, who | mark::ATOMIC);
        // Two are known of this phase: a third one need not be.
        let phase = u64::MAX << mark::PHASE_SHIFT;
        let third = self.b.ins().bxor_imm_s(other, mark::TWO as i64);
        let third = self.agrees(third, phase | mark::ATOMIC | mark::TWO);
        let known = self.b.ins().bor(again, third);
        let read = self.b.ins().bor(first, known);
        let fine = self.b.ins().band(wrote, read);
        let mark = self.b.ins().select(first, look.me, reader);
        (fine, mark, 8)
    }
}
