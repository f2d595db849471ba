//! Declarations: resources, heaps, fences, events, samplers, kernels, and the switches of the model.

use super::Reader;
use super::file::{Event, Fill, Heap, Kind, Resource};
use super::node::{Node, Spanned};
use super::place::Free;
use super::scope::Entity;
use super::words::{CHAINS, CONSUMER_TARGETS, EVENT_SCOPES, STORAGE, TEXTURE_TYPES};
use crate::pictures;
use kdl::KdlValue;
use lockgate_runtime::{
    AddressMode, FilterMode, HeapType, PixelFormat, SamplerDescriptor, StorageMode, TextureDescriptor,
    TextureType,
};
use lockgate_sync::{EventId, FenceId, MemoryId, Model, ResourceId};

/// The largest file size that a resource may ask for, so that sums cannot overflow.
const SIZE_MAX: u64 = 1 << 40;

/// How `tracking=` is said of a resource: by its place, or exactly.
#[derive(Clone, Copy)]
enum Tracking {
    Default,
    Untracked,
    Tracked,
    Alone,
}

const TRACKING: &[(&str, Tracking)] = &[
    ("default", Tracking::Default),
    ("untracked", Tracking::Untracked),
    ("tracked", Tracking::Tracked),
    ("alone", Tracking::Alone),
];

impl<'a> Reader<'a> {
    pub(super) fn model(&mut self, node: Node<'a>) -> Model {
        let default = Model::default();
        let model = Model {
            consumer_targets: node.word("consumer-targets", CONSUMER_TARGETS).unwrap_or_default(),
            fences_across_queues: node.flag("fences-across-queues", default.fences_across_queues),
            wait_scope: node.word("wait-scope", EVENT_SCOPES).unwrap_or_default(),
            signal_scope: node.word("signal-scope", EVENT_SCOPES).unwrap_or_default(),
            overlapping_copies_ordered: node
                .flag("overlapping-copies-ordered", default.overlapping_copies_ordered),
            strict_alias_visibility: node.flag("strict-alias-visibility", default.strict_alias_visibility),
            chain_through_empty_pass: node.word("chain-through-empty-pass", CHAINS).unwrap_or_default(),
        };
        node.finish(false);
        model
    }

    pub(super) fn buffer(&mut self, mut node: Node<'a>, heap: Option<usize>, allocated: bool) {
        let name = node.arg::<&str>("a name");
        let size = node.needed_prop::<&KdlValue>("size").and_then(|value| self.checked_size(&value));
        let fill = self.fill(&node);
        let Some((name, size)) = name.zip(size) else { return node.finish(false) };
        self.resource(node, name, Kind::Buffer { size }, fill, heap, allocated);
    }

    fn checked_size(&self, value: &Spanned<&KdlValue>) -> Option<u64> {
        let size = self.number(value)?;
        if size == 0 || size > SIZE_MAX {
            let message = format!("a size of {size} bytes is not in 1..={SIZE_MAX}");
            self.errors.at(&value.span, "wrong-size", message, "");
            return None;
        }
        Some(size)
    }

    pub(super) fn texture(&mut self, mut node: Node<'a>, heap: Option<usize>, allocated: bool) {
        let name = node.arg::<&str>("a name");
        let fill = self.fill(&node);
        let kind = self.texture_kind(&node);
        let Some((name, kind)) = name.zip(kind) else { return node.finish(false) };
        self.resource(node, name, kind, fill, heap, allocated);
    }

