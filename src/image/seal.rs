//! Sealing: AES-256-GCM with a fresh random nonce, or, in a store that is asked to lie in the clear, a checksum.
//!
//! Layout: `nonce (12) | ciphertext | tag (16)`, or `plaintext | tag (16)` without encryption.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

/// How a store seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    /// Authenticated encryption.
    #[serde(rename = "aes-256-gcm")]
    Aes256Gcm,
    /// In the clear, with checksums against damage (not against an attacker).
    #[serde(rename = "none")]
    None,
}

const TAG_LEN: usize = 16;

/// What was opened is not what was sealed, or not for this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One key, for one purpose.
pub(super) struct SealKey {
    mode: Mode,
}

enum Mode {
    Aes(Box<LessSafeKey>),
    Checksum([u8; 32]),
}

impl SealKey {
    /// From 32 bytes derived for one purpose.
    pub(super) fn new(cipher: Cipher, key: &[u8; 32]) -> Self {
        let mode = match cipher {
            Cipher::Aes256Gcm => {
                let key = UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes");
                Mode::Aes(Box::new(LessSafeKey::new(key)))
            }
            Cipher::None => Mode::Checksum(*key),
        };
        Self { mode }
    }

    /// Appends the sealed form of `plain` to `out`; `place` is authenticated with it.
    pub(super) fn seal(&self, place: &[u8], plain: &[u8], out: &mut Vec<u8>) {
        match &self.mode {
            Mode::Aes(key) => {
                let mut nonce = [0; NONCE_LEN];
                aws_lc_rs::rand::fill(&mut nonce).expect("the system has random numbers");
                out.extend_from_slice(&nonce);
                let start = out.len();
                out.extend_from_slice(plain);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let tag = key
                    .seal_in_place_separate_tag(nonce, Aad::from(place), &mut out[start..])
                    .expect("a chunk is shorter than what AES-GCM can seal");
                out.extend_from_slice(tag.as_ref());
            }
            Mode::Checksum(key) => {
                out.extend_from_slice(plain);
                out.extend_from_slice(&checksum(key, place, plain));
            }
        }
    }

    /// Opens in place and returns the plain bytes.
    pub(super) fn open<'a>(&self, place: &[u8], sealed: &'a mut [u8]) -> Result<&'a [u8], Broken> {
        match &self.mode {
            Mode::Aes(key) => {
                if sealed.len() < NONCE_LEN + TAG_LEN {
                    return Err(Broken);
                }
                let (nonce, body) = sealed.split_at_mut(NONCE_LEN);
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Broken)?;
                key.open_in_place(nonce, Aad::from(place), body).map(|plain| &*plain).map_err(|_| Broken)
            }
            Mode::Checksum(key) => {
                let at = sealed.len().checked_sub(TAG_LEN).ok_or(Broken)?;
                let (plain, tag) = sealed.split_at(at);
                match checksum(key, place, plain) == *tag {
                    true => Ok(plain),
                    false => Err(Broken),
                }
            }
        }
    }
}

/// Keyed BLAKE3 over place and content, lengths included.
fn checksum(key: &[u8; 32], place: &[u8], plain: &[u8]) -> [u8; TAG_LEN] {
    let mut hasher = blake3::Hasher::new_keyed(key);
    hasher.update(&(place.len() as u64).to_le_bytes());
    hasher.update(place);
    hasher.update(plain);
    let mut tag = [0; TAG_LEN];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG_LEN]);
    tag
}

/// Bytes that sealing adds at most.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_unchanged_and_in_its_place() {
        for cipher in [Cipher::Aes256Gcm, Cipher::None] {
            let key = SealKey::new(cipher, &[7; 32]);
            let mut sealed = Vec::new();
            key.seal(b"place", b"content", &mut sealed);
            assert_eq!(key.open(b"place", &mut sealed.clone()), Ok(&b"content"[..]));
            assert_eq!(key.open(b"elsewhere", &mut sealed.clone()), Err(Broken));
            assert_eq!(SealKey::new(cipher, &[8; 32]).open(b"place", &mut sealed.clone()), Err(Broken));
            for at in 0..sealed.len() {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1;
                assert_eq!(key.open(b"place", &mut flipped), Err(Broken), "{at}");
                assert_eq!(key.open(b"place", &mut sealed.clone()[..at]), Err(Broken), "{at}");
            }
        }
    }

    #[test]
    fn the_same_content_is_sealed_differently_every_time() {
        let key = SealKey::new(Cipher::Aes256Gcm, &[7; 32]);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        key.seal(b"", b"content", &mut one);
        key.seal(b"", b"content", &mut two);
        assert_ne!(one, two);
        assert!(!one.windows(7).any(|window| window == b"content"));
    }
}
