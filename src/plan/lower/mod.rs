//! Checked documents become a [`Plan`](super::Plan): references resolved, defaults applied, and every mistake found
//! that one value alone cannot show.

mod access;
mod agent;
mod boot;
mod budgets;
mod capacity;
mod hosts;
mod machines;
mod order;
mod rules;
mod scripts;
mod store;
mod unique;
mod waves;

use std::sync::Arc;

use camino::Utf8PathBuf;

use super::files::File;
use super::model::Plan;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use access::At;

/// The plan of all files, or `None` if it is too broken to have one; `found` says why.
///
/// `files` stand in reading order, which is the order of precedence: what the first file says holds.
/// `complete` says that all could be read; if not, a name may be declared in one that could not.
pub(super) fn lower(files: &[File], root: Utf8PathBuf, complete: bool, found: &mut Diagnostics) -> Option<Plan> {
    let first = files.first()?;
    let start = Span::new(&first.source, 0, 0);
    let roots: Vec<At<'_>> =
        files.iter().filter_map(|file| file.root.as_ref().map(|node| At::new(node, &file.source))).collect();

    let name = roots.first().and_then(|first| first.get("name"));
    if first.root.is_some() && name.is_none() && roots[0].is_map() {
        found.push(
            Diagnostic::error("plan.missing-key", "the first plan file needs `name`")
                .at(roots[0].headline(), "`name` is missing")
                .help("`name`: the plan's name, for reports and run folders"),
        );
    }
    let store = store::lower(&roots, &root, name.map_or_else(|| start.clone(), |name| name.span()), found);
    let hosts = hosts::lower(&roots, found);
    let budgets = budgets::lower(&roots, found);
    let (machines, written) = machines::lower(&roots, &root, (&hosts, &budgets), complete, found);
    if written == 0 && complete && roots.iter().all(|root| root.is_map()) {
        let place = roots.iter().find_map(|root| root.get("machines")).map_or(start, |list| list.headline());
        found.push(
            Diagnostic::error("plan.no-machines", "the plan has no machines")
                .at(place, "")
                .help("list them under `machines`, or `include` the files that do"),
        );
    }
    let netboot = boot::netboot(&roots, found);
    let waves = waves::lower(&roots, &machines, complete, found);
    unique::check(&machines, &root, found);
    order::check(&machines, &waves, found);
    Some(Plan {
        name: name.and_then(|name| name.text()).unwrap_or_default().to_owned(),
        root,
        files: files.iter().map(|file| Arc::clone(&file.source)).collect(),
        store,
        rules: rules::lower(&roots, &machines, hosts.values(), complete, found),
        hosts,
        machines,
        waves,
        netboot,
    })
}
