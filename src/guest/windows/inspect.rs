//! Looking at a Windows that is off: its registry and a few files, read only.

use std::io;

use super::facts::{Hazard, ServiceFact, StartMode, WindowsFacts};
use super::registry::{Hive, HiveError, Key};
use super::{Architecture, Generation, WindowsFiles, adapters, software};

/// Folders that hold a Windows.
const ROOTS: [&str; 3] = ["\\Windows", "\\WINNT", "\\WINNT35"];

/// Why a Windows cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A hive cannot be understood.
    #[error("{path} cannot be understood")]
    Hive {
        /// The hive.
        path: String,
        /// Why.
        #[source]
        error: HiveError,
    },
    /// A hive lacks what every Windows has.
    #[error("{path} has no `{key}`: it is not the registry of a Windows that could start")]
    Incomplete {
        /// The hive.
        path: String,
        /// What is missing.
        key: &'static str,
    },
    /// A version that is not known.
    #[error("Windows {major}.{minor} is not known to this version of replant")]
    Version {
        /// Its version.
        major: u32,
        /// Its version.
        minor: u32,
    },
}

/// The folder of the Windows on a volume, if there is one.
pub fn find_root(files: &impl WindowsFiles) -> io::Result<Option<&'static str>> {
    for root in ROOTS {
        if files.is_file(&hive_path(root, "SYSTEM"))? && files.is_file(&hive_path(root, "SOFTWARE"))? {
            return Ok(Some(root));
        }
    }
    Ok(None)
}

/// Where a hive lies.
pub fn hive_path(root: &str, hive: &str) -> String {
    format!("{root}\\System32\\config\\{hive}")
}

/// Looks at the Windows on a volume. `Ok(None)` if there is none.
pub fn inspect(files: &impl WindowsFiles) -> Result<Option<WindowsFacts>, InspectError> {
    let io = |path: &str| {
        let path = path.to_owned();
        move |error| InspectError::Io { path, error }
    };
    let Some(root) = find_root(files).map_err(io("the volume"))? else { return Ok(None) };
    let open = |name: &str| {
        let path = hive_path(root, name);
        let bytes = files.read(&path).map_err(io(&path))?.unwrap_or_default();
        let hive = Hive::parse(bytes).map_err(|error| InspectError::Hive { path: path.clone(), error })?;
        Ok::<_, InspectError>((hive, path))
    };
    let (system, system_path) = open("SYSTEM")?;
    let (software, software_path) = open("SOFTWARE")?;
    let mut hazards = Vec::new();
    for (hive, path) in [(&system, &system_path), (&software, &software_path)] {
        if !hive.is_clean() {
            hazards.push(Hazard::DirtyRegistry { hive: path.clone() });
        }
    }
    let in_system = |error| InspectError::Hive { path: system_path.clone(), error };
    let in_software = |error| InspectError::Hive { path: software_path.clone(), error };
    let incomplete = |key| InspectError::Incomplete { path: system_path.clone(), key };

    let set = control_set(&system).map_err(in_system)?.ok_or(incomplete("Select\\Current"))?;
    let version = system_version(&software).map_err(in_software)?.ok_or(InspectError::Incomplete {
        path: software_path.clone(),
        key: "Microsoft\\Windows NT\\CurrentVersion",
    })?;
    let value = |path: &str, name: &str| system.value(&format!("{set}\\{path}"), name).map_err(in_system);
    let number = |path: &str, name: &str| Ok::<_, InspectError>(value(path, name)?.and_then(|value| value.as_number()));
    let text = |path: &str, name: &str| Ok::<_, InspectError>(value(path, name)?.and_then(|value| value.as_text()));

    let named = text("Control\\Session Manager\\Environment", "PROCESSOR_ARCHITECTURE")?;
    let kernel = format!("{root}\\System32\\ntoskrnl.exe");
    let header = files.head(&kernel, 1024).map_err(io(&kernel))?.unwrap_or_default();
    let architecture = Architecture::of_program(&header)
        .or_else(|| named.as_deref().and_then(Architecture::parse))
        .unwrap_or(if version.generation.kernel() < (6, 1) { Architecture::X86 } else { Architecture::Amd64 });

    let fast_startup = number("Control\\Session Manager\\Power", "HiberbootEnabled")? == Some(1);
    if is_hibernated(&files.head("\\hiberfil.sys", 4096).map_err(io("\\hiberfil.sys"))?.unwrap_or_default()) {
        hazards.push(if fast_startup { Hazard::FastStartup } else { Hazard::Hibernated });
    }
    let setup = |name| system.value("Setup", name).map(|value| value.and_then(|value| value.as_number()).unwrap_or(0));
    if setup("SystemSetupInProgress").map_err(in_system)? != 0 {
        hazards.push(Hazard::SetupUnfinished);
    }
    let services = services(&system, &set).map_err(in_system)?;
    let tpm =
        services.iter().any(|service| service.name.eq_ignore_ascii_case("TPM") && service.start != StartMode::Disabled)
            && system.key(&format!("{set}\\Enum\\ACPI\\MSFT0101")).map_err(in_system)?.is_some();
    let hal_class = format!("{set}\\Control\\Class\\{{4D36E966-E325-11CE-BFC1-08002BE10318}}\\0000");
    Ok(Some(WindowsFacts {
        product: version.product,
        edition: version.edition,
        generation: version.generation,
        build: version.build,
        service_pack: version.service_pack,
        architecture,
        host_name: text("Control\\ComputerName\\ComputerName", "ComputerName")?,
        root: root.to_owned(),
        hal: system.value(&hal_class, "MatchingDeviceId").map_err(in_system)?.and_then(|value| value.as_text()),
        fast_startup,
        clock_is_utc: number("Control\\TimeZoneInformation", "RealTimeIsUniversal")? == Some(1),
        tpm,
        boot: None,
        services,
        tools: software::tools(&software).map_err(in_software)?,
        obstacles: software::obstacles(&software).map_err(in_software)?,
        auto_run: software::auto_run(&software).map_err(in_software)?,
        adapters: adapters::read(&system, &set).map_err(in_system)?,
        control_set: set,
        hazards,
    }))
}

