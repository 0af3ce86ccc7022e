//! How full hosts are, before and after, as bars.

use serde_json::{Value, json};

use super::{BAR, scale};
use crate::assess::sizing::{Fleet, HostAssessment, Reassessment};
use crate::units::{ByteCount, Frequency};

/// Hosts that are drawn; the fullest ones.
const DRAWN: usize = 60;

/// A resource of a host: its name, how much there is and is taken of it, and how that is written.
struct Resource {
    name: &'static str,
    of: fn(&HostAssessment) -> (Option<u64>, u64),
    show: fn(u64) -> String,
}

const RESOURCES: [Resource; 4] = [
    Resource {
        name: "memory",
        of: |host| (host.memory.capacity.map(|all| all.0), host.memory.used.0),
        show: |bytes| ByteCount(bytes).to_string(),
    },
    Resource {
        name: "processor",
        of: |host| (host.cpu.capacity.map(|all| all.0), host.cpu.used.0),
        show: |hertz| Frequency(hertz).to_string(),
    },
    Resource {
        name: "network",
        of: |host| (host.network.capacity.map(|all| all.0), host.network.used.0),
        show: scale::bits,
    },
    Resource {
        name: "storage",
        of: |host| (host.storage.capacity.map(|all| all.0), host.storage.used.0),
        show: |bytes| ByteCount(bytes).to_string(),
    },
];

/// The drawn hosts, and how many are not.
pub(super) fn cards(fleet: &Fleet, proposed: Option<&Fleet>) -> (Vec<Value>, usize) {
    let mut places: Vec<usize> = (0..fleet.hosts.len()).collect();
    if places.len() > DRAWN {
        let full: Vec<f64> = proposed.unwrap_or(fleet).hosts.iter().map(|host| fullest(&host.after)).collect();
        places.sort_by(|a, b| full[*b].total_cmp(&full[*a]));
        places.truncate(DRAWN);
        places.sort_unstable();
    }
    let drawn = places.iter().map(|at| card(&fleet.hosts[*at], proposed.map(|fleet| &fleet.hosts[*at])));
    (drawn.collect(), fleet.hosts.len() - places.len())
}

/// All hosts together, where their capacity is known.
pub(super) fn total(fleet: &Fleet, proposed: Option<&Fleet>) -> Value {
    let gauge = |resource: &Resource| {
        let sum = |hosts: &mut dyn Iterator<Item = &HostAssessment>| {
            let known = hosts.filter_map(|host| match (resource.of)(host) {
                (Some(capacity), used) => Some((capacity, used)),
                (None, _) => None,
            });
            known.fold((0_u64, 0_u64), |sum, one| (sum.0.saturating_add(one.0), sum.1.saturating_add(one.1)))
        };
        let one = |fleet: &Fleet, label: &str| {
            let (capacity, before) = sum(&mut fleet.hosts.iter().map(|host| &host.before));
            let (_, after) = sum(&mut fleet.hosts.iter().map(|host| &host.after));
            bar(label, Some(capacity).filter(|capacity| *capacity > 0), before, after, resource.show)
        };
        bars(resource.name, one(fleet, planned_label(proposed)), proposed.map(|fleet| one(fleet, PROPOSED)))
    };
    RESOURCES.iter().map(gauge).collect()
}

const PROPOSED: &str = "as proposed";

/// Where there is one bar alone, it needs no label.
fn planned_label<T>(proposed: Option<T>) -> &'static str {
    if proposed.is_some() { "as planned" } else { "" }
}

fn bars(resource: &str, planned: Value, proposed: Option<Value>) -> Value {
    let bars: Vec<Value> = std::iter::once(planned).chain(proposed).collect();
    json!({ "resource": resource, "bars": bars })
}

fn fullest(host: &HostAssessment) -> f64 {
    let share = |resource: &Resource| match (resource.of)(host) {
        (Some(capacity), used) if capacity > 0 => used as f64 / capacity as f64,
        _ => 0.0,
    };
    RESOURCES.iter().map(share).fold(0.0, f64::max)
}

fn card(planned: &Reassessment, proposed: Option<&Reassessment>) -> Value {
    let after = &proposed.unwrap_or(planned).after;
    let machines = match proposed {
        Some(next) => format!("{} machines as planned, {} as proposed", planned.after.machines, next.after.machines),
        None => format!("{} machine{}", after.machines, if after.machines == 1 { "" } else { "s" }),
    };
    let should = match (after.machines, after.required_memory) {
        (0, _) | (_, None) => String::new(),
        (_, Some(memory)) => format!("should have {memory} of memory"),
    };
    let gauge = |resource: &Resource| {
        let one = |host: &Reassessment, label: &str| {
            let ((_, before), (capacity, after)) = ((resource.of)(&host.before), (resource.of)(&host.after));
            bar(label, capacity, before, after, resource.show)
        };
        bars(resource.name, one(planned, planned_label(proposed)), proposed.map(|host| one(host, PROPOSED)))
    };
    let gauges: Vec<Value> = RESOURCES.iter().map(gauge).collect();
    json!({ "name": after.name, "machines": machines, "should": should, "gauges": gauges })
}

/// A bar: what was taken before, what comes to it, and where the capacity ends.
fn bar(label: &str, capacity: Option<u64>, before: u64, after: u64, show: fn(u64) -> String) -> Value {
    // A sixth of the drawing lies beyond the capacity, for what is too much.
    let full = BAR / 1.2;
    let share = |used: u64| match capacity {
        Some(0) | None => 0.0,
        Some(capacity) => (used as f64 / capacity as f64 * full).min(BAR),
    };
    let (old, new) = (share(before), share(after));
    let change = format!("{} → {}", show(before), show(after));
    let text = match capacity {
        Some(capacity) => format!("{change} of {}, {}", show(capacity), percent(capacity, after)),
        None => format!("{change}; how much there is, the plan does not say"),
    };
    json!({
        "label": label, "known": capacity.is_some(), "over": capacity.is_some_and(|capacity| after > capacity),
        "text": text, "before": format!("{old:.1}"), "added": format!("{:.1}", (new - old).max(0.0)),
        "full": format!("{full:.1}"),
    })
}

fn percent(capacity: u64, used: u64) -> String {
    match (capacity, used) {
        (0, 0) => "0 %".to_owned(),
        (0, _) => "nothing there".to_owned(),
        _ => format!("{} %", u128::from(used) * 100 / u128::from(capacity)),
    }
}
