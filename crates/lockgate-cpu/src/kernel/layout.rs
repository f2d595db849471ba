//! Where the scalars of a type lie: every value of data is a list of scalars, in the order of memory.
//!
//! naga has fixed all offsets and strides; this module only flattens them.

use naga::{Handle, Module, Type, TypeInner, VectorSize, proc::IndexableLength};

use super::number::Num;

/// One scalar of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Bytes from the start of the type.
    pub(super) offset: u32,
    pub(super) num: Num,
}

/// What indexing a type leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    /// `None` for a runtime-sized array.
    pub(super) count: Option<u32>,
    /// Bytes from one element to the next.
    pub(super) stride: u32,
    /// Scalars of one element.
    pub(super) leaves: usize,
}

/// Elements of an array; `None` for a runtime-sized one.
pub(super) fn array_count(module: &Module, size: naga::ArraySize) -> Option<u32> {
    match size.resolve(module.to_ctx()) {
        Ok(IndexableLength::Known(count)) => Some(count),
        _ => None,
    }
}

/// Bytes from a column of a matrix to the next.
pub(super) fn column_stride(rows: VectorSize, width: u8) -> u32 {
    let rows = if rows == VectorSize::Bi { 2 } else { 4 };
    rows * u32::from(width)
}

/// The scalars of a type without a runtime-sized array. `None` for what is not data (pointers, textures).
pub(super) fn leaves(module: &Module, inner: &TypeInner) -> Option<Vec<Leaf>> {
    let mut list = Vec::new();
    collect(module, inner, 0, &mut list)?;
    Some(list)
}

fn collect(module: &Module, inner: &TypeInner, base: u32, list: &mut Vec<Leaf>) -> Option<()> {
    match *inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => {
            list.push(Leaf { offset: base, num: Num::of(scalar)? });
        }
        TypeInner::Vector { size, scalar } => {
            let num = Num::of(scalar)?;
            list.extend((0..size as u32).map(|i| Leaf { offset: base + i * num.bytes(), num }));
        }
        TypeInner::Matrix { columns, rows, scalar } => {
            for column in 0..columns as u32 {
                let start = base + column * column_stride(rows, scalar.width);
                collect(module, &TypeInner::Vector { size: rows, scalar }, start, list)?;
            }
        }
        TypeInner::Array { base: element, size, stride } => {
            let element = &module.types[element].inner;
            for i in 0..array_count(module, size)? {
                collect(module, element, base + i * stride, list)?;
            }
        }
        TypeInner::Struct { ref members, .. } => {
            for member in members {
                collect(module, &module.types[member.ty].inner, base + member.offset, list)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// Scalars of a type of data; 0 for others.
pub(super) fn leaf_count(module: &Module, inner: &TypeInner) -> usize {
    match *inner {
        TypeInner::Scalar(_) | TypeInner::Atomic(_) => 1,
        TypeInner::Vector { size, .. } => size as usize,
        TypeInner::Matrix { columns, rows, .. } => columns as usize * rows as usize,
        TypeInner::Array { base, size, .. } => {
            array_count(module, size).unwrap_or(0) as usize * leaf_count(module, &module.types[base].inner)
        }
        TypeInner::Struct { ref members, .. } => {
            members.iter().map(|member| leaf_count(module, &module.types[member.ty].inner)).sum()
        }
        _ => 0,
    }
}

/// What an index into a value of this type chooses from.
pub(super) fn elements(module: &Module, inner: &TypeInner) -> Option<Elements> {
    Some(match *inner {
        TypeInner::Vector { size, scalar } | TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
            Elements { count: Some(size as u32), stride: scalar.width.into(), leaves: 1 }
        }
        TypeInner::Matrix { columns, rows, scalar } => Elements {
            count: Some(columns as u32),
            stride: column_stride(rows, scalar.width),
            leaves: rows as usize,
        },
        TypeInner::Array { base, size, stride } => Elements {
            count: array_count(module, size),
            stride,
            leaves: leaf_count(module, &module.types[base].inner),
        },
        TypeInner::Pointer { base, .. } => return elements(module, &module.types[base].inner),
        _ => return None,
    })
}

/// Byte offset and first scalar of part `index` of a type, which a validated `AccessIndex` names.
pub(super) fn part(module: &Module, inner: &TypeInner, index: u32) -> Option<(u32, usize)> {
    match *inner {
        TypeInner::Struct { ref members, .. } => {
            let before = members.get(..index as usize)?;
            let leaf = before.iter().map(|member| leaf_count(module, &module.types[member.ty].inner)).sum();
            Some((members.get(index as usize)?.offset, leaf))
        }
        TypeInner::Pointer { base, .. } => part(module, &module.types[base].inner, index),
        _ => {
            let elements = elements(module, inner)?;
            Some((index * elements.stride, index as usize * elements.leaves))
        }
    }
}

/// The runtime-sized array at the end of a type: its offset and stride.
pub(super) fn runtime_tail(module: &Module, ty: Handle<Type>) -> Option<(u32, u32)> {
    match module.types[ty].inner {
        TypeInner::Array { size: naga::ArraySize::Dynamic, stride, .. } => Some((0, stride)),
        TypeInner::Struct { ref members, .. } => {
            let last = members.last()?;
            runtime_tail(module, last.ty).map(|(offset, stride)| (last.offset + offset, stride))
        }
        _ => None,
    }
}

/// Bytes of a variable; a runtime-sized array counts as one element. `None` if that is absurdly large.
pub(super) fn size(module: &Module, ty: Handle<Type>) -> Option<u32> {
    match runtime_tail(module, ty) {
        Some((offset, stride)) => offset.checked_add(stride),
        None => module.types[ty].inner.try_size(module.to_ctx()),
    }
}
