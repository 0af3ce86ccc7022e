//! A machine that runs from LVM volumes and writes all the time, captured from snapshots: each volume is one state.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::guest::{Guest, Shell, running_guest};
use crate::common::{Finished, TestSite};
use crate::end_to_end::run;

struct Lab {
    site: TestSite,
    shell: Shell,
    size: u64,
    volumes: Vec<(String, u64)>,
    _guest: Guest,
}

impl Lab {
    fn new() -> Self {
        let (parts, site) = (running_guest(), TestSite::new());
        site.replant(&["init", "."]).expect(0);
        let disk = site.join("disk.raw");
        run(Command::new("cp").arg("--sparse=always").arg(parts.join("disk.raw")).arg(&disk));
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let network = format!("user,id=n,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22");
        let (drive, console) = (format!("file={},format=raw", disk.display()), site.join("console.log"));
        let mut qemu = Command::new("qemu-system-x86_64");
        let guest = Guest::start(&mut qemu, &network, "52:54:00:70:33:01", &drive, "LVM0", &console, "");
        let shell = Shell::new(&site, "127.0.0.1", port, None);
        shell.wait(&console);
        let size = std::fs::metadata(&disk).expect("it is there").len();
        let volumes = std::fs::read_to_string(parts.join("volumes")).expect("it was made");
        let volumes = volumes.lines().filter_map(|line| line.split_once(' '));
        let volumes = volumes.map(|(name, at)| (name.to_owned(), at.parse().expect("an offset"))).collect();
        Self { site, shell, size, volumes, _guest: guest }
    }

    fn reach(&self) -> Vec<String> {
        let Shell { host, port, key, known_hosts, .. } = &self.shell;
        let path = |path: &Path| path.display().to_string();
        ["--host", host, "--port", &port.to_string(), "--ssh-key", &path(key), "--known-hosts", &path(known_hosts)]
            .map(String::from)
            .to_vec()
    }

    fn words(&self, more: &[&str]) -> Vec<String> {
        let size = self.size.to_string();
        let words = [
            "source",
            "capture",
            "--json",
            "--store",
            "store",
            "--key",
            "file:.replant/store.key",
            "--machine",
            "lvm01",
            "--disk",
            "disk0",
            "--identity",
            "lvm disk",
            "--device",
            "/dev/vda",
            "--size",
            &size,
        ];
        words.iter().map(ToString::to_string).chain(self.reach()).chain(more.iter().map(ToString::to_string)).collect()
    }

