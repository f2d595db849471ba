//! What a recording says, so that it is known again when the same commands come once more.
//!
//! Recording costs several times what comparing does, and most programs say the same again and again. A script keeps no
//! resource alive: objects are compared by address, and a weak reference keeps an address from being given to another.
//! Deliberately absent: which recordings are kept (`flight/`). Tested in the contract suite.

use crate::plan::{Batch, HardwareStages, Step};
use lockgate_runtime::backend::{Binding, Command, Native, SubmittedBuffer};
use lockgate_sync::{CommandRef, CommitId};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::{Arc, Weak};

/// Command buffers of one batch beyond which it is not kept.
const BUFFERS_MAX: usize = 16;

/// The command buffers of commits in flight.
pub(crate) type Commits<'a> = &'a dyn Fn(CommitId) -> Option<Arc<[SubmittedBuffer]>>;

/// What a recording says.
pub(crate) struct Script {
    lines: Vec<Line>,
    buffers: Vec<Tables>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Barrier { after: HardwareStages, before: HardwareStages },
    Command { buffer: u32, command: u32 },
}

impl Script {
    /// The script of a batch; nothing if it can be used once only.
    pub(crate) fn of(batch: &Batch, commits: Commits<'_>) -> Option<Script> {
        let mut cast = Cast::default();
        let lines = batch.steps.iter().map(|step| cast.line(step)).collect::<Option<Vec<_>>>()?;
        let buffers = cast.buffers(commits, |buffer| Some(Tables::of(buffer)))?;
        Some(Script { lines, buffers })
    }

    /// Whether a batch says the same.
    pub(crate) fn says(&self, batch: &Batch, commits: Commits<'_>) -> bool {
        let mut cast = Cast::default();
        let same = self.lines.len() == batch.steps.len()
            && self.lines.iter().zip(&batch.steps).all(|(line, step)| cast.line(step) == Some(*line));
        let mut own = self.buffers.iter();
        let mut is = |buffer: &SubmittedBuffer| own.next()?.is(buffer).then_some(());
        same && cast.buffers(commits, &mut is).is_some()
    }
}

/// The command buffers of a batch, in the order in which it names them first.
#[derive(Default)]
struct Cast {
    list: SmallVec<[(CommitId, u32); 4]>,
    last: usize,
}

impl Cast {
    /// A step with its command buffer by place; nothing if it cannot come again.
    fn line(&mut self, step: &Step) -> Option<Line> {
        match step {
            Step::Barrier { after, before, fresh } => {
                fresh.is_empty().then_some(Line::Barrier { after: *after, before: *before })
            }
            Step::Command(CommandRef { commit, buffer, command }) => {
                let key = (*commit, *buffer);
                if self.list.get(self.last) != Some(&key) {
                    self.last = match self.list.iter().position(|own| *own == key) {
                        Some(at) => at,
                        None if self.list.len() == BUFFERS_MAX => return None,
                        None => {
                            self.list.push(key);
                            self.list.len() - 1
                        }
                    };
                }
                Some(Line::Command { buffer: self.last as u32, command: *command })
            }
        }
    }

    fn buffers<T>(
        &self,
        commits: Commits<'_>,
        mut each: impl FnMut(&SubmittedBuffer) -> Option<T>,
    ) -> Option<Vec<T>> {
        let each = |(commit, buffer): &(CommitId, u32)| each(commits(*commit)?.get(*buffer as usize)?);
        self.list.iter().map(each).collect()
    }
}

/// What commands of a command buffer mean.
struct Tables {
    commands: Vec<Command>,
    bindings: Vec<Binding>,
    immediates: Vec<u8>,
    objects: Vec<Weak<dyn Any + Send + Sync>>,
}

fn objects(of: &SubmittedBuffer) -> impl Iterator<Item = &Native> {
    of.resources.iter().chain(&of.samplers).chain(&of.pipelines)
}

impl Tables {
    fn of(buffer: &SubmittedBuffer) -> Tables {
        Tables {
            commands: buffer.contents.commands().to_vec(),
            bindings: buffer.contents.bindings().to_vec(),
            immediates: buffer.contents.immediates().to_vec(),
            objects: objects(buffer).map(Arc::downgrade).collect(),
        }
    }

    fn is(&self, buffer: &SubmittedBuffer) -> bool {
        let same = |(own, object): (&Weak<_>, &Native)| std::ptr::addr_eq(own.as_ptr(), Arc::as_ptr(object));
        self.objects.len() == objects(buffer).count()
            && self.objects.iter().zip(objects(buffer)).all(same)
            && self.immediates == buffer.contents.immediates()
            && self.bindings == buffer.contents.bindings()
            && self.commands == buffer.contents.commands()
    }
}
