//! Which bindings an entry point uses, and where its workgroup and private variables lie.

use naga::{
    AddressSpace, GlobalVariable, Handle, ImageClass, ImageDimension, Module, StorageAccess, TypeInner,
};

use super::{
    binding::{Binding, Launch, TextureDimension},
    error::KernelError,
    layout,
};

/// One resource that a kernel uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// The variable's name.
    pub name: String,
    /// What has to be bound, or to each element of an array.
    pub kind: SlotKind,
    /// For an array of bindings, how many it has.
    pub elements: Option<Elements>,
}

/// How many bindings an array has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// So many.
    Known(u32),
    /// As many as are given.
    Given,
}

/// What has to be bound to a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A range of a buffer.
    Buffer {
        /// The kernel may write it.
        writable: bool,
        /// Bytes that it needs at least; a runtime-sized array counts as one element.
        min_bytes: u64,
    },
    /// A texture.
    Texture {
        /// Its shape.
        dimension: TextureDimension,
        /// The kernel may write it.
        writable: bool,
    },
    /// A sampler.
    Sampler,
}

/// Where the global variables of one entry point are.
#[derive(Clone, Debug, Default)]
pub(super) struct Globals {
    pub(super) slots: Vec<Slot>,
    /// For each global variable: its slot, or its offset in its address space.
    places: Vec<Option<u32>>,
    /// For each slot, offset and stride of the runtime-sized array at its end.
    pub(super) tails: Vec<Option<(u32, u32)>>,
    /// For each slot with storage textures, what their texels are.
    pub(super) formats: Vec<Option<naga::StorageFormat>>,
    pub(super) shared_bytes: u32,
    pub(super) private_bytes: u32,
}

impl Globals {
    /// Slot or offset of a variable that the entry point uses.
    pub(super) fn place(&self, global: Handle<GlobalVariable>) -> Option<u32> {
        self.places.get(global.index()).copied().flatten()
    }
}

/// Looks at what entry point number `entry` uses.
pub(super) fn globals(
    module: &Module,
    info: &naga::valid::ModuleInfo,
    entry: usize,
) -> Result<Globals, KernelError> {
    let uses = info.get_entry_point(entry);
    let mut globals = Globals { places: vec![None; module.global_variables.len()], ..Globals::default() };
    let mut found = Vec::new();
    for (handle, variable) in module.global_variables.iter() {
        if uses[handle].is_empty() {
            continue;
        }
        let span = module.global_variables.get_span(handle);
        let size = layout::size(module, bound_type(module, variable))
            .ok_or_else(|| KernelError::invalid(span, "a variable is too large"))?;
        let next = match variable.space {
            AddressSpace::WorkGroup => &mut globals.shared_bytes,
            AddressSpace::Private => &mut globals.private_bytes,
            AddressSpace::Immediate => {
                globals.places[handle.index()] = Some(0);
                continue;
            }
            _ => {
                found.push((handle, slot(module, handle, size)?));
                continue;
            }
        };
        globals.places[handle.index()] = Some(*next);
        *next = next
            .checked_add(size)
            .and_then(|end| end.checked_next_multiple_of(16))
            .filter(|end| *end <= 1 << 28)
            .ok_or_else(|| KernelError::unsupported(span, "more than 256 MiB of variables"))?;
    }
    found.sort_by_key(|(_, slot)| (slot.group, slot.binding));
    for (index, (handle, slot)) in found.into_iter().enumerate() {
        globals.places[handle.index()] = Some(index as u32);
        let ty = bound_type(module, &module.global_variables[handle]);
        globals.tails.push(layout::runtime_tail(module, ty));
        globals.formats.push(match module.types[ty].inner {
            TypeInner::Image { class: ImageClass::Storage { format, .. }, .. } => Some(format),
            _ => None,
        });
        globals.slots.push(slot);
    }
    Ok(globals)
}

