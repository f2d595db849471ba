//! How four invocations that run at once tell as one: where they touch neighbouring elements and go on with what those
//! before them did, or their cells are all as new (`four.rs`).
//!
//! Anything else they tell one after the other (`tell.rs`). Tested by `tests/kernel/watched.rs`.

use std::mem::offset_of;

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};

use super::{
    super::watch::View,
    code::{Emitter, NONE, flags},
    ir::{Memory, Told},
    rows,
    tell::{Access, Part},
    told::{APART, CHANGED_SHIFT, Open, PIECE},
};

/// Elements of more bytes are no neighbours.
const STRIDE_MAX: u32 = 1 << 16;

/// Where four invocations have what they access: the first of them, and how many bytes each is behind the one before.
pub(super) struct Row {
    pub(super) start: Value,
    pub(super) stride: u32,
}

/// Whether stores of four invocations change what is there.
pub(super) struct Changes {
    /// 1 if they do.
    pub(super) all: Value,
    /// Not 0 if some do and some do not.
    pub(super) mixed: Value,
}

impl Emitter<'_, '_> {
    /// Goes to `after` where four invocations are told as one, and on here where not. False if none goes to `after`.
    pub(super) fn tell_abreast(&mut self, access: &Access<'_>, after: Block) -> bool {
        let bound = matches!(access.place.memory, Memory::Slot { .. });
        let [chunk] = &*access.chunks else { return false };
        if !bound || self.mask().is_some() || access.told == Told::Call || access.is_atomic {
            return false;
        }
        let each = self.b.create_block();
        let row = self.row_of(access, chunk, each);
        if let Some(row) = &row {
            match access.told {
                Told::Bytes => self.mark_row(access, row, chunk.len() as u32, each),
                Told::Cells => self.look_at_row(access, row, chunk, each),
                _ => self.go_on_abreast(access, row, chunk, each),
            }
            self.b.ins().jump(after, NONE);
        } else {
            self.b.ins().jump(each, NONE);
        }
        self.b.set_cold_block(each);
        self.start(each);
        row.is_some()
    }

    /// Goes on where all are in range and neighbours.
    fn row_of(&mut self, access: &Access<'_>, chunk: &[Part], otherwise: Block) -> Option<Row> {
        let (address, inside, rest) = self.common(access.place);
        let stride = match &*rest {
            [] => 0,
            [index] => index.stride,
            _ => return None,
        };
        // What one stores another one would find, as the mark in a cell.
        let apart = access.stores || access.told == Told::Cells;
        if apart && stride < PIECE * chunk.len() as u32 || stride > STRIDE_MAX {
            return None;
        }
        if let Some(inside) = inside {
            self.only_if(inside, otherwise);
        }
        let offset = i64::from(access.place.offset + chunk.first()?.0);
        let (address, ahead) = match &*rest {
            [] => (address, 0),
            _ => {
                self.neighbours(access.place, address, &rest, otherwise).map(|row| (row.start, row.offset))?
            }
        };
        Some(Row { start: self.b.ins().iadd_imm_s(address, offset + i64::from(ahead)), stride })
    }

    fn mark_row(&mut self, access: &Access<'_>, row: &Row, words: u32, otherwise: Block) {
        let open = self.open(access.site);
        let bytes = self.view(open, offset_of!(View, bytes));
        self.only_if(bytes, otherwise);
        self.mark_words_of_row(bytes, row, words);
    }

    pub(super) fn mark_words_of_row(&mut self, bytes: Value, row: &Row, words: u32) {
        let (starts, words): (&[u32], u32) = match row.stride {
            0 => (&[0], words),
            stride if stride == PIECE * words => (&[0], 4 * words),
            _ => (&[0, 1, 2, 3], words),
        };
        for start in starts {
            let address = self.b.ins().iadd_imm_s(row.start, i64::from(start * row.stride));
            self.mark_words(bytes, address, words);
        }
    }

