//! A disk read from snapshots: what is taken before, what is proved after.

use super::capture::{LiveError, LiveRequest};
use super::choose::{Choice, Fate, Volume};
use super::compose::{Composed, Source};
use super::disk::{Reach, SshDisk};
use super::held::{Held, drop_left};
use super::look::Seen;
use super::volumes::{Segment, Volumes};
use crate::image::{DiskReader, ImageError};
use crate::plan::SnapshotUse;
use crate::units::ByteCount;

/// Snapshots under way, and what the machine was like when they were taken.
pub(super) struct Snapshots {
    held: Held,
    choice: Choice,
    before: Volumes,
}

/// A disk, and the snapshots that some of it comes from.
type Opened = (Box<dyn DiskReader>, Option<Snapshots>);

/// Opens the disk: with snapshots, where the plan allows them and there is room.
pub(super) fn open(request: &LiveRequest, seen: &Seen) -> Result<Opened, LiveError> {
    let LiveRequest { target, device, disk, .. } = request;
    let live = || Box::new(SshDisk::new(target, device, seen.size, seen.direct));
    if request.snapshot == SnapshotUse::Never {
        return Ok((live(), None));
    }
    for name in drop_left(target, disk)? {
        tracing::warn!(%name, "removed a snapshot that an earlier capture had left");
    }
    let found = Volumes::look(target, device)?;
    let choice = Choice::new(&found, request.snapshot, request.snapshot_room);
    let lacking = choice.lacking(&found);
    if request.snapshot == SnapshotUse::Required && !lacking.is_empty() {
        let (device, target) = (device.clone(), target.to_string());
        return Err(LiveError::NoSnapshot { device, target, why: lacking.join("; ") });
    }
    if choice.snapshotted().next().is_none() {
        return Ok((live(), None));
    }
    // The image must not tell of snapshots: LVM's records are those of before. With them the next start would look for
    // blocks that are not in the image.
    let mut ranges = Vec::new();
    for range in &choice.records {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = live().read_at(&mut bytes, range.start);
        read.map_err(|error| ImageError::Remote { doing: "reading LVM's records over ssh", error: Box::new(error) })?;
        ranges.push((range.clone(), Source::Kept(bytes)));
    }
    let held = Held::take(target, disk, &choice)?;
    let devices = std::iter::once(device.clone()).chain(choice.snapshotted().map(Volume::snapshot_device));
    let reach = Reach::new(target, devices.collect(), seen.direct);
    let mut others: Vec<Box<dyn DiskReader>> = Vec::new();
    for volume in choice.snapshotted() {
        let reader = SshDisk::of(&reach, others.len() + 1, volume.size, false);
        for (at, place) in &volume.pieces {
            ranges.push((place.clone(), Source::Other { disk: others.len(), from: *at }));
        }
        others.push(Box::new(reader));
    }
    let before = Volumes::look(target, device)?;
    if mapping(&before) != mapping(&found) {
        let (device, target) = (device.clone(), target.to_string());
        return Err(LiveError::Remapped { device, target });
    }
    let whole = Composed::new(Box::new(SshDisk::of(&reach, 0, seen.size, true)), others, ranges);
    let whole = whole.map_err(|what| ImageError::Remote { doing: "putting the disk together", error: what.into() })?;
    Ok((Box::new(whole), Some(Snapshots { held, choice, before })))
}

/// Where volumes lie, without our snapshots.
fn mapping(found: &Volumes) -> Vec<(&str, &str, u64, &str, u64, u64, &str)> {
    let key = |s: &'_ Segment| !s.volume.starts_with("replant_");
    let segments = found.segments.iter().filter(|s| key(s));
    segments.map(|s| (&*s.group, &*s.volume, s.size, &*s.kind, s.start, s.len, &*s.places)).collect()
}

impl Snapshots {
    /// What makes this state of the disk different from any other.
    pub(super) fn place(&self) -> String {
        let writes = self.before.writes.iter().map(|(number, count)| format!("{number}={count}"));
        format!("snapshots:{}", writes.collect::<Vec<_>>().join(","))
    }

    /// Names of what is read from snapshots.
    fn names(&self) -> String {
        self.choice.snapshotted().map(Volume::label).collect::<Vec<_>>().join(", ")
    }

    /// Why reading failed, if that was because of the snapshots. `done` bytes of `total` were read.
    pub(super) fn fault(&mut self, request: &LiveRequest, done: u64, total: u64) -> Option<LiveError> {
        if let Ok(now) = Volumes::look(&request.target, &request.device)
            && let Some(error) = self.overflow(&now, request, done, total)
        {
            return Some(error);
        }
        let target = request.target.to_string();
        self.held.lost().then_some(LiveError::Lost { target })
    }

