//! Side-by-side measurements. Each line is a ratio within one run, or a count; absolute times mean nothing
//! across machines.
//!
//! `cargo run --release --manifest-path bench/Cargo.toml -- [WHAT] [--quick]` where WHAT is `recording`,
//! `engine`, `check`, `cpu`, `vulkan` or `all`.

mod check;
mod cpu;
mod engine;
mod measure;
mod recording;
mod vulkan;

/// What is measured; `true` for a quick run.
type Subject = (&'static str, fn(bool));

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let what = arguments.iter().find(|argument| !argument.starts_with("--")).map_or("all", String::as_str);
    let runs: [Subject; 5] = [
        ("recording", recording::run),
        ("engine", engine::run),
        ("check", check::run),
        ("cpu", cpu::run),
        ("vulkan", vulkan::run),
    ];
    let chosen: Vec<_> = runs.iter().filter(|(name, _)| what == "all" || what == *name).collect();
    if chosen.is_empty() {
        eprintln!("there is no `{what}`: say recording, engine, check, cpu, vulkan or all");
        std::process::exit(2);
    }
    for (name, run) in chosen {
        println!("## {name}\n");
        run(quick);
        println!();
    }
}
