//! Plans: snapshots of small graphs, and plans of generated graphs lifted back to orders.

use lockgate_sync::{
    CommandRef, CommitId, Edge, EventId, Graph, Publishes, Stage, SyncKind, SyncOp, Vertex, VertexId,
    VertexKind,
};
use lockgate_vulkan::plan::{Batch, HardwareStages, ImageId, Job, Plan, Planner, Point, Step};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Works, joins and signals, each with the vertices that it waits for.
fn graph(first: u64, vertices: &[(VertexKind, &[u64])]) -> Graph {
    let mut graph = Graph::default();
    for (at, (kind, waits)) in vertices.iter().enumerate() {
        let start = graph.edges.len() as u32;
        let by = SyncOp { kind: SyncKind::Serial, at: None };
        graph.edges.extend(waits.iter().map(|from| Edge {
            from: VertexId(*from),
            by,
            publishes: Publishes::Device,
        }));
        let edges = start..graph.edges.len() as u32;
        graph.vertices.push(Vertex { id: VertexId(first + at as u64), kind: *kind, edges });
    }
    graph
}

fn work(command: u32) -> VertexKind {
    let command = CommandRef { commit: CommitId(0), buffer: 0, command };
    VertexKind::Work { command, part: 0, stage: Stage::Dispatch }
}

const COMPUTE: HardwareStages = HardwareStages::COMPUTE;
const TRANSFER: HardwareStages = HardwareStages::TRANSFER;

fn on(queue: u32, stages: HardwareStages) -> Option<Job> {
    Some(Job { queue, stages, fresh: Default::default() })
}

