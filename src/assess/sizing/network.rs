//! Network: what machines load, what a host's adapters carry, and whether the host keeps one for itself.

use super::derivation::{WHOLE, narrow};
use super::{BitRate, Derived, Formula, SizingError, Sourced};
use crate::plan::{HostNic, NicRole};
use crate::units::Percent;

/// The load of one machine over adapters that it shares; each adapter by its speed and peak use.
pub fn network_load(adapters: &[(Sourced<BitRate>, Sourced<Percent>)]) -> Result<Derived<BitRate>, SizingError> {
    let mut load = 0u128;
    let mut inputs = Vec::with_capacity(adapters.len() * 2);
    for (speed, peak) in adapters {
        load += (u128::from(speed.value.0) * u128::from(peak.value.0)).div_ceil(WHOLE);
        inputs.extend([speed.input("adapter speed"), peak.input("peak use")]);
    }
    let load = narrow(Formula::NetworkLoad, load)?;
    Ok(Derived::new(Formula::NetworkLoad, BitRate(load), inputs))
}

/// What the shared adapters of a host carry.
pub fn network_capacity(
    speeds: &[Sourced<BitRate>],
    efficiency: &Sourced<Percent>,
) -> Result<Derived<BitRate>, SizingError> {
    let total: u128 = speeds.iter().map(|speed| u128::from(speed.value.0)).sum();
    let carried = narrow(Formula::NetworkCapacity, total * u128::from(efficiency.value.0) / WHOLE)?;
    let mut inputs: Vec<_> = speeds.iter().map(|speed| speed.input("adapter speed")).collect();
    inputs.push(efficiency.input("efficiency"));
    Ok(Derived::new(Formula::NetworkCapacity, BitRate(carried), inputs))
}

/// What is left of the capacity; `None` if the load is beyond it.
pub fn network_remaining(capacity: &Sourced<BitRate>, load: &Sourced<BitRate>) -> Option<Derived<BitRate>> {
    let left = capacity.value.0.checked_sub(load.value.0)?;
    let inputs = vec![capacity.input("network capacity"), load.input("network load")];
    Some(Derived::new(Formula::NetworkRemaining, BitRate(left), inputs))
}

/// A host's adapters, dealt out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adapters {
    /// Whether one is kept for the host alone.
    pub host_has_its_own: bool,
    /// Those that machines share, fastest last.
    pub shared: Vec<Sourced<BitRate>>,
    /// Machines with an adapter of their own for which there is none.
    pub dedicated_missing: u64,
}

/// Deals out a host's adapters: those of the host itself are left alone, each dedicated load takes one of the
/// slowest that carries it, the rest is shared. `dedicated` are the speeds asked for.
pub fn adapters(nics: &[HostNic], dedicated: &[BitRate]) -> Adapters {
    let mut shared: Vec<Sourced<BitRate>> = nics
        .iter()
        .filter(|nic| nic.role == NicRole::Vms)
        .map(|nic| {
            let speed = Sourced::plan(&nic.speed, "hosts.*.capacity.nics[].speed");
            Sourced::new(BitRate::from(speed.value), speed.origin)
        })
        .collect();
    shared.sort_by_key(|speed| speed.value);
    let mut wanted = dedicated.to_vec();
    // The fastest first: it has the fewest adapters to choose from.
    wanted.sort_unstable_by(|a, b| b.cmp(a));
    let mut dedicated_missing = 0;
    for speed in wanted {
        let at = shared.partition_point(|adapter| adapter.value < speed);
        match at < shared.len() {
            true => _ = shared.remove(at),
            false => dedicated_missing += 1,
        }
    }
    Adapters { host_has_its_own: nics.iter().any(|nic| nic.role == NicRole::Host), shared, dedicated_missing }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::diagnostic::{SourceText, Span, Spanned};
    use crate::units::ByteRate;
    use proptest::prelude::*;

    fn given<T>(value: T) -> Sourced<T> {
        Sourced::assumed(value, "test")
    }

    fn nic(megabits: u64, role: NicRole) -> HostNic {
        let source = Arc::new(SourceText { path: "plan.yaml".into(), text: String::new() });
        let speed = ByteRate(megabits * 125_000);
        HostNic { speed: Spanned::new(speed, Span::new(&source, 0, 0)), role }
    }

    /// Four machines of 100 Mb/s x 0.5 load 200 Mb/s; of a gigabit adapter at 75 % are left 550 Mb/s.
    #[test]
    fn worked_example_network() {
        let adapter = (given(BitRate::megabits(100)), given(Percent(5000)));
        let one = network_load(std::slice::from_ref(&adapter)).unwrap();
        assert_eq!(one.value, BitRate::megabits(50));
        let four = network_load(&[adapter.clone(), adapter.clone(), adapter.clone(), adapter]).unwrap();
        assert_eq!(four.value, BitRate::megabits(200));
        let capacity = network_capacity(&[given(BitRate::megabits(1000))], &given(Percent(7500))).unwrap();
        let left = network_remaining(&capacity.sourced(), &four.sourced()).unwrap();
        assert_eq!(left.value, BitRate::megabits(550));
        assert_eq!(network_remaining(&four.sourced(), &capacity.sourced()), None);
    }

    #[test]
    fn the_hosts_adapter_is_left_alone_and_dedicated_ones_are_dealt_first() {
        let nics = [nic(1000, NicRole::Host), nic(10_000, NicRole::Vms), nic(1000, NicRole::Vms)];
        let dealt = adapters(&nics, &[BitRate::megabits(100)]);
        assert!(dealt.host_has_its_own);
        assert_eq!(dealt.shared.iter().map(|s| s.value).collect::<Vec<_>>(), [BitRate::megabits(10_000)]);
        assert_eq!(adapters(&nics, &[BitRate::megabits(20_000)]).dedicated_missing, 1);
        assert!(!adapters(&nics[1..], &[]).host_has_its_own);
    }

    proptest! {
        #[test]
        fn never_panics_and_capacity_never_rounds_up(
            speeds in proptest::collection::vec(any::<u64>(), 0..6), percent in 0u32..=10_000,
        ) {
            let speeds: Vec<_> = speeds.into_iter().map(|s| given(BitRate(s))).collect();
            let pairs: Vec<_> = speeds.iter().map(|s| (s.clone(), given(Percent(percent)))).collect();
            let load = network_load(&pairs);
            let capacity = network_capacity(&speeds, &given(Percent(percent)));
            if let (Ok(load), Ok(capacity)) = (load, capacity) {
                prop_assert!(capacity.value <= load.value, "the same share, one rounded down, one up");
                prop_assert!(load.value.0 - capacity.value.0 <= speeds.len() as u64);
            }
        }
    }
}
