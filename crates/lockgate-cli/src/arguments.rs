//! What the command line can say.

use clap::{Args, Parser, Subcommand};
use lockgate::cpu::Order;
use std::path::PathBuf;

/// GPU programs with Metal's synchronization model, run as weakly ordered as they allow.
#[derive(Debug, Parser)]
#[command(name = "lockgate", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a program file; checks what it expects and shows what ran when.
    Run(Run),
    /// Lists the devices of this machine.
    Devices,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// The program file (KDL).
    pub(crate) file: PathBuf,
    /// The device, as `lockgate devices` names it.
    #[arg(long, default_value = "cpu", value_name = "NAME")]
    pub(crate) device: String,
    /// Another picture for `image NAME` of the file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub(crate) input: Vec<(String, PathBuf)>,
    /// Another place for `output NAME` of the file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub(crate) output: Vec<(String, PathBuf)>,
    /// Writes the timeline as one web page.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) timeline: Option<PathBuf>,
    /// Writes the timeline for Perfetto (ui.perfetto.dev).
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    /// In which order unordered commands run: free, recorded, reversed, or random:SEED.
    #[arg(long, default_value = "free", value_name = "ORDER", value_parser = order)]
    pub(crate) order: Order,
}

fn pair(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("it is written NAME=FILE".into()),
    }
}

fn order(text: &str) -> Result<Order, String> {
    match text {
        "free" => Ok(Order::Free),
        "recorded" => Ok(Order::Recording),
        "reversed" => Ok(Order::Reverse),
        _ => match text.strip_prefix("random:").map(str::parse) {
            Some(Ok(seed)) => Ok(Order::Random(seed)),
            _ => Err("it is free, recorded, reversed, or random:SEED".into()),
        },
    }
}
