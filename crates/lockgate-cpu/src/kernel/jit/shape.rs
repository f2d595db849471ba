//! Which values differ between which invocations?
//!
//! Walks the tree until nothing changes. A variable takes the worst of what is stored to it and of the control flow
//! that decides whether it is stored. Only control flow inside the variable's home counts: the innermost list of
//! statements with all its uses. Invocations that left that list for good never look at it again, so a loop counter
//! behind an early return stays uniform.

use super::super::number::Num;
use super::ir::{Binary, Builtin, Id, Memory, Op, Place, Program, Stmt, SubgroupOp, Var};

/// How a value differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// The same in the whole workgroup.
    Group,
    /// The same in the invocations that run at once.
    Quad,
    /// Rises by one from lane to lane.
    Linear,
    /// Anything.
    Varying,
}

use Shape::{Group, Linear, Quad, Varying};

impl Shape {
    /// What holds for a value that is one of both.
    fn join(self, other: Self) -> Self {
        match self.max(other) {
            Linear => Varying,
            joined => joined,
        }
    }

    /// Whether one register lane holds it.
    pub(super) fn is_scalar(self) -> bool {
        self <= Quad
    }
}

pub(super) struct Shapes {
    pub(super) ids: Vec<Shape>,
    pub(super) vars: Vec<Shape>,
    /// Whether some invocations of a quad leave to this label while others stay.
    pub(super) divergent: Vec<bool>,
    /// Whether there is a barrier that, for all that is known, not all invocations reach together.
    pub(super) lone_barrier: bool,
}

/// The path of lists to each variable's home: how many lists deep it is.
struct Home {
    depth: usize,
    path: Vec<u32>,
}

struct Walk<'p> {
    program: &'p Program,
    lanes: u32,
    shapes: Shapes,
    homes: Vec<Option<Home>>,
    /// For each label, the control flow that exits were under so far.
    exits: Vec<Shape>,
    /// Every exit in order, with its control flow: of this walk, and of the one before.
    log: Vec<(usize, Shape)>,
    log_before: Vec<(usize, Shape)>,
    /// The open lists: control flow to enter each (relative to its parent), and the label that exits leave it by.
    open: Vec<(Shape, Option<usize>)>,
    changed: bool,
}

/// Finds the shapes when `lanes` invocations run at once.
pub(super) fn find(program: &Program, lanes: u32) -> Shapes {
    let mut homes: Vec<Option<Home>> = (0..program.vars.len()).map(|_| None).collect();
    find_homes(&program.body, &mut vec![0], &mut 0, &mut homes);
    let mut walk = Walk {
        program,
        lanes,
        shapes: Shapes {
            ids: vec![Group; program.ids.len()],
            vars: vec![Group; program.vars.len()],
            divergent: vec![false; program.labels as usize],
            lone_barrier: false,
        },
        homes,
        exits: vec![Group; program.labels as usize],
        log: Vec::new(),
        log_before: Vec::new(),
        open: vec![(Group, None)],
        changed: true,
    };
    while walk.changed {
        walk.changed = false;
        walk.shapes.lone_barrier = false;
        walk.exits.fill(Group);
        walk.list(&program.body);
        let log = std::mem::take(&mut walk.log);
        walk.changed |= log != walk.log_before;
        walk.log_before = log;
    }
    walk.shapes
}

fn exits_inside(stmt: &Stmt) -> usize {
    let inside = stmt.lists().flatten().map(exits_inside).sum::<usize>();
    inside + usize::from(matches!(stmt, Stmt::Exit(_)))
}

fn find_homes(list: &[Stmt], path: &mut Vec<u32>, next: &mut u32, homes: &mut [Option<Home>]) {
    for stmt in list {
        if let Some(Var(var)) = stmt.variable() {
            match &mut homes[var as usize] {
                Some(home) => {
                    home.depth =
                        home.path[..home.depth].iter().zip(&*path).take_while(|(a, b)| a == b).count();
                }
                none => *none = Some(Home { depth: path.len(), path: path.clone() }),
            }
        }
        for inner in stmt.lists() {
            *next += 1;
            path.push(*next);
            find_homes(inner, path, next, homes);
            path.pop();
        }
    }
}

