//! Vulkan: what the host spends on recording and submitting, and what the device spends, beside peers.
//!
//! Peers take turns, so that all see the machine in the same state; each result is compared with the bytes that are
//! expected.

mod ours;
mod raw;
mod workload;

use lockgate::vulkan::{AdapterKind, adapters};
use std::time::{Duration, Instant};
use workload::{Peer, Workload, workloads};

/// The medians of a peer.
struct Row {
    name: String,
    host: f64,
    device: Option<f64>,
    barriers: Option<usize>,
}

pub fn run(quick: bool) {
    let rounds = if quick { 3 } else { 21 };
    for adapter in adapters() {
        match &adapter.usable {
            Ok(()) => println!("\n{}\n", adapter.description),
            Err(why) => {
                println!("\n{}: not measured: {why}\n", adapter.name);
                continue;
            }
        }
        let software = adapter.kind == AdapterKind::Software;
        println!(
            "| workload | peer | host, ns a dispatch | times ash | device, ns a dispatch | times ash | barriers |"
        );
        println!("|---|---|---|---|---|---|---|");
        for workload in workloads(quick) {
            let rows = measure(&adapter.name, workload, rounds);
            print(&rows, workload, software);
        }
    }
}

fn peers(adapter: &str, workload: Workload) -> Vec<Box<dyn Peer>> {
    let mut peers: Vec<Box<dyn Peer>> = vec![Box::new(raw::Raw::new(adapter, workload))];
    for tracked in [false, true] {
        peers.push(Box::new(ours::Ours::new(adapter, workload, tracked).unwrap()));
    }
    peers
}

fn measure(adapter: &str, workload: Workload, rounds: usize) -> Vec<Row> {
    let mut peers = peers(adapter, workload);
    let mut host: Vec<Vec<Duration>> = peers.iter().map(|_| Vec::new()).collect();
    let mut device: Vec<Vec<f64>> = host.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        for (at, peer) in peers.iter_mut().enumerate() {
            let begin = Instant::now();
            peer.submit();
            let took = begin.elapsed();
            let on_device = peer.wait();
            if round > 0 {
                host[at].push(took);
                device[at].extend(on_device);
            }
        }
    }
    let row = |(at, peer): (usize, &mut Box<dyn Peer>)| {
        let words = peer.words();
        let expected = workload.expected(rounds as u32 + 1);
        assert!(
            words.iter().all(|word| *word == expected),
            "{}: {words:x?} are not {expected:x}",
            peer.name()
        );
        host[at].sort_unstable();
        device[at].sort_by(f64::total_cmp);
        let count = f64::from(workload.count);
        Row {
            name: peer.name(),
            host: host[at][rounds / 2].as_nanos() as f64 / count,
            device: device[at].get(rounds / 2).map(|time| time / count),
            barriers: peer.barriers(),
        }
    };
    peers.iter_mut().enumerate().map(row).collect()
}

fn print(rows: &[Row], workload: Workload, software: bool) {
    for row in rows {
        let times = row.host / rows[0].host;
        let (device, device_times) = match (row.device, rows[0].device) {
            // A driver on the CPU has no device to time.
            (Some(own), Some(first)) if !software => (format!("{own:.0}"), format!("{:.2}", own / first)),
            _ => ("".into(), "".into()),
        };
        let barriers = row.barriers.map_or(String::new(), |count| count.to_string());
        println!(
            "| {} | {} | {:.0} | {times:.2} | {device} | {device_times} | {barriers} |",
            workload.name, row.name, row.host
        );
    }
}
