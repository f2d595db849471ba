//! How machine code tells a recorder what it is about to access.
//!
//! Each invocation that runs tells by itself here: it goes on with a run, marks bytes, looks at cells (`cells.rs`), or
//! calls (`told.rs`). Where four run at once, `abreast.rs` tries first to tell for all of them.

use std::mem::offset_of;

use cranelift_codegen::ir::{
    Block, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Type, Value, condcodes::IntCC, types,
};
use cranelift_codegen::isa::CallConv;

use super::{
    code::{Emitter, NONE, context, flags},
    element::Element,
    helpers::ImageCalls,
    ir::{Bound, Id, Memory, Place, Site, Told},
    kept, rows,
    told::{self, APART, ASIDE, CHANGED_SHIFT, NO_KEY, ONCE, Open, PIECE, is_atomic},
};

/// A scalar that is accessed: its offset, its value and its bytes.
pub(super) type Part = (u32, Id, u32);

/// What is to be told.
pub(super) struct Access<'a> {
    pub(super) place: &'a Place,
    pub(super) site: u32,
    /// Scalars that lie behind each other.
    pub(super) chunks: Vec<Vec<Part>>,
    pub(super) leaves: &'a [(u32, Id)],
    pub(super) stores: bool,
    pub(super) told: Told,
    pub(super) is_atomic: bool,
}

/// One of the invocations that run at once: the lane of registers that it has, and its number in the workgroup.
#[derive(Clone, Copy)]
pub(super) struct Who {
    pub(super) lane: u8,
    pub(super) number: Value,
}

/// Where the indices of a place lead, and the first of them that is out of range with what it had to be below.
pub(super) struct Led {
    /// With indices out of range clamped, as the access itself has it.
    pub(super) address: Value,
    /// Not clamped, which is less to compute where all are known to be in range.
    exact: Value,
    /// Whether all are in range; nothing if there are none.
    pub(super) inside: Option<Value>,
    /// Not zero if something is bound, in an array of bindings.
    pub(super) bound: Option<Value>,
    index: Value,
    count: Value,
}

impl Emitter<'_, '_> {
    /// What is to be told of an access, if it is.
    fn access<'p>(&self, place: &'p Place, leaves: &'p [(u32, Id)], stores: bool) -> Option<Access<'p>> {
        let site = place.site?;
        if is_own(place) && place.indices.is_empty() {
            return None;
        }
        let mut chunks: Vec<Vec<Part>> = Vec::new();
        for (offset, id) in leaves {
            let part = (*offset, *id, self.program.num(*id).bytes());
            match chunks.last_mut() {
                Some(chunk) if chunk.last().is_some_and(|last| last.0 + last.2 == part.0) => chunk.push(part),
                _ => chunks.push(vec![part]),
            }
        }
        let words = leaves.iter().all(|(_, id)| self.program.num(*id).bytes() == PIECE);
        let Site { told, turn, kind, .. } = self.program.sites[site as usize];
        let told = match told {
            _ if !words => Told::Call,
            Told::Run if self.cells => Told::Cells,
            Told::Run if chunks.len() > 1 || turn.again || is_atomic(kind) => Told::Call,
            told => told,
        };
        Some(Access { place, site, chunks, leaves, stores, told, is_atomic: is_atomic(kind) })
    }

    /// Tells what is accessed next: scalars at byte offsets of a place.
    pub(super) fn tell(&mut self, place: &Place, leaves: &[(u32, Id)], stores: bool) {
        let Some(access) = self.access(place, leaves, stores) else { return };
        let end = self.b.create_block();
        // What is done once for the workgroup is told by its first invocation.
        if self.lanes == 1 || self.first.is_none() {
            let who = self.who(0);
            self.tell_one(&access, who, end);
            return;
        }
        self.tell_abreast(&access, end);
        self.each_told(|this, who, next| {
            this.tell_one(&access, who, next);
        });
        self.b.ins().jump(end, NONE);
        self.start(end);
    }

    /// Tells what is stored next, and stores it.
    pub(super) fn store_told(&mut self, place: &Place, from: &[(u32, Id)]) {
        let access = self.access(place, from, true).filter(|_| self.lanes == 4 && !is_own(place));
        let Some(access) = access else {
            self.tell(place, from, true);
            return self.store(place, from);
        };
        let [abreast, end] = [(); 2].map(|()| self.b.create_block());
        let reached = self.tell_abreast(&access, abreast);
        // What one has stored is what the next one finds.
        self.each_told(|this, who, next| {
            let told = this.b.create_block();
            let led = this.tell_one(&access, who, told);
            for condition in [led.bound, led.inside].into_iter().flatten() {
                this.only_if(condition, next);
            }
            this.store_lane(place, led.address, 0, from, who.lane);
            this.b.ins().jump(next, NONE);
            this.start(next);
        });
        self.b.ins().jump(end, NONE);
        if reached {
            self.start(abreast);
            self.store(place, from);
            self.b.ins().jump(end, NONE);
        }
        self.start(end);
    }

