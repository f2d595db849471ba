//! How texels are read and written: plain views in machine code, everything else by calls into Rust.
//!
//! What a view looks like is known only when a kernel is launched. For four lanes inside the largest level of a 2D
//! texture of a common format the texels are converted in place; the format is looked at once for all four.

use cranelift_codegen::ir::{
    Block, BlockArg, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value,
    condcodes::{FloatCC, IntCC},
    types,
};

use super::{
    super::number::Num,
    code::{Emitter, NONE, PlaneValues, Val, flags, plane, scalar_type, vector_type},
    helpers::{self, ImageCalls, field, filled},
    ir::{Id, ImageOp, Resource},
    rows,
    shape::Shape,
};

/// Operands of a call, by field.
pub(super) type Fields<'a> = &'a [(usize, Id)];

/// Where the lanes' texels are in a plane.
struct Places {
    ids: [Id; 2],
    lanes: [Value; 2],
    masked: bool,
}

/// Bytes of a texel.
fn bytes_of(format: u32) -> i64 {
    if format == plane::RGBA32_FLOAT { 16 } else { 4 }
}

impl Emitter<'_, '_> {
    pub(super) fn image(
        &mut self,
        op: ImageOp,
        (texture, sampler): (Resource, Option<Resource>),
        fields: Fields<'_>,
        results: &[Id],
    ) {
        let slot = texture.slot;
        let wide = self.lanes == 4 && results.iter().all(|id| self.shapes.ids[id.at()] == Shape::Varying);
        let floats = |this: &Self, ids: &[Id]| ids.iter().all(|id| this.program.num(*id) == Num::F32);
        let plane = self.slots[slot as usize].plane.filter(|_| texture.element.is_none());
        if let (ImageOp::Size, Some(plane), [width, height]) = (op, plane, results)
            && fields.iter().all(|(_, level)| self.program.constant(*level) == Some(0))
        {
            return self.size(&plane, texture, fields, [*width, *height]);
        }
        // In machine code it is fast, and large, and tells nobody.
        let small = self.seldom || self.texel_site.is_some();
        let at = self.plane_coordinates(fields).zip(plane).filter(|_| !small);
        match (op, at, <[Id; 4]>::try_from(results)) {
            (ImageOp::Load, Some((at, plane)), Ok(results)) if wide && floats(self, &results) => {
                let rows = self.load_texels(slot, &plane, at, fields);
                self.define_rows(results, rows);
            }
            (ImageOp::Sample, _, Ok(results)) if wide && !small => {
                let rows = self.sample(texture, sampler, fields);
                self.define_rows(results, rows);
            }
            (_, _, Ok(results)) if wide => {
                let rows = self.call_for_rows(op, (texture, sampler), fields, self.program.num(results[0]));
                self.define_rows(results, rows);
            }
            (ImageOp::Store, Some((at, plane)), _) if wide => {
                match rows::stored_texel(fields).filter(|texel| floats(self, texel)) {
                    Some(texel) => self.store_texels(slot, &plane, at, fields, texel),
                    None => self.call_for_scalars(op, (texture, sampler), fields, results),
                }
            }
            _ => self.call_for_scalars(op, (texture, sampler), fields, results),
        }
    }

    /// The width and height of the largest level: of a plane what is known of it, of others what Rust says.
    fn size(&mut self, plane: &PlaneValues, texture: Resource, fields: Fields<'_>, results: [Id; 2]) {
        let [slow, end] = [(); 2].map(|()| self.b.create_block());
        let sizes = [(); 2].map(|()| self.b.append_block_param(end, types::I32));
        let known = [plane.width, plane.height].map(BlockArg::Value);
        self.b.ins().brif(plane.width, end, &known, slow, NONE);
        self.b.set_cold_block(slow);
        self.start(slow);
        let call = self.fill_and_call(ImageOp::Size, (texture, None), fields, true);
        let called = [0, 4].map(|offset| self.result(types::I32, call, offset));
        self.b.ins().jump(end, &called.map(BlockArg::Value));
        self.start(end);
        results.into_iter().zip(sizes).for_each(|(id, size)| self.define(id, Val::Scalar(size)));
    }

