//! Why a kernel was refused.

use std::fmt;

use naga::Span;

/// A kernel that was refused: what, where, and, when this device lacks something, its name.
#[derive(Clone, Debug)]
pub struct KernelError {
    message: String,
    span: Span,
    feature: Option<&'static str>,
}

impl KernelError {
    /// The kernel is wrong.
    pub(super) fn invalid(span: Span, message: impl Into<String>) -> Self {
        Self { message: message.into(), span, feature: None }
    }

    /// The kernel is fine; `feature` is not supported.
    pub(super) fn unsupported(span: Span, feature: &'static str) -> Self {
        Self { message: format!("{feature} is not supported"), span, feature: Some(feature) }
    }

    /// Where in the source; undefined for an error that has no place.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The feature that is missing; `None` if the kernel itself is wrong.
    pub fn feature(&self) -> Option<&'static str> {
        self.feature
    }
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KernelError {}
