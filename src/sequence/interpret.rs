//! Runs a sequence against a registry of commands and reports the begin and the end of every attempt.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::model::{Condition, Node, Sequence, Step};

/// What is known of the machine: facts it was booted with and those that steps have found.
pub type Facts = BTreeMap<String, String>;

/// What a command is asked to do.
pub struct StepCall<'a> {
    /// The step, with its parameters.
    pub step: &'a Step,
    /// What is known so far.
    pub facts: &'a Facts,
    /// When the attempt must have ended. A command that waits stops waiting then; the interpreter counts an attempt
    /// that ends later as failed.
    pub deadline: Option<Instant>,
}

/// What a command has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepOutput {
    /// The command's own code; the step says which codes are success.
    pub code: i32,
    /// Facts it found; later steps can ask for them.
    pub facts: Facts,
}

/// Why a command could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CommandError {
    /// What happened, with the values.
    pub message: String,
    /// Whether another attempt can help.
    pub retry: bool,
}

/// A command that steps can name.
pub trait Command {
    /// Does it.
    fn run(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError>;
}

impl<F: Fn(&StepCall<'_>) -> Result<StepOutput, CommandError>> Command for F {
    fn run(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        self(call)
    }
}

/// The commands of one machine, by name.
#[derive(Default)]
pub struct Registry<'a> {
    commands: BTreeMap<String, Box<dyn Command + 'a>>,
}

impl<'a> Registry<'a> {
    /// Adds a command; a later one of the same name replaces the earlier.
    pub fn register(&mut self, name: impl Into<String>, command: impl Command + 'a) {
        self.commands.insert(name.into(), Box::new(command));
    }

    /// Every command that the sequence names and nobody registered; empty if all are known.
    pub fn unknown_commands(&self, sequence: &Sequence) -> Vec<String> {
        let mut unknown: Vec<String> = sequence.steps().into_iter().map(|step| step.command.clone()).collect();
        unknown.retain(|name| !self.commands.contains_key(name));
        unknown.sort();
        unknown.dedup();
        unknown
    }
}

/// One attempt at one step, or the reason why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// A condition does not hold.
    Skipped {
        /// The fact that was asked for.
        fact: String,
    },
    /// It succeeded.
    Succeeded(StepOutput),
    /// It failed.
    Failed {
        /// What happened.
        message: String,
        /// Whether another attempt follows.
        retry: bool,
        /// Whether the sequence goes on all the same.
        tolerated: bool,
    },
}

/// Who is told of every step while the sequence runs.
pub trait Observer {
    /// An attempt begins; the first has number 1.
    fn begin(&mut self, step: &Step, attempt: u32);
    /// An attempt has ended, or the step is skipped (attempt 0, without a begin).
    fn end(&mut self, step: &Step, attempt: u32, outcome: &Attempt);
}

/// How a sequence has ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every step is done.
    Done {
        /// Steps that failed and were tolerated.
        tolerated: Vec<String>,
    },
    /// The machine must restart; go on behind this step afterwards.
    Reboot {
        /// The step that asked for it.
        after: String,
    },
}

/// Why a sequence has ended before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceFailure {
    /// Nothing was run: commands are missing.
    #[error("sequence `{sequence}` needs commands that this agent does not have: {}", commands.join(", "))]
    UnknownCommands {
        /// The sequence.
        sequence: String,
        /// Their names.
        commands: Vec<String>,
    },
    /// Nothing was run: there is no such step to go on behind.
    #[error("sequence `{sequence}` has no step `{step}` to go on behind")]
    UnknownStep {
        /// The sequence.
        sequence: String,
        /// The step that was asked for.
        step: String,
    },
    /// A step failed for good.
    #[error("step `{step}` ({command}) failed after {attempts} attempt(s): {message}")]
    Step {
        /// Its id.
        step: String,
        /// Its command.
        command: String,
        /// How often it was tried.
        attempts: u32,
        /// What the last attempt said.
        message: String,
    },
}

