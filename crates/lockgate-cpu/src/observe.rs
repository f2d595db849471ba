//! What did the commands of this device touch? Puts addresses back into resources, and keeps the record.
//!
//! A kernel's record (`kernel::watch`) speaks of addresses; here they become bytes of resources. Copies, fills and
//! mipmaps touch what they say. Deliberately absent: judgements on order. Tested by `tests/observe.rs`.

use crate::execute::Pipeline;
use crate::graph::ReadyWork;
use crate::kernel::watch::{Recorder, Site, Space};
use crate::kernel::{Binding, Kernel, SlotKind};
use crate::memory::Span;
use crate::resource::{Buffer, Home, Texture, native};
use lockgate_runtime::backend::{self, Command, Grid, Native, RowLayout, SubmittedBuffer, TextureSpan};
use lockgate_runtime::*;
use lockgate_sync::CommandRef;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was observed and not yet taken.
#[derive(Default)]
pub(crate) struct Log(Mutex<Record>);

#[derive(Default)]
struct Record {
    commands: BTreeMap<CommandRef, ObservedCommand>,
    resources: BTreeMap<u64, ObservedResource>,
    observation: Observation,
}

/// A resource of a command, as something with parts at addresses.
struct Touched<'a> {
    key: ResourceKey,
    home: Home<'a>,
    texture: Option<&'a Texture>,
}

impl<'a> Touched<'a> {
    fn of(resource: u32, of: &'a SubmittedBuffer) -> Option<Touched<'a>> {
        let key = of.contents.resources().get(resource as usize)?.key;
        let object: &Native = of.resources.get(resource as usize)?;
        if let Ok(buffer) = native::<Buffer>(object) {
            return Some(Touched { key, home: buffer.home()?, texture: None });
        }
        let texture = native::<Texture>(object).ok()?;
        Some(Touched { key, home: texture.home()?, texture: Some(texture) })
    }

    /// Each part and its bytes of the memory.
    fn parts(&self) -> Vec<(ObservedPart, Range<u64>)> {
        let Some(texture) = self.texture else { return vec![(ObservedPart::Buffer, self.home.range())] };
        let descriptor = &texture.descriptor;
        let slices = 0..descriptor.slice_count();
        let all = slices.flat_map(|slice| (0..descriptor.mip_level_count).map(move |level| (level, slice)));
        let part = |(level, slice)| {
            let range = self.bytes_of(&texture.level(level, slice));
            (ObservedPart::Subresource { level, slice }, range)
        };
        all.map(part).collect()
    }

    /// A span in bytes of the memory.
    fn bytes_of(&self, span: &Span) -> Range<u64> {
        let start = (span.start as u64).saturating_sub(self.home.memory.address());
        start..start + span.size as u64
    }

    /// The part of the resource that a range of addresses is in, relative to it.
    fn locate(&self, addresses: Range<u64>) -> Range<u64> {
        let base = self.home.memory.address();
        let start = addresses.start.saturating_sub(base);
        let parts = self.parts();
        let part = parts.iter().find(|(_, range)| range.contains(&start));
        let first = part.map_or(0, |(_, range)| range.start);
        start - first..addresses.end.saturating_sub(base).saturating_sub(first)
    }
}

/// A place of a source, as far as there is one.
#[derive(Clone, Copy, Default)]
struct From {
    place: Option<SourcePlace>,
    invocation: Option<[u32; 3]>,
}

/// Accesses of a command, in bytes of memories.
#[derive(Default)]
struct Accesses<'a> {
    list: Vec<(Touched<'a>, ObservedKind, ByteSet, From)>,
}

impl<'a> Accesses<'a> {
    fn add(&mut self, of: &'a SubmittedBuffer, resource: u32, kind: ObservedKind, bytes: ByteSet) {
        if let Some(touched) = Touched::of(resource, of) {
            self.list.push((touched, kind, bytes, From::default()));
        }
    }

    fn buffer(&mut self, of: &'a SubmittedBuffer, span: &backend::BufferSpan, kind: ObservedKind) {
        let rows = RowLayout { bytes_per_row: span.size, bytes_per_image: span.size };
        self.rows(of, span, kind, &rows, [span.size, 1, 1]);
    }

    /// Rows of so many bytes in a buffer; `size` is bytes, rows and images.
    fn rows(
        &mut self,
        of: &'a SubmittedBuffer,
        span: &backend::BufferSpan,
        kind: ObservedKind,
        layout: &RowLayout,
        size: [u64; 3],
    ) {
        let Some(touched) = Touched::of(span.resource, of) else { return };
        let start = touched.home.range().start + span.offset;
        let images = (0..size[2]).map(|image| start + image * layout.bytes_per_image);
        let rows = images.flat_map(|image| (0..size[1]).map(move |row| image + row * layout.bytes_per_row));
        let bytes = rows.map(|row| row..row + size[0]).collect();
        self.list.push((touched, kind, bytes, From::default()));
    }

