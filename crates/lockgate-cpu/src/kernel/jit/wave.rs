//! How many invocations does a region run at once?
//!
//! A loop over the invocations takes four at a time. Where a region has no control flow of its own, it takes several fours
//! in one step, each statement for all of them before the next: what they share is computed once, and none waits
//! for another. Such a step asks first whether all elements that it loads are there and neighbours. If not, it is
//! left before it has changed anything, and its fours go one by one. Tested by `tests/kernel/waves.rs`.

use cranelift_codegen::ir::{Block, InstBuilder, Value, condcodes::IntCC, types};

use super::{
    super::number::Num,
    code::{Emitter, NONE, Val, context},
    ir::{Binary, Bound, Builtin, Id, Index, Memory, Op, Place, Stmt},
    narrow::{Home, is_wide},
    near::Near,
    plan::Region,
    ranges::{self, Known},
    shape::Shape,
};

/// Fours in one step.
const WIDTH: u32 = 4;

/// The weight up to which several fours are worth it for a region that is all of a kernel.
const ALONE_MAX: usize = 40;

/// What belongs to one of the fours that run in one step, while another is emitted.
#[derive(Default)]
struct Four {
    first: Option<Value>,
    values: Vec<Option<Val>>,
    nearly_linear: Vec<Option<Near>>,
    escaping: Vec<Option<Home>>,
    vars: Vec<Home>,
    proven: Vec<Proven>,
    ahead: u32,
}

/// An index, and what it chooses from.
type Proven = (Id, Memory, Bound);

/// What all fours of one step share.
#[derive(Default)]
pub(super) struct Wave {
    /// The others than the one that is emitted now.
    others: Vec<Four>,
    /// Where the step goes if an element is not there or no neighbour, as long as nothing has been changed.
    pub(super) bail: Option<Block>,
    pub(super) bailed: bool,
    /// Indices that are known to be in range and to rise by one, and of which memory.
    pub(super) proven: Vec<Proven>,
    /// The number of the first invocation of the step, if it is a multiple of how many the step runs; and this many.
    pub(super) start: Option<(Value, u32)>,
    /// How many invocations ahead of the first of the step the one is that is emitted now.
    pub(super) ahead: u32,
    /// Where the slots of the first one are.
    pub(super) slots: Option<Value>,
    /// Where its element is in memory of the workgroup, by the size of an element.
    elements: Vec<(u32, Value)>,
    /// Comparisons that a step is left for unless they come out as they mostly do.
    assumed: Vec<Known>,
}

/// Whether a statement changes memory.
fn changes(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Store { .. } | Stmt::Atomic { .. })
}

/// Scalars that a statement loads or stores. Each takes a register for each four.
fn scalars(stmt: &Stmt) -> usize {
    match stmt {
        Stmt::Load { into: scalars, .. } | Stmt::Store { from: scalars, .. } => scalars.len(),
        _ => 0,
    }
}

/// Whether some statement of a list changes memory.
fn any_changes(list: &[Stmt]) -> bool {
    list.iter().any(|stmt| stmt.any(&mut |stmt| changes(stmt)))
}

/// Passes of a loop that are emitted one after the other. Cranelift computes what nothing else waits for at the end of its
/// block, so that many would keep all that they load. Where memory is changed, each pass has ways for elements that are not there.
fn at_once(passes: u64, body: &[Stmt]) -> u32 {
    if passes.is_multiple_of(2) && !any_changes(body) { 2 } else { 1 }
}

impl Emitter<'_, '_> {
    /// Runs a region for all invocations of the workgroup.
    pub(super) fn region(&mut self, region: &Region) {
        for range in &region.ranges {
            self.within = Some(range.clone());
            let width = self.width(region);
            if region.limit.is_some() || width == 1 {
                self.range(region, (range.start, range.end), 1);
                continue;
            }
            // Steps of full width start at their multiples.
            let step = self.lanes * width;
            let begin = range.start.next_multiple_of(step).min(range.end);
            let end = (range.end - range.end % step).max(begin);
            for (start, end) in [(range.start, begin), (begin, end), (end, range.end)] {
                if start < end {
                    self.range(region, (start, end), width.min((end - start) / self.lanes));
                }
            }
        }
        self.within = None;
    }

