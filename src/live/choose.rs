//! Which volumes of a running machine are read from a snapshot, which are not and why, and how much room it takes.

use std::collections::BTreeMap;
use std::ops::Range;

use super::volumes::{Segment, Volumes};
use crate::plan::SnapshotUse;
use crate::units::ByteCount;

/// What becomes of a logical volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is read from a snapshot, which gets so many bytes of room.
    Snapshot {
        /// Bytes.
        room: u64,
    },
    /// It is read as it is.
    Live {
        /// Why.
        why: String,
    },
    /// What is in it does not outlive the machine's next start.
    Swap,
    /// Nothing can write it.
    Inactive,
}

/// A logical volume with extents on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The volume group.
    pub group: String,
    /// Its name.
    pub name: String,
    /// Its device's number.
    pub number: String,
    /// Bytes.
    pub size: u64,
    /// Where it is mounted, if it is.
    pub mount: Option<String>,
    /// What becomes of it.
    pub fate: Fate,
    /// Where each piece begins in the volume, and where it lies on the disk; in the volume's order.
    pub pieces: Vec<(u64, Range<u64>)>,
}

/// What is decided for a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// What else is in use on the disk, as name, mount point and why it is not snapshotted.
    pub others: Vec<(String, String, String)>,
    /// LVM's own records on physical volumes whose volumes are snapshotted: ranges of the disk.
    pub records: Vec<Range<u64>>,
    /// Bytes free in each group, before.
    pub free: BTreeMap<String, u64>,
}

/// A snapshot gets this part of its volume, unless the plan says how much.
const PART: u64 = 10;
const LEAST: u64 = 64 << 20;
/// LVM's records on a physical volume are kept in memory; nobody has more.
const MOST_RECORDS: u64 = 64 << 20;

impl Volume {
    /// `group/name`, and where it is mounted.
    pub fn label(&self) -> String {
        let at = self.mount.as_ref().map(|mount| format!(" ({mount})")).unwrap_or_default();
        format!("{}/{}{at}", self.group, self.name)
    }

    /// Its snapshot's device.
    pub fn snapshot_device(&self) -> String {
        format!("/dev/{}/replant_{}", self.group, self.name)
    }
}

impl Choice {
    /// Decides for a disk. `room` is what the plan gives each snapshot.
    pub fn new(found: &Volumes, snapshots: SnapshotUse, room: Option<u64>) -> Self {
        let mut choice = Self::default();
        let ours: Vec<_> = found
            .pvs
            .iter()
            .filter_map(|pv| found.parts.iter().find(|part| part.number == pv.number).map(|part| (pv, part)))
            .collect();
        for part in &found.parts {
            let Some((kind, point)) = found.uses.get(&part.number).filter(|(kind, _)| kind != "swap") else { continue };
            let why = match kind.as_str() {
                "btrfs" => "a snapshot of Btrfs is a tree of files within the same blocks, no state of the device",
                _ => "it lies on no LVM volume",
            };
            choice.others.push((part.name.clone(), point.clone(), why.into()));
        }
        let mut names: Vec<(&str, &str)> = found.segments.iter().map(|s| (&*s.group, &*s.volume)).collect();
        names.dedup();
        for (group, name) in names {
            let Some((first, _)) = ours.iter().find(|(pv, _)| pv.group == group) else { continue };
            let records = ours.iter().filter(|(pv, _)| pv.group == group);
            let records = records.map(|(pv, part)| part.range.end - part.range.start - pv.extents * pv.extent).sum();
            choice.free.insert(group.to_owned(), first.free);
            let segments: Vec<&Segment> =
                found.segments.iter().filter(|s| s.group == group && s.volume == name).collect();
            let (mut pieces, mut elsewhere) = (Vec::new(), 0);
            for segment in &segments {
                let place = segment.places.rsplit_once(':').and_then(|(on, extents)| {
                    let (pv, part) = ours.iter().find(|(pv, _)| pv.name == on)?;
                    let first: u64 = extents.split_once('-')?.0.parse().ok()?;
                    let start = part.range.start + pv.begin + first * pv.extent;
                    Some(start..start + segment.len)
                });
                match place.filter(|_| segment.kind == "linear") {
                    Some(place) => pieces.push((segment.start, place)),
                    None => elsewhere += 1,
                }
            }
            // A volume that lies wholly on other disks is their matter.
            let named = |s: &&Segment| found.pvs.iter().any(|pv| s.places.starts_with(&format!("{}:", pv.name)));
            if pieces.is_empty() && segments.iter().all(named) {
                continue;
            }
            pieces.sort_by_key(|(at, _)| *at);
            let Some(one) = segments.first() else { continue };
            let used = found.uses.get(&one.number);
            let fate = match used {
                Some((kind, _)) if kind == "swap" => Fate::Swap,
                _ if spans(found, group) => {
                    Fate::Live { why: "its group has other disks, whose records would tell of the snapshot".to_owned() }
                }
                _ if records > MOST_RECORDS => Fate::Live {
                    why: format!("LVM's records take {} of its disk, too much to keep in memory", ByteCount(records)),
                },
                _ => fate(one, elsewhere, snapshots),
            };
            let mount = used.filter(|(kind, _)| kind != "swap").map(|(_, point)| point.clone());
            let (group, name, number) = (group.to_owned(), name.to_owned(), one.number.clone());
            choice.volumes.push(Volume { group, name, number, size: one.size, mount, fate, pieces });
        }
        choice.give_room(room, &ours.iter().map(|(pv, _)| (pv.group.as_str(), pv.extent)).collect());
        for (pv, part) in &ours {
            let used = choice.snapshotted().any(|volume| volume.group == pv.group);
            let (begin, end) = (part.range.start + pv.begin, part.range.start + pv.begin + pv.extents * pv.extent);
            if used {
                choice.records.extend([part.range.start..begin, end.min(part.range.end)..part.range.end]);
            }
        }
        choice.records.retain(|range| !range.is_empty());
        choice
    }

