//! A driver package in a folder: its INF, the files that it names, and the service that it makes.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::Architecture;
use super::super::registry::RegValue;
use super::{Inf, InfError, Model};

/// Why a folder is no usable driver package.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// The INF cannot be read.
    #[error("{path} cannot be read")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// It is no INF.
    #[error("{path} is no INF file that can be used")]
    Inf {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: InfError,
    },
    /// Files that it names are not beside it.
    #[error("{path} names files that are not beside it: {}", missing.join(", "))]
    Incomplete {
        /// The INF.
        path: PathBuf,
        /// What is missing.
        missing: Vec<String>,
    },
    /// The driver is for another processor.
    #[error("{path}: {file} is not a program for {}", architecture.name())]
    Architecture {
        /// The INF.
        path: PathBuf,
        /// The driver.
        file: String,
        /// What it should be for.
        architecture: Architecture,
    },
}

/// A driver package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverPackage {
    /// Its folder.
    pub folder: PathBuf,
    /// The INF's name there.
    pub inf_name: String,
    /// The parsed INF.
    pub inf: Inf,
    /// The device class: `SCSIAdapter`.
    pub class: String,
    /// The class' identifier, with braces.
    pub class_guid: String,
    /// Date and version.
    pub version: String,
    /// Every device that it serves.
    pub models: Vec<Model>,
    /// Every file of it, the INF included.
    pub files: Vec<String>,
    /// Where it came from, such as `viostor/2k19/amd64`: collections sort drivers by folder.
    pub origin: String,
}

/// The service that starts a device's driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootService {
    /// The service.
    pub name: String,
    /// Its load order group.
    pub group: String,
    /// The driver's file.
    pub binary: String,
    /// What `ErrorControl` shall be.
    pub error_control: u32,
    /// What the package sets below the service.
    pub parameters: Vec<RegistryLine>,
}

/// A line of an `AddReg` section, below the service's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryLine {
    /// The key below the service.
    pub key: String,
    /// The value's name.
    pub name: String,
    /// The value.
    pub value: RegValue,
}

impl DriverPackage {
    /// Reads the package of an INF file. `origin` says where it came from.
    pub fn open(path: &Path, origin: &str) -> Result<Self, PackageError> {
        let bytes = fs::read(path).map_err(|error| PackageError::Io { path: path.to_owned(), error })?;
        let inf = Inf::parse(&bytes).map_err(|error| PackageError::Inf { path: path.to_owned(), error })?;
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        let inf_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let package = Self {
            class: inf.version("Class").unwrap_or_default(),
            class_guid: inf.version("ClassGuid").unwrap_or_default().to_uppercase(),
            version: inf.entry("Version", "DriverVer").unwrap_or_default().join(","),
            models: inf.models(),
            origin: origin.replace('\\', "/"),
            files: Vec::new(),
            folder,
            inf_name,
            inf,
        };
        package.with_files(path)
    }

    fn with_files(mut self, path: &Path) -> Result<Self, PackageError> {
        let mut wanted: BTreeSet<String> = self.inf.catalogs().into_iter().collect();
        for section in ["SourceDisksFiles", "SourceDisksFiles.x86", "SourceDisksFiles.amd64", "SourceDisksFiles.arm64"]
        {
            wanted.extend(self.inf.lines(section).map(|(name, _)| name));
        }
        wanted.insert(self.inf_name.clone());
        let present: Vec<String> = fs::read_dir(&self.folder)
            .map_err(|error| PackageError::Io { path: self.folder.clone(), error })?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let mut missing = Vec::new();
        for name in wanted {
            // A source may lie in a folder of the medium; packages are flat.
            let plain = name.rsplit('\\').next().unwrap_or(&name);
            match present.iter().find(|own| own.eq_ignore_ascii_case(plain)) {
                Some(own) => self.files.push(own.clone()),
                None => missing.push(plain.to_owned()),
            }
        }
        if !missing.is_empty() {
            return Err(PackageError::Incomplete { path: path.to_owned(), missing });
        }
        self.files.sort();
        self.files.dedup();
        Ok(self)
    }

