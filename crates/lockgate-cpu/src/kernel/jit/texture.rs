//! How expressions and statements on textures become calls of helpers.

use naga::{Expression, Handle, ImageClass, ImageQuery, SampleLevel, ScalarKind, TypeInner};

use super::{
    super::number::Num,
    helpers::{atomic_number, field},
    ir::{Binary, Id, ImageOp, Op, Resource, Stmt},
    lower::{Lowered, Lowering, Refusal},
};

type Fields = Vec<(usize, Id)>;

impl Lowering<'_> {
    fn resource(&mut self, handle: Handle<Expression>) -> Result<Resource, Refusal> {
        match self.value(handle)? {
            Lowered::Resource(resource) => Ok(resource),
            _ => Err("a value where a texture or sampler is needed"),
        }
    }

    /// Coordinates of a texel, and its layer as the last of them. Negative ones are beyond the end of every texture
    /// when they are read as unsigned.
    fn texel(
        &mut self,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
    ) -> Result<Fields, Refusal> {
        let ids = self.data(coordinate)?;
        let mut fields: Fields = ids.into_iter().enumerate().collect();
        if let Some(index) = array_index {
            fields.push((2, self.scalar(index)?));
        }
        Ok(fields)
    }

    fn image_call(
        &mut self,
        op: ImageOp,
        texture: Resource,
        sampler: Option<Resource>,
        fields: Fields,
        num: Num,
        count: usize,
    ) -> Vec<Id> {
        let results: Vec<Id> = (0..count).map(|_| self.new_id(num)).collect();
        let site = self.texel_site(op, texture.slot);
        self.emit(Stmt::Image { op, texture, sampler, fields, results: results.clone(), site });
        results
    }

    pub(super) fn image_store(
        &mut self,
        image: Handle<Expression>,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        value: Handle<Expression>,
    ) -> Result<(), Refusal> {
        let slot = self.resource(image)?;
        let mut fields = self.texel(coordinate, array_index)?;
        for (i, id) in self.data(value)?.into_iter().enumerate() {
            if self.program.num(id).bytes() != 4 {
                return Err("a store of this type to a texture");
            }
            fields.push((field::VALUE + i, id));
        }
        self.image_call(ImageOp::Store, slot, None, fields, Num::U32, 0);
        Ok(())
    }

    pub(super) fn image_atomic(
        &mut self,
        image: Handle<Expression>,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        (fun, value): (naga::AtomicFunction, Handle<Expression>),
    ) -> Result<(), Refusal> {
        let num = self.num(value)?;
        if num.bytes() != 4 {
            return Err("texels of 64 bits");
        }
        let texture = self.resource(image)?;
        let mut fields = self.texel(coordinate, array_index)?;
        fields.push((field::VALUE, self.scalar(value)?));
        let number = atomic_number(fun, num).ok_or("this atomic operation on a texture")?;
        fields.push((field::COMPONENT, self.constant(Num::U32, number.into())));
        self.image_call(ImageOp::Atomic, texture, None, fields, Num::U32, 0);
        Ok(())
    }

    /// The type and number of components that a texture expression gives.
    fn result(&self, handle: Handle<Expression>) -> Result<(Num, usize), Refusal> {
        let inner = self.inner(handle)?;
        let num = self.num(handle)?;
        if num.bytes() != 4 {
            return Err("texels of 64 bits");
        }
        Ok((num, inner.components().map_or(1, |size| size as usize)))
    }

    pub(super) fn image_expression(&mut self, handle: Handle<Expression>) -> Result<Vec<Id>, Refusal> {
        self.at = self.scope()?.function.expressions.get_span(handle);
        let (num, count) = self.result(handle)?;
        match self.scope()?.function.expressions[handle] {
            Expression::ImageLoad { image, coordinate, array_index, level, .. } => {
                let slot = self.resource(image)?;
                let mut fields = self.texel(coordinate, array_index)?;
                if let Some(level) = level {
                    fields.push((field::LEVEL, self.scalar(level)?));
                }
                Ok(self.image_call(ImageOp::Load, slot, None, fields, num, count))
            }
            Expression::ImageQuery { image, query } => {
                let slot = self.resource(image)?;
                let (op, fields) = match query {
                    ImageQuery::Size { level: Some(level) } => {
                        (ImageOp::Size, vec![(field::LEVEL, self.scalar(level)?)])
                    }
                    ImageQuery::Size { level: None } => (ImageOp::Size, Vec::new()),
                    ImageQuery::NumLevels => (ImageOp::Levels, Vec::new()),
                    ImageQuery::NumLayers => (ImageOp::Layers, Vec::new()),
                    ImageQuery::NumSamples => return Ok(vec![self.constant(Num::U32, 1)]),
                };
                Ok(self.image_call(op, slot, None, fields, num, count))
            }
            _ => self.image_sample(handle, num, count),
        }
    }

    fn image_sample(
        &mut self,
        handle: Handle<Expression>,
        num: Num,
        count: usize,
    ) -> Result<Vec<Id>, Refusal> {
        let Expression::ImageSample {
            image,
            sampler,
            gather,
            coordinate,
            array_index,
            offset,
            level,
            depth_ref,
            clamp_to_edge,
        } = self.scope()?.function.expressions[handle]
        else {
            return Err("this texture expression");
        };
        let class = self.inner(image)?;
        if let TypeInner::Image { class: ImageClass::Sampled { kind, .. }, .. } = class
            && *kind != ScalarKind::Float
            && gather.is_none()
        {
            return Err("a sample of integers");
        }
        let (image, sampler) = (self.resource(image)?, self.resource(sampler)?);
        let mut fields: Fields = self.data(coordinate)?.into_iter().enumerate().collect();
        if let Some(index) = array_index {
            let layer = self.layer(index)?;
            fields.push((field::LAYER, layer));
        }
        if let Some(offset) = offset {
            let ids = self.data(offset)?;
            fields.extend(ids.into_iter().enumerate().map(|(i, id)| (field::OFFSET + i, id)));
        }
        let mut op = match (gather, depth_ref) {
            (Some(_), Some(_)) => ImageOp::GatherCompare,
            (Some(_), None) => ImageOp::Gather,
            (None, Some(_)) => ImageOp::SampleCompare,
            (None, None) if clamp_to_edge => ImageOp::SampleClamped,
            (None, None) => ImageOp::Sample,
        };
        match level {
            SampleLevel::Auto | SampleLevel::Zero => {}
            SampleLevel::Exact(level) | SampleLevel::Bias(level) => {
                let level = self.scalar(level)?;
                let float = self.program.num(level) == Num::F32;
                let level = if float { level } else { self.op(Num::F32, Op::Convert(level)) };
                fields.push((field::LEVEL, level));
            }
            SampleLevel::Gradient { x, y } => {
                op = ImageOp::SampleGradient;
                let (x, y) = (self.data(x)?, self.data(y)?);
                fields.extend(x.into_iter().enumerate().map(|(i, id)| (field::VALUE + i, id)));
                fields.extend(y.into_iter().enumerate().map(|(i, id)| (field::VALUE + 3 + i, id)));
            }
        }
        if let Some(reference) = depth_ref {
            fields.push((field::REFERENCE, self.scalar(reference)?));
        }
        if let Some(component) = gather {
            fields.push((field::COMPONENT, self.constant(Num::U32, component as u64)));
        }
        Ok(self.image_call(op, image, Some(sampler), fields, num, count))
    }

    /// A layer as the interpreter reads it: negative ones are beyond the end.
    fn layer(&mut self, index: Handle<Expression>) -> Result<Id, Refusal> {
        let index = self.scalar(index)?;
        let index =
            if self.program.num(index) == Num::U32 { index } else { self.op(Num::U32, Op::Bits(index)) };
        let largest = self.constant(Num::U32, i32::MAX as u64);
        Ok(self.pair(Num::U32, Binary::Min, index, largest))
    }
}
