//! What the compiler works on: one entry point as a tree of statements over scalars.
//!
//! Functions are inlined, vectors and structures are taken apart, and every way of leaving (break, continue, return) is
//! an [`Stmt::Exit`] to a label. A value ([`Id`]) is computed once in each pass through its statement; what changes
//! is a variable ([`Var`]) or memory. Pointers do not exist: each access names its place.

use lockgate_runtime::ObservedKind;
use naga::{AtomicFunction, MathFunction, Span};

use super::super::{
    number::Num,
    watch::{Space, Turn},
};

/// A scalar value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) u32);

/// A scalar variable of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Var(pub(super) u32);

/// A block or loop that can be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(pub(super) u32);

impl Id {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

impl Var {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

impl Label {
    pub(super) fn at(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a value besides how it is computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Info {
    pub(super) num: Num,
    /// The bits of a value that is the same in every launch; it has no statement.
    pub(super) constant: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unary {
    Negate,
    Not,
    Abs,
    Sqrt,
    Ceil,
    Floor,
    Round,
    Trunc,
    LeadingZeros,
    TrailingZeros,
    Ones,
    Reverse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    And,
    Or,
    Xor,
    ShiftLeft,
    ShiftRight,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Min,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Builtin {
    GlobalId(usize),
    LocalId(usize),
    LocalIndex,
    GroupId(usize),
    GridSize(usize),
    SubgroupId,
    /// Position in the subgroup.
    SubgroupLane,
}

/// How a value is computed, without effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Builtin(Builtin),
    Unary(Unary, Id),
    Binary(Binary, Id, Id),
    /// Condition, value if it holds, value if not.
    Select(Id, Id, Id),
    Fma(Id, Id, Id),
    /// The value as one of the result's type.
    Convert(Id),
    /// The bits as those of the result's type.
    Bits(Id),
    /// A function that Rust computes.
    Call(MathFunction, Id, Id),
    Get(Var),
    /// Elements of the runtime-sized array of a slot.
    Length(u32),
    /// The same for an element of an array of bindings.
    LengthAt(u32, Id),
}

impl Op {
    /// The values that it is computed from.
    pub(super) fn operands(&self) -> impl Iterator<Item = Id> + use<> {
        let list = match *self {
            Op::Builtin(_) | Op::Get(_) | Op::Length(_) => [None; 3],
            Op::Unary(_, a) | Op::Convert(a) | Op::Bits(a) | Op::LengthAt(_, a) => [Some(a), None, None],
            Op::Binary(_, a, b) | Op::Call(_, a, b) => [Some(a), Some(b), None],
            Op::Select(a, b, c) | Op::Fma(a, b, c) => [Some(a), Some(b), Some(c)],
        };
        list.into_iter().flatten()
    }

    fn each_operand(&mut self, visit: &mut dyn FnMut(&mut Id)) {
        match self {
            Op::Builtin(_) | Op::Get(_) | Op::Length(_) => {}
            Op::Unary(_, a) | Op::Convert(a) | Op::Bits(a) | Op::LengthAt(_, a) => visit(a),
            Op::Binary(_, a, b) | Op::Call(_, a, b) => [a, b].into_iter().for_each(visit),
            Op::Select(a, b, c) | Op::Fma(a, b, c) => [a, b, c].into_iter().for_each(visit),
        }
    }
}

/// Which memory a place is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// The buffer bound to a slot.
    Slot {
        slot: u32,
        readonly: bool,
    },
    /// A buffer of the array that is bound to a slot; an index beyond its end chooses the last.
    Element {
        slot: u32,
        readonly: bool,
        index: Id,
    },
    /// The workgroup's variables.
    Shared,
    /// An array of each invocation.
    Array(u32),
    Immediates,
    /// [`Program::constants`].
    Constants,
}

impl Memory {
    /// What chooses it from an array of bindings.
    pub(super) fn element(self) -> Option<Id> {
        match self {
            Memory::Element { index, .. } => Some(index),
            _ => None,
        }
    }
}

/// A texture or sampler, and what chooses it from an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) slot: u32,
    /// Unsigned 32 bits.
    pub(super) element: Option<Id>,
}

/// Memory of each invocation that indices choose from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Array {
    pub(super) size: u32,
    /// Whether all its scalars have 32 bits.
    pub(super) words: bool,
}

/// What invocations of a subgroup compute together; those that are not active take no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SubgroupOp {
    /// One bit for each invocation in which a value holds.
    Ballot,
    /// All values joined, pairs of neighbours first.
    Reduce(Binary),
    /// The values up to the invocation's own, with it or without.
    Scan { op: Binary, inclusive: bool },
    /// The value of the invocation with the number; zero if it is not there.
    Shuffle(Id),
}

/// How many elements an index chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Known(u32),
    /// As many as the slot's buffer has room for.
    Runtime,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Index {
    /// Unsigned 32 bits.
    pub(super) id: Id,
    pub(super) stride: u32,
    pub(super) bound: Bound,
}

/// Somewhere in memory.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) memory: Memory,
    pub(super) offset: u32,
    pub(super) indices: Vec<Index>,
    /// Which of [`Program::sites`] accesses it here, in a kernel that tells a recorder.
    pub(super) site: Option<u32>,
}

