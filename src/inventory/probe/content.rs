//! What lies on disks, as facts: sizes, partitions, file systems with their used bytes, how each can be captured, and a
//! Windows with its services, drivers and adapters. Read only, nothing is mounted or started.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::disk::{ProbeError, probe_disk};
use crate::guest::windows::{DiskView, FoundWindows, Window, partitions, survey as survey_windows};
use crate::hardware::DiskFormat;
use crate::image::used::{Content, ReadAt, Region, used_map};
use crate::image::{DiskReader, open_source};
use crate::inventory::inspected::add_windows;
use crate::inventory::model::{CaptureMethod, Disk, Fact, Facts, Partition, PartitionTable, Volume, VolumeKind, text};
use crate::plan::DiskIndex;
use crate::units::ByteCount;

/// Why disks could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// It is no disk, or cannot be opened.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// It cannot be read.
    #[error("`{path}` cannot be read: {error}")]
    Read {
        /// The disk.
        path: Utf8PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl ContentError {
    /// The way out.
    pub fn help(&self) -> String {
        match self {
            Self::Probe(error) => error.help(),
            Self::Read { .. } => "see the system's log for errors of the medium (`dmesg`)".to_owned(),
        }
    }
}

/// Looks into the disks of one machine, the boot disk first. The name is that of a Windows on them, if there is one.
pub fn look_into(
    paths: &[Utf8PathBuf],
    declared: Option<DiskFormat>,
) -> Result<(Option<String>, Facts), Vec<ContentError>> {
    let mut facts = Facts::default();
    let (mut readers, mut errors) = (Vec::new(), Vec::new());
    for (at, path) in paths.iter().enumerate() {
        match one(path, at, declared, &mut facts) {
            Ok(reader) => readers.push(reader),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let name = windows(&readers, &mut facts);
    Ok((name, facts))
}

fn one(
    path: &Utf8Path,
    at: usize,
    declared: Option<DiskFormat>,
    facts: &mut Facts,
) -> Result<Box<dyn DiskReader>, ContentError> {
    let unreadable = |error: io::Error| ContentError::Read { path: path.to_owned(), error };
    let index = DiskIndex(u16::try_from(at).unwrap_or(u16::MAX));
    let seen = probe_disk(path, index, declared)?;
    let reader = open_source(path.as_std_path(), seen.format).map_err(|error| unreadable(io::Error::other(error)))?;
    let map = used_map(&Whole(reader.as_ref())).map_err(unreadable)?;
    let name = index.to_string();
    facts.system.firmware = facts.system.firmware.take().or(seen.boots.map(Fact::of));
    facts.storage.disks.push(Disk {
        name: text(&name),
        size: Some(Fact::of(seen.size)),
        allocated: Some(Fact::of(seen.allocated)),
        used: Some(Fact::of(ByteCount(map.ranges.bytes()))),
        partition_table: table(reader.as_ref()).map(Fact::of),
        boot: Some(Fact::of(seen.boots.is_some())),
        file: text(path.file_name().unwrap_or(path.as_str())),
        format: text(seen.format.name()),
        capture: Some(Fact::of(CaptureMethod::UsedBlocks)),
        ..Disk::default()
    });
    regions(&name, reader.as_ref(), &map.regions, facts);
    Ok(reader)
}

/// A disk as the reader of allocation maps wants it.
struct Whole<'a>(&'a dyn DiskReader);

impl ReadAt for Whole<'_> {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        match end.is_some_and(|end| end <= self.0.size()) {
            true => self.0.read_at(buffer, offset),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// The kind of partition table, by the disk's first sectors.
fn table(disk: &dyn DiskReader) -> Option<PartitionTable> {
    let mut sectors = vec![0; usize::try_from(disk.size().min(4608)).unwrap_or(4608)];
    disk.read_at(&mut sectors, 0).ok()?;
    let gpt = [512, 4096].into_iter().any(|at: usize| sectors.get(at..at + 8) == Some(b"EFI PART"));
    let entries = sectors.get(446..510)?;
    let mbr = sectors.get(510..512) == Some(&[0x55, 0xaa]) && entries.chunks(16).any(|entry| entry[4] != 0);
    Some(match (gpt, mbr) {
        (true, _) => PartitionTable::Gpt,
        (false, true) => PartitionTable::Mbr,
        (false, false) => PartitionTable::None,
    })
}

/// Partitions, and the volumes on them.
fn regions(disk: &str, reader: &dyn DiskReader, regions: &[Region], facts: &mut Facts) {
    let read_at = |buffer: &mut [u8], offset: u64| reader.read_at(buffer, offset);
    let known = partitions(&mut Window::new(read_at, 0, reader.size()));
    for region in regions {
        if matches!(region.content, Content::Unpartitioned) {
            continue;
        }
        let (start, length) = (region.range.start, region.range.end.saturating_sub(region.range.start));
        let number = known.iter().find(|one| one.start == start).map(|one| one.number);
        let name = match number {
            Some(number) => format!("{disk}p{number}"),
            None => disk.to_owned(),
        };
        if let Some(number) = number {
            facts.storage.partitions.push(Partition {
                name: text(&name),
                disk: text(disk),
                number: Some(Fact::of(number)),
                start: Some(Fact::of(ByteCount(start))),
                size: Some(Fact::of(ByteCount(length))),
                ..Partition::default()
            });
        }
        let volume = |name: &str, parts: &str, content: &Content, kind: VolumeKind| {
            let (system, capture, reason) = captured(content);
            Volume {
                name: text(name),
                kind: Some(Fact::of(kind)),
                parts: text(parts).into_iter().collect(),
                file_system: system.and_then(text),
                encrypted: matches!(system, Some("luks" | "bitlocker")).then(|| Fact::of(true)),
                capture: Some(Fact::of(capture)),
                capture_reason: reason.and_then(text),
                ..Volume::default()
            }
        };
        match &region.content {
            Content::Volumes { volumes } => {
                for inner in volumes {
                    facts.storage.volumes.push(volume(&inner.name, &name, &inner.content, VolumeKind::Lvm));
                }
            }
            content => {
                let kind = if number.is_some() { VolumeKind::Partition } else { VolumeKind::Disk };
                let mut found = volume(&name, disk, content, kind);
                found.size = Some(Fact::of(ByteCount(length)));
                found.used = Some(Fact::of(ByteCount(region.used)));
                facts.storage.volumes.push(found);
            }
        }
    }
}

/// File system, way of capture and the reason where that is not by used blocks.
fn captured(content: &Content) -> (Option<&str>, CaptureMethod, Option<&str>) {
    match content {
        Content::Mapped { name } => (Some(system_name(name)), CaptureMethod::UsedBlocks, None),
        Content::Whole { name, why } => (Some(system_name(name)), CaptureMethod::Whole, Some(why)),
        Content::Unknown => (None, CaptureMethod::Whole, Some("not recognised")),
        Content::Volumes { .. } => (Some("lvm"), CaptureMethod::UsedBlocks, None),
        Content::Unpartitioned => (None, CaptureMethod::UsedBlocks, None),
    }
}

/// As mounts call it.
fn system_name(name: &str) -> &str {
    match name {
        "ext" => "ext4",
        "fat" => "vfat",
        other => other,
    }
}

/// Adds what the only Windows says of itself; its name.
fn windows(readers: &[Box<dyn DiskReader>], facts: &mut Facts) -> Option<String> {
    let reads: Vec<_> = readers
        .iter()
        .map(|reader| move |buffer: &mut [u8], offset: u64| -> io::Result<()> { reader.read_at(buffer, offset) })
        .collect();
    let views: Vec<DiskView<'_>> = readers
        .iter()
        .zip(&reads)
        .enumerate()
        .map(|(at, (reader, read_at))| DiskView { name: format!("/dev/disk{at}"), size: reader.size(), read_at })
        .collect();
    let found = survey_windows(&views).ok()?.found;
    let [FoundWindows { volume, facts: windows, .. }] = found.as_slice() else { return None };
    let device = volume.trim_start_matches("/dev/");
    for known in &mut facts.storage.volumes {
        if known.name.as_ref().is_some_and(|name| name.value == device) {
            known.hosts_os = Some(Fact::of(true));
        }
    }
    add_windows(windows, facts);
    windows.host_name.as_ref().map(|name| name.to_ascii_lowercase())
}
