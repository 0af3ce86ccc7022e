//! A user's own script that a migration runs in its guest.

use std::time::Duration;

/// A script, whole, with the name it has in reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserScript {
    /// Its file's name, such as `10-register.sh`.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Longest time that it may take.
    pub timeout: Duration,
}

impl UserScript {
    /// Whether a name can be a script's: it becomes a file's name in the guest.
    pub fn is_name(name: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        (1..=100).contains(&name.len()) && !name.starts_with(['.', '-']) && name.bytes().all(plain)
    }

    /// Whether Windows runs it; a script for the other system is left out.
    pub fn is_for_windows(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        [".ps1", ".cmd", ".bat"].iter().any(|end| name.ends_with(end))
    }
}

/// The number that keeps scripts in order, and the script's name.
pub(super) fn numbered(index: usize, script: &UserScript) -> String {
    format!("{:02}-{}", index + 1, script.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_files_and_say_who_runs_them() {
        for name in ["fix.sh", "10-x_y", "a"] {
            assert!(UserScript::is_name(name), "{name}");
        }
        for name in ["", ".profile", "-rf", "a b", "a/b", "\u{e9}", "a'b"] {
            assert!(!UserScript::is_name(name), "{name}");
        }
        let script = |name: &str| UserScript { name: name.into(), text: String::new(), timeout: Duration::ZERO };
        assert!(script("A.PS1").is_for_windows() && script("b.cmd").is_for_windows());
        assert!(!script("b.sh").is_for_windows() && !script("cmd").is_for_windows());
    }
}
