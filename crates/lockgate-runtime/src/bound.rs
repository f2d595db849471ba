//! What dispatches find bound: the pipeline and the argument table, and what the last dispatch took from them.
//!
//! A dispatch captures the table as it stands (`semantics` 2.13). As long as neither changes, the next ones of the
//! command buffer share what the first has captured, across passes too: bindings, and the accesses that the
//! model is told. Deliberately absent: the dispatch itself (`dispatch.rs`). Tested in `tests/recording.rs` of `lockgate-cpu`.

use crate::argument_table::{ARRAY_ELEMENTS_MAX, Argument, ArgumentTable};
use crate::backend::{Binding, BufferSpan, DeviceInfo};
use crate::contents::CommandBufferContents;
use crate::library::{BindingArray, BindingKind, ComputePipeline, ReflectedBinding};
use crate::{Error, ErrorKind, Result, Texture, TextureType};
use lockgate_sync::{Access, AccessKind, Texels};
use std::sync::Arc;

/// Pipeline and table of a command buffer, kept from pass to pass so that the next pass need not bind again
/// what it shares with the last.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) pipeline: Option<ComputePipeline>,
    table: Option<ArgumentTable>,
    captured: Option<Captured>,
    /// Place and label of the pipeline, as the last capture has them.
    named: Option<(u32, (u32, u32))>,
    /// What the bindings let the kernel touch, and beyond them what one dispatch adds.
    pub(crate) accesses: Vec<Access>,
    /// Labels of the open debug groups, each ended by `/`.
    groups: String,
}

/// What a dispatch has captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Captured {
    /// Of the table, counted in changes; 0 without one.
    changes: u64,
    /// First of its bindings in the contents, and their number.
    pub(crate) bindings: (u32, u32),
    /// Place of the pipeline in the contents.
    pub(crate) pipeline: u32,
    /// In the texts of the contents.
    pub(crate) label: (u32, u32),
}

/// What of the device bounds dispatches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DispatchLimits {
    pub(crate) max_threadgroups: u32,
    max_buffer_binding_size: u64,
    storage_offset_alignment: u64,
    uniform_offset_alignment: u64,
}

impl DispatchLimits {
    pub(crate) fn of(info: &DeviceInfo) -> DispatchLimits {
        DispatchLimits {
            max_threadgroups: info.max_threadgroups,
            max_buffer_binding_size: info.max_buffer_binding_size,
            storage_offset_alignment: info.storage_offset_alignment,
            uniform_offset_alignment: info.uniform_offset_alignment,
        }
    }

    /// Whether a binding can be a range of a buffer.
    fn check(&self, binding: &ReflectedBinding, start: u64, size: u64) -> Result<()> {
        let name = &binding.name;
        let (align, limit) = match binding.uniform {
            true => (self.uniform_offset_alignment, "uniform_offset_alignment"),
            false => (self.storage_offset_alignment, "storage_offset_alignment"),
        };
        if !start.is_multiple_of(align) {
            let kind = if start.is_multiple_of(4) { ErrorKind::Unsupported } else { ErrorKind::Invalid };
            let message =
                format!("`{name}` is bound from byte {start}, which is not aligned to {align} ({limit})");
            return Err(Error::new(kind, message));
        }
        if size > self.max_buffer_binding_size {
            let most = self.max_buffer_binding_size;
            let message =
                format!("`{name}` is bound to {size} bytes, which exceed {most} (max_buffer_binding_size)");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        Ok(())
    }
}

impl Bound {
    pub(crate) fn set_pipeline(&mut self, pipeline: &ComputePipeline) {
        if !self.pipeline.as_ref().is_some_and(|own| Arc::ptr_eq(&own.0, &pipeline.0)) {
            self.pipeline = Some(pipeline.clone());
            self.captured = None;
            self.named = None;
        }
    }

    pub(crate) fn set_table(&mut self, table: Option<&ArgumentTable>) {
        let same = match (&self.table, table) {
            (Some(own), Some(table)) => own.is(table),
            (own, table) => own.is_none() && table.is_none(),
        };
        if !same {
            self.table = table.cloned();
            self.captured = None;
        }
    }

