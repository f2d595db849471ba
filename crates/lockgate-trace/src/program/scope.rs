//! The names of a file: what each stands for, and where it was given.

use super::Reader;
use super::file::{Kind, Resource};
use super::node::{FromValue, Node, Spanned};
use super::number::numbers;
use crate::diagnostic::Diagnostic;
use kdl::KdlValue;
use lockgate_sync::{EventId, FenceId, QueueId, ResourceId};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entity {
    Resource(ResourceId),
    Heap(usize),
    Fence(FenceId),
    Event(EventId),
    Sampler(usize),
    Queue(QueueId),
}

impl Entity {
    fn what(self) -> &'static str {
        match self {
            Entity::Resource(_) => "resource",
            Entity::Heap(_) => "heap",
            Entity::Fence(_) => "fence",
            Entity::Event(_) => "event",
            Entity::Sampler(_) => "sampler",
            Entity::Queue(_) => "queue",
        }
    }
}

/// All names so far.
#[derive(Default)]
pub(super) struct Scope {
    names: BTreeMap<String, (Entity, Range<usize>)>,
    /// Entry points: file, and where the file was named.
    pub(super) kernels: BTreeMap<String, (usize, Range<usize>)>,
    /// Commits by the name of the commit or of one of its command buffers.
    pub(super) commits: BTreeMap<String, u64>,
    pub(super) commit_count: u64,
    /// How often each `pass.command` was given, for `#2`.
    pub(super) commands: BTreeMap<String, u32>,
    /// All command names, for expectations.
    pub(super) command_names: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Gives a name; a second one of the same spelling is a mistake.
    pub(super) fn declare(&mut self, name: &Spanned<&str>, entity: Entity) {
        if let Some((_, first)) = self.scope.names.get(name.value) {
            let message = format!("the name `{}` is given twice", name.value);
            let source = &self.errors.source;
            let diagnostic =
                Diagnostic::new("duplicate-name", message, source, name.span.clone(), "again here");
            self.errors.push(diagnostic.and(first.clone(), "first here"));
            return;
        }
        self.scope.names.insert(name.value.to_owned(), (entity, name.span.clone()));
    }

    pub(super) fn entity(&self, name: &str) -> Option<Entity> {
        self.scope.names.get(name).map(|(entity, _)| *entity)
    }

    fn find<T>(&self, name: &Spanned<&str>, what: &str, pick: impl Fn(Entity) -> Option<T>) -> Option<T> {
        let Some((entity, _)) = self.scope.names.get(name.value) else {
            let fitting = self.scope.names.iter().filter(|(_, (entity, _))| pick(*entity).is_some());
            self.errors.unknown(&name.span, what, name.value, fitting.map(|(name, _)| name.as_str()));
            return None;
        };
        let found = pick(*entity);
        if found.is_none() {
            let message = format!("`{}` is a {}, not a {what}", name.value, entity.what());
            self.errors.at(&name.span, "wrong-kind", message, "");
        }
        found
    }

    pub(super) fn find_resource(&self, name: &Spanned<&str>) -> Option<ResourceId> {
        self.find(name, "resource", |entity| match entity {
            Entity::Resource(id) => Some(id),
            _ => None,
        })
    }

    pub(super) fn find_heap(&self, name: &Spanned<&str>) -> Option<usize> {
        self.find(name, "heap", |entity| match entity {
            Entity::Heap(index) => Some(index),
            _ => None,
        })
    }

    /// The resource that the next argument names, and where.
    pub(super) fn resource_arg(&self, node: &mut Node<'a>) -> Option<(ResourceId, Range<usize>)> {
        let name = node.arg::<&str>("the name of a resource")?;
        Some((self.find_resource(&name)?, name.span))
    }

    pub(super) fn fence_arg(&self, node: &mut Node<'a>) -> Option<FenceId> {
        let name = node.arg::<&str>("the name of a fence")?;
        self.find(&name, "fence", |entity| match entity {
            Entity::Fence(id) => Some(id),
            _ => None,
        })
    }

    pub(super) fn event_arg(&self, node: &mut Node<'a>) -> Option<(EventId, u64)> {
        let name = node.arg::<&str>("the name of an event")?;
        let event = self.find(&name, "event", |entity| match entity {
            Entity::Event(id) => Some(id),
            _ => None,
        });
        let value = node.needed_prop::<u64>("value");
        Some((event?, value?.value))
    }

    /// A number, or a text with the names of resources in it.
    pub(super) fn number(&self, value: &Spanned<&KdlValue>) -> Option<u64> {
        match self.number_list(value)?.as_slice() {
            [one] => Some(*one),
            list => {
                let message = format!("one number is expected here, not {}", list.len());
                self.errors.at(&value.span, "wrong-type", message, "");
                None
            }
        }
    }

    pub(super) fn number_list(&self, value: &Spanned<&KdlValue>) -> Option<Vec<u64>> {
        let Some(text) = value.value.as_string() else {
            let number = u64::from_value(value.value);
            if number.is_none() {
                let message = format!("{} is no whole number from 0 on", value.value);
                self.errors.at(&value.span, "wrong-type", message, "");
            }
            return number.map(|number| vec![number]);
        };
        let lookup = |name: &str, level: Option<u32>, field: &str| match self.entity(name) {
            Some(Entity::Resource(id)) => field_of(self.file.resource(id), level, field),
            Some(Entity::Heap(index)) if field == "size" => Ok(self.file.heaps[index].size),
            Some(entity) => Err(format!("`{name}` is a {}; it has no `{field}`", entity.what())),
            None => Err(format!("there is no resource `{name}` above")),
        };
        let list = numbers(text, &lookup);
        list.map_err(|message| self.errors.at(&value.span, "wrong-number", message, "")).ok()
    }

    pub(super) fn number_prop(&self, node: &Node<'a>, name: &'static str) -> Option<u64> {
        self.number(&node.prop::<&KdlValue>(name)?)
    }

    /// One, two or three sides; those that are missing are 1.
    pub(super) fn sides_prop(&self, node: &Node<'a>, name: &'static str, missing: u32) -> Option<[u32; 3]> {
        let value = node.prop::<&KdlValue>(name)?;
        let list = self.number_list(&value)?;
        let mut sides = [missing; 3];
        if list.is_empty() || list.len() > 3 || list.iter().any(|side| *side > u64::from(u32::MAX)) {
            let message = "one to three numbers of at most 4294967295 are expected here";
            self.errors.at(&value.span, "wrong-number", message, "");
            return None;
        }
        list.iter().enumerate().for_each(|(axis, side)| sides[axis] = *side as u32);
        Some(sides)
    }
}

fn field_of(resource: &Resource, level: Option<u32>, field: &str) -> Result<u64, String> {
    let name = &resource.name;
    if field == "size" && level.is_none() {
        return Ok(resource.size());
    }
    let Kind::Texture { descriptor } = &resource.kind else {
        return Err(format!("`{name}` has no `{field}`, only `size`"));
    };
    let level = level.unwrap_or(0);
    if level >= descriptor.mip_level_count {
        let levels = descriptor.mip_level_count;
        return Err(format!("`{name}` has {levels} mip levels; there is no level {level}"));
    }
    let sides = descriptor.level_size(level);
    match field {
        "width" => Ok(sides[0].into()),
        "height" => Ok(sides[1].into()),
        "depth" => Ok(sides[2].into()),
        "levels" => Ok(descriptor.mip_level_count.into()),
        "slices" => Ok(descriptor.slice_count().into()),
        _ => Err(format!("a texture has width, height, depth, levels, slices and size, but no `{field}`")),
    }
}
