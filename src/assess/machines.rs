//! Machines: against the limits of the provider that will run them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, Span, closest};
use crate::inventory::{ResolvedMachine, ResolvedPlan};
use crate::plan::{EndState, HostName, Machine};

use super::hosts::{Side, setting};

/// Checks every machine whose host's provider exists.
pub fn check(plan: &ResolvedPlan, sides: &BTreeMap<&HostName, Side<'_>>, found: &mut Diagnostics) {
    let mut names: HashMap<(&HostName, &str), &Machine> = HashMap::new();
    for (machine, facts) in plan.plan.machines.iter().zip(&plan.machines) {
        let host = &machine.target.host.value;
        if let Some(first) = names.insert((host, machine.target.vm_name.as_str()), machine) {
            let vm = &machine.target.vm_name;
            let message =
                format!("`{}` and `{}` make the same VM `{vm}` on host `{host}`", first.name.value, machine.name.value);
            let diagnostic = Diagnostic::error("assess.vm-name-twice", message).at(machine.name.span.clone(), "");
            found.push(
                diagnostic.at(first.name.span.clone(), "the first").help("give one of them another `target.vm_name`"),
            );
        }
        if let Some(side) = sides.get(host) {
            let mut machine = One { machine, facts, side, found };
            machine.name();
            machine.amounts();
            machine.kinds();
            machine.network();
            machine.settings();
        }
    }
}

struct One<'a> {
    machine: &'a Machine,
    facts: &'a ResolvedMachine,
    side: &'a Side<'a>,
    found: &'a mut Diagnostics,
}

impl One<'_> {
    fn refuse(&mut self, code: &'static str, span: &Span, message: String) {
        let message = format!("`{}`: {message}", self.machine.name.value);
        self.found.push(Diagnostic::error(code, message).at(span.clone(), ""));
    }

    fn provider(&self) -> &str {
        &self.side.provider.manifest.name
    }

    fn name(&mut self) {
        let limits = &self.side.provider.manifest.limits.vm_name;
        let name = self.machine.target.vm_name.clone();
        let span = self.machine.name.span.clone();
        let bad = name.chars().find(|c| limits.forbidden.contains(*c) || c.is_control());
        if let Some(bad) = bad {
            self.refuse("assess.vm-name", &span, format!("the VM's name `{}` has {bad:?}", name.escape_debug()));
        } else if name.is_empty() || name.starts_with('.') {
            self.refuse("assess.vm-name", &span, format!("the VM's name `{name}` is empty or begins with a dot"));
        } else if name.chars().count() > limits.max_length {
            let most = limits.max_length;
            self.refuse("assess.vm-name", &span, format!("the VM's name `{name}` has more than {most} characters"));
        }
    }

    fn amounts(&mut self) {
        let limits = &self.side.provider.manifest.limits;
        let (memory, cpus, disks, nics) = (limits.memory, limits.cpus, limits.disks.clone(), limits.nics);
        let name_span = self.machine.name.span.clone();
        let provider = self.provider().to_owned();
        let span_of = |span: Option<&Span>| span.cloned().unwrap_or_else(|| name_span.clone());

        let (has, span) = (self.facts.memory, span_of(self.machine.target.memory.as_ref().map(|m| &m.span)));
        if has < memory.min.0 || has > memory.max.0 {
            let text = format!("{has} of memory; provider `{provider}` takes {} to {}", memory.min.0, memory.max.0);
            self.refuse("assess.memory-limit", &span, text);
        }
        let (has, span) = (self.facts.cpus, span_of(self.machine.target.cpus.as_ref().map(|c| &c.span)));
        if has < cpus.min || has > cpus.max {
            let text = format!("{has} processors; provider `{provider}` takes {} to {}", cpus.min, cpus.max);
            self.refuse("assess.cpu-limit", &span, text);
        }
        let has = self.facts.disks.len();
        if has > disks.max {
            let span = self.machine.source.disks[disks.max].path.span.clone();
            let text = format!("{has} disks; provider `{provider}` takes {} on its {} bus", disks.max, disks.bus);
            self.refuse("assess.disk-limit", &span, text);
        }
        let has = self.facts.nics.len();
        if has > nics {
            let text = format!("{has} network adapters; provider `{provider}` takes {nics}");
            self.refuse("assess.nic-limit", &name_span, text);
        }
    }

    fn kinds(&mut self) {
        let limits = &self.side.provider.manifest.limits;
        let span = self.machine.name.span.clone();
        let provider = self.provider().to_owned();
        let (format, firmware) = (self.machine.target.disk_format, self.facts.firmware);
        let (no_format, no_firmware) = (!limits.formats.contains(&format), !limits.firmware.contains(&firmware));
        if no_format {
            self.refuse("assess.disk-format", &span, format!("provider `{provider}` does not take {format} disks"));
        }
        if no_firmware {
            self.refuse("assess.firmware", &span, format!("provider `{provider}` has no {firmware:?} firmware"));
        }
        if self.facts.nics.is_empty() && self.machine.post_deploy.action == EndState::Start {
            let message = format!(
                "`{}` will have no network adapter: none is declared in `inventory.nics`",
                self.machine.name.value
            );
            self.found.push(Diagnostic::advice("assess.no-nic", message).at(span, ""));
        }
    }

    fn network(&mut self) {
        let network = &self.machine.target.network;
        let (provider, settings) = (self.side.provider, &self.side.settings);
        if provider.network(settings, &network.value).is_some() {
            return;
        }
        let names = provider.network_names(settings);
        let near = closest(&network.value, names.iter().map(String::as_str));
        let setting = &provider.manifest.networks.setting;
        let host = &self.machine.target.host.value;
        let help = match near {
            Some(name) => format!("did you mean `{name}`?"),
            None => {
                format!("host `{host}` has: {}; more can be declared in its `settings.{setting}`", names.join(", "))
            }
        };
        let message = format!("`{}`: host `{host}` has no network `{}`", self.machine.name.value, network.value);
        self.found.push(Diagnostic::error("assess.network", message).at(network.span.clone(), "").help(help));
    }

    fn settings(&mut self) {
        let target = &self.machine.target;
        let settings: &serde_json::Map<String, Value> = &target.settings;
        for (path, message) in self.side.provider.check_target_settings(settings) {
            let diagnostic = setting(&target.settings_span, &path, &message, &self.side.provider.manifest.name);
            self.found.push(diagnostic);
        }
    }
}
