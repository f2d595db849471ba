//! Which vectors of four components keep the components of a lane together?
//!
//! Four registers hold a vector of four components for four lanes: usually one register for each component. Memory has it
//! the other way round, so every load and store would have to transpose. Where a vector is only loaded, computed
//! component by component, kept in variables and stored, its registers hold one lane each instead: a *row group*.
//! The instructions in between are the same.
//!
//! Groups are traced back from stores. Deliberately absent: groups with a component that is looked at alone; those keep
//! one register for each component, since they would be transposed sooner or later.

use std::collections::HashMap;

use super::{
    super::number::Num,
    helpers::field,
    ir::{Binary, Id, ImageOp, Memory, Op, Program, Stmt, Unary, Var},
    shape::{Shape, Shapes},
};

/// The same place in the four components of a vector.
pub(super) type Tuple = [Id; 4];

#[derive(Default)]
pub(super) struct Rows {
    /// By value: its group, and which lane its register holds.
    ids: HashMap<Id, (usize, u8)>,
    vars: HashMap<Var, u8>,
    groups: Vec<Group>,
    sets: HashMap<(Var, Id), Tuple>,
}

impl Rows {
    /// The lane that the register of a value holds, and how the group is computed.
    pub(super) fn of(&self, id: Id) -> Option<(u8, Option<[Op; 4]>)> {
        let (group, lane) = *self.ids.get(&id)?;
        Some((lane, self.groups[group].ops))
    }

    /// The lane that the register of a variable holds, and what is stored to its group together with `id`.
    pub(super) fn set(&self, var: Var, id: Id) -> Option<(u8, Tuple)> {
        Some((*self.vars.get(&var)?, *self.sets.get(&(var, id))?))
    }

    pub(super) fn contains(&self, id: Id) -> bool {
        self.ids.contains_key(&id)
    }
}

struct Group {
    ids: Tuple,
    /// How it is computed, unless it is loaded.
    ops: Option<[Op; 4]>,
}

#[derive(Clone, Copy)]
enum Definition {
    Elsewhere,
    /// Loaded together.
    Loaded(Tuple),
    Computed(Op),
}

/// Where a statement is: its list, and its number in the order of the program.
type Position = (u32, u32);

struct Site {
    definition: Definition,
    position: Position,
    uses: u32,
    /// Uses by groups.
    grouped: u32,
}

struct Finder<'p> {
    program: &'p Program,
    shapes: &'p Shapes,
    sites: Vec<Site>,
    sets: Vec<Vec<(Position, Id)>>,
    gets: Vec<u32>,
    grouped_gets: Vec<u32>,
    /// Tuples that memory or textures take: where each trace starts.
    stored: Vec<(Tuple, Position)>,
    rows: Rows,
    /// Groups that stand and fall together, as a forest.
    parents: Vec<usize>,
    bad: Vec<bool>,
    /// Groups of variables, and the group of values that they go with.
    var_groups: Vec<([Var; 4], usize)>,
    pending: Vec<(Tuple, usize, Position)>,
}

/// Finds the row groups of a program that runs four lanes at once.
pub(super) fn find(program: &Program, shapes: &Shapes) -> Rows {
    let site = || Site { definition: Definition::Elsewhere, position: (0, 0), uses: 0, grouped: 0 };
    let mut finder = Finder {
        program,
        shapes,
        sites: program.ids.iter().map(|_| site()).collect(),
        sets: vec![Vec::new(); program.vars.len()],
        gets: vec![0; program.vars.len()],
        grouped_gets: vec![0; program.vars.len()],
        stored: Vec::new(),
        rows: Rows::default(),
        parents: Vec::new(),
        bad: Vec::new(),
        var_groups: Vec::new(),
        pending: Vec::new(),
    };
    finder.collect(&program.body, &mut 0, &mut 0);
    for (tuple, position) in std::mem::take(&mut finder.stored) {
        let store = finder.node();
        finder.pending.push((tuple, store, position));
        while let Some((tuple, user, position)) = finder.pending.pop() {
            if !finder.trace(tuple, user, position) {
                finder.bad[user] = true;
            }
        }
    }
    finder.finish()
}

/// The values of leaves that are the four components of a vector.
pub(super) fn tuple(leaves: &[(u32, Id)]) -> Option<Tuple> {
    let [(start, a), (second, b), (third, c), (last, d)] = *leaves else { return None };
    ([second, third, last] == [start + 4, start + 8, start + 12]).then_some([a, b, c, d])
}

/// The texel that a store to a texture takes.
pub(super) fn stored_texel(fields: &[(usize, Id)]) -> Option<Tuple> {
    let at = |i: usize| fields.iter().find(|(at, _)| *at == field::VALUE + i).map(|(_, id)| *id);
    Some([at(0)?, at(1)?, at(2)?, at(3)?])
}

