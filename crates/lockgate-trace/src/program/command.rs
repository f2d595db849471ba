//! Commands: copies, fills, mipmaps, draws, stand-ins, and the regions that they touch.

use super::Reader;
use super::file::{Action, At, Command, Pass};
use super::node::{Node, Spanned};
use kdl::KdlValue;
use lockgate_runtime::{BufferLayout, TextureOrigin};
use lockgate_sync::{Access, AccessKind, PassKind, Region, ResourceId, Stage, Stages, Texels};
use std::ops::Range;

const ACCESSES: &[(&str, AccessKind)] = &[
    ("reads", AccessKind::READ),
    ("writes", AccessKind::WRITE),
    ("reads-writes", AccessKind::READ.union(AccessKind::WRITE)),
    ("atomics", AccessKind::ATOMIC),
    ("touches", AccessKind::empty()),
];

/// The name that a command has if none is given, what it touches in each stage, and what it does.
pub(super) type Encoded = (String, Works, Action);
/// Stages of a command with their accesses.
pub(super) type Works = Vec<(Stage, Vec<Access>)>;

impl<'a> Reader<'a> {
    pub(super) fn command(&mut self, mut node: Node<'a>, pass: &Pass) -> Option<Command> {
        let span = node.span();
        let name = node.prop::<&str>("name").map(|name| name.value.to_owned());
        let kind = node.name();
        let (default, works, action) = match kind {
            "copy" => self.copy(node)?,
            "fill" => self.fill_command(node)?,
            "mipmaps" => self.mipmaps(node)?,
            "dispatch" => self.dispatch(node)?,
            "draw" | "mesh-draw" | "tile-dispatch" | "infer" | "build" | "map" | "load" | "command" => {
                let default = node.optional_arg::<&str>().map_or(kind, |name| name.value).to_owned();
                node.finish(true);
                let works = self.works(&node, kind);
                let action = match kind {
                    "draw" | "mesh-draw" | "tile-dispatch" => Action::ModelOnly("a render pass"),
                    "infer" => Action::ModelOnly("machine learning"),
                    "build" => Action::ModelOnly("an acceleration structure"),
                    "map" => Action::ModelOnly("a sparse mapping"),
                    "load" => Action::ModelOnly("an IO queue"),
                    _ if self.runs_as_stand_in(&works) => Action::StandIn,
                    _ => Action::ModelOnly("a command of several stages"),
                };
                (default, works, action)
            }
            other => {
                let known = [
                    "copy",
                    "fill",
                    "mipmaps",
                    "dispatch",
                    "draw",
                    "mesh-draw",
                    "tile-dispatch",
                    "infer",
                    "build",
                    "map",
                    "load",
                    "command",
                    "intrapass-barrier",
                    "producer-barrier",
                    "consumer-barrier",
                    "memory-barrier",
                    "update-fence",
                    "wait-for-fence",
                    "allocate",
                    "make-aliasable",
                    "attachment",
                ];
                self.errors.unknown(&span, "node", other, known);
                return None;
            }
        };
        self.check_pass(&span, kind, &works, pass.descriptor.kind);
        let name = self.command_name(&pass.name, &name.unwrap_or(default));
        Some(Command { name, span, works, action })
    }

    /// `pass.command`, with `#2` and so on behind a repeated one.
    fn command_name(&mut self, pass: &str, command: &str) -> String {
        let full = if pass.is_empty() { command.to_owned() } else { format!("{pass}.{command}") };
        let count = self.scope.commands.entry(full.clone()).or_insert(0);
        *count += 1;
        let full = if *count > 1 { format!("{full}#{count}") } else { full };
        self.scope.command_names.push(full.clone());
        full
    }

