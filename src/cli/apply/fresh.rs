//! Applying a plan file: planned, shown, confirmed, frozen, executed.

use std::io;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::freeze::{Staging, folders, manifest};
use crate::render::render;

use super::super::prepare::{Prepared, prepare};
use super::super::terminal::confirmed;
use super::super::{Exit, Failure, Global, say};
use super::{ApplyArgs, execute, run_folder};

/// Runs the verb for a plan file.
pub fn run(args: &ApplyArgs, global: &Global) -> Result<Exit, Failure> {
    let prepared = prepare(&args.target, &args.selection.selection())?;
    if !global.json {
        say(&prepared.warnings);
        super::super::plan::show(&prepared);
    }
    if !prepared.preview.has_changes() {
        if global.json {
            anstream::println!("{}", serde_json::json!({ "type": "nothing-to-do", "plan": prepared.plan.plan.name }));
        }
        return Ok(Exit::Done);
    }
    refuse_render_only(&prepared)?;
    if !args.yes && !confirmed("Do all of this?")? {
        return Err(Failure::with(Exit::Error, "nothing was done"));
    }
    let Prepared { plan, catalog, artifacts, selected, ledger, .. } = prepared;
    let root = plan.plan.root.clone();
    let wanted = folders(&selected);
    let manifest = manifest(&plan, &catalog, artifacts, selected, ledger.head);
    let frozen = manifest.clone();
    let runs = root.clone();
    // The same plan renders the same bytes: this time they are written.
    let on_start = Box::new(move |run: &crate::journal::RunId| {
        let staging = Staging::begin(&run_folder(&runs, run.as_str())).map_err(io::Error::other)?;
        let chosen =
            |machine: &crate::plan::Machine| wanted.contains(&*crate::provider::file_stem(&machine.name.value.0));
        render(&plan, &catalog, &chosen, &staging).map_err(io::Error::other)?;
        staging.finish(&frozen).map_err(io::Error::other)
    });
    execute(args, global, &root, manifest, on_start, Default::default())
}

/// Refuses machines of providers whose artifacts are for people, and says where to get them.
fn refuse_render_only(prepared: &Prepared) -> Result<(), Failure> {
    let mut found = Diagnostics::new();
    for host in prepared.plan.plan.hosts.values() {
        let machines = &prepared.plan.plan.machines;
        let used = machines.iter().any(|machine| machine.target.host.value == host.name.value);
        let provider = prepared.catalog.get(&host.provider.value).filter(|_| used);
        if let Some(why) = provider.and_then(|provider| provider.manifest.render_only.as_ref()) {
            let message = format!("host `{}` cannot be worked on from here: {why}", host.name.value);
            let diagnostic = Diagnostic::error("apply.render-only", message).at(host.provider.span.clone(), "");
            found.push(
                diagnostic.help("`replant render --out DIR` writes the artifacts; they are run by hand, in order"),
            );
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found.finish().into()) }
}
