//! How machine code tells a recorder what an invocation touches.
//!
//! Code for [`Lanes::Watched`](super::Lanes) runs one invocation at a time and calls [`barrier`] once for the workgroup. Each
//! place of the source has an [`Open`] with what it does right now; as long as it goes on with that, machine code only
//! moves the end, and otherwise calls [`touched`]. Texels are told by the calls that fetch them. Tested by
//! `tests/observe.rs` against the interpreter's record.

use cranelift_codegen::ir::{
    Block, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value, condcodes::IntCC, types,
};
use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Span};

use super::{
    super::{
        binding::{Binding, TextureBinding},
        memory, sample,
        watch::{At, Recorder, Run, Space},
    },
    code::{Context, Emitter, NONE, context, flags},
    helpers::{ImageCall, field, sample_point},
    ir::{Id, ImageOp, Memory, Place, Program, Site, Told},
    lower::{Lowered, Lowering},
};

/// What a place does right now, for machine code to go on with.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Open {
    /// The first byte; of a run, where invocation 0 would be.
    start: u64,
    /// The byte behind the last; of a run, the next invocation, counted from 1. 0: nothing is open.
    end: u64,
    /// Bytes from invocation to invocation.
    stride: u64,
    /// Whether stores change what was there.
    changed: u64,
    first: u32,
    bytes: u32,
    epoch: u32,
}

/// Nothing that an address or an invocation goes on with.
const CLOSED: Open = Open { start: u64::MAX, end: 0, stride: 0, changed: 0, first: 0, bytes: 0, epoch: 0 };

/// What machine code calls with.
pub(super) struct Watcher<'a> {
    recorder: &'a mut Recorder,
    sites: &'a [Site],
    /// The recorder's numbers of the sites.
    numbers: Vec<Option<u16>>,
    open: Vec<Open>,
    shared: u64,
}

/// Bytes that are compared at once to see whether a store changes them.
const PIECE: u32 = 4;

/// Set in the number of a site whose access is not what its [`Open`] stands for.
const ASIDE: u32 = 1 << 31;

impl<'a> Watcher<'a> {
    pub(super) fn new(recorder: &'a mut Recorder, program: &'a Program) -> Self {
        recorder.defer();
        let (sites, count) = (&program.sites, program.sites.len());
        Watcher { recorder, sites, numbers: vec![None; count], open: vec![CLOSED; count], shared: 0 }
    }

    pub(super) fn begin_group(&mut self, number: u64, context: &mut Context) {
        // Runs go on into the next workgroup only where it begins as this one did.
        let bound = self.recorder.epoch(Space::Slot(0)) != 0;
        self.close(|space| bound || space == Space::Workgroup);
        self.shared = context.shared as u64;
        self.recorder.begin_group(number);
        context.open = self.open.as_mut_ptr().cast();
        context.first_invocation = [self.recorder.first_invocation(), 0, 0];
    }

    /// The recorder's number of a site.
    fn number(&mut self, site: u32, lane: u32) -> u16 {
        match self.numbers[site as usize] {
            Some(own) => own,
            None => {
                let place = &self.sites[site as usize];
                let own = self.recorder.site(&at(place, lane, &|| place.variable.clone()));
                *self.numbers[site as usize].insert(own)
            }
        }
    }

