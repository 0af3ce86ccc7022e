//! A medium that does not give some bytes: real read errors, from QEMU's fault injection behind a FUSE mount.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::site::*;

/// Two bad sectors, in different pages.
const BAD: [u64; 2] = [4099, 9000];

/// A disk that fails at [`BAD`].
struct BadDisk {
    point: PathBuf,
    daemon: Child,
}

impl BadDisk {
    fn new(site: &Site) -> Self {
        let (source, point) = (site.path("good"), site.path("bad"));
        std::fs::write(&point, b"").unwrap();
        let before = device(&point);
        let errors: Vec<serde_json::Value> = BAD
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
        let disk = Self { point, daemon };
        for _ in 0..3000 {
            if device(&disk.point) != before {
                return disk;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the disk was not served");
    }
}

fn device(path: &std::path::Path) -> u64 {
    std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(path).unwrap())
}

impl Drop for BadDisk {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.daemon),
            rustix::process::Signal::TERM,
        );
        let _ = self.daemon.wait();
    }
}

#[test]
fn bad_sectors_fail_the_capture_or_become_zeros_that_are_named() {
    let site = Site::new();
    let size = 8 * MIB;
    std::fs::write(site.path("good"), noise(7, size)).unwrap();
    let bad = BadDisk::new(&site);
    let point = bad.point.to_str().unwrap();
    let words = ["image", "capture", "--machine", "web01", "--disk", "disk0", "--source", point, "--format", "raw"];

    let failed = site.run(&words);
    assert_eq!(exit(&failed), 1, "{}", stderr(&failed));
    let message = format!("bytes 2097152 to 2101248 of {point} cannot be read: the medium is bad there");
    assert!(stderr(&failed).contains(&message), "{}", stderr(&failed));
    assert!(stderr(&failed).contains("zero-and-report"), "{}", stderr(&failed));

    let reported = site.run(&[&words[..], &["--on-read-error", "zero-and-report"]].concat());
    assert_eq!(exit(&reported), 0, "{}", stderr(&reported));
    for offset in [2_097_152, 4_608_000 / 4096 * 4096] {
        let warning =
            format!("warning: web01/disk0: 4 KiB at byte {offset} could not be read and are zeros in the image");
        assert!(stderr(&reported).contains(&warning), "{}", stderr(&reported));
    }
    let manifest = site.store().newest(&disk("web01")).unwrap();
    assert_eq!(manifest.reading.unreadable, [2_097_152..2_101_248, 4_608_000..4_612_096]);

    // What could be read is there, what could not is zeros.
    let restored = site.restored(&disk("web01"), size).unwrap();
    let mut wanted = noise(7, size);
    manifest.reading.unreadable.iter().for_each(|range| wanted[range.start as usize..range.end as usize].fill(0));
    let mut found = vec![0; size as usize];
    std::fs::File::open(restored).unwrap().read_exact_at(&mut found, 0).unwrap();
    assert!(found == wanted);

    // An image with holes in it does not satisfy who wants every byte.
    let identity = replant::device::identity(&bad.point).unwrap();
    let check = ["image", "check", "--machine", "web01", "--disk", "disk0", "--identity", &identity];
    assert_eq!(exit(&site.run(&check)), 10);
    assert_eq!(exit(&site.run(&[&check[..], &["--on-read-error", "zero-and-report"]].concat())), 0);
}
