//! Why two commands of a file are ordered, or why they are not.

use super::Checked;
use lockgate_runtime::message::Describe;
use lockgate_sync::{
    Actor, CommandRef, Explanation, OrderFound, Place, SyncKind, SyncOp, VertexKind, explain,
};
use std::fmt::Write;

impl Checked {
    /// The path of operations that orders two commands, or why there is none. Commands are called as in
    /// expectations: `pass.command`.
    ///
    /// # Errors
    /// A name that no command has, with those there are.
    pub fn explain(&self, a: &str, b: &str) -> Result<String, String> {
        let (a, b) = (self.find(a)?, self.find(b)?);
        let told = explain(self.program(), Actor::Command(a), Actor::Command(b));
        let mut text = String::new();
        told.iter().for_each(|explanation| self.tell(explanation, &mut text));
        if text.is_empty() {
            text.push_str("a command is not compared with itself\n");
        }
        Ok(text)
    }

    fn find(&self, name: &str) -> Result<CommandRef, String> {
        self.names.find(name).ok_or_else(|| {
            let known: Vec<&str> =
                self.names.commands().take(24).map(|command| self.names.command(command)).collect();
            format!("there is no command `{name}`; there is: {}", known.join(", "))
        })
    }

    fn tell(&self, explanation: &Explanation, text: &mut String) {
        let who = |(actor, stage): (Actor, lockgate_sync::Stage)| {
            format!("{} ({})", self.actor(actor).name, stage.name())
        };
        let (earlier, later) = (who(explanation.earlier), who(explanation.later));
        // A string takes everything.
        let _ = match &explanation.path {
            Some(path) => {
                let _ = writeln!(text, "{earlier} comes before {later}:");
                for hop in path {
                    let _ = writeln!(text, "   {:<28} {}", self.vertex(hop.from), self.operation_of(&hop.by));
                }
                writeln!(text, "   {later}")
            }
            None => {
                let near = match (explanation.order, explanation.order.by()) {
                    (OrderFound::Nothing, _) | (_, None) => "nothing comes near".to_owned(),
                    (_, Some(by)) => {
                        let spot = self.operation(by);
                        format!("nearest is {} at {}", spot.name, spot.at)
                    }
                };
                writeln!(text, "nothing orders {earlier} and {later}; {near}")
            }
        };
    }

    fn vertex(&self, vertex: VertexKind) -> String {
        match vertex {
            VertexKind::Work { command, stage, .. } => {
                format!("{} ({})", self.names.command(command), stage.name())
            }
            VertexKind::Join => "all of them".into(),
            VertexKind::Signal { event, value } => format!("{} = {value}", self.names.event(event)),
            VertexKind::Complete(commit) => format!("commit {}", commit.0),
            VertexKind::Host { .. } => "the host".into(),
            VertexKind::Display { .. } => "the display".into(),
        }
    }

    fn operation_of(&self, by: &SyncOp) -> String {
        let place = by.at.and_then(|(commit, buffer, op)| {
            Some(Place::Op { step: self.program().step_of_commit(commit)?, buffer, op })
        });
        let name = match by.kind {
            SyncKind::Intrapass => "intrapass barrier".to_owned(),
            SyncKind::Producer => "producer barrier".into(),
            SyncKind::Consumer => "consumer barrier".into(),
            SyncKind::MemoryBarrier => "memory barrier".into(),
            SyncKind::Serial => "serial pass".into(),
            SyncKind::Fence(fence) => format!("fence {}", self.names.fence(fence)),
            SyncKind::Event(event, value) => format!("event {} = {value}", self.names.event(event)),
            SyncKind::QueueBarrier => "queue barrier".into(),
            SyncKind::Commit => "commit".into(),
            SyncKind::Completion => "completion".into(),
            SyncKind::Drawable => "drawable".into(),
            SyncKind::Pipeline => "stages of one command".into(),
            SyncKind::Tracking(resource) => format!("tracking of {}", self.names.resource(resource)),
        };
        match place.and_then(|place| self.line(place)) {
            Some(line) => format!("{name} (:{line})"),
            None => name,
        }
    }
}
