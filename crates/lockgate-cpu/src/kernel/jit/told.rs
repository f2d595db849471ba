//! How machine code tells a recorder what an invocation touches.
//!
//! Code for [`Lanes::Watched`](super::Lanes) runs one invocation at a time and calls [`touched`] before each scalar that
//! it reads or writes, and [`barrier`] once for the workgroup. Deliberately absent: texels, for which the interpreter
//! stands in. Tested by `tests/observe.rs` against the interpreter's record.

use cranelift_codegen::ir::{InstBuilder, types};
use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Span};

use super::{
    super::{
        group_at, memory,
        watch::{At, Recorder, Space},
    },
    code::{Context, Emitter, context},
    ir::{Bound, Id, Memory, Place, Program, Site},
    lower::{Lowered, Lowering},
};

/// What machine code calls with.
pub(super) struct Watcher<'a> {
    recorder: &'a mut Recorder,
    sites: &'a [Site],
    /// The recorder's numbers of the sites.
    numbers: Vec<Option<u16>>,
    workgroup_size: [u32; 3],
    group: [u32; 3],
    shared: u64,
}

/// One scalar, as machine code describes it.
#[repr(C)]
struct Touched {
    site: u32,
    lane: u32,
    bytes: u32,
    /// Whether `bits` are stored.
    stores: u32,
    /// Whether all indices are in range; if not, the last that is not, and what it had to be below.
    inside: u32,
    index: u32,
    count: u32,
}

impl<'a> Watcher<'a> {
    pub(super) fn new(recorder: &'a mut Recorder, program: &'a Program) -> Self {
        let numbers = vec![None; program.sites.len()];
        let (sites, workgroup_size) = (&program.sites, program.workgroup_size);
        Watcher { recorder, sites, numbers, workgroup_size, group: [0; 3], shared: 0 }
    }

    pub(super) fn begin_group(&mut self, number: u64, context: &Context) {
        self.group = context.group;
        self.shared = context.shared as u64;
        self.recorder.begin_group(number);
    }

    fn touched(&mut self, of: &Touched, address: *mut u8, bits: u64) {
        let Some(site) = self.sites.get(of.site as usize) else { return };
        let local = group_at(self.workgroup_size, of.lane.into());
        let invocation = std::array::from_fn(|i| {
            self.group[i].wrapping_mul(self.workgroup_size[i]).wrapping_add(local[i])
        });
        let Site { span, kind, space, .. } = *site;
        let variable = || site.variable.clone();
        let at = At { span, kind, space, variable: &variable, lane: of.lane, invocation };
        if of.inside == 0 {
            self.recorder.out_of_bounds(&at, of.index.into(), of.count.into());
            if !matches!(kind, ObservedKind::Read | ObservedKind::AtomicLoad) {
                return;
            }
        }
        if space == Space::Invocation {
            return;
        }
        let changed = match kind {
            ObservedKind::Write => {
                // SAFETY: machine code stores there next, which `Kernel::run` has the caller's promise for.
                let old = unsafe { memory::load(address, of.bytes) };
                old != bits
            }
            _ => kind == ObservedKind::Atomic && of.stores == 0,
        };
        let number = *self.numbers[of.site as usize].get_or_insert_with(|| self.recorder.site(&at));
        let start = if space == Space::Workgroup { self.shared } else { 0 };
        self.recorder.touch_at(number, &at, address as u64 - start, of.bytes, changed);
    }
}

extern "C" fn touched(watcher: *mut Watcher<'_>, address: *mut u8, bits: u64, of: *const Touched) {
    // SAFETY: machine code passes on the watcher that it was called with, which nothing else uses meanwhile.
    let watcher = unsafe { &mut *watcher };
    // SAFETY: the description lies in the frame of the caller.
    let of = unsafe { &*of };
    watcher.touched(of, address, bits);
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
            Memory::Immediates | Memory::Constants => return place,
        };
        let variable = variable.unwrap_or_default();
        self.program.sites.push(Site { span, kind, space, variable });
        Place { site: Some(self.program.sites.len() as u32 - 1), ..place }
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
        let mut address = self.base(place.memory);
        let zero = self.int(0);
        let (mut inside, mut index, mut count) = (self.int(1), zero, zero);
        for at in &place.indices {
            let value = self.scalar(at.id);
            let most = match at.bound {
                Bound::Known(count) => self.int(count),
                Bound::Runtime => self.count(place.memory, at.bound),
            };
            let (next, in_range) = self.advance(address, place.memory, at, value);
            address = next;
            inside = self.b.ins().select(in_range, inside, zero);
            index = self.b.ins().select(in_range, index, value);
            count = self.b.ins().select(in_range, count, most);
        }
        let lane = self.first.unwrap_or(zero);
        let (site, stores_word) = (self.int(site), self.int(stores.into()));
        for (offset, id) in leaves {
            let num = self.program.num(*id);
            let bytes = self.int(num.bytes());
            let words = [site, lane, bytes, stores_word, inside, index, count];
            let of = self.frame_of(&words);
            let bits = if stores { self.bits_of(*id) } else { self.b.ins().iconst(types::I64, 0) };
            let scalar = self.b.ins().iadd_imm_s(address, i64::from(place.offset + offset));
            let watcher = self.field(context!(watcher));
            self.call_helper(
                touched as *const () as usize,
                &[types::I64; 4],
                false,
                &[watcher, scalar, bits, of],
            );
        }
    }

    /// The words of a [`Touched`] in memory of the frame.
    fn frame_of(&mut self, words: &[cranelift_codegen::ir::Value]) -> cranelift_codegen::ir::Value {
        use cranelift_codegen::ir::{StackSlotData, StackSlotKind};
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size_of::<Touched>() as u32, 3);
        let slot = self.b.create_sized_stack_slot(data);
        for (at, word) in words.iter().enumerate() {
            self.b.ins().stack_store(types::I64, *word, slot, 4 * at as i32);
        }
        self.b.ins().stack_addr(types::I64, slot, 0)
    }

    /// A value as it lies in memory.
    fn bits_of(&mut self, id: Id) -> cranelift_codegen::ir::Value {
        let value = self.scalar(id);
        let ty = self.b.func.dfg.value_type(value);
        let integer = match ty {
            types::F32 => self.cast(types::I32, value),
            types::F64 => self.cast(types::I64, value),
            _ => value,
        };
        if self.b.func.dfg.value_type(integer) == types::I64 {
            return integer;
        }
        self.b.ins().uextend(types::I64, integer)
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
