use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::native::{Controller, NativeAgent, wait_until};
use crate::common::TestSite;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 96 * MIB;
const DATA: u64 = SIZE / 4 * 3;

/// A site with a captured and sealed disk, and an empty disk that is larger.
fn site() -> (TestSite, PathBuf, PathBuf) {
    let site = TestSite::new();
    site.replant(&["init", "."]).expect(0);
    let (source, target) = (site.join("source.raw"), site.join("target.raw"));
    let mut file = std::fs::File::create(&source).expect("the disk can be made");
    let mut noise = blake3::Hasher::new().update(b"a disk").finalize_xof();
    let mut chunk = vec![0; MIB as usize];
    for index in 0..SIZE / MIB {
        match index % 4 {
            3 => chunk.fill(0),
            _ => noise.fill(&mut chunk),
        }
        file.write_all(&chunk).expect("the disk can be written");
    }
    let store = ["--store", "store", "--key", "file:.replant/store.key", "--machine", "web01"];
    let source_path = source.to_str().expect("a plain path");
    site.replant(
        &[&["image", "capture"][..], &store, &["--disk", "disk0", "--source", source_path, "--format", "raw"]].concat(),
    )
    .expect(0);
    std::fs::File::create(&target).and_then(|file| file.set_len(SIZE + 3 * MIB)).expect("the disk can be made");
    site.replant(&["device", "add", "--name", "vm01", "--mac", "52:54:00:70:32:01"]).expect(0);
    (site, source, target)
}

fn arguments(limit: Option<&'static str>) -> Vec<&'static str> {
    let mut arguments = vec!["device", "deploy", "vm01", "--json", "--machine", "web01", "--disk", "disk0"];
    arguments.extend(["--serial", "TARGET0", "--key", "file:.replant/store.key"]);
    arguments.extend(limit.into_iter().flat_map(|limit| ["--limit", limit]));
    arguments
}

fn written(disk: &Path) -> u64 {
    std::fs::metadata(disk).expect("the disk is there").blocks() * 512
}

fn first_sector(disk: &Path) -> Vec<u8> {
    std::fs::read(disk).expect("the disk can be read")[..512].to_vec()
}

#[track_caller]
fn assert_same(source: &Path, target: &Path) {
    let [source, target] = [source, target].map(|path| std::fs::read(path).expect("the disk can be read"));
    assert!(target[..SIZE as usize] == source, "the disk is the image");
    assert!(target[SIZE as usize..].iter().all(|byte| *byte == 0));
}

fn numbers(output: &[u8]) -> [u64; 2] {
    let found: serde_json::Value = serde_json::from_slice(output).expect("it is JSON");
    ["bytes-received", "bytes-resumed"].map(|name| found[name].as_str().expect("a text").parse().expect("a number"))
}

#[test]
fn a_disk_is_pulled_through_a_killed_controller_and_a_lost_machine() {
    let (site, source, target) = site();
    let controller = Controller::start(&site, 0);
    let port = controller.port;
    let agent = NativeAgent::start(&site, "vm01", port, &target, "TARGET0");

    // The controller dies in the middle; the agent finds the next one, and the disk knows how far it is.
    let mut first = site.command(&arguments(Some("12MBps"))).spawn().expect("replant starts");
    wait_until("the first half", &site, || written(&target) > 24 * MIB);
    controller.kill();
    assert_eq!(first.wait().expect("it ends").code(), Some(75), "it is to be tried again");
    let controller = Controller::start(&site, port);
    let mut second = site.command(&arguments(Some("12MBps"))).spawn().expect("replant starts");
    let before = written(&target);
    wait_until("the second half", &site, || written(&target) > before + 16 * MIB);

    // The machine loses its power; the verb is told to give up.
    agent.kill();
    second.kill().expect("it can be killed");
    second.wait().expect("it ends");
    assert_eq!(first_sector(&target), vec![0; 512], "a half-written disk does not boot");
    let agent = NativeAgent::start(&site, "vm01", port, &target, "TARGET0");
    let output = site.command(&arguments(None)).output().expect("replant starts");
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), site.read("agent.log"));
    let [received, resumed] = numbers(&output.stdout);
    assert_same(&source, &target);
    assert!(resumed >= 24 * MIB - 16 * MIB, "what was durable is not fetched again: {resumed}");
    // Content that does not compress: what travelled in the last run is about what was missing of it.
    assert!(received <= DATA - resumed / 4 * 3 + 8 * MIB, "{received} after {resumed}");
    drop(agent);
    controller.stop();
}

#[test]
fn a_whole_disk_is_pulled_at_once_and_only_the_right_one() {
    let (site, source, target) = site();
    let controller = Controller::start(&site, 0);
    let agent = NativeAgent::start(&site, "vm01", controller.port, &target, "OTHER");
    let refused = site.replant(&arguments(None)).expect(1);
    assert!(refused.stderr.contains("TARGET0"), "{}", refused.stderr);
    assert_eq!(written(&target), 0, "nothing was written");
    drop(agent);
    let agent = NativeAgent::start(&site, "vm01", controller.port, &target, "TARGET0");
    let output = site.replant(&arguments(None)).expect(0);
    let [received, resumed] = numbers(output.stdout.as_bytes());
    assert_same(&source, &target);
    assert!((DATA..DATA + DATA / 100).contains(&received) && resumed == 0, "{received} {resumed}");
    drop(agent);
    controller.stop();
}
