//! A store: its settings, its keys, its folders.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, RwLock};

use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, PackFiles};
use super::error::{ImageError, Result};
use super::hex;
use super::key::{KeySlot, Keys, MasterKey, SlotFault, StoreKey, random};
use super::lock::Lease;
use super::manifest::{self, ImageId, Manifest, Unfinished, sync_folder, write_file};
use super::name::{DiskName, escape};
use super::pack_writer::Writers;
use super::seal::Cipher;

/// Chunk size of a store that asks for no other; `docs/image-store.md` says why.
pub const DEFAULT_CHUNK_SIZE: u32 = 256 << 10;

/// What is decided when a store is created, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// How it seals.
    pub cipher: Cipher,
    /// Bytes of a chunk: a power of two from 64 KiB to 16 MiB.
    pub chunk_size: u32,
}

impl StoreSettings {
    /// Sealed with `cipher`, in chunks of the default size.
    pub fn new(cipher: Cipher) -> Self {
        Self { cipher, chunk_size: DEFAULT_CHUNK_SIZE }
    }
}

/// The content of `store.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreFile {
    format: u32,
    cipher: Cipher,
    chunk_size: u32,
    /// Of an unencrypted store: what its checksums are keyed with; no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clear_key: Option<String>,
    key_slots: Vec<KeySlot>,
    /// BLAKE3 of all the above: tells damage from a wrong key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    checksum: String,
    /// Keyed BLAKE3 of the same: only the key's holder can have written it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mac: String,
}

const FORMAT: u32 = 1;

impl StoreFile {
    /// What checksum and MAC are computed over.
    fn content(&self) -> Vec<u8> {
        let bare = Self { checksum: String::new(), mac: String::new(), ..self.clone() };
        serde_json::to_vec(&bare).expect("plain records become JSON")
    }
}

/// An open image store.
pub struct Store {
    root: PathBuf,
    settings: StoreSettings,
    pub(super) keys: Keys,
    pub(super) catalog: RwLock<Catalog>,
    pub(super) files: Mutex<PackFiles>,
    pub(super) writers: Writers,
}

impl Store {
    /// Whether there is a store at `root`.
    pub fn exists(root: &Path) -> bool {
        root.join("store.json").is_file()
    }

