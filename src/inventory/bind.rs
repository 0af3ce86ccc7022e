//! Documents bound to the machines of a plan: what the plan does not declare itself, they say.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8Path;

use super::document::{LoadedDocument, load_document};
use super::model::{Document, Facts, LoadWord, NicKind, PeakWord};
use crate::diagnostic::{Diagnostic, Diagnostics, Spanned};
use crate::plan::{self, Inventory, LoadPattern, NetworkPath, NetworkUse, Nic, PeakKind, Plan, Utilisation};
use crate::units::{ByteCount, ByteRate, Percent};

/// A plan with what is known of its machines.
#[derive(Clone, Debug)]
pub struct KnownPlan {
    /// The plan; what its machines do not declare is filled in.
    pub plan: Plan,
    /// Each machine's document, in plan order.
    pub documents: Vec<Option<Arc<Document>>>,
}

/// Reads a plan and the documents that its machines name. The diagnostics beside it are warnings.
pub fn load(path: &Utf8Path) -> Result<(KnownPlan, Diagnostics), Diagnostics> {
    let (mut plan, mut found) = plan::load(path)?;
    let documents = attach(&mut plan, &mut found);
    found.into_result(Some(KnownPlan { plan, documents }))
}

/// Reads the documents of a plan's machines and fills in what the plan leaves open.
pub fn attach(plan: &mut Plan, found: &mut Diagnostics) -> Vec<Option<Arc<Document>>> {
    plan.machines
        .iter_mut()
        .map(|machine| {
            let path = machine.inventory.document.clone()?;
            match load_document(&path.value) {
                Err(problems) => {
                    let problems: Vec<Diagnostic> = problems.into();
                    found.extend(problems.into_iter().map(|problem| problem.at(path.span.clone(), "named here")));
                    None
                }
                Ok(loaded) => {
                    let named = &loaded.document.name;
                    if !named.eq_ignore_ascii_case(&machine.name.value.0) {
                        let message = format!("the facts of `{named}` are taken for `{}`", machine.name.value);
                        found.push(
                            Diagnostic::advice("inventory.name", message)
                                .at(path.span.clone(), format!("a document of `{}`", named.escape_debug()))
                                .help("if that is meant, nothing is wrong"),
                        );
                    }
                    fill(&mut machine.inventory, &loaded);
                    Some(Arc::new(loaded.document))
                }
            }
        })
        .collect()
}

/// What the plan says stays; the rest comes from the document.
fn fill(inventory: &mut Inventory, loaded: &LoadedDocument) {
    let facts = &loaded.document.facts;
    let processor = &facts.system.processor;
    inventory.memory = inventory.memory.or(facts.system.memory.as_ref().map(|memory| memory.value));
    let count = processor.count.as_ref().or(processor.cores.as_ref());
    inventory.cpus = inventory.cpus.or(count.map(|count| count.value).filter(|count| *count > 0));
    inventory.firmware = inventory.firmware.or(facts.system.firmware.as_ref().map(|firmware| firmware.value));
    if inventory.nics.is_empty() {
        inventory.nics = nics(facts);
    }
    utilisation(&mut inventory.utilisation, loaded);
}

/// The adapters that are hardware and have an address.
fn nics(facts: &Facts) -> Vec<Nic> {
    let hardware =
        facts.network.nics.iter().filter(|nic| {
            nic.kind.as_ref().is_none_or(|kind| matches!(kind.value, NicKind::Ethernet | NicKind::Other))
        });
    let named = hardware.filter_map(|nic| {
        Some(Nic { mac: nic.mac.as_ref()?.value.clone(), name: nic.name.as_ref().map(|name| name.value.clone()) })
    });
    named.collect()
}

