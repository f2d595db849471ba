//! What an expression evaluates to, for one invocation.

use naga::{
    AddressSpace, Expression, Handle, Literal, RelationalFunction, ScalarKind, Type, TypeInner, UnaryOperator,
};

use super::{
    super::{
        binding::Binding,
        layout,
        number::{self, Num},
        reflect::{self, SlotKind},
    },
    Frame, Machine, Program, builtin,
    value::{Bound, Data, Fault, Pointer, Root, Value},
};

/// The bits of a literal.
pub(in super::super) fn literal(literal: Literal) -> u64 {
    match literal {
        Literal::F64(v) => v.to_bits(),
        Literal::F32(v) => v.to_bits().into(),
        Literal::F16(v) => v.to_bits().into(),
        Literal::U16(v) => v.into(),
        Literal::I16(v) => u64::from(v as u16),
        Literal::U32(v) => v.into(),
        Literal::I32(v) => u64::from(v as u32),
        Literal::U64(v) => v,
        Literal::I64(v) | Literal::AbstractInt(v) => v as u64,
        Literal::Bool(v) => v.into(),
        Literal::AbstractFloat(v) => v.to_bits(),
    }
}

/// The value of an expression of the module's own arena, which naga has reduced to literals and compositions.
pub(super) fn constant(program: &Program, handle: Handle<Expression>) -> Result<Value, Fault> {
    let module = &program.module;
    Ok(Value::Data(match module.global_expressions[handle] {
        Expression::Literal(value) => Data::from_slice(&[literal(value)]),
        Expression::Constant(constant_handle) => {
            return constant(program, module.constants[constant_handle].init);
        }
        Expression::ZeroValue(ty) => zero(program, ty),
        Expression::Splat { size, value } => {
            Data::from_elem(constant(program, value)?.first()?, size as usize)
        }
        Expression::Compose { ref components, .. } => {
            let mut data = Data::new();
            for component in components {
                data.extend_from_slice(constant(program, *component)?.data()?);
            }
            data
        }
        _ => return Err(Fault::failed("a constant that naga has not reduced")),
    }))
}

fn zero(program: &Program, ty: Handle<Type>) -> Data {
    Data::from_elem(0, layout::leaf_count(&program.module, &program.module.types[ty].inner))
}

/// The scalar type of a value of one kind of scalars.
pub(super) fn num_of(inner: &TypeInner) -> Result<Num, Fault> {
    inner.scalar().and_then(Num::of).ok_or_else(|| Fault::failed("an operand of this type"))
}

