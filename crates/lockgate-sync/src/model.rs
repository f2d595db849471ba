//! Where Metal's documentation is silent or contradicts itself: the choices, each a switch or a named function.
//!
//! The letters are those of the ambiguity list (`docs/ARCHITECTURE.md`, "Ambiguities").

use crate::{Stages, VisibilityOptions};

/// Which stages a consumer barrier holds back (A1).
///
/// ```
/// assert_eq!(lockgate_sync::ConsumerTargets::default(), lockgate_sync::ConsumerTargets::LaterPassesToo);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConsumerTargets {
    /// The rest of the pass and all later passes of the queue: the article and the newer headers.
    #[default]
    LaterPassesToo,
    /// The rest of the pass only: the older headers.
    CurrentPassOnly,
}

/// How far a signal or wait inside a Metal 3 command buffer reaches (A5, A23).
///
/// ```
/// assert_eq!(lockgate_sync::EventScope::default(), lockgate_sync::EventScope::CommandBuffer);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EventScope {
    /// The passes of that command buffer.
    #[default]
    CommandBuffer,
    /// Everything earlier, or later, on the queue.
    Queue,
}

/// Whether two synchronization operations connect through a pass that has no command between them (A11).
///
/// ```
/// assert_eq!(lockgate_sync::ChainThroughEmptyPass::default(), lockgate_sync::ChainThroughEmptyPass::Broken);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChainThroughEmptyPass {
    /// Orders connect only through commands.
    #[default]
    Broken,
    /// A wait carries over to an update or barrier behind it.
    Kept,
}

/// The switches of the model. The default is the documented reading everywhere.
///
/// ```
/// use lockgate_sync::{ConsumerTargets, Model};
/// let narrow = Model { consumer_targets: ConsumerTargets::CurrentPassOnly, ..Model::default() };
/// assert_ne!(narrow, Model::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Model {
    /// A1.
    pub consumer_targets: ConsumerTargets,
    /// A2: let a fence connect two queues. Default: it does not.
    pub fences_across_queues: bool,
    /// A5: reach of a wait inside a command buffer.
    pub wait_scope: EventScope,
    /// A23: reach of a signal inside a command buffer.
    pub signal_scope: EventScope,
    /// A7: order two copies of one pass that write the same texture. Default: they are unordered.
    pub overlapping_copies_ordered: bool,
    /// A8: demand `RESOURCE_ALIAS` between two resources that share memory. Default: `DEVICE` is enough.
    pub strict_alias_visibility: bool,
    /// A11.
    pub chain_through_empty_pass: ChainThroughEmptyPass,
}

/// A20: `MTLStages.all` has bits that mean nothing; they are masked away.
pub(crate) fn known_stages(stages: Stages) -> Stages {
    Stages::from_bits_truncate(stages.bits())
}

/// A9: `RESOURCE_ALIAS` alone includes `DEVICE`.
pub(crate) fn publishes(visibility: VisibilityOptions) -> bool {
    visibility.intersects(VisibilityOptions::DEVICE | VisibilityOptions::RESOURCE_ALIAS)
}
