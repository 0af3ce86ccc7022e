//! The verbs as scripts call them: words, exit codes, outputs.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;

use super::site::*;

const IDENTITY: &str = "--identity";

#[test]
fn the_verbs_of_a_migration_answer_as_scripts_expect() {
    let site = Site::new();
    let size = mixed(&site.path("source"), 1);
    let identity = replant::device::identity(&site.path("source")).unwrap();
    let disk = ["--machine", "web01", "--disk", "disk0"];
    let check = [&["image", "check"], &disk[..], &[IDENTITY, &identity]].concat();
    let member = format!("disk0={identity}");
    let seal = ["image", "seal", "--machine", "web01", "--disk", &member];
    let seal_check = [&seal[..], &["--check"]].concat();
    let capture =
        [&["image", "capture"], &disk[..], &["--source", "source", "--format", "raw", IDENTITY, &identity]].concat();
    let deploy = [&["image", "deploy"], &disk[..], &["--to", "target", "--format", "raw"]].concat();
    let deploy_check = [&deploy[..], &["--check"]].concat();
    let discard = [&["image", "discard"], &disk[..]].concat();

    assert_eq!(exit(&site.run(&check)), 10);
    assert_eq!(exit(&site.run(&seal_check)), 10);
    assert_eq!(exit(&site.run(&deploy_check)), 10);
    assert_eq!(exit(&site.run(&discard)), 0);

    let socket = site.path("events.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut command = site.replant(&capture);
    let child = command.env("REPLANT_EVENTS", &socket).env("REPLANT_TASK", "web01/capture/disk0").output();
    assert!(child.unwrap().status.success());
    let (stream, _) = listener.accept().unwrap();
    let messages: Vec<serde_json::Value> =
        BufReader::new(stream).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(messages[0]["task"], "web01/capture/disk0");
    let output =
        |name: &str| messages.iter().find(|message| message["name"] == name).map(|message| message["value"].clone());
    assert!(output("digest").unwrap().as_str().unwrap().starts_with("b3tree:262144:"));
    for name in ["image", "bytes_read", "bytes_stored"] {
        assert!(output(name).is_some(), "{name}");
    }
    assert_eq!(messages.iter().filter_map(|message| message["current"].as_u64()).next_back(), Some(size));

    assert_eq!(exit(&site.run(&check)), 0);
    assert_eq!(exit(&site.run(&seal_check)), 11);
    assert_eq!(exit(&site.run(&seal)), 0);
    assert_eq!(exit(&site.run(&seal_check)), 0);
    assert_eq!(exit(&site.run(&seal)), 0);
    // Discarding never touches what is finished.
    assert_eq!(exit(&site.run(&discard)), 0);
    assert_eq!(exit(&site.run(&check)), 0);

    let missing = site.run(&deploy);
    assert_eq!(exit(&missing), 1);
    assert!(
        stderr(&missing).starts_with("error: cannot deploy web01/disk0\n  because: opening target"),
        "{}",
        stderr(&missing)
    );
    std::fs::File::create(site.path("target")).unwrap().set_len(size).unwrap();
    assert_eq!(exit(&site.run(&deploy_check)), 10);
    assert_eq!(exit(&site.run(&deploy)), 0);
    assert_eq!(exit(&site.run(&deploy_check)), 0);
    assert!(same_content(&site.path("source"), &site.path("target")));
    let undo = [&deploy[..], &["--undo"]].concat();
    for _ in 0..2 {
        assert_eq!(exit(&site.run(&undo)), 0);
        assert_eq!(exit(&site.run(&deploy_check)), 10);
        assert_eq!((std::fs::metadata(site.path("target")).unwrap().len(), allocated(&site.path("target"))), (size, 0));
    }
}

#[test]
fn a_termination_signal_ends_at_a_checkpoint_with_code_75() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, 64 * MIB)).unwrap();
    site.store();
    let socket = site.path("events.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let args = [
        "image",
        "capture",
        "--machine",
        "web01",
        "--disk",
        "disk0",
        "--source",
        "source",
        "--format",
        "raw",
        "--limit",
        "40MBps",
    ];
    let mut child =
        site.replant(&args).env("REPLANT_EVENTS", &socket).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut stopped = false;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if !stopped && line.contains("\"progress\"") {
            rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM)
                .unwrap();
            stopped = true;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(75));
    let identity = replant::device::identity(&site.path("source")).unwrap();
    assert_eq!(exit(&site.run(&["image", "check", "--machine", "web01", "--disk", "disk0", IDENTITY, &identity])), 11);
    assert_eq!(exit(&site.run(&["image", "discard", "--machine", "web01", "--disk", "disk0"])), 0);
    assert_eq!(exit(&site.run(&["image", "check", "--machine", "web01", "--disk", "disk0", IDENTITY, &identity])), 10);
}

