//! SPIR-V as words: what a module asks of the device, and what its writer gets wrong.
//!
//! Deliberately absent: what can be said before, in naga's terms (`widen.rs`). Tested in the contract suite (`texels.rs`).

use std::collections::BTreeSet;

/// Words before the first instruction.
const HEADER: usize = 5;
const OP_CAPABILITY: u32 = 17;
const OP_TYPE_IMAGE: u32 = 25;
const OP_FUNCTION_PARAMETER: u32 = 55;
const OP_LOAD: u32 = 61;
const OP_IMAGE_QUERY_SIZE_LOD: u32 = 103;
const OP_IMAGE_QUERY_SIZE: u32 = 104;
/// In the type of an image: it is a storage texture.
const STORAGE: u32 = 2;

/// Instructions: their operations, and all of their words.
fn instructions(words: &[u32]) -> impl Iterator<Item = (u32, &[u32])> {
    let mut rest = words.get(HEADER..).unwrap_or_default();
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let (own, behind) = rest.split_at_checked((first >> 16) as usize)?;
        rest = behind;
        (!own.is_empty()).then_some((first & 0xFFFF, own))
    })
}

/// The capabilities that a module declares, which stand before all else.
pub(crate) fn declared(words: &[u32]) -> impl Iterator<Item = u32> {
    let instructions = instructions(words).take_while(|(operation, _)| *operation == OP_CAPABILITY);
    instructions.filter_map(|(_, own)| own.get(1).copied())
}

/// The writer asks storage textures for the size of a level when it wants their layers, and they have no levels.
pub(crate) fn without_levels(words: &[u32]) -> Vec<u32> {
    let mut out = words[..HEADER.min(words.len())].to_vec();
    let (mut types, mut images) = (BTreeSet::new(), BTreeSet::new());
    for (operation, own) in instructions(words) {
        match *own {
            [_, result, _, _, _, _, _, STORAGE, ..] if operation == OP_TYPE_IMAGE => {
                types.insert(result);
            }
            [_, ty, result, ..]
                if matches!(operation, OP_LOAD | OP_FUNCTION_PARAMETER) && types.contains(&ty) =>
            {
                images.insert(result);
            }
            [_, ty, result, image, _] if operation == OP_IMAGE_QUERY_SIZE_LOD && images.contains(&image) => {
                out.extend([4 << 16 | OP_IMAGE_QUERY_SIZE, ty, result, image]);
                continue;
            }
            _ => {}
        }
        out.extend_from_slice(own);
    }
    out
}
