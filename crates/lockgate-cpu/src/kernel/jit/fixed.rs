//! Does each workgroup do the same to its own memory?
//!
//! Where that hangs on nothing but numbers of invocations in their workgroup and what the launch is given, a workgroup in
//! which nothing goes wrong speaks for all of them, and the others need not tell of it. What counts is every access and
//! every barrier: whether it comes, and which element it is. Values that are stored do not.
//!
//! Begins with everything being the same, and walks until nothing more turns out not to be. Where that is too much, but
//! would not be if some conditions came out alike, workgroups in which they do speak for each other (`class.rs`).

use super::{
    super::number::Num,
    class::{self, CONDITIONS_MAX},
    ir::{Builtin, Id, Memory, Op, Place, Program, Stmt},
};

/// More conditions than this are not tried.
const TRIED_MAX: usize = 96;

/// On what it hangs that workgroups do the same.
#[derive(Default)]
pub(super) struct Fixed {
    /// The slots whose bytes must not change during a launch.
    pub(super) slots: Vec<u32>,
    /// What writes the class of a workgroup, if not all are of one.
    pub(super) class: Option<Program>,
}

struct Walk<'a> {
    program: &'a Program,
    /// Conditions that are taken to be the same.
    conditions: &'a [Id],
    ids: Vec<bool>,
    vars: Vec<bool>,
    /// Labels to which some invocations may leave in one workgroup and not in another.
    labels: Vec<bool>,
    /// Slots whose bytes it hangs on, if it may hang on any.
    slots: Option<Vec<u32>>,
    fixed: bool,
    changed: bool,
}

/// When workgroups do the same; nothing if they may differ however it comes.
pub(super) fn find(program: &Program) -> Option<Fixed> {
    match slots_of(program, &[]) {
        Some(slots) => Some(Fixed { slots, class: None }),
        None => find_classes(program),
    }
}

fn find_classes(program: &Program) -> Option<Fixed> {
    let ahead = class::follow(program)?;
    let same = Walk::of(program, &[], Some(Vec::new())).ids;
    let ids = (0..program.ids.len()).map(|id| Id(id as u32));
    let conditions = ids.filter(|id| program.num(*id) == Num::Bool && !same[id.at()] && ahead.knows(*id));
    let mut conditions: Vec<Id> = conditions.collect();
    if conditions.len() > TRIED_MAX {
        return None;
    }
    let mut slots = slots_of(program, &conditions)?;
    // What follows from others comes behind them, and is enough without them.
    let mut at = 0;
    while at < conditions.len() {
        let without: Vec<Id> = [&conditions[..at], &conditions[at + 1..]].concat();
        match slots_of(program, &without) {
            Some(fewer) => (slots, conditions) = (fewer, without),
            None => at += 1,
        }
    }
    if conditions.len() > CONDITIONS_MAX {
        return None;
    }
    let (class, read) = ahead.program(program, &conditions);
    slots.extend(read);
    Some(Fixed { slots, class: Some(class) })
}

/// The slots on whose bytes it hangs that workgroups do the same if conditions come out alike.
fn slots_of(program: &Program, conditions: &[Id]) -> Option<Vec<u32>> {
    let ways = [None, Some(Vec::new())].into_iter();
    let mut walks = ways.map(|slots| Walk::of(program, conditions, slots));
    walks.find(|walk| walk.fixed).map(|walk| walk.slots.unwrap_or_default())
}

impl<'a> Walk<'a> {
    fn of(program: &'a Program, conditions: &'a [Id], slots: Option<Vec<u32>>) -> Self {
        let mut walk = Walk {
            program,
            conditions,
            ids: vec![true; program.ids.len()],
            vars: vec![true; program.vars.len()],
            labels: vec![true; program.labels as usize],
            slots,
            fixed: true,
            changed: true,
        };
        while std::mem::take(&mut walk.changed) {
            walk.list(&walk.program.body, true);
        }
        walk
    }

    fn list(&mut self, list: &[Stmt], control: bool) {
        for stmt in list {
            self.stmt(stmt, control);
        }
    }

    /// `control`: each workgroup comes by here in the same way.
    fn stmt(&mut self, stmt: &Stmt, control: bool) {
        match stmt {
            Stmt::Let(id, op) => {
                let same = self.op(op);
                self.define(*id, same);
            }
            Stmt::Set(var, id) => {
                let same = control && self.ids[id.at()];
                self.changed |= self.vars[var.at()] && !same;
                self.vars[var.at()] &= same;
            }
            Stmt::Load { place, into, .. } => {
                self.touch(place, control);
                let same = self.load(place);
                into.iter().for_each(|(_, id)| self.define(*id, same));
            }
            Stmt::Store { place, .. } | Stmt::Atomic { place, .. } => self.touch(place, control),
            Stmt::If { condition, accept, reject } => {
                let control = control && self.ids[condition.at()];
                self.list(accept, control);
                self.list(reject, control);
            }
            Stmt::Block { label, body } | Stmt::Loop { label, body } => {
                // Who has left is missing in all that the label is around of.
                self.list(body, control && self.labels[label.at()]);
            }
            Stmt::Exit(label) => {
                self.changed |= self.labels[label.at()] && !control;
                self.labels[label.at()] &= control;
            }
            Stmt::Barrier(_) => self.fixed &= control,
            Stmt::Image { .. } | Stmt::Subgroup { .. } | Stmt::Zero(_) => {}
        }
        if matches!(stmt, Stmt::Atomic { .. } | Stmt::Image { .. } | Stmt::Subgroup { .. }) {
            stmt.defines().into_iter().for_each(|id| self.define(id, false));
        }
    }

    fn define(&mut self, id: Id, same: bool) {
        let same = same || self.conditions.contains(&id);
        self.changed |= self.ids[id.at()] && !same;
        self.ids[id.at()] &= same;
    }

    fn op(&self, op: &Op) -> bool {
        let whole = match op {
            Op::Builtin(Builtin::GlobalId(_) | Builtin::GroupId(_)) => false,
            Op::Get(var) => self.vars[var.at()],
            _ => true,
        };
        whole && op.operands().all(|id| self.ids[id.at()])
    }

    fn leads_alike(&self, place: &Place) -> bool {
        let indices = place.indices.iter().map(|index| index.id);
        indices.chain(place.memory.element()).all(|id| self.ids[id.at()])
    }

    fn touch(&mut self, place: &Place, control: bool) {
        if place.memory == Memory::Shared {
            self.fixed &= control && self.leads_alike(place);
        }
    }

    /// Whether a load gives the same in each workgroup.
    fn load(&mut self, place: &Place) -> bool {
        let same = self.leads_alike(place);
        match place.memory {
            Memory::Immediates | Memory::Constants => same,
            Memory::Slot { slot, readonly: true } => {
                let Some(slots) = &mut self.slots else { return false };
                if same && !slots.contains(&slot) {
                    slots.push(slot);
                }
                same
            }
            _ => false,
        }
    }
}

/// The program without what tells of workgroup memory.
pub(super) fn untold(program: &Program) -> Program {
    let mut program = program.clone();
    forget(&mut program.body);
    program
}

fn forget(list: &mut [Stmt]) {
    for stmt in list {
        match stmt {
            Stmt::Load { place, .. } | Stmt::Store { place, .. } | Stmt::Atomic { place, .. }
                if place.memory == Memory::Shared =>
            {
                place.site = None;
            }
            Stmt::If { accept, reject, .. } => {
                forget(accept);
                forget(reject);
            }
            Stmt::Block { body, .. } | Stmt::Loop { body, .. } => forget(body),
            _ => {}
        }
    }
}
