//! What verbs share when they speak with a person: which display fits, and a question that needs an answer.

use std::io::{self, IsTerminal};

use crate::progress::Display;

use super::{Exit, Failure, Global};

/// The display that fits where the output goes.
pub(super) fn display(global: &Global) -> Display {
    match (global.json, io::stderr().is_terminal()) {
        (true, _) => Display::Json(Box::new(io::stdout())),
        (false, true) => Display::Bars,
        (false, false) => Display::Lines(Box::new(io::stdout())),
    }
}

/// Asks whether to go on; somebody must be there to answer.
pub(super) fn confirmed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::with(Exit::Usage, "nobody can be asked here: confirm with `--yes`"));
    }
    anstream::println!("{question} Only `yes` is a yes:");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