    fn texture_kind(&mut self, node: &Node<'a>) -> Option<Kind> {
        if let Some(bytes) = node.prop::<u64>("bytes") {
            let levels = node.prop::<u16>("levels").map_or(1, |levels| levels.value.max(1));
            let slices = node.prop::<u16>("slices").map_or(1, |slices| slices.value.max(1));
            return Some(Kind::Shapeless { levels, slices, bytes: bytes.value.clamp(1, SIZE_MAX) });
        }
        let mut descriptor = TextureDescriptor::default();
        if let Some(like) = node.prop::<&str>("like") {
            let other = self.find_resource(&like)?;
            let Some(other) = self.file.resource(other).texture() else {
                self.errors.at(&like.span, "wrong-kind", format!("`{}` has no sides", like.value), "");
                return None;
            };
            let level = self.number_prop(node, "level").unwrap_or(0).min(31) as u32;
            let [width, height, depth] = other.level_size(level);
            descriptor = TextureDescriptor { width, height, depth, mip_level_count: 1, ..other.clone() };
            descriptor.label = String::new();
        } else {
            node.needed_prop::<&KdlValue>("width")?;
        }
        let side = |name, or| self.number_prop(node, name).map_or(or, |side| side.min(1 << 20) as u32);
        descriptor.width = side("width", descriptor.width);
        descriptor.height = side("height", descriptor.height);
        descriptor.depth = side("depth", descriptor.depth);
        if let Some(kind) = node.word("type", TEXTURE_TYPES) {
            descriptor.texture_type = kind;
        } else if descriptor.depth > 1 {
            descriptor.texture_type = TextureType::D3;
        } else if !descriptor.texture_type.is_cube() && side("slices", descriptor.array_length) > 1 {
            descriptor.texture_type = TextureType::D2Array;
        }
        let slices = side("slices", descriptor.slice_count());
        let each = if descriptor.texture_type.is_cube() { 6 } else { 1 };
        if !slices.is_multiple_of(each) {
            node.error("wrong-size", format!("cubes have six slices each, so there cannot be {slices}"));
            return None;
        }
        descriptor.array_length = slices / each;
        descriptor.mip_level_count = match node.prop::<&KdlValue>("mips") {
            Some(value) if value.value.as_string() == Some("full") => descriptor.full_mip_level_count(),
            Some(value) => self.number(&value)?.min(32) as u32,
            None => descriptor.mip_level_count,
        };
        if let Some(format) = self.format(node) {
            descriptor.format = format;
        }
        self.check_sides(node, &descriptor)?;
        Some(Kind::Texture { descriptor })
    }

    /// The sides that the runtime would refuse too, said at the node.
    fn check_sides(&self, node: &Node<'a>, texture: &TextureDescriptor) -> Option<()> {
        const SIDE_MAX: u32 = 16384;
        let sides = [texture.width, texture.height, texture.depth, texture.slice_count()];
        let most = texture.full_mip_level_count();
        let wrong = if sides.iter().any(|side| *side == 0 || *side > SIDE_MAX) {
            format!("a side of {sides:?} is not in 1..={SIDE_MAX}")
        } else if texture.mip_level_count == 0 || texture.mip_level_count > most {
            format!("{} mip levels are not in 1..={most} of this size", texture.mip_level_count)
        } else if texture.depth > 1 && texture.texture_type != TextureType::D3 {
            "only a 3D texture has depth".into()
        } else if texture.height > 1 && texture.texture_type == TextureType::D1 {
            "a 1D texture has no height".into()
        } else if texture.array_length > 1 && !texture.texture_type.is_array() {
            "only a 2d-array or a cube-array has several pictures".into()
        } else if texture.texture_type.is_cube() && texture.width != texture.height {
            "the sides of a cube are squares".into()
        } else {
            return Some(());
        };
        node.error("wrong-size", wrong);
        None
    }

    fn format(&self, node: &Node<'a>) -> Option<PixelFormat> {
        let name = node.prop::<&str>("format")?;
        let format = PixelFormat::from_name(name.value);
        if format.is_none() {
            let names: Vec<String> = PixelFormat::ALL.iter().map(|format| format.name()).collect();
            self.errors.unknown(&name.span, "format", name.value, names.iter().map(String::as_str));
        }
        format
    }

    pub(super) fn image(&mut self, mut node: Node<'a>) {
        let name = node.arg::<&str>("a name");
        let path = node.arg::<&str>("the path of a picture");
        let format = self.format(&node).unwrap_or(PixelFormat::Rgba8Unorm);
        let mips = node.prop::<&KdlValue>("mips");
        let Some((name, path)) = name.zip(path) else { return node.finish(false) };
        self.file.inputs.push(name.value.to_owned());
        let (shown, bytes) = match self.files.input(name.value) {
            Some((shown, bytes)) => (shown, bytes),
            None => (path.value.to_owned(), self.files.read(path.value)),
        };
        let picture = bytes.map_err(|error| error.to_string()).and_then(|bytes| pictures::decode(&bytes));
        let mut picture = match picture {
            Ok(picture) => picture,
            Err(error) => {
                let message = format!("the picture `{shown}` cannot be read: {error}");
                return self.errors.at(&path.span, "unreadable-picture", message, "");
            }
        };
        if !to_format(&mut picture.texels, format) {
            let message = format!("a picture cannot be read as {}", format.name());
            self.errors.push(
                crate::Diagnostic::new("wrong-format", message, &self.errors.source, node.span(), "")
                    .help("rgba8unorm, rgba8unorm-srgb, bgra8unorm and bgra8unorm-srgb can"),
            );
            return;
        }
        let (width, height) = (picture.width, picture.height);
        let mut descriptor = TextureDescriptor { width, height, format, ..TextureDescriptor::default() };
        descriptor.mip_level_count = match mips {
            Some(value) if value.value.as_string() == Some("full") => descriptor.full_mip_level_count(),
            Some(value) => self.number(&value).unwrap_or(1).min(32) as u32,
            None => 1,
        };
        if self.check_sides(&node, &descriptor).is_some() {
            let fill = Fill::Picture(picture.texels);
            self.resource(node, name, Kind::Texture { descriptor }, fill, None, false);
        }
    }

