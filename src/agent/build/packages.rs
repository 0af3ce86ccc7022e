//! The Debian packages that the agent is made of: which files, and getting them into the cache.
//!
//! What a flavour resolves to is remembered in the cache, so that a later build works offline and gives the same bytes;
//! `refresh` asks apt again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Which kernel the agent boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// Debian's cloud kernel: virtio, VMware, Hyper-V and PIIX; boots fastest.
    Cloud,
    /// Debian's generic kernel: also AHCI, hardware RAID and real network adapters.
    Generic,
}

impl Flavour {
    /// Its name, as `--flavour` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cloud => "cloud",
            Self::Generic => "generic",
        }
    }

    fn kernel_package(self) -> &'static str {
        match self {
            Self::Cloud => "linux-image-cloud-amd64",
            Self::Generic => "linux-image-amd64",
        }
    }
}

/// A package file in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageFile {
    /// The package.
    pub package: String,
    /// Its file's name, with the version.
    pub file: String,
    /// `blake3:HEX` of the file.
    pub digest: String,
}

/// Why the packages are not there.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A program is missing.
    #[error("`{tool}` cannot be run: install the Debian package {package}")]
    Tool {
        /// The program.
        tool: &'static str,
        /// The package that has it.
        package: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// apt does not know the package.
    #[error("apt knows no kernel for {package}: run `apt-get update` first")]
    Unknown {
        /// The package.
        package: String,
    },
    /// A download failed.
    #[error("apt-get could not download {packages}: {message}")]
    Download {
        /// The packages.
        packages: String,
        /// What apt said.
        message: String,
    },
    /// A package could not be unpacked.
    #[error("{file} could not be unpacked: {message}")]
    Unpack {
        /// The package's file.
        file: PathBuf,
        /// What dpkg-deb said.
        message: String,
    },
    /// The cache cannot be read or written.
    #[error("the package cache {path} cannot be used")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// Packages besides the kernel: what mounts, checks, assembles and unpacks in the agent.
const TOOLS: [&str; 6] = ["busybox-static", "e2fsprogs", "lz4", "lvm2", "mdadm", "cryptsetup-bin"];
/// Libraries that the agent carries anyway, with the `replant` program.
const CARRIED: [&str; 3] = ["libc6", "libgcc-s1", "libcrypt1"];

/// The packages of a flavour, downloaded if they are not in `cache`.
pub fn obtain(flavour: Flavour, cache: &Path, refresh: bool) -> Result<Vec<PackageFile>, PackageError> {
    let cache_error = |path: &Path| {
        let path = path.to_owned();
        move |error| PackageError::Cache { path, error }
    };
    fs::create_dir_all(cache).map_err(cache_error(cache))?;
    let record = cache.join(format!("packages-{}.json", flavour.name()));
    if !refresh && let Some(files) = remembered(&record, cache) {
        return Ok(files);
    }
    let kernel = kernel_of(flavour)?;
    let packages: Vec<String> =
        std::iter::once(kernel).chain(TOOLS.map(str::to_owned)).chain(libraries_of(&TOOLS)?).collect();
    download(&packages, cache)?;
    let mut files = Vec::new();
    for package in packages {
        let (path, file) = newest(&package, cache).ok_or_else(|| PackageError::Download {
            packages: package.clone(),
            message: "it reported success and left no file".to_owned(),
        })?;
        let digest = digest(&fs::read(&path).map_err(cache_error(&path))?);
        files.push(PackageFile { package, file, digest });
    }
    let text = serde_json::to_vec_pretty(&files).expect("names and digests are JSON");
    fs::write(&record, text).map_err(cache_error(&record))?;
    Ok(files)
}

/// What the cache remembers, if every file of it is still there, unchanged.
pub fn remembered(record: &Path, cache: &Path) -> Option<Vec<PackageFile>> {
    let files: Vec<PackageFile> = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
    let intact = |file: &PackageFile| fs::read(cache.join(&file.file)).is_ok_and(|bytes| digest(&bytes) == file.digest);
    // A record of an older version knows fewer tools.
    let complete = TOOLS.iter().all(|tool| files.iter().any(|file| file.package == *tool));
    (complete && files.iter().all(intact)).then_some(files)
}

/// Unpacks one package into `to`.
pub fn unpack(file: &Path, to: &Path) -> Result<(), PackageError> {
    let output = Command::new("dpkg-deb").arg("-x").arg(file).arg(to).output().map_err(|error| PackageError::Tool {
        tool: "dpkg-deb",
        package: "dpkg",
        error,
    })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(PackageError::Unpack { file: file.to_owned(), message: last_line(&output.stderr) }),
    }
}

