//! A disk in a format that QEMU knows, served by `qemu-storage-daemon` over a private Unix socket for as long as it is
//! needed. A source's files are opened for reading only, by the daemon, too.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::look::allocation;
use super::nbd::{Connection, Run};
use super::{DiskReader, DiskWriter, Extent, ExtentKind};
use crate::hardware::DiskFormat;
use crate::image::error::{ImageError, Result};

const TOOL: &str = "qemu-storage-daemon";
/// Bytes that a compressed disk is written in.
pub(super) const STREAM_GRAIN: usize = 64 << 10;
const EXPORT: &str = "disk";
/// How long the daemon may take to open a disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which bytes of a file hold the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// What to serve.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service<'a> {
    pub(super) path: &'a Path,
    pub(super) format: DiskFormat,
    /// Part of the file; `None` is all of it.
    pub(super) window: Option<Window>,
    pub(super) writable: bool,
    /// Whether each cluster is written once, compressed, in order.
    pub(super) compress: bool,
}

/// A disk behind a daemon of its own, which goes when this is dropped.
pub(super) struct ServedDisk {
    /// Dropped first: the daemon ends when nobody is connected.
    idle: Mutex<Vec<Connection>>,
    /// The last answer about allocation: where it begins, and its runs.
    known: Mutex<(u64, Vec<Run>)>,
    /// What was allocated at the begin, of a format whose driver does not tell.
    mapped: Option<Vec<Run>>,
    size: u64,
    writable: bool,
    compress: bool,
    daemon: Daemon,
}

struct Daemon {
    child: Child,
    socket: PathBuf,
    _folder: tempfile::TempDir,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The driver's name, which for VHD is that of the product that invented it.
fn driver(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vmdk | DiskFormat::Ova => "vmdk",
        DiskFormat::Vhd => "vpc",
        DiskFormat::Vhdx => "vhdx",
    }
}

fn nodes(service: &Service<'_>, path: &str) -> Vec<String> {
    let mode = if service.writable { "read-only=off,discard=unmap" } else { "read-only=on" };
    let mut nodes = vec![format!("driver=file,node-name=file,{mode},filename={path}")];
    let mut top = "file";
    if let Some(Window { offset, len }) = service.window {
        nodes.push(format!("driver=raw,node-name=window,{mode},file=file,offset={offset},size={len}"));
        top = "window";
    }
    let name = if service.compress { "format" } else { EXPORT };
    nodes.push(format!("driver={},node-name={name},{mode},file={top}", driver(service.format)));
    if service.compress {
        nodes.push(format!("driver=compress,node-name={EXPORT},{mode},file=format"));
    }
    nodes
}

