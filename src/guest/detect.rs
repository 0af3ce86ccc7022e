//! Finding the operating system: the one root file system among those of the restored disks.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::linux::fstab::{Mount, mounts};
use super::probe::FsState;
use super::storage::{self, StorageError};
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
    /// The subvolume of Btrfs that is the root, as a mount option: `subvol=@`.
    pub subvolume: Option<String>,
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
        if let Some(subvolume) = &self.subvolume {
            write!(f, ", {subvolume}")?;
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
    /// Volumes cannot be assembled.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// No file system looks like a root.
    #[error("no file system on the restored disks holds a Linux system; there are: {seen}{closed}")]
    NoRoot {
        /// What was seen.
        seen: String,
        /// What could not be opened.
        closed: String,
    },
    /// Several do.
    #[error("several file systems look like the root: {candidates}; say which with `guest.root: UUID=...`")]
    SeveralRoots {
        /// Each of them.
        candidates: String,
    },
    /// The declared root is none of them.
    #[error("`guest.root: {wanted}` names no file system that holds a Linux system; there are: {candidates}{closed}")]
    NotThere {
        /// What was declared.
        wanted: String,
        /// Each candidate.
        candidates: String,
        /// What could not be opened.
        closed: String,
    },
    /// A file system is damaged.
    #[error(
        "the file system on {device} ({kind}) is marked as damaged: check it in the source with fsck, capture again; a repair may lose files, so none is tried here"
    )]
    Damaged {
        /// The device in plan words.
        device: String,
        /// Its kind.
        kind: &'static str,
    },
    /// The machine sleeps.
    #[error(
        "the swap space on {device} holds a hibernated machine: start the source, shut it down instead, and capture again; its file systems are not in the state that its memory believes in"
    )]
    Hibernated {
        /// The device in plan words.
        device: String,
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
const NEEDED: [&str; 8] = ["/usr", "/etc", "/var", "/boot", "/boot/grub2", "/boot/grub", "/boot/efi", "/efi"];

/// How a guest's file systems are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For conversion.
    Writable,
    /// For a look.
    ReadOnly,
}

/// The disks with every volume on them, and the roots that were found.
#[derive(Debug)]
pub struct Survey {
    /// The disks.
    pub disks: SystemDisks,
    /// Each file system that looks like a root.
    pub roots: Vec<Candidate>,
    /// What could not be opened or mounted, for people.
    pub closed: Vec<String>,
}

/// Looks at the disks: assembles volumes and finds every root. Mounts only for as long as it looks.
pub fn survey(folder: &Path) -> Result<Survey, DetectError> {
    let mut disks = SystemDisks::discover().map_err(DetectError::Disks)?;
    let mut closed: Vec<String> = storage::assemble(&mut disks)?.iter().map(ToString::to_string).collect();
    let roots = candidates(&disks, folder, &mut closed)?;
    Ok(Survey { disks, roots, closed })
}

/// Finds the root file system, mounts it for writing below `folder` together with what conversion needs of the rest.
pub fn detect(folder: &Path, wanted: Option<&str>) -> Result<Guest, DetectError> {
    let survey = survey(folder)?;
    refuse_unusable(&survey.disks)?;
    let root = choose_root(&survey.disks, survey.roots, wanted, &survey.closed)?;
    open(folder, survey.disks, root, Access::Writable)
}

/// What must not be converted, whatever its root is.
pub fn refuse_unusable(disks: &SystemDisks) -> Result<(), DetectError> {
    for (device, _, content) in disks.contents() {
        match content.state {
            FsState::Usable => {}
            FsState::Damaged => return Err(DetectError::Damaged { device, kind: content.kind.name() }),
            FsState::Hibernated => return Err(DetectError::Hibernated { device }),
        }
    }
    Ok(())
}

