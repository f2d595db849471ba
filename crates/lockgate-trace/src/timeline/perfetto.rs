//! A timeline as a trace that Perfetto and other viewers of the Chrome trace format load.
//!
//! Queues are processes, workers are threads, commands are slices, orders are flows.

use super::Timeline;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The timeline in the Chrome trace event format.
///
/// ```
/// use lockgate_trace::{Timeline, timeline::perfetto};
/// assert_eq!(perfetto(&Timeline::default()), r#"{"displayTimeUnit":"ns","traceEvents":[]}"#);
/// ```
pub fn perfetto(timeline: &Timeline) -> String {
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    let mut events: Vec<Value> = Vec::new();
    let lane = |command: usize| timeline.passes[timeline.commands[command].pass].lane;
    let ran = |command: &usize| timeline.commands[*command].ran;
    for (pid, name) in timeline.lanes.iter().enumerate() {
        let name = format!("queue {name}");
        events.push(json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": name}}));
    }
    let commands: Vec<usize> = (0..timeline.commands.len()).filter(ran).collect();
    let threads: BTreeSet<_> = commands.iter().map(|at| (lane(*at), timeline.commands[*at].worker)).collect();
    for (pid, tid) in threads {
        let name = if tid == 0 { "waiting thread".into() } else { format!("worker {tid}") };
        events
            .push(json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}));
    }
    for at in commands {
        let command = &timeline.commands[at];
        let pass = &timeline.passes[command.pass];
        events.push(json!({
            "ph": "X", "cat": pass.kind, "name": command.name, "pid": pass.lane, "tid": command.worker,
            "ts": micros(command.start), "dur": micros(command.end - command.start),
            "args": {"pass": pass.name, "command buffer": pass.buffer},
        }));
    }
    for (id, order) in timeline.orders.iter().filter(|order| !order.implied).enumerate() {
        if !ran(&order.from) || !ran(&order.to) {
            continue;
        }
        // A flow belongs to the slice that holds its time, so it leads from middle to middle.
        let mut end = |ph: &str, at: usize| {
            let command = &timeline.commands[at];
            let middle = micros(command.start + (command.end - command.start) / 2);
            let mut event = json!({
                "ph": ph, "cat": "order", "name": order.reason, "id": id, "pid": lane(at),
                "tid": command.worker, "ts": middle,
            });
            if ph == "f" {
                event["bp"] = json!("e");
            }
            events.push(event);
        };
        end("s", order.from);
        end("f", order.to);
    }
    json!({"displayTimeUnit": "ns", "traceEvents": events}).to_string()
}
