//! How machine code tells a recorder what an invocation touches.
//!
//! Code for [`Lanes::Watched`](super::Lanes) runs one invocation at a time and calls [`touched`] before each access, and [`barrier`] once for the workgroup. Texels are told by the calls that fetch
//! them. Tested by `tests/observe.rs` against the interpreter's record.

use cranelift_codegen::ir::{Block, InstBuilder, StackSlotData, StackSlotKind, Value, types};
use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Span};

use super::{
    super::{
        binding::{Binding, TextureBinding},
        memory, sample,
        watch::{At, Recorder, Space},
    },
    code::{Context, Emitter, NONE, context, flags},
    helpers::{ImageCall, field, sample_point},
    ir::{Id, ImageOp, Memory, Place, Program, Site},
    lower::{Lowered, Lowering},
};

/// What machine code calls with.
pub(super) struct Watcher<'a> {
    recorder: &'a mut Recorder,
    sites: &'a [Site],
    /// The recorder's numbers of the sites.
    numbers: Vec<Option<u16>>,
    shared: u64,
}

/// Bytes that are compared at once to see whether a store changes them.
const PIECE: u32 = 4;

impl<'a> Watcher<'a> {
    pub(super) fn new(recorder: &'a mut Recorder, program: &'a Program) -> Self {
        Watcher { recorder, sites: &program.sites, numbers: vec![None; program.sites.len()], shared: 0 }
    }

    pub(super) fn begin_group(&mut self, number: u64, context: &Context) {
        self.shared = context.shared as u64;
        self.recorder.begin_group(number);
    }

    /// `image`: the bytes that are stored, if they are.
    fn touched(&mut self, number: u32, lane: u32, address: *mut u8, bytes: u32, image: *const u8) {
        let Some(site) = self.sites.get(number as usize) else { return };
        let Site { kind, space, .. } = *site;
        let own = match self.numbers[number as usize] {
            Some(own) => own,
            None => {
                let own = self.recorder.site(&at(site, lane, &|| site.variable.clone()));
                *self.numbers[number as usize].insert(own)
            }
        };
        let start = if space == Space::Workgroup { self.shared } else { 0 };
        let first = address as u64 - start;
        if kind != ObservedKind::Write {
            let looks = kind == ObservedKind::Atomic && image.is_null();
            return self.recorder.touch_at((own, kind, space), lane, first, bytes, looks);
        }
        for offset in (0..bytes).step_by(PIECE as usize) {
            let piece = PIECE.min(bytes - offset);
            // SAFETY: machine code stores there next, which `Kernel::run` has the caller's promise for.
            let old = unsafe { memory::load(address.wrapping_add(offset as usize), piece) };
            // SAFETY: as many bytes lie in the frame of the caller.
            let new = unsafe { memory::load(image.wrapping_add(offset as usize), piece) };
            self.recorder.touch_at((own, kind, space), lane, first + u64::from(offset), piece, old != new);
        }
    }
}

/// Whether an operation on a texture touches texels.
fn touches(op: ImageOp) -> bool {
    !op.is_query()
}

impl Watcher<'_> {
    /// The texels that a call touches.
    pub(super) fn texels(
        &mut self,
        op: u32,
        call: &ImageCall,
        texture: &TextureBinding,
        sampler: Option<&Binding>,
    ) {
        let Some(site) = self.sites.get(call.site as usize) else { return };
        let name = || site.variable.clone();
        let at = at(site, call.lane, &name);
        let texel = [call.fields[0], call.fields[1], call.fields[2]];
        let texels = match sampler {
            Some(Binding::Sampler(sampler)) => {
                let gather = op == ImageOp::Gather as u32 || op == ImageOp::GatherCompare as u32;
                sample::footprint(texture, sampler, &sample_point(op, call, texture), gather)
            }
            _ if op == ImageOp::Load as u32 => vec![(call.fields[field::LEVEL], texel)],
            _ => vec![(0, texel)],
        };
        for (level, texel) in texels {
            match sample::texel_address(texture, level, texel) {
                Some(address) => {
                    let changed = site.kind != ObservedKind::Read;
                    self.recorder.touch(&at, address as u64, texture.format.bytes(), changed);
                }
                None => {
                    let (index, length) = sample::beyond(texture, level, texel);
                    self.recorder.out_of_bounds(&at, index.into(), length.into());
                }
            }
        }
    }
}

