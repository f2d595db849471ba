//! How one node of a file is read: arguments and properties by what they must be.
//!
//! Whatever is asked for is known; whatever is left when a node is finished is a mistake and reported with the
//! names that were asked for. So the list of legal properties cannot differ from what the reader reads.

use crate::diagnostic::{Diagnostic, Source};
use kdl::{KdlEntry, KdlNode, KdlValue};
use std::cell::RefCell;
use std::ops::Range;

/// The mistakes found so far in one text.
pub(super) struct Errors {
    pub(super) source: Source,
    pub(super) list: RefCell<Vec<Diagnostic>>,
}

impl Errors {
    pub(super) fn new(source: Source) -> Errors {
        Errors { source, list: RefCell::default() }
    }

    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.list.borrow_mut().push(diagnostic);
    }

    pub(super) fn at(
        &self,
        span: &Range<usize>,
        code: &'static str,
        message: impl Into<String>,
        label: impl Into<String>,
    ) {
        self.push(Diagnostic::new(code, message, &self.source, span.clone(), label));
    }

    /// A name that is none of those there are.
    pub(super) fn unknown<'n>(
        &self,
        span: &Range<usize>,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let mut known: Vec<&str> = known.into_iter().collect();
        known.sort_unstable();
        known.dedup();
        let help = match nearest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "there is none here".to_owned(),
            None => format!("there is: {}", list(&known)),
        };
        let message = format!("there is no {what} `{name}`");
        let diagnostic = Diagnostic::new("unknown-name", message, &self.source, span.clone(), "");
        self.push(diagnostic.help(help));
    }
}

fn list(names: &[&str]) -> String {
    const MOST: usize = 24;
    let shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(MOST);
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// The known name that differs least, if it differs little.
fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    let most = (name.chars().count() / 3).clamp(1, 3);
    let near = known.iter().map(|other| (distance(name, other), *other)).min_by_key(|pair| pair.0)?;
    (near.0 <= most).then_some(near.1)
}

/// Letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A value of a node and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// What a value of a file can be read as.
pub(super) trait FromValue<'a>: Sized {
    const WHAT: &'static str;
    fn from_value(value: &'a KdlValue) -> Option<Self>;
}

impl<'a> FromValue<'a> for &'a str {
    const WHAT: &'static str = "a name or text";
    fn from_value(value: &'a KdlValue) -> Option<Self> {
        value.as_string()
    }
}

impl FromValue<'_> for u64 {
    const WHAT: &'static str = "a whole number from 0 on";
    fn from_value(value: &KdlValue) -> Option<Self> {
        value.as_integer().and_then(|value| u64::try_from(value).ok())
    }
}

impl FromValue<'_> for u16 {
    const WHAT: &'static str = "a whole number of 0..=65535";
    fn from_value(value: &KdlValue) -> Option<Self> {
        value.as_integer().and_then(|value| u16::try_from(value).ok())
    }
}

impl FromValue<'_> for u8 {
    const WHAT: &'static str = "a whole number of 0..=255";
    fn from_value(value: &KdlValue) -> Option<Self> {
        value.as_integer().and_then(|value| u8::try_from(value).ok())
    }
}

impl FromValue<'_> for f64 {
    const WHAT: &'static str = "a number";
    fn from_value(value: &KdlValue) -> Option<Self> {
        value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
    }
}

impl FromValue<'_> for bool {
    const WHAT: &'static str = "#true or #false";
    fn from_value(value: &KdlValue) -> Option<Self> {
        value.as_bool()
    }
}

impl<'a> FromValue<'a> for &'a KdlValue {
    const WHAT: &'static str = "a value";
    fn from_value(value: &'a KdlValue) -> Option<Self> {
        Some(value)
    }
}

