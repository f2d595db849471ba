//! Which values are the same in a workgroup, from those that they are made of.

use super::shape::Shape;
use super::{Frame, Place, Root, Value, Walk};
use naga::{
    AddressSpace, BinaryOperator, Expression, GlobalVariable, Handle, ImageClass, ImageQuery, MathFunction,
    SampleLevel, StorageAccess, TypeInner,
};

impl<'a> Walk<'a> {
    pub(super) fn value(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Value {
        match &frame.values[handle.index()] {
            Some(value) => value.clone(),
            None => self.expression(frame, handle),
        }
    }

    /// The shape of a value; of a pointer, what it points to.
    pub(super) fn shape(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Shape {
        match self.value(frame, handle) {
            Value::Data(shape) => shape,
            Value::Place(place) => self.load(&place),
        }
    }

    pub(super) fn is_same(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> bool {
        self.shape(frame, handle).is_uniform()
    }

    fn load(&self, place: &Place) -> Shape {
        match (place.root, &self.variables) {
            _ if !place.same => Shape::Varying,
            (Root::Memory { constant }, _) => Shape::of(constant),
            (Root::Variable(at), Some(variables)) => variables[at].at(&place.path),
            (Root::Variable(_), None) => Shape::Uniform,
        }
    }

    pub(super) fn expression(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Value {
        use Expression as E;
        let shape = |handle| self.shape(frame, handle);
        let place = |root| Value::Place(Place { root, path: Vec::new(), same: true });
        Value::Data(match &frame.function.expressions[handle] {
            E::FunctionArgument(index) => return frame.arguments[*index as usize].clone(),
            E::GlobalVariable(variable) => return place(self.global(*variable)),
            E::LocalVariable(variable) => return place(Root::Variable(frame.base + variable.index())),
            E::Access { base, index } => {
                let same = self.is_same(frame, *index);
                match self.value(frame, *base) {
                    Value::Place(place) => return element(place, None, same),
                    Value::Data(shape) => Shape::of(same && shape.is_uniform()),
                }
            }
            E::AccessIndex { base, index } => match self.value(frame, *base) {
                Value::Place(place) => return element(place, Some(*index), true),
                Value::Data(shape) => shape.part(*index),
            },
            E::Literal(_) | E::Constant(_) | E::Override(_) | E::ZeroValue(_) => Shape::Uniform,
            E::Compose { components, .. } => self.compose(frame, handle, components),
            E::Swizzle { size, vector, pattern } => {
                let vector = shape(*vector);
                let pattern = pattern[..*size as usize].iter();
                Shape::parts(pattern.map(|component| vector.part(*component as u32)))
            }
            E::Splat { value, .. } => shape(*value),
            E::Load { pointer } => shape(*pointer),
            E::Unary { expr, .. } | E::As { expr, .. } => shape(*expr),
            E::Binary { op, left, right } => {
                let joined = shape(*left).join(shape(*right));
                let is_matrix = |side: &Handle<_>| matches!(self.ty(frame, *side), TypeInner::Matrix { .. });
                let mixes = *op == BinaryOperator::Multiply && (is_matrix(left) || is_matrix(right));
                if mixes { joined.whole() } else { joined }
            }
            E::Select { condition, accept, reject } => {
                shape(*condition).join(shape(*accept)).join(shape(*reject))
            }
            E::Relational { argument, .. } => shape(*argument).whole(),
            E::Math { fun, arg, arg1, arg2, arg3 } => {
                let others = [arg1, arg2, arg3].into_iter().filter_map(|argument| *argument);
                let joined = others.map(shape).fold(shape(*arg), Shape::join);
                use MathFunction as F;
                let by_component = matches!(fun, F::Abs | F::Min | F::Max | F::Clamp);
                if by_component { joined } else { joined.whole() }
            }
            E::ArrayLength(array) => Shape::of(self.is_place_same(frame, *array)),
            E::ImageQuery { image, query } => {
                let level = match query {
                    ImageQuery::Size { level } => *level,
                    _ => None,
                };
                let same = level.is_none_or(|level| self.is_same(frame, level));
                Shape::of(same && self.is_place_same(frame, *image))
            }
            E::ImageLoad { .. } | E::ImageSample { .. } => Shape::of(self.is_texel_same(frame, handle)),
            // What atomic operations, subgroups and rays give, and what a compute kernel has not.
            _ => Shape::Varying,
        })
    }

    fn global(&self, handle: Handle<GlobalVariable>) -> Root {
        let constant = match self.module.global_variables[handle].space {
            AddressSpace::Private => return Root::Variable(handle.index()),
            AddressSpace::Storage { access } => !access.contains(StorageAccess::STORE),
            AddressSpace::Uniform | AddressSpace::Immediate | AddressSpace::Handle => true,
            _ => false,
        };
        Root::Memory { constant }
    }

    fn ty(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        frame.info[handle].ty.inner_with(&self.module.types)
    }

    /// Vectors are put together from scalars and smaller vectors.
    fn compose(
        &self,
        frame: &Frame<'a>,
        handle: Handle<Expression>,
        components: &[Handle<Expression>],
    ) -> Shape {
        let mut parts = Vec::new();
        let splits = matches!(self.ty(frame, handle), TypeInner::Vector { .. });
        for component in components {
            let shape = self.shape(frame, *component);
            match *self.ty(frame, *component) {
                TypeInner::Vector { size, .. } if splits => {
                    parts.extend((0..size as u32).map(|index| shape.part(index)));
                }
                _ => parts.push(shape),
            }
        }
        Shape::parts(parts)
    }

    fn is_place_same(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> bool {
        match self.value(frame, handle) {
            Value::Place(place) => place.same,
            Value::Data(shape) => shape.is_uniform(),
        }
    }

    fn is_texel_same(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> bool {
        let (image, operands) = match &frame.function.expressions[handle] {
            Expression::ImageLoad { image, coordinate, array_index, sample, level } => {
                (image, [Some(*coordinate), *array_index, *sample, *level, None, None])
            }
            Expression::ImageSample { image, sampler, coordinate, array_index, level, depth_ref, .. } => {
                let levels = match level {
                    SampleLevel::Auto | SampleLevel::Zero => [None; 2],
                    SampleLevel::Exact(level) | SampleLevel::Bias(level) => [Some(*level), None],
                    SampleLevel::Gradient { x, y } => [Some(*x), Some(*y)],
                };
                let [first, second] = levels;
                (image, [Some(*coordinate), *array_index, *depth_ref, first, second, Some(*sampler)])
            }
            _ => return false,
        };
        let changes = match self.ty(frame, *image) {
            TypeInner::Image { class: ImageClass::Storage { access, .. }, .. } => {
                access.contains(StorageAccess::STORE)
            }
            _ => false,
        };
        let mut operands = operands.into_iter().flatten();
        !changes && self.is_place_same(frame, *image) && operands.all(|operand| self.is_same(frame, operand))
    }
}

fn element(mut place: Place, index: Option<u32>, same: bool) -> Value {
    place.path.push(index);
    place.same &= same;
    Value::Place(place)
}
