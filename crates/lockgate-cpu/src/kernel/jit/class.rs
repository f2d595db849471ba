//! Which workgroups do the same to their own memory as one that has told of it?
//!
//! Where that hangs on conditions besides (`fixed.rs`), such as that the number in the grid is below a count, workgroups in
//! which each invocation finds them alike do the same. Conditions that follow from numbers of invocations and from memory
//! that only is read are known before a workgroup runs: here they become a small program of their own, which writes for
//! each invocation a word with a bit for each condition. The words of a workgroup are its class.
//!
//! A condition that follows so is the same whenever an invocation comes by, as what changes in a loop is not followed.
//! Tested by `tests/kernel/classes.rs`.

use super::{
    super::number::Num,
    ir::{Binary, Bound, Builtin, Id, Index, Info, Label, Memory, Op, Place, Program, Stmt, Var},
};

/// Larger kernels are not looked at.
const WEIGHT_MAX: usize = 4000;
/// Bits of a word.
pub(super) const CONDITIONS_MAX: usize = 32;

/// What is known of a kernel before it runs.
pub(super) struct Ahead {
    /// The kernel's values and those that are made here.
    ids: Vec<Info>,
    /// What computes them, without anything around.
    body: Vec<Stmt>,
    /// For each value that is known, the one that is computed for it.
    known: Vec<Option<Id>>,
    /// What variables hold at this point of the walk, if it is known.
    vars: Vec<Option<Id>>,
}

/// Follows what is known of a kernel.
pub(super) fn follow(program: &Program) -> Option<Ahead> {
    if program.body.iter().map(Stmt::weight).sum::<usize>() > WEIGHT_MAX {
        return None;
    }
    let constant = |(id, info): (usize, &Info)| info.constant.map(|_| Id(id as u32));
    let known = program.ids.iter().enumerate().map(constant).collect();
    let (ids, body, vars) = (program.ids.clone(), Vec::new(), vec![None; program.vars.len()]);
    let mut ahead = Ahead { ids, body, known, vars };
    ahead.list(&program.body);
    Some(ahead)
}

impl Ahead {
    /// Whether a value of the kernel is known.
    pub(super) fn knows(&self, id: Id) -> bool {
        self.known[id.at()].is_some()
    }

    fn list(&mut self, list: &[Stmt]) {
        for stmt in list {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(id, Op::Get(var)) => self.known[id.at()] = self.vars[var.at()],
            Stmt::Let(_, op) if !is_followed(op) => {}
            Stmt::Let(..) => self.take(stmt.clone()),
            Stmt::Set(var, id) => self.vars[var.at()] = self.known[id.at()],
            Stmt::Load { place, into, uniform: false } if is_still(place.memory) => {
                let place = Place { site: None, ..place.clone() };
                self.take(Stmt::Load { place, into: into.clone(), uniform: false });
            }
            Stmt::If { condition, accept, reject } => {
                let before = self.vars.clone();
                self.list(accept);
                let accepted = std::mem::replace(&mut self.vars, before);
                self.list(reject);
                self.join(*condition, &accepted);
            }
            // Who has left has not come by what is set behind.
            Stmt::Block { label, body } => {
                self.list(body);
                if body.iter().any(|stmt| stmt.any(&mut |stmt| leaves(stmt, *label))) {
                    self.forget(body);
                }
            }
            Stmt::Loop { body, .. } => {
                self.forget(body);
                self.list(body);
                self.forget(body);
            }
            _ => {}
        }
    }

    /// Takes over a statement if all that it uses is known.
    fn take(&mut self, mut stmt: Stmt) {
        if stmt.uses().into_iter().all(|id| self.knows(id)) {
            stmt.each_use(&mut |id| *id = self.known[id.at()].unwrap_or(*id));
            stmt.defines().into_iter().for_each(|id| self.known[id.at()] = Some(id));
            self.body.push(stmt);
        }
    }

