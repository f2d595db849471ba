//! Do all loops of a kernel surely end?
//!
//! The writer of SPIR-V counts the rounds of each loop, since drivers may do anything with one that never ends, and what is
//! counted is not unrolled. Where all loops are seen to end, it is told not to. A loop is, if it goes on only as long as a
//! variable is on one side of a bound, and if nothing but its last statements changes the variable, which takes a step to the
//! other side without leaving the range of its type.
//!
//! Deliberately absent: loops that end for other reasons, and how long they take. Tested below and in the contract suite.

use naga::{
    BinaryOperator, Block, Expression, Function, Handle, Literal, LocalVariable, Module, Scalar, ScalarKind,
    Statement, TypeInner,
};

/// Whether every loop in every function of a module ends.
pub(crate) fn all_end(module: &Module) -> bool {
    let entries = module.entry_points.iter().map(|entry| &entry.function);
    let mut functions = module.functions.iter().map(|(_, function)| function).chain(entries);
    functions.all(|function| Loops { module, function }.end_in(&function.body))
}

struct Loops<'a> {
    module: &'a Module,
    function: &'a Function,
}

/// A loop goes on while `variable` is below the bound, or above.
struct Guard {
    variable: Handle<LocalVariable>,
    below: bool,
    /// The last value for which it goes on, if that is known; else the bound may be any, and is not one itself.
    last: Option<i128>,
}

/// What becomes of a variable from round to round.
enum Change {
    Add(i128),
    /// It is divided, towards zero.
    Divide,
}

/// Blocks inside of a statement.
fn blocks(statement: &Statement) -> Vec<&Block> {
    match statement {
        Statement::Block(inner) => vec![inner],
        Statement::If { accept, reject, .. } => vec![accept, reject],
        Statement::Switch { cases, .. } => cases.iter().map(|case| &case.body).collect(),
        Statement::Loop { body, continuing, .. } => vec![body, continuing],
        _ => Vec::new(),
    }
}