    /// Does something for each of four invocations that is active, one after the other. It goes on at the block that it is
    /// given.
    fn each_told(&mut self, mut act: impl FnMut(&mut Self, Who, Block)) {
        let bits = self.mask_value().map(|mask| self.bits(mask));
        for lane in 0..4 {
            let next = self.b.create_block();
            if let Some(bits) = bits {
                let active = self.b.create_block();
                self.if_bit(bits, lane.into(), active, next);
                self.start(active);
            }
            let who = self.who(lane);
            act(self, who, next);
        }
    }

    pub(super) fn who(&mut self, lane: u8) -> Who {
        let first = self.local_index();
        Who { lane, number: self.b.ins().iadd_imm_s(first, i64::from(lane)) }
    }

    /// Tells what one invocation accesses, and goes on at `after`.
    fn tell_one(&mut self, access: &Access<'_>, who: Who, after: Block) -> Led {
        let led = self.lead(access.place, who);
        if let (Told::Run, [chunk]) = (access.told, &*access.chunks) {
            self.go_on(access, chunk, who, &led, after);
        }
        self.tell_beyond(&led, access.site, who, after);
        if let Some(bound) = led.bound {
            self.only_if(bound, after);
        }
        match access.told {
            _ if is_own(access.place) => {}
            Told::Call | Told::Run => {
                let aside = if access.told == Told::Run { 0 } else { ASIDE };
                for chunk in &access.chunks {
                    self.tell_chunk(access, access.site | aside, who, led.address, chunk);
                }
            }
            Told::Bytes => self.mark_bytes(access, who, led.exact),
            Told::Cells => {
                for part in access.chunks.iter().flatten() {
                    self.look_at_cell(access, who, led.exact, *part);
                }
            }
        }
        self.b.ins().jump(after, NONE);
        self.start(after);
        led
    }

    /// Where the indices of a place lead an invocation.
    fn lead(&mut self, place: &Place, who: Who) -> Led {
        let element = self.told_element(place, who);
        let mut address = match element {
            Some(element) => element.pointer,
            None => self.base(place.memory),
        };
        let mut exact = address;
        let zero = self.int(0);
        let (mut inside, mut index, mut count) = (None, zero, zero);
        for at in &place.indices {
            let value = self.lane_of(at.id, who.lane);
            let most = match (element, at.bound) {
                (Some(element), Bound::Runtime) => element.count,
                _ => self.count(place.memory, at.bound),
            };
            let (next, in_range) = match element {
                Some(_) => {
                    let (next, in_range) = self.step(address, i64::from(at.stride), value, most);
                    (next, Some(in_range))
                }
                None => self.advance(address, place.memory, at, value),
            };
            address = next;
            let wide = self.b.ins().uextend(types::I64, value);
            let bytes = self.b.ins().imul_imm_s(wide, i64::from(at.stride));
            exact = self.b.ins().iadd(exact, bytes);
            let Some(in_range) = in_range else { continue };
            index = self.b.ins().select(in_range, index, value);
            count = self.b.ins().select(in_range, count, most);
            inside = self.both(inside, Some(in_range));
        }
        Led { address, exact, inside, bound: element.map(|element| element.bound), index, count }
    }

    /// What an invocation has chosen from an array of bindings; who is called finds it in the site's [`Open`].
    fn told_element(&mut self, place: &Place, who: Who) -> Option<Element> {
        let (Memory::Element { slot, index, .. }, Some(site)) = (place.memory, place.site) else {
            return None;
        };
        let index = self.lane_of(index, who.lane);
        let open = self.open(site);
        self.b.ins().store(flags(), index, open, offset_of!(Open, element) as i32);
        Some(self.element(slot, index))
    }

    /// Where an index is out of range, tells that and goes on at `after`.
    fn tell_beyond(&mut self, led: &Led, site: u32, who: Who, after: Block) {
        let Some(inside) = led.inside else { return };
        let [within, outside] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(inside, within, NONE, outside, NONE);
        self.b.set_cold_block(outside);
        self.start(outside);
        let (watcher, site) = (self.field(context!(watcher)), self.int(site));
        let types = [types::I64, types::I32, types::I32, types::I32, types::I32];
        let arguments = [watcher, site, who.number, led.index, led.count];
        match kept::beyond() {
            Some(address) => self.call_kept(address, &types, &arguments),
            None => drop(self.call_helper(told::beyond as *const () as usize, &types, false, &arguments)),
        }
        self.b.ins().jump(after, NONE);
        self.start(within);
    }

