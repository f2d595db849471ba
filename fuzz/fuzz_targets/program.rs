//! Any text is a program file or a list of mistakes, never a panic; what parses can be judged and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockgate_trace::{NoFiles, ProgramFile, write};

fuzz_target!(|text: &str| {
    let Ok(file) = ProgramFile::parse("fuzz.kdl", text, &NoFiles) else { return };
    file.judge();
    let (program, _) = file.model();
    let written = write(&program);
    let again = ProgramFile::parse("written.kdl", &written, &NoFiles);
    assert!(again.is_ok(), "what was written does not parse:\n{written}");
});
