//! `hosts:`.

use std::collections::BTreeMap;

use super::access::At;
use super::capacity;
use crate::diagnostic::{Diagnostic, Diagnostics, Spanned};
use crate::plan::grammar::host_facts;
use crate::plan::{Host, HostName};

const DEFAULT_PARALLEL: u32 = 2;

/// The hosts of all files.
pub(super) fn lower(roots: &[At<'_>], found: &mut Diagnostics) -> BTreeMap<HostName, Host> {
    let mut hosts: BTreeMap<HostName, Host> = BTreeMap::new();
    for root in roots {
        for (name, span, value) in root.get("hosts").into_iter().flat_map(|hosts| hosts.entries()) {
            let key = HostName(name.into());
            if let Some(first) = hosts.get(&key) {
                // Within one file the grammar has reported it.
                if !std::sync::Arc::ptr_eq(&first.name.span.source, &span.source) {
                    found.push(
                        Diagnostic::error("plan.duplicate-name", format!("the host `{name}` is declared twice"))
                            .at(span, "declared again here")
                            .at(first.name.span.clone(), "first declared here")
                            .help("keep one of the two; every included file sees it"),
                    );
                }
                continue;
            }
            let settings = value.get("settings");
            let host = Host {
                name: Spanned::new(key.clone(), span.clone()),
                provider: value
                    .get("provider")
                    .and_then(|provider| provider.spanned(|at| at.text().map(str::to_owned)))
                    .unwrap_or_else(|| Spanned::new(String::new(), span.clone())),
                settings: settings.and_then(|at| at.json()).unwrap_or_default(),
                settings_span: settings.map_or(span, |at| at.span()),
                parallel: value.get("parallel").and_then(|at| at.whole()).unwrap_or(DEFAULT_PARALLEL),
                memory: value.get("memory").and_then(|at| at.size()),
                capacity: capacity::capacity(value.get("capacity")),
                sizing: capacity::sizing(value.get("sizing")),
                facts: value.get("facts").map(|facts| host_facts(facts.node())).unwrap_or_default(),
            };
            hosts.insert(key, host);
        }
    }
    hosts
}