    fn texels(&mut self, of: &'a SubmittedBuffer, span: &TextureSpan, kind: ObservedKind) {
        let Some(touched) = Touched::of(span.resource, of) else { return };
        let Some(texture) = touched.texture else { return };
        let rows = (0..span.size[2]).flat_map(|z| (0..span.size[1]).map(move |y| (y, z)));
        let bytes = rows.map(|(y, z)| touched.bytes_of(&texture.row(span, y, z))).collect();
        self.list.push((touched, kind, bytes, From::default()));
    }

    fn command(&mut self, command: &Command, of: &'a SubmittedBuffer) {
        use ObservedKind::{Read, Write};
        let texel = |resource: u32| match native::<Texture>(&of.resources[resource as usize]) {
            Ok(texture) => u64::from(texture.format().bytes_per_texel()),
            Err(_) => 0,
        };
        let box_of = |span: &TextureSpan| {
            let [width, height, depth] = span.size.map(u64::from);
            [width * texel(span.resource), height, depth]
        };
        match command {
            Command::CopyBuffer { from, to } => {
                self.buffer(of, from, Read);
                self.buffer(of, to, Write);
            }
            Command::FillBuffer { to, .. } => self.buffer(of, to, Write),
            Command::CopyBufferToTexture { from, layout, to } => {
                self.rows(of, from, Read, layout, box_of(to));
                self.texels(of, to, Write);
            }
            Command::CopyTextureToBuffer { from, to, layout } => {
                self.texels(of, from, Read);
                self.rows(of, to, Write, layout, box_of(from));
            }
            Command::CopyTexture { from, to } => {
                self.texels(of, from, Read);
                self.texels(of, &TextureSpan { size: from.size, ..*to }, Write);
            }
            Command::GenerateMipmaps { resource } => self.mipmaps(of, *resource),
            Command::Dispatch { grid: Grid::Indirect(span), .. } => self.buffer(of, span, Read),
            Command::Dispatch { .. } | Command::Nothing => {}
        }
    }

    /// The first levels are read; of the others, what is read was written by the command itself.
    fn mipmaps(&mut self, of: &'a SubmittedBuffer, resource: u32) {
        let Some(touched) = Touched::of(resource, of) else { return };
        let (mut first, mut rest) = (ByteSet::new(), ByteSet::new());
        for (part, bytes) in touched.parts() {
            let is_first = matches!(part, ObservedPart::Subresource { level: 0, .. });
            if is_first { &mut first } else { &mut rest }.insert(bytes);
        }
        self.add(of, resource, ObservedKind::Read, first);
        self.add(of, resource, ObservedKind::Write, rest);
    }
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub(crate) fn take(&self) -> Observation {
        let Record { commands, resources, observation } = std::mem::take(&mut *self.lock());
        let commands = commands.into_values().collect();
        Observation { commands, resources: resources.into_values().collect(), ..observation }
    }

    /// A copy, fill or mipmap command has run.
    pub(crate) fn copied(&self, number: CommandRef, command: &Command, of: &SubmittedBuffer) {
        let mut accesses = Accesses::default();
        accesses.command(command, of);
        let mut record = self.lock();
        for (touched, kind, bytes, _) in &accesses.list {
            if *kind == ObservedKind::Read {
                record.copied_nothing(number, touched, bytes);
            }
        }
        record.add(number, &accesses, true);
    }

    /// A dispatch has run.
    pub(crate) fn dispatched(&self, work: &ReadyWork, pipeline: &Pipeline, recorder: &Recorder, done: bool) {
        let of = &work.buffers[work.command.buffer as usize];
        let Some(command) = of.contents.commands().get(work.command.command as usize) else { return };
        let Command::Dispatch { bindings, .. } = *command else { return };
        let list = of.contents.bindings().get(bindings as usize..).unwrap_or(&[]);
        let source = pipeline.source.as_deref().unwrap_or("");
        let story = Story { number: work.command, of, list, source, recorder };
        let mut accesses = Accesses::default();
        accesses.command(command, of);
        for (at, site) in recorder.sites().iter().enumerate() {
            if let Some(touched) = story.touched(site) {
                let base = touched.home.memory.address();
                let ranges = recorder.bytes(at as u16);
                let bytes =
                    ranges.ranges().iter().map(|range| range.start - base..range.end - base).collect();
                let from = From { place: story.place(site), invocation: Some(site.invocation) };
                accesses.list.push((touched, site.kind, bytes, from));
            }
        }
        let mut record = self.lock();
        record.add(work.command, &accesses, done && recorder.is_complete());
        record.observation.truncated |= !recorder.is_complete();
        record.tell(&story);
    }
}

/// The record of one dispatch, with what its numbers mean.
struct Story<'a> {
    number: CommandRef,
    of: &'a SubmittedBuffer,
    list: &'a [backend::Binding],
    source: &'a str,
    recorder: &'a Recorder,
}

