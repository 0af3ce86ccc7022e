//! A user's own script, run in a restored Linux that is off: inside its tree, with its own programs, before anything of it
//! has started.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitStatus;
use std::time::Duration;

use crate::guest::{Edit, Guest, MountError, TreeError, UserScript};
use crate::sequence::Step;
use crate::units::parse_duration;

use super::chroot::{Chroot, ChrootError, LINES, Program};

/// Where the script lies in the guest's tree while it runs: in memory.
const PLACE: &str = "replant-run";

/// Why a script has not done its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The guest cannot be made ready.
    #[error("the restored system cannot be made ready for the script {name}")]
    Prepare {
        /// The script.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A path of the guest leads nowhere.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Its file systems do not let programs run, or cannot be let go of.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// It cannot be started.
    #[error("the script {name} cannot be started in the restored system: is the program of its first line there?")]
    Start {
        /// The script.
        name: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It took too long.
    #[error("the script {name} did not end within {timeout:?} and was killed; it said last:\n{tail}")]
    Slow {
        /// The script.
        name: String,
        /// Its time.
        timeout: Duration,
        /// What it said last.
        tail: String,
    },
    /// It failed.
    #[error("the script {name} failed ({status}); it said last:\n{tail}")]
    Failed {
        /// The script.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        tail: String,
    },
}

impl RunError {
    fn of(script: &UserScript, error: ChrootError) -> Self {
        let name = script.name.clone();
        match error {
            ChrootError::Prepare(error) => Self::Prepare { name, error },
            ChrootError::Tree(error) => Self::Tree(error),
            ChrootError::Start(error) => Self::Start { name, error },
            ChrootError::Slow { timeout, tail } => Self::Slow { name, timeout, tail },
            ChrootError::Failed { status, tail } => Self::Failed { name, status, tail },
        }
    }
}

/// The script of a step: `name`, `timeout`, and each `line` of it.
pub(super) fn script(step: &Step) -> Result<UserScript, String> {
    let name = step.parameter("name").unwrap_or_default();
    if !UserScript::is_name(name) {
        return Err(format!("`{name}` is no name for a script"));
    }
    let timeout = match step.parameter("timeout") {
        Some(text) => parse_duration(text).map_err(|error| format!("`timeout`: {error}"))?,
        None => Duration::from_secs(600),
    };
    let text: String = step.list("line").into_iter().flat_map(|line| [line, "\n"]).collect();
    match text.is_empty() {
        true => Err(format!("the script {name} is empty")),
        false => Ok(UserScript { name: name.to_owned(), text, timeout }),
    }
}

/// Runs it. `told` hears of every line that it says. What it has left running is killed.
pub(super) fn run_offline(guest: &Guest, script: &UserScript, told: &dyn Fn(&str)) -> Result<Edit, RunError> {
    guest.mounted.allow_programs(true)?;
    let outcome = run_prepared(guest, script, told);
    guest.mounted.allow_programs(false)?;
    let said = outcome?;
    Ok(Edit {
        id: "run".to_owned(),
        path: script.name.clone(),
        before: None,
        after: Some(format!("it ended well{}", said.iter().map(|line| format!("\n{line}")).collect::<String>())),
        why: "a script of the plan, run in the restored system".to_owned(),
    })
}

fn run_prepared(guest: &Guest, script: &UserScript, told: &dyn Fn(&str)) -> Result<Vec<String>, RunError> {
    let prepare = |error| RunError::Prepare { name: script.name.clone(), error };
    let chroot = Chroot::new(&guest.tree, &["/run"]).map_err(|error| RunError::of(script, error))?;
    let folder = guest.tree.resolve("/run")?.join(PLACE);
    fs::create_dir_all(&folder).map_err(prepare)?;
    let at = folder.join(&script.name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o700);
    // A file that is still open for writing cannot be run.
    options.open(&at).and_then(|mut file| file.write_all(script.text.as_bytes())).map_err(prepare)?;

    let words = [format!("/run/{PLACE}/{}", script.name)];
    let program = Program { words: &words, environment: &[], network: true, timeout: script.timeout, lines: LINES };
    let outcome = chroot.run(&program, told);
    chroot.release().map_err(|error| RunError::of(script, error))?;
    outcome.map_err(|error| RunError::of(script, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_holds_a_script_line_by_line() {
        let mut step = Step::new("before-1", "guest.run");
        let mut add = |name: &str, value: &str| {
            step.parameters.push(crate::sequence::Parameter { name: name.into(), value: value.into() });
        };
        add("name", "fix.sh");
        add("timeout", "90s");
        for line in ["#!/bin/sh", "", "echo '<&>'"] {
            add("line", line);
        }
        let script = script(&step).unwrap();
        assert_eq!((script.name.as_str(), script.timeout), ("fix.sh", Duration::from_secs(90)));
        assert_eq!(script.text, "#!/bin/sh\n\necho '<&>'\n");
        step.parameters[0].value = "../x".into();
        assert!(super::script(&step).unwrap_err().contains("`../x`"));
    }
}
