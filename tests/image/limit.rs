//! Limits that are changed while a capture runs.

use super::site::{MIB, Site, disk, exit, mixed, stderr};

fn said(site: &Site, args: &[&str]) -> String {
    let output = site.run(args);
    assert_eq!(exit(&output), 0, "{args:?}: {}", stderr(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_capture_obeys_a_limit_that_is_set_and_then_lifted() {
    for limit in ["m", "lan"] {
        let site = Site::new();
        mixed(&site.path("source"), 1);
        // At this rate the capture would outlive us all.
        assert_eq!(said(&site, &["limit", "set", limit, "1Bps"]), format!("{limit}: 1Bps\n"));
        let args = [
            "image",
            "capture",
            "--store",
            "store",
            "--machine",
            "m",
            "--disk",
            "disk0",
            "--format",
            "raw",
            "--source",
            "source",
            "--limit",
            "10GBps",
            "--budget",
            "lan=10GBps 00:00-23:59",
        ];
        let mut child = site.replant(&args).env_remove("REPLANT_ROOT").spawn().unwrap();
        let folder = site.path("store/images/m/disk0");
        let begun = || {
            std::fs::read_dir(&folder).is_ok_and(|files| {
                files.map_while(Result::ok).any(|file| file.path().extension().is_some_and(|kind| kind == "partial"))
            })
        };
        while !begun() {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(child.try_wait().unwrap().is_none(), "it should wait for its share");
        said(&site, &["limit", "set", limit, "unlimited"]);
        assert!(child.wait().unwrap().success());
        assert_eq!(site.store().newest(&disk("m")).unwrap().size, 24 * MIB + 12_345);
    }
}

#[test]
fn limits_are_set_shown_and_cleared() {
    let site = Site::new();
    assert!(said(&site, &["limit", "show"]).contains("as planned"));
    said(&site, &["limit", "set", "web01", "50MBps 08:00-18:00 else 400MBps in Europe/Berlin"]);
    said(&site, &["limit", "set", "lan", "8Mbps"]);
    let shown = said(&site, &["limit", "show"]);
    assert_eq!(shown, "lan: 1000000Bps\nweb01: 50000000Bps 08:00-18:00 else 400000000Bps in Europe/Berlin\n");
    said(&site, &["limit", "clear", "web01"]);
    assert_eq!(said(&site, &["limit", "show"]), "lan: 1000000Bps\n");
    for (args, says) in [
        (["limit", "set", "web01", "quick"], "no limit"),
        (["limit", "set", "../x", "1MBps"], "a name has letters"),
        (["limit", "set", "web01", "1MBps 8-18"], "FROM-TO"),
    ] {
        let refused = site.run(&args);
        assert_eq!(exit(&refused), 2, "{}", stderr(&refused));
        assert!(stderr(&refused).contains(says), "{}", stderr(&refused));
    }
}
