//! A guest's directory tree below a mount point: symbolic links are followed as the guest would follow them, and never
//! out of it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::edit::{Content, FileChange};
use super::label;

/// Why a file of a guest cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// Reading or writing failed.
    #[error("{doing} {path} in the guest failed")]
    Io {
        /// What was tried: `reading`, `writing`.
        doing: &'static str,
        /// The file, as the guest names it.
        path: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A chain of symbolic links does not end.
    #[error("{path} in the guest is a symbolic link that never ends")]
    LinkLoop {
        /// The file, as the guest names it.
        path: String,
    },
    /// The file system has no room for the change.
    #[error(
        "the file system of {path} has {free} bytes free, and the change needs {needed}: make room in the source, or leave the edit out with `guest.skip`"
    )]
    NoSpace {
        /// The file, as the guest names it.
        path: String,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
}

/// Bytes that a program of the guest needs in a folder while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// A file there, as the guest names it.
    pub(super) path: String,
    /// How many.
    pub(super) bytes: u64,
}

/// The tree of a guest below a mount point.
#[derive(Clone, Debug)]
pub struct GuestTree {
    root: PathBuf,
}

impl GuestTree {
    /// The tree below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The mount point.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` of the guest really lies. The last component need not exist.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, TreeError> {
        let mut pending: Vec<std::ffi::OsString> = components(Path::new(path));
        let mut at = PathBuf::new();
        let mut links = 0;
        while let Some(next) = pending.pop() {
            if next == ".." {
                at.pop();
                continue;
            }
            let here = self.root.join(&at).join(&next);
            match fs::read_link(&here) {
                Ok(to) => {
                    links += 1;
                    if links > 40 {
                        return Err(TreeError::LinkLoop { path: path.to_owned() });
                    }
                    if to.is_absolute() {
                        at = PathBuf::new();
                    }
                    pending.extend(components(&to));
                }
                Err(_) => at.push(next),
            }
        }
        Ok(self.root.join(at))
    }

    /// The file's content; `None` if there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        match fs::read(self.resolve(path)?) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(None),
            Err(error) => Err(TreeError::Io { doing: "reading", path: path.to_owned(), error }),
        }
    }

    /// Whether there is something of that name.
    pub fn exists(&self, path: &str) -> Result<bool, TreeError> {
        Ok(fs::symlink_metadata(self.resolve(path)?).is_ok())
    }

    /// The names in a folder, sorted; empty if there is no such folder.
    pub fn list(&self, path: &str) -> Result<Vec<String>, TreeError> {
        let Ok(entries) = fs::read_dir(self.resolve(path)?) else { return Ok(Vec::new()) };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// The text of a symbolic link; `None` if it is none.
    pub fn link(&self, path: &str) -> Result<Option<String>, TreeError> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let at = self.resolve(folder)?.join(name);
        Ok(fs::read_link(at).ok().map(|to| to.to_string_lossy().into_owned()))
    }

    /// Whether every change has room, before the first is made: what the files grow by, and what programs need beside them,
    /// file system by file system.
    pub(super) fn check_room(&self, changes: &[FileChange], rooms: &[Room]) -> Result<(), TreeError> {
        let mut grows = Vec::new();
        for change in changes {
            let target = self.resolve(&change.path)?;
            let old_len = fs::metadata(&target).map_or(0, |old| old.len());
            let growth = match &change.content {
                Content::Whole(bytes) | Content::Program(bytes) | Content::Private(bytes) => {
                    (bytes.len() as u64).saturating_sub(old_len)
                }
                Content::Append { bytes, align } => old_len.next_multiple_of(*align) - old_len + bytes.len() as u64,
                Content::Link(_) | Content::Remove => 0,
            };
            grows.push((&change.path, target, growth));
        }
        for room in rooms {
            grows.push((&room.path, self.resolve(&room.path)?, room.bytes));
        }
        let mut needs: BTreeMap<u64, (u64, PathBuf, String)> = BTreeMap::new();
        for (path, target, growth) in grows {
            let mut folder = target.parent().unwrap_or(&self.root).to_owned();
            while !folder.exists() && folder.pop() {}
            let io = |error| TreeError::Io { doing: "looking at", path: path.clone(), error };
            let device = fs::metadata(&folder).map_err(io)?.dev();
            let need = needs.entry(device).or_insert_with(|| (0, folder, path.clone()));
            // Every file takes whole blocks.
            need.0 += growth.next_multiple_of(4096);
            if growth > (1 << 20) {
                need.2.clone_from(path);
            }
        }
        for (needed, folder, path) in needs.into_values() {
            let free = free_bytes(&folder).map_err(|error| TreeError::Io {
                doing: "looking at",
                path: path.clone(),
                error,
            })?;
            if free < needed {
                return Err(TreeError::NoSpace { path, free, needed });
            }
        }
        Ok(())
    }

    /// Writes a change durably: readers see the old file or the new one, with the old one's owner and mode.
    pub fn write(&self, change: &FileChange) -> Result<(), TreeError> {
        let io = |error: io::Error| TreeError::Io { doing: "writing", path: change.path.clone(), error };
        if change.content == Content::Remove {
            let (folder, name) = change.path.rsplit_once('/').unwrap_or(("", &change.path));
            let folder = self.resolve(folder)?;
            return match fs::remove_file(folder.join(name)) {
                Ok(()) => sync_folder(&folder).map_err(io),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(io(error)),
            };
        }
        if let Content::Link(to) = &change.content {
            let (folder, name) = change.path.rsplit_once('/').unwrap_or(("", &change.path));
            let folder = self.resolve(folder)?;
            fs::create_dir_all(&folder).map_err(io)?;
            let fresh = folder.join(format!(".{name}.replant"));
            let _ = fs::remove_file(&fresh);
            symlink(to, &fresh).map_err(io)?;
            label::copy(&folder, &fresh, false).map_err(io)?;
            fs::rename(&fresh, folder.join(name)).map_err(io)?;
            return sync_folder(&folder).map_err(io);
        }
        let target = self.resolve(&change.path)?;
        let old = fs::metadata(&target).ok();
        let old_len = old.as_ref().map_or(0, fs::Metadata::len);
        let (whole, addition) = match &change.content {
            Content::Whole(bytes) | Content::Program(bytes) | Content::Private(bytes) => (bytes.len() as u64, bytes),
            Content::Append { bytes, align } => (old_len.next_multiple_of(*align) + bytes.len() as u64, bytes),
            Content::Link(_) | Content::Remove => unreachable!("links and removals are done above"),
        };
        let folder = target.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(io)?;
        let free = free_bytes(folder).map_err(io)?;
        if free >= whole {
            return self.replace(&target, old.as_ref(), &change.content).map_err(io);
        }
        match &change.content {
            Content::Append { align, .. } if free > whole - old_len => {
                append_in_place(&target, old_len, *align, addition).map_err(io)
            }
            Content::Append { .. } => {
                Err(TreeError::NoSpace { path: change.path.clone(), free, needed: whole - old_len })
            }
            _ => Err(TreeError::NoSpace { path: change.path.clone(), free, needed: whole }),
        }
    }

    fn replace(&self, target: &Path, old: Option<&fs::Metadata>, content: &Content) -> io::Result<()> {
        let folder = target.parent().unwrap_or(&self.root);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let fresh = folder.join(format!(".{name}.replant"));
        let fresh_mode = match content {
            Content::Program(_) => 0o755,
            Content::Private(_) => 0o600,
            _ => 0o644,
        };
        let mode = old.map_or(fresh_mode, |old| old.permissions().mode() & 0o7777);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        match content {
            Content::Whole(bytes) | Content::Program(bytes) | Content::Private(bytes) => file.write_all(bytes)?,
            Content::Append { bytes, align } => {
                let len = io::copy(&mut File::open(target)?, &mut file)?;
                write_padded(&mut file, len, *align, bytes)?;
            }
            Content::Link(_) | Content::Remove => unreachable!("links and removals are no files to write"),
        }
        settle(&file, &fresh, target, old, mode)
    }

    /// Where a program of the guest is to put a new file of that name, as the guest names it: beside the old one, which stays
    /// what it is until [`Self::adopt`].
    pub fn beside(&self, path: &str) -> Result<String, TreeError> {
        let target = self.resolve(path)?;
        let inside = target.strip_prefix(&self.root).unwrap_or(&target);
        let name = inside.file_name().unwrap_or_default().to_string_lossy();
        let folder = inside.parent().unwrap_or(Path::new("")).to_string_lossy();
        Ok(format!("/{}.{name}.replant", if folder.is_empty() { String::new() } else { format!("{folder}/") }))
    }

    /// Puts the file that lies [`Self::beside`] in the place of the old one, durably, with the old one's owner and mode.
    pub fn adopt(&self, path: &str) -> Result<(), TreeError> {
        let io = |error: io::Error| TreeError::Io { doing: "writing", path: path.to_owned(), error };
        let (target, fresh) = (self.resolve(path)?, self.root.join(&self.beside(path)?[1..]));
        let old = fs::metadata(&target).ok();
        let mode = old.as_ref().map_or(0o600, |old| old.permissions().mode() & 0o7777);
        let file = OpenOptions::new().write(true).open(&fresh).map_err(io)?;
        settle(&file, &fresh, &target, old.as_ref(), mode).map_err(io)
    }
}

