//! What a command buffer has recorded: the model's recording beside the device's commands.
//!
//! Flat tables that are cleared and filled again, so that recording allocates nothing in the steady state. A
//! command names resources by their place in a table of the command buffer; keys are looked up once each at
//! commit. Command `n` of [`CommandBufferContents::commands`] is command `n` of the recording.

use crate::backend::{Binding, Command, Native};
use crate::completion::CommitState;
use crate::device::ResourceKey;
use crate::{Buffer, ComputePipeline, Error, ResidencySet, Texture};
use lockgate_sync::{PassKind, Recorded, Recording};
use std::ops::Range;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A resource that a command buffer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedResource {
    /// Which one.
    pub key: ResourceKey,
}

/// Keeps a resource alive from its use in a command buffer to the commit.
#[allow(dead_code, reason = "held, never looked at")]
enum Handle {
    Buffer(Buffer),
    Texture(Texture),
}

/// A pass of a command buffer, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassInfo {
    /// What kind of encoder.
    pub kind: PassKind,
    /// Its label in the texts.
    label: Range<u32>,
    /// Its commands.
    pub commands: Range<u32>,
}

/// A command of a command buffer, for people.
#[derive(Clone, Debug)]
pub(crate) struct CommandInfo {
    label: Range<u32>,
    pub(crate) origin: &'static Location<'static>,
}

/// What a command buffer has recorded.
///
/// ```
/// let contents = lockgate_runtime::CommandBufferContents::default();
/// assert!(contents.commands().is_empty());
/// ```
#[derive(Default)]
pub struct CommandBufferContents {
    pub(crate) recording: Recording,
    pub(crate) commands: Vec<Command>,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) immediates: Vec<u8>,
    resources: Vec<UsedResource>,
    /// The handles of `resources`, until the commit holds what is behind them.
    handles: Mutex<Vec<Handle>>,
    /// For each id of the device, where it may stand in `resources`.
    places: Vec<u32>,
    samplers: Vec<Native>,
    pipelines: Vec<Native>,
    /// The same, for asking what their kernels touch.
    kernels: Vec<ComputePipeline>,
    pub(crate) residency: Vec<ResidencySet>,
    passes: Vec<PassInfo>,
    infos: Vec<CommandInfo>,
    /// Where operations of synchronization and passes were recorded, by their place in the recording.
    origins: Vec<(u32, &'static Location<'static>)>,
    text: String,
    label: Range<u32>,
    /// The commit that it went with.
    commit: Mutex<Option<Arc<CommitState>>>,
    /// The first thing that went wrong while recording.
    pub(crate) error: Option<Error>,
}

impl std::fmt::Debug for CommandBufferContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CommandBufferContents").field("label", &self.label()).finish_non_exhaustive()
    }
}

impl Recorded for CommandBufferContents {
    fn recording(&self) -> &Recording {
        &self.recording
    }
}

impl CommandBufferContents {
    /// The model's recording.
    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    /// The commands in encode order.
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The bindings of all dispatches.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The immediates of all dispatches.
    pub fn immediates(&self) -> &[u8] {
        &self.immediates
    }

    /// The resources that commands name.
    pub fn resources(&self) -> &[UsedResource] {
        &self.resources
    }

    /// The samplers that bindings name.
    pub fn samplers(&self) -> &[Native] {
        &self.samplers
    }

    /// The pipelines that dispatches name.
    pub fn pipelines(&self) -> &[Native] {
        &self.pipelines
    }

    /// The pipeline of a dispatch.
    pub(crate) fn kernel(&self, pipeline: u32) -> Option<&ComputePipeline> {
        self.kernels.get(pipeline as usize)
    }

    /// The passes.
    pub fn passes(&self) -> &[PassInfo] {
        &self.passes
    }

    /// What messages call the command buffer.
    pub fn label(&self) -> &str {
        self.text_of(&self.label)
    }

    /// What messages call a pass.
    pub fn pass_label(&self, pass: &PassInfo) -> &str {
        self.text_of(&pass.label)
    }

    /// What messages call a command; empty for a number that it does not have.
    pub fn command_label(&self, command: u32) -> &str {
        self.infos.get(command as usize).map_or("", |info| self.text_of(&info.label))
    }

    /// Where in the program's source a command was recorded.
    pub fn command_origin(&self, command: u32) -> Option<&'static Location<'static>> {
        self.infos.get(command as usize).map(|info| info.origin)
    }

