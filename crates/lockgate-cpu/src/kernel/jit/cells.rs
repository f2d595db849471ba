//! How machine code looks at the cells of what an invocation touches, and calls only where they have to be told more.
//!
//! What is done here is what `watch::shadow` would do, for accesses that race with nothing where no atomic operations
//! were: everything else calls it. Atomic operations are in `crowd.rs`. Tested by `tests/kernel/watched.rs` against calls for every access.

use std::mem::offset_of;

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};

use super::{
    super::watch::{Space, View, mark},
    code::{Emitter, NONE, flags},
    tell::{Access, Part, Who},
    told::{CELL, Open, PIECE},
};

/// Bytes of a word, as a shift.
const WORD_SHIFT: i64 = PIECE.trailing_zeros() as i64;
/// What an address is multiplied with to get to its cell, as a shift.
pub(super) const CELLS_SHIFT: i64 = CELL.trailing_zeros() as i64 - WORD_SHIFT;
/// Where in a cell the first reader is; the last write comes first.
pub(super) const READER: i32 = 8;

/// What an access needs to look at its cell.
pub(super) struct Look {
    /// Whether it is the workgroup's own memory.
    pub(super) own: bool,
    pub(super) open: Value,
    cells: Value,
    /// From there, where the cell is.
    pub(super) offset: Value,
    /// The mark that it leaves.
    pub(super) me: Value,
    /// Where to go if there is more to do than a mark.
    pub(super) call: Block,
}

/// Where is remembered who did the same kind of thing, as `watch::shadow` has it.
pub(super) struct Crowd {
    /// The first of them.
    pub(super) first: Value,
    /// The second, and behind it one of an earlier workgroup.
    pub(super) others: Value,
}

/// The bits above the lane that a difference of marks has where their phases differ, counted from the lane.
const PHASES_DIFFER: i64 = 1 << (mark::PHASE_SHIFT - mark::LANE_SHIFT);
/// The lowest of the flags of the first reader.
const FLAGS_SHIFT: i64 = mark::TWO.trailing_zeros() as i64;
/// As `PHASES_DIFFER`, counted from the flags.
const FLAGGED_PHASES_DIFFER: i64 = PHASES_DIFFER << (mark::LANE_SHIFT as i64 - FLAGS_SHIFT);

impl Emitter<'_, '_> {
    /// Says that bytes are touched where nothing else matters.
    pub(super) fn mark_bytes(&mut self, access: &Access<'_>, who: Who, address: Value) {
        let open = self.open(access.site);
        let bytes = self.view(open, offset_of!(View, bytes));
        let [known, call, next] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(bytes, known, NONE, call, NONE);
        self.b.set_cold_block(call);
        self.start(call);
        for chunk in &access.chunks {
            self.tell_chunk(access, access.site, who, address, chunk);
        }
        self.b.ins().jump(next, NONE);
        self.start(known);
        for chunk in &access.chunks {
            let address = self.b.ins().iadd_imm_s(address, i64::from(access.place.offset + chunk[0].0));
            self.mark_words(bytes, address, chunk.len() as u32);
        }
        self.b.ins().jump(next, NONE);
        self.start(next);
    }

    /// Words behind each other.
    pub(super) fn mark_words(&mut self, bytes: Value, address: Value, count: u32) {
        let piece = self.b.ins().ushr_imm_u(address, WORD_SHIFT);
        let at = self.b.ins().iadd(bytes, piece);
        let mut marked = 0;
        while marked < count {
            let ty = match count - marked {
                16.. => types::I8X16,
                8.. => types::I64,
                4.. => types::I32,
                2.. => types::I16,
                _ => types::I8,
            };
            let ones = match ty {
                types::I8X16 => {
                    let one = self.b.ins().iconst(types::I8, 1);
                    self.b.ins().splat(ty, one)
                }
                _ => self.b.ins().iconst(ty, 0x0101_0101_0101_0101 >> (64 - ty.bits())),
            };
            self.b.ins().store(flags(), ones, at, marked as i32);
            marked += ty.bytes();
        }
    }

    pub(super) fn view(&mut self, open: Value, field: usize) -> Value {
        self.b.ins().load(types::I64, flags(), open, (offset_of!(Open, view) + field) as i32)
    }

