//! How big: what each virtual machine needs and what each host has left, by the classic formulas.
//!
//! ```text
//! Plan --size_machine--> MachineSizing --assess_host--> HostAssessment   (every VM of the host, each time anew)
//! ```
//!
//! Arithmetic is exact, in whole bytes, hertz and bits per second; where a division leaves a rest, needs are rounded
//! up and capacities down, so that no rounding makes something fit. An amount that does not fit 64 bits is an error.
//! Each result carries the formula, the inputs with their source and the value ([`Derivation`]). The numbers that
//! depend on a hypervisor are parameters ([`Constants`]), never code. What is not declared is not guessed: the result
//! is absent, and so is every rule that needs it.

mod amount;
mod constants;
mod derivation;
mod fleet;
mod host;
mod machine;
mod memory;
mod network;
mod processor;
mod storage;
mod window;

pub use amount::{Amount, BitRate, exact_bytes};
pub use constants::{Constants, ProviderConstants};
pub use derivation::{Derivation, Derived, Formula, Input, Origin, SizingError, Sourced};
pub use fleet::{Fleet, assess_plan};
pub use host::{Gauge, HostAssessment, Reassessment, assess_host, reassess_host};
pub use machine::{MachineSizing, size_machine};
pub use memory::{MemoryFit, host_memory, memory_fit, memory_for_vms, unable_to_start, vm_memory_cost};
pub use network::{Adapters, adapters, network_capacity, network_load, network_remaining};
pub use processor::{
    CpuSettings, SmpFit, cpu_capacity, cpu_demand, cpu_settings, reserved_frequency, smp_fit, total_frequency,
};
pub use storage::{Space, StorageAdvice, space, storage_advice, storage_need};
pub use window::{Window, observation_window};
