//! A batch of a plan as a command buffer: barriers, copies and dispatches.
//!
//! Nothing is decided here but how a command is said in Vulkan. Deliberately absent: what waits for what (`plan.rs`), and
//! copies and fills (`blit.rs`). Tested in the contract suite, under the validation layer.

use crate::bind::Binder;
use crate::error::Fallible;
use crate::gpu::Gpu;
use crate::indirect::Indirect;
use crate::memory::{Buffer, native};
use crate::pipeline::{Cut, Pipeline};
use crate::plan::{Batch, HardwareStages, ImageId, Step};
use crate::script::{Commits, Script};
use crate::texture::Texture;
use crate::timing::Stamps;
use crate::witness::Witness;
use ash::vk;
use lockgate_runtime::Result;
use lockgate_runtime::backend::{Command, Grid, SubmittedBuffer};
use lockgate_sync::{CommandRef, CommitId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A command buffer with what it needs, used again once its batch is done.
pub(crate) struct Recording {
    gpu: Arc<Gpu>,
    pool: vk::CommandPool,
    pub(crate) raw: vk::CommandBuffer,
    pub(crate) binder: Binder,
    pub(crate) stamps: Stamps,
    /// Buffers that only this recording uses.
    pub(crate) scratch: Vec<Buffer>,
    pub(crate) indirect: Indirect,
    /// What the recording uses must live until its batch is done.
    held: Vec<Arc<[SubmittedBuffer]>>,
    /// What it says, if it may be used again.
    script: Option<Script>,
    pub(crate) witness: Option<Witness>,
}

/// What a recording needs to know of the device beside the batch.
pub(crate) struct Context<'a> {
    /// The command buffers of commits in flight.
    pub(crate) commits: Commits<'a>,
    /// Images that are made ready.
    pub(crate) images: &'a BTreeMap<ImageId, Arc<Texture>>,
    /// What the backend keeps for all recordings.
    pub(crate) tools: &'a crate::tools::Tools,
    /// Whether each command is timed.
    pub(crate) timing: bool,
}

impl Recording {
    pub(crate) fn new(gpu: &Arc<Gpu>, family: u32) -> Result<Recording> {
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(family);
        // SAFETY: the device is alive and has the family.
        let pool = unsafe { gpu.raw.create_command_pool(&info, None) }.or_fail("making a command pool")?;
        let mut recording = Recording {
            gpu: gpu.clone(),
            pool,
            raw: vk::CommandBuffer::null(),
            binder: Binder::new(gpu),
            stamps: Stamps::new(gpu),
            scratch: Vec::new(),
            indirect: Indirect::default(),
            held: Vec::new(),
            script: None,
            witness: Witness::new(gpu)?,
        };
        let info = vk::CommandBufferAllocateInfo::default().command_pool(pool).command_buffer_count(1);
        // SAFETY: the pool was made just now.
        let list = unsafe { gpu.raw.allocate_command_buffers(&info) }.or_fail("making a command buffer")?;
        recording.raw = list.first().copied().unwrap_or_default();
        Ok(recording)
    }

    /// Its batch is done. What it says is kept, if it may come again; what it used is not.
    pub(crate) fn rest(&mut self) -> Result<()> {
        self.held.clear();
        self.witness.as_ref().map_or(Ok(()), Witness::see)?;
        if self.script.is_some() { Ok(()) } else { self.reset() }
    }

    /// Forgets what it says, and keeps the memory.
    pub(crate) fn reset(&mut self) -> Result<()> {
        self.script = None;
        self.scratch.clear();
        self.indirect.clear();
        self.binder.reset()?;
        self.stamps.reset();
        // SAFETY: the batch is done, so the driver uses the pool no more.
        let reset = unsafe { self.gpu.raw.reset_command_pool(self.pool, vk::CommandPoolResetFlags::empty()) };
        reset.or_fail("recording a command buffer")
    }

    /// Whether it says something.
    pub(crate) fn is_blank(&self) -> bool {
        self.script.is_none()
    }

    /// Whether it says what a batch says.
    pub(crate) fn says(&self, batch: &Batch, context: &Context<'_>) -> bool {
        !context.timing && self.script.as_ref().is_some_and(|script| script.says(batch, context.commits))
    }

    /// Says the same for another batch.
    pub(crate) fn say_again(&mut self, batch: &Batch, context: &Context<'_>) {
        self.stamps.begin_again();
        let mut last = None;
        for step in &batch.steps {
            let Step::Command(command) = step else { continue };
            if last != Some(command.commit) {
                last = Some(command.commit);
                self.held.extend((context.commits)(command.commit));
            }
        }
    }

