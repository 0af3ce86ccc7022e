//! What a user adds to the agent: kernel modules and firmware, from folders or Debian packages.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::image::BuildError;
use super::packages::{self, digest};

/// Additions to the agent.
#[derive(Clone, Debug, Default)]
pub struct Extras {
    /// Folders or .deb files with kernel modules (`*.ko`) for the agent's kernel.
    pub modules: Vec<PathBuf>,
    /// Folders or .deb files with firmware; of a package, what lies in its `lib/firmware`.
    pub firmware: Vec<PathBuf>,
    /// Modules of Debian's kernel that the agent does not carry by itself.
    pub with: Vec<String>,
}

/// Their files, by name below `/lib/firmware` and by file name.
#[derive(Default)]
pub(super) struct ExtraFiles {
    pub(super) modules: BTreeMap<String, Vec<u8>>,
    pub(super) firmware: BTreeMap<String, Vec<u8>>,
    pub(super) with: Vec<String>,
}

impl ExtraFiles {
    /// Reads them all.
    pub(super) fn read(extras: &Extras) -> Result<Self, BuildError> {
        let mut files = Self { with: extras.with.clone(), ..Self::default() };
        for path in &extras.modules {
            let before = files.modules.len();
            inside(path, &mut |_, file, bytes| {
                let name = file.rsplit('/').next().unwrap_or(file);
                if name.ends_with(".ko") {
                    files.modules.insert(name.to_owned(), bytes);
                } else if [".ko.xz", ".ko.zst", ".ko.gz"].iter().any(|end| name.ends_with(end)) {
                    return Err(BuildError::Packed { path: path.clone(), file: file.to_owned() });
                }
                Ok(())
            })?;
            if files.modules.len() == before {
                return Err(BuildError::Nothing { path: path.clone(), what: "kernel modules (*.ko)" });
            }
        }
        for path in &extras.firmware {
            let before = files.firmware.len();
            inside(path, &mut |package, file, bytes| {
                let below = ["usr/lib/firmware/", "lib/firmware/"].iter().find_map(|folder| file.strip_prefix(folder));
                // Of a package only what lies there is firmware; a folder may be that folder itself.
                if let Some(name) = below.or((!package).then_some(file)) {
                    files.firmware.insert(name.to_owned(), bytes);
                }
                Ok(())
            })?;
            if files.firmware.len() == before {
                return Err(BuildError::Nothing { path: path.clone(), what: "firmware (lib/firmware)" });
            }
        }
        Ok(files)
    }

    /// What they add to the key of a build.
    pub(super) fn inputs(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let modules = self.modules.iter().map(|(name, bytes)| (format!("module {name}"), digest(bytes)));
        let firmware = self.firmware.iter().map(|(name, bytes)| (format!("firmware {name}"), digest(bytes)));
        modules.chain(firmware).chain(self.with.iter().map(|name| (format!("with {name}"), String::new())))
    }

    /// Whether every module was built for this kernel: another one would not load, and nobody would see it.
    pub(super) fn fit(&self, release: &str) -> Result<(), BuildError> {
        for (name, bytes) in &self.modules {
            let found = version_magic(bytes).unwrap_or_default();
            if found != release {
                return Err(BuildError::OtherKernel { module: name.clone(), found, wanted: release.to_owned() });
            }
        }
        Ok(())
    }
}

/// The kernel release that a module was built for.
fn version_magic(module: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"\0vermagic=";
    let at = module.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let end = module[at..].iter().position(|byte| matches!(byte, b' ' | 0))?;
    String::from_utf8(module[at..at + end].to_vec()).ok()
}

/// Takes a file: whether it comes from a package, its path inside, its content.
type Show<'a> = dyn FnMut(bool, &str, Vec<u8>) -> Result<(), BuildError> + 'a;

/// Shows every file of a folder or package, with its path inside.
fn inside(path: &Path, show: &mut Show<'_>) -> Result<(), BuildError> {
    let io = |path: &Path, error| BuildError::Io { path: path.to_owned(), error };
    let package = path.is_file() && path.extension().is_some_and(|extension| extension == "deb");
    let unpacked = tempfile::tempdir().map_err(|error| io(path, error))?;
    let root = if package {
        packages::unpack(path, unpacked.path())?;
        unpacked.path()
    } else if path.is_dir() {
        path
    } else {
        return Err(BuildError::Nothing { path: path.to_owned(), what: "folder or .deb file" });
    };
    for entry in walkdir::WalkDir::new(root).follow_links(true).sort_by_file_name() {
        let entry = entry.map_err(|error| io(path, error.into()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).map_err(|error| io(entry.path(), error))?;
        show(package, &name, bytes)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_for_another_kernel_and_empty_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let extras = Extras { modules: vec![folder.path().to_owned()], ..Extras::default() };
        assert!(matches!(ExtraFiles::read(&extras), Err(BuildError::Nothing { .. })));
        fs::write(folder.path().join("thing.ko"), b"\x7fELF\0vermagic=6.1.0-1-amd64 SMP preempt\0").unwrap();
        let files = ExtraFiles::read(&extras).unwrap();
        files.fit("6.1.0-1-amd64").unwrap();
        let error = files.fit("6.1.0-2-amd64").unwrap_err().to_string();
        assert!(error.contains("thing.ko") && error.contains("6.1.0-1-amd64") && error.contains("6.1.0-2-amd64"));
        fs::write(folder.path().join("other.ko.xz"), b"x").unwrap();
        assert!(matches!(ExtraFiles::read(&extras), Err(BuildError::Packed { .. })));
    }

    #[test]
    fn firmware_keeps_its_path() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("lib/firmware/bnx2")).unwrap();
        fs::write(folder.path().join("lib/firmware/bnx2/a.fw"), b"x").unwrap();
        let extras = Extras { firmware: vec![folder.path().to_owned()], ..Extras::default() };
        let files = ExtraFiles::read(&extras).unwrap();
        assert_eq!(files.firmware.keys().collect::<Vec<_>>(), ["bnx2/a.fw"]);
        assert!(files.inputs().any(|(name, _)| name == "firmware bnx2/a.fw"));
    }
}
