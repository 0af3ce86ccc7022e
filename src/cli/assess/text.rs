//! The assessment for people, at most 100 columns wide.

use std::fmt::{Display, Write as _};

use super::Report;
use crate::assess::placement::{HostReason, NoPlace, PlacedWave, Proposal, Shortage};
use crate::assess::sizing::{Amount, Derivation, Gauge, Input, MachineSizing, Origin, Reassessment};
use crate::diagnostic::{LineIndexes, Span};
use crate::plan::Plan;
use crate::units::Percent;

const UNKNOWN: &str = "-";
const NAME_WIDTH: usize = 24;
const BAR_WIDTH: usize = 20;

pub(super) fn render(report: &Report<'_>) -> String {
    let mut text = String::new();
    match report.explain {
        Some(at) => explain(&mut text, report, at),
        None => {
            machines(&mut text, report);
            for host in &report.fleet.hosts {
                self::host(&mut text, host);
            }
        }
    }
    if let Some(proposal) = report.proposal {
        placement(&mut text, report, proposal);
        let moved = |(machine, now): (&MachineSizing, &MachineSizing)| machine.host != now.host;
        let fleets = report.proposed.filter(|next| next.machines.iter().zip(&report.fleet.machines).any(moved));
        if let Some(next) = fleets {
            line(&mut text, "\nas proposed:");
            next.hosts.iter().for_each(|host| self::host(&mut text, host));
        }
    }
    text
}

fn line(text: &mut String, line: impl Display) {
    writeln!(text, "{line}").expect("a text takes every line");
}

pub(super) fn or_unknown<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
}

