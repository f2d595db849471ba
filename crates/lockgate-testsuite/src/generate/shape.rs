//! How large and how dense generated programs are, and the strategy that draws them.

use super::sketch::{
    AccessSketch, BufferOp, CommandSketch, Home, PassForm, PassOp, PassSketch, QueueSketch, ResourceSketch,
    Sketch, StepSketch,
};
use lockgate_sync::{
    AccessKind, BarrierReach, BarrierScope, ConsumerTargets, EventScope, Model, Stages, VisibilityOptions,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::Union;

/// A choice by weight; what weighs nothing is never drawn.
macro_rules! one_of {
    ($($weight:expr => $strategy:expr),+ $(,)?) => {
        Union::new_weighted(
            [$(($weight, $strategy.boxed())),+].into_iter().filter(|(weight, _)| *weight > 0).collect(),
        )
    };
}

/// Sizes are the largest counts; the others are weights against 100 for a plain command or commit.
///
/// ```
/// use lockgate_testsuite::generate::{Shape, program_from_seed};
/// let shape = Shape { host: 0, drawables: 0, ..Shape::default() };
/// let program = program_from_seed(7, &shape);
/// assert_eq!(program, program_from_seed(7, &shape));
/// ```
#[derive(Clone, Debug)]
pub struct Shape {
    /// Most queues.
    pub queues: usize,
    /// Most steps.
    pub steps: usize,
    /// Most command buffers in a commit.
    pub buffers: usize,
    /// Most passes and event operations in a command buffer.
    pub passes: usize,
    /// Most operations in a pass.
    pub ops: usize,
    /// Most accesses of a work.
    pub accesses: usize,
    /// Most resources.
    pub resources: usize,
    /// Percentage of resources that are tracked.
    pub tracked: u32,
    /// Weight of accesses that tracking does not see, against 17 for the others.
    pub bindless: u32,
    /// Weight of barriers, fences and memory barriers in a pass.
    pub sync: u32,
    /// Weight of masks that name every stage, against 7 for narrower ones.
    pub wide: u32,
    /// Weight of signals and waits of queues, and of the host.
    pub events: u32,
    /// Weight of signals and waits inside command buffers, against 200 for a pass.
    pub buffer_events: u32,
    /// Weight of host steps.
    pub host: u32,
    /// Percentage of queues that load.
    pub io: u32,
    /// Weight of drawable steps.
    pub drawables: u32,
    /// Percentage of programs with switches other than the default.
    pub switches: u32,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape {
            queues: 3,
            steps: 6,
            buffers: 2,
            passes: 3,
            ops: 4,
            accesses: 2,
            resources: 5,
            tracked: 30,
            bindless: 2,
            sync: 60,
            wide: 5,
            events: 50,
            buffer_events: 25,
            host: 30,
            io: 10,
            drawables: 15,
            switches: 25,
        }
    }
}

impl Shape {
    /// Nothing but tracked resources on queues for the GPU.
    pub fn tracked() -> Shape {
        Shape { tracked: 100, bindless: 0, host: 0, io: 0, drawables: 0, ..Shape::default() }
    }

    /// One queue without tracking, no host: barriers and fences alone.
    pub fn barriers() -> Shape {
        Shape {
            queues: 1,
            tracked: 0,
            sync: 120,
            events: 0,
            buffer_events: 0,
            host: 0,
            io: 0,
            drawables: 0,
            ..Shape::default()
        }
    }

    /// Several queues that meet at events, mostly command buffers with one or two commands.
    pub fn events() -> Shape {
        Shape {
            queues: 3,
            steps: 10,
            ops: 2,
            passes: 4,
            events: 150,
            buffer_events: 75,
            drawables: 0,
            ..Shape::default()
        }
    }
}

/// Draws programs of a shape.
pub fn sketches(shape: &Shape) -> BoxedStrategy<Sketch> {
    let switches = 100 - shape.switches.min(100);
    let model = one_of![
        switches => Just(Model::default()),
        shape.switches.min(100) => models(),
    ];
    (
        model,
        vec(resources(shape), 1..=shape.resources.max(1)),
        vec(queues(shape), 1..=shape.queues.max(1)),
        vec(steps(shape), 1..=shape.steps.max(1)),
    )
        .prop_map(|(model, resources, queues, steps)| Sketch { model, resources, queues, steps })
        .boxed()
}

