//! Edits of a program file as text: everything that is not touched stays as it was.
//!
//! Nodes are called by where their name stands, as messages call them. Deliberately absent: what to write
//! (`edit.rs`). Tested here.

use crate::program::node::range;
use kdl::{KdlDocument, KdlNode};
use std::collections::BTreeMap;
use std::ops::Range;

/// A text with its nodes, and what is to change.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    text: &'a str,
    nodes: BTreeMap<usize, Node>,
    /// The first node of the top level that is given.
    top: Vec<usize>,
    /// Insertions and removals: where, how much goes, what comes; in the order given where they meet.
    edits: Vec<(usize, usize, String)>,
}

#[derive(Clone, Debug)]
struct Node {
    range: Range<usize>,
    /// Behind the last argument or property.
    entries_end: usize,
    properties: BTreeMap<String, Range<usize>>,
    name: String,
    parent: Option<usize>,
    children: Vec<usize>,
    has_block: bool,
}

impl<'a> Text<'a> {
    /// The nodes of a text; nothing if it is not KDL.
    pub(crate) fn new(text: &'a str) -> Option<Text<'a>> {
        let document = KdlDocument::parse_v2(text).ok()?;
        let mut own = Text { text, nodes: BTreeMap::new(), top: Vec::new(), edits: Vec::new() };
        own.top = own.add(&document, None);
        Some(own)
    }

    fn add(&mut self, document: &KdlDocument, parent: Option<usize>) -> Vec<usize> {
        document.nodes().iter().map(|node| self.add_node(node, parent)).collect()
    }

    fn add_node(&mut self, node: &KdlNode, parent: Option<usize>) -> usize {
        let (whole, name) = (range(node.span()), range(node.name().span()));
        let end = whole.start + self.text[whole.clone()].trim_end().len();
        let entries_end = node.entries().last().map_or(name.end, |entry| range(entry.span()).end);
        let entries_end = entries_end.max(name.end);
        let entries_end = name.start + self.text[name.start..entries_end].trim_end().len();
        let named = node
            .entries()
            .iter()
            .filter_map(|entry| Some((entry.name()?.value().to_owned(), range(entry.span()))));
        let properties = named
            .map(|(key, span)| {
                (key, span.start + self.leading(&span)..span.start + self.text[span].trim_end().len())
            })
            .collect();
        let children = node.children().map_or_else(Vec::new, |block| self.add(block, Some(name.start)));
        let added = Node {
            range: name.start..end,
            entries_end,
            properties,
            name: node.name().value().to_owned(),
            parent,
            children,
            has_block: node.children().is_some(),
        };
        self.nodes.insert(name.start, added);
        name.start
    }

    fn leading(&self, span: &Range<usize>) -> usize {
        let part = &self.text[span.clone()];
        part.len() - part.trim_start().len()
    }

    /// The node that a node is in.
    pub(crate) fn parent(&self, at: usize) -> Option<usize> {
        self.nodes.get(&at)?.parent
    }

    /// The node of the top level that a node is in.
    pub(crate) fn root(&self, at: usize) -> usize {
        self.parent(at).map_or(at, |parent| self.root(parent))
    }

    /// The children of a node with a name.
    pub(crate) fn children(&self, at: usize, name: &str) -> Vec<usize> {
        let children = self.nodes.get(&at).map_or(&[][..], |node| &node.children);
        children.iter().copied().filter(|child| self.nodes[child].name == name).collect()
    }

    /// The text of a node.
    pub(crate) fn node(&self, at: usize) -> &'a str {
        self.nodes.get(&at).map_or("", |node| &self.text[node.range.clone()])
    }

