//! How control flows: which invocations a statement is for, and where they go when they leave a block.

use naga::{Block, Expression, Function, Handle, Statement, SwitchCase, SwitchValue, valid::FunctionInfo};

use super::{
    super::port::Port,
    Frame, Machine, Mask,
    value::{Fault, Value},
};

/// Invocations that left a block before its end, and why.
struct Leaving {
    broke: Mask,
    continued: Mask,
}

impl Leaving {
    fn none(lanes: usize) -> Self {
        Self { broke: vec![false; lanes], continued: vec![false; lanes] }
    }
}

fn any(mask: &Mask) -> bool {
    mask.contains(&true)
}

/// `from` joins `into` and is empty afterwards.
fn join(into: &mut Mask, from: &mut Mask) {
    for (into, from) in into.iter_mut().zip(from) {
        *into |= std::mem::take(from);
    }
}

impl<'a> Machine<'a> {
    /// Calls a function for the invocations in `mask` and gives what each returned.
    pub(super) fn call(
        &mut self,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<Vec<Value>>,
        mask: &Mask,
    ) -> Result<Vec<Option<Value>>, Fault> {
        let lanes = mask.len();
        let module = &self.program.module;
        let locals: Vec<Vec<u8>> = function
            .local_variables
            .iter()
            .map(|(_, variable)| {
                vec![0; module.types[variable.ty].inner.try_size(module.to_ctx()).unwrap_or(0) as usize]
            })
            .collect();
        self.frames.push(Frame {
            function,
            info,
            values: vec![vec![None; function.expressions.len()]; lanes],
            arguments,
            locals: vec![locals; lanes],
            results: vec![None; lanes],
        });
        self.initialize_locals(function, mask)?;
        let mut active = mask.clone();
        self.block(&function.body, &mut active, &mut Leaving::none(lanes))?;
        Ok(self.frames.pop().map(|frame| frame.results).unwrap_or_default())
    }

