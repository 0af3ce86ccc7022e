//! One host with all its virtual machines: every host-level rule, each time one is added.

use super::derivation::add_up;
use super::{
    Adapters, BitRate, Constants, Derivation, Derived, Formula, MachineSizing, Origin, SizingError, Sourced, Space,
    adapters, cpu_capacity, exact_bytes, host_memory, memory_for_vms, network_capacity, network_remaining, space,
    total_frequency, unable_to_start,
};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::{Host, HostName};
use crate::units::{ByteCount, Frequency};

/// What is taken of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gauge<T> {
    /// How much there is; `None` if the plan does not say.
    pub capacity: Option<T>,
    /// How much is taken.
    pub used: T,
}

/// A host with some virtual machines on it.
#[derive(Clone, Debug)]
pub struct HostAssessment {
    /// Which host.
    pub name: HostName,
    /// How many machines of the plan are on it.
    pub machines: usize,
    /// Memory that VMs can have, and what they cost.
    pub memory: Gauge<ByteCount>,
    /// Processor work that VMs can have, and what is reserved.
    pub cpu: Gauge<Frequency>,
    /// Network load that the shared adapters carry, and what VMs load.
    pub network: Gauge<BitRate>,
    /// Disk space, and what VMs need with headroom.
    pub storage: Gauge<ByteCount>,
    /// Memory that the host should have in all.
    pub required_memory: Option<ByteCount>,
    /// How each of these came about.
    pub derivations: Vec<Derivation>,
    /// What is wrong.
    pub findings: Diagnostics,
}

/// A host before and after machines are added to it; all rules are run for all of them both times.
#[derive(Clone, Debug)]
pub struct Reassessment {
    /// Without the added machines.
    pub before: HostAssessment,
    /// With them.
    pub after: HostAssessment,
}

impl Reassessment {
    /// What was not wrong before: by code, for a rule that is broken twice is one that was broken before.
    pub fn new_findings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.after.findings.iter().filter(|new| !self.before.findings.iter().any(|old| old.code == new.code))
    }
}

/// Runs every host-level rule for the machines that are there, and again with those that are added.
pub fn reassess_host(
    host: &Host,
    constants: &Constants,
    present: &[&MachineSizing],
    added: &[&MachineSizing],
) -> Reassessment {
    let all: Vec<&MachineSizing> = present.iter().chain(added).copied().collect();
    Reassessment { before: assess_host(host, constants, present), after: assess_host(host, constants, &all) }
}

