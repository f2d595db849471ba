//! Grids that cut workgroups: Metal runs just the threads that are asked for, Vulkan whole workgroups.
//!
//! The kernel becomes a function, and a new entry point calls it. A kernel without barriers is called where the
//! invocation is inside the grid (*guarded*). One with barriers must not lose invocations on the way, so its grid is
//! dispatched in parts: whole workgroups, and at each border workgroups that are smaller (*edge*), with the builtins that
//! they would have had. Deliberately absent: which grid takes which way (`pipeline.rs`). Tested in `tests/kernels.rs`.

use crate::shader::{Shader, validate};
use naga::valid::ModuleInfo;
use naga::{
    AddressSpace, BinaryOperator, Binding, Block, BuiltIn, Expression, Function, FunctionArgument,
    GlobalVariable, Handle, Literal, Module, Span, Statement, Type, TypeInner, VectorSize,
};

/// How an entry point deals with workgroups that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shape {
    /// There are none: the kernel as it is.
    Whole,
    /// Invocations beyond the immediates' limit do nothing.
    Guarded,
    /// All workgroups have this size, which is not the kernel's own. The immediates say how many workgroups the whole
    /// grid has, if the kernel asks.
    Edge([u32; 3]),
}

/// Whether a kernel has barriers, so that its invocations must stay together.
pub(crate) fn has_barriers(shader: &Shader) -> bool {
    let functions = shader.module.functions.iter().map(|(_, function)| &function.body);
    functions.chain([&shader.module.entry_points[shader.entry].function.body]).any(block_has_barrier)
}

fn block_has_barrier(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => true,
        Statement::Block(inner) => block_has_barrier(inner),
        Statement::If { accept, reject, .. } => block_has_barrier(accept) || block_has_barrier(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|case| block_has_barrier(&case.body)),
        Statement::Loop { body, continuing, .. } => block_has_barrier(body) || block_has_barrier(continuing),
        _ => false,
    })
}

/// Whether a kernel asks how many workgroups there are.
pub(crate) fn asks_for_groups(shader: &Shader) -> bool {
    builtins(&shader.module, &shader.module.entry_points[shader.entry].function)
        .any(|builtin| builtin == BuiltIn::NumWorkGroups)
}

/// The builtins that a function takes, also as members of structures.
fn builtins<'a>(module: &'a Module, function: &'a Function) -> impl Iterator<Item = BuiltIn> + 'a {
    let of = |binding: &Option<Binding>| match binding {
        Some(Binding::BuiltIn(builtin)) => Some(*builtin),
        _ => None,
    };
    let members = |ty: Handle<Type>| match &module.types[ty].inner {
        TypeInner::Struct { members, .. } => members.as_slice(),
        _ => &[],
    };
    function.arguments.iter().flat_map(move |argument| {
        let own = of(&argument.binding);
        own.into_iter().chain(members(argument.ty).iter().filter_map(move |member| of(&member.binding)))
    })
}

/// The module with an entry point of this shape in place of the kernel's own.
pub(crate) fn wrap(shader: &Shader, shape: Shape) -> Result<(Module, ModuleInfo), String> {
    let mut module = shader.module.clone();
    if shape == Shape::Whole {
        return Ok((module, shader.info.clone()));
    }
    let asks = asks_for_groups(shader);
    let point = &mut module.entry_points[shader.entry];
    let own = std::mem::take(&mut point.function);
    let size = point.workgroup_size;
    if let Shape::Edge(edge) = shape {
        point.workgroup_size = edge;
    }
    let mut inner = own.clone();
    inner.arguments.iter_mut().for_each(|argument| argument.binding = None);
    let inner = module.functions.append(inner, Span::UNDEFINED);
    let needs_limit = shape == Shape::Guarded || asks;
    let function = Wrapper::new(&mut module, needs_limit).finish(&own, inner, shape, size);
    module.entry_points[shader.entry].function = function;
    validate(&module).map(|info| (module, info))
}

/// An entry point that is being put together.
struct Wrapper<'a> {
    module: &'a mut Module,
    function: Function,
    builtins: Vec<(BuiltIn, Handle<Expression>)>,
    vec3: Handle<Type>,
    limit: Option<Handle<GlobalVariable>>,
}

