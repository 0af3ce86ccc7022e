//! The private network, the machines on it, and `replant apply` in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::TestSite;
use crate::end_to_end::run;
use crate::netboot::{Bmc, BootLab, shell};

/// Longest wait for anything: six machines at once on an overloaded host.
pub const PATIENCE: Duration = Duration::from_secs(900);
/// The plan's section for the network of [`BootLab`].
pub const NETBOOT: &str = "netboot: { interface: br0, range: 10.77.0.100-10.77.0.200, console: ttyS0 }\n";

fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end")
}

/// The agent with every driver, built once for all tests and processes.
pub fn agent() -> PathBuf {
    let packages = cache().join("agent");
    std::fs::create_dir_all(&packages).expect("the cache folder can be made");
    let lock = File::create(packages.join("lock")).expect("the lock file can be made");
    lock.lock().expect("the lock can be taken");
    let out = cache().join("generic-agent");
    let site = TestSite::new();
    let mut build = site.command(&["agent", "build", "--flavour", "generic", "--out"]);
    run(build.arg(&out).env("REPLANT_CACHE", &packages));
    out
}

/// Puts the agent where a plan's own run would build it: the run finds it up to date.
pub fn bring_agent(site: &TestSite) {
    let (from, to) = (agent(), site.join(".replant/agent"));
    std::fs::create_dir_all(to.parent().expect("it lies in a folder")).expect("folders can be made");
    run(Command::new("cp").arg("-r").arg(from).arg(to));
}

/// A disk with noise that no compression helps against, and with holes.
pub fn noise(path: &Path, mib: usize, seed: &[u8]) {
    use std::io::Write as _;
    let mut file = File::create(path).expect("the disk can be made");
    let mut noise = blake3::Hasher::new().update(seed).finalize_xof();
    let mut chunk = vec![0; 1 << 20];
    for index in 0..mib {
        match index % 4 {
            3 => chunk.fill(0),
            _ => noise.fill(&mut chunk),
        }
        file.write_all(&chunk).expect("the disk can be written");
    }
}

/// A digest of files that must not change.
pub fn digest(paths: &[&Path]) -> String {
    run(Command::new("b2sum").args(paths))
}

/// A process that ends when this is dropped.
pub struct Ends(pub Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a machine is made of.
pub struct Chassis<'a> {
    /// Its serial number, on its badge and in its firmware.
    pub serial: &'a str,
    /// Its adapter.
    pub mac: &'a str,
    /// Where that is plugged in.
    pub tap: &'a str,
    /// Whether it has UEFI.
    pub uefi: bool,
    /// Its disks, as QEMU names them, each with its serial number.
    pub disks: &'a [(String, &'a str)],
}

/// A machine that is on. Its power is cut when this is dropped.
pub struct Metal {
    child: Child,
    console: PathBuf,
}

