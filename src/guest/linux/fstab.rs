//! `/etc/fstab`, `/etc/crypttab` and the resume setting: devices named by UUID.

use serde::{Deserialize, Serialize};

use super::super::edit::Draft;
use super::super::{DeviceNames, Edit, FileChange};

const WHY: &str = "names such as /dev/sda1 depend on the disk controller; a UUID does not";

/// What became of a file of mounts.
pub struct Outcome {
    /// The change, if one is needed.
    pub change: Option<FileChange>,
    /// Lines whose device depends on the hardware and has no UUID to take its place.
    pub unresolved: Vec<String>,
}

/// `/etc/fstab`: the first field of each line.
pub fn fstab(bytes: &[u8], names: &DeviceNames<'_>) -> Outcome {
    first_fields("/etc/fstab", bytes, names, 0)
}

/// `/etc/crypttab`: the second field of each line.
pub fn crypttab(bytes: &[u8], names: &DeviceNames<'_>) -> Outcome {
    first_fields("/etc/crypttab", bytes, names, 1)
}

fn first_fields(path: &str, bytes: &[u8], names: &DeviceNames<'_>, field: usize) -> Outcome {
    let mut draft = Draft::new(path, bytes);
    let mut unresolved = Vec::new();
    draft.lines("fstab", WHY, |line| {
        let range = field_range(line, field)?;
        let device = &line[range.clone()];
        match names.stable(device) {
            Some(stable) => Some(format!("{}{stable}{}", &line[..range.start], &line[range.end..])),
            None => {
                if DeviceNames::depends_on_hardware(device) {
                    unresolved.push(line.to_owned());
                }
                None
            }
        }
    });
    Outcome { change: draft.finish(), unresolved }
}

/// `RESUME=/dev/sda5` of initramfs-tools.
pub fn resume(path: &str, bytes: &[u8], names: &DeviceNames<'_>) -> Option<FileChange> {
    let mut draft = Draft::new(path, bytes);
    draft.lines("fstab.resume", WHY, |line| {
        let device = line.trim_start().strip_prefix("RESUME=")?.trim_end();
        let stable = names.stable(device.trim_matches('"'))?;
        Some(format!("RESUME={stable}"))
    });
    draft.finish()
}

/// A line of `/etc/fstab`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The device as it is written there.
    pub device: String,
    /// Where it is mounted.
    pub point: String,
    /// The type of the file system.
    pub kind: String,
    /// Options, separated by commas.
    pub options: String,
}

/// Mounts of `/etc/fstab`, comments left out.
pub fn mounts(bytes: &[u8]) -> Vec<Mount> {
    let text = super::super::Text::from_bytes(bytes);
    text.lines()
        .filter_map(|line| {
            let field = |index| field_range(line, index).map(|range| line[range].to_owned());
            Some(Mount { device: field(0)?, point: field(1)?, kind: field(2)?, options: field(3).unwrap_or_default() })
        })
        .collect()
}

/// Where the field of that number lies in a line; `None` for comments and shorter lines.
fn field_range(line: &str, field: usize) -> Option<std::ops::Range<usize>> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let word = line.split([' ', '\t']).filter(|word| !word.is_empty()).nth(field)?;
    // The word is a part of the line, so its place is the distance of their starts.
    let start = word.as_ptr() as usize - line.as_ptr() as usize;
    Some(start..start + word.len())
}

/// The edits of an outcome, for reports.
pub fn edits(outcome: &Outcome) -> &[Edit] {
    outcome.change.as_ref().map_or(&[], |change| &change.edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;
    use crate::guest::disks::tests::two_disks;
    use proptest::prelude::*;

    fn convert(text: &[u8]) -> (Vec<u8>, Outcome) {
        let disks = two_disks();
        let outcome = fstab(text, &DeviceNames::new(&disks));
        let new = match &outcome.change {
            Some(FileChange { content: Content::Whole(bytes), .. }) => bytes.clone(),
            _ => text.to_vec(),
        };
        (new, outcome)
    }

    #[test]
    fn devices_become_uuids_and_all_else_stays() {
        let old = b"# /dev/sda1 is the root\n/dev/sda1\t/   ext4 errors=remount-ro 0 1\n\n  /dev/hdb1 /srv ext4 defaults 0 2 # data\n/dev/sda5 none swap sw 0 0\nproc /proc proc defaults 0 0\n/dev/sda6 /odd auto defaults 0 0\n/dev/mapper/vg-x /x xfs defaults 0 0";
        let (new, outcome) = convert(old);
        let expected = "# /dev/sda1 is the root\nUUID=aaaa-1\t/   ext4 errors=remount-ro 0 1\n\n  UUID=bbbb-1 /srv ext4 defaults 0 2 # data\nUUID=aaaa-5 none swap sw 0 0\nproc /proc proc defaults 0 0\n/dev/sda6 /odd auto defaults 0 0\n/dev/mapper/vg-x /x xfs defaults 0 0";
        assert_eq!(String::from_utf8(new).unwrap(), expected);
        assert_eq!(outcome.unresolved, ["/dev/sda6 /odd auto defaults 0 0"]);
        assert_eq!(edits(&outcome).len(), 3);
        assert_eq!(edits(&outcome)[0].before.as_deref(), Some("/dev/sda1\t/   ext4 errors=remount-ro 0 1"));
    }

    #[test]
    fn crypttab_and_resume_name_their_devices_elsewhere() {
        let disks = two_disks();
        let names = DeviceNames::new(&disks);
        let outcome = crypttab(b"cryptswap /dev/sda5 /dev/urandom swap\n", &names);
        assert_eq!(edits(&outcome)[0].after.as_deref(), Some("cryptswap UUID=aaaa-5 /dev/urandom swap"));
        let change = resume("/etc/initramfs-tools/conf.d/resume", b"RESUME=/dev/sda5\n", &names).unwrap();
        assert_eq!(change.content, Content::Whole(b"RESUME=UUID=aaaa-5\n".to_vec()));
    }

    proptest! {
        #[test]
        fn lines_that_name_no_old_device_survive_byte_by_byte(
            text in proptest::collection::vec(prop_oneof![
                Just(b"/dev/sda1 / ext4 defaults 0 1".to_vec()),
                Just(b"\t/dev/sdb1\t/srv ext4 noatime 0 2".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..60).prop_map(|mut line| { line.retain(|b| *b != b'\n'); line }),
            ], 0..30)
        ) {
            let old: Vec<u8> = text.join(&b'\n');
            let (new, _) = convert(&old);
            let (old_lines, new_lines): (Vec<_>, Vec<_>) = (old.split(|b| *b == b'\n').collect(), new.split(|b| *b == b'\n').collect());
            prop_assert_eq!(old_lines.len(), new_lines.len());
            for (old, new) in old_lines.iter().zip(&new_lines) {
                prop_assert!(old == new || old.windows(5).any(|w| w == b"/dev/"));
            }
            let (again, outcome) = convert(&new);
            prop_assert_eq!(again, new);
            prop_assert!(outcome.change.is_none());
        }
    }
}
