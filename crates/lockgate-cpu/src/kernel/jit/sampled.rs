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
    super::number::Num,
    code::{Emitter, NONE, PlaneValues, Val, flags, plane},
    helpers::field,
    image::Fields,
    ir::{Id, ImageOp, Resource},
};

/// Positions with a larger number of texels are left to Rust: further out, floats are no places any more.
const PLACE_MAX: f32 = (1 << 22) as f32;

/// The two texels next to each lane's position on one axis, and what they weigh.
struct Axis {
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
        let x = self.axis(at[0], plane.width, slow);
        let y = self.axis(at[1], plane.height, slow);
        let rows = self.blend(texture.slot, &plane, &x, &y);
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

    fn axis(&mut self, at: Id, size: Value, slow: Block) -> Axis {
        let together = matches!(self.get(at), Val::Scalar(_));
        let mut lanes = self.vector(at);
        if let Some(mask) = self.mask_value() {
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
        let (half, one) = (self.float_in_all(0.5), self.float_in_all(1.0));
        let middle = self.b.ins().fsub(position, half);
        let low = self.b.ins().floor(middle);
        let weight = self.b.ins().fsub(middle, low);
        let low = self.b.ins().fcvt_to_sint_sat(types::I32X4, low);
        let next = self.int(1);
        let next = self.b.ins().splat(types::I32X4, next);
        let high = self.b.ins().iadd(low, next);
        let last = self.b.ins().iadd_imm_s(size, -1);
        let (zero, last) = (self.int(0), self.b.ins().splat(types::I32X4, last));
        let zero = self.b.ins().splat(types::I32X4, zero);
        let texels = [low, high].map(|texel| {
            let texel = self.b.ins().smax(texel, zero);
            self.b.ins().smin(texel, last)
        });
        Axis { texels, weights: [self.b.ins().fsub(one, weight), weight], together }
    }

    /// Adds up the taps of each lane.
    fn blend(&mut self, slot: u32, plane: &PlaneValues, x: &Axis, y: &Axis) -> [Value; 4] {
        let base = self.slots[slot as usize].pointer;
        let row = |this: &mut Self, texels: Value, lane: u8| {
            let y = this.lane(texels, Num::U32, lane);
            let y = this.b.ins().uextend(types::I64, y);
            let bytes = this.b.ins().imul(y, plane.row_pitch);
            this.b.ins().iadd(base, bytes)
        };
        let taps = [(0, 0), (1, 0), (0, 1), (1, 1)];
        let weights = taps.map(|(i, j)| self.b.ins().fmul(x.weights[i], y.weights[j]));
        let shared = y.together.then(|| y.texels.map(|texels| row(self, texels, 0)));
        let unit = self.float_in_all(255.0);
        [0u8, 1, 2, 3].map(|lane| {
            let rows = shared.unwrap_or_else(|| y.texels.map(|texels| row(self, texels, lane)));
            let columns = x.texels.map(|texels| {
                let x = self.lane(texels, Num::U32, lane);
                let x = self.b.ins().uextend(types::I64, x);
                self.b.ins().ishl_imm_s(x, 2)
            });
            let mut sum = self.float_in_all(0.0);
            for ((i, j), weight) in taps.into_iter().zip(weights) {
                let address = self.b.ins().iadd(rows[j], columns[i]);
                let word = self.b.ins().load(types::I32, flags(), address, 0);
                let (bytes, weight) = (self.four_bytes(word), self.spread_lane(weight, lane));
                let part = self.b.ins().fmul(bytes, weight);
                sum = self.b.ins().fadd(sum, part);
            }
            self.b.ins().fdiv(sum, unit)
        })
    }
}