fn at<'s>(site: &Site, lane: u32, variable: &'s dyn Fn() -> String) -> At<'s> {
    At { span: site.span, kind: site.kind, space: site.space, variable, lane }
}

extern "C" fn touched(
    watcher: *mut Watcher<'_>,
    site: u32,
    lane: u32,
    address: *mut u8,
    bytes: u32,
    image: *const u8,
) {
    // SAFETY: machine code passes on the watcher that it was called with, which nothing else uses meanwhile.
    let watcher = unsafe { &mut *watcher };
    watcher.touched(site, lane, address, bytes, image);
}

extern "C" fn beyond(watcher: *mut Watcher<'_>, site: u32, lane: u32, index: u32, count: u32) {
    // SAFETY: as in `touched`.
    let watcher = unsafe { &mut *watcher };
    if let Some(site) = watcher.sites.get(site as usize) {
        let name = || site.variable.clone();
        let at = at(site, lane, &name);
        watcher.recorder.out_of_bounds(&at, index.into(), count.into());
    }
}

extern "C" fn barrier(watcher: *mut Watcher<'_>, flags: u32) {
    // SAFETY: as in `touched`.
    let watcher = unsafe { &mut *watcher };
    watcher.recorder.barrier(naga::Barrier::from_bits_truncate(flags));
}

impl Lowering<'_> {
    /// The place with the site that accesses it.
    pub(super) fn observed(&mut self, place: Place, span: Span, kind: ObservedKind) -> Place {
        if !self.program.observed {
            return place;
        }
        let (space, variable) = match place.memory {
            Memory::Slot { slot, .. } => {
                let name = self.globals.slots.get(slot as usize).map(|slot| slot.name.clone());
                (Space::Slot(slot), name)
            }
            Memory::Shared => (Space::Workgroup, self.shared_name(place.offset)),
            Memory::Array(array) => (Space::Invocation, self.array_names.get(&array).cloned()),
            // Kernels with arrays of bindings are told by the interpreter.
            Memory::Element { .. } | Memory::Immediates | Memory::Constants => return place,
        };
        let variable = variable.unwrap_or_default();
        self.program.sites.push(Site { span, kind, space, variable });
        Place { site: Some(self.program.sites.len() as u32 - 1), ..place }
    }

    /// The site of an operation on a texture.
    pub(super) fn texel_site(&mut self, op: ImageOp, slot: u32) -> Option<u32> {
        if !self.program.observed || !touches(op) {
            return None;
        }
        let kind = match op {
            ImageOp::Store => ObservedKind::Write,
            ImageOp::Atomic => ObservedKind::Atomic,
            _ => ObservedKind::Read,
        };
        let variable = self.globals.slots.get(slot as usize).map(|slot| slot.name.clone());
        let (span, space, variable) = (self.at, Space::Slot(slot), variable.unwrap_or_default());
        self.program.sites.push(Site { span, kind, space, variable });
        Some(self.program.sites.len() as u32 - 1)
    }

    /// Remembers what an array of each invocation is called.
    pub(super) fn name_array(&mut self, lowered: &Lowered, name: Option<&String>) {
        if let (Lowered::Place(Place { memory: Memory::Array(array), .. }), Some(name)) = (lowered, name)
            && self.program.observed
        {
            self.array_names.insert(*array, name.clone());
        }
    }

    fn shared_name(&self, offset: u32) -> Option<String> {
        let shared =
            self.module.global_variables.iter().filter(|(_, own)| own.space == AddressSpace::WorkGroup);
        let placed = shared.filter_map(|(handle, own)| Some((self.globals.place(handle)?, own.name.clone())));
        placed.filter(|(start, _)| *start <= offset).max_by_key(|(start, _)| *start)?.1
    }
}