impl Walk<'_> {
    fn list(&mut self, list: &[Stmt]) {
        for stmt in list {
            self.stmt(stmt);
        }
    }

    fn inside(&mut self, control: Shape, label: Option<usize>, list: &[Stmt]) {
        self.open.push((control, label));
        self.list(list);
        self.open.pop();
    }

    /// Control flow from the list at `depth` down to here.
    fn control(&self, depth: usize) -> Shape {
        let open = self.open.get(depth..).unwrap_or_default();
        let exited = |label: Option<usize>| label.map_or(Group, |label| self.exits[label]);
        open.iter().map(|(entered, label)| entered.join(exited(*label))).fold(Group, Shape::join)
    }

    fn set(&mut self, id: Id, shape: Shape) {
        let old = &mut self.shapes.ids[id.at()];
        // Shapes only get worse, so the walk ends.
        let new = if *old == Group || *old == shape { shape } else { old.join(shape).max(*old) };
        self.changed |= *old != new;
        *old = new;
    }

    fn shape(&self, id: Id) -> Shape {
        self.shapes.ids[id.at()]
    }

    fn joined(&self, ids: impl IntoIterator<Item = Id>) -> Shape {
        ids.into_iter().map(|id| self.shape(id)).fold(Group, Shape::join)
    }

    /// The worst that any value can be.
    fn private(&self) -> Shape {
        if self.lanes == 1 { Quad } else { Varying }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Let(id, op) => {
                let shape = self.op(self.program.num(*id), op);
                self.set(*id, shape);
            }
            Stmt::Set(var, id) => {
                let depth = self.homes[var.at()].as_ref().map_or(0, |home| home.depth);
                let shape = self.shapes.vars[var.at()].join(self.shape(*id)).join(self.control(depth));
                self.changed |= self.shapes.vars[var.at()] != shape;
                self.shapes.vars[var.at()] = shape;
            }
            Stmt::Load { place, into, uniform } => {
                let shape = if *uniform { Group } else { self.load(place) };
                into.iter().for_each(|(_, id)| self.set(*id, shape));
            }
            Stmt::Atomic { old, .. } => self.set(*old, self.private()),
            Stmt::Subgroup { op, result, .. } => {
                let shape = match op {
                    SubgroupOp::Ballot | SubgroupOp::Reduce(_) => Quad,
                    SubgroupOp::Shuffle(index) if self.shape(*index).is_scalar() => Quad,
                    SubgroupOp::Scan { .. } | SubgroupOp::Shuffle(_) => self.private(),
                };
                self.set(*result, shape);
            }
            Stmt::Image { results, op, .. } => {
                let shape = self.joined(stmt.uses());
                let shape = if op.is_query() { shape } else { shape.max(Quad) };
                results.iter().for_each(|id| self.set(*id, shape));
            }
            Stmt::If { condition, accept, reject } => {
                let control = self.shape(*condition).join(Group);
                self.inside(control, None, accept);
                self.inside(control, None, reject);
            }
            Stmt::Block { label, body } => self.inside(Group, Some(label.at()), body),
            Stmt::Loop { label, body } => {
                // What leaves late in the body decides who starts it again.
                let exits = body.iter().map(exits_inside).sum::<usize>();
                let start = self.log.len();
                for i in start..(start + exits).min(self.log_before.len()) {
                    let (label, control) = self.log_before[i];
                    self.exits[label] = self.exits[label].join(control);
                }
                self.inside(Group, Some(label.at()), body);
            }
            Stmt::Exit(label) => self.exit(label.at()),
            Stmt::Barrier(_) => self.shapes.lone_barrier |= self.control(0) != Group,
            Stmt::Store { .. } | Stmt::Zero(_) => {}
        }
    }

    fn exit(&mut self, label: usize) {
        let inside = self.open.iter().rposition(|(_, open)| *open == Some(label)).unwrap_or(0);
        // Who is left behind in the label's list was decided below it, or by earlier exits to it.
        let control = self.open[inside + 1..]
            .iter()
            .map(|(entered, open)| entered.join(open.map_or(Group, |open| self.exits[open])))
            .fold(Group, Shape::join);
        self.exits[label] = self.exits[label].join(control);
        self.log.push((label, control));
        if control == Varying {
            self.changed |= !self.shapes.divergent[label];
            self.shapes.divergent[label] = true;
        }
    }

    fn op(&self, num: Num, op: &Op) -> Shape {
        match *op {
            Op::Builtin(builtin) => self.builtin(builtin),
            Op::Get(var) => self.shapes.vars[var.at()],
            Op::Length(_) => Group,
            Op::Bits(a) if self.shape(a) == Linear && matches!(num, Num::I32 | Num::U32) => Linear,
            Op::Convert(a) if self.shape(a) == Linear && matches!(num, Num::I32 | Num::U32) => Linear,
            Op::Binary(Binary::Add, a, b) => match (self.shape(a), self.shape(b)) {
                (Linear, other) | (other, Linear) if other.is_scalar() => Linear,
                (a, b) => a.join(b),
            },
            Op::Binary(Binary::Subtract, a, b) if self.shape(a) == Linear && self.shape(b).is_scalar() => {
                Linear
            }
            _ => self.joined(op.operands()),
        }
    }

    fn builtin(&self, builtin: Builtin) -> Shape {
        let linear = if self.lanes == 1 { Quad } else { Linear };
        match builtin {
            Builtin::GroupId(_) | Builtin::GridSize(_) => Group,
            Builtin::SubgroupId => Quad,
            Builtin::LocalIndex | Builtin::SubgroupLane => linear,
            Builtin::LocalId(axis) | Builtin::GlobalId(axis) if self.mixes_rows(axis) => Varying,
            Builtin::GlobalId(0) | Builtin::LocalId(0) => linear,
            Builtin::LocalId(axis) if self.program.workgroup_size[axis] == 1 => Group,
            Builtin::GlobalId(axis) if self.program.workgroup_size[axis] == 1 => Group,
            Builtin::GlobalId(_) | Builtin::LocalId(_) => Quad,
        }
    }

    /// Whether lanes that run at once differ in a coordinate otherwise than by rising.
    fn mixes_rows(&self, axis: usize) -> bool {
        let [x, y, z] = self.program.workgroup_size;
        let rows = self.lanes == 4 && !x.is_multiple_of(4) && (y > 1 || z > 1);
        rows && self.program.workgroup_size[axis] > 1
    }

    fn load(&self, place: &Place) -> Shape {
        let indices = place.indices.iter().map(|index| index.id);
        let shape = self.joined(indices.chain(place.memory.element()));
        match place.memory {
            Memory::Slot { readonly: true, .. }
            | Memory::Element { readonly: true, .. }
            | Memory::Immediates
            | Memory::Constants => shape,
            Memory::Array(_) => self.private(),
            _ => shape.max(Quad),
        }
    }
}