    /// The service of a model of this package, with the package's own settings for it.
    pub fn service(&self, model: &Model) -> Option<BootService> {
        let install = self.inf.install_section(&model.install, model.architecture)?;
        let services = [format!("{install}.Services"), format!("{}.Services", model.install)];
        let section = services.iter().find(|section| self.inf.has_section(section))?;
        let added = self.inf.lines(section).filter(|(key, _)| key.eq_ignore_ascii_case("AddService"));
        // Flag 2 says which service drives the device; the others come along.
        let mut added: Vec<Vec<String>> = added.map(|(_, values)| values).filter(|values| values.len() >= 3).collect();
        added.sort_by_key(|values| number(&values[1]).unwrap_or(0) & 2 == 0);
        let values = added.into_iter().next()?;
        let (name, section) = (values[0].clone(), values[2].clone());
        let field = |key: &str| self.inf.entry(&section, key).and_then(|values| values.into_iter().next());
        let binary = field("ServiceBinary")?.rsplit('\\').next().unwrap_or_default().to_owned();
        let lists = self.inf.entry(&section, "AddReg").unwrap_or_default();
        let parameters = lists.iter().flat_map(|list| self.inf.bare(list)).filter_map(registry_line).collect();
        let error_control = field("ErrorControl").and_then(|text| number(&text)).unwrap_or(1);
        Some(BootService {
            name,
            group: field("LoadOrderGroup").unwrap_or_default(),
            binary,
            error_control,
            parameters,
        })
    }

    /// Whether the driver's file is a program for the architecture.
    pub fn check_binary(&self, service: &BootService, architecture: Architecture) -> Result<(), PackageError> {
        let file = self.files.iter().find(|name| name.eq_ignore_ascii_case(&service.binary));
        let path = self.folder.join(file.unwrap_or(&service.binary));
        let bytes = fs::read(&path).map_err(|error| PackageError::Io { path: path.clone(), error })?;
        if Architecture::of_program(&bytes) == Some(architecture) {
            return Ok(());
        }
        Err(PackageError::Architecture {
            path: self.folder.join(&self.inf_name),
            file: service.binary.clone(),
            architecture,
        })
    }

    /// A short name that says what it is: `viostor 100.95.104.26200`.
    pub fn title(&self) -> String {
        let version = self.version.rsplit(',').next().unwrap_or_default().trim();
        format!("{} {version}", self.inf_name.trim_end_matches(".inf")).trim().to_owned()
    }
}

/// `HKR, KEY, NAME, FLAGS, VALUE...` as a value below the service's key; other roots are left to Windows.
fn registry_line(values: Vec<String>) -> Option<RegistryLine> {
    let mut values = values.into_iter();
    let root = values.next()?;
    if !root.eq_ignore_ascii_case("HKR") {
        return None;
    }
    let (key, name) = (values.next()?, values.next().unwrap_or_default());
    let flags = values.next().and_then(|flags| number(&flags)).unwrap_or(0);
    let rest: Vec<String> = values.collect();
    let first = rest.first().cloned().unwrap_or_default();
    let value = match flags & 0x0003_0001 {
        0x0001_0001 => RegValue::number(number(&first)?),
        0x0001_0000 => RegValue::texts(rest.iter().map(String::as_str)),
        0x0002_0000 => RegValue::expandable(&first),
        1 => RegValue::binary(
            rest.iter().map(|byte| u8::from_str_radix(byte.trim(), 16).ok()).collect::<Option<Vec<u8>>>()?,
        ),
        _ => RegValue::text(&first),
    };
    Some(RegistryLine { key, name, value })
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::inf::tests::STORAGE;
    use super::*;

    /// The smallest thing that is a program for amd64.
    pub(crate) fn program() -> Vec<u8> {
        let mut program = b"MZ".to_vec();
        program.resize(0x3c, 0);
        program.extend(64u32.to_le_bytes());
        program.extend(b"PE\0\0\x64\x86");
        program.resize(128, 0);
        program
    }

    #[test]
    fn the_service_comes_from_the_inf() {
        let folder = tempfile::tempdir().unwrap();
        let inf = folder.path().join("VioStor.inf");
        fs::write(&inf, STORAGE).unwrap();
        let error = DriverPackage::open(&inf, "x").unwrap_err().to_string();
        assert!(error.contains("viostor.cat, viostor.sys"), "{error}");
        fs::write(folder.path().join("VIOSTOR.SYS"), program()).unwrap();
        fs::write(folder.path().join("viostor.cat"), "x").unwrap();
        let package = DriverPackage::open(&inf, "viostor\\2k19\\amd64").unwrap();
        assert_eq!(package.files, ["VIOSTOR.SYS", "VioStor.inf", "viostor.cat"]);
        assert_eq!(package.class_guid, "{4D36E97B-E325-11CE-BFC1-08002BE10318}");
        let service = package.service(&package.models[0]).unwrap();
        assert_eq!((service.name.as_str(), service.binary.as_str()), ("viostor", "viostor.sys"));
        assert_eq!(service.group, "SCSI Miniport");
        assert_eq!(service.parameters[0].key, "Parameters\\PnpInterface");
        assert_eq!(service.parameters[0].value, RegValue::number(1));
        package.check_binary(&service, Architecture::Amd64).unwrap();
        assert!(package.check_binary(&service, Architecture::X86).is_err());
    }
}
