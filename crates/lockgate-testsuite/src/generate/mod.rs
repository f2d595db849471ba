//! Small valid programs, drawn from a seed, and the search for one that breaks a law.
//!
//! A [`Shape`] says how large and how dense; [`sketches`] is the strategy for proptest; a [`Sketch`] is what
//! shrinks, and [`Sketch::lower`] makes a program of it. Deliberately absent: programs that an API would
//! refuse, and host accesses that wait by themselves.

mod edit;
mod lower;
mod repeat;
mod search;
mod shape;
pub mod sketch;

pub use edit::{Place, places, synchronized, with_barrier};
pub use repeat::repeated;
pub use search::{Counterexample, counterexample, program_from_seed};
pub use shape::{Shape, sketches};
pub use sketch::Sketch;
