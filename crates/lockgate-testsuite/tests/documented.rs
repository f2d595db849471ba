//! The checker on the chapters under `spec/`: the worked examples of Metal's documentation and the matrix of small
//! cases, with every operation of every clean program deleted in turn.

use lockgate_sync::{
    Change, CheckOptions, Code, Finding, Fix, Misuse, Op, OrderFound, Place, Program, Report, Severity, Step,
    check,
};
use lockgate_testsuite::oracle::Oracle;
use lockgate_testsuite::print::to_text;
use lockgate_trace::{NoFiles, ProgramFile};
use std::path::Path;

/// The programs of the chapters that are programs, by chapter and number.
fn programs() -> Vec<(String, Program)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec");
    let mut chapters: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.sort();
    let mut programs = Vec::new();
    for chapter in chapters {
        let text = std::fs::read_to_string(&chapter).unwrap();
        let name = chapter.file_stem().unwrap().to_string_lossy().into_owned();
        for (number, block) in text.split("\n```kdl").skip(1).enumerate() {
            let (_, block) = block.split_once('\n').unwrap_or_default();
            let block = block.split("\n```").next().unwrap_or_default();
            if let Ok(file) = ProgramFile::parse(&name, block, &NoFiles) {
                programs.push((format!("{name} {}", number + 1), file.model().0));
            }
        }
    }
    programs
}

fn report(program: &Program) -> Report {
    check(program, &CheckOptions::default())
}

fn timed_out(program: &Program) -> bool {
    let run = program.run();
    let timeout = |misuse: &Misuse| matches!(misuse, Misuse::EventNeverSignaled { .. });
    run.misuse.iter().any(timeout) || !run.host.iter().all(|done| *done)
}

#[test]
fn hazards_of_the_chapters_are_found_and_closed() {
    let programs = programs();
    assert!(programs.len() >= 60, "only {} programs", programs.len());
    let mut closed = 0;
    for (name, program) in &programs {
        let report = report(program);
        let hazards = report.findings.iter().filter(|finding| finding.code.is_hazard()).count();
        assert_eq!(hazards, Oracle::new(program).gaps().len(), "{name}");
        let fixed = program.apply(report.closing());
        if timed_out(program) {
            continue;
        }
        closed += hazards;
        let left = Oracle::new(&fixed).gaps();
        assert!(left.is_empty(), "{name}: {:?} leaves {left:?}\n{}", report.fixes, to_text(&fixed));
        for fix in report.closing() {
            let others = report.closing().filter(|other| *other != fix);
            let open = Oracle::new(&program.apply(others)).gaps().len();
            assert!(open > 0, "{name}: {fix:?} could stay away");
        }
    }
    assert!(closed >= 50, "only {closed} hazards");
}

/// All operations of command buffers and all steps that can be deleted.
fn removable(program: &Program) -> Vec<Place> {
    let mut places = Vec::new();
    for (step, entry) in (0u32..).zip(&program.steps) {
        places.push(Place::Step(step));
        let Step::Commit { buffers, .. } = entry else { continue };
        for (buffer, recording) in (0u32..).zip(buffers) {
            places.extend((0..recording.ops().len() as u32).map(|op| Place::Op { step, buffer, op }));
        }
    }
    places.retain(|place| without(program, *place) != *program);
    places
}

fn without(program: &Program, at: Place) -> Program {
    program.apply(&[Fix { changes: vec![Change::Remove { at }], closes: Vec::new() }])
}

#[test]
fn a_deleted_operation_is_missed_or_was_spare() {
    let (mut missed, mut spare) = (0, 0);
    for (name, program) in programs() {
        if !Oracle::new(&program).gaps().is_empty() || timed_out(&program) {
            continue;
        }
        let before = report(&program);
        for place in removable(&program) {
            let less = without(&program, place);
            let found = report(&less);
            let errors = found.findings.iter().any(|finding| finding.severity == Severity::Error);
            let oracle = !Oracle::new(&less).gaps().is_empty() || timed_out(&less);
            assert_eq!(errors || timed_out(&less), oracle, "{name} without {place:?}: {:?}", found.findings);
            let told =
                before.findings.iter().any(|f| f.code.is_spare() && f.subject.places().contains(&place));
            let removable = told
                && before.findings.iter().any(|f| {
                    matches!(f.code, Code::BarrierSpare | Code::FenceSpare | Code::EventSpare)
                        && f.subject.places() == [place]
                });
            assert!(!(removable && oracle), "{name}: {place:?} is called spare and is not");
            missed += usize::from(oracle);
            spare += usize::from(removable);
        }
    }
    assert!(missed >= 40, "{missed} missed, {spare} spare");
}

