//! `capacity:` and `sizing:` of hosts, `utilisation:` and `placement:` of machines.

use super::access::At;
use crate::diagnostic::Spanned;
use crate::plan::capacity::{
    DiskUse, HostCapacity, HostNic, HostSizing, InUse, MachinePlacement, NetworkUse, Utilisation,
};

/// A key's value with its place.
fn value<'a, T>(at: Option<At<'a>>, key: &str, read: impl FnOnce(At<'a>) -> Option<T>) -> Option<Spanned<T>> {
    at?.get(key)?.spanned(read)
}

/// What a machine uses.
pub(super) fn utilisation(at: Option<At<'_>>) -> Utilisation {
    let choice = |key: &str| at.and_then(|at| at.get(key));
    let network = choice("network").into_iter().flat_map(At::items).filter_map(|nic| {
        Some(NetworkUse {
            speed: nic.get("speed")?.spanned(At::rate)?,
            peak: nic.get("peak")?.spanned(At::percent)?,
            over: nic.get("over").and_then(At::choice).unwrap_or_default(),
        })
    });
    let disk = choice("disk");
    Utilisation {
        observed: value(at, "observed", At::duration),
        load: choice("load").and_then(At::choice),
        memory: value(at, "memory", At::size),
        memory_peak: choice("memory_peak").and_then(At::choice),
        frequency: value(at, "frequency", At::frequency),
        cpu: value(at, "cpu", At::percent),
        performance: value(at, "performance", At::percent),
        network: network.collect(),
        disk: DiskUse {
            size: value(disk, "size", At::size),
            used: value(disk, "used", At::size),
            snapshots: disk.and_then(|disk| disk.get("snapshots")).and_then(At::whole).unwrap_or(0),
            io: disk.and_then(|disk| disk.get("io")).and_then(At::choice).unwrap_or_default(),
        },
    }
}

/// What a host has.
pub(super) fn capacity(at: Option<At<'_>>) -> HostCapacity {
    let nics = at.and_then(|at| at.get("nics")).map(|nics| {
        let nics = nics.items().filter_map(|nic| {
            let role = nic.get("role").and_then(At::choice).unwrap_or_default();
            Some(HostNic { speed: nic.get("speed")?.spanned(At::rate)?, role })
        });
        nics.collect()
    });
    let in_use = at.and_then(|at| at.get("in_use"));
    HostCapacity {
        memory: value(at, "memory", At::size),
        system_memory: value(at, "system_memory", At::size),
        cores: value(at, "cores", At::whole),
        frequency: value(at, "frequency", At::frequency),
        storage: value(at, "storage", At::size),
        nics,
        in_use: InUse {
            memory: value(in_use, "memory", At::size),
            frequency: value(in_use, "frequency", At::frequency),
            network: value(in_use, "network", At::rate),
            storage: value(in_use, "storage", At::size),
        },
    }
}

/// How virtual machines are sized on a host.
pub(super) fn sizing(at: Option<At<'_>>) -> HostSizing {
    HostSizing {
        vm_overhead: value(at, "vm_overhead", At::size),
        vm_memory_limit: value(at, "vm_memory_limit", At::size),
        vm_cpus: value(at, "vm_cpus", At::whole),
        memory_headroom: value(at, "memory_headroom", At::percent),
        cpu_reserve: value(at, "cpu_reserve", At::percent),
        network_efficiency: value(at, "network_efficiency", At::percent),
        storage_headroom: value(at, "storage_headroom", At::percent),
    }
}

/// Which machines one shares a host with.
pub(super) fn placement(at: Option<At<'_>>) -> MachinePlacement {
    let text = |at: At<'_>| at.text().map(str::to_owned);
    MachinePlacement { together: value(at, "together", text), apart: value(at, "apart", text) }
}
