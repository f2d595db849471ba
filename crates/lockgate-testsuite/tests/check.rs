//! The laws of the checker, on generated programs, against the oracle.
//!
//! Every law runs over fixed seeds; `SEED=n` starts them all at `n`, and `PROGRAMS=n` runs each law on `n` programs
//! of every shape, for a long run in release. A broken law names its seed and lists the shrunk program.

use lockgate_sync::{CheckOptions, Gap, Program, Report, check as check_program};
use lockgate_testsuite::generate::{Shape, counterexample};
use lockgate_testsuite::oracle::{Oracle, OracleGap};
use lockgate_testsuite::print::to_text;
use std::collections::BTreeSet;

/// Checks a law on `count` programs of a shape.
fn check(count: u64, shape: &Shape, law: impl Fn(&Program, u64) -> Result<(), String>) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (start, count) = (number("SEED").unwrap_or(0), number("PROGRAMS").unwrap_or(count));
    if let Some(broken) = counterexample(start..start + count, shape, law) {
        panic!("{broken}\nas a program file:\n{}", lockgate_trace::write(&broken.program));
    }
}

fn expect(holds: bool, complaint: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint()) }
}

fn expected(program: &Program) -> BTreeSet<OracleGap> {
    Oracle::new(program).gaps().into_iter().collect()
}

fn listed<'a>(gaps: impl IntoIterator<Item = &'a OracleGap>) -> String {
    gaps.into_iter().map(|gap| format!("    {gap}\n")).collect()
}

fn advice(program: &Program) -> Report {
    check_program(program, &CheckOptions { spare: false, ..CheckOptions::default() })
}

fn said(gaps: &[Gap]) -> BTreeSet<OracleGap> {
    gaps.iter().map(OracleGap::from).collect()
}

fn applying_the_fixes_leaves_nothing(program: &Program, _: u64) -> Result<(), String> {
    let report = advice(program);
    let fixed = program.apply(&report.fixes);
    let left = expected(&fixed);
    let hopeless = report.findings.iter().filter(|finding| finding.fix.is_none()).count();
    if hopeless > 0 {
        println!("HOPELESS {hopeless} of {} {:?}", report.findings.len(), program.run().misuse);
    }
    let agrees = left == said(&fixed.run().gaps);
    expect(agrees && left.len() <= hopeless, || {
        let fixes: String = report.fixes.iter().map(|fix| format!("    {fix:?}\n")).collect();
        format!("{fixes}omitted {:?}\nleaves\n{}fixed\n{}", report.omitted, listed(&left), to_text(&fixed))
    })
}

#[test]
fn fixes_leave_no_gap() {
    check(300, &Shape::default(), applying_the_fixes_leaves_nothing);
    check(300, &Shape::barriers(), applying_the_fixes_leaves_nothing);
    check(200, &Shape::events(), applying_the_fixes_leaves_nothing);
    check(100, &Shape::tracked(), applying_the_fixes_leaves_nothing);
}
