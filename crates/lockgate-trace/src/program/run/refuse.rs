//! What no device can run yet, found before anything runs.

use crate::diagnostic::Diagnostic;
use crate::program::command::runs_on_devices;
use crate::program::file::{Action, Command, Item, Kind, Pass, PassItem, ProgramFile, Step};
use lockgate_sync::{AccessKind, HostStep, PassKind, QueueKind, Region, Stage};
use std::ops::Range;

/// Everything in the file that cannot be run, each with its place.
pub(super) fn refuse(file: &ProgramFile) -> Vec<Diagnostic> {
    let mut refusals = Refusals { file, list: Vec::new() };
    for queue in file.queues.iter().filter(|queue| queue.descriptor.kind != QueueKind::Gpu) {
        refusals.nowhere(format!("devices cannot run IO queues yet, as `{}` is", queue.name));
    }
    for resource in &file.resources {
        if matches!(resource.kind, Kind::Shapeless { .. }) {
            let what = format!("texture `{}` has no width: only the model knows it", resource.name);
            refusals.at(&resource.span, what);
        }
    }
    for step in &file.steps {
        match &step.value {
            Step::Commit { buffers, .. } => {
                for item in buffers.iter().flat_map(|buffer| &buffer.items) {
                    if let Item::Pass(pass) = &item.value {
                        refusals.pass(pass);
                    }
                }
            }
            Step::EnqueueBarrier { .. } => refusals.nowhere("devices cannot run IO queues yet".into()),
            Step::WaitForDrawable { drawable, .. }
            | Step::SignalDrawable { drawable, .. }
            | Step::Present { drawable } => {
                let drawable = file.resource(*drawable);
                refusals.at(&drawable.span, "devices cannot present drawables yet".into());
            }
            Step::Host(action) => refusals.host(&action.step, &action.span),
            Step::SignalEvent { .. } | Step::WaitForEvent { .. } | Step::Allocation(_) => {}
        }
    }
    refusals.list
}

struct Refusals<'a> {
    file: &'a ProgramFile,
    list: Vec<Diagnostic>,
}

impl Refusals<'_> {
    fn at(&mut self, span: &Range<usize>, message: String) {
        let diagnostic = Diagnostic::new("unsupported", message, &self.file.source, span.clone(), "");
        self.list.push(diagnostic);
    }

    fn nowhere(&mut self, message: String) {
        self.list.push(Diagnostic::without_place("unsupported", message));
    }

    fn pass(&mut self, pass: &Pass) {
        let kind = pass.descriptor.kind;
        if !runs_on_devices(kind) {
            let what = match kind {
                PassKind::Render => "render passes",
                PassKind::MachineLearning => "machine learning passes",
                PassKind::ResourceState => "sparse mappings",
                _ => "IO passes",
            };
            return self.at(&pass.span, format!("devices cannot run {what} yet"));
        }
        for item in &pass.items {
            match &item.value {
                PassItem::Command(command) => self.command(command),
                PassItem::Barrier(..)
                | PassItem::MemoryBarrierWithScope { .. }
                | PassItem::MemoryBarrierWithResources { .. }
                    if kind == PassKind::Blit =>
                {
                    self.at(&pass.span, "devices cannot run a barrier in a blit pass: it has none".into());
                }
                _ => {}
            }
        }
    }

    fn command(&mut self, command: &Command) {
        match &command.action {
            Action::ModelOnly(what) => self.at(&command.span, format!("devices cannot run {what} yet")),
            Action::StandIn => {
                if command.works[0].0 != Stage::Dispatch {
                    let what = "a stand-in runs as a dispatch, and this pass or stage is another".into();
                    return self.at(&command.span, what);
                }
                for access in &command.works[0].1 {
                    let resource = self.file.resource(access.resource);
                    let (start, end) = access.region.bytes(resource.size());
                    let words = start.is_multiple_of(4) && end.is_multiple_of(4) && start < end;
                    let bytes = !matches!(access.region, Region::Texels(_)) && resource.is_buffer();
                    let name = &resource.name;
                    if access.kind.contains(AccessKind::BINDLESS) {
                        let what = format!("a stand-in cannot reach `{name}` without a binding");
                        self.at(&command.span, what);
                    } else if !bytes {
                        let what = format!("a stand-in runs on buffers, and `{name}` is a texture");
                        self.at(&command.span, what);
                    } else if !words {
                        let what = format!(
                            "a stand-in runs on words of 4 bytes, and {start}..{end} of `{name}` are none"
                        );
                        self.at(&command.span, what);
                    }
                }
            }
            _ => {}
        }
    }

    fn host(&mut self, step: &HostStep, span: &Range<usize>) {
        match step {
            HostStep::Access(access) | HostStep::AccessWhenIdle(access) => {
                let resource = self.file.resource(access.resource);
                if !resource.is_buffer() {
                    let what =
                        format!("the host reads and writes buffers, and `{}` is a texture", resource.name);
                    self.at(span, what);
                } else if resource.storage == lockgate_runtime::StorageMode::Private {
                    self.at(span, format!("`{}` is private: the host cannot reach it", resource.name));
                }
            }
            HostStep::SignalEvent { event, .. } | HostStep::WaitForEvent { event, .. } => {
                let event = &self.file.events[event.index()];
                if !event.shared {
                    let what = format!("`{}` is no shared event: the host cannot use it", event.name);
                    self.at(span, what);
                }
            }
            HostStep::WaitForCommit { .. } => {}
        }
    }
}
