//! One suite for all devices: the CPU device in several orders, and every Vulkan driver of the machine.

mod commands;
mod programs;
mod subjects;
