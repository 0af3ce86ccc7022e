//! The commands that a sequence can name.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::controller::Report;
use crate::guest::linux::initramfs::InitramfsChoice;
use crate::guest::linux::network::{AddressMap, TargetNic};
use crate::guest::{self, Conversion, ConvertOptions, Edit, FsKind, Guest, SkipList, SystemDisks, UserScript};
use crate::sequence::{CommandError, Facts, Registry, StepCall, StepOutput};
use crate::units::ByteCount;

use super::capture::{self, Disks, Link};
use super::deploy;
use super::discover::SeenDisk;
use super::preview::preview;
use super::rebuild::rebuild;
use super::report::Reporter;
use super::run::{self, run_offline};
use super::screen::{Console, Shown};
use super::windows::{WindowsGuest, look, target_nics};
use super::work::{Finished, Place};

/// The drivers that a virtio target needs, if the sequence names none.
const VIRTIO: [&str; 4] = ["virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"];

/// What the commands work on.
pub(super) struct Workbench<'a> {
    /// Where file systems are mounted.
    pub(super) folder: PathBuf,
    /// Who hears of edits.
    pub(super) reporter: &'a Reporter,
    /// The guest, once it is found.
    pub(super) guest: RefCell<Option<Guest>>,
    /// The guest, if it is a Windows.
    windows: RefCell<Option<WindowsGuest>>,
    /// The user's own scripts for the first boot, in order.
    first_boot: RefCell<Vec<UserScript>>,
    /// The job.
    pub(super) link: &'a Link,
    /// The disks that may be captured or written.
    disks: &'a Disks,
    /// Who stands in front of the machine.
    console: &'a dyn Console,
    leaves: Cell<Option<Finished>>,
}

impl<'a> Workbench<'a> {
    pub(super) fn new(reporter: &'a Reporter, link: &'a Link, place: &'a Place<'a>) -> Self {
        let (guest, windows) = (RefCell::new(None), RefCell::new(None));
        let Place { folder, disks, console } = place;
        let (folder, console, leaves) = (folder.clone(), *console, Cell::new(None));
        Self { folder, reporter, guest, windows, first_boot: RefCell::default(), link, disks, console, leaves }
    }

    /// How the agent is to end behind this sequence, if a step has asked for it.
    pub(super) fn leaves(&self) -> Option<Finished> {
        self.leaves.get()
    }

