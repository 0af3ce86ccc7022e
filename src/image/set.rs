//! Sealed sets: the images of all of a machine's disks that belong together.

use serde::{Deserialize, Serialize};

use super::capture::{CaptureState, capture_state};
use super::error::{ImageError, Result};
use super::manifest::{self, ImageId};
use super::name::DiskName;
use super::source::ReadPlan;
use super::store::Store;

/// The images of a machine's disks, captured from one state of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedSet {
    /// Version of this format: 1.
    pub format: u32,
    /// The set's id.
    pub id: ImageId,
    /// Whose disks.
    pub machine: String,
    /// The disks, by name.
    pub disks: Vec<SetMember>,
    /// When it was sealed, RFC 3339.
    pub sealed: String,
    /// Keyed BLAKE3 of all the above.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
}

/// One disk of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetMember {
    /// The disk's name.
    pub disk: String,
    /// Its image.
    pub image: ImageId,
    /// The source's identity line that the image was captured under.
    pub identity: String,
}

/// Where the sealing of a set stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetState {
    /// Sealed.
    Complete(ImageId),
    /// Some of its disks are captured, or all are but the set is not sealed.
    Partial,
    /// None of its disks is captured.
    Absent,
}

/// A machine's sets, oldest first.
pub(super) fn sets(store: &Store, machine: &str) -> Result<Vec<SealedSet>> {
    let folder = store.set_folder(machine);
    manifest::ids(&folder, "json")?
        .into_iter()
        .map(|id| {
            let path = folder.join(format!("{id}.json"));
            let set: SealedSet = manifest::read(&path, &store.keys)?;
            match set.id == id && set.machine == machine {
                true => Ok(set),
                false => Err(ImageError::damaged(&path, "it is another set")),
            }
        })
        .collect()
}

/// A machine's newest set.
pub fn newest_set(store: &Store, machine: &str) -> Result<Option<SealedSet>> {
    Ok(sets(store, machine)?.pop())
}

/// Whether the disks, each with its source's identity line, are sealed as one set.
pub fn set_state(store: &Store, machine: &str, disks: &[(String, String)]) -> Result<SetState> {
    for set in sets(store, machine)?.into_iter().rev() {
        let has = |(disk, identity): &(String, String)| {
            set.disks.iter().any(|member| member.disk == *disk && member.identity == *identity)
        };
        if set.disks.len() == disks.len() && disks.iter().all(has) {
            return Ok(SetState::Complete(set.id));
        }
    }
    for (disk, identity) in disks {
        if capture_state(store, &DiskName::new(machine, disk)?, identity, ReadPlan::ANY)? != CaptureState::Absent {
            return Ok(SetState::Partial);
        }
    }
    Ok(SetState::Absent)
}

/// Seals the newest images of the disks as one set; does nothing if they are sealed already.
pub fn seal_set(store: &Store, machine: &str, disks: &[(String, String)]) -> Result<ImageId> {
    if let SetState::Complete(id) = set_state(store, machine, disks)? {
        return Ok(id);
    }
    let _lease = store.lease(&format!("seal {machine}"))?;
    let mut members = Vec::new();
    for (disk, identity) in disks {
        let name = DiskName::new(machine, disk)?;
        match capture_state(store, &name, identity, ReadPlan::ANY)? {
            CaptureState::Complete(image) => {
                members.push(SetMember { disk: disk.clone(), image, identity: identity.clone() });
            }
            _ => return Err(ImageError::NotCaptured { disk: name, identity: identity.clone() }),
        }
    }
    members.sort_by(|one, two| one.disk.cmp(&two.disk));
    let folder = store.set_folder(machine);
    std::fs::create_dir_all(&folder).map_err(ImageError::file("creating", &folder))?;
    let id = ImageId::new();
    let set = SealedSet {
        format: manifest::FORMAT,
        id,
        machine: machine.to_owned(),
        disks: members,
        sealed: jiff::Timestamp::now().to_string(),
        mac: String::new(),
    };
    manifest::write(&folder.join(format!("{id}.json")), &set, &store.keys)?;
    Ok(id)
}

/// Every set of the store, by machine, oldest first.
pub fn all_sets(store: &Store) -> Result<Vec<SealedSet>> {
    let mut all = Vec::new();
    for (machine, _) in manifest::folders(&store.root().join("sets"))? {
        all.extend(sets(store, &machine)?);
    }
    Ok(all)
}
