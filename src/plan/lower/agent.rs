//! `source:` of a machine: disk files and block devices here, or disks of a machine in the agent.

use camino::{Utf8Path, Utf8PathBuf};

use super::access::At;
use super::store::absolute;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::hardware::SmbiosUuid;
use crate::plan::model::{AgentDisk, AgentSource, DiskIndex, MachineName, Source, SourceDisk};

/// The source of a machine. What is incomplete is reported; no such plan is used.
pub(super) fn source(machine: At<'_>, folder: &Utf8Path, name: &MachineName, found: &mut Diagnostics) -> Source {
    let Some(source) = machine.get("source") else { return Source { disks: Vec::new(), agent: None } };
    let agent = source.get("agent").map(|at| identity(at, found));
    let written = source.get("disks").into_iter().flat_map(At::items).enumerate();
    let disks = written.filter_map(|(index, at)| {
        let index = DiskIndex(u16::try_from(index).unwrap_or(u16::MAX));
        let format = at.get("format").and_then(At::choice);
        let written = at.get("path")?;
        if agent.is_none() {
            if let Some(size) = at.get("size") {
                let diagnostic =
                    Diagnostic::error("plan.value", "the size of a disk that can be looked at is not declared");
                found.push(diagnostic.at(size.span(), "only disks in the agent need it").help("take `size` out"));
            }
            let path = written.spanned(|path| Some(absolute(folder, path.text()?)))?;
            return Some(SourceDisk { index, path, format, in_agent: None });
        }
        let in_agent = disk_in_agent(at, written, found)?;
        let path = written.spanned(|_| Some(Utf8PathBuf::from(format!("agent:{name}/{index}"))))?;
        Some(SourceDisk { index, path, format: None, in_agent: Some(in_agent) })
    });
    Source { disks: disks.collect(), agent }
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