    /// Looks at the cell of a word, and leaves a mark there if that is all.
    pub(super) fn look_at_cell(&mut self, access: &Access<'_>, who: Who, start: Value, word: Part) {
        let [shown, call, next] = [(); 3].map(|()| self.b.create_block());
        let open = self.open(access.site);
        let cells = self.view(open, offset_of!(View, cells));
        self.b.ins().brif(cells, shown, NONE, call, NONE);
        self.start(shown);
        let address = self.b.ins().iadd_imm_s(start, i64::from(access.place.offset + word.0));
        let own = self.program.sites[access.site as usize].space == Space::Workgroup;
        if !own {
            let bytes = self.view(open, offset_of!(View, bytes));
            self.mark_words(bytes, address, 1);
        }
        let offset = self.b.ins().ishl_imm_u(address, CELLS_SHIFT);
        let lane_mark = self.b.ins().uextend(types::I64, who.number);
        let lane_mark = self.b.ins().ishl_imm_u(lane_mark, i64::from(mark::LANE_SHIFT));
        let first = self.view(open, offset_of!(View, mark));
        let me = self.b.ins().bor(first, lane_mark);
        let look = Look { own, open, cells, offset, me, call };
        if access.is_atomic {
            self.look_to_update(access, &look, next);
        } else if access.stores {
            let changes = self.changes(access, who, address, &[word]);
            self.look_to_write(&look, changes, next);
        } else {
            self.look_to_read(&look, next);
        }
        self.b.set_cold_block(call);
        self.start(call);
        self.tell_chunk(access, access.site, who, start, &[word]);
        self.b.ins().jump(next, NONE);
        self.start(next);
    }

    /// A mark of the cell, and how it differs from the one that will be left.
    pub(super) fn mark_at(&mut self, look: &Look, field: i32) -> (Value, Value) {
        let cell = self.b.ins().iadd(look.cells, look.offset);
        let mark = self.b.ins().load(types::I64, flags(), cell, field);
        (mark, self.b.ins().bxor(mark, look.me))
    }

    pub(super) fn leave_mark(&mut self, look: &Look, field: i32, mark: Value) {
        let cell = self.b.ins().iadd(look.cells, look.offset);
        self.b.ins().store(flags(), mark, cell, field);
    }

    /// Goes on here if a condition holds, and to a block if not.
    pub(super) fn only_if(&mut self, condition: Value, otherwise: Block) {
        let next = self.b.create_block();
        self.b.ins().brif(condition, next, NONE, otherwise, NONE);
        self.start(next);
    }

    /// Goes to a block if a condition holds, and goes on here if not.
    fn leave_if(&mut self, condition: Value, to: Block) {
        let next = self.b.create_block();
        self.b.ins().brif(condition, to, NONE, next, NONE);
        self.start(next);
    }

