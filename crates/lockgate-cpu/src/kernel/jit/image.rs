//! How textures are used: common views by machine code in place (`texels`, `sampled`), everything else by calls into Rust.

use cranelift_codegen::ir::{
    BlockArg, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Type, Value, types,
};

use super::{
    super::number::Num,
    code::{Emitter, NONE, PlaneValues, Val, flags, scalar_type, vector_type},
    helpers::{self, ImageCalls, field, filled},
    ir::{Id, ImageOp, Resource},
    rows,
    shape::Shape,
};

/// Operands of a call, by field.
pub(super) type Fields<'a> = &'a [(usize, Id)];

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

    pub(super) fn call_for_scalars(
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
