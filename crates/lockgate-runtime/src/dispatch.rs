//! Dispatches of a compute pass: checked against the kernel and the limits of the device, then recorded.
//!
//! Deliberately absent: what is bound (`bound.rs`) and copies (`compute_encoder.rs`). Tested in
//! `tests/recording.rs` of `lockgate-cpu`.

use crate::backend::{Command, Grid};
use crate::compute_encoder::ComputeCommandEncoder;
use crate::library::ComputePipeline;
use crate::{ArgumentTable, Buffer};
use lockgate_sync::{Access, AccessKind, Stage, Stages, Work};
use std::panic::Location;

impl ComputeCommandEncoder<'_> {
    /// The kernel of the next dispatches.
    #[doc(alias = "setComputePipelineState")]
    pub fn set_compute_pipeline(&mut self, pipeline: &ComputePipeline) {
        self.has_pipeline = true;
        self.buffer.bound.set_pipeline(pipeline);
    }

    /// The bindings of the next dispatches. Each dispatch captures the table as it then stands.
    #[doc(alias = "setArgumentTable")]
    pub fn set_argument_table(&mut self, table: &ArgumentTable) {
        self.has_table = true;
        self.buffer.bound.set_table(Some(table));
    }

    /// The immediates of the next dispatches.
    #[doc(alias = "setBytes")]
    pub fn set_immediates<T: bytemuck::Pod>(&mut self, values: &[T]) {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let start = self.buffer.contents.immediates.len();
        self.buffer.contents.immediates.extend_from_slice(bytes);
        self.immediates = (start as u32, bytes.len() as u32);
    }

    /// Runs the kernel with so many invocations along each axis. Workgroups at the end may be cut.
    #[doc(alias = "dispatchThreads")]
    #[track_caller]
    pub fn dispatch_threads(&mut self, threads: [u32; 3]) {
        self.dispatch(Grid::Threads(threads), None, Location::caller());
    }

    /// Runs the kernel with so many workgroups along each axis.
    #[doc(alias = "dispatchThreadgroups")]
    #[track_caller]
    pub fn dispatch_threadgroups(&mut self, threadgroups: [u32; 3]) {
        self.dispatch(Grid::Threadgroups(threadgroups), None, Location::caller());
    }

    /// Runs the kernel with as many workgroups as three `u32` in a buffer say when it runs. Counts above
    /// [`max_threadgroups`](crate::DeviceInfo::max_threadgroups) fail the command buffer.
    #[doc(alias = "dispatchThreadgroupsWithIndirectBuffer")]
    #[track_caller]
    pub fn dispatch_threadgroups_indirect(&mut self, arguments: &Buffer, offset: u64) {
        let Some(span) = self.span(arguments, offset, 12) else { return };
        if !offset.is_multiple_of(4) {
            return self.fail(format!("indirect arguments at {offset} are not aligned to 4"));
        }
        let access = Access::bytes(arguments.key().id, offset, offset + 12, AccessKind::READ);
        self.dispatch(Grid::Indirect(span), Some(access), Location::caller());
    }

    fn dispatch(&mut self, grid: Grid, reads: Option<Access>, origin: &'static Location<'static>) {
        self.buffer.require_recording();
        if let Err(message) = self.check_dispatch(grid) {
            return self.fail(message);
        }
        let buffer = &mut *self.buffer;
        if !self.has_table {
            buffer.bound.set_table(None);
        }
        let captured = match buffer.bound.captured() {
            Some(captured) => captured,
            None => match buffer.bound.capture(&mut buffer.contents, buffer.checking, buffer.limits) {
                Ok(captured) => captured,
                Err(why) => return buffer.contents.fail(why),
            },
        };
        if let (Grid::Threads(threads), Some(pipeline)) = (grid, &buffer.bound.pipeline)
            && let Err(why) = buffer.device.0.backend.prepare_dispatch(&pipeline.0.native, threads)
        {
            return buffer.contents.fail(why);
        }
        let command = Command::Dispatch {
            pipeline: captured.pipeline,
            bindings: captured.bindings.0,
            binding_count: captured.bindings.1,
            grid,
            immediates: self.immediates,
        };
        let accesses = &mut buffer.bound.accesses;
        let kept = accesses.len();
        accesses.extend(reads);
        self.stages |= Stages::DISPATCH;
        buffer.contents.recording.command(&[Work::new(Stage::Dispatch, accesses)]);
        buffer.contents.push_labeled(command, captured.label.0..captured.label.1, origin);
        accesses.truncate(kept);
    }

    fn check_dispatch(&self, grid: Grid) -> Result<(), String> {
        let pipeline = match &self.buffer.bound.pipeline {
            Some(pipeline) if self.has_pipeline => pipeline,
            _ => return Err("a dispatch needs a pipeline: call set_compute_pipeline first".into()),
        };
        let (has, needs) = (self.immediates.1, pipeline.reflection().immediates);
        if has < needs {
            return Err(format!(
                "kernel `{}` takes {needs} bytes of immediates, not {has}",
                pipeline.label()
            ));
        }
        let group = pipeline.reflection().workgroup_size;
        let threadgroups = match grid {
            Grid::Threads(size) => std::array::from_fn(|axis| size[axis].div_ceil(group[axis].max(1))),
            Grid::Threadgroups(size) => size,
            Grid::Indirect(_) => return Ok(()),
        };
        let max = self.buffer.limits.max_threadgroups;
        match threadgroups.iter().position(|count| *count > max) {
            None => Ok(()),
            Some(axis) => Err(format!(
                "`{}`: {} workgroups along axis {axis} exceed {max} (max_threadgroups)",
                pipeline.label(),
                threadgroups[axis]
            )),
        }
    }
}
