//! Runs a law over the programs of many seeds and shrinks the first one that breaks it.

use super::{Shape, Sketch, sketches};
use crate::print::to_text;
use lockgate_sync::Program;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::fmt;
use std::ops::Range;

/// A program that breaks a law, as small as shrinking could make it.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The seed that [`program_from_seed`] makes the unshrunk program from.
    pub seed: u64,
    /// The shrunk program.
    pub program: Program,
    /// What the law said of it.
    pub complaint: String,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listing = to_text(&self.program);
        write!(f, "seed {}\n{listing}{}", self.seed, self.complaint)
    }
}

/// How many times a failing program is made smaller, at most.
const SHRINKS_MAX: usize = 4096;

/// The program of a seed: always the same for one shape.
pub fn program_from_seed(seed: u64, shape: &Shape) -> Program {
    match tree(seed, &sketches(shape)) {
        Some(tree) => tree.current().lower(),
        None => Program::new(),
    }
}

/// The first seed whose program breaks the law, with the program shrunk; the law says what is wrong.
pub fn counterexample(
    seeds: Range<u64>,
    shape: &Shape,
    law: impl Fn(&Program, u64) -> Result<(), String>,
) -> Option<Counterexample> {
    let strategy = sketches(shape);
    for seed in seeds {
        let Some(mut tree) = tree(seed, &strategy) else { continue };
        let program = tree.current().lower();
        let Err(complaint) = law(&program, seed) else { continue };
        let mut smallest = Counterexample { seed, program, complaint };
        let mut broken = true;
        for _ in 0..SHRINKS_MAX {
            if !(if broken { tree.simplify() } else { tree.complicate() }) {
                break;
            }
            let program = tree.current().lower();
            let verdict = law(&program, seed);
            broken = verdict.is_err();
            if let Err(complaint) = verdict {
                smallest = Counterexample { seed, program, complaint };
            }
        }
        return Some(smallest);
    }
    None
}

fn tree(seed: u64, strategy: &BoxedStrategy<Sketch>) -> Option<Box<dyn ValueTree<Value = Sketch>>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy.new_tree(&mut runner).ok()
}