    /// A generic `command` may be anything, since only the model reads it; the others belong to passes.
    fn check_pass(&self, span: &Range<usize>, kind: &str, works: &[(Stage, Vec<Access>)], pass: PassKind) {
        let legal = pass.stages();
        let foreign = works.iter().find(|(stage, _)| match pass {
            PassKind::Io => *stage != Stage::Io,
            _ => !legal.contains(stage.mask()) || *stage == Stage::Io,
        });
        if let (Some((stage, _)), true) = (foreign, kind != "command") {
            let stages = super::words::stage_words().into_iter();
            let single = stages.filter(|(_, bit)| bit.bits().count_ones() == 1 && legal.contains(*bit));
            let names: Vec<&str> = single.map(|(name, _)| name).collect();
            let message = format!("this pass cannot encode `{kind}`: it has no {} stage", stage.name());
            let label = format!("its stages: {}", names.join(", "));
            self.errors.at(span, "wrong-pass", message, label);
        }
    }

    fn runs_as_stand_in(&self, works: &[(Stage, Vec<Access>)]) -> bool {
        works.len() == 1 && matches!(works[0].0, Stage::Dispatch | Stage::Blit)
    }

    /// The children of a command that name stages, each with its accesses.
    fn works(&mut self, node: &Node<'a>, kind: &str) -> Vec<(Stage, Vec<Access>)> {
        let mut works: Vec<(Stage, Vec<Access>)> = Vec::new();
        let only = match kind {
            "infer" => Some(Stage::MachineLearning),
            "build" => Some(Stage::AccelerationStructure),
            "map" => Some(Stage::ResourceState),
            "load" => Some(Stage::Io),
            "tile-dispatch" => Some(Stage::Tile),
            _ => None,
        };
        if let Some(stage) = only {
            works.push((stage, self.accesses(node)));
            return works;
        }
        for child in node.children() {
            let named: Vec<Stage> = match child.name() {
                "io" => vec![Stage::Io],
                "host" => vec![Stage::Host],
                name => Stage::EVERY.into_iter().filter(|s| s.name() == name).collect(),
            };
            match named.as_slice() {
                [stage] => {
                    child.finish(true);
                    works.push((*stage, self.accesses(&child)));
                }
                _ => {
                    let known = Stage::EVERY.iter().map(|stage| stage.name());
                    self.errors.unknown(&child.span(), "stage", child.name(), known);
                }
            }
        }
        works
    }

    pub(super) fn accesses(&mut self, node: &Node<'a>) -> Vec<Access> {
        let mut accesses = Vec::new();
        for child in node.children() {
            match ACCESSES.iter().find(|(word, _)| *word == child.name()) {
                Some((_, kind)) => accesses.extend(self.access(child, *kind)),
                None => {
                    let known = ACCESSES.iter().map(|(word, _)| *word);
                    self.errors.unknown(&child.span(), "access", child.name(), known);
                }
            }
        }
        accesses
    }

    /// A resource with a part of it: bytes `"0..64"`, or levels, slices and a box.
    pub(super) fn access(&mut self, mut node: Node<'a>, mut kind: AccessKind) -> Option<Access> {
        let resource = self.resource_arg(&mut node);
        let bytes = node.optional_arg::<&KdlValue>().or_else(|| node.prop("range"));
        kind.set(AccessKind::RASTER_ORDERED, node.flag("raster-ordered", false));
        kind.set(AccessKind::BINDLESS, node.flag("bindless", false));
        let texels = self.texels(&node);
        node.finish(false);
        let (resource, _) = resource?;
        let region = match bytes {
            Some(value) => {
                let range = self.byte_range(&value, resource)?;
                Region::Bytes { start: range.start, end: range.end }
            }
            None => texels.map_or(Region::Whole, Region::Texels),
        };
        Some(Access { resource, region, kind })
    }

    /// `levels`, `slices`, `x`, `y`, `z`: a box of texels, if any of them is given.
    fn texels(&self, node: &Node<'a>) -> Option<Texels> {
        let read = |name| -> Option<(u64, Option<u64>)> {
            let value = node.prop::<&KdlValue>(name)?;
            self.open_range(&value)
        };
        let names = ["levels", "slices", "x", "y", "z"];
        let parts = names.map(read);
        if parts.iter().all(Option::is_none) {
            return None;
        }
        let short = |part: Option<(u64, Option<u64>)>| {
            let (start, end) = part.unwrap_or((0, None));
            (start.min(u16::MAX.into()) as u16, end.map_or(u16::MAX, |end| end.min(u16::MAX.into()) as u16))
        };
        let mut texels = Texels::range(short(parts[0]), short(parts[1]));
        for axis in 0..3 {
            let (start, end) = parts[axis + 2].unwrap_or((0, None));
            texels.min[axis] = start.min(u32::MAX.into()) as u32;
            texels.max[axis] = end.map_or(u32::MAX, |end| end.min(u32::MAX.into()) as u32);
        }
        Some(texels)
    }

