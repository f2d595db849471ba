//! How statements are emitted: control flow, masks, and two copies of code where it pays.
//!
//! While all lanes are known to be active there is no mask. After lanes have parted, the rest is emitted twice as long as
//! the budget lasts: without masks for when all lanes turn out to be active, and with them.

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};
use cranelift_frontend::Variable;

use super::{
    code::{Emitter, NONE, Scope, Val},
    ir::{Id, Label, Op, Stmt},
    narrow::Home,
    shape::Shape,
};

/// Lists lighter than this are not worth a second copy.
const COPY_WEIGHT_MIN: usize = 3;

impl Emitter<'_, '_> {
    /// Emits a list; false if its end is not reached.
    pub(super) fn list(&mut self, list: &[Stmt]) -> bool {
        for (i, stmt) in list.iter().enumerate() {
            let was_full = self.mask().is_none();
            if !self.stmt(stmt) {
                return false;
            }
            let rest = &list[i + 1..];
            if was_full && !rest.is_empty() && self.mask().is_some() {
                // Lanes have left. In a loop they do so in any pass; elsewhere some of four seldom stay.
                return self.by_mask(rest, self.loops == 0);
            }
        }
        true
    }

    /// Emits one statement; false if what follows is not reached.
    pub(super) fn stmt(&mut self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Let(id, op) => {
                if self.is_known(*id, op) {
                    return true;
                }
                let val = self.op(*id, op);
                self.define(*id, val);
                if matches!(val, Val::Vector(_)) {
                    self.find_near(*id, op);
                }
            }
            Stmt::Set(var, id) => self.set(*var, *id),
            Stmt::Load { place, into, .. } => {
                self.tell(place, into, false);
                self.load(place, into);
            }
            Stmt::Store { place, from } => self.store_told(place, from),
            Stmt::Zero(array) => self.zero(*array),
            Stmt::Atomic { place, fun, value, compare, old } => {
                self.tell(place, &[(0, *value)], false);
                self.atomic(place, *fun, *value, *compare, *old);
            }
            Stmt::Image { op, texture, sampler, fields, results, site } => {
                self.texel_site = *site;
                self.image(*op, (*texture, *sampler), fields, results);
            }
            Stmt::Subgroup { op, value, result } => self.subgroup(*op, *value, *result),
            Stmt::If { condition, accept, reject } => {
                if let Some(taken) = self.taken(stmt) {
                    return self.list(taken);
                }
                self.branch(*condition, accept, reject)
            }
            Stmt::Block { label, body } => {
                let exit = self.b.create_block();
                let mask = self.shapes.divergent[label.at()].then(|| self.new_mask(self.mask()));
                let full = self.mask().is_none();
                self.scopes.push(Scope { label: Some(*label), exit, mask, full });
                if self.list(body) {
                    self.b.ins().jump(exit, NONE);
                }
                self.scopes.pop();
                self.start(exit);
            }
            Stmt::Loop { label, body } => self.repeat(*label, body),
            Stmt::Exit(label) => return self.exit(*label),
            Stmt::Barrier(flags) => self.tell_barrier(*flags),
        }
        true
    }

    /// The active lanes; `None` if all are known to be.
    pub(super) fn mask(&self) -> Option<Variable> {
        let scope = self.scopes.iter().rev().find(|scope| scope.mask.is_some())?;
        if scope.full { None } else { scope.mask }
    }

    pub(super) fn mask_value(&mut self) -> Option<Value> {
        self.mask().map(|mask| self.b.use_var(mask))
    }

    /// A mask of its own that starts as a copy of another.
    pub(super) fn new_mask(&mut self, from: Option<Variable>) -> Variable {
        let value = match from {
            Some(from) => self.b.use_var(from),
            None => self.ones(),
        };
        self.new_mask_of(value)
    }

    pub(super) fn new_mask_of(&mut self, value: Value) -> Variable {
        let mask = self.b.declare_var(types::I32X4);
        self.b.def_var(mask, value);
        mask
    }

    fn ones(&mut self) -> Value {
        let ones = self.b.ins().iconst(types::I32, 0xFFFF_FFFF);
        self.b.ins().splat(types::I32X4, ones)
    }

    /// One bit for each active lane.
    pub(super) fn bits(&mut self, mask: Value) -> Value {
        self.b.ins().vhigh_bits(types::I32, mask)
    }

    /// Emits a list for the current mask, whatever it has become: not at all, with all lanes, or masked. `seldom`: the mask
    /// is seldom anything between, so that a masked copy is to be small.
    pub(super) fn by_mask(&mut self, list: &[Stmt], seldom: bool) -> bool {
        let weight: usize = list.iter().map(Stmt::weight).sum();
        let Some(mask) = self.mask_value() else { return self.list(list) };
        let bits = self.bits(mask);
        let [masked, end] = [(); 2].map(|()| self.b.create_block());
        let copied = (COPY_WEIGHT_MIN..=self.budget).contains(&weight);
        if !copied {
            self.b.ins().brif(bits, masked, NONE, end, NONE);
        } else {
            self.budget -= weight;
            let [full, partly] = [(); 2].map(|()| self.b.create_block());
            let all = self.b.ins().icmp_imm_s(IntCC::Equal, bits, 0b1111);
            self.b.ins().brif(all, full, NONE, partly, NONE);
            self.start(full);
            let before: Vec<bool> = self.scopes.iter().map(|scope| scope.full).collect();
            self.scopes.iter_mut().for_each(|scope| scope.full = true);
            if self.list(list) {
                self.b.ins().jump(end, NONE);
            }
            self.scopes.iter_mut().zip(&before).for_each(|(scope, full)| scope.full = *full);
            self.start(partly);
            self.b.ins().brif(bits, masked, NONE, end, NONE);
        }
        self.start(masked);
        let before = self.seldom;
        self.seldom |= copied && seldom;
        if self.list(list) {
            self.b.ins().jump(end, NONE);
        }
        self.seldom = before;
        self.start(end);
        true
    }

    fn branch(&mut self, condition: Id, accept: &[Stmt], reject: &[Stmt]) {
        let condition = match self.get(condition) {
            Val::Scalar(condition) => return self.branch_together(condition, accept, reject),
            Val::Linear(value) | Val::Vector(value) => value,
            // No condition has 64 bits.
            Val::Each(values) => values[0],
        };
        let mask = self.mask_value();
        let (yes, no) = match mask {
            Some(mask) => (self.b.ins().band(mask, condition), self.b.ins().band_not(mask, condition)),
            None => (condition, self.b.ins().bnot(condition)),
        };
        for (mask, list) in [(yes, accept), (no, reject)] {
            if !list.is_empty() {
                self.arm(mask, list);
            }
        }
    }

    /// One side of a branch that lanes take separately.
    fn arm(&mut self, mask: Value, list: &[Stmt]) {
        let all_before = self.mask().is_none();
        let variable = self.new_mask_of(mask);
        let end = self.b.create_block();
        self.scopes.push(Scope { label: None, exit: end, mask: Some(variable), full: false });
        let cheap = list.iter().all(|stmt| match stmt {
            Stmt::Let(_, op) => !matches!(op, Op::Call(..)),
            Stmt::Set(..) | Stmt::Exit(_) => true,
            _ => false,
        });
        let budget = self.budget;
        if !all_before {
            // A copy for all lanes would hardly ever run.
            self.budget = 0;
        }
        let reached = if cheap && list.len() <= 12 { self.list(list) } else { self.by_mask(list, false) };
        if !all_before {
            self.budget = budget;
        }
        self.scopes.pop();
        if reached {
            self.b.ins().jump(end, NONE);
        }
        self.start(end);
    }

    /// A branch that all lanes take the same way.
    fn branch_together(&mut self, condition: Value, accept: &[Stmt], reject: &[Stmt]) {
        let [yes, no, end] = [(); 3].map(|()| self.b.create_block());
        if matches!(reject.last(), Some(Stmt::Exit(_))) {
            // The side that may leave a loop comes first, for the reason given at the loop over invocations.
            let not = self.b.ins().icmp_imm_s(IntCC::Equal, condition, 0);
            self.b.ins().brif(not, no, NONE, yes, NONE);
        } else {
            self.b.ins().brif(condition, yes, NONE, no, NONE);
        }
        let before: Vec<bool> = self.scopes.iter().map(|scope| scope.full).collect();
        let mut after = before.clone();
        for (block, list) in [(yes, accept), (no, reject)] {
            self.start(block);
            self.scopes.iter_mut().zip(&before).for_each(|(scope, full)| scope.full = *full);
            if self.list(list) {
                self.b.ins().jump(end, NONE);
            }
            self.scopes.iter().zip(&mut after).for_each(|(scope, full)| *full &= scope.full);
        }
        self.scopes.iter_mut().zip(&after).for_each(|(scope, full)| scope.full = *full);
        self.start(end);
    }

    fn repeat(&mut self, label: Label, body: &[Stmt]) {
        // Where lanes may part, everything is emitted twice already.
        if let Some((passes, test)) = self.counted.unrolled(label)
            && self.scopes.iter().all(|scope| scope.mask.is_none())
        {
            return self.unroll(label, body, passes, test);
        }
        let [header, exit] = [(); 2].map(|()| self.b.create_block());
        let own = self.shapes.divergent[label.at()];
        self.forget_full(label, body);
        let mask = own.then(|| self.new_mask(self.mask()));
        self.b.ins().jump(header, NONE);
        self.b.switch_to_block(header);
        if !self.counted.is_short(label) {
            self.poll();
        }
        let full = !own && self.mask().is_none();
        self.scopes.push(Scope { label: Some(label), exit, mask, full });
        self.loops += 1;
        let reached = if own { self.by_mask(body, false) } else { self.list(body) };
        self.loops -= 1;
        if reached {
            match self.mask_value() {
                Some(mask) => {
                    let bits = self.bits(mask);
                    self.b.ins().brif(bits, header, NONE, exit, NONE);
                }
                None => {
                    self.b.ins().jump(header, NONE);
                }
            }
        }
        self.scopes.pop();
        self.b.seal_block(header);
        self.start(exit);
    }

    /// Emits all passes of a loop, without its test.
    fn unroll(&mut self, label: Label, body: &[Stmt], passes: u64, test: usize) {
        let exit = self.b.create_block();
        self.scopes.push(Scope { label: Some(label), exit, mask: None, full: true });
        let (before, behind) = (&body[..test], &body[test + 1..]);
        let reached = (0..passes).all(|_| self.list(before) && self.list(behind));
        self.scopes.pop();
        if reached {
            self.b.ins().jump(exit, NONE);
        }
        self.start(exit);
    }

    /// A later pass through a loop finds lanes gone that left the loop for good in an earlier one.
    fn forget_full(&mut self, own: Label, body: &[Stmt]) {
        let mut inside = vec![own];
        let mut leaves = false;
        for stmt in body {
            stmt.any(&mut |stmt| {
                match stmt {
                    Stmt::Block { label, .. } | Stmt::Loop { label, .. } => inside.push(*label),
                    Stmt::Exit(label) => {
                        leaves |= !inside.contains(label) && self.shapes.divergent[label.at()]
                    }
                    _ => {}
                }
                false
            });
        }
        if leaves {
            self.scopes.iter_mut().filter(|scope| scope.mask.is_some()).for_each(|scope| scope.full = false);
        }
    }

    fn exit(&mut self, label: Label) -> bool {
        let target = self.scopes.iter().position(|scope| scope.label == Some(label)).unwrap_or(0);
        let parted = self.scopes[target + 1..].iter().any(|scope| scope.mask.is_some());
        let mask = self.mask_value();
        let (Some(mask), true) = (mask, parted) else {
            let exit = self.scopes[target].exit;
            self.b.ins().jump(exit, NONE);
            return false;
        };
        for i in target..self.scopes.len() {
            if let Some(variable) = self.scopes[i].mask {
                let old = self.b.use_var(variable);
                let new = self.b.ins().band_not(old, mask);
                self.b.def_var(variable, new);
                self.scopes[i].full = false;
            }
        }
        true
    }

    fn set(&mut self, var: super::ir::Var, id: Id) {
        let home = self.vars[var.at()];
        if self.shapes.vars[var.at()].is_scalar() {
            let value = self.scalar(id);
            self.set_home(home, Val::Scalar(value));
            return;
        }
        debug_assert_eq!(self.shapes.vars[var.at()], Shape::Varying);
        let variable = match home {
            Home::One(variable) => variable,
            Home::Each(_) => return self.set_each(home, id),
        };
        let row = self.rows.set(var, id);
        let new = match row {
            Some((lane, tuple)) => self.row(tuple, lane),
            None => self.vector(id),
        };
        let new = match self.mask_value() {
            Some(mask) => {
                let mask = match row {
                    Some((lane, _)) => self.spread_lane(mask, lane),
                    None => mask,
                };
                let old = self.b.use_var(variable);
                self.choose(mask, new, old)
            }
            None => new,
        };
        self.b.def_var(variable, new);
    }

    /// A variable with a register for each lane.
    fn set_each(&mut self, home: Home, id: Id) {
        let mut values = [0, 1, 2, 3].map(|lane| self.lane_of(id, lane));
        if let Some(mask) = self.mask_value() {
            let bits = self.bits(mask);
            let Val::Each(old) = self.read_home(home, Shape::Varying) else { return };
            for (lane, (value, old)) in values.iter_mut().zip(old).enumerate() {
                let active = self.b.ins().band_imm_s(bits, 1 << lane);
                *value = self.b.ins().select(active, *value, old);
            }
        }
        self.set_home(home, Val::Each(values));
    }

    /// Jumps to `then` if a bit is set, else to `otherwise`.
    pub(super) fn if_bit(&mut self, bits: Value, bit: u32, then: Block, otherwise: Block) {
        let bit = self.b.ins().band_imm_s(bits, 1 << bit);
        self.b.ins().brif(bit, then, NONE, otherwise, NONE);
    }
}
