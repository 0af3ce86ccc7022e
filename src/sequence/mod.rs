//! XML task sequences: what a booted agent does, step by step, as a typed model.
//!
//! ```text
//! NAME_deploy-vm.xml --parse--> Sequence --interpret(registry of commands)--> reports, facts, an ending
//! ```
//!
//! A sequence is a tree of groups and steps. A step names a command, gives it parameters and says what happens when
//! it fails. Commands are registered by whoever runs the sequence; this module knows none of them, glues no text and
//! never touches a machine. The schema that people's editors and other tools check against is [`SCHEMA`].

mod interpret;
mod model;
mod xml;

pub use interpret::{
    Attempt, Command, CommandError, Ending, Facts, Observer, Registry, SequenceFailure, StepCall, StepOutput, interpret,
};
pub use model::{Condition, Group, Node, Parameter, Sequence, Step, Test};
pub use xml::{NAMESPACE, SCHEMA, SequenceError, parse, write};
