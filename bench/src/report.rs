//! What was measured, as plain rows: printed as one Markdown table for each section, and written as one JSON file.

use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;

/// A figure.
pub struct Row {
    pub workload: String,
    /// Who did it; empty where nothing stands beside it.
    pub peer: String,
    pub metric: &'static str,
    pub unit: &'static str,
    pub value: f64,
    /// How many times that of the section's base, in the same run.
    pub ratio: Option<f64>,
}

/// Figures that were measured side by side.
pub struct Section {
    /// As the command line names it.
    pub subject: &'static str,
    /// What it ran on, where that is not this machine alone.
    pub device: String,
    /// What ratios are of.
    pub base: &'static str,
    /// Rounds that count, after one to warm up, in turns with all others of the section; 1 where a stream is long instead.
    pub rounds: usize,
    pub rows: Vec<Row>,
    /// What could not be measured, and why.
    pub left_out: Vec<String>,
    /// What broke down or gave other bytes.
    pub failed: Vec<String>,
}

impl Section {
    pub fn new(subject: &'static str, base: &'static str, rounds: usize) -> Section {
        let (rows, left_out, failed) = (Vec::new(), Vec::new(), Vec::new());
        Section { subject, device: String::new(), base, rounds, rows, left_out, failed }
    }

    pub fn add(
        &mut self,
        workload: &str,
        peer: &str,
        (metric, unit): (&'static str, &'static str),
        value: f64,
    ) {
        let (workload, peer) = (workload.to_owned(), peer.to_owned());
        self.rows.push(Row { workload, peer, metric, unit, value, ratio: None });
    }

    /// As `add`, beside the value of the base.
    pub fn add_beside(
        &mut self,
        workload: &str,
        peer: &str,
        metric: (&'static str, &'static str),
        value: f64,
        base: f64,
    ) {
        self.add(workload, peer, metric, value);
        if let Some(row) = self.rows.last_mut() {
            row.ratio = Some(value / base);
        }
    }

    /// A line for each workload and peer, a column for each metric and for its ratio.
    fn markdown(&self) -> String {
        let mut metrics: Vec<(&str, &str, bool)> = Vec::new();
        let mut lines: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            match metrics.iter_mut().find(|(metric, ..)| *metric == row.metric) {
                Some((_, _, ratio)) => *ratio |= row.ratio.is_some(),
                None => metrics.push((row.metric, row.unit, row.ratio.is_some())),
            }
            if !lines.contains(&(&row.workload, &row.peer)) {
                lines.push((&row.workload, &row.peer));
            }
        }
        let mut head = "| workload | peer |".to_owned();
        for (metric, unit, ratio) in &metrics {
            let _ = write!(head, " {metric}{}{unit} |", if unit.is_empty() { "" } else { ", " });
            if *ratio {
                let _ = write!(head, " times {} |", self.base);
            }
        }
        let rule = "|---".repeat(head.matches('|').count() - 1);
        let mut text = format!("{head}\n{rule}|\n");
        for (workload, peer) in lines {
            let _ = write!(text, "| {workload} | {peer} |");
            for (metric, _, ratio) in &metrics {
                let is = |row: &&Row| row.workload == workload && row.peer == peer && row.metric == *metric;
                let row = self.rows.iter().find(is);
                let _ = write!(text, " {} |", row.map_or(String::new(), |row| figure(row.value)));
                if *ratio {
                    let times = row.and_then(|row| row.ratio).map(|ratio| format!("{ratio:.2}"));
                    let _ = write!(text, " {} |", times.unwrap_or_default());
                }
            }
            text.push('\n');
        }
        self.left_out.iter().for_each(|line| text += &format!("\nNot measured: {line}\n"));
        self.failed.iter().for_each(|line| text += &format!("\nFailed: {line}\n"));
        text
    }

    fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "workload": row.workload, "peer": row.peer, "metric": row.metric, "unit": row.unit,
                "value": row.value, "ratio": row.ratio,
            })
        };
        json!({
            "subject": self.subject,
            "device": self.device,
            "method": { "rounds": self.rounds, "warm_up": 1, "statistic": "median", "interleaved": self.rounds > 1 },
            "ratios_of": self.base,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "left_out": self.left_out,
            "failed": self.failed,
        })
    }
}

/// Three digits, or all before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Takes sections as they come: prints each, and writes the file anew, so that a run that is cut short leaves what it has.
pub struct Report {
    file: Option<PathBuf>,
    sections: Vec<Value>,
    /// Whether anything did.
    pub failed: bool,
}

impl Report {
    pub fn new(file: Option<PathBuf>) -> Report {
        Report { file, sections: Vec::new(), failed: false }
    }

    pub fn section(&mut self, section: &Section) {
        if !section.device.is_empty() {
            println!("{}\n", section.device);
        }
        println!("{}", section.markdown());
        self.note(section);
    }

    /// The same for what has been printed already.
    pub fn note(&mut self, section: &Section) {
        self.failed |= !section.failed.is_empty();
        self.sections.push(section.json());
        if let Some(file) = &self.file {
            let all = json!({ "machine": machine(), "sections": self.sections });
            if let Err(error) = std::fs::write(file, format!("{all:#}\n")) {
                eprintln!("{}: {error}", file.display());
                std::process::exit(1);
            }
        }
    }
}

fn machine() -> Value {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(':').nth(1)).map(|value| value.trim().to_owned())
    };
    json!({
        "cpu": after(&read("/proc/cpuinfo"), "model name"),
        "threads": std::thread::available_parallelism().ok().map(usize::from),
        "memory": after(&read("/proc/meminfo"), "MemTotal"),
        "system": format!("{} {}", std::env::consts::OS, read("/proc/sys/kernel/osrelease").trim()),
        "architecture": std::env::consts::ARCH,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}
