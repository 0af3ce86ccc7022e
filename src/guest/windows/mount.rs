//! Mounting an NTFS volume for writing, with ntfs-3g; let go of only when its process has ended, for only then is
//! everything on the disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::mount::{UnmountFlags, unmount};

/// Longest wait for the mount.
const TO_MOUNT: Duration = Duration::from_secs(60);

/// Why an NTFS volume cannot be mounted for writing.
#[derive(Debug, thiserror::Error)]
pub enum NtfsMountError {
    /// The tool is missing.
    #[error("`ntfs-3g` cannot be run: install the Debian package ntfs-3g, or build the agent again")]
    NoTool(#[source] io::Error),
    /// It refused.
    #[error("ntfs-3g could not mount {device}: {message}")]
    Refused {
        /// The volume.
        device: PathBuf,
        /// What it said.
        message: String,
    },
    /// It mounts for reading only, as it does when the file system is not in order.
    #[error(
        "{device} can only be read: its NTFS is not in order. Start the source, run `chkdsk C: /f`, shut it down with `shutdown /s /t 0`, and capture it again"
    )]
    ReadOnly {
        /// The volume.
        device: PathBuf,
    },
    /// The mount point cannot be made, or let go of.
    #[error("{at} cannot be used as a mount point")]
    Point {
        /// The folder.
        at: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It ended with an error: changes may not be on the disk.
    #[error("ntfs-3g ended with an error when {device} was let go of; what was written may not be on the disk")]
    NotFlushed {
        /// The volume.
        device: PathBuf,
    },
}

/// A mounted volume.
#[derive(Debug)]
pub struct NtfsMount {
    device: PathBuf,
    at: PathBuf,
    process: Option<Child>,
}

impl NtfsMount {
    /// Mounts `device` (or a file that holds a volume) on `at`.
    pub fn writable(device: &Path, at: &Path) -> Result<Self, NtfsMountError> {
        let point = |error| NtfsMountError::Point { at: at.to_owned(), error };
        fs::create_dir_all(at).map_err(point)?;
        let before = fs::metadata(at).map_err(point)?.dev();
        let process = Command::new("ntfs-3g")
            .args(["-o", "rw,no_detach,nosuid,nodev,noexec"])
            .arg(device)
            .arg(at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .env("LC_ALL", "C")
            .spawn()
            .map_err(NtfsMountError::NoTool)?;
        let mut mount = Self { device: device.to_owned(), at: at.to_owned(), process: Some(process) };
        let begun = Instant::now();
        loop {
            if fs::metadata(at).is_ok_and(|now| now.dev() != before) {
                break;
            }
            let process = mount.process.as_mut().expect("it was just started");
            let ended = process.try_wait().map_err(point)?.is_some();
            if ended || begun.elapsed() > TO_MOUNT {
                let _ = process.kill();
                let output = mount.process.take().map(Child::wait_with_output);
                let message = output.and_then(Result::ok).map(|output| output.stderr).unwrap_or_default();
                let message = String::from_utf8_lossy(&message).trim().replace('\n', " ");
                return Err(NtfsMountError::Refused { device: device.to_owned(), message });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let flags = statvfs(at).map_err(|error| point(error.into()))?.f_flag;
        if flags.contains(StatVfsMountFlags::RDONLY) {
            return Err(NtfsMountError::ReadOnly { device: device.to_owned() });
        }
        Ok(mount)
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Lets go of it: everything is on the disk then.
    pub fn release(mut self) -> Result<(), NtfsMountError> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let point = |error| NtfsMountError::Point { at: self.at.clone(), error };
        unmount(&self.at, UnmountFlags::empty()).map_err(|error| point(error.into()))?;
        match process.wait().map_err(point)?.success() {
            true => Ok(()),
            false => Err(NtfsMountError::NotFlushed { device: self.device.clone() }),
        }
    }
}

impl Drop for NtfsMount {
    fn drop(&mut self) {
        // On the way out of another failure.
        if let Some(mut process) = self.process.take() {
            if unmount(&self.at, UnmountFlags::empty()).is_err() {
                let _ = process.kill();
            }
            let _ = process.wait();
        }
    }
}
