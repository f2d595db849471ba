//! What the planner is told of commands: where they run, and which images they are the first to use.
//!
//! Deliberately absent: the plan (`plan/`). Tested in the contract suite.

use super::{Commit, Flight, State};
use crate::bind::make_views;
use crate::memory::native;
use crate::pipeline::Pipeline;
use crate::plan::{HardwareStages, Job, Plan};
use crate::texture::Texture;
use lockgate_runtime::backend::{Binding, Command, SubmittedBuffer};
use lockgate_runtime::{Error, ErrorKind, Result};
use lockgate_sync::{CommitId, Graph};
use smallvec::SmallVec;
use std::sync::Arc;

/// What of a command buffer has to be looked at command by command.
#[derive(Clone, Copy)]
pub(super) struct Cares {
    /// It uses textures that may not have been used before.
    fresh: bool,
    /// It has kernels that may not be able to run with what they are bound to.
    bindings: bool,
}

impl Flight {
    pub(super) fn plan(&self, state: &mut State, graph: &Graph) -> Plan {
        let State { planner, commits, images, .. } = state;
        let graphics = self.gpu.queues.iter().position(|queue| queue.graphics).unwrap_or(0) as u32;
        let mut failed: Vec<(CommitId, Error)> = Vec::new();
        let mut at: Option<(CommitId, &Commit)> = None;
        let plan = planner.plan(graph, &mut |command| {
            let commit = match at {
                Some((id, commit)) if id == command.commit => commit,
                _ => at.insert((command.commit, commits.get(&command.commit)?)).1,
            };
            let (queue, buffer) = (commit.queue, &commit.buffers[command.buffer as usize]);
            let own = buffer.contents.commands().get(command.command as usize)?;
            let cares = commit.cares[command.buffer as usize];
            if cares.bindings
                && let Err(why) = can_run(own, buffer)
            {
                failed.push((command.commit, why));
                return None;
            }
            let stages = match own {
                Command::Dispatch { .. } => HardwareStages::COMPUTE,
                Command::Nothing => HardwareStages::ALL,
                _ => HardwareStages::TRANSFER,
            };
            // Blits of images need a queue with graphics.
            let blits = matches!(own, Command::GenerateMipmaps { .. });
            let queue = if blits && !self.gpu.queues[queue as usize].graphics { graphics } else { queue };
            let mut job = Job { queue, stages, fresh: Vec::new() };
            if cares.fresh {
                for texture in textures(own, buffer).into_iter().filter(|texture| !texture.is_ready()) {
                    job.fresh.push(texture.id);
                    images.entry(texture.id).or_insert(texture);
                }
            }
            Some(job)
        });
        let behind = || {
            Error::new(
                ErrorKind::DependencyFailed,
                "work was not run: something that it waits for has failed",
            )
        };
        let skipped = plan.skipped.iter().map(|command| (command.commit, behind()));
        for (commit, why) in failed.into_iter().chain(skipped) {
            if let Some(commit) = commits.get_mut(&commit) {
                commit.report.error.get_or_insert(why);
            }
        }
        plan
    }
}

/// Whether a command can run at all; makes what it needs for that. Grids that cut workgroups were looked at when they were
/// recorded.
fn can_run(command: &Command, of: &SubmittedBuffer) -> Result<()> {
    let &Command::Dispatch { pipeline, bindings, binding_count, .. } = command else { return Ok(()) };
    let Some(pipeline) = of.pipelines[pipeline as usize].downcast_ref::<Pipeline>() else { return Ok(()) };
    let list = &of.contents.bindings()[bindings as usize..(bindings + binding_count) as usize];
    if pipeline.has_arrays {
        pipeline.can_bind(list)?;
    }
    if pipeline.has_textures {
        make_views(pipeline, of, list)?;
    }
    Ok(())
}

impl Cares {
    pub(super) fn of(buffer: &SubmittedBuffer) -> Cares {
        let fresh = |texture: &Texture| !texture.is_ready();
        let looks = |pipeline: &Pipeline| pipeline.has_arrays || pipeline.has_textures;
        Cares {
            fresh: buffer
                .resources
                .iter()
                .any(|resource| resource.downcast_ref::<Texture>().is_some_and(fresh)),
            bindings: buffer.pipelines.iter().any(|own| own.downcast_ref::<Pipeline>().is_some_and(looks)),
        }
    }
}

/// The textures that a command uses.
fn textures(command: &Command, of: &SubmittedBuffer) -> SmallVec<[Arc<Texture>; 2]> {
    let mut places: SmallVec<[u32; 4]> = SmallVec::new();
    match command {
        Command::Dispatch { bindings, binding_count, .. } => {
            let list = &of.contents.bindings()[*bindings as usize..(bindings + binding_count) as usize];
            places.extend(list.iter().filter_map(|binding| match binding {
                Binding::Texture { resource, .. } => Some(*resource),
                _ => None,
            }));
        }
        Command::CopyBufferToTexture { to, .. } => places.push(to.resource),
        Command::CopyTextureToBuffer { from, .. } => places.push(from.resource),
        Command::CopyTexture { from, to } => places.extend([from.resource, to.resource]),
        Command::GenerateMipmaps { resource } => places.push(*resource),
        _ => {}
    }
    let mut textures: SmallVec<[Arc<Texture>; 2]> = SmallVec::new();
    for place in places {
        if let Ok(texture) = native::<Texture>(&of.resources[place as usize])
            && textures.iter().all(|own| own.id != texture.id)
        {
            textures.push(texture);
        }
    }
    textures
}
