//! Texels in place: the largest level of a 2D texture of a common format, four lanes inside of it at once.
//!
//! What a view looks like is known only when a kernel is launched, so that the format is looked at once for all four lanes;
//! whatever is not as it has to be goes to the calls of `image`.

use cranelift_codegen::ir::{
    Block, BlockArg, InstBuilder, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::{
    super::number::Num,
    code::{Emitter, NONE, PlaneValues, Val, flags, plane},
    image::Fields,
    ir::{Id, ImageOp, Resource},
    rows,
};

/// Where the lanes' texels are in a plane.
struct Places {
    ids: [Id; 2],
    lanes: [Value; 2],
    masked: bool,
}

/// From here up to twice as much neighbouring floats are one apart.
const ONES: f32 = (1 << 23) as f32;

/// Bytes of a texel.
fn bytes_of(format: u32) -> i64 {
    if format == plane::RGBA32_FLOAT { 16 } else { 4 }
}

impl Emitter<'_, '_> {
    /// Coordinates for all lanes: those that are not active look at the first texel, which every plane has.
    fn places(&mut self, [x, y]: [Id; 2]) -> Places {
        let mask = self.mask_value();
        let lanes = [x, y].map(|id| {
            let lanes = self.vector(id);
            match mask {
                Some(mask) => self.b.ins().band(lanes, mask),
                None => lanes,
            }
        });
        Places { ids: [x, y], lanes, masked: mask.is_some() }
    }

    /// Goes on where all lanes have a texel in the plane, and to `slow` where not.
    fn all_inside(&mut self, plane: &PlaneValues, at: &Places, slow: Block) {
        let mut inside = None;
        for (at, size) in at.lanes.into_iter().zip([plane.width, plane.height]) {
            let size = self.b.ins().splat(types::I32X4, size);
            let below = self.b.ins().icmp(IntCC::UnsignedLessThan, at, size);
            inside = Some(match inside {
                Some(inside) => self.b.ins().band(inside, below),
                None => below,
            });
        }
        let Some(inside) = inside else { return };
        let bits = self.bits(inside);
        let all = self.b.ins().icmp_imm_s(IntCC::Equal, bits, 0b1111);
        let next = self.b.create_block();
        self.b.ins().brif(all, next, NONE, slow, NONE);
        self.start(next);
    }

    /// The address of each lane's texel.
    fn texels(&mut self, slot: u32, plane: &PlaneValues, at: &Places, bytes: i64) -> [Value; 4] {
        let base = self.slots[slot as usize].pointer;
        [0, 1, 2, 3].map(|lane| {
            let [x, y] = [0, 1].map(|axis| match at.masked {
                true => self.lane(at.lanes[axis], Num::U32, lane),
                false => self.lane_of(at.ids[axis], lane),
            });
            let (x, y) = (self.b.ins().uextend(types::I64, x), self.b.ins().uextend(types::I64, y));
            let row = self.b.ins().imul(y, plane.row_pitch);
            let column = self.b.ins().imul_imm_s(x, bytes);
            let row = self.b.ins().iadd(base, row);
            self.b.ins().iadd(row, column)
        })
    }

    /// Blocks for each format that machine code knows and the kernel allows; others go to `slow`.
    fn by_format(&mut self, plane: &PlaneValues, slow: Block) -> Vec<(u32, Block)> {
        let mut formats = vec![plane::RGBA8_UNORM, plane::RGBA32_FLOAT, plane::R32_FLOAT];
        formats.retain(|format| plane.declared.is_none_or(|declared| declared == *format));
        let mut blocks = Vec::new();
        for format in formats {
            let [found, other] = [(); 2].map(|()| self.b.create_block());
            let same = self.b.ins().icmp_imm_s(IntCC::Equal, plane.format, i64::from(format));
            self.b.ins().brif(same, found, NONE, other, NONE);
            self.start(other);
            blocks.push((format, found));
        }
        self.b.ins().jump(slow, NONE);
        blocks
    }

    /// Each lane's texel of a texture of floats.
    pub(super) fn load_texels(
        &mut self,
        slot: u32,
        plane: &PlaneValues,
        at: [Id; 2],
        fields: Fields<'_>,
    ) -> [Value; 4] {
        let [slow, end] = [(); 2].map(|()| self.b.create_block());
        let rows = [(); 4].map(|()| self.b.append_block_param(end, types::F32X4));
        let at = &self.places(at);
        self.all_inside(plane, at, slow);
        for (format, block) in self.by_format(plane, slow) {
            self.start(block);
            let texels = self.texels(slot, plane, at, bytes_of(format));
            let texels = texels.map(|texel| self.load_texel(format, texel));
            self.jump_rows(end, texels);
        }
        self.b.set_cold_block(slow);
        self.start(slow);
        let texels =
            self.call_for_rows(ImageOp::Load, (Resource { slot, element: None }, None), fields, Num::F32);
        self.jump_rows(end, texels);
        self.start(end);
        rows
    }

    fn load_texel(&mut self, format: u32, texel: Value) -> Value {
        match format {
            plane::RGBA8_UNORM => {
                let word = self.b.ins().load(types::I32, flags(), texel, 0);
                self.decode(word)
            }
            plane::R32_FLOAT => {
                let missing = [0f32, 0.0, 0.0, 1.0].map(f32::to_le_bytes).concat();
                let missing = self.b.func.dfg.constants.insert(missing.as_slice().into());
                let missing = self.b.ins().vconst(types::F32X4, missing);
                let red = self.b.ins().load(types::F32, flags(), texel, 0);
                self.b.ins().insertlane(missing, red, 0)
            }
            _ => self.b.ins().load(types::F32X4, flags(), texel, 0),
        }
    }

    pub(super) fn jump_rows(&mut self, block: Block, rows: [Value; 4]) {
        self.b.ins().jump(block, &rows.map(BlockArg::Value));
    }

    /// Four normalized bytes as floats.
    fn decode(&mut self, word: Value) -> Value {
        let values = self.four_bytes(word);
        let largest = self.float_in_all(255.0);
        self.b.ins().fdiv(values, largest)
    }

    /// Four bytes as floats.
    pub(super) fn four_bytes(&mut self, word: Value) -> Value {
        let word = self.b.ins().scalar_to_vector(types::I32X4, word);
        let bytes = self.cast(types::I8X16, word);
        let halves = self.b.ins().uwiden_low(bytes);
        let words = self.b.ins().uwiden_low(halves);
        self.b.ins().fcvt_from_sint(types::F32X4, words)
    }

    pub(super) fn float_in_all(&mut self, value: f32) -> Value {
        let value = self.b.ins().f32const(value);
        self.b.ins().splat(types::F32X4, value)
    }

    /// What `MAXPS` and `MINPS` do: the second one where a comparison fails, as with NaN.
    pub(super) fn larger(&mut self, a: Value, b: Value) -> Value {
        let second = self.b.ins().fcmp(FloatCC::LessThan, b, a);
        self.choose(second, a, b)
    }

    pub(super) fn smaller(&mut self, a: Value, b: Value) -> Value {
        let first = self.b.ins().fcmp(FloatCC::LessThan, a, b);
        self.choose(first, a, b)
    }

    /// The nearest integers of floats from 0 up to 2^22, halves going to what is even.
    pub(super) fn whole(&mut self, value: Value) -> Value {
        let ones = self.float_in_all(ONES);
        let sum = self.b.ins().fadd(value, ones);
        let (sum, ones) = (self.cast(types::I32X4, sum), self.cast(types::I32X4, ones));
        self.b.ins().bxor(sum, ones)
    }

    /// Floats as normalized bytes, in words; NaN as zero.
    fn normalized(&mut self, row: Value) -> Value {
        let [zero, one, largest] = [0.0, 1.0, 255.0].map(|value| self.float_in_all(value));
        let row = self.larger(row, zero);
        let row = self.smaller(row, one);
        let row = self.b.ins().fmul(row, largest);
        self.whole(row)
    }

    /// Floats as four normalized bytes.
    fn encode(&mut self, row: Value) -> Value {
        let words = self.normalized(row);
        let bytes = self.cast(types::I8X16, words);
        let lowest: Vec<u8> = (0..16).map(|i| 4 * (i % 4)).collect();
        let lowest = self.b.func.dfg.immediates.push(lowest.as_slice().into());
        let packed = self.b.ins().shuffle(bytes, bytes, lowest);
        let packed = self.cast(types::I32X4, packed);
        self.b.ins().extractlane(packed, 0)
    }

    /// Writes each active lane's texel.
    pub(super) fn store_texels(
        &mut self,
        slot: u32,
        plane: &PlaneValues,
        at: [Id; 2],
        fields: Fields<'_>,
        texel: rows::Tuple,
    ) {
        let [slow, end] = [(); 2].map(|()| self.b.create_block());
        let at = &self.places(at);
        let active = self.mask_value().map(|mask| self.bits(mask));
        self.all_inside(plane, at, slow);
        for (format, block) in self.by_format(plane, slow) {
            self.start(block);
            let mut registers = texel.map(|id| self.vector(id));
            if !self.rows.contains(texel[0]) {
                registers = self.transpose(registers);
            }
            let addresses = self.texels(slot, plane, at, bytes_of(format));
            if format == plane::RGBA8_UNORM && self.in_a_row(at) {
                let Some(active) = active else {
                    self.store_four(addresses[0], registers);
                    self.b.ins().jump(end, NONE);
                    continue;
                };
                self.store_in_a_row(addresses[0], registers, active, end);
            }
            for (lane, (address, row)) in addresses.into_iter().zip(registers).enumerate() {
                let value = match format {
                    plane::RGBA8_UNORM => self.encode(row),
                    plane::R32_FLOAT => self.b.ins().extractlane(row, 0),
                    _ => row,
                };
                let Some(active) = active else {
                    self.b.ins().store(flags(), value, address, 0);
                    continue;
                };
                let [write, next] = [(); 2].map(|()| self.b.create_block());
                self.if_bit(active, lane as u32, write, next);
                self.start(write);
                self.b.ins().store(flags(), value, address, 0);
                self.b.ins().jump(next, NONE);
                self.start(next);
            }
            self.b.ins().jump(end, NONE);
        }
        self.b.set_cold_block(slow);
        self.start(slow);
        self.call_for_scalars(ImageOp::Store, (Resource { slot, element: None }, None), fields, &[]);
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// Whether the lanes' texels are neighbours.
    fn in_a_row(&mut self, at: &Places) -> bool {
        let [x, y] = at.ids.map(|id| self.get(id));
        matches!((x, y), (Val::Linear(_), Val::Scalar(_)))
    }

    /// Writes four neighbours of normalized bytes at once where all lanes are active, and goes on where not.
    fn store_in_a_row(&mut self, first: Value, rows: [Value; 4], active: Value, end: Block) {
        let [all, some] = [(); 2].map(|()| self.b.create_block());
        let every = self.b.ins().icmp_imm_s(IntCC::Equal, active, 0b1111);
        self.b.ins().brif(every, all, NONE, some, NONE);
        self.start(all);
        self.store_four(first, rows);
        self.b.ins().jump(end, NONE);
        self.b.set_cold_block(some);
        self.start(some);
    }

    fn store_four(&mut self, first: Value, rows: [Value; 4]) {
        let [a, b, c, d] = rows.map(|row| self.normalized(row));
        let (low, high) = (self.b.ins().snarrow(a, b), self.b.ins().snarrow(c, d));
        let bytes = self.b.ins().unarrow(low, high);
        self.b.ins().store(flags(), bytes, first, 0);
    }
}
