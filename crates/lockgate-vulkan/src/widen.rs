//! Conversions to wider integers of the other sign, as WGSL means them.
//!
//! The writer of SPIR-V extends by the sign of the new type, so that an `i64` of a large `u32` would be negative. Such a
//! conversion becomes a call of a function that widens first: a call takes the place of its expression as it is, where a
//! second expression would renumber all that come behind. Tested in the contract suite (`differential.rs`).

use naga::valid::ModuleInfo;
use naga::{
    Arena, Block, Expression, Function, FunctionArgument, FunctionResult, Handle, Module, Range, Scalar,
    ScalarKind, Span, Statement, Type, TypeInner, UniqueArena,
};
use std::collections::BTreeMap;

/// The conversions of a function: the operand of each, and what is called instead.
type Calls = BTreeMap<Handle<Expression>, (Handle<Expression>, Handle<Function>)>;

/// Replaces the conversions, and says whether there were any.
pub(crate) fn widen(module: &mut Module, info: &ModuleInfo) -> bool {
    let mut helpers = Helpers::default();
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(at, entry)| (&entry.function, info.get_entry_point(at)));
    let mut calls = Vec::new();
    for (function, info) in functions.chain(entries) {
        let call = |(at, expression): (_, &Expression)| {
            let Expression::As { expr, kind, convert: Some(width) } = *expression else { return None };
            let (from, to) = (info[expr].ty.inner_with(&module.types).clone(), Scalar { kind, width });
            changes_sign(from.scalar()?, to).then(|| (at, (expr, helpers.find(&mut module.types, from, to))))
        };
        calls.push(function.expressions.iter().filter_map(call).collect::<Calls>());
    }
    if calls.iter().all(Calls::is_empty) {
        return false;
    }
    // Functions stand behind those that they call.
    let mut old = std::mem::replace(&mut module.functions, helpers.functions);
    let mut calls = calls.into_iter();
    let mut moved = Vec::new();
    for ((_, mut function, span), calls) in old.drain().zip(calls.by_ref()) {
        rewrite(&mut function, &calls, &moved);
        moved.push(module.functions.append(function, span));
    }
    for (entry, calls) in module.entry_points.iter_mut().zip(calls) {
        rewrite(&mut entry.function, &calls, &moved);
    }
    true
}

/// Whether a conversion makes an integer wider and gives it the other sign.
fn changes_sign(from: Scalar, to: Scalar) -> bool {
    use ScalarKind::{Sint, Uint};
    matches!((from.kind, to.kind), (Uint, Sint) | (Sint, Uint)) && from.width < to.width
}

/// The functions that convert.
#[derive(Default)]
struct Helpers {
    functions: Arena<Function>,
    known: Vec<(TypeInner, Scalar, Handle<Function>)>,
}

impl Helpers {
    fn find(&mut self, types: &mut UniqueArena<Type>, from: TypeInner, to: Scalar) -> Handle<Function> {
        if let Some((.., known)) = self.known.iter().find(|(f, t, _)| (f, *t) == (&from, to)) {
            return *known;
        }
        let result = match from {
            TypeInner::Vector { size, .. } => TypeInner::Vector { size, scalar: to },
            _ => TypeInner::Scalar(to),
        };
        let [ty, result] =
            [from.clone(), result].map(|inner| types.insert(Type { name: None, inner }, Span::UNDEFINED));
        let mut function = Function {
            arguments: vec![FunctionArgument { name: None, ty, binding: None }],
            result: Some(FunctionResult { ty: result, binding: None }),
            ..Function::default()
        };
        let mut push = |expression| function.expressions.append(expression, Span::UNDEFINED);
        let convert = Some(to.width);
        let argument = push(Expression::FunctionArgument(0));
        let kind = from.scalar_kind().unwrap_or(to.kind);
        let wide = push(Expression::As { expr: argument, kind, convert });
        let value = push(Expression::As { expr: wide, kind: to.kind, convert });
        let emit = Statement::Emit(Range::new_from_bounds(wide, value));
        function.body = Block::from_vec(vec![emit, Statement::Return { value: Some(value) }]);
        let helper = self.functions.append(function, Span::UNDEFINED);
        self.known.push((from, to, helper));
        helper
    }
}

/// Puts calls in place of conversions, and names functions by where they have moved.
fn rewrite(function: &mut Function, calls: &Calls, moved: &[Handle<Function>]) {
    for (at, expression) in function.expressions.iter_mut() {
        match (calls.get(&at), expression) {
            (Some((_, helper)), expression) => *expression = Expression::CallResult(*helper),
            (None, Expression::CallResult(callee)) => *callee = moved[callee.index()],
            _ => {}
        }
    }
    rewrite_block(&mut function.body, calls, moved);
}

fn rewrite_block(block: &mut Block, calls: &Calls, moved: &[Handle<Function>]) {
    for (mut statement, span) in std::mem::take(block).span_into_iter() {
        match &mut statement {
            Statement::Emit(range) => {
                emit(block, range.clone(), span, calls);
                continue;
            }
            Statement::Call { function, .. } => *function = moved[function.index()],
            Statement::Block(inner) => rewrite_block(inner, calls, moved),
            Statement::If { accept, reject, .. } => {
                rewrite_block(accept, calls, moved);
                rewrite_block(reject, calls, moved);
            }
            Statement::Switch { cases, .. } => {
                cases.iter_mut().for_each(|case| rewrite_block(&mut case.body, calls, moved));
            }
            Statement::Loop { body, continuing, .. } => {
                rewrite_block(body, calls, moved);
                rewrite_block(continuing, calls, moved);
            }
            _ => {}
        }
        block.push(statement, span);
    }
}

/// Emits a range, but for conversions, which are called where they stand.
fn emit(block: &mut Block, range: Range<Expression>, span: Span, calls: &Calls) {
    let mut open: Option<(Handle<Expression>, Handle<Expression>)> = None;
    let close = |block: &mut Block, open: &mut Option<_>| {
        if let Some((first, last)) = open.take() {
            block.push(Statement::Emit(Range::new_from_bounds(first, last)), span);
        }
    };
    for at in range {
        let Some((operand, function)) = calls.get(&at) else {
            open = Some((open.map_or(at, |(first, _)| first), at));
            continue;
        };
        close(block, &mut open);
        let call = Statement::Call { function: *function, arguments: vec![*operand], result: Some(at) };
        block.push(call, span);
    }
    close(block, &mut open);
}
