//! What an expression is, for all invocations at once.

use super::memory::Touch;
use super::statement::Walk;
use super::value::{Bounds, Cond, GLOBAL, GROUP, Int, LOCAL};
use naga::{
    BinaryOperator as Op, BuiltIn, Expression, GlobalVariable, Handle, Literal, MathFunction as Math, Scalar,
    ScalarKind, TypeInner, UnaryOperator,
};

/// What is known of a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(Int),
    Cond(Cond),
    /// Components of a vector, or members of the entry point's arguments.
    Vector(Vec<Value>),
    Pointer(Place),
    Opaque,
}

/// A place in memory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) root: Root,
    /// Bytes from the start of the variable.
    pub(super) offset: Int,
    /// Whether all indices are proven to be in range.
    pub(super) inside: bool,
}

/// The variable that a place is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Root {
    Global(Handle<GlobalVariable>),
    Local { depth: usize, variable: usize, part: Part },
}

/// Which part of a local variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Whole,
    Component(u32),
    Somewhere,
}

/// The numbers that a type holds.
pub(super) fn limits(scalar: Scalar) -> Option<Bounds> {
    let bits = u32::from(scalar.width) * 8;
    match scalar.kind {
        ScalarKind::Uint => Some((0, (1i128 << bits) - 1)),
        ScalarKind::Sint => Some((-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)),
        _ => None,
    }
}

/// Anything of a type.
pub(super) fn anything(inner: &TypeInner) -> Value {
    let of = |scalar: Scalar| match (limits(scalar), scalar.kind) {
        (Some((low, high)), _) => Value::Int(Int::between(low, high)),
        (None, ScalarKind::Bool) => Value::Cond(Cond::Unknown),
        _ => Value::Opaque,
    };
    match *inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => of(scalar),
        TypeInner::Vector { size, scalar } => Value::Vector(vec![of(scalar); size as usize]),
        _ => Value::Opaque,
    }
}

/// The zero of a type.
pub(super) fn zero(inner: &TypeInner) -> Value {
    let of = |scalar: Scalar| match (limits(scalar), scalar.kind) {
        (Some(_), _) => Value::Int(Int::constant(0)),
        (None, ScalarKind::Bool) => Value::Cond(Cond::Known(false)),
        _ => Value::Opaque,
    };
    match *inner {
        TypeInner::Scalar(scalar) => of(scalar),
        TypeInner::Vector { size, scalar } => Value::Vector(vec![of(scalar); size as usize]),
        _ => Value::Opaque,
    }
}

pub(super) fn literal(value: Literal) -> Value {
    let int = |value: i128| Value::Int(Int::constant(value));
    match value {
        Literal::U32(value) => int(value.into()),
        Literal::I32(value) => int(value.into()),
        Literal::U64(value) => int(value.into()),
        Literal::I64(value) | Literal::AbstractInt(value) => int(value.into()),
        Literal::U16(value) => int(value.into()),
        Literal::I16(value) => int(value.into()),
        Literal::Bool(value) => Value::Cond(Cond::Known(value)),
        Literal::F64(_) | Literal::F32(_) | Literal::F16(_) | Literal::AbstractFloat(_) => Value::Opaque,
    }
}

