//! Order and visibility of what lies behind a point: who ran before it, and whose stores it sees.

use super::clock::{Clock, Lane};
use crate::{BarrierScope, Publishes, ResourceId, ResourceKind, VisibilityOptions, model};
use std::sync::Arc;

/// What a Metal 3 memory barrier publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Kinds(BarrierScope),
    Resources(Arc<[ResourceId]>),
}

impl Scope {
    /// What a barrier by resources publishes; it orders everything all the same (A32).
    fn covers(&self, id: ResourceId, kind: ResourceKind) -> bool {
        match self {
            Scope::Kinds(kinds) => kinds.contains(match kind {
                ResourceKind::Buffer => BarrierScope::BUFFERS,
                ResourceKind::Texture { .. } => BarrierScope::TEXTURES,
            }),
            Scope::Resources(list) => list.contains(&id),
        }
    }
}

/// What an edge makes visible to the works behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    Nothing,
    Device,
    DeviceAndAlias,
    Scoped(Scope),
}

impl Publish {
    pub(crate) fn of(visibility: VisibilityOptions) -> Publish {
        if visibility.contains(VisibilityOptions::RESOURCE_ALIAS) {
            Publish::DeviceAndAlias
        } else if model::publishes(visibility) {
            Publish::Device
        } else {
            Publish::Nothing
        }
    }

    /// The same as an edge tells it.
    pub(crate) fn on_edge(&self) -> Publishes {
        match self {
            Publish::Nothing => Publishes::Nothing,
            Publish::Device | Publish::DeviceAndAlias => Publishes::Device,
            Publish::Scoped(Scope::Kinds(kinds)) => Publishes::Kinds(*kinds),
            Publish::Scoped(Scope::Resources(_)) => Publishes::Listed,
        }
    }
}

/// The works before a point, and those of them whose stores are visible at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Behind {
    pub(crate) executed: Clock,
    pub(crate) published: Clock,
    /// Visible through other addresses of the same memory too.
    pub(crate) aliased: Clock,
    /// Visible for some resources only; rare.
    pub(crate) scoped: Vec<(Scope, Clock)>,
}

/// A resource to ask visibility for, and whether the asker reaches its memory as another resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) id: ResourceId,
    pub(crate) kind: ResourceKind,
    pub(crate) through_alias: bool,
}

impl Behind {
    /// Takes over everything that is behind another point, as it is.
    pub(crate) fn union(&mut self, other: &Behind) {
        if other.is_empty() {
            return;
        }
        self.executed.union(&other.executed);
        self.published.union(&other.published);
        self.aliased.union(&other.aliased);
        for (scope, clock) in &other.scoped {
            self.scoped_mut(scope).union(clock);
        }
    }

    /// Whether everything that is behind another point is behind this one as it is there. May say no although it is.
    pub(crate) fn surely_contains(&self, other: &Behind) -> bool {
        self.executed.surely_contains(&other.executed)
            && self.published.surely_contains(&other.published)
            && self.aliased.surely_contains(&other.aliased)
            && other.scoped.is_empty()
    }

    /// Takes over what is behind another point through an edge that publishes.
    pub(crate) fn follow(&mut self, other: &Behind, publish: &Publish) {
        self.executed.union(&other.executed);
        match publish {
            Publish::Device | Publish::DeviceAndAlias => self.published.union(&other.executed),
            Publish::Nothing | Publish::Scoped(_) => self.published.union(&other.published),
        }
        match publish {
            Publish::DeviceAndAlias => self.aliased.union(&other.executed),
            _ => self.aliased.union(&other.aliased),
        }
        if let Publish::Scoped(scope) = publish {
            self.scoped_mut(scope).union(&other.executed);
        }
        for (scope, clock) in &other.scoped {
            self.scoped_mut(scope).union(clock);
        }
    }

    /// Adds one work through an edge that publishes.
    pub(crate) fn follow_work(&mut self, lane: Lane, number: u64, publish: &Publish) {
        self.executed.insert(lane, number);
        if matches!(publish, Publish::Device | Publish::DeviceAndAlias) {
            self.published.insert(lane, number);
        }
        if *publish == Publish::DeviceAndAlias {
            self.aliased.insert(lane, number);
        }
    }

    pub(crate) fn intersect(&mut self, other: &Behind) {
        self.executed.intersect(&other.executed);
        self.published.intersect(&other.published);
        self.aliased.intersect(&other.aliased);
        self.scoped.retain(|(scope, _)| other.scoped.iter().any(|(theirs, _)| theirs == scope));
        for (scope, clock) in &mut self.scoped {
            if let Some((_, theirs)) = other.scoped.iter().find(|(theirs, _)| theirs == scope) {
                clock.intersect(theirs);
            }
        }
    }

    /// Whether nothing is behind the point.
    pub(crate) fn is_empty(&self) -> bool {
        self.executed.is_empty()
    }

    /// The first work of `start..end` whose stores to the resource are not visible here.
    pub(crate) fn first_unseen(&self, lane: Lane, start: u64, end: u64, seen: &Seen) -> Option<u64> {
        let mut start = start;
        loop {
            let missing = if seen.through_alias {
                self.aliased.first_missing(lane, start, end)?
            } else {
                self.published.first_missing(lane, start, end)?
            };
            let scoped = |(scope, clock): &(Scope, Clock)| {
                scope.covers(seen.id, seen.kind) && clock.contains(lane, missing)
            };
            if seen.through_alias || !self.scoped.iter().any(scoped) {
                return Some(missing);
            }
            start = missing + 1;
        }
    }

    pub(crate) fn fragments(&self) -> usize {
        let scoped: usize = self.scoped.iter().map(|(_, clock)| clock.fragments()).sum();
        self.executed.fragments().max(self.published.fragments()).max(scoped)
    }

    pub(crate) fn clocks_mut(&mut self) -> impl Iterator<Item = &mut Clock> {
        [&mut self.executed, &mut self.published, &mut self.aliased]
            .into_iter()
            .chain(self.scoped.iter_mut().map(|(_, clock)| clock))
    }

    fn scoped_mut(&mut self, scope: &Scope) -> &mut Clock {
        let at = match self.scoped.iter().position(|(theirs, _)| theirs == scope) {
            Some(at) => at,
            None => {
                self.scoped.push((scope.clone(), Clock::default()));
                self.scoped.len() - 1
            }
        };
        &mut self.scoped[at].1
    }
}
