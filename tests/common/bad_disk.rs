//! A disk with bad sectors: real read errors, from QEMU's fault injection behind a FUSE mount.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A disk of which some sectors cannot be read: a loop device, as the served file says a new time stamp whenever it is
/// asked.
pub struct BadDisk {
    /// The device.
    pub device: PathBuf,
    daemon: Child,
}

impl BadDisk {
    /// Serves `source` at `point`; the sectors `bad` fail.
    pub fn new(source: &Path, point: &Path, bad: &[u64]) -> Self {
        std::fs::write(point, b"").expect("a file to mount on");
        let before = device(point);
        let errors: Vec<serde_json::Value> = bad
            .iter()
            .map(|sector| serde_json::json!({ "event": "none", "errno": 5, "sector": sector, "once": false, "iotype": "read" }))
            .collect();
        let file = serde_json::json!({ "driver": "file", "node-name": "file", "filename": source, "read-only": true });
        let debug = serde_json::json!({ "driver": "blkdebug", "node-name": "disk", "image": "file", "read-only": true, "inject-error": errors });
        let daemon = Command::new("qemu-storage-daemon")
            .args(["--blockdev", &file.to_string(), "--blockdev", &debug.to_string(), "--export"])
            .arg(format!("type=fuse,id=export,node-name=disk,writable=off,mountpoint={}", point.display()))
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("qemu-storage-daemon: {error}; apt install qemu-system-common"));
        let mut disk = Self { device: PathBuf::new(), daemon };
        for _ in 0..3000 {
            if device(point) != before {
                let made = Command::new("losetup").args(["-r", "-f", "--show"]).arg(point).output();
                let made = made.expect("losetup runs: apt install mount");
                assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
                disk.device = String::from_utf8_lossy(&made.stdout).trim().into();
                return disk;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the disk was not served");
    }
}

fn device(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).expect("it is there"))
}

impl Drop for BadDisk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("-d").arg(&self.device).status();
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.daemon),
            rustix::process::Signal::TERM,
        );
        let _ = self.daemon.wait();
    }
}