impl Loops<'_> {
    fn end_in(&self, block: &Block) -> bool {
        block.iter().all(|statement| {
            let own = match statement {
                Statement::Loop { body, continuing, .. } => self.ends(body, continuing).unwrap_or(false),
                _ => true,
            };
            own && blocks(statement).into_iter().all(|inner| self.end_in(inner))
        })
    }

    fn ends(&self, body: &Block, continuing: &Block) -> Option<bool> {
        let Guard { variable, below, last } = self.guard(body)?;
        let (low, high) = self.range(variable)?;
        let change = self.change(continuing, variable)?;
        let once = self.stores(continuing, variable) == 1 && self.stores(body, variable) == 0;
        Some(
            once && match change {
                Change::Add(step) if below => step > 0 && last.map_or(step == 1, |last| last + step <= high),
                Change::Add(step) => step < 0 && last.map_or(step == -1, |last| last + step >= low),
                Change::Divide => !below && last.is_some_and(|last| last > 0),
            },
        )
    }

    /// What a loop begins with: a way out, on which the rest depends.
    fn guard(&self, body: &Block) -> Option<Guard> {
        let mut statements = body.iter().skip_while(|statement| matches!(statement, Statement::Emit(_)));
        let Statement::If { condition, accept, reject } = statements.next()? else { return None };
        let leaves = |block: &Block| matches!(block.first(), Some(Statement::Break));
        let goes_on = match (leaves(accept), leaves(reject)) {
            (false, true) if accept.is_empty() => true,
            (true, false) if reject.is_empty() => false,
            _ => return None,
        };
        let Expression::Binary { op, left, right } = self.function.expressions[*condition] else {
            return None;
        };
        let fresh = |handle| self.loaded(handle).filter(|_| emits(body, handle));
        let (variable, bound, turned) = match (fresh(left), fresh(right)) {
            (Some(variable), None) => (variable, right, false),
            (None, Some(variable)) => (variable, left, true),
            _ => return None,
        };
        use BinaryOperator as B;
        // Above or below, and whether the bound itself counts.
        let (below, inclusive) = match op {
            B::Less => (true, false),
            B::LessEqual => (true, true),
            B::Greater => (false, false),
            B::GreaterEqual => (false, true),
            _ => return None,
        };
        let below = below != turned;
        let (below, inclusive) = if goes_on { (below, inclusive) } else { (!below, !inclusive) };
        let by = i128::from(!inclusive) * if below { -1 } else { 1 };
        let last = self.literal(bound).map(|bound| bound + by);
        (last.is_some() || !inclusive).then_some(Guard { variable, below, last })
    }

    fn change(&self, continuing: &Block, variable: Handle<LocalVariable>) -> Option<Change> {
        let store = continuing.iter().find_map(|statement| match statement {
            Statement::Store { pointer, value } if self.is(*pointer, variable) => Some(*value),
            _ => None,
        })?;
        let Expression::Binary { op, left, right } = self.function.expressions[store] else { return None };
        let fresh = |handle| self.loaded(handle) == Some(variable) && emits(continuing, handle);
        use BinaryOperator as B;
        match op {
            B::Add if fresh(left) => Some(Change::Add(self.literal(right)?)),
            B::Add if fresh(right) => Some(Change::Add(self.literal(left)?)),
            B::Subtract if fresh(left) => Some(Change::Add(-self.literal(right)?)),
            B::Divide if fresh(left) && self.literal(right)? >= 2 => Some(Change::Divide),
            B::ShiftRight if fresh(left) && (1..32).contains(&self.literal(right)?) => Some(Change::Divide),
            _ => None,
        }
    }

    /// How many statements may change a variable.
    fn stores(&self, block: &Block, variable: Handle<LocalVariable>) -> usize {
        let own = |statement: &Statement| match statement {
            Statement::Store { pointer, .. } => usize::from(self.is(*pointer, variable)),
            Statement::Call { arguments, .. } => {
                arguments.iter().filter(|argument| self.is(**argument, variable)).count()
            }
            _ => 0,
        };
        let inner = |statement| {
            blocks(statement).into_iter().map(|inner| self.stores(inner, variable)).sum::<usize>()
        };
        block.iter().map(|statement| own(statement) + inner(statement)).sum()
    }

    fn is(&self, pointer: Handle<Expression>, variable: Handle<LocalVariable>) -> bool {
        matches!(self.function.expressions[pointer], Expression::LocalVariable(own) if own == variable)
    }

    /// The variable that an expression loads.
    fn loaded(&self, handle: Handle<Expression>) -> Option<Handle<LocalVariable>> {
        let Expression::Load { pointer } = self.function.expressions[handle] else { return None };
        match self.function.expressions[pointer] {
            Expression::LocalVariable(variable) => Some(variable),
            _ => None,
        }
    }

    fn literal(&self, handle: Handle<Expression>) -> Option<i128> {
        let value = match self.function.expressions[handle] {
            Expression::Literal(literal) => literal,
            Expression::Constant(constant) => {
                match self.module.global_expressions[self.module.constants[constant].init] {
                    Expression::Literal(literal) => literal,
                    _ => return None,
                }
            }
            _ => return None,
        };
        match value {
            Literal::I32(value) => Some(value.into()),
            Literal::U32(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The range of a variable's type.
    fn range(&self, variable: Handle<LocalVariable>) -> Option<(i128, i128)> {
        match self.module.types[self.function.local_variables[variable].ty].inner {
            TypeInner::Scalar(Scalar { kind: ScalarKind::Sint, width: 4 }) => {
                Some((i32::MIN.into(), i32::MAX.into()))
            }
            TypeInner::Scalar(Scalar { kind: ScalarKind::Uint, width: 4 }) => Some((0, u32::MAX.into())),
            _ => None,
        }
    }
}

/// Whether a block itself evaluates an expression, so that it does so in each round.
fn emits(block: &Block, handle: Handle<Expression>) -> bool {
    block.iter().any(
        |statement| matches!(statement, Statement::Emit(range) if range.clone().any(|own| own == handle)),
    )
}

#[cfg(test)]
mod tests {
    fn end(body: &str) -> bool {
        let source = format!(
            "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
            const MANY = 20u;
            fn bump(at: ptr<function, u32>) {{ *at = 0u; }}
            @compute @workgroup_size(1) fn main(@builtin(local_invocation_index) id: u32) {{ {body} }}"
        );
        super::all_end(&naga::front::wgsl::parse_str(&source).unwrap_or_else(|why| panic!("{why} in {body}")))
    }

    #[test]
    fn counted_loops_end() {
        for body in [
            "data[0] = 1u;",
            "for (var i = 0u; i < data[1]; i++) { data[i] = i; }",
            "for (var i = 1; i <= 7; i += 2) { data[i] = 1u; }",
            "for (var i = 30; i > -5; i -= 5) { data[0] += 1u; }",
            "for (var i = data[0]; i > 0u; i--) { if data[i] == 0u { continue; } data[i] = 1u; }",
            "for (var i = 64u; i > 0u; i >>= 1u) { data[i] = 1u; }",
            "for (var i = 64u; i >= 1u; i /= 2u) { data[i] = 1u; }",
            "for (var i = 0u; MANY > i; i = 3u + i) { for (var k = 0; k < 4; k++) { data[i] += 1u; } }",
            "var i = 0u; loop { if i >= id { break; } data[i] = 1u; continuing { i++; } }",
        ] {
            assert!(end(body), "{body}");
        }
    }

    #[test]
    fn others_may_not() {
        for body in [
            "loop { if data[0] == 0u { break; } }",
            "for (var i = 0u; i < data[1]; i += 2u) { data[i] = i; }",
            "for (var i = 0u; i <= data[1]; i++) { data[i] = i; }",
            "for (var i = 0u; i <= 4294967295u; i++) { data[0] = i; }",
            "for (var i = 9u; i >= 0u; i--) { data[i] = i; }",
            "for (var i = 1u; i < 100u; i *= 2u) { data[i] = i; }",
            "for (var i = 8; i >= 0; i /= 2) { data[0] = 1u; }",
            "for (var i = 0u; i != 7u; i += 2u) { data[i] = i; }",
            "for (var i = 0u; i < 9u; i--) { data[i] = i; }",
            "for (var i = 0u; i < 9u; i++) { i = 0u; }",
            "for (var i = 0u; i < 9u; i++) { if data[i] == 1u { bump(&i); } }",
            "for (var i = 0u; i < 9u; i++) { loop { if data[0] == 0u { break; } } }",
            "var i = 0u; let old = i; loop { if old >= 4u { break; } continuing { i++; } }",
            "var i = 0u; let old = i; loop { if i >= 4u { break; } continuing { i = old + 1u; } }",
            "var i = 0u; while i < 9u { if data[i] == 1u { continue; } i++; }",
            "var i = 0u; loop { data[i] = 1u; if data[i] == 2u { continue; } if i >= 4u { break; } continuing { i++; } }",
        ] {
            assert!(!end(body), "{body}");
        }
    }
}
