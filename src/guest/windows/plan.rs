//! Every edit that a Windows needs on the target: registry drafts and files. Changes nothing.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::driver::DriverPackage;
use super::registry::{Hive, HiveDraft, HiveError, RegValue};
use super::{StartMode, TargetTables, WindowsFacts, WindowsFiles, boot_driver, firstboot, network};
use crate::guest::{Edit, SkipList, UserScript};

/// The product's folder in the guest, below the Windows folder.
pub(super) const HOME: &str = "replant";

/// An adapter of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetNic {
    /// Its MAC address.
    pub mac: String,
    /// The name that the source's adapter had.
    pub name: Option<String>,
}

/// What is wanted of a conversion.
#[derive(Clone, Debug)]
pub struct WindowsOptions<'a> {
    /// What the provider says.
    pub tables: &'a TargetTables,
    /// Driver packages to choose from.
    pub packages: &'a [DriverPackage],
    /// The target's adapters.
    pub nics: &'a [TargetNic],
    /// The user's own scripts for the first boot, in order.
    pub first_boot: &'a [UserScript],
    /// Edits that are left out.
    pub skip: &'a SkipList,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum WindowsPlanError {
    /// Something keeps the Windows from being converted; all of it at once.
    #[error("{}", reasons.join("\n"))]
    Refused {
        /// Each reason, with the way out.
        reasons: Vec<String>,
    },
    /// A hive cannot be understood.
    #[error("the registry cannot be understood")]
    Hive(#[from] HiveError),
    /// A file cannot be read.
    #[error("the volume cannot be read")]
    Io(#[from] std::io::Error),
    /// A driver package is not usable.
    #[error(transparent)]
    Package(#[from] super::driver::PackageError),
}

/// A file that the conversion puts into the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewFile {
    /// Where, as the guest names it.
    pub path: String,
    /// What.
    pub content: FileContent,
}

/// What is in a new file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A copy of this file of ours.
    CopyOf(PathBuf),
}

/// What a Windows needs.
#[derive(Debug)]
pub struct WindowsPlan<'h> {
    /// Changes of the hive SYSTEM.
    pub system: HiveDraft<'h>,
    /// Changes of the hive SOFTWARE.
    pub software: HiveDraft<'h>,
    /// New files; they come before the registry names them.
    pub files: Vec<NewFile>,
    /// Every change, for people.
    pub edits: Vec<Edit>,
    /// What does not keep it from starting.
    pub warnings: Vec<String>,
}

/// Why the conversion cannot be done, each reason with its way out: hazards, and devices without a driver.
pub fn refusals(facts: &WindowsFacts, options: &WindowsOptions<'_>) -> Vec<String> {
    let mut reasons: Vec<String> = facts.hazards.iter().map(ToString::to_string).collect();
    reasons.extend(boot_driver::missing(facts, options).into_iter().map(|missing| missing.to_string()));
    let hal = &options.tables.hardware.hal.accepted;
    if let Some(own) = facts.hal.as_ref().filter(|_| facts.generation.kernel() < (6, 0) && !hal.is_empty())
        && !hal.iter().any(|accepted| accepted.eq_ignore_ascii_case(own))
    {
        reasons.push(format!(
            "{} uses the hardware abstraction layer `{own}`, which does not start on the target; accepted are {}. \
             In the source, change the computer's driver to an ACPI one in the device manager, then capture it again",
            facts.product,
            hal.join(", ")
        ));
    }
    reasons
}

/// What this Windows needs; one that was converted before needs nothing.
pub fn plan<'h>(
    facts: &WindowsFacts,
    system: &'h Hive,
    software: &'h Hive,
    files: &impl WindowsFiles,
    options: &WindowsOptions<'_>,
) -> Result<WindowsPlan<'h>, WindowsPlanError> {
    let reasons = refusals(facts, options);
    if !reasons.is_empty() {
        return Err(WindowsPlanError::Refused { reasons });
    }
    let mut plan = WindowsPlan {
        system: HiveDraft::new(system),
        software: HiveDraft::new(software),
        files: Vec::new(),
        edits: Vec::new(),
        warnings: Vec::new(),
    };
    let mut draft = Drafter { plan: &mut plan, facts, files };
    let skip = options.skip;
    let staged = match skip.skips("windows.drivers") {
        true => Vec::new(),
        false => boot_driver::plan(&mut draft, options)?,
    };
    if !skip.skips("windows.services") {
        services(&mut draft, options.tables)?;
    }
    if !skip.skips("windows.crash") {
        let key = draft.in_set("Control\\CrashControl");
        let why = "a stop error stays on the screen, where it can be read";
        draft.set(HiveName::System, "windows.crash", &key, "AutoReboot", RegValue::number(0), why)?;
    }
    if !skip.skips("windows.network") {
        network::plan(&mut draft, options)?;
    }
    if !skip.skips("windows.firstboot") {
        firstboot::plan(&mut draft, &staged, options)?;
    }
    for obstacle in &facts.obstacles {
        plan.warnings.push(format!(
            "{obstacle} is installed and may keep new drivers from starting (stop 0x7B): if so, disable it in the \
             source before the capture"
        ));
    }
    if facts.clock_is_utc {
        plan.warnings.push("its clock shows UTC: the VM's clock must, too".to_owned());
    }
    if facts.tpm {
        plan.warnings.push(
            "a TPM is in use: its content stays with the source; what depends on it (BitLocker, Windows Hello, \
             certificates) must be set up again"
                .to_owned(),
        );
    }
    Ok(plan)
}

