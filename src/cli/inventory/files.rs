//! Documents in a folder, one file per machine.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::{Exit, Failure};
use crate::inventory::document::{load_document, to_xml};
use crate::inventory::model::Document;

/// The file of a machine: its name, with what a file's name cannot hold replaced.
pub fn path_of(folder: &Utf8Path, name: &str) -> Utf8PathBuf {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let name: String = name.chars().map(safe).take(120).collect();
    let name = name.trim_start_matches('.');
    folder.join(format!("{}.xml", if name.is_empty() { "unnamed" } else { name }))
}

/// Writes documents; what a file already says of a machine stays where the new document does not say otherwise.
pub fn save(folder: &Utf8Path, documents: Vec<Document>) -> Result<Vec<(Utf8PathBuf, Document)>, Failure> {
    fs::create_dir_all(folder)
        .map_err(|error| Failure::with(Exit::Error, format!("cannot make `{folder}`: {error}")))?;
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut written = Vec::with_capacity(documents.len());
    for document in documents {
        let path = path_of(folder, &document.name);
        if let Some(other) = taken.insert(path.as_str().to_lowercase(), document.name.clone()) {
            let message = format!("`{other}` and `{}` would both be `{path}`: rename one of them", document.name);
            return Err(Failure::with(Exit::Error, message));
        }
        let document = match path.exists() {
            true => {
                let mut known = load_document(&path)?.document;
                known.merge(document);
                known
            }
            false => document,
        };
        written.push((path, document));
    }
    for (path, document) in &written {
        replace(path, &to_xml(document))
            .map_err(|error| Failure::with(Exit::Error, format!("cannot write `{path}`: {error}")))?;
    }
    Ok(written)
}

/// Replaces a file as a whole: a reader sees the old one or the new one.
pub fn replace(path: &Utf8Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_str().is_empty()).unwrap_or(Utf8Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".replant-").tempfile_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    let mode = fs::metadata(path)
        .map_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644), |old| old.permissions());
    file.as_file().set_permissions(mode)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
