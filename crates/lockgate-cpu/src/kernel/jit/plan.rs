//! Where do the loops over invocations go?
//!
//! Without barriers there is one, around everything. With barriers the uniform control flow that contains them runs once
//! for the workgroup, and each stretch of statements between barriers becomes a region with a loop of its own. Values
//! and variables that one region leaves to another live in a slot for each invocation; those that decide the
//! uniform control flow are computed once for the workgroup.

use super::{
    again::Again,
    ir::{Binary, Id, Label, Op, Program, Stmt, Var},
    lower::Refusal,
    ranges::{self, Known, Range},
    shape::{Shape, Shapes},
};

/// A stretch without barriers, run for each invocation.
pub(super) struct Region {
    pub(super) body: Vec<Stmt>,
    /// Variables to fetch from their slots at the start.
    pub(super) fetch: Vec<Var>,
    /// Variables to put into their slots at the end.
    pub(super) put: Vec<Var>,
    /// Values of other regions to compute again at the start.
    pub(super) again: Vec<(Id, Op)>,
    /// Invocations whose number is not below the value, or with `true` above it, do nothing.
    pub(super) limit: Option<(Id, bool)>,
    /// The invocations that it runs for.
    pub(super) ranges: Vec<Range>,
    /// Whether it runs in each pass of a loop of the workgroup, or there is none.
    pub(super) often: bool,
}

impl Region {
    fn new(body: Vec<Stmt>) -> Region {
        Region {
            body,
            fetch: Vec::new(),
            put: Vec::new(),
            again: Vec::new(),
            limit: None,
            ranges: Vec::new(),
            often: false,
        }
    }
}

/// What runs once for the workgroup.
pub(super) enum Step {
    Region(Region),
    /// A statement that computes something for the whole workgroup.
    Once(Stmt),
    If {
        condition: Id,
        accept: Vec<Step>,
        reject: Vec<Step>,
    },
    Block {
        label: Label,
        body: Vec<Step>,
    },
    Loop {
        label: Label,
        body: Vec<Step>,
    },
    Exit(Label),
}

pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) barriers: bool,
    /// Slots of the values and variables that several regions use.
    pub(super) id_slots: Vec<Option<u32>>,
    pub(super) var_slots: Vec<Option<u32>>,
    pub(super) slots: u32,
}

struct Planner<'p> {
    program: &'p Program,
    shapes: &'p Shapes,
    /// Variables that live once for the workgroup.
    group_vars: Vec<bool>,
    /// Labels of blocks and loops that run once for the workgroup.
    group_labels: Vec<bool>,
    /// Values that are computed once for the workgroup.
    hoisted: Vec<bool>,
}

pub(super) fn plan(program: &Program, shapes: &Shapes) -> Result<Plan, Refusal> {
    let barriers = program.body.iter().any(|stmt| stmt.any(&mut |stmt| matches!(stmt, Stmt::Barrier(..))));
    let mut plan = Plan {
        steps: Vec::new(),
        barriers,
        id_slots: vec![None; program.ids.len()],
        var_slots: vec![None; program.vars.len()],
        slots: 0,
    };
    if !barriers {
        let mut region = Region::new(program.body.clone());
        region.ranges =
            vec![Range { start: 0, end: program.invocations(), known: Vec::new(), places: Vec::new() }];
        plan.steps.push(Step::Region(region));
        return Ok(plan);
    }
    let mut planner = Planner {
        program,
        shapes,
        group_vars: vec![false; program.vars.len()],
        group_labels: vec![false; program.labels as usize],
        hoisted: program.ids.iter().map(|info| info.constant.is_some()).collect(),
    };
    planner.find_group();
    plan.steps = planner.steps(&program.body, &[])?;
    let again = Again::new(program, &planner.hoisted);
    assign_slots(program, &planner.group_vars, &again, &mut plan);
    each_region(&mut plan.steps, &mut |region| compute_again(region, &again, &plan.id_slots));
    let numbers = ranges::numbers(program);
    each_region(&mut plan.steps, &mut |region| {
        region.limit = limit(region, &planner, &numbers, &plan.id_slots);
        region.ranges = ranges::find(region, program, &numbers, &|known| {
            region.put.is_empty() && is_idle(&region.body, known, &plan.id_slots)
        });
    });
    let repeats = plan.steps.iter().any(contains_loop);
    mark_often(&mut plan.steps, !repeats);
    Ok(plan)
}

