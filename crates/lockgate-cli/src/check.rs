//! `lockgate check` and `lockgate fix`: what is wrong with a program file, and the smallest change that mends it.

use crate::arguments::{Check, Fix, Format, Sources};
use crate::output;
use crate::run::Stop;
use lockgate::cpu::{CpuBackend, CpuDescriptor, Order};
use lockgate::{Checking, Device, DeviceDescriptor, Observe};
use lockgate_trace::{CheckOptions, Checked, Folder, ProgramFile};
use similar::TextDiff;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Reads a program file and the text that it was.
pub(crate) fn read(sources: &Sources) -> Result<ProgramFile, Stop> {
    let path = &sources.file;
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Stop::Other(format!("{name}: {error}")))?;
    parse(sources, &text)
}

fn parse(sources: &Sources, text: &str) -> Result<ProgramFile, Stop> {
    let path = &sources.file;
    let folder = Folder::new(path.parent().unwrap_or(Path::new("")));
    let add = |folder: Folder, (name, path): &(String, std::path::PathBuf)| folder.with_input(name, path);
    let folder = sources.input.iter().fold(folder, add);
    ProgramFile::parse(&path.display().to_string(), text, &folder).map_err(Stop::Program)
}

pub(crate) fn check(arguments: &Check, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    let file = read(&arguments.sources)?;
    let options = CheckOptions { advice: !arguments.no_advice, ..CheckOptions::default() };
    let checked = match arguments.model {
        Some(target) => file.check_portability(target),
        None if !arguments.explain.is_empty() => {
            file.check(&CheckOptions { advice: false, spare: false, ..options })
        }
        None if arguments.watch => {
            let device = watching_device()?;
            let watched = file.watch(&device, &|_| {}).map_err(Stop::Program)?;
            file.check_watched(&options, &watched)
        }
        None => file.check(&options),
    };
    if let [a, b] = arguments.explain.as_slice() {
        write!(out, "{}", checked.explain(a, b).map_err(Stop::Other)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match arguments.format {
        Format::Text => checked.text(),
        Format::Listing => format!("{}\n{}", checked.listing(), checked.summary()),
        Format::Json => checked.json() + "\n",
        Format::Github => checked.github(),
    };
    out.write_all(text.as_bytes())?;
    Ok(code(&checked))
}

pub(crate) fn fix(arguments: &Fix, out: &mut dyn Write) -> Result<ExitCode, Stop> {
    let file = read(&arguments.sources)?;
    let checked = file.check(&CheckOptions::default());
    let report = checked.report();
    let removing = report.removing().filter(|_| arguments.remove_spare);
    let repair = checked.repaired(report.closing().chain(removing));
    for refused in &repair.refused {
        writeln!(out, "not changed: {refused}")?;
    }
    let (before, path) = (file.source().text(), arguments.sources.file.display().to_string());
    if repair.text == before {
        writeln!(out, "{path}: nothing to change")?;
        return Ok(code(&checked));
    }
    // Nothing is written that cannot be read again.
    let after = parse(&arguments.sources, &repair.text)?.check(&CheckOptions::default());
    let diff = TextDiff::from_lines(before, &repair.text);
    write!(out, "{}", diff.unified_diff().header(&path, &path))?;
    if !arguments.dry_run {
        output::write_whole(&arguments.sources.file, repair.text.as_bytes())
            .map_err(|error| Stop::Other(format!("{path} cannot be written: {error}")))?;
        writeln!(out, "wrote   {path}")?;
    }
    write!(out, "then    {}", after.summary())?;
    Ok(code(&after))
}

/// The CPU device in recording order, which looks at every access.
fn watching_device() -> Result<Device, Stop> {
    let backend = CpuBackend::new(&CpuDescriptor { order: Order::Recording, ..CpuDescriptor::default() });
    let descriptor = DeviceDescriptor { observe: Observe::Accesses, ..DeviceDescriptor::default() };
    let descriptor = DeviceDescriptor { checking: Checking::Off, ..descriptor };
    let device = backend.and_then(|backend| Device::open(Box::new(backend), descriptor));
    device.map_err(|error| Stop::Other(error.to_string()))
}

fn code(checked: &Checked) -> ExitCode {
    ExitCode::from(u8::from(checked.report().has_errors()))
}
