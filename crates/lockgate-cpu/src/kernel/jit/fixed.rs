//! Does each workgroup do the same to its own memory?
//!
//! Where that hangs on nothing but numbers of invocations in their workgroup and what the launch is given, a workgroup in
//! which nothing goes wrong speaks for all of them, and the others need not tell of it. What counts is every access and
//! every barrier: whether it comes, and which element it is. Values that are stored do not.
//!
//! Begins with everything being the same, and walks until nothing more turns out not to be.

use super::ir::{Builtin, Id, Memory, Op, Place, Program, Stmt};

struct Walk {
    ids: Vec<bool>,
    vars: Vec<bool>,
    /// Labels to which some invocations may leave in one workgroup and not in another.
    labels: Vec<bool>,
    /// Slots whose bytes it hangs on, if it may hang on any.
    slots: Option<Vec<u32>>,
    fixed: bool,
    changed: bool,
}

/// The slots whose bytes must not change during a launch for its workgroups to do the same; nothing if they may differ
/// all the same.
pub(super) fn find(program: &Program) -> Option<Vec<u32>> {
    walk(program, None).or_else(|| walk(program, Some(Vec::new())))
}

fn walk(program: &Program, slots: Option<Vec<u32>>) -> Option<Vec<u32>> {
    let mut walk = Walk {
        ids: vec![true; program.ids.len()],
        vars: vec![true; program.vars.len()],
        labels: vec![true; program.labels as usize],
        slots,
        fixed: true,
        changed: true,
    };
    while std::mem::take(&mut walk.changed) {
        walk.list(&program.body, true);
    }
    walk.fixed.then(|| walk.slots.unwrap_or_default())
}

impl Walk {
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