fn contains_loop(step: &Step) -> bool {
    match step {
        Step::Loop { .. } => true,
        Step::Block { body, .. } => body.iter().any(contains_loop),
        Step::If { accept, reject, .. } => accept.iter().chain(reject).any(contains_loop),
        _ => false,
    }
}

fn mark_often(steps: &mut [Step], often: bool) {
    for step in steps {
        match step {
            Step::Region(region) => region.often = often,
            Step::Loop { body, .. } => mark_often(body, true),
            Step::Block { body, .. } => mark_often(body, often),
            Step::If { accept, reject, .. } => {
                mark_often(accept, often);
                mark_often(reject, often);
            }
            Step::Once(_) | Step::Exit(_) => {}
        }
    }
}

impl Planner<'_> {
    /// Finds the variables and labels of the workgroup's own control flow.
    fn find_group(&mut self) {
        loop {
            let before = (self.group_vars.clone(), self.group_labels.clone());
            let mut needed = vec![false; self.program.ids.len()];
            self.mark(&self.program.body, &mut needed);
            self.close(&mut needed);
            if before == (self.group_vars.clone(), self.group_labels.clone()) {
                return;
            }
        }
    }

    /// Marks labels that are left or entered once for the workgroup, and the values that decide about it.
    fn mark(&mut self, list: &[Stmt], needed: &mut [bool]) {
        for stmt in list {
            match stmt {
                Stmt::Load { uniform: true, .. } => stmt.uses().iter().for_each(|id| needed[id.at()] = true),
                _ if !self.once(stmt) => continue,
                Stmt::If { condition, .. } => needed[condition.at()] = true,
                Stmt::Block { label, .. } | Stmt::Loop { label, .. } => self.group_labels[label.at()] = true,
                _ => {}
            }
            stmt.lists().for_each(|list| self.mark(list, needed));
        }
    }

    /// Adds what needed values are computed from.
    fn close(&mut self, needed: &mut [bool]) {
        loop {
            let mut changed = false;
            let mut visit = |stmt: &Stmt| {
                let wanted = match stmt {
                    Stmt::Set(var, _) => self.group_vars[var.at()],
                    _ => stmt.defines().iter().any(|id| needed[id.at()]),
                };
                if wanted {
                    if let Stmt::Let(_, Op::Get(var)) = stmt {
                        changed |= !std::mem::replace(&mut self.group_vars[var.at()], true);
                    }
                    for id in stmt.uses() {
                        changed |= !std::mem::replace(&mut needed[id.at()], true);
                    }
                }
                false
            };
            self.program.body.iter().for_each(|stmt| {
                stmt.any(&mut visit);
            });
            if !changed {
                return;
            }
        }
    }

    /// Whether a statement has to run once for the workgroup.
    fn once(&self, stmt: &Stmt) -> bool {
        match stmt {
            Stmt::Barrier(..) => true,
            Stmt::Set(var, _) => self.group_vars[var.at()],
            Stmt::Exit(label) => self.group_labels[label.at()],
            Stmt::Load { uniform, .. } => *uniform,
            Stmt::If { condition, .. } if self.shapes.ids[condition.at()] != Shape::Group => false,
            _ => stmt.lists().flatten().any(|stmt| self.once(stmt)),
        }
    }

    /// Whether a value can be computed once for the workgroup, now.
    fn hoists(&self, stmt: &Stmt) -> bool {
        let available = stmt.uses().iter().all(|id| self.hoisted[id.at()]);
        let group = stmt.defines().iter().all(|id| self.shapes.ids[id.at()] == Shape::Group);
        let pure = match stmt {
            Stmt::Let(_, Op::Get(var)) => self.group_vars[var.at()],
            Stmt::Let(..) | Stmt::Load { .. } => true,
            Stmt::Image { op, .. } => op.is_query(),
            _ => false,
        };
        available && group && pure
    }

    /// `tails`: labels whose end is the end of this list.
    fn steps(&mut self, list: &[Stmt], tails: &[Label]) -> Result<Vec<Step>, Refusal> {
        let mut steps = Vec::new();
        let mut pending: Vec<Stmt> = Vec::new();
        for (i, stmt) in list.iter().enumerate() {
            let last = i + 1 == list.len();
            if self.hoists(stmt) {
                if matches!(stmt, Stmt::Load { uniform: true, .. }) {
                    flush(&mut steps, &mut pending, &[])?;
                }
                stmt.defines().iter().for_each(|id| self.hoisted[id.at()] = true);
                steps.push(Step::Once(stmt.clone()));
                continue;
            }
            if !self.once(stmt) {
                pending.push(stmt.clone());
                continue;
            }
            let tails = if last { tails } else { &[] };
            flush(&mut steps, &mut pending, &[])?;
            match stmt {
                Stmt::Barrier(..) if self.program.observed => steps.push(Step::Once(stmt.clone())),
                Stmt::Barrier(..) => {}
                Stmt::Set(..) => steps.push(Step::Once(stmt.clone())),
                Stmt::Exit(label) => steps.push(Step::Exit(*label)),
                Stmt::If { condition, accept, reject } => {
                    if !self.hoisted[condition.at()] {
                        return Err("a condition around a barrier that is not computed once");
                    }
                    let accept = self.steps(accept, tails)?;
                    steps.push(Step::If {
                        condition: *condition,
                        accept,
                        reject: self.steps(reject, tails)?,
                    });
                }
                Stmt::Block { label, body } => {
                    let tails = [tails, &[*label]].concat();
                    steps.push(Step::Block { label: *label, body: self.steps(body, &tails)? });
                }
                Stmt::Loop { label, body } => {
                    steps.push(Step::Loop { label: *label, body: self.steps(body, &[])? });
                }
                _ => return Err("this statement around barriers"),
            }
        }
        flush(&mut steps, &mut pending, tails)?;
        Ok(steps)
    }
}