/// A node that is being read.
pub(super) struct Node<'a> {
    kdl: &'a KdlNode,
    errors: &'a Errors,
    taken: usize,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Node<'a> {
    pub(super) fn new(kdl: &'a KdlNode, errors: &'a Errors) -> Node<'a> {
        Node { kdl, errors, taken: 0, asked: RefCell::default() }
    }

    pub(super) fn name(&self) -> &'a str {
        self.kdl.name().value()
    }

    /// Where its name stands.
    pub(super) fn span(&self) -> Range<usize> {
        range(self.kdl.name().span())
    }

    pub(super) fn has_children(&self) -> bool {
        self.kdl.children().is_some()
    }

    pub(super) fn children(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let errors = self.errors;
        self.kdl.iter_children().map(move |child| Node::new(child, errors))
    }

    /// The next argument, which must be there.
    pub(super) fn arg<T: FromValue<'a>>(&mut self, what: &str) -> Option<Spanned<T>> {
        if self.kdl.entries().iter().filter(|entry| entry.name().is_none()).nth(self.taken).is_none() {
            self.error("missing-argument", format!("`{}` needs {what}", self.name()));
        }
        self.optional_arg()
    }

    /// The next argument, if there is one.
    pub(super) fn optional_arg<T: FromValue<'a>>(&mut self) -> Option<Spanned<T>> {
        let entry = self.kdl.entries().iter().filter(|entry| entry.name().is_none()).nth(self.taken)?;
        self.taken += 1;
        self.read(entry)
    }

    pub(super) fn prop<T: FromValue<'a>>(&self, name: &'static str) -> Option<Spanned<T>> {
        self.asked.borrow_mut().push(name);
        let named = |entry: &&KdlEntry| entry.name().is_some_and(|own| own.value() == name);
        self.kdl.entries().iter().rfind(named).and_then(|entry| self.read(entry))
    }

    /// A property that must be there.
    pub(super) fn needed_prop<T: FromValue<'a>>(&self, name: &'static str) -> Option<Spanned<T>> {
        let there = self.kdl.entries().iter().any(|e| e.name().is_some_and(|own| own.value() == name));
        if !there {
            self.error("missing-property", format!("`{}` needs the property `{name}`", self.name()));
        }
        self.prop(name)
    }

    pub(super) fn flag(&self, name: &'static str, default: bool) -> bool {
        self.prop(name).map_or(default, |flag| flag.value)
    }

    /// A property that is one of some words.
    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.prop::<&str>(name)?;
        let found = words.iter().find(|(word, _)| *word == value.value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            self.errors.unknown(&value.span, name, value.value, words.iter().map(|(word, _)| *word));
        }
        found
    }

    pub(super) fn error(&self, code: &'static str, message: impl Into<String>) {
        self.errors.at(&self.span(), code, message, "");
    }

    /// Reports what nobody asked for, and children where there can be none.
    pub(super) fn finish(&self, children: bool) {
        let mut args = 0;
        for entry in self.kdl.entries() {
            let Some(name) = entry.name() else {
                args += 1;
                if args > self.taken {
                    let message = format!("`{}` takes no further argument", self.name());
                    self.errors.at(&range(entry.span()), "spare-argument", message, "");
                }
                continue;
            };
            let asked = self.asked.borrow();
            if !asked.contains(&name.value()) {
                let what = format!("property of `{}` named", self.name());
                self.errors.unknown(&range(name.span()), &what, name.value(), asked.iter().copied());
            }
        }
        if !children && self.has_children() {
            self.error("spare-children", format!("`{}` holds no other nodes", self.name()));
        }
    }

    fn read<T: FromValue<'a>>(&self, entry: &'a KdlEntry) -> Option<Spanned<T>> {
        let span = range(entry.span());
        let value = T::from_value(entry.value());
        if value.is_none() {
            let message = format!("{} is not {}", entry.value(), T::WHAT);
            self.errors.at(&span, "wrong-type", message, format!("must be {}", T::WHAT));
        }
        Some(Spanned { value: value?, span })
    }
}

pub(crate) fn range(span: miette::SourceSpan) -> Range<usize> {
    span.offset()..span.offset() + span.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("bufer", &["buffer", "texture"]), Some("buffer"));
        assert_eq!(nearest("x", &["buffer", "texture"]), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
