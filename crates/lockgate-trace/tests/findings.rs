//! The manual page of each kind of finding says what is so: its program has the finding and the message, its twin has
//! neither, and the fix leaves no hazard.
//!
//! `BLESS=1` writes the messages as they are now. Pages with Rust code are doctests of the module `findings`; pages
//! of what is observed in a run show no message here.

use lockgate_sync::{Code, Target};
use lockgate_trace::{CheckOptions, Checked, NoFiles, ProgramFile, findings};
use std::path::Path;

/// The block of code with a language below a heading.
fn block<'a>(page: &'a str, heading: &str, language: &str) -> Option<&'a str> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n"))?;
    let section = section.split("\n## ").next()?;
    let (_, text) = section.split_once(&format!("```{language}\n"))?;
    text.split_once("```").map(|(text, _)| text)
}

/// The model that the page asks for.
fn target(page: &str) -> Option<Target> {
    let (_, rest) = page.split_once("`lockgate check --model ")?;
    Target::from_name(rest.split(' ').next()?)
}

fn check(code: Code, text: &str, target: Option<Target>) -> Checked {
    let file = ProgramFile::parse("program.kdl", text, &NoFiles)
        .unwrap_or_else(|errors| panic!("{}: {errors}\n{text}", code.name()));
    match target {
        Some(target) => file.check_portability(target),
        None => file.check(&CheckOptions::default()),
    }
}

/// Pages whose program needs no device.
fn programs() -> impl Iterator<Item = (Code, &'static str, &'static str, Option<Target>)> {
    let page = |code: &Code| {
        let page = findings::page(*code);
        let program = block(page, "Program", "kdl").filter(|_| !page.contains("check --watch"))?;
        Some((*code, page, program, target(page)))
    };
    Code::ALL.iter().filter_map(page)
}

#[test]
fn every_code_has_a_page_with_all_sections() {
    for code in Code::ALL {
        let (name, page) = (code.name(), findings::page(*code));
        assert!(page.starts_with(&format!("# {name}\n\n")), "{name}");
        assert!(findings::title(*code).ends_with('.'), "{name}");
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let observed = page.contains("`lockgate check --watch program.kdl`");
        let expected: &[&str] = match observed && !sections.contains(&"Message") {
            true => &["Meaning", "Program", "Without it"],
            false => &["Meaning", "Program", "Message", "Without it"],
        };
        assert_eq!(sections, expected, "{name}");
        assert!(block(page, "Program", "kdl").or(block(page, "Program", "rust")).is_some(), "{name}");
    }
    assert_eq!(programs().count(), Code::ALL.len() - 3 - 4, "three are observed in a run, four are Rust");
}

#[test]
fn programs_have_the_finding_and_the_message() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    for (code, page, program, target) in programs() {
        let checked = check(code, program, target);
        assert!(checked.report().of(code).next().is_some(), "{}:\n{}", code.name(), checked.text());
        let (said, now) = (block(page, "Message", "text").unwrap_or(""), checked.text());
        if said == now {
            continue;
        }
        wrong.push_str(&format!("{}: the page says\n{said}\nand the checker\n{now}\n", code.name()));
        if bless {
            let new = page.replace(&format!("```text\n{said}```"), &format!("```text\n{now}```"));
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("findings/{}.md", code.name()));
            std::fs::write(path, new).unwrap();
        }
    }
    assert!(bless || wrong.is_empty(), "{wrong}BLESS=1 writes what is said now");
}

#[test]
fn twins_are_silent() {
    for (code, page, _, target) in programs() {
        let twin = block(page, "Without it", "kdl").expect("a twin");
        let checked = check(code, twin, None);
        assert!(checked.report().findings.is_empty(), "{}:\n{}", code.name(), checked.text());
        if target.is_some() {
            let checked = check(code, twin, target);
            assert!(checked.report().findings.is_empty(), "{}:\n{}", code.name(), checked.text());
        }
    }
}

#[test]
fn fixes_leave_no_hazard() {
    for (code, _, program, _) in programs() {
        let checked = check(code, program, None);
        let report = checked.report();
        let repair = checked.repaired(report.closing().chain(report.removing()));
        assert!(repair.refused.is_empty(), "{}: {:?}", code.name(), repair.refused);
        let after = check(code, &repair.text, None);
        let hazard = after.report().findings.iter().find(|finding| finding.code.is_hazard());

        assert_eq!(hazard, None, "{}:\n{}", code.name(), repair.text);
        let still = after.report().of(code).next().filter(|finding| finding.fix.is_some());
        assert_eq!(still, None, "{}:\n{}", code.name(), repair.text);
    }
}

#[test]
fn pages_of_rust_code_show_the_message_that_the_code_asserts() {
    for code in [Code::AllocatorInUse, Code::IgnoredTimeout, Code::ResourceNotResident, Code::CommittedTwice]
    {
        let page = findings::page(code);
        let program = block(page, "Program", "rust").expect("a program");
        let message = block(page, "Message", "text").expect("a message").trim_end();
        assert!(message.starts_with(&format!("{}[{}]: ", code.severity().name(), code.name())), "{message}");
        assert!(program.contains(&format!("{message:?}")), "{}", code.name());
    }
}

#[test]
fn the_list_of_codes_is_the_documented_one() {
    let document = include_str!("../../../docs/FINDINGS.md");
    for code in Code::ALL {
        let row = format!("| `{}` | {} | {} |", code.name(), code.severity().name(), findings::title(*code));
        assert!(document.contains(&row), "docs/FINDINGS.md lacks {row}");
    }
}

#[test]
fn a_pass_that_is_split_twice_keeps_its_attachments() {
    let draws = |a: &str, b: &str, c: &str| {
        format!(
            "texture T width=4 height=4 tracking=untracked\nbuffer X size=64 tracking=untracked\n\
             buffer Y size=64 tracking=untracked\n\
             queue main {{ command-buffer {{ render-pass one {{\n    attachment T load=clear store=dont-care\n    \
             {a}\n    {b}\n    {c}\n}} }} }}\n"
        )
    };
    let text = draws(
        "draw first { fragment { writes X } }",
        "draw second { vertex { reads X }; fragment { writes Y } }",
        "draw third { vertex { reads Y } }",
    );
    let checked = check(Code::ReadAfterWrite, &text, None);
    let repair = checked.repaired(checked.report().closing());
    assert_eq!(repair.refused, [""; 0]);
    let attachments: Vec<&str> = repair.text.lines().filter(|line| line.contains("attachment")).collect();
    let middle = "    attachment T load=load";
    let last = "    attachment T store=dont-care load=load";
    assert_eq!(attachments, ["    attachment T load=clear store=store", middle, last], "{}", repair.text);
    let after = check(Code::ReadAfterWrite, &repair.text, None);
    assert!(!after.report().has_errors(), "{}\n{}", repair.text, after.text());
}
