//! How machine code tells a recorder what an invocation touches.
//!
//! Code for [`Lanes::Watched`](super::Lanes) runs one invocation at a time and calls [`barrier`] once for the workgroup. Each
//! place of the source has an [`Open`] with what it does right now; as long as it goes on with that, machine code only
//! moves the end, and otherwise calls [`touched`]. Where it has no such order, code looks at cells (`cells.rs`). Texels are told by the calls that fetch them. Tested by
//! `tests/observe.rs` against the interpreter's record.

use cranelift_codegen::ir::{
    Block, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Type, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::CallConv;
use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Span};

use super::{
    super::{
        binding::{Binding, Launch, TextureBinding},
        memory, sample,
        watch::{At, Recorder, Run, Space, View},
    },
    code::{Context, Emitter, NONE, context, flags},
    helpers::{ImageCall, ImageCalls, field, sample_point},
    ir::{Id, ImageOp, Memory, Place, Program, Site, Told},
    kept,
    lower::{Lowered, Lowering},
};

/// What a place does right now, for machine code to go on with.
///
/// In a run, machine code knows the `key` of the next access and how far apart keys are: a key is an address and an
/// invocation in one number, so that one comparison is enough. Otherwise it looks at what `view` says itself.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Open {
    /// The key of the next access.
    key: u64,
    step: u64,
    pub(super) view: View,
    /// The address of the first access.
    start: u64,
    /// The key of the first access.
    first_key: u64,
    stride: u64,
    changed: bool,
    first: u32,
    /// Of one access. 0: nothing is open.
    bytes: u32,
    epoch: u32,
    stretch: u32,
}

/// Nothing that machine code goes on with.
const CLOSED: Open = Open {
    key: 2,
    step: 0,
    view: View { bytes: 0, cells: 0, readers: 0, mark: 0, ground: 0, nothing: 0 },
    start: u64::MAX,
    first_key: 2,
    stride: 0,
    changed: false,
    first: 0,
    bytes: 0,
    epoch: 0,
    stretch: 0,
};

/// What a key counts for each invocation. It is odd, and its multiples keep so far apart that no two keys of one launch
/// are the same, unless it has some 2^28 invocations and luck.
const APART: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bits of a key that say which of a store's words change.
const CHANGED_SHIFT: u32 = 62;
/// A key that no run has: of an access out of range.
const NO_KEY: u64 = 1;

fn key(address: u64, invocation: u32, changed: bool) -> u64 {
    address
        .wrapping_add(u64::from(invocation).wrapping_mul(APART))
        .wrapping_add(u64::from(changed) << CHANGED_SHIFT)
}

impl Open {
    /// How many accesses a run has: how often `step` leads from the first key to the next one.
    fn count(&self) -> u32 {
        // Newton's inverse of an odd number: each round doubles the bits that are right.
        let inverse = (0..6).fold(self.step, |inverse, _| {
            inverse.wrapping_mul(2u64.wrapping_sub(self.step.wrapping_mul(inverse)))
        });
        self.key.wrapping_sub(self.first_key).wrapping_mul(inverse) as u32
    }

    /// A run of one access.
    fn run(
        address: u64,
        invocation: u32,
        changed: bool,
        (bytes, stride): (u32, u64),
        (epoch, stretch): (u32, u32),
    ) -> Open {
        let (first_key, step) = (key(address, invocation, changed), stride.wrapping_add(APART));
        let key = first_key.wrapping_add(step);
        Open {
            key,
            step,
            view: View::default(),
            start: address,
            first_key,
            stride,
            changed,
            first: invocation,
            bytes,
            epoch,
            stretch,
        }
    }
}

/// What machine code calls with.
pub(super) struct Watcher<'a> {
    recorder: &'a mut Recorder,
    sites: &'a [Site],
    /// The recorder's numbers of the sites.
    numbers: Vec<Option<u16>>,
    open: Vec<Open>,
    shared: u64,
    /// The recorder's phases of bound memory and of the workgroup's own.
    phases: [(u64, u64); 2],
}

