//! Configuration of software RAID and LVM that names disks as the source's controller did.

use super::super::edit::Draft;
use super::super::{DeviceNames, FileChange, GuestTree, SkipList, TreeError};

const WHY_MD: &str = "members of an array are found by its UUID, on whatever disks they are";
const WHY_LVM: &str = "the filter would hide the target's disks from LVM";
const WHY_STALE: &str = "it lists the devices of the old hardware and would hide the target's disks";

/// Files that hold what the old hardware looked like; their programs write them again.
const STALE: [&str; 5] = [
    "/etc/lvm/devices/system.devices",
    "/etc/lvm/cache/.cache",
    "/etc/lvm/.cache",
    "/etc/blkid.tab",
    "/etc/blkid/blkid.tab",
];

/// Every change that the storage's configuration needs, and lines that could not be translated.
pub fn plan(
    tree: &GuestTree,
    names: &DeviceNames<'_>,
    skip: &SkipList,
) -> Result<(Vec<FileChange>, Vec<String>), TreeError> {
    let (mut changes, mut warnings) = (Vec::new(), Vec::new());
    if !skip.skips("storage.raid") {
        for path in ["/etc/mdadm/mdadm.conf", "/etc/mdadm.conf"] {
            let Some(bytes) = tree.read(path)? else { continue };
            let (change, unresolved) = mdadm(path, &bytes);
            changes.extend(change);
            warnings.extend(
                unresolved
                    .into_iter()
                    .map(|line| format!("{path}: `{line}` names an array by its members only, and is left as it is")),
            );
        }
    }
    if !skip.skips("storage.lvm") {
        for path in ["/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf"] {
            if let Some(bytes) = tree.read(path)? {
                changes.extend(lvm(path, &bytes, names));
            }
        }
    }
    if !skip.skips("storage.stale") {
        for path in STALE {
            if let Some(bytes) = tree.read(path)? {
                changes.push(FileChange::removed("storage.stale", path, &bytes, WHY_STALE));
            }
        }
    }
    Ok((changes, warnings))
}

/// `mdadm.conf`: arrays by UUID, members anywhere.
pub fn mdadm(path: &str, bytes: &[u8]) -> (Option<FileChange>, Vec<String>) {
    let mut draft = Draft::new(path, bytes);
    let mut unresolved = Vec::new();
    draft.lines("storage.raid", WHY_MD, |line| {
        let mut words = line.split_whitespace();
        let keyword = words.next()?.to_ascii_uppercase();
        // mdadm takes any keyword by its first three letters.
        if "DEVICE".starts_with(&keyword) && keyword.len() >= 3 {
            let by_name = words.any(|word| {
                DeviceNames::depends_on_hardware(word.trim_end_matches(['*', '[', ']'])) || is_pattern(word)
            });
            return by_name.then(|| "DEVICE partitions".to_owned());
        }
        if !("ARRAY".starts_with(&keyword) && keyword.len() >= 3) {
            return None;
        }
        let lists_members = |word: &str| word.to_ascii_lowercase().starts_with("devices=");
        let members = line.split_whitespace().find(|word| lists_members(word))?;
        let identified = line.split_whitespace().any(|word| word.to_ascii_lowercase().starts_with("uuid="));
        if !identified {
            unresolved.push(line.to_owned());
            return None;
        }
        let at = line.find(members)?;
        let before = line[..at].trim_end_matches([' ', '\t']);
        Some(format!("{before}{}", &line[at + members.len()..]))
    });
    (draft.finish(), unresolved)
}

/// `/dev/sd*`, `/dev/hd[ab]1`.
fn is_pattern(word: &str) -> bool {
    let name = word.strip_prefix("/dev/").unwrap_or_default();
    ["sd", "hd", "xvd", "nvme", "cciss/"].iter().any(|prefix| name.starts_with(prefix))
}

