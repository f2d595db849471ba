//! One suite for all devices: the CPU device in several orders, and every Vulkan driver of the machine.

#![allow(clippy::print_stderr, reason = "it says which devices are tested and which are skipped")]

mod accuracy;
mod again;
mod arrays;
#[path = "../../../lockgate-cpu/tests/kernel/case.rs"]
mod case;
mod commands;
mod cube_arrays;
mod cubes;
mod differential;
mod faults;
mod generated;
mod groups;
mod harness;
mod kernels;
mod programs;
mod refusals;
#[path = "../../../lockgate-cpu/tests/scene/mod.rs"]
mod scene;
mod subjects;
mod texels;
mod textures;