impl<'a> Machine<'a> {
    pub(super) fn frame(&self) -> Result<&Frame<'a>, Fault> {
        self.frames.last().ok_or_else(|| Fault::failed("no function"))
    }

    pub(super) fn frame_mut(&mut self) -> Result<&mut Frame<'a>, Fault> {
        self.frames.last_mut().ok_or_else(|| Fault::failed("no function"))
    }

    pub(super) fn set(&mut self, handle: Handle<Expression>, lane: usize, value: Value) -> Result<(), Fault> {
        self.frame_mut()?.values[lane][handle.index()] = Some(value);
        Ok(())
    }

    /// The type of an expression of the current function.
    pub(super) fn inner(&self, handle: Handle<Expression>) -> Result<&TypeInner, Fault> {
        Ok(self.frame()?.info[handle].ty.inner_with(&self.program.module.types))
    }

    /// The value of an expression that was evaluated before, or that needs no evaluation.
    pub(super) fn value(&self, handle: Handle<Expression>, lane: usize) -> Result<Value, Fault> {
        match &self.frame()?.values[lane][handle.index()] {
            Some(value) => Ok(value.clone()),
            None => self.evaluate(handle, lane),
        }
    }

    pub(super) fn evaluate(&self, handle: Handle<Expression>, lane: usize) -> Result<Value, Fault> {
        let frame = self.frame()?;
        let data = |handle| self.value(handle, lane);
        Ok(match frame.function.expressions[handle] {
            Expression::Literal(value) => Value::scalar(literal(value)),
            Expression::Constant(constant_handle) => {
                constant(self.program, self.program.module.constants[constant_handle].init)?
            }
            Expression::ZeroValue(ty) => Value::Data(zero(self.program, ty)),
            Expression::Compose { ref components, .. } => {
                let mut all = Data::new();
                for component in components {
                    all.extend_from_slice(data(*component)?.data()?);
                }
                Value::Data(all)
            }
            Expression::Splat { size, value } => {
                Value::Data(Data::from_elem(data(value)?.first()?, size as usize))
            }
            Expression::Swizzle { size, vector, pattern } => {
                let vector = data(vector)?;
                let vector = vector.data()?;
                let chosen = pattern[..size as usize].iter().map(|i| vector[*i as usize]);
                Value::Data(chosen.collect())
            }
            Expression::Access { base, index } => {
                let bits = self.value(index, lane)?.first()?;
                let index = self.index(index, lane)?;
                self.access(base, (index, bits), lane)?
            }
            Expression::AccessIndex { base, index } => self.access_part(base, index, lane)?,
            Expression::FunctionArgument(index) => frame.arguments[lane][index as usize].clone(),
            Expression::GlobalVariable(variable) => self.global(variable)?,
            Expression::LocalVariable(variable) => {
                let root = Root::Local { depth: self.frames.len() - 1, variable: variable.index() };
                Value::Pointer(Pointer::to(root, 0))
            }
            Expression::Load { pointer } => {
                self.load(pointer, frame.function.expressions.get_span(handle), lane)?
            }
            Expression::ImageSample { .. } | Expression::ImageLoad { .. } | Expression::ImageQuery { .. } => {
                Value::Data(self.image_expression(handle, lane)?)
            }
            Expression::ArrayLength(array) => Value::scalar(self.array_length(array, lane)?),
            _ => Value::Data(self.operation(handle, lane)?),
        })
    }

    /// What is bound, if anything is.
    pub(super) fn binding(&self, bound: Bound) -> Option<&'a Binding> {
        let binding = self.launch.bindings.get(bound.slot as usize)?;
        match (bound.element, binding) {
            (Some(element), Binding::Array(list)) => list.get(element as usize),
            _ => Some(binding),
        }
    }

    /// Expressions that compute data from data.
    fn operation(&self, handle: Handle<Expression>, lane: usize) -> Result<Data, Fault> {
        let data = |handle| self.value(handle, lane).and_then(|value| value.data().cloned());
        let num = |handle| num_of(self.inner(handle)?);
        Ok(match self.frame()?.function.expressions[handle] {
            Expression::Unary { op, expr } => {
                let num = num(expr)?;
                let apply = |bits: &u64| match op {
                    UnaryOperator::Negate => number::negate(num, *bits),
                    UnaryOperator::LogicalNot | UnaryOperator::BitwiseNot => num.cut(!*bits),
                };
                data(expr)?.iter().map(apply).collect()
            }
            Expression::Binary { op, left, right } => {
                let (a, b) = (data(left)?, data(right)?);
                builtin::binary(op, (self.inner(left)?, &a), (self.inner(right)?, &b))?
            }
            Expression::Select { condition, accept, reject } => {
                let (condition, accept, reject) = (data(condition)?, data(accept)?, data(reject)?);
                let holds = |i: usize| condition[if condition.len() == 1 { 0 } else { i }] != 0;
                (0..accept.len()).map(|i| if holds(i) { accept[i] } else { reject[i] }).collect()
            }
            Expression::Relational { fun, argument } => {
                let values = data(argument)?;
                let num = num(argument)?;
                match fun {
                    RelationalFunction::All => Data::from_slice(&[values.iter().all(|v| *v != 0).into()]),
                    RelationalFunction::Any => Data::from_slice(&[values.iter().any(|v| *v != 0).into()]),
                    RelationalFunction::IsNan => {
                        values.iter().map(|v| num.float(*v).is_nan().into()).collect()
                    }
                    RelationalFunction::IsInf => {
                        values.iter().map(|v| num.float(*v).is_infinite().into()).collect()
                    }
                }
            }
            Expression::As { expr, kind, convert } => {
                let from = num(expr)?;
                let values = data(expr)?;
                match convert {
                    Some(width) => {
                        let to = cast_target(kind, width)?;
                        values.iter().map(|v| number::convert(from, to, *v)).collect()
                    }
                    None => values,
                }
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => {
                let mut arguments = Vec::new();
                for argument in [Some(arg), arg1, arg2, arg3].into_iter().flatten() {
                    arguments.push((self.inner(argument)?, data(argument)?));
                }
                builtin::math(fun, &arguments)?
            }
            ref other => return Err(Fault::failed(format!("the expression {other:?}"))),
        })
    }

    fn global(&self, variable: Handle<naga::GlobalVariable>) -> Result<Value, Fault> {
        let place = self.program.globals.place(variable);
        let place = place.ok_or_else(|| Fault::failed("a variable that is not used"))?;
        let root = match self.program.module.global_variables[variable].space {
            _ if self.program.is_array(place) => return Ok(Value::Bindings(place)),
            AddressSpace::Handle => return Ok(Value::Resource(Bound { slot: place, element: None })),
            AddressSpace::WorkGroup => Root::Shared,
            AddressSpace::Private => Root::Private,
            AddressSpace::Immediate => Root::Immediates,
            _ => {
                let bound = Bound { slot: place, element: None };
                return Ok(Value::Pointer(Pointer::to(Root::Slot(bound), 0)));
            }
        };
        Ok(Value::Pointer(Pointer::to(root, place.into())))
    }

    /// An index as an unsigned number; negative ones are out of range of everything.
    fn index(&self, index: Handle<Expression>, lane: usize) -> Result<u64, Fault> {
        let num = num_of(self.inner(index)?)?;
        Ok(u64::try_from(num.int(self.value(index, lane)?.first()?)).unwrap_or(u64::MAX))
    }

    /// A part of `base` chosen by an index, also given as its bits, that may be out of range.
    fn access(
        &self,
        base: Handle<Expression>,
        (index, bits): (u64, u64),
        lane: usize,
    ) -> Result<Value, Fault> {
        let module = &self.program.module;
        let value = self.value(base, lane)?;
        if let Value::Bindings(slot) = value {
            return Ok(self.element(slot, index));
        }
        let elements = layout::elements(module, self.inner(base)?)
            .ok_or_else(|| Fault::failed("an index into this type"))?;
        let count = match (elements.count, &value) {
            (Some(count), _) => u64::from(count),
            (None, Value::Pointer(pointer)) => self.elements_behind(*pointer, elements.stride),
            _ => return Err(Fault::failed("an index into this value")),
        };
        let chosen = index.min(count.saturating_sub(1));
        Ok(match value {
            Value::Pointer(pointer) => Value::Pointer(Pointer {
                offset: pointer.offset + chosen * u64::from(elements.stride),
                inside: pointer.inside && index < count,
                beyond: if index < count { pointer.beyond } else { (bits, count) },
                ..pointer
            }),
            value => slice(&value, chosen as usize * elements.leaves, elements.leaves)?,
        })
    }

    /// An element of an array of bindings; beyond its end, the last.
    fn element(&self, slot: u32, index: u64) -> Value {
        let count = match self.launch.bindings.get(slot as usize) {
            Some(Binding::Array(list)) => list.len() as u64,
            _ => 1,
        };
        let element = Some(index.min(count.saturating_sub(1)) as u32);
        let bound = Bound { slot, element };
        match self.program.globals.slots[slot as usize].kind {
            SlotKind::Buffer { .. } => Value::Pointer(Pointer::to(Root::Slot(bound), 0)),
            _ => Value::Resource(bound),
        }
    }

    /// A part of `base` that validation has found to exist.
    fn access_part(&self, base: Handle<Expression>, index: u32, lane: usize) -> Result<Value, Fault> {
        let module = &self.program.module;
        let inner = self.inner(base)?;
        if let Value::Bindings(slot) = self.value(base, lane)? {
            return Ok(self.element(slot, index.into()));
        }
        if layout::elements(module, inner).is_some_and(|elements| elements.count.is_none()) {
            return self.access(base, (index.into(), index.into()), lane);
        }
        let (offset, leaf) =
            layout::part(module, inner, index).ok_or_else(|| Fault::failed("a part of this type"))?;
        Ok(match self.value(base, lane)? {
            Value::Pointer(pointer) => {
                Value::Pointer(Pointer { offset: pointer.offset + u64::from(offset), ..pointer })
            }
            value => {
                let (_, end) = layout::part(module, inner, index + 1).unwrap_or((0, value.data()?.len()));
                slice(&value, leaf, end - leaf)?
            }
        })
    }

    /// Elements of the runtime-sized array that starts at `pointer`.
    fn elements_behind(&self, pointer: Pointer, stride: u32) -> u64 {
        match pointer.root {
            Root::Slot(bound) => {
                let len = match self.binding(bound) {
                    Some(Binding::Buffer(buffer)) => buffer.len,
                    // As small as its type, and full of zeros.
                    _ => reflect::min_bytes(&self.program.globals.slots[bound.slot as usize]),
                };
                (len.saturating_sub(pointer.offset) / u64::from(stride)).min(u32::MAX.into())
            }
            _ => 0,
        }
    }

    fn array_length(&self, array: Handle<Expression>, lane: usize) -> Result<u64, Fault> {
        let elements = layout::elements(&self.program.module, self.inner(array)?)
            .ok_or_else(|| Fault::failed("the length of this type"))?;
        Ok(self.elements_behind(self.value(array, lane)?.pointer()?, elements.stride))
    }
}

fn slice(value: &Value, start: usize, count: usize) -> Result<Value, Fault> {
    let part = value.data()?.get(start..start + count).ok_or_else(|| Fault::failed("a part of a value"))?;
    Ok(Value::Data(Data::from_slice(part)))
}

fn cast_target(kind: ScalarKind, width: u8) -> Result<Num, Fault> {
    Num::of(naga::Scalar { kind, width }).ok_or_else(|| Fault::failed("a conversion to this type"))
}
