//! SELinux labels: a file that is replaced keeps its label, a new one gets its folder's, so that no relabelling of the
//! whole system is needed at the first boot.

use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
use rustix::io::Errno;

const LABEL: &str = "security.selinux";
/// What else a replaced file keeps.
const KEPT: [&str; 4] = [LABEL, "security.capability", "system.posix_acl_access", "user.comment"];

/// Copies the label of `from` to `to`, and with `all` its other attributes. A file system without labels has none to copy.
pub fn copy(from: &Path, to: &Path, all: bool) -> io::Result<()> {
    for name in KEPT.into_iter().take(if all { KEPT.len() } else { 1 }) {
        let mut value = vec![0; 4096];
        let len = match lgetxattr(from, name, &mut value[..]) {
            Ok(len) => len,
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOENT | Errno::PERM) => continue,
            Err(error) => return Err(error.into()),
        };
        match lsetxattr(to, name, &value[..len], XattrFlags::empty()) {
            // The kernel allows no user attributes on links, and an old file system may have no labels.
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether the file has a label.
pub fn is_labelled(path: &Path) -> bool {
    lgetxattr(path, LABEL, &mut [0; 4096][..]).is_ok_and(|len| len > 0)
}
