//! Dispatches whose size stands in a buffer.
//!
//! A size beyond the limit would be undefined behaviour, and nobody knows it before the device does. So a small kernel
//! takes the size first: what is within the limit goes on to the dispatch, what is not becomes zero and is told when the
//! batch is done. Deliberately absent: when it runs (`record.rs`). Tested in the contract suite.

use crate::memory::Buffer;
use crate::plan::HardwareStages;
use crate::record::{Context, Recording};
use ash::vk;
use lockgate_runtime::{Error, ErrorKind, Result};
use lockgate_sync::CommandRef;

/// Takes three words at an offset, and hands on those within the limit.
pub(crate) const KERNEL: &str = "
struct Immediates { at: u32, to: u32, limit: u32 }
var<immediate> immediates: Immediates;
@group(0) @binding(0) var<storage, read> arguments: array<u32>;
@group(0) @binding(1) var<storage, read_write> checked: array<u32>;
@compute @workgroup_size(1) fn check() {
    let at = immediates.at;
    let size = vec3u(arguments[at], arguments[at + 1u], arguments[at + 2u]);
    let fits = all(size <= vec3u(immediates.limit));
    let to = immediates.to;
    checked[to] = select(0u, size.x, fits);
    checked[to + 1u] = select(0u, size.y, fits);
    checked[to + 2u] = select(0u, size.z, fits);
    checked[to + 3u] = u32(!fits);
    checked[to + 4u] = size.x;
    checked[to + 5u] = size.y;
    checked[to + 6u] = size.z;
}
";

/// Bytes that a checked size takes: three words for the dispatch, whether it was refused, and what it was.
const STRIDE: u64 = 32;
/// Checked sizes in a buffer.
const ROOM: u64 = 128;

/// Indirect dispatches of a recording.
#[derive(Default)]
pub(crate) struct Indirect {
    /// Where checked sizes go: a buffer of the recording's scratch, and how many are in it.
    buffer: Option<(usize, u64)>,
    /// Which command has which checked size, and the name of its kernel.
    checked: Vec<(CommandRef, String, usize, u64)>,
}

impl Indirect {
    pub(crate) fn clear(&mut self) {
        self.buffer = None;
        self.checked.clear();
    }

    /// What was refused, once the batch is done.
    pub(crate) fn refused(&self, scratch: &[Buffer], limit: u32) -> Vec<(CommandRef, Error)> {
        let refused = |(command, label, buffer, at): &(CommandRef, String, usize, u64)| {
            let mut bytes = [0u8; STRIDE as usize];
            scratch.get(*buffer)?.read_into(at * STRIDE, &mut bytes).ok()?;
            let word =
                |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            let size = [word(16), word(20), word(24)];
            let message = format!("`{label}`: indirect arguments {size:?} exceed {limit} (max_threadgroups)");
            (word(12) != 0).then(|| (*command, Error::new(ErrorKind::Execution, message)))
        };
        self.checked.iter().filter_map(refused).collect()
    }
}

impl Recording {
    /// Checks the size of a dispatch. Returns where the checked one is.
    pub(crate) fn check_size(
        &mut self,
        label: &str,
        (arguments, offset): (&Buffer, u64),
        at: CommandRef,
        context: &Context<'_>,
    ) -> Result<(vk::Buffer, u64)> {
        let (buffer, place) = self.room_for_size(context)?;
        let checked = self.scratch[buffer].raw;
        let check = context.tools.check_size()?;
        // The binding begins where the driver allows, the size lies some words behind that.
        let limits = self.gpu().limits;
        let start = offset / limits.storage_offset_alignment * limits.storage_offset_alignment;
        let to = (place * STRIDE / 4) as u32;
        let immediates = [((offset - start) / 4) as u32, to, limits.max_threadgroups];
        let range = (arguments.size - start).min(limits.max_binding_size);
        let infos = [
            vk::DescriptorBufferInfo { buffer: arguments.raw, offset: start, range },
            vk::DescriptorBufferInfo { buffer: checked, offset: 0, range: vk::WHOLE_SIZE },
        ];
        self.binder.tool(self.raw, check, &infos, immediates)?;
        // SAFETY: it is being recorded; pipeline and bindings are bound.
        unsafe { self.device().cmd_dispatch(self.raw, 1, 1, 1) };
        self.inner_barrier(HardwareStages::COMPUTE, HardwareStages::INDIRECT);
        self.indirect.checked.push((at, label.to_owned(), buffer, place));
        Ok((checked, place * STRIDE))
    }

    /// A place for a checked size.
    fn room_for_size(&mut self, context: &Context<'_>) -> Result<(usize, u64)> {
        let (buffer, place) = match self.indirect.buffer {
            Some((buffer, used)) if used < ROOM => (buffer, used),
            _ => {
                self.scratch.push(context.tools.shared_buffer(ROOM * STRIDE)?);
                (self.scratch.len() - 1, 0)
            }
        };
        self.indirect.buffer = Some((buffer, place + 1));
        Ok((buffer, place))
    }
}
