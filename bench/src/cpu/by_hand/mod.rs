//! The kernels as a person would write them in Rust, with the same blocks and the same sums. Each is compiled twice: for
//! any processor of this kind, and for one with newer instructions.

mod numbers;
mod pictures;
mod sums;

use super::raw::{has_modern, run_modern};
use super::work::{Item, Peer, Work};

pub use numbers::{bitonic, bodies, matrix};
pub use pictures::{blur, blur_bytes, resize};
pub use sums::{histogram, prefix, reduction, saxpy};

/// Does all of a work on its items.
pub type Hand = fn(&mut [Item], Crew);

/// What one thread does. `run` is inlined into code for the instructions that may be used.
pub trait Part: Send {
    fn run(self);
}

/// Who does it.
#[derive(Clone, Copy)]
pub struct Crew {
    pub threads: usize,
    /// Whether newer instructions may be used.
    pub modern: bool,
}

impl Crew {
    /// Runs parts, about as many on each thread.
    fn run<P: Part>(self, parts: impl IntoIterator<Item = P>) {
        let mut parts: Vec<P> = parts.into_iter().collect();
        let each = parts.len().div_ceil(self.threads).max(1);
        std::thread::scope(|scope| {
            while parts.len() > each {
                let some = parts.split_off(parts.len() - each);
                scope.spawn(move || self.run_here(some));
            }
            self.run_here(parts);
        });
    }

    fn run_here<P: Part>(self, parts: Vec<P>) {
        for part in parts {
            if self.modern { run_modern(part) } else { part.run() }
        }
    }

    /// How many things each thread gets, a multiple of `of`.
    fn share(self, count: usize, of: usize) -> usize {
        count.div_ceil(self.threads).next_multiple_of(of).max(of)
    }
}

pub struct ByHand<'w> {
    name: String,
    work: &'w Work,
    items: Vec<Item>,
    crew: Crew,
}

impl<'w> ByHand<'w> {
    /// Nothing if this processor has nothing newer.
    pub fn new(work: &'w Work, crew: Crew) -> Option<ByHand<'w>> {
        let kind = if crew.modern { "native" } else { "-O" };
        let name = format!("Rust {kind}, {}", crew.threads);
        (!crew.modern || has_modern()).then(|| ByHand { name, work, items: work.items.clone(), crew })
    }
}

impl Peer for ByHand<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn prepare(&mut self) {
        for item in self.work.fresh {
            if let (Item::Buffer(own), Item::Buffer(words)) =
                (&mut self.items[*item], &self.work.items[*item])
            {
                own.copy_from_slice(words);
            }
        }
    }

    fn run(&mut self) {
        (self.work.hand)(&mut self.items, self.crew);
    }

    fn result(&mut self) -> Vec<u32> {
        match &self.items[self.work.result] {
            Item::Buffer(words) | Item::Texture { texels: words, .. } => words.clone(),
            Item::Sampler => Vec::new(),
        }
    }
}
