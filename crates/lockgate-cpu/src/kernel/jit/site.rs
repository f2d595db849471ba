//! Which places of the source a kernel tells a recorder of, and how.
//!
//! Every access has a site, and every site a way to be told (`ir::Told`). Deliberately absent: the code that tells, which
//! is in `tell.rs`.

use lockgate_runtime::ObservedKind;
use naga::{AddressSpace, Span};

use super::{
    super::watch::{Space, Turn},
    ir::{ImageOp, Memory, Place, Program, Site, Stmt, Told},
    lower::{Lowered, Lowering},
};

impl Lowering<'_> {
    /// The place with the site that accesses it.
    pub(super) fn observed(&mut self, place: Place, span: Span, kind: ObservedKind) -> Place {
        if !self.program.observed {
            return place;
        }
        let (space, variable) = match place.memory {
            Memory::Shared => (Space::Workgroup, self.shared_name(place.offset)),
            Memory::Array(array) => (Space::Invocation, self.array_names.get(&array).cloned()),
            Memory::Slot { slot, .. } | Memory::Element { slot, .. } => {
                let name = self.globals.slots.get(slot as usize).map(|slot| slot.name.clone());
                (Space::Slot(slot), name)
            }
            Memory::Immediates | Memory::Constants => return place,
        };
        let variable = variable.unwrap_or_default();
        let told = match (&place.memory, kind) {
            (Memory::Slot { readonly: true, .. }, ObservedKind::Read) => Told::Bytes,
            (Memory::Slot { .. }, _) => Told::Run,
            (Memory::Shared, _) => Told::Cells,
            _ => Told::Call,
        };
        self.program.sites.push(Site { span, kind, space, variable, told, turn: Turn::default() });
        Place { site: Some(self.program.sites.len() as u32 - 1), ..place }
    }

    /// The site of an operation on a texture.
    pub(super) fn texel_site(&mut self, op: ImageOp, slot: u32) -> Option<u32> {
        if !self.program.observed || !touches(op) {
            return None;
        }
        let kind = match op {
            ImageOp::Store => ObservedKind::Write,
            ImageOp::Atomic => ObservedKind::Atomic,
            _ => ObservedKind::Read,
        };
        let variable = self.globals.slots.get(slot as usize).map(|slot| slot.name.clone());
        let (span, space, variable) = (self.at, Space::Slot(slot), variable.unwrap_or_default());
        let (told, turn) = (Told::Call, Turn::default());
        self.program.sites.push(Site { span, kind, space, variable, told, turn });
        Some(self.program.sites.len() as u32 - 1)
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

/// Finds out when an invocation comes by each site. Barriers tell passes of a loop apart if none goes without.
pub(super) fn find_turns(program: &mut Program) {
    fn walk(list: &[Stmt], inside: Option<u32>, next: &mut u32, sites: &mut [Site]) {
        for stmt in list {
            *next += 1;
            if let Some(site) = stmt.site() {
                let again = inside.is_some();
                sites[site as usize].turn = Turn { number: inside.unwrap_or(*next), again };
            }
            let parts = |body: &[Stmt]| body.iter().any(|stmt| matches!(stmt, Stmt::Barrier(_)));
            let inside = match stmt {
                Stmt::Loop { body, .. } if !parts(body) => inside.or(Some(*next)),
                _ => inside,
            };
            stmt.lists().for_each(|list| walk(list, inside, next, sites));
        }
    }
    walk(&program.body, None, &mut 0, &mut program.sites);
}

/// Whether a kernel tells of workgroup memory.
pub(super) fn tells_own(program: &Program) -> bool {
    program.sites.iter().any(|site| site.space == Space::Workgroup)
}

/// Whether a kernel tells of texels.
pub(super) fn tells_texels(program: &Program) -> bool {
    let tells = |stmt: &Stmt| matches!(stmt, Stmt::Image { site: Some(_), .. });
    program.body.iter().any(|stmt| stmt.any(&mut |stmt| tells(stmt)))
}

/// Whether an operation on a texture touches texels.
fn touches(op: ImageOp) -> bool {
    !op.is_query()
}
