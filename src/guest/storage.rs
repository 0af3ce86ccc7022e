//! What lies on disks by way of a software RAID, LVM or LUKS: assembled by the storage's own tools, in the agent's own
//! kernel, where nobody else could take the guest's volumes for the host's.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::disks::{SystemDisks, Volume, VolumeKind};
use super::probe::{FsKind, probe};

/// Where the agent finds keys of LUKS containers: files named by the container's UUID, or `any`.
pub const KEY_FOLDER: &str = "/keys";

/// Kernel modules that logical volumes need from the start; the kernel asks for the others by itself.
pub const LVM_MODULES: &[&str] = &["dm_mod"];
/// The same for software RAID.
pub const RAID_MODULES: &[&str] = &["md_mod"];
/// The same for LUKS.
pub const LUKS_MODULES: &[&str] = &[
    "dm_mod",
    "dm_crypt",
    "aesni_intel",
    "xts",
    "cbc",
    "sha256_generic",
    "sha512_generic",
    "algif_skcipher",
    "ecb",
    "essiv",
];
/// Every module that volumes need; the agent loads what it needs of them.
pub const VOLUME_MODULES: &[&str] = &[
    "dm_mod",
    "md_mod",
    "raid0",
    "raid1",
    "raid10",
    "raid456",
    "dm_crypt",
    "dm_mirror",
    "dm_raid",
    "dm_thin_pool",
    "dm_snapshot",
    "aesni_intel",
    "xts",
    "cbc",
    "sha256_generic",
    "sha512_generic",
    "algif_skcipher",
    "ecb",
    "essiv",
];

/// Why volumes cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A tool is missing or failed.
    #[error("`{tool}` failed: {message}")]
    Tool {
        /// The command.
        tool: String,
        /// What it said last.
        message: String,
    },
    /// A container has no key.
    #[error(
        "{device} is encrypted with LUKS (UUID {uuid}) and no key was given: name one with `guest.keys: [{{ luks: {uuid}, key: {{ file: PATH }} }}]`"
    )]
    NoKey {
        /// The device in plan words.
        device: String,
        /// The container's UUID.
        uuid: String,
    },
    /// The key does not open it.
    #[error("the key given for {device} (LUKS, UUID {uuid}) does not open it")]
    WrongKey {
        /// The device in plan words.
        device: String,
        /// The container's UUID.
        uuid: String,
    },
    /// Something cannot be read.
    #[error("the volumes on the disks cannot be looked at")]
    Io(#[from] io::Error),
}

/// What assembling left closed, and why; a root may lie on none of it.
pub type Closed = Vec<StorageError>;

/// Whether anything on the disks has to be assembled.
pub fn has_volumes(disks: &SystemDisks) -> bool {
    disks.contents().any(|(_, _, content)| matches!(content.kind, FsKind::Raid | FsKind::Lvm | FsKind::Luks))
}

/// Assembles every RAID, volume group and LUKS container, one on top of the other, and adds the volumes to `disks`.
/// Members stop counting as file systems. What has no key is reported and left closed.
pub fn assemble(disks: &mut SystemDisks) -> Result<Closed, StorageError> {
    let mut closed = Closed::new();
    if !has_volumes(disks) {
        return Ok(closed);
    }
    let mut tried = Vec::new();
    let mut activated = 0;
    loop {
        let kinds: Vec<FsKind> = disks.contents().map(|(_, _, content)| content.kind).collect();
        for (kind, list) in [(FsKind::Raid, "raid"), (FsKind::Lvm, "lvm"), (FsKind::Luks, "luks")] {
            let list = format!("/etc/modules.{list}");
            if kinds.contains(&kind) && !tried.contains(&list) {
                load_modules(&list);
                tried.push(list);
            }
        }
        if kinds.contains(&FsKind::Raid) && !tried.contains(&"raid".to_owned()) {
            tried.push("raid".to_owned());
            // Incomplete mirrors are run, too: a disk that failed in the source is no reason to stop.
            let _ = run(
                "mdadm",
                &["--assemble", "--scan", "--run", "--config=partitions", "--homehost=<ignore>", "--auto=md"],
                &[],
            );
        }
        let physical = kinds.iter().filter(|kind| **kind == FsKind::Lvm).count();
        if physical > activated {
            activated = physical;
            run("lvm", &["vgchange", "--activate", "y", "--sysinit", "--activationmode", "degraded"], &[])?;
            // Usually it has made them; each call of the tool takes a while.
            if has_unnamed(Path::new("/sys/block"), Path::new("/dev/mapper"))? {
                run("lvm", &["vgmknodes"], &[])?;
            }
        }
        let containers: Vec<(String, PathBuf, String)> = disks
            .contents()
            .filter(|(_, _, content)| content.kind == FsKind::Luks)
            .map(|(name, device, content)| (name, device.to_owned(), content.uuid.clone().unwrap_or_default()))
            .filter(|(_, _, uuid)| !tried.contains(uuid))
            .collect();
        for (name, device, uuid) in containers {
            tried.push(uuid.clone());
            match open_luks(&name, &device, &uuid) {
                Err(error @ (StorageError::NoKey { .. } | StorageError::WrongKey { .. })) => closed.push(error),
                outcome => outcome?,
            }
        }
        let before = disks.volumes.len();
        disks.volumes = volumes(Path::new("/sys/block"), Path::new("/dev"))?;
        hide_members(disks);
        if disks.volumes.len() == before {
            return Ok(closed);
        }
    }
}