    pub(crate) fn device(&self) -> &ash::Device {
        &self.gpu.raw
    }

    pub(crate) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Records a batch.
    pub(crate) fn record(&mut self, batch: &Batch, context: &Context<'_>) -> Result<()> {
        let info = vk::CommandBufferBeginInfo::default();
        // SAFETY: the command buffer is new or was reset with its pool.
        unsafe { self.gpu.raw.begin_command_buffer(self.raw, &info) }
            .or_fail("recording a command buffer")?;
        let timed = self.gpu.queues[batch.queue as usize].timestamps;
        let commands = if context.timing { batch.steps.len() } else { 0 };
        self.stamps.begin(self.raw, timed, commands)?;
        let mut at: Option<(CommitId, Arc<[SubmittedBuffer]>)> = None;
        for step in &batch.steps {
            match step {
                Step::Barrier { after, before, fresh } => self.barrier(*after, *before, fresh, context),
                Step::Command(command) => {
                    let commit = command.commit;
                    if at.as_ref().is_none_or(|(own, _)| *own != commit) {
                        let Some(buffers) = (context.commits)(commit) else { continue };
                        self.held.push(buffers.clone());
                        at = Some((commit, buffers));
                    }
                    let Some((_, buffers)) = &at else { continue };
                    let start = self.stamps.before(self.raw);
                    self.command(*command, &buffers[command.buffer as usize], context)?;
                    self.stamps.after(self.raw, start, *command);
                }
            }
        }
        self.stamps.end(self.raw);
        self.publish_to_host(batch.stages);
        // SAFETY: it is being recorded.
        unsafe { self.gpu.raw.end_command_buffer(self.raw) }.or_fail("recording a command buffer")?;
        // Memory of its own is given back, and times of commands belong to these commands.
        if self.scratch.is_empty() && !context.timing {
            self.script = Script::of(batch, context.commits);
        }
        Ok(())
    }

    fn command(&mut self, at: CommandRef, of: &SubmittedBuffer, context: &Context<'_>) -> Result<()> {
        let Some(command) = of.contents.commands().get(at.command as usize) else { return Ok(()) };
        match *command {
            Command::Dispatch { pipeline, bindings, binding_count, grid, immediates } => {
                let Some(pipeline) = of.pipelines.get(pipeline as usize) else { return Ok(()) };
                let Some(pipeline) = pipeline.downcast_ref::<Pipeline>() else { return Ok(()) };
                let checked = match grid {
                    Grid::Indirect(span) => {
                        let arguments = native::<Buffer>(&of.resources[span.resource as usize])?;
                        Some(self.check_size(&pipeline.label, (&arguments, span.offset), at, context)?)
                    }
                    _ => None,
                };
                self.binder.bind(self.raw, pipeline, of, (bindings, binding_count))?;
                self.binder.immediates(self.raw, pipeline, of, immediates);
                self.dispatch(pipeline, grid, checked)
            }
            _ => self.blit(command, of, context),
        }
    }

    fn dispatch(
        &mut self,
        pipeline: &Pipeline,
        grid: Grid,
        checked: Option<(vk::Buffer, u64)>,
    ) -> Result<()> {
        match grid {
            Grid::Threadgroups(groups) => self.dispatch_groups(pipeline, groups),
            Grid::Indirect(_) => {
                let Some((buffer, offset)) = checked else { return Ok(()) };
                self.binder.entry(self.raw, pipeline.whole);
                // SAFETY: it is being recorded; pipeline and bindings are bound; the size in the buffer was checked.
                unsafe { self.gpu.raw.cmd_dispatch_indirect(self.raw, buffer, offset) };
            }
            Grid::Threads(threads) => match pipeline.cut(threads)? {
                Cut::Whole(groups) => self.dispatch_groups(pipeline, groups),
                Cut::Guarded(entry, groups) => {
                    self.binder.entry(self.raw, entry);
                    self.binder.limit(self.raw, pipeline, threads);
                    let [x, y, z] = groups;
                    // SAFETY: it is being recorded; pipeline and bindings are bound.
                    unsafe { self.gpu.raw.cmd_dispatch(self.raw, x, y, z) };
                }
                Cut::Parts(parts, groups) => {
                    if let Some(groups) = groups {
                        self.binder.limit(self.raw, pipeline, groups);
                    }
                    for (entry, part) in parts {
                        self.binder.entry(self.raw, entry);
                        let ([bx, by, bz], [x, y, z]) = (part.base, part.count);
                        // SAFETY: as above; the entry point was made for a base.
                        unsafe { self.gpu.raw.cmd_dispatch_base(self.raw, bx, by, bz, x, y, z) };
                    }
                }
            },
        }
        Ok(())
    }

