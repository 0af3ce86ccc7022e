//! `replant validate`: every mistake of a plan and every rule that does not hold, for people, programs and CI.

mod junit;
mod report;
mod sarif;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde_json::json;

use super::coverage::AgentDrivers;
use super::{Exit, Failure, Global, say};
use crate::assess::rules::{Findings, RuleSet};
use crate::assess::{Assessment, assess, assess_unseen};
use crate::diagnostic::{DiagnosticRecord, Diagnostics, LineIndexes, Severity};
use crate::inventory::model::Document;
use crate::inventory::{self, ResolvedPlan};
use crate::plan::Plan;
use crate::provider::Catalog;

/// The arguments of `replant validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Plan files; each is read with everything that it includes
    #[arg(required = true, value_name = "PLAN")]
    plans: Vec<Utf8PathBuf>,
    /// What is printed: for people, programs, code review tools, CI servers
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Print the whole report, machine by machine, down to its verdict
    #[arg(long)]
    report: bool,
    /// In the report, these machines only (a name or a glob)
    #[arg(long, value_name = "GLOB")]
    machine: Option<String>,
    /// The folder that `replant agent build` wrote, whose drivers sources need [default: the plan's own, once built]
    #[arg(long, value_name = "DIR")]
    agent: Option<PathBuf>,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
    Junit,
}

/// A plan file and what became of it.
struct Validated {
    path: Utf8PathBuf,
    plan: Option<Plan>,
    /// What is known of each machine, in plan order.
    documents: Vec<Option<Arc<Document>>>,
    /// Which devices the agent can drive.
    drivers: Option<AgentDrivers>,
    seen: Option<ResolvedPlan>,
    found: Diagnostics,
    findings: Findings,
    set: Option<RuleSet>,
}

/// Runs the verb.
pub fn run(args: &ValidateArgs, global: &Global) -> Result<Exit, Failure> {
    let format = if global.json { Format::Json } else { args.format };
    let all: Vec<Validated> =
        args.plans.iter().map(|path| validate(path, args.agent.as_deref())).collect::<Result<_, _>>()?;
    let refused = all.iter().any(|one| one.found.has_errors());
    match format {
        Format::Text => {
            for one in &all {
                if args.report {
                    anstream::print!("{}", report::text(one, args.machine.as_deref()));
                } else if let Some(plan) = &one.plan {
                    anstream::println!("{}: {}", one.path, summary(plan, one));
                }
            }
            let mut found = Diagnostics::new();
            all.iter().for_each(|one| found.extend(one.found.iter().cloned()));
            if !args.report {
                say(&found.finish());
            }
            for line in all.iter().flat_map(|one| super::rules::silenced(&one.findings)) {
                if !args.report {
                    anstream::println!("{line}");
                }
            }
        }
        Format::Json => anstream::println!("{}", whole(&all, refused)),
        Format::Sarif => anstream::println!("{:#}", sarif::document(&all)),
        Format::Junit => anstream::print!("{}", junit::document(&all)),
    }
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

/// Reads one plan, looks at its disks if they can be seen from here, and asks the rules.
fn validate(path: &Utf8PathBuf, agent: Option<&Path>) -> Result<Validated, Failure> {
    let (known, warnings) = match inventory::load(path) {
        Ok(loaded) => loaded,
        Err(found) => {
            let (findings, set) = (Findings::default(), None);
            return Ok(Validated {
                path: path.clone(),
                plan: None,
                documents: Vec::new(),
                drivers: None,
                seen: None,
                found,
                findings,
                set,
            });
        }
    };
    let catalog = Catalog::open(&known.plan.root)?;
    let mut found = warnings;
    // A reviewer's machine need not hold the disks: what only they can tell is then unknown, and reported as that.
    let seen = inventory::observe(&known.plan).ok().and_then(|mut facts| {
        for (facts, document) in facts.iter_mut().zip(&known.documents) {
            facts.document.clone_from(document);
        }
        inventory::resolve(known.plan.clone(), facts).ok()
    });
    let drivers = AgentDrivers::of(&known.plan.root, agent)?;
    let assessment: Assessment = match &seen {
        Some((resolved, more)) => {
            found.extend(more.iter().cloned());
            assess(resolved, &catalog, &drivers)
        }
        None => assess_unseen(&known, &catalog, &drivers),
    };
    found.extend(assessment.all());
    let set = RuleSet::compile(&catalog, &known.plan.rules).ok();
    let seen = seen.map(|(resolved, _)| resolved);
    let findings = assessment.findings;
    Ok(Validated {
        path: path.clone(),
        plan: Some(known.plan),
        documents: known.documents,
        drivers: Some(drivers),
        seen,
        found: found.finish(),
        findings,
        set,
    })
}

fn whole(all: &[Validated], refused: bool) -> serde_json::Value {
    let records: Vec<_> = all
        .iter()
        .map(|one| match &one.plan {
            Some(plan) => json!({
                "path": one.path,
                "valid": !one.found.has_errors(),
                "name": plan.name,
                "machines": plan.machines.len(),
                "disks": plan.machines.iter().map(|machine| machine.source.disks.len()).sum::<usize>(),
                "hosts": plan.hosts.len(),
                "waves": plan.waves.len(),
                "errors": one.found.count(Severity::Error),
                "warnings": one.found.count(Severity::Warning),
                "disks_seen": one.seen.is_some(),
                "rules": super::rules::json(&one.findings),
            }),
            None => json!({ "path": one.path, "valid": false, "errors": one.found.count(Severity::Error) }),
        })
        .collect();
    let mut indexes = LineIndexes::default();
    let found = all.iter().flat_map(|one| one.found.iter());
    let diagnostics: Vec<_> = found.map(|one| DiagnosticRecord::new(one, &mut indexes)).collect();
    json!({ "type": "validation", "valid": !refused, "plans": records, "diagnostics": diagnostics })
}

fn summary(plan: &Plan, one: &Validated) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let disks = plan.machines.iter().map(|machine| machine.source.disks.len()).sum();
    let mut parts = vec![count(plan.machines.len(), "machine"), count(disks, "disk"), count(plan.hosts.len(), "host")];
    if !plan.waves.is_empty() {
        parts.push(count(plan.waves.len(), "wave"));
    }
    let word = if one.found.has_errors() { "not valid" } else { "valid" };
    let mut text = format!("{word} ({})", parts.join(", "));
    if one.findings.unchecked() > 0 {
        text.push_str(&format!(
            "; of {} rules {} had a fact unknown: not checked{}",
            one.findings.rules,
            unknown_rules(&one.findings),
            if one.seen.is_some() { "" } else { "; the disks were not looked at" }
        ));
    }
    text
}

/// How many rules could not be checked for somebody.
fn unknown_rules(findings: &Findings) -> usize {
    findings.unknown.iter().map(|unknown| unknown.rule.code).collect::<std::collections::BTreeSet<_>>().len()
}
