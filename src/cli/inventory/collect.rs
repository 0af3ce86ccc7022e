//! `replant inventory ssh` and `replant inventory script`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use camino::Utf8PathBuf;

use super::files::save;
use super::import::report;
use super::observer;
use crate::cli::{Exit, Failure, Global};
use crate::diagnostic::Diagnostics;
use crate::inventory::import::{FileKind, ImportError, ScriptKind, parse_output, script as script_of};
use crate::inventory::model::{Document, Method, Observation};

/// The arguments of `replant inventory ssh`.
#[derive(Debug, clap::Args)]
pub struct SshArgs {
    /// Machines as ssh knows them: `root@web01`; ssh's own configuration holds
    #[arg(required = true, value_name = "HOST")]
    hosts: Vec<String>,
    /// A further option of ssh, such as `-p2222`; may be given several times
    #[arg(long = "ssh-option", value_name = "OPTION", allow_hyphen_values = true)]
    options: Vec<String>,
    /// The machine's name, if it calls itself otherwise
    #[arg(long)]
    name: Option<String>,
    /// The folder of the documents; a document that is there is brought up to date
    #[arg(long, value_name = "FOLDER", default_value = "facts")]
    out: Utf8PathBuf,
}

/// The arguments of `replant inventory script`.
#[derive(Debug, clap::Args)]
pub struct ScriptArgs {
    /// The operating system of the machine
    #[arg(value_enum)]
    system: System,
}

/// An operating system.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum System {
    /// For any POSIX shell
    Linux,
    /// For PowerShell 3 or newer
    Windows,
}

/// Prints a script.
pub fn script(args: &ScriptArgs) -> Result<Exit, Failure> {
    let kind = match args.system {
        System::Linux => ScriptKind::Linux,
        System::Windows => ScriptKind::Windows,
    };
    anstream::print!("{}", script_of(kind));
    Ok(Exit::Done)
}

/// Looks at machines over ssh, one after another; those that could not be reached are all named at the end.
pub fn ssh(args: &SshArgs, global: &Global) -> Result<Exit, Failure> {
    if args.name.is_some() && args.hosts.len() > 1 {
        return Err(Failure::with(Exit::Usage, "`--name` is for one machine"));
    }
    let mut documents = Vec::new();
    let mut problems = Diagnostics::new();
    for host in &args.hosts {
        match one(host, &args.options) {
            Ok(mut document) => {
                document.name = args.name.clone().unwrap_or(document.name);
                documents.push(document);
            }
            Err(errors) => problems.extend(errors.iter().map(ImportError::diagnostic)),
        }
    }
    let written = save(&args.out, documents)?;
    if !written.is_empty() {
        report(&written, global);
    }
    if problems.has_errors() { Err(problems.into()) } else { Ok(Exit::Done) }
}

fn one(host: &str, options: &[String]) -> Result<Document, Vec<ImportError>> {
    let refuse = |message: String, help: &str| {
        vec![ImportError::new(host, crate::inventory::import::Place::File, message, help)]
    };
    if host.starts_with('-') {
        return Err(refuse(
            "a machine's name does not begin with `-`".to_owned(),
            "options of ssh go to `--ssh-option`",
        ));
    }
    let mut child = Command::new("ssh")
        .args(["-T", "-oBatchMode=yes", "-oConnectTimeout=15"])
        .args(options)
        .args(["--", host, "sh -s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| refuse(format!("ssh cannot be run: {error}"), "install Debian's `openssh-client`"))?;
    if let Some(mut input) = child.stdin.take() {
        // A machine that closes early says why on its error output.
        drop(input.write_all(script_of(ScriptKind::Linux).as_bytes()));
    }
    let output = child.wait_with_output().map_err(|error| refuse(format!("ssh failed: {error}"), "run it again"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        let why = why.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it gave no reason").trim();
        let help = format!("`ssh {host} true` must work without a question: keys and known hosts are ssh's own");
        return Err(refuse(format!("ssh ended with {}: {why}", output.status), &help));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (name, facts, when) = parse_output(host, FileKind::Linux, &text)?;
    let observation = Observation { by: observer(None).by, how: Method::Ssh, source: Some(host.to_owned()), when };
    Ok(Document::new(name, observation, facts))
}