/// Start modes from the provider's table, for services that this Windows has.
fn services(draft: &mut Drafter<'_, '_, impl WindowsFiles>, tables: &TargetTables) -> Result<(), HiveError> {
    let facts = draft.facts;
    for service in &facts.services {
        let Some(rule) = tables.modes.rule(&service.name, facts.generation) else { continue };
        let key = draft.in_set(&format!("Services\\{}", service.name));
        draft.start_mode("windows.services", &key, rule.mode, &rule.why)?;
    }
    Ok(())
}

/// Which hive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HiveName {
    /// SYSTEM.
    System,
    /// SOFTWARE.
    Software,
}

/// Collects changes and says each one.
pub(super) struct Drafter<'p, 'h, F> {
    plan: &'p mut WindowsPlan<'h>,
    pub(super) facts: &'p WindowsFacts,
    pub(super) files: &'p F,
}

impl<F: WindowsFiles> Drafter<'_, '_, F> {
    /// A path in the control set that Windows starts with.
    pub(super) fn in_set(&self, path: &str) -> String {
        format!("{}\\{path}", self.facts.control_set)
    }

    /// The hive as it will be.
    pub(super) fn hive(&self, hive: HiveName) -> &HiveDraft<'_> {
        match hive {
            HiveName::System => &self.plan.system,
            HiveName::Software => &self.plan.software,
        }
    }

    /// Sets a value; what is so already is no edit.
    pub(super) fn set(
        &mut self,
        hive: HiveName,
        id: &str,
        key: &str,
        name: &str,
        value: RegValue,
        why: &str,
    ) -> Result<(), HiveError> {
        let after = value.to_string();
        let (draft, prefix) = match hive {
            HiveName::System => (&mut self.plan.system, "HKLM\\SYSTEM"),
            HiveName::Software => (&mut self.plan.software, "HKLM\\SOFTWARE"),
        };
        if let Some(before) = draft.set(key, name, value)? {
            self.plan.edits.push(Edit {
                id: id.to_owned(),
                path: format!("{prefix}\\{key}\\{}", if name.is_empty() { "@" } else { name }),
                before: before.map(|value| value.to_string()),
                after: Some(after),
                why: why.to_owned(),
            });
        }
        Ok(())
    }

    /// Sets when a service starts, and takes back what overrides it.
    pub(super) fn start_mode(&mut self, id: &str, key: &str, mode: StartMode, why: &str) -> Result<(), HiveError> {
        self.set(HiveName::System, id, key, "Start", RegValue::number(mode.number()), why)?;
        // Windows 8 and later switch drivers that were not needed off in a second place.
        let overriding = format!("{key}\\StartOverride");
        if mode == StartMode::Boot && self.hive(HiveName::System).value(&overriding, "0")?.is_some() {
            self.set(HiveName::System, id, &overriding, "0", RegValue::number(mode.number()), why)?;
        }
        Ok(())
    }

    /// Puts a file into the guest; one that is there with the same content is no edit.
    pub(super) fn file(&mut self, id: &str, path: &str, content: FileContent, why: &str) -> Result<(), std::io::Error> {
        let (wanted, after) = match &content {
            FileContent::Bytes(bytes) => (bytes.clone(), format!("{} bytes", bytes.len())),
            FileContent::CopyOf(from) => {
                let bytes = std::fs::read(from)?;
                let digest = blake3::hash(&bytes).to_hex();
                let after = format!("{} bytes, blake3:{}", bytes.len(), &digest[..16]);
                (bytes, after)
            }
        };
        let old = self.files.read(path)?;
        if old.as_deref() == Some(&wanted[..])
            || self.plan.files.iter().any(|file| file.path.eq_ignore_ascii_case(path))
        {
            return Ok(());
        }
        self.plan.edits.push(Edit {
            id: id.to_owned(),
            path: path.to_owned(),
            before: old.map(|old| format!("{} bytes", old.len())),
            after: Some(after),
            why: why.to_owned(),
        });
        self.plan.files.push(NewFile { path: path.to_owned(), content });
        Ok(())
    }

    /// Something that people should know.
    pub(super) fn warn(&mut self, text: String) {
        self.plan.warnings.push(text);
    }
}
