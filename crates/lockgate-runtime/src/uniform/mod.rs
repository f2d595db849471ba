//! Do all invocations of a workgroup come to its barriers together?
//!
//! WGSL asks for it, and a driver that runs a kernel which does not may lose the device. The walk follows naga's statements
//! for all invocations at once and goes into calls. It knows of each value whether it is the same in the whole workgroup
//! (`shape.rs`), and of each place whether all that entered the kernel are there. What is stored elsewhere counts as
//! differing, so that nothing has to be known about a part of a workgroup.
//!
//! Deliberately absent: subgroups and their barriers, values (a condition that always holds is still a condition), and
//! kernels of more than [`STEPS_MAX`] steps or [`DEPTH_MAX`] calls, which pass. Tested in the contract suite (`refusals.rs`).

mod expression;
mod shape;

use crate::ShaderModule;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{Barrier, Binding, Block, BuiltIn, Expression, Function, Handle, Module, Span, Statement};
use shape::Shape;

/// Statements and expressions that are looked at, each as often as loops and calls come to it; a choice counts once for each
/// variable.
const STEPS_MAX: usize = 1 << 22;
/// Calls inside of each other.
const DEPTH_MAX: usize = 64;

/// The first barrier that not all invocations of a workgroup reach together.
pub(crate) fn lone_barrier(shader: &ShaderModule, entry: usize) -> Option<Span> {
    let info = shader.info.get_entry_point(entry);
    if info.uniformity.requirements.is_empty() {
        return None;
    }
    let point = &shader.module.entry_points[entry];
    // An override may make a side longer.
    let over = point.workgroup_size_overrides.unwrap_or_default();
    let is_one = std::array::from_fn(|axis| point.workgroup_size[axis] == 1 && over[axis].is_none());
    let arguments = point.function.arguments.iter();
    let arguments = arguments.map(|argument| entry_argument(&shader.module, is_one, argument));
    let mut walk = Walk {
        module: &shader.module,
        info: &shader.info,
        variables: Some(vec![Shape::Uniform; shader.module.global_variables.len()]),
        labels: Vec::new(),
        steps: 0,
        depth: 0,
    };
    match walk.call(&point.function, info, arguments.map(Value::Data).collect()) {
        Err(Stop::Barrier(span)) => Some(span),
        Ok(_) | Err(Stop::TooLong) => None,
    }
}

/// A built-in value or a structure of them.
fn entry_argument(module: &Module, is_one: [bool; 3], argument: &naga::FunctionArgument) -> Shape {
    let shape = |binding: &Option<Binding>| match binding {
        Some(Binding::BuiltIn(builtin)) => builtin_shape(*builtin, is_one),
        _ => Shape::Varying,
    };
    match &module.types[argument.ty].inner {
        naga::TypeInner::Struct { members, .. } => {
            Shape::parts(members.iter().map(|member| shape(&member.binding)))
        }
        _ => shape(&argument.binding),
    }
}

fn builtin_shape(builtin: BuiltIn, is_one: [bool; 3]) -> Shape {
    use BuiltIn as B;
    match builtin {
        B::WorkGroupId | B::NumWorkGroups | B::WorkGroupSize | B::SubgroupSize | B::NumSubgroups => {
            Shape::Uniform
        }
        B::GlobalInvocationId | B::LocalInvocationId => Shape::parts(is_one.map(Shape::of)),
        _ => Shape::Varying,
    }
}

/// Why the walk ends before its end.
enum Stop {
    Barrier(Span),
    TooLong,
}

/// The shapes of all variables; none where no invocation comes.
type Variables = Option<Vec<Shape>>;

fn join(a: Variables, b: Variables) -> Variables {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.into_iter().zip(b).map(|(a, b)| a.join(b)).collect()),
        (one, None) | (None, one) => one,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Of an `if` or a `case`; nothing leaves to its end.
    Branch,
    /// `break` leaves to its end.
    Breakable,
    /// `continue` leaves to its end.
    Body,
    /// `return` leaves to its end.
    Call,
}

/// A stretch of statements that is being walked.
struct Label {
    kind: Kind,
    /// Whether all who came to it are in it, and have not left it one by one.
    together: bool,
    /// The variables of those that have left to its end.
    left: Variables,
}

