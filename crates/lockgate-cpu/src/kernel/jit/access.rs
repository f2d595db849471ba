//! How memory is read and written: where a place is, what happens out of range, and how four lanes share it.
//!
//! An index out of range is clamped for a load and drops a store. Lanes with neighbouring elements use whole
//! registers; others go one by one. An array of each invocation keeps the lanes of a scalar next to each other.

use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, Value, condcodes::IntCC, types};

use super::{
    super::number::Num,
    code::{Emitter, NONE, Val, constant_flags, context, flags, scalar_type, vector_type},
    ir::{Bound, Id, Index, Memory, Place},
    narrow::is_wide,
    rows,
    shape::Shape,
};

/// Scalars at byte offsets of a place.
pub(super) type Leaves<'a> = &'a [(u32, Id)];

/// Neighbouring elements: where the first one starts, whether there may be none, and whether that was tested, so that a load
/// must not be moved ahead of it.
pub(super) struct Row {
    pub(super) start: Value,
    pub(super) offset: i32,
    doubtful: bool,
    tested: bool,
}

/// Where each lane's element starts.
type Addresses = [(Value, i32); 4];

impl Emitter<'_, '_> {
    pub(super) fn count(&mut self, memory: Memory, bound: Bound) -> Value {
        match (bound, memory) {
            (Bound::Known(count), _) => self.int(count),
            (Bound::Runtime, Memory::Slot { slot, .. }) => self.slots[slot as usize].count,
            (Bound::Runtime, _) => match self.common_element(memory) {
                Some(element) => element.count,
                None => self.int(1),
            },
        }
    }

    /// How many elements have three more behind them.
    fn whole_quads(&mut self, memory: Memory, bound: Bound) -> Value {
        match (bound, memory) {
            (Bound::Known(count), _) => self.int(count.saturating_sub(3)),
            (Bound::Runtime, Memory::Slot { slot, .. }) => self.slots[slot as usize].whole_quads,
            (Bound::Runtime, _) => match self.common_element(memory) {
                Some(element) => element.whole_quads,
                None => self.int(0),
            },
        }
    }

    /// How far the lanes of one byte are spread.
    fn scale(&self, memory: Memory) -> u32 {
        if matches!(memory, Memory::Array(_)) { self.lanes } else { 1 }
    }

    pub(super) fn base(&mut self, memory: Memory) -> Value {
        match memory {
            Memory::Slot { slot, .. } => self.slots[slot as usize].pointer,
            Memory::Element { slot, index, .. } => {
                let index = self.scalar(index);
                self.element(slot, index).pointer
            }
            Memory::Shared => self.field(context!(shared)),
            Memory::Immediates => self.field(context!(immediates)),
            Memory::Constants => self.field(context!(constants)),
            Memory::Array(array) => {
                let scratch = self.field(context!(scratch));
                let base = self.b.ins().iadd_imm_s(scratch, i64::from(self.layout.arrays[array as usize]));
                match self.first {
                    Some(first) if self.plan.barriers => {
                        let first = self.b.ins().uextend(types::I64, first);
                        let bytes = i64::from(self.program.arrays[array as usize].size);
                        let start = self.b.ins().imul_imm_s(first, bytes);
                        self.b.ins().iadd(base, start)
                    }
                    _ => base,
                }
            }
        }
    }

    /// Adds an index that is not out of range, or is made so.
    pub(super) fn advance(
        &mut self,
        address: Value,
        memory: Memory,
        index: &Index,
        value: Value,
    ) -> (Value, Option<Value>) {
        let stride = i64::from(index.stride * self.scale(memory));
        if self.is_inside(index) {
            let value = self.b.ins().uextend(types::I64, value);
            let bytes = self.b.ins().imul_imm_s(value, stride);
            return (self.b.ins().iadd(address, bytes), None);
        }
        let count = self.count(memory, index.bound);
        let (address, inside) = self.step(address, stride, value, count);
        (address, Some(inside))
    }

