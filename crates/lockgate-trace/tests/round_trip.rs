//! A program that is written as a file is read back as the same program.

use lockgate_testsuite::generate::{Shape, program_from_seed};
use lockgate_trace::{NoFiles, ProgramFile, write};

fn check(shape: &Shape) {
    for seed in 0..300 {
        let program = program_from_seed(seed, shape);
        let text = write(&program);
        match ProgramFile::parse("again.kdl", &text, &NoFiles) {
            Ok(file) => assert_eq!(file.model().0, program, "seed {seed}\n{text}"),
            Err(diagnostics) => panic!("seed {seed}: {diagnostics}\n{text}"),
        }
    }
}

#[test]
fn generated_programs_are_read_back_equal() {
    check(&Shape::default());
}

#[test]
fn tracked_programs_are_read_back_equal() {
    check(&Shape::tracked());
}

#[test]
fn programs_of_barriers_are_read_back_equal() {
    check(&Shape::barriers());
}

#[test]
fn programs_of_events_are_read_back_equal() {
    check(&Shape::events());
}
