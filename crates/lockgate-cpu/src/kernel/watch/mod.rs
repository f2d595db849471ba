//! What does a launch touch, and what goes wrong inside of it?
//!
//! A [`Recorder`] is told every access by the engine that runs the kernel, in addresses of this process. It keeps the
//! bytes of each place of the source, and finds races between invocations, reads of what nothing has written, and
//! indices out of range. Deliberately absent: resources and commands, which the device adds. Tested by
//! `tests/observe.rs`; the race rules in `shadow`.

mod cells;
mod classes;
mod pages;
mod runs;
mod shadow;
mod spare;

pub(super) use cells::View;
use classes::Classes;
use pages::Pages;
use runs::Runs;
pub(super) use runs::{Run, Turn};
pub(super) use shadow::{CROWDS, Crowded, mark};
use shadow::{Shadow, Toucher};
use std::collections::HashMap;
use std::ops::Range;

use lockgate_runtime::{ByteSet, OBSERVED_MAX, ObservedKind};
use naga::Span;

/// Places that are told apart; later ones share the last, and the record is not complete.
const SITES_MAX: usize = 4096;

/// Which memory a place touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// What is bound to a slot.
    Slot(u32),
    /// A variable of the workgroup; addresses are offsets in the workgroup's memory.
    Workgroup,
    /// A variable of one invocation.
    Invocation,
}

/// A place of the source that touches one variable in one way.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where in the WGSL; undefined if naga does not say.
    pub span: Span,
    /// How.
    pub kind: ObservedKind,
    /// Which memory.
    pub space: Space,
    /// The variable.
    pub variable: String,
    /// One invocation that was here: its `global_invocation_id`.
    pub invocation: [u32; 3],
}

/// A race, by the numbers of its places.
#[derive(Clone, Debug)]
pub struct Race {
    /// Places, the one that ran first before the other.
    pub sites: [u16; 2],
    /// `global_invocation_id` of both.
    pub invocations: [[u32; 3]; 2],
    /// Addresses of the first occurrence.
    pub bytes: Range<u64>,
    /// Whether the writes never changed what was there.
    pub equal_values: bool,
    /// How often.
    pub count: u64,
}

/// Something that happened at one place.
#[derive(Clone, Debug)]
pub struct Remark {
    /// The place.
    pub site: u16,
    /// `global_invocation_id` of the first occurrence.
    pub invocation: [u32; 3],
    /// First and end address of the first read of nothing; index and length of the first index out of range.
    pub numbers: [u64; 2],
    /// How often.
    pub count: u64,
}

/// The invocation and the place of an access.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) span: Span,
    pub(super) kind: ObservedKind,
    pub(super) space: Space,
    /// The variable; asked for once for each place.
    pub(super) variable: &'a dyn Fn() -> String,
    /// Position in the workgroup.
    pub(super) lane: u32,
}

/// The bytes that a place has touched: pages, and the run that it goes on with.
#[derive(Debug)]
struct Trail {
    run: Range<u64>,
    pages: Pages<u8>,
}

impl Trail {
    fn add(&mut self, range: Range<u64>, piece: u64) {
        if range.start == self.run.end {
            self.run.end = range.end;
        } else if range.start < self.run.start || range.end > self.run.end {
            let run = std::mem::replace(&mut self.run, range);
            run.step_by(piece as usize).for_each(|address| *self.pages.get_mut(address) = 1);
        }
    }
}

/// Records what one launch does. Workgroups must be run one after the other.
#[derive(Debug)]
pub struct Recorder {
    shift: u32,
    group_size: u32,
    /// Linear number of the workgroup that runs.
    group: u32,
    workgroup_size: [u32; 3],
    grid: [u32; 3],
    /// Of workgroups that have begun.
    invocations_begun: u64,
    /// So many when runs are looked at next.
    due: u64,
    /// Barriers of the workgroup so far: for bound memory, and for its own.
    epochs: [u32; 2],
    /// The first phase of the workgroup, for both.
    grounds: [u32; 2],
    /// The first phase that no workgroup has had, for both.
    phases: [u32; 2],
    /// The first phases of workgroups that have touched cells of bound memory, and their numbers.
    groups: Vec<(u32, u32)>,
    /// What cells and bytes lie in flat pieces, and how many more bytes such pieces may have.
    flat: Vec<Range<u64>>,
    flat_left: u64,
    fresh: Vec<ByteSet>,
    /// For each slot, whether nothing in the launch can write its bytes.
    quiet: Vec<bool>,
    bound: Shadow,
    shared: Shadow,
    classes: Classes,
    /// Whether accesses of bound memory wait as runs.
    deferred: bool,
    /// When what comes next does so, for accesses that wait.
    turn: Turn,
    runs: Runs,
    numbers: HashMap<(Option<Range<usize>>, ObservedKind, Space), u16>,
    sites: Vec<Site>,
    touched: Vec<Trail>,
    racing: HashMap<[u16; 2], usize>,
    races: Vec<Race>,
    reads_of_nothing: Vec<Remark>,
    out_of_range: Vec<Remark>,
    complete: bool,
}

