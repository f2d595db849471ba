//! The manual page of each kind of finding says what is so: its program has the finding and the message, its twin has
//! neither, and the fix leaves no hazard.
//!
//! `BLESS=1` writes the messages as they are now. Pages with Rust code are doctests of the module `findings`.

use lockgate_cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate_runtime::{Checking, Device, DeviceDescriptor, Observe};
use lockgate_sync::{Code, Target};
use lockgate_trace::{CheckOptions, Checked, Files, ProgramFile, findings};
use std::path::Path;

/// The block of code with a language below a heading.
fn block<'a>(page: &'a str, heading: &str, language: &str) -> Option<&'a str> {
    let (_, section) = page.split_once(&format!("\n## {heading}\n"))?;
    let section = section.split("\n## ").next()?;
    let (_, text) = section.split_once(&format!("```{language}\n"))?;
    text.split_once("```").map(|(text, _)| text)
}

/// What the page asks for besides its program.
#[derive(Clone, Copy, PartialEq)]
enum How {
    Plain,
    Model(Target),
    /// With the kernels of a section.
    Watch(&'static str),
}

fn how(page: &'static str, section: &str) -> How {
    if page.contains("`lockgate check --watch program.kdl`") {
        return How::Watch(block(page, section, "wgsl").or(block(page, "Program", "wgsl")).expect("kernels"));
    }
    let model = page.split_once("`lockgate check --model ").and_then(|(_, rest)| rest.split(' ').next());
    model.and_then(Target::from_name).map_or(How::Plain, How::Model)
}

/// Brings the kernels of a page.
struct Kernels(&'static str);

impl Files for Kernels {
    fn read(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Ok(self.0.into())
    }
}

fn check(code: Code, text: &str, how: How) -> Checked {
    let options = CheckOptions::default();
    let kernels = Kernels(if let How::Watch(kernels) = how { kernels } else { "" });
    let file = ProgramFile::parse("program.kdl", text, &kernels)
        .unwrap_or_else(|errors| panic!("{}: {errors}\n{text}", code.name()));
    match how {
        How::Plain => file.check(&options),
        How::Model(target) => file.check_portability(target),
        How::Watch(_) => {
            let order = CpuDescriptor { order: Order::Recording, ..Default::default() };
            let (observe, checking) = (Observe::Accesses, Checking::Off);
            let descriptor = DeviceDescriptor { observe, checking, ..Default::default() };
            let device = Device::open(Box::new(CpuBackend::new(&order).unwrap()), descriptor).unwrap();
            file.check_watched(&options, &file.watch(&device, &|_| {}).expect("it runs"))
        }
    }
}

/// Pages that have a program file.
fn programs() -> impl Iterator<Item = (Code, &'static str, &'static str, How)> {
    let page = |code: &Code| {
        let page = findings::page(*code);
        Some((*code, page, block(page, "Program", "kdl")?, how(page, "Program")))
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
        assert_eq!(sections, ["Meaning", "Program", "Message", "Without it"], "{name}");
        assert!(block(page, "Program", "kdl").or(block(page, "Program", "rust")).is_some(), "{name}");
    }
    assert_eq!(programs().count(), Code::ALL.len() - 4, "four are Rust");
}

#[test]
fn programs_have_the_finding_and_the_message() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    for (code, page, program, how) in programs() {
        let checked = check(code, program, how);
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
    for (code, page, program, _) in programs() {
        // Where only the kernel changes, the program is the same.
        let twin = block(page, "Without it", "kdl").unwrap_or(program);
        let how = how(page, "Without it");
        for how in [how, How::Plain] {
            if matches!(how, How::Plain) && page.contains("```wgsl") {
                continue;
            }
            let checked = check(code, twin, how);
            assert!(checked.report().findings.is_empty(), "{}:\n{}", code.name(), checked.text());
        }
    }
}

#[test]
fn fixes_leave_no_hazard() {
    for (code, _, program, how) in programs() {
        let how = if let How::Watch(_) = how { how } else { How::Plain };
        let checked = check(code, program, how);
        let report = checked.report();
        let repair = checked.repaired(report.closing().chain(report.removing()));
        assert!(repair.refused.is_empty(), "{}: {:?}", code.name(), repair.refused);
        let after = check(code, &repair.text, how);
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
             queue main {{ command-buffer {{\nrender-pass one {{\n    attachment T load=clear store=dont-care\n    \
             {a}\n    {b}\n    {c}\n}}\n}} }}\n"
        )
    };
    let text = draws(
        "draw first { fragment { writes X } }",
        "draw second { vertex { reads X }; fragment { writes Y } }",
        "draw third { vertex { reads Y } }",
    );
    let checked = check(Code::ReadAfterWrite, &text, How::Plain);
    let repair = checked.repaired(checked.report().closing());
    assert_eq!(repair.refused, [""; 0]);
    let attachments: Vec<&str> = repair.text.lines().filter(|line| line.contains("attachment")).collect();
    let middle = "    attachment T load=load";
    let last = "    attachment T store=dont-care load=load";
    assert_eq!(attachments, ["    attachment T load=clear store=store", middle, last], "{}", repair.text);
    let after = check(Code::ReadAfterWrite, &repair.text, How::Plain);
    assert!(!after.report().has_errors(), "{}\n{}", repair.text, after.text());
}
