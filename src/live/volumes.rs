//! What lies on the disk of a running machine: partitions, LVM's volumes, and what is written to each.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ssh::{SshError, SshTarget};

/// A partition, or the disk itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The kernel's number, `8:2`.
    pub number: String,
    /// Where it lies, in bytes of the disk.
    pub range: Range<u64>,
    /// Its name there.
    pub name: String,
}

/// A physical volume of LVM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pv {
    /// The kernel's number.
    pub number: String,
    /// Its volume group.
    pub group: String,
    /// What LVM calls it.
    pub name: String,
    /// Bytes before its first extent.
    pub begin: u64,
    /// Bytes of an extent.
    pub extent: u64,
    /// Its extents.
    pub extents: u64,
    /// Bytes that are free in the whole group.
    pub free: u64,
}

/// A segment of a logical volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// The volume group.
    pub group: String,
    /// The volume.
    pub volume: String,
    /// LVM's attributes, `-wi-ao----`.
    pub attributes: String,
    /// Bytes of the volume.
    pub size: u64,
    /// How it is mapped: `linear`, `striped`, `thin`, ...
    pub kind: String,
    /// Where it begins in the volume, in bytes.
    pub start: u64,
    /// Its bytes.
    pub len: u64,
    /// Where it lies: `/dev/sda2:0-159`.
    pub places: String,
    /// The volume's device, if it is active.
    pub number: String,
    /// How full it is, if it is a snapshot.
    pub full: Option<f64>,
}

/// What lies on a disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volumes {
    /// The disk itself, then its partitions.
    pub parts: Vec<Part>,
    /// Sectors written since each device came up.
    pub writes: BTreeMap<String, u64>,
    /// What devices are used for: a type and a mount point, or `swap`.
    pub uses: BTreeMap<String, (String, String)>,
    /// All physical volumes of the machine that are in a group.
    pub pvs: Vec<Pv>,
    /// All logical volumes of the machine, by segments.
    pub segments: Vec<Segment>,
    /// Why nothing is known of LVM.
    pub no_lvm: Option<String>,
}

impl Volumes {
    /// Asks the machine.
    pub fn look(target: &SshTarget, device: &str) -> Result<Self, SshError> {
        let text = target.ask(&["volumes", device])?;
        Self::parse(&text).map_err(|line| SshError::Answer { target: target.to_string(), line })
    }

    /// The line that is no answer, if one is.
    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for line in text.lines() {
            let parsed = line.split_once(' ').and_then(|(word, rest)| found.line(word, rest));
            parsed.ok_or_else(|| line.to_owned())?;
        }
        Ok(found)
    }

    fn line(&mut self, word: &str, rest: &str) -> Option<()> {
        match word {
            "part" => {
                let mut words = rest.splitn(4, ' ');
                let (number, start, sectors) =
                    (words.next()?, words.next()?.parse::<u64>().ok()?, words.next()?.parse::<u64>().ok()?);
                let start = start.checked_mul(512)?;
                let range = start..start.checked_add(sectors.checked_mul(512)?)?;
                self.parts.push(Part { number: number.into(), range, name: words.next()?.into() });
            }
            "writes" => {
                let (number, count) = rest.split_once(' ')?;
                self.writes.insert(number.into(), count.parse().ok()?);
            }
            "use" => {
                let mut words = rest.splitn(3, ' ');
                let (number, kind, point) = (words.next()?, words.next()?, words.next()?);
                self.uses.entry(number.into()).or_insert_with(|| (kind.into(), point.into()));
            }
            "pv" => {
                let [number, group, name, begin, extent, extents, free] = fields(rest)?;
                let amount = |text: &str| text.parse::<u64>().ok();
                self.pvs.push(Pv {
                    number: number.into(),
                    group: group.into(),
                    name: name.into(),
                    begin: amount(begin)?,
                    extent: amount(extent).filter(|extent| *extent > 0)?,
                    extents: amount(extents)?,
                    free: amount(free)?,
                });
            }
            "seg" => {
                let [group, volume, attributes, _tags, size, kind, start, len, places, major, minor, full] =
                    fields(rest)?;
                self.segments.push(Segment {
                    group: group.into(),
                    volume: volume.into(),
                    attributes: attributes.into(),
                    size: size.parse().ok()?,
                    kind: kind.into(),
                    start: start.parse().ok()?,
                    len: len.parse().ok()?,
                    places: places.into(),
                    number: format!("{major}:{minor}"),
                    full: full.parse().ok(),
                });
            }
            "lvm" => self.no_lvm = Some(rest.to_owned()),
            _ => return None,
        }
        Some(())
    }
}

fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    fields.try_into().ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A disk with a plain partition, and a group with root in two pieces, data, swap and thin volumes.
    pub(in crate::live) const TEXT: &str = "\
part 254:0 0 4194304 /dev/vda
part 254:1 2048 131072 /dev/vda1
part 254:2 133120 4000000 /dev/vda2
writes 254:0 100
writes 254:1 10
writes 254:2 90
writes 253:0 40
writes 253:1 30
writes 253:2 20
use 254:1 ext4 /boot
use 253:0 ext4 /
use 253:1 xfs /srv
use 253:2 swap swap
pv 254:2|vg0|/dev/vda2|1048576|4194304|488|419430400
seg vg0|root|-wi-ao----||838860800|linear|0|419430400|/dev/vda2:0-99|253|0|
seg vg0|root|-wi-ao----||838860800|linear|419430400|419430400|/dev/vda2:200-299|253|0|
seg vg0|data|-wi-ao----||419430400|linear|0|419430400|/dev/vda2:100-199|253|1|
seg vg0|swap|-wi-ao----||41943040|linear|0|41943040|/dev/vda2:300-309|253|2|
seg vg0|pool|twi-aotz--||209715200|thin-pool|0|209715200|pool_tdata:0-49|253|5|
seg vg0|thin|Vwi-a-tz--||1073741824|thin|0|1073741824||253|6|
";

    #[test]
    fn tables_of_the_machine_are_read_or_refused() {
        let found = Volumes::parse(TEXT).unwrap();
        assert_eq!(found.parts[2].range, 133_120 * 512..4_133_120 * 512);
        assert_eq!(found.uses["253:1"], ("xfs".into(), "/srv".into()));
        assert_eq!((found.pvs[0].extent, found.segments.len()), (4 << 20, 6));
        for bad in ["motd", "part 8:0 x 1 /dev/sda", "seg vg0|root", "pv 8:1|vg|p|1|0|1|1", "writes 8:0 many"] {
            assert_eq!(Volumes::parse(bad), Err(bad.to_owned()));
        }
        assert_eq!(Volumes::parse("lvm none here\n").unwrap().no_lvm.as_deref(), Some("none here"));
    }

    pub(in crate::live) fn volumes() -> Volumes {
        Volumes::parse(TEXT).unwrap()
    }
}
