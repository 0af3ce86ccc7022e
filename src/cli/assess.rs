//! `replant assess`.

mod csv;
mod json;
mod text;
mod write;

use camino::Utf8PathBuf;

use super::{Exit, Failure, Global, say};
use crate::assess::placement::{Proposal, propose};
use crate::assess::sizing::{Fleet, ProviderConstants, assess_plan};
use crate::diagnostic::Diagnostics;
use crate::inventory;
use crate::plan::Plan;
use crate::provider::Catalog;
use crate::units::Percent;

/// The arguments of `replant assess`.
#[derive(Debug, clap::Args)]
pub struct AssessArgs {
    /// The plan file; it is read with everything that it includes
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
    /// Show how the numbers of this machine and of its host came about
    #[arg(long, value_name = "MACHINE")]
    explain: Option<String>,
    /// Propose a host for every machine, on as few hosts as possible
    #[arg(long)]
    place: bool,
    /// With --place: how much of each host is kept free beyond its reserves
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = percent)]
    headroom: Percent,
    /// Write the proposed hosts, and sizes that the plan leaves open, into the plan's files; all else stays as written
    #[arg(long, conflicts_with = "explain")]
    write: bool,
    /// Print a table for spreadsheets instead of text
    #[arg(long, value_name = "TABLE", num_args = 0..=1, require_equals = true, default_missing_value = "machines")]
    #[arg(conflicts_with = "explain")]
    csv: Option<Table>,
}

/// A table for spreadsheets.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Table {
    /// One row per machine
    Machines,
    /// One row per host
    Hosts,
}

fn percent(text: &str) -> Result<Percent, String> {
    match Percent::parse(text) {
        Ok(percent) if percent.0 < 10_000 => Ok(percent),
        Ok(percent) => Err(format!("{percent} leaves nothing: it must be less than 100%")),
        Err(error) => Err(error.to_string()),
    }
}

/// What there is to show.
struct Report<'a> {
    plan: &'a Plan,
    fleet: &'a Fleet,
    proposal: Option<&'a Proposal>,
    /// The place of the machine to be explained.
    explain: Option<usize>,
    findings: &'a Diagnostics,
}

/// Runs the verb.
pub fn run(args: &AssessArgs, global: &Global) -> Result<Exit, Failure> {
    let (known, warnings) = inventory::load(&args.plan)?;
    let plan = known.plan;
    let explain = match &args.explain {
        None => None,
        Some(name) => Some(find(&plan, name)?),
    };
    let catalog = Catalog::open(&plan.root)?;
    let fleet = assess_plan(&plan, |name| constants(&catalog, name));
    let proposal = (args.place || args.write).then(|| propose(&plan, &fleet, args.headroom));
    let mut findings = warnings;
    findings.extend(fleet.all_findings());
    let findings = findings.finish();
    let report = Report { plan: &plan, fleet: &fleet, proposal: proposal.as_ref(), explain, findings: &findings };
    match (global.json, args.csv) {
        (true, _) => anstream::println!("{}", json::render(&report)),
        (false, Some(Table::Machines)) => anstream::print!("{}", csv::machines(&report)),
        (false, Some(Table::Hosts)) => anstream::print!("{}", csv::hosts(&report)),
        (false, None) => anstream::print!("{}", text::render(&report)),
    }
    if !global.json {
        say(&findings);
    }
    if args.write {
        write::run(&plan, &fleet, proposal.as_ref(), &findings)?;
    }
    let homeless = proposal.as_ref().is_some_and(|proposal| !proposal.placement.no_place.is_empty());
    Ok(if findings.has_errors() || homeless { Exit::Refused } else { Exit::Done })
}

/// What a provider declares; nothing, if there is none of that name, which `plan` refuses.
fn constants(catalog: &Catalog, name: &str) -> ProviderConstants {
    catalog.get(name).map_or_else(ProviderConstants::default, |provider| ProviderConstants {
        vm_overhead: Some(provider.manifest.constants.memory_overhead.0),
        vm_memory_limit: Some(provider.manifest.limits.memory.max.0),
        vm_cpus: Some(provider.manifest.limits.cpus.max),
    })
}

fn find(plan: &Plan, name: &str) -> Result<usize, Failure> {
    plan.machines.iter().position(|machine| &*machine.name.value.0 == name).ok_or_else(|| {
        let names = plan.machines.iter().map(|machine| &*machine.name.value.0);
        let near = crate::diagnostic::closest(name, names);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Failure::with(Exit::Usage, format!("the plan has no machine `{name}`{hint}"))
    })
}
