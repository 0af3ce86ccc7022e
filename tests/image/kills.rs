//! Killed with SIGKILL at random points of a capture and of a deploy, then run again: the result is the same, and what
//! was done is not done twice. `REPLANT_TEST_LONG=1` kills 50 times each instead of a few, on a disk large enough for
//! checkpoints, and prints how much was not repeated.

use std::fs::File;
use std::time::Duration;

use replant::image::{ImageFormat, Qcow2Disk, digest_disk};

use super::site::*;

/// How often, the disk's size in MiB, and the rate that makes the run long enough to be hit.
fn extent() -> (u64, u64, &'static str) {
    match std::env::var("REPLANT_TEST_LONG").is_ok_and(|value| value == "1") {
        true => (50, 640, "160MBps"),
        false => (4, 24, "40MBps"),
    }
}

/// Bytes that the packs of the store hold.
fn packed(site: &Site) -> u64 {
    let packs = std::fs::read_dir(site.path("store/packs")).into_iter().flatten();
    packs.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// A point of the work, in bytes, and a moment after it; equal numbers give equal points.
fn random_point(number: u64, size: u64) -> (u64, Duration) {
    let random = noise(number, 16);
    let value = |at: usize| u64::from_le_bytes(random[at..at + 8].try_into().unwrap());
    (value(0) % size, Duration::from_micros(value(8) % 40_000))
}

/// Kills the command at a random point; returns how far it was then.
fn kill_at_random(site: &Site, number: u64, size: u64, args: &[&str]) -> (bool, u64) {
    let ((point, moment), mut reached) = (random_point(number, size), 0);
    let killed = kill_when(site, site.replant(args), |message| {
        if message["type"] == "progress" {
            reached = message["current"].as_u64().unwrap_or(0);
        }
        if reached < point {
            return false;
        }
        std::thread::sleep(moment);
        true
    });
    (killed, reached)
}

fn report(site: &Site, args: &[&str]) -> serde_json::Value {
    let output = site.run(&[&["--json"], args].concat());
    assert_eq!(exit(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_capture_killed_anywhere_ends_as_if_it_had_not_been() {
    let (count, mib, limit) = extent();
    let (site, size) = (Site::new(), mib * MIB);
    std::fs::write(site.path("source"), noise(1, size)).unwrap();
    let truth = digest_disk(File::open(site.path("source")).unwrap(), size, 64 << 10).unwrap().to_string();
    let args = ["image", "capture", "--machine", "web01", "--disk", "disk0", "--source", "source", "--format", "raw"];
    let (mut kills, mut done, mut unread, mut unstored) = (0, 0, 0, 0);
    for number in 0..count {
        let _ = std::fs::remove_dir_all(site.path("store"));
        site.store();
        let (killed, reached) = kill_at_random(&site, number, size, &[&args[..], &["--limit", limit]].concat());
        let report = report(&site, &args);
        assert_eq!(report["digest"], truth, "killed at {reached}");
        assert!(packed(&site) < size + size / 50, "killed at {reached}: {} bytes in packs", packed(&site));
        if killed && report["present"] == false {
            let value = |name: &str| report[name].as_u64().unwrap();
            (kills, done) = (kills + 1, done + reached);
            (unread, unstored) = (
                unread + (size - value("bytes_read")).min(reached),
                unstored + (size.saturating_sub(value("bytes_stored"))).min(reached),
            );
        }
    }
    assert!(kills >= count / 2, "only {kills} of {count} runs were killed");
    // At most what several threads had in hands is stored again.
    assert!(done - unstored <= kills * 24 * MIB, "{} of {done} bytes were stored again", done - unstored);
    let verified = site.run(&["image", "verify", "--deep"]);
    assert_eq!(exit(&verified), 0, "{verified:?}");
    share("capture", kills, done, &[("read again", unread), ("stored again", unstored)]);
}

fn share(verb: &str, kills: u64, done: u64, spared: &[(&str, u64)]) {
    let percent = |bytes: u64| bytes * 100 / done.max(1);
    let parts: Vec<String> = spared.iter().map(|(what, bytes)| format!("{} % not {what}", percent(*bytes))).collect();
    eprintln!("{kills} kills of a {verb}: of what was done before them {}", parts.join(", "));
}

#[test]
fn a_deploy_killed_anywhere_ends_as_if_it_had_not_been() {
    let (count, mib, limit) = extent();
    let (site, size) = (Site::new(), mib * MIB);
    std::fs::write(site.path("source"), noise(2, size)).unwrap();
    site.capture(&disk("web01"), "source", ImageFormat::Raw).unwrap();
    let source = site.path("source").display().to_string();
    for format in [ImageFormat::Raw, ImageFormat::Qcow2] {
        let name = format.name();
        let args = ["image", "deploy", "--machine", "web01", "--disk", "disk0", "--to", name, "--format", name];
        let (mut kills, mut done, mut spared) = (0, 0, 0);
        for number in 0..count / 2 {
            for old in ["", ".deployed", ".deploying"] {
                let _ = std::fs::remove_file(site.path(&format!("{name}{old}")));
            }
            match format {
                ImageFormat::Qcow2 => Qcow2Disk::create(&site.path(name), size).unwrap(),
                _ => File::create(site.path(name)).unwrap().set_len(size).unwrap(),
            }
            let (killed, reached) =
                kill_at_random(&site, 1000 + number, size, &[&args[..], &["--limit", limit]].concat());
            let report = report(&site, &args);
            qemu_img(&["compare", "-f", "raw", "-F", name, &source, &site.path(name).display().to_string()]);
            if killed && report["present"] == false {
                (kills, done) = (kills + 1, done + reached);
                spared += (size - report["bytes_written"].as_u64().unwrap()).min(reached);
            }
        }
        assert!(kills >= count / 4, "only {kills} of {} runs were killed", count / 2);
        share(&format!("deploy to {name}"), kills, done, &[("written again", spared)]);
    }
}