/// A place of the source that accesses memory.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) span: Span,
    pub(super) kind: ObservedKind,
    pub(super) space: Space,
    pub(super) variable: String,
    pub(super) told: Told,
    pub(super) turn: Turn,
}

/// How machine code tells of a place that accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// By a call each time.
    Call,
    /// By itself, as nothing but the bytes matters: for what is only read.
    Bytes,
    /// By itself, as long as the cells of `watch` say that nothing is to be found.
    Cells,
    /// By itself, as long as each invocation goes on with what the one before it did. In a launch where they do not, as
    /// `Cells`.
    Run,
}

/// What a texture is asked for; operands are in [`Stmt::Image`]'s fields of an
/// [`ImageCall`](super::helpers::ImageCall).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum ImageOp {
    Load,
    Store,
    Sample,
    /// With coordinates kept half a texel inside.
    SampleClamped,
    SampleGradient,
    SampleCompare,
    Gather,
    GatherCompare,
    /// An atomic operation; its number is [`atomic_number`](super::helpers::atomic_number)'s.
    Atomic,
    Size,
    Levels,
    Layers,
}

impl ImageOp {
    /// Whether it changes texels.
    pub(super) fn writes(self) -> bool {
        matches!(self, ImageOp::Store | ImageOp::Atomic)
    }

    /// Whether it looks at no texel.
    pub(super) fn is_query(self) -> bool {
        matches!(self, ImageOp::Size | ImageOp::Levels | ImageOp::Layers)
    }
}

#[derive(Clone, Debug)]
pub(super) enum Stmt {
    Let(Id, Op),
    Set(Var, Id),
    /// Scalars at byte offsets of a place. `uniform`: the same for the workgroup by definition.
    Load {
        place: Place,
        into: Vec<(u32, Id)>,
        uniform: bool,
    },
    Store {
        place: Place,
        from: Vec<(u32, Id)>,
    },
    /// Zeroes an array of each invocation.
    Zero(u32),
    Atomic {
        place: Place,
        fun: AtomicFunction,
        value: Id,
        compare: Option<Id>,
        old: Id,
    },
    Image {
        op: ImageOp,
        texture: Resource,
        sampler: Option<Resource>,
        fields: Vec<(usize, Id)>,
        results: Vec<Id>,
        /// As that of a [`Place`].
        site: Option<u32>,
    },
    If {
        condition: Id,
        accept: Vec<Stmt>,
        reject: Vec<Stmt>,
    },
    /// Exits to the label go behind it.
    Block {
        label: Label,
        body: Vec<Stmt>,
    },
    /// Starts again at its end; exits to the label go behind it.
    Loop {
        label: Label,
        body: Vec<Stmt>,
    },
    Exit(Label),
    Barrier(naga::Barrier),
    Subgroup {
        op: SubgroupOp,
        value: Id,
        result: Id,
    },
}

impl Stmt {
    /// The lists of statements inside.
    pub(super) fn lists(&self) -> impl Iterator<Item = &Vec<Stmt>> {
        let lists = match self {
            Stmt::If { accept, reject, .. } => [Some(accept), Some(reject)],
            Stmt::Block { body, .. } | Stmt::Loop { body, .. } => [Some(body), None],
            _ => [None, None],
        };
        lists.into_iter().flatten()
    }

    /// Whether `found` holds for this statement or one inside.
    pub(super) fn any(&self, found: &mut dyn FnMut(&Stmt) -> bool) -> bool {
        found(self) || self.lists().any(|list| list.iter().any(|stmt| stmt.any(found)))
    }

    /// The values that it uses itself, without those of statements inside.
    pub(super) fn uses(&self) -> Vec<Id> {
        let of_place = |place: &Place| {
            let indices = place.indices.iter().map(|index| index.id);
            indices.chain(place.memory.element()).collect::<Vec<_>>()
        };
        match self {
            Stmt::Let(_, op) => op.operands().collect(),
            Stmt::Set(_, id) | Stmt::If { condition: id, .. } => vec![*id],
            Stmt::Load { place, .. } => of_place(place),
            Stmt::Store { place, from } => {
                [of_place(place), from.iter().map(|(_, id)| *id).collect()].concat()
            }
            Stmt::Atomic { place, value, compare, .. } => {
                [of_place(place), vec![*value], compare.iter().copied().collect()].concat()
            }
            Stmt::Image { fields, texture, sampler, .. } => {
                let elements = [Some(*texture), *sampler].into_iter().flatten();
                let fields = fields.iter().map(|(_, id)| *id);
                fields.chain(elements.filter_map(|resource| resource.element)).collect()
            }
            Stmt::Subgroup { op: SubgroupOp::Shuffle(index), value, .. } => vec![*value, *index],
            Stmt::Subgroup { value, .. } => vec![*value],
            _ => Vec::new(),
        }
    }

