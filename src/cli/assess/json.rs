//! The assessment for programs.

use serde_json::{Value, json};

use super::{Report, text};
use crate::assess::placement::{HostReason, Proposal};
use crate::assess::sizing::{Amount, Derivation, Gauge, MachineSizing, Reassessment};
use crate::diagnostic::{DiagnosticRecord, LineIndexes};

pub(super) fn render(report: &Report<'_>) -> Value {
    let mut indexes = LineIndexes::default();
    let findings: Vec<_> = report.findings.iter().map(|one| DiagnosticRecord::new(one, &mut indexes)).collect();
    let mut whole = json!({
        "type": "assessment",
        "plan": report.plan.name,
        "machines": report.fleet.machines.iter().map(machine).collect::<Vec<_>>(),
        "hosts": report.fleet.hosts.iter().map(host).collect::<Vec<_>>(),
        "diagnostics": findings,
    });
    let mut indexes = LineIndexes::default();
    if let Some(at) = report.explain {
        let machine = &report.fleet.machines[at];
        let derived: Vec<Value> = machine.derivations().into_iter().map(|one| derivation(one, &mut indexes)).collect();
        whole["explanation"] = json!({ "machine": machine.name, "derivations": derived });
        if let Some(host) = report.fleet.hosts.iter().find(|host| host.after.name == machine.host) {
            let derived: Vec<Value> = host.after.derivations.iter().map(|one| derivation(one, &mut indexes)).collect();
            whole["explanation"]["host_derivations"] = json!(derived);
        }
    }
    if let Some(proposal) = report.proposal {
        whole["placement"] = placement(report, proposal);
    }
    whole
}

fn machine(machine: &MachineSizing) -> Value {
    let advice: Vec<&str> = machine.advice.iter().map(|advice| advice.text()).collect();
    json!({
        "name": machine.name,
        "host": machine.host,
        "memory": machine.memory.as_ref().map(|memory| Amount::from(memory.value)),
        "memory_cost": machine.memory_cost.as_ref().map(|cost| Amount::from(cost.value)),
        "cpu_demand": machine.cpu_demand.as_ref().map(|demand| Amount::from(demand.value)),
        "cpu": machine.cpu.as_ref().map(|cpu| json!({
            "relative_weight": cpu.relative_weight,
            "reserved_of_one_core": Amount::from(cpu.reserved.value),
            "maximum": Amount::from(cpu.maximum),
        })),
        "cpu_reserved": machine.cpu_reserved.as_ref().map(|reserved| Amount::from(reserved.value)),
        "network": machine.network.as_ref().map(|load| Amount::from(load.value)),
        "storage": machine.storage.as_ref().map(|need| Amount::from(need.value)),
        "advice": advice,
    })
}

fn host(host: &Reassessment) -> Value {
    let (before, after) = (&host.before, &host.after);
    json!({
        "name": after.name,
        "machines": after.machines,
        "required_memory": after.required_memory.map(Amount::from),
        "memory": gauge(before.memory, after.memory),
        "cpu": gauge(before.cpu, after.cpu),
        "network": gauge(before.network, after.network),
        "storage": gauge(before.storage, after.storage),
    })
}

fn gauge<T: Copy + Into<Amount>>(before: Gauge<T>, after: Gauge<T>) -> Value {
    let capacity: Option<Amount> = after.capacity.map(Into::into);
    let (before, after): (Amount, Amount) = (before.used.into(), after.used.into());
    json!({ "capacity": capacity, "before": before, "after": after })
}

fn derivation(derivation: &Derivation, indexes: &mut LineIndexes) -> Value {
    let inputs: Vec<Value> = derivation
        .inputs
        .iter()
        .map(|input| {
            json!({ "name": input.name, "amount": input.amount, "source": text::origin(&input.origin, indexes) })
        })
        .collect();
    json!({
        "formula": derivation.formula.id(),
        "text": derivation.formula.text(),
        "inputs": inputs,
        "before_rounding": derivation.before_rounding,
        "value": derivation.value,
    })
}

fn placement(report: &Report<'_>, proposal: &Proposal) -> Value {
    let placed = &proposal.placement;
    let hosts: Vec<Value> = proposal
        .machines
        .iter()
        .zip(&placed.host_of)
        .map(|(machine, host)| json!({ "machine": machine.name, "host": host.map(|host| &proposal.hosts[host].name) }))
        .collect();
    let missing: Vec<Value> = placed
        .no_place
        .iter()
        .map(|missing| {
            let names: Vec<_> = missing.machines.iter().map(|at| &proposal.machines[*at].name).collect();
            json!({
                "machines": names,
                "contradiction": missing.contradiction,
                "larger_than_any_host": missing.too_large,
                "candidates": missing.reasons.iter().map(|reason| candidate(proposal, reason)).collect::<Vec<_>>(),
            })
        })
        .collect();
    let waves: Vec<Value> = text::waves(report.plan, proposal)
        .into_iter()
        .map(|(name, wave)| {
            json!({
                "name": name,
                "machines": wave.machines,
                "placed": wave.placed,
                "hosts_used": wave.hosts_used,
            })
        })
        .collect();
    json!({
        "headroom": Amount::from(proposal.headroom),
        "waves": waves,
        "hosts": report.proposed.map(|fleet| fleet.hosts.iter().map(host).collect::<Vec<_>>()),
        "hosts_used": placed.hosts_used,
        "hosts_needed_at_least": placed.at_least,
        "machines": hosts,
        "no_place": missing,
    })
}

fn candidate(proposal: &Proposal, reason: &HostReason) -> Value {
    let host = &proposal.hosts[reason.host()].name;
    match reason {
        HostReason::Short { shortages, .. } => {
            let short: Vec<Value> = shortages
                .iter()
                .map(|one| json!({ "resource": one.resource, "needed": one.needed, "free": one.free }))
                .collect();
            json!({ "host": host, "short": short })
        }
        HostReason::Apart { machine, .. } => json!({ "host": host, "apart_from": proposal.machines[*machine].name }),
        HostReason::NotAllowed { .. } => json!({ "host": host, "allowed": false }),
    }
}
