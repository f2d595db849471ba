//! What all peers do: the same dispatches on the same bytes, so that results can be compared.

use super::by_hand::Hand;
use std::time::Duration;

/// A thing that kernels are bound to.
#[derive(Clone)]
pub enum Item {
    Buffer(Vec<u32>),
    /// `rgba8unorm`, one word for each texel.
    Texture {
        size: [u32; 2],
        texels: Vec<u32>,
    },
    /// Linear, clamped to the edge.
    Sampler,
}

/// One dispatch.
pub struct Step {
    pub entry: &'static str,
    /// Names in WGSL and places in [`Work::items`], in the order of OpenCL's arguments.
    pub bind: &'static [(&'static str, usize)],
    /// Behind the bound items in OpenCL.
    pub immediates: Vec<u32>,
    pub groups: [u32; 3],
    /// Invocations of a workgroup, as the kernel says.
    pub local: [u32; 3],
}

/// How close results must come to the first peer's.
#[derive(Clone, Copy, PartialEq)]
pub enum Tolerance {
    Exact,
    /// Floats that differ by this part of the larger one, or of 1.
    Part(f32),
    /// Bytes that differ by so much.
    Bytes(u8),
}

/// A kernel, or several that make one result.
pub struct Work {
    pub name: String,
    pub wgsl: &'static str,
    pub opencl: &'static str,
    pub items: Vec<Item>,
    pub steps: Vec<Step>,
    /// What is written anew before each run, outside of what is timed.
    pub fresh: &'static [usize],
    pub result: usize,
    pub tolerance: Tolerance,
    pub hand: Hand,
}

/// One way to do a work.
pub trait Peer {
    /// What tables call it, threads included.
    fn name(&self) -> &str;
    /// Writes what a run changes; not timed.
    fn prepare(&mut self);
    /// All steps, until the result is there.
    fn run(&mut self);
    fn result(&mut self) -> Vec<u32>;
    /// What it took to make the pipelines, and to make them again.
    fn created(&self) -> Option<[Duration; 2]> {
        None
    }
}

impl Tolerance {
    /// What is wrong with a result, if anything is.
    pub fn compare(self, result: &[u32], expected: &[u32]) -> Result<(), String> {
        if result.len() != expected.len() {
            return Err(format!("{} words, not {}", result.len(), expected.len()));
        }
        let fits = |a: u32, b: u32| match self {
            Tolerance::Exact => a == b,
            Tolerance::Part(part) => {
                let [a, b] = [a, b].map(f32::from_bits);
                (a - b).abs() <= part * a.abs().max(b.abs()).max(1.0)
            }
            Tolerance::Bytes(by) => {
                let pairs = a.to_le_bytes().into_iter().zip(b.to_le_bytes());
                pairs.into_iter().all(|(a, b)| a.abs_diff(b) <= by)
            }
        };
        let wrong = result.iter().zip(expected).position(|(a, b)| !fits(*a, *b));
        let text = |at: usize| format!("word {at} is {:#x}, not {:#x}", result[at], expected[at]);
        wrong.map_or(Ok(()), |at| Err(text(at)))
    }
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Tolerance::Exact => write!(f, "the same bytes"),
            Tolerance::Part(part) => write!(f, "within {part:e}"),
            Tolerance::Bytes(by) => write!(f, "bytes within {by}"),
        }
    }
}
