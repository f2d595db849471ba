//! How expressions become scalars and places.

use lockgate_runtime::ObservedKind;
use naga::{
    AddressSpace, AtomicFunction, BinaryOperator, Expression, Handle, RelationalFunction, Scalar, TypeInner,
    UnaryOperator,
};

use super::{
    super::{interpret::literal, layout, number::Num},
    ir::{Binary, Bound, Id, Index, Memory, Op, Place, Resource, Stmt, Unary, Var},
    lower::{Lowered, Lowering, Refusal, SCALARS_MAX},
};

impl<'m> Lowering<'m> {
    pub(super) fn inner(&self, handle: Handle<Expression>) -> Result<&'m TypeInner, Refusal> {
        let info = self.scope()?.info;
        Ok(info[handle].ty.inner_with(&self.module.types))
    }

    pub(super) fn num(&self, handle: Handle<Expression>) -> Result<Num, Refusal> {
        let scalar = self.inner(handle)?.scalar().ok_or("an operand of this type")?;
        Num::of(scalar).ok_or("an operand of this type")
    }

    /// What an expression was lowered to before, or is now if it needs no evaluation.
    pub(super) fn value(&mut self, handle: Handle<Expression>) -> Result<Lowered, Refusal> {
        match &self.scope()?.values[handle.index()] {
            Some(lowered) => Ok(lowered.clone()),
            None => self.expression(handle),
        }
    }

    pub(super) fn data(&mut self, handle: Handle<Expression>) -> Result<Vec<Id>, Refusal> {
        match self.value(handle)? {
            Lowered::Data(ids) => Ok(ids),
            _ => Err("a pointer where a value is needed"),
        }
    }

    pub(super) fn scalar(&mut self, handle: Handle<Expression>) -> Result<Id, Refusal> {
        self.data(handle)?.first().copied().ok_or("an empty value")
    }

    pub(super) fn expression(&mut self, handle: Handle<Expression>) -> Result<Lowered, Refusal> {
        let scope = self.scope()?;
        Ok(match scope.function.expressions[handle] {
            Expression::FunctionArgument(index) => scope.arguments[index as usize].clone(),
            Expression::LocalVariable(local) => scope.locals[local.index()].clone(),
            Expression::GlobalVariable(variable) => self.global(variable)?,
            Expression::Access { base, index } => self.access(base, index)?,
            Expression::AccessIndex { base, index } => self.access_part(base, index)?,
            Expression::Load { pointer } => {
                let span = self.scope()?.function.expressions.get_span(handle);
                Lowered::Data(self.load(pointer, span, false)?)
            }
            Expression::Constant(constant) => {
                Lowered::Data(self.global_expression(self.module.constants[constant].init)?)
            }
            Expression::ArrayLength(array) => Lowered::Data(vec![self.array_length(array)?]),
            _ => Lowered::Data(self.operation(handle)?),
        })
    }

    fn operation(&mut self, handle: Handle<Expression>) -> Result<Vec<Id>, Refusal> {
        Ok(match self.scope()?.function.expressions[handle] {
            Expression::Literal(value) => {
                let num = self.num(handle)?;
                vec![self.constant(num, literal(value))]
            }
            Expression::ZeroValue(ty) => self.zeros(ty)?,
            Expression::Compose { ref components, .. } => {
                let mut ids = Vec::new();
                for component in components {
                    ids.extend(self.data(*component)?);
                }
                ids
            }
            Expression::Splat { size, value } => vec![self.scalar(value)?; size as usize],
            Expression::Swizzle { size, vector, pattern } => {
                let ids = self.data(vector)?;
                pattern[..size as usize].iter().map(|i| ids[*i as usize]).collect()
            }
            Expression::Unary { op, expr } => {
                let num = self.num(expr)?;
                let op = if op == UnaryOperator::Negate { Unary::Negate } else { Unary::Not };
                self.each(expr, |this, id| this.op(num, Op::Unary(op, id)))?
            }
            Expression::Binary { op, left, right } => self.binary(op, left, right)?,
            Expression::Select { condition, accept, reject } => {
                let num = self.num(accept)?;
                let (c, a, b) = (self.data(condition)?, self.data(accept)?, self.data(reject)?);
                let choose = |i: usize| c[if c.len() == 1 { 0 } else { i }];
                (0..a.len()).map(|i| self.op(num, Op::Select(choose(i), a[i], b[i]))).collect()
            }
            Expression::Relational { fun, argument } => self.relational(fun, argument)?,
            Expression::As { expr, kind, convert } => {
                let width = match convert {
                    Some(width) => width,
                    None => self.inner(expr)?.scalar_width().ok_or("a cast of this type")?,
                };
                let to = Num::of(Scalar { kind, width }).ok_or("a cast to this type")?;
                let op = if convert.is_some() { Op::Convert } else { Op::Bits };
                self.each(expr, |this, id| if this.program.num(id) == to { id } else { this.op(to, op(id)) })?
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => self.math(fun, arg, [arg1, arg2, arg3])?,
            Expression::ImageLoad { .. } | Expression::ImageSample { .. } | Expression::ImageQuery { .. } => {
                self.image_expression(handle)?
            }
            _ => return Err("this expression"),
        })
    }

    pub(super) fn each(
        &mut self,
        handle: Handle<Expression>,
        mut f: impl FnMut(&mut Self, Id) -> Id,
    ) -> Result<Vec<Id>, Refusal> {
        Ok(self.data(handle)?.into_iter().map(|id| f(self, id)).collect())
    }

    fn zeros(&mut self, ty: Handle<naga::Type>) -> Result<Vec<Id>, Refusal> {
        Ok(self.nums(ty)?.into_iter().map(|num| self.constant(num, 0)).collect())
    }

    /// An expression of the module's arena.
    pub(super) fn global_expression(&mut self, handle: Handle<Expression>) -> Result<Vec<Id>, Refusal> {
        Ok(match self.module.global_expressions[handle] {
            Expression::Literal(value) => {
                let num = Num::of(value.scalar()).ok_or("an abstract constant")?;
                vec![self.constant(num, literal(value))]
            }
            Expression::Constant(constant) => self.global_expression(self.module.constants[constant].init)?,
            Expression::ZeroValue(ty) => self.zeros(ty)?,
            Expression::Splat { size, value } => vec![self.global_expression(value)?[0]; size as usize],
            Expression::Compose { ref components, .. } => {
                let mut ids = Vec::new();
                for component in components {
                    ids.extend(self.global_expression(*component)?);
                }
                ids
            }
            _ => return Err("a constant that naga has not reduced"),
        })
    }

    fn global(&mut self, handle: Handle<naga::GlobalVariable>) -> Result<Lowered, Refusal> {
        let place = self.globals.place(handle).ok_or("a variable that is not used")?;
        let variable = &self.module.global_variables[handle];
        if let TypeInner::BindingArray { .. } = self.module.types[variable.ty].inner {
            let buffers = match variable.space {
                AddressSpace::Storage { access } => Some(!access.contains(naga::StorageAccess::STORE)),
                AddressSpace::Uniform => Some(true),
                _ => None,
            };
            return Ok(Lowered::Bindings { slot: place, buffers });
        }
        let (memory, offset) = match variable.space {
            AddressSpace::Handle => return Ok(Lowered::Resource(Resource { slot: place, element: None })),
            AddressSpace::Private => return self.private(handle),
            AddressSpace::WorkGroup => (Memory::Shared, place),
            AddressSpace::Immediate => (Memory::Immediates, 0),
            AddressSpace::Storage { access } => {
                let readonly = !access.contains(naga::StorageAccess::STORE);
                (Memory::Slot { slot: place, readonly }, 0)
            }
            AddressSpace::Uniform => (Memory::Slot { slot: place, readonly: true }, 0),
            _ => return Err("a variable in this address space"),
        };
        Ok(Lowered::Place(Place { memory, offset, indices: Vec::new(), site: None }))
    }

    fn binary(
        &mut self,
        op: BinaryOperator,
        left: Handle<Expression>,
        right: Handle<Expression>,
    ) -> Result<Vec<Id>, Refusal> {
        let num = self.num(left)?;
        let (a, b) = (self.data(left)?, self.data(right)?);
        let (left, right) = (self.inner(left)?, self.inner(right)?);
        if op == BinaryOperator::Multiply
            && let Some(product) = self.product(num, (left, &a), (right, &b))
        {
            return Ok(product);
        }
        let at = |ids: &[Id], i: usize| ids[if ids.len() == 1 { 0 } else { i }];
        Ok((0..a.len().max(b.len())).map(|i| self.operator(op, num, at(&a, i), at(&b, i))).collect())
    }

    pub(super) fn operator(&mut self, op: BinaryOperator, num: Num, a: Id, b: Id) -> Id {
        use BinaryOperator as B;
        let (op, result) = match op {
            B::Add => (Binary::Add, num),
            B::Subtract => (Binary::Subtract, num),
            B::Multiply => (Binary::Multiply, num),
            B::Divide => (Binary::Divide, num),
            B::Modulo if num.is_float() => return self.float_remainder(num, a, b),
            B::Modulo => (Binary::Remainder, num),
            B::And | B::LogicalAnd => (Binary::And, num),
            B::InclusiveOr | B::LogicalOr => (Binary::Or, num),
            B::ExclusiveOr => (Binary::Xor, num),
            B::ShiftLeft => (Binary::ShiftLeft, num),
            B::ShiftRight => (Binary::ShiftRight, num),
            B::Equal => (Binary::Equal, Num::Bool),
            B::NotEqual => (Binary::NotEqual, Num::Bool),
            B::Less => (Binary::Less, Num::Bool),
            B::LessEqual => (Binary::LessEqual, Num::Bool),
            B::Greater => (Binary::Greater, Num::Bool),
            B::GreaterEqual => (Binary::GreaterEqual, Num::Bool),
        };
        self.pair(result, op, a, b)
    }

    /// `a op b`, with the few simplifications that matter for four lanes.
    pub(super) fn pair(&mut self, num: Num, op: Binary, a: Id, b: Id) -> Id {
        if let (Num::U32, Some(divisor)) = (num, self.program.constant(b))
            && divisor.is_power_of_two()
        {
            let shift = u64::from(divisor.trailing_zeros());
            match op {
                Binary::Divide => {
                    let shift = self.constant(Num::U32, shift);
                    return self.op(num, Op::Binary(Binary::ShiftRight, a, shift));
                }
                Binary::Remainder => {
                    let mask = self.constant(Num::U32, divisor - 1);
                    return self.op(num, Op::Binary(Binary::And, a, mask));
                }
                _ => {}
            }
        }
        self.op(num, Op::Binary(op, a, b))
    }

    fn float_remainder(&mut self, num: Num, a: Id, b: Id) -> Id {
        let quotient = self.pair(num, Binary::Divide, a, b);
        let whole = self.op(num, Op::Unary(Unary::Trunc, quotient));
        let product = self.pair(num, Binary::Multiply, b, whole);
        self.pair(num, Binary::Subtract, a, product)
    }

    /// The sum of the products, in order.
    pub(super) fn sum(&mut self, num: Num, pairs: impl IntoIterator<Item = (Id, Id)>) -> Id {
        let mut sum = None;
        for (a, b) in pairs {
            let product = self.pair(num, Binary::Multiply, a, b);
            sum = Some(match sum {
                None => product,
                Some(sum) => self.pair(num, Binary::Add, sum, product),
            });
        }
        sum.unwrap_or_else(|| self.constant(num, 0))
    }

    fn product(
        &mut self,
        num: Num,
        left: (&TypeInner, &[Id]),
        right: (&TypeInner, &[Id]),
    ) -> Option<Vec<Id>> {
        let shape = |inner: &TypeInner| match *inner {
            TypeInner::Matrix { columns, rows, .. } => Some((columns as usize, rows as usize)),
            _ => None,
        };
        let vector = |inner: &TypeInner| matches!(inner, TypeInner::Vector { .. });
        let (a, b) = (left.1, right.1);
        match (shape(left.0), shape(right.0)) {
            (Some((inner, rows)), Some((columns, _))) => Some(
                (0..columns * rows)
                    .map(|i| {
                        let (column, row) = (i / rows, i % rows);
                        self.sum(num, (0..inner).map(|k| (a[k * rows + row], b[column * inner + k])))
                    })
                    .collect(),
            ),
            (Some((columns, rows)), None) if vector(right.0) => Some(
                (0..rows).map(|row| self.sum(num, (0..columns).map(|k| (a[k * rows + row], b[k])))).collect(),
            ),
            (None, Some((columns, rows))) if vector(left.0) => Some(
                (0..columns)
                    .map(|column| self.sum(num, (0..rows).map(|k| (a[k], b[column * rows + k]))))
                    .collect(),
            ),
            _ => None,
        }
    }

    fn relational(
        &mut self,
        fun: RelationalFunction,
        argument: Handle<Expression>,
    ) -> Result<Vec<Id>, Refusal> {
        let num = self.num(argument)?;
        let ids = self.data(argument)?;
        let fold = match fun {
            RelationalFunction::All => Binary::And,
            RelationalFunction::Any => Binary::Or,
            RelationalFunction::IsNan => {
                return Ok(ids.iter().map(|id| self.pair(Num::Bool, Binary::NotEqual, *id, *id)).collect());
            }
            RelationalFunction::IsInf => {
                let infinity = self.constant(num, num.pack_float(f64::INFINITY));
                return Ok(ids
                    .iter()
                    .map(|id| {
                        let size = self.op(num, Op::Unary(Unary::Abs, *id));
                        self.pair(Num::Bool, Binary::Equal, size, infinity)
                    })
                    .collect());
            }
        };
        let all = ids.into_iter().reduce(|a, b| self.pair(Num::Bool, fold, a, b));
        Ok(vec![all.ok_or("an empty value")?])
    }

    /// An index as an unsigned number; negative ones are out of range of everything.
    fn index(&mut self, index: Handle<Expression>) -> Result<Id, Refusal> {
        let id = self.scalar(index)?;
        let num = self.program.num(id);
        Ok(match (num, self.program.constant(id)) {
            (Num::U32, _) => id,
            (Num::I32, Some(bits)) => self.constant(Num::U32, bits),
            (Num::I32, None) => self.op(Num::U32, Op::Bits(id)),
            (Num::I16 | Num::U16, _) => self.op(Num::U32, Op::Convert(id)),
            (Num::I64 | Num::U64, _) => {
                let wide = if num == Num::U64 { id } else { self.op(Num::U64, Op::Bits(id)) };
                let most = self.constant(Num::U64, u32::MAX.into());
                let cut = self.pair(Num::U64, Binary::Min, wide, most);
                self.op(Num::U32, Op::Convert(cut))
            }
            _ => return Err("an index of this type"),
        })
    }

    /// An element of an array of bindings.
    fn element(&mut self, slot: u32, buffers: Option<bool>, index: Id) -> Lowered {
        match buffers {
            None => Lowered::Resource(Resource { slot, element: Some(index) }),
            Some(readonly) => {
                let memory = Memory::Element { slot, readonly, index };
                Lowered::Place(Place { memory, offset: 0, indices: Vec::new(), site: None })
            }
        }
    }

    fn access(&mut self, base: Handle<Expression>, index: Handle<Expression>) -> Result<Lowered, Refusal> {
        let id = self.index(index)?;
        if let Lowered::Bindings { slot, buffers } = self.value(base)? {
            return Ok(self.element(slot, buffers, id));
        }
        let elements = layout::elements(self.module, self.inner(base)?).ok_or("an index into this type")?;
        match self.value(base)? {
            Lowered::Place(place) => self.index_place(place, elements, id),
            Lowered::Data(ids) => {
                let count = elements.count.ok_or("an index into this value")?;
                let (place, step) = self.spill(&ids)?;
                let stride = elements.leaves as u32 * step;
                let bound = Bound::Known(count);
                let place = Place { indices: vec![Index { id, stride, bound }], ..place };
                let nums: Vec<Num> = ids[..elements.leaves].iter().map(|id| self.program.num(*id)).collect();
                let into: Vec<(u32, Id)> =
                    nums.iter().enumerate().map(|(i, num)| (step * i as u32, self.new_id(*num))).collect();
                let ids = into.iter().map(|(_, id)| *id).collect();
                self.emit(Stmt::Load { place, into, uniform: false });
                Ok(Lowered::Data(ids))
            }
            _ => Err("an index into a variable of scalars"),
        }
    }

    /// Values in memory, so that an index can choose from them, and the bytes from one to the next.
    fn spill(&mut self, ids: &[Id]) -> Result<(Place, u32), Refusal> {
        let sizes = ids.iter().map(|id| self.program.num(*id).bytes());
        let step = sizes.max().unwrap_or(4).max(4);
        let constants: Option<Vec<u64>> = ids.iter().map(|id| self.program.constant(*id)).collect();
        if let Some(constants) = constants {
            let offset = self.program.constants.len() as u32;
            for bits in constants {
                self.program.constants.extend(&bits.to_le_bytes()[..step as usize]);
            }
            return Ok((Place { memory: Memory::Constants, offset, indices: Vec::new(), site: None }, step));
        }
        if ids.len() > 4 * SCALARS_MAX {
            return Err("an index into a value of this size");
        }
        // Each is written before it is read, so it never has to be zeroed.
        let memory = Memory::Array(self.new_array(step * ids.len() as u32, true)?);
        let place = Place { memory, offset: 0, indices: Vec::new(), site: None };
        let from = ids.iter().enumerate().map(|(i, id)| (step * i as u32, *id)).collect();
        self.emit(Stmt::Store { place: place.clone(), from });
        Ok((place, step))
    }

    fn index_place(
        &mut self,
        mut place: Place,
        elements: layout::Elements,
        id: Id,
    ) -> Result<Lowered, Refusal> {
        let bound = match elements.count {
            Some(count) => {
                if let Some(index) = self.program.constant(id).filter(|index| *index < u64::from(count)) {
                    place.offset += index as u32 * elements.stride;
                    return Ok(Lowered::Place(place));
                }
                Bound::Known(count)
            }
            None if place.indices.is_empty() => Bound::Runtime,
            None => return Err("a runtime-sized array inside another array"),
        };
        place.indices.push(Index { id, stride: elements.stride, bound });
        Ok(Lowered::Place(place))
    }

    fn access_part(&mut self, base: Handle<Expression>, index: u32) -> Result<Lowered, Refusal> {
        let inner = self.inner(base)?;
        let value = self.value(base)?;
        if let Lowered::Bindings { slot, buffers } = value {
            let id = self.constant(Num::U32, index.into());
            return Ok(self.element(slot, buffers, id));
        }
        if let (Some(elements), Lowered::Place(place)) = (layout::elements(self.module, inner), &value)
            && elements.count.is_none()
        {
            let id = self.constant(Num::U32, index.into());
            return self.index_place(place.clone(), elements, id);
        }
        let (offset, leaf) = layout::part(self.module, inner, index).ok_or("a part of this type")?;
        Ok(match value {
            Lowered::Place(place) => Lowered::Place(Place { offset: place.offset + offset, ..place }),
            Lowered::Vars(first) => Lowered::Vars(Var(first.0 + leaf as u32)),
            Lowered::Data(ids) => {
                let end = layout::part(self.module, inner, index + 1).map_or(ids.len(), |(_, end)| end);
                Lowered::Data(ids.get(leaf..end).ok_or("a part of a value")?.to_vec())
            }
            Lowered::Resource(_) | Lowered::Bindings { .. } => return Err("a part of a resource"),
        })
    }

    /// Scalars of what a pointer points to.
    fn pointee(&self, pointer: Handle<Expression>) -> Result<Vec<layout::Leaf>, Refusal> {
        let leaves = match *self.inner(pointer)? {
            TypeInner::Pointer { base, .. } => {
                let inner = &self.module.types[base].inner;
                if layout::leaf_count(self.module, inner) > 4096 {
                    return Err("a value of more than 4096 scalars");
                }
                layout::leaves(self.module, inner)
            }
            TypeInner::ValuePointer { size: None, scalar, .. } => {
                layout::leaves(self.module, &TypeInner::Scalar(scalar))
            }
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
                layout::leaves(self.module, &TypeInner::Vector { size, scalar })
            }
            _ => None,
        };
        let leaves = leaves.ok_or("a load or store of this type")?;
        Ok(leaves)
    }

    /// Whether a pointer is to an atomic.
    fn is_atomic(&self, pointer: Handle<Expression>) -> Result<bool, Refusal> {
        Ok(match *self.inner(pointer)? {
            TypeInner::Pointer { base, .. } => {
                matches!(self.module.types[base].inner, TypeInner::Atomic(_))
            }
            _ => false,
        })
    }

    pub(super) fn load(
        &mut self,
        pointer: Handle<Expression>,
        span: naga::Span,
        uniform: bool,
    ) -> Result<Vec<Id>, Refusal> {
        let leaves = self.pointee(pointer)?;
        match self.value(pointer)? {
            Lowered::Vars(first) => Ok(leaves
                .iter()
                .enumerate()
                .map(|(i, leaf)| self.op(leaf.num, Op::Get(Var(first.0 + i as u32))))
                .collect()),
            Lowered::Place(place) => {
                let into: Vec<(u32, Id)> =
                    leaves.iter().map(|leaf| (leaf.offset, self.new_id(leaf.num))).collect();
                let ids = into.iter().map(|(_, id)| *id).collect();
                let kind =
                    if self.is_atomic(pointer)? { ObservedKind::AtomicLoad } else { ObservedKind::Read };
                let place = self.observed(place, span, kind);
                self.emit(Stmt::Load { place, into, uniform });
                Ok(ids)
            }
            _ => Err("a load from this"),
        }
    }

    pub(super) fn store(
        &mut self,
        pointer: Handle<Expression>,
        value: Handle<Expression>,
        span: naga::Span,
    ) -> Result<(), Refusal> {
        let leaves = self.pointee(pointer)?;
        let zero = matches!(self.scope()?.function.expressions[value], Expression::ZeroValue(_));
        match self.value(pointer)? {
            Lowered::Vars(first) => {
                for (i, id) in self.data(value)?.into_iter().enumerate() {
                    self.emit(Stmt::Set(Var(first.0 + i as u32), id));
                }
            }
            Lowered::Place(Place { memory: Memory::Array(array), offset: 0, ref indices, .. })
                if zero
                    && indices.is_empty()
                    && leaves.len() > 1
                    && self.whole(array, &leaves)
                    && self.program.arrays[array as usize].words =>
            {
                self.emit(Stmt::Zero(array));
            }
            Lowered::Place(place) => {
                let ids = self.data(value)?;
                let from = leaves.iter().zip(ids).map(|(leaf, id)| (leaf.offset, id)).collect();
                let kind = if self.is_atomic(pointer)? { ObservedKind::Atomic } else { ObservedKind::Write };
                let place = self.observed(place, span, kind);
                self.emit(Stmt::Store { place, from });
            }
            _ => return Err("a store to this"),
        }
        Ok(())
    }

    /// Whether the scalars reach to the end of an array.
    fn whole(&self, array: u32, leaves: &[layout::Leaf]) -> bool {
        leaves.last().is_some_and(|leaf| {
            (leaf.offset + leaf.num.bytes()).next_multiple_of(16) == self.program.arrays[array as usize].size
        })
    }

    pub(super) fn atomic(
        &mut self,
        pointer: Handle<Expression>,
        fun: AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
        span: naga::Span,
    ) -> Result<(), Refusal> {
        let num = self.num(value)?;
        // Elsewhere an address that is not aligned to 8 is a fault.
        let aligned = num.bytes() == 4 || cfg!(target_arch = "x86_64");
        if !matches!(num, Num::I32 | Num::U32 | Num::I64 | Num::U64 | Num::F32) || !aligned {
            return Err("an atomic operation on this type");
        }
        let Lowered::Place(place) = self.value(pointer)? else { return Err("an atomic operation on this") };
        let value = self.scalar(value)?;
        let compare = match fun {
            AtomicFunction::Exchange { compare: Some(compare) } => Some(self.scalar(compare)?),
            _ => None,
        };
        let old = self.new_id(num);
        let place = self.observed(place, span, ObservedKind::Atomic);
        self.emit(Stmt::Atomic { place, fun, value, compare, old });
        let Some(result) = result else { return Ok(()) };
        let mut ids = vec![old];
        if let Some(compare) = compare {
            ids.push(self.pair(Num::Bool, Binary::Equal, old, compare));
        }
        self.scope_mut()?.values[result.index()] = Some(Lowered::Data(ids));
        Ok(())
    }

    fn array_length(&mut self, array: Handle<Expression>) -> Result<Id, Refusal> {
        match self.value(array)? {
            Lowered::Place(Place { memory: Memory::Slot { slot, .. }, .. }) => {
                Ok(self.op(Num::U32, Op::Length(slot)))
            }
            Lowered::Place(Place { memory: Memory::Element { slot, index, .. }, .. }) => {
                Ok(self.op(Num::U32, Op::LengthAt(slot, index)))
            }
            _ => Err("the length of this array"),
        }
    }
}
