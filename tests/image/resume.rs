//! Killed at any point, going on where it stopped. Real processes, killed after so much progress, not after a time.

use replant::image::{ImageFormat, Qcow2Disk};

use super::site::*;

/// A disk whose capture takes long enough to be killed at many points.
const SIZE: u64 = 48 * MIB;

fn capture_args<'a>() -> [&'a str; 10] {
    ["image", "capture", "--machine", "web01", "--disk", "disk0", "--source", "source", "--format", "raw"]
}

fn progress(message: &serde_json::Value) -> Option<u64> {
    (message["type"] == "progress").then(|| message["current"].as_u64()).flatten()
}

#[test]
fn a_killed_capture_goes_on_and_stores_nothing_twice() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.store();
    let (mut kills, mut reached) = (0, 0);
    // A slow reader, so that progress is seen in many steps: each run is killed 6 MiB further on.
    for step in 1..=6 {
        let command = site.replant(&[&capture_args()[..], &["--limit", "60MBps"]].concat());
        let killed = kill_when(&site, command, |message| {
            progress(message).is_some_and(|current| {
                reached = current;
                current >= step * 6 * MIB
            })
        });
        kills += u64::from(killed);
        assert!(site.store().image_ids(&disk("web01")).unwrap().is_empty() || !killed);
    }
    assert!(kills >= 3, "only {kills} of 6 runs were killed, the last at {reached}");
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    // Everything that was stored before was found: all packs together hold little more than the disk.
    let packs: u64 = std::fs::read_dir(site.path("store/packs"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(packs < SIZE + SIZE / 50, "{packs} bytes in packs for {SIZE} after {kills} kills; {report:?}");
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
}

#[test]
fn a_stopped_capture_reads_nothing_twice() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    let store = site.store();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let tick = |tick: replant::image::Tick| {
        if tick.done >= SIZE / 2 {
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let request = site.request(&disk("web01"), "source", ImageFormat::Raw);
    // Slow enough that the second half is never over before the first half is seen.
    let rate = replant::units::ByteRate(20 << 20);
    let control = replant::image::Control::new(&stop, &tick).threads(1).limit(Some(rate));
    let error = replant::image::capture(&store, &request, &control).unwrap_err();
    assert!(error.is_stop(), "{}", chain(&error));
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert!(report.resumed >= SIZE / 2 && report.read == SIZE - report.resumed, "{report:?}");
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
}

#[test]
fn a_source_that_changed_meanwhile_is_read_again() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.store();
    let command = site.replant(&[&capture_args()[..], &["--limit", "60MBps"]].concat());
    kill_when(&site, command, |message| progress(message).is_some_and(|current| current >= 10 * MIB));
    let mut changed = noise(1, SIZE);
    changed[5] ^= 1;
    std::fs::write(site.path("source"), &changed).unwrap();
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert_eq!((report.resumed, report.read), (0, SIZE));
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), SIZE).unwrap()));
}

#[test]
fn a_killed_deploy_goes_on() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, SIZE)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let name = format.name();
        match format {
            ImageFormat::Raw => std::fs::File::create(site.path(name)).unwrap().set_len(SIZE).unwrap(),
            _ => Qcow2Disk::create(&site.path(name), SIZE).unwrap(),
        }
        let mut kills = 0;
        let args = ["image", "deploy", "--machine", "web01", "--disk", "disk0", "--to", name, "--format", name];
        for step in 1..=5 {
            let command = site.replant(&[&args[..], &["--limit", "60MBps"]].concat());
            let killed =
                kill_when(&site, command, |message| progress(message).is_some_and(|current| current >= step * 7 * MIB));
            kills += u64::from(killed);
            if killed {
                assert!(!site.path(&format!("{name}.deployed")).exists());
                assert_eq!(exit(&site.run(&[&args[..], &["--check"]].concat())), 11);
                assert_unbootable(&site, name, format);
            }
        }
        assert!(kills >= 3, "only {kills} of 5 runs were killed");
        assert_eq!(exit(&site.run(&args)), 0);
        assert_eq!(exit(&site.run(&[&args[..], &["--check"]].concat())), 0);
        let (source, target) = (site.path("source").display().to_string(), site.path(name).display().to_string());
        qemu_img(&["compare", "-f", "raw", "-F", name, &source, &target]);
        if format == ImageFormat::Qcow2 {
            assert!(qemu_img(&["check", &target]).contains("No errors"));
        }
    }
}

/// The first MiB is written last, so it is still empty.
fn assert_unbootable(site: &Site, name: &str, format: ImageFormat) {
    let disk = replant::image::open_source(&site.path(name), format).unwrap();
    let mut head = vec![1; MIB as usize];
    disk.read_at(&mut head, 0).unwrap();
    assert!(head.iter().all(|byte| *byte == 0));
}

#[test]
fn a_torn_pack_tail_is_cut_and_whole_chunks_in_it_are_kept() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, 4 * MIB)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    // As if the process had died after appending 64 chunks, indexing two, and tearing the last.
    let (pack, index) = (site.only("packs", "pack"), site.only("index", "idx"));
    let manifest = site.only("images/web01/disk0", "json");
    let len = std::fs::metadata(&pack).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&pack).unwrap().set_len(len - 100).unwrap();
    std::fs::OpenOptions::new().write(true).open(&index).unwrap().set_len(32 + 2 * 64 + 17).unwrap();
    for path in [manifest.clone(), manifest.with_extension("map")] {
        std::fs::remove_file(path).unwrap();
    }
    let report = site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    assert!(report.stored > 65_536 && report.stored < 70_000, "one chunk is stored again, not {} bytes", report.stored);
    let record = 56 + 28 + 65_536;
    assert_eq!(std::fs::metadata(&pack).unwrap().len(), 32 + 63 * record);
    assert_eq!(std::fs::metadata(&index).unwrap().len(), 32 + 63 * 64);
    assert!(same_content(&site.path("source"), &site.restored(&disk("web01"), 4 * MIB).unwrap()));
}

#[test]
fn a_killed_capture_leaves_no_helper_behind() {
    let site = Site::new();
    std::fs::write(site.path("raw"), text(1, SIZE)).unwrap();
    let path = |name: &str| site.path(name).display().to_string();
    let options = ["convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"];
    qemu_img(&[&options[..], &[&path("raw"), &path("source")]].concat());
    let args = ["image", "capture", "--machine", "web01", "--disk", "disk0", "--source", "source", "--format", "qcow2"];
    let command = site.replant(&[&args[..], &["--limit", "20MBps"]].concat());
    let mut helpers = 0;
    let killed = kill_when(&site, command, |message| {
        helpers = helpers.max(helpers_of(&site));
        progress(message).is_some_and(|current| current > 0)
    });
    assert!(killed && helpers == 1, "killed: {killed}, helpers seen: {helpers}");
    let begun = std::time::Instant::now();
    while helpers_of(&site) > 0 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the helper is still there");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    site.capture(&disk("web01"), "source", ImageFormat::Qcow2).unwrap();
    assert!(same_content(&site.path("raw"), &site.restored(&disk("web01"), SIZE).unwrap()));
}

/// Processes that serve the site's source.
fn helpers_of(site: &Site) -> usize {
    let needle = format!("filename={}", site.path("source").canonicalize().unwrap().display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|process| std::fs::read(process.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&needle))
        .count()
}