    /// Adds an index, clamped to a count; and whether it is below.
    pub(super) fn step(&mut self, address: Value, stride: i64, value: Value, count: Value) -> (Value, Value) {
        let inside = self.b.ins().icmp(IntCC::UnsignedLessThan, value, count);
        let last = self.b.ins().iadd_imm_s(count, -1);
        let value = self.b.ins().umin(value, last);
        let value = self.b.ins().uextend(types::I64, value);
        let bytes = self.b.ins().imul_imm_s(value, stride);
        (self.b.ins().iadd(address, bytes), inside)
    }

    /// The address that the indices which are the same in each lane lead to, and whether they are in range.
    pub(super) fn common(&mut self, place: &Place) -> (Value, Option<Value>, Vec<Index>) {
        let mut address = self.base(place.memory);
        let element = self.common_element(place.memory);
        let mut inside = element.map(|element| self.b.ins().ireduce(types::I8, element.bound));
        let mut rest = Vec::new();
        for index in &place.indices {
            let scalar = self.shapes.ids[index.id.at()].is_scalar();
            let Some(Val::Scalar(value)) = scalar.then(|| self.get(index.id)) else {
                rest.push(*index);
                continue;
            };
            let (next, in_range) = self.advance(address, place.memory, index, value);
            address = next;
            inside = self.both(inside, in_range);
        }
        (address, inside, rest)
    }

    /// Each lane's address, and whether its indices are in range; if not, it is nowhere.
    pub(super) fn separate(
        &mut self,
        place: &Place,
        address: Value,
        rest: &[Index],
    ) -> [(Value, Option<Value>); 4] {
        [0u8, 1, 2, 3].map(|lane| {
            let mut address = address;
            let mut inside = None;
            for index in rest {
                let value = self.lane_of(index.id, lane);
                if !self.is_inside(index) {
                    let count = self.count(place.memory, index.bound);
                    let in_range = self.b.ins().icmp(IntCC::UnsignedLessThan, value, count);
                    inside = self.both(inside, Some(in_range));
                }
                let stride = i64::from(index.stride * self.scale(place.memory));
                let value = self.b.ins().uextend(types::I64, value);
                let bytes = self.b.ins().imul_imm_s(value, stride);
                address = self.b.ins().iadd(address, bytes);
            }
            (address, inside)
        })
    }

