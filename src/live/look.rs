//! What the machine says of its disk.

use super::ssh::{SshError, SshTarget};

/// A disk of a running machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// The boot of the machine: counters begin anew with it.
    pub boot: String,
    /// What changes with every write: sectors written to a block device, times of a file.
    pub written: String,
    /// Where its file systems are mounted.
    pub mounts: Vec<String>,
    /// Whether it can be read past the page cache.
    pub direct: bool,
}

/// Looks at a disk.
pub fn look(target: &SshTarget, device: &str) -> Result<Seen, SshError> {
    let text = target.ask(&["look", device])?;
    parse(&text).ok_or_else(|| SshError::Answer { target: target.to_string(), line: text.replace('\n', " | ") })
}

fn parse(text: &str) -> Option<Seen> {
    let mut seen = Seen::default();
    for line in text.lines() {
        let (name, value) = line.split_once(' ')?;
        match name {
            "boot" => seen.boot = value.to_owned(),
            "size" => seen.size = value.parse().ok()?,
            "written" => seen.written = value.to_owned(),
            "mount" => seen.mounts.push(value.to_owned()),
            "way" => seen.direct = value == "direct",
            _ => return None,
        }
    }
    (seen.size > 0 && !seen.boot.is_empty() && !seen.written.is_empty()).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let whole = "boot b\nsize 4096\nwritten 17\nmount /data\nway direct\n";
        let seen = parse(whole).unwrap();
        assert_eq!((seen.size, seen.written.as_str(), seen.direct), (4096, "17", true));
        assert_eq!(seen.mounts, ["/data"]);
        for bad in ["", "boot b\nsize x\nwritten 1", "boot b\nwritten 1", "size 1\nwritten 1", "motd", "hello there\n"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
