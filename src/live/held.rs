//! Snapshots on the machine: taken by a script that removes them as soon as its connection ends, however that happens.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Mutex};

use super::choose::{Choice, Fate};
use super::ssh::{SshError, SshTarget};
use crate::image::DiskName;

/// Snapshots that exist as long as this does.
pub(super) struct Held {
    child: Child,
    target: SshTarget,
    fill: Arc<Mutex<BTreeMap<String, f64>>>,
}

/// What marks our snapshots of a disk: LVM takes letters, digits and some signs.
pub(super) fn tag(disk: &DiskName) -> String {
    let sound = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
    format!("replant.{}.{}", disk.machine(), disk.disk()).chars().map(sound).take(120).collect()
}

/// Removes snapshots of ours that an earlier capture has left; returns their names.
pub fn drop_left(target: &SshTarget, disk: &DiskName) -> Result<Vec<String>, SshError> {
    let said = target.ask(&["drop", &tag(disk)])?;
    let names = said.lines().filter_map(|line| line.strip_prefix("removed "));
    Ok(names.map(|name| name.replace(' ', "/")).collect())
}

impl Held {
    /// Takes the snapshots that were chosen.
    pub(super) fn take(target: &SshTarget, disk: &DiskName, choice: &Choice) -> Result<Self, SshError> {
        let mut words = vec!["hold".to_owned(), tag(disk)];
        for volume in choice.snapshotted() {
            let Fate::Snapshot { room } = volume.fate else { continue };
            words.extend([volume.group.clone(), volume.name.clone(), room.to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut child = target.start(&words)?;
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut line = String::new();
        let _ = output.read_line(&mut line);
        let mut held = Self { child, target: target.clone(), fill: Arc::default() };
        if line.trim() != "held" {
            drop(held.child.stdin.take());
            return Err(held.ended());
        }
        let fill = held.fill.clone();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let mut fields = line.split('|');
                if let (Some(group), Some(name), Some(Ok(full))) =
                    (fields.next(), fields.next(), fields.next().map(str::parse))
                {
                    let name = format!("{group}/{}", name.trim_start_matches("replant_"));
                    tracing::info!(%name, full, "the snapshot's room");
                    fill.lock().expect("no thread panics while it notes a number").insert(name, full);
                }
            }
        });
        Ok(held)
    }

    /// How full each snapshot was last, in per cent.
    pub(super) fn fill(&self) -> BTreeMap<String, f64> {
        self.fill.lock().expect("no thread panics while it notes a number").clone()
    }

    /// Whether the connection that keeps them is gone.
    pub(super) fn lost(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What a connection that ended has said.
    fn ended(&mut self) -> SshError {
        let mut said = Vec::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_end(&mut said);
        }
        let code = self.child.wait().ok().and_then(|status| status.code());
        self.target.failed(&said, code)
    }

    /// Has them removed, and proves it.
    pub(super) fn release(mut self) -> Result<(), SshError> {
        drop(self.child.stdin.take());
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(self.ended()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The script there removes them when its input ends, and says so by ending itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_one_that_lvm_takes() {
        let tag = tag(&DiskName::new("wéb 01", "disk0").unwrap());
        assert!(tag.starts_with("replant.w") && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)));
    }
}
