//! Hosts: their provider exists, their settings are what it takes, their memory holds all of their VMs.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Diagnostics, Span, closest};
use crate::inventory::ResolvedPlan;
use crate::plan::{EndState, HostName};
use crate::provider::{Catalog, Provider};
use crate::units::ByteCount;

/// A host whose provider exists.
pub struct Side<'a> {
    /// Its provider.
    pub provider: &'a Provider,
    /// Its settings with all defaults.
    pub settings: Map<String, Value>,
}

/// Checks every host and returns those whose provider exists.
pub fn check<'a>(
    plan: &'a ResolvedPlan,
    catalog: &'a Catalog,
    found: &mut Diagnostics,
) -> BTreeMap<&'a HostName, Side<'a>> {
    let mut sides = BTreeMap::new();
    for (name, host) in &plan.plan.hosts {
        let wanted = &host.provider.value;
        let Some(provider) = catalog.get(wanted) else {
            let names: Vec<&str> = catalog.names().collect();
            let near = closest(wanted, names.iter().copied()).map(|name| format!("did you mean `{name}`?"));
            let help = near.unwrap_or_else(|| {
                format!("there are: {}; a folder `providers/{wanted}` beside the plan would add it", names.join(", "))
            });
            let message = format!("there is no provider `{wanted}`");
            let diagnostic = Diagnostic::error("assess.unknown-provider", message);
            found.push(diagnostic.at(host.provider.span.clone(), "").help(help));
            continue;
        };
        for (path, message) in provider.check_host_settings(&host.settings) {
            found.push(setting(&host.settings_span, &path, &message, wanted));
        }
        sides.insert(name, Side { provider, settings: provider.host_settings(&host.settings) });
    }
    memory(plan, &sides, found);
    sides
}

/// A setting that the provider's schema refuses, underlined where it stands if that can be told.
pub fn setting(span: &Span, path: &[String], message: &str, provider: &str) -> Diagnostic {
    let shown = if path.is_empty() { "settings".to_owned() } else { format!("settings.{}", path.join(".")) };
    Diagnostic::error("assess.setting", format!("`{shown}`: {message}"))
        .at(narrow(span, path), format!("provider `{provider}` does not take this"))
}

/// The line of the innermost name of `path` within `span`, if it stands there exactly once.
fn narrow(span: &Span, path: &[String]) -> Span {
    let Some(name) = path.last() else { return span.clone() };
    let text = span.text();
    let key = format!("{name}:");
    let mut places = text.match_indices(&key).filter(|(at, _)| {
        text[..*at].chars().next_back().is_none_or(|before| !before.is_alphanumeric() && before != '_')
    });
    match (places.next(), places.next()) {
        (Some((at, _)), None) => {
            let end = text[at..].find(['\n', '}']).map_or(text.len(), |length| at + length);
            let end = at + text[at..end].trim_end().len();
            Span::new(&span.source, span.start + at, span.start + end)
        }
        _ => span.clone(),
    }
}

/// A VM whose memory the host lacks cannot start: refused now, not at start time.
fn memory(plan: &ResolvedPlan, sides: &BTreeMap<&HostName, Side<'_>>, found: &mut Diagnostics) {
    let mut needs: BTreeMap<&HostName, (u64, u64, usize)> = BTreeMap::new();
    for (machine, facts) in plan.plan.machines.iter().zip(&plan.machines) {
        let name = &machine.target.host.value;
        let Some(side) = sides.get(name) else { continue };
        let overhead = side.provider.manifest.constants.memory_overhead.0.0;
        let need = needs.entry(name).or_default();
        let running = machine.post_deploy.action != EndState::Stop;
        if running {
            need.0 = need.0.saturating_add(facts.memory.0);
            need.1 = need.1.saturating_add(overhead);
            need.2 += 1;
        }
        let Some(has) = plan.plan.hosts[name].memory else { continue };
        let one = facts.memory.0.saturating_add(overhead);
        if one > has.0 {
            let place = machine.target.memory.as_ref().map_or(&machine.name.span, |memory| &memory.span);
            let message = format!(
                "`{}` cannot start on host `{name}`: it needs {} ({} and {} overhead), the host has {has}",
                machine.name.value,
                ByteCount(one),
                facts.memory,
                ByteCount(overhead)
            );
            found.push(Diagnostic::error("assess.vm-exceeds-host", message).at(place.clone(), ""));
        }
    }
    for (name, (vms, overhead, count)) in needs {
        let host = &plan.plan.hosts[name];
        let Some(has) = host.memory else { continue };
        let total = vms.saturating_add(overhead);
        if total > has.0 {
            let message = format!(
                "host `{name}` has {has} for VMs, its {count} running VMs need {}: {} of their own and {} overhead",
                ByteCount(total),
                ByteCount(vms),
                ByteCount(overhead)
            );
            let help = format!(
                "declare `memory: {}` if the host has it, move machines to another host, or leave some off with \
                 `post_deploy: {{ action: stop }}`",
                ByteCount(total.next_multiple_of(1 << 30))
            );
            let diagnostic = Diagnostic::error("assess.host-memory", message);
            found.push(diagnostic.at(host.name.span.clone(), "not enough memory").help(help.replace(" GiB", "GiB")));
        }
    }
}