impl Finder<'_> {
    fn collect(&mut self, list: &[Stmt], lists: &mut u32, next: &mut u32) {
        *lists += 1;
        let own = *lists;
        for stmt in list {
            *next += 1;
            let position = (own, *next);
            for id in stmt.uses() {
                self.sites[id.at()].uses += 1;
            }
            let loaded = match stmt {
                Stmt::Load { place, into, .. } if !matches!(place.memory, Memory::Array(_)) => tuple(into),
                Stmt::Image { op: ImageOp::Load | ImageOp::Sample, results, .. } => {
                    results.as_slice().try_into().ok()
                }
                _ => None,
            };
            for id in stmt.defines() {
                self.sites[id.at()].position = position;
                self.sites[id.at()].definition = match (stmt, loaded) {
                    (Stmt::Let(_, op), _) => Definition::Computed(*op),
                    (_, Some(tuple)) => Definition::Loaded(tuple),
                    _ => Definition::Elsewhere,
                };
            }
            let stored = match stmt {
                Stmt::Store { place, from } if !matches!(place.memory, Memory::Array(_)) => tuple(from),
                Stmt::Image { op: ImageOp::Store, fields, .. } => stored_texel(fields),
                _ => None,
            };
            self.stored.extend(stored.map(|tuple| (tuple, position)));
            match stmt {
                Stmt::Set(var, id) => self.sets[var.at()].push((position, *id)),
                Stmt::Let(_, Op::Get(var)) => self.gets[var.at()] += 1,
                _ => {}
            }
            stmt.lists().for_each(|list| self.collect(list, lists, next));
        }
    }

    fn node(&mut self) -> usize {
        self.parents.push(self.parents.len());
        self.bad.push(false);
        // Numbers of groups and of nodes are the same; a store is a group without values.
        self.rows.groups.push(Group { ids: [Id(u32::MAX); 4], ops: None });
        self.parents.len() - 1
    }

    fn root(&self, mut node: usize) -> usize {
        while self.parents[node] != node {
            node = self.parents[node];
        }
        node
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    /// Makes a group of what `user` uses, if it is none of the forms that need none; false if it cannot be.
    fn trace(&mut self, tuple: Tuple, user: usize, at: Position) -> bool {
        if tuple.iter().all(|id| *id == tuple[0]) {
            return true;
        }
        if tuple.iter().all(|id| self.shapes.ids[id.at()].is_scalar()) {
            // All of them are needed for the first lane's register.
            return tuple.iter().all(|id| self.sites[id.at()].position.1 < at.1);
        }
        let known = self.rows.ids.get(&tuple[0]).map(|(group, _)| *group);
        let group = match known {
            Some(group) if self.rows.groups[group].ids == tuple => group,
            Some(_) => return false,
            None => {
                let fresh = tuple.iter().all(|id| !self.rows.contains(*id));
                if !fresh || !self.uniform_type(tuple) {
                    return false;
                }
                let group = self.node();
                self.rows.groups[group].ids = tuple;
                for (id, lane) in tuple.into_iter().zip(0..) {
                    self.rows.ids.insert(id, (group, lane));
                }
                self.bad[group] = !self.define(tuple, group);
                group
            }
        };
        self.join(group, user);
        tuple.iter().for_each(|id| self.sites[id.at()].grouped += 1);
        true
    }

    fn uniform_type(&self, tuple: Tuple) -> bool {
        let num = self.program.num(tuple[0]);
        let varies = |id: &Id| self.program.num(*id) == num && self.shapes.ids[id.at()] == Shape::Varying;
        is_plain(num) && tuple.iter().all(varies) && (0..4).all(|i| !tuple[..i].contains(&tuple[i]))
    }

    /// Finds how a new group is computed; false if its members differ.
    fn define(&mut self, tuple: Tuple, group: usize) -> bool {
        let sites = tuple.map(|id| &self.sites[id.at()]);
        if sites.iter().all(|site| matches!(site.definition, Definition::Loaded(loaded) if loaded == tuple)) {
            return true;
        }
        let positions = sites.map(|site| site.position);
        let mut ops = [Op::Get(Var(0)); 4];
        for (op, site) in ops.iter_mut().zip(sites) {
            let Definition::Computed(computed) = site.definition else { return false };
            *op = computed;
        }
        self.rows.groups[group].ops = Some(ops);
        if let [Op::Get(a), Op::Get(b), Op::Get(c), Op::Get(d)] = ops {
            return adjacent(positions) && self.get([a, b, c, d], group);
        }
        let nums = ops.map(|op| op.operands().next().map(|id| self.program.num(id)));
        let alike = ops.iter().all(|op| same_kind(&ops[0], op)) && nums.iter().all(|num| *num == nums[0]);
        if !alike || !componentwise(&ops[0], nums[0]) || positions.iter().any(|at| at.0 != positions[0].0) {
            return false;
        }
        let first = positions.into_iter().min_by_key(|at| at.1).unwrap_or(positions[0]);
        let operands = ops.map(|op| op.operands().collect::<Vec<_>>());
        let tuples = (0..operands[0].len()).map(|i| [0, 1, 2, 3].map(|k| operands[k][i]));
        self.pending.extend(tuples.map(|tuple| (tuple, group, first)));
        true
    }

    /// A group that reads variables: the variables become a group.
    fn get(&mut self, vars: [Var; 4], group: usize) -> bool {
        if let Some((_, other)) = self.var_groups.iter().find(|(known, _)| *known == vars) {
            self.join(*other, group);
            vars.iter().for_each(|var| self.grouped_gets[var.at()] += 1);
            return true;
        }
        let num = self.program.vars[vars[0].at()];
        let fresh = vars.iter().all(|var| {
            !self.rows.vars.contains_key(var)
                && self.shapes.vars[var.at()] == Shape::Varying
                && self.program.vars[var.at()] == num
        });
        let sets = vars.map(|var| self.sets[var.at()].clone());
        if !fresh || sets.iter().any(|list| list.len() != sets[0].len()) {
            return false;
        }
        for (var, lane) in vars.into_iter().zip(0..) {
            self.rows.vars.insert(var, lane);
            self.grouped_gets[var.at()] += 1;
        }
        self.var_groups.push((vars, group));
        for (i, a) in sets[0].iter().enumerate() {
            let [b, c, d] = [1, 2, 3].map(|k| sets[k][i]);
            let tuple = [a.1, b.1, c.1, d.1];
            if !adjacent([a.0, b.0, c.0, d.0]) {
                return false;
            }
            for (var, id) in vars.iter().zip(tuple) {
                if self.rows.sets.insert((*var, id), tuple).is_some_and(|other| other != tuple) {
                    return false;
                }
            }
            self.pending.push((tuple, group, a.0));
        }
        true
    }

    /// Keeps the groups that nothing speaks against.
    fn finish(mut self) -> Rows {
        for group in 0..self.rows.groups.len() {
            let ids = self.rows.groups[group].ids;
            let picked = |id: &Id| self.sites.get(id.at()).is_some_and(|site| site.uses != site.grouped);
            if ids.iter().any(picked) {
                self.bad[group] = true;
            }
        }
        for (vars, group) in &self.var_groups {
            if vars.iter().any(|var| self.gets[var.at()] != self.grouped_gets[var.at()]) {
                self.bad[*group] = true;
            }
        }
        let mut bad_roots = vec![false; self.parents.len()];
        for node in 0..self.parents.len() {
            let root = self.root(node);
            bad_roots[root] |= self.bad[node];
        }
        let good: Vec<bool> = (0..self.parents.len()).map(|node| !bad_roots[self.root(node)]).collect();
        self.rows.ids.retain(|_, (group, _)| good[*group]);
        let good_vars: Vec<Var> =
            self.var_groups.iter().filter(|(_, group)| good[*group]).flat_map(|(vars, _)| *vars).collect();
        self.rows.vars.retain(|var, _| good_vars.contains(var));
        self.rows
    }
}