/// Makes a region of the statements that wait. They may leave to labels that end where the region ends.
fn flush(steps: &mut Vec<Step>, pending: &mut Vec<Stmt>, tails: &[Label]) -> Result<(), Refusal> {
    if pending.is_empty() {
        return Ok(());
    }
    let body = std::mem::take(pending);
    let mut inside = Vec::new();
    let mut exits = Vec::new();
    for stmt in &body {
        stmt.any(&mut |stmt| {
            match stmt {
                Stmt::Block { label, .. } | Stmt::Loop { label, .. } => inside.push(*label),
                Stmt::Exit(label) => exits.push(*label),
                _ => {}
            }
            false
        });
    }
    if exits.iter().any(|label| !inside.contains(label) && !tails.contains(label)) {
        return Err("some invocations leaving between barriers");
    }
    steps.push(Step::Region(Region::new(body)));
    Ok(())
}

/// Which regions touch a value or variable.
#[derive(Clone, Default)]
struct Touched {
    first: Option<usize>,
    several: bool,
    exposed: bool,
}

impl Touched {
    fn by(&mut self, region: usize) {
        self.several |= self.first.is_some_and(|first| first != region);
        self.first.get_or_insert(region);
    }
}

fn assign_slots(program: &Program, group_vars: &[bool], again: &Again, plan: &mut Plan) {
    let mut ids = vec![Touched::default(); program.ids.len()];
    let mut vars = vec![Touched::default(); program.vars.len()];
    let mut count = 0;
    each_region(&mut plan.steps, &mut |region| {
        count += 1;
        for stmt in &region.body {
            stmt.any(&mut |stmt| {
                stmt.uses().into_iter().chain(stmt.defines()).for_each(|id| ids[id.at()].by(count));
                false
            });
        }
        for var in touched(&region.body, program.vars.len()) {
            vars[var.at()].by(count);
            vars[var.at()].exposed |= exposed(&region.body, var);
        }
    });
    let mut defined = vec![false; program.ids.len()];
    each_region(&mut plan.steps, &mut |region| {
        for stmt in &region.body {
            stmt.any(&mut |stmt| {
                stmt.defines().iter().for_each(|id| defined[id.at()] = true);
                false
            });
        }
    });
    for (id, touched) in ids.iter().enumerate() {
        if touched.several && defined[id] && again.steps(Id(id as u32)).is_none() {
            plan.id_slots[id] = Some(plan.slots);
            plan.slots += 1;
        }
    }
    for ((slot, touched), group) in plan.var_slots.iter_mut().zip(&vars).zip(group_vars) {
        if touched.exposed && !group {
            *slot = Some(plan.slots);
            plan.slots += 1;
        }
    }
    let var_slots = plan.var_slots.clone();
    each_region(&mut plan.steps, &mut |region| {
        for var in touched(&region.body, var_slots.len()) {
            if var_slots[var.at()].is_none() {
                continue;
            }
            if exposed(&region.body, var) {
                region.fetch.push(var);
            }
            let sets = |stmt: &Stmt| matches!(stmt, Stmt::Set(set, _) if *set == var);
            if region.body.iter().any(|stmt| stmt.any(&mut |stmt| sets(stmt))) {
                region.put.push(var);
            }
        }
    });
}

