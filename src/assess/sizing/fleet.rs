//! A whole plan: every machine sized, every host assessed with what it is to run.

use std::collections::BTreeMap;

use super::{Constants, MachineSizing, ProviderConstants, Reassessment, reassess_host, size_machine};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::plan::{HostName, Plan};

/// A plan, assessed.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// Its machines in plan order.
    pub machines: Vec<MachineSizing>,
    /// Its hosts by name, without and with the plan's machines.
    pub hosts: Vec<Reassessment>,
    /// The parameters that held on each host.
    pub constants: BTreeMap<HostName, Constants>,
    /// What concerns the plan as a whole.
    pub findings: Diagnostics,
}

impl Fleet {
    /// Everything that was found: of the plan, its machines and its hosts, sorted by place.
    pub fn all_findings(&self) -> Diagnostics {
        let mut all = self.findings.clone();
        all.extend(self.machines.iter().flat_map(|machine| machine.findings.iter().cloned()));
        all.extend(self.hosts.iter().flat_map(|host| host.after.findings.iter().cloned()));
        all.finish()
    }
}

/// Sizes every machine and runs every rule of every host; `provider` gives a provider's constants by its name.
pub fn assess_plan(plan: &Plan, provider: impl Fn(&str) -> ProviderConstants) -> Fleet {
    let constants: BTreeMap<HostName, Constants> = plan
        .hosts
        .iter()
        .map(|(name, host)| (name.clone(), Constants::of(host, &provider(&host.provider.value))))
        .collect();
    let machines: Vec<MachineSizing> = plan
        .machines
        .iter()
        .filter_map(|machine| {
            let name = &machine.target.host.value;
            Some(size_machine(machine, plan.hosts.get(name)?, constants.get(name)?))
        })
        .collect();
    let mut by_host: BTreeMap<&HostName, Vec<&MachineSizing>> = BTreeMap::new();
    for machine in &machines {
        by_host.entry(&machine.host).or_default().push(machine);
    }
    let hosts = plan
        .hosts
        .iter()
        .map(|(name, host)| {
            let added = by_host.get(name).map(Vec::as_slice).unwrap_or_default();
            reassess_host(host, &constants[name], &[], added)
        })
        .collect();
    Fleet { findings: unmeasured(plan), machines, hosts, constants }
}

/// One piece of advice for all machines that nothing was measured of.
fn unmeasured(plan: &Plan) -> Diagnostics {
    let blank = plan.machines.iter().filter(|machine| machine.inventory.utilisation == Default::default());
    let blank: Vec<_> = blank.collect();
    let Some(first) = blank.first() else { return Diagnostics::new() };
    let message = match blank.len() {
        1 => format!("`{}` has no `inventory.utilisation`", first.name.value),
        number => format!("{number} machines have no `inventory.utilisation`"),
    };
    let diagnostic = Diagnostic::advice("assess.unmeasured", message)
        .help("declare peak memory, highest sustained processor use, network load and disk space, as measured");
    let diagnostic = blank.iter().take(3).fold(diagnostic, |diagnostic, machine| {
        diagnostic.at(machine.name.span.clone(), "sized by its declared memory alone")
    });
    diagnostic.into()
}