    /// The values that it computes itself.
    pub(super) fn defines(&self) -> Vec<Id> {
        match self {
            Stmt::Let(id, _) | Stmt::Atomic { old: id, .. } | Stmt::Subgroup { result: id, .. } => vec![*id],
            Stmt::Load { into, .. } => into.iter().map(|(_, id)| *id).collect(),
            Stmt::Image { results, .. } => results.clone(),
            _ => Vec::new(),
        }
    }

    /// What [`uses`](Self::uses) names, to be changed.
    pub(super) fn each_use(&mut self, visit: &mut dyn FnMut(&mut Id)) {
        fn of_place(place: &mut Place, visit: &mut dyn FnMut(&mut Id)) {
            place.indices.iter_mut().for_each(|index| visit(&mut index.id));
            if let Memory::Element { index, .. } = &mut place.memory {
                visit(index);
            }
        }
        match self {
            Stmt::Let(_, op) => op.each_operand(visit),
            Stmt::Set(_, id) | Stmt::If { condition: id, .. } => visit(id),
            Stmt::Load { place, .. } => of_place(place, visit),
            Stmt::Store { place, from } => {
                of_place(place, visit);
                from.iter_mut().for_each(|(_, id)| visit(id));
            }
            Stmt::Atomic { place, value, compare, .. } => {
                of_place(place, visit);
                [Some(value), compare.as_mut()].into_iter().flatten().for_each(visit);
            }
            Stmt::Image { fields, texture, sampler, .. } => {
                let resources = [Some(texture), sampler.as_mut()].into_iter().flatten();
                let elements = resources.filter_map(|resource| resource.element.as_mut());
                fields.iter_mut().map(|(_, id)| id).chain(elements).for_each(visit);
            }
            Stmt::Subgroup { op, value, .. } => {
                visit(value);
                if let SubgroupOp::Shuffle(index) = op {
                    visit(index);
                }
            }
            _ => {}
        }
    }

    /// What [`defines`](Self::defines) names, to be changed.
    pub(super) fn each_definition(&mut self, visit: &mut dyn FnMut(&mut Id)) {
        match self {
            Stmt::Let(id, _) | Stmt::Atomic { old: id, .. } | Stmt::Subgroup { result: id, .. } => visit(id),
            Stmt::Load { into, .. } => into.iter_mut().for_each(|(_, id)| visit(id)),
            Stmt::Image { results, .. } => results.iter_mut().for_each(visit),
            _ => {}
        }
    }

    /// Which of [`Program::sites`] it is itself.
    pub(super) fn site(&self) -> Option<u32> {
        match self {
            Stmt::Load { place, .. } | Stmt::Store { place, .. } | Stmt::Atomic { place, .. } => place.site,
            Stmt::Image { site, .. } => *site,
            _ => None,
        }
    }

    /// Whether it tells a recorder of what it accesses itself.
    pub(super) fn is_told(&self) -> bool {
        self.site().is_some()
    }

    /// The variable that it reads or writes itself.
    pub(super) fn variable(&self) -> Option<Var> {
        match self {
            Stmt::Let(_, Op::Get(var)) | Stmt::Set(var, _) => Some(*var),
            _ => None,
        }
    }

    /// Statements inside, itself included: a measure of the code it becomes.
    pub(super) fn weight(&self) -> usize {
        1 + self.lists().flatten().map(Stmt::weight).sum::<usize>()
    }
}

/// One entry point.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) ids: Vec<Info>,
    pub(super) vars: Vec<Num>,
    /// The arrays of an invocation.
    pub(super) arrays: Vec<Array>,
    pub(super) labels: u32,
    pub(super) constants: Vec<u8>,
    pub(super) body: Vec<Stmt>,
    pub(super) workgroup_size: [u32; 3],
    pub(super) shared_bytes: u32,
    pub(super) immediate_bytes: u32,
    /// Whether all accesses are told to a recorder.
    pub(super) observed: bool,
    pub(super) sites: Vec<Site>,
    /// Whether invocations of a subgroup work together, so that they have to run at once.
    pub(super) subgroups: bool,
}

impl Program {
    /// Invocations of a workgroup.
    pub(super) fn invocations(&self) -> u32 {
        self.workgroup_size.iter().product()
    }

    pub(super) fn num(&self, id: Id) -> Num {
        self.ids[id.at()].num
    }

    pub(super) fn constant(&self, id: Id) -> Option<u64> {
        self.ids[id.at()].constant
    }
}
