//! Runs the chapters under `spec/`: every program in them says what it expects, and the engine, the oracle and
//! the CPU device must agree.
//!
//! A block fenced as `kdl` must have exactly the hazards that it expects. One fenced as `kdl misuse` must be
//! told that it misuses something, one fenced as `kdl error` must be refused. Where the device can run a program, it runs in several orders.

use lockgate_sync::{Actor, Publishes, ResourceId, VertexKind};
use lockgate_testsuite::chapters::{Case, every_case, parse, parsing_cases};
use lockgate_testsuite::oracle::{Oracle, OracleGap};
use lockgate_trace::{NoFiles, ProgramFile};
use std::collections::BTreeSet;

#[test]
fn every_program_parses() {
    let (refused, cases): (Vec<Case>, Vec<Case>) = every_case().into_iter().partition(|case| case.refused);
    for case in refused {
        assert!(ProgramFile::parse(&case.name, &case.text, &NoFiles).is_err(), "{} parses", case.name);
    }
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| ProgramFile::parse(&case.name, &case.text, &NoFiles).err().map(|e| (case, e)))
        .flat_map(|(case, errors)| {
            errors.0.into_iter().map(|e| format!("{}: {e} {:?}", case.name, e.labels()))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_engine_finds_exactly_what_the_chapters_expect() {
    let mut failures = Vec::new();
    let cases = parsing_cases();
    assert!(cases.len() >= 60, "only {} programs", cases.len());
    for case in &cases {
        let (verdicts, unexpected) = parse(case).judge();
        if verdicts.is_empty() {
            failures.push(format!("{}: expects nothing", case.name));
        }
        for verdict in verdicts.iter().filter(|verdict| !verdict.holds) {
            failures.push(format!("{}: {}: {}", case.name, verdict.expected, verdict.found));
        }
        if case.misuse == unexpected.is_empty() {
            failures.push(format!("{}: unexpected: {unexpected:?}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_oracle_agrees_with_the_engine() {
    for case in parsing_cases() {
        let (program, _) = parse(&case).model();
        let (run, oracle) = (program.run(), Oracle::new(&program));
        let said: BTreeSet<OracleGap> = run.gaps.iter().map(OracleGap::from).collect();
        let expected: BTreeSet<OracleGap> = oracle.gaps().into_iter().collect();
        assert_eq!(said, expected, "{}", case.name);
        let vertex = |actor: Actor, part: u32| {
            let is = |kind| match kind {
                VertexKind::Work { command, part: p, .. } => actor == Actor::Command(command) && p == part,
                VertexKind::Host { step } => actor == Actor::Host { step },
                VertexKind::Display { present } => actor == Actor::Display { present },
                _ => false,
            };
            run.graph.vertices.iter().find(|vertex| is(vertex.kind)).map(|vertex| vertex.id)
        };
        for (b, later) in oracle.nodes().iter().enumerate() {
            for (a, earlier) in oracle.nodes().iter().enumerate().filter(|(a, _)| *a != b) {
                let (Some(from), Some(to)) =
                    (vertex(earlier.actor, earlier.part), vertex(later.actor, later.part))
                else {
                    panic!("{}: a work has no vertex", case.name);
                };
                let orders = run.graph.orders(from, to);
                assert_eq!(orders, oracle.ordered(a, b), "{}: {earlier:?} {later:?}", case.name);
                // Of a barrier that publishes some resources the laws know; here all or none is enough.
                let shows = run.graph.shows(from, to, |edge| edge.publishes != Publishes::Nothing);
                let published = |resource| oracle.published(a, b, ResourceId(resource as u32));
                let published = (0..program.resources.len()).any(published);
                assert_eq!(shows, published, "{}: {earlier:?} {later:?}", case.name);
            }
        }
    }
}