fn models() -> impl Strategy<Value = Model> + use<> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let scope = |wide| if wide { EventScope::Queue } else { EventScope::CommandBuffer };
    (any::<bool>(), any::<bool>(), any::<bool>(), flags).prop_map(move |(narrow, wait, signal, flags)| {
        Model {
            consumer_targets: match narrow {
                true => ConsumerTargets::CurrentPassOnly,
                false => ConsumerTargets::LaterPassesToo,
            },
            wait_scope: scope(wait),
            signal_scope: scope(signal),
            fences_across_queues: flags.0,
            overlapping_copies_ordered: flags.1,
            strict_alias_visibility: flags.2,
            ..Model::default()
        }
    })
}

fn resources(shape: &Shape) -> impl Strategy<Value = ResourceSketch> + use<> {
    let tracked = f64::from(shape.tracked.min(100)) / 100.0;
    let home = prop_oneof![
        4 => Just(Home::Own),
        2 => (0u8..4).prop_map(Home::Heap),
        1 => (0u8..4).prop_map(if shape.tracked == 0 { Home::Heap } else { Home::Unit }),
    ];
    (prop::bool::weighted(0.4), home, prop::bool::weighted(tracked))
        .prop_map(|(texture, home, tracked)| ResourceSketch { texture, home, tracked })
}

fn queues(shape: &Shape) -> impl Strategy<Value = QueueSketch> + use<> {
    let (loading, running) = (shape.io.min(100), 100 - shape.io.min(100));
    let untracking = if shape.tracked == 100 { 0 } else { running };
    one_of![
        running * 3 + 1 => Just(QueueSketch::Tracking),
        untracking => Just(QueueSketch::Untracking),
        loading => Just(QueueSketch::IoConcurrent),
        loading => Just(QueueSketch::IoSerial),
    ]
}

fn steps(shape: &Shape) -> impl Strategy<Value = StepSketch> + use<> {
    let buffer = vec(buffer_ops(shape), 1..=shape.passes.max(1)).boxed();
    let buffers = vec(buffer, 1..=shape.buffers.max(1));
    let (events, host, drawables) = (shape.events, shape.host, shape.drawables);
    let touch = (any::<u8>(), any::<u8>());
    one_of![
        200 => (any::<u8>(), buffers).prop_map(|(queue, buffers)| StepSketch::Commit(queue, buffers)),
        events => (any::<u8>(), 1u8..4).prop_map(|(queue, value)| StepSketch::Signal(queue, value)),
        events => (any::<u8>(), any::<u8>(), values()).prop_map(|(q, e, v)| StepSketch::Wait(q, e, v)),
        host => accesses(shape).prop_map(StepSketch::HostAccess),
        host.min(events) => (1u8..4).prop_map(StepSketch::HostSignal),
        host.min(events) => (any::<u8>(), values()).prop_map(|(e, v)| StepSketch::HostWait(e, v)),
        host => (0u8..4).prop_map(StepSketch::HostWaitForCommit),
        drawables => touch.prop_map(|(queue, d)| StepSketch::WaitForDrawable(queue, d)),
        drawables => touch.prop_map(|(queue, d)| StepSketch::SignalDrawable(queue, d)),
        drawables => any::<u8>().prop_map(StepSketch::Present),
        shape.io / 2 => any::<u8>().prop_map(StepSketch::QueueBarrier),
    ]
}

/// Waits ask for low values most of the time, and seldom for none at all.
fn values() -> impl Strategy<Value = u8> + use<> {
    prop_oneof![6 => Just(1u8), 3 => Just(2u8), 1 => Just(3u8), 1 => Just(0u8)]
}

fn buffer_ops(shape: &Shape) -> impl Strategy<Value = BufferOp> + use<> {
    one_of![
        200 => passes(shape).prop_map(BufferOp::Pass),
        shape.buffer_events => (1u8..4).prop_map(BufferOp::Signal),
        shape.buffer_events => (any::<u8>(), values()).prop_map(|(event, value)| BufferOp::Wait(event, value)),
    ]
}

