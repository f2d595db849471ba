//! Engine and oracle agree on any generated program.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_testsuite::generate::{Shape, program_from_seed};
use lockgate_testsuite::oracle::{Oracle, OracleGap};
use std::collections::BTreeSet;

fuzz_target!(|input: (u64, u8)| {
    let (seed, shape) = input;
    let shape = match shape % 4 {
        0 => Shape::default(),
        1 => Shape::tracked(),
        2 => Shape::barriers(),
        _ => Shape::events(),
    };
    let program = program_from_seed(seed, &shape);
    let said: BTreeSet<OracleGap> = program.run().gaps.iter().map(OracleGap::from).collect();
    let expected: BTreeSet<OracleGap> = Oracle::new(&program).gaps().into_iter().collect();
    assert_eq!(said, expected, "{}", lockgate_trace::write(&program));
});