    /// `"a..b"`, `"a.."`, or one number, which stands for itself alone.
    fn open_range(&self, value: &Spanned<&KdlValue>) -> Option<(u64, Option<u64>)> {
        let Some((start, end)) = value.value.as_string().and_then(|text| text.split_once("..")) else {
            let one = self.number(value)?;
            return Some((one, one.checked_add(1)));
        };
        let part = |text: &str| {
            let text = KdlValue::String(text.trim().to_owned());
            self.number(&Spanned { value: &text, span: value.span.clone() })
        };
        let start = if start.trim().is_empty() { 0 } else { part(start)? };
        let end = if end.trim().is_empty() { None } else { Some(part(end)?) };
        if end.is_some_and(|end| end < start) {
            self.errors.at(&value.span, "wrong-range", "the range ends before it begins", "");
            return None;
        }
        Some((start, end))
    }

    /// Bytes of a buffer, checked against its size.
    pub(super) fn byte_range(&self, value: &Spanned<&KdlValue>, of: ResourceId) -> Option<Range<u64>> {
        let resource = self.file.resource(of);
        let (name, size) = (&resource.name, resource.size());
        if !resource.is_buffer() {
            let message = format!("`{name}` is a texture: its parts are levels, slices, x, y and z");
            self.errors.at(&value.span, "wrong-range", message, "");
            return None;
        }
        let (start, end) = self.open_range(value)?;
        let end = end.unwrap_or(size);
        if start > end || end > size {
            let message = format!("bytes {start}..{end} are beyond the end of buffer `{name}`");
            self.errors.at(&value.span, "beyond-the-end", message, format!("`{name}` has {size} bytes"));
            return None;
        }
        Some(start..end)
    }

    fn copy(&mut self, mut node: Node<'a>) -> Option<Encoded> {
        let from = self.resource_arg(&mut node);
        let to = node.needed_prop::<&str>("to");
        let to = to.and_then(|to| self.find_resource(&to));
        let from_value = node.prop::<&KdlValue>("from-range").or_else(|| node.prop("range"));
        let to_value = node.prop::<&KdlValue>("to-range");
        let to_offset = self.number_prop(&node, "to-offset");
        let part = |reader: &Self, level, slice, origin| {
            let level = reader.number_prop(&node, level).unwrap_or(0).min(u16::MAX.into()) as u32;
            let slice = reader.number_prop(&node, slice).unwrap_or(0).min(u16::MAX.into()) as u32;
            let origin = reader.sides_prop(&node, origin, 0).unwrap_or_default();
            TextureOrigin { level, slice, origin }
        };
        let from_at = part(self, "from-level", "from-slice", "from-origin");
        let to_at = part(self, "to-level", "to-slice", "to-origin");
        let size = self.sides_prop(&node, "size", 1);
        let bytes_per_row = self.number_prop(&node, "bytes-per-row").unwrap_or(0);
        let bytes_per_image = self.number_prop(&node, "bytes-per-image").unwrap_or(0);
        node.finish(false);
        let ((from, _), to) = from.zip(to)?;
        let action = match (self.file.resource(from).is_buffer(), self.file.resource(to).is_buffer()) {
            (true, true) => self.copy_of_buffers(&node, (from, from_value), (to, to_value), to_offset)?,
            (from_buffer, to_buffer) => {
                let layout = |value: Option<Spanned<&KdlValue>>| {
                    let offset = value.and_then(|value| self.open_range(&value)).map_or(0, |range| range.0);
                    BufferLayout { offset, bytes_per_row, bytes_per_image }
                };
                let (from_at, to_at) =
                    (At { texture: from, origin: from_at }, At { texture: to, origin: to_at });
                let of = if from_buffer { to_at } else { from_at };
                let size = size.or_else(|| self.level_size(&node, of))?;
                match (from_buffer, to_buffer) {
                    (true, _) => {
                        Action::CopyBufferToTexture { from, layout: layout(from_value), to: to_at, size }
                    }
                    (_, true) => {
                        let layout = BufferLayout { offset: to_offset.unwrap_or(0), ..layout(to_value) };
                        Action::CopyTextureToBuffer { from: from_at, to, layout, size }
                    }
                    _ => Action::CopyTexture { from: from_at, to: to_at, size },
                }
            }
        };
        let accesses = self.copy_accesses(&node, &action)?;
        Some(("copy".into(), vec![(Stage::Blit, accesses)], action))
    }

