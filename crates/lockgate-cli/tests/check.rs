//! `lockgate check`, `fix` and `explain`: the built binary in a temporary folder.

mod folder;

use folder::Folder;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

const CLEAN: &str = "buffer X size=64\nqueue main { command-buffer {\n    \
    compute-pass one { dispatch write { writes X } }\n    \
    compute-pass two { dispatch read { reads X } }\n} }\n";

/// What takes longer would be quadratic: it takes some seconds in a debug build.
const PATIENCE: Duration = Duration::from_secs(120);

fn racing() -> String {
    CLEAN.replace("size=64", "size=64 tracking=untracked")
}

/// Every pass writes one buffer, and nothing orders them.
fn passes(count: usize) -> String {
    let mut text = String::from("buffer X size=64 tracking=untracked\nqueue main { command-buffer {\n");
    (0..count).for_each(|pass| writeln!(text, "    compute-pass p{pass} {{ fill X }}").unwrap());
    text + "} }\n"
}

fn json(folder: &Folder, name: &str) -> Vec<Value> {
    let (_, out, error) = folder.run(&["check", name, "--format", "json"]);
    match serde_json::from_str(&out) {
        Ok(Value::Array(findings)) => findings,
        other => panic!("{other:?}: {out}{error}"),
    }
}

#[test]
fn exit_codes_say_what_was_found() {
    let spare = CLEAN.replace("{ dispatch read", "{ consumer-barrier; dispatch read");
    let files =
        [("clean.kdl", CLEAN), ("racing.kdl", &racing()), ("spare.kdl", &spare), ("bad.kdl", "bufer A")];
    let folder = Folder::with(&files);
    assert_eq!(folder.run(&["check", "clean.kdl"]), (Some(0), "nothing found\n".into(), String::new()));
    assert_eq!(folder.run(&["check", "racing.kdl"]).0, Some(1));
    let (code, out, _) = folder.run(&["check", "spare.kdl"]);
    assert_eq!(code, Some(0), "warnings are no errors: {out}");
    assert!(
        out.starts_with("warning[barrier-spare]: `consumer-barrier after=all before=all` can go"),
        "{out}"
    );
    for arguments in [&["check", "none.kdl"][..], &["check", "bad.kdl"], &["fix", "bad.kdl"], &["check"]] {
        let (code, out, error) = folder.run(arguments);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!error.is_empty(), "{arguments:?}");
    }
}

#[test]
fn the_text_says_what_where_and_what_to_do() {
    let (_, out, _) = Folder::with(&[("a.kdl", &racing())]).run(&["check", "a.kdl"]);
    insta::assert_snapshot!(out, @r"
    error[read-after-write]: `two.read` may read `X` before `one.write` has written it
       1  a.kdl:3  queue main, `one.write`  dispatch  writes X[0..64]
       2  a.kdl:4  queue main, `two.read`   dispatch  reads X[0..64]
       order found    none
       smallest fix   :3   at the end of the pass: update-fence fence-1 after=dispatch
                      :4   before this: wait-for-fence fence-1 before=dispatch
       not automatic  `X` is untracked

    1 error; 1 fix closes 1 hazard
    ");
}

#[test]
fn json_has_every_pair_once() {
    let folder = Folder::with(&[("a.kdl", &passes(12)), ("clean.kdl", CLEAN)]);
    let findings = json(&folder, "a.kdl");
    let name = |finding: &Value, side: &str| finding[side]["command"].as_str().unwrap().to_owned();
    let pairs: BTreeSet<_> = findings.iter().map(|f| (name(f, "earlier"), name(f, "later"))).collect();
    assert_eq!((findings.len(), pairs.len()), (66, 66));
    for finding in &findings {
        assert_eq!((&finding["version"], &finding["code"]), (&1.into(), &"write-after-write".into()));
        assert_eq!(finding["later"]["at"]["file"], "a.kdl");
        let line = finding["later"]["at"]["line"].as_u64().unwrap();
        let pass = name(finding, "later").split_once('.').unwrap().0[1..].parse::<u64>().unwrap();
        assert_eq!(line, pass + 3);
        assert_eq!(finding["fix"]["changes"][0]["change"], "insert");
    }
    assert!(json(&folder, "clean.kdl").is_empty());
}

#[test]
fn the_schema_is_the_documented_one() {
    let document = include_str!("../../../docs/FINDINGS.md");
    let folder = Folder::with(&[(
        "a.kdl",
        &racing().replace("{ dispatch read", "{ consumer-barrier visibility=none; dispatch read"),
    )]);
    let mut keys = BTreeSet::new();
    json(&folder, "a.kdl").iter().for_each(|finding| collect(finding, &mut keys));
    let missing: Vec<&String> = keys.iter().filter(|key| !document.contains(&format!("`{key}`"))).collect();
    assert!(keys.len() > 30 && missing.is_empty(), "{missing:?} of {}", keys.len());
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            keys.insert(key.clone());
            collect(value, keys);
        }),
        Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn annotations_are_a_line_each() {
    let folder = Folder::with(&[("a.kdl", &passes(4))]);
    let (code, out, _) = folder.run(&["check", "a.kdl", "--format", "github"]);
    assert_eq!((code, out.lines().count()), (Some(1), 6));
    for line in out.lines() {
        assert!(line.starts_with("::error file=a.kdl,line="), "{line}");
        assert!(line.contains(",title=write-after-write::error[write-after-write]: "), "{line}");
    }
}

