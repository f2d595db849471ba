//! Which dispatches surely stay inside of what is bound to them: a device may leave its own checks out there.
//!
//! The proof is that of [`extent`](crate::Extent). It takes some microseconds, so only large dispatches are looked at, and those that
//! come a second time; what came of it is kept for the last few. Deliberately absent: what a device makes of it. Tested in
//! `tests/extents.rs` of `lockgate-cpu`, and in the contract suite.

use crate::backend::{Binding, Grid};
use crate::{ComputePipeline, ExtentGrid, ExtentQuery};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Invocations from which on a dispatch is looked at.
const INVOCATIONS_MIN: u64 = 1 << 18;
/// Dispatches of a pipeline that are known.
const KNOWN_MAX: usize = 8;

/// What is known of dispatches of a pipeline, the last first.
#[derive(Default)]
pub(crate) struct Insides(Mutex<VecDeque<Known>>);

struct Known {
    grid: Grid,
    sizes: Vec<u64>,
    immediates: Vec<u8>,
    /// Nothing if it came once only.
    inside: Option<bool>,
}

impl ComputePipeline {
    /// Whether it is proven that no buffer is accessed beyond what is bound. May say no although it stays inside.
    pub(crate) fn stays_inside(&self, grid: Grid, bound: &[Binding], immediates: &[u8]) -> bool {
        let group = self.reflection().workgroup_size;
        let (extent, threads) = match grid {
            Grid::Threads(threads) => (ExtentGrid::Threads(threads), threads.map(u64::from)),
            Grid::Threadgroups(groups) => {
                let threads = std::array::from_fn(|axis| u64::from(groups[axis]) * u64::from(group[axis]));
                (ExtentGrid::Threadgroups(groups), threads)
            }
            Grid::Indirect(_) => return false,
        };
        if threads.into_iter().fold(1u64, u64::saturating_mul) < INVOCATIONS_MIN {
            return false;
        }
        let places = self.reflection().places(bound.len());
        let size = |binding: &Binding| if let Binding::Buffer(span) = binding { span.size } else { 0 };
        let sizes: Vec<u64> = places.iter().map(|place| bound.get(place.start).map_or(0, size)).collect();
        let mut known = self.0.insides.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is =
            |own: &Known| (own.grid, &own.sizes[..], &own.immediates[..]) == (grid, &sizes[..], immediates);
        let at = known.iter().position(is);
        match at.and_then(|at| known.remove(at)) {
            None => {
                known.truncate(KNOWN_MAX - 1);
                known.push_front(Known { grid, sizes, immediates: immediates.to_vec(), inside: None });
                false
            }
            Some(mut own) => {
                let prove = || self.proves_inside(&ExtentQuery { grid: extent, sizes: &sizes, immediates });
                let inside = *own.inside.get_or_insert_with(prove);
                known.push_front(own);
                inside
            }
        }
    }

    fn proves_inside(&self, query: &ExtentQuery<'_>) -> bool {
        // Of arrays of bindings nothing is proven.
        self.reflection().bindings.iter().all(|binding| binding.array.is_none())
            && self.extents(query).iter().all(|extent| extent.inside)
    }
}
