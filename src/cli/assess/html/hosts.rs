//! How full hosts are, before and after, as bars.

use std::fmt::Display;

use serde_json::{Value, json};

use super::BAR;
use crate::assess::sizing::{Fleet, Gauge, HostAssessment, Reassessment};

/// Hosts that are drawn; the fullest ones.
const DRAWN: usize = 60;

/// The drawn hosts, and how many are not.
pub(super) fn cards(fleet: &Fleet, proposed: Option<&Fleet>) -> (Vec<Value>, usize) {
    let mut places: Vec<usize> = (0..fleet.hosts.len()).collect();
    let shown = proposed.unwrap_or(fleet);
    if places.len() > DRAWN {
        let full: Vec<f64> = shown.hosts.iter().map(|host| fullest(&host.after)).collect();
        places.sort_by(|a, b| full[*b].total_cmp(&full[*a]));
        places.truncate(DRAWN);
        places.sort_unstable();
    }
    let cards = places.iter().map(|at| card(&fleet.hosts[*at], proposed.map(|fleet| &fleet.hosts[*at]))).collect();
    (cards, fleet.hosts.len() - places.len())
}

/// All hosts together, where their capacity is known.
pub(super) fn total(fleet: &Fleet, proposed: Option<&Fleet>) -> Value {
    let sum = |fleet: &Fleet, pick: &dyn Fn(&HostAssessment) -> (Option<u64>, u64), after: bool| {
        let each = fleet.hosts.iter().map(|host| pick(if after { &host.after } else { &host.before }));
        let known = each.filter_map(|(capacity, used)| Some((capacity?, used)));
        known.fold((0_u64, 0_u64), |(all, taken), (capacity, used)| {
            (all.saturating_add(capacity), taken.saturating_add(used))
        })
    };
    let resource = |name: &str, pick: &dyn Fn(&HostAssessment) -> (Option<u64>, u64), show: &dyn Fn(u64) -> String| {
        let bar = |fleet: &Fleet, label: &str| {
            let (capacity, before) = sum(fleet, pick, false);
            let (_, after) = sum(fleet, pick, true);
            bar(label, Some(capacity).filter(|capacity| *capacity > 0), before, after, show)
        };
        let mut bars = vec![bar(fleet, if proposed.is_some() { "as planned" } else { "" })];
        bars.extend(proposed.map(|fleet| bar(fleet, "as proposed")));
        json!({ "resource": name, "bars": bars })
    };
    json!([
        resource("memory", &|host| (host.memory.capacity.map(|all| all.0), host.memory.used.0), &|bytes| {
            crate::units::ByteCount(bytes).to_string()
        }),
        resource("processor", &|host| (host.cpu.capacity.map(|all| all.0), host.cpu.used.0), &|hertz| {
            crate::units::Frequency(hertz).to_string()
        }),
        resource("network", &|host| (host.network.capacity.map(|all| all.0), host.network.used.0), &|bits| {
            crate::assess::sizing::BitRate(bits).to_string()
        }),
        resource("storage", &|host| (host.storage.capacity.map(|all| all.0), host.storage.used.0), &|bytes| {
            crate::units::ByteCount(bytes).to_string()
        }),
    ])
}

fn fullest(host: &HostAssessment) -> f64 {
    let share = |capacity: Option<u64>, used: u64| match capacity {
        Some(capacity) if capacity > 0 => used as f64 / capacity as f64,
        _ => 0.0,
    };
    [
        share(host.memory.capacity.map(|all| all.0), host.memory.used.0),
        share(host.cpu.capacity.map(|all| all.0), host.cpu.used.0),
        share(host.network.capacity.map(|all| all.0), host.network.used.0),
        share(host.storage.capacity.map(|all| all.0), host.storage.used.0),
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

fn card(planned: &Reassessment, proposed: Option<&Reassessment>) -> Value {
    let after = &proposed.unwrap_or(planned).after;
    let machines = match proposed {
        Some(proposed) => {
            format!("{} machines as planned, {} as proposed", planned.after.machines, proposed.after.machines)
        }
        None => format!("{} machine{}", after.machines, if after.machines == 1 { "" } else { "s" }),
    };
    let should = match (after.machines, after.required_memory) {
        (0, _) | (_, None) => String::new(),
        (_, Some(memory)) => format!("should have {memory} of memory"),
    };
    json!({
        "name": after.name,
        "machines": machines,
        "should": should,
        "gauges": [
            gauge("memory", planned, proposed, |host| host.memory, |bytes| bytes.0),
            gauge("processor", planned, proposed, |host| host.cpu, |frequency| frequency.0),
            gauge("network", planned, proposed, |host| host.network, |rate| rate.0),
            gauge("storage", planned, proposed, |host| host.storage, |bytes| bytes.0),
        ],
    })
}

fn gauge<T: Copy + Display>(
    resource: &str,
    planned: &Reassessment,
    proposed: Option<&Reassessment>,
    pick: impl Fn(&HostAssessment) -> Gauge<T>,
    number: impl Fn(T) -> u64,
) -> Value {
    let one = |host: &Reassessment, label: &str| {
        let (before, after) = (pick(&host.before), pick(&host.after));
        let mut drawn =
            bar(label, after.capacity.map(&number), number(before.used), number(after.used), &|_| String::new());
        drawn["text"] = json!(match after.capacity {
            Some(capacity) => format!(
                "{} → {} of {capacity}, {}",
                before.used,
                after.used,
                percent(number(capacity), number(after.used))
            ),
            None => format!("{} → {}; how much there is, the plan does not say", before.used, after.used),
        });
        drawn
    };
    let mut bars = vec![one(planned, if proposed.is_some() { "as planned" } else { "" })];
    bars.extend(proposed.map(|host| one(host, "as proposed")));
    json!({ "resource": resource, "bars": bars })
}

fn percent(capacity: u64, used: u64) -> String {
    match (capacity, used) {
        (0, 0) => "0 %".to_owned(),
        (0, _) => "nothing there".to_owned(),
        _ => format!("{} %", u128::from(used) * 100 / u128::from(capacity)),
    }
}

/// A bar: what was taken before, what comes to it, and where the capacity ends.
fn bar(label: &str, capacity: Option<u64>, before: u64, after: u64, show: &dyn Fn(u64) -> String) -> Value {
    // A fifth of the drawing lies beyond the capacity, for what is too much.
    let full = BAR / 1.2;
    let share = |used: u64| match capacity {
        Some(0) | None => 0.0,
        Some(capacity) => (used as f64 / capacity as f64 * full).min(BAR),
    };
    let (old, new) = (share(before), share(after));
    let over = capacity.is_some_and(|capacity| after > capacity);
    let text = match capacity {
        Some(capacity) => {
            format!("{} → {} of {}, {}", show(before), show(after), show(capacity), percent(capacity, after))
        }
        None => "how much there is, the plan does not say".to_owned(),
    };
    json!({
        "label": label, "known": capacity.is_some(), "over": over, "text": text,
        "before": format!("{old:.1}"), "added": format!("{:.1}", (new - old).max(0.0)), "full": format!("{full:.1}"),
    })
}