impl<'a> Story<'a> {
    fn touched(&self, site: &Site) -> Option<Touched<'a>> {
        let Space::Slot(slot) = site.space else { return None };
        match self.list.get(slot as usize)? {
            backend::Binding::Buffer(span) => Touched::of(span.resource, self.of),
            backend::Binding::Texture { resource, .. } => Touched::of(*resource, self.of),
            backend::Binding::Sampler(_) | backend::Binding::Nothing => None,
        }
    }

    fn place(&self, site: &Site) -> Option<SourcePlace> {
        site.span.to_range().filter(|range| range.end <= self.source.len())?;
        let location = site.span.location(self.source);
        Some(SourcePlace { line: location.line_number, column: location.line_position })
    }

    fn site(&self, number: u16) -> Option<&'a Site> {
        self.recorder.sites().get(usize::from(number))
    }

    fn space(&self, site: &Site) -> ObservedSpace {
        match site.space {
            Space::Slot(_) => match self.touched(site) {
                Some(touched) => ObservedSpace::Resource(touched.key),
                None => ObservedSpace::Invocation,
            },
            Space::Workgroup => ObservedSpace::Workgroup,
            Space::Invocation => ObservedSpace::Invocation,
        }
    }

    fn bytes(&self, site: &Site, addresses: Range<u64>) -> Range<u64> {
        self.touched(site).map_or(addresses.clone(), |touched| touched.locate(addresses))
    }
}

impl Record {
    /// Adds accesses to a command, and what it wrote to what was written.
    fn add(&mut self, number: CommandRef, accesses: &Accesses<'_>, complete: bool) {
        let mut list = Vec::new();
        for (touched, kind, bytes, from) in &accesses.list {
            let Touched { key, home, texture } = touched;
            let (memory, range) = (home.number, home.range());
            let place = ObservedResource { key: *key, memory, bytes: range, texture: texture.is_some() };
            self.resources.insert(key.generation, place);
            if matches!(kind, ObservedKind::Write | ObservedKind::Atomic) {
                home.write(bytes);
            }
            for (part, range) in touched.parts() {
                let inside = bytes.intersection(&range.clone().into());
                if inside.is_empty() {
                    continue;
                }
                let own = inside.ranges().iter().map(|own| own.start - range.start..own.end - range.start);
                list.push(ObservedAccess {
                    resource: *key,
                    part,
                    kind: *kind,
                    bytes: own.collect(),
                    base: range.start,
                    place: from.place,
                    invocation: from.invocation,
                });
            }
        }
        self.commands.insert(number, ObservedCommand { command: number, accesses: list, complete });
    }

    /// A copy may have read what nobody has written.
    fn copied_nothing(&mut self, command: CommandRef, touched: &Touched<'_>, bytes: &ByteSet) {
        let missing = touched.home.written.missing(bytes.hull()).intersection(bytes);
        let Some(first) = missing.ranges().first() else { return };
        let base = touched.home.memory.address();
        let read = UninitializedRead {
            command,
            space: ObservedSpace::Resource(touched.key),
            variable: String::new(),
            bytes: touched.locate(first.start + base..first.end + base),
            place: None,
            invocation: None,
            count: 1,
        };
        push(&mut self.observation.uninitialized, read, &mut self.observation.truncated);
    }

