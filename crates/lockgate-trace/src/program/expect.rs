//! Outputs and expectations: what a file hands back, and what must be true of it.

use super::Reader;
use super::declare::to_format;
use super::file::{Expectation, Expected, Output};
use super::node::{Node, Spanned};
use super::words::HAZARDS;
use crate::pictures;
use kdl::KdlValue;
use lockgate_runtime::PixelFormat;
use lockgate_sync::ResourceId;

impl<'a> Reader<'a> {
    pub(super) fn output(&mut self, mut node: Node<'a>) {
        let name = node.arg::<&str>("a name");
        let path = node.arg::<&str>("the path of a picture");
        let from = node.needed_prop::<&str>("from");
        let level = self.number_prop(&node, "level").unwrap_or(0);
        let slice = self.number_prop(&node, "slice").unwrap_or(0);
        node.finish(false);
        let Some(((name, path), from)) = name.zip(path).zip(from) else { return };
        let Some(id) = self.find_resource(&from) else { return };
        let Some((level, slice)) = self.picture_place(id, &from, level, slice) else { return };
        if let Some(first) = self.file.outputs.iter().find(|output| output.name == name.value) {
            let message = format!("the output `{}` is given twice", name.value);
            let twice = crate::Diagnostic::new("duplicate-name", message, &self.errors.source, name.span, "");
            return self.errors.push(twice.and(first.span.clone(), "first here"));
        }
        let (name, path) = (name.value.to_owned(), path.value.to_owned());
        self.file.outputs.push(Output { name, span: node.span(), path, from: id, level, slice });
    }

    /// A level that can be a picture.
    fn picture_place(
        &self,
        id: ResourceId,
        name: &Spanned<&str>,
        level: u64,
        slice: u64,
    ) -> Option<(u32, u32)> {
        let texture = self.file.resource(id).texture();
        let fits = texture.is_some_and(|texture| {
            level < u64::from(texture.mip_level_count)
                && slice < u64::from(texture.slice_count())
                && texture.depth == 1
                && to_format(&mut [], texture.format)
        });
        if !fits {
            let message = format!("level {level}, slice {slice} of `{}` cannot be a picture", name.value);
            let source = &self.errors.source;
            let diagnostic = crate::Diagnostic::new("no-picture", message, source, name.span.clone(), "");
            let help = "a picture is a level that exists, of rgba8unorm, bgra8unorm or their -srgb kin";
            self.errors.push(diagnostic.help(help));
        }
        fits.then_some((level as u32, slice as u32))
    }

    pub(super) fn expect(&mut self, node: Node<'a>) {
        node.finish(true);
        let mut list = self.file.expectations.take().unwrap_or_default();
        for child in node.children() {
            let span = child.span();
            match child.name() {
                "buffer" => self.expect_buffer(child, &mut list),
                _ => {
                    let kind = self.expected(child);
                    list.extend(kind.map(|kind| Expectation { span, kind }));
                }
            }
        }
        self.file.expectations = Some(list);
    }

    fn expected(&mut self, mut node: Node<'a>) -> Option<Expected> {
        let kind = match node.name() {
            "no-hazards" => Expected::NoHazards,
            "hazard" => {
                let word = node.arg::<&str>("the kind of hazard")?;
                let hazard = HAZARDS.iter().find(|(name, _)| *name == word.value).map(|(_, hazard)| *hazard);
                if hazard.is_none() {
                    let known = HAZARDS.iter().map(|(name, _)| *name);
                    self.errors.unknown(&word.span, "hazard", word.value, known);
                }
                let side = |name| node.prop::<&str>(name).and_then(|name| self.command_named(&name, true));
                let (earlier, later) = (side("earlier"), side("later"));
                let resource = node.prop::<&str>("resource").and_then(|name| self.find_resource(&name));
                node.finish(false);
                return Some(Expected::Hazard { hazard: hazard?, earlier, later, resource });
            }
            "ordered" | "free" => {
                let first = node.arg::<&str>("a command").and_then(|name| self.command_named(&name, false));
                let second = node.arg::<&str>("a command").and_then(|name| self.command_named(&name, false));
                let (first, second) = first.zip(second)?;
                match node.name() {
                    "ordered" => Expected::Ordered(first, second),
                    _ => Expected::Free(first, second),
                }
            }
            "picture" => self.expect_picture(&mut node)?,
            other => {
                let known = ["no-hazards", "hazard", "ordered", "free", "buffer", "picture"];
                self.errors.unknown(&node.span(), "expectation", other, known);
                return None;
            }
        };
        node.finish(false);
        Some(kind)
    }

