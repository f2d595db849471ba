//! Which statements and expressions no engine takes, so that a kernel with them is refused when it is created.

use naga::{Block, Expression, Function, Module, Span, Statement};

use super::super::error::KernelError;

/// Refuses what cannot run, with the place in the source.
pub(in super::super) fn check(module: &Module, entry: usize) -> Result<(), KernelError> {
    check_function(&module.entry_points[entry].function)?;
    let mut called = vec![false; module.functions.len()];
    mark_calls(module, &module.entry_points[entry].function.body, &mut called);
    for (handle, function) in module.functions.iter() {
        if called[handle.index()] {
            check_function(function)?;
        }
    }
    check_arguments(module, entry)
}

fn check_arguments(module: &Module, entry: usize) -> Result<(), KernelError> {
    use naga::BuiltIn as B;
    for argument in &module.entry_points[entry].function.arguments {
        let mut bindings: Vec<_> = argument.binding.iter().collect();
        if let naga::TypeInner::Struct { members, .. } = &module.types[argument.ty].inner {
            bindings.extend(members.iter().filter_map(|member| member.binding.as_ref()));
        }
        for binding in bindings {
            let known = matches!(
                binding,
                naga::Binding::BuiltIn(
                    B::GlobalInvocationId
                        | B::LocalInvocationId
                        | B::LocalInvocationIndex
                        | B::WorkGroupId
                        | B::WorkGroupSize
                        | B::NumWorkGroups
                        | B::SubgroupId
                        | B::SubgroupInvocationId
                        | B::SubgroupSize
                        | B::NumSubgroups
                )
            );
            if !known {
                return Err(KernelError::unsupported(Span::UNDEFINED, "this built-in value"));
            }
        }
    }
    Ok(())
}

fn mark_calls(module: &Module, block: &Block, called: &mut [bool]) {
    each_statement(block, &mut |statement, _| {
        if let Statement::Call { function, .. } = statement
            && !std::mem::replace(&mut called[function.index()], true)
        {
            mark_calls(module, &module.functions[*function].body, called);
        }
    });
}

/// Visits all statements of a block, nested ones after the one that holds them.
fn each_statement<'a>(block: &'a Block, visit: &mut dyn FnMut(&'a Statement, Span)) {
    for (statement, span) in block.span_iter() {
        visit(statement, *span);
        match statement {
            Statement::Block(block) => each_statement(block, visit),
            Statement::If { accept, reject, .. } => {
                each_statement(accept, visit);
                each_statement(reject, visit);
            }
            Statement::Switch { cases, .. } => {
                for case in cases {
                    each_statement(&case.body, visit);
                }
            }
            Statement::Loop { body, continuing, .. } => {
                each_statement(body, visit);
                each_statement(continuing, visit);
            }
            _ => {}
        }
    }
}

fn check_function(function: &Function) -> Result<(), KernelError> {
    let mut refused = None;
    each_statement(&function.body, &mut |statement, span| {
        if let (None, Some(feature)) = (&refused, refused_statement(statement)) {
            refused = Some(KernelError::unsupported(span, feature));
        }
    });
    if let Some(error) = refused {
        return Err(error);
    }
    for (handle, expression) in function.expressions.iter() {
        if let Some(feature) = refused_expression(expression) {
            return Err(KernelError::unsupported(function.expressions.get_span(handle), feature));
        }
    }
    Ok(())
}

fn refused_statement(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Kill => Some("discard"),
        Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => Some("ray tracing"),
        Statement::CooperativeStore { .. } => Some("a cooperative matrix"),
        _ => None,
    }
}

fn refused_expression(expression: &Expression) -> Option<&'static str> {
    match expression {
        Expression::Derivative { .. } => Some("a derivative"),
        Expression::CooperativeLoad { .. } | Expression::CooperativeMultiplyAdd { .. } => {
            Some("a cooperative matrix")
        }
        Expression::RayQueryVertexPositions { .. }
        | Expression::RayQueryProceedResult
        | Expression::RayQueryGetIntersection { .. } => Some("ray tracing"),
        Expression::Math { fun: naga::MathFunction::Inverse, .. } => Some("the inverse of a matrix"),
        _ => None,
    }
}
