//! The programs in the chapters under `spec/`.

use lockgate_trace::{NoFiles, ProgramFile};
use std::path::{Path, PathBuf};

/// A program of a chapter.
pub struct Case {
    /// Chapter, line and heading.
    pub name: String,
    /// KDL.
    pub text: String,
    /// Whether it must be told that it misuses something.
    pub misuse: bool,
    /// Whether it must not parse.
    pub refused: bool,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec")
}

/// The programs of a chapter, each named by the headings above it.
fn cases(chapter: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(chapter).unwrap();
    let file = chapter.file_stem().unwrap().to_string_lossy().into_owned();
    let mut heading = String::new();
    let mut cases: Vec<Case> = Vec::new();
    let mut open: Option<Case> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => cases.extend(open.take()),
            (Some(case), None) => case.text.push_str(&format!("{line}\n")),
            (None, Some(info)) if info.starts_with("kdl") => {
                let name = format!("{file}:{} {heading}", number + 1);
                open = Some(Case {
                    name,
                    text: String::new(),
                    misuse: info.contains("misuse"),
                    refused: info.contains("error"),
                });
            }
            _ => {
                if let Some(title) = line.strip_prefix("## ") {
                    heading = title.to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "{file}: a block is not closed");
    cases
}

/// The programs that parse.
pub fn parsing_cases() -> Vec<Case> {
    every_case().into_iter().filter(|case| !case.refused).collect()
}

/// All programs of all chapters.
pub fn every_case() -> Vec<Case> {
    let mut chapters: Vec<PathBuf> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    chapters.sort();
    chapters.iter().flat_map(|chapter| cases(chapter)).collect()
}

/// The program of a case that parses; panics with what is wrong if it does not.
pub fn parse(case: &Case) -> ProgramFile {
    ProgramFile::parse(&case.name, &case.text, &NoFiles).unwrap_or_else(|errors| {
        let list: Vec<String> =
            errors.0.iter().map(|error| format!("{error} {:?}", error.labels())).collect();
        panic!("{}:\n{}", case.name, list.join("\n"));
    })
}
