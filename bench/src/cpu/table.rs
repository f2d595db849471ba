//! All peers on all kernels, in turn, and their times as a table.

use super::by_hand::{ByHand, Crew};
use super::opencl::OpenCl;
use super::ours::Ours;
use super::raw::Cl;
use super::work::{Peer, Work};
use super::works::works;
use crate::report::Section;
use lockgate::cpu::{CpuBackend, CpuDescriptor};
use lockgate::vulkan::{VulkanBackend, VulkanDescriptor, adapters};
use lockgate::{Checking, Device, DeviceDescriptor};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Runs of a peer for each kernel, where they are short.
const ROUNDS: usize = 15;
/// A run that takes longer is repeated fewer times.
const LONG: Duration = Duration::from_millis(500);

/// How often a peer runs that took so long the first time.
fn rounds(took: Duration, quick: bool) -> usize {
    match took {
        _ if quick => 2,
        took if took <= LONG => ROUNDS,
        took => (3.0 / took.as_secs_f64()).clamp(1.0, 5.0) as usize,
    }
}

/// What a peer took for a kernel.
pub struct Row {
    pub kernel: String,
    pub peer: String,
    pub rounds: usize,
    /// The median.
    pub time: Duration,
    /// Times Lockgate with as many threads, or with two where the peer decides by itself.
    pub times: f64,
}

/// Pipelines of a kernel, made from the text.
pub struct Created {
    pub kernel: String,
    pub pipelines: usize,
    pub first: Duration,
    pub again: Duration,
}

/// Devices that are opened once.
struct Fleet {
    devices: Vec<(String, Device)>,
    opencl: Result<Rc<Cl>, String>,
}

impl Fleet {
    fn open() -> Fleet {
        let descriptor = || DeviceDescriptor { checking: Checking::Off, ..Default::default() };
        let mut devices = Vec::new();
        for threads in [2, 1] {
            let cpu = CpuBackend::new(&CpuDescriptor { threads, ..Default::default() }).unwrap();
            devices.push((format!("Lockgate, {threads}"), Device::new(Box::new(cpu), descriptor())));
        }
        for adapter in adapters() {
            let opened = adapter.usable.and_then(|()| {
                let only = VulkanDescriptor { adapter: Some(adapter.name.clone()), ..Default::default() };
                let vulkan = VulkanBackend::open(&only).map_err(|error| error.to_string())?;
                Device::open(Box::new(vulkan), descriptor()).map_err(|error| error.to_string())
            });
            match opened {
                Ok(device) => {
                    println!("{}: {}", adapter.name, adapter.description);
                    devices.push((adapter.name, device));
                }
                Err(why) => println!("{}: absent: {why}", adapter.name),
            }
        }
        let opencl = Cl::open();
        match &opencl {
            Ok(cl) => println!("opencl: {}", cl.description),
            Err(why) => println!("opencl: absent: {why}"),
        }
        let threads = std::env::var("LP_NUM_THREADS").unwrap_or_else(|_| "not set".into());
        println!("LP_NUM_THREADS: {threads}; Lockgate and Rust: threads stand behind their names");
        Fleet { devices, opencl }
    }

    /// The peers of a work, and who cannot do it.
    fn peers<'w>(&self, work: &'w Work) -> (Vec<Box<dyn Peer + 'w>>, Vec<String>) {
        let mut peers: Vec<Box<dyn Peer + 'w>> = Vec::new();
        let mut absent = Vec::new();
        for (name, device) in &self.devices {
            match Ours::new(name.clone(), device.clone(), work) {
                Ok(peer) => peers.push(Box::new(peer)),
                Err(why) => absent.push(format!("{name}: {why}")),
            }
        }
        if let Ok(cl) = &self.opencl {
            match OpenCl::new("opencl".into(), cl, work) {
                Ok(peer) => peers.push(Box::new(peer)),
                Err(why) => absent.push(format!("opencl: {}", why.trim())),
            }
        }
        for (threads, modern) in [(2, false), (2, true), (1, false), (1, true)] {
            if let Some(peer) = ByHand::new(work, Crew { threads, modern }) {
                peers.push(Box::new(peer));
            }
        }
        (peers, absent)
    }
}

/// All times, and what did not agree.
pub struct Table {
    pub rows: Vec<Row>,
    pub created: Vec<Created>,
    pub absent: Vec<String>,
    pub wrong: Vec<String>,
}

/// Measures the kernels whose name has `only` in it.
pub fn measure(quick: bool, only: &str) -> Table {
    let fleet = Fleet::open();
    let mut table = Table { rows: Vec::new(), created: Vec::new(), absent: Vec::new(), wrong: Vec::new() };
    for work in works(quick).iter().filter(|work| work.name.contains(only)) {
        table.add(work, &fleet, quick);
    }
    table
}

