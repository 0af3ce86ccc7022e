//! The guest matrix: real machines that do not start on the target's hardware, converted, started, and asked over the
//! network. Each row prints what docs/guest-matrix.md shows (`-- --nocapture`).
//!
//! The first rows run always; all of them with `REPLANT_TEST_LONG=1`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_root, require_tool};

/// A machine of the matrix.
struct Row {
    /// The machine's name, also its answer over the network.
    name: &'static str,
    /// Suite, kernel and initramfs tool of its root file system.
    tree: [&'static str; 3],
    /// What `make-guest.sh` is told.
    options: &'static [&'static str],
    /// Number of disks.
    disks: usize,
    /// What the console shows when the unconverted copy gives up.
    gives_up: &'static str,
    /// The device that must be the root in the end.
    root: &'static str,
}

const BOOKWORM: [&str; 3] = ["bookworm", "cloud", "initramfs-tools"];

/// Longest wait for a console; a machine under emulation that shares its processor with others takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

const START: &str = r#"#!/bin/sh
# The target's hardware: virtio disks, and for `run` a virtio adapter on another slot than the source's.
set -eu
cd "${0%/*}"
mode=$1
shift
case $mode in
  agent) set -- -kernel "$1" -initrd "$2" -append "$3" -netdev user,id=n,ipv6=off -device virtio-net-pci,netdev=n ;;
  run) set -- -netdev "user,id=n,ipv6=off,net=10.0.9.0/24,dhcpstart=10.0.9.100,hostfwd=tcp:127.0.0.1:$1-10.0.9.15:80" \
         -device virtio-net-pci,netdev=n,addr=9,romfile=,mac=52:54:00:12:34:56 ;;
esac
if [ -f efivars.fd ]; then
  set -- "$@" -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
    -drive if=pflash,format=raw,unit=1,file=efivars.fd
fi
number=0
for disk in disk?.qcow2; do
  set -- "$@" -drive "if=none,id=d$number,format=qcow2,file=$disk,cache=unsafe" \
    -device "virtio-blk-pci,drive=d$number,serial=disk$number"
  number=$((number + 1))
done
exec qemu-system-x86_64 -accel tcg,tb-size=384 -machine pc -m 640 -smp 2 -nodefaults -display none -daemonize -no-reboot \
  -pidfile qemu.pid -qmp unix:qmp.sock,server=on,wait=off \
  -chardev socket,id=c,path=console.sock,server=on,wait=off,logfile=console.log -serial chardev:c "$@"
"#;

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end")
}

/// Runs a script of `tests/guests` unless its result is there already; one at a time for each result.
fn make(result: &Path, script: &str, arguments: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests").join(script);
    fs::create_dir_all(result.parent().expect("a result lies in a folder")).expect("folders can be made");
    let lock = File::create(result.with_extension("lock")).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    if result.exists() {
        return;
    }
    let output = Command::new("sh")
        .arg(source)
        .args(arguments)
        .env("AGENT", cache().join("matrix/agent"))
        .output()
        .expect("sh runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && result.exists(), "{script} {arguments:?}: {}\n{said}", output.status);
}

/// The name of a result changes with the recipe, so an old one is never taken for a new one.
fn recipe(scripts: &[&str]) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests");
    let mut hasher = blake3::Hasher::new();
    for script in scripts {
        hasher.update(&fs::read(folder.join(script)).expect("the script is there"));
    }
    hasher.finalize().to_hex()[..10].to_owned()
}

