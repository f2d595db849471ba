//! `lockgate run`: reads a program file, runs it, writes what it makes.

use crate::arguments::Run;
use crate::{output, report};
use indicatif::{ProgressBar, ProgressStyle};
use lockgate::cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate::{Checking, Device, DeviceDescriptor, Observe};
use lockgate_trace::{CheckOptions, Diagnostics, ProgramFile, Progress, timeline};
use std::cell::OnceCell;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A run that takes longer than this shows how far it is.
const PATIENCE: Duration = Duration::from_millis(500);
/// Columns of a timeline where there is no terminal.
const WIDTH: usize = 100;

/// Why a program could not run.
pub(crate) enum Stop {
    /// The program file or the device says why.
    Program(Diagnostics),
    /// Something around it.
    Other(String),
    /// The standard output cannot be written.
    Output(std::io::Error),
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Output(error)
    }
}

pub(crate) fn run(arguments: &Run, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    let file = crate::check::read(&arguments.sources)?;
    check_names(arguments, &file)?;
    let device = device(arguments)?;
    let report = {
        let bar = Bar::new();
        file.run(&device, &|progress| bar.show(progress)).map_err(Stop::Program)?
    };
    write!(out, "{}", timeline::ascii(&report.timeline, WIDTH))?;
    if let Some(path) = &arguments.timeline {
        save(out, path, timeline::html(&report.timeline).as_bytes())?;
    }
    if let Some(path) = &arguments.trace {
        save(out, path, timeline::perfetto(&report.timeline).as_bytes())?;
    }
    report::results(out, file.source(), &report)?;
    let seen = arguments
        .watch
        .then(|| file.check_watched(&CheckOptions { spare: false, ..Default::default() }, &report.watched));
    if let Some(seen) = &seen {
        write!(out, "\n{}", seen.text())?;
    }
    for picture in &report.outputs {
        let given = arguments.output.iter().rev().find(|(name, _)| *name == picture.name);
        let path = match given {
            Some((_, path)) => path.clone(),
            None => arguments.sources.file.parent().unwrap_or(Path::new("")).join(&picture.path),
        };
        save(out, &path, &picture.bytes)?;
    }
    let clean = report.is_clean() && seen.is_none_or(|seen| !seen.report().has_errors());
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn save(out: &mut dyn Write, path: &Path, bytes: &[u8]) -> Result<(), Stop> {
    let shown = path.display();
    output::write_whole(path, bytes)
        .map_err(|error| Stop::Other(format!("{shown} cannot be written: {error}")))?;
    writeln!(out, "wrote   {shown}")?;
    Ok(())
}

/// Inputs and outputs must be there before anything runs.
fn check_names(arguments: &Run, file: &ProgramFile) -> Result<(), Stop> {
    let check = |what: &str, given: &[(String, std::path::PathBuf)], known: &[&str]| match given
        .iter()
        .find(|(name, _)| !known.contains(&name.as_str()))
    {
        None => Ok(()),
        Some((name, _)) if known.is_empty() => {
            Err(Stop::Other(format!("--{what} {name}=..: the program has no {what}")))
        }
        Some((name, _)) => {
            let known = known.join(", ");
            Err(Stop::Other(format!("--{what} {name}=..: the program has no such {what}, only {known}")))
        }
    };
    let outputs: Vec<&str> = file.outputs().map(|(name, _)| name).collect();
    check("input", &arguments.sources.input, &file.inputs().collect::<Vec<_>>())?;
    check("output", &arguments.output, &outputs)
}

fn device(arguments: &Run) -> Result<Device, Stop> {
    // The file is held against the model as a whole; the device need not look again.
    let checking = Checking::Off;
    let observe = if arguments.watch { Observe::Accesses } else { Observe::Nothing };
    let descriptor = DeviceDescriptor { tracing: true, checking, observe, ..DeviceDescriptor::default() };
    let (order, option) = match arguments.adversary {
        Some(seed) => (Order::Adversary(seed), "--adversary"),
        None => (arguments.order.clone(), "--order"),
    };
    let device = match (&order, arguments.device.as_str()) {
        (order, "cpu") => {
            let order = order.clone();
            let backend = CpuBackend::new(&CpuDescriptor { order, ..CpuDescriptor::default() });
            backend.and_then(|backend| Device::open(Box::new(backend), descriptor))
        }
        (Order::Free, name) => lockgate::open_device(name, descriptor),
        (_, name) => {
            return Err(Stop::Other(format!("device `{name}` takes no {option}; only `cpu` does")));
        }
    };
    device.map_err(|error| Stop::Other(error.to_string()))
}

/// A progress bar that appears only on a terminal, and only if the run takes long.
struct Bar {
    start: Instant,
    bar: OnceCell<ProgressBar>,
}

impl Bar {
    fn new() -> Bar {
        Bar { start: Instant::now(), bar: OnceCell::new() }
    }

    fn show(&self, progress: Progress) {
        if self.start.elapsed() < PATIENCE || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} commits, {elapsed}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(progress.total as u64).with_style(style)
        });
        bar.set_position(progress.done as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