impl Table {
    fn add(&mut self, work: &Work, fleet: &Fleet, quick: bool) {
        let (mut peers, absent) = fleet.peers(work);
        self.absent.extend(absent.into_iter().map(|absent| format!("{}: {absent}", work.name)));
        let kernel = work.name.clone();
        if let Some([first, again]) = peers[0].created() {
            let pipelines =
                work.steps.iter().map(|step| step.entry).collect::<std::collections::BTreeSet<_>>();
            self.created.push(Created { kernel, pipelines: pipelines.len(), first, again });
        }
        let mut times: Vec<Vec<Duration>> = peers.iter().map(|_| Vec::new()).collect();
        let mut wanted = vec![0; peers.len()];
        for round in 0..=ROUNDS {
            for (at, peer) in peers.iter_mut().enumerate() {
                if round > 0 && round > wanted[at] {
                    continue;
                }
                peer.prepare();
                let begin = Instant::now();
                peer.run();
                let took = begin.elapsed();
                match round {
                    0 => wanted[at] = rounds(took, quick),
                    _ => times[at].push(took),
                }
            }
        }
        let expected = peers[0].result();
        let medians: Vec<(String, Duration)> = peers
            .iter()
            .zip(&mut times)
            .map(|(peer, times)| {
                times.sort_unstable();
                (peer.name().to_owned(), times[times.len() / 2])
            })
            .collect();
        for ((at, peer), (name, time)) in peers.iter_mut().enumerate().zip(&medians) {
            if let Err(why) = work.tolerance.compare(&peer.result(), &expected) {
                self.wrong.push(format!("{}: {name} ({}): {why}", work.name, work.tolerance));
            }
            let ours = medians[usize::from(name.ends_with(", 1"))].1;
            self.rows.push(Row {
                kernel: work.name.clone(),
                peer: name.clone(),
                rounds: times[at].len(),
                time: *time,
                times: time.as_secs_f64() / ours.as_secs_f64(),
            });
        }
        self.print(&work.name, fleet);
    }

    /// The row of a kernel, with a column for each peer; headings above the first.
    fn print(&self, kernel: &str, fleet: &Fleet) {
        let mut peers: Vec<String> = fleet.devices.iter().map(|(name, _)| name.clone()).collect();
        peers.extend(fleet.opencl.iter().map(|_| "opencl".into()));
        let others = self.rows.iter().filter(|row| row.peer.starts_with("Rust")).map(|row| row.peer.clone());
        others.for_each(|name| {
            if !peers.contains(&name) {
                peers.push(name);
            }
        });
        if self.rows.iter().all(|row| row.kernel == kernel) {
            println!("\n| kernel, ms (times Lockgate) | {} |", peers.join(" | "));
            println!("|---{}|", "|---".repeat(peers.len()));
        }
        let cell = |peer: &String| {
            let row = self.rows.iter().find(|row| row.kernel == kernel && row.peer == *peer);
            row.map_or("absent".into(), Row::cell)
        };
        println!("| {kernel} | {} |", peers.iter().map(cell).collect::<Vec<_>>().join(" | "));
    }

    /// All of it as plain rows.
    pub fn section(&self) -> Section {
        let mut section = Section::new("cpu", "Lockgate", ROUNDS);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        for Row { kernel, peer, time, times, .. } in &self.rows {
            section.add_beside(kernel, peer, ("time", "ms"), ms(*time), ms(*time) / times);
        }
        for Created { kernel, first, again, .. } in &self.created {
            section.add(kernel, "Lockgate", ("pipelines, first", "ms"), ms(*first));
            section.add(kernel, "Lockgate", ("pipelines, again", "ms"), ms(*again));
        }
        section.left_out.clone_from(&self.absent);
        section.failed.clone_from(&self.wrong);
        section
    }

    /// What is not in the rows.
    pub fn print_rest(&self) {
        self.absent.iter().for_each(|absent| println!("\nabsent: {absent}"));
        self.wrong.iter().for_each(|wrong| println!("\nresults differ: {wrong}"));
        println!("\n| pipelines, from the text | how many | ms, first | ms, again |\n|---|---|---|---|");
        for created in &self.created {
            let [first, again] = [created.first, created.again].map(|time| time.as_secs_f64() * 1e3);
            println!("| {} | {} | {first:.2} | {again:.2} |", created.kernel, created.pipelines);
        }
    }
}

impl Row {
    fn cell(&self) -> String {
        let few = if self.rounds < ROUNDS { format!(", {} runs", self.rounds) } else { String::new() };
        format!("{:.3} ({:.2}){few}", self.time.as_secs_f64() * 1e3, self.times)
    }
}
