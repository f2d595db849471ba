//! Which loops end soon, and how far do their counters go?
//!
//! A loop that counts a variable from one constant to another by a third needs no look at whether the launch is to be
//! stopped, and inside it the counter needs no clamp. A small one can be emitted pass after pass, which makes its counter a
//! constant. Only the plain form of `for` is recognized.

use std::collections::HashMap;

use super::{
    super::number::Num,
    ir::{Binary, Id, Label, Op, Program, Stmt, Var},
    range,
    shape::Shapes,
};

/// Passes through a loop and those inside it that need no look at the stop flag.
const PASSES_MAX: u64 = 4096;

/// Statements that a loop may become when it is emitted pass after pass.
const UNROLLED_MAX: u64 = 500;

#[derive(Default)]
pub(super) struct Counted {
    /// Loops that end soon.
    short: Vec<Label>,
    /// Loops that nothing else leaves than their test: how many passes, which statement of the body is the test, and whether to
    /// emit pass after pass.
    plain: Vec<(Label, u64, usize, bool)>,
    /// Values that are below a constant, as unsigned integers.
    below: HashMap<Id, u32>,
}

impl Counted {
    pub(super) fn is_short(&self, label: Label) -> bool {
        self.short.contains(&label)
    }

    /// The passes of a loop that may be emitted one after the other, and its test, which always holds.
    pub(super) fn unrolled(&self, label: Label) -> Option<(u64, usize)> {
        self.plain
            .iter()
            .find(|(own, ..)| *own == label)
            .filter(|plain| plain.3)
            .map(|plain| (plain.1, plain.2))
    }

    /// The passes of a loop without loops inside that ends soon and that nothing else leaves than its test, and the test.
    pub(super) fn plain(&self, label: Label) -> Option<(u64, usize)> {
        let plain = self.plain.iter().find(|(own, ..)| *own == label);
        plain.filter(|_| self.is_short(label)).map(|plain| (plain.1, plain.2))
    }

    /// Whether a value is always below `count`.
    pub(super) fn is_below(&self, id: Id, count: u32) -> bool {
        self.below.get(&id).is_some_and(|end| *end <= count)
    }
}

pub(super) fn find(program: &Program, shapes: &Shapes) -> Counted {
    let mut counted = Counted::default();
    passes(program, shapes, &program.body, &mut counted);
    range::find(program, &mut counted.below);
    counted
}

/// About how many statements an invocation executes at most, if that is known.
pub(super) fn weight(program: &Program, shapes: &Shapes) -> Option<u64> {
    weight_of(program, shapes, &program.body)
}

fn weight_of(program: &Program, shapes: &Shapes, list: &[Stmt]) -> Option<u64> {
    let mut total = 0u64;
    for (i, stmt) in list.iter().enumerate() {
        let mut weight = 0u64;
        for inner in stmt.lists() {
            weight = weight.checked_add(weight_of(program, shapes, inner)?)?;
        }
        if let Stmt::Loop { label, body } = stmt {
            weight = weight.checked_mul(counter(program, shapes, &list[..i], *label, body)?.passes)?;
        }
        total = total.checked_add(weight.checked_add(own_weight(program, stmt))?)?;
    }
    Some(total)
}

/// About what a statement costs beside those inside, in simple ones. What calls Rust costs many.
fn own_weight(program: &Program, stmt: &Stmt) -> u64 {
    match stmt {
        Stmt::Image { .. } => 60,
        Stmt::Let(_, Op::Call(..)) | Stmt::Atomic { .. } => 15,
        Stmt::Load { into: scalars, .. } | Stmt::Store { from: scalars, .. } => scalars.len() as u64,
        Stmt::Zero(array) => u64::from(program.arrays[*array as usize].size / 16),
        _ => 1,
    }
}

/// A loop from `start` up to below `end`.
struct Counter {
    var: Var,
    end: u32,
    passes: u64,
    /// The statements between the test and the step.
    inside: std::ops::Range<usize>,
}

