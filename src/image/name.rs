//! Which disk of which machine an image is of, and how names become path components.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{ImageError, Result};

/// A machine's disk: `web01/disk0`. Names may hold any character; on disk they are escaped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskName {
    machine: String,
    disk: String,
}

/// Longest escaped name; file systems take 255 bytes and we append suffixes.
const LONGEST: usize = 200;

impl DiskName {
    /// Refuses names that are empty or too long for a path component.
    pub fn new(machine: &str, disk: &str) -> Result<Self> {
        for name in [machine, disk] {
            if name.is_empty() || escape(name).len() > LONGEST {
                return Err(ImageError::BadName { name: name.to_owned() });
            }
        }
        Ok(Self { machine: machine.to_owned(), disk: disk.to_owned() })
    }

    /// The machine's name as people write it.
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// The disk's name as people write it.
    pub fn disk(&self) -> &str {
        &self.disk
    }

    /// `MACHINE/DISK` with both names escaped.
    pub(super) fn relative_path(&self) -> String {
        format!("{}/{}", escape(&self.machine), escape(&self.disk))
    }
}

impl fmt::Display for DiskName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.machine, self.disk)
    }
}

/// Keeps `[A-Za-z0-9._-]` (but no leading `.`), writes every other byte as `%XX`.
pub(super) fn escape(name: &str) -> String {
    name.bytes()
        .enumerate()
        .map(|(at, byte)| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => (byte as char).to_string(),
            b'.' if at > 0 => ".".to_owned(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// Reads what [`escape`] wrote; `None` for anything that it never writes.
pub(super) fn unescape(component: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(component.len());
    let mut rest = component.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let code = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    (escape(&name) == component).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_names_stay_inside_their_folder() {
        assert_eq!(escape("../../etc"), "%2E.%2F..%2Fetc");
        assert_eq!(escape("."), "%2E");
        assert_eq!(escape("a b\n"), "a%20b%0A");
        assert!(DiskName::new("", "disk0").is_err());
        assert!(DiskName::new("web01", &"x".repeat(201)).is_err());
    }

    proptest! {
        #[test]
        fn every_name_reads_back(name in "\\PC{1,40}") {
            let escaped = escape(&name);
            prop_assert!(!escaped.contains('/') && !escaped.starts_with('.'));
            prop_assert_eq!(unescape(&escaped), Some(name));
        }
    }
}
