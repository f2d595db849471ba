//! Kernels on every engine: algorithms with results computed here, and statements and functions compared between engines.

mod algorithms;
mod harness;