    /// How many fours a step is worth.
    fn width(&mut self, region: &Region) -> u32 {
        let whole = self.lanes == 4 && !self.partial && self.program.invocations().is_multiple_of(4);
        let tells = |stmt: &Stmt| stmt.any(&mut |stmt| stmt.is_told());
        if !whole || region.body.iter().any(tells) {
            return 1;
        }
        self.wave.assumed = self.assumptions(region);
        let weight = self.straight(&region.body);
        self.wave.assumed.clear();
        let Some(weight) = weight else { return 1 };
        let weight = weight + region.again.len();
        if !region.often && (self.plan.barriers || weight > ALONE_MAX) {
            return 1;
        }
        // Much code, or many registers, for each four.
        let large = |stmt: &Stmt| scalars(stmt) > 2 || self.is_looked_at(stmt);
        let large = region.body.iter().any(|stmt| stmt.any(&mut |stmt| large(stmt)));
        let widths = if large { [2; 2] } else { [WIDTH, 2] };
        let width = widths.into_iter().find(|width| weight * *width as usize <= self.wave_budget);
        let width = width.unwrap_or(1);
        if width > 1 {
            self.wave_budget -= weight * width as usize;
        }
        width
    }

    /// The weight of a list without control flow but what is known; nothing if there is any.
    fn straight(&self, list: &[Stmt]) -> Option<usize> {
        list.iter().map(|stmt| self.straight_stmt(stmt)).sum()
    }

    fn straight_stmt(&self, stmt: &Stmt) -> Option<usize> {
        match stmt {
            Stmt::Let(_, op) => (!matches!(op, Op::Call(..))).then_some(1),
            Stmt::Set(..) => Some(1),
            Stmt::Load { place, .. } | Stmt::Store { place, .. } => {
                let of_each = matches!(place.memory, Memory::Array(_) | Memory::Element { .. });
                (!of_each).then_some(1 + scalars(stmt))
            }
            Stmt::Atomic { place, .. } => (place.memory == Memory::Shared).then_some(16),
            Stmt::If { .. } => self.straight(self.taken(stmt)?),
            Stmt::Block { body, .. } => self.straight(body),
            Stmt::Loop { label, body } => {
                let (passes, test) = self.counted.plain(*label)?;
                Some(
                    (self.straight(&body[..test])? + self.straight(&body[test + 1..])?)
                        * at_once(passes, body) as usize,
                )
            }
            _ => None,
        }
    }

    /// Whether it has to be looked at where the elements of a statement are, which takes code for each four.
    fn is_looked_at(&self, stmt: &Stmt) -> bool {
        let looks = |id: Id| self.shapes.ids[id.at()] == Shape::Varying && self.derived[id.at()];
        match stmt {
            Stmt::Load { place, .. } | Stmt::Store { place, .. } => {
                place.indices.iter().any(|index| looks(index.id))
            }
            _ => false,
        }
    }