impl<'a> Wrapper<'a> {
    fn new(module: &'a mut Module, needs_limit: bool) -> Wrapper<'a> {
        let inner = TypeInner::Vector { size: VectorSize::Tri, scalar: naga::Scalar::U32 };
        let vec3 = module.types.insert(Type { name: None, inner }, Span::UNDEFINED);
        let limit = GlobalVariable {
            name: Some("lockgate_limit".into()),
            space: AddressSpace::Immediate,
            binding: None,
            ty: vec3,
            init: None,
            memory_decorations: naga::MemoryDecorations::empty(),
        };
        let limit = needs_limit.then(|| module.global_variables.append(limit, Span::UNDEFINED));
        Wrapper { module, function: Function::default(), builtins: Vec::new(), vec3, limit }
    }

    fn push(&mut self, expression: Expression) -> Handle<Expression> {
        self.function.expressions.append(expression, Span::UNDEFINED)
    }

    /// The argument with this builtin; added if it is not there.
    fn builtin(&mut self, builtin: BuiltIn, ty: Handle<Type>) -> Handle<Expression> {
        if let Some((_, expression)) = self.builtins.iter().find(|(own, _)| *own == builtin) {
            return *expression;
        }
        let index = self.function.arguments.len() as u32;
        let binding = Some(Binding::BuiltIn(builtin));
        self.function.arguments.push(FunctionArgument { name: None, ty, binding });
        let expression = self.push(Expression::FunctionArgument(index));
        self.builtins.push((builtin, expression));
        expression
    }

    fn finish(mut self, own: &Function, inner: Handle<Function>, shape: Shape, size: [u32; 3]) -> Function {
        // What needs no statement comes first: arguments, literals and variables.
        let wanted = self.arguments(own);
        let vec3 = self.vec3;
        let needed: &[BuiltIn] = match shape {
            Shape::Guarded => &[BuiltIn::GlobalInvocationId],
            _ => &[BuiltIn::WorkGroupId, BuiltIn::LocalInvocationId],
        };
        let ids: Vec<_> = needed.iter().map(|builtin| self.builtin(*builtin, vec3)).collect();
        let sides = size.map(|side| self.push(Expression::Literal(Literal::U32(side))));
        let plane = self.push(Expression::Literal(Literal::U32(size[0] * size[1])));
        let limit = self.limit.map(|limit| self.push(Expression::GlobalVariable(limit)));
        let start = self.function.expressions.len();
        let limit = limit.map(|pointer| self.push(Expression::Load { pointer }));
        let condition = match shape {
            Shape::Guarded => limit.map(|limit| {
                let op = BinaryOperator::Less;
                let argument = self.push(Expression::Binary { op, left: ids[0], right: limit });
                self.push(Expression::Relational { fun: naga::RelationalFunction::All, argument })
            }),
            _ => {
                self.replace_ids(ids[0], ids[1], sides, plane, limit);
                None
            }
        };
        let arguments: Vec<_> = wanted.into_iter().map(|wanted| self.argument(wanted)).collect();
        let emitted = self.function.expressions.range_from(start);
        let call = Statement::Call { function: inner, arguments, result: None };
        let call = match condition {
            None => call,
            Some(condition) => {
                let accept = Block::from_vec(vec![call]);
                Statement::If { condition, accept, reject: Block::new() }
            }
        };
        let back = Statement::Return { value: None };
        self.function.body = Block::from_vec(vec![Statement::Emit(emitted), call, back]);
        self.function
    }

    /// What the workgroups of an edge would have been told.
    fn replace_ids(
        &mut self,
        group: Handle<Expression>,
        local: Handle<Expression>,
        sides: [Handle<Expression>; 3],
        plane: Handle<Expression>,
        groups: Option<Handle<Expression>>,
    ) {
        let binary = |own: &mut Self, op, left, right| own.push(Expression::Binary { op, left, right });
        let (add, multiply) = (BinaryOperator::Add, BinaryOperator::Multiply);
        let ty = self.vec3;
        let size = self.push(Expression::Compose { ty, components: sides.to_vec() });
        let first = binary(self, multiply, group, size);
        let global = binary(self, add, first, local);
        let [x, y, z] = [0, 1, 2].map(|index| self.push(Expression::AccessIndex { base: local, index }));
        let rows = binary(self, multiply, y, sides[0]);
        let planes = binary(self, multiply, z, plane);
        let row = binary(self, add, x, rows);
        let index = binary(self, add, row, planes);
        for (builtin, expression) in &mut self.builtins {
            match builtin {
                BuiltIn::GlobalInvocationId => *expression = global,
                BuiltIn::LocalInvocationIndex => *expression = index,
                BuiltIn::NumWorkGroups => *expression = groups.unwrap_or(*expression),
                _ => {}
            }
        }
    }

    /// What the kernel takes; adds arguments for all of it.
    fn arguments(&mut self, own: &Function) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        for argument in &own.arguments {
            if let Some(Binding::BuiltIn(builtin)) = argument.binding {
                self.builtin(builtin, argument.ty);
                wanted.push(Wanted { ty: argument.ty, whole: true, parts: vec![builtin] });
                continue;
            }
            let members = match &self.module.types[argument.ty].inner {
                TypeInner::Struct { members, .. } => members.clone(),
                _ => Vec::new(),
            };
            let mut parts = Vec::new();
            for member in members {
                if let Some(Binding::BuiltIn(builtin)) = member.binding {
                    self.builtin(builtin, member.ty);
                    parts.push(builtin);
                }
            }
            wanted.push(Wanted { ty: argument.ty, whole: false, parts });
        }
        wanted
    }

