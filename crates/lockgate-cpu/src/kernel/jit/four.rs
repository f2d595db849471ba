//! How machine code looks at the cells of four neighbours at once: where all are as new, or as the same invocation has left
//! them in the same phase, there is nothing to find.
//!
//! Everything else is left to `cells.rs`, one invocation after the other. Tested by `tests/kernel/rows.rs`.

use std::mem::offset_of;

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};

use super::{
    super::watch::{View, mark},
    abreast::Row,
    cells::{CELLS_SHIFT, READER},
    code::{Emitter, NONE, flags},
    tell::{Access, Part},
    told::PIECE,
};

/// Above are a mark's flags that matter, its invocation and its phase.
const PLACE_BITS: i64 = mark::TWO.trailing_zeros() as i64;

/// What is in some cells, in both of their marks.
struct Found {
    /// Bits of any.
    any: Value,
    /// Bits that differ from what the invocations leave themselves.
    other: Value,
}

impl Emitter<'_, '_> {
    /// Goes on where four invocations leave marks in their cells and nothing else is to be done, and to a block where not,
    /// having done nothing.
    pub(super) fn look_at_row(&mut self, access: &Access<'_>, row: &Row, chunk: &[Part], otherwise: Block) {
        let open = self.open(access.site);
        let cells = self.view(open, offset_of!(View, cells));
        self.only_if(cells, otherwise);
        let mut changed = None;
        if access.stores {
            let changes = self.changes_of_row(access, row, chunk);
            let alike = self.b.ins().icmp_imm_u(IntCC::Equal, changes.mixed, 0);
            self.only_if(alike, otherwise);
            changed = Some(changes.all);
        } else {
            // What nobody has written may have to be told.
            let nothing = self.view(open, offset_of!(View, nothing));
            self.only_if(nothing, otherwise);
        }
        let offset = self.b.ins().ishl_imm_u(row.start, CELLS_SHIFT);
        let first = self.b.ins().iadd(cells, offset);
        let me = self.mark_of_first(open);
        let words = chunk.len() as u32;
        let found = self.cells_of_row(first, me, row, words);
        let [new, own] = [found.any, found.other].map(|bits| self.is_zero(bits));
        let quiet = self.b.ins().bor(new, own);
        let quiet = self.b.ins().vhigh_bits(types::I32, quiet);
        let quiet = self.b.ins().icmp_imm_u(IntCC::Equal, quiet, 0b11);
        self.only_if(quiet, otherwise);
        let bytes = self.view(open, offset_of!(View, bytes));
        self.mark_words_of_row(bytes, row, words);
        if let Some(changed) = changed {
            let changed = self.b.ins().ishl_imm_u(changed, i64::from(mark::CHANGED.trailing_zeros()));
            let me = self.b.ins().bor(me, changed);
            return self.leave_marks(first, me, (row, words), 0);
        }
        // The first place that has read stays.
        let [unread, end] = [(); 2].map(|()| self.b.create_block());
        let reader = self.b.ins().extractlane(found.any, 1);
        self.b.ins().brif(reader, end, NONE, unread, NONE);
        self.start(unread);
        self.leave_marks(first, me, (row, words), READER);
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// The mark of the first of four invocations; each of the others has one more lane.
    fn mark_of_first(&mut self, open: Value) -> Value {
        let mark = self.view(open, offset_of!(View, mark));
        let who = self.who(0);
        let lane = self.b.ins().uextend(types::I64, who.number);
        let lane = self.b.ins().ishl_imm_u(lane, i64::from(mark::LANE_SHIFT));
        self.b.ins().bor(mark, lane)
    }

    fn cells_of_row(&mut self, first: Value, me: Value, row: &Row, words: u32) -> Found {
        let mine = self.b.ins().splat(types::I64X2, me);
        let mut found: Option<Found> = None;
        for (lane, offset) in offsets(row, words) {
            let next = self.b.ins().iconst(types::I64, lane << mark::LANE_SHIFT);
            let next = self.b.ins().splat(types::I64X2, next);
            let mine = self.b.ins().iadd(mine, next);
            let any = self.b.ins().load(types::I64X2, flags(), first, offset);
            let other = self.b.ins().bxor(any, mine);
            found = Some(match found {
                None => Found { any, other },
                Some(found) => {
                    let any = self.b.ins().bor(found.any, any);
                    Found { any, other: self.b.ins().bor(found.other, other) }
                }
            });
        }
        let Found { any, other } = found.unwrap_or(Found { any: mine, other: mine });
        let [any, other] = [any, other].map(|bits| self.b.ins().ushr_imm_u(bits, PLACE_BITS));
        Found { any, other }
    }

    fn is_zero(&mut self, bits: Value) -> Value {
        let zero = self.b.ins().iconst(types::I64, 0);
        let zero = self.b.ins().splat(types::I64X2, zero);
        self.b.ins().icmp(IntCC::Equal, bits, zero)
    }

    fn leave_marks(&mut self, first: Value, me: Value, (row, words): (&Row, u32), field: i32) {
        for (lane, offset) in offsets(row, words) {
            let mark = self.b.ins().iadd_imm_s(me, lane << mark::LANE_SHIFT);
            self.b.ins().store(flags(), mark, first, offset + field);
        }
    }
}

/// Each word of four invocations: which of them, and where its cell is.
fn offsets(row: &Row, words: u32) -> impl Iterator<Item = (i64, i32)> + use<> {
    let stride = row.stride;
    let cell = move |lane, word| ((lane * stride + word * PIECE) << CELLS_SHIFT) as i32;
    (0..4).flat_map(move |lane| (0..words).map(move |word| (i64::from(lane), cell(lane, word))))
}