    /// The coordinates of a texel in a plane of the largest level.
    fn plane_coordinates(&self, fields: Fields<'_>) -> Option<[Id; 2]> {
        let of = |wanted: usize| fields.iter().find(|(at, _)| *at == wanted).map(|(_, id)| *id);
        let level = of(field::LEVEL).map_or(Some(0), |level| self.program.constant(level));
        let plane = of(field::COORDS + 2).is_none() && level == Some(0);
        Some([of(field::COORDS)?, of(field::COORDS + 1)?]).filter(|_| plane)
    }

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
    fn load_texels(&mut self, slot: u32, plane: &PlaneValues, at: [Id; 2], fields: Fields<'_>) -> [Value; 4] {
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

    /// Floats as four normalized bytes.
    fn encode(&mut self, row: Value) -> Value {
        let [zero, one, largest] = [0.0, 1.0, 255.0].map(|value| self.float_in_all(value));
        // A comparison with NaN fails, which gives zero.
        let positive = self.b.ins().fcmp(FloatCC::GreaterThan, row, zero);
        let row = self.choose(positive, row, zero);
        let below = self.b.ins().fcmp(FloatCC::LessThan, row, one);
        let row = self.choose(below, row, one);
        let row = self.b.ins().fmul(row, largest);
        let row = self.b.ins().nearest(row);
        let words = self.b.ins().fcvt_to_sint_sat(types::I32X4, row);
        let bytes = self.cast(types::I8X16, words);
        let lowest: Vec<u8> = (0..16).map(|i| 4 * (i % 4)).collect();
        let lowest = self.b.func.dfg.immediates.push(lowest.as_slice().into());
        let packed = self.b.ins().shuffle(bytes, bytes, lowest);
        let packed = self.cast(types::I32X4, packed);
        self.b.ins().extractlane(packed, 0)
    }

    /// Writes each active lane's texel.
    fn store_texels(
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
            for (lane, (address, row)) in
                self.texels(slot, plane, at, bytes_of(format)).into_iter().zip(registers).enumerate()
            {
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

    /// Makes the four components of each lane known, in the form that their uses want.
    fn define_rows(&mut self, results: [Id; 4], rows: [Value; 4]) {
        let registers = if self.rows.contains(results[0]) { rows } else { self.transpose(rows) };
        for (id, register) in results.into_iter().zip(registers) {
            self.define(id, Val::Vector(register));
        }
    }

    /// Calls a helper once, for all active lanes or, `together`, for a result that all share; gives where the call stands.
    fn fill_and_call(
        &mut self,
        op: ImageOp,
        (texture, sampler): (Resource, Option<Resource>),
        fields: Fields<'_>,
        together: bool,
    ) -> Value {
        use std::mem::offset_of;
        let one = together || self.lanes == 1;
        let slot = self.image_calls();
        let call = self.b.ins().stack_addr(types::I64, slot, 0);
        self.fill_objects(call, offset_of!(ImageCalls, textures), texture, one);
        let mut used = fields.iter().fold(0, |used, (field, _)| used | 1 << field);
        if let Some(sampler) = sampler {
            used |= filled::SAMPLERS;
            self.fill_objects(call, offset_of!(ImageCalls, samplers), sampler, one);
        }
        if let Some(site) = self.texel_site {
            used |= filled::WATCHER;
            self.fill_watcher(call, site);
        }
        self.fill_fields(call, fields, one);
        let lanes = match self.mask_value() {
            Some(mask) if !one => self.bits(mask),
            _ => self.int(if one { 1 } else { 0b1111 }),
        };
        let (number, used) = (self.int(op as u32), self.int(used));
        let parameters = [types::I32, types::I32, types::I32, types::I64];
        let arguments = [number, lanes, used, call];
        self.call_helper(helpers::images as *const () as usize, &parameters, false, &arguments);
        call
    }

    /// A word or a row of what a call has brought.
    fn result(&mut self, ty: Type, call: Value, offset: i32) -> Value {
        self.b.ins().load(ty, flags(), call, std::mem::offset_of!(ImageCalls, results) as i32 + offset)
    }

    /// The four results of each lane's call.
    pub(super) fn call_for_rows(
        &mut self,
        op: ImageOp,
        of: (Resource, Option<Resource>),
        fields: Fields<'_>,
        num: Num,
    ) -> [Value; 4] {
        let call = self.fill_and_call(op, of, fields, false);
        [0, 16, 32, 48].map(|lane| self.result(vector_type(num), call, lane))
    }

    fn call_for_scalars(
        &mut self,
        op: ImageOp,
        of: (Resource, Option<Resource>),
        fields: Fields<'_>,
        results: &[Id],
    ) {
        let alike = !op.writes() && results.iter().all(|id| self.shapes.ids[id.at()].is_scalar());
        // Each tells that it was there.
        let together = alike && (self.texel_site.is_none() || self.lanes == 1);
        let call = self.fill_and_call(op, of, fields, together);
        let Some(num) = results.first().map(|id| self.program.num(*id)) else { return };
        if alike || self.lanes == 1 {
            let call = if together { call } else { self.first_called(call) };
            for (i, id) in results.iter().enumerate() {
                let result = self.result(scalar_type(num), call, 4 * i as i32);
                self.define(*id, Val::Scalar(result));
            }
            return;
        }
        let rows = [0, 16, 32, 48].map(|lane| self.result(vector_type(num), call, lane));
        for (id, column) in results.iter().zip(self.transpose(rows)) {
            self.define(*id, Val::Vector(column));
        }
    }

    /// A call, from where the results of the first active lane are the results.
    fn first_called(&mut self, call: Value) -> Value {
        let Some(mask) = self.mask_value() else { return call };
        let bits = self.bits(mask);
        let first = self.b.ins().ctz(bits);
        let first = self.b.ins().band_imm_s(first, 3);
        let offset = self.b.ins().ishl_imm_u(first, 4);
        let offset = self.b.ins().uextend(types::I64, offset);
        self.b.ins().iadd(call, offset)
    }

    /// The memory of all calls: one ends before the next is filled.
    fn image_calls(&mut self) -> StackSlot {
        let size = size_of::<ImageCalls>() as u32;
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 4);
        *self.image_calls.get_or_insert_with(|| self.b.create_sized_stack_slot(data))
    }

    /// Writes which texture or sampler each lane means.
    fn fill_objects(&mut self, call: Value, at: usize, resource: Resource, one: bool) {
        let lanes = if one { 1 } else { 4 };
        let mut object = self.object(resource, 0);
        for lane in 0..lanes {
            if lane > 0 && resource.element.is_some() {
                object = self.object(resource, lane);
            }
            self.b.ins().store(flags(), object, call, at as i32 + 8 * i32::from(lane));
        }
    }

    /// Writes the operands of all lanes.
    fn fill_fields(&mut self, call: Value, fields: Fields<'_>, one: bool) {
        let row = rows::stored_texel(fields).filter(|texel| self.rows.contains(texel[0]));
        let columns = row.map(|texel| {
            let rows = texel.map(|id| self.vector(id));
            self.transpose(rows)
        });
        for (field, id) in fields {
            let value = match columns {
                Some(columns) if (field::VALUE..field::VALUE + 4).contains(field) => {
                    columns[field - field::VALUE]
                }
                _ if one => self.lane_of(*id, 0),
                _ => self.vector(*id),
            };
            let at = std::mem::offset_of!(ImageCalls, fields) + 16 * field;
            self.b.ins().store(flags(), value, call, at as i32);
        }
    }
}
