//! How fast a disk comes over a network: by the agent, by `nc` and by `ssh dd`, from the same emulated machine over the same
//! link, by turns. A table for docs/benchmarks.md; nothing is asserted about speed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::lab::{Ends, agent, noise, sent, tail, wait_for};
use crate::common::TestSite;
use crate::netboot::BootLab;
use crate::remote::guest::{Guest, Shell, running_guest};

const MAC: &str = "52:54:00:70:32:84";
const ADDRESS: &str = "10.77.0.60";
/// Three of four are noise, one is zeros.
const MIB: usize = 256;
const ROUNDS: usize = 3;
const TAP: &str = "tap,id=n,ifname=tap0,script=no,downscript=no";

struct Bench {
    lab: BootLab,
    site: TestSite,
    disk: PathBuf,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    wall: f64,
    cpu: f64,
    wire: u64,
}

/// Processor seconds that the emulator of a machine has taken.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the machine is on");
    let (_, fields) = stat.rsplit_once(')').expect("the program's name is in brackets");
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    // The kernel counts in hundredths for programs, whatever its own clock is.
    ticks as f64 / 100.0
}

impl Bench {
    /// Times something that moves the disk, and counts what the machine has put on the wire.
    fn time(&mut self, name: &'static str, machine: u32, work: impl FnOnce(&Self)) {
        let (wire, cpu, begun) = (sent(&self.lab, "tap0"), processor(machine), Instant::now());
        work(self);
        let (wall, cpu) = (begun.elapsed().as_secs_f64(), processor(machine) - cpu);
        let wire = sent(&self.lab, "tap0") - wire;
        println!("{name}: {wall:.1} s, {cpu:.1} s of the machine's processor, {wire} bytes on the wire");
        self.rows.push(Row { name, wall, cpu, wire });
    }

    fn same(&self, copy: &Path) {
        let same = Command::new("cmp").arg(&self.disk).arg(copy).status().expect("cmp runs").success();
        assert!(same, "{} is the disk", copy.display());
        std::fs::remove_file(copy).expect("our own copy can be removed");
    }

    fn by_linux(&mut self) {
        let console = self.site.join("linux.log");
        let drive = format!("file={},format=raw", self.disk.display());
        let mut qemu = BootLab::inside(self.lab.namespace(), "qemu-system-x86_64");
        let guest = Guest::start(&mut qemu, TAP, MAC, &drive, "BENCH", &console, &format!("address={ADDRESS}/24"));
        let shell = Shell::new(&self.site, ADDRESS, 22, Some(self.lab.namespace().to_owned()));
        shell.wait(&console);
        // Its services come to rest.
        std::thread::sleep(Duration::from_secs(10));
        let copy = self.site.join("copy.raw");
        let read = "dd if=/dev/vda bs=1M iflag=direct status=none";
        self.time("nc", guest.id(), |bench| {
            let file = File::create(&copy).expect("a file");
            let mut listen = BootLab::inside(bench.lab.namespace(), "busybox");
            let listen = listen.args(["nc", "-l", "-p", "9000"]).stdout(file).stdin(Stdio::null()).spawn();
            let mut listen = Ends(listen.expect("busybox runs"));
            std::thread::sleep(Duration::from_millis(300));
            shell.run(&format!("{read} | nc -N 10.77.0.1 9000"));
            listen.0.wait().expect("it ends");
        });
        self.same(&copy);
        self.time("ssh dd", guest.id(), |bench| {
            let mut ssh = BootLab::inside(bench.lab.namespace(), "ssh");
            ssh.args(["-o", "BatchMode=yes", "-o", &format!("UserKnownHostsFile={}", shell.known_hosts.display())]);
            ssh.arg("-i").arg(&shell.key).arg(format!("root@{ADDRESS}")).arg(read);
            let status = ssh.stdin(Stdio::null()).stdout(File::create(&copy).expect("a file")).status();
            assert!(status.expect("ssh runs").success());
        });
        self.same(&copy);
        shell.try_run("(sleep 1; systemctl poweroff) >/dev/null 2>&1 &");
        guest.goes_off();
    }