    /// Where in the program's source an operation of synchronization was recorded, or the pass that it begins or
    /// ends.
    pub fn operation_origin(&self, op: u32) -> Option<&'static Location<'static>> {
        let at = self.origins.partition_point(|(own, _)| *own <= op).checked_sub(1)?;
        Some(self.origins[at].1)
    }

    /// The next operation is recorded here.
    pub(crate) fn note_origin(&mut self, origin: &'static Location<'static>) {
        self.origins.push((self.recording.ops().len() as u32, origin));
    }

    fn text_of(&self, range: &Range<u32>) -> &str {
        self.text.get(range.start as usize..range.end as usize).unwrap_or("")
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.recording.clear();
        self.commands.clear();
        self.bindings.clear();
        self.immediates.clear();
        self.resources.clear();
        self.release_handles();
        self.samplers.clear();
        self.pipelines.clear();
        self.kernels.clear();
        self.residency.clear();
        self.passes.clear();
        self.infos.clear();
        self.origins.clear();
        self.text.clear();
        self.label = 0..0;
        *self.commit() = None;
        self.error = None;
    }

    pub(crate) fn commit(&self) -> MutexGuard<'_, Option<Arc<CommitState>>> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_label(&mut self, label: &str) {
        self.label = self.add_text(label);
    }

    fn add_text(&mut self, text: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.push_str(text);
        start..self.text.len() as u32
    }

    pub(crate) fn begin_pass(&mut self, kind: PassKind, label: &str) {
        let label = self.add_text(label);
        let at = self.commands.len() as u32;
        self.passes.push(PassInfo { kind, label, commands: at..at });
    }

    /// The label of a command, behind the labels of the open debug groups.
    pub(crate) fn command_text(&mut self, groups: &str, label: &str) -> Range<u32> {
        let start = self.text.len() as u32;
        self.text.push_str(groups);
        self.text.push_str(label);
        start..self.text.len() as u32
    }

    /// Appends the device's half of a command.
    pub(crate) fn push_labeled(
        &mut self,
        command: Command,
        label: Range<u32>,
        origin: &'static Location<'static>,
    ) {
        self.infos.push(CommandInfo { label, origin });
        self.commands.push(command);
        if let Some(pass) = self.passes.last_mut() {
            pass.commands.end = self.commands.len() as u32;
        }
    }

    /// Lets go of the handles: what is committed is held by the device, what is forgotten by nobody.
    pub(crate) fn release_handles(&self) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn buffer(&mut self, buffer: &Buffer) -> u32 {
        self.resource(buffer.key(), || Handle::Buffer(buffer.clone()))
    }

    pub(crate) fn texture(&mut self, texture: &Texture) -> u32 {
        self.resource(texture.key(), || Handle::Texture(texture.clone()))
    }

    /// The place of a resource in the table.
    fn resource(&mut self, key: ResourceKey, handle: impl FnOnce() -> Handle) -> u32 {
        let id = key.id.index();
        if self.places.len() <= id {
            self.places.resize(id + 1, 0);
        }
        let place = self.places[id];
        if self.resources.get(place as usize).is_some_and(|used| used.key == key) {
            return place;
        }
        self.places[id] = self.resources.len() as u32;
        self.resources.push(UsedResource { key });
        self.handles.get_mut().unwrap_or_else(PoisonError::into_inner).push(handle());
        self.places[id]
    }

    pub(crate) fn sampler(&mut self, sampler: &Native) -> u32 {
        place_of(&mut self.samplers, sampler)
    }

    pub(crate) fn pipeline(&mut self, pipeline: &ComputePipeline) -> u32 {
        let place = place_of(&mut self.pipelines, &pipeline.0.native);
        if self.kernels.len() < self.pipelines.len() {
            self.kernels.push(pipeline.clone());
        }
        place
    }

    pub(crate) fn fail(&mut self, error: Error) {
        self.error.get_or_insert(error);
    }
}

/// The place of an object in a short table; added if it is not there.
fn place_of(table: &mut Vec<Native>, object: &Native) -> u32 {
    let same = |other: &Native| Arc::ptr_eq(other, object);
    let at = table.iter().rposition(same).unwrap_or_else(|| {
        table.push(object.clone());
        table.len() - 1
    });
    at as u32
}
