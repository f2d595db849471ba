//! Runs the chapters under `spec/`: every program in them says what it expects, and the engine, the oracle and
//! the CPU device must agree.
//!
//! A block fenced as `kdl` must have exactly the hazards that it expects. One fenced as `kdl misuse` must be
//! told that it misuses something, one fenced as `kdl error` must be refused. Where the device can run a program, it runs in several orders.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{Device, DeviceDescriptor};
use lockgate_sync::{Actor, VertexKind};
use lockgate_testsuite::oracle::{Oracle, OracleGap};
use lockgate_trace::{NoFiles, ProgramFile};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

struct Case {
    name: String,
    text: String,
    misuse: bool,
    refused: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec")
}

/// The programs of a chapter, each named by the headings above it.
fn cases(chapter: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(chapter).unwrap();
    let file = chapter.file_stem().unwrap().to_string_lossy().into_owned();
    let mut heading = String::new();
    let mut cases: Vec<Case> = Vec::new();
    let mut open: Option<Case> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => cases.extend(open.take()),
            (Some(case), None) => case.text.push_str(&format!("{line}\n")),
            (None, Some(info)) if info.starts_with("kdl") => {
                let name = format!("{file}:{} {heading}", number + 1);
                open = Some(Case {
                    name,
                    text: String::new(),
                    misuse: info.contains("misuse"),
                    refused: info.contains("error"),
                });
            }
            _ => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "{file}: a block is not closed");
    cases
}

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

/// The programs that parse.
fn all_cases() -> Vec<Case> {
    every_case().into_iter().filter(|case| !case.refused).collect()
}

fn every_case() -> Vec<Case> {
    let mut chapters: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    chapters.sort();
    chapters.iter().flat_map(|chapter| cases(chapter)).collect()
}

fn parse(case: &Case) -> ProgramFile {
    ProgramFile::parse(&case.name, &case.text, &NoFiles).unwrap_or_else(|errors| {
        let list: Vec<String> =
            errors.0.iter().map(|error| format!("{error} {:?}", error.labels())).collect();
        panic!("{}:\n{}", case.name, list.join("\n"));
    })
}

#[test]
fn the_engine_finds_exactly_what_the_chapters_expect() {
    let mut failures = Vec::new();
    let cases = all_cases();
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
    for case in all_cases() {
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
            }
        }
    }
}

#[test]
fn the_cpu_device_runs_what_it_can_in_every_order() {
    let mut ran = 0;
    for case in all_cases().iter().filter(|case| !case.misuse) {
        let file = parse(case);
        for order in [Order::Free, Order::Recording, Order::Reverse, Order::Random(11)] {
            let backend =
                CpuBackend::new(&CpuDescriptor { order: order.clone(), ..Default::default() }).unwrap();
            let event_timeout = Duration::from_millis(40);
            let descriptor = DeviceDescriptor { tracing: true, event_timeout, ..Default::default() };
            let device = Device::new(Box::new(backend), descriptor);
            match file.run(&device, &|_| {}) {
                Ok(report) => {
                    ran += 1;
                    let wrong = report.verdicts.iter().find(|verdict| !verdict.holds);
                    assert!(wrong.is_none(), "{}, {order:?}: {wrong:?}", case.name);
                }
                Err(errors) => {
                    // A refusal names what devices cannot do; a wait that nobody satisfies is given up.
                    let told = errors
                        .0
                        .iter()
                        .all(|e| e.code() == "unsupported" || e.to_string().contains("given up"));
                    assert!(told, "{}, {order:?}: {:?}", case.name, errors.0[0].to_string());
                }
            }
        }
    }
    assert!(ran >= 100, "the device ran {ran} programs only");
}
