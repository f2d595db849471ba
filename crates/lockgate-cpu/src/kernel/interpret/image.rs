//! Expressions and statements on textures: evaluates their operands and asks `sample` for the rest.

use lockgate_runtime::ObservedKind;
use naga::{AtomicFunction, Expression, Handle, ImageQuery, SampleLevel};

use super::{
    super::{
        binding::{Binding, SamplerBinding, TextureBinding},
        number::Num,
        sample::{self, SamplePoint},
    },
    Machine,
    eval::num_of,
    place::changed,
    value::{Bound, Data, Fault, Value},
};

impl<'a> Machine<'a> {
    fn bound(&self, resource: Handle<Expression>, lane: usize) -> Result<Bound, Fault> {
        match self.value(resource, lane)? {
            Value::Resource(bound) => Ok(bound),
            _ => Err(Fault::failed("a value where a resource is needed")),
        }
    }

    fn slot(&self, resource: Handle<Expression>, lane: usize) -> Result<&'a Binding, Fault> {
        let bound = self.bound(resource, lane)?;
        self.binding(bound).ok_or_else(|| Fault::failed("a slot without a binding"))
    }

    /// The texture; none where nothing is bound.
    fn texture(&self, image: Handle<Expression>, lane: usize) -> Result<Option<&'a TextureBinding>, Fault> {
        match self.slot(image, lane)? {
            Binding::Texture(texture) => Ok(Some(texture)),
            Binding::Nothing => Ok(None),
            _ => Err(Fault::failed("a texture is needed")),
        }
    }

    fn sampler(&self, sampler: Handle<Expression>, lane: usize) -> Result<Option<&'a SamplerBinding>, Fault> {
        match self.slot(sampler, lane)? {
            Binding::Sampler(sampler) => Ok(Some(sampler)),
            Binding::Nothing => Ok(None),
            _ => Err(Fault::failed("a sampler is needed")),
        }
    }

    /// Integers as `u32`; negative ones are outside of every texture.
    fn integers(&self, handle: Handle<Expression>, lane: usize) -> Result<Vec<u32>, Fault> {
        let num = num_of(self.inner(handle)?)?;
        let integer = |bits: &u64| u32::try_from(num.int(*bits)).unwrap_or(u32::MAX);
        Ok(self.value(handle, lane)?.data()?.iter().map(integer).collect())
    }

    fn floats(&self, handle: Handle<Expression>, lane: usize) -> Result<[f32; 3], Fault> {
        let num = num_of(self.inner(handle)?)?;
        let value = self.value(handle, lane)?;
        let data = value.data()?;
        Ok(std::array::from_fn(|i| data.get(i).map_or(0.0, |bits| num.float(*bits) as f32)))
    }

    fn float(&self, handle: Handle<Expression>, lane: usize) -> Result<f32, Fault> {
        Ok(self.floats(handle, lane)?[0])
    }

    /// x, y, and z or layer of a texel.
    fn texel(
        &self,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        lane: usize,
    ) -> Result<[u32; 3], Fault> {
        let coordinate = self.integers(coordinate, lane)?;
        let at = |i: usize| coordinate.get(i).copied().unwrap_or(0);
        let last = match array_index {
            Some(index) => self.integers(index, lane)?[0],
            None => at(2),
        };
        Ok([at(0), at(1), last])
    }

    pub(super) fn image_expression(&self, handle: Handle<Expression>, lane: usize) -> Result<Data, Fault> {
        match self.frame()?.function.expressions[handle] {
            Expression::ImageLoad { image, coordinate, array_index, level, .. } => {
                let Some(texture) = self.texture(image, lane)? else {
                    return self.texel_result(handle, [0; 4]);
                };
                let at = self.texel(coordinate, array_index, lane)?;
                let level = level.map(|level| self.integers(level, lane)).transpose()?.map_or(0, |v| v[0]);
                let span = self.frame()?.function.expressions.get_span(handle);
                let of = (self.bound(image, lane)?, texture);
                self.observe_texel(span, (ObservedKind::Read, false), of, (level, at), lane);
                // SAFETY: the texture is valid by the contract of `Kernel::run`.
                let load = || unsafe { sample::load(texture, level, at) };
                let texel = self.with_texels(of, || vec![(level, at)], lane, load);
                self.texel_result(handle, texel)
            }
            Expression::ImageQuery { image, query } => {
                let numbers = self.query(image, query, lane)?;
                let wanted = self.inner(handle)?.components().map_or(1, |size| size as usize);
                Ok(numbers.into_iter().take(wanted).map(u64::from).collect())
            }
            _ => self.image_sample(handle, lane),
        }
    }

    /// The four components, or the first for a depth texture.
    fn texel_result(&self, handle: Handle<Expression>, texel: [u32; 4]) -> Result<Data, Fault> {
        let wanted = if self.inner(handle)?.components().is_some() { 4 } else { 1 };
        Ok(texel[..wanted].iter().map(|bits| u64::from(*bits)).collect())
    }

    fn image_sample(&self, handle: Handle<Expression>, lane: usize) -> Result<Data, Fault> {
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
        } = self.frame()?.function.expressions[handle]
        else {
            return Err(Fault::failed("this texture expression"));
        };
        let (Some(texture), Some(sampler)) = (self.texture(image, lane)?, self.sampler(sampler, lane)?)
        else {
            return self.texel_result(handle, [0; 4]);
        };
        let mut point = SamplePoint { coords: self.floats(coordinate, lane)?, ..SamplePoint::default() };
        if let Some(index) = array_index {
            point.layer = self.integers(index, lane)?[0].min(i32::MAX as u32) as i32;
        }
        if let Some(offset) = offset {
            let value = self.value(offset, lane)?;
            for (target, bits) in point.offset.iter_mut().zip(value.data()?) {
                *target = *bits as u32 as i32;
            }
        }
        point.lod = match level {
            SampleLevel::Auto | SampleLevel::Zero => 0.0,
            SampleLevel::Exact(level) | SampleLevel::Bias(level) => self.float_or_int(level, lane)?,
            SampleLevel::Gradient { x, y } => {
                let changes = [self.floats(x, lane)?, self.floats(y, lane)?];
                sample::lod_of_gradient(texture, point.coords, changes)
            }
        };
        if clamp_to_edge {
            clamp_to_texels(texture, &mut point);
        }
        let span = self.frame()?.function.expressions.get_span(handle);
        let of = (self.bound(image, lane)?, texture);
        self.observe_sample(span, of, sampler, &point, gather.is_some(), lane);
        let reference = depth_ref.map(|reference| self.float(reference, lane)).transpose()?;
        let texels = || sample::footprint(texture, sampler, &point, gather.is_some());
        let texel = self.with_texels(of, texels, lane, || match (gather, reference) {
            (Some(component), _) => {
                // SAFETY: the texture is valid by the contract of `Kernel::run`.
                unsafe { sample::gather(texture, sampler, &point, component as usize, reference) }
            }
            (None, Some(reference)) => {
                // SAFETY: the texture is valid by the contract of `Kernel::run`.
                [unsafe { sample::sample_compare(texture, sampler, &point, reference) }.to_bits(); 4]
            }
            (None, None) => {
                // SAFETY: the texture is valid by the contract of `Kernel::run`.
                unsafe { sample::sample(texture, sampler, &point) }.map(f32::to_bits)
            }
        });
        self.texel_result(handle, texel)
    }

    /// Depth textures take their level as an integer.
    fn float_or_int(&self, handle: Handle<Expression>, lane: usize) -> Result<f32, Fault> {
        let num = num_of(self.inner(handle)?)?;
        let bits = self.value(handle, lane)?.first()?;
        Ok(if num.is_float() { num.float(bits) as f32 } else { num.int(bits) as f32 })
    }

    fn query(&self, image: Handle<Expression>, query: ImageQuery, lane: usize) -> Result<[u32; 3], Fault> {
        let Some(texture) = self.texture(image, lane)? else { return Ok([0; 3]) };
        Ok(match query {
            ImageQuery::Size { level } => {
                let level = level.map(|level| self.integers(level, lane)).transpose()?.map_or(0, |v| v[0]);
                sample::size(texture, level)
            }
            ImageQuery::NumLevels => [texture.levels.len() as u32; 3],
            ImageQuery::NumLayers => [sample::layers(texture); 3],
            ImageQuery::NumSamples => [1; 3],
        })
    }

    pub(super) fn image_store(
        &self,
        image: Handle<Expression>,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        value: Handle<Expression>,
        lane: usize,
    ) -> Result<(), Fault> {
        let Some(texture) = self.texture(image, lane)? else { return Ok(()) };
        let at = self.texel(coordinate, array_index, lane)?;
        let value = self.value(value, lane)?;
        let data = value.data()?;
        let texel = std::array::from_fn(|i| data.get(i).copied().unwrap_or(0) as u32);
        let of = (self.bound(image, lane)?, texture);
        self.observe_texel(self.statement, (ObservedKind::Write, true), of, (0, at), lane);
        match self.port {
            Some(port) => self.store_texel(port, of, at, texel, lane),
            // SAFETY: the texture is valid by the contract of `Kernel::run`, and the slot says that it is written.
            None => unsafe { sample::store(texture, at, texel) },
        }
        Ok(())
    }

    pub(super) fn image_atomic(
        &self,
        image: Handle<Expression>,
        coordinate: Handle<Expression>,
        array_index: Option<Handle<Expression>>,
        fun: AtomicFunction,
        value: Handle<Expression>,
        lane: usize,
    ) -> Result<(), Fault> {
        let Some(texture) = self.texture(image, lane)? else { return Ok(()) };
        let at = self.texel(coordinate, array_index, lane)?;
        let num: Num = num_of(self.inner(value)?)?;
        let operand = self.value(value, lane)?.first()?;
        let of = (self.bound(image, lane)?, texture);
        self.observe_texel(self.statement, (ObservedKind::Atomic, true), of, (0, at), lane);
        let change = |old| changed(fun, num, old, operand, None);
        match self.port {
            Some(port) => self.update_texel(port, of, at, &change, lane),
            None => {
                // SAFETY: the texture is valid by the contract of `Kernel::run`, and the slot says that it is written.
                unsafe { sample::update(texture, at, change) };
            }
        }
        Ok(())
    }
}

/// Keeps a coordinate half a texel inside, so that no filter reaches over the edge.
pub(in super::super) fn clamp_to_texels(texture: &TextureBinding, point: &mut SamplePoint) {
    let size = sample::size(texture, 0);
    for (coordinate, size) in point.coords.iter_mut().zip(size) {
        let half = 0.5 / size.max(1) as f32;
        *coordinate = coordinate.max(half).min(1.0 - half);
    }
}