fn slot(module: &Module, handle: Handle<GlobalVariable>, size: u32) -> Result<Slot, KernelError> {
    let variable = &module.global_variables[handle];
    let span = module.global_variables.get_span(handle);
    let Some(at) = variable.binding else {
        return Err(KernelError::unsupported(span, "a resource without @group and @binding"));
    };
    let (ty, elements) = match module.types[variable.ty].inner {
        TypeInner::BindingArray { base, size } => {
            let count = layout::array_count(module, size);
            if count.is_some_and(|count| count > lockgate_runtime::ARRAY_ELEMENTS_MAX) {
                return Err(KernelError::unsupported(span, "an array of more than 65,536 bindings"));
            }
            (base, Some(count.map_or(Elements::Given, Elements::Known)))
        }
        _ => (variable.ty, None),
    };
    let kind = match (variable.space, &module.types[ty].inner) {
        (AddressSpace::Uniform, _) => SlotKind::Buffer { writable: false, min_bytes: size.into() },
        (AddressSpace::Storage { access }, _) => {
            SlotKind::Buffer { writable: access.contains(StorageAccess::STORE), min_bytes: size.into() }
        }
        (_, TypeInner::Sampler { .. }) => SlotKind::Sampler,
        (_, TypeInner::AccelerationStructure { .. }) => {
            return Err(KernelError::unsupported(span, "ray tracing"));
        }
        (_, &TypeInner::Image { dim, arrayed, class }) => {
            let writable = match class {
                ImageClass::External => {
                    return Err(KernelError::unsupported(span, "an external texture"));
                }
                ImageClass::Sampled { multi: true, .. } | ImageClass::Depth { multi: true } => {
                    return Err(KernelError::unsupported(span, "a multisampled texture"));
                }
                ImageClass::Storage { format: naga::StorageFormat::R64Uint, .. } => {
                    return Err(KernelError::unsupported(span, "a texture with texels of 64 bits"));
                }
                ImageClass::Storage { access, .. } => access.contains(StorageAccess::STORE),
                _ => false,
            };
            SlotKind::Texture { dimension: dimension(dim, arrayed), writable }
        }
        _ => return Err(KernelError::unsupported(span, "this kind of resource")),
    };
    let name = variable.name.clone().unwrap_or_default();
    Ok(Slot { group: at.group, binding: at.binding, name, kind, elements })
}

/// The type of a variable, or of its elements if it is an array of bindings.
fn bound_type(module: &Module, variable: &GlobalVariable) -> Handle<naga::Type> {
    match module.types[variable.ty].inner {
        TypeInner::BindingArray { base, .. } => base,
        _ => variable.ty,
    }
}

/// Bytes that a buffer needs at least.
pub(super) fn min_bytes(slot: &Slot) -> u64 {
    match slot.kind {
        SlotKind::Buffer { min_bytes, .. } => min_bytes,
        _ => 0,
    }
}

fn dimension(dim: ImageDimension, arrayed: bool) -> TextureDimension {
    match (dim, arrayed) {
        (ImageDimension::D1, _) => TextureDimension::D1,
        (ImageDimension::D2, false) => TextureDimension::D2,
        (ImageDimension::D2, true) => TextureDimension::D2Array,
        (ImageDimension::D3, _) => TextureDimension::D3,
        (ImageDimension::Cube, false) => TextureDimension::Cube,
        (ImageDimension::Cube, true) => TextureDimension::CubeArray,
    }
}

/// Whether the launch gives each slot what it needs. Says what is missing.
pub(super) fn check(slots: &[Slot], launch: &Launch<'_>) -> Result<(), String> {
    if launch.bindings.len() != slots.len() {
        return Err(format!("{} bindings for {} slots", launch.bindings.len(), slots.len()));
    }
    for (slot, binding) in slots.iter().zip(launch.bindings) {
        check_slot(slot, binding).map_err(|problem| {
            format!("`{}` at group {}, binding {} {problem}", slot.name, slot.group, slot.binding)
        })?;
    }
    Ok(())
}

fn check_slot(slot: &Slot, binding: &Binding) -> Result<(), String> {
    match (slot.elements, binding) {
        (None, binding) => check_binding(slot.kind, binding),
        (Some(elements), Binding::Array(list)) => {
            let fits = match elements {
                Elements::Known(count) => list.len() == count as usize,
                Elements::Given => !list.is_empty(),
            };
            if !fits {
                return Err(format!("has {} elements, not those of its type", list.len()));
            }
            let bound = list.iter().filter(|element| !matches!(element, Binding::Nothing));
            bound.into_iter().try_for_each(|element| check_binding(slot.kind, element))
        }
        (Some(_), _) => Err("needs the elements of an array".into()),
    }
}

fn check_binding(kind: SlotKind, binding: &Binding) -> Result<(), String> {
    match (kind, binding) {
        (SlotKind::Buffer { min_bytes, .. }, Binding::Buffer(buffer)) => {
            if buffer.len < min_bytes {
                return Err(format!("needs {min_bytes} bytes and has {}", buffer.len));
            }
            if !(buffer.ptr as usize).is_multiple_of(4) {
                return Err("does not start at a multiple of 4 bytes".into());
            }
        }
        (SlotKind::Texture { dimension, .. }, Binding::Texture(texture)) => {
            if texture.dimension != dimension || texture.levels.is_empty() {
                return Err(format!("needs a texture view of dimension {dimension:?}"));
            }
        }
        (SlotKind::Sampler, Binding::Sampler(_)) => {}
        _ => return Err("has a binding of another kind".into()),
    }
    Ok(())
}
