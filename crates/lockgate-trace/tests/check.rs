//! What is known of a conflict beyond the bindings: proofs from kernels, and what a run has shown.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{Checking, Device, DeviceDescriptor, Observe};
use lockgate_sync::{Basis, Code, Severity};
use lockgate_trace::{CheckOptions, Checked, Files, ProgramFile};

/// Brings the kernels of a test.
struct Kernels(&'static str);

impl Files for Kernels {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Ok(self.0.into())
    }
}

const KERNELS: &str = "
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(64) fn low(@builtin(global_invocation_id) id: vec3u) { data[id.x] = id.x; }
@compute @workgroup_size(64) fn high(@builtin(global_invocation_id) id: vec3u) { data[id.x + 64u] = id.x; }
@compute @workgroup_size(64) fn even(@builtin(global_invocation_id) id: vec3u) {
    if id.x < 32u { data[2u * id.x] = 1u; }
}
@compute @workgroup_size(64) fn odd(@builtin(global_invocation_id) id: vec3u) {
    if id.x < 32u { data[2u * id.x + 1u] = 2u; }
}
@compute @workgroup_size(64) fn scatter(@builtin(global_invocation_id) id: vec3u) {
    if id.x == 0u { data[data[127] % 64u] = 7u; }
}
@compute @workgroup_size(64) fn race(@builtin(global_invocation_id) id: vec3u) { data[0] = id.x; }
@compute @workgroup_size(64) fn beyond(@builtin(global_invocation_id) id: vec3u) { data[id.x + 100u] = 1u; }
";

fn program(first: &str, second: &str) -> ProgramFile {
    let text = format!(
        "buffer data size=512 tracking=untracked\nkernels \"test.wgsl\"\nqueue main {{ command-buffer {{
        compute-pass one {{ dispatch {first} threads=64 }}
        compute-pass two {{ dispatch {second} threads=64 }}\n}} }}"
    );
    ProgramFile::parse("test.kdl", &text, &Kernels(KERNELS)).expect("it is right")
}

fn check(first: &str, second: &str) -> Checked {
    program(first, second).check(&CheckOptions::default())
}

fn watch(first: &str, second: &str) -> Checked {
    let file = program(first, second);
    let backend = CpuBackend::new(&CpuDescriptor { order: Order::Recording, ..Default::default() }).unwrap();
    let (observe, checking) = (Observe::Accesses, Checking::Off);
    let device =
        Device::open(Box::new(backend), DeviceDescriptor { observe, checking, ..Default::default() });
    let watched = file.watch(&device.unwrap(), &|_| {}).expect("it runs");
    file.check_watched(&CheckOptions::default(), &watched)
}

/// Code, severity and basis of each finding.
fn found(checked: &Checked) -> Vec<(Code, Severity, Basis)> {
    checked.report().findings.iter().map(|finding| (finding.code, finding.severity, finding.basis)).collect()
}

#[test]
fn kernels_that_always_meet_are_an_error_that_is_proven() {
    let checked = check("low", "even");
    assert_eq!(found(&checked), [(Code::WriteAfterWrite, Severity::Error, Basis::Proven)]);
    assert!(checked.text().contains("derived from the kernels"), "{}", checked.text());
}

#[test]
fn kernels_that_never_meet_are_silent() {
    for (first, second) in [("low", "high"), ("even", "odd"), ("high", "odd")] {
        assert_eq!(found(&check(first, second)), [], "{first} and {second}");
    }
}

#[test]
fn kernels_that_may_meet_are_a_warning() {
    let checked = check("scatter", "low");
    assert_eq!(found(&checked), [(Code::WriteAfterWrite, Severity::Warning, Basis::Declared)]);
    assert!(checked.text().contains("only possible"), "{}", checked.text());
    assert!(!checked.report().has_errors());
}

#[test]
fn a_run_confirms_or_dismisses() {
    // `data[127]` is 0 at the start: the first word is written.
    assert_eq!(found(&watch("scatter", "low")), [(Code::WriteAfterWrite, Severity::Error, Basis::Observed)]);
    assert_eq!(found(&watch("scatter", "odd")), []);
    assert_eq!(found(&check("scatter", "odd")).len(), 1, "without the run it is possible");
}

#[test]
fn a_run_shows_what_goes_on_inside() {
    let checked = watch("race", "high");
    assert_eq!(found(&checked), [(Code::RaceInDispatch, Severity::Error, Basis::Observed)]);
    assert!(checked.text().contains("invocations race for `data`"), "{}", checked.text());
    let checked = watch("beyond", "low");
    assert_eq!(found(&checked), [(Code::OutOfBoundsAccess, Severity::Error, Basis::Observed)]);
    assert!(checked.text().contains("index 128, which has 128 elements"), "{}", checked.text());
}

#[test]
fn findings_are_written_for_machines_too() {
    let checked = check("low", "even");
    let findings: serde_json::Value = serde_json::from_str(&checked.json()).expect("JSON");
    let finding = &findings[0];
    assert_eq!(finding["code"], "write-after-write");
    assert_eq!((&finding["severity"], &finding["basis"]), (&"error".into(), &"proven".into()));
    assert_eq!(finding["earlier"]["command"], "one.low");
    assert_eq!(finding["later"]["at"]["line"], 5);
    assert_eq!(finding["fix"]["changes"][0]["change"], "insert");
    assert!(checked.github().starts_with("::error file=test.kdl,line=5,title=write-after-write::"));
}
