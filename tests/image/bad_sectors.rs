//! A medium that does not give some bytes.

use std::os::unix::fs::FileExt;

use super::site::*;
use crate::common::{BadDisk, require_root};

/// Two bad sectors, in different pages.
const BAD: [u64; 2] = [4099, 9000];

#[test]
fn bad_sectors_fail_the_capture_or_become_zeros_that_are_named() {
    require_root();
    let site = Site::new();
    let size = 8 * MIB;
    std::fs::write(site.path("good"), noise(7, size)).unwrap();
    let bad = BadDisk::new(&site.path("good"), &site.path("bad"), &BAD);
    let point = bad.device.to_str().unwrap();
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
    let identity = replant::device::identity(&bad.device).unwrap();
    let check = ["image", "check", "--machine", "web01", "--disk", "disk0", "--identity", &identity];
    assert_eq!(exit(&site.run(&check)), 10);
    assert_eq!(exit(&site.run(&[&check[..], &["--on-read-error", "zero-and-report"]].concat())), 0);
}