    /// `image`: the bytes that are stored, if they are.
    fn touched(&mut self, number: u32, lane: u32, address: *mut u8, bytes: u32, image: *const u8) {
        let (aside, number) = (number & ASIDE != 0, number & !ASIDE);
        let Some(site) = self.sites.get(number as usize) else { return };
        let Site { kind, space, told, .. } = *site;
        let told = if aside { Told::Call } else { told };
        let own = self.number(number, lane);
        let start = if space == Space::Workgroup { self.shared } else { 0 };
        let first = address as u64 - start;
        let still = matches!(space, Space::Slot(slot) if self.recorder.is_still(slot));
        if told == Told::Bytes && still {
            self.close_bytes(number);
            self.open[number as usize] = Open { start: first, end: first + u64::from(bytes), ..CLOSED };
        } else if kind != ObservedKind::Write {
            if told == Told::Run {
                return self.go_on(number, lane, address, (bytes, false));
            }
            let looks = kind == ObservedKind::Atomic && image.is_null();
            self.recorder.touch_at((own, kind, space), lane, first, bytes, looks);
        } else {
            let pieces = (0..bytes).step_by(PIECE as usize);
            let changes = |offset: u32| {
                // SAFETY: machine code stores there next, which `Kernel::run` has the caller's promise for.
                let old = unsafe { memory::load(address.wrapping_add(offset as usize), PIECE) };
                // SAFETY: as many bytes lie in the frame of the caller.
                let new = unsafe { memory::load(image.wrapping_add(offset as usize), PIECE) };
                old != new
            };
            let changed = pieces.clone().filter(|offset| changes(*offset)).count() as u32;
            if told == Told::Run && (changed == 0 || changed * PIECE == bytes) {
                return self.go_on(number, lane, address, (bytes, changed != 0));
            }
            for offset in pieces {
                let at = first + u64::from(offset);
                self.recorder.touch_at((own, kind, space), lane, at, PIECE, changes(offset));
            }
        }
        self.relieve();
    }

    /// A place that makes runs touches something else than its run goes on with.
    fn go_on(&mut self, number: u32, lane: u32, address: *mut u8, (bytes, changed): (u32, bool)) {
        let invocation = self.recorder.first_invocation() + lane;
        let address = address as u64;
        let Open { start, end, stride, first, changed: before, .. } = self.open[number as usize];
        let origin = |stride: u64| address.wrapping_sub(stride.wrapping_mul(invocation.into()));
        if end == u64::from(invocation) && first + 1 == invocation && before == u64::from(changed) {
            // The second of a run says how far they are apart.
            let step = address.wrapping_sub(start.wrapping_add(stride.wrapping_mul(first.into())));
            if step <= u64::from(u32::MAX) {
                let open = &mut self.open[number as usize];
                (open.start, open.end, open.stride) = (origin(step), end + 1, step);
                return;
            }
        }
        self.close_run(number);
        // What comes is most likely as far apart as what was before.
        let stride = if stride == 0 { u64::from(bytes) } else { stride };
        let epoch = self.recorder.epoch(self.sites[number as usize].space);
        self.open[number as usize] = Open {
            start: origin(stride),
            end: u64::from(invocation) + 1,
            stride,
            changed: changed.into(),
            first: invocation,
            bytes,
            epoch,
        };
        self.relieve();
    }

    /// Settles what has been recorded if it is too much.
    fn relieve(&mut self) {
        if self.recorder.is_overfull() {
            self.close(|_| true);
            self.recorder.end_part();
        }
    }

    /// Closes what places in some spaces do.
    fn close(&mut self, which: impl Fn(Space) -> bool) {
        for (number, site) in (0u32..).zip(self.sites).filter(|(_, site)| which(site.space)) {
            match site.told {
                Told::Call => {}
                Told::Bytes => self.close_bytes(number),
                Told::Run => self.close_run(number),
            }
        }
    }

    fn close_bytes(&mut self, number: u32) {
        let open = std::mem::replace(&mut self.open[number as usize], CLOSED);
        if let Some(own) = self.numbers[number as usize].filter(|_| open.end != 0) {
            self.recorder.add_bytes(own, open.start, open.end - open.start);
        }
    }

    fn close_run(&mut self, number: u32) {
        let open = self.open[number as usize];
        self.open[number as usize] = Open { stride: open.stride, ..CLOSED };
        let Some(site) = self.numbers[number as usize].filter(|_| open.end != 0) else { return };
        let shared = if self.sites[number as usize].space == Space::Workgroup { self.shared } else { 0 };
        let Open { stride, first, bytes, epoch, .. } = open;
        let start = open.start.wrapping_add(stride.wrapping_mul(first.into())).wrapping_sub(shared);
        let count = open.end as u32 - first;
        if stride == u64::from(bytes) {
            self.recorder.add_bytes(site, start, stride * u64::from(count));
        } else {
            let each = |number: u32| start + stride * u64::from(number);
            (0..count).for_each(|number| self.recorder.add_bytes(site, each(number), bytes.into()));
        }
        let (changed, stride) = (open.changed != 0, stride as u32);
        self.recorder.add_run(Run { site, changed, epoch, first, count, start, stride, bytes });
    }