    fn by_agent(&mut self, agent: &Path, port: u16) {
        let _ = std::fs::remove_dir_all(self.site.join("store"));
        let order = ["device", "boot-agent", "web01", "--order", &format!("https://10.77.0.1:{port}")];
        let order = self.site.replant(&order).expect(0).stdout;
        let console = self.site.join("agent.log");
        let mut qemu = BootLab::inside(self.lab.namespace(), "qemu-system-x86_64");
        qemu.args(["-machine", "pc", "-accel", "tcg,tb-size=256", "-cpu", "qemu64", "-m", "2048", "-smp", "1"]);
        qemu.args(["-display", "none", "-monitor", "none", "-no-reboot", "-netdev", TAP]);
        qemu.args(["-device", &format!("virtio-net-pci,netdev=n,mac={MAC}")]);
        qemu.args(["-drive", &format!("file={},format=raw,if=none,id=d,cache=unsafe", self.disk.display())]);
        qemu.args(["-device", "virtio-blk-pci,drive=d,serial=BENCH"]);
        qemu.arg("-kernel").arg(agent.join("vmlinuz")).arg("-initrd").arg(agent.join("agent.img"));
        qemu.args(["-append", &format!("{} console=ttyS0 quiet no_timer_check mitigations=off", order.trim())]);
        qemu.arg("-serial").arg(format!("file:{}", console.display())).stdin(Stdio::null());
        let machine = Ends(qemu.spawn().expect("QEMU starts"));
        let shown = || String::from_utf8_lossy(&std::fs::read(&console).unwrap_or_default()).into_owned();
        wait_for(|| shown().contains("waiting for work"), || format!("no agent:\n{}", tail(&shown())));
        std::thread::sleep(Duration::from_secs(3));
        let size = (MIB << 20).to_string();
        for (name, more) in [
            ("agent, compressed", &[][..]),
            ("agent, all known", &["--identity", "again"][..]),
            ("agent, not compressed", &["--store", "plain", "--no-compression"][..]),
        ] {
            let identity = if more.contains(&"--identity") { &[][..] } else { &["--identity", "bench"][..] };
            let store = if more.contains(&"--store") { &[][..] } else { &["--store", "store"][..] };
            let key = ["--key", "file:.replant/store.key"];
            let words = ["device", "capture", "web01", "--machine", "web01", "--disk", "disk0", "--size", &size];
            let words = [&words[..], identity, store, &key, more].concat();
            self.time(name, machine.0.id(), |bench| {
                bench.site.replant(&words).expect(0);
            });
        }
        let _ = std::fs::remove_dir_all(self.site.join("plain"));
        drop(machine);
    }
}

#[test]
#[ignore = "a benchmark: cargo test --test integration -- --ignored --nocapture p2v::throughput"]
fn agent_beside_nc_and_ssh_dd_over_the_same_link() {
    let (mut lab, site, agent) = (BootLab::new(), TestSite::new(), agent());
    running_guest();
    let disk = site.join("bench.raw");
    noise(&disk, MIB, b"a disk to be moved");
    let mut dnsmasq = BootLab::inside(lab.namespace(), "dnsmasq");
    dnsmasq.args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--no-ping"]);
    dnsmasq.args(["--dhcp-range=10.77.0.100,10.77.0.200,1h", "--leasefile-ro", "--user=root"]).stderr(Stdio::null());
    lab.keep(dnsmasq);
    site.replant(&["init", "."]).expect(0);
    site.replant(&["device", "add", "--name", "web01", "--mac", MAC]).expect(0);
    let port = 7443;
    let mut serve = BootLab::inside(lab.namespace(), env!("CARGO_BIN_EXE_replant"));
    serve.args(["serve", "--bind", &format!("10.77.0.1:{port}")]).current_dir(site.path());
    let log = File::create(site.join("serve.log")).expect("a log");
    serve.stdout(log.try_clone().expect("it is shared")).stderr(log).stdin(Stdio::null());
    let _serve = Ends(serve.spawn().expect("replant starts"));
    let socket = site.join(".replant/controller.sock");
    wait_for(|| std::os::unix::net::UnixStream::connect(&socket).is_ok(), || site.read("serve.log"));
    let mut bench = Bench { lab, site, disk, rows: Vec::new() };
    for _ in 0..ROUNDS {
        bench.by_linux();
        bench.by_agent(&agent, port);
    }
    println!(
        "| way | wall s, median of {ROUNDS} | machine's CPU s, median | MB/s of disk | MB on the wire |\n|---|---|---|---|---|"
    );
    for name in ["nc", "ssh dd", "agent, not compressed", "agent, compressed", "agent, all known"] {
        let runs: Vec<&Row> = bench.rows.iter().filter(|row| row.name == name).collect();
        let sorted = |value: fn(&Row) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(|row| value(row)).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (wall, cpu) = (sorted(|row| row.wall), sorted(|row| row.cpu));
        let (took, wire) = (wall[wall.len() / 2], runs[0].wire as f64 / 1e6);
        let all: Vec<String> = wall.iter().map(|took| format!("{took:.1}")).collect();
        let rate = (MIB << 20) as f64 / 1e6 / took;
        println!("| {name} | {took:.1} ({}) | {:.1} | {rate:.1} | {wire:.1} |", all.join(", "), cpu[cpu.len() / 2]);
    }
}