    /// Every command of this agent.
    pub(super) fn registry(&self) -> Registry<'_> {
        let mut registry = Registry::default();
        registry.register("disk.geometry", |call: &StepCall<'_>| geometry(call));
        registry.register("guest.inspect", |_: &StepCall<'_>| self.inspect());
        registry.register("guest.preview", |call: &StepCall<'_>| self.preview(call));
        registry.register("guest.detect", |call: &StepCall<'_>| self.detect(call));
        registry.register("guest.run", |call: &StepCall<'_>| self.run(call));
        registry.register("guest.first-boot", |call: &StepCall<'_>| self.keep_for_first_boot(call));
        registry.register("guest.convert", |call: &StepCall<'_>| self.convert(call));
        registry.register("disk.flush", |_: &StepCall<'_>| self.flush());
        // The init powers off when the agent has ended: by then the end of the sequence is reported.
        for (command, how) in [("shutdown", Finished::Off), ("restart", Finished::Restart)] {
            registry.register(command, move |_: &StepCall<'_>| {
                self.leaves.set(Some(how));
                Ok(StepOutput::default())
            });
        }
        // For steps whose whole purpose is the restart behind them.
        registry.register("nothing", |_: &StepCall<'_>| Ok(StepOutput::default()));
        registry.register("disk.protect", |_: &StepCall<'_>| self.protect());
        registry.register("disk.capture", |call: &StepCall<'_>| self.capture(call));
        registry.register("disk.deploy", |call: &StepCall<'_>| self.deploy(call));
        registry
    }

    fn note(&self, text: String) {
        self.reporter.say(Report::Note { text });
    }

    /// From here on nobody can write any disk of this machine.
    fn protect(&self) -> Result<StepOutput, CommandError> {
        let protected = capture::protect_all(self.disks).map_err(failed)?;
        self.note(format!("read-only from now on: {}", protected.join(", ")));
        Ok(StepOutput::default())
    }

    fn capture(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let (disk, found) = self.disk_of(call)?;
        let shown = AtomicU64::new(u64::MAX);
        let console = self.console;
        let reached = |done: u64, total: u64| show_progress(console, &shown, done, total);
        let done = capture::capture(self.link, disk, &found, &|text| self.note(text), &reached).map_err(failed)?;
        Ok(StepOutput { code: 0, facts: done.into_iter().collect() })
    }

    fn deploy(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let (disk, found) = self.disk_of(call)?;
        let shown = AtomicU64::new(u64::MAX);
        let (reporter, console) = (self.reporter, self.console);
        let told = |report: Report| {
            if let Report::Deployed { done, total, .. } = report {
                show_progress(console, &shown, done, total);
            }
            reporter.say(report);
        };
        let done = deploy::deploy(self.link, disk, &found, &told).map_err(failed)?;
        Ok(StepOutput { code: 0, facts: done.into_iter().collect() })
    }

    /// The name of the disk that a step works on, and the disk.
    fn disk_of<'c>(&self, call: &StepCall<'c>) -> Result<(&'c str, SeenDisk), CommandError> {
        let parameter = |name: &str| call.step.parameter(name).filter(|value| !value.is_empty());
        let size = parameter("size").map(ByteCount::parse).transpose().map_err(failed)?;
        let needs = || refused(format!("`{}` needs the parameter `disk`", call.step.command));
        let disk = parameter("disk").ok_or_else(needs)?;
        let wanted = capture::Wanted { serial: parameter("serial"), size: size.map(|size| size.0) };
        Ok((disk, capture::choose(self.disks, &wanted).map_err(failed)?))
    }

    /// The whole of what was found goes out as one fact, in JSON.
    fn inspect(&self) -> Result<StepOutput, CommandError> {
        let mut found = guest::inspect(&self.folder).map_err(failed)?;
        found.add_windows(look(&SystemDisks::discover().map_err(failed)?).map_err(refused)?);
        let text = serde_json::to_string(&found).map_err(failed)?;
        Ok(StepOutput { code: 0, facts: Facts::from([("guest.inspection".to_owned(), text)]) })
    }

    /// What a conversion with these parameters would change.
    fn preview(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let root = call.step.parameter("root").filter(|root| !root.is_empty());
        let options = ConvertOptions { first_boot: self.first_boot.borrow().clone(), ..options(call)? };
        let found = preview(&self.folder, root, &options).map_err(failed)?;
        let text = serde_json::to_string(&found).map_err(failed)?;
        Ok(StepOutput { code: 0, facts: Facts::from([("guest.preview".to_owned(), text)]) })
    }

    fn detect(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        // A repeated step lets go of what the first attempt mounted.
        self.guest.replace(None);
        self.windows.replace(None);
        self.first_boot.borrow_mut().clear();
        let root = call.step.parameter("root").filter(|root| !root.is_empty());
        if let Some(windows) = self.detect_windows(root)? {
            return Ok(windows);
        }
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

    /// Looks for a Windows; its volume is mounted only when it is converted.
    fn detect_windows(&self, root: Option<&str>) -> Result<Option<StepOutput>, CommandError> {
        let disks = SystemDisks::discover().map_err(failed)?;
        let linux = disks.contents().any(|(_, _, content)| !matches!(content.kind, FsKind::Ntfs | FsKind::Vfat));
        let Some(windows) = WindowsGuest::choose(&disks, root, linux).map_err(refused)? else { return Ok(None) };
        let (volume, facts) = (windows.found.volume.clone(), &windows.found.facts);
        self.note(format!("the guest is {} (build {}) on {volume}", facts.product, facts.build));
        let facts = Facts::from([
            ("guest.kind".to_owned(), "windows".to_owned()),
            ("guest.system".to_owned(), facts.product.clone()),
            ("guest.build".to_owned(), facts.build.to_string()),
            ("guest.root".to_owned(), volume),
        ]);
        self.windows.replace(Some(windows));
        Ok(Some(StepOutput { code: 0, facts }))
    }

    /// Runs a script of the user's own in the guest, which is off.
    fn run(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let script = run::script(call.step).map_err(refused)?;
        let left_out = |system: &str| {
            self.note(format!("{} is left out: it cannot run offline in a {system}", script.name));
            Ok(StepOutput::default())
        };
        if self.windows.borrow().is_some() {
            return left_out("Windows");
        }
        let guest = self.guest.borrow();
        let guest = guest.as_ref().ok_or_else(no_guest)?;
        if script.is_for_windows() {
            return left_out("Linux");
        }
        let ran = run_offline(guest, &script, &|line| self.note(format!("{}: {line}", script.name)));
        let ran = ran.map_err(|error| refused(with_causes(&error)))?;
        self.reporter.say(Report::Edit(ran));
        Ok(StepOutput::default())
    }

    fn keep_for_first_boot(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let script = run::script(call.step).map_err(refused)?;
        let mut kept = self.first_boot.borrow_mut();
        // A step that is tried again keeps its script once.
        if !kept.contains(&script) {
            kept.push(script);
        }
        Ok(StepOutput::default())
    }

    fn convert_windows(&self, windows: &mut WindowsGuest, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        let skip = SkipList::new(call.step.list("skip").into_iter().map(str::to_owned));
        let nics = target_nics(&call.step.list("nic"));
        let told = |edit: &Edit| self.reporter.say(Report::Edit(edit.clone()));
        let outcome =
            windows.convert(&self.folder, &nics, (&self.first_boot.borrow(), &skip), told).map_err(refused)?;
        for warning in &outcome.warnings {
            self.note(format!("warning: {warning}"));
        }
        let count = outcome.edits.len().to_string();
        Ok(StepOutput { code: 0, facts: Facts::from([("guest.edits".to_owned(), count)]) })
    }

    fn convert(&self, call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
        if let Some(windows) = self.windows.borrow_mut().as_mut() {
            return self.convert_windows(windows, call);
        }
        let guest = self.guest.borrow();
        let guest = guest.as_ref().ok_or_else(no_guest)?;
        let options = ConvertOptions { first_boot: self.first_boot.borrow().clone(), ..options(call)? };
        let plan = || guest::plan(&guest.tree, &guest.disks, &options).map_err(failed);
        let (mut count, mut rebuilt) = (0, Vec::new());
        let mut conversion = plan()?;
        for warning in &conversion.warnings {
            self.note(format!("warning: {warning}"));
        }
        self.apply(guest, &conversion, &mut count)?;
        if !conversion.rebuilds.is_empty() {
            for wanted in &conversion.rebuilds {
                self.note(format!("{} is made anew by the guest's {}", wanted.path, wanted.program));
                let edit = rebuild(guest, wanted, &|line| self.note(format!("{}: {line}", wanted.program)));
                self.reporter.say(Report::Edit(edit.map_err(failed)?));
                count += 1;
                rebuilt.push(wanted.path.clone());
            }
            // What only an overlay can bring into the new ones.
            conversion = plan()?;
            conversion.rebuilds.clear();
            self.apply(guest, &conversion, &mut count)?;
        }
        let rest = plan()?;
        let left = rest.rebuilds.iter().map(|rebuild| &rebuild.path).find(|path| !rebuilt.contains(path));
        if let Some(path) = rest.changes.first().map(|change| &change.path).or(left) {
            return Err(refused(format!("{path} still needs a change after the conversion")));
        }
        let count = count.to_string();
        Ok(StepOutput { code: 0, facts: Facts::from([("guest.edits".to_owned(), count)]) })
    }

    fn apply(&self, guest: &Guest, conversion: &Conversion, count: &mut usize) -> Result<(), CommandError> {
        guest::apply(guest, conversion, |change| {
            *count += change.edits.len();
            for edit in &change.edits {
                self.reporter.say(Report::Edit(edit.clone()));
            }
        })
        .map_err(failed)
    }

    fn flush(&self) -> Result<StepOutput, CommandError> {
        if let Some(windows) = self.windows.replace(None) {
            windows.release().map_err(refused)?;
        }
        if let Some(guest) = self.guest.replace(None) {
            guest.mounted.release().map_err(failed)?;
            guest::release(&guest.disks);
        }
        for disk in SystemDisks::discover().map_err(failed)?.disks {
            let device = std::fs::File::open(&disk.device).map_err(failed)?;
            device.sync_all().map_err(failed)?;
        }
        Ok(StepOutput::default())
    }
}

/// Shows how far a disk is, each percent once.
fn show_progress(console: &dyn Console, shown: &AtomicU64, done: u64, total: u64) {
    let percent = done.saturating_mul(100) / total.max(1);
    if shown.swap(percent, Ordering::Relaxed) != percent {
        console.show(Shown::Progress(format!("{percent} % of {}", ByteCount(total))));
    }
}

/// The disk named `disk` is there and has at least `size` bytes.
fn geometry(call: &StepCall<'_>) -> Result<StepOutput, CommandError> {
    let disks = SystemDisks::discover().map_err(failed)?;
    let wanted = call.step.parameter("disk").unwrap_or_default();
    let index = wanted.strip_prefix("disk").and_then(|number| number.parse::<u16>().ok());
    let found = disks.disks.iter().find(|disk| Some(disk.index) == index);
    let disk = found.ok_or_else(|| refused(format!("`{wanted}` is not attached to this machine")))?;
    let size = call.step.parameter("size").map_or(Ok(ByteCount(0)), ByteCount::parse).map_err(failed)?;
    if disk.size < size.0 {
        return Err(refused(format!("{wanted} has {} bytes, and the plan says {}", disk.size, size.0)));
    }
    let facts = [
        ("device", disk.device.display().to_string()),
        ("bytes", disk.size.to_string()),
        ("partitions", disk.partitions.len().to_string()),
    ];
    let facts = facts.into_iter().map(|(name, value)| (format!("{wanted}.{name}"), value)).collect();
    Ok(StepOutput { code: 0, facts })
}

/// `driver` and `skip` are lists, `nic` is a list of `MAC NAME`, `serial-console` is `yes` or `no`, `initramfs` is
/// `auto`, `overlay` or `rebuild`.
fn options(call: &StepCall<'_>) -> Result<ConvertOptions, CommandError> {
    let mut drivers: Vec<String> = call.step.list("driver").into_iter().map(str::to_owned).collect();
    if drivers.is_empty() {
        drivers = VIRTIO.map(str::to_owned).to_vec();
    }
    let nics: Vec<TargetNic> = call
        .step
        .list("nic")
        .into_iter()
        .map(|nic| match nic.trim().split_once(' ') {
            Some((mac, name)) => TargetNic { mac: mac.to_owned(), name: Some(name.trim().to_owned()) },
            None => TargetNic { mac: nic.trim().to_owned(), name: None },
        })
        .collect();
    // These become a file name and lines of a configuration file of the guest.
    for nic in &nics {
        let is_name = |name: &String| {
            !name.is_empty()
                && name.len() < 16
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let named = nic.name.as_ref().is_none_or(is_name);
        let addressed = nic.mac.split(':').count() == 6 && nic.mac.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        if !named || !addressed {
            return Err(refused(format!(
                "`{} {}` is not a MAC address and a network adapter's name",
                nic.mac,
                nic.name.as_deref().unwrap_or_default()
            )));
        }
    }
    let initramfs = match call.step.parameter("initramfs") {
        None => InitramfsChoice::default(),
        Some(word) => InitramfsChoice::parse(word)
            .ok_or_else(|| refused(format!("`initramfs` is `{word}`, and not `auto`, `overlay` or `rebuild`")))?,
    };
    Ok(ConvertOptions {
        drivers,
        serial_console: matches!(call.step.parameter("serial-console"), Some("yes")),
        nics,
        addresses: AddressMap::parse(call.step.list("address")).map_err(failed)?,
        uefi: matches!(call.step.parameter("firmware"), Some("uefi")),
        first_boot: Vec::new(),
        initramfs,
        skip: SkipList::new(call.step.list("skip").into_iter().map(str::to_owned)),
    })
}

fn no_guest() -> CommandError {
    refused("no guest has been found: `guest.detect` comes first".to_owned())
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
