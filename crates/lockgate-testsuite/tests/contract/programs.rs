//! The chapters under `spec/` on every device: what runs must hold what it expects.

use crate::subjects::{Subject, subjects};
use lockgate_runtime::{Device, DeviceDescriptor};
use lockgate_testsuite::chapters::{Case, parse, parsing_cases};
use lockgate_trace::ProgramFile;
use std::time::Duration;

#[test]
fn every_device_runs_what_it_can() {
    // What the layer says about programs that are wrong: it must see some of it, or it sees nothing at all.
    let mut told = 0;
    let mut validated = 0;
    for subject in subjects() {
        let event_timeout = Duration::from_millis(40);
        // One device for all programs: what one leaves behind must not matter to the next.
        let opened = subject.open(DeviceDescriptor { tracing: true, event_timeout, ..Default::default() });
        let mut ran = 0;
        for case in parsing_cases().iter().filter(|case| !case.misuse) {
            let file = parse(case);
            ran += u32::from(runs(&subject, &opened.device, case, &file));
            let messages = opened.messages();
            let hazards = !file.model().0.run().gaps.is_empty();
            assert!(hazards || messages.is_empty(), "{}, {subject}: {}", case.name, messages.join("\n"));
            told += messages.len();
        }
        assert!(ran >= 80, "{subject} ran {ran} programs only");
        validated += u32::from(opened.is_validated());
    }
    assert!(validated == 0 || told > 0, "synchronization validation has seen no hazard of any program");
}

/// Whether a program ran; fails if it did not do what it expects.
fn runs(subject: &Subject, device: &Device, case: &Case, file: &ProgramFile) -> bool {
    match file.run(device, &|_| {}) {
        Ok(report) => {
            let wrong = report.verdicts.iter().find(|verdict| !verdict.holds);
            assert!(wrong.is_none(), "{}, {subject}: {wrong:?}", case.name);
            true
        }
        Err(errors) => {
            // A refusal names what devices cannot do; a wait that nobody satisfies is given up.
            let told =
                errors.0.iter().all(|e| e.code() == "unsupported" || e.to_string().contains("given up"));
            assert!(told, "{}, {subject}: {:?}", case.name, errors.0[0].to_string());
            false
        }
    }
}
