//! Who may read and write a file of the guest: NTFS security descriptors, through the names by which ntfs-3g shows them.

use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

const DESCRIPTOR: &str = "system.ntfs_acl";
/// Longest descriptor.
const LONGEST: usize = 64 * 1024;

/// Gives `to` the descriptor of `from`. On a file system without such descriptors there is nothing to do.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    match descriptor(from)? {
        Some(bytes) => set(to, &bytes),
        None => Ok(()),
    }
}

/// A file's security descriptor, where the file system has them.
pub fn descriptor(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; LONGEST];
    match getxattr(path, DESCRIPTOR, &mut bytes[..]) {
        Ok(len) => {
            bytes.truncate(len);
            Ok(Some(bytes))
        }
        Err(Errno::NOTSUP | Errno::NODATA | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Protects a file or folder that we have made: the system and administrators may change it, everybody may read it.
/// (ntfs-3g lets everybody change what it makes.)
pub fn protect(path: &Path) -> io::Result<()> {
    match descriptor(path)? {
        Some(_) => set(path, &read_only_for_users(path.is_dir())),
        None => Ok(()),
    }
}

/// Protects a file or folder so that only the system and administrators may read it.
pub fn hide(path: &Path) -> io::Result<()> {
    match descriptor(path)? {
        Some(_) => set(path, &self::build(path.is_dir(), &[(SYSTEM, FULL), (ADMINISTRATORS, FULL)])),
        None => Ok(()),
    }
}

fn set(path: &Path, bytes: &[u8]) -> io::Result<()> {
    setxattr(path, DESCRIPTOR, bytes, XattrFlags::empty()).map_err(io::Error::from)
}

const SYSTEM: &[u32] = &[18];
const ADMINISTRATORS: &[u32] = &[32, 544];
const USERS: &[u32] = &[32, 545];
const FULL: u32 = 0x001f_01ff;
const READ_AND_RUN: u32 = 0x0012_00a9;

/// Everything for the system and administrators, reading and running for users.
pub fn read_only_for_users(folder: bool) -> Vec<u8> {
    build(folder, &[(SYSTEM, FULL), (ADMINISTRATORS, FULL), (USERS, READ_AND_RUN)])
}

/// A self-relative descriptor, owned by the administrators, that takes nothing over from the folder above.
fn build(folder: bool, allowed: &[(&[u32], u32)]) -> Vec<u8> {
    let inherited = if folder { 3 } else { 0 };
    let mut entries = Vec::new();
    for (who, mask) in allowed {
        let sid = sid(who);
        entries.extend([0, inherited]);
        entries.extend((8 + sid.len() as u16).to_le_bytes());
        entries.extend(mask.to_le_bytes());
        entries.extend(sid);
    }
    let mut list = vec![2, 0];
    list.extend((8 + entries.len() as u16).to_le_bytes());
    list.extend((allowed.len() as u32).to_le_bytes());
    list.extend(entries);
    let owner = sid(ADMINISTRATORS);
    let list_at = 20 + 2 * owner.len() as u32;
    // Self-relative, with a list of what is allowed, protected against inheritance.
    let mut bytes = vec![1, 0, 0x04, 0x90];
    for offset in [20, 20 + owner.len() as u32, 0, list_at] {
        bytes.extend(offset.to_le_bytes());
    }
    bytes.extend(&owner);
    bytes.extend(&owner);
    bytes.extend(list);
    bytes
}

/// `S-1-5-...`
fn sid(authorities: &[u32]) -> Vec<u8> {
    let mut bytes = vec![1, authorities.len() as u8, 0, 0, 0, 0, 0, 5];
    bytes.extend(authorities.iter().flat_map(|authority| authority.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_has_the_size_its_parts_say() {
        let bytes = read_only_for_users(true);
        let list = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
        let len = usize::from(u16::from_le_bytes(bytes[list + 2..list + 4].try_into().unwrap()));
        assert_eq!(list + len, bytes.len());
        assert_eq!(bytes[list + 4], 3);
    }

    #[test]
    fn other_file_systems_have_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x");
        std::fs::write(&file, "x").unwrap();
        assert_eq!(descriptor(&file).unwrap(), None);
        copy(&file, &file).unwrap();
        protect(&file).unwrap();
    }
}
