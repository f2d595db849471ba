//! Dispatches: kernels with their bindings, and stand-ins that name what they touch.

use super::Reader;
use super::file::{Action, Bound, Dispatch, Grid, KernelFile, Target};
use super::node::{Node, Spanned};
use super::scope::Entity;
use crate::diagnostic::{Diagnostic, Source};
use kdl::KdlValue;
use lockgate_runtime::{
    ARRAY_ELEMENTS_MAX, BindingArray, BindingKind, Library, ReflectedBinding, Reflection, TextureType,
};
use lockgate_sync::{Access, AccessKind, ResourceId, Stage, Texels};
use std::ops::Range;

/// The range of a buffer, the levels and the slices of a texture.
type Parts<'a> = (Option<Spanned<&'a KdlValue>>, Option<(u32, u32)>, Option<(u32, u32)>);

/// What a dispatch says of one binding.
struct Bind<'a> {
    key: Spanned<&'a KdlValue>,
    group: u32,
    /// One resource, or the elements of an array; null where nothing is bound.
    names: Vec<Spanned<&'a KdlValue>>,
    range: Option<Spanned<&'a KdlValue>>,
    levels: Option<(u32, u32)>,
    slices: Option<(u32, u32)>,
    used: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn kernels(&mut self, mut node: Node<'a>) {
        let mut path = node.arg::<&str>("the path of a WGSL file");
        while let Some(given) = path {
            self.kernel_file(&given);
            path = node.optional_arg();
        }
        node.finish(false);
    }

    fn kernel_file(&mut self, path: &Spanned<&str>) {
        let text = self.files.read(path.value).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|error| std::io::Error::other(error.to_string()))
        });
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                let message = format!("the kernels `{}` cannot be read: {error}", path.value);
                return self.errors.at(&path.span, "missing-file", message, "");
            }
        };
        let source = Source::new(path.value, text);
        let library = match Library::new(source.text()) {
            Ok(library) => library,
            Err(error) => {
                let message = format!("{}: {error}", path.value);
                let diagnostic = match error.source_span() {
                    Some(at) => {
                        Diagnostic::new("kernel-rejected", message, &source, at.bytes.clone(), &*at.label)
                    }
                    None => Diagnostic::new(
                        "kernel-rejected",
                        message,
                        &self.errors.source,
                        path.span.clone(),
                        "",
                    ),
                };
                return self.errors.push(diagnostic);
            }
        };
        for name in library.function_names() {
            let given = (self.file.kernels.len(), path.span.clone());
            if let Some((_, first)) = self.scope.kernels.insert(name.to_owned(), given) {
                let message = format!("the kernel `{name}` is in two files");
                let here = path.span.clone();
                let twice =
                    Diagnostic::new("duplicate-name", message, &self.errors.source, here, "again here");
                self.errors.push(twice.and(first, "first here"));
            }
        }
        self.file.kernels.push(KernelFile { source, library });
    }

    pub(super) fn dispatch(&mut self, mut node: Node<'a>) -> Option<super::command::Encoded> {
        let name = node.arg::<&str>("the name of a kernel")?;
        let Some((file, _)) = self.scope.kernels.get(name.value).cloned() else {
            let touches = node.children().next().is_some_and(|child| child.name() != "bind");
            if !touches {
                let known: Vec<&str> = self.scope.kernels.keys().map(String::as_str).collect();
                self.errors.unknown(&name.span, "kernel", name.value, known);
                return None;
            }
            // A dispatch that says what it touches stands for any kernel that does.
            node.finish(true);
            let works = vec![(Stage::Dispatch, self.accesses(&node))];
            return Some((name.value.to_owned(), works, Action::StandIn));
        };
        let reflection = match self.file.kernels[file].library.reflect(name.value) {
            Ok(reflection) => reflection,
            Err(error) => {
                self.errors.at(&name.span, "kernel-rejected", error.to_string(), "");
                return None;
            }
        };
        let grid = self.grid(&node);
        node.finish(true);
        let mut dispatch = Dispatch {
            file,
            entry: name.value.to_owned(),
            reflection,
            grid: grid.unwrap_or(Grid::Threads([1; 3])),
            bindings: Vec::new(),
            immediates: Vec::new(),
            constants: Vec::new(),
        };
        let mut binds = self.dispatch_children(&node, &mut dispatch);
        let reflection = dispatch.reflection.clone();
        for binding in &reflection.bindings {
            let (group, number) = (binding.group, binding.binding);
            for (element, to) in self.targets(&name, binding, &mut binds) {
                dispatch.bindings.push(Bound { group, binding: number, element, to });
            }
        }
        for bind in binds.iter().filter(|bind| !bind.used) {
            let known = reflection.bindings.iter().map(|binding| binding.name.as_str());
            let key = bind.key.value.to_string();
            self.errors.unknown(&bind.key.span, "binding", key.trim_matches('"'), known);
        }
        let has = 4 * dispatch.immediates.len() as u64;
        if has < u64::from(reflection.immediates) {
            let message =
                format!("kernel `{}` takes {} bytes of immediates", name.value, reflection.immediates);
            self.errors.at(&name.span, "missing-immediates", message, format!("{has} are given"));
        }
        let accesses = self.dispatch_accesses(&dispatch, &reflection);
        grid?;
        Some((name.value.to_owned(), vec![(Stage::Dispatch, accesses)], Action::Kernel(Box::new(dispatch))))
    }

    fn grid(&mut self, node: &Node<'a>) -> Option<Grid> {
        let threads = self.sides_prop(node, "threads", 1).map(Grid::Threads);
        let threadgroups = self.sides_prop(node, "threadgroups", 1).map(Grid::Threadgroups);
        let indirect = node.prop::<&str>("indirect").and_then(|text| {
            let (name, offset) = text.value.split_once('@').unwrap_or((text.value, "0"));
            let buffer = self.find_resource(&Spanned { value: name, span: text.span.clone() })?;
            let size = self.file.resource(buffer).size();
            let offset = offset.parse::<u64>().ok().filter(|offset| {
                offset.is_multiple_of(4) && offset.checked_add(12).is_some_and(|end| end <= size)
            });
            if offset.is_none() {
                let message = format!("indirect arguments are 12 bytes inside `{name}`, aligned to 4");
                self.errors.at(&text.span, "beyond-the-end", message, format!("`{name}` has {size} bytes"));
            }
            Some(Grid::Indirect { buffer, offset: offset? })
        });
        let given: Vec<Grid> = [threads, threadgroups, indirect].into_iter().flatten().collect();
        match given.as_slice() {
            [one] => Some(*one),
            _ => {
                let message = "a dispatch needs exactly one of `threads`, `threadgroups` and `indirect`";
                node.error("missing-property", message);
                None
            }
        }
    }

    fn dispatch_children(&mut self, node: &Node<'a>, dispatch: &mut Dispatch) -> Vec<Bind<'a>> {
        let mut binds = Vec::new();
        for mut child in node.children() {
            match child.name() {
                "bind" => binds.extend(self.bind(child)),
                "immediates" => {
                    while let Some(value) = child.optional_arg::<&KdlValue>() {
                        dispatch.immediates.extend(self.word_value(&value));
                    }
                    child.finish(false);
                }
                "constant" => {
                    let name = child.arg::<&str>("a name");
                    let value = child.arg::<f64>("a value");
                    child.finish(false);
                    let given = name.zip(value).map(|(name, value)| (name.value.to_owned(), value.value));
                    dispatch.constants.extend(given);
                }
                other => {
                    let known = ["bind", "immediates", "constant"];
                    self.errors.unknown(&child.span(), "node", other, known);
                }
            }
        }
        binds
    }

    /// A word of 4 bytes: a whole number, or the bits of an `f32`.
    pub(super) fn word_value(&self, value: &Spanned<&KdlValue>) -> Option<u32> {
        if let Some(number) = value.value.as_float() {
            return Some((number as f32).to_bits());
        }
        let word = match value.value.as_integer() {
            Some(number) => {
                (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&number).then_some(number as u32)
            }
            None => return self.number(value).map(|number| number as u32),
        };
        if word.is_none() {
            self.errors.at(&value.span, "wrong-type", format!("{} does not fit 4 bytes", value.value), "");
        }
        word
    }

    fn bind(&mut self, mut node: Node<'a>) -> Option<Bind<'a>> {
        let key = node.arg::<&KdlValue>("the name or number of a binding");
        let mut name = node.arg::<&KdlValue>("a resource");
        let mut names = Vec::new();
        while let Some(given) = name {
            names.push(given);
            name = node.optional_arg();
        }
        let group = node.prop::<u64>("group").map_or(0, |group| group.value.min(u64::from(u32::MAX)) as u32);
        let range = node.prop::<&KdlValue>("range");
        let part = |reader: &Self, one, many| {
            let one = reader.number_prop(&node, one).map(|one| (one, one.saturating_add(1)));
            let many = || {
                let value = node.prop::<&KdlValue>(many)?;
                let text = value.value.as_string().and_then(|text| text.split_once(".."));
                let range = text.and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
                if range.is_none() {
                    reader.errors.at(&value.span, "wrong-range", "a range is written \"0..2\"", "");
                }
                range
            };
            let short = |side: u64| side.min(u64::from(u16::MAX)) as u32;
            one.or_else(many).map(|(start, end)| (short(start), short(end)))
        };
        let (levels, slices) = (part(self, "level", "levels"), part(self, "slice", "slices"));
        node.finish(false);
        let key = key.filter(|_| !names.is_empty())?;
        Some(Bind { key, group, names, range, levels, slices, used: false })
    }

    /// What stands at a binding, or at the elements of an array: what `bind` says, or the resource of the same name.
    fn targets(
        &mut self,
        kernel: &Spanned<&'a str>,
        binding: &ReflectedBinding,
        binds: &mut [Bind<'a>],
    ) -> Vec<(Option<u32>, Target)> {
        let is = |bind: &&mut Bind<'_>| match bind.key.value.as_string() {
            Some(name) => name == binding.name,
            None => {
                bind.key.value.as_integer() == Some(binding.binding.into()) && bind.group == binding.group
            }
        };
        let Some(bind) = binds.iter_mut().find(is) else {
            let Some(entity) = self.entity(&binding.name).filter(|_| binding.array.is_none()) else {
                let ReflectedBinding { name, group, binding, .. } = binding;
                let message = format!(
                    "kernel `{}`: nothing is bound to `{name}` (@group({group}) @binding({binding}))",
                    kernel.value
                );
                let diagnostic =
                    Diagnostic::new("missing-binding", message, &self.errors.source, kernel.span.clone(), "");
                let help = format!("add `bind {name} RESOURCE`, or name a resource `{name}`");
                self.errors.push(diagnostic.help(help));
                return Vec::new();
            };
            return self
                .fit(binding, entity, &kernel.span, (None, None, None))
                .map(|to| (None, to))
                .into_iter()
                .collect();
        };
        bind.used = true;
        let most = match binding.array {
            None => 1,
            Some(BindingArray::Sized(count)) => count,
            Some(BindingArray::Unsized) => ARRAY_ELEMENTS_MAX,
        };
        if let Some(one_more) = bind.names.get(most as usize) {
            let message = format!("`{}` takes {most}", binding.name);
            self.errors.at(&one_more.span, "too-many-elements", message, "one too many");
        }
        let (names, parts) = (bind.names.clone(), (bind.range.clone(), bind.levels, bind.slices));
        let mut targets = Vec::new();
        for (name, element) in names.iter().zip(0..most) {
            let is_array = binding.array.is_some();
            if is_array && name.value.is_null() {
                continue;
            }
            let Some(text) = name.value.as_string() else {
                self.errors.at(&name.span, "wrong-type", "a resource is called by its name".to_owned(), "");
                continue;
            };
            let Some(entity) = self.entity(text) else {
                self.find_resource(&Spanned { value: text, span: name.span.clone() });
                continue;
            };
            let target = self.fit(binding, entity, &name.span, parts.clone());
            targets.extend(target.map(|to| (is_array.then_some(element), to)));
        }
        targets
    }

    /// Checks that something can stand at a binding.
    fn fit(
        &self,
        binding: &ReflectedBinding,
        entity: Entity,
        span: &Range<usize>,
        (range, levels, slices): Parts<'_>,
    ) -> Option<Target> {
        let name = &binding.name;
        match (binding.kind, entity) {
            (BindingKind::Buffer { min_size }, Entity::Resource(id))
                if self.file.resource(id).is_buffer() =>
            {
                let range = match range {
                    Some(range) => self.byte_range(&range, id)?,
                    None => 0..self.file.resource(id).size(),
                };
                if range.end - range.start < min_size {
                    let message = format!("`{name}` needs {min_size} bytes");
                    let label = format!("{} are bound", range.end - range.start);
                    self.errors.at(span, "binding-too-small", message, label);
                    return None;
                }
                Some(Target::Buffer(id, range))
            }
            (BindingKind::Texture { texture_type }, Entity::Resource(id))
                if !self.file.resource(id).is_buffer() =>
            {
                let view = self.view(id, span, levels, slices)?;
                self.check_type(name, texture_type, &view, span)?;
                Some(view)
            }
            (BindingKind::Sampler, Entity::Sampler(index)) => Some(Target::Sampler(index)),
            (kind, _) => {
                let what = match kind {
                    BindingKind::Buffer { .. } => "a buffer",
                    BindingKind::Texture { .. } => "a texture",
                    BindingKind::Sampler => "a sampler",
                };
                self.errors.at(
                    span,
                    "wrong-kind",
                    format!("`{name}` of the kernel is {what}"),
                    "this is not",
                );
                None
            }
        }
    }

    fn view(
        &self,
        texture: ResourceId,
        span: &Range<usize>,
        levels: Option<(u32, u32)>,
        slices: Option<(u32, u32)>,
    ) -> Option<Target> {
        let resource = self.file.resource(texture);
        let Some(descriptor) = resource.texture() else {
            self.errors.at(
                span,
                "wrong-kind",
                format!("`{}` has no sides, so no kernel can", resource.name),
                "",
            );
            return None;
        };
        let all = ((0, descriptor.mip_level_count), (0, descriptor.slice_count()));
        let (levels, slices) = (levels.unwrap_or(all.0), slices.unwrap_or(all.1));
        let inside = |part: (u32, u32), of: (u32, u32)| part.0 < part.1 && part.1 <= of.1;
        if !inside(levels, all.0) || !inside(slices, all.1) {
            let message = format!(
                "levels {}..{} and slices {}..{} are not inside `{}`",
                levels.0, levels.1, slices.0, slices.1, resource.name
            );
            let label = format!("it has {} levels and {} slices", all.0.1, all.1.1);
            self.errors.at(span, "beyond-the-end", message, label);
            return None;
        }
        Some(Target::Texture { texture, levels, slices })
    }

    /// Checks that a kernel can see a texture as it declares it.
    fn check_type(
        &self,
        name: &str,
        declared: TextureType,
        view: &Target,
        span: &Range<usize>,
    ) -> Option<()> {
        let Target::Texture { texture, slices, .. } = view else { return Some(()) };
        let (own, count) = (self.file.resource(*texture).texture()?.texture_type, slices.1 - slices.0);
        if own.can_be_seen_as(declared, count) {
            return Some(());
        }
        let message = format!("`{name}` of the kernel is a {} texture", declared.name());
        self.errors.at(span, "wrong-kind", message, format!("these are {count} slices of a {}", own.name()));
        None
    }

    /// What a kernel touches: its bindings as reflection knows them.
    fn dispatch_accesses(&self, dispatch: &Dispatch, reflection: &Reflection) -> Vec<Access> {
        let mut accesses = Vec::new();
        for bound in &dispatch.bindings {
            let is = |b: &&ReflectedBinding| (b.group, b.binding) == (bound.group, bound.binding);
            let Some(binding) = reflection.bindings.iter().find(is) else { continue };
            let mut kind = AccessKind::empty();
            kind.set(AccessKind::READ, binding.reads);
            kind.set(AccessKind::WRITE, binding.writes);
            if binding.atomic {
                kind = AccessKind::ATOMIC;
            }
            let short = |(start, end): (u32, u32)| (start as u16, end as u16);
            accesses.extend(match &bound.to {
                Target::Buffer(id, range) => Some(Access::bytes(*id, range.start, range.end, kind)),
                Target::Texture { texture, levels, slices } => {
                    Some(Access::texels(*texture, Texels::range(short(*levels), short(*slices)), kind))
                }
                Target::Sampler(_) => None,
            });
        }
        if let Grid::Indirect { buffer, offset } = dispatch.grid {
            accesses.push(Access::bytes(buffer, offset, offset + 12, AccessKind::READ));
        }
        accesses
    }
}
