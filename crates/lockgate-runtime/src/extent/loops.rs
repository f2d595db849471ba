//! Loops: those that count have a symbol for the round; of others only what their bodies can touch is known.

use super::expression::{Place, Root, Value};
use super::statement::Walk;
use super::value::{Affine, Bounds, Int, ceil_div};
use naga::{BinaryOperator, Block, Expression, Handle, LocalVariable, Statement};

/// A loop that counts upwards.
struct Counter {
    depth: usize,
    variable: usize,
    first: Int,
    step: i128,
    /// What the counter stays below.
    end: Int,
}

impl<'a> Walk<'a> {
    pub(super) fn repeat(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
    ) {
        let mut assigned = self.assigned(body);
        assigned.extend(self.assigned(continuing));
        let counter = if break_if.is_none() { self.counter(body, continuing, &assigned) } else { None };
        let (before, left) = (self.path.clone(), std::mem::replace(&mut self.left, false));
        let forget = |walk: &mut Self| assigned.iter().for_each(|(depth, at)| walk.forget(*depth, *at));
        let returns = has_return(body);
        forget(self);
        let mut runs = true;
        let rest: Vec<&Statement> = body.iter().collect();
        self.path.certain = false;
        if let Some(counter) = counter {
            let leaves = leaves(rest.iter().copied().skip(head(body).map_or(0, |head| head + 1)));
            self.path.certain = before.certain && !leaves;
            runs = self.count(counter);
        }
        if runs {
            let inside = self.path.clone();
            self.block(body);
            forget(self);
            self.path = inside;
            self.path.certain = false;
            self.block(continuing);
            if let Some(condition) = break_if {
                self.value(condition);
            }
        }
        forget(self);
        self.path = before;
        self.path.certain &= !returns;
        self.left = left || returns;
    }

    /// Gives the counter its values. Returns whether there is a first round.
    fn count(&mut self, counter: Counter) -> bool {
        let Counter { depth, variable, first, step, end } = counter;
        let bounds = self.path.bounds.clone();
        let ((low, high), (_, most)) = (first.range(&bounds), end.range(&bounds));
        let rounds = ceil_div(most - low, step).max(0);
        if rounds == 0 {
            return false;
        }
        // Each invocation makes all rounds, or it is not known which.
        let known = end.known(&bounds).is_some() && first.affine.is_some();
        self.path.certain &= known && ceil_div(most - high, step) == rounds;
        let symbol = self.new_symbol((0, rounds - 1));
        let round =
            Int { affine: Some(Affine { constant: 0, terms: vec![(symbol, 1)] }), bounds: (0, rounds - 1) };
        let mut value = first.plus(&round.scaled(step, &self.path.bounds), &self.path.bounds);
        value.bounds = (low, (most - 1).min(value.bounds.1));
        self.set_local(depth, variable, Value::Int(value));
        true
    }

    fn set_local(&mut self, depth: usize, variable: usize, value: Value) {
        let mut locals = self.locals();
        if let Some(own) = locals.get_mut(depth).and_then(|locals| locals.get_mut(variable)) {
            *own = value;
        }
        self.set_locals(locals);
    }

    /// Whether a loop begins with a test of a variable against something and ends with adding a constant to it.
    fn counter(&mut self, body: &Block, continuing: &Block, assigned: &[(usize, usize)]) -> Option<Counter> {
        let function = self.frame().function;
        let Statement::If { condition, accept, reject } = &body[head(body)?] else { return None };
        let stays = match (&accept[..], &reject[..]) {
            ([], [Statement::Break]) => true,
            ([Statement::Break], []) => false,
            _ => return None,
        };
        let mut condition = *condition;
        let mut stays_if = stays;
        while let Expression::Unary { op: naga::UnaryOperator::LogicalNot, expr } =
            function.expressions[condition]
        {
            (condition, stays_if) = (expr, !stays_if);
        }
        let Expression::Binary { op, left, right } = function.expressions[condition] else { return None };
        let more = match (op, stays_if) {
            (BinaryOperator::Less, true) | (BinaryOperator::GreaterEqual, false) => 0,
            (BinaryOperator::LessEqual, true) | (BinaryOperator::Greater, false) => 1,
            _ => return None,
        };
        let local = loaded(&function.expressions, left)?;
        let (depth, variable) = (self.depth(), local.index());
        let step = self.step_of(continuing, local)?;
        if assigned.iter().filter(|own| **own == (depth, variable)).count() != 1 {
            return None;
        }
        let Some(Value::Int(first)) = self.local(depth, variable).cloned() else { return None };
        let limits = super::expression::limits(self.inner(left).scalar()?)?;
        let saved = self.locals();
        assigned.iter().for_each(|(depth, at)| self.forget(*depth, *at));
        let end = self.int(right);
        self.set_locals(saved);
        let bounds: &[Bounds] = &self.path.bounds;
        let end = end.plus(&Int::constant(more), bounds);
        // The counter never wraps around.
        let fits = end.range(bounds).1 - 1 + step <= limits.1;
        fits.then_some(Counter { depth, variable, first, step, end })
    }

