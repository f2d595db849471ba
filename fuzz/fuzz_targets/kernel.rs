//! Bytes become a small kernel; all engines agree on what it does, and no guard byte around a buffer changes.
//! Generator and check are those of the crate's own tests.

#![no_main]

#[path = "../../crates/lockgate-cpu/tests/kernel/case.rs"]
mod case;
#[path = "../../crates/lockgate-cpu/tests/kernel/generate.rs"]
mod generate;
#[path = "../../crates/lockgate-cpu/tests/kernel/generated.rs"]
mod generated;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../crates/lockgate-cpu/tests/kernel/harness.rs"]
mod harness;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| generated::check(bytes));