    fn barrier(&mut self, flags: naga::Barrier) {
        let bound = flags.intersects(naga::Barrier::STORAGE | naga::Barrier::TEXTURE);
        let own = flags.contains(naga::Barrier::WORK_GROUP);
        self.close(|space| if space == Space::Workgroup { own } else { bound });
        self.recorder.barrier(flags);
    }
}

impl Drop for Watcher<'_> {
    /// However the part of the launch has ended, it is recorded.
    fn drop(&mut self) {
        self.close(|_| true);
        self.recorder.end_part();
    }
}

/// Whether an operation on a texture touches texels.
fn touches(op: ImageOp) -> bool {
    !matches!(op, ImageOp::Size | ImageOp::Levels | ImageOp::Layers)
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
                    let changed = site.kind == ObservedKind::Write;
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
    watcher.barrier(naga::Barrier::from_bits_truncate(flags));
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
            Memory::Immediates | Memory::Constants => return place,
        };
        let variable = variable.unwrap_or_default();
        let told = match (&place.memory, kind) {
            (Memory::Slot { readonly: true, .. }, ObservedKind::Read) => Told::Bytes,
            (Memory::Slot { .. } | Memory::Shared, ObservedKind::Read | ObservedKind::Write) => Told::Run,
            _ => Told::Call,
        };
        self.program.sites.push(Site { span, kind, space, variable, told });
        Place { site: Some(self.program.sites.len() as u32 - 1), ..place }
    }

    /// The site of an operation on a texture.
    pub(super) fn texel_site(&mut self, op: ImageOp, slot: u32) -> Option<u32> {
        if !self.program.observed || !touches(op) {
            return None;
        }
        let kind = if op == ImageOp::Store { ObservedKind::Write } else { ObservedKind::Read };
        let variable = self.globals.slots.get(slot as usize).map(|slot| slot.name.clone());
        let (span, space, variable) = (self.at, Space::Slot(slot), variable.unwrap_or_default());
        self.program.sites.push(Site { span, kind, space, variable, told: Told::Call });
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
            for (number, chunk) in chunks.iter().enumerate() {
                let words = chunk.iter().all(|(_, _, bytes)| *bytes == PIECE);
                let known = number == 0 && words;
                let told = if known { self.program.sites[site as usize].told } else { Told::Call };
                let site = if known { site } else { site | ASIDE };
                self.tell_chunk(place, (site, lane, told), address, chunk, stores);
            }
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
        (site, lane, told): (u32, Value, Told),
        address: Value,
        chunk: &[(u32, Id, u32)],
        stores: bool,
    ) {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return };
        let bytes = last.0 + last.2 - first.0;
        let address = self.b.ins().iadd_imm_s(address, i64::from(place.offset + first.0));
        let after = self.b.create_block();
        match told {
            Told::Call => {}
            Told::Bytes => self.go_on_with_bytes(site, address, bytes, after),
            Told::Run => {
                let values = if stores { chunk } else { &[] };
                self.go_on_with_run((site, lane), address, values, after);
            }
        }
        let image = if stores {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
            let slot = self.b.create_sized_stack_slot(data);
            for (offset, id, _) in chunk {
                let value = self.scalar(*id);
                self.b.ins().stack_store(types::I64, value, slot, (offset - first.0) as i32);
            }
            self.b.ins().stack_addr(types::I64, slot, 0)
        } else {
            self.b.ins().iconst(types::I64, 0)
        };
        let (watcher, site, bytes) = (self.field(context!(watcher)), self.int(site), self.int(bytes));
        let types = [types::I64, types::I32, types::I32, types::I64, types::I32, types::I64];
        let arguments = [watcher, site, lane, address, bytes, image];
        self.call_helper(touched as *const () as usize, &types, false, &arguments);
        self.b.ins().jump(after, NONE);
        self.start(after);
    }

    /// The address of a site's [`Open`].
    fn open(&mut self, site: u32) -> Value {
        let all = self.field(context!(open));
        self.b.ins().iadd_imm_s(all, i64::from(site) * size_of::<Open>() as i64)
    }

    /// Goes to `after` if the bytes are inside those of the site or right behind them.
    fn go_on_with_bytes(&mut self, site: u32, address: Value, bytes: u32, after: Block) {
        let (start_at, end_at) =
            (std::mem::offset_of!(Open, start) as i32, std::mem::offset_of!(Open, end) as i32);
        let open = self.open(site);
        let start = self.b.ins().load(types::I64, flags(), open, start_at);
        let end = self.b.ins().load(types::I64, flags(), open, end_at);
        let past = self.b.ins().iadd_imm_s(address, i64::from(bytes));
        let [other, next, call] = [(); 3].map(|()| self.b.create_block());
        let from = self.b.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, address, start);
        let to = self.b.ins().icmp(IntCC::UnsignedLessThanOrEqual, past, end);
        let inside = self.b.ins().band(from, to);
        self.b.ins().brif(inside, after, NONE, other, NONE);
        self.start(other);
        let follows = self.b.ins().icmp(IntCC::Equal, address, end);
        self.b.ins().brif(follows, next, NONE, call, NONE);
        self.b.set_cold_block(call);
        self.start(next);
        self.b.ins().store(flags(), past, open, end_at);
        self.b.ins().jump(after, NONE);
        self.start(call);
    }

    /// Goes to `after` if the invocation goes on with the run of the site. `values` are words that are stored.
    fn go_on_with_run(
        &mut self,
        (site, lane): (u32, Value),
        address: Value,
        values: &[(u32, Id, u32)],
        after: Block,
    ) {
        let open = self.open(site);
        let field =
            |emitter: &mut Self, at: usize| emitter.b.ins().load(types::I64, flags(), open, at as i32);
        let [start, end, stride] = [
            std::mem::offset_of!(Open, start),
            std::mem::offset_of!(Open, end),
            std::mem::offset_of!(Open, stride),
        ]
        .map(|at| field(self, at));
        let group = self.field(context!(first_invocation));
        let invocation = self.b.ins().iadd(group, lane);
        let invocation = self.b.ins().uextend(types::I64, invocation);
        let offset = self.b.ins().imul(invocation, stride);
        let origin = self.b.ins().isub(address, offset);
        let elsewhere = self.b.ins().bxor(origin, start);
        let another = self.b.ins().bxor(invocation, end);
        let mut differs = self.b.ins().bor(elsewhere, another);
        if let Some(changes) = self.changes(address, values) {
            let changed = field(self, std::mem::offset_of!(Open, changed));
            let unlike = self.b.ins().bxor(changed, changes);
            differs = self.b.ins().bor(differs, unlike);
        }
        let [next, call] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(differs, call, NONE, next, NONE);
        self.b.set_cold_block(call);
        self.start(next);
        let more = self.b.ins().iadd_imm_s(invocation, 1);
        self.b.ins().store(flags(), more, open, std::mem::offset_of!(Open, end) as i32);
        self.b.ins().jump(after, NONE);
        self.start(call);
    }

    /// 1 if stores change all words, 0 if they change none, and something else otherwise; nothing without stores.
    fn changes(&mut self, address: Value, values: &[(u32, Id, u32)]) -> Option<Value> {
        let first = values.first()?.0;
        let (mut all, mut any): (Option<Value>, Option<Value>) = (None, None);
        for (offset, id, _) in values {
            let value = self.scalar(*id);
            let new = match self.b.func.dfg.value_type(value) {
                types::I32 => value,
                _ => self.b.ins().bitcast(types::I32, MemFlagsData::new(), value),
            };
            let old = self.b.ins().load(types::I32, flags(), address, (offset - first) as i32);
            let changes = self.b.ins().icmp(IntCC::NotEqual, old, new);
            all = Some(all.map_or(changes, |all| self.b.ins().band(all, changes)));
            any = Some(any.map_or(changes, |any| self.b.ins().bor(any, changes)));
        }
        // Both 0, both 1, or 0 and 1.
        let (all, any) = (self.b.ins().uextend(types::I64, all?), self.b.ins().uextend(types::I64, any?));
        let mixed = self.b.ins().bxor(all, any);
        let mixed = self.b.ins().ishl_imm_u(mixed, 1);
        Some(self.b.ins().bor(any, mixed))
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
