//! Memory: what a virtual machine costs, whether it may be that big, what the host should have, who can start.

use super::derivation::{WHOLE, narrow};
use super::{Derived, Formula, SizingError, Sourced};
use crate::plan::PeakKind;
use crate::units::{ByteCount, Percent};

/// Hosts are bought with an even number of GiB.
const HOST_STEP: u128 = 2 << 30;

/// What a VM costs on its host: the peak memory of its workload, which is also its allocation, and the overhead.
pub fn vm_memory_cost(
    peak: &Sourced<ByteCount>,
    overhead: &Sourced<ByteCount>,
) -> Result<Derived<ByteCount>, SizingError> {
    let cost = narrow(Formula::VmMemoryCost, u128::from(peak.value.0) + u128::from(overhead.value.0))?;
    let inputs = vec![peak.input("memory"), overhead.input("overhead per virtual machine")];
    Ok(Derived::new(Formula::VmMemoryCost, ByteCount(cost), inputs))
}

/// Whether a VM may have the memory of its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryFit {
    /// It may.
    Fits,
    /// Above the limit; a short spike may be served from the page file. A person decides.
    Review,
    /// Above the limit for long: not a candidate.
    Disqualified,
}

/// Compares a peak with the provider's limit per VM; `kind` tells whether the peak lasts, if that is known.
pub fn memory_fit(peak: ByteCount, limit: Option<ByteCount>, kind: Option<PeakKind>) -> MemoryFit {
    match (limit, kind) {
        (None, _) => MemoryFit::Fits,
        (Some(limit), _) if peak <= limit => MemoryFit::Fits,
        (Some(_), Some(PeakKind::Sustained)) => MemoryFit::Disqualified,
        (Some(_), Some(PeakKind::Spike) | None) => MemoryFit::Review,
    }
}

/// The memory a host should have for its own system and all its VMs.
pub fn host_memory(
    system: &Sourced<ByteCount>,
    vms: &Sourced<ByteCount>,
    headroom: &Sourced<Percent>,
) -> Result<Derived<ByteCount>, SizingError> {
    let formula = Formula::HostMemory;
    let sum = u128::from(system.value.0) + u128::from(vms.value.0);
    let exact = (sum * (WHOLE + u128::from(headroom.value.0))).div_ceil(WHOLE);
    let rounded = narrow(formula, exact.div_ceil(HOST_STEP) * HOST_STEP)?;
    let inputs = vec![system.input("host's own system"), vms.input("virtual machines"), headroom.input("headroom")];
    Ok(Derived::new(formula, ByteCount(rounded), inputs).rounded_from(ByteCount(narrow(formula, exact)?)))
}

/// The memory that VMs of a host can really have: what cannot be had there cannot start. Nothing, if the host's own
/// system takes all.
pub fn memory_for_vms(installed: &Sourced<ByteCount>, system: &Sourced<ByteCount>) -> Derived<ByteCount> {
    let left = installed.value.0.saturating_sub(system.value.0);
    let inputs = vec![installed.input("installed memory"), system.input("host's own system")];
    Derived::new(Formula::MemoryForVms, ByteCount(left), inputs)
}

