//! The command `lockgate`: runs program files and shows what ran when.
//!
//! Exit codes: 0 if everything is clean, 1 if something was found or an expectation failed, 2 if the program
//! could not run. A broken pipe is success.

mod arguments;
mod check;
mod output;
mod report;
mod run;

use clap::Parser;
use lockgate_trace::{Code, findings};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let mut out = std::io::stdout().lock();
    let done = match &arguments.command {
        arguments::Command::Run(run) => run::run(run, &mut out),
        arguments::Command::Check(check) => check::check(check, &mut out),
        arguments::Command::Fix(fix) => check::fix(fix, &mut out),
        arguments::Command::Explain { code } => explain(code.as_deref(), &mut out),
        arguments::Command::Devices => devices(&mut out),
    };
    match done.and_then(|code| out.flush().map(|()| code).map_err(run::Stop::from)) {
        Ok(code) => code,
        Err(run::Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(stop) => {
            report::complain(&stop);
            ExitCode::from(2)
        }
    }
}

/// The manual page of a kind of finding, or a line for each kind.
fn explain(code: Option<&str>, out: &mut dyn Write) -> Result<ExitCode, run::Stop> {
    let Some(name) = code else {
        for code in Code::ALL {
            writeln!(out, "{:30} {:8} {}", code.name(), code.severity().name(), findings::title(*code))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Some(code) = Code::from_name(name) else {
        let message = format!("there is no finding `{name}`; `lockgate explain` lists all");
        return Err(run::Stop::Other(message));
    };
    write!(out, "{}", findings::page(code))?;
    Ok(ExitCode::SUCCESS)
}

/// Lists devices, those that cannot be used with the reason.
fn devices(out: &mut dyn Write) -> Result<ExitCode, run::Stop> {
    let devices = lockgate::devices();
    let width = devices.iter().map(|device| device.name.len()).max().unwrap_or(0);
    for device in devices {
        let usable = device.usable.map_or_else(|why| format!(" (cannot be used: {why})"), |()| String::new());
        writeln!(out, "{:width$}  {}{usable}", device.name, device.description)?;
    }
    Ok(ExitCode::SUCCESS)
}
