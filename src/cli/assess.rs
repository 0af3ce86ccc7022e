//! `replant assess`.

mod csv;
mod html;
mod json;
mod text;
mod write;

use camino::Utf8PathBuf;

use super::{Exit, Failure, Global, say};
use crate::assess::assess_unseen;
use crate::assess::placement::{Proposal, Turns, propose};
use crate::assess::rules::NotAsked;
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
    /// With --place: place all machines at once, whatever their waves
    #[arg(long)]
    no_waves: bool,
    /// Write the proposed hosts, and sizes that the plan leaves open, into the plan's files; all else stays as written
    #[arg(long, conflicts_with = "explain")]
    write: bool,
    /// What is printed: text, JSON, a table for spreadsheets, or a page for browsers with drawings
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print a table for spreadsheets instead of text; `hosts` is the other one
    #[arg(long, value_name = "TABLE", num_args = 0..=1, require_equals = true, default_missing_value = "machines")]
    #[arg(conflicts_with = "explain")]
    csv: Option<Table>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Csv,
    Html,
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
    /// The fleet as the proposal has it.
    proposed: Option<&'a Fleet>,
    /// The place of the machine to be explained.
    explain: Option<usize>,
    findings: &'a Diagnostics,
}

/// Runs the verb.
pub fn run(args: &AssessArgs, global: &Global) -> Result<Exit, Failure> {
    let format = match (global.json, args.csv) {
        (true, _) => Format::Json,
        (false, Some(_)) => Format::Csv,
        (false, None) => args.format,
    };
    let (known, warnings) = inventory::load(&args.plan)?;
    let plan = &known.plan;
    let explain = match &args.explain {
        None => None,
        Some(name) => Some(find(plan, name)?),
    };
    let catalog = Catalog::open(&plan.root)?;
    let provider = |name: &str| constants(&catalog, name);
    let fleet = assess_plan(plan, provider);
    let turns = if args.no_waves { Turns::AtOnce } else { Turns::ByWave };
    let proposal = (args.place || args.write).then(|| propose(plan, &fleet, args.headroom, turns));
    let proposed = proposal.as_ref().map(|proposal| assess_plan(&proposal.planned(plan), provider));
    let mut findings = warnings;
    findings.extend(fleet.all_findings());
    let findings = findings.finish();
    let (proposal, proposed) = (proposal.as_ref(), proposed.as_ref());
    let report = Report { plan, fleet: &fleet, proposal, proposed, explain, findings: &findings };
    match format {
        Format::Json => anstream::println!("{}", json::render(&report)),
        Format::Csv => match args.csv.unwrap_or(Table::Machines) {
            Table::Machines => anstream::print!("{}", csv::machines(&report)),
            Table::Hosts => anstream::print!("{}", csv::hosts(&report)),
        },
        Format::Html => {
            let rules = assess_unseen(&known, &catalog, &NotAsked).findings;
            let page = html::Page { report: &report, documents: &known.documents, rules: &rules, proposed };
            anstream::print!("{}", html::render(&page)?);
        }
        Format::Text => anstream::print!("{}", text::render(&report)),
    }
    if format != Format::Json {
        say(&findings);
    }
    if args.write {
        write::run(plan, &fleet, proposal, &findings)?;
    }
    let homeless = proposal.is_some_and(|proposal| !proposal.placement.no_place.is_empty());
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