/// Runs every host-level rule for all VMs of a host.
pub fn assess_host(host: &Host, constants: &Constants, machines: &[&MachineSizing]) -> HostAssessment {
    let in_use = &host.capacity.in_use;
    let mut assessment = HostAssessment {
        name: host.name.value.clone(),
        machines: machines.len(),
        memory: Gauge { capacity: None, used: in_use.memory.as_ref().map_or(ByteCount(0), |m| m.value) },
        cpu: Gauge { capacity: None, used: in_use.frequency.as_ref().map_or(Frequency(0), |f| f.value) },
        network: Gauge { capacity: None, used: in_use.network.as_ref().map_or(BitRate(0), |n| n.value.into()) },
        storage: Gauge { capacity: None, used: in_use.storage.as_ref().map_or(ByteCount(0), |s| s.value) },
        required_memory: None,
        derivations: Vec::new(),
        findings: Diagnostics::new(),
    };
    let rules = [memory, cpu, network, storage];
    for rule in rules {
        if let Err(error) = rule(&mut assessment, host, constants, machines) {
            assessment.findings.push(
                Diagnostic::error("assess.too-large", format!("{}: {error}", host.name.value))
                    .at(host.name.span.clone(), "its numbers cannot be added up")
                    .help("look for an amount with the wrong unit"),
            );
        }
    }
    assessment
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

impl HostAssessment {
    fn derived<T: Copy>(&mut self, derived: Derived<T>) -> T {
        self.derivations.push(derived.how);
        derived.value
    }
}

fn memory(
    on: &mut HostAssessment,
    host: &Host,
    constants: &Constants,
    machines: &[&MachineSizing],
) -> Result<(), SizingError> {
    let foreign = on.memory.used.0;
    let costs = || machines.iter().filter_map(|machine| Some((machine, machine.memory_cost.as_ref()?.value)));
    let total = add_up(Formula::Sum, std::iter::once(foreign).chain(costs().map(|(_, cost)| cost.0)))?;
    on.memory.used = ByteCount(total);
    let system_key = "hosts.*.capacity.system_memory";
    let system = Sourced::plan_or(host.capacity.system_memory.as_ref(), system_key, || {
        Sourced::assumed(ByteCount(1 << 30), system_key)
    });
    let vms = Sourced::new(ByteCount(total), Origin::Result(Formula::Sum));
    let required = host_memory(&system, &vms, &constants.memory_headroom)?;
    let required = on.derived(required);
    on.required_memory = Some(required);
    let installed = host.capacity.memory.as_ref().map(|memory| Sourced::plan(memory, "hosts.*.capacity.memory"));
    if let Some(installed) = &installed {
        let left = memory_for_vms(installed, &system);
        on.memory.capacity = Some(on.derived(left));
    }
    if let Some(declared) = host.memory {
        on.memory.capacity = Some(on.memory.capacity.map_or(declared, |real| real.min(declared)));
    }
    let Some(capacity) = on.memory.capacity else { return Ok(()) };
    let place = host.capacity.memory.as_ref().map_or(&host.name.span, |memory| &memory.span).clone();
    let available = ByteCount(capacity.0.saturating_sub(foreign));
    let unable = unable_to_start(available, costs().map(|(_, cost)| cost));
    if !unable.is_empty() {
        let order: Vec<_> = costs().collect();
        let message = format!(
            "{} of {} cannot start on `{}`: memory for {} is needed, there is {}",
            unable.len(),
            count(machines.len(), "machine"),
            host.name.value,
            ByteCount(total),
            capacity
        );
        let mut diagnostic = Diagnostic::error("assess.start", message);
        for (at, left) in &unable {
            let (machine, cost) = order[*at];
            diagnostic = diagnostic.at(machine.span.clone(), format!("costs {cost}, {left} are left"));
        }
        on.findings.push(
            diagnostic
                .at(place, "this host")
                .help("move them to another host (`replant assess --place` proposes one), or add memory"),
        );
    } else if let Some(installed) = installed.filter(|installed| installed.value < required) {
        let message = format!(
            "`{}` should have {} for its machines, it has {}",
            host.name.value,
            exact_bytes(required),
            installed.value
        );
        on.findings.push(
            Diagnostic::warning("assess.host-memory", message)
                .at(place, format!("less than what {} and the headroom ask for", count(machines.len(), "machine"))),
        );
    }
    Ok(())
}

fn cpu(
    on: &mut HostAssessment,
    host: &Host,
    constants: &Constants,
    machines: &[&MachineSizing],
) -> Result<(), SizingError> {
    let reserved = machines.iter().filter_map(|machine| Some(machine.cpu_reserved.as_ref()?.value));
    on.cpu.used = total_frequency(std::iter::once(on.cpu.used).chain(reserved))?;
    let (Some(cores), Some(clock)) = (&host.capacity.cores, &host.capacity.frequency) else { return Ok(()) };
    let count_of = Sourced::plan(cores, "hosts.*.capacity.cores");
    let capacity = cpu_capacity(
        &Sourced::new(u64::from(count_of.value), count_of.origin),
        &Sourced::plan(clock, "hosts.*.capacity.frequency"),
        &constants.cpu_reserve,
    )?;
    let capacity = on.derived(capacity);
    on.cpu.capacity = Some(capacity);
    if on.cpu.used > capacity {
        let message = format!(
            "the processors of `{}` are over-allocated: {} are reserved, {} are available",
            host.name.value, on.cpu.used, capacity
        );
        on.findings.push(
            Diagnostic::error("assess.over-allocation", message)
                .at(cores.span.clone(), "with the reserve kept for the host")
                .help("the last of its machines would not start: move some to another host"),
        );
    }
    Ok(())
}

fn network(
    on: &mut HostAssessment,
    host: &Host,
    constants: &Constants,
    machines: &[&MachineSizing],
) -> Result<(), SizingError> {
    let loads = machines.iter().filter_map(|machine| Some(machine.network.as_ref()?.value.0));
    on.network.used = BitRate(add_up(Formula::Sum, std::iter::once(on.network.used.0).chain(loads))?);
    let Some(nics) = &host.capacity.nics else { return Ok(()) };
    let dedicated: Vec<BitRate> = machines.iter().flat_map(|machine| &machine.dedicated).copied().collect();
    let Adapters { host_has_its_own, shared, dedicated_missing } = adapters(nics, &dedicated);
    let name = &host.name.value;
    if !host_has_its_own {
        on.findings.push(
            Diagnostic::warning("assess.host-adapter", format!("`{name}` has no network adapter for itself"))
                .at(host.name.span.clone(), "virtual machines may use all of its adapters")
                .help("keep one for the host: `role: host` in `capacity.nics`"),
        );
    }
    if dedicated_missing > 0 {
        let message = format!("`{name}` lacks {dedicated_missing} of {} dedicated network adapters", dedicated.len());
        on.findings.push(
            Diagnostic::warning("assess.dedicated-adapter", message)
                .at(host.name.span.clone(), "none that is free is fast enough")
                .help("add adapters, or let the machines share: `over: shared`"),
        );
    }
    let capacity = network_capacity(&shared, &constants.network_efficiency)?;
    let (carried, load) = (capacity.sourced(), on.network.used);
    on.network.capacity = Some(on.derived(capacity));
    match network_remaining(&carried, &Sourced::new(load, Origin::Result(Formula::Sum))) {
        Some(left) => _ = on.derived(left),
        None => {
            let message = format!(
                "the network of `{name}` carries {}, its machines load it with {load} at their peaks",
                carried.value
            );
            on.findings.push(
                Diagnostic::warning("assess.network", message)
                    .at(host.name.span.clone(), "the shared adapters, at what is really to be had of their speed")
                    .help("add adapters, or move machines to another host"),
            );
        }
    }
    Ok(())
}

fn storage(
    on: &mut HostAssessment,
    host: &Host,
    _constants: &Constants,
    machines: &[&MachineSizing],
) -> Result<(), SizingError> {
    let foreign = on.storage.used.0;
    let sum = |amounts: &mut dyn Iterator<Item = u64>| {
        add_up(Formula::Sum, std::iter::once(foreign).chain(amounts)).map(ByteCount)
    };
    let sizes = sum(&mut machines.iter().filter_map(|machine| Some(machine.disk_size?.0)))?;
    let used = sum(&mut machines.iter().filter_map(|machine| Some(machine.disk_used?.0)))?;
    on.storage.used = sum(&mut machines.iter().filter_map(|machine| Some(machine.storage.as_ref()?.value.0)))?;
    let Some(available) = &host.capacity.storage else { return Ok(()) };
    on.storage.capacity = Some(available.value);
    let name = &host.name.value;
    match space(sizes, used, available.value) {
        Space::Full => on.findings.push(
            Diagnostic::error(
                "assess.disk-full",
                format!("`{name}` has {} for disks, {used} are in use from the first day", available.value),
            )
            .at(available.span.clone(), "not even the used bytes fit")
            .help("add space, or move machines to another host"),
        ),
        Space::Overcommitted => on.findings.push(
            Diagnostic::warning(
                "assess.disk-full",
                format!("the disks of `{name}` can grow to {sizes}, there is room for {}", available.value),
            )
            .at(available.span.clone(), format!("{used} are used now; it may run full later"))
            .help("watch it, or add space"),
        ),
        Space::Enough if on.storage.used > available.value => on.findings.push(
            Diagnostic::warning(
                "assess.storage",
                format!(
                    "`{name}` should have {} for disks, saved states and snapshots, it has {}",
                    on.storage.used, available.value
                ),
            )
            .at(available.span.clone(), "the disks themselves fit"),
        ),
        Space::Enough => {}
    }
    Ok(())
}
