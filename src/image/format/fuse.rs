//! A qcow2 that the library cannot read, served as a raw file by `qemu-storage-daemon` for as long as it is needed.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{DiskReader, Extent, RawDisk};
use crate::image::error::{ImageError, Result};

/// A raw view of a disk; the daemon and its mount point go when it is dropped.
pub(super) struct ServedDisk {
    disk: Option<RawDisk>,
    daemon: Child,
    _folder: tempfile::TempDir,
}

const TOOL: &str = "qemu-storage-daemon";
/// How long the daemon may take to open a disk.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves `path`, read-only. `refusal` is why the library could not.
pub(super) fn serve(path: &Path, refusal: &io::Error) -> Result<ServedDisk> {
    let unreadable = |why: String| ImageError::Unreadable {
        path: path.to_owned(),
        format: "qcow2",
        reason: format!(
            "{refusal}; serving it with qemu-storage-daemon failed, too: {why}. Way out: convert it first, \
             `qemu-img convert -O qcow2 OLD NEW`"
        ),
    };
    let folder = tempfile::tempdir().map_err(ImageError::file("creating a folder for", path))?;
    let point = folder.path().join("disk.raw");
    std::fs::write(&point, b"").map_err(ImageError::file("creating", &point))?;
    let absolute = std::fs::canonicalize(path).map_err(ImageError::file("finding", path))?;
    let text = |path: &Path| {
        path.to_str().map(|text| text.replace(',', ",,")).ok_or_else(|| unreadable("its path is not UTF-8".into()))
    };
    if !is_installed(TOOL) {
        return Err(ImageError::MissingTool { tool: TOOL, package: "qemu-system-common" });
    }
    // A daemon in a group of its own hears no signal that is meant for us, so that we end at a checkpoint; if we are
    // killed, the kernel ends it.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "TERM", "--", TOOL])
        .arg("--blockdev")
        .arg(format!("driver=file,node-name=file,read-only=on,filename={}", text(&absolute)?))
        .args(["--blockdev", "driver=qcow2,node-name=disk,read-only=on,file=file"])
        .arg("--export")
        .arg(format!("type=fuse,id=export,node-name=disk,writable=off,mountpoint={}", text(&point)?))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    let daemon = command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ImageError::MissingTool { tool: "setpriv", package: "util-linux" },
        _ => unreadable(error.to_string()),
    })?;
    let mut served = ServedDisk { disk: None, daemon, _folder: folder };
    let begun = Instant::now();
    loop {
        if let Ok(Some(_)) = served.daemon.try_wait() {
            let mut said = String::new();
            if let Some(mut pipe) = served.daemon.stderr.take() {
                let _ = pipe.read_to_string(&mut said);
            }
            return Err(unreadable(said.trim().to_owned()));
        }
        // The mount shows as another device than the folder's; before that the file is our own empty one.
        if is_mounted(&point, served._folder.path()) {
            served.disk = Some(RawDisk::open(&point)?);
            return Ok(served);
        }
        if begun.elapsed() > PATIENCE {
            return Err(unreadable(format!("it does not answer after {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_installed(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

fn is_mounted(point: &Path, folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(point), std::fs::metadata(folder)) {
        (Ok(point), Ok(folder)) => point.dev() != folder.dev(),
        _ => false,
    }
}

impl ServedDisk {
    fn disk(&self) -> &RawDisk {
        self.disk.as_ref().expect("serve returns only disks that are open")
    }
}

impl Drop for ServedDisk {
    fn drop(&mut self) {
        // The mount can only go when nobody has it open.
        self.disk = None;
        let id = rustix::process::Pid::from_child(&self.daemon);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.daemon.wait();
    }
}

impl DiskReader for ServedDisk {
    fn size(&self) -> u64 {
        DiskReader::size(self.disk())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk().read_at(buffer, offset)
    }

    fn extent_at(&self, offset: u64) -> io::Result<Extent> {
        self.disk().extent_at(offset)
    }
}
