//! Hosts: their provider exists, their settings are what it takes.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::diagnostic::{Diagnostic, Diagnostics, Span, closest};
use crate::plan::{HostName, Plan};
use crate::provider::{Catalog, Provider};

/// A host whose provider exists.
pub struct Side<'a> {
    /// Its provider.
    pub provider: &'a Provider,
    /// Its settings with all defaults.
    pub settings: Map<String, Value>,
}

/// Checks every host and returns those whose provider exists.
pub fn check<'a>(plan: &'a Plan, catalog: &'a Catalog, found: &mut Diagnostics) -> BTreeMap<&'a HostName, Side<'a>> {
    let mut sides = BTreeMap::new();
    for (name, host) in &plan.hosts {
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
