//! The laws of the checker, on generated programs, against the oracle.
//!
//! Every law runs over fixed seeds; `SEED=n` starts them all at `n`, and `PROGRAMS=n` runs each law on `n` programs
//! of every shape, for a long run in release. A broken law names its seed and lists the shrunk program.

use lockgate_sync::{
    AccessKind, Actor, CheckOptions, Finding, Gap, Misuse, Program, QueueKind, Report, Site,
    check as check_program,
};
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

/// Whether no order can close a gap: a pass uses its own attachments in another way than as attachments, where a
/// split would store and load what the gap is about; a wait times out, and behind it everything is open; or the
/// display takes part and no queue could wait for it.
fn is_beyond_help(program: &Program, oracle: &Oracle<'_>, gaps: &[Gap], gap: &Gap) -> bool {
    let node = |site: &Site| oracle.nodes().iter().find(|n| n.actor == site.actor && n.stage == site.stage);
    let in_one_pass = |gap: &Gap| {
        let (a, b) = (node(&gap.earlier)?, node(&gap.later)?);
        a.same_pass(b).then_some((a.queue, a.pass))
    };
    let raster =
        |gap: &&Gap| (gap.earlier.access.kind | gap.later.access.kind).contains(AccessKind::RASTER_ORDERED);
    let pass = in_one_pass(gap);
    let timed_out = |misuse: &Misuse| matches!(misuse, Misuse::EventNeverSignaled { .. });
    let presents = matches!(gap.earlier.actor, Actor::Display { .. });
    program.run().misuse.iter().any(timed_out)
        || presents && !program.queues.iter().any(|queue| queue.kind == QueueKind::Gpu)
        || pass.is_some() && gaps.iter().filter(raster).any(|other| in_one_pass(other) == pass)
}

fn applying_the_fixes_leaves_nothing(program: &Program, _: u64) -> Result<(), String> {
    let report = advice(program);
    let fixed = program.apply(&report.fixes);
    let (left, oracle) = (expected(&fixed), Oracle::new(program));
    let gaps: Vec<Gap> = report.findings.iter().filter_map(Finding::gap).copied().collect();
    let open: Vec<&Gap> =
        report.findings.iter().filter(|finding| finding.fix.is_none()).filter_map(Finding::gap).collect();
    let helpless = open.iter().find(|gap| !is_beyond_help(program, &oracle, &gaps, gap));
    expect(helpless.is_none(), || format!("no fix for {helpless:?} of {:?}", report.fixes))?;
    expect(left == said(&fixed.run().gaps) && left.len() <= open.len(), || {
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