/// Mounts a guest below `folder`.
pub fn open(folder: &Path, disks: SystemDisks, root: Candidate, access: Access) -> Result<Guest, DetectError> {
    let at = folder.join("root");
    let mut mounted = Mounted::default();
    let mut mount = |device: &Path, kind, subvolume: Option<&str>, at: &Path, point: &str, name: &str| {
        let outcome = match access {
            Access::Writable => mounted.writable(device, kind, subvolume, at),
            Access::ReadOnly => mounted.read_only(device, kind, subvolume, at),
        };
        let (mount_point, device) = (point.to_owned(), name.to_owned());
        outcome.map_err(|error| DetectError::Mount { mount_point, device, error })
    };
    mount(&root.device, root.kind, root.subvolume.as_deref(), &at, "/", &root.name)?;
    let tree = GuestTree::new(&at);
    let table = mounts(&tree.read("/etc/fstab")?.unwrap_or_default());
    for point in NEEDED {
        let Some(Mount { device: spec, options, .. }) =
            table.iter().find(|entry| entry.point.trim_end_matches('/') == point)
        else {
            continue;
        };
        let Some(device) = disks.find(spec) else { continue };
        let content = disks.content_of(device);
        let Some(kind) = content.map(|content| content.kind).filter(|kind| kind.mountable().is_some()) else {
            continue;
        };
        let subvolume = options.split(',').find(|option| option.starts_with("subvol"));
        mount(device, kind, subvolume, &tree.resolve(point)?, point, spec)?;
    }
    Ok(Guest { root, tree, disks, mounted })
}

/// Mounts every file system once, read-only, and keeps those that look like a root.
fn candidates(disks: &SystemDisks, folder: &Path, closed: &mut Vec<String>) -> Result<Vec<Candidate>, DetectError> {
    let mut found = Vec::new();
    for (name, device, content) in disks.contents().filter(|(_, _, content)| content.kind.holds_roots()) {
        let look = |subvolume: Option<&str>| -> Result<_, DetectError> {
            let mut mounted = Mounted::default();
            let at = folder.join("look");
            mounted.read_only(device, content.kind, subvolume, &at).map_err(|error| DetectError::Mount {
                mount_point: "file system".to_owned(),
                device: name.clone(),
                error,
            })?;
            let tree = GuestTree::new(&at);
            let names = if subvolume == Some(TOP) { tree.list("/")? } else { Vec::new() };
            Ok((looks_like_root(&tree)?, names))
        };
        let mut add = |system: String, subvolume: Option<String>| {
            found.push(Candidate {
                name: name.clone(),
                device: device.to_owned(),
                kind: content.kind,
                uuid: content.uuid.clone(),
                label: content.label.clone(),
                subvolume,
                system,
            });
        };
        match look(None) {
            // A data disk that cannot be mounted is no reason to stop; if it was the root, the reason is told.
            Err(error @ (DetectError::Mount { .. } | DetectError::Tree(_))) => {
                closed.push(format!(
                    "{name} ({}): {}; check it in the source with fsck",
                    content.kind.name(),
                    with_cause(&error)
                ));
            }
            Err(error) => closed.push(with_cause(&error)),
            Ok((Some(system), _)) => add(system, None),
            Ok((None, _)) if content.kind == FsKind::Btrfs => {
                // Distributions put the root into a subvolume of the top folder; snapshots lie deeper.
                let (_, names) = look(Some(TOP))?;
                for subvolume in names.iter().filter(|name| !name.contains(',')).map(|name| format!("subvol={name}")) {
                    if let Ok((Some(system), _)) = look(Some(&subvolume)) {
                        add(system, Some(subvolume));
                    }
                }
            }
            Ok((None, _)) => {}
        }
    }
    Ok(found)
}

/// The top of a Btrfs file system, whatever its default subvolume is.
const TOP: &str = "subvolid=5";

fn with_cause(error: &DetectError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
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
    if let Some(name) = field("PRETTY_NAME").or_else(|| field("ID")) {
        return Ok(Some(name));
    }
    // Before os-release, each family had a file of its own.
    for path in ["/etc/redhat-release", "/etc/SuSE-release", "/etc/alpine-release", "/etc/debian_version"] {
        if let Some(bytes) = tree.read(path)? {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let line = text.lines().next().unwrap_or_default().trim().to_owned();
            let family = path.trim_start_matches("/etc/").split(['-', '_']).next().unwrap_or_default().to_owned();
            let named = line.starts_with(|c: char| c.is_ascii_alphabetic());
            return Ok(Some(if named { line } else { format!("{family} {line}") }));
        }
    }
    Ok(Some("Linux".to_owned()))
}