/// The control set that Windows starts with: what `Select\Current` says.
pub fn control_set(system: &Hive) -> Result<Option<String>, HiveError> {
    let current = system.value("Select", "Current")?.and_then(|value| value.as_number());
    let Some(current) = current else { return Ok(None) };
    let name = format!("ControlSet{current:03}");
    Ok(system.key(&name)?.map(|_| name))
}

/// Whether `hiberfil.sys` holds a sleeping machine.
pub fn is_hibernated(head: &[u8]) -> bool {
    // `wake` and zeros are what is left after waking up.
    matches!(head.get(..4), Some(b"hibr" | b"HIBR" | b"rstr" | b"RSTR"))
}

struct SystemVersion {
    product: String,
    edition: Option<String>,
    generation: Generation,
    build: u32,
    service_pack: Option<String>,
}

fn system_version(software: &Hive) -> Result<Option<SystemVersion>, HiveError> {
    let Some(key) = software.key("Microsoft\\Windows NT\\CurrentVersion")? else { return Ok(None) };
    let product = key.text("ProductName")?.unwrap_or_else(|| "Windows".to_owned());
    let numbers = (key.number("CurrentMajorVersionNumber")?, key.number("CurrentMinorVersionNumber")?);
    let version = match numbers {
        (Some(major), minor) => (major, minor.unwrap_or(0)),
        // Windows before 10 says `6.3`; Windows 10 says so too, for old programs.
        _ => match key.text("CurrentVersion")?.and_then(|text| parse_version(&text)) {
            Some(version) => version,
            None => return Ok(None),
        },
    };
    let build = match key.text("CurrentBuildNumber")? {
        Some(build) => Some(build),
        None => key.text("CurrentBuild")?,
    };
    let build = build.and_then(|build| build.trim().parse().ok()).unwrap_or(0);
    let server = key.text("InstallationType")?.map_or(product.contains("Server"), |kind| kind.starts_with("Server"))
        || product.contains("Server");
    let Some(generation) = Generation::from_version(version, build, server) else { return Ok(None) };
    Ok(Some(SystemVersion {
        edition: key.text("EditionID")?,
        service_pack: key.text("CSDVersion")?.filter(|text| !text.is_empty()),
        product,
        generation,
        build,
    }))
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn services(system: &Hive, set: &str) -> Result<Vec<ServiceFact>, HiveError> {
    let Some(key) = system.key(&format!("{set}\\Services"))? else { return Ok(Vec::new()) };
    let mut services = Vec::new();
    for key in key.subkeys()? {
        let Some(start) = key.number("Start")?.and_then(StartMode::from_number) else { continue };
        services.push(service(&key, start)?);
    }
    services.sort_by_key(|service| service.name.to_uppercase());
    Ok(services)
}

fn service(key: &Key<'_>, start: StartMode) -> Result<ServiceFact, HiveError> {
    // 1, 2, 4 and 8 are kinds of drivers.
    let driver = key.number("Type")?.unwrap_or(0x10) & 0xf != 0;
    Ok(ServiceFact { name: key.name(), start, driver, image: key.text("ImagePath")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeping_machine_is_hibernated() {
        assert!(is_hibernated(b"hibr\0\0") && is_hibernated(b"HIBR") && is_hibernated(b"RSTR...."));
        assert!(!is_hibernated(b"wake") && !is_hibernated(&[0; 4096]) && !is_hibernated(b""));
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(parse_version("6.1"), Some((6, 1)));
        assert_eq!(parse_version("6"), None);
    }
}