/// The most passes that a list takes through loops, all told; `None` if that is not known.
fn passes(program: &Program, shapes: &Shapes, list: &[Stmt], counted: &mut Counted) -> Option<u64> {
    let mut total = Some(0u64);
    for (i, stmt) in list.iter().enumerate() {
        let mut inside = Some(0u64);
        for inner in stmt.lists() {
            let inner = passes(program, shapes, inner, counted);
            inside = inside.zip(inner).and_then(|(a, b)| a.checked_add(b));
        }
        if let Stmt::Loop { label, body } = stmt {
            let counter = counter(program, shapes, &list[..i], *label, body);
            let plain = inside == Some(0) && !shapes.divergent[label.at()] && stays(*label, body);
            if let Some(counter) = counter.as_ref().filter(|_| plain) {
                let passes = counter.passes - 1;
                let weight = body.iter().map(Stmt::weight).sum::<usize>() as u64;
                if passes > 0 {
                    let small = passes.saturating_mul(weight) <= UNROLLED_MAX;
                    counted.plain.push((*label, passes, counter.inside.start - 1, small));
                }
            }
            inside = counter.as_ref().zip(inside).and_then(|(counter, n)| counter.passes.checked_mul(n + 1));
            if inside.is_some_and(|n| n <= PASSES_MAX) {
                counted.short.push(*label);
            }
            if let Some(counter) = counter {
                body[counter.inside.clone()]
                    .iter()
                    .for_each(|stmt| find_below(program, stmt, &counter, counted));
            }
        }
        total = total.zip(inside).and_then(|(a, b)| a.checked_add(b));
    }
    total
}

/// Whether all that leaves the body of a loop leaves the loop alone.
fn stays(label: Label, body: &[Stmt]) -> bool {
    let (mut inside, mut exits) = (vec![label], Vec::new());
    for stmt in body {
        stmt.any(&mut |stmt| {
            match stmt {
                Stmt::Block { label, .. } => inside.push(*label),
                Stmt::Exit(label) => exits.push(*label),
                _ => {}
            }
            false
        });
    }
    exits.iter().all(|label| inside.contains(label))
}

/// Notes the values of a counter inside its loop.
fn find_below(program: &Program, stmt: &Stmt, counter: &Counter, counted: &mut Counted) {
    let end = match *stmt {
        Stmt::Let(_, Op::Get(var)) if var == counter.var => Some(counter.end),
        Stmt::Let(_, Op::Bits(a) | Op::Convert(a)) => counted.below.get(&a).copied(),
        _ => None,
    };
    if let (Stmt::Let(id, _), Some(end)) = (stmt, end)
        && matches!(program.num(*id), Num::I32 | Num::U32)
    {
        counted.below.insert(*id, end);
    }
    stmt.lists().flatten().for_each(|stmt| find_below(program, stmt, counter, counted));
}

fn counter(
    program: &Program,
    shapes: &Shapes,
    before: &[Stmt],
    label: Label,
    body: &[Stmt],
) -> Option<Counter> {
    let computed = |id: Id| {
        body.iter().find_map(|stmt| match stmt {
            Stmt::Let(found, op) if *found == id => Some(*op),
            _ => None,
        })
    };
    let leaves = |list: &[Stmt]| matches!(list, [Stmt::Exit(to)] if *to == label);
    // The test: all that comes before it computes values.
    let test = body.iter().position(|stmt| !matches!(stmt, Stmt::Let(..)))?;
    let Stmt::If { condition, accept, reject } = &body[test] else { return None };
    let Op::Binary(Binary::Less, left, right) = computed(*condition)? else { return None };
    let (Op::Get(var), Some(end)) = (computed(left)?, program.constant(right)) else { return None };
    if !accept.is_empty() || !leaves(reject) || !shapes.vars[var.at()].is_scalar() {
        return None;
    }
    // The only store: the variable and a constant.
    let sets = |stmt: &Stmt| stmt.any(&mut |stmt| matches!(stmt, Stmt::Set(set, _) if *set == var));
    let step_at = body.iter().position(sets)?;
    let Stmt::Set(_, next) = body[step_at] else { return None };
    let Op::Binary(Binary::Add, old, step) = computed(next)? else { return None };
    let (Op::Get(stepped), Some(step)) = (computed(old)?, program.constant(step)) else { return None };
    if stepped != var || body[step_at + 1..].iter().any(sets) || step_at < test {
        return None;
    }
    // The start: the last statement before the loop that touches the variable.
    let touches = |stmt: &&Stmt| stmt.any(&mut |stmt| stmt.variable() == Some(var));
    let Stmt::Set(_, start) = before.iter().rev().find(touches)? else { return None };
    let start = program.constant(*start)?;
    let limit = u64::from(if program.vars[var.at()] == Num::I32 { i32::MAX as u32 } else { u32::MAX });
    let integer = matches!(program.vars[var.at()], Num::I32 | Num::U32);
    if !integer || step == 0 || step > limit || start > limit || end > limit - step {
        return None;
    }
    let passes = end.saturating_sub(start).div_ceil(step) + 1;
    Some(Counter { var, end: end as u32, passes, inside: test + 1..step_at })
}
