//! Why the order that is there does not reach: the operation that comes nearest to ordering two accesses.
//!
//! Every rule of `semantics` 0.8 has a position and a mask on both sides; an operation comes near if all but one
//! of these hold. Deliberately absent: chains of several operations, of which the engine's graph tells.

use super::finding::{OrderFound, Sides};
use super::layout::{Layout, Spot, SyncAt};
use super::place::Place;
use crate::{BarrierReach, FenceId, Op, Stages, Step};

/// How many operations of a queue are looked at for one gap, the latest first.
const NEAR_MAX: usize = 512;

/// What comes nearest to ordering `a` before `b`, which nothing orders.
pub(crate) fn nearest(layout: &Layout<'_>, a: &Spot, b: &Spot) -> OrderFound {
    let mut best = (0, OrderFound::Nothing);
    let mut offer = |found: OrderFound| {
        let rank = rank(&found);
        if rank > best.0 {
            best = (rank, found);
        }
    };
    let pair = Pair { layout, a, b };
    match (a.queue, b.queue) {
        (Some(first), Some(second)) if first == second => {
            pair.on_queue(first.index()).for_each(|sync| offer(pair.judge(sync)));
        }
        (Some(_), Some(second)) => {
            pair.on_queue(second.index()).for_each(|sync| offer(pair.judge_across(sync)));
        }
        _ => {}
    }
    pair.judge_steps().for_each(&mut offer);
    best.1
}

fn rank(found: &OrderFound) -> u8 {
    match found {
        OrderFound::Nothing => 0,
        OrderFound::NeverBrought { .. } => 1,
        OrderFound::NeverWaitedFor { .. } => 2,
        OrderFound::TooEarly { .. } | OrderFound::TooLate { .. } => 3,
        OrderFound::OtherQueue { .. } => 4,
        OrderFound::NeverInThisPass { .. } => 5,
        OrderFound::WrongStages { .. } => 6,
        OrderFound::ExecutionOnly { .. } => 7,
    }
}

struct Pair<'a> {
    layout: &'a Layout<'a>,
    a: &'a Spot,
    b: &'a Spot,
}

