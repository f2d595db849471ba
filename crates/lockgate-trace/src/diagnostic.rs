//! What is wrong with a file, as data: a sentence, places in the text, and what to do about it.
//!
//! The types implement [`miette::Diagnostic`], so that an application can draw them with carets. Nothing here
//! draws.

use miette::{LabeledSpan, NamedSource, SourceCode};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text with its name, as places refer to it.
///
/// ```
/// let source = lockgate_trace::Source::new("copy.kdl", "buffer A size=4");
/// assert_eq!(source.name(), "copy.kdl");
/// ```
#[derive(Clone, Debug)]
pub struct Source(Arc<NamedSource<String>>);

impl Source {
    /// A text with the name that messages give it.
    pub fn new(name: &str, text: impl Into<String>) -> Source {
        Source(Arc::new(NamedSource::new(name, text.into())))
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// The text.
    pub fn text(&self) -> &str {
        self.0.inner()
    }
}

/// One mistake.
///
/// ```
/// use lockgate_trace::{Diagnostic, Source};
/// let source = Source::new("a.kdl", "bufer A");
/// let diagnostic = Diagnostic::new("unknown-node", "there is no node `bufer`", &source, 0..5, "");
/// assert_eq!(diagnostic.code(), "unknown-node");
/// ```
#[derive(Clone, Debug)]
pub struct Diagnostic {
    code: &'static str,
    message: String,
    help: Option<String>,
    source: Option<Source>,
    labels: Vec<(Range<usize>, String)>,
}

impl Diagnostic {
    /// A mistake at a place; the label stands beside the caret.
    pub fn new(
        code: &'static str,
        message: impl Into<String>,
        source: &Source,
        at: Range<usize>,
        label: impl Into<String>,
    ) -> Diagnostic {
        let end = at.end.min(source.text().len());
        let labels = vec![(at.start.min(end)..end, label.into())];
        Diagnostic { code, message: message.into(), help: None, source: Some(source.clone()), labels }
    }

    /// A failure that is at no place of a file.
    pub fn without_place(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic { code, message: message.into(), help: None, source: None, labels: Vec::new() }
    }

    /// The same with what to do.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The same with one more place.
    pub fn and(mut self, at: Range<usize>, label: impl Into<String>) -> Diagnostic {
        self.labels.push((at, label.into()));
        self
    }

    /// A stable name of the kind of mistake.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The places, each with its label.
    pub fn labels(&self) -> &[(Range<usize>, String)] {
        &self.labels
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| &*source.0 as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = |(at, text): &(Range<usize>, String)| {
            LabeledSpan::new(Some(text.clone()).filter(|text| !text.is_empty()), at.start, at.len())
        };
        (!self.labels.is_empty()).then(|| Box::new(self.labels.iter().map(label)) as Box<_>)
    }
}

/// Everything that is wrong with a file, in the order of the file.
///
/// ```
/// use lockgate_trace::{Diagnostic, Diagnostics};
/// let diagnostics = Diagnostics(vec![Diagnostic::without_place("device", "the device is gone")]);
/// assert_eq!(diagnostics.to_string(), "the device is gone");
/// ```
#[derive(Clone, Debug)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, diagnostic) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Diagnostics {
        Diagnostics(vec![diagnostic])
    }
}
