//! How four lanes sample: in machine code where they blend the four nearest texels of the largest level of a 2D texture of
//! normalized bytes, by calls into Rust where not.
//!
//! The steps and their order are those of `sample`, so that both give the same bits.

use cranelift_codegen::ir::{
    Block, InstBuilder, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::{
    super::{number::Num, sample::WEIGHT_ONE},
    code::{Emitter, NONE, PlaneValues, Val, flags, plane},
    helpers::field,
    image::Fields,
    ir::{Id, ImageOp, Resource},
};

/// Positions with a larger number of texels are left to Rust: further out, floats are no places any more.
const PLACE_MAX: f32 = (1 << 22) as f32;

/// Where each lane's two columns of texels are.
struct Columns {
    /// The first; the second is next to it.
    first: Value,
    /// What the first and, in the upper half, the second weigh, of `WEIGHT_ONE`.
    weights: Value,
}

/// Where each lane's two rows of texels are.
struct Rows {
    texels: [Value; 2],
    weights: [Value; 2],
    /// Whether all lanes have the same.
    together: bool,
}

impl Emitter<'_, '_> {
    /// What each lane's sample gives.
    pub(super) fn sample(
        &mut self,
        texture: Resource,
        sampler: Option<Resource>,
        fields: Fields<'_>,
    ) -> [Value; 4] {
        let call =
            |this: &mut Self| this.call_for_rows(ImageOp::Sample, (texture, sampler), fields, Num::F32);
        let known = |resource: Option<Resource>| {
            let resource = resource.filter(|resource| resource.element.is_none())?;
            self.slots[resource.slot as usize].plane
        };
        let planes = known(Some(texture)).zip(known(sampler));
        let (Some((plane, filter)), Some(at)) = (planes, self.flat_position(fields)) else {
            return call(self);
        };
        let [slow, end] = [(); 2].map(|()| self.b.create_block());
        let results = [(); 4].map(|()| self.b.append_block_param(end, types::F32X4));
        self.expect(plane.format, plane::RGBA8_UNORM, slow);
        self.expect(filter.format, plane::LINEAR, slow);
        // Two texels of a row are loaded as one.
        let wide = self.b.ins().icmp_imm_u(IntCC::UnsignedGreaterThan, plane.width, 1);
        self.go_on_if(wide, slow);
        let x = self.middle(at[0], plane.width, slow);
        let columns = self.columns(x, plane.width);
        let y = self.middle(at[1], plane.height, slow);
        let together = matches!(self.get(at[1]), Val::Scalar(_));
        let rows = self.rows_of(y, plane.height, together);
        let rows = self.blend(texture.slot, &plane, &columns, &rows);
        self.jump_rows(end, rows);
        self.b.set_cold_block(slow);
        self.start(slow);
        let rows = call(self);
        self.jump_rows(end, rows);
        self.start(end);
        results
    }

    /// The coordinates of a sample of the largest level of a plane, without an offset.
    fn flat_position(&self, fields: Fields<'_>) -> Option<[Id; 2]> {
        let of = |wanted: usize| fields.iter().find(|(at, _)| *at == wanted).map(|(_, id)| *id);
        let largest = of(field::LEVEL).is_none_or(|level| self.program.constant(level) == Some(0));
        let others = (0..field::COUNT).filter(|at| ![0, 1, field::LEVEL].contains(at));
        let flat = largest && others.into_iter().all(|at| of(at).is_none());
        Some([of(field::COORDS)?, of(field::COORDS + 1)?]).filter(|_| flat)
    }

    fn expect(&mut self, value: Value, wanted: u32, otherwise: Block) {
        let same = self.b.ins().icmp_imm_s(IntCC::Equal, value, i64::from(wanted));
        self.go_on_if(same, otherwise);
    }

    fn go_on_if(&mut self, condition: Value, otherwise: Block) {
        let next = self.b.create_block();
        self.b.ins().brif(condition, next, NONE, otherwise, NONE);
        self.start(next);
    }

    /// Each lane's position among the middles of texels.
    fn middle(&mut self, at: Id, size: Value, slow: Block) -> Value {
        let mut lanes = self.vector(at);
        let together = matches!(self.get(at), Val::Scalar(_));
        if let Some(mask) = self.mask_value().filter(|_| !together) {
            // Lanes that are not active sample somewhere inside.
            let bits = self.cast(types::I32X4, lanes);
            let bits = self.b.ins().band(bits, mask);
            lanes = self.cast(types::F32X4, bits);
        }
        let texels = self.b.ins().fcvt_from_uint(types::F32, size);
        let texels = self.b.ins().splat(types::F32X4, texels);
        let position = self.b.ins().fmul(lanes, texels);
        let (far, away) = (self.float_in_all(PLACE_MAX), self.b.ins().fabs(position));
        let near = self.b.ins().fcmp(FloatCC::LessThan, away, far);
        let bits = self.bits(near);
        let all = self.b.ins().icmp_imm_s(IntCC::Equal, bits, 0b1111);
        self.go_on_if(all, slow);
        let half = self.float_in_all(0.5);
        self.b.ins().fsub(position, half)
    }

    /// Between the same two texels lies what is beyond the edge, with all weight on the one at the edge, which is what
    /// that texel twice would give.
    fn columns(&mut self, middle: Value, width: Value) -> Columns {
        let last = self.b.ins().iadd_imm_s(width, -1);
        let last = self.b.ins().fcvt_from_uint(types::F32, last);
        let (zero, last) = (self.float_in_all(0.0), self.b.ins().splat(types::F32X4, last));
        let inside = self.larger(middle, zero);
        let inside = self.smaller(inside, last);
        let low = self.b.ins().floor(inside);
        let low = self.whole(low);
        let end = self.b.ins().iadd_imm_s(width, -2);
        let end = self.b.ins().splat(types::I32X4, end);
        let first = self.b.ins().smin(low, end);
        let start = self.b.ins().fcvt_from_sint(types::F32X4, first);
        let weight = self.b.ins().fsub(inside, start);
        let one = self.float_in_all(WEIGHT_ONE);
        let weight = self.b.ins().fmul(weight, one);
        let second = self.whole(weight);
        let one = self.int(WEIGHT_ONE as u32);
        let one = self.b.ins().splat(types::I32X4, one);
        let rest = self.b.ins().isub(one, second);
        let upper = self.b.ins().ishl_imm_u(second, 16);
        Columns { first, weights: self.b.ins().bor(upper, rest) }
    }

    fn rows_of(&mut self, middle: Value, height: Value, together: bool) -> Rows {
        let low = self.b.ins().floor(middle);
        let weight = self.b.ins().fsub(middle, low);
        let one = self.float_in_all(WEIGHT_ONE);
        let weight = self.b.ins().fmul(weight, one);
        let weight = self.b.ins().nearest(weight);
        let rest = self.b.ins().fsub(one, weight);
        // Columns are added up in parts of theirs, too.
        let part = self.float_in_all(1.0 / (WEIGHT_ONE * WEIGHT_ONE));
        let weights = [rest, weight].map(|weight| self.b.ins().fmul(weight, part));
        let low = self.b.ins().fcvt_to_sint_sat(types::I32X4, low);
        let next = self.int(1);
        let next = self.b.ins().splat(types::I32X4, next);
        let high = self.b.ins().iadd(low, next);
        let last = self.b.ins().iadd_imm_s(height, -1);
        let (zero, last) = (self.int(0), self.b.ins().splat(types::I32X4, last));
        let zero = self.b.ins().splat(types::I32X4, zero);
        let texels = [low, high].map(|texel| {
            let texel = self.b.ins().smax(texel, zero);
            self.b.ins().smin(texel, last)
        });
        Rows { texels, weights, together }
    }

    /// Adds up the four texels of each lane.
    fn blend(&mut self, slot: u32, plane: &PlaneValues, columns: &Columns, rows: &Rows) -> [Value; 4] {
        let base = self.slots[slot as usize].pointer;
        let row = |this: &mut Self, texels: Value, lane: u8| {
            let y = this.lane(texels, Num::U32, lane);
            let y = this.b.ins().uextend(types::I64, y);
            let bytes = this.b.ins().imul(y, plane.row_pitch);
            this.b.ins().iadd(base, bytes)
        };
        let shared = rows.together.then(|| rows.texels.map(|texels| row(self, texels, 0)));
        let unit = self.float_in_all(255.0);
        [0u8, 1, 2, 3].map(|lane| {
            let lines = shared.unwrap_or_else(|| rows.texels.map(|texels| row(self, texels, lane)));
            let x = self.lane(columns.first, Num::U32, lane);
            let x = self.b.ins().uextend(types::I64, x);
            let x = self.b.ins().ishl_imm_u(x, 2);
            let both = self.spread_lane(columns.weights, lane);
            let [upper, lower] = [0, 1].map(|j| {
                let address = self.b.ins().iadd(lines[j], x);
                let sum = self.two_texels(address, both);
                let weight = self.spread_lane(rows.weights[j], lane);
                self.b.ins().fmul(sum, weight)
            });
            let sum = self.b.ins().fadd(upper, lower);
            self.b.ins().fdiv(sum, unit)
        })
    }

    /// The bytes of two texels next to one another, each times its weight, added up.
    fn two_texels(&mut self, address: Value, weights: Value) -> Value {
        let bytes = self.b.ins().uload8x8(flags(), address, 0);
        // The two values of each component next to one another.
        let pairs = (0..16).map(|i| 2 * (i / 4) + 8 * (i / 2 % 2) + i % 2).collect::<Vec<u8>>();
        let pairs = self.b.func.dfg.immediates.push(pairs.as_slice().into());
        let bytes = self.cast(types::I8X16, bytes);
        let pairs = self.b.ins().shuffle(bytes, bytes, pairs);
        let pairs = self.cast(types::I16X8, pairs);
        let weights = self.cast(types::I16X8, weights);
        let [low, high] = [true, false].map(|low| {
            let [a, b] = [pairs, weights].map(|half| match low {
                true => self.b.ins().swiden_low(half),
                false => self.b.ins().swiden_high(half),
            });
            self.b.ins().imul(a, b)
        });
        let sums = self.b.ins().iadd_pairwise(low, high);
        self.b.ins().fcvt_from_sint(types::F32X4, sums)
    }
}
