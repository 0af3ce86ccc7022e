//! `replant validate`.

use camino::Utf8PathBuf;
use serde_json::json;

use super::{Exit, Failure, Global, say};
use crate::diagnostic::{DiagnosticRecord, Diagnostics, LineIndexes, Severity};
use crate::inventory;
use crate::plan;

/// The arguments of `replant validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Plan files; each is read with everything that it includes
    #[arg(required = true, value_name = "PLAN")]
    plans: Vec<Utf8PathBuf>,
}

/// Runs the verb.
pub fn run(args: &ValidateArgs, global: &Global) -> Result<Exit, Failure> {
    let mut all = Diagnostics::new();
    let mut records = Vec::new();
    for path in &args.plans {
        let outcome = inventory::load(path).map(|(known, found)| (known.plan, found));
        let record = match &outcome {
            Ok((plan, warnings)) => json!({
                "path": path,
                "valid": true,
                "name": plan.name,
                "machines": plan.machines.len(),
                "disks": plan.machines.iter().map(|machine| machine.source.disks.len()).sum::<usize>(),
                "hosts": plan.hosts.len(),
                "waves": plan.waves.len(),
                "warnings": warnings.count(Severity::Warning),
            }),
            Err(found) => json!({ "path": path, "valid": false, "errors": found.count(Severity::Error) }),
        };
        if !global.json
            && let Ok((plan, _)) = &outcome
        {
            anstream::println!("{path}: {}", summary(plan));
        }
        records.push(record);
        match outcome {
            Ok((_, found)) | Err(found) => all.extend(found),
        }
    }
    let refused = all.has_errors();
    match global.json {
        true => {
            let mut indexes = LineIndexes::default();
            let diagnostics: Vec<_> = all.iter().map(|one| DiagnosticRecord::new(one, &mut indexes)).collect();
            let whole =
                json!({ "type": "validation", "valid": !refused, "plans": records, "diagnostics": diagnostics });
            anstream::println!("{whole}");
        }
        false => say(&all),
    }
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

fn summary(plan: &plan::Plan) -> String {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let disks = plan.machines.iter().map(|machine| machine.source.disks.len()).sum();
    let mut parts = vec![count(plan.machines.len(), "machine"), count(disks, "disk"), count(plan.hosts.len(), "host")];
    if !plan.waves.is_empty() {
        parts.push(count(plan.waves.len(), "wave"));
    }
    format!("valid ({})", parts.join(", "))
}