    /// A command by its full name, or by its own if only one has it.
    fn command_named(&self, name: &Spanned<&str>, host: bool) -> Option<String> {
        let names = &self.scope.command_names;
        let own = |full: &&String| full.rsplit('.').next() == Some(name.value);
        let short: Vec<&String> = names.iter().filter(own).collect();
        if names.iter().any(|full| full == name.value) || (host && matches!(name.value, "host" | "display")) {
            return Some(name.value.to_owned());
        }
        match short.as_slice() {
            [one] => Some((*one).clone()),
            [] => {
                self.errors.unknown(&name.span, "command", name.value, names.iter().map(String::as_str));
                None
            }
            _ => {
                let message = format!("`{}` is the name of {} commands", name.value, short.len());
                let help = format!("say which: `{}`, `{}`", short[0], short[1]);
                let source = &self.errors.source;
                let many = crate::Diagnostic::new("ambiguous-name", message, source, name.span.clone(), "");
                self.errors.push(many.help(help));
                None
            }
        }
    }

    fn expect_buffer(&mut self, mut node: Node<'a>, list: &mut Vec<Expectation>) {
        let buffer = self.resource_arg(&mut node);
        node.finish(true);
        let Some((buffer, span)) = buffer else { return };
        if !self.file.resource(buffer).is_buffer() {
            return self.errors.at(&span, "wrong-kind", "this is a texture", "a buffer is expected");
        }
        let size = self.file.resource(buffer).size();
        for mut child in node.children() {
            let span = child.span();
            let kind = match child.name() {
                "same-as" => {
                    let other = self.resource_arg(&mut child);
                    child.finish(false);
                    let Some((other, _)) = other else { continue };
                    Expected::SameAs { buffer, other }
                }
                name @ ("starts-with" | "equals" | "at") => {
                    let offset = match name {
                        "at" => child.arg::<u64>("a byte").map_or(0, |offset| offset.value),
                        _ => 0,
                    };
                    let mut words = Vec::new();
                    while let Some(value) = child.optional_arg::<&KdlValue>() {
                        words.extend(self.word_value(&value));
                    }
                    child.finish(false);
                    let end = (4 * words.len() as u64).checked_add(offset);
                    if end.is_none_or(|end| end > size) || !offset.is_multiple_of(4) {
                        let message = format!("{} words are not inside {size} bytes", words.len());
                        self.errors.at(&span, "beyond-the-end", message, "");
                        continue;
                    }
                    Expected::Buffer { buffer, offset, words, whole: name == "equals" }
                }
                other => {
                    let known = ["starts-with", "equals", "at", "same-as"];
                    self.errors.unknown(&span, "expectation", other, known);
                    continue;
                }
            };
            list.push(Expectation { span, kind });
        }
    }

    fn expect_picture(&mut self, node: &mut Node<'a>) -> Option<Expected> {
        let name = node.arg::<&str>("a texture")?;
        let path = node.needed_prop::<&str>("matches")?;
        let tolerance = node.prop::<u8>("tolerance").map_or(0, |tolerance| tolerance.value);
        let level = self.number_prop(node, "level").unwrap_or(0);
        let slice = self.number_prop(node, "slice").unwrap_or(0);
        let texture = self.find_resource(&name)?;
        let (level, slice) = self.picture_place(texture, &name, level, slice)?;
        let bytes = self.files.read(path.value).map_err(|error| error.to_string());
        let picture = bytes.and_then(|bytes| pictures::decode(&bytes));
        let picture = picture.map_err(|error| {
            let message = format!("the picture `{}` cannot be read: {error}", path.value);
            self.errors.at(&path.span, "unreadable-picture", message, "");
        });
        let mut texels = picture.ok()?;
        let descriptor = self.file.resource(texture).texture()?;
        let [width, height, _] = descriptor.level_size(level);
        if (texels.width, texels.height) != (width, height) {
            let message = format!("`{}` is {} x {} texels", path.value, texels.width, texels.height);
            let label = format!("`{}` is {width} x {height}", name.value);
            self.errors.at(&path.span, "wrong-size", message, label);
            return None;
        }
        to_format(&mut texels.texels, descriptor.format);
        let (path, texels) = (path.value.to_owned(), texels.texels);
        Some(Expected::Picture { texture, level, slice, path, texels, tolerance })
    }
}

/// The texels of a level as RGBA.
pub(super) fn as_picture(texels: Vec<u8>, sides: [u32; 3], format: PixelFormat) -> pictures::Picture {
    let mut texels = texels;
    to_format(&mut texels, format);
    pictures::Picture { width: sides[0], height: sides[1], texels }
}
