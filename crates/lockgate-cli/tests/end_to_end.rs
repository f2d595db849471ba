//! The built binary in a temporary folder: exit codes, texts, files, pipes.

mod folder;

use folder::Folder;
use std::process::Stdio;

const COPY: &str = "buffer A size=64 fill=ascending\nbuffer B size=64\n\
    queue main { command-buffer { compute-pass one { copy A to=B } } }\n";

#[test]
fn a_clean_program_ends_with_0() {
    let folder = Folder::with(&[("a.kdl", &format!("{COPY}expect {{ buffer B {{ same-as A }} }}"))]);
    let (code, out, error) = folder.run(&["run", "a.kdl", "--order", "reversed"]);
    assert_eq!((code, error.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("ok      buffer B same-as A") && out.contains("queue main"), "{out}");
}

#[test]
fn a_failed_expectation_ends_with_1() {
    let folder = Folder::with(&[("a.kdl", &format!("{COPY}expect {{ buffer B {{ starts-with 0 2 }} }}"))]);
    let (code, out, _) = folder.run(&["run", "a.kdl"]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("failed  buffer B has 2 words as given  (a.kdl:4)\n        word 1 is 1, not 2"),
        "{out}"
    );
}

#[test]
fn a_hazard_ends_with_1() {
    let text = "buffer A size=64 tracking=untracked\n\
        queue q { command-buffer { compute-pass p { fill A value=1 ; fill A value=2 } } }";
    let (code, out, _) = Folder::with(&[("a.kdl", text)]).run(&["run", "a.kdl"]);
    assert_eq!(code, Some(1));
    assert!(out.contains("found   write-after-write: `p.fill#2` (blit) writes `A`"), "{out}");
}

#[test]
fn an_adversary_shows_what_is_not_made_visible() {
    let program = |visibility: &str, hazard: &str| {
        format!(
            "buffer A size=64 tracking=untracked\nbuffer B size=64\nqueue q {{ command-buffer {{ compute-pass p {{\n\
            fill A value=1; intrapass-barrier visibility={visibility}; copy A to=B }} }} }}\n\
            expect {{ {hazard}; buffer B {{ starts-with 16843009 16843009 }} }}"
        )
    };
    let weak = program("none", "hazard read-after-write");
    let folder = Folder::with(&[("weak.kdl", &weak), ("right.kdl", &program("device", "no-hazards"))]);
    assert_eq!(folder.run(&["run", "weak.kdl", "--order", "recorded"]).0, Some(0));
    let run = |file: &str, seed: u32| {
        let (code, out, error) = folder.run(&["run", file, "--adversary", &seed.to_string()]);
        assert_eq!(error, "");
        // The timeline is measured; what was found is not.
        (code, out.lines().filter(|line| line.contains("word")).map(str::to_owned).collect::<Vec<_>>())
    };
    let seeds = 0..12;
    let weak: Vec<_> = seeds.clone().map(|seed| run("weak.kdl", seed)).collect();
    assert!(
        weak.iter().any(|(code, said)| *code == Some(1) && said.concat().contains("not 16843009")),
        "{weak:?}"
    );
    assert_eq!(weak, seeds.clone().map(|seed| run("weak.kdl", seed)).collect::<Vec<_>>());
    assert!(seeds.map(|seed| run("right.kdl", seed)).all(|(code, _)| code == Some(0)));
}

#[test]
fn a_mistake_ends_with_2_and_a_caret() {
    let folder = Folder::with(&[("a.kdl", "bufer A size=64\nfence f after=1\n")]);
    let (code, out, error) = folder.run(&["run", "a.kdl"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    insta::assert_snapshot!(error, @r"
    unknown-name

      × there is no node `bufer`
       ╭─[a.kdl:1:1]
     1 │ bufer A size=64
       · ─────
     2 │ fence f after=1
       ╰────
      help: did you mean `buffer`?
    unknown-name

      × there is no property of `fence` named `after`
       ╭─[a.kdl:2:9]
     1 │ bufer A size=64
     2 │ fence f after=1
       ·         ─────
       ╰────
      help: there is none here
    ");
}

#[test]
fn what_is_missing_ends_with_2() {
    let folder = Folder::with(&[("a.kdl", COPY)]);
    for (arguments, message) in [
        (&["run", "no.kdl"] as &[&str], "error: no.kdl: No such file or directory (os error 2)\n"),
        (&["run", "a.kdl", "--device", "tpu"], "error: there is no device `tpu`"),
        (&["run", "a.kdl", "--output", "x=y.png"], "error: --output x=..: the program has no output\n"),
        (
            &["run", "a.kdl", "--device", "null", "--order", "reversed"],
            "error: device `null` takes no --order",
        ),
        (
            &["run", "a.kdl", "--device", "null", "--adversary", "1"],
            "error: device `null` takes no --adversary",
        ),
        (
            &["run", "a.kdl", "--watch", "--adversary", "1"],
            "error: the argument '--watch' cannot be used with",
        ),
        (&["run", "a.kdl", "--order", "backwards"], "error: invalid value 'backwards'"),
    ] {
        let (code, _, error) = folder.run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(error.starts_with(message), "{arguments:?}: {error}");
    }
}

#[test]
fn outputs_and_timelines_are_written_whole() {
    let text = "texture T width=4 height=4 fill=0xff0000ff\noutput red \"red.png\" from=T\n\
        buffer A size=4\nqueue q { command-buffer { compute-pass p { fill A } } }";
    let folder = Folder::with(&[("a.kdl", text)]);
    let arguments =
        ["run", "a.kdl", "--timeline", "t.html", "--trace", "t.json", "--output", "red=other.png"];
    let (code, out, error) = folder.run(&arguments);
    assert_eq!(code, Some(0), "{out}{error}");
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["a.kdl", "other.png", "t.html", "t.json"]);
    let picture = std::fs::read(folder.path().join("other.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing() {
    let folder = Folder::with(&[("a.kdl", COPY)]);
    let (code, _, error) = folder.run(&["run", "a.kdl", "--timeline", "no/t.html"]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("error: no/t.html cannot be written:"), "{error}");
}

#[test]
fn devices_are_listed() {
    let (code, out, _) = Folder::with(&[]).run(&["devices"]);
    assert_eq!(code, Some(0));
    assert!(out.starts_with("cpu "), "{out}");
}

/// The variable names the device, as it does for programs that ask for the default; the option counts more.
#[test]
fn a_variable_names_the_device() {
    let folder = Folder::with(&[("a.kdl", COPY)]);
    let run = |arguments: &[&str]| {
        let output = folder.command(arguments).env("LOCKGATE_DEVICE", "tpu").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, error) = run(&["run", "a.kdl"]);
    assert_eq!(code, Some(2));
    assert!(error.starts_with("error: there is no device `tpu`"), "{error}");
    assert_eq!(run(&["run", "a.kdl", "--device", "cpu"]).0, Some(0));
}

#[test]
fn a_broken_pipe_is_success() {
    let folder = Folder::with(&[("a.kdl", COPY)]);
    let mut child = folder.command(&["run", "a.kdl"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
