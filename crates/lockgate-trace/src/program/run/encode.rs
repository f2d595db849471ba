//! Encoding: command buffers of a file as calls of the runtime.

use super::{Machine, stand_in};
use crate::diagnostic::Diagnostic;
use crate::program::file::{
    Action, At, Bound, Command, CommandBuffer, Dispatch, Grid, Item, Pass, PassItem, Step, Target,
};
use lockgate_runtime::{
    ArgumentTable, BlitCommandEncoder, ComputeCommandEncoder, ComputePassDescriptor, ComputePipeline,
    DispatchType, ErrorKind, Library,
};
use lockgate_sync::{Access, AccessKind, BarrierReach, PassKind, QueueId, ResourceId};

/// Either encoder; a blit pass takes less.
enum Encoder<'a> {
    Compute(ComputeCommandEncoder<'a>),
    Blit(BlitCommandEncoder<'a>),
}

/// Calls a method that both encoders have.
macro_rules! on_both {
    ($encoder:expr, $name:ident($($argument:expr),*)) => {
        match $encoder {
            Encoder::Compute(encoder) => encoder.$name($($argument),*),
            Encoder::Blit(encoder) => encoder.$name($($argument),*),
        }
    };
}

impl Machine<'_> {
    pub(super) fn commit(&mut self, queue: QueueId, buffers: &[CommandBuffer]) -> Result<(), Diagnostic> {
        let mut encoded = Vec::new();
        for buffer in buffers {
            let mut commands = self.device.new_command_buffer(&buffer.name);
            commands.begin(&self.allocator);
            for item in &buffer.items {
                match &item.value {
                    Item::Pass(pass) => self.pass(pass, &mut commands)?,
                    Item::SignalEvent { event, value } => {
                        commands.encode_signal_event(self.events[event.index()].event(), *value);
                    }
                    Item::WaitForEvent { event, value } => {
                        commands.encode_wait_for_event(self.events[event.index()].event(), *value);
                    }
                    Item::Allocation(allocation) => self.allocate(*allocation)?,
                }
            }
            commands.end().map_err(|error| self.failure(&buffer.span, &error))?;
            encoded.push(commands);
        }
        let list: Vec<&_> = encoded.iter().collect();
        let span = buffers.first().map_or(0..0, |buffer| buffer.span.clone());
        let commit = self.queues[queue.index()].commit(&list);
        let commit = commit.map_err(|error| self.failure(&span, &error))?;
        self.commits.push((commit, span));
        Ok(())
    }

    fn pass(
        &mut self,
        pass: &Pass,
        commands: &mut lockgate_runtime::CommandBuffer,
    ) -> Result<(), Diagnostic> {
        let mut encoder = if pass.descriptor.kind == PassKind::Blit {
            Encoder::Blit(commands.blit_command_encoder(&pass.name))
        } else {
            let dispatch_type = match pass.descriptor.serial {
                true => DispatchType::Serial,
                false => DispatchType::Concurrent,
            };
            let descriptor = ComputePassDescriptor { dispatch_type, label: &pass.name };
            Encoder::Compute(commands.compute_command_encoder_with(&descriptor))
        };
        for item in &pass.items {
            match &item.value {
                PassItem::Command(command) => self.encode(command, &mut encoder)?,
                PassItem::Allocation(allocation) => self.allocate(*allocation)?,
                other => self.synchronize(other, &mut encoder),
            }
        }
        Ok(())
    }

    fn synchronize(&self, item: &PassItem, encoder: &mut Encoder<'_>) {
        match (item, encoder) {
            (PassItem::UpdateFence { fence, .. }, Encoder::Blit(encoder)) => {
                encoder.update_fence(&self.fences[fence.index()]);
            }
            (PassItem::WaitForFence { fence, .. }, Encoder::Blit(encoder)) => {
                encoder.wait_for_fence(&self.fences[fence.index()]);
            }
            (PassItem::UpdateFence { fence, after }, Encoder::Compute(encoder)) => {
                encoder.update_fence(&self.fences[fence.index()], *after);
            }
            (PassItem::WaitForFence { fence, before }, Encoder::Compute(encoder)) => {
                encoder.wait_for_fence(&self.fences[fence.index()], *before);
            }
            (PassItem::Barrier(reach, barrier), Encoder::Compute(encoder)) => match reach {
                BarrierReach::Intrapass => encoder.intrapass_barrier(*barrier),
                BarrierReach::Producer => encoder.producer_barrier(*barrier),
                BarrierReach::Consumer => encoder.consumer_barrier(*barrier),
            },
            (PassItem::MemoryBarrierWithScope { scope, .. }, Encoder::Compute(encoder)) => {
                encoder.memory_barrier_with_scope(*scope);
            }
            (PassItem::MemoryBarrierWithResources { resources, .. }, Encoder::Compute(encoder)) => {
                let buffers: Vec<_> =
                    resources.iter().filter_map(|id| self.buffers[id.index()].as_ref()).collect();
                let textures: Vec<_> =
                    resources.iter().filter_map(|id| self.textures[id.index()].as_ref()).collect();
                encoder.memory_barrier_with_resources(&buffers, &textures);
            }
            // Barriers of a blit pass were refused before the run.
            _ => {}
        }
    }

    fn encode(&mut self, command: &Command, encoder: &mut Encoder<'_>) -> Result<(), Diagnostic> {
        match &command.action {
            Action::CopyBuffer { from, from_offset, to, to_offset, size } => {
                let (from, to) = (self.buffer(*from, command)?, self.buffer(*to, command)?);
                on_both!(encoder, copy_buffer(&from, *from_offset, &to, *to_offset, *size));
            }
            Action::CopyTexture { from, to, size } => {
                let (source, target) = (self.texture(from, command)?, self.texture(to, command)?);
                on_both!(encoder, copy_texture(&source, from.origin, &target, to.origin, *size));
            }
            Action::CopyBufferToTexture { from, layout, to, size } => {
                let (source, target) = (self.buffer(*from, command)?, self.texture(to, command)?);
                on_both!(encoder, copy_buffer_to_texture(&source, *layout, &target, to.origin, *size));
            }
            Action::CopyTextureToBuffer { from, to, layout, size } => {
                let (source, target) = (self.texture(from, command)?, self.buffer(*to, command)?);
                on_both!(encoder, copy_texture_to_buffer(&source, from.origin, *size, &target, *layout));
            }
            Action::Fill { buffer, range, value } => {
                let buffer = self.buffer(*buffer, command)?;
                on_both!(encoder, fill_buffer(&buffer, range.clone(), *value));
            }
            Action::Mipmaps(texture) => {
                let at = At { texture: *texture, origin: Default::default() };
                let texture = self.texture(&at, command)?;
                on_both!(encoder, generate_mipmaps(&texture));
            }
            Action::Kernel(dispatch) => {
                if let Encoder::Compute(encoder) = encoder {
                    self.dispatch(command, dispatch, encoder)?;
                }
            }
            Action::StandIn => {
                if let Encoder::Compute(encoder) = encoder {
                    self.stand_in(command, encoder)?;
                }
            }
            // Refused before the run.
            Action::ModelOnly(_) => {}
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        command: &Command,
        dispatch: &Dispatch,
        encoder: &mut ComputeCommandEncoder<'_>,
    ) -> Result<(), Diagnostic> {
        let pipeline = self.kernel(command, dispatch)?;
        let table = self.device.new_argument_table();
        for bound in &dispatch.bindings {
            self.bind(command, bound, &table)?;
        }
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(&table);
        if !dispatch.immediates.is_empty() {
            encoder.set_immediates(&dispatch.immediates);
        }
        match dispatch.grid {
            Grid::Threads(size) => encoder.dispatch_threads(size),
            Grid::Threadgroups(size) => encoder.dispatch_threadgroups(size),
            Grid::Indirect { buffer, offset } => {
                let buffer = self.buffer(buffer, command)?;
                encoder.dispatch_threadgroups_indirect(&buffer, offset);
            }
        }
        Ok(())
    }

    /// Compiles everything that the file dispatches, so that encoding does not wait for it.
    pub(super) fn compile_all(&mut self) -> Result<(), Diagnostic> {
        let file = self.file;
        let buffers = file.steps.iter().filter_map(|step| match &step.value {
            Step::Commit { buffers, .. } => Some(buffers),
            _ => None,
        });
        let passes =
            buffers.flatten().flat_map(|buffer| &buffer.items).filter_map(|item| match &item.value {
                Item::Pass(pass) => Some(pass),
                _ => None,
            });
        for item in passes.flat_map(|pass| &pass.items) {
            let PassItem::Command(command) = &item.value else { continue };
            match &command.action {
                Action::Kernel(dispatch) => self.kernel(command, dispatch).map(|_| ())?,
                Action::StandIn => self.stand_in_kernel(command).map(|_| ())?,
                _ => {}
            }
        }
        Ok(())
    }

    fn kernel(&mut self, command: &Command, dispatch: &Dispatch) -> Result<ComputePipeline, Diagnostic> {
        let key = format!("{}:{}:{:?}", dispatch.file, dispatch.entry, dispatch.constants);
        let file = &self.file.kernels[dispatch.file];
        let pipeline = self.pipeline(key, |device| {
            device.new_compute_pipeline_with_constants(&file.library, &dispatch.entry, &dispatch.constants)
        });
        pipeline.map_err(|error| match error.source_span() {
            Some(at) => {
                let (bytes, label) = (at.bytes.clone(), at.label.clone());
                let code =
                    if error.kind() == ErrorKind::Unsupported { "unsupported" } else { "kernel-rejected" };
                Diagnostic::new(code, error.to_string(), &file.source, bytes, label)
            }
            None => self.failure(&command.span, &error),
        })
    }

    fn bind(&self, command: &Command, bound: &Bound, table: &ArgumentTable) -> Result<(), Diagnostic> {
        let key = (bound.group, bound.binding);
        match &bound.to {
            Target::Buffer(id, range) => {
                let buffer = self.buffer(*id, command)?;
                match bound.element {
                    Some(element) => table.set_buffer_range_element(key, element, &buffer, range.clone()),
                    None => table.set_buffer_range(key, &buffer, range.clone()),
                }
            }
            Target::Texture { texture, levels, slices } => {
                let at = At { texture: *texture, origin: Default::default() };
                let texture = self.texture(&at, command)?;
                let view = texture.new_view(texture.pixel_format(), *levels, *slices);
                let view = view.map_err(|error| self.failure(&command.span, &error))?;
                match bound.element {
                    Some(element) => table.set_texture_element(key, element, &view),
                    None => table.set_texture(key, &view),
                }
            }
            Target::Sampler(index) => match bound.element {
                Some(element) => table.set_sampler_element(key, element, &self.samplers[*index]),
                None => table.set_sampler(key, &self.samplers[*index]),
            },
        }
        Ok(())
    }

    fn stand_in(
        &mut self,
        command: &Command,
        encoder: &mut ComputeCommandEncoder<'_>,
    ) -> Result<(), Diagnostic> {
        let (pipeline, threads) = self.stand_in_kernel(command)?;
        let table = self.device.new_argument_table();
        for (binding, access) in command.works[0].1.iter().enumerate() {
            let buffer = self.buffer(access.resource, command)?;
            let (start, end) = access.region.bytes(buffer.size());
            table.set_buffer_range(binding as u32, &buffer, start..end);
        }
        encoder.set_compute_pipeline(&pipeline);
        encoder.set_argument_table(&table);
        encoder.dispatch_threads([threads as u32, 1, 1]);
        Ok(())
    }

    /// The generated kernel of a stand-in, and how many invocations it wants.
    fn stand_in_kernel(&mut self, command: &Command) -> Result<(ComputePipeline, u64), Diagnostic> {
        let words = |access: &Access| {
            let (start, end) = access.region.bytes(self.file.resource(access.resource).size());
            (access.kind, (end - start) / 4)
        };
        let accesses: Vec<(AccessKind, u64)> = command.works[0].1.iter().map(words).collect();
        let seed = command
            .name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let own = command.name.rsplit('.').next().unwrap_or_default();
        let entry: String = format!("{}{}", stand_in::PREFIX, own.chars().map(word).collect::<String>());
        let source = stand_in::source(&entry, seed, &accesses);
        let pipeline = self.pipeline(source.clone(), |device| {
            let library: Library = device.new_library(&source)?;
            device.new_compute_pipeline(&library, &entry)
        });
        let pipeline = pipeline.map_err(|error| self.failure(&command.span, &error))?;
        Ok((pipeline, stand_in::threads(&accesses)))
    }

    /// A pipeline, made once.
    fn pipeline(
        &mut self,
        key: String,
        make: impl FnOnce(&lockgate_runtime::Device) -> lockgate_runtime::Result<ComputePipeline>,
    ) -> lockgate_runtime::Result<ComputePipeline> {
        if let Some(pipeline) = self.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = make(self.device)?;
        self.pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    fn buffer(&self, id: ResourceId, command: &Command) -> Result<lockgate_runtime::Buffer, Diagnostic> {
        self.buffers[id.index()].clone().ok_or_else(|| self.not_allocated(id, command))
    }

    fn texture(&self, at: &At, command: &Command) -> Result<lockgate_runtime::Texture, Diagnostic> {
        self.textures[at.texture.index()].clone().ok_or_else(|| self.not_allocated(at.texture, command))
    }

    fn not_allocated(&self, id: ResourceId, command: &Command) -> Diagnostic {
        let message = format!("`{}` is used before it is allocated", self.file.resource(id).name);
        Diagnostic::new("not-allocated", message, &self.file.source, command.span.clone(), "used here")
    }
}
