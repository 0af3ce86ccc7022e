//! The files of a Windows volume, by paths such as `\Windows\System32`, whatever they are read through.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Read access to a volume. Case does not matter; a path that is not there is `None`.
pub trait WindowsFiles {
    /// The first `limit` bytes of a file.
    fn head(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>>;
    /// The names in a folder, sorted.
    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>>;

    /// A whole file.
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.head(path, u64::MAX)
    }

    /// Whether there is such a file.
    fn is_file(&self, path: &str) -> io::Result<bool> {
        Ok(self.head(path, 0)?.is_some())
    }
}

/// A volume that is mounted here.
#[derive(Clone, Debug)]
pub struct MountedVolume {
    root: PathBuf,
}

impl MountedVolume {
    /// The volume below a mount point.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where the volume is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path lies here; what is not there yet keeps the name that was asked for.
    pub fn locate(&self, path: &str) -> io::Result<PathBuf> {
        let mut at = self.root.clone();
        for name in components(path) {
            let exact = at.join(name);
            at = if fs::symlink_metadata(&exact).is_ok() { exact } else { at.join(spelled(&at, name)?) };
        }
        Ok(at)
    }
}

/// The components of a Windows path; `.` and `..` lead nowhere.
pub(super) fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split(['\\', '/']).filter(|name| !matches!(*name, "" | "." | ".."))
}

/// How the folder spells a name.
fn spelled(folder: &Path, name: &str) -> io::Result<String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if absent(&error) => return Ok(name.to_owned()),
        Err(error) => return Err(error),
    };
    let wanted = name.to_uppercase();
    let found = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(found.into_iter().find(|own| own.to_uppercase() == wanted).unwrap_or_else(|| name.to_owned()))
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory)
}

impl WindowsFiles for MountedVolume {
    fn head(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let at = self.locate(path)?;
        let mut bytes = Vec::new();
        match fs::File::open(&at).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) if at.is_file() => Ok(Some(bytes)),
            Ok(_) => Ok(None),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn list(&self, path: &str) -> io::Result<Option<Vec<String>>> {
        let entries = match fs::read_dir(self.locate(path)?) {
            Ok(entries) => entries,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(Some(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_matter_and_nothing_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("WINDOWS/system32")).unwrap();
        fs::write(folder.path().join("WINDOWS/system32/Cmd.exe"), "MZ..").unwrap();
        let volume = MountedVolume::new(folder.path());
        assert_eq!(volume.head("\\Windows\\System32\\cmd.EXE", 2).unwrap().unwrap(), b"MZ");
        assert_eq!(volume.read("\\Windows\\System32").unwrap(), None);
        assert_eq!(volume.read("\\..\\..\\etc\\passwd").unwrap(), None);
        assert_eq!(volume.list("windows").unwrap().unwrap(), ["system32"]);
        assert_eq!(volume.list("windows\\no").unwrap(), None);
        assert_eq!(volume.locate("\\windows\\New").unwrap(), folder.path().join("WINDOWS/New"));
    }
}