    pub(crate) fn push_group(&mut self, label: &str) {
        self.groups.push_str(label);
        self.groups.push('/');
        self.captured = None;
        self.named = None;
    }

    pub(crate) fn pop_group(&mut self) {
        let end = self.groups[..self.groups.len().saturating_sub(1)].rfind('/').map_or(0, |at| at + 1);
        self.groups.truncate(end);
        self.captured = None;
        self.named = None;
    }

    /// Labels of the open debug groups.
    pub(crate) fn groups(&self) -> &str {
        &self.groups
    }

    /// A pass ends: groups do not outlive it.
    pub(crate) fn end_pass(&mut self) {
        if !self.groups.is_empty() {
            self.groups.clear();
            self.captured = None;
            self.named = None;
        }
    }

    /// A recording begins or ends: nothing is bound.
    pub(crate) fn clear(&mut self) {
        self.pipeline = None;
        self.table = None;
        self.captured = None;
        self.named = None;
        self.groups.clear();
    }

    /// What was captured, if it still holds.
    pub(crate) fn captured(&self) -> Option<Captured> {
        let changes = self.table.as_ref().map_or(0, ArgumentTable::changes);
        self.captured.filter(|captured| captured.changes == changes)
    }

    /// Writes the bindings of the pipeline as the table stands now. `checking` says whether the model is told of
    /// untracked resources too.
    pub(crate) fn capture(
        &mut self,
        contents: &mut CommandBufferContents,
        checking: bool,
        limits: DispatchLimits,
    ) -> Result<Captured> {
        self.captured = None;
        self.accesses.clear();
        let Some(pipeline) = &self.pipeline else {
            return Err(Error::invalid("a dispatch needs a pipeline"));
        };
        let arguments = self.table.as_ref().map(ArgumentTable::lock);
        let changes = self.table.as_ref().map_or(0, ArgumentTable::changes);
        let first = contents.bindings.len();
        let mut target = Target { contents, accesses: &mut self.accesses, checking, limits };
        let find = |binding: &ReflectedBinding| {
            arguments.as_ref().and_then(|a| a.find(binding.group, binding.binding, &binding.name))
        };
        let bindings = &pipeline.reflection().bindings;
        let open = bindings.iter().filter(|binding| binding.array == Some(BindingArray::Unsized));
        // All arrays without a size are as long as the longest, and end with an element where nothing is bound: that is what
        // an index beyond the end takes.
        let last = open.filter_map(find).filter_map(last_element).max();
        let longest = last.map_or(1, |last| last.saturating_add(2));
        for binding in bindings {
            let bound = match find(binding) {
                Some(argument) => target.bind_all(binding, argument, longest),
                None => {
                    let ReflectedBinding { group, binding, name, .. } = binding;
                    let message =
                        format!("nothing is bound to `{name}` (@group({group}) @binding({binding}))");
                    Err(Error::invalid(message))
                }
            };
            bound.map_err(|why| why.context(format!("`{}`", pipeline.label())))?;
        }
        let bindings = (first as u32, (contents.bindings.len() - first) as u32);
        let (pipeline, label) = *self.named.get_or_insert_with(|| {
            let label = contents.command_text(&self.groups, pipeline.label());
            (contents.pipeline(pipeline), (label.start, label.end))
        });
        let captured = Captured { changes, bindings, pipeline, label };
        self.captured = Some(captured);
        Ok(captured)
    }
}

/// Where captured bindings go.
struct Target<'a> {
    contents: &'a mut CommandBufferContents,
    accesses: &'a mut Vec<Access>,
    checking: bool,
    limits: DispatchLimits,
}

/// The highest element that is set.
fn last_element(argument: &Argument) -> Option<u32> {
    match argument {
        Argument::Array(elements) => elements.last_key_value().map(|(last, _)| *last),
        _ => None,
    }
}