#[test]
fn a_listing_is_the_file_with_findings_below_their_lines() {
    let text = racing();
    let (code, out, _) = Folder::with(&[("a.kdl", &text)]).run(&["check", "a.kdl", "--format", "listing"]);
    let listed: Vec<&str> =
        out.lines().filter_map(|line| line.split_once(" | ")).map(|(_, line)| line).collect();
    assert_eq!((code, listed), (Some(1), text.lines().collect()));
    let below = out.split_once("4 |").unwrap().1;
    assert!(
        below.contains("  > error[read-after-write]") && below.ends_with("1 error; 1 fix closes 1 hazard\n"),
        "{out}"
    );
}

#[test]
fn an_order_is_explained() {
    let folder = Folder::with(&[("clean.kdl", CLEAN), ("racing.kdl", &racing())]);
    let told = |file, a, b| folder.run(&["check", file, "--explain", a, b]);
    let (code, out, _) = told("clean.kdl", "two.read", "one.write");
    assert_eq!(code, Some(0));
    assert!(out.starts_with("one.write (dispatch) comes before two.read (dispatch):\n"), "{out}");
    assert!(out.contains("tracking of X"), "{out}");
    let (code, out, _) = told("racing.kdl", "one.write", "two.read");
    assert_eq!(code, Some(0));
    assert_eq!(out, "nothing orders one.write (dispatch) and two.read (dispatch); nothing comes near\n");
    let (code, _, error) = told("racing.kdl", "one.write", "three");
    assert_eq!(code, Some(2));
    assert!(error.contains("there is no command `three`; there is: one.write, two.read"), "{error}");
}

#[test]
fn other_queues_are_asked_for_by_name() {
    let folder = Folder::with(&[("a.kdl", CLEAN)]);
    let (code, out, _) = folder.run(&["check", "a.kdl", "--model", "metal4"]);
    assert_eq!(code, Some(0), "a program that is right here is no error");
    assert!(out.starts_with("warning[relies-on-tracking]: "), "{out}");
    for model in ["metal3", "lockgate"] {
        assert_eq!(folder.run(&["check", "a.kdl", "--model", model]).1, "nothing found\n", "{model}");
    }
    let (code, _, error) = folder.run(&["check", "a.kdl", "--model", "metal5"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("it is metal4, metal3 or lockgate"), "{error}");
}

#[test]
fn a_fix_is_shown_written_and_enough() {
    let folder = Folder::with(&[("a.kdl", &racing())]);
    let text = || std::fs::read_to_string(folder.path().join("a.kdl")).unwrap();
    let (code, shown, _) = folder.run(&["fix", "a.kdl", "--dry-run"]);
    assert_eq!((code, text()), (Some(0), racing()));
    assert!(
        shown.contains("\n+    compute-pass two { wait-for-fence fence-1 before=dispatch; dispatch read"),
        "{shown}"
    );
    assert!(shown.ends_with("then    nothing found\n"), "{shown}");
    let (code, written, _) = folder.run(&["fix", "a.kdl"]);
    assert_eq!(code, Some(0));
    assert_eq!(written, shown.replace("then ", "wrote   a.kdl\nthen "));
    assert_eq!(folder.run(&["check", "a.kdl"]).1, "nothing found\n");
    assert_eq!(folder.run(&["fix", "a.kdl"]), (Some(0), "a.kdl: nothing to change\n".into(), String::new()));
}

#[test]
fn what_is_spare_goes_if_asked() {
    let spare = CLEAN.replace("{ dispatch read", "{ consumer-barrier; dispatch read");
    let folder = Folder::with(&[("a.kdl", &spare)]);
    assert_eq!(folder.run(&["fix", "a.kdl"]).1, "a.kdl: nothing to change\n");
    let (code, out, _) = folder.run(&["fix", "a.kdl", "--remove-spare"]);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(std::fs::read_to_string(folder.path().join("a.kdl")).unwrap(), CLEAN);
}

#[test]
fn findings_are_explained() {
    let folder = Folder::with(&[]);
    let (code, out, _) = folder.run(&["explain", "event-cycle"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("# event-cycle\n") && out.contains("\n## Without it\n"), "{out}");
    let (code, out, _) = folder.run(&["explain"]);
    assert_eq!(code, Some(0));
    assert!(out.lines().count() >= 37 && out.lines().all(|line| line.ends_with('.')), "{out}");
    let (code, _, error) = folder.run(&["explain", "event-circle"]);
    assert_eq!(code, Some(2));
    assert_eq!(error, "error: there is no finding `event-circle`; `lockgate explain` lists all\n");
}

#[test]
fn a_broken_pipe_is_success() {
    let folder = Folder::with(&[("a.kdl", &passes(60))]);
    for arguments in
        [&["check", "a.kdl", "--format", "json"][..], &["fix", "a.kdl", "--dry-run"], &["explain"]]
    {
        let mut child = folder.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn ten_thousand_findings_are_told_shortly() {
    let folder = Folder::with(&[("a.kdl", &passes(142))]);
    let start = Instant::now();
    let (code, out, _) = folder.run(&["check", "a.kdl"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("10011 errors; 141 fixes close 10011 hazards"), "{}", &out[out.len() - 200..]);
    assert!(out.contains("more; --format json lists all") && out.len() < 300_000, "{} bytes", out.len());
    assert_eq!(json(&folder, "a.kdl").len(), 10_011);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn a_hundred_thousand_commands_take_seconds() {
    let mut text = String::from("buffer X size=64\nbuffer Y size=64\nqueue main {\n");
    for buffer in 0..1_000 {
        writeln!(text, "command-buffer b{buffer} {{ blit-pass p{buffer} {{").unwrap();
        (0..100).for_each(|_| text.push_str("copy X to=Y\n"));
        text.push_str("} }\n");
    }
    text.push_str("}\n");
    let folder = Folder::with(&[("a.kdl", &text)]);
    let start = Instant::now();
    let (code, out, error) = folder.run(&["check", "a.kdl"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.starts_with("nothing found\n"), "{out}");
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}
