//! How a result came about.

use super::Amount;
use crate::diagnostic::{Span, Spanned};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Written in a plan file.
    Plan {
        /// The key, such as `inventory.utilisation.memory`.
        key: &'static str,
        /// Its place, where the plan keeps it.
        span: Option<Span>,
    },
    /// Declared by the provider of that name.
    Provider(String),
    /// Nobody said otherwise; the plan's key that would.
    Assumed {
        /// The key, such as `hosts.*.sizing.memory_headroom`.
        key: &'static str,
    },
    /// The result of another formula.
    Result(Formula),
}

/// A value with where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

impl<T> Sourced<T> {
    /// A value and its origin.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// A value that nobody declared.
    pub fn assumed(value: T, key: &'static str) -> Self {
        Self { value, origin: Origin::Assumed { key } }
    }
}

impl<T: Clone> Sourced<T> {
    /// A value of the plan with its place.
    pub fn plan(written: &Spanned<T>, key: &'static str) -> Self {
        let origin = Origin::Plan { key, span: Some(written.span.clone()) };
        Self { value: written.value.clone(), origin }
    }

    /// The value of the plan, or else another one.
    pub fn plan_or(written: Option<&Spanned<T>>, key: &'static str, otherwise: impl FnOnce() -> Self) -> Self {
        written.map_or_else(otherwise, |written| Self::plan(written, key))
    }
}

impl<T: Copy + Into<Amount>> Sourced<T> {
    /// This value as the input of a formula.
    pub fn input(&self, name: &'static str) -> Input {
        Input { name, amount: self.value.into(), origin: self.origin.clone() }
    }
}

/// The formulas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Formula {
    /// What a VM's memory costs on the host.
    VmMemoryCost,
    /// Memory of a host that VMs can have.
    MemoryForVms,
    /// Memory that a host should have.
    HostMemory,
    /// Processor work of a source.
    CpuDemand,
    /// Processor work that VMs of a host can have.
    CpuCapacity,
    /// The share of one core that is reserved for a VM.
    CpuReservation,
    /// That share in clock rate.
    ReservedFrequency,
    /// Network load of a machine.
    NetworkLoad,
    /// Network load that a host can carry.
    NetworkCapacity,
    /// What is left of that.
    NetworkRemaining,
    /// Disk space that a VM needs.
    StorageNeed,
    /// Several results added up.
    Sum,
}

impl Formula {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 12] = [
        Self::VmMemoryCost,
        Self::HostMemory,
        Self::MemoryForVms,
        Self::CpuDemand,
        Self::CpuCapacity,
        Self::CpuReservation,
        Self::ReservedFrequency,
        Self::NetworkLoad,
        Self::NetworkCapacity,
        Self::NetworkRemaining,
        Self::StorageNeed,
        Self::Sum,
    ];

    /// A stable name.
    pub fn id(self) -> &'static str {
        match self {
            Self::VmMemoryCost => "vm-memory-cost",
            Self::MemoryForVms => "memory-for-vms",
            Self::HostMemory => "host-memory",
            Self::CpuDemand => "cpu-demand",
            Self::CpuCapacity => "cpu-capacity",
            Self::CpuReservation => "cpu-reservation",
            Self::ReservedFrequency => "reserved-frequency",
            Self::NetworkLoad => "network-load",
            Self::NetworkCapacity => "network-capacity",
            Self::NetworkRemaining => "network-remaining",
            Self::StorageNeed => "storage-need",
            Self::Sum => "sum",
        }
    }

    /// The formula for people.
    pub fn text(self) -> &'static str {
        match self {
            Self::VmMemoryCost => "memory of the virtual machine (its workload's peak) + overhead per virtual machine",
            Self::MemoryForVms => "installed memory - memory of the host's own system",
            Self::HostMemory => {
                "(host's own system + virtual machines) x (100% + headroom), rounded up to an even number of GiB"
            }
            Self::CpuDemand => "processors x clock rate x highest sustained use x performance factor",
            Self::CpuCapacity => "cores x clock rate - the lesser of (cores x clock rate x reserve) and one core",
            Self::CpuReservation => "processor demand / clock rate of one host core, rounded up to a whole percent",
            Self::ReservedFrequency => "reserved share x clock rate of one host core",
            Self::NetworkLoad => "sum of (adapter speed x peak use)",
            Self::NetworkCapacity => "sum of adapter speeds x efficiency",
            Self::NetworkRemaining => "network capacity - network load",
            Self::StorageNeed => "(disk size + saved state + snapshots x disk size) x (100% + headroom)",
            Self::Sum => "sum over the virtual machines",
        }
    }
}

/// What went into a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name in the formula.
    pub name: &'static str,
    /// Its value.
    pub amount: Amount,
    /// Where that comes from.
    pub origin: Origin,
}

/// How a result came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derivation {
    /// The formula.
    pub formula: Formula,
    /// What went in.
    pub inputs: Vec<Input>,
    /// The value before it was rounded to a coarser step, if it was.
    pub before_rounding: Option<Amount>,
    /// The result.
    pub value: Amount,
}

/// A result with how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived<T> {
    /// The result.
    pub value: T,
    /// How it came about.
    pub how: Derivation,
}

impl<T: Copy + Into<Amount>> Derived<T> {
    /// A result and what went into it.
    pub fn new(formula: Formula, value: T, inputs: Vec<Input>) -> Self {
        Self { value, how: Derivation { formula, inputs, before_rounding: None, value: value.into() } }
    }

    /// Notes the value before rounding.
    pub fn rounded_from(mut self, before: impl Into<Amount>) -> Self {
        self.how.before_rounding = Some(before.into());
        self
    }

    /// The result as a value for the next formula.
    pub fn sourced(&self) -> Sourced<T> {
        Sourced { value: self.value, origin: Origin::Result(self.how.formula) }
    }
}

/// Why a formula has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizingError {
    /// The result does not fit 64 bits.
    #[error("{}: the result is too large", formula.id())]
    TooLarge {
        /// The formula.
        formula: Formula,
    },
    /// Something is divided by nothing.
    #[error("{}: the clock rate of a core is zero", formula.id())]
    ZeroClock {
        /// The formula.
        formula: Formula,
    },
}

/// The result as 64 bits, or the formula's error.
pub(super) fn narrow(formula: Formula, value: u128) -> Result<u64, SizingError> {
    u64::try_from(value).map_err(|_| SizingError::TooLarge { formula })
}

/// Adds up exactly.
pub(super) fn add_up(formula: Formula, values: impl IntoIterator<Item = u64>) -> Result<u64, SizingError> {
    narrow(formula, values.into_iter().map(u128::from).sum())
}

/// One whole in hundredths of a percent.
pub(super) const WHOLE: u128 = 10_000;