    /// Goes on where a difference from a mark says that nothing hangs on it: it is of another phase, or has none of the
    /// bits from `shift` on.
    fn only_if_apart(&mut self, difference: Value, (shift, differ): (i64, i64), otherwise: Block) {
        let bits = self.b.ins().ushr_imm_u(difference, shift);
        let bits = self.b.ins().iadd_imm_s(bits, -1);
        let apart = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, bits, differ - 1);
        self.only_if(apart, otherwise);
    }

    /// Goes to `after` if the mark that somebody has left on bound memory is of this invocation, or of an earlier phase of
    /// its workgroup.
    pub(super) fn leave_if_ordered(
        &mut self,
        look: &Look,
        (mark, difference): (Value, Value),
        shift: i64,
        after: Block,
    ) {
        let bits = self.b.ins().ushr_imm_u(difference, shift);
        let same = self.b.ins().icmp_imm_u(IntCC::Equal, bits, 0);
        self.leave_if(same, after);
        let phases = self.b.ins().ushr_imm_u(difference, i64::from(mark::PHASE_SHIFT));
        self.only_if(phases, look.call);
        let ground = self.view(look.open, offset_of!(View, ground));
        let mate = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, mark, ground);
        self.b.ins().brif(mate, after, NONE, look.call, NONE);
    }

    /// Leaves the mark of a store that races with nothing and goes to `after`.
    fn look_to_write(&mut self, look: &Look, changes: Option<Value>, after: Block) {
        let lane_shift = i64::from(mark::LANE_SHIFT);
        let (write, difference) = self.mark_at(look, 0);
        if look.own {
            self.only_if_apart(difference, (lane_shift, PHASES_DIFFER), look.call);
        } else {
            let [somebody, ordered] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(write, somebody, NONE, ordered, NONE);
            self.start(somebody);
            self.leave_if_ordered(look, (write, difference), lane_shift, ordered);
            self.start(ordered);
        }
        let (reader, difference) = self.mark_at(look, READER);
        if look.own {
            self.only_if_apart(difference, (FLAGS_SHIFT, FLAGGED_PHASES_DIFFER), look.call);
        } else {
            let [somebody, ordered] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(reader, somebody, NONE, ordered, NONE);
            self.start(somebody);
            // Readers of earlier workgroups and atomic operations are only known to who is called.
            let more = self.b.ins().band_imm_s(reader, (mark::OTHER | mark::ATOMIC) as i64);
            let no_more = self.b.ins().icmp_imm_u(IntCC::Equal, more, 0);
            self.only_if(no_more, look.call);
            self.leave_if_ordered(look, (reader, difference), FLAGS_SHIFT, ordered);
            self.start(ordered);
        }
        let mut mark = look.me;
        if let Some(changes) = changes {
            // 0 or 1: it is one word.
            let changed = self.b.ins().ishl_imm_u(changes, i64::from(mark::CHANGED.trailing_zeros()));
            mark = self.b.ins().bor(mark, changed);
        }
        self.leave_mark(look, 0, mark);
        self.b.ins().jump(after, NONE);
    }

    /// Leaves the mark of a load that races with nothing, if it is the first, and goes to `after`.
    fn look_to_read(&mut self, look: &Look, after: Block) {
        let lane_shift = i64::from(mark::LANE_SHIFT);
        let (write, difference) = self.mark_at(look, 0);
        if look.own {
            self.only_if_apart(difference, (lane_shift, PHASES_DIFFER), look.call);
            // What nobody has written in this workgroup is told.
            let ground = self.view(look.open, offset_of!(View, ground));
            let written = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, write, ground);
            self.only_if(written, look.call);
        } else {
            let [somebody, nobody, ordered] = [(); 3].map(|()| self.b.create_block());
            self.b.ins().brif(write, somebody, NONE, nobody, NONE);
            self.start(somebody);
            self.leave_if_ordered(look, (write, difference), lane_shift, ordered);
            self.start(nobody);
            let nothing = self.view(look.open, offset_of!(View, nothing));
            self.b.ins().brif(nothing, ordered, NONE, look.call, NONE);
            self.start(ordered);
        }
        let [first, known] = [(); 2].map(|()| self.b.create_block());
        let (reader, difference) = self.mark_at(look, READER);
        if look.own {
            let bits = self.b.ins().ushr_imm_u(difference, i64::from(mark::PHASE_SHIFT));
            self.b.ins().brif(bits, first, NONE, known, NONE);
        } else {
            self.b.ins().brif(reader, known, NONE, first, NONE);
        }
        self.start(known);
        self.leave_if_read(difference, after);
        let join = self.b.create_block();
        let atomic = self.b.ins().band_imm_s(reader, mark::ATOMIC as i64);
        self.b.ins().brif(atomic, look.call, NONE, join, NONE);
        self.b.set_cold_block(join);
        self.start(join);
        self.join_readers(look, reader, difference, after);
        self.start(first);
        self.leave_mark(look, READER, look.me);
        self.b.ins().jump(after, NONE);
    }

    /// Somebody has read before: remembers what a later write may race with, and goes to `after`.
    fn join_readers(&mut self, look: &Look, reader: Value, difference: Value, after: Block) {
        let readers = self.view(look.open, offset_of!(View, readers));
        self.only_if(readers, look.call);
        let cell = self.b.ins().iadd(look.cells, look.offset);
        let first = self.b.ins().iadd_imm_s(cell, i64::from(READER));
        let others = self.b.ins().iadd(readers, look.offset);
        self.join(look, &Crowd { first, others }, (reader, difference), after);
    }

    /// Joins a crowd, as `watch::shadow` does, and goes to `after`.
    pub(super) fn join(
        &mut self,
        look: &Look,
        crowd: &Crowd,
        (first, difference): (Value, Value),
        after: Block,
    ) {
        let phases = self.b.ins().ushr_imm_u(difference, i64::from(mark::PHASE_SHIFT));
        if !look.own {
            let [second, before] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(phases, before, NONE, second, NONE);
            self.start(before);
            let ground = self.view(look.open, offset_of!(View, ground));
            let older = self.b.ins().icmp(IntCC::UnsignedLessThan, first, ground);
            let [other, earlier] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(older, other, NONE, earlier, NONE);
            self.start(other);
            self.b.ins().store(flags(), first, crowd.others, 8);
            let mark = self.b.ins().bor_imm_s(look.me, mark::OTHER as i64);
            self.b.ins().store(flags(), mark, crowd.first, 0);
            self.b.ins().jump(after, NONE);
            self.start(earlier);
            let kept = self.b.ins().band_imm_s(first, mark::OTHER as i64);
            let mark = self.b.ins().bor(look.me, kept);
            self.b.ins().store(flags(), mark, crowd.first, 0);
            self.b.ins().jump(after, NONE);
            self.start(second);
        }
        self.b.ins().store(flags(), look.me, crowd.others, 0);
        let mark = self.b.ins().bor_imm_s(first, mark::TWO as i64);
        self.b.ins().store(flags(), mark, crowd.first, 0);
        self.b.ins().jump(after, NONE);
    }

    /// Goes to `after` if this invocation is known to have read in this phase, or two others are.
    pub(super) fn leave_if_read(&mut self, difference: Value, after: Block) {
        let who = u64::MAX << mark::LANE_SHIFT;
        let phase = u64::MAX << mark::PHASE_SHIFT;
        for (bits, expected) in [(who | mark::ATOMIC, 0), (phase | mark::ATOMIC | mark::TWO, mark::TWO)] {
            let own = self.b.ins().band_imm_s(difference, bits as i64);
            let known = self.b.ins().icmp_imm_u(IntCC::Equal, own, expected as i64);
            self.leave_if(known, after);
        }
    }
}