    fn dispatch_groups(&mut self, pipeline: &Pipeline, [x, y, z]: [u32; 3]) {
        self.binder.entry(self.raw, pipeline.whole);
        // SAFETY: it is being recorded; pipeline and bindings are bound.
        unsafe { self.gpu.raw.cmd_dispatch(self.raw, x, y, z) };
    }

    /// Everything of `before` that comes later waits for everything of `after` that came earlier.
    fn barrier(
        &self,
        after: HardwareStages,
        before: HardwareStages,
        fresh: &[ImageId],
        context: &Context<'_>,
    ) {
        let image = |id: &ImageId| {
            let texture = context.images.get(id)?;
            Some(
                texture
                    .prepare()
                    .src_stage_mask(stages(after))
                    .src_access_mask(writes(after))
                    .dst_stage_mask(stages(before))
                    .dst_access_mask(accesses(before)),
            )
        };
        let images: Vec<_> = fresh.iter().filter_map(image).collect();
        let memory = (after != HardwareStages::default())
            .then(|| behind(after).dst_stage_mask(stages(before)).dst_access_mask(accesses(before)));
        self.wait(memory.as_slice(), &images);
    }

    /// A barrier inside of a command.
    pub(crate) fn inner_barrier(&self, after: HardwareStages, before: HardwareStages) {
        self.wait(&[behind(after).dst_stage_mask(stages(before)).dst_access_mask(accesses(before))], &[]);
    }

    /// What the batch wrote can be read by the host once the timeline says so.
    fn publish_to_host(&self, written: HardwareStages) {
        let host = behind(written)
            .dst_stage_mask(vk::PipelineStageFlags2::HOST)
            .dst_access_mask(vk::AccessFlags2::HOST_READ);
        self.wait(&[host], &[]);
    }

    fn wait(&self, memory: &[vk::MemoryBarrier2<'_>], images: &[vk::ImageMemoryBarrier2<'_>]) {
        let barrier = vk::DependencyInfo::default().memory_barriers(memory).image_memory_barriers(images);
        // SAFETY: it is being recorded; the images are alive until the batch is done.
        unsafe { self.gpu.raw.cmd_pipeline_barrier2(self.raw, &barrier) };
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: a recording is dropped when its batch is done or the device is lost, so nothing uses the pool.
        unsafe { self.gpu.raw.destroy_command_pool(self.pool, None) };
    }
}

/// The earlier side of a barrier.
fn behind(after: HardwareStages) -> vk::MemoryBarrier2<'static> {
    vk::MemoryBarrier2::default().src_stage_mask(stages(after)).src_access_mask(writes(after))
}

fn stages(of: HardwareStages) -> vk::PipelineStageFlags2 {
    pick(
        of,
        [
            vk::PipelineStageFlags2::COMPUTE_SHADER,
            vk::PipelineStageFlags2::ALL_TRANSFER,
            vk::PipelineStageFlags2::DRAW_INDIRECT,
        ],
    )
}

fn writes(of: HardwareStages) -> vk::AccessFlags2 {
    let none = vk::AccessFlags2::empty();
    pick(of, [vk::AccessFlags2::SHADER_STORAGE_WRITE, vk::AccessFlags2::TRANSFER_WRITE, none])
}

fn accesses(of: HardwareStages) -> vk::AccessFlags2 {
    pick(
        of,
        [
            vk::AccessFlags2::SHADER_READ
                | vk::AccessFlags2::UNIFORM_READ
                | vk::AccessFlags2::SHADER_STORAGE_WRITE,
            vk::AccessFlags2::TRANSFER_READ | vk::AccessFlags2::TRANSFER_WRITE,
            vk::AccessFlags2::INDIRECT_COMMAND_READ,
        ],
    )
}

/// The flags that belong to each stage of a set.
fn pick<F: Default + std::ops::BitOrAssign + Copy>(
    of: HardwareStages,
    [compute, transfer, indirect]: [F; 3],
) -> F {
    let table = [
        (HardwareStages::COMPUTE, compute),
        (HardwareStages::TRANSFER, transfer),
        (HardwareStages::INDIRECT, indirect),
    ];
    let mut flags = F::default();
    table.into_iter().filter(|(stage, _)| of.intersects(*stage)).for_each(|(_, own)| flags |= own);
    flags
}