    /// Divides what is free: to what the machine runs from first, then to what is mounted, then to the rest.
    fn give_room(&mut self, given: Option<u64>, extents: &BTreeMap<&str, u64>) {
        let mut free = self.free.clone();
        let rank = |volume: &Volume| match volume.mount.as_deref() {
            Some("/") => 0,
            Some(_) => 1,
            None => 2,
        };
        let mut order: Vec<usize> = (0..self.volumes.len()).collect();
        order.sort_by_key(|index| rank(&self.volumes[*index]));
        for index in order {
            let volume = &mut self.volumes[index];
            if !matches!(volume.fate, Fate::Snapshot { .. }) {
                continue;
            }
            let extent = extents.get(volume.group.as_str()).copied().unwrap_or(4 << 20);
            // More than the volume and its table is never needed.
            let most = volume.size + volume.size / 50 + extent;
            let room = given.unwrap_or(volume.size / PART).max(LEAST.min(given.unwrap_or(LEAST))).min(most);
            let room = room.div_ceil(extent) * extent;
            let left = free.entry(volume.group.clone()).or_default();
            volume.fate = match left.checked_sub(room) {
                Some(rest) => {
                    *left = rest;
                    Fate::Snapshot { room }
                }
                None => Fate::Live {
                    why: format!(
                        "its snapshot needs {}, and {} has {} free",
                        ByteCount(room),
                        volume.group,
                        ByteCount(*left)
                    ),
                },
            };
        }
    }

    /// The volumes that are read from snapshots.
    pub fn snapshotted(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| matches!(volume.fate, Fate::Snapshot { .. }))
    }

    /// Why snapshots that are required cannot be had.
    pub fn lacking(&self, found: &Volumes) -> Vec<String> {
        let mut lines: Vec<String> = self
            .volumes
            .iter()
            .filter_map(|volume| match &volume.fate {
                Fate::Live { why } => Some(format!("{}: {why}", volume.label())),
                _ => None,
            })
            .collect();
        if self.volumes.is_empty() {
            lines.push(found.no_lvm.clone().unwrap_or_else(|| "no LVM volume lies on the disk".to_owned()));
        }
        lines
    }

    /// A line for each volume and each other thing in use: what becomes of it.
    pub fn lines(&self) -> Vec<String> {
        let volumes = self.volumes.iter().map(|volume| {
            let what = match &volume.fate {
                Fate::Snapshot { room } => {
                    format!("from a snapshot, which takes {} of the group's free space meanwhile", ByteCount(*room))
                }
                Fate::Live { why } => format!("as it is while it works, NOT CONSISTENT if it is written: {why}"),
                Fate::Swap => "swap: as it is; what is in it does not outlive a restart".to_owned(),
                Fate::Inactive => "as it is: it is not active, so nobody writes it".to_owned(),
            };
            format!("{}, {}: {what}", volume.label(), ByteCount(volume.size))
        });
        let others = self.others.iter().map(|(name, point, why)| {
            format!("{name} ({point}): as it is while it works, NOT CONSISTENT if it is written: {why}")
        });
        let free = self.free.iter().map(|(group, free)| format!("{group} has {} free", ByteCount(*free)));
        volumes.chain(others).chain(free).collect()
    }
}