/// Whether statements follow each other in one list.
fn adjacent(positions: [Position; 4]) -> bool {
    positions.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1)
}

fn same_kind(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Unary(a, _), Op::Unary(b, _)) => a == b,
        (Op::Binary(a, ..), Op::Binary(b, ..)) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

/// Whether it is the same in registers as in memory.
fn is_plain(num: Num) -> bool {
    matches!(num, Num::Bool | Num::I32 | Num::U32 | Num::F32)
}

/// Whether one instruction works on all components, without taking them apart.
fn componentwise(op: &Op, num: Option<Num>) -> bool {
    let float = num == Some(Num::F32);
    if !num.is_some_and(is_plain) {
        return false;
    }
    match op {
        Op::Binary(Binary::Divide, ..) => float,
        Op::Binary(Binary::Remainder | Binary::ShiftLeft | Binary::ShiftRight, ..) => false,
        Op::Unary(op, _) => {
            !matches!(op, Unary::LeadingZeros | Unary::TrailingZeros | Unary::Ones | Unary::Reverse)
        }
        Op::Binary(..) | Op::Select(..) | Op::Fma(..) | Op::Convert(_) | Op::Bits(_) => true,
        Op::Builtin(_) | Op::Call(..) | Op::Get(_) | Op::Length(_) | Op::LengthAt(..) => false,
    }
}
