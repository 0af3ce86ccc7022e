//! The assessment for spreadsheets: plain numbers, units in the head; an empty cell is what the plan does not say.

use std::fmt::Write as _;

use super::Report;
use crate::assess::sizing::Gauge;

pub(super) fn machines(report: &Report<'_>) -> String {
    let mut head = "machine,host,memory_bytes,memory_cost_bytes,cpu_demand_hertz,cpu_reserved_percent_of_core,\
                    cpu_reserved_hertz,network_bits_per_second,storage_bytes"
        .to_owned();
    if report.proposal.is_some() {
        head.push_str(",proposed_host");
    }
    head.push('\n');
    let mut table = head;
    for (at, machine) in report.fleet.machines.iter().enumerate() {
        let numbers = [
            machine.memory.as_ref().map(|memory| memory.value.0),
            machine.memory_cost.as_ref().map(|cost| cost.value.0),
            machine.cpu_demand.as_ref().map(|demand| demand.value.0),
            machine.cpu.as_ref().map(|cpu| u64::from(cpu.reserved.value.0) / 100),
            machine.cpu_reserved.as_ref().map(|reserved| reserved.value.0),
            machine.network.as_ref().map(|load| load.value.0),
            machine.storage.as_ref().map(|need| need.value.0),
        ];
        let cells: Vec<String> = numbers.iter().map(|number| cell(*number)).collect();
        // Names hold no character that would need quotes.
        write!(table, "{},{},{}", machine.name, machine.host, cells.join(",")).expect("a text takes every line");
        if let Some(proposal) = report.proposal {
            let host = proposal.placement.host_of[at].map_or("", |host| &*proposal.hosts[host].name.0);
            write!(table, ",{host}").expect("a text takes every line");
        }
        table.push('\n');
    }
    table
}

pub(super) fn hosts(report: &Report<'_>) -> String {
    let mut table = "host,machines,required_memory_bytes".to_owned();
    for resource in ["memory_bytes", "cpu_hertz", "network_bits_per_second", "storage_bytes"] {
        write!(table, ",{resource}_capacity,{resource}_before,{resource}_after").expect("a text takes every line");
    }
    table.push('\n');
    for host in &report.fleet.hosts {
        let (before, after) = (&host.before, &host.after);
        let mut cells =
            vec![after.name.to_string(), after.machines.to_string(), cell(after.required_memory.map(|m| m.0))];
        cells.extend(gauge(before.memory, after.memory, |bytes| bytes.0));
        cells.extend(gauge(before.cpu, after.cpu, |frequency| frequency.0));
        cells.extend(gauge(before.network, after.network, |rate| rate.0));
        cells.extend(gauge(before.storage, after.storage, |bytes| bytes.0));
        writeln!(table, "{}", cells.join(",")).expect("a text takes every line");
    }
    table
}

fn cell(number: Option<u64>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn gauge<T: Copy>(before: Gauge<T>, after: Gauge<T>, number: impl Fn(T) -> u64) -> [String; 3] {
    [cell(after.capacity.map(&number)), number(before.used).to_string(), number(after.used).to_string()]
}