    /// What stands in a resource at the start.
    pub(super) fn fill(&self, node: &Node<'a>) -> Fill {
        let seed = node.prop::<u64>("seed").map_or(1, |seed| seed.value);
        let Some(fill) = node.prop::<&KdlValue>("fill") else { return Fill::Nothing };
        match (fill.value.as_string(), fill.value.as_integer()) {
            (Some("ascending"), _) => Fill::Ascending,
            (Some("random"), _) => Fill::Random(seed),
            (_, Some(word)) if (i128::from(i32::MIN)..=i128::from(u32::MAX)).contains(&word) => {
                Fill::Word(word as u32)
            }
            _ => match fill.value.as_float() {
                Some(number) => Fill::Word((number as f32).to_bits()),
                None => {
                    let message = format!("{} is no filling", fill.value);
                    self.errors.at(&fill.span, "wrong-fill", message, "a number, ascending or random");
                    Fill::Nothing
                }
            },
        }
    }

    /// Places a resource and gives it its name.
    fn resource(
        &mut self,
        node: Node<'a>,
        name: Spanned<&'a str>,
        kind: Kind,
        fill: Fill,
        heap: Option<usize>,
        allocated: bool,
    ) {
        let heap = heap.or_else(|| node.prop::<&str>("heap").and_then(|name| self.find_heap(&name)));
        let offset = node.prop::<&KdlValue>("offset").and_then(|value| self.number(&value));
        let tracking = node.word("tracking", TRACKING).unwrap_or(Tracking::Default);
        let storage = node.word("storage", STORAGE);
        node.finish(false);
        let mut resource = Resource {
            name: name.value.to_owned(),
            span: name.span.clone(),
            kind,
            fill,
            memory: MemoryId(0),
            offset: 0,
            heap,
            tracked: false,
            unit: false,
            storage: storage.unwrap_or_default(),
            allocated,
        };
        match heap {
            None => {
                resource.memory = MemoryId(self.file.memories);
                self.file.memories += 1;
                resource.tracked = !matches!(tracking, Tracking::Untracked);
                if offset.is_some() {
                    node.error("wrong-place", "only a resource of a placement heap has an offset");
                }
            }
            Some(index) => {
                if !self.place(&node, index, offset, &mut resource) {
                    return;
                }
                let heap = &self.file.heaps[index];
                (resource.memory, resource.storage) = (heap.memory, heap.storage);
                let member = heap.tracked && !matches!(tracking, Tracking::Untracked | Tracking::Alone);
                resource.unit = member;
                resource.tracked = member || matches!(tracking, Tracking::Alone);
            }
        }
        let id = ResourceId(self.file.resources.len() as u32);
        self.declare(&name, Entity::Resource(id));
        self.file.resources.push(resource);
    }