/// Whether nothing comes of a list but what others compute again, where the outcome of conditions is known.
fn is_idle(list: &[Stmt], known: &[Known], slots: &[Option<u32>]) -> bool {
    list.iter().all(|stmt| match stmt {
        Stmt::Let(..) | Stmt::Set(..) | Stmt::Load { .. } => {
            !stmt.is_told() && stmt.defines().iter().all(|id| slots[id.at()].is_none())
        }
        Stmt::Block { body, .. } => is_idle(body, known, slots),
        Stmt::If { condition, accept, reject } => match known.iter().find(|(id, _)| id == condition) {
            Some((_, holds)) => is_idle(if *holds { accept } else { reject }, known, slots),
            None => is_idle(accept, known, slots) && is_idle(reject, known, slots),
        },
        Stmt::Exit(_) => true,
        _ => false,
    })
}

/// Finds what a region uses that is neither its own nor in a slot.
fn compute_again(region: &mut Region, again: &Again, slots: &[Option<u32>]) {
    let mut own = Vec::new();
    let mut used = Vec::new();
    for stmt in &region.body {
        stmt.any(&mut |stmt| {
            own.extend(stmt.defines());
            used.extend(stmt.uses());
            false
        });
    }
    for id in used {
        if own.contains(&id) || slots[id.at()].is_some() {
            continue;
        }
        for step in again.steps(id).unwrap_or_default() {
            if !region.again.iter().any(|(known, _)| *known == step.0) {
                region.again.push(step);
            }
        }
    }
}

/// What a region of the form `if number < limit` or `if number == limit` asks the number of an invocation to be below, or
/// not above.
fn limit(
    region: &Region,
    planner: &Planner<'_>,
    numbers: &[bool],
    slots: &[Option<u32>],
) -> Option<(Id, bool)> {
    let (Stmt::If { condition, reject, .. }, before) = region.body.split_last()? else { return None };
    let pure = |stmt: &Stmt| match stmt {
        Stmt::Let(..) => true,
        // What is told has to be told by all.
        Stmt::Load { .. } => !stmt.is_told(),
        _ => false,
    };
    let kept = |id: &Id| slots[id.at()].is_some();
    let leaves = |stmt: &Stmt| stmt.any(&mut |stmt| stmt.defines().iter().any(kept));
    if !reject.is_empty()
        || !region.put.is_empty()
        || !before.iter().all(pure)
        || region.body.iter().any(leaves)
    {
        return None;
    }
    let own = before.iter().filter_map(|stmt| match stmt {
        Stmt::Let(id, op) => Some((*id, *op)),
        _ => None,
    });
    let (_, op) = own.chain(region.again.iter().copied()).find(|(id, _)| id == condition)?;
    let Op::Binary(op @ (Binary::Less | Binary::Equal), number, limit) = op else { return None };
    // A constant splits the invocations.
    let varies = planner.hoisted[limit.at()] && planner.program.constant(limit).is_none();
    (numbers[number.at()] && varies).then_some((limit, op == Binary::Equal))
}

fn each_region(steps: &mut [Step], visit: &mut dyn FnMut(&mut Region)) {
    for step in steps {
        match step {
            Step::Region(region) => visit(region),
            Step::If { accept, reject, .. } => {
                each_region(accept, visit);
                each_region(reject, visit);
            }
            Step::Block { body, .. } | Step::Loop { body, .. } => each_region(body, visit),
            Step::Once(_) | Step::Exit(_) => {}
        }
    }
}

fn touched(body: &[Stmt], count: usize) -> Vec<Var> {
    let mut seen = vec![false; count];
    for stmt in body {
        stmt.any(&mut |stmt| {
            if let Some(var) = stmt.variable() {
                seen[var.at()] = true;
            }
            false
        });
    }
    (0..count as u32).map(Var).filter(|var| seen[var.at()]).collect()
}

/// Whether a region may look at what a variable held before it.
fn exposed(body: &[Stmt], var: Var) -> bool {
    let touches = |stmt: &Stmt| stmt.any(&mut |stmt| stmt.variable() == Some(var));
    let Some(first) = body.iter().position(touches) else { return false };
    let leaves = |stmt: &Stmt| stmt.any(&mut |stmt| matches!(stmt, Stmt::Exit(_)));
    match &body[first] {
        Stmt::Set(..) => false,
        // Who comes to the end of the block has come by its first statement that touches the variable.
        Stmt::Block { body: inner, .. } if !inner.iter().take_while(|stmt| !touches(stmt)).any(leaves) => {
            exposed(inner, var)
        }
        _ => true,
    }
}