    /// Tells of neighbouring scalars by a call.
    pub(super) fn tell_chunk(
        &mut self,
        access: &Access<'_>,
        site: u32,
        who: Who,
        address: Value,
        chunk: &[Part],
    ) {
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return };
        let bytes = last.0 + last.2 - first.0;
        let image = if access.stores {
            let data = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
            let slot = self.b.create_sized_stack_slot(data);
            let image = self.b.ins().stack_addr(types::I64, slot, 0);
            for (offset, id, _) in chunk {
                let value = self.stored(access, *id, who.lane);
                self.write_scalar(self.program.num(*id), value, (image, (offset - first.0) as i32));
            }
            image
        } else {
            self.b.ins().iconst(types::I64, 0)
        };
        let address = self.b.ins().iadd_imm_s(address, i64::from(access.place.offset + first.0));
        let site = if self.first.is_none() { site | ONCE } else { site };
        let (watcher, site, bytes) = (self.field(context!(watcher)), self.int(site), self.int(bytes));
        let types = [types::I64, types::I32, types::I32, types::I64, types::I32, types::I64];
        let arguments = [watcher, site, who.number, address, bytes, image];
        match kept::touched() {
            Some(address) => self.call_kept(address, &types, &arguments),
            None => drop(self.call_helper(told::touched as *const () as usize, &types, false, &arguments)),
        }
    }

    /// What an invocation stores of a value.
    fn stored(&mut self, access: &Access<'_>, id: Id, lane: u8) -> Value {
        match rows::tuple(access.leaves).filter(|tuple| self.rows.contains(tuple[0])) {
            Some(tuple) => {
                let row = self.row(tuple, lane);
                let component = tuple.iter().position(|own| *own == id).unwrap_or(0);
                self.lane(row, self.program.num(id), component as u8)
            }
            None => self.lane_of(id, lane),
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
    fn go_on(&mut self, access: &Access<'_>, chunk: &[Part], who: Who, led: &Led, after: Block) {
        let Some(first) = chunk.first() else { return };
        let address = self.b.ins().iadd_imm_s(led.address, i64::from(access.place.offset + first.0));
        let open = self.open(access.site);
        let mut key = self.key(who, address);
        if access.stores
            && let Some(changes) = self.changes(access, who, address, chunk)
        {
            let changes = self.b.ins().ishl_imm_u(changes, i64::from(CHANGED_SHIFT));
            key = self.b.ins().iadd(key, changes);
        }
        if let Some(inside) = led.inside {
            let none = self.b.ins().iconst(types::I64, NO_KEY as i64);
            key = self.b.ins().select(inside, key, none);
        }
        let key_at = offset_of!(Open, key) as i32;
        let expected = self.b.ins().load(types::I64, flags(), open, key_at);
        let same = self.b.ins().icmp(IntCC::Equal, key, expected);
        let [next, call] = [(); 2].map(|()| self.b.create_block());
        self.b.ins().brif(same, next, NONE, call, NONE);
        self.start(next);
        let step = self.b.ins().load(types::I64, flags(), open, offset_of!(Open, step) as i32);
        let following = self.b.ins().iadd(key, step);
        self.b.ins().store(flags(), following, open, key_at);
        self.b.ins().jump(after, NONE);
        self.b.set_cold_block(call);
        self.start(call);
    }

    /// The key of an access that changes nothing.
    pub(super) fn key(&mut self, who: Who, address: Value) -> Value {
        let group = self.field(context!(first_invocation));
        let invocation = self.b.ins().iadd(group, who.number);
        let invocation = self.b.ins().uextend(types::I64, invocation);
        let apart = self.b.ins().iconst(types::I64, APART as i64);
        let apart = self.b.ins().imul(invocation, apart);
        self.b.ins().iadd(address, apart)
    }

    /// 1 if stores change all words, 0 if they change none, and something else otherwise; nothing without stores.
    pub(super) fn changes(
        &mut self,
        access: &Access<'_>,
        who: Who,
        address: Value,
        parts: &[Part],
    ) -> Option<Value> {
        let first = parts.first()?.0;
        let (mut all, mut any): (Option<Value>, Option<Value>) = (None, None);
        for (offset, id, _) in parts {
            let value = self.stored(access, *id, who.lane);
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
        let (watcher, first) = (self.field(context!(watcher)), self.local_index());
        let site = self.int(site);
        let words = [
            (watcher, offset_of!(ImageCalls, watcher)),
            (site, offset_of!(ImageCalls, site)),
            (first, offset_of!(ImageCalls, lane)),
        ];
        for (word, offset) in words {
            self.b.ins().store(flags(), word, call, offset as i32);
        }
    }

    /// Tells that all invocations of the workgroup have reached a barrier.
    pub(super) fn tell_barrier(&mut self, flags: naga::Barrier) {
        if self.program.observed {
            let (watcher, flags) = (self.field(context!(watcher)), self.int(flags.bits()));
            let types = [types::I64, types::I32];
            self.call_helper(told::barrier as *const () as usize, &types, false, &[watcher, flags]);
        }
    }
}

/// Whether a place is in an array of each invocation.
fn is_own(place: &Place) -> bool {
    matches!(place.memory, Memory::Array(_))
}
