//! Everything that can go wrong with a store, each with its operands.

use std::io;
use std::path::{Path, PathBuf};

use super::name::DiskName;
use super::pack::PackId;
use crate::units::ByteCount;

/// The result of this module's functions.
pub type Result<T> = std::result::Result<T, ImageError>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The work on one machine's disk failed; the source says why.
    #[error("cannot {doing} {disk}")]
    Disk {
        /// What was being done.
        doing: &'static str,
        /// Whose disk.
        disk: DiskName,
        /// Why.
        #[source]
        problem: Box<ImageError>,
    },
    /// A stop was asked for; what is done so far is kept.
    #[error("stopped on request at {done} of {total}; run the same command again to go on")]
    Stopped {
        /// Bytes of the disk that are done.
        done: ByteCount,
        /// Bytes of the disk.
        total: ByteCount,
    },
    /// Not usable as a path component.
    #[error("`{name}` cannot be a machine's or disk's name: it is empty or longer than 200 bytes")]
    BadName {
        /// The name.
        name: String,
    },
    /// Work between a disk and a store on another machine failed.
    #[error("{doing} failed")]
    Remote {
        /// What was being done, as a gerund.
        doing: &'static str,
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An operation on a file failed.
    #[error("{doing} {path}", path = path.display())]
    File {
        /// What was being done, as a gerund: `reading`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// No space left where the store lies.
    #[error("the store is full: no space left at {path}; free some space and run again, what is stored is kept", path = path.display())]
    StoreFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// No space left where a disk is written.
    #[error("no space left for {path}; free some space and run again, what is written is kept", path = path.display())]
    TargetFull {
        /// The disk file.
        path: PathBuf,
    },
    /// There is no store.
    #[error("there is no image store at {path}", path = path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A store that must be created needs a decision about encryption.
    #[error(
        "there is no image store at {path} yet and no key to create it with: name one with `--key` or \
         REPLANT_STORE_KEY (env:NAME, file:PATH or command:CMD), or ask for `--encryption none`", path = path.display()
    )]
    NoKeyToCreate {
        /// Where the store would be.
        path: PathBuf,
    },
    /// The store is sealed and no key was given.
    #[error("the store at {path} is encrypted: name its key with `--key` or REPLANT_STORE_KEY", path = path.display())]
    KeyNeeded {
        /// The store.
        path: PathBuf,
    },
    /// The key given opens no slot of the store.
    #[error("this is not the key of the store at {path}: none of its {slots} key slot(s) fits", path = path.display())]
    WrongKey {
        /// The store.
        path: PathBuf,
        /// Slots tried.
        slots: usize,
    },
    /// A key reference cannot be read.
    #[error("the key reference `{reference}` gives no key: {reason}")]
    BadKey {
        /// The reference as written, no secret.
        reference: String,
        /// Why.
        reason: String,
    },
    /// Written by a newer program, or not a store at all.
    #[error("{path} has format {found}; this version reads format {known}", path = path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// What we know.
        known: u32,
    },
    /// A file of the store does not hold what was written.
    #[error("{path} is damaged: {what}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: String,
    },
    /// A pack file is not there.
    #[error("pack {pack} is missing from the store; {chunk} cannot be read")]
    MissingPack {
        /// The pack.
        pack: PackId,
        /// Which chunk, by place in the disk.
        chunk: String,
    },
    /// A pack file is shorter than its index says.
    #[error("pack {pack} is truncated: it has {has} bytes, {chunk} ends at byte {needs}")]
    TruncatedPack {
        /// The pack.
        pack: PackId,
        /// Which chunk, by place in the disk.
        chunk: String,
        /// Bytes there.
        has: u64,
        /// Bytes needed.
        needs: u64,
    },
    /// A chunk is in no index.
    #[error("{chunk} is in no pack of the store")]
    MissingChunk {
        /// Which chunk, by place in the disk.
        chunk: String,
    },
    /// A chunk's bytes are not those that were stored.
    #[error("pack {pack} is damaged at byte {offset}: {chunk} {what}")]
    DamagedChunk {
        /// The pack.
        pack: PackId,
        /// Where the chunk's record begins.
        offset: u64,
        /// Which chunk, by place in the disk.
        chunk: String,
        /// How that shows.
        what: &'static str,
    },
    /// There is no such image.
    #[error("the store has no finished image of {disk}{}", id.as_ref().map_or(String::new(), |id| format!(" with id {id}")))]
    NoImage {
        /// Whose disk.
        disk: DiskName,
        /// A particular one.
        id: Option<String>,
    },
    /// The source is not what was planned.
    #[error("the source {path} changed: expected `{expected}`, found `{found}`", path = path.display())]
    SourceChanged {
        /// The source.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The medium does not give some bytes.
    #[error(
        "bytes {start} to {end} of {path} cannot be read: the medium is bad there. Way out: with \
         `--on-read-error zero-and-report` (plan: `capture: {{ on_read_error: zero-and-report }}`) they become zeros \
         and the image names them",
        path = path.display()
    )]
    BadSector {
        /// The source.
        path: PathBuf,
        /// The first byte.
        start: u64,
        /// The first byte after them, as finely as sectors are told apart.
        end: u64,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The source got smaller.
    #[error("the source {path} is smaller than on first sight: {found} instead of {expected} bytes", path = path.display())]
    SourceShrank {
        /// The source.
        path: PathBuf,
        /// Bytes at first.
        expected: u64,
        /// Bytes now.
        found: u64,
    },
    /// A source's format cannot be read.
    #[error("{path} cannot be read as {format}: {reason}", path = path.display())]
    Unreadable {
        /// The source.
        path: PathBuf,
        /// The format it was said to have.
        format: &'static str,
        /// Why, and the way out.
        reason: String,
    },
    /// The target disk has no room for the image.
    #[error("the target {path} has {target} bytes, the image needs {image}", path = path.display())]
    TargetTooSmall {
        /// The disk file.
        path: PathBuf,
        /// Its size.
        target: u64,
        /// The image's size.
        image: u64,
    },
    /// What was read back is not what was written.
    #[error("reading back {path} at byte {offset} gave other bytes than were written", path = path.display())]
    ReadBack {
        /// The disk file.
        path: PathBuf,
        /// Where.
        offset: u64,
    },
    /// A program that we need is not installed.
    #[error("`{tool}` is not installed: apt install {package}")]
    MissingTool {
        /// The program.
        tool: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A program that we ran failed.
    #[error("`{tool}` failed: {said}")]
    ToolFailed {
        /// The program.
        tool: &'static str,
        /// What it said.
        said: String,
    },
    /// Someone else is at work.
    #[error("{what} is in use by {holder}")]
    Busy {
        /// What.
        what: String,
        /// By whom.
        holder: String,
    },
    /// Not every disk of a set is captured.
    #[error("{disk} is not captured as `{identity}`: the set cannot be sealed")]
    NotCaptured {
        /// Whose disk.
        disk: DiskName,
        /// Its identity when planned.
        identity: String,
    },
    /// Asked for something that would lose data.
    #[error("image {id} of {disk} belongs to sealed set {set}; remove the set with it: `--force`")]
    InSet {
        /// The image.
        id: String,
        /// Whose disk.
        disk: DiskName,
        /// The set.
        set: String,
    },
    /// A value on the command line or in a request is out of range.
    #[error("{what}")]
    Refused {
        /// What is wrong.
        what: String,
    },
}

impl ImageError {
    /// For `map_err` on a file operation in the store: no space left becomes its own error.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| match is_full(&error) {
            true => Self::StoreFull { path: path.to_owned() },
            false => Self::File { doing, path: path.to_owned(), error },
        }
    }

    /// For `map_err` on a write to a target disk.
    pub(super) fn target(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| match is_full(&error) {
            true => Self::TargetFull { path: path.to_owned() },
            false => Self::File { doing, path: path.to_owned(), error },
        }
    }

    /// A file of the store that does not hold what was written.
    pub(super) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// For `map_err` on what another machine had to do.
    pub(super) fn remote(doing: &'static str) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        move |error| Self::Remote { doing, error }
    }

    /// Names the disk whose work failed.
    pub(super) fn of(doing: &'static str, disk: &DiskName) -> impl FnOnce(Self) -> Self {
        move |problem| match problem {
            Self::Disk { .. } => problem,
            _ => Self::Disk { doing, disk: disk.clone(), problem: Box::new(problem) },
        }
    }

    /// Whether the work only stopped because it was asked to.
    pub fn is_stop(&self) -> bool {
        match self {
            Self::Disk { problem, .. } => problem.is_stop(),
            Self::Stopped { .. } => true,
            _ => false,
        }
    }

    /// Whether another process holds what is needed, so that a later attempt may succeed.
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Disk { problem, .. } => problem.is_busy(),
            Self::Busy { .. } => true,
            _ => false,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
