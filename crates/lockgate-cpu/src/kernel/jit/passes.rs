//! Which loops around barriers become one pass after the other?
//!
//! In each pass of a loop that halves a stride from one constant to another the stride is a constant: the invocations
//! for which `number < stride` holds are known, indices need no test, and nothing of the counter is left to be computed. Loops without
//! barriers are left to `counted`. Tested by `tests/kernel/barriers.rs`.

use std::collections::HashMap;

use super::{
    super::number::Num,
    ir::{Binary, Id, Info, Label, Op, Program, Stmt, Var},
};

/// Passes that are worth code of their own.
const PASSES_MAX: usize = 16;
/// Statements that the loops of a kernel may become.
const STATEMENTS_MAX: usize = 200;

/// Takes such loops apart.
pub(super) fn unroll(program: &mut Program) {
    let body = std::mem::take(&mut program.body);
    let mut unroller = Unroller { program, left: STATEMENTS_MAX };
    let body = unroller.list(body);
    program.body = body;
}

struct Unroller<'p> {
    program: &'p mut Program,
    /// Statements that may still be added.
    left: usize,
}

/// A loop whose passes are known.
struct Known {
    var: Var,
    /// What the counter holds in each pass, and behind the loop.
    values: Vec<u64>,
    /// The statement of the body that is the test, and the one that steps.
    test: usize,
    step: usize,
}

impl Unroller<'_> {
    fn list(&mut self, list: Vec<Stmt>) -> Vec<Stmt> {
        let mut result: Vec<Stmt> = Vec::new();
        for stmt in list {
            match stmt {
                Stmt::Loop { label, body } => match self.known(&result, label, &body) {
                    Some(known) => self.take_apart(&known, &body, &mut result),
                    None => result.push(Stmt::Loop { label, body: self.list(body) }),
                },
                Stmt::Block { label, body } => result.push(Stmt::Block { label, body: self.list(body) }),
                Stmt::If { condition, accept, reject } => {
                    let accept = self.list(accept);
                    result.push(Stmt::If { condition, accept, reject: self.list(reject) });
                }
                stmt => result.push(stmt),
            }
        }
        result
    }

    /// Finds the values of a counter: set to a constant before the loop, tested once and stepped once.
    fn known(&self, before: &[Stmt], label: Label, body: &[Stmt]) -> Option<Known> {
        let holds = |what: &dyn Fn(&Stmt) -> bool| body.iter().any(|stmt| stmt.any(&mut |stmt| what(stmt)));
        if !holds(&|stmt| matches!(stmt, Stmt::Barrier(_))) {
            return None;
        }
        let test = body.iter().position(|stmt| !matches!(stmt, Stmt::Let(..)))?;
        let Stmt::If { condition, accept, reject } = &body[test] else { return None };
        if !accept.is_empty() || !matches!(reject[..], [Stmt::Exit(to)] if to == label) {
            return None;
        }
        let rest = &body[test + 1..];
        if rest.iter().any(|stmt| stmt.any(&mut |stmt| leaves(stmt, rest))) {
            return None;
        }
        // The counter: what the test gets and the body sets.
        let counts = |var: Var| rest.iter().position(|stmt| matches!(stmt, Stmt::Set(set, _) if *set == var));
        let (var, step) = body[..test].iter().find_map(|stmt| match stmt {
            Stmt::Let(_, Op::Get(var)) => Some((*var, test + 1 + counts(*var)?)),
            _ => None,
        })?;
        let sets = |stmt: &Stmt| matches!(stmt, Stmt::Set(set, _) if *set == var);
        let others = body.iter().enumerate().filter(|(at, _)| *at != step);
        let mut others = others.map(|(_, stmt)| stmt);
        if others.any(|stmt| stmt.any(&mut |stmt| sets(stmt))) {
            return None;
        }
        let touches = |stmt: &&Stmt| stmt.any(&mut |stmt| stmt.variable() == Some(var));
        let Stmt::Set(_, start) = before.iter().rev().find(touches)? else { return None };
        let Stmt::Set(_, next) = body[step] else { return None };
        let mut values = vec![self.program.constant(*start)?];
        let weight: usize = body.iter().map(Stmt::weight).sum();
        loop {
            let now = *values.last()?;
            let known = self.evaluate(&body[..step], var, now);
            if *known.get(condition)? == 0 {
                return Some(Known { var, values, test, step });
            }
            if values.len() > PASSES_MAX || values.len() * weight > self.left {
                return None;
            }
            values.push(*known.get(&next)?);
        }
    }

    /// The values that follow from what the counter holds.
    fn evaluate(&self, list: &[Stmt], var: Var, held: u64) -> HashMap<Id, u64> {
        let mut known = HashMap::new();
        for stmt in list {
            if let Stmt::Let(id, op) = stmt {
                let of = |id: Id| self.program.constant(id).or_else(|| known.get(&id).copied());
                if let Some(value) = folded(self.program, *op, (var, held), &of) {
                    known.insert(*id, value);
                }
            }
        }
        known
    }

    fn take_apart(&mut self, known: &Known, body: &[Stmt], result: &mut Vec<Stmt>) {
        let Known { var, values, test, step } = known;
        let weight: usize = body.iter().map(Stmt::weight).sum();
        self.left = self.left.saturating_sub(weight * (values.len() - 1));
        for pair in values.windows(2) {
            let mut copy = Copy { counter: (*var, pair[0]), ids: HashMap::new(), labels: HashMap::new() };
            let mut pass = Vec::new();
            for (at, stmt) in body.iter().enumerate() {
                if at == *step {
                    copy.counter.1 = pair[1];
                } else if at != *test {
                    pass.extend(copy.stmt(self.program, stmt));
                }
            }
            // What stands inside may have become countable.
            result.extend(self.list(pass));
        }
        let last = values.last().copied().unwrap_or_default();
        let last = constant(self.program, self.program.vars[var.at()], last);
        result.push(Stmt::Set(*var, last));
    }
}

