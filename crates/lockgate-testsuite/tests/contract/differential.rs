//! The kernels of the CPU device's own tests, on every driver: the interpreter says what is right, machine code is held against
//! it there.

#[path = "../../../lockgate-cpu/tests/kernel/algorithms.rs"]
mod algorithms;
#[path = "../../../lockgate-cpu/tests/kernel/builtins.rs"]
mod builtins;
#[path = "../../../lockgate-cpu/tests/kernel/memory.rs"]
mod memory;
#[path = "../../../lockgate-cpu/tests/kernel/numbers.rs"]
mod numbers;
#[path = "../../../lockgate-cpu/tests/kernel/statements.rs"]
mod statements;
#[path = "../../../lockgate-cpu/tests/kernel/subgroups.rs"]
mod subgroups;
#[path = "../../../lockgate-cpu/tests/kernel/transforms.rs"]
mod transforms;