/// `lvm.conf`: a filter that goes by the names of disks lets the target's disks through, too.
pub fn lvm(path: &str, bytes: &[u8], names: &DeviceNames<'_>) -> Option<FileChange> {
    let disk = names.disk_device(0)?;
    // `/dev/vda` is one of `/dev/vd...`.
    let prefix = disk.trim_end_matches(|c: char| c.is_ascii_digit());
    let prefix = prefix.strip_suffix('a').unwrap_or(prefix).to_owned();
    let mut draft = Draft::new(path, bytes);
    let text: Vec<String> = draft.text().lines().map(str::to_owned).collect();
    let mut number = 0;
    draft.lines("storage.lvm", WHY_LVM, |line| {
        let at = number;
        number += 1;
        let (name, rest) = line.split_once('=')?;
        let name = name.trim();
        if name != "filter" && name != "global_filter" && name != "devices/filter" && name != "devices/global_filter" {
            return None;
        }
        let open = line.len() - rest.len() + rest.find('[')?;
        // The list may go on for some lines.
        let mut list = String::new();
        for line in text.get(at..)?.iter().take(64) {
            list.push_str(line.split('#').next().unwrap_or_default());
            if list.contains(']') {
                break;
            }
        }
        let old = ["/sd", "/hd", "/xvd", "/nvme", "/cciss", "by-path", "by-id", "/emcpower", "/mpath"];
        if !old.iter().any(|name| list.contains(name)) || list.contains(&format!("a|^{prefix}|")) {
            return None;
        }
        Some(format!("{} \"a|^{prefix}|\",{}", &line[..=open], &line[open + 1..]))
    });
    draft.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Content;
    use crate::guest::disks::tests::two_disks;
    use proptest::prelude::*;

    fn after(change: Option<FileChange>) -> String {
        match change.map(|change| change.content) {
            Some(Content::Whole(bytes)) => String::from_utf8(bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn arrays_are_found_by_their_uuid() {
        let old = "# mine\nDEVICE /dev/sd[ab]1 /dev/sdc1\nHOMEHOST <system>\nARRAY /dev/md0 UUID=1:2:3:4 devices=/dev/sda1,/dev/sdb1\nARRAY /dev/md1 metadata=1.2 UUID=5:6:7:8 name=a:1\nARRAY /dev/md2 devices=/dev/sda2,/dev/sdb2\n";
        let (change, unresolved) = mdadm("/etc/mdadm.conf", old.as_bytes());
        assert_eq!(
            after(change),
            "# mine\nDEVICE partitions\nHOMEHOST <system>\nARRAY /dev/md0 UUID=1:2:3:4\nARRAY /dev/md1 metadata=1.2 UUID=5:6:7:8 name=a:1\nARRAY /dev/md2 devices=/dev/sda2,/dev/sdb2\n"
        );
        assert_eq!(unresolved, ["ARRAY /dev/md2 devices=/dev/sda2,/dev/sdb2"]);
        assert_eq!(mdadm("/x", b"DEVICE partitions containers\n").0, None);
    }

    #[test]
    fn filters_let_the_target_through() {
        let disks = two_disks();
        let names = DeviceNames::new(&disks);
        let old = "devices {\n\t# filter = [ \"a|/dev/sda|\" ]\n\tfilter = [ \"a|^/dev/sda|\", \"r|.*|\" ]\n\tglobal_filter=[\n\t\t\"a|/dev/hda.*|\",\n\t\t\"r|.*|\" ]\n\tfilter = [ \"a|.*|\" ]\n}\n";
        let new = after(lvm("/etc/lvm/lvm.conf", old.as_bytes(), &names));
        assert_eq!(
            new,
            "devices {\n\t# filter = [ \"a|/dev/sda|\" ]\n\tfilter = [ \"a|^/dev/vd|\", \"a|^/dev/sda|\", \"r|.*|\" ]\n\tglobal_filter=[ \"a|^/dev/vd|\",\n\t\t\"a|/dev/hda.*|\",\n\t\t\"r|.*|\" ]\n\tfilter = [ \"a|.*|\" ]\n}\n"
        );
        assert_eq!(lvm("/etc/lvm/lvm.conf", new.as_bytes(), &names), None);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_and_twice_is_once(bytes in proptest::collection::vec(prop_oneof![
            any::<u8>().prop_map(|byte| vec![byte]),
            Just(b"\nARRAY /dev/md0 UUID=1 devices=/dev/sda1 ".to_vec()),
            Just(b"\nfilter = [ \"a|/dev/sda|\"".to_vec()),
            Just(b" ]\n".to_vec()),
        ], 0..80)) {
            let bytes = bytes.concat();
            let disks = two_disks();
            let names = DeviceNames::new(&disks);
            if let (Some(FileChange { content: Content::Whole(new), .. }), _) = mdadm("/x", &bytes) {
                prop_assert_eq!(mdadm("/x", &new).0, None);
            }
            if let Some(FileChange { content: Content::Whole(new), .. }) = lvm("/x", &bytes, &names) {
                prop_assert_eq!(lvm("/x", &new, &names), None);
            }
        }
    }
}
