//! Passwords by reference.

use std::fs;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::error::PowerError;
use crate::plan::SecretRef;

/// Longest password.
const MAX: usize = 1024;

/// Reads the password that the reference names; a trailing line break is no part of it.
pub(super) fn read(reference: &SecretRef) -> Result<Zeroizing<String>, PowerError> {
    let (shown, outcome) = match reference {
        SecretRef::Env(name) => (
            format!("env: {name}"),
            std::env::var(name).map(Zeroizing::new).map_err(|_| "the variable is not set, or is no text".to_owned()),
        ),
        SecretRef::File(path) => {
            (format!("file: {path}"), fs::read_to_string(path).map(Zeroizing::new).map_err(|error| error.to_string()))
        }
        SecretRef::Command(command) => (format!("command: {command}"), printed(command)),
    };
    let wrong = |message: String| PowerError::Secret { reference: shown.clone(), message };
    let text = outcome.map_err(wrong)?;
    let text = Zeroizing::new(text.trim_end_matches(['\n', '\r']).to_owned());
    match text.len() {
        0 => Err(wrong("it is empty".to_owned())),
        1..=MAX if !text.contains(['\n', '\0']) => Ok(text),
        _ => Err(wrong("it is longer than any password, or has several lines".to_owned())),
    }
}

fn printed(command: &str) -> Result<Zeroizing<String>, String> {
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("the command ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map(Zeroizing::new).map_err(|_| "the command printed no text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_and_its_reference_is_named_when_it_is_not_there() {
        let command = |text: &str| read(&SecretRef::Command(text.to_owned()));
        assert_eq!(&**command("echo secret").unwrap(), "secret");
        for (wrong, said) in [("true", "empty"), ("exit 3", "exit status: 3"), ("printf 'a\\nb'", "several lines")] {
            let error = command(wrong).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(wrong), "{error}");
        }
        let error = read(&SecretRef::File("/no/such/file".into())).unwrap_err().to_string();
        assert!(error.contains("/no/such/file"), "{error}");
    }
}
