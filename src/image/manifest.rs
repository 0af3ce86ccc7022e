//! Image manifests: what was captured, from where, authenticated with the store's key, written last.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::chunk::DiskDigest;
use super::error::{ImageError, Result};
use super::hex;
use super::key::Keys;
use super::name::{DiskName, unescape};
use super::source::Reading;

/// Names an image or a sealed set; later ones sort after earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(uuid::Uuid);

impl ImageId {
    /// A new one.
    pub(super) fn new() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// Reads an id as it is written; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let id = uuid::Uuid::try_parse(text).ok()?;
        (id.to_string() == text).then_some(Self(id))
    }

    pub(super) fn bytes(&self) -> [u8; 16] {
        *self.0.as_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an image was captured from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceRecord {
    /// The source's path.
    pub path: PathBuf,
    /// Its format, such as `raw`.
    pub format: String,
    /// The identity line that held before and after the capture.
    pub identity: String,
}

/// A finished image. Everything here can be read without the key, but is believed only with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format: 1.
    pub format: u32,
    /// The image's id; its chunk map is `ID.map` beside the manifest.
    pub id: ImageId,
    /// The machine's name.
    pub machine: String,
    /// The disk's name.
    pub disk: String,
    /// Bytes of the logical disk.
    pub size: u64,
    /// Bytes of a chunk.
    pub chunk_size: u32,
    /// Chunks that are not zero.
    pub data_chunks: u64,
    /// Chunks of zeros.
    pub zero_chunks: u64,
    /// Bytes that this capture added to the store; the rest was there.
    pub stored_bytes: u64,
    /// When the capture ended, RFC 3339.
    pub captured: String,
    /// The program that captured.
    pub tool: String,
    /// The source.
    pub source: SourceRecord,
    /// How it was read.
    pub reading: Reading,
    /// The disk's digest, sealed: in the clear it would confirm guesses about the content.
    pub sealed_digest: String,
    /// Keyed BLAKE3 of all the above.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
}

/// A capture that is under way or was cut off; `ID.partial` beside its map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unfinished {
    pub(super) format: u32,
    pub(super) id: ImageId,
    pub(super) machine: String,
    pub(super) disk: String,
    pub(super) size: u64,
    pub(super) chunk_size: u32,
    pub(super) source: SourceRecord,
    pub(super) reading: Reading,
    /// Digest of the ranges that are read.
    pub(super) ranges: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) mac: String,
}

/// A record that carries a MAC over everything else in it.
pub(super) trait Authenticated: Serialize + DeserializeOwned + Clone {
    fn mac_mut(&mut self) -> &mut String;
    fn format(&self) -> u32;
}

macro_rules! authenticated {
    ($($record:ty),*) => {$(
        impl Authenticated for $record {
            fn mac_mut(&mut self) -> &mut String {
                &mut self.mac
            }

            fn format(&self) -> u32 {
                self.format
            }
        }
    )*};
}
authenticated!(Manifest, Unfinished, super::set::SealedSet);

/// The version that we write.
pub(super) const FORMAT: u32 = 1;

/// Reads a record without believing it.
pub(super) fn read_unverified<T: Authenticated>(path: &Path) -> Result<T> {
    let text = std::fs::read(path).map_err(ImageError::file("reading", path))?;
    let damaged = |error: serde_json::Error| ImageError::damaged(path, error.to_string());
    let record: T = match serde_json::from_slice(&text) {
        Ok(record) => record,
        Err(error) => {
            let format =
                serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|value| value["format"].as_u64());
            return Err(match format {
                Some(found) if found > u64::from(FORMAT) => newer(path, found as u32),
                _ => damaged(error),
            });
        }
    };
    match record.format() {
        FORMAT => Ok(record),
        found => Err(newer(path, found)),
    }
}

fn newer(path: &Path, found: u32) -> ImageError {
    ImageError::UnknownFormat { path: path.to_owned(), found, known: FORMAT }
}

