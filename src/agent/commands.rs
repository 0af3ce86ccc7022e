//! The commands that a sequence can name.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use crate::controller::Report;
use crate::guest::{self, ConvertOptions, Guest, PinnedNic, SkipList, SystemDisks};
use crate::sequence::{CommandError, Facts, Registry, StepCall, StepOutput};

use super::report::Reporter;

/// The drivers that a virtio target needs, if the sequence names none.
const VIRTIO: [&str; 3] = ["virtio_pci", "virtio_blk", "virtio_scsi"];

/// What the commands work on.
pub(super) struct Workbench<'a> {
    /// Where file systems are mounted.
    pub(super) folder: PathBuf,
    /// Who hears of edits.
    pub(super) reporter: &'a Reporter,
    /// The guest, once it is found.
    pub(super) guest: RefCell<Option<Guest>>,
    /// Whether the sequence asked to power off.
    pub(super) power_off: Cell<bool>,
}

impl<'a> Workbench<'a> {
    pub(super) fn new(folder: PathBuf, reporter: &'a Reporter) -> Self {
        Self { folder, reporter, guest: RefCell::new(None), power_off: Cell::new(false) }
    }

    /// Every command of this agent.
    pub(super) fn registry(&self) -> Registry<'_> {
        let mut registry = Registry::default();
        registry.register("disk.geometry", |call: &StepCall<'_>| geometry(call));
        registry.register("guest.detect", |call: &StepCall<'_>| self.detect(call));
        registry.register("guest.convert", |call: &StepCall<'_>| self.convert(call));
        registry.register("disk.flush", |_: &StepCall<'_>| self.flush());
        registry.register("power.off", |_: &StepCall<'_>| {
            self.power_off.set(true);
            Ok(StepOutput::default())
        });
        registry
    }

    fn note(&self, text: String) {
        self.reporter.say(Report::Note { text });
    }

    fn detect(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        // A repeated step lets go of what the first attempt mounted.
        self.guest.replace(None);
        let root = call.step.parameter("root").filter(|root| !root.is_empty());
        let guest = guest::detect(&self.folder, root).map_err(failed)?;
        self.note(format!("the guest is {} on {}", guest.root.system, guest.root.name));
        let mut facts = Facts::from([
            ("guest.kind".to_owned(), "linux".to_owned()),
            ("guest.system".to_owned(), guest.root.system.clone()),
            ("guest.root".to_owned(), guest.root.name.clone()),
        ]);
        if let Some(uuid) = &guest.root.uuid {
            facts.insert("guest.root-uuid".to_owned(), uuid.clone());
        }
        self.guest.replace(Some(guest));
        Ok(StepOutput { code: 0, facts })
    }

    fn convert(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let guest = self.guest.borrow();
        let Some(guest) = guest.as_ref() else {
            return Err(refused("no guest has been found: `guest.detect` comes first".to_owned()));
        };
        let options = options(call)?;
        let conversion = guest::plan(&guest.tree, &guest.disks, &options).map_err(failed)?;
        for warning in &conversion.warnings {
            self.note(format!("warning: {warning}"));
        }
        guest::apply(guest, &conversion, |change| {
            for edit in &change.edits {
                self.reporter.say(Report::Edit(edit.clone()));
            }
        })
        .map_err(failed)?;
        let rest = guest::plan(&guest.tree, &guest.disks, &options).map_err(failed)?;
        if let Some(change) = rest.changes.first() {
            return Err(refused(format!("{} still needs a change after the conversion", change.path)));
        }
        let count = conversion.edits().len().to_string();
        Ok(StepOutput { code: 0, facts: Facts::from([("guest.edits".to_owned(), count)]) })
    }

    fn flush(&self) -> Result<StepOutput, CommandError> {
        if let Some(guest) = self.guest.replace(None) {
            guest.mounted.release().map_err(failed)?;
        }
        for disk in SystemDisks::discover().map_err(failed)?.disks {
            let device = std::fs::File::open(&disk.device).map_err(failed)?;
            device.sync_all().map_err(failed)?;
        }
        Ok(StepOutput::default())
    }
}

/// `disk` parameters are `disk0=BYTES`: each must be there and have at least that size.
fn geometry(call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
    let disks = SystemDisks::discover().map_err(failed)?;
    let mut facts = Facts::new();
    for disk in &disks.disks {
        facts.insert(format!("disk{}.device", disk.index), disk.device.display().to_string());
        facts.insert(format!("disk{}.bytes", disk.index), disk.size.to_string());
        facts.insert(format!("disk{}.partitions", disk.index), disk.partitions.len().to_string());
    }
    for wanted in call.step.list("disk") {
        let (name, bytes) = wanted.split_once('=').unwrap_or((wanted, "0"));
        let seen = facts.get(&format!("{name}.bytes")).and_then(|bytes| bytes.parse::<u64>().ok());
        let bytes = bytes.parse::<u64>().unwrap_or(0);
        match seen {
            None => return Err(refused(format!("{name} is not attached to this machine"))),
            Some(seen) if seen < bytes => {
                return Err(refused(format!("{name} has {seen} bytes, and the plan says {bytes}")));
            }
            Some(_) => {}
        }
    }
    Ok(StepOutput { code: 0, facts })
}

/// `driver` and `skip` are lists, `nic` is `MAC NAME`, `serial-console` is `true` or `false`.
fn options(call: &StepCall<'_>) -> Result<ConvertOptions, CommandError> {
    let mut drivers: Vec<String> = call.step.list("driver").into_iter().map(str::to_owned).collect();
    if drivers.is_empty() {
        drivers = VIRTIO.map(str::to_owned).to_vec();
    }
    let nics = call.step.list("nic").into_iter().map(|nic| {
        let (mac, name) = nic.split_once([' ', '=']).ok_or_else(|| refused(format!("`nic` `{nic}` is not MAC and name")))?;
        Ok(PinnedNic { mac: mac.to_owned(), name: name.trim().to_owned() })
    });
    let nics = nics.collect::<Result<Vec<_>, CommandError>>()?;
    // These become a file name and lines of a configuration file of the guest.
    for nic in &nics {
        let named = !nic.name.is_empty()
            && nic.name.len() < 16
            && nic.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let addressed = nic.mac.split(':').count() == 6 && nic.mac.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        if !named || !addressed {
            return Err(refused(format!("`{} {}` is not a MAC address and a network adapter's name", nic.mac, nic.name)));
        }
    }
    Ok(ConvertOptions {
        drivers,
        serial_console: matches!(call.step.parameter("serial-console"), Some("true" | "yes" | "1")),
        nics,
        skip: SkipList::new(call.step.list("skip").into_iter().map(str::to_owned)),
    })
}

fn failed(error: impl std::error::Error) -> CommandError {
    refused(with_causes(&error))
}

/// Nothing here passes by itself: another attempt finds the same disks.
fn refused(message: String) -> CommandError {
    CommandError { message, retry: false }
}

/// An error and its sources in one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        message.push_str(": ");
        message.push_str(&error.to_string());
        next = error.source();
    }
    message
}
