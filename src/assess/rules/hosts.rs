//! What rules see of hosts, providers, the fleet and the plan.

use std::collections::BTreeMap;

use super::check::Known;
use super::values::{Fields, Value, text, texts, whole};
use crate::plan::{Allocation, Encryption, EndState, Host, HostName, Machine, NicRole, Plan};
use crate::provider::{Catalog, Provider};

/// A host with what all of its machines share.
pub(super) struct HostValues<'a> {
    pub provider: &'a Provider,
    pub host: Value,
    pub provider_values: Value,
    pub longest: usize,
}

/// Lists that rules of every provider read.
const LISTS: [&str; 4] = ["operating_systems", "applications", "hal", "file_systems"];

/// Every host whose provider exists.
pub(super) fn hosts<'a>(
    plan: &'a Plan,
    known: &[Known<'_>],
    catalog: &'a Catalog,
) -> BTreeMap<&'a HostName, HostValues<'a>> {
    let mut sums: BTreeMap<&HostName, Sums> = BTreeMap::new();
    for (machine, known) in plan.machines.iter().zip(known) {
        let name = &machine.target.host.value;
        if let Some(provider) = plan.hosts.get(name).and_then(|host| catalog.get(&host.provider.value)) {
            sums.entry(name).or_default().add(machine, known, provider);
        }
    }
    let values = plan.hosts.iter().filter_map(|(name, host)| {
        let provider = catalog.get(&host.provider.value)?;
        let settings = provider.host_settings(&host.settings);
        let (host, longest) = host_values(host, sums.get(name)?);
        let provider_values = provider_values(provider, &provider.network_names(&settings));
        Some((name, HostValues { provider, host, provider_values, longest }))
    });
    values.collect()
}

/// What the machines of a host need together; `None` once one of them is unknown.
struct Sums {
    memory: Option<u64>,
    overhead: u64,
    running: u64,
    size: Option<u64>,
    used: Option<u64>,
    fixed: Option<u64>,
    machines: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { memory: Some(0), overhead: 0, running: 0, size: Some(0), used: Some(0), fixed: Some(0), machines: 0 }
    }
}

impl Sums {
    fn add(&mut self, machine: &Machine, known: &Known<'_>, provider: &Provider) {
        let sum = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        self.machines += 1;
        if machine.post_deploy.action != EndState::Stop {
            self.memory = sum(self.memory, known.memory.map(|memory| memory.0));
            self.overhead = self.overhead.saturating_add(provider.manifest.constants.memory_overhead.0.0);
            self.running += 1;
        }
        let size = known.disks.map(|disks| disks.iter().map(|disk| disk.size.0).fold(0, u64::saturating_add));
        let used = known.disks.map(|disks| disks.iter().map(|disk| disk.allocated.0).fold(0, u64::saturating_add));
        let fixed = match machine.target.allocation {
            Allocation::Fixed => size,
            Allocation::Dynamic => Some(0),
        };
        self.size = sum(self.size, size);
        self.used = sum(self.used, used);
        self.fixed = sum(self.fixed, fixed);
    }
}

fn host_values(host: &Host, sums: &Sums) -> (Value, usize) {
    let mut values = Fields::default();
    values
        .text("name", &host.name.value.0)
        .text("provider", &host.provider.value)
        .whole("machines", sums.machines)
        .whole("running", sums.running)
        .whole("need_overhead", sums.overhead)
        .maybe("memory", host.memory.map(|memory| memory.0))
        .maybe("need_memory", sums.memory)
        .maybe("disk_size", sums.size)
        .maybe("disk_used", sums.used)
        .maybe("disk_fixed", sums.fixed)
        .maybe("cores", host.capacity.cores.as_ref().map(|cores| u64::from(cores.value)))
        .facts(&host.facts);
    if let (Some(storage), false) = (&host.capacity.storage, values.has("free_space")) {
        let taken = host.capacity.in_use.storage.as_ref().map_or(0, |taken| taken.value.0);
        values.whole("free_space", storage.value.0.saturating_sub(taken));
    }
    if let Some(nics) = &host.capacity.nics {
        let role = |role: NicRole| match role {
            NicRole::Vms => "vms",
            NicRole::Host => "host",
        };
        let one = |nic: &crate::plan::HostNic| {
            let mut values = Fields::default();
            values.text("role", role(nic.role)).whole("speed", nic.speed.value.0);
            values.finish()
        };
        values.list("nics", nics.iter().map(one).collect());
    }
    let longest = values.longest();
    (values.finish(), longest)
}

