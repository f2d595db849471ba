//! From a sketch to a program: choices become ids, and what means nothing is left out.
//!
//! Each event is signaled by one side alone: event `n` by queue `n`, the last one by the host. So a value has
//! one timeline, as a program that makes sense would have it.

use super::sketch::{
    AccessSketch, BufferOp, CommandSketch, Home, PassForm, PassOp, PassSketch, QueueSketch, ResourceSketch,
    Sketch, StepSketch,
};
use lockgate_sync::{
    Access, AccessKind, Barrier, BarrierReach, EventId, EventScope, FenceId, HostStep, MemoryId,
    PassDescriptor, PassKind, Program, QueueDescriptor, QueueId, QueueKind, Recording, ResourceDescriptor,
    ResourceId, ResourceKind, Stage, Step, Texels, Work,
};

/// Bytes of the heap, in four quarters.
const HEAP: u64 = 256;
const FENCES: u32 = 2;

impl Sketch {
    /// The program that the sketch stands for.
    pub fn lower(&self) -> Program {
        let mut program = Program { model: self.model, fences: FENCES, ..Program::new() };
        let heap = program.add_memory();
        for resource in &self.resources {
            let home = if matches!(resource.home, Home::Own) { program.add_memory() } else { heap };
            program.add_resource(descriptor(resource, home));
        }
        for queue in &self.queues {
            let (kind, hazard_tracking) = match queue {
                QueueSketch::Tracking => (QueueKind::Gpu, true),
                QueueSketch::Untracking => (QueueKind::Gpu, false),
                QueueSketch::IoConcurrent => (QueueKind::IoConcurrent, true),
                QueueSketch::IoSerial => (QueueKind::IoSerial, true),
            };
            program.add_queue(QueueDescriptor { kind, hazard_tracking });
        }
        program.events = self.queues.len() as u32 + 1;
        let lowering = Lowering { sketch: self, program: &program };
        let steps = self.steps.iter().filter_map(|step| lowering.step(step)).collect();
        program.steps = steps;
        program
    }
}

fn descriptor(sketch: &ResourceSketch, memory: MemoryId) -> ResourceDescriptor {
    let kind = match sketch.texture {
        true => ResourceKind::Texture { levels: 2, slices: 2 },
        false => ResourceKind::Buffer,
    };
    let (quarter, unit) = match sketch.home {
        Home::Own => (0, false),
        Home::Heap(quarter) => (quarter, false),
        Home::Unit(quarter) => (quarter, true),
    };
    let offset = u64::from(quarter % 4) * HEAP / 4;
    let size = (HEAP / 2).min(HEAP - offset);
    ResourceDescriptor { kind, memory, offset, size, tracked: sketch.tracked || unit, unit }
}

/// The sketch and the tables that it is lowered against.
struct Lowering<'a> {
    sketch: &'a Sketch,
    program: &'a Program,
}

