//! SPIR-V as words: what a module asks of the device, and what its writer gets wrong.
//!
//! Deliberately absent: what can be said before, in naga's terms (`widen.rs`). Tested in the contract suite (`texels.rs`,
//! `differential.rs`), and by the validation layers.

use std::collections::{BTreeMap, BTreeSet};

/// Words before the first instruction.
const HEADER: usize = 5;
const OP_CAPABILITY: u32 = 17;
const OP_TYPE_IMAGE: u32 = 25;
const OP_CONSTANT: u32 = 43;
const OP_FUNCTION_PARAMETER: u32 = 55;
const OP_LOAD: u32 = 61;
const OP_IMAGE_QUERY_SIZE_LOD: u32 = 103;
const OP_IMAGE_QUERY_SIZE: u32 = 104;
const OP_CONTROL_BARRIER: u32 = 224;
/// In the type of an image: it is a storage texture.
const STORAGE: u32 = 2;

/// How memory is ordered, as numbers: what comes before is seen by what comes after, in a kind of memory that Vulkan knows
/// nothing of; and the same in all kinds that it knows.
const SUBGROUP_MEMORY: u32 = 0x88;
const ALL_MEMORY: u32 = 0x948;

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

/// What the writer gets wrong is put right.
pub(crate) fn mend(words: &[u32]) -> Vec<u32> {
    with_memory(&without_levels(words))
}

/// Barriers of subgroups order no memory as the writer has them: what an invocation wrote before need not be seen after.
fn with_memory(words: &[u32]) -> Vec<u32> {
    let semantics = instructions(words).filter_map(|(operation, own)| match *own {
        [_, _, _, semantics] if operation == OP_CONTROL_BARRIER => Some(semantics),
        _ => None,
    });
    let used: BTreeSet<u32> = semantics.collect();
    let mut out = words[..HEADER.min(words.len())].to_vec();
    let mut instead = BTreeMap::new();
    for (operation, own) in instructions(words) {
        match *own {
            [_, ty, constant, SUBGROUP_MEMORY] if operation == OP_CONSTANT && used.contains(&constant) => {
                // The number of ids is the fourth word.
                let id = out[3];
                out[3] += 1;
                instead.insert(constant, id);
                out.extend([4 << 16 | OP_CONSTANT, ty, id, ALL_MEMORY]);
            }
            [first, group, memory, semantics] if operation == OP_CONTROL_BARRIER => {
                out.extend([first, group, memory, instead.get(&semantics).copied().unwrap_or(semantics)]);
                continue;
            }
            _ => {}
        }
        out.extend_from_slice(own);
    }
    out
}

/// The writer asks storage textures for the size of a level when it wants their layers, and they have no levels.
fn without_levels(words: &[u32]) -> Vec<u32> {
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
