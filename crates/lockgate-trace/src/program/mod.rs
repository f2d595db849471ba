//! Program files: how a text becomes tables and steps.
//!
//! The text is read in three rounds. First the declarations from top to bottom, so that steps may use what
//! stands below them; then the steps of queues and host; then outputs and expectations. All mistakes are
//! collected. What every node means is described in `docs/PROGRAM-FILES.md`.
//!
//! Deliberately absent: execution, which is in `run`, and the model's view, which is in `lower`.

mod command;
mod declare;
mod dispatch;
mod expect;
pub(crate) mod file;
mod files;
pub(crate) mod lower;
pub(crate) mod node;
mod number;
mod place;
mod record;
mod run;
mod scope;
pub(crate) mod spell;
pub(crate) mod words;
mod write;

pub use file::ProgramFile;
pub use files::{Files, Folder, NoFiles};
pub use lower::{CommandName, Names};
pub use run::{OutputPicture, Progress, RunReport, Verdict, Watched};
pub use write::write;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use kdl::KdlDocument;
use lockgate_sync::Model;
use node::{Errors, Node, Spanned, range};
use scope::Scope;

/// A file that is being read.
struct Reader<'a> {
    errors: &'a Errors,
    files: &'a dyn Files,
    file: ProgramFile,
    scope: Scope,
}

impl ProgramFile {
    /// Reads a program file. `name` is what messages call it; `files` brings what it refers to.
    ///
    /// # Errors
    /// Every mistake that was found, each with its place.
    pub fn parse(name: &str, text: &str, files: &dyn Files) -> Result<ProgramFile, Diagnostics> {
        let errors = Errors::new(Source::new(name, text));
        let document = KdlDocument::parse_v2(text).map_err(|error| syntax(&errors, &error))?;
        let mut reader =
            Reader { errors: &errors, files, file: empty(&errors.source), scope: Scope::default() };
        for declare in [true, false] {
            document.nodes().iter().for_each(|kdl| reader.top(Node::new(kdl, &errors), declare));
        }
        for kdl in document.nodes() {
            let node = Node::new(kdl, &errors);
            match node.name() {
                "output" => reader.output(node),
                "expect" => reader.expect(node),
                _ => {}
            }
        }
        let file = reader.file;
        let mut list = errors.list.into_inner();
        if list.is_empty() {
            return Ok(file);
        }
        list.sort_by_key(|diagnostic| diagnostic.labels().first().map(|label| label.0.start));
        Err(Diagnostics(list))
    }
}

impl<'a> Reader<'a> {
    /// One node of the top level, in the round of declarations or of steps.
    fn top(&mut self, node: Node<'a>, declare: bool) {
        match (node.name(), declare) {
            ("model", true) => self.file.model = self.model(node),
            ("buffer", true) => self.buffer(node, None, false),
            ("texture" | "drawable", true) => self.texture(node, None, false),
            ("image", true) => self.image(node),
            ("heap", true) => self.heap(node),
            ("fence", true) => self.fence(node),
            ("event" | "shared-event", true) => self.event(node),
            ("sampler", true) => self.sampler(node),
            ("kernels", true) => self.kernels(node),
            ("queue" | "io-queue", true) => self.declare_queue(node),
            ("queue" | "io-queue", false) => self.queue_steps(node),
            ("host", false) => self.host(node),
            ("present", false) => self.present(node),
            ("allocate" | "make-aliasable", false) => {
                let span = node.span();
                if let Some(allocation) = self.allocation(node) {
                    let step = Spanned { value: file::Step::Allocation(allocation), span };
                    self.file.steps.push(step);
                }
            }
            (name, true) if !TOP.contains(&name) => {
                self.errors.unknown(&node.span(), "node", name, TOP.iter().copied());
            }
            _ => {}
        }
    }
}

const TOP: &[&str] = &[
    "model",
    "buffer",
    "texture",
    "drawable",
    "image",
    "heap",
    "fence",
    "event",
    "shared-event",
    "sampler",
    "kernels",
    "queue",
    "io-queue",
    "host",
    "present",
    "allocate",
    "make-aliasable",
    "output",
    "expect",
];

fn empty(source: &Source) -> ProgramFile {
    ProgramFile {
        source: source.clone(),
        model: Model::default(),
        memories: 0,
        resources: Vec::new(),
        heaps: Vec::new(),
        fences: Vec::new(),
        events: Vec::new(),
        samplers: Vec::new(),
        kernels: Vec::new(),
        queues: Vec::new(),
        steps: Vec::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        expectations: None,
    }
}

fn syntax(errors: &Errors, error: &kdl::KdlError) -> Diagnostics {
    let one = |d: &kdl::KdlDiagnostic| {
        let message = d.message.clone().unwrap_or_else(|| "this is not KDL".into());
        let label = d.label.clone().unwrap_or_default();
        let diagnostic = Diagnostic::new("syntax", message, &errors.source, range(d.span), label);
        match &d.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    };
    Diagnostics(error.diagnostics.iter().map(one).collect())
}