impl<'a> Pair<'a> {
    /// The operations of a queue that could matter: up to the end of the later pass, back to the earlier one.
    fn on_queue(&self, queue: usize) -> impl Iterator<Item = &'a SyncAt<'a>> + use<'a> {
        let syncs = self.layout.syncs.get(queue).map_or(&[][..], Vec::as_slice);
        let (a, b) = (*self.a, *self.b);
        let end = syncs.partition_point(|sync| sync.place.step() <= b.place.step());
        let same = a.queue == b.queue;
        let from = move |sync: &&SyncAt<'_>| !same || sync.place.step() >= a.place.step();
        syncs[..end].iter().rev().take_while(from).take(NEAR_MAX)
    }

    fn stages(&self, sync: &SyncAt<'_>, after: Stages, before: Stages) -> OrderFound {
        let need = Sides { after: self.a.stage.mask(), before: self.b.stage.mask() };
        if after.contains(need.after) && before.contains(need.before) {
            return OrderFound::ExecutionOnly { by: Some(sync.place) };
        }
        OrderFound::WrongStages { by: sync.place, have: Sides { after, before }, need }
    }

    fn judge(&self, sync: &SyncAt<'_>) -> OrderFound {
        match sync.op {
            Op::Barrier(BarrierReach::Intrapass, barrier) => self.inside(sync, barrier.after, barrier.before),
            Op::MemoryBarrierWithScope { after, before, .. }
            | Op::MemoryBarrierWithResources { after, before, .. } => self.inside(sync, *after, *before),
            Op::Barrier(reach, barrier) => self.across(sync, *reach, barrier.after, barrier.before),
            Op::UpdateFence { fence, after } => self.updated(sync, *fence, *after),
            Op::WaitForFence { fence, .. } => self.waited(sync, *fence),
            _ => OrderFound::Nothing,
        }
    }

    fn inside(&self, sync: &SyncAt<'_>, after: Stages, before: Stages) -> OrderFound {
        let by = sync.place;
        if self.a.pass != sync.pass || self.b.pass != sync.pass {
            OrderFound::Nothing
        } else if by < self.a.place {
            OrderFound::TooEarly { by }
        } else if by > self.b.place {
            OrderFound::TooLate { by }
        } else {
            let kind = self.layout.kind(sync.queue, sync.pass);
            let legal = |mask: Stages, of: Option<Stages>| of.map_or(mask, |legal| mask & legal);
            let after = legal(after, kind.map(crate::PassKind::intrapass_sources));
            self.stages(sync, after, legal(before, kind.map(crate::PassKind::stages)))
        }
    }

    fn across(&self, sync: &SyncAt<'_>, reach: BarrierReach, after: Stages, before: Stages) -> OrderFound {
        let (by, pass) = (sync.place, sync.pass);
        let (a, b) = (self.a, self.b);
        if a.pass == pass && b.pass == pass {
            let between = a.place < by && by < b.place;
            return if between { OrderFound::NeverInThisPass { by } } else { OrderFound::Nothing };
        }
        let producer = reach == BarrierReach::Producer;
        let source = a.pass < pass || producer && a.pass == pass;
        let target = b.pass > pass || !producer && b.pass == pass;
        match () {
            () if !source || !target => OrderFound::Nothing,
            () if a.pass == pass && by < a.place => OrderFound::TooEarly { by },
            () if b.pass == pass && by > b.place => OrderFound::TooLate { by },
            () => self.stages(sync, after, before),
        }
    }

    /// An update of a fence in the earlier pass.
    fn updated(&self, sync: &SyncAt<'_>, fence: FenceId, after: Stages) -> OrderFound {
        let by = sync.place;
        if sync.pass != self.a.pass || self.a.pass == self.b.pass {
            return OrderFound::Nothing;
        }
        let mut waits = self.on_queue(sync.queue.index()).filter_map(|other| match other.op {
            Op::WaitForFence { fence: f, before } if *f == fence && other.pass == self.b.pass => {
                Some((other, *before))
            }
            _ => None,
        });
        match waits.find(|(wait, _)| wait.place < self.b.place) {
            None => OrderFound::NeverWaitedFor { by },
            Some(_) if by < self.a.place => OrderFound::TooEarly { by },
            Some((wait, before)) if after.contains(self.a.stage.mask()) => self.stages(wait, after, before),
            Some((_, before)) => self.stages(sync, after, before),
        }
    }

    /// A wait for a fence in the later pass.
    fn waited(&self, sync: &SyncAt<'_>, fence: FenceId) -> OrderFound {
        let by = sync.place;
        if sync.pass != self.b.pass || self.a.pass == self.b.pass {
            return OrderFound::Nothing;
        }
        let updates = |other: &SyncAt<'_>| {
            matches!(other.op, Op::UpdateFence { fence: f, .. } if *f == fence) && other.pass == self.a.pass
        };
        match self.on_queue(sync.queue.index()).any(updates) {
            true if by > self.b.place => OrderFound::TooLate { by },
            true => OrderFound::Nothing,
            false => OrderFound::NeverBrought { by },
        }
    }

    /// An operation of the later queue that would order the two if they were on one queue.
    fn judge_across(&self, sync: &SyncAt<'_>) -> OrderFound {
        let by = sync.place;
        if sync.pass != self.b.pass || by > self.b.place {
            return OrderFound::Nothing;
        }
        let (sa, sb) = (self.a.stage.mask(), self.b.stage.mask());
        match sync.op {
            Op::Barrier(BarrierReach::Consumer, barrier)
                if barrier.after.contains(sa) && barrier.before.contains(sb) =>
            {
                OrderFound::OtherQueue { by }
            }
            Op::WaitForFence { fence, .. } => {
                let updates = |other: &SyncAt<'_>| {
                    matches!(other.op, Op::UpdateFence { fence: f, .. } if f == fence)
                        && other.pass == self.a.pass
                };
                let queue = self.a.queue.map_or(0, |queue| queue.index());
                let found = self.layout.syncs.get(queue).is_some_and(|syncs| syncs.iter().any(updates));
                if found { OrderFound::OtherQueue { by } } else { OrderFound::Nothing }
            }
            _ => OrderFound::Nothing,
        }
    }

    /// Events and waits of the host between the two.
    fn judge_steps(&self) -> impl Iterator<Item = OrderFound> + use<'a> {
        let (a, b) = (*self.a, *self.b);
        let other_queues = a.queue != b.queue;
        let steps = &self.layout.program.steps;
        let start = a.place.step() as usize;
        (start..steps.len()).zip(&steps[start.min(steps.len())..]).take(NEAR_MAX).map(
            move |(number, step)| {
                let by = Place::Step(number as u32);
                match step {
                    Step::SignalEvent { queue, .. }
                        if other_queues && Some(*queue) == a.queue && by < Place::Step(b.place.step()) =>
                    {
                        OrderFound::NeverWaitedFor { by }
                    }
                    Step::WaitForEvent { queue, .. }
                        if other_queues && Some(*queue) == b.queue && by < Place::Step(b.place.step()) =>
                    {
                        OrderFound::NeverBrought { by }
                    }
                    Step::Host(
                        crate::HostStep::WaitForCommit { .. } | crate::HostStep::WaitForEvent { .. },
                    ) if b.queue.is_none() && a.queue.is_some() && by > b.place => OrderFound::TooLate { by },
                    _ => OrderFound::Nothing,
                }
            },
        )
    }
}
