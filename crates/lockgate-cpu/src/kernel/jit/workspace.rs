//! The memory that one thread needs while it runs workgroups: tables of what is bound, and variables.

use super::{
    super::{
        binding::{
            AddressMode, Binding, BufferBinding, Filter, Launch, SamplerBinding, TextureBinding,
            TextureDimension,
        },
        reflect::{self, Globals},
        texel::TexelFormat,
    },
    code::{self, Plane, Slot},
    ir::Program,
};

pub(super) struct Workspace {
    pub(super) slots: Vec<Slot>,
    /// The elements of arrays of bindings, which their slots point to.
    _elements: Vec<Vec<Slot>>,
    /// What is read where nothing is bound; never written.
    _nothing: Vec<u128>,
    pub(super) shared: Vec<u128>,
    pub(super) scratch: Vec<u128>,
    pub(super) immediates: Vec<u8>,
}

/// Offset and stride of the runtime-sized array at the end of a type.
type Tail = Option<(u32, u32)>;

impl Workspace {
    pub(super) fn new(program: &Program, globals: &Globals, launch: &Launch<'_>) -> Self {
        let mut immediates = vec![0; program.immediate_bytes as usize];
        let given = immediates.len().min(launch.immediates.len());
        immediates[..given].copy_from_slice(&launch.immediates[..given]);
        let mut elements = Vec::new();
        let void = globals.slots.iter().filter(|slot| slot.elements.is_some()).map(reflect::min_bytes).max();
        let mut nothing = vec![0u128; void.unwrap_or(0).div_ceil(16) as usize];
        let void = BufferBinding { ptr: nothing.as_mut_ptr().cast(), len: 16 * nothing.len() as u64 };
        let mut slots = Vec::new();
        for ((binding, tail), of) in launch.bindings.iter().zip(&globals.tails).zip(&globals.slots) {
            slots.push(match binding {
                Binding::Array(list) => {
                    let smallest = BufferBinding { len: reflect::min_bytes(of), ..void };
                    let entries = list.iter().map(|element| match element {
                        Binding::Nothing => Slot { bound: 0, ..buffer_slot(&smallest, *tail, element) },
                        element => slot(element, *tail),
                    });
                    let entries: Vec<Slot> = entries.collect();
                    let table = entries.as_ptr().cast_mut().cast();
                    let count = entries.len() as u32;
                    elements.push(entries);
                    Slot { pointer: table, count, ..no_slot(binding) }
                }
                binding => slot(binding, *tail),
            });
        }
        Workspace {
            slots,
            _elements: elements,
            _nothing: nothing,
            shared: vec![0; program.shared_bytes.div_ceil(16) as usize],
            scratch: Vec::new(),
            immediates,
        }
    }
}

fn slot(binding: &Binding, tail: Tail) -> Slot {
    match binding {
        Binding::Buffer(buffer) => buffer_slot(buffer, tail, binding),
        Binding::Texture(texture) => texture_slot(texture, binding),
        Binding::Sampler(sampler) => {
            let format = if is_plain(sampler) { code::plane::LINEAR } else { 0 };
            Slot { plane: Plane { format, ..Plane::default() }, ..no_slot(binding) }
        }
        Binding::Array(_) | Binding::Nothing => no_slot(binding),
    }
}

/// Whether it blends the four nearest texels of the largest level and repeats those at the edge.
fn is_plain(sampler: &SamplerBinding) -> bool {
    let clamped = sampler.address[..2] == [AddressMode::ClampToEdge; 2];
    clamped && sampler.mag_filter == Filter::Linear && sampler.lod[0] <= 0.0
}

fn buffer_slot(buffer: &BufferBinding, tail: Tail, binding: &Binding) -> Slot {
    let (offset, stride) = tail.map_or((0, 1), |(offset, stride)| (u64::from(offset), u64::from(stride)));
    let count = (buffer.len.saturating_sub(offset) / stride).min(u32::MAX.into()) as u32;
    let whole_quads = count.saturating_sub(3);
    Slot { pointer: buffer.ptr, count, whole_quads, ..no_slot(binding) }
}

fn no_slot(binding: &Binding) -> Slot {
    Slot {
        pointer: std::ptr::null_mut(),
        count: 0,
        whole_quads: 0,
        object: binding,
        bound: 1,
        plane: Plane::default(),
    }
}

/// What machine code knows of a texture; nothing if its texels are left to Rust.
fn texture_slot(texture: &TextureBinding, binding: &Binding) -> Slot {
    let format = match texture.format {
        TexelFormat::Rgba8Unorm => code::plane::RGBA8_UNORM,
        TexelFormat::Rgba32Float => code::plane::RGBA32_FLOAT,
        TexelFormat::R32Float => code::plane::R32_FLOAT,
        _ => 0,
    };
    match texture.levels.first() {
        Some(level) if texture.dimension == TextureDimension::D2 && level.depth_or_layers > 0 => {
            let plane =
                Plane { row_pitch: level.row_pitch, width: level.width, height: level.height, format };
            Slot { pointer: level.ptr, plane, ..no_slot(binding) }
        }
        _ => no_slot(binding),
    }
}
