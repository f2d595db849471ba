//! Fixes survive being written: on generated programs as files, what a fix changes in the text is what it changes in
//! the model.
//!
//! `SEED=n` starts every law at `n`, `PROGRAMS=n` runs each on `n` programs of every shape.

use lockgate_sync::{CheckOptions, Fix, Program, ResourceId, Step};
use lockgate_testsuite::generate::{Shape, counterexample, synchronized};
use lockgate_trace::{Checked, NoFiles, ProgramFile, write};
use std::collections::BTreeMap;

/// Checks a law on `count` programs of a shape.
fn check(count: u64, shape: &Shape, law: impl Fn(&Program, u64) -> Result<(), String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (start, count) = (number("SEED").unwrap_or(0), number("PROGRAMS").unwrap_or(count));
    if let Some(broken) = counterexample(start..start + count, shape, law) {
        panic!("{broken}\nas a program file:\n{}", write(&broken.program));
    }
}

fn expect(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

fn parsed(text: &str) -> Result<ProgramFile, String> {
    ProgramFile::parse("law.kdl", text, &NoFiles).map_err(|errors| format!("{errors}\nin\n{text}"))
}

/// The program as a file: of every second seed each node of the top level stands in one line.
fn file_of(program: &Program, seed: u64) -> Result<ProgramFile, String> {
    let text = write(program);
    if seed.is_multiple_of(2) {
        return parsed(&text);
    }
    let mut compact = String::new();
    for (line, next) in text.lines().zip(text.lines().skip(1).chain([""])) {
        compact.push_str(line.trim());
        compact.push_str(match (line.ends_with('{'), next.starts_with([' ', '}'])) {
            (true, _) => " ",
            (false, true) if next.trim() == "}" => " ",
            (false, true) => "; ",
            (false, false) => "\n",
        });
    }
    parsed(&compact)
}

fn hazards(checked: &Checked) -> usize {
    checked.report().findings.iter().filter(|finding| finding.code.is_hazard()).count()
}

/// How many hazards the model itself has.
fn open(program: &Program) -> usize {
    let options = CheckOptions { advice: false, spare: false, ..CheckOptions::default() };
    let report = lockgate_sync::check(program, &options);
    report.findings.iter().filter(|finding| finding.code.is_hazard()).count()
}

/// Attachments are made by hand where a pass is split; a file writes them as what they are, and steps of queues that
/// do not meet may stand in another order.
fn shape_of(program: &Program) -> (Vec<(ResourceId, bool)>, BTreeMap<u32, usize>) {
    let tracked = (0..).map(ResourceId).zip(&program.resources).map(|(id, resource)| (id, resource.tracked));
    let mut steps = BTreeMap::new();
    for step in &program.steps {
        let owner = match step {
            Step::Commit { queue, .. }
            | Step::SignalEvent { queue, .. }
            | Step::WaitForEvent { queue, .. }
            | Step::EnqueueBarrier { queue }
            | Step::WaitForDrawable { queue, .. }
            | Step::SignalDrawable { queue, .. } => queue.0,
            Step::Present { .. } | Step::Host(_) => u32::MAX,
        };
        *steps.entry(owner).or_default() += 1;
    }
    (tracked.collect(), steps)
}

/// The file with fixes, read again. Its model is the model with the fixes.
fn written<'a>(
    checked: &Checked,
    fixes: impl Iterator<Item = &'a Fix>,
) -> Result<(String, ProgramFile), String> {
    let fixes: Vec<&Fix> = fixes.collect();
    let repair = checked.repaired(fixes.iter().copied());
    expect(repair.refused.is_empty(), || format!("refused: {:?}", repair.refused))?;
    let file = parsed(&repair.text).map_err(|error| format!("{error}\n{fixes:?}"))?;
    let (model, direct) = (file.model().0, checked.program().apply(fixes.iter().copied()));
    expect(shape_of(&model) == shape_of(&direct), || format!("another program:\n{}", repair.text))?;
    Ok((repair.text, file))
}

fn fixed_files_are_silent(program: &Program, seed: u64) -> Result<(), String> {
    let options = CheckOptions { spare: false, ..CheckOptions::default() };
    let checked = file_of(program, seed)?.check(&options);
    let (text, file) = written(&checked, checked.report().closing())?;
    let direct = open(&checked.program().apply(checked.report().closing()));
    let left = hazards(&file.check(&CheckOptions { advice: false, ..options }));
    expect(left == direct, || format!("{left} hazards are left, not {direct}, in\n{text}"))
}

#[test]
fn files_with_fixes_are_silent() {
    check(300, &Shape::default(), fixed_files_are_silent);
    check(300, &Shape::barriers(), fixed_files_are_silent);
    check(300, &Shape::events(), fixed_files_are_silent);
    check(100, &Shape::tracked(), fixed_files_are_silent);
}

/// What is removed is gone from the file, nothing else is, and no hazard opens.
fn what_is_spare_is_gone(program: &Program, seed: u64) -> Result<(), String> {
    let program = if seed.is_multiple_of(3) { synchronized(program, seed) } else { program.clone() };
    let options = CheckOptions { advice: false, ..CheckOptions::default() };
    let checked = file_of(&program, seed)?.check(&options);
    let (text, file) = written(&checked, checked.report().removing())?;
    let direct = checked.program().apply(checked.report().removing());
    expect(write(&file.model().0) == write(&direct), || format!("another program:\n{text}"))?;
    let after = file.check(&options);
    expect(hazards(&after) <= hazards(&checked), || format!("a hazard is new in\n{text}"))
}

#[test]
fn files_without_what_is_spare_do_the_same() {
    check(300, &Shape::default(), what_is_spare_is_gone);
    check(300, &Shape::barriers(), what_is_spare_is_gone);
    check(200, &Shape::events(), what_is_spare_is_gone);
}

/// Closing and removing at once, as `lockgate fix --remove-spare` does.
fn both_together_are_silent(program: &Program, seed: u64) -> Result<(), String> {
    let checked = file_of(program, seed)?.check(&CheckOptions::default());
    let report = checked.report();
    let (text, file) = written(&checked, report.closing().chain(report.removing()))?;
    let direct = open(&checked.program().apply(report.closing().chain(report.removing())));
    let left = hazards(&file.check(&CheckOptions { advice: false, spare: false, ..CheckOptions::default() }));
    expect(left == direct, || format!("{left} hazards are left, not {direct}, in\n{text}"))
}

#[test]
fn files_with_both_are_silent() {
    check(200, &Shape::default(), both_together_are_silent);
    check(200, &Shape::events(), both_together_are_silent);
}