fn passes(shape: &Shape) -> impl Strategy<Value = PassSketch> + use<> {
    let form = prop_oneof![
        8 => Just(PassForm::Compute),
        2 => Just(PassForm::SerialCompute),
        6 => Just(PassForm::Render),
        2 => Just(PassForm::Resume),
        2 => Just(PassForm::Blit),
        1 => Just(PassForm::MachineLearning),
        1 => Just(PassForm::ResourceState),
    ];
    (form, vec((any::<u8>(), any::<bool>()), 0..=1), vec(pass_ops(shape), 1..=shape.ops.max(1)))
        .prop_map(|(form, attachments, ops)| PassSketch { form, attachments, ops })
}

fn pass_ops(shape: &Shape) -> impl Strategy<Value = PassOp> + use<> {
    let (sync, wide) = (shape.sync, shape.wide);
    let mask = || masks(wide);
    let reach = prop_oneof![
        Just(BarrierReach::Consumer),
        Just(BarrierReach::Producer),
        Just(BarrierReach::Intrapass),
    ];
    let barrier = (reach, mask(), mask(), visibilities());
    let scope = (0u32..8).prop_map(BarrierScope::from_bits_truncate);
    let by_resources = (mask(), mask(), vec(any::<u8>(), 0..3));
    one_of![
        200 => commands(shape).prop_map(PassOp::Command),
        sync => barrier.prop_map(|(r, a, b, v)| PassOp::Barrier(r, a, b, v)),
        sync / 8 => (mask(), mask(), scope).prop_map(|(a, b, s)| PassOp::MemoryByScope(a, b, s)),
        sync / 8 => by_resources.prop_map(|(a, b, list)| PassOp::MemoryByResources(a, b, list)),
        sync / 3 => (0u8..2, mask()).prop_map(|(fence, after)| PassOp::UpdateFence(fence, after)),
        sync / 3 => (0u8..2, mask()).prop_map(|(fence, before)| PassOp::WaitForFence(fence, before)),
    ]
}

/// Whole masks, single stages, random ones, and Metal's `all` with its bits that mean nothing.
fn masks(wide: u32) -> impl Strategy<Value = Stages> + use<> {
    let single = prop_oneof![
        4 => Just(Stages::DISPATCH),
        3 => Just(Stages::BLIT),
        3 => Just(Stages::FRAGMENT),
        2 => Just(Stages::VERTEX),
        1 => Just(Stages::MESH),
        1 => Just(Stages::TILE),
    ];
    one_of![
        wide => Just(Stages::ALL),
        4 => single,
        2 => any::<u64>().prop_map(Stages::from_bits_truncate),
        1 => Just(Stages::from_bits_retain(i64::MAX as u64)),
    ]
}

fn visibilities() -> impl Strategy<Value = VisibilityOptions> + use<> {
    prop_oneof![
        6 => Just(VisibilityOptions::DEVICE),
        2 => Just(VisibilityOptions::empty()),
        1 => Just(VisibilityOptions::RESOURCE_ALIAS),
        1 => Just(VisibilityOptions::DEVICE | VisibilityOptions::RESOURCE_ALIAS),
    ]
}

fn commands(shape: &Shape) -> impl Strategy<Value = CommandSketch> + use<> {
    let most = shape.accesses.max(1);
    let work = || vec(accesses(shape), 0..=most);
    (any::<u8>(), vec(accesses(shape), 1..=most), work(), work())
        .prop_map(|(form, first, second, third)| CommandSketch { form, works: [first, second, third] })
}

fn accesses(shape: &Shape) -> impl Strategy<Value = AccessSketch> + use<> {
    let kind = one_of![
        8 => Just(AccessKind::READ),
        6 => Just(AccessKind::WRITE),
        1 => Just(AccessKind::READ | AccessKind::WRITE),
        1 => Just(AccessKind::ATOMIC),
        shape.bindless => Just(AccessKind::READ | AccessKind::BINDLESS),
        shape.bindless => Just(AccessKind::WRITE | AccessKind::BINDLESS),
        1 => Just(AccessKind::WRITE | AccessKind::RASTER_ORDERED),
    ];
    let part = prop_oneof![2 => Just(0u8), 3 => any::<u8>()];
    (any::<u8>(), part, kind).prop_map(|(resource, part, kind)| AccessSketch { resource, part, kind })
}
