//! Machines and hosts of a plan, placed.

use std::collections::{BTreeMap, HashMap};

use super::bound::hosts_needed;
use super::explain::{NoPlace, explain};
use super::resources::Resources;
use super::vectors::{Budget, Item, Scale, State, pack_on};
use crate::plan::{HostName, MachineName};
use crate::units::Percent;

/// A machine to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementMachine {
    /// Its name.
    pub name: MachineName,
    /// What it takes.
    pub demand: Resources,
    /// Machines of one such group share a host.
    pub together: Option<String>,
    /// No two machines of one such group share a host.
    pub apart: Option<String>,
    /// The only hosts it may go to, by their place in the list; any if `None`.
    pub only: Option<Vec<usize>>,
    /// When its turn comes: machines of a lower number are placed first, and nothing that comes later moves them.
    pub wave: usize,
}

/// A host that machines are placed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementHost {
    /// Its name.
    pub name: HostName,
    /// What machines can have of it, reserves and other machines left out.
    pub capacity: Resources,
}

/// Where each machine goes. Machines and hosts are named by their place in the lists that were placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The host of each machine; `None` for those of `no_place`.
    pub host_of: Vec<Option<usize>>,
    /// What found no place, and why.
    pub no_place: Vec<NoPlace>,
    /// How many hosts hold something.
    pub hosts_used: usize,
    /// How many are needed at least for what found a place.
    pub at_least: usize,
    /// What each wave added, in the order of their numbers.
    pub waves: Vec<PlacedWave>,
}

/// What a wave added to the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedWave {
    /// Its number.
    pub wave: usize,
    /// Its machines; those that must share a host with one of an earlier wave came with that one.
    pub machines: usize,
    /// Those that found a place.
    pub placed: usize,
    /// Hosts that hold something when it has ended.
    pub hosts_used: usize,
}

/// Places machines on as few hosts as possible, keeping `headroom` of each host free. Wave after wave: what an earlier
/// wave takes is gone for the later ones, which fill up hosts that are in use before they open new ones.
pub fn place(machines: &[PlacementMachine], hosts: &[PlacementHost], headroom: Percent) -> Placement {
    let bins: Vec<[u64; 4]> = hosts.iter().map(|host| without(host.capacity, headroom)).collect();
    let groups = merge(machines);
    let mut apart: HashMap<&str, u32> = HashMap::new();
    for name in machines.iter().filter_map(|machine| machine.apart.as_deref()) {
        let next = apart.len() as u32;
        apart.entry(name).or_insert(next);
    }
    let mut items: Vec<Item<4>> = groups.iter().map(|group| item(group, machines, &apart)).collect();
    // Two machines that must share a host and must not: no host will do.
    let torn: Vec<bool> = items.iter().map(|item| item.apart.windows(2).any(|pair| pair[0] == pair[1])).collect();
    items.iter_mut().zip(&torn).filter(|(_, torn)| **torn).for_each(|(item, _)| item.only = Some(Vec::new()));
    let scale = Scale::new(&items, &bins);
    let mut state = State::new(&items, &bins);
    let (mut host_of, mut no_place) = (vec![None; machines.len()], Vec::new());
    let mut waves = Vec::new();
    for (wave, members) in by_wave(&groups, machines) {
        let budget = Budget::share(members.len(), items.len());
        state = pack_on(state, &members, &scale, &budget);
        for group in &members {
            let of_group = &groups[*group as usize];
            match state.bin_of[*group as usize] {
                Some(bin) => of_group.iter().for_each(|machine| host_of[*machine] = Some(bin as usize)),
                None => no_place.push(explain(&state, *group, &groups, &bins, torn[*group as usize])),
            }
        }
        let of_wave = || members.iter().flat_map(|group| &groups[*group as usize]);
        waves.push(PlacedWave {
            wave,
            machines: of_wave().count(),
            placed: of_wave().filter(|machine| host_of[**machine].is_some()).count(),
            hosts_used: state.bins_used(),
        });
    }
    let placed = state.bin_of.iter().zip(&items).filter(|(bin, _)| bin.is_some()).map(|(_, item)| item.size);
    let at_least = hosts_needed(&placed.collect::<Vec<_>>(), &bins);
    Placement { host_of, no_place, hosts_used: state.bins_used(), at_least, waves }
}

/// The groups of each wave, in plan order; a group comes with its earliest machine.
fn by_wave(groups: &[Vec<usize>], machines: &[PlacementMachine]) -> BTreeMap<usize, Vec<u32>> {
    let mut waves: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        let wave = group.iter().map(|machine| machines[*machine].wave).min().unwrap_or(0);
        waves.entry(wave).or_default().push(at as u32);
    }
    waves
}

fn without(capacity: Resources, headroom: Percent) -> [u64; 4] {
    let kept = u128::from(10_000u32.saturating_sub(headroom.0));
    capacity.to_array().map(|amount| match amount {
        u64::MAX => u64::MAX,
        amount => u64::try_from(u128::from(amount) * kept / 10_000).unwrap_or(u64::MAX),
    })
}

/// The machines that move as one, each group in plan order, groups in the order of their first machine.
fn merge(machines: &[PlacementMachine]) -> Vec<Vec<usize>> {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::with_capacity(machines.len());
    for (at, machine) in machines.iter().enumerate() {
        let group = machine.together.as_deref().map(|name| *known.entry(name).or_insert(groups.len()));
        match group {
            Some(group) if group < groups.len() => groups[group].push(at),
            _ => groups.push(vec![at]),
        }
    }
    groups
}

/// A group as one item; `numbers` are those of the `apart` groups.
fn item(group: &[usize], machines: &[PlacementMachine], numbers: &HashMap<&str, u32>) -> Item<4> {
    let mut size = [0u64; 4];
    let mut apart = Vec::new();
    let mut only: Option<Vec<u32>> = None;
    for machine in group.iter().map(|at| &machines[*at]) {
        let demand = machine.demand.to_array();
        size = std::array::from_fn(|d| size[d].saturating_add(demand[d]));
        apart.extend(machine.apart.as_deref().and_then(|name| numbers.get(name)));
        if let Some(allowed) = &machine.only {
            let mut allowed: Vec<u32> = allowed.iter().map(|host| *host as u32).collect();
            allowed.retain(|host| only.as_ref().is_none_or(|only| only.contains(host)));
            allowed.sort_unstable();
            only = Some(allowed);
        }
    }
    apart.sort_unstable();
    Item { size, apart, only }
}
