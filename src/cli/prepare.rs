//! From a plan file to everything that can be known before anything is done. Changes nothing.

use camino::Utf8Path;

use crate::assess;
use crate::assess::rules::Findings;
use crate::diagnostic::Diagnostics;
use crate::inventory::{self, ResolvedPlan};
use crate::journal::{JournalReader, Ledger};
use crate::plan;
use crate::planner::{self, Preview, Selected, Selection, TaskGraph};
use crate::provider::Catalog;
use crate::render::{ArtifactSet, NoSink, render};

use super::coverage::AgentDrivers;
use super::tools::missing_tools;
use super::windows;
use super::{Exit, Failure};

/// A plan with all that follows from it.
pub struct Prepared {
    /// What is asked, with the facts bound.
    pub plan: ResolvedPlan,
    /// The providers.
    pub catalog: Catalog,
    /// Every artifact's path and digest.
    pub artifacts: ArtifactSet,
    /// What was done before.
    pub ledger: Ledger,
    /// Every task of the plan.
    pub graph: TaskGraph,
    /// The tasks that were selected.
    pub selected: Selected,
    /// What would happen to them.
    pub preview: Preview,
    /// What should be read, though it refuses nothing.
    pub warnings: Diagnostics,
    /// What the rules say: what is silenced, and what could not be checked.
    pub findings: Findings,
}

/// Loads, observes, assesses, renders and plans.
pub fn prepare(path: &Utf8Path, selection: &Selection) -> Result<Prepared, Failure> {
    let (mut plan, mut warnings) = plan::load(path)?;
    let ledger = match JournalReader::open(&plan.root)? {
        Some(reader) => reader.ledger()?,
        None => Ledger::default(),
    };
    warnings.extend(inventory::leave_migrated(&mut plan, &ledger));
    let documents = inventory::attach(&mut plan, &mut warnings);
    let mut facts = inventory::observe(&plan)?;
    for (facts, document) in facts.iter_mut().zip(documents) {
        facts.document = document;
    }
    let (plan, more) = inventory::resolve(plan, facts)?;
    warnings.extend(more);
    let catalog = Catalog::open(&plan.plan.root)?;
    let assessment = assess::assess(&plan, &catalog, &AgentDrivers::of(&plan.plan.root, None)?);
    warnings.extend(assessment.all());
    warnings.extend(missing_tools(&plan, &catalog));
    warnings.extend(windows::check(&plan, &catalog)?);
    if warnings.has_errors() {
        return Err(warnings.into());
    }
    let artifacts = render(&plan, &catalog, &|_| true, &NoSink)?;
    let graph = planner::draft(&plan, &catalog)?.bind(|path| artifacts.digest(path))?;
    let selected =
        planner::select(&graph, selection, &ledger).map_err(|error| Failure::with(Exit::from(&error), error))?;
    let preview = planner::preview(&selected, &ledger);
    let findings = assessment.findings;
    Ok(Prepared { plan, catalog, artifacts, ledger, graph, selected, preview, warnings, findings })
}
