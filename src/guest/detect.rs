//! Finding the operating system: the one root file system among those of the restored disks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::linux::fstab::mounts;
use super::{FsKind, GuestTree, MountError, Mounted, SystemDisks, TreeError};

/// A file system that looks like a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// In plan words: `/dev/disk0p1`.
    pub name: String,
    /// The device here.
    pub device: PathBuf,
    /// What it holds.
    pub kind: FsKind,
    /// Its UUID.
    pub uuid: Option<String>,
    /// Its label.
    pub label: Option<String>,
    /// The system's own name: `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.name, self.system)?;
        if let Some(uuid) = &self.uuid {
            write!(f, ", UUID={uuid}")?;
        }
        if let Some(label) = &self.label {
            write!(f, ", LABEL={label}")?;
        }
        f.write_str(")")
    }
}

/// A guest whose file systems are mounted.
#[derive(Debug)]
pub struct Guest {
    /// Its root.
    pub root: Candidate,
    /// Its tree.
    pub tree: GuestTree,
    /// The restored disks.
    pub disks: SystemDisks,
    /// What is mounted.
    pub mounted: Mounted,
}

/// Why no guest was found.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// The disks cannot be looked at.
    #[error("the restored disks cannot be looked at")]
    Disks(#[source] io::Error),
    /// No file system looks like a root.
    #[error("no file system on the restored disks holds a Linux system; there are: {seen}")]
    NoRoot {
        /// What was seen.
        seen: String,
    },
    /// Several do.
    #[error("several file systems look like the root: {candidates}; say which with `guest.root: UUID=...`")]
    SeveralRoots {
        /// Each of them.
        candidates: String,
    },
    /// The declared root is none of them.
    #[error("`guest.root: {wanted}` names no file system that holds a Linux system; there are: {candidates}")]
    NotThere {
        /// What was declared.
        wanted: String,
        /// Each candidate.
        candidates: String,
    },
    /// A file system that the guest's fstab names cannot be mounted.
    #[error("the guest's {mount_point} ({device}) cannot be mounted")]
    Mount {
        /// Where the guest mounts it.
        mount_point: String,
        /// Which device.
        device: String,
        /// Why.
        #[source]
        error: MountError,
    },
    /// A file of the guest cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// Mount points that conversion needs besides the root, parents first.
const NEEDED: [&str; 4] = ["/usr", "/boot", "/boot/efi", "/etc"];

/// Finds the root file system, mounts it for writing below `folder` together with what conversion needs of the rest.
pub fn detect(folder: &Path, wanted: Option<&str>) -> Result<Guest, DetectError> {
    let disks = SystemDisks::discover().map_err(DetectError::Disks)?;
    let candidates = candidates(&disks, folder)?;
    let root = choose_root(&disks, candidates, wanted)?;
    let at = folder.join("root");
    let cannot = |mount_point: &str, device: &str| {
        let (mount_point, device) = (mount_point.to_owned(), device.to_owned());
        move |error| DetectError::Mount { mount_point, device, error }
    };
    let mut mounted = Mounted::default();
    mounted.writable(&root.device, root.kind, &at).map_err(cannot("/", &root.name))?;
    let tree = GuestTree::new(&at);
    let table = mounts(&tree.read("/etc/fstab")?.unwrap_or_default());
    for point in NEEDED {
        let Some((spec, _, _)) = table.iter().find(|(_, own, _)| own.trim_end_matches('/') == point) else { continue };
        let Some(device) = disks.find(spec) else { continue };
        let content = disks.contents().find(|(_, own, _)| *own == device).map(|(_, _, content)| content.kind);
        let Some(kind) = content.filter(|kind| kind.mountable().is_some()) else { continue };
        let target = tree.resolve(point)?;
        mounted.writable(device, kind, &target).map_err(cannot(point, spec))?;
    }
    Ok(Guest { root, tree, disks, mounted })
}

/// Mounts every file system once, read-only, and keeps those that look like a root.
fn candidates(disks: &SystemDisks, folder: &Path) -> Result<Vec<Candidate>, DetectError> {
    let mut found = Vec::new();
    for (name, device, content) in disks.contents() {
        if !matches!(content.kind, FsKind::Ext4 | FsKind::Xfs | FsKind::Btrfs) {
            continue;
        }
        let mut mounted = Mounted::default();
        let at = folder.join("look");
        mounted.read_only(device, content.kind, &at).map_err(|error| DetectError::Mount {
            mount_point: "file system".to_owned(),
            device: name.clone(),
            error,
        })?;
        if let Some(system) = looks_like_root(&GuestTree::new(&at))? {
            found.push(Candidate {
                name,
                device: device.to_owned(),
                kind: content.kind,
                uuid: content.uuid.clone(),
                label: content.label.clone(),
                system,
            });
        }
    }
    Ok(found)
}

/// The system's name if the tree is a root: it has `/etc/fstab` or an `os-release`, and an init.
pub fn looks_like_root(tree: &GuestTree) -> Result<Option<String>, TreeError> {
    let mut init = false;
    for path in ["/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/usr/sbin/init"] {
        init |= tree.exists(path)?;
    }
    let mut release = None;
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        release = release.or(tree.read(path)?);
    }
    if !init || (release.is_none() && !tree.exists("/etc/fstab")?) {
        return Ok(None);
    }
    let release = String::from_utf8_lossy(&release.unwrap_or_default()).into_owned();
    let field = |name: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.trim().trim_matches('"').to_owned())
    };
    Ok(Some(field("PRETTY_NAME").or_else(|| field("ID")).unwrap_or_else(|| "Linux".to_owned())))
}

