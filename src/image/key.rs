//! The store's key: a reference that is read when it is needed, key slots that wrap the master key, keys derived for
//! each purpose.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{ImageError, Result};
use super::hex;
use super::seal::{Cipher, SealKey};

/// The 32 bytes that a person keeps; they open a key slot. Wiped from memory when dropped.
pub struct StoreKey(Zeroizing<[u8; 32]>);

impl StoreKey {
    /// From bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the key that `reference` names: `env:NAME`, `file:PATH` or `command:CMD`; its material is 64 hexadecimal
    /// characters or 32 raw bytes.
    pub fn resolve(reference: &str) -> Result<Self> {
        let bad = |reason: String| ImageError::BadKey { reference: reference.to_owned(), reason };
        let material = match reference.split_once(':') {
            Some(("env", name)) => std::env::var_os(name)
                .map(|value| Zeroizing::new(std::os::unix::ffi::OsStringExt::into_vec(value)))
                .ok_or_else(|| bad("the variable is not set".into()))?,
            Some(("file", path)) => read_key_file(Path::new(path)).map_err(|error| bad(error.to_string()))?,
            Some(("command", command)) => {
                let output = Command::new("sh")
                    .args(["-c", command])
                    .stdin(Stdio::null())
                    .stderr(Stdio::inherit())
                    .output()
                    .map_err(|error| bad(error.to_string()))?;
                let material = Zeroizing::new(output.stdout);
                if !output.status.success() {
                    return Err(bad(format!("the command ended with {}", output.status)));
                }
                material
            }
            _ => return Err(bad("write env:NAME, file:PATH or command:CMD".into())),
        };
        Self::from_material(&material).ok_or_else(|| {
            bad(format!("expected 64 hexadecimal characters or 32 bytes, found {} bytes", material.len()))
        })
    }

    /// 32 raw bytes, or 64 hexadecimal characters with white space around them.
    fn from_material(material: &[u8]) -> Option<Self> {
        if let Ok(raw) = <[u8; 32]>::try_from(material) {
            return Some(Self::new(raw));
        }
        let text = std::str::from_utf8(material).ok()?.trim();
        hex::decode_array(text).map(Self::new)
    }
}

/// Reads at most what a key can be long, so that a wrong path does not read a disk.
fn read_key_file(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut material = Zeroizing::new(Vec::with_capacity(256));
    std::fs::File::open(path)?.take(256).read_to_end(&mut material)?;
    Ok(material)
}

/// The store's own random key; every other key derives from it.
pub(super) struct MasterKey(Zeroizing<[u8; 32]>);

/// One way to the master key. All values are hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeySlot {
    /// What people call it.
    name: String,
    /// Makes equal keys in two stores wrap differently.
    salt: String,
    /// Derived from key and salt: tells a wrong key from a damaged slot.
    check: String,
    /// The master key, sealed.
    wrapped: String,
}

/// Why a slot does not open.
pub(super) enum SlotFault {
    /// The key is another one.
    WrongKey,
    /// The key is right, the slot is not.
    Damaged,
}

impl KeySlot {
    /// Wraps `master` for whoever has `key`.
    pub(super) fn wrap(name: &str, key: &StoreKey, master: &MasterKey) -> Self {
        let salt: [u8; 16] = random();
        let mut wrapped = Vec::new();
        slot_seal(key, &salt).seal(b"master key", &*master.0, &mut wrapped);
        Self {
            name: name.to_owned(),
            salt: hex::encode(&salt),
            check: hex::encode(&check_value(key, &salt)),
            wrapped: hex::encode(&wrapped),
        }
    }

    /// The master key, if `key` is the one that wrapped it.
    pub(super) fn unwrap(&self, key: &StoreKey) -> std::result::Result<MasterKey, SlotFault> {
        let salt: [u8; 16] = hex::decode_array(&self.salt).ok_or(SlotFault::Damaged)?;
        if hex::decode(&self.check).ok_or(SlotFault::Damaged)? != check_value(key, &salt) {
            return Err(SlotFault::WrongKey);
        }
        let mut wrapped = Zeroizing::new(hex::decode(&self.wrapped).ok_or(SlotFault::Damaged)?);
        let plain = slot_seal(key, &salt).open(b"master key", &mut wrapped).map_err(|_| SlotFault::Damaged)?;
        <[u8; 32]>::try_from(plain).map(|bytes| MasterKey(Zeroizing::new(bytes))).map_err(|_| SlotFault::Damaged)
    }
}

