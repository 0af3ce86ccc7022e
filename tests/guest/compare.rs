//! Beside virt-v2v, on the same disks: what each costs, and what the machine is like afterwards. Prints the table of
//! docs/guest-matrix.md; takes ten minutes and needs the packages that `PACKAGES_PEER` of tests/packages.sh lists:
//!
//! `REPLANT_TEST_LONG=1 cargo test --test integration guest::compare -- --nocapture`

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_tool};

use super::machine::{PATIENCE, READY, Row, Vm, word};

/// The other converter asks the guest's own GRUB to write its configuration anew.
const WITH_GRUB: [&str; 3] = ["bookworm", "cloud-grub", "initramfs-tools"];

/// What is left of a machine after its conversion.
struct After {
    boots: String,
    network: bool,
    arguments: bool,
    serial: bool,
}

impl After {
    fn of(vm: &Vm<'_>, name: &str) -> Self {
        vm.fresh_nvram();
        let begun = Instant::now();
        vm.start("run");
        // What a machine says that does not come up: its initramfs, its firmware, its kernel.
        let ends = [READY, "ALERT!", "Shell>", ">>Start PXE", "Kernel panic", "does not exist"];
        let Some(said) = vm.watch(&ends, PATIENCE) else {
            return Self { boots: "no sign of life".to_owned(), network: false, arguments: false, serial: false };
        };
        if !said.starts_with(READY) {
            return Self { boots: format!("no: `{said}`"), network: false, arguments: false, serial: false };
        }
        let failed = word(&said, "failed=");
        let failed = if failed.is_empty() { String::new() } else { format!(", failed: {failed}") };
        Self {
            boots: format!("yes, {:.0} s{failed}", begun.elapsed().as_secs_f64()),
            network: vm.answer() == name,
            arguments: said.contains("rootdelay=4") && said.contains("mitigations=off"),
            serial: said.contains("console=ttyS0"),
        }
    }
}

/// Processor time of QEMU while `work` runs.
fn measured<T>(pid_file: &Path, work: impl FnOnce() -> T) -> (T, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut last = Duration::ZERO;
            while !done.load(Ordering::Relaxed) {
                let pid = fs::read_to_string(pid_file).unwrap_or_default();
                let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
                let fields: Vec<&str> =
                    stat.rsplit_once(") ").map_or(Vec::new(), |(_, rest)| rest.split(' ').collect());
                let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
                // utime and stime, in hundredths of a second.
                last = last.max(Duration::from_millis((ticks(11) + ticks(12)) * 10));
                std::thread::sleep(Duration::from_millis(50));
            }
            last
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, watcher.join().expect("it only reads"))
    })
}

fn line(row: &Row, who: &str, wall: Duration, cpu: Duration, after: &After) {
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    println!(
        "| {} | {who} | {:.1} s | {:.1} s | {} | {} | {} | {} |",
        row.name,
        wall.as_secs_f64(),
        cpu.as_secs_f64(),
        after.boots,
        yes(after.network),
        yes(after.arguments),
        yes(after.serial)
    );
}

/// virt-v2v's copy of a disk, with its wall and processor time.
fn peer(site: &TestSite, disk: &Path) -> (PathBuf, Duration, Duration) {
    fs::create_dir(site.join("out")).unwrap();
    let begun = Instant::now();
    let run = Command::new("bash")
        .args(["-c", "time -p virt-v2v -i disk \"$1\" -o local -of qcow2 -on peer -os \"$2\"", "bash"])
        .arg(disk)
        .arg(site.join("out"))
        .env("LIBGUESTFS_BACKEND", "direct")
        .env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
        .env("LIBGUESTFS_MEMSIZE", "1536")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{}{said}", String::from_utf8_lossy(&run.stdout));
    let seconds = |name: &str| {
        let line = said.lines().rev().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        line.unwrap_or(0.0)
    };
    (site.join("out/peer-sda"), begun.elapsed(), Duration::from_secs_f64(seconds("user ") + seconds("sys ")))
}

fn compare(row: &Row) {
    let site = TestSite::new();
    let vm = Vm::new(&site, row);
    vm.fresh_nvram();
    let ((_, wall), cpu) = measured(&site.join("vm/qemu.pid"), || vm.convert("", ""));
    let ours = After::of(&vm, row.name);
    line(row, "replant", wall, cpu, &ours);
    vm.stop();
    let source = vm.source_disk();
    drop(vm);

    let site = TestSite::new();
    let vm = Vm::new(&site, row);
    let (disk, wall, cpu) = peer(&site, &source);
    fs::rename(disk, site.join("vm/disk0.qcow2")).unwrap();
    line(row, "virt-v2v", wall, cpu, &After::of(&vm, row.name));
    assert!(ours.boots.starts_with("yes") && ours.network && ours.arguments && ours.serial, "ours keeps everything");
}

#[test]
fn two_fragile_sources_beside_virt_v2v() {
    if std::env::var_os("REPLANT_TEST_LONG").is_none() {
        println!("runs with REPLANT_TEST_LONG=1");
        return;
    }
    require_tool("virt-v2v", "virt-v2v");
    println!("| source | by | wall | CPU | boots | network answers | kernel arguments kept | serial console kept |");
    for row in [
        Row {
            name: "peer-bios-ext4",
            tree: WITH_GRUB,
            options: &["net=ifupdown"],
            disks: 1,
            gives_up: "ALERT!",
            root: "/dev/vda1",
            also: &[],
        },
        Row {
            name: "peer-uefi-lvm",
            tree: WITH_GRUB,
            options: &["firmware=uefi", "layout=lvm", "fs=xfs", "net=networkd"],
            disks: 1,
            gives_up: ">>Start PXE",
            root: "/dev/mapper/vg0-root",
            also: &[],
        },
    ] {
        compare(&row);
    }
}
