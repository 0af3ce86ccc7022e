//! One machine: everything that its virtual machine needs.

use super::{
    BitRate, Constants, CpuSettings, Derivation, Derived, MemoryFit, Origin, SizingError, SmpFit, Sourced,
    StorageAdvice, Window, cpu_demand, cpu_settings, memory_fit, network_load, observation_window, reserved_frequency,
    smp_fit, storage_advice, storage_need, vm_memory_cost,
};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::plan::{Allocation, Host, HostName, Machine, MachineName, NetworkPath, Utilisation};
use crate::units::{ByteCount, Frequency, Percent, human_duration};

/// What a virtual machine needs. What is `None` is not known from the plan.
#[derive(Clone, Debug)]
pub struct MachineSizing {
    /// Which machine.
    pub name: MachineName,
    /// Where its name is written.
    pub span: Span,
    /// The host it is sized for.
    pub host: HostName,
    /// Memory of the VM: declared for the target, or the measured peak, or else the source's.
    pub memory: Option<Sourced<ByteCount>>,
    /// What that costs on the host.
    pub memory_cost: Option<Derived<ByteCount>>,
    /// Processor work at its highest sustained use.
    pub cpu_demand: Option<Derived<Frequency>>,
    /// How much of the host is reserved for that.
    pub cpu: Option<CpuSettings>,
    /// The same in clock rate.
    pub cpu_reserved: Option<Derived<Frequency>>,
    /// Load over shared adapters.
    pub network: Option<Derived<BitRate>>,
    /// Adapters that it wants for itself.
    pub dedicated: Vec<BitRate>,
    /// Disk space, with headroom.
    pub storage: Option<Derived<ByteCount>>,
    /// Size of its disks.
    pub disk_size: Option<ByteCount>,
    /// What they take at once: all of it where they are preallocated.
    pub disk_used: Option<ByteCount>,
    /// Good practice for its disks.
    pub advice: Vec<StorageAdvice>,
    /// What is wrong with it, whatever the host.
    pub findings: Diagnostics,
}

impl MachineSizing {
    /// How each result came about, in a fixed order.
    pub fn derivations(&self) -> Vec<&Derivation> {
        let mut all = Vec::new();
        all.extend(self.memory_cost.as_ref().map(|one| &one.how));
        all.extend(self.cpu_demand.as_ref().map(|one| &one.how));
        all.extend(self.cpu.as_ref().map(|one| &one.reserved.how));
        all.extend(self.cpu_reserved.as_ref().map(|one| &one.how));
        all.extend(self.network.as_ref().map(|one| &one.how));
        all.extend(self.storage.as_ref().map(|one| &one.how));
        all
    }
}

/// Sizes a machine for a host.
pub fn size_machine(machine: &Machine, host: &Host, constants: &Constants) -> MachineSizing {
    let used = &machine.inventory.utilisation;
    let mut sizer = Sizer { machine, findings: Diagnostics::new() };
    sizer.window(used);
    let memory = memory(machine);
    sizer.memory_limits(memory.as_ref(), used, constants);
    let memory_cost = memory.as_ref().and_then(|peak| sizer.or_report(vm_memory_cost(peak, &constants.vm_overhead)));
    let cpus = machine.target.cpus.as_ref().map(|cpus| cpus.value).or(machine.inventory.cpus);
    sizer.smp(cpus, constants);
    let cpu_demand = sizer.cpu_demand(used);
    let core = host.capacity.frequency.as_ref().map(|clock| Sourced::plan(clock, "hosts.*.capacity.frequency"));
    sizer.vm_processors(cpu_demand.as_ref(), cpus, core.as_ref());
    let settings = cpu_demand.as_ref().zip(core.as_ref());
    let cpu = settings.and_then(|(demand, core)| sizer.or_report(cpu_settings(&demand.sourced(), core)));
    let cpu_reserved = cpu
        .as_ref()
        .zip(core.as_ref())
        .and_then(|(settings, core)| sizer.or_report(reserved_frequency(&settings.reserved.sourced(), core)));
    let network = sizer.network(used);
    let storage = sizer.storage(used, memory.as_ref(), constants);
    let disk_size = used.disk.size.as_ref().map(|size| size.value);
    MachineSizing {
        name: machine.name.value.clone(),
        span: machine.name.span.clone(),
        host: host.name.value.clone(),
        memory,
        memory_cost,
        cpu_demand,
        cpu,
        cpu_reserved,
        network,
        dedicated: over(used, NetworkPath::Dedicated).map(|nic| BitRate::from(nic.speed.value)).collect(),
        storage,
        disk_size,
        disk_used: match machine.target.allocation {
            Allocation::Fixed => disk_size,
            Allocation::Dynamic => used.disk.used.as_ref().map(|used| used.value).or(disk_size),
        },
        advice: storage_advice(used.disk.io, machine.target.allocation),
        findings: sizer.findings,
    }
}

