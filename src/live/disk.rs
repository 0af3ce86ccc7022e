//! Disks as [`DiskReader`]s: each thread that reads has a connection of its own, for all of them.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::image::{DiskReader, Extent, ExtentKind};

use super::ssh::{SshError, SshTarget};

/// How `dd` counts; pages where that is finer than what is asked for.
const BLOCK: u64 = 64 << 10;
const PAGE: u64 = 4 << 10;
/// How long a machine may be away before a capture gives up; it goes on where it was when it is begun again.
const PATIENCE: Duration = Duration::from_secs(300);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Connections over which devices of one machine are read.
pub(super) struct Reach {
    target: SshTarget,
    devices: Vec<String>,
    direct: bool,
    idle: Mutex<Vec<Connection>>,
}

/// A disk of a machine that is reached over ssh.
pub struct SshDisk {
    reach: Arc<Reach>,
    /// Its number among the devices, from 1 on.
    number: usize,
    size: u64,
    /// Whether a read error is one of the medium; of a snapshot it may mean that there is none any more.
    medium: bool,
}

struct Connection {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The script ends with its input; ssh must not stay behind if it does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Reach {
    /// Devices of a machine, all read in the same way.
    pub(super) fn new(target: &SshTarget, devices: Vec<String>, direct: bool) -> Arc<Self> {
        Arc::new(Self { target: target.clone(), devices, direct, idle: Mutex::default() })
    }

    fn connect(&self) -> Result<Connection, SshError> {
        let way = if self.direct { "direct" } else { "cached" };
        let words: Vec<&str> = ["give", way].into_iter().chain(self.devices.iter().map(String::as_str)).collect();
        let mut child = self.target.start(&words)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else { unreachable!("both were piped") };
        Ok(Connection { child, input, output })
    }

    /// What a connection that broke has said.
    fn broken(&self, connection: &mut Connection) -> SshError {
        let mut said = Vec::new();
        let ended = connection.child.wait();
        if let Some(mut errors) = connection.child.stderr.take() {
            let _ = errors.read_to_end(&mut said);
        }
        self.target.failed(&said, ended.ok().and_then(|status| status.code()))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().expect("no thread panics while it takes a connection or gives one back")
    }
}

impl SshDisk {
    /// A disk that [`super::look`] has seen.
    pub fn new(target: &SshTarget, device: &str, size: u64, direct: bool) -> Self {
        Self::of(&Reach::new(target, vec![device.to_owned()], direct), 0, size, true)
    }

    /// One of several devices, by its place in the list.
    pub(super) fn of(reach: &Arc<Reach>, index: usize, size: u64, medium: bool) -> Self {
        Self { reach: Arc::clone(reach), number: index + 1, size, medium }
    }

    fn read_once(&self, connection: &mut Connection, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let asked = offset + buffer.len() as u64;
        // What lies beside a bad sector is read page by page.
        let block = if asked - offset < BLOCK { PAGE } else { BLOCK };
        let (first, last) = (offset / block, asked.div_ceil(block));
        let end = (last * block).min(self.size);
        let whole = end / block - first;
        let partial = last - first - whole;
        writeln!(connection.input, "{} {first} {} {whole}+{partial} {block}", self.number, last - first)?;
        connection.input.flush()?;
        // Whole blocks come; what was not asked for is dropped.
        let skip = |output: &mut ChildStdout, bytes: u64| {
            let skipped = io::copy(&mut output.take(bytes), &mut io::sink())?;
            if skipped == bytes { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
        };
        skip(&mut connection.output, offset - first * block)?;
        connection.output.read_exact(buffer)?;
        skip(&mut connection.output, end - asked)
    }
}

impl DiskReader for SshDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (begun, mut wait) = (Instant::now(), Duration::from_millis(250));
        loop {
            let idle = self.reach.idle().pop();
            let error = match idle.map_or_else(|| self.reach.connect(), Ok) {
                Ok(mut connection) => match self.read_once(&mut connection, buffer, offset) {
                    Ok(()) => {
                        self.reach.idle().push(connection);
                        return Ok(());
                    }
                    Err(_) => self.reach.broken(&mut connection),
                },
                Err(error) => error,
            };
            if let SshError::Failed { refused: true, message, .. } = &error
                && self.medium
                && message.contains("Input/output error")
            {
                // Whoever reads decides what becomes of it.
                return Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()));
            }
            let passing = matches!(&error, SshError::Failed { refused: false, .. });
            if !passing || begun.elapsed() > PATIENCE {
                return Err(io::Error::other(error));
            }
            tracing::info!(%error, "trying again");
            std::thread::sleep(wait);
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    fn extent_at(&self, _offset: u64) -> io::Result<Extent> {
        Ok(Extent { kind: ExtentKind::Data, end: self.size })
    }
}
