//! The chapters under `spec/` on every device: what runs must hold what it expects.

use crate::subjects::{Subject, subjects};
use lockgate_runtime::{Device, DeviceDescriptor};
use lockgate_testsuite::chapters::{Case, parsing_cases};
use lockgate_trace::{NoFiles, ProgramFile};
use std::time::Duration;

#[test]
fn every_device_runs_what_it_can() {
    for subject in subjects() {
        let mut ran = 0;
        let event_timeout = Duration::from_millis(40);
        // One device for all programs: what one leaves behind must not matter to the next.
        let descriptor = DeviceDescriptor { tracing: true, event_timeout, ..Default::default() };
        subject.run(descriptor, |device| {
            let cases = parsing_cases();
            cases
                .iter()
                .filter(|case| !case.misuse)
                .for_each(|case| ran += u32::from(runs(&subject, device, case)));
        });
        assert!(ran >= 100, "{subject} ran {ran} programs only");
    }
}

/// Whether a program ran; fails if it did not do what it expects.
fn runs(subject: &Subject, device: &Device, case: &Case) -> bool {
    let file =
        ProgramFile::parse(&case.name, &case.text, &NoFiles).unwrap_or_else(|e| panic!("{}: {e}", case.name));
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
