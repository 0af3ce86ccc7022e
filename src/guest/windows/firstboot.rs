//! What runs in the guest when it starts for the first time: a service that installs the staged drivers, sets names and
//! addresses, removes tools of the old hypervisor, installs a staged guest agent, and writes a verdict.

use super::boot_driver::Staged;
use super::plan::{Drafter, FileContent, HOME, HiveName, WindowsPlanError};
use super::registry::RegValue;
use super::{StartMode, WindowsFiles, WindowsOptions};
use crate::guest::script::numbered;

const ID: &str = "windows.firstboot";
/// The service's name.
pub(super) const SERVICE: &str = "replant-firstboot";

const POWERSHELL: &str = include_str!("firstboot.ps1");
const BATCH: &str = include_str!("firstboot.cmd");

pub(super) fn plan(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    staged: &[Staged],
    options: &WindowsOptions<'_>,
) -> Result<(), WindowsPlanError> {
    let home = format!("{}\\{HOME}", draft.facts.root);
    // Done once is done: a converted guest that has started is not asked again.
    if draft.files.is_file(&format!("{home}\\verdict.txt"))? {
        return Ok(());
    }
    let why = "drivers are installed, and what was set for the old hardware is set for the new, at the first boot";
    let pnputil = draft.facts.generation.has_pnputil();
    let remove: Vec<String> = match options.skip.skips("windows.tools") {
        true => Vec::new(),
        false => draft.facts.tools.iter().filter_map(|tool| tool.remove.clone()).collect(),
    };
    // Windows' own tools expect its line ends.
    let mut put = |name: &str, text: String| {
        let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
        draft.file(ID, &format!("{home}\\{name}"), FileContent::Bytes(text.into_bytes()), why)
    };
    put("firstboot.cmd", BATCH.to_owned())?;
    let lines = |lines: Vec<String>| lines.into_iter().map(|line| line + "\n").collect::<String>();
    put("drivers.txt", lines(staged.iter().map(|package| format!("{}\\{}", package.folder, package.inf)).collect()))?;
    put("remove.txt", lines(remove))?;
    let (own, foreign): (Vec<_>, Vec<_>) = options.first_boot.iter().partition(|script| script.is_for_windows());
    for (index, script) in own.iter().enumerate() {
        put(&format!("scripts\\{}", numbered(index, script)), script.text.clone())?;
    }
    if pnputil {
        put("firstboot.ps1", POWERSHELL.to_owned())?;
    }
    for script in foreign {
        draft.warn(format!("{} is no script for Windows: it is left out", script.name));
    }
    for script in own.iter().filter(|script| !pnputil && script.name.to_ascii_lowercase().ends_with(".ps1")) {
        draft.warn(format!("{} has no PowerShell to run {}", draft.facts.generation, script.name));
    }
    if !pnputil {
        draft.warn(format!(
            "{} has no PowerShell and no pnputil: it installs the staged drivers by itself when it finds the devices, \
             fixed addresses must be set by hand (they are in {home}\\network.txt), and its own services write no \
             verdict about them",
            draft.facts.generation
        ));
    }
    for tool in draft.facts.tools.clone().iter().filter(|tool| tool.remove.is_none()) {
        draft.warn(format!(
            "`{}` cannot be removed without asking: its services are switched off, the rest stays",
            tool.name
        ));
    }
    let key = draft.in_set(&format!("Services\\{SERVICE}"));
    // The service manager ends what does not answer it; what was started from there goes on.
    let image = format!(
        "%SystemRoot%\\System32\\cmd.exe /c start \"\" /b %SystemRoot%\\System32\\cmd.exe /c %SystemRoot%\\{HOME}\\firstboot.cmd"
    );
    for (name, value) in [
        ("Type", RegValue::number(0x10)),
        ("ErrorControl", RegValue::number(0)),
        ("ImagePath", RegValue::expandable(&image)),
        ("ObjectName", RegValue::text("LocalSystem")),
        ("DisplayName", RegValue::text("replant: first boot after the migration")),
    ] {
        draft.set(HiveName::System, ID, &key, name, value, why)?;
    }
    Ok(draft.start_mode(ID, &key, StartMode::Auto, why)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_ascii_and_end_with_a_verdict() {
        for script in [POWERSHELL, BATCH] {
            assert!(script.is_ascii());
            assert!(script.contains("verdict.txt"));
        }
        assert!(POWERSHELL.contains("REPLANT-GUEST-READY") && POWERSHELL.contains("REPLANT-GUEST-FAILED"));
        assert!(BATCH.contains(SERVICE));
    }
}
