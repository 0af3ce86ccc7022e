//! The cache on disk.
//!
//! ```text
//! patches/KEY/patch.json     what it is and the digest of each file; written last
//! patches/KEY/files/...      the INF and what it names
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source;
use crate::guest::windows::driver::{DriverPackage, PackageError};

/// Why the cache cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// A file cannot be read or written.
    #[error("{path} cannot be {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A tool is missing.
    #[error("`{tool}` cannot be run: install the Debian package {package}")]
    NoTool {
        /// The tool.
        tool: &'static str,
        /// The package.
        package: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// An archive cannot be unpacked.
    #[error("{path} cannot be unpacked: {message}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the tool said.
        message: String,
    },
    /// There is no driver package in a source.
    #[error("{path} holds no driver package: no INF file with all the files that it names{}", left_out(problems))]
    Nothing {
        /// The source.
        path: PathBuf,
        /// What was left out, and why.
        problems: Vec<String>,
    },
    /// A package is damaged.
    #[error("the patch cache is damaged: {}; remove the folder and add its source again", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Damaged {
        /// Each problem.
        problems: Vec<PatchProblem>,
    },
}

fn left_out(problems: &[String]) -> String {
    problems.iter().take(5).map(|problem| format!("; left out: {problem}")).collect()
}

/// What the cache knows about a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchRecord {
    /// Its key: the digest of its files.
    pub key: String,
    /// What it is: `viostor 100.95.104.26200`.
    pub title: String,
    /// The device class.
    pub class: String,
    /// Its INF file.
    pub inf: String,
    /// Where in its source it was: `viostor/2k19/amd64`.
    pub origin: String,
    /// What it came from.
    pub source: String,
    /// `blake3:HEX` of each file.
    pub files: BTreeMap<String, String>,
}

/// Something that is not as it was when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PatchProblem {
    /// The package's folder.
    pub folder: PathBuf,
    /// What is wrong.
    pub what: String,
}

impl std::fmt::Display for PatchProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.folder.display(), self.what)
    }
}

/// What a source brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Packages that are new.
    pub new: Vec<PatchRecord>,
    /// How many were there already.
    pub known: usize,
    /// INF files that were left out, and why.
    pub left_out: Vec<String>,
}

/// The cache of a store.
#[derive(Clone, Debug)]
pub struct PatchCache {
    root: PathBuf,
}

const RECORD: &str = "patch.json";
const FILES: &str = "files";