impl Recorder {
    /// Begins a record. `fresh` are for each slot the addresses of bytes that nothing has written; `granule` is the
    /// size in bytes of the smallest access, a power of two up to 4.
    pub fn new(grid: [u32; 3], workgroup_size: [u32; 3], fresh: Vec<ByteSet>, granule: u32) -> Recorder {
        let shift = granule.clamp(1, 4).trailing_zeros();
        Recorder {
            shift,
            group_size: workgroup_size.iter().product::<u32>().max(1),
            group: 0,
            workgroup_size,
            grid,
            invocations_begun: 0,
            due: runs::DUE_FIRST,
            epochs: [0; 2],
            grounds: [1; 2],
            phases: [1; 2],
            groups: Vec::new(),
            flat: Vec::new(),
            flat_left: cells::FLAT_MAX,
            fresh,
            quiet: Vec::new(),
            bound: Shadow::new(shift, false),
            shared: Shadow::new(shift, true),
            classes: Classes::default(),
            deferred: false,
            turn: Turn::default(),
            runs: Runs::default(),
            numbers: HashMap::new(),
            sites: Vec::new(),
            touched: Vec::new(),
            racing: HashMap::new(),
            races: Vec::new(),
            reads_of_nothing: Vec::new(),
            out_of_range: Vec::new(),
            complete: true,
        }
    }

    /// Says for each slot whether nothing in the launch can write its bytes: no race is looked for there.
    pub fn with_quiet(self, quiet: Vec<bool>) -> Recorder {
        Recorder { quiet, ..self }
    }

    /// Machine code tells every access by a call. What is recorded is the same; for tests.
    pub fn with_calls_only(self) -> Recorder {
        Recorder { flat_left: 0, ..self }
    }

    /// Most invocations of a launch that can be told apart.
    pub const INVOCATIONS_MAX: u64 = u32::MAX as u64 - 1;

    /// Most invocations of a workgroup that can be told apart.
    pub const WORKGROUP_MAX: u64 = mark::NO_LANE as u64;

    /// The places, by number.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The addresses of bound memory that a place has touched.
    pub fn bytes(&self, site: u16) -> ByteSet {
        let mut set = ByteSet::new();
        let Some(Trail { run, pages }) = self.touched.get(usize::from(site)) else { return set };
        let piece = 1u64 << self.shift;
        let mut runs = Vec::new();
        for (start, cells) in pages.sorted() {
            let mut open: Option<u64> = None;
            for (at, cell) in cells.iter().enumerate() {
                let address = start + at as u64 * piece;
                match (*cell != 0, open) {
                    (true, None) => open = Some(address),
                    (false, Some(from)) => {
                        runs.push(from..address);
                        open = None;
                    }
                    _ => {}
                }
            }
            let end = start + cells.len() as u64 * piece;
            runs.extend(open.map(|from| from..end));
        }
        runs.push(run.clone());
        set.extend(runs);
        set
    }

    /// The races.
    pub fn races(&self) -> &[Race] {
        &self.races
    }

    /// The reads of bytes that nothing has written. Where a place races, it depends on the order in which invocations
    /// ran whether a write had come before; the race says it all.
    pub fn reads_of_nothing(&self) -> impl Iterator<Item = &Remark> {
        let races = |site: u16| self.races.iter().any(|race| race.sites.contains(&site));
        self.reads_of_nothing.iter().filter(move |remark| !races(remark.site))
    }

    /// The indices out of range.
    pub fn out_of_range(&self) -> &[Remark] {
        &self.out_of_range
    }