impl ServedDisk {
    /// Starts a daemon and connects to it.
    pub(super) fn start(service: &Service<'_>) -> Result<Self> {
        let path = service.path;
        let unreadable = |why: String| ImageError::Unreadable {
            path: path.to_owned(),
            format: service.format.name(),
            reason: why.lines().last().unwrap_or("qemu-storage-daemon ended").trim().to_owned(),
        };
        if !is_installed(TOOL) {
            return Err(ImageError::MissingTool { tool: TOOL, package: "qemu-system-common" });
        }
        let folder = tempfile::tempdir().map_err(ImageError::file("creating a folder for", path))?;
        let socket = folder.path().join("nbd");
        let absolute = std::fs::canonicalize(path).map_err(ImageError::file("finding", path))?;
        let text = |path: &Path| {
            path.to_str().map(|text| text.replace(',', ",,")).ok_or_else(|| unreadable("its path is not UTF-8".into()))
        };
        // A daemon in a group of its own hears no signal that is meant for us, so that we end at a checkpoint; if we
        // are killed, the kernel ends it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "--", TOOL]);
        for node in nodes(service, &text(&absolute)?) {
            command.arg("--blockdev").arg(node);
        }
        command
            .arg("--nbd-server")
            .arg(format!("addr.type=unix,addr.path={},max-connections=64", text(&socket)?))
            .arg("--export")
            .arg(format!(
                "type=nbd,id=export,node-name={EXPORT},name={EXPORT},writable={}",
                if service.writable { "on" } else { "off" }
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImageError::MissingTool { tool: "setpriv", package: "util-linux" },
            _ => unreadable(error.to_string()),
        })?;
        let mut daemon = Daemon { child, socket, _folder: folder };
        let begun = Instant::now();
        let connection = loop {
            match Connection::open(&daemon.socket, EXPORT) {
                Ok(connection) => break connection,
                // The server listens before the export is there.
                Err(_) if begun.elapsed() < PATIENCE => {}
                Err(error) => return Err(unreadable(format!("no answer after {} s: {error}", PATIENCE.as_secs()))),
            }
            if let Ok(Some(_)) = daemon.child.try_wait() {
                let mut said = String::new();
                if let Some(mut pipe) = daemon.child.stderr.take() {
                    let _ = pipe.read_to_string(&mut said);
                }
                return Err(unreadable(said));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let size = connection.size();
        let mapped = allocation(path, service.format)
            .map(|runs| runs.into_iter().map(|(len, zero)| Run { len, zero }).collect::<Vec<_>>())
            .filter(|runs| runs.iter().map(|run| run.len).sum::<u64>() == size);
        Ok(Self {
            mapped,
            compress: service.compress,
            idle: Mutex::new(vec![connection]),
            known: Mutex::new((0, Vec::new())),
            size,
            writable: service.writable,
            daemon,
        })
    }

    /// Runs a request on a connection that nobody uses. One that failed is not used again.
    fn with<T>(&self, request: impl FnOnce(&mut Connection) -> io::Result<T>) -> io::Result<T> {
        let idle = self.idle.lock().expect("no thread panics while it takes a connection").pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => Connection::open(&self.daemon.socket, EXPORT)?,
        };
        let value = request(&mut connection)?;
        self.idle.lock().expect("no thread panics while it gives a connection back").push(connection);
        Ok(value)
    }

    fn within(&self, offset: u64, len: usize) -> io::Result<()> {
        match offset.checked_add(len as u64).is_some_and(|end| end <= self.size) {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn fresh_extent(&self, offset: u64) -> io::Result<Extent> {
        if let Some(mapped) = &self.mapped {
            let whole = Extent { kind: ExtentKind::Data, end: self.size };
            return Ok(extent(0, mapped, offset).unwrap_or(whole));
        }
        let runs = self.with(|connection| connection.status(offset))?;
        let extent = extent(offset, &runs, offset).unwrap_or(Extent { kind: ExtentKind::Data, end: self.size });
        *self.known.lock().expect("no thread panics while it looks at runs") = (offset, runs);
        Ok(extent)
    }
}

/// The run that covers `offset`, in an answer that begins at `start`.
fn extent(start: u64, runs: &[Run], offset: u64) -> Option<Extent> {
    let mut end = start;
    runs.iter().filter(|_| offset >= start).find_map(|run| {
        end += run.len;
        let kind = if run.zero { ExtentKind::Hole } else { ExtentKind::Data };
        (offset < end).then_some(Extent { kind, end })
    })
}

fn is_installed(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

impl DiskReader for ServedDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.within(offset, buffer.len())?;
        self.with(|connection| connection.read(buffer, offset))
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        // What is written meanwhile changes the answer.
        if !self.writable {
            let known = self.known.lock().expect("no thread panics while it looks at runs");
            if let Some(extent) = extent(known.0, &known.1, offset) {
                return Ok(extent);
            }
        }
        self.fresh_extent(offset)
    }
}

impl DiskWriter for ServedDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn write_at(&self, buffer: &[u8], offset: u64) -> io::Result<()> {
        self.within(offset, buffer.len())?;
        let short = buffer.len() % STREAM_GRAIN;
        if self.compress && short > 0 {
            // The end of the disk; its last grain is written whole.
            let padded = [buffer, &vec![0; STREAM_GRAIN - short]].concat();
            return self.with(|connection| connection.write(&padded, offset));
        }
        self.with(|connection| connection.write(buffer, offset))
    }

    fn zero(&self, offset: u64, len: u64) -> io::Result<()> {
        // Formats without a mark for zeros would write them out: leave alone what reads as zeros already.
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let extent = self.fresh_extent(at)?;
            let stop = extent.end.clamp(at + 1, end);
            if extent.kind == ExtentKind::Data {
                self.with(|connection| connection.zero(at, stop - at, true))?;
            }
            at = stop;
        }
        Ok(())
    }

    fn reserve(&self, offset: u64, len: u64) -> io::Result<()> {
        self.with(|connection| connection.zero(offset, len, false))
    }

    fn read_back(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        DiskReader::read_at(self, buffer, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.with(Connection::flush)
    }
}
