//! What the console has shown.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of the log that are looked at from its end, at most.
const WINDOW: u64 = 4 << 20;

/// How a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The text was shown.
    Text,
    /// The VM is off and the text was not shown.
    Off,
    /// Time is up.
    TimedOut,
}

/// Waits until the console's log shows `text`; `is_off` tells whether anything more can come.
pub fn wait_for(log: &Path, text: &str, patience: Duration, is_off: &dyn Fn() -> bool) -> io::Result<Seen> {
    let begun = Instant::now();
    loop {
        // Asked before the log is read: what was written before the end is seen.
        let off = is_off();
        if tail(log)?.windows(text.len().max(1)).any(|window| window == text.as_bytes()) {
            return Ok(Seen::Text);
        }
        if off {
            return Ok(Seen::Off);
        }
        if begun.elapsed() >= patience {
            return Ok(Seen::TimedOut);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The last lines that the console has shown, without control sequences.
pub fn last_lines(log: &Path, count: usize) -> io::Result<Vec<String>> {
    let text = readable(&tail(log)?);
    let lines: Vec<String> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    Ok(lines[lines.len().saturating_sub(count)..].to_vec())
}

/// The end of the log; empty if there is none yet.
fn tail(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = match File::open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(WINDOW)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text without terminal control: a boot loader's cursor moves say nothing in a log.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => {
                if chars.next_if(|next| matches!(next, '[' | '(')).is_some() {
                    while chars.next_if(|c| c.is_ascii_digit() || matches!(c, ';' | '?' | '=')).is_some() {}
                }
                chars.next();
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_and_screens_are_readable() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        let wait = |text: &str, off: bool| wait_for(&log, text, Duration::ZERO, &|| off).unwrap();
        assert_eq!(wait("READY", false), Seen::TimedOut);
        std::fs::write(&log, b"\x1b[2J\x1b[1;1HGRUB\r\n\r\nbooting\r\nREADY host=x\r\n").unwrap();
        assert_eq!(wait("READY", true), Seen::Text);
        assert_eq!(wait("NEVER", true), Seen::Off);
        assert_eq!(last_lines(&log, 2).unwrap(), ["booting", "READY host=x"]);
        assert_eq!(last_lines(&log, 9).unwrap()[0], "GRUB");
    }
}