fn provider_values(provider: &Provider, networks: &[String]) -> Value {
    let manifest = &provider.manifest;
    let limits = &manifest.limits;
    let word = |value: &dyn erased::Word| value.word();
    let mut values = Fields::default();
    values
        .whole("memory_min", limits.memory.min.0.0)
        .whole("memory_max", limits.memory.max.0.0)
        .whole("cpus_min", u64::from(limits.cpus.min))
        .whole("cpus_max", u64::from(limits.cpus.max))
        .whole("disks", limits.disks.max as u64)
        .text("disk_bus", &limits.disks.bus)
        .maybe("disk_size", limits.disk_size.map(|size| size.0.0))
        .whole("nics", limits.nics as u64)
        .list("formats", limits.formats.iter().map(|format| text(&word(format))).collect())
        .list("firmware", limits.firmware.iter().map(|firmware| text(&word(firmware))).collect())
        .whole("name_length", limits.vm_name.max_length as u64)
        .text("name_forbidden", &limits.vm_name.forbidden);
    let limits = values.finish();
    let mut lists = Fields::default();
    for name in LISTS.iter().filter(|name| !manifest.lists.contains_key(**name)) {
        lists.list(name, Vec::new());
    }
    for (name, list) in &manifest.lists {
        lists.put_named(name, texts(list.iter().map(String::as_str)));
    }
    let mut values = Fields::default();
    values
        .text("name", &manifest.name)
        .put("limits", limits)
        .put("lists", lists.finish())
        .put("networks", texts(networks.iter().map(String::as_str)))
        .whole("memory_overhead", manifest.constants.memory_overhead.0.0)
        .whole("agent_memory", manifest.constants.agent_memory.0.0)
        .flag("boots_source", manifest.boots_source);
    if let Some(why) = &manifest.render_only {
        values.text("render_only", why);
    }
    values.finish()
}

/// Words that plans and rules share.
pub(super) mod erased {
    use serde::Serialize;

    /// A closed enum's word, as plans write it.
    pub trait Word {
        /// The word.
        fn word(&self) -> String;
    }

    impl<T: Serialize> Word for T {
        fn word(&self) -> String {
            let value = serde_json::to_value(self).unwrap_or_default();
            value.as_str().unwrap_or_default().to_owned()
        }
    }
}

/// What several machines share: who has which name, MAC address and address.
pub(super) fn fleet(plan: &Plan, catalog: &Catalog) -> Value {
    let mut macs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut addresses: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for machine in &plan.machines {
        let name = &*machine.name.value.0;
        names.entry(vm_key(plan, catalog, machine)).or_default().push(name);
        let facts = machine.inventory.facts.get("nics").and_then(serde_json::Value::as_array);
        let facts = || facts.into_iter().flatten();
        let of_facts = facts().filter_map(|nic| nic.get("mac")?.as_str());
        let mut own: Vec<&str> = machine.inventory.nics.iter().map(|nic| nic.mac.as_str()).chain(of_facts).collect();
        own.sort_unstable();
        own.dedup();
        for mac in own {
            macs.entry(mac).or_default().push(name);
        }
        for address in facts().filter_map(|nic| nic.get("addresses")?.as_array()).flatten().filter_map(|a| a.as_str()) {
            let users = addresses.entry(address).or_default();
            if users.last() != Some(&name) {
                users.push(name);
            }
        }
    }
    let map = |entries: &mut dyn Iterator<Item = (&str, &Vec<&str>)>| {
        let mut values = Fields::default();
        for (key, users) in entries {
            values.put_named(key, texts(users.iter().copied()));
        }
        values.finish()
    };
    let mut values = Fields::default();
    values
        .whole("machines", plan.machines.len() as u64)
        .put("macs", map(&mut macs.iter().map(|(key, users)| (*key, users))))
        .put("vm_names", map(&mut names.iter().map(|(key, users)| (key.as_str(), users))))
        .put("addresses", map(&mut addresses.iter().map(|(key, users)| (*key, users))));
    values.finish()
}

/// What must be unique on a host.
pub(super) fn vm_key(plan: &Plan, catalog: &Catalog, machine: &Machine) -> String {
    let host = &machine.target.host.value;
    let provider = plan.hosts.get(host).and_then(|host| catalog.get(&host.provider.value));
    let key = format!("{host}/{}", machine.target.vm_name);
    match provider.is_some_and(|provider| provider.manifest.limits.vm_name.ignores_case) {
        true => key.to_lowercase(),
        false => key,
    }
}

/// What rules see of the plan.
pub(super) fn plan_values(plan: &Plan) -> Value {
    let mut values = Fields::default();
    values
        .text("name", &plan.name)
        .flag("encrypted", !matches!(plan.store.encryption, Encryption::None))
        .put("store_parallel", whole(u64::from(plan.store.parallel)));
    values.finish()
}
