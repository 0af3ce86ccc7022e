//! `source:` of a machine: disk files and block devices here, disks of a machine in the agent, or of one behind ssh.

use camino::{Utf8Path, Utf8PathBuf};

use super::access::At;
use super::store::absolute;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::hardware::SmbiosUuid;
use crate::plan::{
    AgentDisk, AgentSource, DiskIndex, LiveDisk, MachineName, SnapshotUse, Source, SourceDisk, SshSource,
};

/// The source of a machine. What is incomplete is reported; no such plan is used.
pub(super) fn source(machine: At<'_>, folder: &Utf8Path, name: &MachineName, found: &mut Diagnostics) -> Source {
    let Some(source) = machine.get("source") else { return Source { disks: Vec::new(), agent: None, ssh: None } };
    let agent = source.get("agent").map(|at| identity(at, found));
    let ssh = source.get("ssh").and_then(|at| ssh_source(at, folder));
    let written = source.get("disks").into_iter().flat_map(At::items).enumerate();
    let disks = written.filter_map(|(index, at)| {
        let index = DiskIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let format = at.get("format").and_then(At::choice);
        let written = at.get("path")?;
        let live = match (&ssh, &agent) {
            (None, _) => None,
            (Some(_), None) => Some(live_disk(at, written, found)?),
            (Some(_), Some(_)) => Some(live_disk(at, at.get("live").unwrap_or(written), found)?),
        };
        if agent.is_some() {
            let in_agent = disk_in_agent(at, written, found)?;
            let path = written.spanned(|_| Some(Utf8PathBuf::from(format!("agent:{name}/{index}"))))?;
            return Some(SourceDisk { index, path, format: None, in_agent: Some(in_agent), live });
        }
        if let (Some(live), Some(ssh)) = (live, &ssh) {
            let path = written.spanned(|_| Some(Utf8PathBuf::from(format!("ssh:{}:{}", ssh.host, live.device))))?;
            return Some(SourceDisk { index, path, format: None, in_agent: None, live: Some(live) });
        }
        if let Some(size) = at.get("size") {
            let diagnostic =
                Diagnostic::error("plan.value", "the size of a disk that can be looked at is not declared");
            found.push(diagnostic.at(size.span(), "only disks in the agent need it").help("take `size` out"));
        }
        let path = written.spanned(|path| Some(absolute(folder, path.text()?)))?;
        Some(SourceDisk { index, path, format, in_agent: None, live: None })
    });
    Source { disks: disks.collect(), agent, ssh }
}

fn ssh_source(at: At<'_>, folder: &Utf8Path) -> Option<SshSource> {
    let text = |key: &str| at.get(key).and_then(At::text);
    Some(SshSource {
        host: text("host")?.to_owned(),
        user: text("user").unwrap_or("root").to_owned(),
        port: at.get("port").and_then(At::whole).and_then(|port| u16::try_from(port).ok()).unwrap_or(22),
        key: absolute(folder, text("key")?),
        known_hosts: absolute(folder, text("known_hosts")?),
        freeze: at.get("freeze").and_then(At::duration),
        snapshot: text("snapshot").and_then(SnapshotUse::parse).unwrap_or_default(),
        snapshot_size: at.get("snapshot_size").and_then(At::size),
        accept_inconsistent: text("inconsistent") == Some("accept"),
    })
}

/// A disk of a running machine: its device is written at `device`.
fn live_disk(at: At<'_>, device: At<'_>, found: &mut Diagnostics) -> Option<LiveDisk> {
    let path = device.text()?;
    if !path.starts_with('/') {
        found.push(
            Diagnostic::error("plan.value", format!("`{path}` is no device of a running machine"))
                .at(device.span(), "ssh reads a device by its path there")
                .help("write for example `/dev/sda`; with `agent`, as `live: /dev/sda` beside the serial number"),
        );
        return None;
    }
    let Some(size) = at.get("size").and_then(At::size) else {
        found.push(
            Diagnostic::error("plan.missing-key", "a disk that is read over ssh needs `size`")
                .at(at.headline(), "`size` is missing")
                .help("on the machine: `blockdev --getsize64 /dev/sda`"),
        );
        return None;
    };
    Some(LiveDisk { device: path.to_owned(), size })
}

fn identity(at: At<'_>, found: &mut Diagnostics) -> AgentSource {
    let text = |key: &str| at.get(key).and_then(At::text).map(str::to_owned);
    let agent = AgentSource {
        mac: text("mac").map(|mac| super::machines::canonical_mac(&mac)),
        uuid: text("uuid"),
        serial: text("serial"),
    };
    if agent == AgentSource::default() {
        found.push(
            Diagnostic::error("plan.missing-key", "nothing finds the machine that boots into the agent")
                .at(at.headline(), "`mac`, `uuid` and `serial` are missing")
                .help("write at least one: `agent: { mac: \"52:54:00:12:34:56\" }`"),
        );
    }
    if let Some(uuid) = at.get("uuid")
        && let Some(Err(error)) = uuid.text().map(str::parse::<SmbiosUuid>)
    {
        found.push(
            Diagnostic::error("plan.value", error.to_string())
                .at(uuid.span(), "no UUID")
                .help("on the machine: `cat /sys/class/dmi/id/product_uuid`"),
        );
    }
    agent
}

fn disk_in_agent(at: At<'_>, written: At<'_>, found: &mut Diagnostics) -> Option<AgentDisk> {
    let path = written.text()?;
    let serial = path.strip_prefix("serial:").filter(|serial| !serial.is_empty());
    if serial.is_none() && path != "any" {
        found.push(
            Diagnostic::error("plan.value", format!("`{path}` names no disk of a machine in the agent"))
                .at(written.span(), "names such as sda change from boot to boot")
                .help(
                    "write `serial:NUMBER`, or `any` for the only disk of its size; `replant device show` lists both",
                ),
        );
        return None;
    }
    let Some(size) = at.get("size").and_then(At::size) else {
        found.push(
            Diagnostic::error("plan.missing-key", "a disk of a machine in the agent needs `size`")
                .at(at.headline(), "`size` is missing")
                .help("`replant device show` lists the disks of a machine that was in the agent once"),
        );
        return None;
    };
    Some(AgentDisk { serial: serial.map(str::to_owned), size })
}
