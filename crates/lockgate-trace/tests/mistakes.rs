//! Every mistake in a program file is named, at its place.

use lockgate_trace::{Files, NoFiles, ProgramFile};
use std::collections::BTreeMap;

struct Given(BTreeMap<&'static str, &'static str>);

impl Files for Given {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        self.0.get(path).map(|text| text.as_bytes().to_vec()).ok_or_else(|| NoFiles.read(path).unwrap_err())
    }
}

/// Each mistake as `code: message [text at the place: label]`.
fn mistakes(text: &str) -> Vec<String> {
    let wgsl = "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
        @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) id: vec3u) { data[id.x] *= 2u; }";
    let files =
        Given(BTreeMap::from([("good.wgsl", wgsl), ("bad.wgsl", "fn f() { let a = b; }"), ("p.png", "x")]));
    let Err(diagnostics) = ProgramFile::parse("a.kdl", text, &files) else { return Vec::new() };
    let one = |d: &lockgate_trace::Diagnostic| {
        let at = d.labels().first().map(|(at, _)| text.get(at.clone()).unwrap_or("(other file)"));
        format!("{}: {d} [{}]", d.code(), at.unwrap_or(""))
    };
    diagnostics.0.iter().map(one).collect()
}

fn check(text: &str, expected: &[&str]) {
    assert_eq!(mistakes(text), expected, "{text}");
}

fn in_pass(line: &str) -> String {
    format!(
        "buffer A size=64\ntexture T width=4 height=4\nqueue q {{ command-buffer {{ compute-pass p {{ {line} }} }} }}"
    )
}

#[test]
fn unknown_words_are_named() {
    check("bufer A size=4", &["unknown-name: there is no node `bufer` [bufer]"]);
    check("buffer A sise=4 size=4", &["unknown-name: there is no property of `buffer` named `sise` [sise]"]);
    check("buffer A size=4 storage=privat", &["unknown-name: there is no storage `privat` [storage=privat]"]);
    check(&in_pass("copy A to=B"), &["unknown-name: there is no resource `B` [to=B]"]);
    check(&in_pass("mipmap T"), &["unknown-name: there is no node `mipmap` [mipmap]"]);
    check(
        &in_pass("intrapass-barrier after=blitt"),
        &["unknown-name: there is no after `blitt` [after=blitt]"],
    );
}

#[test]
fn several_mistakes_are_found_at_once() {
    let found = mistakes("buffer A\nfence A\nfence A\ntexture T width=0");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn wrong_values_are_named() {
    check("buffer A size=#true", &["wrong-type: #true is no whole number from 0 on [size=#true]"]);
    check("buffer A size=-1", &["wrong-type: -1 is no whole number from 0 on [size=-1]"]);
    check("buffer A size=4 ; buffer A size=4", &["duplicate-name: the name `A` is given twice [A]"]);
    check("buffer A size=\"B.size\"", &["wrong-number: there is no resource `B` above [size=\"B.size\"]"]);
}

#[test]
fn ranges_stay_inside() {
    check(
        &in_pass("dispatch d { reads A \"0..65\" }"),
        &["beyond-the-end: bytes 0..65 are beyond the end of buffer `A` [\"0..65\"]"],
    );
    let copy = in_pass("copy A to=A range=\"0..32\" to-offset=48");
    check(&copy, &["beyond-the-end: bytes 48..80 are not inside buffer `A` [copy]"]);
}

#[test]
fn stages_belong_to_their_encoder() {
    check(
        &in_pass("intrapass-barrier after=fragment before=dispatch"),
        &[
            "wrong-stage: an intrapass barrier cannot name fragment on this side of this pass [after=fragment]",
        ],
    );
    check(
        &in_pass("draw d { vertex { reads A } }"),
        &["wrong-pass: this pass cannot encode `draw`: it has no vertex stage [draw]"],
    );
}

#[test]
fn files_are_read_and_checked() {
    check(
        "kernels \"no.wgsl\"",
        &["missing-file: the kernels `no.wgsl` cannot be read: there are no files [\"no.wgsl\"]"],
    );
    check(
        "image p \"p.png\"",
        &[
            "unreadable-picture: the picture `p.png` cannot be read: it is neither a PNG nor a JPEG [\"p.png\"]",
        ],
    );
    let found = mistakes("kernels \"bad.wgsl\"");
    assert!(
        found[0].starts_with("kernel-rejected: bad.wgsl: no definition in scope for identifier"),
        "{found:?}"
    );
    check(
        "kernels \"good.wgsl\"\nqueue q { command-buffer { compute-pass p { dispatch double threads=64 } } }",
        &["missing-binding: kernel `double`: nothing is bound to `data` (@group(0) @binding(0)) [double]"],
    );
}

#[test]
fn broken_syntax_is_an_error_and_no_panic() {
    for text in
        ["buffer {", "\"", "a=", "queue q { command-buffer {", "\u{0}", "buffer A size=\"((((\"", "r##\""]
    {
        assert!(!mistakes(text).is_empty(), "{text}");
    }
}