/// Whether a group has physical volumes that are not on this disk.
fn spans(found: &Volumes, group: &str) -> bool {
    let here = |number: &str| found.parts.iter().any(|part| part.number == number);
    found.pvs.iter().any(|pv| pv.group == group && !here(&pv.number))
}

fn fate(volume: &Segment, elsewhere: usize, snapshots: SnapshotUse) -> Fate {
    let live = |why: &str| Fate::Live { why: why.to_owned() };
    let attribute = |at: usize| volume.attributes.as_bytes().get(at).copied().unwrap_or(b'-');
    match attribute(0) {
        _ if attribute(4) == b'-' => Fate::Inactive,
        _ if attribute(4) != b'a' => live("it is suspended, or its kernel does not say how it is"),
        b's' | b'S' => live("it is a snapshot itself"),
        b'V' | b't' | b'T' => {
            live("it is thin: its blocks lie where its pool has put them, and the pool's own tables have no snapshot")
        }
        b'-' | b'o' if elsewhere == 0 => match snapshots {
            SnapshotUse::Never => live("the plan says `snapshot: never`"),
            SnapshotUse::Auto | SnapshotUse::Required => Fate::Snapshot { room: 0 },
        },
        b'-' | b'o' => live("it is striped, or a part of it lies on another disk"),
        _ => live("it is neither linear nor thin, such as RAID or a cache"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::volumes::tests::volumes;
    use super::*;

    #[test]
    fn what_is_snapshotted_depends_on_kind_and_room() {
        let fates = |choice: &Choice| -> Vec<(String, bool)> {
            choice.volumes.iter().map(|v| (v.name.clone(), matches!(v.fate, Fate::Snapshot { .. }))).collect()
        };
        let names = |flags: [bool; 5]| -> Vec<(String, bool)> {
            ["root", "data", "swap", "pool", "thin"].map(String::from).into_iter().zip(flags).collect()
        };
        let choice = Choice::new(&volumes(), SnapshotUse::Auto, None);
        assert_eq!(fates(&choice), names([true, true, false, false, false]));
        let part = 133_120 * 512;
        let at = |extent: u64| part + (1 << 20) + extent * (4 << 20);
        assert_eq!(choice.volumes[0].pieces, [(0, at(0)..at(100)), (419_430_400, at(200)..at(300))]);
        assert_eq!(choice.volumes[0].fate, Fate::Snapshot { room: 80 << 20 });
        assert_eq!(choice.volumes[1].fate, Fate::Snapshot { room: 64 << 20 });
        assert_eq!(choice.volumes[2].fate, Fate::Swap);
        assert_eq!(choice.records, [part..at(0), at(488)..4_133_120 * 512]);
        assert_eq!(choice.others[0].1, "/boot");
        let lacking = choice.lacking(&volumes());
        assert!(lacking.len() == 2 && lacking.iter().all(|line| line.contains("it is thin")), "{lacking:?}");

        // Little room: root comes first, and it is said what the other would need.
        let choice = Choice::new(&volumes(), SnapshotUse::Auto, Some(300 << 20));
        assert_eq!(fates(&choice), names([true, false, false, false, false]));
        assert!(choice.lines()[1].contains("its snapshot needs 300"), "{:?}", choice.lines());
        // No snapshot is larger than what it is one of.
        let choice = Choice::new(&volumes(), SnapshotUse::Auto, Some(1 << 40));
        assert!(choice.lines()[0].contains("its snapshot needs"), "{:?}", choice.lines());
        let never = Choice::new(&volumes(), SnapshotUse::Never, None);
        assert_eq!((never.snapshotted().count(), never.records.len()), (0, 0));
    }

    #[test]
    fn a_volume_on_two_disks_is_read_as_it_is_and_one_on_another_is_not_ours() {
        let mut found = volumes();
        found.pvs.push(super::super::volumes::Pv {
            number: "8:1".into(),
            name: "/dev/sdb1".into(),
            ..found.pvs[0].clone()
        });
        found.segments[2].places = "/dev/sdb1:100-199".into();
        let choice = Choice::new(&found, SnapshotUse::Auto, None);
        assert!(matches!(&choice.volumes[0].fate, Fate::Live { why } if why.contains("other disks")));
        assert!(choice.volumes.iter().all(|volume| volume.name != "data"));
    }
}