    fn copy_of_buffers(
        &self,
        node: &Node<'a>,
        (from, from_value): (ResourceId, Option<Spanned<&KdlValue>>),
        (to, to_value): (ResourceId, Option<Spanned<&KdlValue>>),
        to_offset: Option<u64>,
    ) -> Option<Action> {
        let said = from_value.is_some();
        let source = match from_value {
            Some(value) => self.byte_range(&value, from)?,
            None => 0..self.file.resource(from).size(),
        };
        let target = match to_value {
            Some(value) => self.byte_range(&value, to)?,
            None => {
                let start = to_offset.unwrap_or(0);
                let room = self.file.resource(to).size().saturating_sub(start);
                let size = source.end - source.start;
                // Without a word about sizes, as much as both have is copied.
                let size = if said { size } else { size.min(room) };
                start..start.saturating_add(size)
            }
        };
        let size = (source.end - source.start).min(target.end - target.start);
        if target.end > self.file.resource(to).size() || size == 0 {
            let (name, has) = (&self.file.resource(to).name, self.file.resource(to).size());
            let message = format!("bytes {}..{} are not inside buffer `{name}`", target.start, target.end);
            self.errors.at(&node.span(), "beyond-the-end", message, format!("it has {has} bytes"));
            return None;
        }
        Some(Action::CopyBuffer { from, from_offset: source.start, to, to_offset: target.start, size })
    }

    /// The whole level of a texture.
    fn level_size(&self, node: &Node<'a>, at: At) -> Option<[u32; 3]> {
        let resource = self.file.resource(at.texture);
        match resource.texture() {
            Some(texture) if at.origin.level < texture.mip_level_count => {
                Some(texture.level_size(at.origin.level))
            }
            Some(texture) => {
                let levels = texture.mip_level_count;
                let message = format!("`{}` has {levels} mip levels", resource.name);
                node.error("beyond-the-end", format!("{message}; there is no level {}", at.origin.level));
                None
            }
            None => Some([u32::MAX; 3]),
        }
    }

    fn copy_accesses(&self, node: &Node<'a>, action: &Action) -> Option<Vec<Access>> {
        let bytes =
            |id, start, size: u64, kind| Some(Access::bytes(id, start, start.saturating_add(size), kind));
        let (read, write) = (AccessKind::READ, AccessKind::WRITE);
        let pair = match action {
            Action::CopyBuffer { from, from_offset, to, to_offset, size } => {
                [bytes(*from, *from_offset, *size, read), bytes(*to, *to_offset, *size, write)]
            }
            Action::CopyTexture { from, to, size } => {
                [self.box_access(node, from, size, read), self.box_access(node, to, size, write)]
            }
            Action::CopyBufferToTexture { from, layout, to, size } => [
                bytes(*from, layout.offset, self.row_bytes(node, *from, layout, to, size)?, read),
                self.box_access(node, to, size, write),
            ],
            Action::CopyTextureToBuffer { from, to, layout, size } => [
                self.box_access(node, from, size, read),
                bytes(*to, layout.offset, self.row_bytes(node, *to, layout, from, size)?, write),
            ],
            _ => return None,
        };
        pair.into_iter().collect()
    }

