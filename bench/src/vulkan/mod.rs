//! Vulkan: what the host spends on recording and submitting, and what the device spends, beside peers.
//!
//! Peers take turns, so that all see the machine in the same state; each result is compared with the bytes that are
//! expected.

mod filter;
mod ours;
#[cfg(feature = "peers")]
mod peers;
mod raw;
mod workload;

use crate::Options;
use crate::report::{Report, Section};
use filter::filter;
use lockgate::vulkan::{AdapterKind, AdapterReport, adapters};
use std::rc::Rc;
use std::time::{Duration, Instant};
use workload::{Peer, Workload, is_adapter, streams};

/// A peer with what its runs took.
struct Measured {
    peer: Box<dyn Peer>,
    /// Recording and submitting.
    host: Vec<Duration>,
    /// From there on until the host knows that all is done.
    whole: Vec<Duration>,
    device: Vec<f64>,
}

pub fn run(options: &Options, report: &mut Report) {
    let rounds = if options.quick { 3 } else { 21 };
    let wanted =
        |adapter: &AdapterReport| options.adapter.as_ref().is_none_or(|part| is_adapter(&adapter.name, part));
    for adapter in adapters().into_iter().filter(wanted) {
        let mut section = Section::new("vulkan", "ash", rounds);
        section.device = adapter.description.clone();
        match &adapter.usable {
            Ok(()) => measure(&adapter, options, &mut section),
            Err(why) => section.left_out.push(format!("{}: {why}", adapter.name)),
        }
        report.section(&section);
    }
}

/// What is measured, in order; made when its turn comes, since pictures are large.
fn workloads(options: &Options, software: bool) -> Vec<Box<dyn Fn() -> Workload>> {
    let wanted = |letter: char| options.workloads.is_empty() || options.workloads.contains(letter);
    let quick = options.quick;
    let mut all: Vec<Box<dyn Fn() -> Workload>> = Vec::new();
    for (at, letter) in ('a'..='e').enumerate().filter(|(_, letter)| wanted(*letter)) {
        all.push(Box::new(move || streams(quick).swap_remove(at)));
        debug_assert!(streams(quick)[at].name.contains(letter));
    }
    let size = if quick { [500, 375] } else { [4000, 3000] };
    // Software drivers would take minutes for all pictures, and what the host spends depends on no size.
    let several = if software { [500, 375] } else { size };
    if wanted('f') {
        all.push(Box::new(move || filter('f', 1, size)));
    }
    if wanted('g') {
        all.push(Box::new(move || filter('g', 8, several)));
    }
    all
}

/// `ash` first, which all are compared with, and why a peer is not there.
fn peers(adapter: &str, workload: &Rc<Workload>) -> (Vec<Box<dyn Peer>>, Vec<String>) {
    let mut made: Vec<Result<Box<dyn Peer>, String>> = Vec::new();
    made.push(
        raw::Raw::new(adapter, workload).map(|peer| Box::new(peer) as _).map_err(|why| format!("ash: {why}")),
    );
    for tracked in [false, true] {
        let ours = ours::Ours::new(adapter, workload, tracked);
        made.push(ours.map(|peer| Box::new(peer) as _).map_err(|why| format!("lockgate: {why}")));
    }
    #[cfg(feature = "peers")]
    made.extend(peers::all(adapter, workload));
    let (mut peers, mut left_out) = (Vec::new(), Vec::new());
    for peer in made {
        match peer {
            Ok(peer) => peers.push(peer),
            Err(why) => left_out.push(format!("{}: {why}", workload.name)),
        }
    }
    (peers, left_out)
}

fn measure(adapter: &AdapterReport, options: &Options, section: &mut Section) {
    let software = adapter.kind == AdapterKind::Software;
    for make in workloads(options, software) {
        let workload = Rc::new(make());
        eprintln!("{}: {}", adapter.name, workload.name);
        let (peers, left_out) = peers(&adapter.name, &workload);
        section.left_out.extend(left_out);
        let none = |peer| Measured { peer, host: Vec::new(), whole: Vec::new(), device: Vec::new() };
        let mut all: Vec<Measured> = peers.into_iter().map(none).collect();
        for round in 0..=section.rounds {
            all.iter_mut().for_each(|measured| turn(measured, round > 0));
        }
        let expected = (workload.expected)(section.rounds as u32 + 1);
        for measured in &mut all {
            check(measured.peer.as_mut(), &expected);
        }
        add(&mut all, &workload, section, software);
    }
}

/// One run; the first does not count.
fn turn(measured: &mut Measured, counts: bool) {
    let begin = Instant::now();
    measured.peer.submit();
    let host = begin.elapsed();
    measured.peer.wait();
    let whole = begin.elapsed();
    let device = measured.peer.device();
    if counts {
        measured.host.push(host);
        measured.whole.push(whole);
        measured.device.extend(device);
    }
}

fn check(peer: &mut dyn Peer, expected: &[u32]) {
    let words = peer.words();
    let wrong = words.iter().zip(expected).position(|(word, expected)| word != expected);
    assert!(
        wrong.is_none() && words.len() == expected.len(),
        "{}: word {wrong:?} of {} is not what was expected",
        peer.name(),
        words.len()
    );
}

fn add(all: &mut [Measured], workload: &Workload, section: &mut Section, software: bool) {
    let count = workload.dispatches() as f64;
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / count
    };
    let mut base: Option<[f64; 3]> = None;
    for Measured { peer, host, whole, device } in all {
        device.sort_by(f64::total_cmp);
        let on_device = device.get(device.len() / 2).map(|time| time / count);
        let figures = [middle(host), on_device.unwrap_or(0.0), middle(whole)];
        let base = base.get_or_insert(figures);
        let unit = "ns a dispatch";
        let name = peer.name();
        section.add_beside(&workload.name, &name, ("host", unit), figures[0], base[0]);
        // A driver on the CPU has no device to time.
        if on_device.is_some() && !software {
            section.add_beside(&workload.name, &name, ("device", unit), figures[1], base[1]);
        }
        if !software {
            section.add_beside(&workload.name, &name, ("until done", unit), figures[2], base[2]);
        }
        if let Some(barriers) = peer.barriers() {
            section.add(&workload.name, &name, ("barriers", ""), barriers as f64);
        }
    }
}