/// The one root: the declared one, or the only one.
pub fn choose_root(
    disks: &SystemDisks,
    mut candidates: Vec<Candidate>,
    wanted: Option<&str>,
    closed: &[String],
) -> Result<Candidate, DetectError> {
    let list = |candidates: &[Candidate]| match candidates {
        [] => seen(disks),
        some => some.iter().map(Candidate::to_string).collect::<Vec<_>>().join("; "),
    };
    let closed = match closed {
        [] => String::new(),
        some => format!("; not looked into: {}", some.join("; ")),
    };
    if let Some(wanted) = wanted {
        // `UUID=...,subvol=@` names one of several roots on the same Btrfs.
        let (spec, subvolume) = match wanted.split_once(",subvol=") {
            Some((spec, name)) => (spec, Some(format!("subvol={name}"))),
            None => (wanted, None),
        };
        let device = disks.find(spec);
        let position = candidates.iter().position(|candidate| {
            Some(candidate.device.as_path()) == device && (subvolume.is_none() || candidate.subvolume == subvolume)
        });
        return match position {
            Some(at) => Ok(candidates.swap_remove(at)),
            None => Err(DetectError::NotThere { wanted: wanted.to_owned(), candidates: list(&candidates), closed }),
        };
    }
    match candidates.len() {
        1 => Ok(candidates.swap_remove(0)),
        0 => Err(DetectError::NoRoot { seen: seen(disks), closed }),
        _ => Err(DetectError::SeveralRoots { candidates: list(&candidates) }),
    }
}

fn seen(disks: &SystemDisks) -> String {
    let all: Vec<String> =
        disks.contents().map(|(name, _, content)| format!("{name} {}", content.kind.name())).collect();
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
            subvolume: None,
            system: "Debian".into(),
        }
    }

    #[test]
    fn one_root_is_taken_several_are_listed() {
        let disks = two_disks();
        let choose = |candidates, wanted| choose_root(&disks, candidates, wanted, &[]);
        let first = candidate("/dev/disk0p1", "/dev/vda1", "aaaa-1");
        let second = candidate("/dev/disk1p1", "/dev/vdb1", "bbbb-1");
        assert_eq!(choose(vec![first.clone()], None).unwrap(), first);
        let error = choose(vec![first.clone(), second.clone()], None).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p1 (Debian, UUID=aaaa-1)") && error.contains("guest.root"), "{error}");
        for spec in ["UUID=bbbb-1", "/dev/disk1p1", "/dev/sdb1"] {
            assert_eq!(choose(vec![first.clone(), second.clone()], Some(spec)).unwrap(), second);
        }
        let inside = Candidate { subvolume: Some("subvol=@old".into()), ..first.clone() };
        assert_eq!(choose(vec![first.clone(), inside.clone()], Some("UUID=aaaa-1,subvol=@old")).unwrap(), inside);
        let error = choose(vec![first], Some("LABEL=x")).unwrap_err().to_string();
        assert!(error.contains("LABEL=x") && error.contains("/dev/disk0p1"), "{error}");
        let error = choose_root(&disks, vec![], None, &["locked".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p5 swap") && error.contains("not looked into: locked"), "{error}");
    }

    #[test]
    fn damaged_and_sleeping_disks_are_refused() {
        let mut disks = two_disks();
        assert!(refuse_unusable(&disks).is_ok());
        disks.disks[0].partitions[1].content.as_mut().unwrap().state = FsState::Hibernated;
        let error = refuse_unusable(&disks).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p5 holds a hibernated machine"), "{error}");
        disks.disks[0].partitions[0].content.as_mut().unwrap().state = FsState::Damaged;
        let error = refuse_unusable(&disks).unwrap_err().to_string();
        assert!(error.contains("/dev/disk0p1 (ext4) is marked as damaged"), "{error}");
    }

    #[test]
    fn a_root_has_an_init_and_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let tree = GuestTree::new(folder.path());
        assert_eq!(looks_like_root(&tree).unwrap(), None);
        std::fs::create_dir_all(folder.path().join("usr/lib/systemd")).unwrap();
        std::fs::create_dir_all(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("usr/lib/systemd/systemd"), "").unwrap();
        std::fs::write(folder.path().join("etc/fstab"), "").unwrap();
        assert_eq!(looks_like_root(&tree).unwrap().as_deref(), Some("Linux"));
        std::fs::write(folder.path().join("etc/redhat-release"), "CentOS release 6.10 (Final)\n").unwrap();
        assert_eq!(looks_like_root(&tree).unwrap().as_deref(), Some("CentOS release 6.10 (Final)"));
        std::fs::write(folder.path().join("usr/lib/os-release"), "ID=x\nPRETTY_NAME=\"X 1\"\n").unwrap();
        assert_eq!(looks_like_root(&tree).unwrap().as_deref(), Some("X 1"));
    }
}