    fn box_access(&self, node: &Node<'a>, at: &At, size: &[u32; 3], kind: AccessKind) -> Option<Access> {
        let resource = self.file.resource(at.texture);
        let TextureOrigin { level, slice, origin } = at.origin;
        if let Some(texture) = resource.texture() {
            let has = self.level_size(node, *at)?;
            let beyond = |axis: usize| origin[axis].saturating_add(size[axis]) > has[axis];
            if slice >= texture.slice_count() || (0..3).any(beyond) {
                let message = format!(
                    "{size:?} texels at {origin:?} of level {level}, slice {slice} are not inside `{}`",
                    resource.name
                );
                self.errors.at(&node.span(), "beyond-the-end", message, format!("the level has {has:?}"));
                return None;
            }
        }
        let mut texels = Texels::subresource(level as u16, slice as u16);
        texels.min = origin;
        texels.max = [0, 1, 2].map(|axis| origin[axis].saturating_add(size[axis]));
        Some(Access::texels(at.texture, texels, kind))
    }

    /// Bytes from the first to the last row in a buffer.
    fn row_bytes(
        &self,
        node: &Node<'a>,
        buffer: ResourceId,
        layout: &BufferLayout,
        at: &At,
        size: &[u32; 3],
    ) -> Option<u64> {
        let Some(texture) = self.file.resource(at.texture).texture() else { return Some(1) };
        let [width, height, depth] = size.map(u64::from);
        let packed = width * u64::from(texture.format.bytes_per_texel());
        let row = if layout.bytes_per_row == 0 { packed } else { layout.bytes_per_row };
        let image =
            if layout.bytes_per_image == 0 { row.saturating_mul(height) } else { layout.bytes_per_image };
        let bytes = image
            .saturating_mul(depth.saturating_sub(1))
            .saturating_add(row.saturating_mul(height.saturating_sub(1)))
            .saturating_add(packed);
        let resource = self.file.resource(buffer);
        if layout.offset.saturating_add(bytes) > resource.size() {
            let (name, has, offset) = (&resource.name, resource.size(), layout.offset);
            let message = format!("{bytes} bytes of rows from byte {offset} are not inside buffer `{name}`");
            self.errors.at(&node.span(), "beyond-the-end", message, format!("it has {has} bytes"));
            return None;
        }
        Some(bytes)
    }

    fn fill_command(&mut self, mut node: Node<'a>) -> Option<Encoded> {
        let buffer = self.resource_arg(&mut node);
        let range = node.prop::<&KdlValue>("range");
        let value = node.prop::<u8>("value").map_or(0, |value| value.value);
        node.finish(false);
        let (buffer, span) = buffer?;
        if !self.file.resource(buffer).is_buffer() {
            self.errors.at(&span, "wrong-kind", "only a buffer can be filled", "");
            return None;
        }
        let range = match range {
            Some(range) => self.byte_range(&range, buffer)?,
            None => 0..self.file.resource(buffer).size(),
        };
        let access = Access::bytes(buffer, range.start, range.end, AccessKind::WRITE);
        let works = vec![(Stage::Blit, vec![access])];
        Some(("fill".into(), works, Action::Fill { buffer, range, value }))
    }

    fn mipmaps(&mut self, mut node: Node<'a>) -> Option<Encoded> {
        let texture = self.resource_arg(&mut node);
        node.finish(false);
        let (id, span) = texture?;
        let resource = self.file.resource(id);
        let (levels, slices) = match &resource.kind {
            super::file::Kind::Texture { descriptor } => {
                (descriptor.mip_level_count as u16, descriptor.slice_count() as u16)
            }
            super::file::Kind::Shapeless { levels, slices, .. } => (*levels, *slices),
            super::file::Kind::Buffer { .. } => {
                self.errors.at(&span, "wrong-kind", "only a texture has mipmaps", "");
                return None;
            }
        };
        let part = |levels, kind| Access::texels(id, Texels::range(levels, (0, slices)), kind);
        let both = AccessKind::READ | AccessKind::WRITE;
        let works = vec![(Stage::Blit, vec![part((0, 1), AccessKind::READ), part((1, levels), both)])];
        Some(("mipmaps".into(), works, Action::Mipmaps(id)))
    }
}

/// Whether a pass can hold a dispatch or copy that a device runs.
pub(super) fn runs_on_devices(kind: PassKind) -> bool {
    !(kind.stages() & (Stages::DISPATCH | Stages::BLIT)).is_empty()
}
