//! Placement: constraints kept, nothing lost, few hosts.

use proptest::prelude::*;
use replant::assess::placement::{
    HostReason, Placement, PlacementHost, PlacementMachine, Resource, Resources, hosts_needed, pack, place,
};
use replant::assess::sizing::BitRate;
use replant::plan::{HostName, MachineName};
use replant::units::{ByteCount, Frequency, Percent};

use super::instances::class;

fn amounts([memory, processor, network, storage]: [u64; 4]) -> Resources {
    Resources {
        memory: ByteCount(memory),
        processor: Frequency(processor),
        network: BitRate(network),
        storage: ByteCount(storage),
    }
}

fn machine(name: &str, demand: [u64; 4]) -> PlacementMachine {
    let name = MachineName(name.into());
    PlacementMachine { name, demand: amounts(demand), together: None, apart: None, only: None, wave: 0 }
}

fn hosts(capacities: &[[u64; 4]]) -> Vec<PlacementHost> {
    let host = |(number, capacity): (usize, &[u64; 4])| PlacementHost {
        name: HostName(format!("h{number}").into()),
        capacity: amounts(*capacity),
    };
    capacities.iter().enumerate().map(host).collect()
}

#[track_caller]
fn assert_valid(machines: &[PlacementMachine], hosts: &[PlacementHost], placement: &Placement) {
    let mut free: Vec<[u128; 4]> = hosts.iter().map(|host| host.capacity.to_array().map(u128::from)).collect();
    for (machine, host) in machines.iter().zip(&placement.host_of) {
        let Some(host) = host else { continue };
        for (free, demand) in free[*host].iter_mut().zip(machine.demand.to_array()) {
            *free = free.checked_sub(u128::from(demand)).expect("no host is overfilled");
        }
    }
    let missing: usize = placement.no_place.iter().map(|missing| missing.machines.len()).sum();
    assert_eq!(missing, placement.host_of.iter().filter(|host| host.is_none()).count(), "each is placed or named");
    for (a, host) in machines.iter().zip(&placement.host_of) {
        for (b, other) in machines.iter().zip(&placement.host_of) {
            if a.name != b.name && a.apart.is_some() && a.apart == b.apart && host.is_some() {
                assert_ne!(host, other, "{} and {} are to be apart", a.name, b.name);
            }
            if a.together.is_some() && a.together == b.together {
                assert_eq!(host, other, "{} and {} are to be together", a.name, b.name);
            }
        }
    }
}

#[test]
fn complementary_machines_share_a_host() {
    let machines: Vec<_> =
        (0..4).map(|n| machine(&format!("m{n}"), if n % 2 == 0 { [8, 1, 1, 1] } else { [1, 8, 1, 1] })).collect();
    let hosts = hosts(&[[10, 10, 10, 10]; 4]);
    let placement = place(&machines, &hosts, Percent(0));
    assert_valid(&machines, &hosts, &placement);
    assert_eq!((placement.hosts_used, placement.at_least), (2, 2));
}

#[test]
fn the_short_resource_of_the_best_candidate_is_named() {
    let machines = [machine("big", [5, 5, 50, 5])];
    let hosts = hosts(&[[10, 10, 10, 10], [10, 10, 40, 10], [1, 1, 1, 1]]);
    let placement = place(&machines, &hosts, Percent(0));
    let missing = &placement.no_place[0];
    assert!(missing.too_large && !missing.contradiction);
    let HostReason::Short { host, shortages } = &missing.reasons[0] else { panic!("{:?}", missing.reasons) };
    assert_eq!(
        (*host, shortages.len(), shortages[0].resource),
        (1, 1, Resource::Network),
        "one resource, where least is missing"
    );
}

