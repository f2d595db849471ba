//! What the command line can say.

use clap::{Args, Parser, Subcommand};
use lockgate::cpu::Order;
use lockgate_trace::Target;
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
    /// Says which order a program file misses, the smallest change, and which synchronization is spare.
    Check(Check),
    /// Writes the smallest changes back into a program file.
    Fix(Fix),
    /// Explains a kind of finding; without one lists all.
    Explain {
        /// Its code, such as `read-after-write`.
        code: Option<String>,
    },
    /// Lists the devices of this machine.
    Devices,
}

/// A program file and what it reads.
#[derive(Args, Debug)]
pub(crate) struct Sources {
    /// The program file (KDL).
    pub(crate) file: PathBuf,
    /// Another picture for `image NAME` of the file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub(crate) input: Vec<(String, PathBuf)>,
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// How findings are written.
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// What orders two commands, `pass.command`, or why nothing does.
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    pub(crate) explain: Vec<String>,
    /// What the program relies on that other queues do not have: metal4, metal3 or lockgate.
    #[arg(long, value_parser = target)]
    pub(crate) model: Option<Target>,
    /// Runs the program on the CPU device and watches every byte: confirms or dismisses findings by what was touched,
    /// and finds races and stray accesses inside of kernels.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Looks for no fixes, which takes less time.
    #[arg(long)]
    pub(crate) no_advice: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Fix {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// Shows the changes and writes nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Takes away what is spare, too.
    #[arg(long)]
    pub(crate) remove_spare: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// The program, line by line, with findings in place.
    Listing,
    /// An array of all findings; docs/FINDINGS.md describes it.
    Json,
    /// Annotations of GitHub.
    Github,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) sources: Sources,
    /// The device, as `lockgate devices` names it.
    #[arg(long, env = "LOCKGATE_DEVICE", default_value = "cpu", value_name = "NAME")]
    pub(crate) device: String,
    /// Another place for `output NAME` of the file.
    #[arg(long, value_name = "NAME=FILE", value_parser = pair)]
    pub(crate) output: Vec<(String, PathBuf)>,
    /// Writes the timeline as one web page.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) timeline: Option<PathBuf>,
    /// Writes the timeline for Perfetto (ui.perfetto.dev).
    #[arg(long, value_name = "FILE.json")]
    pub(crate) trace: Option<PathBuf>,
    /// Watches every byte: says which accesses of kernels race, read what nothing has written, or are out of bounds, and
    /// which missing orders the run confirms. Only for the CPU device, and slow.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Runs the program as badly as its synchronization allows, on the CPU device: unordered commands and workgroups
    /// take turns in small steps, and what is not made visible may be read as it was before. All choices come from
    /// SEED: the same number gives the same bytes.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["order", "watch"])]
    pub(crate) adversary: Option<u64>,
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

fn target(text: &str) -> Result<Target, String> {
    Target::from_name(text).ok_or_else(|| "it is metal4, metal3 or lockgate".into())
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
