//! Installed software that matters for a migration: hypervisor tools, what gets in the way, what starts by itself.

use super::facts::InstalledTool;
use super::registry::{Hive, HiveError};

/// Where installed programs are listed: for the system's own architecture, and for 32-bit programs on 64 bits.
const UNINSTALL: [&str; 2] =
    ["Microsoft\\Windows\\CurrentVersion\\Uninstall", "Wow6432Node\\Microsoft\\Windows\\CurrentVersion\\Uninstall"];

/// Tools of hypervisors, by what their name begins with.
const TOOLS: [(&str, &str); 10] = [
    ("VMware Tools", "vmware"),
    ("VMware VGAuth", "vmware"),
    ("Citrix Hypervisor", "xen"),
    ("Citrix XenServer", "xen"),
    ("Citrix Tools for Virtual Machines", "xen"),
    ("XenServer", "xen"),
    ("XCP-ng", "xen"),
    ("Parallels Tools", "parallels"),
    ("Oracle VM VirtualBox Guest Additions", "virtualbox"),
    ("Oracle VirtualBox Guest Additions", "virtualbox"),
];

/// Software that is known to watch or veto new drivers, by a part of its name.
const OBSTACLES: [&str; 12] = [
    "Symantec Endpoint",
    "McAfee",
    "Trellix",
    "Trend Micro",
    "Sophos",
    "Kaspersky",
    "CrowdStrike",
    "SentinelOne",
    "Cylance",
    "ESET ",
    "Bitdefender",
    "Carbon Black",
];

struct Program {
    key: String,
    name: String,
    version: Option<String>,
    uninstall: Option<String>,
    quiet: Option<String>,
}

fn programs(software: &Hive) -> Result<Vec<Program>, HiveError> {
    let mut programs = Vec::new();
    for path in UNINSTALL {
        let Some(list) = software.key(path)? else { continue };
        for key in list.subkeys()? {
            let Some(name) = key.text("DisplayName")? else { continue };
            programs.push(Program {
                key: key.name(),
                name,
                version: key.text("DisplayVersion")?,
                uninstall: key.text("UninstallString")?,
                quiet: key.text("QuietUninstallString")?,
            });
        }
    }
    Ok(programs)
}

/// Hypervisor tools that are installed.
pub(super) fn tools(software: &Hive) -> Result<Vec<InstalledTool>, HiveError> {
    let mut tools = Vec::new();
    for program in programs(software)? {
        let Some((_, vendor)) = TOOLS.iter().find(|(name, _)| program.name.starts_with(name)) else { continue };
        tools.push(InstalledTool {
            vendor: (*vendor).to_owned(),
            remove: removal(&program.key, program.quiet.as_deref(), program.uninstall.as_deref()),
            name: program.name,
            version: program.version,
        });
    }
    tools.sort_by(|one, other| (&one.vendor, &one.name).cmp(&(&other.vendor, &other.name)));
    tools.dedup();
    Ok(tools)
}

/// Software that may get in the way.
pub(super) fn obstacles(software: &Hive) -> Result<Vec<String>, HiveError> {
    let programs = programs(software)?.into_iter().map(|program| program.name);
    let mut found: Vec<String> =
        programs.filter(|name| OBSTACLES.iter().any(|obstacle| name.contains(obstacle))).collect();
    found.sort();
    found.dedup();
    Ok(found)
}

/// Programs that start by themselves, with their commands.
pub(super) fn auto_run(software: &Hive) -> Result<Vec<String>, HiveError> {
    let mut found = Vec::new();
    for prefix in ["", "Wow6432Node\\"] {
        for name in ["Run", "RunOnce"] {
            let Some(key) = software.key(&format!("{prefix}Microsoft\\Windows\\CurrentVersion\\{name}"))? else {
                continue;
            };
            for (value, command) in key.values()? {
                let command = command.as_text().unwrap_or_default();
                found.push(format!("{name}: {value} = {command}"));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The command that removes a program without asking.
fn removal(key: &str, quiet: Option<&str>, uninstall: Option<&str>) -> Option<String> {
    let is_product = key.len() == 38 && key.starts_with('{') && key.ends_with('}');
    if is_product && key[1..37].bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return Some(format!("msiexec.exe /x {key} /quiet /norestart REBOOT=ReallySuppress"));
    }
    let command = quiet.or(uninstall)?;
    // It becomes a line of a script; what could break out of it is left to a person.
    command.chars().all(|c| !c.is_control() && !"%&|<>^!".contains(c)).then(|| command.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_asks_nothing_and_breaks_out_of_nothing() {
        let product = "{1C5B1A7B-0D4C-4B0A-9F7E-0A1B2C3D4E5F}";
        let command = removal(product, None, Some("MsiExec.exe /I{..}")).unwrap();
        assert_eq!(command, format!("msiexec.exe /x {product} /quiet /norestart REBOOT=ReallySuppress"));
        assert_eq!(removal("Tool", Some("\"C:\\t.exe\" /S"), None).as_deref(), Some("\"C:\\t.exe\" /S"));
        assert_eq!(removal("Tool", None, Some("x & format c:")), None);
        assert_eq!(removal("Tool", None, None), None);
    }
}