    /// Goes on with the run of the site, by four accesses.
    fn go_on_abreast(&mut self, access: &Access<'_>, row: &Row, chunk: &[Part], otherwise: Block) {
        let open = self.open(access.site);
        let who = self.who(0);
        let mut key = self.key(who, row.start);
        let step = (APART.wrapping_add(row.stride.into())) as i64;
        let [key_at, step_at] = [offset_of!(Open, key), offset_of!(Open, step)].map(|at| at as i32);
        let expected = self.b.ins().load(types::I64, flags(), open, step_at);
        let wanted = self.b.ins().iconst(types::I64, step);
        let mut differs = self.b.ins().bxor(expected, wanted);
        if access.stores {
            let changes = self.changes_of_row(access, row, chunk);
            let changed = self.b.ins().ishl_imm_u(changes.all, i64::from(CHANGED_SHIFT));
            key = self.b.ins().iadd(key, changed);
            differs = self.b.ins().bor(differs, changes.mixed);
        }
        let expected = self.b.ins().load(types::I64, flags(), open, key_at);
        let other = self.b.ins().bxor(key, expected);
        let differs = self.b.ins().bor(differs, other);
        let same = self.b.ins().icmp_imm_u(IntCC::Equal, differs, 0);
        self.only_if(same, otherwise);
        let four = self.b.ins().iconst(types::I64, step.wrapping_mul(4));
        let following = self.b.ins().iadd(key, four);
        self.b.ins().store(flags(), following, open, key_at);
    }

    pub(super) fn changes_of_row(&mut self, access: &Access<'_>, row: &Row, chunk: &[Part]) -> Changes {
        let registers: Vec<(Value, u32)> = match (rows::tuple(access.leaves), chunk) {
            (Some(tuple), _) => {
                let registers = tuple.map(|id| self.vector(id));
                let whole = self.rows.contains(tuple[0]);
                let lanes = if whole { registers } else { self.transpose_any(registers) };
                lanes.into_iter().zip((0..4).map(|lane| lane * row.stride)).collect()
            }
            (None, [(_, id, _)]) if row.stride == PIECE => vec![(self.vector(*id), 0)],
            _ => return self.changes_of_lanes(access, row, chunk),
        };
        let (mut all, mut any): (Option<Value>, Option<Value>) = (None, None);
        for (new, offset) in registers {
            let new = self.as_words(new);
            let old = self.b.ins().load(types::I32X4, flags(), row.start, offset as i32);
            let changes = self.b.ins().icmp(IntCC::NotEqual, old, new);
            all = Some(all.map_or(changes, |all| self.b.ins().band(all, changes)));
            any = Some(any.map_or(changes, |any| self.b.ins().bor(any, changes)));
        }
        let [all, any] = [all, any].map(|bits| match bits {
            Some(bits) => self.bits(bits),
            None => self.int(0),
        });
        // All of 0000 or 1111 in both, or mixed: then they differ, or one more has other bits in the upper three.
        let apart = self.b.ins().bxor(all, any);
        let ends = self.b.ins().iadd_imm_s(any, 1);
        let ends = self.b.ins().band_imm_s(ends, 0b1110);
        let mixed = self.b.ins().bor(apart, ends);
        let changed = self.b.ins().band_imm_s(any, 1);
        let [all, mixed] = [changed, mixed].map(|bits| self.b.ins().uextend(types::I64, bits));
        Changes { all, mixed }
    }

    fn changes_of_lanes(&mut self, access: &Access<'_>, row: &Row, chunk: &[Part]) -> Changes {
        let zero = self.b.ins().iconst(types::I64, 0);
        let (mut first, mut mixed) = (zero, zero);
        for lane in 0..4 {
            let who = self.who(lane);
            let address = self.b.ins().iadd_imm_s(row.start, i64::from(u32::from(lane) * row.stride));
            let changes = self.changes(access, who, address, chunk).unwrap_or(zero);
            first = if lane == 0 { changes } else { first };
            let other = self.b.ins().bxor(changes, first);
            mixed = self.b.ins().bor(mixed, other);
        }
        // The first one by itself is 0 or 1 where it is not mixed.
        let own = self.b.ins().band_imm_s(first, 2);
        Changes { all: self.b.ins().band_imm_s(first, 1), mixed: self.b.ins().bor(mixed, own) }
    }
}