    /// Finds the offset of a resource on a heap.
    fn place(&mut self, node: &Node<'a>, heap: usize, offset: Option<u64>, resource: &mut Resource) -> bool {
        let size = resource.size();
        let heap = &mut self.file.heaps[heap];
        let (name, label, length) = (&resource.name, &heap.name, heap.size);
        let mistake = match (heap.kind, offset) {
            (HeapType::Automatic, Some(_)) => {
                format!("heap `{label}` places resources itself; only a placement heap takes offsets")
            }
            (HeapType::Placement, None) => {
                format!("heap `{label}` is a placement heap: `{name}` needs an offset")
            }
            (HeapType::Placement, Some(offset)) => {
                resource.offset = offset;
                match offset.checked_add(size) {
                    Some(end) if end <= length => return true,
                    _ => format!(
                        "`{name}` at {offset}..{} is not inside heap `{label}` of {length} bytes",
                        offset.saturating_add(size)
                    ),
                }
            }
            (HeapType::Automatic, None) => match heap.free.take(size) {
                Some(offset) => {
                    resource.offset = offset;
                    return true;
                }
                None => format!("heap `{label}` of {length} bytes has no room for the {size} of `{name}`"),
            },
        };
        self.errors.at(&node.span(), "wrong-place", mistake, "");
        false
    }

    pub(super) fn heap(&mut self, mut node: Node<'a>) {
        let name = node.arg::<&str>("a name");
        let size = node.needed_prop::<&KdlValue>("size").and_then(|value| self.checked_size(&value));
        let kinds = [("automatic", HeapType::Automatic), ("placement", HeapType::Placement)];
        let kind = node.word("type", &kinds).unwrap_or_default();
        let storage = node.word("storage", STORAGE).unwrap_or(StorageMode::Private);
        let tracked = node.word("tracking", &[("tracked", true), ("untracked", false), ("default", false)]);
        node.finish(true);
        let Some((name, size)) = name.zip(size) else { return };
        let memory = MemoryId(self.file.memories);
        self.file.memories += 1;
        let index = self.file.heaps.len();
        self.declare(&name, Entity::Heap(index));
        self.file.heaps.push(Heap {
            name: name.value.to_owned(),
            span: name.span,
            size,
            kind,
            storage,
            tracked: tracked.unwrap_or(false),
            memory,
            free: Free::new(size),
        });
        for child in node.children() {
            match child.name() {
                "buffer" => self.buffer(child, Some(index), false),
                "texture" => self.texture(child, Some(index), false),
                other => self.errors.unknown(&child.span(), "node", other, ["buffer", "texture"]),
            }
        }
    }

    pub(super) fn fence(&mut self, mut node: Node<'a>) {
        let mut name = node.arg::<&str>("a name");
        while let Some(given) = name {
            self.declare(&given, Entity::Fence(FenceId(self.file.fences.len() as u32)));
            self.file.fences.push(given.value.to_owned());
            name = node.optional_arg();
        }
        node.finish(false);
    }

    pub(super) fn event(&mut self, mut node: Node<'a>) {
        let shared = node.name() == "shared-event";
        let mut name = node.arg::<&str>("a name");
        while let Some(given) = name {
            self.declare(&given, Entity::Event(EventId(self.file.events.len() as u32)));
            self.file.events.push(Event { name: given.value.to_owned(), shared });
            name = node.optional_arg();
        }
        node.finish(false);
    }

    pub(super) fn sampler(&mut self, mut node: Node<'a>) {
        let name = node.arg::<&str>("a name");
        let filters = [("nearest", FilterMode::Nearest), ("linear", FilterMode::Linear)];
        let addresses = [
            ("clamp-to-edge", AddressMode::ClampToEdge),
            ("repeat", AddressMode::Repeat),
            ("mirror-repeat", AddressMode::MirrorRepeat),
        ];
        let filter = node.word("filter", &filters).unwrap_or_default();
        let mip_filter = node.word("mip-filter", &filters).unwrap_or_default();
        let address = node.word("address", &addresses).unwrap_or_default();
        node.finish(false);
        let Some(name) = name else { return };
        self.declare(&name, Entity::Sampler(self.file.samplers.len()));
        let descriptor = SamplerDescriptor {
            mag_filter: filter,
            min_filter: filter,
            mip_filter,
            address_modes: [address; 3],
            ..SamplerDescriptor::default()
        };
        self.file.samplers.push((name.value.to_owned(), descriptor));
    }
}

/// Puts the channels of RGBA texels in the order of a format; false if it is none that fits.
pub(super) fn to_format(texels: &mut [u8], format: PixelFormat) -> bool {
    match format {
        PixelFormat::Rgba8Unorm | PixelFormat::Rgba8UnormSrgb => {}
        PixelFormat::Bgra8Unorm | PixelFormat::Bgra8UnormSrgb => {
            texels.chunks_exact_mut(4).for_each(|texel| texel.swap(0, 2));
        }
        _ => return false,
    }
    true
}