    fn initialize_locals(&mut self, function: &'a Function, mask: &Mask) -> Result<(), Fault> {
        for (handle, variable) in function.local_variables.iter() {
            let Some(init) = variable.init else { continue };
            for lane in lanes(mask) {
                let value = self.value(init, lane)?;
                let leaves = self.program.leaves(variable.ty);
                let bytes = &mut self.frame_mut()?.locals[lane][handle.index()];
                super::value::write_bytes(bytes, 0, leaves, &value)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block, active: &mut Mask, leaving: &mut Leaving) -> Result<(), Fault> {
        for (statement, span) in block.span_iter() {
            if !any(active) {
                break;
            }
            self.statement = *span;
            self.statement(statement, active, leaving)?;
        }
        Ok(())
    }

    fn statement(
        &mut self,
        statement: &'a Statement,
        active: &mut Mask,
        leaving: &mut Leaving,
    ) -> Result<(), Fault> {
        match statement {
            Statement::Emit(range) => {
                for expression in range.clone() {
                    for lane in lanes(active) {
                        let value = self.evaluate(expression, lane)?;
                        self.set(expression, lane, value)?;
                    }
                }
            }
            Statement::Block(block) => self.block(block, active, leaving)?,
            Statement::If { condition, accept, reject } => {
                let (mut yes, mut no) = self.split(*condition, active)?;
                self.block(accept, &mut yes, leaving)?;
                self.block(reject, &mut no, leaving)?;
                active.fill(false);
                join(active, &mut yes);
                join(active, &mut no);
            }
            Statement::Switch { selector, cases } => self.switch(*selector, cases, active, leaving)?,
            Statement::Loop { body, continuing, break_if } => {
                self.repeat(body, continuing, *break_if, active)?;
            }
            Statement::Break => join(&mut leaving.broke, active),
            Statement::Continue => join(&mut leaving.continued, active),
            Statement::Return { value } => {
                for lane in lanes(active) {
                    let result = value.map(|value| self.value(value, lane)).transpose()?;
                    // What is returned by no value is nothing; the lane has left either way.
                    self.frame_mut()?.results[lane] = result;
                }
                active.fill(false);
            }
            Statement::ControlBarrier(naga::Barrier::SUB_GROUP) => self.subgroup_barrier(),
            Statement::ControlBarrier(flags) => self.barrier(active, *flags)?,
            Statement::MemoryBarrier(_) => {}
            _ => self.effect(statement, active)?,
        }
        Ok(())
    }

    /// Statements that change memory, one invocation after the other.
    fn effect(&mut self, statement: &'a Statement, active: &Mask) -> Result<(), Fault> {
        match *statement {
            Statement::WorkGroupUniformLoad { pointer, result } => {
                self.barrier(active, naga::Barrier::WORK_GROUP)?;
                for lane in lanes(active) {
                    let value = self.load(pointer, self.statement, lane)?;
                    self.set(result, lane, value)?;
                }
                self.barrier(active, naga::Barrier::WORK_GROUP)?;
            }
            Statement::SubgroupBallot { .. }
            | Statement::SubgroupCollectiveOperation { .. }
            | Statement::SubgroupGather { .. } => self.together(statement, active)?,
            Statement::Call { function, ref arguments, result } => {
                let mut values = vec![Vec::new(); active.len()];
                for lane in lanes(active) {
                    values[lane] = arguments
                        .iter()
                        .map(|argument| self.value(*argument, lane))
                        .collect::<Result<_, _>>()?;
                }
                let callee = &self.program.module.functions[function];
                let returned = self.call(callee, &self.program.info[function], values, active)?;
                if let Some(result) = result {
                    for lane in lanes(active) {
                        let value = returned[lane].clone();
                        self.set(
                            result,
                            lane,
                            value.ok_or_else(|| Fault::failed("a call without a result"))?,
                        )?;
                    }
                }
            }
            _ => {
                for lane in lanes(active) {
                    self.lane_effect(statement, lane)?;
                }
            }
        }
        Ok(())
    }

    fn lane_effect(&mut self, statement: &'a Statement, lane: usize) -> Result<(), Fault> {
        match *statement {
            Statement::Store { pointer, value } => self.store(pointer, value, lane),
            Statement::Atomic { pointer, fun, value, result } => {
                self.atomic(pointer, fun, value, result, lane)
            }
            Statement::ImageStore { image, coordinate, array_index, value } => {
                self.image_store(image, coordinate, array_index, value, lane)
            }
            Statement::ImageAtomic { image, coordinate, array_index, fun, value } => {
                self.image_atomic(image, coordinate, array_index, fun, value, lane)
            }
            _ => Err(Fault::failed("this statement")),
        }
    }

    /// All invocations of the workgroup have to be here.
    fn barrier(&self, active: &Mask, flags: naga::Barrier) -> Result<(), Fault> {
        if *active == self.present {
            if let Some(recorder) = &self.recorder {
                recorder.borrow_mut().barrier(flags);
            }
            self.port.into_iter().for_each(|port| port.barrier(flags));
            Ok(())
        } else {
            Err(Fault::failed("a barrier in control flow that is not uniform"))
        }
    }

    fn split(&self, condition: Handle<Expression>, active: &Mask) -> Result<(Mask, Mask), Fault> {
        let mut yes = vec![false; active.len()];
        let mut no = yes.clone();
        for lane in lanes(active) {
            let holds = self.value(condition, lane)?.first()? != 0;
            *if holds { &mut yes[lane] } else { &mut no[lane] } = true;
        }
        Ok((yes, no))
    }

    fn switch(
        &mut self,
        selector: Handle<Expression>,
        cases: &'a [SwitchCase],
        active: &mut Mask,
        leaving: &mut Leaving,
    ) -> Result<(), Fault> {
        let mut chosen = vec![vec![false; active.len()]; cases.len()];
        for lane in lanes(active) {
            let value = self.value(selector, lane)?.first()? as u32;
            let matches = |case: &SwitchCase| match case.value {
                SwitchValue::I32(wanted) => wanted as u32 == value,
                SwitchValue::U32(wanted) => wanted == value,
                SwitchValue::Default => false,
            };
            let default = cases.iter().position(|case| case.value == SwitchValue::Default);
            if let Some(case) = cases.iter().position(matches).or(default) {
                chosen[case][lane] = true;
                active[lane] = false;
            }
        }
        // `active` keeps those that no case is for.
        let mut inner = Leaving::none(active.len());
        let mut falling = vec![false; active.len()];
        for (case, mut entering) in cases.iter().zip(chosen) {
            join(&mut entering, &mut falling);
            self.block(&case.body, &mut entering, &mut inner)?;
            join(if case.fall_through { &mut falling } else { &mut *active }, &mut entering);
        }
        join(active, &mut falling);
        join(active, &mut inner.broke);
        join(&mut leaving.continued, &mut inner.continued);
        Ok(())
    }

    fn repeat(
        &mut self,
        body: &'a Block,
        continuing: &'a Block,
        break_if: Option<Handle<Expression>>,
        active: &mut Mask,
    ) -> Result<(), Fault> {
        let mut running = std::mem::replace(active, vec![false; active.len()]);
        while any(&running) {
            if self.launch.stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Fault::Stopped);
            }
            self.port.into_iter().for_each(Port::pause);
            let mut inner = Leaving::none(active.len());
            self.block(body, &mut running, &mut inner)?;
            join(&mut running, &mut inner.continued);
            self.block(continuing, &mut running, &mut inner)?;
            join(active, &mut inner.broke);
            if let Some(condition) = break_if {
                let (mut done, again) = self.split(condition, &running)?;
                join(active, &mut done);
                running = again;
            }
        }
        Ok(())
    }
}

/// The invocations in a mask.
pub(super) fn lanes(mask: &Mask) -> impl Iterator<Item = usize> + use<> {
    let chosen: Vec<usize> = (0..mask.len()).filter(|lane| mask[*lane]).collect();
    chosen.into_iter()
}
