//! [`SmallDisk`]: a file system that is soon full.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use super::require_root;

/// A tmpfs of a few MiB, unmounted when dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of `size` bytes at `point`, making the folder.
    #[track_caller]
    pub fn mount(point: impl AsRef<Path>, size: u64) -> Self {
        require_root();
        let point = point.as_ref();
        std::fs::create_dir_all(point).expect("the mount point can be made");
        mount("tmpfs", point, "tmpfs", MountFlags::empty(), Some(options(size).as_c_str())).expect("root may mount");
        Self(point.to_owned())
    }

    /// Gives it `size` bytes.
    pub fn resize(&self, size: u64) {
        mount_remount(&self.0, MountFlags::empty(), options(size).as_c_str()).expect("root may remount");
    }
}

fn options(size: u64) -> CString {
    CString::new(format!("size={size}")).expect("a number has no zero byte")
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}