#[test]
fn independent_commands_have_no_barrier() {
    let graph = graph(0, &[(work(0), &[]), (work(1), &[]), (VertexKind::Complete(CommitId(0)), &[0, 1])]);
    let plan = Planner::new(1).plan(&graph, &mut |_| on(0, COMPUTE));
    insta::assert_snapshot!(plan, @r"
    batch q0:1
      command 0.0.0
      command 0.0.1
    commit 0 is done: q0:1
    ");
}

#[test]
fn two_chains_share_their_barrier() {
    let graph = graph(0, &[(work(0), &[]), (work(1), &[0]), (work(2), &[]), (work(3), &[2])]);
    let plan = Planner::new(1).plan(&graph, &mut |command| match command.command {
        0 => on(0, TRANSFER),
        _ => on(0, COMPUTE),
    });
    insta::assert_snapshot!(plan, @r"
    batch q0:1
      command 0.0.0
      command 0.0.2
      barrier compute|transfer -> compute
      command 0.0.1
      command 0.0.3
    ");
}

#[test]
fn an_order_between_queues_is_a_wait_and_holds_back_nothing_earlier() {
    let event = VertexKind::Signal { event: EventId(3), value: 7 };
    let graph = graph(0, &[(work(0), &[]), (work(1), &[]), (event, &[0]), (work(2), &[2]), (work(3), &[3])]);
    let plan = Planner::new(2).plan(&graph, &mut |command| match command.command {
        0 => on(0, TRANSFER),
        _ => on(1, COMPUTE),
    });
    insta::assert_snapshot!(plan, @r"
    batch q0:1
      command 0.0.0
    batch q1:1
      command 0.0.1
    batch q1:2 waits for q0:1
      command 0.0.2
      barrier compute -> compute
      command 0.0.3
    event 3 takes 7: q0:1
    ");
}

#[test]
fn a_later_graph_waits_for_an_earlier_one_until_that_is_done() {
    let mut planner = Planner::new(1);
    let mut compute = |_| on(0, COMPUTE);
    planner.plan(&graph(0, &[(work(0), &[])]), &mut compute);
    let second = planner.plan(&graph(1, &[(work(1), &[0]), (work(2), &[])]), &mut compute);
    insta::assert_snapshot!(second, @r"
    batch q0:2
      command 0.0.2
      barrier compute -> compute
      command 0.0.1
    ");
    planner.done(Point { queue: 0, batch: 2 });
    let third = planner.plan(&graph(3, &[(work(3), &[1])]), &mut compute);
    insta::assert_snapshot!(third, @r"
    batch q0:3
      command 0.0.3
    ");
}

#[test]
fn a_new_image_is_made_ready_before_whoever_comes_first() {
    let graph = graph(0, &[(work(0), &[]), (work(1), &[0]), (work(2), &[]), (work(3), &[])]);
    let plan = Planner::new(1).plan(&graph, &mut |command| {
        let mut job = on(0, COMPUTE)?;
        // The third command uses it without being ordered after the second.
        job.fresh.extend([1, 2].contains(&command.command).then_some(ImageId(9)));
        Some(job)
    });
    insta::assert_snapshot!(plan, @r"
    batch q0:1
      command 0.0.0
      command 0.0.3
      barrier compute -> compute|transfer|indirect, image 9
      command 0.0.1
      command 0.0.2
    ");
}

#[test]
fn what_waits_for_a_command_that_cannot_run_is_not_run() {
    let event = VertexKind::Signal { event: EventId(0), value: 1 };
    let done = VertexKind::Complete(CommitId(0));
    let graph = graph(0, &[(work(0), &[]), (work(1), &[0]), (work(2), &[]), (event, &[1]), (done, &[1, 2])]);
    let plan =
        Planner::new(1).plan(&graph, &mut |command| if command.command == 0 { None } else { on(0, COMPUTE) });
    insta::assert_snapshot!(plan, @r"
    batch q0:1
      command 0.0.2
    commit 0 is done: q0:1
    not run: command 0.0.0
    not run: command 0.0.1
    ");
}

/// Queue, stage, whether it is a join, earlier vertices by distance, image.
type Drawn = (u32, u8, bool, Vec<usize>, Option<u64>);

/// A generated graph: for each work its queue, its stages, and which of the works and joins before it waits for.
#[derive(Clone, Debug)]
struct Sketch {
    queues: u32,
    vertices: Vec<Drawn>,
    /// Where a new graph begins, and whether everything before was done by then.
    cuts: Vec<(usize, bool)>,
}

fn sketches() -> impl Strategy<Value = Sketch> {
    let vertex = (0..4u32, 0..3u8, prop::bool::weighted(0.2), prop::collection::vec(1..12usize, 0..4));
    let vertex =
        (vertex, prop::option::weighted(0.15, 0..3u64)).prop_map(|((q, s, j, w), i)| (q, s, j, w, i));
    let cuts = prop::collection::vec((0..40usize, any::<bool>()), 0..3);
    (1..4u32, prop::collection::vec(vertex, 1..40), cuts).prop_map(|(queues, vertices, cuts)| Sketch {
        queues,
        vertices,
        cuts,
    })
}

/// What a plan promises about two commands, by the rules of Vulkan alone.
#[derive(Default)]
struct Lifted {
    /// All steps of a queue in submission order, with the batch.
    queues: BTreeMap<u32, Vec<(u64, Step)>>,
    waits: BTreeMap<(u32, u64), Vec<Point>>,
}

impl Lifted {
    fn add(&mut self, plan: &Plan) {
        for Batch { queue, number, waits, steps, .. } in &plan.batches {
            self.waits.insert((*queue, *number), waits.to_vec());
            let list = self.queues.entry(*queue).or_default();
            list.extend(steps.iter().map(|step| (*number, step.clone())));
        }
    }

    fn place(&self, command: u32) -> Option<(u32, usize, u64)> {
        self.queues.iter().find_map(|(queue, steps)| {
            let is = |step: &Step| matches!(step, Step::Command(own) if own.command == command);
            let at = steps.iter().position(|(_, step)| is(step))?;
            Some((*queue, at, steps[at].0))
        })
    }

    /// Whether the later command waits for the earlier one: a chain of barriers on one queue, or of timelines.
    fn orders(&self, earlier: (u32, HardwareStages), later: (u32, HardwareStages)) -> bool {
        let (Some(from), Some(to)) = (self.place(earlier.0), self.place(later.0)) else { return false };
        if from.0 == to.0 && self.barriers_order(from, earlier.1, to, later.1) {
            return true;
        }
        self.timelines_order((from.0, from.2), (to.0, to.2))
    }

    fn barriers_order(
        &self,
        from: (u32, usize, u64),
        from_stages: HardwareStages,
        to: (u32, usize, u64),
        to_stages: HardwareStages,
    ) -> bool {
        let mut reached = from_stages;
        let between = self.queues[&from.0].get(from.1..to.1).unwrap_or(&[]);
        let mut ordered = HardwareStages::default();
        for (_, step) in between {
            if let Step::Barrier { after, before, .. } = step
                && (after.intersects(reached) || after.intersects(ordered))
            {
                ordered |= *before;
            }
        }
        reached |= ordered;
        ordered.contains(to_stages) && reached.intersects(to_stages)
    }

    /// Whether a batch waits for another through timelines. A signal stands for all that was handed to its queue before, and
    /// so for what that waited for.
    fn timelines_order(&self, from: (u32, u64), to: (u32, u64)) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![to];
        while let Some(batch) = open.pop() {
            for wait in self.waits.get(&batch).into_iter().flatten() {
                if wait.queue == from.0 && wait.batch >= from.1 {
                    return true;
                }
                open.extend(
                    (1..=wait.batch).map(|batch| (wait.queue, batch)).filter(|own| seen.insert(*own)),
                );
            }
        }
        false
    }
}

fn stages(of: u8) -> HardwareStages {
    [COMPUTE, TRANSFER, HardwareStages::ALL][of as usize % 3]
}

/// Builds the graphs of a sketch and their edges by vertex.
fn build(sketch: &Sketch) -> (Vec<(Graph, bool)>, Vec<Vec<u64>>) {
    let mut waits: Vec<Vec<u64>> = Vec::new();
    let mut cuts: BTreeMap<usize, bool> = sketch.cuts.iter().copied().collect();
    let mut graphs = vec![(Graph::default(), false)];
    for (at, (_, _, join, back, _)) in sketch.vertices.iter().enumerate() {
        if let Some(done) = cuts.remove(&at) {
            graphs.push((Graph::default(), done));
        }
        let own: BTreeSet<u64> =
            back.iter().filter_map(|back| at.checked_sub(*back)).map(|at| at as u64).collect();
        let own: Vec<u64> = own.into_iter().collect();
        let kind = if *join { VertexKind::Join } else { work(at as u32) };
        let (into, _) = graphs.last_mut().unwrap();
        into.append(&graph(at as u64, &[(kind, &own)]));
        waits.push(own);
    }
    (graphs, waits)
}

/// The longest chain of orders in each graph, all added up. What a graph waits for of earlier ones is one order.
fn chains(sketch: &Sketch, graphs: &[(Graph, bool)], waits: &[Vec<u64>]) -> usize {
    let longest = |graph: &Graph| {
        let first = graph.vertices.first().map_or(0, |vertex| vertex.id.0);
        let mut depth: Vec<usize> = Vec::new();
        for vertex in &graph.vertices {
            let behind = |earlier: &u64| match earlier.checked_sub(first) {
                Some(at) => depth[at as usize] + usize::from(!sketch.vertices[*earlier as usize].2),
                None => 1,
            };
            depth.push(waits[vertex.id.0 as usize].iter().map(behind).max().unwrap_or(0));
        }
        depth.into_iter().max().unwrap_or(0)
    };
    graphs.iter().map(|(graph, _)| longest(graph)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Every order of the graph is in the plan, and plans of one queue have no more barriers than the longest chain of each
    /// graph, and one at the start of each but the first.
    #[test]
    fn a_plan_contains_the_orders_of_its_graph(sketch in sketches()) {
        let (graphs, waits) = build(&sketch);
        let mut planner = Planner::new(sketch.queues as usize);
        let mut lifted = Lifted::default();
        let mut barriers = 0;
        let mut dones: Vec<u64> = Vec::new();
        for (graph, done) in &graphs {
            if *done {
                (0..sketch.queues).for_each(|queue| {
                    let batch = planner.last_batch(queue);
                    planner.done(Point { queue, batch });
                });
                dones.extend(graph.vertices.first().map(|vertex| vertex.id.0));
            }
            let plan = planner.plan(graph, &mut |command| {
                let (queue, stage, _, _, image) = sketch.vertices[command.command as usize];
                let fresh = image.map(ImageId).into_iter().collect();
                Some(Job { queue: queue % sketch.queues, stages: stages(stage), fresh })
            });
            barriers += plan.barriers();
            lifted.add(&plan);
        }
        let is_work = |at: usize| !sketch.vertices[at].2;
        let own = |at: usize| (at as u32, stages(sketch.vertices[at].1));
        for later in (0..waits.len()).filter(|at| is_work(*at)) {
            // Works that it waits for, through joins.
            let mut open: Vec<u64> = waits[later].clone();
            while let Some(earlier) = open.pop() {
                if is_work(earlier as usize) {
                    let known_done = dones.iter().any(|done| earlier < *done && *done <= later as u64);
                    prop_assert!(
                        known_done || lifted.orders(own(earlier as usize), own(later)),
                        "{earlier} before {later} is lost"
                    );
                } else {
                    open.extend(&waits[earlier as usize]);
                }
            }
        }
        if sketch.queues == 1 && sketch.vertices.iter().all(|vertex| vertex.4.is_none()) {
            // Where stages differ, a later graph may have to begin with a barrier beside those of its chains.
            let most = chains(&sketch, &graphs, &waits) + graphs.len() - 1;
            prop_assert!(barriers <= most, "{barriers} barriers, not {most}");
        }
    }

    /// Where all works are of the same stages, barriers of earlier graphs are not made again.
    #[test]
    fn a_plan_of_the_same_stages_has_the_barriers_of_its_chains(mut sketch in sketches()) {
        sketch.queues = 1;
        sketch.vertices.iter_mut().for_each(|vertex| (vertex.1, vertex.4) = (0, None));
        let (graphs, waits) = build(&sketch);
        let mut planner = Planner::new(1);
        let mut barriers = 0;
        for (graph, _) in &graphs {
            let job = Job { queue: 0, stages: stages(0), fresh: Default::default() };
            barriers += planner.plan(graph, &mut |_| Some(job.clone())).barriers();
        }
        let most = chains(&sketch, &graphs, &waits);
        prop_assert!(barriers <= most, "{barriers} barriers, not {most}");
    }

    /// Each image is made ready once, before every use of it.
    #[test]
    fn an_image_is_made_ready_once(sketch in sketches()) {
        let (graphs, _) = build(&sketch);
        let mut planner = Planner::new(1);
        let mut seen = BTreeSet::new();
        for (graph, _) in &graphs {
            let plan = planner.plan(graph, &mut |command| {
                let (_, stage, _, _, image) = sketch.vertices[command.command as usize];
                Some(Job { queue: 0, stages: stages(stage), fresh: image.map(ImageId).into_iter().collect() })
            });
            for step in plan.batches.iter().flat_map(|batch| &batch.steps) {
                match step {
                    Step::Barrier { fresh, .. } => {
                        for image in fresh {
                            prop_assert!(seen.insert(*image), "{image:?} is made ready twice");
                        }
                    }
                    Step::Command(command) => {
                        let image = sketch.vertices[command.command as usize].4.map(ImageId);
                        prop_assert!(image.is_none_or(|image| seen.contains(&image)), "{command:?} comes too early");
                    }
                }
            }
        }
    }
}