fn slot_seal(key: &StoreKey, salt: &[u8; 16]) -> SealKey {
    SealKey::new(Cipher::Aes256Gcm, &derive("replant image store 1 key slot", &key.0, salt))
}

fn check_value(key: &StoreKey, salt: &[u8; 16]) -> [u8; 8] {
    let full = derive("replant image store 1 key check", &key.0, salt);
    full[..8].try_into().expect("8 of 32 bytes")
}

fn derive(context: &str, key: &[u8; 32], salt: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(key);
    hasher.update(salt);
    Zeroizing::new(*hasher.finalize().as_bytes())
}

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

impl MasterKey {
    /// A fresh one.
    pub(super) fn generate() -> Self {
        Self(Zeroizing::new(random()))
    }

    /// Of an unencrypted store, whose "key" lies in the clear and protects from damage only.
    pub(super) fn in_the_clear(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Its bytes, for a store that keeps it in the clear.
    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The keys of an open store.
pub(super) struct Keys {
    cipher: Cipher,
    /// Turns digests into ids.
    pub(super) ids: Zeroizing<[u8; 32]>,
    chunks: Zeroizing<[u8; 32]>,
    maps: Zeroizing<[u8; 32]>,
    manifests: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Derives all of them.
    pub(super) fn derive(cipher: Cipher, master: &MasterKey) -> Self {
        let key = |context| derive(context, &master.0, b"");
        Self {
            cipher,
            ids: key("replant image store 1 chunk ids"),
            chunks: key("replant image store 1 chunks"),
            maps: key("replant image store 1 chunk maps"),
            manifests: key("replant image store 1 manifests"),
        }
    }

    /// Seals one chunk: a key per id, so that no key ever seals many messages.
    pub(super) fn chunk(&self, id: &super::chunk::ChunkId) -> SealKey {
        SealKey::new(self.cipher, blake3::keyed_hash(&self.chunks, &id.0).as_bytes())
    }

    /// Seals the frames of one chunk map.
    pub(super) fn map(&self, map: &[u8; 16]) -> SealKey {
        SealKey::new(self.cipher, blake3::keyed_hash(&self.maps, map).as_bytes())
    }

    /// Authenticates manifests, sets and `store.json`.
    pub(super) fn mac(&self, content: &[u8]) -> String {
        hex::encode(blake3::keyed_hash(&self.manifests, content).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_tells_a_wrong_key_from_damage() {
        let (key, master) = (StoreKey::new([1; 32]), MasterKey::generate());
        let slot = KeySlot::wrap("default", &key, &master);
        assert!(slot.unwrap(&key).is_ok_and(|opened| *opened.0 == *master.0));
        assert!(matches!(slot.unwrap(&StoreKey::new([2; 32])), Err(SlotFault::WrongKey)));
        let mut damaged = slot.clone();
        damaged.wrapped.replace_range(30..31, if &slot.wrapped[30..31] == "0" { "1" } else { "0" });
        assert!(matches!(damaged.unwrap(&key), Err(SlotFault::Damaged)));
    }

    #[test]
    fn key_material_is_hex_or_raw() {
        assert!(StoreKey::from_material(&[9; 32]).is_some());
        assert!(StoreKey::from_material(format!("{}\n", "ab".repeat(32)).as_bytes()).is_some());
        assert!(StoreKey::from_material(b"short").is_none());
        let error = StoreKey::resolve("env:REPLANT_NO_SUCH_KEY").err().map(|error| error.to_string());
        assert_eq!(
            error.as_deref(),
            Some("the key reference `env:REPLANT_NO_SUCH_KEY` gives no key: the variable is not set")
        );
    }
}