impl Emitter<'_, '_> {
    /// Tells what is accessed next: scalars at byte offsets of a place.
    pub(super) fn tell(&mut self, place: &Place, leaves: &[(u32, Id)], stores: bool) {
        let Some(site) = place.site else { return };
        let own = matches!(place.memory, Memory::Array(_));
        if own && place.indices.is_empty() {
            return;
        }
        let end = self.b.create_block();
        let lane = match self.first {
            Some(first) => first,
            None => self.int(0),
        };
        let address = self.tell_indices(place, (site, lane), end);
        if !own {
            let scalars = leaves.iter().map(|(offset, id)| (*offset, *id, self.program.num(*id).bytes()));
            let mut chunks: Vec<Vec<(u32, Id, u32)>> = Vec::new();
            for scalar in scalars {
                match chunks.last_mut() {
                    Some(chunk) if chunk.last().is_some_and(|last| last.0 + last.2 == scalar.0) => {
                        chunk.push(scalar);
                    }
                    _ => chunks.push(vec![scalar]),
                }
            }
            chunks.iter().for_each(|chunk| self.tell_chunk(place, (site, lane), address, chunk, stores));
        }
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// The address that the indices lead to; where one is out of range, that is told and the code goes on at
    /// `after`.
    fn tell_indices(&mut self, place: &Place, (site, lane): (u32, Value), after: Block) -> Value {
        let mut address = self.base(place.memory);
        let zero = self.int(0);
        let (mut inside, mut index, mut count) = (None, zero, zero);
        for at in &place.indices {
            let value = self.scalar(at.id);
            let most = self.count(place.memory, at.bound);
            let (next, in_range) = self.advance(address, place.memory, at, value);
            address = next;
            index = self.b.ins().select(in_range, index, value);
            count = self.b.ins().select(in_range, count, most);
            inside = Some(match inside {
                None => in_range,
                Some(inside) => self.b.ins().band(inside, in_range),
            });
        }
        if let Some(inside) = inside {
            let [within, outside] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(inside, within, NONE, outside, NONE);
            self.b.set_cold_block(outside);
            self.start(outside);
            let (watcher, site) = (self.field(context!(watcher)), self.int(site));
            let types = [types::I64, types::I32, types::I32, types::I32, types::I32];
            self.call_helper(
                beyond as *const () as usize,
                &types,
                false,
                &[watcher, site, lane, index, count],
            );
            self.b.ins().jump(after, NONE);
            self.start(within);
        }
        address
    }

    /// Neighbouring scalars, by offset, value and size.
    fn tell_chunk(
        &mut self,
        place: &Place,
        (site, lane): (u32, Value),
        address: Value,
        chunk: &[(u32, Id, u32)],
        stores: bool,
    ) {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return };
        let bytes = last.0 + last.2 - first.0;
        let image = if stores {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
            let slot = self.b.create_sized_stack_slot(data);
            let image = self.b.ins().stack_addr(types::I64, slot, 0);
            for (offset, id, _) in chunk {
                let value = self.scalar(*id);
                self.write_scalar(self.program.num(*id), value, (image, (offset - first.0) as i32));
            }
            image
        } else {
            self.b.ins().iconst(types::I64, 0)
        };
        let address = self.b.ins().iadd_imm_s(address, i64::from(place.offset + first.0));
        let (watcher, site, bytes) = (self.field(context!(watcher)), self.int(site), self.int(bytes));
        let types = [types::I64, types::I32, types::I32, types::I64, types::I32, types::I64];
        let arguments = [watcher, site, lane, address, bytes, image];
        self.call_helper(touched as *const () as usize, &types, false, &arguments);
    }

    /// Writes who is told of the texels of a call.
    pub(super) fn fill_watcher(&mut self, call: Value) {
        let (watcher, site) = match self.texel_site {
            Some(site) => (self.field(context!(watcher)), site),
            None => (self.b.ins().iconst(types::I64, 0), 0),
        };
        let lane = match self.first {
            Some(first) => first,
            None => self.int(0),
        };
        let site = self.int(site);
        let words = [
            (watcher, std::mem::offset_of!(ImageCall, watcher)),
            (site, std::mem::offset_of!(ImageCall, site)),
            (lane, std::mem::offset_of!(ImageCall, lane)),
        ];
        for (word, offset) in words {
            self.b.ins().store(flags(), word, call, offset as i32);
        }
    }

    /// Tells that all invocations of the workgroup have reached a barrier.
    pub(super) fn tell_barrier(&mut self, flags: naga::Barrier) {
        if self.program.observed {
            let watcher = self.field(context!(watcher));
            let flags = self.int(flags.bits());
            self.call_helper(
                barrier as *const () as usize,
                &[types::I64, types::I32],
                false,
                &[watcher, flags],
            );
        }
    }
}