    /// Races and remarks of a dispatch.
    fn tell(&mut self, story: &Story<'_>) {
        let Observation { races, uninitialized, out_of_bounds, truncated, .. } = &mut self.observation;
        for race in story.recorder.races() {
            let (Some(one), Some(two)) = (story.site(race.sites[0]), story.site(race.sites[1])) else {
                continue;
            };
            let side =
                |site: &Site, invocation| RaceSide { kind: site.kind, place: story.place(site), invocation };
            let race = DispatchRace {
                command: story.number,
                space: story.space(two),
                variable: two.variable.clone(),
                bytes: story.bytes(two, race.bytes.clone()),
                first: side(one, race.invocations[0]),
                second: side(two, race.invocations[1]),
                equal_values: race.equal_values,
                count: race.count,
            };
            push(races, race, truncated);
        }
        for remark in story.recorder.reads_of_nothing() {
            let Some(site) = story.site(remark.site) else { continue };
            let read = UninitializedRead {
                command: story.number,
                space: story.space(site),
                variable: site.variable.clone(),
                bytes: story.bytes(site, remark.numbers[0]..remark.numbers[1]),
                place: story.place(site),
                invocation: Some(remark.invocation),
                count: remark.count,
            };
            push(uninitialized, read, truncated);
        }
        for remark in story.recorder.out_of_range() {
            let Some(site) = story.site(remark.site) else { continue };
            let [index, length] = remark.numbers;
            let beyond = OutOfBounds {
                command: story.number,
                space: story.space(site),
                variable: site.variable.clone(),
                kind: site.kind,
                place: story.place(site),
                index,
                length,
                invocation: remark.invocation,
                count: remark.count,
            };
            push(out_of_bounds, beyond, truncated);
        }
    }
}

fn push<T>(list: &mut Vec<T>, entry: T, truncated: &mut bool) {
    if list.len() < OBSERVED_MAX {
        list.push(entry);
    } else {
        *truncated = true;
    }
}

/// For each slot, whether it is a buffer whose bytes no binding can write.
fn quiet(kernel: &Kernel, bindings: &[Binding]) -> Vec<bool> {
    let range = |binding: &Binding| match binding {
        Binding::Buffer(buffer) => Some((buffer.ptr as u64, buffer.ptr as u64 + buffer.len)),
        _ => None,
    };
    let slots = || {
        let each = kernel.slots().iter().zip(bindings);
        each.flat_map(|(slot, binding)| binding.elements().iter().map(move |element| (slot, element)))
    };
    let writable = slots().filter(|(slot, _)| match slot.kind {
        SlotKind::Buffer { writable, .. } | SlotKind::Texture { writable, .. } => writable,
        SlotKind::Sampler => false,
    });
    // Where a texture is written, its memory may be anywhere.
    let written: Option<Vec<(u64, u64)>> = writable.map(|(_, binding)| range(binding)).collect();
    let Some(written) = written else { return slots().map(|_| false).collect() };
    let apart = |own: (u64, u64)| written.iter().all(|other| own.1 <= other.0 || other.1 <= own.0);
    slots().map(|(_, binding)| range(binding).is_some_and(apart)).collect()
}

/// A recorder for a dispatch.
pub(crate) fn recorder(
    kernel: &Kernel,
    grid: [u32; 3],
    list: &[backend::Binding],
    bindings: &[Binding],
    of: &SubmittedBuffer,
) -> Result<Recorder> {
    let size = kernel.workgroup_size();
    let invocations = grid.iter().chain(&size).map(|side| u128::from(*side)).product::<u128>();
    if invocations > u128::from(Recorder::INVOCATIONS_MAX) {
        let most = Recorder::INVOCATIONS_MAX;
        let message = format!("{invocations} invocations cannot be observed, at most {most} can");
        return Err(Error::new(ErrorKind::Execution, message));
    }
    let group = size.iter().map(|side| u128::from(*side)).product::<u128>();
    if group > u128::from(Recorder::WORKGROUP_MAX) {
        let most = Recorder::WORKGROUP_MAX;
        let message =
            format!("a workgroup of {group} invocations cannot be observed, one of at most {most} can");
        return Err(Error::new(ErrorKind::Execution, message));
    }
    let mut granule = kernel.smallest_scalar();
    let mut fresh = vec![ByteSet::new(); list.len()];
    // Elements of arrays are told apart as bindings of their own.
    let elements: Vec<&Binding> = bindings.iter().flat_map(Binding::elements).collect();
    for ((bound, binding), fresh) in list.iter().zip(elements).zip(&mut fresh) {
        let resource = match *bound {
            backend::Binding::Buffer(span) => span.resource,
            backend::Binding::Texture { resource, .. } => resource,
            backend::Binding::Sampler(_) | backend::Binding::Nothing => continue,
        };
        if let Binding::Texture(texture) = binding {
            granule = granule.min(texture.format.bytes());
        }
        let Some(touched) = Touched::of(resource, of) else { continue };
        let missing = touched.home.written.missing(touched.home.range());
        *fresh = missing.shifted(touched.home.memory.address());
    }
    Ok(Recorder::new(grid, size, fresh, granule).with_quiet(quiet(kernel, bindings)))
}