/// A complete new file takes the place of the old one.
fn settle(file: &File, fresh: &Path, target: &Path, old: Option<&fs::Metadata>, mode: u32) -> io::Result<()> {
    let folder = target.parent().unwrap_or(Path::new("/"));
    if let Some(old) = old {
        chown(fresh, Some(old.uid()), Some(old.gid()))?;
    }
    label::copy(if old.is_some() { target } else { folder }, fresh, old.is_some())?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()?;
    fs::rename(fresh, target)?;
    sync_folder(folder)
}

/// The components of a path, last first; `..` is kept.
fn components(path: &Path) -> Vec<std::ffi::OsString> {
    path.components()
        .rev()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

fn write_padded(file: &mut File, len: u64, align: u64, bytes: &[u8]) -> io::Result<()> {
    let padding = len.next_multiple_of(align) - len;
    file.write_all(&vec![0; padding as usize])?;
    file.write_all(bytes)
}

/// When there is no room for a second copy. A failed append is cut off again.
fn append_in_place(target: &Path, len: u64, align: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(target)?;
    file.seek(SeekFrom::Start(len))?;
    let outcome = write_padded(&mut file, len, align, bytes).and_then(|()| file.sync_all());
    if outcome.is_err() {
        file.set_len(len)?;
        file.sync_all()?;
    }
    outcome
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, content: Content) -> FileChange {
        FileChange { path: path.to_owned(), content, edits: Vec::new() }
    }

    #[test]
    fn absolute_links_stay_inside() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        fs::create_dir_all(folder.path().join("usr/lib")).unwrap();
        symlink("usr/lib", folder.path().join("lib")).unwrap();
        symlink("/lib/../../../real", folder.path().join("usr/link")).unwrap();
        symlink("/usr/loop", folder.path().join("usr/loop")).unwrap();
        assert_eq!(tree.resolve("/lib/modules").unwrap(), folder.path().join("usr/lib/modules"));
        assert_eq!(tree.resolve("/usr/link").unwrap(), folder.path().join("real"));
        assert!(matches!(tree.resolve("/usr/loop"), Err(TreeError::LinkLoop { .. })));
    }

    #[test]
    fn a_change_keeps_mode_and_pads_appends() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let file = folder.path().join("initrd");
        fs::write(&file, b"12345").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        tree.write(&change("/initrd", Content::Append { bytes: b"xy".to_vec(), align: 4 })).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"12345\0\0\0xy");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        tree.write(&change("/etc/new/file", Content::Whole(b"hello".to_vec()))).unwrap();
        assert_eq!(tree.read("/etc/new/file").unwrap().unwrap(), b"hello");
        tree.write(&change("/etc/unit", Content::Link("/dev/null".into()))).unwrap();
        assert_eq!(tree.link("/etc/unit").unwrap().unwrap(), "/dev/null");
        assert_eq!(fs::read_dir(folder.path().join("etc")).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn too_little_room_is_seen_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        let fits = change("/etc/a", Content::Whole(b"x".to_vec()));
        assert!(tree.check_room(std::slice::from_ref(&fits), &[]).is_ok());
        fs::write(folder.path().join("long"), b"12345").unwrap();
        let append = |align| change("/long", Content::Append { bytes: b"x".to_vec(), align });
        assert!(tree.check_room(&[append(4)], &[]).is_ok());
        let append = append(1 << 60);
        let error = tree.check_room(&[fits, append], &[]).unwrap_err();
        assert!(error.to_string().contains("the file system of /long has"), "{error}");
        let room = Room { path: "/var/tmp/x/y".into(), bytes: 1 << 60 };
        let error = tree.check_room(&[], &[room]).unwrap_err();
        assert!(error.to_string().contains("the file system of /var/tmp/x/y has"), "{error}");
    }

    #[test]
    fn new_files_get_the_mode_they_need_and_removed_ones_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        tree.write(&change("/run-me", Content::Program(b"#!/bin/sh\n".to_vec()))).unwrap();
        tree.write(&change("/secret", Content::Private(b"x".to_vec()))).unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("run-me"), mode("secret")), (0o755, 0o600));
        for _ in 0..2 {
            tree.write(&change("/secret", Content::Remove)).unwrap();
            assert!(!tree.exists("/secret").unwrap());
        }
    }

    #[test]
    fn a_file_that_lies_beside_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        fs::create_dir_all(folder.path().join("boot/real")).unwrap();
        symlink("real/image", folder.path().join("boot/initrd")).unwrap();
        fs::write(folder.path().join("boot/real/image"), "old").unwrap();
        fs::set_permissions(folder.path().join("boot/real/image"), fs::Permissions::from_mode(0o640)).unwrap();
        let beside = tree.beside("/boot/initrd").unwrap();
        assert_eq!(beside, "/boot/real/.image.replant");
        assert_eq!(tree.beside("/initrd").unwrap(), "/.initrd.replant");
        assert!(tree.adopt("/boot/initrd").is_err(), "there is no new one");
        assert_eq!(tree.read("/boot/initrd").unwrap().unwrap(), b"old");
        fs::write(folder.path().join(&beside[1..]), "new").unwrap();
        tree.adopt("/boot/initrd").unwrap();
        assert_eq!(tree.read("/boot/initrd").unwrap().unwrap(), b"new");
        assert_eq!(fs::metadata(folder.path().join("boot/real/image")).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(!tree.exists(&beside).unwrap() && tree.link("/boot/initrd").unwrap().is_some());
    }

    #[test]
    fn a_failed_append_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("initrd");
        fs::write(&file, b"12345").unwrap();
        append_in_place(&file, 5, 4, b"ab").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"12345\0\0\0ab");
    }
}
