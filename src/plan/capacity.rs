//! What hosts have and machines use: numbers for sizing and placement. Whatever is not declared is `None`; nothing
//! is guessed here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Spanned;
use crate::units::{ByteCount, ByteRate, Frequency, Percent};

/// What a source uses, as measured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Utilisation {
    /// How long it was observed.
    pub observed: Option<Spanned<Duration>>,
    /// How its load repeats.
    pub load: Option<LoadPattern>,
    /// Peak memory of its workload.
    pub memory: Option<Spanned<ByteCount>>,
    /// Whether that peak lasts.
    pub memory_peak: Option<PeakKind>,
    /// Clock rate of one of its processors.
    pub frequency: Option<Spanned<Frequency>>,
    /// Highest sustained use, all processors together being 100 %.
    pub cpu: Option<Spanned<Percent>>,
    /// How much of the target's clock does the work of the source's; 100 % if the processors are alike.
    pub performance: Option<Spanned<Percent>>,
    /// Its network adapters' load.
    pub network: Vec<NetworkUse>,
    /// Its disks.
    pub disk: DiskUse,
}

/// How a load repeats; it tells how long to observe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadPattern {
    /// About the same every day.
    #[default]
    Constant,
    /// With peaks every month or two.
    Periodic,
    /// With seasons.
    Seasonal,
}

/// Whether a peak lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PeakKind {
    /// It lasts.
    Sustained,
    /// It is short.
    Spike,
}

/// One adapter's load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkUse {
    /// Its speed.
    pub speed: Spanned<ByteRate>,
    /// Its peak use.
    pub peak: Spanned<Percent>,
    /// Where the load will go.
    pub over: NetworkPath,
}

/// Where an adapter's load goes in the virtual machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkPath {
    /// Over an adapter that virtual machines share.
    #[default]
    Shared,
    /// Over an adapter of its own.
    Dedicated,
    /// Over an isolated network between the host and its virtual machines.
    Internal,
}

/// A machine's disks, all together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Bytes the machine sees.
    pub size: Option<Spanned<ByteCount>>,
    /// Bytes in use.
    pub used: Option<Spanned<ByteCount>>,
    /// Snapshots, undo or differencing disks to be kept of every disk.
    pub snapshots: u32,
    /// How busy they are.
    pub io: DiskLoad,
}

/// How busy disks are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskLoad {
    /// Not busy.
    #[default]
    Light,
    /// Busy: a database, a mail store.
    Heavy,
}

/// What a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostCapacity {
    /// Installed memory.
    pub memory: Option<Spanned<ByteCount>>,
    /// Memory of its own operating system.
    pub system_memory: Option<Spanned<ByteCount>>,
    /// Processor cores.
    pub cores: Option<Spanned<u32>>,
    /// Clock rate of a core.
    pub frequency: Option<Spanned<Frequency>>,
    /// Space for disks of virtual machines.
    pub storage: Option<Spanned<ByteCount>>,
    /// Network adapters; `None` if nothing is said of them.
    pub nics: Option<Vec<HostNic>>,
    /// What virtual machines that are no part of the plan take.
    pub in_use: InUse,
}

/// A host's network adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostNic {
    /// Its speed.
    pub speed: Spanned<ByteRate>,
    /// Who uses it.
    pub role: NicRole,
}

/// Who uses a host's network adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NicRole {
    /// Virtual machines.
    #[default]
    Vms,
    /// The host alone.
    Host,
}

/// What virtual machines that are no part of the plan take of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InUse {
    /// Memory, overhead included.
    pub memory: Option<Spanned<ByteCount>>,
    /// Processor reservations.
    pub frequency: Option<Spanned<Frequency>>,
    /// Peak network load.
    pub network: Option<Spanned<ByteRate>>,
    /// Disk space.
    pub storage: Option<Spanned<ByteCount>>,
}

/// How virtual machines are sized on a host; what is left out is the provider's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSizing {
    /// Memory that one virtual machine costs beyond its own.
    pub vm_overhead: Option<Spanned<ByteCount>>,
    /// Most memory of one virtual machine.
    pub vm_memory_limit: Option<Spanned<ByteCount>>,
    /// Most processors of one virtual machine.
    pub vm_cpus: Option<Spanned<u32>>,
    /// Memory kept beyond the sum.
    pub memory_headroom: Option<Spanned<Percent>>,
    /// Share of the processors that is kept, one core at most.
    pub cpu_reserve: Option<Spanned<Percent>>,
    /// Share of an adapter's speed that is really to be had.
    pub network_efficiency: Option<Spanned<Percent>>,
    /// Disk space kept beyond the sum.
    pub storage_headroom: Option<Spanned<Percent>>,
}

/// Which machines one shares a host with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachinePlacement {
    /// Machines of one group share a host.
    pub together: Option<Spanned<String>>,
    /// No two machines of one group share a host.
    pub apart: Option<Spanned<String>>,
}