/// Where a pointer points.
#[derive(Clone)]
struct Place {
    root: Root,
    /// Members and elements on the way; none for an index that is computed.
    path: Vec<Option<u32>>,
    /// Whether it is the same for all.
    same: bool,
}

#[derive(Clone, Copy)]
enum Root {
    /// Of an invocation, by its number in [`Variables`].
    Variable(usize),
    /// Of all; whether nothing changes it.
    Memory { constant: bool },
}

#[derive(Clone)]
enum Value {
    Data(Shape),
    Place(Place),
}

/// A function that is being walked.
struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    values: Vec<Option<Value>>,
    arguments: Vec<Value>,
    /// Where its variables begin.
    base: usize,
    result: Shape,
}

struct Walk<'a> {
    module: &'a Module,
    info: &'a ModuleInfo,
    /// Variables of the module, then those of the functions that are being walked.
    variables: Variables,
    labels: Vec<Label>,
    steps: usize,
    depth: usize,
}

impl<'a> Walk<'a> {
    fn step(&mut self, count: usize) -> Result<(), Stop> {
        self.steps += count;
        if self.steps > STEPS_MAX { Err(Stop::TooLong) } else { Ok(()) }
    }

    fn open(&mut self, kind: Kind, together: bool) {
        self.labels.push(Label { kind, together, left: None });
    }

    /// Ends a stretch: those that left it go on together with those that are at its end.
    fn close(&mut self) -> bool {
        let Some(label) = self.labels.pop() else { return true };
        self.variables = join(self.variables.take(), label.left);
        label.together
    }

    /// All that are here leave.
    fn leave(&mut self, kind: Kind) {
        let Some(at) = self.labels.iter().rposition(|label| label.kind == kind) else { return };
        let together = self.labels[at + 1..].iter().all(|label| label.together);
        let left = self.variables.take();
        let label = &mut self.labels[at];
        label.together &= together;
        label.left = join(label.left.take(), left);
    }

    fn is_together(&self) -> bool {
        self.labels.iter().all(|label| label.together)
    }

    fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Value>,
    ) -> Result<Shape, Stop> {
        let Some(variables) = &mut self.variables else { return Ok(Shape::Uniform) };
        if self.depth == DEPTH_MAX {
            return Err(Stop::TooLong);
        }
        self.depth += 1;
        let base = variables.len();
        variables.resize(base + function.local_variables.len(), Shape::Uniform);
        let values = vec![None; function.expressions.len()];
        let mut frame = Frame { function, info, values, arguments, base, result: Shape::Uniform };
        self.open(Kind::Call, true);
        self.block(&mut frame, &function.body)?;
        // Who returned elsewhere may have returned another value.
        let together = self.close();
        self.depth -= 1;
        if let Some(variables) = &mut self.variables {
            variables.truncate(base);
        }
        Ok(if together { frame.result } else { Shape::Varying })
    }

    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block) -> Result<(), Stop> {
        for (statement, span) in block.span_iter() {
            if self.variables.is_none() {
                break;
            }
            self.step(1)?;
            self.statement(frame, statement, *span)?;
        }
        Ok(())
    }

    fn statement(&mut self, frame: &mut Frame<'a>, statement: &'a Statement, span: Span) -> Result<(), Stop> {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    self.step(1)?;
                    frame.values[handle.index()] = Some(self.expression(frame, handle));
                }
            }
            Statement::Block(inner) => self.block(frame, inner)?,
            Statement::If { condition, accept, reject } => {
                let same = self.is_same(frame, *condition);
                let before = self.variables.clone();
                self.branch(frame, accept, same)?;
                let accepted = std::mem::replace(&mut self.variables, before);
                self.branch(frame, reject, same)?;
                self.variables = join(accepted, self.variables.take());
            }
            Statement::Switch { selector, cases } => self.switch(frame, *selector, cases)?,
            Statement::Loop { body, continuing, break_if } => {
                self.walk_loop(frame, body, continuing, *break_if)?;
            }
            Statement::Break => self.leave(Kind::Breakable),
            Statement::Continue => self.leave(Kind::Body),
            Statement::Return { value } => {
                if let Some(value) = value {
                    let value = self.shape(frame, *value);
                    frame.result = std::mem::replace(&mut frame.result, Shape::Uniform).join(value);
                }
                self.leave(Kind::Call);
            }
            Statement::ControlBarrier(barrier) if *barrier != Barrier::SUB_GROUP => self.barrier(span)?,
            Statement::WorkGroupUniformLoad { result, .. } => {
                self.barrier(span)?;
                frame.values[result.index()] = Some(Value::Data(Shape::Uniform));
            }
            Statement::Store { pointer, value } => {
                let value = self.shape(frame, *value);
                if let Value::Place(place) = self.value(frame, *pointer) {
                    self.store(&place, value);
                }
            }
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|argument| self.value(frame, *argument)).collect();
                let (callee, info) = (&self.module.functions[*function], &self.info[*function]);
                let shape = self.call(callee, info, arguments)?;
                if let Some(result) = result {
                    frame.values[result.index()] = Some(Value::Data(shape));
                }
            }
            // What they give differs, and what they change is memory.
            _ => {}
        }
        Ok(())
    }

    fn barrier(&self, span: Span) -> Result<(), Stop> {
        if self.is_together() { Ok(()) } else { Err(Stop::Barrier(span)) }
    }

    fn branch(&mut self, frame: &mut Frame<'a>, block: &'a Block, together: bool) -> Result<(), Stop> {
        self.step(self.variables.as_ref().map_or(0, Vec::len))?;
        self.open(Kind::Branch, together);
        self.block(frame, block)?;
        self.close();
        Ok(())
    }

    fn switch(
        &mut self,
        frame: &mut Frame<'a>,
        selector: Handle<Expression>,
        cases: &'a [naga::SwitchCase],
    ) -> Result<(), Stop> {
        let same = self.is_same(frame, selector);
        let before = self.variables.clone();
        let mut fallen = None;
        self.open(Kind::Breakable, true);
        for case in cases {
            self.variables = join(before.clone(), fallen.take());
            self.branch(frame, &case.body, same)?;
            match case.fall_through {
                true => fallen = self.variables.take(),
                false => self.leave(Kind::Breakable),
            }
        }
        self.close();
        Ok(())
    }

    /// Walks until another time around would find nothing new.
    fn walk_loop(
        &mut self,
        frame: &mut Frame<'a>,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
    ) -> Result<(), Stop> {
        self.open(Kind::Breakable, true);
        let mut head = self.variables.clone();
        loop {
            self.step(head.as_ref().map_or(0, Vec::len))?;
            let before = (self.is_together(), head.clone());
            self.open(Kind::Body, true);
            self.block(frame, body)?;
            self.close();
            self.block(frame, continuing)?;
            if let Some(condition) = break_if.filter(|_| self.variables.is_some()) {
                let same = self.is_same(frame, condition);
                let going_on = self.variables.clone();
                self.open(Kind::Branch, same);
                self.leave(Kind::Breakable);
                self.close();
                self.variables = going_on;
            }
            head = join(head, self.variables.take());
            if before == (self.is_together(), head.clone()) {
                break;
            }
            self.variables = head.clone();
        }
        self.close();
        Ok(())
    }

    fn store(&mut self, place: &Place, value: Shape) {
        let together = self.is_together() && place.same;
        let (Root::Variable(at), Some(variables)) = (place.root, &mut self.variables) else { return };
        variables[at].set(&place.path, if together { value } else { Shape::Varying });
    }
}

#[cfg(test)]
mod tests {
    /// A chain of calls, with a barrier for some at its end.
    fn is_taken(calls: usize) -> bool {
        let function = |at: usize| format!("fn f{at}(l: u32) {{ f{}(l); }}\n", at + 1);
        let functions: String = (0..calls).map(function).collect();
        let source = format!(
            "{functions} fn f{calls}(l: u32) {{ if l > 3u {{ workgroupBarrier(); }} }}
            @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) l: u32) {{ f0(l); }}"
        );
        let library = crate::Library::new(&source).unwrap_or_else(|why| panic!("{why}"));
        super::lone_barrier(library.module(), 0).is_none()
    }

    #[test]
    fn deep_calls_are_not_followed_to_their_end() {
        assert!(!is_taken(super::DEPTH_MAX - 2));
        assert!(is_taken(super::DEPTH_MAX - 1));
        assert!(is_taken(2000));
    }
}
