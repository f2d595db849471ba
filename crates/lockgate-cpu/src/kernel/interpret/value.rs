//! What an expression can evaluate to, and how evaluation can end early.

use smallvec::SmallVec;

use super::super::layout::Leaf;

/// The scalars of a value of data, in the order of its type's leaves.
pub(super) type Data = SmallVec<[u64; 4]>;

/// What an expression evaluates to.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Data(Data),
    Pointer(Pointer),
    /// A texture or sampler.
    Resource(Bound),
    /// An array of bindings: its slot.
    Bindings(u32),
}

/// A slot, or an element of the array that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) slot: u32,
    pub(super) element: Option<u32>,
}

/// A place in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointer {
    pub(super) root: Root,
    pub(super) offset: u64,
    /// False after an index that was out of range and therefore clamped.
    pub(super) inside: bool,
    /// That index, and the length that it had to be below.
    pub(super) beyond: (u64, u64),
}

impl Pointer {
    /// The start of a variable.
    pub(super) fn to(root: Root, offset: u64) -> Self {
        Self { root, offset, inside: true, beyond: (0, 0) }
    }
}

/// Which memory a pointer points into.
#[derive(Clone, Copy, Debug)]
pub(super) enum Root {
    /// The buffer bound to a slot.
    Slot(Bound),
    Shared,
    Private,
    Immediates,
    /// A local variable of the function call at this depth.
    Local {
        depth: usize,
        variable: usize,
    },
}

/// Why evaluation ended early.
#[derive(Debug)]
pub(super) enum Fault {
    Stopped,
    Failed(String),
}

impl Fault {
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl Value {
    pub(super) fn scalar(bits: u64) -> Self {
        Self::Data(Data::from_slice(&[bits]))
    }

    pub(super) fn data(&self) -> Result<&Data, Fault> {
        match self {
            Self::Data(data) => Ok(data),
            _ => Err(Fault::failed("a pointer or resource where a value is needed")),
        }
    }

    pub(super) fn first(&self) -> Result<u64, Fault> {
        self.data()?.first().copied().ok_or_else(|| Fault::failed("an empty value"))
    }

    pub(super) fn pointer(&self) -> Result<Pointer, Fault> {
        match self {
            Self::Pointer(pointer) => Ok(*pointer),
            _ => Err(Fault::failed("a value where a pointer is needed")),
        }
    }
}

/// Reads one scalar from memory that only this invocation or workgroup uses.
pub(super) fn read_scalar(bytes: &[u8], at: u64, leaf: Leaf) -> Result<u64, Fault> {
    let start = at as usize + leaf.offset as usize;
    let source = bytes.get(start..start + leaf.num.bytes() as usize).ok_or_else(outside)?;
    let mut raw = [0; 8];
    raw[..source.len()].copy_from_slice(source);
    Ok(u64::from_le_bytes(raw))
}

/// Writes one scalar to such memory.
pub(super) fn write_scalar(bytes: &mut [u8], at: u64, leaf: Leaf, bits: u64) -> Result<(), Fault> {
    let start = at as usize + leaf.offset as usize;
    let target = bytes.get_mut(start..start + leaf.num.bytes() as usize).ok_or_else(outside)?;
    target.copy_from_slice(&bits.to_le_bytes()[..target.len()]);
    Ok(())
}

/// Writes a whole value to such memory.
pub(super) fn write_bytes(
    bytes: &mut [u8],
    at: u32,
    leaves: Option<&[Leaf]>,
    value: &Value,
) -> Result<(), Fault> {
    let leaves = leaves.ok_or_else(|| Fault::failed("a variable of this type"))?;
    for (leaf, bits) in leaves.iter().zip(value.data()?) {
        write_scalar(bytes, at.into(), *leaf, *bits)?;
    }
    Ok(())
}

fn outside() -> Fault {
    Fault::failed("an address outside its variable")
}