/// Lets go of everything that [`assemble`] made, so that its metadata is clean on the disks.
pub fn release(disks: &SystemDisks) {
    if disks.volumes.is_empty() {
        return;
    }
    // Top first; what is still in use below is let go of in the next round.
    let mut left = disks.volumes.clone();
    for _ in 0..3 {
        if left.iter().any(|volume| volume.kind == VolumeKind::Lvm) {
            let _ = run("lvm", &["vgchange", "--activate", "n"], &[]);
        }
        for volume in &left {
            let device = volume.device.to_string_lossy().into_owned();
            match volume.kind {
                VolumeKind::Luks => drop(run("cryptsetup", &["close", &device], &[])),
                VolumeKind::Raid => drop(run("mdadm", &["--stop", &device], &[])),
                VolumeKind::Lvm => {}
            }
        }
        left = volumes(Path::new("/sys/block"), Path::new("/dev")).unwrap_or(left);
        if left.is_empty() {
            return;
        }
    }
}

/// Whether a mapped device has no name below `mapper`.
fn has_unnamed(sys: &Path, mapper: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(sys)?.filter_map(Result::ok) {
        if let Ok(name) = fs::read_to_string(entry.path().join("dm/name"))
            && !mapper.join(name.trim()).exists()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn load_modules(list: &str) {
    let Ok(list) = fs::read_to_string(list) else { return };
    for module in list.lines() {
        let _ = Command::new("insmod").arg(format!("/lib/modules/{module}")).stderr(Stdio::null()).status();
    }
}

fn open_luks(name: &str, device: &Path, uuid: &str) -> Result<(), StorageError> {
    let key = [uuid, "any"].iter().find_map(|file| fs::read(Path::new(KEY_FOLDER).join(file)).ok());
    let Some(key) = key else {
        return Err(StorageError::NoKey { device: name.to_owned(), uuid: uuid.to_owned() });
    };
    let to = format!("luks-{uuid}");
    let device = device.to_string_lossy().into_owned();
    let wrong = StorageError::WrongKey { device: name.to_owned(), uuid: uuid.to_owned() };
    run("cryptsetup", &["open", "--type", "luks", "--key-file", "-", &device, &to], &key).map(drop).map_err(|error| {
        match error {
            // Exit code 2 of cryptsetup: no permission, which is a wrong key.
            StorageError::Tool { message, .. } if message.starts_with("(2)") => wrong,
            other => other,
        }
    })
}

fn run(tool: &str, words: &[&str], input: &[u8]) -> Result<String, StorageError> {
    let failed = |message: String| StorageError::Tool { tool: format!("{tool} {}", words.join(" ")), message };
    let mut child = Command::new(tool)
        .args(words)
        .env("LC_ALL", "C")
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that does not read its input says so by how it ends.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
            Err(failed(format!("({}) {last}", output.status.code().unwrap_or(-1))))
        }
    }
}