    fn overflow(&self, now: &Volumes, request: &LiveRequest, done: u64, total: u64) -> Option<LiveError> {
        let full = |group: &str, name: &str| {
            let snapshot = now.segments.iter().find(|s| s.group == group && s.volume == format!("replant_{name}"));
            snapshot
                .is_some_and(|s| s.attributes.as_bytes().get(4) == Some(&b'I') || s.full.is_some_and(|f| f >= 100.0))
        };
        let volume = self.choice.snapshotted().find(|volume| full(&volume.group, &volume.name))?;
        let Fate::Snapshot { room } = volume.fate else { return None };
        Some(LiveError::Overflow {
            volume: volume.label(),
            target: request.target.to_string(),
            room: ByteCount(room),
            done: ByteCount(done),
            total: ByteCount(total),
            enough: ByteCount(enough(room, done, total, volume.size)),
        })
    }

    /// What was written meanwhile outside the snapshots, and how full they were.
    pub(super) fn judge(&self, request: &LiveRequest, size: u64) -> Result<(Vec<String>, String), LiveError> {
        let now = Volumes::look(&request.target, &request.device)?;
        if let Some(error) = self.overflow(&now, request, size, size) {
            return Err(error);
        }
        let fill = self.held.fill();
        let fill = fill.iter().map(|(name, full)| format!(", {name} {full:.0} % full")).collect::<String>();
        Ok((written(&self.choice, &self.before, &now), format!("{}{fill}", self.names())))
    }

    /// Has the snapshots removed; what is left, and how it is removed by hand.
    pub(super) fn release(self, request: &LiveRequest) -> Option<String> {
        let error = self.held.release().err()?;
        let names = self.choice.snapshotted().map(|volume| format!("{}/replant_{}", volume.group, volume.name));
        let names = names.collect::<Vec<_>>().join(" ");
        let target = &request.target;
        Some(format!(
            "snapshots may be left on {target} ({error}): there, `lvremove {names}`; the next capture removes them"
        ))
    }
}

/// How much room would have been enough at the rate that was seen, and a quarter more.
fn enough(room: u64, done: u64, total: u64, volume: u64) -> u64 {
    // Nobody knows when it overflowed, only that it did until now: at least twice as much.
    let rate = u128::from(room) * u128::from(total.max(1)) / u128::from(done.max(total / 64).max(1));
    let wanted = u64::try_from(rate * 5 / 4).unwrap_or(u64::MAX).max(room * 2);
    let most = volume + volume / 50 + (4 << 20);
    wanted.min(most.max(room)).div_ceil(64 << 20) * (64 << 20)
}

/// What was written outside the snapshots: volumes and partitions that count, by name.
fn written(choice: &Choice, before: &Volumes, now: &Volumes) -> Vec<String> {
    let wrote = |number: &str| before.writes.get(number) != now.writes.get(number);
    let mut names = Vec::new();
    for volume in &choice.volumes {
        if matches!(volume.fate, Fate::Live { .. }) && wrote(&volume.number) {
            names.push(volume.label());
        }
    }
    for part in before.parts.iter().skip(usize::from(before.parts.len() > 1)) {
        let carries_volumes = before.pvs.iter().any(|pv| pv.number == part.number);
        let kind = before.uses.get(&part.number);
        let swap = kind.is_some_and(|(kind, _)| kind == "swap");
        if !carries_volumes && !swap && wrote(&part.number) {
            let at = kind.map(|(_, point)| format!(" ({point})")).unwrap_or_default();
            names.push(format!("{}{at}", part.name));
        }
    }
    if mapping(before) != mapping(now) || before.parts != now.parts {
        names.push("the layout of volumes or partitions".to_owned());
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::volumes::tests::volumes;
    use super::*;

    #[test]
    fn what_counts_as_written_is_what_no_snapshot_covers() {
        let before = volumes();
        let choice = Choice::new(&before, SnapshotUse::Auto, None);
        let mut now = before.clone();
        for covered in ["253:0", "253:1", "253:2", "254:0", "254:2"] {
            *now.writes.get_mut(covered).unwrap() += 1;
        }
        assert_eq!(written(&choice, &before, &now), Vec::<String>::new(), "volumes with snapshots, swap, their disk");
        *now.writes.get_mut("254:1").unwrap() += 1;
        assert_eq!(written(&choice, &before, &now), ["/dev/vda1 (/boot)"]);
        now.segments.pop();
        assert_eq!(written(&choice, &before, &now)[1], "the layout of volumes or partitions");
        let never = Choice::new(&before, SnapshotUse::Never, None);
        assert_eq!(written(&never, &before, &now)[..2], ["vg0/root (/)", "vg0/data (/srv)"]);
    }

    #[test]
    fn what_overflowed_is_told_a_size_that_would_do() {
        let mib = 1 << 20;
        assert_eq!(enough(100 * mib, 50 * mib, 100 * mib, 1 << 40), 256 * mib);
        assert_eq!(enough(100 * mib, 100 * mib, 100 * mib, 1 << 40), 256 * mib, "at least twice");
        assert_eq!(enough(100 * mib, 0, 100 * mib, 300 * mib), 320 * mib, "never more than the volume takes");
    }
}
