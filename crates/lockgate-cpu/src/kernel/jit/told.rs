//! How machine code tells a recorder what an invocation touches.
//!
//! Each place of the source has an [`Open`] with what it does right now; as long as it goes on with that, machine code
//! only moves the end (`tell.rs`), and otherwise calls [`touched`]. Where it has no such order, code looks at cells
//! (`cells.rs`). Texels are told by the calls that fetch them. [`barrier`] is called once for the workgroup. Tested by
//! `tests/observe.rs` against the interpreter's record.

use std::borrow::Cow;

use lockgate_runtime::ObservedKind;

use super::{
    super::{
        binding::{Binding, Launch, TextureBinding},
        memory, sample,
        watch::{At, Recorder, Run, Space, View},
    },
    Code, Telling,
    code::Context,
    helpers::{ImageCall, field, sample_point},
    ir::{ImageOp, Site, Told},
};

/// What a place does right now, for machine code to go on with.
///
/// In a run, machine code knows the `key` of the next access and how far apart keys are: a key is an address and an
/// invocation in one number, so that one comparison is enough. Otherwise it looks at what `view` says itself.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Open {
    /// The key of the next access.
    pub(super) key: u64,
    pub(super) step: u64,
    pub(super) view: View,
    /// Which element of an array of bindings is accessed, for who is called next.
    pub(super) element: u32,
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
    view: View { bytes: 0, cells: 0, readers: 0, atomics: 0, mark: 0, ground: 0, nothing: 0 },
    element: 0,
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
pub(super) const APART: u64 = 0x9e37_79b9_7f4a_7c15;
/// The bits of a key that say which of a store's words change.
pub(super) const CHANGED_SHIFT: u32 = 62;
/// A key that no run has: of an access out of range.
pub(super) const NO_KEY: u64 = 1;

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
            element: 0,
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
    code: &'a Code,
    bindings: &'a [Binding],
    /// With the numbers that what is bound has in the list of all, elements of arrays one after the other.
    sites: Cow<'a, [Site]>,
    /// For each site the last element of what is bound; empty without arrays of bindings.
    last: Vec<u32>,
    /// The recorder's numbers of the sites, by element.
    numbers: Vec<Option<(u32, u16)>>,
    open: Vec<Open>,
    shared: u64,
    /// The recorder's phases of bound memory and of the workgroup's own.
    phases: [(u64, u64); 2],
    /// What the workgroup that runs tells, and whether it has all of its invocations.
    telling: Telling,
    whole: bool,
    /// The second invocation of the workgroup.
    second: Option<u32>,
    /// Whether workgroups of one class do the same to their own memory.
    fixed: bool,
    /// The class of the workgroup.
    class: Vec<u128>,
}

/// Bytes that are compared at once to see whether a store changes them.
pub(super) const PIECE: u32 = 4;

/// Bytes of a cell.
pub(super) const CELL: u64 = size_of::<[u64; 2]>() as u64;

/// Set in the number of a site whose access is not what its [`Open`] stands for.
pub(super) const ASIDE: u32 = 1 << 31;
/// Set in the number of a site whose access is made once for the workgroup.
pub(super) const ONCE: u32 = 1 << 30;

