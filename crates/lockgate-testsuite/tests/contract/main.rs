//! One suite for all devices: the CPU device in several orders, and every Vulkan driver of the machine.

mod commands;
mod kernels;
mod programs;
mod subjects;
