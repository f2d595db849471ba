//! Side-by-side measurements. Each line is a ratio within one run, or a count; absolute times mean nothing
//! across machines.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -- [WHAT] [OPTIONS]` where WHAT is `recording`, `engine`,
//! `check`, `cpu`, `scaling`, `vulkan` or `all`. `--quick` is for trying, `--json FILE` writes what is printed also as JSON;
//! `--adapter NAME` and `--workloads LETTERS` choose what `vulkan` measures, and `--features peers` before the `--`
//! puts wgpu, blade and vulkano beside it.

mod check;
mod cpu;
mod engine;
mod frames;
mod measure;
mod recording;
mod report;
mod vulkan;

use report::Report;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Default)]
pub struct Options {
    what: String,
    quick: bool,
    json: Option<PathBuf>,
    adapter: Option<String>,
    workloads: String,
}

/// What is measured.
type Subject = (&'static str, fn(&Options, &mut Report));

fn options() -> Result<Options, String> {
    let mut options = Options { what: "all".into(), ..Default::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("what comes after {argument}?"));
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = Some(value()?.into()),
            "--adapter" => options.adapter = Some(value()?),
            "--workloads" => options.workloads = value()?,
            option if option.starts_with('-') => return Err(format!("there is no option `{option}`")),
            what => options.what = what.to_owned(),
        }
    }
    Ok(options)
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    std::process::exit(2);
}

fn main() {
    let options = options().unwrap_or_else(|why| fail(&why));
    let runs: [Subject; 6] = [
        ("recording", |options, report| report.section(&recording::run(options.quick))),
        ("engine", |options, report| {
            report.section(&engine::run(options.quick));
            report.section(&frames::run(options.quick));
        }),
        ("check", |options, report| check::run(options.quick).iter().for_each(|own| report.section(own))),
        ("cpu", |options, report| report.note(&cpu::run(options.quick))),
        ("scaling", |options, report| report.section(&cpu::run_scaling(options.quick))),
        ("vulkan", vulkan::run),
    ];
    let what = options.what.as_str();
    let chosen: Vec<_> = runs.iter().filter(|(name, _)| what == "all" || what == *name).collect();
    if chosen.is_empty() {
        fail(&format!("there is no `{what}`: say recording, engine, check, cpu, vulkan or all"));
    }
    let mut report = Report::new(options.json.clone());
    for (name, run) in chosen {
        println!("## {name}\n");
        run(&options, &mut report);
        println!();
    }
    if report.failed {
        std::process::exit(1);
    }
}
