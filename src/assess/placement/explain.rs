//! Why a machine found no place.

use super::resources::Resource;
use super::vectors::State;
use crate::assess::sizing::Amount;

/// Hosts that are looked at more closely: those where least is missing.
const CANDIDATES: usize = 3;

/// Machines that found no place.
#[derive(Clone, Debug, PartialEq)]
pub struct NoPlace {
    /// The machine, or the machines that must share a host.
    pub machines: Vec<usize>,
    /// Whether they must share a host and must not, so that no host will ever do.
    pub contradiction: bool,
    /// Whether they would find no place even if all hosts were empty.
    pub too_large: bool,
    /// The best candidates first.
    pub reasons: Vec<HostReason>,
}

/// Why one host does not take a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum HostReason {
    /// Something is short there.
    Short {
        /// Which host.
        host: usize,
        /// What is short, the shortest first; often it is one resource alone.
        shortages: Vec<Shortage>,
    },
    /// A machine is there that it does not share a host with.
    Apart {
        /// Which host.
        host: usize,
        /// That machine.
        machine: usize,
    },
    /// It may not go there.
    NotAllowed {
        /// Which host.
        host: usize,
    },
}

impl HostReason {
    /// Which host.
    pub fn host(&self) -> usize {
        match self {
            Self::Short { host, .. } | Self::Apart { host, .. } | Self::NotAllowed { host } => *host,
        }
    }
}

/// A resource that is short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shortage {
    /// Which one.
    pub resource: Resource,
    /// What is needed.
    pub needed: Amount,
    /// What is left.
    pub free: Amount,
    /// How much of the host's capacity is missing, as a share.
    missing: f64,
}

pub(super) fn explain(
    state: &State<'_, 4>,
    item: u32,
    groups: &[Vec<usize>],
    bins: &[[u64; 4]],
    contradiction: bool,
) -> NoPlace {
    let size = &state.items[item as usize].size;
    let mut reasons: Vec<(u8, f64, HostReason)> = (0..bins.len())
        .map(|host| {
            let shortages = shortages(size, &state.free[host], &bins[host]);
            match (shortages.first(), state.keeps_away(item, host as u32)) {
                (Some(worst), _) => (0, worst.missing, HostReason::Short { host, shortages }),
                (None, Some(other)) => (1, 0.0, HostReason::Apart { host, machine: groups[other as usize][0] }),
                (None, None) => (2, 0.0, HostReason::NotAllowed { host }),
            }
        })
        .collect();
    reasons.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.host().cmp(&b.2.host())));
    // One candidate of each kind is worth more than three of one kind.
    let mut picked: Vec<(u8, f64, HostReason)> =
        reasons.iter().filter(|reason| reason.0 != 0).take(1).cloned().collect();
    let short = reasons.into_iter().filter(|reason| reason.0 == 0).take(CANDIDATES - picked.len());
    picked.splice(0..0, short);
    NoPlace {
        machines: groups[item as usize].clone(),
        contradiction,
        too_large: bins.iter().all(|bin| !shortages(size, bin, bin).is_empty()),
        reasons: picked.into_iter().map(|(_, _, reason)| reason).collect(),
    }
}

/// What is short, the shortest first.
fn shortages(size: &[u64; 4], free: &[u64; 4], capacity: &[u64; 4]) -> Vec<Shortage> {
    let mut all: Vec<Shortage> = Resource::ALL
        .into_iter()
        .enumerate()
        .filter(|(d, _)| size[*d] > free[*d])
        .map(|(d, resource)| Shortage {
            resource,
            needed: resource.amount(size[d]),
            free: resource.amount(free[d]),
            missing: (size[d] - free[d]) as f64 / capacity[d].max(1) as f64,
        })
        .collect();
    all.sort_by(|a, b| b.missing.total_cmp(&a.missing).then(a.resource.cmp(&b.resource)));
    all
}
