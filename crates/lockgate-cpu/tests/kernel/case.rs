//! A kernel and what it is given, for whoever runs it: every engine of the CPU device here, every driver in the suite for all
//! devices.

#![allow(dead_code, reason = "each of those who run cases uses a part")]

pub(crate) fn f32s(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub(crate) fn u32s(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}

pub(crate) fn to_u32s(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect()
}

pub(crate) fn to_f32s(bytes: &[u8]) -> Vec<f32> {
    to_u32s(bytes).into_iter().map(f32::from_bits).collect()
}

/// A simple generator of numbers, the same in every run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// Numbers that have nothing in common with those of the next seed.
    pub(crate) fn from_seed(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    pub(crate) fn unit(&mut self) -> f32 {
        self.next() as f32 / u32::MAX as f32
    }
}

/// How far the results of two devices may be apart.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accuracy<'a> {
    /// Not at all.
    Exact,
    /// Not at all, but for the sign of zeros in this buffer.
    Zeros(usize),
    /// All results are `f32`, apart by no more than this part of the greater of the expected value and one.
    Relative(f32),
    /// The same of half floats.
    Halves(f32),
    /// Equal parts of the last buffer are values of expressions, one for each pair in the first, of a type; each operation
    /// has the accuracy that WGSL gives it.
    Expressions { ty: &'a str, expressions: &'a [&'a str] },
    /// The last buffer has values of these functions in turn, of what stands in the buffer before, with the accuracy of a type; zeros
    /// have any sign there and in this buffer.
    Calls { ty: &'a str, functions: &'a [&'a str], zeros: usize },
}

/// A launch that can be repeated on each engine.
#[derive(Clone)]
pub(crate) struct Case<'a> {
    pub(crate) source: &'a str,
    pub(crate) entry: &'a str,
    pub(crate) grid: [u32; 3],
    pub(crate) threads: Option<[u32; 3]>,
    pub(crate) buffers: Vec<Vec<u8>>,
    pub(crate) immediates: Vec<u8>,
    pub(crate) constants: Vec<(String, f64)>,
    /// Whether invocations race, in a way that all engines settle alike.
    pub(crate) races: bool,
    /// Whether the results are those of subgroups of four neighbours.
    pub(crate) subgroups_of_four: bool,
    /// How far the results of other devices may be from those of the CPU device.
    pub(crate) accuracy: Accuracy<'a>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(source: &'a str, grid: [u32; 3], buffers: Vec<Vec<u8>>) -> Self {
        Self {
            source,
            entry: "main",
            grid,
            threads: None,
            buffers,
            immediates: Vec::new(),
            constants: Vec::new(),
            races: false,
            subgroups_of_four: false,
            accuracy: Accuracy::Exact,
        }
    }
}
