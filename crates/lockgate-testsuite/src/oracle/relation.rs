//! Who waits for whom: explicit edges between works, and their transitive closure as bit matrices.
//!
//! Four relations over the same paths: a path orders execution; it publishes a resource if one edge on it
//! does; it makes aliases agree if one edge on it does. Nodes arrive in linear order and edges enter only the
//! newest node, so a row of the closure is final once the next node arrives.

use super::bits::Bits;
use lockgate_sync::ResourceId;

/// What an edge makes visible to the node that waits.
#[derive(Clone, Debug)]
pub(super) enum Publication {
    /// Nothing: order only.
    Nothing,
    /// The listed resources (Metal 3's memory barriers).
    Resources(Vec<ResourceId>),
    /// Every store before it.
    Device,
    /// Every store before it, through other addresses of the same memory too.
    DeviceAndAliases,
}

impl Publication {
    fn covers(&self, resource: ResourceId) -> bool {
        match self {
            Publication::Nothing => false,
            Publication::Resources(list) => list.contains(&resource),
            Publication::Device | Publication::DeviceAndAliases => true,
        }
    }
}

/// A node that the newest node waits for.
#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) publishes: Publication,
}

/// The closure: row `b` of a matrix holds every `a` with a path from `a` to `b`.
#[derive(Clone, Debug, Default)]
pub(super) struct Relation {
    ordered: Vec<Bits>,
    aliases: Vec<Bits>,
    /// One matrix for each resource.
    published: Vec<Vec<Bits>>,
}

impl Relation {
    pub(super) fn new(resources: usize) -> Relation {
        Relation { published: vec![Vec::new(); resources], ..Relation::default() }
    }

    /// Adds a node that waits for nothing yet.
    pub(super) fn push(&mut self) {
        self.ordered.push(Bits::default());
        self.aliases.push(Bits::default());
        self.published.iter_mut().for_each(|matrix| matrix.push(Bits::default()));
    }

    /// Adds edges into node `to`, which must be the newest.
    pub(super) fn connect(&mut self, to: usize, edges: &[Edge]) {
        for edge in edges {
            let mut before = self.ordered[edge.from].clone();
            before.insert(edge.from);
            let aliases = match edge.publishes {
                Publication::DeviceAndAliases => before.clone(),
                _ => self.aliases[edge.from].clone(),
            };
            for (index, matrix) in self.published.iter_mut().enumerate() {
                let published = match edge.publishes.covers(ResourceId(index as u32)) {
                    true => before.clone(),
                    false => matrix[edge.from].clone(),
                };
                matrix[to].union_with(&published);
            }
            self.aliases[to].union_with(&aliases);
            self.ordered[to].union_with(&before);
        }
    }

    pub(super) fn ordered(&self, a: usize, b: usize) -> bool {
        self.ordered.get(b).is_some_and(|row| row.contains(a))
    }

    pub(super) fn alias_published(&self, a: usize, b: usize) -> bool {
        self.aliases.get(b).is_some_and(|row| row.contains(a))
    }

    pub(super) fn published(&self, a: usize, b: usize, resource: ResourceId) -> bool {
        let matrix = self.published.get(resource.index());
        matrix.and_then(|matrix| matrix.get(b)).is_some_and(|row| row.contains(a))
    }

    /// The nodes of a set and everything before them.
    pub(super) fn closed(&self, set: &Bits) -> Bits {
        let mut closed = set.clone();
        set.iter().for_each(|node| closed.union_with(&self.ordered[node]));
        closed
    }
}
