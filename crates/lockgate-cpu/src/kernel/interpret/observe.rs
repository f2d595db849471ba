//! How the recorder is told what an invocation touches.
//!
//! Nothing happens here unless somebody records.

use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Expression, Handle, Span, TypeInner};

use super::{
    super::{
        binding::{Binding, TextureBinding},
        layout::Leaf,
        sample::{self, SamplePoint},
        watch::{At, Recorder, Space},
    },
    Machine,
    value::{Bound, Fault, Pointer, Root},
};

impl Machine<'_> {
    /// Whether a pointer is to an atomic.
    pub(super) fn is_atomic(&self, pointer: Handle<Expression>) -> Result<bool, Fault> {
        let types = &self.program.module.types;
        Ok(match *self.inner(pointer)? {
            TypeInner::Pointer { base, .. } => matches!(types[base].inner, TypeInner::Atomic(_)),
            _ => false,
        })
    }

    /// One scalar behind a pointer: whether it is the first of the access, and `changed` as [`Recorder::touch`] takes
    /// it.
    pub(super) fn observe(
        &self,
        span: Span,
        kind: ObservedKind,
        place: Pointer,
        leaf: Leaf,
        lane: usize,
        (first, changed): (bool, bool),
    ) {
        let space = match place.root {
            Root::Slot(bound) => Space::Slot(self.place_of(bound)),
            Root::Shared => Space::Workgroup,
            Root::Immediates => return,
            Root::Private | Root::Local { .. } => Space::Invocation,
        };
        self.record(span, kind, space, &|| self.variable(place), lane, |recorder, at| {
            if !place.inside {
                if first {
                    recorder.out_of_bounds(at, place.beyond.0, place.beyond.1);
                }
                return;
            }
            let (offset, bytes) = (place.offset + u64::from(leaf.offset), leaf.num.bytes());
            match space {
                Space::Slot(_) => {
                    let Root::Slot(bound) = place.root else { return };
                    if let Ok(Some(address)) = self.address(bound, offset, bytes) {
                        recorder.touch(at, address as u64, bytes, changed);
                    }
                }
                Space::Workgroup => recorder.touch(at, offset, bytes, changed),
                Space::Invocation => {}
            }
        });
    }

    /// One texel of a texture.
    pub(super) fn observe_texel(
        &self,
        span: Span,
        (kind, changed): (ObservedKind, bool),
        (bound, texture): (Bound, &TextureBinding),
        (level, texel): (u32, [u32; 3]),
        lane: usize,
    ) {
        let name = || self.slot_name(bound.slot);
        self.record(span, kind, Space::Slot(self.place_of(bound)), &name, lane, |recorder, at| {
            match sample::texel_address(texture, level, texel) {
                Some(address) => recorder.touch(at, address as u64, texture.format.bytes(), changed),
                None => {
                    let (index, length) = sample::beyond(texture, level, texel);
                    recorder.out_of_bounds(at, index.into(), length.into());
                }
            }
        });
    }

    /// The texels that a sample is made of.
    pub(super) fn observe_sample(
        &self,
        span: Span,
        of: (Bound, &TextureBinding),
        sampler: &super::super::binding::SamplerBinding,
        point: &SamplePoint,
        gather: bool,
        lane: usize,
    ) {
        if self.recorder.is_some() {
            for texel in sample::footprint(of.1, sampler, point, gather) {
                self.observe_texel(span, (ObservedKind::Read, false), of, texel, lane);
            }
        }
    }

    fn record(
        &self,
        span: Span,
        kind: ObservedKind,
        space: Space,
        variable: &dyn Fn() -> String,
        lane: usize,
        act: impl FnOnce(&mut Recorder, &At<'_>),
    ) {
        let Some(recorder) = &self.recorder else { return };
        let at = At { span, kind, space, variable, lane: lane as u32 };
        act(&mut recorder.borrow_mut(), &at);
    }

    /// The place of a binding in the list of all, with the elements of arrays one after the other.
    pub(super) fn place_of(&self, bound: Bound) -> u32 {
        let count = |binding: &Binding| match binding {
            Binding::Array(list) => list.len() as u32,
            _ => 1,
        };
        let before = self.launch.bindings.iter().take(bound.slot as usize).map(count).sum::<u32>();
        before + bound.element.unwrap_or(0)
    }

    fn slot_name(&self, slot: u32) -> String {
        self.program.globals.slots.get(slot as usize).map(|slot| slot.name.clone()).unwrap_or_default()
    }

    /// The name of the variable that a pointer points into.
    fn variable(&self, place: Pointer) -> String {
        let of_space = |space: AddressSpace| {
            let globals = self.program.module.global_variables.iter();
            let placed =
                globals.filter(|(_, variable)| variable.space == space).filter_map(|(handle, variable)| {
                    let start = u64::from(self.program.globals.place(handle)?);
                    (start <= place.offset).then_some((start, &variable.name))
                });
            placed.max_by_key(|(start, _)| *start).and_then(|(_, name)| name.clone())
        };
        let name = match place.root {
            Root::Slot(bound) => return self.slot_name(bound.slot),
            Root::Shared => of_space(AddressSpace::WorkGroup),
            Root::Private => of_space(AddressSpace::Private),
            Root::Immediates => None,
            Root::Local { depth, variable } => {
                let mut locals = self.frames[depth].function.local_variables.iter();
                locals.nth(variable).and_then(|(_, local)| local.name.clone())
            }
        };
        name.unwrap_or_default()
    }
}
