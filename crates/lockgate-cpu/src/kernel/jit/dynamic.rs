//! Which variables does an index choose from? Those have to be memory; the others can be scalars.

use naga::{Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Statement};

/// For each function of a module, and for private variables.
pub(super) struct Dynamic {
    /// By function, by argument: it is a pointer behind which an index chooses.
    arguments: Vec<Vec<bool>>,
    globals: Vec<bool>,
}

enum Root {
    Local(Handle<LocalVariable>),
    Argument(u32),
    Global(Handle<GlobalVariable>),
}

impl Dynamic {
    pub(super) fn new(module: &Module) -> Self {
        let mut dynamic = Self { arguments: Vec::new(), globals: vec![false; module.global_variables.len()] };
        // Callees come before their callers.
        for (_, function) in module.functions.iter() {
            let mut arguments = vec![false; function.arguments.len()];
            let mut globals = std::mem::take(&mut dynamic.globals);
            dynamic.roots(function, &mut |root| match root {
                Root::Argument(index) => arguments[index as usize] = true,
                Root::Global(handle) => globals[handle.index()] = true,
                Root::Local(_) => {}
            });
            dynamic.globals = globals;
            dynamic.arguments.push(arguments);
        }
        for entry in &module.entry_points {
            let mut globals = std::mem::take(&mut dynamic.globals);
            dynamic.roots(&entry.function, &mut |root| {
                if let Root::Global(handle) = root {
                    globals[handle.index()] = true;
                }
            });
            dynamic.globals = globals;
        }
        dynamic
    }

    pub(super) fn global(&self, handle: Handle<GlobalVariable>) -> bool {
        self.globals[handle.index()]
    }

    pub(super) fn local(&self, function: &Function, handle: Handle<LocalVariable>) -> bool {
        let mut found = false;
        self.roots(function, &mut |root| found |= matches!(root, Root::Local(local) if local == handle));
        found
    }

    /// Calls `found` with each variable of a function that an index chooses from.
    fn roots(&self, function: &Function, found: &mut dyn FnMut(Root)) {
        for (_, expression) in function.expressions.iter() {
            if let Expression::Access { base, .. } = *expression
                && let Some(root) = root(function, base)
            {
                found(root);
            }
        }
        self.calls(function, &function.body, found);
    }

    fn calls(&self, function: &Function, block: &naga::Block, found: &mut dyn FnMut(Root)) {
        for statement in block {
            match statement {
                Statement::Call { function: callee, arguments, .. } => {
                    let Some(indexed) = self.arguments.get(callee.index()) else { continue };
                    for (argument, indexed) in arguments.iter().zip(indexed) {
                        if let (true, Some(root)) = (*indexed, root(function, *argument)) {
                            found(root);
                        }
                    }
                }
                Statement::Block(block) => self.calls(function, block, found),
                Statement::If { accept, reject, .. } => {
                    self.calls(function, accept, found);
                    self.calls(function, reject, found);
                }
                Statement::Switch { cases, .. } => {
                    cases.iter().for_each(|case| self.calls(function, &case.body, found));
                }
                Statement::Loop { body, continuing, .. } => {
                    self.calls(function, body, found);
                    self.calls(function, continuing, found);
                }
                _ => {}
            }
        }
    }
}

/// The variable that a chain of accesses starts from.
fn root(function: &Function, mut handle: Handle<Expression>) -> Option<Root> {
    loop {
        match function.expressions[handle] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => handle = base,
            Expression::LocalVariable(local) => return Some(Root::Local(local)),
            Expression::FunctionArgument(index) => return Some(Root::Argument(index)),
            Expression::GlobalVariable(global) => return Some(Root::Global(global)),
            _ => return None,
        }
    }
}
