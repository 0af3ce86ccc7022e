//! Who has a disk open: the proof that a source is off the network is that nobody runs from its disks.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Somebody who has a disk open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A process.
    Process {
        /// Its number.
        pid: u32,
        /// Its name.
        name: String,
    },
    /// A loop device over the file.
    Loop {
        /// The device.
        device: String,
    },
    /// The disk, or a part of it, is mounted.
    Mount {
        /// Where.
        at: String,
    },
    /// Another device is built on the disk: a volume, a RAID.
    Device {
        /// Its name.
        name: String,
    },
    /// A lock on the file by a process that we may not look into.
    Lock,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "process {pid} ({name})"),
            Self::Loop { device } => write!(f, "loop device {device}"),
            Self::Mount { at } => write!(f, "it is mounted on {at}"),
            Self::Device { name } => write!(f, "device {name} is built on it"),
            Self::Lock => f.write_str("a process of another user holds a lock on it"),
        }
    }
}

/// Everybody but ourselves who has the disk at `path` open. An empty list means that nobody was found; processes of
/// other users can be looked into by root only, where a lock on the file still gives a VM away.
pub fn holders(path: &Path) -> io::Result<Vec<Holder>> {
    let metadata = fs::metadata(path)?;
    let mut found = BTreeSet::new();
    processes(&metadata, &mut found)?;
    loops(&metadata, &mut found);
    if metadata.file_type().is_block_device() {
        block(metadata.rdev(), &mut found);
    }
    if found.is_empty() && locked(&metadata) {
        found.insert(Holder::Lock);
    }
    Ok(found.into_iter().collect())
}

fn same(metadata: &Metadata, other: &Metadata) -> bool {
    if metadata.file_type().is_block_device() {
        return other.file_type().is_block_device() && metadata.rdev() == other.rdev();
    }
    (metadata.dev(), metadata.ino()) == (other.dev(), other.ino())
}

fn processes(metadata: &Metadata, found: &mut BTreeSet<Holder>) -> io::Result<()> {
    let own = std::process::id();
    for entry in fs::read_dir("/proc")?.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process that has ended meanwhile, or that we may not look into.
        let Ok(open) = fs::read_dir(entry.path().join("fd")) else { continue };
        let holds = open.filter_map(|fd| fs::metadata(fd.ok()?.path()).ok()).any(|other| same(metadata, &other));
        if holds && pid != own {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim().to_owned();
            found.insert(Holder::Process { pid, name });
        }
    }
    Ok(())
}

fn loops(metadata: &Metadata, found: &mut BTreeSet<Holder>) {
    let Ok(devices) = fs::read_dir("/sys/block") else { return };
    for entry in devices.filter_map(Result::ok) {
        let Ok(backing) = fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        if fs::metadata(backing.trim_end_matches('\n')).is_ok_and(|other| same(metadata, &other)) {
            found.insert(Holder::Loop { device: format!("/dev/{}", entry.file_name().to_string_lossy()) });
        }
    }
}

/// Mounts of the disk and of its partitions, and devices built on either.
fn block(device: u64, found: &mut BTreeSet<Holder>) {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
    let mut parts = vec![(format!("{major}:{minor}"), folder.clone())];
    for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
        if let Ok(number) = fs::read_to_string(entry.path().join("dev"))
            && entry.path().join("partition").exists()
        {
            parts.push((number.trim().to_owned(), entry.path()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (number, folder) in parts {
        for line in mounts.lines() {
            let mut fields = line.split(' ');
            if fields.nth(2) == Some(&number) {
                found.insert(Holder::Mount { at: fields.nth(1).unwrap_or_default().to_owned() });
            }
        }
        for entry in fs::read_dir(folder.join("holders")).into_iter().flatten().filter_map(Result::ok) {
            found.insert(Holder::Device { name: entry.file_name().to_string_lossy().into_owned() });
        }
    }
}

/// Whether any process of any user holds a lock on the file; QEMU locks the disks of its VMs.
fn locked(metadata: &Metadata) -> bool {
    let (major, minor) = (rustix::fs::major(metadata.dev()), rustix::fs::minor(metadata.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| line.split_whitespace().any(|field| field == file))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_the_disk_open_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        fs::write(&disk, "x").unwrap();
        let own = fs::File::open(&disk).unwrap();
        let is_own = |holder: &Holder| matches!(holder, Holder::Process { pid, .. } if *pid == std::process::id());
        assert!(!holders(&disk).unwrap().iter().any(is_own), "we ourselves do not count");
        // `cat` waits for its standard input, with the disk open as its third file.
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(own.try_clone().unwrap())
            .spawn()
            .unwrap();
        let cat = Holder::Process { pid: child.id(), name: "cat".into() };
        assert!(holders(&disk).unwrap().contains(&cat));
        assert!(cat.to_string().contains(&child.id().to_string()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!holders(&disk).unwrap().contains(&cat));
    }

    #[test]
    fn a_missing_disk_is_an_error() {
        assert!(holders(Path::new("/nonexistent/disk")).is_err());
    }
}
