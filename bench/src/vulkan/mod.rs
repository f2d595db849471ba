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
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};
use workload::{Peer, Workload, streams};

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
        |adapter: &AdapterReport| options.adapter.as_ref().is_none_or(|part| adapter.name.contains(part));
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

/// Made when its turn comes, since pictures are large.
type Make = Box<dyn Fn() -> Workload>;

/// What is measured, in order.
fn workloads(options: &Options, software: bool) -> Vec<Make> {
    let wanted = |letter: char| options.workloads.is_empty() || options.workloads.contains(letter);
    let quick = options.quick;
    let mut all: Vec<Make> = Vec::new();
    for (at, _) in ('a'..='e').enumerate().filter(|(_, letter)| wanted(*letter)) {
        all.push(Box::new(move || streams(quick).swap_remove(at)));
    }
    // Drivers that run on the CPU would take minutes, and what the host spends depends on no size.
    let size = if quick || software { [500, 375] } else { [4000, 3000] };
    for (letter, pictures) in [('f', 1), ('g', 8)].into_iter().filter(|(letter, _)| wanted(*letter)) {
        all.push(Box::new(move || filter(letter, pictures, size)));
    }
    all
}

type Made = Result<Box<dyn Peer>, String>;

/// `ash` first, which all are compared with.
fn peers(adapter: &str, workload: &Rc<Workload>) -> Vec<Made> {
    let raw = raw::Raw::new(adapter, workload).expect("what all are compared with");
    let mut made: Vec<Made> = vec![Ok(Box::new(raw))];
    for tracked in [false, true] {
        made.push(Ok(Box::new(ours::Ours::new(adapter, workload, tracked).expect("the adapter is usable"))));
    }
    #[cfg(feature = "peers")]
    made.extend(peers::all(adapter, workload));
    made
}

fn measure(adapter: &AdapterReport, options: &Options, section: &mut Section) {
    let software = adapter.kind == AdapterKind::Software;
    for make in workloads(options, software) {
        let workload = Rc::new(make());
        eprintln!("{}: {}", adapter.name, workload.name);
        let mut all: Vec<Measured> = Vec::new();
        for made in peers(&adapter.name, &workload) {
            match made {
                Ok(peer) => {
                    all.push(Measured { peer, host: Vec::new(), whole: Vec::new(), device: Vec::new() })
                }
                Err(why) => section.left_out.push(format!("{}: {why}", workload.name)),
            }
        }
        for round in 0..=section.rounds {
            // Every second round goes the other way, so that nobody always follows the same other.
            if round % 2 == 1 {
                all.reverse();
            }
            each(&mut all, &workload, section, |measured| turn(measured, round > 0));
            if round % 2 == 1 {
                all.reverse();
            }
        }
        let expected = (workload.expected)(section.rounds as u32 + 1);
        each(&mut all, &workload, section, |measured| check(measured.peer.as_mut(), &expected));
        add(&mut all, &workload, section, software);
    }
    let wanted = |letter: char| options.workloads.is_empty() || options.workloads.contains(letter);
    if !software && wanted('s') {
        split(adapter, section);
    }
    if wanted('t') {
        tell(adapter, options, section);
    }
}

/// What it costs the host to say what is bound, in each way that Vulkan has.
fn tell(adapter: &AdapterReport, options: &Options, section: &mut Section) {
    const WORKLOAD: &str = "(t) recording what is bound, 10,000 times";
    let mut all = Vec::new();
    for (way, name) in raw::tell::WAYS {
        match raw::tell::Tell::new(&adapter.name, way, options.quick) {
            Ok(tell) => all.push((name, tell, Vec::new())),
            Err(why) => section.left_out.push(format!("{WORKLOAD}, {name}: {why}")),
        }
    }
    for round in 0..=section.rounds {
        for (_, tell, times) in &mut all {
            let took = tell.record();
            times.extend((round > 0).then_some(took));
        }
    }
    let count = if options.quick { 500.0 } else { 10_000.0 };
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / count
    };
    let mut base = None;
    for (name, _, times) in &mut all {
        let figure = middle(times);
        let base = *base.get_or_insert(figure);
        section.add_beside(WORKLOAD, name, ("host", "ns a dispatch"), figure, base);
    }
}

/// What an order costs the device that has work beside it: by a barrier, and by an event.
fn split(adapter: &AdapterReport, section: &mut Section) {
    const WORKLOAD: &str = "(s) an order with work beside it";
    let split = match raw::split::Split::new(&adapter.name) {
        Ok(split) => split,
        Err(why) => return section.left_out.push(format!("{WORKLOAD}: {why}")),
    };
    let scripts = raw::split::scripts();
    let mut times: Vec<Vec<f64>> = scripts.iter().map(|_| Vec::new()).collect();
    for round in 0..=section.rounds {
        for (_, script) in &scripts {
            let took = split.run(*script);
            times[*script].extend((round > 0).then_some(took));
        }
    }
    for ((name, _), times) in scripts.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        section.add(WORKLOAD, &format!("ash by hand, {name}"), ("device", "ns"), times[times.len() / 2]);
    }
}

/// Acts on all; who panics is told and goes on no further, so that the others do.
fn each(all: &mut Vec<Measured>, workload: &Workload, section: &mut Section, act: impl Fn(&mut Measured)) {
    let mut at = 0;
    while at < all.len() {
        match catch_unwind(AssertUnwindSafe(|| act(&mut all[at]))) {
            Ok(()) => at += 1,
            Err(_) => {
                // In the middle of something, so that it may not even be dropped.
                let lost = ManuallyDrop::new(all.remove(at));
                section.failed.push(format!("{}: {}", workload.name, lost.peer.name()));
            }
        }
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
    assert_eq!(words.len(), expected.len(), "{}", peer.name());
    let wrong = words.iter().zip(expected).position(|(word, expected)| word != expected);
    assert!(wrong.is_none(), "{}: word {wrong:?} is not what was expected", peer.name());
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
