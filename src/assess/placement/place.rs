//! Machines and hosts of a plan, placed.

use std::collections::HashMap;

use super::explain::{NoPlace, explain};
use super::resources::Resources;
use super::vectors::{Item, pack_state};
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
}

/// Places machines on as few hosts as possible, keeping `headroom` of each host free.
pub fn place(machines: &[PlacementMachine], hosts: &[PlacementHost], headroom: Percent) -> Placement {
    let bins: Vec<[u64; 4]> = hosts.iter().map(|host| without(host.capacity, headroom)).collect();
    let groups = merge(machines);
    let mut apart: HashMap<&str, u32> = HashMap::new();
    for name in machines.iter().filter_map(|machine| machine.apart.as_deref()) {
        let next = apart.len() as u32;
        apart.entry(name).or_insert(next);
    }
    let items: Vec<Item<4>> = groups.iter().map(|group| item(group, machines, &apart)).collect();
    // Two machines that must share a host and must not: no host will do.
    let torn: Vec<bool> = items.iter().map(|item| item.apart.windows(2).any(|pair| pair[0] == pair[1])).collect();
    let tried: Vec<Item<4>> = items
        .iter()
        .zip(&torn)
        .map(|(item, torn)| match torn {
            true => Item { only: Some(Vec::new()), ..item.clone() },
            false => item.clone(),
        })
        .collect();
    let (state, at_least) = pack_state(&tried, &bins);
    let mut host_of = vec![None; machines.len()];
    let mut no_place = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        match state.bin_of[at] {
            Some(bin) => group.iter().for_each(|machine| host_of[*machine] = Some(bin as usize)),
            None => no_place.push(explain(&state, at as u32, &groups, &bins, torn[at])),
        }
    }
    Placement { host_of, no_place, hosts_used: state.bins_used(), at_least }
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
