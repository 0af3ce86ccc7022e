//! Where disks are read, and how they are captured.

use std::time::Duration;

use camino::Utf8PathBuf;
use serde::Deserialize;
use serde::Serialize;

use super::model::Budget;
use super::name::DiskIndex;
use crate::diagnostic::Spanned;
use crate::hardware::DiskFormat;
use crate::units::ByteCount;
use crate::units::ByteRate;

/// Where the disks are read.
#[derive(Clone, Debug)]
pub struct Source {
    /// In plan order; the first is the boot disk.
    pub disks: Vec<SourceDisk>,
    /// The machine that has them, if the agent reads them there.
    pub agent: Option<AgentSource>,
    /// The running machine, if they are read over ssh: alone, or before the agent reads them.
    pub ssh: Option<SshSource>,
}

/// A Linux that runs and is read over ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshSource {
    /// Name or address.
    pub host: String,
    /// Who logs in there.
    pub user: String,
    /// The port.
    pub port: u16,
    /// The private key's file, absolute path.
    pub key: Utf8PathBuf,
    /// The file with the host's own key, absolute path.
    pub known_hosts: Utf8PathBuf,
    /// How long its file systems may be frozen, if they are.
    pub freeze: Option<Duration>,
    /// Whether LVM volumes are read from snapshots.
    pub snapshot: SnapshotUse,
    /// Room that each snapshot gets.
    pub snapshot_size: Option<ByteCount>,
    /// Whether an image that is not consistent will do.
    pub accept_inconsistent: bool,
}

/// Whether LVM snapshots are taken on a running machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotUse {
    /// Where there is room.
    #[default]
    Auto,
    /// Of nothing.
    Never,
    /// Of every volume in use, or nothing is read.
    Required,
}

impl SnapshotUse {
    /// As plans and verbs write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
            Self::Required => "required",
        }
    }

    /// Reads [`Self::name`].
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Auto, Self::Never, Self::Required].into_iter().find(|one| one.name() == name)
    }
}

/// A machine that boots into the agent: what finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSource {
    /// A network adapter of it.
    pub mac: Option<String>,
    /// Its firmware's UUID.
    pub uuid: Option<String>,
    /// Its firmware's serial number.
    pub serial: Option<String>,
}

/// A source disk: a disk file or a block device; opened read-only, always.
#[derive(Clone, Debug)]
pub struct SourceDisk {
    /// Which one.
    pub index: DiskIndex,
    /// Absolute path; of a disk that the agent reads, `agent:MACHINE/diskN`.
    pub path: Spanned<Utf8PathBuf>,
    /// Declared format; `None` lets the file's own signature decide.
    pub format: Option<DiskFormat>,
    /// What the agent knows it by, if the agent reads it.
    pub in_agent: Option<AgentDisk>,
    /// What it is called on the running machine, if it is read over ssh.
    pub live: Option<LiveDisk>,
}

/// A disk of a running machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveDisk {
    /// Its device there, or a file.
    pub device: String,
    /// Its size.
    pub size: ByteCount,
}

/// A disk of a machine in the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentDisk {
    /// Its serial number; without one it is the only disk of its size.
    pub serial: Option<String>,
    /// Its size.
    pub size: ByteCount,
}

/// How disks are captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// Whether chunks are compressed.
    pub compression: Compression,
    /// At most this fast, per disk.
    pub limit: Option<ByteRate>,
    /// What they share with others.
    pub budget: Option<Budget>,
    /// What is read.
    pub read: CaptureRead,
    /// What happens to bytes that the disk does not give.
    pub on_read_error: OnReadError,
}

/// What is read of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaptureRead {
    /// What file systems use, and whatever is not recognised.
    Used,
    /// Everything.
    Whole,
}

/// What happens to bytes that a disk does not give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnReadError {
    /// The capture fails.
    Fail,
    /// They become zeros and are reported.
    ZeroAndReport,
}

/// Whether chunks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// zstd, where it pays.
    Zstd,
    /// Never.
    None,
}