/// Reads a record and checks its MAC.
pub(super) fn read<T: Authenticated>(path: &Path, keys: &Keys) -> Result<T> {
    let record: T = read_unverified(path)?;
    let mut bare = record.clone();
    let mac = std::mem::take(bare.mac_mut());
    match keys.mac(&compact(&bare)) == mac {
        true => Ok(record),
        false => Err(ImageError::damaged(path, "it does not authenticate: it was changed after it was written")),
    }
}

/// Writes a record with its MAC, whole or not at all.
pub(super) fn write<T: Authenticated>(path: &Path, record: &T, keys: &Keys) -> Result<()> {
    let mut record = record.clone();
    record.mac_mut().clear();
    *record.mac_mut() = keys.mac(&compact(&record));
    let mut text = serde_json::to_vec_pretty(&record).expect("plain records become JSON");
    text.push(b'\n');
    write_file(path, &text)
}

fn compact<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("plain records become JSON")
}

/// Writes a file whole or not at all, durable when it returns.
pub(super) fn write_file(path: &Path, content: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    let mut temporary = tempfile::Builder::new()
        .prefix(".new-")
        .tempfile_in(folder)
        .map_err(ImageError::file("creating a file in", folder))?;
    std::io::Write::write_all(&mut temporary, content)
        .and_then(|()| temporary.as_file().sync_all())
        .map_err(ImageError::file("writing", path))?;
    temporary.persist(path).map_err(|error| ImageError::file("writing", path)(error.error))?;
    sync_folder(folder)
}

/// The folder that a file lies in; a bare name lies in the current one.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> Result<()> {
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(ImageError::file("syncing", folder))
}

impl Manifest {
    /// Whose disk.
    pub fn name(&self) -> Result<DiskName> {
        DiskName::new(&self.machine, &self.disk)
    }

    /// Seals the digest for [`Self::sealed_digest`].
    pub(super) fn seal_digest(keys: &Keys, id: ImageId, digest: &DiskDigest) -> String {
        let mut sealed = Vec::new();
        keys.map(&id.bytes()).seal(b"disk digest", digest.value(), &mut sealed);
        hex::encode(&sealed)
    }

    /// Opens the digest.
    pub(super) fn digest(&self, keys: &Keys) -> Option<DiskDigest> {
        let mut sealed = hex::decode(&self.sealed_digest)?;
        let plain = keys.map(&self.id.bytes()).open(b"disk digest", &mut sealed).ok()?;
        Some(DiskDigest::from_parts(self.chunk_size, plain.try_into().ok()?))
    }
}

/// Every folder `ROOT/MACHINE/DISK` with its names, sorted.
pub(super) fn disks_below(images: &Path) -> Result<Vec<(DiskName, PathBuf)>> {
    let mut disks = Vec::new();
    for (machine, folder) in folders(images)? {
        for (disk, folder) in folders(&folder)? {
            disks.push((DiskName::new(&machine, &disk)?, folder));
        }
    }
    Ok(disks)
}

/// The sub-folders whose names are escaped names, sorted; none if the folder is not there.
pub(super) fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().and_then(|name| unescape(name.to_str()?));
        if let (Some(name), true) = (name, path.is_dir()) {
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Paths in a folder; none if it is not there.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ImageError::file("listing", folder)(error)),
    };
    listing.map(|entry| entry.map(|entry| entry.path()).map_err(ImageError::file("listing", folder))).collect()
}

/// The ids of files `ID.EXTENSION` in a folder, oldest first.
pub(super) fn ids(folder: &Path, extension: &str) -> Result<Vec<ImageId>> {
    let mut ids: Vec<ImageId> = entries(folder)?
        .iter()
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .filter_map(|path| ImageId::parse(path.file_stem()?.to_str()?))
        .collect();
    ids.sort();
    Ok(ids)
}
