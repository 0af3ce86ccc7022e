//! The graph as pictures and text. What one wave waits for is drawn as a point between the waves.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::address::Address;
use crate::plan::Wave;

use super::graph::TaskGraph;
use super::task::{Phase, Reversal, Task};

/// A graph with the waves of its plan, to be drawn.
pub struct Drawing<'a> {
    graph: &'a TaskGraph,
    number: HashMap<&'a Address, usize>,
    /// `(wave, machines before it, machines in it)`.
    points: Vec<(&'a str, Vec<&'a Task>, Vec<&'a Task>)>,
}

impl<'a> Drawing<'a> {
    /// Prepares the drawing.
    pub fn new(graph: &'a TaskGraph, waves: &'a [Wave]) -> Self {
        let number = graph.tasks().iter().zip(0..).map(|(task, number)| (&task.address, number)).collect();
        let of = |wave: &Wave, phase: &str| {
            let tasks = wave.machines.iter().filter_map(|name| graph.get(&Address::within(&name.0, phase)));
            tasks.collect::<Vec<_>>()
        };
        let points = waves
            .windows(2)
            .map(|pair| (pair[1].name.value.as_str(), of(&pair[0], "post-deploy"), of(&pair[1], "validate")));
        Self { graph, number, points: points.collect() }
    }

    /// One line a task, in execution order, with what it waits for.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut scope = "";
        for task in self.graph.tasks() {
            if task.address.scope() != scope {
                scope = task.address.scope();
                let _ = writeln!(text, "{scope}");
            }
            let _ = write!(text, "  {}", rest(&task.address));
            let before: Vec<&str> = task
                .depends_on
                .iter()
                .map(|before| if before.scope() == scope { rest(before) } else { before.as_str() })
                .collect();
            match (task.phase, before.is_empty()) {
                (Phase::Cleanup, _) => text.push_str("  only after a failure"),
                (_, true) => {}
                (_, false) => {
                    let _ = write!(text, "  after {}", before.join(", "));
                }
            }
            text.push('\n');
        }
        for (wave, before, within) in &self.points {
            let names =
                |tasks: &[&Task]| tasks.iter().map(|t| t.address.scope().to_owned()).collect::<Vec<_>>().join(", ");
            let _ = writeln!(text, "wave {wave}: {} begin when {} have ended", names(within), names(before));
        }
        text
    }

    /// For Graphviz.
    pub fn dot(&self) -> String {
        let mut text = String::from("digraph replant {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n");
        let quote = |label: &str| format!("\"{}\"", label.replace('\\', "\\\\").replace('"', "\\\""));
        for (task, number) in self.graph.tasks().iter().zip(0..) {
            let style = match (&task.phase, &task.reversal) {
                (Phase::Cleanup, _) => ", style=dashed",
                (_, Reversal::PointOfNoReturn { .. }) => ", peripheries=2",
                _ => "",
            };
            let _ = writeln!(text, "  n{number} [label={}{style}];", quote(task.address.as_str()));
        }
        self.edges(|before, after| text.push_str(&format!("  n{before} -> n{after};\n")));
        for (point, (wave, before, within)) in self.points.iter().enumerate() {
            let _ = writeln!(text, "  w{point} [label={}, shape=diamond];", quote(&format!("wave {wave}")));
            before
                .iter()
                .for_each(|t| text.push_str(&format!("  n{} -> w{point} [style=dotted];\n", self.number[&t.address])));
            within
                .iter()
                .for_each(|t| text.push_str(&format!("  w{point} -> n{} [style=dotted];\n", self.number[&t.address])));
        }
        text.push_str("}\n");
        text
    }

    /// For Mermaid, which code hosts draw in Markdown.
    pub fn mermaid(&self) -> String {
        let mut text = String::from("flowchart LR\n");
        let quote = |label: &str| format!("\"{}\"", label.replace('#', "#35;").replace('"', "#quot;"));
        for (task, number) in self.graph.tasks().iter().zip(0..) {
            let label = quote(task.address.as_str());
            let _ = match (&task.phase, &task.reversal) {
                (Phase::Cleanup, _) => writeln!(text, "  n{number}({label})"),
                (_, Reversal::PointOfNoReturn { .. }) => writeln!(text, "  n{number}[[{label}]]"),
                _ => writeln!(text, "  n{number}[{label}]"),
            };
        }
        self.edges(|before, after| text.push_str(&format!("  n{before} --> n{after}\n")));
        for (point, (wave, before, within)) in self.points.iter().enumerate() {
            let _ = writeln!(text, "  w{point}{{{}}}", quote(&format!("wave {wave}")));
            before.iter().for_each(|t| text.push_str(&format!("  n{} -.-> w{point}\n", self.number[&t.address])));
            within.iter().for_each(|t| text.push_str(&format!("  w{point} -.-> n{}\n", self.number[&t.address])));
        }
        text
    }

    /// For programs: every task as it is, and the waves.
    pub fn json(&self) -> serde_json::Value {
        let names = |tasks: &[&Task]| tasks.iter().map(|task| task.address.scope().to_owned()).collect::<Vec<_>>();
        let waves = self.points.iter().map(|(wave, before, within)| {
            serde_json::json!({ "begins": wave, "machines": names(within), "when_ended": names(before) })
        });
        serde_json::json!({ "type": "graph", "tasks": self.graph.tasks(), "waves": waves.collect::<Vec<_>>() })
    }

    fn edges(&self, mut edge: impl FnMut(usize, usize)) {
        for (task, number) in self.graph.tasks().iter().zip(0..) {
            task.depends_on.iter().for_each(|before| edge(self.number[before], number));
        }
    }
}

fn rest(address: &Address) -> &str {
    address.as_str().split_once('/').map_or(address.as_str(), |(_, rest)| rest)
}
