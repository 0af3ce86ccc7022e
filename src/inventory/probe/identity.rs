//! One line that changes when a disk's content or layout may have changed.

use std::fs::{Metadata, read_to_string};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

/// `file size=N mtime=NANOSECONDS inode=N` or `block serial=S size=N`.
pub(super) fn identity(metadata: &Metadata, size: u64) -> String {
    if metadata.file_type().is_block_device() {
        return format!("block serial={} size={size}", serial(metadata.rdev()));
    }
    let mtime = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    format!("file size={} mtime={mtime} inode={}", metadata.len(), metadata.ino())
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
        .filter_map(|place| read_to_string(format!("{folder}/{place}")).ok())
        .map(|text| text.trim().replace(char::is_whitespace, "_"))
        .find(|text| !text.is_empty())
        .unwrap_or_else(|| format!("{major}:{minor}"))
}
