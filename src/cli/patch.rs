//! `replant patch`: drivers that migrations need, kept beside the images.

use std::path::PathBuf;

use camino::Utf8PathBuf;
use serde_json::json;

use super::{Exit, Failure, Global, say, windows};
use crate::diagnostic::Diagnostics;
use crate::inventory;
use crate::patch::{Need, PatchCache, needs};
use crate::plan;
use crate::provider::Catalog;

/// The arguments of `replant patch`.
#[derive(Debug, clap::Args)]
pub struct PatchArgs {
    #[command(subcommand)]
    verb: PatchVerb,
}

#[derive(Debug, clap::Subcommand)]
enum PatchVerb {
    /// Take in every driver package of folders, INF files, ISO images or packages
    Add(AddArgs),
    /// List what is there
    Ls(StoreFolder),
    /// Verify that every file is what it was when it came
    Check(StoreFolder),
    /// Tell what a plan's machines need, what supplies it, and what is missing
    Validate(ValidateArgs),
}

#[derive(Debug, clap::Args)]
struct StoreFolder {
    /// The image store's folder; the cache is `patches` in it
    #[arg(long, value_name = "FOLDER", default_value = "store")]
    store: PathBuf,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    #[command(flatten)]
    store: StoreFolder,
    /// Where drivers are
    #[arg(value_name = "SOURCE", required = true)]
    sources: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ValidateArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    plan: Utf8PathBuf,
}

/// Runs the verb.
pub fn run(args: &PatchArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.verb {
        PatchVerb::Add(args) => add(args, global),
        PatchVerb::Ls(args) => ls(args, global),
        PatchVerb::Check(args) => check(args, global),
        PatchVerb::Validate(args) => validate(args, global),
    }
}

fn add(args: &AddArgs, global: &Global) -> Result<Exit, Failure> {
    let cache = PatchCache::of_store(&args.store.store);
    for source in &args.sources {
        let added = cache.add(source)?;
        if global.json {
            let line = json!({ "source": source, "new": added.new, "known": added.known, "left_out": added.left_out });
            anstream::println!("{line}");
            continue;
        }
        for record in &added.new {
            anstream::println!("+ {}  {}  {}", record.key, record.title, record.origin);
        }
        for problem in &added.left_out {
            anstream::println!("- left out: {problem}");
        }
        anstream::println!("{}: {} new, {} known already", source.display(), added.new.len(), added.known);
    }
    Ok(Exit::Done)
}

fn ls(args: &StoreFolder, global: &Global) -> Result<Exit, Failure> {
    let records = PatchCache::of_store(&args.store).list()?;
    for record in &records {
        match global.json {
            true => anstream::println!("{}", json!(record)),
            false => anstream::println!(
                "{}  {:<28}  {:<12}  {:<26}  {}",
                record.key,
                record.title,
                record.class,
                record.origin,
                record.source
            ),
        }
    }
    if records.is_empty() && !global.json {
        anstream::println!("the patch cache is empty; `replant patch add SOURCE` puts drivers into it");
    }
    Ok(Exit::Done)
}

fn check(args: &StoreFolder, global: &Global) -> Result<Exit, Failure> {
    let cache = PatchCache::of_store(&args.store);
    let (count, problems) = (cache.list()?.len(), cache.check()?);
    for problem in &problems {
        match global.json {
            true => anstream::println!("{}", json!(problem)),
            false => anstream::println!("{problem}"),
        }
    }
    if problems.is_empty() && !global.json {
        anstream::println!("{count} package{}: every file is what it was", if count == 1 { "" } else { "s" });
    }
    Ok(if problems.is_empty() { Exit::Done } else { Exit::Error })
}

fn validate(args: &ValidateArgs, global: &Global) -> Result<Exit, Failure> {
    let (plan, mut found) = plan::load(&args.plan)?;
    let facts = inventory::observe(&plan)?;
    let (plan, more) = inventory::resolve(plan, facts)?;
    found.extend(more);
    let catalog = Catalog::open(&plan.plan.root)?;
    let mut looked = Diagnostics::new();
    let surveys = windows::surveys(&plan, &mut looked);
    found.extend(looked);
    let cache = PatchCache::of_store(plan.plan.store.path.as_std_path()).packages()?;
    let mut missing = 0;
    for (machine, survey) in plan.plan.machines.iter().zip(&surveys) {
        let host = plan.plan.hosts.get(&machine.target.host.value);
        let Some(provider) = host.and_then(|host| catalog.get(&host.provider.value)) else { continue };
        for windows in &survey.found {
            let needs = needs(&windows.facts, provider.windows(), &cache);
            missing += needs.iter().filter(|need| need.is_missing()).count();
            if global.json {
                let name = &*machine.name.value.0;
                let line = json!({ "machine": name, "volume": windows.volume, "system": windows.facts.product, "needs": needs });
                anstream::println!("{line}");
                continue;
            }
            let (name, facts) = (&machine.name.value, &windows.facts);
            let (build, architecture) = (facts.build, facts.architecture.name());
            anstream::println!("{name}: {} (build {build}, {architecture}) on {}", facts.product, windows.volume);
            for need in &needs {
                anstream::println!("  {}", line(need));
            }
            for hazard in &facts.hazards {
                anstream::println!("  ! {hazard}");
            }
        }
    }
    if !global.json {
        say(&found);
        match missing {
            0 => anstream::println!("nothing is missing"),
            count => anstream::println!("{count} driver{} missing", if count == 1 { " is" } else { "s are" }),
        }
    }
    Ok(if missing == 0 { Exit::Done } else { Exit::Refused })
}

fn line(need: &Need) -> String {
    let supplied = match (&need.supplier, need.required) {
        (Some((key, title)), _) => return format!("= {}: {title}, {key}", need.device),
        (None, true) => "missing: put a package for it into the cache with `replant patch add SOURCE`",
        (None, false) => "none, and none is needed",
    };
    format!("{} {}: {supplied} ({})", if need.required { "!" } else { "-" }, need.device, need.ids.join(", "))
}