/// The clean programs of the documentation are not told anything.
#[test]
fn examples_that_are_right_are_silent() {
    for (name, program) in programs() {
        let hazards = !Oracle::new(&program).gaps().is_empty() || timed_out(&program);
        let errors: Vec<Finding> =
            report(&program).findings.into_iter().filter(|f| f.severity == Severity::Error).collect();
        let misused = program.run().misuse.len();
        assert!(hazards || misused > 0 || errors.is_empty(), "{name}: {errors:?}");
    }
}

/// The producer article: a copy out of C and a dispatch on C in one pass, with a producer barrier between.
#[test]
fn the_hazard_of_the_producer_article() {
    let text = "buffer A size=64 tracking=untracked\nbuffer B size=64 tracking=untracked
buffer C size=64 tracking=untracked\nbuffer D size=64 tracking=untracked
queue main { command-buffer {
    compute-pass one { copy A to=B }
    compute-pass two { copy C to=D; producer-barrier after=blit before=dispatch; dispatch modify_c { reads C; writes C } }
    compute-pass three { dispatch modify_d { reads D; writes D } }
} }";
    let (program, names) = ProgramFile::parse("producer.kdl", text, &NoFiles).unwrap().model();
    let report = report(&program);
    let hazards: Vec<&Finding> = report.findings.iter().filter(|f| f.code.is_hazard()).collect();
    assert_eq!(hazards.len(), 1);
    assert_eq!(hazards[0].code, Code::WriteAfterRead);
    let gap = hazards[0].gap().unwrap();
    let name = |actor| match actor {
        lockgate_sync::Actor::Command(command) => names.command(command).to_owned(),
        _ => String::new(),
    };
    assert_eq!([name(gap.earlier.actor), name(gap.later.actor)], ["two.copy", "two.modify_c"]);
    let OrderFound::NeverInThisPass { by } = hazards[0].order else { panic!("{:?}", hazards[0].order) };
    assert!(matches!(program.op_at(by), Some(Op::Barrier(..))));
    let fixes: Vec<&Fix> = report.closing().collect();
    assert_eq!(fixes.len(), 1);
    let Change::Insert { op: Op::Barrier(reach, _), .. } = &fixes[0].changes[0] else { panic!("a barrier") };
    assert_eq!(*reach, lockgate_sync::BarrierReach::Intrapass);
}

/// The sample that blits and computes in one pass, over two frames: nothing orders the fragments of one frame, or
/// its dispatch, before the copies of the next.
#[test]
fn the_hazard_between_two_frames_of_the_sample() {
    let frame = "compute-pass { copy chyron to=color; dispatch greyscale { reads color; writes grey }; }
    render-pass { consumer-barrier after=\"blit|dispatch\" before=fragment
        draw left { vertex; fragment { reads color } }
        draw right { vertex; fragment { reads grey } } }";
    let frame = frame.replace("; dispatch", "; intrapass-barrier after=blit before=dispatch; dispatch");
    let text = format!(
        "buffer chyron size=64 tracking=untracked\nbuffer color size=64 tracking=untracked
buffer grey size=64 tracking=untracked\nqueue main {{ command-buffer {{ {frame} }} }}
queue main {{ command-buffer {{ {frame} }} }}"
    );
    let (program, _) =
        ProgramFile::parse("frames.kdl", &text, &NoFiles).unwrap_or_else(|e| panic!("{:?}", e.0)).model();
    let report = report(&program);
    let hazards: Vec<Code> = report.findings.iter().map(|f| f.code).filter(|code| code.is_hazard()).collect();
    assert!(hazards.contains(&Code::WriteAfterRead), "{hazards:?}");
    let fixed = program.apply(report.closing());
    assert!(Oracle::new(&fixed).gaps().is_empty());
    assert!(report.closing().count() < hazards.len(), "one fix closes several: {:?}", report.fixes);
}