    /// A condition of two that may each be known to hold.
    pub(super) fn both(&mut self, a: Option<Value>, b: Option<Value>) -> Option<Value> {
        match (a, b) {
            (Some(a), Some(b)) => Some(self.b.ins().band(a, b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether an index is known to be in range.
    pub(super) fn is_inside(&self, index: &Index) -> bool {
        let Bound::Known(count) = index.bound else { return false };
        self.counted.is_below(index.id, count) || self.place_of(index.id).is_some_and(|at| at.end <= count)
    }

    /// Each lane's address, with indices out of range clamped.
    fn separate_clamped(&mut self, place: &Place, address: Value, rest: &[Index]) -> Addresses {
        let mut addresses = [address; 4];
        for index in rest {
            let mut chosen = self.vector(index.id);
            if !self.is_inside(index) {
                let count = self.count(place.memory, index.bound);
                let last = self.b.ins().iadd_imm_s(count, -1);
                let last = self.b.ins().splat(types::I32X4, last);
                chosen = self.b.ins().umin(chosen, last);
            }
            let stride = i64::from(index.stride * self.scale(place.memory));
            for (lane, address) in addresses.iter_mut().enumerate() {
                let value = self.lane(chosen, Num::U32, lane as u8);
                let value = self.b.ins().uextend(types::I64, value);
                let bytes = self.b.ins().imul_imm_s(value, stride);
                *address = self.b.ins().iadd(*address, bytes);
            }
        }
        addresses.map(|address| (address, 0))
    }

    /// For one index that may rise by one from lane to lane: goes on, with the first lane's address, where it does and all
    /// lanes are in range, and to `far` where not; and whether that can happen.
    pub(super) fn neighbours(
        &mut self,
        place: &Place,
        address: Value,
        rest: &[Index],
        far: Block,
    ) -> Option<Row> {
        let [index] = rest else { return None };
        if let Some((start, offset)) = self.wave_place(place, index) {
            return Some(Row { start, offset, doubtful: false, tested: false });
        }
        if self.at_edge && self.is_looked_for(index.id) {
            return None;
        }
        let near = self.near(index.id)?;
        let mut conditions = near.conditions;
        if !self.is_inside(index) {
            let whole_quads = self.whole_quads(place.memory, index.bound);
            conditions.push(self.b.ins().icmp(IntCC::UnsignedLessThan, near.start, whole_quads));
        }
        let tested = !conditions.is_empty();
        let proven = (index.id, place.memory, index.bound);
        if self.wave.proven.contains(&proven) {
            conditions.clear();
        }
        if self.at_edge && !conditions.is_empty() {
            return None;
        }
        let far = match self.wave.bail {
            Some(bail) => {
                self.wave.bailed |= !conditions.is_empty();
                self.wave.proven.push(proven);
                bail
            }
            None => far,
        };
        let doubtful = !conditions.is_empty() && self.wave.bail.is_none();
        for condition in conditions {
            let next = self.b.create_block();
            self.b.ins().brif(condition, next, NONE, far, NONE);
            self.start(next);
        }
        let start = self.b.ins().uextend(types::I64, near.start);
        let stride = i64::from(index.stride * self.scale(place.memory));
        let bytes = self.b.ins().imul_imm_s(start, stride);
        Some(Row { start: self.b.ins().iadd(address, bytes), offset: 0, doubtful, tested })
    }

    /// Leaves a step before it has changed anything if a place is not in range or its lanes are no neighbours.
    pub(super) fn prove(&mut self, place: &Place) {
        if let Some(bail) = self.wave.bail {
            let (address, _, rest) = self.common(place);
            self.neighbours(place, address, &rest, bail);
        }
    }

    fn lane_offset(&self, memory: Memory, offset: u32, num: Num, lane: u32) -> i32 {
        match memory {
            Memory::Array(_) => (offset * self.lanes + lane * num.bytes()) as i32,
            _ => offset as i32,
        }
    }

    fn load_flags(&self, memory: Memory) -> MemFlagsData {
        match memory {
            Memory::Slot { readonly: true, .. } | Memory::Element { readonly: true, .. } => constant_flags(),
            Memory::Immediates | Memory::Constants => constant_flags(),
            _ => flags(),
        }
    }

    pub(super) fn load(&mut self, place: &Place, into: Leaves<'_>) {
        if self.is_scattered(place.memory) {
            let addresses = self.scattered(place).map(|(address, _)| (address, 0));
            return self.define_gathered(place, addresses, into);
        }
        let (address, _, rest) = self.common(place);
        if rest.is_empty() {
            return self.load_together(place, address, into);
        }
        let far = self.b.create_block();
        let neighbours = match into.iter().any(|(_, id)| is_wide(self.program.num(*id))) {
            true => None,
            false => self.neighbours(place, address, &rest, far),
        };
        let Some(Row { start, offset: ahead, doubtful, tested }) = neighbours else {
            let addresses = self.separate_clamped(place, address, &rest);
            return self.define_gathered(place, addresses, into);
        };
        let stride = (rest[0].stride * self.scale(place.memory)) as i32;
        let plain = !matches!(place.memory, Memory::Array(_));
        let flags = if tested { flags() } else { self.load_flags(place.memory) };
        let values = match into {
            [(offset, id)] if stride == 4 && self.program.num(*id).bytes() == 4 => {
                let at = (place.offset + offset) as i32 + ahead;
                let ty = vector_type(self.program.num(*id));
                vec![self.b.ins().load(ty, flags, start, at)]
            }
            [(offset, id)] if stride == 2 && self.program.num(*id).bytes() == 2 && plain => {
                let at = (place.offset + offset) as i32 + ahead;
                vec![self.read_four(self.program.num(*id), flags, start, at)]
            }
            _ => self.gather(place, flags, [0, 1, 2, 3].map(|lane| (start, ahead + lane * stride)), into),
        };
        if !doubtful {
            return self.define_arranged(place, values, into);
        }
        let end = self.b.create_block();
        for value in &values {
            let ty = self.b.func.dfg.value_type(*value);
            self.b.append_block_param(end, ty);
        }
        self.jump_with(end, &values);
        self.b.set_cold_block(far);
        self.start(far);
        let addresses = self.separate_clamped(place, address, &rest);
        let values = self.gather(place, self.load_flags(place.memory), addresses, into);
        self.jump_with(end, &values);
        self.start(end);
        let values = self.b.block_params(end).to_vec();
        self.define_arranged(place, values, into);
    }

    /// Makes known what lanes have gathered.
    fn define_arranged(&mut self, place: &Place, mut values: Vec<Value>, into: Leaves<'_>) {
        if let Some(tuple) = rows_of(place, into).filter(|tuple| !self.rows.contains(tuple[0]))
            && let [a, b, c, d] = values[..]
        {
            let columns = self.transpose([a, b, c, d]).into_iter().zip(tuple);
            let cast = |(column, id)| self.cast(vector_type(self.program.num(id)), column);
            values = columns.map(cast).collect();
        }
        into.iter().zip(values).for_each(|((_, id), value)| self.define(*id, Val::Vector(value)));
    }

    fn define_gathered(&mut self, place: &Place, addresses: Addresses, into: Leaves<'_>) {
        if into.iter().all(|(_, id)| !is_wide(self.program.num(*id))) {
            let values = self.gather(place, self.load_flags(place.memory), addresses, into);
            return self.define_arranged(place, values, into);
        }
        for leaf in into {
            let num = self.program.num(leaf.1);
            let lanes = self.gather_leaf(place, self.load_flags(place.memory), addresses, *leaf);
            let val = self.gather_any(num, lanes);
            self.define(leaf.1, val);
        }
    }

    pub(super) fn jump_with(&mut self, block: Block, values: &[Value]) {
        let arguments: Vec<_> =
            values.iter().map(|value| cranelift_codegen::ir::BlockArg::Value(*value)).collect();
        self.b.ins().jump(block, &arguments);
    }

    /// Every lane reads the same place.
    fn load_together(&mut self, place: &Place, address: Value, into: Leaves<'_>) {
        let flags = self.load_flags(place.memory);
        for (offset, id) in into {
            let num = self.program.num(*id);
            let at = self.lane_offset(place.memory, place.offset + offset, num, 0);
            let varying = self.shapes.ids[id.at()] == Shape::Varying;
            let val = if varying && matches!(num.bytes(), 1 | 8) {
                let bytes = num.bytes() as i32;
                let ty = scalar_type(num);
                let lanes = [0, 1, 2, 3].map(|lane| self.b.ins().load(ty, flags, address, at + bytes * lane));
                self.gather_any(num, lanes)
            } else if varying && num.bytes() == 2 {
                Val::Vector(self.read_four(num, flags, address, at))
            } else if varying {
                Val::Vector(self.b.ins().load(vector_type(num), flags, address, at))
            } else {
                Val::Scalar(self.read_scalar(num, flags, address, at))
            };
            self.define(*id, val);
        }
    }

    /// Each lane reads its own place. A vector of four components comes as it lies in memory.
    fn gather(
        &mut self,
        place: &Place,
        flags: MemFlagsData,
        addresses: Addresses,
        into: Leaves<'_>,
    ) -> Vec<Value> {
        if let Some(tuple) = rows_of(place, into) {
            let at = (place.offset + into[0].0) as i32;
            let ty = vector_type(self.program.num(tuple[0]));
            let rows = addresses.map(|(address, offset)| self.b.ins().load(ty, flags, address, offset + at));
            return rows.to_vec();
        }
        into.iter()
            .map(|leaf| {
                let num = self.program.num(leaf.1);
                if num != Num::F16 {
                    let lanes = self.gather_leaf(place, flags, addresses, *leaf);
                    return self.gather_lanes(num, lanes);
                }
                let lanes = self.gather_bits(place, flags, addresses, leaf.0);
                let bits = self.gather_lanes(Num::U32, lanes);
                self.widen_half(bits)
            })
            .collect()
    }

    /// Each lane's scalar.
    fn gather_leaf(
        &mut self,
        place: &Place,
        flags: MemFlagsData,
        addresses: Addresses,
        (offset, id): (u32, Id),
    ) -> [Value; 4] {
        let num = self.program.num(id);
        let mut lane = 0;
        addresses.map(|(address, lane_offset)| {
            let at = self.lane_offset(place.memory, place.offset + offset, num, lane) + lane_offset;
            lane += 1;
            self.read_scalar(num, flags, address, at)
        })
    }

    /// Each lane's half float, as it is in memory.
    fn gather_bits(
        &mut self,
        place: &Place,
        flags: MemFlagsData,
        addresses: Addresses,
        offset: u32,
    ) -> [Value; 4] {
        let mut lane = 0;
        addresses.map(|(address, lane_offset)| {
            let at = self.lane_offset(place.memory, place.offset + offset, Num::F16, lane) + lane_offset;
            lane += 1;
            self.b.ins().uload16(types::I32, flags, address, at)
        })
    }

    /// Rows become columns.
    pub(super) fn transpose(&mut self, rows: [Value; 4]) -> [Value; 4] {
        let ty = self.b.func.dfg.value_type(rows[0]);
        let [a, b, c, d] = rows.map(|row| self.cast(types::I8X16, row));
        let low_words = [0, 4, 1, 5];
        let high_words = [2, 6, 3, 7];
        let low = [self.words(a, b, low_words), self.words(c, d, low_words)];
        let high = [self.words(a, b, high_words), self.words(c, d, high_words)];
        let columns = [
            self.words(low[0], low[1], [0, 1, 4, 5]),
            self.words(low[0], low[1], [2, 3, 6, 7]),
            self.words(high[0], high[1], [0, 1, 4, 5]),
            self.words(high[0], high[1], [2, 3, 6, 7]),
        ];
        columns.map(|column| self.cast(ty, column))
    }

    /// Four words out of two registers.
    pub(super) fn words(&mut self, a: Value, b: Value, words: [u8; 4]) -> Value {
        let bytes: Vec<u8> = words.iter().flat_map(|word| (0..4).map(move |byte| 4 * word + byte)).collect();
        let mask = self.b.func.dfg.immediates.push(bytes.as_slice().into());
        self.b.ins().shuffle(a, b, mask)
    }

    pub(super) fn store(&mut self, place: &Place, from: Leaves<'_>) {
        for (_, id) in from {
            if self.program.num(*id) == Num::F16
                && let Val::Vector(value) = self.get(*id)
            {
                let bits = self.narrow_half(value);
                self.halves.push((*id, bits));
            }
        }
        if self.is_scattered(place.memory) {
            let addresses = self.scattered(place);
            self.scatter(place, addresses, from);
        } else {
            self.store_at(place, from);
        }
        self.halves.clear();
    }

    fn store_at(&mut self, place: &Place, from: Leaves<'_>) {
        let (address, inside, rest) = self.common(place);
        let end = inside.map(|inside| {
            let [go_on, end] = [(); 2].map(|()| self.b.create_block());
            self.b.ins().brif(inside, go_on, NONE, end, NONE);
            self.start(go_on);
            end
        });
        if rest.is_empty() {
            self.store_together(place, address, from);
        } else {
            self.store_apart(place, address, &rest, from);
        }
        if let Some(end) = end {
            self.b.ins().jump(end, NONE);
            self.start(end);
        }
    }

    /// Every lane writes the same place; the last one that is active stays.
    fn store_together(&mut self, place: &Place, address: Value, from: Leaves<'_>) {
        let mask = self.mask_value();
        let own = matches!(place.memory, Memory::Array(_)) && self.lanes == 4;
        if own {
            for (offset, id) in from {
                self.store_own(place, address, *offset, *id, mask);
            }
            return;
        }
        let scalar = from.iter().all(|(_, id)| matches!(self.get(*id), Val::Scalar(_)));
        let addresses = [(address, None); 4];
        match mask {
            Some(mask) if self.fits_loop(place, from) => self.store_last(place, address, from, mask),
            Some(_) => self.scatter(place, addresses, from),
            None => {
                let lane = if scalar { 0 } else { 3 };
                self.store_lane(place, address, 0, from, lane);
            }
        }
    }

    /// All lanes of an invocation's own array, at one element.
    fn store_own(&mut self, place: &Place, address: Value, offset: u32, id: Id, mask: Option<Value>) {
        let num = self.program.num(id);
        let at = self.lane_offset(place.memory, place.offset + offset, num, 0);
        if num.bytes() != 4 {
            return self.scatter(place, [(address, None); 4], &[(offset, id)]);
        }
        let mut value = self.vector(id);
        if let Some(mask) = mask {
            let old = self.b.ins().load(vector_type(num), flags(), address, at);
            value = self.choose(mask, value, old);
        }
        self.b.ins().store(flags(), value, address, at);
    }

    fn store_apart(&mut self, place: &Place, address: Value, rest: &[Index], from: Leaves<'_>) {
        let far = self.b.create_block();
        // Where lanes are looked at they may well be no neighbours; otherwise they mostly are.
        let looked_at = rest.iter().any(|index| self.is_looked_for(index.id));
        let neighbours = match self.mask() {
            None => self.neighbours(place, address, rest, far),
            Some(_) => None,
        };
        let Some(row) = neighbours else {
            return self.scatter_apart(place, address, rest, (from, self.seldom));
        };
        let stride = (rest[0].stride * self.scale(place.memory)) as i32;
        self.store_near(place, &row, stride, from);
        if row.doubtful {
            let end = self.b.create_block();
            self.b.ins().jump(end, NONE);
            self.b.set_cold_block(far);
            self.start(far);
            self.scatter_apart(place, address, rest, (from, !looked_at));
            self.b.ins().jump(end, NONE);
            self.start(end);
        }
    }

    /// Lanes that are no neighbours, or not all there. `seldom`: that is seldom so.
    fn scatter_apart(
        &mut self,
        place: &Place,
        address: Value,
        rest: &[Index],
        (from, seldom): (Leaves<'_>, bool),
    ) {
        if seldom && self.fits_loop(place, from) {
            return self.scatter_in_loop(place, address, rest, from);
        }
        if self.may_skip(rest) {
            let row = rows::tuple(from).is_some_and(|tuple| self.rows.contains(tuple[0]));
            let values = from.iter().filter(|_| !row).map(|(_, id)| *id);
            self.lay(rest.iter().map(|index| index.id).chain(values));
        }
        let addresses = self.separate(place, address, rest);
        self.scatter(place, addresses, from);
        self.take_up();
    }

    /// Four neighbouring elements.
    fn store_near(&mut self, place: &Place, row: &Row, stride: i32, from: Leaves<'_>) {
        let first = row.start;
        let at = |offset: u32| (place.offset + offset) as i32 + row.offset;
        let plain = !matches!(place.memory, Memory::Array(_));
        match from {
            [(offset, id)] if stride == 4 && self.program.num(*id).bytes() == 4 && plain => {
                let value = self.vector(*id);
                self.b.ins().store(flags(), value, first, at(*offset));
            }
            [(start, first_id), ..] if rows::tuple(from).is_some() && plain => {
                let registers: Vec<Value> = from.iter().map(|(_, id)| self.vector(*id)).collect();
                let registers = [registers[0], registers[1], registers[2], registers[3]];
                let whole = self.rows.contains(*first_id);
                let rows = if whole { registers } else { self.transpose_any(registers) };
                for (lane, row) in rows.into_iter().enumerate() {
                    self.b.ins().store(flags(), row, first, at(*start) + lane as i32 * stride);
                }
            }
            _ => {
                for lane in 0..4 {
                    self.store_lane(place, first, row.offset + i32::from(lane) * stride, from, lane);
                }
            }
        }
    }

    /// Transposes registers that may differ in type.
    pub(super) fn transpose_any(&mut self, columns: [Value; 4]) -> [Value; 4] {
        let columns = columns.map(|column| self.cast(types::I32X4, column));
        self.transpose(columns)
    }

    pub(super) fn store_lane(
        &mut self,
        place: &Place,
        address: Value,
        offset: i32,
        from: Leaves<'_>,
        lane: u8,
    ) {
        if let (Some(tuple), Some((start, _))) = (rows::tuple(from), from.first())
            && self.rows.contains(tuple[0])
        {
            let row = self.row(tuple, lane);
            self.b.ins().store(flags(), row, address, (place.offset + start) as i32 + offset);
            return;
        }
        for (leaf, id) in from {
            let num = self.program.num(*id);
            let at = self.lane_offset(place.memory, place.offset + leaf, num, lane.into()) + offset;
            match self.halves.iter().find(|(half, _)| half == id) {
                Some((_, bits)) => {
                    let bits = self.lane(*bits, Num::U32, lane);
                    self.b.ins().istore16(flags(), bits, address, at);
                }
                None => {
                    let value = self.lane_of(*id, lane);
                    self.write_scalar(num, value, (address, at));
                }
            }
        }
    }

    /// Each lane that is active and in range does something, one after the other; gives what it found, or zero.
    pub(super) fn each_active(
        &mut self,
        addresses: [(Value, Option<Value>); 4],
        num: Num,
        mut act: impl FnMut(&mut Self, u8, Value) -> Option<Value>,
    ) -> Vec<Value> {
        let bits = self.mask_value().map(|mask| self.bits(mask));
        let mut results = Vec::new();
        for lane in 0..self.lanes as u8 {
            let (address, inside) = addresses[usize::from(lane)];
            let zero = self.constant(num, 0);
            if bits.is_none() && inside.is_none() {
                results.push(act(self, lane, address).unwrap_or(zero));
                continue;
            }
            let end = self.b.create_block();
            let active = bits.map(|bits| self.b.ins().band_imm_s(bits, 1 << lane));
            let result = self.b.append_block_param(end, scalar_type(num));
            let skip = [cranelift_codegen::ir::BlockArg::Value(zero)];
            for condition in [active, inside].into_iter().flatten() {
                let next = self.b.create_block();
                self.b.ins().brif(condition, next, NONE, end, &skip);
                self.start(next);
            }
            let value = act(self, lane, address).unwrap_or(zero);
            self.jump_with(end, &[value]);
            self.start(end);
            results.push(result);
        }
        results
    }

    fn scatter(&mut self, place: &Place, addresses: [(Value, Option<Value>); 4], from: Leaves<'_>) {
        self.each_active(addresses, Num::U32, |this, lane, address| {
            this.store_lane(place, address, 0, from, lane);
            None
        });
    }

    pub(super) fn zero(&mut self, array: u32) {
        let memory = Memory::Array(array);
        let base = self.base(memory);
        let layout = self.program.arrays[array as usize];
        let bytes = layout.size * self.lanes;
        let end = self.b.ins().iadd_imm_s(base, i64::from(bytes));
        let [header, body, exit] = [(); 3].map(|()| self.b.create_block());
        // Where lanes are no words, it is the start of the array's life: no other lane has anything in it.
        let mask = if layout.words { self.mask_value() } else { None };
        let at = self.b.append_block_param(header, types::I64);
        self.jump_with(header, &[base]);
        self.b.switch_to_block(header);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, at, end);
        self.b.ins().brif(more, body, NONE, exit, NONE);
        self.start(body);
        let zero = self.int(0);
        let zero = self.b.ins().splat(types::I32X4, zero);
        let value = match mask {
            // One row of a word is the four lanes of it.
            Some(mask) => {
                let old = self.b.ins().load(types::I32X4, flags(), at, 0);
                self.choose(mask, zero, old)
            }
            None => zero,
        };
        self.b.ins().store(flags(), value, at, 0);
        let next = self.b.ins().iadd_imm_s(at, 16);
        self.jump_with(header, &[next]);
        self.b.seal_block(header);
        self.start(exit);
    }
}

/// Four components that lie next to each other.
fn rows_of(place: &Place, into: Leaves<'_>) -> Option<rows::Tuple> {
    rows::tuple(into).filter(|_| !matches!(place.memory, Memory::Array(_)))
}
