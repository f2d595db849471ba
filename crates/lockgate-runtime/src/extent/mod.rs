//! Which bytes can a kernel touch, and which does it surely touch? Proven from its WGSL, without running it.
//!
//! Abstract interpretation over naga's statements: sums of known multiples of the ids, ranges of everything else,
//! guards, and loops with known bounds. What is beyond that is the whole binding for `may` and nothing for `must`.
//! Deliberately absent: textures, and values in memory. Tested against what the interpreter really touches by
//! `lockgate-cpu/tests/extents.rs`.

mod expression;
mod loops;
mod memory;
mod reach;
mod statement;
mod touched;
mod value;

pub use touched::Touched;

use crate::library::ComputePipeline;
use crate::{ByteSet, Library, Result, ShaderModule};

/// The size of a dispatch whose extents are asked for.
///
/// ```
/// assert_ne!(lockgate_runtime::ExtentGrid::Unknown, lockgate_runtime::ExtentGrid::Threads([64, 1, 1]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtentGrid {
    /// So many invocations; workgroups at the end may be cut.
    Threads([u32; 3]),
    /// So many workgroups.
    Threadgroups([u32; 3]),
    /// A buffer says when it runs, possibly zero.
    Unknown,
}

/// A dispatch whose extents are asked for.
///
/// ```
/// use lockgate_runtime::{ExtentGrid, ExtentQuery};
/// let query = ExtentQuery::new(ExtentGrid::Threads([100, 1, 1]), &[400, 400]);
/// assert!(query.immediates.is_empty());
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExtentQuery<'a> {
    /// How large it is.
    pub grid: ExtentGrid,
    /// Bytes of the range bound to each of [`Reflection::bindings`](crate::Reflection::bindings); anything for
    /// textures and samplers. A missing size counts as unknown.
    pub sizes: &'a [u64],
    /// The immediates; missing bytes count as unknown.
    pub immediates: &'a [u8],
}

impl<'a> ExtentQuery<'a> {
    /// A dispatch without immediates.
    pub fn new(grid: ExtentGrid, sizes: &'a [u64]) -> ExtentQuery<'a> {
        ExtentQuery { grid, sizes, immediates: &[] }
    }
}

/// Bytes of a bound range, from its first byte.
///
/// ```
/// let touched = lockgate_runtime::TouchedBytes::default();
/// assert!(touched.may.contains_all(&touched.must));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedBytes {
    /// No other bytes are touched.
    pub may: ByteSet,
    /// All of these are touched if the dispatch runs to its end.
    pub must: ByteSet,
}

/// What a dispatch touches of one buffer binding.
///
/// ```
/// use lockgate_runtime::*;
/// let library = Library::new(
///     "@group(0) @binding(0) var<storage, read_write> data: array<u32>;
///     @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
///         if id.x < 10u { data[2u * id.x] = data[id.x + 100u]; }
///     }",
/// )?;
/// let query = ExtentQuery::new(ExtentGrid::Threads([128, 1, 1]), &[4096]);
/// let data = &library.extents("main", &[], &query)?[0];
/// assert_eq!(data.reads.must, ByteSet::from(400..440));
/// assert_eq!(data.writes.may.ranges().len(), 10);
/// assert_eq!(data.writes.may, data.writes.must);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    /// `@group`.
    pub group: u32,
    /// `@binding`.
    pub binding: u32,
    /// Position in [`Reflection::bindings`](crate::Reflection::bindings).
    pub index: u32,
    /// Loads, atomic operations included.
    pub reads: TouchedBytes,
    /// Stores, atomic operations included.
    pub writes: TouchedBytes,
}

impl Library {
    /// What a dispatch of a kernel with these override constants touches of each buffer binding, in the order of its
    /// bindings; arrays of bindings are left out.
    ///
    /// An index that is not proven to be in range makes `may` the whole binding, since WGSL lets a device touch any
    /// byte of it.
    ///
    /// # Errors
    /// A name that is no compute kernel of the library.
    pub fn extents(
        &self,
        name: &str,
        constants: &[(String, f64)],
        query: &ExtentQuery<'_>,
    ) -> Result<Vec<Extent>> {
        let reflection = self.reflect(name)?;
        Ok(statement::extents(self.module(), name, constants, query, &reflection))
    }
}

impl ComputePipeline {
    /// What a dispatch touches of each buffer binding, in the order of its bindings: see [`Library::extents`].
    pub fn extents(&self, query: &ExtentQuery<'_>) -> Vec<Extent> {
        let (shader, constants): (&ShaderModule, _) = (&self.0.shader, &self.0.constants);
        statement::extents(shader, self.label(), constants, query, self.reflection())
    }
}
