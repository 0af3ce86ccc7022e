//! Where packages come from: a folder, one INF file, or an archive that `bsdtar` can read (ISO, deb, rpm, zip, cab, tar).

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::PatchError;
use super::cache::failed;

/// A folder to search, and the INF file that alone is meant.
pub(super) struct Opened {
    folder: PathBuf,
    only: Option<PathBuf>,
}

/// Opens a source; archives are unpacked below `work`.
pub(super) fn open(path: &Path, work: &Path) -> Result<Opened, PatchError> {
    let found = std::fs::metadata(path).map_err(failed("read", path))?;
    if found.is_dir() {
        return Ok(Opened { folder: path.to_owned(), only: None });
    }
    if is_inf(path) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return Ok(Opened { folder: folder.to_owned(), only: Some(path.to_owned()) });
    }
    let folder = work.join("source");
    unpack(path, &folder)?;
    // A Debian package is an archive of archives.
    for name in ["data.tar.xz", "data.tar.zst", "data.tar.gz", "data.tar"] {
        let inner = folder.join(name);
        if inner.is_file() {
            let data = work.join("data");
            unpack(&inner, &data)?;
            return Ok(Opened { folder: data, only: None });
        }
    }
    Ok(Opened { folder, only: None })
}

fn unpack(path: &Path, to: &Path) -> Result<(), PatchError> {
    std::fs::create_dir_all(to).map_err(failed("written", to))?;
    let output = Command::new("bsdtar")
        .args(["--no-same-owner", "--no-same-permissions", "-xf"])
        .arg(path)
        .arg("-C")
        .arg(to)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| PatchError::NoTool { tool: "bsdtar", package: "libarchive-tools", error })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let message = said.lines().next().unwrap_or("bsdtar said nothing").to_owned();
    Err(PatchError::Archive { path: path.to_owned(), message })
}

/// Every INF file with the folder that it lies in, as the source names it.
pub(super) fn infs(opened: &Opened) -> Result<Vec<(PathBuf, String)>, PatchError> {
    let mut found = Vec::new();
    let walk =
        walkdir::WalkDir::new(&opened.folder).sort_by_file_name().max_depth(if opened.only.is_some() { 1 } else { 24 });
    for entry in walk {
        let entry = entry.map_err(|error| {
            let error = error.into_io_error().unwrap_or_else(|| io::Error::other("a loop of symbolic links"));
            failed("read", &opened.folder)(error)
        })?;
        let path = entry.path();
        let wanted = opened.only.as_ref().is_none_or(|only| only.file_name() == path.file_name());
        if entry.file_type().is_file() && is_inf(path) && wanted {
            let folder = path.parent().unwrap_or(&opened.folder);
            let origin = folder.strip_prefix(&opened.folder).unwrap_or(folder).display().to_string();
            let named = opened.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            found.push((path.to_owned(), if origin.is_empty() { named } else { origin }));
        }
    }
    Ok(found)
}

fn is_inf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("inf"))
}