#[test]
fn machines_apart_are_told_who_keeps_them_away() {
    let mut machines = [machine("dc1", [1; 4]), machine("dc2", [1; 4])];
    machines.iter_mut().for_each(|machine| machine.apart = Some("dc".into()));
    let placement = place(&machines, &hosts(&[[10; 4]]), Percent(0));
    assert_eq!(placement.host_of, [Some(0), None]);
    assert_eq!(placement.no_place[0].reasons, [HostReason::Apart { host: 0, machine: 0 }]);
    machines.iter_mut().for_each(|machine| machine.together = Some("pair".into()));
    let torn = place(&machines, &hosts(&[[10; 4], [10; 4]]), Percent(0));
    assert!(torn.no_place[0].contradiction, "together and apart at once");
}

#[test]
fn headroom_is_kept_free_and_only_allowed_hosts_are_taken() {
    let mut machines = vec![machine("a", [8; 4])];
    let hosts = hosts(&[[10; 4], [11; 4]]);
    assert_eq!(place(&machines, &hosts, Percent(2500)).host_of, [Some(1)], "8 of 8.25");
    machines[0].only = Some(vec![0]);
    assert_eq!(place(&machines, &hosts, Percent(0)).host_of, [Some(0)]);
    assert_eq!(place(&machines, &hosts, Percent(2500)).host_of, [None]);
}

#[test]
fn an_earlier_wave_is_placed_as_if_there_were_no_later_one() {
    let early: Vec<_> = (0..40u64).map(|n| machine(&format!("a{n}"), [1 + n % 7, 1 + n % 5, n % 3, 1])).collect();
    let late: Vec<_> = (0..60u64)
        .map(|n| PlacementMachine { wave: 1, ..machine(&format!("b{n}"), [9 - n % 7, 1 + n % 3, 1, n % 4]) })
        .collect();
    let hosts = hosts(&[[20, 20, 20, 20]; 60]);
    let alone = place(&early, &hosts, Percent(0));
    let all: Vec<_> = late.iter().chain(&early).cloned().collect();
    let both = place(&all, &hosts, Percent(0));
    assert_valid(&all, &hosts, &both);
    assert!(both.no_place.is_empty());
    assert_eq!(both.host_of[late.len()..], alone.host_of, "whatever comes later, and wherever it stands in the plan");
    let waves: Vec<_> =
        both.waves.iter().map(|wave| (wave.wave, wave.machines, wave.placed, wave.hosts_used)).collect();
    assert_eq!(waves, [(0, 40, 40, alone.hosts_used), (1, 60, 60, both.hosts_used)]);
    assert!(both.hosts_used * 100 <= both.at_least * 120, "{} of {}", both.hosts_used, both.at_least);
    assert_eq!(both, place(&all, &hosts, Percent(0)), "the same each time");
}

#[test]
fn a_later_wave_fills_hosts_in_use_and_keeps_away_from_whom_it_must() {
    let mut machines =
        vec![machine("first", [6, 1, 1, 1]), machine("second", [4, 1, 1, 1]), machine("third", [4, 1, 1, 1])];
    machines[1].wave = 1;
    machines[2].wave = 1;
    machines[0].apart = Some("dc".into());
    machines[2].apart = Some("dc".into());
    let small_first = hosts(&[[10; 4], [12; 4]]);
    let placed = place(&machines, &small_first, Percent(0));
    assert_eq!(placed.host_of, [Some(1), Some(1), Some(0)], "the host in use is filled first");
    // The host in use is the only one with room, and it is the wrong one.
    machines[2].demand = amounts([5, 1, 1, 1]);
    let placed = place(&machines, &hosts(&[[4; 4], [20; 4]]), Percent(0));
    assert_eq!(placed.host_of[2], None);
    assert_eq!(placed.no_place[0].reasons.last(), Some(&HostReason::Apart { host: 1, machine: 0 }));
}

#[test]
fn nothing_to_place_and_nowhere_to_place_it() {
    assert_eq!(place(&[], &hosts(&[[1; 4]]), Percent(0)).hosts_used, 0);
    let placement = place(&[machine("a", [1; 4])], &[], Percent(0));
    assert_eq!((placement.host_of, placement.hosts_used), (vec![None], 0));
    assert_eq!(place(&[machine("a", [u64::MAX; 4])], &hosts(&[[7; 4]]), Percent(0)).host_of, [None]);
}

