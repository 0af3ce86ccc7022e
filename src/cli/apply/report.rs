//! How a run ended, for people.

use crate::execute::{Outcome, RunReport};

/// Prints what failed, what stayed and what to do next.
pub fn show(report: &RunReport) {
    for trouble in &report.failed {
        anstream::println!("failed: {}: {}", trouble.task, trouble.message);
        if let Some(log) = &trouble.log {
            anstream::println!("        log: {log}");
        }
    }
    for trouble in &report.stuck {
        anstream::println!("STUCK:  {}: {}", trouble.task, trouble.message);
        if let Some(log) = &trouble.log {
            anstream::println!("        log: {log}");
        }
    }
    for (task, why) in &report.kept {
        anstream::println!("kept:   {task}: {why}");
    }
    for (machine, why) in &report.past_commit {
        anstream::println!("left:   {machine} is past its point of no return: {why}");
    }
    for task in &report.interrupted {
        anstream::println!("interrupted: {task}");
    }
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    match report.outcome {
        Outcome::Done => {}
        Outcome::RolledBack => anstream::println!("mend the cause, then begin again: {command}"),
        Outcome::Kept | Outcome::Interrupted => anstream::println!("resume with: {command}"),
        Outcome::Incomplete => {
            anstream::println!(
                "a person is needed: remove by hand what is named above or mend its cause, then: replant rollback"
            );
        }
    }
}