    /// Creates a store, or opens it if someone else created it meanwhile. An encrypted store needs a key.
    pub fn create(root: &Path, settings: StoreSettings, key: Option<&StoreKey>) -> Result<Self> {
        if !settings.chunk_size.is_power_of_two() || !(64 << 10..=16 << 20).contains(&settings.chunk_size) {
            return Err(ImageError::Refused {
                what: format!(
                    "a chunk size is a power of two from 64 KiB to 16 MiB, not {} bytes",
                    settings.chunk_size
                ),
            });
        }
        let master = MasterKey::generate();
        let (clear_key, key_slots) = match (settings.cipher, key) {
            (Cipher::None, _) => (Some(hex::encode(master.bytes())), Vec::new()),
            (Cipher::Aes256Gcm, Some(key)) => (None, vec![KeySlot::wrap("default", key, &master)]),
            (Cipher::Aes256Gcm, None) => return Err(ImageError::NoKeyToCreate { path: root.to_owned() }),
        };
        for folder in ["packs", "index", "images", "sets", "locks"] {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).map_err(ImageError::file("creating", &folder))?;
        }
        let StoreSettings { cipher, chunk_size } = settings;
        let mut file = StoreFile {
            format: FORMAT,
            cipher,
            chunk_size,
            clear_key,
            key_slots,
            checksum: String::new(),
            mac: String::new(),
        };
        let content = file.content();
        file.checksum = hex::encode(blake3::hash(&content).as_bytes());
        file.mac = Keys::derive(cipher, &master).mac(&content);
        let mut text = serde_json::to_vec_pretty(&file).expect("plain records become JSON");
        text.push(b'\n');
        // Several captures may create the store at once: the first link wins, the others open what it made.
        let draft = root.join(format!(".new-{}", hex::encode(&random::<8>())));
        write_file(&draft, &text)?;
        let path = root.join("store.json");
        let linked = std::fs::hard_link(&draft, &path);
        let _ = std::fs::remove_file(&draft);
        match linked {
            Ok(()) => sync_folder(root)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ImageError::file("creating", &path)(error)),
        }
        Self::open(root, key)
    }

    /// Opens a store. An encrypted one needs its key.
    pub fn open(root: &Path, key: Option<&StoreKey>) -> Result<Self> {
        let path = root.join("store.json");
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(ImageError::NoStore { path: root.to_owned() });
            }
            Err(error) => return Err(ImageError::file("reading", &path)(error)),
        };
        let file = parse(&path, &text)?;
        let damaged = |what: &str| ImageError::damaged(&path, what);
        let master = match (file.cipher, &file.clear_key, key) {
            (Cipher::None, Some(clear), _) => {
                MasterKey::in_the_clear(hex::decode_array(clear).ok_or_else(|| damaged("its clear key is no key"))?)
            }
            (Cipher::None, None, _) => return Err(damaged("it is unencrypted but has no checksum key")),
            (Cipher::Aes256Gcm, _, None) => return Err(ImageError::KeyNeeded { path: root.to_owned() }),
            (Cipher::Aes256Gcm, _, Some(key)) => unwrap_master(&file, key, root, &path)?,
        };
        let keys = Keys::derive(file.cipher, &master);
        if keys.mac(&file.content()) != file.mac {
            return Err(damaged("it does not authenticate: it was changed after it was written"));
        }
        let settings = StoreSettings { cipher: file.cipher, chunk_size: file.chunk_size };
        let mut catalog = Catalog::default();
        catalog.refresh(root)?;
        Ok(Self {
            root: root.to_owned(),
            settings,
            keys,
            catalog: RwLock::new(catalog),
            files: Mutex::new(PackFiles::default()),
            writers: Writers::default(),
        })
    }

    /// What was decided at its creation.
    pub fn settings(&self) -> StoreSettings {
        self.settings
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Says that this process works in the store, so that no garbage is collected meanwhile.
    pub fn lease(&self, work: &str) -> Result<Lease> {
        let lease = Lease::share(&self.lock_folder(), work)?;
        // What was known before the lease may have been collected since.
        self.catalog.write().expect("no thread panics while it holds the catalog").refresh(&self.root)?;
        Ok(lease)
    }

    pub(super) fn lock_folder(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn set_folder(&self, machine: &str) -> PathBuf {
        self.root.join("sets").join(escape(machine))
    }

    pub(super) fn disk_folder(&self, disk: &DiskName) -> PathBuf {
        self.images().join(disk.relative_path())
    }

    pub(super) fn map_path(&self, disk: &DiskName, id: ImageId) -> PathBuf {
        self.disk_folder(disk).join(format!("{id}.map"))
    }

    pub(super) fn manifest_path(&self, disk: &DiskName, id: ImageId) -> PathBuf {
        self.disk_folder(disk).join(format!("{id}.json"))
    }

    pub(super) fn unfinished_path(&self, disk: &DiskName, id: ImageId) -> PathBuf {
        self.disk_folder(disk).join(format!("{id}.partial"))
    }

    /// Every disk that has a folder in the store.
    pub fn disks(&self) -> Result<Vec<DiskName>> {
        Ok(manifest::disks_below(&self.images())?.into_iter().map(|(name, _)| name).collect())
    }

    /// The finished images of a disk, oldest first.
    pub fn image_ids(&self, disk: &DiskName) -> Result<Vec<ImageId>> {
        manifest::ids(&self.disk_folder(disk), "json")
    }

    /// A finished image, authenticated.
    pub fn manifest(&self, disk: &DiskName, id: ImageId) -> Result<Manifest> {
        let path = self.manifest_path(disk, id);
        if !path.exists() {
            return Err(ImageError::NoImage { disk: disk.clone(), id: Some(id.to_string()) });
        }
        let manifest: Manifest = manifest::read(&path, &self.keys)?;
        match manifest.id == id && manifest.name()? == *disk && manifest.chunk_size == self.settings.chunk_size {
            true => Ok(manifest),
            false => Err(ImageError::damaged(&path, "it is the manifest of another image")),
        }
    }

    /// The newest finished image of a disk.
    pub fn newest(&self, disk: &DiskName) -> Result<Manifest> {
        match self.image_ids(disk)?.last() {
            Some(id) => self.manifest(disk, *id),
            None => Err(ImageError::NoImage { disk: disk.clone(), id: None }),
        }
    }

    /// The digest of an image's disk, in the form that [`super::DiskDigest`] writes.
    pub fn digest(&self, manifest: &Manifest) -> Option<super::DiskDigest> {
        manifest.digest(&self.keys)
    }

    /// The unfinished captures of a disk.
    pub(super) fn unfinished(&self, disk: &DiskName) -> Result<Vec<ImageId>> {
        manifest::ids(&self.disk_folder(disk), "partial")
    }

    /// One unfinished capture, authenticated.
    pub(super) fn read_unfinished(&self, disk: &DiskName, id: ImageId) -> Result<Unfinished> {
        manifest::read(&self.unfinished_path(disk, id), &self.keys)
    }
}

/// Reads any bytes as `store.json`, and tries its slots with a key.
pub(super) fn fuzz_parse(bytes: &[u8]) {
    let path = Path::new("store.json");
    if let Ok(file) = parse(path, bytes) {
        let _ = unwrap_master(&file, &StoreKey::new([7; 32]), path, path);
    }
}

fn parse(path: &Path, text: &[u8]) -> Result<StoreFile> {
    let file: StoreFile = match serde_json::from_slice(text) {
        Ok(file) => file,
        Err(error) => {
            let value: Option<serde_json::Value> = serde_json::from_slice(text).ok();
            return Err(match value.and_then(|value| value["format"].as_u64()) {
                Some(found) if found > u64::from(FORMAT) => {
                    ImageError::UnknownFormat { path: path.to_owned(), found: found as u32, known: FORMAT }
                }
                _ => ImageError::damaged(path, error.to_string()),
            });
        }
    };
    if file.format != FORMAT {
        return Err(ImageError::UnknownFormat { path: path.to_owned(), found: file.format, known: FORMAT });
    }
    match hex::encode(blake3::hash(&file.content()).as_bytes()) == file.checksum {
        true => Ok(file),
        false => Err(ImageError::damaged(path, "its checksum does not match its content")),
    }
}

fn unwrap_master(file: &StoreFile, key: &StoreKey, root: &Path, path: &Path) -> Result<MasterKey> {
    for slot in &file.key_slots {
        match slot.unwrap(key) {
            Ok(master) => return Ok(master),
            Err(SlotFault::WrongKey) => {}
            Err(SlotFault::Damaged) => return Err(ImageError::damaged(path, "a key slot does not authenticate")),
        }
    }
    Err(ImageError::WrongKey { path: root.to_owned(), slots: file.key_slots.len() })
}