impl Target<'_> {
    /// A single resource, or all elements of an array.
    fn bind_all(&mut self, binding: &ReflectedBinding, argument: &Argument, longest: u32) -> Result<()> {
        let name = &binding.name;
        let count = match binding.array {
            None => return self.bind(binding, argument),
            Some(BindingArray::Sized(count)) => count,
            Some(BindingArray::Unsized) => longest,
        };
        let Argument::Array(elements) = argument else {
            let message = format!("`{name}` is an array: its elements have to be set, not the whole");
            return Err(Error::invalid(message));
        };
        if count > ARRAY_ELEMENTS_MAX + 1 {
            let message =
                format!("`{name}` has more than {ARRAY_ELEMENTS_MAX} elements (ARRAY_ELEMENTS_MAX)");
            return Err(Error::invalid(message));
        }
        if let Some(last) = last_element(argument).filter(|last| *last >= count) {
            return Err(Error::invalid(format!("element {last} of `{name}` is set, which has {count}")));
        }
        for at in 0..count {
            match elements.get(&at) {
                Some(element) => {
                    self.bind(binding, element).map_err(|why| why.context(format!("element {at}")))?;
                }
                None => self.contents.bindings.push(Binding::Nothing),
            }
        }
        Ok(())
    }

    fn bind(&mut self, binding: &ReflectedBinding, argument: &Argument) -> Result<()> {
        let name = &binding.name;
        let mut kind = AccessKind::empty();
        kind.set(AccessKind::READ, binding.reads);
        kind.set(AccessKind::WRITE, binding.writes);
        if binding.atomic {
            kind = AccessKind::ATOMIC;
        }
        match (argument, binding.kind) {
            (Argument::Buffer(buffer, range), BindingKind::Buffer { min_size }) => {
                let size = range.end.saturating_sub(range.start);
                let (label, length) = (buffer.label(), buffer.size());
                if range.start > range.end || range.end > length {
                    return Err(Error::invalid(format!(
                        "`{name}` is bound to {range:?} of buffer `{label}` of {length} bytes"
                    )));
                }
                if size < min_size {
                    return Err(Error::invalid(format!(
                        "`{name}` needs {min_size} bytes, and {size} of buffer `{label}` are bound"
                    )));
                }
                self.limits.check(binding, range.start, size)?;
                let resource = self.contents.buffer(buffer);
                let span = BufferSpan { resource, offset: range.start, size };
                self.contents.bindings.push(Binding::Buffer(span));
                if buffer.0.tracked || self.checking {
                    self.accesses.push(Access::bytes(buffer.key().id, range.start, range.end, kind));
                }
            }
            (Argument::Texture(texture), BindingKind::Texture { texture_type }) => {
                check_texture(name, texture, texture_type)?;
                let resource = self.contents.texture(texture);
                self.contents.bindings.push(Binding::Texture { resource, view: texture.view });
                if texture.inner.tracked || self.checking {
                    let short = |(start, end): (u32, u32)| (start as u16, end as u16);
                    let texels = Texels::range(short(texture.view.levels), short(texture.view.slices));
                    self.accesses.push(Access::texels(texture.key().id, texels, kind));
                }
            }
            (Argument::Sampler(sampler), BindingKind::Sampler) => {
                let place = self.contents.sampler(&sampler.native);
                self.contents.bindings.push(Binding::Sampler(place));
            }
            (Argument::Array(_), _) => {
                let message = format!("`{name}` is no array, but elements of one are bound to it");
                return Err(Error::invalid(message));
            }
            (argument, _) => {
                let what = match argument {
                    Argument::Buffer(..) => "a buffer",
                    Argument::Texture(_) => "a texture",
                    Argument::Sampler(_) => "a sampler",
                    Argument::Array(_) => "an array",
                };
                return Err(Error::invalid(format!("`{name}` is no {what}, but {what} is bound to it")));
            }
        }
        Ok(())
    }
}

/// Whether a kernel can see a texture as it declares it.
fn check_texture(name: &str, texture: &Texture, declared: TextureType) -> Result<()> {
    let (own, slices) = (texture.descriptor().texture_type, texture.view.slices.1 - texture.view.slices.0);
    if own.can_be_seen_as(declared, slices) {
        return Ok(());
    }
    let (declared, own, label) = (declared.name(), own.name(), texture.label());
    let message =
        format!("`{name}` is a {declared} texture, and {slices} slices of {own} texture `{label}` are bound");
    Err(Error::invalid(message))
}
