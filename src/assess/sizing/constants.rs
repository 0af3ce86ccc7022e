//! The numbers that depend on a hypervisor or on taste.

use super::{Origin, Sourced};
use crate::plan::Host;
use crate::units::{ByteCount, Percent};

const OVERHEAD_KEY: &str = "hosts.*.sizing.vm_overhead";
/// What one VM costs beyond its own memory where neither plan nor provider says.
const USUAL_OVERHEAD: ByteCount = ByteCount(96 << 20);

/// What a provider declares about its virtual machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderConstants {
    /// Memory that one VM costs beyond its own.
    pub vm_overhead: Option<ByteCount>,
    /// Most memory of one VM.
    pub vm_memory_limit: Option<ByteCount>,
    /// Most processors of one VM.
    pub vm_cpus: Option<u32>,
}

/// The parameters of the formulas on one host, each with who declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constants {
    /// Memory that one VM costs beyond its own.
    pub vm_overhead: Sourced<ByteCount>,
    /// Most memory of one VM.
    pub vm_memory_limit: Option<Sourced<ByteCount>>,
    /// Most processors of one VM.
    pub vm_cpus: Option<Sourced<u32>>,
    /// Memory kept beyond the sum.
    pub memory_headroom: Sourced<Percent>,
    /// Share of the processors that is kept, one core at most.
    pub cpu_reserve: Sourced<Percent>,
    /// Share of an adapter's speed that is really to be had.
    pub network_efficiency: Sourced<Percent>,
    /// Disk space kept beyond the sum.
    pub storage_headroom: Sourced<Percent>,
}

impl Constants {
    /// What holds on a host: its own `sizing`, else the provider's constants, else the classic shares.
    pub fn of(host: &Host, provider: &ProviderConstants) -> Self {
        let sizing = &host.sizing;
        let provided = || Origin::Provider(host.provider.value.clone());
        let share = |written, key, percent| Sourced::plan_or(written, key, || Sourced::assumed(Percent(percent), key));
        Self {
            vm_overhead: Sourced::plan_or(sizing.vm_overhead.as_ref(), OVERHEAD_KEY, || match provider.vm_overhead {
                Some(overhead) => Sourced::new(overhead, provided()),
                None => Sourced::assumed(USUAL_OVERHEAD, OVERHEAD_KEY),
            }),
            vm_memory_limit: match &sizing.vm_memory_limit {
                Some(written) => Some(Sourced::plan(written, "hosts.*.sizing.vm_memory_limit")),
                None => provider.vm_memory_limit.map(|limit| Sourced::new(limit, provided())),
            },
            vm_cpus: match &sizing.vm_cpus {
                Some(written) => Some(Sourced::plan(written, "hosts.*.sizing.vm_cpus")),
                None => provider.vm_cpus.map(|limit| Sourced::new(limit, provided())),
            },
            memory_headroom: share(sizing.memory_headroom.as_ref(), "hosts.*.sizing.memory_headroom", 2_500),
            cpu_reserve: share(sizing.cpu_reserve.as_ref(), "hosts.*.sizing.cpu_reserve", 2_500),
            network_efficiency: share(sizing.network_efficiency.as_ref(), "hosts.*.sizing.network_efficiency", 7_500),
            storage_headroom: share(sizing.storage_headroom.as_ref(), "hosts.*.sizing.storage_headroom", 2_500),
        }
    }
}
