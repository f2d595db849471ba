//! One suite for all devices: the CPU device in several orders, and every Vulkan driver of the machine.

#![allow(clippy::print_stderr, reason = "it says which devices are tested and which are skipped")]

mod again;
mod commands;
mod faults;
mod kernels;
mod programs;
mod scene;
mod subjects;
