//! What can fail although the program is right: the device, memory, files, time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What kind of failure an [`Error`] is.
///
/// ```
/// use lockgate_runtime::ErrorKind;
/// assert_eq!(ErrorKind::Timeout.to_string(), "time-out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A call broke a rule; the message names the rule.
    Invalid,
    /// The device cannot do this; the message names what.
    Unsupported,
    /// No memory is left for it.
    OutOfMemory,
    /// A wait took longer than it may.
    Timeout,
    /// Something is still in use; the message says by whom.
    InUse,
    /// A kernel does not compile; the message carries the place in its source.
    Kernel,
    /// A kernel or the device failed while it ran.
    Execution,
    /// Work was not run because something that it waits for failed.
    DependencyFailed,
    /// The device is gone.
    DeviceLost,
    /// Checking has refused a commit; the message says why.
    Denied,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorKind::Invalid => "invalid",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::OutOfMemory => "out of memory",
            ErrorKind::Timeout => "time-out",
            ErrorKind::InUse => "in use",
            ErrorKind::Kernel => "kernel rejected",
            ErrorKind::Execution => "execution failed",
            ErrorKind::DependencyFailed => "dependency failed",
            ErrorKind::DeviceLost => "device lost",
            ErrorKind::Denied => "denied",
        })
    }
}

/// A failure, with what was being done.
///
/// ```
/// use lockgate_runtime::{Error, ErrorKind};
/// let error = Error::new(ErrorKind::Timeout, "event `done` never reached 3").context("frame 7");
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// assert_eq!(error.to_string(), "frame 7: event `done` never reached 3");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    source: Option<SourceSpan>,
}

/// A place in the source of a kernel.
///
/// ```
/// let span = lockgate_runtime::SourceSpan { bytes: 3..7, label: "unknown identifier".into() };
/// assert_eq!(span.bytes.len(), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSpan {
    /// The bytes of the source.
    pub bytes: Range<usize>,
    /// What is wrong there.
    pub label: String,
}

impl Error {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), source: None }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Invalid, message)
    }

    /// The same with a place in the source of a kernel.
    pub fn at(self, source: SourceSpan) -> Error {
        Error(Arc::new(Inner { source: Some(source), ..Inner::clone(&self.0) }))
    }

    /// The same, saying what was being done.
    pub fn context(self, what: impl fmt::Display) -> Error {
        let message = format!("{what}: {}", self.0.message);
        Error(Arc::new(Inner { message, ..Inner::clone(&self.0) }))
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The place in the source of the kernel, if a kernel is at fault.
    pub fn source_span(&self) -> Option<&SourceSpan> {
        self.0.source.as_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

/// As people read it: `main` shows an error that it returns in this form.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)
    }
}

impl std::error::Error for Error {}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
