//! A machine of the guest matrix: its source disks, built once from packages, and a VM of the target's hardware with copies.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::{TestSite, require_root, require_tool};

/// A machine of the matrix.
pub(super) struct Row {
    /// The machine's name, also its answer over the network.
    pub(super) name: &'static str,
    /// Suite, kernel and initramfs tool of its root file system.
    pub(super) tree: [&'static str; 3],
    /// What `make-guest.sh` is told.
    pub(super) options: &'static [&'static str],
    /// Number of disks.
    pub(super) disks: usize,
    /// What the console shows when the unconverted copy gives up.
    pub(super) gives_up: &'static str,
    /// The device that must be the root in the end.
    pub(super) root: &'static str,
    /// What else the row shows.
    pub(super) also: &'static [Also],
}

/// What a row shows besides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Also {
    /// The untouched source boots on AHCI and e1000.
    SourceBoots,
    /// Scripts of the user's own run offline and at the first boot.
    Scripts,
    /// Its root is encrypted: the conversion has the key by reference, and at the start somebody types the passphrase.
    Encrypted,
    /// The guest's own tool makes its initramfs anew.
    Rebuilt,
}

impl Row {
    /// Whether the target's firmware is UEFI.
    pub(super) fn is_uefi(&self) -> bool {
        self.options.contains(&"firmware=uefi")
    }
}

pub(super) const BOOKWORM: [&str; 3] = ["bookworm", "cloud", "initramfs-tools"];

/// The container of an encrypted root, and its passphrase: as `make-guest.sh` makes them.
pub(super) const CONTAINER: &str = "44444444-aaaa-4bbb-8ccc-0123456789ab";
const PASSPHRASE: &str = "secret";

/// Longest wait for a console; a machine under emulation that shares its processor with others takes minutes.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// What a machine that is up says of itself.
pub(super) const READY: &str = "GUEST-READY host=";

const START: &str = r#"#!/bin/sh
# The target's hardware: virtio disks, and for `run` a virtio adapter on another slot than the source's.
set -eu
cd "${0%/*}"
mode=$1
shift
case $mode in
  agent) set -- -kernel "$1" -initrd "$2" -append "$3" -netdev user,id=n,ipv6=off \
         -device virtio-net-pci,netdev=n,romfile= -device virtio-rng-pci ;;
  source) set -- -netdev "user,id=n,ipv6=off,net=10.0.9.0/24" -device e1000,netdev=n,addr=3,romfile= -device ahci,id=ahci ;;
  run) set -- -netdev "user,id=n,ipv6=off,net=10.0.9.0/24,dhcpstart=10.0.9.100,hostfwd=tcp:127.0.0.1:$1-10.0.9.15:80" \
         -device virtio-net-pci,netdev=n,addr=9,romfile=,mac=52:54:00:12:34:56 ;;
esac
if [ "$mode" != agent ] && [ -f efivars.fd ]; then
  set -- "$@" -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
    -drive if=pflash,format=raw,unit=1,file=efivars.fd
fi
number=0
driver=virtio-blk-pci
[ "$mode" != source ] || driver=ide-hd
for disk in disk?.qcow2; do
  set -- "$@" -drive "if=none,id=d$number,format=qcow2,file=$disk,cache=unsafe" \
    -device "$driver,drive=d$number,serial=disk$number$([ "$mode" != source ] || echo ",bus=ahci.$number")"
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

fn agent_folder() -> PathBuf {
    cache().join("matrix/agent")
}

