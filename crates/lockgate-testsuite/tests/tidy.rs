//! What a machine can check of the project's habits (docs/STYLE.md).

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                files_below(&path, found);
            }
        } else {
            found.push(path);
        }
    }
}

fn files(extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files_below(&root(), &mut found);
    found.retain(|path| path.extension().is_some_and(|own| own == extension));
    found.sort();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
    found.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn report(what: &str, wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
}

/// The lines of a file before its tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]").next().unwrap_or(text)
}

#[test]
fn files_are_short() {
    let long = |(name, text): (String, String)| {
        let lines = without_tests(&text).lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{name}: {lines} lines"))
    };
    report("files over 800 lines", files("rs").into_iter().filter_map(long).collect());
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for (name, text) in
        files("rs").into_iter().filter(|(name, _)| name.contains("/src/") && !name.starts_with("bench"))
    {
        let mut open: Option<(usize, usize)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let begins =
                ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "unsafe fn ", "pub unsafe fn "];
            if open.is_none()
                && begins.iter().any(|begin| line.trim_start().starts_with(begin))
                && !line.ends_with(';')
            {
                open = Some((number, indent));
            }
            if let Some((start, at)) = open
                && line == format!("{}}}", " ".repeat(at))
            {
                if number - start >= FUNCTION_LINES_MAX {
                    long.push(format!("{name}:{} {} lines", start + 1, number - start + 1));
                }
                open = None;
            }
        }
    }
    report("functions over 70 lines", long);
}

#[test]
fn every_module_says_what_it_is_for() {
    let silent = |(name, text): (String, String)| {
        (!text.starts_with("//!") && !text.starts_with("#!")).then_some(name)
    };
    report("files without a module header", files("rs").into_iter().filter_map(silent).collect());
}

#[test]
fn unsafe_stays_in_the_device_and_has_a_reason() {
    let mut wrong = Vec::new();
    for (name, text) in files("rs").into_iter().filter(|(name, _)| !name.ends_with("tidy.rs")) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if !(code.contains("unsafe {") || code.contains("unsafe impl")) {
                continue;
            }
            let above = lines[..number].iter().rev().take(8);
            let reason =
                above.take_while(|line| !line.trim().is_empty()).any(|line| line.contains("SAFETY:"));
            // What the devices are measured against is written by hand as well.
            let homes = [
                "crates/lockgate-cpu/",
                "crates/lockgate-vulkan/",
                "fuzz/",
                "bench/src/cpu/raw.rs",
                "bench/src/vulkan/raw/",
                "bench/src/vulkan/peers/blade.rs",
                "bench/src/vulkan/peers/vulkano.rs",
            ];
            if !homes.iter().any(|home| name.starts_with(home)) || !reason {
                wrong.push(format!("{name}:{}", number + 1));
            }
        }
    }
    report("unsafe outside of the device crates, or without a reason", wrong);
}

#[test]
fn nothing_is_left_undone_in_the_code() {
    let words = [
        "TODO",
        "FIXME",
        "XXX",
        concat!("#[ig", "nore"),
        concat!("thread::", "sleep"),
        concat!("should_", "panic"),
    ];
    let left = |(name, text): (String, String)| {
        let found: Vec<String> =
            words.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")).collect();
        found
    };
    let code = files("rs").into_iter().filter(|(name, _)| !name.ends_with("tidy.rs"));
    report("left in the code", code.flat_map(left).collect());
}

#[test]
fn paths_in_the_documents_exist() {
    let mut missing = Vec::new();
    for (name, text) in files("md") {
        let folder = root().join(&name).parent().unwrap().to_path_buf();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            let outside = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !outside && !folder.join(path).exists() {
                missing.push(format!("{name}: {target}"));
            }
        }
        for quoted in text.split('`').skip(1).step_by(2) {
            let looks =
                ["docs/", "spec/", "crates/", "examples/", "bench/src"].iter().any(|p| quoted.starts_with(p));
            let plain = !quoted.contains(['*', '<', ' ', '{', ':', '\n']);
            if looks && plain && !root().join(quoted).exists() {
                missing.push(format!("{name}: `{quoted}`"));
            }
        }
    }
    report("paths that do not exist", missing);
}

/// Who may depend on whom: data flows one way.
#[test]
fn dependencies_point_one_way() {
    let allowed: &[(&str, &[&str])] = &[
        ("lockgate-sync", &[]),
        ("lockgate-runtime", &["lockgate-sync"]),
        ("lockgate-cpu", &["lockgate-sync", "lockgate-runtime"]),
        ("lockgate-vulkan", &["lockgate-sync", "lockgate-runtime"]),
        ("lockgate-trace", &["lockgate-sync", "lockgate-runtime"]),
        ("lockgate", &["lockgate-sync", "lockgate-runtime", "lockgate-cpu", "lockgate-vulkan"]),
    ];
    let mut wrong = Vec::new();
    for (name, may) in allowed {
        let manifest = fs::read_to_string(root().join(format!("crates/{name}/Cargo.toml"))).unwrap();
        let own = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let own = own.split("\n[").next().unwrap_or("");
        for line in own.lines().filter(|line| line.starts_with("lockgate")) {
            let to = line.split(['.', ' ', '=']).next().unwrap_or("");
            if !may.contains(&to) {
                wrong.push(format!("{name} depends on {to}"));
            }
        }
    }
    let pure = fs::read_to_string(root().join("crates/lockgate-sync/Cargo.toml")).unwrap();
    for outside in ["serde", "log", "naga", "rand"] {
        if pure.split("[dependencies]").nth(1).unwrap_or("").contains(outside) {
            wrong.push(format!("the pure core depends on {outside}"));
        }
    }
    report("dependencies against the flow", wrong);
}

/// Each ambiguity of the documentation is decided in a function that exists.
#[test]
fn ambiguities_have_a_function() {
    let page = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let sources = files("rs");
    let mut wrong = Vec::new();
    for number in 1..=32 {
        let row = page.lines().find(|line| line.starts_with(&format!("| A{number} |")));
        let decided =
            row.and_then(|row| row.rsplit(" | ").next()).map(|cell| cell.split('`').collect::<Vec<_>>());
        let Some([_, function, _, file, _]) = decided.as_deref() else {
            wrong.push(format!("A{number} has no row that says where it is decided"));
            continue;
        };
        let defines = |(name, text): &(String, String)| {
            name.ends_with(&format!("/{file}")) && text.contains(&format!("fn {function}"))
        };
        if !sources.iter().any(defines) {
            wrong.push(format!("A{number}: no function `{function}` in a `{file}`"));
        }
    }
    report("ambiguities", wrong);
}
