//! `replant render`: the artifacts of a plan alone, to be read or to be run by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use camino::Utf8PathBuf;

use crate::planner::Selection;
use crate::render::render;

use super::prepare::prepare;
use super::{Exit, Failure, Global, say};

/// The arguments of `replant render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
    /// The folder that the artifacts are written to, a folder a machine
    #[arg(long, value_name = "DIR")]
    out: Utf8PathBuf,
    /// Only these machines and their hosts (globs; may be repeated)
    #[arg(long, value_name = "GLOB")]
    machine: Vec<String>,
}

/// Runs the verb.
pub fn run(args: &RenderArgs, global: &Global) -> Result<Exit, Failure> {
    let selection = Selection { machines: args.machine.clone(), ..Selection::default() };
    let prepared = prepare(&args.plan, &Selection::default())?;
    if !global.json {
        say(&prepared.warnings);
    }
    let wanted = |name: &str| {
        selection.machines.is_empty() || selection.machines.iter().any(|glob| crate::address::glob_matches(glob, name))
    };
    let machines = &prepared.plan.plan.machines;
    if let Some(glob) = selection
        .machines
        .iter()
        .find(|glob| !machines.iter().any(|machine| crate::address::glob_matches(glob, &machine.name.value.0)))
    {
        return Err(Failure::with(Exit::Usage, format!("`--machine {glob}` names no machine")));
    }
    let sink = |path: &str, text: &str, executable: bool| {
        let path = args.out.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(if executable { 0o755 } else { 0o644 }))
    };
    let set = render(&prepared.plan, &prepared.catalog, &|machine| wanted(&machine.name.value.0), &sink)?;
    match global.json {
        true => {
            let whole = serde_json::json!({ "type": "rendered", "out": args.out, "artifacts": set.records() });
            anstream::println!("{whole}");
        }
        false => anstream::println!("{} artifacts are in {}", set.records().len(), args.out),
    }
    Ok(Exit::Done)
}
