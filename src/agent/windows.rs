//! Windows in the agent: found without mounting, mounted by ntfs-3g, converted with what the host sent along.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::guest::windows::driver::DriverPackage;
use crate::guest::windows::{
    DiskView, FoundWindows, MountedVolume, NtfsMount, TargetNic, TargetTables, WindowsOptions, WindowsOutcome,
    WindowsSurvey, convert, survey,
};
use crate::guest::{Edit, RestoredDisk, SkipList, SystemDisks, UserScript};

use super::commands::with_causes;

/// Where the host puts drivers and tables for Windows.
pub(super) const BUNDLE: &str = "/windows";
/// The tables and the list of packages in the bundle.
pub(super) const BUNDLE_FILE: &str = "bundle.json";

/// What the host sends along.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// What the provider says.
    pub(super) tables: TargetTables,
    /// INF files below the bundle's folder, each with where it came from.
    pub(super) packages: Vec<(String, String)>,
}

/// A Windows that was found, with its device here.
pub(super) struct WindowsGuest {
    pub(super) found: FoundWindows,
    device: PathBuf,
    mounted: Option<NtfsMount>,
}

/// Every Windows on the restored disks.
pub(super) fn look(disks: &SystemDisks) -> Result<WindowsSurvey, String> {
    let files: Vec<File> = disks
        .disks
        .iter()
        .map(|disk| File::open(&disk.device).map_err(|error| format!("{}: {error}", disk.device.display())))
        .collect::<Result<_, _>>()?;
    let reads: Vec<_> = files
        .iter()
        .map(|file| move |buffer: &mut [u8], offset: u64| -> io::Result<()> { file.read_exact_at(buffer, offset) })
        .collect();
    let views: Vec<DiskView<'_>> = disks
        .disks
        .iter()
        .zip(&reads)
        .map(|(disk, read_at)| DiskView { name: format!("/dev/disk{}", disk.index), size: disk.size, read_at })
        .collect();
    survey(&views).map_err(|error| with_causes(&error))
}

impl WindowsGuest {
    /// The Windows that is meant: the declared one, or the only one. `None` if none is, and `linux` says whether there
    /// may be a Linux, too.
    pub(super) fn choose(disks: &SystemDisks, wanted: Option<&str>, linux: bool) -> Result<Option<Self>, String> {
        let mut survey = look(disks)?;
        let list = |found: &[FoundWindows]| {
            let all: Vec<String> = found.iter().map(|one| format!("{} ({})", one.volume, one.facts.product)).collect();
            all.join("; ")
        };
        let device = |found: &FoundWindows| device(&disks.disks[found.disk], found.partition);
        if let Some(wanted) = wanted {
            let meant = disks.find(wanted).map(Path::to_owned);
            let at = survey
                .found
                .iter()
                .position(|found| found.volume == wanted || (meant.is_some() && device(found) == meant));
            survey.found = at.map(|at| survey.found.swap_remove(at)).into_iter().collect();
        } else if survey.found.len() > 1 {
            let found = list(&survey.found);
            return Err(format!("there are several Windows: {found}; say which with `guest.root: /dev/disk0p2`"));
        } else if linux && !survey.found.is_empty() {
            let found = list(&survey.found);
            return Err(format!(
                "there is a Windows ({found}), and there are file systems of Linux; say which system is meant with \
                 `guest.root: /dev/disk0p2`"
            ));
        }
        let Some(found) = survey.found.pop() else {
            let mut closed: Vec<String> = survey.closed.iter().map(ToString::to_string).collect();
            closed.extend(survey.damaged);
            return if linux || closed.is_empty() { Ok(None) } else { Err(closed.join("\n")) };
        };
        let device = device(&found).ok_or_else(|| format!("{} has no device here", found.volume))?;
        Ok(Some(Self { found, device, mounted: None }))
    }

    /// Converts it; `told` hears of each edit before it is made.
    pub(super) fn convert(
        &mut self,
        folder: &Path,
        nics: &[TargetNic],
        (first_boot, skip): (&[UserScript], &SkipList),
        told: impl FnMut(&Edit),
    ) -> Result<WindowsOutcome, String> {
        // A hazard is told before ntfs-3g refuses with fewer words.
        let hazards: Vec<String> = self.found.facts.hazards.iter().map(ToString::to_string).collect();
        if !hazards.is_empty() {
            return Err(hazards.join("\n"));
        }
        let (tables, packages) = bundle(Path::new(BUNDLE))?;
        let at = folder.join("windows");
        let mount = match self.mounted.take() {
            Some(mount) => mount,
            None => NtfsMount::writable(&self.device, &at).map_err(|error| with_causes(&error))?,
        };
        let volume = MountedVolume::new(mount.at());
        self.mounted = Some(mount);
        let options = WindowsOptions { tables: &tables, packages: &packages, nics, first_boot, skip };
        convert(&volume, &self.found.facts, &options, told).map_err(|error| with_causes(&error))
    }

    /// Lets go of it: everything is on the disk then.
    pub(super) fn release(self) -> Result<(), String> {
        self.mounted.map_or(Ok(()), |mount| mount.release().map_err(|error| with_causes(&error)))
    }
}

fn device(disk: &RestoredDisk, partition: Option<u32>) -> Option<PathBuf> {
    match partition {
        None => Some(disk.device.clone()),
        Some(number) => disk.partitions.iter().find(|own| own.number == number).map(|own| own.device.clone()),
    }
}

/// What the host sent along; nothing if it sent nothing.
fn bundle(folder: &Path) -> Result<(TargetTables, Vec<DriverPackage>), String> {
    let path = folder.join(BUNDLE_FILE);
    let bundle: Bundle = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?,
        Err(error) => {
            return Err(format!(
                "the host has sent no drivers and tables for Windows along ({}: {error}): run `replant guest convert` \
                 with --windows and --patches",
                path.display()
            ));
        }
    };
    let open = |(inf, origin): &(String, String)| DriverPackage::open(&folder.join(inf), origin);
    let packages: Result<Vec<_>, _> = bundle.packages.iter().map(open).collect();
    Ok((bundle.tables, packages.map_err(|error| with_causes(&error))?))
}

/// Adapters of the target from the lines `MAC` or `MAC NAME`.
pub(super) fn target_nics(lines: &[&str]) -> Vec<TargetNic> {
    let nic = |line: &&str| {
        let (mac, name) = line.split_once(' ').map_or((*line, None), |(mac, name)| (mac, Some(name.trim().to_owned())));
        TargetNic { mac: mac.to_owned(), name: name.filter(|name| !name.is_empty()) }
    };
    lines.iter().map(nic).collect()
}