impl Chassis<'_> {
    /// Switches it on: it boots from its adapter, then from its first disk.
    pub fn power_on(&self, lab: &BootLab, site: &TestSite) -> Metal {
        let words = self.words(site);
        let mut command = BootLab::inside(lab.namespace(), &words[0]);
        let child = command.args(&words[1..]).stdin(Stdio::null()).spawn().expect("QEMU starts");
        Metal { child, console: self.console(site) }
    }

    /// Puts it behind a management controller, which switches it by `machine.sh`: off, and set to boot from its first disk.
    pub fn behind_controller(&self, lab: &BootLab, site: &TestSite) -> Managed {
        let quoted = |word: &String| format!("'{word}'");
        let network = self.words(site).iter().map(quoted).collect::<Vec<_>>().join(" ");
        // The disks go before the adapter.
        let disk = network.replace("bootindex=1'", "bootindex=9'");
        assert_ne!(network, disk);
        site.write("machine.sh", MACHINE.replace("NETWORK", &network).replace("DISK", &disk));
        run(Command::new("chmod").arg("755").arg(site.join("machine.sh")));
        let bmc = Bmc::start(site, Some(lab.namespace()));
        Managed { bmc, script: site.join("machine.sh"), console: self.console(site) }
    }

    fn console(&self, site: &TestSite) -> PathBuf {
        site.join(format!("{}.log", self.serial))
    }

    /// The program and its arguments.
    fn words(&self, site: &TestSite) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
        add(&["qemu-system-x86_64", "-machine", "q35,graphics=off", "-accel", "tcg,tb-size=256", "-cpu", "qemu64"]);
        add(&["-m", "512", "-nodefaults", "-display", "none", "-device", "i6300esb", "-action", "watchdog=reset"]);
        add(&["-smbios", &format!("type=1,manufacturer=ACME,product=Server,serial={}", self.serial)]);
        add(&["-uuid", &uuid(self.serial)]);
        add(&["-netdev", &format!("tap,id=n,ifname={},script=no,downscript=no", self.tap)]);
        add(&["-device", &format!("e1000,netdev=n,mac={},bootindex=1", self.mac)]);
        if self.uefi {
            let variables = site.join(format!("{}-vars.fd", self.serial));
            std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).expect("UEFI: apt-get install ovmf");
            add(&["-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd"]);
            add(&["-drive", &format!("if=pflash,format=raw,unit=1,file={}", variables.display())]);
        }
        for (number, (file, serial)) in self.disks.iter().enumerate() {
            add(&["-drive", &format!("file={file},format=raw,if=none,id=hd{number},cache=unsafe")]);
            let order = number + 2;
            let drive = format!("ide-hd,bus=ide.{number},drive=hd{number},serial={serial},bootindex={order}");
            add(&["-device", &drive]);
        }
        add(&["-serial", &format!("file:{}", self.console(site).display())]);
        words
    }
}

/// `machine.sh on|off|boot n|boot c|state`: what a management controller does to its machine.
const MACHINE: &str = r#"#!/bin/sh
cd "${0%/*}"
alive() { [ -s qemu.pid ] && kill -0 "$(cat qemu.pid)" 2>/dev/null; }
case $1 in
on)
    alive && exit
    echo "on $(cat boot 2>/dev/null || echo c)" >>switched
    case $(cat boot 2>/dev/null) in
    n) NETWORK -daemonize -pidfile qemu.pid ;;
    *) DISK -daemonize -pidfile qemu.pid ;;
    esac
    ;;
off) alive && kill "$(cat qemu.pid)"; while alive; do sleep 0.1; done ;;
boot) echo "$2" >boot ;;
state) if alive; then echo on; else echo off; fi ;;
esac
"#;

/// A machine whose power a management controller switches. It is cut when this is dropped.
pub struct Managed {
    /// The controller.
    pub bmc: Bmc,
    script: PathBuf,
    console: PathBuf,
}

impl Managed {
    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        run(Command::new(&self.script).arg("state")).trim() == "on"
    }

    /// What its console has shown since it was switched on.
    pub fn console(&self) -> String {
        shown(&self.console)
    }
}

impl Drop for Managed {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("off").status();
    }
}

/// What a console has shown.
fn shown(console: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(console).unwrap_or_default()).replace('\0', "")
}