/// The volumes that the kernel has now.
fn volumes(sys: &Path, dev: &Path) -> io::Result<Vec<Volume>> {
    let text = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut found = Vec::new();
    let mut names: Vec<String> =
        fs::read_dir(sys)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.starts_with("dm-") || name.starts_with("md")) {
        let folder = sys.join(name);
        let size = text(folder.join("size")).and_then(|size| size.parse::<u64>().ok()).unwrap_or(0) * 512;
        if size == 0 {
            continue;
        }
        let below = fs::read_dir(folder.join("slaves"))
            .map(|entries| entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
            .unwrap_or_default();
        let (device, aliases, kind) = match text(folder.join("dm/name")) {
            Some(mapped) => {
                let id = text(folder.join("dm/uuid")).unwrap_or_default();
                let kind = if id.starts_with("CRYPT-") { VolumeKind::Luks } else { VolumeKind::Lvm };
                // Hidden parts of a volume (mirror legs, thin pools) have a suffix behind their identity.
                if kind == VolumeKind::Lvm && (!id.starts_with("LVM-") || id.len() > 4 + 64) {
                    continue;
                }
                let alias = lvm_alias(&mapped).filter(|_| kind == VolumeKind::Lvm);
                (dev.join("mapper").join(&mapped), alias.into_iter().collect(), kind)
            }
            None => (dev.join(name), Vec::new(), VolumeKind::Raid),
        };
        let content = probe(&device).or_else(|_| probe(&dev.join(name)))?;
        found.push(Volume { device, aliases, kind, size, content, below });
    }
    Ok(found)
}

/// `/dev/vg/root` for `vg-root`; a hyphen inside a name is doubled in device-mapper's.
fn lvm_alias(mapped: &str) -> Option<String> {
    let bytes = mapped.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => {
                let plain = |part: &str| part.replace("--", "-");
                return Some(format!("/dev/{}/{}", plain(&mapped[..at]), plain(&mapped[at + 1..])));
            }
            _ => at += 1,
        }
    }
    None
}

/// A device below a mirror is a member, even if it looks like the file system on the mirror.
fn hide_members(disks: &mut SystemDisks) {
    let members: BTreeMap<String, VolumeKind> =
        disks.volumes.iter().flat_map(|volume| volume.below.iter().map(|name| (name.clone(), volume.kind))).collect();
    let is_member = |device: &Path| {
        let name = device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        members.get(&name) == Some(&VolumeKind::Raid)
    };
    for disk in &mut disks.disks {
        let parts = disk.partitions.iter_mut().map(|partition| (&partition.device, &mut partition.content));
        for (device, content) in parts.chain(std::iter::once((&disk.device, &mut disk.whole))) {
            if let Some(content) = content
                && is_member(device)
            {
                content.kind = FsKind::Raid;
                content.uuid = None;
                content.label = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disks::tests::two_disks;
    use super::*;

    #[test]
    fn names_of_logical_volumes_are_taken_apart() {
        assert_eq!(lvm_alias("vg-root").as_deref(), Some("/dev/vg/root"));
        assert_eq!(lvm_alias("my--vg-my--root").as_deref(), Some("/dev/my-vg/my-root"));
        assert_eq!(lvm_alias("plain"), None);
    }

    #[test]
    fn devices_without_a_name_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (sys, mapper) = (folder.path().join("sys"), folder.path().join("mapper"));
        fs::create_dir_all(sys.join("dm-0/dm")).unwrap();
        fs::create_dir_all(sys.join("vda")).unwrap();
        fs::create_dir_all(&mapper).unwrap();
        fs::write(sys.join("dm-0/dm/name"), "vg-root\n").unwrap();
        assert!(has_unnamed(&sys, &mapper).unwrap());
        fs::write(mapper.join("vg-root"), "").unwrap();
        assert!(!has_unnamed(&sys, &mapper).unwrap());
    }

    #[test]
    fn members_of_a_mirror_are_no_file_systems() {
        let mut disks = two_disks();
        assert!(!has_volumes(&disks));
        disks.volumes.push(Volume {
            device: "/dev/md127".into(),
            aliases: vec!["/dev/md/root".into()],
            kind: VolumeKind::Raid,
            size: 1,
            content: disks.disks[0].partitions[0].content.clone(),
            below: vec!["vda1".into(), "vdb1".into()],
        });
        hide_members(&mut disks);
        assert_eq!(disks.find("UUID=aaaa-1"), Some(Path::new("/dev/md127")));
        assert_eq!(disks.find("/dev/md/root"), Some(Path::new("/dev/md127")));
        assert_eq!(disks.disks[1].partitions[0].content.as_ref().unwrap().kind, FsKind::Raid);
    }
}