/// Which VMs cannot start, by their place in `costs`, and what is left for each when its turn comes: they start one
/// after the other, each that fits takes its memory.
pub fn unable_to_start(available: ByteCount, costs: impl IntoIterator<Item = ByteCount>) -> Vec<(usize, ByteCount)> {
    let mut left = available.0;
    let mut unable = Vec::new();
    for (place, cost) in costs.into_iter().enumerate() {
        match left.checked_sub(cost.0) {
            Some(rest) => left = rest,
            None => unable.push((place, ByteCount(left))),
        }
    }
    unable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assess::sizing::Amount;
    use proptest::prelude::*;

    const GIB: u64 = 1 << 30;
    const MIB: u64 = 1 << 20;

    fn given<T>(value: T) -> Sourced<T> {
        Sourced::assumed(value, "test")
    }

    #[test]
    fn a_vm_costs_its_peak_and_the_overhead() {
        let cost = vm_memory_cost(&given(ByteCount(3 * GIB)), &given(ByteCount(32 * MIB))).unwrap();
        assert_eq!(cost.value, ByteCount(3104 * MIB));
        assert_eq!(cost.how.inputs.len(), 2);
    }

    /// (1 GB + 3 GB + 32 MB) x 1.25 = 5160 MB, so 6 GB.
    #[test]
    fn worked_example_host_memory() {
        let vms = given(ByteCount(3 * GIB + 32 * MIB));
        let host = host_memory(&given(ByteCount(GIB)), &vms, &given(Percent(2500))).unwrap();
        assert_eq!(host.how.before_rounding, Some(Amount::Bytes(ByteCount(5160 * MIB))));
        assert_eq!(host.value, ByteCount(6 * GIB));
    }

    #[test]
    fn an_even_number_of_gib_is_not_rounded_further() {
        let host = host_memory(&given(ByteCount(2 * GIB)), &given(ByteCount(6 * GIB)), &given(Percent(0))).unwrap();
        assert_eq!(host.value, ByteCount(8 * GIB));
    }

    /// 3.6 GB is the limit of Virtual Server 2005.
    #[test]
    fn above_the_limit_a_spike_is_reviewed_and_a_lasting_peak_is_out() {
        let limit = Some(ByteCount(3600 * MIB));
        assert_eq!(memory_fit(ByteCount(3600 * MIB), limit, Some(PeakKind::Sustained)), MemoryFit::Fits);
        assert_eq!(memory_fit(ByteCount(3601 * MIB), limit, Some(PeakKind::Sustained)), MemoryFit::Disqualified);
        assert_eq!(memory_fit(ByteCount(3601 * MIB), limit, Some(PeakKind::Spike)), MemoryFit::Review);
        assert_eq!(memory_fit(ByteCount(3601 * MIB), limit, None), MemoryFit::Review);
        assert_eq!(memory_fit(ByteCount(u64::MAX), None, Some(PeakKind::Sustained)), MemoryFit::Fits);
    }

    #[test]
    fn who_does_not_fit_is_named_and_a_smaller_one_still_starts() {
        let costs = [3, 4, 2].map(ByteCount);
        assert_eq!(unable_to_start(ByteCount(5), costs), [(1, ByteCount(2))]);
        assert_eq!(unable_to_start(ByteCount(9), costs), []);
    }

    proptest! {
        #[test]
        fn never_panics_and_grows_with_each_input(
            a: u64, b: u64, more in 0u64..1 << 40, percent in 0u32..1_000_000,
        ) {
            let cost = |a, b| vm_memory_cost(&given(ByteCount(a)), &given(ByteCount(b))).map(|d| d.value);
            let host = |a, b, p| host_memory(&given(ByteCount(a)), &given(ByteCount(b)), &given(Percent(p)))
                .map(|d| d.value);
            for (low, high) in [
                (cost(a, b), cost(a.saturating_add(more), b)),
                (cost(a, b), cost(a, b.saturating_add(more))),
                (host(a, b, percent), host(a.saturating_add(more), b, percent)),
                (host(a, b, percent), host(a, b.saturating_add(more), percent)),
                (host(a, b, percent), host(a, b, percent + 1)),
            ] {
                match (low, high) {
                    (Ok(low), Ok(high)) => prop_assert!(low <= high),
                    (Err(_), Ok(_)) => prop_assert!(false, "more cannot fit where less does not"),
                    (_, Err(_)) => {}
                }
            }
            if let Ok(value) = host(a, b, percent) {
                prop_assert_eq!(value.0 % (2 * GIB), 0);
                prop_assert!(u128::from(value.0) >= u128::from(a) + u128::from(b));
            }
        }
    }
}
