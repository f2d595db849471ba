//! The adversary against the model, on the programs of `spec/`.
//!
//! A program without hazards has one outcome, whatever the seed. A program with a hazard that devices can run has
//! another outcome than recording order's with some seed, or stands in a list that says why not.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{Device, DeviceDescriptor};
use lockgate_testsuite::chapters::{Case, parse, parsing_cases};
use lockgate_trace::{NoFiles, ProgramFile};
use std::time::Duration;

/// Seeds on which a clean program has to have its one outcome.
const CLEAN: u64 = 16;
/// Seeds within which a hazard has to show.
const BUDGET: u64 = 400;

/// Hazards that no device can show, each by a part of its name, and why.
const HIDDEN: &[(&str, &str)] = &[
    ("09-host-access:", "a host access waits for the works that use the memory, so it never races"),
    (
        "aliases need their own visibility (A8)",
        "only the strict model tells aliases apart, and devices do not",
    ),
];

type Outcome = Vec<(String, Vec<u8>)>;

/// What all resources hold in the end; nothing where the device cannot run it.
fn outcome(file: &ProgramFile, order: Order) -> Option<Outcome> {
    let backend = CpuBackend::new(&CpuDescriptor { order, ..Default::default() }).unwrap();
    let event_timeout = Duration::from_millis(40);
    let model = file.model().0.model;
    let descriptor = DeviceDescriptor { model, event_timeout, ..Default::default() };
    file.outcome(&Device::new(Box::new(backend), descriptor)).ok()
}

/// The program with a place for what each stand-in that only reads has seen, and with buffers of distinct contents.
fn with_witnesses(case: &Case) -> ProgramFile {
    let mut text = String::new();
    let mut witnesses = 0;
    for (number, line) in case.text.lines().enumerate() {
        let filled = format!("{line} fill=random seed={number}");
        let bare = line.starts_with("buffer ") && !line.contains("fill") && !line.contains(['{', ';']);
        let mut rest = if bare { filled.as_str() } else { line };
        while let Some(at) = rest.find("{ reads ") {
            let end = rest[at..].find('}').map_or(rest.len(), |end| at + end);
            text.push_str(&rest[..end]);
            let stand_in = rest[..at].trim_end().rsplit([';', '{']).next().unwrap_or("").trim_start();
            if stand_in.starts_with("dispatch ") && !rest[at..end].contains("writes") {
                text.push_str(&format!("; writes witness{witnesses} "));
                witnesses += 1;
            }
            rest = &rest[end..];
        }
        text.push_str(rest);
        text.push('\n');
    }
    for witness in 0..witnesses {
        text.push_str(&format!("buffer witness{witness} size=256 tracking=untracked\n"));
    }
    let mut parsed = ProgramFile::parse(&case.name, &text, &NoFiles);
    if let Err(errors) = &mut parsed {
        panic!("{}: {:?}\n{text}", case.name, errors.0);
    }
    parsed.unwrap()
}

fn hazards(case: &Case) -> bool {
    !parse(case).model().0.run().gaps.is_empty()
}

#[test]
fn a_program_without_hazards_has_one_outcome() {
    let mut ran = 0;
    for case in parsing_cases().iter().filter(|case| !case.misuse && !hazards(case)) {
        let file = with_witnesses(case);
        let Some(expected) = outcome(&file, Order::Recording) else { continue };
        ran += 1;
        for seed in 0..CLEAN {
            let seen = outcome(&file, Order::Adversary(seed));
            assert_eq!(seen.as_ref(), Some(&expected), "{}, seed {seed}", case.name);
        }
    }
    assert!(ran >= 30, "the device ran {ran} programs only");
}

#[test]
fn a_hazard_has_another_outcome_with_some_seed() {
    let (mut shown, mut wrong) = (0, Vec::new());
    for case in parsing_cases().iter().filter(|case| !case.misuse && hazards(case)) {
        let file = with_witnesses(case);
        let Some(expected) = outcome(&file, Order::Recording) else { continue };
        let other = |seed: &u64| outcome(&file, Order::Adversary(*seed)).as_ref() != Some(&expected);
        let shows = (0..BUDGET).find(other);
        let hidden = HIDDEN.iter().any(|(name, _)| case.name.contains(name));
        match shows {
            Some(_) if hidden => wrong.push(format!("{} is not hidden", case.name)),
            None if !hidden => wrong.push(format!("{} does not show", case.name)),
            _ => shown += 1,
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(shown >= 15, "the device ran {shown} programs only");
}