/// Whether a statement leaves to a label outside of a list.
fn leaves(stmt: &Stmt, list: &[Stmt]) -> bool {
    let Stmt::Exit(to) = stmt else { return false };
    let opens = |stmt: &Stmt| match stmt {
        Stmt::Block { label, .. } | Stmt::Loop { label, .. } => label == to,
        _ => false,
    };
    !list.iter().any(|stmt| stmt.any(&mut |stmt| opens(stmt)))
}

fn constant(program: &mut Program, num: Num, bits: u64) -> Id {
    program.ids.push(Info { num, constant: Some(bits) });
    Id(program.ids.len() as u32 - 1)
}

/// The value of what is computed from constants and the counter.
fn folded(
    program: &Program,
    op: Op,
    (counter, held): (Var, u64),
    of: &dyn Fn(Id) -> Option<u64>,
) -> Option<u64> {
    match op {
        Op::Get(var) if var == counter => Some(held),
        Op::Binary(op, a, b) => integer(op, program.num(a), of(a)?, of(b)?),
        _ => None,
    }
}

/// An operation on integers of 32 bits.
fn integer(op: Binary, num: Num, a: u64, b: u64) -> Option<u64> {
    if !matches!(num, Num::I32 | Num::U32) {
        return None;
    }
    let (x, y) = (num.int(a), num.int(b));
    let value = match op {
        Binary::Add => x + y,
        Binary::Subtract => x - y,
        Binary::Multiply => x * y,
        Binary::Divide if y > 0 => x / y,
        Binary::Remainder if y > 0 => x % y,
        Binary::And => x & y,
        Binary::ShiftLeft if (b as u32) < 32 => x << (b as u32),
        Binary::ShiftRight if (b as u32) < 32 => x >> (b as u32),
        Binary::Equal => i128::from(x == y),
        Binary::NotEqual => i128::from(x != y),
        Binary::Less => i128::from(x < y),
        Binary::LessEqual => i128::from(x <= y),
        Binary::Greater => i128::from(x > y),
        Binary::GreaterEqual => i128::from(x >= y),
        _ => return None,
    };
    Some(u64::from(value as u32))
}

/// One pass: a copy of the body with values and labels of its own.
struct Copy {
    counter: (Var, u64),
    ids: HashMap<Id, Id>,
    labels: HashMap<u32, Label>,
}

impl Copy {
    fn label(&mut self, program: &mut Program, label: &mut Label) {
        *label = *self.labels.entry(label.0).or_insert_with(|| {
            program.labels += 1;
            Label(program.labels - 1)
        });
    }

    fn list(&mut self, program: &mut Program, list: &[Stmt]) -> Vec<Stmt> {
        list.iter().filter_map(|stmt| self.stmt(program, stmt)).collect()
    }

    /// A statement of the pass; nothing if it has become a constant.
    fn stmt(&mut self, program: &mut Program, stmt: &Stmt) -> Option<Stmt> {
        let mut copy = stmt.clone();
        copy.each_use(&mut |id| *id = self.ids.get(id).copied().unwrap_or(*id));
        if let Stmt::Let(id, op) = &copy
            && let Some(bits) = folded(program, *op, self.counter, &|id| program.constant(id))
        {
            let value = constant(program, program.num(*id), bits);
            self.ids.insert(*id, value);
            return None;
        }
        copy.each_definition(&mut |id| {
            program.ids.push(program.ids[id.at()]);
            let new = Id(program.ids.len() as u32 - 1);
            self.ids.insert(*id, new);
            *id = new;
        });
        match &mut copy {
            Stmt::If { accept, reject, .. } => {
                *accept = self.list(program, accept);
                *reject = self.list(program, reject);
            }
            Stmt::Block { label, body } | Stmt::Loop { label, body } => {
                self.label(program, label);
                *body = self.list(program, body);
            }
            Stmt::Exit(label) => self.label(program, label),
            _ => {}
        }
        Some(copy)
    }
}