/// Bytes that are compared at once to see whether a store changes them.
pub(super) const PIECE: u32 = 4;

/// Bytes of a cell.
pub(super) const CELL: u64 = size_of::<[u64; 2]>() as u64;

/// Set in the number of a site whose access is not what its [`Open`] stands for.
const ASIDE: u32 = 1 << 31;

impl<'a> Watcher<'a> {
    pub(super) fn new(recorder: &'a mut Recorder, program: &'a Program, launch: &Launch<'_>) -> Self {
        let buffers = launch.bindings.iter().filter_map(|binding| match binding {
            Binding::Buffer(buffer) => Some(buffer.ptr as u64..buffer.ptr as u64 + buffer.len),
            _ => None,
        });
        recorder.begin_part(buffers, program.shared_bytes);
        let (sites, count) = (&program.sites, program.sites.len());
        let phases = [(0, 0); 2];
        Watcher { recorder, sites, numbers: vec![None; count], open: vec![CLOSED; count], shared: 0, phases }
    }

    pub(super) fn begin_group(&mut self, number: u64, context: &mut Context) {
        // Runs go on into the next workgroup only where it begins as this one did.
        if self.recorder.epoch() != 0 {
            self.close();
        }
        if self.shared != context.shared as u64 {
            self.shared = context.shared as u64;
            let shared = self.sites.iter().zip(&mut self.open);
            shared.filter(|(site, _)| site.space == Space::Workgroup).for_each(|(_, open)| *open = CLOSED);
        }
        self.recorder.begin_group(number);
        self.enter_phase();
        context.open = self.open.as_mut_ptr().cast();
        context.first_invocation = [self.recorder.first_invocation(), 0, 0];
    }

    /// Tells all places which phase runs.
    fn enter_phase(&mut self) {
        self.phases = self.recorder.phases();
        for (site, open) in self.sites.iter().zip(&mut self.open) {
            open.view.enter(self.phases[usize::from(site.space == Space::Workgroup)]);
        }
    }

    /// Whether the next workgroup looks at accesses of bound memory one by one. Once runs turn out not to be plain, all
    /// that come after them do.
    pub(super) fn needs_cells(&mut self) -> bool {
        if !self.recorder.is_deferred() {
            return true;
        }
        let mut needs = self.recorder.is_irregular();
        if !needs && self.recorder.is_due() {
            self.close();
            needs = !self.recorder.is_plain();
        }
        if needs {
            self.close();
            self.recorder.defer_no_more();
        }
        needs
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
        let runs = told == Told::Run && self.recorder.is_deferred();
        let own = self.number(number, lane);
        let start = if space == Space::Workgroup { self.shared } else { 0 };
        let first = address as u64 - start;
        let still = matches!(space, Space::Slot(slot) if self.recorder.is_still(slot));
        if told == Told::Cells || told == Told::Run && !runs || told == Told::Bytes && still {
            self.show(number, own, first);
        }
        if kind != ObservedKind::Write {
            if runs {
                return self.go_on(number, lane, address, (bytes, false));
            }
            let looks = kind == ObservedKind::Atomic && image.is_null();
            self.recorder.touch_at((own, kind, space), lane, first, bytes, looks);
        } else {
            let pieces = (0..bytes).step_by(PIECE as usize);
            let size = |offset: u32| PIECE.min(bytes - offset);
            let changes = |offset: u32| {
                // SAFETY: machine code stores there next, which `Kernel::run` has the caller's promise for.
                let old = unsafe { memory::load(address.wrapping_add(offset as usize), size(offset)) };
                // SAFETY: as many bytes lie in the frame of the caller.
                let new = unsafe { memory::load(image.wrapping_add(offset as usize), size(offset)) };
                old != new
            };
            let changed = pieces.clone().filter(|offset| changes(*offset)).count();
            if runs && (changed == 0 || changed == pieces.len()) {
                return self.go_on(number, lane, address, (bytes, changed != 0));
            }
            for offset in pieces {
                let at = first + u64::from(offset);
                self.recorder.touch_at((own, kind, space), lane, at, size(offset), changes(offset));
            }
        }
        self.relieve();
    }

