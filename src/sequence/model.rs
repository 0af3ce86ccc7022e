//! The typed form of a task sequence.

use std::time::Duration;

/// A task sequence: groups and steps in the order in which they run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its name, such as `web01_deploy-vm`.
    pub id: String,
    /// What it is for, in a sentence; may be empty.
    pub description: String,
    /// What it does.
    pub nodes: Vec<Node>,
}

/// A group or a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Nodes that belong together and share conditions.
    Group(Group),
    /// One command.
    Step(Step),
}

/// Nodes that belong together. Skipped as a whole when a condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Unique among all groups and steps of the sequence.
    pub id: String,
    /// What it is for; may be empty.
    pub description: String,
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// What it does.
    pub nodes: Vec<Node>,
}

/// One command with its parameters and what happens when it fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Unique among all groups and steps of the sequence.
    pub id: String,
    /// What it does, for people; may be empty.
    pub description: String,
    /// The registered command, such as `guest.convert`.
    pub command: String,
    /// In order; a name that stands several times is a list.
    pub parameters: Vec<Parameter>,
    /// Longest time of one attempt.
    pub timeout: Option<Duration>,
    /// Attempts after the first.
    pub retries: u32,
    /// Whether the sequence goes on when the last attempt has failed.
    pub continue_on_error: bool,
    /// Codes of the command that mean success.
    pub success_codes: Vec<i32>,
    /// All of them must hold, or the step is skipped.
    pub conditions: Vec<Condition>,
    /// Whether the machine restarts after the step; the sequence goes on behind it.
    pub reboot: bool,
}

/// A named value for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value; any text.
    pub value: String,
}

/// A question about a fact: one that the machine was booted with or that an earlier step has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The fact's name, such as `guest.kind`.
    pub fact: String,
    /// What is asked.
    pub test: Test,
}

/// What is asked of a fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// It is known and has this value.
    Equals(String),
    /// It is unknown or has another value.
    Differs(String),
    /// It is known (`true`) or unknown (`false`).
    Known(bool),
}

impl Condition {
    /// Whether it holds for a fact of that value.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match &self.test {
            Test::Equals(wanted) => value == Some(wanted),
            Test::Differs(unwanted) => value != Some(unwanted),
            Test::Known(wanted) => value.is_some() == *wanted,
        }
    }
}

impl Sequence {
    /// Every step, in order, whatever group it is in.
    pub fn steps(&self) -> Vec<&Step> {
        let mut steps = Vec::new();
        let mut open: Vec<std::slice::Iter<'_, Node>> = vec![self.nodes.iter()];
        while let Some(nodes) = open.last_mut() {
            match nodes.next() {
                Some(Node::Step(step)) => steps.push(step),
                Some(Node::Group(group)) => open.push(group.nodes.iter()),
                None => {
                    open.pop();
                }
            }
        }
        steps
    }
}

impl Step {
    /// A step with the defaults of the schema: one attempt, code 0 is success, a failure ends the sequence.
    pub fn new(id: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            description: String::new(),
            command: command.into(),
            parameters: Vec::new(),
            timeout: None,
            retries: 0,
            continue_on_error: false,
            success_codes: vec![0],
            conditions: Vec::new(),
            reboot: false,
        }
    }

    /// The first parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    /// Every parameter of that name, in order.
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.parameters.iter().filter(|p| p.name == name).map(|p| p.value.as_str()).collect()
    }
}