/// Generated by the description of Caprara and Toth 2001, classes 1 to 10, 200 items: within 5 % of the lower bound.
#[test]
fn published_classes_are_packed_within_five_percent() {
    for number in 1..=10 {
        let count = if number == 10 { 201 } else { 200 };
        let (mut used, mut bound) = (0, 0);
        for seed in 0..2 {
            let instance = class::<2>(number, count, seed);
            let packing = pack(&instance.items, &vec![instance.capacity; count]);
            assert!(packing.bin_of.iter().all(Option::is_some));
            used += packing.bins_used;
            bound += packing.at_least;
        }
        assert!(used * 100 <= bound * 105, "class {number}: {used} bins, at least {bound} are needed");
    }
}

/// Triplets fill their bins to the brim, so the best packing is known without any bound.
#[test]
fn the_bound_is_never_above_a_known_best_packing() {
    for seed in 0..20 {
        let instance = class::<2>(10, 99, seed);
        assert!(hosts_needed(&instance.items, &vec![instance.capacity; 99]) <= 33);
    }
}

#[test]
fn a_large_fleet_is_placed_the_same_way_twice() {
    let machines: Vec<_> = (0..1200u64)
        .map(|n| {
            let mut one = machine(&format!("m{n}"), [1 + n * 7 % 13, 1 + n * 11 % 17, n * 5 % 19, n * 3 % 23]);
            one.apart = (n % 10 == 0).then(|| format!("group{}", n / 50));
            one.together = (n % 31 == 0).then(|| format!("pair{}", n / 62));
            one
        })
        .collect();
    let hosts = hosts(&[[100, 120, 130, 150]; 150]);
    let first = place(&machines, &hosts, Percent(0));
    assert_valid(&machines, &hosts, &first);
    assert!(first.no_place.is_empty());
    assert!(first.hosts_used * 100 <= first.at_least * 105, "{} of {}", first.hosts_used, first.at_least);
    assert_eq!(first, place(&machines, &hosts, Percent(0)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_placement_keeps_its_constraints(
        demands in proptest::collection::vec((proptest::array::uniform4(0u64..12), 0usize..6, 0usize..9, 0usize..3), 0..24),
        capacities in proptest::collection::vec(proptest::array::uniform4(0u64..30), 0..8),
    ) {
        let machines: Vec<_> = demands
            .into_iter()
            .enumerate()
            .map(|(at, (demand, apart, together, wave))| PlacementMachine {
                wave,
                apart: (apart < 2).then(|| format!("a{apart}")),
                together: (together < 2).then(|| format!("t{together}")),
                ..machine(&format!("m{at}"), demand)
            })
            .collect();
        let hosts = hosts(&capacities);
        let placement = place(&machines, &hosts, Percent(0));
        assert_valid(&machines, &hosts, &placement);
        prop_assert!(placement.at_least <= placement.hosts_used.max(1));
        for missing in &placement.no_place {
            prop_assert!(missing.contradiction || hosts.is_empty() || !missing.reasons.is_empty());
        }
    }

    #[test]
    fn no_two_bins_could_be_merged(items in proptest::collection::vec(proptest::array::uniform3(0u64..40), 1..40)) {
        let packing = pack(&items, &vec![[60; 3]; items.len()]);
        let mut loads = vec![[0u64; 3]; items.len()];
        for (item, bin) in items.iter().zip(&packing.bin_of) {
            let bin = bin.expect("every item has a bin of its own to go to") as usize;
            (0..3).for_each(|d| loads[bin][d] += item[d]);
        }
        let held = |bin: &usize| packing.bin_of.contains(&Some(*bin as u32));
        let used: Vec<usize> = (0..items.len()).filter(held).collect();
        prop_assert_eq!(used.len(), packing.bins_used);
        for (at, a) in used.iter().enumerate() {
            for b in &used[at + 1..] {
                prop_assert!((0..3).any(|d| loads[*a][d] + loads[*b][d] > 60), "bins {} and {} fit in one", a, b);
            }
        }
    }
}