/// A UUID of its own for each serial number.
fn uuid(serial: &str) -> String {
    let hex = blake3::hash(serial.as_bytes()).to_hex();
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

impl Metal {
    /// What its console has shown since it was switched on.
    pub fn console(&self) -> String {
        shown(&self.console)
    }

    /// Waits until its console shows the text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        wait_for(|| self.console().contains(text), || format!("`{text}` is not shown:\n{}", tail(&self.console())));
    }

    /// Pulls the plug.
    pub fn cut_power(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Waits until it has switched itself off.
    #[track_caller]
    pub fn goes_off(mut self) {
        let console = self.console.clone();
        wait_for(
            || self.child.try_wait().expect("it can be looked at").is_some(),
            || format!("the machine stays on:\n{}", tail(&shown(&console))),
        );
    }
}

impl Drop for Metal {
    fn drop(&mut self) {
        // It has gone off by itself if the test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a long text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Looks until it is so.
#[track_caller]
pub fn wait_for(mut so: impl FnMut() -> bool, otherwise: impl Fn() -> String) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{}", otherwise());
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// `replant apply plan.yaml --yes --json` on the boot network; killed if the test ends before it.
pub struct Apply {
    child: Child,
    log: PathBuf,
}

impl Apply {
    /// Starts it. Each has a log of its own.
    pub fn start(lab: &BootLab, site: &TestSite, name: &str) -> Self {
        let log = site.join(format!("{name}.log"));
        let file = File::create(&log).expect("the log can be made");
        let mut command = BootLab::inside(lab.namespace(), env!("CARGO_BIN_EXE_replant"));
        command.args(["apply", "plan.yaml", "--yes", "--json"]).current_dir(site.path());
        command.env("REPLANT_CACHE", cache().join("agent")).env("NO_COLOR", "1").stdin(Stdio::null());
        command.stderr(file.try_clone().expect("the log can be shared")).stdout(file);
        Self { child: command.spawn().expect("replant starts"), log }
    }

    /// Everything that it has said.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The events of one kind, in order: task, and seconds since the first event.
    pub fn events(&self, kind: &str) -> Vec<(String, f64)> {
        let text = self.said();
        let events: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let time = |event: &serde_json::Value| event["time"].as_str()?.parse::<jiff::Timestamp>().ok();
        let first = events.iter().find_map(time);
        let since = |event: &serde_json::Value| Some(time(event)?.duration_since(first?).as_secs_f64());
        let wanted = events.iter().filter(|event| event["type"] == kind);
        let named = |event: &serde_json::Value| event["task"].as_str().unwrap_or_default().to_owned();
        wanted.map(|event| (named(event), since(event).unwrap_or_default())).collect()
    }

    /// The tasks that it has begun, in order.
    pub fn begun(&self) -> Vec<String> {
        self.events("task-started").into_iter().map(|(task, _)| task).collect()
    }

    /// Waits until a task has begun.
    #[track_caller]
    pub fn begins(&mut self, task: &str) {
        wait_for(
            || self.begun().iter().any(|begun| begun == task),
            || format!("{task} does not begin:\n{}", tail(&self.said())),
        );
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn ends(&mut self, metal: &[&Metal]) -> i32 {
        self.ends_beside(&|| metal.iter().map(|metal| metal.console()).collect())
    }

    /// As [`Self::ends`], with what consoles show, for when it does not.
    #[track_caller]
    pub fn ends_beside(&mut self, consoles: &dyn Fn() -> Vec<String>) -> i32 {
        let mut code = None;
        let log = self.log.clone();
        wait_for(
            || {
                code = self.child.try_wait().expect("it can be looked at");
                code.is_some()
            },
            || {
                let consoles: Vec<String> = consoles().iter().map(|console| tail(console)).collect();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                format!("apply does not end:\n{}\n--- consoles\n{}", tail(&said), consoles.join("\n---\n"))
            },
        );
        code.and_then(|code| code.code()).unwrap_or(-1)
    }

    /// Prints how long each task took, for docs/p2v.md.
    pub fn print_times(&self, what: &str) {
        let begun: BTreeMap<String, f64> = self.events("task-started").into_iter().collect();
        for (task, end) in self.events("task-done") {
            if let Some(begin) = begun.get(&task) {
                println!("| {what} | {task} | {:.1} s | at {end:.0} s |", end - begin);
            }
        }
    }
}

impl Drop for Apply {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes of packs: content that has arrived in the store.
pub fn arrived(site: &TestSite) -> u64 {
    let packs = std::fs::read_dir(site.join("store/packs")).into_iter().flatten().flatten();
    packs.filter_map(|pack| Some(pack.metadata().ok()?.len())).sum()
}

/// Waits until so many more bytes have arrived.
#[track_caller]
pub fn arrive(site: &TestSite, more: u64, apply: &Apply, metal: &Metal) {
    let wanted = arrived(site) + more;
    wait_for(
        || arrived(site) >= wanted,
        || {
            let (have, said) = (arrived(site), tail(&apply.said()));
            format!("{have} of {wanted} bytes arrive:\n{said}\n--- console\n{}", tail(&metal.console()))
        },
    );
}

/// Bytes that a machine has put on the wire, everything included.
pub fn sent(lab: &BootLab, tap: &str) -> u64 {
    let counter = format!("cat /sys/class/net/{tap}/statistics/rx_bytes");
    let text = shell(&format!("ip netns exec {} sh -c '{counter}'", lab.namespace()));
    text.trim().parse().expect("a counter is a number")
}