fn memory(machine: &Machine) -> Option<Sourced<ByteCount>> {
    let target = machine.target.memory.as_ref().map(|memory| Sourced::plan(memory, "target.memory"));
    let peak = || Some(Sourced::plan(machine.inventory.utilisation.memory.as_ref()?, "inventory.utilisation.memory"));
    let source = || Some(Sourced::new(machine.inventory.memory?, Origin::Plan { key: "inventory.memory", span: None }));
    target.or_else(peak).or_else(source)
}

fn over(used: &Utilisation, path: NetworkPath) -> impl Iterator<Item = &crate::plan::NetworkUse> {
    used.network.iter().filter(move |nic| nic.over == path)
}

struct Sizer<'a> {
    machine: &'a Machine,
    findings: Diagnostics,
}

impl Sizer<'_> {
    /// The result, or a finding that there is none.
    fn or_report<T>(&mut self, result: Result<T, SizingError>) -> Option<T> {
        result
            .map_err(|error| {
                self.findings.push(
                    Diagnostic::error("assess.too-large", format!("{}: {error}", self.machine.name.value))
                        .at(self.machine.name.span.clone(), "its numbers cannot be added up")
                        .help("look for an amount with the wrong unit"),
                );
            })
            .ok()
    }

    fn window(&mut self, used: &Utilisation) {
        let Some(observed) = &used.observed else { return };
        let name = &self.machine.name.value;
        let days = |time: std::time::Duration| format!("{} days", time.as_secs() / 86_400);
        let diagnostic = match observation_window(observed.value, used.load.unwrap_or_default()) {
            Window::Enough => return,
            Window::TooShort { least } => Diagnostic::warning(
                "assess.window",
                format!("`{name}` was observed for {}: its peak may be missing", human_duration(observed.value)),
            )
            .at(observed.span.clone(), format!("{} at least for such a load", days(least))),
            Window::Short { better } => Diagnostic::advice(
                "assess.window",
                format!("`{name}` was observed for {}", human_duration(observed.value)),
            )
            .at(observed.span.clone(), format!("{} would be better for such a load", days(better))),
        };
        self.findings.push(diagnostic.help("observe it longer before its size is final"));
    }

    fn memory_limits(&mut self, memory: Option<&Sourced<ByteCount>>, used: &Utilisation, constants: &Constants) {
        let name = &self.machine.name.value;
        let place = || match memory.map(|memory| &memory.origin) {
            Some(Origin::Plan { span: Some(span), .. }) => span.clone(),
            _ => self.machine.name.span.clone(),
        };
        if let (Some(target), Some(peak)) = (&self.machine.target.memory, &used.memory)
            && target.value < peak.value
        {
            let message =
                format!("the virtual machine of `{name}` has {}, its workload peaks at {}", target.value, peak.value);
            self.findings.push(
                Diagnostic::warning("assess.memory", message)
                    .at(target.span.clone(), "less than the peak")
                    .at(peak.span.clone(), "the peak")
                    .help("give it the peak, or expect it to swap"),
            );
        }
        let Some((memory, limit)) = memory.zip(constants.vm_memory_limit.as_ref()) else { return };
        let message = format!("`{name}` needs {}, a virtual machine there has {} at most", memory.value, limit.value);
        let kind = used.memory_peak;
        match memory_fit(memory.value, Some(limit.value), kind) {
            MemoryFit::Fits => {}
            MemoryFit::Disqualified => self.findings.push(
                Diagnostic::error("assess.memory-limit", message)
                    .at(place(), "and the peak lasts")
                    .help("it is no candidate for this host's provider: choose another, or leave it as it is"),
            ),
            MemoryFit::Review => self.findings.push(
                Diagnostic::warning("assess.memory-limit", message)
                    .at(
                        place(),
                        match kind {
                            Some(_) => "but the peak is short",
                            None => "whether the peak lasts is not declared",
                        },
                    )
                    .help("review it: a short spike may do with less; say `memory_peak: sustained` or `spike`"),
            ),
        }
    }

    fn smp(&mut self, cpus: Option<u32>, constants: &Constants) {
        let Some((cpus, limit)) = cpus.zip(constants.vm_cpus.as_ref()) else { return };
        let name = &self.machine.name.value;
        let message = format!("`{name}` has {cpus} processors, a virtual machine there has {} at most", limit.value);
        let span = self.machine.target.cpus.as_ref().map_or(&self.machine.name.span, |cpus| &cpus.span).clone();
        match smp_fit(cpus, Some(limit.value), self.machine.workload.role) {
            SmpFit::Fits => {}
            SmpFit::TestOnly => self.findings.push(
                Diagnostic::warning("assess.processors", message).at(span, "good enough for test and training only"),
            ),
            SmpFit::Disqualified => self.findings.push(
                Diagnostic::error("assess.processors", message)
                    .at(span, "not for production")
                    .help("choose a host whose provider gives more, or say `workload: { role: test }` if it is one"),
            ),
        }
    }

    fn cpu_demand(&mut self, used: &Utilisation) -> Option<Derived<Frequency>> {
        let cpus = self.machine.inventory.cpus?;
        let cpus = Sourced::new(u64::from(cpus), Origin::Plan { key: "inventory.cpus", span: None });
        let clock = Sourced::plan(used.frequency.as_ref()?, "inventory.utilisation.frequency");
        let sustained = Sourced::plan(used.cpu.as_ref()?, "inventory.utilisation.cpu");
        let key = "inventory.utilisation.performance";
        let performance = Sourced::plan_or(used.performance.as_ref(), key, || Sourced::assumed(Percent(10_000), key));
        self.or_report(cpu_demand(&cpus, &clock, &sustained, &performance))
    }

    /// A VM cannot do more than its processors can.
    fn vm_processors(
        &mut self,
        demand: Option<&Derived<Frequency>>,
        cpus: Option<u32>,
        core: Option<&Sourced<Frequency>>,
    ) {
        let (Some(demand), Some(cpus), Some(core)) = (demand, cpus, core) else { return };
        let most = u128::from(cpus) * u128::from(core.value.0);
        if u128::from(demand.value.0) > most {
            let name = &self.machine.name.value;
            let message = format!("`{name}` needs {}, more than {cpus} x {} give", demand.value, core.value);
            let span = self.machine.target.cpus.as_ref().map_or(&self.machine.name.span, |cpus| &cpus.span).clone();
            self.findings.push(
                Diagnostic::warning("assess.processors", message)
                    .at(span, "too few processors for its highest sustained use")
                    .help("raise `target.cpus`"),
            );
        }
    }

    fn network(&mut self, used: &Utilisation) -> Option<Derived<BitRate>> {
        if used.network.is_empty() {
            return None;
        }
        let adapters: Vec<_> = over(used, NetworkPath::Shared)
            .map(|nic| {
                let speed = Sourced::plan(&nic.speed, "inventory.utilisation.network[].speed");
                let peak = Sourced::plan(&nic.peak, "inventory.utilisation.network[].peak");
                (Sourced::new(BitRate::from(speed.value), speed.origin), peak)
            })
            .collect();
        self.or_report(network_load(&adapters))
    }

    fn storage(
        &mut self,
        used: &Utilisation,
        memory: Option<&Sourced<ByteCount>>,
        constants: &Constants,
    ) -> Option<Derived<ByteCount>> {
        let disks = Sourced::plan(used.disk.size.as_ref()?, "inventory.utilisation.disk.size");
        let snapshots = Sourced::new(
            u64::from(used.disk.snapshots),
            Origin::Plan { key: "inventory.utilisation.disk.snapshots", span: None },
        );
        if let Some(bytes) = used.disk.used.as_ref().filter(|bytes| bytes.value > disks.value) {
            let message = format!("`{}` uses {} of disks of {}", self.machine.name.value, bytes.value, disks.value);
            self.findings.push(
                Diagnostic::warning("assess.disk", message)
                    .at(bytes.span.clone(), "more than there is")
                    .help("correct one of the two: `size` is what the machine sees, `used` what its file systems hold"),
            );
        }
        self.or_report(storage_need(&disks, memory?, &snapshots, &constants.storage_headroom))
    }
}