    fn step_of(&self, continuing: &Block, local: Handle<LocalVariable>) -> Option<i128> {
        let expressions = &self.frame().function.expressions;
        let stores = continuing.iter().filter_map(|statement| match statement {
            Statement::Store { pointer, value } => Some((*pointer, *value)),
            _ => None,
        });
        let is_counter =
            |pointer| matches!(expressions[pointer], Expression::LocalVariable(own) if own == local);
        let (_, value) = stores.into_iter().find(|(pointer, _)| is_counter(*pointer))?;
        let Expression::Binary { op: BinaryOperator::Add, left, right } = expressions[value] else {
            return None;
        };
        if loaded(expressions, left) != Some(local) {
            return None;
        }
        let step = match expressions[right] {
            Expression::Literal(value) => super::expression::literal(value),
            Expression::Constant(constant) => self.constant(self.module.constants[constant].init),
            Expression::Override(over) => self.override_value(over),
            _ => return None,
        };
        let Value::Int(step) = step else { return None };
        step.known(&[]).filter(|step| *step > 0)
    }

    /// The local variables that a block may store to, each as often as it is named.
    pub(super) fn assigned(&self, block: &Block) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        each(block, &mut |statement| match statement {
            Statement::Store { pointer, .. } | Statement::Atomic { pointer, .. } => {
                found.extend(self.variable_behind(*pointer));
            }
            Statement::Call { arguments, .. } => {
                found.extend(arguments.iter().filter_map(|argument| self.variable_behind(*argument)));
            }
            _ => {}
        });
        found
    }

    fn variable_behind(&self, pointer: Handle<Expression>) -> Option<(usize, usize)> {
        let mut at = pointer;
        loop {
            match self.frame().function.expressions[at] {
                Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => at = base,
                Expression::LocalVariable(local) => return Some((self.depth(), local.index())),
                Expression::FunctionArgument(argument) => {
                    return match self.frame().arguments.get(argument as usize)? {
                        Value::Pointer(Place { root: Root::Local { depth, variable, .. }, .. }) => {
                            Some((*depth, *variable))
                        }
                        _ => None,
                    };
                }
                _ => return None,
            }
        }
    }
}

/// Where the test at the beginning of a loop stands.
fn head(body: &Block) -> Option<usize> {
    let at = body.iter().position(|statement| !matches!(statement, Statement::Emit(_)))?;
    matches!(body[at], Statement::If { .. }).then_some(at)
}

fn loaded(expressions: &naga::Arena<Expression>, value: Handle<Expression>) -> Option<Handle<LocalVariable>> {
    let Expression::Load { pointer } = expressions[value] else { return None };
    match expressions[pointer] {
        Expression::LocalVariable(local) => Some(local),
        _ => None,
    }
}

fn each<'b>(block: &'b Block, act: &mut impl FnMut(&'b Statement)) {
    for statement in block.iter() {
        act(statement);
        match statement {
            Statement::Block(inner) => each(inner, act),
            Statement::If { accept, reject, .. } => {
                each(accept, act);
                each(reject, act);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| each(&case.body, act)),
            Statement::Loop { body, continuing, .. } => {
                each(body, act);
                each(continuing, act);
            }
            _ => {}
        }
    }
}

fn has_return(block: &Block) -> bool {
    let mut found = false;
    each(block, &mut |statement| found |= matches!(statement, Statement::Return { .. } | Statement::Kill));
    found
}

/// Whether some invocation may leave these statements early. A `break` or `continue` counts wherever it stands.
fn leaves<'b>(statements: impl Iterator<Item = &'b Statement>) -> bool {
    let is = |statement: &Statement| {
        matches!(
            statement,
            Statement::Return { .. } | Statement::Kill | Statement::Break | Statement::Continue
        )
    };
    let inside = |statement: &'b Statement| {
        let mut found = is(statement);
        let mut look = |block: &'b Block| each(block, &mut |statement| found |= is(statement));
        match statement {
            Statement::Block(block) => look(block),
            Statement::If { accept, reject, .. } => {
                look(accept);
                look(reject);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| look(&case.body)),
            // Its own ends are no leaving of this one, and its returns are.
            Statement::Loop { body, .. } => found |= has_return(body),
            _ => {}
        }
        found
    };
    let mut statements = statements;
    statements.any(inside)
}
