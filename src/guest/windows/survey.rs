//! Finding Windows on disks, without mounting anything: on devices, and on disk files of any format.

use std::io::{self, Read, Seek};

use super::bcd::{self, BootFacts, BootMode};
use super::facts::{Hazard, WindowsFacts};
use super::files::WindowsFiles;
use super::registry::Hive;
use super::volume::{NtfsVolume, VolumeError, Window, is_bitlocker};
use super::{InspectError, fat, inspect};

/// A disk to look at.
pub struct DiskView<'a> {
    /// In plan words: `/dev/disk0`.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Fills a buffer from an offset.
    pub read_at: &'a dyn Fn(&mut [u8], u64) -> io::Result<()>,
}

/// A Windows that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundWindows {
    /// Its volume in plan words: `/dev/disk0p2`.
    pub volume: String,
    /// Its disk, by the place in what was looked at.
    pub disk: usize,
    /// The partition's number; `None` on a disk without partitions.
    pub partition: Option<u32>,
    /// What is known about it; a hazard of its volume is among its hazards.
    pub facts: WindowsFacts,
}

/// What the disks hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowsSurvey {
    /// Each Windows.
    pub found: Vec<FoundWindows>,
    /// Volumes and disks that cannot be looked into; a Windows may be there.
    pub closed: Vec<Hazard>,
    /// Volumes that hold a Windows which cannot be understood.
    pub damaged: Vec<String>,
}

/// Why disks cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A disk cannot be read.
    #[error("{disk} cannot be read")]
    Disk {
        /// In plan words.
        disk: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

/// A range of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// Its number: 1 for the first.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Whether it belongs to a dynamic disk.
    pub dynamic: bool,
}

/// Types of partitions that the logical disk manager keeps: its database, and its data.
const LDM: [&str; 2] = ["5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad"];
/// The type of a dynamic disk in a DOS partition table.
const LDM_DOS: u8 = 0x42;

/// Looks at every partition of the disks.
pub fn survey(disks: &[DiskView<'_>]) -> Result<WindowsSurvey, SurveyError> {
    let mut survey = WindowsSurvey::default();
    let mut stores: Vec<(usize, BootFacts)> = Vec::new();
    for (index, disk) in disks.iter().enumerate() {
        let cannot = |error| SurveyError::Disk { disk: disk.name.clone(), error };
        let mut parts = partitions(&mut window(disk, 0, disk.size));
        if parts.iter().any(|part| part.dynamic) {
            survey.closed.push(Hazard::DynamicDisk { disk: disk.name.clone() });
        }
        let whole = parts.is_empty();
        if whole {
            parts.push(PartitionRange { number: 0, start: 0, len: disk.size, dynamic: false });
        }
        for part in parts.into_iter().filter(|part| !part.dynamic) {
            let volume = if whole { disk.name.clone() } else { format!("{}p{}", disk.name, part.number) };
            let mut sector = [0; 512];
            if part.len < 4096 || part.start.checked_add(part.len).is_none_or(|end| end > disk.size) {
                continue;
            }
            (disk.read_at)(&mut sector, part.start).map_err(cannot)?;
            if is_bitlocker(&sector) {
                survey.closed.push(Hazard::BitLocker { volume });
                continue;
            }
            if fat::is_fat(&sector) {
                // A store that cannot be read keeps nobody from converting: it is a fact less.
                let bytes = fat::read(window(disk, part.start, part.len), bcd::ON_ESP).ok().flatten();
                stores.extend(store(bytes, BootMode::Uefi, &volume).map(|store| (index, store)));
                continue;
            }
            if &sector[3..7] != b"NTFS" {
                continue;
            }
            match look(window(disk, part.start, part.len), &volume, |store| stores.push((index, store))) {
                Ok(Some(facts)) => survey.found.push(FoundWindows {
                    volume,
                    disk: index,
                    partition: (!whole).then_some(part.number),
                    facts,
                }),
                Ok(None) => {}
                Err(message) => survey.damaged.push(message),
            }
        }
    }
    for windows in &mut survey.found {
        // The store of the same disk, or the only one there is.
        let own = stores.iter().find(|(disk, _)| *disk == windows.disk);
        let only = stores.first().filter(|_| stores.len() == 1);
        windows.facts.boot = own.or(only).map(|(_, store)| store.clone());
    }
    Ok(survey)
}

fn store(bytes: Option<Vec<u8>>, mode: BootMode, volume: &str) -> Option<BootFacts> {
    let hive = Hive::parse(bytes?).ok()?;
    bcd::read(&hive, mode, volume.to_owned()).ok().flatten()
}

pub(super) fn window<'a>(
    disk: &'a DiskView<'_>,
    start: u64,
    len: u64,
) -> Window<impl FnMut(&mut [u8], u64) -> io::Result<()> + 'a> {
    Window::new(|buffer: &mut [u8], offset| (disk.read_at)(buffer, offset), start, len)
}

fn look(
    reader: impl Read + Seek,
    volume: &str,
    mut found: impl FnMut(BootFacts),
) -> Result<Option<WindowsFacts>, String> {
    let files = match NtfsVolume::open(reader) {
        Ok(files) => files,
        Err(error @ (VolumeError::Ntfs(_) | VolumeError::Io(_) | VolumeError::BitLocker)) => {
            return Err(format!("{volume}: {}", said(&error)));
        }
    };
    let bytes = files.read(bcd::ON_NTFS).ok().flatten();
    store(bytes, BootMode::Bios, volume).into_iter().for_each(&mut found);
    let facts = inspect(&files).map_err(|error: InspectError| format!("{volume}: {}", said(&error)))?;
    Ok(facts.map(|mut facts| {
        if files.is_dirty() {
            facts.hazards.push(Hazard::DirtyVolume { volume: volume.to_owned() });
        }
        facts
    }))
}

fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

/// The partitions of a disk; none if it has no table that can be read.
pub fn partitions(disk: &mut (impl Read + Seek)) -> Vec<PartitionRange> {
    if let Ok(table) = gptman::GPT::find_from(disk) {
        let sector = table.sector_size;
        let used = table.iter().filter(|(_, part)| part.is_used());
        return used
            .filter_map(|(number, part)| {
                let kind = uuid::Uuid::from_bytes_le(part.partition_type_guid).to_string();
                Some(PartitionRange {
                    number,
                    start: part.starting_lba.checked_mul(sector)?,
                    len: part.ending_lba.checked_sub(part.starting_lba)?.checked_add(1)?.checked_mul(sector)?,
                    dynamic: LDM.contains(&kind.as_str()),
                })
            })
            .collect();
    }
    let Ok(table) = mbrman::MBR::read_from(disk, 512) else { return Vec::new() };
    let used = table.iter().filter(|(_, part)| part.is_used() && part.sectors > 0);
    used.filter(|(_, part)| !matches!(part.sys, 0x05 | 0x0f | 0x85))
        .map(|(number, part)| PartitionRange {
            number: number as u32,
            start: u64::from(part.starting_lba) * 512,
            len: u64::from(part.sectors) * 512,
            dynamic: part.sys == LDM_DOS,
        })
        .collect()
}
