//! A proposal for a plan: every machine on the host that suits it.

use std::collections::HashMap;

use super::{Placement, PlacementHost, PlacementMachine, Resources, place};
use crate::assess::sizing::{BitRate, Fleet};
use crate::plan::{MachineName, Plan};
use crate::units::{ByteCount, Frequency, Percent};

/// What was placed, and where. The lists stand in plan order.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The machines.
    pub machines: Vec<PlacementMachine>,
    /// The hosts, by name.
    pub hosts: Vec<PlacementHost>,
    /// Where each machine goes.
    pub placement: Placement,
    /// How much of each host is kept free beyond its reserves.
    pub headroom: Percent,
}

impl Proposal {
    /// The plan as it is proposed; a machine without a place stays where the plan puts it.
    pub fn planned(&self, plan: &Plan) -> Plan {
        let mut planned = plan.clone();
        for (machine, host) in planned.machines.iter_mut().zip(&self.placement.host_of) {
            if let Some(host) = host {
                machine.target.host.value = self.hosts[*host].name.clone();
            }
        }
        planned
    }
}

/// Whether machines are placed in the order of their waves, or all at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turns {
    /// Wave after wave; machines of no wave come last.
    ByWave,
    /// All at once.
    AtOnce,
}

/// Places the machines of an assessed plan. What a plan does not say of a host does not limit it, what it does not
/// say of a machine takes nothing; the reserves of sizing are kept, machines that are no part of the plan stay.
///
/// Machines are sized for the host that the plan gives them: a proposal across unlike hosts is assessed again once the
/// plan says so.
pub fn propose(plan: &Plan, fleet: &Fleet, headroom: Percent, turns: Turns) -> Proposal {
    let turn: HashMap<&MachineName, usize> = match turns {
        Turns::ByWave => {
            let waves = plan.waves.iter().enumerate();
            waves.flat_map(|(at, wave)| wave.machines.iter().map(move |name| (name, at))).collect()
        }
        Turns::AtOnce => HashMap::new(),
    };
    let last = if turns == Turns::ByWave { plan.waves.len() } else { 0 };
    let machines: Vec<PlacementMachine> = plan
        .machines
        .iter()
        .zip(&fleet.machines)
        .map(|(machine, sizing)| PlacementMachine {
            name: machine.name.value.clone(),
            demand: Resources {
                memory: sizing.memory_cost.as_ref().map_or(ByteCount(0), |cost| cost.value),
                processor: sizing.cpu_reserved.as_ref().map_or(Frequency(0), |reserved| reserved.value),
                network: sizing.network.as_ref().map_or(BitRate(0), |load| load.value),
                storage: sizing.storage.as_ref().map_or(ByteCount(0), |need| need.value),
            },
            together: machine.placement.together.as_ref().map(|group| group.value.clone()),
            apart: machine.placement.apart.as_ref().map(|group| group.value.clone()),
            only: None,
            wave: turn.get(&machine.name.value).copied().unwrap_or(last),
        })
        .collect();
    let hosts: Vec<PlacementHost> = fleet
        .hosts
        .iter()
        .map(|host| {
            let now = &host.before;
            let free = |capacity: Option<u64>, used: u64| capacity.map_or(u64::MAX, |all| all.saturating_sub(used));
            PlacementHost {
                name: now.name.clone(),
                capacity: Resources {
                    memory: ByteCount(free(now.memory.capacity.map(|all| all.0), now.memory.used.0)),
                    processor: Frequency(free(now.cpu.capacity.map(|all| all.0), now.cpu.used.0)),
                    network: BitRate(free(now.network.capacity.map(|all| all.0), now.network.used.0)),
                    storage: ByteCount(free(now.storage.capacity.map(|all| all.0), now.storage.used.0)),
                },
            }
        })
        .collect();
    let placement = place(&machines, &hosts, headroom);
    Proposal { machines, hosts, placement, headroom }
}
