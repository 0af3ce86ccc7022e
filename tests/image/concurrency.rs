//! Several processes in one store.

use replant::image::ImageFormat;

use super::site::*;

#[test]
fn captures_at_once_share_a_store_that_none_of_them_had() {
    let site = Site::new();
    let size = mixed(&site.path("shared"), 1);
    for machine in 0..4u64 {
        std::fs::copy(site.path("shared"), site.path(&format!("source{machine}"))).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(site.path(&format!("source{machine}"))).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(100 + machine, MIB), 20 * MIB).unwrap();
    }
    let children: Vec<_> = (0..4)
        .map(|machine| {
            let (name, source) = (format!("web{machine}"), format!("source{machine}"));
            let args = [
                "image",
                "capture",
                "--machine",
                &name,
                "--disk",
                "disk0",
                "--source",
                &source,
                "--format",
                "raw",
                "--chunk-size",
                "64KiB",
            ];
            site.replant(&args).stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for machine in 0..4 {
        let restored = site.restored(&disk(&format!("web{machine}")), size).unwrap();
        assert!(same_content(&site.path(&format!("source{machine}")), &restored));
    }
}

#[test]
fn one_disk_is_captured_by_one_process_at_a_time() {
    let site = Site::new();
    mixed(&site.path("source"), 1);
    site.store();
    let folder = site.path("store/images/web01/disk0");
    std::fs::create_dir_all(&folder).unwrap();
    let held = std::fs::File::create(folder.join("lock")).unwrap();
    held.lock().unwrap();
    let error = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap_err();
    assert_eq!(chain(&error), "cannot capture web01/disk0: the capture of web01/disk0 is in use by another process");
    assert!(error.is_busy());
}

#[test]
fn garbage_is_not_collected_while_anybody_works() {
    let site = Site::new();
    mixed(&site.path("source"), 1);
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let store = site.store();
    let lease = store.lease("capture web01/disk0").unwrap();
    let refused = site.run(&["image", "gc", "--yes"]);
    assert_eq!(exit(&refused), 75, "{}", stderr(&refused));
    let message = format!("error: the store is in use by capture web01/disk0 (process {} on ", std::process::id());
    assert!(stderr(&refused).starts_with(&message), "{}", stderr(&refused));
    // Looking is allowed.
    assert_eq!(exit(&site.run(&["image", "gc"])), 0);
    drop(lease);
    assert_eq!(exit(&site.run(&["image", "gc", "--yes"])), 0);
}