    fn argument(&mut self, wanted: Wanted) -> Handle<Expression> {
        let find = |builtin: &BuiltIn| self.builtins.iter().find(|(own, _)| own == builtin).map(|(_, e)| *e);
        let components: Vec<_> = wanted.parts.iter().filter_map(find).collect();
        match (wanted.whole, components.first()) {
            (true, Some(one)) => *one,
            _ => self.push(Expression::Compose { ty: wanted.ty, components }),
        }
    }
}

/// An argument of the kernel: one builtin, or a structure of several.
struct Wanted {
    ty: Handle<Type>,
    whole: bool,
    parts: Vec<BuiltIn>,
}

/// One dispatch of a grid that is dispatched in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// First workgroup.
    pub(crate) base: [u32; 3],
    /// Workgroups.
    pub(crate) count: [u32; 3],
    /// Their size.
    pub(crate) size: [u32; 3],
}

/// The parts of a grid: along each axis whole workgroups, and a smaller one at the end.
pub(crate) fn parts(threads: [u32; 3], size: [u32; 3]) -> Vec<Part> {
    let axis = |axis: usize| {
        let (whole, rest) = (threads[axis] / size[axis], threads[axis] % size[axis]);
        [(0, whole, size[axis]), (whole, u32::from(rest > 0), rest)]
            .into_iter()
            .filter(|(_, count, _)| *count > 0)
    };
    let mut parts = Vec::new();
    for z in axis(2) {
        for y in axis(1) {
            for x in axis(0) {
                parts.push(Part { base: [x.0, y.0, z.0], count: [x.1, y.1, z.1], size: [x.2, y.2, z.2] });
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_grid_once() {
        for (threads, size) in [([7, 5, 3], [4, 2, 2]), ([8, 1, 1], [4, 1, 1]), ([3, 1, 9], [8, 2, 4])] {
            let mut seen = vec![0u32; threads.iter().product::<u32>() as usize];
            for part in parts(threads, size) {
                let extent = |axis: usize| {
                    let first = part.base[axis] * size[axis];
                    first..first + part.count[axis] * part.size[axis]
                };
                for z in extent(2) {
                    for y in extent(1) {
                        for x in extent(0) {
                            seen[((z * threads[1] + y) * threads[0] + x) as usize] += 1;
                        }
                    }
                }
            }
            assert!(seen.iter().all(|count| *count == 1), "{threads:?} {size:?}");
        }
    }
}
