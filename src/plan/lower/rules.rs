//! `rules:` of all files, in reading order.

use super::access::At;
use crate::address::glob_matches;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity, closest};
use crate::plan::{AddedRule, Host, Machine, PlanRules, Silence};
use crate::provider::{RulePlace, RuleScope, RuleSpec, Section};

/// What the plan adds and silences.
pub(super) fn lower<'a>(
    roots: &[At<'_>],
    machines: &[Machine],
    hosts: impl Iterator<Item = &'a Host> + Clone,
    complete: bool,
    found: &mut Diagnostics,
) -> PlanRules {
    let sections: Vec<At<'_>> = roots.iter().filter_map(|root| root.get("rules")).collect();
    let list = |name: &'static str| sections.iter().filter_map(move |s| s.get(name)).flat_map(At::items);
    let silence: Vec<Silence> = list("silence").filter_map(silenced).collect();
    for glob in silence.iter().flat_map(|silence| &silence.machines) {
        let mut names = machines.iter().map(|m| &*m.name.value.0).chain(hosts.clone().map(|h| &*h.name.value.0));
        if complete && !names.any(|name| glob_matches(&glob.value, name)) {
            let near = closest(&glob.value, machines.iter().map(|machine| &*machine.name.value.0));
            let label = near.map_or_else(|| "no name fits".to_owned(), |near| format!("did you mean `{near}`?"));
            let message = format!("`{}` matches no machine and no host", glob.value);
            found.push(Diagnostic::error("plan.unknown-machine", message).at(glob.span.clone(), label));
        }
    }
    PlanRules { silence, add: list("add").filter_map(added).collect() }
}

fn silenced(at: At<'_>) -> Option<Silence> {
    let text = |at: At<'_>| at.text().map(str::to_owned);
    Some(Silence {
        id: at.get("id")?.spanned(text)?,
        machines: at.get("machines").into_iter().flat_map(At::items).filter_map(|glob| glob.spanned(text)).collect(),
        reason: text(at.get("reason")?)?,
    })
}

fn added(at: At<'_>) -> Option<AddedRule> {
    let text = |key: &str| at.get(key).and_then(At::text).map(str::to_owned);
    Some(AddedRule {
        spec: RuleSpec {
            id: text("id")?,
            severity: at.get("severity").and_then(At::choice).unwrap_or(Severity::Error),
            scope: at.get("scope").and_then(At::choice).unwrap_or(RuleScope::Machine),
            section: Section::default(),
            each: text("each"),
            when: text("when"),
            violated: text("violated")?,
            message: text("message")?,
            help: text("help")?,
            at: RulePlace::Name,
        },
        id_span: at.get("id")?.span(),
        span: at.headline(),
    })
}