impl Lowering<'_> {
    fn step(&self, step: &StepSketch) -> Option<Step> {
        let value = |value: u8| u64::from(value);
        Some(match step {
            StepSketch::Commit(queue, buffers) => {
                let queue = self.queue(*queue);
                let mut resumable = false;
                let record = |buffer: &Vec<BufferOp>| self.recording(queue, buffer, &mut resumable).into();
                Step::Commit { queue, buffers: buffers.iter().map(record).collect() }
            }
            StepSketch::Signal(queue, to) => {
                let queue = self.queue(*queue);
                let event = EventId(queue.0);
                self.gpu(queue).then_some(Step::SignalEvent { queue, event, value: value(*to) })?
            }
            StepSketch::Wait(queue, event, to) => {
                let (queue, event) = (self.queue(*queue), self.event(*event));
                self.gpu(queue).then_some(Step::WaitForEvent { queue, event, value: value(*to) })?
            }
            StepSketch::QueueBarrier(queue) => {
                let loading = (0..self.program.queues.len()).map(|index| QueueId(index as u32));
                let loading: Vec<QueueId> = loading.filter(|queue| !self.gpu(*queue)).collect();
                Step::EnqueueBarrier { queue: *loading.get(usize::from(*queue) % loading.len().max(1))? }
            }
            StepSketch::WaitForDrawable(queue, drawable) => {
                let (queue, drawable) = (self.queue(*queue), self.texture(*drawable)?);
                self.gpu(queue).then_some(Step::WaitForDrawable { queue, drawable })?
            }
            StepSketch::SignalDrawable(queue, drawable) => {
                let (queue, drawable) = (self.queue(*queue), self.texture(*drawable)?);
                self.gpu(queue).then_some(Step::SignalDrawable { queue, drawable })?
            }
            StepSketch::Present(drawable) => Step::Present { drawable: self.texture(*drawable)? },
            StepSketch::HostAccess(access) => {
                let access = self.access(access, Stage::Host);
                Step::Host(HostStep::Access(access))
            }
            StepSketch::HostSignal(to) => {
                let event = EventId(self.program.events - 1);
                Step::Host(HostStep::SignalEvent { event, value: value(*to) })
            }
            StepSketch::HostWait(event, to) => {
                Step::Host(HostStep::WaitForEvent { event: self.event(*event), value: value(*to) })
            }
            StepSketch::HostWaitForCommit(commit) => {
                Step::Host(HostStep::WaitForCommit { commit: u64::from(*commit) })
            }
        })
    }

    fn recording(&self, queue: QueueId, ops: &[BufferOp], resumable: &mut bool) -> Recording {
        let mut recording = Recording::new();
        // Under switch A23 alone, a signal would cover buffers that may be held back behind it (A5).
        let model = &self.sketch.model;
        let waits = model.signal_scope == EventScope::CommandBuffer || model.wait_scope == EventScope::Queue;
        for op in ops {
            match op {
                BufferOp::Pass(pass) if self.gpu(queue) => {
                    let kind = self.pass(&mut recording, pass, *resumable);
                    *resumable = kind == PassKind::Render;
                }
                BufferOp::Pass(pass) => self.loads(&mut recording, pass),
                BufferOp::Signal(value) => {
                    recording.signal_event(EventId(queue.0), u64::from(*value));
                    *resumable = false;
                }
                BufferOp::Wait(event, value) if waits => {
                    recording.wait_for_event(self.event(*event), u64::from(*value));
                    *resumable = false;
                }
                BufferOp::Wait(..) => {}
            }
        }
        recording
    }

    fn pass(&self, recording: &mut Recording, pass: &PassSketch, resumable: bool) -> PassKind {
        let kind = match pass.form {
            PassForm::Compute | PassForm::SerialCompute => PassKind::Compute,
            PassForm::Render | PassForm::Resume => PassKind::Render,
            PassForm::Blit => PassKind::Blit,
            PassForm::MachineLearning => PassKind::MachineLearning,
            PassForm::ResourceState => PassKind::ResourceState,
        };
        let mut descriptor = PassDescriptor::new(kind);
        descriptor.serial |= pass.form == PassForm::SerialCompute;
        descriptor.resuming = resumable && pass.form == PassForm::Resume;
        if kind == PassKind::Render {
            let (loads, stores) = self.attachments(&pass.attachments);
            recording.begin_render_pass(descriptor, &loads, &stores);
        } else {
            recording.begin_pass(descriptor);
        }
        for op in &pass.ops {
            self.op(recording, kind, op);
        }
        recording.end_pass();
        kind
    }

    /// A pass of an IO queue: its commands load, and its barriers hold back everything.
    fn loads(&self, recording: &mut Recording, pass: &PassSketch) {
        recording.begin_pass(PassDescriptor::new(PassKind::Io));
        for op in &pass.ops {
            match op {
                PassOp::Command(command) => {
                    let accesses = self.accesses(&command.works[0], Stage::Io);
                    recording.command(&[Work::new(Stage::Io, &accesses)]);
                }
                PassOp::Barrier(..) => recording.barrier(BarrierReach::Intrapass, Barrier::default()),
                _ => {}
            }
        }
        recording.end_pass();
    }

    fn op(&self, recording: &mut Recording, kind: PassKind, op: &PassOp) {
        match op {
            PassOp::Command(command) => self.command(recording, kind, command),
            PassOp::Barrier(reach, after, before, visibility) => {
                let barrier = Barrier { after: *after, before: *before, visibility: *visibility };
                recording.barrier(*reach, barrier);
            }
            PassOp::MemoryByScope(after, before, scope) => {
                recording.memory_barrier_with_scope(*after, *before, *scope);
            }
            PassOp::MemoryByResources(after, before, list) => {
                let list: Vec<ResourceId> = list.iter().map(|pick| self.resource(*pick)).collect();
                recording.memory_barrier_with_resources(*after, *before, &list);
            }
            PassOp::UpdateFence(fence, after) => recording.update_fence(fence_id(*fence), *after),
            PassOp::WaitForFence(fence, before) => recording.wait_for_fence(fence_id(*fence), *before),
        }
    }

    fn command(&self, recording: &mut Recording, kind: PassKind, command: &CommandSketch) {
        let forms: &[&[Stage]] = match kind {
            PassKind::Render => &[
                &[Stage::Vertex, Stage::Fragment],
                &[Stage::Fragment],
                &[Stage::Vertex],
                &[Stage::Object, Stage::Mesh, Stage::Fragment],
                &[Stage::Tile],
            ],
            PassKind::Compute => &[
                &[Stage::Dispatch],
                &[Stage::Blit],
                &[Stage::Dispatch],
                &[Stage::Blit],
                &[Stage::AccelerationStructure],
            ],
            PassKind::Blit => &[&[Stage::Blit]],
            PassKind::MachineLearning => &[&[Stage::MachineLearning]],
            PassKind::ResourceState => &[&[Stage::ResourceState]],
            PassKind::Io => &[&[Stage::Io]],
        };
        let stages = forms[usize::from(command.form) % forms.len()];
        let touched = stages.iter().zip(&command.works);
        let touched: Vec<(Stage, Vec<Access>)> =
            touched.map(|(stage, work)| (*stage, self.accesses(work, *stage))).collect();
        let works: Vec<Work<'_>> =
            touched.iter().map(|(stage, accesses)| Work::new(*stage, accesses)).collect();
        recording.command(&works);
    }

    /// What attachments touch at the start and at the end of a pass.
    fn attachments(&self, attachments: &[(u8, bool)]) -> (Vec<Access>, Vec<Access>) {
        let attached = attachments.iter().filter_map(|(pick, load)| {
            let texture = self.texture(*pick)?;
            let touch =
                |kind| Access::texels(texture, Texels::subresource(0, 0), kind | AccessKind::RASTER_ORDERED);
            let start = if *load { AccessKind::READ } else { AccessKind::WRITE };
            Some((touch(start), touch(AccessKind::WRITE)))
        });
        attached.unzip()
    }

    fn accesses(&self, list: &[AccessSketch], stage: Stage) -> Vec<Access> {
        list.iter().map(|access| self.access(access, stage)).collect()
    }

    fn access(&self, sketch: &AccessSketch, stage: Stage) -> Access {
        let resource = self.resource(sketch.resource);
        let descriptor = &self.program.resources[resource.index()];
        let mut kind = sketch.kind;
        if stage != Stage::Fragment {
            kind.remove(AccessKind::RASTER_ORDERED);
        }
        match descriptor.kind {
            ResourceKind::Buffer => {
                let quarter = descriptor.size / 4;
                let parts = [(0, 4), (0, 1), (1, 2), (2, 4), (0, 2), (1, 3)];
                match usize::from(sketch.part) % (parts.len() + 1) {
                    0 => Access::whole(resource, kind),
                    part => {
                        let (start, end) = parts[part - 1];
                        Access::bytes(resource, start * quarter, end * quarter, kind)
                    }
                }
            }
            ResourceKind::Texture { .. } => {
                let box_of = |level, min, max| Texels { min, max, ..Texels::subresource(level, 0) };
                const END: u32 = u32::MAX;
                let parts = [
                    Texels::subresource(0, 0),
                    Texels::subresource(1, 0),
                    Texels::subresource(0, 1),
                    Texels::range((0, 2), (0, 1)),
                    Texels::range((0, 1), (0, 2)),
                    box_of(0, [0, 0, 0], [END, 8, END]),
                    box_of(0, [0, 8, 0], [END, 16, END]),
                    box_of(0, [4, 4, 0], [12, 12, END]),
                ];
                match usize::from(sketch.part) % (parts.len() + 1) {
                    0 => Access::whole(resource, kind),
                    part => Access::texels(resource, parts[part - 1], kind),
                }
            }
        }
    }

    fn queue(&self, pick: u8) -> QueueId {
        QueueId(u32::from(pick) % self.program.queues.len().max(1) as u32)
    }

    fn gpu(&self, queue: QueueId) -> bool {
        self.program.queues[queue.index()].kind == QueueKind::Gpu
    }

    fn event(&self, pick: u8) -> EventId {
        EventId(u32::from(pick) % self.program.events.max(1))
    }

    fn resource(&self, pick: u8) -> ResourceId {
        ResourceId(u32::from(pick) % self.program.resources.len().max(1) as u32)
    }

    fn texture(&self, pick: u8) -> Option<ResourceId> {
        let textures = (0..).zip(&self.program.resources);
        let textures: Vec<u32> = textures
            .filter(|(_, resource)| matches!(resource.kind, ResourceKind::Texture { .. }))
            .map(|(index, _)| index)
            .collect();
        textures.get(usize::from(pick) % textures.len().max(1)).map(|index| ResourceId(*index))
    }
}

fn fence_id(pick: u8) -> FenceId {
    FenceId(u32::from(pick) % FENCES)
}