    /// Lets machine code look at what a place touches by itself, if it cannot yet.
    fn show(&mut self, number: u32, own: u16, address: u64) {
        let view = &mut self.open[number as usize].view;
        if view.cells == 0 || view.readers == 0 {
            let space = self.sites[number as usize].space;
            *view = self.recorder.view(own, space, address);
            view.enter(self.phases[usize::from(space == Space::Workgroup)]);
            if space == Space::Workgroup && view.cells != 0 {
                // Machine code has addresses of this process.
                let offset = self.shared / u64::from(PIECE) * CELL;
                view.cells = view.cells.wrapping_sub(offset);
                if view.readers != 0 {
                    view.readers = view.readers.wrapping_sub(offset);
                }
            }
        }
    }

    /// A place that makes runs touches something else than its run goes on with.
    fn go_on(&mut self, number: u32, lane: u32, address: *mut u8, (bytes, changed): (u32, bool)) {
        let invocation = self.recorder.first_invocation() + lane;
        let address = address as u64;
        let open = self.open[number as usize];
        let second = open.bytes != 0 && open.count() == 1 && open.first + 1 == invocation;
        // The second of a run says how far they are apart.
        let stride = address.wrapping_sub(open.start);
        if second && open.changed == changed && stride <= u64::from(u32::MAX) && stride.is_multiple_of(2) {
            let run = Open::run(open.start, open.first, changed, (bytes, stride), (open.epoch, open.stretch));
            self.open[number as usize] = Open { key: run.key.wrapping_add(run.step), ..run };
            return;
        }
        self.close_run(number);
        // What comes is most likely as far apart as what was before.
        let stride = if open.stride == 0 { u64::from(bytes) } else { open.stride };
        let epoch = (self.recorder.epoch(), self.recorder.stretch());
        self.open[number as usize] = Open::run(address, invocation, changed, (bytes, stride), epoch);
        self.relieve();
    }

    /// Settles what has been recorded if it is too much.
    fn relieve(&mut self) {
        if self.recorder.is_overfull() {
            self.close();
            self.recorder.end_part();
        }
    }

    /// Closes all runs.
    fn close(&mut self) {
        for number in 0..self.sites.len() {
            if self.sites[number].told == Told::Run {
                self.close_run(number as u32);
            }
        }
    }

    fn close_run(&mut self, number: u32) {
        let open = self.open[number as usize];
        let Some(site) = self.numbers[number as usize].filter(|_| open.bytes != 0) else { return };
        self.open[number as usize] = Open { stride: open.stride, ..CLOSED };
        let Open { start, changed, stride, first, bytes, epoch, stretch, .. } = open;
        let count = open.count();
        if stride == u64::from(bytes) {
            self.recorder.add_bytes(site, start, stride * u64::from(count));
        } else {
            let each = |number: u32| start + stride * u64::from(number);
            (0..count).for_each(|number| self.recorder.add_bytes(site, each(number), bytes.into()));
        }
        let stride = stride as u32;
        self.recorder.add_run(Run { site, changed, epoch, stretch, first, count, start, stride, bytes });
    }

    fn barrier(&mut self, flags: naga::Barrier) {
        if flags.intersects(naga::Barrier::STORAGE | naga::Barrier::TEXTURE) {
            self.close();
        }
        self.recorder.barrier(flags);
        self.enter_phase();
    }
}

