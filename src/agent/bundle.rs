//! Drivers and tables for a Windows guest, appended to the agent's initramfs for one VM.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::guest::cpio;
use crate::guest::windows::driver::DriverPackage;
use crate::guest::windows::{
    Device, DiskView, FoundWindows, Hal, Hardware, ServiceModes, ServiceRule, TargetTables, choice, survey,
};
use crate::hardware::DiskFormat;
use crate::image::{DiskReader, open_source};
use crate::patch::PatchCache;
use crate::sequence;

use super::windows::{BUNDLE, BUNDLE_FILE, Bundle};

/// Why no bundle can be made.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The VM's description or a disk of it makes no sense.
    #[error("{path}: {message}")]
    Vm {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The tables cannot be understood.
    #[error("{path} has no tables for Windows that can be used: {message}")]
    Tables {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The patch cache cannot be used.
    #[error(transparent)]
    Patches(#[from] crate::patch::PatchError),
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> BundleError + use<> {
    let path = path.to_owned();
    move |error| BundleError::Io { path, error }
}

/// Makes the initramfs for a VM that holds a Windows: the agent's, and after it the tables of `windows` (a rendered XML
/// file) with the packages of the cache that the Windows needs. `None` if the VM's disks hold no Windows.
pub fn windows_initramfs(
    vm: &Path,
    agent: &Path,
    windows: &Path,
    patches: &Path,
) -> Result<Option<PathBuf>, BundleError> {
    let found = on_disks(vm)?;
    if found.is_empty() {
        return Ok(None);
    }
    let tables = read_tables(windows)?;
    let packages: Vec<DriverPackage> =
        PatchCache::new(patches).packages()?.into_iter().map(|(_, package)| package).collect();
    let mut wanted = BTreeSet::new();
    for windows in &found {
        let chosen = tables.hardware.devices.iter().filter_map(|device| choice(device, &packages, &windows.facts));
        wanted.extend(chosen.map(|choice| choice.package.folder.clone()));
    }
    let packages: Vec<&DriverPackage> = packages.iter().filter(|package| wanted.contains(&package.folder)).collect();
    let image = vm.join("agent-windows.img");
    write_image(&image, &agent.join("agent.img"), &tables, &packages).map_err(io_at(&image))?;
    Ok(Some(image))
}

/// Every Windows on a VM's disks.
fn on_disks(vm: &Path) -> Result<Vec<FoundWindows>, BundleError> {
    let path = vm.join("vm.json");
    let text = fs::read(&path).map_err(io_at(&path))?;
    let wrong = |message: String| BundleError::Vm { path: path.clone(), message };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let disks = value.get("disks").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    let mut readers: Vec<Box<dyn DiskReader>> = Vec::new();
    for disk in &disks {
        let field = |name: &str| disk.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
        let format = DiskFormat::parse(field("format"))
            .ok_or_else(|| wrong(format!("`{}` is no disk format", field("format"))))?;
        let file = vm.join(field("file"));
        let reader = open_source(&file, format)
            .map_err(|error| BundleError::Vm { path: file.clone(), message: error.to_string() })?;
        readers.push(reader);
    }
    let reads: Vec<_> = readers
        .iter()
        .map(|reader| move |buffer: &mut [u8], offset: u64| -> io::Result<()> { reader.read_at(buffer, offset) })
        .collect();
    let views: Vec<DiskView<'_>> = readers
        .iter()
        .zip(&reads)
        .enumerate()
        .map(|(index, (reader, read_at))| DiskView { name: format!("/dev/disk{index}"), size: reader.size(), read_at })
        .collect();
    let survey = survey(&views).map_err(|error| wrong(super::commands::with_causes(&error)))?;
    Ok(survey.found)
}

/// The tables in a rendered sequence.
fn read_tables(path: &Path) -> Result<TargetTables, BundleError> {
    let text = fs::read_to_string(path).map_err(io_at(path))?;
    let wrong = |message: String| BundleError::Tables { path: path.to_owned(), message };
    let sequence = sequence::parse(&text).map_err(|error| wrong(error.to_string()))?;
    let steps = sequence.steps();
    let Some(step) = steps.iter().find(|step| step.command == "windows.tables") else {
        return Err(wrong("it has no step with the command `windows.tables`".to_owned()));
    };
    let devices: Result<Vec<Device>, _> = step.list("device").into_iter().map(Device::from_row).collect();
    let services: Result<Vec<ServiceRule>, _> = step.list("service").into_iter().map(ServiceRule::from_row).collect();
    let tables = TargetTables {
        hardware: Hardware {
            windows: 1,
            devices: devices.map_err(|error| wrong(error.0))?,
            driver_source: step.parameter("driver-source").unwrap_or_default().to_owned(),
            hal: Hal { accepted: step.list("hal").into_iter().map(str::to_owned).collect() },
        },
        modes: ServiceModes { service_modes: 1, services: services.map_err(|error| wrong(error.0))? },
    };
    tables.hardware.check().and_then(|()| tables.modes.check()).map_err(|error| wrong(error.0))?;
    Ok(tables)
}

fn write_image(image: &Path, agent: &Path, tables: &TargetTables, packages: &[&DriverPackage]) -> io::Result<()> {
    let root = BUNDLE.trim_start_matches('/');
    let mut archive = cpio::Writer::new(Vec::new());
    archive.folder(root, 0o700)?;
    let mut bundle = Bundle { tables: tables.clone(), packages: Vec::new() };
    for (index, package) in packages.iter().enumerate() {
        archive.folder(&format!("{root}/{index}"), 0o700)?;
        for name in &package.files {
            let bytes = fs::read(package.folder.join(name))?;
            archive.file(&format!("{root}/{index}/{name}"), 0o600, &bytes)?;
        }
        bundle.packages.push((format!("{index}/{}", package.inf_name), package.origin.clone()));
    }
    archive.file(&format!("{root}/{BUNDLE_FILE}"), 0o600, &serde_json::to_vec(&bundle)?)?;
    let archive = archive.finish()?;
    let mut whole = Vec::new();
    fs::File::open(agent)?.read_to_end(&mut whole)?;
    // The kernel looks for the next archive at a multiple of four bytes.
    whole.resize(whole.len().next_multiple_of(4), 0);
    whole.extend(archive);
    let fresh = image.with_extension("new");
    let mut file = fs::File::create(&fresh)?;
    file.write_all(&whole)?;
    file.sync_all()?;
    fs::rename(&fresh, image)
}