impl PatchCache {
    /// The cache in that folder; it need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The cache of a store.
    pub fn of_store(store: &Path) -> Self {
        Self::new(store.join("patches"))
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Takes in every driver package of a folder, an INF file, an ISO image or a package.
    pub fn add(&self, path: &Path) -> Result<Added, PatchError> {
        fs::create_dir_all(&self.root).map_err(failed("written", &self.root))?;
        let work = tempfile::Builder::new().prefix(".adding-").tempdir_in(&self.root);
        let work = work.map_err(failed("written", &self.root))?;
        let opened = source::open(path, work.path())?;
        let mut added = Added::default();
        for (inf, origin) in source::infs(&opened)? {
            match DriverPackage::open(&inf, &origin) {
                Ok(package) if package.models.is_empty() => {}
                Ok(package) => match self.take(&package, path, work.path())? {
                    Some(record) => added.new.push(record),
                    None => added.known += 1,
                },
                Err(error @ (PackageError::Io { .. } | PackageError::Inf { .. })) => {
                    added.left_out.push(format!("{origin}/{}: {}", name_of(&inf), root_cause(&error)));
                }
                Err(error) => added.left_out.push(format!("{origin}/{}: {error}", name_of(&inf))),
            }
        }
        if added.new.is_empty() && added.known == 0 {
            return Err(PatchError::Nothing { path: path.to_owned(), problems: added.left_out });
        }
        Ok(added)
    }

    /// Copies a package in; `None` if it is there.
    fn take(&self, package: &DriverPackage, source: &Path, work: &Path) -> Result<Option<PatchRecord>, PatchError> {
        let mut files = BTreeMap::new();
        for name in &package.files {
            let path = package.folder.join(name);
            files.insert(name.clone(), digest(&fs::read(&path).map_err(failed("read", &path))?));
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update(package.origin.as_bytes());
        for (name, digest) in &files {
            hasher.update(format!("\n{name} {digest}").as_bytes());
        }
        let key = hasher.finalize().to_hex()[..20].to_owned();
        let target = self.root.join(&key);
        if target.join(RECORD).exists() {
            return Ok(None);
        }
        let record = PatchRecord {
            key: key.clone(),
            title: package.title(),
            class: package.class.clone(),
            inf: package.inf_name.clone(),
            origin: package.origin.clone(),
            source: source.display().to_string(),
            files,
        };
        // It appears whole or not at all.
        let fresh = work.join(&key);
        let to = fresh.join(FILES);
        fs::create_dir_all(&to).map_err(failed("written", &to))?;
        for name in &package.files {
            write(&to.join(name), &fs::read(package.folder.join(name)).map_err(failed("read", &package.folder))?)?;
        }
        let text = serde_json::to_vec_pretty(&record).expect("texts are JSON");
        write(&fresh.join(RECORD), &text)?;
        if target.exists() {
            fs::remove_dir_all(&target).map_err(failed("replaced", &target))?;
        }
        fs::rename(&fresh, &target).map_err(failed("written", &target))?;
        Ok(Some(record))
    }

    /// Every package, by title and origin.
    pub fn list(&self) -> Result<Vec<PatchRecord>, PatchError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.root)(error)),
        };
        let mut records = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path().join(RECORD);
            if !entry.file_name().to_string_lossy().starts_with('.') && path.is_file() {
                let bytes = fs::read(&path).map_err(failed("read", &path))?;
                let record = serde_json::from_slice(&bytes).map_err(|error| PatchError::Damaged {
                    problems: vec![PatchProblem { folder: entry.path(), what: format!("{RECORD}: {error}") }],
                })?;
                records.push(record);
            }
        }
        records.sort_by(|one: &PatchRecord, other| {
            (&one.title, &one.origin, &one.key).cmp(&(&other.title, &other.origin, &other.key))
        });
        Ok(records)
    }

    /// What is not as it was when it came.
    pub fn check(&self) -> Result<Vec<PatchProblem>, PatchError> {
        Ok(self.list()?.iter().flat_map(|record| self.problems(record)).collect())
    }

    fn problems(&self, record: &PatchRecord) -> Vec<PatchProblem> {
        let folder = self.root.join(&record.key);
        let problem = |what: String| PatchProblem { folder: folder.clone(), what };
        let look = |(name, wanted): (&String, &String)| match fs::read(folder.join(FILES).join(name)) {
            Err(error) => Some(problem(format!("{name}: {error}"))),
            Ok(bytes) if digest(&bytes) != *wanted => Some(problem(format!("{name} is not what it was when it came"))),
            Ok(_) => None,
        };
        record.files.iter().filter_map(look).collect()
    }

    /// Every package, ready to be chosen from. Refused if any is damaged.
    pub fn packages(&self) -> Result<Vec<(PatchRecord, DriverPackage)>, PatchError> {
        let problems = self.check()?;
        if !problems.is_empty() {
            return Err(PatchError::Damaged { problems });
        }
        let mut packages = Vec::new();
        for record in self.list()? {
            let folder = self.root.join(&record.key);
            let inf = folder.join(FILES).join(&record.inf);
            let package = DriverPackage::open(&inf, &record.origin).map_err(|error| PatchError::Damaged {
                problems: vec![PatchProblem { folder, what: error.to_string() }],
            })?;
            packages.push((record, package));
        }
        Ok(packages)
    }
}

pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PatchError + use<> {
    let path = path.to_owned();
    move |error| PatchError::Io { doing, path, error }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), PatchError> {
    let mut file = File::create(path).map_err(failed("written", path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("written", path))
}

fn digest(bytes: &[u8]) -> String {
    format!("blake3:{}", blake3::hash(bytes).to_hex())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn root_cause(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
}
