//! Keys of encrypted volumes on their way into the agent: a second archive behind its initramfs, in a file that only we can
//! read and that is gone when the agent has booted. No key is ever part of a plan, a script or a sequence.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::guest::KEY_FOLDER;
use crate::guest::cpio::Writer;

/// A key of a LUKS container.
#[derive(Clone)]
pub struct GuestKey {
    /// The container's UUID; `any` for the key of every container.
    pub uuid: String,
    /// The passphrase or the key file's content.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for GuestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GuestKey({})", self.uuid)
    }
}

/// An initramfs with keys; removed when this is dropped.
#[derive(Debug)]
pub(super) struct KeyedImage {
    path: PathBuf,
}

impl KeyedImage {
    /// Writes `image` and the keys to a private file, in memory where the system has such a place.
    pub(super) fn new(image: &Path, keys: &[GuestKey], folder: &Path) -> io::Result<Self> {
        let shared = Path::new("/dev/shm");
        let folder = if shared.is_dir() { shared } else { folder };
        let path = folder.join(format!("replant-{}.img", uuid::Uuid::now_v7()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        // From here on it is removed however this ends.
        let keyed = Self { path };
        let len = io::copy(&mut File::open(image)?, &mut file)?;
        file.write_all(&vec![0; (len.next_multiple_of(4) - len) as usize])?;
        let mut writer = Writer::new(Vec::new());
        let inside = KEY_FOLDER.trim_start_matches('/');
        writer.folder(inside, 0o700)?;
        for key in keys {
            writer.file(&format!("{inside}/{}", key.uuid), 0o600, &key.key)?;
        }
        file.write_all(&Zeroizing::new(writer.finish()?))?;
        Ok(keyed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for KeyedImage {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a file with keys could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_file_is_private_and_does_not_stay() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("agent.img");
        fs::write(&image, b"12345").unwrap();
        let keys = [GuestKey { uuid: "any".into(), key: Zeroizing::new(b"secret".to_vec()) }];
        let keyed = KeyedImage::new(&image, &keys, folder.path()).unwrap();
        let path = keyed.path().to_owned();
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"12345\x00\x00\x00070701") && bytes.windows(6).any(|part| part == b"secret"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(keyed);
        assert!(!path.exists());
        assert!(!format!("{keys:?}").contains("secret"));
    }
}
