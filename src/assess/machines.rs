//! Machines: what they name on their host exists, and their settings are what its provider takes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::diagnostic::{Diagnostic, Diagnostics, closest};
use crate::plan::{HostName, Machine, Plan};

use super::hosts::{Side, setting};

/// Checks every machine whose host's provider exists.
pub fn check(plan: &Plan, sides: &BTreeMap<&HostName, Side<'_>>, found: &mut Diagnostics) {
    for machine in &plan.machines {
        let host = &machine.target.host.value;
        if let Some(side) = sides.get(host) {
            let mut machine = One { machine, side, found };
            machine.network();
            machine.settings();
        }
    }
}

struct One<'a> {
    machine: &'a Machine,
    side: &'a Side<'a>,
    found: &'a mut Diagnostics,
}

impl One<'_> {
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
