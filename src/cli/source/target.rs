//! How a running machine is reached and its disk named, for the verbs that do so.

use std::path::PathBuf;

use crate::live::SshTarget;
use crate::plan::SnapshotUse;
use crate::units::ByteCount;

/// The machine.
#[derive(Debug, clap::Args)]
pub struct TargetArgs {
    /// Where the machine is reached
    #[arg(long, value_name = "HOST")]
    host: String,
    /// Who logs in there and may read the disk
    #[arg(long, default_value = "root")]
    user: String,
    /// Its port
    #[arg(long, default_value_t = 22)]
    port: u16,
    /// The file of the private key; there is no password
    #[arg(long, value_name = "FILE")]
    ssh_key: PathBuf,
    /// The file with the machine's own key, in the form of `ssh-keyscan`: nothing else is trusted
    #[arg(long, value_name = "FILE")]
    known_hosts: PathBuf,
}

impl TargetArgs {
    /// The machine.
    pub fn target(&self) -> SshTarget {
        SshTarget {
            host: self.host.clone(),
            user: self.user.clone(),
            port: self.port,
            key: self.ssh_key.clone(),
            known_hosts: self.known_hosts.clone(),
        }
    }
}

/// What may be done to its volumes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct SnapshotArgs {
    /// Whether LVM volumes are read from snapshots that are taken there and removed again: auto (where there is room), never
    /// or required
    #[arg(long, value_parser = parse_use, default_value = "auto", value_name = "WHEN")]
    pub snapshot: SnapshotUse,
    /// Room for each snapshot; else a tenth of its volume
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub snapshot_size: Option<ByteCount>,
}

fn parse_use(text: &str) -> Result<SnapshotUse, String> {
    SnapshotUse::parse(text).ok_or_else(|| "write auto, never or required".to_owned())
}

/// For an amount of bytes.
pub fn parse_size(text: &str) -> Result<ByteCount, String> {
    ByteCount::parse(text).map_err(|error| error.to_string())
}
