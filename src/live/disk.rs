//! The disk as a [`DiskReader`]: each thread that reads has a connection of its own.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::image::{DiskReader, Extent, ExtentKind};

use super::ssh::{SshError, SshTarget};

/// How `dd` counts.
const BLOCK: u64 = 64 << 10;
/// How long a machine may be away before a capture gives up; it goes on where it was when it is begun again.
const PATIENCE: Duration = Duration::from_secs(300);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A disk of a machine that is reached over ssh.
pub struct SshDisk {
    target: SshTarget,
    device: String,
    size: u64,
    direct: bool,
    idle: Mutex<Vec<Connection>>,
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

impl SshDisk {
    /// A disk that [`super::look`] has seen.
    pub fn new(target: &SshTarget, device: &str, size: u64, direct: bool) -> Self {
        Self { target: target.clone(), device: device.to_owned(), size, direct, idle: Mutex::new(Vec::new()) }
    }

    fn connect(&self) -> Result<Connection, SshError> {
        let way = if self.direct { "direct" } else { "cached" };
        let mut child = self.target.start(&["give", &self.device, way])?;
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

    fn read_once(&self, connection: &mut Connection, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (first, last) = (offset / BLOCK, (offset + buffer.len() as u64).div_ceil(BLOCK));
        let end = (last * BLOCK).min(self.size);
        let whole = end / BLOCK - first;
        let partial = last - first - whole;
        writeln!(connection.input, "{first} {} {whole}+{partial}", last - first)?;
        connection.input.flush()?;
        // Whole blocks come; what was not asked for is dropped.
        let skip = |output: &mut ChildStdout, bytes: u64| {
            let skipped = io::copy(&mut output.take(bytes), &mut io::sink())?;
            if skipped == bytes { Ok(()) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
        };
        skip(&mut connection.output, offset - first * BLOCK)?;
        connection.output.read_exact(buffer)?;
        skip(&mut connection.output, end - offset - buffer.len() as u64)
    }
}

impl DiskReader for SshDisk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let (begun, mut wait) = (Instant::now(), Duration::from_millis(250));
        loop {
            let idle = self.idle.lock().expect("no thread panics while it takes a connection").pop();
            let error = match idle.map_or_else(|| self.connect(), Ok) {
                Ok(mut connection) => match self.read_once(&mut connection, buffer, offset) {
                    Ok(()) => {
                        self.idle.lock().expect("no thread panics while it gives a connection").push(connection);
                        return Ok(());
                    }
                    Err(_) => self.broken(&mut connection),
                },
                Err(error) => error,
            };
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
