//! dnsmasq: its files, and its process, which is started again when it ends and stopped with the service.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::interface::BootInterface;
use super::probe::probe_mac;
use super::script::dnsmasq_configuration;
use super::settings::DhcpMode;
use crate::hardware::MacAddress;
use crate::render::RenderError;

const PREFIX: &str = "replant-netboot-";
/// The first stage for BIOS and for UEFI.
const FIRST_STAGE: [&str; 2] = ["undionly.kpxe", "snponly.efi"];
/// Where Debian has it.
const IPXE: &str = "/usr/lib/ipxe";
const PLACES: [&str; 3] = ["/usr/sbin/dnsmasq", "/sbin/dnsmasq", "/usr/local/sbin/dnsmasq"];
/// How long it may take to end when asked.
const ENDING: Duration = Duration::from_secs(5);
/// Lines of its log that an error quotes.
const LAST_WORDS: usize = 6;

/// Why dnsmasq does not serve.
#[derive(Debug, thiserror::Error)]
pub enum DnsmasqError {
    /// It is not installed.
    #[error("dnsmasq is not installed: install the Debian package dnsmasq-base")]
    NotInstalled,
    /// iPXE is not installed.
    #[error("{path} is missing: install the Debian package ipxe")]
    NoIpxe {
        /// The missing file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The configuration cannot say a value.
    #[error(transparent)]
    Configuration(#[from] RenderError),
    /// Another process of an earlier run cannot be ended.
    #[error("dnsmasq of an earlier run (process {pid}) does not end")]
    Leftover {
        /// The process.
        pid: i32,
    },
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> DnsmasqError {
    let path = path.to_owned();
    move |error| DnsmasqError::Io { path, error }
}

/// Its folder of files; world-readable, because dnsmasq gives up its privileges, and without a secret.
pub(super) struct DnsmasqFiles {
    folder: tempfile::TempDir,
    program: PathBuf,
    pid_file: PathBuf,
}

impl DnsmasqFiles {
    /// Writes them. `state` keeps the process's number, so that a later run can end what this one may leave behind.
    pub(super) fn write(
        interface: &BootInterface,
        mode: &DhcpMode,
        http: u16,
        state: &Path,
    ) -> Result<Self, DnsmasqError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join("dnsmasq"))
            .chain(PLACES.map(PathBuf::from))
            .find(|path| path.is_file())
            .ok_or(DnsmasqError::NotInstalled)?;
        fs::create_dir_all(state).map_err(io_at(state))?;
        let pid_file = state.join("dnsmasq.pid");
        end_leftover(&pid_file)?;
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .map_err(io_at(&std::env::temp_dir()))?;
        let tftp = folder.path().join("tftp");
        fs::create_dir(&tftp).map_err(io_at(&tftp))?;
        for name in FIRST_STAGE {
            let from = Path::new(IPXE).join(name);
            if !from.is_file() {
                return Err(DnsmasqError::NoIpxe { path: from });
            }
            fs::copy(&from, tftp.join(name)).map_err(io_at(&tftp.join(name)))?;
        }
        let files = Self { folder, program, pid_file };
        let (first, last) = match mode {
            DhcpMode::Dhcp { first, last } => (first.to_string(), last.to_string()),
            DhcpMode::Proxy => (String::new(), String::new()),
        };
        let configuration = dnsmasq_configuration(json!({
            "interface": interface.name,
            "user": if rustix::process::geteuid().is_root() { "nobody" } else { "root" },
            "pid_file": files.pid_file.display().to_string(),
            "lease_file": files.path("leases").display().to_string(),
            "hosts_file": files.path("hosts").display().to_string(),
            "tftp_root": tftp.display().to_string(),
            "address": interface.address.to_string(),
            "site": format!("{}:{http}", interface.address),
            "proxy": *mode == DhcpMode::Proxy,
            "network": interface.network().to_string(),
            "mask": interface.mask().to_string(),
            "first": first,
            "last": last,
        }))?;
        let path = files.path("dnsmasq.conf");
        fs::write(&path, configuration).map_err(io_at(&path))?;
        files.write_hosts(&BTreeSet::new())?;
        Ok(files)
    }

    /// The list of adapters that get an answer; the probe's is always there.
    pub(super) fn write_hosts(&self, macs: &BTreeSet<MacAddress>) -> Result<(), DnsmasqError> {
        let mut text = format!("{},set:probe\n", probe_mac());
        for mac in macs {
            text.push_str(&format!("{mac},set:device\n"));
        }
        let (path, fresh) = (self.path("hosts"), self.path("hosts.new"));
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).map_err(io_at(&path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Ends the process of a run that was killed before it could end it. Only one that really is ours.
fn end_leftover(pid_file: &Path) -> Result<(), DnsmasqError> {
    let Some(number) = fs::read_to_string(pid_file).ok().and_then(|text| text.trim().parse::<i32>().ok()) else {
        return Ok(());
    };
    let Some(pid) = Pid::from_raw(number) else { return Ok(()) };
    let ours = || {
        let words = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("dnsmasq") && words.contains(PREFIX)
    };
    for attempt in 0..50 {
        if !ours() {
            return Ok(());
        }
        // Gone in between is what we want.
        let _ = kill_process(pid, if attempt < 30 { Signal::TERM } else { Signal::KILL });
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(DnsmasqError::Leftover { pid: number })
}

/// The watched process.
pub(super) struct Dnsmasq {
    pub(super) files: DnsmasqFiles,
    pid: Arc<AtomicU32>,
    words: Arc<Mutex<VecDeque<String>>>,
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
}

impl Dnsmasq {
    /// Starts it and watches it; must be called within a runtime.
    pub(super) fn start(files: DnsmasqFiles) -> Self {
        let (pid, words) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(VecDeque::new())));
        let (stop, stopped) = watch::channel(false);
        let watched =
            watch_over(files.program.clone(), files.path("dnsmasq.conf"), pid.clone(), words.clone(), stopped);
        Self { files, pid, words, stop, ended: tokio::spawn(watched) }
    }

    /// Its process, if it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// What it said last.
    pub(super) fn last_words(&self) -> String {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().cloned().collect::<Vec<_>>().join("; ")
    }

    /// Has it read the list of adapters again.
    pub(super) fn reread(&self) {
        let pid = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, Signal::HUP)
        {
            tracing::warn!(%error, "dnsmasq could not be told to read its list again");
        }
    }

    /// Stops it and waits for its end.
    pub(super) async fn stop(self) {
        let _ = self.stop.send(true);
        if self.ended.await.is_err() {
            tracing::warn!("the task that watches dnsmasq was cut off");
        }
        let _ = fs::remove_file(&self.files.pid_file);
    }
}

async fn watch_over(
    program: PathBuf,
    configuration: PathBuf,
    pid: Arc<AtomicU32>,
    words: Arc<Mutex<VecDeque<String>>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = Duration::from_secs(1);
    loop {
        let mut command = Command::new(&program);
        command.arg("--keep-in-foreground").arg(format!("--conf-file={}", configuration.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        match command.spawn() {
            Err(error) => note(&words, format!("it cannot be started: {error}")),
            Ok(mut child) => {
                pid.store(child.id().unwrap_or(0), Ordering::Relaxed);
                let log = child.stderr.take().map(|log| tokio::spawn(follow(log, words.clone())));
                let begun = std::time::Instant::now();
                tokio::select! {
                    status = child.wait() => {
                        pid.store(0, Ordering::Relaxed);
                        note(&words, match status {
                            Ok(status) => format!("it ended with {status}"),
                            Err(error) => format!("it cannot be waited for: {error}"),
                        });
                    }
                    _ = stop.changed() => {
                        end(&mut child).await;
                        pid.store(0, Ordering::Relaxed);
                    }
                }
                if let Some(log) = log {
                    let _ = tokio::time::timeout(Duration::from_secs(1), log).await;
                }
                if begun.elapsed() > Duration::from_secs(60) {
                    pause = Duration::from_secs(1);
                }
            }
        }
        if *stop.borrow() {
            return;
        }
        tracing::warn!("dnsmasq does not run; it is started again in {pause:?}");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => return,
        }
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        let _ = kill_process(pid, Signal::TERM);
    }
    if tokio::time::timeout(ENDING, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

async fn follow(log: impl AsyncRead + Unpin, words: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::debug!(target: "dnsmasq", "{line}");
        // The lines that tell why it ends name no protocol.
        if line.starts_with("dnsmasq:") || line.starts_with("dnsmasq[") {
            note(&words, line);
        }
    }
}

fn note(words: &Mutex<VecDeque<String>>, line: String) {
    let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
    words.push_back(line);
    while words.len() > LAST_WORDS {
        words.pop_front();
    }
}
