//! The local API: verbs create jobs over a Unix socket that only its owner can open. JSON, a line each.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::jobs::{Grants, Jobs};
use super::protocol::{LocalAnswer, LocalJob};

/// The environment variable that names the socket.
pub const CONTROLLER_SOCKET: &str = "REPLANT_CONTROLLER";

/// Longest first line: a sequence with all its text.
const MAX_LINE: u64 = 8 << 20;

/// Why a job cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The controller's socket cannot be used.
    #[error("the controller cannot be reached through {path}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It says something that is no answer.
    #[error("the controller says what is no answer: {line}")]
    Nonsense {
        /// What it said.
        line: String,
    },
    /// It refuses.
    #[error("the controller refuses the job: {message}")]
    Refused {
        /// Why.
        message: String,
    },
    /// It has gone away.
    #[error("the controller has gone away before the job had ended")]
    Gone,
}

/// Answers verbs until the task is dropped.
pub(super) async fn serve(listener: UnixListener, jobs: Arc<Jobs>, port: u16, ca: String) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (jobs, ca) = (jobs.clone(), ca.clone());
                tokio::spawn(async move {
                    if let Err(error) = conversation(stream, &jobs, port, ca).await {
                        tracing::info!(%error, "a local conversation ended badly");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a local connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Ends the job when the conversation ends, however it ends.
struct EndAtLast<'a>(&'a Jobs, String);

impl Drop for EndAtLast<'_> {
    fn drop(&mut self) {
        self.0.end(&self.1);
    }
}

async fn conversation(stream: tokio::net::UnixStream, jobs: &Jobs, port: u16, ca: String) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = tokio::io::BufReader::new(reader.take(MAX_LINE));
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let job: LocalJob = match serde_json::from_str(&line) {
        Ok(job) => job,
        Err(error) => return say(&mut writer, &LocalAnswer::Refused { message: error.to_string() }).await,
    };
    let life = Duration::from_secs(job.token_seconds);
    let grants = Grants { captures: job.captures, deploys: job.deploys };
    let mut made = match &job.device {
        Some(device) => jobs.queue(device, job.sequence, grants),
        None => match jobs.create(&job.machine, job.sequence, life, grants) {
            Ok(made) => made,
            Err(error) => return say(&mut writer, &LocalAnswer::Refused { message: error.to_string() }).await,
        },
    };
    let _end = EndAtLast(jobs, made.id.clone());
    let first = match job.device {
        Some(_) => LocalAnswer::Queued { job: made.id.clone() },
        None => LocalAnswer::Order { device: made.device.clone(), port, ca, token: made.token.clone() },
    };
    say(&mut writer, &first).await?;
    let mut rest = String::new();
    loop {
        tokio::select! {
            report = made.reports.recv() => match report {
                Some(report) => say(&mut writer, &LocalAnswer::Report { report }).await?,
                None => return Ok(()),
            },
            // The verb says nothing more: this ends when it has gone.
            closed = reader.read_line(&mut rest) => return closed.map(drop),
        }
    }
}

async fn say(writer: &mut tokio::net::unix::OwnedWriteHalf, answer: &LocalAnswer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer).map_err(io::Error::other)?;
    line.push('\n');
    writer.write_all(line.as_bytes()).await
}

/// A job as a verb sees it.
pub struct LocalClient {
    reader: BufReader<UnixStream>,
    path: PathBuf,
    line: Vec<u8>,
}

impl LocalClient {
    /// Connects and creates a job. Returns what the boot order must carry.
    pub fn create(path: &Path, job: &LocalJob) -> Result<(Self, LocalAnswer), LocalError> {
        let io = |error| LocalError::Socket { path: path.to_owned(), error };
        let mut stream = UnixStream::connect(path).map_err(io)?;
        let mut line = serde_json::to_string(job).map_err(|error| io(io::Error::other(error)))?;
        line.push('\n');
        stream.write_all(line.as_bytes()).map_err(io)?;
        let mut client = Self { reader: BufReader::new(stream), path: path.to_owned(), line: Vec::new() };
        match client.next(Duration::from_secs(30))? {
            Some(LocalAnswer::Refused { message }) => Err(LocalError::Refused { message }),
            Some(answer) => Ok((client, answer)),
            None => Err(LocalError::Gone),
        }
    }

    /// The next answer; `None` if none comes within `wait`.
    pub fn next(&mut self, wait: Duration) -> Result<Option<LocalAnswer>, LocalError> {
        let io = |error| LocalError::Socket { path: self.path.clone(), error };
        self.reader.get_ref().set_read_timeout(Some(wait)).map_err(io)?;
        match self.reader.read_until(b'\n', &mut self.line) {
            Ok(_) if self.line.ends_with(b"\n") => {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line).trim().to_owned();
                serde_json::from_str(&text).map(Some).map_err(|_| LocalError::Nonsense { line: text })
            }
            Ok(_) => Err(LocalError::Gone),
            // What was read so far stays in the buffer.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(io(error)),
        }
    }
}
