//! What a person sees: errors with carets, verdicts, findings.

use crate::run::Stop;
use lockgate_trace::{Diagnostic, RunReport, Source};
use miette::{GraphicalReportHandler, GraphicalTheme};
use std::io::{IsTerminal, Write};

/// Writes why nothing ran to the standard error.
pub(crate) fn complain(stop: &Stop) {
    let mut error = std::io::stderr().lock();
    // If even this cannot be written, nobody is listening.
    let _ = match stop {
        Stop::Program(diagnostics) => {
            diagnostics.0.iter().try_for_each(|diagnostic| write!(error, "{}", drawn(diagnostic)))
        }
        Stop::Other(message) => writeln!(error, "error: {message}"),
        Stop::Output(cause) => writeln!(error, "error: the output cannot be written: {cause}"),
    };
}

/// A diagnostic with carets; colours only on a terminal.
fn drawn(diagnostic: &Diagnostic) -> String {
    let plain = !std::io::stderr().is_terminal();
    let theme = if plain { GraphicalTheme::unicode_nocolor() } else { GraphicalTheme::unicode() };
    let handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
    let mut text = String::new();
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(_) => format!("error: {diagnostic}\n"),
    }
}

/// Writes expectations and findings.
pub(crate) fn results(out: &mut dyn Write, source: &Source, report: &RunReport) -> std::io::Result<()> {
    for verdict in &report.verdicts {
        if verdict.holds {
            writeln!(out, "ok      {}", verdict.expected)?;
            continue;
        }
        let line = 1 + source.text()[..verdict.span.start].matches('\n').count();
        writeln!(out, "failed  {}  ({}:{line})", verdict.expected, source.name())?;
        writeln!(out, "        {}", verdict.found)?;
    }
    report.findings.iter().try_for_each(|finding| writeln!(out, "found   {finding}"))
}