    /// Variables hold what they do where the condition holds, and now what they do where it does not.
    fn join(&mut self, condition: Id, accepted: &[Option<Id>]) {
        for (var, accepted) in accepted.iter().enumerate() {
            let rejected = self.vars[var];
            if *accepted == rejected {
                continue;
            }
            self.vars[var] = match (*accepted, rejected) {
                (Some(one), Some(other)) => self.known[condition.at()].map(|condition| {
                    let num = self.ids[one.at()].num;
                    self.compute(num, Op::Select(condition, one, other))
                }),
                _ => None,
            };
        }
    }

    /// Nothing is known of variables that are set in a list.
    fn forget(&mut self, list: &[Stmt]) {
        let mut forget = |stmt: &Stmt| {
            if let Stmt::Set(Var(var), _) = stmt {
                self.vars[*var as usize] = None;
            }
            false
        };
        list.iter().for_each(|stmt| {
            stmt.any(&mut forget);
        });
    }

    fn make(&mut self, num: Num, constant: Option<u64>) -> Id {
        let id = Id(self.ids.len() as u32);
        self.ids.push(Info { num, constant });
        self.known.push(Some(id));
        id
    }

    fn compute(&mut self, num: Num, op: Op) -> Id {
        let id = self.make(num, None);
        self.body.push(Stmt::Let(id, op));
        id
    }

    /// The program that writes the class of a workgroup to where its own memory would be, and the slots that it reads.
    pub(super) fn program(mut self, program: &Program, conditions: &[Id]) -> (Program, Vec<u32>) {
        let zero = self.make(Num::U32, Some(0));
        let mut word = zero;
        let conditions: Vec<Id> = conditions.iter().filter_map(|id| self.known[id.at()]).collect();
        for (bit, condition) in conditions.into_iter().enumerate() {
            let one = self.make(Num::U32, Some(1 << bit));
            let own = self.compute(Num::U32, Op::Select(condition, one, zero));
            word = self.compute(Num::U32, Op::Binary(Binary::Or, word, own));
        }
        let lane = self.compute(Num::U32, Op::Builtin(Builtin::LocalIndex));
        let index = Index { id: lane, stride: 4, bound: Bound::Known(program.invocations()) };
        let place = Place { memory: Memory::Shared, offset: 0, indices: vec![index], site: None };
        self.body.push(Stmt::Store { place, from: vec![(0, word)] });
        let body = needed(self.body, self.ids.len());
        let slots = body.iter().filter_map(|stmt| match stmt {
            Stmt::Load { place: Place { memory: Memory::Slot { slot, .. }, .. }, .. } => Some(*slot),
            _ => None,
        });
        let slots = slots.collect();
        let program = Program {
            ids: self.ids,
            constants: program.constants.clone(),
            body,
            workgroup_size: program.workgroup_size,
            shared_bytes: 4 * program.invocations(),
            immediate_bytes: program.immediate_bytes,
            ..Program::default()
        };
        (program, slots)
    }
}

/// Whether a value is known if what it is computed from is.
fn is_followed(op: &Op) -> bool {
    !matches!(op, Op::Builtin(Builtin::SubgroupId | Builtin::SubgroupLane) | Op::LengthAt(..))
}

fn is_still(memory: Memory) -> bool {
    matches!(memory, Memory::Immediates | Memory::Constants | Memory::Slot { readonly: true, .. })
}

fn leaves(stmt: &Stmt, label: Label) -> bool {
    matches!(stmt, Stmt::Exit(to) if *to == label)
}

/// Statements without those whose values nobody uses.
fn needed(body: Vec<Stmt>, ids: usize) -> Vec<Stmt> {
    let mut used = vec![false; ids];
    let mut kept = Vec::new();
    for stmt in body.into_iter().rev() {
        let stores = matches!(stmt, Stmt::Store { .. });
        if stores || stmt.defines().iter().any(|id| used[id.at()]) {
            stmt.uses().into_iter().for_each(|id| used[id.at()] = true);
            kept.push(stmt);
        }
    }
    kept.reverse();
    kept
}
