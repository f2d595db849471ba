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

/// Used again from launch to launch: it is as large as the largest so far, within bounds.
#[derive(Default)]
pub(crate) struct Workspace {
    pub(super) slots: Vec<Slot>,
    /// The elements of arrays of bindings, which their slots point to.
    elements: Vec<Vec<Slot>>,
    /// What is read where nothing is bound; never written.
    nothing: Vec<u128>,
    shared: Vec<u128>,
    scratch: Vec<u128>,
    pub(super) immediates: Vec<u8>,
}

/// Offset and stride of the runtime-sized array at the end of a type.
type Tail = Option<(u32, u32)>;

/// Bytes for the variables of invocations that are kept from launch to launch.
const SCRATCH_KEPT: usize = 1 << 20;

impl Workspace {
    /// A launch begins.
    pub(super) fn begin(&mut self, program: &Program, globals: &Globals, launch: &Launch<'_>) {
        if self.scratch.len() * size_of::<u128>() > SCRATCH_KEPT {
            self.scratch = Vec::new();
        }
        let size = program.immediate_bytes as usize;
        if size > 0 {
            self.immediates.clear();
            self.immediates.extend_from_slice(&launch.immediates[..size.min(launch.immediates.len())]);
            self.immediates.resize(size, 0);
        }
        self.slots.clear();
        self.elements.clear();
        for ((binding, tail), of) in launch.bindings.iter().zip(&globals.tails).zip(&globals.slots) {
            let slot = match binding {
                Binding::Buffer(buffer) => buffer_slot(buffer, *tail, binding),
                Binding::Array(list) => {
                    self.array_slot(list, *tail, binding, reflect::min_bytes(of), globals)
                }
                binding => slot(binding, *tail),
            };
            self.slots.push(slot);
        }
    }

    /// A slot for the elements of an array of bindings, each of which needs so many bytes.
    fn array_slot(
        &mut self,
        list: &[Binding],
        tail: Tail,
        binding: &Binding,
        bytes: u64,
        all: &Globals,
    ) -> Slot {
        // As much for all arrays, since it may not move while they are made.
        let most = all.slots.iter().filter(|slot| slot.elements.is_some()).map(reflect::min_bytes).max();
        self.nothing.resize(most.unwrap_or(0).div_ceil(16) as usize, 0);
        let smallest = BufferBinding { ptr: self.nothing.as_mut_ptr().cast(), len: bytes };
        let entries = list.iter().map(|element| match element {
            Binding::Nothing => Slot { bound: 0, ..buffer_slot(&smallest, tail, element) },
            element => slot(element, tail),
        });
        let entries: Vec<Slot> = entries.collect();
        let table = entries.as_ptr().cast_mut().cast();
        let count = entries.len() as u32;
        self.elements.push(entries);
        Slot { pointer: table, count, ..no_slot(binding) }
    }

    /// Memory of a workgroup, zero.
    pub(super) fn zeroed_shared(&mut self, bytes: u32) -> *mut u8 {
        let words = bytes.div_ceil(16) as usize;
        // Filling nothing is not free: a masked store to an address without memory costs more than a small workgroup.
        if words > 0 {
            self.shared.clear();
            self.shared.resize(words, 0);
        }
        self.shared.as_mut_ptr().cast()
    }

    /// Memory for the variables of invocations.
    pub(super) fn scratch(&mut self, bytes: u32) -> *mut u8 {
        let words = bytes.div_ceil(16) as usize;
        if self.scratch.len() < words {
            self.scratch.resize(words, 0);
        }
        self.scratch.as_mut_ptr().cast()
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
