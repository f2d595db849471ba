//! Small simplifications of the tree before its shapes are found: tested by all of `tests/kernel`.

use std::collections::HashMap;

use super::{
    super::number::Num,
    ir::{Id, Op, Program, Stmt},
};

/// Drops the zero at the start of a function for variables that are always set before they are read, so that each
/// lives only where it is used.
pub(super) fn drop_dead_inits(program: &mut Program) {
    let mut accesses = vec![Vec::new(); program.vars.len()];
    let mut position = 0;
    let body = std::mem::take(&mut program.body);
    collect(&body, &mut position, &mut accesses);
    let dead: Vec<Option<u32>> = accesses.iter().map(|list| dead_init(list)).collect();
    let mut position = 0;
    program.body = keep(body, &mut position, &dead);
}

#[derive(Clone, Copy)]
struct Access {
    position: u32,
    sets: bool,
    /// Positions of the list that it is in.
    list: (u32, u32),
}

fn collect(list: &[Stmt], position: &mut u32, accesses: &mut [Vec<Access>]) {
    let start = *position;
    let end = start + list.iter().map(Stmt::weight).sum::<usize>() as u32;
    for stmt in list {
        if let Some(var) = stmt.variable() {
            let sets = !matches!(stmt, Stmt::Let(_, Op::Get(_)));
            accesses[var.at()].push(Access { position: *position, sets, list: (start, end) });
        }
        *position += 1;
        for list in stmt.lists() {
            collect(list, position, accesses);
        }
    }
}

/// The position of a first store that no read can see: the next access stores too, and all others are in the same
/// list behind it.
fn dead_init(accesses: &[Access]) -> Option<u32> {
    let (first, rest) = accesses.split_first()?;
    let next = match rest.first() {
        Some(next) => next,
        None => return first.sets.then_some(first.position),
    };
    let (start, end) = next.list;
    let inside = rest.iter().all(|access| (start..end).contains(&access.position));
    (first.sets && next.sets && inside).then_some(first.position)
}

fn keep(list: Vec<Stmt>, position: &mut u32, dead: &[Option<u32>]) -> Vec<Stmt> {
    let mut kept = Vec::with_capacity(list.len());
    for stmt in list {
        let here = *position;
        *position += 1;
        kept.push(match stmt {
            Stmt::Set(var, _) if dead[var.at()] == Some(here) => continue,
            Stmt::If { condition, accept, reject } => {
                let accept = keep(accept, position, dead);
                Stmt::If { condition, accept, reject: keep(reject, position, dead) }
            }
            Stmt::Block { label, body } => Stmt::Block { label, body: keep(body, position, dead) },
            Stmt::Loop { label, body } => Stmt::Loop { label, body: keep(body, position, dead) },
            stmt => stmt,
        });
    }
    kept
}

/// Computes once what a list computes several times: what is known of an index then holds wherever it is used. Not over
/// barriers, since a value would have to be kept over them, and not from an outer list, which would keep it over a loop.
pub(super) fn unify(program: &mut Program) {
    let mut body = std::mem::take(&mut program.body);
    let mut same = HashMap::new();
    unify_list(program, &mut body, &mut same);
    program.body = body;
}

/// `same`: the value that stands for one that was dropped.
fn unify_list(program: &Program, list: &mut Vec<Stmt>, same: &mut HashMap<Id, Id>) {
    let mut known: HashMap<(Op, Num), Id> = HashMap::new();
    list.retain_mut(|stmt| {
        stmt.each_use(&mut |id| *id = same.get(id).copied().unwrap_or(*id));
        match stmt {
            // A variable may have been set in between.
            Stmt::Let(_, Op::Get(_)) => {}
            Stmt::Let(id, op) => {
                let first = *known.entry((*op, program.num(*id))).or_insert(*id);
                if first != *id {
                    same.insert(*id, first);
                    return false;
                }
            }
            Stmt::If { accept, reject, .. } => {
                unify_list(program, accept, same);
                unify_list(program, reject, same);
            }
            Stmt::Block { body, .. } | Stmt::Loop { body, .. } => unify_list(program, body, same),
            _ => {}
        }
        if stmt.any(&mut |stmt| matches!(stmt, Stmt::Barrier(_))) {
            known.clear();
        }
        true
    });
}