    /// The text of a node before its block.
    pub(crate) fn head(&self, at: usize) -> &'a str {
        self.nodes.get(&at).map_or("", |node| &self.text[node.range.start..node.entries_end])
    }

    /// The nodes of the top level.
    pub(crate) fn top(&self) -> &[usize] {
        &self.top
    }

    /// The name of a node.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.nodes.get(&at).map_or("", |node| &node.name)
    }

    /// White space before a node that is the first of its line; nothing if it is not.
    pub(crate) fn indent(&self, at: usize) -> Option<&'a str> {
        let line = &self.text[self.line_start(at)..at];
        line.trim().is_empty().then_some(line)
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |newline| newline + 1)
    }

    /// Writes a node before another.
    pub(crate) fn insert_before(&mut self, at: usize, node: &str) {
        match self.indent(at) {
            Some(indent) => self.edits.push((self.line_start(at), 0, format!("{indent}{node}\n"))),
            None => self.edits.push((at, 0, format!("{node}; "))),
        }
    }

    /// Writes a node behind another.
    pub(crate) fn insert_after(&mut self, at: usize, node: &str) {
        let Some(own) = self.nodes.get(&at) else { return };
        let end = own.range.end;
        let line_end = self.text[end..].find('\n').map_or(self.text.len(), |newline| end + newline + 1);
        let alone = self.text[end..line_end].trim_start();
        match self.indent(at).filter(|_| alone.is_empty() || alone.starts_with("//")) {
            Some(indent) => {
                let before = if self.text[..line_end].ends_with('\n') { "" } else { "\n" };
                self.edits.push((line_end, 0, format!("{before}{indent}{node}\n")));
            }
            None => {
                // Where the node itself goes, the new one takes its place.
                let gone = self.edits.iter_mut().find(|(start, gone, comes)| {
                    *gone > 0 && comes.is_empty() && *start <= own.range.start && end <= start + gone
                });
                match gone {
                    Some(edit) => *edit = (own.range.start, own.range.len(), node.to_owned()),
                    None => self.edits.push((end, 0, format!("; {node}"))),
                }
            }
        }
    }

    /// Writes a node at the end of the block of another.
    pub(crate) fn insert_inside(&mut self, at: usize, node: &str) {
        let Some(own) = self.nodes.get(&at) else { return };
        if let Some(last) = own.children.last() {
            return self.insert_after(*last, node);
        }
        match own.has_block {
            true => self.edits.push((own.range.end - 1, 0, format!(" {node} "))),
            false => self.edits.push((own.entries_end, 0, format!(" {{ {node} }}"))),
        }
    }

    /// The node among whose arguments a place is.
    pub(crate) fn holder(&self, at: usize) -> Option<usize> {
        let (start, node) = self.nodes.range(..=at).next_back()?;
        (at < node.entries_end).then_some(*start)
    }

    /// Writes whole lines above the line of a node.
    pub(crate) fn insert_lines(&mut self, at: usize, lines: &str) {
        self.edits.push((self.line_start(at), 0, lines.to_owned()));
    }

    /// Writes text before a node in its line.
    pub(crate) fn insert_text(&mut self, at: usize, text: &str) {
        self.edits.push((at, 0, text.to_owned()));
    }

    /// Writes another node in its place.
    pub(crate) fn replace(&mut self, at: usize, node: &str) {
        let Some(own) = self.nodes.get(&at) else { return };
        self.edits.push((own.range.start, own.range.len(), node.to_owned()));
    }

    /// Takes a node away, with its line if it has one.
    pub(crate) fn remove(&mut self, at: usize) {
        let Some(own) = self.nodes.get(&at) else { return };
        let (start, end) = (own.range.start, own.range.end);
        let rest = &self.text[end..];
        let separator = rest.len() - rest.trim_start_matches([' ', '\t', ';']).len();
        let end = end + separator;
        let new =
            self.edits.iter_mut().rfind(|(at, gone, new)| (*at, *gone) == (start, 0) && new.ends_with("; "));
        if let Some((.., new)) = new {
            // What was written before it in its line takes its place.
            new.truncate(new.len() - 2);
            self.edits.push((start, own.range.len(), String::new()));
            return;
        }
        let ends_line = self.text[end..].is_empty() || self.text[end..].starts_with('\n');
        match self.indent(start).filter(|_| ends_line) {
            Some(_) => {
                let (start, end) = (self.line_start(start), (end + 1).min(self.text.len()));
                self.edits.push((start, end - start, String::new()));
            }
            None if rest[..separator].contains(';') || self.text[end..].starts_with("//") => {
                self.edits.push((start, end - start, String::new()));
            }
            None => {
                // The last of its line: what separates it from the one before goes too.
                let before = self.text[..start].trim_end_matches([' ', '\t', ';']).len();
                let before = if self.text[..before].ends_with('{') { before + 1 } else { before };
                self.edits.push((before.min(start), end - before.min(start) - separator, String::new()));
            }
        }
    }

    /// Gives a node a property.
    pub(crate) fn set(&mut self, at: usize, name: &str, value: &str) {
        let Some(own) = self.nodes.get(&at) else { return };
        match own.properties.get(name) {
            Some(span) => self.edits.push((span.start, span.len(), format!("{name}={value}"))),
            // Before what is written behind the node.
            None => {
                let added = (own.entries_end, 0, format!(" {name}={value}"));
                if !self.edits.contains(&added) {
                    self.edits.insert(0, added);
                }
            }
        }
    }

    /// The text with all edits.
    pub(crate) fn finish(mut self) -> String {
        // What is written before a node stands before what replaces it.
        self.edits.sort_by_key(|(at, gone, _)| (*at, *gone > 0));
        // Two edits may give one node the same property.
        self.edits.dedup_by(|a, b| a.1 > 0 && a == b);
        let mut done = String::with_capacity(self.text.len() + 256);
        let mut read = 0;
        for (at, gone, comes) in &self.edits {
            done.push_str(self.text.get(read..*at).unwrap_or(""));
            done.push_str(comes);
            read = read.max(at + gone);
        }
        done.push_str(self.text.get(read..).unwrap_or(""));
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "queue main {\n    // first\n    one a=1 // why\n    two { x; y; z }\n}\n";

    fn edited(edit: impl Fn(&mut Text<'_>, &dyn Fn(&str) -> usize)) -> String {
        let mut text = Text::new(TEXT).expect("it is KDL");
        edit(&mut text, &|name: &str| TEXT.find(name).expect("it is there"));
        text.finish()
    }

    #[test]
    fn lines_are_inserted_with_the_indentation_of_their_neighbour() {
        let with = |edit: fn(&mut Text<'_>, usize)| edited(|text, at| edit(text, at("one")));
        assert_eq!(
            with(|text, at| text.insert_before(at, "new")),
            TEXT.replace("    one", "    new\n    one")
        );
        assert_eq!(with(|text, at| text.insert_after(at, "new")), TEXT.replace("why\n", "why\n    new\n"));
        assert_eq!(with(|text, at| text.remove(at)), TEXT.replace("one a=1 ", ""));
        assert_eq!(with(|text, at| text.set(at, "a", "2")), TEXT.replace("a=1", "a=2"));
        assert_eq!(with(|text, at| text.set(at, "b", "2")), TEXT.replace("a=1", "a=1 b=2"));
    }

    #[test]
    fn what_comes_takes_the_place_of_what_goes_in_a_line() {
        let only = "one { x }";
        let with = |text: &str, edit: fn(&mut Text<'_>, usize)| {
            let mut edited = Text::new(text).expect("it is KDL");
            edit(&mut edited, text.find('x').expect("it is there"));
            edited.finish()
        };
        let after = |text: &mut Text<'_>, at| {
            text.remove(at);
            text.insert_after(at, "new");
        };
        let before = |text: &mut Text<'_>, at| {
            text.insert_before(at, "new");
            text.remove(at);
        };
        for text in [only, "one { a; x }", "one { x; b }"] {
            assert_eq!(with(text, after), text.replace('x', "new"));
            assert_eq!(with(text, before), text.replace('x', "new"));
        }
    }

    #[test]
    fn nodes_in_a_line_stay_in_the_line() {
        let with = |name: &str, edit: fn(&mut Text<'_>, usize)| edited(|text, at| edit(text, at(name)));
        assert_eq!(with("y;", |text, at| text.insert_before(at, "new")), TEXT.replace("y;", "new; y;"));
        assert_eq!(with("two", |text, at| text.insert_inside(at, "new")), TEXT.replace("z }", "z; new }"));
        assert_eq!(with("y;", |text, at| text.remove(at)), TEXT.replace("y; ", ""));
        assert_eq!(with("z }", |text, at| text.remove(at)), TEXT.replace("; z }", " }"));
        assert_eq!(with("two", |text, at| text.remove(at)), TEXT.replace("    two { x; y; z }\n", ""));
        assert_eq!(with("y;", |text, at| text.replace(at, "new")), TEXT.replace("y;", "new;"));
    }
}