/// `blake3:HEX` of bytes.
pub fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

/// The package of the kernel that the flavour's metapackage depends on.
fn kernel_of(flavour: Flavour) -> Result<String, PackageError> {
    let output = Command::new("apt-cache")
        .args(["depends", "--important", flavour.kernel_package()])
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| PackageError::Tool { tool: "apt-cache", package: "apt", error })?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let depends = text.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    match depends.filter(|package| package.starts_with("linux-image-")) {
        Some(package) => Ok(package.to_owned()),
        None => Err(PackageError::Unknown { package: flavour.kernel_package().to_owned() }),
    }
}

/// The libraries that the packages load, at any depth; their names differ between releases of Debian.
fn libraries_of(packages: &[&str]) -> Result<Vec<String>, PackageError> {
    let output = Command::new("apt-cache")
        .args(["depends", "--recurse", "--important"])
        .args(["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"])
        .args(packages)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| PackageError::Tool { tool: "apt-cache", package: "apt", error })?;
    // Every package that is reached stands at the beginning of a line. Those of debconf's and systemd's own programs are
    // reached too; only what a library needs is followed.
    Ok(libraries(&String::from_utf8_lossy(&output.stdout), packages))
}

/// From the text of `apt-cache depends --recurse`: what is reached from `packages` by way of libraries only.
fn libraries(text: &str, packages: &[&str]) -> Vec<String> {
    let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut at = "";
    for line in text.lines() {
        if !line.starts_with([' ', '|', '<']) {
            at = line.trim();
        } else if let Some((_, needed)) = line.split_once("epends: ") {
            needs.entry(at).or_default().push(needed.trim());
        }
    }
    let mut found: Vec<String> = Vec::new();
    let mut open: Vec<&str> = packages.to_vec();
    while let Some(package) = open.pop() {
        for needed in needs.get(package).into_iter().flatten() {
            let library = needed.starts_with("lib") && !CARRIED.contains(needed);
            if library && !found.iter().any(|own| own == needed) {
                found.push((*needed).to_owned());
                open.push(needed);
            }
        }
    }
    found.sort();
    found
}

fn download(packages: &[String], cache: &Path) -> Result<(), PackageError> {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "download"])
        .args(packages)
        .env("LC_ALL", "C")
        .current_dir(cache)
        .output()
        .map_err(|error| PackageError::Tool { tool: "apt-get", package: "apt", error })?;
    match output.status.success() {
        true => Ok(()),
        false => Err(PackageError::Download { packages: packages.join(" "), message: last_line(&output.stderr) }),
    }
}

/// The file of the package that was written last: apt has just confirmed it, or just downloaded it.
fn newest(package: &str, cache: &Path) -> Option<(PathBuf, String)> {
    let prefix = format!("{package}_");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(cache).ok()?.filter_map(Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(&prefix) && name.ends_with(".deb") {
            let changed = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
            found.insert((changed, name.clone()), entry.path());
        }
    }
    found.pop_last().map(|((_, name), path)| (path, name))
}

fn last_line(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_followed_and_programs_are_not() {
        let text = "lvm2\n  Depends: libaio1\n  Depends: libc6\n  PreDepends: dmsetup\nlibaio1\n  Depends: libc6\ndmsetup\n  Depends: libother1\nlibsystemd0\n |Depends: liblz4-1\nmdadm\n  Depends: libsystemd0\nliblz4-1\n";
        assert_eq!(libraries(text, &["lvm2", "mdadm"]), ["libaio1", "liblz4-1", "libsystemd0"]);
    }
}
