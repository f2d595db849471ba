//! Argument tables: what kernels find at their bindings.

use crate::buffer::Buffer;
use crate::device::Device;
use crate::{Sampler, Texture};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most entries of a table: Metal's 31 buffers, 128 textures and 16 samplers together.
pub const ARGUMENTS_MAX: usize = 175;

/// Most elements of an array of bindings.
pub const ARRAY_ELEMENTS_MAX: u32 = 65_536;

/// A binding, by `@group` and `@binding` or by the name of its variable.
///
/// ```
/// use lockgate_runtime::BindingKey;
/// let (by_number, by_name): (BindingKey, BindingKey) = ((0, 2).into(), "input".into());
/// assert_ne!(by_number, by_name);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BindingKey<'a> {
    /// `@group(..) @binding(..)`.
    Number(u32, u32),
    /// The name of the variable.
    Name(&'a str),
}

impl From<(u32, u32)> for BindingKey<'_> {
    fn from((group, binding): (u32, u32)) -> Self {
        BindingKey::Number(group, binding)
    }
}

impl From<u32> for BindingKey<'_> {
    /// A binding of group 0.
    fn from(binding: u32) -> Self {
        BindingKey::Number(0, binding)
    }
}

impl<'a> From<&'a str> for BindingKey<'a> {
    fn from(name: &'a str) -> Self {
        BindingKey::Name(name)
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Argument {
    Buffer(Buffer, Range<u64>),
    Texture(Texture),
    Sampler(Sampler),
    /// Elements of an array of bindings.
    Array(BTreeMap<u32, Argument>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    Number(u32, u32),
    Name(Box<str>),
}

/// What kernels find at their bindings. Cheap to clone; all clones are one table. A dispatch captures it as it stands: later changes do not reach back
/// (`semantics` 2.13). Contents of resources are read when the dispatch runs.
///
/// A name that a kernel does not have is ignored by it, so one table serves several kernels. Where a kernel's
/// binding is set by number and by name, what was set last counts.
///
/// ```
/// use lockgate_runtime::*;
/// let device = Device::null();
/// let buffer = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() })?;
/// let table = device.new_argument_table();
/// table.set_buffer("input", &buffer);
/// table.set_buffer_range(1, &buffer, 16..32);
/// assert_eq!(table.len(), 2);
/// # Ok::<(), Error>(())
/// ```
#[doc(alias = "MTL4ArgumentTable")]
#[derive(Clone, Debug, Default)]
pub struct ArgumentTable(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    arguments: Mutex<Arguments>,
    /// Counts changes, so that a dispatch can tell without the lock whether it has captured this state.
    changes: AtomicU64,
}

#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// In the order in which they were set; an entry that is set again moves to the end.
    entries: Vec<(Key, Argument)>,
}

impl Device {
    /// An empty table.
    #[doc(alias = "newArgumentTableWithDescriptor")]
    pub fn new_argument_table(&self) -> ArgumentTable {
        ArgumentTable::default()
    }
}

impl ArgumentTable {
    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.lock().entries.is_empty()
    }

    /// Puts a whole buffer at a binding.
    #[doc(alias = "setAddress")]
    pub fn set_buffer<'a>(&self, key: impl Into<BindingKey<'a>>, buffer: &Buffer) {
        self.set_buffer_range(key, buffer, 0..buffer.size());
    }

    /// Puts bytes of a buffer at a binding: the kernel sees nothing else of it. A range beyond the buffer is an
    /// error of the dispatch that uses it.
    pub fn set_buffer_range<'a>(&self, key: impl Into<BindingKey<'a>>, buffer: &Buffer, range: Range<u64>) {
        self.set(key.into(), Argument::Buffer(buffer.clone(), range));
    }

    /// Puts a texture or a view at a binding.
    #[doc(alias = "setTexture")]
    pub fn set_texture<'a>(&self, key: impl Into<BindingKey<'a>>, texture: &Texture) {
        self.set(key.into(), Argument::Texture(texture.clone()));
    }

    /// Puts a sampler at a binding.
    #[doc(alias = "setSamplerState")]
    pub fn set_sampler<'a>(&self, key: impl Into<BindingKey<'a>>, sampler: &Sampler) {
        self.set(key.into(), Argument::Sampler(sampler.clone()));
    }

    /// Puts a whole buffer at one element of an array of bindings. Elements that are never set are not bound: kernels read
    /// zero there, and what they write is dropped.
    ///
    /// ```
    /// use lockgate_runtime::*;
    /// let device = Device::null();
    /// let buffer = device.new_buffer(&BufferDescriptor { size: 64, ..Default::default() })?;
    /// let table = device.new_argument_table();
    /// table.set_buffer_element("inputs", 0, &buffer);
    /// table.set_buffer_range_element("inputs", 3, &buffer, 16..32);
    /// assert_eq!(table.len(), 1);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_buffer_element<'a>(&self, key: impl Into<BindingKey<'a>>, element: u32, buffer: &Buffer) {
        self.set_buffer_range_element(key, element, buffer, 0..buffer.size());
    }

    /// Puts bytes of a buffer at one element of an array of bindings.
    pub fn set_buffer_range_element<'a>(
        &self,
        key: impl Into<BindingKey<'a>>,
        element: u32,
        buffer: &Buffer,
        range: Range<u64>,
    ) {
        self.set_element(key.into(), element, Argument::Buffer(buffer.clone(), range));
    }

    /// Puts a texture or a view at one element of an array of bindings.
    #[doc(alias = "setTextures")]
    pub fn set_texture_element<'a>(&self, key: impl Into<BindingKey<'a>>, element: u32, texture: &Texture) {
        self.set_element(key.into(), element, Argument::Texture(texture.clone()));
    }

    /// Puts a sampler at one element of an array of bindings.
    #[doc(alias = "setSamplerStates")]
    pub fn set_sampler_element<'a>(&self, key: impl Into<BindingKey<'a>>, element: u32, sampler: &Sampler) {
        self.set_element(key.into(), element, Argument::Sampler(sampler.clone()));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Arguments> {
        self.0.arguments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Whether both are one table.
    pub(crate) fn is(&self, other: &ArgumentTable) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn set(&self, key: BindingKey<'_>, argument: Argument) {
        let mut arguments = self.lock();
        arguments.set(key, argument);
        self.count_change(arguments);
    }

    /// Only who holds the lock counts.
    fn count_change(&self, _arguments: MutexGuard<'_, Arguments>) {
        let changes = self.0.changes.load(Ordering::Relaxed);
        self.0.changes.store(changes + 1, Ordering::Release);
    }

    fn set_element(&self, key: BindingKey<'_>, element: u32, argument: Argument) {
        let mut arguments = self.lock();
        let mut elements = match arguments.take(key) {
            Some(Argument::Array(elements)) => elements,
            _ => BTreeMap::new(),
        };
        elements.insert(element, argument);
        arguments.set(key, Argument::Array(elements));
        self.count_change(arguments);
    }
}

impl Arguments {
    /// What a binding finds: what was set last under its number or its name.
    pub(crate) fn find(&self, group: u32, binding: u32, name: &str) -> Option<&Argument> {
        let is = |key: &Key| match key {
            Key::Number(g, b) => (*g, *b) == (group, binding),
            Key::Name(n) => **n == *name,
        };
        self.entries.iter().rev().find(|(key, _)| is(key)).map(|(_, argument)| argument)
    }

    fn position(&self, key: BindingKey<'_>) -> Option<usize> {
        let is = |own: &Key| match (own, key) {
            (Key::Number(g, b), BindingKey::Number(group, binding)) => (*g, *b) == (group, binding),
            (Key::Name(n), BindingKey::Name(name)) => **n == *name,
            _ => false,
        };
        self.entries.iter().position(|(own, _)| is(own))
    }

    /// Takes what was set under exactly this key.
    fn take(&mut self, key: BindingKey<'_>) -> Option<Argument> {
        let at = self.position(key)?;
        Some(self.entries.remove(at).1)
    }

    fn set(&mut self, key: BindingKey<'_>, argument: Argument) {
        let key = match self.position(key) {
            Some(at) if at + 1 == self.entries.len() => {
                self.entries[at].1 = argument;
                return;
            }
            Some(at) => self.entries.remove(at).0,
            None => match key {
                BindingKey::Number(group, binding) => Key::Number(group, binding),
                BindingKey::Name(name) => Key::Name(name.into()),
            },
        };
        self.entries.push((key, argument));
    }
}