    /// The side of a branch that is known to be taken.
    pub(super) fn taken<'s>(&self, stmt: &'s Stmt) -> Option<&'s [Stmt]> {
        let Stmt::If { condition, accept, reject } = stmt else { return None };
        Some(if self.outcome(*condition)? { accept } else { reject })
    }

    /// The outcome of a comparison, if it is known.
    fn outcome(&self, id: Id) -> Option<bool> {
        let known = self.within.as_ref()?.known.iter().chain(&self.wave.assumed);
        known.into_iter().find(|(known, _)| *known == id).map(|(_, holds)| *holds)
    }

    /// Whether a value is known without being computed: it is then there for who asks.
    pub(super) fn is_known(&mut self, id: Id, op: &Op) -> bool {
        if self.escaping[id.at()].is_some() || self.plan.id_slots[id.at()].is_some() {
            return false;
        }
        if let Some(holds) = self.outcome(id) {
            self.values[id.at()] = Some(Val::Scalar(self.constant(Num::Bool, holds.into())));
            return true;
        }
        if let Op::Select(condition, yes, no) = *op
            && let Some(holds) = self.outcome(condition)
            && self.shapes.ids[id.at()] == Shape::Varying
            && !is_wide(self.program.num(id))
            && !self.rows.contains(id)
        {
            let chosen = self.vector(if holds { yes } else { no });
            self.values[id.at()] = Some(Val::Vector(chosen));
            return true;
        }
        let place = self.place_of(id).is_some() && self.shapes.ids[id.at()] == Shape::Linear;
        if place {
            self.values[id.at()] = None;
        }
        place
    }

    /// The comparisons with which a region asks at its start whether invocations are in the grid, and what comes of them but
    /// at its edge.
    fn assumptions(&self, region: &Region) -> Vec<Known> {
        let mut ops = region.again.clone();
        let mut list = region.body.iter();
        while let Some(stmt) = list.next() {
            match stmt {
                Stmt::Let(id, op) => ops.push((*id, *op)),
                Stmt::Load { .. } | Stmt::Set(..) => {}
                Stmt::Block { body, .. } => list = body.iter(),
                _ => break,
            }
        }
        let in_grid = |id: Id| {
            ops.iter().any(|(at, op)| *at == id && matches!(op, Op::Builtin(Builtin::GlobalId(0))))
                && self.shapes.ids[id.at()] == Shape::Linear
        };
        let plain = |id: Id| self.escaping[id.at()].is_none() && self.plan.id_slots[id.at()].is_none();
        let assumed = ops.iter().filter_map(|(id, op)| match *op {
            Op::Binary(op @ (Binary::Less | Binary::GreaterEqual), place, end)
                if in_grid(place) && self.shapes.ids[end.at()] == Shape::Group && plain(*id) =>
            {
                Some((*id, op == Binary::Less))
            }
            _ => None,
        });
        assumed.collect()
    }

    /// Leaves a step if not all lanes are below an end.
    fn assume(&mut self, op: &Op) {
        let (Op::Binary(_, place, end), Some(bail)) = (*op, self.wave.bail) else { return };
        let (start, end) = (self.scalar(place), self.scalar(end));
        let three = self.int(3);
        let end = self.b.ins().umax(end, three);
        let end = self.b.ins().isub(end, three);
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, start, end);
        let next = self.b.create_block();
        self.b.ins().brif(inside, next, NONE, bail, NONE);
        self.start(next);
        self.wave.bailed = true;
    }

    /// A loop over invocations.
    fn range(&mut self, region: &Region, (start, end): (u32, u32), width: u32) {
        let step = self.lanes * width;
        let aligned = start.is_multiple_of(step);
        let (first, count) = (self.int(start), self.int(end));
        if region.limit.is_none() && end - start <= step {
            let budget = self.budget;
            if region.ranges.len() > 1 && width == 1 {
                // What lanes differ in here they surely do, so that a copy for when they are all active would never run.
                self.budget = 0;
            }
            self.run_step(region, first, (width, aligned));
            self.budget = budget;
            return;
        }
        let count = match region.limit {
            Some((limit, inclusive)) => {
                let limit = self.scalar(limit);
                // Beyond the largest number nobody is, so that it does not matter where that leads.
                let limit = if inclusive { self.b.ins().iadd_imm_s(limit, 1) } else { limit };
                self.b.ins().umin(count, limit)
            }
            None => count,
        };
        self.each(first, count, step, |this, first| this.run_step(region, first, (width, aligned)));
    }

    /// A loop from `start` up to `end`.
    fn each(&mut self, start: Value, end: Value, step: u32, emit: impl FnOnce(&mut Self, Value)) {
        let [header, body, exit] = [(); 3].map(|()| self.b.create_block());
        let index = self.b.declare_var(types::I32);
        self.b.def_var(index, start);
        self.b.ins().jump(header, NONE);
        self.b.switch_to_block(header);
        let first = self.b.use_var(index);
        // Cranelift hoists out of a loop only while it has not yet seen where the loop is left; it follows the
        // second target of a branch first.
        let done = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, first, end);
        self.b.ins().brif(done, exit, NONE, body, NONE);
        self.start(body);
        emit(self, first);
        let first = self.b.use_var(index);
        let after = self.b.ins().iadd_imm_s(first, i64::from(step));
        self.b.def_var(index, after);
        self.b.ins().jump(header, NONE);
        self.b.seal_block(header);
        self.start(exit);
    }

    /// The invocations from `first` on that run in one step.
    fn run_step(&mut self, region: &Region, first: Value, (width, aligned): (u32, bool)) {
        if width == 1 {
            return self.four(region, first);
        }
        let [bail, end] = [(); 2].map(|()| self.b.create_block());
        let start = aligned.then_some((first, self.lanes * width));
        self.wave = Wave { bail: Some(bail), start, ..Wave::default() };
        self.together(region, first, width);
        if !std::mem::take(&mut self.wave).bailed {
            return;
        }
        self.b.ins().jump(end, NONE);
        self.b.set_cold_block(bail);
        self.start(bail);
        let last = self.b.ins().iadd_imm_s(first, i64::from(self.lanes * width));
        let before = (self.budget, self.seldom);
        self.at_edge = self.bails_at_edges(region);
        if self.at_edge {
            (self.budget, self.seldom) = (0, true);
        }
        self.each(first, last, self.lanes, |this, first| this.four(region, first));
        (self.budget, self.seldom) = before;
        self.at_edge = false;
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// Whether a step of several fours is left at the end of the grid or of a buffer and nowhere else.
    fn bails_at_edges(&self, region: &Region) -> bool {
        let varies = |id: Id| self.shapes.ids[id.at()] == Shape::Varying;
        !region.body.iter().any(|stmt| {
            stmt.any(&mut |stmt| match stmt {
                Stmt::Load { place, .. } | Stmt::Store { place, .. } => {
                    place.indices.iter().any(|index| varies(index.id))
                }
                _ => false,
            })
        })
    }

    /// As many invocations as there are lanes.
    fn four(&mut self, region: &Region, first: Value) {
        self.first = Some(first);
        let outer = std::mem::take(&mut self.scopes);
        let next = self.b.create_block();
        if self.partial && self.lanes == 1 {
            self.skip_absent(next);
        }
        self.fetch(region);
        for (id, op) in &region.again {
            self.stmt(&Stmt::Let(*id, *op));
        }
        let end = self.b.create_block();
        self.invocations(&region.body, end);
        self.start(end);
        self.put(region);
        self.b.ins().jump(next, NONE);
        self.start(next);
        self.scopes = outer;
        self.forget();
    }

    /// Values of a region are in no register behind it.
    fn forget(&mut self) {
        self.first = None;
        for (value, slot) in self.values.iter_mut().zip(&self.plan.id_slots) {
            if slot.is_some() {
                *value = None;
            }
        }
        self.nearly_linear.fill(None);
    }

    /// Several fours, each statement for all of them.
    fn together(&mut self, region: &Region, first: Value, width: u32) {
        self.first = Some(first);
        let outer = std::mem::take(&mut self.scopes);
        self.wave.others = (1..width).map(|i| self.other(region, first, i * self.lanes)).collect();
        self.find_elements(region, first);
        self.for_each(|this| this.fetch(region));
        self.wave.assumed = self.assumptions(region);
        let again: Vec<Stmt> = region.again.iter().map(|(id, op)| Stmt::Let(*id, *op)).collect();
        self.straight_list(&again);
        self.straight_list(&region.body);
        self.for_each(|this| this.put(region));
        self.scopes = outer;
        self.forget();
    }

    /// Computes once for a step where its invocations have their memory.
    fn find_elements(&mut self, region: &Region, first: Value) {
        let mut strides = Vec::new();
        let mut find = |stmt: &Stmt| {
            if let Stmt::Load { place, .. } | Stmt::Store { place, .. } = stmt
                && let (Memory::Shared, [index]) = (place.memory, &place.indices[..])
                && self.place_of(index.id).is_some()
                && !strides.contains(&index.stride)
            {
                strides.push(index.stride);
            }
            false
        };
        region.body.iter().for_each(|stmt| {
            stmt.any(&mut find);
        });
        let first = self.b.ins().uextend(types::I64, first);
        let mut from = |field: i32, stride: u32| {
            let bytes = self.b.ins().imul_imm_s(first, i64::from(stride));
            let start = self.field(field);
            self.b.ins().iadd(start, bytes)
        };
        let slots = from(context!(scratch), 8);
        let elements = strides.into_iter().map(|stride| (stride, from(context!(shared), stride))).collect();
        self.wave.slots = Some(slots);
        self.wave.elements = elements;
    }

    /// What is known of a value as the number of an invocation.
    pub(super) fn place_of(&self, id: Id) -> Option<ranges::Place> {
        self.within.as_ref()?.places.iter().find(|place| place.id == id).copied()
    }

    /// Where the elements are that an index chooses by the number of an invocation.
    pub(super) fn wave_place(&self, place: &Place, index: &Index) -> Option<(Value, i32)> {
        let at = self.place_of(index.id)?;
        let inside = matches!(index.bound, Bound::Known(count) if at.end <= count);
        if place.memory != Memory::Shared || place.indices.len() > 1 || !inside {
            return None;
        }
        let (stride, start) = self.wave.elements.iter().find(|(stride, _)| *stride == index.stride)?;
        let offset = (at.added + i64::from(self.wave.ahead)) * i64::from(*stride);
        Some((*start, offset as i32))
    }

    /// Another four, with homes of its own for what the region sets.
    fn other(&mut self, region: &Region, first: Value, ahead: u32) -> Four {
        let first = self.b.ins().iadd_imm_s(first, i64::from(ahead));
        let mut four = Four {
            first: Some(first),
            values: self.values.clone(),
            nearly_linear: self.nearly_linear.clone(),
            escaping: self.escaping.clone(),
            vars: self.vars.clone(),
            proven: Vec::new(),
            ahead,
        };
        for var in region.fetch.iter().filter(|var| self.shapes.vars[var.at()] != Shape::Group) {
            four.vars[var.at()] = self.var_home(*var);
        }
        for stmt in &region.body {
            stmt.any(&mut |stmt| {
                if self.is_common(stmt) {
                    return false;
                }
                if let Stmt::Set(var, _) = stmt {
                    four.vars[var.at()] = self.var_home(*var);
                }
                for id in stmt.defines() {
                    four.escaping[id.at()] = self.escaping[id.at()].map(|_| self.id_home(id));
                }
                false
            });
        }
        for (id, op) in &region.again {
            if !self.is_common(&Stmt::Let(*id, *op)) {
                four.escaping[id.at()] = self.escaping[id.at()].map(|_| self.id_home(*id));
            }
        }
        four
    }

    /// Emits something for each of the fours.
    fn for_each(&mut self, mut emit: impl FnMut(&mut Self)) {
        emit(self);
        for i in 0..self.wave.others.len() {
            self.swap(i);
            emit(self);
            self.swap(i);
        }
    }

    /// Exchanges the four that is emitted now and another.
    fn swap(&mut self, i: usize) {
        use std::mem::swap;
        let Some(mut other) = self.wave.others.get_mut(i).map(std::mem::take) else { return };
        swap(&mut self.first, &mut other.first);
        swap(&mut self.values, &mut other.values);
        swap(&mut self.nearly_linear, &mut other.nearly_linear);
        swap(&mut self.escaping, &mut other.escaping);
        swap(&mut self.vars, &mut other.vars);
        swap(&mut self.wave.proven, &mut other.proven);
        swap(&mut self.wave.ahead, &mut other.ahead);
        self.wave.others[i] = other;
    }

    /// Whether a statement does the same for all fours.
    fn is_common(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Let(id, _) => {
                self.shapes.ids[id.at()] == Shape::Group && self.plan.id_slots[id.at()].is_none()
            }
            Stmt::Set(var, _) => self.shapes.vars[var.at()] == Shape::Group,
            _ => false,
        }
    }

    fn straight_list(&mut self, list: &[Stmt]) {
        for stmt in list {
            match stmt {
                Stmt::If { .. } => {
                    let taken = self.taken(stmt).unwrap_or_default();
                    self.straight_list(taken);
                }
                Stmt::Block { body, .. } => self.straight_list(body),
                Stmt::Loop { label, body } => {
                    let (passes, test) = self.counted.plain(*label).unwrap_or_default();
                    if any_changes(body) {
                        // A later pass comes after what an earlier one has changed.
                        self.wave.bail = None;
                    }
                    let [start, end] = [0, passes as u32].map(|pass| self.int(pass));
                    self.each(start, end, at_once(passes, body), |this, _| {
                        for _ in 0..at_once(passes, body) {
                            // The same names mean other values.
                            this.for_each(|this| this.wave.proven.clear());
                            this.straight_list(&body[..test]);
                            this.straight_list(&body[test + 1..]);
                        }
                    });
                    self.for_each(|this| this.wave.proven.clear());
                }
                _ if self.is_common(stmt) => {
                    self.stmt(stmt);
                    for id in stmt.defines() {
                        let val = self.values[id.at()];
                        self.wave.others.iter_mut().for_each(|other| other.values[id.at()] = val);
                    }
                }
                _ => {
                    if let Stmt::Let(id, op) = stmt
                        && self.wave.assumed.iter().any(|(assumed, _)| assumed == id)
                    {
                        self.for_each(|this| this.assume(op));
                    }
                    if let Stmt::Store { place, .. } = stmt {
                        self.for_each(|this| this.prove(place));
                    }
                    if changes(stmt) {
                        self.wave.bail = None;
                    }
                    self.for_each(|this| {
                        this.stmt(stmt);
                    });
                }
            }
        }
    }
}
