//! The embedded CPU device.

pub mod kernel;
