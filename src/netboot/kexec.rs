//! The agent started from the Linux that runs on a machine: copied over ssh, loaded with kexec, started without firmware.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::command_line::CommandLine;

const SCRIPT: &str = include_str!("../../templates/netboot/kexec.sh");

/// A machine that ssh reaches.
#[derive(Clone, Debug)]
pub struct KexecTarget {
    /// `USER@HOST`, as ssh takes it.
    pub host: String,
    /// Further options of ssh, such as `-p 2222`.
    pub options: Vec<String>,
    /// The ssh program.
    pub ssh: PathBuf,
}

/// Why the agent was not started.
#[derive(Debug, thiserror::Error)]
pub enum KexecError {
    /// `ssh` cannot be run.
    #[error("`{program}` cannot be run: install the Debian package openssh-client")]
    NoSsh {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The host would be read as an option.
    #[error("`{host}` is no USER@HOST")]
    Host {
        /// The text.
        host: String,
    },
    /// A file of the agent cannot be read.
    #[error("{path} cannot be read: build the agent with `replant agent build`")]
    Agent {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// ssh does not get there.
    #[error("ssh does not reach {host}: {message}")]
    Unreachable {
        /// The machine.
        host: String,
        /// What ssh said.
        message: String,
    },
    /// The machine cannot do it; nothing has changed there.
    #[error("{host} cannot start the agent: {message}")]
    Refused {
        /// The machine.
        host: String,
        /// Why.
        message: String,
    },
}

/// What a machine answers when it is only asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KexecProbe {
    /// Its kernel.
    pub kernel: String,
    /// Whether its services are shut down in order before the agent starts (systemd), or its file systems are only
    /// written out.
    pub orderly: bool,
}

impl KexecTarget {
    /// Asks whether it could start the agent. Changes nothing.
    pub fn probe(&self) -> Result<KexecProbe, KexecError> {
        let said = self.step("probe", &[], None)?;
        let word =
            |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
        Ok(KexecProbe {
            kernel: word("kernel:").unwrap_or_default(),
            orderly: word("way:").as_deref() == Some("systemd"),
        })
    }

    /// Copies the agent, loads it and starts it. Returns when the machine has begun to leave its system.
    pub fn start(&self, agent: &Path, order: &CommandLine) -> Result<KexecProbe, KexecError> {
        let probe = self.probe()?;
        for name in ["vmlinuz", "agent.img"] {
            let path = agent.join(name);
            let bytes = std::fs::read(&path).map_err(|error| KexecError::Agent { path, error })?;
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes);
            let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            self.step("put", &[name, &hex], Some(&bytes))?;
        }
        // The order goes through standard input: no argument list of this host has its token.
        self.step("load", &[], Some(order.to_string().as_bytes()))?;
        self.step("go", &[], None)?;
        Ok(probe)
    }

    /// Runs one step of the script there.
    fn step(&self, step: &str, words: &[&str], input: Option<&[u8]>) -> Result<String, KexecError> {
        if self.host.starts_with('-') || self.host.is_empty() || self.host.contains(char::is_whitespace) {
            return Err(KexecError::Host { host: self.host.clone() });
        }
        // The script's own text is the command: nothing has to be there before, and input stays free for the data.
        let quoted = format!("'{}'", SCRIPT.replace('\'', "'\\''"));
        let mut remote = format!("exec sh -c {quoted} replant-kexec {step}");
        for word in words {
            remote.push(' ');
            remote.push_str(word);
        }
        let mut child = Command::new(&self.ssh)
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-T"])
            .args(&self.options)
            .args(["--", &self.host, &remote])
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| KexecError::NoSsh { program: self.ssh.clone(), error })?;
        if let (Some(bytes), Some(mut pipe)) = (input, child.stdin.take()) {
            // A machine that hangs up early says why on its standard error.
            let _ = pipe.write_all(bytes);
        }
        let unreachable = |message: String| KexecError::Unreachable { host: self.host.clone(), message };
        let output = child.wait_with_output().map_err(|error| unreachable(error.to_string()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned();
        // 255 is ssh's own.
        match output.status.code() {
            Some(255) => Err(unreachable(message)),
            _ => Err(KexecError::Refused { host: self.host.clone(), message }),
        }
    }
}
