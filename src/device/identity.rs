//! One line that changes when a disk's content or layout may have changed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// `file size=N mtime=NANOSECONDS inode=N` or `block serial=S size=N`.
pub fn identity(path: &Path) -> io::Result<String> {
    let meta = std::fs::metadata(path)?;
    let size = match meta.file_type().is_block_device() {
        true => super::size(&super::open_read_only(path)?)?,
        false => meta.len(),
    };
    Ok(identity_line(&meta, size))
}

/// The same line for a disk that was looked at already: a block device's own metadata does not say its `size`.
pub fn identity_line(meta: &Metadata, size: u64) -> String {
    if meta.file_type().is_block_device() {
        return format!("block serial={} size={size}", serial(meta.rdev()));
    }
    let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
    format!("file size={} mtime={mtime} inode={}", meta.len(), meta.ino())
}

/// The serial number that the kernel knows, or the device's numbers if it knows none.
fn serial(device: u64) -> String {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let folder = format!("/sys/dev/block/{major}:{minor}");
    // A partition has its disk's folder above its own.
    let places = [
        "device/serial",
        "serial",
        "device/wwid",
        "wwid",
        "dm/uuid",
        "loop/backing_file",
        "../device/serial",
        "../serial",
    ];
    places
        .iter()
        .filter_map(|place| std::fs::read_to_string(format!("{folder}/{place}")).ok())
        .map(|text| text.trim().replace(char::is_whitespace, "_"))
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| format!("{major}:{minor}"))
}
