//! Drivers of the target's devices: those it starts from are registered offline, all are staged for the first boot.

use super::driver::{BootService, Choice, DriverPackage, choose};
use super::plan::{Drafter, FileContent, HOME, HiveName, WindowsOptions, WindowsPlanError};
use super::registry::RegValue;
use super::tables::{Device, DeviceRole};
use super::{Architecture, StartMode, WindowsFacts, WindowsFiles};

const ID: &str = "windows.drivers";

/// A required device without a driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingDriver {
    /// The device.
    pub device: Device,
    /// For which Windows.
    pub system: String,
    /// The folder of a collection that would be taken first: `2k19/amd64`.
    pub folder: String,
    /// Where such drivers are found.
    pub source: String,
}

impl std::fmt::Display for MissingDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, system, folder, source } = self;
        write!(
            f,
            "no driver for the {} ({}) of the target is known for {system}: put one into the patch cache with \
             `replant patch add SOURCE`, where SOURCE is a folder, an ISO image or a package that holds an INF file \
             for it",
            device.name,
            device.ids.join(", ")
        )?;
        if source.is_empty() { Ok(()) } else { write!(f, ", such as {source}; its folders `{folder}` are taken first") }
    }
}

/// A package that is staged in the guest.
pub(super) struct Staged {
    /// Its folder in the guest, below the product's folder there.
    pub(super) folder: String,
    /// Its INF.
    pub(super) inf: String,
}

/// The best package for a device.
pub fn choice<'p>(device: &Device, packages: &'p [DriverPackage], facts: &WindowsFacts) -> Option<Choice<'p>> {
    choose(packages, &device.ids, facts.generation, facts.architecture, facts.build)
}

/// Required devices that no package serves.
pub fn missing(facts: &WindowsFacts, options: &WindowsOptions<'_>) -> Vec<MissingDriver> {
    if options.skip.skips(ID) {
        return Vec::new();
    }
    let hardware = &options.tables.hardware;
    let without = |device: &&Device| device.required && choice(device, options.packages, facts).is_none();
    let folder = format!("{}/{}", facts.generation.driver_folders()[0], facts.architecture.name());
    hardware
        .devices
        .iter()
        .filter(without)
        .map(|device| MissingDriver {
            device: device.clone(),
            system: format!("{} ({}, build {})", facts.generation, facts.architecture.name(), facts.build),
            folder: folder.clone(),
            source: hardware.driver_source.clone(),
        })
        .collect()
}

/// Plans every driver; returns the packages that are staged.
pub(super) fn plan(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    options: &WindowsOptions<'_>,
) -> Result<Vec<Staged>, WindowsPlanError> {
    let mut staged: Vec<Staged> = Vec::new();
    for device in &options.tables.hardware.devices {
        let Some(choice) = choice(device, options.packages, draft.facts) else { continue };
        let package = choice.package;
        if device.role == DeviceRole::Boot {
            register(draft, device, &choice)?;
        }
        let folder = format!("drivers\\{}", stem(&package.inf_name));
        if staged.iter().any(|other| other.folder == folder) {
            continue;
        }
        for name in &package.files {
            let path = format!("{}\\{HOME}\\{folder}\\{name}", draft.facts.root);
            let why = format!("driver of the {}, installed at the first boot", device.name);
            draft.file(ID, &path, FileContent::CopyOf(package.folder.join(name)), &why)?;
        }
        staged.push(Staged { folder, inf: package.inf_name.clone() });
    }
    device_path(draft, &staged)?;
    Ok(staged)
}