    /// Whether everything was recorded.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    pub(super) fn begin_group(&mut self, group: u64) {
        self.group = group as u32;
        self.invocations_begun += u64::from(self.group_size);
        self.epochs = [0; 2];
        if self.phases[1] > mark::PHASE_END / 2 {
            self.shared.forget();
            self.phases[1] = 1;
        }
        self.grounds[1] = self.phases[1];
        self.phase(1, self.grounds[1], 0);
        if !self.deferred {
            self.grounds[0] = self.ground_of(self.group);
        }
    }

    /// The first phase of a workgroup whose accesses of bound memory come next.
    fn ground_of(&mut self, group: u32) -> u32 {
        match self.groups.last() {
            Some((ground, latest)) if *latest == group => *ground,
            _ => {
                let ground = self.phase(0, self.phases[0], 0);
                self.groups.push((ground, group));
                ground
            }
        }
    }

    /// The phase of a workgroup after some barriers.
    fn phase(&mut self, memory: usize, ground: u32, epoch: u32) -> u32 {
        let phase = ground.saturating_add(epoch);
        if phase >= mark::PHASE_END {
            // More than can be told apart: the last one is used again.
            self.complete = false;
            return mark::PHASE_END - 1;
        }
        self.phases[memory] = self.phases[memory].max(phase + 1);
        phase
    }

    /// The linear number of the invocation, from 1, that has left a mark.
    fn invocation_of(&self, of: u64, workgroup: bool) -> u32 {
        let phase = mark::phase(of);
        let latest = self.groups.partition_point(|(ground, _)| *ground <= phase);
        let group = match self.groups.get(latest.wrapping_sub(1)) {
            Some((_, group)) if !workgroup => *group,
            _ => self.group,
        };
        group * self.group_size + 1 + mark::lane(of)
    }

    /// A barrier that all invocations of the workgroup have reached.
    pub(super) fn barrier(&mut self, flags: naga::Barrier) {
        let bound = flags.intersects(naga::Barrier::STORAGE | naga::Barrier::TEXTURE);
        self.epochs[0] += u32::from(bound);
        self.epochs[1] += u32::from(flags.contains(naga::Barrier::WORK_GROUP));
    }

    /// An access of `bytes` bytes. `changed`: for a store, whether it changes them; for an atomic operation, whether
    /// it looks at them.
    pub(super) fn touch(&mut self, at: &At<'_>, address: u64, bytes: u32, changed: bool) {
        let site = self.site(at);
        self.touch_at((site, at.kind, at.space), at.lane, address, bytes, changed);
    }

    /// The same for a place with a number.
    pub(super) fn touch_at(
        &mut self,
        (site, kind, space): (u16, ObservedKind, Space),
        lane: u32,
        address: u64,
        bytes: u32,
        changed: bool,
    ) {
        let workgroup = !matches!(space, Space::Slot(_));
        if !workgroup {
            self.add_bytes(site, address, bytes.into());
        }
        if matches!(space, Space::Slot(slot) if self.is_still(slot)) {
            return;
        }
        if self.deferred && !workgroup {
            let first = self.first_invocation() + lane;
            let (epoch, count, start, stride, stretch) = (self.epochs[0], 1, address, bytes, self.stretch());
            let turn = self.turn;
            return self.add_run(Run {
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
        let me = self.toucher(usize::from(workgroup), lane, site);
        self.touch_cells(&me, (kind, space), address, bytes, changed);
    }

    fn toucher(&mut self, memory: usize, lane: u32, site: u16) -> Toucher {
        let ground = self.grounds[memory];
        let phase = self.phase(memory, ground, self.epochs[memory]);
        Toucher { mark: mark::new(phase, lane, site), ground }
    }

    /// Says when the accesses come that are told next, as long as they wait.
    pub(super) fn take_turn(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// A place touches bytes.
    pub(super) fn add_bytes(&mut self, site: u16, address: u64, bytes: u64) {
        let piece = 1u64 << self.shift;
        let first = address & !(piece - 1);
        let end = (address + bytes + piece - 1) & !(piece - 1);
        self.touched[usize::from(site)].add(first..end, piece);
    }

    /// Whether accesses of bound memory wait as runs.
    pub(super) fn is_deferred(&self) -> bool {
        self.deferred
    }

    /// Linear number of the first invocation of the workgroup that runs, from 1.
    pub(super) fn first_invocation(&self) -> u32 {
        self.group * self.group_size + 1
    }

    /// Barriers of the workgroup so far that concern bound memory.
    pub(super) fn epoch(&self) -> u32 {
        self.epochs[0]
    }

    /// Barriers of the workgroup so far: each counts at least once.
    pub(super) fn stretch(&self) -> u32 {
        self.epochs[0] + self.epochs[1]
    }

    /// Whether only the bytes that are touched matter: nothing in the launch writes to the slot, and all of it is
    /// written.
    pub(super) fn is_still(&self, slot: u32) -> bool {
        let quiet = self.quiet.get(slot as usize) == Some(&true);
        quiet && self.fresh.get(slot as usize).is_none_or(ByteSet::is_empty)
    }

    /// Looks for rivals of an access, piece by piece.
    fn touch_cells(
        &mut self,
        me: &Toucher,
        (kind, space): (ObservedKind, Space),
        address: u64,
        bytes: u32,
        changed: bool,
    ) {
        let piece = 1u64 << self.shift;
        let first = address & !(piece - 1);
        let end = (address + u64::from(bytes) + piece - 1) & !(piece - 1);
        let (workgroup, unwritten) = match space {
            Space::Slot(slot) => {
                let unwritten = self.fresh.get(slot as usize).is_some_and(|fresh| !fresh.is_empty());
                (false, unwritten)
            }
            _ => (true, true),
        };
        let reads = matches!(kind, ObservedKind::Read | ObservedKind::AtomicLoad)
            || kind == ObservedKind::Atomic && changed;
        // A stepped range divides, which costs more than all the rest.
        let mut next = first;
        while next < end {
            let address = next;
            next += piece;
            let fresh = unwritten && reads && (workgroup || self.is_fresh(space, address));
            let shadow = if workgroup { &mut self.shared } else { &mut self.bound };
            let nothing = fresh && !shadow.is_written(address, me.ground);
            let rival = match kind {
                ObservedKind::Read => shadow.read(address, me),
                ObservedKind::Write => shadow.write(address, me, changed),
                ObservedKind::AtomicLoad => shadow.atomic(address, me, true),
                ObservedKind::Atomic => shadow.atomic(address, me, false),
            };
            if nothing {
                let id = self.global_id(self.invocation_of(me.mark, workgroup));
                let site = mark::site(me.mark);
                self.complete &= note(&mut self.reads_of_nothing, site, id, [address, address + piece]);
            }
            if let Some(rival) = rival {
                let both = [rival, me.mark].map(|of| (mark::site(of), self.invocation_of(of, workgroup)));
                // A mark without the flag is of no write or of one that changed nothing.
                let rival_changed = rival & mark::CHANGED != 0;
                self.race(both, kind, address..address + piece, (rival_changed, changed));
            }
        }
    }

    /// An index that is not below the length.
    pub(super) fn out_of_bounds(&mut self, at: &At<'_>, index: u64, length: u64) {
        let site = self.site(at);
        let id = self.global_id(self.group * self.group_size + 1 + at.lane);
        self.complete &= note(&mut self.out_of_range, site, id, [index, length]);
    }

    fn is_fresh(&self, space: Space, address: u64) -> bool {
        let Space::Slot(slot) = space else { return false };
        self.fresh.get(slot as usize).is_some_and(|fresh| fresh.contains(address))
    }

    /// The number of a place.
    pub(super) fn site(&mut self, at: &At<'_>) -> u16 {
        let key = (at.span.to_range(), at.kind, at.space);
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let last = SITES_MAX - 1;
        if self.sites.len() > last {
            self.complete = false;
            return last as u16;
        }
        let number = self.sites.len() as u16;
        let At { span, kind, space, lane, .. } = *at;
        let invocation = self.global_id(self.group * self.group_size + 1 + lane);
        self.sites.push(Site { span, kind, space, variable: (at.variable)(), invocation });
        self.touched.push(Trail { run: 0..0, pages: Pages::new(self.shift) });
        self.numbers.insert(key, number);
        number
    }

    /// Two places with their invocations race; the second one with this kind. `changed`: for writes, whether they
    /// change what was there.
    fn race(
        &mut self,
        both: [(u16, u32); 2],
        kind: ObservedKind,
        bytes: Range<u64>,
        (rival_changed, changed): (bool, bool),
    ) {
        let sites = both.map(|(site, _)| site);
        let first_kind = self.sites[usize::from(sites[0])].kind;
        // What a write leaves as it was, is as if it had come in any order.
        let equal = match (first_kind, kind) {
            (_, ObservedKind::Write) => !changed,
            (ObservedKind::Write, ObservedKind::Read) => !rival_changed,
            _ => false,
        };
        if let Some(known) = self.racing.get(&sites) {
            let race = &mut self.races[*known];
            race.count += 1;
            race.equal_values &= equal;
            return;
        }
        if self.races.len() >= OBSERVED_MAX {
            self.complete = false;
            return;
        }
        self.racing.insert(sites, self.races.len());
        let invocations = both.map(|(_, number)| self.global_id(number));
        self.races.push(Race { sites, invocations, bytes, equal_values: equal, count: 1 });
    }

    fn global_id(&self, invocation: u32) -> [u32; 3] {
        let number = u64::from(invocation - 1);
        let size = u64::from(self.group_size);
        let group = super::group_at(self.grid, number / size);
        let local = super::group_at(self.workgroup_size, number % size);
        std::array::from_fn(|i| group[i] * self.workgroup_size[i] + local[i])
    }
}

/// Counts a remark; false if the list is full.
fn note(list: &mut Vec<Remark>, site: u16, invocation: [u32; 3], numbers: [u64; 2]) -> bool {
    // Places come in clusters, so the latest is the likeliest.
    if let Some(remark) = list.iter_mut().rev().find(|remark| remark.site == site) {
        remark.count += 1;
        return true;
    }
    if list.len() >= OBSERVED_MAX {
        return false;
    }
    list.push(Remark { site, invocation, numbers, count: 1 });
    true
}