impl Drop for Watcher<'_> {
    /// However the part of the launch has ended, it is recorded.
    fn drop(&mut self) {
        self.close();
        self.recorder.end_part();
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

pub(super) extern "C" fn touched(
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

pub(super) extern "C" fn beyond(watcher: *mut Watcher<'_>, site: u32, lane: u32, index: u32, count: u32) {
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
            // Kernels with arrays of bindings are told by the interpreter.
            Memory::Element { .. } | Memory::Immediates | Memory::Constants => return place,
        };
        let variable = variable.unwrap_or_default();
        let told = match (&place.memory, kind) {
            (Memory::Slot { readonly: true, .. }, ObservedKind::Read) => Told::Bytes,
            (Memory::Slot { .. }, ObservedKind::Read | ObservedKind::Write) => Told::Run,
            (Memory::Shared, ObservedKind::Read | ObservedKind::Write) => Told::Cells,
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
        let kind = match op {
            ImageOp::Store => ObservedKind::Write,
            ImageOp::Atomic => ObservedKind::Atomic,
            _ => ObservedKind::Read,
        };
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

/// Where the indices of a place lead, and the first of them that is out of range with what it had to be below.
struct Led {
    /// With indices out of range clamped, as the access itself has it.
    address: Value,
    /// Not clamped, which is less to compute where all are known to be in range.
    exact: Value,
    /// Whether all are in range; nothing if there are none.
    inside: Option<Value>,
    index: Value,
    count: Value,
}

impl Emitter<'_, '_> {
    /// Tells what is accessed next: scalars at byte offsets of a place.
    pub(super) fn tell(&mut self, place: &Place, leaves: &[(u32, Id)], stores: bool) {
        let Some(site) = place.site else { return };
        let own = matches!(place.memory, Memory::Array(_));
        if own && place.indices.is_empty() {
            return;
        }
        let lane = match self.first {
            Some(first) => first,
            None => self.int(0),
        };
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
        let led = self.lead(place);
        let end = self.b.create_block();
        let words = leaves.iter().all(|(_, id)| self.program.num(*id).bytes() == PIECE);
        let told = match self.program.sites[site as usize].told {
            _ if !words => Told::Call,
            Told::Run if self.cells => Told::Cells,
            Told::Run if chunks.len() > 1 => Told::Call,
            told => told,
        };
        if let (Told::Run, [chunk]) = (told, &*chunks) {
            self.go_on(place, (site, lane), &led, (chunk, stores), end);
        }
        self.tell_beyond(&led, (site, lane), end);
        match told {
            _ if own => {}
            Told::Call | Told::Run => {
                for chunk in &chunks {
                    let site = if told == Told::Run { site } else { site | ASIDE };
                    self.tell_chunk(place, (site, lane), led.address, chunk, stores);
                }
            }
            Told::Bytes => self.mark_bytes(place, (site, lane), led.exact, &chunks),
            Told::Cells => {
                for word in chunks.iter().flatten() {
                    self.look_at_cell(place, (site, lane), led.exact, *word, stores);
                }
            }
        }
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// Where the indices of a place lead.
    fn lead(&mut self, place: &Place) -> Led {
        let mut address = self.base(place.memory);
        let mut exact = address;
        let zero = self.int(0);
        let (mut inside, mut index, mut count) = (None, zero, zero);
        for at in &place.indices {
            let value = self.scalar(at.id);
            let most = self.count(place.memory, at.bound);
            let (next, in_range) = self.advance(address, place.memory, at, value);
            address = next;
            let wide = self.b.ins().uextend(types::I64, value);
            let bytes = self.b.ins().imul_imm_s(wide, i64::from(at.stride));
            exact = self.b.ins().iadd(exact, bytes);
            let Some(in_range) = in_range else { continue };
            index = self.b.ins().select(in_range, index, value);
            count = self.b.ins().select(in_range, count, most);
            inside = self.both(inside, Some(in_range));
        }
        Led { address, exact, inside, index, count }
    }

    /// Where an index is out of range, tells that and goes on at `after`.
    fn tell_beyond(&mut self, led: &Led, (site, lane): (u32, Value), after: Block) {
        let Some(inside) = led.inside else { return };
        let [within, outside] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(inside, within, NONE, outside, NONE);
        self.b.set_cold_block(outside);
        self.start(outside);
        let (watcher, site) = (self.field(context!(watcher)), self.int(site));
        let types = [types::I64, types::I32, types::I32, types::I32, types::I32];
        let arguments = [watcher, site, lane, led.index, led.count];
        match kept::beyond() {
            Some(address) => self.call_kept(address, &types, &arguments),
            None => drop(self.call_helper(beyond as *const () as usize, &types, false, &arguments)),
        }
        self.b.ins().jump(after, NONE);
        self.start(within);
    }

    /// Neighbouring scalars, by offset, value and size.
    pub(super) fn tell_chunk(
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
        match kept::touched() {
            Some(address) => self.call_kept(address, &types, &arguments),
            None => drop(self.call_helper(touched as *const () as usize, &types, false, &arguments)),
        }
    }

    /// Calls what leaves all registers as they are.
    fn call_kept(&mut self, address: usize, parameters: &[Type], arguments: &[Value]) {
        let signature = self.b.import_signature(kept::signature(parameters, CallConv::PreserveAll));
        let address = self.b.ins().iconst(types::I64, address as i64);
        self.b.ins().call_indirect(signature, address, arguments);
    }

    /// What a site does right now.
    pub(super) fn open(&mut self, site: u32) -> Value {
        let all = self.field(context!(open));
        self.b.ins().iadd_imm_s(all, i64::from(site) * size_of::<Open>() as i64)
    }

    /// Goes to `after` if an invocation goes on with the run of its site; the code behind this is cold then.
    fn go_on(
        &mut self,
        place: &Place,
        (site, lane): (u32, Value),
        led: &Led,
        (chunk, stores): (&[(u32, Id, u32)], bool),
        after: Block,
    ) {
        let Some(first) = chunk.first() else { return };
        let address = self.b.ins().iadd_imm_s(led.address, i64::from(place.offset + first.0));
        let open = self.open(site);
        let values = if stores { chunk } else { &[] };
        let call = self.go_on_with_run(open, lane, address, (values, led.inside), after);
        self.b.set_cold_block(call);
        self.start(call);
    }

    /// Goes to `after` if the invocation goes on with the run of the site. `values` are words that are stored. Returns
    /// where to go on otherwise.
    fn go_on_with_run(
        &mut self,
        open: Value,
        lane: Value,
        address: Value,
        (values, inside): (&[(u32, Id, u32)], Option<Value>),
        after: Block,
    ) -> Block {
        let group = self.field(context!(first_invocation));
        let invocation = self.b.ins().iadd(group, lane);
        let invocation = self.b.ins().uextend(types::I64, invocation);
        let apart = self.b.ins().iconst(types::I64, APART as i64);
        let apart = self.b.ins().imul(invocation, apart);
        let mut key = self.b.ins().iadd(address, apart);
        if let Some(changes) = self.changes(address, values) {
            let changes = self.b.ins().ishl_imm_u(changes, i64::from(CHANGED_SHIFT));
            key = self.b.ins().iadd(key, changes);
        }
        if let Some(inside) = inside {
            let none = self.b.ins().iconst(types::I64, NO_KEY as i64);
            key = self.b.ins().select(inside, key, none);
        }
        let key_at = std::mem::offset_of!(Open, key) as i32;
        let expected = self.b.ins().load(types::I64, flags(), open, key_at);
        let same = self.b.ins().icmp(IntCC::Equal, key, expected);
        let [next, call] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(same, next, NONE, call, NONE);
        self.start(next);
        let step = self.b.ins().load(types::I64, flags(), open, std::mem::offset_of!(Open, step) as i32);
        let following = self.b.ins().iadd(key, step);
        self.b.ins().store(flags(), following, open, key_at);
        self.b.ins().jump(after, NONE);
        call
    }

    /// 1 if stores change all words, 0 if they change none, and something else otherwise; nothing without stores.
    pub(super) fn changes(&mut self, address: Value, values: &[(u32, Id, u32)]) -> Option<Value> {
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
    pub(super) fn fill_watcher(&mut self, call: Value, site: u32) {
        let watcher = self.field(context!(watcher));
        let lane = match self.first {
            Some(first) => first,
            None => self.int(0),
        };
        let site = self.int(site);
        let words = [
            (watcher, std::mem::offset_of!(ImageCalls, watcher)),
            (site, std::mem::offset_of!(ImageCalls, site)),
            (lane, std::mem::offset_of!(ImageCalls, lane)),
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
