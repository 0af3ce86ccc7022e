//! Mounting a guest's file systems, and letting go of them again.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::FsKind;

/// Why a file system cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kind cannot be mounted here.
    #[error("{device} holds {kind:?}, which cannot be mounted here")]
    NoDriver {
        /// The device.
        device: PathBuf,
        /// What it holds.
        kind: FsKind,
    },
    /// The system refused.
    #[error("mounting {device} on {at} failed")]
    Mount {
        /// The device.
        device: PathBuf,
        /// Where.
        at: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It could not be let go of: changes may not be on the disk.
    #[error("unmounting {at} failed")]
    Unmount {
        /// Where.
        at: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Mounted file systems; unmounted in reverse order, at the latest when this is dropped.
#[derive(Debug, Default)]
pub struct Mounted {
    at: Vec<PathBuf>,
}

impl Mounted {
    /// Mounts `device` read-only on `at`, which is made if it is missing.
    pub fn read_only(
        &mut self,
        device: &Path,
        kind: FsKind,
        subvolume: Option<&str>,
        at: &Path,
    ) -> Result<(), MountError> {
        self.mount(device, kind, subvolume, at, MountFlags::RDONLY)
    }

    /// Mounts `device` for writing on `at`.
    pub fn writable(
        &mut self,
        device: &Path,
        kind: FsKind,
        subvolume: Option<&str>,
        at: &Path,
    ) -> Result<(), MountError> {
        self.mount(device, kind, subvolume, at, MountFlags::empty())
    }

    /// `subvolume` is an option of Btrfs: `subvol=@`, `subvolid=5`.
    fn mount(
        &mut self,
        device: &Path,
        kind: FsKind,
        subvolume: Option<&str>,
        at: &Path,
        flags: MountFlags,
    ) -> Result<(), MountError> {
        let Some(name) = kind.mountable() else {
            return Err(MountError::NoDriver { device: device.to_owned(), kind });
        };
        let failed = |error: io::Error| MountError::Mount { device: device.to_owned(), at: at.to_owned(), error };
        fs::create_dir_all(at).map_err(failed)?;
        let flags = flags | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let options = subvolume
            .filter(|_| kind == FsKind::Btrfs)
            .map(|option| CString::new(option).map_err(|error| failed(error.into())))
            .transpose()?;
        mount(device, at, name, flags, options.as_deref()).map_err(|error| failed(error.into()))?;
        self.at.push(at.to_owned());
        Ok(())
    }

    /// Makes a mounted file system writable.
    pub fn make_writable(&self, device: &Path, at: &Path) -> Result<(), MountError> {
        let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        mount_remount(at, flags, "").map_err(|error| MountError::Mount {
            device: device.to_owned(),
            at: at.to_owned(),
            error: error.into(),
        })
    }

    /// Lets programs on the mounted file systems run, or not any more.
    pub fn allow_programs(&self, allow: bool) -> Result<(), MountError> {
        let base = MountFlags::NODEV | MountFlags::NOSUID;
        let flags = if allow { base } else { base | MountFlags::NOEXEC };
        for at in &self.at {
            mount_remount(at, flags, "").map_err(|error| MountError::Mount {
                device: at.clone(),
                at: at.clone(),
                error: error.into(),
            })?;
        }
        Ok(())
    }

    /// Unmounts everything: only then is every change on the disk for certain.
    pub fn release(mut self) -> Result<(), MountError> {
        while let Some(at) = self.at.pop() {
            unmount(&at, UnmountFlags::empty())
                .map_err(|error| MountError::Unmount { at: at.clone(), error: error.into() })?;
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        while let Some(at) = self.at.pop() {
            // On the way out of another failure; what we could not unmount the shutdown will.
            let _ = unmount(&at, UnmountFlags::empty());
        }
    }
}
