//! Over which invocations does a region run, and what is known in each part of them?
//!
//! A comparison of an invocation's number with a constant splits the invocations of a workgroup where its outcome changes.
//! In most parts it holds for all or for none, so that nothing is masked; parts in which nothing happens are left out.

use super::{
    super::number::Num,
    ir::{Binary, Builtin, Id, Op, Program, Stmt},
    plan::Region,
};

/// Parts of a region, which each become code of their own.
const PARTS_MAX: usize = 3;
/// Statements of a region that is worth several parts.
const WEIGHT_MAX: usize = 40;

/// A comparison and its outcome.
pub(super) type Known = (Id, bool);

/// Invocations from `start` up to `end`, and what holds for all of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Comparisons whose outcome is the same.
    pub(super) known: Vec<Known>,
    /// Values that are the number of the invocation and what is added to it, never less than zero.
    pub(super) places: Vec<Place>,
}

/// See [`Range::places`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) id: Id,
    pub(super) added: i64,
    /// What it is below.
    pub(super) end: u32,
}

/// A comparison of the number of an invocation.
struct Test {
    id: Id,
    op: Binary,
    with: u32,
}

impl Test {
    fn holds(&self, number: u32) -> bool {
        match self.op {
            Binary::Less => number < self.with,
            Binary::LessEqual => number <= self.with,
            Binary::Greater => number > self.with,
            Binary::GreaterEqual => number >= self.with,
            _ => number == self.with,
        }
    }

    /// The outcome for all numbers of a range, if it is one.
    fn outcome(&self, start: u32, end: u32) -> Option<bool> {
        let outside = !(start..end).contains(&self.with);
        let same = self.holds(start) == self.holds(end - 1);
        (same && (self.op != Binary::Equal || outside)).then(|| self.holds(start))
    }
}

/// The values that are the number of an invocation in its workgroup.
pub(super) fn numbers(program: &Program) -> Vec<bool> {
    let mut numbers = vec![false; program.ids.len()];
    let row = program.workgroup_size[1..] == [1, 1];
    let mut visit = |stmt: &Stmt| {
        if let Stmt::Let(id, Op::Builtin(builtin)) = stmt {
            numbers[id.at()] |= match builtin {
                Builtin::LocalIndex => true,
                Builtin::LocalId(0) => row,
                _ => false,
            };
        }
        false
    };
    program.body.iter().for_each(|stmt| {
        stmt.any(&mut visit);
    });
    numbers
}

/// The parts of a region in which something happens. `idle`: whether a part can be left out, from what is known in it.
pub(super) fn find(
    region: &Region,
    program: &Program,
    numbers: &[bool],
    idle: &dyn Fn(&[Known]) -> bool,
) -> Vec<Range> {
    let end = program.invocations();
    let tests = tests(region, program, numbers);
    let mut cuts: Vec<u32> = vec![0, end];
    for test in &tests {
        // Invocations go by fours.
        let around = [test.with, test.with.saturating_add(1)];
        cuts.extend(around.map(|at| at & !3));
        cuts.extend(around.map(|at| at.saturating_add(3) & !3));
    }
    cuts.retain(|cut| *cut <= end);
    cuts.sort_unstable();
    cuts.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for pair in cuts.windows(2) {
        let outcome = |test: &Test| Some((test.id, test.outcome(pair[0], pair[1])?));
        let known: Vec<_> = tests.iter().filter_map(outcome).collect();
        match ranges.last_mut().filter(|last| last.known == known) {
            Some(last) => last.end = pair[1],
            None => ranges.push(Range { start: pair[0], end: pair[1], known, places: Vec::new() }),
        }
    }
    ranges.retain(|range| !idle(&range.known));
    let weight: usize = region.body.iter().map(Stmt::weight).sum();
    if let [first, .., last] = &ranges[..]
        && (ranges.len() > PARTS_MAX || weight > WEIGHT_MAX)
    {
        ranges = vec![Range { start: first.start, end: last.end, known: Vec::new(), places: Vec::new() }];
    }
    // Lanes that stand for nobody have numbers beyond the end.
    if end.is_multiple_of(4) {
        ranges.iter_mut().for_each(|range| find_places(region, program, numbers, range));
    }
    ranges
}

/// Notes the numbers of invocations with something added or taken away.
fn find_places(region: &Region, program: &Program, numbers: &[bool], range: &mut Range) {
    let mut added: Vec<(Id, i64)> = Vec::new();
    let mut visit = |id: Id, op: &Op| {
        let of = |id: Id| {
            if numbers[id.at()] { Some(0) } else { added.iter().rfind(|at| at.0 == id).map(|at| at.1) }
        };
        let more = |id: Id| program.constant(id).map(|bits| i64::from(bits as u32));
        let sum = match *op {
            Op::Builtin(_) => of(id),
            Op::Binary(Binary::Add, a, b) => {
                of(a).zip(more(b)).or_else(|| of(b).zip(more(a))).map(|(place, more)| place + more)
            }
            Op::Binary(Binary::Subtract, a, b) => of(a).zip(more(b)).map(|(place, less)| place - less),
            _ => None,
        };
        let Some(sum) = sum.filter(|_| program.num(id) == Num::U32) else { return };
        added.push((id, sum));
        if let (0.., Ok(end)) = (i64::from(range.start) + sum, u32::try_from(i64::from(range.end) + sum)) {
            range.places.push(Place { id, added: sum, end });
        }
    };
    region.again.iter().for_each(|(id, op)| visit(*id, op));
    for stmt in &region.body {
        stmt.any(&mut |stmt| {
            if let Stmt::Let(id, op) = stmt {
                visit(*id, op);
            }
            false
        });
    }
}

fn tests(region: &Region, program: &Program, numbers: &[bool]) -> Vec<Test> {
    let mut ops = region.again.clone();
    let mut conditions = Vec::new();
    for stmt in &region.body {
        stmt.any(&mut |stmt| {
            match stmt {
                Stmt::Let(id, op) => ops.push((*id, *op)),
                Stmt::If { condition, .. } => conditions.push(*condition),
                _ => {}
            }
            false
        });
    }
    let test = |(id, op): (Id, Op)| {
        let Op::Binary(op, number, with) = op else { return None };
        let compares = matches!(
            op,
            Binary::Less | Binary::LessEqual | Binary::Greater | Binary::GreaterEqual | Binary::Equal
        );
        let wanted = compares && numbers[number.at()] && conditions.contains(&id);
        let with = program.constant(with).filter(|_| wanted)? as u32;
        Some(Test { id, op, with })
    };
    ops.into_iter().filter_map(test).collect()
}