/// A name in a column: what is too long is cut.
fn cut(name: &str, width: usize) -> String {
    match name.chars().count() > width {
        true => name.chars().take(width - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

fn machines(text: &mut String, report: &Report<'_>) {
    let rows = report.fleet.machines.iter().map(|machine| {
        [
            cut(&machine.name.0, NAME_WIDTH),
            cut(&machine.host.0, NAME_WIDTH / 2),
            or_unknown(machine.memory.as_ref().map(|memory| memory.value)),
            or_unknown(machine.cpu_demand.as_ref().map(|demand| demand.value)),
            or_unknown(machine.cpu.as_ref().map(|cpu| cpu.reserved.value)),
            or_unknown(machine.network.as_ref().map(|load| load.value)),
            or_unknown(machine.storage.as_ref().map(|need| need.value)),
        ]
    });
    let head = ["MACHINE", "HOST", "MEMORY", "CPU", "RESERVED", "NETWORK", "STORAGE"].map(str::to_owned);
    table(text, std::iter::once(head).chain(rows).collect());
}

/// Columns as wide as their widest cell; the first two to the left, numbers to the right.
fn table<const N: usize>(text: &mut String, rows: Vec<[String; N]>) {
    let width: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    for row in &rows {
        let cells = (0..N).map(|column| match column {
            0 | 1 => format!("{:<1$}", row[column], width[column]),
            _ => format!("{:>1$}", row[column], width[column]),
        });
        line(text, cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn host(text: &mut String, host: &Reassessment) {
    let (before, after) = (&host.before, &host.after);
    let noun = if after.machines == 1 { "machine" } else { "machines" };
    line(text, "");
    let should = match (after.machines, after.required_memory) {
        (0, _) | (_, None) => String::new(),
        (_, Some(memory)) => format!(", should have {memory} of memory"),
    };
    line(text, format_args!("{}: {} {noun}{should}", after.name, after.machines));
    gauge(text, "memory", before.memory, after.memory, |bytes| bytes.0);
    gauge(text, "processor", before.cpu, after.cpu, |frequency| frequency.0);
    gauge(text, "network", before.network, after.network, |rate| rate.0);
    gauge(text, "storage", before.storage, after.storage, |bytes| bytes.0);
}

/// `before -> after of capacity`, with a bar.
fn gauge<T: Copy + Display>(
    text: &mut String,
    name: &str,
    before: Gauge<T>,
    after: Gauge<T>,
    number: impl Fn(T) -> u64,
) {
    let change = format!("{} -> {}", before.used, after.used);
    let Some(capacity) = after.capacity else {
        if number(after.used) > 0 {
            line(text, format_args!("  {name:<9}  {change:<28}  (the plan does not say how much there is)"));
        }
        return;
    };
    let share = |used: T| match (number(capacity), number(used)) {
        (0, 0) => 0,
        (0, _) => u128::MAX,
        (capacity, used) => u128::from(used) * 100 / u128::from(capacity),
    };
    let percent = match share(after.used) {
        u128::MAX => "nothing there".to_owned(),
        percent => format!("{percent} %"),
    };
    let filled = |share: u128| (share.min(100) as usize * BAR_WIDTH).div_ceil(100);
    let (old, new) = (filled(share(before.used)), filled(share(after.used)));
    let bar: String = (0..BAR_WIDTH)
        .map(|at| match at {
            at if at < old => '=',
            at if at < new => '#',
            _ => '.',
        })
        .collect();
    let of = format!("of {capacity}");
    line(text, format_args!("  {name:<9}  {change:<28}  {of:<15}  [{bar}]  {percent}"));
}

/// File and line of a place.
pub(super) fn place(span: &Span, indexes: &mut LineIndexes) -> String {
    let line = indexes.of(&span.source).position(&span.source, span.start).line;
    format!("{}:{line}", span.source.path)
}

pub(super) fn origin(origin: &Origin, indexes: &mut LineIndexes) -> String {
    match origin {
        Origin::Plan { key, span: Some(span) } => format!("{key}, {}", place(span, indexes)),
        Origin::Plan { key, span: None } => (*key).to_owned(),
        Origin::Provider(name) => format!("provider {name}"),
        Origin::Assumed { key } => format!("assumed; {key} would say"),
        Origin::Result(formula) => format!("= {}", formula.id()),
    }
}

fn explain(text: &mut String, report: &Report<'_>, at: usize) {
    let machine = &report.fleet.machines[at];
    let mut indexes = LineIndexes::default();
    line(text, format_args!("{} on {}", machine.name, machine.host));
    for derivation in machine.derivations() {
        self::derivation(text, derivation, &mut indexes);
    }
    if let Some(cpu) = &machine.cpu {
        line(text, "");
        line(
            text,
            format_args!(
                "processor settings: relative weight {}, reserved {} of one core, maximum {}",
                cpu.relative_weight, cpu.reserved.value, cpu.maximum
            ),
        );
    }
    for advice in &machine.advice {
        line(text, format_args!("advice: {}", advice.text()));
    }
    if let Some(host) = report.fleet.hosts.iter().find(|host| host.after.name == machine.host) {
        line(text, "");
        let noun = if host.after.machines == 1 { "machine" } else { "machines" };
        line(text, format_args!("{} with {} {noun}", machine.host, host.after.machines));
        for derivation in &host.after.derivations {
            self::derivation(text, derivation, &mut indexes);
        }
    }
}

fn derivation(text: &mut String, derivation: &Derivation, indexes: &mut LineIndexes) {
    let rounded = match derivation.before_rounding.filter(|before| *before != derivation.value) {
        Some(before) => format!(", rounded from {before}"),
        None => String::new(),
    };
    line(text, "");
    line(text, format_args!("{} = {}{rounded}", derivation.formula.id(), derivation.value));
    line(text, format_args!("  {}", derivation.formula.text()));
    for Input { name, amount, origin } in &derivation.inputs {
        line(text, format_args!("    {name:<30}  {:<14}  {}", amount.to_string(), self::origin(origin, indexes)));
    }
}

/// How much is placed on how much.
pub(super) fn placement_summary(proposal: &Proposal) -> String {
    let placed = &proposal.placement;
    let headroom = match proposal.headroom {
        Percent(0) => String::new(),
        headroom => format!(", {headroom} of each kept free"),
    };
    format!(
        "{} of {} machines on {} of {} hosts{headroom}; at least {} are needed",
        placed.host_of.iter().flatten().count(),
        proposal.machines.len(),
        placed.hosts_used,
        proposal.hosts.len(),
        placed.at_least
    )
}

/// The waves with their names, if there is more than one.
pub(super) fn waves(plan: &Plan, proposal: &Proposal) -> Vec<(String, PlacedWave)> {
    let waves = &proposal.placement.waves;
    if waves.len() < 2 {
        return Vec::new();
    }
    let name = |at: usize| plan.waves.get(at).map_or_else(|| "(in no wave)".to_owned(), |wave| wave.name.value.clone());
    waves.iter().map(|wave| (name(wave.wave), *wave)).collect()
}

fn placement(text: &mut String, report: &Report<'_>, proposal: &Proposal) {
    let placed = &proposal.placement;
    line(text, "");
    line(text, format_args!("placement: {}", placement_summary(proposal)));
    let waves = waves(report.plan, proposal);
    if !waves.is_empty() {
        let mut rows = vec![["  WAVE", "", "MACHINES", "PLACED", "HOSTS IN USE"].map(str::to_owned)];
        rows.extend(waves.into_iter().map(|(name, wave)| {
            let name = format!("  {}", cut(&name, NAME_WIDTH));
            let [machines, placed, hosts] = [wave.machines, wave.placed, wave.hosts_used].map(|n| n.to_string());
            [name, String::new(), machines, placed, hosts]
        }));
        table(text, rows);
    }
    let mut rows = vec![["  MACHINE", "NOW", "PROPOSED"].map(str::to_owned)];
    for (at, machine) in report.plan.machines.iter().enumerate() {
        let Some(host) = placed.host_of[at] else { continue };
        let proposed = &proposal.hosts[host].name;
        if *proposed != machine.target.host.value {
            let now = cut(&machine.target.host.value.0, NAME_WIDTH);
            rows.push([format!("  {}", cut(&machine.name.value.0, NAME_WIDTH)), now, cut(&proposed.0, NAME_WIDTH)]);
        }
    }
    match rows.len() {
        1 => line(text, "  every machine that has a place stays where the plan puts it"),
        _ => table(text, rows),
    }
    for missing in &placed.no_place {
        let (names, why, reasons) = no_place_lines(proposal, missing);
        line(text, format_args!("  no place for {names}: {why}"));
        for reason in reasons {
            line(text, format_args!("    {reason}"));
        }
    }
}

/// An amount as people read it: what is no whole number of mebibytes is rounded.
fn short(amount: &Amount) -> String {
    match amount {
        Amount::Bytes(bytes) if !bytes.0.is_multiple_of(1 << 20) => bytes.to_string(),
        amount => amount.to_string(),
    }
}

/// Who found no place, why, and what the best candidates lack.
pub(super) fn no_place_lines(proposal: &Proposal, missing: &NoPlace) -> (String, &'static str, Vec<String>) {
    let names: Vec<&str> = missing.machines.iter().take(5).map(|at| &*proposal.machines[*at].name.0).collect();
    let more = match missing.machines.len().saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let why = match (missing.contradiction, missing.too_large) {
        (true, _) => "must share a host and must not",
        (false, true) => "larger than any host",
        (false, false) => "no host has room left",
    };
    let reason = |reason: &HostReason| {
        let host = &proposal.hosts[reason.host()].name;
        match reason {
            HostReason::Short { shortages, .. } => {
                let each = shortages.iter().map(|Shortage { resource, needed, free, .. }| {
                    format!("{resource} ({} needed, {} free)", short(needed), short(free))
                });
                let alone = if shortages.len() == 1 { " alone" } else { "" };
                format!("{host}: short of {}{alone}", each.collect::<Vec<_>>().join(", "))
            }
            HostReason::Apart { machine, .. } => {
                let other = &proposal.machines[*machine].name;
                format!("{host}: {other} is there, of the same `apart` group")
            }
            HostReason::NotAllowed { .. } => format!("{host}: not allowed"),
        }
    };
    let reasons = missing.reasons.iter().filter(|_| !missing.contradiction).map(reason).collect();
    (format!("{}{more}", names.join(", ")), why, reasons)
}
