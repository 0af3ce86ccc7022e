//! The connection: `ssh` itself, with a key from a file, a pinned host key, and never a password.

use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where a machine is reached, and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshTarget {
    /// Host name or address.
    pub host: String,
    /// The user there; one who may read the disk.
    pub user: String,
    /// The port.
    pub port: u16,
    /// The private key's file.
    pub key: PathBuf,
    /// The file with the machine's own key: nothing else is trusted.
    pub known_hosts: PathBuf,
}

/// Why nothing came from the machine.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// `ssh` cannot be run.
    #[error("`ssh` cannot be run: install the Debian package openssh-client")]
    NoSsh(#[source] io::Error),
    /// Host or user would be read as something else.
    #[error("`{0}` cannot be a host or a user: write letters, digits, `.`, `_`, `-` and `:`")]
    Name(String),
    /// There is no connection, or the script refused.
    #[error("{target}: {message}")]
    Failed {
        /// Where.
        target: String,
        /// What was said.
        message: String,
        /// Whether the script there refused, so that trying again does not help.
        refused: bool,
    },
    /// What came makes no sense.
    #[error("{target} answers what is no answer: {line}")]
    Answer {
        /// Where.
        target: String,
        /// The line.
        line: String,
    },
}

const SCRIPT: &str = include_str!("source.sh");

impl std::fmt::Display for SshTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.user, self.host, self.port)
    }
}

/// A word that the shell at the other end takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl SshTarget {
    /// Starts our script there with these words.
    pub(super) fn start(&self, words: &[&str]) -> Result<Child, SshError> {
        for name in [&self.host, &self.user] {
            let sound = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
            if name.is_empty() || name.starts_with('-') || !name.chars().all(sound) {
                return Err(SshError::Name(name.clone()));
            }
        }
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let there = format!("sh -c {} replant {}", quoted(SCRIPT), words.join(" "));
        let known = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let mut command = Command::new("ssh");
        for option in [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            known.as_str(),
            "GlobalKnownHostsFile=/dev/null",
            "IdentitiesOnly=yes",
            "PreferredAuthentications=publickey",
            "ConnectTimeout=20",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=8",
        ] {
            command.args(["-o", option]);
        }
        command
            .arg("-p")
            .arg(self.port.to_string())
            .arg("-i")
            .arg(&self.key)
            .args(["-l", &self.user, "--", &self.host]);
        command.arg(there).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(SshError::NoSsh)
    }

    /// Runs our script there to its end.
    pub(super) fn ask(&self, words: &[&str]) -> Result<String, SshError> {
        let mut child = self.start(words)?;
        drop(child.stdin.take());
        let output = child.wait_with_output().map_err(SshError::NoSsh)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(self.failed(&output.stderr, output.status.code())),
        }
    }

    pub(super) fn failed(&self, said: &[u8], code: Option<i32>) -> SshError {
        let said = String::from_utf8_lossy(said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let message = match lines.is_empty() {
            true => "the connection ended".to_owned(),
            // ssh's own banner about an unknown host key has many lines; all of them matter.
            false => lines.join(" | "),
        };
        SshError::Failed { target: self.to_string(), message, refused: code == Some(3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_no_options_and_words_stay_words() {
        let target = |host: &str, user: &str| SshTarget {
            host: host.into(),
            user: user.into(),
            port: 22,
            key: "key".into(),
            known_hosts: "known".into(),
        };
        for (host, user) in [("-oProxyCommand=x", "root"), ("", "root"), ("a b", "root"), ("web01", "$(id)")] {
            assert!(matches!(target(host, user).start(&["look"]), Err(SshError::Name(_))), "{host} {user}");
        }
        assert_eq!(quoted("a'b $(c)"), r"'a'\''b $(c)'");
    }
}
