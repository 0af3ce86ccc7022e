//! The shape of the code: who may import whom, who may print, how long a file may be, what may not be named.

mod imports;
mod licences;
mod text;

use std::path::{Path, PathBuf};

/// The root of the project.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` that ends in one of `endings`, sorted.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = walkdir::WalkDir::new(root().join(folder))
        .into_iter()
        .map(|entry| entry.expect("the project's folders can be read").into_path())
        .filter(|path| path.is_file() && endings.iter().any(|e| path.to_string_lossy().ends_with(e)))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{folder} holds no {endings:?} file");
    found
}

/// The file's text.
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The path as people know it, from the project's root.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
