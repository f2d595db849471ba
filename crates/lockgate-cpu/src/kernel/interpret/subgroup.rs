//! What invocations of a subgroup compute together: those that are active when the statement is reached.
//!
//! The steps, and their order, are those of machine code: pairs of neighbours are joined first, and what is missing counts
//! as a value that changes nothing.

use naga::{BuiltIn, CollectiveOperation, Direction, GatherMode, Statement, SubgroupOperation};

use super::{
    super::{
        number::{self, Num},
        subgroup::{SIZE, identity, operator},
    },
    Machine, Mask,
    control::lanes,
    eval::num_of,
    value::{Data, Fault, Value},
};

const LANES: usize = SIZE as usize;

/// A value of each invocation of a subgroup.
type Four = [u64; LANES];

/// A built-in value of an invocation of a workgroup with so many.
pub(super) fn builtin(builtin: BuiltIn, lane: usize, count: usize) -> Result<u64, Fault> {
    Ok(match builtin {
        BuiltIn::SubgroupId => lane / LANES,
        BuiltIn::SubgroupInvocationId => lane % LANES,
        BuiltIn::SubgroupSize => LANES,
        BuiltIn::NumSubgroups => count.div_ceil(LANES),
        _ => return Err(Fault::failed("this built-in value")),
    } as u64)
}

impl Machine<'_> {
    /// All invocations run in step; who records takes it for a barrier of the workgroup, which hides what subgroups do
    /// to each other and never tells of what is ordered.
    pub(super) fn subgroup_barrier(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.borrow_mut().barrier(naga::Barrier::all());
        }
    }

    /// A statement that invocations of each subgroup execute together.
    pub(super) fn together(&mut self, statement: &Statement, active: &Mask) -> Result<(), Fault> {
        for first in (0..active.len()).step_by(LANES) {
            let mut mask = vec![false; active.len()];
            let end = (first + LANES).min(active.len());
            mask[first..end].copy_from_slice(&active[first..end]);
            if mask[first..end].contains(&true) {
                self.subgroup(statement, first, &mask)?;
            }
        }
        Ok(())
    }

    fn subgroup(&mut self, statement: &Statement, first: usize, mask: &Mask) -> Result<(), Fault> {
        let active: [bool; LANES] = std::array::from_fn(|i| mask.get(first + i) == Some(&true));
        match *statement {
            Statement::SubgroupBallot { result, predicate } => {
                let mut bits = 0;
                for lane in lanes(mask) {
                    let holds = predicate.map_or(Ok(1), |predicate| self.value(predicate, lane)?.first())?;
                    bits |= holds << (lane - first);
                }
                lanes(mask).try_for_each(|lane| {
                    self.set(result, lane, Value::Data(Data::from_slice(&[bits, 0, 0, 0])))
                })
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                let num = num_of(self.inner(argument)?)?;
                let columns = self.columns(argument, first, mask)?;
                let joined: Vec<Four> =
                    columns.iter().map(|column| collective(op, collective_op, num, active, column)).collect();
                self.set_columns(result, first, mask, &joined)
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let columns = self.columns(argument, first, mask)?;
                let mut moved = vec![[0; LANES]; columns.len()];
                for lane in lanes(mask) {
                    let from = self.source(mode, lane, first, active)? as usize;
                    for (moved, column) in moved.iter_mut().zip(&columns) {
                        moved[lane - first] = if active.get(from) == Some(&true) { column[from] } else { 0 };
                    }
                }
                self.set_columns(result, first, mask, &moved)
            }
            _ => Err(Fault::failed("this statement")),
        }
    }

    /// Which invocation of the subgroup a value comes from.
    fn source(
        &self,
        mode: GatherMode,
        lane: usize,
        first: usize,
        active: [bool; LANES],
    ) -> Result<u32, Fault> {
        let own = (lane - first) as u32;
        let number = |handle| Ok::<u32, Fault>(self.value(handle, lane)?.first()? as u32);
        Ok(match mode {
            GatherMode::BroadcastFirst => active.iter().position(|active| *active).unwrap_or(0) as u32,
            GatherMode::Broadcast(index) | GatherMode::Shuffle(index) | GatherMode::QuadBroadcast(index) => {
                number(index)?
            }
            GatherMode::ShuffleDown(by) => own.wrapping_add(number(by)?),
            GatherMode::ShuffleUp(by) => own.wrapping_sub(number(by)?),
            GatherMode::ShuffleXor(by) => own ^ number(by)?,
            GatherMode::QuadSwap(Direction::X) => own ^ 1,
            GatherMode::QuadSwap(Direction::Y) => own ^ 2,
            GatherMode::QuadSwap(Direction::Diagonal) => own ^ 3,
        })
    }

    /// The scalars of a value in each invocation of a subgroup.
    fn columns(
        &self,
        argument: naga::Handle<naga::Expression>,
        first: usize,
        mask: &Mask,
    ) -> Result<Vec<Four>, Fault> {
        let mut columns = Vec::new();
        for lane in lanes(mask) {
            let value = self.value(argument, lane)?;
            let data = value.data()?;
            columns.resize(data.len(), [0; LANES]);
            for (column, bits) in columns.iter_mut().zip(data) {
                column[lane - first] = *bits;
            }
        }
        Ok(columns)
    }

    fn set_columns(
        &mut self,
        result: naga::Handle<naga::Expression>,
        first: usize,
        mask: &Mask,
        columns: &[Four],
    ) -> Result<(), Fault> {
        lanes(mask).try_for_each(|lane| {
            let data = columns.iter().map(|column| column[lane - first]).collect();
            self.set(result, lane, Value::Data(data))
        })
    }
}

fn collective(
    op: SubgroupOperation,
    collective: CollectiveOperation,
    num: Num,
    active: [bool; LANES],
    values: &Four,
) -> Four {
    let none = match op {
        SubgroupOperation::All => 1,
        op => identity(num, Some(op)),
    };
    let join = |a: u64, b: u64| match operator(op) {
        Some(op) => number::binary(op, num, a, b),
        None => {
            let smaller = op == SubgroupOperation::Min;
            let fun = if smaller { naga::MathFunction::Min } else { naga::MathFunction::Max };
            number::math(fun, num, &[a, b]).unwrap_or(a)
        }
    };
    let [a, b, c, d] = std::array::from_fn(|i| if active[i] { values[i] } else { none });
    if collective == CollectiveOperation::Reduce {
        return [join(join(a, b), join(c, d)); LANES];
    }
    let [a, b, c, d] = [join(none, a), join(a, b), join(b, c), join(c, d)];
    let [a, b, c, d] = [join(none, a), join(none, b), join(a, c), join(b, d)];
    if collective == CollectiveOperation::InclusiveScan { [a, b, c, d] } else { [none, a, b, c] }
}