#[test]
fn a_store_without_encryption_is_asked_for_and_warned_of() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, MIB)).unwrap();
    let args = ["image", "capture", "--machine", "web01", "--disk", "disk0", "--source", "source", "--format", "raw"];
    let refused = site.replant(&args).env_remove("REPLANT_STORE_KEY").output().unwrap();
    assert_eq!(exit(&refused), 1);
    assert!(stderr(&refused).contains("no key to create it with"), "{}", stderr(&refused));
    assert!(!site.path("store").exists());
    let clear = site
        .replant(&[&args[..], &["--encryption", "none"]].concat())
        .env_remove("REPLANT_STORE_KEY")
        .output()
        .unwrap();
    assert_eq!(exit(&clear), 0, "{}", stderr(&clear));
    assert_eq!(stderr(&clear), "warning: the image store at store is NOT encrypted\n");
    let ls = site.replant(&["image", "ls"]).env_remove("REPLANT_STORE_KEY").output().unwrap();
    let table = String::from_utf8(ls.stdout).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["DISK", "IMAGE", "SIZE", "USED", "ADDED", "CAPTURED", "SEALED"]);
    assert_eq!((rows.len(), rows[1][0], rows[1][2], rows[1][3]), (2, "web01/disk0", "1", "MiB"));
}

#[test]
fn verify_names_faults_and_ends_with_1() {
    let site = Site::new();
    std::fs::write(site.path("source"), noise(1, MIB)).unwrap();
    site.capture(&disk("web01"), "source", replant::image::ImageFormat::Raw).unwrap();
    let sound = site.run(&["image", "verify", "--deep"]);
    assert_eq!(
        (exit(&sound), String::from_utf8_lossy(&sound.stdout).as_ref()),
        (0, "1 image(s) are whole, 16 chunks read and compared\n")
    );
    std::fs::remove_file(site.only("packs", "pack")).unwrap();
    let broken = site.run(&["image", "verify", "--json"]);
    assert_eq!(exit(&broken), 1);
    let report: serde_json::Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!((&report["faults"][0]["machine"], &report["faults"][0]["disk"]), (&"web01".into(), &"disk0".into()));
    assert_eq!(report["faults"].as_array().unwrap().len(), 16);
}

#[test]
fn digests_can_be_compared_with_what_others_compute() {
    let site = Site::new();
    let size = mixed(&site.path("source"), 1);
    let report = site.capture(&disk("web01"), "source", replant::image::ImageFormat::Raw).unwrap();
    let b3sum = blake3::hash(&std::fs::read(site.path("source")).unwrap()).to_hex().to_string();
    let text = |words: &[&str]| {
        let output = site.run(words);
        assert_eq!(exit(&output), 0, "{}", stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // The source, the image and the restored disk have one digest, and it is the plain one of the bytes, too.
    let verified = text(&["image", "verify", "--deep", "--b3sum"]);
    assert!(verified.starts_with(&format!("{b3sum}  web01/disk0 image {}", report.id)), "{verified}");
    site.restored(&disk("web01"), size).unwrap();
    for file in ["source", "restored"] {
        let printed = text(&["image", "digest", file, "--chunk-size", "64KiB"]);
        assert_eq!(printed, format!("{}\nb3sum:{b3sum}\n", report.digest), "{file}");
    }
}

#[test]
fn a_source_without_permission_says_so() {
    // The administrator may read everything, so the test is for what everybody sees: a folder.
    let site = Site::new();
    std::fs::create_dir(site.path("source")).unwrap();
    let refused = site.run(&[
        "image",
        "capture",
        "--machine",
        "web01",
        "--disk",
        "disk0",
        "--source",
        "source",
        "--format",
        "raw",
    ]);
    assert_eq!(exit(&refused), 1);
    assert!(
        stderr(&refused).contains("because: opening source\n  because: it is neither a file nor a block device"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn memory_does_not_grow_with_the_disk() {
    let site = Site::new();
    // 1 TiB, with 96 MiB of data all over it.
    let file = std::fs::File::create(site.path("source")).unwrap();
    file.set_len(1 << 40).unwrap();
    for part in 0..96u64 {
        std::os::unix::fs::FileExt::write_all_at(&file, &noise(part, MIB), part * (10 << 30) + part * 4096).unwrap();
    }
    std::fs::File::create(site.path("target")).unwrap().set_len(1 << 40).unwrap();
    let disk = ["--machine", "web01", "--disk", "disk0", "--format", "raw"];
    for words in [["image", "capture", "--source", "source"], ["image", "deploy", "--to", "target"]] {
        let peak = peak_memory(&site, &[&words[..], &disk[..]].concat());
        assert!(peak < 256 * MIB, "{words:?} took {} MiB", peak / MIB);
    }
}

/// The most memory that the process had when it gave its last sign of progress.
fn peak_memory(site: &Site, args: &[&str]) -> u64 {
    let socket = site.path("events.sock");
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).unwrap();
    let mut child = site.replant(args).env("REPLANT_EVENTS", &socket).spawn().unwrap();
    let (stream, _) = listener.accept().unwrap();
    let mut peak = 0;
    for _ in BufReader::new(stream).lines().map_while(Result::ok) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        peak = peak.max(line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024);
    }
    assert!(child.wait().unwrap().success());
    assert!(peak > MIB, "the process was never seen");
    peak
}