impl<'a> Watcher<'a> {
    pub(super) fn new(recorder: &'a mut Recorder, code: &'a Code, launch: &Launch<'a>) -> Self {
        let buffers = launch.bindings.iter().filter_map(|binding| match binding {
            Binding::Buffer(buffer) => Some(buffer.ptr as u64..buffer.ptr as u64 + buffer.len),
            _ => None,
        });
        let atomics = |site: &Site| site.space != Space::Workgroup && is_atomic(site.kind);
        let atomics = code.program.sites.iter().any(atomics);
        recorder.begin_part(buffers, code.program.shared_bytes, atomics);
        let mut sites = Cow::Borrowed(&*code.program.sites);
        let mut last = Vec::new();
        if launch.bindings.iter().any(|binding| matches!(binding, Binding::Array(_))) {
            for site in sites.to_mut() {
                let Space::Slot(slot) = &mut site.space else {
                    last.push(0);
                    continue;
                };
                last.push(launch.bindings[*slot as usize].elements().len().saturating_sub(1) as u32);
                *slot = first_element(launch.bindings, *slot);
            }
        }
        let count = sites.len();
        let (numbers, open, phases) = (vec![None; count], vec![CLOSED; count], [(0, 0); 2]);
        let (bindings, telling) = (launch.bindings, Telling::default());
        let (shared, whole, second) = (0, false, None);
        let still = |slot: &u32| recorder.is_still(first_element(bindings, *slot));
        let fixed = code.fixed.as_ref().is_some_and(|fixed| {
            fixed.slots.iter().all(still) && (fixed.class.is_none() || code.class().is_some())
        });
        // Not empty: a masked load from an address without memory costs more than a small workgroup.
        let class = vec![0];
        Watcher {
            recorder,
            code,
            bindings,
            sites,
            last,
            numbers,
            open,
            shared,
            phases,
            telling,
            whole,
            second,
            fixed,
            class,
        }
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
        self.second = second_of(self.code.program.workgroup_size, context.group, context.threads);
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

    /// A workgroup has run to its end.
    pub(super) fn end_group(&mut self) {
        if self.whole && self.telling.own && self.fixed {
            self.recorder.settle(&self.class);
        }
    }

    /// Whether it helps to know the classes of workgroups.
    pub(super) fn asks_for_classes(&self) -> bool {
        self.fixed && self.recorder.has_classes()
    }

    /// Where the class of the next workgroup is written to.
    pub(super) fn class_words(&mut self, invocations: u32) -> *mut u8 {
        self.class.resize(invocations.div_ceil(4) as usize, 0);
        self.class.as_mut_ptr().cast()
    }

    /// What the next workgroup tells.
    pub(super) fn telling(&mut self, whole: bool) -> Telling {
        let settled = whole && self.fixed && self.recorder.is_settled(&self.class);
        let (cells, own) = (self.needs_cells(), self.code.telling.own && !settled);
        self.telling = Telling { cells, own, rows: cells && whole && !own && self.recorder.has_rows() };
        self.whole = whole;
        self.telling
    }

    /// Whether the next workgroup looks at accesses of bound memory one by one. Once runs turn out not to be plain, all
    /// that come after them do.
    fn needs_cells(&mut self) -> bool {
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

    /// The memory that a site touches now.
    fn space(&self, number: u32) -> Space {
        let number = number as usize;
        match (self.sites[number].space, self.last.get(number)) {
            (Space::Slot(first), Some(last)) => Space::Slot(first + self.open[number].element.min(*last)),
            (space, _) => space,
        }
    }

    /// The recorder's number of a site.
    fn number(&mut self, site: u32, lane: u32) -> u16 {
        let element = self.open[site as usize].element;
        match self.numbers[site as usize] {
            Some((of, own)) if of == element => own,
            _ => {
                let (place, space) = (&self.sites[site as usize], self.space(site));
                let own = self.recorder.site(&at(place, space, lane, &|| place.variable.clone()));
                self.numbers[site as usize] = Some((element, own));
                own
            }
        }
    }

    /// `image`: the bytes that are stored, if they are.
    fn touched(&mut self, number: u32, lane: u32, address: *mut u8, bytes: u32, image: *const u8) {
        let (aside, once) = (number & ASIDE != 0, number & ONCE != 0);
        let number = number & !(ASIDE | ONCE);
        let Some(&Site { kind, told, turn, .. }) = self.sites.get(number as usize) else { return };
        let space = self.space(number);
        self.recorder.take_turn(turn);
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
            // All of them read, so that whoever writes is another one than one of these two.
            if let Some(second) = self.second.filter(|_| once && !still && space != Space::Workgroup) {
                self.recorder.touch_at((own, kind, space), second, first, bytes, looks);
            }
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
        let Site { space, kind, .. } = self.sites[number as usize];
        let others = if is_atomic(kind) { view.atomics } else { view.readers };
        if view.cells == 0 || others == 0 {
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
        let Some((_, site)) = self.numbers[number as usize].filter(|_| open.bytes != 0) else { return };
        self.open[number as usize] = Open { stride: open.stride, ..CLOSED };
        let Open { start, changed, stride, first, bytes, epoch, stretch, .. } = open;
        let count = open.count();
        if stride == u64::from(bytes) {
            self.recorder.add_bytes(site, start, stride * u64::from(count));
        } else {
            let each = |number: u32| start + stride * u64::from(number);
            (0..count).for_each(|number| self.recorder.add_bytes(site, each(number), bytes.into()));
        }
        let (stride, turn) = (stride as u32, self.sites[number as usize].turn);
        self.recorder.add_run(Run {
            site,
            turn,
            changed,
            epoch,
            stretch,
            first,
            count,
            start,
            stride,
            bytes,
        });
    }

    fn barrier(&mut self, flags: naga::Barrier) {
        let bound = flags.intersects(naga::Barrier::STORAGE | naga::Barrier::TEXTURE);
        if bound {
            self.close();
        }
        self.recorder.barrier(flags);
        if bound || self.telling.own {
            self.enter_phase();
        }
    }
}

impl Drop for Watcher<'_> {
    /// However the part of the launch has ended, it is recorded.
    fn drop(&mut self) {
        self.close();
        self.recorder.end_part();
    }
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
        let Some(open) = self.open.get_mut(call.site as usize) else { return };
        open.element = element_at(self.bindings, call.texture);
        let (site, space) = (&self.sites[call.site as usize], self.space(call.site));
        self.recorder.take_turn(site.turn);
        let name = || site.variable.clone();
        let at = at(site, space, call.lane, &name);
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

fn at<'s>(site: &Site, space: Space, lane: u32, variable: &'s dyn Fn() -> String) -> At<'s> {
    At { span: site.span, kind: site.kind, space, variable, lane }
}

/// The second invocation of a workgroup, part of which may be missing.
fn second_of(size: [u32; 3], group: [u32; 3], threads: [u32; 3]) -> Option<u32> {
    let there = |axis: usize| {
        size[axis].min(threads[axis] - threads[axis].min(group[axis].saturating_mul(size[axis])))
    };
    let axis = (0..3).find(|axis| there(*axis) > 1)?;
    Some(size[..axis].iter().product())
}

/// The number of what is bound to a slot, or of its first element, in the list of all.
fn first_element(bindings: &[Binding], slot: u32) -> u32 {
    bindings.iter().take(slot as usize).map(|binding| binding.elements().len() as u32).sum()
}

/// Which element of an array of bindings this is; 0 for what is in none.
fn element_at(bindings: &[Binding], binding: *const Binding) -> u32 {
    let array = bindings.iter().map(|binding| binding.elements().as_ptr_range());
    let own = array.into_iter().find(|range| range.contains(&binding));
    own.map_or(0, |range| ((binding as usize - range.start as usize) / size_of::<Binding>()) as u32)
}

/// Whether it is a kind of atomic operation.
pub(super) fn is_atomic(kind: ObservedKind) -> bool {
    matches!(kind, ObservedKind::Atomic | ObservedKind::AtomicLoad)
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
    if (site as usize) < watcher.sites.len() {
        let (site, space) = (&watcher.sites[site as usize], watcher.space(site));
        let name = || site.variable.clone();
        let at = at(site, space, lane, &name);
        watcher.recorder.out_of_bounds(&at, index.into(), count.into());
    }
}

pub(super) extern "C" fn barrier(watcher: *mut Watcher<'_>, flags: u32) {
    // SAFETY: as in `touched`.
    let watcher = unsafe { &mut *watcher };
    watcher.barrier(naga::Barrier::from_bits_truncate(flags));
}

#[cfg(test)]
mod tests {
    use super::second_of;

    #[test]
    fn the_second_invocation_is_there() {
        let all = [u32::MAX; 3];
        assert_eq!(second_of([4, 2, 2], [3, 1, 0], all), Some(1));
        assert_eq!(second_of([1, 3, 2], [0; 3], all), Some(1));
        assert_eq!(second_of([1; 3], [7, 0, 0], all), None);
        assert_eq!(second_of([4, 2, 2], [1, 0, 0], [5, 9, 9]), Some(4));
        assert_eq!(second_of([4, 2, 2], [1, 1, 0], [5, 3, 9]), Some(8));
        assert_eq!(second_of([4, 2, 2], [1, 1, 1], [5, 3, 3]), None);
    }
}