fn utilisation(used: &mut Utilisation, loaded: &LoadedDocument) {
    let facts = &loaded.document.facts;
    let measured = &facts.utilisation;
    let at = |path: &[&str]| loaded.span(path);
    if used.observed.is_none()
        && let (Some(from), Some(to)) = (&measured.from_time, &measured.to_time)
    {
        let seconds = to.value.as_second().saturating_sub(from.value.as_second());
        let observed = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        used.observed = Some(Spanned::new(observed, at(&["utilisation", "from"])));
    }
    used.load = used.load.or(measured.load.as_ref().map(|load| match load.value {
        LoadWord::Constant => LoadPattern::Constant,
        LoadWord::Periodic => LoadPattern::Periodic,
        LoadWord::Seasonal => LoadPattern::Seasonal,
    }));
    if used.memory.is_none() {
        used.memory = measured.memory.as_ref().map(|memory| Spanned::new(memory.value, at(&["utilisation", "memory"])));
        used.memory_peak = used.memory_peak.or(measured.memory_peak.as_ref().map(|peak| match peak.value {
            PeakWord::Sustained => PeakKind::Sustained,
            PeakWord::Spike => PeakKind::Spike,
        }));
    }
    if used.frequency.is_none() {
        let clock = measured.frequency.as_ref().map(|clock| (clock.value, at(&["utilisation", "frequency"])));
        let board = || {
            let clock = facts.system.processor.frequency.as_ref()?;
            Some((clock.value, at(&["system", "processor", "frequency"])))
        };
        used.frequency = clock.or_else(board).map(|(clock, span)| Spanned::new(clock, span));
    }
    if used.cpu.is_none() {
        used.cpu = measured.cpu.as_ref().map(|cpu| Spanned::new(cpu.value, at(&["utilisation", "cpu"])));
    }
    if used.network.is_empty() {
        let span = at(&["utilisation", "nic_load"]);
        used.network = measured
            .nics
            .iter()
            .filter_map(|nic| {
                let peak = nic.peak.as_ref()?.value;
                let name = nic.name.as_ref().map(|name| name.value.as_str());
                let known = facts
                    .network
                    .nics
                    .iter()
                    .find(|nic| name.is_some() && nic.name.as_ref().map(|name| name.value.as_str()) == name);
                let speed = nic.speed.as_ref().or(known.and_then(|nic| nic.speed.as_ref())).map(|speed| speed.value);
                let (speed, peak) = share(speed, peak);
                Some(NetworkUse {
                    speed: Spanned::new(speed, span.clone()),
                    peak: Spanned::new(peak, span.clone()),
                    over: NetworkPath::Shared,
                })
            })
            .collect();
    }
    disks(used, loaded);
}

/// A load as a share of the adapter's speed, rounded up; of itself, where the speed is not known.
fn share(speed: Option<ByteRate>, peak: ByteRate) -> (ByteRate, Percent) {
    match speed.filter(|speed| speed.0 > 0 && speed.0 >= peak.0) {
        Some(speed) => {
            let share = (u128::from(peak.0) * 10_000).div_ceil(u128::from(speed.0));
            (speed, Percent(u32::try_from(share).unwrap_or(u32::MAX)))
        }
        None => (peak, Percent(10_000)),
    }
}

fn disks(used: &mut Utilisation, loaded: &LoadedDocument) {
    let storage = &loaded.document.facts.storage;
    let disks = || storage.disks.iter().filter(|disk| !disk.removable.as_ref().is_some_and(|fact| fact.value));
    let total = |values: Vec<Option<u64>>| -> Option<ByteCount> {
        let known: Option<Vec<u64>> = values.into_iter().collect();
        let known = known.filter(|known| !known.is_empty())?;
        known.iter().try_fold(0_u64, |sum, one| sum.checked_add(*one)).map(ByteCount)
    };
    let size = total(disks().map(|disk| disk.size.as_ref().map(|size| size.value.0)).collect());
    if used.disk.size.is_none() {
        used.disk.size = size.map(|size| Spanned::new(size, loaded.span(&["storage", "disk", "size"])));
    }
    if used.disk.used.is_none() {
        let by_volume =
            total(storage.volumes.iter().map(|volume| volume.used.as_ref().map(|used| used.value.0)).collect());
        let by_disk = || total(disks().map(|disk| disk.used.as_ref().map(|used| used.value.0)).collect());
        let by_file = || total(disks().map(|disk| disk.allocated.as_ref().map(|size| size.value.0)).collect());
        let (bytes, element) = match (by_volume, by_disk(), by_file()) {
            (Some(bytes), ..) => (bytes, "volume"),
            (None, Some(bytes), _) | (None, None, Some(bytes)) => (bytes, "disk"),
            (None, None, None) => return,
        };
        used.disk.used = Some(Spanned::new(bytes, loaded.span(&["storage", element])));
    }
}
