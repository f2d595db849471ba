//! Kernels on every engine: algorithms with results computed here, and statements and functions compared between engines.

mod algorithms;
mod atomics;
mod barriers;
mod bindings;
mod builtins;
mod case;
mod classes;
mod generate;
mod generated;
mod guard;
mod harness;
mod memory;
mod numbers;
mod pictures;
mod refusals;
mod rows;
#[cfg(target_os = "linux")]
mod samples;
mod statements;
mod subgroups;
mod texels;
mod textures;
mod transforms;
mod watched;
mod waves;
