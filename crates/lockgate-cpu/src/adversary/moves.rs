//! Copies, fills and mipmaps in small steps and in no particular order.

use super::agent::{Agent, Place};
use crate::copy::{self, Source};
use crate::memory::{Memory, Span};
use crate::resource::{Texture, native, texture_size};
use corosensei::Yielder;
use lockgate_runtime::Result;
use lockgate_runtime::backend::{Command, SubmittedBuffer};
use std::sync::Arc;

/// A command is cut into about as many pieces.
const PIECES: usize = 64;

/// One move of bytes.
struct Move {
    from: Source,
    to: (u32, Span),
}

/// Runs a command that is no dispatch.
pub(super) fn run(
    command: &Command,
    of: &SubmittedBuffer,
    agent: &Agent,
    yielder: &Yielder<(), ()>,
) -> Result<()> {
    if let Command::GenerateMipmaps { resource } = command {
        return mipmaps(*resource, of, agent, yielder);
    }
    let mut rows = Vec::new();
    copy::moves(command, of, |from, to| rows.push(Move { from, to }))?;
    let total: usize = rows.iter().map(|row| row.to.1.size).sum();
    let step = total.div_ceil(PIECES).next_multiple_of(4).max(4);
    let mut pieces: Vec<Move> = rows.iter().flat_map(|row| cut(row, step)).collect();
    // The last of the rest changes places with any of the rest.
    for last in (1..pieces.len()).rev() {
        pieces.swap(last, agent.dice.below(last as u64 + 1) as usize);
    }
    for piece in &pieces {
        take(piece, of, agent, yielder);
    }
    Ok(())
}

fn cut(row: &Move, step: usize) -> impl Iterator<Item = Move> {
    let (size, from, to) = (row.to.1.size, row.from, row.to);
    (0..size).step_by(step).map(move |at| {
        let length = step.min(size - at);
        let from = match from {
            Source::Span(resource, span) => Source::Span(resource, span.part(at, length)),
            byte => byte,
        };
        Move { from, to: (to.0, to.1.part(at, length)) }
    })
}

fn take(piece: &Move, of: &SubmittedBuffer, agent: &Agent, yielder: &Yielder<(), ()>) {
    let (resource, to) = piece.to;
    let mut bytes = vec![0; to.size];
    match piece.from {
        Source::Span(from, span) => {
            agent.pause(yielder);
            if let Some(place) = Place::of(from, of) {
                agent.load(&place, span, &mut bytes, agent.toucher());
            }
        }
        Source::Byte(byte) => bytes.fill(byte),
    }
    agent.pause(yielder);
    if let Some(place) = Place::of(resource, of) {
        agent.store(&place, to, &bytes, agent.toucher(), false);
    }
}

/// Computes the levels in memory of its own, from the largest one as the work sees it.
fn mipmaps(resource: u32, of: &SubmittedBuffer, agent: &Agent, yielder: &Yielder<(), ()>) -> Result<()> {
    let texture: &Texture = native(&of.resources[resource as usize])?;
    let Some(place) = Place::of(resource, of) else { return Ok(()) };
    let descriptor = &texture.descriptor;
    let own = Texture::new(descriptor, Arc::new(Memory::new(texture_size(descriptor))?), 0);
    for slice in 0..descriptor.slice_count() {
        agent.pause(yielder);
        let mut bytes = vec![0; texture.level(0, slice).size];
        agent.load(&place, texture.level(0, slice), &mut bytes, agent.toucher());
        own.level(0, slice).write_from(&bytes);
    }
    copy::mipmaps(&own);
    for slice in 0..descriptor.slice_count() {
        for level in 1..descriptor.mip_level_count {
            agent.pause(yielder);
            let mut bytes = vec![0; own.level(level, slice).size];
            own.level(level, slice).read_into(&mut bytes);
            agent.store(&place, texture.level(level, slice), &bytes, agent.toucher(), false);
        }
    }
    Ok(())
}