impl Walk<'_> {
    /// A built-in value of the entry point.
    pub(super) fn builtin(&self, binding: Option<&naga::Binding>) -> Value {
        let Some(naga::Binding::BuiltIn(builtin)) = binding else { return Value::Opaque };
        let of = &self.path.bounds;
        let ids =
            |first| Value::Vector((first..first + 3).map(|id| Value::Int(Int::symbol(id, of))).collect());
        let known = |sides: [u32; 3]| {
            Value::Vector(sides.map(|side| Value::Int(Int::constant(side.into()))).to_vec())
        };
        match builtin {
            BuiltIn::GlobalInvocationId => ids(GLOBAL),
            BuiltIn::LocalInvocationId => ids(LOCAL),
            BuiltIn::WorkGroupId => ids(GROUP),
            BuiltIn::WorkGroupSize => known(self.workgroup),
            BuiltIn::NumWorkGroups => match self.groups {
                Some(groups) => known(groups),
                None => Value::Vector(vec![Value::Int(Int::between(0, u32::MAX.into())); 3]),
            },
            BuiltIn::LocalInvocationIndex => {
                let [x, y, _] = self.workgroup.map(i128::from);
                let [a, b, c] = [LOCAL, LOCAL + 1, LOCAL + 2].map(|id| Int::symbol(id, of));
                Value::Int(a.plus(&b.scaled(x, of), of).plus(&c.scaled(x * y, of), of))
            }
            _ => Value::Opaque,
        }
    }

    pub(super) fn int(&mut self, handle: Handle<Expression>) -> Int {
        match self.value(handle) {
            Value::Int(int) => int,
            _ => {
                let (low, high) = self.scalar(handle).and_then(limits).unwrap_or(super::value::ANYTHING);
                Int::between(low, high)
            }
        }
    }

    pub(super) fn cond(&mut self, handle: Handle<Expression>) -> Cond {
        match self.value(handle) {
            Value::Cond(cond) => cond,
            _ => Cond::Unknown,
        }
    }

    fn scalar(&self, handle: Handle<Expression>) -> Option<Scalar> {
        self.inner(handle).scalar()
    }

    /// The value of an expression that was evaluated, or needs no evaluation.
    pub(super) fn value(&mut self, handle: Handle<Expression>) -> Value {
        match &self.frame().values[handle.index()] {
            Some(value) => value.clone(),
            None => self.evaluate(handle),
        }
    }

    pub(super) fn evaluate(&mut self, handle: Handle<Expression>) -> Value {
        self.step();
        let unknown = anything(self.inner(handle));
        let function = self.frame().function;
        match function.expressions[handle] {
            Expression::Literal(value) => literal(value),
            Expression::Constant(constant) => self.constant(self.module.constants[constant].init),
            Expression::Override(over) => self.override_value(over),
            Expression::ZeroValue(ty) => zero(&self.module.types[ty].inner),
            Expression::Compose { ref components, .. } if matches!(unknown, Value::Vector(_)) => {
                let mut all = Vec::new();
                for component in components {
                    match self.value(*component) {
                        Value::Vector(more) => all.extend(more),
                        one => all.push(one),
                    }
                }
                Value::Vector(all)
            }
            Expression::Splat { size, value } => Value::Vector(vec![self.value(value); size as usize]),
            Expression::Swizzle { size, vector, pattern } => match self.value(vector) {
                Value::Vector(all) => {
                    let chosen = pattern[..size as usize].iter().map(|at| all.get(*at as usize).cloned());
                    Value::Vector(chosen.map(|one| one.unwrap_or(Value::Opaque)).collect())
                }
                _ => unknown,
            },
            Expression::FunctionArgument(at) => {
                self.frame().arguments.get(at as usize).cloned().unwrap_or(unknown)
            }
            Expression::GlobalVariable(variable) => {
                Value::Pointer(Place { root: Root::Global(variable), offset: Int::constant(0), inside: true })
            }
            Expression::LocalVariable(variable) => {
                let depth = self.depth();
                let root = Root::Local { depth, variable: variable.index(), part: Part::Whole };
                Value::Pointer(Place { root, offset: Int::constant(0), inside: true })
            }
            Expression::AccessIndex { base, index } => {
                let at = Int::constant(index.into());
                self.part(base, Some(index), at).unwrap_or(unknown)
            }
            Expression::Access { base, index } => {
                let at = self.int(index);
                let known = at.known(&self.path.bounds).and_then(|at| u32::try_from(at).ok());
                self.part(base, known, at).unwrap_or(unknown)
            }
            Expression::Load { pointer } => self.load(pointer).unwrap_or(unknown),
            Expression::ArrayLength(array) => self.array_length(array).unwrap_or(unknown),
            _ => self.operation(handle).unwrap_or(unknown),
        }
    }

    fn part(&mut self, base: Handle<Expression>, known: Option<u32>, index: Int) -> Option<Value> {
        let inner = self.inner(base);
        match self.value(base) {
            Value::Vector(all) => all.get(known? as usize).cloned(),
            Value::Pointer(place) => self.place(place, inner, known, index).map(Value::Pointer),
            _ => None,
        }
    }

    fn place(&self, place: Place, inner: &TypeInner, known: Option<u32>, index: Int) -> Option<Place> {
        let of = &self.path.bounds;
        if let Root::Local { depth, variable, part } = place.root {
            let vector = match *inner {
                TypeInner::Pointer { base, .. } => {
                    matches!(self.module.types[base].inner, TypeInner::Vector { .. })
                }
                _ => false,
            };
            let part = match (part, known) {
                (Part::Whole, Some(at)) if vector => Part::Component(at),
                _ => Part::Somewhere,
            };
            return Some(Place { root: Root::Local { depth, variable, part }, ..place });
        }
        if let TypeInner::Pointer { base, .. } = *inner
            && let TypeInner::Struct { ref members, .. } = self.module.types[base].inner
        {
            let member = members.get(known? as usize)?;
            let offset = place.offset.plus(&Int::constant(member.offset.into()), of);
            return Some(Place { offset, ..place });
        }
        let elements = self.elements(inner)?;
        let count = match elements.count {
            Some(count) => i128::from(count),
            None => self.elements_behind(&place, elements.stride).unwrap_or(0),
        };
        let (low, high) = index.range(of);
        let inside = place.inside && low >= 0 && high < count;
        let offset = place.offset.plus(&index.scaled(elements.stride.into(), of), of);
        Some(Place { offset, inside, ..place })
    }

    /// Elements of the runtime-sized array that starts at a place.
    fn elements_behind(&self, place: &Place, stride: u32) -> Option<i128> {
        let Root::Global(variable) = place.root else { return None };
        let size = i128::from(self.size_of(variable)?);
        let start = place.offset.known(&self.path.bounds)?;
        // An array without elements cannot be bound.
        Some(((size - start) / i128::from(stride.max(1))).clamp(0, u32::MAX.into()))
    }

    fn array_length(&mut self, array: Handle<Expression>) -> Option<Value> {
        let stride = self.elements(self.inner(array))?.stride;
        let Value::Pointer(place) = self.value(array) else { return None };
        self.elements_behind(&place, stride).map(|count| Value::Int(Int::constant(count)))
    }

    fn load(&mut self, pointer: Handle<Expression>) -> Option<Value> {
        let Value::Pointer(place) = self.value(pointer) else {
            self.give_up();
            return None;
        };
        match place.root {
            Root::Local { depth, variable, part } => {
                let value = self.local(depth, variable)?;
                match (part, value) {
                    (Part::Whole, value) => Some(value.clone()),
                    (Part::Component(at), Value::Vector(all)) => all.get(at as usize).cloned(),
                    _ => None,
                }
            }
            Root::Global(variable) => {
                if self.module.global_variables[variable].space == naga::AddressSpace::Immediate {
                    return self.immediate(pointer, &place);
                }
                let inner = self.pointee(pointer);
                self.touch(&place, &inner, Touch { reads: true, writes: false, surely_writes: false });
                None
            }
        }
    }

    fn immediate(&self, pointer: Handle<Expression>, place: &Place) -> Option<Value> {
        let at = usize::try_from(place.offset.known(&self.path.bounds)?).ok()?;
        let TypeInner::Scalar(scalar) = self.pointee(pointer) else { return None };
        let bytes = self.immediates.get(at..at.checked_add(4)?)?;
        let bits = u32::from_le_bytes(bytes.try_into().ok()?);
        match (scalar.kind, scalar.width) {
            (ScalarKind::Uint, 4) => Some(Value::Int(Int::constant(bits.into()))),
            (ScalarKind::Sint, 4) => Some(Value::Int(Int::constant((bits as i32).into()))),
            _ => None,
        }
    }

    fn operation(&mut self, handle: Handle<Expression>) -> Option<Value> {
        let function = self.frame().function;
        match function.expressions[handle] {
            Expression::Binary { op, left, right } => {
                let (a, b) = (self.value(left), self.value(right));
                let scalar = self.scalar(handle)?;
                self.each(&[a, b], |this, of| this.binary(op, &of[0], &of[1], limits(scalar)))
            }
            Expression::Unary { op, expr } => {
                let value = self.value(expr);
                let scalar = self.scalar(handle)?;
                self.each(&[value], |this, of| match (op, &of[0]) {
                    (UnaryOperator::LogicalNot, Value::Cond(cond)) => Some(Value::Cond(cond.clone().not())),
                    (UnaryOperator::Negate, Value::Int(int)) => {
                        let bounds = &this.path.bounds;
                        Some(Value::Int(int.scaled(-1, bounds).fit(limits(scalar)?, bounds)))
                    }
                    _ => None,
                })
            }
            Expression::Select { condition, accept, reject } => {
                let chosen = [condition, accept, reject].map(|handle| self.value(handle));
                let TypeInner::Scalar(_) = self.inner(handle) else { return None };
                let [Value::Cond(condition), accept, reject] = chosen else { return None };
                self.either(&condition, accept, reject)
            }
            Expression::As { expr, .. } => {
                let value = self.value(expr);
                let scalar = self.scalar(handle)?;
                // A cast keeps the number where both types have it.
                self.each(&[value], |this, of| match &of[0] {
                    Value::Int(int) => Some(Value::Int(int.clone().fit(limits(scalar)?, &this.path.bounds))),
                    _ => None,
                })
            }
            Expression::Math { fun, arg, arg1, arg2, .. } => {
                let mut arguments = vec![self.value(arg)];
                for more in [arg1, arg2].into_iter().flatten() {
                    arguments.push(self.value(more));
                }
                let scalar = self.scalar(handle)?;
                self.each(&arguments, |this, of| this.math(fun, of, limits(scalar)?))
            }
            _ => None,
        }
    }

    /// Applies an operation to scalars, or component by component.
    fn each(&self, of: &[Value], act: impl Fn(&Self, &[Value]) -> Option<Value>) -> Option<Value> {
        let width = of.iter().find_map(|value| match value {
            Value::Vector(all) => Some(all.len()),
            _ => None,
        });
        let Some(width) = width else { return act(self, of) };
        let component = |value: &Value, at: usize| match value {
            Value::Vector(all) => all.get(at).cloned().unwrap_or(Value::Opaque),
            scalar => scalar.clone(),
        };
        let one = |at| {
            let scalars: Vec<Value> = of.iter().map(|value| component(value, at)).collect();
            act(self, &scalars)
        };
        (0..width).map(one).collect::<Option<Vec<Value>>>().map(Value::Vector)
    }

    fn binary(&self, op: Op, left: &Value, right: &Value, limits: Option<Bounds>) -> Option<Value> {
        let of = &self.path.bounds;
        if let (Value::Cond(a), Value::Cond(b)) = (left, right) {
            let (a, b) = (a.clone(), b.clone());
            return match op {
                Op::And | Op::LogicalAnd => Some(Value::Cond(a.and(b))),
                Op::InclusiveOr | Op::LogicalOr => Some(Value::Cond(a.or(b))),
                _ => None,
            };
        }
        let (Value::Int(a), Value::Int(b)) = (left, right) else { return None };
        let signs = match op {
            Op::Less => Some([true, false, false]),
            Op::LessEqual => Some([true, true, false]),
            Op::Equal => Some([false, true, false]),
            Op::NotEqual => Some([true, false, true]),
            Op::GreaterEqual => Some([false, true, true]),
            Op::Greater => Some([false, false, true]),
            _ => None,
        };
        if let Some(signs) = signs {
            return Some(Value::Cond(Cond::compare(a.clone(), b.clone(), signs)));
        }
        let limits = limits?;
        let (low, high) = a.range(of);
        let constant = b.known(of);
        let result = match op {
            Op::Add => a.plus(b, of),
            Op::Subtract => a.plus(&b.scaled(-1, of), of),
            Op::Multiply => a.times(b, of),
            Op::ShiftLeft => a.scaled(1 << u32::try_from(constant?).ok().filter(|by| *by < 32)?, of),
            Op::ShiftRight => {
                let by = u32::try_from(constant?).ok().filter(|by| *by < 32)?;
                Int::between(low >> by, high >> by)
            }
            Op::Divide => match constant? {
                by if by > 0 && low >= 0 => Int::between(low / by, high / by),
                _ => return None,
            },
            Op::Modulo => match constant? {
                by if by > 0 && low >= 0 && high < by => a.clone(),
                by if by > 0 && low >= 0 => Int::between(0, by - 1),
                _ => return None,
            },
            Op::And => match constant.or(a.known(of))? {
                mask if mask >= 0
                    && constant.is_some()
                    && low >= 0
                    && high <= mask
                    && (mask + 1) & mask == 0 =>
                {
                    a.clone()
                }
                mask if mask >= 0 => Int::between(0, mask),
                _ => return None,
            },
            _ => return None,
        };
        Some(Value::Int(result.fit(limits, of)))
    }

    fn math(&self, fun: Math, of: &[Value], limits: Bounds) -> Option<Value> {
        let bounds = &self.path.bounds;
        let ints: Option<Vec<&Int>> = of
            .iter()
            .map(|value| match value {
                Value::Int(int) => Some(int),
                _ => None,
            })
            .collect();
        let pick = |a: &Int, b: &Int, smaller: bool| {
            let ((low, high), (from, to)) = (a.range(bounds), b.range(bounds));
            if high <= from {
                return if smaller { a.clone() } else { b.clone() };
            }
            if to <= low {
                return if smaller { b.clone() } else { a.clone() };
            }
            if smaller {
                Int::between(low.min(from), high.min(to))
            } else {
                Int::between(low.max(from), high.max(to))
            }
        };
        let result = match (fun, &ints?[..]) {
            (Math::Min, [a, b]) => pick(a, b, true),
            (Math::Max, [a, b]) => pick(a, b, false),
            // WGSL: min(max(e, low), high).
            (Math::Clamp, [value, low, high]) => pick(&pick(value, low, false), high, true),
            (Math::Abs, [a]) if a.range(bounds).0 >= 0 => (*a).clone(),
            _ => return None,
        };
        Some(Value::Int(result.fit(limits, bounds)))
    }

    /// One of two values, by a condition.
    pub(super) fn either(&self, condition: &Cond, accept: Value, reject: Value) -> Option<Value> {
        if accept == reject {
            return Some(accept);
        }
        let bounds = &self.path.bounds;
        match (accept, reject) {
            (Value::Int(a), Value::Int(b)) => {
                let decided = [true, false].map(|value| self.path.narrow(condition, value).is_some());
                Some(Value::Int(match decided {
                    [true, false] => a,
                    [false, true] => b,
                    _ => a.either(&b, bounds),
                }))
            }
            (Value::Cond(a), Value::Cond(b)) => {
                let accepted = condition.clone().and(a);
                Some(Value::Cond(accepted.or(condition.clone().not().and(b))))
            }
            (Value::Vector(a), Value::Vector(b)) if a.len() == b.len() => {
                let one = |(a, b): (Value, Value)| self.either(condition, a, b).unwrap_or(Value::Opaque);
                Some(Value::Vector(a.into_iter().zip(b).map(one).collect()))
            }
            _ => None,
        }
    }
}
