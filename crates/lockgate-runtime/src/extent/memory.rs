//! What an access through a pointer touches, and what the walk has collected.

use super::expression::{Place, Root};
use super::reach::{self, pattern};
use super::statement::Walk;
use super::value::Int;
use crate::TouchedBytes;
use naga::{ArraySize, GlobalVariable, Handle, TypeInner, VectorSize};
use std::ops::Range;

/// Most scalars of one access that are told apart; what is larger counts for `may` alone.
const LEAVES_MAX: usize = 1024;

/// What is touched of one binding in one way.
#[derive(Default)]
pub(super) struct Found {
    pub(super) may: Vec<Range<u64>>,
    pub(super) must: Vec<Range<u64>>,
    pub(super) whole: bool,
}

impl Found {
    pub(super) fn bytes(self, size: u64) -> TouchedBytes {
        let inside = |range: Range<u64>| range.start..range.end.min(size);
        let may = if self.whole { std::iter::once(0..size).collect() } else { self.may };
        TouchedBytes {
            may: may.into_iter().map(inside).collect(),
            must: self.must.into_iter().map(inside).collect(),
        }
    }
}

/// How an access touches.
#[derive(Clone, Copy)]
pub(super) struct Touch {
    pub(super) reads: bool,
    pub(super) writes: bool,
    /// Whether it surely stores where it may store.
    pub(super) surely_writes: bool,
}

/// A type that an index goes into.
pub(super) struct Elements {
    /// `None` for a runtime-sized array.
    pub(super) count: Option<u32>,
    pub(super) stride: u32,
}

fn column_stride(rows: VectorSize, width: u8) -> u32 {
    u32::from(width) * if rows == VectorSize::Bi { 2 } else { 4 }
}

impl Walk<'_> {
    pub(super) fn elements(&self, inner: &TypeInner) -> Option<Elements> {
        Some(match *inner {
            TypeInner::Vector { size, scalar } | TypeInner::ValuePointer { size: Some(size), scalar, .. } => {
                Elements { count: Some(size as u32), stride: scalar.width.into() }
            }
            TypeInner::Matrix { columns, rows, scalar } => {
                Elements { count: Some(columns as u32), stride: column_stride(rows, scalar.width) }
            }
            TypeInner::Array { size, stride, .. } => match size {
                ArraySize::Constant(count) => Elements { count: Some(count.get()), stride },
                ArraySize::Dynamic => Elements { count: None, stride },
                // The size depends on an override constant; such arrays are no buffers.
                ArraySize::Pending(_) => Elements { count: Some(1), stride },
            },
            TypeInner::Pointer { base, .. } => return self.elements(&self.module.types[base].inner),
            _ => return None,
        })
    }

    /// The scalars of a type as ranges from its start; `None` if they are too many.
    fn pieces(&self, inner: &TypeInner) -> Option<Vec<Range<i128>>> {
        let mut list = Vec::new();
        self.collect(inner, 0, &mut list).then_some(list)
    }

    fn collect(&self, inner: &TypeInner, base: u32, list: &mut Vec<Range<i128>>) -> bool {
        let mut add = |start: u32, bytes: u32| {
            list.push(start.into()..i128::from(start) + i128::from(bytes));
            list.len() <= LEAVES_MAX
        };
        match *inner {
            TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => add(base, scalar.width.into()),
            TypeInner::Vector { size, scalar } => add(base, u32::from(scalar.width) * size as u32),
            TypeInner::Matrix { columns, rows, scalar } => (0..columns as u32).all(|column| {
                add(base + column * column_stride(rows, scalar.width), u32::from(scalar.width) * rows as u32)
            }),
            TypeInner::Array { base: element, size: ArraySize::Constant(count), stride } => {
                let element = &self.module.types[element].inner;
                (0..count.get()).all(|at| self.collect(element, base + at * stride, list))
            }
            TypeInner::Struct { ref members, .. } => members
                .iter()
                .all(|member| self.collect(&self.module.types[member.ty].inner, base + member.offset, list)),
            _ => false,
        }
    }

    /// The bytes bound to a variable, if that is known.
    pub(super) fn size_of(&self, variable: Handle<GlobalVariable>) -> Option<u64> {
        self.bound.get(&variable).map(|(_, size)| *size).filter(|size| *size != u64::MAX)
    }

    /// Notes an access of a value of this type.
    pub(super) fn touch(&mut self, place: &Place, inner: &TypeInner, touch: Touch) {
        let Root::Global(variable) = place.root else { return };
        if !self.bound.contains_key(&variable) {
            return;
        }
        let size = match *inner {
            TypeInner::Array { size: ArraySize::Dynamic, .. } => None,
            _ => inner.try_size(self.module.to_ctx()),
        };
        let (mut may, mut must, mut whole) = (Vec::new(), Vec::new(), false);
        match size {
            Some(size) if place.inside => {
                let pieces = self.pieces(inner);
                self.ranges(&place.offset, size.into(), pieces, &mut may, &mut must);
            }
            _ => whole = true,
        }
        let found = self.found.entry(variable).or_default();
        for (at, (own, surely)) in
            [(touch.reads, true), (touch.writes, touch.surely_writes)].into_iter().enumerate()
        {
            if own {
                found[at].whole |= whole;
                found[at].may.extend(may.iter().cloned());
                found[at].must.extend(must.iter().filter(|_| surely).cloned());
            }
        }
    }

    fn ranges(
        &self,
        offset: &Int,
        size: i128,
        pieces: Option<Vec<Range<i128>>>,
        may: &mut Vec<Range<u64>>,
        must: &mut Vec<Range<u64>>,
    ) {
        let (low, high) = offset.range(&self.path.bounds);
        let Some(affine) = &offset.affine else {
            may.extend(reach::bytes(low..high + size));
            return;
        };
        let sure = pieces.is_some();
        let pieces = pieces.unwrap_or_else(|| std::iter::once(0..size).collect());
        let touched = pattern(affine, &self.path.bounds, &pieces, (low, high));
        if sure && touched.exact && self.path.is_free(&affine.terms, self.cut) {
            must.extend(touched.bytes.ranges().iter().cloned());
        }
        may.extend(touched.bytes.ranges().iter().cloned());
    }
}