    fn capture(&self, more: &[&str]) -> Finished {
        let words = self.words(more);
        self.site.replant(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn image(&self) -> PathBuf {
        let _ = std::fs::remove_file(self.site.join("out.raw"));
        let key = ["--key", "file:.replant/store.key"];
        let words = ["image", "export", "lvm01/disk0", "out.raw", "--format", "raw"];
        self.site.replant(&[&words[..], &key].concat()).expect(0);
        self.site.join("out.raw")
    }

    /// A volume of the image as `e2fsck` and `debugfs` name it.
    fn volume(&self, name: &str) -> String {
        let at = self.volumes.iter().find(|(volume, _)| volume == name).expect("it was made").1;
        format!("{}?offset={at}", self.image().display())
    }

    fn snapshots(&self) -> String {
        self.shell.run("lvs --noheadings -o lv_name,lv_tags | grep replant || :")
    }
}

/// What the pair of files says: (first, second).
fn pair(volume: &str) -> (u64, u64) {
    let number = |folder: &str| {
        let said = run(Command::new("debugfs").args(["-R", &format!("cat /{folder}/number"), volume]));
        said.trim().parse().unwrap_or_else(|_| panic!("{folder}: `{said}`"))
    };
    (number("first"), number("second"))
}

fn holds((first, second): (u64, u64)) -> bool {
    first == second || first == second + 1
}

fn said(finished: &Finished) -> serde_json::Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {}", finished.stdout))
}

#[test]
#[ignore = "builds a Debian and starts it for minutes: cargo test --test integration -- --ignored remote::snapshot"]
fn volumes_under_load_are_captured_from_snapshots_and_live_reading_breaks() {
    let lab = Lab::new();
    let reach = lab.reach();
    let reach: Vec<&str> = reach.iter().map(String::as_str).collect();
    let look =
        |more: &[&str]| lab.site.replant(&[&["source", "look", "--device", "/dev/vda"], &reach[..], more].concat());
    let seen = look(&["--snapshot", "required"]).expect(0).stdout;
    println!("{seen}");
    for text in ["vg0/root (/), 512", "vg0/data (/srv), 160", "from a snapshot", "vg0 has"] {
        assert!(seen.contains(text), "{text}: {seen}");
    }
    let short = look(&["--snapshot", "required", "--snapshot-size", "500MiB"]).expect(1);
    assert!(short.stderr.contains("its snapshot needs"), "{}", short.stderr);
    lab.shell.begin_writing();

    // Live: what is read first and what is read last are of different times.
    let live = said(&lab.capture(&["--snapshot", "never", "--accept-inconsistent"]).expect(0));
    assert_eq!(live["consistent"], false, "{live}");
    let broken = pair(&lab.volume("data"));
    println!("live: {live}\nthe pair: {broken:?}");
    assert!(!holds(broken), "{broken:?} would have been one state by chance");

    // From snapshots, under the same load.
    let finished = lab.capture(&["--snapshot", "required"]).expect(0);
    let taken = said(&finished);
    println!("from snapshots: {taken}");
    assert_eq!(taken["consistent"], true, "{taken}");
    for volume in ["vg0/root (/)", "vg0/data (/srv)", "nothing else was written"] {
        assert!(taken["how"].as_str().is_some_and(|how| how.contains(volume)), "{volume}: {taken}");
    }
    assert!(
        taken["bytes_read"].as_u64() < live["bytes_read"].as_u64(),
        "a frozen file system has a map of its used blocks, a live one does not: {taken}"
    );
    assert_eq!(lab.snapshots(), "", "they were removed");
    let data = lab.volume("data");
    let whole = pair(&data);
    println!("the pair: {whole:?}");
    assert!(holds(whole) && whole.0 > broken.0.min(broken.1), "{whole:?}");
    for volume in ["data", "root"] {
        let checked = Command::new("e2fsck").args(["-fn", &lab.volume(volume)]).output().expect("e2fsck runs");
        assert!(checked.status.success(), "{volume}: {}", String::from_utf8_lossy(&checked.stdout));
    }
    // LVM's records in the image tell of no snapshot, and the source goes on writing.
    let records = run(Command::new("sh")
        .args(["-c", "head -c 70000000 \"$0\" | strings | grep -c replant_ || :"])
        .arg(lab.image()));
    assert_eq!(records.trim(), "0");
    let number = || lab.shell.run("cat /srv/first/number").trim().parse::<u64>().expect("a number");
    let before = number();
    std::thread::sleep(Duration::from_secs(3));
    assert!(number() > before);

    killed_and_overflowed(&lab);
}

/// A capture that is killed leaves nothing; a snapshot that was left is removed; one that overflows is no image.
fn killed_and_overflowed(lab: &Lab) {
    let words = lab.words(&["--limit", "4MBps"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut child = lab.site.command(&words).spawn().expect("replant starts");
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(300), "{what}: {}", lab.snapshots());
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    wait("no snapshot is taken", &|| lab.snapshots().lines().count() == 2);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    wait("the snapshots stay", &|| lab.snapshots().is_empty());

    // One that a machine's sudden end has left: it is known by its tag, and an administrator's is not touched.
    lab.shell.run("lvcreate -q -y -An -s -n replant_data --addtag replant.lvm01.disk0 -L 64M vg0/data");
    lab.shell.run("lvcreate -q -y -An -s -n backup -L 64M vg0/data");
    let reach = lab.reach();
    let reach: Vec<&str> = reach.iter().map(String::as_str).collect();
    let release = ["source", "release", "--machine", "lvm01", "--disk", "disk0"];
    let gone = lab.site.replant(&[&release[..], &reach].concat()).expect(0).stdout;
    assert!(gone.contains("vg0/replant_data"), "{gone}");
    lab.shell.run("lvs vg0/backup && lvremove -q -f vg0/backup");
    lab.shell.run("lvcreate -q -y -An -s -n replant_data --addtag replant.lvm01.disk0 -L 64M vg0/data");

    // The left one is removed here, too, and the new one is far too small.
    lab.shell.run("systemd-run --quiet --unit flood sh -c 'while :; do dd if=/dev/urandom of=/srv/flood bs=1M count=80 conv=notrunc,fsync; done'");
    let small = lab.capture(&["--snapshot-size", "8MiB", "--limit", "4MBps"]).expect(1);
    println!("{}", small.stderr);
    assert!(small.stderr.contains("overflowed") && small.stderr.contains("snapshot_size: "), "{}", small.stderr);
    assert_eq!(lab.snapshots(), "", "nothing is left after a failure");
}
