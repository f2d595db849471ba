//! The command `lockgate`: runs program files and shows what ran when.
//!
//! Exit codes: 0 if everything is clean, 1 if something was found or an expectation failed, 2 if the program
//! could not run. A broken pipe is success.

mod arguments;
mod output;
mod report;
mod run;

use clap::Parser;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let mut out = std::io::stdout().lock();
    let done = match &arguments.command {
        arguments::Command::Run(run) => run::run(run, &mut out),
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

/// Lists devices, those that cannot be used with the reason.
fn devices(out: &mut dyn Write) -> Result<ExitCode, run::Stop> {
    for device in lockgate::devices() {
        let usable = device.usable.map_or_else(|why| format!(" (cannot be used: {why})"), |()| String::new());
        writeln!(out, "{:8}  {}{usable}", device.name, device.description)?;
    }
    Ok(ExitCode::SUCCESS)
}
