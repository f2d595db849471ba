//! Broken program files are refused with a place, never with a panic: the programs of the chapters, damaged.

use lockgate_trace::{NoFiles, ProgramFile};
use std::path::Path;

/// A small generator, so that a failure names the damage by its numbers.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

fn programs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec");
    let mut chapters: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    chapters.sort();
    let text: String = chapters.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let blocks = text.split("```kdl").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| block.split_once('\n').map_or("", |(_, program)| program).to_owned()).collect()
}

const PIECES: &[&str] = &[
    "{",
    "}",
    "\"",
    ";",
    "\n",
    "=",
    "#true",
    "-1",
    "18446744073709551615",
    "0",
    "1e99",
    "\"..\"",
    "\"9..3\"",
    "levels=",
    "size=",
    "after=all",
    "before=none",
    "X",
    "nobody",
    "\\u{0}",
    "(",
    "/-",
    "\"a + b * \"",
    "heap",
    "queue",
    "é",
];

fn damage(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(chars.len());
        match dice.roll(4) {
            0 => drop(chars.drain(at..(at + 1 + dice.roll(12)).min(chars.len()))),
            1 => chars.splice(at..at, PIECES[dice.roll(PIECES.len())].chars()).for_each(drop),
            2 => {
                let other = dice.roll(chars.len());
                chars.swap(at, other);
            }
            _ => {
                let end = (at + 1 + dice.roll(30)).min(chars.len());
                let copy: Vec<char> = chars[at..end].to_vec();
                chars.splice(at..at, copy).for_each(drop);
            }
        }
        if chars.is_empty() {
            break;
        }
    }
    chars.into_iter().collect()
}

#[test]
fn damaged_programs_are_refused_or_judged() {
    let (mut parsed, mut refused) = (0, 0);
    for (number, program) in programs().iter().enumerate() {
        let mut dice = Dice(number as u64 + 1);
        for _ in 0..60 {
            let text = damage(program, &mut dice);
            match ProgramFile::parse("damaged.kdl", &text, &NoFiles) {
                Ok(file) => {
                    parsed += 1;
                    file.judge();
                }
                Err(errors) => {
                    refused += 1;
                    assert!(!errors.0.is_empty(), "refused without a word:\n{text}");
                }
            }
        }
    }
    assert!(parsed > 50 && refused > 500, "{parsed} parsed, {refused} refused");
}