/// The service, and what leads Windows from the device to it.
fn register(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    device: &Device,
    choice: &Choice<'_>,
) -> Result<(), WindowsPlanError> {
    let package = choice.package;
    let Some(service) = choice.models.first().and_then(|model| package.service(model)) else {
        draft.warn(format!(
            "{} installs no service for the {}: it cannot be started from there",
            package.inf_name, device.name
        ));
        return Ok(());
    };
    package.check_binary(&service, draft.facts.architecture)?;
    let why = format!("Windows starts from the {}", device.name);
    let binary = package.files.iter().find(|name| name.eq_ignore_ascii_case(&service.binary));
    let binary = package.folder.join(binary.unwrap_or(&service.binary));
    let path = format!("{}\\System32\\drivers\\{}", draft.facts.root, service.binary);
    draft.file(ID, &path, FileContent::CopyOf(binary), &why)?;
    service_key(draft, &service, &why)?;
    let mut ids: Vec<&str> = choice.models.iter().map(|model| model.hardware_id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let database = draft.hive(HiveName::System).has_key("DriverDatabase")?;
    if draft.facts.generation.has_driver_database() && database {
        driver_database(draft, &service, package, &ids, &why)?;
    } else {
        for id in ids {
            let key = draft.in_set(&format!("Control\\CriticalDeviceDatabase\\{}", id.replace('\\', "#")));
            draft.set(HiveName::System, ID, &key, "Service", RegValue::text(&service.name), &why)?;
            draft.set(HiveName::System, ID, &key, "ClassGUID", RegValue::text(&package.class_guid), &why)?;
        }
    }
    Ok(())
}

fn service_key(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    service: &BootService,
    why: &str,
) -> Result<(), WindowsPlanError> {
    let key = draft.in_set(&format!("Services\\{}", service.name));
    let image = format!("system32\\drivers\\{}", service.binary);
    for (name, value) in [
        ("Type", RegValue::number(1)),
        ("ErrorControl", RegValue::number(service.error_control)),
        ("Group", RegValue::text(&service.group)),
        ("ImagePath", RegValue::expandable(&image)),
    ] {
        draft.set(HiveName::System, ID, &key, name, value, why)?;
    }
    draft.start_mode(ID, &key, StartMode::Boot, why)?;
    for line in &service.parameters {
        let below = if line.key.is_empty() { key.clone() } else { format!("{key}\\{}", line.key) };
        draft.set(HiveName::System, ID, &below, &line.name, line.value.clone(), why)?;
    }
    Ok(())
}

/// Windows 8 and later: the kernel matches by this database before any driver is installed.
fn driver_database(
    draft: &mut Drafter<'_, '_, impl WindowsFiles>,
    service: &BootService,
    package: &DriverPackage,
    ids: &[&str],
    why: &str,
) -> Result<(), WindowsPlanError> {
    let inf = format!("replant-{}.inf", service.name.to_lowercase());
    let stored = format!("{inf}_{}", draft.facts.architecture.name());
    let configuration = format!("replant-{}", service.name.to_lowercase());
    let root = "DriverDatabase";
    let mut set = |key: String, name: &str, value| draft.set(HiveName::System, ID, &key, name, value, why);
    let files = format!("{root}\\DriverInfFiles\\{inf}");
    set(files.clone(), "", RegValue::texts([stored.as_str()]))?;
    set(files.clone(), "Active", RegValue::text(&stored))?;
    set(files, "Configurations", RegValue::texts([configuration.as_str()]))?;
    let packages = format!("{root}\\DriverPackages\\{stored}");
    set(packages.clone(), "Version", RegValue::binary(version(package, draft_architecture(&stored))))?;
    let configured = format!("{packages}\\Configurations\\{configuration}");
    set(configured.clone(), "ConfigFlags", RegValue::number(0))?;
    set(configured, "Service", RegValue::text(&service.name))?;
    for id in ids {
        set(format!("{root}\\DeviceIds\\{id}"), &inf, RegValue::binary([1, 0xff, 0, 0]))?;
        set(format!("{packages}\\Descriptors\\{id}"), "Configuration", RegValue::text(&configuration))?;
    }
    Ok(())
}

fn draft_architecture(stored: &str) -> Architecture {
    let name = stored.rsplit('_').next().unwrap_or_default();
    Architecture::parse(name).unwrap_or(Architecture::Amd64)
}

/// What the database says of a package: its processor, its class, and no date.
fn version(package: &DriverPackage, architecture: Architecture) -> Vec<u8> {
    let processor = match architecture {
        Architecture::X86 => 0,
        Architecture::Amd64 => 9,
        Architecture::Arm64 => 12,
    };
    let class = uuid::Uuid::parse_str(package.class_guid.trim_matches(['{', '}'])).unwrap_or_default();
    let mut bytes = vec![0, 0xff, processor, 0, 0, 0, 0, 0];
    bytes.extend(class.to_bytes_le());
    bytes.resize(48, 0);
    bytes
}

/// Where Windows looks for drivers of devices that it finds.
fn device_path(draft: &mut Drafter<'_, '_, impl WindowsFiles>, staged: &[Staged]) -> Result<(), WindowsPlanError> {
    let key = "Microsoft\\Windows\\CurrentVersion";
    let old = draft.hive(HiveName::Software).value(key, "DevicePath")?.and_then(|value| value.as_text());
    let old = old.unwrap_or_else(|| "%SystemRoot%\\inf".to_owned());
    let mut path = old.clone();
    for package in staged {
        let folder = format!("%SystemRoot%\\{HOME}\\{}", package.folder);
        if !path.split(';').any(|own| own.eq_ignore_ascii_case(&folder)) {
            path = format!("{path};{folder}");
        }
    }
    if path != old {
        let why = "Windows finds the staged drivers for devices that are new to it";
        draft.set(HiveName::Software, ID, key, "DevicePath", RegValue::expandable(&path), why)?;
    }
    Ok(())
}

/// `viostor` of `viostor.inf`, as a folder's name.
fn stem(inf: &str) -> String {
    let stem = inf.rsplit_once('.').map_or(inf, |(stem, _)| stem).to_lowercase();
    stem.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}