/// Runs every step of `sequence` in order; `behind` names the step that a restart interrupted, if there was one.
/// Facts that steps find are added to `facts`.
pub fn interpret(
    sequence: &Sequence,
    registry: &Registry<'_>,
    facts: &mut Facts,
    observer: &mut dyn Observer,
    behind: Option<&str>,
) -> Result<Ending, SequenceFailure> {
    let commands = registry.unknown_commands(sequence);
    if !commands.is_empty() {
        return Err(SequenceFailure::UnknownCommands { sequence: sequence.id.clone(), commands });
    }
    if let Some(step) = behind
        && !sequence.steps().iter().any(|s| s.id == step)
    {
        return Err(SequenceFailure::UnknownStep { sequence: sequence.id.clone(), step: step.to_owned() });
    }
    let mut waiting_for = behind;
    let mut tolerated = Vec::new();
    // One entry a nesting level: what is left of it, and the first fact that keeps the level from running.
    let mut open: Vec<(std::slice::Iter<'_, Node>, Option<String>)> = vec![(sequence.nodes.iter(), None)];
    while let Some((nodes, blocked_by)) = open.last_mut() {
        match nodes.next() {
            None => {
                open.pop();
            }
            Some(Node::Group(group)) => {
                let blocked = blocked_by.clone().or_else(|| first_unmet(&group.conditions, facts));
                open.push((group.nodes.iter(), blocked));
            }
            Some(Node::Step(step)) if waiting_for.is_some() => {
                if waiting_for == Some(step.id.as_str()) {
                    waiting_for = None;
                }
            }
            Some(Node::Step(step)) => {
                if let Some(fact) = blocked_by.clone().or_else(|| first_unmet(&step.conditions, facts)) {
                    observer.end(step, 0, &Attempt::Skipped { fact });
                    continue;
                }
                if !run_step(step, registry, facts, observer)? {
                    tolerated.push(step.id.clone());
                }
                if step.reboot {
                    return Ok(Ending::Reboot { after: step.id.clone() });
                }
            }
        }
    }
    Ok(Ending::Done { tolerated })
}

fn first_unmet(conditions: &[Condition], facts: &Facts) -> Option<String> {
    let unmet = conditions.iter().find(|c| !c.holds(facts.get(&c.fact).map(String::as_str)));
    unmet.map(|c| c.fact.clone())
}

/// Whether the step succeeded; a failure that the step tolerates is `false`.
fn run_step(
    step: &Step,
    registry: &Registry<'_>,
    facts: &mut Facts,
    observer: &mut dyn Observer,
) -> Result<bool, SequenceFailure> {
    let command = &registry.commands[&step.command];
    let mut attempt = 0;
    loop {
        attempt += 1;
        observer.begin(step, attempt);
        let begun = Instant::now();
        let deadline = step.timeout.map(|timeout| begun + timeout);
        let result = command.run(&StepCall { step, facts, deadline });
        let error = match result {
            Ok(_) if step.timeout.is_some_and(|limit| begun.elapsed() > limit) => {
                CommandError { message: overrun(step.timeout), retry: true }
            }
            Ok(output) if step.success_codes.contains(&output.code) => {
                facts.extend(output.facts.clone());
                observer.end(step, attempt, &Attempt::Succeeded(output));
                return Ok(true);
            }
            Ok(output) => CommandError { message: format!("ended with code {}", output.code), retry: true },
            Err(error) => error,
        };
        let retry = error.retry && attempt <= step.retries;
        let tolerated = !retry && step.continue_on_error;
        observer.end(step, attempt, &Attempt::Failed { message: error.message.clone(), retry, tolerated });
        if tolerated {
            return Ok(false);
        }
        if !retry {
            return Err(SequenceFailure::Step {
                step: step.id.clone(),
                command: step.command.clone(),
                attempts: attempt,
                message: error.message,
            });
        }
    }
}

fn overrun(limit: Option<Duration>) -> String {
    format!("took longer than {}", crate::units::human_duration(limit.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::model::{Group, Parameter, Test};
    use super::*;

    #[derive(Default)]
    struct Log(Vec<String>);

    impl Observer for Log {
        fn begin(&mut self, step: &Step, attempt: u32) {
            self.0.push(format!("{} {attempt}", step.id));
        }
        fn end(&mut self, step: &Step, attempt: u32, outcome: &Attempt) {
            self.0.push(match outcome {
                Attempt::Skipped { fact } => format!("{} skipped by {fact}", step.id),
                Attempt::Succeeded(output) => format!("{} {attempt} ok {}", step.id, output.code),
                Attempt::Failed { message, retry, tolerated } => {
                    format!("{} {attempt} failed: {message} retry={retry} tolerated={tolerated}", step.id)
                }
            });
        }
    }

    fn sequence(nodes: Vec<Node>) -> Sequence {
        Sequence { id: "s".into(), description: String::new(), nodes }
    }

    fn found(name: &str, value: &str) -> StepOutput {
        StepOutput { code: 0, facts: Facts::from([(name.to_owned(), value.to_owned())]) }
    }

    #[test]
    fn a_fact_that_a_step_finds_decides_over_later_groups() {
        let detect = Step::new("detect", "detect");
        let mut linux = Step::new("linux", "echo");
        linux.parameters.push(Parameter { name: "text".into(), value: "hello".into() });
        let group = |id: &str, kind: &str, step: Step| {
            let condition = Condition { fact: "kind".into(), test: Test::Equals(kind.into()) };
            let nodes = vec![Node::Step(step)];
            Node::Group(Group { id: id.into(), description: String::new(), conditions: vec![condition], nodes })
        };
        let sequence = sequence(vec![
            Node::Step(detect),
            group("l", "linux", linux),
            group("w", "windows", Step::new("win", "echo")),
        ]);
        let mut registry = Registry::default();
        registry.register("detect", |_: &StepCall<'_>| Ok(found("kind", "linux")));
        registry.register("echo", |call: &StepCall<'_>| {
            Ok(found("said", call.step.parameter("text").unwrap_or("nothing")))
        });
        let (mut facts, mut log) = (Facts::new(), Log::default());
        let ending = interpret(&sequence, &registry, &mut facts, &mut log, None).unwrap();
        assert_eq!(ending, Ending::Done { tolerated: vec![] });
        assert_eq!(facts["said"], "hello");
        assert_eq!(log.0, ["detect 1", "detect 1 ok 0", "linux 1", "linux 1 ok 0", "win skipped by kind"]);
    }

    #[test]
    fn failures_are_retried_tolerated_or_end_the_sequence() {
        let calls = Cell::new(0);
        let mut registry = Registry::default();
        registry.register("flaky", |_: &StepCall<'_>| {
            calls.set(calls.get() + 1);
            match calls.get() {
                1 => Err(CommandError { message: "busy".into(), retry: true }),
                _ => Ok(StepOutput { code: 10, ..StepOutput::default() }),
            }
        });
        registry.register("broken", |_: &StepCall<'_>| Err(CommandError { message: "no disk".into(), retry: false }));
        let flaky = Step { retries: 2, success_codes: vec![0, 10], ..Step::new("a", "flaky") };
        let tolerated = Step { continue_on_error: true, retries: 3, ..Step::new("b", "broken") };
        let last = Step::new("c", "broken");
        let mut log = Log::default();
        let nodes = vec![Node::Step(flaky), Node::Step(tolerated), Node::Step(last)];
        let failure = interpret(&sequence(nodes), &registry, &mut Facts::new(), &mut log, None).unwrap_err();
        assert_eq!(failure.to_string(), "step `c` (broken) failed after 1 attempt(s): no disk");
        assert_eq!(
            log.0,
            [
                "a 1",
                "a 1 failed: busy retry=true tolerated=false",
                "a 2",
                "a 2 ok 10",
                "b 1",
                "b 1 failed: no disk retry=false tolerated=true",
                "c 1",
                "c 1 failed: no disk retry=false tolerated=false"
            ]
        );
    }

    #[test]
    fn a_restart_goes_on_behind_the_step_that_asked_for_it() {
        let mut registry = Registry::default();
        registry.register("noop", |_: &StepCall<'_>| Ok(StepOutput::default()));
        let nodes = vec![
            Node::Step(Step { reboot: true, ..Step::new("first", "noop") }),
            Node::Step(Step::new("second", "noop")),
        ];
        let sequence = sequence(nodes);
        let (mut facts, mut log) = (Facts::new(), Log::default());
        let ending = interpret(&sequence, &registry, &mut facts, &mut log, None).unwrap();
        assert_eq!(ending, Ending::Reboot { after: "first".into() });
        interpret(&sequence, &registry, &mut facts, &mut log, Some("first")).unwrap();
        assert_eq!(log.0, ["first 1", "first 1 ok 0", "second 1", "second 1 ok 0"]);
        let lost = interpret(&sequence, &registry, &mut facts, &mut log, Some("third")).unwrap_err();
        assert_eq!(lost.to_string(), "sequence `s` has no step `third` to go on behind");
    }

    #[test]
    fn nothing_runs_when_a_command_is_unknown() {
        let sequence = sequence(vec![Node::Step(Step::new("a", "warp.drive"))]);
        let mut log = Log::default();
        let failure = interpret(&sequence, &Registry::default(), &mut Facts::new(), &mut log, None).unwrap_err();
        assert!(failure.to_string().contains("warp.drive"));
        assert!(log.0.is_empty());
    }
}