/// The one root: the declared one, or the only one.
pub fn choose_root(
    disks: &SystemDisks,
    mut candidates: Vec<Candidate>,
    wanted: Option<&str>,
) -> Result<Candidate, DetectError> {
    let list = |candidates: &[Candidate]| match candidates {
        [] => seen(disks),
        some => some.iter().map(Candidate::to_string).collect::<Vec<_>>().join("; "),
    };
    if let Some(wanted) = wanted {
        let device = disks.find(wanted);
        let position = candidates.iter().position(|candidate| Some(candidate.device.as_path()) == device);
        return match position {
            Some(at) => Ok(candidates.swap_remove(at)),
            None => Err(DetectError::NotThere { wanted: wanted.to_owned(), candidates: list(&candidates) }),
        };
    }
    match candidates.len() {
        1 => Ok(candidates.swap_remove(0)),
        0 => Err(DetectError::NoRoot { seen: seen(disks) }),
        _ => Err(DetectError::SeveralRoots { candidates: list(&candidates) }),
    }
}

fn seen(disks: &SystemDisks) -> String {
    let all: Vec<String> = disks.contents().map(|(name, _, content)| format!("{name} {:?}", content.kind)).collect();
    if all.is_empty() { format!("{} disks, nothing known on them", disks.disks.len()) } else { all.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::disks::tests::two_disks;
    use super::*;

    fn candidate(name: &str, device: &str, uuid: &str) -> Candidate {
        Candidate {
            name: name.into(),
            device: device.into(),
            kind: FsKind::Ext4,
            uuid: Some(uuid.into()),
            label: None,
            system: "Debian".into(),
        }
    }

    #[test]
    fn one_root_is_taken_several_are_listed() {
        let disks = two_disks();
        let first = candidate("/dev/disk0p1", "/dev/vda1", "aaaa-1");
        let second = candidate("/dev/disk1p1", "/dev/vdb1", "bbbb-1");
        assert_eq!(choose_root(&disks, vec![first.clone()], None).unwrap(), first);
        let error = choose_root(&disks, vec![first.clone(), second.clone()], None).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p1 (Debian, UUID=aaaa-1)") && error.contains("guest.root"), "{error}");
        for spec in ["UUID=bbbb-1", "/dev/disk1p1", "/dev/sdb1"] {
            assert_eq!(choose_root(&disks, vec![first.clone(), second.clone()], Some(spec)).unwrap(), second);
        }
        let error = choose_root(&disks, vec![first], Some("LABEL=x")).unwrap_err().to_string();
        assert!(error.contains("LABEL=x") && error.contains("/dev/disk0p1"), "{error}");
        let error = choose_root(&disks, vec![], None).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p5 Swap"), "{error}");
    }

    #[test]
    fn a_root_has_an_init_and_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        assert_eq!(looks_like_root(&tree).unwrap(), None);
        std::fs::create_dir_all(folder.path().join("usr/lib/systemd")).unwrap();
        std::fs::write(folder.path().join("usr/lib/systemd/systemd"), "").unwrap();
        std::fs::write(folder.path().join("usr/lib/os-release"), "ID=x\nPRETTY_NAME=\"X 1\"\n").unwrap();
        assert_eq!(looks_like_root(&tree).unwrap().as_deref(), Some("X 1"));
    }
}