fn agent(site: &TestSite) -> PathBuf {
    let folder = cache().join("matrix/agent");
    fs::create_dir_all(&folder).expect("folders can be made");
    let lock = File::create(cache().join("agent.lock")).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    let words = ["agent", "build", "--out", folder.to_str().expect("a text")];
    let output = site.command(&words).env("REPLANT_CACHE", cache().join("agent")).output().expect("replant starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// The folder of the row's source disks.
fn source(row: &Row) -> PathBuf {
    let [suite, kernel, initramfs] = row.tree;
    let tree = cache().join(format!("matrix/{suite}-{kernel}-{initramfs}-{}.tar", recipe(&["make-tree.sh"])));
    make(&tree, "make-tree.sh", &[suite, kernel, initramfs, tree.to_str().expect("a text")]);
    let folder = cache().join(format!("matrix/{}-{}", row.name, recipe(&["make-tree.sh", "make-guest.sh"])));
    let last = folder.join(format!("disk{}.qcow2", row.disks - 1));
    let mut arguments = vec![row.name, tree.to_str().expect("a text"), folder.to_str().expect("a text")];
    arguments.extend(row.options);
    let initramfs = format!("initramfs={initramfs}");
    arguments.push(&initramfs);
    make(&last, "make-guest.sh", &arguments);
    folder
}

/// A VM of the target's hardware, off again when the test ends.
struct Vm<'a> {
    site: &'a TestSite,
    port: u16,
}

impl Vm<'_> {
    fn start(&self) {
        let script = self.site.join("vm/start.sh");
        let output = Command::new("sh").arg(script).args(["run", &self.port.to_string()]).output().expect("sh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn stop(&self) {
        self.site.replant(&["vm", "stop", "--folder", "vm", "--force"]);
    }

    fn console(&self) -> String {
        let bytes = fs::read(self.site.join("vm/console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for one of the texts; the line it stands on, from the text on.
    fn wait_for(&self, texts: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            let console = self.console();
            // A line that is not ended yet may go on.
            let complete = &console[..console.rfind('\n').map_or(0, |at| at + 1)];
            for text in texts {
                let found = complete.lines().find_map(|line| line.find(text).map(|at| line[at..].trim().to_owned()));
                if let Some(line) = found {
                    return line;
                }
            }
            let tail: Vec<&str> = console.lines().rev().take(15).collect();
            assert!(
                begun.elapsed() < PATIENCE,
                "none of {texts:?} came; the console ends with (last line first) {tail:#?}"
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// What the machine answers on port 80 of its static address.
    fn answer(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("QEMU listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout can be set");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("the request goes out");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.lines().last().unwrap_or_default().to_owned()
    }
}

impl Drop for Vm<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn prove(row: &Row) {
    require_root();
    for (tool, package) in
        [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("mmdebstrap", "mmdebstrap")]
    {
        require_tool(tool, package);
    }
    let site = TestSite::new();
    let agent = agent(&site);
    let source = source(row);
    site.write("vm/start.sh", START);
    for number in 0..row.disks {
        let disk = source.join(format!("disk{number}.qcow2"));
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
            .arg(disk)
            .arg(site.join(format!("vm/disk{number}.qcow2")))
            .status()
            .expect("qemu-img runs");
        assert!(made.success());
    }
    let uefi = row.options.contains(&"firmware=uefi");
    let fresh_nvram = || {
        if uefi {
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", site.join("vm/efivars.fd")).expect("Debian package ovmf");
        }
    };
    let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
    let vm = Vm { site: &site, port };

    fresh_nvram();
    let begun = Instant::now();
    vm.start();
    let before = vm.wait_for(&[row.gives_up, "GUEST-READY"]);
    let before_time = begun.elapsed();
    assert!(
        !before.starts_with("GUEST-READY"),
        "the copy needs no conversion, so the proof is worth nothing: {before}"
    );
    vm.stop();

    fresh_nvram();
    let firmware = if uefi { "uefi" } else { "bios" };
    site.write(
        "sequence.xml",
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <sequence xmlns=\"urn:replant:sequence:1\" id=\"{0}\" description=\"{0}\">\n\
             <step id=\"detect\" command=\"guest.detect\"/>\n\
             <step id=\"convert\" command=\"guest.convert\"><parameter name=\"firmware\">{firmware}</parameter>\
             <parameter name=\"nic\">52:54:00:12:34:56</parameter></step>\n\
             <step id=\"flush\" command=\"disk.flush\"/>\n</sequence>\n",
            row.name
        ),
    );
    let begun = Instant::now();
    let mut words = vec!["--json", "guest", "convert", "--machine", row.name, "--vm-folder", "vm"];
    words.extend(["--agent", agent.to_str().expect("a text"), "--sequence", "sequence.xml"]);
    let converted = site.replant(&words);
    if converted.code != 0 {
        panic!("{}: {}\n{}", row.name, converted.stderr, vm.console());
    }
    let convert_time = begun.elapsed();
    let report: serde_json::Value = serde_json::from_str(&converted.stdout).expect("the report is JSON");
    let edits = report["edits"].as_array().expect("a list of edits");
    let mut ids: Vec<String> = edits.iter().filter_map(|edit| edit["id"].as_str().map(str::to_owned)).collect();
    ids.dedup();

    let begun = Instant::now();
    vm.start();
    let ready = vm.wait_for(&["GUEST-READY", row.gives_up]);
    let after_time = begun.elapsed();
    println!(
        "| {} | {:.0} s: `{}` | {:.0} s, {} edits: {} | {:.0} s: `{}` |",
        row.name,
        before_time.as_secs_f64(),
        before,
        convert_time.as_secs_f64(),
        edits.len(),
        ids.join(", "),
        after_time.as_secs_f64(),
        ready
    );
    assert!(ready.starts_with("GUEST-READY"), "{}: {ready}", row.name);
    let word = |key: &str| {
        let value = ready.split_whitespace().find_map(|word| word.strip_prefix(key).map(str::to_owned));
        value.unwrap_or_default()
    };
    assert!(word("root=").starts_with(row.root), "{ready}");
    assert_eq!(word("nics="), "ens3", "the adapter keeps its name: {ready}");
    assert!(word("address=").contains("ens3=10.0.9.15/24"), "{ready}");
    assert_eq!(word("gateway="), "10.0.9.2", "{ready}");
    assert!(ready.contains("console=ttyS0") && ready.contains("rootdelay=4"), "the command line is kept: {ready}");
    assert_eq!(vm.answer(), row.name, "the machine answers on its static address");
}

/// Rows that take a package download or minutes of their own.
fn only_when_long(row: &Row) {
    match std::env::var_os("REPLANT_TEST_LONG") {
        Some(_) => prove(row),
        None => println!("{}: runs with REPLANT_TEST_LONG=1", row.name),
    }
}

#[test]
fn debian_12_bios_ext4_grub_ifupdown() {
    prove(&Row {
        name: "deb12-ext4",
        tree: BOOKWORM,
        options: &["net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
    });
}

#[test]
fn debian_12_uefi_vendor_path_lvm_xfs_networkd() {
    only_when_long(&Row {
        name: "deb12-uefi-lvm",
        tree: BOOKWORM,
        options: &["firmware=uefi", "layout=lvm", "fs=xfs", "net=networkd"],
        disks: 1,
        gives_up: ">>Start PXE",
        root: "/dev/mapper/vg0-root",
    });
}

#[test]
fn debian_12_bios_raid_1_ext4_netplan() {
    prove(&Row {
        name: "deb12-raid",
        tree: BOOKWORM,
        options: &["layout=raid", "net=netplan"],
        disks: 2,
        gives_up: "ALERT!",
        root: "/dev/md",
    });
}

#[test]
fn debian_12_bios_extlinux_network_manager() {
    only_when_long(&Row {
        name: "deb12-extlinux",
        tree: BOOKWORM,
        options: &["loader=extlinux", "net=networkmanager"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
    });
}

#[test]
fn debian_12_bios_btrfs_subvolume_networkd() {
    only_when_long(&Row {
        name: "deb12-btrfs",
        tree: BOOKWORM,
        options: &["fs=btrfs", "net=networkd"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
    });
}

#[test]
fn debian_12_bios_lvm_ext4_network_manager() {
    only_when_long(&Row {
        name: "deb12-lvm",
        tree: BOOKWORM,
        options: &["layout=lvm", "net=networkmanager"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/mapper/vg0-root",
    });
}

#[test]
fn debian_12_bios_ext4_dracut_networkd() {
    only_when_long(&Row {
        name: "deb12-dracut",
        tree: ["bookworm", "cloud", "dracut"],
        options: &["net=networkd"],
        disks: 1,
        gives_up: "does not exist",
        root: "/dev/vda1",
    });
}

#[test]
fn debian_13_bios_ext4_networkd() {
    only_when_long(&Row {
        name: "deb13-ext4",
        tree: ["trixie", "cloud", "initramfs-tools"],
        options: &["net=networkd"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
    });
}

#[test]
fn debian_12_generic_kernel_xfs_ifupdown() {
    only_when_long(&Row {
        name: "deb12-generic",
        tree: ["bookworm", "generic", "initramfs-tools"],
        options: &["fs=xfs", "net=ifupdown"],
        disks: 1,
        gives_up: "ALERT!",
        root: "/dev/vda1",
    });
}

/// The folder of a UEFI machine whose root lies on a volume: for tests that move it as a machine of metal.
pub fn uefi_lvm_machine() -> PathBuf {
    require_root();
    agent(&TestSite::new());
    source(&Row {
        name: "deb12-uefi-lvm",
        tree: BOOKWORM,
        options: &["firmware=uefi", "layout=lvm", "fs=xfs", "net=networkd"],
        disks: 1,
        gives_up: "",
        root: "",
    })
}