fn agent(site: &TestSite) {
    let folder = agent_folder();
    fs::create_dir_all(&folder).expect("folders can be made");
    let lock = File::create(cache().join("agent.lock")).expect("a lock file can be made");
    lock.lock().expect("the lock can be taken");
    let words = ["agent", "build", "--out", folder.to_str().expect("a text")];
    let output = site.command(&words).env("REPLANT_CACHE", cache().join("agent")).output().expect("replant starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
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
pub(super) struct Vm<'a> {
    site: &'a TestSite,
    row: &'a Row,
    source: PathBuf,
    port: u16,
}

impl<'a> Vm<'a> {
    /// A VM folder with copies of the row's disks, which share what they do not change with them.
    pub(super) fn new(site: &'a TestSite, row: &'a Row) -> Self {
        require_root();
        for (tool, package) in
            [("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils"), ("mmdebstrap", "mmdebstrap")]
        {
            require_tool(tool, package);
        }
        agent(site);
        site.write("vm/start.sh", START);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port();
        let vm = Self { site, row, source: source(row), port };
        vm.fresh_disks();
        vm
    }

    /// Copies of the source's disks as they are.
    pub(super) fn fresh_disks(&self) {
        for number in 0..self.row.disks {
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                .arg(self.source.join(format!("disk{number}.qcow2")))
                .arg(self.site.join(format!("vm/disk{number}.qcow2")))
                .status()
                .expect("qemu-img runs");
            assert!(made.success());
        }
    }

    /// Variables of the firmware as a new machine has them.
    pub(super) fn fresh_nvram(&self) {
        if self.row.is_uefi() {
            fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", self.site.join("vm/efivars.fd")).expect("Debian package ovmf");
        }
    }

    /// Converts its disks in the agent; what is said in JSON, and the time that it took.
    pub(super) fn convert(&self, before: &str, after: &str) -> (serde_json::Value, Duration) {
        let firmware = if self.row.is_uefi() { "uefi" } else { "bios" };
        let initramfs = if self.row.also.contains(&Also::Rebuilt) { "rebuild" } else { "auto" };
        self.site.write(
            "sequence.xml",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
                 <sequence xmlns=\"urn:replant:sequence:1\" id=\"{0}\" description=\"{0}\">\n\
                 <step id=\"detect\" command=\"guest.detect\"/>\n{before}\
                 <step id=\"convert\" command=\"guest.convert\"><parameter name=\"firmware\">{firmware}</parameter>\
                 <parameter name=\"initramfs\">{initramfs}</parameter>\
                 <parameter name=\"nic\">52:54:00:12:34:56</parameter></step>\n{after}\
                 <step id=\"flush\" command=\"disk.flush\"/>\n</sequence>\n",
                self.row.name
            ),
        );
        let begun = Instant::now();
        let folder = agent_folder();
        let mut words = vec!["--json", "guest", "convert", "--machine", self.row.name, "--vm-folder", "vm"];
        words.extend(["--agent", folder.to_str().expect("a text"), "--sequence", "sequence.xml"]);
        let key = format!("{CONTAINER}=file:passphrase");
        if self.row.also.contains(&Also::Encrypted) {
            self.site.write("passphrase", PASSPHRASE);
            words.extend(["--luks-key", &key]);
        }
        let converted = self.site.replant(&words);
        if converted.code != 0 {
            panic!("{}: {}\n{}", self.row.name, converted.stderr, self.console());
        }
        (serde_json::from_str(&converted.stdout).expect("the report is JSON"), begun.elapsed())
    }

    pub(super) fn start(&self, mode: &str) {
        let script = self.site.join("vm/start.sh");
        let output = Command::new("sh").arg(script).args([mode, &self.port.to_string()]).output().expect("sh runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until its initramfs asks for the passphrase, and types it on the serial console.
    pub(super) fn unlock(&self) {
        let begun = Instant::now();
        while !self.console().contains("Please unlock disk cryptroot") {
            let console = self.console();
            let tail: Vec<&str> = console.lines().rev().take(15).collect();
            assert!(begun.elapsed() < PATIENCE, "nobody asked for a passphrase (last line first): {tail:#?}");
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut keyboard = UnixStream::connect(self.site.join("vm/console.sock")).expect("QEMU listens");
        keyboard.write_all(format!("{PASSPHRASE}\r").as_bytes()).expect("it is typed");
    }

    pub(super) fn stop(&self) {
        self.site.replant(&["vm", "stop", "--folder", "vm", "--force"]);
    }

    pub(super) fn console(&self) -> String {
        let bytes = fs::read(self.site.join("vm/console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for one of the texts; the line it stands on, from the text on.
    pub(super) fn wait_for(&self, texts: &[&str]) -> String {
        self.watch(texts, PATIENCE).unwrap_or_else(|| {
            let console = self.console();
            let tail: Vec<&str> = console.lines().rev().take(15).collect();
            panic!("none of {texts:?} came; the console ends with (last line first) {tail:#?}")
        })
    }

    /// The same; none if nothing comes for so long.
    pub(super) fn watch(&self, texts: &[&str], patience: Duration) -> Option<String> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            let console = self.console();
            // A line that is not ended yet may go on.
            let complete = &console[..console.rfind('\n').map_or(0, |at| at + 1)];
            for text in texts {
                let found = complete.lines().find_map(|line| line.find(text).map(|at| line[at..].trim().to_owned()));
                if found.is_some() {
                    return found;
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        None
    }

    /// The source's first disk.
    pub(super) fn source_disk(&self) -> PathBuf {
        self.source.join("disk0.qcow2")
    }

    /// What the machine answers on port 80 of its static address.
    pub(super) fn answer(&self) -> String {
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

/// The value of a word such as `root=/dev/vda1` in what a machine says of itself.
pub(super) fn word(ready: &str, key: &str) -> String {
    let value = ready.split_whitespace().find_map(|word| word.strip_prefix(key).map(str::to_owned));
    value.unwrap_or_default()
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
        also: &[],
    })
}
