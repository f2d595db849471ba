//! Memory of records that have ended, for those that come.
//!
//! A page that the system gives out costs as much as hundreds of accesses that are looked at, so that large pieces are kept,
//! within bounds, and cleared when they are used again. Deliberately absent: when that pays (`pages.rs`).

use std::sync::{Mutex, PoisonError};

/// Bytes of each kind that are kept.
const KEPT_MAX: usize = 32 << 20;
/// Smaller pieces are left to the allocator, which keeps them itself.
const KEPT_MIN: usize = 1 << 16;

/// What lies in pieces: each kind has its own spare ones.
pub(super) trait Piece: Copy + Default + 'static {
    /// The spare pieces.
    fn spare() -> &'static Mutex<Vec<Vec<Self>>>;
}

macro_rules! piece {
    ($ty:ty) => {
        impl Piece for $ty {
            fn spare() -> &'static Mutex<Vec<Vec<Self>>> {
                static SPARE: Mutex<Vec<Vec<$ty>>> = Mutex::new(Vec::new());
                &SPARE
            }
        }
    };
}

piece!(u8);
piece!([u64; 2]);
piece!([[u64; 4]; 2]);

/// A piece of zeros, made of a spare one if one is large enough and not much too large.
pub(super) fn take<T: Piece>(count: usize) -> Option<Vec<T>> {
    let mut spare = T::spare().lock().unwrap_or_else(PoisonError::into_inner);
    let fits = spare.iter().position(|piece| (count..=4 * count).contains(&piece.capacity()));
    let mut piece = spare.swap_remove(fits?);
    drop(spare);
    piece.clear();
    piece.resize(count, T::default());
    Some(piece)
}

/// Keeps a piece, if there is room; otherwise those that were kept before go.
pub(super) fn give<T: Piece>(piece: Vec<T>) {
    let size = |piece: &Vec<T>| piece.capacity() * size_of::<T>();
    if !(KEPT_MIN..=KEPT_MAX).contains(&size(&piece)) {
        return;
    }
    let mut spare = T::spare().lock().unwrap_or_else(PoisonError::into_inner);
    while !spare.is_empty() && spare.iter().map(size).sum::<usize>() + size(&piece) > KEPT_MAX {
        spare.remove(0);
    }
    spare.push(piece);
}
